//! Parts: what a record says of an instance or a place, and what an image has of it. Each is a byte that says what it is, a length
//! and a body, so one of a later version can be passed over if its number allows it.

use super::field::{Field, Fields, Unreadable, Value};
use super::frame::set_length;
use super::item::{
    Acknowledged, BlobRef, Child, Conflict, Consumer, ContextKey, Definition, Effect, Head, KeptToken, Name, Past,
    Received, Sent, Task, Timer, Token, Vote, Voter,
};
use super::list::{List, put_list};
use crate::run::RunId;

/// From this number on, parts and kinds of records may be passed over by a reader that does not know them.
pub const OPTIONAL_FROM: u8 = 128;

/// A change, with what it caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Why it came about.
    pub reason: u8,
    /// Its effects.
    pub effects: List<'a, Effect<'a>>,
}

impl<'a> Field<'a> for Change<'a> {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        Ok(Self { reason: from.read()?, effects: from.read()? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.reason.write(out);
        self.effects.write(out);
    }
}

/// The timers of an instance: all of them, or what the step did to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timers<'a> {
    /// All that there are.
    All(List<'a, Timer<'a>>),
    /// Of an instance with more than eight: what this step did.
    Commands(List<'a, TimerCommand<'a>>),
}

impl<'a> Field<'a> for Timers<'a> {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        match from.read::<u8>()? {
            0 => from.read().map(Self::All),
            1 => from.read().map(Self::Commands),
            _ => Err(Unreadable::Malformed("a list of timers")),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::All(timers) => {
                out.push(0);
                timers.write(out);
            }
            Self::Commands(commands) => {
                out.push(1);
                commands.write(out);
            }
        }
    }
}

/// What a step did to a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerCommand<'a> {
    /// It is no more.
    Cancel(&'a str),
    /// It was set, or set anew.
    Set(Timer<'a>),
}

impl<'a> Field<'a> for TimerCommand<'a> {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        match from.read::<u8>()? {
            0 => from.read().map(Self::Cancel),
            1 => from.read().map(Self::Set),
            _ => Err(Unreadable::Malformed("a timer's command")),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Cancel(id) => {
                out.push(0);
                id.write(out);
            }
            Self::Set(timer) => {
                out.push(1);
                timer.write(out);
            }
        }
    }
}

macro_rules! parts {
    ($($number:literal $name:ident($body:ty) $doc:literal,)*) => {
        /// What there are, by the names and numbers of `docs/reference/formats.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Part<'a> {
            $(#[doc = $doc] $name($body),)*
        }

        impl<'a> Part<'a> {
            /// Its number.
            #[must_use]
            pub const fn number(&self) -> u8 {
                match self { $(Self::$name(_) => $number,)* }
            }

            /// Appends its body.
            fn write_body(&self, out: &mut Vec<u8>) {
                match self { $(Self::$name(body) => body.write(out),)* }
            }

            /// The part of this number; `None` for one that may be passed over.
            fn read_body(number: u8, body: &mut Fields<'a>) -> Result<Option<Self>, Unreadable> {
                match number {
                    $($number => body.read().map(Self::$name).map(Some),)*
                    OPTIONAL_FROM.. => Ok(None),
                    _ => Err(Unreadable::Later { what: "part", number: number.into() }),
                }
            }
        }
    };
}

