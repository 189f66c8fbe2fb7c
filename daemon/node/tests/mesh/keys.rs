//! Clients and daemons with keys.

use super::*;
use statemesh_node::access::{Clients, Grant, Right};
use statemesh_transport::curve::{KeyPair, OwnKeys, PublicKey, Security};

pub(super) struct Keys {
    server: PublicKey,
    client: KeyPair,
}

impl Keys {
    fn security(&self, own: &KeyPair) -> Security {
        Security::Client { own: own.clone(), server: self.server }
    }

    pub(super) fn connect(&self, daemon: &Daemon, own: &KeyPair) -> Option<Asker> {
        let address = daemon.node.handle().addresses().clients;
        let client = Client::connect_secured(address, SocketType::Dealer, &self.security(own), PATIENCE).ok()?;
        Some(Asker { client })
    }

    fn admin(&self, daemon: &Daemon) -> Asker {
        self.connect(daemon, &self.client).unwrap()
    }
}

pub(super) fn grant(name: &str, rights: &[Right], machines: &[&str]) -> Grant {
    Grant {
        name: name.into(),
        machines: machines.iter().map(|name| (*name).to_owned()).collect(),
        rights: rights.to_vec(),
        events_per_second: None,
    }
}

/// A mesh that lets in an administrator, and the others that are given.
pub(super) fn secured(others: &[(&KeyPair, Grant)]) -> (Mesh, Keys) {
    let (server, client) = (KeyPair::generate(), KeyPair::generate());
    let keys = Keys { server: server.public, client };
    let mut mesh = Mesh::new();
    mesh.gossip_keys = vec![[7; 32]];
    mesh.security = options::Security::Curve { own: server.into(), clients: list(&keys, others) };
    (mesh, keys)
}

fn list(keys: &Keys, others: &[(&KeyPair, Grant)]) -> Clients {
    let others = others.iter().map(|(pair, grant)| (pair.public, grant.clone()));
    Clients::new(others.chain([(keys.client.public, grant("admin", &[Right::Admin], &[]))]).collect())
}

#[test]
fn only_keys_on_the_list_come_in_and_a_revoked_one_loses_its_connection() {
    let guest = KeyPair::generate();
    let (mut mesh, keys) = secured(&[(&guest, grant("guest", &[Right::Read], &[]))]);
    let daemon = mesh.start("a");
    let mut admin = keys.admin(&daemon);
    admin.define();
    admin.add("k", 3);
    let mut visitor = keys.connect(&daemon, &guest).unwrap();
    assert_eq!(visitor.count("k"), 3);
    let send = json!({"op": "send", "machine": "counter", "key": "k", "event": {"type": "ADD", "by": 1}});
    assert_eq!(visitor.ask(&send)["error"]["code"], "forbidden");
    let batch = visitor.ask(&json!([{"op": "get", "machine": "counter", "key": "k"}, send]));
    assert_eq!((&batch[0]["ok"], &batch[1]["error"]["code"]), (&json!(true), &json!("forbidden")));
    assert!(keys.connect(&daemon, &KeyPair::generate()).is_none(), "nobody knows this key");
    let address = daemon.node.handle().addresses().clients;
    assert!(Client::connect(address, SocketType::Dealer, PATIENCE).is_err(), "no key at all");
    let impostor = Security::Client { own: keys.client.clone(), server: KeyPair::generate().public };
    assert!(
        Client::connect_secured(address, SocketType::Dealer, &impostor, PATIENCE).is_err(),
        "not the server expected"
    );

    daemon.node.handle().set_clients(list(&keys, &[]));
    assert!(visitor.client.receive(PATIENCE).is_err_and(|error| !error.to_string().contains("timed out")));
    assert!(keys.connect(&daemon, &guest).is_none());
    admin.add("k", 1);
}

