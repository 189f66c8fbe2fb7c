//! A definition written for XState: what the other side reads otherwise is put into its words, and what it cannot have is said.
//!
//! `statemesh` reads all that is written here with the same meaning as the definition it was made of.

mod condition;
mod ecmascript;
mod import;
mod scxml;
mod xstate5;
mod xstate6;

use crate::definition::diagnostics::{Diagnostic, Severity};
use crate::definition::json_pos::{Document, Kind, Member, Node};
use crate::expression::expression_of;
use crate::machine::Machine;
use crate::state_set::StateIx;
use statemesh_expr::{List, Map, Str, Value};

pub use import::{import, import_as};

/// Who is to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// XState 6's `createMachineFromConfig`, given an evaluator for CEL.
    XState6,
    /// XState 5's `createMachine`, once expressions are made into functions.
    XState5,
    /// An SCXML document with the datamodel `ecmascript`.
    Scxml,
}

/// The code of what is written and does not do the same on the other side.
pub const OTHERWISE: &str = "exported_otherwise";

/// A definition in another program's format.
#[derive(Debug, Clone)]
pub struct Exported {
    /// JSON, or SCXML, indented.
    pub text: String,
    /// What the other side cannot have: it is not in the text, or, with the code [`OTHERWISE`], it is and means something else there.
    pub lost: Vec<Diagnostic>,
}

impl Machine {
    /// Writes the definition for another program.
    pub fn export(&self, format: ExportFormat) -> Exported {
        let Ok(document) = Document::parse(&self.identity.source, self.limits.definition_depth_max) else {
            return Exported { text: String::new(), lost: Vec::new() };
        };
        if format == ExportFormat::Scxml {
            return scxml::write(self, &document);
        }
        let mut export = Export {
            machine: self,
            document: &document,
            format,
            next: 0,
            lost: Vec::new(),
            delays: Map::new(),
            fixed: &[],
        };
        let root = export.root(&document.root);
        let mut text = String::new();
        indent(&root, 0, &mut text);
        text.push('\n');
        Exported { text, lost: export.lost }
    }
}

struct Export<'e> {
    machine: &'e Machine,
    document: &'e Document<'e>,
    format: ExportFormat,
    /// States are numbered in the order of the document.
    next: StateIx,
    lost: Vec<Diagnostic>,
    /// Delays that have to have a name.
    delays: Map,
    /// Fields of `matches` that ask nothing where it stands: those of `onDone` and the like.
    fixed: &'static [&'static str],
}

