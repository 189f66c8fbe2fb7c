//! What runs on a reactor: it takes requests from clients and daemons, runs those whose partition is here, passes the
//! others on, and sends every answer back the way its request came.

mod admission;
mod arrays;
mod audit;
mod clients;
mod commands;
mod context;
mod envelope;
mod exits;
mod forwarding;
mod inbox;
mod leaving;
mod links;
mod lists;
mod orders;
mod outgoing;
mod partitions;
mod peering;
mod requests;
mod runner;
mod time;
mod waits;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statemesh_mesh::delivery::{Bounds, Delivery};
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::reply::{Encoding, write_error};
use statemesh_transport::limits::Refusal;
use statemesh_transport::reactor::Closed;
use statemesh_transport::{ConnId, Event, Handler, Io, Origin};

use self::clients::Clients;
pub(crate) use self::context::ReplyTo;
use self::context::Rest;
use self::links::Links;
use self::lists::Lists;
use self::outgoing::Outgoing;
use self::partitions::Partitions;
use self::runner::Runner;
use self::time::Time;
use self::waits::Waiting;
use crate::beats::Loop;
use crate::counters::Counters;
use crate::mailbox::{Command, ToControl};
use crate::peers::Peers;
use crate::shared::Shared;
use crate::subscribers::Subscribers;
use statemesh_protocol::peer::frame::PeerFrame;
use statemesh_shard::Clock;

/// Listener of clients.
pub(crate) const CLIENTS: u8 = 0;
/// Listener of subscribers.
pub(crate) const CHANGES: u8 = 1;
/// Listener of other daemons.
pub(crate) const PEERS: u8 = 2;

/// When to try again what could not be done in this turn.
const RETRY: Duration = Duration::from_millis(1);

/// What the requests that wait are to a worker.
type Requests = Delivery<Rest>;

