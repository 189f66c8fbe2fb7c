//! Install in both modes, what is said when something is wrong, uninstall.

use crate::fixture::{Fixture, NAME, NAMESPACE, PATIENCE, RELEASE, SECRET, ask, meshed, name, pods};
use crate::{Ended, Step, step};
use serde_json::Value;
use statemesh_tests::cluster::Cluster;
use statemesh_tests::{Outcome, ensure, wait_for};
use std::time::Duration;

/// From the last pod that runs until all are members.
const MESHED: Duration = Duration::from_secs(5);

pub(crate) const STEPS: &[Step] = &[
    step(
        "helm install gives three daemons that know each other within five seconds, as strict as Kubernetes can be",
        install,
    ),
    step("helm test passes", helm_test),
    step("pods have no token of the API server, and cannot write to their own image", confined),
    step("a Secret that is missing, a value that is impossible and a key that is wrong are said in words", wrong),
];

pub(crate) const LAST: &[Step] = &[
    step("a DaemonSet has a daemon on every node, and clients reach their own node's", daemonset),
    step("uninstall leaves nothing but volumes", uninstall),
];

fn install(fixture: &Fixture) -> Outcome<Ended> {
    fixture.helm(&fixture.cluster, "install", RELEASE, &[])?;
    let took = fixture.meshed(3, MESHED)?;
    fixture.figure("members_after_last_pod_ran_s", took.as_secs_f64())?;
    fixture.rolled_out()?;
    for pod in fixture.pods()? {
        let secs = seconds_to_join(fixture, &name(&pod))?;
        fixture.figure(&format!("joined_after_start_s/{}", name(&pod)), secs)?;
    }
    let secret = fixture.cluster.get(&["secret", SECRET])?;
    for entry in ["daemon.key", "daemon.pub", "clients.toml", "admin.key", "gossip.keys", "http.token"] {
        ensure!(secret["data"][entry].is_string(), "the hook's Secret has no {entry}");
    }
    for kind in ["jobs", "rolebindings", "roles"] {
        ensure!(fixture.cluster.items(&[kind])?.is_empty(), "the hook left {kind} behind");
    }
    Ok(Ended::Passed)
}

/// By the daemon's own log: from its first line until it has joined.
pub(crate) fn seconds_to_join(fixture: &Fixture, pod: &str) -> Outcome<f64> {
    let log = fixture.cluster.kubectl(&["logs", pod])?;
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let at =
        |message: &str| lines.iter().find(|line| line["message"] == message).and_then(|line| line["time"].as_str());
    let (Some(first), Some(joined)) = (at("listening"), at("joined")) else {
        return Err(format!("{pod} does not say when it joined: {log}").into());
    };
    Ok(seconds(joined)? - seconds(first)?)
}

/// The seconds within an hour of a time such as 2026-11-21T13:24:05.113843Z.
fn seconds(time: &str) -> Outcome<f64> {
    let mut parts = time.trim_end_matches('Z').rsplit(':');
    let (secs, minutes) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    Ok(secs.parse::<f64>()? + 60.0 * minutes.parse::<f64>()?)
}

fn helm_test(fixture: &Fixture) -> Outcome<Ended> {
    fixture.cluster.helm(&["test", RELEASE, "--timeout=60s"])?;
    Ok(Ended::Passed)
}

fn confined(fixture: &Fixture) -> Outcome<Ended> {
    for pod in fixture.pods()? {
        let volumes = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        let token = volumes.iter().any(|volume| volume.to_string().contains("serviceAccountToken"));
        ensure!(!token, "{} has a token", name(&pod));
        let exec = ["exec", &name(&pod), "--", "statemesh", "keys", "new", "/usr/local/bin/x.key"];
        match fixture.cluster.kubectl(&exec) {
            Ok(_) => return Err("a pod wrote into its own image".into()),
            Err(why) => ensure!(why.to_string().contains("ead-only"), "another reason than expected: {why}"),
        }
    }
    Ok(Ended::Passed)
}

fn wrong(fixture: &Fixture) -> Outcome<Ended> {
    // Impossible values: tests/chart.rs has more of them; this one shows that install itself refuses.
    let refused =
        fixture.helm(&fixture.cluster, "install", "other", &["terminationGracePeriodSeconds=10", "preStopSeconds=9"]);
    let Err(why) = refused else { return Err("an impossible value was taken".into()) };
    ensure!(why.to_string().contains("hand their instances over"), "helm does not say why: {why}");
    missing_secret(fixture)?;
    wrong_setting(fixture)?;
    wrong_key(fixture)?;
    Ok(Ended::Passed)
}

fn missing_secret(fixture: &Fixture) -> Outcome {
    let values = ["security.existingSecret=nowhere", "replicas=1", "persistence.enabled=false"];
    fixture.helm(&fixture.cluster, "install", "other", &values)?;
    let said = wait_for("an event names the Secret", PATIENCE, || {
        let events = fixture.cluster.items(&["events"])?;
        let messages = events.iter().filter_map(|event| event["message"].as_str());
        Ok(messages.filter(|text| text.contains("nowhere") && text.contains("not found")).map(str::to_owned).next())
    });
    fixture.cluster.helm(&["uninstall", "other", "--wait"])?;
    println!("        {}", said?.0);
    Ok(())
}