impl Export<'_> {
    /// What is missing in what is written.
    fn lose(&mut self, node: &Node, message: impl Into<String>) {
        self.tell(node, "not_exported", message.into(), None);
    }

    /// What is written, and does something else there.
    fn alter(&mut self, node: &Node, message: impl Into<String>, hint: &str) {
        self.tell(node, OTHERWISE, message.into(), Some(hint.to_owned()));
    }

    fn tell(&mut self, node: &Node, code: &'static str, message: String, hint: Option<String>) {
        const LOST_MAX: usize = 200;
        if self.lost.len() >= LOST_MAX {
            return;
        }
        let (line, column) = self.document.position(node.offset);
        let path = self.document.pointer(node.offset);
        let severity = Severity::Warning;
        self.lost.push(Diagnostic { severity, code, path, line, column, message, hint });
    }

    fn is_six(&self) -> bool {
        self.format == ExportFormat::XState6
    }

    fn root(&mut self, root: &Node) -> Value {
        let mut written = self.state(root);
        written.insert("@exprLang", Value::str("cel"));
        let mut meta = root.get("meta").and_then(|meta| meta.to_value().as_map().cloned()).unwrap_or_default();
        if let Some(own) = root.get("@statemesh") {
            meta.insert("statemesh", own.to_value());
            written.insert("meta", Value::Map(meta));
        }
        for member in root.members().unwrap_or(&[]) {
            self.root_member(member, &mut written);
        }
        let mut delays = std::mem::take(&mut self.delays);
        if !delays.is_empty() {
            let known = written.get("delays").and_then(Value::as_map);
            known
                .iter()
                .flat_map(|known| known.iter())
                .for_each(|(key, value)| drop(delays.insert(key.clone(), value.clone())));
            written.insert("delays", Value::Map(delays));
        }
        Value::Map(written)
    }

    fn root_member(&mut self, Member { key, value, .. }: &Member, into: &mut Map) {
        let each = |value: &Node, each: &mut dyn FnMut(&Node) -> Value| {
            let members = value.members().unwrap_or(&[]).iter();
            Value::Map(members.map(|member| (member.key.clone(), each(&member.value))).collect())
        };
        match key.as_str() {
            "context" | "version" | "schemas" | "actors" => drop(into.insert(key.clone(), value.to_value())),
            "actorSources" => drop(into.insert("actors", value.to_value())),
            "actions" => drop(into.insert("actions", each(value, &mut |actions| self.actions(actions)))),
            "guards" => {
                let guards = each(value, &mut |guard| {
                    let condition = guard.get("when").unwrap_or(guard);
                    let written = self.guard(condition).unwrap_or_else(|| expression("false"));
                    object([("when", written)])
                });
                into.insert("guards", guards);
            }
            "delays" => {
                let delays = each(value, &mut |delay| {
                    let duration = delay.get("duration").unwrap_or(delay);
                    // XState 6 takes a delay of 0 that stands by itself for none.
                    let written = constant_delay(duration).map_or_else(|| duration.to_value(), number);
                    object([("duration", written)])
                });
                into.insert("delays", delays);
            }
            _ => {}
        }
    }

    /// A state and those inside it, but for what only the root has.
    fn state(&mut self, node: &Node) -> Map {
        let index = self.next;
        self.next += 1;
        let mut written = Map::new();
        for Member { key, value, .. } in node.members().unwrap_or(&[]) {
            match key.as_str() {
                "id" | "description" | "meta" | "input" | "type" => drop(written.insert(key.clone(), value.to_value())),
                "tags" => drop(written.insert("tags", many(value.one_or_many().iter().map(Node::to_value)))),
                "states" => {
                    let members = value.members().unwrap_or(&[]).iter();
                    let states = members.map(|member| (member.key.clone(), Value::Map(self.state(&member.value))));
                    written.insert("states", Value::Map(states.collect()));
                }
                "on" => self.on(value, &mut written),
                "entry" | "exit" => drop(written.insert(key.clone(), self.actions(value))),
                "always" => drop(written.insert("always", self.transitions(value, &[]))),
                "after" => self.after(value, &mut written),
                "onDone" => self.on_done(index, value, &mut written),
                "onError" => self.on_error(value, &mut written),
                "initial" => self.initial(index, value, &mut written),
                "timeout" => self.timeout(index, node, value, &mut written),
                "choice" => self.choice(node, value, &mut written),
                "history" => self.history(index, node, value, &mut written),
                "target" => drop(written.insert("target", value.to_value())),
                "output" => drop(written.insert("output", self.output(value))),
                "invoke" => self.invoke(value, &mut written),
                "route" => self.route(value, &mut written),
                _ => {}
            }
        }
        self.default_of_history(index, node, &mut written);
        written
    }

    fn id_of(&self, index: StateIx) -> Str {
        self.machine.states.get(usize::from(index)).map(|state| state.id.clone()).unwrap_or_default()
    }

    fn on(&mut self, node: &Node, into: &mut Map) {
        let mut on = into.get("on").and_then(Value::as_map).cloned().unwrap_or_default();
        for member in node.members().unwrap_or(&[]) {
            if !self.is_six() && crate::shapes::FAMILIES.iter().any(|family| family.kind == member.key) {
                self.lose(&member.value, "XState 5 has a name of its own for each of the engine's events");
                continue;
            }
            on.insert(member.key.clone(), self.transitions(&member.value, &[]));
        }
        into.insert("on", Value::Map(on));
    }

    fn after(&mut self, node: &Node, into: &mut Map) {
        let mut after = into.get("after").and_then(Value::as_map).cloned().unwrap_or_default();
        for member in node.members().unwrap_or(&[]) {
            let key = match crate::definition::delay_text::parse_duration(&member.key) {
                // Names come before durations.
                Some(ms) if !self.is_six() && !self.is_delay(&member.key) => Str::new(ms.to_string()),
                _ => member.key.clone(),
            };
            after.insert(key, self.own_transitions(&member.value, &["delay", "stateId"]));
        }
        into.insert("after", Value::Map(after));
    }

    fn is_delay(&self, name: &str) -> bool {
        self.document.root.get("delays").is_some_and(|delays| delays.get(name).is_some())
    }

    /// Those of `onDone` and the like.
    fn own_transitions(&mut self, node: &Node, fixed: &'static [&'static str]) -> Value {
        self.fixed = fixed;
        let written = self.transitions(node, &[]);
        self.fixed = &[];
        written
    }

    /// One transition or several, each an object, with what `more` asks of the event.
    fn transitions(&mut self, node: &Node, more: &[(&str, Value)]) -> Value {
        match &node.kind {
            Kind::Array(items) => many(items.iter().map(|item| self.transition(item, more)).collect::<Vec<_>>()),
            _ => self.transition(node, more),
        }
    }

    fn transition(&mut self, node: &Node, more: &[(&str, Value)]) -> Value {
        let mut written = Map::new();
        if let Some(target) = node.as_str() {
            written.insert("target", Value::str(target));
        }
        let asks: Map = more.iter().map(|(key, value)| (Str::new(key), value.clone())).collect();
        if let Some(matches) = self.matches(node, asks) {
            written.insert("matches", matches);
        }
        for Member { key, value, .. } in node.members().unwrap_or(&[]) {
            match key.as_str() {
                "target" | "context" | "reenter" | "description" | "meta" => {
                    written.insert(key.clone(), value.to_value());
                }
                "actions" => drop(written.insert("actions", self.actions(value))),
                _ => {}
            }
        }
        if let Some(guard) = self.guard_of(node) {
            written.insert("guard", guard);
        }
        if !self.is_six() {
            self.context_as_action(&mut written);
        }
        Value::Map(written)
    }

    /// A list of actions, each an object.
    fn actions(&mut self, node: &Node) -> Value {
        let actions = node.one_or_many();
        let first_assigned = actions.iter().position(|action| self.assigns(action, 0));
        if let Some(first) = first_assigned.filter(|_| self.is_six()) {
            let late = actions.iter().skip(first + 1).find(|action| reads_context(action));
            if let Some(late) = late {
                let message = "XState 6 computes this with the context from before the assignment that comes first";
                self.alter(late, message, "put it before the assignment, with the expression for what is assigned");
            }
        }
        let written: Vec<Value> = actions.iter().filter_map(|action| self.action(action)).collect();
        many(written)
    }

    /// Whether an action changes the context, by the actions that it names too.
    fn assigns(&self, action: &Node, depth: usize) -> bool {
        const NAMES_MAX: usize = 32;
        let kind = action.as_str().or_else(|| action.get("type")?.as_str());
        let named = kind.and_then(|name| self.document.root.get("actions")?.get(name));
        match (kind, named) {
            _ if expression_of(action).is_some() => true,
            (_, Some(named)) if depth < NAMES_MAX => {
                named.one_or_many().iter().any(|action| self.assigns(action, depth + 1))
            }
            (kind, _) => kind == Some("@xstate.assign"),
        }
    }

    fn action(&mut self, node: &Node) -> Option<Value> {
        if let Some(name) = node.as_str() {
            return Some(object([("type", Value::str(name))]));
        }
        if let Some(text) = expression_of(node).and_then(Node::as_str) {
            return Some(self.patch(node, text));
        }
        match node.get("type").and_then(Node::as_str) {
            Some("@xstate.raise" | "@xstate.cancel" | "@xstate.log") if self.is_six() => self.built_in_of_six(node),
            Some("@xstate.sendTo" | "@xstate.spawnChild" | "@xstate.stopChild") if self.is_six() => {
                self.lose(node, "XState 6's JSON has no such action");
                None
            }
            Some("@xstate.raise" | "@xstate.sendTo") => Some(self.with_delay(node)),
            _ => Some(node.to_value()),
        }
    }

    /// A delay that is known as a number: text is none for the others' actions.
    fn with_delay(&mut self, node: &Node) -> Value {
        let delay = node.get("delay").and_then(|delay| self.known_delay(delay));
        match (node.to_value(), delay) {
            (Value::Map(mut map), Some(ms)) => {
                map.insert("delay", number(ms));
                Value::Map(map)
            }
            (value, _) => value,
        }
    }

    /// Milliseconds, if these are known: also those of a delay by its name.
    fn known_delay(&self, delay: &Node) -> Option<u64> {
        let named = delay.as_str().and_then(|name| self.document.root.get("delays")?.get(name));
        match named {
            Some(named) => constant_delay(named.get("duration").unwrap_or(named)),
            None => constant_delay(delay),
        }
    }
}

