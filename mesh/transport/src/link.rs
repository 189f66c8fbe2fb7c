//! One ZMTP connection without its socket: bytes in, messages out, bytes to write gathered in one buffer.

use std::collections::VecDeque;

use bytes::Bytes;
use omq_proto::proto::command::Command;
use omq_proto::proto::connection::{Connection, ConnectionConfig, Event, Role};
use omq_proto::{Message, PeerPublicKey, SocketType};

use crate::curve::Security;
use crate::framing::{FrameTooLarge, Framing};
use crate::limits::Bounds;
use crate::unsent::Unsent;

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
    /// Its message has more parts than are accepted.
    #[error("a message of {0} parts")]
    Parts(usize),
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
    /// The same connection as the holder of our former key sees it, until the peer has shown which of our keys it expects.
    spare: Option<Box<Connection>>,
    socket_type: SocketType,
    out: Unsent,
    framing: Framing,
    messages: VecDeque<Message>,
    max_parts: usize,
    /// Frames are encrypted, so they go through the codec.
    sealed: bool,
    /// The key with which the peer authenticated itself.
    peer_key: Option<Box<[u8; 32]>>,
    /// The peer expects our former key.
    by_former_key: bool,
}

/// Body bytes of the longest frame with a one-byte length (ZMTP 3.1, section 3.2).
const SHORT_FRAME_BYTES: usize = 255;

impl Link {
    /// A new link; its greeting is at once ready to be written. A frame with more bytes than a message may have is skipped,
    /// with [`crate::OVERSIZE`] in its place; a message with more than that in several parts ends the link, as does any
    /// such frame where frames are encrypted.
    #[must_use]
    pub fn new(side: Side, socket_type: SocketType, bounds: Bounds, security: &Security) -> Self {
        let role = match side {
            Side::Accepted => Role::Server,
            Side::Opened => Role::Client,
        };
        // The codec counts a slot of its own for each part; the allowance keeps the promise in bytes that the caller sees.
        let allowance = bounds.parts.saturating_mul(PART_SLOT_BYTES);
        let config =
            ConnectionConfig::new(role, socket_type).max_message_size(bounds.message_bytes.saturating_add(allowance));
        let (mechanism, former) = security.mechanisms();
        let spare = former.map(|former| Box::new(muted(Connection::new(config.clone().mechanism(former)))));
        let mut link = Self {
            codec: Connection::new(config.mechanism(mechanism)),
            spare,
            socket_type,
            out: Unsent::default(),
            framing: Framing::new(bounds, security),
            messages: VecDeque::new(),
            max_parts: bounds.parts,
            sealed: false,
            peer_key: None,
            by_former_key: false,
        };
        take_output(&mut link.codec, link.out.end());
        link
    }

    /// Takes bytes from the wire.
    ///
    /// # Errors
    /// The peer violated ZMTP or a bound. What came before the violation is still handed out by [`Link::poll`].
    pub fn receive(&mut self, bytes: Bytes) -> Result<(), LinkError> {
        let mut result = Ok(());
        let Self { framing, codec, spare, by_former_key, out, .. } = self;
        let framed = framing.filter(bytes, |bytes| {
            if result.is_ok() {
                result = if spare.is_some() {
                    settle_key(codec, spare, bytes).map(|by_former| *by_former_key = by_former)
                } else {
                    codec.handle_input(bytes)
                };
                take_output(codec, out.end());
            }
            // Our own buffer takes the automatic PONGs at once, so the codec never has to wait for output.
            while result.is_ok() && codec.has_pending_input() {
                result = codec.resume_input();
                take_output(codec, out.end());
            }
        });
        result?;
        Ok(framed?)
    }

