//! What happens to a mesh: pods and containers that end without a word, a node without power, a cluster without its brain.
//! Machines live in memory: what a daemon held is lost with it, and said; its keys answer again soon.

use crate::bench::{Bench, Inside, Seen, node_of, steady};
use crate::fixture::{Fixture, NAME, NAMESPACE, PATIENCE, name};
use crate::{Ended, Step, step};
use statemesh_tests::caller::is_there;
use statemesh_tests::{Outcome, ensure, wait_for};
use std::time::{Duration, Instant};

pub(crate) const STEPS: &[Step] = &[
    step("a pod is deleted without grace: its keys answer again within three seconds", pod_deleted),
    step(
        "a container is killed: its keys answer again within three seconds, and it comes back under its name",
        container_killed,
    ),
    step("a node loses power: its keys answer again within three seconds", node_off),
    step("two minutes without the API server and DNS change nothing for daemons that know each other", no_brain),
];

/// How long a key may be without an owner, at default settings.
const AWAY: Duration = Duration::from_secs(3);
const SETTLED: Duration = Duration::from_secs(10);
/// The same, where the kubelet ends the old container up to two seconds after it began the new one, which asks for its name until then, for
/// ten seconds at most.
const SETTLED_AGAIN: Duration = Duration::from_secs(20);

/// The longest that any key waited for an answer, which counts from when its event was due.
fn away(fixture: &Fixture, what: &str, seen: &Seen) -> Outcome {
    seen.clean_but_for_losses()?;
    let secs = seen.micros("max")? / 1e6;
    fixture.figure(&format!("{what}/longest_wait_s"), secs)?;
    fixture.figure(&format!("{what}/lost_transitions"), seen.0["lost"].clone())?;
    ensure!(secs <= AWAY.as_secs_f64(), "{what}: a key waited {secs:.2} s");
    Ok(())
}

/// The same of both clients.
fn away_from_both(fixture: &Fixture, what: &str, [inside, outside]: &[Seen; 2]) -> Outcome {
    away(fixture, &format!("{what}/inside"), inside)?;
    away(fixture, &format!("{what}/outside"), outside)
}

fn pod_deleted(fixture: &Fixture) -> Outcome<Ended> {
    let bench = Bench::start(fixture)?;
    let victim = fixture.pods()?.last().map(name).ok_or("no pods")?;
    fixture.cluster.kubectl(&["delete", "pod", &victim, "--grace-period=0", "--force"])?;
    back(fixture, SETTLED_AGAIN)?;
    away_from_both(fixture, "pod_deleted", &bench.stop()?)?;
    Ok(Ended::Passed)
}

/// Waits until three daemons are ready and know each other again, for so long at most.
fn back(fixture: &Fixture, limit: Duration) -> Outcome {
    fixture.rolled_out()?;
    fixture.meshed(3, limit)?;
    Ok(())
}

/// The process of a container, where this machine's processes are the nodes'.
fn process_of(container: &str) -> Option<i32> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| {
        let read = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
        read("cgroup").contains(container) && read("comm").starts_with("statemesh")
    })
}

fn container_killed(fixture: &Fixture) -> Outcome<Ended> {
    let pods = fixture.pods()?;
    let victim = pods.first().ok_or("no pods")?;
    let id = victim["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default();
    let Some(pid) = id.rsplit('/').next().and_then(process_of) else {
        return Ok(Ended::LeftOut("the nodes' processes are not to be seen from here".to_owned()));
    };
    let bench = Bench::start(fixture)?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)?;
    let restarted = || {
        let pod = fixture.cluster.get(&["pod", &name(victim)])?;
        let status = &pod["status"]["containerStatuses"][0];
        Ok((status["restartCount"].as_u64() > Some(0) && status["ready"] == true).then_some(()))
    };
    wait_for("the container is started again", PATIENCE, restarted)?;
    back(fixture, SETTLED)?;
    away_from_both(fixture, "container_killed", &bench.stop()?)?;
    Ok(Ended::Passed)
}

