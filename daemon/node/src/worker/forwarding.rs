//! Requests for partitions that are elsewhere: passing on, waiting, giving up.

use std::collections::BTreeSet;

use bytes::Bytes;
use statemesh_mesh::delivery::{Full, With};
use statemesh_mesh::routing::Route;
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::hash::{self, key_hash};
use statemesh_protocol::peer::frame::{ForwardHeader, LinkId, PeerFrame};
use statemesh_protocol::reply::Encoding;
use statemesh_protocol::reply_reader::Fields;
use statemesh_protocol::request::Request;
use statemesh_shard::{Begun, Stopwatch};
use statemesh_transport::{ConnId, Io};

use super::arrays::SMALL_REPLY_BYTES;
use super::context::{Keyed, NO_PARTITION, Pending, ReplyTo, Rest, Waiting};
use super::inbox::ANSWER_BYTES;
use super::{Asked, Worker};
use crate::limits::PEER_HEADER_BYTES;
use crate::mailbox::ToControl;
use crate::peers::say;

/// Parked requests that go on in one turn: as long as reading a connection takes, so that no other request waits for them for long.
const GO_ON_PER_TURN: usize = 256;

/// Why a request is refused that the member that passed it on may have given up meanwhile.
const OLD: &str = "the daemon that it was passed on to was paused, or cut off, and others may have taken over from it";

/// Why a request is refused whose way was cut behind it.
pub(super) const OVERTAKEN: &str =
    "a link on its way has ended, and what was sent after it may have come by another one";

/// What to do about a request of which it is not known whether it was applied.
const HARMLESS: &str = "with a dedup token, sending it again is harmless";

/// Requests that are given up in one turn.
const EXPIRED_PER_TURN: usize = 1_024;

impl Worker {
    pub(super) fn forward(&mut self, member: u32, keyed: Keyed<'_>, io: &mut Io) {
        if self.delivery.is_full() {
            return self.refuse_in_flight(&keyed, io);
        }
        let has_waited = keyed.kept.is_some();
        let waiting = self.keep(keyed, io);
        if let Err(waiting) = self.pass_on(waiting, member, io) {
            // It goes on when the member has answered some, or its link is there and has room.
            match has_waited {
                true => self.delivery.hold(*waiting, member),
                false => self.parked(*waiting, |delivery, waiting| delivery.park_for(waiting, member), io),
            }
        }
    }

    /// Passes a request on to a member, or gives it back if the member takes none just now.
    pub(super) fn pass_on(&mut self, waiting: Waiting, member: u32, io: &mut Io) -> Result<(), Box<Waiting>> {
        let (raw, partition) = (waiting.request.clone(), waiting.partition);
        let (hops, path, uncertain) = (waiting.hops + 1, waiting.rest.path, waiting.uncertain);
        let fits = self.links.to.room(member, io).is_none_or(|room| raw.len() + PEER_HEADER_BYTES <= room);
        if !fits || !self.links.to.takes(member) || !self.delivery.has_room(member, &waiting) {
            return Err(Box::new(waiting));
        }
        let correlation = self.delivery.sent(waiting, With::Member(member), self.time.now);
        let mut frame = Vec::with_capacity(raw.len() + 16);
        PeerFrame::Forward(ForwardHeader { correlation, partition, hops, path, uncertain }, &raw).encode(&mut frame);
        if hops > 1 {
            self.links.to.relay_ended(member, io);
        }
        // If the link is just ending, the request is settled when the worker hears of that.
        self.links.to.send(member, Some(correlation), &frame, self.time.now, io);
        self.counters.forwards_sent.add(1);
        Ok(())
    }

    /// Copies a request, since it has to wait.
    pub(super) fn keep(&mut self, keyed: Keyed<'_>, io: &mut Io) -> Waiting {
        let Keyed { request, raw, partition, hops, path, reply_to, arrived_at, watch, kept, .. } = keyed;
        kept.unwrap_or_else(|| {
            let ticket = self.clients.asker(reply_to).and_then(|conn| io.ticket(conn));
            Waiting {
                partition,
                hops,
                arrival: self.delivery.arrival(),
                deadline: arrived_at.max(self.time.now) + self.shared.options.limits.forward_timeout,
                uncertain: request.transit.uncertain,
                request: Bytes::copy_from_slice(raw),
                rest: Rest { reply_to, path, _ticket: ticket, timed: watch.as_ref().map(Stopwatch::begun) },
            }
        })
    }

