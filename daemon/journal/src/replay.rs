//! Which of the records that are read back a place still lacks. Checkpoints are told first, then the journal's events in their order.
//!
//! A place counts from the index of its section; what is not above it is in its images already. An image may be newer than its section: who
//! applies a record to an instance leaves it out if the instance's image has that index. An index that is missing is damage, as a lost
//! batch is: what comes behind it would be applied to a state that never was.

use std::collections::BTreeMap;
use std::ops::Range;

use statemesh_protocol::place::StoredPlace;
use statemesh_protocol::record::{Kind, RecordHead, SectionHead};

use crate::checkpoint::CheckpointHead;

/// What is to be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one.
    Apply,
    /// It takes the place of everything from its index on, which was never committed: that is undone first.
    Replace,
    /// Everything from its index on is void.
    Void,
    /// It has no index: a vote, how far all is committed, a checkpoint.
    Beside,
    /// The checkpoint has it.
    LeaveOut,
    /// Something before it is missing.
    Damaged,
}

/// How far a place has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Index of its section; 0 without one.
    pub base: u64,
    /// Index of the last record.
    pub index: u64,
    /// Mesh time of that record, in milliseconds: what comes next is not earlier.
    pub at: u64,
    /// The first index that is missing, if one is.
    pub missing: Option<u64>,
}

/// Places on their way from checkpoints to the journal's end.
#[derive(Debug)]
pub struct Replay<F> {
    shard_of: F,
    /// For each shard with a checkpoint, from which batch on it needs the journal.
    replay_from: BTreeMap<u16, u64>,
    shards: u16,
    covered: u64,
    places: BTreeMap<StoredPlace, Progress>,
    lost: Vec<Range<u64>>,
}

impl<F: Fn(StoredPlace) -> u16> Replay<F> {
    /// So many shards, of which none has a checkpoint. `shard_of` gives the shard of a place.
    pub const fn new(shards: u16, shard_of: F) -> Self {
        Self { shard_of, replay_from: BTreeMap::new(), shards, covered: 0, places: BTreeMap::new(), lost: Vec::new() }
    }

    /// The checkpoint of a shard that is taken.
    pub fn checkpoint(&mut self, head: &CheckpointHead) {
        self.replay_from.insert(head.shard, head.replay_from);
        self.covered = self.covered.max(head.covered);
    }

    /// A section of it.
    pub fn section(&mut self, head: &SectionHead<'_>) {
        let progress = Progress { base: head.index, index: head.index, at: head.at, missing: None };
        self.places.insert(head.place, progress);
    }

    /// The lsn from which the journal must be read, and up to which checkpoints have it.
    pub fn needs(&self) -> (u64, u64) {
        let from = (0..self.shards).map(|shard| self.replay_from(shard)).min();
        (from.unwrap_or(1), self.covered)
    }

    /// From which batch on this shard needs the journal: that of its checkpoint, or the first.
    pub fn replay_from(&self, shard: u16) -> u64 {
        self.replay_from.get(&shard).copied().unwrap_or(1)
    }

    /// Batches are lost.
    pub fn lost(&mut self, lsns: Range<u64>) {
        self.lost.push(lsns);
    }

    /// The lost batches that this shard needed; none, and it is whole.
    pub fn lost_of(&self, shard: u16) -> impl Iterator<Item = &Range<u64>> {
        let from = self.replay_from(shard);
        self.lost.iter().filter(move |lsns| from < lsns.end)
    }

