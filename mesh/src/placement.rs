//! Which member owns a partition: pure functions that any client can compute. Which partition a key is in says
//! [`statemesh_protocol::hash`].
//!
//! The owner of partition `p` is the placeable member with the highest `score = mix(hash(name) ^ mix(p + 1))`, `mix` being the
//! published hash's finaliser; the smaller name wins should two be equal. Test vectors are in this file's tests and in
//! docs/explanation/membership.md.

use statemesh_protocol::hash::{Partition, mix};
use statemesh_protocol::identity::MemberName;

/// Partitions of a mesh unless set at its birth.
pub const DEFAULT_PARTITIONS: u16 = 1024;
/// How many members of a partition's ranking are kept at hand: the owner and two replicas.
pub const RANKED: usize = 3;

/// How much a member with this name hash wants a partition: the highest owns it.
#[must_use]
pub const fn score(name_hash: u64, partition: Partition) -> u64 {
    mix(name_hash ^ mix(partition as u64 + 1))
}

/// True when `a` is to be preferred to `b` for `partition`.
#[must_use]
pub fn outranks(a: &MemberName, b: &MemberName, partition: Partition) -> bool {
    let (sa, sb) = (score(a.hash64(), partition), score(b.hash64(), partition));
    sa > sb || (sa == sb && a < b)
}

/// Owner and replicas of every partition, kept up to date as members come and go.
///
/// A member that comes costs one score for each partition. One that goes costs a ranking of the partitions in whose
/// first [`RANKED`] it was, about `RANKED / members` of them.
#[derive(Debug, Clone)]
pub struct Placement {
    members: Vec<Option<MemberName>>,
    ranked: Vec<Vec<u32>>,
}

impl Placement {
    /// Nothing is placed yet.
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        Self { members: Vec::new(), ranked: vec![Vec::with_capacity(RANKED + 1); usize::from(partitions.max(1))] }
    }

    /// The mesh's partition count.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.ranked.len() as u16
    }

    /// The owner of a partition; none when there is no member, or no such partition.
    #[must_use]
    pub fn owner(&self, partition: Partition) -> Option<&MemberName> {
        self.ranking(partition).next()
    }

    /// The owner and the replicas of a partition, best first, at most [`RANKED`].
    pub fn ranking(&self, partition: Partition) -> impl Iterator<Item = &MemberName> {
        self.ranked.get(usize::from(partition)).into_iter().flatten().filter_map(|slot| self.member(*slot))
    }

    /// Adds a member. Adding one twice changes nothing.
    pub fn add(&mut self, name: &MemberName) {
        if self.slot_of(name).is_some() {
            return;
        }
        let slot = match self.members.iter().position(Option::is_none) {
            Some(free) => {
                self.members[free] = Some(name.clone());
                free
            }
            None => {
                self.members.push(Some(name.clone()));
                self.members.len() - 1
            }
        };
        for partition in 0..self.ranked.len() {
            self.insert(partition, slot as u32, name);
        }
    }

    /// Removes a member. Removing one that is not there changes nothing.
    pub fn remove(&mut self, name: &MemberName) {
        let Some(gone) = self.slot_of(name) else {
            return;
        };
        self.members[gone] = None;
        let members: Vec<(u32, MemberName)> =
            self.members.iter().enumerate().filter_map(|(slot, member)| Some((slot as u32, member.clone()?))).collect();
        for partition in 0..self.ranked.len() {
            if self.ranked[partition].contains(&(gone as u32)) {
                self.ranked[partition].clear();
                for (slot, member) in &members {
                    self.insert(partition, *slot, member);
                }
            }
        }
    }

    fn member(&self, slot: u32) -> Option<&MemberName> {
        self.members.get(slot as usize)?.as_ref()
    }

    fn slot_of(&self, name: &MemberName) -> Option<usize> {
        self.members.iter().position(|member| member.as_ref() == Some(name))
    }

    fn insert(&mut self, partition: usize, slot: u32, name: &MemberName) {
        let members = &self.members;
        let ranking = &mut self.ranked[partition];
        let worse = |other: &u32| {
            members[*other as usize].as_ref().is_none_or(|other| outranks(name, other, partition as Partition))
        };
        let at = ranking.iter().position(worse).unwrap_or(ranking.len());
        if at < RANKED {
            ranking.insert(at, slot);
            ranking.truncate(RANKED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use statemesh_protocol::hash::hash_bytes;

    fn name(n: usize) -> MemberName {
        MemberName::new(&format!("node-{n}")).unwrap()
    }

    /// Published in docs/explanation/membership.md: other languages' clients check themselves against them.
    #[test]
    fn vectors_that_clients_check_themselves_against() {
        assert_eq!(score(hash_bytes(b"node-1"), 0), 0x4f09_d456_82ac_2dbd);
        let mut three = Placement::new(1024);
        (0..3).for_each(|n| three.add(&name(n)));
        for (p, owner) in [(0, 2), (3, 0), (6, 1), (1023, 2)] {
            assert_eq!(three.owner(p), Some(&name(owner)));
        }
    }

    #[test]
    fn changes_give_what_a_placement_from_nothing_gives() {
        let seed = 7;
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let mut changed = Placement::new(256);
        let mut present = std::collections::BTreeSet::new();
        for _ in 0..300 {
            let member = name(rng.random_range(0..30));
            if rng.random_bool(0.5) {
                changed.add(&member);
                present.insert(member);
            } else {
                changed.remove(&member);
                present.remove(&member);
            }
            let mut fresh = Placement::new(256);
            present.iter().for_each(|member| fresh.add(member));
            for p in 0..256 {
                assert!(changed.ranking(p).eq(fresh.ranking(p)), "partition {p}");
            }
        }
    }

    #[test]
    fn a_thousand_members_share_evenly_and_a_change_moves_only_its_share() {
        let mut placement = Placement::new(16_384);
        (0..16).for_each(|n| placement.add(&name(n)));
        let before: Vec<_> = (0..16_384).map(|p| placement.owner(p).cloned()).collect();
        for n in 0..16 {
            let owned = before.iter().filter(|o| o.as_ref() == Some(&name(n))).count();
            // 1,024 on average; six standard deviations of a binomial are 186.
            assert!((838..=1210).contains(&owned), "node-{n} owns {owned}");
        }
        placement.add(&name(16));
        for (p, old) in before.iter().enumerate() {
            let now = placement.owner(p as Partition);
            assert!(now == old.as_ref() || now == Some(&name(16)));
        }
    }
}
