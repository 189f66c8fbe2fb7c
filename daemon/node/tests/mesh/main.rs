//! Whole daemons in one process, over real sockets on loopback addresses.
#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use statemesh_client::Connection as Client;
use statemesh_node::options::{self, Discovery, Limits, Listen, Options, Reactor};
use statemesh_node::{LeaveReport, Node};
use statemesh_transport::SocketType;

mod changes;
mod defining;
mod files;
mod keys;
mod large;
mod links;
mod lists;
mod lost;
mod order;
mod parked;
mod removing;
mod timers;
mod unread;
mod until;

const PATIENCE: Duration = Duration::from_secs(10);
/// Of every mesh.
const PARTITIONS: u16 = 64;

fn counter() -> Value {
    json!({
        "id": "counter", "initial": "on", "context": {"count": 0},
        "states": {"on": {"on": {
            "ADD": {"actions": {"type": "@xstate.assign", "context": {"count": {"@expr": "context.count + event.by"}}}},
            "END": "off"
        }}, "off": {"type": "final"}}
    })
}

/// Meshes so far, for their names. Tests run side by side, and a port that one has given back may be another one's seed.
static MESHES: AtomicU32 = AtomicU32::new(0);

struct Mesh {
    runtime: tokio::runtime::Runtime,
    name: String,
    seeds: Vec<SocketAddr>,
    gossip_keys: Vec<[u8; 32]>,
    security: options::Security,
    limits: Limits,
    machines: Vec<PathBuf>,
    machines_revision: Option<u64>,
}

impl Mesh {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let name = format!("test-{}-{}", std::process::id(), MESHES.fetch_add(1, Ordering::Relaxed));
        let (gossip_keys, security, limits) = Default::default();
        Self {
            runtime,
            name,
            seeds: Vec::new(),
            gossip_keys,
            security,
            limits,
            machines: Vec::new(),
            machines_revision: None,
        }
    }

    fn start(&mut self, name: &str) -> Daemon {
        self.start_with(name, 1)
    }

    fn start_with(&mut self, name: &str, reactors: usize) -> Daemon {
        let alone_after = self.seeds.is_empty().then_some(Duration::ZERO);
        let daemon = self.begin(name, reactors, alone_after);
        daemon.until("it is ready", |d| d.node.handle().readiness().ready);
        daemon
    }

    fn begin(&mut self, name: &str, reactors: usize, alone_after: Option<Duration>) -> Daemon {
        let alone = Options::for_tests(name);
        let options = Options {
            mesh: self.name.clone(),
            partitions: PARTITIONS,
            discovery: Discovery { seeds: self.seeds.clone(), alone_after, ..alone.discovery },
            gossip_keys: self.gossip_keys.clone(),
            security: self.security.clone(),
            reactor: Reactor { threads: reactors, spin: Duration::ZERO },
            limits: self.limits,
            machines: self.machines.clone(),
            machines_revision: self.machines_revision,
            ..alone
        };
        let metrics = prometheus::Registry::new();
        let node = Node::start(options, metrics.clone(), self.runtime.handle().clone()).unwrap();
        self.seeds.push(node.handle().addresses().gossip);
        Daemon { node, metrics }
    }
}

struct Daemon {
    node: Node,
    metrics: prometheus::Registry,
}

impl Daemon {
    fn client(&self) -> Asker {
        let address = self.node.handle().addresses().clients;
        Asker { client: Client::connect(address, SocketType::Dealer, PATIENCE).unwrap() }
    }

    fn counted(&self, name: &str) -> f64 {
        self.sum(name, |metric| metric.get_counter().get_value())
    }

    fn gauge(&self, name: &str) -> f64 {
        self.sum(name, |metric| metric.get_gauge().get_value())
    }

    fn sum(&self, name: &str, value: impl Fn(&prometheus::proto::Metric) -> f64) -> f64 {
        let families = self.metrics.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric().iter().map(value).sum()
    }

    fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn sees(&self, members: usize) {
        self.until("it sees all members", |daemon| {
            let view = daemon.client().ask(&json!({"op": "members"}));
            view["members"].as_array().unwrap().iter().filter(|m| m["status"] == "alive").count() == members
        });
    }

