//! `check`, `simulate`, `draw` and `schema`: what the binary makes of definitions without a mesh.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;
use support::{Folder, code, statemesh, stderr, stdout};

const LAMP: &str = r#"{
  "id": "lamp",
  "initial": "off",
  "states": {
    "off": {"on": {"PRESS": "on"}},
    "on": {"tags": ["lit"], "entry": [{"type": "click"}], "on": {"PRESS": "off"}, "after": {"1000": "off"}}
  }
}"#;

const BROKEN: &str = r#"{
  "id": "lamp",
  "initial": "off",
  "states": {
    "off": {"on": {"PRESS": "onn"}},
    "on": {}
  }
}"#;

#[test]
fn check_shows_an_error_at_its_place_and_ends_with_1() {
    let folder = Folder::new("check");
    folder.file("lamp.json", LAMP).file("broken.json", BROKEN);
    let good = folder.run(&["check", "lamp.json"]);
    assert_eq!(code(&good), 0, "{}{}", stdout(&good), stderr(&good));
    assert_eq!(stdout(&good), "lamp.json: ok (lamp, 3 states)\n");
    assert_eq!(stderr(&good), "1 file, 0 errors, 0 warnings\n");

    let bad = folder.run(&["check", "lamp.json", "broken.json"]);
    assert_eq!(code(&bad), 1);
    let shown = stdout(&bad);
    assert!(shown.contains("--> broken.json:5:"), "{shown}");
    assert!(shown.contains("5 |     \"off\": {\"on\": {\"PRESS\": \"onn\"}},"), "{shown}");
    assert!(shown.contains("^^^^^\n") && shown.contains("on"), "{shown}");
}

#[test]
fn check_gives_an_editor_the_places_as_json() {
    let folder = Folder::new("check-json");
    folder.file("broken.json", BROKEN);
    let output = folder.run(&["check", "broken.json", "-o", "json"]);
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = findings.as_array().unwrap().iter().find(|found| found["severity"] == "error").unwrap();
    assert_eq!((code(&output), &error["file"], &error["line"]), (1, &json!("broken.json"), &json!(5)));
    assert!(error["code"].is_string() && error["path"].as_str().unwrap().starts_with("/states/off/on"), "{error}");
    assert_eq!(stderr(&output), "");
}

#[test]
fn warnings_are_errors_when_asked_for() {
    let folder = Folder::new("strict");
    folder.file("warn.json", &LAMP.replace("\"on\": {\"tags\"", "\"lost\": {}, \"on\": {\"tags\""));
    let lenient = folder.run(&["check", "warn.json"]);
    assert!(code(&lenient) == 0 && stderr(&lenient).contains("1 warning"), "{}{}", stdout(&lenient), stderr(&lenient));
    assert_eq!(code(&folder.run(&["check", "warn.json", "--strict"])), 1);
}

#[test]
fn a_child_may_be_in_any_of_the_files() {
    let folder = Folder::new("children");
    let parent = r#"{"id": "parent", "initial": "a", "states": {"a": {"invoke": {"src": "lamp"}}}}"#;
    folder.file("parent.json", parent).file("lamp.json", LAMP);
    let both = folder.run(&["check", "parent.json", "lamp.json"]);
    assert_eq!(code(&both), 0, "{}", stdout(&both));
    assert_eq!(code(&folder.run(&["check", "parent.json"])), 1);
    folder.file("none.jsonl", "");
    let with = folder.run(&["simulate", "parent.json", "--with", "lamp.json", "--events", "none.jsonl"]);
    assert_eq!(code(&with), 0, "{}", stderr(&with));
}

#[test]
fn simulate_gives_a_line_for_the_start_and_for_each_event() {
    let folder = Folder::new("simulate");
    let events = "{\"type\":\"PRESS\"}\n\n{\"type\":\"@advance\",\"ms\":999}\n{\"type\":\"@advance\",\"ms\":1}";
    folder.file("lamp.json", LAMP).file("events.jsonl", events);
    let output = folder.run(&["simulate", "lamp.json", "--events", "events.jsonl"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<_> = lines.iter().map(|line| line["value"].as_str().unwrap()).collect();
    assert_eq!(states, ["off", "on", "on", "off"]);
    assert_eq!(lines[1]["tags"], json!(["lit"]));
    assert_eq!(lines[1]["effects"], json!([{"type": "click"}]));
}

#[test]
fn a_refused_line_says_why_and_shows_in_the_exit_code() {
    let folder = Folder::new("refused-line");
    folder.file("lamp.json", LAMP).file("events.jsonl", "{\"type\":7}\n{\"type\":\"PRESS\"}\n");
    let output = folder.run(&["simulate", "lamp.json", "--events", "events.jsonl"]);
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code(&output), lines.len()), (1, 3));
    assert_eq!((&lines[1]["error"]["code"], &lines[2]["value"]), (&json!("malformed_event"), &json!("on")));
    assert_eq!(lines[1]["error"]["line"], 1);
    let said = stderr(&output);
    assert!(said.contains("1 of the lines were refused, the first of them line 1"), "{said}");
}

