//! Requests that wait: they are counted and judged once, where they came in, and they always end.

use statemesh_node::access::Right;
use statemesh_transport::curve::KeyPair;

use super::*;

#[test]
fn a_request_that_has_waited_is_counted_once() {
    let mut mesh = Mesh::new();
    // No partition is served before the daemon is alone on purpose.
    let one = mesh.begin("one", 2, Some(Duration::from_millis(700)));
    assert!(!one.node.handle().readiness().ready);
    let reply = one.client().ask(&json!({"op": "get", "machine": "none", "key": "k"}));
    assert_eq!(reply["error"]["code"], "unknown_machine", "{reply}");
    assert!(one.node.handle().readiness().ready, "it has waited");
    assert_eq!(one.counted("statemesh_requests_total"), 1.0);
}

#[test]
fn a_daemon_that_has_not_joined_says_so_in_the_end() {
    let mut mesh = Mesh::new();
    mesh.limits.forward_timeout = Duration::from_millis(200);
    // The seed is this test's own, and says nothing.
    let silent = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    mesh.seeds.push(silent.local_addr().unwrap());
    let one = mesh.begin("one", 1, None);
    let reply = one.client().ask(&json!({"op": "get", "machine": "none", "key": "k"}));
    assert_eq!(reply["error"]["code"], "not_ready", "{reply}");
    // It knows neither the machines of the mesh nor who has instances.
    for list in [json!({"op": "list"}), json!({"op": "instances", "machine": "none"})] {
        assert_eq!(one.client().ask(&list)["error"]["code"], "not_ready", "{list}");
    }
}

#[test]
fn what_waits_at_a_daemon_that_ends_is_answered() {
    let mut mesh = Mesh::new();
    // The seed is this test's own, and says nothing.
    let silent = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    mesh.seeds.push(silent.local_addr().unwrap());
    let one = mesh.begin("one", 1, None);
    let mut asker = one.client();
    asker.push(&json!([{"op": "get", "machine": "none", "key": "k"}, {"op": "ping"}]));
    asker.push(&json!({"op": "get", "machine": "none", "key": "k"}));
    one.until("both wait", |one| one.gauge("statemesh_parked_requests") == 2.0);
    one.node.stop();
    let replies: Vec<Value> = (0..2)
        .map(|_| serde_json::from_slice(asker.client.receive(PATIENCE).unwrap().part_slice(0).unwrap()).unwrap())
        .collect();
    assert_eq!(
        (&replies[0][0]["error"]["code"], &replies[0][1]["ok"]),
        (&json!("leaving"), &json!(true)),
        "{replies:?}"
    );
    assert_eq!(replies[1]["error"]["code"], "leaving", "{replies:?}");
}

#[test]
fn a_request_that_has_waited_is_judged_by_the_rights_of_who_sent_it() {
    let (writer, reader) = (KeyPair::generate(), KeyPair::generate());
    let (mut mesh, keys) = keys::secured(&[
        (&writer, keys::grant("writer", &[Right::Send], &[])),
        (&reader, keys::grant("reader", &[Right::Read], &[])),
    ]);
    let one = mesh.begin("one", 1, Some(Duration::from_millis(700)));
    let [mut writer, mut reader] = [writer, reader].map(|pair| keys.connect(&one, &pair).unwrap());
    // The reader's is the last that is heard of before both go on.
    writer.push(&json!({"op": "send", "machine": "none", "key": "k", "event": {"type": "ADD"}}));
    one.until("the writer waits", |one| one.gauge("statemesh_parked_requests") == 1.0);
    reader.push(&json!({"op": "get", "machine": "none", "key": "k"}));
    for asker in [&mut writer, &mut reader] {
        let reply = asker.client.receive(PATIENCE).unwrap();
        let reply: Value = serde_json::from_slice(reply.part_slice(0).unwrap()).unwrap();
        assert_eq!(reply["error"]["code"], "unknown_machine", "{reply}");
    }
}