    /// A record of the journal.
    pub fn record(&mut self, head: &RecordHead) -> Verdict {
        if self.lost_of((self.shard_of)(head.place)).next().is_some() {
            return Verdict::Damaged;
        }
        let place = self.places.entry(head.place).or_default();
        let is_above = head.index > place.base;
        let verdict = match head.kind {
            _ if place.missing.is_some() => Verdict::Damaged,
            Kind::Truncate if is_above && head.index <= place.index => Verdict::Void,
            kind if !kind.takes_an_index() => Verdict::Beside,
            _ if !is_above => Verdict::LeaveOut,
            _ if head.index <= place.index => Verdict::Replace,
            _ if head.index == place.index.saturating_add(1) => Verdict::Apply,
            _ => {
                place.missing = Some(place.index.saturating_add(1));
                Verdict::Damaged
            }
        };
        match verdict {
            Verdict::Apply | Verdict::Replace => (place.index, place.at) = (head.index, place.at.max(head.at)),
            Verdict::Void => place.index = head.index.saturating_sub(1),
            Verdict::Beside | Verdict::LeaveOut | Verdict::Damaged => {}
        }
        verdict
    }

    /// How far this place has come.
    pub fn progress(&self, place: StoredPlace) -> Progress {
        self.places.get(&place).copied().unwrap_or_default()
    }

    /// All places of which anything was read.
    pub fn places(&self) -> impl Iterator<Item = (&StoredPlace, &Progress)> {
        self.places.iter()
    }
}

#[cfg(test)]
mod tests {
    use statemesh_protocol::place::StoredTier;

    use super::*;

    fn place(partition: u16) -> StoredPlace {
        StoredPlace { tier: StoredTier::Replicated, partition }
    }

    fn replay() -> Replay<impl Fn(StoredPlace) -> u16> {
        Replay::new(2, |place| place.partition % 2)
    }

    fn record(partition: u16, index: u64, kind: Kind) -> RecordHead {
        RecordHead { place: place(partition), index, term: 1, at: index, kind, key_hash: 0 }
    }

    fn checkpoint(shard: u16, replay_from: u64, covered: u64) -> CheckpointHead {
        CheckpointHead { volume: 1, shard, replay_from, covered, mesh_time: 0, sections: 0, length: 0 }
    }

    #[test]
    fn records_count_on_from_their_section_and_what_is_missing_is_named() {
        let mut replay = replay();
        replay.places.insert(place(0), Progress { base: 5, index: 5, at: 5, missing: None });
        let verdicts = [4, 5, 6, 7, 9, 8].map(|index| replay.record(&record(0, index, Kind::Step)));
        use Verdict::{Apply, Damaged, LeaveOut};
        assert_eq!(verdicts, [LeaveOut, LeaveOut, Apply, Apply, Damaged, Damaged]);
        assert_eq!(replay.progress(place(0)), Progress { base: 5, index: 7, at: 7, missing: Some(8) });
        assert_eq!([1, 2].map(|index| replay.record(&record(1, index, Kind::Create))), [Apply, Apply]);
    }

    #[test]
    fn an_entry_takes_the_place_of_all_from_its_index_on_and_a_truncation_leaves_nothing_there() {
        let mut replay = replay();
        (1..=5).for_each(|index| assert_eq!(replay.record(&record(0, index, Kind::Step)), Verdict::Apply));
        assert_eq!(replay.record(&record(0, 3, Kind::Term)), Verdict::Replace);
        assert_eq!(replay.record(&record(0, 3, Kind::Commit)), Verdict::Beside);
        assert_eq!(replay.record(&record(0, 3, Kind::Truncate)), Verdict::Void);
        assert_eq!(replay.record(&record(0, 3, Kind::Truncate)), Verdict::Beside);
        assert_eq!(replay.record(&record(0, 3, Kind::Step)), Verdict::Apply);
    }

    #[test]
    fn lost_batches_hurt_the_shards_that_need_them() {
        let mut replay = replay();
        replay.checkpoint(&checkpoint(1, 20, 25));
        assert_eq!(replay.needs(), (1, 25));
        replay.checkpoint(&checkpoint(0, 10, 12));
        assert_eq!(replay.needs(), (10, 25));
        replay.lost(15..20);
        assert_eq!([0, 1].map(|shard| replay.lost_of(shard).count()), [1, 0]);
        assert_eq!(replay.record(&record(0, 1, Kind::Step)), Verdict::Damaged);
        assert_eq!(replay.record(&record(1, 1, Kind::Step)), Verdict::Apply);
    }
}
