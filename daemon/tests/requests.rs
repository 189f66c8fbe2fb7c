//! What the verbs ask a daemon, and how they show what it answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use support::{Folder, Peer, code, publisher, stderr, stdout};

#[test]
fn a_send_is_the_request_of_the_protocol() {
    let folder = Folder::new("send");
    let peer = Peer::always(json!({"ok": true, "value": {"a": "b"}, "status": "active", "seq": 7, "changed": true}));
    let output = peer.run(&folder, &["send", "order/eu/42", "PAY", "--data", r#"{"amount":3}"#, "--dedup", "t1"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(
        peer.last_request(),
        json!({"op": "send", "machine": "order", "key": "eu/42", "event": {"type": "PAY", "amount": 3}, "dedup": "t1"})
    );
    assert_eq!(stdout(&output), "INSTANCE     STATE  STATUS  SEQ\norder/eu/42  a.b    active  7    changed\n");
}

#[test]
fn a_send_may_have_conditions() {
    let folder = Folder::new("conditions");
    let peer = Peer::always(json!({"ok": true, "value": "a", "status": "active", "seq": 8, "changed": true}));
    let output = peer.run(&folder, &["send", "order/42", "PAY", "--if-run", "1f", "--if-seq", "7"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let request = peer.last_request();
    assert_eq!((&request["if_run"], &request["if_seq"]), (&json!("000000000000001f"), &json!(7)));
    assert_eq!(code(&peer.run(&folder, &["send", "order/42", "PAY", "--if-run", "x"])), 2);
    for op in ["start", "stop", "retry", "skip", "delete"] {
        let output = peer.run(&folder, &[op, "order/42", "--if-run", "1f", "--if-seq", "7", "--dedup", "t"]);
        assert_eq!(code(&output), 0, "{op}: {}", stderr(&output));
        let asked =
            json!({"op": op, "machine": "order", "key": "42", "dedup": "t", "if_run": "000000000000001f", "if_seq": 7});
        assert_eq!(peer.last_request(), asked);
    }
}

#[test]
fn a_stuck_instance_is_shown_as_such_and_mended_by_retry_and_skip() {
    let folder = Folder::new("stuck");
    let fault = json!({"code": "limit", "message": "context_bytes"});
    let peer = Peer::start(move |request| {
        let stuck = request["op"] == "send";
        let mut reply = json!({"ok": true, "value": "a", "status": "active", "seq": 7, "changed": true});
        if stuck {
            reply["status"] = json!("error");
            reply["stuck"] = json!(true);
            reply["fault"] = fault.clone();
        }
        Some(reply)
    });
    let stuck = stdout(&peer.run(&folder, &["send", "order/42", "PAY"]));
    assert!(
        stuck.contains("error") && stuck.contains("stuck: context_bytes (statemesh retry, skip or stop)"),
        "{stuck}"
    );
    for verb in ["retry", "skip"] {
        let output = peer.run(&folder, &[verb, "order/42"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert_eq!(peer.last_request(), json!({"op": verb, "machine": "order", "key": "42"}));
    }
}

#[test]
fn where_says_in_words_that_nobody_serves_a_key_just_now() {
    let folder = Folder::new("where");
    let shown = |next: Value| {
        let peer = Peer::always(json!({"ok": true, "partition": 7, "owner": null, "next": next}));
        stdout(&peer.run(&folder, &["where", "order/42"]))
    };
    let moves = shown(json!("b"));
    assert!(moves.contains("no daemon just now: the partition moves") && moves.contains("next"), "{moves}");
    let outside = shown(Value::Null);
    assert!(outside.contains("no daemon just now: the daemon has not joined its mesh"), "{outside}");
}

#[test]
fn an_answer_can_be_json_or_yaml() {
    let folder = Folder::new("formats");
    let peer = Peer::always(json!({"ok": true, "value": "paid", "status": "active", "context": {"amount": 3}}));
    let output = peer.run(&folder, &["get", "order/42", "-o", "json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value, json!({"value": "paid", "status": "active", "context": {"amount": 3}}));
    let output = peer.run(&folder, &["get", "order/42", "-o", "yaml"]);
    assert_eq!(stdout(&output), "value: paid\nstatus: active\ncontext:\n  amount: 3\n");
}

#[test]
fn members_are_an_array_for_a_program() {
    let folder = Folder::new("members");
    let peer = Peer::always(json!({"ok": true, "members": [{"name": "a", "status": "alive", "partitions": 1024}]}));
    let output = peer.run(&folder, &["members", "-o", "json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value, json!([{"name": "a", "status": "alive", "partitions": 1024}]));
}

#[test]
fn an_error_reply_is_shown_with_its_hint_and_ends_with_1() {
    let folder = Folder::new("refused");
    let error = json!({"code": "unknown_machine", "message": "no machine 'ordr'", "hint": "did you mean 'order'?"});
    let peer = Peer::always(json!({"ok": false, "error": error}));
    let output = peer.run(&folder, &["get", "ordr/42"]);
    assert_eq!((code(&output), stdout(&output)), (1, String::new()));
    assert_eq!(stderr(&output), "error: no machine 'ordr'\n  did you mean 'order'?\n");
    let output = peer.run(&folder, &["get", "ordr/42", "-o", "json"]);
    let value: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(value, json!({"error": error}));
}

#[test]
fn an_answer_that_does_not_come_ends_the_command() {
    let folder = Folder::new("late");
    let peer = Peer::start(|_| None);
    // The time for an answer is also that for a connection, which must come about on a busy machine.
    let output = peer.run(&folder, &["ping", "--timeout", "1s"]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("no answer within 1s"), "{}", stderr(&output));
}

#[test]
fn a_ping_can_wait_until_a_daemon_answers() {
    let folder = Folder::new("waiting");
    let asked = AtomicU32::new(0);
    let peer = Peer::start(move |_| {
        let silent = asked.fetch_add(1, Ordering::Relaxed) < 2;
        (!silent).then(|| json!({"ok": true, "daemon": "a"}))
    });
    // Within this time a connection must come about too, or more than the two answers are missed.
    let output = peer.run(&folder, &["ping", "--timeout", "1s", "--wait", "60s"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(peer.requests.lock().unwrap().len(), 3);
    // Where no daemon listens it gives up when its time is over.
    let output = peer.run(&folder, &["ping", "--address", "tcp://127.0.0.1:9", "--wait", "150ms"]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("127.0.0.1:9"), "{}", stderr(&output));
}

#[test]
fn a_definition_goes_out_as_it_is_and_what_is_wrong_is_shown_at_its_place() {
    let folder = Folder::new("define");
    let definition = "{\n  \"id\": \"order\", \"initial\": \"b\",\n  \"states\": {\"a\": {}}\n}";
    folder.file("order.json", definition).file("ok.json", "{\"id\":\"ok\"}");
    let peer = Peer::start(|request| {
        if request["op"] == "machines" {
            return Some(json!({"ok": true, "machines": []}));
        }
        if request["definition"]["id"] == "ok" {
            return Some(
                json!({"ok": true, "machine": "ok", "version": 2, "members": 3, "hash": "00", "warnings": []}),
            );
        }
        let diagnostic = json!({"severity": "error", "code": "unknown_target", "path": "/initial", "line": 2, "column": 29,
                                "message": "no state 'b'", "hint": "states here: a"});
        Some(
            json!({"ok": false, "error": {"code": "invalid_definition", "message": "1 error", "diagnostics": [diagnostic]}}),
        )
    });
    let output = peer.run(&folder, &["define", "order.json", "ok.json"]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let expected = "error[unknown_target]: no state 'b'\n --> order.json:2:29 (at /initial)\n  |\n2 |   \"id\": \"order\", \"initial\": \"b\",\n  |                             ^^^\n  = states here: a\n";
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "MACHINE  VERSION  DAEMONS\nok       2        3        new\n",
        "the others are defined all the same"
    );
    assert!(
        stderr(&output).ends_with("error: order.json is refused: 1 finding; of 2 files 1 refused, 1 defined\n"),
        "{}",
        stderr(&output)
    );
    assert!(peer.requests.lock().unwrap()[1].contains(definition), "with its lines and the order of its keys");
    let for_a_program = peer.run(&folder, &["define", "order.json", "-o", "json"]);
    let error: Value = serde_json::from_slice(&for_a_program.stderr).unwrap();
    assert_eq!(error["error"]["diagnostics"][0]["column"], 29);
}

#[test]
fn definitions_go_out_after_those_that_they_invoke_and_a_circle_is_named() {
    let folder = Folder::new("define-order");
    let invoking = |id: &str, src: &str| {
        format!(r#"{{"id":"{id}","initial":"a","states":{{"a":{{"invoke":{{"src":"{src}"}}}}}}}}"#)
    };
    folder.file("a.json", &invoking("a", "b")).file("b.json", &invoking("b", "c")).file("c.json", r#"{"id":"c"}"#);
    let peer = Peer::start(|request| {
        let id = &request["definition"]["id"];
        Some(
            json!({"ok": true, "machines": [], "machine": id, "version": 1, "members": 1, "hash": "00", "warnings": []}),
        )
    });
    let defined = || {
        let requests = std::mem::take(&mut *peer.requests.lock().unwrap());
        let ids = requests.iter().map(|text| serde_json::from_str::<Value>(text).unwrap()["definition"]["id"].clone());
        ids.filter(Value::is_string).collect::<Vec<_>>()
    };
    for files in [["a.json", "b.json", "c.json"], ["c.json", "a.json", "b.json"], ["b.json", "c.json", "a.json"]] {
        let output = peer.run(&folder, &[&["define"], &files[..]].concat());
        assert_eq!((code(&output), defined()), (0, vec![json!("c"), json!("b"), json!("a")]), "{}", stderr(&output));
    }
    folder.file("c.json", &invoking("c", "a"));
    let circle = peer.run(&folder, &["define", "a.json", "b.json", "c.json"]);
    assert_eq!((code(&circle), defined()), (1, Vec::new()), "nothing was defined");
    assert!(stderr(&circle).contains("a invokes b invokes c invokes a"), "{}", stderr(&circle));
}

#[test]
fn define_says_which_daemons_do_not_run_the_machine() {
    let folder = Folder::new("define-refused");
    folder.file("ok.json", "{\"id\":\"ok\"}");
    let peer =
        Peer::always(json!({"ok": true, "machine": "ok", "version": 2, "members": 1, "hash": "00", "warnings": [],
        "refused": [{"member": "c", "reason": "no such action"}]}));
    let shown = stdout(&peer.run(&folder, &["define", "ok.json"]));
    assert!(shown.contains("does not run at c (no such action)"), "{shown}");
    let for_a_program: Value =
        serde_json::from_str(&stdout(&peer.run(&folder, &["define", "ok.json", "-o", "json"]))).unwrap();
    assert_eq!(for_a_program[0]["refused"][0]["member"], "c", "{for_a_program}");
}

const CHANGES: &[(&str, &str)] = &[
    ("order/4", r#"{"value":"paid","status":"active","seq":3,"reason":"event","event":"PAY"}"#),
    ("order/42", r#"{"machine":"order","key":"42","reason":"lost","changed":true}"#),
    ("orders/4", r#"{"value":"other","status":"active","seq":1}"#),
];

#[test]
fn watch_prints_the_changes_of_a_machine_and_no_other() {
    let folder = Folder::new("watch");
    let output = publisher(CHANGES).run(&folder, &["watch", "order", "-n", "4"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(
        shown.contains("  order/4  paid  active  seq 3  event PAY  127.0.0.1:")
            && shown.contains("  order/42  lost with its owner  127.0.0.1:"),
        "{shown}"
    );
    assert!(!shown.contains("orders/"), "{shown}");
}

#[test]
fn watch_of_an_instance_leaves_out_longer_keys() {
    let folder = Folder::new("watch-one");
    let output = publisher(CHANGES).run(&folder, &["watch", "order/4", "-n", "3", "-o", "json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() == 3 && lines.iter().all(|change| change["key"] == "4"), "{lines:?}");
}

/// A daemon whose machine `order` is in `open`, which takes PAY only.
fn open_order() -> Peer {
    Peer::start(|request| {
        let event = request["event"]["type"].as_str().unwrap_or_default().to_owned();
        Some(match request["op"].as_str().unwrap() {
            "machines" => {
                json!({"ok": true, "machines": [{"id": "order", "version": 1}, {"id": "door", "version": 2}]})
            }
            _ if request["machine"] != "order" => {
                json!({"ok": false, "error": {"code": "unknown_machine", "message": "no machine is called so", "hint": "define it"}})
            }
            "explain" => json!({"ok": true, "value": "open", "explanation": {"event": event, "status": "active",
                "candidates": [], "handled": ["ADD", "PAY"]}}),
            _ if request["key"] == "ended" => {
                json!({"ok": true, "value": "paid", "status": "done", "seq": 4, "changed": false, "handled": false})
            }
            _ if event == "FORBIDDEN" => {
                json!({"ok": true, "value": "open", "status": "active", "seq": 0, "changed": false})
            }
            _ if event == "PAY" => json!({"ok": true, "value": "open", "status": "active", "seq": 0, "changed": true}),
            _ => json!({"ok": true, "value": "open", "status": "active", "seq": 0, "changed": false, "handled": false}),
        })
    })
}

#[test]
fn an_event_that_comes_to_nothing_says_so_and_ends_with_6() {
    let folder = Folder::new("ignored");
    let peer = open_order();
    let typo = peer.run(&folder, &["send", "order/1", "PYA"]);
    assert_eq!(code(&typo), 6, "{}", stderr(&typo));
    assert!(stdout(&typo).contains("unchanged"), "{}", stdout(&typo));
    let expected = "error: open does not react to PYA\n  it reacts to ADD, PAY; did you mean PAY?\n";
    assert_eq!(stderr(&typo), expected);
    let ended = peer.run(&folder, &["send", "order/ended", "PAY", "-o", "json"]);
    let error: Value = serde_json::from_slice(&ended.stderr).unwrap();
    assert_eq!((code(&ended), &error["error"]["code"]), (6, &json!("ignored")));
    assert_eq!(error["error"]["message"], "order/ended has ended (done)");
    for taken in ["PAY", "FORBIDDEN"] {
        assert_eq!(code(&peer.run(&folder, &["send", "order/1", taken])), 0, "{taken}");
    }
}

#[test]
fn a_removed_instance_is_shown_as_it_was() {
    let folder = Folder::new("delete");
    let peer =
        Peer::always(json!({"ok": true, "value": "paid", "status": "done", "seq": 4, "changed": true, "run": "12ab"}));
    let output = peer.run(&folder, &["delete", "order/1", "--if-run", "12ab", "--if-seq", "4", "--dedup", "t"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("removed") && stdout(&output).contains("paid"), "{}", stdout(&output));
    let asked = json!({"op": "delete", "machine": "order", "key": "1", "if_run": "00000000000012ab", "if_seq": 4, "dedup": "t"});
    assert_eq!(peer.last_request(), asked);
}

#[test]
fn a_machine_that_nobody_defined_gets_the_name_that_was_meant() {
    let folder = Folder::new("meant");
    let peer = open_order();
    for args in [
        &["send", "ordr/1", "PAY"][..],
        &["get", "ordr/1"],
        &["instances", "ordr"],
        &["bench", "--machine", "ordr", "--event", "PAY"],
    ] {
        let output = peer.run(&folder, args);
        assert!(code(&output) == 1 && stderr(&output).contains("did you mean order?"), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_definition_says_whether_it_is_new() {
    let folder = Folder::new("newer");
    folder.file("door.json", "{\"id\":\"door\"}");
    let peer = Peer::start(|request| {
        Some(match request["op"].as_str().unwrap() {
            "machines" => json!({"ok": true, "machines": [{"id": "door", "version": 2, "hash": "00"}]}),
            _ => json!({"ok": true, "machine": "door", "version": 7, "members": 2, "hash": "01", "missing": ["c"]}),
        })
    });
    let output = peer.run(&folder, &["define", "door.json"]);
    assert!(stdout(&output).contains("door     7        2        not yet at c"), "{}", stdout(&output));
    let json: Value =
        serde_json::from_slice(&peer.run(&folder, &["define", "door.json", "-o", "json"]).stdout).unwrap();
    assert_eq!((&json[0]["was"], &json[0]["missing"]), (&json!(2), &json!(["c"])));
    folder.file("nameless.json", "{\"initial\":\"a\",\"states\":{\"a\":{}}}").file("bad.json", "{");
    let before = peer.requests.lock().unwrap().len();
    let nameless = peer.run(&folder, &["define", "door.json", "nameless.json"]);
    assert!(code(&nameless) == 1 && stderr(&nameless).contains("nameless.json: the machine has no id"));
    assert_eq!(peer.requests.lock().unwrap().len(), before, "nothing was defined");
    let before = peer.requests.lock().unwrap().len();
    let bad = peer.run(&folder, &["define", "door.json", "bad.json"]);
    assert!(code(&bad) == 1 && stderr(&bad).contains("--> bad.json:1:"), "{}", stderr(&bad));
    assert_eq!(peer.requests.lock().unwrap().len(), before, "nothing was defined");
}

#[test]
fn a_fault_is_an_object_where_json_is_asked_for() {
    let folder = Folder::new("fault");
    let fault = json!({"code": "no_such_key", "message": "no such key: amount"});
    let peer = Peer::always(json!({"ok": true, "value": "a", "status": "error", "fault": fault.to_string()}));
    let value: Value = serde_json::from_slice(&peer.run(&folder, &["get", "a/1", "-o", "json"]).stdout).unwrap();
    assert_eq!(value["fault"], fault);
}

#[test]
fn of_several_daemons_the_first_that_answers_is_asked() {
    let folder = Folder::new("failover");
    let peer = Peer::always(json!({"ok": true, "daemon": "a"}));
    let bare = peer.address.trim_start_matches("tcp://").to_owned();
    for addresses in
        [format!("127.0.0.1:9,{bare}"), format!("{bare},127.0.0.1:9"), format!("no-such-host.invalid, {bare}")]
    {
        let output = peer.run(&folder, &["ping", "--address", &addresses]);
        assert_eq!(code(&output), 0, "{addresses}: {}", stderr(&output));
    }
    let none = folder.run(&["ping", "--address", "127.0.0.1:9,127.0.0.1:11"]);
    assert!(code(&none) == 3 && stderr(&none).contains("tcp://127.0.0.1:9, tcp://127.0.0.1:11"), "{}", stderr(&none));
}

#[test]
fn a_daemon_that_cannot_answer_now_leaves_it_to_the_next() {
    let folder = Folder::new("next");
    let away = Peer::always(json!({"ok": false, "error": {"code": "leaving", "message": "it leaves"}}));
    let peer = Peer::always(json!({"ok": true, "value": "a", "status": "active"}));
    let output = folder.run(&["get", "a/1", "--address", &format!("{},{}", away.address, peer.address)]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(code(&folder.run(&["get", "a/1", "--address", &away.address])), 1, "alone it says what is wrong");
}

#[test]
fn a_daemon_is_found_by_its_other_ports() {
    let folder = Folder::new("other-ports");
    // The port after the peer's is mostly free; a process that has it is no daemon either.
    let own = std::sync::Arc::new(std::sync::Mutex::new(0_u16));
    let told = std::sync::Arc::clone(&own);
    let peer = Peer::start(move |_| {
        let changes = format!("127.0.0.1:{}", told.lock().unwrap());
        Some(json!({"ok": true, "daemon": "a", "members": [{"name": "a", "self": true, "changes": changes}]}))
    });
    let port: u16 = peer.address.rsplit_once(':').unwrap().1.parse().unwrap();
    *own.lock().unwrap() = port + 1;
    let other = format!("127.0.0.1:{}", port + 1);
    let output = folder.run(&["ping", "--address", &other, "--timeout", "2s"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    *own.lock().unwrap() = port + 2;
    assert_eq!(
        code(&folder.run(&["ping", "--address", &other, "--timeout", "2s"])),
        3,
        "another daemon's is not taken"
    );
}

#[test]
fn a_mesh_has_a_name_in_a_context() {
    let folder = Folder::new("contexts");
    let peer = Peer::always(json!({"ok": true, "daemon": "a"}));
    let run =
        |args: &[&str]| support::statemesh(&folder.0).args(args).env("XDG_CONFIG_HOME", &folder.0).output().unwrap();
    assert!(stdout(&run(&["context", "list"])).contains("no context"));
    assert_eq!(code(&run(&["context", "add", "shop", "--address", &peer.address])), 0);
    assert_eq!(code(&run(&["context", "add", "lab", "--address", "127.0.0.1:9"])), 0);
    assert_eq!(code(&run(&["ping"])), 0, "the first one is current");
    assert_eq!(code(&run(&["ping", "--context", "lab"])), 3);
    assert_eq!(code(&run(&["context", "use", "lab"])), 0);
    assert_eq!((code(&run(&["ping"])), code(&run(&["ping", "--context", "shop"]))), (3, 0));
    assert_eq!(code(&run(&["ping", "--address", &peer.address])), 0, "a flag comes first");
    let with_address = |args: &[&str]| {
        let mut command = support::statemesh(&folder.0);
        command.args(args).env("XDG_CONFIG_HOME", &folder.0).env("STATEMESH_ADDRESS", "127.0.0.1:9").output().unwrap()
    };
    assert_eq!(code(&with_address(&["ping", "--context", "shop"])), 0, "a context that a flag names is a flag");
    assert_eq!(code(&with_address(&["ping"])), 3);
    folder.file("shop.toml", &format!("[client]\naddress = \"{}\"\n", peer.address));
    assert_eq!(code(&run(&["ping", "--config", "shop.toml"])), 0, "a file that is named is meant");
    let address = |args: &[&str]| {
        let config: Value = serde_json::from_slice(&run(&[args, &["-o", "json"]].concat()).stdout).unwrap();
        config["client.address"]["from"].as_str().map(str::to_owned)
    };
    assert_eq!(address(&["config", "--changed"]).as_deref(), Some("context lab"));
    assert_eq!(address(&["config", "--changed", "--config", "shop.toml"]).as_deref(), Some("shop.toml:2"));
    assert_eq!(
        address(&["config", "--changed", "--config", "shop.toml", "--context", "shop"]).as_deref(),
        Some("context shop")
    );
    assert!(!stdout(&run(&["config", "-o", "toml"])).contains("127.0.0.1:9"), "what is worked on stays out of a file");
    assert!(stdout(&run(&["config", "-o", "toml", "--context", "lab"])).contains("127.0.0.1:9"));
    let list: Value = serde_json::from_slice(&run(&["context", "list", "-o", "json"]).stdout).unwrap();
    assert_eq!(
        (&list[0]["name"], &list[0]["current"], &list[1]["current"]),
        (&json!("lab"), &json!(true), &json!(false))
    );
    let wrong = run(&["ping", "--context", "shpo"]);
    assert!(code(&wrong) == 2 && stderr(&wrong).contains("did you mean 'shop'?"), "{}", stderr(&wrong));
    let removed = run(&["context", "remove", "lab"]);
    assert!(code(&removed) == 0 && stderr(&removed).contains("statemesh context use shop"), "{}", stderr(&removed));
    assert_eq!(code(&run(&["context", "use", "lab"])), 2);
    for bad in [
        &["context", "add", "current", "--address", "a"][..],
        &["context", "add", "a b", "--address", "a"],
        &["context", "add", "a", "--address", ":1"],
    ] {
        assert_eq!(code(&run(bad)), 2, "{bad:?}");
    }
}

#[test]
fn what_a_mesh_says_moves_no_cursor() {
    let folder = Folder::new("cursor");
    let evil = "a\u{1b}[2J\u{1b}[32m\u{9b}31m\u{7f}\rb";
    let reply = json!({"ok": true, "value": evil, "status": evil, "context": {evil: evil}, "tags": [evil], "fault": evil,
        "machines": [{"id": evil}], "explanation": {"event": evil, "status": "active", "candidates": [{"state": evil,
        "descriptor": evil, "reason": evil, "guard": evil, "targets": [evil]}], "handled": [evil], "outcome": {}}});
    let error = json!({"ok": false, "error": {"code": evil, "message": evil, "hint": evil}});
    for (peer, all) in [(Peer::always(reply), true), (Peer::always(error), false)] {
        for verb in [&["get", "a/1"][..], &["send", "a/1", "E"], &["machines"], &["explain", "a/1", "E"]] {
            for format in ["table", "json", "yaml"] {
                let output = peer.run(&folder, &[verb, &["-o", format]].concat());
                let shown = stdout(&output) + &stderr(&output);
                assert!(shown.contains("31m") || !all, "{verb:?} {format}: {shown:?}");
                assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{verb:?} {format}: {shown:?}");
            }
        }
    }
}

const REASONS: &[(&str, &str)] = &[
    (
        "order/1",
        r#"{"value":"a","status":"active","seq":1,"run":"01","reason":"event","event":"PAY","effects":[{"type":"ship"}]}"#,
    ),
    ("order/1", r#"{"value":"b","status":"active","seq":5,"run":"01","reason":"timer"}"#),
    ("order/2", r#"{"reason":"lost"}"#),
];

#[test]
fn watch_chooses_by_reason_and_effect_and_says_what_is_missing() {
    let folder = Folder::new("watch-filters");
    let lost = publisher(REASONS).run(&folder, &["watch", "order/", "--reason", "lost", "-n", "2"]);
    assert_eq!(code(&lost), 0, "{}", stderr(&lost));
    assert!(stdout(&lost).lines().all(|line| line.contains("order/2  lost with its owner")), "{}", stdout(&lost));
    let ship = publisher(REASONS).run(&folder, &["watch", "--effect", "ship", "-n", "2"]);
    assert!(stdout(&ship).lines().all(|line| line.contains("effects ship")), "{}", stdout(&ship));
    let gap = publisher(REASONS).run(&folder, &["watch", "order", "--reason", "timer", "-n", "1"]);
    assert!(stdout(&gap).contains("(changes between seq 1 and 5 are missing)"), "{}", stdout(&gap));
    let wrong = folder.run(&["watch", "--reason", "losst"]);
    assert!(code(&wrong) == 2 && stderr(&wrong).contains("'lost'"), "{}", stderr(&wrong));
    let all = folder.run(&["watch", "order", "--since", "1m"]);
    assert!(code(&all) == 2 && stderr(&all).contains("watch MACHINE/KEY"), "{}", stderr(&all));
}

#[test]
fn top_counts_what_happens_by_machine() {
    let folder = Folder::new("top");
    let output = publisher(REASONS).run(&folder, &["top", "order", "--every", "500ms", "-n", "2", "-o", "json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let last: Value = serde_json::from_str(stdout(&output).lines().last().unwrap()).unwrap();
    let row = &last[0];
    let rate = |name: &str| row[name].as_f64().unwrap();
    assert_eq!((row["machine"].as_str(), last.as_array().unwrap().len()), (Some("order"), 1), "{last}");
    assert!(["events", "timers", "effects", "lost"].iter().all(|name| rate(name) > 0.0), "{row}");
    let peer = Peer::always(json!({"ok": true, "members": [], "machines": [{"id": "order"}]}));
    let unknown = peer.run(&folder, &["top", "ordr"]);
    assert!(stderr(&unknown).contains("did you mean order?"), "{}", stderr(&unknown));
    let idle = folder.run(&["top", "--every", "1ms"]);
    assert!(code(&idle) == 2 && stderr(&idle).contains("100ms"), "{}", stderr(&idle));
}

#[test]
fn completions_are_those_of_the_mesh() {
    let folder = Folder::new("completions");
    let peer = Peer::start(|request| {
        Some(match request["op"].as_str().unwrap() {
            "machines" => json!({"ok": true, "machines": [{"id": "order"}, {"id": "door"}, {"id": "o\u{1b}[2J"}]}),
            "list" if request["after"].is_null() => json!({"ok": true, "instances": [{"key": "41"}], "next": "0.0.b"}),
            "list" => json!({"ok": true, "instances": [{"key": "42"}], "next": null}),
            _ => json!({"ok": true, "explanation": {"handled": ["PAY", "CANCEL", "*", "xstate.after.5.a"]}}),
        })
    });
    let config = folder.0.join("statemesh");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("contexts.toml"), "[shop]\naddress = 'a'\n[lab]\naddress = 'b'\n").unwrap();
    let offered = |line: &[&str]| {
        let mut command = support::statemesh(&folder.0);
        command.env("STATEMESH_ADDRESS", &peer.address).env("XDG_CONFIG_HOME", &folder.0);
        support::completed(&mut command, line)
    };
    assert_eq!(offered(&["send", "o"]), ["order/"]);
    assert_eq!(offered(&["get", "order/4"]), ["order/41", "order/42"]);
    assert_eq!(offered(&["send", "order/42", "P"]), ["PAY"]);
    assert_eq!(offered(&["instances", "d"]), ["door"]);
    assert_eq!(offered(&["context", "use", "s"]), ["shop"]);
    assert_eq!(offered(&["members", "--context", "l"]), ["lab"]);
    assert_eq!(offered(&["send", "--address", "127.0.0.1:9", "o"]), [""; 0], "of the mesh that the line names");
    assert_eq!(offered(&["send", "--context=lab", "o"]), [""; 0]);
    let offline =
        support::completed(support::statemesh(&folder.0).env("STATEMESH_ADDRESS", "127.0.0.1:9"), &["send", "o"]);
    assert_eq!(offline, [""; 0]);
}

#[test]
fn what_is_waited_for_is_asked_for_and_ends_with_7_if_it_does_not_come_about() {
    let folder = Folder::new("until");
    let peer = Peer::start(|request| {
        let reached = request["until"] == json!({"state": "paid"});
        Some(json!({"ok": true, "value": "open", "status": "active", "seq": 1, "changed": true, "reached": reached}))
    });
    let there = peer.run(&folder, &["send", "order/1", "PAY", "--until-state", "paid", "--within", "3s"]);
    assert_eq!(code(&there), 0, "{}", stderr(&there));
    let asked = peer.last_request();
    assert_eq!((&asked["until"], &asked["within"]), (&json!({"state": "paid"}), &json!(3_000)));
    for (verb, rest, until) in [
        ("send", &["PAY", "--until-tag", "late"][..], json!({"tag": "late"})),
        ("start", &["--until-done"], json!({"done": true})),
        ("get", &["--until-done"], json!({"done": true})),
    ] {
        let output = peer.run(&folder, &[&[verb, "order/1"], rest].concat());
        assert_eq!(code(&output), 7, "{verb}: {}", stderr(&output));
        assert!(stderr(&output).contains("order/1 is in open (active)"), "{}", stderr(&output));
        assert!(stderr(&output).contains("limits.wait of the daemon is over"), "{}", stderr(&output));
        // Only the daemon knows what it allows: a time that was not given is not one that it may refuse.
        assert_eq!((&peer.last_request()["until"], &peer.last_request()["within"]), (&until, &Value::Null));
    }
    let plain = peer.run(&folder, &["get", "order/1"]);
    assert!(peer.last_request()["within"].is_null() && code(&plain) == 7, "{}", stderr(&plain));
    assert_eq!(code(&folder.run(&["get", "order/1", "--within", "1s"])), 2, "within what is waited for");
}

#[test]
fn keys_for_a_daemon_that_has_none_are_what_is_wrong() {
    let folder = Folder::new("no-keys");
    let peer = Peer::always(json!({"ok": true, "daemon": "a"}));
    let public = stdout(&folder.run(&["keys", "new", "me.key"]));
    let output = peer.run(&folder, &["ping", "--key", "me.key", "--server-key", public.trim()]);
    assert!(code(&output) == 3 && stderr(&output).contains("takes no keys"), "{}", stderr(&output));
    assert!(stderr(&output).contains("leave out --key"), "{}", stderr(&output));
}

#[test]
fn ctrl_c_is_no_answer_to_who_waits() {
    let folder = Folder::new("interrupted");
    let peer = Peer::start(|request| (request["op"] == "members").then(|| json!({"ok": true, "members": []})));
    let ended = |args: &[&str]| {
        let asked = peer.requests.lock().unwrap().len();
        let mut command = support::statemesh(&folder.0);
        command.args(args).env("STATEMESH_ADDRESS", &peer.address).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while peer.requests.lock().unwrap().len() == asked {
            assert!(Instant::now() < until, "{args:?} asks");
            std::thread::sleep(Duration::from_millis(5));
        }
        let told = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(told.success());
        child.wait().unwrap().code()
    };
    assert_eq!(ended(&["get", "order/1", "--until-done", "--within", "20s"]), Some(130));
    assert_eq!(ended(&["ping", "--timeout", "100ms", "--wait", "20s"]), Some(130));
}

#[test]
fn a_page_of_instances_says_where_the_next_begins() {
    let folder = Folder::new("pages-of-instances");
    let peer = Peer::start(|request| {
        let is_first = request["after"].is_null();
        let (key, next) = if is_first { ("1", json!("0.0.a")) } else { ("2", Value::Null) };
        Some(
            json!({"ok": true, "instances": [{"machine": "m", "key": key, "value": "a", "status": "active"}], "next": next}),
        )
    });
    let page = |rest: &[&str]| {
        let output = peer.run(&folder, &[&["instances", "-o", "json", "--limit", "1"], rest].concat());
        assert_eq!((code(&output), stderr(&output)), (0, String::new()));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let first = page(&[]);
    assert_eq!((&first["instances"][0]["key"], &first["next"]), (&json!("1"), &json!("0.0.a")));
    let last = page(&["--after", first["next"].as_str().unwrap()]);
    assert_eq!((&last["instances"][0]["key"], &last["next"]), (&json!("2"), &Value::Null));
    let table = peer.run(&folder, &["instances", "--limit", "1"]);
    assert!(stderr(&table).contains("--after 0.0.a"), "{}", stderr(&table));
}

#[test]
fn instances_that_a_filter_lists_are_removed_page_by_page_as_they_were_listed() {
    let folder = Folder::new("delete-listed");
    let peer = Peer::start(|request| {
        let line = |key: &str| json!({"machine": "m", "key": key, "value": "end", "status": "done", "run": "1982e4c6b0a5f3d1", "seq": 3});
        let refused = |code: &str| json!({"ok": false, "error": {"code": code, "message": "no"}});
        Some(match (request["op"].as_str().unwrap(), request["key"].as_str(), request["after"].as_str()) {
            ("list", _, _) if request["counts"] == true => {
                json!({"ok": true, "counts": [{"machine": "m", "value": "end", "status": "done", "count": 3}], "next": null})
            }
            ("list", _, None) => json!({"ok": true, "instances": [line("a"), line("b")], "next": "0.2.x"}),
            ("list", _, Some(_)) => json!({"ok": true, "instances": [line("c")], "next": null}),
            ("delete", Some("b"), _) => refused("condition_failed"),
            _ => json!({"ok": true, "value": "end", "status": "done", "changed": true}),
        })
    });
    let asked = |op: &str| {
        let requests = peer.requests.lock().unwrap();
        let requests = requests.iter().map(|text| serde_json::from_str::<Value>(text).unwrap());
        requests.filter(|request| request["op"] == op).collect::<Vec<_>>()
    };
    let dry = peer.run(&folder, &["delete", "m", "--status", "done", "--dry-run"]);
    assert!(code(&dry) == 0 && stdout(&dry).contains("3") && asked("delete").is_empty(), "{}", stderr(&dry));
    let output = peer.run(&folder, &["delete", "m", "--status", "done", "--older", "1h", "-o", "json"]);
    let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let expected = json!({"deleted": 2, "skipped": {"it went on after it was listed": 1}});
    assert_eq!((code(&output), told), (0, expected), "{}", stderr(&output));
    assert_eq!(asked("list")[1]["where"], json!({"status": "done", "older_ms": 3_600_000}));
    assert_eq!(asked("delete").iter().map(|asked| asked["key"].clone()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!((&asked("delete")[0]["if_run"], &asked("delete")[0]["if_seq"]), (&json!("1982e4c6b0a5f3d1"), &json!(3)));
    let before = peer.requests.lock().unwrap().len();
    for wrong in
        [&["m"][..], &["m/a", "--status", "done"], &["m", "--stuck", "--if-seq", "1"], &["m", "--all", "--stuck"]]
    {
        assert_eq!(code(&peer.run(&folder, &[&["delete"], wrong].concat())), 2, "{wrong:?}");
    }
    assert_eq!(peer.requests.lock().unwrap().len(), before, "nothing was asked");
}

#[test]
fn where_nothing_could_be_listed_nothing_is_said_of_what_was_removed() {
    let folder = Folder::new("delete-unknown");
    let error =
        json!({"code": "unknown_state", "message": "order has no state \"PAYD\"", "hint": "did you mean paid?"});
    let peer = Peer::always(json!({"ok": false, "error": error}));
    let output = peer.run(&folder, &["delete", "order", "--state", "PAYD"]);
    assert_eq!((code(&output), stdout(&output)), (1, String::new()));
    assert_eq!(stderr(&output), "error: order has no state \"PAYD\"\n  did you mean paid?\n");
}

#[test]
fn a_refusal_names_what_to_type() {
    let folder = Folder::new("way-out");
    let peer = Peer::start(|request| {
        let error =
            |code: &str| Some(json!({"ok": false, "error": {"code": code, "message": "no", "hint": "say `force`"}}));
        match (request["op"].as_str().unwrap(), request["key"].as_str().unwrap_or_default()) {
            ("start" | "send", "new") => Some(
                json!({"ok": false, "error": {"code": "event_failed", "message": "no such key: n, in input.n", "hint": "other"}}),
            ),
            ("start", _) => error("already_started"),
            ("retry", "stuck") => error("event_failed"),
            ("get", key) => Some(json!({"ok": true, "value": "a", "status": "error", "stuck": key == "stuck"})),
            ("machines", _) => Some(json!({"ok": true, "machines": [{"id": "order"}]})),
            ("where", _) => Some(json!({"ok": true, "partition": 7, "owner": "a"})),
            _ => error("unknown_instance"),
        }
    });
    let lines: [(&[&str], &str); 12] = [
        (&["start", "order/new"], "statemesh start order/new --input '{...}'"),
        (&["send", "order/new", "GO"], "statemesh start order/new --input '{...}'"),
        (&["retry", "order/stuck"], "`retry` helps where the cause was outside"),
        (&["start", "order/active"], "begin anew with --force"),
        (&["start", "order/stuck"], "`statemesh retry order/stuck` fires its timer again"),
        (&["retry", "order/stuck"], "`statemesh skip order/stuck` drops the timer"),
        (&["retry", "order/none"], "`statemesh instances order` lists"),
        (&["skip", "order/none"], "`statemesh instances order` lists"),
        (&["stop", "order/none"], "`statemesh instances order` lists"),
        (&["delete", "order/none"], "`statemesh instances order` lists"),
        (&["history", "order/none"], "`statemesh instances order` lists"),
        (&["where", "ordr/1"], "did you mean order?"),
    ];
    for (args, says) in lines {
        let output = peer.run(&folder, args);
        assert!(
            stderr(&output).contains(says) && !stderr(&output).contains("`force`"),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    assert_eq!(stderr(&peer.run(&folder, &["where", "order/1"])), "");
}

#[test]
fn two_files_of_one_id_are_not_defined() {
    let folder = Folder::new("define-namesakes");
    folder.file("a.json", r#"{"id":"m"}"#).file("b.json", r#"{"id":"m","initial":"a","states":{"a":{}}}"#);
    let peer =
        Peer::always(json!({"ok": true, "machine": "m", "version": 1, "members": 1, "hash": "00", "warnings": []}));
    let output = peer.run(&folder, &["define", "a.json", "b.json"]);
    assert!(code(&output) == 1 && stderr(&output).contains("a.json, b.json have one id"), "{}", stderr(&output));
    assert_eq!(*peer.requests.lock().unwrap(), [""; 0]);
}

#[test]
fn an_instance_shows_its_timers_its_version_and_that_it_is_new() {
    let folder = Folder::new("timers");
    let peer = Peer::start(|request| {
        let state = json!({"ok": true, "value": "on", "status": "active", "seq": 1});
        let with = |more: Value| {
            let mut reply = state.clone();
            reply.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Some(reply)
        };
        match request["op"].as_str().unwrap() {
            "get" => with(
                json!({"timers": [{"event": "xstate.after.500.m.on", "due_ms": 1_250}, {"event": "LATE", "due_ms": 0}]}),
            ),
            "send" => with(json!({"changed": true, "new": request["key"] == "1"})),
            _ => Some(json!({"ok": true, "next": null, "instances": [
                {"machine": "m", "key": "1", "value": "on", "status": "active", "definition": "8cb554347eff896d53e5"}]})),
        }
    });
    let told = |args: &[&str]| stdout(&peer.run(&folder, args));
    assert!(
        told(&["get", "m/1"]).contains("xstate.after.500.m.on in 1.2 s; LATE in 0 ms"),
        "{}",
        told(&["get", "m/1"])
    );
    let get: Value = serde_json::from_str(&told(&["get", "m/1", "-o", "json"])).unwrap();
    assert_eq!(get["timers"][0]["due_ms"], 1_250);
    let listed = told(&["instances"]);
    assert!(listed.contains("HASH") && listed.contains("8cb554347eff\n"), "{listed}");
    assert!(
        told(&["send", "m/1", "GO"]).trim_end().ends_with("new") && told(&["send", "m/2", "GO"]).contains("changed")
    );
}

#[test]
fn what_is_given_and_empty_is_a_usage_error_and_not_left_out() {
    let folder = Folder::new("empty-words");
    let peer = Peer::always(json!({"ok": true, "value": "a", "status": "active", "seq": 1, "changed": true}));
    for args in [
        &["send", "order/1", "PAY", "--dedup", ""][..],
        &["start", "order/1", "--dedup", ""],
        &["delete", "order/1", "--dedup", ""],
        &["send", "order/1", "PAY", "--until-state", ""],
        &["send", "order/1", "PAY", "--until-tag", ""],
        &["instances", "order", "--prefix", ""],
        &["delete", "order", "--prefix", ""],
        &["instances", "order", "--state", ""],
        &["instances", "order", "--tag", ""],
        &["instances", "order", "--after", ""],
        &["watch", "order", "--effect", ""],
    ] {
        let output = peer.run(&folder, args);
        assert_eq!(code(&output), 2, "{args:?}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(args[args.iter().position(|word| word.is_empty()).unwrap() - 1]),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    for args in
        [&["delete", "order", "--having", "customer.id="][..], &["instances", "order", "--having", "customer.id= "]]
    {
        let output = peer.run(&folder, args);
        assert_eq!(code(&output), 2, "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(r#"'PATH=""'"#), "{}", stderr(&output));
    }
    assert_eq!(*peer.requests.lock().unwrap(), [""; 0]);
    let meant = peer.run(&folder, &["instances", "order", "--having", r#"customer.id="""#]);
    assert!(code(&meant) != 2, "{}", stderr(&meant));
    assert!(
        peer.requests.lock().unwrap().iter().any(|request| request.contains(r#""customer.id":"""#)),
        "it asks for that"
    );
}

#[test]
fn names_from_outside_begin_no_line_of_their_own() {
    let folder = Folder::new("line-breaks");
    let (key, event) = ("order/1\nerror: FORGED", "PAY\nerror: FORGED\x1b[2J");
    let refusal = json!({"ok": false, "error": {"code": "event_failed", "message": format!("{event} failed\nerror: FORGED"), "hint": "send\nerror: FORGED"}});
    let ignored = json!({"ok": true, "value": "a\nerror: FORGED", "status": "active", "seq": 1, "changed": false, "handled": false,
        "explanation": {"event": event, "status": "active", "handled": ["A\nerror: FORGED"], "candidates": [
            {"state": "m.a", "descriptor": event, "targets": ["x\nerror: FORGED"], "taken": false, "reason": "no\nerror: FORGED", "path": "/a\nerror: FORGED"}],
            "error": {"message": "no\nerror: FORGED"}, "outcome": {"changed": false, "status": "active"}}});
    let explained = json!({"ok": true, "value": "a", "status": "active", "explanation": {"event": event, "status": "active", "candidates": [
        {"state": "m.a", "descriptor": "E", "targets": [], "taken": true, "guard": "g\nerror: FORGED", "guards": {"g\nerror: FORGED": "x\nerror: FORGED"}, "path": "/a"}],
        "outcome": {"changed": true, "status": "active", "value": "b", "effects": [{"type": "x\nerror: FORGED"}],
            "error": {"message": "m\nerror: FORGED", "expression": "e\nerror: FORGED"}, "context": {"k\nerror: FORGED": {"before": 1}}}}});
    let gone = json!({"ok": true, "value": "a", "status": "active", "seq": 1, "reached": false, "gone": true});
    for reply in [refusal, ignored, explained, gone] {
        let peer = Peer::always(reply.clone());
        for args in [
            &["send", key, event][..],
            &["send", key, event, "--until-done"],
            &["explain", key, event],
            &["start", key],
            &["stop", key],
            &["retry", key],
            &["delete", key],
            &["get", key],
            &["history", key],
            &["where", key],
        ] {
            let output = peer.run(&folder, args);
            for text in [stdout(&output), stderr(&output)] {
                assert!(!text.lines().any(|line| line.starts_with("error: FORGED")), "{args:?} {reply}: {text}");
                assert!(!text.contains('\x1b'), "{args:?}: {text:?}");
            }
        }
    }
    let nothing = Peer::always(
        json!({"ok": false, "error": {"code": "unknown_machine", "message": "no machine \"m\nerror: FORGED\""}}),
    );
    for args in [&["top", "m\nerror: FORGED"][..], &["watch", "m\nerror: FORGED"], &["get", "m\nerror: FORGED/1"]] {
        let said = stderr(&nothing.run(&folder, args));
        assert!(!said.lines().any(|line| line.starts_with("error: FORGED")), "{args:?}: {said}");
    }
}

#[test]
fn a_key_that_may_not_read_a_machine_is_told_so_and_does_not_wait_for_its_changes() {
    let folder = Folder::new("watch-forbidden");
    let peer = Peer::start(|request| {
        let is_foreign = request["machine"] == "order";
        Some(match is_foreign {
            true => {
                json!({"ok": false, "error": {"code": "forbidden", "message": "client \"clerk\" may not use machine \"order\"", "hint": "ask"}})
            }
            false => json!({"ok": true, "members": [], "machines": [{"id": "order"}]}),
        })
    });
    for args in [&["watch", "order", "-n", "1"][..], &["watch", "order/4", "-n", "1"], &["top", "order", "-n", "1"]] {
        let output = peer.run(&folder, args);
        assert_eq!(code(&output), 1, "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("may not use machine \"order\""), "{args:?}: {}", stderr(&output));
    }
}

const DROPPED: &[(&str, &str)] = &[
    ("order/1", r#"{"value":"a","status":"active","seq":1,"run":"01","reason":"event","event":"PAY"}"#),
    ("order/1", r#"{"value":"a","status":"active","seq":9,"run":"01","reason":"event","event":"PAY","dropped":7}"#),
];

#[test]
fn top_says_what_it_could_not_count() {
    let folder = Folder::new("top-dropped");
    let output = publisher(DROPPED).run(&folder, &["top", "order", "--every", "500ms", "-n", "1", "-o", "json"]);
    let said = stderr(&output);
    assert_eq!(code(&output), 0, "{said}");
    let number = said
        .lines()
        .find_map(|line| line.strip_prefix("warning: ")?.split_once(" changes were dropped")?.0.parse::<u64>().ok());
    assert!(number.is_some_and(|number| number > 0 && number % 7 == 0), "{said}");
    let whole = publisher(REASONS).run(&folder, &["top", "order", "--every", "100ms", "-n", "1", "-o", "json"]);
    assert!(!stderr(&whole).contains("dropped"), "{}", stderr(&whole));
}

#[test]
fn an_empty_id_is_not_sent_to_a_daemon() {
    let folder = Folder::new("define-empty-id");
    folder.file("a.json", r#"{"id":"","initial":"a","states":{"a":{}}}"#);
    let peer = Peer::always(json!({"ok": true}));
    let output = peer.run(&folder, &["define", "a.json"]);
    assert!(code(&output) == 1 && stderr(&output).contains("a.json: the machine's id is empty"), "{}", stderr(&output));
    assert_eq!(*peer.requests.lock().unwrap(), [""; 0]);
}

#[test]
fn a_public_key_is_no_file_of_a_clients_key() {
    let folder = Folder::new("public-key");
    let made = folder.run(&["keys", "new", "me.key"]);
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    let text = std::fs::read_to_string(folder.0.join("me.key")).unwrap();
    let public = text.lines().find_map(|line| line.strip_prefix("public = \"")?.strip_suffix('"')).unwrap();
    folder.file("daemon.pub", &format!("{public}\n"));
    let run =
        |args: &[&str]| support::statemesh(&folder.0).env("XDG_CONFIG_HOME", &folder.0).args(args).output().unwrap();
    let ping = run(&["ping", "--key", "daemon.pub", "--server-key", public]);
    assert!(code(&ping) == 2 && stderr(&ping).contains("this is a public key"), "{}", stderr(&ping));
    assert!(stderr(&ping).contains("keys new"), "the way out: {}", stderr(&ping));
    let add = |key: &str| run(&["context", "add", "shop", "--address", "a", "--key", key, "--server-key", public]);
    let refused = add("daemon.pub");
    assert!(code(&refused) == 2 && stderr(&refused).contains("this is a public key"), "{}", stderr(&refused));
    assert_eq!(stdout(&run(&["context", "list"])).lines().count(), 1, "nothing was added");
    assert_eq!(code(&add("me.key")), 0);
}
