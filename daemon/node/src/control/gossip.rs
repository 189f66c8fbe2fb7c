//! Gossip's datagrams: sealed under the keys of the mesh, opened, and counted.

use std::net::SocketAddr;
use std::time::Instant;

use statemesh_mesh::gossip::{Dropped, Key, KeyError, Keyring, Mesh, RateLimit, Seal};

use super::counts::Figures;
use super::gossip_rejections::GossipRejections;
use crate::node::StartError;
use crate::options::Options;

/// Gossip datagrams taken from one address: a member sends some tens a second, and more while many join.
const DATAGRAMS_PER_SECOND: u32 = 2_000;
const DATAGRAMS_BURST: u32 = 4_000;

/// What seals and opens datagrams, and the daemons that it keeps out.
#[derive(Debug)]
pub(super) struct Gossip {
    seal: Seal,
    pub(super) rejections: GossipRejections,
    sent: u64,
    received: u64,
}

impl Gossip {
    /// Under the keys that the options name, or under the one that is public. Nonces begin with `session`.
    ///
    /// # Errors
    /// The keys cannot be used.
    pub(super) fn new(options: &Options, session: [u8; 16]) -> Result<Self, StartError> {
        let mesh = Mesh { name: options.mesh.clone(), partitions: options.partitions };
        let ring = match options.gossip_keys.as_slice() {
            [] => Keyring::well_known(&mesh),
            keys => keyring(keys)?,
        };
        if !ring.is_secret() && !options.listen.gossip.ip().is_loopback() {
            tracing::warn!(
                "gossip has no key of its own: whoever reaches this network and knows the mesh's name can join"
            );
        }
        let limit = RateLimit::new(DATAGRAMS_PER_SECOND, DATAGRAMS_BURST);
        let seal = Seal::new(&mesh, ring, limit, session);
        Ok(Self { seal, rejections: GossipRejections::default(), sent: 0, received: 0 })
    }

    /// Seals a message.
    pub(super) fn seal(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.seal.seal(bytes)
    }

    /// Opens a datagram.
    ///
    /// # Errors
    /// Why it is dropped, which is counted.
    pub(super) fn open(&mut self, from: SocketAddr, sealed: &[u8], now: Instant) -> Result<Vec<u8>, Dropped> {
        self.seal.open(from, sealed, now)
    }

    /// Opens a message that came over a link.
    ///
    /// # Errors
    /// Why it is dropped, which is counted.
    pub(super) fn open_by_link(&mut self, sealed: &[u8]) -> Result<Vec<u8>, Dropped> {
        self.seal.open_by_link(sealed)
    }

    /// A datagram is sent.
    pub(super) fn sent(&mut self) {
        self.sent += 1;
    }

    /// A datagram was received.
    pub(super) fn received(&mut self) {
        self.received += 1;
    }

    /// Seals and opens with other keys from now on.
    pub(super) fn rotate(&mut self, keys: Keyring) {
        self.seal.rotate(keys);
        self.rejections.forget_notice();
    }

    pub(super) fn count(&self, figures: &mut Figures) {
        figures.drops = self.seal.drops();
        figures.sent = self.sent;
        figures.received = self.received;
    }
}

/// The keys of gossip, the one to seal with first.
///
/// # Errors
/// There are none, or too many.
pub(crate) fn keyring(keys: &[[u8; 32]]) -> Result<Keyring, StartError> {
    let mut keys = keys.iter().map(Key::new);
    let primary = keys.next().ok_or(KeyError::Missing)?;
    Ok(Keyring::new(primary, keys.collect())?)
}
