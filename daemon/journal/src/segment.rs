//! A segment: a file of the journal, zero-filled before it is used and overwritten when it is used again, so that writing into it changes
//! no length and no table of the filesystem. A block with its header, then batches.
//!
//! The header is written with the first batch of a segment's life, and synced with it. Before, a segment that is used again has its
//! former header and batches: their lsns are lower than any that is looked for.

use statemesh_protocol::record::Fields;

use crate::batch::BLOCK;
use crate::header::{self, HeaderFault, SEGMENT};

/// Bytes of a segment, its header included.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Folder of the segments.
pub const FOLDER: &str = "journal";
/// Offset of a segment's first batch.
pub const FIRST_BATCH: u64 = BLOCK;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The volume that it belongs to.
    pub volume: u64,
    /// Its number, that of its name.
    pub segment: u64,
    /// lsn of its first batch.
    pub first_lsn: u64,
}

impl SegmentHeader {
    /// Its block, with the zeros behind it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = [self.volume, self.segment, self.first_lsn].map(u64::to_le_bytes).concat();
        let mut block = Vec::with_capacity(BLOCK as usize);
        header::write(SEGMENT, &body, &mut block);
        block.resize(BLOCK as usize, 0);
        block
    }

    /// Reads a segment's first block.
    pub fn decode(block: &[u8]) -> Result<Self, HeaderFault> {
        let mut body = Fields::new(header::read(SEGMENT, block)?);
        let mut long = || body.array().map(|bytes| u64::from_le_bytes(*bytes)).map_err(|_| HeaderFault::Damaged);
        Ok(Self { volume: long()?, segment: long()?, first_lsn: long()? })
    }
}

/// Path of the segment with this number, below the volume.
#[must_use]
pub fn path(number: u64) -> String {
    format!("{FOLDER}/{number:016x}.seg")
}

/// The number of a segment by its name in the folder; `None` for another file.
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 16)?;
    let is_ours = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if is_ours { u64::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_takes_a_block_and_is_read_as_it_was_written() {
        let header = SegmentHeader { volume: 1, segment: 2, first_lsn: 3 };
        let block = header.encode();
        assert_eq!((block.len() as u64, SegmentHeader::decode(&block)), (BLOCK, Ok(header)));
        assert_eq!(SegmentHeader::decode(&[0; 4_096]), Err(HeaderFault::Damaged));
    }

    #[test]
    fn a_segment_is_known_by_its_name_only() {
        assert_eq!(path(0xab), "journal/00000000000000ab.seg");
        assert_eq!(number("00000000000000ab.seg"), Some(0xab));
        for other in ["ab.seg", "00000000000000AB.seg", "+0000000000000ab.seg", "00000000000000ab.seg.new", "x"] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
