//! What replies tell of an instance beside where it is: that it is new, and which timers are pending.

use std::sync::Arc;

use super::Daemon;
use serde_json::{Value, json};
use statemesh_engine::{Limits, Machine};
use statemesh_shard::machines::Version;

#[test]
fn who_made_the_instance_is_told_so_also_when_the_answer_is_repeated() {
    let mut daemon = Daemon::new();
    let first = daemon.send("k", "GO", r#","dedup":"t""#);
    assert_eq!(first["new"], true);
    assert_eq!(daemon.send("k", "GO", "")["new"], Value::Null, "it is there by now");
    assert_eq!(daemon.send("k", "GO", r#","dedup":"t""#), first);
    let parts = daemon.hand_off();
    let mut daemon = Daemon::new();
    daemon.receive(&parts);
    assert_eq!(daemon.send("k", "GO", r#","dedup":"t""#), first, "by who has received it");
    assert_eq!(daemon.op("start", "other", "")["new"], true);
    assert_eq!(daemon.send("k", "END", "")["new"], Value::Null);
    assert_eq!(daemon.op("start", "k", "")["new"], true, "another life");
}

#[test]
fn pending_timers_are_told_the_first_to_be_due_first() {
    let mut daemon = Daemon::new();
    daemon.send("k", "LATE", "");
    let now = daemon.run.now;
    let timers = daemon.op("get", "k", "")["timers"].clone();
    let timer = |delay: u64, due_ms: u64| json!({"event": format!("xstate.after.{delay}.m.late"), "due_ms": due_ms});
    assert_eq!(timers, json!([timer(1_000, 1_000), timer(2_000, 2_000)]));
    daemon.run.now = now + 400;
    assert_eq!(daemon.op("get", "k", "")["timers"][0]["due_ms"], 600);
    daemon.run.now = now + 1_700;
    assert_eq!(daemon.op("get", "k", "")["timers"][0]["due_ms"], 0, "it is overdue");
    daemon.send("end", "END", "");
    assert_eq!(daemon.op("get", "end", "")["timers"], Value::Null);
}

/// `m` with a child `sub`, which has `count` children of its own.
fn with_children(daemon: &Daemon, count: usize) {
    let compiled = |source: &str, child: Option<Arc<Machine>>| {
        Machine::compile(source.as_bytes(), &Limits::default(), &move |_| child.clone()).unwrap().machine
    };
    let text = "x".repeat(100);
    let leaf = format!(
        r#"{{"id":"leaf","context":{{"n":1,"text":"{text}"}},"initial":"on","states":{{"on":{{"after":{{"500":"off"}}}},"off":{{}}}}}}"#
    );
    let invokes: Vec<_> = (0..count).map(|n| json!({"src": "leaf", "id": format!("leaf{n}")})).collect();
    let middle = json!({"id": "middle", "context": {}, "invoke": invokes}).to_string();
    let leaf = compiled(&leaf, None);
    let middle = compiled(&middle, Some(leaf));
    let machine = compiled(r#"{"id":"m","context":{},"invoke":{"src":"middle","id":"sub"}}"#, Some(middle));
    daemon.machines.add(Version::new("m".into(), *machine.hash(), 2, machine));
}

#[test]
fn children_that_run_are_told_with_their_ids_and_their_timers() {
    let mut daemon = Daemon::new();
    assert_eq!(daemon.op("start", "alone", "")["ok"], true);
    assert_eq!(daemon.op("get", "alone", "")["children"], Value::Null);
    with_children(&daemon, 1);
    assert_eq!(daemon.op("start", "k", "")["ok"], true);
    let get = daemon.op("get", "k", "");
    let leaf = json!({"child": ["sub", "leaf0"], "machine": "leaf", "value": "on", "status": "active",
        "context": {"n": 1, "text": "x".repeat(100)}});
    let middle = json!({"child": ["sub"], "machine": "middle", "value": {}, "status": "active", "context": {}});
    assert_eq!(get["children"], json!([middle, leaf]));
    assert_eq!(get["timers"], json!([{"event": "xstate.after/sub/leaf0", "due_ms": 500}]));
    daemon.published();
    let due = daemon.run.now + 600;
    daemon.fire(due, 10);
    let change = daemon.published().remove(0);
    assert_eq!((&change["reason"], &change["event"]), (&json!("timer"), &json!("xstate.after/sub/leaf0")), "{change}");
    let history = daemon.op("history", "k", "")["history"].clone();
    assert_eq!(history.as_array().unwrap().last().unwrap()["event"], "xstate.after/sub/leaf0", "{history}");
}

#[test]
fn children_for_which_a_reply_has_no_room_are_counted() {
    let mut daemon = Daemon::new();
    with_children(&daemon, 15);
    assert_eq!(daemon.op("start", "k", "")["ok"], true);
    let get = daemon.op("get", "k", "");
    let shown = get["children"].as_array().unwrap().len();
    assert!(shown > 2, "{get}");
    assert_eq!(get["children_left_out"], 16 - shown);
}
