//! The connections of one reactor, by an id that is never reused.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;
use mio::net::TcpStream;
use slab::Slab;

use crate::heartbeat::Rounds;
use crate::link::Link;
use crate::reactor::{ConnId, Origin};
use crate::under_way::UnderWay;

/// One connection and where it stands.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) stream: TcpStream,
    pub(crate) link: Link,
    pub(crate) origin: Origin,
    pub(crate) generation: u32,
    /// The handler was told that it is open, so it must be told that it closed.
    pub(crate) announced: bool,
    /// There may be bytes to read: the last read did not say otherwise.
    pub(crate) readable: bool,
    /// The peer has closed its side: there will be no further edge, so it is read to the end.
    pub(crate) hung_up: bool,
    /// It is in the reactor's list of connections with something to do.
    pub(crate) listed: bool,
    /// The peer does not take what we write: it is not read until it does.
    pub(crate) stalled: bool,
    /// What it sent and nobody has answered.
    pub(crate) under_way: UnderWay,
    /// Too much of that: it is not read until there is less.
    pub(crate) paused: bool,
    /// Interest in writability is registered.
    pub(crate) wants_write: bool,
    /// Messages queued for it in this turn.
    pub(crate) queued: u32,
    /// To be closed once everything is written.
    pub(crate) closing: bool,
    /// It is over, and will be taken out: nothing more is read of it.
    pub(crate) over: bool,
    /// Messages are left that had no room in their turn.
    pub(crate) backlog: bool,
    /// What was read behind these.
    pub(crate) unparsed: Bytes,
    /// Where an accepted connection comes from.
    pub(crate) address: Option<IpAddr>,
    /// When it last gave a sign of life: a whole message, or a good part of one.
    pub(crate) heard: Instant,
    /// Malformed messages since it was last looked at.
    pub(crate) malformed: u32,
    /// What it adds to the reactor's sums.
    pub(crate) counted: Counted,
}

/// Bytes of one connection, as they stand in the sums of all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) unread: usize,
    pub(crate) unsent: usize,
}

/// Slab of connections; a generation makes a stale id harmless.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: Slab<Conn>,
    generation: u32,
    /// Connections whose handshake is not complete, in the order of their deadlines.
    pub(crate) handshakes: VecDeque<(Instant, ConnId)>,
    /// Connections whose handshake is complete, in the order in which they are looked at for signs of life.
    pub(crate) rounds: Rounds,
}

impl Conn {
    /// Whether it is read just now.
    pub(crate) fn takes_input(&self) -> bool {
        !(self.stalled || self.paused || self.closing || self.over)
    }
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The index that the next [`Table::insert`] takes.
    pub(crate) fn next_index(&self) -> usize {
        self.slots.vacant_key()
    }

    pub(crate) fn insert(&mut self, stream: TcpStream, link: Link, origin: Origin, now: Instant) -> ConnId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.slots.insert(Conn {
            stream,
            link,
            origin,
            generation,
            announced: false,
            readable: false,
            hung_up: false,
            listed: false,
            stalled: false,
            under_way: UnderWay::default(),
            paused: false,
            wants_write: false,
            queued: 0,
            closing: false,
            over: false,
            backlog: false,
            unparsed: Bytes::new(),
            address: None,
            heard: now,
            malformed: 0,
            counted: Counted::default(),
        });
        ConnId::new(index, generation)
    }

    pub(crate) fn get(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slots.get_mut(id.index()).filter(|conn| conn.generation == id.generation())
    }

    pub(crate) fn id_at(&self, index: usize) -> Option<ConnId> {
        self.slots.get(index).map(|conn| ConnId::new(index, conn.generation))
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        self.get(id)?;
        Some(self.slots.remove(id.index()))
    }

    /// The connection that keeps most of a message that is not whole; of equals, the one that was silent for longest.
    pub(crate) fn worst_reader(&self) -> Option<ConnId> {
        let worst = self
            .slots
            .iter()
            .max_by(|(_, a), (_, b)| a.counted.unread.cmp(&b.counted.unread).then(b.heard.cmp(&a.heard)));
        worst.map(|(index, conn)| ConnId::new(index, conn.generation))
    }

    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.slots.iter().map(|(index, conn)| ConnId::new(index, conn.generation)).collect()
    }
}
