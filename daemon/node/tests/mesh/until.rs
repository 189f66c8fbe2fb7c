//! Answers that wait until their instance is somewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::*;

fn start(key: &str, rest: Value) -> Value {
    let mut request = json!({"op": "start", "machine": "slow", "key": key, "id": key});
    for (name, value) in rest.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

/// Machines that go on by themselves: after a fifth of a second `slow` is in `late`, and it ends with `END`.
fn define(asker: &mut Asker) {
    let late = json!({"tags": ["overdue"], "on": {"END": "end"}});
    let states = json!({"early": {"after": {"200": "late"}}, "late": late, "end": {"type": "final"}});
    asker.ok(&json!({"op": "define", "definition": {"id": "slow", "initial": "early", "states": states}}));
}

#[test]
fn an_answer_waits_until_the_instance_is_there_whichever_daemon_serves_it() {
    let mut mesh = Mesh::new();
    let daemons = ["one", "two"].map(|name| mesh.start(name));
    daemons.iter().for_each(|daemon| daemon.sees(2));
    let mut asker = daemons[0].client();
    define(&mut asker);
    for n in 0..12 {
        let key = format!("k{n}");
        let begin = Instant::now();
        let reply = asker.ok(&start(&key, json!({"until": {"state": "late"}, "within": 8_000})));
        assert!(begin.elapsed() >= Duration::from_millis(150), "{reply}");
        let shown = (&reply["reached"], &reply["value"], &reply["seq"], &reply["changed"], &reply["id"]);
        assert_eq!(shown, (&json!(true), &json!("late"), &json!(1), &json!(true), &json!(key)), "{reply}");
        let tagged = asker.ok(&json!({"op": "get", "machine": "slow", "key": key, "until": {"tag": "overdue"}}));
        assert_eq!((&tagged["reached"], &tagged["tags"]), (&json!(true), &json!(["overdue"])), "{tagged}");
    }
    for daemon in &daemons {
        daemon.until("nobody waits any more", |daemon| daemon.gauge("statemesh_waits") == 0.0);
    }
}

#[test]
fn it_says_so_where_that_does_not_come_about() {
    let mut mesh = Mesh::new();
    let one = mesh.start("one");
    let mut asker = one.client();
    define(&mut asker);
    let over = asker.ok(&start("k", json!({"until": {"done": true}, "within": 50})));
    assert_eq!((&over["reached"], &over["value"]), (&json!(false), &json!("early")), "{over}");
    // It ends elsewhere than it is waited for, by another client, long before the time is over.
    let mut other = one.client();
    let wait = json!({"op": "get", "machine": "slow", "key": "k", "until": {"state": "end"}, "within": 60_000});
    asker.client.push(&serde_json::to_vec(&wait).unwrap());
    asker.client.flush().unwrap();
    let stop = json!({"op": "stop", "machine": "slow", "key": "k"});
    one.until("it waits", |one| one.gauge("statemesh_waits") == 1.0);
    other.ok(&stop);
    let reply = asker.client.receive(PATIENCE).unwrap();
    let reply: Value = serde_json::from_slice(reply.part_slice(0).unwrap()).unwrap();
    assert_eq!((&reply["reached"], &reply["status"]), (&json!(false), &json!("stopped")), "{reply}");
    let code = |asker: &mut Asker, request: Value| asker.ask(&request)["error"]["code"].clone();
    assert_eq!(code(&mut asker, start("bad", json!({"until": {"state": 5}}))), "wrong_type");
    // limits.wait is an hour: what is longer is not shortened without a word.
    let long = asker.ask(&start("bad", json!({"until": {"done": true}, "within": 3_600_001})));
    assert_eq!(long["error"]["code"], "wrong_type", "{long}");
    assert!(long["error"]["message"].as_str().unwrap().contains("limits.wait"), "{long}");
    assert_eq!(
        code(&mut asker, json!({"op": "get", "machine": "slow", "key": "bad"})),
        "unknown_instance",
        "nothing is done"
    );
    let none = json!({"op": "get", "machine": "slow", "key": "none", "until": {"done": true}});
    assert_eq!(code(&mut asker, none), "unknown_instance");
}

#[test]
fn who_says_no_time_waits_as_long_as_the_daemon_allows() {
    let mut mesh = Mesh::new();
    mesh.limits.wait = Duration::from_millis(50);
    let one = mesh.start("one");
    let mut asker = one.client();
    define(&mut asker);
    let over = asker.ok(&start("k", json!({"until": {"done": true}})));
    assert_eq!((&over["reached"], &over["value"]), (&json!(false), &json!("early")), "{over}");
    let refused = asker.ask(&start("k", json!({"until": {"done": true}, "within": 51})));
    assert!(refused["error"]["message"].as_str().unwrap().contains("limits.wait"), "{refused}");
}

#[test]
fn what_the_machine_does_not_have_is_refused_at_once_with_what_was_meant() {
    let mut mesh = Mesh::new();
    let daemons = ["one", "two"].map(|name| mesh.start(name));
    daemons.iter().for_each(|daemon| daemon.sees(2));
    let mut asker = daemons[0].client();
    define(&mut asker);
    for n in 0..6 {
        let key = format!("k{n}");
        for (until, hint) in [
            (json!({"state": "lat"}), "did you mean late?"),
            (json!({"tag": "overdeu"}), "did you mean overdue?"),
            (json!({"state": "elsewhere"}), "a state is its path"),
        ] {
            let refused = asker.ask(&start(&key, json!({"until": until, "within": 60_000})));
            let error = &refused["error"];
            assert_eq!(error["code"], "unknown_state", "{refused}");
            assert!(error["hint"].as_str().unwrap().contains(hint), "{refused}");
        }
        let none = asker.ask(&json!({"op": "get", "machine": "slow", "key": key}));
        assert_eq!(none["error"]["code"], "unknown_instance", "nothing was done");
    }
    daemons[0].until("nobody waits", |one| one.gauge("statemesh_waits") == 0.0);
}

#[test]
fn one_that_gets_stuck_or_is_removed_is_not_waited_for() {
    let mut mesh = Mesh::new();
    let daemons = ["one", "two"].map(|name| mesh.start(name));
    daemons.iter().for_each(|daemon| daemon.sees(2));
    let mut asker = daemons[0].client();
    define(&mut asker);
    let fails = json!({"actions": {"type": "@xstate.assign", "context": {"n": {"@expr": "context.no"}}}});
    let states = json!({"a": {"after": {"100": fails}, "on": {"END": "end"}}, "end": {"type": "final"}});
    asker.ok(&json!({"op": "define", "definition": {"id": "frail", "initial": "a", "states": states}}));
    let mut waiting = daemons[0].client();
    let begin = Instant::now();
    for n in 0..6 {
        let wait = json!({"until": {"done": true}, "within": 60_000});
        let mut frail = start(&format!("k{n}"), wait.clone());
        frail["machine"] = json!("frail");
        waiting.client.push(frail.to_string().as_bytes());
        waiting.client.push(start(&format!("gone{n}"), wait).to_string().as_bytes());
    }
    waiting.client.flush().unwrap();
    for n in 0..6 {
        daemons[0].until("it has begun and is removed", |one| {
            one.client().ask(&json!({"op": "delete", "machine": "slow", "key": format!("gone{n}")}))["ok"] == true
        });
    }
    for _ in 0..12 {
        let reply = waiting.client.receive(PATIENCE).unwrap();
        let reply: Value = serde_json::from_slice(reply.part_slice(0).unwrap()).unwrap();
        let is_frail = reply["id"].as_str().unwrap().starts_with('k');
        assert_eq!((&reply["ok"], &reply["reached"]), (&json!(true), &json!(false)), "{reply}");
        assert_eq!((reply["stuck"] == true, reply["gone"] == true), (is_frail, !is_frail), "{reply}");
    }
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    // One that is stuck when it is asked for, too.
    let get = json!({"op": "get", "machine": "frail", "key": "k0", "until": {"state": "end"}, "within": 60_000});
    assert_eq!(asker.ok(&get)["stuck"], true);
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
}

#[test]
fn waits_are_bounded_and_end_with_their_clients() {
    let mut mesh = Mesh::new();
    mesh.limits.waits = 2;
    let one = mesh.start("one");
    let mut asker = one.client();
    define(&mut asker);
    asker.ok(&start("k", json!({})));
    let wait = json!({"op": "get", "machine": "slow", "key": "k", "until": {"done": true}, "within": 60_000});
    let mut waiting = one.client();
    (0..2).for_each(|_| waiting.client.push(&serde_json::to_vec(&wait).unwrap()));
    waiting.client.flush().unwrap();
    one.until("both wait", |one| one.gauge("statemesh_waits") == 2.0);
    let refused = asker.ask(&wait);
    assert!(refused["error"]["message"].as_str().unwrap().contains("limits.waits"), "{refused}");
    drop(waiting);
    one.until("nobody waits", |one| one.gauge("statemesh_waits") == 0.0);
    // Those that came in an array too.
    let mut waiting = one.client();
    waiting.client.push(&serde_json::to_vec(&json!([wait, wait])).unwrap());
    waiting.client.flush().unwrap();
    one.until("both wait", |one| one.gauge("statemesh_waits") == 2.0);
    drop(waiting);
    one.until("nobody waits", |one| one.gauge("statemesh_waits") == 0.0);
    one.until("nothing is left of the array", |one| one.gauge("statemesh_open_arrays") == 0.0);
}

#[test]
fn what_waits_keeps_a_bounded_number_of_bytes() {
    let mut mesh = Mesh::new();
    mesh.limits.parked_bytes = 11_000;
    let one = mesh.start("one");
    let mut asker = one.client();
    define(&mut asker);
    asker.ok(&start("k", json!({})));
    let id = "x".repeat(4_096);
    let wait = json!({"op": "get", "machine": "slow", "key": "k", "id": id, "until": {"done": true}, "within": 60_000});
    let mut waiting = one.client();
    waiting.push(&wait);
    one.until("one waits", |one| one.gauge("statemesh_waits") == 1.0);
    // There is no room for the answer of another one: it is answered as it is, long before its time.
    let begin = Instant::now();
    let mut begun = start("other", json!({"until": {"done": true}, "within": 60_000}));
    begun["id"] = json!(id);
    let answered = asker.ok(&begun);
    assert!(begin.elapsed() < Duration::from_secs(30) && answered["reached"] == false, "{:?}", begin.elapsed());
    assert_eq!(one.gauge("statemesh_waits"), 1.0);
    // Nor for a request that is too large beside it.
    let mut large = wait.clone();
    large["id"] = json!("x".repeat(8_192));
    let refused = asker.ask(&large);
    assert!(refused["error"]["message"].as_str().unwrap().contains("limits.parked_bytes"), "{refused}");
    drop(waiting);
    one.until("nobody waits", |one| one.gauge("statemesh_waits") == 0.0);
    waiting = one.client();
    waiting.push(&wait);
    one.until("there is room again", |one| one.gauge("statemesh_waits") == 1.0);
}

#[test]
fn one_connection_may_have_some_that_wait_and_is_read_on() {
    let mut mesh = Mesh::new();
    (mesh.limits.in_flight_per_connection, mesh.limits.waits) = (4, 3);
    let one = mesh.start("one");
    let mut asker = one.client();
    define(&mut asker);
    let wait = |key: &str| start(key, json!({"until": {"done": true}, "within": 60_000}));
    let mut greedy = one.client();
    ["k0", "k1"].iter().for_each(|key| greedy.push(&wait(key)));
    one.until("two wait", |one| one.gauge("statemesh_waits") == 2.0);
    for refused in [greedy.ask(&wait("k2")), greedy.ask(&json!([wait("k2")]))[0].clone()] {
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains("limits.in_flight_per_connection"), "{refused}");
    }
    let mut other = one.client();
    other.push(&wait("k3"));
    one.until("others may wait", |one| one.gauge("statemesh_waits") == 3.0);
    // What a wait is for may come on its own connection.
    greedy.push(&json!({"op": "tell", "machine": "slow", "key": "k0", "event": {"type": "NOTHING"}}));
    greedy.push(&json!({"op": "stop", "machine": "slow", "key": "k0", "id": "stop"}));
    let ids: Vec<Value> = (0..2)
        .map(|_| greedy.client.receive(PATIENCE).unwrap())
        .map(|reply| serde_json::from_slice::<Value>(reply.part_slice(0).unwrap()).unwrap()["id"].clone())
        .collect();
    assert!(ids.contains(&json!("k0")) && ids.contains(&json!("stop")), "{ids:?}");
    greedy.push(&wait("k4"));
    one.until("there is room again", |one| one.gauge("statemesh_waits") == 3.0);
    drop(greedy);
    one.until("they end with their client", |one| one.gauge("statemesh_waits") == 1.0);
}

