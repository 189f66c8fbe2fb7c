//! Steady load by `statemesh bench`, in the cluster and outside, which sends again what has no answer, as an application with
//! `dedup` would, and counts what was lost or applied twice.

use crate::fixture::{Fixture, NAME, NAMESPACE, PATIENCE, SECRET};
use serde_json::{Value, json};
use statemesh_tests::cluster::output;
use statemesh_tests::{Outcome, ensure, wait_for};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// 200 events a second of one client, over connections to more than one daemon. It is ended by its step; the duration is for
/// steps that never come to that.
const BENCH: [&str; 5] = ["bench", "--rate=200", "--duration=15m", "--keys=50", "--connections=4"];

/// What one client saw.
#[derive(Clone, Debug)]
pub(crate) struct Seen(pub(crate) Value);

impl Seen {
    fn number(&self, name: &str) -> Outcome<f64> {
        self.0[name].as_f64().ok_or_else(|| format!("the bench says no {name}: {}", self.0).into())
    }

    pub(crate) fn micros(&self, percentile: &str) -> Outcome<f64> {
        self.0["latency_us"][percentile].as_f64().ok_or_else(|| format!("no {percentile} in {}", self.0).into())
    }

    /// No client error, no event lost or doubled, and it did send.
    pub(crate) fn clean(&self) -> Outcome {
        self.without(&["errors", "lost", "doubled"])
    }

    /// As [`Seen::clean`], but instances may have died with their daemon, which is said; nothing is applied twice.
    pub(crate) fn clean_but_for_losses(&self) -> Outcome {
        self.without(&["errors", "doubled"])
    }

    fn without(&self, faults: &[&str]) -> Outcome {
        ensure!(self.number("events")? > 100.0, "hardly any event got through: {}", self.0);
        for what in faults {
            ensure!(self.number(what)? == 0.0, "{what}: {}", self.0);
        }
        Ok(())
    }
}

/// A client in the cluster.
pub(crate) struct Inside<'a> {
    fixture: &'a Fixture,
    pod: String,
}

impl<'a> Inside<'a> {
    /// Starts one, on `node` or anywhere.
    pub(crate) fn start(fixture: &'a Fixture, address: &str, node: Option<&str>) -> Outcome<Self> {
        let pod = format!("load-{}", std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_millis());
        let mut manifest = client_pod(fixture, &pod, address, &BENCH);
        if let Some(node) = node {
            manifest["spec"]["nodeName"] = node.into();
        }
        // A bench ends at once where no daemon listens, and on a busy node a Service takes its time to know the daemons.
        let mut waits = manifest["spec"]["containers"][0].clone();
        waits["name"] = "wait".into();
        waits["args"] = json!(["--output=json", "ping", "--wait=60s"]);
        manifest["spec"]["initContainers"] = json!([waits]);
        fixture.cluster.apply(&manifest)?;
        let load = Self { fixture, pod };
        let running = || {
            let pod = fixture.cluster.get(&["pod", &load.pod])?;
            Ok((pod["status"]["phase"] == "Running").then_some(()))
        };
        wait_for("the load runs", PATIENCE, running)?;
        Ok(load)
    }

    /// Ends it. By its deadline: what a deleted pod has written goes with it, at a moment that cannot be chosen from outside.
    pub(crate) fn stop(self) -> Outcome<Seen> {
        let cluster = &self.fixture.cluster;
        cluster.kubectl(&["patch", "pod", &self.pod, "--patch", r#"{"spec":{"activeDeadlineSeconds":1}}"#])?;
        let text = cluster.kubectl(&["logs", "--follow", &self.pod])?;
        seen("inside", &text)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // When a step fails between start and stop.
        let _ = self.fixture.cluster.kubectl(&["delete", "pod", &self.pod, "--ignore-not-found", "--wait=false"]);
    }
}

/// A client outside the cluster.
struct Outside(Child);

/// So many connections miss one of three pods once in 130 times.
const CONNECTIONS: usize = 12;

impl Outside {
    fn start(fixture: &Fixture) -> Outcome<Self> {
        // A node's port is there a moment after the Service, and leads to a pod that is gone for a moment more: each of these is
        // a connection of its own, which any of the pods may get.
        wait_for("the mesh answers outside, whichever pod is asked", Duration::from_secs(60), || {
            (0..CONNECTIONS).try_for_each(|_| output(outside_command(fixture)?.arg("ping")).map(drop)).map(Some)
        })?;
        let mut command = outside_command(fixture)?;
        // A connection that a node still leads to a pod that is gone is given up after this time, and another one is tried: two
        // such attempts must not take most of the three seconds in which keys answer again.
        command.args(BENCH).env("STATEMESH_TIMEOUT", "1s");
        Ok(Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null()).spawn()?))
    }

