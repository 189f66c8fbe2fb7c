//! A cursor over MessagePack: reads what is asked for, borrows strings, skips
//! the rest. Never allocates, never recurses.

use crate::decode::{DecodeError, DecodeFault};
use crate::limits::MAX_DEPTH;
use crate::time::Timestamp;

/// What kind of value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MsgPackKind {
    /// nil
    Nil,
    /// A boolean
    Bool,
    /// An integer of any format
    Int,
    /// A float of either format
    Float,
    /// A string
    Str,
    /// Bytes
    Bin,
    /// An array
    List,
    /// A map
    Map,
    /// An extension
    Ext,
}

/// A cursor over MessagePack.
///
/// ```
/// use statemesh_expr::msgpack::Reader;
/// let mut reader = Reader::new(b"\x82\xa2op\xa4send\xa2id\x07");
/// for _ in 0..reader.read_map_header()? {
///     match reader.read_str()? {
///         "id" => assert_eq!(reader.read_u64()?, 7),
///         _ => reader.skip_value()?,
///     }
/// }
/// # Ok::<(), statemesh_expr::DecodeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A value's head: its marker, decoded.
enum Head {
    Nil,
    Bool(bool),
    Int(i64),
    /// Beyond `i64`.
    Uint(u64),
    Float(f64),
    /// So many bytes follow.
    Str(usize),
    Bin(usize),
    /// A type, then so many bytes follow.
    Ext(usize),
    /// So many values follow.
    List(usize),
    /// So many keys and values follow.
    Map(usize),
}

impl<'a> Reader<'a> {
    /// A cursor at the beginning of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Bytes read so far.
    #[inline]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Bytes not read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// An error at the current offset.
    #[cold]
    pub fn fault(&self, what: DecodeFault) -> DecodeError {
        DecodeError { offset: self.at, what }
    }

    /// The kind of the value that comes next.
    ///
    /// # Errors
    /// At the end of the input or before a byte that begins no value.
    #[inline]
    pub fn peek(&self) -> Result<MsgPackKind, DecodeError> {
        let Some(marker) = self.bytes.get(self.at) else {
            return Err(self.fault(DecodeFault::Truncated));
        };
        Ok(match marker {
            0x00..=0x7f | 0xcc..=0xd3 | 0xe0..=0xff => MsgPackKind::Int,
            0x80..=0x8f | 0xde | 0xdf => MsgPackKind::Map,
            0x90..=0x9f | 0xdc | 0xdd => MsgPackKind::List,
            0xa0..=0xbf | 0xd9..=0xdb => MsgPackKind::Str,
            0xc0 => MsgPackKind::Nil,
            0xc1 => return Err(self.fault(DecodeFault::Unexpected)),
            0xc2 | 0xc3 => MsgPackKind::Bool,
            0xc4..=0xc6 => MsgPackKind::Bin,
            0xc7..=0xc9 | 0xd4..=0xd8 => MsgPackKind::Ext,
            0xca | 0xcb => MsgPackKind::Float,
        })
    }

    /// Reads nil.
    ///
    /// # Errors
    /// When something else comes next.
    pub fn read_nil(&mut self) -> Result<(), DecodeError> {
        self.read(|head| matches!(head, Head::Nil).then_some(()))
    }

    /// Reads a boolean.
    ///
    /// # Errors
    /// When something else comes next.
    pub fn read_bool(&mut self) -> Result<bool, DecodeError> {
        self.read(|head| match head {
            Head::Bool(value) => Some(value),
            _ => None,
        })
    }

    /// Reads an integer of any format that fits.
    ///
    /// # Errors
    /// When something else comes next or it does not fit.
    pub fn read_i64(&mut self) -> Result<i64, DecodeError> {
        // Most integers are small ones.
        if let Some(value @ 0..=0x7f) = self.bytes.get(self.at) {
            self.at += 1;
            return Ok(i64::from(*value));
        }
        self.read(|head| match head {
            Head::Int(value) => Some(value),
            _ => None,
        })
    }

    /// Reads a non-negative integer of any format.
    ///
    /// # Errors
    /// When something else comes next or it is negative.
    pub fn read_u64(&mut self) -> Result<u64, DecodeError> {
        self.read(|head| match head {
            Head::Int(value) => u64::try_from(value).ok(),
            Head::Uint(value) => Some(value),
            _ => None,
        })
    }