/// Whether an expression in it reads the context.
fn reads_context(node: &Node) -> bool {
    if let Some(text) = expression_of(node).and_then(Node::as_str) {
        return text.contains("context");
    }
    match &node.kind {
        Kind::Array(items) => items.iter().any(reads_context),
        Kind::Object(members) => members.iter().any(|member| reads_context(&member.value)),
        _ => false,
    }
}

fn constant_delay(node: &Node) -> Option<u64> {
    match node.as_str() {
        Some(text) => crate::definition::delay_text::parse_duration(text),
        None => node.as_f64().map(crate::definition::delay_text::milliseconds),
    }
}

fn number(ms: u64) -> Value {
    Value::Int(i64::try_from(ms).unwrap_or(i64::MAX))
}

pub(crate) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(fields.into_iter().map(|(key, value)| (Str::new(key), value)).collect())
}

pub(crate) fn many(items: impl IntoIterator<Item = Value>) -> Value {
    Value::List(items.into_iter().collect::<List>())
}

/// Whether a condition is true or false, as far as its text shows: one that compares, or is a word for that. ECMAScript also takes what
/// only counts as such.
pub(crate) fn is_boolean(source: &str) -> bool {
    source.contains(['=', '<', '>'])
        || source.split(|c: char| !c.is_alphanumeric()).any(|word| matches!(word, "true" | "false"))
}

