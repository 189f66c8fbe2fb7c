//! One thread's loop: poll, read up to 64 KiB of every connection that has something, let the handler run what was read, write
//! each connection once; then let connections begin and end.
//!
//! A wake-up of a sleeping core costs tens of microseconds, a transition well under one: so nothing on this path is
//! handed to another thread, and the loop polls for a while before it sleeps, where that helps (`spin.rs`).
//!
//! When a connection is read is decided by a value (`flow.rs`), and the operating system is behind a trait ([`crate::kernel`]).

mod accept;
mod event;
mod io;
mod read;
mod write;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use omq_proto::SocketType;

use crate::curve::Security;
use crate::flow::Flow;
use crate::kernel::{Ending, Kernel, Ready, Wake};
use crate::limits::{Bounds, ConnectionLimiter};
use crate::spin::Spin;
use crate::turns::{Turn, Turns};

pub use self::event::{Closed, ConnId, Event, Handler, Origin, Usage};
pub use self::io::Io;
pub use crate::limits::{Kind, Settings};

/// When the next turn is wanted, if nothing becomes ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// At once: there is work.
    Now,
    /// Then.
    At(Instant),
    /// Not at all.
    Never,
}

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

/// What comes from one of the kernel's listeners.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its connections come as [`Origin::Accepted`] with this.
    pub number: u8,
    /// Whose they are.
    pub kind: Kind,
    /// What our side of them is.
    pub socket_type: SocketType,
    /// Bytes of one message.
    pub message_bytes: usize,
    /// How they are secured.
    pub security: Security,
}

#[derive(Debug)]
struct Listening {
    kind: Kind,
    socket_type: SocketType,
    number: u8,
    bounds: Bounds,
    security: Security,
}

/// One thread's event loop.
#[derive(Debug)]
pub struct Reactor<H> {
    waker: Arc<dyn Wake>,
    /// What the last poll found.
    ready: Vec<Ready>,
    io: Io,
    listeners: Vec<Listening>,
    handler: H,
    scratch: Box<[u8]>,
    spin: Spin,
    /// Whether this turn had a message.
    worked: bool,
    turns: Turns,
    /// Whether a connection began or ended in this turn.
    began_or_ended: bool,
}

/// How long connections are read that were ended here, while their peers have not ended them. What is written is on its way.
const LINGER: Duration = Duration::from_millis(300);
/// How often they are read meanwhile, and how much of one in one go, in buffers.
const LOOK: Duration = Duration::from_millis(5);
const READS: usize = 16;

