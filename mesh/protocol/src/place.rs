//! Where an instance lives: a partition of a tier of durability; and how far such a place has come.

use crate::hash::Partition;

/// What a place promises of what it has acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Instances are in memory only: they move with their partition, and go with their owner.
    #[default]
    Memory,
    /// One volume has them: what was acknowledged outlives the process.
    Disk,
}

impl Tier {
    /// As definitions, settings and replies name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
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

    /// A partition's place on this daemon's disk.
    #[must_use]
    pub const fn disk(partition: Partition) -> Self {
        Self { tier: Tier::Disk, partition }
    }
}

/// A tier of which something is on a disk, by the number that it has there. Memory's is 0 and never written; 3 is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum StoredTier {
    /// One volume has it.
    Disk = 1,
    /// A majority of voters has it.
    Replicated = 2,
}

/// A place as records and files name it: the varint `partition << 2 | tier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredPlace {
    /// Its tier.
    pub tier: StoredTier,
    /// Its partition.
    pub partition: Partition,
}

impl StoredPlace {
    /// The number that stands on disk.
    #[must_use]
    pub const fn number(self) -> u64 {
        (self.partition as u64) << 2 | self.tier as u64
    }

    /// The place with this number; `None` for memory, a tier that is free, and what is no partition.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        let tier = match number & 3 {
            1 => StoredTier::Disk,
            2 => StoredTier::Replicated,
            _ => return None,
        };
        Some(Self { tier, partition: Partition::try_from(number >> 2).ok()? })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_on_disk_is_the_place_that_wrote_it_or_none() {
        for tier in [StoredTier::Disk, StoredTier::Replicated] {
            for partition in [0, 1, 1_023, Partition::MAX] {
                let place = StoredPlace { tier, partition };
                assert_eq!(StoredPlace::from_number(place.number()), Some(place));
            }
        }
        let beyond = (u64::from(Partition::MAX) + 1) << 2 | 1;
        assert_eq!([0, 3, 4, 7, beyond, u64::MAX].map(StoredPlace::from_number), [None; 6]);
    }
}
