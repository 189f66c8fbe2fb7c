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

/// Where two copies of a key went apart: the life that it was in, and its transitions.
pub(super) type Fork = (RunId, u64);

/// What is known of other copies of a partition.
#[derive(Debug, Default)]
pub(super) struct Twins {
    /// By the hash of the key.
    forks: BTreeMap<u64, Fork>,
    /// What came by a merge that is not over: should it be sent again, it is here already.
    merged: BTreeMap<u64, (RunId, u64)>,
    /// What marks said that came, also by merges that are over: keys by hash, and the hash of what was said. Two members may say the same
    /// of one that died.
    marks: BTreeSet<(u64, u64)>,
}

/// Of two places where copies may have gone apart the one that is to be reckoned with: in one life the earlier one; of two lives the
/// later one, so that what the other copy had is rather said to be lost than not.
pub(super) fn nearest(a: Option<Fork>, b: Option<Fork>) -> Option<Fork> {
    let (Some((a_run, a_seq)), Some((b_run, b_seq))) = (a, b) else { return a.or(b) };
    Some(if a_run == b_run { (a_run, a_seq.min(b_seq)) } else { (a_run, a_seq).max((b_run, b_seq)) })
}

impl Twins {
    /// This copy is served again, and there may be another one, which may have gone on from there.
    pub(super) fn forked(&mut self, hash: u64, fork: Fork) {
        let known = self.forks.entry(hash).or_insert(fork);
        *known = nearest(Some(*known), Some(fork)).unwrap_or(fork);
    }

    /// Where another copy of a key went on by itself, if one may have.
    pub(super) fn of(&self, hash: u64) -> Option<Fork> {
        self.forks.get(&hash).copied()
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
            self.forks.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_kept_copy_was_served_again_counts_until_the_two_have_met() {
        let mut twins = Twins::default();
        let (early, late) = (RunId(7), RunId(8));
        [(late, 5), (late, 7), (early, 2)].into_iter().for_each(|fork| twins.forked(1, fork));
        assert_eq!((twins.of(1), twins.of(2)), (Some((late, 5)), None));
        twins.is_merged(2, late, 9);
        twins.merge_is_over();
        assert_eq!(twins.of(1), Some((late, 5)));
        twins.is_merged(1, late, 9);
        twins.merge_is_over();
        assert_eq!(twins.of(1), None);
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
