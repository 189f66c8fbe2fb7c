//! What one member is told, part by part: the next part goes when the member has said that it took in the one before. So neither
//! the link nor the member's control plane has more than one part to carry, however many keys there are.

use std::collections::BTreeMap;

use statemesh_protocol::hash::Partition;
use statemesh_protocol::partition_set::PartitionSet;

/// Bytes of keys after which a part ends. A partition is never cut: a hand-off makes all of it at once, too.
pub const PART_BYTES: usize = 512 * 1024;

/// What a member is to be told on its link.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// What it asked for, and whether without what it told itself. This goes first: requests wait for these partitions.
    asked: BTreeMap<Partition, bool>,
    /// Partitions here of which it is to be told everything.
    ours: PartitionSet,
    part: Part,
    /// The part that it has not answered yet.
    awaited: Option<u64>,
}

/// What goes before an answer is awaited.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// The number of its question.
    pub(super) number: u64,
    /// Partitions of which the member got what others told.
    pub(super) relayed: PartitionSet,
    /// Partitions of ours.
    pub(super) told: PartitionSet,
    bytes: usize,
}

/// What is done next for a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send what others told of this partition.
    Relay { partition: Partition, without_own: bool },
    /// Send all keys of this partition, in the part of this number.
    Tell { partition: Partition, number: u64 },
    /// The part has ended.
    End(Part),
}

impl Part {
    fn is_empty(&self) -> bool {
        self.relayed.is_empty() && self.told.is_empty()
    }

    /// Whether it is worth a question: a member that got no keys has nothing to take in.
    pub(super) fn is_asked_about(&self) -> bool {
        self.bytes > 0 || !self.told.is_empty()
    }
}

impl Telling {
    /// Everything of these is to be told.
    pub(super) fn new(ours: PartitionSet) -> Self {
        Self { ours, ..Self::default() }
    }

    /// One more partition of ours.
    pub(super) fn add(&mut self, partition: Partition) {
        self.ours.insert(partition);
    }

    /// This partition of ours is told by itself.
    pub(super) fn remove(&mut self, partition: Partition) {
        self.ours.remove(partition);
    }

    /// The member asks for what others told. What it asked before about the same partition is answered by the same keys.
    pub(super) fn ask(&mut self, set: &PartitionSet, without_own: bool) {
        self.asked.extend(set.iter().map(|partition| (partition, without_own)));
    }

    /// So much was sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.part.bytes += bytes;
    }

    /// The member has taken in what came before this question.
    pub(super) fn answered(&mut self, number: u64) {
        self.awaited.take_if(|awaited| *awaited == number);
    }

    /// The next step, if the member has answered for the part before. `last_number` numbers the questions.
    pub(super) fn next(&mut self, last_number: &mut u64) -> Option<Step> {
        if self.awaited.is_some() {
            return None;
        }
        if self.part.is_empty() {
            self.part = Part { number: *last_number + 1, ..Part::default() };
        }
        let step = if self.part.bytes < PART_BYTES { self.next_partition() } else { None };
        if step.is_some() {
            *last_number = self.part.number.max(*last_number);
            return step;
        }
        let part = std::mem::take(&mut self.part);
        self.awaited = part.is_asked_about().then_some(part.number);
        (!part.is_empty()).then_some(Step::End(part))
    }

    fn next_partition(&mut self) -> Option<Step> {
        if let Some((partition, without_own)) = self.asked.pop_first() {
            self.part.relayed.insert(partition);
            return Some(Step::Relay { partition, without_own });
        }
        let partition = self.ours.iter().next()?;
        self.ours.remove(partition);
        self.part.told.insert(partition);
        Some(Step::Tell { partition, number: self.part.number })
    }
}
