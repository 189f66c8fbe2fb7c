//! The one table of settings: flags, environment variables, keys of the file, help texts and the reference come from it.

use super::kind::Kind;
use std::time::Duration;

/// One thing that can be set.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its key in the file: `limits.message_bytes` is `message_bytes` in `[limits]`.
    pub(crate) key: &'static str,
    /// What its text means.
    pub(crate) kind: Kind,
    /// Whether it is a list.
    pub(crate) many: bool,
    /// Its value when nobody gives one; empty: none.
    pub(crate) default: &'static str,
    /// One sentence that says what it does.
    pub(crate) help: &'static str,
}

/// Where the command line looks for a daemon.
pub(crate) const DEFAULT_ADDRESS: &str = "tcp://127.0.0.1:7400";
/// How the client's address is called wherever it can be set.
pub(crate) const CLIENT_ADDRESS: &str = "client.address";
/// How the client's timeout is called wherever it can be set.
pub(crate) const CLIENT_TIMEOUT: &str = "client.timeout";

/// The text of a time that does not end.
pub(crate) const NEVER: &str = "never";
/// The text of `reactor.spin` for reactors with cores of their own.
pub(crate) const RESERVED: &str = "reserved";
/// The client's key file.
pub(crate) const CLIENT_KEY: &str = "client.key";
/// The daemons' public key.
pub(crate) const SERVER_KEY: &str = "client.server_key";
/// The daemon's own keys.
pub(crate) const OWN_KEY_FILE: &str = "security.key";
/// The list of clients.
pub(crate) const CLIENT_LIST: &str = "security.keys";
/// The file of gossip keys.
pub(crate) const GOSSIP_KEYS_FILE: &str = "gossip.keys_file";

const GIB: u64 = 1 << 30;
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

const fn one(key: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting { key, kind, many: false, default, help }
}

const fn many(key: &'static str, kind: Kind, help: &'static str) -> Setting {
    Setting { key, kind, many: true, default: "", help }
}

const fn count(max: u64) -> Kind {
    Kind::Count { min: 1, max }
}

const fn bytes(min: u64, max: u64) -> Kind {
    Kind::Bytes { min, max }
}

const fn span(max: Duration) -> Kind {
    Kind::Span { max, word: None }
}

