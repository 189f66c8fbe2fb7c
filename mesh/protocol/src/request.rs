//! Requests, as far as a daemon needs to know them: which op, which key, and where the payload is. The payload itself is
//! left as it came; the engine reads of it what an expression asks for.

use std::borrow::Cow;

use statemesh_expr::{DecodeError, json, msgpack};

use super::error::ErrorCode;
use super::reply::Encoding;
use super::request_parts::{Answering, Conditions, Listing};
use super::run::RunId;
use super::scan::Scan;

/// Who answers an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The owner of the key.
    Keyed,
    /// Whichever daemon is asked.
    Here,
    /// The control plane, as every member is concerned.
    Control,
}

macro_rules! ops {
    ($($variant:ident $name:literal $class:ident $changes:literal $meaning:literal;)*) => {
        /// What a request asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Op {
            $(#[doc = $meaning] $variant,)*
        }

        impl Op {
            /// Every op, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The op of this name.
            #[must_use]
            pub fn named(name: &[u8]) -> Option<Self> {
                $(if name == $name.as_bytes() {
                    return Some(Self::$variant);
                })*
                None
            }

            /// Its name in requests and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Who answers it.
            #[must_use]
            pub fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)* }
            }

            /// Whether it may change something.
            #[must_use]
            pub fn changes(self) -> bool {
                match self { $(Self::$variant => $changes,)* }
            }

            /// What it does, for the reference.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

ops! {
    Send "send" Keyed true "Sends `event` to the instance `machine`/`key`, which is created on first use.";
    Tell "tell" Keyed true "As `send`, without a reply, an error included.";
    Start "start" Keyed true "Creates the instance `machine`/`key` with `input`. One that is done, failed or stopped makes room, and any other with `force`: a new one takes its place, with a `run` and a `seq` of its own.";
    Get "get" Keyed false "Reads an instance whole: value, context, tags, output.";
    Stop "stop" Keyed true "Stops an instance: its timers end and its status is `stopped`.";
    Retry "retry" Keyed true "Fires the timer again that a stuck instance holds; if its step is refused again, the instance stays stuck.";
    Skip "skip" Keyed true "Drops the timer that a stuck instance holds, and lets the instance go on.";
    Delete "delete" Keyed true "Removes an instance: it is stopped if it is active, and gone. Its key is free for a new life.";
    History "history" Keyed false "Reads the last transitions of an instance.";
    Explain "explain" Keyed false "Says what `event` would do to an instance, and why, without doing it.";
    Where "where" Here false "Says which partition a key is in and who owns it.";
    Define "define" Control true "Gives `definition` to every member of the mesh.";
    Machines "machines" Here false "Lists the machines that are defined.";
    List "list" Here false "Lists instances of the whole mesh that are as `where` says, or counts them by state, a page at a time.";
    Instances "instances" Here false "Another name for `list`.";
    Members "members" Here false "Lists the members of the mesh.";
    Placement "placement" Here false "Gives the owner of every partition.";
    Ping "ping" Here false "Answers, with the daemon's name and mesh.";
}

/// Why a request is refused, with its id as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The request's id, as it came.
    pub id: Option<&'a [u8]>,
    /// The stable code.
    pub code: ErrorCode,
    /// What is wrong, and where.
    pub message: String,
    /// How to go on.
    pub hint: &'static str,
}

impl<'a> Refusal<'a> {
    /// A refusal.
    #[must_use]
    pub fn new(id: Option<&'a [u8]>, code: ErrorCode, message: String, hint: &'static str) -> Self {
        Self { id, code, message, hint }
    }
}

/// What becomes of a fault: an expression without a value that no `onError` handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// The event is refused.
    Hold,
    /// The instance fails, as in XState.
    Fail,
}

impl Faults {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Fail => "fail",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Hold, Self::Fail].into_iter().find(|one| one.as_str() == name)
    }
}

