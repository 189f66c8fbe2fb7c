//! Daemons that die.

use crate::joining::three_loads;
use serde_json::json;
use statemesh_tests::load::Background;
use statemesh_tests::mesh::{Mesh, WHOLE};
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::watch::Watcher;
use statemesh_tests::{Outcome, ensure, figures, wait_for};
use std::time::{Duration, Instant};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "after kill -9 of their owner keys answer again within 2 s and say that they were restarted",
        kill_the_owner,
    ),
    Scenario::new(
        "of five daemons under load one is killed while another joins, and what was answered is there or said to be lost",
        killed_while_one_joins,
    ),
    Scenario::new("keys of a host that vanishes without a word answer again, and it finds its way back", host_vanishes),
];

/// What the issue promises, at default settings.
const PROMISED: Duration = Duration::from_secs(2);
const KEYS: usize = 20;

/// Sends an event to `key` until it is acknowledged; gives the reply and the error codes before it.
fn insist(mesh: &Mesh, through: &str, key: &str, limit: Duration) -> Outcome<(serde_json::Value, Vec<String>)> {
    let mut caller = mesh.caller(through)?;
    let mut refusals = Vec::new();
    let event = json!({"type": "ADD", "n": 99});
    let request =
        json!({"op": "send", "machine": "counter", "key": key, "event": event, "dedup": format!("insist-{key}")});
    let (reply, _) = wait_for(&format!("{key} answers"), limit, || {
        let reply = caller.ask(request.clone())?;
        if reply["ok"] == true {
            return Ok(Some(reply));
        }
        refusals.push(reply["error"]["code"].as_str().unwrap_or("none").to_owned());
        Err(reply.to_string().into())
    })?;
    Ok((reply, refusals))
}

fn kill_the_owner(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["a", "b", "c"])?;
    let (doomed, safe) = (mesh.keys_of("c", "a", KEYS)?, mesh.keys_of("b", "a", KEYS)?);
    let mut caller = mesh.caller("a")?;
    for key in doomed.iter().chain(&safe) {
        for n in 0..3 {
            caller.send("counter", key, json!({"type": "ADD", "n": n}))?;
        }
    }
    let watcher = Watcher::start(&[mesh.daemon("a")?.changes(), mesh.daemon("b")?.changes()], "counter/")?;
    wait_for_subscription(&mesh, &watcher)?;
    mesh.daemon_mut("c")?.kill()?;
    let killed = Instant::now();
    for (turn, key) in doomed.iter().enumerate() {
        let through = if turn % 2 == 0 { "a" } else { "b" };
        let (reply, refusals) = insist(&mesh, through, key, Duration::from_secs(10))?;
        ensure!(
            reply["seq"] == 1 && reply["restarted"] == true,
            "{key}: its first answer is {reply} (after {refusals:?})"
        );
    }
    let took = killed.elapsed();
    figures::record(&scene.all, "kill_9_all_keys_answer_secs", json!(took.as_secs_f64()))?;
    ensure!(took <= PROMISED, "the keys answered again only after {took:?}");
    for key in &doomed {
        watcher.wait(&format!("counter/{key}"), "lost", Duration::from_secs(5))?;
        let second = caller.send("counter", key, json!({"type": "ADD", "n": 100}))?;
        ensure!(second["restarted"].is_null() && second["seq"] == 2, "{key}: its second answer is {second}");
    }
    for key in &safe {
        let reply = caller.send("counter", key, json!({"type": "ADD", "n": 3}))?;
        ensure!(reply["seq"] == 4 && reply["restarted"].is_null(), "{key}, which c did not own: {reply}");
    }
    let mut lost = 0.0;
    for name in ["a", "b"] {
        lost += mesh.daemon(name)?.metrics()?.sum("statemesh_instances_lost_total", &[]).unwrap_or(0.0);
    }
    ensure!((lost - KEYS as f64).abs() < 0.5, "{KEYS} instances were lost, but the metrics say {lost}");
    Ok(())
}

/// A subscription takes effect some time after it was sent; a change that arrives says that it has.
fn wait_for_subscription(mesh: &Mesh, watcher: &Watcher) -> Outcome {
    for owner in ["a", "b"] {
        // One beyond those that the scenario uses.
        let key = mesh.keys_of(owner, "a", KEYS + 1)?.pop().ok_or("no key")?;
        let mut caller = mesh.caller("a")?;
        let topic = format!("counter/{key}");
        wait_for("a change arrives", Duration::from_secs(5), || {
            caller.send("counter", &key, json!({"type": "ADD", "n": 0}))?;
            Ok(watcher.changes()?.iter().any(|(of, _)| *of == topic).then_some(()))
        })?;
    }
    Ok(())
}

fn killed_while_one_joins(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["a", "b", "c", "d", "e"])?;
    let targets = [mesh.clients("a")?, mesh.clients("b")?, mesh.clients("c")?];
    let load = Background::start(three_loads(targets))?;
    load.go_on(600)?;
    mesh.add_host("f")?;
    mesh.publish_all()?;
    mesh.start("f")?;
    // Its first partitions are on their way.
    wait_for("f takes something over", WHOLE, || {
        let moved = mesh.daemon("f")?.metrics()?.sum("statemesh_handoff_instances_total", &[]);
        Ok(moved.is_some_and(|moved| moved > 0.0).then_some(()))
    })?;
    mesh.daemon_mut("e")?.kill()?;
    mesh.daemons.remove("e");
    // Each of their sixty keys is written again, and says what is lost of it.
    load.go_on(600)?;
    mesh.wait_whole()?;
    load.go_on(600)?;
    let (totals, lost) = load.stop_with_losses(mesh.clients("f")?)?;
    println!("said to be lost: {lost:?}; refused: {:?}", totals.refused);
    ensure!(!lost.is_empty(), "e had none of sixty keys");
    let mut counted = 0.0;
    for daemon in mesh.daemons.values() {
        counted += daemon.metrics()?.sum("statemesh_instances_lost_total", &[]).unwrap_or(0.0);
    }
    ensure!((counted - lost.len() as f64).abs() < 0.5, "{} were said to be lost, and {counted} counted", lost.len());
    figures::record(&scene.all, "kill_while_one_joins_slowest_answer_ms", json!(totals.slowest.as_secs_f64() * 1e3))?;
    mesh.all_run()
}

/// Unlike after kill -9, no connection is reset: only gossip can tell.
fn host_vanishes(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["a", "b", "c"])?;
    let doomed = mesh.keys_of("c", "a", KEYS)?;
    let mut caller = mesh.caller("a")?;
    for key in &doomed {
        caller.send("counter", key, json!({"type": "ADD", "n": 0}))?;
    }
    mesh.network.cut_off(&[mesh.host("c")?])?;
    let start = Instant::now();
    for key in &doomed {
        let (reply, _) = insist(&mesh, "a", key, Duration::from_secs(15))?;
        ensure!(reply["restarted"] == true, "{key}: its first answer is {reply}");
    }
    figures::record(&scene.all, "vanished_host_all_keys_answer_secs", json!(start.elapsed().as_secs_f64()))?;
    mesh.daemon_mut("c")?.kill()?;
    mesh.network.reconnect(&[mesh.host("c")?])?;
    mesh.start("c")?;
    mesh.wait_whole()?;
    for key in &doomed {
        let instance = mesh.caller("c")?.ok(json!({"op": "get", "machine": "counter", "key": key}))?;
        ensure!(instance["seq"] == 1, "{key} came back as {instance}");
    }
    Ok(())
}
