//! The control plane: one task that keeps membership, ownership and definitions, and tells the reactors what follows from
//! them. It is off the path of events: a reactor never waits for it, and it never holds a shard for longer than one of
//! them would.

mod body;
mod compile;
mod counts;
mod define;
mod discover;
mod leaving;
mod links;
mod load;
mod mesh;
mod outbox;
mod roster;
mod strangers;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rand::RngExt;
use statemesh_mesh::gossip::{Key, Keyring, Mesh, RateLimit, Seal};
use statemesh_mesh::identity::{Identity, MemberName, Ports};
use statemesh_mesh::membership::{self, Membership};
use statemesh_mesh::ownership::{self, Ownership};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use counts::Counts;
use define::Definitions;
use leaving::Leaving;
use links::Links;
pub(crate) use load::load_definitions;
use outbox::Outbox;
use roster::Rosters;
pub(crate) use roster::{FRAME_BYTES as ROSTER_FRAME_BYTES, write_key};
use strangers::Strangers;

use crate::command::{Lane, ToControl};
use crate::node::{LeaveReport, StartError};
use crate::options::Options;
use crate::shared::Shared;

/// What the daemon's owner orders.
#[derive(Debug)]
pub(crate) enum Order {
    /// Hand everything over, for at most `patience`, and say goodbye.
    Leave {
        /// For how long.
        patience: Duration,
        /// Takes the report.
        done: oneshot::Sender<LeaveReport>,
    },
    /// Seal and open gossip with other keys.
    Rotate(Keyring),
    /// End the task.
    Stop,
}

/// Everything that can wake the control plane.
enum Wake {
    /// A datagram.
    Datagram(usize, SocketAddr),
    /// A reactor said something.
    Reactor(ToControl),
    /// The owner ordered something.
    Order(Option<Order>),
    /// A thread of its own finished a piece of work.
    Done(define::Done),
    /// Discovery found addresses.
    Found(Vec<SocketAddr>),
    /// Something is due.
    Tick,
}

/// Longest datagram that is looked at; ours are shorter.
const DATAGRAM_BYTES: usize = 2_048;
/// Messages of reactors handled before sockets and timers have their turn.
const MESSAGES_PER_TURN: usize = 256;

/// The control plane of one daemon.
pub(crate) struct Control {
    shared: Arc<Shared>,
    counts: Arc<Counts>,
    membership: Membership,
    ownership: Ownership,
    seal: Seal,
    /// Numbers of members; a name keeps its number as long as the process lives.
    numbers: HashMap<MemberName, u32>,
    names: Vec<MemberName>,
    links: Links<Lane>,
    /// Members that left a moment ago, and when their links end.
    departed: HashMap<u32, Instant>,
    strangers: Strangers,
    definitions: Definitions,
    rosters: Rosters,
    outbox: Outbox,
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
    sent: u64,
    received: u64,
    started: Instant,
    joined: bool,
    leaving: Option<Leaving>,
    /// The published view is out of date.
    stale: bool,
    failed: Option<String>,
}

impl Control {
    /// A control plane that knows nobody. `advertise` is where others reach this daemon.
    pub(crate) fn new(
        shared: Arc<Shared>,
        advertise: IpAddr,
        definitions: Vec<load::Loaded>,
        now: Instant,
    ) -> Result<Self, StartError> {
        let options = &shared.options;
        let name = MemberName::new(&options.name)
            .map_err(|error| StartError::Name { name: options.name.clone(), reason: error.to_string() })?;
        let listen = &options.listen;
        let ports = Ports {
            client: listen.clients.port(),
            changes: listen.changes.port(),
            peer: listen.peers.port(),
            gossip: listen.gossip.port(),
            http: listen.http.port(),
        };
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let incarnation = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        let me = Identity::new(name.clone(), incarnation, advertise, ports);
        let seed = rand::rng().random();
        let counts = Arc::new(Counts::default());
        let mut control = Self {
            seal: sealing(options)?,
            membership: Membership::new(me, membership::Config::default(), seed, now),
            ownership: Ownership::new(name, options.partitions, ownership::Settings::default()),
            counts,
            numbers: HashMap::new(),
            names: Vec::new(),
            links: Links::default(),
            departed: HashMap::new(),
            strangers: Strangers::default(),
            definitions: Definitions::default(),
            rosters: Rosters::new(options.partitions),
            outbox: Outbox::default(),
            datagrams: Vec::new(),
            sent: 0,
            received: 0,
            started: now,
            joined: false,
            leaving: None,
            stale: true,
            failed: None,
            shared,
        };
        control.load(definitions);
        control.regreet();
        control.publish_view();
        Ok(control)
    }

