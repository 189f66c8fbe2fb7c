//! What replies tell of an instance beside where it is: that it is new, and which timers are pending.

use super::Daemon;
use serde_json::{Value, json};

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