    /// Reads an integer, between `i64::MIN` and `u64::MAX`.
    ///
    /// # Errors
    /// When something else comes next.
    pub fn read_integer(&mut self) -> Result<i128, DecodeError> {
        self.read(|head| match head {
            Head::Int(value) => Some(value.into()),
            Head::Uint(value) => Some(value.into()),
            _ => None,
        })
    }

    /// Reads a float of either format.
    ///
    /// # Errors
    /// When something else comes next, an integer too.
    pub fn read_f64(&mut self) -> Result<f64, DecodeError> {
        self.read(|head| match head {
            Head::Float(value) => Some(value),
            _ => None,
        })
    }

    /// Reads a string.
    ///
    /// # Errors
    /// When something else comes next or it is not UTF-8.
    #[inline]
    pub fn read_str(&mut self) -> Result<&'a str, DecodeError> {
        let len = match self.bytes.get(self.at) {
            Some(marker @ 0xa0..=0xbf) => {
                self.at += 1;
                usize::from(marker & 0x1f)
            }
            _ => self.read(|head| match head {
                Head::Str(len) => Some(len),
                _ => None,
            })?,
        };
        let start = self.at;
        std::str::from_utf8(self.take(len)?)
            .map_err(|error| DecodeError { offset: start + error.valid_up_to(), what: DecodeFault::BadString })
    }

    /// Reads a map key.
    ///
    /// # Errors
    /// As [`Reader::read_str`], with a code of its own for other types.
    #[inline]
    pub fn read_key(&mut self) -> Result<&'a str, DecodeError> {
        let key = self.read_key_bytes()?;
        std::str::from_utf8(key).map_err(|error| DecodeError {
            offset: self.at - key.len() + error.valid_up_to(),
            what: DecodeFault::BadString,
        })
    }

    /// Reads a map key without checking that it is UTF-8: for a caller that only compares it.
    ///
    /// # Errors
    /// When something other than a string comes next.
    #[inline]
    pub fn read_key_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        // Most keys are short: their marker says their length.
        if let Some(marker @ 0xa0..=0xbf) = self.bytes.get(self.at) {
            self.at += 1;
            return self.take(usize::from(marker & 0x1f));
        }
        let len = self.read(|head| match head {
            Head::Str(len) => Some(len),
            _ => None,
        });
        match len {
            Ok(len) => self.take(len),
            Err(mut error) => {
                if error.what == DecodeFault::WrongType {
                    error.what = DecodeFault::KeyNotString;
                }
                Err(error)
            }
        }
    }

    /// The bytes from an earlier offset up to here.
    #[inline]
    pub fn since(&self, offset: usize) -> &'a [u8] {
        self.bytes.get(offset..self.at).unwrap_or_default()
    }

    /// Reads a map key and compares it with `field`.
    #[inline]
    pub(crate) fn key_is(&mut self, field: &str) -> Result<bool, DecodeError> {
        Ok(self.read_key_bytes()? == field.as_bytes())
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// When something else comes next.
    pub fn read_bin(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.read(|head| match head {
            Head::Bin(len) => Some(len),
            _ => None,
        })?;
        self.take(len)
    }

    /// Reads the head of an array; so many values follow.
    ///
    /// # Errors
    /// When something else comes next, or fewer bytes are left than values
    /// are said to follow.
    pub fn read_list_header(&mut self) -> Result<usize, DecodeError> {
        self.read(|head| match head {
            Head::List(len) => Some(len),
            _ => None,
        })
    }

    /// Reads the head of a map; so many pairs of key and value follow.
    ///
    /// # Errors
    /// When something else comes next, or fewer bytes are left than values
    /// are said to follow.
    #[inline]
    pub fn read_map_header(&mut self) -> Result<usize, DecodeError> {
        self.read(|head| match head {
            Head::Map(len) => Some(len),
            _ => None,
        })
    }

    /// Reads the timestamp extension (type -1).
    ///
    /// # Errors
    /// When something else comes next, another extension too.
    pub fn read_timestamp(&mut self) -> Result<Timestamp, DecodeError> {
        let start = self.at;
        let len = self.read(|head| match head {
            Head::Ext(len) => Some(len),
            _ => None,
        })?;
        let kind = self.take(1)?;
        let bytes = self.take(len)?;
        let unknown = DecodeError { offset: start, what: DecodeFault::UnknownExtension };
        if kind != [0xff] {
            return Err(unknown);
        }
        timestamp(bytes).ok_or(unknown)
    }

    /// Skips one value of any kind.
    ///
    /// # Errors
    /// When the input ends before the value does, has a byte that begins no
    /// value, or nests more than 128 levels. Strings are not checked to be UTF-8.
    #[inline]
    pub fn skip_value(&mut self) -> Result<(), DecodeError> {
        match self.bytes.get(self.at) {
            Some(0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3) => {
                self.at += 1;
                Ok(())
            }
            Some(marker @ 0xa0..=0xbf) => {
                self.at += 1;
                self.take(usize::from(marker & 0x1f)).map(drop)
            }
            // Whole numbers: so many bytes follow the marker, 1, 2, 4 or 8.
            Some(marker @ 0xcc..=0xd3) => self.take(1 + (1 << (marker & 3))).map(drop),
            _ => self.skip_any(),
        }
    }

    fn skip_any(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        let mut pending: usize = 1;
        let mut containers = 0;
        while pending > 0 {
            pending -= 1;
            let inside = self.skip_head()?;
            if inside > 0 {
                // No overflow: each head was checked against what is left.
                pending += inside;
                containers += 1;
                if containers > MAX_DEPTH {
                    self.at = start;
                    return self.skip_levels();
                }
            }
        }
        Ok(())
    }

    /// Skips one value that may nest too deeply: one counter per level.
    #[cold]
    fn skip_levels(&mut self) -> Result<(), DecodeError> {
        let mut levels = [0; MAX_DEPTH];
        let mut level: usize = 0;
        loop {
            let too_deep = self.fault(DecodeFault::TooDeep);
            let inside = self.skip_head()?;
            if inside > 0 {
                *levels.get_mut(level).ok_or(too_deep)? = inside;
                level += 1;
            }
            // Closes what ends here, up to a level that has a next value.
            loop {
                let Some(left) = level.checked_sub(1).and_then(|n| levels.get_mut(n)) else {
                    return Ok(());
                };
                if *left > 0 {
                    *left -= 1;
                    break;
                }
                level -= 1;
            }
        }
    }

    /// Skips a scalar, or the head of a list or map; says how many values that holds, keys among them.
    fn skip_head(&mut self) -> Result<usize, DecodeError> {
        match self.head()? {
            Head::Str(len) | Head::Bin(len) => self.take(len)?,
            Head::Ext(len) => self.take(len + 1)?,
            Head::List(len) => return Ok(len),
            Head::Map(len) => return Ok(2 * len),
            Head::Nil | Head::Bool(_) | Head::Int(_) | Head::Uint(_) | Head::Float(_) => &[],
        };
        Ok(0)
    }

    /// Skips one value and gives its bytes.
    ///
    /// # Errors
    /// As [`Reader::skip_value`].
    #[inline]
    pub fn read_raw(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.at;
        self.skip_value()?;
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// When something is.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.at < self.bytes.len() {
            return Err(self.fault(DecodeFault::Trailing));
        }
        Ok(())
    }

    /// Checks one value thoroughly: nesting of at most `depth` levels, string
    /// keys, UTF-8. Iterative: one counter per level.
    pub(crate) fn check(&mut self, depth: usize) -> Result<(), DecodeError> {
        let mut levels = [Level::default(); MAX_DEPTH];
        let mut level = 0;
        loop {
            match self.peek()? {
                kind @ (MsgPackKind::List | MsgPackKind::Map) => {
                    let is_map = kind == MsgPackKind::Map;
                    let too_deep = self.fault(DecodeFault::TooDeep);
                    let left = if is_map { self.read_map_header()? } else { self.read_list_header()? };
                    let place = levels.get_mut(level).filter(|_| level < depth);
                    *place.ok_or(too_deep)? = Level { left, is_map };
                    level += 1;
                }
                MsgPackKind::Str => self.read_str().map(drop)?,
                MsgPackKind::Ext => self.read_timestamp().map(drop)?,
                _ => self.skip_value()?,
            }
            // Closes what ends here, up to a level that has a next value.
            loop {
                let Some(open) = level.checked_sub(1).and_then(|n| levels.get_mut(n)) else {
                    return Ok(());
                };
                if open.left > 0 {
                    open.left -= 1;
                    if open.is_map {
                        self.read_key()?;
                    }
                    break;
                }
                level -= 1;
            }
        }
    }

    /// Reads a head that `wanted` accepts, or leaves the cursor where it was.
    #[inline]
    fn read<T>(&mut self, wanted: impl Fn(Head) -> Option<T>) -> Result<T, DecodeError> {
        let start = self.at;
        match wanted(self.head()?) {
            Some(value) => Ok(value),
            None => {
                self.at = start;
                Err(self.fault(DecodeFault::WrongType))
            }
        }
    }

    #[inline]
    fn head(&mut self) -> Result<Head, DecodeError> {
        let Some(marker) = self.bytes.get(self.at).copied() else {
            return Err(self.fault(DecodeFault::Truncated));
        };
        self.at += 1;
        let head = match marker {
            0x00..=0x7f => Head::Int(i64::from(marker)),
            0xe0..=0xff => Head::Int(i64::from(marker as i8)),
            0xa0..=0xbf => Head::Str(usize::from(marker & 0x1f)),
            0x80..=0x8f => self.holding(usize::from(marker & 0x0f), true)?,
            0x90..=0x9f => self.holding(usize::from(marker & 0x0f), false)?,
            _ => return self.long_head(marker),
        };
        Ok(head)
    }

    fn long_head(&mut self, marker: u8) -> Result<Head, DecodeError> {
        Ok(match marker {
            0xc0 => Head::Nil,
            0xc2 | 0xc3 => Head::Bool(marker == 0xc3),
            0xc4 => Head::Bin(self.length(1)?),
            0xc5 => Head::Bin(self.length(2)?),
            0xc6 => Head::Bin(self.length(4)?),
            0xc7 => Head::Ext(self.length(1)?),
            0xc8 => Head::Ext(self.length(2)?),
            0xc9 => Head::Ext(self.length(4)?),
            0xca => Head::Float(f64::from(f32::from_bits(self.be(4)? as u32))),
            0xcb => Head::Float(f64::from_bits(self.be(8)?)),
            0xcc => Head::Int(self.be(1)? as i64),
            0xcd => Head::Int(self.be(2)? as i64),
            0xce => Head::Int(self.be(4)? as i64),
            0xcf => {
                let value = self.be(8)?;
                i64::try_from(value).map_or(Head::Uint(value), Head::Int)
            }
            0xd0 => Head::Int((self.be(1)? as i8).into()),
            0xd1 => Head::Int((self.be(2)? as i16).into()),
            0xd2 => Head::Int((self.be(4)? as i32).into()),
            0xd3 => Head::Int(self.be(8)? as i64),
            0xd4 => Head::Ext(1),
            0xd5 => Head::Ext(2),
            0xd6 => Head::Ext(4),
            0xd7 => Head::Ext(8),
            0xd8 => Head::Ext(16),
            0xd9 => Head::Str(self.length(1)?),
            0xda => Head::Str(self.length(2)?),
            0xdb => Head::Str(self.length(4)?),
            0xdc => self.long_holding(2, false)?,
            0xdd => self.long_holding(4, false)?,
            0xde => self.long_holding(2, true)?,
            0xdf => self.long_holding(4, true)?,
            _ => {
                self.at -= 1;
                return Err(self.fault(DecodeFault::Unexpected));
            }
        })
    }

    /// A list or map head of `len`, which at a byte a value must fit.
    #[inline]
    fn holding(&self, len: usize, is_map: bool) -> Result<Head, DecodeError> {
        let values = if is_map { len.saturating_mul(2) } else { len };
        if values > self.bytes.len() - self.at {
            return Err(self.fault(DecodeFault::Truncated));
        }
        Ok(if is_map { Head::Map(len) } else { Head::List(len) })
    }

    fn long_holding(&mut self, width: usize, is_map: bool) -> Result<Head, DecodeError> {
        let len = self.length(width)?;
        self.holding(len, is_map)
    }

    fn length(&mut self, width: usize) -> Result<usize, DecodeError> {
        Ok(self.be(width)? as usize)
    }

    /// A big-endian number of `width` bytes.
    fn be(&mut self, width: usize) -> Result<u64, DecodeError> {
        Ok(be(self.take(width)?))
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest().get(..len) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => Err(self.fault(DecodeFault::Truncated)),
        }
    }
}

/// A list or map being checked: what of it is left.
#[derive(Clone, Copy, Default)]
struct Level {
    left: usize,
    is_map: bool,
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// The three sizes of the timestamp extension.
fn timestamp(bytes: &[u8]) -> Option<Timestamp> {
    match bytes.len() {
        4 => Timestamp::new(be(bytes) as i64, 0),
        8 => {
            let both = be(bytes);
            let seconds = (both & 0x3_ffff_ffff) as i64;
            Timestamp::new(seconds, (both >> 34) as u32)
        }
        12 => {
            let (nanos, seconds) = bytes.split_at_checked(4)?;
            Timestamp::new(be(seconds) as i64, be(nanos) as u32)
        }
        _ => None,
    }
}