#[test]
fn the_daemons_keys_are_renewed_under_open_connections() {
    let (mut mesh, mut keys) = secured(&[]);
    let former_public = keys.server;
    let options::Security::Curve { own: OwnKeys { current: former, .. }, .. } = mesh.security.clone() else { panic!() };
    let daemon = mesh.start("a");
    let mut admin = keys.admin(&daemon);
    admin.define();
    let current = KeyPair::generate();
    let handle = daemon.node.handle();
    handle.set_own_keys(OwnKeys { current: current.clone(), former: Some(former) });
    admin.add("k", 1);
    keys.admin(&daemon).add("k", 1);
    let by_former = || daemon.counted("statemesh_former_key_connections_total");
    assert_eq!(by_former(), 1.0, "the one that connected since");
    keys.server = current.public;
    keys.admin(&daemon).add("k", 1);
    assert_eq!(by_former(), 1.0);
    handle.set_own_keys(current.into());
    keys.admin(&daemon).add("k", 1);
    admin.add("k", 1);
    assert_eq!(admin.count("k"), 5);
    keys.server = former_public;
    assert!(keys.connect(&daemon, &keys.client).is_none(), "the former key is dropped");
}

#[test]
fn a_subscriber_sees_what_its_key_may_see() {
    let guest = KeyPair::generate();
    let (mut mesh, keys) = secured(&[(&guest, grant("guest", &[Right::Read], &["counter/"]))]);
    let daemon = mesh.start("a");
    let mut admin = keys.admin(&daemon);
    admin.define();
    let mut other = counter();
    other["id"] = json!("counter2");
    admin.ok(&json!({"op": "define", "definition": other}));
    let changes = daemon.node.handle().addresses().changes;
    let mut watcher = Client::connect_secured(changes, SocketType::Sub, &keys.security(&guest), PATIENCE).unwrap();
    watcher.subscribe(b"");
    watcher.flush().unwrap();
    let topic = loop {
        // A subscription takes a moment to arrive.
        for machine in ["counter2", "counter"] {
            admin.ok(&json!({"op": "send", "machine": machine, "key": "k", "event": {"type": "ADD", "by": 1}}));
        }
        if let Ok(change) = watcher.receive(Duration::from_millis(50)) {
            break change.part_slice(0).unwrap().to_vec();
        }
    };
    assert_eq!(topic, b"counter/k");
}

#[test]
fn daemons_with_the_meshs_keys_find_each_other_also_while_keys_are_changed() {
    let (mut mesh, keys) = secured(&[]);
    let a = mesh.start("a");
    keys.admin(&a).define();
    // One member has the new key first already, the other still the old one: as in the middle of a rotation.
    mesh.gossip_keys = vec![[8; 32], [7; 32]];
    let handle = a.node.handle();
    mesh.runtime.block_on(handle.set_gossip_keys(vec![[7; 32], [8; 32]])).unwrap();
    let b = mesh.start("b");
    let (mut at_a, mut at_b) = (keys.admin(&a), keys.admin(&b));
    // A key of either half is served through either daemon once they have links both ways.
    for key in 0..20 {
        at_a.add(&key.to_string(), 2);
        assert_eq!(at_b.count(&key.to_string()), 2);
    }
    mesh.runtime.block_on(handle.set_gossip_keys(vec![[8; 32]])).unwrap();
    mesh.runtime.block_on(b.node.handle().set_gossip_keys(vec![[8; 32]])).unwrap();
    for key in 0..20 {
        assert_eq!(at_b.count(&key.to_string()), 2);
    }
}

#[test]
fn a_daemon_without_the_meshs_keys_is_never_ready_and_says_who_keeps_it_out() {
    let (mut mesh, keys) = secured(&[]);
    let a = mesh.start("a");
    keys.admin(&a).define();
    mesh.gossip_keys = vec![[9; 32]];
    let stranger = mesh.begin("b", 1, Some(Duration::from_millis(300)));
    let says = |daemon: &Daemon| daemon.node.handle().readiness();
    stranger.until("it says why", |daemon| says(daemon).reason.contains("keeps us out"));
    std::thread::sleep(Duration::from_millis(400));
    assert!(!says(&stranger).ready, "{:?}", says(&stranger));
    let members = keys.admin(&stranger).ok(&json!({"op": "members"}));
    assert_eq!(members["members"].as_array().unwrap().len(), 1, "{members}");
}

