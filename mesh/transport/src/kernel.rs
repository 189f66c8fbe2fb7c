//! What a reactor needs of its operating system: ready connections, bytes in and out, and the time.
//!
//! The reactor knows connections by keys and never sees a socket, so what it does under load, cuts and full buffers is the same
//! over real sockets (`mio_kernel.rs`) and over those of a simulator, where time is virtual.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What one reactor needs of its operating system. Connections and listeners have keys: those of connections are given by
/// the caller (the place in its table), those of listeners are their numbers in the order in which they were added.
pub trait Kernel: Debug + Send {
    /// The time.
    fn now(&self) -> Instant;

    /// Waits until something is ready, at most `timeout` (`None`: for ever), and appends what is. Edge-triggered, as epoll
    /// with `EPOLLET`: what is ready and was reported is reported again only once more has come.
    ///
    /// # Errors
    /// Nothing can be waited for any more. To be interrupted is no error.
    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()>;

    /// Takes a connection from a listener and keeps it under `key`. It is not watched yet.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; else what the operating system says.
    fn accept(&mut self, listener: usize, key: usize) -> io::Result<SocketAddr>;

    /// Begins to open a connection and keeps it under `key`. It is not watched yet.
    ///
    /// # Errors
    /// The operating system refused at once, e.g. because no file descriptor is left.
    fn connect(&mut self, address: SocketAddr, key: usize) -> io::Result<()>;

    /// From now on [`Kernel::poll`] reports this connection, its first writability included.
    ///
    /// # Errors
    /// The operating system refused.
    fn watch(&mut self, key: usize) -> io::Result<()>;

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is; else what the operating system says.
    fn read(&mut self, key: usize, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes as much as is taken.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is, `NotConnected` before the connection is open; else what the operating system says.
    fn write(&mut self, key: usize, bytes: &[u8]) -> io::Result<usize>;

    /// Ends a connection in this direction, behind what was written. It can still be read.
    fn end_writing(&mut self, key: usize);

    /// Gives a connection up; the key is free.
    fn close(&mut self, key: usize, how: Ending);

    /// Gives the core to others for a moment.
    fn yield_now(&mut self);
}

/// Something that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Another thread called [`Wake::wake`].
    Woken,
    /// A listener may have connections.
    Listener(usize),
    /// A connection can be read or written.
    Conn {
        /// Which.
        key: usize,
        /// There may be something to read.
        readable: bool,
        /// The peer will send nothing more, or the connection is broken: reading it to its end says which.
        hung_up: bool,
    },
}

/// How a connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// What was written is still sent, and then the end.
    Orderly,
    /// A peer that did not get in is owed no orderly end: one RST, and nothing is left that waits for the peer. Under 20,000
    /// connections a second the orderly ends, and what the kernel had to free for them, stopped a reactor for 1 to 2 ms at a
    /// time.
    Reset,
}

/// Wakes a reactor from another thread.
pub trait Wake: Debug + Send + Sync {
    /// Has its [`Kernel::poll`] return, now or when it is called next.
    ///
    /// # Errors
    /// What the operating system says.
    fn wake(&self) -> io::Result<()>;
}
