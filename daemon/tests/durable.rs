//! Durable machines of a real daemon over `kill -9`: what was acknowledged is there, once, and the daemon says what it cannot promise. The
//! system's cache survives the process, so this is about the daemon's logic, not about the disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use statemesh_client::Connection as Client;
use statemesh_transport::SocketType;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::{Folder, statemesh, stderr};

const PATIENCE: Duration = Duration::from_secs(30);
const FLAGS: [&str; 2] = ["--partitions", "16"];

fn counter(durability: &str) -> Value {
    json!({
        "id": "counter", "@statemesh": {"durability": durability}, "initial": "on", "context": {"n": 0},
        "states": {"on": {"on": {
            "ADD": {"actions": {"type": "@xstate.assign", "context": {"n": {"@expr": "context.n + 1"}}}},
            "LATER": "waiting"
        }}, "waiting": {"after": {"1500": "over"}}, "over": {}}
    })
}

struct Daemon {
    child: Child,
    client: Client,
}

impl Daemon {
    fn start(folder: &Folder, flags: &[&str]) -> Self {
        let mut child = command(&folder.0, flags).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the daemon ended");
            let logged: Value = serde_json::from_str(&line).unwrap_or_default();
            if logged["message"] == "listening" {
                break logged["clients"].as_str().unwrap().parse().unwrap();
            }
        };
        // The rest of the log must not fill the pipe.
        std::thread::spawn(move || std::io::read_to_string(lines).unwrap_or_default());
        let client = Client::connect(address, SocketType::Dealer, PATIENCE).unwrap();
        Self { child, client }
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.push(request);
        self.answer()
    }

    fn push(&mut self, request: &Value) {
        self.client.push(request.to_string().as_bytes());
        self.client.flush().unwrap();
    }

    fn answer(&mut self) -> Value {
        let reply = self.client.receive(PATIENCE).unwrap();
        serde_json::from_slice(reply.part_slice(0).unwrap()).unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path, flags: &[&str]) -> std::process::Command {
    let ports =
        ["clients", "changes", "peers", "gossip", "http"].map(|port| [format!("--listen-{port}"), "0".to_owned()]);
    let mut command = statemesh(folder);
    command
        .args(["daemon", "--name", "durable", "--listen-address", "127.0.0.1"])
        .args(ports.as_flattened())
        .args(FLAGS)
        .args(flags);
    command
}

fn add(number: u64) -> Value {
    json!({"op": "send", "machine": "counter", "key": "k", "event": {"type": "ADD"}, "dedup": format!("t{number}")})
}

#[test]
fn nothing_that_was_acknowledged_is_lost_or_done_twice_over_kills() {
    let folder = Folder::new("durable-kills");
    let flags = ["--data", "data"];
    let mut daemon = Daemon::start(&folder, &flags);
    let defined = daemon.ask(&json!({"op": "define", "definition": counter("disk")}));
    assert_eq!((&defined["ok"], &defined["durability"]), (&true.into(), &"disk".into()), "{defined}");
    let (mut acknowledged, mut sent) = (0, 0);
    for round in 0..5 {
        // Some under way when the process is killed, and each of them known by its token.
        let until = Instant::now() + Duration::from_millis(150 + 70 * round);
        while Instant::now() < until {
            for _ in 0..8 {
                sent += 1;
                daemon.push(&add(sent));
            }
            for _ in 0..8 {
                let reply = daemon.answer();
                assert_eq!(reply["ok"], true, "{reply}");
                acknowledged += 1;
            }
        }
        for _ in 0..8 {
            sent += 1;
            daemon.push(&add(sent));
        }
        daemon.kill();
        daemon = Daemon::start(&folder, &flags);
        let there = daemon.ask(&json!({"op": "get", "machine": "counter", "key": "k"}));
        let count = there["context"]["n"].as_u64().unwrap();
        assert!((acknowledged..=sent).contains(&count), "{count} of {acknowledged} acknowledged and {sent} sent");
        // Those that may or may not have been applied are sent again.
        for number in acknowledged + 1..=sent {
            assert_eq!(daemon.ask(&add(number))["ok"], true);
        }
        acknowledged = sent;
        let there = daemon.ask(&json!({"op": "get", "machine": "counter", "key": "k"}));
        assert_eq!(there["context"]["n"], sent, "each once: {there}");
    }
}

