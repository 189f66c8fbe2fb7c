//! Where a connection leads. A name may have several addresses, and others after a while: it is resolved for each connection, and
//! the next one goes to the address after the last.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use statemesh_transport::SocketType;
use statemesh_transport::curve::Security;

use crate::connection::{Connection, ConnectionError, copy_of};

/// Why no connection could be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The name could not be resolved.
    #[error("{name}: {source}")]
    Resolve {
        /// `host:port`.
        name: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The name has no address.
    #[error("{0} has no address")]
    NoAddress(String),
    /// None of its addresses took the connection; this is what the last one said.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

impl Clone for OpenError {
    fn clone(&self) -> Self {
        match self {
            Self::Resolve { name, source } => Self::Resolve { name: name.clone(), source: copy_of(source) },
            Self::NoAddress(name) => Self::NoAddress(name.clone()),
            Self::Connection(error) => Self::Connection(error.clone()),
        }
    }
}

/// Where a connection leads.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `host:port`.
    name: String,
    security: Security,
    /// For a connection, its handshake, and each answer.
    timeout: Duration,
    turn: usize,
    last: Option<SocketAddr>,
}

impl Endpoint {
    /// An endpoint as the command line writes it, `tcp://host:port` or `host:port`. Of a name with several addresses, endpoints of
    /// different `turn` begin with different ones.
    #[must_use]
    pub fn new(address: &str, security: Security, timeout: Duration, turn: usize) -> Self {
        let name = address.strip_prefix("tcp://").unwrap_or(address).to_owned();
        Self { name, security, timeout, turn, last: None }
    }

    /// `host:port`, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For how long a connection, its handshake or an answer is waited for.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Opens a connection for requests to the first address that takes it, of all but the last one if there are others.
    ///
    /// # Errors
    /// There is no address, or none takes it.
    pub fn open(&mut self) -> Result<Connection, OpenError> {
        self.open_as(SocketType::Dealer)
    }

    /// The same as a socket of another type: a subscriber's.
    ///
    /// # Errors
    /// As for [`Endpoint::open`].
    pub fn open_as(&mut self, socket_type: SocketType) -> Result<Connection, OpenError> {
        let found = self.name.to_socket_addrs();
        let found = found.map_err(|source| OpenError::Resolve { name: self.name.clone(), source })?;
        let mut failed = None;
        for address in in_turn(found.collect(), self.last, self.turn) {
            self.last = Some(address);
            match Connection::connect_secured(address, socket_type, &self.security, self.timeout) {
                Ok(client) => return Ok(client),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.map_or_else(|| OpenError::NoAddress(self.name.clone()), OpenError::Connection))
    }
}

/// The addresses in order, from the one after the last; at first from the one whose turn it is.
fn in_turn(mut found: Vec<SocketAddr>, last: Option<SocketAddr>, turn: usize) -> Vec<SocketAddr> {
    found.sort_unstable();
    found.dedup();
    let first = match last {
        Some(last) => found.iter().position(|address| *address > last).unwrap_or(0),
        None => turn % found.len().max(1),
    };
    found.rotate_left(first);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn address(n: u8) -> SocketAddr {
        (Ipv4Addr::new(10, 0, 0, n), 7400).into()
    }

    #[test]
    fn the_next_connection_goes_to_another_address_if_there_is_one() {
        let all = || [3, 1, 2, 2].map(address).to_vec();
        assert_eq!(in_turn(all(), None, 4), [2, 3, 1].map(address));
        assert_eq!(in_turn(all(), Some(address(2)), 0), [3, 1, 2].map(address));
        assert_eq!(in_turn(all(), Some(address(3)), 0), [1, 2, 3].map(address));
        assert_eq!(in_turn(vec![address(1)], Some(address(1)), 0), [address(1)]);
        assert_eq!(in_turn(vec![address(1), address(3)], Some(address(2)), 0)[0], address(3), "the last one is gone");
        assert!(in_turn(Vec::new(), None, 1).is_empty());
    }
}
