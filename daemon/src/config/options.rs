//! Makes the daemon's options of a configuration.

use super::settings::{NEVER, RESERVED};
use super::{CLIENT_LIST, Config, GOSSIP_KEYS_FILE, OWN_KEY_FILE};
use crate::failure::Failure;
use crate::key_files::{self, Followed};
use crate::kind::{bytes, count, key, span};
use statemesh_gateway::Settings as Gateway;
use statemesh_gateway::tls::Files;
use statemesh_node::limits::{Limits, Unit, Value};
use statemesh_node::options::{Discovery, Listen, Mailboxes, Options, Reactor, Security, Storage};
use statemesh_protocol::place::Tier;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Everything that `statemesh daemon` is told.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    /// What its node is told.
    pub(crate) node: Options,
    /// What its HTTP server is told.
    pub(crate) http: Gateway,
    /// Certificate and private key, if HTTP is encrypted.
    pub(crate) tls: Option<Files>,
    /// What its log is told.
    pub(crate) logs: Logs,
    /// The files of keys that are followed.
    pub(crate) followed: Followed,
    /// For how long it hands off what it has before it exits all the same.
    pub(crate) leave_timeout: Duration,
}

/// How log lines are written.
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    /// Which lines.
    pub(crate) filter: String,
    /// In what form.
    pub(crate) format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For a person.
    Text,
    /// For a program.
    Json,
}

impl Config {
    /// The daemon's options. Each text was checked when the configuration was loaded; what is refused here is a setting
    /// that has no value though it needs one.
    pub(crate) fn daemon(&self) -> Result<Daemon, Failure> {
        let node = self.node()?;
        self.must_be_secured(&node.listen)?;
        let (output_bytes, wait) = (node.limits.output_bytes, node.limits.wait);
        Ok(Daemon {
            node,
            http: Gateway {
                connections: self.size("http.connections")?,
                probe_connections: self.size("http.probe_connections")?,
                header_bytes: self.size("http.header_bytes")?,
                output_bytes,
                unsent_bytes: self.size("http.unsent_bytes")?,
                timeout: self.time("http.timeout")?,
                wait,
                tokens: self.items("http.tokens").to_vec(),
            },
            tls: self.tls()?,
            logs: self.logs(),
            followed: Followed {
                own: self.is_curve().then(|| self.path(OWN_KEY_FILE)).flatten(),
                clients: self.is_curve().then(|| self.path(CLIENT_LIST)).flatten(),
                gossip: self.path(GOSSIP_KEYS_FILE),
            },
            leave_timeout: self.time("leave_timeout")?,
        })
    }

    fn node(&self) -> Result<Options, Failure> {
        Ok(Options {
            mesh: self.required("mesh", |text| Some(text.to_owned()))?,
            name: self.required("name", |text| Some(text.to_owned()))?,
            partitions: self.parsed("partitions")?,
            listen: self.listen()?,
            advertise: self.optional("advertise"),
            discovery: self.discovery()?,
            gossip_keys: self.gossip_keys()?,
            security: self.security()?,
            reactor: Reactor { threads: self.size("reactor.threads")?, spin: self.spin()? },
            mailboxes: Mailboxes::default(),
            limits: self.limits()?,
            storage: self.storage()?,
            machines: self.items("machines").iter().map(PathBuf::from).collect(),
            machines_revision: self.optional("machines_revision"),
        })
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    fn is_curve(&self) -> bool {
        self.text("security.mode") == Some("curve")
    }

    fn gossip_keys(&self) -> Result<Vec<[u8; 32]>, Failure> {
        match self.path(GOSSIP_KEYS_FILE) {
            Some(_) if !self.items("gossip.keys").is_empty() => {
                Err(Failure::usage("gossip.keys and gossip.keys_file are both given").hint("give one of them"))
            }
            Some(path) => key_files::read_gossip(&path).map_err(|failure| {
                let making = format!(
                    "a new one: statemesh keys rotate add --file {}; all daemons have the same",
                    path.display()
                );
                key_files::of_setting(failure, GOSSIP_KEYS_FILE, &making)
            }),
            None => Ok(self.items("gossip.keys").iter().filter_map(|text| key(text)).collect()),
        }
    }

    fn security(&self) -> Result<Security, Failure> {
        if !self.is_curve() {
            return Ok(Security::None);
        }
        let needs = |what: &str, how: &str| {
            Failure::usage(format!("security.mode is curve, and {what} is not set")).hint(how.to_owned())
        };
        if self.items("gossip.keys").is_empty() && self.path(GOSSIP_KEYS_FILE).is_none() {
            let how = "daemons know each other by the gossip keys: statemesh keys rotate add --file gossip.keys";
            return Err(needs("gossip.keys_file", how));
        }
        let own = self.path(OWN_KEY_FILE).ok_or_else(|| needs(OWN_KEY_FILE, "statemesh keys new daemon.key"))?;
        let how = "statemesh keys allow NAME KEY --file clients.toml";
        let clients = self.path(CLIENT_LIST).ok_or_else(|| needs(CLIENT_LIST, how))?;
        let making = format!("a new one: statemesh keys new {}; all daemons have the same", own.display());
        let own = key_files::read_own(&own).map_err(|failure| key_files::of_setting(failure, OWN_KEY_FILE, &making))?;
        let making = format!("a first client begins it: statemesh keys allow NAME KEY --file {}", clients.display());
        let clients = key_files::read_clients(&clients)
            .map_err(|failure| key_files::of_setting(failure, CLIENT_LIST, &making))?;
        Ok(Security::Curve { own, clients })
    }

    fn tls(&self) -> Result<Option<Files>, Failure> {
        match (self.path("http.tls_cert"), self.path("http.tls_key")) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Ok(Some(Files { cert, key })),
            _ => Err(Failure::usage("http.tls_cert and http.tls_key belong together: one of them is not set")),
        }
    }

