//! The engine's side of expressions: what an expression may see in which place, and JSON templates that contain some.

use crate::definition::json_pos::{Kind, Node};
use statemesh_expr::{Cost, EvalError, List, Map, Payload, Program, Root, Scope, Str, Value};

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

    /// The texts of its expressions.
    pub(crate) fn sources<'t>(&'t self, into: &mut Vec<&'t str>) {
        match self {
            Self::Constant(_) => {}
            Self::Expression(program) => into.push(program.source()),
            Self::List(items) => items.iter().for_each(|item| item.sources(into)),
            Self::Map(members) => members.iter().for_each(|(_, member)| member.sources(into)),
        }
    }

    pub(crate) fn as_constant(&self) -> Option<&Value> {
        match self {
            Self::Constant(value) => Some(value),
            _ => None,
        }
    }
}

/// What an expression read: the values of `context.a.b` and the like that its text has, by that text.
#[cold]
pub(crate) fn values_read(source: &str, scope: &Scope<'_>) -> Map {
    /// More would not be read, and each is a search through the event.
    const PATHS_MAX: usize = 8;
    const VALUE_BYTES_MAX: usize = 256;
    let mut paths = paths(source);
    paths.dedup();
    paths.truncate(PATHS_MAX);
    let mut found = Map::new();
    for path in paths {
        let mut keys = path.split('.');
        let root = keys.next().and_then(|name| Some((name, ROOTS.iter().find(|(known, _)| *known == name)?.1)));
        let Some((name, root)) = root else { continue };
        // What follows the last key that there is may be the name of a function.
        let (mut text, mut at) = (name.to_owned(), scope.root(root));
        for key in keys {
            let Ok(Some(inside)) = at.get(key) else { break };
            at = inside;
            text.push('.');
            text.push_str(key);
        }
        let is_short = match at {
            Payload::Json(raw) | Payload::MsgPack(raw) => raw.len() <= VALUE_BYTES_MAX,
            Payload::Value(value) => value.weight() <= VALUE_BYTES_MAX,
            Payload::Empty => false,
        };
        let value = if is_short && text != name { at.to_value(&Default::default()).ok() } else { None };
        // NaN is no value's equal: two runs into the same fault would give different errors.
        let Some(value) = value.filter(|value| *value == value.clone()) else { continue };
        found.insert(text, value);
    }
    found
}

const ROOTS: [(&str, Root); 4] =
    [("context", Root::Context), ("event", Root::Event), ("params", Root::Params), ("input", Root::Input)];

/// Names with dots between them, outside of text in quotes.
fn paths(source: &str) -> Vec<&str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '.');
    let mut quote = None;
    let mut found = Vec::new();
    let mut start = None;
    for (at, character) in source.char_indices().chain([(source.len(), ' ')]) {
        match quote {
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if is_part(character) => {
                start.get_or_insert(at);
            }
            None => {
                found.extend(start.take().and_then(|start| source.get(start..at)));
                quote = matches!(character, '"' | '\'').then_some(character);
            }
        }
    }
    found
}

/// The text of an expression object, if `node` is one.
pub(crate) fn expression_of(node: &Node) -> Option<&Node> {
    let text = node.get("@expr")?;
    text.as_str().map(|_| text)
}

/// The CEL of a text that is meant as an expression elsewhere: Stately Studio has `{{ ... }}` around it, and ECMAScript compares with `===`.
pub(crate) fn as_cel(text: &str) -> String {
    let text = text.trim();
    within_braces(text).unwrap_or(text).replace("===", "==").replace("!==", "!=")
}

/// What to do about a function of JavaScript in braces.
pub(crate) const CODE_IN_BRACES: &str =
    "code, as Stately Studio exports it, is put into CEL by `statemesh import xstate`";

/// Whether the braces have a function of JavaScript in them, which no CEL is.
pub(crate) fn is_code_in_braces(text: &str) -> bool {
    within_braces(text).is_some_and(|inside| inside.contains("=>"))
}

/// What stands in the braces that Stately Studio writes around an expression.
pub(crate) fn within_braces(text: &str) -> Option<&str> {
    text.trim().strip_prefix("{{")?.strip_suffix("}}").map(str::trim)
}

/// Whether `node` is meant as an expression, be it one that we cannot read: no data has such a key.
pub(crate) fn is_resolvable(node: &Node) -> bool {
    node.get("@expr").is_some() || node.get("@code").is_some()
}

/// Whether an expression occurs at any depth.
pub(crate) fn is_dynamic(node: &Node) -> bool {
    if is_resolvable(node) {
        return true;
    }
    match &node.kind {
        Kind::Array(items) => items.iter().any(is_dynamic),
        Kind::Object(members) => members.iter().any(|member| is_dynamic(&member.value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_expression_read_is_shown_and_nothing_else() {
        let context =
            Value::from_json(br#"{"total":1,"items":[2],"text":"context.total"}"#, &Default::default()).unwrap();
        let event = Payload::Json(br#"{"type":"E","by":{"n":2.5}}"#);
        let read = |source: &str| Value::Map(values_read(source, &Scope::new(&context, event))).to_string();
        assert_eq!(read("context.total + event.by.n"), r#"{"context.total":1,"event.by.n":2.5}"#);
        assert_eq!(read("context.items.size() > event.no"), r#"{"context.items":[2]}"#);
        assert_eq!(read("'context.total' == context.text"), r#"{"context.text":"context.total"}"#);
        assert_eq!(read("context == event"), "{}");
        let nan = Value::Map([("n", Value::Double(f64::NAN))].into_iter().collect());
        assert!(values_read("context.n + 1", &Scope::new(&nan, Payload::Empty)).is_empty());
    }
}
