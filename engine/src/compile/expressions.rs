//! Expressions of the definition, compiled for the place they stand in, with errors at their place in the text.

use super::{Compiler, keys};
use crate::diagnostics::{Severity, did_you_mean};
use crate::expression::expression_of;
use crate::json_pos::Node;
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
        let text = expression_of(node);
        if let (None, Some(code)) = (text, node.get("@code")) {
            let hint = Some("write {\"@expr\": ...} in CEL".to_owned());
            let message = "code in a programming language cannot run here";
            self.error(code, "unsupported_language", message, hint);
            return Some(None);
        }
        let text = text?;
        self.check_keys(node, &[keys::EXPRESSION]);
        if !self.check_language(node.get("@lang")) {
            return Some(None);
        }
        Some(self.compile_expression(text, place))
    }

    /// A guard's expression: its type must not be certain to be other than bool.
    pub(super) fn compile_condition(&mut self, node: &'d Node, place: Place) -> Option<Program> {
        let program = self.compile_if_expression(node, place)??;
        let kind = program.result_type();
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
            ..statemesh_expr::Limits::default()
        };
        match Program::compile(source, &self.environment(place), &limits) {
            Ok(program) => Some(program),
            Err(error) => {
                self.expression_error(text, source, error);
                None
            }
        }
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
        // Inside a string without escapes, an offset in the expression is an offset in the document.
        let inside = if self.document.is_plain_string(text.offset, source.len()) {
            1 + error.offset.min(source.len())
        } else {
            0
        };
        let code = match error.code {
            "wrong_type" => "wrong_expression_type",
            code => code,
        };
        self.report_at(Severity::Error, text.offset, text.offset + inside, code, error.message, error.hint);
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
