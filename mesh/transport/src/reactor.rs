//! One thread's loop: poll, read up to 64 KiB of every connection that has something, let the handler run what was read, write
//! each connection once; then let connections begin and end.
//!
//! A wake-up of a sleeping core costs tens of microseconds, a transition well under one: so nothing on this path is
//! handed to another thread, and the loop polls for a while before it sleeps, where that helps (`spin.rs`).

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use omq_proto::{Message, SocketType};
use socket2::SockRef;

use crate::curve::Security;
use crate::heartbeat::{Silence, Verdict};
use crate::limits::{Bounds, Census, Refusal};
use crate::link::{Incoming, Link, Side};
use crate::spin::Spin;
use crate::table::Table;
use crate::under_way::Ticket;

pub use crate::limits::Settings;

/// Names one connection of one reactor; never reused, so a late answer to a closed connection goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    index: u32,
    generation: u32,
}

impl ConnId {
    pub(crate) fn new(index: usize, generation: u32) -> Self {
        Self { index: u32::try_from(index).unwrap_or(u32::MAX), generation }
    }

    /// An id that no reactor gives, for tests of what keeps tables of connections.
    #[must_use]
    pub fn for_tests(index: usize) -> Self {
        Self::new(index, u32::MAX)
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
    /// It gave no sign of life for too long.
    Silent,
    /// It kept most of the bytes of messages that were not whole when these were too many.
    HalfSent,
    /// It sent too many malformed messages.
    Malformed,
    /// There were too many connections, and its handshake had been waited for the longest.
    MadeRoom,
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
    /// A new connection was refused.
    Refused(Origin, Refusal),
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

/// What the connections of a reactor take now, and what was counted since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Bytes of messages that are not whole yet.
    pub unread_bytes: usize,
    /// Bytes that peers have not taken.
    pub unsent_bytes: usize,
    /// Times that a connection was no longer read because its peer did not take what was sent.
    pub stalls: u64,
    /// Times that a connection was no longer read because too much of what it had sent was under way.
    pub pauses: u64,
    /// Malformed messages that count against [`Settings::malformed`] of some connection.
    pub malformed: usize,
    /// Times that the operating system gave no connection, for want of file descriptors mostly.
    pub accept_failures: u64,
}

/// What one connection has handled, in messages, before the others have their turn: a read can hold thousands of tiny ones.
const TURN_MESSAGES: usize = 512;
/// What something that has no business being frequent counts for: a malformed message, which is answered with a text about
/// what is wrong with it, and a subscription.
const RARE_MESSAGES: usize = 16;
/// Bytes that the codec is given at once. It makes messages of all of them, and one that takes two bytes on the wire takes
/// some sixty then.
const CODEC_BYTES: usize = 8 * 1024;
/// So many bytes of a message that is not whole are a sign of life; fewer are what a peer sends that wants to hold us up.
const PROGRESS_BYTES: usize = 512;
/// A handshake that has lasted this long makes room for a new connection when there are too many.
const EVICT_AGE: Duration = Duration::from_millis(250);
/// Silent connections that are looked at in one turn.
const TURN_LOOKS: usize = 16;
/// How many of the oldest handshakes are looked at to find one that can make room.
const EVICT_LOOK: usize = 16;
/// Bytes of one read, which is what a connection may have read in one turn.
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

/// For how long a poll may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// Not at all: there is work.
    None,
    /// Not at all, though there is nothing to do: polling helps.
    Polls,
    Until(Duration),
    Forever,
}

impl Patience {
    fn timeout(self) -> Option<Duration> {
        match self {
            Self::None | Self::Polls => Some(Duration::ZERO),
            Self::Until(span) => Some(span),
            Self::Forever => None,
        }
    }
}

const WAKER: Token = Token(0);
/// Tokens below this are the waker and the listeners.
const FIRST_CONN: usize = 16;

#[derive(Debug)]
struct Listening {
    socket: TcpListener,
    socket_type: SocketType,
    number: u8,
    bounds: Bounds,
    security: Security,
}

