//! What the journal's thread asks for records, and tells what became of them.

use std::collections::VecDeque;
use std::sync::Arc;

use statemesh_journal::batch::extent;
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
    /// Bytes that the journal has, about, and may have: nothing shortens it in this version.
    bytes: u64,
    bytes_max: u64,
    /// It has no room for its next segment.
    has_no_room: bool,
}

impl Feeder {
    /// Of a journal that has so many bytes already.
    pub(super) fn new(shared: Arc<Shared>, failing: Arc<watch::Sender<Option<String>>>, bytes: u64) -> Self {
        let bytes_max = shared.options.storage.journal_bytes;
        let feeder =
            Self { shared, failing, marks: Vec::new(), taken: VecDeque::new(), bytes, bytes_max, has_no_room: false };
        if feeder.is_long() {
            feeder.tell_full();
        }
        feeder
    }

    fn is_long(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    fn tell_full(&self) {
        if let Some(log) = self.shared.shards.log() {
            log.set_full(self.has_no_room || self.is_long());
        }
        match (self.is_long(), self.has_no_room) {
            (true, _) => tracing::warn!(
                bytes = self.bytes,
                "the journal has as many bytes as journal_bytes allows: new events of durable machines are refused"
            ),
            (false, true) => {
                tracing::warn!("the volume has no room for the journal: new events of durable machines are refused");
            }
            (false, false) => tracing::info!("the volume has room for the journal"),
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
        let was_long = self.is_long();
        if !into.is_empty() {
            self.bytes = self.bytes.saturating_add(extent(into.len() as u64));
        }
        if self.is_long() && !was_long {
            self.tell_full();
        }
    }

    fn taken(&mut self, lsn: u64) {
        self.taken.push_back((lsn, std::mem::take(&mut self.marks)));
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
        self.has_no_room = is_full;
        self.tell_full();
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
