//! SCXML documents as definitions, as far as they need no more ECMAScript than CEL has; what `export` writes comes back.

mod expression;
mod xml;

use crate::definition::diagnostics::{Diagnostic, Severity};
use crate::definition::export::{expression, indent, many, object};
use crate::definition::json_pos::position;
use crate::limits::Limits;
use expression::{joined, to_cel, to_guard, unknown_name, value_of};
use statemesh_expr::{Map, Str, Value};
use std::collections::HashMap;
use xml::Element;

/// Makes a definition of an SCXML document. What has no equal here is an error with its place.
pub fn import_scxml(source: &str, limits: &Limits) -> Result<String, Diagnostic> {
    let refused = |offset: usize, code: &'static str, message: String, hint: Option<&str>| {
        let (line, column) = position(source.as_bytes(), offset);
        let hint = hint.map(str::to_owned);
        Diagnostic { severity: Severity::Error, code, path: String::new(), line, column, message, hint }
    };
    if source.len() > limits.definition_bytes_max {
        let message = format!(
            "the document has {} bytes; the limit definition_bytes_max is {}",
            source.len(),
            limits.definition_bytes_max
        );
        return Err(refused(0, "definition_too_large", message, None));
    }
    let document = xml::parse(source, limits.definition_depth_max)
        .map_err(|malformed| refused(malformed.offset, "malformed_xml", malformed.what, None))?;
    let mut converter = Converter::default();
    let root = converter.machine(&document);
    let root = root.map_err(|NotHere { offset, what, unknown }| match unknown {
        Some(name) => {
            let hint = format!("add <data id=\"{name}\"/> to the document's <datamodel>");
            let message = format!("{what} names {name:?}, and no <data> at the top of the document has this id");
            refused(offset, "not_imported", message, Some(&hint))
        }
        None => {
            let hint = "write it by hand: what a script computes becomes an expression in CEL or an effect";
            refused(offset, "not_imported", format!("{what} has no equal here"), Some(hint))
        }
    })?;
    let mut text = String::new();
    indent(&Value::Map(root), 0, &mut text);
    text.push('\n');
    Ok(text)
}

/// Something of a document that a definition cannot have.
struct NotHere {
    offset: usize,
    what: String,
    /// The variable in it that there is not, where that is why.
    unknown: Option<String>,
}

type Converted<T> = Result<T, NotHere>;

fn not_here<T>(element: &Element, what: impl Into<String>) -> Converted<T> {
    Err(NotHere { offset: element.offset, what: what.into(), unknown: None })
}

fn is_state(element: &Element) -> bool {
    matches!(element.name.as_str(), "state" | "parallel" | "final" | "history")
}

fn words(text: Option<&str>) -> Vec<&str> {
    text.map(|text| text.split_whitespace().collect()).unwrap_or_default()
}

/// A dot in an id would begin a path.
fn target(id: &str) -> Value {
    Value::Str(Str::new(format!("#{}", id.replace('.', "\\."))))
}

fn one_or_many(mut items: Vec<Value>) -> Value {
    if items.len() == 1 { items.pop().unwrap_or_default() } else { many(items) }
}

#[derive(Default)]
struct Converter {
    data: Vec<(String, Value)>,
    /// Keys of states without an id, by where they stand.
    keys: HashMap<usize, String>,
}

/// What a transition's meaning depends on.
struct Place<'e> {
    element: &'e Element,
    is_compound: bool,
    is_root: bool,
}

impl Converter {
    fn machine(&mut self, document: &Element) -> Converted<Map> {
        if document.name != "scxml" {
            return not_here(document, format!("a document of <{}>", document.name));
        }
        self.read_data(document)?;
        let mut root = Map::new();
        let id = document.get("name").filter(|name| !name.is_empty()).unwrap_or("__scxml");
        root.insert("id", Value::str(id));
        for (key, value) in self.state(document, true)?.iter() {
            root.insert(key.clone(), value.clone());
        }
        if document.children.iter().any(|child| child.children.iter().any(|inner| inner.name == "donedata")) {
            // What a final state at the top gives is the document's.
            root.insert("output", expression("has(event.output) ? event.output : null"));
        }
        if !self.data.is_empty() {
            let context = self.data.iter().map(|(id, value)| (Str::new(id), value.clone()));
            root.insert("context", Value::Map(context.collect()));
        }
        Ok(root)
    }

