//! What a request waits for: that its instance is in a state, has a tag, or has ended.

use statemesh_engine::Status;
use statemesh_expr::{Limits, Value};
use statemesh_protocol::reply::Encoding;

use crate::instance::Entry;
use crate::machines::Version;
use crate::named::{Named, Unknown};

/// `until` of a request that is none of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"until\" must be {{\"state\":PATH}}, {{\"tag\":TAG}} or {{\"done\":true}}")]
pub struct BadUntil;

/// `until` of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// It is in this state, by its path from below the root.
    State(String),
    /// A state that it is in has this tag.
    Tag(String),
    /// It has ended, however.
    Done,
}

impl Until {
    /// Reads it.
    ///
    /// # Errors
    /// It is none of the three.
    pub fn read(bytes: &[u8], encoding: Encoding) -> Result<Self, BadUntil> {
        let read = match encoding {
            Encoding::Json => Value::from_json(bytes, &Limits::default()),
            Encoding::MsgPack => Value::from_msgpack(bytes, &Limits::default()),
        };
        let Ok(Value::Map(fields)) = read else { return Err(BadUntil) };
        let mut fields = fields.iter();
        let (Some((name, value)), None) = (fields.next(), fields.next()) else { return Err(BadUntil) };
        match (name.as_str(), value) {
            ("state", Value::Str(path)) => Ok(Self::State(path.to_string())),
            ("tag", Value::Str(tag)) => Ok(Self::Tag(tag.to_string())),
            ("done", Value::Bool(true)) => Ok(Self::Done),
            _ => Err(BadUntil),
        }
    }

    /// Whether instances of a version can be there at all.
    ///
    /// # Errors
    /// Its machine has no such state, or no state with such a tag.
    pub(crate) fn known_to(&self, version: &Version) -> Result<(), Unknown> {
        let named = match self {
            Self::State(path) => Named::State(path),
            Self::Tag(tag) => Named::Tag(tag),
            Self::Done => return Ok(()),
        };
        match named.is_of(version) {
            true => Ok(()),
            false => Err(named.unknown_to(version, "that could be waited for; nothing was done")),
        }
    }

    /// Whether an instance is there.
    pub(crate) fn is_met(&self, entry: &Entry) -> bool {
        let Entry { version, instance, .. } = entry;
        match self {
            Self::State(path) => version.machine.is_in(instance, path),
            Self::Tag(tag) => version.machine.has_tag(instance, tag),
            Self::Done => instance.status() != Status::Active && !instance.is_stuck(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_three_things_is_waited_for() {
        assert_eq!(
            BadUntil.to_string(),
            r#""until" must be {"state":PATH}, {"tag":TAG} or {"done":true}"#,
            "as clients read it"
        );
        let read = |text: &str| Until::read(text.as_bytes(), Encoding::Json);
        assert_eq!(read(r#"{"state":"a.b"}"#), Ok(Until::State("a.b".into())));
        assert_eq!(read(r#"{"tag":"late"}"#), Ok(Until::Tag("late".into())));
        assert_eq!(read(r#"{"done":true}"#), Ok(Until::Done));
        for wrong in ["5", "{}", r#"{"done":false}"#, r#"{"state":1}"#, r#"{"state":"a","tag":"b"}"#, r#"{"stat":"a"}"#]
        {
            assert_eq!(read(wrong), Err(BadUntil), "{wrong}");
        }
    }
}