#[test]
fn what_waits_is_under_way_on_its_connection() {
    let mut mesh = Mesh::new();
    mesh.limits.in_flight_per_connection = 1;
    let one = mesh.start("one");
    let mut asker = one.client();
    define(&mut asker);
    let mut waiting = one.client();
    waiting.push(&start("k", json!({"until": {"done": true}, "within": 60_000})));
    one.until("it is not read", |one| one.gauge("statemesh_paused_connections") == 1.0);
    asker.ok(&json!({"op": "stop", "machine": "slow", "key": "k"}));
    waiting.client.receive(PATIENCE).unwrap();
    waiting.ok(&json!({"op": "ping"}));
}

#[test]
fn nothing_is_left_of_envelopes_whose_requests_are_never_answered() {
    let mut mesh = Mesh::new();
    let one = mesh.start("one");
    let mut asker = one.client();
    define(&mut asker);
    asker.ok(&start("k", json!({})));
    let tell = json!([{"op": "tell", "machine": "slow", "key": "k", "event": {"type": "END"}}]).to_string();
    asker.client.push_parts(&[b"proxy", b"", tell.as_bytes()]);
    asker.ok(&json!({"op": "get", "machine": "slow", "key": "k"}));
    one.until("the array of tells has ended", |one| one.gauge("statemesh_envelopes") == 0.0);
    asker.ok(&start("other", json!({})));
    let wait = json!({"op": "get", "machine": "slow", "key": "other", "until": {"done": true}, "within": 60_000});
    let mut waiting = one.client();
    let (single, array) = (wait.to_string(), json!([wait]).to_string());
    [single, array].iter().for_each(|wait| waiting.client.push_parts(&[b"proxy", b"", wait.as_bytes()]));
    waiting.client.flush().unwrap();
    one.until("both wait", |one| one.gauge("statemesh_envelopes") == 2.0);
    drop(waiting);
    one.until("nothing is kept", |one| one.gauge("statemesh_envelopes") == 0.0);
    let mut asker = one.client();
    asker.client.push_parts(&[&[7; 1_025], b"", b"{}"]);
    asker.client.flush().unwrap();
    let refused = asker.client.receive(PATIENCE).unwrap();
    let refused: Value = serde_json::from_slice(refused.part_slice(0).unwrap()).unwrap();
    assert_eq!(refused["error"]["code"], "message_too_large");
}

