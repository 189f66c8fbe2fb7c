//! What connections may take, and what they take now.
//!
//! The bounds of one connection are its own; those of all connections are shared by the reactors of a process: the number
//! of connections exactly (it changes rarely), bytes as an equal share for each reactor (they change with every read).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Bounds and patience of a reactor.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Polls for at most this long before it sleeps, where that helps; [`Duration::MAX`]: never sleeps.
    pub spin: Duration,
    /// Accepted connections, of all reactors that share a [`Census`].
    pub connections: usize,
    /// Accepted connections from one address.
    pub connections_per_address: usize,
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
    /// Bytes of messages that are not whole yet, on all connections of this reactor.
    pub unread_bytes: usize,
    /// Beyond this many bytes that a peer does not take, it is no longer read.
    pub unsent_bytes: usize,
    /// Beyond this many bytes that the peers of this reactor do not take, nobody of whom some wait is read.
    pub unsent_total_bytes: usize,
    /// Malformed messages of one connection within one `heartbeat`; beyond it the connection is closed.
    pub malformed: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            spin: Duration::ZERO,
            connections: 10_000,
            connections_per_address: 10_000,
            message_bytes: 1 << 20,
            parts: 16,
            handshake: Duration::from_secs(5),
            handshake_bytes: 1_024,
            heartbeat: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            unread_bytes: 256 << 20,
            unsent_bytes: 4 << 20,
            unsent_total_bytes: 256 << 20,
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
    /// There are [`Settings::connections`].
    TooMany,
    /// There are [`Settings::connections_per_address`] from where it comes.
    TooManyFromAddress,
}

/// The accepted connections of all reactors of a process, by the address that they come from.
///
/// The lock is held for one look into a table, when a connection comes or goes, and only by reactors.
#[derive(Debug, Default)]
pub struct Census {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Census {
    /// Counts a new connection.
    ///
    /// # Errors
    /// There are too many; it is not counted.
    pub(crate) fn enter(&self, address: IpAddr, settings: &Settings) -> Result<(), Refusal> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= settings.connections {
            return Err(Refusal::TooMany);
        }
        let here = open.by_address.get(&address).copied().unwrap_or(0);
        if here >= settings.connections_per_address {
            return Err(Refusal::TooManyFromAddress);
        }
        open.all += 1;
        open.by_address.insert(address, here + 1);
        Ok(())
    }

    /// Counts the end of a connection that [`Census::enter`] counted.
    pub(crate) fn leave(&self, address: IpAddr) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        match open.by_address.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.by_address.remove(&address);
            }
        }
    }

    /// Accepted connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    /// The most that come from one address.
    #[must_use]
    pub fn most_from_one_address(&self) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.by_address.values().copied().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_and_all_together_have_their_bound() {
        let settings = Settings { connections: 3, connections_per_address: 2, ..Settings::default() };
        let [a, b] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        let census = Census::default();
        assert_eq!([census.enter(a, &settings), census.enter(a, &settings)], [Ok(()); 2]);
        assert_eq!(census.enter(a, &settings), Err(Refusal::TooManyFromAddress));
        assert_eq!(census.enter(b, &settings), Ok(()));
        assert_eq!(census.enter(b, &settings), Err(Refusal::TooMany));
        assert_eq!((census.connections(), census.most_from_one_address()), (3, 2));
        census.leave(a);
        assert_eq!(census.enter(b, &settings), Ok(()));
        census.leave(a);
        assert_eq!((census.connections(), census.most_from_one_address()), (2, 2));
    }
}
