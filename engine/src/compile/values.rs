//! JSON values with expressions in them, events, and delays.

use super::Compiler;
use super::expressions::Place;
use crate::definition::delay_text::{as_iso8601, milliseconds, parse_duration};
use crate::definition::diagnostics::{Severity, did_you_mean};
use crate::definition::json_pos::{Kind, Node};
use crate::expression::{Template, expression_of, is_dynamic};
use crate::machine::{Delay, EventTemplate};
use statemesh_expr::{Map, Str, Value};
use std::sync::Arc;

impl<'d> Compiler<'d> {
    /// A value that may contain expressions at any depth.
    pub(super) fn compile_template(&mut self, node: &'d Node, place: Place) -> Option<Template> {
        if let Some(program) = self.compile_if_expression(node, place) {
            return program.map(|program| Template::Expression(Box::new(program)));
        }
        self.warn_of_expr(node);
        if !is_dynamic(node) {
            return Some(Template::Constant(node.to_value()));
        }
        match &node.kind {
            Kind::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| self.compile_template(item, place)).collect();
                Some(Template::List(items.into_iter().collect::<Option<Box<[_]>>>()?))
            }
            Kind::Object(members) => {
                let members: Vec<_> = members
                    .iter()
                    .map(|member| Some((member.key.clone(), self.compile_template(&member.value, place)?)))
                    .collect();
                Some(Template::Map(members.into_iter().collect::<Option<Box<[_]>>>()?))
            }
            _ => Some(Template::Constant(node.to_value())),
        }
    }

    /// `{"expr": "..."}` is data, but hardly ever meant as such.
    fn warn_of_expr(&mut self, node: &'d Node) {
        let Some([only]) = node.members() else { return };
        if only.key == "expr" && only.value.as_str().is_some() {
            let hint = Some("for an expression write \"@expr\"".to_owned());
            self.warning(node, "constant_expr", "this object is a constant: nothing in it is computed", hint);
        }
    }

    pub(super) fn compile_optional(&mut self, node: Option<&'d Node>, place: Place) -> Option<Template> {
        node.and_then(|node| self.compile_template(node, place))
    }

    /// What is handed on as it is: the params of an action or a guard, and what is logged.
    pub(super) fn compile_data(&mut self, node: Option<&'d Node>, place: Place) -> Option<Template> {
        self.warn_of_data(node?, place);
        self.compile_template(node?, place)
    }

    /// The `input` of an invoked or spawned machine.
    pub(super) fn compile_input(&mut self, node: &'d Node, place: Place) -> Option<Template> {
        let input = node.get("input")?;
        self.warn_of_text(input, place);
        self.compile_template(input, place)
    }

    pub(super) fn compile_context(&mut self, node: Option<&'d Node>) -> Template {
        let Some(node) = node else { return Template::Constant(Value::Map(Map::new())) };
        if node.members().is_none() {
            self.error(node, "wrong_type", format!("`context` must be an object, not {}", node.type_name()), None);
        }
        let context = self.compile_template(node, Place::Context).unwrap_or(Template::Constant(Value::Null));
        // One that is computed is weighed when an instance starts.
        let weight = context.as_constant().map_or(0, Value::weight);
        if weight > self.limits.context_bytes_max {
            let maximum = self.limits.context_bytes_max;
            let message = format!("the context weighs {weight} bytes; the limit context_bytes_max is {maximum}");
            self.error(node, "context_too_large", message, None);
        }
        context
    }

    /// An event to send: an object with a `type`, or an expression that gives one.
    pub(super) fn compile_event(&mut self, node: &'d Node, place: Place) -> Option<EventTemplate> {
        if self.is_unreadable(node, "write {\"type\": ..., ...} with {\"@expr\": ...} for each value") {
            return None;
        }
        if expression_of(node).is_none() {
            let Some(members) = node.members() else {
                let hint = node.as_str().map(|name| format!("write {{\"type\": {name:?}}}"));
                self.error(node, "wrong_type", format!("an event must be an object, not {}", node.type_name()), hint);
                return None;
            };
            match members.iter().find(|member| member.key == "type") {
                None => {
                    self.error(node, "missing_key", "an event needs a \"type\"".to_owned(), None);
                    return None;
                }
                Some(kind) if expression_of(&kind.value).is_none() => {
                    self.string(&kind.value, "an event's `type`")?;
                }
                Some(_) => {}
            }
            // A type may well be called as a field of an event is.
            members
                .iter()
                .filter(|member| member.key != "type")
                .for_each(|member| self.warn_of_text(&member.value, place));
        }
        Some(match self.compile_template(node, place)? {
            Template::Constant(data) => {
                let name = data.get("type").and_then(Value::as_str).unwrap_or_default();
                EventTemplate::Constant { kind: self.events.intern(name), data }
            }
            computed => EventTemplate::Computed(computed),
        })
    }

    /// The `delay` of an action: milliseconds, the name of a delay, a duration, or an expression.
    pub(super) fn compile_delay(&mut self, node: &'d Node, place: Place) -> Option<Delay> {
        match &node.kind {
            Kind::Str(name) => {
                let meant = self.meant_by(name, place).map(computed_delay);
                self.delay_by_name(node, name, meant)
            }
            _ => self.delay_number(node, place),
        }
    }

    /// The value of an entry of `delays`.
    pub(super) fn delay_value(&mut self, node: &'d Node) -> Option<Delay> {
        if let Some(text) = node.as_str() {
            let parsed = parse_duration(text).map(Delay::Constant);
            if parsed.is_none() {
                let hint = duration_hint(text)
                    .or_else(|| self.meant_by(text, Place::Value).map(computed_delay))
                    .or(Some("write milliseconds, \"5s\", \"PT5M\" or an expression".to_owned()));
                self.error(node, "bad_delay", format!("{text:?} is no duration"), hint);
            }
            return parsed;
        }
        self.delay_number(node, Place::Value)
    }

    fn delay_number(&mut self, node: &'d Node, place: Place) -> Option<Delay> {
        if let Some(program) = self.compile_if_expression(node, place) {
            return Some(Delay::Computed(Arc::new(Template::Expression(Box::new(program?)))));
        }
        let Some(ms) = node.as_f64() else {
            self.error(
                node,
                "bad_delay",
                format!("a delay must be a number of milliseconds, not {}", node.type_name()),
                None,
            );
            return None;
        };
        self.warn_of_past(node.offset, ms);
        Some(Delay::Constant(milliseconds(ms)))
    }

    /// A time below 0 is none, here as in XState.
    pub(super) fn warn_of_past(&mut self, offset: usize, ms: f64) {
        if ms < 0.0 {
            let hint = Some("write 0, or the time that is meant".to_owned());
            self.report(Severity::Warning, offset, "negative_delay", format!("{ms} ms are taken for 0"), hint);
        }
    }

    /// `meant` says what to write for a name that is an expression.
    pub(super) fn delay_by_name(&mut self, node: &Node, name: &str, meant: Option<String>) -> Option<Delay> {
        if let Some(template) = self.names.delays.get(name) {
            let constant = template.as_constant().and_then(Value::as_u64);
            return Some(constant.map_or_else(|| Delay::Computed(template.clone()), Delay::Constant));
        }
        if let Some(ms) = parse_duration(name) {
            return Some(Delay::Constant(ms));
        }
        if self.is_full() && self.has_errors() {
            return None;
        }
        let hint = duration_hint(name)
            .or(meant)
            .or_else(|| did_you_mean(name, self.names.delays.keys().map(Str::as_str)))
            .or(Some("add it to the root's `delays`, or write milliseconds".to_owned()));
        self.error(node, "unknown_delay", format!("there is no delay {name:?}"), hint);
        None
    }
}

fn computed_delay(meant: String) -> String {
    format!("write {{\"@expr\": {meant:?}}}")
}

/// For a time such as `30m`, which is none in XState.
fn duration_hint(text: &str) -> Option<String> {
    as_iso8601(text).map(|written| format!("write {written:?}"))
}
