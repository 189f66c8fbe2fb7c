//! A compiled expression: what the engine holds and runs.

use super::env::{Env, Roots, Scope, Type};
use super::error::{CompileError, EvalError, EvalFault};
use super::eval::Eval;
use super::fallback::Fallback;
use super::lower;
use super::node::Node;
use super::scan;
use crate::cost::Cost;
use crate::limits::Limits;
use crate::scalar::Scalar;
use crate::value::{Str, Value};
use std::fmt;
use std::sync::Arc;

/// A CEL expression, compiled. Immutable and cheap to clone.
#[derive(Clone)]
pub struct Program(Arc<Inner>);

struct Inner {
    source: Box<str>,
    code: Code,
    kind: Type,
    roots: Roots,
    /// What one evaluation costs before any loop.
    nodes: u64,
    divisions: Box<[usize]>,
    context_keys: Box<[(Str, usize)]>,
    event_operands: Box<[(Str, usize)]>,
    limits: Limits,
}

/// How the expression runs.
pub(super) enum Code {
    Compiled(Node),
    /// By the `cel` crate, because it uses what we do not compile.
    Fallback(Fallback),
}

/// What compiling gives.
pub(super) struct Compiled {
    pub(super) code: Code,
    pub(super) kind: Type,
    pub(super) roots: Roots,
    pub(super) nodes: u64,
    /// Where `/` may drop a fraction.
    pub(super) divisions: Vec<usize>,
    /// The keys of the context that it reads, and where.
    pub(super) context_keys: Vec<(Str, usize)>,
    /// The fields of the event that stand in arithmetic as they come, and where that is.
    pub(super) event_operands: Vec<(Str, usize)>,
}

impl Program {
    /// Compiles `source` for scopes as `env` describes them.
    ///
    /// # Errors
    /// When the text is not CEL, refers to what does not exist, certainly
    /// applies an operation to values of the wrong types, or exceeds
    /// `limits.source_bytes`, `source_depth` or `source_nodes`.
    pub fn compile(source: &str, env: &Env, limits: &Limits) -> Result<Program, CompileError> {
        scan::check(source, limits)?;
        let compiled = lower::compile(source, env, limits)?;
        Ok(Program(Arc::new(Inner {
            source: source.into(),
            code: compiled.code,
            kind: compiled.kind,
            roots: compiled.roots,
            nodes: compiled.nodes,
            divisions: compiled.divisions.into(),
            context_keys: compiled.context_keys.into(),
            event_operands: compiled.event_operands.into(),
            limits: *limits,
        })))
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The type of every value it has, as far as is known.
    pub fn result_type(&self) -> Type {
        self.0.kind
    }

    /// The roots it may read; it never looks at others.
    pub fn roots(&self) -> Roots {
        self.0.roots
    }

    /// Where, in bytes of the source, a `/` may have two whole numbers without an `int()` or `uint()` that says so: it
    /// drops the fraction then, as CEL has it.
    pub fn divisions(&self) -> &[usize] {
        &self.0.divisions
    }

    /// The keys of the context that it cannot do without, and where in the source it reads each. None if all of it is left to
    /// the `cel` crate.
    pub fn context_keys(&self) -> &[(Str, usize)] {
        &self.0.context_keys
    }

    /// The fields of the event that stand in arithmetic as they come, whatever type they have, and where that is. None if all of it
    /// is left to the `cel` crate.
    pub fn event_operands(&self) -> &[(Str, usize)] {
        &self.0.event_operands
    }

    /// Whether it is left to the `cel` crate, which is some hundred times
    /// slower.
    pub fn is_fallback(&self) -> bool {
        matches!(self.0.code, Code::Fallback(_))
    }

    /// Its value, when that is the same in every scope.
    pub fn constant(&self) -> Option<&Value> {
        match &self.0.code {
            Code::Compiled(Node::Const(value)) => Some(value),
            _ => None,
        }
    }

    /// Its value in `scope`.
    ///
    /// # Errors
    /// When it has none (a missing key, an overflow, ...), when `cost` is used
    /// up, or when the result exceeds the limits it was compiled with.
    pub fn eval(&self, scope: &Scope<'_>, cost: &mut Cost) -> Result<Value, EvalError> {
        let program = &*self.0;
        let value = match &program.code {
            Code::Compiled(Node::Const(value)) => return Ok(value.clone()),
            Code::Compiled(node) => {
                let mut eval = program.start(scope, cost)?;
                if let Some(value) = eval.fast(node, None).value() {
                    return Ok(value);
                }
                eval.eval(node, None)?.into_value(&program.limits)?
            }
            Code::Fallback(fallback) => {
                charge(program.nodes, cost)?;
                fallback.eval(scope, program.roots, cost, &program.limits)?
            }
        };
        program.limits.admit(value)
    }

    /// Its value in `scope` if that is a number or a boolean, and easily found; else nothing, at no cost, and
    /// [`Program::eval`] says what it is.
    #[inline]
    pub fn eval_scalar(&self, scope: &Scope<'_>, cost: &mut Cost) -> Option<Scalar> {
        let Code::Compiled(node) = &self.0.code else { return None };
        let before = *cost;
        let scalar = self.0.start(scope, cost).ok().and_then(|mut eval| eval.fast(node, None).known());
        if scalar.is_none() {
            *cost = before;
        }
        scalar
    }

    /// Its value in `scope`, which must be a boolean, as a guard's must.
    ///
    /// # Errors
    /// As [`Program::eval`], and when the value is not a boolean.
    #[inline]
    pub fn eval_bool(&self, scope: &Scope<'_>, cost: &mut Cost) -> Result<bool, EvalError> {
        let program = &*self.0;
        match &program.code {
            Code::Compiled(node) => program.start(scope, cost)?.truth(node, None),
            Code::Fallback(_) => match self.eval(scope, cost)? {
                Value::Bool(value) => Ok(value),
                other => Err(EvalError::with(EvalFault::NotBool, other.kind().name())),
            },
        }
    }
}

impl Inner {
    #[inline]
    fn start<'e, 'a>(&'e self, scope: &'e Scope<'a>, cost: &'e mut Cost) -> Result<Eval<'e, 'a>, EvalError> {
        charge(self.nodes, cost)?;
        Ok(Eval { scope, cost, limits: &self.limits })
    }
}

#[inline]
fn charge(units: u64, cost: &mut Cost) -> Result<(), EvalError> {
    if cost.take(units) { Ok(()) } else { Err(EvalError::new(EvalFault::CostExceeded)) }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("source", &self.source())
            .field("kind", &self.0.kind)
            .field("fallback", &self.is_fallback())
            .finish_non_exhaustive()
    }
}