    /// The next thing that came in.
    ///
    /// # Errors
    /// A message has too many parts.
    pub fn poll(&mut self) -> Result<Option<Incoming>, LinkError> {
        while let Some(event) = self.codec.poll_event() {
            match event {
                Event::HandshakeSucceeded { peer_properties, .. } => {
                    self.sealed = self.codec.has_frame_transform();
                    if let Some(PeerPublicKey::Curve(key)) = &peer_properties.authentication.public_key {
                        self.peer_key = Some(Box::new(*key));
                    }
                    return Ok(Some(Incoming::Ready));
                }
                Event::Message(message) => self.messages.push_back(message),
                Event::Command(Command::Subscribe(topic)) => {
                    return Ok(Some(Incoming::Subscribe(topic)));
                }
                Event::Command(Command::Cancel(topic)) => return Ok(Some(Incoming::Cancel(topic))),
                Event::Command(_) => {}
            }
        }
        while let Some(message) = self.messages.pop_front().or_else(|| self.codec.poll_message()) {
            if message.len() > self.max_parts {
                return Err(LinkError::Parts(message.len()));
            }
            if !matches!(self.socket_type, SocketType::XPub | SocketType::Pub) {
                return Ok(Some(Incoming::Message(message)));
            }
            // What is no subscription is nothing to a publisher.
            if let Some(incoming) = subscription_of(&message) {
                return Ok(Some(incoming));
            }
        }
        Ok(None)
    }

    /// The key with which the peer authenticated itself, once the handshake is complete.
    #[must_use]
    pub fn peer_key(&self) -> Option<&[u8; 32]> {
        self.peer_key.as_deref()
    }

    /// Whether the peer expects our former key, once the handshake is complete.
    #[must_use]
    pub fn is_by_former_key(&self) -> bool {
        self.by_former_key
    }

    /// Bytes that are kept of a message that is not whole yet.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.framing.unread()
    }

    /// Whether no message has begun that is not whole.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.framing.is_between_messages()
    }

    /// Bytes that the frame that has begun still lacks.
    pub(crate) fn left_of_frame(&self) -> usize {
        self.framing.left_of_frame()
    }

    /// Asks the peer for a sign of life. Says whether it can be asked: heartbeats came with ZMTP 3.1.
    pub fn ping(&mut self) -> bool {
        if !self.is_ready() || self.codec.peer_minor() == 0 {
            return false;
        }
        // The time to live is for us to keep; a peer that wants to watch us asks us.
        let sent = self.codec.send_command(&Command::Ping { ttl_deciseconds: 0, context: Bytes::new() }).is_ok();
        take_output(&mut self.codec, self.out.end());
        sent
    }

    /// Whether the handshake is complete.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.codec.is_ready()
    }

    /// Queues one message of the given parts. Before the handshake is complete it is dropped: the peer cannot read it.
    pub fn send(&mut self, parts: &[&[u8]]) {
        let Some((last, front)) = parts.split_last() else {
            return;
        };
        if !self.is_ready() {
            return;
        }
        if self.sealed {
            return self.send_sealed(parts);
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
        // The only error is "before the handshake", where there is no peer to subscribe at either.
        let _ = self.codec.send_command(&command);
        take_output(&mut self.codec, self.out.end());
    }

    fn send_sealed(&mut self, parts: &[&[u8]]) {
        let message = Message::multipart(parts.iter().map(|part| Bytes::copy_from_slice(part)));
        // The only errors are "before the handshake" and 2^64 messages on one connection.
        let _ = self.codec.send_message(&message);
        take_output(&mut self.codec, self.out.end());
    }

    /// The same with a last part that is given away: it is not copied.
    pub fn send_owned(&mut self, front: &[&[u8]], last: Vec<u8>) {
        if self.sealed || !self.is_ready() {
            let parts: Vec<&[u8]> = front.iter().copied().chain([last.as_slice()]).collect();
            return self.send(&parts);
        }
        for part in front {
            self.push_frame(part, 1);
        }
        push_header(self.out.end(), last.len(), 0);
        self.out.push(last);
    }

    fn push_frame(&mut self, body: &[u8], more: u8) {
        let out = self.out.end();
        push_header(out, body.len(), more);
        out.extend_from_slice(body);
    }

    /// The bytes to be written next: not all, if there are many.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        self.out.next()
    }

    /// How many bytes wait to be written.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.out.len()
    }

    /// Throws away what waits to be written: the link is over.
    pub(crate) fn drop_unsent(&mut self) {
        self.out = Unsent::default();
    }

    /// Says that the first `bytes` of [`Link::unsent`] are on the wire.
    pub fn sent(&mut self, bytes: usize) {
        self.out.advance(bytes);
    }
}

