//! What runs on a reactor: it takes requests from clients and daemons, runs those whose partition is here, passes the
//! others on, and sends every answer back the way its request came.

mod admission;
mod arrays;
mod audit;
mod commands;
mod context;
mod envelope;
mod exits;
mod forwarding;
mod inbox;
mod leaving;
mod lists;
mod orders;
mod outgoing;
mod peering;
mod requests;
mod waits;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;
use statemesh_claim::Aside;
use statemesh_mesh::delivery::arrivals::Arrivals;
use statemesh_mesh::delivery::batches::Batches;
use statemesh_mesh::delivery::{Bounds, Delivery};
use statemesh_protocol::call::Reply;
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::reply::{Encoding, write_error};
use statemesh_transport::limits::Refusal;
use statemesh_transport::reactor::Closed;
use statemesh_transport::{ConnId, Event, Handler, Io, Origin};

pub(crate) use self::context::ReplyTo;
use self::context::Rest;
use self::envelope::Envelopes;
use self::leaving::Leaving;
use self::orders::Deferred;
use self::outgoing::Outgoing;
use crate::access::Admissions;
use crate::beats::Loop;
use crate::counters::Counters;
use crate::mailbox::{Command, Replies, ToControl};
use crate::peers::Peers;
use crate::shared::Shared;
use crate::subscribers::Subscribers;
use exits::Exit;
use lists::Lists;
use statemesh_protocol::peer::frame::{LinkId, PeerFrame};
use statemesh_shard::{Clock, Job, Run, Waits};

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

/// What the requests that wait are to a worker.
type Requests = Delivery<Rest>;

/// One reactor's share of the daemon.
pub struct Worker {
    shared: Arc<Shared>,
    index: usize,
    counters: Arc<Counters>,
    delivery: Requests,
    batches: Batches<ReplyTo>,
    envelopes: Envelopes,
    callers: Slab<tokio::sync::oneshot::Sender<Reply>>,
    peers: Peers,
    /// Links that other daemons opened and greeted on, with the member's number.
    greeted: BTreeMap<ConnId, Greeted>,
    subscribers: Subscribers,
    /// Who the clients are, where they are told apart.
    admissions: Admissions,
    audit: audit::Audit,
    run: Run,
    /// Replies and changes that wait for what they tell to be committed.
    waits: Waits<Exit>,
    /// Requests whose answers wait.
    waiting: waits::Waiting,
    /// Lists of instances that are being made.
    lists: Lists,
    /// Requests for shards that somebody else held, until the end of the turn.
    aside: Aside<Job>,
    /// Answers to what was left in shards' inboxes, by reactor, until the shard is free again.
    done: Vec<(usize, Replies)>,
    /// The reply that is being written; kept to be used again.
    reply: Vec<u8>,
    /// Commands for other reactors that did not fit into their rings.
    outgoing: Outgoing,
    /// Messages for the control plane that did not fit into its queue.
    control_overflow: VecDeque<ToControl>,
    /// Parts of moving partitions that wait for definitions.
    arrivals: Arrivals<ConnId>,
    /// What is to be done with partitions whose shard another thread had.
    deferred: Deferred,
    /// Parts of partitions that move away and wait for room on their link.
    leaving: Leaving,
    /// The last request that was kept when this daemon began to doubt: what members passed on before is old.
    doubted: u64,
    /// The number of the last fence: an answer to an earlier one lifts none.
    fences: u64,
    /// Keys that came into being in this turn or were removed, by the standby that is told of them.
    noted_keys: BTreeMap<u32, Vec<u8>>,
    /// When something of ours is due: a peer link to open again, a timer of an instance.
    next_due: Option<Instant>,
    /// The shard whose timers were fired last.
    fired_last: usize,
    now: Instant,
    /// When the message at hand was read.
    read_at: Instant,
    tick: u32,
    clients: usize,
    watchers: usize,
    ending: Ending,
}

