//! What the threads of one daemon share.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use parking_lot::RwLock;
use tokio::sync::mpsc;

use crate::access::ListenerAuths;
use crate::beats::Beats;
use crate::counters::Counters;
use crate::directory::Directory;
use crate::mailbox::{Command, ToControl};
use crate::options::Options;
use crate::subscribers::Watching;
use statemesh_mesh::delivery::ended::Ended;
use statemesh_mesh::key_index::STANDBYS;
use statemesh_protocol::hash;
use statemesh_protocol::peer::frame::{LinkId, Path};
use statemesh_shard::machines::Machines;
use statemesh_shard::{Origin, Rules, Shards};
use statemesh_transport::kernel::Wake;
use statemesh_transport::limits::ConnectionLimiter;

/// Commands that wait for one reactor.
const RING: usize = 4_096;
/// Ended links that are remembered: all those of a large mesh that falls apart, for the seconds that a request is under way.
pub(crate) const ENDED_LINKS: usize = 16_384;
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
pub(crate) struct Mailbox {
    commands: ArrayQueue<Command>,
    /// Bytes of answers that other reactors have made for it, and that it has not taken.
    answer_bytes: AtomicUsize,
    waker: OnceLock<Arc<dyn Wake>>,
}

/// What the threads of one daemon share.
pub struct Shared {
    /// What the daemon was told.
    pub options: Options,
    /// The daemon's clock.
    pub(crate) clock: Clock,
    /// Who may connect, and with which keys.
    pub(crate) auth: ListenerAuths,
    /// The accepted connections of all reactors.
    pub(crate) connections: Arc<ConnectionLimiter>,
    /// Subscriptions and what waits for subscribers, of all reactors.
    pub(crate) watching: Arc<Watching>,
    /// The instances.
    pub(crate) shards: Shards,
    /// The definitions.
    pub(crate) machines: Arc<Machines>,
    /// Whether the loops still turn.
    pub(crate) beats: Beats,
    /// What each reactor counts.
    pub counters: Vec<Arc<Counters>>,
    /// For each partition that is held here, the members that are to know which keys exist in it.
    standbys: Vec<[AtomicU32; STANDBYS]>,
    /// Numbers greetings of other daemons, in the order in which reactors take them.
    greetings: AtomicU64,
    /// The links whose end was heard of, by any reactor.
    ended: RwLock<Ended>,
    /// Whether there are any.
    any_ended: AtomicBool,
    /// How many links were opened.
    links: AtomicU64,
    /// Of [`Shared::control_bytes`].
    control_bytes: AtomicUsize,
    /// Reactors that pass on no more requests of clients.
    closed: AtomicUsize,
    /// Random, and another one in each process.
    seed: u64,
    /// Until when, in milliseconds, reactors may answer for partitions that are here (`statemesh_mesh::lease`).
    lease: AtomicU64,
    /// How many orders that end serving the reactor that carries them out has carried out.
    carried_out: AtomicU64,
    view: RwLock<Arc<Directory>>,
    mailboxes: Vec<Mailbox>,
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

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("name", &self.options.name).finish_non_exhaustive()
    }
}

