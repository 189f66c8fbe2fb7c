//! Writing replies and changes: the same calls give MessagePack or JSON.

use statemesh_expr::{json, msgpack};

use super::error::ErrorCode;
use super::run::RunId;

/// The two encodings of a frame. A reply uses the one of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// MessagePack.
    MsgPack,
    /// JSON, when the frame begins with `{` or `[`.
    Json,
}

impl Encoding {
    /// The encoding of a frame, by its first byte.
    #[must_use]
    pub fn of(frame: &[u8]) -> Self {
        match frame.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{' | b'[') => Self::Json,
            _ => Self::MsgPack,
        }
    }
}

/// Writes one map, field by field, at the end of a buffer.
#[derive(Debug)]
pub struct MapWriter<'a> {
    out: &'a mut Vec<u8>,
    encoding: Encoding,
    start: usize,
    fields: u16,
}

impl<'a> MapWriter<'a> {
    /// Begins a map.
    pub fn new(out: &'a mut Vec<u8>, encoding: Encoding) -> Self {
        let start = out.len();
        match encoding {
            Encoding::Json => out.push(b'{'),
            Encoding::MsgPack => out.push(0x80),
        }
        Self { out, encoding, start, fields: 0 }
    }

    /// Goes on with a map that was ended and is all that is in `out`; `None` if it has so many fields that its header
    /// would grow.
    #[must_use]
    pub fn reopen(out: &'a mut Vec<u8>, encoding: Encoding) -> Option<Self> {
        let fields = match (encoding, out.first()?) {
            (Encoding::Json, b'{') => {
                out.pop_if(|last| *last == b'}')?;
                u16::from(out.len() > 1)
            }
            (Encoding::MsgPack, header @ 0x80..=0x8e) => u16::from(header & 0x0f),
            _ => return None,
        };
        Some(Self { out, encoding, start: 0, fields })
    }

    /// The encoding that it writes.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Names are the program's own and have nothing to escape. Inlined, so that the bytes of one that is known when this is
    /// compiled are too.
    #[inline(always)]
    fn name(&mut self, name: &str) {
        let first = self.fields == 0;
        self.fields += 1;
        if self.encoding == Encoding::MsgPack {
            return msgpack::write_str(name, self.out);
        }
        self.out.reserve(name.len() + 4);
        self.out.extend_from_slice(if first { b"\"" } else { b",\"" });
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A text.
    #[inline]
    pub fn str(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        write_str(self.out, self.encoding, value);
        self
    }

    /// A text of the program's own, which has nothing to escape.
    #[inline]
    pub fn plain(&mut self, name: &str, value: &'static str) -> &mut Self {
        self.name(name);
        match self.encoding {
            Encoding::Json => {
                self.out.reserve(value.len() + 2);
                self.out.push(b'"');
                self.out.extend_from_slice(value.as_bytes());
                self.out.push(b'"');
            }
            Encoding::MsgPack => msgpack::write_str(value, self.out),
        }
        self
    }

    /// The life of a key.
    #[inline]
    pub fn run(&mut self, run: RunId) -> &mut Self {
        self.name("run");
        let digits = run.digits();
        match self.encoding {
            Encoding::Json => {
                let mut text = [b'"'; 18];
                text[1..17].copy_from_slice(&digits);
                self.out.extend_from_slice(&text);
            }
            Encoding::MsgPack => {
                // 0xb0: a text of sixteen bytes.
                let mut text = [0xb0; 17];
                text[1..].copy_from_slice(&digits);
                self.out.extend_from_slice(&text);
            }
        }
        self
    }

    /// A whole number.
    #[inline]
    pub fn uint(&mut self, name: &str, value: u64) -> &mut Self {
        self.name(name);
        write_uint(self.out, self.encoding, value);
        self
    }

    /// A truth value.
    #[inline(always)]
    pub fn bool(&mut self, name: &str, value: bool) -> &mut Self {
        self.name(name);
        match (self.encoding, value) {
            (Encoding::Json, true) => self.out.extend_from_slice(b"true"),
            (Encoding::Json, false) => self.out.extend_from_slice(b"false"),
            (Encoding::MsgPack, _) => self.out.push(0xc2 | u8::from(value)),
        }
        self
    }

    /// Nothing.
    pub fn null(&mut self, name: &str) -> &mut Self {
        self.name(name);
        match self.encoding {
            Encoding::Json => self.out.extend_from_slice(b"null"),
            Encoding::MsgPack => self.out.push(0xc0),
        }
        self
    }

    /// A value that is written already, in this writer's encoding, or by `write`.
    #[inline]
    pub fn with(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>, Encoding)) -> &mut Self {
        self.name(name);
        write(self.out, self.encoding);
        self
    }

    /// A value of whole bytes in this writer's encoding.
    #[inline]
    pub fn raw(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.with(name, |out, _| out.extend_from_slice(value))
    }

    /// A map within the map.
    pub fn map(&mut self, name: &str, fill: impl FnOnce(&mut MapWriter<'_>)) -> &mut Self {
        self.name(name);
        let mut inner = MapWriter::new(self.out, self.encoding);
        fill(&mut inner);
        inner.end();
        self
    }

    /// A list of `items`, each written by `write`.
    pub fn list<T>(
        &mut self,
        name: &str,
        items: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, Encoding, T),
    ) -> &mut Self {
        self.name(name);
        begin_list(self.out, self.encoding, items.len());
        for (index, item) in items.enumerate() {
            if self.encoding == Encoding::Json && index > 0 {
                self.out.push(b',');
            }
            write(self.out, self.encoding, item);
        }
        end_list(self.out, self.encoding);
        self
    }

