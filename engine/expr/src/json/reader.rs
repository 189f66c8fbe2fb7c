//! A cursor over JSON text: reads what is asked for, allocates only for
//! strings with escapes, and skips the rest while checking its grammar.

use crate::decode::{DecodeError, DecodeFault};
use crate::limits::MAX_DEPTH;
use std::borrow::Cow;

/// What kind of value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonKind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number
    Number,
    /// A string
    Str,
    /// `[`
    List,
    /// `{`
    Map,
}

/// A JSON number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Without fraction or exponent, fits `i64`.
    Int(i64),
    /// Without fraction or exponent, beyond `i64`.
    Uint(u64),
    /// Any other.
    Double(f64),
}

/// A cursor over JSON text.
///
/// ```
/// use statemesh_expr::json::Reader;
/// let mut reader = Reader::new(br#"{"op":"send","id":7}"#);
/// reader.enter_map()?;
/// while let Some(key) = reader.next_key()? {
///     match key.as_ref() {
///         "op" => assert_eq!(reader.read_str()?, "send"),
///         _ => reader.skip_value()?,
///     }
/// }
/// # Ok::<(), statemesh_expr::DecodeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Just inside a bracket, where no comma is due.
    first: bool,
}

impl<'a> Reader<'a> {
    /// A cursor at the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0, first: false }
    }

    /// Bytes read so far.
    #[inline]
    pub fn offset(&self) -> usize {
        self.at
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
    pub fn peek(&mut self) -> Result<JsonKind, DecodeError> {
        match self.next_byte()? {
            b'{' => Ok(JsonKind::Map),
            b'[' => Ok(JsonKind::List),
            b'"' => Ok(JsonKind::Str),
            b't' | b'f' => Ok(JsonKind::Bool),
            b'n' => Ok(JsonKind::Null),
            b'-' | b'0'..=b'9' => Ok(JsonKind::Number),
            _ => Err(self.fault(DecodeFault::Unexpected)),
        }
    }

    /// Reads `null`.
    ///
    /// # Errors
    /// When something else comes next.
    pub fn read_null(&mut self) -> Result<(), DecodeError> {
        self.expect(JsonKind::Null)?;
        self.word(b"null")
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// When something else comes next.
    pub fn read_bool(&mut self) -> Result<bool, DecodeError> {
        self.expect(JsonKind::Bool)?;
        if self.bytes.get(self.at) == Some(&b't') {
            self.word(b"true").map(|()| true)
        } else {
            self.word(b"false").map(|()| false)
        }
    }

    /// Reads a number.
    ///
    /// # Errors
    /// When something else comes next, or a double is out of range.
    pub fn read_number(&mut self) -> Result<Number, DecodeError> {
        self.expect(JsonKind::Number)?;
        let start = self.at;
        let integral = self.skip_number()?;
        let text = self.bytes.get(start..self.at).unwrap_or_default();
        if integral && let Some(number) = integer(text) {
            return Ok(number);
        }
        let bad = DecodeError { offset: start, what: DecodeFault::BadNumber };
        let text = std::str::from_utf8(text).map_err(|_| bad)?;
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Number::Double(value)),
            _ => Err(bad),
        }
    }

    /// Reads a string; borrowed unless it has escapes.
    ///
    /// # Errors
    /// When something else comes next or the string is malformed.
    pub fn read_str(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        if self.next_byte()? != b'"' {
            // It says what else it is.
            self.expect(JsonKind::Str)?;
        }
        if let Some(raw) = self.short_str()
            && let Ok(text) = std::str::from_utf8(raw)
        {
            self.at += raw.len() + 2;
            return Ok(Cow::Borrowed(text));
        }
        self.long_str()
    }

    /// A string that is not short, or is malformed.
    #[inline(never)]
    fn long_str(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let (raw, escaped) = self.raw_str()?;
        self.text(raw, escaped)
    }

    /// Reads a string without a look at whether it is UTF-8, unless it has escapes: for a caller that only compares it.
    ///
    /// # Errors
    /// As [`Reader::read_str`].
    pub fn read_str_bytes(&mut self) -> Result<Cow<'a, [u8]>, DecodeError> {
        if self.next_byte()? == b'"'
            && let Some(raw) = self.short_str()
        {
            self.at += raw.len() + 2;
            return Ok(Cow::Borrowed(raw));
        }
        Ok(match self.read_str()? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }

    /// The bytes of a string, at its opening quote, that has no escapes and ends within eight bytes: names and most keys. It is not
    /// read by that.
    #[inline]
    fn short_str(&self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at + 1..)?;
        let eight = match rest.first_chunk() {
            Some(eight) => u64::from_le_bytes(*eight),
            // Zeros in the place of what is missing, which end it as control characters do.
            None => u64::from_le_bytes(*self.bytes.last_chunk()?).checked_shr(8 * (8 - rest.len() as u32))?,
        };
        let ends = ends_plain(eight);
        // Of no end it is 8.
        let (text, end) = rest.split_at_checked((ends.trailing_zeros() / 8) as usize)?;
        (end.first() == Some(&b'"')).then_some(text)
    }

    /// The bytes of a string, at its opening quote, and whether it has escapes.
    #[inline]
    fn raw_str(&mut self) -> Result<(&'a [u8], bool), DecodeError> {
        let start = self.at + 1;
        let escaped = self.skip_str()?;
        Ok((self.bytes.get(start..self.at - 1).unwrap_or_default(), escaped))
    }

    /// The text of the string that was just read.
    fn text(&self, raw: &'a [u8], escaped: bool) -> Result<Cow<'a, str>, DecodeError> {
        let bad = |offset| DecodeError { offset: self.at - 1 - raw.len() + offset, what: DecodeFault::BadString };
        let text = std::str::from_utf8(raw).map_err(|error| bad(error.valid_up_to()))?;
        if escaped { unescape(text).map(Cow::Owned).map_err(bad) } else { Ok(Cow::Borrowed(text)) }
    }

    /// Goes into a map; [`Reader::next_key`] follows.
    ///
    /// # Errors
    /// When something else comes next.
    pub fn enter_map(&mut self) -> Result<(), DecodeError> {
        self.expect(JsonKind::Map)?;
        self.at += 1;
        self.first = true;
        Ok(())
    }

    /// The next key of the map, whose value must then be read or skipped; None
    /// at its end, which is read.
    ///
    /// # Errors
    /// When the text is not that of a map.
    pub fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        if !self.enter_key()? {
            return Ok(None);
        }
        let key = self.read_str()?;
        self.colon()?;
        Ok(Some(key))
    }

    /// The same without a look at whether it is UTF-8, unless it has escapes: for a caller that only compares it.
    ///
    /// # Errors
    /// As [`Reader::next_key`].
    #[inline]
    pub fn next_key_bytes(&mut self) -> Result<Option<Cow<'a, [u8]>>, DecodeError> {
        if !self.enter_key()? {
            return Ok(None);
        }
        if let Some(raw) = self.short_str()
            && self.bytes.get(self.at + raw.len() + 2) == Some(&b':')
        {
            self.at += raw.len() + 3;
            return Ok(Some(Cow::Borrowed(raw)));
        }
        self.long_key_bytes().map(Some)
    }

    /// Goes to the opening quote of the next key; false at the map's end, which is read.
    #[inline]
    fn enter_key(&mut self) -> Result<bool, DecodeError> {
        if !self.next_entry(b'}')? {
            return Ok(false);
        }
        if self.next_byte()? != b'"' {
            return Err(self.fault(DecodeFault::Unexpected));
        }
        Ok(true)
    }

    /// A key that is not short, or has white space behind it, or is malformed.
    #[inline(never)]
    fn long_key_bytes(&mut self) -> Result<Cow<'a, [u8]>, DecodeError> {
        let (raw, escaped) = self.raw_str()?;
        let key =
            if escaped { Cow::Owned(self.text(raw, escaped)?.into_owned().into_bytes()) } else { Cow::Borrowed(raw) };
        self.colon()?;
        Ok(key)
    }

    /// Goes into a list; [`Reader::next_item`] follows.
    ///
    /// # Errors
    /// When something else comes next.
    pub fn enter_list(&mut self) -> Result<(), DecodeError> {
        self.expect(JsonKind::List)?;
        self.at += 1;
        self.first = true;
        Ok(())
    }

    /// Whether the list has a next element, which must then be read or
    /// skipped; the list's end is read.
    ///
    /// # Errors
    /// When the text is not that of a list.
    pub fn next_item(&mut self) -> Result<bool, DecodeError> {
        self.next_entry(b']')
    }

    /// Skips one value of any kind, checking its grammar.
    ///
    /// # Errors
    /// When it is malformed or nests more than 128 levels.
    pub fn skip_value(&mut self) -> Result<(), DecodeError> {
        match self.peek()? {
            JsonKind::Map | JsonKind::List => self.skip_within(MAX_DEPTH),
            scalar => self.skip_scalar(scalar),
        }
    }

    #[inline]
    fn skip_scalar(&mut self, kind: JsonKind) -> Result<(), DecodeError> {
        match kind {
            JsonKind::Str => self.skip_str().map(drop),
            JsonKind::Number => self.skip_number().map(drop),
            JsonKind::Bool => self.read_bool().map(drop),
            _ => self.read_null(),
        }
    }

    /// Skips one value and gives its text.
    ///
    /// # Errors
    /// As [`Reader::skip_value`].
    pub fn read_raw(&mut self) -> Result<&'a [u8], DecodeError> {
        self.peek()?;
        let start = self.at;
        self.skip_value()?;
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }

    /// The bytes from an earlier offset up to here.
    pub fn since(&self, offset: usize) -> &'a [u8] {
        self.bytes.get(offset..self.at).unwrap_or_default()
    }

    /// Checks that only white space is left.
    ///
    /// # Errors
    /// When there is more.
    pub fn finish(&mut self) -> Result<(), DecodeError> {
        self.skip_space();
        if self.at < self.bytes.len() {
            return Err(self.fault(DecodeFault::Trailing));
        }
        Ok(())
    }

    /// Skips one value of at most `depth` levels. Iterative: one bit per level
    /// says whether it is a map.
    pub(crate) fn skip_within(&mut self, depth: usize) -> Result<(), DecodeError> {
        let mut maps: u128 = 0;
        let mut level = 0;
        loop {
            match self.peek()? {
                kind @ (JsonKind::Map | JsonKind::List) => {
                    if level >= depth.min(MAX_DEPTH) {
                        return Err(self.fault(DecodeFault::TooDeep));
                    }
                    maps = maps << 1 | u128::from(kind == JsonKind::Map);
                    level += 1;
                    self.at += 1;
                    self.first = true;
                }
                scalar => self.skip_scalar(scalar)?,
            }
            // Closes what ends here, up to a level that has a next value.
            loop {
                if level == 0 {
                    return Ok(());
                }
                let in_map = maps & 1 == 1;
                if self.next_entry(if in_map { b'}' } else { b']' })? {
                    if in_map {
                        self.skip_key()?;
                    }
                    break;
                }
                maps >>= 1;
                level -= 1;
            }
        }
    }

    fn skip_key(&mut self) -> Result<(), DecodeError> {
        if self.next_byte()? != b'"' {
            return Err(self.fault(DecodeFault::Unexpected));
        }
        self.skip_str()?;
        self.colon()
    }

    #[inline]
    fn colon(&mut self) -> Result<(), DecodeError> {
        if self.next_byte()? != b':' {
            return Err(self.fault(DecodeFault::Unexpected));
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a comma where one is due, or `close`.
    #[inline]
    fn next_entry(&mut self, close: u8) -> Result<bool, DecodeError> {
        let first = std::mem::replace(&mut self.first, false);
        match self.next_byte()? {
            byte if byte == close => {
                // `[1,]` does not get here: after a comma a value is read.
                self.at += 1;
                Ok(false)
            }
            b',' if !first => {
                self.at += 1;
                Ok(true)
            }
            _ if first => Ok(true),
            _ => Err(self.fault(DecodeFault::Unexpected)),
        }
    }

    #[inline]
    fn expect(&mut self, kind: JsonKind) -> Result<(), DecodeError> {
        if self.peek()? == kind { Ok(()) } else { Err(self.fault(DecodeFault::WrongType)) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), DecodeError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(self.fault(DecodeFault::Unexpected));
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that is not white space, not read yet.
    #[inline]
    fn next_byte(&mut self) -> Result<u8, DecodeError> {
        match self.bytes.get(self.at) {
            // No white space is above a blank, and programs write none.
            Some(byte) if *byte > b' ' => Ok(*byte),
            _ => self.next_byte_behind_space(),
        }
    }

    #[cold]
    fn next_byte_behind_space(&mut self) -> Result<u8, DecodeError> {
        self.skip_space();
        match self.bytes.get(self.at) {
            Some(byte) => Ok(*byte),
            None => Err(self.fault(DecodeFault::Truncated)),
        }
    }

    /// Skips a string, at its opening quote; whether it has escapes.
    #[inline]
    fn skip_str(&mut self) -> Result<bool, DecodeError> {
        self.at += 1;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let plain = plain_len(rest);
        self.at += plain;
        if rest.get(plain) == Some(&b'"') {
            self.at += 1;
            return Ok(false);
        }
        self.skip_escaped()
    }

    /// Goes on with a string at its first escape, or at what has no place in it.
    fn skip_escaped(&mut self) -> Result<bool, DecodeError> {
        let mut escaped = false;
        loop {
            match self.bytes.get(self.at) {
                None => return Err(self.fault(DecodeFault::Truncated)),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at += 1;
                    match self.bytes.get(self.at) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' | b'u') => {
                            self.at += 1;
                        }
                        Some(_) => return Err(self.fault(DecodeFault::BadString)),
                        None => return Err(self.fault(DecodeFault::Truncated)),
                    }
                }
                Some(0..0x20) => return Err(self.fault(DecodeFault::BadString)),
                Some(_) => self.at += 1,
            }
        }
    }

    /// Skips a number; whether it has neither fraction nor exponent.
    fn skip_number(&mut self) -> Result<bool, DecodeError> {
        let mut integral = true;
        self.skip_if(|byte| byte == b'-');
        if !self.skip_if(|byte| byte == b'0') {
            self.digits()?;
        }
        if self.skip_if(|byte| byte == b'.') {
            integral = false;
            self.digits()?;
        }
        if self.skip_if(|byte| matches!(byte, b'e' | b'E')) {
            integral = false;
            self.skip_if(|byte| matches!(byte, b'+' | b'-'));
            self.digits()?;
        }
        Ok(integral)
    }

    fn skip_if(&mut self, wanted: impl Fn(u8) -> bool) -> bool {
        let found = self.bytes.get(self.at).is_some_and(|byte| wanted(*byte));
        self.at += usize::from(found);
        found
    }

    fn digits(&mut self) -> Result<(), DecodeError> {
        if !self.skip_if(|byte| byte.is_ascii_digit()) {
            return Err(self.fault(DecodeFault::BadNumber));
        }
        while self.skip_if(|byte| byte.is_ascii_digit()) {}
        Ok(())
    }
}

