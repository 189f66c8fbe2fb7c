//! Daemons that come: at once, one by one, under load, on ports of their own.

use serde_json::json;
use statemesh_tests::caller::Encoding;
use statemesh_tests::daemon::Plan;
use statemesh_tests::dns::{Record, SERVICE};
use statemesh_tests::load::{Background, Load, Through};
use statemesh_tests::mesh::{Mesh, WHOLE};
use statemesh_tests::network::HUB;
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::{Outcome, ensure, figures};
use std::net::SocketAddr;
use std::time::Instant;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("three daemons started at once find each other and share the keys", at_once),
    Scenario::new("daemons started one after another take over shares of what is there", one_by_one),
    Scenario::new("a fourth daemon joins under load and no client sees an error", fourth_under_load),
    Scenario::new("a daemon whose gossip has another port is found by its SRV record", another_port),
];

/// One client on each of these daemons: one for each encoding, and one through another implementation of ZMTP.
pub(crate) fn three_loads(targets: [SocketAddr; 3]) -> Vec<Load> {
    let [a, b, c] = targets;
    let packed = Load { encoding: Encoding::MsgPack, ..Load::on(b, "packed") };
    let foreign = Load { through: Through::ZeroMq, ..Load::on(c, "foreign") };
    vec![Load::on(a, "json"), packed, foreign]
}

fn at_once(scene: &Scene) -> Outcome {
    let start = Instant::now();
    let mesh = Mesh::whole(scene, &["a", "b", "c"])?;
    figures::record(&scene.all, "three_at_once_whole_secs", json!(start.elapsed().as_secs_f64()))?;
    // Every daemon answers for every key, and all name the same owner.
    let mut owners = std::collections::BTreeSet::new();
    for n in 0..30 {
        let key = format!("key-{n}");
        let mut named = Vec::new();
        for (turn, name) in ["a", "b", "c"].into_iter().enumerate() {
            let mut caller = mesh.caller(name)?;
            named.push(caller.owner("counter", &key)?);
            let reply = caller.send("counter", &key, json!({"type": "ADD", "n": turn}))?;
            ensure!(reply["seq"] == turn + 1, "event {turn} of {key} through {name} was answered with {reply}");
        }
        ensure!(named.windows(2).all(|pair| pair[0] == pair[1]), "{key} is owned by {named:?}");
        owners.extend(named.into_iter().flatten());
    }
    ensure!(owners.len() == 3, "30 keys are owned by {owners:?} only");
    Ok(())
}

/// What the daemons' metrics say of hand-offs.
fn moves(mesh: &Mesh) -> Outcome<String> {
    let mut said = String::new();
    for (name, daemon) in &mesh.daemons {
        let text = daemon.metrics()?.text;
        let lines = text.lines().filter(|line| line.starts_with("statemesh_handoff"));
        said += &format!("\n{name}: {}", lines.collect::<Vec<_>>().join(", "));
    }
    Ok(said)
}

fn one_by_one(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::new(scene)?;
    for name in ["a", "b", "c"] {
        mesh.add_host(name)?;
    }
    // The first is told to be content alone after a second, and finds nothing but its own record.
    let records = mesh.records();
    mesh.dns.publish(records.get(..1).unwrap_or_default())?;
    let plan = Plan::on(mesh.host("a")?).with(&format!("--discovery-service {SERVICE} --discovery-alone-after 1s"));
    mesh.start_with("a", &plan)?;
    mesh.wait_whole()?;
    mesh.define_counter()?;
    let mut caller = mesh.caller("a")?;
    for n in 0..100 {
        caller.send("counter", &format!("key-{n}"), json!({"type": "ADD", "n": 0}))?;
    }
    for (count, name) in [(2, "b"), (3, "c")] {
        mesh.dns.publish(records.get(..count).unwrap_or_default())?;
        mesh.start(name)?;
        // Not until the mesh is whole: while partitions move is when their instances could be lost.
        mesh.wait_formed()?;
        let mut newcomer = mesh.caller(name)?;
        for n in 0..100 {
            let key = format!("key-{n}");
            let reply = newcomer.send("counter", &key, json!({"type": "ADD", "n": count}))?;
            ensure!(reply["seq"] == count, "{key} through {name} was answered with {reply}; {}", moves(&mesh)?);
            ensure!(reply["restarted"].is_null(), "{key} was lost when {name} came: {reply}");
        }
    }
    mesh.wait_whole()?;
    let moved = mesh.daemon("c")?.metrics()?.sum("statemesh_handoff_instances_total", &[]);
    ensure!(moved.is_some_and(|moved| moved > 0.0), "c took over {moved:?} instances");
    Ok(())
}

fn fourth_under_load(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["a", "b", "c"])?;
    let targets = [mesh.clients("a")?, mesh.clients("b")?, mesh.clients("c")?];
    let load = Background::start(three_loads(targets))?;
    load.go_on(600)?;
    mesh.add_host("d")?;
    mesh.publish_all()?;
    mesh.start("d")?;
    mesh.wait_whole()?;
    load.go_on(600)?;
    let totals = load.stop_flawless(mesh.clients("d")?)?;
    let moved = mesh.daemon("d")?.metrics()?.sum("statemesh_handoff_instances_total", &[]);
    ensure!(moved.is_some_and(|moved| moved > 0.0), "d took over {moved:?} instances");
    figures::record(&scene.all, "join_under_load_slowest_answer_ms", json!(totals.slowest.as_secs_f64() * 1e3))?;
    mesh.all_run()
}

fn another_port(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::new(scene)?;
    for name in ["a", "b"] {
        mesh.add_host(name)?;
    }
    let moved = |record: Record| Record { port: if record.label == "b" { 7503 } else { record.port }, ..record };
    let records: Vec<Record> = mesh.records().into_iter().map(moved).collect();
    mesh.dns.publish(&records)?;
    mesh.start("a")?;
    // b asks the DNS server that its flag names, not the system's.
    let plan = mesh.plan("b")?.with(&format!("--listen-gossip 7503 --discovery-dns-server {HUB}:53"));
    mesh.start_with("b", &plan)?;
    mesh.wait_whole()?;
    ensure!(mesh.daemon_mut("b")?.wait_ready(WHOLE).is_ok(), "{SERVICE} has b, but it is not ready");
    Ok(())
}
