//! The little of ECMAScript that is CEL too, which is what `export` writes: literals, ids of data, the event as `_event`, arithmetic,
//! comparison, logic, choice, and whether something is there.

use crate::definition::export::{expression, is_boolean, many, object};
use statemesh_expr::Value;

/// CEL for an expression over these ids of data. `None` if it is more than that.
pub(super) fn to_cel(source: &str, is_data: &dyn Fn(&str) -> bool) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    let mut open = Vec::new();
    let mut rest = source.trim();
    while !rest.is_empty() {
        let (text, after) = match asked(rest, is_data) {
            Some(asked) => asked,
            None => word(rest, source, is_data)?,
        };
        let before = words.last().map(String::as_str);
        let is_key = before == Some("{") || before == Some(",") && open.last() == Some(&'{');
        // A name before a colon is a key in ECMAScript, and would be a value in CEL.
        if is_key && text != "}" && !text.starts_with(['"', '\'']) {
            return None;
        }
        // What counts up or down.
        if before == Some(&text) && matches!(text.as_str(), "+" | "-") {
            return None;
        }
        match text.as_str() {
            "(" | "[" | "{" => open.extend(text.chars()),
            ")" => drop(open.pop().filter(|open| *open == '(')?),
            "]" => drop(open.pop().filter(|open| *open == '[')?),
            "}" => drop(open.pop().filter(|open| *open == '{')?),
            // It joins two expressions elsewhere.
            "," if !matches!(open.last(), Some('[' | '{')) => return None,
            _ => {}
        }
        words.push(text);
        rest = after.trim_start();
    }
    (!words.is_empty() && open.is_empty()).then(|| words.join(" "))
}

/// The first word in CEL, and what follows it.
fn word<'s>(rest: &'s str, source: &str, is_data: &dyn Fn(&str) -> bool) -> Option<(String, &'s str)> {
    let (token, after) = token(rest)?;
    let is_called = after.trim_start().starts_with('(');
    let text = match token {
        "===" => "==",
        "!==" => "!=",
        "true" | "false" | "null" => token,
        "Number" if is_called => "double",
        "String" if is_called => "string",
        // In CEL two whole numbers give a whole one.
        "/" if !source.contains("Number(") => return None,
        name if is_name_start(name) => return path(rest, is_data),
        other => other,
    };
    Some((text.to_owned(), after))
}

/// The first variable of a script that is none of these ids of data. `None` also where the script is more than can be read here, as
/// the names in a function are its own.
pub(super) fn unknown_name<'s>(source: &'s str, is_data: &dyn Fn(&str) -> bool) -> Option<&'s str> {
    const OF_ECMASCRIPT: [&str; 15] = [
        "true",
        "false",
        "null",
        "undefined",
        "NaN",
        "Infinity",
        "typeof",
        "void",
        "new",
        "this",
        "in",
        "instanceof",
        "Math",
        "Number",
        "JSON",
    ];
    let (mut unknown, mut before, mut rest) = (None, "", source.trim());
    while !rest.is_empty() {
        let (word, mut after) = token(rest)?;
        if is_name_start(word) {
            let is_function = after.trim_start().starts_with('(');
            let is_key = matches!(before, "{" | ",") && after.trim_start().starts_with(':');
            // SCXML reserves `_` for its own variables.
            let is_own = word.starts_with('_') || OF_ECMASCRIPT.contains(&word);
            if !(is_function || is_key || is_own || is_data(word)) {
                unknown = unknown.or(Some(word));
            }
            while let Some((_, next)) = key(after) {
                after = next;
            }
        }
        before = word;
        rest = after.trim_start();
    }
    unknown
}

fn is_name_start(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '$'))
}

/// `a.b` is `context.a.b`, `_event.name` the event's type, `_event.data.a` a field of it.
fn path<'s>(rest: &'s str, is_data: &dyn Fn(&str) -> bool) -> Option<(String, &'s str)> {
    let (first, mut rest) = token(rest)?;
    let mut written = if first == "_event" {
        let (what, after) = key(rest)?;
        if what == "name" {
            return Some(("event.type".to_owned(), after));
        }
        let (field, after) = key(after).filter(|(field, _)| what == "data" && *field != "type")?;
        rest = after;
        format!("event.{field}")
    } else {
        (is_name_start(first) && is_data(first)).then(|| format!("context.{first}"))?
    };
    while let Some((next, after)) = key(rest) {
        // That of a text or an array.
        if next == "length" {
            return None;
        }
        written.push('.');
        written.push_str(next);
        rest = after;
    }
    // A method.
    (!rest.trim_start().starts_with('(')).then_some((written, rest))
}

fn key(rest: &str) -> Option<(&str, &str)> {
    let rest = rest.strip_prefix('.')?;
    let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    (length > 0).then(|| rest.split_at(length))
}