fn wrong_setting(fixture: &Fixture) -> Outcome {
    let values = ["config.limits\\.batch=many", "replicas=1", "persistence.enabled=false"];
    fixture.helm(&fixture.cluster, "install", "other", &values)?;
    let said = wait_for("the pod's log names the setting", PATIENCE, || {
        let pods = pods(&fixture.cluster, "other")?;
        let Some(pod) = pods.first() else { return Ok(None) };
        let log = fixture.cluster.kubectl(&["logs", &name(pod)]).unwrap_or_default();
        Ok(Some(log).filter(|log| log.contains("limits.batch") && log.contains("many")))
    });
    fixture.cluster.helm(&["uninstall", "other", "--wait"])?;
    println!("        {}", said?.0.trim());
    Ok(())
}

fn wrong_key(fixture: &Fixture) -> Outcome {
    let stranger = fixture.folder.join("stranger.key");
    let _ = std::fs::remove_file(&stranger);
    statemesh_tests::cluster::output(std::process::Command::new(&fixture.binary).args(["keys", "new"]).arg(&stranger))?;
    let mut command = crate::bench::outside_command(fixture)?;
    statemesh_tests::cluster::output(command.arg("ping"))?;
    let mut command = crate::bench::outside_command(fixture)?;
    let refused = statemesh_tests::cluster::output(command.env("STATEMESH_KEY", &stranger).arg("ping"));
    let Err(why) = refused else { return Err("a stranger was let in".into()) };
    ensure!(why.to_string().contains("key"), "a stranger is not told why: {why}");
    println!("        {}", why.to_string().lines().last().unwrap_or_default());
    Ok(())
}

fn daemonset(fixture: &Fixture) -> Outcome<Ended> {
    let other = format!("{NAMESPACE}-nodes");
    let there = fixture.cluster.namespace(&other);
    fixture.make_namespace(&other)?;
    let result = on_every_node(fixture, &there);
    let uninstalled = there.helm(&["uninstall", "nodes", "--wait", "--ignore-not-found"]);
    there.kubectl(&["delete", "namespace", &other, "--timeout=120s"])?;
    result?;
    uninstalled?;
    Ok(Ended::Passed)
}

fn on_every_node(fixture: &Fixture, there: &Cluster) -> Outcome {
    fixture.helm(there, "install", "nodes", &["mode=daemonset"])?;
    let nodes = fixture.cluster.items(&["nodes"])?;
    let (took, tested) = std::thread::scope(|scope| {
        // As NOTES.txt says it to a person, who does not wait either.
        let test = scope.spawn(|| there.helm(&["test", "nodes", "--timeout=120s"]).map_err(|why| why.to_string()));
        (meshed(there, "nodes", nodes.len(), MESHED), test.join())
    });
    tested.map_err(|_| "the thread of helm test panicked")??;
    fixture.figure("daemonset_members_after_last_pod_ran_s", took?.as_secs_f64())?;
    there.kubectl(&["rollout", "status", "daemonset/nodes-statemesh", "--timeout=60s"])?;
    let service = there.get(&["service", "nodes-statemesh"])?;
    ensure!(service["spec"]["internalTrafficPolicy"] == "Local", "clients may reach another node's daemon");
    // A pod asks the Service again and again; each time its own node's daemon answers.
    for pod in pods(there, "nodes")? {
        let node = crate::bench::node_of(&pod);
        // A node hears a moment after the API server that its daemon is ready; until then the Service refuses there.
        let by_service = "--address=tcp://nodes-statemesh:7400";
        wait_for(&format!("the Service answers on {node}"), PATIENCE, || {
            ask(there, &name(&pod), &["ping", by_service]).map(Some)
        })?;
        for _ in 0..5 {
            let members = ask(there, &name(&pod), &["members", by_service])?;
            let asked = members.as_array().into_iter().flatten().find(|member| member["self"] == true);
            ensure!(asked.is_some_and(|member| member["name"] == node.as_str()), "asked on {node}: {members}");
        }
    }
    Ok(())
}

fn uninstall(fixture: &Fixture) -> Outcome<Ended> {
    fixture.cluster.helm(&["uninstall", RELEASE, "--wait"])?;
    let kinds =
        "all,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets,endpointslices";
    let of_the_cluster = ["kube-root-ca.crt", "default"];
    let (_, _) = wait_for("nothing is left but volumes", PATIENCE, || {
        let left = fixture.cluster.items(&[kinds])?;
        let left: Vec<_> = left.iter().map(name).filter(|name| !of_the_cluster.contains(&name.as_str())).collect();
        if left.is_empty() { Ok(Some(())) } else { Err(format!("left: {}", left.join(", ")).into()) }
    })?;
    let claims = fixture.cluster.items(&["persistentvolumeclaims"])?;
    ensure!(claims.iter().any(|claim| name(claim) == format!("data-{NAME}-0")), "the volumes are gone too");
    Ok(Ended::Passed)
}
