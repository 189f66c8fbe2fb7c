//! The parts of a client's message in front of its request: they go back as they came, in front of the reply (RFC 28).
//!
//! A REQ puts an empty part there, one with `REQ_CORRELATE` a number as well, and each `zmq_proxy` on the way the name that it
//! gave its client. Most clients send nothing, or the empty part alone; any other envelope is kept until its request is
//! answered, or its connection is gone. It has a bound of its own: a request under way may be short, and its envelope is none of it.

use std::collections::BTreeMap;

use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::reply::Encoding;
use statemesh_transport::{ConnId, Io, Message};

use super::context::ReplyTo;
use super::{Asked, Worker};

/// Bytes of an envelope: that of a request behind a dozen proxies has a tenth of it.
pub(crate) const ENVELOPE_BYTES: usize = 1_024;

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

/// Names an envelope that is kept, among those of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u64);

/// The parts of one envelope.
type Parts = Box<[Box<[u8]>]>;

/// The envelopes of requests that are not answered yet, as far as they have to be kept.
#[derive(Debug, Default)]
pub(super) struct Envelopes {
    kept: BTreeMap<(ConnId, u64), Parts>,
    last: u64,
}

/// What a message is.
pub(super) enum Opened<'a> {
    /// A request in its envelope.
    Request(Envelope, &'a [u8]),
    /// No more than one empty part: with that a socket with `PROBE_ROUTER` says that it is there.
    Probe,
    /// Its envelope has more than [`ENVELOPE_BYTES`].
    TooLarge,
}

impl Envelopes {
    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// The envelope and the request of a message.
    pub(super) fn open<'a>(&mut self, conn: ConnId, message: &'a Message) -> Opened<'a> {
        let Some((front, request)) =
            message.len().checked_sub(1).and_then(|front| Some((front, message.part_slice(front)?)))
        else {
            return Opened::Probe;
        };
        match (front, message.part_slice(0)) {
            (0, Some([])) => Opened::Probe,
            (0, _) => Opened::Request(Envelope::None, request),
            (1, Some([])) => Opened::Request(Envelope::Delimiter, request),
            _ => {
                let parts = (0..front).filter_map(|part| message.part_slice(part));
                if parts.clone().map(<[u8]>::len).sum::<usize>() > ENVELOPE_BYTES {
                    return Opened::TooLarge;
                }
                Opened::Request(self.keep(conn, parts), request)
            }
        }
    }

    fn keep<'a>(&mut self, conn: ConnId, parts: impl Iterator<Item = &'a [u8]>) -> Envelope {
        self.last += 1;
        // A copy: the message is a view of all that was read with it.
        self.kept.insert((conn, self.last), parts.map(Box::from).collect());
        Envelope::Kept(Place(self.last))
    }

    /// Takes out the parts of an envelope that was kept.
    pub(super) fn take(&mut self, conn: ConnId, envelope: Envelope) -> Option<Parts> {
        let Envelope::Kept(Place(number)) = envelope else { return None };
        self.kept.remove(&(conn, number))
    }

    /// A connection is gone: what came on it will not be answered.
    pub(super) fn forget(&mut self, conn: ConnId) {
        let its: Vec<(ConnId, u64)> = self.kept.range((conn, 0)..=(conn, u64::MAX)).map(|(at, _)| *at).collect();
        its.iter().for_each(|at| _ = self.kept.remove(at));
    }
}

impl Worker {
    /// Sends a client the reply to the request that came in this envelope.
    pub(super) fn send_in(&mut self, envelope: Envelope, conn: ConnId, reply: &[u8], io: &mut Io) {
        match envelope {
            Envelope::None => _ = io.send(conn, &[reply]),
            Envelope::Delimiter => _ = io.send(conn, &[b"", reply]),
            Envelope::Kept(_) => {
                let Some(front) = self.clients.envelopes.take(conn, envelope) else { return };
                let mut parts: Vec<&[u8]> = front.iter().map(AsRef::as_ref).collect();
                parts.push(reply);
                io.send(conn, &parts);
            }
        }
    }

    pub(super) fn refuse_envelope(&mut self, conn: ConnId, io: &mut Io) {
        self.counters.refused_messages.add(1);
        let reply_to = ReplyTo::Client { conn, envelope: Envelope::None };
        let asked = Asked { encoding: Encoding::Json, id: None, reply_to };
        let message = format!("the parts in front of the request have more than {ENVELOPE_BYTES} bytes");
        self.fail(asked, ErrorCode::MessageTooLarge, &message, "they come back as they are: send less there", io);
    }

    /// The request is not answered any more: what was kept for that goes.
    pub(super) fn forget_reply(&mut self, reply_to: ReplyTo, io: &mut Io) {
        match reply_to {
            ReplyTo::Client { conn, envelope } => _ = self.clients.envelopes.take(conn, envelope),
            // Its place in the array is empty.
            ReplyTo::Batch { batch, position } => self.reply_in_array(batch, position, &[], io),
            _ => {}
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

    fn conn(index: usize) -> ConnId {
        ConnId::for_tests(index)
    }

    fn kept(envelopes: &mut Envelopes, conn: ConnId, parts: &[&[u8]]) -> Envelope {
        match envelopes.open(conn, &message(parts)) {
            Opened::Request(envelope, _) => envelope,
            Opened::Probe | Opened::TooLarge => panic!("{parts:?} is no request"),
        }
    }

    #[test]
    fn the_last_part_is_the_request_and_the_parts_before_it_are_kept_as_they_came() {
        let mut envelopes = Envelopes::default();
        let a = conn(1);
        assert_eq!(kept(&mut envelopes, a, &[b"r"]), Envelope::None);
        assert_eq!(kept(&mut envelopes, a, &[b"", b"r"]), Envelope::Delimiter);
        assert!(matches!(envelopes.open(a, &message(&[b""])), Opened::Probe));
        let behind_a_proxy = kept(&mut envelopes, a, &[b"name", b"", b"r"]);
        let without_delimiter = kept(&mut envelopes, a, &[b"name", b"r"]);
        let mut parts = |envelope| envelopes.take(a, envelope).map(|parts| parts.to_vec());
        assert_eq!(parts(without_delimiter), Some(vec![Box::from(&b"name"[..])]));
        assert_eq!(parts(behind_a_proxy), Some(vec![Box::from(&b"name"[..]), Box::from(&b""[..])]));
        assert_eq!(parts(behind_a_proxy), None, "it is used once");
    }

    #[test]
    fn what_is_kept_has_a_bound_and_goes_with_its_connection() {
        let mut envelopes = Envelopes::default();
        let large = vec![0; ENVELOPE_BYTES];
        assert!(matches!(envelopes.open(conn(1), &message(&[&large, b"x", b"r"])), Opened::TooLarge));
        let of = [1, 2, 2, 3].map(|index| (conn(index), kept(&mut envelopes, conn(index), &[b"name", b"r"])));
        envelopes.forget(conn(2));
        let there = of.map(|(conn, envelope)| envelopes.take(conn, envelope).is_some());
        assert_eq!(there, [true, false, false, true]);
        assert!(envelopes.kept.is_empty());
    }
}
