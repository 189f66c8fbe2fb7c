//! Frames that are too large are skipped, and the connection goes on.
//!
//! The codec ends a connection at the header of a frame over its limit. A client whose event is too large should get an
//! answer and keep its connection; so this looks at the headers before the codec does, and puts [`OVERSIZE`] in the place
//! of such a frame's body. A header that announces more than anybody would wait for still ends the connection.

use bytes::Bytes;

/// What stands in the place of a body that was skipped: no MessagePack (0xc1 is never used) and no JSON.
pub const OVERSIZE: &[u8] = b"\xc1 too large";

/// Bytes of a frame that are read only to be skipped. Beyond it the connection is closed.
const SKIP_BYTES: u64 = 64 << 20;

/// ZMTP 3's greeting, before the first frame.
const GREETING_BYTES: u64 = 64;

/// Where a stream of frames stands.
#[derive(Debug)]
pub(crate) struct Framing {
    /// Bytes left of the greeting or of the current frame's body.
    left: u64,
    skipping: bool,
    header: [u8; 9],
    held: usize,
    max_body: u64,
}

/// A frame announces more than is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes")]
pub struct FrameTooLarge(pub u64);

impl Framing {
    /// At the beginning of a connection whose frames may have `max_body` bytes.
    pub(crate) fn new(max_body: usize) -> Self {
        Self { left: GREETING_BYTES, skipping: false, header: [0; 9], held: 0, max_body: max_body as u64 }
    }

    /// Gives what the codec shall see of these bytes. Most often that is all of them, as they are; the beginning of a
    /// header is held back until the rest of it comes.
    pub(crate) fn filter(&mut self, mut bytes: Bytes, mut see: impl FnMut(Bytes)) -> Result<(), FrameTooLarge> {
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let body = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.left -= body as u64;
                at += body;
                if self.skipping {
                    bytes = bytes.slice(at..);
                    at = 0;
                    self.skipping = self.left > 0;
                }
                continue;
            }
            if self.held == 0 && bytes.len() - at >= self.header.len() {
                let (len, size) = header_of(bytes.get(at..).unwrap_or_default());
                if size <= self.max_body {
                    self.left = size;
                    at += len;
                    continue;
                }
            }
            // A header in pieces, or one that is refused: take it out of the stream, byte by byte.
            if self.held == 0 && at > 0 {
                see(bytes.split_to(at));
                at = 0;
            }
            let Some(byte) = bytes.first().copied() else { break };
            bytes = bytes.slice(1..);
            if let Some(place) = self.header.get_mut(self.held) {
                *place = byte;
                self.held += 1;
            }
            if self.held == header_len(self.header[0]) {
                see(self.complete()?);
            }
        }
        if at > 0 {
            see(bytes.slice(..at));
        }
        Ok(())
    }

    /// The header is whole: what the codec shall see in its place.
    fn complete(&mut self) -> Result<Bytes, FrameTooLarge> {
        let (len, size) = header_of(&self.header);
        self.held = 0;
        self.left = size;
        if size <= self.max_body {
            return Ok(Bytes::copy_from_slice(self.header.get(..len).unwrap_or_default()));
        }
        if size > SKIP_BYTES {
            return Err(FrameTooLarge(size));
        }
        self.skipping = true;
        let more = self.header[0] & 0x01;
        // The marker is shorter than 256 bytes.
        Ok([&[more, OVERSIZE.len() as u8], OVERSIZE].concat().into())
    }
}

/// Flag of a frame whose length has eight bytes (ZMTP 3.1, section 3.2).
const LONG: u8 = 0x02;

fn header_len(flags: u8) -> usize {
    if flags & LONG == 0 { 2 } else { 9 }
}

/// Length of a whole header, and of the body that it announces.
fn header_of(bytes: &[u8]) -> (usize, u64) {
    match bytes {
        [flags, rest @ ..] if flags & LONG != 0 => {
            (9, rest.first_chunk::<8>().map_or(0, |size| u64::from_be_bytes(*size)))
        }
        [_, size, ..] => (2, u64::from(*size)),
        _ => (2, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(more: u8, body: &[u8]) -> Vec<u8> {
        match u8::try_from(body.len()) {
            Ok(size) => [&[more, size], body].concat(),
            Err(_) => [&[more | LONG][..], &(body.len() as u64).to_be_bytes(), body].concat(),
        }
    }

    fn filtered(stream: &[u8], piece: usize, max: usize) -> Result<Vec<u8>, FrameTooLarge> {
        let mut framing = Framing::new(max);
        let mut seen = Vec::new();
        for piece in stream.chunks(piece) {
            framing.filter(Bytes::copy_from_slice(piece), |bytes| seen.extend_from_slice(&bytes))?;
        }
        Ok(seen)
    }

    #[test]
    fn whatever_the_pieces_small_frames_pass_and_large_ones_are_replaced() {
        let greeting = [9u8; 64];
        let small = frame(0, b"hello");
        let long = frame(1, &[1; 300]);
        let large = frame(1, &[2; 1_001]);
        let stream = [&greeting[..], &small, &long, &large, &small, &large, &large, &long].concat();
        let marker = frame(1, OVERSIZE);
        let expected = [&greeting[..], &small, &long, &marker, &small, &marker, &marker, &long].concat();
        for piece in [1, 2, 3, 7, 64, 65, 100, 1_000, 1_000_000] {
            assert_eq!(filtered(&stream, piece, 1_000).unwrap(), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn nobody_waits_for_a_frame_that_never_ends() {
        let mut stream = vec![0; 64];
        stream.push(LONG);
        stream.extend_from_slice(&(1u64 << 48).to_be_bytes());
        assert_eq!(filtered(&stream, 5, 1_000), Err(FrameTooLarge(1 << 48)));
    }
}
