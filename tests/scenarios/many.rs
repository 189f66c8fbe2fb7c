//! Many daemons on one machine: how long until all see all, and what idling costs each.

use serde_json::json;
use statemesh_tests::daemon::Daemon;
use statemesh_tests::mesh::Mesh;
use statemesh_tests::network::Network;
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::{Outcome, ensure, figures, wait_for};
use std::time::{Duration, Instant};

pub(crate) const SCENARIOS: &[Scenario] =
    &[Scenario::new("fifty daemons on one machine see each other, and idling costs little", fifty)
        .within_secs(120)
        .alone()];

const DAEMONS: usize = 50;
/// How long idling is measured.
const IDLE: Duration = Duration::from_secs(20);
/// After the last change, before idling begins: news are still sent around.
const SETTLE: Duration = Duration::from_secs(5);
/// A sanity bound, not a promise: all daemons together leave something of this machine's cores.
const CPU_PERCENT_EACH: f64 = 3.0;
/// What the issue promises an idle daemon.
const RESIDENT_BYTES: u64 = 30_000_000;

fn fifty(scene: &Scene) -> Outcome {
    let names: Vec<String> = (1..=DAEMONS).map(|n| format!("n{n:02}")).collect();
    let mut mesh = Mesh::upon(scene, Network::routed()?)?;
    for name in &names {
        mesh.add_host(name)?;
    }
    mesh.publish_all()?;
    let start = Instant::now();
    for name in &names {
        mesh.start(name)?;
    }
    let launched = start.elapsed();
    let from_the_last = until_whole(&mesh)?;
    figures::record(
        &scene.all,
        "fifty_daemons",
        json!({"launching_secs": launched.as_secs_f64(), "full_view_after_the_last_secs": from_the_last.as_secs_f64()}),
    )?;
    std::thread::sleep(SETTLE);
    let deaths_before = deaths(&mesh)?;
    let (cpu, resident) = idle_cost(&mesh)?;
    mesh.all_run()?;
    let (cpu_median, cpu_worst) = middle_and_last(cpu);
    let (resident_median, resident_worst) = middle_and_last(resident);
    figures::record(
        &scene.all,
        "idle_in_a_mesh_of_fifty",
        json!({"cpu_percent_median": cpu_median, "cpu_percent_worst": cpu_worst,
               "resident_bytes_median": resident_median, "resident_bytes_worst": resident_worst}),
    )?;
    // While fifty processes start on two cores one may well be silent for too long; while they idle none is.
    let died = deaths(&mesh)? - deaths_before;
    ensure!(died < 0.5, "{died} members were declared dead while nothing happened");
    ensure!(cpu_median < CPU_PERCENT_EACH, "an idle daemon uses {cpu_median} % of a core");
    ensure!(resident_worst < RESIDENT_BYTES, "an idle daemon has {resident_worst} bytes resident");
    Ok(())
}

/// Members declared dead so far, by all daemons together.
fn deaths(mesh: &Mesh) -> Outcome<f64> {
    let counts = mesh.daemons.values().map(|daemon| Ok(daemon.metrics()?.sum("statemesh_member_deaths_total", &[])));
    Ok(counts.collect::<Outcome<Vec<_>>>()?.into_iter().flatten().sum())
}

/// What a daemon's metrics say of its gossip.
fn gossip(daemon: &Daemon) -> Outcome<String> {
    let text = daemon.metrics()?.text;
    let told = |line: &&str| {
        let parts = [
            "statemesh_gossip_",
            "statemesh_member",
            "statemesh_pauses",
            "statemesh_handoffs_",
            "statemesh_peer_links",
        ];
        parts.iter().any(|part| line.starts_with(part)) && !line.ends_with(" 0")
    };
    Ok(text.lines().filter(told).collect::<Vec<_>>().join(", "))
}

/// Every daemon says in its metrics that all are alive.
fn until_whole(mesh: &Mesh) -> Outcome<Duration> {
    let start = Instant::now();
    for daemon in mesh.daemons.values() {
        wait_for(&format!("{} sees all alive", daemon.name), Duration::from_secs(60), || {
            let alive = daemon.metrics()?.sum("statemesh_members", &["status=\"alive\""]);
            if alive == Some(DAEMONS as f64) {
                Ok(Some(()))
            } else {
                Err(format!("it sees {alive:?}; {}", gossip(daemon)?).into())
            }
        })?;
    }
    Ok(start.elapsed())
}

/// Percent of a core, and resident bytes, of each daemon while nothing happens.
fn idle_cost(mesh: &Mesh) -> Outcome<(Vec<f64>, Vec<u64>)> {
    let usages = || mesh.daemons.values().map(|daemon| daemon.usage()).collect::<Outcome<Vec<_>>>();
    let (before, start) = (usages()?, Instant::now());
    std::thread::sleep(IDLE);
    let (after, took) = (usages()?, start.elapsed());
    let percent = |(before, after): (&statemesh_tests::process::Usage, &statemesh_tests::process::Usage)| {
        (after.cpu - before.cpu).as_secs_f64() / took.as_secs_f64() * 100.0
    };
    let cpu = before.iter().zip(&after).map(percent).collect();
    Ok((cpu, after.iter().map(|usage| usage.resident_bytes).collect()))
}

fn middle_and_last<T: Copy + PartialOrd + Default>(mut values: Vec<T>) -> (T, T) {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let middle = values.get(values.len() / 2).copied().unwrap_or_default();
    (middle, values.last().copied().unwrap_or_default())
}
