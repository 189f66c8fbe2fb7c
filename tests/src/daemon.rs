//! One daemon as a process: where it runs, what it is told, how it ends.

use crate::http::{self, Metrics};
use crate::network::{self, Host};
use crate::process::{self, Usage};
use crate::run::Scene;
use crate::{Outcome, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, OpenOptions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// What a daemon is told, beyond its name.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Where it runs; `None`: beside the scenario, at `127.0.0.1`.
    pub host: Option<Host>,
    /// Further arguments of `statemesh daemon`.
    pub arguments: Vec<String>,
    /// Further environment variables.
    pub environment: Vec<(String, String)>,
    /// A command that starts it, such as `unshare --time ... --`.
    pub wrapper: Vec<String>,
    /// Its log's name, if that is not its own name.
    pub log: Option<String>,
}

impl Plan {
    /// On a host.
    #[must_use]
    pub fn on(host: Host) -> Self {
        Self { host: Some(host), ..Self::default() }
    }

    /// With further arguments, written as on a command line.
    #[must_use]
    pub fn with(mut self, arguments: &str) -> Self {
        self.arguments.extend(arguments.split_whitespace().map(str::to_owned));
        self
    }

    /// With an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running daemon. It is killed when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    /// Its name in the mesh.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its log.
    pub log: PathBuf,
    child: Child,
}

impl Daemon {
    /// Starts it.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub fn start(scene: &Scene, name: &str, plan: &Plan) -> Outcome<Self> {
        let address = plan.host.map_or(Ipv4Addr::LOCALHOST, Host::address);
        let mut words: Vec<String> = Vec::new();
        if let Some(host) = plan.host {
            words.extend(["ip", "netns", "exec", &host.namespace()].map(str::to_owned));
        }
        words.extend(plan.wrapper.iter().cloned());
        words.push(scene.binary.to_string_lossy().into_owned());
        words.extend(["daemon", "--name", name, "--listen-address", &address.to_string()].map(str::to_owned));
        if plan.host.is_some() && !plan.arguments.iter().any(|word| word == "--security-mode") {
            words.extend(["--security-mode", "none"].map(str::to_owned));
        }
        words.extend(plan.arguments.iter().cloned());
        let (program, arguments) = words.split_first().ok_or("no program")?;
        let log = scene.folder.join(format!("{}.log", plan.log.as_deref().unwrap_or(name)));
        let output = OpenOptions::new().create(true).append(true).open(&log)?;
        let child = Command::new(program)
            .args(arguments)
            .envs(plan.environment.iter().map(|(name, value)| (name, value)))
            // No configuration file of the machine is found there.
            .current_dir(&scene.folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        Ok(Self { name: name.to_owned(), address, log, child })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.address), port)
    }

    /// Where it serves clients.
    #[must_use]
    pub fn clients(&self) -> SocketAddr {
        self.at(7400)
    }

    /// Where it publishes changes.
    #[must_use]
    pub fn changes(&self) -> SocketAddr {
        self.at(7401)
    }

    /// Where it serves HTTP.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.at(7480)
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// It has ended, or is not ready within `limit`.
    pub fn wait_ready(&mut self, limit: Duration) -> Outcome<Duration> {
        let address = self.http();
        let name = self.name.clone();
        wait_for(&format!("{name} is ready"), limit, || {
            let ended = self.child.try_wait()?;
            if let Some(status) = ended {
                // Asking again would not help: the outer error is made below.
                return Ok(Some(Err(status)));
            }
            let answer = http::get(address, "/health/ready")?;
            if answer.status == 200 { Ok(Some(Ok(()))) } else { Err(answer.body.into()) }
        })
        .and_then(|(ready, took)| match ready {
            Ok(()) => Ok(took),
            Err(status) => Err(format!("{name} ended before it was ready ({status})").into()),
        })
    }

    /// What `/metrics` says.
    ///
    /// # Errors
    /// It does not answer.
    pub fn metrics(&self) -> Outcome<Metrics> {
        Metrics::read(self.http())
    }

    /// What it has used.
    ///
    /// # Errors
    /// It has ended.
    pub fn usage(&self) -> Outcome<Usage> {
        process::usage(self.pid())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Outcome {
        Ok(kill(Pid::from_raw(i32::try_from(self.pid())?), signal)?)
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Errors
    /// It had ended before.
    pub fn kill(&mut self) -> Outcome {
        crate::ensure!(self.child.try_wait()?.is_none(), "{} had ended already", self.name);
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub fn wait_end(&mut self, limit: Duration) -> Outcome<(ExitStatus, Duration)> {
        let what = format!("{} has ended", self.name);
        wait_for(&what, limit, || Ok(self.child.try_wait()?))
    }

    /// Fails if it has ended by itself.
    ///
    /// # Errors
    /// It has ended.
    pub fn still_runs(&mut self) -> Outcome {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("{} has ended ({status})", self.name).into()),
        }
    }

    /// What it has logged.
    ///
    /// # Errors
    /// The file is gone.
    pub fn logged(&self) -> Outcome<String> {
        Ok(fs::read_to_string(&self.log)?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing is left to be told if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a listener on `host` that answers like some other service: on the ports of peers and gossip.
///
/// # Errors
/// The ports cannot be had.
pub fn other_service(host: Host) -> Outcome {
    network::within(host, move || {
        let tcp = std::net::TcpListener::bind((host.address(), 7402))?;
        let udp = std::net::UdpSocket::bind((host.address(), 7403))?;
        std::thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                // It is a stranger: whatever becomes of the connection is right.
                let _ = std::io::Write::write_all(&mut &stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }
        });
        std::thread::spawn(move || {
            let mut packet = [0; 2_048];
            while let Ok((length, sender)) = udp.recv_from(&mut packet) {
                let _ = udp.send_to(packet.get(..length).unwrap_or_default(), sender);
            }
        });
        Ok(())
    })
}