    fn read_data(&mut self, document: &Element) -> Converted<()> {
        for data in document.children.iter().filter(|child| child.name == "datamodel").flat_map(|model| &model.children)
        {
            let id = data.get("id").filter(|_| data.name == "data" && data.get("src").is_none());
            let (Some(id), true, false) = (id, data.children.is_empty(), data.has_text) else {
                return not_here(data, "<data> with content");
            };
            let value = match data.get("expr") {
                None => Value::Null,
                Some(expr) => match value_of(expr, &|_| false) {
                    Some(value) => value,
                    None => return not_here(data, format!("the ECMAScript {expr:?}")),
                },
            };
            self.data.push((id.to_owned(), value));
        }
        Ok(())
    }

    fn key(&mut self, element: &Element) -> String {
        if let Some(id) = element.get("id") {
            return id.replace('.', "_");
        }
        let number = self.keys.len();
        self.keys.entry(element.offset).or_insert_with(|| format!("_{number}")).clone()
    }

    fn state(&mut self, element: &Element, is_root: bool) -> Converted<Map> {
        let mut json = Map::new();
        if !is_root {
            let key = self.key(element);
            json.insert("id", Value::Str(element.get("id").map_or_else(|| Str::new(format!("_{key}")), Str::new)));
        }
        match element.name.as_str() {
            "history" => return self.history(json, element),
            kind @ ("final" | "parallel") => drop(json.insert("type", Value::str(kind))),
            _ => {}
        }
        const KNOWN: [&str; 6] = ["datamodel", "initial", "invoke", "onentry", "onexit", "transition"];
        let is_known = |child: &&Element| {
            is_state(child)
                || KNOWN.contains(&child.name.as_str())
                || (child.name == "donedata" && element.name == "final")
        };
        if let Some(unknown) = element.children.iter().find(|child| !is_known(child)) {
            return not_here(unknown, format!("<{}>", unknown.name));
        }
        let states: Vec<&Element> = element.children.iter().filter(|child| is_state(child)).collect();
        let is_compound = !states.is_empty() && element.name != "parallel";
        let mut children = Map::new();
        for child in &states {
            let key = self.key(child);
            let written = self.state(child, false)?;
            children.insert(key, Value::Map(written));
        }
        if is_compound {
            self.initial(&mut json, element, &states, &mut children)?;
        }
        if !children.is_empty() {
            json.insert("states", Value::Map(children));
        }
        self.behaviour(&mut json, &Place { element, is_compound, is_root })?;
        Ok(json)
    }

    fn history(&mut self, mut json: Map, element: &Element) -> Converted<Map> {
        json.insert("type", Value::str("history"));
        json.insert("history", Value::str(element.get("type").unwrap_or("shallow")));
        if let Some(transition) = element.children.first() {
            if !transition.children.is_empty() {
                return not_here(transition, "executable content in <history>");
            }
            let targets: Vec<Value> = words(transition.get("target")).into_iter().map(target).collect();
            if !targets.is_empty() {
                json.insert("target", one_or_many(targets));
            }
        }
        Ok(json)
    }

    /// `initial` is the key of a child; anything deeper goes through a state that is left at once.
    fn initial(&mut self, json: &mut Map, element: &Element, states: &[&Element], children: &mut Map) -> Converted<()> {
        let transition =
            element.children.iter().find(|child| child.name == "initial").and_then(|initial| initial.children.first());
        let targets =
            words(transition.and_then(|transition| transition.get("target")).or_else(|| element.get("initial")));
        let actions = transition.map(|transition| self.actions(&transition.children)).transpose()?.unwrap_or_default();
        let child = match &targets[..] {
            [] => states.iter().find(|state| state.name != "history"),
            [only] => states.iter().find(|state| state.get("id") == Some(only)),
            _ => None,
        };
        let acts = (!actions.is_empty()).then(|| many(actions));
        let Some(child) = child else {
            let mut always = Map::new();
            always.insert("target", many(targets.into_iter().map(target)));
            acts.into_iter().for_each(|actions| drop(always.insert("actions", actions)));
            children.insert("__initial", object([("always", Value::Map(always))]));
            json.insert("initial", Value::str("__initial"));
            return Ok(());
        };
        let key = Value::Str(Str::new(self.key(child)));
        let initial = match acts {
            Some(actions) => object([("target", key), ("actions", actions)]),
            None => key,
        };
        json.insert("initial", initial);
        Ok(())
    }

