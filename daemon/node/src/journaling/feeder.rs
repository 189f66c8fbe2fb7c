//! What the journal's thread asks for records, and tells what became of them.

use std::collections::VecDeque;
use std::sync::Arc;

use statemesh_journal::journal::Position;
use statemesh_journal::runner::Source;
use statemesh_protocol::place::Mark;
use tokio::sync::watch;

use crate::shared::Shared;

/// Gives the records of the shards to the journal.
pub(super) struct Feeder {
    shared: Arc<Shared>,
    failing: Arc<watch::Sender<Option<String>>>,
    /// How far places come with what was taken last.
    marks: Vec<Mark>,
    /// How far they come with batches that are not durable yet.
    taken: VecDeque<(u64, Vec<Mark>)>,
    length: Length,
    /// The segments are not there that are to be ahead: at first, or because the disk is full or slower than events come.
    lacks_segments: bool,
    /// They were there once: a start waits for the first ones, and that is no news.
    had_segments: bool,
    /// The disk had no room for one of them.
    has_no_room: bool,
}

/// How long the journal is, and how long it may be: nothing shortens it in this version.
#[derive(Debug)]
struct Length {
    /// Bytes of segments that are full, and of the one that is written up to where it is.
    bytes: u64,
    /// Bytes of records that were taken and have not departed yet.
    gathered: u64,
    segment_bytes: u64,
    max: u64,
}

impl Length {
    const fn is_over(&self) -> bool {
        self.bytes.saturating_add(self.gathered) >= self.max
    }

    const fn take(&mut self, records: usize) {
        self.gathered = self.gathered.saturating_add(records as u64);
    }

    /// A batch goes to this place. What it leaves empty at the end of the segment before counts too.
    const fn depart(&mut self, at: Position, bytes: u64) {
        if at.offset == 0 {
            self.bytes = self.bytes.div_ceil(self.segment_bytes).saturating_mul(self.segment_bytes);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.gathered = self.gathered.saturating_sub(bytes);
    }
}

impl Feeder {
    /// Of a journal that has so many bytes already.
    pub(super) fn new(shared: Arc<Shared>, failing: Arc<watch::Sender<Option<String>>>, bytes: u64) -> Self {
        let storage = &shared.options.storage;
        let length = Length { bytes, gathered: 0, segment_bytes: storage.segment_bytes, max: storage.journal_bytes };
        let (marks, taken) = (Vec::new(), VecDeque::new());
        let (lacks_segments, had_segments, has_no_room) = (false, false, false);
        let feeder = Self { shared, failing, marks, taken, length, lacks_segments, had_segments, has_no_room };
        feeder.tell_long(false);
        feeder
    }

    fn set_full(&self) {
        if let Some(log) = self.shared.shards.log() {
            log.set_full(self.lacks_segments || self.length.is_over());
        }
    }

    /// Says so if the journal has become as long as it may.
    fn tell_long(&self, was_over: bool) {
        if self.length.is_over() && !was_over {
            self.set_full();
            tracing::warn!(
                bytes = self.length.bytes,
                "the journal has as many bytes as journal_bytes allows: new events of durable machines are refused"
            );
        }
    }

    fn wake_reactors(&self) {
        (0..self.shared.reactors.len()).for_each(|reactor| self.shared.reactors.wake(reactor));
    }
}

impl Source for Feeder {
    fn take(&mut self, room: usize, into: &mut Vec<u8>) {
        if let Some(log) = self.shared.shards.log() {
            log.take(room, into, &mut self.marks);
        }
        let was_over = self.length.is_over();
        self.length.take(into.len());
        self.tell_long(was_over);
    }

    fn taken(&mut self, lsn: u64) {
        self.taken.push_back((lsn, std::mem::take(&mut self.marks)));
    }

    fn departs(&mut self, at: Position, bytes: u64) {
        self.had_segments = true;
        let was_over = self.length.is_over();
        self.length.depart(at, bytes);
        self.tell_long(was_over);
    }

    fn durable(&mut self, lsn: u64) {
        let Some(log) = self.shared.shards.log() else { return };
        let mut is_news = false;
        while let Some((_, marks)) = self.taken.pop_front_if(|(taken, _)| *taken <= lsn) {
            is_news = true;
            log.synced(&marks);
        }
        if is_news {
            self.wake_reactors();
        }
    }

    fn full(&mut self, is_full: bool) {
        self.lacks_segments = is_full;
        self.set_full();
        let had_no_room = self.has_no_room;
        if is_full {
            if self.had_segments && !had_no_room {
                tracing::warn!(
                    "the journal's next segment is not there yet, the disk being slower than events come: new events of durable machines \
                     are refused until it is"
                );
            }
            return;
        }
        if self.had_segments || had_no_room {
            tracing::info!("the volume has room for the journal");
        }
        (self.had_segments, self.has_no_room) = (true, false);
    }

    fn no_room(&mut self) {
        if !std::mem::replace(&mut self.has_no_room, true) {
            tracing::warn!("the volume has no room for the journal: new events of durable machines are refused");
        }
    }

    fn failed(&mut self) {
        if let Some(log) = self.shared.shards.log() {
            log.set_failed();
        }
        let reason = "storage_failed: the volume could not be written or synced; nothing that was not acknowledged counts, and the \
                      next start reads what is there";
        tracing::error!(reason, "this daemon cannot go on");
        let _ = self.failing.send(Some(reason.to_owned()));
        self.wake_reactors();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_as_long_as_its_segments_also_where_batches_leave_much_of_them_empty() {
        let mut length = Length { bytes: 0, gathered: 0, segment_bytes: 1_000, max: 3_500 };
        for segment in 1..=4 {
            assert!(!length.is_over(), "{segment}");
            length.take(590);
            length.depart(Position { segment, offset: 0 }, 600);
        }
        assert_eq!((length.bytes, length.gathered, length.is_over()), (3_600, 0, true));
        length.bytes = 3_000;
        length.take(500);
        assert!(length.is_over(), "what was taken is written too");
    }
}
