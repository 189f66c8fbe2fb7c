//! An event sequence as text, so that a finding can be read: the machine's letter on the first line, then a line for
//! each input, as `statemesh simulate` takes them. A line that begins with `x` is the event in hexadecimal MessagePack.

use statemesh_engine::{Event, Millis, Payload};

/// Lines of one input that are looked at.
const LINES_MAX: usize = 64;
/// An event's type where its payload has none.
const NAMELESS: &str = "E";

/// One line.
#[derive(Debug)]
pub enum Input<'s> {
    /// An event's name, which may be anything, and its bytes.
    Event(String, Bytes<'s>),
    /// Time passes.
    Advance(Millis),
}

/// A payload's bytes.
#[derive(Debug)]
pub enum Bytes<'s> {
    /// `Payload::Empty`.
    None,
    /// JSON text, well-formed or not.
    Json(&'s [u8]),
    /// MessagePack, well-formed or not.
    MessagePack(Vec<u8>),
}

impl Input<'_> {
    /// The event, unless time passes.
    pub fn event(&self) -> Option<Event<'_>> {
        let Input::Event(kind, bytes) = self else { return None };
        let payload = match bytes {
            Bytes::None => Payload::Empty,
            Bytes::Json(text) => Payload::Json(text),
            Bytes::MessagePack(bytes) => Payload::MsgPack(bytes),
        };
        Some(Event { kind, payload })
    }
}

/// The machine's letter, and the inputs.
pub fn read(bytes: &[u8]) -> Option<(u8, impl Iterator<Item = Input<'_>>)> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let letter = *lines.next()?.first()?;
    Some((letter, lines.take(LINES_MAX).map(input)))
}

fn input(line: &[u8]) -> Input<'_> {
    match line {
        [b'+', digits @ ..] => Input::Advance(Millis(number(digits))),
        [b'x', digits @ ..] => {
            let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
            Input::Event(kind(Payload::MsgPack(&bytes)), Bytes::MessagePack(bytes))
        }
        [b'{', ..] => Input::Event(kind(Payload::Json(line)), Bytes::Json(line)),
        name => Input::Event(String::from_utf8_lossy(name).into_owned(), Bytes::None),
    }
}

fn kind(payload: Payload<'_>) -> String {
    payload.get_str("type").ok().flatten().map_or(NAMELESS.to_owned(), |kind| kind.into_owned())
}

fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.trim().parse().ok()).unwrap_or(1_000)
}

fn byte(digits: &[u8]) -> u8 {
    digits.iter().fold(0, |value, digit| value << 4 | (*digit as char).to_digit(16).unwrap_or(0) as u8)
}
