//! `statemesh up` and the verbs, as a person uses them.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use statemesh_tests::caller::is_there;
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::{Outcome, ensure, figures, process, wait_for};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("up is ready within 2 s, its verbs work, and Ctrl-C leaves nothing behind", up)
        .programs(&["ip"])
        .alone(),
    Scenario::new("if up is killed its daemons end too", up_killed).programs(&["ip"]),
    Scenario::new("if one daemon of up is killed the others go on", one_killed).programs(&["ip"]),
];

/// What the issue promises.
const READY: Duration = Duration::from_secs(2);

struct Up<'a> {
    scene: &'a Scene,
    child: Child,
    output: PathBuf,
}

impl<'a> Up<'a> {
    /// Starts it in an empty folder with the repository's examples, and waits for its last words before it waits itself.
    fn start(scene: &'a Scene) -> Outcome<(Self, Duration)> {
        let folder = scene.folder.join("fresh");
        fs::create_dir_all(&folder)?;
        let output = scene.folder.join("up.log");
        let file = File::create(&output)?;
        let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
        let child = Command::new(&scene.binary)
            .args(["up", "--machines", examples])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        let mut up = Self { scene, child, output };
        let (_, took) = wait_for("up has said how to end it", Duration::from_secs(20), || {
            if let Some(status) = up.child.try_wait()? {
                return Ok(Some(Err(format!("up ended with {status}: {}", up.said()?))));
            }
            Ok(up.said()?.contains("Ctrl-C ends everything").then_some(Ok(())))
        })
        .and_then(|(ready, took)| Ok((ready?, took)))?;
        Ok((up, took))
    }

    fn said(&self) -> Outcome<String> {
        Ok(fs::read_to_string(&self.output)?)
    }

    /// Runs a verb, and gives its exit code, its stdout and its stderr.
    fn verb(&self, arguments: &[&str]) -> Outcome<(Option<i32>, String, String)> {
        let output = Command::new(&self.scene.binary)
            .args(arguments)
            .current_dir(&self.scene.folder)
            .stdin(Stdio::null())
            .output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
    }

    /// Runs a verb that must succeed, and reads its JSON.
    fn json(&self, arguments: &[&str]) -> Outcome<Value> {
        let (code, stdout, stderr) = self.verb(&[arguments, &["-o", "json"]].concat())?;
        ensure!(code == Some(0), "{arguments:?} ended with {code:?}: {stderr}");
        serde_json::from_str(&stdout)
            .map_err(|error| format!("{arguments:?} printed no JSON ({error}): {stdout}").into())
    }

    fn signal(&self, signal: Signal) -> Outcome {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// The daemons that it has started and that still run.
    fn daemons(&self) -> Outcome<Vec<u32>> {
        let own = self.scene.binary.to_string_lossy().into_owned();
        Ok(process::running(&own)?.into_iter().filter(|pid| *pid != self.child.id()).collect())
    }

    fn nothing_left(&self) -> Outcome {
        wait_for("no daemon is left behind", Duration::from_secs(5), || Ok(self.daemons()?.is_empty().then_some(())))?;
        Ok(())
    }
}

fn up(scene: &Scene) -> Outcome {
    let (mut up, took) = Up::start(scene)?;
    figures::record(&scene.all, "up_ready_secs", json!(took.as_secs_f64()))?;
    ensure!(took <= READY, "up was ready after {took:?}");
    let said = up.said()?;
    for word in ["node-1", "node-2", "node-3", "127.0.0.1:7400", "127.0.0.1:7480", "alive", "import zmq"] {
        ensure!(said.contains(word), "up does not say {word}: {said}");
    }
    ensure!(up.daemons()?.len() == 3, "{} daemons run", up.daemons()?.len());
    verbs(&up)?;
    up.signal(Signal::SIGINT)?;
    let (status, _) = wait_for("up has ended", Duration::from_secs(10), || Ok(up.child.try_wait()?))?;
    ensure!(status.code() == Some(0), "up ended with {status}");
    up.nothing_left()
}

fn verbs(up: &Up) -> Outcome {
    let members = up.json(&["members"])?;
    let there = |member: &&Value| member["status"].as_str().is_some_and(is_there);
    let there = members.as_array().map(|all| all.iter().filter(there).count());
    ensure!(there == Some(3), "members: {members}");
    let machines = up.json(&["machines"])?;
    ensure!(machines.to_string().contains("\"order\""), "machines: {machines}");
    let sent = up.json(&["send", "order/42", "PAY", "--data", r#"{"amount":3}"#])?;
    ensure!(sent["seq"] == 1 && sent["changed"] == true, "send: {sent}");
    let shown = up.json(&["get", "order/42"])?;
    ensure!(shown["value"] == sent["value"] && shown["context"].is_object(), "get: {shown}, after send: {sent}");
    let history = up.json(&["history", "order/42"])?;
    ensure!(history.to_string().contains("seq"), "history: {history}");
    let place = up.json(&["where", "order/42"])?;
    ensure!(place["owner"].as_str().is_some_and(|owner| owner.starts_with("node-")), "where: {place}");
    for verb in [&["ping"][..], &["placement"], &["instances", "order"], &["start", "order/43"], &["stop", "order/43"]]
    {
        let (code, _, stderr) = up.verb(verb)?;
        ensure!(code == Some(0), "{verb:?} ended with {code:?}: {stderr}");
    }
    let (code, stdout, _) = up.verb(&["members"])?;
    ensure!(code == Some(0) && stdout.contains("node-2"), "members as a table: {stdout}");
    let (code, stdout, stderr) = up.verb(&["send", "nothing/1", "X"])?;
    ensure!(
        code == Some(1) && stderr.contains("nothing") && stdout.is_empty(),
        "an error reply: {code:?} {stdout} {stderr}"
    );
    let (code, _, stderr) = up.verb(&["ping", "--address", "tcp://127.0.0.1:9", "--timeout", "500ms"])?;
    ensure!(code == Some(3) && !stderr.is_empty(), "no daemon there: {code:?} {stderr}");
    Ok(())
}

fn up_killed(scene: &Scene) -> Outcome {
    let (mut up, _) = Up::start(scene)?;
    up.signal(Signal::SIGKILL)?;
    up.child.wait()?;
    up.nothing_left()
}

fn one_killed(scene: &Scene) -> Outcome {
    let (mut up, _) = Up::start(scene)?;
    let third = process::running("node-3")?;
    let pid = third.first().copied().ok_or("node-3 does not run")?;
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
    wait_for("the others have noticed", Duration::from_secs(10), || {
        let members = up.json(&["members"])?;
        let alive = members.as_array().map(|all| all.iter().filter(|member| member["status"] == "alive").count());
        Ok((alive == Some(2)).then_some(()))
    })?;
    for n in 0..20 {
        let sent = up.json(&["send", &format!("order/{n}"), "PAY", "--data", r#"{"amount":3}"#])?;
        ensure!(sent["seq"] == 1, "send: {sent}");
    }
    ensure!(up.child.try_wait()?.is_none(), "up has ended");
    up.signal(Signal::SIGTERM)?;
    wait_for("up has ended", Duration::from_secs(10), || Ok(up.child.try_wait()?))?;
    up.nothing_left()
}
