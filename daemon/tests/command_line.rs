//! The binary as a person or a script meets it: output, messages, exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use support::{Folder, code, statemesh, stderr, stdout};

#[test]
fn config_shows_where_each_value_came_from() {
    let folder = Folder::new("provenance");
    folder.file("statemesh.toml", "mesh = \"shop\"\n\n[limits]\nbatch = 5\n");
    let output = statemesh(&folder.0)
        .args(["config", "--changed", "--partitions", "64", "-o", "json"])
        .env("STATEMESH_REACTOR_SPIN", "0")
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let config: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!({
        "mesh": {"value": "shop", "from": "statemesh.toml:1"},
        "partitions": {"value": "64", "from": "flag --partitions"},
        "reactor.spin": {"value": "0", "from": "environment STATEMESH_REACTOR_SPIN"},
        "limits.batch": {"value": "5", "from": "statemesh.toml:4"},
    });
    assert_eq!(config, expected);
}

#[test]
fn a_secret_is_not_shown() {
    let folder = Folder::new("secret");
    let key = "c0ffee00".repeat(8);
    let output = statemesh(&folder.0).arg("config").env("STATEMESH_GOSSIP_KEYS", &key).output().unwrap();
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("(secret)") && !stdout(&output).contains("c0ffee"), "{}", stdout(&output));
}

#[test]
fn a_wrong_configuration_is_a_usage_error_that_names_its_place() {
    let folder = Folder::new("wrong-file");
    folder.file("statemesh.toml", "[limits]\nmesage_bytes = 5\n");
    for verb in ["config", "daemon", "up", "ping"] {
        let output = folder.run(&[verb]);
        assert_eq!(code(&output), 2, "{verb}");
        assert_eq!(
            stderr(&output),
            "error: statemesh.toml:2: unknown key 'limits.mesage_bytes'\n  did you mean 'limits.message_bytes'?\n"
        );
        assert_eq!(stdout(&output), "");
    }
    let missing = folder.run(&["config", "--config", "none.toml"]);
    assert_eq!((code(&missing), stderr(&missing).contains("none.toml: No such file")), (2, true));
}

#[test]
fn a_misspelt_verb_or_flag_is_a_usage_error_with_a_suggestion() {
    let folder = Folder::new("misspelt");
    let verb = folder.run(&["sned", "order/1", "PAY"]);
    assert!(code(&verb) == 2 && stderr(&verb).contains("'send'"), "{}", stderr(&verb));
    let flag = folder.run(&["daemon", "--partition", "7"]);
    assert!(code(&flag) == 2 && stderr(&flag).contains("--partitions"), "{}", stderr(&flag));
    let target = folder.run(&["get", "order"]);
    assert!(code(&target) == 2 && stderr(&target).contains("machine/key, such as order/42"), "{}", stderr(&target));
    let data = folder.run(&["send", "order/1", "PAY", "--data", "amount=3"]);
    assert!(code(&data) == 2 && stderr(&data).contains("--data: not JSON"), "{}", stderr(&data));
}

/// An address that nobody listens at: its port was free a moment ago.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("tcp://{}", listener.local_addr().unwrap())
}

#[test]
fn without_a_daemon_the_error_says_how_to_start_one() {
    let folder = Folder::new("nobody");
    let output = folder.run(&["ping", "--address", &nobody()]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("no daemon at tcp://127.0.0.1:"), "{}", stderr(&output));
    assert!(stderr(&output).contains("is it running? `statemesh up`"), "{}", stderr(&output));

    let output = folder.run(&["ping", "--address", &nobody(), "-o", "json"]);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((code(&output), error["error"]["code"].as_str()), (3, Some("unreachable")));
}

#[test]
fn something_that_is_no_daemon_does_not_keep_the_command_waiting() {
    let folder = Folder::new("silent");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", silent.local_addr().unwrap());
    let output = folder.run(&["ping", "--address", &address, "--timeout", "100ms"]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("does not answer as a daemon does"), "{}", stderr(&output));
}

#[test]
fn a_port_in_use_is_named_with_its_holder() {
    let folder = Folder::new("port");
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let output = folder.run(&["daemon", "--listen-address", "127.0.0.1", "--listen-http", &port]);
    assert_eq!(code(&output), 4);
    let expected = format!("listen.http: 127.0.0.1:{port} is in use by process {} (", std::process::id());
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    assert!(stderr(&output).contains("--listen-http PORT"), "{}", stderr(&output));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = Folder::new("pipe");
    let mut child = statemesh(&folder.0).args(["completions", "bash"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn completions_and_manual_pages_know_every_verb() {
    let folder = Folder::new("pages");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = folder.run(&["completions", shell]);
        assert!(code(&output) == 0 && stdout(&output).contains("simulate"), "{shell}");
    }
    assert!(stdout(&folder.run(&["man"])).starts_with(".ie"), "roff");
    assert_eq!(code(&folder.run(&["man", "--dir", "pages"])), 0);
    for verb in ["", "-up", "-send", "-watch", "-check"] {
        assert!(folder.0.join(format!("pages/statemesh{verb}.1")).is_file(), "{verb}");
    }
}

#[test]
fn nothing_but_data_goes_to_stdout_and_no_colour_without_a_terminal() {
    let folder = Folder::new("plain");
    let output = statemesh(&folder.0).arg("config").output().unwrap();
    assert!(!stdout(&output).contains('\x1b'));
    assert_eq!(stderr(&output), "");
}

#[test]
fn the_reference_pages_are_those_that_the_code_makes() {
    let folder = Folder::new("reference");
    assert_eq!(code(&folder.run(&["docs", "reference"])), 0);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    for page in ["cli.md", "configuration.md", "exit-codes.md", "http.md"] {
        let made = std::fs::read_to_string(folder.0.join("reference").join(page)).unwrap();
        let kept = std::fs::read_to_string(kept.join(page)).unwrap_or_default();
        assert!(made == kept, "docs/reference/{page} is stale: cargo run -- docs docs/reference");
    }
}

#[test]
fn standard_input_is_a_file_named_dash() {
    let folder = Folder::new("stdin");
    let mut child = statemesh(&folder.0)
        .args(["define", "-", "--address", &nobody()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"id\": \n\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("-:3:0: EOF"), "{}", stderr(&output));
}
