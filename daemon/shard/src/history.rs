//! The last transitions of an instance, in a few bytes each: a million instances have a past as well.
//!
//! Two bytes count the transitions; then follows, for each of them, oldest first: its seq and its time as numbers of
//! variable length (the time with its sign in the lowest bit: what came from another daemon may be older than this
//! one's clock), how it came about if that is not the usual way, the event, and the configuration as the engine writes it. An event
//! that the definition names is its number; another one is a text.

use smallvec::SmallVec;
use statemesh_engine::{Instance, Machine};

use statemesh_protocol::image::{Input, Malformed, put_bytes};

/// Events of the engine that definitions need not name.
const ENGINE_EVENTS: [&str; 3] = ["xstate.init", "xstate.stop", "xstate.after"];
/// What an event begins with that is a text.
const TEXT: u64 = TEXT_MARK as u64;
const TEXT_MARK: u8 = 0;
/// What comes before the event of a transition that came about in this way.
const HOWS: [How; 3] = [How::Stuck, How::Retry, How::Skip];
/// The number of the first of these.
const FIRST_HOW: u64 = 1 + ENGINE_EVENTS.len() as u64;
/// The number of the definition's first event.
const NAMED: u64 = FIRST_HOW + HOWS.len() as u64;
/// Bytes kept of an event type that neither the engine nor the definition names.
const TEXT_MAX: usize = 128;
/// Bytes of the count.
const COUNT: usize = 2;

/// The last transitions of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    // In place as long as it is as short as the pointer and capacity of a vector.
    bytes: SmallVec<[u8; 16]>,
}

/// How a transition came about that is none of an event or a timer that the instance took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The timer's step could not be run, and the instance holds it.
    Stuck,
    /// The timer was fired again.
    Retry,
    /// The timer was dropped.
    Skip,
}

impl How {
    /// For another daemon. 0 is the usual way.
    fn byte(how: Option<How>) -> u8 {
        how.and_then(|how| (1..).zip(HOWS).find(|(_, one)| *one == how)).map_or(0, |(byte, _)| byte)
    }

    /// Of a way that a newer release may know and this one does not, nothing is said.
    fn of_byte(byte: u8) -> Option<How> {
        HOWS.get(usize::from(byte).checked_sub(1)?).copied()
    }
}

/// One transition, as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Past<'a> {
    /// The instance's seq after it.
    pub seq: u64,
    /// When, in milliseconds of the daemon's clock.
    pub at: i64,
    /// How it came about, if not in the usual way.
    pub how: Option<How>,
    /// The event's type.
    pub event: &'a str,
    /// The states after it, for [`Machine::write_configuration_json`].
    pub configuration: &'a [u8],
}

impl History {
    /// Notes a transition that led to what `instance` is now, by an event and how that came about, and forgets the oldest beyond
    /// `max`. `scratch` is only lent.
    pub(crate) fn push(
        &mut self,
        machine: &Machine,
        instance: &Instance,
        (event, how): (&str, Option<How>),
        now: u64,
        max: usize,
        scratch: &mut Vec<u8>,
    ) {
        scratch.clear();
        put_head(instance.seq(), i64::try_from(now).unwrap_or(i64::MAX), scratch);
        put_event(machine, event, how, scratch);
        machine.write_configuration(instance, scratch);
        self.append(machine, scratch, max);
    }

