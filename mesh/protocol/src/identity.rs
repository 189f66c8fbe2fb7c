//! Who a member is: a name and an incarnation, never the address alone.
//!
//! A pod that comes back has the same name, a new address and a newer incarnation: it is the same member again, and whatever
//! its earlier process held is gone. Something that the same process says anew about itself (that it leaves, or that it is
//! alive after all) is a newer *revision* of the same incarnation: nothing is lost by it.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::hash_bytes;

/// Longest name of a member, in bytes: that of a DNS name, so that the name of every pod and of every node of Kubernetes fits.
pub const MAX_NAME_BYTES: usize = 253;

/// Why a text is not a member's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a node name must not be empty")]
    Empty,
    /// More than [`MAX_NAME_BYTES`].
    #[error("a node name has at most {MAX_NAME_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// A character that would be ambiguous in logs, topics or DNS.
    #[error("a node name has letters, digits, '-', '_' and '.', this one has {0:?}")]
    BadCharacter(char),
}

/// A member's name, cheap to clone and to compare.
#[derive(Clone)]
pub struct MemberName {
    text: Arc<str>,
    hash: u64,
}

impl MemberName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`] says which rule it breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong(text.len()));
        }
        let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(bad) = text.chars().find(|c| !allowed(c)) {
            return Err(NameError::BadCharacter(bad));
        }
        Ok(Self { hash: hash_bytes(text.as_bytes()), text: text.into() })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The published hash of the name: what placement scores with.
    #[must_use]
    pub fn hash64(&self) -> u64 {
        self.hash
    }
}

impl PartialEq for MemberName {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.text == other.text
    }
}

impl Eq for MemberName {}

impl Hash for MemberName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Borrow<str> for MemberName {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl PartialOrd for MemberName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MemberName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Debug for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for MemberName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for MemberName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// The ports on which a member listens. All are reached at the member's one IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ports {
    /// Clients: ZMTP, ROUTER.
    pub client: u16,
    /// State changes: ZMTP, XPUB.
    pub changes: u16,
    /// Other daemons: ZMTP.
    pub peer: u16,
    /// Gossip: UDP.
    pub gossip: u16,
    /// HTTP.
    pub http: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { client: 7400, changes: 7401, peer: 7402, gossip: 7403, http: 7480 }
    }
}

/// A member as the mesh knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Its name, unique among live members.
    pub name: MemberName,
    /// Which process of that name: larger is newer. Daemons take the milliseconds since 1970 at their start, and more
    /// than what the mesh remembers of them should their clock have gone back.
    pub incarnation: u64,
    /// What this process last said about itself: larger is newer.
    pub revision: u32,
    /// Where it is reached.
    pub ip: IpAddr,
    /// And on which ports.
    pub ports: Ports,
    /// It hands off what it holds and will go: still a member that forwards, but no longer one to place anything on.
    pub leaving: bool,
}

impl Identity {
    /// A member that has just started.
    #[must_use]
    pub fn new(name: MemberName, incarnation: u64, ip: IpAddr, ports: Ports) -> Self {
        Self { name, incarnation, revision: 0, ip, ports, leaving: false }
    }

    /// Where its gossip is sent.
    #[must_use]
    pub fn gossip_addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.ports.gossip)
    }

    /// Where other daemons connect.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.ports.peer)
    }

    /// Where clients connect.
    #[must_use]
    pub fn client_addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.ports.client)
    }

    /// Whether both are the same process, one of them perhaps with newer facts about itself.
    #[must_use]
    pub fn same_process(&self, other: &Self) -> bool {
        self.incarnation == other.incarnation && self.name == other.name
    }

    /// Order of what is known about one name.
    #[must_use]
    pub fn version(&self) -> (u64, u32) {
        (self.incarnation, self.revision)
    }
}

#[cfg(feature = "foca")]
impl foca::Identity for Identity {
    type Addr = u64;

    /// Declared dead by mistake: the same process says so with a newer revision.
    fn renew(&self) -> Option<Self> {
        Some(Self { revision: self.revision.checked_add(1)?, ..self.clone() })
    }

    /// The name's hash, because foca compares this with every member it knows for every update that it receives.
    fn addr(&self) -> u64 {
        self.name.hash64()
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.version() > adversary.version()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(MemberName::new(""), Err(NameError::Empty));
        assert_eq!(MemberName::new(&"a".repeat(254)), Err(NameError::TooLong(254)));
        assert_eq!(MemberName::new("a/b"), Err(NameError::BadCharacter('/')));
        assert!(MemberName::new("statemesh-0.mesh_1").is_ok());
    }

    #[test]
    fn a_name_from_the_wire_is_checked_too() {
        let bytes = rmp_serde::to_vec("a b").unwrap();
        assert!(rmp_serde::from_slice::<MemberName>(&bytes).is_err());
    }

    #[cfg(feature = "foca")]
    #[test]
    fn a_newer_process_wins_over_any_revision_of_an_older_one() {
        use foca::Identity as _;
        let name = MemberName::new("a").unwrap();
        let old =
            Identity { revision: 7, ..Identity::new(name.clone(), 1, IpAddr::from([10, 0, 0, 1]), Ports::default()) };
        let new = Identity::new(name, 2, IpAddr::from([10, 0, 0, 2]), Ports::default());
        assert!(new.win_addr_conflict(&old) && !old.win_addr_conflict(&new));
        assert!(!new.same_process(&old));
        assert!(old.renew().unwrap().win_addr_conflict(&old));
        assert!(old.renew().unwrap().same_process(&old));
    }
}
