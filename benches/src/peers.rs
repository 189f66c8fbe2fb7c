//! Servers that others made, and the clients that speak to them; their sources are under peers/. All are on loopback, hold
//! everything in memory, and end with the harness.

mod actors;
mod brokers;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::contender::{NATS, PEKKO, PROTO_ACTOR, RABBITMQ, REDIS};
use crate::environment::Environment;
use crate::failure::{Outcome, While, failure};
use crate::proc::{self, Process};

/// A server that is ready, and what asks it.
pub(crate) struct Peer {
    /// What counts as the server, in the order in which they are to end.
    pub(crate) processes: Vec<Process>,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
}

type Start = fn(&Environment) -> Outcome<Peer>;

/// Name, and how it is started.
pub(crate) const ALL: [(&str, Start); 5] = [
    (REDIS, brokers::redis),
    (NATS, brokers::nats),
    (RABBITMQ, brokers::rabbitmq),
    (PEKKO, actors::pekko),
    (PROTO_ACTOR, actors::proto_actor),
];

/// A server that has not said a word, or does not listen, by then is left out.
const READY_WITHIN: Duration = Duration::from_secs(90);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Compiles peers/`name`.c with the machine's C compiler. Folders in the name become part of the program's.
pub(crate) fn compile(environment: &Environment, name: &str, libraries: &[&str]) -> Outcome<PathBuf> {
    let (source, program) =
        (environment.peers().join(name).with_extension("c"), environment.out().join(name.replace('/', "-")));
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-pthread", "-o"]).arg(&program).arg(source).args(libraries);
    proc::output(&mut compiler).while_at("a C compiler and its libraries (`cargo xtask bench` installs them)")?;
    Ok(program)
}

/// Starts a program that prints its port.
pub(crate) fn start_with_port(name: &str, command: &mut Command) -> Outcome<(Process, SocketAddr)> {
    let (process, line) = start_with_line(name, command)?;
    Ok((process, (Ipv4Addr::LOCALHOST, line.trim().parse::<u16>().while_at(name)?).into()))
}

/// Starts a program that prints a line when it is ready.
fn start_with_line(name: &str, command: &mut Command) -> Outcome<(Process, String)> {
    let mut process = Process::start(command.stdout(Stdio::piped()))?;
    let Some(stdout) = process.child().stdout.take() else { return failure(format!("{name}: no stdout")) };
    let (sender, lines) = std::sync::mpsc::sync_channel(1);
    // A thread, since a pipe cannot be read with a deadline; it ends with the process.
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = sender.send(BufReader::new(stdout).read_line(&mut line).map(|_| line));
    });
    match lines.recv_timeout(READY_WITHIN).while_at(name)?.while_at(name)? {
        line if line.is_empty() => failure(format!("{name}: it ended before it was ready; what it said is above")),
        line => Ok((process, line)),
    }
}

/// Starts a server of others, which knows nothing of our stdin: the kernel ends it with the harness.
fn start_server(name: &str, port: u16, program: &Path, set: impl FnOnce(&mut Command)) -> Outcome<Process> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdout(Stdio::null()).stderr(Stdio::null());
    set(&mut command);
    let mut process = Process::start(&mut command).while_at(name)?;
    let deadline = Instant::now() + READY_WITHIN;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if let Some(status) = process.child().try_wait().while_at(name)? {
            return failure(format!("{name} ended with {status} (is it installed? `cargo xtask bench` does that)"));
        }
        if Instant::now() > deadline {
            return failure(format!("{name} did not listen within {READY_WITHIN:?}"));
        }
        std::thread::sleep(ASK_EVERY);
    }
    Ok(process)
}

/// Ports that were free a moment ago.
fn free_ports<const N: usize>() -> Outcome<[u16; N]> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).while_at("a free port")?;
        *port = listener.local_addr().while_at("a free port")?.port();
        held.push(listener);
    }
    Ok(ports)
}
