//! A definition from XState's JSON. Both versions' are read as they are; what `export` put into `meta` is put back.

use super::indent;
use crate::definition::diagnostics::{Diagnostic, Severity};
use crate::definition::json_pos::{Document, position};
use crate::limits::Limits;
use crate::machine::UNNAMED;
use statemesh_expr::{List, Map, Str, Value};

/// Makes a definition of XState's JSON: what [`crate::Machine::export`] put under `meta.statemesh` stands under `@statemesh` again.
pub fn import(source: &[u8], limits: &Limits) -> Result<String, Diagnostic> {
    imported(source, None, limits)
}

/// [`import`] under another id: what names the machine's states by its old one names them by the new one.
pub fn import_as(source: &[u8], id: &str, limits: &Limits) -> Result<String, Diagnostic> {
    imported(source, Some(id), limits)
}

fn imported(source: &[u8], id: Option<&str>, limits: &Limits) -> Result<String, Diagnostic> {
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
    let old = document.root.get("id").and_then(|id| id.as_str()).unwrap_or(UNNAMED);
    let renaming = id.map(|new| Renaming { old, new });
    if let Some(id) = id {
        root.insert("id", Value::str(id));
    }
    for member in members.iter().filter(|member| id.is_none() || member.key != "id") {
        let mut value = member.value.to_value();
        if let Some(renaming) = renaming.as_ref().filter(|_| !DATA.contains(&member.key.as_str())) {
            value = renaming.of(&value, is_of_names(&member.key));
        }
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

/// What holds data, and names no states.
const DATA: [&str; 14] = [
    "@expr",
    "@code",
    "@statemesh",
    "id",
    "context",
    "description",
    "event",
    "input",
    "meta",
    "output",
    "params",
    "args",
    "schemas",
    "version",
];

/// Whether the keys of what stands under a key are names, whatever they are.
fn is_of_names(key: &str) -> bool {
    matches!(key, "states" | "on" | "after")
}

/// Another id of the machine, which the ids of its states begin with.
struct Renaming<'r> {
    old: &'r str,
    new: &'r str,
}

impl Renaming<'_> {
    /// What follows the old id in one of the machine's states.
    fn rest<'t>(&self, id: &'t str) -> Option<&'t str> {
        id.strip_prefix(self.old).filter(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    fn of(&self, value: &Value, names: bool) -> Value {
        match value {
            Value::Str(text) => match text.strip_prefix('#').and_then(|id| self.rest(id)) {
                Some(rest) => Value::Str(Str::new(format!("#{}{rest}", self.new))),
                None => value.clone(),
            },
            Value::List(items) => {
                Value::List(items.as_slice().iter().map(|item| self.of(item, false)).collect::<List>())
            }
            Value::Map(map) => {
                let is_state_in = map.get("type").and_then(Value::as_str) == Some("xstate.stateIn");
                let renamed = map.iter().map(|(key, item)| match item.as_str().and_then(|id| self.rest(id)) {
                    Some(rest) if is_state_in && *key == "id" => {
                        (key.clone(), Value::Str(Str::new(format!("{}{rest}", self.new))))
                    }
                    _ if !names && DATA.contains(&key.as_str()) => (key.clone(), item.clone()),
                    _ => (self.event(key), self.of(item, !names && is_of_names(key))),
                });
                Value::Map(renamed.collect())
            }
            other => other.clone(),
        }
    }

    /// The name of an event of the engine's own, such as `xstate.done.state.ID`.
    fn event(&self, key: &Str) -> Str {
        let own = key.strip_prefix("xstate.").filter(|_| !self.old.is_empty());
        let named = own.and_then(|own| {
            own.match_indices(self.old).find_map(|(at, _)| {
                let (before, after) = own.split_at_checked(at)?;
                let rest = self.rest(after)?;
                before.ends_with('.').then(|| Str::new(format!("xstate.{before}{}{rest}", self.new)))
            })
        });
        named.unwrap_or_else(|| key.clone())
    }
}