/// A request whose payload is not decoded.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// How it is encoded, and so how the reply must be.
    pub encoding: Encoding,
    /// What it asks for.
    pub op: Op,
    /// Its id, as it came; the reply carries it.
    pub id: Option<&'a [u8]>,
    /// The machine's name; empty where the op has none.
    pub machine: Cow<'a, str>,
    /// The key; empty where the op has none.
    pub key: Cow<'a, str>,
    /// The event's type.
    pub event_type: Cow<'a, str>,
    /// The whole event, a map.
    pub event: Option<&'a [u8]>,
    /// The input of `start`.
    pub input: Option<&'a [u8]>,
    /// What `define` defines.
    pub define: Defining<'a>,
    /// What keeps it from being applied again, or to another state.
    pub conditions: Conditions<Cow<'a, str>>,
    /// Whether `start` replaces an instance that has not ended.
    pub force: bool,
    /// What is wanted of the answer.
    pub answer: Answering<'a>,
    /// What is to become of faults in what is explained, whatever the machine says.
    pub faults: Option<Faults>,
    /// Which entries of a list.
    pub list: Listing<'a, Cow<'a, str>>,
    /// How it goes from daemon to daemon.
    pub transit: Transit,
}

/// A definition and how it is to be taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defining<'a> {
    /// The definition.
    pub definition: Option<&'a [u8]>,
    /// The options.
    pub options: Option<&'a [u8]>,
}

/// How a request goes from daemon to daemon.
#[derive(Clone, Copy, Debug)]
pub struct Transit {
    /// Whether a daemon that does not own the key passes the request on; otherwise it answers `moved`.
    pub forward: bool,
    /// A daemon has sent it before, by itself, and did not hear the answer. No field of the client's: it stands in the header of what is
    /// passed on ([`crate::peer::frame::ForwardHeader::uncertain`]).
    pub uncertain: bool,
}

/// Entries of one page of a list at most.
pub const PAGE_MAX: u64 = 1_000;

const NOT_A_REQUEST: &str = "a frame is a map in MessagePack or JSON, or an array of such maps";
const OPS_HINT: &str = "the ops are send, tell, start, get, stop, retry, skip, delete, history, explain, where, define, machines, list, members, \
                        placement and ping";
/// The page stands in the repository, which who only has a program may not.
const FIELDS_HINT: &str =
    concat!("docs/reference/protocol.md of ", env!("CARGO_PKG_REPOSITORY"), " lists the fields of each op");

/// The requests of a frame that holds an array; `None` if it is no array.
///
/// # Errors
/// The array is malformed, or has more than `max` requests.
pub fn split_batch(frame: &[u8], encoding: Encoding, max: usize) -> Result<Option<Vec<&[u8]>>, Refusal<'_>> {
    let first = frame.iter().find(|byte| encoding == Encoding::MsgPack || !byte.is_ascii_whitespace());
    match (encoding, first) {
        (Encoding::Json, Some(b'[')) | (Encoding::MsgPack, Some(0x90..=0x9f | 0xdc | 0xdd)) => {}
        _ => return Ok(None),
    }
    let items = match encoding {
        Encoding::MsgPack => msgpack::Reader::new(frame).array(max),
        Encoding::Json => json::Reader::new(frame).array(max),
    };
    match items {
        Ok(Some(items)) => Ok(Some(items)),
        Ok(None) => Err(Refusal::new(
            None,
            ErrorCode::BatchTooLarge,
            format!("the array has more than {max} requests (limits.batch)"),
            "send several smaller arrays",
        )),
        Err(error) => {
            let message = format!("malformed array of requests: {error}");
            Err(Refusal::new(None, ErrorCode::BadRequest, message, NOT_A_REQUEST))
        }
    }
}

/// A field that is there and has the wrong type.
struct Wrong {
    name: &'static str,
    wanted: &'static str,
}

/// What is read of a request before it is known whether it is one.
struct Draft<'a> {
    request: Request<'a>,
    op: Option<Cow<'a, [u8]>>,
    has_machine: bool,
    has_key: bool,
    has_type: bool,
    /// The first of them.
    wrong: Option<Wrong>,
}

