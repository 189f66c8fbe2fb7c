//! A JSON reader that keeps what a person needs to be told where something is wrong: the offset of every value and key.
//!
//! Keys keep the order of the text, except that integer-like keys come first, ascending, as JavaScript has them: it is
//! the document order that XState sees. Nesting is bounded, so that the recursion is too.

use statemesh_expr::{List, Map, Str, Value};

/// A value and where it starts.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Byte offset of the value's first character.
    pub(crate) offset: usize,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Str(Str),
    Array(Vec<Node>),
    Object(Vec<Member>),
}

/// One `"key": value`.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) key: Str,
    pub(crate) key_offset: usize,
    pub(crate) value: Node,
}

/// A parsed text.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    text: &'t [u8],
    pub(crate) root: Node,
    /// Keys that occur twice in one object; the last value wins, as in JavaScript.
    pub(crate) duplicates: Vec<(Str, usize)>,
}

/// Why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) offset: usize,
    pub(crate) what: &'static str,
}

impl Node {
    pub(crate) fn members(&self) -> Option<&[Member]> {
        match &self.kind {
            Kind::Object(members) => Some(members),
            _ => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.member(key).map(|member| &member.value)
    }

    pub(crate) fn member(&self, key: &str) -> Option<&Member> {
        self.members()?.iter().find(|member| member.key == key)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.kind {
            Kind::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self.kind {
            Kind::Int(value) => Some(value as f64),
            Kind::Uint(value) => Some(value as f64),
            Kind::Double(value) => Some(value),
            _ => None,
        }
    }

    /// The elements of an array, or the value itself as the only element.
    pub(crate) fn one_or_many(&self) -> &[Node] {
        match &self.kind {
            Kind::Array(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// What the value is, for messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "a boolean",
            Kind::Int(_) | Kind::Uint(_) | Kind::Double(_) => "a number",
            Kind::Str(_) => "a string",
            Kind::Array(_) => "an array",
            Kind::Object(_) => "an object",
        }
    }

    /// The value without its positions.
    pub(crate) fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Int(value) => Value::Int(*value),
            Kind::Uint(value) => Value::Uint(*value),
            Kind::Double(value) => Value::Double(*value),
            Kind::Str(text) => Value::Str(text.clone()),
            Kind::Array(items) => Value::List(items.iter().map(Node::to_value).collect::<List>()),
            Kind::Object(members) => {
                Value::Map(members.iter().map(|member| (member.key.clone(), member.value.to_value())).collect::<Map>())
            }
        }
    }
}

impl<'t> Document<'t> {
    /// Reads a whole text of at most `depth_max` levels.
    pub(crate) fn parse(text: &'t [u8], depth_max: usize) -> Result<Self, Malformed> {
        let text_str = std::str::from_utf8(text)
            .map_err(|error| Malformed { offset: error.valid_up_to(), what: "the text is not UTF-8" })?;
        let mut parser = Parser { text: text_str, at: 0, depth_left: depth_max, duplicates: Vec::new() };
        if text_str.starts_with('\u{feff}') {
            return Err(parser.malformed("the text begins with a byte order mark; save it as UTF-8 without one"));
        }
        parser.skip_space();
        let root = parser.value()?;
        parser.skip_space();
        if parser.at != text.len() {
            return Err(parser.malformed("text follows the definition"));
        }
        Ok(Self { text, root, duplicates: parser.duplicates })
    }

    /// The text itself.
    pub(crate) fn text(&self) -> &'t [u8] {
        self.text
    }

    /// Line and column, from 1, of a byte offset; columns count characters.
    pub(crate) fn position(&self, offset: usize) -> (u32, u32) {
        position(self.text, offset)
    }

    /// JSON Pointer of the value or key at `offset`.
    pub(crate) fn pointer(&self, offset: usize) -> String {
        let mut path = String::new();
        let mut node = &self.root;
        while node.offset != offset {
            let Some(next) = step_towards(node, offset, &mut path) else { break };
            node = next;
        }
        path
    }

    /// Whether the string that starts at `offset` is written without escapes, so that offsets in it are offsets in the text.
    pub(crate) fn is_plain_string(&self, offset: usize, len: usize) -> bool {
        self.text.get(offset + 1..offset + 1 + len).is_some_and(|raw| !raw.contains(&b'\\'))
    }
}

