//! What was given to the journal and is not durable yet. The journal keeps the order: what is durable is all up to some write.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

/// Numbers writes, and knows what each made durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Writes {
    /// The last one that was given a number.
    last: u64,
    /// The last one that is durable.
    durable: u64,
    /// The last one that has a vote or a life.
    ballot: u64,
    /// Entries that are not durable: the write and the index.
    entries: VecDeque<(u64, u64)>,
    /// The log is durable up to here.
    index: u64,
}

/// Two are the same where the same is outstanding, however much was written before.
impl PartialEq for Writes {
    fn eq(&self, other: &Self) -> bool {
        self.outstanding().eq(other.outstanding()) && self.index == other.index
    }
}

impl Eq for Writes {}

impl Hash for Writes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.outstanding().for_each(|write| write.hash(state));
        self.index.hash(state);
    }
}

impl Writes {
    /// Nothing is outstanding, and the log is durable up to `index`.
    pub(super) fn new(index: u64) -> Self {
        Self { index, ..Self::default() }
    }

    fn outstanding(&self) -> impl Iterator<Item = (u64, u64)> {
        let of = move |(write, index): &(u64, u64)| (write - self.durable, *index);
        let ballot = (self.ballot.saturating_sub(self.durable), 0);
        [(self.last - self.durable, 0), ballot].into_iter().chain(self.entries.iter().map(of))
    }

    /// A write that nothing waits for.
    pub(super) fn other(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A write of a vote or a life.
    pub(super) fn ballot(&mut self) -> u64 {
        self.ballot = self.other();
        self.ballot
    }

    /// A write of an entry.
    pub(super) fn entry(&mut self, index: u64) -> u64 {
        let write = self.other();
        self.entries.push_back((write, index));
        write
    }

    /// All from `index` on is void, in the log and on its way to the disk.
    pub(super) fn truncate(&mut self, index: u64) -> u64 {
        self.entries.retain(|(_, other)| *other < index);
        self.index = self.index.min(index.saturating_sub(1));
        self.other()
    }

    /// The log begins anew behind `index`, which is durable.
    pub(super) fn begin(&mut self, index: u64) {
        self.entries.clear();
        self.index = index;
    }

    /// All up to `write` is durable. False if that was known, or was never written.
    pub(super) fn done(&mut self, write: u64) -> bool {
        if write <= self.durable || write > self.last {
            return false;
        }
        self.durable = write;
        while let Some((_, index)) = self.entries.pop_front_if(|(other, _)| *other <= write) {
            self.index = self.index.max(index);
        }
        true
    }

    /// The log is durable up to here.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// Whether term, vote and life are durable as they are.
    pub(super) fn ballot_is_durable(&self) -> bool {
        self.durable >= self.ballot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_was_truncated_on_its_way_is_not_durable() {
        let mut writes = Writes::new(4);
        let five = writes.entry(5);
        let six = writes.entry(6);
        let cut = writes.truncate(5);
        let again = writes.entry(5);
        assert!(writes.done(six) && !writes.done(five));
        assert_eq!(writes.index(), 4);
        assert!(writes.done(cut) && writes.index() == 4);
        assert!(writes.done(again) && writes.index() == 5);
        assert!(!writes.done(again + 1), "what was never written is not durable");
    }

    #[test]
    fn a_vote_is_durable_with_its_write() {
        let mut writes = Writes::new(0);
        assert!(writes.ballot_is_durable());
        let vote = writes.ballot();
        let entry = writes.entry(1);
        assert!(!writes.ballot_is_durable());
        assert!(writes.done(vote) && writes.ballot_is_durable() && writes.index() == 0);
        assert!(writes.done(entry) && writes.index() == 1);
    }
}
