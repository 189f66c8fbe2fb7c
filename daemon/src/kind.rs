//! The kinds of value that a setting can have: how each is written, what it may be, and how it reads back.
//!
//! A value travels as the text in which it was given, whichever source it came from; the kind checks that text once, when
//! the configuration is loaded, and reads it again when the daemon's options are made of it.

use statemesh_transport::curve::PublicKey;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What a setting's text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name: letters, digits, `-`, `_` and `.`, at most 253 bytes, as a host name may be.
    Name,
    /// A whole number within bounds.
    Count {
        /// The least that is accepted.
        min: u64,
        /// The most that is accepted.
        max: u64,
    },
    /// A size in bytes, with a unit or without.
    Bytes {
        /// The least that is accepted, in bytes.
        min: u64,
        /// The most that is accepted, in bytes.
        max: u64,
    },
    /// A span of time, with a unit.
    Span {
        /// The longest that is accepted.
        max: Duration,
        /// A word that is accepted as well, for a time without end.
        word: Option<&'static str>,
    },
    /// An IP address.
    Ip,
    /// An IP address and port.
    Socket,
    /// The address and port at which another daemon gossips.
    Seed,
    /// A port, or an IP address and port, to listen on.
    Listen,
    /// Addresses of daemons, with commas between them.
    Daemons,
    /// A 32-byte key in hexadecimal.
    Key,
    /// A secret text that a client of HTTP shows.
    Token,
    /// A CURVE public key in Z85.
    PublicKey,
    /// A file or folder.
    Path,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A filter of log lines: `info`, or `warn,statemesh_mesh=debug`.
    LogFilter,
}

impl Kind {
    /// What stands for the value in help texts.
    pub(crate) fn placeholder(self) -> &'static str {
        match self {
            Kind::Name => "NAME",
            Kind::Count { .. } => "COUNT",
            Kind::Bytes { .. } => "SIZE",
            Kind::Span { .. } => "TIME",
            Kind::Ip => "IP",
            Kind::Socket | Kind::Seed => "IP:PORT",
            Kind::Listen => "[IP:]PORT",
            Kind::Daemons => "HOST:PORT,...",
            Kind::Key => "HEX",
            Kind::PublicKey => "Z85",
            Kind::Token => "TOKEN",
            Kind::Path => "PATH",
            Kind::Choice(_) => "WORD",
            Kind::LogFilter => "LEVEL",
        }
    }

    /// What is accepted, as a phrase for errors and the reference.
    pub(crate) fn describe(self) -> String {
        match self {
            Kind::Name => "a name of letters, digits, '-', '_' and '.', at most 253 bytes".into(),
            Kind::Count { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Bytes { min, max } => {
                format!("a size from {} to {}, such as 512KiB or 1MiB", bytes_text(min), bytes_text(max))
            }
            Kind::Span { max, word } => {
                let or = word.map_or_else(String::new, |word| format!(", or {word}"));
                format!("a time up to {}, such as 50us, 250ms, 5s or 2m{or}", span_text(max))
            }
            Kind::Ip => "an IP address".into(),
            Kind::Socket => "an IP address and port, such as 10.0.0.7:53".into(),
            Kind::Seed => format!("an IP address and the port of its listen.gossip, such as 10.0.0.7:{GOSSIP_PORT}"),
            Kind::Listen => "a port, or an IP address and port; port 0 takes any free one".into(),
            Kind::Daemons => "an address such as tcp://127.0.0.1:7400, or several with commas between them".into(),
            Kind::Key => "32 bytes as 64 hexadecimal digits (openssl rand -hex 32)".into(),
            Kind::PublicKey => "a public key: 40 characters of Z85".into(),
            Kind::Token => {
                format!("a secret of {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} visible ASCII characters without commas")
            }
            Kind::Path => "a file or folder".into(),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::LogFilter => "error, warn, info, debug, trace or off, and target=level pairs after commas".into(),
        }
    }

    /// Whether `text` is a value of this kind.
    pub(crate) fn check(self, text: &str) -> Result<(), Misfit> {
        let good = match self {
            Kind::Path => !text.is_empty(),
            Kind::Name => is_name(text),
            Kind::Count { min, max } => count(text).is_some_and(|n| (min..=max).contains(&n)),
            Kind::Bytes { min, max } => bytes(text).is_some_and(|n| (min..=max).contains(&n)),
            Kind::Span { word: Some(word), .. } if text == word => true,
            Kind::Span { max, .. } => span(text).is_some_and(|time| time <= max),
            Kind::Ip => text.parse::<IpAddr>().is_ok(),
            Kind::Socket => text.parse::<SocketAddr>().is_ok(),
            Kind::Seed => text.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0),
            Kind::Listen => text.parse::<u16>().is_ok() || text.parse::<SocketAddr>().is_ok(),
            Kind::Daemons => daemons(text).is_some(),
            Kind::Key => key(text).is_some(),
            Kind::Token => is_token(text),
            Kind::PublicKey => PublicKey::from_z85(text).is_ok(),
            Kind::Choice(words) => words.contains(&text),
            Kind::LogFilter => is_log_filter(text),
        };
        if good { Ok(()) } else { Err(self.misfit(text)) }
    }

    fn misfit(self, text: &str) -> Misfit {
        match self {
            Kind::Key | Kind::Token => Misfit::Secret(self),
            Kind::Span { .. } if count(text).is_some() => Misfit::NoUnit(self, text.to_owned()),
            Kind::Seed => match text.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(ip) => Misfit::NoPort(text.to_owned(), SocketAddr::new(ip, GOSSIP_PORT)),
                Err(_) if text.parse::<SocketAddr>().is_err() && daemon(text).is_some() => {
                    Misfit::Named(text.to_owned())
                }
                Err(_) => Misfit::Other(self, text.to_owned()),
            },
            _ => Misfit::Other(self, text.to_owned()),
        }
    }
}

