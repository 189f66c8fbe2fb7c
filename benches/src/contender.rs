//! Contenders: a server, a client, and the work between them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::client::Client;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome, While};
use crate::mesh::{Mesh, Owner};
use crate::peers::{self, Peer};
use crate::proc::{self, Process};
use crate::work::{self, Work};
use statemesh_load::{Round, Spec};

/// The servers, by the names that tables show.
pub(crate) const OWN_ECHO: &str = "own reactor, echo";
pub(crate) const LOCAL: &str = "statemesh, local owner";
pub(crate) const RESERVED: &str = "statemesh, reserved core";
pub(crate) const FORWARDED: &str = "statemesh, forwarded";
pub(crate) const BEFORE: &str = "statemesh before, local owner";
pub(crate) const BEFORE_FORWARDED: &str = "statemesh before, forwarded";
pub(crate) const LIBZMQ_ECHO: &str = "libzmq ROUTER, echo";
pub(crate) const CRATE_ECHO: &str = "zeromq crate ROUTER, echo";
pub(crate) const BYTE_ECHO: &str = "bytes given back unread";
pub(crate) const REDIS: &str = "Redis INCR";
pub(crate) const NATS: &str = "NATS request-reply";
pub(crate) const RABBITMQ: &str = "RabbitMQ RPC";
pub(crate) const PEKKO: &str = "Pekko cluster sharding";
pub(crate) const PROTO_ACTOR: &str = "Proto.Actor cluster";

/// The clients, by the names that tables show.
pub(crate) const DIRECT: &str = "direct";
pub(crate) const LIBZMQ: &str = "libzmq";
/// Each of the peers that do not speak ZeroMQ has one for its own protocol.
pub(crate) const ITS_OWN: &str = "its own";

/// One line of a table.
#[derive(Debug)]
pub(crate) struct Contender {
    /// What serves.
    pub(crate) server: &'static str,
    /// What asks, by name.
    pub(crate) client: &'static str,
    asks: Client,
    address: SocketAddr,
    work: Work,
    pids: Vec<u32>,
    /// Whether its server is stopped while it is not its turn: one that never sleeps would take a core from the others.
    stopped: bool,
    out: PathBuf,
}

/// Which contenders a scenario wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// Those that speak ZeroMQ.
    ZeroMq,
    /// The others too.
    All,
}

/// Everything that runs during a scenario. What is dropped first ends first: clients before their servers.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    /// In the order of the table.
    pub(crate) contenders: Vec<Contender>,
    /// Held because a server ends when it is dropped.
    _processes: Vec<Process>,
    _meshes: Vec<Mesh>,
    /// What could not take part, and why.
    pub(crate) left_out: Vec<String>,
}

impl Contender {
    /// Runs one round. Gives the client's CPU time too.
    pub(crate) fn run(&self, spec: &Spec) -> Outcome<(Round, Duration)> {
        self.signal(Signal::SIGCONT);
        let result = self.asks.run(self.address, &self.work, spec, &self.out);
        self.signal(Signal::SIGSTOP);
        result
    }

    /// CPU time that its server has used since it was started, all its processes together.
    pub(crate) fn server_cpu(&self) -> Duration {
        self.pids.iter().map(|pid| proc::cpu(*pid)).sum()
    }

    fn signal(&self, signal: Signal) {
        for pid in self.pids.iter().filter(|_| self.stopped) {
            // A contender that is gone is noticed by the client.
            let _ = proc::signal(*pid, signal);
        }
    }
}

impl Arena {
    /// Starts every server of the field that this machine can run, and pairs each with the clients that speak its protocol.
    pub(crate) fn start(environment: &Environment, field: Field) -> Outcome<Self> {
        let mut arena = Self::default();
        let libzmq = peers::compile(environment, "libzmq_client", &["-lzmq"])
            .and_then(|client| Ok((client, peers::compile(environment, "libzmq_echo", &["-lzmq"])?)));
        let (libzmq_client, libzmq_echo) = match libzmq {
            Ok((client, echo)) => (Some(client), Some(echo)),
            Err(why) => {
                arena.leave_out("everything with libzmq", &why);
                (None, None)
            }
        };
        let client = libzmq_client.as_deref();
        let own = std::env::current_exe().while_at("this program's path")?;
        arena.echo(environment, OWN_ECHO, Command::new(&own).arg("echo"), client);
        arena.daemons(environment, client);
        if let Some(echo) = &libzmq_echo {
            arena.echo(environment, LIBZMQ_ECHO, &mut Command::new(echo), client);
        }
        arena.echo(environment, CRATE_ECHO, Command::new(&own).arg("crate-echo"), client);
        match peers::compile(environment, "byte_echo", &[]) {
            Ok(echo) => arena.echo(environment, BYTE_ECHO, &mut Command::new(echo), client),
            Err(why) => arena.leave_out(BYTE_ECHO, &why),
        }
        arena.contenders.sort_by_key(|contender| contender.client != DIRECT);
        if field == Field::All {
            arena.peers(environment);
        }
        Ok(arena)
    }