#[test]
fn a_timer_that_comes_due_while_the_daemon_is_down_fires_at_its_start() {
    let folder = Folder::new("durable-timers");
    let flags = ["--data", "data"];
    let mut daemon = Daemon::start(&folder, &flags);
    daemon.ask(&json!({"op": "define", "definition": counter("disk")}));
    let later = json!({"op": "send", "machine": "counter", "key": "t", "event": {"type": "LATER"}});
    assert_eq!(daemon.ask(&later)["value"], "waiting");
    daemon.kill();
    std::thread::sleep(Duration::from_millis(1_600));
    let mut daemon = Daemon::start(&folder, &flags);
    let wanted = Instant::now() + PATIENCE;
    while daemon.ask(&json!({"op": "get", "machine": "counter", "key": "t"}))["value"] != "over" {
        assert!(Instant::now() < wanted, "it was due while the daemon was down");
    }
}

#[test]
fn what_cannot_be_promised_is_refused() {
    let folder = Folder::new("durable-refused");
    // The way out is one: with others, or looking for them, a daemon does not start with a folder either.
    for (flags, hint) in
        [(&[][..], "start it with --data DIR"), (&["--discovery-seeds", "127.0.0.1:1"], "at a daemon without")]
    {
        let mut without = Daemon::start(&folder, flags);
        let refused = without.ask(&json!({"op": "define", "definition": counter("disk")}));
        assert_eq!(refused["error"]["code"], "unsupported", "{refused}");
        assert!(refused["error"]["hint"].as_str().unwrap().contains(hint), "{refused}");
    }
    let mut daemon = Daemon::start(&folder, &["--data", "data"]);
    daemon.ask(&json!({"op": "define", "definition": counter("disk")}));
    let other = daemon.ask(&json!({"op": "define", "definition": counter("memory")}));
    assert_eq!(other["error"]["code"], "durability_fixed", "{other}");
    drop(daemon);
    for (flags, said) in [
        (["--data", "data", "--discovery-seeds", "127.0.0.1:1"], "on a daemon that is alone"),
        (["--data", "data", "--mesh", "other"], "belongs to mesh"),
        (["--durability", "disk", "--mesh", "other"], "no folder for its data"),
        (["--durability", "replicated", "--mesh", "other"], "not supported yet"),
    ] {
        let output = command(&folder.0, &flags).output().unwrap();
        assert!(!output.status.success() && stderr(&output).contains(said), "{}", stderr(&output));
    }
}

/// The log of a daemon that is alone, has a durable instance and is told to end.
fn log_of_a_whole_life(folder: &Folder) -> String {
    let mut child = command(&folder.0, &["--data", "data"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut log = String::new();
    let address = loop {
        let begin = log.len();
        assert!(lines.read_line(&mut log).unwrap() > 0, "the daemon ended: {log}");
        let logged: Value = serde_json::from_str(&log[begin..]).unwrap_or_default();
        if logged["message"] == "listening" {
            break logged["clients"].as_str().unwrap().parse().unwrap();
        }
    };
    let client = Client::connect(address, SocketType::Dealer, PATIENCE).unwrap();
    let mut daemon = Daemon { child, client };
    daemon.ask(&json!({"op": "define", "definition": counter("disk")}));
    assert_eq!(daemon.ask(&add(1))["ok"], true);
    let told = std::process::Command::new("kill").args(["-TERM", &daemon.child.id().to_string()]).status().unwrap();
    assert!(told.success());
    lines.read_to_string(&mut log).unwrap();
    assert!(daemon.child.wait().unwrap().success());
    log
}

#[test]
fn a_daemon_with_a_new_folder_warns_of_nothing_and_says_at_its_end_that_its_instances_are_there() {
    let log = log_of_a_whole_life(&Folder::new("durable-quiet"));
    assert!(!log.contains("no room") && !log.contains("\"WARN\""), "{log}");
    assert!(log.contains("on_volume\":1"), "{log}");
}

#[test]
fn a_folder_that_cannot_be_used_is_named_with_what_is_wrong_and_a_way_out() {
    let folder = Folder::new("durable-unusable");
    folder.file("file", "");
    std::os::unix::fs::symlink("nowhere", folder.0.join("dangling")).unwrap();
    for (data, wrong) in
        [("file", "it is a file"), ("file/below", "it is a file"), ("dangling", "a link that leads nowhere")]
    {
        let output = command(&folder.0, &["--data", data]).output().unwrap();
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains(&format!("{data} cannot be used")), "{said}");
        assert!(said.contains(wrong) && said.contains("give the daemon another folder (--data)"), "{said}");
    }
}
