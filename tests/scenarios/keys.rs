//! A mesh in which clients and daemons need keys.

use serde_json::{Value, json};
use statemesh_tests::caller::{Caller, is_refusal};
use statemesh_tests::client_history::counter;
use statemesh_tests::mesh::{Mesh, WHOLE, sees};
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::{Outcome, ensure, wait_for};
use statemesh_transport::curve::{KeyPair, PublicKey, Security};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("a mesh with keys serves who has one, and changes its gossip key under load", with_keys),
    Scenario::new("a daemon that others can reach does not start without saying how it is secured", must_say)
        .on_loopback(),
];

const NAMES: [&str; 3] = ["a", "b", "c"];
/// The files are looked at every second.
const FOLLOWED: Duration = Duration::from_secs(10);

fn statemesh(scene: &Scene, words: &[&str]) -> Outcome<Output> {
    Ok(Command::new(&scene.binary).args(words).current_dir(&scene.folder).output()?)
}

/// Runs a verb that must succeed, and gives what it prints.
fn done(scene: &Scene, words: &[&str]) -> Outcome<String> {
    let output = statemesh(scene, words)?;
    ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Makes the daemons' keys and a client's; the public key of the former, and the latter's secret.
fn make_keys(scene: &Scene) -> Outcome<(String, Security)> {
    let server = done(scene, &["keys", "new", "daemon.key"])?;
    let client = KeyPair::generate();
    let public = client.public.to_z85();
    done(scene, &["keys", "allow", "test", &public, "--ops", "admin", "--file", "clients.toml"])?;
    done(scene, &["keys", "rotate", "add", "--file", "gossip.keys"])?;
    let own = done(scene, &["keys", "new", "person.key"])?;
    done(scene, &["keys", "allow", "person", &own, "--ops", "read", "--file", "clients.toml"])?;
    let security = Security::Client { own: client, server: PublicKey::from_z85(&server)? };
    Ok((server, security))
}

const FLAGS: &str =
    "--security-mode curve --security-key daemon.key --security-keys clients.toml --gossip-keys-file gossip.keys";

fn with_keys(scene: &Scene) -> Outcome {
    let (server, security) = make_keys(scene)?;
    let mut mesh = Mesh::new(scene)?;
    for name in NAMES {
        mesh.add_host(name)?;
    }
    mesh.publish_all()?;
    for name in NAMES {
        let plan = mesh.plan(name)?.with(FLAGS);
        mesh.start_with(name, &plan)?;
    }
    for name in NAMES {
        mesh.daemon_mut(name)?.wait_ready(WHOLE)?;
        let mut caller = Caller::secured(mesh.clients(name)?, &security)?;
        wait_for(&format!("{name} sees all"), WHOLE, || Ok(sees(&caller.members()?, &NAMES).then_some(())))?;
    }
    ensure!(Caller::connect(mesh.clients("a")?).is_err(), "a client without keys was let in");

    let mut caller = Caller::secured(mesh.clients("a")?, &security)?;
    caller.ok(json!({"op": "define", "definition": counter()}))?;
    let mut round = 0;
    let mut add_to_all = |scene_of: &str| -> Outcome {
        round += 1;
        for key in 0..40 {
            let event = json!({"type": "ADD", "n": 1});
            let request = json!({"op": "send", "machine": "counter", "key": key.to_string(), "event": event, "dedup": format!("round-{round}")});
            let reply = known(&mut caller, &request)?;
            ensure!(
                reply["ok"] == true && reply["seq"] == json!(round),
                "{scene_of}: round {round} of key {key} gave {reply}"
            );
        }
        Ok(())
    };
    add_to_all("before")?;
    // How often a daemon must have read so many keys by then; it reads the file once when it starts.
    for (step, keys, times) in [("add", 2, 1), ("use", 2, 2), ("drop", 1, 2)] {
        done(scene, &["keys", "rotate", step, "--file", "gossip.keys"])?;
        for name in NAMES {
            let daemon = mesh.daemon(name)?;
            wait_for(&format!("{name} has the keys after {step}"), FOLLOWED, || {
                let log = daemon.logged()?;
                let read = log.lines().filter(|line| line.contains("read the gossip keys") && says(line, keys)).count();
                Ok((read >= times).then_some(()))
            })?;
            add_to_all(step)?;
        }
    }
    let address = format!("tcp://{}", mesh.clients("b")?);
    let words = ["members", "--address", &address, "--key", "person.key", "--server-key", &server, "-o", "json"];
    let members: Value = serde_json::from_str(&done(scene, &words)?)?;
    ensure!(members.as_array().is_some_and(|members| members.len() == 3), "{members}");
    let refused = statemesh(
        scene,
        &["send", "counter/1", "ADD", "--address", &address, "--key", "person.key", "--server-key", &server],
    )?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && said.contains("may not \"send\""), "{said}");
    let without = statemesh(scene, &["members", "--address", &address, "--timeout", "2s"])?;
    ensure!(without.status.code() == Some(3), "without keys: {}", String::from_utf8_lossy(&without.stdout));
    mesh.all_run()
}

/// Asks until the outcome is known. A link that was opened with a dropped key ends, and what was under way on it may have been
/// applied or not; by its token the daemon knows which, so that nothing is counted twice.
fn known(caller: &mut Caller, request: &Value) -> Outcome<Value> {
    let end = Instant::now() + FOLLOWED;
    loop {
        let reply = caller.ask(request.clone())?;
        if !is_refusal(&reply, "outcome_unknown") || Instant::now() >= end {
            return Ok(reply);
        }
    }
}

/// Whether a line of the log, in JSON or as text, gives this number of keys.
fn says(line: &str, keys: usize) -> bool {
    line.contains(&format!("\"keys\":{keys}")) || line.contains(&format!("keys={keys}"))
}

fn must_say(scene: &Scene) -> Outcome {
    let output = statemesh(scene, &["daemon", "--listen-address", "0.0.0.0", "--listen-clients", "0"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(2), "it ended with {}: {said}", output.status);
    ensure!(said.contains("security.mode is not set") && said.contains("mode = \"curve\""), "{said}");
    Ok(())
}
