//! Daemons tell each other from strangers by the same secret as gossip does: from each gossip key follows a CURVE key, which
//! all members have, so a process with a gossip key can also open links, and no other can.

use sha2::{Digest, Sha256};

/// The CURVE secret key that follows from a gossip key. It says nothing about the gossip key.
#[must_use]
pub fn peer_secret(gossip_key: &[u8; 32]) -> [u8; 32] {
    Sha256::new_with_prefix(b"statemesh peer link key 1\0").chain_update(gossip_key).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_from_keys_and_differ_with_them() {
        assert_eq!(peer_secret(&[1; 32]), peer_secret(&[1; 32]));
        assert_ne!(peer_secret(&[1; 32]), peer_secret(&[2; 32]));
    }
}
