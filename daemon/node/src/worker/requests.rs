//! Requests: from frame to reply.

use std::sync::Arc;
use std::time::Instant;

use statemesh_mesh::routing::Route;
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::hash;
use statemesh_protocol::reply::{Encoding, MapWriter};
use statemesh_protocol::request::{self, Class, Op, Request};
use statemesh_protocol::rights::is_of_the_engine;
use statemesh_transport::{ConnId, Io, Message, OVERSIZE};

use super::audit::Audit;
use super::context::{Arrived, Keyed, ReplyTo};
use super::envelope::Opened;
use super::forwarding::is_refusal;
use super::links::Greeted;
use super::{Asked, Ending, RETRY, Requests, Worker};
use crate::access::Client;
use crate::local_ops;
use crate::mailbox::ToControl;
use crate::shared::Shared;
use statemesh_mesh::delivery::With;
use statemesh_protocol::peer::frame::MAX_HOPS;
use statemesh_protocol::place::Mark;
use statemesh_shard::{Outcome, Stage};

impl Worker {
    pub(super) fn client_message(&mut self, conn: ConnId, message: &Message, io: &mut Io) {
        let (envelope, body) = match self.clients.envelopes.open(conn, message) {
            Opened::Request(envelope, body) => (envelope, body),
            // A client says once that it is there. One that says nothing else all the time is cut off as one that sends no requests.
            Opened::Probe => return io.malformed(conn),
            Opened::TooLarge => return self.refuse_envelope(conn, io),
        };
        let reply_to = ReplyTo::Client { conn, envelope };
        let principal = self.clients.admissions.principal(conn);
        self.frame(body, &Arrived { principal, ..Arrived::here(reply_to, io.read_at()) }, io);
    }

    /// A frame: one request, or an array of them.
    pub(super) fn frame(&mut self, body: &[u8], arrived: &Arrived, io: &mut Io) {
        let reply_to = arrived.reply_to;
        if body == OVERSIZE {
            return self.refuse_oversize(reply_to, io);
        }
        let encoding = Encoding::of(body);
        match request::split_batch(body, encoding, self.shared.options.limits.batch) {
            Ok(None) => self.request(body, arrived, io),
            Ok(Some(requests)) => self.array(requests, encoding, arrived, io),
            Err(refusal) => {
                self.counters.malformed.add(1);
                let asked = Asked { encoding, id: None, reply_to };
                self.fail(asked, refusal.code, &refusal.message, refusal.hint, io);
            }
        }
    }

    fn refuse_oversize(&mut self, reply_to: ReplyTo, io: &mut Io) {
        self.counters.refused_messages.add(1);
        let max = self.shared.options.limits.message_bytes;
        let message = format!("the frame has more than {max} bytes (limits.message_bytes)");
        // JSON can be read by a client that cannot read MessagePack; which of the two it was is not known.
        let asked = Asked { encoding: Encoding::Json, id: None, reply_to };
        self.fail(asked, ErrorCode::MessageTooLarge, &message, "send less, or raise limits.message_bytes", io);
    }

