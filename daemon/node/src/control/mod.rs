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
mod durable;
mod files;
mod gossip;
mod gossip_rejections;
mod joining;
mod key_index;
mod lease;
mod leaving;
mod links;
mod load;
mod members;
mod mesh;
mod outbox;
mod reports;
mod shell;
#[cfg(test)]
mod tests;
mod waiting;
mod work;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use statemesh_mesh::discovery::{Discovery, Question, Records};
use statemesh_mesh::gossip::Keyring;
use statemesh_mesh::membership::{self, Membership};
use statemesh_mesh::ownership::{self, Ownership};
use statemesh_protocol::identity::{Identity, MemberName, Ports};

pub(crate) use counts::Counts;
use define::Definitions;
use files::Files;
use gossip::Gossip;
pub(crate) use gossip::keyring;
use joining::Joining;
use key_index::Keys;
use lease::Lease;
use leaving::Leaving;
use links::Links;
pub use load::{LoadError, Loaded, compile_definitions, load_definitions};
use members::Members;
use outbox::Outbox;
use reports::Reports;
pub(crate) use shell::{Order, run};
use waiting::Waiting;
pub use work::{Done, Work};

use crate::beats::Loop;
use crate::mailbox::{Lane, ToControl};
use crate::node::{LeaveReport, StartError};
use crate::shared::Shared;
use crate::volume::Stored;

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
    /// Definitions of durable machines, the oldest first.
    pub stored: Vec<Stored>,
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

/// What the shell of the control plane does next. Commands for reactors are not among it: they are in their rings already.
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
    /// Everything is handed off, or the patience has ended, and goodbye was said.
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
    /// What it tells of itself.
    reports: Reports,
    membership: Membership,
    ownership: Ownership,
    gossip: Gossip,
    members: Members,
    links: Links<Lane>,
    discovery: Discovery,
    definitions: Definitions,
    files: Files,
    keys: Keys,
    lease: Lease,
    /// What others are to do.
    outbox: Outbox,
    joining: Joining,
    leaving: Option<Leaving>,
}

impl Control {
    /// A control plane that knows no other member.
    ///
    /// # Errors
    /// The daemon's name, or its gossip keys, cannot be used.
    pub fn new(shared: Arc<Shared>, birth: Birth, now: Instant) -> Result<Self, StartError> {
        let options = &shared.options;
        let name =
            MemberName::new(&options.name).map_err(|source| StartError::Name { name: options.name.clone(), source })?;
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
            gossip: Gossip::new(options, birth.session)?,
            discovery: Discovery::new(discover::config(options, me.gossip_addr()), now),
            membership: Membership::new(me, membership::Config::default(), birth.seed, now),
            ownership: Ownership::new(name, birth.incarnation, options.partitions, ownership::Settings::default()),
            reports: Reports::new(),
            members: Members::default(),
            links: Links::default(),
            definitions: Definitions::new(options.limits.definitions_bytes),
            files: Files::default(),
            keys: Keys::new(options.limits.known_keys),
            lease: Lease::new(),
            outbox: Outbox::default(),
            joining: Joining::new(options, now)?,
            leaving: None,
            shared,
        };
        control.keep_files(birth.definitions);
        control.restore(birth.stored, now);
        control.regreet();
        control.publish_view();
        Ok(control)
    }

    /// What it counts.
    pub(crate) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.reports.counts)
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
            Wake::Rotate(keys) => self.gossip.rotate(keys),
            Wake::Tick => {}
        }
        self.shared.beats.beat(Loop::Control, self.shared.clock.millis(now));
        self.tick(now);
        self.count();
        // Behind all that follows from what was seen until now.
        if let Some(command) = self.lease.renew(&self.shared, now) {
            self.outbox.tell(0, command);
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
        self.outbox.poll()
    }

    /// How often membership and ownership decided what, by their names and that of each kind of decision.
    #[must_use]
    pub fn decisions(&self) -> &BTreeMap<(&'static str, &'static str), u64> {
        self.reports.decisions()
    }

    /// When [`Wake::Tick`] is due, be it at once.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        [
            self.membership.next_deadline(),
            self.discovery.next_deadline(),
            self.alone_at(),
            self.joining.warning_due(),
            self.links.next_end(),
            self.ownership.next_deadline(),
            self.definitions.next_deadline(),
            self.files_due(),
            self.adopting_due(),
            self.leaving_deadline(),
            self.outbox.next_deadline(),
            self.keys.telling_at,
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
        if std::mem::take(&mut self.reports.is_stale) {
            self.publish_view();
        }
        self.go_on_telling(now);
        self.reports.warn_of_bounds(&self.shared, now);
    }

    fn count(&self) {
        self.reports.counts.update(|figures| {
            self.gossip.count(figures);
            figures.membership = self.membership.counters();
            figures.waiting = self.joining.waiting().map(Waiting::label);
            figures.files_differing = self.files.differing();
            figures.held = self.ownership.held() as u64;
            figures.known_keys = self.keys.index.keys() as u64;
            figures.unknown_keys = self.keys.index.refused();
        });
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("me", self.membership.me()).finish_non_exhaustive()
    }
}
