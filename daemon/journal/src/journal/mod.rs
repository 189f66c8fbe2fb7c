//! The journal as a value: which records go into which batch, where it is written, and from when on it is durable.
//!
//! - **One batch is in flight.** What comes meanwhile gathers, and goes with the next one: group commit without a delay. So batch n+1 is
//!   written after n is synced, and recovery can tell what was torn from what is damaged.
//! - **A journal that has become idle says so**: some milliseconds behind its last batch it writes an empty one, since damage to the very
//!   last batch cannot be told from one that was torn. So does one that ends, and one that begins behind a batch without such a proof.
//! - **Room is there before it is needed.** A batch goes into segments that exist; the next one and a reserve are asked for ahead. Without
//!   the reserve the journal is *full*: who feeds it must take no further events, and what was taken already fits what is there.
//! - **A sync that failed ends it.** The kernel may have marked the pages clean, so a second sync proves nothing (Rebello, ATC'20).

mod messages;
mod supply;

use std::collections::VecDeque;

use statemesh_protocol::record::Record;

use crate::batch::{BATCH_HEADER, BLOCK, BatchHeader, extent};
use crate::segment::{FIRST_BATCH, SegmentHeader};
use supply::Supply;

pub use messages::{Config, Input, Output, Position, Refused, Start};

/// Room at a buffer's front: for a segment's header, which is written with its first batch.
const FRONT: usize = BLOCK as usize;

/// Records that wait for their batch.
#[derive(Debug)]
struct Gathered {
    lsn: u64,
    /// Room for both headers, then the payload.
    bytes: Vec<u8>,
    records: u32,
    is_closed: bool,
}

/// The batch that is written or synced.
#[derive(Debug)]
struct Flight {
    lsn: u64,
    bytes: Vec<u8>,
    /// Where in `bytes` it begins: with the segment's header, or behind its room.
    from: usize,
    segment: u64,
    is_written: bool,
    is_empty: bool,
}

/// The journal of a volume.
#[derive(Debug)]
pub struct Journal {
    config: Config,
    volume: u64,
    next_lsn: u64,
    durable: u64,
    at: Option<Position>,
    gathered: VecDeque<Gathered>,
    gathered_bytes: usize,
    flight: Option<Flight>,
    /// An emptied buffer, to be used again.
    buffer: Vec<u8>,
    supply: Supply,
    idle_at: Option<u64>,
    is_stopped: bool,
    outputs: VecDeque<Output>,
}

impl Journal {
    /// A journal that goes on behind what was found.
    #[must_use]
    pub fn new(config: Config, start: Start) -> Self {
        let supply = Supply::new(config.ahead, config.retry_ms, &start);
        let mut journal = Self {
            config,
            volume: start.volume,
            next_lsn: start.next_lsn.max(1),
            durable: start.next_lsn.max(1) - 1,
            at: start.at,
            gathered: VecDeque::new(),
            gathered_bytes: 0,
            flight: None,
            buffer: Vec::new(),
            supply,
            idle_at: start.lacks_proof.then_some(0),
            is_stopped: false,
            outputs: VecDeque::new(),
        };
        journal.supply.ask(&mut journal.outputs);
        journal
    }

    /// Takes what happened at this mesh time, in milliseconds. Records that are refused change nothing.
    pub fn handle(&mut self, input: Input<'_>, now: u64) -> Result<(), Refused> {
        if self.is_stopped {
            return if matches!(input, Input::Records(_)) { Err(Refused::Stopped) } else { Ok(()) };
        }
        match input {
            Input::Records(records) => self.gather(records)?,
            Input::Wrote => self.wrote(),
            Input::Synced => self.synced(now),
            Input::Failed => self.stop(),
            Input::Prepared(segment) => self.supply.prepared(segment),
            Input::NoRoom => self.supply.no_room(now),
            Input::Release(below) => self.supply.release(below),
            Input::Time => self.supply.time(now),
            Input::Idle => self.idle_at = self.idle_at.map(|at| at.min(now)),
        }
        if !self.is_stopped {
            self.supply.ask(&mut self.outputs);
            self.begin(now);
        }
        Ok(())
    }

