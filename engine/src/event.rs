//! What goes into a step and what comes out of it.

use crate::error::StepError;
use statemesh_expr::{Payload, Str, Value};

/// A point in time, or a span of it, in milliseconds. Which clock it is, real or virtual, is the caller's business, as
/// long as it does not go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

/// Names a timer of one instance; unique among all that the instance and its children ever start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId(pub u64);

/// An event for an instance.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The event's type.
    pub kind: &'a str,
    /// The whole event, its `type` included, as it came; read only as far as an expression needs it.
    /// `Payload::Empty` stands for an event that has nothing but its type.
    pub payload: Payload<'a>,
}

impl<'a> Event<'a> {
    /// An event that has nothing but its type.
    pub fn named(kind: &'a str) -> Self {
        Self { kind, payload: Payload::Empty }
    }
}

/// Something the machine wants done, in the order in which it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// An action that is neither built in nor named in the definition.
    Custom {
        /// The action's `type`.
        kind: Str,
        /// Its `params`, if it has any.
        params: Option<Value>,
    },
    /// `@xstate.emit`.
    Emit {
        /// The emitted event.
        event: Value,
    },
    /// `@xstate.log`.
    Log {
        /// What is logged.
        args: Value,
    },
}

impl Effect {
    /// The action's type, as `simulate` and the protocol show it.
    pub fn kind(&self) -> &str {
        match self {
            Self::Custom { kind, .. } => kind,
            Self::Emit { .. } => "@xstate.emit",
            Self::Log { .. } => "@xstate.log",
        }
    }

    /// Appends the effect as JSON: `{"type","params"?}`, `{"type":"@xstate.emit","event"}` or
    /// `{"type":"@xstate.log","args"}`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":");
        Value::str(self.kind()).to_json(out);
        if let Some((key, value)) = self.field() {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\":");
            value.to_json(out);
        }
        out.push(b'}');
    }

    /// The number of bytes that [`Effect::write_json`] appends, if it is no more than `max`.
    pub(crate) fn json_len(&self, max: usize) -> Option<usize> {
        let kind = Value::str(self.kind()).json_len(max)? + r#"{"type":}"#.len();
        let Some((key, value)) = self.field() else { return Some(kind).filter(|len| *len <= max) };
        let frame = kind + key.len() + r#","":"#.len();
        Some(frame + value.json_len(max.checked_sub(frame)?)?)
    }

    /// The effect as data.
    pub(crate) fn to_value(&self) -> Value {
        let fields = [("type", Value::str(self.kind()))].into_iter();
        Value::Map(fields.chain(self.field().map(|(key, value)| (key, value.clone()))).collect())
    }

    /// What it carries, and what that is called.
    fn field(&self) -> Option<(&'static str, &Value)> {
        match self {
            Self::Custom { params, .. } => Some(("params", params.as_ref()?)),
            Self::Emit { event } => Some(("event", event)),
            Self::Log { args } => Some(("args", args)),
        }
    }
}

/// What the caller has to do about an instance's timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerCommand {
    /// Call `fire` with this id once the deadline has come.
    Schedule {
        /// The timer.
        id: TimerId,
        /// When it is due.
        deadline: Millis,
    },
    /// Forget the timer.
    Cancel {
        /// The timer.
        id: TimerId,
    },
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Whether a transition was taken, in the instance or one of its children, or its status changed. `{}`, which
    /// forbids an event, is no transition.
    pub changed: bool,
    /// Whether something reacted to the event: a transition was taken, or `{}` forbids it.
    pub handled: bool,
    /// The instance's transitions so far: one for every input with `changed`.
    pub seq: u64,
    /// The status after the step.
    pub status: Status,
}

/// What an instance can still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Status {
    /// It takes events.
    #[default]
    Active = 0,
    /// It reached a final state of the root.
    Done = 1,
    /// An expression failed, or a child did and no state handled that.
    Error = 2,
    /// It was stopped from outside.
    Stopped = 3,
}

impl Status {
    /// As in an XState snapshot: `active`, `done`, `error` or `stopped`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Done => "done",
            Self::Error => "error",
            Self::Stopped => "stopped",
        }
    }

    pub(crate) fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Active,
            1 => Self::Done,
            2 => Self::Error,
            3 => Self::Stopped,
            _ => return None,
        })
    }
}

/// The result of a step.
pub type StepResult = Result<Step, StepError>;
