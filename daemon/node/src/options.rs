//! Everything a daemon can be told. The binary fills it from flags, environment and file; tests fill it by hand.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use statemesh_transport::curve::OwnKeys;

use statemesh_protocol::place::Tier;

use crate::access::Clients;
pub use crate::limits::Limits;
pub use statemesh_mesh::definitions::MAX_REVISION as MAX_MACHINES_REVISION;

/// What one daemon is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The mesh's name: daemons of another mesh are refused.
    pub mesh: String,
    /// This daemon's name, unique in the mesh and the same after a restart. On Kubernetes the pod's name.
    pub name: String,
    /// Number of partitions, fixed at the mesh's birth.
    pub partitions: u16,
    /// Where it listens.
    pub listen: Listen,
    /// The address that others reach it at; `None` takes the listening address, or, if that is unspecified, the
    /// address of the interface that leads to the first peer found.
    pub advertise: Option<IpAddr>,
    /// How it finds the others.
    pub discovery: Discovery,
    /// Gossip keys, primary first; empty means the unauthenticated key that the mesh's name gives.
    pub gossip_keys: Vec<[u8; 32]>,
    /// How clients and daemons are told from gossip_rejections.
    pub security: Security,
    /// The reactor threads.
    pub reactor: Reactor,
    /// What may wait between its threads.
    pub mailboxes: Mailboxes,
    /// Bounds; each has a metric.
    pub limits: Limits,
    /// Machine definitions that are defined at start: files, or folders of `*.json`.
    pub machines: Vec<PathBuf>,
    /// The revision of these files, which people raise: the files of the highest revision are current in the whole mesh. `None`: they
    /// only add machines that the mesh does not know.
    pub machines_revision: Option<u64>,
    /// What it keeps on a disk.
    pub storage: Storage,
}

/// Bytes that a journal may have, where nothing else is said.
const JOURNAL_BYTES: u64 = 8 << 30;

/// What a daemon keeps on a disk.
#[derive(Clone, Debug)]
pub struct Storage {
    /// The folder of its volume; without one it keeps all in memory.
    pub data: Option<PathBuf>,
    /// Where instances of machines are kept whose definition does not say so.
    pub durability: Tier,
    /// Bytes of the journal beyond which no new event of a durable machine is taken.
    pub journal_bytes: u64,
    /// Bytes of a segment of the journal. One volume has one size for good.
    pub segment_bytes: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            data: None,
            durability: Tier::Memory,
            journal_bytes: JOURNAL_BYTES,
            segment_bytes: statemesh_journal::segment::SEGMENT_BYTES,
        }
    }
}

impl Options {
    /// One daemon alone, at once, on free ports of the loopback interface, for tests and benchmarks; they change what matters to them.
    #[must_use]
    pub fn for_tests(name: &str) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            mesh: "test".into(),
            name: name.into(),
            partitions: 16,
            listen: Listen { clients: any, changes: any, peers: any, gossip: any, http: any },
            advertise: Some(Ipv4Addr::LOCALHOST.into()),
            discovery: Discovery {
                service: None,
                dns_server: None,
                seeds: Vec::new(),
                alone_after: Some(Duration::ZERO),
                birth: Vec::new(),
            },
            gossip_keys: Vec::new(),
            security: Security::None,
            reactor: Reactor { threads: 1, spin: Duration::ZERO },
            mailboxes: Mailboxes::default(),
            limits: Limits::default(),
            machines: Vec::new(),
            machines_revision: None,
            storage: Storage::default(),
        }
    }
}

/// How connections are secured. Gossip has its own keys, see [`Options::gossip_keys`].
#[derive(Clone, Debug, Default)]
pub enum Security {
    /// Not at all: a client that reaches the ports may do everything.
    #[default]
    None,
    /// By CURVE. Daemons among themselves use keys that are derived from the gossip keys, so there must be some.
    Curve {
        /// The daemon's own keys for clients.
        own: OwnKeys,
        /// Whom it lets in.
        clients: Clients,
    },
}

/// Listening addresses; port 0 takes any free port.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    /// Clients (ROUTER), 7400.
    pub clients: SocketAddr,
    /// State changes (XPUB), 7401.
    pub changes: SocketAddr,
    /// Other daemons, 7402.
    pub peers: SocketAddr,
    /// Gossip over UDP, 7403.
    pub gossip: SocketAddr,
    /// The HTTP address, which the binary serves itself; it is here because members tell it to each other.
    pub http: SocketAddr,
}

/// How a daemon finds the others.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// DNS name of the headless Service, e.g. `mesh.default.svc.cluster.local.`.
    pub service: Option<String>,
    /// A DNS server to ask instead of those of /etc/resolv.conf.
    pub dns_server: Option<SocketAddr>,
    /// Gossip addresses that are always tried.
    pub seeds: Vec<SocketAddr>,
    /// After so long in which DNS has named this daemon and no other, it is alone on purpose and ready; `None`: never. With neither
    /// service nor seeds it is so after this long in any case; a seed, or another that DNS names, is waited for.
    pub alone_after: Option<Duration>,
    /// Names of members without which the mesh does not begin: none of them, nor any other daemon, is alone before it has links to
    /// all of these.
    pub birth: Vec<String>,
}

/// Reactor threads.
#[derive(Clone, Copy, Debug)]
pub struct Reactor {
    /// How many; each has its own listeners and connections.
    pub threads: usize,
    /// For how long a reactor polls before it sleeps; zero: it sleeps at once; [`Duration::MAX`]: it never sleeps.
    pub spin: Duration,
}

/// Places in the mailboxes between a daemon's threads. What finds none waits with its sender, in its order: so the number decides how
/// soon a slow thread is felt by others, not whether something is lost. The binary has the usual ones; the simulator also has daemons
/// with a few, whose mailboxes are full all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mailboxes {
    /// Commands that wait for one reactor.
    pub reactor: usize,
    /// Messages of reactors that wait for the control plane.
    pub control: usize,
}

impl Default for Mailboxes {
    fn default() -> Self {
        Self { reactor: 4_096, control: 65_536 }
    }
}