    /// The next thing to be done.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Time`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let idle = self.idle_at.filter(|_| self.flight.is_none());
        [idle, self.supply.retry_at()].into_iter().flatten().min()
    }

    /// The batch in flight, as it is to be written.
    #[must_use]
    pub fn in_flight(&self) -> &[u8] {
        self.flight.as_ref().and_then(|flight| flight.bytes.get(flight.from..)).unwrap_or_default()
    }

    /// lsn up to which everything is durable.
    #[must_use]
    pub const fn durable(&self) -> u64 {
        self.durable
    }

    /// lsn of the last batch that has begun to gather: records that came last are in it.
    #[must_use]
    pub const fn last_lsn(&self) -> u64 {
        self.next_lsn - 1
    }

    /// Bytes of records that may come now. Beyond it, who feeds the journal keeps them.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.config.gather_bytes.saturating_sub(self.gathered_bytes)
    }

    /// Whether everything that came is durable.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.gathered.is_empty() && self.flight.is_none()
    }

    /// Whether the last batch has records, and no other behind it yet.
    #[must_use]
    pub const fn lacks_proof(&self) -> bool {
        self.idle_at.is_some()
    }

    /// Whether a batch is being written or synced.
    #[must_use]
    pub const fn is_in_flight(&self) -> bool {
        self.flight.is_some()
    }

    fn gather(&mut self, records: &[u8]) -> Result<(), Refused> {
        let lens = lengths(records);
        // All are looked at before any is taken.
        for len in lens.clone() {
            let len = len?;
            if extent(len as u64) > self.config.segment_bytes.saturating_sub(FIRST_BATCH) {
                return Err(Refused::TooLong(len));
            }
        }
        let mut rest = records;
        for len in lens.flatten() {
            let (record, behind) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            self.append(record);
            rest = behind;
        }
        Ok(())
    }

    fn append(&mut self, record: &[u8]) {
        let is_alone = record.len() > self.config.alone_bytes;
        let takes = |last: &Gathered| {
            let payload = last.bytes.len() - FRONT - BATCH_HEADER + record.len();
            !is_alone && !last.is_closed && payload <= self.config.batch_bytes
        };
        if !self.gathered.back().is_some_and(takes) {
            let lsn = self.next_lsn;
            self.next_lsn += 1;
            let bytes = front(std::mem::take(&mut self.buffer));
            self.gathered.push_back(Gathered { lsn, bytes, records: 0, is_closed: is_alone });
        }
        if let Some(last) = self.gathered.back_mut() {
            last.bytes.extend_from_slice(record);
            last.records += 1;
        }
        self.gathered_bytes += record.len();
    }

    /// Begins with the next batch, if there is one, none is in flight and a segment has room.
    fn begin(&mut self, now: u64) {
        if self.flight.is_some() {
            return;
        }
        if self.gathered.is_empty() {
            if self.idle_at.is_none_or(|at| at > now) {
                return;
            }
            let bytes = front(std::mem::take(&mut self.buffer));
            self.gathered.push_back(Gathered { lsn: self.next_lsn, bytes, records: 0, is_closed: true });
            self.next_lsn += 1;
        }
        let Some(payload) = self.gathered.front().map(|first| first.bytes.len() - FRONT - BATCH_HEADER) else { return };
        let Some((at, is_first)) = self.place(extent(payload as u64)) else { return };
        let Some(next) = self.gathered.pop_front() else { return };
        self.gathered_bytes = self.gathered_bytes.saturating_sub(payload);
        self.idle_at = None;
        self.depart(next, at, is_first, now);
    }

    /// Where a batch of so many bytes goes, and whether it is the first of its segment.
    fn place(&mut self, bytes: u64) -> Option<(Position, bool)> {
        if let Some(at) = self.at.filter(|at| at.offset.saturating_add(bytes) <= self.config.segment_bytes) {
            return Some((at, at.offset == FIRST_BATCH));
        }
        let segment = self.supply.take()?;
        if let Some(full) = self.at {
            self.supply.close(full.segment, self.durable);
        }
        let at = Position { segment, offset: FIRST_BATCH };
        self.at = Some(at);
        self.supply.ask(&mut self.outputs);
        Some((at, true))
    }

    fn depart(&mut self, batch: Gathered, at: Position, is_first: bool, now: u64) {
        let Gathered { lsn, mut bytes, records, .. } = batch;
        let payload = bytes.get(FRONT + BATCH_HEADER..).unwrap_or_default();
        let header = BatchHeader::new(self.volume, lsn, self.durable, now, records, payload);
        put(&mut bytes, FRONT, &header.encode());
        bytes.resize(FRONT + header.extent() as usize, 0);
        let (from, position) = if is_first {
            let segment = SegmentHeader { volume: self.volume, segment: at.segment, first_lsn: lsn };
            put(&mut bytes, 0, &segment.encode());
            (0, Position { offset: 0, ..at })
        } else {
            (FRONT, at)
        };
        self.at = Some(Position { offset: at.offset + header.extent(), ..at });
        let is_empty = records == 0;
        self.flight = Some(Flight { lsn, bytes, from, segment: at.segment, is_written: false, is_empty });
        self.outputs.push_back(Output::Write(position));
    }

    fn wrote(&mut self) {
        if let Some(flight) = self.flight.as_mut().filter(|flight| !flight.is_written) {
            flight.is_written = true;
            self.outputs.push_back(Output::Sync(flight.segment));
        }
    }

    fn synced(&mut self, now: u64) {
        let Some(flight) = self.flight.take_if(|flight| flight.is_written) else { return };
        self.durable = flight.lsn;
        if !flight.is_empty {
            self.idle_at = Some(now.saturating_add(self.config.idle_ms));
        }
        // A buffer that one large record has made stays no longer than its batch.
        if flight.bytes.capacity() <= 2 * (self.config.batch_bytes + 2 * FRONT) {
            self.buffer = flight.bytes;
        }
        self.outputs.push_back(Output::Durable(flight.lsn));
    }

    fn stop(&mut self) {
        self.is_stopped = true;
        self.outputs.clear();
        self.outputs.push_back(Output::Stop);
    }
}

/// A buffer with room for both headers.
fn front(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer.resize(FRONT + BATCH_HEADER, 0);
    buffer
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes.iter_mut().skip(at).zip(what).for_each(|(to, from)| *to = *from);
}

/// The lengths of records that stand one behind the other.
fn lengths(records: &[u8]) -> impl Iterator<Item = Result<usize, Refused>> + Clone + '_ {
    let mut rest = records;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let len = Record::len_of_first(rest).map_err(|_| Refused::Malformed);
        rest = len.ok().and_then(|len| rest.get(len..)).unwrap_or_default();
        Some(len)
    })
}

#[cfg(test)]
mod tests;
