//! The parts of a client's message in front of its request: they go back as they came, in front of the reply (RFC 28).
//!
//! A REQ puts an empty part there, one with `REQ_CORRELATE` a number as well, and each `zmq_proxy` on the way the name that it
//! gave its client. Most clients send nothing, or the empty part alone; any other envelope is kept until its request is
//! answered. What it takes is bounded with the requests: it is a part of their messages (`limits.parts`,
//! `limits.message_bytes`).

use slab::Slab;
use statemesh_transport::{ConnId, Io, Message};

use super::Worker;

/// What stands in front of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// Nothing.
    None,
    /// One empty part.
    Delimiter,
    /// Something else, which is kept under this name.
    Kept(Place),
}

/// Names an envelope that is kept; one that was used has no second life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    index: u32,
    generation: u32,
}

/// The parts of one envelope.
type Parts = Box<[Box<[u8]>]>;

/// The envelopes of requests that are not answered yet, as far as they have to be kept.
#[derive(Debug, Default)]
pub(super) struct Envelopes {
    kept: Slab<(u32, Parts)>,
    generation: u32,
}

impl Envelopes {
    /// The envelope of a message and its request; nothing if it is no more than one empty part: with that a socket with
    /// `PROBE_ROUTER` says that it is there.
    pub(super) fn open<'a>(&mut self, message: &'a Message) -> Option<(Envelope, &'a [u8])> {
        let front = message.len().checked_sub(1)?;
        let request = message.part_slice(front)?;
        match (front, message.part_slice(0)) {
            (0, Some([])) => None,
            (0, _) => Some((Envelope::None, request)),
            (1, Some([])) => Some((Envelope::Delimiter, request)),
            _ => Some((self.keep((0..front).filter_map(|part| message.part_slice(part))), request)),
        }
    }

    fn keep<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]>) -> Envelope {
        self.generation = self.generation.wrapping_add(1);
        // A copy: the message is a view of all that was read with it.
        let parts: Parts = parts.map(Box::from).collect();
        let generation = self.generation;
        let index = self.kept.insert((generation, parts));
        Envelope::Kept(Place { index: u32::try_from(index).unwrap_or(u32::MAX), generation })
    }

    /// Takes out the parts of an envelope that was kept.
    pub(super) fn take(&mut self, envelope: Envelope) -> Option<Parts> {
        let Envelope::Kept(Place { index, generation }) = envelope else { return None };
        let found = self.kept.get(index as usize)?.0 == generation;
        found.then(|| self.kept.remove(index as usize).1)
    }
}

impl Worker {
    /// Sends a client the reply to the request that came in this envelope.
    pub(super) fn send_in(&mut self, envelope: Envelope, conn: ConnId, reply: &[u8], io: &mut Io) {
        match envelope {
            Envelope::None => _ = io.send(conn, &[reply]),
            Envelope::Delimiter => _ = io.send(conn, &[b"", reply]),
            Envelope::Kept(_) => {
                let Some(front) = self.envelopes.take(envelope) else { return };
                let mut parts: Vec<&[u8]> = front.iter().map(AsRef::as_ref).collect();
                parts.push(reply);
                io.send(conn, &parts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(parts: &[&[u8]]) -> Message {
        Message::multipart(parts.iter().map(|part| Bytes::copy_from_slice(part)))
    }

    #[test]
    fn the_last_part_is_the_request_and_the_parts_before_it_are_kept_as_they_came() {
        let mut envelopes = Envelopes::default();
        let mut open = |parts: &[&[u8]]| {
            let message = message(parts);
            envelopes.open(&message).map(|(envelope, request)| (envelope, request.to_vec()))
        };
        assert_eq!(open(&[b"r"]), Some((Envelope::None, b"r".to_vec())));
        assert_eq!(open(&[b"", b"r"]), Some((Envelope::Delimiter, b"r".to_vec())));
        assert_eq!(open(&[b""]), None, "a probe");
        let (behind_a_proxy, request) = open(&[b"name", b"", b"r"]).unwrap();
        assert_eq!(request, b"r");
        let (without_delimiter, _) = open(&[b"name", b"r"]).unwrap();
        let parts = |envelopes: &mut Envelopes, envelope| envelopes.take(envelope).map(|parts| parts.to_vec());
        assert_eq!(parts(&mut envelopes, without_delimiter), Some(vec![Box::from(&b"name"[..])]));
        assert_eq!(parts(&mut envelopes, behind_a_proxy), Some(vec![Box::from(&b"name"[..]), Box::from(&b""[..])]));
    }

    #[test]
    fn an_envelope_is_used_once_even_when_its_place_has_another_one() {
        let mut envelopes = Envelopes::default();
        let (first, _) =
            envelopes.open(&message(&[b"a", b"r"])).map(|(envelope, request)| (envelope, request.len())).unwrap();
        assert!(envelopes.take(first).is_some());
        let (second, _) =
            envelopes.open(&message(&[b"b", b"r"])).map(|(envelope, request)| (envelope, request.len())).unwrap();
        assert!(envelopes.take(first).is_none());
        assert!(envelopes.take(second).is_some() && envelopes.kept.is_empty());
    }
}