impl Worker {
    /// The worker of reactor `index`.
    pub(crate) fn new(shared: Arc<Shared>, index: usize, counters: Arc<Counters>, now: Instant, clock: Clock) -> Self {
        let limits = shared.options.limits;
        let bounds = Bounds {
            in_flight: limits.in_flight,
            member_bytes: limits.member_bytes,
            parked: limits.parked,
            parked_bytes: limits.parked_bytes,
            patience: limits.forward_timeout,
        };
        Self {
            index,
            counters,
            delivery: Delivery::new(shared.options.partitions, bounds),
            batches: Batches::default(),
            envelopes: Envelopes::default(),
            callers: Slab::new(),
            peers: Peers::new(u8::try_from(index).unwrap_or(u8::MAX), limits.in_flight, shared.auth.peers()),
            greeted: BTreeMap::new(),
            subscribers: Subscribers::new(&limits, Arc::clone(&shared.watching)),
            admissions: Admissions::new(&shared.auth),
            audit: audit::Audit::default(),
            run: Run::new(clock),
            waits: Waits::default(),
            waiting: waits::Waiting::default(),
            lists: Lists::default(),
            aside: Aside::default(),
            done: Vec::new(),
            reply: Vec::new(),
            outgoing: Outgoing::new(shared.reactors()),
            control_overflow: VecDeque::new(),
            arrivals: Arrivals::default(),
            deferred: Deferred::default(),
            leaving: Leaving::default(),
            doubted: 0,
            fences: 0,
            noted_keys: BTreeMap::new(),
            next_due: None,
            fired_last: 0,
            now,
            read_at: now,
            tick: 0,
            clients: 0,
            watchers: 0,
            ending: Ending::No,
            shared,
        }
    }

