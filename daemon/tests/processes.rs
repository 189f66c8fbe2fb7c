//! Daemons as processes: how they start, say that they are ready, and end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use statemesh_client::Connection as Client;
use statemesh_transport::SocketType;
use statemesh_transport::curve::{KeyPair, PublicKey, SecretKey, Security};
use std::fs::DirEntry;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::{Folder, code, statemesh, stderr, stdout};

const PATIENCE: Duration = Duration::from_secs(20);
const LAMP: &str =
    r#"{"id":"lamp","initial":"off","states":{"off":{"on":{"PRESS":"on"}},"on":{"on":{"PRESS":"off"}}}}"#;

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Its exit code, once it has ended.
    fn ended(&mut self) -> Option<i32> {
        let status = eventually("the process ends", || self.0.try_wait().unwrap());
        status.code()
    }
}

/// Asks again until there is an answer: a process outside has no event that this one could wait for.
fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A daemon on free ports, and where it listens, which is what it logs first.
fn daemon(folder: &Folder, name: &str, flags: &[&str]) -> (Running, Value) {
    let (running, at, _) = logging_daemon(folder, name, flags);
    (running, at)
}

/// A daemon, where it listens, and the rest of its log, once it has ended.
fn logging_daemon(folder: &Folder, name: &str, flags: &[&str]) -> (Running, Value, JoinHandle<String>) {
    let (running, logged, lines) = unread_daemon(folder, name, flags);
    // The rest of the log must not fill the pipe.
    let rest = std::thread::spawn(move || std::io::read_to_string(lines).unwrap_or_default());
    (running, logged, rest)
}

/// A daemon, where it listens, and the rest of its log, which nothing reads.
fn unread_daemon(folder: &Folder, name: &str, flags: &[&str]) -> (Running, Value, BufReader<ChildStderr>) {
    let ports =
        ["clients", "changes", "peers", "gossip", "http"].map(|port| [format!("--listen-{port}"), "0".to_owned()]);
    let mut child = statemesh(&folder.0)
        .args(["daemon", "--name", name, "--listen-address", "127.0.0.1"])
        .args(ports.as_flattened())
        .args(flags)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let running = Running(child);
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the daemon ended");
        let logged: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert_eq!(logged["node"], name);
        assert!(!line.contains("gossip has no key"), "over loopback no other machine reaches it: {line}");
        if logged["message"] == "listening" {
            return (running, logged, lines);
        }
    }
}