    /// A daemon that listens where others can reach it must be told explicitly whether they must show a key.
    fn must_be_secured(&self, listen: &Listen) -> Result<(), Failure> {
        let listeners = [
            ("listen.clients", listen.clients),
            ("listen.changes", listen.changes),
            ("listen.peers", listen.peers),
            ("listen.gossip", listen.gossip),
        ];
        let open = listeners.into_iter().find(|(_, address)| !address.ip().to_canonical().is_loopback());
        match open {
            Some((name, address)) if self.text("security.mode").is_none() => {
                let what = format!("{name} is {address}, which others can reach, and security.mode is not set");
                Err(Failure::usage(what).hint(
                    "write in statemesh.toml, under [security]: mode = \"curve\" (`statemesh keys init` makes the keys), or, to let in \
                     all that connect: mode = \"none\"; or listen on 127.0.0.1",
                ))
            }
            _ => Ok(()),
        }
    }

    fn listen(&self) -> Result<Listen, Failure> {
        let address = self.optional("listen.address").unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let at = |text: &str| match text.parse::<u16>() {
            Ok(port) => Some(SocketAddr::new(address, port)),
            Err(_) => text.parse().ok(),
        };
        let listen = Listen {
            clients: self.required("listen.clients", at)?,
            changes: self.required("listen.changes", at)?,
            peers: self.required("listen.peers", at)?,
            gossip: self.required("listen.gossip", at)?,
            http: self.required("listen.http", at)?,
        };
        // Each reactor has a listener of its own on a port, so the kernel would give one port to two of them as well.
        let over_tcp =
            [("clients", listen.clients), ("changes", listen.changes), ("peers", listen.peers), ("http", listen.http)];
        for (index, (name, address)) in over_tcp.iter().enumerate() {
            let same = over_tcp.iter().skip(index + 1).find(|(_, other)| other == address && address.port() != 0);
            if let Some((other, _)) = same {
                let message = format!("listen.{name} and listen.{other} are both {address}");
                return Err(Failure::usage(message).hint("give each a port of its own"));
            }
        }
        Ok(listen)
    }

    /// Where other daemons gossip. Their port for clients, which is the one that people know, would be asked without end.
    fn seeds(&self) -> Result<Vec<SocketAddr>, Failure> {
        let seeds: Vec<SocketAddr> =
            self.items("discovery.seeds").iter().filter_map(|text| text.parse().ok()).collect();
        let listen = self.listen()?;
        let (clients, gossip) = (listen.clients.port(), listen.gossip.port());
        match seeds.iter().find(|seed| seed.port() == clients && clients != gossip) {
            None => Ok(seeds),
            Some(seed) => {
                let from = self.source("discovery.seeds");
                let what =
                    format!("discovery.seeds ({from}): {seed} has the port of listen.clients, where no daemon gossips");
                let meant = SocketAddr::new(seed.ip(), gossip);
                Err(Failure::usage(what).hint(format!(
                    "write the port of listen.gossip: {meant}, if that daemon has the ports of this one"
                )))
            }
        }
    }

