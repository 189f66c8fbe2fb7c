//! What a reactor tells others: what came first goes first, however long there is no room for it.
//!
//! Commands for other reactors whose rings are full are answers, which `limits.in_flight` of the reactor that waits for them bounds, and
//! keys that have come into being, of which each is told once.

use std::collections::{BTreeMap, VecDeque};

use statemesh_mesh::key_index::FRAME_BYTES;

use crate::mailbox::{Command, ToControl};
use crate::shared::{ControlQueue, Shared};

/// What one reactor is about to tell.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Commands for each reactor that did not fit into its ring.
    waiting: Vec<VecDeque<Command>>,
    /// Messages for the control plane that did not fit into its queue.
    for_control: VecDeque<ToControl>,
    /// Keys that came into being in this turn or were removed, by the standby that is told of them.
    keys: BTreeMap<u32, Vec<u8>>,
}

impl Outgoing {
    pub(super) fn new(reactors: usize) -> Self {
        let waiting = (0..reactors).map(|_| VecDeque::new()).collect();
        Self { waiting, for_control: VecDeque::new(), keys: BTreeMap::new() }
    }

    /// Whether nothing waits for room.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.iter().all(VecDeque::is_empty) && self.for_control.is_empty()
    }

    /// Commands that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    /// Tells a reactor something, behind what waits for it.
    pub(super) fn tell(&mut self, shared: &Shared, reactor: usize, command: Command) {
        self.tell_with(reactor, command, |command| shared.reactors.tell(reactor, command));
    }

    fn tell_with(&mut self, reactor: usize, command: Command, send: impl FnOnce(Command) -> Result<(), Command>) {
        let Some(waiting) = self.waiting.get_mut(reactor) else { return };
        let kept = if waiting.is_empty() { send(command).err() } else { Some(command) };
        waiting.extend(kept);
    }

    /// Tells the control plane something, behind what waits for it.
    pub(super) fn tell_control(&mut self, control: &ControlQueue, message: ToControl) {
        if !self.for_control.is_empty() {
            return self.for_control.push_back(message);
        }
        if let Err(message) = control.tell(message)
            && control.is_open()
        {
            self.for_control.push_back(message);
        }
    }

    /// Tells what waits, as far as there is room.
    pub(super) fn flush(&mut self, shared: &Shared) {
        for reactor in 0..self.waiting.len() {
            self.flush_with(reactor, |command| shared.reactors.tell(reactor, command));
        }
        for message in std::mem::take(&mut self.for_control) {
            self.tell_control(&shared.control, message);
        }
    }

    /// Notes a key for one standby. Gives the keys that are to be sent to it now, since they fill a frame.
    pub(super) fn note_key(&mut self, standby: u32, encode: impl FnOnce(&mut Vec<u8>)) -> Option<Vec<u8>> {
        let body = self.keys.entry(standby).or_default();
        encode(body);
        (body.len() >= FRAME_BYTES).then(|| std::mem::take(body))
    }

    /// Takes out the keys that were noted for one standby, the first one of those that have any.
    pub(super) fn pop_keys(&mut self) -> Option<(u32, Vec<u8>)> {
        while let Some((standby, body)) = self.keys.pop_first() {
            if !body.is_empty() {
                return Some((standby, body));
            }
        }
        None
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
