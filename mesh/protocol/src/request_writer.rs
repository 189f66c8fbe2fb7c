//! Writing requests: what a client asks, in either encoding. [`super::request`] reads what is written here.

use super::reply::{Encoding, MapWriter, write_str};
use super::request::{Faults, Op};
use super::request_parts::{Answering, Conditions, Listing};

/// The event of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Of this type, with no other field.
    Named(&'a str),
    /// A whole map with a `type`, in the request's encoding.
    Whole(&'a [u8]),
}

/// Which instances a `list` has, before it is written. What is not said does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter<'a> {
    /// What the key begins with.
    pub prefix: Option<&'a str>,
    /// A state that the instance is in.
    pub state: Option<&'a str>,
    /// A tag that it has.
    pub tag: Option<&'a str>,
    /// Its status.
    pub status: Option<&'a str>,
    /// Whether it is stuck.
    pub stuck: Option<bool>,
    /// Its life began at least so long ago.
    pub older_ms: Option<u64>,
    /// Its life began at most so long ago.
    pub younger_ms: Option<u64>,
}

impl Filter<'_> {
    /// As `where` has it; `None` if nothing is said.
    #[must_use]
    pub fn written(&self, encoding: Encoding) -> Option<Vec<u8>> {
        if *self == Filter::default() {
            return None;
        }
        let mut out = Vec::new();
        let mut map = MapWriter::new(&mut out, encoding);
        let texts = [("prefix", self.prefix), ("state", self.state), ("tag", self.tag), ("status", self.status)];
        for (name, text) in texts {
            if let Some(text) = text {
                map.str(name, text);
            }
        }
        if let Some(stuck) = self.stuck {
            map.bool("stuck", stuck);
        }
        for (name, ms) in [("older_ms", self.older_ms), ("younger_ms", self.younger_ms)] {
            if let Some(ms) = ms {
                map.uint(name, ms);
            }
        }
        map.end();
        Some(out)
    }
}

/// A request before it is written. What is `None` is left out; payloads are whole values in `encoding`.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What is asked for.
    pub op: Op,
    /// How it is written, and so how it is answered.
    pub encoding: Encoding,
    /// The machine's name.
    pub machine: Option<&'a str>,
    /// The instance's key.
    pub key: Option<&'a str>,
    /// For `send`, `tell` and `explain`.
    pub event: Option<Event<'a>>,
    /// For `start`.
    pub input: Option<&'a [u8]>,
    /// For `define`.
    pub definition: Option<&'a [u8]>,
    /// For `define`.
    pub options: Option<&'a [u8]>,
    /// What keeps it from being applied again, or to another state.
    pub conditions: Conditions<&'a str>,
    /// Whether `start` replaces an instance that has not ended.
    pub force: bool,
    /// What is wanted of the answer.
    pub answer: Answering<'a>,
    /// For `explain`: what is to become of faults.
    pub faults: Option<Faults>,
    /// Whether a daemon that does not serve the key passes the request on.
    pub forward: bool,
    /// Which entries of a list.
    pub list: Listing<'a, &'a str>,
}

impl<'a> Ask<'a> {
    /// A request without any field.
    #[must_use]
    pub fn new(op: Op, encoding: Encoding) -> Self {
        Self {
            op,
            encoding,
            machine: None,
            key: None,
            event: None,
            input: None,
            definition: None,
            options: None,
            conditions: Conditions::default(),
            force: false,
            answer: Answering::default(),
            faults: None,
            forward: true,
            list: Listing::default(),
        }
    }

    /// A request about one instance.
    #[must_use]
    pub fn about(op: Op, encoding: Encoding, machine: &'a str, key: &'a str) -> Self {
        Self { machine: Some(machine), key: Some(key), ..Self::new(op, encoding) }
    }

