//! One blocking ZMTP connection, for programs to which every microsecond counts.
//!
//! libzmq's users pay two hand-offs to its I/O thread for each round trip. Here the calling thread does the read and the
//! write itself, and can poll for a while before it sleeps.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use statemesh_transport::curve::Security;
use statemesh_transport::limits::Bounds;
use statemesh_transport::link::{Incoming, Link, LinkError, Side};
use statemesh_transport::{Message, SocketType};

/// Why a call did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The connection failed, or nothing came within the time (`TimedOut`). The event may have been applied.
    #[error("connection to {address}: {source}")]
    Io {
        /// The daemon's address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The connection was made, and then nothing, or not enough, came of the handshake.
    #[error("connected to {address}, but it said nothing within {within:?}")]
    Silent {
        /// The address.
        address: SocketAddr,
        /// For how long it was waited.
        within: Duration,
    },
    /// The other side does not speak ZMTP as we do.
    #[error("{address} violated ZMTP: {source}")]
    Protocol {
        /// The daemon's address.
        address: SocketAddr,
        /// What was wrong.
        source: Arc<LinkError>,
    },
}

impl Clone for ConnectionError {
    fn clone(&self) -> Self {
        match self {
            Self::Io { address, source } => Self::Io { address: *address, source: copy_of(source) },
            Self::Silent { address, within } => Self::Silent { address: *address, within: *within },
            Self::Protocol { address, source } => Self::Protocol { address: *address, source: Arc::clone(source) },
        }
    }
}

/// The same error once more: several requests may have gone down with one connection.
pub(crate) fn copy_of(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

/// A connection to one daemon. It answers the daemon's heartbeats only while it waits in a call, so a connection that is not
/// used for as long as `limits.idle` is closed by the daemon.
///
/// Requests and replies are whole frames; matching them by `id` is the caller's business, as
/// is asking again after an error.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    link: Link,
    scratch: Box<[u8]>,
    spin: Duration,
    blocking: bool,
    /// The read timeout that the socket has.
    patience: Duration,
}

/// Bytes of the largest reply that a client takes.
const REPLY_BYTES: usize = 64 << 20;

impl AsFd for Connection {
    /// For waiting until something comes; reading is [`Connection::receive`]'s.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Connection {
    /// Connects as a DEALER (or as `socket_type`) and completes the handshake, within `timeout` for each of the two. No later
    /// write waits for longer either.
    ///
    /// # Errors
    /// No process listens there, or it does not speak ZMTP.
    pub fn connect(address: SocketAddr, socket_type: SocketType, timeout: Duration) -> Result<Self, ConnectionError> {
        Self::connect_secured(address, socket_type, &Security::None, timeout)
    }

    /// As [`Connection::connect`], with keys.
    ///
    /// # Errors
    /// No process listens there, it does not speak ZMTP, or one of the two sides does not know the other's key; a server that
    /// refuses a key closes the connection, which shows as an unexpected end.
    pub fn connect_secured(
        address: SocketAddr,
        socket_type: SocketType,
        security: &Security,
        timeout: Duration,
    ) -> Result<Self, ConnectionError> {
        let io = |source| ConnectionError::Io { address, source };
        let stream = TcpStream::connect_timeout(&address, timeout).map_err(io)?;
        stream.set_nodelay(true).map_err(io)?;
        stream.set_write_timeout(Some(timeout)).map_err(io)?;
        let mut client = Self {
            address,
            stream,
            link: Link::new(Side::Opened, socket_type, Bounds::of_messages(REPLY_BYTES), security),
            scratch: vec![0; 64 * 1024].into_boxed_slice(),
            spin: Duration::ZERO,
            blocking: true,
            patience: Duration::ZERO,
        };
        client.flush()?;
        let deadline = Instant::now() + timeout;
        while !matches!(client.poll()?, Some(Incoming::Ready)) {
            client.read(deadline).map_err(|error| silent_if_late(error, timeout))?;
            client.flush()?;
        }
        Ok(client)
    }

    /// The daemon's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Polls for this long for an answer before the thread sleeps. It costs a core while it waits.
    pub fn set_spin(&mut self, spin: Duration) {
        self.spin = spin;
    }

    /// Queues a request.
    pub fn push(&mut self, request: &[u8]) {
        self.push_parts(&[request]);
    }

    /// Queues a request, the last of these parts, in an envelope: the parts before it come back in front of its reply.
    pub fn push_parts(&mut self, parts: &[&[u8]]) {
        self.link.send(parts);
    }

    /// Queues a subscription (for a client that connected as SUB).
    pub fn subscribe(&mut self, prefix: &[u8]) {
        self.link.subscribe(prefix, true);
    }

    /// Writes what is queued.
    ///
    /// # Errors
    /// The connection failed, or the other side took nothing for as long as a connection may take (`TimedOut`).
    pub fn flush(&mut self) -> Result<(), ConnectionError> {
        while !self.link.unsent().is_empty() {
            match self.stream.write(self.link.unsent()) {
                Ok(n) => self.link.sent(n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && !self.blocking => self.set_blocking(true)?,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let source = io::ErrorKind::TimedOut.into();
                    return Err(ConnectionError::Io { address: self.address, source });
                }
                Err(source) => {
                    return Err(ConnectionError::Io { address: self.address, source });
                }
            }
        }
        Ok(())
    }

