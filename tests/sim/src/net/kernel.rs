//! What a reactor of a simulated daemon has for an operating system.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use statemesh_transport::kernel::{Ending, Kernel, Ready, Wake};

use super::socket::{Phase, SocketId};
use super::{HostId, Net, PollerId, SharedNet};
use crate::memory;

/// The kernel as one loop sees it.
#[derive(Debug)]
pub struct VirtualKernel {
    net: SharedNet,
    host: HostId,
    poller: PollerId,
}

impl VirtualKernel {
    /// The kernel of a loop.
    #[must_use]
    pub fn new(net: SharedNet, host: HostId, poller: PollerId) -> Self {
        Self { net, host, poller }
    }

    /// A system call: what it allocates is the kernel's.
    fn call<T>(&self, what: impl FnOnce(&mut Net) -> T) -> T {
        memory::apart(|| what(&mut self.net.lock()))
    }
}

/// Wakes one loop.
#[derive(Debug)]
pub struct VirtualWaker {
    net: SharedNet,
    poller: PollerId,
}

impl VirtualWaker {
    /// Wakes this loop.
    #[must_use]
    pub fn new(net: SharedNet, poller: PollerId) -> Self {
        Self { net, poller }
    }
}

impl Wake for VirtualWaker {
    fn wake(&self) -> io::Result<()> {
        memory::apart(|| self.net.lock().wake(self.poller));
        Ok(())
    }
}

impl Net {
    fn socket_of(&self, poller: PollerId, key: usize) -> io::Result<SocketId> {
        let found = self.loops.get(poller).and_then(|poller| poller.sockets.get(&key));
        found.copied().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    pub(super) fn collect(&mut self, id: PollerId, ready: &mut Vec<Ready>) {
        let Some(poller) = self.loops.get_mut(id) else { return };
        if std::mem::take(&mut poller.woken) {
            ready.push(Ready::Woken);
        }
        ready.extend(std::mem::take(&mut poller.knocked).into_iter().map(Ready::Listener));
        for key in std::mem::take(&mut poller.ready) {
            let Some(socket) = poller.sockets.get(&key).and_then(|id| self.sockets.get_mut(*id)) else { continue };
            let hung_up = socket.ended || socket.is_broken();
            let readable = socket.registration.collect() || hung_up;
            ready.push(Ready::Conn { key, readable, hung_up });
        }
    }

    /// Reports a connection from now on.
    pub(super) fn watch(&mut self, poller: PollerId, key: usize) -> io::Result<()> {
        let id = self.socket_of(poller, key)?;
        let Some(socket) = self.sockets.get_mut(id) else { return Err(io::ErrorKind::NotConnected.into()) };
        socket.registration.watched = true;
        let something = !socket.received.is_empty() || socket.ended || socket.phase != Phase::Connecting;
        if something {
            let readable = !socket.received.is_empty() || socket.ended;
            self.report(id, readable);
        }
        Ok(())
    }

    pub(super) fn read(&mut self, poller: PollerId, key: usize, buffer: &mut [u8]) -> io::Result<usize> {
        let id = self.socket_of(poller, key)?;
        let Some(socket) = self.sockets.get_mut(id) else { return Err(io::ErrorKind::NotConnected.into()) };
        if socket.received.is_empty() {
            return match socket.phase {
                Phase::Broken(kind) => Err(kind.into()),
                Phase::Open if socket.ended => Ok(0),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let count = io::Read::read(&mut socket.received, buffer)?;
        // The queue is two pieces; a short read would say "dry".
        let rest = buffer.get_mut(count..).unwrap_or_default();
        let count = count + io::Read::read(&mut socket.received, rest)?;
        if let Some(peer) = socket.peer {
            self.pump(peer);
        }
        Ok(count)
    }

    pub(super) fn write(&mut self, poller: PollerId, key: usize, bytes: &[u8]) -> io::Result<usize> {
        let id = self.socket_of(poller, key)?;
        let most = self.faults.send_buffer;
        let Some(socket) = self.sockets.get_mut(id) else { return Err(io::ErrorKind::NotConnected.into()) };
        match socket.phase {
            Phase::Connecting => {
                socket.outgoing.wants_room();
                return Err(io::ErrorKind::NotConnected.into());
            }
            Phase::Broken(io::ErrorKind::ConnectionReset) => return Err(io::ErrorKind::BrokenPipe.into()),
            Phase::Broken(kind) => return Err(kind.into()),
            Phase::Open => {}
        }
        let Some(taken) = socket.outgoing.write(bytes, most) else { return Err(io::ErrorKind::WouldBlock.into()) };
        self.pump(id);
        Ok(taken)
    }
}

impl Kernel for VirtualKernel {
    fn now(&self) -> Instant {
        self.net.lock().instant(self.host)
    }

    /// It never waits: the simulator gives its loop a turn when something is ready.
    fn poll(&mut self, _timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.call(|net| net.collect(self.poller, ready));
        Ok(())
    }

    fn accept(&mut self, listener: usize, key: usize) -> io::Result<SocketAddr> {
        self.call(|net| net.accept_from(self.poller, listener, key))
    }

    fn connect(&mut self, address: SocketAddr, key: usize) -> io::Result<()> {
        self.call(|net| net.begin_connect(self.poller, address, key))
    }

    fn watch(&mut self, key: usize) -> io::Result<()> {
        self.call(|net| net.watch(self.poller, key))
    }

    fn read(&mut self, key: usize, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(|net| net.read(self.poller, key, buffer))
    }

    fn write(&mut self, key: usize, bytes: &[u8]) -> io::Result<usize> {
        self.call(|net| net.write(self.poller, key, bytes))
    }

    /// Its loops give a connection up at once: what was written is on its way whatever is unread.
    fn end_writing(&mut self, _: usize) {}

    fn close(&mut self, key: usize, how: Ending) {
        self.call(|net| net.close(self.poller, key, how == Ending::Reset));
    }

    fn yield_now(&mut self) {}
}
