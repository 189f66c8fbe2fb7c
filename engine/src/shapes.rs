//! The engine's own events as XState 6 shapes them: their `type` says what they are, a field which child, state or delay they are
//! of. Here, as in XState 5, all of it is in the name; a definition may use either.

use crate::machine::Machine;
use statemesh_expr::{Str, Value};

/// Events of one kind.
pub(crate) struct Family {
    /// Their `type` in XState 6.
    pub(crate) kind: &'static str,
    /// What all their names begin with.
    pub(crate) prefix: &'static str,
    /// The fields that the rest of the name is in XState 6.
    pub(crate) fields: &'static [&'static str],
}

const fn family(kind: &'static str, prefix: &'static str, fields: &'static [&'static str]) -> Family {
    Family { kind, prefix, fields }
}

/// The first whose prefix a name has is its family.
pub(crate) const FAMILIES: &[Family] = &[
    family("xstate.done.actor", "xstate.done.actor.", &["actorId"]),
    family("xstate.error.actor", "xstate.error.actor.", &["actorId"]),
    family("xstate.snapshot.actor", "xstate.snapshot.", &["actorId"]),
    family("xstate.done.state", "xstate.done.state.", &["stateId"]),
    family("xstate.timeout.actor", "xstate.timeout.actor.", &["actorId"]),
    family("xstate.timeout", "xstate.timeout.", &["stateId"]),
    family("xstate.after", "xstate.after.", &["delay", "stateId"]),
];

impl Family {
    /// The family of an event's name.
    pub(crate) fn of(name: &str) -> Option<&'static Self> {
        FAMILIES.iter().find(|family| name.starts_with(family.prefix))
    }
}

impl Machine {
    /// The field that an event of this name has in XState 6 besides its payload.
    pub(crate) fn field_of_name(&self, name: &str, field: &str) -> Option<Value> {
        let family = Family::of(name)?;
        if field == "type" {
            return Some(Value::str(family.kind));
        }
        let rest = name.strip_prefix(family.prefix)?;
        if !family.fields.contains(&field) {
            return None;
        }
        if family.fields.len() == 1 {
            return Some(Value::str(rest));
        }
        // Delays and ids may have dots: the longest id that it ends with is meant.
        let ids = self.states.iter().map(|state| &state.id);
        let delay = |id: &Str| rest.strip_suffix(id.as_str())?.strip_suffix('.');
        let (delay, id) = ids.filter_map(|id| Some((delay(id)?, id))).max_by_key(|(_, id)| id.len())?;
        Some(match field {
            "stateId" => Value::Str(id.clone()),
            _ => {
                crate::definition::delay_text::javascript_number(delay).map_or_else(|| Value::str(delay), Value::Double)
            }
        })
    }
}

/// Whether two values are the same as JavaScript's `Object.is` has it; lists and maps never are.
pub(crate) fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Str(left), Value::Str(right)) => left == right,
        _ => match (left.as_f64(), right.as_f64()) {
            (Some(left), Some(right)) => left.to_bits() == right.to_bits(),
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_same_whatever_its_kind() {
        assert!(is_same(&Value::Int(1), &Value::Double(1.0)));
        assert!(!is_same(&Value::Int(0), &Value::Double(-0.0)));
        assert!(!is_same(&Value::Int(1), &Value::str("1")));
        assert!(!is_same(&Value::Null, &Value::Bool(false)));
    }

    #[test]
    fn a_name_belongs_to_the_family_that_says_most() {
        let kind = |name: &str| Family::of(name).map(|family| family.kind);
        assert_eq!(kind("xstate.timeout.actor.0.m.a"), Some("xstate.timeout.actor"));
        assert_eq!(kind("xstate.timeout.m.a"), Some("xstate.timeout"));
        assert_eq!(kind("xstate.snapshot.i"), Some("xstate.snapshot.actor"));
        assert_eq!(kind("xstate.done.actor"), None);
    }
}
