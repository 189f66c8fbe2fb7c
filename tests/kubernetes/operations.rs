//! What people do to a mesh on purpose, under load: scale, restart, upgrade, roll back, change keys. No client notices.

use crate::bench::{Bench, steady};
use crate::fixture::{Fixture, NAME, PATIENCE, RELEASE, SECRET, name};
use crate::installing::seconds_to_join;
use crate::{Ended, Step, step};
use statemesh_tests::cluster::output;
use statemesh_tests::{Outcome, ensure, wait_for};
use std::process::Command;
use std::time::Duration;

pub(crate) const STEPS: &[Step] = &[
    step("from 3 daemons to 5 to 2 no client has an error, and no event is lost or doubled", scale),
    step("a rolling restart costs no client an error and no event", rolling_restart),
    step("an upgrade changes a setting, a rollback changes it back, and no client notices", upgrade_and_rollback),
    step("gossip keys and a client's key are changed without a restart, and no client notices", rotation),
    step("the daemons' own keys are renewed, and no client notices", renewal),
];

/// A view of all members settles within this time after pods have come or gone.
const SETTLED: Duration = Duration::from_secs(10);

fn scale(fixture: &Fixture) -> Outcome<Ended> {
    let bench = Bench::start(fixture)?;
    for replicas in [5, 2] {
        fixture.cluster.kubectl(&["scale", &format!("statefulset/{NAME}"), &format!("--replicas={replicas}")])?;
        fixture.rolled_out()?;
        let took = fixture.meshed(replicas, SETTLED)?;
        fixture.figure(&format!("members_after_scale_to_{replicas}_s"), took.as_secs_f64())?;
        steady();
    }
    for seen in bench.stop()? {
        seen.clean()?;
    }
    fixture.upgrade(&["replicas=3"])?;
    fixture.meshed(3, SETTLED)?;
    Ok(Ended::Passed)
}

fn rolling_restart(fixture: &Fixture) -> Outcome<Ended> {
    let calm = Bench::start(fixture)?;
    steady();
    let calm = calm.stop()?;
    let bench = Bench::start(fixture)?;
    fixture.cluster.kubectl(&["rollout", "restart", &format!("statefulset/{NAME}")])?;
    fixture.rolled_out()?;
    let restarted = bench.stop()?;
    for (who, (calm, restarted)) in ["inside", "outside"].into_iter().zip(calm.iter().zip(&restarted)) {
        restarted.clean()?;
        for percentile in ["p50", "p99", "p99_9", "max"] {
            fixture.figure(&format!("calm_{percentile}_us/{who}"), calm.micros(percentile)?)?;
            fixture.figure(&format!("rolling_restart_{percentile}_us/{who}"), restarted.micros(percentile)?)?;
        }
    }
    fixture.meshed(3, SETTLED)?;
    for pod in fixture.pods()? {
        fixture.figure(&format!("joined_after_restart_s/{}", name(&pod)), seconds_to_join(fixture, &name(&pod))?)?;
    }
    Ok(Ended::Passed)
}

/// A daemon's setting as it sees it.
fn setting(fixture: &Fixture, key: &str) -> Outcome<String> {
    let pods = fixture.pods()?;
    let pod = pods.first().map(name).ok_or("no pods")?;
    let config = fixture.ask(&pod, &["config"])?;
    let value = config[key]["value"].as_str();
    Ok(value.ok_or_else(|| format!("no setting {key} in {config}"))?.to_owned())
}

fn upgrade_and_rollback(fixture: &Fixture) -> Outcome<Ended> {
    let before = setting(fixture, "limits.batch")?;
    let bench = Bench::start(fixture)?;
    // The second value makes every daemon listen on both address families, where there may be only one.
    fixture.upgrade(&["config.limits\\.batch=777", "service.ipFamilyPolicy=PreferDualStack"])?;
    ensure!(setting(fixture, "limits.batch")? == "777", "the upgrade did not change the setting");
    // Daemons with other gossip keys would be a mesh of their own.
    let other = fixture.upgrade(&["security.existingSecret=kube-root-ca.crt"]);
    ensure!(other.is_err_and(|why| why.to_string().contains("other gossip keys")), "an upgrade may split the mesh");
    fixture.cluster.helm(&["rollback", RELEASE])?;
    fixture.rolled_out()?;
    ensure!(setting(fixture, "limits.batch")? == before, "the rollback did not change it back");
    for seen in bench.stop()? {
        seen.clean()?;
    }
    Ok(Ended::Passed)
}

