//! Writes a map of maps as TOML, as the configuration file is written: what stands at the top first, then a section for each map.

use super::control::json;
use serde_json::{Map, Value};

/// `value` as a TOML document. What TOML cannot say, a null, is left out.
pub(crate) fn document(value: &Value) -> String {
    let Value::Object(map) = value else { return format!("value = {}\n", scalar(value)) };
    let mut out = entries(map);
    for (name, section) in map {
        if let Value::Object(section) = section {
            let gap = if out.is_empty() { "" } else { "\n" };
            out.push_str(&format!("{gap}[{}]\n{}", key(name), entries(section)));
        }
    }
    out
}

fn entries(map: &Map<String, Value>) -> String {
    let of_here = map.iter().filter(|(_, value)| !value.is_object() && !value.is_null());
    of_here.map(|(name, value)| format!("{} = {}\n", key(name), scalar(value))).collect()
}

fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if is_bare { name.to_owned() } else { scalar(&Value::String(name.to_owned())) }
}

/// A text in JSON is one in TOML, but for DEL, which is escaped here; so are numbers, and lists of both.
fn scalar(value: &Value) -> String {
    json(&value.to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_reads_back_as_the_same() {
        let value =
            json!({"mesh": "a\"b\u{7f}é\n", "none": null, "limits": {"batch": 5, "x.y": ["a", "b"]}, "last": 1});
        let text = document(&value);
        assert!(text.starts_with("mesh = ") && text.contains("\nlast = 1\n\n[limits]\nbatch = 5\n"), "{text}");
        let read = toml::de::DeTable::parse(&text).unwrap();
        let table = read.get_ref();
        assert_eq!(table["mesh"].get_ref().as_str(), Some("a\"b\u{7f}é\n"));
        assert_eq!(table["limits"].get_ref().as_table().unwrap().len(), 2);
    }
}