/// A machine that waits for an hour; with `own` in it as `@statemesh`.
fn hour(id: &str, own: &Value) -> Value {
    let states = json!({"a": {"after": {"3600000": "b"}, "on": {"GO": "b"}}, "b": {"id": "b", "route": {}}});
    json!({"id": id, "initial": "a", "@statemesh": own, "states": states})
}

#[test]
fn events_of_the_engine_take_a_right_or_a_machine_that_says_so() {
    let (sender, engineer) = (KeyPair::generate(), KeyPair::generate());
    let (mut mesh, keys) = secured(&[
        (&sender, grant("sender", &[Right::Send], &[])),
        (&engineer, grant("engineer", &[Right::Send, Right::Engine], &[])),
    ]);
    let daemons = [mesh.start("a"), mesh.start("b")];
    daemons.iter().for_each(|daemon| daemon.until("both are there", |daemon| daemon.gauge("statemesh_members") == 2.0));
    let mut admin = keys.admin(&daemons[0]);
    for (id, own) in [("shut", json!({})), ("open", json!({"engineEvents": true}))] {
        admin.ok(&json!({"op": "define", "definition": hour(id, &own)}));
    }
    let [mut sender, mut engineer] = [sender, engineer].map(|pair| keys.connect(&daemons[0], &pair).unwrap());
    let event = |machine: &str, key: u32, event: Value| json!({"op": "send", "machine": machine, "key": key_of(key), "event": event});
    let timer = json!({"type": format!("xstate.after.3600000.{}.a", "shut")});
    // Some keys are served by the one, some by the other.
    for key in 0..8 {
        let fired = event("shut", key, timer.clone());
        let refused = sender.ask(&fired);
        assert_eq!(refused["error"]["code"], "reserved_event", "{refused}");
        assert!(refused["error"]["hint"].as_str().unwrap().contains("engineEvents"), "{refused}");
        let in_array = sender.ask(&json!([fired]));
        assert_eq!(in_array[0]["error"]["code"], "reserved_event", "{in_array}");
        assert_eq!(sender.ok(&event("shut", key, json!({"type": "NONE"})))["value"], "a");
        let route = json!({"type": "xstate.route", "to": "#b"});
        assert_eq!(sender.ok(&event("open", key, route))["value"], "b", "a client's own");
        assert_eq!(engineer.ok(&fired)["value"], "b");
        let open = event("open", 100 + key, json!({"type": "xstate.after.3600000.open.a"}));
        assert_eq!(sender.ok(&open)["value"], "b");
    }
    // Written with an escape it is the same event; and one that is told is refused as well.
    let key = key_of(50);
    let escaped = format!(
        r#"{{"op":"send","machine":"shut","key":"{key}","event":{{"type":"\u0078state.after.3600000.shut.a"}}}}"#
    );
    let reply = sender.client.call(escaped.as_bytes(), PATIENCE).unwrap();
    let reply: Value = serde_json::from_slice(reply.part_slice(0).unwrap()).unwrap();
    assert_eq!(reply["error"]["code"], "reserved_event", "{reply}");
    sender.push(&json!({"op": "tell", "machine": "shut", "key": key, "event": timer}));
    let get = json!({"op": "get", "machine": "shut", "key": key});
    assert_eq!(admin.ask(&get)["error"]["code"], "unknown_instance");
    assert_eq!(sender.ok(&event("shut", 50, json!({"type": "NONE"})))["value"], "a");
}

#[test]
fn without_keys_no_client_sends_events_of_the_engine() {
    let mut mesh = Mesh::new();
    let daemon = mesh.start("a");
    let mut client = daemon.client();
    client.ok(&json!({"op": "define", "definition": hour("shut", &json!({}))}));
    let fired = json!({"op": "send", "machine": "shut", "key": "k", "event": {"type": "xstate.after.3600000.shut.a"}});
    assert_eq!(client.ask(&fired)["error"]["code"], "reserved_event");
    let explained = client.ok(&json!({"op": "explain", "machine": "shut", "key": "k", "event": fired["event"]}));
    assert_eq!(explained["explanation"]["outcome"]["value"], "b", "what it would do may be asked: {explained}");
}
