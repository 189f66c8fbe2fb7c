//! A loop that stands still while the rest of its process goes on: one thread of a daemon is stopped, as a debugger stops it.

use crate::one_daemon::alone;
use statemesh_tests::daemon::Daemon;
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::{Outcome, ensure, http, wait_for};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "a daemon one of whose loops stands still is not ready after two seconds and not alive after ten",
    stands_still,
)
.on_loopback()
.within_secs(60)
.programs(&["python3"])];

/// Stops one thread until its standard input ends. A signal would stop the whole process.
const FREEZE: &str = r#"
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
for request in (0x4206, 0x4207):  # PTRACE_SEIZE, PTRACE_INTERRUPT
    if libc.ptrace(request, int(sys.argv[1]), None, None) != 0:
        sys.exit("ptrace: errno %d" % ctypes.get_errno())
print("stopped", flush=True)
sys.stdin.read()
"#;
/// By when each must be said: a beat may be half a second old already.
const NOT_READY: (Duration, Duration) = (Duration::from_millis(1_400), Duration::from_millis(4_000));
const NOT_ALIVE: (Duration, Duration) = (Duration::from_millis(9_400), Duration::from_millis(12_500));
const SOON: Duration = Duration::from_secs(5);

/// A thread that does not run; it goes on when this is dropped.
struct Frozen(Child);

impl Drop for Frozen {
    fn drop(&mut self) {
        // It ends with its input; if it has ended already, the error says nothing new.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn freeze(daemon: &Daemon, name: &str) -> Outcome<Frozen> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid()))?.flatten();
    let is_named = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let task = tasks.into_iter().find(is_named).ok_or_else(|| format!("no thread is called {name}"))?;
    let mut child = Command::new("python3")
        .args(["-c", FREEZE])
        .arg(task.file_name())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let out = child.stdout.take().ok_or("no output")?;
    let frozen = Frozen(child);
    let mut said = String::new();
    BufReader::new(out).read_line(&mut said)?;
    ensure!(said.trim() == "stopped", "the thread cannot be stopped: this needs the right to trace");
    Ok(frozen)
}

fn status(daemon: &Daemon, path: &str) -> Outcome<u16> {
    Ok(http::get(daemon.http(), path)?.status)
}

/// When a probe first fails.
fn fails(daemon: &Daemon, path: &str, since: Instant, within: (Duration, Duration)) -> Outcome {
    wait_for(&format!("{path} fails"), within.1, || Ok((status(daemon, path)? == 503).then_some(())))?;
    let took = since.elapsed();
    ensure!(took >= within.0 && took <= within.1, "{path} failed after {took:?}");
    Ok(())
}

fn stands_still(scene: &Scene) -> Outcome {
    let mut daemon = alone(scene, "--reactor-threads 2")?;
    let (frozen, since) = (freeze(&daemon, "reactor-1")?, Instant::now());
    fails(&daemon, "/health/ready", since, NOT_READY)?;
    ensure!(status(&daemon, "/health/live")? == 200, "it is said to be dead as soon as it is not ready");
    fails(&daemon, "/health/live", since, NOT_ALIVE)?;
    ensure!(daemon.logged()?.contains("reactor 1"), "the log names no loop");
    drop(frozen);
    wait_for("it is ready again", SOON, || Ok((status(&daemon, "/health/ready")? == 200).then_some(())))?;
    ensure!(status(&daemon, "/health/live")? == 200, "it is ready and not alive");
    daemon.still_runs()
}
