//! Daemons on hosts around one DNS server: what most scenarios begin with.

use crate::caller::{Caller, Member};
use crate::client_history::counter;
use crate::daemon::{Daemon, Plan};
use crate::dns::{Dns, GOSSIP_PORT, Record, SERVICE};
use crate::network::{Host, Network};
use crate::run::Scene;
use crate::{Outcome, wait_for};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a mesh may take to become whole. Generous: how fast it is, is a figure and no test's business.
pub const WHOLE: Duration = Duration::from_secs(20);

/// A mesh in the making.
#[derive(Debug)]
pub struct Mesh<'a> {
    scene: &'a Scene,
    /// The hosts' network.
    pub network: Network,
    /// The DNS server.
    pub dns: Dns,
    /// The daemons, by name.
    pub daemons: BTreeMap<String, Daemon>,
    hosts: BTreeMap<String, Host>,
}

impl<'a> Mesh<'a> {
    /// The network and the DNS server, without daemons.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn new(scene: &'a Scene) -> Outcome<Self> {
        Self::upon(scene, Network::new()?)
    }

    /// As [`Mesh::new`], on a network that is there.
    ///
    /// # Errors
    /// The DNS server does not start.
    pub fn upon(scene: &'a Scene, network: Network) -> Outcome<Self> {
        let dns = Dns::start(&scene.folder)?;
        Ok(Self { scene, network, dns, daemons: BTreeMap::new(), hosts: BTreeMap::new() })
    }

    /// A whole mesh of these daemons, with the counter machine defined.
    ///
    /// # Errors
    /// It does not become whole.
    pub fn whole(scene: &'a Scene, names: &[&str]) -> Outcome<Self> {
        let mut mesh = Self::new(scene)?;
        mesh.start_all(names)?;
        Ok(mesh)
    }

    /// Adds these hosts, publishes them all at once, starts their daemons, waits until the mesh is whole and defines the
    /// counter machine.
    ///
    /// # Errors
    /// It does not become whole.
    pub fn start_all(&mut self, names: &[&str]) -> Outcome {
        for name in names {
            self.add_host(name)?;
        }
        self.publish_all()?;
        for name in names {
            self.start(name)?;
        }
        self.wait_whole()?;
        self.define_counter()
    }

    /// Adds a host for the daemon of this name.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add_host(&mut self, name: &str) -> Outcome<Host> {
        let number = u8::try_from(self.hosts.len() + 1)?;
        let host = self.network.add(number)?;
        self.hosts.insert(name.to_owned(), host);
        Ok(host)
    }

    /// The host of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn host(&self, name: &str) -> Outcome<Host> {
        Ok(*self.hosts.get(name).ok_or_else(|| format!("there is no host {name}"))?)
    }

    /// Publishes every host.
    ///
    /// # Errors
    /// The DNS server does not take the records.
    pub fn publish_all(&mut self) -> Outcome {
        let records = self.records();
        self.dns.publish(&records)
    }

    /// A record for every host.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let record = |(label, host): (&String, &Host)| Record {
            label: label.clone(),
            address: host.address(),
            port: GOSSIP_PORT,
        };
        self.hosts.iter().map(record).collect()
    }

    /// What the daemon of this name is told: to look for the Service, and never to be content alone.
    ///
    /// # Errors
    /// There is no such host.
    pub fn plan(&self, name: &str) -> Outcome<Plan> {
        let plan = Plan::on(self.host(name)?);
        Ok(plan.with(&format!("--discovery-service {SERVICE} --discovery-alone-after never")))
    }

    /// Starts the daemon of this name on its host.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self, name: &str) -> Outcome {
        let plan = self.plan(name)?;
        self.start_with(name, &plan)
    }

    /// Starts the daemon of this name as `plan` says.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_with(&mut self, name: &str, plan: &Plan) -> Outcome {
        let daemon = Daemon::start(self.scene, name, plan)?;
        self.daemons.insert(name.to_owned(), daemon);
        Ok(())
    }

    /// The daemon of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn daemon(&self, name: &str) -> Outcome<&Daemon> {
        Ok(self.daemons.get(name).ok_or_else(|| format!("there is no daemon {name}"))?)
    }

    /// The daemon of this name, to be changed.
    ///
    /// # Errors
    /// There is none.
    pub fn daemon_mut(&mut self, name: &str) -> Outcome<&mut Daemon> {
        Ok(self.daemons.get_mut(name).ok_or_else(|| format!("there is no daemon {name}"))?)
    }

    /// Where the daemon of this name serves clients.
    ///
    /// # Errors
    /// There is none.
    pub fn clients(&self, name: &str) -> Outcome<SocketAddr> {
        Ok(self.daemon(name)?.clients())
    }

    /// A client of the daemon of this name.
    ///
    /// # Errors
    /// It does not listen.
    pub fn caller(&self, name: &str) -> Outcome<Caller> {
        Caller::connect(self.clients(name)?)
    }

    /// Waits until every daemon is ready, sees exactly all of them alive, and says that each partition is served by the daemon
    /// that is to own it.
    ///
    /// # Errors
    /// It does not come about within [`WHOLE`].
    pub fn wait_whole(&mut self) -> Outcome {
        self.wait_formed()?;
        self.wait_settled()
    }

    /// Waits until every daemon is ready and sees exactly all of them alive. Each has its share of the partitions by then, but
    /// they may still be on their way.
    ///
    /// # Errors
    /// It does not come about within [`WHOLE`].
    pub fn wait_formed(&mut self) -> Outcome<Duration> {
        let names: Vec<String> = self.daemons.keys().cloned().collect();
        for daemon in self.daemons.values_mut() {
            daemon.wait_ready(WHOLE)?;
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.wait_view(&names, &names)
    }

    /// Waits until each of `observers` sees exactly `alive` alive, and these own all partitions.
    ///
    /// # Errors
    /// It does not come about within [`WHOLE`].
    pub fn wait_view(&self, observers: &[&str], alive: &[&str]) -> Outcome<Duration> {
        let mut took = Duration::ZERO;
        for observer in observers {
            let address = self.clients(observer)?;
            let what = format!("{observer} sees {} members alive that own everything", alive.len());
            let (_, waited) = wait_for(&what, WHOLE, || {
                let seen = Caller::connect(address)?.members()?;
                if sees(&seen, alive) { Ok(Some(())) } else { Err(format!("it sees {}", in_short(&seen)).into()) }
            })?;
            took += waited;
        }
        Ok(took)
    }

    /// Waits until all daemons say the same of who serves each partition, and it is who owns it: a view is known at once, but
    /// partitions come a few at a time, and each daemon hears of a move at another moment.
    fn wait_settled(&self) -> Outcome {
        wait_for("all say the same of who serves each partition", WHOLE, || {
            let mut first: Option<(&str, Vec<Option<String>>)> = None;
            for (name, daemon) in &self.daemons {
                let mut caller = Caller::connect(daemon.clients())?;
                let servers = caller.servers()?;
                if let Some(member) =
                    caller.members()?.iter().find(|member| member.partitions != share(&servers, member))
                {
                    let served = share(&servers, member);
                    return Err(
                        format!("{name} says that {} serves {served} of {}", member.name, member.partitions).into()
                    );
                }
                match &first {
                    Some((other, said)) if *said != servers => {
                        return Err(format!("{name} and {other} do not say the same").into());
                    }
                    Some(_) => {}
                    None => first = Some((name, servers)),
                }
            }
            Ok(Some(()))
        })?;
        Ok(())
    }

    /// Defines the counter machine everywhere.
    ///
    /// # Errors
    /// It is refused.
    pub fn define_counter(&self) -> Outcome {
        let name = self.daemons.keys().next().ok_or("no daemon")?;
        self.caller(name)?.ok(json!({"op": "define", "definition": counter()}))?;
        Ok(())
    }

    /// Keys of the counter machine that the daemon of this name owns, as another one says.
    ///
    /// # Errors
    /// Too few are found.
    pub fn keys_of(&self, owner: &str, asked: &str, count: usize) -> Outcome<Vec<String>> {
        let mut caller = self.caller(asked)?;
        let mut keys = Vec::new();
        for n in 0..10_000 {
            let key = format!("{owner}-{n}");
            if caller.owner("counter", &key)?.as_deref() == Some(owner) {
                keys.push(key);
            }
            if keys.len() == count {
                return Ok(keys);
            }
        }
        Err(format!("{owner} owns hardly anything").into())
    }

    /// Fails if a daemon has ended by itself.
    ///
    /// # Errors
    /// One has.
    pub fn all_run(&mut self) -> Outcome {
        self.daemons.values_mut().try_for_each(Daemon::still_runs)
    }
}

/// Whether exactly these members are alive, each owning something, and all partitions are owned by them.
#[must_use]
pub fn sees(seen: &[Member], alive: &[&str]) -> bool {
    let mut found: Vec<&str> =
        seen.iter().filter(|member| member.status == "alive").map(|member| member.name.as_str()).collect();
    let mut wanted = alive.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    let own = |member: &&Member| member.status == "alive" && member.partitions > 0;
    let owned: u64 = seen.iter().filter(own).map(|member| member.partitions).sum();
    found == wanted && seen.iter().filter(own).count() == alive.len() && owned == 1_024
}

/// How many partitions a member serves.
fn share(servers: &[Option<String>], member: &Member) -> u64 {
    servers.iter().flatten().filter(|name| **name == member.name).count() as u64
}

/// Members on one line.
#[must_use]
pub fn in_short(seen: &[Member]) -> String {
    let one = |member: &Member| format!("{} {} {}", member.name, member.status, member.partitions);
    seen.iter().map(one).collect::<Vec<_>>().join(", ")
}