    pub(super) fn refuse_in_flight(&mut self, keyed: &Keyed<'_>, io: &mut Io) {
        self.counters.refused_in_flight.add(1);
        let message = format!("limits.in_flight: {} requests are on their way already", self.delivery.in_flight());
        let hint = "wait for replies before you send more";
        let code = ErrorCode::LimitExceeded;
        let code = keyed.kept.as_ref().map_or(code, |waiting| refusal_of(waiting, code));
        self.fail(keyed.asked(), code, &message, hint, io);
    }

    /// What the control plane has, and lists that are being made, are large enough.
    pub(super) fn refuse_control_bytes(&mut self, keyed: &Keyed<'_>, io: &mut Io) {
        self.counters.refused_member_bytes.add(1);
        let max = self.shared.options.limits.member_bytes;
        let message =
            format!("limits.member_bytes: requests like this one that wait for their replies may have {max} bytes");
        let hint = "wait for replies before you send more";
        self.fail(keyed.asked(), ErrorCode::LimitExceeded, &message, hint, io);
    }

    /// The link that the answer to a request would take has no room for it.
    pub(super) fn refuse_link_bytes(&mut self, request: &[u8], reply_to: ReplyTo, io: &mut Io) {
        self.counters.refused_link_bytes.add(1);
        let message = "limits.link_bytes: too much waits to be written to another daemon";
        let hint = "wait for replies before you send more";
        self.fail_raw(request, reply_to, ErrorCode::LimitExceeded, message, hint, io);
    }

    /// Parks a request that has just come. One that the holder of its partition sent back waits for another route.
    pub(super) fn park(&mut self, waiting: Waiting, io: &mut Io) {
        self.parked(waiting, |delivery, waiting| delivery.park(waiting), io);
    }

    /// Parks a request in one way or another, or refuses it if there are too many.
    pub(super) fn parked(
        &mut self,
        waiting: Waiting,
        park: impl FnOnce(&mut super::Requests, Waiting) -> Result<(), (Full, Box<Waiting>)>,
        io: &mut Io,
    ) {
        if let Err((full, waiting)) = park(&mut self.delivery, waiting) {
            self.refuse_parked(full, &waiting, io);
        }
    }

    fn refuse_parked(&mut self, full: Full, waiting: &Waiting, io: &mut Io) {
        self.counters.refused_parked.add(1);
        let limits = self.shared.options.limits;
        let message = match full {
            Full::Requests => format!("limits.parked: {} requests wait for their partitions", limits.parked),
            Full::Bytes => format!("limits.parked_bytes: the requests that wait have {} bytes", limits.parked_bytes),
        };
        self.fail_waiting(waiting, refusal_of(waiting, ErrorCode::Moving), &message, "send it again", io);
    }

    /// A request that a member had, or was to be sent, goes its way again.
    fn again(&mut self, waiting: Waiting, io: &mut Io) {
        self.parked(waiting, super::Requests::again, io);
    }

    /// Lets parked requests go on, a bounded number in each turn.
    pub(super) fn go_on(&mut self, io: &mut Io) {
        self.delivery.look_again(self.time.now);
        let enough = self.shared.options.limits.link_room() / 2;
        for member in self.delivery.short() {
            if self.links.to.room(member, io).is_some_and(|room| room >= enough) {
                self.delivery.look_again_at(member);
            }
        }
        let mut made = 0;
        for _ in 0..GO_ON_PER_TURN {
            let Some((waiting, route)) = self.delivery.next_ready() else { return };
            self.runner.reply.clear();
            self.resume(waiting, route, io);
            made += self.runner.reply.len();
            if made >= ANSWER_BYTES {
                return;
            }
        }
    }

