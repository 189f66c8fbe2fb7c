//! Hosts with addresses of their own: network namespaces around a hub, which is the scenario's own namespace.
//!
//! The hub has 10.77.0.254, and so the scenario's clients and its DNS server have. Hosts hang on a bridge; where a
//! scenario wants delay and loss, `tc netem` gives it, or, on a kernel without it, the [relay](crate::relay).

use crate::relay::{Impairment, Relay};
use crate::{Outcome, process};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::net::Ipv4Addr;
use std::sync::mpsc;

/// The scenario's own address.
pub const HUB: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

/// One host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    /// The last part of its address.
    pub number: u8,
}

impl Host {
    /// Its address.
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.number)
    }

    /// The name of its namespace.
    #[must_use]
    pub fn namespace(self) -> String {
        format!("h{}", self.number)
    }
}

/// How hosts are connected.
#[derive(Debug)]
enum Fabric {
    /// Each by a veth pair to a bridge; with netem, if so, on each host's interface.
    Bridge(Option<Impairment>),
    /// Each by a TUN device to the relay.
    Relay(Relay),
}

/// The hosts of one scenario.
#[derive(Debug)]
pub struct Network {
    fabric: Fabric,
    routed: bool,
}

impl Network {
    /// A network that loses nothing.
    ///
    /// # Errors
    /// The bridge cannot be made.
    pub fn new() -> Outcome<Self> {
        Self::bridged(None)
    }

    /// A network for many hosts: the hub routes between them, so that each has one neighbour. All namespaces share the
    /// kernel's table of neighbours, which holds 1,024; fifty hosts that talk to each other directly need 2,450, and
    /// what does not fit is lost.
    ///
    /// # Errors
    /// The bridge cannot be made.
    pub fn routed() -> Outcome<Self> {
        let network = Self::bridged(None)?;
        let settings = ["ip_forward=1", "conf.all.send_redirects=0", "conf.br0.send_redirects=0"];
        for setting in settings {
            let (name, value) = setting.split_once('=').ok_or("no value")?;
            std::fs::write(format!("/proc/sys/net/ipv4/{}", name.replace('.', "/")), value)?;
        }
        Ok(Self { routed: true, ..network })
    }

    /// A network whose hosts send with delay and loss.
    ///
    /// # Errors
    /// Neither netem nor the relay can be had.
    pub fn impaired(impairment: Impairment, seed: u64) -> Outcome<Self> {
        if process::run("tc", &["qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]).is_ok() {
            process::run("tc", &["qdisc", "del", "dev", "lo", "root"])?;
            println!("links: tc netem");
            return Self::bridged(Some(impairment));
        }
        println!("links: the harness's relay, since this kernel has no sch_netem");
        let relay = Relay::start(impairment, seed);
        relay.attach(HUB, "hub0", false)?;
        ip(&format!("addr add {HUB}/16 dev hub0"))?;
        ip("link set hub0 up")?;
        Ok(Self { fabric: Fabric::Relay(relay), routed: false })
    }

    fn bridged(impairment: Option<Impairment>) -> Outcome<Self> {
        for bridge in ["br0", "br1"] {
            ip(&format!("link add {bridge} type bridge"))?;
            ip(&format!("link set {bridge} up"))?;
        }
        ip(&format!("addr add {HUB}/16 dev br0"))?;
        Ok(Self { fabric: Fabric::Bridge(impairment), routed: false })
    }

    /// Adds the host of this number.
    ///
    /// # Errors
    /// Its namespace or its interface cannot be made.
    pub fn add(&self, number: u8) -> Outcome<Host> {
        let host = Host { number };
        let (namespace, address) = (host.namespace(), host.address());
        ip(&format!("netns add {namespace}"))?;
        match &self.fabric {
            Fabric::Bridge(_) => {
                ip(&format!("link add v{number} type veth peer name eth0 netns {namespace}"))?;
                ip(&format!("link set v{number} master br0 up"))?;
            }
            Fabric::Relay(relay) => within(host, || relay.attach(address, "eth0", true))?,
        }
        let prefix = if self.routed { 32 } else { 16 };
        ip(&format!("-n {namespace} addr add {address}/{prefix} dev eth0"))?;
        ip(&format!("-n {namespace} link set eth0 up"))?;
        if self.routed {
            ip(&format!("-n {namespace} route add {HUB} dev eth0"))?;
            ip(&format!("-n {namespace} route add default via {HUB}"))?;
        }
        ip(&format!("-n {namespace} link set lo up"))?;
        if let Fabric::Bridge(Some(Impairment { delay, loss })) = &self.fabric {
            let (delay, loss) = (format!("{}us", delay.as_micros()), format!("{}%", loss * 100.0));
            let netem = ["qdisc", "add", "dev", "eth0", "root", "netem", "delay", &delay, "loss", &loss];
            process::run("tc", &[&["-n", &namespace], &netem[..]].concat())?;
        }
        Ok(host)
    }

    /// Cuts `hosts` off from all others but the hub.
    ///
    /// # Errors
    /// The kernel refuses, or the network is impaired, where this is not made.
    pub fn cut_off(&self, hosts: &[Host]) -> Outcome {
        for host in hosts {
            self.move_to(*host, "br1")?;
        }
        Ok(())
    }

    /// Connects `hosts` with the others again.
    ///
    /// # Errors
    /// As for [`Network::cut_off`].
    pub fn reconnect(&self, hosts: &[Host]) -> Outcome {
        for host in hosts {
            self.move_to(*host, "br0")?;
        }
        Ok(())
    }

    /// From now on the datagrams that a host sends to this port of others go nowhere.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lose_datagrams(&self, host: Host, port: u16) -> Outcome {
        ip(&format!("-n {} rule add pref 1 ipproto udp dport {port} blackhole", host.namespace()))
    }

    fn move_to(&self, host: Host, bridge: &str) -> Outcome {
        crate::ensure!(matches!(self.fabric, Fabric::Bridge(_)), "only hosts on a bridge can be cut off");
        ip(&format!("link set v{} master {bridge}", host.number))?;
        // The hub reaches both bridges, by the same source address.
        ip(&format!("route replace {}/32 dev {bridge} src {HUB}", host.address()))
    }
}

/// Runs `ip` with these arguments.
fn ip(arguments: &str) -> Outcome {
    process::run("ip", &arguments.split(' ').collect::<Vec<_>>()).map(|_| ())
}

/// Runs `work` on a thread within the namespace of `host`: a thread's namespace is its own.
///
/// # Errors
/// The namespace does not exist, or what `work` says.
pub fn within<T: Send>(host: Host, work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
    let file = File::open(format!("/run/netns/{}", host.namespace()))?;
    let (answer, answered) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let result = setns(file, CloneFlags::CLONE_NEWNET).map_err(Into::into).and_then(|()| work());
            // The receiver lives as long as the scope.
            let _ = answer.send(result);
        });
    });
    answered.recv()?
}
