//! The parts of one daemon, as [`crate::Node::start`] makes and runs them, for the simulator, which runs the same parts over sockets,
//! time and chance of its own.

use std::sync::Arc;
use std::time::Instant;

use statemesh_claim::Held;
pub use statemesh_shard::Clock;
use statemesh_shard::{Cell, Job, Origin, State};
use statemesh_transport::kernel::{self, Kernel};
use statemesh_transport::limits::Settings;
use statemesh_transport::{Kind, Listener, Reactor, SocketType};
use tokio::sync::mpsc;

use crate::access::ListenerAuths;
use crate::bounds;
use crate::control;
pub use crate::control::{
    Birth, Control, Done, Failure, Loaded, Output, Unanswered, Wake, Work, compile_definitions, load_definitions,
};
use crate::counters::Counters;
use crate::mailbox::Command;
pub use crate::mailbox::{Lane, ToControl};
use crate::node::StartError;
use crate::options::Options;
pub use crate::shared::Shared;
pub use crate::volume::Stored;
pub use crate::worker::Worker;
use crate::worker::{CHANGES, CLIENTS, PEERS};

/// Bytes of the command around a subscription; one that is much too long is refused without ending its connection.
const SUBSCRIBE_BYTES: usize = 2 * 1024;

/// The names of what a reactor is told by other threads.
pub const COMMANDS: &[&str] = Command::NAMES;

/// What one daemon consists of, beside its reactors.
#[derive(Debug)]
pub struct Parts {
    /// What its threads share.
    pub shared: Arc<Shared>,
    /// The control plane.
    pub control: Control,
    /// What its reactors tell the control plane.
    pub from_reactors: mpsc::Receiver<ToControl>,
}

impl Parts {
    /// A daemon that knows no other member.
    ///
    /// # Errors
    /// Its name, or its gossip keys, cannot be used.
    pub fn new(options: Options, birth: Birth, now: Instant) -> Result<Self, StartError> {
        let reactors = options.reactor.threads.max(1);
        let (to_control, from_reactors) = mpsc::channel(options.mailboxes.control.max(1));
        let auth = ListenerAuths::new(&options, now);
        // An incarnation is the time of its birth, in milliseconds since 1970.
        let origin = Origin { unix_ms: birth.incarnation, seed: birth.seed };
        let shared = Arc::new(Shared::new(options, auth, reactors, origin, now, to_control));
        let control = Control::new(Arc::clone(&shared), birth, now)?;
        Ok(Self { shared, control, from_reactors })
    }
}

/// Bounds and patience of each of a daemon's reactors.
fn reactor_settings(shared: &Shared) -> Settings {
    let limits = shared.options.limits;
    let reactors = shared.reactors.len().max(1);
    Settings {
        spin: shared.options.reactor.spin,
        connections: limits.connections,
        links: limits.links,
        connections_per_address: limits.connections_per_address,
        connections_per_second: limits.connections_per_second,
        message_bytes: limits.peer_message_bytes(),
        parts: limits.parts,
        handshake: limits.handshake,
        handshake_bytes: limits.handshake_bytes,
        heartbeat: limits.heartbeat,
        idle: limits.idle,
        unread_bytes: limits.unread_bytes / reactors,
        unsent_bytes: limits.unsent_bytes,
        unsent_total_bytes: limits.unsent_total_bytes / reactors,
        unsent_most_bytes: limits.unsent_total_bytes / reactors + limits.array_bytes.max(limits.output_bytes),
        link_bytes: limits.link_room(),
        in_flight: limits.in_flight_per_connection,
        malformed: limits.malformed,
    }
}

