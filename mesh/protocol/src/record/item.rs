//! What parts consist of: the compound fields of `docs/reference/formats.md`, under its names.

use super::field::{Field, Fields, Unreadable, Value, put_varint};
use crate::place::StoredPlace;
use crate::run::RunId;

/// The types of a table's rows, each with its fields in the order in which they stand.
macro_rules! items {
    ($($(#[$doc:meta])* $name:ident$(<$of:lifetime>)? { $($(#[$about:meta])* $field:ident: $form:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name$(<$of>)? {
            $($(#[$about])* pub $field: $form,)*
        }

        items!(@form [$($of)?] $name { $($field)* });
    )*};
    (@form [] $name:ident { $($field:ident)* }) => {
        impl<'a> Field<'a> for $name {
            items!(@both { $($field)* } 'a);
        }
    };
    (@form [$of:lifetime] $name:ident { $($field:ident)* }) => {
        impl<$of> Field<$of> for $name<$of> {
            items!(@both { $($field)* } $of);
        }
    };
    (@both { $($field:ident)* } $of:lifetime) => {
        fn read(from: &mut Fields<$of>) -> Result<Self, Unreadable> {
            Ok(Self { $($field: from.read()?,)* })
        }

        fn write(&self, out: &mut Vec<u8>) {
            $(self.$field.write(out);)*
        }
    };
}

/// A number of a table of the place, and what it stands for where this is the first record that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered<T> {
    /// The number, from 0.
    pub number: u32,
    /// What it stands for from here on.
    pub new: Option<T>,
}

/// A number of a text: of a context's key, a type of event or a queue.
pub type Name<'a> = Numbered<&'a str>;

/// A number of a definition, by its hash.
pub type Definition = Numbered<[u8; 32]>;

impl<T> Numbered<T> {
    /// What stands in no table: what it stands for is here.
    #[must_use]
    pub const fn unnumbered(what: T) -> Self {
        Self { number: u32::MAX, new: Some(what) }
    }
}

impl<'a, T: Field<'a>> Field<'a> for Numbered<T> {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        let both = from.varint()?;
        let number = u32::try_from(both >> 1).map_err(|_| Unreadable::Malformed("a table's number"))?;
        let new = if both & 1 == 1 { Some(from.read()?) } else { None };
        Ok(Self { number, new })
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_varint(u64::from(self.number) << 1 | u64::from(self.new.is_some()), out);
        self.new.iter().for_each(|new| new.write(out));
    }
}

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It takes events.
    Active,
    /// It reached a final state.
    Done,
    /// It failed.
    Error,
    /// It was stopped.
    Stopped,
}

impl<'a> Field<'a> for Status {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        Ok(match from.read::<u8>()? {
            0 => Self::Active,
            1 => Self::Done,
            2 => Self::Error,
            3 => Self::Stopped,
            _ => return Err(Unreadable::Malformed("a status")),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }
}

/// What a step says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskChange {
    /// It is open.
    Open,
    /// It is tried.
    Attempt,
    /// It is over.
    Close,
}

impl<'a> Field<'a> for TaskChange {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        Ok(match from.read::<u8>()? {
            1 => Self::Open,
            2 => Self::Attempt,
            3 => Self::Close,
            _ => return Err(Unreadable::Malformed("what becomes of a task")),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(*self as u8 + 1);
    }
}

/// What is so of an instance behind a step, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadFlags(pub u8);

impl HeadFlags {
    /// The step changed something.
    pub const CHANGED: u8 = 1;
    /// A transition took the event.
    pub const HANDLED: u8 = 2;
    /// The instance began anew.
    pub const RESTARTED: u8 = 4;
    /// It takes nothing until a client retries or skips the step that failed.
    pub const STUCK: u8 = 8;
    /// It keeps what comes in, and takes nothing.
    pub const SUSPENDED: u8 = 16;
}

impl<'a> Field<'a> for HeadFlags {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        let bits = from.read::<u8>()?;
        if bits < Self::SUSPENDED << 1 { Ok(Self(bits)) } else { Err(Unreadable::Malformed("a head's flags")) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.0);
    }
}

