//! Guards: inline expressions, named ones, and the built-in combinations.

use super::Compiler;
use super::expressions::Place;
use crate::definition::diagnostics::{Severity, did_you_mean};
use crate::definition::json_pos::{Kind, Node};
use crate::definition::keys;
use crate::expression::is_resolvable;
use crate::machine::{Guard, StatePattern};
use crate::state_set::StateIx;

impl<'d> Compiler<'d> {
    pub(super) fn compile_guard(&mut self, node: &'d Node, place: Place) -> Option<Guard> {
        if is_resolvable(node) {
            return self.compile_condition(node, place).map(|program| Guard::Expression(Box::new(program)));
        }
        match &node.kind {
            Kind::Str(name) => self.named_guard(node, name).map(|guard| Guard::Call { guard, params: None }),
            Kind::Object(_) => self.guard_object(node, place),
            _ => {
                let message = format!(
                    "a guard must be an expression, a name or an object with a `type`, not {}",
                    node.type_name()
                );
                self.error(node, "wrong_type", message, None);
                None
            }
        }
    }

    fn guard_object(&mut self, node: &'d Node, place: Place) -> Option<Guard> {
        let Some(kind) = node.get("type") else {
            let hint = node.get("expr").map(|_| "did you mean \"@expr\"?".to_owned());
            self.error(node, "missing_key", "a guard needs \"@expr\" or a \"type\"", hint);
            return None;
        };
        let name = self.string(kind, "a guard's `type`")?;
        if let Some(built_in) = keys::BUILT_IN_GUARDS.iter().find(|built_in| built_in.name == name) {
            self.check_keys(node, &[built_in.keys, &keys::NAMED_GUARD[..1]]);
            return self.built_in_guard(node, name, place);
        }
        if name.starts_with("xstate.") || name.starts_with("@xstate.") {
            let hint = did_you_mean(name, keys::BUILT_IN_GUARDS.iter().map(|built_in| built_in.name));
            self.error(kind, "unknown_guard", format!("there is no built-in guard {name:?}"), hint);
            return None;
        }
        if let Some(meant) = self.built_in_guard_meant(node, name) {
            let hint = Some(format!("did you mean {meant:?}?"));
            self.error(kind, "unknown_guard", format!("there is no guard {name:?}"), hint);
            return None;
        }
        self.check_keys(node, &[keys::NAMED_GUARD]);
        let guard = self.named_guard(kind, name);
        let params = self.compile_data(node.get("params"), place.value());
        Some(Guard::Call { guard: guard?, params })
    }

    /// `xstate.and` for `and`, if it has the built-in one's keys and nothing else is called so.
    fn built_in_guard_meant(&self, node: &'d Node, name: &str) -> Option<&'static str> {
        if self.names.guard_indices.contains_key(name) {
            return None;
        }
        let keys = || node.members().unwrap_or(&[]).iter().map(|member| member.key.as_str());
        let is_meant = |built_in: &&keys::BuiltIn| built_in.is_named_short(name) && built_in.has_one_of(keys());
        keys::BUILT_IN_GUARDS.iter().find(is_meant).map(|built_in| built_in.name)
    }

    fn built_in_guard(&mut self, node: &'d Node, name: &str, place: Place) -> Option<Guard> {
        if name == "xstate.stateIn" {
            return self.state_in(node).map(Guard::StateIn);
        }
        if let Some(guard) = self.params_of_built_in(node, name, "guard") {
            return guard.and_then(|guard| self.compile_guard(guard, place)).map(|guard| Guard::Not(Box::new(guard)));
        }
        let Some(list) = node.get("guards") else {
            self.error(node, "missing_key", format!("{name} needs \"guards\""), None);
            return None;
        };
        let Kind::Array(items) = &list.kind else {
            self.error(list, "wrong_type", format!("`guards` must be an array, not {}", list.type_name()), None);
            return None;
        };
        if name == "xstate.not" && items.len() != 1 {
            self.error(list, "wrong_type", format!("xstate.not takes exactly one guard, not {}", items.len()), None);
            return None;
        }
        let guards: Vec<_> = items.iter().map(|item| self.compile_guard(item, place)).collect();
        let guards = guards.into_iter().collect::<Option<Vec<Guard>>>()?;
        Some(match name {
            "xstate.and" => Guard::And(guards.into()),
            "xstate.or" => Guard::Or(guards.into()),
            _ => Guard::Not(Box::new(guards.into_iter().next()?)),
        })
    }

    /// What XState 6 writes as the only one of the built-in guard's `params`. `None` if there are no params, `Some(None)` if they are
    /// wrong.
    fn params_of_built_in(&mut self, node: &'d Node, name: &str, key: &'static str) -> Option<Option<&'d Node>> {
        let params = node.get("params")?;
        let is_only = node.members().is_some_and(|members| members.len() == 2);
        let found = params.get(key).filter(|_| is_only);
        if found.is_none() {
            let message =
                format!("the params of {name} must be {{{key:?}: ...}}, and there can be no other key beside them");
            self.error(params, "wrong_type", message, None);
        }
        for other in params.members().unwrap_or(&[]).iter().filter(|member| member.key != key) {
            let message = format!("unknown key {:?}", other.key);
            self.report(Severity::Error, other.key_offset, "unknown_key", message, None);
        }
        Some(found)
    }