    fn stop(mut self) -> Outcome<Seen> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let mut text = String::new();
        self.0.stdout.take().ok_or("no stdout")?.read_to_string(&mut text)?;
        let mut said = String::new();
        self.0.stderr.take().ok_or("no stderr")?.read_to_string(&mut said)?;
        self.0.wait()?;
        seen("outside", &text).map_err(|failure| format!("{failure} {said}").into())
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client in the cluster, through the Service, and one outside, through a node's port.
pub(crate) struct Bench<'a> {
    inside: Inside<'a>,
    outside: Outside,
}

impl<'a> Bench<'a> {
    /// Starts both, and lets them run for a while.
    pub(crate) fn start(fixture: &'a Fixture) -> Outcome<Self> {
        let inside = Inside::start(fixture, &format!("tcp://{NAME}.{NAMESPACE}.svc:7400"), None)?;
        let bench = Self { inside, outside: Outside::start(fixture)? };
        steady();
        Ok(bench)
    }

    /// Lets the load run for a while, ends both, and gives what they saw: inside, outside.
    pub(crate) fn stop(self) -> Outcome<[Seen; 2]> {
        steady();
        Ok([self.inside.stop()?, self.outside.stop()?])
    }
}

/// A while of load that is part of what is measured.
pub(crate) fn steady() {
    std::thread::sleep(Duration::from_secs(3));
}

fn seen(who: &str, text: &str) -> Outcome<Seen> {
    let start = text.find("{\n").ok_or_else(|| format!("the load {who} printed no result: {text}"))?;
    let result: Value = serde_json::from_str(&text[start..])?;
    println!("        {who} {result}");
    Ok(Seen(result))
}

/// The command line outside the cluster, with admin's keys, by the port of a node.
pub(crate) fn outside_command(fixture: &Fixture) -> Outcome<Command> {
    let (key, public) = fixture.keys()?;
    let service = fixture.cluster.get(&["service", NAME])?;
    let port = &service["spec"]["ports"][0]["nodePort"];
    let nodes = fixture.cluster.items(&["nodes"])?;
    let addresses = nodes.iter().filter_map(|node| node["status"]["addresses"].as_array());
    let internal = addresses.flatten().find(|address| address["type"] == "InternalIP");
    let address = internal.and_then(|address| address["address"].as_str()).ok_or("no node has an address")?;
    let mut command = Command::new(&fixture.binary);
    command.args(["--output=json"]).env("STATEMESH_KEY", key).env("STATEMESH_SERVER_KEY", public);
    command.env("STATEMESH_ADDRESS", format!("tcp://{address}:{port}")).env("STATEMESH_TIMEOUT", "2s");
    Ok(command)
}

/// The pod of a client in the cluster: it has admin's keys, and nothing that the strictest security refuses.
pub(crate) fn client_pod(fixture: &Fixture, pod: &str, address: &str, words: &[&str]) -> Value {
    let args: Vec<&str> = [&["--output=json"], words].concat();
    let secret = |entry: &str| json!({"secretKeyRef": {"name": SECRET, "key": entry}});
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "labels": {"app": "load"}},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false, "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 20,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "load", "image": fixture.image, "args": args,
                "env": [
                    {"name": "STATEMESH_ADDRESS", "value": address},
                    {"name": "STATEMESH_TIMEOUT", "value": "1s"},
                    {"name": "STATEMESH_KEY", "value": "/keys/admin.key"},
                    {"name": "STATEMESH_SERVER_KEY", "valueFrom": secret("daemon.pub")},
                ],
                "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "keys", "mountPath": "/keys", "readOnly": true}],
            }],
            "volumes": [{"name": "keys", "secret": {"secretName": SECRET, "defaultMode": 288, "items": [{"key": "admin.key", "path": "admin.key"}]}}],
        }
    })
}

/// The node that a pod is on.
pub(crate) fn node_of(pod: &Value) -> String {
    pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()
}