pub(crate) fn expression(text: &str) -> Value {
    object([("@expr", Value::str(text))])
}

/// JSON with two spaces for each level; what is short stays on its line.
pub(crate) fn indent(value: &Value, depth: usize, into: &mut String) {
    const LINE_BYTES_MAX: usize = 100;
    let plain = value.to_string();
    let (open, close, items): (_, _, Vec<(Option<&Str>, &Value)>) = match value {
        Value::Map(map) if plain.len() + depth * 2 > LINE_BYTES_MAX => {
            ('{', '}', map.iter().map(|(key, value)| (Some(key), value)).collect())
        }
        Value::List(list) if plain.len() + depth * 2 > LINE_BYTES_MAX => {
            ('[', ']', list.as_slice().iter().map(|value| (None, value)).collect())
        }
        _ => return into.push_str(&plain),
    };
    into.push(open);
    for (number, (key, item)) in items.iter().enumerate() {
        into.push_str(if number == 0 { "\n" } else { ",\n" });
        into.push_str(&"  ".repeat(depth + 1));
        if let Some(key) = key {
            into.push_str(&Value::Str((*key).clone()).to_string());
            into.push_str(": ");
        }
        indent(item, depth + 1, into);
    }
    into.push('\n');
    into.push_str(&"  ".repeat(depth));
    into.push(close);
}
