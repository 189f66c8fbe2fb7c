//! Starting, asking and ending one daemon.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use prometheus::Registry;
use statemesh_transport::curve::OwnKeys;
use statemesh_transport::limits::Settings;
use statemesh_transport::{Reactor, SocketType, listen};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};

use crate::access::{Clients, Doors};
use crate::command::Command;
use crate::control::{self, Order};
use crate::levels;
use crate::metrics::NodeCollector;
use crate::options::{Listen, Options};
use crate::shared::Shared;
use crate::worker::{CHANGES, CLIENTS, PEERS, Worker};

/// Messages that wait for the control plane.
const CONTROL_QUEUE: usize = 65_536;
/// Bytes of a message between daemons: a part of a moving partition, whose last instance may be as large as a context and
/// its history may be.
const PEER_MESSAGE_BYTES: usize = 64 << 20;
/// Bytes of the command around a subscription; one that is much too long is refused without ending its connection.
const SUBSCRIBE_BYTES: usize = 2 * 1024;
/// How long to wait for room in a reactor's ring.
const RING_PAUSE: Duration = Duration::from_millis(1);
/// How long leaving may take; a caller with less patience ends the process.
const LEAVE_PATIENCE: Duration = Duration::from_secs(600);
/// How long a caller in the process waits for an answer.
const CALL_PATIENCE: Duration = Duration::from_secs(10);

/// Why a daemon did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken, or the address is not this machine's.
    #[error("cannot listen on {address} ({what}): {source}")]
    Listen {
        /// Which of the daemon's addresses.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The name is not one that a member can have.
    #[error("node.name \"{name}\": {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A definition could not be loaded.
    #[error("{path}: {reason}")]
    Definition {
        /// The file.
        path: String,
        /// What is wrong, with lines.
        reason: String,
    },
    /// The operating system gave no epoll instance, thread or socket.
    #[error("cannot start a reactor: {0}")]
    Reactor(#[from] io::Error),
    /// The gossip keys cannot be used.
    #[error("gossip.keys: {0}")]
    GossipKeys(String),
    /// The registry has these metrics already.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl StartError {
    /// A stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "cannot_listen",
            Self::Name { .. } => "bad_name",
            Self::Definition { .. } => "invalid_definition",
            Self::Reactor(_) => "cannot_start_reactor",
            Self::GossipKeys(_) => "bad_gossip_keys",
            Self::Metrics(_) => "cannot_register_metrics",
        }
    }
}

/// Why a call within the process got no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The daemon is ending.
    #[error("the daemon is ending")]
    Ending,
    /// No answer came in time.
    #[error("no answer within {CALL_PATIENCE:?}")]
    Timeout,
}

/// Whether a daemon can take requests, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// It has joined, or is alone on purpose, and is not leaving.
    pub ready: bool,
    /// Its reactors turn.
    pub live: bool,
    /// Why it is not ready, or how it became so.
    pub reason: String,
}

/// What became of a daemon's instances when it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaveReport {
    /// Instances that other daemons have now.
    pub moved_instances: u64,
    /// Instances that nobody took.
    pub left_behind: usize,
}

/// A running daemon.
pub struct Node {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    threads: Vec<JoinHandle<()>>,
    handle: Handle,
}

/// Asks a running daemon.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    listen: Listen,
    failed: watch::Receiver<Option<String>>,
    orders: mpsc::Sender<Order>,
}

impl Node {
    /// Starts a daemon: listens, loads its definitions, and begins to look for the others.
    ///
    /// # Errors
    /// See [`StartError`].
    #[expect(clippy::needless_pass_by_value, reason = "both are handles that the caller has no other use for")]
    pub fn start(mut options: Options, registry: Registry, runtime: runtime::Handle) -> Result<Self, StartError> {
        let reactors = options.reactor.threads.max(1);
        let sockets = Sockets::bind(&mut options.listen, reactors)?;
        let listen = options.listen;
        let definitions = control::load_definitions(&options.machines)?;
        let now = Instant::now();
        let (to_control, from_reactors) = mpsc::channel(CONTROL_QUEUE);
        let (orders, order_queue) = mpsc::channel(4);
        let (failed_tx, failed) = watch::channel(None);
        let advertise = advertised(&options);
        let doors = Doors::new(&options, now);
        let shared = Arc::new(Shared::new(options, doors, reactors, now, to_control));
        let plane = control::Control::new(Arc::clone(&shared), advertise, definitions, now)?;
        let collector = NodeCollector::new(shared.counters.clone(), levels::of(Arc::clone(&shared), plane.counts()))?;
        registry.register(Box::new(collector))?;
        let failing = Arc::new(failed_tx);
        let threads = start_reactors(&shared, sockets.tcp, &failing, now)?;
        runtime.spawn(plane.run(sockets.gossip, from_reactors, order_queue, failing));
        let handle = Handle { shared: Arc::clone(&shared), listen, failed, orders: orders.clone() };
        Ok(Self { shared, orders, threads, handle })
    }

