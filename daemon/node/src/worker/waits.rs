//! `until`: requests whose answer waits for their instance to be in a state, to have a tag, or to have ended.
//!
//! The request itself is done at once. The daemon that the client talks to keeps the answer, and asks after the instance: where it
//! serves the key it hears of each change (`statemesh_shard`'s interests), else it asks again every so often, whoever serves the key by
//! then. So a wait outlives moves and owners, and holds up nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use slab::Slab;
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::hash::content_hash;
use statemesh_protocol::reply::{Encoding, MapWriter};
use statemesh_protocol::reply_reader::Fields;
use statemesh_protocol::request::{Op, Request};
use statemesh_protocol::request_writer::Ask;
use statemesh_shard::{Until, Waiter};
use statemesh_transport::{ConnId, Io, Ticket};

use super::context::{Arrived, ReplyTo};
use super::{Asked, Worker};
use crate::mailbox::Command;
use crate::options::Limits;

/// For how long a request waits that does not say, unless `limits.wait` is less.
const USUAL: Duration = Duration::from_secs(10);
/// Where the instance is served elsewhere it is asked after again so soon, and then less and less often.
const AGAIN: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));
/// The same where its changes are heard of: a change may be heard of by nobody while the partition moves.
const HEARD: Duration = Duration::from_secs(1);

/// How long an answer is waited for that is asked for when the time is over.
const LAST_ANSWER: Duration = Duration::from_millis(100);

/// How many are asked after in one turn, and how many bytes of answers they may have: an instance may be large, and many may wait for
/// one.
const PER_TURN: usize = 256;
const BYTES_PER_TURN: usize = 4 * 1024 * 1024;
/// All are looked through for those that are due no more often than this for each that waits: a few hundredths of a core, whose number
/// ever they are.
const LOOK: Duration = Duration::from_micros(1);

/// A request that waits.
#[derive(Debug)]
struct Wait {
    /// Tells it from others that had its place.
    number: u64,
    reply_to: ReplyTo,
    op: Op,
    encoding: Encoding,
    id: Option<Box<[u8]>>,
    /// The question where the instance is: all that is kept of the request itself.
    ask: Box<[u8]>,
    /// The answer of the request itself; of a `get`, what another answer is compared with.
    first: Vec<u8>,
    until: Instant,
    /// Its time is over: the next answer is the last one.
    is_over: bool,
    again: Instant,
    pause: Duration,
    /// What the last answer said of what was lost: a hash of it, 0 for nothing.
    said: Option<u64>,
    /// It is being asked after.
    is_asked: bool,
    /// Somebody said meanwhile that it has changed.
    is_woken: bool,
    /// It will hear of the next change.
    is_heard: bool,
    /// It is among those whose turn comes.
    is_queued: bool,
    /// Its client's connection.
    conn: Option<ConnId>,
    /// Counts it against what that may have under way.
    _ticket: Option<Ticket>,
}

impl Wait {
    /// A request that is about to be done, and waits until then at most.
    fn new(number: u64, reply_to: ReplyTo, request: &Request<'_>, until: Instant) -> Self {
        let mut ask = Vec::new();
        let about = Ask::about(Op::Get, request.encoding, &request.machine, &request.key);
        Ask { until: request.until, ..about }.write(0, &mut ask);
        Self {
            number,
            reply_to,
            op: request.op,
            encoding: request.encoding,
            id: request.id.map(Box::from),
            ask: ask.into(),
            first: Vec::new(),
            until,
            is_over: false,
            again: until,
            pause: AGAIN.0,
            said: None,
            is_asked: true,
            is_woken: false,
            is_heard: false,
            is_queued: false,
            conn: None,
            _ticket: None,
        }
    }

    /// When there is something to do. Before the request itself is answered there is nothing: it has a patience of its own.
    fn due(&self) -> Option<Instant> {
        match (self.first.is_empty(), self.is_asked) {
            (true, _) => None,
            (false, true) => Some(self.until + LAST_ANSWER),
            (false, false) => Some(self.until.min(self.again)),
        }
    }

