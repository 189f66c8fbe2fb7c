//! What one end of a connection sends: what the kernel has taken of its writer, what is on its way, and what is not acknowledged.

use std::collections::VecDeque;

/// Something on its way to the other end.
#[derive(Debug)]
pub(super) enum InFlight {
    Bytes(Vec<u8>),
    End,
}

/// The way out of a socket.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    unsent: VecDeque<u8>,
    /// No more will be written.
    closing: bool,
    end_sent: bool,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
    /// Bytes that have arrived, of which the other end could not say so.
    unacknowledged: usize,
    /// When the last of what is in flight arrives: nothing overtakes.
    last_arrival: u64,
    /// A write found no room: it is told when there is some.
    hungry: bool,
    /// Since when nothing gets across.
    stalled: Option<u64>,
}

impl Outgoing {
    /// Bytes of the send buffer that are taken.
    fn buffered(&self) -> usize {
        self.unsent.len() + self.in_flight_bytes + self.unacknowledged
    }

    /// Takes of these bytes what a send buffer of this size has room for. Says how many.
    pub(super) fn write(&mut self, bytes: &[u8], most: usize) -> Option<usize> {
        let room = most.saturating_sub(self.buffered()).min(bytes.len());
        if room == 0 && !bytes.is_empty() {
            self.hungry = true;
            return None;
        }
        self.unsent.extend(bytes.get(..room).unwrap_or_default());
        Some(room)
    }

    /// A write came too early: the writer is told when there is room.
    pub(super) fn wants_room(&mut self) {
        self.hungry = true;
    }

    /// Whether a writer that waits has half of a send buffer of this size again; it waits no longer then.
    pub(super) fn room_again(&mut self, most: usize) -> bool {
        let again = self.hungry && self.buffered() <= most / 2;
        self.hungry &= !again;
        again
    }

    /// No more will be written.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Bytes that can be sent, where the other end has received so many and keeps so many.
    pub(super) fn sendable(&self, received: usize, keeps: usize) -> usize {
        keeps.saturating_sub(received + self.in_flight_bytes).min(self.unsent.len())
    }

    /// Sends bytes that arrive at this time, or behind the last ones. Gives when.
    pub(super) fn send(&mut self, size: usize, at: u64) -> u64 {
        let bytes: Vec<u8> = self.unsent.drain(..size).collect();
        self.in_flight_bytes += size;
        self.put(InFlight::Bytes(bytes), at)
    }

    /// Sends the end, if that is what comes next. Gives when it arrives.
    pub(super) fn send_end(&mut self, at: u64) -> Option<u64> {
        let due = self.closing && !self.end_sent && self.unsent.is_empty();
        self.end_sent |= due;
        due.then(|| self.put(InFlight::End, at))
    }

    fn put(&mut self, what: InFlight, at: u64) -> u64 {
        self.in_flight.push_back(what);
        self.last_arrival = self.behind(at);
        self.last_arrival
    }

    /// This time, or the first one behind what is in flight.
    pub(super) fn behind(&self, at: u64) -> u64 {
        at.max(self.last_arrival + 1)
    }

    /// The oldest of what is in flight arrives; `deaf`: the other end cannot acknowledge it.
    pub(super) fn arrives(&mut self, deaf: bool) -> Option<InFlight> {
        let what = self.in_flight.pop_front()?;
        if let InFlight::Bytes(bytes) = &what {
            self.in_flight_bytes -= bytes.len();
            if deaf {
                self.unacknowledged += bytes.len();
            }
        }
        Some(what)
    }

    /// Nothing gets across from now on. Says whether that is new.
    pub(super) fn stall(&mut self, now: u64) -> bool {
        let new = self.stalled.is_none();
        self.stalled.get_or_insert(now);
        new
    }

    /// Whether nothing has got across since then.
    pub(super) fn is_stalled_since(&self, since: u64) -> bool {
        self.stalled == Some(since)
    }

    /// Bytes get across again, and acknowledgements come back.
    pub(super) fn unstall(&mut self) {
        self.stalled = None;
        self.unacknowledged = 0;
    }

    /// What was to be sent is gone.
    pub(super) fn clear(&mut self) {
        self.unsent.clear();
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.unacknowledged = 0;
    }

    /// Whether the end has arrived.
    pub(super) fn is_over(&self) -> bool {
        self.end_sent && self.in_flight.is_empty()
    }

    /// Whether something is there that should get across.
    pub(super) fn has_something_to_say(&self) -> bool {
        !self.unsent.is_empty()
            || !self.in_flight.is_empty()
            || self.unacknowledged > 0
            || self.closing && !self.end_sent
    }
}
