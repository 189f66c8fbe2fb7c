//! One cursor over both encodings, for what an envelope needs: its fields, its texts, and where the rest begins and ends.

use std::borrow::Cow;

use statemesh_expr::json::{self, JsonKind, Number};
use statemesh_expr::msgpack::{self, MsgPackKind};
use statemesh_expr::{DecodeError, Limits, Payload};

use super::reply::Encoding;

/// A position in a frame.
#[derive(Clone, Debug)]
pub(super) enum Scan<'a> {
    MsgPack(msgpack::Reader<'a>),
    Json(json::Reader<'a>),
}

/// What comes next, as far as an envelope asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Bool,
    Map,
    Other,
}

type Result<T> = std::result::Result<T, DecodeError>;

impl<'a> Scan<'a> {
    pub(super) fn new(encoding: Encoding, bytes: &'a [u8]) -> Self {
        match encoding {
            Encoding::MsgPack => Self::MsgPack(msgpack::Reader::new(bytes)),
            Encoding::Json => Self::Json(json::Reader::new(bytes)),
        }
    }

    /// Reads a map to its end: for each entry `entry` gets the name and must consume the value. In MessagePack a name
    /// need not be text: what is not known is passed over anyway.
    #[inline]
    pub(super) fn map(&mut self, mut entry: impl FnMut(&[u8], &mut Self) -> Result<()>) -> Result<()> {
        match self {
            Self::MsgPack(reader) => {
                for _ in 0..reader.read_map_header()? {
                    let Self::MsgPack(reader) = self else { break };
                    let name = reader.read_key_bytes()?;
                    entry(name, self)?;
                }
            }
            Self::Json(reader) => {
                reader.enter_map()?;
                while let Self::Json(reader) = self
                    && let Some(name) = reader.next_key()?
                {
                    entry(name.as_bytes(), self)?;
                }
            }
        }
        Ok(())
    }

