//! The journal's thread. A shell: it sleeps until it is woken or something is due, and lets the runner take a turn. A second thread makes
//! segments, since filling one takes longer than a sync may. A panic of either is a failure of the journal, which its source is told; of a
//! disk that hangs [`Handle::at_work_since`] tells.
#![allow(clippy::disallowed_methods)] // It is the thread.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use crate::journal::{Config, Input, Journal, Position};
use crate::runner::{Runner, Source, Turn};
use crate::segments::{Segments, prepare};
use crate::storage::Storage;

/// What reactors and the journal's thread share.
#[derive(Debug)]
struct Shared {
    durable: AtomicU64,
    released: AtomicU64,
    is_ending: AtomicBool,
    is_over: AtomicBool,
    /// When the turn began that has not ended, in milliseconds of mesh time; [`ASLEEP`] between turns.
    turn_began: AtomicU64,
    thread: OnceLock<Thread>,
}

/// No turn is under way.
const ASLEEP: u64 = u64::MAX;

impl Shared {
    fn new(durable: u64) -> Self {
        Self {
            durable: AtomicU64::new(durable),
            released: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            turn_began: AtomicU64::new(ASLEEP),
            thread: OnceLock::new(),
        }
    }
}

/// A running journal, for those who wake it and look how far it is.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// There are records to be taken. It costs a system call only where the thread sleeps.
    pub fn wake(&self) {
        self.shared.thread.get().map(Thread::unpark);
    }

    /// lsn up to which everything is durable. Who is told by [`Source::durable`] sees at least that.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// Mesh time in milliseconds since when its thread is at one batch; `None` where it sleeps. A write or a sync that does not return keeps
    /// this where it is.
    #[must_use]
    pub fn at_work_since(&self) -> Option<u64> {
        Some(self.shared.turn_began.load(Ordering::Acquire)).filter(|began| *began != ASLEEP)
    }

    /// Whether it has ended: nothing becomes durable any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::Acquire)
    }

    /// What is in batches below this lsn is in checkpoints.
    pub fn release(&self, below: u64) {
        self.shared.released.fetch_max(below, Ordering::AcqRel);
        self.wake();
    }
}

/// The thread itself, for who started it.
#[derive(Debug)]
pub struct JournalThread {
    handle: Handle,
    thread: JoinHandle<()>,
    room: JoinHandle<()>,
}

impl JournalThread {
    /// Starts the journal of a volume. `clock` gives the mesh time in milliseconds.
    pub fn start<S, R>(
        storage: S,
        config: Config,
        journal: Journal,
        source: R,
        clock: impl FnMut() -> u64 + Send + 'static,
    ) -> io::Result<Self>
    where
        S: Storage + Clone + Send + 'static,
        S::File: Send,
        R: Source + Send + 'static,
    {
        let shared = Arc::new(Shared::new(journal.durable()));
        let mut runner =
            Runner::new(journal, Segments::new(storage.clone(), &config), Told { source, shared: shared.clone() });
        let (ask, asked) = channel();
        let (answer, answers) = channel();
        let theirs = shared.clone();
        let body = move || {
            let _over = Over(&theirs);
            let turns = AssertUnwindSafe(|| run(&mut runner, clock, &theirs, &ask, &answers));
            if catch_unwind(turns).is_err() {
                runner.give_up();
            }
        };
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(body)?;
        // Before it is known, there is no handle to wake it.
        let _ = shared.thread.set(thread.thread().clone());
        let theirs = shared.clone();
        let body = move || make_segments(&storage, config.segment_bytes, &asked, &answer, &theirs);
        let room = thread::Builder::new().name("journal-room".to_owned()).spawn(body)?;
        // It may have asked for a segment, or slept, before the other was there.
        thread.thread().unpark();
        Ok(Self { handle: Handle { shared }, thread, room })
    }

    /// What others use.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Lets what was taken become durable, as far as it can, and ends. The files are free for the next journal then.
    pub fn stop(self) {
        self.handle.shared.is_ending.store(true, Ordering::Release);
        self.handle.wake();
        // A panic was caught, unless it was the source's own when it was told of another.
        let _ = self.thread.join();
        let _ = self.room.join();
    }
}

/// A source beside which the shared state is kept.
struct Told<R> {
    source: R,
    shared: Arc<Shared>,
}

impl<R: Source> Source for Told<R> {
    fn take(&mut self, room: usize, into: &mut Vec<u8>) {
        self.source.take(room, into);
    }

    fn taken(&mut self, lsn: u64) {
        self.source.taken(lsn);
    }

    fn departs(&mut self, at: Position, bytes: u64) {
        self.source.departs(at, bytes);
    }

    fn durable(&mut self, lsn: u64) {
        self.shared.durable.store(lsn, Ordering::Release);
        self.source.durable(lsn);
    }

    fn full(&mut self, is_full: bool) {
        self.source.full(is_full);
    }

    fn no_room(&mut self) {
        self.source.no_room();
    }

    fn failed(&mut self) {
        self.source.failed();
    }
}

/// Marks the journal as over, however its thread ends.
struct Over<'s>(&'s Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
}

type Wanted = (u64, Option<u64>);

fn run<S: Storage, R: Source>(
    runner: &mut Runner<S, R>,
    mut clock: impl FnMut() -> u64,
    shared: &Shared,
    ask: &Sender<Wanted>,
    answers: &Receiver<Input<'static>>,
) {
    let mut released = 0;
    loop {
        match answers.try_recv() {
            Ok(input) => runner.tell(input, clock()),
            Err(TryRecvError::Empty) => {}
            // Without segments it comes to an end anyway, and the one that was asked for would be waited for in vain.
            Err(TryRecvError::Disconnected) => runner.tell(Input::Failed, clock()),
        }
        let below = shared.released.load(Ordering::Acquire);
        if below > released {
            released = below;
            runner.tell(Input::Release(below), clock());
        }
        let is_ending = shared.is_ending.load(Ordering::Acquire);
        if is_ending {
            runner.tell(Input::Idle, clock());
        }
        shared.turn_began.store(clock(), Ordering::Release);
        let Turn { has_more, deadline, prepare } = runner.turn(&mut clock);
        shared.turn_began.store(ASLEEP, Ordering::Release);
        if prepare.is_some_and(|wanted| ask.send(wanted).is_err()) {
            runner.tell(Input::Failed, clock());
        }
        if runner.is_over() || (is_ending && runner.is_done()) {
            return;
        }
        match deadline {
            _ if has_more => {}
            None => thread::park(),
            Some(at) => thread::park_timeout(Duration::from_millis(at.saturating_sub(clock()))),
        }
    }
}

fn make_segments<S: Storage>(
    storage: &S,
    segment_bytes: u64,
    asked: &Receiver<Wanted>,
    answer: &Sender<Input<'static>>,
    shared: &Shared,
) {
    while let Ok((segment, from)) = asked.recv() {
        let made = catch_unwind(AssertUnwindSafe(|| prepare(storage, segment, from, segment_bytes)));
        if answer.send(made.unwrap_or(Input::Failed)).is_err() {
            return;
        }
        shared.thread.get().map(Thread::unpark);
    }
}
