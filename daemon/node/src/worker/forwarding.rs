//! Requests for partitions that are elsewhere: passing on, waiting, giving up.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use statemesh_mesh::client_protocol::error::ErrorCode;
use statemesh_mesh::client_protocol::reply::Encoding;
use statemesh_mesh::client_protocol::request::Request;
use statemesh_transport::{ConnId, Io};

use super::requests::{Keyed, NO_PARTITION};
use super::{Asked, Parked, Worker};
use crate::forward::{Pending, ReplyTo, Waiting, With};
use crate::peer_wire::{ForwardHeader, PeerFrame};
use crate::stages::{Begun, Stopwatch};

impl Worker {
    pub(super) fn forward(&mut self, member: u32, keyed: Keyed<'_>, io: &mut Io) {
        let Keyed { raw, partition, reply_to, hops, .. } = keyed;
        if self.in_flight.is_full() {
            return self.refuse_in_flight(raw, reply_to, io);
        }
        let waiting = self.keep(raw, partition, reply_to, hops, io);
        let correlation = self.in_flight.add(waiting, With::Member(member), self.now);
        let mut frame = Vec::with_capacity(raw.len() + 16);
        PeerFrame::Forward(ForwardHeader { correlation, partition, hops: hops + 1 }, raw).encode(&mut frame);
        if self.peers.send(member, Some(correlation), &frame, self.now, io) {
            self.router.sent(partition);
            self.counters.forwards_sent.add(1);
        } else if let Some(pending) = self.in_flight.take(correlation) {
            // The router knows the member already, the table of links not yet: its entry is in the ring.
            self.park(pending.waiting, io);
        }
    }

    /// Copies a request, since it has to wait.
    pub(super) fn keep(&mut self, raw: &[u8], partition: u16, reply_to: ReplyTo, hops: u8, io: &mut Io) -> Waiting {
        let ticket = self.asker(reply_to).and_then(|conn| io.ticket(conn));
        Waiting {
            reply_to,
            request: Bytes::copy_from_slice(raw),
            partition,
            hops,
            _ticket: ticket,
            timed: self.run.watch.as_ref().map(Stopwatch::begun),
        }
    }

    /// The client's connection that a request came on.
    pub(super) fn asker(&self, reply_to: ReplyTo) -> Option<ConnId> {
        match reply_to {
            ReplyTo::Client { conn, .. } => Some(conn),
            ReplyTo::Batch { batch, .. } => self.asker(self.batches.reply_to(batch)?),
            ReplyTo::Nobody { conn } => conn,
            ReplyTo::Peer { .. } | ReplyTo::Caller(_) => None,
        }
    }

    /// Begins anew with a request that has waited.
    pub(super) fn ask_again(&mut self, waiting: &Waiting, io: &mut Io) {
        self.request(&waiting.request, waiting.reply_to, waiting.hops, io);
    }

    pub(super) fn refuse_in_flight(&mut self, request: &[u8], reply_to: ReplyTo, io: &mut Io) {
        self.counters.refused_in_flight.add(1);
        let message = format!("limits.in_flight: {} requests are on their way already", self.in_flight.len());
        self.fail_raw(
            request,
            reply_to,
            ErrorCode::LimitExceeded,
            &message,
            "wait for replies before you send more",
            io,
        );
    }

    pub(super) fn park(&mut self, waiting: Waiting, io: &mut Io) {
        let limits = self.shared.options.limits;
        if self.parked.len() >= limits.parked {
            self.counters.refused_parked.add(1);
            let message = format!("limits.parked: {} requests wait for partitions that are moving", limits.parked);
            return self.fail_waiting(&waiting, ErrorCode::Moving, &message, "send it again", io);
        }
        let until = self.now + limits.forward_timeout;
        self.parked.push_back(Parked { waiting, until });
    }

    /// Tries again what waits for this partition, in the order in which it came; what daemons forwarded first, since the
    /// clients' own events may have to wait for its answers (see [`statemesh_mesh::routing`]).
    pub(super) fn unpark(&mut self, partition: u16, io: &mut Io) {
        let (waiting, kept): (VecDeque<Parked>, VecDeque<Parked>) =
            self.parked.drain(..).partition(|parked| parked.waiting.partition == partition);
        self.parked = kept;
        let (forwarded, own): (Vec<Parked>, Vec<Parked>) =
            waiting.into_iter().partition(|parked| parked.waiting.hops > 0);
        for parked in forwarded.into_iter().chain(own) {
            self.arrived_at = parked.until.checked_sub(self.shared.options.limits.forward_timeout).unwrap_or(self.now);
            self.ask_again(&parked.waiting, io);
        }
    }

