//! What the control plane has others do: commands for the reactors, in order, whatever room there is in their rings; and what its shell
//! is to do.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Output;
use crate::mailbox::Command;
use crate::shared::Shared;

/// When to try again after a ring was full.
const RETRY: Duration = Duration::from_millis(1);

/// Commands that are to be told, and what is to be done.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<(usize, Command)>,
    /// When to flush again: a ring was full.
    retry_at: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Outbox {
    /// Has the shell do something.
    pub(super) fn put(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// The next thing for the shell to do.
    pub(super) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Tells one reactor.
    pub(super) fn tell(&mut self, reactor: usize, command: Command) {
        self.waiting.push_back((reactor, command));
    }

    /// Tells every reactor.
    pub(super) fn tell_all(&mut self, shared: &Shared, command: impl Fn() -> Command) {
        for reactor in 0..shared.reactors.len() {
            self.waiting.push_back((reactor, command()));
        }
    }

    /// Puts what waits into the rings, as far as there is room.
    pub(super) fn flush(&mut self, shared: &Shared, now: Instant) {
        self.retry_at = None;
        while let Some((reactor, command)) = self.waiting.pop_front() {
            if let Err(command) = shared.reactors.tell(reactor, command) {
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
