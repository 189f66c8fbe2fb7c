//! Expressions of the definition, compiled for the place they stand in, with errors at their place in the text.

use super::Compiler;
use crate::definition::diagnostics::{Severity, did_you_mean};
use crate::definition::json_pos::{Kind, Node};
use crate::definition::keys;
use crate::expression::{CODE_IN_BRACES, as_cel, expression_of, is_code_in_braces, is_resolvable, within_braces};
use statemesh_expr::{CompileError, Env, Program, Root, Type, Value};

/// Where an expression stands, which says what it can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A guard or value of the machine: `context` and `event`.
    Value,
    /// Inside a named guard: `params` too.
    NamedGuard,
    /// Inside a named action: `params` too.
    NamedAction,
    /// The root's `context`: `input` only.
    Context,
}

impl Place {
    /// The place of a value inside a guard or an action that stands here.
    pub(crate) fn value(self) -> Self {
        self
    }
}

const LANGUAGE: &str = "cel";

impl<'d> Compiler<'d> {
    /// `None` if `node` is no expression; `Some(None)` if it is one that was refused.
    pub(super) fn compile_if_expression(&mut self, node: &'d Node, place: Place) -> Option<Option<Program>> {
        if self.is_unreadable(node, "write {\"@expr\": ...} in CEL") {
            return Some(None);
        }
        let text = expression_of(node)?;
        self.check_keys(node, &[keys::EXPRESSION]);
        if !self.check_language(node.get("@lang")) {
            return Some(None);
        }
        Some(self.compile_expression(text, place))
    }

    /// Reports what is meant as an expression and is none: code, as XState 6 writes a function, or an `@expr` that is no text.
    pub(super) fn is_unreadable(&mut self, node: &'d Node, instead: &str) -> bool {
        if expression_of(node).is_some() || !is_resolvable(node) {
            return false;
        }
        if let Some(code) = node.get("@code") {
            let message = "code in a programming language cannot run here";
            self.error(code, "unsupported_language", message, Some(instead.to_owned()));
        } else if let Some(text) = node.get("@expr") {
            let message = format!("`@expr` must be a string, not {}", text.type_name());
            self.error(text, "wrong_type", message, Some("write the expression as text".to_owned()));
        }
        true
    }

    /// Reports an expression or code in place of something that has to be known when the machine is defined.
    pub(super) fn is_computed(&mut self, node: &'d Node, code: &'static str, what: &str, instead: &str) -> bool {
        if !is_resolvable(node) {
            return false;
        }
        let message = format!("{what} cannot be computed as a whole");
        self.error(node, code, message, Some(format!("write {instead} with an expression for each value")));
        true
    }

    /// A guard's expression: its type must not be certain to be other than bool.
    pub(super) fn compile_condition(&mut self, node: &'d Node, place: Place) -> Option<Program> {
        let program = self.compile_if_expression(node, place)??;
        let kind = program.result_type();
        self.warn_of_untyped_fields(node, &program);
        if !kind.may_be(Type::Bool) {
            let message = format!("a guard must be true or false; this expression gives {}", kind.name());
            self.error(node, "wrong_expression_type", message, None);
            return None;
        }
        Some(program)
    }

    fn compile_expression(&mut self, text: &'d Node, place: Place) -> Option<Program> {
        let source = text.as_str()?;
        let limits = statemesh_expr::Limits {
            source_bytes: self.limits.expression_bytes_max,
            cost: self.limits.expression_cost_max,
            value_bytes: self.limits.context_bytes_max,
            depth: self.limits.value_depth_max,
            ..statemesh_expr::Limits::default()
        };
        match Program::compile(source, &self.environment(place), &limits) {
            Ok(program) => {
                self.warn_of_divisions(text, &program);
                for (key, at) in program.context_keys() {
                    let offset = text.offset + self.inside(text, source, *at);
                    self.context_keys.read(key, text.offset, offset);
                }
                Some(program)
            }
            Err(error) => {
                self.expression_error(text, source, error);
                None
            }
        }
    }

    /// Arithmetic with a field of the event whose presence was not asked for: without it the guard is no false one, but a fault.
    fn warn_of_untyped_fields(&mut self, node: &'d Node, program: &Program) {
        let Some(text) = expression_of(node) else { return };
        let source = program.source();
        for (field, at) in program.event_operands() {
            let is_asked = |function: &str| source.contains(&format!("{function}(event.{field})"));
            if ["has", "type"].iter().any(|function| is_asked(function))
                || source.contains(&format!("'{field}' in event"))
            {
                continue;
            }
            let offset = text.offset + self.inside(text, source, *at);
            let message = format!("an event without a number in {field:?} is no false guard: its step fails");
            let hint = Some(format!("ask first: has(event.{field}) && type(event.{field}) == int && ..."));
            self.report_at(Severity::Warning, text.offset, offset, "untyped_field", message, hint);
        }
    }

    /// CEL's `/` of two whole numbers drops the fraction; JavaScript has no such thing.
    fn warn_of_divisions(&mut self, text: &'d Node, program: &Program) {
        for at in program.divisions() {
            let offset = text.offset + self.inside(text, program.source(), *at);
            let message = "where both sides are whole numbers `/` drops the fraction: 5 / 2 is 2".to_owned();
            let hint = Some("write double(x) / 2 to keep it, int(x) / 2 to say that it is meant".to_owned());
            self.report_at(Severity::Warning, text.offset, offset, "whole_division", message, hint);
        }
    }