    /// Bytes that it keeps.
    fn bytes(&self) -> usize {
        self.ask.len() + self.id.as_ref().map_or(0, |id| id.len()) + self.first.len()
    }

    /// Whether an answer says that something of the instance was lost, which the one before it did not say. The first question after a
    /// request that changes something may say what was lost before it.
    fn is_news(&mut self, fields: &Fields<'_>, is_first: bool) -> bool {
        if is_first && self.op != Op::Get {
            return false;
        }
        let said = ["restarted", "conflict"].iter().filter_map(|name| fields.raw(name));
        let said = said.fold(0, content_hash);
        self.said.replace(said).is_some_and(|before| before != said && said != 0)
    }

    /// Takes in an answer. Gives whether it is the end, and whether what was waited for is there; `None`: it goes on.
    fn hear(&mut self, reply: &[u8]) -> Option<bool> {
        let fields = Fields::read(reply).unwrap_or_default();
        let is_first = self.first.is_empty();
        if is_first {
            // Answers are not kept: they may be large, and many wait.
            let is_large = self.op == Op::Get && fields.is_ok();
            self.first = if is_large { brief(&fields, self.encoding) } else { reply.to_vec() };
        }
        if !fields.is_ok() {
            // What is refused waits for nothing; later the instance is gone, or is one of another version, or cannot be asked after just now.
            let code = fields.refused().and_then(|refused| refused.code);
            let is_over = matches!(code, Some(ErrorCode::UnknownInstance | ErrorCode::UnknownState));
            return (is_first || is_over).then_some(false);
        }
        let first = Fields::read(&self.first).unwrap_or_default();
        let is_another = first.text("run") != fields.text("run");
        // One that is stuck goes on only if somebody sees to it: who waits is told that, rather than nothing.
        let is_ended = fields.text("status").is_none_or(|status| status != "active");
        // Nothing comes of an event that nothing reacted to.
        let is_over = is_ended || first.bool("handled") == Some(false);
        let is_news = self.is_news(&fields, is_first);
        match fields.bool("reached") {
            // An answer that was repeated does not say where the instance is by now.
            None => {
                self.is_woken = is_first;
                None
            }
            // Something was lost of the instance meanwhile.
            Some(reached) if is_news => Some(reached && !is_another),
            Some(true) if !is_another => Some(true),
            Some(_) => (is_another || is_over).then_some(false),
        }
    }
}

/// The requests of one reactor that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    all: Slab<Wait>,
    numbers: u64,
    /// Bytes that they keep.
    bytes: usize,
    /// How many there are of each connection that has any.
    by_conn: BTreeMap<ConnId, usize>,
    /// Bytes of the answers that were heard in this turn.
    heard: usize,
    /// When the first of them has something to do, or earlier.
    next: Option<Instant>,
    /// When they are looked through next, at the earliest.
    look_at: Option<Instant>,
    /// The places of those that are due, or whose instance has changed, each once.
    queue: VecDeque<usize>,
}

