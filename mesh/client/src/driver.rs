//! The thread of the async client: its connections, and what they wait for. What it does is told by [`Pipeline`].

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::addresses::Addresses;
use crate::attempts::To;
use crate::client::Options;
use crate::connection::{Connection, ConnectionError};
use crate::endpoint::{Endpoint, OpenError};
use crate::error::ClientError;
use crate::mailbox::{Closing, Mailbox, News, Promise, Room, mailbox_of};
use crate::pipeline::{Act, Pipeline, WireId};

/// Bytes that are handed to a connection before the socket has taken those before them: what it has not been handed yet can still be
/// forgotten, or go elsewhere.
const WRITE_AHEAD_BYTES: usize = 64 << 10;
/// Reads of one connection before the others have their turn.
const MAX_READS: usize = 16;

/// What the thread has.
#[derive(Debug)]
pub(crate) struct Driver {
    poll: Poll,
    mailbox: Arc<Mailbox>,
    options: Options,
    pipeline: Pipeline<Promise>,
    wires: BTreeMap<WireId, Wire>,
    last_wire: WireId,
    addresses: Addresses,
    openings: (Sender<Opening>, Receiver<Opening>),
    /// The frame that is written just now.
    frame: Vec<u8>,
}

#[derive(Debug)]
struct Wire {
    connection: Connection,
    /// Whether something may be there to read.
    is_readable: bool,
    /// Since when the socket takes nothing of what is to be written, and how much that is.
    stalled: Option<(Instant, usize)>,
}

/// What came of opening a connection.
#[derive(Debug)]
struct Opening {
    to: To,
    /// Of the mesh, and whose turn it is now.
    addresses: Option<Addresses>,
    result: Result<Connection, OpenError>,
}

impl Driver {
    /// Starts the thread, which ends with the last of those who could ask it something or wait for it.
    pub(crate) fn start(options: Options, room: Room) -> io::Result<Arc<Mailbox>> {
        let poll = Poll::new()?;
        let mailbox = mailbox_of(&poll, room)?;
        let driver = Self {
            poll,
            mailbox: Arc::clone(&mailbox),
            pipeline: Pipeline::new(&options),
            wires: BTreeMap::new(),
            last_wire: 0,
            addresses: Addresses::new(&options.addresses, &options.security, options.timeout),
            openings: channel(),
            frame: Vec::new(),
            options,
        };
        std::thread::Builder::new().name("statemesh-client".to_owned()).spawn(move || driver.run())?;
        Ok(mailbox)
    }

    fn run(mut self) {
        let _closing = Closing(Arc::clone(&self.mailbox));
        let mut events = Events::with_capacity(256);
        while let Some(news) = self.mailbox.news() {
            self.hear(news);
            self.pipeline.tick(Instant::now());
            self.read_all();
            self.end_stalled();
            self.write_all();
            if let Err(error) = self.poll.poll(&mut events, self.sleeps())
                && error.kind() != io::ErrorKind::Interrupted
            {
                return;
            }
            for event in &events {
                // The waker's token is no connection's.
                if let Some(wire) = self.wires.get_mut(&event.token().0) {
                    wire.is_readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                }
            }
        }
    }

    fn hear(&mut self, News { made, forgotten }: News) {
        let now = Instant::now();
        forgotten.into_iter().for_each(|id| self.pipeline.forget(id));
        for (id, (kept, promise)) in made {
            self.pipeline.ask(id, kept, promise, now);
        }
        while let Ok(Opening { to, addresses, result }) = self.openings.1.try_recv() {
            if let Some(addresses) = addresses {
                self.addresses = addresses;
            }
            match result {
                Ok(connection) => self.open(&to, connection),
                Err(error) => self.pipeline.unopened(&to, &error, now),
            }
        }
    }

    fn open(&mut self, to: &To, connection: Connection) {
        self.last_wire += 1;
        let (id, address, now) = (self.last_wire, connection.address(), Instant::now());
        let fd = connection.as_fd().as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(source) = self.poll.registry().register(&mut SourceFd(&fd), Token(id), interest) {
            return self.pipeline.unopened(to, &ConnectionError::Io { address, source }.into(), now);
        }
        // Something may have been read with the last of the handshake.
        self.wires.insert(id, Wire { connection, is_readable: true, stalled: None });
        self.pipeline.opened(to, id, address, now);
    }

    fn read_all(&mut self) {
        for (id, wire) in &mut self.wires {
            if !wire.is_readable {
                continue;
            }
            if let Err(error) = read(*id, wire, &mut self.pipeline) {
                broke(&mut self.pipeline, *id, &error);
            }
        }
    }

    /// A socket that takes nothing for as long as an answer may take is of no use.
    fn end_stalled(&mut self) {
        let now = Instant::now();
        for (id, Wire { connection, stalled, .. }) in &self.wires {
            if stalled.is_some_and(|(since, _)| now >= since + self.options.timeout) {
                let source = io::ErrorKind::TimedOut.into();
                broke(&mut self.pipeline, *id, &ConnectionError::Io { address: connection.address(), source });
            }
        }
    }