    /// Goes on with a request that has waited. It was counted and judged when it came.
    fn resume(&mut self, waiting: Waiting, route: Route, io: &mut Io) {
        let raw = waiting.request.clone();
        // It was parsed before it was kept.
        let Ok(mut request) = Request::parse(&raw, Encoding::of(&raw)) else {
            return self.delivery.held(waiting.partition);
        };
        request.transit.uncertain = waiting.uncertain;
        let arrived_at =
            waiting.deadline.checked_sub(self.shared.options.limits.forward_timeout).unwrap_or(self.time.now);
        let keyed = Keyed {
            request: &request,
            raw: &raw,
            hash: hash::key_hash(&request.machine, &request.key),
            partition: waiting.partition,
            hops: waiting.hops,
            path: waiting.rest.path,
            reply_to: waiting.rest.reply_to,
            arrived_at,
            watch: waiting.rest.timed.map(|_| Stopwatch::new(arrived_at, request.answer.timing)),
            kept: Some(waiting),
        };
        self.dispatch(keyed, route, io);
    }

    /// The answer to a request that another daemon or thread had; an empty one comes from a shard, and says that the partition is not
    /// held (any more).
    pub(super) fn answered(&mut self, correlation: u64, reply: &[u8], io: &mut Io) {
        if reply.is_empty() {
            return self.bounced(correlation, io);
        }
        let Some(Pending { waiting, with, .. }) = self.delivery.answered(correlation) else { return };
        if waiting.uncertain && is_refusal(reply) {
            return self.refused_again(&waiting, io);
        }
        let reply_to = waiting.rest.reply_to;
        let is_large = reply.len() > SMALL_REPLY_BYTES && matches!(reply_to, ReplyTo::Client { .. });
        if is_large && !self.has_room(reply_to, reply.len(), io) {
            self.counters.forwards_lost.add(1);
            return self.leave_out(asked_of(&waiting.request, reply_to), io);
        }
        match waiting.rest.timed {
            Some(begun) if matches!(with, With::Member(_)) => self.deliver_timed(begun, reply_to, reply, io),
            _ => self.deliver(reply_to, reply, io),
        }
    }

    /// A member that is lost may have applied a request, and the one that has it now refuses it: that says nothing of what the first did.
    pub(super) fn refused_again(&mut self, waiting: &Waiting, io: &mut Io) {
        let message = "the owner was lost before it answered, and who took over refuses the request";
        self.give_up(waiting, ErrorCode::OutcomeUnknown, message, io);
    }

    /// Says that an answer has no room. What it tells was done all the same.
    pub(super) fn leave_out(&mut self, asked: Asked<'_>, io: &mut Io) {
        self.counters.refused_unsent.add(1);
        let message = "limits.array_bytes: this answer, and what its client has not taken, are too large together";
        self.fail(asked, ErrorCode::OutcomeUnknown, message, HARMLESS, io);
    }

    /// A shard gave a request back, since it does not hold its partition. One that a member passed on is discarded if the link has ended,
    /// and refused if it is older than the last doubt.
    fn bounced(&mut self, correlation: u64, io: &mut Io) {
        let links = &self.links.from;
        let bounced = self.delivery.bounced(correlation, |waiting| match waiting.rest.reply_to {
            ReplyTo::Peer { conn, .. } => links.discards(conn, waiting.arrival),
            _ => false,
        });
        match bounced {
            Ok(()) => {}
            Err((Some(full), waiting)) => self.refuse_parked(full, &waiting, io),
            // To a link that has ended nothing is said.
            Err((None, waiting)) => self.fail_old(&waiting, io),
        }
    }

    /// Refuses what a member passed on before this daemon began to doubt.
    pub(super) fn fail_old(&mut self, waiting: &Waiting, io: &mut Io) {
        self.counters.forwards_lost.add(1);
        self.fail_waiting(waiting, refusal_of(waiting, ErrorCode::Moving), OLD, "send it again", io);
    }

    /// The same with one that has just come.
    pub(super) fn refuse_old(&mut self, request: &[u8], reply_to: ReplyTo, io: &mut Io) {
        self.counters.forwards_lost.add(1);
        self.fail_raw(request, reply_to, ErrorCode::Moving, OLD, "send it again", io);
    }

    /// Whether the answer to a request that had to wait, of so many bytes as far as that is known, has room where it goes. A client that does
    /// not read is not read either, but thousands of its requests may be on their way then, each with a large answer: so a client may
    /// be owed as much as an array may have; as long as all are owed too much, only what a connection may.
    pub(super) fn has_room(&mut self, reply_to: ReplyTo, bytes: usize, io: &mut Io) -> bool {
        let limits = &self.shared.options.limits;
        match reply_to {
            ReplyTo::Client { conn, .. } => {
                let owed = io.owed(conn);
                let most = if io.is_crowded() { limits.unsent_bytes } else { limits.array_bytes };
                owed == 0 || owed + bytes <= most
            }
            ReplyTo::Batch { batch, .. } => !self.array_is_full(batch, io),
            ReplyTo::Peer { conn, .. } => io.room(conn) >= limits.link_room() / 2,
            ReplyTo::Caller(_) | ReplyTo::Wait(_) | ReplyTo::Nowhere { .. } => true,
        }
    }

