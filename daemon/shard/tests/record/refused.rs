//! A request that is refused leaves nothing behind.

use super::{Daemon, code};
use serde_json::Value;
use statemesh_mesh::key_index::LostKey;

#[test]
fn a_refused_first_event_leaves_no_instance_no_timer_and_no_change() {
    let mut daemon = Daemon::new();
    assert_eq!(code(&daemon.send("k", "BAD", "")), "event_failed");
    assert_eq!(code(&daemon.op("get", "k", "")), "unknown_instance");
    assert_eq!(daemon.shards.instances(), 0);
    assert_eq!(daemon.shards.of(0).due(), u64::MAX, "a timer is left");
    assert!(daemon.published().is_empty() && daemon.run.notes.is_empty());
    assert_eq!((daemon.run.counts.created, daemon.run.counts.transitions), (0, 0));
}

#[test]
fn an_event_whose_expression_has_no_value_is_refused_with_what_it_read() {
    let mut daemon = Daemon::new();
    let send = |event: &str| format!(r#"{{"op":"send","machine":"m","key":"k","event":{event}}}"#);
    daemon.ask(&send(r#"{"type":"ADD","n":1}"#));
    daemon.published();
    let before = daemon.op("get", "k", "");
    let reply = daemon.ask(&send(r#"{"type":"ADD","m":2}"#));
    let error = &reply["error"];
    assert_eq!((code(&reply), &error["expression"]), ("event_failed", &"event.n".into()));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("in event.n"), "{message}");
    let reply = daemon.ask(&send(r#"{"type":"SUB","n":"x"}"#));
    assert_eq!(reply["error"]["values"], serde_json::json!({"context.n": 1, "event.n": "x"}));
    assert_eq!(daemon.op("get", "k", ""), before);
    assert!(daemon.published().is_empty());
}

#[test]
fn an_event_is_explained_as_xstate_would_take_it_where_that_is_asked_for() {
    let mut daemon = Daemon::new();
    daemon.send("k", "X", "");
    let mut explained =
        |rest: &str| daemon.op("explain", "k", &format!(r#","event":{{"type":"ADD"}}{rest}"#))["explanation"].clone();
    for rest in ["", r#","faults":"hold""#] {
        assert_eq!(explained(rest)["error"]["code"], "event_failed", "{rest}");
    }
    let failed = explained(r#","faults":"fail""#);
    assert_eq!((&failed["outcome"]["status"], failed.get("error")), (&"error".into(), None), "{failed}");
    assert_eq!(daemon.op("get", "k", "")["status"], "active", "nothing was done");
}

#[test]
fn a_timer_whose_expression_has_no_value_makes_its_instance_stuck() {
    let mut daemon = Daemon::new();
    daemon.send("k", "WAIT", "");
    daemon.fire(1_000, 64);
    let stuck = daemon.op("get", "k", "");
    assert_eq!((&stuck["status"], &stuck["stuck"]), (&"error".into(), &true.into()));
    assert!(stuck["fault"].as_str().unwrap().contains("context.no"), "{stuck}");
    assert_eq!(code(&daemon.op("retry", "k", "")), "event_failed");
    assert_eq!(daemon.op("skip", "k", "")["status"], "active");
}

#[test]
fn a_refused_first_event_leaves_the_mark_of_a_lost_instance() {
    let mut daemon = Daemon::new();
    let lost = LostKey {
        machine: "m".into(),
        key: "k".into(),
        run: statemesh_protocol::run::RunId(3),
        before: false,
        tenure: statemesh_protocol::tenure::Tenure(1),
    };
    daemon.adopt(&[lost]);
    assert_eq!(code(&daemon.send("k", "BAD", "")), "event_failed");
    let explained = daemon.op("explain", "k", r#","event":{"type":"GO"}"#);
    assert_eq!((&explained["new"], &explained["restarted"]), (&true.into(), &true.into()), "{explained}");
    assert_eq!(daemon.send("k", "GO", "")["restarted"], true);
    assert_eq!(daemon.send("k", "GO", "").get("restarted"), None);
}

#[test]
fn a_reply_over_its_bound_is_refused_and_nothing_is_told_that_was_not_read() {
    let mut daemon = Daemon::new();
    let large = "x".repeat(5_000);
    let start = format!(r#"{{"op":"send","machine":"m","key":"k","event":{{"type":"ADD","n":"{large}"}}}}"#);
    assert_eq!(code(&daemon.ask(&start)), "ok");
    assert_eq!(code(&daemon.op("get", "k", "")), "output_too_large");
    assert_eq!(daemon.run.counts.refused_outputs, 1);
    let effects = format!(r#"{{"op":"send","machine":"m","key":"first","event":{{"type":"NOTE","text":"{large}"}}}}"#);
    assert_eq!(code(&daemon.ask(&effects)), "output_too_large");
    assert_eq!(daemon.run.counts.refused_outputs, 2, "of an instance that did not come to be, too");
    assert_eq!(daemon.send("k", "GO", "")["value"], "b", "an event's answer has no context in it");
}

#[test]
fn an_event_that_nothing_reacts_to_is_said_to_be_unhandled_also_when_it_is_repeated() {
    let mut daemon = Daemon::new();
    for (event, handled) in [("GO", true), ("NONE", false), ("LATE", false), ("NEVER", true), ("GO", true)] {
        let token = format!(r#","dedup":"{event}{}""#, daemon.op("get", "k", "")["seq"]);
        let first = daemon.send("k", event, &token);
        assert_eq!(first["handled"], if handled { Value::Null } else { false.into() }, "{event}: {first}");
        assert_eq!(daemon.send("k", event, &token), first);
    }
    daemon.send("k", "END", "");
    assert_eq!(daemon.send("k", "GO", "")["handled"], false, "it has ended");
    daemon.send("stuck", "WAIT", "");
    daemon.fire(2_000, 100);
    assert_eq!(daemon.send("stuck", "GO", "")["handled"], false, "it is stuck");
    assert_eq!(daemon.send("new", "NONE", "")["handled"], false, "it begins with an event that it does not know");
}
