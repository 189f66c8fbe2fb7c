//! Gossip is authenticated and encrypted: XChaCha20-Poly1305 under a key that the members of a mesh share.
//!
//! A datagram is `'S' | version | mesh (4) | key (2) | nonce (24) | ciphertext | tag (16)`. `mesh` is a hash of the mesh's name
//! and partition count, so that a stranger's datagram is told from one under a wrong key; `key` names the key, so that keys
//! can be rotated: add the new key to all members as accepted, make it primary everywhere, remove the old one. All that stands
//! before the ciphertext is authenticated with it, and so are the full name and partition count.
//!
//! The nonce is 16 random bytes, chosen when the process starts, and a counter. So it never repeats, and the counter tells
//! datagrams that were recorded and are sent again.
//!
//! Without a configured key, the key is derived from the mesh's name. That keeps meshes apart, **but no stranger out**: a
//! process that knows the name can join. [`Keyring::is_secret`] says which it is, for the shell to warn.

use std::net::SocketAddr;
use std::time::Instant;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

use super::limit::RateLimit;
use super::replay::{ReplayGuard, Session};
use super::{MAX_DATAGRAM_BYTES, MAX_PAYLOAD_BYTES, SEAL_BYTES};

const MAGIC: u8 = b'S';
/// Version of the gossip protocol, in every datagram.
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;
/// Keys accepted beside the primary one.
const MAX_ACCEPTED_KEYS: usize = 7;

/// Which mesh a datagram is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mesh {
    /// Its name.
    pub name: String,
    /// Its partition count.
    pub partitions: u16,
}

/// Why a text is not a key, or keys are no keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 64 hexadecimal digits.
    #[error("a gossip key is 64 hexadecimal digits (32 bytes), e.g. from `openssl rand -hex 32`")]
    NotHex,
    /// No key at all.
    #[error("there are none")]
    Missing,
    /// More keys than a rotation needs.
    #[error("at most {MAX_ACCEPTED_KEYS} gossip keys are accepted beside the primary one")]
    TooMany,
}

/// A shared secret of 32 bytes.
#[derive(Clone)]
pub struct Key {
    id: [u8; 2],
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:02x}{:02x})", self.id[0], self.id[1])
    }
}

impl Key {
    /// A key from its bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        let hash = Sha256::new_with_prefix(b"statemesh gossip key id").chain_update(bytes).finalize();
        Self { id: [hash[0], hash[1]], cipher: XChaCha20Poly1305::new(bytes.into()) }
    }

    /// A key from 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`KeyError::NotHex`] if it is anything else.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let digits = text.trim().as_bytes();
        if digits.len() != 64 {
            return Err(KeyError::NotHex);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| KeyError::NotHex)?;
            let plain = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(pair, 16).ok().filter(|_| plain).ok_or(KeyError::NotHex)?;
        }
        Ok(Self::new(&bytes))
    }
}

/// The key to seal with, and those that open.
#[derive(Debug, Clone)]
pub struct Keyring {
    primary: Key,
    accepted: Vec<Key>,
    secret: bool,
}

impl Keyring {
    /// Seals with `primary`, and opens with it and any of `accepted`.
    ///
    /// # Errors
    /// [`KeyError::TooMany`] beyond seven accepted keys.
    pub fn new(primary: Key, accepted: Vec<Key>) -> Result<Self, KeyError> {
        if accepted.len() > MAX_ACCEPTED_KEYS {
            return Err(KeyError::TooMany);
        }
        Ok(Self { primary, accepted, secret: true })
    }

    /// The well-known key of a mesh without a configured one. It authenticates no member.
    #[must_use]
    pub fn well_known(mesh: &Mesh) -> Self {
        let hash =
            Sha256::new_with_prefix(b"statemesh well-known gossip key\0").chain_update(mesh.name.as_bytes()).finalize();
        Self { primary: Key::new(&hash.into()), accepted: Vec::new(), secret: false }
    }

