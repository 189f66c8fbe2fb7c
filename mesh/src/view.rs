//! The view: on which members partitions may be placed, as one member knows it now.
//!
//! Two members whose views have the same hash agree on every owner. The hash is over names alone: a member that comes back
//! under its name owns what it owned, whatever its address.

use std::collections::BTreeSet;

use statemesh_protocol::hash::{Partition, hash_bytes, mix};
use statemesh_protocol::identity::MemberName;

use crate::placement::Placement;

/// Placeable members (alive or suspect, and not leaving), their hash and the placement over them.
#[derive(Debug, Clone)]
pub struct View {
    members: BTreeSet<MemberName>,
    hash: u64,
    placement: Placement,
}

impl View {
    /// A view without members.
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        Self { members: BTreeSet::new(), hash: hash_bytes(b""), placement: Placement::new(partitions) }
    }

    /// Adds or removes one member. True when the view changed.
    pub fn set(&mut self, name: &MemberName, placeable: bool) -> bool {
        let changed = if placeable {
            self.placement.add(name);
            self.members.insert(name.clone())
        } else {
            self.placement.remove(name);
            self.members.remove(name)
        };
        if changed {
            self.hash = hash_of(&self.members);
        }
        changed
    }

    /// The same for all members with this set of placeable members.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Placeable members by name.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &MemberName> {
        self.members.iter()
    }

    /// True when partitions may be placed on this member.
    #[must_use]
    pub fn contains(&self, name: &MemberName) -> bool {
        self.members.contains(name)
    }

    /// The mesh's partition count.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.placement.partitions()
    }

    /// Who owns a partition.
    #[must_use]
    pub fn owner(&self, partition: Partition) -> Option<&MemberName> {
        self.placement.owner(partition)
    }

    /// Owner and replicas of a partition, best first.
    pub fn ranking(&self, partition: Partition) -> impl Iterator<Item = &MemberName> {
        self.placement.ranking(partition)
    }
}

fn hash_of(members: &BTreeSet<MemberName>) -> u64 {
    members.iter().fold(hash_bytes(b""), |hash, member| mix(hash ^ member.hash64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_the_members_and_not_on_their_order_of_arrival() {
        let names: Vec<_> = ["a", "b", "c"].iter().map(|n| MemberName::new(n).unwrap()).collect();
        let (mut one, mut two) = (View::new(64), View::new(64));
        names.iter().for_each(|n| assert!(one.set(n, true)));
        names.iter().rev().for_each(|n| assert!(two.set(n, true)));
        assert_eq!(one.hash(), two.hash());
        assert!(two.set(&names[0], false) && !two.set(&names[0], false));
        assert_ne!(one.hash(), two.hash());
        assert!(one.set(&names[0], false));
        assert_eq!(one.hash(), two.hash());
    }
}
