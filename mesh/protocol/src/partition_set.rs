//! A set of partitions: bits in memory; on the wire a bitmap, or a list when that is shorter.

use std::fmt;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::Partition;

const BITMAP: u8 = 0;
const LIST: u8 = 1;
/// Longest encoding: a tag and one bit for each number that a `u16` has.
const MAX_BYTES: usize = 1 + (1 << 16) / 8;

/// A set of partitions.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PartitionSet {
    /// No trailing zero words, so that equal sets are equal values.
    words: Vec<u64>,
}

impl PartitionSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a partition. True when it was not there.
    pub fn insert(&mut self, partition: Partition) -> bool {
        let (word, bit) = place(partition);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let added = self.words[word] & bit == 0;
        self.words[word] |= bit;
        added
    }

    /// Removes a partition. True when it was there.
    pub fn remove(&mut self, partition: Partition) -> bool {
        let (word, bit) = place(partition);
        let there = self.contains(partition);
        if there {
            self.words[word] &= !bit;
            while self.words.last() == Some(&0) {
                self.words.pop();
            }
        }
        there
    }

    /// Is it there?
    #[must_use]
    pub fn contains(&self, partition: Partition) -> bool {
        let (word, bit) = place(partition);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Partitions, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Partition> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                if left == 0 {
                    return None;
                }
                let bit = left.trailing_zeros();
                left &= left - 1;
                Some((index as u32 * 64 + bit) as Partition)
            })
        })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let bitmap_len = self.words.len() * 8;
        if self.len() * 2 < bitmap_len {
            let list = self.iter().flat_map(Partition::to_le_bytes);
            std::iter::once(LIST).chain(list).collect()
        } else {
            let bits = self.words.iter().flat_map(|w| w.to_le_bytes());
            std::iter::once(BITMAP).chain(bits).collect()
        }
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_BYTES {
            return None;
        }
        let (tag, rest) = bytes.split_first()?;
        let mut set = Self::new();
        match *tag {
            LIST => {
                let (pairs, odd) = rest.as_chunks::<2>();
                if !odd.is_empty() {
                    return None;
                }
                for pair in pairs {
                    set.insert(Partition::from_le_bytes(*pair));
                }
            }
            BITMAP => {
                let (words, odd) = rest.as_chunks::<8>();
                if !odd.is_empty() {
                    return None;
                }
                set.words = words.iter().map(|w| u64::from_le_bytes(*w)).collect();
                while set.words.last() == Some(&0) {
                    set.words.pop();
                }
            }
            _ => return None,
        }
        Some(set)
    }
}

const fn place(partition: Partition) -> (usize, u64) {
    (partition as usize / 64, 1 << (partition % 64))
}

impl FromIterator<Partition> for PartitionSet {
    fn from_iter<I: IntoIterator<Item = Partition>>(partitions: I) -> Self {
        let mut set = Self::new();
        for partition in partitions {
            set.insert(partition);
        }
        set
    }
}

impl fmt::Debug for PartitionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for PartitionSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for PartitionSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = PartitionSet;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a set of partitions")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<PartitionSet, E> {
                PartitionSet::from_bytes(bytes).ok_or_else(|| E::custom("not a set of partitions"))
            }
        }
        deserializer.deserialize_bytes(Bytes).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeSet;

    #[test]
    fn does_what_a_tree_does_and_travels_whole() {
        let seed = 3;
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for size in [1, 70, 1024, 65_535_u32] {
            let (mut set, mut model) = (PartitionSet::new(), BTreeSet::new());
            for _ in 0..400 {
                let p = rng.random_range(0..=size) as Partition;
                if rng.random_bool(0.7) {
                    assert_eq!(set.insert(p), model.insert(p));
                } else {
                    assert_eq!(set.remove(p), model.remove(&p));
                }
            }
            assert!(set.iter().eq(model.iter().copied()));
            assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
            let bytes = rmp_serde::to_vec(&set).unwrap();
            assert!(bytes.len() <= size as usize / 8 + 16);
            assert_eq!(rmp_serde::from_slice::<PartitionSet>(&bytes).unwrap(), set);
        }
    }

    #[test]
    fn damaged_bytes_are_refused() {
        for bad in [&[][..], &[2], &[LIST, 1], &[BITMAP, 1, 2], &[0; MAX_BYTES + 1]] {
            assert_eq!(PartitionSet::from_bytes(bad), None);
        }
    }
}
