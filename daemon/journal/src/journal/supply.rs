//! The segments of a journal but the one that is written: those ahead, which are empty; those behind, each with the lsn of its last batch;
//! and spent ones, which are given another number and used again.

use std::collections::{BTreeSet, VecDeque};

use super::messages::{Output, Start};

/// How often the time until a disk without room is asked again doubles: each attempt fills what room there is before it fails, and takes it
/// from others that write there.
const DOUBLINGS: u32 = 5;

/// The segments that are not written now.
#[derive(Debug)]
pub(super) struct Supply {
    /// How many should be ahead.
    wanted: usize,
    retry_ms: u64,
    ahead: BTreeSet<u64>,
    closed: VecDeque<(u64, u64)>,
    free: VecDeque<u64>,
    next: u64,
    is_preparing: bool,
    is_full: bool,
    retry_at: Option<u64>,
    /// Attempts in a row for which there was no room.
    failures: u32,
}

impl Supply {
    pub(super) fn new(wanted: usize, retry_ms: u64, start: &Start) -> Self {
        let closed = start.closed.iter().map(|(segment, _)| *segment);
        let all = closed.chain(start.ahead.iter().copied()).chain(start.at.map(|at| at.segment));
        Self {
            wanted,
            retry_ms,
            next: all.max().map_or(1, |last| last.saturating_add(1)),
            ahead: start.ahead.iter().copied().collect(),
            closed: start.closed.iter().copied().collect(),
            free: VecDeque::new(),
            is_preparing: false,
            is_full: false,
            retry_at: None,
            failures: 0,
        }
    }

    /// The next segment, if there is one.
    pub(super) fn take(&mut self) -> Option<u64> {
        self.ahead.pop_first()
    }

    /// A segment is full; its last batch has this lsn.
    pub(super) fn close(&mut self, segment: u64, last_lsn: u64) {
        self.closed.push_back((segment, last_lsn));
    }

    /// The segment that was asked for is there.
    pub(super) fn prepared(&mut self, segment: u64) {
        self.is_preparing = false;
        (self.retry_at, self.failures) = (None, 0);
        self.ahead.insert(segment);
    }

    /// There is no room for it.
    pub(super) fn no_room(&mut self, now: u64) {
        self.is_preparing = false;
        self.retry_at = Some(now.saturating_add(self.retry_ms << self.failures.min(DOUBLINGS)));
        self.failures = self.failures.saturating_add(1);
    }

    /// Batches below this lsn are not needed any more.
    pub(super) fn release(&mut self, below: u64) {
        while let Some((segment, _)) = self.closed.pop_front_if(|(_, last)| *last < below) {
            self.free.push_back(segment);
            (self.retry_at, self.failures) = (None, 0);
        }
    }

    /// Time has passed.
    pub(super) fn time(&mut self, now: u64) {
        self.retry_at = self.retry_at.filter(|at| *at > now);
    }

    /// When it is asked again for what there was no room for.
    pub(super) const fn retry_at(&self) -> Option<u64> {
        self.retry_at
    }

    /// Asks for the next segment, if there are fewer ahead than there should be; removes what is more than may be of use.
    pub(super) fn ask(&mut self, outputs: &mut VecDeque<Output>) {
        if self.ahead.len() < self.wanted && !self.is_preparing && self.retry_at.is_none() {
            self.is_preparing = true;
            outputs.push_back(Output::Prepare { segment: self.next, from: self.free.pop_front() });
            self.next = self.next.saturating_add(1);
        }
        self.tell(outputs);
        while self.free.len() > self.wanted {
            outputs.extend(self.free.pop_front().map(Output::Remove));
        }
    }

    /// Says whether there is room: not without the reserve, not where the disk has none for the next segment, and then not before all is
    /// there again. A segment that takes long to make counts as none, since what was taken must fit those that are there.
    fn tell(&mut self, outputs: &mut VecDeque<Output>) {
        let lacks_reserve = self.ahead.len() + 1 < self.wanted;
        let is_full = match self.is_full {
            false => lacks_reserve || self.retry_at.is_some(),
            true => self.ahead.len() < self.wanted,
        };
        if is_full != self.is_full {
            self.is_full = is_full;
            outputs.push_back(Output::Full(is_full));
        }
    }
}