    /// Members are seen before their partitions have come to them: waits until so many serve some, and none moves.
    fn settled(&self, members: usize) {
        self.until("all members serve partitions", |daemon| {
            let placement = daemon.client().ask(&json!({"op": "placement"}));
            let map = placement["map"].as_array().unwrap();
            let servers: std::collections::HashSet<_> = map.iter().map(Value::as_u64).collect();
            placement["moving"] == json!([]) && servers.len() == members
        });
    }
}

struct Asker {
    client: Client,
}

impl Asker {
    fn ask(&mut self, request: &Value) -> Value {
        let reply = self.client.call(&serde_json::to_vec(request).unwrap(), PATIENCE).unwrap();
        serde_json::from_slice(reply.part_slice(0).unwrap()).unwrap()
    }

    fn push(&mut self, request: &Value) {
        self.client.push(&serde_json::to_vec(request).unwrap());
        self.client.flush().unwrap();
    }

    fn ok(&mut self, request: &Value) -> Value {
        let reply = self.ask(request);
        assert_eq!(reply["ok"], true, "{request} gave {reply}");
        reply
    }

    fn define(&mut self) -> Value {
        self.ok(&json!({"op": "define", "definition": counter()}))
    }

    fn add(&mut self, key: &str, by: u64) -> Value {
        self.ok(&json!({"op": "send", "machine": "counter", "key": key, "event": {"type": "ADD", "by": by}}))
    }

    fn count(&mut self, key: &str) -> Value {
        self.ok(&json!({"op": "get", "machine": "counter", "key": key}))["context"]["count"].clone()
    }
}

/// A parent tells its child NEXT, and remembers what the child's snapshot says.
fn parent() -> Value {
    let remember = json!({"type": "@xstate.assign", "context": {"child": {"@expr": "event.snapshot.value"}}});
    let pass_on = json!({"type": "@xstate.sendTo", "to": "c", "event": {"type": "NEXT"}});
    json!({
        "id": "parent", "initial": "a", "context": {"child": "-"},
        "states": {"a": {
            "invoke": {"src": "child", "id": "c", "onSnapshot": {"actions": remember}},
            "on": {"NEXT": {"actions": pass_on}}
        }}
    })
}

fn child(states: [&str; 2]) -> Value {
    let [first, second] = states;
    json!({"id": "child", "initial": first, "states": {first: {"on": {"NEXT": second}}, second: {"on": {"NEXT": first}}}})
}

#[test]
fn a_parent_keeps_the_version_of_its_child_that_it_was_defined_with() {
    let mut mesh = Mesh::new();
    let one = mesh.start("one");
    let mut asker = one.client();
    let mut define = |definition: Value| asker.ok(&json!({"op": "define", "definition": definition}));
    define(child(["old1", "old2"]));
    let before = define(parent());
    for key in 0..20 {
        one.client().ok(&send("parent", key));
    }
    define(child(["new1", "new2"]));
    // A daemon that joins later knows both versions, and which one the parent means: half of the instances move to it.
    let two = mesh.start("two");
    two.sees(2);
    for key in 0..20 {
        let moved = two.client().ok(&send("parent", key));
        assert_eq!((&moved["seq"], &moved["restarted"]), (&json!(2), &Value::Null), "{moved}");
    }
    for key in 20..40 {
        two.client().ok(&send("parent", key));
    }
    let children = |keys: std::ops::Range<u32>| -> Vec<Value> {
        let get = |key| {
            two.client().ok(&json!({"op": "get", "machine": "parent", "key": key_of(key)}))["context"]["child"].clone()
        };
        keys.map(get).collect()
    };
    assert!(children(0..20).iter().all(|child| child == "old1"), "{:?}", children(0..20));
    assert!(children(20..40).iter().all(|child| child == "old2"), "{:?}", children(20..40));
    // Defined again it takes up the newest child, as another version.
    let after = define(parent());
    assert_ne!(after["hash"], before["hash"]);
    for key in 40..60 {
        one.client().ok(&send("parent", key));
    }
    assert!(children(40..60).iter().all(|child| child == "new2"), "{:?}", children(40..60));
    assert_eq!(two.counted("statemesh_handoff_rejected_total"), 0.0);
}

