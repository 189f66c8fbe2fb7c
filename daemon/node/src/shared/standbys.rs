//! The standbys of each partition that is held here: the members that are to know which keys exist in it.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use statemesh_mesh::key_index::TOLD;

/// No member.
const NONE: u32 = u32::MAX;

/// The standbys of all partitions, by their numbers in this process.
#[derive(Debug)]
pub(crate) struct Standbys(Vec<[AtomicU32; TOLD]>);

impl Standbys {
    /// No standbys of so many partitions.
    pub(super) fn new(partitions: u16) -> Self {
        Self((0..partitions).map(|_| [const { AtomicU32::new(NONE) }; TOLD]).collect())
    }

    /// Those of a partition.
    pub(crate) fn of(&self, partition: u16) -> impl Iterator<Item = u32> + '_ {
        let members = self.0.get(usize::from(partition)).into_iter().flatten();
        members.map(|member| member.load(Relaxed)).filter(|member| *member != NONE)
    }

    /// Changes those of a partition.
    pub(crate) fn set(&self, partition: u16, members: &[u32]) {
        for (n, standby) in self.0.get(usize::from(partition)).into_iter().flatten().enumerate() {
            standby.store(members.get(n).copied().unwrap_or(NONE), Relaxed);
        }
    }
}