#[test]
fn who_waits_at_a_daemon_that_leaves_is_answered() {
    let mut mesh = Mesh::new();
    let [one, two] = ["one", "two"].map(|name| mesh.start(name));
    [&one, &two].iter().for_each(|daemon| daemon.sees(2));
    let mut asker = two.client();
    define(&mut asker);
    let wait = json!({"until": {"done": true}, "within": 60_000});
    (0..6).for_each(|n| asker.client.push(start(&format!("k{n}"), wait.clone()).to_string().as_bytes()));
    let get =
        json!({"op": "get", "machine": "slow", "key": "k0", "id": "get", "until": {"done": true}, "within": 60_000});
    asker.client.push(get.to_string().as_bytes());
    asker.client.flush().unwrap();
    two.until("all wait", |two| two.gauge("statemesh_waits") == 7.0);
    two.until("their requests are done", |_| {
        let mut other = one.client();
        (0..6).all(|n| other.ask(&json!({"op": "get", "machine": "slow", "key": format!("k{n}")}))["ok"] == true)
    });
    assert_eq!(two.node.leave(PATIENCE).left_behind, 0);
    two.node.stop();
    for _ in 0..7 {
        let reply = asker.client.receive(PATIENCE).unwrap();
        let reply: Value = serde_json::from_slice(reply.part_slice(0).unwrap()).unwrap();
        match &reply["id"] {
            id if *id == "get" => assert_eq!(reply["error"]["code"], "leaving", "{reply}"),
            _ => assert_eq!((&reply["ok"], &reply["reached"]), (&json!(true), &json!(false)), "{reply}"),
        }
    }
}