#[test]
fn start_gives_a_key_whose_instance_has_ended_a_new_one() {
    let mut mesh = Mesh::new();
    let one = mesh.start("one");
    let mut asker = one.client();
    let mut machine = counter();
    machine["@statemesh"] = json!({"faults": "fail"});
    asker.ok(&json!({"op": "define", "definition": machine}));
    let about = |op: &str| json!({"op": op, "machine": "counter", "key": "k"});
    let event = |kind: &str| json!({"op": "send", "machine": "counter", "key": "k", "event": {"type": kind, "by": 1}});
    asker.ok(&event("ADD"));
    assert_eq!(asker.ask(&about("start"))["error"]["code"], "already_started");
    // An assignment that fails, a final state, a stop: each ends the instance, and each can be started again.
    for end in
        [json!({"op": "send", "machine": "counter", "key": "k", "event": {"type": "ADD"}}), event("END"), about("stop")]
    {
        let ended = asker.ok(&end);
        assert_ne!(ended["status"], "active", "{ended}");
        assert_eq!(asker.ok(&event("ADD"))["changed"], false);
        let again = asker.ok(&about("start"));
        assert_eq!((&again["status"], &again["changed"]), (&json!("active"), &json!(true)));
        assert!(again["run"].as_str() > ended["run"].as_str() && again["seq"] == 0, "{again} after {ended}");
        assert_eq!(asker.ok(&event("ADD"))["changed"], true);
        assert_eq!(asker.ok(&about("get"))["context"]["count"], 1);
        let history = asker.ok(&about("history"));
        assert_eq!(history["history"].as_array().unwrap().len(), 2, "{history}");
    }
}

#[test]
fn a_timer_is_told_of_by_the_event_that_it_brings() {
    let mut mesh = Mesh::new();
    let one = mesh.start("one");
    let mut asker = one.client();
    let tick = json!({"type": "@xstate.raise", "event": {"type": "TICK"}, "delay": 1});
    let states = json!({"a": {"entry": tick, "on": {"TICK": "b"}}, "b": {"after": {"1": "c"}}, "c": {}});
    asker.ok(&json!({"op": "define", "definition": {"id": "clock", "initial": "a", "states": states}}));
    let about = |op: &str| json!({"op": op, "machine": "clock", "key": "k"});
    asker.ok(&about("start"));
    one.until("both timers have fired", |one| one.client().ok(&about("get"))["value"] == "c");
    let history = asker.ok(&about("history"));
    let events: Vec<_> = history["history"].as_array().unwrap().iter().map(|past| past["event"].clone()).collect();
    assert_eq!(events, ["xstate.init", "TICK", "xstate.after.1.clock.b"]);
}

#[test]
fn what_compiles_with_all_its_levels_fits_into_a_request() {
    let mut mesh = Mesh::new();
    let one = mesh.start("one");
    let levels = statemesh_engine::Limits::default().nesting_max;
    let guard = json!({"type": "xstate.not", "guards": [{"@expr": "context.n == [[1]]"}]});
    let mut states = json!({"on": {"GO": {"guard": guard, "actions": [{"type": "x", "params": {"a": [[{}]]}}]}}});
    for _ in 0..levels {
        states = json!({"initial": "a", "states": {"a": states}});
    }
    states["id"] = json!("deep");
    states["context"] = json!({"n": []});
    let define = json!({"op": "define", "definition": states});
    one.client().ok(&define);
    let batch = one.client().ask(&json!([define]));
    assert_eq!(batch[0]["ok"], true, "{batch}");
}

#[test]
fn instances_that_arrive_before_their_definition_wait_for_it_and_no_longer() {
    let mut mesh = Mesh::new();
    let one = mesh.start("one");
    let mut asker = one.client();
    // Compiling it takes longer than moving some instances of it.
    let mut large = counter();
    large["description"] = json!("x".repeat(100_000));
    for n in 0..2_000 {
        large["states"]["on"]["on"][format!("E{n}")] =
            json!({"guard": {"@expr": format!("context.count > {n}")}, "target": "off"});
    }
    asker.ok(&json!({"op": "define", "definition": large}));
    for n in 0..50 {
        asker.add(&format!("k{n}"), 1);
    }
    for _ in 0..3 {
        // It gets no request, which would wake it.
        let two = mesh.start("two");
        for n in 0..50 {
            assert_eq!(asker.count(&format!("k{n}")), 1);
        }
        assert_eq!(two.counted("statemesh_handoff_rejected_total"), 0.0);
        assert_eq!(two.node.leave(PATIENCE).left_behind, 0);
        two.node.stop();
    }
}

