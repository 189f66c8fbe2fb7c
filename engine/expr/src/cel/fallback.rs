//! What we do not compile, evaluated by the `cel` crate: single functions of
//! its extensions, in expressions that are otherwise ours; and whole expressions
//! where their values are of types that only the crate has. It has no budget of
//! its own, so loops are not left to it, and values are converted for it.

use super::env::{Roots, Scope};
use super::error::{EvalError, EvalFault};
use super::node::{Function, Node};
use crate::cost::Cost;
use crate::limits::Limits;
use crate::list::List;
use crate::map::Map;
use crate::value::{Str, Value};
use cel::common::ast::{CallExpr, Expr};
use cel::{IdedExpr, extensions};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// An expression that the crate runs.
pub(super) struct Fallback {
    tree: IdedExpr,
}

/// The standard library and the crate's extensions for strings, lists and
/// mathematics.
fn environment() -> &'static Arc<cel::Env> {
    static ENVIRONMENT: OnceLock<Arc<cel::Env>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut env = cel::Env::stdlib();
        // These declare nothing twice; were one left out, its functions would be
        // errors when called.
        let _ = env.add_extension(extensions::strings);
        let _ = env.add_extension(extensions::lists);
        let _ = env.add_extension(extensions::math);
        Arc::new(env)
    })
}

/// The functions that are left to the crate. Not those whose results can be far
/// larger than what they are given (`quote`, `format`, `range`) or that compare
/// all with all (`distinct`): it has no budget, and a short chain of them would
/// take all memory.
const FUNCTIONS: &[&str] = &[
    "charAt",
    "indexOf",
    "lastIndexOf",
    "lowerAscii",
    "upperAscii",
    "reverse",
    "split",
    "substring",
    "trim",
    "flatten",
    "slice",
    "sort",
    "@max",
    "@min",
    "ceil",
    "floor",
    "round",
    "trunc",
    "abs",
    "sign",
    "isNaN",
    "isInf",
    "isFinite",
    "sqrt",
    "bitAnd",
    "bitOr",
    "bitXor",
    "bitNot",
    "bitShiftLeft",
    "bitShiftRight",
];
/// Functions whose results can be far larger too, but whose size can be told
/// before: they are called one at a time only, within the budget.
const GROWING: &[&str] = &["join", "replace"];
/// Functions of optional values, of which only the crate knows.
const OPTIONALS: &[&str] = &["of", "ofNonZeroValue", "none", "hasValue", "value", "or", "orValue", "_?._", "_[?_]"];
const NAMESPACES: &[&str] = &["math", "strings", "lists", "optional"];

/// The first function of a tree that may not be left to the crate. Lowering
/// stops at the first thing it does not know, so the rest is not checked yet.
pub(super) fn stranger<'a>(functions: &[&'a str]) -> Option<&'a str> {
    let ours = |name: &str| Function::ALL.iter().any(|(known, ..)| *known == name);
    let operator = |name: &str| name.starts_with(['_', '-', '!', '@']);
    functions.iter().copied().find(|name| !knows(name) && !ours(name) && !operator(name))
}

/// Whether the crate may know a function of this name.
pub(super) fn knows(function: &str) -> bool {
    is_extension(function) || is_optional(function)
}

/// Whether one of its extensions has a function of this name, which takes and
/// gives values that we have too.
pub(super) fn is_extension(function: &str) -> bool {
    is_listed(FUNCTIONS, function)
}

/// Whether our code may call it, one call at a time.
pub(super) fn is_called(function: &str) -> bool {
    is_extension(function) || is_listed(GROWING, function)
}

/// Whether it is about optional values.
pub(super) fn is_optional(function: &str) -> bool {
    is_listed(OPTIONALS, function)
}

fn is_listed(list: &[&str], function: &str) -> bool {
    let (_, last) = function.rsplit_once('.').unwrap_or(("", function));
    list.contains(&function) || list.contains(&last)
}

/// Whether `name` is what the crate's functions are called on, not a value.
pub(super) fn is_namespace(name: &str) -> bool {
    NAMESPACES.contains(&name)
}

/// A parser of everything the crate knows. Its own limit on recursion counts
/// otherwise than ours, which has been checked by then.
pub(super) fn parser() -> cel::parser::Parser {
    environment().parser().enable_ident_escape_syntax(true).max_recursion_depth(u16::MAX)
}

/// What one call of the crate costs beside converting what it is given.
const CALL_COST: u64 = 100;

/// A call of one of the crate's functions on values that our code computes.
#[derive(Debug)]
pub(super) struct Foreign {
    /// The call, of variables.
    call: IdedExpr,
    /// Their names, and what they stand for.
    pub(super) args: Vec<(String, Node)>,
}

