//! What runs on a reactor: it takes requests from clients and daemons, runs those whose partition is here, passes the
//! others on, and sends every answer back the way its request came.

mod admission;
mod commands;
mod forwarding;
mod inbox;
mod peering;
mod requests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use slab::Slab;
use statemesh_claim::Aside;
use statemesh_mesh::client_protocol::error::ErrorCode;
use statemesh_mesh::client_protocol::reply::{Encoding, write_error};
use statemesh_mesh::routing::Router;
use statemesh_transport::limits::Refusal;
use statemesh_transport::reactor::Closed;
use statemesh_transport::{ConnId, Event, Handler, Io, Origin};

use crate::access::Admissions;
use crate::batch::Batches;
use crate::command::{Command, Replies, ToControl};
use crate::counters::Counters;
use crate::forward::{InFlight, ReplyTo, Waiting};
use crate::peer_wire::PeerFrame;
use crate::peers::Peers;
use crate::shard::{Job, Run};
use crate::shared::Shared;
use crate::subscribers::Subscribers;

/// Listener of clients.
pub(crate) const CLIENTS: u8 = 0;
/// Listener of subscribers.
pub(crate) const CHANGES: u8 = 1;
/// Listener of other daemons.
pub(crate) const PEERS: u8 = 2;

/// One request in this many is timed: two clock readings cost as much as a small transition.
const TIMED: u32 = 16;

/// When to try again what could not be done in this turn.
const RETRY: Duration = Duration::from_millis(1);

/// A request that waits until its partition has settled.
#[derive(Debug)]
struct Parked {
    waiting: Waiting,
    until: Instant,
}

/// One reactor's share of the daemon.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    index: usize,
    counters: Arc<Counters>,
    router: Router,
    in_flight: InFlight,
    parked: VecDeque<Parked>,
    batches: Batches,
    callers: Slab<tokio::sync::oneshot::Sender<Vec<u8>>>,
    peers: Peers,
    /// Links that other daemons opened and greeted on, with the member's number.
    greeted: HashMap<ConnId, Greeted>,
    subscribers: Subscribers,
    /// Who the clients are, where they are told apart.
    admissions: Admissions,
    run: Run,
    /// Requests for shards that somebody else held, until the end of the turn.
    aside: Aside<Job>,
    /// Answers to what was left in shards' inboxes, by reactor, until the shard is free again.
    done: Vec<(usize, Replies)>,
    /// The reply that is being written; kept to be used again.
    reply: Vec<u8>,
    /// Commands for other reactors that did not fit into their rings.
    overflow: VecDeque<(usize, Command)>,
    /// Messages for the control plane that did not fit into its queue.
    control_overflow: VecDeque<ToControl>,
    /// Requests whose partition is routed here but not served yet: tried again in the next turn.
    not_held: Vec<Parked>,
    /// Parts of moving partitions that wait for definitions.
    arrived: VecDeque<peering::Arrived>,
    /// Keys that came into being in this turn, by the member that is next in line for them.
    rosters: HashMap<u32, Vec<u8>>,
    /// When something of ours is due: a peer link to open again, a timer of an instance.
    next_due: Option<Instant>,
    now: Instant,
    /// When what is handled now arrived.
    arrived_at: Instant,
    tick: u32,
    clients: usize,
    watchers: usize,
    stopping: bool,
}

impl Worker {
    /// The worker of reactor `index`.
    pub(crate) fn new(shared: Arc<Shared>, index: usize, counters: Arc<Counters>, now: Instant) -> Self {
        let limits = shared.options.limits;
        Self {
            index,
            counters,
            router: Router::new(shared.options.partitions),
            in_flight: InFlight::new(limits.in_flight, limits.forward_timeout),
            parked: VecDeque::new(),
            batches: Batches::default(),
            callers: Slab::new(),
            peers: Peers::new(u8::try_from(index).unwrap_or(u8::MAX), limits.in_flight, shared.doors.peers()),
            greeted: HashMap::new(),
            subscribers: Subscribers::new(&limits, Arc::clone(&shared.watching)),
            admissions: Admissions::new(&shared.doors),
            run: Run::default(),
            aside: Aside::default(),
            done: Vec::new(),
            reply: Vec::new(),
            overflow: VecDeque::new(),
            control_overflow: VecDeque::new(),
            not_held: Vec::new(),
            arrived: VecDeque::new(),
            rosters: HashMap::new(),
            next_due: None,
            now,
            arrived_at: now,
            tick: 0,
            clients: 0,
            watchers: 0,
            stopping: false,
            shared,
        }
    }