fn key_of(key: u32) -> String {
    format!("key-{key}")
}

fn send(machine: &str, key: u32) -> Value {
    json!({"op": "send", "machine": machine, "key": key_of(key), "event": {"type": "NEXT"}})
}

#[test]
fn one_daemon_runs_a_machine() {
    let mut mesh = Mesh::new();
    let daemon = mesh.start("a");
    let mut client = daemon.client();
    assert_eq!(client.define()["members"], 1);
    let first = client.add("k", 3);
    assert_eq!((&first["value"], &first["seq"], &first["changed"]), (&json!("on"), &json!(1), &json!(true)));
    client.add("k", 4);
    assert_eq!(client.count("k"), 7);
    let history = client.ok(&json!({"op": "history", "machine": "counter", "key": "k"}));
    assert_eq!(history["history"].as_array().unwrap().len(), 3);
    let end = client.ok(&json!({"op": "send", "machine": "counter", "key": "k", "event": {"type": "END"}}));
    assert_eq!((&end["value"], &end["status"]), (&json!("off"), &json!("done")));
    let late = client.add("k", 1);
    assert_eq!(late["changed"], false);
    let unknown = client.ask(&json!({"op": "get", "machine": "counter", "key": "nobody"}));
    assert_eq!(unknown["error"]["code"], "unknown_instance");
    let unknown = client.ask(&json!({"op": "get", "machine": "nothing", "key": "nobody"}));
    assert_eq!(unknown["error"]["code"], "unknown_machine");
    daemon.node.stop();
}

/// A DaemonSet names its daemons after their nodes, whose names may be as long as a DNS name.
#[test]
fn names_of_253_bytes_are_members_like_any_other() {
    let mut mesh = Mesh::new();
    let names = ["n", "m"].map(|letter| letter.repeat(253));
    let daemons = names.each_ref().map(|name| mesh.start(name));
    daemons.iter().for_each(|daemon| daemon.settled(2));
    daemons[0].client().define();
    let mut owners = std::collections::HashSet::new();
    for key in (0..40).map(|n| n.to_string()) {
        daemons.iter().for_each(|daemon| _ = daemon.client().add(&key, 1));
        let place = daemons[0].client().ok(&json!({"op": "where", "machine": "counter", "key": key}));
        owners.insert(place["owner"].as_str().unwrap().to_owned());
        assert_eq!(daemons[1].client().count(&key), 2);
    }
    assert_eq!(owners, names.into_iter().collect());
}

#[test]
fn tells_are_applied_in_order_wherever_the_key_is_and_never_answered() {
    let mut mesh = Mesh::new();
    let (one, two) = (mesh.start("one"), mesh.start("two"));
    one.settled(2);
    two.settled(2);
    let mut client = one.client();
    client.define();
    let tell = |key: &str| json!({"op": "tell", "machine": "counter", "key": key, "event": {"type": "ADD", "by": 1}});
    for n in 0..40 {
        let key = n.to_string();
        for _ in 0..3 {
            client.push(&tell(&key));
        }
        // The next reply is that of the get: nothing came for the tells.
        assert_eq!(client.count(&key), 3, "{key}");
    }
    let wrong = json!({"op": "tell", "machine": "nothing", "key": "k", "event": {"type": "ADD"}});
    client.push(&wrong);
    client.push(&json!([tell("0"), tell("1")]));
    let both = client.ask(&json!([tell("0"), {"op": "get", "machine": "counter", "key": "0"}]));
    assert_eq!((&both[0], &both[1]["context"]["count"]), (&Value::Null, &json!(5)));
}