    /// Adds one record of `bytes`.
    fn append(&mut self, machine: &Machine, record: &[u8], max: usize) {
        if max == 0 {
            return;
        }
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[0; COUNT]);
        }
        let (mut count, mut from) = (self.len(), COUNT);
        while count >= max {
            let rest = self.bytes.get(from..).unwrap_or_default();
            from = self.bytes.len() - behind(machine, rest).map_or(0, <[u8]>::len);
            count -= 1;
        }
        if from > COUNT {
            self.bytes.copy_within(from.., COUNT);
            self.bytes.truncate(self.bytes.len() - (from - COUNT));
        }
        self.bytes.extend_from_slice(record);
        let count = u16::try_from(count + 1).unwrap_or(u16::MAX).to_le_bytes();
        self.bytes.iter_mut().zip(count).for_each(|(byte, count)| *byte = count);
    }

    /// How many transitions are remembered.
    pub(crate) fn len(&self) -> usize {
        self.bytes.first_chunk::<COUNT>().map_or(0, |count| usize::from(u16::from_le_bytes(*count)))
    }

    /// Every transition, oldest first.
    pub(crate) fn read<'a>(&'a self, machine: &'a Machine) -> impl Iterator<Item = Past<'a>> {
        let mut rest = self.bytes.get(COUNT..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (past, behind) = read(machine, rest)?;
            rest = behind;
            Some(past)
        })
    }

    /// Appends the bytes of the transitions behind this seq, as they go on a disk: as [`History::encode`] has them, at the daemon's time 0.
    pub(crate) fn encode_since(&self, machine: &Machine, seq: Option<u64>, out: &mut Vec<u8>) {
        let is_new = |past: &Past<'_>| seq.is_none_or(|seq| past.seq > seq);
        encode(|| self.read(machine).filter(is_new), 0, out);
    }

    /// Adds the transitions that [`History::encode_since`] wrote, keeping the last `max`.
    ///
    /// # Errors
    /// The bytes are none of ours, or of another definition.
    pub(crate) fn take_in(&mut self, machine: &Machine, input: &mut Input<'_>, max: usize) -> Result<(), Malformed> {
        self.add(machine, input, 0, max)
    }

    /// Appends the bytes for another daemon: ages instead of times, since it has a clock of its own, and the names of
    /// events, since another release may number them otherwise. How each came about is behind all of them, if there is anything to say: a
    /// release that knows nothing of that reads what is before it.
    pub(crate) fn encode(&self, machine: &Machine, now: u64, out: &mut Vec<u8>) {
        encode(|| self.read(machine), now, out);
    }

    /// Reads what [`History::encode`] wrote, keeping the last `max` transitions.
    ///
    /// # Errors
    /// The bytes are none of ours, or of another definition.
    pub(crate) fn decode(machine: &Machine, input: &mut Input<'_>, now: u64, max: usize) -> Result<Self, Malformed> {
        let mut history = Self::default();
        history.add(machine, input, now, max)?;
        Ok(history)
    }

    fn add(&mut self, machine: &Machine, input: &mut Input<'_>, now: u64, max: usize) -> Result<(), Malformed> {
        let mut all = Vec::new();
        for _ in 0..input.u32()? {
            let (seq, age) = (input.u64()?, i64::from_le_bytes(*input.array()?));
            let (event, configuration) = (input.text()?, input.bytes()?);
            if !machine.split_configuration(configuration).is_some_and(|(_, behind)| behind.is_empty()) {
                return Err(input.malformed());
            }
            all.push(Past { seq, at: signed(now).saturating_sub(age), how: None, event, configuration });
        }
        if !input.is_empty() {
            for past in &mut all {
                past.how = How::of_byte(input.byte()?);
            }
        }
        let mut record = Vec::new();
        for past in all {
            record.clear();
            put_head(past.seq, past.at, &mut record);
            put_event(machine, past.event, past.how, &mut record);
            record.extend_from_slice(past.configuration);
            self.append(machine, &record, max);
        }
        Ok(())
    }
}

/// Appends the bytes of these transitions for another daemon, or another life of this one.
fn encode<'a, I: Iterator<Item = Past<'a>>>(all: impl Fn() -> I, now: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(all().count()).unwrap_or(0).to_le_bytes());
    for past in all() {
        out.extend_from_slice(&past.seq.to_le_bytes());
        out.extend_from_slice(&signed(now).saturating_sub(past.at).to_le_bytes());
        put_bytes(out, past.event.as_bytes());
        put_bytes(out, past.configuration);
    }
    if all().any(|past| past.how.is_some()) {
        out.extend(all().map(|past| How::byte(past.how)));
    }
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

fn put_head(seq: u64, at: i64, out: &mut Vec<u8>) {
    put_number(seq, out);
    put_number((at << 1 ^ at >> 63).cast_unsigned(), out);
}

