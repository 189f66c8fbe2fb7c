//! What XState 6 has other words for: its JSON knows no `onDone` of states, no texts in place of transitions, and reads expressions
//! in fewer places.

use super::condition::as_text;
use super::{Export, expression, many, number, object};
use crate::definition::json_pos::{Kind, Member, Node};
use crate::expression::{expression_of, is_dynamic};
use crate::state::StateKind;
use crate::state_set::StateIx;
use statemesh_expr::{Map, Str, Value};

impl Export<'_> {
    pub(super) fn on_done(&mut self, index: StateIx, node: &Node, into: &mut Map) {
        if !self.is_six() {
            into.insert("onDone", self.own_transitions(node, &["stateId"]));
            return;
        }
        let id = Value::Str(self.id_of(index));
        let transitions = self.transitions(node, &[("stateId", id)]);
        let transitions = if matches!(transitions, Value::List(_)) { transitions } else { many([transitions]) };
        let mut on = into.get("on").and_then(Value::as_map).cloned().unwrap_or_default();
        on.insert("xstate.done.state", transitions);
        into.insert("on", Value::Map(on));
    }

    pub(super) fn on_error(&mut self, node: &Node, into: &mut Map) {
        match self.is_six() {
            true => drop(into.insert("onError", self.transitions(node, &[]))),
            false => self.lose(node, "XState 5 has no onError of states: the machine fails there"),
        }
    }

    pub(super) fn initial(&mut self, index: StateIx, node: &Node, into: &mut Map) {
        let target = node.get("target").unwrap_or(node);
        if !self.is_six() && node.get("target").is_some() {
            let actions = node.get("actions").map(|actions| self.actions(actions));
            let target = Value::str(self.initial_key(index, target));
            let target = [("target", Some(target)), ("actions", actions)].into_iter();
            let written = target.filter_map(|(key, value)| Some((Str::new(key), value?)));
            into.insert("initial", Value::Map(written.collect()));
            return;
        }
        if let Some(actions) = node.get("actions") {
            self.lose(actions, "XState 6's JSON has no actions of `initial`");
        }
        into.insert("initial", Value::str(self.initial_key(index, target)));
    }

    /// The key of the child that is entered by default.
    fn initial_key(&self, index: StateIx, target: &Node) -> Str {
        let initial = self.machine.states.get(usize::from(index)).and_then(|state| state.initial.as_ref());
        let key = initial.map(|initial| self.machine.state(initial.target).key.text.clone());
        key.or_else(|| target.as_str().map(Str::new)).unwrap_or_default()
    }

    pub(super) fn timeout(&mut self, index: StateIx, node: &Node, timeout: &Node, into: &mut Map) {
        let Some(taken) = node.get("onTimeout") else { return };
        let transitions = self.own_transitions(taken, &["stateId"]);
        if self.is_six() {
            into.insert("timeout", timeout.to_value());
            into.insert("onTimeout", transitions);
            return;
        }
        let name = match (self.known_delay(timeout), timeout.as_str()) {
            (Some(ms), _) => Str::new(ms.to_string()),
            (None, Some(name)) => Str::new(name),
            (None, None) => {
                let name = Str::new(format!("timeout of {}", self.id_of(index)));
                self.delays.insert(name.clone(), object([("duration", timeout.to_value())]));
                name
            }
        };
        let mut after = into.get("after").and_then(Value::as_map).cloned().unwrap_or_default();
        if after.contains_key(&name) || node.get("after").is_some_and(|after| after.get(&name).is_some()) {
            self.lose(timeout, "its time is one of `after` already: XState 5 has one timer for both");
            return;
        }
        after.insert(name, transitions);
        into.insert("after", Value::Map(after));
    }

    pub(super) fn history(&mut self, _: StateIx, node: &Node, value: &Node, into: &mut Map) {
        let kind = if value.as_str() == Some("deep") { "deep" } else { "shallow" };
        if value.as_bool() != Some(false) {
            into.insert("history", Value::str(kind));
        }
        if node.get("type").is_none() && value.as_bool() != Some(false) {
            into.insert("type", Value::str("history"));
        }
    }

    /// XState 6 wants each history state to say where it leads at first.
    pub(super) fn default_of_history(&mut self, index: StateIx, node: &Node, into: &mut Map) {
        let machine = self.machine;
        let Some(state) = machine.states.get(usize::from(index)) else { return };
        let StateKind::History(history) = state.kind else { return };
        if !self.is_six() || node.get("target").is_some() {
            return;
        }
        let targets = &machine.history[usize::from(history)].targets;
        let ids: Vec<String> = targets.iter().map(|target| format!("#{}", machine.state(*target).id)).collect();
        match &ids[..] {
            [only] => drop(into.insert("target", Value::str(only))),
            _ => self.lose(node, "XState 6 wants a target of each history state"),
        }
    }

    /// XState 6 reads an expression as the whole of an output only.
    pub(super) fn output(&mut self, node: &Node) -> Value {
        match self.is_six() && expression_of(node).is_none() && is_dynamic(node) {
            true => expression(&as_text(node)),
            false => node.to_value(),
        }
    }

    pub(super) fn invoke(&mut self, node: &Node, into: &mut Map) {
        let invokes: Vec<Value> = node.one_or_many().iter().map(|item| self.invoked(item)).collect();
        let written = match (&node.kind, invokes.len()) {
            (Kind::Object(_), 1) => invokes.into_iter().next().unwrap_or_default(),
            _ => many(invokes),
        };
        into.insert("invoke", written);
    }

    fn invoked(&mut self, node: &Node) -> Value {
        let mut written = Map::new();
        for Member { key, value, .. } in node.members().unwrap_or(&[]) {
            match key.as_str() {
                "onDone" | "onError" | "onSnapshot" => {
                    written.insert(key.clone(), self.own_transitions(value, &["actorId"]));
                }
                "timeout" if self.is_six() => drop(written.insert("timeout", value.to_value())),
                "onTimeout" if self.is_six() => drop(written.insert("onTimeout", self.transitions(value, &[]))),
                "timeout" => self.lose(value, "XState 5 has no timeout of an invoked machine: use `after`"),
                "onTimeout" => {}
                _ => drop(written.insert(key.clone(), value.to_value())),
            }
        }
        Value::Map(written)
    }

    pub(super) fn route(&mut self, node: &Node, into: &mut Map) {
        if !self.is_six() {
            into.insert("route", node.to_value());
            return;
        }
        let mut written = Map::new();
        for Member { key, value, .. } in node.members().unwrap_or(&[]) {
            match (key.as_str(), value.as_str().or_else(|| value.get("type")?.as_str())) {
                ("guard", Some(name)) if value.get("params").is_none() => {
                    drop(written.insert("guard", Value::str(name)))
                }
                ("guard", _) => self.lose(value, "the guard of a route is a name in XState 6's JSON"),
                ("actions", _) => self.lose(value, "XState 6's JSON has no actions of routes"),
                _ => drop(written.insert(key.clone(), value.to_value())),
            }
        }
        into.insert("route", Value::Map(written));
    }

    /// Raise, cancel and log: XState 6 reads no expressions in their ids, delays and arguments.
    pub(super) fn built_in_of_six(&mut self, node: &Node) -> Option<Value> {
        let Value::Map(mut written) = node.to_value() else { return None };
        if let Some(delay) = node.get("delay") {
            let Some(ms) = self.known_delay(delay) else {
                self.lose(delay, "XState 6's JSON has no computed delay of an action");
                return None;
            };
            written.insert("delay", number(ms));
        }
        let computed = ["id", "args"].into_iter().filter_map(|key| node.get(key)).find(|value| is_dynamic(value));
        if let Some(computed) = computed {
            self.lose(computed, "XState 6 does not compute this: it takes the expression for the value");
            return None;
        }
        if node.get("type").and_then(Node::as_str) == Some("@xstate.log") {
            let args = node.get("args").map(|args| many(args.one_or_many().iter().map(Node::to_value)));
            written.insert("args", args.unwrap_or_else(|| many([])));
        }
        Some(Value::Map(written))
    }
}