    /// Refuses a request that had to wait, since its answer has no room.
    pub(super) fn refuse_waiting(&mut self, waiting: &Waiting, io: &mut Io) {
        if waiting.uncertain {
            let message = "the owner was lost before it answered, and another answer has no room on this connection";
            return self.give_up(waiting, ErrorCode::OutcomeUnknown, message, io);
        }
        self.refuse_room(&waiting.request, waiting.rest.reply_to, io);
    }

    /// The same with one that may be forgotten.
    pub(super) fn refuse_room(&mut self, raw: &[u8], reply_to: ReplyTo, io: &mut Io) {
        match reply_to {
            ReplyTo::Peer { .. } => self.refuse_link_bytes(raw, reply_to, io),
            ReplyTo::Batch { .. } => self.refuse_in_array(raw, reply_to, io),
            _ => {
                self.counters.refused_unsent.add(1);
                let message = "limits.array_bytes: too much waits to be written to this connection";
                let hint = "read the replies before you send more";
                self.fail_raw(raw, reply_to, ErrorCode::LimitExceeded, message, hint, io);
            }
        }
    }

    /// The answer to a request that another daemon had is left out: it had no room on the link.
    pub(super) fn unsaid(&mut self, correlation: u64, io: &mut Io) {
        let Some(Pending { waiting, .. }) = self.delivery.answered(correlation) else { return };
        let message = "limits.link_bytes: the owner's answer had no room on the link to it";
        self.give_up(&waiting, ErrorCode::OutcomeUnknown, message, io);
    }

    /// The answer of an owner elsewhere to a request that is timed. The daemon that the client talks to says what passing it on
    /// took.
    fn deliver_timed(&mut self, begun: Begun, reply_to: ReplyTo, reply: &[u8], io: &mut Io) {
        let whole_ns = begun.elapsed_ns(self.runner.run.clock.now());
        if matches!(reply_to, ReplyTo::Peer { .. }) {
            return self.deliver(reply_to, reply, io);
        }
        self.counters.forward.record(whole_ns, 1);
        match begun.show_forward(Encoding::of(reply), reply, whole_ns) {
            Some(reply) => self.deliver(reply_to, &reply, io),
            None => self.deliver(reply_to, reply, io),
        }
    }

    /// The link to a member is gone. What was sent on it may or may not have been applied, and is not to be from now on: not behind
    /// what its clients send next.
    pub(super) fn link_lost(&mut self, member: u32, link: Option<LinkId>, io: &mut Io) {
        let lost = self.delivery.lost_with(member);
        if let Some(link) = link.filter(|_| !lost.is_empty()) {
            self.shared.links.end(&[link]);
            self.links.to.say_ended(link, io);
            let of_others = |pending: &Pending| match pending.waiting.rest.reply_to {
                ReplyTo::Peer { conn, .. } => Some(conn),
                _ => None,
            };
            let others: BTreeSet<ConnId> = lost.iter().filter_map(of_others).collect();
            others.into_iter().for_each(|conn| say(conn, &PeerFrame::Ended(vec![link]), io));
        }
        let repeating = repeating(lost.iter().map(|pending| &*pending.waiting.request));
        for (Pending { mut waiting, .. }, repeating) in lost.into_iter().zip(repeating) {
            if waiting.partition == NO_PARTITION {
                self.unlisted(&waiting, io);
                continue;
            }
            match repeating {
                Repeating::Harmless => self.again(waiting, io),
                Repeating::ByToken => {
                    waiting.uncertain = true;
                    self.again(waiting, io);
                }
                Repeating::No => {
                    self.give_up(&waiting, ErrorCode::OutcomeUnknown, "the owner was lost before it answered", io);
                }
            }
        }
    }