impl Shared {
    /// What the threads share at the start: no instances, no definitions, nobody known.
    #[must_use]
    pub(crate) fn new(
        options: Options,
        auth: ListenerAuths,
        reactors: usize,
        origin: Origin,
        now: Instant,
        control: mpsc::Sender<ToControl>,
    ) -> Self {
        let machines = Arc::new(Machines::default());
        let partitions = options.partitions;
        let rules = Rules {
            partitions: options.partitions,
            history: options.limits.history,
            instances: options.limits.instances,
            dedup_bytes: options.limits.dedup_bytes,
            output_bytes: options.limits.output_bytes,
            feed_bytes: options.limits.subscriber_total_bytes,
            removed: options.limits.removed,
            marks: options.limits.marks,
            keep_ms: u64::try_from(options.limits.keep.as_millis()).unwrap_or(u64::MAX),
            dedup_for_ms: u64::try_from(options.limits.dedup_for.as_millis()).unwrap_or(u64::MAX),
        };
        let shards = Shards::new(&machines, rules, reactors, origin);
        let mailbox =
            |_| Mailbox { commands: ArrayQueue::new(RING), answer_bytes: AtomicUsize::new(0), waker: OnceLock::new() };
        Self {
            options,
            clock: Clock::new(now),
            auth,
            connections: Arc::default(),
            watching: Arc::default(),
            shards,
            machines,
            beats: Beats::new(reactors),
            counters: (0..reactors).map(|_| Arc::default()).collect(),
            standbys: (0..partitions).map(|_| [const { AtomicU32::new(NOBODY) }; STANDBYS]).collect(),
            greetings: AtomicU64::new(0),
            ended: RwLock::new(Ended::new(ENDED_LINKS)),
            any_ended: AtomicBool::new(false),
            links: AtomicU64::new(0),
            control_bytes: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
            seed: origin.seed,
            lease: AtomicU64::new(u64::MAX),
            carried_out: AtomicU64::new(0),
            view: RwLock::default(),
            mailboxes: (0..reactors).map(mailbox).collect(),
            control,
            greeter: RwLock::new(Greeter { hello: Arc::new([]), judge: Box::new(|_| Err(Vec::new())) }),
        }
    }

    /// The number of a greeting that is taken now.
    pub(crate) fn next_greeting(&self) -> u64 {
        self.greetings.fetch_add(1, Relaxed)
    }

    /// The name of a link that is opened now.
    pub(crate) fn next_link(&self) -> LinkId {
        hash::mix(self.seed.wrapping_add(self.links.fetch_add(1, Relaxed)))
    }

    /// Links have ended, here or at a member. Gives those of which that is news.
    pub(crate) fn links_ended(&self, links: &[LinkId]) -> Vec<LinkId> {
        let mut ended = self.ended.write();
        let new = links.iter().copied().filter(|link| ended.add(*link)).collect();
        self.any_ended.store(true, Release);
        new
    }

    /// Whether what came by these links is void, since one of them has ended.
    pub(crate) fn is_void(&self, path: &Path) -> bool {
        if path.links().is_empty() || !self.any_ended.load(Acquire) {
            return false;
        }
        let ended = self.ended.read();
        path.links().iter().any(|link| ended.contains(*link))
    }

    /// Whether the control plane has not looked around lately: this process was paused, and others may have adopted what is here.
    #[must_use]
    pub(crate) fn lease_is_over(&self, now_ms: u64) -> bool {
        now_ms > self.lease.load(Relaxed)
    }

    /// Lets reactors answer until then, or for longer if that was said already.
    pub(crate) fn set_lease(&self, until_ms: u64) {
        let known = self.lease.load(Relaxed);
        if known == u64::MAX || known < until_ms {
            self.lease.store(until_ms, Relaxed);
        }
    }

    /// All of the first so many orders that end serving are carried out.
    pub(crate) fn set_carried_out(&self, orders: u64) {
        self.carried_out.store(orders, Release);
    }

    /// How many are.
    pub(crate) fn carried_out(&self) -> u64 {
        self.carried_out.load(Acquire)
    }

