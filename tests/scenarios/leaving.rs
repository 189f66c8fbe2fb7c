//! Daemons that go, because they were told to.

use crate::joining::three_loads;
use nix::sys::signal::Signal;
use serde_json::json;
use statemesh_tests::load::Background;
use statemesh_tests::mesh::Mesh;
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::{Outcome, ensure, figures, wait_for};
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "a planned leave under load loses nothing, repeats nothing and no client sees an error",
        leave_under_load,
    ),
    Scenario::new("a daemon that comes back under its name takes its share over again", comes_back),
    Scenario::new("a leaving daemon waits until its clients have taken the answers that they are owed", busy_client),
    Scenario::new("a second signal ends a leaving daemon at once", second_signal),
    Scenario::new("a leaving daemon that cannot pass a request on says that it is leaving", says_so),
    Scenario::new("the last daemon that is told to end does not wait for others", last_one),
];

const SOON: Duration = Duration::from_secs(5);

fn leave_under_load(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["a", "b", "c", "d"])?;
    let targets = [mesh.clients("a")?, mesh.clients("b")?, mesh.clients("c")?];
    let load = Background::start(three_loads(targets))?;
    load.go_on(600)?;
    let leaving = mesh.daemon_mut("d")?;
    leaving.signal(Signal::SIGTERM)?;
    let (status, took) = leaving.wait_end(Duration::from_secs(25))?;
    ensure!(status.code() == Some(0), "d ended with {status}");
    load.go_on(600)?;
    mesh.wait_view(&["a", "b", "c"], &["a", "b", "c"])?;
    let totals = load.stop_flawless(mesh.clients("a")?)?;
    for name in ["a", "b", "c"] {
        let members = mesh.caller(name)?.members()?;
        let said = members.iter().find(|member| member.name == "d").map(|member| member.status.as_str());
        ensure!(matches!(said, None | Some("left")), "{name} says that d is {said:?}, though it said goodbye");
    }
    figures::record(&scene.all, "leave_under_load_secs", json!(took.as_secs_f64()))?;
    figures::record(&scene.all, "leave_under_load_slowest_answer_ms", json!(totals.slowest.as_secs_f64() * 1e3))
}

fn comes_back(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["a", "b", "c"])?;
    let load = Background::start(three_loads([mesh.clients("a")?, mesh.clients("b")?, mesh.clients("a")?]))?;
    for _ in 0..2 {
        load.go_on(300)?;
        let leaving = mesh.daemon_mut("c")?;
        leaving.signal(Signal::SIGTERM)?;
        let (status, _) = leaving.wait_end(Duration::from_secs(25))?;
        ensure!(status.code() == Some(0), "c ended with {status}");
        mesh.start("c")?;
        mesh.wait_whole()?;
    }
    load.go_on(300)?;
    load.stop_flawless(mesh.clients("c")?)?;
    Ok(())
}

/// A client has sent much and does something else for a second, in which its daemon leaves.
fn busy_client(scene: &Scene) -> Outcome {
    const EVENTS: usize = 30_000;
    let mut mesh = Mesh::whole(scene, &["a", "b"])?;
    mesh.define_counter()?;
    let mut busy = mesh.caller("b")?;
    let keys: Vec<String> = (0..50).map(|n| format!("busy{n}")).collect();
    for (n, key) in keys.iter().cycle().take(EVENTS).enumerate() {
        let event = json!({"id": n, "op": "send", "machine": "counter", "key": key, "event": {"type": "ADD", "n": n}});
        busy.push_raw(event.to_string().as_bytes())?;
    }
    mesh.daemon("b")?.signal(Signal::SIGTERM)?;
    std::thread::sleep(Duration::from_secs(1));
    let (mut done, mut refused) = (0, 0);
    while let Ok(reply) = busy.receive(SOON) {
        match reply["ok"] == true {
            true => done += 1,
            false => refused += 1,
        }
    }
    let (status, took) = mesh.daemon_mut("b")?.wait_end(Duration::from_secs(25))?;
    ensure!(status.code() == Some(0) && took < SOON, "b ended with {status}, {took:?} after its client had read all");
    let mut caller = mesh.caller("a")?;
    let mut applied = 0;
    for key in &keys {
        let there = caller.ask(json!({"op": "get", "machine": "counter", "key": key}))?;
        applied += there["context"]["count"].as_u64().unwrap_or(0);
    }
    println!("{applied} events were applied, {done} answered, {refused} refused");
    ensure!(
        applied > 0 && applied == done,
        "{applied} events were applied, and {done} answers say so; {refused} were refused"
    );
    Ok(())
}