fn received(asker: &mut Asker) -> Value {
    serde_json::from_slice(asker.client.receive(PATIENCE).unwrap().part_slice(0).unwrap()).unwrap()
}

#[test]
fn a_daemon_at_which_many_wait_leaves_at_once_and_takes_no_more_of_them() {
    let mut mesh = Mesh::new();
    mesh.limits.forward_timeout = Duration::from_secs(30);
    let [one, two] = ["one", "two"].map(|name| mesh.start(name));
    [&one, &two].iter().for_each(|daemon| daemon.sees(2));
    let mut asker = two.client();
    define(&mut asker);
    let wait = json!({"until": {"done": true}, "within": 60_000});
    (0..1_500).for_each(|n| asker.client.push(start(&format!("k{n}"), wait.clone()).to_string().as_bytes()));
    asker.client.flush().unwrap();
    two.until("all wait", |two| {
        two.gauge("statemesh_waits") == 1_500.0 && two.gauge("statemesh_parked_requests") == 0.0
    });
    let begin = Instant::now();
    assert_eq!(two.node.leave(Duration::from_secs(60)).left_behind, 0);
    let took = begin.elapsed();
    // They are asked after all the time, and each question is a request that is under way.
    assert!(took < Duration::from_secs(5), "it awaited the answers to questions for {took:?}");
    for _ in 0..1_500 {
        let reply = received(&mut asker);
        assert_eq!((&reply["ok"], &reply["reached"]), (&json!(true), &json!(false)), "{reply}");
    }
    // It answers until it ends, and passes on nothing: neither what waits nor what is not about one key.
    let define = json!({"op": "define", "definition": {"id": "late", "initial": "a", "states": {"a": {}}}});
    for (what, request) in [
        ("until", start("late", wait.clone())),
        ("until, in an array", json!([start("late", wait)])),
        ("list", json!({"op": "list", "machine": "slow"})),
        ("define", define),
    ] {
        let reply = asker.ask(&request);
        let reply = reply.get(0).unwrap_or(&reply);
        assert_eq!(reply["error"]["code"], "leaving", "{what}: {reply}");
    }
    asker.ok(&json!({"op": "ping"}));
    two.node.stop();
    let mut other = one.client();
    let there = other.ask(&json!({"op": "get", "machine": "slow", "key": "late"}));
    assert_eq!(there["error"]["code"], "unknown_instance", "nothing was applied: {there}");
}

