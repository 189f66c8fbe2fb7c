//! The addresses of a mesh, one of which is used at a time.

use std::time::Duration;

use statemesh_transport::curve::Security;

use crate::connection::Connection;
use crate::endpoint::{Endpoint, OpenError};

/// Addresses that are remembered.
const MAX_ADDRESSES: usize = 256;

/// The addresses of a mesh, and whose turn it is.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    endpoints: Vec<Endpoint>,
    security: Security,
    timeout: Duration,
    turn: usize,
}

impl Addresses {
    pub(crate) fn new(addresses: &[String], security: &Security, timeout: Duration) -> Self {
        let endpoints = addresses.iter().map(|address| Endpoint::new(address, security.clone(), timeout, 0)).collect();
        Self { endpoints, security: security.clone(), timeout, turn: 0 }
    }

    /// Adds those that are not known yet.
    pub(crate) fn learn<'a>(&mut self, addresses: impl Iterator<Item = &'a str>) {
        for address in addresses.filter(|address| !address.is_empty()) {
            let endpoint = Endpoint::new(address, self.security.clone(), self.timeout, 0);
            let is_known = self.endpoints.iter().any(|known| known.name() == endpoint.name());
            if self.endpoints.len() < MAX_ADDRESSES && !is_known {
                self.endpoints.push(endpoint);
            }
        }
    }

    /// The next connection goes to another address, if there is one.
    pub(crate) fn leave(&mut self) {
        self.turn += 1;
    }

    /// A connection to the first address that takes it, from the one whose turn it is on.
    ///
    /// # Errors
    /// None does.
    pub(crate) fn open(&mut self) -> Result<Connection, OpenError> {
        let mut failed = None;
        for _ in 0..self.endpoints.len() {
            let turn = self.turn % self.endpoints.len();
            let Some(endpoint) = self.endpoints.get_mut(turn) else { break };
            match endpoint.open() {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = Some(error),
            }
            self.leave();
        }
        Err(failed.unwrap_or(OpenError::NoAddress("the client".to_owned())))
    }
}