impl<'a> Draft<'a> {
    fn new(encoding: Encoding) -> Self {
        let none = Cow::Borrowed("");
        let request = Request {
            encoding,
            op: Op::Ping,
            id: None,
            machine: none.clone(),
            key: none.clone(),
            event_type: none,
            event: None,
            input: None,
            define: Defining::default(),
            conditions: Conditions::default(),
            force: false,
            answer: Answering::default(),
            faults: None,
            list: Listing::default(),
            transit: Transit { forward: true, uncertain: false },
        };
        Self { request, op: None, has_machine: false, has_key: false, has_type: false, wrong: None }
    }

    /// Reads the fields one after another; on an error, what came before it is still there.
    fn read(&mut self, mut scan: impl Scan<'a>) -> Result<(), DecodeError> {
        scan.map(|name, scan| self.field(name, scan))?;
        scan.finish()
    }

    #[inline]
    fn field(&mut self, name: &[u8], scan: &mut impl Scan<'a>) -> Result<(), DecodeError> {
        match name {
            b"id" => self.request.id = Some(scan.checked()?),
            b"op" => {
                self.op = scan.text_bytes()?;
                self.check("op", "a string", self.op.is_some());
            }
            b"machine" => {
                let machine = self.text("machine", scan)?;
                self.has_machine = machine.is_some();
                self.request.machine = machine.unwrap_or_default();
            }
            b"key" => {
                let key = self.text("key", scan)?;
                self.has_key = key.is_some();
                self.request.key = key.unwrap_or_default();
            }
            b"event" => self.event(scan)?,
            b"input" => self.request.input = Some(scan.value()?),
            b"definition" => self.request.define.definition = Some(scan.value()?),
            b"options" => self.request.define.options = Some(scan.value()?),
            b"dedup" => self.request.conditions.dedup = self.text("dedup", scan)?,
            b"until" => self.request.answer.until = Some(scan.value()?),
            b"within" => {
                self.request.answer.within_ms = scan.uint()?;
                self.check("within", "a whole number of milliseconds", self.request.answer.within_ms.is_some());
            }
            b"faults" => {
                self.request.faults = scan.text()?.as_deref().and_then(Faults::named);
                self.check("faults", "\"hold\" or \"fail\"", self.request.faults.is_some());
            }
            b"force" => self.request.force = self.bool("force", scan)?.unwrap_or_default(),
            b"if_run" => self.if_run(scan)?,
            b"if_seq" => {
                self.request.conditions.if_seq = scan.uint()?;
                self.check("if_seq", "a whole number", self.request.conditions.if_seq.is_some());
            }
            b"where" => self.request.list.filter = Some(scan.value()?),
            b"counts" => self.request.list.counts = self.bool("counts", scan)?.unwrap_or_default(),
            b"after" => self.request.list.after = self.text("after", scan)?,
            b"forward" => self.request.transit.forward = self.bool("forward", scan)?.unwrap_or(true),
            b"timing" => self.request.answer.timing = self.bool("timing", scan)?.unwrap_or_default(),
            b"limit" => {
                self.request.list.limit = scan.uint()?.filter(|limit| (1..=PAGE_MAX).contains(limit));
                self.check("limit", "a whole number from 1 to 1,000", self.request.list.limit.is_some());
            }
            _ => scan.skip()?,
        }
        Ok(())
    }