    /// Writes until nothing is left that could be written: what breaks may move requests to other connections.
    fn write_all(&mut self) {
        loop {
            self.act();
            let mut has_moved = false;
            for (id, wire) in &mut self.wires {
                if wire.stalled.is_none() && wire.connection.unsent_bytes() == 0 && !self.pipeline.has_frames(*id) {
                    continue;
                }
                if let Err(error) = write(*id, wire, &mut self.pipeline, &mut self.frame) {
                    broke(&mut self.pipeline, *id, &error);
                    has_moved = true;
                }
            }
            if !has_moved {
                return self.act();
            }
        }
    }

    fn act(&mut self) {
        for act in self.pipeline.acts() {
            match act {
                Act::Done(promise, result) => promise.keep(result),
                Act::Close(id) => self.close(id),
                // None is opened just now that would come back with another turn: this is said of one that is open.
                Act::LeaveHome => self.addresses.leave(),
                Act::Open(to) => self.begin(to),
            }
        }
    }

    fn close(&mut self, id: WireId) {
        if let Some(Wire { connection, .. }) = self.wires.remove(&id) {
            let fd = connection.as_fd().as_raw_fd();
            // It goes with its socket anyway.
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
    }

    /// Opens a connection in a thread of its own: names are resolved, and handshakes made, by calls that block.
    fn begin(&mut self, to: To) {
        let (sender, mailbox) = (self.openings.0.clone(), Arc::clone(&self.mailbox));
        let (security, timeout) = (self.options.security.clone(), self.options.timeout);
        let (name, mut addresses) = match &to {
            To::Home => ("the mesh".to_owned(), Some(self.addresses.clone())),
            To::Owner(address) => (address.clone(), None),
        };
        let failed = to.clone();
        let opened = std::thread::Builder::new().name("statemesh-opens".to_owned()).spawn(move || {
            let result = match (&to, &mut addresses) {
                (To::Owner(address), _) => Endpoint::new(address, security, timeout, 0).open(),
                (To::Home, Some(addresses)) => addresses.open(),
                (To::Home, None) => Err(OpenError::NoAddress("the client".to_owned())),
            };
            // Without a thread that wants it the connection ends here.
            let _ = sender.send(Opening { to, addresses, result });
            mailbox.wake();
        });
        if let Err(source) = opened {
            self.pipeline.unopened(&failed, &OpenError::Resolve { name, source }, Instant::now());
        }
    }

    /// How long nothing is to be done unless something comes.
    fn sleeps(&self) -> Option<Duration> {
        if self.wires.values().any(|wire| wire.is_readable) {
            return Some(Duration::ZERO);
        }
        let stalls = self.wires.values().filter_map(|wire| wire.stalled).map(|(since, _)| since + self.options.timeout);
        let next = stalls.chain(self.pipeline.deadline()).min();
        next.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

fn broke(pipeline: &mut Pipeline<Promise>, id: WireId, error: &ConnectionError) {
    pipeline.broke(id, || ClientError::Broken(error.clone()), Instant::now());
}

/// Reads what is there, and hands on each answer.
fn read(id: WireId, wire: &mut Wire, pipeline: &mut Pipeline<Promise>) -> Result<(), ConnectionError> {
    for _ in 0..MAX_READS {
        while let Some(message) = wire.connection.next_read()? {
            let part = |index| message.part_slice(index).unwrap_or_default();
            // The name of the frame stands in front of its answer, as it was sent.
            if let Ok(attempt) = part(0).try_into() {
                let frame = part(message.len().saturating_sub(1)).to_vec();
                pipeline.answered(id, u64::from_be_bytes(attempt), frame, Instant::now());
            }
        }
        wire.is_readable = wire.connection.read_now()?;
        if !wire.is_readable {
            return Ok(());
        }
        pipeline.heard(id, Instant::now());
    }
    Ok(())
}

/// Hands requests to the connection and writes as much as the socket takes.
fn write(
    id: WireId,
    wire: &mut Wire,
    pipeline: &mut Pipeline<Promise>,
    frame: &mut Vec<u8>,
) -> Result<(), ConnectionError> {
    loop {
        let now = Instant::now();
        while wire.connection.unsent_bytes() < WRITE_AHEAD_BYTES {
            frame.clear();
            let Some(attempt) = pipeline.next_frame(id, now, frame) else { break };
            wire.connection.push_parts(&[&attempt.to_be_bytes(), frame]);
        }
        let left = wire.connection.flush_now()?;
        wire.stalled = match wire.stalled {
            _ if left == 0 => None,
            Some((since, before)) if before == left => Some((since, before)),
            _ => Some((now, left)),
        };
        if left > 0 || !pipeline.has_frames(id) {
            return Ok(());
        }
    }
}
