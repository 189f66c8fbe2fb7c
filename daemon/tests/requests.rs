//! What the verbs ask a daemon, and how they show what it answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use support::{Folder, Peer, code, publisher, stderr, stdout};

#[test]
fn a_send_is_the_request_of_the_protocol() {
    let folder = Folder::new("send");
    let peer = Peer::always(json!({"ok": true, "value": {"a": "b"}, "status": "active", "seq": 7, "changed": true}));
    let output = peer.run(&folder, &["send", "order/eu/42", "PAY", "--data", r#"{"amount":3}"#, "--dedup", "t1"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(
        peer.last_request(),
        json!({"op": "send", "machine": "order", "key": "eu/42", "event": {"type": "PAY", "amount": 3}, "dedup": "t1"})
    );
    assert_eq!(stdout(&output), "INSTANCE     STATE  STATUS  SEQ\norder/eu/42  a.b    active  7    changed\n");
}

#[test]
fn an_answer_can_be_json_or_yaml() {
    let folder = Folder::new("formats");
    let peer = Peer::always(json!({"ok": true, "value": "paid", "status": "active", "context": {"amount": 3}}));
    let output = peer.run(&folder, &["get", "order/42", "-o", "json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value, json!({"value": "paid", "status": "active", "context": {"amount": 3}}));
    let output = peer.run(&folder, &["get", "order/42", "-o", "yaml"]);
    assert_eq!(stdout(&output), "value: paid\nstatus: active\ncontext:\n  amount: 3\n");
}

#[test]
fn members_are_an_array_for_a_program() {
    let folder = Folder::new("members");
    let peer = Peer::always(json!({"ok": true, "members": [{"name": "a", "status": "alive", "partitions": 1024}]}));
    let output = peer.run(&folder, &["members", "-o", "json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value, json!([{"name": "a", "status": "alive", "partitions": 1024}]));
}

#[test]
fn an_error_reply_is_shown_with_its_hint_and_ends_with_1() {
    let folder = Folder::new("refused");
    let error = json!({"code": "unknown_machine", "message": "no machine 'ordr'", "hint": "did you mean 'order'?"});
    let peer = Peer::always(json!({"ok": false, "error": error}));
    let output = peer.run(&folder, &["get", "ordr/42"]);
    assert_eq!((code(&output), stdout(&output)), (1, String::new()));
    assert_eq!(stderr(&output), "error: no machine 'ordr'\n  did you mean 'order'?\n");
    let output = peer.run(&folder, &["get", "ordr/42", "-o", "json"]);
    let value: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(value, json!({"error": error}));
}

#[test]
fn an_answer_that_does_not_come_ends_the_command() {
    let folder = Folder::new("late");
    let peer = Peer::start(|_| None);
    // The time for an answer is also that for a connection, which must come about on a busy machine.
    let output = peer.run(&folder, &["ping", "--timeout", "1s"]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("no answer within 1s"), "{}", stderr(&output));
}

#[test]
fn a_ping_can_wait_until_a_daemon_answers() {
    let folder = Folder::new("waiting");
    let asked = AtomicU32::new(0);
    let peer = Peer::start(move |_| {
        let silent = asked.fetch_add(1, Ordering::Relaxed) < 2;
        (!silent).then(|| json!({"ok": true, "daemon": "a"}))
    });
    // Within this time a connection must come about too, or more than the two answers are missed.
    let output = peer.run(&folder, &["ping", "--timeout", "1s", "--wait", "60s"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(peer.requests.lock().unwrap().len(), 3);
    // Where nobody listens it gives up when its time is over.
    let output = peer.run(&folder, &["ping", "--address", "tcp://127.0.0.1:9", "--wait", "150ms"]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("127.0.0.1:9"), "{}", stderr(&output));
}

#[test]
fn a_definition_goes_out_as_it_is_and_what_is_wrong_is_shown_at_its_place() {
    let folder = Folder::new("define");
    let definition = "{\n  \"id\": \"order\", \"initial\": \"b\",\n  \"states\": {\"a\": {}}\n}";
    folder.file("order.json", definition).file("ok.json", "{\"id\":\"ok\"}");
    let peer = Peer::start(|request| {
        if request["definition"]["id"] == "ok" {
            return Some(
                json!({"ok": true, "machine": "ok", "version": 2, "members": 3, "hash": "00", "warnings": []}),
            );
        }
        let diagnostic = json!({"severity": "error", "code": "unknown_target", "path": "/initial", "line": 2, "column": 29,
                                "message": "no state 'b'", "hint": "states here: a"});
        Some(
            json!({"ok": false, "error": {"code": "invalid_definition", "message": "1 error", "diagnostics": [diagnostic]}}),
        )
    });
    let output = peer.run(&folder, &["define", "order.json", "ok.json"]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let expected = "error[unknown_target]: no state 'b'\n --> order.json:2:29 (at /initial)\n  |\n2 |   \"id\": \"order\", \"initial\": \"b\",\n  |                             ^^^\n  = states here: a\n";
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "MACHINE  VERSION  DAEMONS\nok       2        3\n",
        "the others are defined all the same"
    );
    assert!(stderr(&output).ends_with("error: order.json is refused: 1 finding\n"), "{}", stderr(&output));
    assert!(peer.requests.lock().unwrap()[0].contains(definition), "with its lines and the order of its keys");
    let for_a_program = peer.run(&folder, &["define", "order.json", "-o", "json"]);
    let error: Value = serde_json::from_slice(&for_a_program.stderr).unwrap();
    assert_eq!(error["error"]["diagnostics"][0]["column"], 29);
}

const CHANGES: &[(&str, &str)] = &[
    ("order/4", r#"{"value":"paid","status":"active","seq":3,"reason":"event","event":"PAY"}"#),
    ("order/42", r#"{"machine":"order","key":"42","reason":"lost","changed":true}"#),
    ("orders/4", r#"{"value":"other","status":"active","seq":1}"#),
];

#[test]
fn watch_prints_the_changes_of_a_machine_and_no_other() {
    let folder = Folder::new("watch");
    let output = publisher(CHANGES).run(&folder, &["watch", "order", "-n", "4"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(
        shown.contains("order/4  paid  active  seq 3  event PAY\n")
            && shown.contains("order/42  lost with its owner\n"),
        "{shown}"
    );
    assert!(!shown.contains("orders/"), "{shown}");
}

#[test]
fn watch_of_an_instance_leaves_out_longer_keys() {
    let folder = Folder::new("watch-one");
    let output = publisher(CHANGES).run(&folder, &["watch", "order/4", "-n", "3", "-o", "json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() == 3 && lines.iter().all(|change| change["key"] == "4"), "{lines:?}");
}