#[test]
fn a_connection_with_too_much_under_way_waits_and_loses_nothing() {
    let mut mesh = Mesh::new();
    mesh.limits.in_flight_per_connection = 2;
    let (one, two) = (mesh.start("one"), mesh.start("two"));
    one.settled(2);
    two.settled(2);
    let mut client = one.client();
    client.define();
    // Of two hundred keys some are elsewhere, so that there are more forwarded requests than two.
    let send = |op: &str, n: usize| json!({"op": op, "id": n, "machine": "counter", "key": format!("k{n}"), "event": {"type": "ADD", "by": 1}});
    (0..200).for_each(|n| client.client.push(&serde_json::to_vec(&send("tell", n)).unwrap()));
    let array: Vec<Value> = (0..200).map(|n| send("send", n)).collect();
    client.client.push(&serde_json::to_vec(&array).unwrap());
    (0..200).for_each(|n| client.client.push(&serde_json::to_vec(&send("send", n)).unwrap()));
    client.client.flush().unwrap();
    let mut replied = [0; 200];
    for _ in 0..201 {
        let reply = client.client.receive(PATIENCE).unwrap();
        let reply: Value = serde_json::from_slice(reply.part_slice(0).unwrap()).unwrap();
        let replies = reply.as_array().map_or(std::slice::from_ref(&reply), Vec::as_slice);
        replies.iter().for_each(|reply| replied[reply["id"].as_u64().unwrap() as usize] += 1);
    }
    assert_eq!(replied, [2; 200]);
    for n in 0..200 {
        assert_eq!(client.count(&format!("k{n}")), 3);
    }
    // How often depends on how the answers come: once shows that it waits.
    assert!(one.counted("statemesh_pauses_total") > 0.0);
}

#[test]
fn a_reply_says_where_the_time_went_if_it_is_asked() {
    let mut mesh = Mesh::new();
    let (one, two) = (mesh.start("one"), mesh.start("two"));
    one.settled(2);
    two.settled(2);
    let mut client = one.client();
    client.define();
    let mut passed_on = 0;
    for key in (0..40).map(|n| n.to_string()) {
        let request = json!({"op": "send", "machine": "counter", "key": key, "timing": true,
            "event": {"type": "ADD", "by": 1}});
        let sent = Instant::now();
        let reply = client.ok(&request);
        let seen = sent.elapsed().as_nanos();
        let timing = reply["timing"].as_object().unwrap();
        let stages: Vec<&str> = timing.keys().map(String::as_str).collect();
        let of_owner = ["read", "route", "queue", "step", "persist", "write"];
        assert_eq!(&stages[..6], of_owner);
        let elsewhere = stages[6..] == ["forward"];
        assert!(elsewhere || stages.len() == 6, "{stages:?}");
        passed_on += usize::from(elsewhere);
        let sum: u128 = timing.values().map(|ns| u128::from(ns.as_u64().unwrap())).sum();
        assert!(timing["step"].as_u64() > Some(0) && sum < seen, "{reply} in {seen} ns");
        assert!(client.add(&key, 1).get("timing").is_none());
    }
    assert!((1..40).contains(&passed_on), "{passed_on} of 40 keys are elsewhere");
}

#[test]
fn a_client_that_asks_not_to_be_forwarded_is_told_where_the_key_is() {
    let mut mesh = Mesh::new();
    let (one, two) = (mesh.start("one"), mesh.start("two"));
    one.settled(2);
    two.settled(2);
    let mut client = one.client();
    client.define();
    let mut moved = 0;
    for n in 0..40 {
        let request = json!({"op": "send", "machine": "counter", "key": n.to_string(), "forward": false,
            "event": {"type": "ADD", "by": 1}});
        let reply = client.ask(&request);
        if reply["ok"] == false {
            moved += 1;
            assert_eq!((&reply["error"]["code"], &reply["error"]["owner"]), (&json!("moved"), &json!("two")));
            let address = two.node.handle().addresses().clients.to_string();
            assert_eq!(reply["error"]["address"], address);
            two.client().ok(&request);
        }
        assert_eq!(client.count(&n.to_string()), 1, "applied once, by its owner");
    }
    assert!((1..40).contains(&moved), "{moved} of 40 keys are elsewhere");
    assert_eq!(client.ask(&json!({"op": "ping", "forward": 3}))["error"]["code"], "wrong_type");
}

#[test]
fn before_it_has_joined_a_daemon_names_nobody_who_serves_a_key() {
    let mut mesh = Mesh::new();
    // A seed that never answers.
    let silent = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    mesh.seeds.push(silent.local_addr().unwrap());
    let daemon = mesh.begin("outside", 1, None);
    let place = daemon.client().ok(&json!({"op": "where", "machine": "counter", "key": "k"}));
    assert_eq!((place.get("owner"), place.get("next")), (Some(&Value::Null), Some(&Value::Null)), "{place}");
    let placement = daemon.client().ok(&json!({"op": "placement"}));
    assert_eq!(placement["moving"].as_array().map(Vec::len), Some(64), "{placement}");
}

