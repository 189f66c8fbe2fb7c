//! Timers: each fires in its time, whatever others do.

use statemesh_protocol::hash::partition_of;

use super::*;

#[test]
fn timers_that_are_always_due_in_one_shard_keep_none_of_another_from_firing() {
    let mut mesh = Mesh::new();
    let one = mesh.start("one");
    let mut asker = one.client();
    let hot = json!({"id": "hot", "initial": "a", "states": {"a": {"after": {"1": "b"}}, "b": {"after": {"1": "a"}}}});
    let calm = json!({"id": "calm", "initial": "a", "states": {"a": {"after": {"50": "b"}}, "b": {}}});
    for definition in [hot, calm] {
        asker.ok(&json!({"op": "define", "definition": definition}));
    }
    // More than fire in one turn, all in the shard that comes first.
    let first = (0..1_000_000).map(|n| format!("k{n}")).filter(|key| partition_of("hot", key, PARTITIONS) == 0);
    for key in first.take(3_000) {
        asker.ok(&json!({"op": "start", "machine": "hot", "key": key}));
    }
    for n in 0..8 {
        let until = json!({"state": "b"});
        let start = json!({"op": "start", "machine": "calm", "key": format!("k{n}"), "until": until, "within": 5_000});
        assert_eq!(asker.ok(&start)["reached"], true, "k{n}");
    }
    one.node.stop();
}