    fn text(&mut self, name: &'static str, scan: &mut impl Scan<'a>) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let text = scan.text()?;
        self.check(name, "a string", text.is_some());
        Ok(text)
    }

    fn if_run(&mut self, scan: &mut impl Scan<'a>) -> Result<(), DecodeError> {
        self.request.conditions.if_run = scan.text()?.as_deref().and_then(RunId::parse);
        self.check("if_run", "a run as replies have it, in hexadecimal", self.request.conditions.if_run.is_some());
        Ok(())
    }

    fn bool(&mut self, name: &'static str, scan: &mut impl Scan<'a>) -> Result<Option<bool>, DecodeError> {
        let bool = scan.bool()?;
        self.check(name, "true or false", bool.is_some());
        Ok(bool)
    }

    /// Notes that a field is not what it must be.
    fn check(&mut self, name: &'static str, wanted: &'static str, is_right: bool) {
        if !is_right {
            self.wrong.get_or_insert(Wrong { name, wanted });
        }
    }

    /// The event and, in the same pass, its type.
    fn event(&mut self, scan: &mut impl Scan<'a>) -> Result<(), DecodeError> {
        let mut kind = None;
        let event = scan.map_value(|name, scan| {
            if name == b"type" {
                kind = scan.text()?;
                Ok(())
            } else {
                scan.skip()
            }
        })?;
        self.has_type = kind.is_some();
        self.request.event = Some(event);
        self.request.event_type = kind.unwrap_or_default();
        Ok(())
    }

    /// Checks that all is there that the op needs.
    fn finish(&mut self) -> Result<(), Refusal<'a>> {
        if let Some(Wrong { name, wanted }) = &self.wrong {
            return Err(self.wrong(name, wanted));
        }
        let Some(name) = &self.op else {
            let message = "the request has no \"op\"".to_owned();
            return Err(Refusal::new(self.request.id, ErrorCode::MissingField, message, OPS_HINT));
        };
        let Some(op) = Op::named(name) else {
            let shown: String = String::from_utf8_lossy(name).chars().take(40).collect();
            let message = format!("there is no op \"{shown}\"");
            return Err(Refusal::new(self.request.id, ErrorCode::UnknownOp, message, OPS_HINT));
        };
        self.request.op = op;
        let named = op.class() == Class::Keyed || op == Op::Where;
        if named && !self.has_machine {
            return Err(self.missing("machine"));
        }
        if named && !self.has_key {
            return Err(self.missing("key"));
        }
        if named && self.request.key.is_empty() {
            return Err(self.wrong("key", "a string that is not empty"));
        }
        if matches!(op, Op::Send | Op::Tell | Op::Explain) && !self.has_type {
            return Err(match self.request.event {
                None => self.missing("event"),
                Some(_) => self.wrong("event", "a map with a string \"type\", e.g. {\"type\":\"PAY\"}"),
            });
        }
        if op == Op::Define && self.request.define.definition.is_none() {
            return Err(self.missing("definition"));
        }
        Ok(())
    }

    fn missing(&self, name: &str) -> Refusal<'a> {
        let message = format!("op \"{}\" needs \"{name}\"", self.request.op.as_str());
        Refusal::new(self.request.id, ErrorCode::MissingField, message, FIELDS_HINT)
    }

    fn wrong(&self, name: &str, wanted: &str) -> Refusal<'a> {
        Refusal::new(self.request.id, ErrorCode::WrongType, format!("\"{name}\" must be {wanted}"), FIELDS_HINT)
    }
}

