//! `until`: requests whose answer waits for their instance to be in a state, to have a tag, or to have ended.
//!
//! The request itself is done at once. The daemon that the client talks to keeps the answer, and asks after the instance: where it
//! serves the key it hears of each change (`statemesh_shard`'s interests), else it asks again every so often, whichever member serves the
//! key by then. So a wait outlives moves and owners, and holds up nothing.

mod inquiry;
mod wait;
mod waiting;

use std::time::Duration;

use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::request::{Op, Request};
use statemesh_shard::{Until, Waiter};
use statemesh_transport::{ConnId, Io};

use self::inquiry::{HEARD, LAST_ANSWER};
use self::wait::{Asker, Wait};
pub(super) use self::waiting::Waiting;
use super::context::{Arrived, ReplyTo};
use super::{Asked, Ending, Worker};
use crate::mailbox::Command;

/// For how long a request waits that does not say, unless `limits.wait` is less.
const USUAL: Duration = Duration::from_secs(10);

/// How many are asked after in one turn.
const PER_TURN: usize = 256;

/// A wait's place and number in one, for others.
fn token(place: usize, number: u64) -> u64 {
    (number << 32) | (place as u64 & 0xffff_ffff)
}

fn place_of(token: u64) -> (usize, u64) {
    ((token & 0xffff_ffff) as usize, token >> 32)
}

impl Worker {
    /// Where the reply of a request goes that may wait. None if it was refused.
    pub(super) fn may_wait_until(&mut self, request: &Request<'_>, reply_to: ReplyTo, io: &mut Io) -> Option<ReplyTo> {
        let Some(until) = request.answer.until else { return Some(reply_to) };
        if !matches!(request.op, Op::Send | Op::Start | Op::Get) || matches!(reply_to, ReplyTo::Wait(_)) {
            return Some(reply_to);
        }
        let asked = Asked { encoding: request.encoding, id: request.id, reply_to };
        if let Err(error) = Until::read(until, request.encoding) {
            self.fail(
                asked,
                ErrorCode::WrongType,
                &error.to_string(),
                concat!("docs/reference/protocol.md of ", env!("CARGO_PKG_REPOSITORY"), " says what it may be"),
                io,
            );
            return None;
        }
        let max = self.shared.options.limits.wait;
        let within = request.answer.within_ms.map_or(USUAL.min(max), Duration::from_millis);
        if within > max {
            let message = format!("\"within\" must be at most {} milliseconds (limits.wait)", max.as_millis());
            self.fail(asked, ErrorCode::WrongType, &message, "wait for less, and ask again when that is over", io);
            return None;
        }
        let number = self.waiting.next_number();
        let conn = self.clients.asker(reply_to);
        let ticket = conn.and_then(|conn| io.ticket(conn));
        let asker = Asker::new(request, reply_to, conn, ticket);
        let wait = Wait::new(number, asker, request, self.time.now + within);
        let refusal = self.waiting.refusal(&wait, &self.shared.options.limits);
        if let Some(message) = refusal {
            self.counters.refused_waits.add(1);
            self.fail(
                asked,
                ErrorCode::LimitExceeded,
                &message,
                "ask again, or raise the setting that the message names",
                io,
            );
            return None;
        }
        let place = self.waiting.add(wait);
        Some(ReplyTo::Wait(token(place, number)))
    }

    /// The request that runs here now wants to hear of changes.
    pub(super) fn waiter(&mut self, token: u64) -> Option<Waiter> {
        let (place, number) = place_of(token);
        // It asks again before that is over.
        let until = self.waiting.get(place, number)?.until.min(self.time.now + HEARD * 2);
        Some(Waiter { reactor: self.index, number: token, until: self.shared.clock.millis(until) + 1 })
    }

    /// It has run: whether it will hear of them.
    pub(super) fn is_heard(&mut self, token: u64) {
        let (place, number) = place_of(token);
        let is_heard = self.runner.run.waiter.take().is_none();
        if let Some(wait) = self.waiting.get(place, number) {
            wait.inquiry.is_heard = is_heard;
        }
    }

    /// Whether an error is one that the client is told; what answers a question after its instance may be none.
    pub(super) fn is_told(&mut self, code: ErrorCode, reply_to: ReplyTo) -> bool {
        let ReplyTo::Wait(token) = reply_to else { return true };
        let (place, number) = place_of(token);
        self.waiting.get(place, number).is_some_and(|wait| wait.is_told(code))
    }

