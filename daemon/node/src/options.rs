//! Everything a daemon can be told. The binary fills it from flags, environment and file; tests fill it by hand.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use statemesh_transport::curve::OwnKeys;

use crate::access::Clients;

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
    /// How clients and daemons are told from strangers.
    pub security: Security,
    /// The reactor threads.
    pub reactor: Reactor,
    /// Bounds; each has a metric.
    pub limits: Limits,
    /// Machine definitions that are defined at start: files, or folders of `*.json`.
    pub machines: Vec<PathBuf>,
}

/// How connections are secured. Gossip has its own keys, see [`Options::gossip_keys`].
#[derive(Clone, Debug, Default)]
pub enum Security {
    /// Not at all: whoever reaches the ports may do everything.
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
    /// After this long without finding anybody, a daemon is alone on purpose and ready; `None`: it waits for ever.
    pub alone_after: Option<Duration>,
}

/// Reactor threads.
#[derive(Clone, Copy, Debug)]
pub struct Reactor {
    /// How many; each has its own listeners and connections.
    pub threads: usize,
    /// For how long a reactor polls before it sleeps; zero: it sleeps at once; [`Duration::MAX`]: it never sleeps.
    pub spin: Duration,
}

/// Bounds of a daemon, in the order in which an event meets them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all, for each daemon.
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// Bytes of one message from a client.
    pub message_bytes: usize,
    /// New connections from one address in a second.
    pub connections_per_second: u32,
    /// Time for a new connection to complete its handshake.
    pub handshake: Duration,
    /// Bytes of one frame before the handshake is complete.
    pub handshake_bytes: usize,
    /// Parts of one message.
    pub parts: usize,
    /// A peer that was silent for so long is asked for a sign of life, if it speaks ZMTP 3.1.
    pub heartbeat: Duration,
    /// A connection is closed after so long without a sign of life.
    pub idle: Duration,
    /// Bytes of messages that are not whole yet, on all connections.
    pub unread_bytes: usize,
    /// Malformed requests of one connection within `heartbeat`; beyond it the connection is closed.
    pub malformed: u32,
    /// Requests in one frame (array).
    pub batch: usize,
    /// Bytes of a key.
    pub key_bytes: usize,
    /// Bytes waiting to be written to one connection; beyond it the connection is no longer read.
    pub unsent_bytes: usize,
    /// The same for all connections; beyond it no connection is read that has something waiting.
    pub unsent_total_bytes: usize,
    /// Requests forwarded and not yet answered, for each reactor.
    pub in_flight: usize,
    /// Requests of one connection that are forwarded, parked, or wait for their shard or the control plane; with so many the
    /// connection is no longer read.
    pub in_flight_per_connection: usize,
    /// Requests parked while their partition moves, for each reactor.
    pub parked: usize,
    /// For how long an owner may owe an answer to a forwarded request.
    pub forward_timeout: Duration,
    /// Subscriptions of one subscriber.
    pub subscriptions: usize,
    /// Subscriptions of all subscribers.
    pub subscriptions_total: usize,
    /// Bytes of one subscription.
    pub subscription_bytes: usize,
    /// Bytes waiting for one subscriber; beyond it its oldest changes are dropped and counted.
    pub subscriber_bytes: usize,
    /// Bytes waiting for all subscribers; beyond it whoever would get more loses its oldest changes.
    pub subscriber_total_bytes: usize,
    /// Requests in one second of one client, by the name of its key, where the key has no figure of its own.
    pub events_per_second: u32,
    /// Entries of an instance's history.
    pub history: usize,
    /// Instances on this daemon.
    pub instances: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 4_096,
            connections_per_second: 1_000,
            message_bytes: 1 << 20,
            handshake: Duration::from_secs(5),
            handshake_bytes: 1_024,
            parts: 16,
            heartbeat: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            unread_bytes: 256 << 20,
            malformed: 10_000,
            batch: 10_000,
            key_bytes: 1_024,
            unsent_bytes: 4 << 20,
            unsent_total_bytes: 256 << 20,
            in_flight: 65_536,
            in_flight_per_connection: 4_096,
            parked: 65_536,
            forward_timeout: Duration::from_secs(5),
            subscriptions: 1_024,
            subscriptions_total: 100_000,
            subscription_bytes: 2_048,
            subscriber_bytes: 4 << 20,
            subscriber_total_bytes: 256 << 20,
            events_per_second: 1_000_000,
            history: 16,
            instances: 10_000_000,
        }
    }
}