    /// One request, from wherever it comes. Here, and only here, it is counted and judged.
    pub(super) fn request(&mut self, raw: &[u8], arrived: &Arrived, io: &mut Io) {
        let encoding = Encoding::of(raw);
        // By reference: a request is large enough for a move to cost something.
        let mut parsed = Request::parse(raw, encoding);
        let request = match &mut parsed {
            Ok(request) => {
                request.transit.uncertain = arrived.uncertain;
                &*request
            }
            Err(refusal) => {
                self.counters.malformed.add(u64::from(refusal.code == ErrorCode::BadRequest));
                let asked = Asked { encoding, id: refusal.id, reply_to: arrived.reply_to };
                return self.fail(asked, refusal.code, &refusal.message, refusal.hint, io);
            }
        };
        if arrived.is_of_a_client()
            && let Some(count) = self.counters.requests.get(request.op as usize)
        {
            count.add(1);
        }
        let reply_to = if request.op == Op::Tell { self.told(arrived.reply_to, io) } else { arrived.reply_to };
        if let Some(client) = &arrived.principal
            && let Err((code, message)) = self.clients.admissions.allow(client, request, self.time.now)
        {
            if code == ErrorCode::Forbidden {
                self.clients.audit.note(Some(client.name()), request, Some(&message), self.time.now);
            }
            return self.refuse(request, reply_to, code, &message, io);
        }
        if arrived.hops == 0
            && is_of_the_engine(&request.event_type)
            && !self.takes_engine_events(request, arrived.principal.as_deref())
        {
            return self.refuse_reserved(request, reply_to, arrived.principal.as_deref(), io);
        }
        if arrived.hops == 0 && Audit::wants(request) {
            self.clients.audit.note(arrived.principal.as_deref().map(Client::name), request, None, self.time.now);
        }
        if arrived.hops == 0 && passes_on(request.op) && self.takes_no_more(request, reply_to) {
            let message = "this daemon is about to end, and the request was not passed on";
            return self.refuse(request, reply_to, ErrorCode::Leaving, message, io);
        }
        match request.op.class() {
            Class::Keyed => self.keyed(request, raw, reply_to, arrived, io),
            Class::Here if matches!(request.op, Op::List | Op::Instances) => {
                self.list(request, raw, reply_to, arrived.hops, io);
            }
            Class::Here => self.here(request, reply_to, io),
            Class::Control => self.pass_to_control(request, raw, reply_to, io),
        }
    }

    /// Where the reply to a tell goes: nowhere, but for a daemon that passed it on and waits to hear that it arrived. In an
    /// array it leaves an empty place.
    fn told(&mut self, reply_to: ReplyTo, io: &mut Io) -> ReplyTo {
        let conn = self.clients.asker(reply_to);
        match reply_to {
            ReplyTo::Peer { .. } | ReplyTo::Caller(_) | ReplyTo::Wait(_) => return reply_to,
            // No answer will need them.
            ReplyTo::Batch { .. } | ReplyTo::Client { .. } => self.forget_reply(reply_to, io),
            ReplyTo::Nowhere { .. } => {}
        }
        ReplyTo::Nowhere { conn }
    }

    fn keyed(&mut self, request: &Request<'_>, raw: &[u8], reply_to: ReplyTo, arrived: &Arrived, io: &mut Io) {
        let reply_to = match request.answer.until {
            Some(_) if arrived.hops == 0 => match self.may_wait_until(request, reply_to, io) {
                Some(reply_to) => reply_to,
                None => return,
            },
            _ => reply_to,
        };
        let watch = self.runner.stopwatch(request, arrived);
        let max = self.shared.options.limits.key_bytes;
        if request.key.len() > max {
            let asked = Asked { encoding: request.encoding, id: request.id, reply_to };
            let message = format!("the key has {} bytes; limits.key_bytes allows {max}", request.key.len());
            return self.fail(asked, ErrorCode::KeyTooLong, &message, "use a shorter key, e.g. a hash of it", io);
        }
        let hash = hash::key_hash(&request.machine, &request.key);
        let partition = hash::partition_of_hash(hash, self.shared.options.partitions);
        let &Arrived { hops, path, at: arrived_at, .. } = arrived;
        let route = self.delivery.route(partition, hops);
        let keyed = Keyed { request, raw, hash, partition, hops, path, reply_to, arrived_at, watch, kept: None };
        match (reply_to, route) {
            (ReplyTo::Peer { conn, .. }, Route::Forward(_) | Route::Park) => self.misrouted(conn, keyed, route, io),
            _ => self.dispatch(keyed, route, io),
        }
    }

    /// Whether a request comes too late to be passed on: what a client asks for from now on would keep the daemon from ending, or
    /// have no answer. A `tell` asks for none. Asked before the request may wait (`until`): its own reply goes to its wait then.
    fn takes_no_more(&self, request: &Request<'_>, reply_to: ReplyTo) -> bool {
        let is_a_guest = !matches!(reply_to, ReplyTo::Wait(_) | ReplyTo::Peer { .. });
        self.ending != Ending::No && is_a_guest && request.op != Op::Tell
    }

