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
    Scenario::new("a second signal ends a leaving daemon at once", second_signal),
    Scenario::new("the last daemon that is told to end does not wait for others", last_one),
];

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

fn second_signal(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["a", "b"])?;
    // Whom b should hand its instances to does not move.
    mesh.daemon("a")?.signal(Signal::SIGSTOP)?;
    let leaving = mesh.daemon_mut("b")?;
    leaving.signal(Signal::SIGTERM)?;
    wait_for("b says that it ends", Duration::from_secs(5), || Ok(leaving.logged()?.contains("ending").then_some(())))?;
    leaving.signal(Signal::SIGTERM)?;
    let (status, took) = leaving.wait_end(Duration::from_secs(5))?;
    ensure!(status.code() == Some(130), "b ended with {status}, not with the code of an interrupted command");
    ensure!(took < Duration::from_secs(1), "b took {took:?}");
    mesh.daemon("a")?.signal(Signal::SIGCONT)
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
