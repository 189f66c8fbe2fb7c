//! One ZMTP connection without its socket: bytes in, messages out, bytes to write gathered in one buffer.

use std::collections::VecDeque;

use bytes::Bytes;
use omq_proto::proto::command::Command;
use omq_proto::proto::connection::{Connection, ConnectionConfig, Event, Role};
use omq_proto::{Message, SocketType};

use crate::framing::{FrameTooLarge, Framing};

/// What came in on a link.
#[derive(Debug)]
pub enum Incoming {
    /// The handshake is complete: from now on the link carries messages.
    Ready,
    /// A message, whole.
    Message(Message),
    /// The peer, a SUB or XSUB socket, wants topics that begin with this.
    Subscribe(Bytes),
    /// The peer no longer wants topics that begin with this.
    Cancel(Bytes),
}

/// The peer broke the protocol or a bound; nothing more can be had from the link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It does not speak ZMTP as the codec does.
    #[error("{0}")]
    Protocol(#[from] omq_proto::Error),
    /// It announces a frame that is too large even to be skipped.
    #[error("{0}")]
    Frame(#[from] FrameTooLarge),
}

/// Which side of the TCP connection a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// We accepted it.
    Accepted,
    /// We opened it.
    Opened,
}

/// A ZMTP connection as a value.
///
/// Encoding bypasses the codec's queue of chunks: a frame goes straight to `out`, which is one contiguous buffer and so
/// one `write` for all that a turn has produced.
#[derive(Debug)]
pub struct Link {
    codec: Connection,
    socket_type: SocketType,
    out: Vec<u8>,
    /// How much of `out` is on the wire already.
    written: usize,
    framing: Framing,
    messages: VecDeque<Message>,
}

/// A buffer that grew beyond this for one burst is given back once it is empty.
const KEEP_OUT_BYTES: usize = 64 * 1024;

/// Body bytes of the longest frame with a one-byte length (ZMTP 3.1, section 3.2).
const SHORT_FRAME_BYTES: usize = 255;

impl Link {
    /// A new link; its greeting is at once ready to be written. A frame with more than `message_bytes` bytes is skipped,
    /// with [`crate::OVERSIZE`] in its place; a message with more than that in several parts ends the link.
    #[must_use]
    pub fn new(side: Side, socket_type: SocketType, message_bytes: usize) -> Self {
        let role = match side {
            Side::Accepted => Role::Server,
            Side::Opened => Role::Client,
        };
        // The codec counts a slot of its own for each part; the allowance keeps the promise in bytes that the caller sees.
        let config = ConnectionConfig::new(role, socket_type)
            .max_message_size(message_bytes.saturating_add(PART_SLOT_ALLOWANCE));
        let mut link = Self {
            codec: Connection::new(config),
            socket_type,
            out: Vec::new(),
            written: 0,
            framing: Framing::new(message_bytes),
            messages: VecDeque::new(),
        };
        take_output(&mut link.codec, &mut link.out);
        link
    }

    /// Takes bytes from the wire.
    ///
    /// # Errors
    /// The peer violated ZMTP or a bound. What came before the violation is still handed out by [`Link::poll`].
    pub fn receive(&mut self, bytes: Bytes) -> Result<(), LinkError> {
        let mut result = Ok(());
        let Self { framing, codec, out, .. } = self;
        let framed = framing.filter(bytes, |bytes| {
            if result.is_ok() {
                result = codec.handle_input(bytes);
                take_output(codec, out);
            }
            // Our own buffer takes the automatic PONGs at once, so the codec never has to wait for output.
            while result.is_ok() && codec.has_pending_input() {
                result = codec.resume_input();
                take_output(codec, out);
            }
        });
        result?;
        Ok(framed?)
    }

    /// The next thing that came in.
    pub fn poll(&mut self) -> Option<Incoming> {
        while let Some(event) = self.codec.poll_event() {
            match event {
                Event::HandshakeSucceeded { .. } => return Some(Incoming::Ready),
                Event::Message(message) => self.messages.push_back(message),
                Event::Command(Command::Subscribe(topic)) => {
                    return Some(Incoming::Subscribe(topic));
                }
                Event::Command(Command::Cancel(topic)) => return Some(Incoming::Cancel(topic)),
                Event::Command(_) => {}
            }
        }
        let message = self.messages.pop_front().or_else(|| self.codec.poll_message())?;
        if matches!(self.socket_type, SocketType::XPub | SocketType::Pub) {
            return subscription_of(&message);
        }
        Some(Incoming::Message(message))
    }

