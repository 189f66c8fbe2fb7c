//! Where an instance lives: a partition of a tier of durability; and how far such a place has come.

use crate::hash::Partition;

/// What a place promises of what it has acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Instances are in memory only: they move with their partition, and go with their owner.
    #[default]
    Memory,
}

/// A partition of a tier: what is owned, moved and counted as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its tier.
    pub tier: Tier,
    /// Its partition.
    pub partition: Partition,
}

impl Place {
    /// A partition's place in memory.
    #[must_use]
    pub const fn memory(partition: Partition) -> Self {
        Self { tier: Tier::Memory, partition }
    }
}

/// What has to be durable before others may see what it caused: a place, and the number of a change there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The place.
    pub place: Place,
    /// The change's number, which grows by one with each change of the place.
    pub index: u64,
}