    /// Is a key configured, so that only members can join?
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    fn with_id(&self, id: [u8; 2]) -> impl Iterator<Item = &Key> {
        let all = std::iter::once(&self.primary).chain(&self.accepted);
        all.filter(move |key| key.id == id)
    }
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Dropped {
    /// Larger than [`MAX_DATAGRAM_BYTES`].
    #[error("larger than {MAX_DATAGRAM_BYTES} bytes")]
    TooLarge,
    /// Not a gossip datagram.
    #[error("not a gossip datagram")]
    NotGossip,
    /// Another version of the protocol.
    #[error("another version of the gossip protocol")]
    OtherVersion,
    /// Another mesh's: its name or its partition count differs.
    #[error("of a mesh with another name or partition count")]
    OtherMesh,
    /// Not sealed with any of our keys.
    #[error("not sealed with any of this mesh's keys")]
    WrongKey,
    /// Seen before, or too old to tell.
    #[error("seen before")]
    Replayed,
    /// Its source sent too many.
    #[error("too many from one source")]
    TooMany,
}

impl Dropped {
    /// All reasons, in the order of [`Drops::counts`].
    pub const ALL: [Self; 7] = [
        Self::TooLarge,
        Self::NotGossip,
        Self::OtherVersion,
        Self::OtherMesh,
        Self::WrongKey,
        Self::Replayed,
        Self::TooMany,
    ];

    /// As metrics label it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::NotGossip => "not_gossip",
            Self::OtherVersion => "other_version",
            Self::OtherMesh => "other_mesh",
            Self::WrongKey => "wrong_key",
            Self::Replayed => "replayed",
            Self::TooMany => "too_many",
        }
    }
}

/// How many datagrams were dropped, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops {
    counts: [u64; Dropped::ALL.len()],
}

impl Drops {
    /// Each reason with its count.
    pub fn counts(&self) -> impl Iterator<Item = (Dropped, u64)> {
        Dropped::ALL.into_iter().zip(self.counts)
    }

    /// How many were dropped for this reason.
    #[must_use]
    pub fn count(&self, reason: Dropped) -> u64 {
        self.counts[reason as usize]
    }
}

/// Seals what this member sends, and opens what others send.
#[derive(Debug)]
pub struct Seal {
    keys: Keyring,
    header: [u8; 6],
    mesh_hash: [u8; 32],
    session: Session,
    sent: u64,
    replay: ReplayGuard,
    limit: RateLimit,
    drops: Drops,
}

impl Seal {
    /// A seal for one process. `session` must be random, and new for each process: nonces are made of it.
    #[must_use]
    pub fn new(mesh: &Mesh, keys: Keyring, limit: RateLimit, session: [u8; 16]) -> Self {
        let hash = Sha256::new_with_prefix(b"statemesh mesh\0")
            .chain_update(mesh.partitions.to_be_bytes())
            .chain_update(mesh.name.as_bytes())
            .finalize();
        Self {
            keys,
            header: [MAGIC, VERSION, hash[0], hash[1], hash[2], hash[3]],
            mesh_hash: hash.into(),
            session,
            sent: 0,
            replay: ReplayGuard::default(),
            limit,
            drops: Drops::default(),
        }
    }

    /// Other keys from now on.
    pub fn rotate(&mut self, keys: Keyring) {
        self.keys = keys;
    }

