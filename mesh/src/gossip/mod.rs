//! Gossip datagrams on the wire: sealed, bounded, and dropped with a counted reason when they are not ours.

mod limit;
mod peer_key;
mod replay;
mod seal;

pub use limit::{MAX_SOURCES, RateLimit};
pub use peer_key::peer_secret;
pub use replay::{MAX_SESSIONS, REPLAY_WINDOW};
pub use seal::{Dropped, Drops, Key, KeyError, Keyring, Mesh, Seal};

/// Largest datagram, sealed: fits every network that Kubernetes runs on.
pub const MAX_DATAGRAM_BYTES: usize = 1400;
/// Header, nonce and tag around the payload.
pub const SEAL_BYTES: usize = 48;
/// Largest payload of a datagram.
pub const MAX_PAYLOAD_BYTES: usize = MAX_DATAGRAM_BYTES - SEAL_BYTES;
