//! The engine's side of expressions: what an expression may see in which place, and JSON templates that contain some.

use crate::json_pos::{Kind, Node};
use statemesh_expr::{Cost, EvalError, List, Map, Program, Scope, Str, Value};

/// JSON in which `{"@expr": ...}` stands for a value that is computed; parts that are constant are built once.
#[derive(Debug)]
pub(crate) enum Template {
    Constant(Value),
    Expression(Box<Program>),
    List(Box<[Template]>),
    Map(Box<[(Str, Template)]>),
}

impl Template {
    pub(crate) fn eval(&self, scope: &Scope<'_>, cost: &mut Cost) -> Result<Value, EvalError> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Expression(program) => program.eval(scope, cost),
            Self::List(items) => {
                let items: Result<Vec<Value>, EvalError> = items.iter().map(|item| item.eval(scope, cost)).collect();
                Ok(Value::List(List::from(items?)))
            }
            Self::Map(members) => {
                let mut map = Map::new();
                for (key, member) in members {
                    map.insert(key.clone(), member.eval(scope, cost)?);
                }
                Ok(Value::Map(map))
            }
        }
    }

    /// The text of the expression that has no value, found by asking each again in the same order: a step that succeeds pays
    /// nothing. `cost` is one budget for the whole search, as large as that of the step, which came as far.
    #[cold]
    pub(crate) fn culprit(&self, scope: &Scope<'_>, cost: &mut Cost) -> Option<&str> {
        match self {
            Self::Constant(_) => None,
            Self::Expression(program) => program.eval(scope, cost).is_err().then(|| program.source()),
            Self::List(items) => items.iter().find_map(|item| item.culprit(scope, cost)),
            Self::Map(members) => members.iter().find_map(|(_, member)| member.culprit(scope, cost)),
        }
    }

    pub(crate) fn as_constant(&self) -> Option<&Value> {
        match self {
            Self::Constant(value) => Some(value),
            _ => None,
        }
    }
}

/// The text of an expression object, if `node` is one.
pub(crate) fn expression_of(node: &Node) -> Option<&Node> {
    let text = node.get("@expr")?;
    text.as_str().map(|_| text)
}

/// Whether an expression occurs at any depth.
pub(crate) fn is_dynamic(node: &Node) -> bool {
    if expression_of(node).is_some() {
        return true;
    }
    match &node.kind {
        Kind::Array(items) => items.iter().any(is_dynamic),
        Kind::Object(members) => members.iter().any(|member| is_dynamic(&member.value)),
        _ => false,
    }
}
