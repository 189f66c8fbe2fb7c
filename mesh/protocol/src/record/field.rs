//! The forms of which everything on disk is made: numbers, texts, blobs, values. A reader checks every length against what is
//! left, takes a varint in its shortest form only, and allocates nothing: so what was read is written as it was.

use statemesh_expr::msgpack;

use crate::place::StoredPlace;
use crate::run::RunId;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// They end too early.
    #[error("it ends before it is complete")]
    Short,
    /// The checksum says that they have changed.
    #[error("its checksum is wrong")]
    Checksum,
    /// A field has a form or a value that it cannot have.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// A later version wrote something of this number, and a reader must not skip it.
    #[error("{what} {number} is of a later format than this version reads")]
    Later {
        /// Of which kind the number is.
        what: &'static str,
        /// The number.
        number: u64,
    },
}

/// Reads fields from the front of some bytes.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads from the beginning.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is left.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all is read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Unreadable> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Unreadable::Short)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A field of fixed size.
    pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Unreadable> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(Unreadable::Short)?;
        self.rest = rest;
        Ok(array)
    }

    /// A varint: LEB128, at most ten bytes, in its shortest form.
    pub fn varint(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.array::<1>()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Unreadable::Malformed("a number"));
            }
            number |= bits << shift;
            if byte < 0x80 {
                let is_shortest = byte != 0 || shift == 0;
                return if is_shortest { Ok(number) } else { Err(Unreadable::Malformed("a number")) };
            }
        }
        Err(Unreadable::Malformed("a number"))
    }

    /// A varint that counts bytes or items, which each take one at least: so it is no more than what is left.
    pub fn count(&mut self) -> Result<usize, Unreadable> {
        let count = usize::try_from(self.varint()?).ok().filter(|count| *count <= self.rest.len());
        count.ok_or(Unreadable::Short)
    }

    /// The next field of this form.
    pub fn read<T: Field<'a>>(&mut self) -> Result<T, Unreadable> {
        T::read(self)
    }

    /// Checks that nothing is left.
    pub const fn finish(&self) -> Result<(), Unreadable> {
        if self.is_empty() { Ok(()) } else { Err(Unreadable::Malformed("what follows the last field")) }
    }
}

/// A form of a field.
pub trait Field<'a>: Sized {
    /// Reads one.
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable>;

    /// Appends it.
    fn write(&self, out: &mut Vec<u8>);
}

/// Appends a varint.
pub fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        // The lowest seven bits, and that more follow.
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes of a varint.
#[must_use]
pub(super) const fn varint_len(number: u64) -> usize {
    let bits = 64 - (number | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// A value: MessagePack in its shortest form, which the engine reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a>(pub &'a [u8]);

impl<'a> Field<'a> for Value<'a> {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        let mut reader = msgpack::Reader::new(from.rest);
        reader.skip_value().map_err(|_| Unreadable::Malformed("a value"))?;
        from.bytes(reader.offset()).map(Self)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

impl<'a> Field<'a> for u64 {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        from.varint()
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_varint(*self, out);
    }
}

impl<'a> Field<'a> for u8 {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        from.array::<1>().map(|[byte]| *byte)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }
}

impl<'a, const N: usize> Field<'a> for [u8; N] {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        from.array().copied()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl<'a> Field<'a> for &'a [u8] {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        let len = from.count()?;
        from.bytes(len)
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        out.extend_from_slice(self);
    }
}

impl<'a> Field<'a> for &'a str {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        std::str::from_utf8(from.read()?).map_err(|_| Unreadable::Malformed("a text"))
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.as_bytes().write(out);
    }
}

impl<'a> Field<'a> for RunId {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        from.array().map(|bytes| Self(u64::from_le_bytes(*bytes)))
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes());
    }
}

impl<'a> Field<'a> for StoredPlace {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        Self::from_number(from.varint()?).ok_or(Unreadable::Malformed("a place"))
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_varint(self.number(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_is_read_as_it_is_written_and_in_its_shortest_form_only() {
        let powers = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for number in powers.chain([u64::MAX]) {
            let mut bytes = Vec::new();
            put_varint(number, &mut bytes);
            assert_eq!(bytes.len(), varint_len(number), "{number}");
            assert_eq!(Fields::new(&bytes).varint(), Ok(number));
            (0..bytes.len()).for_each(|cut| assert_eq!(Fields::new(&bytes[..cut]).varint(), Err(Unreadable::Short)));
        }
        let malformed = Err(Unreadable::Malformed("a number"));
        for bytes in [&[0x80, 0][..], &[0xff, 0x80, 0], &[0xff; 10], &[0x80; 11]] {
            assert_eq!(Fields::new(bytes).varint(), malformed, "{bytes:?}");
        }
        assert_eq!(Fields::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varint(), malformed);
    }

    #[test]
    fn a_length_that_lies_is_an_error_and_no_allocation() {
        let mut bytes = Vec::new();
        put_varint(u64::MAX, &mut bytes);
        assert_eq!(Fields::new(&bytes).read::<&[u8]>(), Err(Unreadable::Short));
        assert_eq!(Fields::new(&[2, b'a']).read::<&str>(), Err(Unreadable::Short));
        assert_eq!(Fields::new(&[1, 0xff]).read::<&str>(), Err(Unreadable::Malformed("a text")));
    }

    #[test]
    fn a_value_ends_where_messagepack_says() {
        let mut fields = Fields::new(b"\x93\x01\xa1x\xc0rest");
        assert_eq!(fields.read(), Ok(Value(b"\x93\x01\xa1x\xc0")));
        assert_eq!(fields.rest(), b"rest");
        assert!(Fields::new(b"\x92\x01").read::<Value<'_>>().is_err());
        assert!(Fields::new(&vec![0x91; 100_000]).read::<Value<'_>>().is_err());
    }
}