fn push_header(out: &mut Vec<u8>, body_bytes: usize, more: u8) {
    match u8::try_from(body_bytes) {
        Ok(short) if body_bytes <= SHORT_FRAME_BYTES => out.extend_from_slice(&[more, short]),
        _ => {
            out.push(more | 0x02);
            out.extend_from_slice(&(body_bytes as u64).to_be_bytes());
        }
    }
}

/// Both codecs see the beginning of the handshake. Its first box can be opened with one of our keys only, and the codec that
/// opens it, and so has something to say, is the one that stays. True when that is the former key's.
fn settle_key(
    codec: &mut Connection,
    spare: &mut Option<Box<Connection>>,
    bytes: Bytes,
) -> Result<bool, omq_proto::Error> {
    let result = codec.handle_input(bytes.clone());
    let Some(mut other) = spare.take_if(|_| !codec.has_pending_transmit()) else {
        *spare = None;
        return result.map(|()| false);
    };
    let opened = other.handle_input(bytes);
    if result.is_err() {
        *codec = *other;
        return opened.map(|()| true);
    }
    *spare = opened.is_ok().then_some(other);
    Ok(false)
}

/// A codec whose greeting goes nowhere: that of another one is the same.
fn muted(mut codec: Connection) -> Connection {
    let greeting: usize = codec.transmit_chunks().iter().map(|chunk| chunk.len()).sum();
    codec.advance_transmit(greeting);
    codec
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

/// What the codec adds to a message's size for the slot of each part, at most.
const PART_SLOT_BYTES: usize = 64;

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
    use crate::curve::{KeyPair, ListenerAuth, OwnKeys};

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
        secured(client, server, bytes, [&Security::None, &Security::None])
    }

    fn secured(client: SocketType, server: SocketType, bytes: usize, security: [&Security; 2]) -> (Link, Link) {
        let bounds = Bounds::of_messages(bytes);
        let mut client = Link::new(Side::Opened, client, bounds, security[0]);
        let mut server = Link::new(Side::Accepted, server, bounds, security[1]);
        settle(&mut client, &mut server);
        assert!(matches!(client.poll(), Ok(Some(Incoming::Ready))));
        assert!(matches!(server.poll(), Ok(Some(Incoming::Ready))));
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
            assert_eq!(parts(server.poll().unwrap()), vec![Vec::new(), body], "{size} bytes");
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_skipped_and_the_link_goes_on() {
        let (mut client, mut server) = pair(SocketType::Dealer, SocketType::Router, 1_000);
        client.send(&[b"", &[0; 4_000]]);
        client.send(&[b"next"]);
        settle(&mut client, &mut server);
        assert_eq!(parts(server.poll().unwrap()), [&b""[..], crate::OVERSIZE]);
        assert_eq!(parts(server.poll().unwrap()), [b"next"]);
    }

    #[test]
    fn a_message_over_the_limit_in_many_parts_ends_the_link() {
        let (mut client, mut server) = pair(SocketType::Dealer, SocketType::Router, 1_000);
        client.send(&[&[0; 900], &[0; 900], &[0; 900]]);
        let bytes = Bytes::copy_from_slice(client.unsent());
        assert!(server.receive(bytes).is_err());
        assert!(matches!(server.poll(), Ok(None)));
    }

    #[test]
    fn a_frame_header_that_lies_reserves_nothing() {
        let (_, mut server) = pair(SocketType::Dealer, SocketType::Router, 1_000);
        let mut header = vec![0x02];
        header.extend_from_slice(&(1u64 << 48).to_be_bytes());
        assert!(server.receive(Bytes::from(header)).is_err());
    }

    #[test]
    fn what_is_no_subscription_does_not_hold_up_the_one_behind_it() {
        let (mut sub, mut publisher) = pair(SocketType::Sub, SocketType::XPub, 1_000);
        sub.send(&[b"neither"]);
        sub.send(&[b"\x01order/"]);
        settle(&mut sub, &mut publisher);
        assert!(matches!(publisher.poll(), Ok(Some(Incoming::Subscribe(t))) if t == "order/"));
    }

    #[test]
    fn subscriptions_come_as_such() {
        let (mut sub, mut publisher) = pair(SocketType::Sub, SocketType::XPub, 1_000);
        sub.subscribe(b"order/", true);
        sub.subscribe(b"order/", false);
        settle(&mut sub, &mut publisher);
        assert!(matches!(publisher.poll().unwrap(), Some(Incoming::Subscribe(t)) if t == "order/"));
        assert!(matches!(publisher.poll().unwrap(), Some(Incoming::Cancel(t)) if t == "order/"));
    }

    #[test]
    fn a_message_of_too_many_parts_ends_the_link() {
        let (mut client, mut server) = pair(SocketType::Dealer, SocketType::Router, 1_000);
        client.send(&[b"x".as_slice(); 16]);
        client.send(&[b"x".as_slice(); 17]);
        settle(&mut client, &mut server);
        assert_eq!(parts(server.poll().unwrap()).len(), 16);
        assert!(matches!(server.poll(), Err(LinkError::Parts(17))));
    }

    #[test]
    fn a_ping_is_answered_and_shows_to_nobody() {
        let (mut client, mut server) = pair(SocketType::Dealer, SocketType::Router, 1_000);
        assert!(server.ping());
        client.receive(Bytes::copy_from_slice(server.unsent())).unwrap();
        assert!(matches!(client.poll(), Ok(None)) && !client.unsent().is_empty());
        server.receive(Bytes::copy_from_slice(client.unsent())).unwrap();
        assert!(matches!(server.poll(), Ok(None)));
    }

    struct Ajar(OwnKeys, bool);

    impl ListenerAuth for Ajar {
        fn own(&self) -> OwnKeys {
            self.0.clone()
        }

        fn admits(&self, _: &[u8; 32]) -> bool {
            self.1
        }
    }

    /// Both sides of a CURVE connection, where the server lets in every client or none.
    fn curve(admit: bool) -> (KeyPair, Security, Security) {
        let (client, server) = (KeyPair::generate(), KeyPair::generate());
        let dialling = Security::Client { own: client.clone(), server: server.public };
        (client, dialling, Security::Server(std::sync::Arc::new(Ajar(server.into(), admit))))
    }

    #[test]
    fn over_curve_messages_arrive_and_nobody_else_can_read_them() {
        let (own, dialling, listening) = curve(true);
        let (mut client, mut server) =
            secured(SocketType::Dealer, SocketType::Router, 1 << 20, [&dialling, &listening]);
        assert_eq!(server.peer_key(), Some(own.public.as_bytes()));
        for size in [0, 1, 300, 70_000] {
            let body = vec![b'q'; size];
            client.send(&[b"", &body]);
            assert!(size < 300 || !client.unsent().windows(100).any(|bytes| bytes == [b'q'; 100]));
            settle(&mut client, &mut server);
            assert_eq!(parts(server.poll().unwrap()), vec![Vec::new(), body], "{size} bytes");
        }
        server.send(&[b"back"]);
        assert!(server.ping());
        settle(&mut client, &mut server);
        assert_eq!(parts(client.poll().unwrap()), [b"back"]);
    }

    /// A listener whose keys were renewed, and a client that expects each of some keys.
    fn renewed() -> (Security, impl Fn(&KeyPair) -> Security, [KeyPair; 3]) {
        let [current, former, third] = [(); 3].map(|()| KeyPair::generate());
        let own = OwnKeys { current: current.clone(), former: Some(former.clone()) };
        let expecting = |server: &KeyPair| Security::Client { own: KeyPair::generate(), server: server.public };
        (Security::Server(std::sync::Arc::new(Ajar(own, true))), expecting, [current, former, third])
    }

    #[test]
    fn while_our_keys_are_renewed_a_client_may_expect_either() {
        let (listening, expecting, [current, former, third]) = renewed();
        for (what, pair) in [("current", &current), ("former", &former)] {
            let dialling = expecting(pair);
            let (mut client, mut server) =
                secured(SocketType::Dealer, SocketType::Router, 1_000, [&dialling, &listening]);
            assert!(server.spare.is_none() && server.peer_key().is_some(), "{what}");
            assert_eq!(server.is_by_former_key(), what == "former");
            client.send(&[b"there"]);
            server.send(&[b"back"]);
            settle(&mut client, &mut server);
            assert_eq!(parts(server.poll().unwrap()), [b"there"], "{what}");
            assert_eq!(parts(client.poll().unwrap()), [b"back"], "{what}");
        }
        assert!(refused(&expecting(&third), &listening), "neither");
        assert!(refused(&Security::None, &listening), "none");
    }

    #[test]
    fn which_of_our_keys_is_meant_shows_at_whatever_pieces_the_handshake_comes_in() {
        let (listening, expecting, [current, former, _]) = renewed();
        let bounds = Bounds::of_messages(1_000);
        for pair in [&current, &former] {
            let mut client = Link::new(Side::Opened, SocketType::Dealer, bounds, &expecting(pair));
            let mut server = Link::new(Side::Accepted, SocketType::Router, bounds, &listening);
            while !server.is_ready() {
                let from_server = server.unsent().to_vec();
                server.sent(from_server.len());
                client.receive(from_server.into()).unwrap();
                let from_client = client.unsent().to_vec();
                client.sent(from_client.len());
                assert!(!from_client.is_empty(), "the client waits");
                for byte in from_client {
                    server.receive(vec![byte].into()).unwrap();
                }
            }
            assert_eq!(server.is_by_former_key(), pair.public == former.public);
        }
    }

    #[test]
    fn who_is_not_on_the_list_is_refused_with_either_of_our_keys() {
        let (_, expecting, [current, former, _]) = renewed();
        let own = OwnKeys { current: current.clone(), former: Some(former.clone()) };
        let closed = Security::Server(std::sync::Arc::new(Ajar(own, false)));
        assert!(refused(&expecting(&current), &closed) && refused(&expecting(&former), &closed));
    }

    #[test]
    fn over_curve_a_frame_over_the_limit_ends_the_link() {
        let (_, dialling, listening) = curve(true);
        let (mut client, mut server) = secured(SocketType::Dealer, SocketType::Router, 1_000, [&dialling, &listening]);
        client.send(&[&[0; 1_000]]);
        settle(&mut client, &mut server);
        assert_eq!(parts(server.poll().unwrap()), [[0; 1_000]]);
        client.send(&[&[0; 4_000]]);
        assert!(server.receive(Bytes::copy_from_slice(client.unsent())).is_err());
    }

    /// Carries bytes until one side refuses.
    fn refused(client: &Security, server: &Security) -> bool {
        let bounds = Bounds::of_messages(1_000);
        let mut client = Link::new(Side::Opened, SocketType::Dealer, bounds, client);
        let mut server = Link::new(Side::Accepted, SocketType::Router, bounds, server);
        for _ in 0..10 {
            let (from_client, from_server) = (client.unsent().to_vec(), server.unsent().to_vec());
            client.sent(from_client.len());
            server.sent(from_server.len());
            if server.receive(from_client.into()).is_err() || client.receive(from_server.into()).is_err() {
                return !server.is_ready();
            }
        }
        false
    }

    #[test]
    fn a_wrong_key_on_either_side_and_no_key_at_all_are_refused() {
        let (_, dialling, listening) = curve(false);
        assert!(refused(&dialling, &listening), "a key that is not on the list");
        let (_, dialling, _) = curve(true);
        let (_, _, listening) = curve(true);
        assert!(refused(&dialling, &listening), "a server with another key than expected");
        assert!(refused(&Security::None, &listening), "a client without keys");
    }
}