fn put_event(machine: &Machine, event: &str, how: Option<How>, out: &mut Vec<u8>) {
    if let byte @ 1.. = How::byte(how) {
        put_number(FIRST_HOW - 1 + u64::from(byte), out);
    }
    if let Some(number) = machine.event_number(event) {
        put_number(NAMED + u64::from(number), out);
    } else if let Some(number) = (1..).zip(ENGINE_EVENTS).find_map(|(n, name)| (name == event).then_some(n)) {
        put_number(number, out);
    } else {
        let text = &event[..event.floor_char_boundary(TEXT_MAX)];
        put_number(TEXT, out);
        put_number(text.len() as u64, out);
        out.extend_from_slice(text.as_bytes());
    }
}

fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

/// What is behind one record.
fn behind<'a>(machine: &Machine, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let bytes = behind_number(behind_number(bytes)?)?;
    let (_, bytes) = read_how(bytes)?;
    let bytes = match bytes {
        [TEXT_MARK, text @ ..] => {
            let (len, text) = number(text)?;
            text.get(usize::try_from(len).ok()?..)?
        }
        _ => behind_number(bytes)?,
    };
    machine.split_configuration(bytes).map(|(_, behind)| behind)
}

fn behind_number(bytes: &[u8]) -> Option<&[u8]> {
    let last = bytes.iter().position(|byte| *byte < 0x80)?;
    bytes.get(last + 1..)
}

/// Reads one record: the transition, and what is behind it.
fn read<'a>(machine: &'a Machine, bytes: &'a [u8]) -> Option<(Past<'a>, &'a [u8])> {
    let (seq, bytes) = number(bytes)?;
    let (at, bytes) = number(bytes)?;
    let (how, bytes) = read_how(bytes)?;
    let (event, bytes) = number(bytes)?;
    let at = (at >> 1).cast_signed() ^ -(at & 1).cast_signed();
    let (event, bytes) = match event {
        TEXT => {
            let (len, bytes) = number(bytes)?;
            let (text, bytes) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
            (std::str::from_utf8(text).ok()?, bytes)
        }
        number @ 1..FIRST_HOW => (*ENGINE_EVENTS.get(usize::try_from(number - 1).ok()?)?, bytes),
        number => (machine.event_type(u32::try_from(number.checked_sub(NAMED)?).ok()?)?, bytes),
    };
    let (configuration, bytes) = machine.split_configuration(bytes)?;
    Some((Past { seq, at, how, event, configuration }, bytes))
}

