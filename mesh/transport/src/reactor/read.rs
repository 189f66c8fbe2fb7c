//! What connections say: read, cut into messages, and handed to the handler.

use std::io;
use std::time::Instant;

use bytes::Bytes;

use super::{Closed, ConnId, Event, Handler, Origin, Reactor};
use crate::limits::Kind;
use crate::link::Incoming;
use crate::table::Supply;

/// What one connection has handled, in messages, before the others have their turn: a read can hold thousands of tiny ones.
const TURN_MESSAGES: usize = 512;
/// What something that has no business being frequent counts for: a malformed message, which is answered with a text about
/// what is wrong with it, and a subscription.
const RARE_MESSAGES: usize = 16;
/// Bytes that the codec is given at once. It makes messages of all of them, and one that takes two bytes on the wire takes
/// some sixty then.
const CODEC_BYTES: usize = 8 * 1024;
/// So many bytes of a message that is not whole are a sign of life; fewer are what a peer sends that wants to hold us up.
const PROGRESS_BYTES: usize = 512;
/// Bytes of one read, which is what a connection may have read in one turn.
pub(super) const READ_BYTES: usize = 64 * 1024;

impl<H: Handler> Reactor<H> {
    /// Reads every connection that has something, and hands the handler what came.
    pub(super) fn read_busy(&mut self, now: Instant) {
        let mut next = 0;
        while let Some(id) = self.io.flow.busy.get(next).copied() {
            next += 1;
            self.read(id, now);
        }
    }

    fn read(&mut self, id: ConnId, now: Instant) {
        let mut left = TURN_MESSAGES;
        let mut may_read = true;
        loop {
            let Some(conn) = self.io.flow.table.get(id) else { return };
            if !conn.takes_input() {
                return;
            }
            if !std::mem::take(&mut conn.intake.backlog) {
                if conn.intake.unparsed.is_empty() {
                    let reads = conn.intake.supply != Supply::Dry && std::mem::take(&mut may_read);
                    if !reads || !self.take_in(id, now) {
                        return;
                    }
                }
                if let Err(reason) = self.parse(id, now) {
                    // What came before it still counts.
                    self.deliver(id, now, &mut left);
                    return self.io.flow.end(id, reason);
                }
            }
            if !self.deliver(id, now, &mut left) {
                return;
            }
        }
    }

    /// Reads once. Says whether something came.
    fn take_in(&mut self, id: ConnId, now: Instant) -> bool {
        let Some(conn) = self.io.flow.table.get(id) else { return false };
        match self.io.kernel.read(id.index(), &mut self.scratch) {
            Ok(0) => self.io.flow.end(id, Closed::ByPeer),
            Ok(n) => {
                self.io.read_at = self.io.kernel.now();
                if n < self.scratch.len() {
                    conn.intake.supply.short_read();
                }
                conn.intake.unparsed = Bytes::copy_from_slice(self.scratch.get(..n).unwrap_or_default());
                if n >= PROGRESS_BYTES {
                    conn.heard = now;
                }
                return true;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => conn.intake.supply = Supply::Dry,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => self.io.flow.end(id, Closed::Io(e.kind())),
        }
        false
    }

    /// Has the codec make messages of a piece of what was read.
    fn parse(&mut self, id: ConnId, now: Instant) -> Result<(), Closed> {
        let Some(conn) = self.io.flow.table.get(id) else { return Ok(()) };
        let unparsed = &mut conn.intake.unparsed;
        let piece = unparsed.len().min(CODEC_BYTES.max(conn.link.left_of_frame()));
        let parsed = conn.link.receive(unparsed.split_to(piece));
        if conn.link.is_between_messages() {
            conn.heard = now;
        }
        let unread = conn.link.unread();
        if unread != conn.counted.unread {
            self.io.flow.count_unread(id, unread);
        }
        parsed.map_err(|error| Closed::Protocol(error.to_string()))
    }

    /// Hands the handler what came on a connection, as long as there is something `left` of its turn. Says whether that was all,
    /// and more may be read.
    fn deliver(&mut self, id: ConnId, now: Instant, left: &mut usize) -> bool {
        loop {
            let most = self.io.flow.settings.in_flight;
            let Some(conn) = self.io.flow.table.get(id) else { return false };
            let origin = conn.origin;
            if conn.gate.in_flight.count() >= most && conn.kind == Kind::Guest {
                self.io.flow.pause(id);
                return false;
            }
            if *left == 0 || !conn.takes_input() {
                conn.intake.backlog = true;
                return false;
            }
            let incoming = match conn.link.poll() {
                Ok(Some(incoming)) => incoming,
                Ok(None) => return true,
                Err(error) => {
                    self.io.flow.end(id, Closed::Protocol(error.to_string()));
                    return false;
                }
            };
            if !std::mem::replace(&mut self.worked, true) {
                self.spin.work(now);
            }
            let weight = self.hand_over(id, origin, now, &incoming);
            *left = left.saturating_sub(weight);
        }
    }

    /// Hands the handler one thing that came. Says for how many messages it counts.
    fn hand_over(&mut self, id: ConnId, origin: Origin, now: Instant, incoming: &Incoming) -> usize {
        let event = match incoming {
            Incoming::Ready => {
                self.io.flow.opened(id, now);
                Event::Opened(id, origin)
            }
            Incoming::Message(message) => Event::Message(id, origin, message),
            Incoming::Subscribe(topic) => Event::Subscribe(id, topic),
            Incoming::Cancel(topic) => Event::Cancel(id, topic),
        };
        let malformed = self.io.flow.usage.malformed;
        self.handler.handle(event, &mut self.io);
        let rare = self.io.flow.usage.malformed > malformed
            || matches!(incoming, Incoming::Subscribe(_) | Incoming::Cancel(_));
        if rare { RARE_MESSAGES } else { 1 }
    }
}
