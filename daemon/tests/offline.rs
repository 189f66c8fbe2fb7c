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
    assert_eq!(stdout(&good), "lamp.json: ok (lamp, 2 states)\n");
    assert_eq!(stderr(&good), "1 file, 0 errors, 0 warnings\n");

    let whole = folder.run(&["check", "."]);
    assert!(code(&whole) == 5 && stderr(&whole).contains("this takes files: ./*.json"), "{}", stderr(&whole));

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
    let strict = folder.run(&["check", "warn.json", "--strict"]);
    assert_eq!(code(&strict), 1);
    assert!(stdout(&strict).contains("warn.json: not ok (lamp"), "{}", stdout(&strict));
    assert!(stderr(&strict).contains("1 warning, which --strict takes for errors"), "{}", stderr(&strict));
    let both = folder.run(&["check", "nofile.json", "warn.json", "none.json"]);
    assert!(stdout(&both).contains("warn.json: ok"), "{}", stdout(&both));
    assert!(stderr(&both).contains("nofile.json: No such file") && stderr(&both).contains("none.json: No such"));
    assert_eq!(code(&both), 5);
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
    let output = folder.run(&["simulate", "lamp.json", "--events", "events.jsonl", "-o", "json"]);
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
    let output = folder.run(&["simulate", "lamp.json", "--events", "events.jsonl", "-o", "json"]);
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code(&output), lines.len()), (1, 3));
    assert_eq!((&lines[1]["error"]["code"], &lines[2]["value"]), (&json!("malformed_event"), &json!("on")));
    assert_eq!(lines[1]["error"]["line"], 1);
    let said = stderr(&output);
    assert!(said.contains("1 of the lines were refused, the first of them line 1"), "{said}");
}

#[test]
fn a_fault_refuses_its_line_or_fails_the_machine_as_it_is_asked_to() {
    let folder = Folder::new("faults");
    let machine = r#"{"id":"m","context":{"n":0},"on":{"ADD":{"actions":{"type":"@xstate.assign",
        "context":{"n":{"@expr":"context.n + event.by"}}}}}}"#;
    folder.file("m.json", machine).file("events.jsonl", "{\"type\":\"ADD\"}\n{\"type\":\"ADD\",\"by\":2}\n");
    let run = |rest: &[&str]| {
        let output = folder.run(&[&["simulate", "m.json", "--events", "events.jsonl", "-o", "json"], rest].concat());
        let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (code(&output), lines, stderr(&output))
    };
    let (code, lines, _) = run(&[]);
    assert_eq!((code, &lines[1]["error"]["code"], &lines[2]["context"]["n"]), (1, &json!("event_failed"), &json!(2)));
    assert_eq!(lines[1]["error"]["expression"], "context.n + event.by");
    let (code, lines, said) = run(&["--faults", "fail"]);
    assert_eq!((code, &lines[2]["status"], &lines[2]["context"]["n"]), (1, &json!("error"), &json!(0)));
    assert!(said.contains("ended in error"), "{said}");
}

