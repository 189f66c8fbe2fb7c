//! What may reach a terminal: text, line ends, tabs, and the colours that this program sets itself. Names, keys and messages come
//! from elsewhere, and must not move the cursor, ring the bell or clear the screen. All output passes here.

use super::table::Style;
use std::borrow::Cow;

/// What is shown for a character that is not.
const REPLACEMENT: char = '\u{fffd}';

/// A name or value from elsewhere, in one line.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if misleads(c) { REPLACEMENT } else { c }).collect()
}

/// Whether a character does something to what stands around it: a control character, or one of those that turn the direction of
/// writing, with which a name can look like another one (Unicode TR 36, 2.6; CVE-2021-42574).
fn misleads(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// Text as it may be written: of control characters only line ends, tabs and our own colours are left.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    let is_unwanted = |c: char| misleads(c) && !matches!(c, '\n' | '\t');
    if !text.contains(is_unwanted) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(is_unwanted) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        rest = match Style::sequence(from) {
            Some((sequence, after)) => {
                out.push_str(sequence);
                after
            }
            None => {
                out.push(REPLACEMENT);
                let mut after = from.chars();
                after.next();
                after.as_str()
            }
        };
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A text in JSON with those characters escaped too that JSON lets stand and terminals obey: DEL, the second set of control characters,
/// and what turns the direction of writing.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    let is_left = |c: char| misleads(c) && c >= '\u{7f}';
    if !text.contains(is_left) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if is_left(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_control_characters_only_our_own_colours_are_left() {
        assert_eq!(shown("a\tb\nc"), "a\tb\nc");
        assert_eq!(shown(&Style::Good.paint("good")), "\x1b[32mgood\x1b[0m");
        assert_eq!(shown("a\x1b[2Jb\x07\u{9b}31m\r"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}31m\u{fffd}");
        assert_eq!(shown("\x1b[8mhidden"), "\u{fffd}[8mhidden");
        assert_eq!(shown(&format!("\x1b{}", Style::Good.paint("x"))), "\u{fffd}\x1b[32mx\x1b[0m");
        assert_eq!(shown("NO\x1b[32mPE\x1b[0m"), "NO\u{fffd}[32mPE\u{fffd}[0m", "a name has the same sequences");
        assert_eq!(
            shown("order/\u{202e}77\u{2066}"),
            "order/\u{fffd}77\u{fffd}",
            "what turns the direction of writing"
        );
        assert_eq!(printable("a\u{200f}b\n"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn json_says_the_same_without_a_control_character() {
        let value = serde_json::json!({"key": "a\u{9b}31m\u{7f}\x1b\u{202e}"});
        let text = value.to_string();
        let escaped = json(&text);
        assert!(!escaped.contains(misleads), "{escaped:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }
}