    /// Ends the map.
    pub fn end(self) {
        match self.encoding {
            Encoding::Json => self.out.push(b'}'),
            Encoding::MsgPack => match u8::try_from(self.fields) {
                Ok(few @ ..=15) => {
                    if let Some(header) = self.out.get_mut(self.start) {
                        *header = 0x80 | few;
                    }
                }
                _ => {
                    let [high, low] = self.fields.to_be_bytes();
                    self.out.splice(self.start..=self.start, [0xde, high, low]);
                }
            },
        }
    }
}

/// Begins a list of `len` items. In JSON the caller writes the commas.
pub fn begin_list(out: &mut Vec<u8>, encoding: Encoding, len: usize) {
    match encoding {
        Encoding::Json => out.push(b'['),
        Encoding::MsgPack => match (u8::try_from(len), u16::try_from(len)) {
            (Ok(few @ ..=15), _) => out.push(0x90 | few),
            (_, Ok(some)) => {
                out.push(0xdc);
                out.extend_from_slice(&some.to_be_bytes());
            }
            _ => {
                out.push(0xdd);
                out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
            }
        },
    }
}

/// Ends a list.
pub fn end_list(out: &mut Vec<u8>, encoding: Encoding) {
    if encoding == Encoding::Json {
        out.push(b']');
    }
}

/// Writes a text as a value.
#[inline]
pub fn write_str(out: &mut Vec<u8>, encoding: Encoding, text: &str) {
    match encoding {
        Encoding::Json => json::write_str(text, out),
        Encoding::MsgPack => msgpack::write_str(text, out),
    }
}

/// Writes a whole number as a value.
#[inline]
pub fn write_uint(out: &mut Vec<u8>, encoding: Encoding, value: u64) {
    match encoding {
        Encoding::Json => json::write_u64(value, out),
        Encoding::MsgPack => msgpack::write_u64(value, out),
    }
}

/// A whole error reply. `id` is the request's, as it came, if it had one.
pub fn write_error(
    out: &mut Vec<u8>,
    encoding: Encoding,
    id: Option<&[u8]>,
    code: ErrorCode,
    message: &str,
    hint: &str,
) {
    write_error_with(out, encoding, id, code, message, hint, |_| {});
}

/// The same with more fields in the error.
pub fn write_error_with(
    out: &mut Vec<u8>,
    encoding: Encoding,
    id: Option<&[u8]>,
    code: ErrorCode,
    message: &str,
    hint: &str,
    more: impl FnOnce(&mut MapWriter<'_>),
) {
    let mut reply = MapWriter::new(out, encoding);
    if let Some(id) = id {
        reply.raw("id", id);
    }
    reply.bool("ok", false).map("error", |error| {
        error.str("code", code.as_str()).str("message", message);
        if !hint.is_empty() {
            error.str("hint", hint);
        }
        more(error);
    });
    reply.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_was_ended_can_be_gone_on_with() {
        for encoding in [Encoding::Json, Encoding::MsgPack] {
            for fields in 0..3 {
                let (mut whole, mut reopened) = (Vec::new(), Vec::new());
                let mut map = MapWriter::new(&mut whole, encoding);
                for n in 0..=fields {
                    map.uint("n", n);
                }
                map.end();
                let mut map = MapWriter::new(&mut reopened, encoding);
                for n in 0..fields {
                    map.uint("n", n);
                }
                map.end();
                let mut map = MapWriter::reopen(&mut reopened, encoding).unwrap();
                map.uint("n", fields);
                map.end();
                assert_eq!(reopened, whole);
            }
        }
        assert!(MapWriter::reopen(&mut vec![0x8f], Encoding::MsgPack).is_none());
        assert!(MapWriter::reopen(&mut Vec::new(), Encoding::Json).is_none());
    }

    #[test]
    fn both_encodings_say_the_same() {
        let mut json = Vec::new();
        let mut packed = Vec::new();
        for (out, encoding) in [(&mut json, Encoding::Json), (&mut packed, Encoding::MsgPack)] {
            let mut map = MapWriter::new(out, encoding);
            map.str("text", "a\"b\\\n\u{1}é").bool("yes", true).null("none").uint("big", 1 << 40);
            map.list("list", [1u64, 200, 70_000].into_iter(), write_uint);
            map.map("map", |inner| {
                (0..20).for_each(|n| {
                    inner.uint(&format!("k{n}"), n);
                });
            });
            map.end();
        }
        let from_json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let from_packed: serde_json::Value = rmp_serde::from_slice(&packed).unwrap();
        assert_eq!(from_json, from_packed);
        assert_eq!(from_json["map"]["k19"], 19);
    }

    #[test]
    fn an_error_gives_the_id_back_as_it_came() {
        let mut out = Vec::new();
        write_error(&mut out, Encoding::Json, Some(b"\"x\""), ErrorCode::UnknownOp, "no op \"frob\"", "");
        let reply: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(reply["id"], "x");
        assert_eq!(reply["error"]["code"], "unknown_op");
    }
}
