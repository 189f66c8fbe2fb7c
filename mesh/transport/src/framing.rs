//! Frames that are too large are skipped, and the connection goes on.
//!
//! The codec ends a connection at the header of a frame over its limit. A client whose event is too large should get an
//! answer and keep its connection; so this looks at the headers before the codec does, and puts [`OVERSIZE`] in the place
//! of such a frame's body. A header that announces far too much still ends the connection.

use bytes::Bytes;

use crate::curve::Security;
use crate::limits::Bounds;

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
    /// Body bytes that a frame may have now: none while the handshake lasts, so that its headers take the slow path.
    limit: u64,
    max_body: u64,
    /// Body bytes that a frame of the handshake may have.
    handshake_body: u64,
    /// Frames that the handshake still has.
    handshake: u8,
    /// Whether a frame over the limit is skipped. Not where frames are encrypted: nothing can stand in its place.
    skips: bool,
    /// Body bytes of the frame that is being read.
    frame: u64,
    /// Body bytes of the parts that came before it in its message.
    earlier: u64,
    /// More parts of this message follow.
    more: bool,
}

/// A frame announces more than is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes")]
pub struct FrameTooLarge(pub u64);

impl Framing {
    /// At the beginning of a connection whose messages may have as many bytes as `bounds` says.
    pub(crate) fn new(bounds: Bounds, security: &Security) -> Self {
        Self {
            left: GREETING_BYTES,
            skipping: false,
            header: [0; 9],
            held: 0,
            limit: 0,
            max_body: bounds.message_bytes.saturating_add(security.overhead()) as u64,
            handshake_body: bounds.handshake_bytes as u64,
            handshake: security.handshake_frames(),
            skips: security.overhead() == 0,
            frame: 0,
            earlier: 0,
            more: false,
        }
    }

    /// Bytes that are kept of a message that is not whole yet.
    pub(crate) fn unread(&self) -> usize {
        // Behind the last part of a message the next begins with nothing.
        let parts = if self.left > 0 || self.more { self.earlier + self.frame } else { 0 };
        let kept = parts.saturating_sub(self.left) + self.held as u64;
        usize::try_from(kept).unwrap_or(usize::MAX)
    }

    /// Bytes that the frame that has begun still lacks.
    pub(crate) fn left_of_frame(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    /// Whether no message has begun that is not whole.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.left == 0 && self.held == 0 && !self.more
    }

    /// A frame begins.
    #[inline]
    fn begin(&mut self, flags: u8, size: u64) {
        self.earlier = if self.more { self.earlier.saturating_add(self.frame) } else { 0 };
        self.more = flags & MORE != 0;
        self.frame = size;
        self.left = size;
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
                let header = bytes.get(at..).unwrap_or_default();
                let (len, size) = header_of(header);
                if size <= self.limit {
                    self.begin(header.first().copied().unwrap_or(0), size);
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
        let flags = self.header[0];
        let of_handshake = self.handshake > 0;
        if of_handshake {
            self.handshake_frame(size)?;
        }
        if of_handshake || size <= self.max_body {
            self.begin(flags, size);
            return Ok(Bytes::copy_from_slice(self.header.get(..len).unwrap_or_default()));
        }
        if size > SKIP_BYTES || !self.skips {
            return Err(FrameTooLarge(size));
        }
        self.begin(flags, 0);
        self.left = size;
        self.skipping = true;
        let more = flags & MORE;
        // The marker is shorter than 256 bytes.
        Ok([&[more, OVERSIZE.len() as u8], OVERSIZE].concat().into())
    }

    /// Messages may follow the last command of the handshake in the same read, so the limits change here.
    fn handshake_frame(&mut self, size: u64) -> Result<(), FrameTooLarge> {
        if size > self.handshake_body {
            return Err(FrameTooLarge(size));
        }
        self.handshake -= 1;
        if self.handshake == 0 {
            self.limit = self.max_body;
        }
        Ok(())
    }
}

/// Flag of a frame that another part of the same message follows (ZMTP 3.1, section 3.2).
const MORE: u8 = 0x01;
/// Flag of a frame whose length has eight bytes.
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

    fn framing(max: usize) -> Framing {
        Framing::new(Bounds::of_messages(max), &Security::None)
    }

    fn filtered(stream: &[u8], piece: usize, max: usize) -> Result<Vec<u8>, FrameTooLarge> {
        let mut framing = framing(max);
        let mut seen = Vec::new();
        for piece in stream.chunks(piece) {
            framing.filter(Bytes::copy_from_slice(piece), |bytes| seen.extend_from_slice(&bytes))?;
        }
        Ok(seen)
    }

    /// A greeting and the one command of the NULL handshake.
    fn handshake(command: &[u8]) -> Vec<u8> {
        [&[9u8; 64][..], &frame(0x04, command)].concat()
    }

    #[test]
    fn whatever_the_pieces_small_frames_pass_and_large_ones_are_replaced() {
        let greeting = handshake(b"\x05READY");
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
        let mut stream = handshake(b"\x05READY");
        stream.push(LONG);
        stream.extend_from_slice(&(1u64 << 48).to_be_bytes());
        assert_eq!(filtered(&stream, 5, 1_000), Err(FrameTooLarge(1 << 48)));
    }

    #[test]
    fn before_the_handshake_is_complete_a_frame_is_small() {
        assert!(filtered(&handshake(&[7; 1_024]), 100, 1 << 20).is_ok());
        assert_eq!(filtered(&handshake(&[7; 1_025]), 100, 1 << 20), Err(FrameTooLarge(1_025)));
        // What follows in the same read may be large.
        let stream = [handshake(b"\x05READY"), frame(0, &[1; 5_000])].concat();
        assert_eq!(filtered(&stream, stream.len(), 1 << 20).unwrap(), stream);
    }

    #[test]
    fn what_is_kept_of_half_a_message_is_known() {
        let mut framing = framing(10_000);
        let mut read = |bytes: &[u8]| {
            framing.filter(Bytes::copy_from_slice(bytes), |_| ()).unwrap();
            (framing.unread(), framing.is_between_messages())
        };
        assert_eq!(read(&handshake(b"\x05READY")), (0, true));
        let (first, second) = (frame(1, &[1; 300]), frame(0, &[2; 500]));
        assert_eq!(read(&first[..5]), (5, false), "half a header");
        assert_eq!(read(&first[5..109]), (100, false));
        assert_eq!(read(&first[109..]), (300, false));
        assert_eq!(read(&second[..19]), (310, false));
        assert_eq!(read(&second[19..]), (0, true));
        assert_eq!(read(&frame(0, &[3; 4])), (0, true));
    }
}