    /// The bytes of the next value, of which `entry` sees the entries if it is a map.
    #[inline]
    pub(super) fn map_value(&mut self, entry: impl FnMut(&[u8], &mut Self) -> Result<()>) -> Result<&'a [u8]> {
        if self.kind()? != Kind::Map {
            return self.value();
        }
        let from = match self {
            Self::MsgPack(reader) => reader.offset(),
            Self::Json(reader) => reader.offset(),
        };
        self.map(entry)?;
        Ok(match self {
            Self::MsgPack(reader) => reader.since(from),
            Self::Json(reader) => reader.since(from),
        })
    }

    /// Reads an array of at most `max` values, each as bytes; `None` if it has more.
    pub(super) fn array(&mut self, max: usize) -> Result<Option<Vec<&'a [u8]>>> {
        let mut items = Vec::new();
        match self {
            Self::MsgPack(reader) => {
                let len = reader.read_list_header()?;
                if len > max {
                    return Ok(None);
                }
                for _ in 0..len {
                    items.push(reader.read_raw()?);
                }
            }
            Self::Json(reader) => {
                reader.enter_list()?;
                while reader.next_item()? {
                    if items.len() == max {
                        return Ok(None);
                    }
                    items.push(reader.read_raw()?);
                }
            }
        }
        Ok(Some(items))
    }

    /// The bytes of the next value, whatever it is.
    pub(super) fn value(&mut self) -> Result<&'a [u8]> {
        match self {
            Self::MsgPack(reader) => reader.read_raw(),
            Self::Json(reader) => reader.read_raw(),
        }
    }

    /// Passes over the next value.
    pub(super) fn skip(&mut self) -> Result<()> {
        match self {
            Self::MsgPack(reader) => reader.skip_value(),
            Self::Json(reader) => reader.skip_value(),
        }
    }

    /// The bytes of the next value, which is read whole: texts that are none are errors, as they would be for whoever gets
    /// it back.
    #[inline]
    pub(super) fn checked(&mut self) -> Result<&'a [u8]> {
        let is_plain = self.kind()? == Kind::Number;
        let value = self.value()?;
        if !is_plain {
            let payload = match self {
                Self::MsgPack(_) => Payload::MsgPack(value),
                Self::Json(_) => Payload::Json(value),
            };
            // It stands in a map in an array of requests, and its reply in an array of replies.
            let limits = Limits::default();
            payload.validate(&Limits { depth: limits.depth - 2, ..limits })?;
        }
        Ok(value)
    }

    /// The next value, if it is a text; another one is passed over.
    #[inline]
    pub(super) fn text(&mut self) -> Result<Option<Cow<'a, str>>> {
        if self.kind()? != Kind::Text {
            return self.skip().map(|()| None);
        }
        Ok(Some(match self {
            Self::MsgPack(reader) => Cow::Borrowed(reader.read_str()?),
            Self::Json(reader) => reader.read_str()?,
        }))
    }

    /// The next value, if it is a whole number and none below zero; another one is passed over.
    pub(super) fn uint(&mut self) -> Result<Option<u64>> {
        if self.kind()? != Kind::Number {
            return self.skip().map(|()| None);
        }
        Ok(match self {
            Self::MsgPack(reader) => u64::try_from(reader.read_integer()?).ok(),
            Self::Json(reader) => match reader.read_number()? {
                Number::Int(n) => u64::try_from(n).ok(),
                Number::Uint(n) => Some(n),
                Number::Double(_) => None,
            },
        })
    }

    /// The next value, if it is true or false; another one is passed over.
    pub(super) fn bool(&mut self) -> Result<Option<bool>> {
        if self.kind()? != Kind::Bool {
            return self.skip().map(|()| None);
        }
        Ok(Some(match self {
            Self::MsgPack(reader) => reader.read_bool()?,
            Self::Json(reader) => reader.read_bool()?,
        }))
    }

    #[inline]
    fn kind(&mut self) -> Result<Kind> {
        Ok(match self {
            Self::MsgPack(reader) => match reader.peek()? {
                MsgPackKind::Str => Kind::Text,
                MsgPackKind::Int => Kind::Number,
                MsgPackKind::Bool => Kind::Bool,
                MsgPackKind::Map => Kind::Map,
                _ => Kind::Other,
            },
            Self::Json(reader) => match reader.peek()? {
                JsonKind::Str => Kind::Text,
                JsonKind::Number => Kind::Number,
                JsonKind::Bool => Kind::Bool,
                JsonKind::Map => Kind::Map,
                _ => Kind::Other,
            },
        })
    }

    /// Checks that nothing is left.
    pub(super) fn finish(&mut self) -> Result<()> {
        match self {
            Self::MsgPack(reader) => reader.finish(),
            Self::Json(reader) => reader.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_make_it_panic() {
        // Every two-byte beginning, followed by a few bytes of each kind.
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                for tail in [&[][..], &[0xff; 9], &[0; 9], b"\"\\u"] {
                    let bytes = [&[a, b], tail].concat();
                    for encoding in [Encoding::Json, Encoding::MsgPack] {
                        let _ = Scan::new(encoding, &bytes).text();
                        let _ = Scan::new(encoding, &bytes).uint();
                        let _ = Scan::new(encoding, &bytes).map_value(|_, scan| scan.skip());
                        let _ = Scan::new(encoding, &bytes).array(10);
                        let _ = Scan::new(encoding, &bytes).map(|_, scan| scan.value().map(|_| ()));
                    }
                }
            }
        }
    }

    #[test]
    fn a_value_that_is_given_back_is_one_that_can_be_read() {
        for (bytes, encoding) in [(&b"\xa2\xff\xfe"[..], Encoding::MsgPack), (b"\"\xff\"", Encoding::Json)] {
            assert!(Scan::new(encoding, bytes).checked().is_err(), "{bytes:?}");
            assert!(
                Scan::new(encoding, bytes).value().is_ok(),
                "{bytes:?}: what is passed on is looked at by its reader"
            );
        }
        assert_eq!(Scan::new(Encoding::Json, b" [1,\"a\"] ").checked(), Ok(&b"[1,\"a\"]"[..]));
    }

    #[test]
    fn deep_nesting_costs_nothing() {
        for (open, encoding) in [(0x91, Encoding::MsgPack), (b'[', Encoding::Json)] {
            assert!(Scan::new(encoding, &vec![open; 100_000]).value().is_err());
        }
    }
}