/// The connections, as the handler sees them.
#[derive(Debug)]
pub struct Io {
    registry: Registry,
    settings: Settings,
    table: Table,
    /// Connections with something to read or write in this turn.
    busy: Vec<ConnId>,
    /// Connections in their handshake that have something to read.
    knocking: VecDeque<ConnId>,
    /// Connections that are over, and of which the handler is still to be told.
    ended: VecDeque<(ConnId, Closed)>,
    /// Connections of whose messages too many are under way.
    paused: Vec<ConnId>,
    census: Arc<Census>,
    usage: Usage,
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
        if conn.over {
            // What it was told and did not answer is settled when the handler hears of its end.
            return true;
        }
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
    pub fn connect(&mut self, address: SocketAddr, number: u64, security: &Security) -> io::Result<ConnId> {
        let stream = TcpStream::connect(address)?;
        let bounds = self.settings.bounds(self.settings.message_bytes);
        let link = Link::new(Side::Opened, SocketType::Dealer, bounds, security);
        self.add(stream, link, Origin::Opened(number))
    }

    /// The key with which a connection's peer authenticated itself.
    pub fn peer_key(&mut self, id: ConnId) -> Option<[u8; 32]> {
        self.table.get(id).and_then(|conn| conn.link.peer_key().copied())
    }

    /// Whether a connection's peer expects our former key.
    pub fn is_by_former_key(&mut self, id: ConnId) -> bool {
        self.table.get(id).is_some_and(|conn| conn.link.is_by_former_key())
    }

    /// Says that what came from this connection was no message as it should be. After too many the connection is closed.
    pub fn malformed(&mut self, id: ConnId) {
        let Some(conn) = self.table.get(id) else { return };
        conn.malformed = conn.malformed.saturating_add(1);
        self.usage.malformed += 1;
        if conn.malformed == self.settings.malformed.saturating_add(1) {
            self.end(id, Closed::Malformed);
        }
    }

    /// To be kept by what a message of this connection waits in, until it is answered: see [`Settings::in_flight`].
    pub fn ticket(&mut self, id: ConnId) -> Option<Ticket> {
        self.table.get(id).map(|conn| conn.under_way.ticket())
    }

    /// Connections that are not read because too much of what they sent is under way.
    #[must_use]
    pub fn paused(&self) -> usize {
        self.paused.len()
    }

    /// What the connections take now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// A connection is over: nothing more is read of it, and the handler will be told. Of several reasons the first counts.
    /// Those that we opened come first: they are the links to other members, and there are few.
    fn end(&mut self, id: ConnId, reason: Closed) {
        let Some(conn) = self.table.get(id).filter(|conn| !conn.over) else { return };
        conn.over = true;
        if let Some(address) = conn.address.take() {
            // Whoever comes back at once finds its place free.
            self.census.leave(address);
        }
        match conn.origin {
            Origin::Opened(_) => self.ended.push_front((id, reason)),
            Origin::Accepted(_) => self.ended.push_back((id, reason)),
        }
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
        let id = self.table.insert(stream, link, origin, self.now);
        self.table.handshakes.push_back((self.now + self.settings.handshake, id));
        if let Some(conn) = self.table.get(id) {
            // The first writability event flushes the greeting; it comes once the connection is established.
            conn.wants_write = true;
        }
        Ok(id)
    }

    /// Lets connections go on of whose messages enough are answered. There are few, since each has many under way, and these
    /// are bounded together.
    fn resume(&mut self) {
        let Self { paused, table, busy, settings, .. } = self;
        paused.retain(|&id| {
            let Some(conn) = table.get(id) else { return false };
            conn.paused = conn.under_way.count() > settings.in_flight / 2;
            if !conn.paused && !conn.listed {
                conn.listed = true;
                busy.push(id);
            }
            conn.paused
        });
    }