impl Waiting {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// When one of them has something to do.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        if self.queue.is_empty() {
            self.next.map(|next| self.look_at.map_or(next, |at| at.max(next)))
        } else {
            Some(now)
        }
    }

    fn add(&mut self, wait: Wait) -> usize {
        self.bytes += wait.bytes();
        if let Some(conn) = wait.conn {
            *self.by_conn.entry(conn).or_default() += 1;
        }
        self.all.insert(wait)
    }

    fn remove(&mut self, place: usize) -> Option<Wait> {
        let wait = self.all.try_remove(place)?;
        self.bytes -= wait.bytes();
        if let Some(conn) = wait.conn
            && let Some(count) = self.by_conn.get_mut(&conn)
        {
            *count -= 1;
            if *count == 0 {
                self.by_conn.remove(&conn);
            }
        }
        Some(wait)
    }

    /// Takes in an answer to one of them: what [`Wait::hear`] gives; and it is the end if its time is over, or if there is no room for what
    /// is kept of its first answer. Of later ones nothing is kept: whoever has waited so far goes on, however many others came since.
    fn hear(&mut self, place: usize, reply: &[u8], bytes_max: usize) -> Option<bool> {
        let wait = self.all.get_mut(place)?;
        let before = wait.first.len();
        let reached = wait.hear(reply);
        self.bytes += wait.first.len() - before;
        self.heard += reply.len();
        let is_crowded = before == 0 && self.bytes > bytes_max;
        reached.or((wait.is_over || is_crowded).then_some(false))
    }

    /// Why one more may not wait.
    ///
    /// One connection may have no more than half of what it may have under way: it would not be read with all of it, neither what ends
    /// its waits nor that its client is gone, for as long as they wait.
    fn refusal(&self, wait: &Wait, limits: &Limits) -> Option<String> {
        let (max, max_bytes) = (limits.waits, limits.parked_bytes);
        let max_of_one = (limits.in_flight_per_connection / 2).max(1);
        let of_one = wait.conn.and_then(|conn| self.by_conn.get(&conn)).copied().unwrap_or_default();
        if self.len() >= max {
            Some(format!("limits.waits: {max} requests wait already"))
        } else if of_one >= max_of_one {
            Some(format!("limits.in_flight_per_connection: {max_of_one} requests of this connection wait, half of it"))
        } else if self.bytes + wait.bytes() > max_bytes {
            Some(format!("limits.parked_bytes: the requests that wait would have more than {max_bytes} bytes"))
        } else {
            None
        }
    }

    /// It is to have its turn.
    fn queue(&mut self, place: usize) {
        if let Some(wait) = self.all.get_mut(place).filter(|wait| !wait.is_queued) {
            wait.is_queued = true;
            self.queue.push_back(place);
        }
    }

    /// Looks for those that are due.
    fn look(&mut self, now: Instant) {
        if self.next.is_none_or(|next| next > now) || self.look_at.is_some_and(|at| at > now) {
            return;
        }
        self.next = None;
        for (place, wait) in &mut self.all {
            match wait.due() {
                Some(due) if due > now => self.next = Some(self.next.map_or(due, |next| next.min(due))),
                Some(_) if !wait.is_queued => {
                    wait.is_queued = true;
                    self.queue.push_back(place);
                }
                _ => {}
            }
        }
        self.look_at = Some(now + LOOK * u32::try_from(self.all.len()).unwrap_or(u32::MAX));
    }

    /// The next one whose turn it is.
    fn pop(&mut self, now: Instant) -> Option<usize> {
        while let Some(place) = self.queue.pop_front() {
            let Some(wait) = self.all.get_mut(place).filter(|wait| wait.is_queued) else { continue };
            wait.is_queued = false;
            if wait.due().is_some_and(|due| due <= now) {
                return Some(place);
            }
        }
        None
    }

    fn get(&mut self, place: usize, number: u64) -> Option<&mut Wait> {
        self.all.get_mut(place).filter(|wait| wait.number == number)
    }

    fn sooner(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

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
        let Some(until) = request.until else { return Some(reply_to) };
        if !matches!(request.op, Op::Send | Op::Start | Op::Get) || matches!(reply_to, ReplyTo::Wait(_)) {
            return Some(reply_to);
        }
        let asked = Asked { encoding: request.encoding, id: request.id, reply_to };
        if let Err(error) = Until::read(until, request.encoding) {
            self.fail(
                asked,
                ErrorCode::WrongType,
                &error.to_string(),
                "docs/reference/protocol.md says what it may be",
                io,
            );
            return None;
        }
        let max = self.shared.options.limits.wait;
        let within = request.within_ms.map_or(USUAL.min(max), Duration::from_millis);
        if within > max {
            let message = format!("\"within\" must be at most {} milliseconds (limits.wait)", max.as_millis());
            self.fail(asked, ErrorCode::WrongType, &message, "wait for less, and ask again when that is over", io);
            return None;
        }
        self.waiting.numbers = (self.waiting.numbers + 1) & 0xffff_ffff;
        let number = self.waiting.numbers;
        let conn = self.asker(reply_to);
        let ticket = conn.and_then(|conn| io.ticket(conn));
        let wait = Wait { conn, _ticket: ticket, ..Wait::new(number, reply_to, request, self.now + within) };
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
        let until = self.waiting.get(place, number)?.until.min(self.now + HEARD * 2);
        Some(Waiter { reactor: self.index, number: token, until: self.shared.clock.millis(until) + 1 })
    }

    /// It has run: whether it will hear of them.
    pub(super) fn is_heard(&mut self, token: u64) {
        let (place, number) = place_of(token);
        let is_heard = self.run.waiter.take().is_none();
        if let Some(wait) = self.waiting.get(place, number) {
            wait.is_heard = is_heard;
        }
    }

    /// The answer to a request that may wait, or to the question where its instance is.
    pub(super) fn wait_answered(&mut self, token: u64, reply: &[u8], io: &mut Io) {
        let (place, number) = place_of(token);
        let now = self.now;
        let Some(wait) = self.waiting.get(place, number) else { return };
        wait.is_asked = false;
        if let Some(reached) = self.waiting.hear(place, reply, self.shared.options.limits.parked_bytes) {
            return self.end_wait(place, reached, reply, io);
        }
        let Some(wait) = self.waiting.get(place, number) else { return };
        let pause = match (std::mem::take(&mut wait.is_woken), std::mem::take(&mut wait.is_heard)) {
            (true, _) => Duration::ZERO,
            (false, true) => HEARD,
            (false, false) => {
                let pause = wait.pause;
                wait.pause = (pause * 2).min(AGAIN.1);
                pause
            }
        };
        wait.again = now + pause;
        let next = wait.again.min(wait.until);
        if next <= now { self.waiting.queue(place) } else { self.waiting.sooner(next) }
    }

    /// An instance that a request waits for has changed.
    pub(super) fn wake_waiter(&mut self, waiter: Waiter) {
        if waiter.reactor != self.index {
            return self.tell(waiter.reactor, Command::Wake { waiter });
        }
        let (place, number) = place_of(waiter.number);
        let now = self.now;
        if let Some(wait) = self.waiting.get(place, number) {
            wait.is_woken = true;
            wait.again = now;
            if !wait.is_asked {
                self.waiting.queue(place);
            }
        }
    }

    /// Asks again for those whose time to ask has come, and answers those whose time is over.
    pub(super) fn go_on_waiting(&mut self, io: &mut Io) {
        self.waiting.look(self.now);
        self.waiting.heard = 0;
        for _ in 0..PER_TURN {
            if self.waiting.heard > BYTES_PER_TURN {
                break;
            }
            let Some(place) = self.waiting.pop(self.now) else { break };
            self.ask_after(place, io);
        }
    }

    fn ask_after(&mut self, place: usize, io: &mut Io) {
        let Some(wait) = self.waiting.all.get_mut(place) else { return };
        if wait.is_asked {
            return self.end_unheard(place, io);
        }
        (wait.is_asked, wait.is_woken) = (true, false);
        wait.is_over = wait.until <= self.now;
        let (number, ask, last) = (wait.number, wait.ask.clone(), wait.until + LAST_ANSWER);
        self.waiting.sooner(last);
        let arrived = Arrived::here(ReplyTo::Wait(token(place, number)), self.now);
        self.request(&ask, &arrived, io);
    }

    /// The time of a request is over, and who serves its key says nothing just now.
    fn end_unheard(&mut self, place: usize, io: &mut Io) {
        let message = "the owner does not say where the instance is by now";
        self.end_with_first(place, ErrorCode::Timeout, message, "ask again", io);
    }

    /// The daemon ends: who waits is told what the request itself did.
    pub(super) fn end_all_waits(&mut self, io: &mut Io) {
        let answered = self.waiting.all.iter().filter(|(_, wait)| !wait.first.is_empty()).map(|(place, _)| place);
        for place in answered.collect::<Vec<_>>() {
            let message = "this daemon is leaving its mesh";
            self.end_with_first(place, ErrorCode::Leaving, message, "ask another one", io);
        }
    }

    /// Answers with what the request itself did; a `get` did nothing, and is refused.
    fn end_with_first(&mut self, place: usize, code: ErrorCode, message: &str, hint: &str, io: &mut Io) {
        let Some(wait) = self.waiting.remove(place) else { return };
        if wait.op == Op::Get {
            let asked = Asked { encoding: wait.encoding, id: wait.id.as_deref(), reply_to: wait.reply_to };
            return self.fail(asked, code, message, hint, io);
        }
        let reply = joined(&wait, &wait.first, false);
        self.deliver_waited(&wait, &reply, io);
    }

    /// Answers a request that has waited.
    fn end_wait(&mut self, place: usize, reached: bool, last: &[u8], io: &mut Io) {
        let Some(wait) = self.waiting.remove(place) else { return };
        let reply = joined(&wait, last, reached);
        self.deliver_waited(&wait, &reply, io);
    }

    fn deliver_waited(&mut self, wait: &Wait, reply: &[u8], io: &mut Io) {
        if self.has_room(wait.reply_to, reply.len(), io) {
            return self.deliver(wait.reply_to, reply, io);
        }
        self.leave_out(Asked { encoding: wait.encoding, id: wait.id.as_deref(), reply_to: wait.reply_to }, io);
    }

    /// A client is gone: nobody waits for its answers.
    pub(super) fn forget_waits_of(&mut self, conn: ConnId, io: &mut Io) {
        let all = self.waiting.all.iter();
        let its = all.filter(|(_, wait)| wait.conn == Some(conn)).map(|(place, _)| place);
        for place in its.collect::<Vec<_>>() {
            if let Some(wait) = self.waiting.remove(place) {
                self.forget_reply(wait.reply_to, io);
            }
        }
    }
}