    /// Whether the handshake is complete.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.codec.is_ready()
    }

    /// Queues one message of the given parts. Before the handshake is complete it is dropped: there is nobody to read it.
    pub fn send(&mut self, parts: &[&[u8]]) {
        let Some((last, front)) = parts.split_last() else {
            return;
        };
        if !self.is_ready() {
            return;
        }
        for part in front {
            self.push_frame(part, 1);
        }
        self.push_frame(last, 0);
    }

    /// Queues a subscription, or its end: what a SUB socket sends.
    pub fn subscribe(&mut self, topic: &[u8], on: bool) {
        let topic = Bytes::copy_from_slice(topic);
        let command = if on { Command::Subscribe(topic) } else { Command::Cancel(topic) };
        // The only error is "before the handshake", where there is nobody to subscribe at either.
        let _ = self.codec.send_command(&command);
        take_output(&mut self.codec, &mut self.out);
    }

    fn push_frame(&mut self, body: &[u8], more: u8) {
        if let (Ok(short), true) = (u8::try_from(body.len()), body.len() <= SHORT_FRAME_BYTES) {
            self.out.extend_from_slice(&[more, short]);
        } else {
            self.out.push(more | 0x02);
            self.out.extend_from_slice(&(body.len() as u64).to_be_bytes());
        }
        self.out.extend_from_slice(body);
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        self.out.get(self.written..).unwrap_or_default()
    }

    /// Says that the first `bytes` of [`Link::unsent`] are on the wire.
    pub fn sent(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written >= self.out.len() {
            self.written = 0;
            self.out.clear();
            if self.out.capacity() > KEEP_OUT_BYTES {
                self.out = Vec::new();
            }
        } else if self.written > KEEP_OUT_BYTES {
            // A slow reader's backlog: do not let the written part pile up in front of it.
            self.out.drain(..self.written);
            self.written = 0;
        }
    }
}

/// Moves what the codec has to say into our buffer.
fn take_output(codec: &mut Connection, out: &mut Vec<u8>) {
    while codec.has_pending_transmit() {
        let taken = {
            let chunks = codec.transmit_chunks();
            for chunk in &chunks {
                out.extend_from_slice(chunk);
            }
            chunks.iter().map(|chunk| chunk.len()).sum()
        };
        codec.advance_transmit(taken);
    }
}

/// What the codec adds to a message's size for the slots of its parts, for up to 16 of them.
const PART_SLOT_ALLOWANCE: usize = 16 * 64;

/// Before ZMTP 3.1 a subscription is a message whose first byte is 1, its end one whose first byte is 0 (RFC 23).
fn subscription_of(message: &Message) -> Option<Incoming> {
    let body = message.part_bytes(0)?;
    match body.first() {
        Some(1) => Some(Incoming::Subscribe(body.slice(1..))),
        Some(0) => Some(Incoming::Cancel(body.slice(1..))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Carries bytes both ways until neither side has any left.
    fn settle(a: &mut Link, b: &mut Link) {
        loop {
            let (from_a, from_b) = (a.unsent().to_vec(), b.unsent().to_vec());
            if from_a.is_empty() && from_b.is_empty() {
                return;
            }
            a.sent(from_a.len());
            b.sent(from_b.len());
            if !from_a.is_empty() {
                b.receive(Bytes::from(from_a)).unwrap();
            }
            if !from_b.is_empty() {
                a.receive(Bytes::from(from_b)).unwrap();
            }
        }
    }

    fn pair(client: SocketType, server: SocketType, bytes: usize) -> (Link, Link) {
        let mut client = Link::new(Side::Opened, client, bytes);
        let mut server = Link::new(Side::Accepted, server, bytes);
        settle(&mut client, &mut server);
        assert!(matches!(client.poll(), Some(Incoming::Ready)));
        assert!(matches!(server.poll(), Some(Incoming::Ready)));
        (client, server)
    }

    fn parts(incoming: Option<Incoming>) -> Vec<Vec<u8>> {
        match incoming {
            Some(Incoming::Message(m)) => (0..m.len()).filter_map(|i| m.part_slice(i).map(<[u8]>::to_vec)).collect(),
            other => panic!("no message: {other:?}"),
        }
    }

    #[test]
    fn messages_of_every_frame_size_arrive_whole() {
        let (mut client, mut server) = pair(SocketType::Dealer, SocketType::Router, 1 << 20);
        for size in [0, 1, 55, 56, 255, 256, 70_000] {
            let body = vec![7u8; size];
            client.send(&[b"", &body]);
            settle(&mut client, &mut server);
            assert_eq!(parts(server.poll()), vec![Vec::new(), body], "{size} bytes");
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_skipped_and_the_link_goes_on() {
        let (mut client, mut server) = pair(SocketType::Dealer, SocketType::Router, 1_000);
        client.send(&[b"", &[0; 4_000]]);
        client.send(&[b"next"]);
        settle(&mut client, &mut server);
        assert_eq!(parts(server.poll()), [&b""[..], crate::OVERSIZE]);
        assert_eq!(parts(server.poll()), [b"next"]);
    }

    #[test]
    fn a_message_over_the_limit_in_many_parts_ends_the_link() {
        let (mut client, mut server) = pair(SocketType::Dealer, SocketType::Router, 1_000);
        client.send(&[&[0; 900], &[0; 900], &[0; 900]]);
        let bytes = Bytes::copy_from_slice(client.unsent());
        assert!(server.receive(bytes).is_err());
        assert!(server.poll().is_none());
    }

    #[test]
    fn a_frame_header_that_lies_reserves_nothing() {
        let (_, mut server) = pair(SocketType::Dealer, SocketType::Router, 1_000);
        let mut header = vec![0x02];
        header.extend_from_slice(&(1u64 << 48).to_be_bytes());
        assert!(server.receive(Bytes::from(header)).is_err());
    }

    #[test]
    fn subscriptions_come_as_such() {
        let (mut sub, mut publisher) = pair(SocketType::Sub, SocketType::XPub, 1_000);
        sub.subscribe(b"order/", true);
        sub.subscribe(b"order/", false);
        settle(&mut sub, &mut publisher);
        assert!(matches!(publisher.poll(), Some(Incoming::Subscribe(t)) if t == "order/"));
        assert!(matches!(publisher.poll(), Some(Incoming::Cancel(t)) if t == "order/"));
    }
}
