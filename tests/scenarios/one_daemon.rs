//! One daemon by itself: its ends, its HTTP, what it says about a wrong configuration.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use statemesh_tests::caller::Caller;
use statemesh_tests::client_history::counter;
use statemesh_tests::daemon::{Daemon, Plan};
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::{Outcome, ensure, figures, http, process};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("SIGTERM and SIGINT end a daemon with exit code 0", signals).on_loopback(),
    Scenario::new("HTTP tells health, members, placement, machines and instances, and changes nothing", http_tells)
        .on_loopback(),
    Scenario::new("promtool finds nothing wrong with the metrics", promtool).on_loopback().programs(&["promtool"]),
    Scenario::new(
        "a wrong configuration is an error that names it, and a port in use says whose it is",
        wrong_configuration,
    )
    .on_loopback(),
    Scenario::new("an idle daemon costs little", idle).on_loopback().alone(),
];

const SOON: Duration = Duration::from_secs(10);

/// A daemon on the loopback interface with the counter machine.
pub(crate) fn alone(scene: &Scene, arguments: &str) -> Outcome<Daemon> {
    let mut daemon = Daemon::start(scene, "alone", &Plan::default().with(arguments))?;
    daemon.wait_ready(SOON)?;
    Caller::connect(daemon.clients())?.ok(json!({"op": "define", "definition": counter()}))?;
    Ok(daemon)
}

fn signals(scene: &Scene) -> Outcome {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = alone(scene, "")?;
        Caller::connect(daemon.clients())?.send("counter", "k", json!({"type": "ADD", "n": 0}))?;
        daemon.signal(signal)?;
        let (status, took) = daemon.wait_end(SOON)?;
        ensure!(status.code() == Some(0), "after {signal} it ended with {status}");
        ensure!(
            took < Duration::from_secs(5),
            "after {signal} it took {took:?}, though no daemon is there to take anything over"
        );
    }
    Ok(())
}

fn read(daemon: &Daemon, path: &str) -> Outcome<Value> {
    let answer = http::get(daemon.http(), path)?;
    ensure!(answer.status == 200, "{path} answers {} {}", answer.status, answer.body);
    ensure!(answer.head.to_lowercase().contains("application/json"), "{path} is not said to be JSON: {}", answer.head);
    Ok(serde_json::from_str(&answer.body)?)
}

fn http_tells(scene: &Scene) -> Outcome {
    let daemon = alone(scene, "")?;
    let mut caller = Caller::connect(daemon.clients())?;
    for n in 0..3 {
        caller.send("counter", &format!("eu/{n} x"), json!({"type": "ADD", "n": 0}))?;
    }
    for path in ["/health/live", "/health/ready", "/"] {
        ensure!(http::get(daemon.http(), path)?.status == 200, "{path} does not answer 200");
    }
    let members = read(&daemon, "/v1/members")?;
    ensure!(members[0]["name"] == "alone" && members[0]["status"] == "alive", "members: {members}");
    let placement = read(&daemon, "/v1/placement")?;
    ensure!(
        placement["partitions"] == 1_024 && placement["map"].as_array().is_some_and(|map| map.len() == 1_024),
        "placement: {placement}"
    );
    let machines = read(&daemon, "/v1/machines")?;
    ensure!(machines[0]["id"] == "counter" && machines[0]["instances"] == 3, "machines: {machines}");
    let page = read(&daemon, "/v1/machines/counter/instances?limit=2")?;
    let next =
        page["next"].as_str().ok_or_else(|| format!("no next page of {page}"))?.replace('/', "%2F").replace(' ', "%20");
    let rest = read(&daemon, &format!("/v1/machines/counter/instances?limit=2&after={next}"))?;
    let listed = |page: &Value| page["instances"].as_array().map_or(0, Vec::len);
    ensure!((listed(&page), listed(&rest)) == (2, 1), "instances: {page} then {rest}");
    let instance = read(&daemon, "/v1/instances/counter/eu/1%20x")?;
    ensure!(instance["seq"] == 1 && instance["context"]["count"] == 1, "instance: {instance}");
    ensure!(http::get(daemon.http(), "/v1/instances/counter/none")?.status == 404, "an unknown instance is no 404");
    ensure!(http::get(daemon.http(), "/v2/members")?.status == 404, "an unknown path is no 404");
    for method in ["POST", "PUT", "DELETE"] {
        let status = http::request(daemon.http(), method, "/v1/instances/counter/eu/1%20x")?.status;
        ensure!(status == 405, "{method} answers {status}");
    }
    Ok(())
}