    /// The answer to a request that may wait, or to the question where its instance is.
    pub(super) fn wait_answered(&mut self, token: u64, reply: &[u8], io: &mut Io) {
        let (place, number) = place_of(token);
        let now = self.time.now;
        let Some(wait) = self.waiting.get(place, number) else { return };
        wait.inquiry.is_asked = false;
        let reached = self.waiting.hear(place, reply, self.shared.options.limits.parked_bytes);
        // A daemon that is about to end asks no more questions: the answer to the request itself is the last one.
        if let Some(reached) = reached.or((self.ending != Ending::No).then_some(false)) {
            return self.end_wait(place, reached, reply, io);
        }
        let Some(wait) = self.waiting.get(place, number) else { return };
        let next = wait.inquiry.pause(now).min(wait.until);
        if next <= now { self.waiting.queue(place) } else { self.waiting.sooner(next) }
    }

    /// An instance that a request waits for has changed.
    pub(super) fn wake_waiter(&mut self, waiter: Waiter) {
        if waiter.reactor != self.index {
            return self.tell(waiter.reactor, Command::Wake { waiter });
        }
        let (place, number) = place_of(waiter.number);
        let now = self.time.now;
        if self.waiting.get(place, number).is_some_and(|wait| wait.inquiry.wake(now)) {
            self.waiting.queue(place);
        }
    }

    /// Asks again for those whose time to ask has come, and answers those whose time is over.
    pub(super) fn go_on_waiting(&mut self, io: &mut Io) {
        self.waiting.look(self.time.now);
        for _ in 0..PER_TURN {
            let Some(place) = self.waiting.pop(self.time.now) else { break };
            self.ask_after(place, io);
        }
    }

    fn ask_after(&mut self, place: usize, io: &mut Io) {
        let Some(wait) = self.waiting.at(place) else { return };
        if wait.inquiry.is_asked {
            return self.end_unheard(place, io);
        }
        wait.ask(self.time.now);
        let (number, question, last) = (wait.number, wait.inquiry.question.clone(), wait.until + LAST_ANSWER);
        self.waiting.sooner(last);
        let arrived = Arrived::here(ReplyTo::Wait(token(place, number)), self.time.now);
        self.request(&question, &arrived, io);
    }

    /// The time of a request is over, and the owner of its key says nothing just now.
    fn end_unheard(&mut self, place: usize, io: &mut Io) {
        let message = "the owner does not say where the instance is by now";
        self.end_with_first(place, ErrorCode::Timeout, message, "ask again", io);
    }

    /// The daemon is about to end: each request that waits is answered with what it did itself. One that is not done yet is answered
    /// when it is.
    pub(super) fn end_all_waits(&mut self, io: &mut Io) {
        for place in self.waiting.places(Wait::is_done) {
            let message = "this daemon is leaving its mesh";
            self.end_with_first(place, ErrorCode::Leaving, message, "ask another one", io);
        }
    }

    /// Answers with what the request itself did; a `get` did nothing, and is refused.
    fn end_with_first(&mut self, place: usize, code: ErrorCode, message: &str, hint: &str, io: &mut Io) {
        let Some(wait) = self.waiting.remove(place) else { return };
        if wait.asker.op == Op::Get {
            return self.fail(wait.asker.asked(), code, message, hint, io);
        }
        self.deliver_waited(&wait.asker, &wait.unheard(), io);
    }

    /// Answers a request that has waited.
    fn end_wait(&mut self, place: usize, reached: bool, last: &[u8], io: &mut Io) {
        let Some(wait) = self.waiting.remove(place) else { return };
        self.deliver_waited(&wait.asker, &wait.joined(last, reached), io);
    }

    fn deliver_waited(&mut self, asker: &Asker, reply: &[u8], io: &mut Io) {
        if self.has_room(asker.reply_to, reply.len(), io) {
            return self.deliver(asker.reply_to, reply, io);
        }
        self.leave_out(asker.asked(), io);
    }

    /// A client is gone, and with it what waits for an answer to it.
    pub(super) fn forget_waits_of(&mut self, conn: ConnId, io: &mut Io) {
        for place in self.waiting.places(|wait| wait.asker.conn == Some(conn)) {
            if let Some(wait) = self.waiting.remove(place) {
                self.forget_reply(wait.asker.reply_to, io);
            }
        }
    }
}
