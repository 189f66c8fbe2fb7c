//! What connections may take, and what they take now.
//!
//! The bounds of one connection are its own; those of all connections are shared by the reactors of a process: the number
//! of connections exactly (it changes rarely), bytes as an equal share for each reactor (they change with every read).
//!
//! Links between daemons are a kind of their own: what the house needs to work is never taken by its guests, so they have
//! places of their own, and no bound for guests stops them. Each daemon needs the answers of others to get on with its own: two
//! that stopped to read each other for what is unsent would wait for each other for ever.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bounds and patience of a reactor.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Polls for at most this long before it sleeps, where that helps; [`Duration::MAX`]: never sleeps.
    pub spin: Duration,
    /// Accepted connections of guests, of all reactors that share a [`ConnectionLimiter`].
    pub connections: usize,
    /// Accepted links, of the same reactors.
    pub links: usize,
    /// Accepted connections of one kind from one address.
    pub connections_per_address: usize,
    /// New connections of one kind from one address in a second; a second's worth may come at once.
    pub connections_per_second: u32,
    /// Bytes of one message on a connection that [`crate::Io::connect`] opened; listeners have their own limits.
    pub message_bytes: usize,
    /// Parts of one message.
    pub parts: usize,
    /// Time to complete a handshake.
    pub handshake: Duration,
    /// Bytes of one frame before the handshake is complete.
    pub handshake_bytes: usize,
    /// A peer that was silent for this long is asked for a sign of life, if it can be (ZMTP 3.1); one that began a message
    /// and does not go on is closed after three such spans.
    pub heartbeat: Duration,
    /// A connection is closed after so long without a sign of life.
    pub idle: Duration,
    /// Bytes of messages that are not whole yet, on all of this reactor's connections of guests.
    pub unread_bytes: usize,
    /// Beyond this many bytes that a guest does not take, it is no longer read.
    pub unsent_bytes: usize,
    /// Beyond this many bytes that the guests of this reactor do not take, no guest that has some of them waiting is read.
    pub unsent_total_bytes: usize,
    /// Beyond this many the guest that is owed most is closed: a guest that is no longer read may still have answers under way.
    pub unsent_most_bytes: usize,
    /// With so many bytes that the other side of a link has not taken there is no [`crate::Io::room`]; a link that is given
    /// twice as many ends.
    pub link_bytes: usize,
    /// Messages of one connection for which a [`crate::Ticket`] is kept; with so many it is no longer read, until half of
    /// them are answered.
    pub in_flight: usize,
    /// Malformed messages of one connection within one `heartbeat`; beyond it the connection is closed.
    pub malformed: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            spin: Duration::ZERO,
            connections: 10_000,
            links: 4_096,
            connections_per_address: 10_000,
            connections_per_second: 10_000,
            message_bytes: 1 << 20,
            parts: 16,
            handshake: Duration::from_secs(5),
            handshake_bytes: 1_024,
            heartbeat: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            unread_bytes: 256 << 20,
            unsent_bytes: 4 << 20,
            unsent_total_bytes: 256 << 20,
            unsent_most_bytes: 320 << 20,
            link_bytes: 64 << 20,
            in_flight: 4_096,
            malformed: 10_000,
        }
    }
}

impl Settings {
    /// The bounds of a link whose messages may have so many bytes.
    pub(crate) fn bounds(&self, message_bytes: usize) -> Bounds {
        Bounds { message_bytes, parts: self.parts, handshake_bytes: self.handshake_bytes }
    }
}

/// Bounds of what comes in on one link.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of one message.
    pub message_bytes: usize,
    /// Parts of one message.
    pub parts: usize,
    /// Bytes of one frame before the handshake is complete.
    pub handshake_bytes: usize,
}

impl Bounds {
    /// Those of a message of so many bytes, and else the defaults.
    #[must_use]
    pub fn of_messages(message_bytes: usize) -> Self {
        let Settings { parts, handshake_bytes, .. } = Settings::default();
        Self { message_bytes, parts, handshake_bytes }
    }
}

/// Why a new connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There are [`Settings::connections`], or [`Settings::links`].
    TooMany,
    /// There are [`Settings::connections_per_address`] from where it comes.
    TooManyFromAddress,
    /// More than [`Settings::connections_per_second`] come from there.
    TooFast,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client's or a subscriber's: one that does not take what it is sent is not read.
    Guest,
    /// Another daemon's: it is always read, once it has greeted.
    Link,
}

/// The accepted connections of all reactors of a process, by their kind and the address that they come from.
///
/// The lock is held for one look into a table, when a connection comes or goes, and only by reactors.
#[derive(Debug, Default)]
pub struct ConnectionLimiter {
    guests: Mutex<Open>,
    links: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, Source>,
    /// Beyond this many addresses those that no longer matter are looked for.
    prune_at: usize,
}

/// One address that connections come from.
#[derive(Clone, Copy, Debug)]
struct Source {
    open: usize,
    /// When its connections so far would have come at the full rate ("generic cell rate algorithm").
    due: Instant,
}

/// How far the connections of an address may be ahead of their rate.
const BURST: Duration = Duration::from_secs(1);
/// Addresses that are kept before those without connections are looked for.
const MIN_SOURCES: usize = 1_024;