    fn behaviour(&mut self, json: &mut Map, place: &Place<'_>) -> Converted<()> {
        let children = &place.element.children;
        let invokes = children.iter().filter(|child| child.name == "invoke").map(|child| self.invoke(child));
        let invokes = invokes.collect::<Converted<Vec<Value>>>()?;
        if !invokes.is_empty() {
            json.insert("invoke", many(invokes));
        }
        if let Some(given) = children.iter().find(|child| child.name == "donedata") {
            json.insert("output", self.done_data(given)?);
        }
        for (block, key) in [("onentry", "entry"), ("onexit", "exit")] {
            let mut actions = Vec::new();
            for child in children.iter().filter(|child| child.name == block) {
                actions.extend(self.actions(&child.children)?);
            }
            if !actions.is_empty() {
                json.insert(key, many(actions));
            }
        }
        // Each descriptor gets all that cover it, which is a square.
        const TRANSITIONS_MAX: usize = 1_000;
        let transitions = children.iter().filter(|child| child.name == "transition");
        if transitions.clone().count() > TRANSITIONS_MAX {
            return not_here(place.element, format!("a state with more than {TRANSITIONS_MAX} transitions"));
        }
        let transitions: Vec<(Vec<String>, Value)> =
            transitions.map(|transition| self.transition(transition, place)).collect::<Converted<_>>()?;
        let eventless: Vec<Value> =
            transitions.iter().filter(|(events, _)| events.is_empty()).map(|(_, json)| json.clone()).collect();
        if !eventless.is_empty() {
            json.insert("always", many(eventless));
        }
        let on = by_descriptor(&transitions);
        if !on.is_empty() {
            json.insert("on", Value::Map(on));
        }
        Ok(())
    }

    fn transition(&mut self, element: &Element, place: &Place<'_>) -> Converted<(Vec<String>, Value)> {
        let mut json = Map::new();
        let targets = words(element.get("target"));
        if !targets.is_empty() {
            let inside = targets.iter().all(|id| contains(place.element, id));
            let is_internal = element.get("type") == Some("internal") && place.is_compound && inside;
            json.insert("target", one_or_many(targets.into_iter().map(target).collect()));
            if !place.is_root && !is_internal {
                json.insert("reenter", Value::Bool(true));
            }
        }
        if let Some(condition) = element.get("cond") {
            let Some(guard) = to_guard(condition, &|name| self.is_data(name)) else {
                return self.no_equal(element, format!("the condition {condition:?}"), condition);
            };
            json.insert("guard", guard);
        }
        let actions = self.actions(&element.children)?;
        if !actions.is_empty() {
            json.insert("actions", many(actions));
        }
        let events = words(element.get("event")).into_iter().map(|event| descriptor(element, event));
        Ok((events.collect::<Converted<_>>()?, Value::Map(json)))
    }

    fn is_data(&self, name: &str) -> bool {
        self.data.iter().any(|(id, _)| id == name)
    }

    fn actions(&self, elements: &[Element]) -> Converted<Vec<Value>> {
        elements.iter().map(|element| self.action(element)).collect()
    }

    fn action(&self, element: &Element) -> Converted<Value> {
        let kind = |kind: &str| ("type", Value::Str(Str::new(format!("@xstate.{kind}"))));
        Ok(match element.name.as_str() {
            "raise" => {
                let event = object([("type", Value::str(element.get("event").unwrap_or_default()))]);
                object([kind("raise"), ("event", event)])
            }
            "send" => return self.send(element),
            "cancel" => match element.get("sendid") {
                Some(id) => object([kind("cancel"), ("id", Value::str(id))]),
                None => return not_here(element, "<cancel sendidexpr>"),
            },
            "log" => object([kind("log"), ("args", self.logged(element)?)]),
            "assign" => {
                let location =
                    element.get("location").filter(|location| self.is_data(location) && element.children.is_empty());
                let assigned = element.get("expr").and_then(|expr| self.value(expr));
                let (Some(location), Some(assigned)) = (location, assigned) else {
                    let named = [element.get("location"), element.get("expr")].map(Option::unwrap_or_default);
                    return self.no_equal(element, "this <assign>", &named.join(" "));
                };
                object([kind("assign"), ("context", object([(location, assigned)]))])
            }
            name => return not_here(element, format!("<{name}>")),
        })
    }

    /// What is logged: the label and the value, or the list that `export` writes.
    fn logged(&self, element: &Element) -> Converted<Value> {
        let label = element.get("label").map(Value::str);
        let Some(expr) = element.get("expr").filter(|expr| !expr.trim().is_empty()) else {
            return Ok(many([label.unwrap_or_else(|| Value::str(""))]));
        };
        let parts = joined(expr).unwrap_or_else(|| vec![expr]);
        let Some(values) = parts.into_iter().map(|part| self.value(part)).collect::<Option<Vec<Value>>>() else {
            return self.no_equal(element, format!("the logged {expr:?}"), expr);
        };
        Ok(match label {
            None if expr.starts_with('[') => one_or_many(values),
            label => many(label.into_iter().chain(values)),
        })
    }

