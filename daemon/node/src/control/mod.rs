//! The control plane: it keeps membership, ownership and definitions, and tells the reactors what follows from them. It is off the
//! path of events: a reactor never waits for it, and it never holds a shard for longer than a reactor would.
//!
//! [`Control`] is a value. It is told what happened and what time it is ([`Control::handle`]), says what to do next
//! ([`Control::poll`]), and when to be woken ([`Control::next_deadline`]). It has no socket, clock, thread or randomness of its
//! own: [`shell`] gives it those of the operating system, the simulator gives it others.

mod adopting;
mod compile;
mod counts;
mod define;
mod discover;
mod files;
mod gossip_rejections;
mod key_index;
mod leaving;
mod links;
mod load;
mod mesh;
mod outbox;
mod shell;
#[cfg(test)]
mod tests;
mod waiting;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use statemesh_mesh::discovery::{Discovery, Question, Records};
use statemesh_mesh::gossip::{Key, Keyring, Mesh, RateLimit, Seal};
use statemesh_mesh::key_index::KeyIndex;
use statemesh_mesh::lease::Lease;
use statemesh_mesh::membership::{self, Membership};
use statemesh_mesh::ownership::{self, Ownership};
use statemesh_protocol::identity::{Identity, MemberName, Ports};

pub(crate) use counts::Counts;
use define::Definitions;
use files::Files;
use gossip_rejections::GossipRejections;
use leaving::Leaving;
use links::Links;
pub use load::{Loaded, compile_definitions, load_definitions};
use mesh::Enrolled;
use outbox::Outbox;
pub(crate) use shell::{Order, run};
use waiting::{Waiting, Warned};
pub use work::{Done, Work};

use crate::beats::Loop;
use crate::bounds::Warnings;
use crate::mailbox::{Command, Lane, ToControl};
use crate::node::{LeaveReport, StartError};
use crate::options::Options;
use crate::shared::Shared;

/// What a control plane is given at its start, beside the daemon's options.
#[derive(Debug)]
pub struct Birth {
    /// Where others reach this daemon.
    pub advertise: IpAddr,
    /// Which life of its name this is: larger than that of every earlier one.
    pub incarnation: u64,
    /// Of what membership leaves to chance.
    pub seed: u64,
    /// Starts the nonces of sealed gossip: never the same twice.
    pub session: [u8; 16],
    /// Definitions that are given at start.
    pub definitions: Vec<Loaded>,
}

/// Everything that can wake the control plane.
#[derive(Debug)]
pub enum Wake {
    /// A datagram.
    Datagram {
        /// The address of its sender.
        from: SocketAddr,
        /// The whole datagram, sealed.
        sealed: Vec<u8>,
    },
    /// What reactors said, in this order.
    Reactors(Vec<ToControl>),
    /// The question that was asked has an answer, or got none.
    Answered(Result<Records, Unanswered>),
    /// A piece of work is done.
    Done(Done),
    /// The owner orders to hand everything over, for at most so long, and to say goodbye.
    Leave {
        /// For how long.
        patience: Duration,
    },
    /// The owner orders to seal and open gossip with other keys.
    Rotate(Keyring),
    /// The deadline has come.
    Tick,
}

/// No DNS server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered;

/// What whoever runs the control plane does next. Commands for reactors are not among it: they are in their rings already.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram. It may get lost.
    Datagram {
        /// The address.
        to: SocketAddr,
        /// The whole datagram.
        sealed: Vec<u8>,
    },
    /// Ask this question, and say what came of it with [`Wake::Answered`]. One is asked at a time.
    Ask(Question),
    /// Do this piece of work off the control plane's thread, and give the result back with [`Wake::Done`].
    Work(Work),
    /// Everything is handed over, or the patience has ended, and goodbye was said.
    Left(LeaveReport),
    /// The daemon cannot go on.
    Failed(Failure),
}

/// Why a daemon cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Two daemons have one name.
    #[error("another live daemon, at {by}, has the name \"{name}\"; give this one another (--name)")]
    NameTaken {
        /// The name.
        name: String,
        /// The address of the other one.
        by: IpAddr,
    },
}

