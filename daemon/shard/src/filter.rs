//! Which instances a list has: by machine, state, tag, status, age and what is in their context.

use statemesh_engine::Status;
use statemesh_expr::{DecodeError, Limits, Value};
use statemesh_protocol::reply::Encoding;

use crate::instance::Entry;
use crate::machines::Table;
use crate::named::{Named, Unknown};

/// What an instance must be like. What is not said does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    machine: Option<String>,
    /// What its key begins with.
    prefix: Option<String>,
    state: Option<String>,
    tag: Option<String>,
    status: Option<Status>,
    stuck: Option<bool>,
    /// Its life began at least so long ago.
    older_ms: Option<u64>,
    /// Its life began at most so long ago.
    younger_ms: Option<u64>,
    /// Paths into the context, and what is there.
    context: Vec<(Vec<String>, Value)>,
}

/// Why a `where` cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFilter {
    /// It is malformed.
    #[error("\"where\": {0}")]
    Malformed(DecodeError),
    /// It is no map.
    #[error("\"where\" must be a map of {FIELDS}")]
    NoMap,
    /// There is no such field.
    #[error("\"where\" has no \"{0}\"; it has {FIELDS}")]
    Unknown(String),
    /// A field has a value of the wrong type.
    #[error("\"where\": \"{name}\" must be {wanted}")]
    Wrong {
        /// The field.
        name: String,
        /// What it may be.
        wanted: &'static str,
    },
    /// It asks for more of the context than each instance is searched for.
    #[error("\"where.context\" has {0} paths; it may have {PATHS_MAX}")]
    Paths(usize),
}

/// Paths into the context: each instance that is looked at is searched for all of them.
const PATHS_MAX: usize = 16;

const FIELDS: &str = "prefix, state, tag, status, stuck, older_ms, younger_ms and context";

impl Filter {
    /// Of a request's `machine` (empty: any) and `where`.
    ///
    /// # Errors
    /// `where` is no map, has a field that it cannot have, or one of the wrong type.
    pub fn read(machine: &str, fields: Option<&[u8]>, encoding: Encoding) -> Result<Self, BadFilter> {
        let mut filter = Self { machine: (!machine.is_empty()).then(|| machine.to_owned()), ..Self::default() };
        let Some(bytes) = fields else { return Ok(filter) };
        let read = match encoding {
            Encoding::Json => Value::from_json(bytes, &Limits::default()),
            Encoding::MsgPack => Value::from_msgpack(bytes, &Limits::default()),
        };
        let fields = read.map_err(BadFilter::Malformed)?;
        let Value::Map(fields) = fields else {
            return Err(BadFilter::NoMap);
        };
        for (name, value) in fields.iter() {
            filter.field(name, value)?;
        }
        Ok(filter)
    }

    fn field(&mut self, name: &str, value: &Value) -> Result<(), BadFilter> {
        let wrong = |wanted| BadFilter::Wrong { name: name.to_owned(), wanted };
        let text = || if let Value::Str(text) = value { Ok(text.to_string()) } else { Err(wrong("a string")) };
        let number = || match value {
            Value::Int(ms) => u64::try_from(*ms).map_err(|_| wrong("milliseconds")),
            Value::Uint(ms) => Ok(*ms),
            _ => Err(wrong("milliseconds")),
        };
        match name {
            "prefix" => self.prefix = Some(text()?),
            "state" => self.state = Some(text()?),
            "tag" => self.tag = Some(text()?),
            "status" => {
                let named = text()?;
                let all = [Status::Active, Status::Done, Status::Error, Status::Stopped];
                let status = all.into_iter().find(|status| status.as_str() == named);
                self.status = Some(status.ok_or_else(|| wrong("active, done, error or stopped"))?);
            }
            "stuck" => {
                let Value::Bool(stuck) = value else { return Err(wrong("true or false")) };
                self.stuck = Some(*stuck);
            }
            "older_ms" => self.older_ms = Some(number()?),
            "younger_ms" => self.younger_ms = Some(number()?),
            "context" => {
                let Value::Map(paths) = value else {
                    return Err(wrong("a map of paths and what is there, such as {\"customer.id\":7}"));
                };
                if paths.len() > PATHS_MAX {
                    return Err(BadFilter::Paths(paths.len()));
                }
                let path = |path: &str| path.split('.').map(str::to_owned).collect();
                self.context = paths.iter().map(|(name, value)| (path(name), value.clone())).collect();
            }
            _ => return Err(BadFilter::Unknown(name.to_owned())),
        }
        Ok(())
    }