    /// A way to ask it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Hands over everything to the others and says goodbye. Blocks until that is done, or has taken ten minutes.
    #[must_use]
    pub fn leave(&self) -> LeaveReport {
        let (done, left) = oneshot::channel();
        let gone = LeaveReport { moved_instances: 0, left_behind: self.shared.shards.instances() };
        if self.orders.blocking_send(Order::Leave { patience: LEAVE_PATIENCE, done }).is_err() {
            return gone;
        }
        left.blocking_recv().unwrap_or(gone)
    }

    /// Ends the threads, after what is queued has been written.
    pub fn stop(self) {
        for reactor in 0..self.shared.reactors() {
            let mut command = Command::Stop;
            while let Err(back) = self.shared.tell(reactor, command) {
                command = back;
                std::thread::yield_now();
            }
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a reactor had ended by a panic");
            }
        }
        // A full queue of orders means that the control plane is ending already.
        let _ = self.orders.try_send(Order::Stop);
    }
}

impl Handle {
    /// Whether it can take requests.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if let Some(reason) = self.failed.borrow().clone() {
            return Readiness { ready: false, live: false, reason };
        }
        let view = self.shared.view();
        Readiness { ready: view.joined && !view.leaving, live: true, reason: view.reason.clone() }
    }

    /// Completes once the control plane has failed for good, with the reason: e.g. another live daemon has the name.
    pub async fn failed(&self) -> String {
        let mut failed = self.failed.clone();
        loop {
            if let Some(reason) = failed.borrow_and_update().clone() {
                return reason;
            }
            if failed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// The addresses that it listens on, with their real ports.
    #[must_use]
    pub fn addresses(&self) -> Listen {
        self.listen
    }

    /// Lets in other clients than before. Those that are no longer on the list lose their connections, those that may do other
    /// things than before may do those from now on.
    pub fn set_clients(&self, clients: Clients) {
        self.shared.doors.set_clients(clients);
        self.tell_all(|| Command::ClientsChanged);
    }

    /// Other keys of its own than before, which it shows to clients that connect from now on. Connections that are open stay.
    pub fn set_own_keys(&self, own: OwnKeys) {
        self.shared.doors.set_own_keys(own);
    }

    /// Other keys for gossip and for the links between daemons, the one to use first; a link that was opened with a key
    /// that is no longer among them ends.
    ///
    /// # Errors
    /// There are none, or more than a rotation needs.
    pub async fn set_gossip_keys(&self, keys: Vec<[u8; 32]>) -> Result<(), String> {
        let ring = control::keyring(&keys).map_err(|error| error.to_string())?;
        self.shared.doors.set_gossip_keys(&keys);
        self.tell_all(|| Command::PeerKeysChanged);
        self.orders.send(Order::Rotate(ring)).await.map_err(|_| "the daemon is ending".to_owned())
    }

    /// Tells every reactor something; one whose ring is full is tried again after a pause.
    fn tell_all(&self, command: impl Fn() -> Command) {
        for reactor in 0..self.shared.reactors() {
            while self.shared.tell(reactor, command()).is_err() {
                std::thread::sleep(RING_PAUSE);
            }
        }
    }

    /// Sends a request as a client would, in JSON or MessagePack, and gives the reply.
    ///
    /// # Errors
    /// The daemon is ending, or did not answer in time.
    pub async fn call(&self, request: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let (answer, reply) = oneshot::channel();
        self.shared.tell(0, Command::Call { request, answer }).map_err(|_| CallError::Timeout)?;
        match tokio::time::timeout(CALL_PATIENCE, reply).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(CallError::Ending),
            Err(_) => Err(CallError::Timeout),
        }
    }
}

struct Sockets {
    /// For each reactor: clients, changes, peers.
    tcp: Vec<[TcpListener; 3]>,
    gossip: UdpSocket,
}

impl Sockets {
    /// Binds everything, replacing port 0 by the port that was given.
    fn bind(addresses: &mut Listen, reactors: usize) -> Result<Self, StartError> {
        let mut tcp = Vec::with_capacity(reactors);
        for address in [&addresses.clients, &addresses.changes, &addresses.peers] {
            nobody_listens(*address)?;
        }
        for _ in 0..reactors {
            tcp.push([
                bind_tcp(&mut addresses.clients, "listen.clients")?,
                bind_tcp(&mut addresses.changes, "listen.changes")?,
                bind_tcp(&mut addresses.peers, "listen.peers")?,
            ]);
        }
        let address = addresses.gossip;
        let refused = |source| StartError::Listen { what: "listen.gossip", address, source };
        let gossip = UdpSocket::bind(address).map_err(refused)?;
        gossip.set_nonblocking(true).map_err(refused)?;
        addresses.gossip = gossip.local_addr().map_err(refused)?;
        Ok(Self { tcp, gossip })
    }
}