/// The daemon's reactor of this number, over a kernel whose listeners are those of clients, changes and peers, in this order.
/// Laps of timed requests are read from `clock`.
#[must_use]
pub fn reactor(
    shared: &Arc<Shared>,
    index: usize,
    kernel: Box<dyn Kernel>,
    waker: Arc<dyn kernel::Wake>,
    clock: Clock,
) -> Reactor<Worker> {
    let limits = shared.options.limits;
    let counters = shared.counters.get(index).cloned().unwrap_or_default();
    shared.reactors.set_waker(index, Arc::clone(&waker));
    let worker = Worker::new(Arc::clone(shared), index, counters, kernel.now(), clock);
    let mut reactor = Reactor::new(reactor_settings(shared), kernel, waker, worker);
    reactor.share(Arc::clone(&shared.connections));
    let (for_clients, for_peers) = shared.auth.listening();
    let subscription_bytes = limits.subscription_bytes.saturating_add(SUBSCRIBE_BYTES);
    let (router, xpub) = (SocketType::Router, SocketType::XPub);
    for (number, kind, socket_type, message_bytes, security) in [
        (CLIENTS, Kind::Guest, router, limits.message_bytes, for_clients.clone()),
        (CHANGES, Kind::Guest, xpub, subscription_bytes, for_clients),
        (PEERS, Kind::Link, router, limits.peer_message_bytes(), for_peers),
    ] {
        reactor.listen(Listener { number, kind, socket_type, message_bytes, security });
    }
    reactor
}

/// Has a reactor end, after what is queued has been written. False if its ring is full: it is to be told again.
#[must_use]
pub fn stop(shared: &Shared, reactor: usize) -> bool {
    shared.reactors.tell(reactor, Command::Stop).is_ok()
}

/// What a control plane is handed for gossip to have other keys from now on, the one to use first.
///
/// # Errors
/// There are none, or more than a rotation needs.
pub fn rotation(keys: &[[u8; 32]]) -> Result<Wake, StartError> {
    control::keyring(keys).map(Wake::Rotate)
}

/// Whether a partition is served here.
#[must_use]
pub fn serves(shared: &Shared, partition: u16) -> bool {
    shared.shards.of(partition).try_claim().is_some_and(|state| state.holds(partition))
}

/// The member that this daemon names as the holder of a partition, if it knows of one.
#[must_use]
pub fn server_named(shared: &Shared, partition: u16) -> Option<String> {
    shared.view().server(partition).map(|member| member.name.to_string())
}

/// Tells of each partition whether there is a copy of it here, served or not, whole or not; and whether it is served. A shard that is
/// claimed may have copies, and serves nothing.
pub fn standings(shared: &Shared, mut each: impl FnMut(u16, bool, bool)) {
    for shard in (0..shared.shards.count()).filter_map(|index| shared.shards.get(index)) {
        let partitions = shared.shards.partitions_of(shard.index());
        match shard.try_claim() {
            Some(state) => partitions.zip(state.standings()).for_each(|(p, (copy, served))| each(p, copy, served)),
            None => partitions.for_each(|partition| each(partition, true, false)),
        }
    }
}

/// Whether the daemon is ready, and how many members it holds for live, itself among them.
#[must_use]
pub fn standing(shared: &Shared) -> (bool, usize) {
    let view = shared.view();
    let live = view.members.iter().filter(|member| member.status.is_live()).count();
    (view.joined && !view.leaving, live)
}

/// Why it is not ready, or how it became so.
#[must_use]
pub fn reason(shared: &Shared) -> String {
    shared.view().reason.clone()
}

/// Requests that wait for their partitions, or for links to who has them, as they were at each reactor's last turn.
#[must_use]
pub fn parked(shared: &Shared) -> u64 {
    shared.counters.iter().map(|counters| counters.parked.get()).sum()
}

/// Bounds by not reading on: one turn may bring one more of what they count.
const ONE_MORE: &[&str] = &["unread_bytes", "unsent_total_bytes", "subscriber_total_bytes"];

