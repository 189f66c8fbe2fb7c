//! The connections, as the handler sees them.

use std::net::SocketAddr;
use std::time::Instant;

use omq_proto::SocketType;

use super::{ConnId, Origin, Usage};
use crate::curve::Security;
use crate::flow::Flow;
use crate::in_flight::Ticket;
use crate::kernel::{Ending, Kernel};
use crate::limits::Kind;
use crate::link::{Link, Side};

/// Beyond this a connection is written in the middle of a turn, to keep the buffers small.
const EAGER_WRITE_BYTES: usize = 256 * 1024;
/// A connection that is owed this many messages in one turn is written before the turn ends, and again at each doubling: its
/// peer then reads the first while we make the rest, instead of both waiting for each other in turn. With 64 in flight
/// that doubles the rate; at one write for each doubling a long turn hardly notices.
const EARLY_MESSAGES: u32 = 32;

/// The connections, as the handler sees them.
#[derive(Debug)]
pub struct Io {
    pub(super) kernel: Box<dyn Kernel>,
    pub(super) flow: Flow,
    pub(super) now: Instant,
    pub(super) read_at: Instant,
}

impl Io {
    /// The time at which this turn began to run; what is read in one turn happens at one time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// When the bytes were read of which the message that is handled now is a part.
    #[must_use]
    pub fn read_at(&self) -> Instant {
        self.read_at
    }

    /// Queues a message; it is written at the end of the turn. Says whether the connection is still there. Whether a link has
    /// [`Io::room`] for it is for the sender to ask.
    pub fn send(&mut self, id: ConnId, parts: &[&[u8]]) -> bool {
        self.queue(id, |link| link.send(parts))
    }

    /// The same with a last part that is given away: it is not copied.
    pub fn send_owned(&mut self, id: ConnId, front: &[&[u8]], last: Vec<u8>) -> bool {
        self.queue(id, |link| link.send_owned(front, last))
    }

    fn queue(&mut self, id: ConnId, put: impl FnOnce(&mut Link)) -> bool {
        let Some(conn) = self.flow.table.get(id) else {
            return false;
        };
        if conn.is_over() {
            // What it was told and did not answer is settled when the handler hears of its end.
            return true;
        }
        put(&mut conn.link);
        conn.dues.queued += 1;
        if self.flow.overflows(id) {
            return true;
        }
        let Some(conn) = self.flow.table.get(id) else { return false };
        let owed = conn.link.unsent_bytes();
        let early = conn.dues.queued >= EARLY_MESSAGES && conn.dues.queued.is_power_of_two();
        let eager = (early || owed > EAGER_WRITE_BYTES) && !conn.dues.wants_write;
        let grown = conn.owed() > conn.counted.unsent + EAGER_WRITE_BYTES;
        if !conn.listed {
            conn.listed = true;
            self.flow.busy.push(id);
        }
        if eager {
            self.write(id);
        } else if grown {
            self.flow.owes(id);
        }
        true
    }

    /// Bytes that this connection's peer has not taken yet.
    pub fn unsent(&mut self, id: ConnId) -> usize {
        self.flow.table.get(id).map_or(0, |conn| conn.link.unsent_bytes())
    }

    /// The same, with what is being made for it.
    pub fn owed(&mut self, id: ConnId) -> usize {
        self.flow.table.get(id).map_or(0, |conn| conn.owed())
    }

    /// The connections to this listener whose peers have not taken all that they were sent.
    pub fn owing(&mut self, listener: u8) -> Vec<ConnId> {
        let mut ids = self.flow.table.ids();
        ids.retain(|id| {
            let conn = self.flow.table.get(*id);
            conn.is_some_and(|conn| conn.origin == Origin::Accepted(listener) && conn.owed() > 0)
        });
        ids
    }

    /// Says how many bytes are being made for a connection: they count as what it is owed.
    pub fn withhold(&mut self, id: ConnId, bytes: usize) {
        self.flow.withhold(id, bytes);
    }

    /// Bytes that are being made for a connection.
    pub fn withheld(&mut self, id: ConnId) -> usize {
        self.flow.table.get(id).map_or(0, |conn| conn.dues.withheld)
    }

    /// Whether guests are owed more than [`super::Settings::unsent_total_bytes`].
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.flow.is_crowded()
    }

    /// How many bytes a link takes before it has [`super::Settings::link_bytes`] that the other side has not taken; none if it
    /// is gone.
    pub fn room(&mut self, id: ConnId) -> usize {
        let most = self.flow.settings.link_bytes;
        self.flow.table.get(id).map_or(0, |conn| most.saturating_sub(conn.link.unsent_bytes()))
    }

    /// The daemon that opened this link has greeted as it should. A link that has not within
    /// [`super::Settings::handshake`] is closed.
    pub fn confirm(&mut self, id: ConnId) {
        self.flow.confirm(id);
    }

    /// Opens a link, as a DEALER. It is ready when [`super::Event::Opened`] comes with this number;
    /// [`super::Event::Closed`] comes if it can't be had.
    ///
    /// # Errors
    /// The operating system refused at once, e.g. because no file descriptor is left.
    pub fn connect(&mut self, address: SocketAddr, number: u64, security: &Security) -> std::io::Result<ConnId> {
        let key = self.flow.table.next_index();
        self.kernel.connect(address, key)?;
        let bounds = self.flow.settings.bounds(self.flow.settings.message_bytes);
        let link = Link::new(Side::Opened, SocketType::Dealer, bounds, security);
        let id = self.flow.insert(link, Origin::Opened(number), Kind::Link, self.now);
        self.begin(id)?;
        Ok(id)
    }

    /// A new connection is watched, and its handshake waited for; if the operating system refuses, it is gone.
    pub(super) fn begin(&mut self, id: ConnId) -> std::io::Result<()> {
        let watched = self.kernel.watch(id.index());
        match &watched {
            Ok(()) => self.flow.await_handshake(id, self.now),
            Err(_) => self.give_up(id, Ending::Orderly),
        }
        watched
    }

    /// Forgets a connection of which the handler never heard.
    pub(super) fn give_up(&mut self, id: ConnId, how: Ending) {
        if self.flow.remove(id).is_some() {
            self.kernel.close(id.index(), how);
        }
    }

    /// The key with which a connection's peer authenticated itself.
    pub fn peer_key(&mut self, id: ConnId) -> Option<[u8; 32]> {
        self.flow.table.get(id).and_then(|conn| conn.link.peer_key().copied())
    }

    /// Whether a connection's peer expects our former key.
    pub fn is_by_former_key(&mut self, id: ConnId) -> bool {
        self.flow.table.get(id).is_some_and(|conn| conn.link.is_by_former_key())
    }

    /// Says that what came from this connection was no message as it should be. After too many the connection is closed.
    pub fn malformed(&mut self, id: ConnId) {
        self.flow.malformed(id);
    }

    /// To be kept by what a message of this connection waits in, until it is answered: see
    /// [`super::Settings::in_flight`].
    pub fn ticket(&mut self, id: ConnId) -> Option<Ticket> {
        self.flow.table.get(id).map(|conn| conn.gate.in_flight.ticket())
    }

    /// Connections that are not read because too much of what they sent is under way.
    #[must_use]
    pub fn paused(&self) -> usize {
        self.flow.paused()
    }

    /// What the connections take now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.flow.usage
    }

    /// Closes a connection, after what is queued has been written.
    pub fn close(&mut self, id: ConnId) {
        self.flow.close(id, self.now);
    }

    /// Number of connections, accepted and opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.flow.table.len()
    }
}