    /// How far from where an expression's string begins a byte of the expression is: inside a string without escapes, an
    /// offset in the expression is an offset in the document.
    fn inside(&self, text: &Node, source: &str, offset: usize) -> usize {
        match self.document.is_plain_string(text.offset, source.len()) {
            true => 1 + offset.min(source.len()),
            false => 0,
        }
    }

    /// Text that would be an expression, if `@expr` stood before it: it is assigned, or sent, as it is written.
    pub(super) fn warn_of_text(&mut self, node: &'d Node, place: Place) {
        self.warn_of_texts(node, place, &|_, _| true);
    }

    /// The same of what is handed on to a program or to the log, where text is mostly meant as it is: only of one that begins as
    /// an expression does.
    pub(super) fn warn_of_data(&mut self, node: &'d Node, place: Place) {
        self.warn_of_texts(node, place, &|this, text| this.begins_as_expression(text));
    }

    fn warn_of_texts(&mut self, node: &'d Node, place: Place, is_meant: &dyn Fn(&Self, &str) -> bool) {
        match &node.kind {
            _ if is_resolvable(node) => {}
            Kind::Array(items) => items.iter().for_each(|item| self.warn_of_texts(item, place, is_meant)),
            Kind::Object(members) => {
                members.iter().for_each(|member| self.warn_of_texts(&member.value, place, is_meant));
            }
            Kind::Str(text) if is_meant(self, text) => {
                let hint = match is_code_in_braces(text) {
                    true => Some(CODE_IN_BRACES.to_owned()),
                    false => self.meant_by(text, place).map(|meant| {
                        format!(
                            "write {{\"@expr\": {meant:?}}}; where the text itself is meant {{\"@expr\": \"'...'\"}}"
                        )
                    }),
                };
                if hint.is_some() {
                    self.warning(node, "constant_expr", "this text is a constant: nothing in it is computed", hint);
                }
            }
            _ => {}
        }
    }

    /// Whether text begins with a root that has fields, and is no name of a file, as `event.log` may be.
    fn begins_as_expression(&self, text: &str) -> bool {
        const OF_FILES: [&str; 14] =
            ["cfg", "conf", "csv", "gz", "html", "ini", "js", "json", "log", "toml", "txt", "xml", "yaml", "yml"];
        let text = text.trim();
        let is_file = text.rsplit_once('.').is_some_and(|(_, ending)| OF_FILES.contains(&ending));
        match text.strip_prefix("context.") {
            Some(path) => {
                let first = path.split('.').next().unwrap_or_default();
                !is_file || self.context_model.as_ref().is_some_and(|context| context.get(first).is_some())
            }
            None => text.starts_with("event.") && !is_file,
        }
    }

    /// The expression that a text is, if it is one that reads the context or the event.
    pub(super) fn meant_by(&mut self, text: &str, place: Place) -> Option<String> {
        if !["context.", "event."].iter().any(|root| text.contains(root)) {
            return None;
        }
        let meant = as_cel(text);
        let program = Program::compile(&meant, &self.environment(place), &statemesh_expr::Limits::default()).ok()?;
        let roots = program.roots();
        (roots.contains(Root::Context) || roots.contains(Root::Event)).then_some(meant)
    }

    fn environment(&mut self, place: Place) -> Env {
        if place == Place::Context {
            return Env::new().with(Root::Input);
        }
        let env = match self.context_model() {
            Some(model) => Env::new().with_model(Root::Context, model),
            None => Env::new().with(Root::Context),
        };
        let env = env.with_field(Root::Event, "type", Type::Str);
        match place {
            Place::NamedGuard | Place::NamedAction => env.with(Root::Params),
            _ => env,
        }
    }

    fn context_model(&self) -> Option<&Value> {
        self.context_model.as_ref()
    }

    fn expression_error(&mut self, text: &'d Node, source: &str, error: CompileError) {
        let inside = self.inside(text, source, error.offset);
        let code = match error.code {
            "wrong_type" => "wrong_expression_type",
            code => code,
        };
        let in_braces = within_braces(source).map(|_| match is_code_in_braces(source) {
            true => CODE_IN_BRACES.to_owned(),
            false => format!("without the braces {{{{ }}}}: {:?}", as_cel(source)),
        });
        let hint = in_braces.or(error.hint);
        self.report_at(Severity::Error, text.offset, text.offset + inside, code, error.message, hint);
    }

    /// Whether an optional `@lang` or `@exprLang` names the language we have.
    pub(super) fn check_language(&mut self, node: Option<&'d Node>) -> bool {
        let Some(node) = node else { return true };
        if node.as_str() == Some(LANGUAGE) {
            return true;
        }
        let hint = node
            .as_str()
            .and_then(|name| did_you_mean(name, [LANGUAGE]))
            .or(Some("only \"cel\" is supported".to_owned()));
        self.error(node, "unsupported_language", "unknown expression language", hint);
        false
    }
}