    /// Refuses what its connection's later requests may have overtaken.
    pub(super) fn refuse_overtaken(&mut self, keyed: &Keyed<'_>, io: &mut Io) {
        self.counters.forwards_lost.add(1);
        let code = keyed.kept.as_ref().map_or(ErrorCode::Moving, |waiting| refusal_of(waiting, ErrorCode::Moving));
        self.fail(keyed.asked(), code, OVERTAKEN, "send it again", io);
        if keyed.kept.is_some() {
            self.delivery.held(keyed.partition);
        }
    }

    /// A member is gone for good. What still waited for its link was never sent, so it goes to the new owner.
    pub(super) fn member_gone(&mut self, member: u32, greeting: u64, io: &mut Io) {
        let link = self.links.to.link(member);
        // The control plane has forgotten its links already, but may have heard since that this one is ready: it may lead to the next
        // process, and is closed all the same.
        if self.links.to.is_control_lane() && self.links.to.is_ready(member) {
            self.tell_control(ToControl::LinkTo { member, up: false });
        }
        for correlation in self.links.to.gone(member, io) {
            match self.delivery.answered(correlation) {
                // No other member has what it would have listed.
                Some(Pending { waiting, .. }) if waiting.partition == NO_PARTITION => self.unlisted(&waiting, io),
                Some(Pending { waiting, .. }) => self.again(waiting, io),
                None => {}
            }
        }
        self.partitions.member_gone(member);
        self.link_lost(member, link, io);
        // The next process of this name greets anew, and may have done so before a reactor hears of this.
        self.links.from.close_older(member, greeting, io);
    }

    fn give_up(&mut self, waiting: &Waiting, code: ErrorCode, message: &str, io: &mut Io) {
        self.counters.forwards_lost.add(1);
        self.fail_waiting(waiting, code, message, HARMLESS, io);
    }

    /// Answers a request that is kept as bytes.
    pub(super) fn fail_waiting(&mut self, waiting: &Waiting, code: ErrorCode, message: &str, hint: &str, io: &mut Io) {
        self.fail_raw(&waiting.request, waiting.rest.reply_to, code, message, hint, io);
    }

    /// The same, of one that is not kept.
    pub(super) fn fail_raw(
        &mut self,
        raw: &[u8],
        reply_to: ReplyTo,
        code: ErrorCode,
        message: &str,
        hint: &str,
        io: &mut Io,
    ) {
        self.fail(asked_of(raw, reply_to), code, message, hint, io);
    }

    /// Gives up what took too long.
    pub(super) fn expire(&mut self, io: &mut Io) {
        for _ in 0..EXPIRED_PER_TURN {
            let Some((correlation, Pending { waiting, with, .. })) = self.delivery.overdue(self.time.now) else {
                break;
            };
            let unsent = matches!(with, With::Member(member) if self.links.to.withdraw(member, correlation));
            let (code, message) = if unsent && !waiting.uncertain {
                (ErrorCode::OwnerUnreachable, "the owner could not be reached")
            } else {
                (ErrorCode::Timeout, "no answer within limits.forward_timeout")
            };
            self.give_up(&waiting, code, message, io);
        }
        for waiting in self.delivery.expired(self.time.now, EXPIRED_PER_TURN) {
            self.expired(&waiting, io);
        }
    }

    /// This daemon ends: every request that waits for an answer gets one, as far as it is known.
    pub(super) fn end_all_requests(&mut self, io: &mut Io) {
        let end = self.time.now + self.shared.options.limits.forward_timeout;
        while let Some((_, Pending { waiting, .. })) = self.delivery.overdue(end) {
            self.give_up(
                &waiting,
                ErrorCode::OutcomeUnknown,
                "this daemon has left its mesh before it was answered",
                io,
            );
        }
        // Those too that came in this turn, behind its time.
        for waiting in self.delivery.withdraw(|_| true) {
            let code = refusal_of(&waiting, ErrorCode::Leaving);
            self.fail_waiting(&waiting, code, "this daemon has left its mesh", "ask another one", io);
        }
    }

