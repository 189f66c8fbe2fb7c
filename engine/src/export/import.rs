//! A definition from XState's JSON. Both versions' are read as they are; what `export` put into `meta` is put back.

use super::indent;
use crate::diagnostics::{Diagnostic, Severity};
use crate::json_pos::{Document, position};
use crate::limits::Limits;
use statemesh_expr::{Map, Value};

/// Makes a definition of XState's JSON: what [`crate::Machine::export`] put under `meta.statemesh` stands under `@statemesh` again.
pub fn import(source: &[u8], limits: &Limits) -> Result<String, Diagnostic> {
    let refused = |offset: usize, code: &'static str, message: String| {
        let (line, column) = position(source, offset);
        Diagnostic { severity: Severity::Error, code, path: String::new(), line, column, message, hint: None }
    };
    let document = Document::parse(source, limits.definition_depth_max)
        .map_err(|malformed| refused(malformed.offset, "malformed_json", malformed.what.to_owned()))?;
    let Some(members) = document.root.members() else {
        let message = format!("a definition must be an object, not {}", document.root.type_name());
        return Err(refused(document.root.offset, "wrong_type", message));
    };
    let own = document.root.get("meta").and_then(|meta| meta.get("statemesh"));
    let mut root = Map::new();
    for member in members {
        let mut value = member.value.to_value();
        if let (Value::Map(meta), "meta", true) = (&mut value, member.key.as_str(), own.is_some()) {
            meta.remove("statemesh");
            if meta.is_empty() {
                continue;
            }
        }
        root.insert(member.key.clone(), value);
    }
    if let Some(own) = own {
        root.insert("@statemesh", own.to_value());
    }
    let mut text = String::new();
    indent(&Value::Map(root), 0, &mut text);
    text.push('\n');
    Ok(text)
}
