//! The published hash: which partition a key is in. Pure functions that any client can compute.
//!
//! `hash(bytes)` is FNV-1a with 64 bits (offset basis 0xcbf29ce484222325, prime 0x100000001b3), whose result `h` is then
//! mixed, all arithmetic modulo 2^64:
//!
//! ```text
//! h ^= h >> 33;  h *= 0xff51afd7ed558ccd;  h ^= h >> 33;  h *= 0xc4ceb9fe1a85ec53;  h ^= h >> 33
//! ```
//!
//! FNV-1a because it is five lines in any language; the mixing (MurmurHash3's finaliser) because FNV's low bits alone
//! spread short keys badly. The partition of a key is `hash("<machine>/<key>") mod partitions`, over the UTF-8 bytes, with
//! the mesh's partition count. Test vectors are in this file's tests and in docs/explanation/membership.md.

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

/// A hash of any bytes, eight at a time; `seed` tells uses apart. It stands in images, so it stays as it is.
#[must_use]
pub fn content_hash(seed: u64, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x9fb2_1c65_1e98_df25;
    let mut h = mix(seed ^ PRIME) ^ (bytes.len() as u64).wrapping_mul(PRIME);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        h = (h ^ word).wrapping_mul(PRIME);
        h ^= h >> 29;
    }
    let rest = words.remainder().iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    mix((h ^ rest).wrapping_mul(PRIME))
}

/// FNV-1a with 128 bits: what is kept of a dedup token, short as it is and unlike any other.
#[must_use]
pub fn token_hash(token: &str) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    token.bytes().fold(BASIS, |h, byte| (h ^ u128::from(byte)).wrapping_mul(PRIME))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_hashed_as_fnv_publishes_it() {
        assert_eq!(token_hash(""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(token_hash("a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn contents_that_differ_in_a_bit_a_zero_or_their_use_have_other_hashes() {
        let text = b"{\"type\":\"PAY\",\"n\":1}";
        let mut seen = std::collections::BTreeSet::from([content_hash(0, text), content_hash(1, text)]);
        for bit in 0..text.len() * 8 {
            let mut other = text.to_vec();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(content_hash(0, &other)), "{bit}");
        }
        for zeros in 0..20 {
            assert!(seen.insert(content_hash(0, &vec![0; zeros])), "{zeros}");
        }
    }

    /// Published in docs/explanation/membership.md: other languages' clients check themselves against them.
    #[test]
    fn vectors_that_clients_check_themselves_against() {
        assert_eq!(hash_bytes(b""), 0xefd0_1f60_ba99_2926);
        assert_eq!(hash_bytes(b"order/42"), 0x2ba2_7c82_9717_6ee9);
        assert_eq!(partition_of("order", "42", 1024), 745);
        assert_eq!(partition_of("tür", "schlüssel", 1024), 964);
    }

    #[test]
    fn a_key_with_a_slash_hashes_as_its_topic_does() {
        assert_eq!(u64::from(partition_of("a/b", "c", 1000)), hash_bytes(b"a/b/c") % 1000);
    }
}