#[test]
fn events_may_come_from_stdin_and_are_answered_as_they_come() {
    let folder = Folder::new("stdin-events");
    folder.file("lamp.json", LAMP);
    let mut child = statemesh(&folder.0)
        .args(["simulate", "lamp.json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["value"].clone();
    let mut stdin = child.stdin.take().unwrap();
    assert_eq!(next(), "off");
    stdin.write_all(b"{\"type\":\"PRESS\"}\n").unwrap();
    assert_eq!(next(), "on");
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_batch_gives_a_line_for_each_run_and_goes_on_after_a_bad_one() {
    let folder = Folder::new("batch");
    let run = json!({"machine": serde_json::from_str::<Value>(LAMP).unwrap(), "events": [{"type": "PRESS"}]});
    folder.file("batch.jsonl", &format!("{run}\n{{\"machine\":7}}\n\nnonsense\n{run}\n"));
    let output = folder.run(&["simulate", "--batch", "batch.jsonl"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["snapshots"][1]["value"], "on");
    assert!(lines[1]["error"]["code"].is_string() && lines[2]["error"]["code"].is_string(), "{lines:?}");
    assert_eq!((&lines[1]["error"]["line"], &lines[2]["error"]["line"]), (&json!(2), &json!(4)));
    assert_eq!(lines[0], lines[3]);
}

#[test]
fn an_output_that_a_verb_has_not_is_a_usage_error() {
    let folder = Folder::new("output");
    folder.file("lamp.json", LAMP).file("none.jsonl", "");
    for args in [
        &["draw", "lamp.json", "-o", "json"][..],
        &["draw", "lamp.json", "-o", "yaml"],
        &["simulate", "lamp.json", "--events", "none.jsonl", "-o", "yaml"],
        &["simulate", "--batch", "none.jsonl", "-o", "yaml"],
    ] {
        let output = folder.run(args);
        assert!(code(&output) == 2 && stderr(&output).contains("--output"), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_file_that_is_not_there_ends_with_5() {
    let folder = Folder::new("absent");
    for args in [
        &["check", "none.json"][..],
        &["simulate", "none.json"],
        &["simulate", "--batch", "none"],
        &["draw", "none.json"],
    ] {
        let output = folder.run(args);
        assert_eq!(code(&output), 5, "{args:?}");
        assert!(stderr(&output).contains("none") && stderr(&output).contains("No such file"), "{}", stderr(&output));
    }
}

#[test]
fn a_drawing_marks_where_an_instance_is() {
    let folder = Folder::new("draw");
    folder.file("lamp.json", LAMP);
    let mermaid = folder.run(&["draw", "lamp.json"]);
    assert!(stdout(&mermaid).starts_with("stateDiagram-v2\n"), "{}", stdout(&mermaid));
    let marked = folder.run(&["draw", "lamp.json", "--state", "on"]);
    assert!(code(&marked) == 0 && stdout(&marked) != stdout(&mermaid), "{}", stdout(&marked));
    let value = folder.run(&["draw", "lamp.json", "--state", "\"on\""]);
    assert_eq!(stdout(&value), stdout(&marked));
    let dot = folder.run(&["draw", "lamp.json", "--format", "dot"]);
    assert!(stdout(&dot).starts_with("digraph"), "{}", stdout(&dot));
    let wrong = folder.run(&["draw", "lamp.json", "--state", "onn"]);
    assert!(code(&wrong) == 2 && stderr(&wrong).contains("has no state 'onn'"), "{}", stderr(&wrong));
}

#[test]
fn the_schema_is_a_json_schema() {
    let folder = Folder::new("schema");
    let schema: Value = serde_json::from_slice(&folder.run(&["schema"]).stdout).unwrap();
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"), "{schema}");
}
