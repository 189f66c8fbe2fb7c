//! One end of a connection: who reads and writes it, what it has received, and what it has still to send.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;

use super::outgoing::Outgoing;
use super::{HostId, PollerId};

/// Names one end of a connection; never reused.
pub(super) type SocketId = u64;

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

/// What the loop that has an end is told of it.
#[derive(Debug, Default)]
pub(super) struct Registration {
    /// The loop, and the end's key there. None before it is accepted, and after its process gave it up.
    pub(super) owner: Option<(PollerId, usize)>,
    pub(super) watched: bool,
    /// It is in its poller's list of what is ready.
    listed: bool,
    /// There is news for its reader.
    readable: bool,
}

impl Registration {
    /// Something is to be told. Gives the loop and the key that go into its list of what is ready, if they are not there.
    pub(super) fn report(&mut self, readable: bool) -> Option<(PollerId, usize)> {
        self.readable |= readable;
        self.owner.filter(|_| self.watched && !std::mem::replace(&mut self.listed, true))
    }

    /// It is told: whether there is news for its reader.
    pub(super) fn collect(&mut self) -> bool {
        self.listed = false;
        std::mem::take(&mut self.readable)
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) host: HostId,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) peer: Option<SocketId>,
    pub(super) phase: Phase,
    pub(super) registration: Registration,
    /// Its process gave it up: what was written is still sent.
    pub(super) orphan: bool,
    pub(super) received: VecDeque<u8>,
    /// The other end sends nothing more.
    pub(super) ended: bool,
    pub(super) outgoing: Outgoing,
}

impl Socket {
    pub(super) fn new(host: HostId, local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            host,
            local,
            remote,
            peer: None,
            phase: Phase::Connecting,
            registration: Registration::default(),
            orphan: false,
            received: VecDeque::new(),
            ended: false,
            outgoing: Outgoing::default(),
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self.phase, Phase::Broken(_))
    }

    /// Whether the other end will hear nothing new, and this one has no reader.
    pub(super) fn is_over(&self) -> bool {
        self.orphan && (self.outgoing.is_over() || self.is_broken())
    }

    /// Its process gives it up. Says whether something that it did not read is left.
    pub(super) fn abandon(&mut self) -> bool {
        self.registration.owner = None;
        self.orphan = true;
        self.outgoing.close();
        !self.received.is_empty()
    }
}

/// All ends of connections.
#[derive(Debug)]
pub(super) struct Sockets {
    all: BTreeMap<SocketId, Socket>,
    last_id: SocketId,
    last_port: u16,
}

/// Ports of ends that begin a connection are above this one.
const PORTS: u16 = 30_000;

impl Default for Sockets {
    fn default() -> Self {
        Self { all: BTreeMap::new(), last_id: 0, last_port: PORTS }
    }
}

impl Sockets {
    /// A port for an end that begins a connection.
    pub(super) fn fresh_port(&mut self) -> u16 {
        self.last_port = if self.last_port == u16::MAX { PORTS } else { self.last_port + 1 };
        self.last_port
    }

    pub(super) fn add(&mut self, socket: Socket) -> SocketId {
        self.last_id += 1;
        self.all.insert(self.last_id, socket);
        self.last_id
    }

    pub(super) fn get(&self, id: SocketId) -> Option<&Socket> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.all.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: SocketId) -> Option<Socket> {
        self.all.remove(&id)
    }

    /// The names of those of which this is so.
    pub(super) fn which(&self, so: impl Fn(&Socket) -> bool) -> Vec<SocketId> {
        self.all.iter().filter(|(_, socket)| so(socket)).map(|(id, _)| *id).collect()
    }
}
