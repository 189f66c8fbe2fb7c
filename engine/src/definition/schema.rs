//! A JSON Schema (draft 2020-12) of the definition format, for editors. It is generated from the same lists of keys
//! that the compiler checks names against, so the two cannot drift apart.

use crate::definition::keys::{self, BuiltIn, Key, Shape};
use statemesh_expr::{List, Map, Value};

/// The schema as JSON text.
pub fn json_schema() -> String {
    let mut definitions = Map::new();
    definitions.insert("state", object(&[keys::STATE], false));
    definitions.insert("transition", any_of([reference("target"), reference("transitionObject")]));
    definitions.insert("transitionObject", object(&[keys::TRANSITION], false));
    definitions.insert("target", string("A key path from the source's parent, `.child`, `#id` or `#id.path`."));
    definitions.insert("initialObject", object(&[keys::INITIAL], false));
    definitions.insert("invoke", object(&[keys::INVOKE], false));
    definitions.insert("route", object(&[keys::ROUTE], false));
    definitions.insert("expression", object(&[keys::EXPRESSION], false));
    definitions.insert("action", any_of(actions()));
    definitions.insert("guard", any_of(guards()));
    let root = object(&[keys::STATE, keys::ROOT], true);
    let mut schema = Map::new();
    schema.insert("$schema", Value::str("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title", Value::str("Statemesh machine definition"));
    schema.insert("description", Value::str("XState's machine-as-data JSON with expressions in CEL."));
    if let Value::Map(root) = root {
        for (key, value) in root.iter() {
            schema.insert(key.clone(), value.clone());
        }
    }
    schema.insert("$defs", Value::Map(definitions));
    Value::Map(schema).to_string()
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(fields.into_iter().collect())
}

fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::List(items.into_iter().collect::<List>())
}

fn any_of(items: impl IntoIterator<Item = Value>) -> Value {
    map([("anyOf", list(items))])
}

fn reference(name: &str) -> Value {
    map([("$ref", Value::str(format!("#/$defs/{name}")))])
}

fn string(about: &str) -> Value {
    map([("type", Value::str("string")), ("description", Value::str(about))])
}

fn of_type(name: &str) -> Value {
    map([("type", Value::str(name))])
}

fn map_of(values: Value) -> Value {
    map([("type", Value::str("object")), ("additionalProperties", values)])
}

fn one_or_many(item: Value) -> Value {
    any_of([item.clone(), map([("type", Value::str("array")), ("items", item)])])
}

fn constants(names: &[&str]) -> Value {
    map([("enum", list(names.iter().map(Value::str)))])
}

/// An object with the keys of these lists. Unknown keys are only warned about, so `open` objects allow them.
fn object(lists: &[&[Key]], open: bool) -> Value {
    object_with(lists, None, open)
}

fn object_with(lists: &[&[Key]], kind: Option<&BuiltIn>, open: bool) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    if let Some(kind) = kind {
        properties.insert("type", map([("const", Value::str(kind.name)), ("description", Value::str(kind.about))]));
        required.push(Value::str("type"));
    }
    for key in lists.iter().flat_map(|list| list.iter()) {
        properties.insert(key.name, described(shape(key.shape), key.about));
        if key.required {
            required.push(Value::str(key.name));
        }
    }
    let mut schema = Map::new();
    schema.insert("type", Value::str("object"));
    schema.insert("properties", Value::Map(properties));
    if !required.is_empty() {
        schema.insert("required", list(required));
    }
    if !open {
        schema.insert("additionalProperties", Value::Bool(false));
    }
    Value::Map(schema)
}

fn described(schema: Value, about: &str) -> Value {
    let Value::Map(mut map) = schema else { return schema };
    map.insert("description", Value::str(about));
    Value::Map(map)
}

fn actions() -> Vec<Value> {
    let named = [string("Name of a root action, or of an effect."), object(&[keys::EFFECT], false)];
    let built_in = keys::BUILT_IN_ACTIONS.iter().map(|kind| object_with(&[kind.keys], Some(kind), false));
    named.into_iter().chain(built_in).collect()
}