    fn daemons(&mut self, environment: &Environment, client: Option<&Path>) {
        match environment.daemon() {
            Err(why) => self.leave_out("statemesh", &why),
            Ok(daemon) => {
                self.mesh(environment, LOCAL, &|| Mesh::start(&daemon, 1), Owner::Asked, client);
                let reserved = || Mesh::start_with(&daemon, 1, &["--reactor-spin", "reserved"]);
                self.mesh(environment, RESERVED, &reserved, Owner::Asked, client);
                self.mesh(environment, FORWARDED, &|| Mesh::start(&daemon, 3), Owner::Other, client);
            }
        }
        if let Some(before) = &environment.before {
            self.mesh(environment, BEFORE, &|| Mesh::start(before, 1), Owner::Asked, client);
            self.mesh(environment, BEFORE_FORWARDED, &|| Mesh::start(before, 3), Owner::Other, client);
        }
    }

    fn peers(&mut self, environment: &Environment) {
        for (name, start) in peers::ALL {
            match start(environment) {
                Err(why) => self.leave_out(name, &why),
                Ok(Peer { processes, address, client }) => {
                    let pids: Vec<u32> = processes.iter().map(Process::pid).collect();
                    self.add(environment, name, (ITS_OWN, client), address, &any_keys(), &pids);
                    self._processes.extend(processes);
                }
            }
        }
    }

    /// An echo server: a program that prints its port.
    fn echo(&mut self, environment: &Environment, name: &'static str, command: &mut Command, client: Option<&Path>) {
        match peers::start_with_port(name, command) {
            Err(why) => self.leave_out(name, &why),
            Ok((process, address)) => {
                self.pair(environment, name, address, &any_keys(), &[process.pid()], client);
                self._processes.push(process);
            }
        }
    }

    fn mesh(
        &mut self,
        environment: &Environment,
        name: &'static str,
        start: &dyn Fn() -> Outcome<Mesh>,
        owner: Owner,
        client: Option<&Path>,
    ) {
        let started = || {
            let mesh = start()?;
            mesh.define(&environment.machine("lamp"))?;
            let work = Work::new(&mesh.keys(owner)?);
            Ok((mesh, work))
        };
        match started() {
            Err(why) => self.leave_out(name, &why),
            Ok((mesh, work)) => {
                self.pair(environment, name, mesh.address(), &work, &mesh.pids(), client);
                self._meshes.push(mesh);
            }
        }
    }

    fn leave_out(&mut self, name: &str, why: &Failure) {
        eprintln!("left out: {name}: {why}");
        self.left_out.push(format!("{name}: {why}"));
    }

    fn pair(
        &mut self,
        environment: &Environment,
        server: &'static str,
        address: SocketAddr,
        work: &Work,
        pids: &[u32],
        client: Option<&Path>,
    ) {
        self.add(environment, server, (DIRECT, Client::Direct), address, work, pids);
        if let Some(client) = client {
            self.add(environment, server, (LIBZMQ, Client::Program(client.to_owned())), address, work, pids);
        }
    }

    fn add(
        &mut self,
        environment: &Environment,
        server: &'static str,
        (client, asks): (&'static str, Client),
        address: SocketAddr,
        work: &Work,
        pids: &[u32],
    ) {
        let (work, pids, stopped, out) =
            (work.clone(), pids.to_vec(), server == RESERVED, environment.out().to_owned());
        let contender = Contender { server, client, asks, address, work, pids, stopped, out };
        contender.signal(Signal::SIGSTOP);
        self.contenders.push(contender);
    }
}

fn any_keys() -> Work {
    Work::new(&work::keys(0, work::KEYS))
}
