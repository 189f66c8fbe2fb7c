//! What of a journal is read back, as a value: it is given one segment after the other, in the order of their numbers.
//!
//! Every block is looked at, and a batch is known by its header alone: volume and lsn. What is looked for is one lsn; who finds it goes on
//! behind it. So it does not matter in which segment a batch stands, what else a segment has of its former life, or whether the segment's
//! own header is right.
//!
//! - **A torn tail** is what was being written when the power went: nothing right of a later lsn is anywhere. It ends the journal, and
//!   nothing in it was acknowledged.
//! - **Damage** is anything else that is not right: a later batch exists, which was written after this one was synced. The lsns between are
//!   *lost*; what follows them is read, since a shard whose checkpoint is newer needs none of them.

use std::ops::Range;

use statemesh_protocol::record::{Fields, Record, Unreadable};

use crate::batch::{BLOCK, BatchHeader};
use crate::header::HeaderFault;
use crate::journal::{Position, Start};
use crate::segment::{FIRST_BATCH, SegmentHeader};

/// What reading comes upon, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A batch. Its records can all be read.
    Batch(BatchHeader, &'a [u8]),
    /// Batches of these lsns were synced once, and are not there.
    Lost(Range<u64>),
}

/// Why a journal cannot be read at all. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalFault {
    /// A later version wrote it.
    #[error("segment {segment:016x}: {found}")]
    Later {
        /// The segment.
        segment: u64,
        /// What this version does not know.
        found: Unreadable,
    },
    /// A later version wrote the segment.
    #[error("segment {segment:016x}: its format is {format}")]
    Format {
        /// The segment.
        segment: u64,
        /// Its format.
        format: u16,
    },
    /// It is sealed, and this version has no keys.
    #[error("batch {lsn} is sealed with key {key_id:016x}, which is not here")]
    Sealed {
        /// The batch.
        lsn: u64,
        /// The key.
        key_id: u64,
    },
}

/// What was found in all.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// How the journal goes on.
    pub start: Start,
    /// Lost lsns, in ascending order: none, or there is damage.
    pub lost: Vec<Range<u64>>,
    /// Blocks that must be cleared before the journal goes on: they may begin a batch with an lsn that will be given again.
    pub void: Vec<Position>,
    /// The last batch with its place, which must be written there again, and synced, before anything in it counts as durable. It may have
    /// been read from the system's cache: where the process ended before its sync, or the sync failed and the pages were marked clean.
    /// Those before it were synced before it was begun.
    pub last: Option<(Position, Vec<u8>)>,
    /// Mesh time of the last batch, in milliseconds.
    pub mesh_time: u64,
}

/// Reads a journal back.
#[derive(Debug)]
pub struct Recovery {
    volume: u64,
    /// The lsn that is looked for.
    wanted: u64,
    /// The last right batch, and where the next one would be.
    last: Option<(u64, Position)>,
    segments: Vec<(u64, u64)>,
    lost: Vec<Range<u64>>,
    /// Blocks that a torn batch may begin with: those behind which nothing right was found yet.
    torn: Vec<Position>,
    /// The bytes of the last batch.
    tail: Option<(Position, Vec<u8>)>,
    /// The last batch that was read has records.
    ends_with_records: bool,
    mesh_time: u64,
}

impl Recovery {
    /// Reads the journal of this volume, as far as it is not in checkpoints: from this lsn on.
    #[must_use]
    pub fn new(volume: u64, from: u64) -> Self {
        Self {
            volume,
            wanted: from.max(1),
            last: None,
            segments: Vec::new(),
            lost: Vec::new(),
            torn: Vec::new(),
            tail: None,
            ends_with_records: false,
            mesh_time: 0,
        }
    }

    /// Reads a segment, of a higher number than those before.
    pub fn segment(&mut self, number: u64, bytes: &[u8], found: &mut dyn FnMut(Event<'_>)) -> Result<(), JournalFault> {
        match SegmentHeader::decode(bytes) {
            Err(HeaderFault::Later(format)) => return Err(JournalFault::Format { segment: number, format }),
            // A copy from elsewhere: none of its batches is ours, and each says so.
            Ok(_) | Err(HeaderFault::Damaged) => self.segments.push((number, 0)),
        }
        let mut offset = FIRST_BATCH;
        let mut last = None;
        while let Some(batch) = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).filter(|at| !at.is_empty())
        {
            let at = Position { segment: number, offset };
            let taken = self.block(at, batch, found)?;
            last = taken.map(|extent| (at, batch, extent)).or(last);
            offset += taken.unwrap_or(BLOCK);
        }
        if let Some((at, batch, extent)) = last {
            let bytes = usize::try_from(extent).ok().and_then(|extent| batch.get(..extent)).unwrap_or(batch);
            self.tail = Some((at, bytes.to_vec()));
        }
        Ok(())
    }