parts! {
    1 Machine(&'a str) "Name of the machine.",
    2 Key(&'a str) "The key.",
    3 Definition(Definition) "The definition that it runs.",
    4 Run(RunId) "Its life, where that is not this record's index.",
    5 Head(Head<'a>) "Where it stands.",
    6 Context(List<'a, ContextKey<'a>>) "The top-level keys of its context that were set.",
    7 WholeContext(Value<'a>) "Its whole context.",
    8 Timers(Timers<'a>) "Its timers.",
    9 Auxiliary(&'a [u8]) "Queued events, history states, the held timer, as the engine writes them.",
    10 Children(List<'a, Child<'a>>) "Its children.",
    11 Event(Name<'a>) "The event's type.",
    12 Journal(Value<'a>) "The event's payload.",
    13 Token(Token) "The dedup token that it had.",
    14 Change(Change<'a>) "The change as it is published.",
    15 Task(Task<'a>) "What became of a task.",
    16 Sent(Sent<'a>) "A message that it sent.",
    17 Received(Received) "A message that was disposed of.",
    18 Acknowledged(Acknowledged) "A message that is delivered.",
    19 Inbox(List<'a, Value<'a>>) "What waits for an instance that takes nothing.",
    20 Blob(BlobRef) "A value that is in a file of its own.",
    21 Tier(u8) "A tier.",
    22 Configuration(List<'a, Voter<'a>>) "The replicas of the place.",
    23 Vote(Vote<'a>) "A vote.",
    24 Mark(u64) "An index; of a checkpoint, the lsn.",
    25 Digest([u8; 32]) "A hash of the place.",
    26 Consumer(Consumer<'a>) "How far a consumer has read.",
    27 Conflict(Conflict) "What a reply is still to say of the key.",
    28 Lost(RunId) "A life that is gone and of which no client was told.",
    29 History(List<'a, Past<'a>>) "Its last transitions; in images.",
    30 Tokens(List<'a, KeptToken<'a>>) "Its dedup tokens, oldest first; in images.",
    31 KeptUntil(u64) "Mesh time until which the tokens of a removed instance are kept; in images.",
    32 Snapshot(&'a [u8]) "The instance whole, as the engine writes it; times are mesh time.",
    33 Transitions(&'a [u8]) "Its transitions, as a shard writes them: in a record those that came about in it.",
    34 Answers(&'a [u8]) "Its dedup tokens, as a shard writes them; in images.",
}

impl Part<'_> {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let at = begin(self.number(), out);
        self.write_body(out);
        set_length(out, at);
    }
}

/// Begins a part. Gives where its length goes.
fn begin(number: u8, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[number, 0]);
    out.len() - 1
}

/// Lists that are written from items, without a list of bytes between: each is the part of this number.
#[derive(Clone, Copy, Debug)]
pub enum Items<'s, 'a> {
    /// The keys that were set.
    Context(&'s [ContextKey<'a>]),
    /// All timers that there are.
    Timers(&'s [Timer<'a>]),
    /// What the step did to timers.
    TimerCommands(&'s [TimerCommand<'a>]),
    /// Children.
    Children(&'s [Child<'a>]),
    /// A change's reason and effects.
    Change(u8, &'s [Effect<'a>]),
    /// What waits.
    Inbox(&'s [Value<'a>]),
    /// Replicas.
    Configuration(&'s [Voter<'a>]),
    /// The last transitions.
    History(&'s [Past<'a>]),
    /// Tokens.
    Tokens(&'s [KeptToken<'a>]),
}

impl Items<'_, '_> {
    /// Appends the part.
    pub fn write(&self, out: &mut Vec<u8>) {
        let number = match self {
            Self::Context(_) => 6,
            Self::Timers(_) | Self::TimerCommands(_) => 8,
            Self::Children(_) => 10,
            Self::Change(..) => 14,
            Self::Inbox(_) => 19,
            Self::Configuration(_) => 22,
            Self::History(_) => 29,
            Self::Tokens(_) => 30,
        };
        let at = begin(number, out);
        self.write_body(out);
        set_length(out, at);
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Context(items) => put_list(items, out),
            Self::Timers(items) => {
                out.push(0);
                put_list(items, out);
            }
            Self::TimerCommands(items) => {
                out.push(1);
                put_list(items, out);
            }
            Self::Children(items) => put_list(items, out),
            Self::Change(reason, items) => {
                out.push(*reason);
                put_list(items, out);
            }
            Self::Inbox(items) => put_list(items, out),
            Self::Configuration(items) => put_list(items, out),
            Self::History(items) => put_list(items, out),
            Self::Tokens(items) => put_list(items, out),
        }
    }
}

/// Goes through parts that stand one behind the other; those that may be passed over are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a>(pub(super) &'a [u8]);

impl<'a> Parts<'a> {
    /// Checks all of them.
    pub(super) fn check(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let mut fields = Fields::new(bytes);
        while !fields.is_empty() {
            next(&mut fields)?;
        }
        Ok(Self(bytes))
    }

    /// The parts that are known here, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Part<'a>> + use<'a> {
        let mut fields = Fields::new(self.0);
        std::iter::from_fn(move || {
            while !fields.is_empty() {
                if let Some(part) = next(&mut fields).ok()? {
                    return Some(part);
                }
            }
            None
        })
    }

    /// Their bytes, with those that are not known here.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

fn next<'a>(fields: &mut Fields<'a>) -> Result<Option<Part<'a>>, Unreadable> {
    let number = fields.read()?;
    let mut body = Fields::new(fields.read()?);
    let part = Part::read_body(number, &mut body)?;
    if part.is_some() {
        body.finish()?;
    }
    Ok(part)
}
