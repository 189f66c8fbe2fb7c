//! One thread's loop: poll, read every connection that has something until it is dry, let the handler run what was read,
//! write each connection once.
//!
//! A wake-up of a sleeping core costs tens of microseconds, a transition well under one: so nothing on this path is
//! handed to another thread, and the loop polls for a while before it sleeps, where that helps ([`crate::spin`]).

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use omq_proto::{Message, SocketType};

use crate::link::{Incoming, Link, Side};
use crate::spin::Spin;
use crate::table::Table;

/// Names one connection of one reactor; never reused, so a late answer to a closed connection goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    index: u32,
    generation: u32,
}

impl ConnId {
    pub(crate) fn new(index: usize, generation: u32) -> Self {
        Self { index: u32::try_from(index).unwrap_or(u32::MAX), generation }
    }

    pub(crate) fn index(self) -> usize {
        self.index as usize
    }

    pub(crate) fn generation(self) -> u32 {
        self.generation
    }
}

/// Where a connection comes from: the number that the handler gave the listener, or the connection it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Accepted by the listener that was added under this number.
    Accepted(u8),
    /// Opened by [`Io::connect`] under this number.
    Opened(u64),
}

/// Why a connection ended.
#[derive(Debug)]
pub enum Closed {
    /// The peer closed it.
    ByPeer,
    /// We closed it.
    ByUs,
    /// The peer violated ZMTP or a size limit.
    Protocol(String),
    /// The handshake was not complete in time.
    HandshakeTimeout,
    /// The operating system said no.
    Io(io::ErrorKind),
}

