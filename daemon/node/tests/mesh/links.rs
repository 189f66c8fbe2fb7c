//! Links between daemons take what any client may send, and have places of their own.

use statemesh_node::options::Limits;

use super::*;

/// What takes long on a busy machine is no fault.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// Keeps the text of its last event.
pub(super) fn keeper() -> Value {
    let keep = json!({"type": "@xstate.assign", "context": {"text": {"@expr": "event.text"}}});
    json!({"id": "keeper", "initial": "on", "context": {"text": ""}, "states": {"on": {"on": {"KEEP": {"actions": keep}}}}})
}

pub(super) fn keep(key: &str, text: &str) -> Value {
    json!({"op": "send", "machine": "keeper", "key": key, "event": {"type": "KEEP", "text": text}})
}

/// A key that this daemon has to ask the other one about, once that one serves its share.
fn key_elsewhere(daemon: &Daemon, name: &str) -> String {
    let mut asker = daemon.client();
    let deadline = Instant::now() + LONG;
    for n in (0..100).cycle() {
        let key = format!("k{n}");
        if asker.ask(&json!({"op": "where", "machine": "keeper", "key": key}))["owner"] == name {
            return key;
        }
        assert!(Instant::now() < deadline, "{name} serves nothing");
    }
    unreachable!("the cycle has no end")
}

fn two_with(limits: Limits) -> (Mesh, Daemon, Daemon) {
    let limits = Limits { forward_timeout: LONG, ..limits };
    let mut mesh = Mesh { limits, ..Mesh::new() };
    let one = mesh.start("one");
    one.client().ok(&json!({"op": "define", "definition": keeper()}));
    let two = mesh.start("two");
    one.sees(2);
    two.sees(2);
    (mesh, one, two)
}

#[test]
fn a_message_as_large_as_a_client_may_send_is_passed_on() {
    let bytes = 64 << 20;
    let (_mesh, one, _two) = two_with(Limits { message_bytes: bytes, ..Limits::default() });
    let key = key_elsewhere(&one, "two");
    let mut asker = one.client();
    asker.ok(&keep(&key, "small"));
    // MessagePack: a field that the op does not know makes it as long as it may be.
    let mut request = vec![0x84];
    for text in ["op", "get", "machine", "keeper", "key", &key, "filling"] {
        request.push(0xa0 | u8::try_from(text.len()).unwrap());
        request.extend_from_slice(text.as_bytes());
    }
    let filling = bytes - request.len() - 5;
    request.push(0xc6);
    request.extend_from_slice(&u32::try_from(filling).unwrap().to_be_bytes());
    request.resize(bytes, 0);
    let reply = asker.client.call(&request, LONG).unwrap();
    let reply = reply.part_slice(0).unwrap();
    assert!(reply.windows(5).any(|five| five == b"small"), "{}", String::from_utf8_lossy(reply));
}

#[test]
fn clients_that_take_every_place_keep_no_daemon_out() {
    let mut mesh = Mesh { limits: Limits { connections: 8, ..Limits::default() }, ..Mesh::new() };
    let one = mesh.start("one");
    one.client().ok(&json!({"op": "define", "definition": keeper()}));
    one.until("its places are free", |one| one.node.handle().readiness().ready);
    let address = one.node.handle().addresses().clients;
    let mut greedy = Vec::new();
    while let Ok(client) = Client::connect(address, SocketType::Dealer, PATIENCE) {
        greedy.push(client);
    }
    let two = mesh.start("two");
    let mut asker = two.client();
    for n in 0..40 {
        asker.ok(&keep(&format!("k{n}"), "x"));
    }
    drop(asker);
    let left = two.node.leave(PATIENCE);
    assert_eq!(left.left_behind, 0, "{left:?}");
    assert!(greedy.len() >= 7, "{} connections", greedy.len());
}

#[test]
fn answers_from_another_daemon_for_a_client_that_does_not_read_have_a_bound() {
    // All of them are less than half of what a link takes, beyond which the other daemon would refuse some.
    let (most, many) = (4 << 20, 60);
    let (_mesh, one, _two) = two_with(Limits { array_bytes: most, ..Limits::default() });
    let key = key_elsewhere(&one, "two");
    let mut asker = one.client();
    asker.ok(&keep(&key, &"x".repeat(500_000)));
    for id in 0..many {
        asker.push(&json!({"op": "get", "machine": "keeper", "key": key, "id": id}));
    }
    let mut seen: f64 = 0.0;
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        seen = seen.max(one.gauge("statemesh_unsent_bytes"));
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut left_out = 0;
    for _ in 0..many {
        let reply = asker.client.receive(LONG).unwrap();
        let reply = String::from_utf8_lossy(reply.part_slice(0).unwrap()).into_owned();
        if reply.contains("\"ok\":false") {
            assert!(reply.contains("outcome_unknown") && reply.contains("limits.array_bytes"), "{reply:.300}");
            left_out += 1;
        }
    }
    assert!(seen < most as f64 + 100_000.0, "{seen} bytes waited");
    assert!(left_out < many, "none was answered");
}

/// Of an array those requests are refused that come when it is full, before they are run; of those that another daemon has by then the
/// answers are left out, which may have changed something.
#[test]
fn of_an_array_that_is_too_large_it_is_said_of_each_request_whether_it_was_run() {
    let most = 4 << 20;
    let (_mesh, one, _two) = two_with(Limits { array_bytes: most, ..Limits::default() });
    let (there, here) = (key_elsewhere(&one, "two"), key_elsewhere(&one, "one"));
    let mut asker = one.client();
    for key in [&there, &here] {
        asker.ok(&keep(key, &"x".repeat(500_000)));
    }
    // Those that are passed on are answered when the others have filled the array.
    let get = |key: &String| json!({"op": "get", "machine": "keeper", "key": key});
    let array: Vec<Value> = [&there, &here].into_iter().flat_map(|key| vec![get(key); 20]).collect();
    let replies = asker.ask(&json!(array));
    let code = |reply: &Value| reply["error"]["code"].as_str().unwrap_or("ok").to_owned();
    let said: Vec<String> = replies.as_array().unwrap().iter().map(code).collect();
    // The first one here that has no room was run, too.
    let expected: Vec<&str> = [("outcome_unknown", 20), ("ok", 8), ("outcome_unknown", 1), ("limit_exceeded", 11)]
        .into_iter()
        .flat_map(|(code, many)| std::iter::repeat_n(code, many))
        .collect();
    assert_eq!(said, expected);
    let named =
        |reply: &Value| reply["ok"] == true || reply["error"]["message"].to_string().contains("limits.array_bytes");
    assert!(replies.as_array().unwrap().iter().all(named));
    assert_eq!(one.counted("statemesh_refused_array_bytes_total"), 32.0);
    // It is over with that array.
    asker.ok(&get(&there));
}