    /// Sends a reply the way its request came.
    fn deliver(&mut self, reply_to: ReplyTo, reply: &[u8], io: &mut Io) {
        match reply_to {
            ReplyTo::Client { conn, delimited: false } => {
                io.send(conn, &[reply]);
            }
            ReplyTo::Client { conn, delimited: true } => {
                io.send(conn, &[b"", reply]);
            }
            ReplyTo::Batch { batch, position } => {
                if let Some((reply_to, replies)) = self.batches.reply(batch, position, reply) {
                    self.deliver(reply_to, &replies, io);
                }
            }
            ReplyTo::Peer { conn, correlation } => {
                let mut frame = Vec::with_capacity(reply.len() + 9);
                PeerFrame::Reply(correlation, reply).encode(&mut frame);
                io.send(conn, &[&frame]);
            }
            ReplyTo::Nobody { .. } => {}
            ReplyTo::Caller(caller) => {
                if let Some(answer) = self.callers.try_remove(caller) {
                    // Who asked may have stopped waiting.
                    let _ = answer.send(reply.to_vec());
                }
            }
        }
    }

    /// Sends an error reply.
    fn fail(&mut self, to: Asked<'_>, code: ErrorCode, message: &str, hint: &str, io: &mut Io) {
        if let Some(count) = self.counters.errors.get(code as usize) {
            count.add(1);
        }
        let mut reply = std::mem::take(&mut self.reply);
        reply.clear();
        write_error(&mut reply, to.encoding, to.id, code, message, hint);
        self.deliver(to.reply_to, &reply, io);
        self.reply = reply;
        if let (ErrorCode::BadRequest, ReplyTo::Client { conn, .. }) = (code, to.reply_to) {
            io.malformed(conn);
        }
    }

    /// Tells another reactor something, or keeps it until there is room.
    fn tell(&mut self, reactor: usize, command: Command) {
        if let Err(command) = self.shared.tell(reactor, command) {
            self.overflow.push_back((reactor, command));
        }
    }

    /// Tells the control plane something, or keeps it until there is room.
    fn tell_control(&mut self, message: ToControl) {
        if !self.control_overflow.is_empty() {
            return self.control_overflow.push_back(message);
        }
        if let Err(message) = self.shared.tell_control(message)
            && self.shared.has_control()
        {
            self.control_overflow.push_back(message);
        }
    }

    fn levels(&self, io: &Io) {
        let usage = io.usage();
        self.counters.unread_bytes.set(usage.unread_bytes);
        self.counters.unsent_bytes.set(usage.unsent_bytes);
        self.counters.malformed_lately.set(usage.malformed);
        self.counters.paused.set(io.paused());
        self.counters.pauses.add(usage.pauses - self.counters.pauses.get());
        self.counters.stalls.add(usage.stalls - self.counters.stalls.get());
        self.counters.accept_failures.add(usage.accept_failures - self.counters.accept_failures.get());
        self.counters.subscriber_waiting.set(self.subscribers.waiting_bytes());
        self.counters.client_connections.set(self.clients);
        self.counters.subscriber_connections.set(self.watchers);
        self.counters.peer_links.set(self.peers.ready());
        self.counters.in_flight.set(self.in_flight.len());
        self.counters.parked.set(self.parked.len());
        self.counters.subscriptions.set(self.subscribers.prefixes());
        let dropped = self.subscribers.dropped();
        self.counters.changes_dropped.add(dropped - self.counters.changes_dropped.get());
    }

    fn opened(&mut self, conn: ConnId, origin: Origin, io: &mut Io) {
        match origin {
            Origin::Accepted(CLIENTS) => {
                self.clients += 1;
                self.admitted(conn, false, io);
            }
            Origin::Accepted(CHANGES) => {
                self.watchers += 1;
                self.admitted(conn, true, io);
            }
            Origin::Accepted(_) => {}
            Origin::Opened(member) => {
                let hello = self.shared.hello();
                self.peers.opened(number(member), conn, &hello, self.now, io);
            }
        }
    }

    fn count_closed(&self, origin: Origin, reason: &Closed) {
        match reason {
            Closed::Protocol(why) => {
                self.counters.protocol_errors.add(1);
                tracing::debug!(%why, ?origin, "connection closed: protocol violation");
            }
            Closed::HandshakeTimeout => self.counters.handshake_timeouts.add(1),
            Closed::MadeRoom => self.counters.evicted_handshakes.add(1),
            Closed::Silent => self.counters.silent_connections.add(1),
            Closed::HalfSent => self.counters.refused_unread.add(1),
            Closed::Malformed => self.counters.refused_malformed.add(1),
            _ => {}
        }
    }