/// `(_event.data && _event.data.a !== undefined)`, as `export` writes `has(event.a)`.
fn asked<'s>(rest: &'s str, is_data: &dyn Fn(&str) -> bool) -> Option<(String, &'s str)> {
    let rest = rest.strip_prefix('(')?.trim_start();
    let rest = rest.strip_prefix("_event.data &&").unwrap_or(rest).trim_start();
    let (path, rest) = path(rest, is_data)?;
    let rest = rest.trim_start().strip_prefix("!==")?.trim_start().strip_prefix("undefined")?;
    Some((format!("has({path})"), rest.trim_start().strip_prefix(')')?))
}

/// A value for an expression: what CEL computes, or what is JSON as well.
pub(super) fn value_of(source: &str, is_data: &dyn Fn(&str) -> bool) -> Option<Value> {
    let constant = Value::from_json(source.as_bytes(), &Default::default()).ok().filter(|value| !is_dynamic(value));
    match constant {
        // Nothing in it is to be computed.
        Some(value @ (Value::List(_) | Value::Map(_) | Value::Double(_))) => Some(value),
        Some(value @ Value::Str(_)) if source.contains('\\') => Some(value),
        constant => to_cel(source, is_data).map(|text| expression(&text)).or(constant),
    }
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
    const SIGNS: [&str; 25] = [
        "===", "!==", "==", "!=", "<=", ">=", "&&", "||", "-", "+", "*", "/", "%", "<", ">", "!", "(", ")", "[", "]",
        "{", "}", "?", ":", ",",
    ];
    let first = rest.chars().next()?;
    let length = if first.is_ascii_digit() {
        number_length(rest)
    } else if matches!(first, '\'' | '"') {
        text_length(rest, first)?
    } else if is_name_start(rest) {
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '$'))).unwrap_or(rest.len())
    } else {
        SIGNS.iter().find(|sign| rest.starts_with(**sign))?.len()
    };
    Some((rest.get(..length)?, rest.get(length..)?))
}

/// Digits, with a fraction or without.
fn number_length(rest: &str) -> usize {
    let digits = |from: usize| {
        let after = rest.get(from..).unwrap_or_default();
        from + after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len())
    };
    let whole = digits(0);
    match rest.get(whole..).is_some_and(|after| after.starts_with('.')) {
        true if digits(whole + 1) > whole + 1 => digits(whole + 1),
        _ => whole,
    }
}

/// A text in quotes, as long as its escapes mean the same in both languages.
fn text_length(rest: &str, quote: char) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, character)) = chars.next() {
        match character {
            '\\' => drop(chars.next().filter(|(_, escaped)| matches!(escaped, '\\' | '"' | '\'' | 'n' | 't' | 'r'))?),
            '\n' => return None,
            end if end == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// A guard for a condition: `In(...)` is `xstate.stateIn`, everything else CEL.
pub(super) fn to_guard(source: &str, is_data: &dyn Fn(&str) -> bool) -> Option<Value> {
    const DEPTH_MAX: usize = 32;
    guard(source, is_data, DEPTH_MAX)
}

fn guard(source: &str, is_data: &dyn Fn(&str) -> bool, depth_left: usize) -> Option<Value> {
    if !source.contains("In(") && !source.contains("In (") {
        return condition(source, is_data);
    }
    let depth_left = depth_left.checked_sub(1)?;
    let source = without_parentheses(source);
    for (between, kind) in [("||", "xstate.or"), ("&&", "xstate.and")] {
        let parts = parts(source, between)?;
        if parts.len() > 1 {
            let guards: Option<Vec<Value>> = parts.into_iter().map(|part| guard(part, is_data, depth_left)).collect();
            return Some(object([("type", Value::str(kind)), ("guards", many(guards?))]));
        }
    }
    match source.strip_prefix('!') {
        Some(negated) => {
            let inner = guard(negated, is_data, depth_left)?;
            Some(object([("type", Value::str("xstate.not")), ("guards", many([inner]))]))
        }
        None => state_in(source),
    }
}

/// The parts between a sign that stands in no parentheses and no quotes. `None`: one of those does not end.
fn parts<'s>(source: &'s str, between: &str) -> Option<Vec<&'s str>> {
    let (mut parts, mut begin, mut open, mut rest) = (Vec::new(), 0, 0_usize, source);
    while !rest.is_empty() {
        let at = source.len() - rest.len();
        let first = rest.chars().next()?;
        let length = match first {
            '\'' | '"' => text_length(rest, first)?,
            _ => first.len_utf8(),
        };
        match first {
            '(' => open += 1,
            ')' => open = open.checked_sub(1)?,
            _ if open == 0 && rest.starts_with(between) => {
                parts.push(source.get(begin..at)?);
                begin = at + between.len();
                rest = source.get(begin..)?;
                continue;
            }
            _ => {}
        }
        rest = rest.get(length..)?;
    }
    parts.push(source.get(begin..)?);
    (open == 0).then_some(parts)
}