fn promtool(scene: &Scene) -> Outcome {
    let daemon = alone(scene, "")?;
    let mut caller = Caller::connect(daemon.clients())?;
    caller.send("counter", "k", json!({"type": "ADD", "n": 0}))?;
    caller.refused(json!({"op": "frobnicate"}), "unknown_op")?;
    let metrics = daemon.metrics()?;
    let mut checker = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    checker.stdin.take().ok_or("no stdin")?.write_all(metrics.text.as_bytes())?;
    let output = checker.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && said.trim().is_empty(), "promtool says: {said}");
    for name in [
        "statemesh_events_total",
        "statemesh_transitions_total",
        "statemesh_stage_seconds_count",
        "statemesh_round_trip_seconds_count",
        "statemesh_instances",
        "statemesh_members",
        "statemesh_forwards_sent_total",
        "statemesh_handoffs_sent_total",
        "statemesh_limit",
    ] {
        ensure!(metrics.sum(name, &[]).is_some(), "there is no metric {name}");
    }
    Ok(())
}

fn wrong_configuration(scene: &Scene) -> Outcome {
    let cases = [
        ("--partitions 0", "", 2, "partitions"),
        ("", "[limits]\nmesage_bytes = 5\n", 2, "mesage_bytes"),
        ("", "[limits]\nmessage_bytes = \"many\"\n", 2, "message_bytes"),
        ("--machines no-such-folder", "", 5, "no-such-folder"),
        ("--name two!words", "", 2, "name"),
    ];
    for (number, (arguments, file, code, named)) in cases.into_iter().enumerate() {
        let folder = scene.folder.join(format!("case-{number}"));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("statemesh.toml"), file)?;
        let mut command = Command::new(&scene.binary);
        command.arg("daemon").args(arguments.split_whitespace()).current_dir(&folder);
        let (status, said) = ended(command)?;
        ensure!(said.contains(named), "{arguments} {file}: it does not name {named}: {said}");
        ensure!(status == Some(code), "{arguments} {file}: it ended with {status:?}, not {code}: {said}");
    }
    let daemon = alone(scene, "")?;
    let mut command = Command::new(&scene.binary);
    command.args(["daemon", "--name", "other", "--listen-address", "127.0.0.1"]).current_dir(&scene.folder);
    let (status, said) = ended(command)?;
    ensure!(status == Some(4) && said.contains("in use"), "with the port in use it ended with {status:?}: {said}");
    ensure!(
        said.contains(&daemon.pid().to_string()),
        "it does not say that process {} has the port: {said}",
        daemon.pid()
    );
    Ok(())
}

/// Runs a command that should end by itself, and fairly soon.
fn ended(mut command: Command) -> Outcome<(Option<i32>, String)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let ended = statemesh_tests::wait_for("it has ended", SOON, || Ok(child.try_wait()?));
    if ended.is_err() {
        child.kill()?;
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    ended.map_err(|failure| format!("{failure}: {said}"))?;
    Ok((output.status.code(), said))
}

fn idle(scene: &Scene) -> Outcome {
    const MEASURED: Duration = Duration::from_secs(5);
    let daemon = alone(scene, "")?;
    // Beyond the handling of the definition, and any polling after it.
    std::thread::sleep(Duration::from_secs(1));
    let before = process::usage(daemon.pid())?;
    std::thread::sleep(MEASURED);
    let after = process::usage(daemon.pid())?;
    let percent = (after.cpu - before.cpu).as_secs_f64() / MEASURED.as_secs_f64() * 100.0;
    let figure = json!({"cpu_percent": percent, "resident_bytes": after.resident_bytes, "threads": after.threads});
    figures::record(&scene.all, "idle_alone", figure)?;
    ensure!(percent < 1.0, "an idle daemon uses {percent} % of a core");
    ensure!(after.resident_bytes < 30_000_000, "an idle daemon has {} bytes resident", after.resident_bytes);
    Ok(())
}