/// Which bound of the daemon does not hold, if one does not: by its gauges, as they were at each reactor's last turn.
#[must_use]
pub fn over_bound(shared: &Shared) -> Option<String> {
    let of_a_reactor = over_bound_of_a_reactor(shared);
    let fills = || bounds::used(shared).into_iter().find(|(name, share)| *share > 1.0 && !ONE_MORE.contains(name));
    of_a_reactor.or_else(|| fills().map(|(name, share)| format!("limits.{name}: {:.0} % of it", share * 100.0)))
}

/// Those that one reactor keeps by itself, or which one turn may go beyond.
fn over_bound_of_a_reactor(shared: &Shared) -> Option<String> {
    let limits = &shared.options.limits;
    let reactors = shared.reactors.len().max(1);
    let one_more = limits.output_bytes.max(limits.message_bytes);
    shared.counters.iter().find_map(|counters| {
        let bounds = [
            ("in_flight", counters.in_flight.get(), limits.in_flight),
            ("parked", counters.parked.get(), limits.parked),
            ("parked_bytes", counters.parked_bytes.get(), limits.parked_bytes),
            ("unread_bytes", counters.unread_bytes.get(), limits.unread_bytes / reactors + one_more),
            ("unsent_total_bytes", counters.unsent_bytes.get(), limits.unsent_total_bytes / reactors + one_more),
            ("subscriber_total_bytes", counters.subscriber_waiting.get(), limits.subscriber_total_bytes + one_more),
            ("subscriptions_total", counters.subscriptions.get(), limits.subscriptions_total),
        ];
        let over = bounds.iter().find(|(_, is, may)| *is > *may as u64);
        over.map(|(name, is, may)| format!("limits.{name}: {is} of at most {may}"))
    })
}

/// What a daemon counted that the simulator compares with what it saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Instances that were lost.
    pub lost: u64,
    /// Keys of which two copies had different states.
    pub conflicts: u64,
    /// Instances that became stuck.
    pub stuck: u64,
    /// Times that a reactor's ring had no room for a command.
    pub full_rings: u64,
    /// Times that the control plane's queue had no room for a message.
    pub full_queues: u64,
}

impl std::ops::AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.conflicts += other.conflicts;
        self.stuck += other.stuck;
        self.full_rings += other.full_rings;
        self.full_queues += other.full_queues;
    }
}

/// What the daemon has counted.
#[must_use]
pub fn counted(shared: &Shared) -> Counted {
    let sum = |of: fn(&Counters) -> &Cell| shared.counters.iter().map(|one| of(one).get()).sum();
    Counted {
        lost: sum(|one| &one.lost),
        conflicts: sum(|one| &one.conflicts),
        stuck: sum(|one| &one.stuck),
        full_rings: shared.reactors.full(),
        full_queues: shared.control.full(),
    }
}

/// Bytes that the daemon's gauges tell of, as they were at each reactor's last turn: requests, replies, changes and partitions that
/// wait somewhere.
#[must_use]
pub fn bytes_told(shared: &Shared) -> u64 {
    let of = |counters: &Arc<Counters>| {
        let gauges = [
            &counters.unread_bytes,
            &counters.unsent_bytes,
            &counters.link_unsent_bytes,
            &counters.moving_bytes,
            &counters.subscriber_waiting,
            &counters.array_bytes,
            &counters.parked_bytes,
        ];
        gauges.into_iter().map(|gauge| gauge.get()).sum::<u64>()
    };
    shared.counters.iter().map(of).sum()
}

/// Holds these shards, a bit for each, as threads that look into them do, unless this reactor was told something that it does with
/// shards.
#[must_use]
pub fn hold(shared: &Shared, shards: u64, reactor: usize) -> Vec<Held<'_, State, Job>> {
    let numbers = (0..shared.shards.count()).filter(|number| shards >> number & 1 == 1);
    let wanted = numbers.filter(|_| !shared.reactors.has_commands(reactor));
    wanted.filter_map(|number| shared.shards.get(number)?.try_claim()).collect()
}
