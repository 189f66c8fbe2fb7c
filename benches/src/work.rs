//! The work that every contender does: a 64-byte event to one of 1,000 keys, answered with the new state.
//!
//! Requests are made before the clock runs. Each begins with its `id` as a 32-bit MessagePack integer, so a client writes the
//! id in place and finds it in the reply without decoding either.

use std::sync::Arc;

use statemesh_load::{Answer, Pace, Refusal, Said, Verdict};

/// Bytes of one request.
pub(crate) const REQUEST_BYTES: usize = 64;
/// Instances that the events are spread over.
pub(crate) const KEYS: usize = 1_000;
/// Where the id's four bytes begin in a request: after the map's header, the key `id` and the integer's tag.
const ID_AT: usize = 5;
const ID_KEY: [u8; 4] = [0xa2, b'i', b'd', 0xce];
const OK_TRUE: [u8; 4] = [0xa2, b'o', b'k', 0xc3];
const OP_KEY: [u8; 3] = [0xa2, b'o', b'p'];

/// The requests of a round, used in turn.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    requests: Arc<[[u8; REQUEST_BYTES]]>,
}

impl Work {
    /// `NEXT` to each of these keys of the machine `lamp`. Keys are as long as [`keys`] makes them.
    pub(crate) fn new(keys: &[String]) -> Self {
        Self { requests: keys.iter().filter_map(|key| send_next(key).try_into().ok()).collect() }
    }

    /// The request of this turn, with an id.
    pub(crate) fn request(&self, turn: usize, id: u32) -> [u8; REQUEST_BYTES] {
        let mut request = self.requests[turn % self.requests.len()];
        request[ID_AT..ID_AT + 4].copy_from_slice(&id.to_be_bytes());
        request
    }

    /// All of them, one after another, for a client in another language.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.requests.concat()
    }
}

/// Keys that make a request exactly [`REQUEST_BYTES`] long.
pub(crate) fn keys(from: usize, count: usize) -> Vec<String> {
    let spare = REQUEST_BYTES - send_next("").len();
    (from..from + count).map(|n| format!("{n:0spare$}")).collect()
}

fn send_next(key: &str) -> Vec<u8> {
    let mut request = vec![0x85];
    request.extend(ID_KEY);
    request.extend([0; 4]);
    for (name, value) in [("op", "send"), ("machine", "lamp"), ("key", key)] {
        text(&mut request, name);
        text(&mut request, value);
    }
    text(&mut request, "event");
    request.push(0x81);
    text(&mut request, "type");
    text(&mut request, "NEXT");
    request
}

/// A MessagePack string of at most 31 bytes.
fn text(out: &mut Vec<u8>, text: &str) {
    out.push(0xa0 | u8::try_from(text.len()).unwrap_or(0));
    out.extend(text.as_bytes());
}

/// Requests in flight at most, also in an open loop: beyond it the schedule waits, and that wait counts.
const SLOTS: usize = 65_536;

/// Work as one client does it: the keys in turn, whichever slot is free.
#[derive(Debug)]
pub(crate) struct Turns<'a> {
    work: &'a Work,
    slots: usize,
    turn: usize,
    request: [u8; REQUEST_BYTES],
}

impl<'a> Turns<'a> {
    pub(crate) fn new(work: &'a Work, pace: Pace) -> Self {
        let slots = match pace {
            Pace::Closed { in_flight } => in_flight.min(SLOTS),
            Pace::Open { .. } => SLOTS,
        };
        Self { work, slots, turn: 0, request: [0; REQUEST_BYTES] }
    }
}

impl statemesh_load::Work for Turns<'_> {
    fn slots(&self) -> usize {
        self.slots
    }

    fn request(&mut self, _slot: usize, id: u32) -> &[u8] {
        self.request = self.work.request(self.turn, id);
        self.turn += 1;
        &self.request
    }

    fn read(&mut self, reply: &[u8]) -> Option<Answer> {
        let (id, good) = answer(reply)?;
        let refused = || Verdict::Refused(Box::new(Refusal { code: "refused".to_owned(), message: String::new() }));
        Some(Answer { id, verdict: if good { Verdict::Done } else { refused() }, said: Said::default() })
    }
}

/// Reads a reply as far as a client has to: the request's id, and whether it says `ok`, or is the request itself, as an echo
/// gives it back.
fn answer(reply: &[u8]) -> Option<(u32, bool)> {
    let header = match reply.first()? {
        0x80..=0x8f => 1,
        0xde => 3,
        _ => return None,
    };
    let rest = reply.get(header..)?.strip_prefix(&ID_KEY)?;
    let (id, rest) = rest.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*id), rest.starts_with(&OK_TRUE) || rest.starts_with(&OP_KEY)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_64_bytes_and_its_echo_is_a_good_answer() {
        let work = Work::new(&keys(7, 10));
        let request = work.request(3, 0x0102_0304);
        assert_eq!(answer(&request), Some((0x0102_0304, true)));
        assert_ne!(work.request(4, 1), work.request(5, 1), "turns go to different keys");
    }

    #[test]
    fn an_error_is_no_good_answer() {
        let refused = [&[0x83][..], &ID_KEY, &[0, 0, 0, 9], &[0xa2, b'o', b'k', 0xc2]].concat();
        assert_eq!(answer(&refused), Some((9, false)));
        assert_eq!(answer(b"{\"id\":1}"), None);
        assert_eq!(answer(&[]), None);
    }
}
