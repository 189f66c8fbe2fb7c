//! What only XState 6 has, in XState 5's words.

use super::{Export, expression, many, object};
use crate::definition::json_pos::{Member, Node};
use statemesh_expr::{Map, Value};

impl Export<'_> {
    /// A choice is a state with eventless transitions; where no branch is open XState 5 stays in it.
    pub(super) fn choice(&mut self, state: &Node, node: &Node, into: &mut Map) {
        let branches = node.one_or_many();
        if self.is_six() {
            let branches: Vec<Value> = branches.iter().map(|branch| self.branch(branch)).collect();
            into.insert("choice", many(branches));
            return;
        }
        if branches.iter().all(|branch| branch.get("when").is_some()) {
            let message = "where no branch is open XState 5 stays in the state, and does not fail";
            self.alter(state, message, "add a branch without `when`");
        }
        let transitions: Vec<Value> = branches
            .iter()
            .map(|branch| {
                let Value::Map(mut written) = self.branch(branch) else { return Value::Null };
                if let Some(when) = written.remove("when") {
                    written.insert("guard", when);
                }
                self.context_as_action(&mut written);
                Value::Map(written)
            })
            .collect();
        into.remove("type");
        into.insert("always", many(transitions));
    }

    fn branch(&mut self, node: &Node) -> Value {
        let mut written = Map::new();
        for Member { key, value, .. } in node.members().unwrap_or(&[]) {
            let value = if key == "when" { self.guard(value) } else { Some(value.to_value()) };
            value.into_iter().for_each(|value| drop(written.insert(key.clone(), value)));
        }
        Value::Map(written)
    }

    /// XState 5's transitions have no `context`: an action assigns it first.
    pub(super) fn context_as_action(&mut self, transition: &mut Map) {
        let Some(context) = transition.remove("context") else { return };
        let assign = object([("type", Value::str("@xstate.assign")), ("context", context)]);
        let rest = transition.get("actions").and_then(Value::as_list).map(|list| list.as_slice().to_vec());
        transition.insert("actions", many([assign].into_iter().chain(rest.unwrap_or_default())));
    }

    /// An action that is an expression: for XState 5 an assignment of what it gives.
    pub(super) fn patch(&mut self, node: &Node, text: &str) -> Value {
        if self.is_six() {
            return node.to_value();
        }
        let context = expression(&format!("has(({text}).context) ? ({text}).context : {{}}"));
        object([("type", Value::str("@xstate.assign")), ("context", context)])
    }
}