/// Every setting, in the order of the file and of the reference.
#[rustfmt::skip] // A table: one row for each setting.
pub(crate) const SETTINGS: &[Setting] = &[
    one("mesh", Kind::Name, "statemesh", "The mesh's name; daemons of another mesh are refused"),
    one("name", Kind::Name, "", "This daemon's name, unique in the mesh and the same after a restart; by default the host's name"),
    one("partitions", count(65_535), "1024", "Number of partitions; the same on every daemon, fixed at the mesh's birth"),
    one("advertise", Kind::Ip, "", "The address that others reach this daemon at; by default the one it listens on, or that of the interface towards the others"),
    many("machines", Kind::Path, "Machine definitions to define at start: files, or folders of *.json"),
    one("leave_timeout", span(HOUR), "25s", "For how long a leaving daemon hands its instances over before it exits all the same"),
    one("log", Kind::LogFilter, "info", "Which log lines are written: a level, or levels for single parts"),
    one("log_format", Kind::Choice(&["auto", "text", "json"]), "auto", "How log lines are written; auto is text on a terminal and JSON otherwise"),
    one("listen.address", Kind::Ip, "127.0.0.1", "The address to listen on, for every port that has none of its own; any but a loopback address needs security.mode"),
    one("listen.clients", Kind::Listen, "7400", "Clients (ZeroMQ ROUTER)"),
    one("listen.changes", Kind::Listen, "7401", "State changes (ZeroMQ XPUB)"),
    one("listen.peers", Kind::Listen, "7402", "Other daemons"),
    one("listen.gossip", Kind::Listen, "7403", "Gossip (UDP)"),
    one("listen.http", Kind::Listen, "7480", "HTTP: health, metrics and read-only JSON"),
    one("discovery.service", Kind::Name, "", "DNS name of the headless Service whose records are the daemons"),
    one("discovery.dns_server", Kind::Socket, "", "A DNS server to ask instead of the system's"),
    many("discovery.seeds", Kind::Socket, "Gossip addresses of daemons that are always tried"),
    one("discovery.alone_after", Kind::Span { max: HOUR, word: Some(NEVER) }, "5s", "After this long without finding anybody a daemon is alone on purpose, and ready; with neither service nor seeds it is so at once"),
    many("gossip.keys", Kind::Key, "Keys of the gossip, the one to send with first; without any, gossip is not authenticated beyond the mesh's name"),
    one("gossip.keys_file", Kind::Path, "", "A file with the keys of the gossip instead, one on each line; it is read again when it changes (statemesh keys rotate)"),
    one("security.mode", Kind::Choice(&["curve", "none"]), "", "How clients and daemons are told from strangers: by CURVE keys, or not at all; must be set to listen on anything but loopback"),
    one(OWN_KEY_FILE, Kind::Path, "", "The file with this daemon's own keys for clients (statemesh keys new); it is read again when it changes (statemesh keys renew)"),
    one(CLIENT_LIST, Kind::Path, "", "The file that lists the clients that are let in, and what each may do; it is read again when it changes (statemesh keys allow)"),
    one("reactor.threads", count(256), "1", "Threads that serve clients"),
    one("reactor.spin", Kind::Span { max: MINUTE, word: Some(RESERVED) }, "100us", "For how long a reactor that has run out of messages polls before it sleeps, where that has helped before; 0 sleeps at once, `reserved` never sleeps and wants a core of its own"),
    one("limits.connections", count(1_000_000), "10000", "Connections of clients, subscribers and other daemons; a new one takes the place of one that has not completed its handshake for a while, or else is refused"),
    one("limits.connections_per_address", count(1_000_000), "4096", "Connections from one address; further ones are refused"),
    one("limits.connections_per_second", count(1_000_000), "1000", "New connections from one address in a second, a second's worth of them at once; further ones are refused"),
    one("limits.message_bytes", bytes(1_024, GIB), "1MiB", "One message from a client"),
    one("limits.handshake", span(MINUTE), "5s", "Time for a new connection to complete its handshake"),
    one("limits.handshake_bytes", bytes(256, 65_536), "1KiB", "One frame before the handshake is complete; a connection with a larger one is closed"),
    one("limits.parts", count(1_024), "16", "Parts of one message; a connection with a message of more is closed"),
    one("limits.heartbeat", span(HOUR), "10s", "A peer that was silent for so long is asked for a sign of life (ZMTP 3.1); one that leaves a message half-sent for three times as long is closed"),
    one("limits.idle", span(Duration::from_secs(24 * 3_600)), "5m", "A connection without a sign of life for so long is closed"),
    one("limits.unread_bytes", bytes(65_536, 64 * GIB), "256MiB", "Messages that are not whole yet, on all connections; beyond it the connection with most of them is closed"),
    one("limits.malformed", count(1_000_000_000), "10000", "Malformed requests of one connection within limits.heartbeat; beyond it the connection is closed"),
    one("limits.batch", count(1_000_000), "10000", "Requests in one frame"),
    one("limits.key_bytes", bytes(16, 65_536), "1KiB", "The key of an instance"),
    one("limits.unsent_bytes", bytes(4_096, GIB), "4MiB", "Waiting to be written to one connection; beyond it the connection is no longer read"),
    one("limits.unsent_total_bytes", bytes(65_536, 64 * GIB), "256MiB", "Waiting to be written to all connections; beyond it no connection is read for which something waits"),
    one("limits.in_flight", count(16_777_216), "65536", "Requests forwarded and not yet answered, for each reactor"),
    one("limits.in_flight_per_connection", count(16_777_216), "4096", "Requests of one connection that are under way (forwarded, parked, or waiting for their shard); with so many the connection is not read until half of them are answered. One array may go over it"),
    one("limits.parked", count(16_777_216), "65536", "Requests that wait while their partition moves, for each reactor"),
    one("limits.forward_timeout", span(HOUR), "5s", "For how long an owner may owe the answer to a forwarded request"),
    one("limits.subscriptions", count(1_000_000), "1024", "Subscriptions of one subscriber; further ones are ignored and counted"),
    one("limits.subscriptions_total", count(100_000_000), "100000", "Subscriptions of all subscribers; further ones are ignored and counted"),
    one("limits.subscription_bytes", bytes(16, 65_536), "2KiB", "One subscription; a longer one is ignored and counted, one that is much longer ends its connection"),
    one("limits.subscriber_bytes", bytes(4_096, GIB), "4MiB", "Changes waiting for one subscriber; beyond it its oldest are dropped and counted"),
    one("limits.subscriber_total_bytes", bytes(65_536, 64 * GIB), "256MiB", "Changes waiting for all subscribers; beyond it whoever would get more loses its oldest"),
    one("limits.events_per_second", count(4_000_000_000), "1000000", "Requests of one client in a second, over all its connections, where its key has no figure of its own; further ones are refused (with security.mode = curve)"),
    one("limits.history", Kind::Count { min: 0, max: 1_024 }, "16", "Entries of an instance's history"),
    one("limits.instances", count(1_000_000_000), "10000000", "Instances on this daemon"),
    one("http.connections", count(65_536), "256", "HTTP connections at a time"),
    one("http.header_bytes", bytes(8_192, 1 << 20), "16KiB", "The head of one HTTP request"),
    one("http.timeout", span(MINUTE), "10s", "For one HTTP request, and for the next on an open connection"),
    many("http.tokens", Kind::Token, "Secrets, one of which a request over anything but loopback must show (Authorization: Bearer TOKEN); health and metrics are open"),
    one("http.tls_cert", Kind::Path, "", "The file with the certificate chain (PEM) for HTTPS; without it HTTP is not encrypted"),
    one("http.tls_key", Kind::Path, "", "The file with the certificate's private key (PEM)"),
    one(CLIENT_ADDRESS, Kind::Endpoint, DEFAULT_ADDRESS, "The daemon that the command line talks to"),
    one(CLIENT_TIMEOUT, span(HOUR), "5s", "For how long the command line waits for an answer"),
    one(CLIENT_KEY, Kind::Path, "", "The file with the client's own keys (statemesh keys new), for daemons with security.mode = curve"),
    one(SERVER_KEY, Kind::PublicKey, "", "The public key of the daemons for clients: of the key pair in their security.key"),
];

