//! One end of a ZMTP connection, fed with bytes: in one piece and in small ones it must come to the same.

use bytes::Bytes;
use omq_proto::{Message, SocketType};
use statemesh_transport::curve::{KeyPair, Security};
use statemesh_transport::limits::Bounds;
use statemesh_transport::link::{Incoming, Link, Side};

/// Bytes of a message that a link lets in.
pub const MESSAGE_BYTES: usize = 1_000;
/// What a link may have to say to bytes that are no request: its greeting, its half of a handshake, PONGs.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What came out of a link.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// The handshake is complete.
    Ready,
    /// A message, its parts.
    Message(Vec<Vec<u8>>),
    /// A subscription.
    Subscribe(Vec<u8>),
    /// The end of one.
    Cancel(Vec<u8>),
}

/// The accepting end.
pub fn accepted(socket_type: SocketType, security: &Security) -> Link {
    Link::new(Side::Accepted, socket_type, Bounds::of_messages(MESSAGE_BYTES), security)
}

/// The greeting of a peer that opens a connection with this mechanism, 64 bytes.
pub fn greeting(mechanism: &str) -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 1];
    greeting.extend_from_slice(mechanism.as_bytes());
    greeting.resize(64, 0);
    greeting
}

/// READY of a socket of this type, as NULL has it.
pub fn ready(socket_type: &str) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type".to_vec();
    body.extend_from_slice(&(socket_type.len() as u32).to_be_bytes());
    body.extend_from_slice(socket_type.as_bytes());
    let mut frame = vec![0x04, body.len() as u8];
    frame.extend_from_slice(&body);
    frame
}

/// Feeds a link in pieces of this size. Gives what came, and whether the link lived.
pub fn feed(mut link: Link, bytes: &[u8], piece: usize) -> (Vec<Seen>, bool) {
    let mut seen = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        let received = link.receive(Bytes::copy_from_slice(piece)).is_ok();
        let mut lives = received;
        loop {
            match link.poll() {
                Ok(Some(incoming)) => seen.push(what(incoming)),
                Ok(None) => break,
                Err(_) => {
                    lives = false;
                    break;
                }
            }
        }
        assert!(link.unsent().len() <= ANSWER_BYTES_MAX, "{} bytes to say", link.unsent().len());
        link.sent(link.unsent().len());
        if !lives {
            return (seen, false);
        }
    }
    (seen, true)
}

fn what(incoming: Incoming) -> Seen {
    match incoming {
        Incoming::Ready => Seen::Ready,
        Incoming::Message(message) => Seen::Message(parts(&message)),
        Incoming::Subscribe(topic) => Seen::Subscribe(topic.to_vec()),
        Incoming::Cancel(topic) => Seen::Cancel(topic.to_vec()),
    }
}

fn parts(message: &Message) -> Vec<Vec<u8>> {
    let parts: Vec<Vec<u8>> =
        (0..message.len()).filter_map(|part| message.part_slice(part).map(<[u8]>::to_vec)).collect();
    assert!(parts.len() <= Bounds::of_messages(MESSAGE_BYTES).parts, "{} parts", parts.len());
    let bytes: usize = parts.iter().map(Vec::len).sum();
    assert!(bytes <= MESSAGE_BYTES + statemesh_transport::OVERSIZE.len(), "a message of {bytes} bytes");
    parts
}

/// Feeds the bytes behind `prefix` whole and in small pieces (their size is the first byte): the same must come of both.
pub fn whole_and_in_pieces(socket_type: SocketType, security: &Security, prefix: &[u8], input: &[u8]) -> Vec<Seen> {
    let Some((piece, bytes)) = input.split_first() else { return Vec::new() };
    let stream = [prefix, bytes].concat();
    let (mut whole, lives) = feed(accepted(socket_type, security), &stream, stream.len());
    let (mut pieces, _) = feed(accepted(socket_type, security), &stream, usize::from(*piece % 16) + 1);
    if socket_type == SocketType::XPub {
        // As messages (ZMTP 3.0) or as commands (3.1): a peer uses one way only, and the codec has a queue for each.
        // So what came behind a violation may be seen before it.
        if !lives {
            return whole;
        }
        whole.sort();
        pieces.sort();
    }
    assert_eq!(whole, pieces);
    whole
}

/// A door that no key opens.
#[derive(Debug)]
pub struct Shut;

impl statemesh_transport::curve::ListenerAuth for Shut {
    fn own(&self) -> statemesh_transport::curve::OwnKeys {
        KeyPair::generate().into()
    }

    fn admits(&self, _: &[u8; 32]) -> bool {
        false
    }
}