    /// Tells new keys to the members next in line, in the turn in which the clients hear of them.
    fn send_rosters(&mut self, io: &mut Io) {
        for (member, body) in self.rosters.drain() {
            let mut frame = Vec::with_capacity(body.len() + 1);
            PeerFrame::Roster(&body).encode(&mut frame);
            if self.index == 0 {
                // Without a link the member is told everything once there is one.
                self.peers.send(member, None, &frame, self.now, io);
            } else if let Err(command) = self.shared.tell(0, Command::Send { member, frame }) {
                self.overflow.push_back((0, command));
            }
        }
    }

    fn closed(&mut self, conn: ConnId, origin: Origin, reason: &Closed, io: &mut Io) {
        self.count_closed(origin, reason);
        self.admissions.closed(conn);
        match origin {
            Origin::Accepted(CLIENTS) => self.clients = self.clients.saturating_sub(1),
            Origin::Accepted(CHANGES) => {
                self.watchers = self.watchers.saturating_sub(1);
                self.subscribers.closed(conn);
                self.shared.watched[self.index].store(!self.subscribers.is_empty(), Relaxed);
            }
            Origin::Accepted(_) => {
                if let Some(Greeted { member, lane: 0 }) = self.greeted.remove(&conn) {
                    let lane = (self.index, conn);
                    self.tell_control(ToControl::LinkFrom { member, lane, up: false });
                }
            }
            Origin::Opened(member) => {
                let member = number(member);
                if self.peers.closed(member, conn, self.now) {
                    if self.peers.is_control_lane() {
                        self.tell_control(ToControl::LinkTo { member, up: false });
                    }
                    self.link_lost(member, io);
                }
            }
        }
    }

    fn subscribed(&mut self, conn: ConnId, prefix: &[u8]) {
        let refused = self.admissions.subscriptions(conn, prefix, |prefix| self.subscribers.subscribe(conn, prefix));
        self.counters.refused_subscriptions.add(refused);
        self.shared.watched[self.index].store(true, Relaxed);
    }

    fn turn(&mut self, io: &mut Io) {
        self.counters.turns.add(1);
        self.run.watched = self.shared.is_watched_anywhere();
        self.finish_aside(io);
        self.take_commands(io);
        self.retry_arrived(io);
        let timers = self.fire_timers(io);
        self.expire(io);
        self.subscribers.flush(io);
        self.send_rosters(io);
        let links = self.peers.turn(self.now, io);
        self.next_due = [timers, links].into_iter().flatten().min();
        self.levels(io);
    }
}

/// The other end of a link that a daemon opened to us.
#[derive(Clone, Copy, Debug)]
struct Greeted {
    member: u32,
    lane: u8,
}

/// Who asked, and how the answer must look.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    encoding: Encoding,
    id: Option<&'a [u8]>,
    reply_to: ReplyTo,
}

fn number(member: u64) -> u32 {
    u32::try_from(member).unwrap_or(u32::MAX)
}

impl Handler for Worker {
    fn handle(&mut self, event: Event<'_>, io: &mut Io) {
        if self.now != io.now() {
            self.now = io.now();
            self.run.now = self.shared.clock.millis(self.now);
        }
        self.arrived_at = io.read_at();
        match event {
            Event::Message(conn, Origin::Accepted(CLIENTS), message) => self.client_message(conn, message, io),
            Event::Message(conn, origin, message) => self.peer_message(conn, origin, message, io),
            Event::Opened(conn, origin) => self.opened(conn, origin, io),
            Event::Closed(conn, origin, reason) => self.closed(conn, origin, reason, io),
            Event::Subscribe(conn, prefix) => self.subscribed(conn, prefix),
            Event::Cancel(conn, prefix) => {
                self.admissions.subscriptions(conn, prefix, |prefix| {
                    self.subscribers.cancel(conn, prefix);
                    true
                });
            }
            Event::Refused(_, Refusal::TooMany) => self.counters.refused_connections.add(1),
            Event::Refused(_, Refusal::TooFast) => self.counters.refused_hasty.add(1),
            Event::Refused(_, Refusal::TooManyFromAddress) => self.counters.refused_addresses.add(1),
            Event::Failed(origin, reason) => self.count_closed(origin, reason),
            // What the waker announces is in the ring, and every turn looks there.
            Event::Woken => {}
            Event::Turn => self.turn(io),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let parked = self.parked.front().map(|parked| parked.until);
        let soon = (!self.not_held.is_empty()
            || !self.arrived.is_empty()
            || !self.aside.is_empty()
            || !self.overflow.is_empty()
            || !self.control_overflow.is_empty())
        .then(|| self.now + RETRY);
        [self.next_due, self.in_flight.deadline(), parked, soon].into_iter().flatten().min()
    }

    fn finished(&self) -> bool {
        self.stopping
    }
}
