//! Guards, `matches` and values as one CEL expression, where the other side has no words for their parts.

use super::{Export, expression, object};
use crate::definition::json_pos::{Kind, Node};
use crate::expression::expression_of;
use statemesh_expr::{Map, Value};

impl Export<'_> {
    /// The guard of a transition; for XState 5 with what `matches` asks.
    pub(super) fn guard_of(&mut self, node: &Node) -> Option<Value> {
        let own = node.get("guard").and_then(|guard| self.guard(guard));
        if self.is_six() {
            return own;
        }
        let asked = node.get("matches").and_then(Node::members).unwrap_or(&[]);
        let asked = asked.iter().filter(|member| !self.fixed.contains(&member.key.as_str()));
        let asked: Vec<String> = asked.map(|member| is_field(&member.key, &member.value)).collect();
        match (asked.is_empty(), own) {
            (true, own) => own,
            (false, None) => Some(expression(&asked.join(" && "))),
            (false, Some(own)) => {
                let guards = super::many([expression(&asked.join(" && ")), own]);
                Some(object([("type", Value::str("xstate.and")), ("guards", guards)]))
            }
        }
    }

    /// What a transition asks of its event, for XState 6.
    pub(super) fn matches(&mut self, node: &Node, more: Map) -> Option<Value> {
        let own = node.get("matches").map(Node::to_value);
        let mut asked = own.as_ref().and_then(Value::as_map).cloned().unwrap_or_default();
        more.iter().for_each(|(key, value)| drop(asked.insert(key.clone(), value.clone())));
        (self.is_six() && !asked.is_empty()).then_some(Value::Map(asked))
    }

    pub(super) fn guard(&mut self, node: &Node) -> Option<Value> {
        if expression_of(node).is_some() {
            return Some(node.to_value());
        }
        if let Some(name) = node.as_str() {
            return Some(object([("type", Value::str(name))]));
        }
        match node.get("type").and_then(Node::as_str) {
            Some("xstate.stateIn") => self.state_in(node),
            Some("xstate.and" | "xstate.or" | "xstate.not") if self.is_six() => self.combined(node),
            Some("xstate.not") => {
                let inner = node.get("params").and_then(|params| params.get("guard"));
                let inner = inner.or_else(|| node.get("guards")?.one_or_many().first())?;
                let guards = super::many([self.guard(inner)?]);
                Some(object([("type", Value::str("xstate.not")), ("guards", guards)]))
            }
            Some(name @ ("xstate.and" | "xstate.or")) => {
                let parts = node.get("guards").map_or(&[][..], Node::one_or_many);
                let guards: Vec<Value> = parts.iter().filter_map(|part| self.guard(part)).collect();
                Some(object([("type", Value::str(name)), ("guards", super::many(guards))]))
            }
            _ => Some(node.to_value()),
        }
    }

    /// XState 6's JSON has no `and` and `or`, and its `not` takes no expression: they are written as one.
    fn combined(&mut self, node: &Node) -> Option<Value> {
        let params = node.get("params").and_then(|params| params.get("guard"));
        let negated = params
            .or_else(|| node.get("guards")?.one_or_many().first())
            .map(|guard| resolved(&self.document.root, guard));
        let is_not = node.get("type").and_then(Node::as_str) == Some("xstate.not");
        // The only guard that is not of the definition and can be negated.
        if let Some(inner) = negated.filter(|inner| inner.get("type").and_then(Node::as_str) == Some("xstate.stateIn"))
            && is_not
        {
            let params = object([("guard", self.guard(inner)?)]);
            return Some(object([("type", Value::str("xstate.not")), ("params", params)]));
        }
        let text = self.as_expression(node, 0);
        if text.is_none() {
            self.lose(node, "XState 6's JSON cannot combine guards that are no expressions without params; the guard is false there");
            return Some(expression("false"));
        }
        text.map(|text| expression(&text))
    }

    /// A guard as CEL, if all its parts are.
    fn as_expression(&self, node: &Node, depth: usize) -> Option<String> {
        const DEPTH_MAX: usize = 32;
        if depth > DEPTH_MAX {
            return None;
        }
        if let Some(text) = expression_of(node).and_then(Node::as_str) {
            return Some(format!("({text})"));
        }
        let kind = node.as_str().or_else(|| node.get("type")?.as_str())?;
        let inner = |key: &str| -> Option<Vec<String>> {
            node.get(key)?.one_or_many().iter().map(|part| self.as_expression(part, depth + 1)).collect()
        };
        match kind {
            "xstate.and" => inner("guards").map(|parts| joined(&parts, " && ", "true")),
            "xstate.or" => inner("guards").map(|parts| joined(&parts, " || ", "false")),
            "xstate.not" => {
                let params = node.get("params").and_then(|params| params.get("guard"));
                let part = match params {
                    Some(guard) => self.as_expression(guard, depth + 1)?,
                    None => inner("guards")?.pop()?,
                };
                Some(format!("(!{part})"))
            }
            "xstate.stateIn" => None,
            _ if node.get("params").is_some() => None,
            name => {
                let named = self.document.root.get("guards")?.get(name)?;
                self.as_expression(named.get("when").unwrap_or(named), depth + 1)
            }
        }
    }

    /// The id is written out: the other side takes all of it for an id.
    fn state_in(&mut self, node: &Node) -> Option<Value> {
        let six = node.get("params").and_then(|params| params.get("stateId"));
        let named = six.or_else(|| node.get("id")).and_then(Node::as_str);
        let named = named.or_else(|| node.get("stateValue")?.as_str().filter(|value| value.starts_with('#')));
        let Some(name) = named else {
            if self.is_six() {
                self.lose(node, "XState 6's JSON has no xstate.stateIn with a state value; the guard is false there");
                return Some(expression("false"));
            }
            return Some(node.to_value());
        };
        let id = self.machine.id_called(name).cloned().unwrap_or_default();
        let kind = ("type", Value::str("xstate.stateIn"));
        Some(match self.is_six() {
            true => object([kind, ("params", object([("stateId", Value::str(format!("#{id}")))]))]),
            false => object([kind, ("id", Value::str(id.replace('.', "\\.")))]),
        })
    }
}

/// What a guard stands for that is only the name of another.
fn resolved<'n>(root: &'n Node, guard: &'n Node) -> &'n Node {
    const NAMES_MAX: usize = 32;
    let mut found = guard;
    for _ in 0..NAMES_MAX {
        let name = found.as_str().or_else(|| found.get("type")?.as_str()).filter(|_| found.get("params").is_none());
        let Some(named) = name.and_then(|name| root.get("guards")?.get(name)) else { return found };
        found = named.get("when").unwrap_or(named);
    }
    found
}

fn joined(parts: &[String], between: &str, none: &str) -> String {
    match parts {
        [] => none.to_owned(),
        parts => format!("({})", parts.join(between)),
    }
}

/// Whether a field of the event has a value.
fn is_field(key: &str, value: &Node) -> String {
    let key = Value::str(key).to_string();
    format!("({key} in event && event[{key}] == {})", as_text(value))
}

/// A value with expressions in it as one expression.
pub(super) fn as_text(node: &Node) -> String {
    if let Some(text) = expression_of(node).and_then(Node::as_str) {
        return format!("({text})");
    }
    match &node.kind {
        Kind::Array(items) => format!("[{}]", items.iter().map(as_text).collect::<Vec<_>>().join(", ")),
        Kind::Object(members) => {
            let members =
                members.iter().map(|member| format!("{}: {}", Value::Str(member.key.clone()), as_text(&member.value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        _ => node.to_value().to_string(),
    }
}
