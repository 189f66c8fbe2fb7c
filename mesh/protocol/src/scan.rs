//! One way to read both encodings, for what an envelope needs: its fields, its texts, and where the rest begins and ends.

use std::borrow::Cow;

use statemesh_expr::json::{self, JsonKind, Number};
use statemesh_expr::msgpack::{self, MsgPackKind};
use statemesh_expr::{DecodeError, Limits, Payload};

type Result<T> = std::result::Result<T, DecodeError>;

/// What comes next, as far as an envelope asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Bool,
    Map,
    Other,
}

/// What an envelope asks of the reader of either encoding. Code that is generic over it needs no branch at each step.
pub(super) trait Scan<'a>: Sized {
    /// What comes next.
    fn kind(&mut self) -> Result<Kind>;

    /// Bytes read so far.
    fn offset(&self) -> usize;

    /// The bytes from an earlier offset up to here.
    fn since(&self, offset: usize) -> &'a [u8];

    /// A value of this encoding.
    fn payload(value: &[u8]) -> Payload<'_>;

    /// Reads a map to its end: for each entry `entry` gets the name and must consume the value. A name need not be UTF-8:
    /// what is not known is passed over anyway.
    fn map(&mut self, entry: impl FnMut(&[u8], &mut Self) -> Result<()>) -> Result<()>;

    /// Reads an array of at most `max` values, each as bytes; `None` if it has more.
    fn array(&mut self, max: usize) -> Result<Option<Vec<&'a [u8]>>>;

    /// The bytes of the next value, whatever it is.
    fn value(&mut self) -> Result<&'a [u8]>;

    /// Passes over the next value.
    fn skip(&mut self) -> Result<()>;

    /// The text that comes next.
    fn read_text(&mut self) -> Result<Cow<'a, str>>;

    /// The same without a look at whether it is UTF-8, where that costs nothing: for a caller that only compares it.
    fn read_text_bytes(&mut self) -> Result<Cow<'a, [u8]>>;

    /// The number that comes next, if it is a whole one and none below zero.
    fn read_uint(&mut self) -> Result<Option<u64>>;

    /// The truth value that comes next.
    fn read_bool(&mut self) -> Result<bool>;

    /// Checks that nothing is left.
    fn finish(&mut self) -> Result<()>;

    /// The bytes of the next value, of which `entry` sees the entries if it is a map.
    #[inline]
    fn map_value(&mut self, entry: impl FnMut(&[u8], &mut Self) -> Result<()>) -> Result<&'a [u8]> {
        if self.kind()? != Kind::Map {
            return self.value();
        }
        let from = self.offset();
        self.map(entry)?;
        Ok(self.since(from))
    }

    /// The bytes of the next value, which is read whole: texts that are none are errors, as they would be for the client
    /// that gets it back.
    #[inline]
    fn checked(&mut self) -> Result<&'a [u8]> {
        let is_plain = self.kind()? == Kind::Number;
        let value = self.value()?;
        if !is_plain {
            // It stands in a map in an array of requests, and its reply in an array of replies.
            let limits = Limits::default();
            Self::payload(value).validate(&Limits { depth: limits.depth - 2, ..limits })?;
        }
        Ok(value)
    }

    /// The next value by `read`, if it is of this kind; another one is passed over.
    #[inline]
    fn only<T>(&mut self, kind: Kind, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.kind()? != kind {
            return self.skip().map(|()| None);
        }
        read(self).map(Some)
    }

    /// The next value, if it is a text; another one is passed over.
    #[inline]
    fn text(&mut self) -> Result<Option<Cow<'a, str>>> {
        self.only(Kind::Text, Self::read_text)
    }

    /// The same, as [`Scan::read_text_bytes`] reads it.
    #[inline]
    fn text_bytes(&mut self) -> Result<Option<Cow<'a, [u8]>>> {
        self.only(Kind::Text, Self::read_text_bytes)
    }

    /// The next value, if it is a whole number and none below zero; another one is passed over.
    fn uint(&mut self) -> Result<Option<u64>> {
        self.only(Kind::Number, Self::read_uint).map(Option::flatten)
    }

    /// The next value, if it is true or false; another one is passed over.
    fn bool(&mut self) -> Result<Option<bool>> {
        self.only(Kind::Bool, Self::read_bool)
    }
}