fn bind_tcp(address: &mut SocketAddr, what: &'static str) -> Result<TcpListener, StartError> {
    let refused = |source| StartError::Listen { what, address: *address, source };
    let socket = listen::tcp(*address).map_err(refused)?;
    *address = socket.local_addr().map_err(refused)?;
    Ok(socket)
}

/// `SO_REUSEPORT` would let a second daemon of the same user share the port in silence: so look before.
fn nobody_listens(address: SocketAddr) -> Result<(), StartError> {
    if address.port() == 0 || std::net::TcpStream::connect_timeout(&loopback_of(address), PROBE).is_err() {
        return Ok(());
    }
    Err(StartError::Listen { what: "tcp", address, source: io::ErrorKind::AddrInUse.into() })
}

const PROBE: Duration = Duration::from_millis(200);

fn loopback_of(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    address
}

/// The address at which others reach this daemon.
fn advertised(options: &Options) -> IpAddr {
    let listening = options.listen.peers.ip();
    if let Some(address) = options.advertise {
        return address;
    }
    if !listening.is_unspecified() {
        return listening;
    }
    // Connecting a UDP socket sends nothing; it only asks which interface leads there. The target is a seed, or an
    // address reserved for documentation (RFC 5737), which takes the default route.
    let target = options.discovery.seeds.first().copied().unwrap_or((Ipv4Addr::new(192, 0, 2, 1), 9).into());
    let local = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect(target)?;
        socket.local_addr()
    });
    local.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

/// Says so when a reactor ends that should not: without it the daemon must not be taken for alive.
struct Ended {
    failing: Arc<watch::Sender<Option<String>>>,
    reason: String,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if !self.reason.is_empty() {
            tracing::error!(reason = %self.reason, "this daemon cannot go on");
            let _ = self.failing.send(Some(std::mem::take(&mut self.reason)));
        }
    }
}

fn start_reactors(
    shared: &Arc<Shared>,
    sockets: Vec<[TcpListener; 3]>,
    failing: &Arc<watch::Sender<Option<String>>>,
    now: Instant,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let limits = shared.options.limits;
    let settings = Settings {
        spin: shared.options.reactor.spin,
        connections: limits.connections,
        connections_per_address: limits.connections_per_address,
        connections_per_second: limits.connections_per_second,
        message_bytes: PEER_MESSAGE_BYTES,
        parts: limits.parts,
        handshake: limits.handshake,
        handshake_bytes: limits.handshake_bytes,
        heartbeat: limits.heartbeat,
        idle: limits.idle,
        unread_bytes: limits.unread_bytes / sockets.len().max(1),
        unsent_bytes: limits.unsent_bytes,
        unsent_total_bytes: limits.unsent_total_bytes / sockets.len().max(1),
        in_flight: limits.in_flight_per_connection,
        malformed: limits.malformed,
    };
    let mut threads = Vec::new();
    for (index, [clients, changes, peers]) in sockets.into_iter().enumerate() {
        let counters = shared.counters.get(index).cloned().unwrap_or_default();
        let worker_shared = Arc::clone(shared);
        let mut reactor = Reactor::new(settings, now, |waker| {
            worker_shared.set_waker(index, waker);
            Worker::new(worker_shared, index, counters, now)
        })?;
        reactor.share(Arc::clone(&shared.connections));
        let (for_clients, for_peers) = shared.doors.listening();
        reactor.listen(clients, SocketType::Router, limits.message_bytes, CLIENTS, for_clients.clone())?;
        let subscription_bytes = limits.subscription_bytes.saturating_add(SUBSCRIBE_BYTES);
        reactor.listen(changes, SocketType::XPub, subscription_bytes, CHANGES, for_clients)?;
        reactor.listen(peers, SocketType::Router, PEER_MESSAGE_BYTES, PEERS, for_peers)?;
        let ended = Ended { failing: Arc::clone(failing), reason: format!("reactor {index} ended by a panic") };
        let thread = std::thread::Builder::new().name(format!("reactor-{index}")).spawn(move || {
            let mut ended = ended;
            ended.reason = match reactor.run() {
                Ok(()) => String::new(),
                Err(error) => format!("reactor {index} ended: {error}"),
            };
        })?;
        threads.push(thread);
    }
    Ok(threads)
}
