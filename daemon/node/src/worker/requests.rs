//! Requests: from frame to reply.

use std::sync::Arc;
use std::time::Instant;

use statemesh_mesh::client_protocol::error::ErrorCode;
use statemesh_mesh::client_protocol::reply::{Encoding, MapWriter};
use statemesh_mesh::client_protocol::request::{self, Class, Op, Request};
use statemesh_mesh::placement;
use statemesh_mesh::routing::Route;
use statemesh_transport::{ConnId, Io, Message, OVERSIZE};

use super::inbox::run_jobs;
use super::{Asked, Parked, TIMED, Worker};
use crate::answers;
use crate::command::{Command, ToControl};
use crate::control::{ROSTER_FRAME_BYTES, write_key};
use crate::forward::{ReplyTo, With};
use crate::peer_wire::MAX_HOPS;
use crate::shard::Outcome;
use crate::stages::{Stage, Stopwatch};

/// One keyed request and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Keyed<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) raw: &'a [u8],
    pub(super) hash: u64,
    pub(super) partition: u16,
    pub(super) reply_to: ReplyTo,
    pub(super) hops: u8,
}

impl Worker {
    pub(super) fn client_message(&mut self, conn: ConnId, message: &Message, io: &mut Io) {
        let body = match (message.len(), message.part_slice(0)) {
            (1, Some(body)) => Some((body, false)),
            // REQ puts an empty delimiter in front and wants it back (RFC 28).
            (2, Some([])) => message.part_slice(1).map(|body| (body, true)),
            _ => None,
        };
        // Anything else becomes an empty frame, which is refused as what it is: no request.
        let (body, delimited) = body.unwrap_or((&[], false));
        self.admissions.speaks(conn);
        self.frame(body, ReplyTo::Client { conn, delimited }, io);
        self.admissions.is_silent();
    }

    /// A frame: one request, or an array of them.
    pub(super) fn frame(&mut self, body: &[u8], reply_to: ReplyTo, io: &mut Io) {
        if body == OVERSIZE {
            return self.refuse_oversize(reply_to, io);
        }
        let encoding = Encoding::of(body);
        match request::split_batch(body, encoding, self.shared.options.limits.batch) {
            Ok(None) => self.request(body, reply_to, 0, io),
            Ok(Some(requests)) => {
                let batch = self.batches.begin(reply_to, encoding, requests.len());
                for (position, raw) in requests.into_iter().enumerate() {
                    let reply_to = ReplyTo::Batch { batch, position };
                    if Encoding::of(raw) == encoding {
                        self.request(raw, reply_to, 0, io);
                    } else {
                        // No map, so no request; in JSON its first byte would be taken for MessagePack.
                        self.refuse_malformed(encoding, reply_to, io);
                    }
                }
                if let Some((reply_to, replies)) = self.batches.seal(batch) {
                    self.deliver(reply_to, &replies, io);
                }
            }
            Err(refusal) => {
                self.counters.malformed.add(1);
                let asked = Asked { encoding, id: None, reply_to };
                self.fail(asked, refusal.code, &refusal.message, refusal.hint, io);
            }
        }
    }

    fn refuse_malformed(&mut self, encoding: Encoding, reply_to: ReplyTo, io: &mut Io) {
        self.counters.malformed.add(1);
        let asked = Asked { encoding, id: None, reply_to };
        let hint = "each element of an array is a request: a map";
        self.fail(asked, ErrorCode::BadRequest, "malformed request: no map", hint, io);
    }

    fn refuse_oversize(&mut self, reply_to: ReplyTo, io: &mut Io) {
        self.counters.refused_messages.add(1);
        let max = self.shared.options.limits.message_bytes;
        let message = format!("the frame has more than {max} bytes (limits.message_bytes)");
        // JSON can be read by whoever cannot read MessagePack; which of the two it was is not known.
        let asked = Asked { encoding: Encoding::Json, id: None, reply_to };
        self.fail(asked, ErrorCode::MessageTooLarge, &message, "send less, or raise the limit", io);
    }

