//! Starting, asking and ending one daemon.
#![expect(clippy::disallowed_methods, reason = "a shell has a clock, and gives a daemon what is random")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use mio::net::TcpListener;
use prometheus::Registry;
use rand::RngExt;
use statemesh_journal::thread::JournalThread;
use statemesh_mesh::gossip::KeyError;
use statemesh_protocol::call::{Reply, Request};
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::identity::NameError;
use statemesh_shard::Clock;
use statemesh_transport::curve::OwnKeys;
use statemesh_transport::{MioKernel, listen};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};

use crate::access::Clients;
use crate::beats::{self, DEAD, Loop, STALE};
use crate::control::{self, Birth, LoadError, Order};
use crate::directory::Directory;
use crate::gauges;
use crate::journaling;
use crate::mailbox::Command;
use crate::metrics::NodeCollector;
use crate::options::{Listen, Options};
use crate::parts::{self, Parts};
use crate::shared::Shared;
use crate::volume::{self, FileRefused, Stored, Unread, VolumeRefused};

/// How long to wait for room in a reactor's ring.
const RING_PAUSE: Duration = Duration::from_millis(1);
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
    #[error("node.name \"{name}\": {source}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// A name of those without which the mesh does not begin is not one that a member can have.
    #[error("birth: \"{name}\": {source}")]
    Birth {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// A definition could not be loaded.
    #[error("{}: {source}", path.display())]
    Definition {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        source: LoadError,
    },
    /// A machine of a file cannot be as durable as it says.
    #[error(transparent)]
    Durability(#[from] FileRefused),
    /// The operating system gave no epoll instance, thread or socket.
    #[error("cannot start a reactor: {0}")]
    Reactor(#[from] io::Error),
    /// The gossip keys cannot be used.
    #[error("gossip.keys: {0}")]
    GossipKeys(#[from] KeyError),
    /// The folder of its data cannot be used.
    #[error("data: {0}")]
    Volume(#[from] VolumeRefused),
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
            Self::Birth { .. } => "bad_birth",
            Self::Definition { .. } | Self::Durability(_) => "invalid_definition",
            Self::Reactor(_) => "cannot_start_reactor",
            Self::GossipKeys(_) => "bad_gossip_keys",
            Self::Volume(refused) => refused.code(),
            Self::Metrics(_) => "cannot_register_metrics",
        }
    }
}

/// Why gossip keys do not count from now on.
#[derive(Debug, thiserror::Error)]
pub enum GossipKeysError {
    /// They cannot be used; those before them stay.
    #[error(transparent)]
    Unusable(#[from] StartError),
    /// The daemon is ending. They count on links, and not for gossip.
    #[error("the daemon is ending")]
    Ending,
}

/// Why a call within the process got no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The daemon is ending.
    #[error("the daemon is ending")]
    Ending,
    /// More is asked than a reactor has room for; the request was not taken.
    #[error("too much is asked at once; ask again in a moment")]
    Busy,
    /// No answer came in time.
    #[error("no answer within {CALL_PATIENCE:?}")]
    Timeout,
}

impl CallError {
    /// The code with which a client would hear the same.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Ending => ErrorCode::Leaving,
            Self::Busy => ErrorCode::LimitExceeded,
            Self::Timeout => ErrorCode::Timeout,
        }
    }
}

/// Whether a daemon can take requests, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// It has joined, or is alone on purpose, and is not leaving.
    pub ready: bool,
    /// Its reactors and its control plane turn.
    pub live: bool,
    /// Why it is not ready, or how it became so.
    pub reason: String,
}

impl Readiness {
    /// Of a daemon whose oldest beat is that of this loop, and so old.
    fn of((silent, age): (Loop, Duration), view: &Directory) -> Self {
        if age >= STALE {
            let reason = format!("{silent} has not turned for {} s", age.as_secs());
            return Self { ready: false, live: age < DEAD, reason };
        }
        Self { ready: view.joined && !view.leaving, live: true, reason: view.reason.clone() }
    }

    /// The same over a volume that has not taken a batch for so long. Another process would wait for the same disk, and without what this one
    /// has in memory: so it stays alive.
    fn over_volume(self, stall: Duration) -> Self {
        if !self.ready || stall < STALE {
            return self;
        }
        let reason =
            format!("the volume has not taken a batch for {} s: the disk is very slow, or hangs", stall.as_secs());
        Self { ready: false, reason, ..self }
    }
}

/// What became of a daemon's instances when it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaveReport {
    /// Instances that other daemons have now.
    pub moved_instances: u64,
    /// Instances that no other daemon took, and that are lost with this process.
    pub left_behind: usize,
    /// Instances that stay on the daemon's volume, and are there at its next start.
    pub on_volume: usize,
}

