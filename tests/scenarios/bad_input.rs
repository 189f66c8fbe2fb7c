//! Requests that are wrong: an error reply with a stable code, a metric, no crash, no growth, and other clients notice nothing.

use crate::one_daemon::alone;
use serde_json::{Value, json};
use statemesh_tests::caller::{Caller, Encoding, is_refusal};
use statemesh_tests::daemon::Daemon;
use statemesh_tests::load::{Background, Load};
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::{Outcome, ensure, wait_for};
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("a request with wrong fields is refused with a code that says which way it is wrong", wrong_fields)
        .on_loopback(),
    Scenario::new("a frame that is no request is refused and the connection goes on", no_request).on_loopback(),
    Scenario::new("a definition that does not compile is refused with a path into it", wrong_definitions).on_loopback(),
    Scenario::new("a message over the limit is refused and its connection goes on", over_the_limit).on_loopback(),
    Scenario::new("a key of 10 MB and an array of a million requests are refused", huge).on_loopback(),
    Scenario::new("deep nesting, long numbers and odd texts crash nothing", odd_values).on_loopback(),
    Scenario::new("the same bad input again and again makes no daemon grow", no_growth).on_loopback(),
];

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_secs(10);

/// Requests, and the code with which each is refused.
fn wrong_requests() -> Vec<(Value, &'static str)> {
    let event = json!({"type": "ADD", "n": 1});
    let send = |machine: Value, key: Value, event: Value| json!({"op": "send", "machine": machine, "key": key, "event": event});
    vec![
        (json!({}), "missing_field"),
        (json!({"op": "frobnicate"}), "unknown_op"),
        (json!({"op": ""}), "unknown_op"),
        (json!({"op": "SEND"}), "unknown_op"),
        (json!({"op": 5}), "wrong_type"),
        (json!({"op": null}), "wrong_type"),
        (json!({"op": ["send"]}), "wrong_type"),
        (json!({"op": "send"}), "missing_field"),
        (json!({"op": "send", "machine": "counter", "key": "k"}), "missing_field"),
        (json!({"op": "send", "machine": "counter", "event": event}), "missing_field"),
        (json!({"op": "get", "machine": "counter"}), "missing_field"),
        (json!({"op": "define"}), "missing_field"),
        (send(json!(5), json!("k"), event.clone()), "wrong_type"),
        (send(json!("counter"), json!(5), event.clone()), "wrong_type"),
        (send(json!("counter"), json!({"a": 1}), event.clone()), "wrong_type"),
        (send(json!("counter"), json!("k"), json!(5)), "wrong_type"),
        (send(json!("counter"), json!("k"), json!([event])), "wrong_type"),
        (send(json!("counter"), json!("k"), json!({"n": 1})), "wrong_type"),
        (send(json!("counter"), json!("k"), json!({"type": 5})), "wrong_type"),
        (send(json!("nothing"), json!("k"), event.clone()), "unknown_machine"),
        (send(json!("counter"), json!("k".repeat(2_000)), event.clone()), "key_too_long"),
        (json!({"op": "get", "machine": "counter", "key": "never"}), "unknown_instance"),
        (json!({"op": "history", "machine": "counter", "key": "never"}), "unknown_instance"),
        (json!({"op": "stop", "machine": "counter", "key": "never"}), "unknown_instance"),
        (json!({"op": "start", "machine": "counter", "key": "there"}), "already_started"),
        (json!({"op": "instances", "machine": "nothing"}), "unknown_machine"),
        (json!({"op": "define", "definition": 5}), "invalid_definition"),
        (json!({"op": "define", "definition": {}, "options": 5}), "wrong_type"),
        (json!({"op": "define", "definition": {}, "options": {"durability": "stone"}}), "wrong_type"),
        (json!({"op": "define", "definition": {}, "options": {"durability": "replicated"}}), "unsupported"),
    ]
}

/// A daemon with an instance `there`, and a client whose events must not be disturbed.
fn with_bystander(scene: &Scene, arguments: &str) -> Outcome<(Daemon, Background)> {
    let daemon = alone(scene, arguments)?;
    Caller::connect(daemon.clients())?.send("counter", "there", json!({"type": "ADD", "n": 0}))?;
    let load = Background::start(vec![Load::on(daemon.clients(), "bystander")])?;
    Ok((daemon, load))
}