/// Why a text is no value of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    /// The text is a secret, and is not repeated.
    #[error("this is not {}", .0.describe())]
    Secret(Kind),
    /// A time that is a number only.
    #[error("'{1}' has no unit: write {kind}", kind = .0.describe())]
    NoUnit(Kind, String),
    /// An address where one with a port is needed.
    #[error("'{0}' has no port: write {1}, if listen.gossip of that daemon was not set")]
    NoPort(String, SocketAddr),
    /// The name of a host where its address is needed.
    #[error("'{0}' is a name, and a seed is an IP address and port: discovery.service is what looks names up")]
    Named(String),
    /// Any other text.
    #[error("'{1}' is not {kind}", kind = .0.describe())]
    Other(Kind, String),
}

fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=253).contains(&text.len()) && text.chars().all(allowed)
}

/// Shorter ones could be guessed.
const MIN_TOKEN_BYTES: usize = 16;
const MAX_TOKEN_BYTES: usize = 256;

fn is_token(text: &str) -> bool {
    (MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// A word alone must be a level: the library takes any other for the name of a part, and then nothing else is written.
fn is_log_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word.trim()));
    text.split(',').all(|part| part.split_once('=').map_or(is_level(part), |(_, level)| is_level(level)))
        && text.parse::<tracing_subscriber::filter::Targets>().is_ok()
}

/// The port for clients, unless it was set.
pub(crate) const CLIENT_PORT: u16 = 7400;
/// The port for gossip, unless it was set.
const GOSSIP_PORT: u16 = 7403;

/// Addresses of daemons as `tcp://host:port`. What precedes the host, such as `http://`, and what follows the port are left out, as is the port of
/// a host that has none: then it is the one for clients.
pub(crate) fn daemons(text: &str) -> Option<Vec<String>> {
    text.split(',').map(|address| daemon(address.trim())).collect()
}

fn daemon(text: &str) -> Option<String> {
    const SCHEMES: [&str; 3] = ["tcp", "http", "https"];
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if SCHEMES.contains(&scheme) => rest.trim_end_matches('/'),
        Some(_) => return None,
        None => text,
    };
    let (host, port) = match rest.rsplit_once(':') {
        // An address of IPv6 without its brackets has no port: its colons are its own.
        _ if rest.parse::<std::net::Ipv6Addr>().is_ok() => (format!("[{rest}]"), CLIENT_PORT),
        Some((host, port)) if !rest.ends_with(']') => (host.to_owned(), port.parse().ok().filter(|port| *port > 0)?),
        _ => (rest.to_owned(), CLIENT_PORT),
    };
    is_host(&host).then(|| format!("tcp://{host}:{port}"))
}

/// Whether a text can be an address, one of IPv6 in brackets and with its zone, or a host's name: what is none is better told where it was
/// written than by a search for it. Letters of all languages count, as some systems look such names up.
fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        return inner.split('%').next().is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let is_label = |label: &str| {
        let is_inner = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        !label.is_empty() && !label.starts_with('-') && label.chars().all(is_inner)
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
}

/// A whole number, with `_` between digits where that helps to read it.
pub(crate) fn count(text: &str) -> Option<u64> {
    let digits = text.replace('_', "");
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// A size in bytes.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 8] = [
        ("B", 1),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("", 1),
    ];
    let (number, unit) = split_unit(text);
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
    count(number)?.checked_mul(*scale)
}

/// A span of time; zero needs no unit.
pub(crate) fn span(text: &str) -> Option<Duration> {
    const UNITS_NS: [(&str, u64); 6] = [
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (number, unit) = split_unit(text);
    let (_, scale) = UNITS_NS.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_nanos(count(number)?.checked_mul(*scale)?))
}