    /// Writes it at the end of `out`; the reply carries `id`.
    pub fn write(&self, id: u64, out: &mut Vec<u8>) {
        let Self { conditions, answer, list, .. } = self;
        let mut map = MapWriter::new(out, self.encoding);
        map.uint("id", id).str("op", self.op.as_str());
        let texts = [("machine", self.machine), ("key", self.key), ("dedup", conditions.dedup), ("after", list.after)];
        for (name, text) in texts {
            if let Some(text) = text {
                map.str(name, text);
            }
        }
        if let Some(event) = self.event {
            write_event(&mut map, event);
        }
        let payloads = [
            ("input", self.input),
            ("definition", self.definition),
            ("options", self.options),
            ("where", list.filter),
            ("until", answer.until),
        ];
        for (name, payload) in payloads {
            if let Some(payload) = payload {
                map.raw(name, payload);
            }
        }
        if let Some(run) = conditions.if_run {
            map.str("if_run", &run.to_string());
        }
        let numbers = [("if_seq", conditions.if_seq), ("limit", list.limit), ("within", answer.within_ms)];
        for (name, number) in numbers {
            if let Some(number) = number {
                map.uint(name, number);
            }
        }
        if let Some(faults) = self.faults {
            map.str("faults", faults.as_str());
        }
        if self.force {
            map.bool("force", true);
        }
        if list.counts {
            map.bool("counts", true);
        }
        if !self.forward {
            map.bool("forward", false);
        }
        if answer.timing {
            map.bool("timing", true);
        }
        map.end();
    }
}

fn write_event(map: &mut MapWriter<'_>, event: Event<'_>) {
    match event {
        Event::Named(kind) => map.map("event", |event| {
            event.with("type", |out, encoding| write_str(out, encoding, kind));
        }),
        Event::Whole(event) => map.raw("event", event),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;
    use crate::run::RunId;

    fn written(ask: &Ask<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        ask.write(7, &mut out);
        out
    }

    #[test]
    fn what_is_written_is_read_as_it_was_meant() {
        for encoding in [Encoding::Json, Encoding::MsgPack] {
            let ask = Ask {
                event: Some(Event::Named("PAY \"now\"")),
                conditions: Conditions { dedup: Some("t"), if_run: Some(RunId(0xab)), if_seq: Some(4) },
                forward: false,
                answer: Answering { timing: true, ..Answering::default() },
                list: Listing { limit: Some(3), after: Some("é"), ..Listing::default() },
                ..Ask::about(Op::Send, encoding, "order", "a/é")
            };
            let frame = written(&ask);
            let read = Request::parse(&frame, Encoding::of(&frame)).unwrap();
            assert_eq!((read.op, &*read.machine, &*read.key), (Op::Send, "order", "a/é"));
            assert_eq!((&*read.event_type, read.transit.forward), ("PAY \"now\"", false));
            let Listing { limit, after, .. } = &read.list;
            assert_eq!((read.answer.timing, *limit, after.as_deref()), (true, Some(3), Some("é")));
            let Conditions { dedup, if_run, if_seq } = &read.conditions;
            assert_eq!((dedup.as_deref(), *if_run, *if_seq), (Some("t"), Some(RunId(0xab)), Some(4)));
            assert!(read.id.is_some());
        }
    }

    #[test]
    fn payloads_go_out_as_they_came() {
        let definition = b"{ \"id\" : \"a\",\n \"x\":1 }";
        let frame = written(&Ask { definition: Some(definition), ..Ask::new(Op::Define, Encoding::Json) });
        assert_eq!(Request::parse(&frame, Encoding::Json).unwrap().define.definition, Some(&definition[..]));
        let event = br#"{"type":"PAY","amount":3}"#;
        let ask = Ask { event: Some(Event::Whole(event)), ..Ask::about(Op::Send, Encoding::Json, "m", "k") };
        assert_eq!(Request::parse(&written(&ask), Encoding::Json).unwrap().event, Some(&event[..]));
    }

    #[test]
    fn a_filter_has_what_was_said() {
        let filter = Filter { state: Some("a.\"b\""), stuck: Some(false), older_ms: Some(5), ..Filter::default() };
        let written = filter.written(Encoding::Json).unwrap();
        assert_eq!(written, br#"{"state":"a.\"b\"","stuck":false,"older_ms":5}"#);
        assert_eq!(Filter::default().written(Encoding::Json), None);
    }

    #[test]
    fn what_is_not_given_is_not_there() {
        let frame = written(&Ask::new(Op::Ping, Encoding::Json));
        assert_eq!(frame, br#"{"id":7,"op":"ping"}"#);
    }
}
