//! A definition as an SCXML document. It is written from XState 5's words, which have no `choice`, `matches` and timeouts of states.
//!
//! What SCXML has no words for is left out and said. An effect becomes a `<send>` of the type `effect`, for the platform's processor of events.

use super::ecmascript::{of_cel, of_value};
use super::{ExportFormat, Exported, OTHERWISE, is_boolean};
use crate::definition::diagnostics::{Diagnostic, Severity};
use crate::definition::json_pos::{Document, Node};
use crate::machine::Machine;
use statemesh_expr::{Map, Str, Value};
use std::collections::HashMap;

/// Writes the document.
pub(super) fn write(machine: &Machine, document: &Document<'_>) -> Exported {
    let five = machine.export(ExportFormat::XState5);
    let root = Value::from_json(five.text.as_bytes(), &Default::default()).ok();
    let root = root.as_ref().and_then(Value::as_map).cloned().unwrap_or_default();
    let mut writer = Writer {
        root,
        document,
        ids: Vec::new(),
        names: HashMap::new(),
        out: String::new(),
        depth: 0,
        timers: 0,
        lost: five.lost,
    };
    writer.document();
    Exported { text: writer.out, lost: writer.lost }
}

/// Where something stands, by the keys of the states above it and by what it is.
#[derive(Clone)]
struct At {
    state: Vec<String>,
    place: String,
}

impl At {
    fn inner(&self, place: &str) -> At {
        At { state: self.state.clone(), place: format!("{}/{place}", self.place) }
    }
}

struct Writer<'e> {
    root: Map,
    document: &'e Document<'e>,
    /// States by their ids, as paths of keys.
    ids: Vec<(String, Vec<String>)>,
    /// Ids as XML may have them.
    names: HashMap<String, String>,
    out: String,
    depth: usize,
    timers: u32,
    lost: Vec<Diagnostic>,
}

