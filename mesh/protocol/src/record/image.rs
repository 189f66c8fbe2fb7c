//! An instance as it stands, at an index of its place: what a checkpoint has of it, and what a hand-off sends. It is not what the
//! memory tier's hand-off sends ([`crate::image`]), which no disk ever has.

use super::field::{Fields, Unreadable, put_varint};
use super::part::Parts;
use super::{PartWriter, frame};

/// An image, as its bytes have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredImage<'a> {
    /// Index of the last record that it has.
    pub index: u64,
    /// Mesh time of that record, in milliseconds.
    pub at: u64,
    /// Mesh time of its next timer, in milliseconds; 0: it has none.
    pub next_deadline: u64,
    /// The published hash of `machine/key`.
    pub key_hash: u64,
    /// Its parts, checked.
    pub parts: Parts<'a>,
}

impl<'a> StoredImage<'a> {
    /// Appends an image with these fields and the parts that `parts` writes.
    pub fn write(&self, out: &mut Vec<u8>, parts: impl FnOnce(&mut PartWriter<'_>)) {
        let start = frame::begin(out);
        [self.index, self.at, self.next_deadline].iter().for_each(|number| put_varint(*number, out));
        out.extend_from_slice(&self.key_hash.to_le_bytes());
        parts(&mut PartWriter { out });
        frame::end(out, start);
    }

    /// Reads the image that comes next and checks it; `None` is the end of a section's images.
    pub fn read(from: &mut Fields<'a>) -> Result<Option<Self>, Unreadable> {
        let mut body = Fields::new(frame::open(from)?);
        if body.is_empty() {
            return Ok(None);
        }
        let [index, at, next_deadline] = [body.varint()?, body.varint()?, body.varint()?];
        let key_hash = u64::from_le_bytes(*body.array()?);
        Ok(Some(Self { index, at, next_deadline, key_hash, parts: Parts::check(body.rest())? }))
    }

    /// An image without parts, to be written.
    #[must_use]
    pub const fn new(index: u64, at: u64, next_deadline: u64, key_hash: u64) -> Self {
        Self { index, at, next_deadline, key_hash, parts: Parts(&[]) }
    }
}
