//! One simulated member: the membership value, and what its process and its links are doing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::membership::{self, Membership};
use statemesh_protocol::identity::{Identity, MemberName, Ports};

pub(super) struct Member {
    pub(super) membership: Membership,
    /// Where discovery finds others.
    pub(super) seeds: Vec<SocketAddr>,
    /// It takes part: it has found another member, or is alone on purpose.
    pub(super) joined: bool,
    pub(super) running: bool,
    pub(super) paused_until: Option<Instant>,
    pub(super) clock_ahead: Duration,
    pub(super) wake_at: Option<Instant>,
    /// Members that this one has a link to.
    pub(super) links: BTreeSet<usize>,
    /// When the last thing sent over a link arrives: nothing overtakes it.
    pub(super) last_arrivals: BTreeMap<usize, Instant>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("name", &self.membership.me().name).finish_non_exhaustive()
    }
}

impl Member {
    pub(super) fn new(n: usize, config: membership::Config, seed: u64, now: Instant, seeds: &[usize]) -> Self {
        let identity = Identity::new(name(n), 1, address(n).ip(), Ports::default());
        Self {
            membership: Membership::new(identity, config, seed, now),
            seeds: seeds.iter().map(|seed| address(*seed)).collect(),
            joined: false,
            running: true,
            paused_until: None,
            clock_ahead: Duration::ZERO,
            wake_at: None,
            links: BTreeSet::new(),
            last_arrivals: BTreeMap::new(),
        }
    }

    /// Whether another member is alive, for all that this one knows.
    pub(super) fn holds_for_live(&self, other: usize) -> bool {
        self.membership.member(&name(other)).is_some_and(|known| known.status.is_live())
    }
}

pub(super) fn name(n: usize) -> MemberName {
    #[allow(clippy::expect_used, reason = "the name is made here")]
    MemberName::new(&format!("node-{n}")).expect("a valid name")
}

/// Which member has this name.
pub(super) fn number(name: &MemberName) -> usize {
    let digits = name.as_str().trim_start_matches("node-");
    digits.parse().unwrap_or(usize::MAX)
}

pub(super) fn address(n: usize) -> SocketAddr {
    let ip = Ipv4Addr::from_bits(0x0a00_0000 + n as u32);
    SocketAddr::new(IpAddr::V4(ip), Ports::default().gossip)
}

/// Which member is at this address.
pub(super) fn at(address: SocketAddr) -> Option<usize> {
    match address.ip() {
        IpAddr::V4(ip) => Some(ip.to_bits().checked_sub(0x0a00_0000)? as usize),
        IpAddr::V6(_) => None,
    }
}