/// Line and column, from 1, of a byte offset.
pub(crate) fn position(text: &[u8], offset: usize) -> (u32, u32) {
    let before = &text[..offset.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    // Continuation bytes of UTF-8 start no character.
    let column = before[line_start..].iter().filter(|byte| **byte & 0xC0 != 0x80).count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

/// The child of `node` that holds `offset`: the one that starts last at or before it.
fn step_towards<'n>(node: &'n Node, offset: usize, path: &mut String) -> Option<&'n Node> {
    match &node.kind {
        Kind::Array(items) => {
            let index = items.iter().rposition(|item| item.offset <= offset)?;
            path.push('/');
            path.push_str(&index.to_string());
            items.get(index)
        }
        Kind::Object(members) => {
            // Integer-like keys are sorted first, so positions in the text are not in the order of the members.
            let member =
                members.iter().filter(|member| member.key_offset <= offset).max_by_key(|member| member.key_offset)?;
            path.push('/');
            path.push_str(&member.key.replace('~', "~0").replace('/', "~1"));
            (member.value.offset <= offset).then_some(&member.value)
        }
        _ => None,
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth_left: usize,
    duplicates: Vec<(Str, usize)>,
}

impl Parser<'_> {
    fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { offset: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(self.malformed(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Passes a comma that something follows.
    fn comma(&mut self, end: u8) -> Result<(), Malformed> {
        let offset = self.at;
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(end) {
            return Err(Malformed { offset, what: "nothing follows this comma: remove the comma" });
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Node, Malformed> {
        let offset = self.at;
        let kind = match self.peek() {
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'"') => Kind::Str(self.string()?),
            Some(b't') => self.word("true", Kind::Bool(true))?,
            Some(b'f') => self.word("false", Kind::Bool(false))?,
            Some(b'n') => self.word("null", Kind::Null)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(_) => return Err(self.malformed("expected a JSON value")),
            None => return Err(self.malformed("the text ends before the value does")),
        };
        Ok(Node { kind, offset })
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Kind, Malformed>) -> Result<Kind, Malformed> {
        self.depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or(Malformed { offset: self.at, what: "the document is nested too deeply" })?;
        self.at += 1;
        let kind = read(self)?;
        self.depth_left += 1;
        Ok(kind)
    }

    fn word(&mut self, word: &str, kind: Kind) -> Result<Kind, Malformed> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.malformed("expected a JSON value"));
        }
        self.at += word.len();
        Ok(kind)
    }

    fn array(&mut self) -> Result<Kind, Malformed> {
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Kind::Array(items));
        }
        loop {
            self.skip_space();
            items.push(self.value()?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.comma(b']')?,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Kind::Array(items));
                }
                _ => return Err(self.malformed("expected ',' or ']'")),
            }
        }
    }

    fn object(&mut self) -> Result<Kind, Malformed> {
        let mut members: Vec<Member> = Vec::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Kind::Object(members));
        }
        loop {
            self.skip_space();
            let key_offset = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.malformed("expected a key in double quotes"));
            }
            let key = self.string()?;
            self.skip_space();
            self.expect(b':', "expected ':'")?;
            self.skip_space();
            let value = self.value()?;
            members.push(Member { key, key_offset, value });
            self.skip_space();
            match self.peek() {
                Some(b',') => self.comma(b'}')?,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Kind::Object(self.in_javascript_order(members)));
                }
                _ => return Err(self.malformed("expected ',' or '}'")),
            }
        }
    }

    /// Removes duplicates (last value, first place) and moves integer-like keys to the front.
    fn in_javascript_order(&mut self, members: Vec<Member>) -> Vec<Member> {
        let mut ordered: Vec<Member> = Vec::with_capacity(members.len());
        let mut places: std::collections::HashMap<Str, usize> = std::collections::HashMap::with_capacity(members.len());
        for member in members {
            match places.get(&member.key) {
                Some(place) => {
                    self.duplicates.push((member.key.clone(), member.key_offset));
                    if let Some(first) = ordered.get_mut(*place) {
                        *first = member;
                    }
                }
                None => {
                    places.insert(member.key.clone(), ordered.len());
                    ordered.push(member);
                }
            }
        }
        if ordered.iter().any(|member| array_index(&member.key).is_some()) {
            // Stable: other keys keep their order behind all indices.
            ordered.sort_by_key(|member| array_index(&member.key).map_or(u64::MAX, u64::from));
        }
        ordered
    }

    fn number(&mut self) -> Result<Kind, Malformed> {
        let start = self.at;
        let digits = |parser: &mut Self| {
            let from = parser.at;
            while matches!(parser.peek(), Some(b'0'..=b'9')) {
                parser.at += 1;
            }
            parser.at > from
        };
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let leading_zero = self.peek() == Some(b'0');
        let integer_start = self.at;
        if !digits(self) || (leading_zero && self.at - integer_start > 1) {
            return Err(self.malformed("not a number as JSON writes it"));
        }
        let mut integral = true;
        if self.peek() == Some(b'.') {
            integral = false;
            self.at += 1;
            if !digits(self) {
                return Err(self.malformed("expected digits after the point"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            integral = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !digits(self) {
                return Err(self.malformed("expected digits in the exponent"));
            }
        }
        let text = &self.text[start..self.at];
        if integral {
            if let Ok(value) = text.parse::<i64>() {
                return Ok(Kind::Int(value));
            }
            if let Ok(value) = text.parse::<u64>() {
                return Ok(Kind::Uint(value));
            }
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Kind::Double(value)),
            _ => Err(Malformed { offset: start, what: "a number beyond what a double can hold" }),
        }
    }

    fn string(&mut self) -> Result<Str, Malformed> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let text = Str::new(&self.text[start..self.at]);
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => break,
                Some(0..0x20) => return Err(self.malformed("a control character in a string")),
                Some(_) => self.at += 1,
                None => return Err(self.malformed("the text ends inside a string")),
            }
        }
        let mut text = String::from(&self.text[start..self.at]);
        self.escaped_string(&mut text)?;
        Ok(Str::new(text))
    }

    fn escaped_string(&mut self, text: &mut String) -> Result<(), Malformed> {
        loop {
            let plain = self.at;
            while self.peek().is_some_and(|byte| byte != b'"' && byte != b'\\' && byte >= 0x20) {
                self.at += 1;
            }
            text.push_str(&self.text[plain..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                Some(_) => return Err(self.malformed("a control character in a string")),
                None => return Err(self.malformed("the text ends inside a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        let simple = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.malformed("an unknown escape in a string")),
        };
        self.at += 1;
        Ok(simple)
    }

    fn unicode_escape(&mut self) -> Result<char, Malformed> {
        self.at += 1;
        let first = self.hex4()?;
        if !(0xD800..0xE000).contains(&first) {
            return char::from_u32(first).ok_or(self.malformed("not a character"));
        }
        let has_second = self.text[self.at..].starts_with("\\u");
        if first < 0xDC00 && has_second {
            self.at += 2;
            let second = self.hex4()?;
            if (0xDC00..0xE000).contains(&second) {
                let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return char::from_u32(code).ok_or(self.malformed("not a character"));
            }
        }
        Err(self.malformed("half of a surrogate pair"))
    }

    fn hex4(&mut self) -> Result<u32, Malformed> {
        let digits =
            self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or(self.malformed("expected four hexadecimal digits"))?;
        self.at += 4;
        Ok(code)
    }
}

/// The index that JavaScript sorts first: a canonical decimal below 2^32 - 1.
pub(crate) fn array_index(key: &str) -> Option<u32> {
    let canonical = !key.is_empty()
        && key.len() <= 10
        && key.bytes().all(|byte| byte.is_ascii_digit())
        && (key == "0" || !key.starts_with('0'));
    if !canonical {
        return None;
    }
    key.parse::<u32>().ok().filter(|index| *index != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        let document = Document::parse(text.as_bytes(), 8).unwrap();
        document.root.members().unwrap().iter().map(|member| member.key.to_string()).collect()
    }

    #[test]
    fn keys_come_in_javascript_order() {
        assert_eq!(
            keys(r#"{"b":1,"10":1,"a":1,"2":1,"01":1,"4294967295":1}"#),
            ["2", "10", "b", "a", "01", "4294967295"]
        );
    }

    #[test]
    fn a_repeated_key_keeps_its_first_place_and_last_value() {
        let document = Document::parse(br#"{"a":1,"b":2,"a":3}"#, 8).unwrap();
        assert_eq!(document.root.to_value().to_string(), r#"{"a":3,"b":2}"#);
        assert_eq!(document.duplicates.len(), 1);
    }

    #[test]
    fn positions_lead_back_to_line_column_and_pointer() {
        let text = "{\n  \"é\": [1, {\"x/y\": 2}]\n}";
        let document = Document::parse(text.as_bytes(), 8).unwrap();
        let inner = &document.root.get("é").unwrap().one_or_many()[1];
        let member = inner.member("x/y").unwrap();
        assert_eq!(document.pointer(member.value.offset), "/é/1/x~1y");
        assert_eq!(document.pointer(member.key_offset), "/é/1/x~1y");
        assert_eq!(document.position(member.key_offset), (2, 13));
    }

    #[test]
    fn hostile_text_is_an_error() {
        let deep = "[".repeat(100_000);
        assert_eq!(Document::parse(deep.as_bytes(), 64).unwrap_err().what, "the document is nested too deeply");
        for text in ["", "{", "[1,]", "{\"a\"}", "\"\\ud800\"", "01", "1.", "1e999", "nul", "{}x", "\"\u{1}\""] {
            assert!(Document::parse(text.as_bytes(), 8).is_err(), "{text:?}");
        }
        assert!(Document::parse(b"\"\xff\"", 8).is_err());
    }

    #[test]
    fn escapes_are_read() {
        let document = Document::parse(br#""a\n\u00e9\ud83d\ude00\"""#, 8).unwrap();
        assert_eq!(document.root.as_str(), Some("a\né😀\""));
    }
}
