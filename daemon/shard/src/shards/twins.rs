//! What two copies of a partition have in common, so that a merge names what is lost, all of it and nothing else.
//!
//! Two copies of one life come about in one way: a holder keeps what it sent, the receiver serves it, and the holder, which does not
//! hear of that, serves its own again. Both had the same transitions until the hand-off. An image says which those may be: all that it
//! has, or, where its holder has served a kept copy again and the two have not met since, what that had then. However long a cut lasts,
//! and wherever either copy goes meanwhile, that holds.

use std::collections::{BTreeMap, BTreeSet};

use statemesh_protocol::hash::content_hash;
use statemesh_protocol::image::KeyMark;
use statemesh_protocol::run::RunId;

/// What is known of other copies of a partition.
#[derive(Debug, Default)]
pub(super) struct Twins {
    /// The last transitions in common, by the hash of the key.
    common: BTreeMap<u64, u64>,
    /// What came by a merge that is not over: should it be sent again, it is here already.
    merged: BTreeMap<u64, (RunId, u64)>,
    /// What marks said that came, also by merges that are over: keys by hash, and the hash of what was said. Two members may say the same
    /// of one that died.
    marks: BTreeSet<(u64, u64)>,
}

impl Twins {
    /// This copy is served again, and there may be another one: an instance of this key has so many transitions in common with it.
    pub(super) fn reopened(&mut self, hash: u64, common: u64) {
        let known = self.common.entry(hash).or_insert(common);
        *known = common.min(*known);
    }

    /// Where another copy of a key went on by itself, if one may have.
    pub(super) fn of(&self, hash: u64) -> Option<u64> {
        self.common.get(&hash).copied()
    }

    /// What an instance with so many transitions has in common with any other copy.
    pub(super) fn common(&self, hash: u64, seq: u64) -> u64 {
        self.of(hash).map_or(seq, |common| seq.min(common))
    }

    /// Whether a state that comes was merged before. It is from now on.
    pub(super) fn is_merged(&mut self, hash: u64, run: RunId, seq: u64) -> bool {
        self.merged.insert(hash, (run, seq)) == Some((run, seq))
    }

    /// The same of a mark.
    pub(super) fn is_mark_merged(&mut self, mark: &KeyMark<'_>) -> bool {
        !self.marks.insert((mark.hash, content_hash(0, mark.body)))
    }

    /// All of the other copy is here. A key of which it had nothing has another twin.
    pub(super) fn merge_is_over(&mut self) {
        for hash in std::mem::take(&mut self.merged).into_keys() {
            self.common.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kept_copy_had_when_it_was_served_again_counts_until_the_two_have_met() {
        let mut twins = Twins::default();
        assert_eq!(twins.common(1, 9), 9);
        twins.reopened(1, 5);
        twins.reopened(1, 7);
        assert_eq!((twins.common(1, 9), twins.common(1, 4), twins.common(2, 9)), (5, 4, 9));
        twins.is_merged(2, RunId(7), 9);
        twins.merge_is_over();
        assert_eq!(twins.common(1, 9), 5);
        twins.is_merged(1, RunId(7), 9);
        twins.merge_is_over();
        assert_eq!(twins.common(1, 9), 9);
    }

    #[test]
    fn what_is_sent_again_was_merged_before() {
        let mut twins = Twins::default();
        assert!(!twins.is_merged(1, RunId(7), 3) && twins.is_merged(1, RunId(7), 3));
        assert!(!twins.is_merged(1, RunId(7), 4) && !twins.is_merged(2, RunId(7), 4));
        twins.merge_is_over();
        assert!(!twins.is_merged(1, RunId(7), 4));
    }
}
