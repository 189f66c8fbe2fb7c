//! The little of CEL that is ECMAScript too, as SCXML documents have it: data by their ids, the event as `_event`.

use statemesh_expr::{Str, Value};

/// ECMAScript for an expression in CEL over a context of these keys. `None` if it is more than both languages have.
pub(super) fn of_cel(source: &str, is_key: &dyn Fn(&str) -> bool) -> Option<String> {
    let mut written = String::new();
    let mut rest = source.trim();
    while !rest.is_empty() {
        let (token, after) = token(rest)?;
        rest = after;
        let (text, after) = match token {
            "==" => ("===".to_owned(), rest),
            "!=" => ("!==".to_owned(), rest),
            "true" | "false" | "null" => (token.to_owned(), rest),
            "context" | "event" => path(token, rest, is_key)?,
            "has" => asked(rest, is_key)?,
            "double" => ("Number".to_owned(), rest),
            "string" => ("String".to_owned(), rest),
            name if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => return None,
            // In CEL two whole numbers give a whole one.
            "/" if !source.contains("double(") => return None,
            other => (other.to_owned(), rest),
        };
        let close = matches!(text.as_str(), ")" | "]" | ",") || written.ends_with(['(', '[', '!']);
        let called = matches!(text.as_str(), "(" | "[") && written.ends_with(|c: char| c.is_alphanumeric());
        if !(written.is_empty() || close || called) {
            written.push(' ');
        }
        written.push_str(&text);
        rest = after.trim_start();
    }
    (!written.is_empty()).then_some(written)
}

/// `context.a.b` is `a.b`, `event.type` the event's name, `event.a` its data.
fn path<'s>(root: &str, rest: &'s str, is_key: &dyn Fn(&str) -> bool) -> Option<(String, &'s str)> {
    let (first, mut rest) = key(rest)?;
    let mut written = match (root, first) {
        ("event", "type") => return Some(("_event.name".to_owned(), rest)),
        ("event", first) => format!("_event.data.{first}"),
        (_, first) if is_key(first) => first.to_owned(),
        _ => return None,
    };
    while let Some((next, after)) = key(rest) {
        written.push('.');
        written.push_str(next);
        rest = after;
    }
    // A method.
    (!rest.trim_start().starts_with('(')).then_some((written, rest))
}

/// `has(event.a)`
fn asked<'s>(rest: &'s str, is_key: &dyn Fn(&str) -> bool) -> Option<(String, &'s str)> {
    let rest = rest.trim_start().strip_prefix('(')?.trim_start();
    let (root, rest) = token(rest)?;
    let (path, rest) = path(root, rest, is_key)?;
    let rest = rest.trim_start().strip_prefix(')')?;
    let data = if path.starts_with("_event.data.") { "_event.data && " } else { "" };
    Some((format!("({data}{path} !== undefined)"), rest))
}

fn key(rest: &str) -> Option<(&str, &str)> {
    let rest = rest.strip_prefix('.')?;
    let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    (length > 0).then(|| rest.split_at(length))
}

/// The first token, and what follows it.
fn token(rest: &str) -> Option<(&str, &str)> {
    const SIGNS: [&str; 20] =
        ["==", "!=", "<=", ">=", "&&", "||", "-", "+", "*", "/", "%", "<", ">", "!", "(", ")", "?", ":", ",", "["];
    let first = rest.chars().next()?;
    let length = if first.is_ascii_digit() {
        rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len())
    } else if matches!(first, '\'' | '"') {
        let text = rest.get(1..)?;
        let end = text.find(first)?;
        if text.get(..end)?.contains(['\\', '\n']) {
            return None;
        }
        end + 2
    } else if first.is_ascii_alphabetic() || first == '_' {
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len())
    } else if first == ']' {
        1
    } else {
        SIGNS.iter().find(|sign| rest.starts_with(**sign))?.len()
    };
    Some((rest.get(..length)?, rest.get(length..)?))
}

/// ECMAScript for a value with expressions at any depth.
pub(super) fn of_value(value: &Value, is_key: &dyn Fn(&str) -> bool) -> Option<String> {
    if let Some(text) = value.get("@expr").and_then(Value::as_str) {
        return of_cel(text, is_key);
    }
    match value {
        Value::List(items) => {
            let items: Option<Vec<String>> = items.as_slice().iter().map(|item| of_value(item, is_key)).collect();
            Some(format!("[{}]", items?.join(", ")))
        }
        Value::Map(map) => {
            let entry =
                |(key, item): (&Str, &Value)| Some(format!("{}: {}", Value::Str(key.clone()), of_value(item, is_key)?));
            let entries: Option<Vec<String>> = map.iter().map(entry).collect();
            Some(format!("{{{}}}", entries?.join(", ")))
        }
        scalar => Some(scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_languages_have_is_written_and_nothing_else() {
        let written = |source: &str| of_cel(source, &|key| key == "n" || key == "list");
        for (cel, expected) in [
            ("context.n + 1 == 2 && !(event.a.b > 3)", "n + 1 === 2 && !(_event.data.a.b > 3)"),
            ("event.type == 'E'", "_event.name === 'E'"),
            ("has(event.v) && event.v > 1", "(_event.data && _event.data.v !== undefined) && _event.data.v > 1"),
            ("double(context.n) / 2", "Number(n) / 2"),
            ("context.list[0]", "list[0]"),
        ] {
            assert_eq!(written(cel).as_deref(), Some(expected));
        }
        for cel in [
            "context.m",
            "context.n / 2",
            "size(context.list)",
            "params.p",
            "context.list.map(x, x)",
            "{'a': 1}",
            "'a\\'b'",
        ] {
            assert_eq!(written(cel), None, "{cel}");
        }
    }
}
