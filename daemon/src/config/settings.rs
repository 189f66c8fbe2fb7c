//! The one table of settings: flags, environment variables, keys of the file, help texts and the reference come from it.

use crate::kind::Kind;
use statemesh_node::limits::{Limits, Unit};
use std::sync::LazyLock;
use std::time::Duration;

/// One thing that can be set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Its key in the file: `limits.message_bytes` is `message_bytes` in `[limits]`.
    pub(crate) key: &'static str,
    /// What its text means.
    pub(crate) kind: Kind,
    /// Whether it is a list.
    pub(crate) many: bool,
    /// Its value where no source gives one; empty: none.
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
pub(crate) static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let limits = Limits::ROWS.iter().map(|row| one(row.key, kind_of(row.unit), row.default, row.help));
    BEFORE_LIMITS.iter().copied().chain(limits).chain(AFTER_LIMITS.iter().copied()).collect()
});

fn kind_of(unit: Unit) -> Kind {
    match unit {
        Unit::Count { min, max } => Kind::Count { min, max },
        Unit::Bytes { min, max } => Kind::Bytes { min, max },
        Unit::Span { max } => Kind::Span { max, word: None },
    }
}

/// Those of the daemon that are no limits.
#[rustfmt::skip] // A table: one row for each setting.
const BEFORE_LIMITS: &[Setting] = &[
    one("mesh", Kind::Name, "statemesh", "The mesh's name; daemons of another mesh are refused"),
    one("name", Kind::Name, "", "This daemon's name, unique in the mesh and the same after a restart; by default the host's name"),
    one("partitions", count(65_535), "1024", "Number of partitions; the same on every daemon, fixed at the mesh's birth"),
    one("advertise", Kind::Ip, "", "The address that others reach this daemon at; by default the one it listens on, or that of the interface towards the others"),
    many("birth", Kind::Name, "Names of daemons without which the mesh does not begin: no daemon is alone before it has links to all of them"),
    many("machines", Kind::Path, "Machine definitions to define at start: files, or folders of *.json"),
    one("machines_revision", count(statemesh_node::options::MAX_MACHINES_REVISION), "", "The revision of these files: raise it with each change, for a rollback too. The files of the highest revision are current in the whole mesh; without one they only add machines that the mesh does not know"),
    one("data", Kind::Path, "", "The folder of this daemon's volume, for machines with durability disk; without one it keeps all in memory. It belongs to this name, mesh and number of partitions"),
    one("durability", Kind::Choice(&["memory", "disk", "replicated"]), "memory", "Where instances of machines are kept that do not say so: in memory, or on the disk of this daemon, which must be alone then. `replicated` is not supported yet"),
    one("journal_bytes", bytes(256 << 20, 1 << 40), "8GiB", "Bytes of the journal in that folder, beyond which new events of durable machines are refused (storage_full): nothing shortens it in this version, and a start reads all of it"),
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
    many("discovery.seeds", Kind::Seed, "Gossip addresses of daemons that are always tried; none of them answering, a daemon waits"),
    one("discovery.alone_after", Kind::Span { max: HOUR, word: Some(NEVER) }, "5s", "After so long in which DNS has named this daemon and no other, three times at least, it is alone on purpose, and ready; with neither service nor seeds it is so at once. Silence, of DNS or of a seed, is waited for without end"),
    many("gossip.keys", Kind::Key, "Keys of the gossip, the one to send with first; without any, gossip is not authenticated beyond the mesh's name"),
    one("gossip.keys_file", Kind::Path, "", "A file with the keys of the gossip instead, one on each line; it is read again when it changes (statemesh keys rotate)"),
    one("security.mode", Kind::Choice(&["curve", "none"]), "", "How clients and daemons are told from strangers: by CURVE keys, or not at all; must be set to listen on anything but loopback"),
    one(OWN_KEY_FILE, Kind::Path, "", "The file with this daemon's own keys for clients (statemesh keys new); it is read again when it changes (statemesh keys renew)"),
    one(CLIENT_LIST, Kind::Path, "", "The file that lists the clients that are let in, and what each may do; it is read again when it changes (statemesh keys allow)"),
    one("reactor.threads", count(256), "1", "Threads that serve clients"),
    one("reactor.spin", Kind::Span { max: MINUTE, word: Some(RESERVED) }, "100us", "For how long a reactor that has run out of messages polls before it sleeps, where that has helped before; 0 sleeps at once, `reserved` never sleeps and wants a core of its own"),
];

/// Those of the section `http`, and of the command line.
#[rustfmt::skip] // A table: one row for each setting.
const AFTER_LIMITS: &[Setting] = &[
    one("http.connections", count(65_536), "256", "HTTP connections at a time; when all are open, the one that has asked nothing for longest makes room for a new one"),
    one("http.probe_connections", count(1_024), "16", "HTTP connections beyond those, for when all of them wait for an answer; they may ask for /health/live and /health/ready only"),
    one("http.header_bytes", bytes(8_192, 1 << 20), "16KiB", "The head of one HTTP request"),
    one("http.unsent_bytes", bytes(65_536, 64 << 30), "64MiB", "Bodies of HTTP answers that are made or wait to be read, all together; a request waits until there is room for an answer as large as one may be"),
    one("http.timeout", span(MINUTE), "10s", "For one HTTP request, for the next on an open connection, and for a peer to take a part of its answer"),
    many("http.tokens", Kind::Token, "Secrets, one of which a request over anything but loopback must show (Authorization: Bearer TOKEN); health and metrics are open"),
    one("http.tls_cert", Kind::Path, "", "The file with the certificate chain (PEM) for HTTPS; without it HTTP is not encrypted"),
    one("http.tls_key", Kind::Path, "", "The file with the certificate's private key (PEM)"),
    one(CLIENT_ADDRESS, Kind::Daemons, DEFAULT_ADDRESS, "The daemon that the command line talks to; of several the first that answers. A name may have several addresses"),
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
    /// For words of a few letters a single slip weighs too much in the measure of likeness.
    const ONE_SLIP: f64 = 0.9;
    let likeness = |name: &str| match strsim::damerau_levenshtein(given, name) {
        1 if given.len() > 2 => strsim::jaro_winkler(given, name).max(ONE_SLIP),
        _ => strsim::jaro_winkler(given, name),
    };
    known
        .filter(|name| *name != given)
        .map(|name| (likeness(name), name))
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
        for setting in SETTINGS.iter() {
            for item in setting.default_items() {
                assert_eq!(setting.kind.check(&item), Ok(()), "{}", setting.key);
            }
        }
    }

    #[test]
    fn no_two_settings_share_a_key_a_variable_or_a_flag() {
        let mut seen = HashSet::new();
        for setting in SETTINGS.iter() {
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
        assert_eq!(did_you_mean("PYA", ["ADD", "PAY"].into_iter()), Some("PAY"));
        assert_eq!(did_you_mean("mesh", ["mesh"].into_iter()), None, "that is what was given");
    }
}