#[test]
fn a_definition_is_written_for_xstate_and_read_back() {
    let folder = Folder::new("export");
    folder.file("lamp.json", &LAMP.replacen('{', r#"{"@statemesh": {"faults": "fail"},"#, 1));
    let exported = folder.run(&["export", "lamp.json"]);
    assert_eq!(code(&exported), 0, "{}", stderr(&exported));
    let six: Value = serde_json::from_slice(&exported.stdout).unwrap();
    assert_eq!(six["states"]["off"]["on"]["PRESS"], json!({"target": "on"}));
    folder.file("six.json", &stdout(&exported));
    let back: Value = serde_json::from_slice(&folder.run(&["import", "xstate", "six.json"]).stdout).unwrap();
    assert_eq!(back["@statemesh"], json!({"faults": "fail"}));
    let entry = r#""entry": [{"type": "@xstate.sendTo", "event": {"type": "PRESS"}}]"#;
    folder.file("lost.json", &LAMP.replace(r#""entry": [{"type": "click"}]"#, entry));
    let lost = folder.run(&["export", "lost.json"]);
    assert_eq!(code(&lost), 1);
    assert!(stderr(&lost).contains("lost.json:6:") && stdout(&lost).starts_with('{'), "{}", stderr(&lost));
}

#[test]
fn an_export_says_what_is_missing_and_what_is_not_the_same() {
    let folder = Folder::new("export-told");
    let count = r#"{"type": "@xstate.assign", "context": {"n": {"@expr": "context.n + 1"}}}"#;
    let say = r#"{"type": "say", "params": {"n": {"@expr": "context.n"}}}"#;
    let send = r#"{"type": "@xstate.sendTo", "event": {"type": "E"}}"#;
    folder.file("otherwise.json", &format!(r#"{{"id": "m", "context": {{"n": 0}}, "entry": [{count}, {say}]}}"#));
    folder.file(
        "both.json",
        &format!(r#"{{"id": "m", "context": {{"n": 0}}, "entry": [{count}, {say}, {send}, {send}]}}"#),
    );
    let otherwise = folder.run(&["export", "otherwise.json"]);
    let said = stderr(&otherwise);
    assert_eq!(code(&otherwise), 1);
    assert!(said.contains("1 part is written, and does something else there") && !said.contains("missing"), "{said}");
    assert!(said.contains("--format xstate5"), "{said}");
    let both = stderr(&folder.run(&["export", "both.json"]));
    assert!(both.contains("2 parts cannot be written and are missing; 1 part is written"), "{both}");
    assert_eq!(code(&folder.run(&["export", "otherwise.json", "-o", "yaml"])), 2);
}

#[test]
fn data_is_imported_under_another_id_as_it_is() {
    let folder = Folder::new("import-id");
    let guard = r##"{"guard": {"@expr": "context.n == 0"}, "target": "#m.b", "actions": {"type": "@xstate.assign", "context": {"n": {"@expr": "event.n"}}}}"##;
    let machine = format!(
        r##"{{"id": "m", "context": {{"n": 0}}, "initial": "a", "states": {{"a": {{"on": {{"E": {guard}}}}}, "b": {{}}}}}}"##
    );
    folder.file("m.json", &machine);
    for words in [&["--id", "other"][..], &["--from", "5"], &["--id", "other", "--from", "5"]] {
        let made = folder.run(&[&["import", "xstate", "m.json"], words].concat());
        assert_eq!(code(&made), 0, "{}", stderr(&made));
        folder.file("made.json", &stdout(&made));
        let checked = folder.run(&["check", "--strict", "made.json"]);
        assert!(
            stdout(&checked).contains(if words.len() > 2 || words[0] == "--id" { "ok (other," } else { "ok (m," }),
            "{}",
            stdout(&checked)
        );
    }
    for words in [&["--id", "a/b"][..], &["--name", "x"], &["--child", "x"]] {
        let refused = folder.run(&[&["import", "xstate", "m.json"], words].concat());
        assert_eq!((code(&refused), refused.stdout.len()), (2, 0), "{}", stderr(&refused));
    }
}

#[test]
fn children_that_are_not_there_are_to_be_given_in_any_order_and_a_circle_is_named() {
    let folder = Folder::new("check-children");
    folder.file("child.json", r#"{"id": "child", "initial": "a", "states": {"a": {"type": "final"}}}"#);
    let parent =
        r#"{"id": "parent", "initial": "a", "states": {"a": {"invoke": {"src": "child", "onDone": "b"}}, "b": {}}}"#;
    folder.file("parent.json", parent);
    let alone = folder.run(&["check", "parent.json"]);
    assert!(
        stdout(&alone).contains("--with FILE") && !stdout(&alone).contains("define the invoked"),
        "{}",
        stdout(&alone)
    );
    assert!(stderr(&folder.run(&["draw", "parent.json"])).contains("--with FILE"));
    let both = folder.run(&["check", "parent.json", "child.json"]);
    assert_eq!(code(&both), 0);
    let other = r#"{"id": "child", "initial": "a", "states": {"a": {"invoke": {"src": "parent"}}}}"#;
    folder.file("other.json", other);
    let itself = r#"{"id":"tree","initial":"a","states":{"a":{"invoke":{"src":"tree"}}}}"#;
    folder.file("tree.json", itself).file("leaf.json", r#"{"id":"tree"}"#);
    let itself = folder.run(&["check", "tree.json"]);
    assert_eq!(code(&itself), 1);
    let told = stdout(&itself);
    assert!(
        told.contains(r#"the machine "tree" names itself as its child"#) && told.contains("tree.json:1:"),
        "{told}"
    );
    assert!(told.contains("define the machine once without this") && !told.contains("give its definition"), "{told}");
    assert_eq!(code(&folder.run(&["check", "leaf.json", "tree.json"])), 0, "of an earlier version");
    let circle = folder.run(&["check", "parent.json", "other.json"]);
    assert_eq!(code(&circle), 1);
    assert!(stdout(&circle).contains("parent invokes child invokes parent"), "{}", stdout(&circle));
}

#[test]
fn a_child_that_is_given_and_has_errors_of_its_own_is_not_asked_for_again() {
    let folder = Folder::new("check-broken-children");
    let invokes = |id: &str, child: &str| {
        format!(
            r#"{{"id":"{id}","initial":"a","states":{{"a":{{"invoke":{{"src":"{child}","onDone":"b"}}}},"b":{{}}}}}}"#
        )
    };
    folder.file("order.json", &invokes("order", "payment"));
    folder.file("payment.json", r#"{"id":"payment","initial":"x","states":{"a":{}}}"#);
    for files in [["order.json", "payment.json"], ["payment.json", "order.json"]] {
        let checked = folder.run(&[&["check"], &files[..]].concat());
        let told = stdout(&checked);
        assert_eq!(code(&checked), 1);
        assert!(
            told.contains(r#"the machine "payment" has errors of its own"#) && told.contains("mend payment.json"),
            "{told}"
        );
        assert!(!told.contains("give its definition") && !told.contains("is defined"), "{told}");
    }
    folder.file("payment.json", &invokes("payment", "bank"));
    let checked = folder.run(&["check", "order.json", "payment.json"]);
    let told = stdout(&checked);
    assert!(told.contains("mend payment.json") && told.contains(r#"no machine "bank" is defined"#), "{told}");
    assert_eq!(told.matches("give its definition").count(), 1, "of the one that is not there: {told}");
    folder.file("payment.json", r#"{"id":"payment","#);
    let told = stdout(&folder.run(&["check", "order.json", "payment.json"]));
    assert!(told.contains("payment.json cannot be read"), "{told}");
}

#[test]
fn a_picture_is_drawn_by_graphviz_or_the_way_out_is_said() {
    let folder = Folder::new("picture");
    folder.file("lamp.json", LAMP);
    for (format, beginning) in [("svg", &b"<?xml"[..]), ("png", b"\x89PNG")] {
        let drawn = folder.run(&["draw", "lamp.json", "--format", format]);
        match code(&drawn) {
            0 => assert!(drawn.stdout.starts_with(beginning), "{format}"),
            // This machine has no Graphviz.
            5 => assert!(stderr(&drawn).contains("install the package graphviz"), "{}", stderr(&drawn)),
            other => panic!("{other}: {}", stderr(&drawn)),
        }
    }
}

#[test]
fn a_program_needs_the_package_beside_it() {
    let folder = Folder::new("live");
    folder.file("lamp.ts", "export const lamp = 1;");
    let refused = folder.run(&["import", "xstate", "lamp.ts"]);
    assert_eq!(code(&refused), 5);
    let said = stderr(&refused);
    assert!(said.contains("lamp.ts") && said.contains("npm install --save-dev"), "{said}");
    // Code in JSON, as Stately's export has it, needs it too.
    folder.file("lamp.json", r#"{"id":"lamp","context":"{{ ({input}) => ({n: input.n}) }}"}"#);
    assert_eq!(code(&folder.run(&["import", "xstate", "lamp.json"])), 5);
    assert!(said.contains("--install-links"), "npm alone links the folder and installs nothing: {said}");
}

#[test]
fn events_may_come_from_stdin_and_are_answered_as_they_come() {
    let folder = Folder::new("stdin-events");
    folder.file("lamp.json", LAMP);
    let mut child = statemesh(&folder.0)
        .args(["simulate", "lamp.json", "-o", "json"])
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
        &["simulate", "lamp.json", "--events", "none.jsonl", "-o", "toml"],
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
    assert!(stderr(&wrong).contains("did you mean on?"), "{}", stderr(&wrong));
}

/// What a picture of Graphviz shows: its texts, its arrows and the one node that is lit. Where they stand is the layout's matter, which differs
/// from release to release.
fn of_picture(svg: &str) -> (Vec<String>, Vec<String>, String) {
    let plain = |text: &str| {
        let entities = [("&#45;", "-"), ("&gt;", ">"), ("&lt;", "<"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
        entities.iter().fold(text.to_owned(), |text, (entity, is)| text.replace(entity, is))
    };
    let all = |begin: &str, end: &str| -> Vec<String> {
        let found = svg.split(begin).skip(1).filter_map(|rest| rest.split_once(end));
        found.map(|(text, _)| plain(text.rsplit('>').next().unwrap_or_default())).collect()
    };
    let (before, _) = svg.split_once("fill=\"#fde68a\"").unwrap();
    let lit = before.rsplit("<title>").next().unwrap().split('<').next().unwrap();
    let (texts, titles) = (all("<text", "</text>"), all("<title>", "</title>"));
    (texts, titles.into_iter().filter(|title| title.contains("->")).collect(), lit.to_owned())
}

/// The same of the text that the picture is made of.
fn of_dot(dot: &str) -> (Vec<String>, Vec<String>, String) {
    let labels = dot.split("label=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    let texts = labels.flat_map(|(label, _)| label.split("\\n")).filter(|text| !text.is_empty()).map(str::to_owned);
    let arrows = dot.lines().filter_map(|line| line.split_once(" [")).filter(|(arrow, _)| arrow.contains(" -> "));
    let lit = dot.lines().find(|line| line.contains("fillcolor=\"#fde68a\"")).unwrap();
    let lit = lit.split_whitespace().next().unwrap().to_owned();
    (texts.collect(), arrows.map(|(arrow, _)| arrow.trim().replace(' ', "")).collect(), lit)
}

#[test]
fn the_readme_shows_the_chart_as_it_is_drawn() {
    let folder = Folder::new("readme");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.contains("statemesh draw examples/order/machine.json --state paid --format svg"));
    assert!(readme.contains("(docs/images/order.svg)"));
    let machine = root.join("examples/order/machine.json");
    let drawn = |format| folder.run(&["draw", machine.to_str().unwrap(), "--state", "paid", "--format", format]);
    let picture = root.join("docs/images/order.svg");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let svg = drawn("svg");
        assert_eq!(code(&svg), 0, "{}", stderr(&svg));
        std::fs::write(&picture, svg.stdout).unwrap();
    }
    let (mut shown, mut wanted) =
        (of_picture(&std::fs::read_to_string(picture).unwrap()), of_dot(&stdout(&drawn("dot"))));
    for (texts, arrows, _) in [&mut shown, &mut wanted] {
        texts.sort();
        arrows.sort();
    }
    assert_eq!(shown, wanted, "docs/images/order.svg is not what is drawn: UPDATE_DOCS=1 draws it, with Graphviz");
}

#[test]
fn the_schema_is_a_json_schema() {
    let folder = Folder::new("schema");
    let schema: Value = serde_json::from_slice(&folder.run(&["schema"]).stdout).unwrap();
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"), "{schema}");
    let yaml = stdout(&folder.run(&["schema", "-o", "yaml"]));
    assert!(yaml.lines().any(|line| line.starts_with("$schema: ") || line.starts_with("\"$schema\": ")), "{yaml}");
}

#[test]
fn a_simulation_reads_as_a_table_for_a_person_and_as_yaml_for_a_program() {
    let folder = Folder::new("simulate-forms");
    folder.file("lamp.json", LAMP).file("events.jsonl", "{\"type\":\"PRESS\"}\n");
    let table = folder.run(&["simulate", "lamp.json", "--events", "events.jsonl"]);
    assert_eq!(stdout(&table), "off  active  {}\non  active  {}\n  effect {\"type\":\"click\"}\n");
    let yaml = stdout(&folder.run(&["simulate", "lamp.json", "--events", "events.jsonl", "-o", "yaml"]));
    assert!(yaml.starts_with("---\nvalue: \"off\"\n") && yaml.matches("---\n").count() == 2, "{yaml}");
}

#[test]
fn what_is_expected_is_compared_and_a_difference_shown() {
    let folder = Folder::new("expect");
    folder.file("lamp.json", LAMP).file("events.jsonl", "{\"type\":\"PRESS\"}\n{\"type\":\"PRESS\"}\n");
    let run = ["simulate", "lamp.json", "--events", "events.jsonl"];
    let kept = stdout(&folder.run(&[&run[..], &["-o", "json"]].concat()));
    folder.file("kept.jsonl", &kept).file("short.jsonl", "{\"value\":\"off\"}\n{\"tags\":[\"lit\"]}\n{}\n");
    for expected in ["kept.jsonl", "short.jsonl"] {
        let output = folder.run(&[&run[..], &["--expect", expected]].concat());
        assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
        assert!(stderr(&output).contains("3 lines as expected"), "{}", stderr(&output));
    }
    folder.file("wrong.jsonl", "{\"value\":\"off\"}\n{\"value\":\"onn\"}\n");
    let wrong = folder.run(&[&run[..], &["--expect", "wrong.jsonl"]].concat());
    assert!(code(&wrong) == 1 && stderr(&wrong).contains("2 lines not as expected"), "{}", stderr(&wrong));
    assert!(stdout(&wrong).contains("\"onn\"") && stdout(&wrong).contains("(nothing)"), "{}", stdout(&wrong));
    let wrong = folder.run(&[&run[..], &["--expect", "wrong.jsonl", "-o", "json"]].concat());
    let found: Value = serde_json::from_slice(&wrong.stdout).unwrap();
    assert_eq!(
        (&found[0]["line"], &found[0]["expected"], &found[0]["actual"]),
        (&json!(2), &json!("onn"), &json!("on"))
    );
    folder.file("no.jsonl", "{\"value\":\"off\"}\n[]\n");
    assert_eq!(code(&folder.run(&[&run[..], &["--expect", "no.jsonl"]].concat())), 2);
}

#[test]
fn a_machine_that_is_stuck_shows_in_the_exit_code() {
    let folder = Folder::new("failing");
    let failing = r#"{"id":"f","initial":"a","context":{},"states":{"a":{"after":{"5":{"target":"b","guard":{"@expr":"context.none > 1"}}}},"b":{}}}"#;
    folder.file("f.json", failing).file("events.jsonl", "{\"type\":\"@advance\",\"ms\":5}\n");
    let output = folder.run(&["simulate", "f.json", "--events", "events.jsonl"]);
    assert!(code(&output) == 1 && stderr(&output).contains("f is stuck: "), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn a_definition_that_is_refused_is_json_where_json_is_asked_for() {
    let folder = Folder::new("refused-json");
    folder.file("broken.json", BROKEN);
    for verb in ["simulate", "draw"] {
        let mut args = vec![verb, "broken.json"];
        args.extend(if verb == "draw" { &[][..] } else { &["-o", "json"] });
        let output = folder.run(&args);
        assert_eq!(code(&output), 1, "{}", stderr(&output));
        if verb == "simulate" {
            let error: Value = serde_json::from_slice(&output.stderr).unwrap();
            assert_eq!(error["error"]["diagnostics"][0]["line"], 5);
        }
    }
}

#[test]
fn a_name_in_a_definition_does_not_reach_the_terminal_as_it_is() {
    let folder = Folder::new("controls");
    let escape = "\\u001b[2J\\u001b[32m\\u009b31m\\u007f";
    folder.file("m.json", &format!(r#"{{"id":"m{escape}","initial":"s{escape}","states":{{"s{escape}":{{"on":{{"E{escape}":"none{escape}"}}}}}}}}"#));
    folder.file("good.json", &format!(r#"{{"id":"m{escape}","initial":"s{escape}","states":{{"s{escape}":{{}}}}}}"#));
    folder.file("none.jsonl", "");
    let lines: [&[&str]; 7] = [
        &["check", "m.json"],
        &["check", "m.json", "-o", "json"],
        &["draw", "good.json"],
        &["draw", "good.json", "--format", "dot"],
        &["draw", "m.json"],
        &["simulate", "good.json", "--events", "none.jsonl"],
        &["simulate", "good.json", "--events", "none.jsonl", "-o", "json"],
    ];
    for args in lines {
        let output = folder.run(args);
        let all = stdout(&output) + &stderr(&output);
        assert!(all.contains('s') && !all.contains(|c: char| c.is_control() && c != '\n'), "{args:?}: {all:?}");
    }
}

#[test]
fn of_a_line_that_is_no_event_it_is_not_said_that_nothing_reacts_to_it() {
    let folder = Folder::new("no-event");
    folder.file("lamp.json", LAMP).file("events.jsonl", "{\"type\":\"NOPE\"\n");
    let output = folder.run(&["simulate", "lamp.json", "--events", "events.jsonl"]);
    let said = stderr(&output);
    assert!(code(&output) == 1 && said.contains("line 1") && !said.contains("nothing reacts"), "{said}");
}

#[test]
fn an_event_that_nothing_reacts_to_is_told_with_its_line() {
    let folder = Folder::new("nothing-reacts");
    folder.file("lamp.json", LAMP).file("events.jsonl", "{\"type\":\"PRESS\"}\n\n{\"type\":\"PERSS\"}\n");
    let run = ["simulate", "lamp.json", "--events", "events.jsonl"];
    let output = folder.run(&run);
    let expected = "events.jsonl:3: nothing reacts to PERSS: here it reacts to PRESS; did you mean PRESS?\n";
    assert_eq!((code(&output), stderr(&output)), (0, expected.to_owned()));
    assert_eq!(stderr(&folder.run(&[&run[..], &["-o", "json"]].concat())), "");
    folder.file("end.json", r#"{"id":"e","initial":"a","states":{"a":{}}}"#);
    let none = folder.run(&["simulate", "end.json", "--events", "events.jsonl"]);
    assert!(stderr(&none).contains("here it reacts to no event"), "{}", stderr(&none));
}

#[test]
fn a_misspelt_directive_is_an_error_with_what_was_meant() {
    let folder = Folder::new("directive");
    folder.file("lamp.json", LAMP).file("events.jsonl", "{\"type\":\"@advanec\",\"ms\":500}\n");
    let output = folder.run(&["simulate", "lamp.json", "--events", "events.jsonl"]);
    let (code, said) = (code(&output), stdout(&output));
    assert!(code == 1 && said.contains("@advanec") && said.contains("did you mean \"@advance\""), "{code}: {said}");
}

#[test]
fn in_a_pipe_nothing_is_prompted_for_and_a_refused_line_ends_with_1() {
    let folder = Folder::new("pipe");
    folder.file("lamp.json", LAMP);
    let run = |text: &str| {
        let mut child = statemesh(&folder.0)
            .args(["simulate", "lamp.json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let good = run("{\"type\":\"PRESS\"}\n");
    assert_eq!((code(&good), stderr(&good)), (0, String::new()));
    assert_eq!(stdout(&good).lines().count(), 3, "{}", stdout(&good));
    let typed = run("PRESS\n");
    assert!(code(&typed) == 1 && stderr(&typed).contains("each line is one event as JSON"), "{}", stderr(&typed));
}

#[test]
fn two_files_of_one_id_are_a_mistake_that_names_both() {
    let folder = Folder::new("namesakes");
    folder.file("lamp.json", LAMP).file("copy.json", LAMP).file("other.json", "{\"id\": \"other\"}");
    let output = folder.run(&["check", "lamp.json", "other.json", "copy.json"]);
    let said = stdout(&output);
    assert_eq!(code(&output), 1, "{said}");
    assert!(
        said.contains("the id \"lamp\" is that of copy.json too") && said.contains("that of lamp.json too"),
        "{said}"
    );
    assert!(said.contains("other.json: ok (other"), "{said}");
    assert_eq!(code(&folder.run(&["check", "lamp.json", "lamp.json"])), 0, "it is one file");
    let with = folder.run(&["simulate", "lamp.json", "--with", "copy.json", "--events", "/dev/null"]);
    assert!(code(&with) == 1 && stderr(&with).contains("is that of"), "{}", stderr(&with));
}

#[test]
fn json_of_xstate_4_is_noticed() {
    let folder = Folder::new("four");
    let four = r#"{"id":"m","initial":"a","states":{"a":{"on":{"GO":{"target":"b","cond":"ok","internal":false}}},"b":{"type":"final","data":{}}}}"#;
    folder.file("four.json", four);
    let checked = stdout(&folder.run(&["check", "four.json"]));
    assert_eq!(checked.matches("import xstate four.json --from 4").count(), 1, "{checked}");
    let imported = folder.run(&["import", "xstate", "four.json"]);
    assert_eq!((code(&imported), stdout(&imported)), (1, String::new()));
    assert!(
        stderr(&imported).contains("written for XState 4") && stderr(&imported).contains("--from 4"),
        "{}",
        stderr(&imported)
    );
    assert_eq!(code(&folder.run(&["import", "xstate", "four.json", "--from", "5"])), 0, "as it is");
}

#[test]
fn a_machine_that_needs_an_input_says_how_to_give_one() {
    let folder = Folder::new("needs-input");
    folder.file("need.json", r#"{"id":"need","context":{"n":{"@expr":"input.n"}},"initial":"a","states":{"a":{}}}"#);
    let hint =
        |args: &[&str]| stderr(&folder.run(&[&["simulate", "need.json", "--events", "/dev/null"], args].concat()));
    assert!(hint(&[]).contains("--input '{...}'"), "{}", hint(&[]));
    let given = hint(&["--input", "{}"]);
    assert!(given.contains("no such key: n") && !given.contains("--input"), "{given}");
    assert_eq!(hint(&["--input", "{\"n\":1}"]), "");
}

#[test]
fn two_files_without_an_id_are_a_mistake_that_names_both() {
    let folder = Folder::new("nameless");
    std::fs::create_dir_all(folder.0.join("machines")).unwrap();
    folder.file("machines/a.json", r#"{"initial":"a","states":{"a":{}}}"#);
    folder.file("machines/b.json", r#"{"initial":"b","states":{"b":{}}}"#);
    let checked = folder.run(&["check", "machines/a.json", "machines/b.json"]);
    let said = stdout(&checked);
    assert_eq!(code(&checked), 1, "{said}");
    assert!(said.contains("error[id_in_use]") && said.contains("no id, as machines/b.json has none"), "{said}");
    assert!(said.contains("as machines/a.json has none") && said.contains("add \"id\""), "{said}");
    assert_eq!(code(&folder.run(&["check", "machines/a.json"])), 0, "one alone is a warning");
    let with = ["simulate", "machines/a.json", "--with", "machines/b.json", "--events", "/dev/null"];
    assert!(stderr(&folder.run(&with)).contains("no id, as machines/"), "{}", stderr(&folder.run(&with)));
    let up = folder.run(&["up", "--machines", "machines", "--port", "7999"]);
    let said = stderr(&up);
    assert!(code(&up) == 1 && said.contains("machines/a.json, machines/b.json have no id"), "{said}");
    assert!(said.contains("add \"id\""), "{said}");
    let ports =
        ["clients", "changes", "peers", "gossip", "http"].map(|port| [format!("--listen-{port}"), "0".to_owned()]);
    let mut daemon = statemesh(&folder.0);
    daemon.args(["daemon", "--machines", "machines"]).args(ports.as_flattened());
    let daemon = ended(daemon.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let said = stderr(&daemon);
    assert!(code(&daemon) == 4 && said.contains("machines/a.json") && said.contains("machines/b.json"), "{said}");
    assert!(said.contains("add \"id\"") && !said.contains("shows the place"), "{said}");
}

/// The output of a process that has to end by itself within a time that is long enough for a start that is refused.
fn ended(mut process: std::process::Child) -> std::process::Output {
    for _ in 0..100 {
        if process.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let _ = process.kill();
    process.wait_with_output().unwrap()
}

#[test]
fn an_empty_id_is_an_error_at_its_place() {
    let folder = Folder::new("empty-id");
    folder.file("m.json", "{\n  \"id\": \"\",\n  \"initial\": \"a\",\n  \"states\": {\"a\": {}}\n}");
    let checked = folder.run(&["check", "m.json"]);
    let said = stdout(&checked);
    assert!(code(&checked) == 1 && said.contains("error[bad_machine_id]") && said.contains("m.json:2:9"), "{said}");
}

#[test]
fn a_file_that_is_no_utf_8_is_named_with_the_place() {
    let folder = Folder::new("latin");
    std::fs::write(folder.0.join("m.json"), b"{\n  \"id\": \"caf\xe9\"\n}").unwrap();
    for verb in [&["check", "m.json"][..], &["draw", "m.json"], &["define", "m.json"], &["import", "scxml", "m.json"]] {
        let said = stderr(&folder.run(verb));
        assert!(said.contains("m.json:2") && said.contains("byte 14") && said.contains("UTF-8"), "{verb:?}: {said}");
    }
    let wide: Vec<u8> = "{\"id\":\"m\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(folder.0.join("wide.json"), [&b"\xff\xfe"[..], &wide].concat()).unwrap();
    let said = stderr(&folder.run(&["check", "wide.json"]));
    assert!(said.contains("wide.json:1") && said.contains("save it as UTF-8"), "{said}");
}

#[test]
fn a_file_to_import_that_is_not_there_is_said_to_be_missing() {
    let folder = Folder::new("import-nothing");
    for args in [
        &["import", "xstate", "nofile.ts"][..],
        &["import", "xstate", "nofile.json"],
        &["import", "scxml", "nofile.xml"],
    ] {
        let output = folder.run(args);
        let said = stderr(&output);
        assert!(code(&output) == 5 && said.contains("nofile.") && said.contains("No such file"), "{said}");
        assert!(!said.contains("npm"), "{said}");
    }
}