fn wrong_fields(scene: &Scene) -> Outcome {
    let (daemon, load) = with_bystander(scene, "")?;
    let errors = |code: &str| -> Outcome<f64> {
        let label = format!("code=\"{code}\"");
        Ok(daemon.metrics()?.sum("statemesh_errors_total", &[&label]).unwrap_or(0.0))
    };
    let mut wrong = Vec::new();
    for encoding in [Encoding::Json, Encoding::MsgPack] {
        let mut caller = Caller::speaking(daemon.clients(), encoding)?;
        for (request, code) in wrong_requests() {
            let before = errors(code)?;
            let text = request.to_string();
            let asked: String = text.chars().take(120).collect();
            // Every case is tried, so that one run shows all that is wrong.
            match caller.ask(request) {
                Ok(reply) if is_refusal(&reply, code) => {}
                Ok(reply) => wrong.push(format!("{encoding:?} {asked}: not {code} but {reply}")),
                Err(failure) => {
                    wrong.push(format!("{encoding:?} {asked}: {failure}"));
                    caller = Caller::speaking(daemon.clients(), encoding)?;
                    continue;
                }
            }
            if errors(code)? < before + 1.0 {
                wrong.push(format!("{encoding:?} {asked}: the metric of {code} did not count it"));
            }
        }
        caller.ok(json!({"op": "ping", "what": {"is": ["this", null]}}))?;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    load.stop_flawless(daemon.clients())?;
    Ok(())
}

/// Frames that are no requests.
fn malformed_frames() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a blank", b" ".to_vec()),
        ("half a JSON map", b"{\"op\":\"pi".to_vec()),
        ("JSON with something after it", b"{\"op\":\"ping\"} x".to_vec()),
        ("JSON without quotes", b"{op:ping}".to_vec()),
        ("JSON that is not UTF-8", b"{\"op\":\"\xff\xfe\"}".to_vec()),
        ("a JSON text with a raw control character", b"{\"op\":\"pi\nng\"}".to_vec()),
        ("half a surrogate pair", b"{\"op\":\"\\ud800\"}".to_vec()),
        ("an open array", b"[{\"op\":\"ping\"},".to_vec()),
        ("a number", b"5".to_vec()),
        ("MessagePack nil", vec![0xc0]),
        ("a MessagePack number", vec![0x05]),
        ("a reserved MessagePack byte", vec![0xc1]),
        ("a map that announces 4 billion entries", vec![0xdf, 0xff, 0xff, 0xff, 0xff]),
        ("a text that announces 4 GB", vec![0x81, 0xdb, 0xff, 0xff, 0xff, 0xff, b'o']),
        ("half a MessagePack map", vec![0x82, 0xa2, b'o', b'p']),
        ("a MessagePack map with a number as name", vec![0x81, 0x05, 0x05]),
        ("MessagePack with something after it", vec![0x81, 0xa2, b'o', b'p', 0xa4, b'p', b'i', b'n', b'g', 0x00]),
    ]
}

fn no_request(scene: &Scene) -> Outcome {
    let (daemon, load) = with_bystander(scene, "")?;
    let mut caller = Caller::connect(daemon.clients())?;
    let mut wrong = Vec::new();
    for (what, frame) in malformed_frames() {
        caller.push_raw(&frame)?;
        match caller.receive(SOON) {
            Ok(reply) if reply["ok"] == false && reply["error"]["code"].is_string() => {}
            Ok(reply) => wrong.push(format!("{what}: {reply}")),
            Err(failure) => {
                wrong.push(format!("{what}: {failure}"));
                caller = Caller::connect(daemon.clients())?;
            }
        }
    }
    // In an array each request has its own reply.
    caller.push_raw(b"[{\"op\":\"ping\",\"id\":1},5,{\"op\":\"frobnicate\",\"id\":3},{\"op\":\"ping\",\"id\":4}]")?;
    let replies = caller.receive(SOON)?;
    let oks: Vec<bool> = replies.as_array().ok_or("no array")?.iter().map(|reply| reply["ok"] == true).collect();
    ensure!(oks == [true, false, false, true], "the array was answered with {replies}");
    ensure!(
        replies[2]["id"] == 3 && replies[2]["error"]["code"] == "unknown_op",
        "the array was answered with {replies}"
    );
    caller.push_raw(b"[]")?;
    let empty = caller.receive(SOON)?;
    ensure!(empty == json!([]) || empty["ok"] == false, "an empty array was answered with {empty}");
    let counted = daemon.metrics()?.sum("statemesh_malformed_frames_total", &[]).unwrap_or(0.0);
    let counted =
        counted.max(daemon.metrics()?.sum("statemesh_errors_total", &["code=\"bad_request\""]).unwrap_or(0.0));
    ensure!(counted >= 10.0, "the metrics count {counted} malformed frames");
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    load.stop_flawless(daemon.clients())?;
    Ok(())
}

