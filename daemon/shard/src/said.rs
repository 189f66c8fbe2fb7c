//! What replies have said of keys that lost something. The same may come again by another way, as in the index of a daemon that died or
//! with another copy of the partition, and is not said twice.

use std::collections::{BTreeMap, VecDeque};

use smallvec::SmallVec;
use statemesh_protocol::tenure::Tenure;

use crate::marks::Conflict;
use crate::removed::Place;

/// Keys of a shard of which it is known what was said; beyond it what was said first may be said again.
const KEYS: usize = 1_024;
/// The last ones of a key.
const OF_A_KEY: usize = 8;

/// A conflict, and the copy that did what is gone: no tenure has the same conflict twice.
pub(crate) type Saying = (Conflict, Tenure);

#[derive(Debug, Default)]
pub(crate) struct Said {
    by_place: BTreeMap<Place, SmallVec<[Saying; 1]>>,
    /// In the order in which they came. What is not there any more is skipped.
    order: VecDeque<Place>,
}

impl Said {
    /// It was said of a key. Of what an unknown copy did it is not known whether it is the same that comes later.
    pub(crate) fn note(&mut self, place: Place, saying: Saying) {
        if saying.1 == Tenure::default() || self.has(place, saying) {
            return;
        }
        if !self.by_place.contains_key(&place) {
            while self.order.len() >= KEYS
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_place.remove(&oldest);
            }
            self.order.push_back(place);
        }
        let sayings = self.by_place.entry(place).or_default();
        if sayings.len() >= OF_A_KEY {
            sayings.remove(0);
        }
        sayings.push(saying);
    }

    /// Whether it was said.
    pub(crate) fn has(&self, place: Place, saying: Saying) -> bool {
        self.by_place.get(&place).is_some_and(|known| known.contains(&saying))
    }

    /// What was said of the keys of a partition, by hash.
    pub(crate) fn of(&self, partition: u16) -> impl Iterator<Item = (u64, &[Saying])> {
        let places = self.by_place.range((partition, 0)..=(partition, u64::MAX));
        places.map(|((_, hash), sayings)| (*hash, sayings.as_slice()))
    }

    /// The copy of a partition goes, and with it what was said.
    pub(crate) fn forget(&mut self, partition: u16) {
        let before = self.by_place.len();
        self.by_place.retain(|place, _| place.0 != partition);
        if self.by_place.len() < before {
            self.order.retain(|place| place.0 != partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::ConflictReason;
    use statemesh_protocol::run::RunId;

    fn saying(run: u64, tenure: u64) -> Saying {
        (Conflict { reason: ConflictReason::OwnerLost, lost_from: 1, run: RunId(run) }, Tenure(tenure))
    }

    #[test]
    fn what_was_said_first_makes_room_and_what_goes_with_its_partition_leaves_room() {
        let mut said = Said::default();
        for hash in 0..=KEYS as u64 {
            said.note((1, hash), saying(1, 1));
            said.note((1, hash), saying(1, 1));
        }
        assert!(!said.has((1, 0), saying(1, 1)) && said.has((1, 1), saying(1, 1)));
        assert_eq!((said.by_place.len(), said.order.len()), (KEYS, KEYS));
        said.note((2, 1), saying(1, 1));
        said.forget(1);
        assert_eq!((said.by_place.len(), said.order.len(), said.of(2).count()), (1, 1, 1));
    }

    #[test]
    fn what_an_unknown_copy_did_may_be_another_thing_the_next_time() {
        let mut said = Said::default();
        said.note((1, 1), saying(1, 0));
        assert!(!said.has((1, 1), saying(1, 0)) && said.of(1).next().is_none());
    }
}
