//! What the shell is to do next, and what every linked member is told at the end of an input.

use std::collections::VecDeque;

use super::Output;
use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::partition_set::PartitionSet;
use statemesh_protocol::peer::ownership::OwnershipMessage;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Output>,
    /// Served from now on; to be said at the end of the input.
    served: PartitionSet,
    /// Handed off; to be said at the end of the input.
    handed_off: PartitionSet,
}

impl Outbox {
    pub(super) fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    pub(super) fn send(&mut self, to: &MemberName, message: OwnershipMessage) {
        self.push(Output::Send { to: to.clone(), message });
    }

    /// This member serves a partition.
    pub(super) fn serves(&mut self, partition: Partition) {
        self.served.insert(partition);
    }

    /// This member has handed a partition off.
    pub(super) fn handed_off(&mut self, partition: Partition) {
        self.handed_off.insert(partition);
    }

    /// Tells these members what is served here, and what is not any more.
    pub(super) fn announce<'a>(&mut self, to: impl Iterator<Item = &'a MemberName> + Clone) {
        let set = std::mem::take(&mut self.served);
        if !set.is_empty() {
            to.clone().for_each(|name| self.send(name, OwnershipMessage::Serving { set: set.clone() }));
        }
        // What this member told of itself when it met another may come behind what the new holder tells.
        let set = std::mem::take(&mut self.handed_off);
        if !set.is_empty() {
            to.for_each(|name| self.send(name, OwnershipMessage::NotHere { set: set.clone() }));
        }
    }
}
