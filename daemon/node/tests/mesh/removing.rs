//! Instances that are removed: by a request, and by themselves.

use super::*;

fn delete(key: &str) -> Value {
    json!({"op": "delete", "machine": "counter", "key": key})
}

#[test]
fn five_ended_instances_fill_no_daemon_that_may_have_five() {
    let mut mesh = Mesh::new();
    mesh.limits.instances = 5;
    let one = mesh.start("one");
    let mut asker = one.client();
    asker.define();
    let end = |key: String| json!({"op": "send", "machine": "counter", "key": key, "event": {"type": "END"}});
    for n in 0..40 {
        // Room is made in the turn behind the one in which it is wanted.
        let done = (0..200).any(|_| asker.ask(&end(format!("k{n}")))["ok"] == true);
        assert!(done, "k{n} found no room");
    }
    assert!(one.gauge("statemesh_instances") <= 5.0 && one.counted("statemesh_instances_removed_total") >= 35.0);
    // What is active makes no room.
    for n in 0..6 {
        asker.ask(&json!({"op": "start", "machine": "counter", "key": format!("active{n}")}));
    }
    let refused = asker.ask(&json!({"op": "start", "machine": "counter", "key": "one more"}));
    assert!(refused["error"]["message"].as_str().unwrap().contains("limits.instances"), "{refused}");
}

#[test]
fn an_instance_is_removed_whichever_daemon_is_asked_and_is_not_lost_with_its_own() {
    let mut mesh = Mesh::new();
    let daemons = ["one", "two", "three"].map(|name| mesh.start(name));
    daemons.iter().for_each(|daemon| daemon.settled(3));
    daemons[0].client().define();
    let mut asker = daemons[0].client();
    let keys: Vec<String> = (0..60).map(|n| format!("k{n}")).collect();
    keys.iter().for_each(|key| drop(asker.add(key, 1)));
    for key in &keys {
        let gone = asker.ok(&delete(key));
        assert_eq!((&gone["status"], &gone["changed"]), (&json!("stopped"), &json!(true)));
        assert_eq!(asker.ask(&delete(key))["error"]["code"], "unknown_instance");
    }
    let [one, two, three] = daemons;
    let known = || [&one, &two, &three].iter().map(|daemon| daemon.gauge("statemesh_known_keys")).sum::<f64>();
    one.until("all standbys have heard of it", |_| known() == 0.0);
    two.node.stop();
    one.until("two is gone", |one| one.client().ask(&json!({"op": "members"})).to_string().contains("dead"));
    for key in &keys {
        let reply = asker.add(key, 1);
        assert!(reply["restarted"].is_null() && reply["seq"] == 1, "{key}: {reply}");
    }
    let lost: f64 = [&one, &three].iter().map(|daemon| daemon.counted("statemesh_instances_lost_total")).sum();
    assert_eq!(lost, 0.0);
}