impl<'a> Request<'a> {
    /// Reads a request; the frame's payload is only cut out of it.
    ///
    /// # Errors
    /// It is no map, or misses a field that its op needs, or a field has the wrong type.
    pub fn parse(frame: &'a [u8], encoding: Encoding) -> Result<Self, Refusal<'a>> {
        let mut draft = Draft::new(encoding);
        let read = match encoding {
            Encoding::MsgPack => draft.read(msgpack::Reader::new(frame)),
            Encoding::Json => draft.read(json::Reader::new(frame)),
        };
        match read {
            Ok(()) => draft.finish().map(|()| draft.request),
            Err(error) => {
                let message = format!("malformed request: {error}");
                Err(Refusal::new(draft.request.id, ErrorCode::BadRequest, message, NOT_A_REQUEST))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn both(value: &serde_json::Value, check: impl Fn(Result<Request<'_>, Refusal<'_>>)) {
        let json = serde_json::to_vec(value).unwrap();
        check(Request::parse(&json, Encoding::of(&json)));
        let packed = rmp_serde::to_vec(value).unwrap();
        check(Request::parse(&packed, Encoding::of(&packed)));
    }

    #[test]
    fn a_send_is_read_in_both_encodings_and_unknown_fields_do_not_matter() {
        let value = json!({"x": [1, {"y": 2}], "op": "send", "id": 7, "machine": "order", "key": "a/é",
            "event": {"n": 1, "type": "PAY"}, "dedup": "t"});
        both(&value, |request| {
            let request = request.unwrap();
            assert_eq!((request.op, &*request.machine, &*request.key), (Op::Send, "order", "a/é"));
            assert_eq!((&*request.event_type, request.conditions.dedup.as_deref()), ("PAY", Some("t")));
            assert!(request.id.is_some());
        });
    }

    #[test]
    fn who_names_no_op_is_told_which_there_are() {
        let refused = Request::parse(br#"{"op":"sned"}"#, Encoding::Json).unwrap_err();
        let words: Vec<_> = refused.hint.split([' ', ',']).collect();
        for op in Op::ALL.iter().filter(|op| **op != Op::Instances) {
            assert!(words.contains(&op.as_str()), "{}", op.as_str());
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_a_stable_code() {
        let cases = [
            (json!({"op": "frob"}), ErrorCode::UnknownOp),
            (json!({"op": 7}), ErrorCode::WrongType),
            (json!({}), ErrorCode::MissingField),
            (json!({"op": "send", "machine": "m"}), ErrorCode::MissingField),
            (json!({"op": "send", "machine": 1, "key": "k"}), ErrorCode::WrongType),
            (json!({"op": "send", "machine": "m", "key": "k"}), ErrorCode::MissingField),
            (json!({"op": "send", "machine": "m", "key": "k", "event": {}}), ErrorCode::WrongType),
            (json!({"op": "send", "machine": "m", "key": "k", "event": 3}), ErrorCode::WrongType),
            (json!({"op": "define"}), ErrorCode::MissingField),
            (
                json!({"op": "explain", "machine": "m", "key": "k", "event": {"type": "E"}, "faults": "f"}),
                ErrorCode::WrongType,
            ),
            (json!({"op": "instances", "machine": "m", "limit": "x"}), ErrorCode::WrongType),
            (json!({"op": "list", "limit": 0}), ErrorCode::WrongType),
            (json!({"op": "list", "limit": PAGE_MAX + 1}), ErrorCode::WrongType),
            (json!({"op": "send", "machine": "m", "key": "", "event": {"type": "E"}}), ErrorCode::WrongType),
            (json!({"op": "where", "machine": "m", "key": ""}), ErrorCode::WrongType),
            (json!(3), ErrorCode::BadRequest),
        ];
        for (value, code) in cases {
            both(&value, |request| assert_eq!(request.unwrap_err().code, code, "{value}"));
        }
    }

    #[test]
    fn names_and_ops_are_compared_as_bytes_after_their_escapes() {
        let escaped = br#"{"\u006fp":"p\u0069ng","\u00e9":1}"#;
        assert_eq!(Request::parse(escaped, Encoding::Json).unwrap().op, Op::Ping);
        let codes =
            [(&b"\x81\xa2op\xa1\xff"[..], ErrorCode::UnknownOp), (b"\x81\xa1\xff\x01", ErrorCode::MissingField)];
        for (frame, code) in codes {
            assert_eq!(Request::parse(frame, Encoding::MsgPack).unwrap_err().code, code, "{frame:?}");
        }
    }

    #[test]
    fn a_batch_is_cut_into_its_requests() {
        let json = br#" [ {"op":"ping"} , {"op":"members"} ] "#;
        let requests = split_batch(json, Encoding::of(json), 10).unwrap().unwrap();
        assert_eq!(requests, [&br#"{"op":"ping"}"#[..], br#"{"op":"members"}"#]);
        assert_eq!(split_batch(json, Encoding::of(json), 1).unwrap_err().code, ErrorCode::BatchTooLarge);
        let packed = rmp_serde::to_vec(&json!([{"op": "ping"}, {"op": "ping"}])).unwrap();
        assert_eq!(split_batch(&packed, Encoding::of(&packed), 10).unwrap().unwrap().len(), 2);
        // An array of four thousand million, with nothing behind it.
        let lie = [0xdd, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(split_batch(&lie, Encoding::of(&lie), 10).unwrap_err().code, ErrorCode::BadRequest);
    }
}
