//! Listening sockets: one for each reactor on the same address, so that the kernel spreads connections over the reactors.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel completes for us while we are busy.
const BACKLOG: i32 = 4_096;

/// A non-blocking listener on `address` with `SO_REUSEPORT`.
///
/// # Errors
/// What the operating system says; `AddrInUse` if a socket without `SO_REUSEPORT`, or of another user, has the port.
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` serves both families, which is what dual-stack pods want.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}
