//! What the threads of one daemon share.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use mio::Waker;
use parking_lot::RwLock;
use tokio::sync::mpsc;

use crate::access::Doors;
use crate::command::{Command, ToControl};
use crate::counters::Counters;
use crate::machines::Machines;
use crate::options::Options;
use crate::shard::{Rules, Shards};
use crate::subscribers::Watching;
use crate::view::MeshView;
use statemesh_transport::limits::Census;

/// Commands that wait for one reactor.
const RING: usize = 4_096;
/// No member.
const NOBODY: u32 = u32::MAX;

/// Milliseconds since the daemon started, which is the time that the engine and its timers see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub(crate) fn new(now: Instant) -> Self {
        Self { start: now }
    }

    /// The milliseconds of an instant.
    #[must_use]
    pub(crate) fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    /// The instant of a millisecond.
    #[must_use]
    pub(crate) fn instant(&self, millis: u64) -> Instant {
        // A century ahead stands for "never": instants have an end.
        self.start + Duration::from_millis(millis.min(100 * 365 * 24 * 3_600 * 1_000))
    }
}

/// One reactor, as the others see it.
#[derive(Debug)]
pub(crate) struct Port {
    commands: ArrayQueue<Command>,
    waker: OnceLock<Arc<Waker>>,
}

/// What the threads of one daemon share.
pub(crate) struct Shared {
    /// What the daemon was told.
    pub options: Options,
    /// The daemon's clock.
    pub clock: Clock,
    /// Who may connect, and with which keys.
    pub doors: Doors,
    /// The accepted connections of all reactors.
    pub connections: Arc<Census>,
    /// Subscriptions and what waits for subscribers, of all reactors.
    pub watching: Arc<Watching>,
    /// The instances.
    pub shards: Shards,
    /// The definitions.
    pub machines: Arc<Machines>,
    /// For each reactor, whether somebody watches there.
    pub watched: Vec<AtomicBool>,
    /// What each reactor counts.
    pub counters: Vec<Arc<Counters>>,
    /// For each partition that is held here, the member next in line for it.
    next_in_line: Vec<AtomicU32>,
    view: RwLock<Arc<MeshView>>,
    ports: Vec<Port>,
    control: mpsc::Sender<ToControl>,
    greeter: RwLock<Greeter>,
}

/// What is needed to greet another daemon, and to judge a greeting.
pub(crate) struct Greeter {
    /// Our own greeting.
    pub hello: Arc<[u8]>,
    /// Decides about a greeting: the member's number, or the refusal to send.
    pub judge: Judge,
}

/// Gives the number of the member that greets, or the refusal to send.
pub(crate) type Judge = Box<dyn Fn(&[u8]) -> Result<u32, Vec<u8>> + Send + Sync>;

impl Shared {
    /// What the threads share at the start: no instances, no definitions, nobody known.
    #[must_use]
    pub(crate) fn new(
        options: Options,
        doors: Doors,
        reactors: usize,
        now: Instant,
        control: mpsc::Sender<ToControl>,
    ) -> Self {
        let machines = Arc::new(Machines::default());
        let partitions = options.partitions;
        let rules = Rules {
            partitions: options.partitions,
            history: options.limits.history,
            instances: options.limits.instances,
        };
        let shards = Shards::new(&machines, rules);
        let port = |_| Port { commands: ArrayQueue::new(RING), waker: OnceLock::new() };
        Self {
            options,
            clock: Clock::new(now),
            doors,
            connections: Arc::default(),
            watching: Arc::default(),
            shards,
            machines,
            watched: (0..reactors).map(|_| AtomicBool::new(false)).collect(),
            counters: (0..reactors).map(|_| Arc::default()).collect(),
            next_in_line: (0..partitions).map(|_| AtomicU32::new(NOBODY)).collect(),
            view: RwLock::default(),
            ports: (0..reactors).map(port).collect(),
            control,
            greeter: RwLock::new(Greeter { hello: Arc::new([]), judge: Box::new(|_| Err(Vec::new())) }),
        }
    }

