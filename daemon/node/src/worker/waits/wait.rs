//! One request that waits: what it keeps of itself, and what it makes of answers about its instance.

use std::time::Instant;

use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::hash::content_hash;
use statemesh_protocol::reply::{Encoding, MapWriter};
use statemesh_protocol::reply_reader::Fields;
use statemesh_protocol::request::{Op, Request};
use statemesh_transport::{ConnId, Ticket};

use super::super::Asked;
use super::super::context::ReplyTo;
use super::inquiry::Inquiry;

/// A request that waits.
#[derive(Debug)]
pub(super) struct Wait {
    /// Tells it from others that had its place.
    pub(super) number: u64,
    pub(super) asker: Asker,
    /// The question where the instance is.
    pub(super) inquiry: Inquiry,
    /// The answer of the request itself; of a `get`, what another answer is compared with. Empty until there is one.
    first: Vec<u8>,
    /// What the last answer said of what was lost: a hash of it, 0 for nothing.
    said: Option<u64>,
    pub(super) until: Instant,
    /// Its time is over: the next answer is the last one.
    is_over: bool,
    /// It is among those whose turn comes.
    pub(super) is_queued: bool,
}

/// Who asked, for what, and how the answer must look.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) op: Op,
    pub(super) reply_to: ReplyTo,
    encoding: Encoding,
    id: Option<Box<[u8]>>,
    /// Its client's connection.
    pub(super) conn: Option<ConnId>,
    /// Counts the request against what that may have under way.
    _ticket: Option<Ticket>,
}

impl Asker {
    /// Of a request that came on this connection.
    pub(super) fn new(request: &Request<'_>, reply_to: ReplyTo, conn: Option<ConnId>, ticket: Option<Ticket>) -> Self {
        let Request { op, encoding, id, .. } = *request;
        Self { op, reply_to, encoding, id: id.map(Box::from), conn, _ticket: ticket }
    }

    /// What an answer has to say of the request.
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked { encoding: self.encoding, id: self.id.as_deref(), reply_to: self.reply_to }
    }
}

impl Wait {
    /// A request that is about to be done, and waits until then at most.
    pub(super) fn new(number: u64, asker: Asker, request: &Request<'_>, until: Instant) -> Self {
        let inquiry = Inquiry::new(request, until);
        Self { number, asker, inquiry, first: Vec::new(), said: None, until, is_over: false, is_queued: false }
    }

    /// Whether the request itself is answered.
    pub(super) fn is_done(&self) -> bool {
        !self.first.is_empty()
    }

    /// When there is something to do. Before the request itself is answered there is nothing: it has a patience of its own.
    pub(super) fn due(&self) -> Option<Instant> {
        self.is_done().then(|| self.inquiry.due(self.until))
    }

    /// Bytes that it keeps.
    pub(super) fn bytes(&self) -> usize {
        self.inquiry.question.len() + self.asker.id.as_ref().map_or(0, |id| id.len()) + self.first.len()
    }

    /// Its instance is asked after now.
    pub(super) fn ask(&mut self, now: Instant) {
        self.inquiry.begin();
        self.is_over = self.until <= now;
    }

    /// Whether an answer says that something of the instance was lost, which the one before it did not say. The first question after a
    /// request that changes something may say what was lost before it.
    fn is_news(&mut self, fields: &Fields<'_>, is_first: bool) -> bool {
        if is_first && self.asker.op != Op::Get {
            return false;
        }
        let said = ["restarted", "conflict"].iter().filter_map(|name| fields.raw(name));
        let said = said.fold(0, content_hash);
        self.said.replace(said).is_some_and(|before| before != said && said != 0)
    }

    /// Whether the client is told of this error: by its own request, or by the last answer to a `get`.
    pub(super) fn is_told(&self, code: ErrorCode) -> bool {
        !self.is_done() || (self.asker.op == Op::Get && (self.is_over || is_end(code)))
    }

