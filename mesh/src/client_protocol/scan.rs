//! One way to read both encodings, for what an envelope needs: its fields, its texts, and where the rest begins and ends.

use std::borrow::Cow;

use statemesh_expr::json::{self, JsonKind, Number};
use statemesh_expr::msgpack::{self, MsgPackKind};
use statemesh_expr::{DecodeError, Limits, Payload};

type Result<T> = std::result::Result<T, DecodeError>;

/// What an envelope asks of the reader of either encoding. Whoever is generic over it costs no choice at each step.
pub(super) trait Scan<'a>: Sized {
    /// Reads a map to its end: for each entry `entry` gets the name and must consume the value. A name need not be UTF-8:
    /// what is not known is passed over anyway.
    fn map(&mut self, entry: impl FnMut(&[u8], &mut Self) -> Result<()>) -> Result<()>;

    /// The bytes of the next value, of which `entry` sees the entries if it is a map.
    fn map_value(&mut self, entry: impl FnMut(&[u8], &mut Self) -> Result<()>) -> Result<&'a [u8]>;

    /// Reads an array of at most `max` values, each as bytes; `None` if it has more.
    fn array(&mut self, max: usize) -> Result<Option<Vec<&'a [u8]>>>;

    /// The bytes of the next value, whatever it is.
    fn value(&mut self) -> Result<&'a [u8]>;

    /// Passes over the next value.
    fn skip(&mut self) -> Result<()>;

    /// The bytes of the next value, which is read whole: texts that are none are errors, as they would be for whoever gets
    /// it back.
    fn checked(&mut self) -> Result<&'a [u8]>;

    /// The next value, if it is a text; another one is passed over.
    fn text(&mut self) -> Result<Option<Cow<'a, str>>>;

    /// The same without a look at whether it is UTF-8: for whoever only compares it.
    fn text_bytes(&mut self) -> Result<Option<Cow<'a, [u8]>>>;

    /// The next value, if it is a whole number and none below zero; another one is passed over.
    fn uint(&mut self) -> Result<Option<u64>>;

    /// The next value, if it is true or false; another one is passed over.
    fn bool(&mut self) -> Result<Option<bool>>;

    /// Checks that nothing is left.
    fn finish(&mut self) -> Result<()>;
}

/// Reads a value that will be given back: it stands in a map in an array of requests, and its reply in an array of replies.
fn check(payload: &Payload<'_>) -> Result<()> {
    let limits = Limits::default();
    payload.validate(&Limits { depth: limits.depth - 2, ..limits })
}

impl<'a> Scan<'a> for msgpack::Reader<'a> {
    #[inline]
    fn map(&mut self, mut entry: impl FnMut(&[u8], &mut Self) -> Result<()>) -> Result<()> {
        for _ in 0..self.read_map_header()? {
            let name = self.read_key_bytes()?;
            entry(name, self)?;
        }
        Ok(())
    }

    #[inline]
    fn map_value(&mut self, entry: impl FnMut(&[u8], &mut Self) -> Result<()>) -> Result<&'a [u8]> {
        if self.peek()? != MsgPackKind::Map {
            return self.read_raw();
        }
        let from = self.offset();
        self.map(entry)?;
        Ok(self.since(from))
    }

    fn array(&mut self, max: usize) -> Result<Option<Vec<&'a [u8]>>> {
        let len = self.read_list_header()?;
        if len > max {
            return Ok(None);
        }
        (0..len).map(|_| self.read_raw()).collect::<Result<_>>().map(Some)
    }

    #[inline]
    fn value(&mut self) -> Result<&'a [u8]> {
        self.read_raw()
    }

    #[inline]
    fn skip(&mut self) -> Result<()> {
        self.skip_value()
    }

    #[inline]
    fn checked(&mut self) -> Result<&'a [u8]> {
        let is_plain = self.peek()? == MsgPackKind::Int;
        let value = self.read_raw()?;
        if !is_plain {
            check(&Payload::MsgPack(value))?;
        }
        Ok(value)
    }

    #[inline]
    fn text(&mut self) -> Result<Option<Cow<'a, str>>> {
        if !self.is_str() {
            return self.skip_value().map(|()| None);
        }
        self.read_str().map(|text| Some(Cow::Borrowed(text)))
    }

    #[inline]
    fn text_bytes(&mut self) -> Result<Option<Cow<'a, [u8]>>> {
        if !self.is_str() {
            return self.skip_value().map(|()| None);
        }
        self.read_key_bytes().map(|text| Some(Cow::Borrowed(text)))
    }

    fn uint(&mut self) -> Result<Option<u64>> {
        if self.peek()? != MsgPackKind::Int {
            return self.skip_value().map(|()| None);
        }
        Ok(u64::try_from(self.read_integer()?).ok())
    }

    fn bool(&mut self) -> Result<Option<bool>> {
        if self.peek()? != MsgPackKind::Bool {
            return self.skip_value().map(|()| None);
        }
        self.read_bool().map(Some)
    }

    #[inline]
    fn finish(&mut self) -> Result<()> {
        Self::finish(self)
    }
}

impl<'a> Scan<'a> for json::Reader<'a> {
    fn map(&mut self, mut entry: impl FnMut(&[u8], &mut Self) -> Result<()>) -> Result<()> {
        self.enter_map()?;
        while let Some(name) = self.next_key_bytes()? {
            entry(&name, self)?;
        }
        Ok(())
    }

    fn map_value(&mut self, entry: impl FnMut(&[u8], &mut Self) -> Result<()>) -> Result<&'a [u8]> {
        if self.peek()? != JsonKind::Map {
            return self.read_raw();
        }
        let from = self.offset();
        self.map(entry)?;
        Ok(self.since(from))
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

    fn value(&mut self) -> Result<&'a [u8]> {
        self.read_raw()
    }

    fn skip(&mut self) -> Result<()> {
        self.skip_value()
    }

    fn checked(&mut self) -> Result<&'a [u8]> {
        let is_plain = self.peek()? == JsonKind::Number;
        let value = self.read_raw()?;
        if !is_plain {
            check(&Payload::Json(value))?;
        }
        Ok(value)
    }

    fn text(&mut self) -> Result<Option<Cow<'a, str>>> {
        if self.peek()? != JsonKind::Str {
            return self.skip_value().map(|()| None);
        }
        self.read_str().map(Some)
    }

    fn text_bytes(&mut self) -> Result<Option<Cow<'a, [u8]>>> {
        Ok(self.text()?.map(|text| match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }))
    }

    fn uint(&mut self) -> Result<Option<u64>> {
        if self.peek()? != JsonKind::Number {
            return self.skip_value().map(|()| None);
        }
        Ok(match self.read_number()? {
            Number::Int(n) => u64::try_from(n).ok(),
            Number::Uint(n) => Some(n),
            Number::Double(_) => None,
        })
    }

    fn bool(&mut self) -> Result<Option<bool>> {
        if self.peek()? != JsonKind::Bool {
            return self.skip_value().map(|()| None);
        }
        self.read_bool().map(Some)
    }

    fn finish(&mut self) -> Result<()> {
        Self::finish(self)
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