#[test]
fn questions_of_those_that_wait_are_no_requests_of_clients() {
    let mut mesh = Mesh::new();
    let one = mesh.start("one");
    let mut asker = one.client();
    define(&mut asker);
    let counted = || ["requests", "errors"].map(|what| one.counted(&format!("statemesh_{what}_total")));
    let since = |before: [f64; 2]| {
        let now = counted();
        [now[0] - before[0], now[1] - before[1]]
    };
    let before = counted();
    asker.ok(&start("k", json!({"until": {"state": "late"}, "within": 8_000})));
    assert_eq!(since(before), [1.0, 0.0], "its instance was asked after");
    // Whose instance is removed hears of it from a question: a `get` is refused, which is an error, and a `start` is not.
    let get = json!({"op": "get", "machine": "slow", "key": "k", "until": {"done": true}, "within": 60_000});
    for (request, errors) in [(get, 1.0), (start("other", json!({"until": {"done": true}, "within": 60_000})), 0.0)] {
        let before = counted();
        asker.push(&request);
        one.until("it waits", |one| one.gauge("statemesh_waits") == 1.0);
        one.client().ok(&json!({"op": "delete", "machine": "slow", "key": request["key"]}));
        let reply = received(&mut asker);
        assert_eq!(reply["ok"], errors == 0.0, "{reply}");
        assert_eq!(since(before), [2.0, errors], "{reply}");
    }
}

#[test]
fn each_wait_has_its_turn_and_ends_in_time_also_where_many_are_woken_all_the_time() {
    let mut mesh = Mesh::new();
    let one = mesh.start("one");
    let mut asker = one.client();
    define(&mut asker);
    let machine = json!({"id": "hot", "context": {"n": 0}, "initial": "on", "states": {"on": {"on": {"ADD": {"actions":
        [{"type": "@xstate.assign", "context": {"n": {"@expr": "context.n + 1"}}}]}}}, "off": {}}});
    asker.ok(&json!({"op": "define", "definition": machine}));
    asker.ok(&json!({"op": "start", "machine": "hot", "key": "k"}));
    let mut waiting = one.client();
    let wait =
        json!({"op": "get", "machine": "hot", "key": "k", "until": {"state": "off"}, "within": 1_000}).to_string();
    (0..2_000).for_each(|_| waiting.client.push(wait.as_bytes()));
    waiting.client.flush().unwrap();
    // The instance changes until the last one is answered.
    let answered = Arc::new(AtomicBool::new(false));
    let all = Arc::clone(&answered);
    let hot = std::thread::spawn(move || {
        while !all.load(Relaxed) {
            asker.ok(&json!({"op": "send", "machine": "hot", "key": "k", "event": {"type": "ADD"}}));
        }
    });
    for _ in 0..2_000 {
        let reply = waiting.client.receive(PATIENCE).unwrap();
        let reply: Value = serde_json::from_slice(reply.part_slice(0).unwrap()).unwrap();
        assert_eq!(reply["reached"], false, "{reply}");
    }
    answered.store(true, Relaxed);
    hot.join().unwrap();
}