impl ConnectionLimiter {
    /// Counts a new connection.
    ///
    /// # Errors
    /// There are too many; it is not counted.
    pub(crate) fn enter(&self, kind: Kind, address: IpAddr, settings: &Settings, now: Instant) -> Result<(), Refusal> {
        let places = match kind {
            Kind::Guest => settings.connections,
            Kind::Link => settings.links,
        };
        let mut open = self.open(kind);
        let all = open.all;
        open.prune(now);
        let source = open.by_address.entry(address).or_insert(Source { open: 0, due: now });
        let due = source.due.max(now) + Duration::from_secs(1) / settings.connections_per_second.max(1);
        if due > now + BURST {
            return Err(Refusal::TooFast);
        }
        source.due = due;
        if source.open >= settings.connections_per_address {
            return Err(Refusal::TooManyFromAddress);
        }
        if all >= places {
            return Err(Refusal::TooMany);
        }
        source.open += 1;
        open.all += 1;
        Ok(())
    }

    /// Counts the end of a connection that [`ConnectionLimiter::enter`] counted.
    pub(crate) fn leave(&self, kind: Kind, address: IpAddr) {
        let mut open = self.open(kind);
        open.all = open.all.saturating_sub(1);
        if let Some(source) = open.by_address.get_mut(&address) {
            source.open = source.open.saturating_sub(1);
        }
    }

    /// Accepted connections of this kind.
    #[must_use]
    pub fn connections(&self, kind: Kind) -> usize {
        self.open(kind).all
    }

    fn open(&self, kind: Kind) -> MutexGuard<'_, Open> {
        let open = match kind {
            Kind::Guest => &self.guests,
            Kind::Link => &self.links,
        };
        open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most guests' connections that come from one address.
    #[must_use]
    pub fn most_from_one_address(&self) -> usize {
        let open = self.open(Kind::Guest);
        open.by_address.values().map(|source| source.open).max().unwrap_or(0)
    }
}

impl Open {
    /// Forgets addresses without connections whose rate no longer matters: each time when there are twice as many as were
    /// left the last time, so that a peer that comes from ever new addresses pays for it, not every peer.
    fn prune(&mut self, now: Instant) {
        if self.by_address.len() >= self.prune_at.max(MIN_SOURCES) {
            self.by_address.retain(|_, source| source.open > 0 || source.due > now);
            self.prune_at = self.by_address.len() * 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_and_all_together_have_their_bound() {
        let settings = Settings { connections: 3, connections_per_address: 2, ..Settings::default() };
        let [a, b] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        let limiter = ConnectionLimiter::default();
        let now = Instant::now();
        let enter = |address| limiter.enter(Kind::Guest, address, &settings, now);
        assert_eq!([enter(a), enter(a)], [Ok(()); 2]);
        assert_eq!(enter(a), Err(Refusal::TooManyFromAddress));
        assert_eq!(enter(b), Ok(()));
        assert_eq!(enter(b), Err(Refusal::TooMany));
        assert_eq!((limiter.connections(Kind::Guest), limiter.most_from_one_address()), (3, 2));
        limiter.leave(Kind::Guest, a);
        assert_eq!(enter(b), Ok(()));
        limiter.leave(Kind::Guest, a);
        assert_eq!((limiter.connections(Kind::Guest), limiter.most_from_one_address()), (2, 2));
    }

    #[test]
    fn connections_have_a_rate_and_who_left_long_ago_is_forgotten() {
        let settings = Settings { connections_per_second: 10, ..Settings::default() };
        let limiter = ConnectionLimiter::default();
        let start = Instant::now();
        let enter = |last: u32, millis| {
            limiter.enter(
                Kind::Guest,
                IpAddr::from(last.to_be_bytes()),
                &settings,
                start + Duration::from_millis(millis),
            )
        };
        assert_eq!((0..20).filter(|_| enter(1, 0).is_ok()).count(), 10);
        assert_eq!(enter(1, 0), Err(Refusal::TooFast));
        assert_eq!((0..20).filter(|_| enter(1, 500).is_ok()).count(), 5);
        for n in 2..10_000 {
            enter(n, u64::from(n)).unwrap();
            limiter.leave(Kind::Guest, IpAddr::from(n.to_be_bytes()));
        }
        let kept = limiter.guests.lock().unwrap().by_address.len();
        assert!(kept < 3 * MIN_SOURCES, "{kept}");
    }

    #[test]
    fn guests_never_take_the_places_of_links() {
        let settings = Settings { connections: 2, links: 1, connections_per_address: 2, ..Settings::default() };
        let limiter = ConnectionLimiter::default();
        let now = Instant::now();
        let here = IpAddr::from([127, 0, 0, 1]);
        let enter = |kind| limiter.enter(kind, here, &settings, now);
        assert_eq!([(); 2].map(|()| enter(Kind::Guest)), [Ok(()); 2]);
        assert_eq!(enter(Kind::Guest), Err(Refusal::TooManyFromAddress));
        assert_eq!([enter(Kind::Link), enter(Kind::Link)], [Ok(()), Err(Refusal::TooMany)]);
        limiter.leave(Kind::Link, here);
        assert_eq!((limiter.connections(Kind::Guest), limiter.connections(Kind::Link)), (2, 0));
    }
}
