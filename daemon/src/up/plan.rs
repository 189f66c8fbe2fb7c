//! Which daemons `up` starts, and where each listens.

use super::dns::Host;
use super::ports::{self, Transport};
use crate::failure::Failure;
use crate::run::cannot_listen;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A port of a daemon: the name that a Service gives it, its number and its transport.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) name: &'static str,
    number: u16,
    transport: Transport,
}

pub(crate) const CLIENTS: Port = Port { name: "clients", number: 7400, transport: Transport::Tcp };
pub(crate) const CHANGES: Port = Port { name: "changes", number: 7401, transport: Transport::Tcp };
const PEERS: Port = Port { name: "peers", number: 7402, transport: Transport::Tcp };
const GOSSIP: Port = Port { name: "gossip", number: 7403, transport: Transport::Udp };
pub(crate) const HTTP: Port = Port { name: "http", number: 7480, transport: Transport::Tcp };
const PORTS: [Port; 5] = [CLIENTS, CHANGES, PEERS, GOSSIP, HTTP];

/// Between the ports of one daemon and those of the next, where all share an address.
const OFFSET: u16 = 100;

/// One daemon.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) ip: IpAddr,
    /// For clients; between 1024 and 64,900, so that those that follow are ports too.
    first_port: u16,
}

impl Node {
    /// Where it listens for this.
    pub(crate) fn address(&self, port: Port) -> SocketAddr {
        SocketAddr::new(self.ip, self.first_port + (port.number - CLIENTS.number))
    }

    /// Its address for clients.
    pub(crate) fn clients(&self) -> String {
        format!("tcp://{}", self.address(CLIENTS))
    }

    /// The flags that make a daemon listen there.
    pub(crate) fn flags(&self) -> Vec<String> {
        let listen =
            PORTS.iter().flat_map(|port| [format!("--listen-{}", port.name), self.address(*port).port().to_string()]);
        let own = ["--name".to_owned(), self.name.clone(), "--listen-address".to_owned(), self.ip.to_string()];
        own.into_iter().chain(listen).collect()
    }
}

/// All of them.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<Node>,
}

impl Plan {
    /// Each daemon has the default ports at an address of its own: 127.0.0.1, 127.0.0.2, ... Linux answers at all of
    /// 127.0.0.0/8; elsewhere all share 127.0.0.1, and their ports differ.
    pub(crate) fn new(count: u8, first_port: u16) -> Plan {
        let own_address =
            (2..=count).all(|index| ports::probe(Transport::Tcp, SocketAddr::new(loopback(index), 0)).is_ok());
        Plan::with(count, first_port, own_address)
    }

    fn with(count: u8, first_port: u16, own_address: bool) -> Plan {
        let node = |index: u8| Node {
            name: format!("node-{index}"),
            ip: if own_address { loopback(index) } else { loopback(1) },
            first_port: first_port + if own_address { 0 } else { u16::from(index - 1) * OFFSET },
        };
        Plan { nodes: (1..=count).map(node).collect() }
    }

    /// What DNS says about them.
    pub(crate) fn hosts(&self) -> Vec<Host> {
        let ports = |node: &Node| PORTS.map(|port| (port.name, node.address(port).port()));
        self.nodes.iter().map(|node| Host { name: node.name.clone(), ip: node.ip, ports: ports(node) }).collect()
    }

    /// Refuses to start where a port is in use, before anything was started.
    pub(crate) fn check_ports(&self) -> Result<(), Failure> {
        for (node, port) in self.nodes.iter().flat_map(|node| PORTS.map(|port| (node, port))) {
            let address = node.address(port);
            if let Err(error) = ports::probe(port.transport, address) {
                let failure = cannot_listen(address, &format!("listen.{}", port.name), &error);
                let other = self.elsewhere().map(|port| format!(": statemesh up --port {port}")).unwrap_or_default();
                let hint =
                    format!("end that process (another mesh: Ctrl-C in its terminal), or take other ports{other}");
                return Err(Failure { message: format!("{}: {}", node.name, failure.message), ..failure }.hint(hint));
            }
        }
        Ok(())
    }

    /// A first port with which nothing is in the way now.
    fn elsewhere(&self) -> Option<u16> {
        const CANDIDATES: [u16; 6] = [8400, 9400, 10_400, 17_400, 18_400, 27_400];
        let own = self.nodes.first()?.first_port;
        let is_free = |candidate: &u16| {
            self.nodes.iter().all(|node| {
                let moved = Node { first_port: node.first_port - own + candidate, ..node.clone() };
                PORTS.iter().all(|port| ports::probe(port.transport, moved.address(*port)).is_ok())
            })
        };
        CANDIDATES.into_iter().find(is_free)
    }

    /// Where the first daemon serves clients.
    pub(crate) fn clients_address(&self) -> String {
        self.nodes.first().map(Node::clients).unwrap_or_default()
    }
}

fn loopback(index: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, index).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_daemons_share_a_socket() {
        for own_address in [true, false] {
            let plan = Plan::with(50, 60_000, own_address);
            let mut seen = HashSet::new();
            for (node, port) in plan.nodes.iter().flat_map(|node| PORTS.map(|port| (node, port))) {
                assert!(seen.insert((node.address(port), port.name == "gossip")), "{node:?} {port:?}");
            }
            assert_eq!(plan.clients_address(), "tcp://127.0.0.1:60000");
        }
    }

    #[test]
    fn ports_that_are_in_use_are_not_what_is_advised() {
        // Where another process has it, it is in use all the same.
        let _taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 8400));
        let hint = Plan::with(2, 8400, false).check_ports().unwrap_err().hint.unwrap();
        assert!(hint.contains("statemesh up --port ") && !hint.ends_with("--port 8400"), "{hint}");
    }

    #[test]
    fn the_first_daemon_has_the_default_ports() {
        let flags = Plan::with(1, 7400, true).nodes[0].flags().join(" ");
        assert!(flags.starts_with("--name node-1 --listen-address 127.0.0.1 --listen-clients 7400 "), "{flags}");
    }
}