fn node_off(fixture: &Fixture) -> Outcome<Ended> {
    if !fixture.cluster.is_ours() {
        return Ok(Ended::LeftOut("this cluster's nodes cannot be powered off from here".to_owned()));
    }
    // The load asks the daemon of its own node: what is measured is the mesh, not how soon a Service forgets a node. DNS is on
    // that node too, if a daemon is.
    let dns = fixture.cluster.namespace("kube-system").items(&["pods", "--selector=app=coredns"])?;
    let mut pods = fixture.pods()?;
    pods.sort_by_key(|pod| !dns.iter().any(|dns| node_of(dns) == node_of(pod)));
    let (Some(near), Some(far)) = (pods.first(), pods.last()) else { return Err("no pods".into()) };
    let victim = node_of(far);
    ensure!(node_of(near) != victim, "all daemons are on {victim}");
    let address = format!("tcp://{}:7400", near["status"]["podIP"].as_str().unwrap_or_default());
    let load = Inside::start(fixture, &address, Some(&node_of(near)))?;
    steady();
    let mut off = Off::new(fixture, victim.trim_start_matches("node"))?;
    std::thread::sleep(SETTLED);
    let seen = load.stop()?;
    off.end()?;
    wait_for("the node is back", PATIENCE, || Ok(back(fixture, SETTLED).ok()))?;
    away(fixture, "node_off", &seen)?;
    Ok(Ended::Passed)
}

/// A node without power. It has it again when this is dropped, as when a step fails: the next ones need it.
struct Off<'a> {
    fixture: &'a Fixture,
    number: Option<String>,
}

impl<'a> Off<'a> {
    fn new(fixture: &'a Fixture, number: &str) -> Outcome<Self> {
        // Made before the command, which may fail halfway.
        let off = Self { fixture, number: Some(number.to_owned()) };
        fixture.cluster.command("node", &["stop", number])?;
        Ok(off)
    }

    /// Gives it power again, once.
    fn end(&mut self) -> Outcome {
        let Some(number) = self.number.take() else { return Ok(()) };
        self.fixture.cluster.command("node", &["start", &number]).map(drop)
    }
}

impl Drop for Off<'_> {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// How long the cluster is without its brain.
const OUTAGE: Duration = Duration::from_secs(120);

fn no_brain(fixture: &Fixture) -> Outcome<Ended> {
    let Some(run) = fixture.cluster.kubeconfig().parent().filter(|_| fixture.cluster.is_ours()) else {
        return Ok(Ended::LeftOut("this cluster's API server cannot be stopped from here".to_owned()));
    };
    let pid: i32 = std::fs::read_to_string(run.join("apiserver.pid"))?.trim().parse()?;
    let system = fixture.cluster.namespace("kube-system");
    let bench = Bench::start(fixture)?;
    let before = views(fixture)?;
    system.kubectl(&["scale", "deployment/coredns", "--replicas=0"])?;
    system.kubectl(&["delete", "pods", "--selector=app=coredns", "--grace-period=1"])?;
    system.gone(&["pods", "--selector=app=coredns"], PATIENCE)?;
    let start = Instant::now();
    let stopped = Stopped::new(pid)?;
    std::thread::sleep(OUTAGE);
    let asked = fixture.cluster.kubectl(&["get", "--raw", "/readyz", "--request-timeout=2s"]);
    ensure!(asked.is_err(), "the API server was there all the time");
    drop(stopped);
    let scale = ["scale", "deployment/coredns", "--replicas=1"];
    wait_for("the API server is back", PATIENCE, || system.kubectl(&scale).map(Some))?;
    // The load proves its history over new connections, for which it needs DNS.
    let by_name = format!("--address=tcp://{NAME}.{NAMESPACE}.svc:7400");
    for pod in fixture.pods()? {
        wait_for("DNS is back", PATIENCE, || fixture.ask(&name(&pod), &["ping", &by_name]).map(Some))?;
    }
    for seen in bench.stop()? {
        seen.clean()?;
    }
    fixture.figure("without_api_server_s", start.elapsed().as_secs_f64())?;
    let after = views(fixture)?;
    ensure!(before == after, "members changed from {before:?} to {after:?}");
    Ok(Ended::Passed)
}

/// A process that is stopped, and goes on when this is dropped.
struct Stopped(nix::unistd::Pid);

impl Stopped {
    fn new(pid: i32) -> Outcome<Self> {
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(self.0, nix::sys::signal::Signal::SIGCONT);
    }
}

/// Each member's name and incarnation, as each daemon has it; all are there, though at any moment one may be suspected.
fn views(fixture: &Fixture) -> Outcome<Vec<Vec<String>>> {
    let pods = fixture.pods()?;
    let view = |pod: &serde_json::Value| -> Outcome<Vec<String>> {
        let members = fixture.ask(&name(pod), &["members"])?;
        let all = members.as_array().into_iter().flatten();
        let there = all.clone().all(|member| member["status"].as_str().is_some_and(is_there));
        ensure!(there, "{} sees {members}", name(pod));
        Ok(all.map(|member| format!("{} {}", member["name"], member["incarnation"])).collect())
    };
    pods.iter().map(view).collect()
}