/// One reactor's share of the daemon.
pub struct Worker {
    shared: Arc<Shared>,
    index: usize,
    counters: Arc<Counters>,
    /// Requests that are parked or in flight.
    delivery: Requests,
    clients: Clients,
    subscribers: Subscribers,
    /// Links between this reactor and other daemons.
    links: Links,
    runner: Runner,
    /// Requests whose answers wait for what their clients want to hear (`until`).
    waiting: Waiting,
    /// Lists of instances that are being made.
    lists: Lists,
    partitions: Partitions,
    /// What other threads and standbys are to be told.
    outgoing: Outgoing,
    time: Time,
    ending: Ending,
    /// How often it was told what, by kind.
    commands: BTreeMap<&'static str, u64>,
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
        let to = Peers::new(u8::try_from(index).unwrap_or(u8::MAX), limits.in_flight, shared.auth.peers());
        Self {
            index,
            counters,
            delivery: Delivery::new(shared.options.partitions, bounds),
            clients: Clients::new(&shared.auth),
            subscribers: Subscribers::new(&limits, Arc::clone(&shared.watching)),
            links: Links::new(to),
            runner: Runner::new(clock),
            waiting: Waiting::default(),
            lists: Lists::default(),
            partitions: Partitions::default(),
            outgoing: Outgoing::new(shared.reactors.len()),
            time: Time::new(now),
            ending: Ending::No,
            commands: BTreeMap::new(),
            shared,
        }
    }

    /// Sends a reply the way its request came.
    fn deliver(&mut self, reply_to: ReplyTo, reply: &[u8], io: &mut Io) {
        match reply_to {
            ReplyTo::Client { conn, envelope } => self.send_in(envelope, conn, reply, io),
            ReplyTo::Batch { batch, position } => self.reply_in_array(batch, position, reply, io),
            ReplyTo::Peer { conn, correlation } => self.answer_peer(conn, correlation, reply, io),
            ReplyTo::Nowhere { .. } => {}
            ReplyTo::Wait(wait) => self.wait_answered(wait, reply, io),
            ReplyTo::Caller(caller) => self.clients.answer_caller(caller, reply),
        }
    }

    /// Sends an error reply.
    fn fail(&mut self, to: Asked<'_>, code: ErrorCode, message: &str, hint: &str, io: &mut Io) {
        if self.is_told(code, to.reply_to)
            && let Some(count) = self.counters.errors.get(code as usize)
        {
            count.add(1);
        }
        let mut reply = std::mem::take(&mut self.runner.reply);
        reply.clear();
        write_error(&mut reply, to.encoding, to.id, code, message, hint);
        self.deliver(to.reply_to, &reply, io);
        self.runner.reply = reply;
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
        self.outgoing.tell_control(&self.shared.control, message);
    }

    fn gauges(&mut self, io: &Io) {
        let usage = io.usage();
        self.counters.unread_bytes.set(usage.unread_bytes);
        self.counters.unsent_bytes.set(usage.unsent_bytes);
        self.counters.link_unsent_bytes.set(usage.link_unsent_bytes);
        self.counters.moving_bytes.set(self.partitions.leaving.bytes());
        self.counters.malformed_lately.set(usage.malformed);
        self.counters.paused.set(io.paused());
        self.counters.pauses.add(usage.pauses - self.counters.pauses.get());
        self.counters.stalls.add(usage.stalls - self.counters.stalls.get());
        self.counters.accept_failures.add(usage.accept_failures - self.counters.accept_failures.get());
        self.counters.subscriber_waiting.set(self.subscribers.waiting_bytes());
        self.clients.gauges(&self.counters);
        self.counters.subscriber_connections.set(self.subscribers.connections());
        self.counters.peer_links.set(self.links.to.ready());
        self.counters.in_flight.set(self.delivery.in_flight());
        self.counters.parked.set(self.delivery.parked());
        self.counters.mailed.set(self.outgoing.len());
        self.counters.waits.set(self.waiting.len());
        self.counters.parked_bytes.set(self.delivery.parked_bytes());
        self.counters.subscriptions.set(self.subscribers.prefixes());
        let dropped = self.subscribers.dropped();
        self.counters.changes_dropped.add(dropped - self.counters.changes_dropped.get());
    }

    /// Goes on ending: says that it has closed once all is answered, and each client has taken its answers or is gone.
    fn go_on_ending(&mut self, io: &mut Io) {
        if self.ending == Ending::Closing && self.delivery.in_flight() + self.delivery.parked() == 0 {
            self.ending = Ending::Draining(io.owing(CLIENTS));
        }
        if let Ending::Draining(owing) = &mut self.ending {
            // One that goes on asking is owed something all the time, and takes it.
            owing.retain(|conn| io.owed(*conn) > 0);
            if owing.is_empty() {
                self.ending = Ending::Closed;
                self.shared.reactors.closed_one();
            }
        }
    }

    fn opened(&mut self, conn: ConnId, origin: Origin, io: &mut Io) {
        match origin {
            Origin::Accepted(CLIENTS) => {
                self.clients.opened();
                self.admitted(conn, false, io);
            }
            Origin::Accepted(CHANGES) => {
                self.subscribers.opened();
                self.admitted(conn, true, io);
            }
            Origin::Accepted(_) => {}
            Origin::Opened(member) => {
                let hello = self.shared.links.hello();
                let link = self.shared.links.next_link();
                self.links.to.opened(number(member), conn, link, &hello, self.time.now, io);
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
        while let Some((member, body)) = self.outgoing.pop_keys() {
            self.send_keys(member, &body, io);
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
            self.tell(0, Command::SendKeys { member, frame });
        }
    }

    fn closed(&mut self, conn: ConnId, origin: Origin, reason: &Closed, io: &mut Io) {
        self.count_closed(origin, reason);
        self.clients.admissions.closed(conn);
        match origin {
            Origin::Accepted(CLIENTS) => {
                self.clients.closed(conn);
                self.forget_waits_of(conn, io);
                self.lists.forget(conn);
            }
            Origin::Accepted(CHANGES) => {
                self.subscribers.closed(conn);
                self.note_watching();
            }
            Origin::Accepted(_) => self.lane_ended(conn),
            Origin::Opened(member) => {
                let member = number(member);
                let link = self.links.to.link(member);
                if self.links.to.closed(member, conn, self.time.now) {
                    self.partitions.link_lost(member);
                    if self.links.to.is_control_lane() {
                        self.tell_control(ToControl::LinkTo { member, up: false });
                    }
                    self.link_lost(member, link, io);
                }
            }
        }
    }

    fn subscribed(&mut self, conn: ConnId, prefix: &[u8]) {
        let refused =
            self.clients.admissions.subscriptions(conn, prefix, |prefix| self.subscribers.subscribe(conn, prefix));
        self.counters.refused_subscriptions.add(refused);
        self.note_watching();
    }

    fn turn(&mut self, io: &mut Io) {
        self.counters.turns.add(1);
        self.shared.beats.beat(Loop::Reactor(self.index), self.runner.run.now);
        self.runner.run.watched = self.shared.shards.feeds().is_watched();
        self.let_out_committed(io);
        self.publish_feed(io);
        self.finish_deferred(io);
        self.obey_deferred(io);
        self.take_commands(io);
        self.retry_arrived(io);
        self.go_on(io);
        self.make_room(io);
        self.fire_timers(io);
        self.go_on_listing(io);
        self.go_on_waiting(io);
        self.expire(io);
        self.say_behind(io);
        // What became durable within this turn has woken no reactor that was told to wait behind it.
        self.let_out_committed(io);
        self.subscribers.flush(io);
        self.send_noted_keys(io);
        self.send_hand_offs(io);
        let links = self.links.to.turn(self.time.now, io);
        // Behind all that may have run something.
        self.time.next_due = [self.next_timer(), links].into_iter().flatten().min();
        self.gauges(io);
        // Behind the counters: what they say of requests under way is all that there will be.
        self.go_on_ending(io);
    }
}

/// How far a reactor is with ending.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// It goes on.
    No,
    /// It passes on no more requests of clients.
    Closing,
    /// All that it has passed on is answered, and these clients have not taken their answers yet.
    Draining(Vec<ConnId>),
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
        if self.time.set_now(io.now()) {
            self.runner.run.now = self.shared.clock.millis(self.time.now);
            self.runner.run.lease_is_over = self.shared.lease.is_over(self.runner.run.now);
            // Before anything is run: a client may have begun to watch at another reactor since this one had its last turn.
            self.runner.run.watched = self.shared.shards.feeds().is_watched();
        }
        if self.time.set_read_at(io.read_at()) {
            // A process that was stopped in the middle of a turn goes on reading in it.
            self.runner.run.lease_is_over = self.shared.lease.is_over(self.shared.clock.millis(io.read_at()));
        }
        match event {
            Event::Message(conn, Origin::Accepted(CLIENTS), message) => self.client_message(conn, message, io),
            Event::Message(conn, origin, message) => self.peer_message(conn, origin, message, io),
            Event::Opened(conn, origin) => self.opened(conn, origin, io),
            Event::Closed(conn, origin, reason) => self.closed(conn, origin, reason, io),
            Event::Subscribe(conn, prefix) => self.subscribed(conn, prefix),
            Event::Cancel(conn, prefix) => {
                self.clients.admissions.subscriptions(conn, prefix, |prefix| {
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
        let at_once = self.delivery.is_ready().then_some(self.time.now);
        let soon = (self.delivery.is_unheld()
            || !self.partitions.is_empty()
            || !self.runner.inbox.is_empty()
            || !self.outgoing.is_empty())
        .then(|| self.time.now + RETRY);
        // A list goes on as soon as all others had a turn.
        let soon = if self.lists.is_empty() { soon } else { Some(self.time.now) };
        [self.time.next_due, self.delivery.deadline(), self.waiting.next(self.time.now), at_once, soon]
            .into_iter()
            .flatten()
            .min()
    }

    fn finished(&self) -> bool {
        self.ending == Ending::Over
    }
}