impl Writer<'_> {
    fn document(&mut self) {
        let root = std::mem::take(&mut self.root);
        let id = root.get("id").and_then(Value::as_str).unwrap_or("machine").to_owned();
        self.gather(&root, &id, &mut Vec::new());
        self.root = root.clone();
        // What belongs to the machine as a whole needs a state around all others: <scxml> itself has no transitions.
        const NEEDS_STATE: [&str; 9] = ["entry", "exit", "on", "always", "after", "invoke", "type", "onDone", "tags"];
        let first = root.get("initial").and_then(Value::as_str).map(|key| vec![key.to_owned()]);
        let first = first.filter(|_| NEEDS_STATE.iter().all(|key| root.get(key).is_none()));
        self.names.insert(id.clone(), "root".to_owned());
        let initial = self.id_of(first.as_deref().unwrap_or_default());
        let initial = self.name(&initial);
        let name = escape(&id);
        self.out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        self.open(&format!(
            "scxml xmlns=\"http://www.w3.org/2005/07/scxml\" version=\"1.0\" datamodel=\"ecmascript\" name=\"{name}\" initial=\"{initial}\""
        ));
        self.data(&root);
        let at = At { state: Vec::new(), place: String::new() };
        if first.is_some() {
            self.output(&root, &at, false);
            self.children(&root, &at);
        } else {
            self.state(&root, &at);
        }
        self.close("scxml");
    }

    fn children(&mut self, state: &Map, at: &At) {
        let children: Vec<(String, Map)> = members(state.get("states"))
            .filter_map(|(key, child)| Some((key.to_owned(), child.as_map()?.clone())))
            .collect();
        for (key, child) in children {
            let path = at.state.iter().cloned().chain([key.clone()]).collect();
            self.state(&child, &At { state: path, place: format!("{}/states/{key}", at.place) });
        }
    }

    fn gather(&mut self, state: &Map, root: &str, path: &mut Vec<String>) {
        let own = state.get("id").and_then(Value::as_str).map(str::to_owned);
        let id = own.unwrap_or_else(|| {
            std::iter::once(root).chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(".")
        });
        self.ids.push((id, path.clone()));
        for (key, child) in members(state.get("states")) {
            if let Some(child) = child.as_map() {
                path.push(key.to_owned());
                self.gather(child, root, path);
                path.pop();
            }
        }
    }

    fn data(&mut self, root: &Map) {
        let Some(context) = root.get("context") else { return };
        self.open("datamodel");
        for (key, value) in members(Some(context)) {
            match of_value(value, &|_| false).filter(|_| is_name(key)) {
                Some(text) => self.line(&format!("data id=\"{key}\" expr=\"{}\"", escape(&text))),
                None => {
                    // What reads and assigns it is written all the same.
                    if is_name(key) {
                        self.line(&format!("data id=\"{key}\""));
                    }
                    let at = At { state: Vec::new(), place: format!("/context/{key}") };
                    self.lose(&at, "SCXML's datamodel cannot compute this");
                }
            }
        }
        if context.as_map().is_none() {
            self.lose(&At { state: Vec::new(), place: "/context".to_owned() }, "SCXML's datamodel cannot compute this");
        }
        self.close("datamodel");
    }

    fn state(&mut self, state: &Map, at: &At) {
        let id = self.id_of(&at.state);
        let id = self.name(&id);
        let kind = state.get("type").and_then(Value::as_str);
        if kind == Some("history") {
            return self.history(state, at, &id);
        }
        let element = match kind {
            Some("parallel") => "parallel",
            Some("final") => "final",
            _ => "state",
        };
        self.open(&format!("{element} id=\"{id}\""));
        if element == "state" && self.has_children(&at.state) {
            self.initial(state, at);
        }
        let timers = self.timers(state, at);
        self.block(
            "onentry",
            state.get("entry"),
            at,
            &timers.iter().map(|timer| timer.start.clone()).collect::<Vec<_>>(),
        );
        self.block("onexit", state.get("exit"), at, &timers.iter().map(|timer| timer.stop.clone()).collect::<Vec<_>>());
        for transition in one_or_many(state.get("always")) {
            self.transition(None, &transition, &at.inner("always"));
        }
        self.events(state, at);
        for timer in &timers {
            for transition in one_or_many(Some(&timer.transitions)) {
                self.transition(Some(&timer.event), &transition, &at.inner("after"));
            }
        }
        for transition in one_or_many(state.get("onDone")) {
            self.transition(Some(&format!("done.state.{id}")), &transition, &at.inner("onDone"));
        }
        for (number, invoke) in one_or_many(state.get("invoke")).iter().enumerate() {
            self.invoke(number, invoke, at);
        }
        self.output(state, at, element == "final");
        for key in ["tags", "route"] {
            if state.get(key).is_some() {
                self.lose(&at.inner(key), &format!("SCXML has no {key}"));
            }
        }
        self.children(state, at);
        self.close(element);
    }

    fn initial(&mut self, state: &Map, at: &At) {
        let initial = state.get("initial");
        let target =
            initial.and_then(|initial| initial.get("target")).or(initial).and_then(Value::as_str).unwrap_or_default();
        let mut path = at.state.clone();
        path.push(target.to_owned());
        let id = self.id_of(&path);
        let target = self.name(&id);
        self.open("initial");
        self.open(&format!("transition target=\"{target}\""));
        for action in one_or_many(initial.and_then(|initial| initial.get("actions"))) {
            self.action(&action, &at.inner("initial"), 0);
        }
        self.close("transition");
        self.close("initial");
    }

    fn history(&mut self, state: &Map, at: &At, id: &str) {
        let kind = state.get("history").and_then(Value::as_str).unwrap_or("shallow");
        self.open(&format!("history id=\"{id}\" type=\"{kind}\""));
        let targets = one_or_many(state.get("target"));
        let targets: Vec<String> =
            targets.iter().filter_map(Value::as_str).filter_map(|target| self.target(target, at)).collect();
        match targets.is_empty() {
            false => self.line(&format!("transition target=\"{}\"", targets.join(" "))),
            true => self.lose(at, "SCXML wants a target of each history state"),
        }
        self.close("history");
    }

    fn block(&mut self, element: &str, actions: Option<&Value>, at: &At, more: &[String]) {
        let actions = one_or_many(actions);
        if actions.is_empty() && more.is_empty() {
            return;
        }
        self.open(element);
        let at = at.inner(if element == "onentry" { "entry" } else { "exit" });
        actions.iter().for_each(|action| self.action(action, &at, 0));
        more.iter().for_each(|line| self.line(line));
        self.close(element);
    }

    /// Exact names before wildcards, longer ones first: SCXML takes the first that fits, and a name fits all that begin with it.
    fn events(&mut self, state: &Map, at: &At) {
        let mut events: Vec<(&str, &Value)> = members(state.get("on")).collect();
        events.sort_by_key(|(name, _)| (name.ends_with('*'), std::cmp::Reverse(name.len())));
        for (name, transitions) in events {
            let place = At { state: at.state.clone(), place: format!("{}/on/{}", at.place, name.replace('/', "~1")) };
            let Some(event) = self.event_name(name) else {
                self.lose(&place, "SCXML has no such event");
                continue;
            };
            for transition in one_or_many(Some(transitions)) {
                self.transition(Some(&event), &transition, &place);
            }
        }
    }

    /// The engine's own events without XState's prefix.
    fn event_name(&mut self, name: &str) -> Option<String> {
        if let Some(id) = name.strip_prefix("xstate.done.state.") {
            return Some(format!("done.state.{}", self.name(id)));
        }
        if let Some(id) = name.strip_prefix("xstate.done.actor.") {
            return Some(format!("done.invoke.{}", self.name(id)));
        }
        (!name.starts_with("xstate.") && !name.contains(char::is_whitespace)).then(|| escape(name))
    }

    fn transition(&mut self, event: Option<&str>, transition: &Value, at: &At) {
        let mut element = "transition".to_owned();
        event.iter().for_each(|event| element.push_str(&format!(" event=\"{event}\"")));
        if let Some(guard) = transition.get("guard") {
            match self.condition(guard, 0) {
                Some(condition) => element.push_str(&format!(" cond=\"{}\"", escape(&condition))),
                None => {
                    return self
                        .lose(&at.inner("guard"), "this guard has no equal in ECMAScript: its transition is missing");
                }
            }
        }
        let given = one_or_many(transition.get("target").or_else(|| transition.as_str().map(|_| transition)));
        let paths: Vec<Option<Vec<String>>> =
            given.iter().filter_map(Value::as_str).map(|target| self.resolve(target, &at.state)).collect();
        let reenters = matches!(transition.get("reenter"), Some(Value::Bool(true)));
        let is_atomic = !self.has_children(&at.state);
        let own = paths.iter().flatten().any(|path| *path == at.state);
        let inside = !paths.is_empty()
            && paths.iter().flatten().all(|path| path.len() > at.state.len() && path.starts_with(&at.state));
        let stays = own && !reenters;
        if stays && !is_atomic {
            let message = "SCXML has no transition to its own source that does not exit it";
            self.tell(
                at,
                OTHERWISE,
                message,
                Some("add \"reenter\": true, or name the children that it is to begin with"),
            );
        }
        let names: Vec<String> = paths.iter().flatten().map(|path| self.id_of(path)).collect();
        let names: Vec<String> = names.iter().map(|id| self.name(id)).collect();
        let only_actions = stays && is_atomic;
        if !names.is_empty() && !only_actions {
            element.push_str(&format!(" target=\"{}\"", names.join(" ")));
        }
        if inside && !reenters {
            element.push_str(" type=\"internal\"");
        }
        let actions = one_or_many(transition.get("actions"));
        if actions.is_empty() {
            return self.line(&element);
        }
        self.open(&element);
        let at = at.inner("actions");
        actions.iter().for_each(|action| self.action(action, &at, 0));
        self.close("transition");
    }

    /// A guard as ECMAScript.
    fn condition(&mut self, guard: &Value, depth: usize) -> Option<String> {
        const DEPTH_MAX: usize = 32;
        if depth > DEPTH_MAX {
            return None;
        }
        if let Some(text) = guard.get("@expr").and_then(Value::as_str) {
            let written = self.expression(text)?;
            return Some(if is_boolean(&written) { written } else { format!("({written}) === true") });
        }
        let kind = guard.as_str().or_else(|| guard.get("type")?.as_str())?.to_owned();
        let parts = one_or_many(guard.get("guards"));
        let mut all = |sign: &str, empty: &str| {
            let parts: Option<Vec<String>> = parts.iter().map(|part| self.condition(part, depth + 1)).collect();
            let parts: Vec<String> = parts?.iter().map(|part| format!("({part})")).collect();
            Some(if parts.is_empty() { empty.to_owned() } else { parts.join(sign) })
        };
        match kind.as_str() {
            "xstate.and" => all(" && ", "true"),
            "xstate.or" => all(" || ", "false"),
            "xstate.not" => all("", "false").map(|part| format!("!{part}")),
            "xstate.stateIn" => {
                let id = guard.get("id").or_else(|| guard.get("stateValue")).and_then(Value::as_str)?.to_owned();
                let path = self.resolve(&format!("#{}", id.trim_start_matches('#')), &[])?;
                let id = self.id_of(&path);
                Some(format!("In('{}')", self.name(&id)))
            }
            _ if guard.get("params").is_some() => None,
            name => {
                let named = self.root.get("guards")?.get(name)?;
                let named = named.get("when").unwrap_or(named).clone();
                self.condition(&named, depth + 1)
            }
        }
    }

    fn action(&mut self, action: &Value, at: &At, depth: usize) {
        const DEPTH_MAX: usize = 32;
        let Some(kind) = action.as_str().or_else(|| action.get("type")?.as_str()).map(str::to_owned) else { return };
        let named = self.root.get("actions").and_then(|actions| actions.get(&kind)).cloned();
        if let Some(named) = named.filter(|_| depth < DEPTH_MAX) {
            return one_or_many(Some(&named)).iter().for_each(|action| self.action(action, at, depth + 1));
        }
        match kind.as_str() {
            "@xstate.assign" => self.assign(action, at),
            "@xstate.raise" => self.send(action, at, (action.get("delay").is_none()).then_some("#_internal"), None),
            "@xstate.sendTo" => {
                let to = action
                    .get("to")
                    .and_then(Value::as_str)
                    .map(|to| if to == "#_parent" { to.to_owned() } else { format!("#_{to}") });
                self.send(action, at, to.as_deref(), None);
            }
            "@xstate.emit" => self.send(action, at, None, Some("emit")),
            "@xstate.cancel" => match action.get("id").and_then(Value::as_str) {
                Some(id) => self.line(&format!("cancel sendid=\"{}\"", escape(id))),
                None => self.lose(at, "this id is computed"),
            },
            "@xstate.log" => match self.value(action.get("args").unwrap_or(&Value::Null)) {
                Some(text) => self.line(&format!("log expr=\"{}\"", escape(&text))),
                None => self.lose(at, "what is logged has no equal in ECMAScript"),
            },
            kind if kind.starts_with("@xstate.") => self.lose(at, &format!("SCXML has no {kind}")),
            kind => self.sent(kind, action.get("params"), "type=\"effect\"", at),
        }
    }

    /// All values see the context as it was; SCXML assigns one after the other.
    fn assign(&mut self, action: &Value, at: &At) {
        let Some(context) =
            action.get("context").and_then(Value::as_map).filter(|map| map.get("@expr").is_none()).cloned()
        else {
            return self.lose(at, "SCXML assigns one key after the other");
        };
        let mut done: Vec<String> = Vec::new();
        for (key, value) in context.iter() {
            match self.value(value).filter(|_| self.is_key(key.as_str())) {
                Some(text) if !done.iter().any(|key| reads(&text, key)) => {
                    self.line(&format!("assign location=\"{key}\" expr=\"{}\"", escape(&text)));
                    done.push(key.to_string());
                }
                Some(_) => self.lose(at, &format!("{key:?} reads what was assigned just before it, in SCXML")),
                None if !self.is_key(key.as_str()) => self.lose(at, &format!("SCXML has no data called {key:?}")),
                None => self.lose(at, &format!("the value of {key:?} has no equal in ECMAScript")),
            }
        }
    }

    fn send(&mut self, action: &Value, at: &At, target: Option<&str>, kind: Option<&str>) {
        let event = action.get("event").cloned().unwrap_or_default();
        let Some(name) = event.get("type").or(Some(&event)).and_then(Value::as_str).map(str::to_owned) else {
            return self.lose(at, "this event's type is computed");
        };
        let mut attributes = Vec::new();
        target.iter().for_each(|target| attributes.push(format!("target=\"{}\"", escape(target))));
        kind.iter().for_each(|kind| attributes.push(format!("type=\"{kind}\"")));
        if let Some(delay) = action.get("delay") {
            match self.delay(delay) {
                Some(delay) => attributes.push(delay),
                None => return self.lose(at, "this delay has no equal in ECMAScript"),
            }
        }
        action
            .get("id")
            .and_then(Value::as_str)
            .into_iter()
            .for_each(|id| attributes.push(format!("id=\"{}\"", escape(id))));
        let fields: Map = members(Some(&event))
            .filter(|(key, _)| *key != "type")
            .map(|(key, value)| (Str::new(key), value.clone()))
            .collect();
        self.sent(&name, Some(&Value::Map(fields)), &attributes.join(" "), at);
    }

    fn sent(&mut self, event: &str, params: Option<&Value>, attributes: &str, at: &At) {
        let space = if attributes.is_empty() { "" } else { " " };
        let element = format!("send event=\"{}\"{space}{attributes}", escape(event));
        let params: Vec<(String, Value)> =
            members(params).map(|(key, value)| (key.to_owned(), value.clone())).collect();
        if params.is_empty() {
            return self.line(&element);
        }
        self.open(&element);
        self.params(&params, at);
        self.close("send");
    }

    fn params(&mut self, params: &[(String, Value)], at: &At) {
        for (key, value) in params {
            match self.value(value) {
                Some(text) => self.line(&format!("param name=\"{}\" expr=\"{}\"", escape(key), escape(&text))),
                None => self.lose(at, &format!("the value of {key:?} has no equal in ECMAScript")),
            }
        }
    }

    fn invoke(&mut self, number: usize, invoke: &Value, at: &At) {
        let own = invoke.get("id").and_then(Value::as_str).map(str::to_owned);
        let id = own.unwrap_or_else(|| format!("{number}.{}", self.id_of(&at.state)));
        let id = self.name(&id);
        let src = invoke.get("src").and_then(Value::as_str).unwrap_or_default();
        let element = format!("invoke type=\"http://www.w3.org/TR/scxml/\" src=\"{}.scxml\" id=\"{id}\"", escape(src));
        let params: Vec<(String, Value)> =
            members(invoke.get("input")).map(|(key, value)| (key.to_owned(), value.clone())).collect();
        self.open(&element);
        self.params(&params, &at.inner("invoke"));
        self.close("invoke");
        for transition in one_or_many(invoke.get("onDone")) {
            self.transition(Some(&format!("done.invoke.{id}")), &transition, &at.inner("invoke"));
        }
        for key in ["onError", "onSnapshot"] {
            if invoke.get(key).is_some() {
                self.lose(&at.inner("invoke"), &format!("SCXML has no {key} of an invoked machine"));
            }
        }
    }

    fn output(&mut self, state: &Map, at: &At, is_final: bool) {
        let Some(output) = state.get("output") else { return };
        if !is_final {
            return self.lose(&at.inner("output"), "SCXML has the output of final states only");
        }
        let params: Vec<(String, Value)> =
            members(Some(output)).map(|(key, value)| (key.to_owned(), value.clone())).collect();
        self.open("donedata");
        if output.get("@expr").is_some() || params.is_empty() {
            match self.value(output) {
                Some(text) => self.line(&format!("content expr=\"{}\"", escape(&text))),
                None => self.lose(&at.inner("output"), "this output has no equal in ECMAScript"),
            }
        } else {
            self.params(&params, &at.inner("output"));
        }
        self.close("donedata");
    }

    /// What `after` is in SCXML: an event to itself, sent on entry and cancelled on exit.
    fn timers(&mut self, state: &Map, at: &At) -> Vec<Timer> {
        let mut timers = Vec::new();
        for (delay, transitions) in members(state.get("after")) {
            let written = match delay.parse::<u64>() {
                Ok(ms) => Some(format!("delay=\"{ms}ms\"")),
                Err(_) => self.delay(&Value::str(delay)),
            };
            let Some(written) = written else {
                self.lose(&at.inner("after"), "this delay has no equal in ECMAScript");
                continue;
            };
            self.timers += 1;
            let event = format!("after.{}", self.timers);
            let start = format!("send event=\"{event}\" id=\"{event}\" {written}");
            timers.push(Timer {
                start,
                stop: format!("cancel sendid=\"{event}\""),
                event,
                transitions: transitions.clone(),
            });
        }
        timers
    }

    /// The attribute that says when.
    fn delay(&self, delay: &Value) -> Option<String> {
        let named = delay.as_str().and_then(|name| self.root.get("delays")?.get(name));
        let named = named.map(|named| named.get("duration").unwrap_or(named));
        let delay = named.unwrap_or(delay);
        let constant = match delay.as_str() {
            Some(text) => crate::definition::delay_text::parse_duration(text),
            None => delay.as_f64().map(crate::definition::delay_text::milliseconds),
        };
        match constant {
            Some(ms) => Some(format!("delay=\"{ms}ms\"")),
            None => {
                Some(format!("delayexpr=\"({}) + 'ms'\"", escape(&self.expression(delay.get("@expr")?.as_str()?)?)))
            }
        }
    }

    fn expression(&self, text: &str) -> Option<String> {
        of_cel(text, &|key| self.is_key(key))
    }

    fn value(&self, value: &Value) -> Option<String> {
        of_value(value, &|key| self.is_key(key))
    }

    fn is_key(&self, key: &str) -> bool {
        self.root.get("context").and_then(|context| context.get(key)).is_some() && is_name(key)
    }

    fn has_children(&self, path: &[String]) -> bool {
        self.ids.iter().any(|(_, other)| other.len() > path.len() && other.starts_with(path))
    }

    fn id_of(&self, path: &[String]) -> String {
        let found = self.ids.iter().find(|(_, other)| other == path);
        found.map_or_else(|| path.join("."), |(id, _)| id.clone())
    }

    fn target(&mut self, target: &str, at: &At) -> Option<String> {
        let path = self.resolve(target, &at.state)?;
        let id = self.id_of(&path);
        Some(self.name(&id))
    }

    /// The path of the state that a target names, seen from `source`.
    fn resolve(&self, target: &str, source: &[String]) -> Option<Vec<String>> {
        if let Some(id) = target.strip_prefix('#') {
            let plain = id.replace("\\.", ".");
            let fits =
                |known: &str| plain == known || plain.strip_prefix(known).is_some_and(|rest| rest.starts_with('.'));
            let (known, path) =
                self.ids.iter().filter(|(known, _)| fits(known)).max_by_key(|(known, _)| known.len())?;
            let rest = plain.get(known.len()..)?.trim_start_matches('.');
            return Some(path.iter().cloned().chain(segments(rest)).collect());
        }
        if let Some(inner) = target.strip_prefix('.') {
            return Some(source.iter().cloned().chain(segments(inner)).collect());
        }
        let (_, parent) = source.split_last()?;
        Some(parent.iter().cloned().chain(segments(target)).collect())
    }

    /// An id as XML may have it, and no other state has.
    fn name(&mut self, id: &str) -> String {
        if let Some(name) = self.names.get(id) {
            return name.clone();
        }
        let allowed = |c: char| if c.is_alphanumeric() || matches!(c, '_' | '-' | '.') { c } else { '_' };
        let mut name: String = id.chars().map(allowed).collect();
        if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            name.insert(0, '_');
        }
        while self.names.values().any(|other| *other == name) {
            name.push('_');
        }
        self.names.insert(id.to_owned(), name.clone());
        name
    }

    fn open(&mut self, element: &str) {
        self.indent();
        self.out.push_str(&format!("<{element}>\n"));
        self.depth += 1;
    }

    fn close(&mut self, element: &str) {
        self.depth = self.depth.saturating_sub(1);
        self.indent();
        self.out.push_str(&format!("</{element}>\n"));
    }

    fn line(&mut self, element: &str) {
        self.indent();
        self.out.push_str(&format!("<{element}/>\n"));
    }

    fn indent(&mut self) {
        self.out.push_str(&"  ".repeat(self.depth));
    }

    /// What is missing, with the nearest place of the definition.
    fn lose(&mut self, at: &At, message: &str) {
        self.tell(at, "not_exported", message, None);
    }

    fn tell(&mut self, at: &At, code: &'static str, message: &str, hint: Option<&str>) {
        const LOST_MAX: usize = 200;
        if self.lost.len() >= LOST_MAX {
            return;
        }
        let mut node: &Node = &self.document.root;
        for key in at.place.split('/').filter(|key| !key.is_empty()) {
            match node.get(&key.replace("~1", "/")) {
                Some(inner) => node = inner,
                None => break,
            }
        }
        let (line, column) = self.document.position(node.offset);
        let path = self.document.pointer(node.offset);
        let (severity, message, hint) = (Severity::Warning, message.to_owned(), hint.map(str::to_owned));
        self.lost.push(Diagnostic { severity, code, path, line, column, message, hint });
    }
}

struct Timer {
    start: String,
    stop: String,
    event: String,
    transitions: Value,
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&str, &Value)> {
    value.and_then(Value::as_map).into_iter().flat_map(|map| map.iter()).map(|(key, value)| (key.as_str(), value))
}

fn one_or_many(value: Option<&Value>) -> Vec<Value> {
    match value {
        None => Vec::new(),
        Some(Value::List(items)) => items.as_slice().to_vec(),
        Some(one) => vec![one.clone()],
    }
}

/// The keys of a path; a dot behind a backslash is one of a key.
fn segments(path: &str) -> Vec<String> {
    const DOT: char = '\u{0}';
    let plain = path.replace("\\.", &DOT.to_string());
    plain.split('.').filter(|part| !part.is_empty()).map(|part| part.replace(DOT, ".")).collect()
}

fn is_name(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether an expression reads this id.
fn reads(text: &str, id: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| word == id)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\n', "&#10;")
}