    /// Looks at a block. Gives the extent of the batch that begins there, if it is taken.
    fn block(
        &mut self,
        at: Position,
        batch: &[u8],
        found: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<u64>, JournalFault> {
        let Some(header) = BatchHeader::decode(batch).ok().filter(|header| header.volume == self.volume) else {
            return Ok(None);
        };
        if header.key_id != 0 {
            return Err(JournalFault::Sealed { lsn: header.lsn, key_id: header.key_id });
        }
        let end = Position { offset: at.offset.saturating_add(header.extent()), ..at };
        if header.lsn < self.wanted {
            self.note(header.lsn, end);
            return Ok(None);
        }
        // It was begun when all before it was synced.
        self.lose(self.wanted..header.lsn, found);
        self.wanted = header.lsn;
        match contents(&header, batch) {
            Ok(payload) => {
                self.note(header.lsn, end);
                self.wanted = header.lsn.saturating_add(1);
                self.ends_with_records = header.records > 0;
                self.mesh_time = self.mesh_time.max(header.mesh_time);
                self.torn.clear();
                found(Event::Batch(header, payload));
                Ok(Some(header.extent()))
            }
            Err(later @ Unreadable::Later { .. }) => Err(JournalFault::Later { segment: at.segment, found: later }),
            Err(_) => {
                self.torn.push(at);
                Ok(None)
            }
        }
    }

    /// Notes a batch that was found: the last one says where the journal goes on.
    fn note(&mut self, lsn: u64, end: Position) {
        if let Some((_, last)) = self.segments.last_mut() {
            *last = lsn.max(*last);
        }
        if self.last.is_none_or(|(last, _)| last < lsn) {
            self.last = Some((lsn, end));
        }
    }

    fn lose(&mut self, lsns: Range<u64>, found: &mut dyn FnMut(Event<'_>)) {
        if !lsns.is_empty() {
            self.lost.push(lsns.clone());
            found(Event::Lost(lsns));
        }
    }

    /// What was found. Checkpoints have records of batches up to `covered`; those were durable when they were written.
    pub fn finish(mut self, covered: u64, found: &mut dyn FnMut(Event<'_>)) -> Recovered {
        let ends_early = self.wanted <= covered;
        self.lose(self.wanted..covered.saturating_add(1), found);
        let end = self.last.map(|(_, end)| end);
        let current = end.map_or(0, |end| end.segment);
        let (closed, ahead): (Vec<_>, Vec<_>) =
            self.segments.iter().copied().partition(|(number, _)| *number <= current);
        // Behind an end that comes too early there may be something to save. Nothing is written there.
        let at = end.filter(|_| !ends_early);
        let closed = closed.into_iter().filter(|(number, _)| at.is_none_or(|at| *number < at.segment)).collect();
        let ahead: Vec<u64> = ahead.into_iter().map(|(number, _)| number).collect();
        let void = self.torn.into_iter().filter(|_| !ends_early).chain(at).collect();
        let next_lsn = self.wanted.max(covered.saturating_add(1));
        // What a checkpoint covers needs no other proof.
        let lacks_proof = self.ends_with_records && self.wanted > covered.saturating_add(1);
        let start = Start { volume: self.volume, next_lsn, at, closed, ahead, lacks_proof };
        Recovered { start, lost: self.lost, void, last: self.tail, mesh_time: self.mesh_time }
    }
}

/// The payload of a batch whose records can all be read.
fn contents<'a>(header: &BatchHeader, batch: &'a [u8]) -> Result<&'a [u8], Unreadable> {
    let payload = header.payload(batch)?;
    let mut records = Fields::new(payload);
    let mut count = 0_u32;
    while !records.is_empty() {
        Record::read(&mut records)?;
        count = count.saturating_add(1);
    }
    if count == header.records { Ok(payload) } else { Err(Unreadable::Malformed("the number of records")) }
}