    /// A connection keeps so many bytes of a message that is not whole. If all keep too many, the one with most of them ends.
    fn count_unread(&mut self, id: ConnId, unread: usize) {
        let Some(conn) = self.table.get(id) else { return };
        self.usage.unread_bytes = self.usage.unread_bytes + unread - conn.counted.unread;
        conn.counted.unread = unread;
        if self.usage.unread_bytes > self.settings.unread_bytes
            && let Some(worst) = self.table.worst_reader()
            && let Some(conn) = self.table.get(worst)
        {
            self.usage.unread_bytes -= std::mem::take(&mut conn.counted.unread);
            self.end(worst, Closed::HalfSent);
        }
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
            return self.end(id, reason);
        }
        let unsent = conn.link.unsent().len();
        conn.wants_write = unsent > 0;
        self.usage.unsent_bytes = self.usage.unsent_bytes + unsent - conn.counted.unsent;
        conn.counted.unsent = unsent;
        let crowded = unsent > 0 && self.usage.unsent_bytes > self.settings.unsent_total_bytes;
        if conn.stalled && unsent <= self.settings.unsent_bytes / 2 && !crowded {
            conn.stalled = false;
            conn.readable = true;
            // While it was not read it could give no sign of life.
            conn.heard = self.now;
        } else if (unsent > self.settings.unsent_bytes || crowded) && !conn.stalled {
            conn.stalled = true;
            self.usage.stalls += 1;
        }
        if conn.closing && unsent == 0 {
            self.end(id, Closed::ByUs);
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
    /// Listeners that may have further connections, as bits.
    accepting: u16,
    /// What [`Reactor::next_kind`] did last.
    last_kind: usize,
    /// Whether a connection began or ended in this turn.
    began_or_ended: bool,
}

/// Whoever did not get in is owed no orderly end: closing sends one RST, and leaves nothing that waits for the peer. Under 20,000
/// connections a second the orderly ends, and what the kernel had to free for them, stopped this thread for 1 to 2 ms at a time.
fn reset_on_close(stream: &TcpStream) {
    // Without it the end is orderly, and no less an end.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
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
                knocking: VecDeque::new(),
                ended: VecDeque::new(),
                paused: Vec::new(),
                census: Arc::default(),
                usage: Usage::default(),
                now,
                read_at: now,
            },
            listeners: Vec::new(),
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            accept_again: None,
            spin: Spin::new(settings.spin, now),
            worked: false,
            accepting: 0,
            last_kind: 0,
            began_or_ended: false,
        })
    }

    /// Counts its connections together with those of other reactors.
    pub fn share(&mut self, census: Arc<Census>) {
        self.io.census = census;
    }

    /// Wakes the loop from another thread.
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Adds a listener whose connections are of `socket_type`, take messages of up to `message_bytes`, are secured as
    /// `security` says, and come as [`Origin::Accepted`] with `number`.
    ///
    /// # Errors
    /// The operating system refused to watch the socket.
    pub fn listen(
        &mut self,
        mut socket: TcpListener,
        socket_type: SocketType,
        message_bytes: usize,
        number: u8,
        security: Security,
    ) -> io::Result<()> {
        let token = Token(1 + self.listeners.len());
        self.io.registry.register(&mut socket, token, Interest::READABLE)?;
        let bounds = self.io.settings.bounds(message_bytes);
        self.listeners.push(Listening { socket, socket_type, number, bounds, security });
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
        let patience = self.patience(now);
        match self.poll.poll(&mut self.events, patience.timeout()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        let mut now = Instant::now();
        if patience == Patience::Polls && self.events.is_empty() {
            // Whoever else wants this core has something to do, and we have not: often it is the very client we wait for.
            std::thread::yield_now();
            let back = Instant::now();
            self.spin.yielded(back.saturating_duration_since(now));
            now = back;
        }
        self.io.now = now;
        if self.sort_events() {
            self.handler.handle(Event::Woken, &mut self.io);
        }
        self.serve_busy(now);
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept_again = None;
            self.accepting = (1 << self.listeners.len()) - 1;
        }
        self.expire_handshakes(now);
        self.look_after(now);
        self.begin_or_end(now);
        Ok(())
    }

    /// Connections begin, go on with their handshake, or end: each of these costs as much as a handful of requests, and they come
    /// behind the answers to those who are there. One in a turn, or as many as take an eighth of what these answers took; the
    /// rest waits for the next turns. So whoever opens and closes connections as fast as he can does not make the others
    /// wait, and those who are there do not keep out others by being many.
    fn begin_or_end(&mut self, now: Instant) {
        self.began_or_ended = self.has_beginnings_or_ends() && self.next_kind(now);
        if !self.began_or_ended || !self.has_beginnings_or_ends() {
            return;
        }
        let answered = Instant::now();
        let share = answered.saturating_duration_since(now) / 8;
        while self.next_kind(now) && answered.elapsed() < share {}
    }

    /// Does one of these things; they take turns, so no listener waits for another. Says whether there was one.
    fn next_kind(&mut self, now: Instant) -> bool {
        let kinds = self.listeners.len() + 2;
        for _ in 0..kinds {
            self.last_kind = (self.last_kind + 1) % kinds;
            let done = match self.last_kind.checked_sub(2) {
                Some(listener) => self.accepting & 1 << listener != 0 && self.accept(listener, now),
                None if self.last_kind == 0 => self.serve_knocking(now),
                None => self.report_ended(),
            };
            if done {
                return true;
            }
        }
        false
    }

    fn has_beginnings_or_ends(&self) -> bool {
        !self.io.knocking.is_empty() || !self.io.ended.is_empty() || self.accepting != 0
    }

    /// Reads who has something, lets the handler answer, and writes the answers.
    fn serve_busy(&mut self, now: Instant) {
        self.read_busy(now);
        self.handler.handle(Event::Turn, &mut self.io);
        self.io.resume();
        self.write_busy();
    }

    /// Serves one of those that are in their handshake. Says whether there was one.
    fn serve_knocking(&mut self, now: Instant) -> bool {
        let id = loop {
            let Some(id) = self.io.knocking.pop_front() else { return false };
            if self.io.table.get(id).is_some_and(|conn| !conn.over) {
                break id;
            }
        };
        let others = std::mem::replace(&mut self.io.busy, vec![id]);
        self.serve_busy(now);
        self.io.busy.extend(others);
        true
    }

    /// What the next poll waits for.
    fn patience(&self, now: Instant) -> Patience {
        let Io { busy, table, .. } = &self.io;
        // What began or ended may have given the handler something to do, which it does in a turn.
        if !busy.is_empty() || self.has_beginnings_or_ends() || self.began_or_ended {
            return Patience::None;
        }
        let handshake = table.handshakes.front().map(|(at, _)| *at);
        let due =
            [self.handler.deadline(), handshake, table.rounds.next(), self.accept_again].into_iter().flatten().min();
        match due {
            Some(at) if at <= now => Patience::None,
            _ if self.spin.polls(now) => Patience::Polls,
            Some(at) => Patience::Until(at.saturating_duration_since(now)),
            None => Patience::Forever,
        }
    }

    fn sort_events(&mut self) -> bool {
        let mut woken = false;
        for event in &self.events {
            match event.token() {
                WAKER => woken = true,
                // Token 0 is the waker's.
                Token(t) if t < FIRST_CONN => self.accepting |= 1 << (t - 1),
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
                        if conn.announced {
                            self.io.busy.push(id);
                        } else {
                            self.io.knocking.push_back(id);
                        }
                    }
                }
            }
        }
        woken
    }

    /// Takes one connection from a listener. Says whether there was one.
    fn accept(&mut self, index: usize, now: Instant) -> bool {
        let Some(listening) = self.listeners.get(index) else {
            return false;
        };
        let origin = Origin::Accepted(listening.number);
        match listening.socket.accept() {
            Ok((stream, from)) => {
                let link = Link::new(Side::Accepted, listening.socket_type, listening.bounds, &listening.security);
                self.accepted(stream, link, from.ip(), origin);
                return true;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.accepting &= !(1 << index),
            Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
            Err(error) => {
                // Usually EMFILE. The socket stays readable without a new event, so come back by the clock.
                if self.io.usage.accept_failures == 0 {
                    // Once: whoever opens connections all the time must not fill the log.
                    tracing::warn!(%error, "cannot accept a connection; trying again every {ACCEPT_PAUSE:?}");
                }
                self.io.usage.accept_failures += 1;
                self.accept_again = Some(now + ACCEPT_PAUSE);
                self.accepting &= !(1 << index);
            }
        }
        false
    }

    /// Takes a new connection, if there is room for it or can be made.
    fn accepted(&mut self, stream: TcpStream, link: Link, from: IpAddr, origin: Origin) {
        let mut entered = self.io.census.enter(from, &self.io.settings, self.io.now);
        if entered == Err(Refusal::TooMany) && self.make_room() {
            entered = self.io.census.enter(from, &self.io.settings, self.io.now);
        }
        if let Err(refusal) = entered {
            reset_on_close(&stream);
            return self.handler.handle(Event::Refused(origin, refusal), &mut self.io);
        }
        match self.io.add(stream, link, origin) {
            Ok(id) => {
                if let Some(conn) = self.io.table.get(id) {
                    conn.address = Some(from);
                }
            }
            Err(_) => self.io.census.leave(from),
        }
    }

    /// Ends the connection whose handshake has been waited for the longest, if that is long: whoever opens connections and
    /// says nothing must not keep others out.
    fn make_room(&mut self) -> bool {
        let settings = &self.io.settings;
        let before = self.io.now + settings.handshake.saturating_sub(EVICT_AGE);
        let waiting = self.io.table.handshakes.iter().take_while(|(at, _)| *at <= before).map(|(_, id)| *id);
        // What is done already is taken out at the front in every turn, so the first ones are those that wait.
        let oldest: Vec<ConnId> = waiting.take(EVICT_LOOK).collect();
        for id in oldest {
            if self.io.table.get(id).is_some_and(|conn| !conn.announced && !conn.over && conn.address.is_some()) {
                self.ended(id, &Closed::MadeRoom);
                return true;
            }
        }
        false
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
        let mut left = TURN_MESSAGES;
        let mut may_read = true;
        loop {
            let Some(conn) = self.io.table.get(id) else {
                return;
            };
            if !conn.takes_input() {
                return;
            }
            if !std::mem::take(&mut conn.backlog) {
                if conn.unparsed.is_empty() {
                    if !conn.readable || !may_read {
                        return;
                    }
                    may_read = false;
                    match conn.stream.read(&mut self.scratch) {
                        Ok(0) => return self.io.end(id, Closed::ByPeer),
                        Ok(n) => {
                            self.io.read_at = Instant::now();
                            // A short read means dry: a further byte would make a new edge.
                            conn.readable = n == self.scratch.len() || conn.hung_up;
                            conn.unparsed = Bytes::copy_from_slice(self.scratch.get(..n).unwrap_or_default());
                            if n >= PROGRESS_BYTES {
                                conn.heard = now;
                            }
                        }
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return conn.readable = false,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => return,
                        Err(e) => return self.io.end(id, Closed::Io(e.kind())),
                    }
                }
                let piece = conn.unparsed.len().min(CODEC_BYTES.max(conn.link.left_of_frame()));
                let violation = conn.link.receive(conn.unparsed.split_to(piece)).err();
                if conn.link.is_between_messages() {
                    conn.heard = now;
                }
                let unread = conn.link.unread();
                if unread != conn.counted.unread {
                    self.io.count_unread(id, unread);
                }
                if let Some(error) = violation {
                    // What came before it still counts.
                    self.deliver(id, now, &mut left);
                    return self.io.end(id, Closed::Protocol(error.to_string()));
                }
            }
            if !self.deliver(id, now, &mut left) {
                return;
            }
        }
    }

    /// Hands the handler what came on a connection, as long as there is something `left` of its turn. Says whether that was all,
    /// and more may be read.
    fn deliver(&mut self, id: ConnId, now: Instant, left: &mut usize) -> bool {
        while let Some(conn) = self.io.table.get(id) {
            let origin = conn.origin;
            if conn.under_way.count() >= self.io.settings.in_flight {
                conn.paused = true;
                self.io.paused.push(id);
                self.io.usage.pauses += 1;
            }
            if *left == 0 || !conn.takes_input() {
                conn.backlog = true;
                return false;
            }
            let incoming = match conn.link.poll() {
                Ok(Some(incoming)) => incoming,
                Ok(None) => return true,
                Err(error) => {
                    self.io.end(id, Closed::Protocol(error.to_string()));
                    return false;
                }
            };
            if !std::mem::replace(&mut self.worked, true) {
                self.spin.work(now);
            }
            let event = match &incoming {
                Incoming::Ready => {
                    conn.announced = true;
                    self.io.table.rounds.add(now + self.io.settings.heartbeat, id);
                    Event::Opened(id, origin)
                }
                Incoming::Message(message) => Event::Message(id, origin, message),
                Incoming::Subscribe(topic) => Event::Subscribe(id, topic),
                Incoming::Cancel(topic) => Event::Cancel(id, topic),
            };
            let malformed = self.io.usage.malformed;
            self.handler.handle(event, &mut self.io);
            let rare =
                self.io.usage.malformed > malformed || matches!(incoming, Incoming::Subscribe(_) | Incoming::Cancel(_));
            *left = left.saturating_sub(if rare { RARE_MESSAGES } else { 1 });
        }
        false
    }

    /// Asks connections that are silent for a sign of life, and ends those that gave none.
    fn look_after(&mut self, now: Instant) {
        let mut left = TURN_LOOKS;
        while left > 0
            && self.io.ended.is_empty()
            && let Some(id) = self.io.table.rounds.due(now)
        {
            left -= 1;
            let Some(conn) = self.io.table.get(id) else { continue };
            self.io.usage.malformed -= std::mem::take(&mut conn.malformed) as usize;
            if conn.paused {
                conn.heard = now;
            }
            let half_sent = !conn.link.is_between_messages() && conn.takes_input();
            match (Silence { span: now.duration_since(conn.heard), half_sent }).judge(&self.io.settings) {
                Verdict::Alive => {}
                Verdict::Ask => {
                    if conn.link.ping() && !conn.listed {
                        conn.listed = true;
                        self.io.busy.push(id);
                    }
                }
                Verdict::Dead => {
                    self.io.end(id, Closed::Silent);
                    continue;
                }
            }
            self.io.table.rounds.add(now + self.io.settings.heartbeat, id);
        }
    }

    fn expire_handshakes(&mut self, now: Instant) {
        while self.io.ended.is_empty()
            && let Some(&(at, id)) = self.io.table.handshakes.front()
        {
            let done = self.io.table.get(id).is_none_or(|conn| conn.announced && !conn.closing);
            if !done && at > now {
                return;
            }
            self.io.table.handshakes.pop_front();
            if !done {
                self.io.end(id, Closed::HandshakeTimeout);
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
            conn.listed = (conn.readable || conn.backlog || !conn.unparsed.is_empty()) && conn.takes_input();
            if conn.listed {
                self.io.busy.push(id);
            }
        }
    }

    /// Takes out one of those that are over. Says whether there was one.
    fn report_ended(&mut self) -> bool {
        let Some((id, reason)) = self.io.ended.pop_front() else { return false };
        self.ended(id, &reason);
        true
    }

    fn ended(&mut self, id: ConnId, reason: &Closed) {
        let Some(mut conn) = self.io.table.remove(id) else { return };
        let _ = self.io.registry.deregister(&mut conn.stream);
        self.io.usage.unread_bytes -= conn.counted.unread;
        self.io.usage.unsent_bytes -= conn.counted.unsent;
        self.io.usage.malformed -= conn.malformed as usize;
        if let Some(address) = conn.address {
            self.io.census.leave(address);
        }
        if !conn.announced && matches!(reason, Closed::HandshakeTimeout | Closed::MadeRoom) {
            reset_on_close(&conn.stream);
        }
        let event = if conn.announced || matches!(conn.origin, Origin::Opened(_)) {
            Event::Closed(id, conn.origin, reason)
        } else {
            Event::Failed(conn.origin, reason)
        };
        self.handler.handle(event, &mut self.io);
    }
}
