//! Listening sockets: one for each reactor on the same address, so that the kernel spreads connections over the reactors.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel completes for us while we are busy.
const BACKLOG: i32 = 4_096;
/// Bytes that the kernel keeps of a connection which we have not read. By itself it goes up to 32 MiB for each; with so much a
/// flood is copied, acknowledged and, when its connection is closed, thrown away in steps of milliseconds. Enough for 1 GB/s
/// where a round trip takes 0.25 ms.
const RECEIVE_BYTES: usize = 256 * 1024;

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
    // Inherited by the connections; it must be known before they agree on how windows are scaled.
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}