    /// Takes in an answer. Gives whether it is the end, and whether what was waited for is there; `None`: it goes on.
    pub(super) fn hear(&mut self, reply: &[u8]) -> Option<bool> {
        self.judge(reply).or(self.is_over.then_some(false))
    }

    /// The same by what the answer says alone, however late it is.
    fn judge(&mut self, reply: &[u8]) -> Option<bool> {
        let fields = Fields::read(reply).unwrap_or_default();
        let is_first = !self.is_done();
        if is_first {
            // Answers are not kept: they may be large, and many wait.
            let is_large = self.asker.op == Op::Get && fields.is_ok();
            self.first = if is_large { brief(&fields, self.asker.encoding) } else { reply.to_vec() };
        }
        if !fields.is_ok() {
            // What is refused waits for nothing; later the instance is gone, or is one of another version, or cannot be asked after just now.
            let code = fields.refused().and_then(|refused| refused.code);
            let is_over = code.is_some_and(is_end);
            return (is_first || is_over).then_some(false);
        }
        let first = Fields::read(&self.first).unwrap_or_default();
        let is_another = first.text("run") != fields.text("run");
        // One that is stuck goes on only after a `retry` or `skip`: the client is told that, rather than nothing.
        let is_ended = fields.text("status").is_none_or(|status| status != "active");
        // Nothing comes of an event that nothing reacted to.
        let is_over = is_ended || first.bool("handled") == Some(false);
        let is_news = self.is_news(&fields, is_first);
        match fields.bool("reached") {
            // An answer that was repeated does not say where the instance is by now.
            None => {
                self.inquiry.is_woken = is_first;
                None
            }
            // Something was lost of the instance meanwhile.
            Some(reached) if is_news => Some(reached && !is_another),
            Some(true) if !is_another => Some(true),
            Some(_) => (is_another || is_over).then_some(false),
        }
    }

    /// What the request did, and where the instance is now.
    pub(super) fn joined(&self, last: &[u8], reached: bool) -> Vec<u8> {
        let first = Fields::read(&self.first).unwrap_or_default();
        let last = Fields::read(last).unwrap_or_default();
        // A `get` did nothing: it is answered with the last that there is to be said.
        if !first.is_ok() || (!last.is_ok() && self.asker.op == Op::Get) {
            let refused = if first.is_ok() { &last } else { &first };
            return with_id(refused, self.asker.id.as_deref(), self.asker.encoding);
        }
        let mut out = Vec::new();
        let mut map = MapWriter::new(&mut out, self.asker.encoding);
        if self.asker.op == Op::Get {
            if let Some(id) = &self.asker.id {
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

    /// The same where it is not known where the instance is.
    pub(super) fn unheard(&self) -> Vec<u8> {
        self.joined(&self.first, false)
    }
}

/// Whether an instance that is refused with this code is not asked after any more.
fn is_end(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::UnknownInstance | ErrorCode::UnknownState)
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

    fn waiting(request: &Request<'_>) -> Wait {
        Wait::new(1, Asker::new(request, ReplyTo::Wait(0), None, None), request, Instant::now())
    }

    #[test]
    fn what_was_said_before_of_a_loss_ends_no_wait_and_what_is_news_does() {
        for op in [Op::Get, Op::Send] {
            let asked = format!(r#"{{"op":"{}","machine":"m","key":"k","event":{{"type":"X"}}}}"#, op.as_str());
            let request = Request::parse(asked.as_bytes(), Encoding::Json).unwrap();
            let mut wait = waiting(&request);
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
            let mut wait = waiting(&request);
            let reply = format!(r#"{{"ok":true,"run":"a","status":"active"{handled},"reached":{reached}}}"#);
            wait.hear(reply.as_bytes())
        };
        assert_eq!((heard("", false), heard("", true)), (None, Some(true)));
        assert_eq!(
            (heard(r#","handled":false"#, false), heard(r#","handled":false"#, true)),
            (Some(false), Some(true))
        );
    }
}