fn wrong_definitions(scene: &Scene) -> Outcome {
    let (daemon, load) = with_bystander(scene, "")?;
    let mut caller = Caller::connect(daemon.clients())?;
    let expression = json!({"@expr": "context.count +"});
    let assign = json!({"type": "@xstate.assign", "context": {"x": expression}});
    let cases = [
        json!({"id": "m", "initial": "none", "states": {"a": {}}}),
        json!({"id": "m", "initial": "a", "states": {"a": {"on": {"X": "nowhere"}}}}),
        json!({"id": "m", "initial": "a", "states": {"a": {"on": {"X": {"guard": "unknown", "target": "a"}}}}}),
        json!({"id": "m", "initial": "a", "states": {"a": {"on": {"X": {"actions": [assign]}}}}}),
        json!({"id": "m", "initial": "a", "states": 5}),
        json!({"id": 5, "initial": "a", "states": {"a": {}}}),
    ];
    for definition in cases {
        let reply = caller.refused(json!({"op": "define", "definition": definition}), "invalid_definition")?;
        let diagnostics = reply["error"]["diagnostics"].as_array().or_else(|| reply["diagnostics"].as_array());
        let told = diagnostics.is_some_and(|all| !all.is_empty());
        ensure!(told, "{definition} was refused without saying where: {reply}");
    }
    let machines = caller.ok(json!({"op": "machines"}))?;
    ensure!(!machines.to_string().contains("\"m\""), "a refused definition is there: {machines}");
    load.stop_flawless(daemon.clients())?;
    Ok(())
}

/// Sends a frame, and says whether the daemon ended the connection or refused the request.
fn ends_or_refuses(daemon: &Daemon, frame: &[u8]) -> Outcome<Option<String>> {
    let mut caller = Caller::connect(daemon.clients())?;
    if caller.push_raw(frame).is_err() {
        return Ok(None);
    }
    match caller.receive(SOON) {
        Ok(reply) => Ok(Some(reply["error"]["code"].as_str().unwrap_or("ok").to_owned())),
        Err(failure) if failure.to_string().contains("timed out") => Err("neither an answer nor an end".into()),
        Err(_) => Ok(None),
    }
}

fn event_of(bytes: usize) -> Vec<u8> {
    let event = json!({"type": "ADD", "n": 1, "padding": "x".repeat(bytes)});
    json!({"op": "send", "id": 1, "machine": "counter", "key": "big", "event": event}).to_string().into_bytes()
}

fn over_the_limit(scene: &Scene) -> Outcome {
    let (daemon, load) = with_bystander(scene, "")?;
    ensure!(
        ends_or_refuses(&daemon, &event_of(MIB / 2))? == Some("ok".to_owned()),
        "an event of half the limit is refused"
    );
    let mut caller = Caller::connect(daemon.clients())?;
    for _ in 0..5 {
        caller.push_raw(&event_of(2 * MIB))?;
        let reply = caller.receive(SOON)?;
        ensure!(is_refusal(&reply, "message_too_large"), "an event of twice the limit: {reply}");
        caller.push_raw(b"{\"op\":\"ping\"}")?;
        ensure!(caller.receive(SOON)?["ok"] == true, "the connection does not go on");
    }
    let metrics = daemon.metrics()?;
    let counted = metrics.sum("statemesh_errors_total", &["code=\"message_too_large\""]).unwrap_or(0.0);
    ensure!(counted >= 5.0, "the metrics count {counted} messages over the limit");
    load.stop_flawless(daemon.clients())?;
    Ok(())
}