    fn discovery(&self) -> Result<Discovery, Failure> {
        let service = self.text("discovery.service").map(absolute);
        let seeds = self.seeds()?;
        if service.is_none() && self.text("discovery.dns_server").is_some() {
            let from = self.source("discovery.dns_server");
            let what = format!(
                "discovery.dns_server is set ({from}), and discovery.service is not: that server would be asked for nothing"
            );
            return Err(Failure::usage(what).hint(
                "say what to look for: --discovery-service NAME, STATEMESH_DISCOVERY_SERVICE or service under [discovery]; or leave the server out",
            ));
        }
        let nobody_to_wait_for = service.is_none() && seeds.is_empty();
        let alone_after = match self.text("discovery.alone_after") {
            _ if nobody_to_wait_for => Some(Duration::ZERO),
            Some(NEVER) | None => None,
            Some(text) => span(text),
        };
        Ok(Discovery {
            service,
            dns_server: self.optional("discovery.dns_server"),
            seeds,
            alone_after,
            birth: self.items("birth").to_vec(),
        })
    }

    fn limits(&self) -> Result<Limits, Failure> {
        Limits::read(|row| {
            Ok(match row.unit {
                Unit::Span { .. } => Value::Span(self.time(row.key)?),
                Unit::Count { .. } | Unit::Bytes { .. } => Value::Number(self.number(row.key)?),
            })
        })
    }

    fn storage(&self) -> Result<Storage, Failure> {
        let durability = match self.text("durability") {
            Some("disk") => Tier::Disk,
            Some("replicated") => {
                let message = "durability: \"replicated\" is not supported yet: this version keeps instances in memory, or on one daemon's disk";
                return Err(Failure::usage(message).hint("write disk or memory"));
            }
            _ => Tier::Memory,
        };
        let data = self.path("data");
        if durability == Tier::Disk && data.is_none() {
            return Err(Failure::usage("durability is disk, and the daemon has no folder for its data")
                .hint("give it one: --data DIR, STATEMESH_DATA, or data in the file"));
        }
        Ok(Storage { data, durability, journal_bytes: self.number("journal_bytes")?, ..Storage::default() })
    }

    fn logs(&self) -> Logs {
        let format = match self.text("log_format") {
            Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            _ => LogFormat::Auto,
        };
        Logs { filter: self.text("log").unwrap_or("info").to_owned(), format }
    }

