//! The connections of one reactor, by an id that is never reused.

use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;
use slab::Slab;

use crate::in_flight::InFlight;
use crate::limits::Kind;
use crate::link::Link;
use crate::reactor::{ConnId, Origin};

/// What there is to read of a connection, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supply {
    /// The last read said that there is nothing more; more makes a new edge.
    Dry,
    /// There may be something.
    Some,
    /// The peer has closed its side: there will be no further edge, so it is read to the end.
    Last,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// It does.
    GoesOn,
    /// It is to be closed once everything is written.
    Closing,
    /// It is over, and will be taken out.
    Over,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Its handshake is not complete.
    Handshake,
    /// The handler was told that it is open, so it must be told that it closed.
    Opened,
    /// Its peer is known as well: the peer of a link that we accepted has greeted.
    Confirmed,
}

/// What a connection has for us.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) supply: Supply,
    /// Messages are left that had no room in their turn.
    pub(crate) backlog: bool,
    /// What was read behind these.
    pub(crate) unparsed: Bytes,
}

/// What keeps a connection from being read.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// The peer does not take what we write: it is not read until it does.
    pub(crate) stalled: bool,
    /// Too much is under way: it is not read until there is less.
    pub(crate) paused: bool,
    /// What it sent and was not answered yet.
    pub(crate) in_flight: InFlight,
}

/// What a connection is owed, besides what its link has queued.
#[derive(Debug)]
pub(crate) struct Dues {
    /// The last write left something, or there was none yet: writing waits until the kernel says that there is room.
    pub(crate) wants_write: bool,
    /// Messages queued for it in this turn.
    pub(crate) queued: u32,
    /// Bytes that are being made for it, as the handler says: they count as unsent.
    pub(crate) withheld: usize,
}

/// One connection and where it stands.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) link: Link,
    pub(crate) origin: Origin,
    pub(crate) kind: Kind,
    pub(crate) generation: u32,
    pub(crate) stage: Stage,
    pub(crate) course: Course,
    pub(crate) intake: Intake,
    pub(crate) gate: Gate,
    pub(crate) dues: Dues,
    /// It is in a list of connections with something to do.
    pub(crate) listed: bool,
    /// Where an accepted connection comes from, as long as it is counted.
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
}

impl Conn {
    fn new(link: Link, origin: Origin, kind: Kind, generation: u32, now: Instant) -> Self {
        Self {
            link,
            origin,
            kind,
            generation,
            stage: Stage::Handshake,
            course: Course::GoesOn,
            intake: Intake { supply: Supply::Dry, backlog: false, unparsed: Bytes::new() },
            gate: Gate::default(),
            // The first writability event flushes the greeting; it comes once the connection is established.
            dues: Dues { wants_write: true, queued: 0, withheld: 0 },
            listed: false,
            address: None,
            heard: now,
            malformed: 0,
            counted: Counted::default(),
        }
    }

    /// Bytes that it is owed: those that wait to be written, and those that are being made.
    pub(crate) fn owed(&self) -> usize {
        self.link.unsent_bytes() + self.dues.withheld
    }

    /// Whether it is read just now.
    pub(crate) fn takes_input(&self) -> bool {
        self.gate.is_open() && self.course == Course::GoesOn
    }

    /// Whether the handler was told that it is open.
    pub(crate) fn is_announced(&self) -> bool {
        self.stage >= Stage::Opened
    }

    /// Whether it is who it should be: its handshake is complete, and on a link that it opened it has greeted as well.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.stage == Stage::Confirmed
    }

    /// Whether it is a link with a daemon that has greeted.
    pub(crate) fn is_link(&self) -> bool {
        self.kind == Kind::Link && self.is_confirmed()
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.course == Course::Over
    }

    /// Whether it has something for us, and may say it.
    pub(crate) fn has_input(&self) -> bool {
        self.intake.has_some() && self.takes_input()
    }
}

impl Intake {
    fn has_some(&self) -> bool {
        self.supply != Supply::Dry || self.backlog || !self.unparsed.is_empty()
    }
}

impl Gate {
    fn is_open(&self) -> bool {
        !self.stalled && !self.paused
    }

    /// Stays closed for what is under way as long as that is more than `most`. Says whether it does.
    pub(crate) fn stays_paused(&mut self, most: usize) -> bool {
        self.paused = self.in_flight.count() > most;
        self.paused
    }
}

impl Supply {
    /// The kernel says that the connection is ready.
    pub(crate) fn ready(&mut self, readable: bool, hung_up: bool) {
        if hung_up {
            *self = Self::Last;
        } else if readable && *self == Self::Dry {
            *self = Self::Some;
        }
    }

    /// A read took less than it could have: a further byte would make a new edge.
    pub(crate) fn short_read(&mut self) {
        if *self == Self::Some {
            *self = Self::Dry;
        }
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

    pub(crate) fn insert(&mut self, link: Link, origin: Origin, kind: Kind, now: Instant) -> ConnId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.slots.insert(Conn::new(link, origin, kind, generation, now));
        ConnId::new(index, generation)
    }

    pub(crate) fn get(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slots.get_mut(id.index()).filter(|conn| conn.generation == id.generation())
    }

    /// The connection in a slot.
    pub(crate) fn at(&mut self, index: usize) -> Option<(ConnId, &mut Conn)> {
        self.slots.get_mut(index).map(|conn| (ConnId::new(index, conn.generation), conn))
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

    /// The guest, or peer that has not greeted, that has not taken most of what it was sent; of equals, the one that was silent for
    /// longest.
    pub(crate) fn worst_taker(&self) -> Option<ConnId> {
        let guests = self.slots.iter().filter(|(_, conn)| !conn.is_link());
        let worst = guests.max_by(|(_, a), (_, b)| a.counted.unsent.cmp(&b.counted.unsent).then(b.heard.cmp(&a.heard)));
        worst.map(|(index, conn)| ConnId::new(index, conn.generation))
    }

    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.slots.iter().map(|(index, conn)| ConnId::new(index, conn.generation)).collect()
    }
}