    /// What it counts.
    pub(crate) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(
        mut self,
        gossip: UdpSocket,
        mut reactors: mpsc::Receiver<ToControl>,
        mut orders: mpsc::Receiver<Order>,
        failed: Arc<watch::Sender<Option<String>>>,
    ) {
        let socket = match tokio::net::UdpSocket::from_std(gossip) {
            Ok(socket) => socket,
            Err(error) => {
                let _ = failed.send(Some(format!("gossip socket: {error}")));
                return;
            }
        };
        let (done_tx, mut done) = mpsc::channel(64);
        self.definitions.set_done(done_tx);
        let (joined_tx, joined) = watch::channel(false);
        let dns_server = self.shared.options.discovery.dns_server;
        let mut found = discover::spawn(self.discovery_config(), dns_server, joined);
        let mut buffer = vec![0u8; DATAGRAM_BYTES];
        loop {
            let due = self.next_deadline();
            let wake = tokio::select! {
                received = socket.recv_from(&mut buffer) => match received {
                    Ok((len, from)) => Wake::Datagram(len, from),
                    // An ICMP error of an earlier datagram; the protocol finds out who is dead by itself.
                    Err(_) => continue,
                },
                Some(message) = reactors.recv() => Wake::Reactor(message),
                order = orders.recv() => Wake::Order(order),
                Some(piece) = done.recv() => Wake::Done(piece),
                Some(addresses) = found.recv() => Wake::Found(addresses),
                () = tokio::time::sleep_until(due.into()) => Wake::Tick,
            };
            let now = Instant::now();
            match wake {
                Wake::Datagram(len, from) => self.datagram(buffer.get(..len).unwrap_or_default(), from, now),
                Wake::Reactor(message) => {
                    self.message(message, now);
                    for _ in 0..MESSAGES_PER_TURN {
                        let Ok(message) = reactors.try_recv() else {
                            break;
                        };
                        self.message(message, now);
                    }
                }
                Wake::Order(Some(Order::Leave { patience, done })) => self.leave(patience, done, now),
                Wake::Order(Some(Order::Rotate(keys))) => self.seal.rotate(keys),
                Wake::Order(Some(Order::Stop) | None) => return,
                Wake::Done(piece) => self.definition_done(piece, now),
                Wake::Found(addresses) => self.found(addresses, now),
                Wake::Tick => {}
            }
            self.tick(now);
            joined_tx.send_if_modified(|joined| std::mem::replace(joined, self.membership.live() > 0) != *joined);
            self.sent += self.datagrams.len() as u64;
            self.count();
            for (to, bytes) in self.datagrams.drain(..) {
                // A full socket buffer loses a datagram, as the network may.
                let _ = socket.try_send_to(&bytes, to);
            }
            self.outbox.flush(&self.shared);
            if let Some(reason) = self.failed.take() {
                tracing::error!(%reason, "this daemon cannot go on");
                let _ = failed.send(Some(reason));
            }
        }
    }

    fn next_deadline(&self) -> Instant {
        let far = Instant::now() + LONGEST_SLEEP;
        [
            self.membership.next_deadline(),
            self.ownership.next_deadline(),
            self.definitions.next_deadline(),
            self.outbox.next(),
            self.leaving_deadline(),
        ]
        .into_iter()
        .flatten()
        .fold(far, Instant::min)
    }

    /// Everything that time brings, and everything that follows from what came in.
    fn tick(&mut self, now: Instant) {
        if self.membership.next_deadline().is_some_and(|at| at <= now) {
            self.membership.handle(membership::Input::Tick, now);
        }
        self.follow_membership(now);
        self.close_departed(now);
        self.maybe_alone(now);
        if self.ownership.next_deadline().is_some_and(|at| at <= now) {
            self.ownership.handle(ownership::Input::Tick, now);
        }
        self.follow_ownership();
        self.definitions_due(now);
        self.go_on_leaving(now);
        if std::mem::take(&mut self.stale) {
            self.publish_view();
        }
    }

    fn count(&self) {
        self.counts.update(|figures| {
            figures.drops = self.seal.drops();
            figures.membership = self.membership.counters();
            figures.sent = self.sent;
            figures.received = self.received;
            figures.held = self.ownership.held() as u64;
        });
    }

    /// The number of a member; a new name gets the next one.
    fn number(&mut self, name: &MemberName) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        number
    }

    fn name(&self, number: u32) -> Option<MemberName> {
        self.names.get(number as usize).cloned()
    }
}

/// The keys of gossip, the one to seal with first.
///
/// # Errors
/// There are none, or too many.
pub(crate) fn keyring(keys: &[[u8; 32]]) -> Result<Keyring, StartError> {
    let mut keys = keys.iter().map(Key::new);
    let primary = keys.next().ok_or_else(|| StartError::GossipKeys("there are none".into()))?;
    Keyring::new(primary, keys.collect()).map_err(|error| StartError::GossipKeys(error.to_string()))
}

/// Gossip datagrams taken from one address: a member sends some tens a second, and more while many join.
const DATAGRAMS_PER_SECOND: u32 = 2_000;
const DATAGRAMS_BURST: u32 = 4_000;

fn sealing(options: &Options) -> Result<Seal, StartError> {
    let mesh = Mesh { name: options.mesh.clone(), partitions: options.partitions };
    let ring = match options.gossip_keys.as_slice() {
        [] => Keyring::well_known(&mesh),
        keys => keyring(keys)?,
    };
    if !ring.is_secret() {
        tracing::warn!("gossip has no key of its own: whoever reaches this network and knows the mesh's name can join");
    }
    let limit = RateLimit::new(DATAGRAMS_PER_SECOND, DATAGRAMS_BURST);
    Ok(Seal::new(&mesh, ring, limit, rand::rng().random()))
}

/// After this long the control plane looks around even if nothing is due.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);