/// What a later answer about an instance is compared with.
fn brief(fields: &Fields<'_>, encoding: Encoding) -> Vec<u8> {
    let mut out = Vec::new();
    let mut map = MapWriter::new(&mut out, encoding);
    // What is said once is kept as well.
    for (name, value) in fields.iter().filter(|(name, _)| matches!(*name, "ok" | "run" | "restarted" | "conflict")) {
        map.raw(name, value);
    }
    map.end();
    out
}

/// What the request did, and where the instance is now.
fn joined(wait: &Wait, last: &[u8], reached: bool) -> Vec<u8> {
    let first = Fields::read(&wait.first).unwrap_or_default();
    let last = Fields::read(last).unwrap_or_default();
    // A `get` did nothing: it is answered with the last that there is to be said.
    if !first.is_ok() || (!last.is_ok() && wait.op == Op::Get) {
        let refused = if first.is_ok() { &last } else { &first };
        return with_id(refused, wait.id.as_deref(), wait.encoding);
    }
    let mut out = Vec::new();
    let mut map = MapWriter::new(&mut out, wait.encoding);
    if wait.op == Op::Get {
        if let Some(id) = &wait.id {
            map.raw("id", id);
        }
        for (name, value) in last.iter().filter(|(name, _)| !matches!(*name, "id" | "reached")) {
            map.raw(name, value);
        }
        let said_once =
            |(name, _): &(&str, &[u8])| matches!(*name, "restarted" | "conflict") && last.raw(name).is_none();
        for (name, value) in first.iter().filter(said_once) {
            map.raw(name, value);
        }
    } else {
        for (name, value) in first.iter().filter(|(name, _)| *name != "reached") {
            let is_its_own = matches!(name, "id" | "restarted" | "conflict") || !last.is_ok();
            map.raw(name, last.raw(name).filter(|_| !is_its_own).unwrap_or(value));
        }
        // What is there by now and was not then: a fault, an output, what is gone.
        let news = ["stuck", "fault", "output", "restarted", "conflict"];
        for (name, value) in last.iter().filter(|(name, _)| news.contains(name) && first.raw(name).is_none()) {
            map.raw(name, value);
        }
    }
    map.bool("reached", reached);
    if last.refused().and_then(|refused| refused.code) == Some(ErrorCode::UnknownInstance) {
        map.bool("gone", true);
    }
    map.end();
    out
}