    /// A member passed a request on for a partition that is not here.
    fn misrouted(&mut self, conn: ConnId, keyed: Keyed<'_>, route: Route, io: &mut Io) {
        let Some(&Greeted { member, .. }) = self.links.from.get(conn) else { return self.dispatch(keyed, route, io) };
        if route == Route::Park {
            // A hint: many requests give the same one, and it may be lost.
            let _ = self.shared.control.tell(ToControl::Misrouted { partition: keyed.partition, member });
        }
        // A daemon that does not know whether it is taken for dead passes nothing on for others: it may be old ([`Worker::doubt`]).
        if !self.runner.run.lease_is_over && !self.delivery.is_stale(keyed.hops, member, route) {
            return self.dispatch(keyed, route, io);
        }
        let (waiting, now) = (self.keep(keyed, io), self.time.now);
        self.parked(waiting, |delivery, waiting| delivery.park_stale(waiting, now), io);
    }

    /// Sends a request on its way.
    pub(super) fn dispatch(&mut self, keyed: Keyed<'_>, route: Route, io: &mut Io) {
        match route {
            Route::Local => self.local(keyed, io),
            Route::Forward(_) if keyed.hops == 0 && !keyed.request.transit.forward => self.moved(&keyed, io),
            Route::Forward(member) if keyed.hops < MAX_HOPS => self.forward(member, keyed, io),
            Route::Forward(_) => {
                let message =
                    format!("partition {} is moving: the request met {} daemons", keyed.partition, keyed.hops);
                self.fail(keyed.asked(), ErrorCode::Moving, &message, "send it again", io);
            }
            Route::Park => {
                let waiting = self.keep(keyed, io);
                self.park(waiting, io);
            }
        }
    }

    /// Says who serves a key, to a client that would rather go there itself.
    fn moved(&mut self, keyed: &Keyed<'_>, io: &mut Io) {
        let (asked, partition) = (keyed.asked(), keyed.partition);
        let view = self.shared.view();
        // Where the view has not heard of a move yet it may name this daemon, to which the client has come already.
        let Some(owner) = view.server(partition).filter(|server| !server.is_self) else {
            let message = format!("partition {partition} is moving");
            return self.fail(asked, ErrorCode::Moving, &message, "send it again", io);
        };
        if let Some(count) = self.counters.errors.get(ErrorCode::Moved as usize) {
            count.add(1);
        }
        let mut reply = Vec::new();
        let mut map = MapWriter::new(&mut reply, asked.encoding);
        if let Some(id) = asked.id {
            map.raw("id", id);
        }
        map.bool("ok", false).map("error", |error| {
            error
                .str("code", ErrorCode::Moved.as_str())
                .str("message", &format!("{} serves partition {partition}", owner.name))
                .str("hint", "send it to `address`, or leave `forward` out")
                .str("owner", &owner.name)
                .str("address", &owner.listen.clients.to_string());
        });
        map.end();
        self.deliver(asked.reply_to, &reply, io);
    }

