//! One cursor over both encodings, for what an envelope needs: its fields, its texts, and where the rest begins and ends.

use std::borrow::Cow;

use statemesh_expr::DecodeError;
use statemesh_expr::json::{self, JsonKind, Number};
use statemesh_expr::msgpack::{self, MsgPackKind};

use super::reply::Encoding;

/// A position in a frame.
#[derive(Clone, Debug)]
pub(super) enum Scan<'a> {
    MsgPack(msgpack::Reader<'a>),
    Json(json::Reader<'a>),
}

/// A text or a whole number, or a value that is neither.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Text(Cow<'a, str>),
    Uint(u64),
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

    /// Reads a map to its end: for each entry `entry` gets the name and must consume the value.
    pub(super) fn map(&mut self, mut entry: impl FnMut(&str, &mut Self) -> Result<()>) -> Result<()> {
        match self {
            Self::MsgPack(reader) => {
                for _ in 0..reader.read_map_header()? {
                    let Self::MsgPack(reader) = self else { break };
                    let name = reader.read_key()?;
                    entry(name, self)?;
                }
            }
            Self::Json(reader) => {
                reader.enter_map()?;
                while let Self::Json(reader) = self
                    && let Some(name) = reader.next_key()?
                {
                    entry(&name, self)?;
                }
            }
        }
        Ok(())
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

    /// The next value, if it is a text or a whole number; another one is passed over.
    pub(super) fn scalar(&mut self) -> Result<Scalar<'a>> {
        match self {
            Self::MsgPack(reader) => match reader.peek()? {
                MsgPackKind::Str => Ok(Scalar::Text(Cow::Borrowed(reader.read_str()?))),
                MsgPackKind::Int => Ok(u64::try_from(reader.read_integer()?).map_or(Scalar::Other, Scalar::Uint)),
                _ => reader.skip_value().map(|()| Scalar::Other),
            },
            Self::Json(reader) => match reader.peek()? {
                JsonKind::Str => Ok(Scalar::Text(reader.read_str()?)),
                JsonKind::Number => Ok(match reader.read_number()? {
                    Number::Int(n) => u64::try_from(n).map_or(Scalar::Other, Scalar::Uint),
                    Number::Uint(n) => Scalar::Uint(n),
                    Number::Double(_) => Scalar::Other,
                }),
                _ => reader.skip_value().map(|()| Scalar::Other),
            },
        }
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
                        let _ = Scan::new(encoding, &bytes).scalar();
                        let _ = Scan::new(encoding, &bytes).array(10);
                        let _ = Scan::new(encoding, &bytes).map(|_, scan| scan.value().map(|_| ()));
                    }
                }
            }
        }
    }

    #[test]
    fn deep_nesting_costs_nothing() {
        for (open, encoding) in [(0x91, Encoding::MsgPack), (b'[', Encoding::Json)] {
            assert!(Scan::new(encoding, &vec![open; 100_000]).value().is_err());
        }
    }
}
