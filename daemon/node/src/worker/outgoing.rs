//! Commands for other reactors whose rings are full: what came first goes first. They are answers, which `limits.in_flight` of the
//! reactor that waits for them bounds, and keys that have come into being, of which each is told once.

use std::collections::VecDeque;

use crate::mailbox::Command;
use crate::shared::Shared;

/// What waits for each reactor.
#[derive(Debug)]
pub(super) struct Outgoing {
    waiting: Vec<VecDeque<Command>>,
}

impl Outgoing {
    pub(super) fn new(reactors: usize) -> Self {
        Self { waiting: (0..reactors).map(|_| VecDeque::new()).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.iter().all(VecDeque::is_empty)
    }

    /// Commands that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    /// Tells a reactor something, behind what waits for it.
    pub(super) fn tell(&mut self, shared: &Shared, reactor: usize, command: Command) {
        self.tell_with(reactor, command, |command| shared.tell(reactor, command));
    }

    fn tell_with(&mut self, reactor: usize, command: Command, send: impl FnOnce(Command) -> Result<(), Command>) {
        let Some(waiting) = self.waiting.get_mut(reactor) else { return };
        let kept = if waiting.is_empty() { send(command).err() } else { Some(command) };
        waiting.extend(kept);
    }

    /// Tells what waits, as far as there is room.
    pub(super) fn flush(&mut self, shared: &Shared) {
        for reactor in 0..self.waiting.len() {
            self.flush_with(reactor, |command| shared.tell(reactor, command));
        }
    }

    fn flush_with(&mut self, reactor: usize, mut send: impl FnMut(Command) -> Result<(), Command>) {
        let Some(waiting) = self.waiting.get_mut(reactor) else { return };
        while let Some(command) = waiting.pop_front() {
            if let Err(command) = send(command) {
                return waiting.push_front(command);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_told_before_what_waits() {
        let mut outgoing = Outgoing::new(1);
        outgoing.tell_with(0, Command::Unroute { partition: 1 }, Err);
        outgoing.tell_with(0, Command::Unroute { partition: 2 }, |_| panic!("it would be first"));
        assert_eq!(outgoing.len(), 2);
        let mut told = Vec::new();
        outgoing.flush_with(0, |command| {
            told.push(command);
            Ok(())
        });
        assert!(matches!(told[..], [Command::Unroute { partition: 1 }, Command::Unroute { partition: 2 }]));
        assert!(outgoing.is_empty());
    }
}
