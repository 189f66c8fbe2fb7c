//! Commands for the reactors, in order, whatever room there is in their rings.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::mailbox::Command;
use crate::shared::Shared;

/// When to try again after a ring was full.
const RETRY: Duration = Duration::from_millis(1);

/// Commands that are to be told.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<(usize, Command)>,
    /// When to flush again: a ring was full.
    retry_at: Option<Instant>,
}

impl Outbox {
    /// Tells one reactor.
    pub(super) fn tell(&mut self, reactor: usize, command: Command) {
        self.waiting.push_back((reactor, command));
    }

    /// Tells every reactor.
    pub(super) fn tell_all(&mut self, shared: &Shared, command: impl Fn() -> Command) {
        for reactor in 0..shared.reactors() {
            self.waiting.push_back((reactor, command()));
        }
    }

    /// Puts what waits into the rings, as far as there is room.
    pub(super) fn flush(&mut self, shared: &Shared, now: Instant) {
        self.retry_at = None;
        while let Some((reactor, command)) = self.waiting.pop_front() {
            if let Err(command) = shared.tell(reactor, command) {
                self.waiting.push_front((reactor, command));
                self.retry_at = Some(now + RETRY);
                return;
            }
        }
    }

    /// When to flush again.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.retry_at
    }
}