/// Reads what is there, which counts no more. Whether more may come.
fn is_open(kernel: &mut dyn Kernel, key: usize, buffer: &mut [u8]) -> bool {
    for _ in 0..READS {
        match kernel.read(key, buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }
    true
}

impl<H: Handler> Reactor<H> {
    /// A reactor without listeners, over `kernel`, which `waker` wakes.
    #[must_use]
    pub fn new(settings: Settings, kernel: Box<dyn Kernel>, waker: Arc<dyn Wake>, handler: H) -> Self {
        let now = kernel.now();
        Self {
            waker,
            ready: Vec::new(),
            io: Io { kernel, flow: Flow::new(settings), now, read_at: now },
            listeners: Vec::new(),
            handler,
            scratch: vec![0; read::READ_BYTES].into_boxed_slice(),
            spin: Spin::new(settings.spin, now),
            worked: false,
            turns: Turns::default(),
            began_or_ended: false,
        }
    }

    /// Counts its connections together with those of other reactors.
    pub fn share(&mut self, limiter: Arc<ConnectionLimiter>) {
        self.io.flow.limiter = limiter;
    }

    /// Wakes the loop from another thread.
    #[must_use]
    pub fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker)
    }

    /// What runs on the loop.
    pub fn handler(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Serves the next of the kernel's listeners.
    pub fn listen(&mut self, listener: Listener) {
        let Listener { number, kind, socket_type, message_bytes, security } = listener;
        let bounds = self.io.flow.settings.bounds(message_bytes);
        self.listeners.push(Listening { kind, socket_type, number, bounds, security });
        self.turns.add_listener();
    }

    /// Runs until the handler says that it is finished.
    ///
    /// # Errors
    /// The operating system's poll failed, which leaves nothing that could go on.
    pub fn run(&mut self) -> std::io::Result<()> {
        while !self.handler.finished() {
            self.turn()?;
        }
        self.finish();
        self.linger()
    }

    /// Ends all connections behind what was written, and reads what still comes until their peers have ended them too, or [`LINGER`] is
    /// over: where something is unread as a socket is closed, the kernel resets the connection, and what the peer has not taken
    /// yet is gone.
    fn linger(&mut self) -> std::io::Result<()> {
        let Io { kernel, flow, .. } = &mut self.io;
        let mut open: Vec<usize> = flow.table.ids().iter().map(|id| id.index()).collect();
        open.iter().for_each(|key| kernel.end_writing(*key));
        let until = kernel.now() + LINGER;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            open.retain(|key| is_open(kernel.as_mut(), *key, &mut buffer));
            let left = until.saturating_duration_since(kernel.now());
            if open.is_empty() || left.is_zero() {
                return Ok(());
            }
            self.ready.clear();
            // What is ready is looked at by reading it.
            kernel.poll(Some(left.min(LOOK)), &mut self.ready)?;
        }
    }

    /// Writes what is queued, as far as the kernel takes it at once: the end of a loop of turns.
    pub fn finish(&mut self) {
        for id in self.io.flow.table.ids() {
            self.io.write(id);
        }
    }

    /// One turn.
    ///
    /// # Errors
    /// The operating system's poll failed, which leaves nothing that could go on.
    pub fn turn(&mut self) -> std::io::Result<()> {
        let now = self.wait()?;
        self.io.now = now;
        if self.sort_ready() {
            self.handler.handle(Event::Woken, &mut self.io);
        }
        self.serve_busy(now);
        self.turns.ask_again(now);
        self.io.flow.expire_handshakes(now);
        self.io.flow.look_after(now);
        self.begin_or_end(now);
        Ok(())
    }

    /// When the next turn is wanted, if nothing becomes ready and no other thread wakes it.
    pub fn due(&self, now: Instant) -> Due {
        let Io { flow, .. } = &self.io;
        // What began or ended may have given the handler something to do, which it does in a turn.
        if !flow.busy.is_empty() || self.has_beginnings_or_ends() || self.began_or_ended {
            return Due::Now;
        }
        match [self.handler.deadline(), flow.due(), self.turns.due()].into_iter().flatten().min() {
            Some(at) if at <= now => Due::Now,
            Some(at) => Due::At(at),
            None => Due::Never,
        }
    }

    /// Waits until there is something to do. Gives the time at which this turn begins to run.
    fn wait(&mut self) -> std::io::Result<Instant> {
        let now = self.io.kernel.now();
        if std::mem::take(&mut self.worked) {
            self.spin.rest(now);
        }
        let patience = self.patience(now);
        self.ready.clear();
        self.io.kernel.poll(patience.timeout(), &mut self.ready)?;
        let now = self.io.kernel.now();
        if patience == Patience::Polls && self.ready.is_empty() {
            // Another thread that wants this core has something to do, and we have not: often it is the very client we wait for.
            self.io.kernel.yield_now();
            let back = self.io.kernel.now();
            self.spin.yielded(back.saturating_duration_since(now));
            return Ok(back);
        }
        Ok(now)
    }

    /// What the next poll waits for.
    fn patience(&self, now: Instant) -> Patience {
        match self.due(now) {
            Due::Now => Patience::None,
            _ if self.spin.polls(now) => Patience::Polls,
            Due::At(at) => Patience::Until(at.saturating_duration_since(now)),
            Due::Never => Patience::Forever,
        }
    }

    /// Lists the connections and listeners that are ready. Says whether another thread woke us.
    fn sort_ready(&mut self) -> bool {
        let mut woken = false;
        for &ready in &self.ready {
            match ready {
                Ready::Woken => woken = true,
                Ready::Listener(listener) => self.turns.may_accept(listener),
                Ready::Conn { key, readable, hung_up } => self.io.flow.ready(key, readable, hung_up),
            }
        }
        woken
    }

    /// Reads the connections that have something, lets the handler answer, and writes the answers.
    fn serve_busy(&mut self, now: Instant) {
        self.read_busy(now);
        self.handler.handle(Event::Turn, &mut self.io);
        self.io.flow.resume();
        self.io.write_busy();
    }

    fn has_beginnings_or_ends(&self) -> bool {
        let Flow { knocking, ended, .. } = &self.io.flow;
        !knocking.is_empty() || !ended.is_empty() || self.turns.accepts_any()
    }

    /// Connections begin, go on with their handshake, or end: each of these costs as much as a handful of requests, and they come
    /// behind the answers to those who are there. One in a turn, or as many as take an eighth of what these answers took; the
    /// rest waits for the next turns. So a peer that opens and closes connections as fast as it can does not make the others
    /// wait, and those who are there do not keep out others by being many.
    fn begin_or_end(&mut self, now: Instant) {
        self.began_or_ended = self.has_beginnings_or_ends() && self.next_kind(now);
        if !self.began_or_ended || !self.has_beginnings_or_ends() {
            return;
        }
        let answered = self.io.kernel.now();
        let share = answered.saturating_duration_since(now) / 8;
        while self.next_kind(now) && self.io.kernel.now().saturating_duration_since(answered) < share {}
    }

    /// Does one of these things. Says whether there was one.
    fn next_kind(&mut self, now: Instant) -> bool {
        for _ in 0..self.turns.kinds() {
            let done = match self.turns.next() {
                Turn::Knocking => self.serve_knocking(now),
                Turn::Ended => self.report_ended(),
                Turn::Listener(listener) => self.turns.accepts(listener) && self.accept(listener, now),
            };
            if done {
                return true;
            }
        }
        false
    }

    /// Serves one of those that are in their handshake. Says whether there was one.
    fn serve_knocking(&mut self, now: Instant) -> bool {
        let Some(id) = self.io.flow.next_knocking() else { return false };
        let others = std::mem::replace(&mut self.io.flow.busy, vec![id]);
        self.serve_busy(now);
        self.io.flow.busy.extend(others);
        true
    }

    /// Takes out one of those that are over. Says whether there was one.
    fn report_ended(&mut self) -> bool {
        let Some((id, reason)) = self.io.flow.ended.pop_front() else { return false };
        self.ended(id, &reason);
        true
    }

    fn ended(&mut self, id: ConnId, reason: &Closed) {
        let Some(conn) = self.io.flow.remove(id) else { return };
        let got_in = conn.is_announced() || !matches!(reason, Closed::HandshakeTimeout | Closed::MadeRoom);
        self.io.kernel.close(id.index(), if got_in { Ending::Orderly } else { Ending::Reset });
        let event = if conn.is_announced() || matches!(conn.origin, Origin::Opened(_)) {
            Event::Closed(id, conn.origin, reason)
        } else {
            Event::Failed(conn.origin, reason)
        };
        self.handler.handle(event, &mut self.io);
    }
}
