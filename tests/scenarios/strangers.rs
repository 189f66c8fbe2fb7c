//! Those who do not belong: records of others, namesakes, wrong keys, other meshes.

use serde_json::json;
use statemesh_tests::daemon::{Plan, other_service};
use statemesh_tests::dns::{GOSSIP_PORT, Record, SERVICE};
use statemesh_tests::http;
use statemesh_tests::load::{Background, Load};
use statemesh_tests::mesh::{Mesh, WHOLE, in_short};
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::{Outcome, ensure, wait_for};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("records that point at strangers harm nobody", stranger_records).beside(),
    Scenario::new("of two daemons with the same name the second ends and the first does not notice", same_name),
    Scenario::new("a daemon with a wrong gossip key stays outside", wrong_key).beside(),
    Scenario::new(
        "daemons of another mesh, or with another number of partitions, are kept out and told why",
        other_mesh,
    )
    .beside(),
    Scenario::new("gossip keys are rotated without anybody leaving", key_rotation).beside(),
];

fn stranger_records(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::new(scene)?;
    for name in ["a", "b", "c"] {
        mesh.add_host(name)?;
    }
    // A host where nothing listens, one with another service, and an address that no host has.
    let (silent, other) = (mesh.network.add(101)?, mesh.network.add(102)?);
    other_service(other)?;
    let stranger = |label: &str, address| Record { label: label.to_owned(), address, port: GOSSIP_PORT };
    let mut records = vec![
        stranger("silent", silent.address()),
        stranger("other", other.address()),
        stranger("absent", Ipv4Addr::new(10, 77, 9, 9)),
    ];
    records.extend(mesh.records());
    mesh.dns.publish(&records)?;
    for name in ["a", "b", "c"] {
        mesh.start(name)?;
    }
    mesh.wait_whole()?;
    mesh.define_counter()?;
    let load = Background::start(vec![Load::on(mesh.clients("a")?, "one"), Load::on(mesh.clients("c")?, "two")])?;
    load.go_on(2_000)?;
    for name in ["a", "b", "c"] {
        let seen = mesh.caller(name)?.members()?;
        ensure!(seen.len() == 3, "{name} takes strangers for members: {}", in_short(&seen));
    }
    load.stop_flawless(mesh.clients("b")?)?;
    mesh.all_run()
}

fn same_name(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["a", "b", "c"])?;
    let load = Background::start(vec![Load::on(mesh.clients("a")?, "one"), Load::on(mesh.clients("b")?, "two")])?;
    load.go_on(200)?;
    let plan = mesh.plan("a")?;
    let elsewhere = mesh.network.add(200)?;
    let plan = Plan { host: Some(elsewhere), log: Some("a-again".to_owned()), ..plan };
    let mut second = statemesh_tests::daemon::Daemon::start(scene, "a", &plan)?;
    let (status, took) = second.wait_end(WHOLE)?;
    println!("the second a ended after {took:?} with {status}");
    ensure!(
        status.code() == Some(4),
        "the second a ended with {status}, not with the code of a daemon that cannot start"
    );
    let said = second.logged()?;
    ensure!(
        said.contains("name") && said.contains(&mesh.daemon("a")?.address.to_string()),
        "it does not say who has the name: {said}"
    );
    load.go_on(200)?;
    for name in ["a", "b", "c"] {
        let members = mesh.caller(name)?.members()?;
        let first = members.iter().find(|member| member.name == "a").ok_or("a is gone")?;
        let there = first.is_there() && first.address.starts_with("10.77.0.1");
        ensure!(there && members.len() == 3, "{name} sees {}", in_short(&members));
    }
    load.stop_flawless(mesh.clients("c")?)?;
    mesh.all_run()
}

/// A gossip key: the same digit throughout.
fn key(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// Starts a, b and c under one gossip key.
fn keyed<'a>(scene: &'a Scene) -> Outcome<Mesh<'a>> {
    let mut mesh = Mesh::new(scene)?;
    for name in ["a", "b", "c"] {
        mesh.add_host(name)?;
    }
    mesh.publish_all()?;
    for name in ["a", "b", "c"] {
        let plan = mesh.plan(name)?.variable("STATEMESH_GOSSIP_KEYS", &key('a'));
        mesh.start_with(name, &plan)?;
    }
    mesh.wait_whole()?;
    mesh.define_counter()?;
    Ok(mesh)
}

/// How long d would wait before it takes itself for alone, if no other was named or refused it.
const ALONE_AFTER: &str = "--discovery-alone-after 200ms";

/// How d begins: it would be alone and ready at once, but for those who keep it out.
fn plan_of_d(mesh: &Mesh, key: &str) -> Outcome<Plan> {
    let plan = Plan::on(mesh.host("d")?).with(&format!("--discovery-service {SERVICE} {ALONE_AFTER}"));
    Ok(plan.variable("STATEMESH_GOSSIP_KEYS", key))
}

