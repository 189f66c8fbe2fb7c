//! The life of the cluster's pods as instances of a machine: examples/pod-lifecycle on real input.

use crate::bench::{client_pod, outside_command};
use crate::fixture::{Fixture, NAMESPACE};
use crate::{Ended, Step, step};
use serde_json::{Value, json};
use statemesh_tests::cluster::output;
use statemesh_tests::{Outcome, ensure, wait_for};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) const STEPS: &[Step] =
    &[step("statemesh feed kubernetes: every instance of the machine pod says what the API server says", pods)];

/// The third restart comes half a minute after the first; nodes are busy.
const CRASHES: Duration = Duration::from_secs(120);
const SETTLED: Duration = Duration::from_secs(20);

/// A verb that goes on until it is ended.
struct Running(Child);

impl Running {
    fn start(fixture: &Fixture, words: &[&str], log: &str) -> Outcome<Self> {
        let mut command = statemesh(fixture, words)?;
        let log = std::fs::File::create(fixture.folder.join(log))?;
        Ok(Self(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn statemesh(fixture: &Fixture, words: &[&str]) -> Outcome<Command> {
    let mut command = outside_command(fixture)?;
    command.env("KUBECONFIG", fixture.cluster.kubeconfig()).args(words);
    Ok(command)
}

/// Pods that end in every way that a test can bring about.
fn lives(fixture: &Fixture) -> Outcome {
    let pod = |name: &str, words: &[&str]| client_pod(fixture, name, "tcp://127.0.0.1:1", words);
    let mut crashing = pod("life-crashing", &["ping", "--no-such-flag"]);
    crashing["spec"]["restartPolicy"] = "Always".into();
    let mut nowhere = pod("life-nowhere", &["ping"]);
    nowhere["spec"]["nodeSelector"] = json!({"statemesh.test/there-is": "none"});
    let mut stuck = pod("life-stuck", &["ping"]);
    stuck["spec"]["containers"][0]["image"] = "localhost/there-is-none:1".into();
    stuck["spec"]["containers"][0]["imagePullPolicy"] = "Never".into();
    let done = pod("life-done", &["check", "--help"]);
    let failed = pod("life-failed", &["ping"]);
    let deleted = pod("life-deleted", &["bench", "--duration=1h"]);
    for manifest in [crashing, nowhere, stuck, done, failed, deleted] {
        fixture.cluster.apply(&manifest)?;
    }
    Ok(())
}

fn pods(fixture: &Fixture) -> Outcome<Ended> {
    let _feed = Running::start(fixture, &["feed", "kubernetes", "--all-namespaces"], "feed.log")?;
    wait_for("the feed has told of the daemons", SETTLED, || Ok(instance(fixture, "mesh-statemesh-0").ok()))?;
    let watch = Running::start(fixture, &["watch", "pod"], "watch.log")?;
    lives(fixture)?;
    for (name, expected) in [
        ("life-done", "succeeded"),
        ("life-failed", "failed"),
        ("life-nowhere", "unscheduled"),
        ("life-stuck", "stuck"),
        ("life-crashing", "crashLooping"),
    ] {
        becomes(fixture, name, expected)?;
    }
    fixture.cluster.kubectl(&["delete", "pod", "life-deleted", "--grace-period=1"])?;
    becomes(fixture, "life-deleted", "gone")?;
    wait_for("every instance says what the API server says", SETTLED, || agree(fixture).map(Some))?;
    // Something in the cluster may have changed in between.
    let (check, _) = wait_for("--check finds no difference", SETTLED, || {
        output(&mut statemesh(fixture, &["feed", "kubernetes", "--all-namespaces", "--check"])?).map(Some)
    })?;
    let checked: Value = serde_json::from_str(&check)?;
    ensure!(checked["pods"].as_u64() >= Some(8), "hardly any pod was compared: {check}");
    drop(watch);
    let seen = std::fs::read_to_string(fixture.folder.join("watch.log"))?;
    ensure!(seen.contains("life-crashing") && seen.contains("crashLooping"), "watch did not show it: {seen}");
    let all = ["crashing", "nowhere", "stuck", "done", "failed"].map(|name| format!("life-{name}"));
    let delete = [&["delete", "pod", "--grace-period=1"][..], &all.each_ref().map(String::as_str)].concat();
    fixture.cluster.kubectl(&delete)?;
    wait_for("the feed has told that they are gone", SETTLED, || agree(fixture).map(Some))?;
    becomes(fixture, "life-crashing", "gone")?;
    Ok(Ended::Passed)
}

/// An instance of a pod in the namespace.
fn instance(fixture: &Fixture, pod: &str) -> Outcome<Value> {
    get(fixture, NAMESPACE, pod)
}

fn get(fixture: &Fixture, namespace: &str, pod: &str) -> Outcome<Value> {
    let text = output(&mut statemesh(fixture, &["get", &format!("pod/{namespace}/{pod}")])?)?;
    Ok(serde_json::from_str(&text)?)
}

/// Waits until a pod's instance is in a state of this name, at whatever depth.
fn becomes(fixture: &Fixture, pod: &str, state: &str) -> Outcome {
    let quoted = format!("{state:?}");
    let mut last = Value::Null;
    let waited = wait_for(&format!("{pod} is {state}"), CRASHES, || {
        last = instance(fixture, pod)?;
        Ok(last["value"].to_string().contains(&quoted).then_some(()))
    });
    waited.map(drop).map_err(|failure| format!("{failure}: {last}").into())
}

/// Compares each pod's phase, restarts and node with its instance, by kubectl: what `--check` does, without its code.
fn agree(fixture: &Fixture) -> Outcome {
    let all = fixture.cluster.items(&["pods", "--all-namespaces"])?;
    for pod in &all {
        let [namespace, name] = ["namespace", "name"].map(|what| pod["metadata"][what].as_str().unwrap_or_default());
        let context = get(fixture, namespace, name)?["context"].clone();
        let restarts: i64 = pod["status"]["containerStatuses"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|container| container["restartCount"].as_i64())
            .sum();
        let says = |what: &str, api: &Value| -> Outcome {
            ensure!(context[what] == *api, "{namespace}/{name}: {what} is {}, not {api}", context[what]);
            Ok(())
        };
        says("phase", &pod["status"]["phase"])?;
        says("restarts", &restarts.into())?;
        says("uid", &pod["metadata"]["uid"])?;
        if pod["spec"]["nodeName"].is_string() {
            says("node", &pod["spec"]["nodeName"])?;
        }
    }
    ensure!(all.len() >= 4, "there are hardly any pods");
    Ok(())
}