/// A 32-byte key.
pub(crate) fn key(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(key)
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

fn bytes_text(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale)) {
        Some((unit, scale)) => format!("{}{unit}", bytes / scale),
        None => format!("{bytes}B"),
    }
}

fn span_text(span: Duration) -> String {
    match span.as_secs() {
        secs if secs >= 3_600 && secs.is_multiple_of(3_600) => format!("{}h", secs / 3_600),
        secs if secs >= 60 && secs.is_multiple_of(60) => format!("{}m", secs / 60),
        0 => format!("{}ms", span.as_millis()),
        secs => format!("{secs}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_binary_and_decimal_units() {
        assert_eq!(bytes("1024"), Some(1024));
        assert_eq!(bytes("1MiB"), Some(1 << 20));
        assert_eq!(bytes("4 kB"), Some(4_000));
        assert_eq!(bytes("1_000B"), Some(1_000));
        for wrong in ["", "MiB", "1mib", "-1", "1.5MiB", "99999999999999999999", "18446744073709551615GiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_need_a_unit_unless_they_are_zero() {
        assert_eq!(span("50us"), Some(Duration::from_micros(50)));
        assert_eq!(span("2m"), Some(Duration::from_secs(120)));
        assert_eq!(span("0"), Some(Duration::ZERO));
        for wrong in ["5", "s", "5 parsecs", "-5s", "1e3s"] {
            assert_eq!(span(wrong), None, "{wrong}");
        }
        let kind = Kind::Span { max: Duration::from_secs(60), word: None };
        assert_eq!(
            kind.check("5").unwrap_err().to_string(),
            "'5' has no unit: write a time up to 1m, such as 50us, 250ms, 5s or 2m"
        );
        assert!(kind.check("61s").is_err() && kind.check("never").is_err());
    }

    #[test]
    fn an_error_about_a_key_does_not_repeat_it() {
        let message = Kind::Key.check("c0ffee-very-secret").unwrap_err().to_string();
        assert!(!message.contains("secret"), "{message}");
        assert!(Kind::Key.check(&"0f".repeat(32)).is_ok());
        assert!(Kind::Key.check(&"é".repeat(32)).is_err());
    }

    #[test]
    fn a_word_that_is_no_level_is_no_filter_of_log_lines() {
        for right in ["info", "OFF", "warn,statemesh_mesh=debug"] {
            assert!(Kind::LogFilter.check(right).is_ok(), "{right}");
        }
        for wrong in ["loud", "", "info,statemesh_mesh", "statemesh_mesh=loud"] {
            assert!(Kind::LogFilter.check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_checked_as_addresses() {
        assert!(Kind::Listen.check("7400").is_ok() && Kind::Listen.check("127.0.0.1:0").is_ok());
        assert!(Kind::Listen.check("70000").is_err() && Kind::Socket.check("7403").is_err());
        assert!(Kind::Seed.check("10.0.0.7:7403").is_ok() && Kind::Seed.check("[::1]:7403").is_ok());
        let wrong = |text: &str| Kind::Seed.check(text).unwrap_err().to_string();
        assert!(wrong("10.0.0.7").contains("has no port: write 10.0.0.7:7403"), "{}", wrong("10.0.0.7"));
        assert!(wrong("::1").contains("write [::1]:7403") && wrong("[::1]").contains("write [::1]:7403"));
        for name in ["db-1:7403", "db-1"] {
            assert!(wrong(name).contains("is a name") && wrong(name).contains("discovery.service"), "{}", wrong(name));
        }
        assert!(wrong("10.0.0.7:0").contains("listen.gossip") && wrong("!!").contains("listen.gossip"));
        for wrong in [
            "",
            "tcp://:7400",
            "tcp://host:0",
            "udp://host:1",
            "a b",
            "host:x",
            "a:1,,b:1",
            "host/path",
            "!!",
            "a..b",
            "-a",
            "[x]",
            "a@b:1",
        ] {
            assert!(Kind::Daemons.check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_daemon_is_known_by_whatever_is_printed_of_it() {
        let read = |text| daemons(text).unwrap().join(" ");
        assert_eq!(read("tcp://[::1]:7400"), "tcp://[::1]:7400");
        assert_eq!(read("::1"), "tcp://[::1]:7400");
        assert_eq!(read("[::1]"), "tcp://[::1]:7400");
        assert_eq!(read("10.0.0.1:7500, tcp://b:1,c"), "tcp://10.0.0.1:7500 tcp://b:1 tcp://c:7400");
        assert_eq!(read("http://10.0.0.1:7480/"), "tcp://10.0.0.1:7480");
        assert_eq!(
            read("my_mesh-0.shop.svc.:1,[fe80::1%eth0]:1"),
            "tcp://my_mesh-0.shop.svc.:1 tcp://[fe80::1%eth0]:1"
        );
    }
}