impl Setting {
    /// The setting of this key.
    pub(crate) fn find(key: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// Its environment variable. The client's settings have none of their section's name, since they are what people type.
    pub(crate) fn variable(&self) -> String {
        let key = self.key.strip_prefix("client.").unwrap_or(self.key);
        format!("STATEMESH_{}", key.replace('.', "_").to_uppercase())
    }

    /// Its flag without the dashes; `None` where a flag would show a secret in the list of processes.
    pub(crate) fn flag(&self) -> Option<String> {
        let key = self.key.strip_prefix("client.").unwrap_or(self.key);
        (!self.is_secret()).then(|| key.replace(['.', '_'], "-"))
    }

    /// The section of the file that it is in, if any.
    pub(crate) fn section(&self) -> Option<&'static str> {
        self.key.split_once('.').map(|(section, _)| section)
    }

    /// Whether it is one of the command line's own settings, not the daemon's.
    pub(crate) fn is_client(&self) -> bool {
        self.section() == Some("client")
    }

    /// Whether its value must not be shown.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Key | Kind::Token)
    }

    /// Its default as a list of texts.
    pub(crate) fn default_items(&self) -> Vec<String> {
        if self.default.is_empty() { Vec::new() } else { vec![self.default.to_owned()] }
    }
}

/// The one of `known` that `given` was probably meant to be.
pub(crate) fn did_you_mean<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const CLOSE_ENOUGH: f64 = 0.8;
    known
        .map(|name| (strsim::jaro_winkler(given, name), name))
        .filter(|(likeness, _)| *likeness >= CLOSE_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        for setting in SETTINGS {
            for item in setting.default_items() {
                assert_eq!(setting.kind.check(&item), Ok(()), "{}", setting.key);
            }
        }
    }

    #[test]
    fn no_two_settings_share_a_key_a_variable_or_a_flag() {
        let mut seen = HashSet::new();
        for setting in SETTINGS {
            assert!(seen.insert(setting.key.to_owned()), "{}", setting.key);
            assert!(seen.insert(setting.variable()), "{}", setting.variable());
            assert!(setting.flag().is_none_or(|flag| seen.insert(format!("--{flag}"))), "{}", setting.key);
        }
    }

    #[test]
    fn a_misspelt_key_finds_the_one_that_was_meant() {
        let keys = || SETTINGS.iter().map(|setting| setting.key);
        assert_eq!(did_you_mean("limits.mesage_bytes", keys()), Some("limits.message_bytes"));
        assert_eq!(did_you_mean("zzz", keys()), None);
    }
}
