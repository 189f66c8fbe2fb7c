//! A batch: what is written and synced at once. A header of 72 bytes, a payload of whole records, zeros to the next block. It begins on a
//! block of its own, so no byte that was acknowledged is ever written again.

use statemesh_protocol::record::{Fields, Unreadable};

/// Bytes to a multiple of which a batch is padded, and at multiples of which it begins.
pub const BLOCK: u64 = 4_096;
/// Bytes of a batch's header.
pub const BATCH_HEADER: usize = 72;
/// What a batch begins with.
const MAGIC: &[u8; 4] = b"smba";
/// Flag of a batch without records, which only says what is durable.
const EMPTY: u32 = 1;

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The volume that it belongs to.
    pub volume: u64,
    /// Its number, from 1.
    pub lsn: u64,
    /// The highest lsn that was known to be synced when it was written.
    pub durable: u64,
    /// Mesh time, in milliseconds.
    pub mesh_time: u64,
    /// Key of the payload's seal; 0: it is not sealed.
    pub key_id: u64,
    /// Random part of the seal's nonce; 0 where it is not sealed.
    pub nonce: u64,
    /// Bytes of the payload.
    pub payload_len: u32,
    /// Number of records in it.
    pub records: u32,
    /// crc of the payload as it is on disk.
    pub payload_crc: u32,
    /// Bit 0: it is an empty one.
    pub flags: u32,
}

impl BatchHeader {
    /// The header of a batch that is not sealed.
    #[must_use]
    pub fn new(volume: u64, lsn: u64, durable: u64, mesh_time: u64, records: u32, payload: &[u8]) -> Self {
        Self {
            volume,
            lsn,
            durable,
            mesh_time,
            key_id: 0,
            nonce: 0,
            payload_len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            records,
            payload_crc: crc32c::crc32c(payload),
            flags: if records == 0 { EMPTY } else { 0 },
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; BATCH_HEADER] {
        let longs = [self.volume, self.lsn, self.durable, self.mesh_time, self.key_id, self.nonce];
        let shorts = [self.payload_len, self.records, self.payload_crc, self.flags];
        let fields = longs.iter().flat_map(|long| long.to_le_bytes());
        let mut bytes = [0; BATCH_HEADER];
        let all = fields.chain(shorts.iter().flat_map(|short| short.to_le_bytes()));
        bytes.iter_mut().skip(8).zip(all).for_each(|(to, from)| *to = from);
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header; an error where there is none, or not as it was written.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut fields = Fields::new(bytes);
        if fields.array()? != MAGIC {
            return Err(Unreadable::Malformed("the magic"));
        }
        let crc = u32::from_le_bytes(*fields.array()?);
        if crc32c::crc32c(Fields::new(fields.rest()).bytes(BATCH_HEADER - 8)?) != crc {
            return Err(Unreadable::Checksum);
        }
        let mut long = || fields.array().map(|bytes| u64::from_le_bytes(*bytes));
        let [volume, lsn, durable, mesh_time, key_id, nonce] = [long()?, long()?, long()?, long()?, long()?, long()?];
        let mut short = || fields.array().map(|bytes| u32::from_le_bytes(*bytes));
        let [payload_len, records, payload_crc, flags] = [short()?, short()?, short()?, short()?];
        Ok(Self { volume, lsn, durable, mesh_time, key_id, nonce, payload_len, records, payload_crc, flags })
    }

    /// Bytes that the batch takes on disk, with the zeros behind it.
    #[must_use]
    pub const fn extent(&self) -> u64 {
        extent(self.payload_len as u64)
    }

    /// The payload behind this header, checked. `batch` begins with the header.
    pub fn payload<'a>(&self, batch: &'a [u8]) -> Result<&'a [u8], Unreadable> {
        if self.flags & !EMPTY != 0 {
            return Err(Unreadable::Later { what: "flags of a batch", number: self.flags.into() });
        }
        let mut fields = Fields::new(batch);
        fields.bytes(BATCH_HEADER)?;
        let payload = fields.bytes(self.payload_len as usize)?;
        if crc32c::crc32c(payload) == self.payload_crc { Ok(payload) } else { Err(Unreadable::Checksum) }
    }
}

/// Bytes on disk of a batch with a payload of this length.
#[must_use]
pub const fn extent(payload_len: u64) -> u64 {
    (BATCH_HEADER as u64).saturating_add(payload_len).div_ceil(BLOCK).saturating_mul(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Vec<u8> {
        let header = BatchHeader::new(7, 12, 11, 99, 2, b"two records");
        [&header.encode()[..], b"two records"].concat()
    }

    #[test]
    fn a_batch_is_read_as_it_was_written_and_a_bit_that_flips_is_found() {
        let bytes = batch();
        let header = BatchHeader::decode(&bytes).unwrap();
        assert_eq!(header, BatchHeader::new(7, 12, 11, 99, 2, b"two records"));
        assert_eq!(header.payload(&bytes), Ok(&b"two records"[..]));
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let read = BatchHeader::decode(&other).and_then(|header| header.payload(&other).map(|_| ()));
            assert!(read.is_err(), "{bit}");
        }
        for cut in 0..bytes.len() {
            let read = BatchHeader::decode(&bytes[..cut]).and_then(|header| header.payload(&bytes[..cut]).map(|_| ()));
            assert!(read.is_err(), "{cut}");
        }
    }

    #[test]
    fn it_takes_whole_blocks() {
        let header = BATCH_HEADER as u64;
        assert_eq!([0, 1, BLOCK - header, BLOCK - header + 1].map(extent), [BLOCK, BLOCK, BLOCK, 2 * BLOCK]);
    }

    #[test]
    fn a_batch_without_records_says_so_and_an_unknown_flag_is_a_later_formats() {
        let mut header = BatchHeader::new(7, 12, 11, 99, 0, b"");
        assert_eq!((header.flags, header.payload(&header.encode())), (1, Ok(&[][..])));
        header.flags = 2;
        assert_eq!(header.payload(&header.encode()), Err(Unreadable::Later { what: "flags of a batch", number: 2 }));
    }
}
