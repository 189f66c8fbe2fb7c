//! The journal at work: pulls records from who has them, and does what the journal says. It is a value over a [`Storage`]; its thread is
//! [`crate::thread`], and the simulator takes its turns itself.

use crate::journal::{Input, Journal, Output, Position};
use crate::segments::Segments;
use crate::storage::Storage;

/// Who has records: the shards of a daemon. It is asked on the journal's thread, and must answer without waiting.
pub trait Source {
    /// Appends whole records, in the order of each place: about as many bytes as there is `room`, one record more at most. Nothing,
    /// if there is none. What is over stays where it is, and must be bounded there.
    fn take(&mut self, room: usize, into: &mut Vec<u8>);

    /// What was taken last is durable once this batch is.
    fn taken(&mut self, lsn: u64);

    /// A batch of so many bytes, its header and padding included, goes to this place of the journal.
    fn departs(&mut self, at: Position, bytes: u64);

    /// Everything up to this batch is durable: who waits for it is to be woken.
    fn durable(&mut self, lsn: u64);

    /// Whether segments are lacking: while they are, no new event may be taken. What is pending already has its room. The disk may have room
    /// and be slower than events come, or the first segments may not be there yet.
    fn full(&mut self, is_full: bool);

    /// The disk had no room for a segment; it is asked for again later.
    fn no_room(&mut self);

    /// Nothing becomes durable any more. Nothing that waits may be answered as if it were.
    fn failed(&mut self);
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// There may be more to do at once: the next turn is due now.
    pub has_more: bool,
    /// Mesh time of the next turn, unless records come before.
    pub deadline: Option<u64>,
    /// A segment to be made, and of which one: [`crate::segments::prepare`], whose answer goes to [`Runner::tell`]. It takes long.
    pub prepare: Option<(u64, Option<u64>)>,
}

/// A journal with its files and its source.
pub struct Runner<S: Storage, R> {
    journal: Journal,
    segments: Segments<S>,
    source: R,
    buffer: Vec<u8>,
    prepare: Option<(u64, Option<u64>)>,
    is_preparing: bool,
    is_over: bool,
}

impl<S: Storage, R: Source> Runner<S, R> {
    /// A journal that has not begun.
    pub fn new(journal: Journal, segments: Segments<S>, source: R) -> Self {
        let buffer = Vec::new();
        Self { journal, segments, source, buffer, prepare: None, is_preparing: false, is_over: false }
    }

    /// Takes what there is and does what comes of it: up to a batch that is durable, or a segment that is to be made. A source may never run
    /// dry, and the turn's owner has to make that segment and to tell of others meanwhile. `now` tells the mesh time of each step.
    pub fn turn(&mut self, now: &mut dyn FnMut() -> u64) -> Turn {
        self.tell(Input::Time, now());
        let has_more = !self.is_over && self.pull(now()) | self.work(now);
        let prepare = self.prepare.take();
        self.is_preparing |= prepare.is_some();
        Turn { has_more, deadline: self.journal.next_deadline(), prepare }
    }

    /// Tells the journal of something: a segment that was made, a checkpoint that is complete.
    pub fn tell(&mut self, input: Input<'_>, now: u64) {
        if matches!(input, Input::Prepared(_) | Input::NoRoom) {
            self.is_preparing = false;
        }
        let has_no_room = matches!(input, Input::NoRoom);
        if self.journal.handle(input, now).is_err() {
            self.fail(now);
        }
        if has_no_room {
            self.source.no_room();
        }
    }

    /// Ends it where a turn was broken off: its source is told that it failed.
    pub fn give_up(&mut self) {
        self.is_over = true;
        self.source.failed();
    }

    /// lsn up to which everything is durable.
    pub const fn durable(&self) -> u64 {
        self.journal.durable()
    }

    /// Whether nothing more will come of what was taken: it is durable and has its proof, or cannot become so.
    pub fn is_done(&self) -> bool {
        let is_stuck = || !(self.journal.is_in_flight() || self.is_preparing);
        self.is_over || if self.journal.is_settled() { !self.journal.lacks_proof() } else { is_stuck() }
    }

    /// Whether the journal has stopped.
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes records. Gives whether there were some.
    fn pull(&mut self, now: u64) -> bool {
        let room = self.journal.room();
        if room == 0 {
            return false;
        }
        self.buffer.clear();
        self.source.take(room, &mut self.buffer);
        if self.buffer.is_empty() {
            return false;
        }
        let taken = self.journal.handle(Input::Records(&self.buffer), now);
        match taken {
            Ok(()) => self.source.taken(self.journal.last_lsn()),
            // Who makes records that are none is broken; going on would leave out a change.
            Err(_) => self.fail(now),
        }
        true
    }

