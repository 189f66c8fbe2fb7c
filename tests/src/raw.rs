//! A hostile client: bytes on a TCP connection, with as much of ZMTP as it takes to get in.

use crate::Outcome;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The greeting of ZMTP 3.1 with the NULL mechanism, as a client (RFC 37, section "Greeting").
#[must_use]
pub fn greeting() -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    bytes.extend(b"NULL");
    bytes.resize(64, 0);
    bytes
}

/// The READY command of a DEALER.
#[must_use]
pub fn ready() -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type".to_vec();
    body.extend([0, 0, 0, 6]);
    body.extend(b"DEALER");
    frame(0x04, &body)
}

/// A frame with these flags.
#[must_use]
pub fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = match u8::try_from(body.len()) {
        Ok(short) => vec![flags, short],
        Err(_) => {
            let mut long = vec![flags | 0x02];
            long.extend((body.len() as u64).to_be_bytes());
            long
        }
    };
    bytes.extend(body);
    bytes
}

/// A connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// Connects, and says nothing.
    ///
    /// # Errors
    /// No daemon listens there.
    pub fn connect(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream })
    }

    /// Connects and completes the handshake.
    ///
    /// # Errors
    /// The daemon does not.
    pub fn greeted(address: SocketAddr) -> Outcome<Self> {
        let mut raw = Self::connect(address)?;
        raw.write(&greeting())?;
        raw.write(&ready())?;
        // Its greeting has 64 bytes, and at least the head of its READY follows.
        let mut answer = [0; 66];
        raw.stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        raw.stream.read_exact(&mut answer)?;
        Ok(raw)
    }

    /// Writes; that the daemon has closed meanwhile is no error, since that is what these tests wait for.
    ///
    /// # Errors
    /// It neither takes the bytes nor closes.
    pub fn write(&mut self, bytes: &[u8]) -> Outcome {
        match self.stream.write_all(bytes) {
            Err(error) if !is_closed(&error) => Err(format!("the daemon takes no bytes: {error}").into()),
            _ => Ok(()),
        }
    }

    /// Writes as much as the daemon takes at once. Gives how much; nothing more once it has closed.
    ///
    /// # Errors
    /// The connection cannot be made to wait for nothing.
    pub fn offer(&mut self, bytes: &[u8]) -> Outcome<usize> {
        self.stream.set_nonblocking(true)?;
        let written = self.stream.write(bytes).unwrap_or(0);
        self.stream.set_nonblocking(false)?;
        Ok(written)
    }

    /// Says that no more bytes will come.
    ///
    /// # Errors
    /// Never, but for a connection that is gone already.
    pub fn end(&mut self) -> Outcome {
        match self.stream.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Waits until the daemon has closed the connection.
    ///
    /// # Errors
    /// It is still open after `limit`.
    pub fn wait_closed(&mut self, limit: Duration) -> Outcome<Duration> {
        let start = Instant::now();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(format!("the connection is still open after {limit:?}").into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(start.elapsed()),
                Err(error) if is_closed(&error) => return Ok(start.elapsed()),
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_short_and_long_headers() {
        assert_eq!(frame(1, b"ab"), [1, 2, b'a', b'b']);
        let long = frame(0, &[7; 300]);
        assert_eq!(&long[..9], &[2, 0, 0, 0, 0, 0, 0, 1, 44]);
        assert_eq!((greeting().len(), ready()[0]), (64, 4));
    }
}