    /// The next message, waiting for at most `timeout` (and a sixtieth of it).
    ///
    /// # Errors
    /// Nothing came in time (`TimedOut`), or the connection failed.
    pub fn receive(&mut self, timeout: Duration) -> Result<Message, ConnectionError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.poll()? {
                Some(Incoming::Message(message)) => return Ok(message),
                Some(_) => {}
                None => self.read(deadline)?,
            }
        }
    }

    /// One request, one reply.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn call(&mut self, request: &[u8], timeout: Duration) -> Result<Message, ConnectionError> {
        self.push(request);
        self.flush()?;
        self.receive(timeout)
    }

    /// The next message of what has been read already.
    pub(crate) fn next_read(&mut self) -> Result<Option<Message>, ConnectionError> {
        loop {
            match self.poll()? {
                Some(Incoming::Message(message)) => return Ok(Some(message)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Reads once what is there, without waiting for more; says whether anything was.
    pub(crate) fn read_now(&mut self) -> Result<bool, ConnectionError> {
        self.set_blocking(false)?;
        let address = self.address;
        match self.stream.read(&mut self.scratch) {
            Ok(0) => Err(ConnectionError::Io { address, source: io::ErrorKind::UnexpectedEof.into() }),
            Ok(n) => {
                let bytes = Bytes::copy_from_slice(self.scratch.get(..n).unwrap_or_default());
                let received = self.link.receive(bytes);
                received.map_err(|source| ConnectionError::Protocol { address, source: Arc::new(source) })?;
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(source) => Err(ConnectionError::Io { address, source }),
        }
    }

    /// Writes what the socket takes, without waiting for it to take more; says how many bytes are left.
    pub(crate) fn flush_now(&mut self) -> Result<usize, ConnectionError> {
        self.set_blocking(false)?;
        while !self.link.unsent().is_empty() {
            match self.stream.write(self.link.unsent()) {
                Ok(n) => self.link.sent(n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(source) => return Err(ConnectionError::Io { address: self.address, source }),
            }
        }
        Ok(self.link.unsent_bytes())
    }

    /// Bytes that wait to be written.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.link.unsent_bytes()
    }

    fn poll(&mut self) -> Result<Option<Incoming>, ConnectionError> {
        self.link.poll().map_err(|source| ConnectionError::Protocol { address: self.address, source: Arc::new(source) })
    }

    fn set_blocking(&mut self, on: bool) -> Result<(), ConnectionError> {
        if self.blocking != on {
            self.stream.set_nonblocking(!on).map_err(|source| ConnectionError::Io { address: self.address, source })?;
            self.blocking = on;
        }
        Ok(())
    }

    /// Reads once: polls for `spin`, then sleeps until `deadline`.
    fn read(&mut self, deadline: Instant) -> Result<(), ConnectionError> {
        let address = self.address;
        let fail = |source| ConnectionError::Io { address, source };
        let now = Instant::now();
        if self.spin.is_zero() && deadline <= now {
            // Who only wants what has been read already needs no socket, least of all one that changes its mode.
            return Err(fail(io::ErrorKind::TimedOut.into()));
        }
        let spin_until = now + self.spin;
        self.set_blocking(self.spin.is_zero())?;
        loop {
            if self.blocking {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(fail(io::ErrorKind::TimedOut.into()));
                }
                let patience = rounded(left);
                if patience != self.patience {
                    self.stream.set_read_timeout(Some(patience)).map_err(fail)?;
                    self.patience = patience;
                }
            }
            match self.stream.read(&mut self.scratch) {
                Ok(0) => return Err(fail(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => {
                    let bytes = Bytes::copy_from_slice(self.scratch.get(..n).unwrap_or_default());
                    self.link
                        .receive(bytes)
                        .map_err(|source| ConnectionError::Protocol { address, source: Arc::new(source) })?;
                    // What the codec answered by itself: a PONG.
                    return self.flush();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && self.blocking => {
                    return Err(fail(io::ErrorKind::TimedOut.into()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() >= spin_until {
                        self.set_blocking(true)?;
                    }
                    std::hint::spin_loop();
                }
                Err(e) => return Err(fail(e)),
            }
        }
    }
}

fn silent_if_late(error: ConnectionError, within: Duration) -> ConnectionError {
    match error {
        ConnectionError::Io { address, source } if source.kind() == io::ErrorKind::TimedOut => {
            ConnectionError::Silent { address, within }
        }
        other => other,
    }
}

/// A time to wait, a sixtieth longer at most: then one request after another waits for the same time, and the socket need
/// not be told anew each time.
fn rounded(left: Duration) -> Duration {
    let step = (left / 128).as_nanos().max(1_000).next_power_of_two();
    let rounded = left.as_nanos().div_ceil(step) * step;
    u64::try_from(rounded).map_or(left, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_are_nearly_the_same_are_the_same_and_never_shorter() {
        for millis in [1, 20, 1_000, 5_000, 3_600_000] {
            let asked = Duration::from_millis(millis);
            let waited = rounded(asked);
            assert!(waited >= asked && waited <= asked + asked / 60, "{asked:?} became {waited:?}");
        }
        assert_eq!(rounded(Duration::from_secs(5)), rounded(Duration::from_secs(5) - Duration::from_micros(300)));
    }
}