/// How a transition came about, and what is behind that.
fn read_how(bytes: &[u8]) -> Option<(Option<How>, &[u8])> {
    let (first, behind) = bytes.split_first()?;
    let how = u64::from(*first).checked_sub(FIRST_HOW).and_then(|number| HOWS.get(usize::try_from(number).ok()?));
    Some(how.map_or((None, bytes), |how| (Some(*how), behind)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use statemesh_engine::{Event, Limits, Millis, Output, Payload};
    use std::sync::Arc;

    const MAX: usize = 3;

    fn machine() -> Arc<Machine> {
        let definition = br#"{"initial":"a","states":{"a":{"on":{"GO":"b"}},"b":{"on":{"*":"a"}}}}"#;
        Machine::compile(definition, &Limits::default(), &|_| None).unwrap().machine
    }

    /// What is remembered after these events, one every thousand milliseconds.
    fn after(machine: &Machine, events: &[&str]) -> History {
        let (mut out, mut scratch, mut history) = (Output::default(), Vec::new(), History::default());
        let mut instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
        history.push(machine, &instance, ("xstate.init", None), 0, MAX, &mut scratch);
        for (kind, now) in events.iter().zip((1_000..).step_by(1_000)) {
            machine.send(&mut instance, &Event { kind, payload: Payload::Empty }, Millis(now), &mut out).unwrap();
            history.push(machine, &instance, (kind, None), now, MAX, &mut scratch);
        }
        history
    }

    fn shown(history: &History, machine: &Machine) -> Vec<(u64, i64, String, String)> {
        let value = |past: &Past<'_>| {
            let mut json = Vec::new();
            machine.write_configuration_json(past.configuration, &mut json);
            String::from_utf8(json).unwrap()
        };
        history.read(machine).map(|past| (past.seq, past.at, past.event.to_owned(), value(&past))).collect()
    }

    #[test]
    fn the_last_transitions_are_read_as_they_were_noted() {
        let machine = machine();
        let line = |seq, at, event: &str, to: &str| (seq, at, event.to_owned(), format!("{to:?}"));
        let short = after(&machine, &["GO"]);
        assert_eq!(shown(&short, &machine), [line(0, 0, "xstate.init", "a"), line(1, 1_000, "GO", "b")]);
        assert!(!short.bytes.spilled(), "two transitions need memory of their own");
        let long = after(&machine, &["GO", "unheard.of", "GO", "again"]);
        assert_eq!(long.len(), MAX);
        let last = [line(2, 2_000, "unheard.of", "a"), line(3, 3_000, "GO", "b"), line(4, 4_000, "again", "a")];
        assert_eq!(shown(&long, &machine), last);
    }

    #[test]
    fn ages_survive_a_move_to_a_daemon_that_is_younger_than_they_are() {
        let machine = machine();
        let mut bytes = Vec::new();
        after(&machine, &["GO", "other"]).encode(&machine, 10_000, &mut bytes);
        let moved = History::decode(&machine, &mut Input::new(&bytes), 50, MAX).unwrap();
        let ages: Vec<i64> = moved.read(&machine).map(|past| 50 - past.at).collect();
        assert_eq!(ages, [10_000, 9_000, 8_000]);
        assert_eq!(shown(&moved, &machine)[2].2, "other");
        for cut in 1..bytes.len() {
            assert!(History::decode(&machine, &mut Input::new(&bytes[..cut]), 0, MAX).is_err(), "{cut}");
        }
    }

    #[test]
    fn how_a_transition_came_about_moves_with_it_and_an_older_release_reads_the_rest() {
        let machine = machine();
        let instance = machine.start(Payload::Empty, Millis(0), &mut Output::default()).unwrap();
        let mut history = History::default();
        // What is forgotten in front of the others, and an event that is a text behind its mark.
        let hows = [Some(How::Skip), None, Some(How::Stuck), Some(How::Retry)];
        for (how, event) in hows.into_iter().zip(["GO", "GO", "xstate.after", "text"]) {
            history.push(&machine, &instance, (event, how), 7, MAX, &mut Vec::new());
        }
        let told = |history: &History| {
            history.read(&machine).map(|past| (past.event.to_owned(), past.how)).collect::<Vec<_>>()
        };
        let all =
            [("GO", None), ("xstate.after", hows[2]), ("text", hows[3])].map(|(event, how)| (event.to_owned(), how));
        assert_eq!(told(&history), all);
        let mut bytes = Vec::new();
        history.encode(&machine, 7, &mut bytes);
        let decoded = |bytes: &[u8]| History::decode(&machine, &mut Input::new(bytes), 7, MAX);
        assert_eq!(decoded(&bytes), Ok(history));
        let before = decoded(&bytes[..bytes.len() - MAX]).unwrap();
        assert!(told(&before).iter().zip(&all).all(|(one, other)| *one == (other.0.clone(), None)), "{before:?}");
        assert!(decoded(&bytes[..bytes.len() - 1]).is_err());
        *bytes.last_mut().unwrap() = 200;
        assert_eq!(told(&decoded(&bytes).unwrap())[2], ("text".to_owned(), None), "of a newer release");
    }

    #[test]
    fn a_type_that_nobody_named_is_cut_and_none_are_kept_if_none_are_wanted() {
        let machine = machine();
        let long = "\u{e9}".repeat(200);
        let history = after(&machine, &["GO", &long]);
        assert_eq!(shown(&history, &machine)[2].2.len(), TEXT_MAX);
        let mut none = History::default();
        let instance = machine.start(Payload::Empty, Millis(0), &mut Output::default()).unwrap();
        none.push(&machine, &instance, ("GO", None), 0, 0, &mut Vec::new());
        assert_eq!(none, History::default());
    }
}