    /// Runs a request here, or defers it if another thread has the shard right now.
    fn local(&mut self, mut keyed: Keyed<'_>, io: &mut Io) {
        keyed.lap(Stage::Route, &self.runner.run.clock);
        let waiter = match keyed.reply_to {
            ReplyTo::Wait(wait) => self.waiter(wait),
            _ => None,
        };
        let partition = keyed.partition;
        if let Some(waiting) = keyed.kept.as_ref().filter(|_| !self.has_room(keyed.reply_to, 0, io)) {
            self.delivery.held(partition);
            return self.refuse_waiting(waiting, io);
        }
        if keyed.kept.is_none() && self.replies_held() >= self.shared.options.limits.in_flight {
            return self.refuse_in_flight(&keyed, io);
        }
        let shard = self.shared.shards.of(partition);
        let index = shard.index();
        if self.runner.inbox.defers(index) {
            return self.defer(keyed, io);
        }
        let Some(mut state) = shard.combiner().try_enter() else {
            return self.defer(keyed, io);
        };
        keyed.lap(Stage::Queue, &self.runner.run.clock);
        // As long as no other thread has the shard: what came later may have run a moment ago.
        if self.shared.links.has_ended(&keyed.path) {
            drop(state);
            self.refuse_overtaken(&keyed, io);
            return self.serve(index, io);
        }
        let mut reply = std::mem::take(&mut self.runner.reply);
        reply.clear();
        // What came back from here and is not parked yet goes first.
        let bounces = self.delivery.is_in_inbox(partition)
            && state.bounces.refuse(self.index, partition, self.delivery.round(partition));
        (self.runner.run.watch, self.runner.run.waiter) = (keyed.watch, waiter);
        let outcome = match bounces {
            true => Outcome::NotHeld,
            false => state.run(keyed.request, keyed.hash, partition, &mut self.runner.run, &mut reply),
        };
        drop(state);
        if let ReplyTo::Wait(wait) = keyed.reply_to {
            self.is_heard(wait);
        }
        keyed.watch = self.runner.run.watch.take();
        if self.runner.run.counts.error_code.is_some_and(|code| !self.is_told(code, keyed.reply_to)) {
            self.runner.run.counts.error_code = None;
        }
        match outcome {
            Outcome::NotHeld => self.not_held(keyed, io),
            Outcome::Replied(mark) => self.replied(&keyed, mark, &reply, io),
        }
        self.runner.reply = reply;
        self.after_run(io);
        self.serve(index, io);
    }

    /// A request has run here: its reply goes where it asked for it.
    #[inline]
    fn replied(&mut self, keyed: &Keyed<'_>, mark: Option<Mark>, reply: &[u8], io: &mut Io) {
        if let Some(watch) = keyed.watch {
            self.counters.round_trip.record(watch.record(&self.counters.stages), 1);
        }
        match keyed.kept.as_ref() {
            Some(waiting) if waiting.uncertain && is_refusal(reply) => self.refused_again(waiting, io),
            _ => self.leave(mark, keyed.reply_to, reply, io),
        }
        if keyed.kept.is_some() {
            self.delivery.held(keyed.partition);
        }
    }

    /// The partition is routed here, and will be served in a moment, or was and is about to be routed elsewhere.
    fn not_held(&mut self, keyed: Keyed<'_>, io: &mut Io) {
        let has_waited = keyed.kept.is_some();
        let waiting = self.keep(keyed, io);
        if has_waited {
            return self.delivery.not_held(waiting);
        }
        self.parked(waiting, Requests::park_unheld, io);
    }

    /// Publishes and counts what a run produced.
    pub(super) fn after_run(&mut self, io: &mut Io) {
        self.counters.take(&mut self.runner.run.counts);
        if let Some(shard) = self.runner.run.sooner_timer.take() {
            let owner = self.shared.timer_owner(shard);
            if owner != self.index {
                self.shared.reactors.wake(owner);
            }
        }
        if !self.runner.run.notes.is_empty() {
            self.note_keys(io);
        }
        for waiter in std::mem::take(&mut self.runner.run.woken) {
            self.wake_waiter(waiter);
        }
        if !self.runner.run.publish.is_empty() {
            self.publish_changes(io);
        }
        if std::mem::take(&mut self.runner.run.recorded) {
            self.shared.wake_journal();
        }
    }

    /// There are nearly as many instances as there may be: some that have ended make room.
    pub(super) fn make_room(&mut self, io: &mut Io) {
        if !std::mem::take(&mut self.runner.run.wants_room) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let claimed = shared.shards.make_room(shared.options.limits.instances, &mut self.runner.run);
        claimed.into_iter().for_each(|shard| self.serve(shard, io));
        self.after_run(io);
    }

