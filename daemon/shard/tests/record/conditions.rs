//! `if_run` and `if_seq`: only if the instance is where the client saw it.

use super::{Daemon, code};

#[test]
fn an_event_with_conditions_is_taken_only_where_they_hold() {
    let mut daemon = Daemon::new();
    let seen = daemon.send("k", "GO", "");
    let run = seen["run"].as_str().unwrap().to_owned();
    let conditions = |run: &str, seq: u64| format!(r#","if_run":"{run}","if_seq":{seq}"#);
    assert_eq!(code(&daemon.send("k", "GO", &conditions(&run, 0))), "condition_failed");
    assert_eq!(code(&daemon.send("k", "GO", &conditions("1", 1))), "condition_failed");
    assert_eq!(daemon.send("k", "GO", &conditions(&run, 1))["value"], "a");
    assert_eq!(code(&daemon.op("stop", "k", &conditions(&run, 1))), "condition_failed");
    assert_eq!(daemon.op("stop", "k", &conditions(&run, 2))["status"], "stopped");
}

#[test]
fn where_there_is_no_instance_a_condition_fails_and_creates_none() {
    let mut daemon = Daemon::new();
    assert_eq!(code(&daemon.send("k", "GO", r#","if_seq":0"#)), "condition_failed");
    assert_eq!(daemon.shards.instances(), 0);
}

#[test]
fn a_repeat_is_answered_although_its_condition_no_longer_holds() {
    let mut daemon = Daemon::new();
    daemon.op("start", "k", "");
    let rest = r#","if_seq":0,"dedup":"t""#;
    let first = daemon.send("k", "GO", rest);
    assert_eq!(daemon.send("k", "GO", rest), first);
}

#[test]
fn a_start_with_conditions_begins_nothing_where_they_do_not_hold() {
    let mut daemon = Daemon::new();
    assert_eq!(code(&daemon.op("start", "k", r#","if_seq":0"#)), "condition_failed");
    assert_eq!(daemon.shards.instances(), 0);
    let seen = daemon.send("k", "GO", "");
    let conditions = |reply: &serde_json::Value| format!(r#","if_run":{},"if_seq":{}"#, reply["run"], reply["seq"]);
    daemon.send("k", "GO", "");
    let force = format!(r#"{},"force":true"#, conditions(&seen));
    assert_eq!(code(&daemon.op("start", "k", &force)), "condition_failed");
    let there = daemon.op("get", "k", "");
    assert_eq!((&there["run"], &there["seq"]), (&seen["run"], &2.into()), "it goes on");
    assert_eq!(code(&daemon.op("start", "k", &conditions(&there))), "already_started");
    let ended = daemon.send("k", "END", "");
    assert_eq!(code(&daemon.op("start", "k", &conditions(&there))), "condition_failed");
    assert_eq!(daemon.op("start", "k", &conditions(&ended))["seq"], 0);
}
