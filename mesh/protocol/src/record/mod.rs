//! Records, images and sections: what daemons write to their disks and send to followers (`docs/reference/formats.md`). A record is
//! one atomic change of one instance, or of a place. It is made once, with its checksum, and goes as it is into the journal and
//! over links; who receives it checks it.
//!
//! Bytes that lie give an error, never a panic or an allocation. What a later version added under a number from 128 on is passed
//! over; below, reading ends with [`Unreadable::Later`], because to leave it out would change what the rest means.

mod field;
mod frame;
mod image;
mod item;
mod list;
mod part;
mod section;

pub use field::{Field, Fields, Unreadable, Value, put_varint};
pub use image::StoredImage;
pub use item::{
    Acknowledged, BlobRef, Child, Conflict, Consumer, ContextKey, Definition, Effect, Head, HeadFlags, KeptToken, Name,
    Numbered, Past, Received, Sent, Status, Task, TaskChange, Timer, Token, Vote, Voter,
};
pub use list::List;
pub use part::{Change, Items, OPTIONAL_FROM, Part, Parts, TimerCommand, Timers};
pub use section::{MessageMark, NewSection, SectionHead, SectionReader, SectionWriter};

use crate::place::{StoredPlace, StoredTier};

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A new instance.
    Create,
    /// What a step left.
    Step,
    /// An instance goes.
    Remove,
    /// What is kept beside an instance, without a step.
    Note,
    /// A definition and its tier.
    Define,
    /// The replicas of the place.
    Configuration,
    /// A leader's first entry of its term.
    Term,
    /// The vote of this replica.
    Vote,
    /// Up to which index all is committed.
    Commit,
    /// Everything from this record's index on is discarded.
    Truncate,
    /// A checkpoint of this shard is complete.
    Checkpoint,
    /// Hash the place at this index and compare.
    Verify,
    /// Nothing: room that was not used.
    Pad,
    /// A kind of a later version that may be passed over.
    Other(u8),
}

impl Kind {
    const KNOWN: [Self; 13] = [
        Self::Create,
        Self::Step,
        Self::Remove,
        Self::Note,
        Self::Define,
        Self::Configuration,
        Self::Term,
        Self::Vote,
        Self::Commit,
        Self::Truncate,
        Self::Checkpoint,
        Self::Verify,
        Self::Pad,
    ];

    fn from_number(number: u8) -> Result<Self, Unreadable> {
        if number >= OPTIONAL_FROM {
            return Ok(Self::Other(number));
        }
        let known = usize::from(number).checked_sub(1).and_then(|at| Self::KNOWN.get(at));
        known.copied().ok_or(Unreadable::Later { what: "kind of record", number: number.into() })
    }

    /// Its number on disk.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Other(number) => number,
            known => Self::KNOWN.iter().zip(1..).find(|(kind, _)| **kind == known).map_or(0, |(_, number)| number),
        }
    }

    /// Whether it takes the next index of its place. Another one stands at the index of the last that did, or, what is to be discarded,
    /// at the first index that is.
    #[must_use]
    pub const fn takes_an_index(self) -> bool {
        !matches!(self, Self::Vote | Self::Commit | Self::Truncate | Self::Checkpoint | Self::Pad | Self::Other(_))
    }
}

/// A record, as its bytes have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What stands before its parts.
    pub head: RecordHead,
    /// Its parts, checked.
    pub parts: Parts<'a>,
}

/// What stands before the parts of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// The place that it changes.
    pub place: StoredPlace,
    /// Its index there, from 1.
    pub index: u64,
    /// The term in which it was made; 0 on tier `disk`, where none is written.
    pub term: u64,
    /// Mesh time, in milliseconds; never lower than that of the index before.
    pub at: u64,
    /// What it is about.
    pub kind: Kind,
    /// The published hash of `machine/key`; 0 where it is about the place.
    pub key_hash: u64,
}

impl RecordHead {
    /// Appends a record with the parts that `parts` writes. Nothing is allocated but what `out` needs to grow.
    pub fn write(&self, out: &mut Vec<u8>, parts: impl FnOnce(&mut PartWriter<'_>)) {
        let start = frame::begin(out);
        self.place.write(out);
        put_varint(self.index, out);
        if self.place.tier == StoredTier::Replicated {
            put_varint(self.term, out);
        }
        put_varint(self.at, out);
        out.push(self.kind.number());
        out.extend_from_slice(&self.key_hash.to_le_bytes());
        parts(&mut PartWriter { out });
        frame::end(out, start);
    }

    fn read(body: &mut Fields<'_>) -> Result<Self, Unreadable> {
        let place: StoredPlace = body.read()?;
        let index = body.varint()?;
        let term = if place.tier == StoredTier::Replicated { body.varint()? } else { 0 };
        let at = body.varint()?;
        let kind = Kind::from_number(body.read()?)?;
        Ok(Self { place, index, term, at, kind, key_hash: u64::from_le_bytes(*body.array()?) })
    }
}

/// Appends parts, in the order of the calls.
#[derive(Debug)]
pub struct PartWriter<'v> {
    out: &'v mut Vec<u8>,
}

impl PartWriter<'_> {
    /// Appends a part.
    pub fn part(&mut self, part: &Part<'_>) -> &mut Self {
        part.write(self.out);
        self
    }

    /// Appends a part that is a list.
    pub fn list(&mut self, items: &Items<'_, '_>) -> &mut Self {
        items.write(self.out);
        self
    }

    /// Appends parts as another record or image has them.
    pub fn copied(&mut self, parts: Parts<'_>) -> &mut Self {
        self.out.extend_from_slice(parts.bytes());
        self
    }
}

impl<'a> Record<'a> {
    /// Reads the record that comes next and checks all of it.
    pub fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        let mut body = Fields::new(frame::open(from)?);
        let head = RecordHead::read(&mut body)?;
        // The parts of a kind that is passed over may be of a form that is not known either.
        let parts = if matches!(head.kind, Kind::Other(_)) { Parts(body.rest()) } else { Parts::check(body.rest())? };
        Ok(Self { head, parts })
    }

    /// Bytes of the record that comes first in these, as its length says. It is not checked.
    pub fn len_of_first(bytes: &[u8]) -> Result<usize, Unreadable> {
        frame::len(bytes)
    }
}

#[cfg(test)]
mod tests;