fn with_id(fields: &Fields<'_>, id: Option<&[u8]>, encoding: Encoding) -> Vec<u8> {
    let mut out = Vec::new();
    let mut map = MapWriter::new(&mut out, encoding);
    if let Some(id) = id {
        map.raw("id", id);
    }
    for (name, value) in fields.iter().filter(|(name, _)| *name != "id") {
        map.raw(name, value);
    }
    map.end();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_before_of_a_loss_ends_no_wait_and_what_is_news_does() {
        for op in [Op::Get, Op::Send] {
            let asked = format!(r#"{{"op":"{}","machine":"m","key":"k","event":{{"type":"X"}}}}"#, op.as_str());
            let request = Request::parse(asked.as_bytes(), Encoding::Json).unwrap();
            let mut wait = Wait::new(1, ReplyTo::Wait(0), &request, Instant::now());
            let reply = |run: u64| {
                let conflict = format!(r#","conflict":{{"reason":"merged","lost_from":3,"run":"{run}"}}"#);
                let conflict = if run == 0 { String::new() } else { conflict };
                format!(r#"{{"ok":true,"run":"a","status":"active","reached":false{conflict}}}"#)
            };
            let said = [1, 1, 1, 0, 0, 2];
            let ends = said.map(|run| wait.hear(reply(run).as_bytes()));
            assert_eq!(ends, [None, None, None, None, None, Some(false)], "{op:?}");
        }
    }

    #[test]
    fn nothing_is_waited_for_of_an_event_that_nothing_reacted_to() {
        let asked = br#"{"op":"send","machine":"m","key":"k","event":{"type":"X"}}"#;
        let request = Request::parse(asked, Encoding::Json).unwrap();
        let heard = |handled: &str, reached: bool| {
            let mut wait = Wait::new(1, ReplyTo::Wait(0), &request, Instant::now());
            let reply = format!(r#"{{"ok":true,"run":"a","status":"active"{handled},"reached":{reached}}}"#);
            wait.hear(reply.as_bytes())
        };
        assert_eq!((heard("", false), heard("", true)), (None, Some(true)));
        assert_eq!(
            (heard(r#","handled":false"#, false), heard(r#","handled":false"#, true)),
            (Some(false), Some(true))
        );
    }

    #[test]
    fn who_has_waited_goes_on_where_there_is_no_room_for_those_who_come() {
        let request = Request::parse(br#"{"op":"get","machine":"m","key":"k"}"#, Encoding::Json).unwrap();
        let mut waiting = Waiting::default();
        let add = |waiting: &mut Waiting| waiting.add(Wait::new(1, ReplyTo::Wait(0), &request, Instant::now()));
        let reply = br#"{"ok":true,"run":"a","status":"active","reached":false}"#;
        let first = add(&mut waiting);
        assert_eq!(waiting.hear(first, reply, usize::MAX), None);
        let full = waiting.bytes;
        let second = add(&mut waiting);
        assert_eq!(waiting.hear(first, reply, full), None);
        assert_eq!(waiting.hear(second, reply, full), Some(false));
    }
}
