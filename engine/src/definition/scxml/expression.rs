//! The little of ECMAScript that is CEL too: literals, ids of data, arithmetic without division, comparison and logic.

use crate::definition::export::{expression, many, object};
use statemesh_expr::Value;

/// CEL for an expression over these ids of data. `None` if it is more than that.
pub(super) fn to_cel(source: &str, is_data: &dyn Fn(&str) -> bool) -> Option<String> {
    let mut words = Vec::new();
    let mut rest = source.trim();
    while !rest.is_empty() {
        let (token, after) = token(rest)?;
        words.push(match token {
            "===" => "==".to_owned(),
            "!==" => "!=".to_owned(),
            "true" | "false" | "null" => token.to_owned(),
            name if name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '$')) => {
                if !is_data(name) {
                    return None;
                }
                format!("context.{name}")
            }
            other => other.to_owned(),
        });
        // What counts up or down.
        if let [.., before, last] = &words[..]
            && before == last
            && matches!(last.as_str(), "+" | "-")
        {
            return None;
        }
        rest = after.trim_start();
    }
    (!words.is_empty()).then(|| words.join(" "))
}

/// A value for an expression: what CEL computes, or what is JSON as well.
pub(super) fn value_of(source: &str, is_data: &dyn Fn(&str) -> bool) -> Option<Value> {
    let constant = || Value::from_json(source.as_bytes(), &Default::default()).ok().filter(|value| !is_dynamic(value));
    to_cel(source, is_data).map(|text| expression(&text)).or_else(constant)
}

/// Whether an object in it would be an expression in a definition.
fn is_dynamic(value: &Value) -> bool {
    match value {
        Value::List(items) => items.as_slice().iter().any(is_dynamic),
        Value::Map(map) => map.iter().any(|(key, item)| key.starts_with('@') || is_dynamic(item)),
        _ => false,
    }
}

/// The first token, and what follows it.
fn token(rest: &str) -> Option<(&str, &str)> {
    const SIGNS: [&str; 17] =
        ["===", "!==", "==", "!=", "<=", ">=", "&&", "||", "-", "+", "*", "%", "<", ">", "!", "(", ")"];
    let first = rest.chars().next()?;
    let length = if first.is_ascii_digit() {
        rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())
    } else if matches!(first, '\'' | '"') {
        let text = rest.get(1..)?;
        let end = text.find(first)?;
        if text.get(..end)?.contains('\\') {
            return None;
        }
        end + 2
    } else if first.is_ascii_alphabetic() || matches!(first, '_' | '$') {
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '$'))).unwrap_or(rest.len())
    } else {
        SIGNS.iter().find(|sign| rest.starts_with(**sign))?.len()
    };
    Some((rest.get(..length)?, rest.get(length..)?))
}

/// A guard for a condition: `In(...)` is `xstate.stateIn`, everything else CEL.
pub(super) fn to_guard(source: &str, is_data: &dyn Fn(&str) -> bool) -> Option<Value> {
    if !source.contains("In(") && !source.contains("In (") {
        return condition(source, is_data);
    }
    let (between, kind) = match (source.contains("&&"), source.contains("||")) {
        (true, true) => return None,
        (_, true) => ("||", "xstate.or"),
        _ => ("&&", "xstate.and"),
    };
    let parts: Vec<Value> =
        source.split(between).map(|part| state_in(part).or_else(|| condition(part, is_data))).collect::<Option<_>>()?;
    match <[Value; 1]>::try_from(parts) {
        Ok([only]) => Some(only),
        Err(parts) => Some(object([("type", Value::str(kind)), ("guards", many(parts))])),
    }
}

fn state_in(part: &str) -> Option<Value> {
    let part = part.trim();
    let (negated, term) = part.strip_prefix('!').map_or((false, part), |term| (true, term.trim_start()));
    let inside = term.strip_prefix("In")?.trim_start().strip_prefix('(')?.strip_suffix(')')?.trim();
    let quote = inside.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let id = inside.strip_prefix(quote)?.strip_suffix(quote)?;
    let guard = object([("type", Value::str("xstate.stateIn")), ("id", Value::str(id.replace('.', "\\.")))]);
    Some(match negated {
        true => object([("type", Value::str("xstate.not")), ("guards", many([guard]))]),
        false => guard,
    })
}

/// A guard is true or false; ECMAScript also takes what only counts as such.
fn condition(source: &str, is_data: &dyn Fn(&str) -> bool) -> Option<Value> {
    let words = || source.split(|c: char| !c.is_alphanumeric());
    let is_boolean = source.contains(['=', '<', '>']) || words().any(|word| matches!(word, "true" | "false"));
    is_boolean.then(|| to_cel(source, is_data).map(|text| expression(&text)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_languages_have_is_taken_and_nothing_else() {
        let cel = |source: &str| to_cel(source, &|name| name == "x");
        assert_eq!(cel("x === 1 && x !== 'a'").as_deref(), Some("context.x == 1 && context.x != 'a'"));
        for source in ["y + 1", "x++", "x / 2", "x.y", "'a\\'b'", "[1]", "", "x = 1"] {
            assert_eq!(cel(source), None, "{source}");
        }
        let value = |source: &str| value_of(source, &|name| name == "x").map(|value| value.to_string());
        assert_eq!(value(r#"[1, {"a": []}]"#).as_deref(), Some(r#"[1,{"a":[]}]"#));
        assert_eq!((value("-1.5").as_deref(), value(r#""a\"b""#).as_deref()), (Some("-1.5"), Some(r#""a\"b""#)));
        assert_eq!(value("x + 1").as_deref(), Some(r#"{"@expr":"context.x + 1"}"#));
        assert_eq!((value("[x]"), value(r#"{"@expr": "1"}"#)), (None, None));
        let guard = |source: &str| to_guard(source, &|name| name == "x").map(|guard| guard.to_string());
        assert_eq!(guard("In('a.b')").as_deref(), Some(r#"{"type":"xstate.stateIn","id":"a\\.b"}"#));
        assert!(
            guard("!In('a') && x > 1").unwrap().starts_with(r#"{"type":"xstate.and","guards":[{"type":"xstate.not""#)
        );
        assert_eq!((guard("x"), guard("In('a') && x > 1 || x < 0")), (None, None));
    }
}