    /// Whether instances of the machine that it names can be so at all. Of one that is not defined, and of all machines, nothing is known.
    ///
    /// # Errors
    /// No version of the machine has such a state, or a state with such a tag.
    pub fn known_to(&self, table: &Table) -> Result<(), Unknown> {
        let Some(newest) = self.machine.as_ref().and_then(|machine| table.by_name(machine)) else { return Ok(()) };
        let named = [self.state.as_deref().map(Named::State), self.tag.as_deref().map(Named::Tag)];
        match named.into_iter().flatten().find(|named| !named.is_of_some(newest, table)) {
            None => Ok(()),
            Some(named) => Err(named.unknown_to(newest, "in any version; nothing was listed")),
        }
    }

    /// Whether an instance is like this. The cheapest is looked at first.
    pub(crate) fn takes(&self, entry: &Entry, unix_ms: u64) -> bool {
        let Entry { version, instance, run, .. } = entry;
        let age = unix_ms.saturating_sub(run.began_ms());
        self.machine.as_ref().is_none_or(|machine| *version.name == **machine)
            && self.prefix.as_ref().is_none_or(|prefix| entry.key.starts_with(prefix.as_str()))
            && self.status.is_none_or(|status| instance.status() == status)
            && self.stuck.is_none_or(|stuck| instance.is_stuck() == stuck)
            && self.older_ms.is_none_or(|older| age >= older)
            && self.younger_ms.is_none_or(|younger| age <= younger)
            && self.state.as_ref().is_none_or(|state| version.machine.is_in(instance, state))
            && self.tag.as_ref().is_none_or(|tag| version.machine.has_tag(instance, tag))
            && self.context.iter().all(|(path, value)| is_there(instance.context(), path, value))
    }
}

/// Whether a value is at the end of a path. Numbers are equal by what they are worth, to the last bit, whatever
/// their types: keys of 64 bits that are one as doubles are two, and what is listed may be deleted.
fn is_there(context: &Value, path: &[String], wanted: &Value) -> bool {
    let found = path.iter().try_fold(context, |at, name| at.get(name));
    found == Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::{Machines, Version};
    use statemesh_engine::{Limits, Machine};

    #[test]
    fn what_no_version_of_the_machine_has_is_refused_with_what_was_meant() {
        let machines = Machines::default();
        for (number, paid) in [(1, "settled"), (2, "paid")] {
            let source = format!(
                r#"{{"id":"order","initial":"open","states":{{"open":{{}},"{paid}":{{"tags":["late"],"initial":"a","states":{{"a":{{}}}}}}}}}}"#
            );
            let machine = Machine::compile(source.as_bytes(), &Limits::default(), &|_| None).unwrap().machine;
            machines.add(Version::new("order".into(), [number; 32], number.into(), machine));
        }
        let table = machines.table();
        let told = |machine: &str, fields: &str| {
            let filter = Filter::read(machine, Some(fields.as_bytes()), Encoding::Json).unwrap();
            filter.known_to(&table).err().map(|Unknown { message, hint }| format!("{message} | {hint}"))
        };
        let unknown = r#"order has no state "PAYD" in any version; nothing was listed | did you mean paid?"#;
        assert_eq!(told("order", r#"{"state":"PAYD"}"#).as_deref(), Some(unknown));
        let unknown =
            r#"order has no state with the tag "ltae" in any version; nothing was listed | did you mean late?"#;
        assert_eq!(told("order", r#"{"state":"paid","tag":"ltae"}"#).as_deref(), Some(unknown));
        assert!(told("order", r#"{"tag":"x"}"#).unwrap().ends_with("has those that there are"));
        for (machine, fields) in [
            ("order", r#"{"state":"paid.a","tag":"late"}"#),
            // Instances of an older version may be there.
            ("order", r#"{"state":"settled"}"#),
            ("order", r#"{"prefix":"PAYD"}"#),
            ("", r#"{"state":"PAYD"}"#),
            ("nobody", r#"{"state":"PAYD"}"#),
        ] {
            assert_eq!(told(machine, fields), None, "{machine} {fields}");
        }
    }
}