/// Everything that can wake a handler.
#[derive(Debug)]
pub enum Event<'a> {
    /// The handshake of a connection is complete.
    Opened(ConnId, Origin),
    /// A message.
    Message(ConnId, Origin, &'a Message),
    /// A subscriber wants topics with this prefix.
    Subscribe(ConnId, &'a [u8]),
    /// A subscriber no longer wants topics with this prefix.
    Cancel(ConnId, &'a [u8]),
    /// A connection is gone. It comes for every opened one, and for each that [`Io::connect`] could not complete.
    Closed(ConnId, Origin, &'a Closed),
    /// A new connection was refused because there are too many.
    Refused(Origin),
    /// An accepted connection ended before its handshake was complete.
    Failed(Origin, &'a Closed),
    /// Another thread called the waker.
    Woken,
    /// The end of a turn, before the writes: time to look at what is due.
    Turn,
}

/// What runs on the loop.
pub trait Handler {
    /// Takes one event. It must not block.
    fn handle(&mut self, event: Event<'_>, io: &mut Io);

    /// When [`Event::Turn`] must come at the latest.
    fn deadline(&self) -> Option<Instant>;

    /// Whether the loop should end. Asked after each turn.
    fn finished(&self) -> bool;
}

/// Bounds and patience of a reactor.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Polls for at most this long before it sleeps, where that helps; [`Duration::MAX`]: never sleeps.
    pub spin: Duration,
    /// Accepted connections.
    pub connections: usize,
    /// Bytes of one message on a connection that [`Io::connect`] opened; listeners have their own limits.
    pub message_bytes: usize,
    /// Time to complete a handshake.
    pub handshake: Duration,
    /// Beyond this many bytes that a peer does not take, it is no longer read.
    pub unsent_bytes: usize,
}

/// Bytes read from one connection before the others have their turn.
const READ_TURN_BYTES: usize = 256 * 1024;
/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;
/// Beyond this a connection is written in the middle of a turn, to keep the buffers small.
const EAGER_WRITE_BYTES: usize = 256 * 1024;
/// A connection that is owed this many messages in one turn is written before the turn ends, and again at each doubling: its
/// peer then reads the first while we make the rest, instead of both waiting for each other in turn. With 64 in flight
/// that doubles the rate; at one write for each doubling a long turn hardly notices.
const EARLY_MESSAGES: u32 = 32;
/// How long accepting pauses when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Events taken from the kernel at once.
const POLL_EVENTS: usize = 1_024;

const WAKER: Token = Token(0);
/// Tokens below this are the waker and the listeners.
const FIRST_CONN: usize = 16;

#[derive(Debug)]
struct Listening {
    socket: TcpListener,
    socket_type: SocketType,
    number: u8,
    message_bytes: usize,
}

/// The connections, as the handler sees them.
#[derive(Debug)]
pub struct Io {
    registry: Registry,
    settings: Settings,
    table: Table,
    /// Connections with something to read or write in this turn.
    busy: Vec<ConnId>,
    /// Connections that ended within a handler call; the handler is told afterwards.
    ended: Vec<(ConnId, Closed)>,
    accepted: usize,
    now: Instant,
    read_at: Instant,
}

impl Io {
    /// The time at which this turn began to run; what is read in one turn happens at one time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// When the bytes were read of which the message that is handled now is a part.
    #[must_use]
    pub fn read_at(&self) -> Instant {
        self.read_at
    }

    /// Queues a message; it is written at the end of the turn. Says whether the connection is still there.
    pub fn send(&mut self, id: ConnId, parts: &[&[u8]]) -> bool {
        let Some(conn) = self.table.get(id) else {
            return false;
        };
        conn.link.send(parts);
        conn.queued += 1;
        let early = conn.queued >= EARLY_MESSAGES && conn.queued.is_power_of_two();
        let eager = (early || conn.link.unsent().len() > EAGER_WRITE_BYTES) && !conn.wants_write;
        if !conn.listed {
            conn.listed = true;
            self.busy.push(id);
        }
        if eager {
            self.write(id);
        }
        true
    }

    /// Bytes that this connection's peer has not taken yet.
    pub fn unsent(&mut self, id: ConnId) -> usize {
        self.table.get(id).map_or(0, |conn| conn.link.unsent().len())
    }

    /// Opens a connection as a DEALER. It is ready when [`Event::Opened`] comes with this number; [`Event::Closed`] comes
    /// if it can't be had.
    ///
    /// # Errors
    /// The operating system refused at once, e.g. because no file descriptor is left.
    pub fn connect(&mut self, address: SocketAddr, number: u64) -> io::Result<ConnId> {
        let stream = TcpStream::connect(address)?;
        let link = Link::new(Side::Opened, SocketType::Dealer, self.settings.message_bytes);
        self.add(stream, link, Origin::Opened(number))
    }

    /// Closes a connection, after what is queued has been written.
    pub fn close(&mut self, id: ConnId) {
        let Some(conn) = self.table.get(id) else { return };
        conn.closing = true;
        if !conn.listed {
            conn.listed = true;
            self.busy.push(id);
        }
        // A peer that does not take what is queued must not keep the connection.
        self.table.handshakes.push_back((self.now + self.settings.handshake, id));
    }

    /// Number of connections, accepted and opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.table.len()
    }

    fn add(&mut self, stream: TcpStream, link: Link, origin: Origin) -> io::Result<ConnId> {
        let mut stream = stream;
        // Answers are small and must leave at once.
        let _ = stream.set_nodelay(true);
        let token = Token(FIRST_CONN + self.table.next_index());
        self.registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let id = self.table.insert(stream, link, origin);
        self.table.handshakes.push_back((self.now + self.settings.handshake, id));
        if let Some(conn) = self.table.get(id) {
            // The first writability event flushes the greeting; it comes once the connection is established.
            conn.wants_write = true;
        }
        Ok(id)
    }

    /// Writes what is queued, as far as the kernel takes it.
    fn write(&mut self, id: ConnId) {
        let Some(conn) = self.table.get(id) else {
            return;
        };
        let mut failure = None;
        while !conn.link.unsent().is_empty() {
            match conn.stream.write(conn.link.unsent()) {
                Ok(0) => {
                    failure = Some(Closed::ByPeer);
                    break;
                }
                Ok(n) => conn.link.sent(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // A connection that is still being opened; its first writability event comes later.
                Err(e) if e.kind() == io::ErrorKind::NotConnected && !conn.announced => break,
                Err(e) => {
                    failure = Some(Closed::Io(e.kind()));
                    break;
                }
            }
        }
        if let Some(reason) = failure {
            self.ended.push((id, reason));
            return;
        }
        let unsent = conn.link.unsent().len();
        conn.wants_write = unsent > 0;
        if conn.stalled && unsent <= self.settings.unsent_bytes / 2 {
            conn.stalled = false;
            conn.readable = true;
        } else if unsent > self.settings.unsent_bytes {
            conn.stalled = true;
        }
        if conn.closing && unsent == 0 {
            self.ended.push((id, Closed::ByUs));
        }
    }
}

/// One thread's event loop.
#[derive(Debug)]
pub struct Reactor<H> {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    io: Io,
    listeners: Vec<Listening>,
    handler: H,
    scratch: Box<[u8]>,
    accept_again: Option<Instant>,
    spin: Spin,
    /// Whether this turn had a message.
    worked: bool,
}

impl<H: Handler> Reactor<H> {
    /// A reactor without listeners.
    ///
    /// # Errors
    /// The operating system gives no epoll instance or no event descriptor.
    pub fn new(settings: Settings, now: Instant, handler: impl FnOnce(Arc<Waker>) -> H) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let registry = poll.registry().try_clone()?;
        Ok(Self {
            poll,
            events: Events::with_capacity(POLL_EVENTS),
            handler: handler(Arc::clone(&waker)),
            waker,
            io: Io {
                registry,
                settings,
                table: Table::default(),
                busy: Vec::new(),
                ended: Vec::new(),
                accepted: 0,
                now,
                read_at: now,
            },
            listeners: Vec::new(),
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            accept_again: None,
            spin: Spin::new(settings.spin, now),
            worked: false,
        })
    }

    /// Wakes the loop from another thread.
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Adds a listener whose connections are of `socket_type`, take messages of up to `message_bytes`, and come as
    /// [`Origin::Accepted`] with `number`.
    ///
    /// # Errors
    /// The operating system refused to watch the socket.
    pub fn listen(
        &mut self,
        mut socket: TcpListener,
        socket_type: SocketType,
        message_bytes: usize,
        number: u8,
    ) -> io::Result<()> {
        let token = Token(1 + self.listeners.len());
        self.io.registry.register(&mut socket, token, Interest::READABLE)?;
        self.listeners.push(Listening { socket, socket_type, number, message_bytes });
        Ok(())
    }

    /// Runs until the handler says that it is finished.
    ///
    /// # Errors
    /// The operating system's poll failed, which leaves nothing that could go on.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.handler.finished() {
            self.turn()?;
        }
        for id in self.io.table.ids() {
            self.io.write(id);
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if std::mem::take(&mut self.worked) {
            self.spin.rest(now);
        }
        let timeout = self.patience(now);
        match self.poll.poll(&mut self.events, timeout) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        if timeout == Some(Duration::ZERO) && self.events.is_empty() && self.io.busy.is_empty() {
            // Whoever else wants this core has something to do, and we have not: often it is the very client we wait for.
            std::thread::yield_now();
        }
        let now = Instant::now();
        self.io.now = now;
        let woken = self.sort_events(now);
        if woken {
            self.handler.handle(Event::Woken, &mut self.io);
        }
        self.read_busy(now);
        self.expire_handshakes(now);
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept_again = None;
            (0..self.listeners.len()).for_each(|i| self.accept(i, now));
        }
        self.handler.handle(Event::Turn, &mut self.io);
        self.write_busy();
        self.report_ended();
        Ok(())
    }

    /// How long the poll may block.
    fn patience(&self, now: Instant) -> Option<Duration> {
        if !self.io.busy.is_empty() || self.spin.polls(now) {
            return Some(Duration::ZERO);
        }
        let handshake = self.io.table.handshakes.front().map(|(at, _)| *at);
        [self.handler.deadline(), handshake, self.accept_again]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.saturating_duration_since(now))
    }

    fn sort_events(&mut self, now: Instant) -> bool {
        let mut woken = false;
        let mut accepting = [false; FIRST_CONN];
        for event in &self.events {
            match event.token() {
                WAKER => woken = true,
                Token(t) if t < FIRST_CONN => accepting[t] = true,
                Token(t) => {
                    let Some(id) = self.io.table.id_at(t - FIRST_CONN) else {
                        continue;
                    };
                    let Some(conn) = self.io.table.get(id) else {
                        continue;
                    };
                    conn.hung_up |= event.is_error() || event.is_read_closed();
                    conn.readable |= event.is_readable() || conn.hung_up;
                    if !conn.listed {
                        conn.listed = true;
                        self.io.busy.push(id);
                    }
                }
            }
        }
        for (t, _) in accepting.iter().enumerate().filter(|(_, on)| **on) {
            self.accept(t - 1, now);
        }
        woken
    }

    fn accept(&mut self, index: usize, now: Instant) {
        loop {
            let Some(listening) = self.listeners.get(index) else {
                return;
            };
            let origin = Origin::Accepted(listening.number);
            match listening.socket.accept() {
                Ok(_) if self.io.accepted >= self.io.settings.connections => {
                    self.handler.handle(Event::Refused(origin), &mut self.io);
                }
                Ok((stream, _)) => {
                    let link = Link::new(Side::Accepted, listening.socket_type, listening.message_bytes);
                    if self.io.add(stream, link, origin).is_ok() {
                        self.io.accepted += 1;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    // Usually EMFILE. The socket stays readable without a new event, so come back by the clock.
                    tracing::warn!(%error, "cannot accept a connection; trying again in {ACCEPT_PAUSE:?}");
                    self.accept_again = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    /// Reads every connection that has something, and hands the handler what came.
    fn read_busy(&mut self, now: Instant) {
        let mut next = 0;
        while let Some(id) = self.io.busy.get(next).copied() {
            next += 1;
            self.read(id, now);
        }
    }

    fn read(&mut self, id: ConnId, now: Instant) {
        let mut taken = 0;
        while taken < READ_TURN_BYTES {
            let Some(conn) = self.io.table.get(id) else {
                return;
            };
            if !conn.readable || conn.stalled || conn.closing {
                return;
            }
            match conn.stream.read(&mut self.scratch) {
                Ok(0) => return self.io.ended.push((id, Closed::ByPeer)),
                Ok(n) => {
                    taken += n;
                    self.io.read_at = Instant::now();
                    // A short read means dry: a further byte would make a new edge.
                    conn.readable = n == self.scratch.len() || conn.hung_up;
                    let bytes = Bytes::copy_from_slice(self.scratch.get(..n).unwrap_or_default());
                    let violation = conn.link.receive(bytes).err();
                    self.deliver(id, now);
                    if let Some(error) = violation {
                        return self.io.ended.push((id, Closed::Protocol(error.to_string())));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return conn.readable = false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return self.io.ended.push((id, Closed::Io(e.kind()))),
            }
        }
    }

    fn deliver(&mut self, id: ConnId, now: Instant) {
        while let Some(conn) = self.io.table.get(id) {
            let origin = conn.origin;
            let Some(incoming) = conn.link.poll() else {
                return;
            };
            if !std::mem::replace(&mut self.worked, true) {
                self.spin.work(now);
            }
            let event = match &incoming {
                Incoming::Ready => {
                    conn.announced = true;
                    Event::Opened(id, origin)
                }
                Incoming::Message(message) => Event::Message(id, origin, message),
                Incoming::Subscribe(topic) => Event::Subscribe(id, topic),
                Incoming::Cancel(topic) => Event::Cancel(id, topic),
            };
            self.handler.handle(event, &mut self.io);
        }
    }

    fn expire_handshakes(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.io.table.handshakes.front() {
            let done = self.io.table.get(id).is_none_or(|conn| conn.announced && !conn.closing);
            if !done && at > now {
                return;
            }
            self.io.table.handshakes.pop_front();
            if !done {
                self.io.ended.push((id, Closed::HandshakeTimeout));
            }
        }
    }

    /// Writes every connection that has something, once; those that still have something to read stay listed.
    fn write_busy(&mut self) {
        let busy = std::mem::take(&mut self.io.busy);
        for id in busy {
            self.io.write(id);
            let Some(conn) = self.io.table.get(id) else {
                continue;
            };
            conn.queued = 0;
            conn.listed = conn.readable && !conn.stalled;
            if conn.listed {
                self.io.busy.push(id);
            }
        }
    }

    fn report_ended(&mut self) {
        while let Some((id, reason)) = self.io.ended.pop() {
            let Some(mut conn) = self.io.table.remove(id) else {
                continue;
            };
            let _ = self.io.registry.deregister(&mut conn.stream);
            if matches!(conn.origin, Origin::Accepted(_)) {
                self.io.accepted -= 1;
            }
            if conn.announced || matches!(conn.origin, Origin::Opened(_)) {
                self.handler.handle(Event::Closed(id, conn.origin, &reason), &mut self.io);
            } else {
                self.handler.handle(Event::Failed(conn.origin, &reason), &mut self.io);
            }
        }
    }
}