/// The control plane of one daemon.
pub struct Control {
    shared: Arc<Shared>,
    counts: Arc<Counts>,
    /// Bounds that the log was told of.
    warnings: Warnings,
    membership: Membership,
    ownership: Ownership,
    seal: Seal,
    /// Numbers of members; a name keeps its number as long as the process lives.
    numbers: BTreeMap<MemberName, u32>,
    names: Vec<MemberName>,
    /// Whom greetings are judged by; what judges them reads it, whenever one comes.
    roll: Arc<RwLock<BTreeMap<MemberName, Enrolled>>>,
    links: Links<Lane>,
    /// Members that left a moment ago, and when their links end.
    departed: BTreeMap<u32, Instant>,
    discovery: Discovery,
    gossip_rejections: GossipRejections,
    definitions: Definitions,
    files: Files,
    key_index: KeyIndex,
    /// More is to be told of keys than one turn should.
    telling_at: Option<Instant>,
    lease: Lease,
    /// How many orders that end serving a partition were given.
    ends_serving: u64,
    outbox: Outbox,
    outputs: VecDeque<Output>,
    /// How often membership and ownership decided what.
    decisions: BTreeMap<(&'static str, &'static str), u64>,
    sent: u64,
    received: u64,
    started: Instant,
    joined: bool,
    /// It adopts partitions: the mesh's machines are here.
    adopts: bool,
    /// The members without which the mesh does not begin.
    birth: Vec<MemberName>,
    /// Why it has not joined.
    waiting: Option<Waiting>,
    warned: Warned,
    leaving: Option<Leaving>,
    /// The published view is out of date.
    stale: bool,
}

impl Control {
    /// A control plane that knows nobody.
    ///
    /// # Errors
    /// The daemon's name, or its gossip keys, cannot be used.
    pub fn new(shared: Arc<Shared>, birth: Birth, now: Instant) -> Result<Self, StartError> {
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
        let me = Identity::new(name.clone(), birth.incarnation, birth.advertise, ports);
        let mut control = Self {
            seal: sealing(options, birth.session)?,
            discovery: Discovery::new(discover::config(options, me.gossip_addr()), now),
            membership: Membership::new(me, membership::Config::default(), birth.seed, now),
            ownership: Ownership::new(name, birth.incarnation, options.partitions, ownership::Settings::default()),
            counts: Arc::default(),
            warnings: Warnings::default(),
            numbers: BTreeMap::new(),
            names: Vec::new(),
            roll: Arc::default(),
            links: Links::default(),
            departed: BTreeMap::new(),
            gossip_rejections: GossipRejections::default(),
            definitions: Definitions::new(options.limits.definitions_bytes),
            files: Files::default(),
            key_index: KeyIndex::new(options.limits.known_keys),
            telling_at: None,
            lease: Lease::new(),
            ends_serving: 0,
            outbox: Outbox::default(),
            outputs: VecDeque::new(),
            decisions: BTreeMap::new(),
            sent: 0,
            received: 0,
            started: now,
            joined: false,
            adopts: false,
            birth: waiting::birth_of(options)?,
            waiting: None,
            warned: Warned::default(),
            leaving: None,
            stale: true,
            shared,
        };
        control.keep_files(birth.definitions);
        control.regreet();
        control.publish_view();
        Ok(control)
    }

    /// What it counts.
    pub(crate) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Takes in what happened, and does what follows from it; [`Control::poll`] gives what is left to do.
    pub fn handle(&mut self, wake: Wake, now: Instant) {
        self.look_around(now);
        match wake {
            Wake::Datagram { from, sealed } => self.datagram(&sealed, from, now),
            Wake::Reactors(messages) => messages.into_iter().for_each(|message| self.message(message, now)),
            Wake::Answered(answer) => self.answered(answer, now),
            Wake::Done(done) => self.work_done(done, now),
            Wake::Leave { patience } => self.leave(patience, now),
            Wake::Rotate(keys) => {
                self.seal.rotate(keys);
                self.gossip_rejections.forget_notice();
            }
            Wake::Tick => {}
        }
        self.shared.beats.beat(Loop::Control, self.shared.clock.millis(now));
        self.tick(now);
        self.count();
        if self.lease.renewal().is_none_or(|due| due <= now) {
            // Behind all that follows from what was seen until now.
            let (until_ms, orders) = (self.shared.clock.millis(self.lease.renew(now)), self.ends_serving);
            if self.shared.carried_out() == orders {
                // However long a reactor is at its turn, the others go on.
                self.shared.set_lease(until_ms);
            } else {
                self.outbox.tell(0, Command::Lease { until_ms, orders });
            }
        }
        self.outbox.flush(&self.shared, now);
    }

