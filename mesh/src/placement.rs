//! Which partition a key is in, and which member owns a partition. Pure functions that any client can compute.
//!
//! # The published hash
//! `hash(bytes)` is FNV-1a with 64 bits (offset basis 0xcbf29ce484222325, prime 0x100000001b3), whose result `h` is then
//! mixed, all arithmetic modulo 2^64:
//!
//! ```text
//! h ^= h >> 33;  h *= 0xff51afd7ed558ccd;  h ^= h >> 33;  h *= 0xc4ceb9fe1a85ec53;  h ^= h >> 33
//! ```
//!
//! FNV-1a because it is five lines in any language; the mixing (MurmurHash3's finaliser) because FNV's low bits alone
//! spread short keys badly. The partition of a key is `hash("<machine>/<key>") mod partitions`, over the UTF-8 bytes, with
//! the mesh's partition count. The owner of partition `p` is the placeable member with the highest
//! `score = mix(hash(name) ^ mix(p + 1))`, `mix` being the finaliser above; the smaller name wins should two be equal.
//! Test vectors are in this file's tests and in docs/explanation/membership.md.

use crate::identity::MemberName;

/// Partitions of a mesh unless set at its birth.
pub const DEFAULT_PARTITIONS: u16 = 1024;
/// How many members of a partition's ranking are kept at hand: the owner and two replicas.
pub const RANKED: usize = 3;

/// Number of a partition, below the mesh's partition count.
pub type Partition = u16;

/// MurmurHash3's 64-bit finaliser.
#[must_use]
pub const fn mix(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

const fn fnv(mut h: u64, bytes: &[u8]) -> u64 {
    let mut i = 0;
    while i < bytes.len() {
        h = (h ^ bytes[i] as u64).wrapping_mul(0x0100_0000_01b3);
        i += 1;
    }
    h
}

/// The published hash (see the module).
#[must_use]
pub const fn hash_bytes(bytes: &[u8]) -> u64 {
    mix(fnv(FNV_BASIS, bytes))
}

/// What clients are told to hash with: the published hash's name in the placement map.
pub const HASH_NAME: &str = "fnv1a64-fmix64";

/// The published hash of `machine/key`.
#[must_use]
pub const fn key_hash(machine: &str, key: &str) -> u64 {
    let machine = fnv(FNV_BASIS, machine.as_bytes());
    mix(fnv(fnv(machine, b"/"), key.as_bytes()))
}

/// The partition of a key with this hash.
#[must_use]
pub fn partition_of_hash(hash: u64, partitions: u16) -> Partition {
    // The remainder of a division by a u16 fits one.
    (hash % u64::from(partitions.max(1))) as Partition
}

/// The partition of `machine/key`.
#[must_use]
pub fn partition_of(machine: &str, key: &str, partitions: u16) -> Partition {
    partition_of_hash(key_hash(machine, key), partitions)
}

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

    fn name(n: usize) -> MemberName {
        MemberName::new(&format!("node-{n}")).unwrap()
    }

    /// Published in docs/explanation/membership.md: other languages' clients check themselves against them.
    #[test]
    fn vectors_that_clients_check_themselves_against() {
        assert_eq!(hash_bytes(b""), 0xefd0_1f60_ba99_2926);
        assert_eq!(hash_bytes(b"order/42"), 0x2ba2_7c82_9717_6ee9);
        assert_eq!(partition_of("order", "42", 1024), 745);
        assert_eq!(partition_of("tür", "schlüssel", 1024), 964);
        assert_eq!(score(hash_bytes(b"node-1"), 0), 0x4f09_d456_82ac_2dbd);
        let mut three = Placement::new(1024);
        (0..3).for_each(|n| three.add(&name(n)));
        for (p, owner) in [(0, 2), (3, 0), (6, 1), (1023, 2)] {
            assert_eq!(three.owner(p), Some(&name(owner)));
        }
    }

    #[test]
    fn a_key_with_a_slash_hashes_as_its_topic_does() {
        assert_eq!(u64::from(partition_of("a/b", "c", 1000)), hash_bytes(b"a/b/c") % 1000);
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
