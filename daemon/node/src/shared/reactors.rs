//! The reactors, as other threads see them: a ring of commands for each, and what wakes it.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};

use crossbeam::queue::ArrayQueue;
use statemesh_transport::kernel::Wake;

use crate::mailbox::Command;

/// All reactors of a daemon.
#[derive(Debug)]
pub(crate) struct Reactors {
    mailboxes: Vec<Mailbox>,
    /// How many pass on no more requests of clients.
    closed: AtomicUsize,
    /// Times that a ring had no room for a command.
    full: AtomicU64,
}

/// One reactor, as the others see it.
#[derive(Debug)]
struct Mailbox {
    commands: ArrayQueue<Command>,
    /// Bytes of answers that other reactors have made for it, and that it has not taken.
    answer_bytes: AtomicUsize,
    waker: OnceLock<Arc<dyn Wake>>,
}

impl Reactors {
    /// So many, to which nothing was told. For each so many commands may wait.
    pub(super) fn new(reactors: usize, places: usize) -> Self {
        let mailbox = |_| Mailbox {
            commands: ArrayQueue::new(places.max(1)),
            answer_bytes: AtomicUsize::new(0),
            waker: OnceLock::new(),
        };
        let mailboxes = (0..reactors).map(mailbox).collect();
        Self { mailboxes, closed: AtomicUsize::new(0), full: AtomicU64::new(0) }
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.mailboxes.len()
    }

    /// Lets other threads wake this reactor.
    pub(crate) fn set_waker(&self, reactor: usize, waker: Arc<dyn Wake>) {
        if let Some(mailbox) = self.mailboxes.get(reactor) {
            // Each reactor sets its own, once.
            let _ = mailbox.waker.set(waker);
        }
    }

    /// Wakes a reactor.
    pub(crate) fn wake(&self, reactor: usize) {
        if let Some(waker) = self.mailboxes.get(reactor).and_then(|mailbox| mailbox.waker.get())
            && let Err(error) = waker.wake()
        {
            tracing::error!(reactor, %error, "cannot wake a reactor");
        }
    }

    /// Tells a reactor something.
    ///
    /// # Errors
    /// Its ring is full: the command comes back.
    pub(crate) fn tell(&self, reactor: usize, command: Command) -> Result<(), Command> {
        let Some(mailbox) = self.mailboxes.get(reactor) else {
            return Ok(());
        };
        let result = mailbox.commands.push(command);
        self.full.fetch_add(u64::from(result.is_err()), Relaxed);
        self.wake(reactor);
        result
    }

    /// The next command for a reactor.
    #[must_use]
    pub(crate) fn next_command(&self, reactor: usize) -> Option<Command> {
        self.mailboxes.get(reactor)?.commands.pop()
    }

    /// Whether commands wait for a reactor.
    #[must_use]
    pub(crate) fn has_commands(&self, reactor: usize) -> bool {
        self.mailboxes.get(reactor).is_some_and(|mailbox| !mailbox.commands.is_empty())
    }

    /// Times that a ring had no room for a command.
    pub(crate) fn full(&self) -> u64 {
        self.full.load(Relaxed)
    }

    /// Bytes of answers that other reactors have made for this one, and that it has not taken.
    #[must_use]
    pub(crate) fn answer_bytes(&self, reactor: usize) -> usize {
        self.mailboxes.get(reactor).map_or(0, |mailbox| mailbox.answer_bytes.load(Relaxed))
    }

    /// Answers are sent to a reactor.
    pub(crate) fn answers_sent(&self, reactor: usize, bytes: usize) {
        if let Some(mailbox) = self.mailboxes.get(reactor) {
            mailbox.answer_bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// A reactor has taken answers.
    pub(crate) fn answers_taken(&self, reactor: usize, bytes: usize) {
        if let Some(mailbox) = self.mailboxes.get(reactor) {
            mailbox.answer_bytes.fetch_sub(bytes, Relaxed);
        }
    }

    /// One more reactor passes on no more requests of clients, and its counters say what is under way.
    pub(crate) fn closed_one(&self) {
        self.closed.fetch_add(1, Release);
    }

    /// Whether none of them passes on requests of clients any more.
    pub(crate) fn are_closed(&self) -> bool {
        self.closed.load(Acquire) >= self.len()
    }
}