    /// For a script that is not understood: of a variable that there is not it is said.
    fn no_equal<T>(&self, element: &Element, what: impl Into<String>, script: &str) -> Converted<T> {
        let unknown = unknown_name(script, &|name| self.is_data(name)).map(str::to_owned);
        Err(NotHere { offset: element.offset, what: what.into(), unknown })
    }

    fn value(&self, expr: &str) -> Option<Value> {
        value_of(expr, &|name| self.is_data(name))
    }

    /// `<param name expr>` of an element that has no other content.
    fn params(&self, element: &Element) -> Converted<Map> {
        let mut params = Map::new();
        for param in &element.children {
            let is_plain = param.name == "param" && param.children.is_empty();
            let value = param.get("expr").and_then(|expr| self.value(expr));
            let (Some(key), Some(value), true) = (param.get("name"), value, is_plain) else {
                let named = param.get("expr").unwrap_or_default();
                return self.no_equal(param, format!("this content of <{}>", element.name), named);
            };
            params.insert(key, value);
        }
        Ok(params)
    }

    /// What a final state gives, as one value or as params.
    fn done_data(&self, element: &Element) -> Converted<Value> {
        match element.children.first().filter(|child| child.name == "content") {
            None => self.params(element).map(Value::Map),
            Some(content) => match content.get("expr").and_then(|expr| self.value(expr)) {
                Some(value) if content.children.is_empty() && !content.has_text => Ok(value),
                _ => self.no_equal(content, "this <content>", content.get("expr").unwrap_or_default()),
            },
        }
    }

    /// `<invoke type="http://www.w3.org/TR/scxml/" src="NAME.scxml">`, as `export` writes a machine that is invoked by its name.
    fn invoke(&self, element: &Element) -> Converted<Value> {
        let is_known = |(name, _): &(String, String)| matches!(name.as_str(), "type" | "src" | "id");
        let is_scxml = element.get("type").is_some_and(|kind| kind.contains("www.w3.org/TR/scxml"));
        let name = element.get("src").and_then(|src| src.strip_suffix(".scxml"));
        let name =
            name.filter(|name| is_scxml && !name.contains(['/', ':']) && element.attributes.iter().all(is_known));
        let Some(name) = name else { return not_here(element, "<invoke>") };
        let mut json = Map::new();
        json.insert("src", Value::str(name));
        element.get("id").into_iter().for_each(|id| drop(json.insert("id", Value::str(id))));
        let input = self.params(element)?;
        if !input.is_empty() {
            json.insert("input", Value::Map(input));
        }
        Ok(Value::Map(json))
    }

    /// `<send type="effect">`, as `export` writes an effect.
    fn effect(&self, element: &Element) -> Converted<Value> {
        let is_known = |(name, _): &(String, String)| matches!(name.as_str(), "event" | "type");
        let (Some(name), true) = (element.get("event"), element.attributes.iter().all(is_known)) else {
            return not_here(element, "an effect with other attributes than its event");
        };
        let (kind, params) = (("type", Value::str(name)), self.params(element)?);
        Ok(if params.is_empty() { object([kind]) } else { object([kind, ("params", Value::Map(params))]) })
    }

    /// The event that an element sends: its type, and its params as fields.
    fn event(&self, element: &Element, kind: &str) -> Converted<Value> {
        let fields = self.params(element)?;
        if fields.contains_key("type") {
            return not_here(element, "an event with a param called type");
        }
        let mut event = Map::new();
        event.insert("type", Value::str(kind));
        fields.iter().for_each(|(key, value)| drop(event.insert(key.clone(), value.clone())));
        Ok(Value::Map(event))
    }

