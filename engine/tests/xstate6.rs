//! XState 6's machine-as-data JSON, a feature at a time: each means the same here or is refused with what to write instead.
//! `tests/oracle/xstate6.test.mjs` holds XState 6 itself to the same rows.

#![allow(clippy::unwrap_used, missing_docs)]

use serde_json::{Value, json};
use statemesh_engine::{Diagnostic, Limits, Machine, simulate_batch_line};

fn features() -> Vec<Value> {
    serde_json::from_str(include_str!("../../tests/oracle/xstate6.json")).unwrap()
}

/// As the table has them: value, context, and the status if it is another than `active`.
fn snapshots(feature: &Value) -> Value {
    let answer = simulate_batch_line(feature.to_string().as_bytes(), &Limits::default());
    let mut answer: Value = serde_json::from_slice(&answer).unwrap();
    let Value::Array(snapshots) = answer["snapshots"].take() else { return answer };
    let shown = snapshots.into_iter().map(|snapshot| match &snapshot["status"] {
        status if status == "active" => json!([snapshot["value"], snapshot["context"]]),
        status => json!([snapshot["value"], snapshot["context"], status]),
    });
    shown.collect()
}

/// What is wrong with the feature's machine, its other machines being right.
fn errors(feature: &Value) -> Vec<Diagnostic> {
    let limits = Limits::default();
    let find = |name: &str| {
        let source = feature["machines"].get(name)?.to_string();
        Machine::compile(source.as_bytes(), &limits, &|_| None).ok().map(|compiled| compiled.machine)
    };
    let found = match Machine::compile(feature["machine"].to_string().as_bytes(), &limits, &find) {
        Ok(compiled) => compiled.warnings,
        Err(found) => found,
    };
    found.into_iter().filter(Diagnostic::is_error).collect()
}

#[test]
fn a_feature_means_the_same_or_is_refused_with_what_to_write_instead() {
    let mut wrong = Vec::new();
    for feature in features() {
        let name = &feature["name"];
        if let Some(code) = feature["refused"].as_str() {
            let found = errors(&feature);
            let hint = feature["hint"].as_str().unwrap_or_default();
            let is_meant = |found: &&Diagnostic| {
                found.code == code && (hint.is_empty() || found.hint.as_deref().is_some_and(|h| h.starts_with(hint)))
            };
            if !found.iter().any(|found| is_meant(&found)) {
                wrong.push(format!("{name} gives {found:?}, not {code} with {hint:?}"));
            }
        } else {
            let mut plain = feature.clone();
            plain["faults"] = json!("fail");
            let mut restored = plain.clone();
            restored["restore"] = json!(true);
            for found in [snapshots(&plain), snapshots(&restored)] {
                if found != feature["snapshots"] {
                    wrong.push(format!("{name} gives {found}, not {}", feature["snapshots"]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} features are otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn where_xstate_5_and_6_differ_5_is_followed() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("../../tests/oracle/differences.json")).unwrap();
    for row in rows {
        let mut request = row.clone();
        request["faults"] = json!("fail");
        let answer = simulate_batch_line(request.to_string().as_bytes(), &Limits::default());
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let last = answer["snapshots"].as_array().and_then(|snapshots| snapshots.last()).unwrap();
        for (key, wanted) in row["five"].as_object().unwrap() {
            assert_eq!(&last[key], wanted, "{}: {key}", row["what"]);
        }
        assert_eq!(last.get("output").is_some(), row["five"].get("output").is_some(), "{}", row["what"]);
    }
}