    /// The members that are to know which keys exist in a partition.
    pub(crate) fn standbys(&self, partition: u16) -> impl Iterator<Item = u32> + '_ {
        let members = self.standbys.get(usize::from(partition)).into_iter().flatten();
        members.map(|member| member.load(Relaxed)).filter(|member| *member != NOBODY)
    }

    /// Changes who is to know which keys exist in a partition.
    pub(crate) fn set_standbys(&self, partition: u16, members: &[u32]) {
        for (n, standby) in self.standbys.get(usize::from(partition)).into_iter().flatten().enumerate() {
            standby.store(members.get(n).copied().unwrap_or(NOBODY), Relaxed);
        }
    }

    /// Number of reactors.
    #[must_use]
    pub(crate) fn reactors(&self) -> usize {
        self.mailboxes.len()
    }

    /// Lets other threads wake this reactor.
    pub(crate) fn set_waker(&self, reactor: usize, waker: Arc<dyn Wake>) {
        if let Some(mailbox) = self.mailboxes.get(reactor) {
            // Each reactor sets its own, once.
            let _ = mailbox.waker.set(waker);
        }
    }

    /// Wakes a reactor.
    pub(crate) fn wake(&self, reactor: usize) {
        if let Some(waker) = self.mailboxes.get(reactor).and_then(|mailbox| mailbox.waker.get())
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
        let Some(mailbox) = self.mailboxes.get(reactor) else {
            return Ok(());
        };
        let result = mailbox.commands.push(command);
        self.wake(reactor);
        result
    }

    /// One more reactor passes on no more requests of clients, and its counters say what is under way.
    pub(crate) fn closed_one(&self) {
        self.closed.fetch_add(1, Release);
    }

    /// Whether none of the reactors passes on requests of clients any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Acquire) >= self.reactors()
    }

    /// The next command for a reactor.
    #[must_use]
    pub(crate) fn next_command(&self, reactor: usize) -> Option<Command> {
        self.mailboxes.get(reactor)?.commands.pop()
    }

    /// Whether commands wait for a reactor.
    #[must_use]
    pub(crate) fn has_commands(&self, reactor: usize) -> bool {
        self.mailboxes.get(reactor).is_some_and(|mailbox| !mailbox.commands.is_empty())
    }

    /// Bytes of answers that other reactors have made for this one, and that it has not taken.
    #[must_use]
    pub(crate) fn answer_bytes(&self, reactor: usize) -> usize {
        self.mailboxes.get(reactor).map_or(0, |mailbox| mailbox.answer_bytes.load(Relaxed))
    }

    /// Answers are sent to a reactor.
    pub(crate) fn answers_sent(&self, reactor: usize, bytes: usize) {
        if let Some(mailbox) = self.mailboxes.get(reactor) {
            mailbox.answer_bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// A reactor has taken answers.
    pub(crate) fn answers_taken(&self, reactor: usize, bytes: usize) {
        if let Some(mailbox) = self.mailboxes.get(reactor) {
            mailbox.answer_bytes.fetch_sub(bytes, Relaxed);
        }
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

    /// Whether what a member says may wait for the control plane. It counts from now on, and until [`Shared::control_took`].
    pub(crate) fn lets_in(&self, message: &ToControl) -> bool {
        let fits = self.control_bytes() < self.options.limits.control_bytes;
        if fits {
            self.control_bytes.fetch_add(message.weight(), Relaxed);
        }
        fits
    }

    /// The control plane has taken in a message.
    pub(crate) fn control_took(&self, message: &ToControl) {
        let less = |bytes: usize| Some(bytes.saturating_sub(message.weight()));
        let _ = self.control_bytes.fetch_update(Relaxed, Relaxed, less);
    }

    /// What members have told the control plane and it has not taken in.
    pub(crate) fn control_bytes(&self) -> usize {
        self.control_bytes.load(Relaxed)
    }

    /// Whether the control plane still listens.
    #[must_use]
    pub(crate) fn has_control(&self) -> bool {
        !self.control.is_closed()
    }

    /// The reactor that minds a shard's timers.
    #[must_use]
    pub(crate) fn timer_owner(&self, shard: usize) -> usize {
        shard % self.reactors().max(1)
    }

    /// The mesh as it was last published.
    #[must_use]
    pub(crate) fn view(&self) -> Arc<Directory> {
        Arc::clone(&self.view.read())
    }

    /// Publishes the mesh.
    pub(crate) fn publish_view(&self, view: Directory) {
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
