//! Daemons that the harness starts: one, or several that form a mesh.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use omq_proto::SocketType;
use serde_json::Value;
use statemesh_client::{Ask, Connection as Client, Encoding, Op};

use crate::failure::{Failure, Outcome, While, failure};
use crate::proc::Process;
use crate::work;

/// For how long a mesh may take to form.
const FORMED_WITHIN: Duration = Duration::from_secs(20);
const ASK_EVERY: Duration = Duration::from_millis(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Keys are looked at until enough are owned by whom they should be.
const MAX_LOOKED_AT: usize = 20 * work::KEYS;

/// Running daemons.
#[derive(Debug)]
pub(crate) struct Mesh {
    daemons: Vec<(Process, SocketAddr)>,
}

/// Whose keys are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The daemon that is asked.
    Asked,
    /// Any other.
    Other,
}

impl Mesh {
    /// Starts daemons with default settings, but for where they listen, and waits until each sees all.
    pub(crate) fn start(binary: &Path, count: usize) -> Outcome<Self> {
        Self::start_with(binary, count, &[])
    }

    /// Starts daemons with these settings.
    pub(crate) fn start_with(binary: &Path, count: usize, settings: &[&str]) -> Outcome<Self> {
        let plans: Vec<Ports> = (0..count).map(|_| Ports::free()).collect::<Outcome<_>>()?;
        let name = format!("bench-{}-{}", std::process::id(), plans.first().map_or(0, |ports| ports.clients));
        let mut mesh = Self { daemons: Vec::new() };
        for (index, ports) in plans.iter().enumerate() {
            let mut command = Command::new(binary);
            command.args(["daemon", "--with-parent", "--log", "error", "--mesh", &name]);
            command.args(["--name", &format!("bench-{index}"), "--listen-address", "127.0.0.1"]).args(ports.flags());
            for seed in plans.iter().filter(|seed| seed.gossip != ports.gossip) {
                command.args(["--discovery-seeds", &format!("127.0.0.1:{}", seed.gossip)]);
            }
            command.args(settings);
            let process = Process::start(command.stdout(Stdio::null()))?;
            mesh.daemons.push((process, (Ipv4Addr::LOCALHOST, ports.clients).into()));
        }
        mesh.wait_until_formed()?;
        Ok(mesh)
    }

    /// Where clients find the first daemon.
    pub(crate) fn address(&self) -> SocketAddr {
        self.daemons.first().map_or_else(|| (Ipv4Addr::LOCALHOST, 0).into(), |(_, address)| *address)
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.daemons.iter().map(|(process, _)| process.pid()).collect()
    }

    /// Defines a machine on every member.
    pub(crate) fn define(&self, path: &Path) -> Outcome {
        let text = std::fs::read(path).while_at(path.display())?;
        let define = Ask { definition: Some(&text), ..Ask::new(Op::Define, Encoding::Json) };
        ask(&mut connect(self.address())?, &define).map(drop)
    }

    /// Keys of the machine `lamp` by their owner, as seen from the first daemon.
    pub(crate) fn keys(&self, owner: Owner) -> Outcome<Vec<String>> {
        let mut client = connect(self.address())?;
        let me = ask(&mut client, &Ask::new(Op::Ping, Encoding::Json))?["name"].clone();
        let mut found = Vec::new();
        for key in work::keys(0, MAX_LOOKED_AT) {
            let whereabouts = ask(&mut client, &Ask::about(Op::Where, Encoding::Json, "lamp", &key))?;
            if (whereabouts["owner"] == me) == (owner == Owner::Asked) {
                found.push(key);
            }
            if found.len() == work::KEYS {
                return Ok(found);
            }
        }
        failure(format!("of {MAX_LOOKED_AT} keys, only {} have the owner that is wanted ({owner:?})", found.len()))
    }

    fn wait_until_formed(&mut self) -> Outcome {
        let deadline = Instant::now() + FORMED_WITHIN;
        let count = self.daemons.len();
        for index in 0..count {
            while !self.daemons.get(index).is_some_and(|(_, address)| sees(*address, count)) {
                if Instant::now() > deadline {
                    return failure(format!("{count} daemons did not form a mesh within {FORMED_WITHIN:?}"));
                }
                for (process, address) in &mut self.daemons {
                    if let Some(status) = process.child().try_wait().while_at("daemon")? {
                        return failure(format!("the daemon for {address} ended with {status}; what it said is above"));
                    }
                }
                std::thread::sleep(ASK_EVERY);
            }
        }
        Ok(())
    }
}

/// Whether a daemon sees partitions served by this many members, and none that moves: keys are told apart by who serves them.
pub(crate) fn sees(address: SocketAddr, count: usize) -> bool {
    let reply = connect(address).and_then(|mut client| ask(&mut client, &Ask::new(Op::Placement, Encoding::Json)));
    let placement = reply.unwrap_or_default();
    let list = |field: &str| placement[field].as_array().map_or(&[][..], Vec::as_slice);
    let servers: HashSet<_> = list("map").iter().map(Value::as_u64).collect();
    placement["moving"].as_array().is_some_and(Vec::is_empty) && servers.len() == count
}

/// A connection for requests in JSON.
pub(crate) fn connect(address: SocketAddr) -> Outcome<Client> {
    Client::connect(address, SocketType::Dealer, ANSWER_WITHIN).while_at("the direct client")
}

/// Asks, and insists on `"ok":true`.
pub(crate) fn ask(client: &mut Client, ask: &Ask<'_>) -> Outcome<Value> {
    let (op, mut request) = (ask.op.as_str(), Vec::new());
    ask.write(0, &mut request);
    let message = client.call(&request, ANSWER_WITHIN).while_at(op)?;
    let reply: Value = serde_json::from_slice(message.part_slice(0).unwrap_or_default()).while_at(op)?;
    if reply["ok"] == true { Ok(reply) } else { Err(Failure(format!("{op}: {}", reply["error"]))) }
}

/// Ports that were free a moment ago.
#[derive(Debug)]
struct Ports {
    clients: u16,
    changes: u16,
    peers: u16,
    http: u16,
    gossip: u16,
}

impl Ports {
    fn free() -> Outcome<Self> {
        let held: Vec<TcpListener> = (0..4)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).while_at("a free port"))
            .collect::<Outcome<_>>()?;
        let gossip = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).while_at("a free port")?;
        let port = |index: usize| held.get(index).and_then(|socket| socket.local_addr().ok()).map_or(0, |at| at.port());
        let gossip = gossip.local_addr().while_at("a free port")?.port();
        Ok(Self { clients: port(0), changes: port(1), peers: port(2), http: port(3), gossip })
    }

    fn flags(&self) -> Vec<String> {
        let ports = [
            ("clients", self.clients),
            ("changes", self.changes),
            ("peers", self.peers),
            ("gossip", self.gossip),
            ("http", self.http),
        ];
        ports.iter().flat_map(|(name, port)| [format!("--listen-{name}"), port.to_string()]).collect()
    }
}