items! {
    /// Where an instance stands.
    Head<'a> {
        /// Whether it runs.
        status: Status,
        /// What is so of it.
        flags: HeadFlags,
        /// Transitions within this life.
        seq: u64,
        /// Its active states, as the engine writes them.
        active: &'a [u8],
    }

    /// A key of the context that was set.
    ContextKey<'a> {
        /// Its name.
        key: Name<'a>,
        /// Its value.
        value: Value<'a>,
    }

    /// A timer.
    Timer<'a> {
        /// Its name within the instance.
        id: &'a str,
        /// Mesh time at which it fires, in milliseconds.
        due: u64,
        /// What it fires, as the engine writes it.
        fires: &'a [u8],
    }

    /// A machine inside of a machine.
    Child<'a> {
        /// Its name within its parent.
        id: &'a str,
        /// Its snapshot, as the engine writes it.
        snapshot: &'a [u8],
    }

    /// What is kept of a dedup token in a record; its run, seq, head and definition are the record's.
    Token {
        /// Hash of the token.
        token: [u8; 16],
        /// Hash of the request.
        request: [u8; 8],
    }

    /// An effect, as it was published.
    Effect<'a> {
        /// Its kind.
        kind: &'a str,
        /// Its parameters.
        parameters: Value<'a>,
    }

    /// What became of a task.
    Task<'a> {
        /// Its number within its step.
        ordinal: u64,
        /// What.
        change: TaskChange,
        /// The queue in which it is.
        queue: Name<'a>,
        /// Mesh time before which no worker takes it, in milliseconds.
        due: u64,
        /// Its input; the error of an attempt.
        value: Value<'a>,
    }

    /// A message that is on its way.
    Sent<'a> {
        /// The receiver's machine.
        machine: &'a str,
        /// The receiver's key.
        key: &'a str,
        /// Its number between the two places.
        number: u64,
        /// The event.
        event: Value<'a>,
    }

    /// A message that was disposed of.
    Received {
        /// The sender's place.
        from: StoredPlace,
        /// Its number between the two places.
        number: u64,
    }

    /// A message of which the receiver has said what became of it.
    Acknowledged {
        /// The receiver's place.
        to: StoredPlace,
        /// Its number between the two places.
        number: u64,
        /// What became of it; 0: it was applied.
        code: u64,
    }

    /// A value that is in a file of its own.
    BlobRef {
        /// Its number within the instance.
        number: u64,
        /// Its bytes.
        length: u64,
        /// crc of its bytes, little-endian.
        crc: [u8; 4],
    }

    /// A replica of a place.
    Voter<'a> {
        /// The daemon's name.
        name: &'a str,
        /// Its volume, little-endian.
        volume: [u8; 8],
        /// Index of the configuration that added it.
        generation: u64,
        /// 1 voter, 2 learner, 4 of the former configuration.
        flags: u8,
    }

    /// Whom a replica votes for.
    Vote<'a> {
        /// In which term.
        term: u64,
        /// The daemon's name.
        name: &'a str,
        /// Its volume, little-endian.
        volume: [u8; 8],
        /// Its generation.
        generation: u64,
    }

    /// How far a consumer has read the feed.
    Consumer<'a> {
        /// Whose mark it is.
        name: &'a str,
        /// Up to which index.
        index: u64,
    }

    /// What a reply is still to say of a key.
    Conflict {
        /// Why.
        reason: u8,
        /// The first transition that is lost.
        lost_from: u64,
        /// The life that it is about.
        run: RunId,
    }

    /// A transition of the past.
    Past<'a> {
        /// Its number within this life.
        seq: u64,
        /// Mesh time, in milliseconds.
        at: u64,
        /// The event's type.
        event: Name<'a>,
        /// Why it is told.
        reason: u8,
        /// Where the instance stood behind it.
        head: &'a [u8],
    }

    /// A dedup token with what its answer says.
    KeptToken<'a> {
        /// Hash of the token.
        token: [u8; 16],
        /// Hash of the request.
        request: [u8; 8],
        /// The life in which it was taken.
        run: RunId,
        /// The transition.
        seq: u64,
        /// What was so of the instance behind it.
        flags: HeadFlags,
        /// The definition that took it.
        definition: Definition,
        /// The active states behind it.
        active: &'a [u8],
    }
}
