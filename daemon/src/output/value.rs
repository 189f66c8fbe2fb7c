//! How a state, a status and other values of a snapshot read for a person.

use super::control::{json, printable};
use super::table::{Style, Table};
use serde_json::Value;

/// A state value as dotted paths: `{"a":{"b":"c"}}` is `a.b.c`; parallel regions are separated by commas.
pub(crate) fn state(value: &Value) -> String {
    state_paths(value).join(", ")
}

/// The same, one for each region.
pub(crate) fn state_paths(value: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    collect(value, String::new(), &mut paths);
    paths.iter().map(|path| printable(path)).collect()
}

/// Recursion ends with the value, whose depth serde_json has bounded (128) when it read it.
fn collect(value: &Value, prefix: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(regions) if regions.is_empty() => paths.push(prefix),
        Value::Object(regions) => {
            for (name, inner) in regions {
                collect(inner, join(&prefix, name), paths);
            }
        }
        Value::String(name) => paths.push(join(&prefix, name)),
        other => paths.push(join(&prefix, &other.to_string())),
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// A value in one line: texts without quotes, nothing for null.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => json(&other.to_string()).into_owned(),
    }
}

/// `1 daemon`, `3 daemons`.
pub(crate) fn count(number: usize, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

/// The fields of a map, one below the other.
pub(crate) fn fields(value: &Value) -> Table {
    let mut table = Table::new([]);
    for (name, value) in value.as_object().into_iter().flatten() {
        let text = if name == "value" { state(value) } else { text(value) };
        let style = if name == "status" { Style::of_status(&text) } else { Style::Plain };
        table.styled([(name.clone(), Style::Strong), (text, style)]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_state_reads_as_paths() {
        assert_eq!(state(&json!("paid")), "paid");
        assert_eq!(state(&json!({"a": {"b": "c"}})), "a.b.c");
        assert_eq!(state(&json!({"net": "up", "power": {"on": "full"}})), "net.up, power.on.full");
        assert_eq!(state(&json!({"a": {}})), "a");
    }
}