/// What both readers have under one name each, and the kinds and the payload that differ in their names only.
macro_rules! as_the_reader {
    ($kinds:ident, $number:ident, $payload:ident) => {
        #[inline]
        fn kind(&mut self) -> Result<Kind> {
            Ok(match self.peek()? {
                $kinds::Str => Kind::Text,
                $kinds::$number => Kind::Number,
                $kinds::Bool => Kind::Bool,
                $kinds::Map => Kind::Map,
                _ => Kind::Other,
            })
        }

        #[inline]
        fn offset(&self) -> usize {
            Self::offset(self)
        }

        #[inline]
        fn since(&self, offset: usize) -> &'a [u8] {
            Self::since(self, offset)
        }

        fn payload(value: &[u8]) -> Payload<'_> {
            Payload::$payload(value)
        }

        #[inline]
        fn value(&mut self) -> Result<&'a [u8]> {
            self.read_raw()
        }

        #[inline]
        fn skip(&mut self) -> Result<()> {
            self.skip_value()
        }

        fn read_bool(&mut self) -> Result<bool> {
            Self::read_bool(self)
        }

        #[inline]
        fn finish(&mut self) -> Result<()> {
            Self::finish(self)
        }
    };
}

impl<'a> Scan<'a> for msgpack::Reader<'a> {
    as_the_reader!(MsgPackKind, Int, MsgPack);

    #[inline]
    fn map(&mut self, mut entry: impl FnMut(&[u8], &mut Self) -> Result<()>) -> Result<()> {
        for _ in 0..self.read_map_header()? {
            let name = self.read_key_bytes()?;
            entry(name, self)?;
        }
        Ok(())
    }

    fn array(&mut self, max: usize) -> Result<Option<Vec<&'a [u8]>>> {
        let len = self.read_list_header()?;
        if len > max {
            return Ok(None);
        }
        (0..len).map(|_| self.read_raw()).collect::<Result<_>>().map(Some)
    }

    #[inline]
    fn read_text(&mut self) -> Result<Cow<'a, str>> {
        self.read_str().map(Cow::Borrowed)
    }

    #[inline]
    fn read_text_bytes(&mut self) -> Result<Cow<'a, [u8]>> {
        self.read_key_bytes().map(Cow::Borrowed)
    }

    fn read_uint(&mut self) -> Result<Option<u64>> {
        Ok(u64::try_from(self.read_integer()?).ok())
    }
}

impl<'a> Scan<'a> for json::Reader<'a> {
    as_the_reader!(JsonKind, Number, Json);

    fn map(&mut self, mut entry: impl FnMut(&[u8], &mut Self) -> Result<()>) -> Result<()> {
        self.enter_map()?;
        while let Some(name) = self.next_key_bytes()? {
            entry(&name, self)?;
        }
        Ok(())
    }

    fn array(&mut self, max: usize) -> Result<Option<Vec<&'a [u8]>>> {
        let mut items = Vec::new();
        self.enter_list()?;
        while self.next_item()? {
            if items.len() == max {
                return Ok(None);
            }
            items.push(self.read_raw()?);
        }
        Ok(Some(items))
    }

    fn read_text(&mut self) -> Result<Cow<'a, str>> {
        self.read_str()
    }

    fn read_text_bytes(&mut self) -> Result<Cow<'a, [u8]>> {
        self.read_str_bytes()
    }

    fn read_uint(&mut self) -> Result<Option<u64>> {
        Ok(match self.read_number()? {
            Number::Int(n) => u64::try_from(n).ok(),
            Number::Uint(n) => Some(n),
            Number::Double(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of<'a, S: Scan<'a>>(new: impl Fn() -> S) {
        let _ = new().text();
        let _ = new().uint();
        let _ = new().bool();
        let _ = new().checked();
        let _ = new().map_value(|_, scan| scan.skip());
        let _ = new().array(10);
        let _ = new().map(|_, scan| scan.value().map(|_| ()));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        // Every two-byte beginning, followed by a few bytes of each kind.
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                for tail in [&[][..], &[0xff; 9], &[0; 9], b"\"\\u"] {
                    let bytes = [&[a, b], tail].concat();
                    all_of(|| json::Reader::new(&bytes));
                    all_of(|| msgpack::Reader::new(&bytes));
                }
            }
        }
    }

    #[test]
    fn a_value_that_is_given_back_is_one_that_can_be_read() {
        // What is only passed on is looked at by its reader.
        assert!(msgpack::Reader::new(b"\xa2\xff\xfe").checked().is_err());
        assert!(msgpack::Reader::new(b"\xa2\xff\xfe").value().is_ok());
        assert!(json::Reader::new(b"\"\xff\"").checked().is_err());
        assert!(json::Reader::new(b"\"\xff\"").value().is_ok());
        assert_eq!(json::Reader::new(b" [1,\"a\"] ").checked(), Ok(&b"[1,\"a\"]"[..]));
    }

    #[test]
    fn deep_nesting_costs_nothing() {
        assert!(msgpack::Reader::new(&vec![0x91; 100_000]).value().is_err());
        assert!(json::Reader::new(&vec![b'['; 100_000]).value().is_err());
    }
}