    /// Sends a reply the way its request came.
    fn deliver(&mut self, reply_to: ReplyTo, reply: &[u8], io: &mut Io) {
        match reply_to {
            ReplyTo::Client { conn, envelope } => self.send_in(envelope, conn, reply, io),
            ReplyTo::Batch { batch, position } => self.reply_in_array(batch, position, reply, io),
            ReplyTo::Peer { conn, correlation } => self.answer_peer(conn, correlation, reply, io),
            ReplyTo::Nobody { .. } => {}
            ReplyTo::Wait(wait) => self.wait_answered(wait, reply, io),
            ReplyTo::Caller(caller) => {
                if let Some(answer) = self.callers.try_remove(caller) {
                    // Who asked may have stopped waiting.
                    let _ = answer.send(Reply::new(reply.to_vec()));
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
        self.outgoing.tell(&self.shared, reactor, command);
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

    fn gauges(&mut self, io: &Io) {
        let usage = io.usage();
        self.counters.unread_bytes.set(usage.unread_bytes);
        self.counters.unsent_bytes.set(usage.unsent_bytes);
        self.counters.link_unsent_bytes.set(usage.link_unsent_bytes);
        self.counters.moving_bytes.set(self.leaving.bytes());
        self.counters.malformed_lately.set(usage.malformed);
        self.counters.paused.set(io.paused());
        self.counters.pauses.add(usage.pauses - self.counters.pauses.get());
        self.counters.stalls.add(usage.stalls - self.counters.stalls.get());
        self.counters.accept_failures.add(usage.accept_failures - self.counters.accept_failures.get());
        self.counters.subscriber_waiting.set(self.subscribers.waiting_bytes());
        self.counters.client_connections.set(self.clients);
        self.counters.subscriber_connections.set(self.watchers);
        self.counters.peer_links.set(self.peers.ready());
        self.counters.in_flight.set(self.delivery.in_flight());
        self.counters.parked.set(self.delivery.parked());
        self.counters.mailed.set(self.outgoing.len());
        self.counters.waits.set(self.waiting.len());
        self.counters.open_arrays.set(self.batches.len());
        self.counters.envelopes.set(self.envelopes.len());
        self.counters.array_bytes.set(self.batches.bytes());
        self.counters.parked_bytes.set(self.delivery.parked_bytes());
        self.counters.subscriptions.set(self.subscribers.prefixes());
        let dropped = self.subscribers.dropped();
        self.counters.changes_dropped.add(dropped - self.counters.changes_dropped.get());
        if self.ending == Ending::Closing {
            // Behind the counters: what they say of requests under way is all that there will be.
            self.ending = Ending::Closed;
            self.shared.closed_one();
        }
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
                let link = self.shared.next_link();
                self.peers.opened(number(member), conn, link, &hello, self.now, io);
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
            Closed::Overflowed => self.counters.overflowed_links.add(1),
            Closed::NotTaken => self.counters.worst_guests.add(1),
            _ => {}
        }
    }

    /// Tells new keys to their standbys, in the turn in which the clients hear of them.
    fn send_noted_keys(&mut self, io: &mut Io) {
        if self.noted_keys.is_empty() {
            return;
        }
        for (member, body) in std::mem::take(&mut self.noted_keys) {
            if !body.is_empty() {
                self.send_keys(member, &body, io);
            }
        }
    }

    fn send_keys(&mut self, member: u32, body: &[u8], io: &mut Io) {
        let mut frame = Vec::with_capacity(body.len() + 1);
        PeerFrame::Keys(body).encode(&mut frame);
        if self.index == 0 {
            // Before it is said that a partition is served whose keys these are, should that wait. Without a link the member is told everything
            // once there is one.
            self.say_now(member, &frame, io);
        } else {
            self.tell(0, Command::Send { member, frame });
        }
    }

    fn closed(&mut self, conn: ConnId, origin: Origin, reason: &Closed, io: &mut Io) {
        self.count_closed(origin, reason);
        self.admissions.closed(conn);
        match origin {
            Origin::Accepted(CLIENTS) => {
                self.clients = self.clients.saturating_sub(1);
                self.batches.discard(|to| matches!(to, ReplyTo::Client { conn: of, .. } if *of == conn));
                self.forget_waits_of(conn, io);
                self.lists.forget(conn);
                self.envelopes.forget(conn);
            }
            Origin::Accepted(CHANGES) => {
                self.watchers = self.watchers.saturating_sub(1);
                self.subscribers.closed(conn);
                self.note_watching();
            }
            Origin::Accepted(_) => self.lane_ended(conn),
            Origin::Opened(member) => {
                let member = number(member);
                let link = self.peers.link(member);
                if self.peers.closed(member, conn, self.now) {
                    self.leaving.link_lost(member);
                    self.deferred.link_lost(member);
                    if self.peers.is_control_lane() {
                        self.tell_control(ToControl::LinkTo { member, up: false });
                    }
                    self.link_lost(member, link, io);
                }
            }
        }
    }

    fn subscribed(&mut self, conn: ConnId, prefix: &[u8]) {
        let refused = self.admissions.subscriptions(conn, prefix, |prefix| self.subscribers.subscribe(conn, prefix));
        self.counters.refused_subscriptions.add(refused);
        self.note_watching();
    }

    fn turn(&mut self, io: &mut Io) {
        self.counters.turns.add(1);
        self.shared.beats.beat(Loop::Reactor(self.index), self.run.now);
        self.run.watched = self.shared.shards.feeds().is_watched();
        self.let_out_committed(io);
        self.publish_feed(io);
        self.finish_aside(io);
        self.obey_deferred(io);
        self.take_commands(io);
        self.retry_arrived(io);
        self.go_on(io);
        self.make_room(io);
        self.fire_timers(io);
        self.go_on_listing(io);
        self.go_on_waiting(io);
        self.expire(io);
        self.subscribers.flush(io);
        self.send_noted_keys(io);
        self.send_hand_offs(io);
        let links = self.peers.turn(self.now, io);
        // Behind all that may have run something.
        self.next_due = [self.next_timer(), links].into_iter().flatten().min();
        self.gauges(io);
    }
}

/// The other end of a link that a daemon opened to us.
#[derive(Clone, Copy, Debug)]
struct Greeted {
    member: u32,
    lane: u8,
    /// Its name.
    link: LinkId,
    /// The number of its greeting.
    greeting: u64,
    /// The control plane ended it: nothing that comes on it counts any more.
    ended: bool,
    /// Until the member has said this number back, requests on it may be old.
    fence: Option<u64>,
}

/// How far a reactor is with ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It goes on.
    No,
    /// It passes on no more requests of clients, and has not said so yet.
    Closing,
    /// It has said so.
    Closed,
    /// It ends behind this turn.
    Over,
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
            self.run.lease_is_over = self.shared.lease_is_over(self.run.now);
            // Before anything is run: somebody may have begun to watch at another reactor since this one had its last turn.
            self.run.watched = self.shared.shards.feeds().is_watched();
        }
        if self.read_at != io.read_at() {
            // A process that was stopped in the middle of a turn goes on reading in it.
            self.read_at = io.read_at();
            self.run.lease_is_over = self.shared.lease_is_over(self.shared.clock.millis(self.read_at));
        }
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
                self.note_watching();
            }
            Event::Refused(Origin::Accepted(PEERS), _) => self.counters.refused_links.add(1),
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
        let at_once = self.delivery.is_ready().then_some(self.now);
        let soon = (self.delivery.is_unheld()
            || !self.arrivals.is_empty()
            || !self.deferred.is_empty()
            || !self.leaving.is_empty()
            || !self.aside.is_empty()
            || !self.outgoing.is_empty()
            || !self.control_overflow.is_empty())
        .then(|| self.now + RETRY);
        // A list goes on as soon as everybody else had a turn.
        let soon = if self.lists.is_empty() { soon } else { Some(self.now) };
        [self.next_due, self.delivery.deadline(), self.waiting.next(self.now), at_once, soon]
            .into_iter()
            .flatten()
            .min()
    }

    fn finished(&self) -> bool {
        self.ending == Ending::Over
    }
}