    fn required<T>(&self, key: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, Failure> {
        let value = self.text(key).and_then(read);
        value.ok_or_else(|| Failure::usage(format!("{key}: has no usable value ({})", self.source(key))))
    }

    fn parsed<T: FromStr>(&self, key: &str) -> Result<T, Failure> {
        self.required(key, |text| text.replace('_', "").parse().ok())
    }

    fn optional<T: FromStr>(&self, key: &str) -> Option<T> {
        self.text(key).and_then(|text| text.parse().ok())
    }

    fn number(&self, key: &str) -> Result<u64, Failure> {
        self.required(key, |text| count(text).or_else(|| bytes(text)))
    }

    fn size(&self, key: &str) -> Result<usize, Failure> {
        let value = self.number(key)?;
        usize::try_from(value).map_err(|_| Failure::usage(format!("{key}: {value} is too large for this machine")))
    }

    fn spin(&self) -> Result<Duration, Failure> {
        if self.text("reactor.spin") == Some(RESERVED) { Ok(Duration::MAX) } else { self.time("reactor.spin") }
    }

    fn time(&self, key: &str) -> Result<Duration, Failure> {
        self.required(key, span)
    }
}

/// A name with its trailing dot, so that the resolver's search list does not multiply the questions.
fn absolute(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

#[cfg(test)]
mod tests {
    use super::super::Sources;
    use super::*;
    use std::collections::BTreeMap;

    fn attempt(file: &str) -> Result<Daemon, Failure> {
        let sources = Sources {
            flags: BTreeMap::new(),
            environment: BTreeMap::new(),
            file: Some(("statemesh.toml".into(), file.to_owned())),
            file_is_named: true,
            context: None,
        };
        Config::resolve(&sources).unwrap().daemon()
    }

    fn daemon(file: &str) -> Daemon {
        attempt(file).unwrap()
    }

    #[test]
    fn a_seed_with_the_port_for_clients_is_refused_with_the_one_that_is_meant() {
        let told = |file: &str| {
            let failure = attempt(file).unwrap_err();
            format!("{} | {}", failure.message, failure.hint.unwrap_or_default())
        };
        let usual = told("[discovery]\nseeds = ['10.0.0.2:7403', '10.0.0.1:7400']");
        assert!(usual.contains("10.0.0.1:7400 has the port of listen.clients"), "{usual}");
        assert!(usual.contains("statemesh.toml:2") && usual.contains("10.0.0.1:7403"), "{usual}");
        let moved = told("[listen]\nclients = 8000\ngossip = 8003\n[discovery]\nseeds = ['10.0.0.1:8000']");
        assert!(moved.contains("10.0.0.1:8003"), "{moved}");
        assert!(
            attempt("[listen]\nclients = 8000\n[discovery]\nseeds = ['10.0.0.1:7400']").is_ok(),
            "it may be set so"
        );
    }

    #[test]
    fn who_can_be_reached_says_how_it_is_secured() {
        let refusal = attempt("[listen]\naddress = '0.0.0.0'").unwrap_err();
        assert!(refusal.message.contains("listen.clients is 0.0.0.0:7400"), "{refusal}");
        assert!(refusal.hint.is_some_and(|hint| hint.contains("mode = \"none\"")));
        assert!(attempt("[listen]\ngossip = '10.0.0.1:7403'").is_err(), "one port is enough");
        assert!(attempt("[listen]\naddress = '::1'").is_ok());
        assert!(attempt("[listen]\naddress = '0.0.0.0'\n[security]\nmode = 'none'").is_ok());
    }

    #[test]
    fn a_port_is_one_listeners() {
        let refusal = attempt("[listen]\nclients = '7999'\nhttp = '7999'").unwrap_err();
        assert_eq!(refusal.message, "listen.clients and listen.http are both 127.0.0.1:7999");
        assert!(attempt("[listen]\nclients = '0'\nhttp = '0'").is_ok(), "any port");
        assert!(attempt("[listen]\ngossip = '7400'").is_ok(), "gossip is UDP");
    }

    #[test]
    fn a_name_server_is_asked_for_something() {
        let server = "[discovery]\ndns_server = '127.0.0.1:53'\n";
        let refusal = attempt(server).unwrap_err();
        assert!(refusal.message.contains("discovery.service is not") && refusal.hint.is_some(), "{refusal}");
        assert!(attempt(&format!("{server}service = 'mesh.local'")).is_ok());
    }

    #[test]
    fn curve_says_which_file_it_misses() {
        let missing = |file: &str| attempt(&format!("[security]\nmode = 'curve'\n{file}")).unwrap_err().message;
        assert!(missing("").contains("gossip.keys_file is not set"));
        let gossip = format!("[gossip]\nkeys = ['{}']", "0f".repeat(32));
        assert!(missing(&gossip).contains("security.key is not set"));
        assert!(missing(&format!("key = '/nowhere'\n{gossip}")).contains("security.keys is not set"));
        let file = format!("[security]\nmode = 'curve'\nkey = '/nowhere/d.key'\nkeys = '/nowhere'\n{gossip}");
        let unread = attempt(&file).unwrap_err();
        assert!(unread.message.starts_with("security.key: /nowhere/d.key: "), "{unread}");
        assert!(unread.hint.is_some_and(|hint| hint.contains("statemesh keys new /nowhere/d.key")));
        let unread = attempt("[gossip]\nkeys_file = '/nowhere/gossip.keys'").unwrap_err();
        assert!(unread.message.starts_with("gossip.keys_file: /nowhere"), "{unread}");
        assert!(unread.hint.is_some_and(|hint| hint.contains("keys rotate add --file /nowhere/gossip.keys")));
    }

    #[test]
    fn defaults_are_those_of_the_node() {
        let defaults = Limits::default();
        assert_eq!(format!("{:?}", daemon("").node.limits), format!("{defaults:?}"));
    }

    #[test]
    fn a_listener_takes_the_common_address_unless_it_has_its_own() {
        let listen = daemon("[listen]\naddress = '127.0.0.2'\nclients = 1\nhttp = '127.0.0.9:2'").node.listen;
        assert_eq!(listen.clients.to_string(), "127.0.0.2:1");
        assert_eq!(listen.http.to_string(), "127.0.0.9:2");
    }

    #[test]
    fn with_nobody_to_look_for_a_daemon_is_alone_at_once() {
        assert_eq!(daemon("[discovery]\nalone_after = 'never'").node.discovery.alone_after, Some(Duration::ZERO));
        let found =
            daemon("[discovery]\nservice = 'mesh.default.svc.cluster.local'\nalone_after = 'never'").node.discovery;
        assert_eq!(found.alone_after, None);
        assert_eq!(found.service.as_deref(), Some("mesh.default.svc.cluster.local."));
        assert_eq!(daemon("birth = ['a', 'b']").node.discovery.birth, ["a", "b"]);
    }
}