#[test]
fn a_retry_with_the_same_token_gets_the_first_answer() {
    let mut mesh = Mesh::new();
    let daemon = mesh.start("a");
    let mut client = daemon.client();
    client.define();
    let send = |id: u64| {
        json!({"op": "send", "id": id, "machine": "counter", "key": "k", "dedup": "t1",
        "event": {"type": "ADD", "by": 5}})
    };
    let first = client.ok(&send(1));
    client.add("k", 1);
    let mut again = client.ok(&send(2));
    assert_eq!(again["id"], 2);
    again["id"] = json!(1);
    assert_eq!(again, first);
    assert_eq!(client.count("k"), 6);
    daemon.node.stop();
}

#[test]
fn an_array_of_requests_gives_an_array_of_replies() {
    let mut mesh = Mesh::new();
    let daemon = mesh.start("a");
    let mut client = daemon.client();
    client.define();
    let adds: Vec<Value> = (0..10)
        .map(|n| json!({"op": "send", "id": n, "machine": "counter", "key": "k", "event": {"type": "ADD", "by": n}}))
        .collect();
    let replies = client.ask(&Value::Array(adds));
    let ids: Vec<u64> = replies.as_array().unwrap().iter().map(|r| r["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..10).collect::<Vec<_>>());
    assert_eq!(client.count("k"), 45);
    daemon.node.stop();
}

#[test]
fn three_daemons_share_the_keys_and_any_of_them_answers() {
    let mut mesh = Mesh::new();
    let daemons = [mesh.start("a"), mesh.start("b"), mesh.start("c")];
    daemons.iter().for_each(|daemon| daemon.sees(3));
    let mut clients: Vec<Asker> = daemons.iter().map(Daemon::client).collect();
    daemons[0].until("everyone has the definition", |_| daemons[0].client().define()["members"] == 3);
    for n in 0..300 {
        let key = format!("k{}", n % 30);
        clients[n % 3].add(&key, 1);
    }
    for n in 0..30 {
        assert_eq!(clients[(n + 1) % 3].count(&format!("k{n}")), 10);
    }
    for daemon in daemons {
        daemon.node.stop();
    }
}

#[test]
fn a_member_that_leaves_hands_over_what_it_has() {
    let mut mesh = Mesh::new();
    let (a, b) = (mesh.start("a"), mesh.start("b"));
    a.sees(2);
    b.sees(2);
    let mut client = a.client();
    a.until("everyone has the definition", |_| a.client().define()["members"] == 2);
    (0..100).for_each(|n| drop(client.add(&format!("k{n}"), n)));
    let LeaveReport { left_behind, moved_instances, .. } = b.node.leave(PATIENCE);
    assert_eq!(left_behind, 0);
    assert!((20..80).contains(&moved_instances), "{moved_instances}");
    b.node.stop();
    for n in 0..100 {
        assert_eq!(client.count(&format!("k{n}")), n);
    }
    a.node.stop();
}

#[test]
fn two_reactors_share_the_shards() {
    let mut mesh = Mesh::new();
    let daemon = mesh.start_with("a", 2);
    daemon.client().define();
    // The kernel spreads connections over the reactors by their source port: with sixteen, both have some.
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = daemon.client();
                (0..200).for_each(|n| drop(client.add(&format!("k{}", n % 5), 1)));
            });
        }
    });
    let mut client = daemon.client();
    (0..5).for_each(|n| assert_eq!(client.count(&format!("k{n}")), 16 * 40));
    daemon.node.stop();
}

/// A daemon that came back found its partitions empty: what was to move them had been given up before it began, and giving
/// up took them for sent.
#[test]
fn a_member_that_comes_back_at_once_gets_everything_back() {
    let mut mesh = Mesh::new();
    let a = mesh.start("a");
    let mut b = mesh.start("b");
    a.sees(2);
    a.until("everyone has the definition", |_| a.client().define()["members"] == 2);
    let mut client = a.client();
    for round in 1..=5 {
        (0..100).for_each(|n| drop(client.add(&format!("k{n}"), 1)));
        assert_eq!(b.node.leave(PATIENCE).left_behind, 0);
        b.node.stop();
        b = mesh.start("b");
        for n in 0..100 {
            assert_eq!(client.count(&format!("k{n}")), round, "k{n} in round {round}");
        }
    }
    a.node.stop();
    b.node.stop();
}