    fn send(&self, element: &Element) -> Converted<Value> {
        if element.get("type") == Some("effect") {
            return self.effect(element);
        }
        const KNOWN: [&str; 6] = ["event", "delay", "delayexpr", "id", "target", "type"];
        let is_plain = element.attributes.iter().all(|(name, _)| KNOWN.contains(&name.as_str()));
        let Some(event) = element.get("event").filter(|_| is_plain && !element.has_text) else {
            return not_here(element, "<send> with content or expressions");
        };
        let event = self.event(element, event)?;
        if element.get("type") == Some("emit") {
            return Ok(object([("type", Value::str("@xstate.emit")), ("event", event)]));
        }
        if let Some(kind) = element.get("type").filter(|kind| *kind != "scxml" && !kind.contains("SCXMLEventProcessor"))
        {
            return not_here(element, format!("an event processor of type {kind}"));
        }
        let to = element.get("target");
        let mut delay = self.delay(element)?;
        let mut json = Map::new();
        let kind = match to {
            Some("#_internal") => "raise",
            // An event to oneself waits for the next turn: it is delayed by no time.
            None => {
                delay.get_or_insert(Value::Int(0));
                "raise"
            }
            Some(_) => "sendTo",
        };
        json.insert("type", Value::Str(Str::new(format!("@xstate.{kind}"))));
        match to {
            Some("#_internal") | None => {}
            Some("#_parent") => drop(json.insert("to", Value::str("#_parent"))),
            Some(other) => {
                match other.strip_prefix("#_").filter(|child| !child.is_empty() && !child.starts_with("scxml_")) {
                    Some(child) => drop(json.insert("to", Value::str(child))),
                    None => return not_here(element, format!("<send target={other:?}>")),
                }
            }
        }
        json.insert("event", event);
        if to != Some("#_internal") {
            delay.into_iter().for_each(|delay| drop(json.insert("delay", delay)));
            element.get("id").into_iter().for_each(|id| drop(json.insert("id", Value::str(id))));
        }
        Ok(Value::Map(json))
    }

    /// A constant, or an expression for a number of milliseconds, as `export` writes it.
    fn delay(&self, element: &Element) -> Converted<Option<Value>> {
        let text = match (element.get("delay"), element.get("delayexpr")) {
            (None, None) => return Ok(None),
            (Some(delay), _) => delay.trim(),
            (None, Some(expr)) => match expr.trim_end().strip_suffix("+ 'ms'") {
                Some(ms) => {
                    let computed = to_cel(ms, &|name| self.is_data(name)).map(|text| expression(&text));
                    return match computed {
                        Some(delay) => Ok(Some(delay)),
                        None => self.no_equal(element, format!("the delay {expr:?}"), ms),
                    };
                }
                None => expr.trim().trim_matches('\''),
            },
        };
        match crate::definition::delay_text::parse_duration(text).and_then(|ms| i64::try_from(ms).ok()) {
            Some(ms) => Ok(Some(Value::Int(ms))),
            None => not_here(element, format!("the delay {text:?}")),
        }
    }
}

/// Whether a state with this id is below.
fn contains(element: &Element, id: &str) -> bool {
    element
        .children
        .iter()
        .filter(|child| is_state(child))
        .any(|child| child.get("id") == Some(id) || contains(child, id))
}

/// SCXML takes events by the beginnings of their names, and names the platform's without XState's prefix.
fn descriptor(element: &Element, event: &str) -> Converted<String> {
    if event == "*" {
        return Ok("*".to_owned());
    }
    let plain = event.strip_suffix(".*").or_else(|| event.strip_suffix('.')).unwrap_or(event);
    if plain == "error" || plain.starts_with("error.") {
        return not_here(element, format!("the platform's event {plain}"));
    }
    Ok(match plain {
        "done" | "done.state" => "xstate.done.*".to_owned(),
        "done.invoke" => "xstate.done.actor.*".to_owned(),
        _ if plain.starts_with("done.state.") => format!("xstate.{plain}"),
        _ => match plain.strip_prefix("done.invoke.") {
            Some(id) => format!("xstate.done.actor.{id}"),
            None => format!("{plain}.*"),
        },
    })
}

/// SCXML takes the first transition of the document that fits; XState asks the longest descriptor first. So each descriptor has every
/// transition that covers it, in the document's order.
fn by_descriptor(transitions: &[(Vec<String>, Value)]) -> Map {
    let covers = |general: &str, special: &str| {
        let beginning = general.strip_suffix('*').filter(|beginning| beginning.ends_with('.'));
        general == "*" || general == special || beginning.is_some_and(|beginning| special.starts_with(beginning))
    };
    let mut on = Map::new();
    for wanted in transitions.iter().flat_map(|(events, _)| events) {
        if on.contains_key(wanted) {
            continue;
        }
        let fitting = transitions.iter().filter(|(events, _)| events.iter().any(|event| covers(event, wanted)));
        on.insert(Str::new(wanted), many(fitting.map(|(_, json)| json.clone())));
    }
    on
}