    /// Before anything else: was this process paused?
    fn look_around(&mut self, now: Instant) {
        if self.lease.is_over(now) {
            tracing::warn!(
                "this daemon was paused, or starved: it asks the others what they hold before it serves anything"
            );
            self.own(ownership::Input::Doubt(ownership::Reason::Paused), now);
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How often membership and ownership decided what, by their names and that of each kind of decision.
    #[must_use]
    pub fn decisions(&self) -> &BTreeMap<(&'static str, &'static str), u64> {
        &self.decisions
    }

    /// When [`Wake::Tick`] is due, be it at once.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        [
            self.membership.next_deadline(),
            self.discovery.next_deadline(),
            self.alone_at(),
            self.warning_due(),
            self.departed.values().min().copied(),
            self.ownership.next_deadline(),
            self.definitions.next_deadline(),
            self.files_due(),
            self.adopting_due(),
            self.leaving_deadline(),
            self.outbox.next_deadline(),
            self.telling_at,
            self.lease.renewal(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Everything that time brings, and everything that follows from what came in.
    fn tick(&mut self, now: Instant) {
        if self.membership.next_deadline().is_some_and(|at| at <= now) {
            self.membership.handle(membership::Input::Tick, now);
        }
        self.follow_membership(now);
        self.look_for_members(now);
        self.close_departed(now);
        self.join_or_wait(now);
        self.judge_files(now);
        self.adopt_when_known(now);
        if self.ownership.next_deadline().is_some_and(|at| at <= now) {
            self.own(ownership::Input::Tick, now);
        }
        self.definitions_due(now);
        self.go_on_leaving(now);
        if std::mem::take(&mut self.stale) {
            self.publish_view();
        }
        self.go_on_telling(now);
        self.warn_of_bounds(now);
    }

    /// Names the bounds that are nearly hit.
    fn warn_of_bounds(&mut self, now: Instant) {
        for (name, share) in self.warnings.look(&self.shared, now) {
            let used = format!("{:.0} %", share * 100.0);
            tracing::warn!(limit = %format!("limits.{name}"), used, "a bound is nearly hit: raise it, or add a daemon");
        }
    }

    fn count(&self) {
        self.counts.update(|figures| {
            figures.drops = self.seal.drops();
            figures.membership = self.membership.counters();
            figures.sent = self.sent;
            figures.received = self.received;
            figures.waiting = self.waiting.as_ref().map(Waiting::label);
            figures.files_differing = self.files.differing();
            figures.held = self.ownership.held() as u64;
            figures.known_keys = self.key_index.keys() as u64;
            figures.unknown_keys = self.key_index.refused();
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

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("me", self.membership.me()).finish_non_exhaustive()
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

fn sealing(options: &Options, session: [u8; 16]) -> Result<Seal, StartError> {
    let mesh = Mesh { name: options.mesh.clone(), partitions: options.partitions };
    let ring = match options.gossip_keys.as_slice() {
        [] => Keyring::well_known(&mesh),
        keys => keyring(keys)?,
    };
    if !ring.is_secret() && !options.listen.gossip.ip().is_loopback() {
        tracing::warn!("gossip has no key of its own: whoever reaches this network and knows the mesh's name can join");
    }
    let limit = RateLimit::new(DATAGRAMS_PER_SECOND, DATAGRAMS_BURST);
    Ok(Seal::new(&mesh, ring, limit, session))
}
