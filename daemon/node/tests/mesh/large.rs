//! Instances as large as they may be move as small ones do: what an instance may weigh is bounded while it runs, as a receiver reads it.

use super::links::LONG;
use super::*;

/// A lookup table of small maps in 100 KB of definition.
fn table() -> Value {
    let rows: Vec<Value> = (0..8_000).map(|n| json!({"n": n})).collect();
    json!({"id": "table", "context": {"rows": rows}, "initial": "a", "states": {"a": {"on": {"GO": "b"}}, "b": {"on": {"GO": "a"}}}})
}

/// Keeps each text until a delayed event brings it, much later.
fn waiter() -> Value {
    let later = json!({"type": "@xstate.raise", "delay": 3_600_000, "event": {"type": "LATER", "text": {"@expr": "event.text"}}});
    json!({"id": "waiter", "context": {}, "on": {"KEEP": {"actions": later}}})
}

fn seq_of(daemon: &Daemon, machine: &str, key: &str) -> Value {
    let got = daemon.client().ok(&json!({"op": "get", "machine": machine, "key": key}));
    assert_eq!(got.get("restarted"), None, "{key} was lost");
    got["seq"].clone()
}

/// What every daemon of a mesh that grows from one to two and shrinks to the second says of these keys.
fn through_a_join_and_a_leave(mut mesh: Mesh, one: Daemon, machine: &str, keys: &[(String, Value)]) {
    let two = mesh.start("two");
    one.settled(2);
    two.settled(2);
    assert!(two.counted("statemesh_handoff_instances_total") >= 1.0, "something has moved");
    for (key, seq) in keys {
        assert_eq!(
            [seq_of(&one, machine, key), seq_of(&two, machine, key)],
            [seq.clone(), seq.clone()],
            "{key} after a join"
        );
    }
    let left = one.node.leave(LONG);
    assert_eq!(left.left_behind, 0, "{left:?}");
    two.settled(1);
    for (key, seq) in keys {
        assert_eq!(seq_of(&two, machine, key), *seq, "{key} after a leave");
    }
}

#[test]
fn instances_with_a_large_table_are_all_there_after_a_join_and_a_leave() {
    let mut mesh = Mesh { limits: options::Limits { forward_timeout: LONG, ..Default::default() }, ..Mesh::new() };
    let one = mesh.start("one");
    let mut asker = one.client();
    asker.ok(&json!({"op": "define", "definition": table()}));
    let keys: Vec<_> = (0..30).map(|n| (format!("k{n}"), json!(1))).collect();
    for (key, _) in &keys {
        asker.ok(&json!({"op": "send", "machine": "table", "key": key, "event": {"type": "GO"}}));
    }
    through_a_join_and_a_leave(mesh, one, "table", &keys);
}

#[test]
fn instances_that_have_grown_as_far_as_they_may_are_there_after_a_join_and_a_leave() {
    let mut mesh = Mesh { limits: options::Limits { forward_timeout: LONG, ..Default::default() }, ..Mesh::new() };
    let one = mesh.start("one");
    let mut asker = one.client();
    asker.ok(&json!({"op": "define", "definition": waiter()}));
    let text = "x".repeat(1_000_000);
    let grown = |n: u32| {
        let key = format!("k{n}");
        let event = json!({"op": "send", "machine": "waiter", "key": key, "event": {"type": "KEEP", "text": text}});
        let refused = (0..30).map(|_| asker.ask(&event)).find(|reply| reply["ok"] == false).unwrap();
        assert!(refused["error"]["message"].to_string().contains("instance_bytes"), "{refused}");
        (key.clone(), asker.ok(&json!({"op": "get", "machine": "waiter", "key": key}))["seq"].clone())
    };
    let keys: Vec<_> = (0..4).map(grown).collect();
    through_a_join_and_a_leave(mesh, one, "waiter", &keys);
}