    /// Keeps for their standbys the keys that came into being or were removed, and those that are lost.
    fn note_keys(&mut self, io: &mut Io) {
        let shared = Arc::clone(&self.shared);
        for note in std::mem::take(&mut self.runner.run.notes) {
            for member in shared.mesh.standbys.of(note.partition) {
                self.note_key(member, |body| note.encode(body), io);
            }
        }
    }

    /// Keeps a key for one standby; of many, those that fill a frame are sent.
    fn note_key(&mut self, member: u32, encode: impl FnOnce(&mut Vec<u8>), io: &mut Io) {
        if let Some(body) = self.outgoing.note_key(member, encode) {
            self.send_keys(member, &body, io);
        }
    }

    /// Fires what is due in the shards that this reactor minds, a bounded number of timers in each turn.
    pub(super) fn fire_timers(&mut self, io: &mut Io) {
        let shared = Arc::clone(&self.shared);
        let now = shared.clock.millis(self.time.now);
        if !self.runner.run.lease_is_over && shared.shards.earliest(self.index) <= now {
            self.fire_due(&shared, now, io);
        }
        self.after_run(io);
    }

    /// When timers are due, or else to be looked at again.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        if self.runner.run.lease_is_over {
            return Some(self.time.now + RETRY);
        }
        let due = self.shared.shards.earliest(self.index);
        (due < u64::MAX).then(|| self.shared.clock.instant(due))
    }

    fn fire_due(&mut self, shared: &Shared, now: u64, io: &mut Io) {
        let mut budget = TIMERS_PER_TURN;
        for shard in self.runner.minded(shared, self.index) {
            if budget == 0 {
                return;
            }
            if let Some(fired) = self.runner.fire(shard, now, budget) {
                budget = budget.saturating_sub(fired);
                self.serve(shard.index(), io);
            }
        }
    }

    /// An op that this daemon answers by itself.
    fn here(&mut self, request: &Request<'_>, reply_to: ReplyTo, io: &mut Io) {
        let mut reply = Vec::new();
        match local_ops::answer(request, &self.shared, &mut reply) {
            Ok(()) => self.deliver(reply_to, &reply, io),
            Err(refusal) => {
                let asked = Asked { encoding: request.encoding, id: request.id, reply_to };
                self.fail(asked, refusal.code, &refusal.message, refusal.hint, io);
            }
        }
    }

    /// An op that concerns the whole mesh, or all instances: the control plane answers it.
    fn pass_to_control(&mut self, request: &Request<'_>, raw: &[u8], reply_to: ReplyTo, io: &mut Io) {
        let keyed = Keyed::without_key(request, raw, reply_to, self.time.now);
        if !self.may_wait(&keyed, io) {
            return;
        }
        let waiting = self.keep(keyed, io);
        // The same bytes: what waits for the control plane is kept once.
        let request = waiting.request.clone();
        let correlation = self.delivery.sent(waiting, With::Control, self.time.now);
        self.tell_control(ToControl::Request { reactor: self.index, correlation, request });
    }

    /// Whether one more request may wait for something other than its partition; if not, it is refused.
    pub(super) fn may_wait(&mut self, keyed: &Keyed<'_>, io: &mut Io) -> bool {
        let (is_full, has_room) = (self.delivery.is_full(), self.delivery.control_has_room(keyed.raw.len()));
        if is_full {
            self.refuse_in_flight(keyed, io);
        } else if !has_room {
            self.refuse_control_bytes(keyed, io);
        }
        !is_full && has_room
    }
}

/// Whether a request is answered by others: by the member that serves a key or makes a list, or by the control plane.
fn passes_on(op: Op) -> bool {
    op.class() != Class::Here || matches!(op, Op::List | Op::Instances)
}

/// Timers fired in one turn. When a million are due together each takes two microseconds or more, its instance being in
/// no cache: an event that comes meanwhile waits for a tenth or two of a millisecond. Looking at the sockets in
/// between costs less than one of them.
const TIMERS_PER_TURN: usize = 64;
