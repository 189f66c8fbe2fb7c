//! What can wake a handler, and what a handler is.

use std::io;
use std::time::Instant;

use omq_proto::Message;

use super::Io;
use crate::limits::Refusal;
use crate::table::Conn;

/// Names one connection of one reactor; never reused, so a late answer to a closed connection goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    index: u32,
    generation: u32,
}

impl ConnId {
    pub(crate) fn new(index: usize, generation: u32) -> Self {
        Self { index: u32::try_from(index).unwrap_or(u32::MAX), generation }
    }

    /// An id that no reactor gives, for tests of what keeps tables of connections.
    #[must_use]
    pub fn for_tests(index: usize) -> Self {
        Self::new(index, u32::MAX)
    }

    pub(crate) fn index(self) -> usize {
        self.index as usize
    }

    pub(crate) fn generation(self) -> u32 {
        self.generation
    }
}

/// Where a connection comes from: the number that the handler gave the listener, or the connection it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Accepted by the listener that was added under this number.
    Accepted(u8),
    /// Opened by [`Io::connect`] under this number.
    Opened(u64),
}

/// Why a connection ended.
#[derive(Debug)]
pub enum Closed {
    /// The peer closed it.
    ByPeer,
    /// We closed it.
    ByUs,
    /// The peer violated ZMTP or a size limit.
    Protocol(String),
    /// The handshake was not complete in time.
    HandshakeTimeout,
    /// It gave no sign of life for too long.
    Silent,
    /// It kept most of the bytes of messages that were not whole when these were too many.
    HalfSent,
    /// It had not taken most of what guests were owed when that was too much.
    NotTaken,
    /// It sent too many malformed messages.
    Malformed,
    /// There were too many connections, and its handshake had been waited for the longest.
    MadeRoom,
    /// It was owed more than twice [`crate::limits::Settings::link_bytes`].
    Overflowed,
    /// The operating system said no.
    Io(io::ErrorKind),
}

/// Everything that can wake a handler.
#[derive(Debug)]
pub enum Event<'a> {
    /// The handshake of a connection is complete.
    Opened(ConnId, Origin),
    /// A message.
    Message(ConnId, Origin, &'a Message),
    /// A subscriber wants topics with this prefix.
    Subscribe(ConnId, &'a [u8]),
    /// A subscriber no longer wants topics with this prefix.
    Cancel(ConnId, &'a [u8]),
    /// A connection is gone. It comes for every opened one, and for each that [`Io::connect`] could not complete.
    Closed(ConnId, Origin, &'a Closed),
    /// A new connection was refused.
    Refused(Origin, Refusal),
    /// An accepted connection ended before its handshake was complete.
    Failed(Origin, &'a Closed),
    /// Another thread called the waker.
    Woken,
    /// The end of a turn, before the writes: time to look at what is due.
    Turn,
}

/// What runs on the loop.
pub trait Handler {
    /// Takes one event. It must not block.
    fn handle(&mut self, event: Event<'_>, io: &mut Io);

    /// When [`Event::Turn`] must come at the latest.
    fn deadline(&self) -> Option<Instant>;

    /// Whether the loop should end. Asked after each turn.
    fn finished(&self) -> bool;
}

/// What the connections of a reactor take now, and what was counted since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Bytes of messages that are not whole yet.
    pub unread_bytes: usize,
    /// Bytes that guests, and peers that have not greeted, have not taken, with what is being made for them.
    pub unsent_bytes: usize,
    /// Bytes that the other sides of links have not taken.
    pub link_unsent_bytes: usize,
    /// Times that a connection was no longer read because its peer did not take what was sent.
    pub stalls: u64,
    /// Times that a connection was no longer read because too much of what it had sent was under way.
    pub pauses: u64,
    /// Malformed messages that count against [`crate::limits::Settings::malformed`] of some connection.
    pub malformed: usize,
    /// Times that the operating system gave no connection, for want of file descriptors mostly.
    pub accept_failures: u64,
}

impl Usage {
    /// The unsent bytes of connections like this one: those whose peer has not greeted are counted with guests.
    pub(crate) fn unsent_of(&mut self, conn: &Conn) -> &mut usize {
        if conn.is_link() { &mut self.link_unsent_bytes } else { &mut self.unsent_bytes }
    }
}