    /// The answer to a request that somebody else had; an empty one says that the partition is not there (any more).
    pub(super) fn answered(&mut self, correlation: u64, reply: &[u8], io: &mut Io) {
        let Some(Pending { waiting: asked, with, .. }) = self.in_flight.take(correlation) else {
            return;
        };
        if reply.is_empty() {
            // First this one, then those that waited behind it: if it has to wait as well, then in front of them.
            let waiting = self.parked.len();
            self.request(&asked.request, asked.reply_to, asked.hops.saturating_add(1), io);
            if self.parked.len() > waiting
                && let Some(parked) = self.parked.pop_back()
            {
                self.parked.push_front(parked);
            }
        } else {
            match asked.timed {
                Some(begun) if matches!(with, With::Member(_)) => self.deliver_timed(begun, asked.reply_to, reply, io),
                _ => self.deliver(asked.reply_to, reply, io),
            }
        }
        self.settled(asked.partition, io);
    }

    /// The answer of an owner elsewhere to a request that is timed. The daemon that the client talks to says what passing it on
    /// took.
    fn deliver_timed(&mut self, begun: Begun, reply_to: ReplyTo, reply: &[u8], io: &mut Io) {
        let whole_ns = begun.elapsed_ns(Instant::now());
        if matches!(reply_to, ReplyTo::Peer { .. }) {
            return self.deliver(reply_to, reply, io);
        }
        self.counters.forward.record(whole_ns, 1);
        match begun.show_forward(Encoding::of(reply), reply, whole_ns) {
            Some(reply) => self.deliver(reply_to, &reply, io),
            None => self.deliver(reply_to, reply, io),
        }
    }

    /// A request for this partition is no longer on its way; perhaps the partition's route may change now.
    fn settled(&mut self, partition: u16, io: &mut Io) {
        if partition != NO_PARTITION && self.router.answered(partition) {
            self.unpark(partition, io);
        }
    }

    /// The link to a member is gone. What was sent on it may or may not have been applied.
    pub(super) fn link_lost(&mut self, member: u32, io: &mut Io) {
        for Pending { waiting, .. } in self.in_flight.lost_with(member) {
            if is_repeatable(&waiting.request) {
                self.ask_again(&waiting, io);
            } else {
                self.give_up(&waiting, ErrorCode::OutcomeUnknown, "the owner was lost before it answered", io);
            }
            self.settled(waiting.partition, io);
        }
    }

    /// A member is gone for good. What still waited for its link was never sent, so it goes to the new owner.
    pub(super) fn member_gone(&mut self, member: u32, io: &mut Io) {
        for correlation in self.peers.gone(member, io) {
            let Some(Pending { waiting, .. }) = self.in_flight.take(correlation) else {
                continue;
            };
            self.ask_again(&waiting, io);
            self.settled(waiting.partition, io);
        }
        self.link_lost(member, io);
        // The next process of this name greets anew.
        for (&conn, greeted) in &self.greeted {
            if greeted.member == member {
                io.close(conn);
            }
        }
    }

    fn give_up(&mut self, waiting: &Waiting, code: ErrorCode, message: &str, io: &mut Io) {
        self.counters.forwards_lost.add(1);
        let hint = "with a dedup token, sending it again is harmless";
        self.fail_waiting(waiting, code, message, hint, io);
    }

    fn fail_waiting(&mut self, waiting: &Waiting, code: ErrorCode, message: &str, hint: &str, io: &mut Io) {
        self.fail_raw(&waiting.request, waiting.reply_to, code, message, hint, io);
    }

    /// Answers a request that is kept as bytes.
    fn fail_raw(&mut self, raw: &[u8], reply_to: ReplyTo, code: ErrorCode, message: &str, hint: &str, io: &mut Io) {
        let encoding = Encoding::of(raw);
        let id = Request::parse(raw, encoding).ok().and_then(|request| request.id);
        self.fail(Asked { encoding, id, reply_to }, code, message, hint, io);
    }

    /// Gives up what took too long.
    pub(super) fn expire(&mut self, io: &mut Io) {
        while let Some((correlation, Pending { waiting, with, .. })) = self.in_flight.overdue(self.now) {
            let unsent = matches!(with, With::Member(member) if self.peers.withdraw(member, correlation));
            let (code, message) = if unsent {
                (ErrorCode::OwnerUnreachable, "the owner could not be reached")
            } else {
                (ErrorCode::Timeout, "no answer within limits.forward_timeout")
            };
            self.give_up(&waiting, code, message, io);
            self.settled(waiting.partition, io);
        }
        while self.parked.front().is_some_and(|parked| parked.until <= self.now) {
            let Some(Parked { waiting, .. }) = self.parked.pop_front() else {
                break;
            };
            let message = format!("nobody took over partition {} within limits.forward_timeout", waiting.partition);
            self.fail_waiting(&waiting, ErrorCode::Moving, &message, "send it again", io);
        }
    }
}

/// Whether sending the request twice does no harm: it changes nothing, or carries a token.
fn is_repeatable(raw: &[u8]) -> bool {
    Request::parse(raw, Encoding::of(raw)).is_ok_and(|request| !request.op.changes() || request.dedup.is_some())
}
