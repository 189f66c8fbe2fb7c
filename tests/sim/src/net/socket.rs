//! One end of a connection: what it has received, what it has still to send, and what is on its way.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use super::{HostId, PollerId};

/// Names one end of a connection; never reused.
pub(super) type SocketId = u64;

/// Something on its way to the other end.
#[derive(Debug)]
pub(super) enum InFlight {
    Bytes(Vec<u8>),
    End,
}

/// How an end of a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It wants to be connected.
    Connecting,
    /// It is.
    Open,
    /// It broke, and reading and writing say so.
    Broken(io::ErrorKind),
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) host: HostId,
    /// The loop that has it, and its key there. None before it is accepted, and after its process gave it up.
    pub(super) owner: Option<(PollerId, usize)>,
    /// Its process gave it up: what was written is still sent.
    pub(super) orphan: bool,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) peer: Option<SocketId>,
    pub(super) phase: Phase,
    pub(super) watched: bool,
    /// It is in its poller's list of what is ready.
    pub(super) listed: bool,
    /// There is news for its reader.
    pub(super) readable: bool,
    pub(super) received: VecDeque<u8>,
    /// The other end sends nothing more.
    pub(super) ended: bool,
    pub(super) unsent: VecDeque<u8>,
    /// No more will be written.
    pub(super) closing: bool,
    pub(super) end_sent: bool,
    pub(super) in_flight: VecDeque<InFlight>,
    pub(super) in_flight_bytes: usize,
    /// Bytes that have arrived, of which the other end could not say so.
    pub(super) unacknowledged: usize,
    /// When the last of what is in flight arrives: nothing overtakes.
    pub(super) last_arrival: u64,
    /// A write found no room: it is told when there is some.
    pub(super) hungry: bool,
    /// Since when nothing gets across.
    pub(super) stalled: Option<u64>,
}

impl Socket {
    pub(super) fn new(host: HostId, local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            host,
            owner: None,
            orphan: false,
            local,
            remote,
            peer: None,
            phase: Phase::Connecting,
            watched: false,
            listed: false,
            readable: false,
            received: VecDeque::new(),
            ended: false,
            unsent: VecDeque::new(),
            closing: false,
            end_sent: false,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            unacknowledged: 0,
            last_arrival: 0,
            hungry: false,
            stalled: None,
        }
    }

    /// Bytes of the send buffer that are taken.
    pub(super) fn buffered(&self) -> usize {
        self.unsent.len() + self.in_flight_bytes + self.unacknowledged
    }

    /// Whether the other end will hear nothing new, and nobody reads here.
    pub(super) fn is_over(&self) -> bool {
        self.orphan && (self.end_sent && self.in_flight.is_empty() || matches!(self.phase, Phase::Broken(_)))
    }

    /// Whether something is there that should get across.
    pub(super) fn has_something_to_say(&self) -> bool {
        !self.unsent.is_empty()
            || !self.in_flight.is_empty()
            || self.unacknowledged > 0
            || self.closing && !self.end_sent
    }
}