#[test]
fn a_steady_load_that_is_told_to_end_says_what_it_has_proved() {
    let folder = Folder::new("bench");
    let (_running, at) = daemon(&folder, "measured", &[]);
    let http = at["http"].as_str().unwrap();
    eventually("it is ready", || get(http, "/health/ready").filter(|answer| answer.starts_with("HTTP/1.1 200")));
    let bench = statemesh(&folder.0)
        .args(["bench", "--rate", "500", "--duration", "1h", "--warm-up", "0", "--keys", "20", "--connections", "2"])
        .args(["--address", &format!("tcp://{}", at["clients"].as_str().unwrap()), "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut bench = Running(bench);
    eventually("all its instances are there", || {
        get(http, "/v1/machines").filter(|answer| answer.contains("\"instances\":20"))
    });
    bench.signal("TERM");
    assert_eq!(bench.ended(), Some(0));
    let report: Value = serde_json::from_reader(bench.0.stdout.take().unwrap()).unwrap();
    assert!(report["events"].as_u64() >= Some(20) && report["latency_us"]["p99"].as_f64() > Some(0.0), "{report}");
    assert_eq!((&report["proved_keys"], &report["stopped_keys"]), (&json!(20), &json!(20)), "{report}");
    let left = get(http, &format!("/v1/instances/statemesh-bench/{}19", report["prefix"].as_str().unwrap())).unwrap();
    assert!(left.contains("\"status\":\"stopped\""), "{left}");
    for none in ["errors", "lost", "doubled", "reconnects", "unchanged"] {
        assert_eq!(report[none], 0, "{none}: {report}");
    }
}

#[test]
fn a_daemon_with_nobody_to_find_is_ready_serves_and_leaves_when_told() {
    let folder = Folder::new("daemon");
    folder.file("lamp.json", LAMP);
    let (mut running, at) = daemon(&folder, "alone", &[]);
    let http = at["http"].as_str().unwrap();
    eventually("it is ready", || get(http, "/health/ready").filter(|answer| answer.starts_with("HTTP/1.1 200")));
    let clients = format!("tcp://{}", at["clients"].as_str().unwrap());
    let ask = |args: &[&str]| statemesh(&folder.0).args(args).env("STATEMESH_ADDRESS", &clients).output().unwrap();

    let defined = ask(&["define", "lamp.json"]);
    assert_eq!(code(&defined), 0, "{}", stderr(&defined));
    let sent = ask(&["send", "lamp/1", "PRESS", "-o", "json"]);
    let reply: Value = serde_json::from_slice(&sent.stdout).unwrap_or_else(|_| panic!("{}", stderr(&sent)));
    assert_eq!((&reply["value"], &reply["seq"], &reply["changed"]), (&json!("on"), &json!(1), &json!(true)));
    assert!(get(http, "/v1/instances/lamp/1").unwrap().contains("\"value\":\"on\""));
    assert!(get(http, "/v1/instances/lamp/none").unwrap().starts_with("HTTP/1.1 404"));
    assert!(get(http, "/v1/members").unwrap().contains("\"name\":\"alone\""));
    assert!(get(http, "/metrics").unwrap().contains("\nstatemesh_"));
    assert_eq!(code(&ask(&["send", "nothing/1", "PRESS"])), 1);

    running.signal("TERM");
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn a_daemon_whose_log_nothing_reads_answers_all_the_same_and_ends_when_told() {
    let folder = Folder::new("unread");
    let (mut running, at, log) = unread_daemon(&folder, "unread", &[]);
    let mut client =
        Client::connect(at["clients"].as_str().unwrap().parse().unwrap(), SocketType::Dealer, PATIENCE).unwrap();
    let mut ask = |request: Value| -> Value {
        let reply = client.call(&serde_json::to_vec(&request).unwrap(), PATIENCE).expect("it answers");
        serde_json::from_slice(reply.part_slice(0).unwrap()).unwrap()
    };
    eventually("it is ready", || (ask(json!({"op": "ping"}))["ready"] == true).then_some(()));
    // Each instance has a timer whose step fails, which is a line of the log: together they are more than a pipe holds.
    let fails = json!({"actions": {"type": "@xstate.assign", "context": {"n": {"@expr": "context.no"}}}});
    let definition = json!({"id": "frail", "initial": "a", "states": {"a": {"after": {"10": fails}}}});
    assert_eq!(ask(json!({"op": "define", "definition": definition}))["ok"], true);
    let starts: Vec<Value> = (0..1_000)
        .map(|n| json!({"op": "start", "machine": "frail", "key": format!("{n}-{}", "x".repeat(100))}))
        .collect();
    starts.chunks(100).for_each(|starts| drop(ask(json!(starts))));
    let stuck = || get(at["http"].as_str().unwrap(), "/metrics").filter(|told| told.contains("stuck_total 1000"));
    eventually("all are stuck", stuck);
    assert_eq!(ask(json!({"op": "ping"}))["ok"], true);
    running.signal("TERM");
    assert_eq!(running.ended(), Some(0));
    drop(log);
}

/// A configuration with the keys that `keys init --folder keys` makes.
const SECURED: &str = "[security]\nmode = \"curve\"\nkey = \"keys/daemon.key\"\nkeys = \"keys/clients.toml\"\n\
                       [gossip]\nkeys_file = \"keys/gossip.keys\"\n";

#[test]
fn a_daemon_takes_the_keys_that_init_made_and_lets_admin_in() {
    let folder = Folder::new("init");
    let made = folder.run(&["keys", "init", "--folder", "keys"]);
    assert_eq!((code(&made), stdout(&made).lines().count()), (0, 6), "{}", stderr(&made));
    let keys = folder.0.join("keys");
    let mode = |file: std::io::Result<DirEntry>| file.unwrap().metadata().unwrap().permissions().mode() & 0o777;
    assert!(std::fs::read_dir(&keys).unwrap().all(|file| mode(file) == 0o600));
    let read = |name: &str| std::fs::read_to_string(keys.join(name)).unwrap();
    let before = ["daemon.key", "clients.toml", "gossip.keys", "http.token"].map(read);
    assert_eq!(stdout(&folder.run(&["keys", "init", "--folder", "keys"])), "nothing is missing\n");
    assert_eq!(["daemon.key", "clients.toml", "gossip.keys", "http.token"].map(read), before);

    folder.file("statemesh.toml", SECURED);
    let (mut running, at) = daemon(&folder, "keyed", &[]);
    let clients = format!("tcp://{}", at["clients"].as_str().unwrap());
    let public = read("daemon.pub");
    let ask = ["ping", "--address", &clients, "--key", "keys/admin.key", "--server-key", &public];
    eventually("admin is let in", || (code(&folder.run(&ask)) == 0).then_some(()));
    running.signal("TERM");
    assert_eq!(running.ended(), Some(0));
}

/// The client whose keys are in this file, and who expects this public key of a daemon.
fn security(key_file: &str, server: &str) -> Security {
    let secret = key_file.split("secret = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let secret = SecretKey::from_z85(secret).unwrap();
    let server = PublicKey::from_z85(server).unwrap();
    Security::Client { own: KeyPair { public: secret.derive_public(), secret }, server }
}

#[test]
fn the_daemons_keys_are_renewed_without_a_restart_and_under_an_open_connection() {
    let folder = Folder::new("renew");
    assert_eq!(code(&folder.run(&["keys", "init", "--folder", "keys"])), 0);
    folder.file("statemesh.toml", SECURED);
    let read = |name: &str| std::fs::read_to_string(folder.0.join("keys").join(name)).unwrap();
    let (mut running, at) = daemon(&folder, "renewed", &[]);
    let address = at["clients"].as_str().unwrap().parse().unwrap();
    let admin = read("admin.key");
    let connect = |server: &str| {
        let security = security(&admin, server);
        Client::connect_secured(address, SocketType::Dealer, &security, PATIENCE).ok()
    };
    let answers = |client: &mut Client| {
        let reply = client.call(br#"{"op":"ping"}"#, PATIENCE).unwrap();
        let reply: Value = serde_json::from_slice(reply.part_slice(0).unwrap()).unwrap();
        reply["ok"] == true
    };
    let former = read("daemon.pub");
    let mut open = connect(&former).expect("admin is let in");

    let renewed = folder.run(&["keys", "renew"]);
    let current = read("daemon.pub");
    assert_eq!((code(&renewed), stdout(&renewed)), (0, format!("{current}\n")), "{}", stderr(&renewed));
    assert_ne!(former, current);
    let mut late = eventually("the new key counts", || connect(&current));
    assert!(answers(&mut connect(&former).expect("the former key counts on")) && answers(&mut late));
    assert_eq!(code(&folder.run(&["keys", "renew"])), 1, "one renewal at a time");

    assert_eq!(code(&folder.run(&["keys", "renew", "--done"])), 0);
    eventually("the former key counts no more", || connect(&former).is_none().then_some(()));
    assert!(answers(&mut connect(&current).expect("the new key counts on")));
    assert!(answers(&mut open) && answers(&mut late), "open connections stay");
    running.signal("TERM");
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn a_second_signal_ends_a_daemon_that_is_still_leaving() {
    let folder = Folder::new("twice");
    let (mut first, second, at, _) = two_of_whom_the_first_has_an_instance(&folder, &[]);

    // No daemon takes what it has, so it cannot leave.
    second.signal("STOP");
    first.signal("TERM");
    let http = at["http"].as_str().unwrap();
    eventually("it says that it leaves", || {
        get(http, "/health/ready").filter(|answer| answer.starts_with("HTTP/1.1 503"))
    });
    std::thread::sleep(Duration::from_secs(1));
    first.signal("TERM");
    assert_eq!(first.ended(), Some(130));
    second.signal("CONT");
}

#[test]
fn a_daemon_that_cannot_hand_over_within_its_leave_timeout_says_goodbye_and_what_it_left_behind() {
    let folder = Folder::new("left-behind");
    let flags = ["--leave-timeout", "2s"];
    let (mut first, second, _, log) = two_of_whom_the_first_has_an_instance(&folder, &flags);
    second.signal("STOP");
    // As a process group and the program that started it have it: the second one does not mean "at once".
    first.signal("TERM");
    first.signal("INT");
    assert_eq!(first.ended(), Some(0));
    second.signal("CONT");
    let log = log.join().unwrap();
    assert!(log.contains("not every instance could be handed off") && log.contains(r#""left_behind":1"#), "{log}");
}

fn two_of_whom_the_first_has_an_instance(
    folder: &Folder,
    flags: &[&str],
) -> (Running, Running, Value, JoinHandle<String>) {
    folder.file("lamp.json", LAMP);
    let (first, at, log) = logging_daemon(folder, "first", flags);
    let seed = at["gossip"].as_str().unwrap();
    let (second, _) = daemon(folder, "second", &["--discovery-seeds", seed]);
    let clients = format!("tcp://{}", at["clients"].as_str().unwrap());
    let ask = |args: &[&str]| statemesh(&folder.0).args(args).env("STATEMESH_ADDRESS", &clients).output().unwrap();
    eventually("both own a share", || {
        let members: Value = serde_json::from_slice(&ask(&["members", "-o", "json"]).stdout).ok()?;
        let owners = members.as_array()?.iter().filter(|member| member["partitions"].as_u64() > Some(0));
        (owners.count() == 2).then_some(())
    });
    assert_eq!(code(&ask(&["define", "lamp.json"])), 0);
    let owner_of = |key: &str| stdout(&ask(&["where", key])).contains("first");
    let key = (0..).map(|index| format!("lamp/{index}")).find(|key| owner_of(key)).unwrap();
    assert_eq!(code(&ask(&["send", &key, "PRESS"])), 0);
    (first, second, at, log)
}

/// Ports that no other test of this run takes: this file's tests share one process, and each asks for another block.
/// They stay below 32768, where the kernel begins to give ports to connections: one of another test would hold one of these.
fn port(block: u32) -> String {
    (20_000 + (std::process::id() % 60) * 200 + block * 100).to_string()
}

fn up(folder: &Folder, port: &str) -> (Running, Value) {
    let child = statemesh(&folder.0)
        .args(["up", "--nodes", "3", "--port", port, "--machines", ".", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let out = running.0.stdout.take().unwrap();
    let mut nodes = serde_json::Deserializer::from_reader(out).into_iter::<Value>();
    let nodes = nodes.next().expect("up says what it started").unwrap();
    (running, nodes)
}

fn nobody_listens(nodes: &Value) -> Option<()> {
    let addresses = nodes.as_array().unwrap().iter().map(|node| node["clients"].as_str().unwrap());
    addresses.map(TcpStream::connect).all(|connected| connected.is_err()).then_some(())
}

#[test]
fn up_runs_a_mesh_that_serves_at_every_daemon_and_leaves_nothing_behind() {
    let folder = Folder::new("up");
    folder.file("lamp.json", LAMP);
    let (mut running, nodes) = up(&folder, &port(0));
    let nodes_shown = nodes.as_array().unwrap();
    assert_eq!(nodes_shown.len(), 3);
    assert!(
        nodes_shown.iter().all(|node| node["health"] == "alive" && node["partitions"].as_u64() > Some(0)),
        "{nodes}"
    );
    for (index, node) in nodes_shown.iter().enumerate() {
        let address = format!("tcp://{}", node["clients"].as_str().unwrap());
        let sent = folder.run(&["send", "lamp/shared", "PRESS", "--address", &address, "-o", "json"]);
        let reply: Value = serde_json::from_slice(&sent.stdout).unwrap_or_else(|_| panic!("{}", stderr(&sent)));
        assert_eq!(reply["seq"], json!(index + 1), "one instance, whichever daemon is asked: {reply}");
    }
    running.signal("INT");
    assert_eq!(running.ended(), Some(0));
    assert_eq!(nobody_listens(&nodes), Some(()));
}

#[test]
fn up_that_is_killed_leaves_nothing_behind_either() {
    let folder = Folder::new("up-killed");
    folder.file("lamp.json", LAMP);
    let (mut running, nodes) = up(&folder, &port(1));
    running.0.kill().unwrap();
    running.ended();
    eventually("every daemon ends", || nobody_listens(&nodes));
}

#[test]
fn up_names_the_port_that_is_in_use() {
    let folder = Folder::new("up-port");
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let output = folder.run(&["up", "--port", &port.to_string()]);
    let expected = format!("node-1: listen.clients: 127.0.0.1:{port} is in use by process {} (", std::process::id());
    assert!(code(&output) == 4 && stderr(&output).contains(&expected), "{}", stderr(&output));
    assert!(stderr(&output).contains("statemesh up --port 8400") && stdout(&output).is_empty(), "{}", stderr(&output));
}

fn many_are_removed_at_once(ask: impl Fn(&[&str]) -> Output) {
    for key in ["many/1", "many/2", "many/3"] {
        assert_eq!(code(&ask(&["start", &format!("lamp/{key}")])), 0);
    }
    assert_eq!(code(&ask(&["stop", "lamp/many/2"])), 0);
    let many = ["delete", "lamp", "--prefix", "many/", "--status", "active", "-o", "json"];
    let removed: Value = serde_json::from_slice(&ask(&many).stdout).unwrap();
    assert_eq!(removed, serde_json::json!({"deleted": 2, "skipped": {}}));
    let left = ask(&["instances", "lamp", "--prefix", "many/"]);
    assert!(stdout(&left).contains("lamp/many/2") && stdout(&left).lines().count() == 2, "{}", stdout(&left));
}

#[test]
fn what_a_person_types_meets_a_daemon_as_it_is() {
    let folder = Folder::new("person");
    folder.file("lamp.json", LAMP);
    let (_running, at) = daemon(&folder, "met", &[]);
    let at = |port: &str| at[port].as_str().unwrap().to_owned();
    eventually("it is ready", || get(&at("http"), "/health/ready").filter(|answer| answer.starts_with("HTTP/1.1 200")));
    let ask = |args: &[&str]| statemesh(&folder.0).args(args).env("STATEMESH_ADDRESS", at("clients")).output().unwrap();
    let first = ask(&["define", "lamp.json"]);
    assert!(stdout(&first).contains("new"), "{}{}", stdout(&first), stderr(&first));
    assert!(stdout(&ask(&["define", "lamp.json"])).contains("unchanged"));
    assert_eq!(code(&ask(&["send", "lamp/1", "PRESS"])), 0);

    let typo = ask(&["send", "lamp/1", "PRES"]);
    assert_eq!(code(&typo), 6);
    assert!(
        stderr(&typo).contains("on does not react to PRES\n  it reacts to PRESS; did you mean PRESS?"),
        "{}",
        stderr(&typo)
    );
    assert_eq!(code(&ask(&["stop", "lamp/1"])), 0);
    let ended = ask(&["send", "lamp/1", "PRESS"]);
    assert!(code(&ended) == 6 && stderr(&ended).contains("lamp/1 has ended (stopped)"), "{}", stderr(&ended));
    let meant = ask(&["get", "lmap/1"]);
    assert!(code(&meant) == 1 && stderr(&meant).contains("did you mean lamp?"), "{}", stderr(&meant));

    let unknown = ask(&["start", "lamp/2", "--until-state", "onn", "--within", "60s"]);
    assert!(code(&unknown) == 1 && stderr(&unknown).contains("did you mean on?"), "{}", stderr(&unknown));
    assert_eq!(code(&ask(&["get", "lamp/2"])), 1, "nothing was done");
    many_are_removed_at_once(ask);

    let new = ask(&["explain", "lamp/new", "PRESS"]);
    let told = stdout(&new);
    assert_eq!(code(&new), 0, "{}", stderr(&new));
    assert!(told.contains("lamp/new is new, and would begin in off (active)\nPRESS would lead to on"), "{told}");
    assert_eq!(code(&ask(&["get", "lamp/new"])), 1, "it is still nowhere");
    assert_eq!(code(&ask(&["explain", "none/new", "PRESS"])), 1);

    let past = ask(&["watch", "lamp/1", "--since", "1h", "-n", "2", "-o", "json"]);
    let last = stdout(&past).lines().last().unwrap_or_default().to_owned();
    let change: Value = serde_json::from_str(&last).unwrap_or_else(|_| panic!("{}", stderr(&past)));
    assert_eq!((&change["reason"], &change["value"], &change["key"]), (&json!("history"), &json!("on"), &json!("1")));
    let unknown = ask(&["watch", "lmap/1", "--since", "1h", "-n", "0"]);
    assert!(code(&unknown) == 0 && stderr(&unknown).contains("did you mean lamp?"), "{}", stderr(&unknown));

    // The machine's other ports are no listeners for clients, and none is where it would be by default.
    let two = format!("127.0.0.1:9,{}", at("clients"));
    assert_eq!(code(&ask(&["ping", "--address", &two])), 0);
    let peers = ask(&["members", "--address", &at("peers"), "--timeout", "5s"]);
    assert!(code(&peers) == 3 && stderr(&peers).contains("does not answer as a daemon does"), "{}", stderr(&peers));
    let doctor = ask(&["doctor", "-o", "json"]);
    let findings: Value = serde_json::from_slice(&doctor.stdout).unwrap_or_else(|_| panic!("{}", stderr(&doctor)));
    assert_eq!((code(&doctor), &findings[0]["detail"]), (0, &json!("1 daemon")), "{findings}");
    assert!(findings.as_array().unwrap().iter().all(|found| found["verdict"] == "good"), "{findings}");
    let nothing =
        ask(&["bench", "--machine", "lamp", "--event", "NOPE", "--duration", "100ms", "--warm-up", "0", "--keys", "4"]);
    assert!(code(&nothing) == 1 && stderr(&nothing).contains("no NOPE was a transition"), "{}", stderr(&nothing));
}

#[test]
fn a_daemon_that_ends_leaves_unknown_what_was_asked_of_it() {
    let folder = Folder::new("cut-off");
    folder.file("lamp.json", LAMP);
    let (mut running, at) = daemon(&folder, "ends", &[]);
    let at = |port: &str| at[port].as_str().unwrap().to_owned();
    eventually("it is ready", || get(&at("http"), "/health/ready").filter(|answer| answer.starts_with("HTTP/1.1 200")));
    let command = |args: &[&str]| {
        let mut command = statemesh(&folder.0);
        command.args(args).env("STATEMESH_ADDRESS", at("clients")).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    assert_eq!(code(&command(&["define", "lamp.json"]).output().unwrap()), 0);
    let waits = command(&["send", "lamp/1", "PRESS", "--until-done", "--within", "60s"]).spawn().unwrap();
    eventually("it is done", || command(&["get", "lamp/1"]).status().unwrap().success().then_some(()));
    running.signal("KILL");
    let told = waits.wait_with_output().unwrap();
    assert!(code(&told) == 3 && stderr(&told).contains("whether send was done is not known"), "{}", stderr(&told));
    assert!(stderr(&told).contains("--dedup TOKEN") && !stderr(&told).contains("--key"), "{}", stderr(&told));
    assert_ne!(running.ended(), Some(0));
}
