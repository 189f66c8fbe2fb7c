//! Events to instances of one machine, each with a `dedup` token, and the books about them; and the look at the instances that
//! proves the books at the end. Both in MessagePack.

use serde::{Deserialize, Serialize};
use statemesh_mesh::client_protocol::error::{Advice, ErrorCode};

use crate::books::{Books, Seq};
use crate::schedule::MAX_SLOTS;
use crate::work::{Answer, Refusal, Verdict, Work};

/// Characters of an error's message that are kept.
const MAX_MESSAGE: usize = 300;

/// One event after another to each of some keys.
#[derive(Debug)]
pub struct Sends {
    machine: String,
    event: String,
    keys: Vec<String>,
    /// Events so far, by key: the token of the one that is under way.
    counts: Vec<u64>,
    books: Books,
    request: Vec<u8>,
}

#[derive(Serialize)]
struct Request<'a> {
    id: u32,
    op: &'a str,
    machine: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Event<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedup: Option<String>,
}

#[derive(Serialize)]
struct Event<'a> {
    r#type: &'a str,
}

#[derive(Deserialize)]
struct Reply {
    id: u32,
    ok: bool,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    changed: bool,
    #[serde(default)]
    restarted: bool,
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    code: String,
    #[serde(default)]
    message: String,
}

impl Sends {
    /// Events of this type to instances that nobody else writes and that do not exist yet (at most [`MAX_SLOTS`]).
    #[must_use]
    pub fn new(machine: &str, event: &str, keys: Vec<String>) -> Self {
        let (counts, books) = (vec![0; keys.len()], Books::new(keys.len()));
        Self { machine: machine.to_owned(), event: event.to_owned(), keys, counts, books, request: Vec::new() }
    }

    /// What the answers said so far.
    #[must_use]
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// A look at each of the same instances; [`Sends::prove`] takes what was found.
    #[must_use]
    pub fn gets(&self) -> Each {
        self.each("get")
    }

    /// The end of each of the same instances.
    #[must_use]
    pub fn stops(&self) -> Each {
        self.each("stop")
    }

    fn each(&self, op: &'static str) -> Each {
        let (machine, keys) = (self.machine.clone(), self.keys.clone());
        Each { op, machine, seen: vec![None; keys.len()], keys, request: Vec::new() }
    }

    /// Compares the books with what is there, and closes them. Says of how many instances that is known.
    pub fn prove(mut self, gets: &Each) -> (Books, usize) {
        let seen = gets.seen.iter().enumerate().filter_map(|(key, seq)| Some((key, (*seq)?)));
        let known = seen.map(|(key, seq)| self.books.seen(key, seq)).count();
        (self.books, known)
    }

    fn next(&mut self, slot: usize) {
        if let Some(count) = self.counts.get_mut(slot) {
            *count += 1;
        }
    }
}

impl Work for Sends {
    fn slots(&self) -> usize {
        self.keys.len().min(MAX_SLOTS)
    }