    /// The member that is to know which keys exist in a partition.
    #[must_use]
    pub(crate) fn next_in_line(&self, partition: u16) -> Option<u32> {
        let member = self.next_in_line.get(usize::from(partition))?.load(Relaxed);
        (member != NOBODY).then_some(member)
    }

    /// Changes who is to know which keys exist in a partition.
    pub(crate) fn set_next_in_line(&self, partition: u16, member: Option<u32>) {
        if let Some(next) = self.next_in_line.get(usize::from(partition)) {
            next.store(member.unwrap_or(NOBODY), Relaxed);
        }
    }

    /// Number of reactors.
    #[must_use]
    pub(crate) fn reactors(&self) -> usize {
        self.ports.len()
    }

    /// Lets other threads wake this reactor.
    pub(crate) fn set_waker(&self, reactor: usize, waker: Arc<Waker>) {
        if let Some(port) = self.ports.get(reactor) {
            // Each reactor sets its own, once.
            let _ = port.waker.set(waker);
        }
    }

    /// Wakes a reactor.
    pub(crate) fn wake(&self, reactor: usize) {
        if let Some(waker) = self.ports.get(reactor).and_then(|port| port.waker.get())
            && let Err(error) = waker.wake()
        {
            tracing::error!(reactor, %error, "cannot wake a reactor");
        }
    }

    /// Tells a reactor something.
    ///
    /// # Errors
    /// Its ring is full: the command comes back.
    pub(crate) fn tell(&self, reactor: usize, command: Command) -> Result<(), Command> {
        let Some(port) = self.ports.get(reactor) else {
            return Ok(());
        };
        let result = port.commands.push(command);
        self.wake(reactor);
        result
    }

    /// The next command for a reactor.
    #[must_use]
    pub(crate) fn next_command(&self, reactor: usize) -> Option<Command> {
        self.ports.get(reactor)?.commands.pop()
    }

    /// Tells the control plane something.
    ///
    /// # Errors
    /// Its queue is full: the message comes back.
    pub(crate) fn tell_control(&self, message: ToControl) -> Result<(), ToControl> {
        self.control.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(message) | mpsc::error::TrySendError::Closed(message) => message,
        })
    }

    /// Whether the control plane still listens.
    #[must_use]
    pub(crate) fn has_control(&self) -> bool {
        !self.control.is_closed()
    }

    /// The reactor that minds a shard's timers.
    #[must_use]
    pub(crate) fn minder_of(&self, shard: usize) -> usize {
        shard % self.reactors().max(1)
    }

    /// Whether somebody watches at this reactor.
    #[must_use]
    pub(crate) fn is_watched(&self, reactor: usize) -> bool {
        self.watched.get(reactor).is_some_and(|watched| watched.load(Relaxed))
    }

    /// Whether somebody watches anywhere.
    #[must_use]
    pub(crate) fn is_watched_anywhere(&self) -> bool {
        self.watched.iter().any(|watched| watched.load(Relaxed))
    }

    /// The mesh as it was last published.
    #[must_use]
    pub(crate) fn view(&self) -> Arc<MeshView> {
        Arc::clone(&self.view.read())
    }

    /// Publishes the mesh.
    pub(crate) fn publish_view(&self, view: MeshView) {
        *self.view.write() = Arc::new(view);
    }

    /// Our own greeting.
    #[must_use]
    pub(crate) fn hello(&self) -> Arc<[u8]> {
        Arc::clone(&self.greeter.read().hello)
    }

    /// Replaces how daemons are greeted and judged.
    pub(crate) fn set_greeter(&self, greeter: Greeter) {
        *self.greeter.write() = greeter;
    }

    /// Judges a greeting.
    ///
    /// # Errors
    /// The refusal to send.
    pub(crate) fn judge(&self, hello: &[u8]) -> Result<u32, Vec<u8>> {
        (self.greeter.read().judge)(hello)
    }
}
