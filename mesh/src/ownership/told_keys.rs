//! Of which partitions this member was told keys, and what of that is to be mourned.

use crate::key_index::Indexed;
use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::partition_set::PartitionSet;

#[derive(Debug, Default)]
pub(super) struct ToldKeys {
    indexed: Indexed,
    /// Partitions whose holder was heard since: the key index will say what dead members told of them still matters.
    unsettled: PartitionSet,
}

impl ToldKeys {
    /// The key index says what it has.
    pub(super) fn update(&mut self, indexed: Indexed) {
        (self.indexed, self.unsettled) = (indexed, PartitionSet::new());
    }

    /// Whether this member was told keys of a partition.
    pub(super) fn any(&self, partition: Partition) -> bool {
        self.indexed.all.contains(partition)
    }

    /// Whether this member was told all keys of a partition.
    pub(super) fn all(&self, partition: Partition) -> bool {
        self.indexed.whole.contains(partition)
    }

    /// A member that was taken for dead is there.
    pub(super) fn is_back(&mut self, name: &MemberName) {
        self.indexed.of_dead.remove(name);
    }

    /// A member serves these: what dead members told of them may be of no use any more.
    pub(super) fn served(&mut self, set: &PartitionSet) {
        for p in set.iter() {
            if self.indexed.of_dead.values().any(|of_dead| of_dead.contains(p)) {
                self.unsettled.insert(p);
            }
        }
    }

    pub(super) fn is_unsettled(&self, partition: Partition) -> bool {
        self.unsettled.contains(partition)
    }

    /// Partitions of which a dead member told keys, where that is settled and `is_due`.
    pub(super) fn of_dead(&self, is_due: impl Fn(Partition, &MemberName) -> bool) -> Vec<(Partition, MemberName)> {
        let mut due = Vec::new();
        for (name, set) in &self.indexed.of_dead {
            let concerns = |p: &Partition| !self.is_unsettled(*p) && is_due(*p, name);
            due.extend(set.iter().filter(concerns).map(|p| (p, name.clone())));
        }
        due
    }

    /// A dead member that told keys of a partition.
    pub(super) fn dead_teller(&self, partition: Partition) -> Option<&MemberName> {
        self.indexed.of_dead.iter().find(|(_, set)| set.contains(partition)).map(|(name, _)| name)
    }

    /// What dead members told of a partition is mourned.
    pub(super) fn mourned(&mut self, partition: Partition) {
        self.indexed.of_dead.values_mut().for_each(|set| _ = set.remove(partition));
    }
}