fn second_signal(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["a", "b"])?;
    // Whom b should hand its instances to does not move.
    mesh.daemon("a")?.signal(Signal::SIGSTOP)?;
    let leaving = mesh.daemon_mut("b")?;
    leaving.signal(Signal::SIGTERM)?;
    wait_for("b says that it ends", Duration::from_secs(5), || Ok(leaving.logged()?.contains("ending").then_some(())))?;
    leaving.signal(Signal::SIGTERM)?;
    let passed_over = || Ok(leaving.logged()?.contains("which counts once").then_some(()));
    wait_for("b takes two signals in one moment for one", Duration::from_secs(1), passed_over)?;
    // One that comes later than a second after the first is another wish.
    wait_for("b is told again", Duration::from_secs(3), || {
        leaving.signal(Signal::SIGTERM)?;
        Ok(leaving.logged()?.contains("told to end again").then_some(()))
    })?;
    let (status, took) = leaving.wait_end(Duration::from_secs(5))?;
    ensure!(status.code() == Some(130), "b ended with {status}, not with the code of an interrupted command");
    ensure!(took < Duration::from_secs(1), "b took {took:?}");
    mesh.daemon("a")?.signal(Signal::SIGCONT)
}

/// What b has for a stopped daemon is as much as it may be: the next request waits, and its time ends while b is leaving.
fn says_so(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::new(scene)?;
    for name in ["a", "b"] {
        mesh.add_host(name)?;
    }
    mesh.publish_all()?;
    for name in ["a", "b"] {
        let plan = mesh.plan(name)?.with("--limits-member-bytes 1MiB --limits-forward-timeout 300ms");
        mesh.start_with(name, &plan)?;
    }
    mesh.wait_whole()?;
    mesh.define_counter()?;
    let mut caller = mesh.caller("b")?;
    let mut keys = (0..200).map(|n| format!("k{n}"));
    let key = keys.find(|key| caller.owner("counter", key).is_ok_and(|owner| owner.as_deref() == Some("a")));
    let key = key.ok_or("a serves none of 200 keys")?;
    mesh.daemon("a")?.signal(Signal::SIGSTOP)?;
    mesh.daemon("b")?.signal(Signal::SIGTERM)?;
    let large = json!({"type": "NOTHING", "text": "x".repeat(600_000)});
    let event = json!({"op": "send", "machine": "counter", "key": key, "event": large});
    let text = event.to_string();
    // When the time of the first is over the second goes; the others' times end where they wait.
    for _ in 0..4 {
        caller.push_raw(text.as_bytes())?;
    }
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(caller.receive(SOON)?["error"]["code"].clone());
    }
    mesh.daemon("a")?.signal(Signal::SIGCONT)?;
    ensure!(codes.contains(&json!("leaving")), "b answered {codes:?}");
    Ok(())
}

fn last_one(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["a", "b"])?;
    for name in ["a", "b"] {
        let leaving = mesh.daemon_mut(name)?;
        leaving.signal(Signal::SIGTERM)?;
        let (status, took) = leaving.wait_end(Duration::from_secs(20))?;
        ensure!(status.code() == Some(0), "{name} ended with {status}");
        ensure!(took < Duration::from_secs(10), "{name} took {took:?} to leave");
    }
    Ok(())
}
