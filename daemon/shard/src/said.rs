//! What replies have said of keys that lost something. The same may come again by another way, as in the index of a daemon that died or
//! with another copy of the partition, and is not said twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use smallvec::SmallVec;
use statemesh_protocol::tenure::Tenure;

use crate::marks::{Conflict, ConflictReason};
use crate::removed::Place;

/// Keys of a shard of which it is known what was said; beyond it what was said first may be said again.
const KEYS: usize = 1_024;
/// The last ones of a key.
const OF_A_KEY: usize = 8;

/// A conflict, and the copy that did what is gone.
pub(crate) type Saying = (Conflict, Tenure);

/// What was said, with how many members this daemon had met by then.
///
/// A tenure loses no merge twice. But a life that was said to be lost with its owner may have gone on in that tenure, where the mesh was
/// apart, and be lost with more. So that counts only until this daemon meets a member, which may know of it; and not in a partition
/// that came to be in doubt since. Nor does it go along with the copy, as the next holder may have met others.
#[derive(Debug, Default)]
pub(crate) struct Said {
    met: Arc<AtomicU64>,
    by_place: BTreeMap<Place, SmallVec<[(Saying, u64); 1]>>,
    /// In the order in which they came. What is not there any more is skipped.
    order: VecDeque<Place>,
}

impl Said {
    /// Nothing yet. `met` counts the members that this daemon meets.
    pub(crate) fn new(met: Arc<AtomicU64>) -> Self {
        Self { met, ..Self::default() }
    }

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
        let met = self.met.load(Relaxed);
        let sayings = self.by_place.entry(place).or_default();
        sayings.retain(|(known, _)| *known != saying);
        if sayings.len() >= OF_A_KEY {
            sayings.remove(0);
        }
        sayings.push((saying, met));
    }

    /// Whether it was said.
    pub(crate) fn has(&self, place: Place, saying: Saying) -> bool {
        let counts = |at: u64| saying.0.reason == ConflictReason::Merged || at == self.met.load(Relaxed);
        self.by_place.get(&place).is_some_and(|known| known.iter().any(|(known, at)| *known == saying && counts(*at)))
    }

    /// What was said of the keys of a partition that goes along with its copy, by hash.
    pub(crate) fn of(&self, partition: u16) -> impl Iterator<Item = (u64, Vec<Saying>)> {
        let places = self.by_place.range((partition, 0)..=(partition, u64::MAX));
        let merged = |sayings: &SmallVec<[(Saying, u64); 1]>| {
            sayings.iter().map(|(saying, _)| *saying).filter(|(of, _)| of.reason == ConflictReason::Merged).collect()
        };
        places
            .map(move |((_, hash), sayings)| (*hash, merged(sayings)))
            .filter(|(_, sayings): &(u64, Vec<_>)| !sayings.is_empty())
    }

    /// The copy of a partition goes, or is in doubt, and with it goes what was said.
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
        assert_eq!((said.by_place.len(), said.order.len()), (1, 1));
    }

    #[test]
    fn that_an_owner_was_lost_counts_until_another_member_is_met_and_stays_here() {
        let met = Arc::new(AtomicU64::new(0));
        let mut said = Said::new(Arc::clone(&met));
        let (lost, tenure) = saying(1, 1);
        let merged = (Conflict { reason: ConflictReason::Merged, ..lost }, tenure);
        said.note((1, 1), (lost, tenure));
        said.note((1, 1), merged);
        assert!(said.has((1, 1), (lost, tenure)) && said.has((1, 1), merged));
        met.fetch_add(1, Relaxed);
        assert!(!said.has((1, 1), (lost, tenure)) && said.has((1, 1), merged));
        said.note((1, 1), (lost, tenure));
        assert!(said.has((1, 1), (lost, tenure)));
        assert_eq!(said.of(1).collect::<Vec<_>>(), [(1, vec![merged])]);
    }

    #[test]
    fn what_an_unknown_copy_did_may_be_another_thing_the_next_time() {
        let mut said = Said::default();
        said.note((1, 1), saying(1, 0));
        assert!(!said.has((1, 1), saying(1, 0)) && said.by_place.is_empty());
    }
}