    /// Does what the journal says until it has nothing more to say, something new is durable, or a segment is to be made. Gives whether there
    /// was anything.
    fn work(&mut self, now: &mut dyn FnMut() -> u64) -> bool {
        let mut has_worked = false;
        while let Some(output) = self.journal.poll() {
            has_worked = true;
            match output {
                Output::Prepare { segment, from } => {
                    self.prepare = Some((segment, from));
                    return true;
                }
                Output::Durable(lsn) => {
                    self.source.durable(lsn);
                    return true;
                }
                Output::Full(is_full) => self.source.full(is_full),
                Output::Stop => {
                    self.is_over = true;
                    self.source.failed();
                }
                Output::Write(_) | Output::Sync(_) | Output::Remove(_) => {
                    if let Output::Write(at) = output {
                        self.source.departs(at, self.journal.in_flight().len() as u64);
                    }
                    if let Some(done) = self.segments.execute(output, self.journal.in_flight()) {
                        self.tell(done, now());
                    }
                }
            }
        }
        has_worked
    }

    fn fail(&mut self, now: u64) {
        // It is no record, so it is not refused.
        let _ = self.journal.handle(Input::Failed, now);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use statemesh_protocol::place::{StoredPlace, StoredTier};
    use statemesh_protocol::record::{Kind, Part, RecordHead};

    use super::*;
    use crate::journal::{Config, Start};
    use crate::segments::prepare;
    use crate::testing::SimDisk;

    const RECORDS: u64 = 400;

    /// Has a record whenever it is asked, until it was asked very often.
    #[derive(Clone, Default)]
    struct Load {
        made: Rc<Cell<u64>>,
        full: Rc<RefCell<Vec<bool>>>,
    }

    impl Source for Load {
        fn take(&mut self, _: usize, into: &mut Vec<u8>) {
            if self.made.get() == RECORDS {
                return;
            }
            self.made.set(self.made.get() + 1);
            let place = StoredPlace { tier: StoredTier::Disk, partition: 1 };
            let index = self.made.get();
            let head = RecordHead { place, index, term: 0, at: 1, kind: Kind::Step, key_hash: 1 };
            head.write(into, |parts| {
                parts.part(&Part::Auxiliary(&[0; 2_000]));
            });
        }

        fn taken(&mut self, _: u64) {}

        fn departs(&mut self, at: Position, bytes: u64) {
            assert!(at.offset + bytes <= config().segment_bytes && bytes.is_multiple_of(4_096));
        }

        fn durable(&mut self, _: u64) {}

        fn no_room(&mut self) {
            panic!("the disk has room");
        }

        fn full(&mut self, is_full: bool) {
            self.full.borrow_mut().push(is_full);
        }

        fn failed(&mut self) {}
    }

    fn config() -> Config {
        Config { segment_bytes: 64 * 1024, batch_bytes: 8_000, alone_bytes: 5_000, ..Config::default() }
    }

    #[test]
    fn a_source_that_never_runs_dry_keeps_no_turn_from_ending_and_no_segment_from_being_made() {
        let (disk, load) = (SimDisk::new(1), Load::default());
        let (start, bytes) = (Start { volume: 7, next_lsn: 1, ..Start::default() }, config().segment_bytes);
        let journal = Journal::new(config(), start);
        let mut runner = Runner::new(journal, Segments::new(disk.clone(), &config()), load.clone());
        let mut turns = 0;
        while load.made.get() < RECORDS || !runner.is_done() {
            if load.made.get() == RECORDS {
                runner.tell(Input::Idle, 1);
            }
            let durable = runner.durable();
            let turn = runner.turn(&mut || 1);
            assert!(runner.durable() <= durable + 1, "a turn ends with a batch");
            assert!(turn.has_more || turn.prepare.is_some() || load.made.get() == RECORDS);
            if let Some((segment, from)) = turn.prepare {
                runner.tell(prepare(&disk, segment, from, bytes), 1);
            }
            turns += 1;
        }
        assert_eq!(*load.full.borrow(), [true, false], "full at the start only, when there is no segment yet");
        assert!(turns >= RECORDS, "{turns}");
    }
}
