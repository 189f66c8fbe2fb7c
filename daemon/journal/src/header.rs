//! The header with which `volume.id`, `born`, segments and checkpoints begin: which kind of file it is, in which format, and a short
//! body with its crc.

use statemesh_protocol::record::{Fields, Unreadable};

/// The format that is written, and the newest that is read.
pub const FORMAT: u16 = 1;
/// Bytes before the body.
pub const HEADER_LEN: usize = 24;
/// Bytes that the header's own crc covers.
const COVERED: usize = 20;

/// Which kind of file it is: its first eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Magic(pub &'static [u8; 8]);

/// `volume.id`.
pub const VOLUME: Magic = Magic(b"smvolume");
/// `born`.
pub const BORN: Magic = Magic(b"smborn\0\0");
/// A segment of the journal.
pub const SEGMENT: Magic = Magic(b"smsegmnt");
/// A checkpoint.
pub const CHECKPOINT: Magic = Magic(b"smcheckp");

/// A definition.
pub const DEFINITION: Magic = Magic(b"smdefini");

/// Why the body behind a header cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// It has no such header, or its bytes have changed.
    #[error("its header is damaged, or it is another kind of file")]
    Damaged,
    /// A later version wrote it.
    #[error("its format is {0}; this version reads formats up to {FORMAT}")]
    Later(u16),
}

/// Why a file with a header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// Its header.
    #[error(transparent)]
    Header(#[from] HeaderFault),
    /// What is in its body.
    #[error("{0}")]
    Content(#[from] Unreadable),
}

/// Appends a header and its body.
pub fn write(magic: Magic, body: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(magic.0);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&0_u16.to_le_bytes());
    out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    let crc = out.get(at..).map_or(0, crc32c::crc32c);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(body);
}

/// The body behind the header with which these bytes begin.
pub fn read(magic: Magic, bytes: &[u8]) -> Result<&[u8], HeaderFault> {
    parse(magic, bytes).map_err(|_| HeaderFault::Damaged)?
}

fn parse(magic: Magic, bytes: &[u8]) -> Result<Result<&[u8], HeaderFault>, Unreadable> {
    let mut fields = Fields::new(bytes);
    let covered = Fields::new(bytes).bytes(COVERED)?;
    if fields.array::<8>()? != magic.0 {
        return Err(Unreadable::Malformed("the magic"));
    }
    let format = u16::from_le_bytes(*fields.array()?);
    let flags = u16::from_le_bytes(*fields.array()?);
    let len = u32::from_le_bytes(*fields.array()?);
    let body_crc = u32::from_le_bytes(*fields.array()?);
    if u32::from_le_bytes(*fields.array()?) != crc32c::crc32c(covered) {
        return Err(Unreadable::Checksum);
    }
    // Flags that are not known are a later format's, by another name.
    if format != FORMAT || flags != 0 {
        return Ok(Err(HeaderFault::Later(format.max(FORMAT + u16::from(flags != 0)))));
    }
    let body = fields.bytes(len as usize)?;
    if crc32c::crc32c(body) == body_crc { Ok(Ok(body)) } else { Err(Unreadable::Checksum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_and_nothing_else_is() {
        let mut bytes = Vec::new();
        write(VOLUME, b"body", &mut bytes);
        bytes.extend_from_slice(b"behind");
        assert_eq!(read(VOLUME, &bytes), Ok(&b"body"[..]));
        assert_eq!(read(BORN, &bytes), Err(HeaderFault::Damaged));
        for bit in 0..(HEADER_LEN + 4) * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(VOLUME, &other), Err(HeaderFault::Damaged), "{bit}");
        }
        (0..HEADER_LEN + 4).for_each(|cut| assert_eq!(read(VOLUME, &bytes[..cut]), Err(HeaderFault::Damaged)));
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        for (at, said) in [(8, 2), (10, 2)] {
            let mut bytes = Vec::new();
            write(VOLUME, b"body", &mut bytes);
            bytes[at] += 1;
            let crc = crc32c::crc32c(&bytes[..COVERED]);
            bytes[COVERED..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(read(VOLUME, &bytes), Err(HeaderFault::Later(said)), "{at}");
        }
    }
}