impl LeaveReport {
    /// Of a daemon that has handed off so many, and still has the rest.
    pub(crate) fn of(moved_instances: u64, shared: &Shared) -> Self {
        let on_volume = shared.instances_on_volume();
        Self { moved_instances, left_behind: shared.shards.instances().saturating_sub(on_volume), on_volume }
    }
}

/// A running daemon.
pub struct Node {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    threads: Vec<JoinHandle<()>>,
    /// Writes what durable instances do.
    journal: Option<JournalThread>,
    /// Closes when the daemon ends.
    watcher: std::sync::mpsc::Sender<()>,
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
        let unread = volume::open(&options)?;
        let birth = birth(&options, unread.as_ref())?;
        let now = Instant::now();
        let (orders, order_queue) = mpsc::channel(4);
        let (failed_tx, failed) = watch::channel(None);
        let Parts { shared, control, from_reactors } = Parts::new(options, birth, now)?;
        let collector = NodeCollector::new(shared.counters.clone(), gauges::of(Arc::clone(&shared), control.counts()))?;
        registry.register(Box::new(collector))?;
        let failing = Arc::new(failed_tx);
        // Before anything is served.
        let begin = |unread: Unread| journaling::begin(unread.volume, &shared, Arc::clone(&failing));
        let journal = unread.map(begin).transpose()?;
        let threads = start_reactors(&shared, sockets.tcp, &failing)?;
        runtime.spawn(control::run(control, sockets.gossip, from_reactors, order_queue, failing));
        let handle = Handle { shared: Arc::clone(&shared), listen, failed, orders: orders.clone() };
        let (watcher, ends) = std::sync::mpsc::channel();
        let watched = Arc::clone(&shared);
        std::thread::Builder::new().name("beats".into()).spawn(move || beats::watch(&watched, &ends))?;
        Ok(Self { shared, orders, threads, journal, watcher, handle })
    }

    /// A way to ask it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Hands off everything to the others, for at most `patience`, and says goodbye. Blocks until that is done.
    #[must_use]
    pub fn leave(&self, patience: Duration) -> LeaveReport {
        let (done, left) = oneshot::channel();
        let gone = LeaveReport::of(0, &self.shared);
        if self.orders.blocking_send(Order::Leave { patience, done }).is_err() {
            return gone;
        }
        left.blocking_recv().unwrap_or(gone)
    }

    /// Ends the threads, after what is queued has been written.
    pub fn stop(self) {
        drop(self.watcher);
        for reactor in 0..self.shared.reactors.len() {
            let mut command = Command::Stop;
            while let Err(back) = self.shared.reactors.tell(reactor, command) {
                command = back;
                std::thread::yield_now();
            }
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a reactor had ended by a panic");
            }
        }
        if let Some(journal) = self.journal {
            journal.stop();
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
        let now = Instant::now();
        let loops = self.shared.beats.oldest(self.shared.clock.millis(now));
        Readiness::of(loops, &self.shared.view()).over_volume(self.shared.volume_stall(now))
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

    /// The addresses that it listens on, with their real mailboxes.
    #[must_use]
    pub fn addresses(&self) -> Listen {
        self.listen
    }

    /// Lets in other clients than before. Those that are no longer on the list lose their connections, those that may do other
    /// things than before may do those from now on.
    pub fn set_clients(&self, clients: Clients) {
        self.shared.auth.set_clients(clients);
        self.tell_all(|| Command::ClientsChanged);
    }

    /// Other keys of its own than before, which it shows to clients that connect from now on. Connections that are open stay.
    pub fn set_own_keys(&self, own: OwnKeys) {
        self.shared.auth.set_own_keys(own);
    }

    /// Other keys for gossip and for the links between daemons, the one to use first; a link that was opened with a key
    /// that is no longer among them ends.
    ///
    /// # Errors
    /// There are none, or more than a rotation needs; or the daemon is ending.
    pub async fn set_gossip_keys(&self, keys: Vec<[u8; 32]>) -> Result<(), GossipKeysError> {
        let ring = control::keyring(&keys)?;
        self.shared.auth.set_gossip_keys(&keys);
        self.tell_all(|| Command::PeerKeysChanged);
        self.orders.send(Order::Rotate(ring)).await.map_err(|_| GossipKeysError::Ending)
    }

    /// Tells every reactor something; one whose ring is full is tried again after a pause.
    fn tell_all(&self, command: impl Fn() -> Command) {
        for reactor in 0..self.shared.reactors.len() {
            while self.shared.reactors.tell(reactor, command()).is_err() {
                std::thread::sleep(RING_PAUSE);
            }
        }
    }

    /// Sends a request as a client would, and gives the reply.
    ///
    /// # Errors
    /// The daemon is ending, has no room for the request, or did not answer in time.
    pub async fn call(&self, request: Request) -> Result<Reply, CallError> {
        let (answer, reply) = oneshot::channel();
        self.shared.reactors.tell(0, Command::Call { request, answer }).map_err(|_| CallError::Busy)?;
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
            refuse_taken(*address)?;
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
fn refuse_taken(address: SocketAddr) -> Result<(), StartError> {
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

/// What this process gives its control plane: its files, the time as its incarnation, and what is random.
fn birth(options: &Options, unread: Option<&Unread>) -> Result<Birth, StartError> {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut rng = rand::rng();
    let definitions = control::load_definitions(&options.machines, &options.limits)?;
    let mut stored = match unread {
        Some(unread) => Stored::compile(&unread.definitions, &options.limits)?,
        None => Vec::new(),
    };
    volume::keep_files(
        definitions.iter().map(|file| &file.machine),
        &mut stored,
        options,
        unread.map(|unread| &unread.volume),
    )?;
    Ok(Birth {
        advertise: advertised(options),
        incarnation: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX),
        seed: rng.random(),
        session: rng.random(),
        definitions,
        stored,
    })
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

/// Says so when a loop ends that should not: without it the daemon must not be taken for alive.
pub(crate) struct Ended {
    failing: Arc<watch::Sender<Option<String>>>,
    reason: String,
}

impl Ended {
    /// For a loop that goes on, of this name.
    pub(crate) fn new(failing: Arc<watch::Sender<Option<String>>>, name: &str) -> Self {
        Self { failing, reason: format!("{name} ended by a panic") }
    }

    /// It ends as it was told.
    pub(crate) fn in_order(mut self) {
        self.reason.clear();
    }

    /// It ends for this reason.
    pub(crate) fn because(mut self, reason: String) {
        self.fail(reason);
        self.reason.clear();
    }

    fn fail(&self, reason: String) {
        tracing::error!(%reason, "this daemon cannot go on");
        let _ = self.failing.send(Some(reason));
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // A task is dropped where it waits when its runtime ends.
        if !self.reason.is_empty() && std::thread::panicking() {
            let reason = std::mem::take(&mut self.reason);
            self.fail(reason);
        }
    }
}

fn start_reactors(
    shared: &Arc<Shared>,
    sockets: Vec<[TcpListener; 3]>,
    failing: &Arc<watch::Sender<Option<String>>>,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let mut threads = Vec::new();
    for (index, listeners) in sockets.into_iter().enumerate() {
        let mut kernel = MioKernel::new()?;
        for socket in listeners {
            kernel.listen(socket)?;
        }
        let waker = kernel.waker();
        let mut reactor = parts::reactor(shared, index, Box::new(kernel), waker, Clock::new(Instant::now));
        let name = format!("reactor {index}");
        let ended = Ended::new(Arc::clone(failing), &name);
        let thread =
            std::thread::Builder::new().name(format!("reactor-{index}")).spawn(move || match reactor.run() {
                Ok(()) => ended.in_order(),
                Err(error) => ended.because(format!("{name} ended: {error}")),
            })?;
        threads.push(thread);
    }
    Ok(threads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Reactor;
    use crate::shared::Greeter;
    use statemesh_client::Connection as Client;
    use statemesh_protocol::peer::frame::PeerFrame;
    use statemesh_protocol::reply::Encoding;
    use statemesh_protocol::request::Op;
    use statemesh_protocol::request_writer::Ask;
    use statemesh_transport::SocketType;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn started(runtime: &runtime::Runtime) -> Node {
        let reactor = Reactor { threads: 2, spin: Duration::ZERO };
        let options = Options { reactor, ..Options::for_tests("one") };
        let node = Node::start(options, Registry::new(), runtime.handle().clone()).unwrap();
        until(&node, "it is ready", |now| now.ready);
        node
    }

    fn until(node: &Node, what: &str, done: impl Fn(&Readiness) -> bool) -> Readiness {
        let end = Instant::now() + PATIENCE;
        loop {
            let readiness = node.handle().readiness();
            if done(&readiness) {
                return readiness;
            }
            assert!(Instant::now() < end, "not in time: {what}; {readiness:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn runtime() -> runtime::Runtime {
        runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    /// Keeps a reactor in its handler until what this gives is dropped.
    fn block(node: &Node) -> std::sync::mpsc::Sender<()> {
        let (go_on, held) = std::sync::mpsc::channel::<()>();
        let (entered, inside) = std::sync::mpsc::channel();
        let held = parking_lot::Mutex::new(held);
        let judge = move |_: &[u8]| {
            let _ = entered.send(());
            let _ = held.lock().recv();
            Err(Vec::new())
        };
        node.shared.links.set_greeter(Greeter { hello: Arc::new([]), judge: Box::new(judge) });
        let peers = node.handle().addresses().peers;
        let mut client = Client::connect(peers, SocketType::Dealer, PATIENCE).unwrap();
        let mut greeting = Vec::new();
        PeerFrame::Hello { lane: 0, link: 1, greeting: b"hello" }.encode(&mut greeting);
        client.push(&greeting);
        client.flush().unwrap();
        inside.recv_timeout(PATIENCE).unwrap();
        go_on
    }

    #[test]
    fn a_loop_that_stands_for_2_s_makes_it_unready_and_after_10_s_not_alive() {
        let view = Directory { joined: true, ..Directory::default() };
        let told = |millis| {
            let Readiness { ready, live, .. } = Readiness::of((Loop::Reactor(0), Duration::from_millis(millis)), &view);
            (ready, live)
        };
        assert_eq!([0, 1_999].map(told), [(true, true); 2]);
        assert_eq!([2_000, 9_999].map(told), [(false, true); 2]);
        assert_eq!(told(10_000), (false, false));
        let leaving = Directory { leaving: true, ..view };
        let readiness = Readiness::of((Loop::Control, Duration::ZERO), &leaving);
        assert!(!readiness.ready && readiness.live, "{readiness:?}");
    }

    #[test]
    fn a_disk_that_hangs_makes_it_unready_and_never_dead() {
        let view = Directory { joined: true, ..Directory::default() };
        let told = |stall_ms| {
            let loops = Readiness::of((Loop::Control, Duration::ZERO), &view);
            let Readiness { ready, live, reason } = loops.over_volume(Duration::from_millis(stall_ms));
            (ready, live, reason.contains("volume"))
        };
        assert_eq!(told(1_999), (true, true, false));
        assert_eq!([2_000, 60_000].map(told), [(false, true, true); 2]);
        let stands = Readiness::of((Loop::Control, DEAD), &view).over_volume(DEAD);
        assert!(!stands.live && stands.reason.contains("control plane"), "{stands:?}");
    }

    #[test]
    fn a_call_for_which_there_is_no_room_says_so_at_once_and_the_others_are_answered() {
        let runtime = runtime();
        let node = Node::start(Options::for_tests("one"), Registry::new(), runtime.handle().clone()).unwrap();
        until(&node, "it is ready", |now| now.ready);
        let go_on = block(&node);
        let ping = Request::from(&Ask::new(Op::Ping, Encoding::Json));
        let calls: Vec<_> = (0..5_000)
            .map(|_| {
                let (handle, ping) = (node.handle().clone(), ping.clone());
                runtime.spawn(async move { handle.call(ping).await })
            })
            .collect();
        // The first are in the ring once one hears that it is full.
        let refused = || calls.iter().any(tokio::task::JoinHandle::is_finished);
        let end = Instant::now() + PATIENCE;
        while !refused() {
            assert!(Instant::now() < end, "all have room");
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(go_on);
        let ends = runtime.block_on(async {
            let mut ends = Vec::new();
            for call in calls {
                ends.push(call.await.unwrap());
            }
            ends
        });
        let refused = ends.iter().filter(|end| matches!(end, Err(CallError::Busy))).count();
        let answered = ends.iter().filter(|end| end.is_ok()).count();
        assert!(refused > 0 && answered > 0 && refused + answered == ends.len(), "{refused} and {answered}");
        node.stop();
    }

    #[test]
    fn an_idle_daemon_stays_ready() {
        let runtime = runtime();
        let node = started(&runtime);
        let end = Instant::now() + STALE + Duration::from_secs(1);
        while Instant::now() < end {
            let readiness = node.handle().readiness();
            assert!(readiness.ready && readiness.live, "{readiness:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        node.stop();
    }

    #[test]
    fn a_reactor_whose_handler_blocks_makes_the_daemon_unready_until_it_goes_on() {
        let runtime = runtime();
        let node = started(&runtime);
        let go_on = block(&node);
        let readiness = until(&node, "it is not ready", |now| !now.ready);
        assert!(readiness.live && readiness.reason.starts_with("reactor "), "{readiness:?}");
        drop(go_on);
        until(&node, "it is ready again", |now| now.ready);
        node.stop();
    }

    #[test]
    fn a_control_plane_that_panics_makes_the_daemon_unready_and_not_alive() {
        let runtime = runtime();
        let node = started(&runtime);
        node.orders.blocking_send(Order::Panic).unwrap();
        let readiness = until(&node, "it is not ready", |now| !now.ready);
        assert!(!readiness.live && readiness.reason.contains("the control plane"), "{readiness:?}");
        node.stop();
    }
}