impl Foreign {
    /// The call as it was written, of `args`: the first is the target where `has_target` says so.
    pub(super) fn new(call: &CallExpr, has_target: bool, args: Vec<Node>) -> Foreign {
        let args: Vec<(String, Node)> = args.into_iter().enumerate().map(|(n, arg)| (format!("a{n}"), arg)).collect();
        let variable = |(name, _): &(String, Node)| IdedExpr { id: 0, expr: Expr::Ident(name.clone()) };
        let (target, rest) = args.split_at(usize::from(has_target));
        let target = target.first().map(|target| Box::new(variable(target))).or_else(|| call.target.clone());
        let call = CallExpr { func_name: call.func_name.clone(), target, args: rest.iter().map(variable).collect() };
        Foreign { call: IdedExpr { id: 0, expr: Expr::Call(call) }, args }
    }

    pub(super) fn eval(&self, values: Vec<Value>, cost: &mut Cost, limits: &Limits) -> Result<Value, EvalError> {
        let weight = values.iter().fold(self.grown(&values), |sum, value| sum.saturating_add(value.weight()));
        if weight > limits.value_bytes.saturating_mul(2) {
            return Err(EvalError::new(EvalFault::TooLarge));
        }
        if !cost.take(CALL_COST.saturating_add((weight / 8) as u64)) {
            return Err(EvalError::new(EvalFault::CostExceeded));
        }
        let mut context = cel::Context::with_env(Arc::clone(environment()));
        for ((name, _), value) in self.args.iter().zip(&values) {
            context.add_variable_from_value(name.clone(), to_cel(value));
        }
        limits.admit(resolve(&self.call, &context)?)
    }
}

impl Foreign {
    /// Bytes by which a result may be larger than what the function is given.
    fn grown(&self, values: &[Value]) -> usize {
        let Expr::Call(call) = &self.call.expr else { return 0 };
        match (call.func_name.as_str(), values) {
            ("join", [Value::List(list), Value::Str(between)]) => list.len().saturating_mul(between.len()),
            ("replace", [Value::Str(text), Value::Str(from), Value::Str(to), ..]) => {
                text.matches(from.as_str()).count().saturating_mul(to.len())
            }
            _ => 0,
        }
    }
}

fn resolve(tree: &IdedExpr, context: &cel::Context<'_, '_>) -> Result<Value, EvalError> {
    match cel::Value::resolve(tree, context) {
        Ok(value) => from_cel(&value),
        Err(error) => Err(EvalError::with(EvalFault::Fallback, error.to_string())),
    }
}

impl Fallback {
    pub(super) fn new(tree: IdedExpr) -> Fallback {
        Fallback { tree }
    }

    pub(super) fn eval(
        &self,
        scope: &Scope<'_>,
        roots: Roots,
        cost: &mut Cost,
        limits: &Limits,
    ) -> Result<Value, EvalError> {
        let mut context = cel::Context::with_env(Arc::clone(environment()));
        for root in roots.iter() {
            let value = scope.root(root).to_value(limits)?;
            if !cost.take((value.weight() / 8) as u64) {
                return Err(EvalError::new(EvalFault::CostExceeded));
            }
            context.add_variable_from_value(root.name(), to_cel(&value));
        }
        resolve(&self.tree, &context)
    }
}

/// Times become text: the crate is built without them.
fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Int(value) => cel::Value::Int(*value),
        Value::Uint(value) => cel::Value::UInt(*value),
        Value::Double(value) => cel::Value::Float(*value),
        Value::Str(text) => cel::Value::String(Arc::new(text.to_string())),
        Value::Bytes(bytes) => cel::Value::Bytes(Arc::new(bytes.to_vec())),
        Value::Timestamp(time) => cel::Value::String(Arc::new(time.to_string())),
        Value::Duration(span) => cel::Value::String(Arc::new(span.to_string())),
        Value::List(list) => cel::Value::List(Arc::new(list.iter().map(to_cel).collect())),
        Value::Map(map) => {
            let entries: HashMap<cel::objects::Key, cel::Value> =
                map.iter().map(|(key, value)| (key.as_str().into(), to_cel(value))).collect();
            cel::Value::Map(entries.into())
        }
    }
}

/// Maps come back with their keys sorted, as the crate keeps them in no order.
fn from_cel(value: &cel::Value) -> Result<Value, EvalError> {
    Ok(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(value) => Value::Bool(*value),
        cel::Value::Int(value) => Value::Int(*value),
        cel::Value::UInt(value) => Value::Uint(*value),
        cel::Value::Float(value) => Value::Double(*value),
        cel::Value::String(text) => Value::str(text.as_str()),
        cel::Value::Bytes(bytes) => Value::Bytes(bytes.as_slice().into()),
        cel::Value::List(list) => Value::List(list.iter().map(from_cel).collect::<Result<List, _>>()?),
        cel::Value::Map(map) => {
            let mut entries = Vec::with_capacity(map.map.len());
            for (key, value) in map.map.iter() {
                let cel::objects::Key::String(key) = key else {
                    return Err(EvalError::with(EvalFault::Unsupported, "a map key that is no string"));
                };
                entries.push((Str::new(key.as_str()), from_cel(value)?));
            }
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Map(entries.into_iter().collect::<Map>())
        }
        other => {
            let kind = format!("{:?}", other.type_of());
            return Err(EvalError::with(EvalFault::Unsupported, kind));
        }
    })
}