/// The length of the part of a string that stands for itself: up to its end, an escape, or a control character, which is an error.
#[inline]
fn plain_len(rest: &[u8]) -> usize {
    let mut plain = 0;
    while let Some(eight) = rest.get(plain..).and_then(<[u8]>::first_chunk::<8>) {
        let ends = ends_plain(u64::from_le_bytes(*eight));
        if ends != 0 {
            return plain + (ends.trailing_zeros() / 8) as usize;
        }
        plain += 8;
    }
    let ends = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\');
    rest.iter().skip(plain).position(ends).map_or(rest.len(), |at| plain + at)
}

/// The highest bit of each byte that is a control character, `"` or `\`; the lowest one is right, and those above it need not be, as
/// a subtraction borrows from them (Bit Twiddling Hacks, "Determine if a word has a zero byte", "has a byte less than n").
#[inline]
fn ends_plain(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let below = |word: u64, n: u8| word.wrapping_sub(ONES * u64::from(n)) & !word;
    let is = |byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
    (below(eight, b' ') | is(b'"') | is(b'\\')) & (ONES << 7)
}

/// The integer that `text` writes, if it fits; `-0` is 0.
fn integer(text: &[u8]) -> Option<Number> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut value: u64 = 0;
    for digit in digits {
        value = value.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0')))?;
    }
    if negative {
        0i64.checked_sub_unsigned(value).map(Number::Int)
    } else {
        Some(i64::try_from(value).map_or(Number::Uint(value), Number::Int))
    }
}

