//! Whether a guard holds.

use super::macrostep::{Actor, Current};
use super::scratch::{Fault, failure};
use crate::machine::{Guard, StatePattern};
use crate::shapes::is_same;
use crate::state::StateKind;
use crate::state_set::StateIx;
use statemesh_expr::Value;

impl Actor<'_, '_> {
    pub(crate) fn holds(&mut self, guard: &Guard, event: &Current<'_>, params: &Value) -> Result<bool, Fault> {
        Ok(match guard {
            Guard::Expression(program) => {
                let scope =
                    statemesh_expr::Scope { params, ..statemesh_expr::Scope::new(&self.slot.context, event.payload) };
                let holds = program.eval_bool(&scope, self.shared.cost);
                holds.map_err(|error| Fault::of(&error, self.limits, &scope, || Some(program.source())))?
            }
            Guard::Call { guard, params: own } => {
                let machine = self.machine;
                let own = self.evaluate_optional(own.as_ref(), event, params)?.unwrap_or_default();
                self.holds(&machine.named.guard(*guard).body, event, &own)?
            }
            Guard::And(guards) => {
                for guard in guards {
                    if !self.holds(guard, event, params)? {
                        return Ok(false);
                    }
                }
                true
            }
            Guard::Or(guards) => {
                for guard in guards {
                    if self.holds(guard, event, params)? {
                        return Ok(true);
                    }
                }
                false
            }
            Guard::Not(guard) => !self.holds(guard, event, params)?,
            Guard::StateIn(pattern) => self.matches(pattern),
            Guard::Matches(fields) => fields.iter().all(|(field, wanted)| self.has_field(event, field, wanted)),
            Guard::NoBranch(state) => {
                return Err(failure("no_branch", &format!("no branch of the choice state {state:?} is open")));
            }
            Guard::Route(target) => match event.payload.get_str("to") {
                Ok(to) => to.is_some_and(|to| to == target.as_str()),
                Err(_) => false,
            },
        })
    }

    /// Whether a field of the event has a value; of the engine's own events also those that XState 6 gives them.
    fn has_field(&self, event: &Current<'_>, field: &str, wanted: &Value) -> bool {
        let given = match field {
            "type" => Some(Value::str(event.name)),
            _ => event.payload.get(field).ok().flatten().and_then(|found| found.to_value(&Default::default()).ok()),
        };
        given.is_some_and(|given| is_same(&given, wanted))
            || self.machine.field_of_name(event.name, field).is_some_and(|given| is_same(&given, wanted))
    }

    fn matches(&self, pattern: &StatePattern) -> bool {
        match pattern {
            StatePattern::Active(state) => self.slot.active.contains(*state),
            StatePattern::All(state, children) => {
                self.slot.active.contains(*state)
                    && self.has_object_value(*state)
                    && children.iter().all(|child| self.matches(child))
            }
        }
    }

    /// Whether the state's part of the value is an object: not so for a compound state whose child is a leaf.
    fn has_object_value(&self, state: StateIx) -> bool {
        let node = self.machine.state(state);
        let is_active_leaf = |child: &StateIx| self.slot.active.contains(*child) && self.machine.is_atomic(*child);
        match node.kind {
            StateKind::Compound => !node.children.iter().any(is_active_leaf),
            StateKind::Parallel => true,
            _ => node.parent.is_none_or(|parent| self.machine.state(parent).kind == StateKind::Parallel),
        }
    }
}