    /// One request, from wherever it comes.
    pub(super) fn request(&mut self, raw: &[u8], reply_to: ReplyTo, hops: u8, io: &mut Io) {
        let encoding = Encoding::of(raw);
        // By reference: a request is large enough for a move to cost something.
        let parsed = Request::parse(raw, encoding);
        let request = match &parsed {
            Ok(request) => request,
            Err(refusal) => {
                self.counters.malformed.add(u64::from(refusal.code == ErrorCode::BadRequest));
                let asked = Asked { encoding, id: refusal.id, reply_to };
                return self.fail(asked, refusal.code, &refusal.message, refusal.hint, io);
            }
        };
        if hops == 0
            && let Some(count) = self.counters.requests.get(request.op as usize)
        {
            count.add(1);
        }
        let reply_to = if request.op == Op::Tell { self.told(reply_to, io) } else { reply_to };
        if self.admissions.somebody_speaks()
            && let Err((code, message)) = self.admissions.allow(request, self.now)
        {
            return self.refuse(request, reply_to, code, &message, io);
        }
        self.tick = self.tick.wrapping_add(1);
        if request.timing || self.tick.is_multiple_of(TIMED) {
            self.run.watch = Some(Stopwatch::new(self.arrived_at, request.timing));
            self.run.lap(Stage::Read);
        }
        match request.op.class() {
            Class::Keyed => self.keyed(request, raw, reply_to, hops, io),
            Class::Here => self.here(request, reply_to, io),
            Class::Control => self.pass_to_control(raw, reply_to, io),
        }
        self.run.watch = None;
    }

    /// Where the reply to a tell goes: nowhere, but for a daemon that passed it on and waits to hear that it arrived. In an
    /// array it leaves an empty place.
    fn told(&mut self, reply_to: ReplyTo, io: &mut Io) -> ReplyTo {
        let conn = self.asker(reply_to);
        match reply_to {
            ReplyTo::Peer { .. } | ReplyTo::Caller(_) => return reply_to,
            ReplyTo::Batch { batch, position } => {
                if let Some((reply_to, replies)) = self.batches.reply(batch, position, &[]) {
                    self.deliver(reply_to, &replies, io);
                }
            }
            ReplyTo::Client { .. } | ReplyTo::Nobody { .. } => {}
        }
        ReplyTo::Nobody { conn }
    }

    fn keyed(&mut self, request: &Request<'_>, raw: &[u8], reply_to: ReplyTo, hops: u8, io: &mut Io) {
        let asked = Asked { encoding: request.encoding, id: request.id, reply_to };
        let max = self.shared.options.limits.key_bytes;
        if request.key.len() > max {
            let message = format!("the key has {} bytes; limits.key_bytes allows {max}", request.key.len());
            return self.fail(asked, ErrorCode::KeyTooLong, &message, "use a shorter key, e.g. a hash of it", io);
        }
        let hash = placement::key_hash(&request.machine, &request.key);
        let partition = placement::partition_of_hash(hash, self.shared.options.partitions);
        let keyed = Keyed { request, raw, hash, partition, reply_to, hops };
        let route = if hops > 0 { self.router.route_forwarded(partition) } else { self.router.route(partition) };
        match route {
            Route::Local => self.local(keyed, io),
            Route::Forward(_) if hops == 0 && !request.forward => self.moved(asked, partition, io),
            Route::Forward(member) if hops < MAX_HOPS => self.forward(member, keyed, io),
            Route::Forward(_) => {
                let message = format!("partition {partition} is moving: the request met {hops} daemons");
                self.fail(asked, ErrorCode::Moving, &message, "send it again", io);
            }
            Route::Park => {
                if let ReplyTo::Peer { conn, .. } = reply_to
                    && let Some(member) = self.greeted.get(&conn).map(|greeted| greeted.member)
                {
                    self.tell_control(ToControl::Misrouted { partition, member });
                }
                let waiting = self.keep(raw, partition, reply_to, hops, io);
                self.park(waiting, io);
            }
        }
    }