/// The text that `raw` stands for, or the offset of a bad escape.
fn unescape(raw: &str) -> Result<String, usize> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let offset = raw.len() - rest.len() + at + 1;
        let escape = rest.as_bytes().get(at + 1).copied().ok_or(offset)?;
        let mut used = at + 2;
        text.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (found, len) = unicode(rest.get(used..).ok_or(offset)?).ok_or(offset)?;
                used += len;
                found
            }
            other => char::from(other),
        });
        rest = rest.get(used..).ok_or(offset)?;
    }
    text.push_str(rest);
    Ok(text)
}

/// The character of `XXXX` or of the pair `XXXX\uXXXX`, and its length.
fn unicode(text: &str) -> Option<(char, usize)> {
    let high = hex4(text)?;
    if let Some(found) = char::from_u32(high) {
        return Some((found, 4));
    }
    let low = hex4(text.get(4..)?.strip_prefix("\\u")?)?;
    let pair = (0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(&low);
    let code = pair.then(|| 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))?;
    Some((char::from_u32(code)?, 10))
}

fn hex4(text: &str) -> Option<u32> {
    let digits = text.get(..4)?;
    let all_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all_hex.then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_read_whatever_its_length_and_however_near_the_end_of_the_text_it_is() {
        for (len, before) in (0..20).flat_map(|len| (0..10).map(move |before| (len, before))) {
            let text = &"abcdefghijklmnopqrst"[..len];
            let space = " ".repeat(before);
            for json in [format!("{space}{{\"{text}\":\"{text}\"}}"), format!("{space}{{\"{text}\" : \"{text}\" }}")] {
                let mut reader = Reader::new(json.as_bytes());
                reader.enter_map().unwrap();
                assert_eq!(reader.clone().next_key().unwrap().as_deref(), Some(text), "{json}");
                assert_eq!(reader.next_key_bytes().unwrap().as_deref(), Some(text.as_bytes()), "{json}");
                assert_eq!(reader.clone().read_str_bytes().unwrap(), text.as_bytes(), "{json}");
                assert_eq!(reader.read_str().unwrap(), text, "{json}");
                assert_eq!(reader.next_key().unwrap(), None, "{json}");
            }
            // Cut off, it is none.
            let cut = format!("{space}\"{text}");
            assert!(Reader::new(cut.as_bytes()).read_str().is_err(), "{cut}");
            assert!(Reader::new(cut.as_bytes()).read_str_bytes().is_err(), "{cut}");
        }
        assert_eq!(Reader::new(b"7").read_str().unwrap_err().what, DecodeFault::WrongType);
        assert_eq!(Reader::new(b"}").read_str().unwrap_err().what, DecodeFault::Unexpected);
    }

    #[test]
    fn the_plain_part_of_a_string_ends_where_it_does_byte_by_byte() {
        let by_byte = |text: &[u8]| text.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\'));
        for around in [b'a', 0x20, 0x7f, 0x80, 0x9f, 0xa2, 0xdc, 0xff, b'#', b'!', b'[', b']'] {
            for byte in 0..=u8::MAX {
                for at in 0..20 {
                    let mut text = [around; 20];
                    text[at] = byte;
                    for text in [&text[..], &text[..=at]] {
                        assert_eq!(plain_len(text), by_byte(text).unwrap_or(text.len()), "{text:?}");
                    }
                }
            }
        }
    }
}
