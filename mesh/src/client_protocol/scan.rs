//! Finding where values begin and end, in MessagePack and in JSON, without decoding them.
//!
//! Nothing here allocates or recurses, whatever the bytes say: nesting costs a counter, and a length is believed only as
//! far as there are bytes.

use std::borrow::Cow;

use super::reply::Encoding;

/// Deepest nesting of a request. Deeper ones are refused before anything looks at them.
pub(crate) const MAX_DEPTH: usize = 64;

/// A position in a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    encoding: Encoding,
    rest: &'a [u8],
}

/// A text or a number, or a value that is neither.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Text(Cow<'a, str>),
    Uint(u64),
    Other,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(encoding: Encoding, bytes: &'a [u8]) -> Self {
        let mut scan = Self { encoding, rest: bytes };
        scan.blank();
        scan
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn blank(&mut self) {
        if self.encoding == Encoding::Json {
            let blanks = self.rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
            self.rest = self.rest.get(blanks..).unwrap_or_default();
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn eat(&mut self, expected: u8) -> Option<()> {
        self.blank();
        (self.byte()? == expected).then_some(())
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    fn length(&mut self, width: usize) -> Option<usize> {
        let bytes = self.bytes(width)?;
        usize::try_from(bytes.iter().fold(0u64, |n, b| (n << 8) | u64::from(*b))).ok()
    }

    /// Reads a map: for each entry `entry` gets the name and must consume the value.
    pub(crate) fn map(&mut self, mut entry: impl FnMut(&str, &mut Self) -> Option<()>) -> Option<()> {
        if self.encoding == Encoding::MsgPack {
            let len = match self.byte()? {
                header @ 0x80..=0x8f => usize::from(header & 0x0f),
                0xde => self.length(2)?,
                0xdf => self.length(4)?,
                _ => return None,
            };
            for _ in 0..len {
                let name = self.text()?;
                entry(&name, self)?;
            }
            return Some(());
        }
        self.eat(b'{')?;
        self.blank();
        if self.rest.first() == Some(&b'}') {
            return self.eat(b'}');
        }
        loop {
            let name = self.text()?;
            self.eat(b':')?;
            self.blank();
            entry(&name, self)?;
            self.blank();
            match self.byte()? {
                b',' => self.blank(),
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Reads an array of at most `max` values, each as bytes; `None` within if it has more.
    pub(crate) fn array(&mut self, max: usize) -> Option<Option<Vec<&'a [u8]>>> {
        let mut items = Vec::new();
        if self.encoding == Encoding::MsgPack {
            let len = match self.byte()? {
                header @ 0x90..=0x9f => usize::from(header & 0x0f),
                0xdc => self.length(2)?,
                0xdd => self.length(4)?,
                _ => return None,
            };
            if len > max {
                return Some(None);
            }
            for _ in 0..len {
                items.push(self.value()?);
            }
            return Some(Some(items));
        }
        self.eat(b'[')?;
        self.blank();
        if self.rest.first() == Some(&b']') {
            self.byte();
            return Some(Some(items));
        }
        loop {
            if items.len() == max {
                return Some(None);
            }
            self.blank();
            items.push(self.value()?);
            self.blank();
            match self.byte()? {
                b',' => {}
                b']' => return Some(Some(items)),
                _ => return None,
            }
        }
    }

    /// The bytes of the next value, whatever it is.
    pub(crate) fn value(&mut self) -> Option<&'a [u8]> {
        let start = self.rest;
        match self.encoding {
            Encoding::MsgPack => self.skip_msgpack()?,
            Encoding::Json => self.skip_json()?,
        }
        start.get(..start.len() - self.rest.len())
    }

    fn skip_msgpack(&mut self) -> Option<()> {
        // How many values are left to skip at each level of nesting.
        let mut left = [0usize; MAX_DEPTH];
        let mut depth = 0;
        *left.first_mut()? = 1;
        loop {
            while *left.get(depth)? == 0 {
                if depth == 0 {
                    return Some(());
                }
                depth -= 1;
            }
            *left.get_mut(depth)? -= 1;
            let inner = self.skip_msgpack_head()?;
            if inner > 0 {
                depth += 1;
                *left.get_mut(depth)? = inner;
            }
        }
    }

    /// Skips one value's head and, if it is no container, the value; gives how many values are inside.
    fn skip_msgpack_head(&mut self) -> Option<usize> {
        let (blob, inner) = match self.byte()? {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, 0),
            header @ 0x80..=0x8f => (0, usize::from(header & 0x0f) * 2),
            header @ 0x90..=0x9f => (0, usize::from(header & 0x0f)),
            header @ 0xa0..=0xbf => (usize::from(header & 0x1f), 0),
            0xc1 => return None,
            0xc4 | 0xd9 => (self.length(1)?, 0),
            0xc5 | 0xda => (self.length(2)?, 0),
            0xc6 | 0xdb => (self.length(4)?, 0),
            0xc7 => (self.length(1)?.checked_add(1)?, 0),
            0xc8 => (self.length(2)?.checked_add(1)?, 0),
            0xc9 => (self.length(4)?.checked_add(1)?, 0),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 => (2, 0),
            0xca | 0xce | 0xd2 => (4, 0),
            0xcb | 0xcf | 0xd3 => (8, 0),
            0xd4 => (2, 0),
            0xd5 => (3, 0),
            0xd6 => (5, 0),
            0xd7 => (9, 0),
            0xd8 => (17, 0),
            0xdc => (0, self.length(2)?),
            0xdd => (0, self.length(4)?),
            0xde => (0, self.length(2)?.checked_mul(2)?),
            0xdf => (0, self.length(4)?.checked_mul(2)?),
        };
        self.bytes(blob)?;
        Some(inner)
    }

    /// JSON is only cut here, not checked: who reads the value checks it.
    fn skip_json(&mut self) -> Option<()> {
        self.blank();
        match self.rest.first()? {
            b'"' => self.skip_json_text(),
            b'{' | b'[' => self.skip_json_container(),
            _ => {
                let len = self.rest.iter().take_while(|b| !matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')).count();
                (len > 0).then_some(())?;
                self.bytes(len).map(|_| ())
            }
        }
    }

    fn skip_json_container(&mut self) -> Option<()> {
        let mut depth = 0;
        loop {
            match self.rest.first()? {
                b'"' => {
                    self.skip_json_text()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.byte();
            if depth == 0 {
                return Some(());
            }
            if depth > MAX_DEPTH {
                return None;
            }
        }
    }

    fn skip_json_text(&mut self) -> Option<()> {
        self.byte()?;
        loop {
            match self.byte()? {
                b'"' => return Some(()),
                b'\\' => {
                    self.byte()?;
                }
                _ => {}
            }
        }
    }

    /// The next value, which must be a text.
    pub(crate) fn text(&mut self) -> Option<Cow<'a, str>> {
        match self.scalar()? {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The next value, if it is a text or a whole number.
    pub(crate) fn scalar(&mut self) -> Option<Scalar<'a>> {
        let value = self.value()?;
        let value = match self.encoding {
            Encoding::Json => value.trim_ascii(),
            Encoding::MsgPack => value,
        };
        let (first, rest) = value.split_first()?;
        Some(match (self.encoding, first) {
            (Encoding::Json, b'"') => Scalar::Text(json_text(rest.get(..rest.len().checked_sub(1)?)?)?),
            (Encoding::Json, b'0'..=b'9') => {
                std::str::from_utf8(value).ok()?.parse().map_or(Scalar::Other, Scalar::Uint)
            }
            (Encoding::MsgPack, 0x00..=0x7f) => Scalar::Uint(u64::from(*first)),
            (Encoding::MsgPack, 0xcc..=0xcf) => Scalar::Uint(rest.iter().fold(0, |n, b| (n << 8) | u64::from(*b))),
            (Encoding::MsgPack, 0xa0..=0xbf) => Scalar::Text(Cow::Borrowed(std::str::from_utf8(rest).ok()?)),
            (Encoding::MsgPack, 0xd9..=0xdb) => {
                let width = 1usize << (first - 0xd9);
                Scalar::Text(Cow::Borrowed(std::str::from_utf8(rest.get(width..)?).ok()?))
            }
            _ => Scalar::Other,
        })
    }
}

/// The text between the quotes of a JSON string.
fn json_text(inner: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(inner).ok()?;
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next()? {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'u' => out.push(json_unicode(&mut chars)?),
            plain @ ('"' | '\\' | '/') => out.push(plain),
            _ => return None,
        }
    }
    Some(Cow::Owned(out))
}

fn json_unicode(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let mut unit = || (0..4).try_fold(0u32, |n, _| Some(n * 16 + chars.next()?.to_digit(16)?));
    let first = unit()?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first);
    }
    (chars.next()? == '\\' && chars.next()? == 'u').then_some(())?;
    let mut unit = || (0..4).try_fold(0u32, |n, _| Some(n * 16 + chars.next()?.to_digit(16)?));
    let second = unit()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_where_they_end() {
        let mut scan = Scan::new(Encoding::Json, br#" {"a":[1,{"b":"}\""}],"c":-1.5e3}x"#);
        let value = scan.value().unwrap();
        assert_eq!(value, br#"{"a":[1,{"b":"}\""}],"c":-1.5e3}"#);
        let packed = rmp_serde::to_vec(&serde_json::json!({"a": [1, {"b": "x".repeat(300)}], "c": -1.5})).unwrap();
        let mut twice = packed.clone();
        twice.extend_from_slice(&packed);
        assert_eq!(Scan::new(Encoding::MsgPack, &twice).value().unwrap(), packed);
    }

    #[test]
    fn nesting_is_refused_beyond_the_limit_and_below_it_is_fine() {
        for (open, encoding) in [(0x91, Encoding::MsgPack), (b'[', Encoding::Json)] {
            assert!(Scan::new(encoding, &vec![open; 100_000]).value().is_none());
        }
        let mut deep = vec![0x91; MAX_DEPTH - 1];
        deep.push(1);
        assert!(Scan::new(Encoding::MsgPack, &deep).value().is_some());
    }

    #[test]
    fn json_escapes_are_read() {
        let mut scan = Scan::new(Encoding::Json, br#""a\"\\\/\n\u00e9\ud83d\ude00""#);
        assert_eq!(scan.text().unwrap(), "a\"\\/\n\u{e9}\u{1f600}");
        assert!(Scan::new(Encoding::Json, br#""\ud83d""#).text().is_none());
    }

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
}
