//! A request that outlives the call that made it: it owns what it says, so that it can be written once more for another attempt.

use statemesh_protocol::reply::Encoding;
use statemesh_protocol::request::{Faults, Op};
use statemesh_protocol::request_parts::{Answering, Conditions, Listing};
use statemesh_protocol::request_writer::{Ask, Event};

/// An [`Ask`] that owns its texts and payloads.
#[derive(Clone, Debug)]
pub(crate) struct KeptAsk {
    op: Op,
    encoding: Encoding,
    machine: Option<Box<str>>,
    key: Option<Box<str>>,
    event: Option<KeptEvent>,
    input: Option<Box<[u8]>>,
    definition: Option<Box<[u8]>>,
    options: Option<Box<[u8]>>,
    conditions: Conditions<Box<str>>,
    force: bool,
    answer: KeptAnswering,
    faults: Option<Faults>,
    forward: bool,
    list: KeptListing,
}

#[derive(Clone, Debug)]
enum KeptEvent {
    Named(Box<str>),
    Whole(Box<[u8]>),
}

#[derive(Clone, Debug)]
struct KeptAnswering {
    until: Option<Box<[u8]>>,
    within_ms: Option<u64>,
    timing: bool,
}

#[derive(Clone, Debug)]
struct KeptListing {
    limit: Option<u64>,
    after: Option<Box<str>>,
    filter: Option<Box<[u8]>>,
    counts: bool,
}

impl KeptAsk {
    /// Keeps a request.
    pub(crate) fn new(ask: &Ask<'_>) -> Self {
        let Ask { conditions, answer, list, .. } = ask;
        Self {
            op: ask.op,
            encoding: ask.encoding,
            machine: ask.machine.map(Box::from),
            key: ask.key.map(Box::from),
            event: ask.event.map(|event| match event {
                Event::Named(kind) => KeptEvent::Named(kind.into()),
                Event::Whole(event) => KeptEvent::Whole(event.into()),
            }),
            input: ask.input.map(Box::from),
            definition: ask.definition.map(Box::from),
            options: ask.options.map(Box::from),
            conditions: Conditions {
                dedup: conditions.dedup.map(Box::from),
                if_run: conditions.if_run,
                if_seq: conditions.if_seq,
            },
            force: ask.force,
            answer: KeptAnswering {
                until: answer.until.map(Box::from),
                within_ms: answer.within_ms,
                timing: answer.timing,
            },
            faults: ask.faults,
            forward: ask.forward,
            list: KeptListing {
                limit: list.limit,
                after: list.after.map(Box::from),
                filter: list.filter.map(Box::from),
                counts: list.counts,
            },
        }
    }

    /// Gives it a token, which makes it harmless to send it again.
    pub(crate) fn give_token(&mut self, token: String) {
        self.conditions.dedup = Some(token.into());
    }

    /// The request.
    pub(crate) fn ask(&self) -> Ask<'_> {
        let Self { conditions, answer, list, .. } = self;
        Ask {
            op: self.op,
            encoding: self.encoding,
            machine: self.machine.as_deref(),
            key: self.key.as_deref(),
            event: self.event.as_ref().map(|event| match event {
                KeptEvent::Named(kind) => Event::Named(kind),
                KeptEvent::Whole(event) => Event::Whole(event),
            }),
            input: self.input.as_deref(),
            definition: self.definition.as_deref(),
            options: self.options.as_deref(),
            conditions: Conditions {
                dedup: conditions.dedup.as_deref(),
                if_run: conditions.if_run,
                if_seq: conditions.if_seq,
            },
            force: self.force,
            answer: Answering { until: answer.until.as_deref(), within_ms: answer.within_ms, timing: answer.timing },
            faults: self.faults,
            forward: self.forward,
            list: Listing {
                limit: list.limit,
                after: list.after.as_deref(),
                filter: list.filter.as_deref(),
                counts: list.counts,
            },
        }
    }

    /// Bytes of what a request says.
    pub(crate) fn bytes_of(ask: &Ask<'_>) -> usize {
        let texts = [ask.machine, ask.key, ask.conditions.dedup, ask.list.after];
        let payloads = [ask.input, ask.definition, ask.options, ask.answer.until, ask.list.filter];
        let event = ask.event.map_or(0, |event| match event {
            Event::Named(kind) => kind.len(),
            Event::Whole(event) => event.len(),
        });
        let texts = texts.into_iter().flatten().map(str::len);
        event + texts.chain(payloads.into_iter().flatten().map(<[u8]>::len)).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statemesh_protocol::run::RunId;

    fn written(ask: &Ask<'_>) -> String {
        let mut out = Vec::new();
        ask.write(7, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_kept_request_is_written_as_the_one_that_was_made() {
        let whole = Ask {
            event: Some(Event::Whole(br#"{"type":"PAY"}"#)),
            input: Some(b"1"),
            definition: Some(b"2"),
            options: Some(b"3"),
            conditions: Conditions { dedup: Some("t"), if_run: Some(RunId(5)), if_seq: Some(4) },
            force: true,
            answer: Answering { until: Some(b"4"), within_ms: Some(9), timing: true },
            faults: Some(Faults::Hold),
            forward: false,
            list: Listing { limit: Some(3), after: Some("a"), filter: Some(b"5"), counts: true },
            ..Ask::about(Op::Send, Encoding::Json, "order", "42")
        };
        let named = Ask { event: Some(Event::Named("PAY")), ..Ask::new(Op::Explain, Encoding::Json) };
        for ask in [whole, named, Ask::new(Op::Ping, Encoding::Json)] {
            assert_eq!(written(&KeptAsk::new(&ask).ask()), written(&ask));
        }
        assert_eq!(KeptAsk::bytes_of(&whole), "order42".len() + "t".len() + "a".len() + 14 + 5);
    }

    #[test]
    fn a_token_that_is_given_is_written() {
        let mut kept = KeptAsk::new(&Ask::about(Op::Stop, Encoding::Json, "m", "k"));
        kept.give_token("t-1".to_owned());
        assert!(written(&kept.ask()).contains(r#""dedup":"t-1""#));
    }
}
