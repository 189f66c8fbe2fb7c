//! The processes that `up` starts. Each holds the reading end of a pipe from this one as its stdin and ends when that is
//! closed, so that nothing is left behind even if this process is killed.

use super::dns::SERVICE;
use super::plan::Plan;
use crate::config::{Config, FILE_VARIABLE, GOSSIP_KEYS_FILE, Setting, Source, Target};
use crate::failure::{Exit, Failure};
use crate::output::say;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// For how long daemons may end by themselves before they are killed.
const END_WITHIN: Duration = Duration::from_secs(3);

/// The daemons that were started.
pub(crate) struct Children {
    running: Vec<(String, Child)>,
}

impl Children {
    /// Starts a daemon for each node of the plan.
    pub(crate) fn start(plan: &Plan, dns: SocketAddr, told: &Told) -> Result<Children, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::new(Exit::Start, "no_program", format!("where this program is: {error}")))?;
        let mut children = Children { running: Vec::new() };
        for node in &plan.nodes {
            let mut command = Command::new(&program);
            command.args(["daemon", "--with-parent"]).args(node.flags());
            command.args(discovery(plan, dns)).stdin(Stdio::piped()).stdout(Stdio::null());
            // A group of its own: Ctrl-C in the terminal is for this process, which then ends them in order.
            command.process_group(0).envs(told.environment.iter().cloned()).kill_on_drop(true);
            let child = command.spawn();
            let child =
                child.map_err(|error| Failure::new(Exit::Start, "no_process", format!("{}: {error}", node.name)))?;
            children.running.push((node.name.clone(), child));
        }
        Ok(children)
    }

    /// How many run.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether this one does.
    pub(crate) fn is_running(&self, name: &str) -> bool {
        self.running.iter().any(|(running, _)| running == name)
    }

    /// One that has ended already, if any has.
    pub(crate) async fn ended_early(&mut self) -> Option<String> {
        let ended = self.running.iter_mut().position(|(_, child)| !matches!(child.try_wait(), Ok(None)))?;
        Some(self.running.swap_remove(ended).0)
    }

    /// Waits until one ends, and says which and how.
    pub(crate) async fn next_end(&mut self) -> (String, String) {
        const LOOK_EVERY: Duration = Duration::from_millis(100);
        loop {
            for index in 0..self.running.len() {
                let status = self.running[index].1.try_wait();
                if let Ok(Some(status)) = status {
                    return (self.running.swap_remove(index).0, status.to_string());
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends all of them: by closing their stdin, and by force after a while.
    pub(crate) async fn end(&mut self) {
        for (_, child) in &mut self.running {
            drop(child.stdin.take());
        }
        let _ = timeout(END_WITHIN, async {
            for (_, child) in &mut self.running {
                let _ = child.wait().await;
            }
        })
        .await;
        for (name, mut child) in self.running.drain(..) {
            if matches!(child.try_wait(), Ok(None)) {
                say!("{name} did not end within {END_WITHIN:?}: killed");
                let _ = child.kill().await;
            }
        }
    }
}

/// What every daemon is told besides its place: the file, the log and the keys.
#[derive(Debug)]
pub(crate) struct Told {
    environment: Vec<(String, String)>,
    /// How they are asked.
    client: Target,
}

impl Told {
    /// Reads the configuration as the daemons will, so that a mistake is said once and before anything was started.
    pub(crate) fn new(log: Option<&str>, file: Option<&Path>) -> Result<Told, Failure> {
        // The log of several daemons in one terminal is for what goes wrong, unless something else is asked for.
        const QUIET: &str = "warn";
        let flags = log.map(|level| ("log", vec![level.to_owned()]));
        let config = Config::load(flags.into_iter().collect(), file)?;
        config.daemon()?;
        let level = log.or((config.source("log") == Source::Default).then_some(QUIET));
        let mut environment: Vec<_> = level.map(|level| variable("log", level)).into_iter().collect();
        if let Some(file) = file {
            environment.push((FILE_VARIABLE.to_owned(), file.display().to_string()));
        }
        if config.items("gossip.keys").is_empty() && config.text(GOSSIP_KEYS_FILE).is_none() {
            environment.push(variable("gossip.keys", &new_key()?));
        }
        Ok(Told { environment, client: config.client()? })
    }

    /// How the daemon at this address is asked, within `timeout`.
    pub(crate) fn target(&self, address: &str, timeout: Duration) -> Target {
        Target { addresses: vec![address.to_owned()], timeout, security: self.client.security.clone() }
    }
}

fn variable(key: &str, value: &str) -> (String, String) {
    let name = Setting::find(key).map(Setting::variable).unwrap_or_default();
    (name, value.to_owned())
}

/// A key for this mesh alone: two meshes on one machine must not take each other for one.
fn new_key() -> Result<String, Failure> {
    let mut key = [0; 32];
    let source = Path::new("/dev/urandom");
    let read = std::fs::File::open(source).and_then(|mut file| file.read_exact(&mut key));
    read.map_err(|error| Failure::file(source, &error))?;
    Ok(key.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A single daemon has no other to wait for.
fn discovery(plan: &Plan, dns: SocketAddr) -> Vec<String> {
    let flag = |name: &str, value: &str| [format!("--discovery-{name}"), value.to_owned()];
    let found = [flag("service", SERVICE), flag("dns-server", &dns.to_string())].concat();
    if plan.nodes.len() == 1 { [found, flag("alone-after", "0").to_vec()].concat() } else { found }
}
