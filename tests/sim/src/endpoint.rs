//! One ZMTP connection of a client over the virtual kernel: opening, reading, writing, closing.

use std::net::SocketAddr;

use bytes::Bytes;
use statemesh_transport::curve::Security;
use statemesh_transport::kernel::{Ending, Kernel, Ready};
use statemesh_transport::limits::Bounds;
use statemesh_transport::link::{Incoming, Link, Side};
use statemesh_transport::{Message, SocketType};

use crate::judge::Wire;
use crate::net::{HostId, PollerId, SharedNet, VirtualKernel};

/// Bytes of the largest reply that a client takes.
const REPLY_BYTES: usize = 256 << 20;
/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// What came of a turn.
#[derive(Debug)]
pub enum News {
    /// The handshake is complete.
    Opened,
    /// A message.
    Message(Message),
    /// The connection ended: it is to be opened anew.
    Closed,
}

/// A connection, or the wish for one.
#[derive(Debug)]
pub struct Endpoint {
    kernel: VirtualKernel,
    socket_type: SocketType,
    conn: Option<Conn>,
    next_key: usize,
}

#[derive(Debug)]
struct Conn {
    wire: Wire,
    key: usize,
    link: Link,
    open: bool,
    /// There may be something to read.
    readable: bool,
}

impl Endpoint {
    /// A loop of a host that will have a connection of this type.
    #[must_use]
    pub fn new(net: SharedNet, host: HostId, poller: PollerId, socket_type: SocketType) -> Self {
        Self { kernel: VirtualKernel::new(net, host, poller), socket_type, conn: None, next_key: 0 }
    }

    /// Begins to open a connection under this name.
    pub fn connect(&mut self, address: SocketAddr, wire: Wire) {
        self.close();
        self.next_key += 1;
        let key = self.next_key;
        if self.kernel.connect(address, key).and_then(|()| self.kernel.watch(key)).is_err() {
            return;
        }
        let link = Link::new(Side::Opened, self.socket_type, Bounds::of_messages(REPLY_BYTES), &Security::None);
        self.conn = Some(Conn { wire, key, link, open: false, readable: false });
    }

    /// The connection's name, if there is one.
    #[must_use]
    pub fn wire(&self) -> Option<Wire> {
        self.conn.as_ref().map(|conn| conn.wire)
    }

    /// Whether requests can be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.conn.as_ref().is_some_and(|conn| conn.open)
    }

    /// Bytes that are queued and that the kernel has not taken.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.conn.as_ref().map_or(0, |conn| conn.link.unsent().len())
    }

    /// Gives the connection up.
    pub fn close(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.kernel.close(conn.key, Ending::Orderly);
        }
    }

    /// Queues a message.
    pub fn send(&mut self, parts: &[&[u8]]) {
        if let Some(conn) = &mut self.conn {
            conn.link.send(parts);
        }
    }

    /// Queues a subscription.
    pub fn subscribe(&mut self, prefix: &[u8]) {
        if let Some(conn) = &mut self.conn {
            conn.link.subscribe(prefix, true);
        }
    }

    /// Looks at what is ready; reads it if `reads`.
    pub fn turn(&mut self, reads: bool) -> Vec<News> {
        let mut ready = Vec::new();
        // The virtual kernel's poll cannot fail.
        let _ = self.kernel.poll(None, &mut ready);
        for event in ready {
            if let (Ready::Conn { key, readable, hung_up }, Some(conn)) = (event, &mut self.conn)
                && conn.key == key
            {
                conn.readable |= readable || hung_up;
            }
        }
        let mut news = Vec::new();
        if reads {
            self.read(&mut news);
        }
        self.flush(&mut news);
        news
    }

    fn read(&mut self, news: &mut Vec<News>) {
        let mut buffer = vec![0; READ_BYTES];
        while let Some(conn) = self.conn.as_mut().filter(|conn| conn.readable) {
            match self.kernel.read(conn.key, &mut buffer) {
                Ok(0) => return self.ended(news),
                Ok(n) => {
                    let bytes = Bytes::copy_from_slice(buffer.get(..n).unwrap_or_default());
                    let fine = conn.link.receive(bytes).is_ok();
                    self.take_in(news);
                    if !fine {
                        return self.ended(news);
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => conn.readable = false,
                Err(_) => return self.ended(news),
            }
        }
    }

    fn take_in(&mut self, news: &mut Vec<News>) {
        while let Some(conn) = &mut self.conn {
            match conn.link.poll() {
                Ok(Some(Incoming::Ready)) => {
                    conn.open = true;
                    news.push(News::Opened);
                }
                Ok(Some(Incoming::Message(message))) => news.push(News::Message(message)),
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => return self.ended(news),
            }
        }
    }

    /// Writes what is queued, as far as the kernel takes it.
    pub fn flush(&mut self, news: &mut Vec<News>) {
        while let Some(conn) = self.conn.as_mut().filter(|conn| !conn.link.unsent().is_empty()) {
            match self.kernel.write(conn.key, conn.link.unsent()) {
                Ok(n) => conn.link.sent(n),
                Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::NotConnected) => {
                    return;
                }
                Err(_) => return self.ended(news),
            }
        }
    }

    fn ended(&mut self, news: &mut Vec<News>) {
        self.close();
        news.push(News::Closed);
    }
}
