//! Writes a JSON value as YAML. Block style for maps and lists; a text that could be read as anything else is quoted as in
//! JSON, which YAML 1.2 contains.

use super::control::json;
use serde_json::Value;

/// `value` as a YAML document, without `---`.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(_) | Value::Array(_) if !is_empty(value) => block(value, 0, &mut out),
        _ => {
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) => {
            for (index, (key, value)) in map.iter().enumerate() {
                pad(if index == 0 { 0 } else { indent }, out);
                out.push_str(&string(key));
                out.push(':');
                after_key(value, indent, out);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                pad(if index == 0 { 0 } else { indent }, out);
                out.push_str("- ");
                nested_or_scalar(value, indent + 2, out);
            }
        }
        other => nested_or_scalar(other, indent, out),
    }
}

fn after_key(value: &Value, indent: usize, out: &mut String) {
    if is_nested(value) {
        out.push('\n');
        pad(indent + 2, out);
        block(value, indent + 2, out);
    } else {
        out.push(' ');
        nested_or_scalar(value, indent, out);
    }
}

fn nested_or_scalar(value: &Value, indent: usize, out: &mut String) {
    if is_nested(value) {
        block(value, indent, out);
    } else {
        out.push_str(&scalar(value));
        out.push('\n');
    }
}

fn is_nested(value: &Value) -> bool {
    (value.is_object() || value.is_array()) && !is_empty(value)
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        other => other.to_string(),
    }
}

/// Plain only where no version of YAML reads it as something else: `no`, `1e3`, `0x1`, `12:30` and the like are quoted.
fn string(text: &str) -> String {
    const READ_AS_OTHERS: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan"];
    let mut chars = text.chars();
    let plain = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !READ_AS_OTHERS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if plain { text.to_owned() } else { json(&Value::String(text.to_owned()).to_string()).into_owned() }
}

fn pad(spaces: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', spaces));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn maps_and_lists_nest_as_blocks() {
        let value = json!([{"name": "a", "tags": ["x", "y"], "context": {"count": 1, "none": {}}}, 7, []]);
        let expected = "- name: a\n  tags:\n    - x\n    - \"y\"\n  context:\n    count: 1\n    none: {}\n- 7\n- []\n";
        assert_eq!(document(&value), expected);
    }

    #[test]
    fn a_text_stays_a_text() {
        for text in ["no", "NULL", "1e3", "0x1f", "12:30", "", "a: b", "- a", "#x", "~", "*a", "a\nb", " a", "é"] {
            assert_eq!(document(&json!(text)), format!("{}\n", json!(text)), "{text}");
        }
        assert_eq!(document(&json!("order/42")), "order/42\n");
    }
}
