//! What will happen to the network, by time.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::HostId;
use super::socket::SocketId;

/// Something that will happen to the network.
#[derive(Debug)]
pub(super) enum Event {
    /// A wish for a connection arrives.
    Syn { from: SocketId, to: SocketAddr, tries: u32 },
    /// The answer to it: the other end, or that none listens.
    Answered { socket: SocketId, peer: Option<SocketId> },
    /// The oldest thing in flight from this socket arrives.
    Arrival { from: SocketId },
    /// A reset arrives.
    Reset { to: SocketId, from_host: HostId },
    /// A connection whose bytes could not be brought across since this time is given up.
    GiveUp { socket: SocketId, since: u64 },
    /// A datagram arrives.
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
}

/// Events by time; those of one time in the order in which they were put here.
#[derive(Debug, Default)]
pub(super) struct Events {
    all: BTreeMap<(u64, u64), Event>,
    count: u64,
}

impl Events {
    pub(super) fn add(&mut self, at: u64, event: Event) {
        self.count += 1;
        self.all.insert((at, self.count), event);
    }

    /// When the next one is.
    pub(super) fn next(&self) -> Option<u64> {
        self.all.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next one, if its time has come.
    pub(super) fn due(&mut self, now: u64) -> Option<Event> {
        let first = self.all.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}