    /// A state by the id that XState 6 writes: all of it is the id, dots too.
    fn state_by_whole_id(&mut self, node: &'d Node) -> Option<StatePattern> {
        let id = self.string(node, "`stateId`")?;
        match self.ids.get(id.strip_prefix('#').unwrap_or(id)) {
            Some(state) => Some(StatePattern::Active(*state)),
            None => self.state_pattern_by_id(node, id),
        }
    }

    fn state_in(&mut self, node: &'d Node) -> Option<StatePattern> {
        if let Some(id) = self.params_of_built_in(node, "xstate.stateIn", "stateId") {
            return id.and_then(|id| self.state_by_whole_id(id));
        }
        if let Some(id) = node.get("id") {
            let name = self.string(id, "`id`")?;
            return self.state_pattern_by_id(id, name);
        }
        let Some(value) = node.get("stateValue") else {
            self.error(node, "missing_key", "xstate.stateIn needs \"id\" or \"stateValue\"", None);
            return None;
        };
        match value.as_str() {
            Some(id) if id.starts_with('#') => self.state_pattern_by_id(value, id),
            _ => self.state_pattern(value, 0),
        }
    }

    fn state_pattern_by_id(&mut self, node: &'d Node, id: &str) -> Option<StatePattern> {
        match self.state_by_id(id) {
            Ok(state) => Some(StatePattern::Active(state)),
            Err(unresolved) => {
                self.error(node, "unknown_state", unresolved.message, unresolved.hint);
                None
            }
        }
    }

    /// A state value relative to `parent`: a key path, or an object of children.
    fn state_pattern(&mut self, node: &'d Node, parent: StateIx) -> Option<StatePattern> {
        match &node.kind {
            Kind::Str(path) => match self.state_by_path(parent, &crate::definition::state_path::split_path(path), path)
            {
                Ok(state) => Some(StatePattern::Active(state)),
                Err(unresolved) => {
                    self.error(node, "unknown_state", unresolved.message, unresolved.hint);
                    None
                }
            },
            Kind::Object(members) => {
                let mut children = Vec::new();
                for member in members {
                    match self.state_by_path(parent, std::slice::from_ref(&member.key.to_string()), &member.key) {
                        Ok(child) => children.push(self.state_pattern(&member.value, child)?),
                        Err(unresolved) => {
                            self.error(&member.value, "unknown_state", unresolved.message, unresolved.hint);
                            return None;
                        }
                    }
                }
                Some(StatePattern::All(parent, children.into()))
            }
            _ => {
                self.error(
                    node,
                    "wrong_type",
                    format!("a state value must be a string or an object, not {}", node.type_name()),
                    None,
                );
                None
            }
        }
    }
}