/// Waits until d says in its gauge, in a warning and to who asks whether it is ready that it is kept out, for this reason. Fails if it gets
/// in, or gets ready, before that or within a second.
fn stays_outside(mesh: &mut Mesh, load: &Background, reason: &str) -> Outcome {
    let refused = |mesh: &Mesh| -> Outcome<Option<()>> {
        let gauge = mesh.daemon("d")?.metrics()?.sum("statemesh_kept_out", &[r#"reason="refused""#]);
        Ok((gauge == Some(1.0)).then_some(()))
    };
    wait_for("d says in its gauge that it is kept out", Duration::from_secs(5), || {
        ensure!(!is_ready(mesh)?, "d says that it is ready");
        refused(mesh)
    })?;
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        load.go_on(50)?;
        for name in ["a", "b", "c"] {
            let seen = mesh.caller(name)?.members()?;
            ensure!(!seen.iter().any(|member| member.name == "d"), "{name} sees {}", in_short(&seen));
        }
        ensure!(!is_ready(mesh)?, "d says that it is ready");
    }
    ensure!(refused(mesh)?.is_some(), "its gauge says no longer that it is kept out");
    let daemon = mesh.daemon("d")?;
    let said = daemon.logged()?;
    let warned = said
        .lines()
        .any(|line| line.contains(r#""level":"warn""#) && line.contains("keeps us out") && line.contains(reason));
    ensure!(warned, "it does not warn that it is kept out since {reason}: {said}");
    let answer = http::get(daemon.http(), "/health/ready")?;
    ensure!(answer.status == 503 && answer.body.contains(reason), "d does not say why it is not ready: {answer:?}");
    Ok(())
}

/// Whether d says that it is. Before it listens it is certainly not.
fn is_ready(mesh: &Mesh) -> Outcome<bool> {
    Ok(http::get(mesh.daemon("d")?.http(), "/health/ready").is_ok_and(|answer| answer.status == 200))
}

fn wrong_key(scene: &Scene) -> Outcome {
    let mut mesh = keyed(scene)?;
    mesh.add_host("d")?;
    mesh.publish_all()?;
    let load = Background::start(vec![Load::on(mesh.clients("a")?, "one")])?;
    let plan = plan_of_d(&mesh, &key('b'))?;
    mesh.start_with("d", &plan)?;
    stays_outside(&mut mesh, &load, "its gossip keys are others than ours")?;
    wait_for("a counts what it could not read", Duration::from_secs(5), || {
        let dropped = mesh.daemon("a")?.metrics()?.sum("statemesh_gossip_dropped_total", &[r#"reason="wrong_key""#]);
        Ok(dropped.is_some_and(|dropped| dropped > 0.0).then_some(()))
    })?;
    load.stop_flawless(mesh.clients("b")?)?;
    mesh.all_run()
}

fn other_mesh(scene: &Scene) -> Outcome {
    let mut mesh = keyed(scene)?;
    mesh.add_host("d")?;
    mesh.publish_all()?;
    let load = Background::start(vec![Load::on(mesh.clients("a")?, "one")])?;
    for (log, arguments) in [("d-mesh", "--mesh another"), ("d-partitions", "--partitions 512")] {
        let plan = Plan { log: Some(log.to_owned()), ..plan_of_d(&mesh, &key('a'))?.with(arguments) };
        mesh.start_with("d", &plan)?;
        stays_outside(&mut mesh, &load, "it belongs to a mesh with another name or partition count")
            .map_err(|failure| format!("with {arguments}: {failure}"))?;
        mesh.daemons.remove("d");
    }
    load.stop_flawless(mesh.clients("b")?)?;
    mesh.all_run()
}

/// All daemons read the new key before any sends with it, and send with it before any forgets the old one.
fn key_rotation(scene: &Scene) -> Outcome {
    let mut mesh = keyed(scene)?;
    let instances: Vec<String> = (0..30).map(|n| format!("key-{n}")).collect();
    for instance in &instances {
        mesh.caller("a")?.send("counter", instance, json!({"type": "ADD", "n": 0}))?;
    }
    let (old, new) = (key('a'), key('b'));
    for ring in [format!("{old},{new}"), format!("{new},{old}"), new] {
        for name in ["a", "b", "c"] {
            let leaving = mesh.daemon_mut(name)?;
            leaving.signal(nix::sys::signal::Signal::SIGTERM)?;
            leaving.wait_end(WHOLE)?;
            let plan = mesh.plan(name)?.variable("STATEMESH_GOSSIP_KEYS", &ring);
            mesh.start_with(name, &plan)?;
            mesh.wait_whole()?;
        }
    }
    for instance in &instances {
        let reply = mesh.caller("b")?.send("counter", instance, json!({"type": "ADD", "n": 1}))?;
        ensure!(reply["seq"] == 2 && reply["restarted"].is_null(), "{instance} was answered with {reply}");
    }
    Ok(())
}