/// The command line outside the cluster, working on the Secret.
fn keys(fixture: &Fixture, words: &[&str]) -> Outcome<String> {
    let mut command = Command::new(&fixture.binary);
    command.env("KUBECONFIG", fixture.cluster.kubeconfig()).arg("keys").args(words);
    output(command.args(["--secret", SECRET, "--namespace", &fixture.cluster.namespace]))
}

/// Waits until every daemon's log has this line more often than before: nodes bring a changed Secret within a minute or two.
fn everywhere(fixture: &Fixture, message: &str, change: impl FnOnce() -> Outcome) -> Outcome {
    let count = || -> Outcome<Vec<(String, usize)>> {
        let pods = fixture.pods()?;
        let counted = pods.iter().map(|pod| {
            let log = fixture.cluster.kubectl(&["logs", &name(pod)])?;
            Ok((name(pod), log.matches(message).count()))
        });
        counted.collect()
    };
    let before = count()?;
    change()?;
    // Any change of a pod makes its node look at the pod's volumes at once, and not in a minute.
    for (pod, _) in &before {
        let stamp = format!("statemesh.test/looked={}", std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_millis());
        fixture.cluster.kubectl(&["annotate", "--overwrite", "pod", pod, &stamp])?;
    }
    wait_for(&format!("every daemon says: {message}"), Duration::from_secs(180), || {
        let now = count()?;
        Ok(now.iter().zip(&before).all(|(now, before)| now.0 == before.0 && now.1 > before.1).then_some(()))
    })?;
    Ok(())
}

fn rotation(fixture: &Fixture) -> Outcome<Ended> {
    let bench = Bench::start(fixture)?;
    for one in ["add", "use", "drop"] {
        everywhere(fixture, "read the gossip keys", || keys(fixture, &["rotate", one]).map(drop))?;
    }
    let stranger = fixture.folder.join("billing.key");
    let _ = std::fs::remove_file(&stranger);
    let public = output(Command::new(&fixture.binary).args(["keys", "new"]).arg(&stranger))?;
    let ping = || -> Outcome<String> {
        let mut command = crate::bench::outside_command(fixture)?;
        output(command.env("STATEMESH_KEY", &stranger).arg("ping"))
    };
    ensure!(ping().is_err(), "a stranger was let in");
    let allow = ["allow", "billing", public.trim(), "--ops", "read"];
    everywhere(fixture, "read the list of clients", || keys(fixture, &allow).map(drop))?;
    wait_for("billing is let in", PATIENCE, || ping().map(Some))?;
    everywhere(fixture, "read the list of clients", || keys(fixture, &["revoke", "billing"]).map(drop))?;
    ensure!(ping().is_err(), "billing was let in after it was revoked");
    for seen in bench.stop()? {
        seen.clean()?;
    }
    fixture.meshed(3, SETTLED)?;
    Ok(Ended::Passed)
}

fn renewal(fixture: &Fixture) -> Outcome<Ended> {
    let bench = Bench::start(fixture)?;
    let former = fixture.entry("daemon.pub")?;
    let ping = |public: &str| -> Outcome<String> {
        let mut command = crate::bench::outside_command(fixture)?;
        output(command.env("STATEMESH_SERVER_KEY", public).arg("ping"))
    };
    let message = "read the daemon's keys";
    everywhere(fixture, message, || keys(fixture, &["renew"]).map(drop))?;
    let current = fixture.entry("daemon.pub")?;
    ensure!(current != former, "the public key is the former one");
    ping(&former)?;
    ping(&current)?;
    // What runs in the pods expects the key that they began with, and so do these clients.
    fixture.cluster.kubectl(&["rollout", "restart", &format!("statefulset/{NAME}")])?;
    fixture.rolled_out()?;
    for seen in bench.stop()? {
        seen.clean()?;
    }
    let bench = Bench::start(fixture)?;
    everywhere(fixture, message, || keys(fixture, &["renew", "--done"]).map(drop))?;
    ensure!(ping(&former).is_err(), "the former key still counts");
    ping(&current)?;
    for seen in bench.stop()? {
        seen.clean()?;
    }
    fixture.meshed(3, SETTLED)?;
    Ok(Ended::Passed)
}