    /// Says who owns a key, to a client that would rather go there itself.
    fn moved(&mut self, asked: Asked<'_>, partition: u16, io: &mut Io) {
        let view = self.shared.view();
        let Some(owner) = view.owner(partition) else {
            let message = format!("partition {partition} has no owner just now");
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
                .str("message", &format!("{} owns partition {partition}", owner.name))
                .str("hint", "send it to `address`, or leave `forward` out")
                .str("owner", &owner.name)
                .str("address", &owner.listen.clients.to_string());
        });
        map.end();
        self.deliver(asked.reply_to, &reply, io);
    }

    /// Runs a request here, or puts it aside if somebody else has the shard right now.
    fn local(&mut self, keyed: Keyed<'_>, io: &mut Io) {
        self.run.lap(Stage::Route);
        let shard = self.shared.shards.of(keyed.partition);
        let index = shard.index();
        // Nothing overtakes an earlier event of the same connection: neither what was put aside nor what was left here.
        if self.aside.has(index) {
            return self.put_aside(keyed, io);
        }
        let (run, done, counters) = (&mut self.run, &mut self.done, &self.counters);
        let Some(mut state) = shard.desk().enter(|state, jobs| run_jobs(state, jobs, run, done, counters)) else {
            return self.put_aside(keyed, io);
        };
        self.run.lap(Stage::Queue);
        let mut reply = std::mem::take(&mut self.reply);
        reply.clear();
        let outcome = state.run(keyed.request, keyed.hash, keyed.partition, &mut self.run, &mut reply);
        drop(state);
        if let Some(watch) = self.run.watch.take() {
            self.counters.round_trip.record(watch.record(&self.counters.stages), 1);
        }
        if outcome == Outcome::Replied {
            self.deliver(keyed.reply_to, &reply, io);
        }
        self.reply = reply;
        self.after_run(io);
        self.serve(index, io);
        if outcome == Outcome::NotHeld {
            self.wait_until_held(keyed, io);
        }
    }

    /// The partition is routed here, and will be served in a moment, or was and is about to be routed elsewhere.
    fn wait_until_held(&mut self, keyed: Keyed<'_>, io: &mut Io) {
        let Keyed { raw, partition, reply_to, hops, .. } = keyed;
        let waiting = self.keep(raw, partition, reply_to, hops, io);
        if self.router.route_forwarded(partition) != Route::Local
            || self.not_held.len() >= self.shared.options.limits.parked
        {
            return self.park(waiting, io);
        }
        let until = self.now + self.shared.options.limits.forward_timeout;
        self.not_held.push(Parked { waiting, until });
    }

    /// Publishes and counts what a run produced.
    pub(super) fn after_run(&mut self, io: &mut Io) {
        self.run.count_into(&self.counters);
        if let Some(shard) = self.run.sooner_timer.take() {
            let minder = self.shared.minder_of(shard);
            if minder != self.index {
                self.shared.wake(minder);
            }
        }
        if !self.run.fresh.is_empty() {
            self.note_fresh(io);
        }
        if !self.run.changes.is_empty() {
            self.publish_changes(io);
        }
    }

    fn note_fresh(&mut self, io: &mut Io) {
        for fresh in std::mem::take(&mut self.run.fresh) {
            if let Some(member) = self.shared.next_in_line(fresh.partition) {
                write_key(self.rosters.entry(member).or_default(), &fresh);
            }
        }
        if self.rosters.values().any(|body| body.len() >= ROSTER_FRAME_BYTES) {
            self.send_rosters(io);
        }
    }

    fn publish_changes(&mut self, io: &mut Io) {
        let changes = std::mem::take(&mut self.run.changes);
        for change in changes {
            self.counters.changes.add(1);
            self.subscribers.publish(&change, io);
            for other in 0..self.shared.reactors() {
                if other != self.index && self.shared.is_watched(other) {
                    self.tell(other, Command::Publish(Arc::clone(&change)));
                }
            }
        }
    }

    /// Fires what is due in the shards that this reactor minds, a bounded number of timers in each turn. Gives when to
    /// look again.
    pub(super) fn fire_timers(&mut self, io: &mut Io) -> Option<Instant> {
        let shared = Arc::clone(&self.shared);
        let now = shared.clock.millis(self.now);
        let mut next: Option<u64> = None;
        let mut budget = TIMERS_PER_TURN;
        for shard in shared.shards.minded_by(self.index, shared.reactors()) {
            if shard.due() <= now && budget > 0 {
                let Some(mut state) = shard.try_claim() else {
                    next = Some(now);
                    continue;
                };
                budget -= state.fire(now, budget, &mut self.run);
                drop(state);
                self.serve(shard.index(), io);
            }
            next = Some(next.map_or(shard.due(), |n| n.min(shard.due())));
        }
        self.after_run(io);
        next.filter(|due| *due < u64::MAX).map(|due| shared.clock.instant(due))
    }

    /// An op that this daemon answers by itself.
    fn here(&mut self, request: &Request<'_>, reply_to: ReplyTo, io: &mut Io) {
        let mut reply = Vec::new();
        match answers::answer(request, &self.shared, &mut reply) {
            Ok(()) => self.deliver(reply_to, &reply, io),
            Err(refusal) => {
                let asked = Asked { encoding: request.encoding, id: request.id, reply_to };
                self.fail(asked, refusal.code, &refusal.message, refusal.hint, io);
            }
        }
    }

    /// An op that concerns the whole mesh, or all instances: the control plane answers it.
    fn pass_to_control(&mut self, raw: &[u8], reply_to: ReplyTo, io: &mut Io) {
        if self.in_flight.is_full() {
            return self.refuse_in_flight(raw, reply_to, io);
        }
        let waiting = self.keep(raw, NO_PARTITION, reply_to, 0, io);
        let correlation = self.in_flight.add(waiting, With::Control, self.now);
        self.tell_control(ToControl::Request { reactor: self.index, correlation, request: raw.to_vec() });
    }
}

/// The partition of requests that have none: the router knows nothing of it.
pub(super) const NO_PARTITION: u16 = u16::MAX;

/// Timers fired in one turn. When a million are due together each takes two microseconds or more, its instance being in
/// nobody's cache: an event that comes meanwhile waits for a tenth or two of a millisecond. Looking at the sockets in
/// between costs less than one of them.
const TIMERS_PER_TURN: usize = 64;