fn guards() -> Vec<Value> {
    let named = [reference("expression"), string("Name of a root guard."), object(&[keys::NAMED_GUARD], false)];
    let built_in = keys::BUILT_IN_GUARDS.iter().map(|kind| object_with(&[kind.keys], Some(kind), false));
    named.into_iter().chain(built_in).collect()
}

fn shape(shape: Shape) -> Value {
    match shape {
        Shape::String => of_type("string"),
        Shape::Strings => one_or_many(of_type("string")),
        Shape::Boolean => of_type("boolean"),
        Shape::Value => map([]),
        Shape::Object => of_type("object"),
        Shape::StateType => constants(&["atomic", "compound", "parallel", "final", "history", "choice"]),
        Shape::HistoryKind => {
            map([("enum", list([Value::str("shallow"), Value::str("deep"), Value::Bool(true), Value::Bool(false)]))])
        }
        Shape::Initial => any_of([of_type("string"), reference("initialObject")]),
        Shape::States => map_of(reference("state")),
        Shape::Transitions => one_or_many(reference("transition")),
        Shape::TransitionMap => map_of(one_or_many(reference("transition"))),
        Shape::Actions => one_or_many(reference("action")),
        Shape::Guard => reference("guard"),
        Shape::Guards => map([("type", Value::str("array")), ("items", reference("guard"))]),
        Shape::Invokes => one_or_many(reference("invoke")),
        Shape::Delay => any_of([of_type("number"), of_type("string"), reference("expression")]),
        Shape::Route => reference("route"),
        Shape::Own => {
            let honoured = |key: &keys::OwnKey| {
                let values =
                    key.honoured.iter().filter_map(|text| Value::from_json(text.as_bytes(), &Default::default()).ok());
                let words = map([("enum", list(values))]);
                let time = || map([("type", Value::str("string")), ("pattern", Value::str("^[0-9]+(ms|s|m|h|d)$"))]);
                described(if key.is_time { any_of([time(), words]) } else { words }, key.about)
            };
            let properties = keys::OWN.iter().filter(|key| !key.honoured.is_empty());
            let properties = properties.map(|key| (key.name, honoured(key))).collect();
            map([
                ("type", Value::str("object")),
                ("properties", Value::Map(properties)),
                ("additionalProperties", Value::Bool(false)),
            ])
        }
        Shape::Choice => map([("type", Value::str("array")), ("items", object(&[keys::BRANCH], false))]),
        Shape::Matches => map_of(map([("type", list(["string", "number", "boolean", "null"].map(Value::str)))])),
        Shape::ActionDefinitions => map_of(one_or_many(reference("action"))),
        Shape::GuardDefinitions => {
            let wrapped = map([
                ("type", Value::str("object")),
                ("properties", map([("when", reference("guard"))])),
                ("required", list([Value::str("when")])),
            ]);
            map_of(any_of([reference("guard"), wrapped]))
        }
        Shape::DelayDefinitions => {
            let plain = [of_type("number"), of_type("string"), reference("expression")];
            let wrapped = map([
                ("type", Value::str("object")),
                ("properties", map([("duration", any_of(plain.clone()))])),
                ("required", list([Value::str("duration")])),
            ]);
            map_of(any_of(plain.into_iter().chain([wrapped])))
        }
        Shape::Language => constants(&["cel"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_to_a_definition() {
        let text = json_schema();
        let schema = Value::from_json(text.as_bytes(), &Default::default()).unwrap();
        let definitions = schema.get("$defs").unwrap().as_map().unwrap();
        for reference in text.split("#/$defs/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(definitions.contains_key(name), "{name}");
        }
        let properties = schema.get("properties").unwrap();
        for key in ["initial", "states", "context", "guards"] {
            assert!(properties.get(key).is_some(), "{key}");
        }
    }
}
