//! What the server is told at its start.

use std::time::Duration;

/// Bounds of the server, and who may read what is not open.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections of guests at a time.
    pub connections: usize,
    /// Connections beyond those, which may ask for health only.
    pub probe_connections: usize,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Bytes of the body of one answer.
    pub output_bytes: usize,
    /// Bytes of the bodies of all answers that wait to be read.
    pub unsent_bytes: usize,
    /// For one request, for the next on an open connection, and for a peer to take a part of its answer.
    pub timeout: Duration,
    /// For how long the node lets an answer wait.
    pub wait: Duration,
    /// Any of these lets a request in that does not come over loopback.
    pub tokens: Vec<String>,
}