fn huge(scene: &Scene) -> Outcome {
    // A limit above both, so that what is tested is the next bound.
    let (daemon, load) = with_bystander(scene, "--limits-message-bytes 64MiB")?;
    let key = "k".repeat(10_000_000);
    let event = json!({"type": "ADD", "n": 1});
    let request = json!({"op": "send", "id": 1, "machine": "counter", "key": key, "event": event});
    for encoding in [Encoding::Json, Encoding::MsgPack] {
        let outcome = ends_or_refuses(&daemon, &encoding.write(&request)?)?;
        ensure!(outcome.as_deref() == Some("key_too_long"), "a key of 10 MB: {outcome:?}");
        let million = Value::Array(vec![json!({"op": "ping"}); 1_000_000]);
        let outcome = ends_or_refuses(&daemon, &encoding.write(&million)?)?;
        ensure!(outcome.as_deref() == Some("batch_too_large"), "a million requests: {outcome:?}");
    }
    for code in ["key_too_long", "batch_too_large"] {
        let counted = daemon.metrics()?.sum("statemesh_errors_total", &[&format!("code=\"{code}\"")]);
        ensure!(counted == Some(2.0), "the metrics count {counted:?} of {code}");
    }
    load.stop_flawless(daemon.clients())?;
    Ok(())
}

fn odd_values(scene: &Scene) -> Outcome {
    let (mut daemon, load) = with_bystander(scene, "")?;
    let deep = |open: &str, close: &str, levels: usize| open.repeat(levels) + &close.repeat(levels);
    let send = |value: &str| {
        format!(
            "{{\"op\":\"send\",\"id\":1,\"machine\":\"counter\",\"key\":\"odd\",\"event\":{{\"type\":\"ADD\",\"n\":{value}}}}}"
        )
    };
    let mut frames: Vec<Vec<u8>> = vec![
        send(&deep("[", "]", 100_000)).into_bytes(),
        send(&("{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000))).into_bytes(),
        send(&"9".repeat(100_000)).into_bytes(),
        send("1e999999").into_bytes(),
        send("-0.0").into_bytes(),
        send("18446744073709551616").into_bytes(),
        send("\"\\u0000\"").into_bytes(),
        deep("[", "]", 200_000).into_bytes(),
        deep("{\"op\":", "}", 50_000).into_bytes(),
        format!("{{\"op\":\"define\",\"id\":1,\"definition\":{}}}", deep("[", "]", 100_000)).into_bytes(),
    ];
    // The same depth in MessagePack: arrays of one, and maps of one.
    frames.push(vec![0x91; 200_000]);
    frames.push([0x81, 0xa1, b'a'].repeat(60_000));
    for frame in &frames {
        let outcome = ends_or_refuses(&daemon, frame)?;
        let start: String = String::from_utf8_lossy(frame).chars().take(80).collect();
        println!("{start}... {outcome:?}");
        daemon.still_runs()?;
        ensure!(outcome.is_some(), "{start}... ended the connection instead of being answered");
    }
    let nested = deep("[", "]", 100_000);
    let definition = json!({"id": "deep", "initial": "s", "states": {"s": {}}, "context": {}}).to_string();
    let definition = definition.replace("{\"s\":{}}", &format!("{{\"s\":{{\"meta\":{nested}}}}}"));
    let outcome =
        ends_or_refuses(&daemon, format!("{{\"op\":\"define\",\"id\":1,\"definition\":{definition}}}").as_bytes())?;
    ensure!(outcome.as_deref() != Some("ok") && outcome.is_some(), "a definition of a depth of 100,000: {outcome:?}");
    load.stop_flawless(daemon.clients())?;
    daemon.still_runs()
}

fn no_growth(scene: &Scene) -> Outcome {
    const ROUNDS: usize = 60;
    const WARM: usize = 20;
    const GROWTH_BYTES: u64 = 4_000_000;
    let (daemon, load) = with_bystander(scene, "")?;
    let big = event_of(2 * MIB);
    let mut caller = Caller::connect(daemon.clients())?;
    let mut warm = 0;
    for round in 0..ROUNDS {
        if round == WARM {
            warm = daemon.usage()?.resident_bytes;
        }
        for (request, _) in wrong_requests() {
            caller.ask(request)?;
        }
        for (_, frame) in malformed_frames() {
            ends_or_refuses(&daemon, &frame)?;
        }
        ends_or_refuses(&daemon, &big)?;
    }
    let end = daemon.usage()?.resident_bytes;
    println!("resident: {warm} bytes after {WARM} rounds, {end} after {ROUNDS}");
    ensure!(end < warm + GROWTH_BYTES, "it grew from {warm} to {end} bytes");
    wait_for("closed connections are forgotten", SOON, || {
        let open = daemon.metrics()?.sum("statemesh_client_connections", &[]);
        // Ours and the bystander's.
        if open == Some(2.0) { Ok(Some(())) } else { Err(format!("there are {open:?}").into()) }
    })?;
    load.stop_flawless(daemon.clients())?;
    Ok(())
}
