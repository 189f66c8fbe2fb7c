//! What a record, an image and a section's head begin with: the crc of what follows, and its length.

use super::field::{Fields, Unreadable, put_varint, varint_len};

/// Where a frame that is being written begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start(usize);

/// Bytes of the crc.
const CRC: usize = 4;

/// Begins a frame. What is appended behind belongs to it until [`end`].
pub(super) fn begin(out: &mut Vec<u8>) -> Start {
    let start = Start(out.len());
    // Most lengths take one byte; for another one the body is moved.
    out.extend_from_slice(&[0; CRC + 1]);
    start
}

/// Ends a frame: writes its length and its crc.
pub(super) fn end(out: &mut Vec<u8>, start: Start) {
    set_length(out, start.0 + CRC);
    let crc = out.get(start.0 + CRC..).map_or(0, crc32c::crc32c);
    set(out, start.0, &crc.to_le_bytes());
}

/// Writes the length of what follows `at` and the byte there, into as many bytes as it takes.
pub(super) fn set_length(out: &mut Vec<u8>, at: usize) {
    let body = at + 1;
    let end = out.len();
    let len = end.saturating_sub(body);
    let more = varint_len(len as u64) - 1;
    if more > 0 {
        out.resize(end + more, 0);
        out.copy_within(body..end, body + more);
    }
    let mut rest = len;
    for (place, byte) in out.iter_mut().skip(at).take(more + 1).enumerate() {
        // Seven bits, and whether more follow.
        *byte = (rest & 0x7f) as u8 | if place < more { 0x80 } else { 0 };
        rest >>= 7;
    }
}

/// The body of the frame that comes next, checked.
pub(super) fn open<'a>(from: &mut Fields<'a>) -> Result<&'a [u8], Unreadable> {
    let crc = u32::from_le_bytes(*from.array()?);
    let before = from.rest();
    let len = from.count()?;
    let body = from.bytes(len)?;
    let covered = before.get(..before.len() - from.rest().len()).ok_or(Unreadable::Short)?;
    if crc32c::crc32c(covered) == crc { Ok(body) } else { Err(Unreadable::Checksum) }
}

/// Bytes of the frame that comes next, as its length says; it is not checked.
pub(super) fn len(bytes: &[u8]) -> Result<usize, Unreadable> {
    let mut fields = Fields::new(bytes);
    fields.array::<CRC>()?;
    let len = fields.count()?;
    fields.bytes(len)?;
    Ok(bytes.len() - fields.rest().len())
}

/// A frame without a body: what ends a list of frames.
pub(super) fn put_empty(out: &mut Vec<u8>) {
    out.extend_from_slice(&crc32c::crc32c(&[0]).to_le_bytes());
    put_varint(0, out);
}

fn set(out: &mut [u8], at: usize, bytes: &[u8]) {
    out.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_of_a_length_read_back_where_they_stand() {
        for len in [0, 1, 127, 128, 129, 16_383, 16_384, 70_000, 2_097_152] {
            let body: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
            let mut out = b"before".to_vec();
            let start = begin(&mut out);
            out.extend_from_slice(&body);
            end(&mut out, start);
            assert_eq!(super::len(&out[6..]), Ok(out.len() - 6));
            out.extend_from_slice(b"behind");
            let mut fields = Fields::new(&out[6..]);
            assert_eq!(open(&mut fields), Ok(&body[..]));
            assert_eq!(fields.rest(), b"behind");
        }
        let mut empty = Vec::new();
        put_empty(&mut empty);
        assert_eq!(open(&mut Fields::new(&empty)), Ok(&[][..]));
    }
}