/// What is added to a text, beginning with the text: ECMAScript makes text of each, and CEL adds no number to a text.
pub(super) fn joined(source: &str) -> Option<Vec<&str>> {
    const WEAKER: [&str; 7] = ["?", "=", "<", ">", "&&", "||", "-"];
    let parts: Vec<&str> = parts(source.trim(), "+")?.into_iter().map(str::trim).collect();
    let first = parts.first()?;
    let quote = first.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let is_one = |sign: &&str| self::parts(source, sign).is_some_and(|parts| parts.len() == 1);
    (text_length(first, quote)? == first.len() && WEAKER.iter().all(is_one)).then_some(parts)
}

/// The same without parentheses around all of it.
fn without_parentheses(source: &str) -> &str {
    let mut source = source.trim();
    // Where what is inside is balanced by itself, the two belong together.
    while let Some(inner) = source.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'))
        && parts(inner, ",").is_some()
    {
        source = inner.trim();
    }
    source
}

fn state_in(term: &str) -> Option<Value> {
    let inside = term.strip_prefix("In")?.trim_start().strip_prefix('(')?.strip_suffix(')')?.trim();
    let quote = inside.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let id = inside.strip_prefix(quote)?.strip_suffix(quote)?;
    Some(object([("type", Value::str("xstate.stateIn")), ("id", Value::str(id.replace('.', "\\.")))]))
}

/// A guard is true or false; ECMAScript also takes what only counts as such.
fn condition(source: &str, is_data: &dyn Fn(&str) -> bool) -> Option<Value> {
    is_boolean(source).then(|| to_cel(source, is_data).map(|text| expression(&text)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_languages_have_is_taken_and_nothing_else() {
        let cel = |source: &str| to_cel(source, &|name| name == "x");
        assert_eq!(cel("x === 1 && x !== 'a'").as_deref(), Some("context.x == 1 && context.x != 'a'"));
        assert_eq!(cel("x.y[0] + _event.data.n").as_deref(), Some("context.x.y [ 0 ] + event.n"));
        assert_eq!(cel("_event.name == 'a\\'b'").as_deref(), Some("event.type == 'a\\'b'"));
        assert_eq!(cel("(_event.data && _event.data.v !== undefined)").as_deref(), Some("has(event.v)"));
        assert_eq!(cel("Number(x) / 2.5").as_deref(), Some("double ( context.x ) / 2.5"));
        assert_eq!(cel("{\"x\": x, 'y': [x]}").as_deref(), Some("{ \"x\" : context.x , 'y' : [ context.x ] }"));
        for source in [
            "y + 1",
            "x++",
            "x / 2",
            "x.length",
            "x.f(1)",
            "'a\\x41'",
            "",
            "x = 1",
            "{x: 1}",
            "x, 1",
            "(x",
            "f(x)",
            "_event.data",
            "_event.data.type",
            "_event.origin",
            "x === undefined",
            "x => 1",
            "1.",
        ] {
            assert_eq!(cel(source), None, "{source}");
        }
        let value = |source: &str| value_of(source, &|name| name == "x").map(|value| value.to_string());
        assert_eq!(value(r#"[1, {"a": []}]"#).as_deref(), Some(r#"[1,{"a":[]}]"#));
        assert_eq!((value("-1.5").as_deref(), value(r#""a\"b""#).as_deref()), (Some("-1.5"), Some(r#""a\"b""#)));
        assert_eq!(value("x + 1").as_deref(), Some(r#"{"@expr":"context.x + 1"}"#));
        assert_eq!(
            (value("[y]"), value(r#"{"@expr": "1"}"#)),
            (None, Some(r#"{"@expr":"{ \"@expr\" : \"1\" }"}"#.to_owned()))
        );
    }

    #[test]
    fn a_condition_about_states_is_a_guard_however_it_is_nested() {
        let guard = |source: &str| to_guard(source, &|name| name == "x").map(|guard| guard.to_string());
        assert_eq!(guard("In('a.b')").as_deref(), Some(r#"{"type":"xstate.stateIn","id":"a\\.b"}"#));
        assert!(
            guard("!In('a') && x > 1").unwrap().starts_with(r#"{"type":"xstate.and","guards":[{"type":"xstate.not""#)
        );
        assert_eq!(guard("(In('a'))"), guard("In('a')"));
        let either = guard("(x > 1 && x < 3) || (In('a')) && (!(In('b')))").unwrap();
        assert!(
            either.starts_with(r#"{"type":"xstate.or","guards":[{"@expr":"( context.x > 1 && context.x < 3 )"}"#),
            "{either}"
        );
        assert!(
            either.ends_with(r#"{"type":"xstate.not","guards":[{"type":"xstate.stateIn","id":"b"}]}]}]}"#),
            "{either}"
        );
        assert_eq!((guard("x"), guard("(In('a')"), guard("In('a') && x")), (None, None, None));
        assert_eq!(guard(&format!("{}In('a')", "!".repeat(10_000))), None, "and no overflow");
    }
}