    fn request(&mut self, slot: usize, id: u32) -> &[u8] {
        let key = self.keys.get(slot).map_or("", String::as_str);
        let (event, dedup) = (Some(Event { r#type: &self.event }), self.counts.get(slot).map(u64::to_string));
        let request = Request { id, op: "send", machine: &self.machine, key, event, dedup };
        write(&mut self.request, &request)
    }

    fn read(&mut self, reply: &[u8]) -> Option<Answer> {
        let reply: Reply = rmp_serde::from_slice(reply).ok()?;
        let seq = Seq { seq: reply.seq, changed: reply.changed, restarted: reply.restarted };
        Some(Answer { id: reply.id, verdict: verdict(reply.ok, reply.error), seq })
    }

    fn done(&mut self, slot: usize, answer: &Answer) {
        self.books.acknowledged(slot, answer.seq);
        self.next(slot);
    }

    fn given_up(&mut self, slot: usize, applied: bool) {
        if applied {
            self.books.unknown(slot);
        }
        self.next(slot);
    }
}

/// The same request to each instance, one that may be sent again without a token.
#[derive(Debug)]
pub struct Each {
    op: &'static str,
    machine: String,
    keys: Vec<String>,
    seen: Vec<Option<u64>>,
    request: Vec<u8>,
}

impl Each {
    /// Instances that have answered, or are known not to be there.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.seen.iter().flatten().count()
    }
}

impl Work for Each {
    fn slots(&self) -> usize {
        self.keys.len().min(MAX_SLOTS)
    }

    fn request(&mut self, slot: usize, id: u32) -> &[u8] {
        let key = self.keys.get(slot).map_or("", String::as_str);
        let request = Request { id, op: self.op, machine: &self.machine, key, event: None, dedup: None };
        write(&mut self.request, &request)
    }

    /// An instance that is not there is an answer too: it has no transition.
    fn read(&mut self, reply: &[u8]) -> Option<Answer> {
        let reply: Reply = rmp_serde::from_slice(reply).ok()?;
        let missing = reply.error.as_ref().is_some_and(|error| error.code == ErrorCode::UnknownInstance.as_str());
        let seq = Seq { seq: reply.seq, ..Seq::default() };
        Some(Answer { id: reply.id, verdict: verdict(reply.ok || missing, reply.error), seq })
    }

    fn done(&mut self, slot: usize, answer: &Answer) {
        if let Some(seen) = self.seen.get_mut(slot) {
            *seen = Some(answer.seq.seq);
        }
    }
}

fn write<'a>(buffer: &'a mut Vec<u8>, request: &Request<'_>) -> &'a [u8] {
    buffer.clear();
    // A Vec takes everything, and each field has a form.
    let _ = rmp_serde::encode::write_named(buffer, request);
    buffer
}

/// What the protocol says to do about an error.
fn verdict(good: bool, error: Option<Error>) -> Verdict {
    if good {
        return Verdict::Done;
    }
    let Error { code, message } = error.unwrap_or_else(|| Error { code: "no_code".into(), message: String::new() });
    let advice = ErrorCode::ALL.iter().find(|known| known.as_str() == code).map(|known| known.advice());
    let why = Box::new(Refusal { code, message: message.chars().take(MAX_MESSAGE).collect() });
    match advice {
        Some(Advice::Retry | Advice::RetryWithDedup) => Verdict::Again(why),
        Some(Advice::RetryElsewhere) => Verdict::Elsewhere(why),
        Some(Advice::Fix) | None => Verdict::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sends() -> Sends {
        Sends::new("counter", "ADD", vec!["a".into(), "b".into()])
    }

    fn refused(code: &str) -> Verdict {
        let error = Error { code: code.to_owned(), message: String::new() };
        verdict(false, Some(error))
    }

    #[test]
    fn a_request_that_is_sent_again_has_the_same_token_and_the_next_one_another() {
        let mut sends = sends();
        let token = |request: &[u8]| {
            let end = request.windows(7).position(|at| at == b"\xa5dedup\xa1").unwrap() + 7;
            request[end]
        };
        assert_eq!(token(sends.request(0, 1)), b'0');
        assert_eq!(token(sends.request(0, 2)), b'0');
        sends.given_up(0, true);
        assert_eq!(token(sends.request(0, 3)), b'1');
        assert_eq!(token(sends.request(1, 4)), b'0');
    }

    #[test]
    fn errors_are_treated_as_the_protocol_says() {
        assert!(matches!(refused("timeout"), Verdict::Again(_)));
        assert!(matches!(refused("moving"), Verdict::Again(_)));
        assert!(matches!(refused("leaving"), Verdict::Elsewhere(_)));
        assert!(matches!(refused("unknown_machine"), Verdict::Refused(_)));
        assert!(matches!(refused("made_up"), Verdict::Refused(_)));
    }

    #[test]
    fn a_look_at_the_end_finds_what_is_missing() {
        let mut sends = sends();
        let seq = Seq { seq: 1, changed: true, restarted: false };
        sends.done(0, &Answer { id: 0, verdict: Verdict::Done, seq });
        let mut gets = sends.gets();
        let reply = rmp_serde::to_vec_named(&std::collections::BTreeMap::from([("id", 7)])).unwrap();
        assert_eq!(gets.read(&reply), None);
        gets.done(0, &Answer { id: 0, verdict: Verdict::Done, seq: Seq::default() });
        let (books, known) = sends.prove(&gets);
        assert_eq!((books.lost, books.doubled, known), (1, 0, 1));
    }

    #[test]
    fn an_instance_that_is_gone_needs_no_end() {
        let mut stops = sends().stops();
        assert!(stops.request(0, 1).windows(8).any(|at| at == b"\xa2op\xa4stop"));
        let reply = b"\x83\xa2id\x01\xa2ok\xc2\xa5error\x81\xa4code\xb0unknown_instance";
        let answer = stops.read(reply).unwrap();
        assert_eq!(answer.verdict, Verdict::Done);
        stops.done(0, &answer);
        assert_eq!(stops.answered(), 1);
    }
}
