//! A look at an expression's text before it is parsed. The parser, and what
//! walks its tree, recurse for nested brackets and for operators in a row;
//! this bounds both without recursing.

use super::error::CompileError;
use crate::limits::Limits;

/// Operators in a row for each level that [`Limits::source_depth`] allows.
const CHAIN_PER_LEVEL: usize = 4;

pub(super) fn check(source: &str, limits: &Limits) -> Result<(), CompileError> {
    if source.len() > limits.source_bytes {
        let message = format!("the expression has {} bytes, more than {}", source.len(), limits.source_bytes);
        return Err(CompileError::new(limits.source_bytes, "expression_too_long", message)
            .hint("compute parts of it in named guards or assigned values"));
    }
    let mut nesting = Nesting { open: vec![0], in_a_row: 0 };
    let most = limits.source_depth;
    let mut scan = Scan { bytes: source.as_bytes(), at: 0 };
    while let Some(byte) = scan.next() {
        nesting.see(byte);
        if nesting.open.len() > most + 1 || nesting.in_a_row > most * CHAIN_PER_LEVEL {
            let message = format!("the expression nests more than {most} levels");
            return Err(CompileError::new(scan.at, "expression_too_deep", message)
                .hint("split it, or compare with a list: x in [1, 2, 3]"));
        }
    }
    Ok(())
}

struct Nesting {
    /// For each open bracket, operators since the last comma.
    open: Vec<usize>,
    /// The sum of `open`: how deep the tree may get here.
    in_a_row: usize,
}

impl Nesting {
    fn see(&mut self, byte: u8) {
        match byte {
            b'(' | b'[' | b'{' => {
                // A call or an index also lengthens the chain it stands in.
                self.lengthen();
                self.open.push(0);
            }
            b')' | b']' | b'}' => {
                if self.open.len() > 1 {
                    self.in_a_row -= self.open.pop().unwrap_or(0);
                }
            }
            b',' => {
                if let Some(chain) = self.open.last_mut() {
                    self.in_a_row -= *chain;
                    *chain = 0;
                }
            }
            _ => self.lengthen(),
        }
    }

    fn lengthen(&mut self) {
        if let Some(chain) = self.open.last_mut() {
            *chain += 1;
            self.in_a_row += 1;
        }
    }
}

/// Yields brackets, commas and operators, and nothing of literals, names and
/// comments.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            match byte {
                b'"' | b'\'' => self.string(byte),
                b'/' if self.bytes.get(self.at + 1) == Some(&b'/') => {
                    while self.bytes.get(self.at).is_some_and(|byte| *byte != b'\n') {
                        self.at += 1;
                    }
                }
                b'i' if self.is_in() => {
                    self.at += 2;
                    return Some(b'i');
                }
                b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'0'..=b'9' => self.word(),
                // The second character of an operator is not another one.
                b'&' | b'|' | b'=' if self.at > 0 && self.bytes.get(self.at - 1) == Some(&byte) => {
                    self.at += 1;
                }
                b' ' | b'\t' | b'\n' | b'\r' | 12 | b':' => self.at += 1,
                other => {
                    self.at += 1;
                    return Some(other);
                }
            }
        }
    }

    fn word(&mut self) {
        // A raw string's prefix must not hide that backslashes do not escape.
        while self.bytes.get(self.at).is_some_and(|byte| is_word(*byte)) {
            self.at += 1;
        }
        if let Some(quote @ (b'"' | b'\'')) = self.bytes.get(self.at).copied() {
            let prefix = self.bytes.get(..self.at).unwrap_or_default();
            let raw = prefix.iter().rev().take_while(|byte| is_word(**byte)).any(|byte| matches!(byte, b'r' | b'R'));
            if raw {
                self.raw_string(quote);
            }
        }
    }

    fn is_in(&self) -> bool {
        let after = self.bytes.get(self.at + 2).copied().unwrap_or(b' ');
        let before = self.at.checked_sub(1).and_then(|at| self.bytes.get(at)).copied();
        self.bytes.get(self.at + 1) == Some(&b'n') && !is_word(after) && !before.is_some_and(is_word)
    }

    fn string(&mut self, quote: u8) {
        self.literal(quote, true);
    }

    fn raw_string(&mut self, quote: u8) {
        self.literal(quote, false);
    }

    /// Skips a literal; one that does not end takes everything, and the parser
    /// refuses it.
    fn literal(&mut self, quote: u8, escapes: bool) {
        let triple = [quote; 3];
        let rest = |at: usize| self.bytes.get(at..).unwrap_or_default();
        let end: &[u8] = if rest(self.at).starts_with(&triple) { &triple } else { &triple[..1] };
        let mut at = self.at + end.len();
        while at < self.bytes.len() && !rest(at).starts_with(end) {
            let escaped = escapes && self.bytes.get(at) == Some(&b'\\');
            // A line's end also ends a short literal, which is then malformed:
            // what follows is scanned as code.
            if end.len() == 1 && self.bytes.get(at) == Some(&b'\n') {
                break;
            }
            at += if escaped { 2 } else { 1 };
        }
        self.at = (at + end.len()).min(self.bytes.len());
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str) -> Option<&'static str> {
        check(source, &Limits::default()).err().map(|error| error.code)
    }

    #[test]
    fn nesting_and_long_chains_are_refused_before_parsing() {
        let nested = format!("{}1{}", "(".repeat(100), ")".repeat(100));
        assert_eq!(code(&nested), Some("expression_too_deep"));
        assert_eq!(code(&format!("1{}", "+1".repeat(1000))), Some("expression_too_deep"));
        assert_eq!(code(&"!".repeat(1000)), Some("expression_too_deep"));
        assert_eq!(code(&"a ? b : ".repeat(1000)), Some("expression_too_deep"));
        assert_eq!(code(&format!("a{}", "[0]".repeat(1000))), Some("expression_too_deep"));
        assert_eq!(code(&"x".repeat(10_000)), Some("expression_too_long"));
    }

    #[test]
    fn brackets_in_literals_and_comments_do_not_count() {
        let brackets = "(".repeat(200);
        for source in [
            format!("'{brackets}'"),
            format!("\"\"\"{brackets}\n\"\"\""),
            format!("r'\\{brackets}'"),
            format!("1 // {brackets}"),
            format!("'\\'{brackets}'"),
            format!("[{}1]", "1,".repeat(500)),
        ] {
            assert_eq!(code(&source), None, "{source}");
        }
        assert_eq!(code(&format!("r'\\' + {brackets}")), Some("expression_too_deep"));
    }
}