    /// A request was parked for too long.
    fn expired(&mut self, waiting: &Waiting, io: &mut Io) {
        if waiting.uncertain {
            let message = "the owner was lost before it answered, and nobody took over in time";
            return self.give_up(waiting, ErrorCode::OutcomeUnknown, message, io);
        }
        let view = self.shared.view();
        let (code, why, hint) = match (view.joined, view.leaving) {
            (false, _) => (ErrorCode::NotReady, "this daemon has not joined its mesh", "ask another one"),
            (_, true) => (ErrorCode::Leaving, "this daemon is leaving its mesh", "ask another one"),
            _ => (ErrorCode::Moving, "nobody took it over", "send it again"),
        };
        let message = format!("partition {} is not served within limits.forward_timeout: {why}", waiting.partition);
        self.fail_waiting(waiting, code, &message, hint, io);
    }
}

/// Who asked, of a request that is kept as bytes.
fn asked_of(raw: &[u8], reply_to: ReplyTo) -> Asked<'_> {
    let encoding = Encoding::of(raw);
    let id = Request::parse(raw, encoding).ok().and_then(|request| request.id);
    Asked { encoding, id, reply_to }
}

/// The code under which a request is refused: this one, which says that nothing was applied, unless a member that is lost may have.
fn refusal_of(waiting: &Waiting, code: ErrorCode) -> ErrorCode {
    if waiting.uncertain { ErrorCode::OutcomeUnknown } else { code }
}

/// Whether a reply is an error other than that it is not known what was applied.
pub(super) fn is_refusal(reply: &[u8]) -> bool {
    let code = |fields: Fields<'_>| fields.refused().map(|refused| refused.code);
    Fields::read(reply).ok().and_then(code).is_some_and(|code| code != Some(ErrorCode::OutcomeUnknown))
}

/// What sending a request twice does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeating {
    /// Nothing: it changes nothing.
    Harmless,
    /// Nothing either: its token says that it is the same.
    ByToken,
    /// It may be applied twice, or behind what came after it.
    No,
}

/// What sending each of these requests twice does, which were sent in this order. One that was refused has left no token: what came
/// behind it may have made it possible, and it would be applied behind that. So it is not sent again where anything else was that
/// changes its key.
fn repeating<'a>(requests: impl DoubleEndedIterator<Item = &'a [u8]>) -> Vec<Repeating> {
    let mut changed_later = BTreeSet::new();
    let mut all: Vec<Repeating> = requests.rev().map(|raw| repeating_one(raw, &mut changed_later)).collect();
    all.reverse();
    all
}

fn repeating_one(raw: &[u8], changed_later: &mut BTreeSet<u64>) -> Repeating {
    match Request::parse(raw, Encoding::of(raw)) {
        Ok(request) if !request.op.changes() => Repeating::Harmless,
        Ok(request) => {
            let is_last = changed_later.insert(key_hash(&request.machine, &request.key));
            // Refused by a condition it is taken now, perhaps, if another client changed the key.
            let has_token = request.conditions.dedup.as_deref().is_some_and(|token| !token.is_empty());
            let by_token = has_token && !request.conditions.are_of_state();
            if is_last && by_token { Repeating::ByToken } else { Repeating::No }
        }
        Err(_) => Repeating::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_says_that_the_outcome_is_unknown_goes_on_as_it_is() {
        let refused = |code: &str| is_refusal(format!(r#"{{"ok":false,"error":{{"code":"{code}"}}}}"#).as_bytes());
        let all =
            [refused("event_failed"), refused("of_later"), refused("outcome_unknown"), is_refusal(br#"{"ok":true}"#)];
        assert_eq!(all, [true, true, false, false]);
    }

    #[test]
    fn only_the_last_that_changes_a_key_is_sent_again_by_its_token() {
        let send = |key: &str, more: &str| {
            format!(r#"{{"op":"send","machine":"m","key":"{key}","event":{{"type":"X"}}{more}}}"#)
        };
        let get = r#"{"op":"get","machine":"m","key":"a"}"#.to_owned();
        let token = r#","dedup":"1""#;
        let sent = [
            send("a", token),
            get.clone(),
            send("b", token),
            send("a", token),
            get,
            send("c", ""),
            send("e", r#","dedup":"""#),
            send("d", r#","dedup":"2","if_seq":3"#),
            "{".to_owned(),
        ];
        let no = Repeating::No;
        let all = repeating(sent.iter().map(|text| text.as_bytes()));
        let (harmless, token) = (Repeating::Harmless, Repeating::ByToken);
        assert_eq!(all, [no, harmless, token, token, harmless, no, no, no, no]);
    }
}
