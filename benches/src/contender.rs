//! Contenders: a server, a client, and the work between them.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::failure::{Outcome, While};
use crate::lab::Lab;
use crate::libzmq::Programs;
use crate::load::{self, Round, Spec};
use crate::mesh::{Mesh, Owner};
use crate::proc::{self, Process};
use crate::work::{self, Work};

/// The servers, by the names that tables show.
pub(crate) const OWN_ECHO: &str = "own reactor, echo";
pub(crate) const LOCAL: &str = "statemesh, local owner";
pub(crate) const FORWARDED: &str = "statemesh, forwarded";
pub(crate) const LIBZMQ_ECHO: &str = "libzmq ROUTER, echo";

/// The clients, by the names that tables show.
pub(crate) const DIRECT: &str = "direct";
pub(crate) const LIBZMQ: &str = "libzmq";

/// One line of a table.
#[derive(Debug)]
pub(crate) struct Contender {
    /// What serves.
    pub(crate) server: &'static str,
    /// What asks.
    pub(crate) client: &'static str,
    address: SocketAddr,
    work: Work,
    pids: Vec<u32>,
    programs: Option<Programs>,
}

/// Everything that runs during a scenario.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    /// Held because a server ends when it is dropped.
    _echoes: Vec<Process>,
    _meshes: Vec<Mesh>,
    /// In the order of the table.
    pub(crate) contenders: Vec<Contender>,
    /// What could not take part, and why.
    pub(crate) left_out: Vec<String>,
}

impl Contender {
    /// Runs one round. Gives the client's CPU time too.
    pub(crate) fn run(&self, spec: &Spec) -> Outcome<(Round, Duration)> {
        if let Some(programs) = &self.programs {
            return programs.run(self.address, &self.work, spec);
        }
        let before = proc::cpu(std::process::id());
        let round = load::run(self.address, &self.work, spec)?;
        Ok((round, proc::cpu(std::process::id()).saturating_sub(before)))
    }

    /// CPU time that its server has used since it was started, all its daemons together.
    pub(crate) fn server_cpu(&self) -> Duration {
        self.pids.iter().map(|pid| proc::cpu(*pid)).sum()
    }
}

impl Arena {
    /// Starts every server that this machine can run, and pairs each with both clients.
    pub(crate) fn start(lab: &Lab) -> Outcome<Self> {
        let mut arena = Self::default();
        let programs = match Programs::build(&lab.peers(), lab.out()) {
            Ok(programs) => Some(programs),
            Err(why) => {
                arena.left_out.push(format!("everything with libzmq: {why}"));
                None
            }
        };
        let any_keys = Work::new(&work::keys(0, work::KEYS));
        let own = std::env::current_exe().while_at("this program's path")?;
        arena.echo(OWN_ECHO, &own, &["echo"], &any_keys, programs.as_ref());
        match lab.daemon() {
            Err(why) => arena.leave_out("statemesh", why),
            Ok(daemon) => {
                arena.mesh(lab, &daemon, LOCAL, 1, Owner::Asked, programs.as_ref());
                arena.mesh(lab, &daemon, FORWARDED, 3, Owner::Other, programs.as_ref());
            }
        }
        if let Some(programs) = &programs {
            arena.echo(LIBZMQ_ECHO, &programs.echo, &[], &any_keys, Some(programs));
        }
        arena.contenders.sort_by_key(|contender| contender.client != DIRECT);
        Ok(arena)
    }

    /// An echo server: a program that prints its port.
    fn echo(
        &mut self,
        name: &'static str,
        program: &Path,
        arguments: &[&str],
        work: &Work,
        programs: Option<&Programs>,
    ) {
        let started = || {
            let mut process = Process::start(Command::new(program).args(arguments).stdout(Stdio::piped()))?;
            let mut line = String::new();
            if let Some(stdout) = process.child().stdout.take() {
                BufReader::new(stdout).read_line(&mut line).while_at(name)?;
            }
            Ok((process, line.trim().parse::<u16>().while_at(name)?))
        };
        match started() {
            Err(why) => self.leave_out(name, why),
            Ok((process, port)) => {
                self.pair(name, (Ipv4Addr::LOCALHOST, port).into(), work, &[process.pid()], programs);
                self._echoes.push(process);
            }
        }
    }

    fn mesh(
        &mut self,
        lab: &Lab,
        daemon: &Path,
        name: &'static str,
        daemons: usize,
        owner: Owner,
        programs: Option<&Programs>,
    ) {
        let started = || {
            let mesh = Mesh::start(daemon, daemons)?;
            mesh.define(&lab.machine("lamp"))?;
            let work = Work::new(&mesh.keys(owner)?);
            Ok((mesh, work))
        };
        match started() {
            Err(why) => self.leave_out(name, why),
            Ok((mesh, work)) => {
                self.pair(name, mesh.address(), &work, &mesh.pids(), programs);
                self._meshes.push(mesh);
            }
        }
    }

    fn leave_out(&mut self, name: &str, why: crate::failure::Failure) {
        eprintln!("left out: {name}: {why}");
        self.left_out.push(format!("{name}: {why}"));
    }

    fn pair(
        &mut self,
        server: &'static str,
        address: SocketAddr,
        work: &Work,
        pids: &[u32],
        programs: Option<&Programs>,
    ) {
        let mut add = |client, programs| {
            let contender = Contender { server, client, address, work: work.clone(), pids: pids.to_vec(), programs };
            self.contenders.push(contender);
        };
        add(DIRECT, None);
        if let Some(programs) = programs {
            add(LIBZMQ, Some(programs.clone()));
        }
    }
}
