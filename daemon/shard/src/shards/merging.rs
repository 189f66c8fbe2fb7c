//! A merge of another copy of a partition: which copy it is, and what of it is here already, as a merge may break off and begin anew.

use std::collections::{BTreeMap, BTreeSet};

use statemesh_protocol::hash::content_hash;
use statemesh_protocol::image::KeyMark;
use statemesh_protocol::run::RunId;
use statemesh_protocol::tenure::Tenures;

/// Marks of a partition that are remembered. Of more, those may be said twice that two members say of one that died.
const MARKS: usize = 4_096;

/// What is known of a merge.
#[derive(Debug, Default)]
pub(super) struct Merging {
    /// The tenures of the other copy, while it comes.
    pub coming: Tenures,
    /// What came by a merge that is not over: should it be sent again, it is here already. By the hash of a key its life, and the hash of its
    /// trail.
    merged: BTreeMap<u64, (RunId, u64)>,
    /// What marks said that came, and what removed instances left, also by merges that are over: keys by hash, and the hash of what was
    /// said. Two members may say the same of one that died.
    marks: BTreeSet<(u64, u64)>,
}

impl Merging {
    /// Whether a state that comes was merged before. It is from now on.
    pub(super) fn is_merged(&mut self, hash: u64, run: RunId, trail: &[u8]) -> bool {
        let state = (run, content_hash(0, trail));
        self.merged.insert(hash, state) == Some(state)
    }

    /// The same of a mark.
    pub(super) fn is_mark_merged(&mut self, mark: &KeyMark<'_>) -> bool {
        self.is_said((mark.hash, content_hash(0, mark.body)))
    }

    /// The same of what a removed instance left.
    pub(super) fn is_left_merged(&mut self, hash: u64, tokens: &[u8]) -> bool {
        self.is_said((hash, content_hash(1, tokens)))
    }

    fn is_said(&mut self, said: (u64, u64)) -> bool {
        if self.marks.len() >= MARKS {
            self.marks.clear();
        }
        !self.marks.insert(said)
    }

    /// All of the other copy is here.
    pub(super) fn is_over(&mut self) {
        self.merged.clear();
        self.coming = Tenures::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_again_was_merged_before() {
        let mut merging = Merging::default();
        assert!(!merging.is_merged(1, RunId(7), b"3") && merging.is_merged(1, RunId(7), b"3"));
        assert!(!merging.is_merged(1, RunId(7), b"4") && !merging.is_merged(2, RunId(7), b"4"));
        merging.is_over();
        assert!(!merging.is_merged(1, RunId(7), b"4"));
    }

    #[test]
    fn marks_that_are_remembered_have_a_bound() {
        let mut merging = Merging::default();
        for hash in 0..MARKS as u64 + 9 {
            assert!(!merging.is_mark_merged(&KeyMark { hash, body: b"lost" }));
        }
        assert!(merging.marks.len() <= MARKS && merging.is_mark_merged(&KeyMark { hash: MARKS as u64, body: b"lost" }));
    }
}