    /// What was dropped so far.
    #[must_use]
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// Seals a payload of at most [`MAX_PAYLOAD_BYTES`]; nothing for a larger one.
    #[must_use]
    pub fn seal(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return None;
        }
        self.sent += 1;
        let key = &self.keys.primary;
        let mut datagram = Vec::with_capacity(payload.len() + SEAL_BYTES);
        datagram.extend_from_slice(&self.header);
        datagram.extend_from_slice(&key.id);
        datagram.extend_from_slice(&self.session);
        datagram.extend_from_slice(&self.sent.to_be_bytes());
        let aad = [&datagram[..HEADER_BYTES], &self.mesh_hash[..]].concat();
        let nonce = XNonce::from_slice(&datagram[HEADER_BYTES..]);
        let payload = Payload { msg: payload, aad: &aad };
        let sealed = key.cipher.encrypt(nonce, payload).ok()?;
        datagram.extend_from_slice(&sealed);
        Some(datagram)
    }

    /// Opens a datagram.
    ///
    /// # Errors
    /// Why it is dropped; it is counted as well.
    pub fn open(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> Result<Vec<u8>, Dropped> {
        let allowed = self.limit.allow(from, now);
        let opened = if allowed { self.try_open(datagram) } else { Err(Dropped::TooMany) };
        self.counted(opened)
    }

    /// Opens what a member sent by its link, without a rate for its source, which strangers could use up with forged datagrams.
    ///
    /// # Errors
    /// Why it is dropped; it is counted as well.
    pub fn open_by_link(&mut self, sealed: &[u8]) -> Result<Vec<u8>, Dropped> {
        let opened = self.try_open(sealed);
        self.counted(opened)
    }

    fn counted(&mut self, opened: Result<Vec<u8>, Dropped>) -> Result<Vec<u8>, Dropped> {
        if let Err(reason) = opened {
            self.drops.counts[reason as usize] += 1;
        }
        opened
    }

    fn try_open(&mut self, datagram: &[u8]) -> Result<Vec<u8>, Dropped> {
        if datagram.len() > MAX_DATAGRAM_BYTES {
            return Err(Dropped::TooLarge);
        }
        if datagram.len() < SEAL_BYTES || datagram[0] != MAGIC {
            return Err(Dropped::NotGossip);
        }
        if datagram[1] != VERSION {
            return Err(Dropped::OtherVersion);
        }
        if datagram[..self.header.len()] != self.header {
            return Err(Dropped::OtherMesh);
        }
        let (header, rest) = datagram.split_at(HEADER_BYTES);
        let (nonce, sealed) = rest.split_at(NONCE_BYTES);
        let aad = [header, &self.mesh_hash[..]].concat();
        let open = |key: &Key| {
            let payload = Payload { msg: sealed, aad: &aad };
            key.cipher.decrypt(XNonce::from_slice(nonce), payload).ok()
        };
        let payload = self.keys.with_id([header[6], header[7]]).find_map(open);
        let payload = payload.ok_or(Dropped::WrongKey)?;
        self.note(nonce)?;
        Ok(payload)
    }

    fn note(&mut self, nonce: &[u8]) -> Result<(), Dropped> {
        let (session, number) = nonce.split_at(16);
        let session = Session::try_from(session).map_err(|_| Dropped::NotGossip)?;
        let number = number.try_into().map_err(|_| Dropped::NotGossip)?;
        if self.replay.accept(session, u64::from_be_bytes(number)) { Ok(()) } else { Err(Dropped::Replayed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh(name: &str, partitions: u16) -> Mesh {
        let name = name.into();
        Mesh { name, partitions }
    }

    fn seal_of(mesh: &Mesh, keys: Keyring, session: u8) -> Seal {
        Seal::new(mesh, keys, RateLimit::default(), [session; 16])
    }

    fn keys(primary: u8, accepted: &[u8]) -> Keyring {
        let accepted = accepted.iter().map(|n| Key::new(&[*n; 32])).collect();
        Keyring::new(Key::new(&[primary; 32]), accepted).unwrap()
    }

    fn open(seal: &mut Seal, datagram: &[u8]) -> Result<Vec<u8>, Dropped> {
        seal.open(([127, 0, 0, 1], 7403).into(), datagram, Instant::now())
    }

    #[test]
    fn what_is_sealed_opens_once() {
        let mesh = mesh("m", 1024);
        let mut a = seal_of(&mesh, keys(1, &[]), 1);
        let mut b = seal_of(&mesh, keys(1, &[]), 2);
        let datagram = a.seal(b"hello").unwrap();
        assert_eq!(datagram.len(), 5 + SEAL_BYTES);
        assert_eq!(open(&mut b, &datagram).unwrap(), b"hello");
        assert_eq!(open(&mut b, &datagram), Err(Dropped::Replayed));
        assert_eq!(b.drops().count(Dropped::Replayed), 1);
        assert!(a.seal(&[0; MAX_PAYLOAD_BYTES]).is_some());
        assert!(a.seal(&[0; MAX_PAYLOAD_BYTES + 1]).is_none());
    }

    #[test]
    fn who_forges_a_members_address_does_not_silence_its_link() {
        let (mesh, now) = (mesh("m", 1024), Instant::now());
        let from = SocketAddr::from(([127, 0, 0, 1], 7403));
        let mut a = seal_of(&mesh, keys(1, &[]), 1);
        let mut b = Seal::new(&mesh, keys(1, &[]), RateLimit::new(1, 2), [2; 16]);
        for reason in [Dropped::NotGossip, Dropped::NotGossip, Dropped::TooMany] {
            assert_eq!(b.open(from, b"junk", now), Err(reason));
        }
        let sealed = a.seal(b"hello").unwrap();
        assert_eq!(b.open(from, &sealed, now), Err(Dropped::TooMany));
        assert_eq!(b.open_by_link(&sealed).unwrap(), b"hello");
        assert_eq!(b.open_by_link(&sealed), Err(Dropped::Replayed));
        assert_eq!(b.drops().count(Dropped::Replayed), 1);
    }

    #[test]
    fn strangers_are_told_apart() {
        let here = mesh("m", 1024);
        let mut seal = seal_of(&here, keys(1, &[]), 1);
        let mut reason = |mesh: &Mesh, keys| {
            let datagram = seal_of(mesh, keys, 2).seal(b"x").unwrap();
            open(&mut seal, &datagram)
        };
        assert_eq!(reason(&mesh("n", 1024), keys(1, &[])), Err(Dropped::OtherMesh));
        assert_eq!(reason(&mesh("m", 512), keys(1, &[])), Err(Dropped::OtherMesh));
        assert_eq!(reason(&here, keys(2, &[])), Err(Dropped::WrongKey));
        assert_eq!(reason(&here, Keyring::well_known(&here)), Err(Dropped::WrongKey));
        assert_eq!(open(&mut seal, b"GET / HTTP/1.1"), Err(Dropped::NotGossip));
        assert_eq!(open(&mut seal, &[0; 1401]), Err(Dropped::TooLarge));
        let mut other = seal.seal(b"x").unwrap();
        other[1] = 2;
        assert_eq!(open(&mut seal, &other), Err(Dropped::OtherVersion));
    }

    #[test]
    fn no_changed_byte_goes_unnoticed() {
        let mesh = mesh("m", 1024);
        let mut seal = seal_of(&mesh, keys(1, &[]), 1);
        let datagram = seal.seal(b"payload").unwrap();
        for at in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[at] ^= 1;
            assert!(open(&mut seal, &changed).is_err(), "byte {at}");
            assert!(open(&mut seal, &datagram[..at]).is_err());
        }
        assert!(open(&mut seal, &datagram).is_ok());
    }

    #[test]
    fn keys_rotate_without_a_moment_of_silence() {
        let mesh = mesh("m", 1024);
        let mut a = seal_of(&mesh, keys(1, &[]), 1);
        let mut b = seal_of(&mesh, keys(1, &[]), 2);
        let talk = |a: &mut Seal, b: &mut Seal| {
            let (x, y) = (a.seal(b"x").unwrap(), b.seal(b"y").unwrap());
            assert!(open(b, &x).is_ok() && open(a, &y).is_ok());
        };
        for step in [keys(1, &[2]), keys(2, &[1]), keys(2, &[])] {
            a.rotate(step.clone());
            talk(&mut a, &mut b);
            b.rotate(step);
            talk(&mut a, &mut b);
        }
    }

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        assert!(Key::from_hex(&"0f".repeat(32)).is_ok());
        for bad in ["", "0f", &"0g".repeat(32), &"+f".repeat(32), &"é".repeat(32)] {
            assert_eq!(Key::from_hex(bad).unwrap_err(), KeyError::NotHex);
        }
        let shown = format!("{:?}", Key::new(&[7; 32]));
        assert!(!shown.contains("070707"), "{shown}");
    }
}
