//! The real operating system, over epoll.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::SockRef;

use crate::kernel::{Ending, Kernel, Ready, Wake};
use crate::turns::MAX_LISTENERS;

const WAKER: Token = Token(0);
/// Tokens below this are the waker and the listeners.
const FIRST_CONN: usize = 1 + MAX_LISTENERS;
/// Events taken at once.
const POLL_EVENTS: usize = 1_024;

/// One epoll instance, its listeners and its connections.
#[derive(Debug)]
pub struct MioKernel {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    listeners: Vec<TcpListener>,
    /// By key.
    streams: Vec<Option<TcpStream>>,
}

impl Wake for Waker {
    fn wake(&self) -> io::Result<()> {
        Self::wake(self)
    }
}

impl MioKernel {
    /// One without listeners.
    ///
    /// # Errors
    /// The operating system gives no epoll instance or no event descriptor.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let events = Events::with_capacity(POLL_EVENTS);
        Ok(Self { poll, events, waker, listeners: Vec::new(), streams: Vec::new() })
    }

    /// Wakes it from another thread.
    #[must_use]
    pub fn waker(&self) -> Arc<dyn Wake> {
        Arc::<Waker>::clone(&self.waker)
    }

    /// Adds a listener; [`crate::Reactor::listen`] is to be called for each, in the same order.
    ///
    /// # Errors
    /// The operating system refused to watch the socket, or there are as many as a reactor can have.
    pub fn listen(&mut self, mut socket: TcpListener) -> io::Result<()> {
        if self.listeners.len() == MAX_LISTENERS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let token = Token(1 + self.listeners.len());
        self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
        self.listeners.push(socket);
        Ok(())
    }

    fn keep(&mut self, key: usize, stream: TcpStream) {
        if self.streams.len() <= key {
            self.streams.resize_with(key + 1, || None);
        }
        if let Some(place) = self.streams.get_mut(key) {
            *place = Some(stream);
        }
    }

    fn stream(&mut self, key: usize) -> io::Result<&mut TcpStream> {
        self.streams.get_mut(key).and_then(Option::as_mut).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn ready(event: &Event) -> Ready {
    match event.token() {
        WAKER => Ready::Woken,
        // Token 0 is the waker's.
        Token(token) if token < FIRST_CONN => Ready::Listener(token - 1),
        Token(token) => Ready::Conn {
            key: token - FIRST_CONN,
            readable: event.is_readable(),
            hung_up: event.is_error() || event.is_read_closed(),
        },
    }
}

impl Kernel for MioKernel {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn poll(&mut self, timeout: Option<Duration>, found: &mut Vec<Ready>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        found.extend(self.events.iter().map(ready));
        Ok(())
    }

    fn accept(&mut self, listener: usize, key: usize) -> io::Result<SocketAddr> {
        let listener = self.listeners.get(listener).ok_or(io::ErrorKind::NotFound)?;
        let (stream, from) = listener.accept()?;
        self.keep(key, stream);
        Ok(from)
    }

    fn connect(&mut self, address: SocketAddr, key: usize) -> io::Result<()> {
        let stream = TcpStream::connect(address)?;
        self.keep(key, stream);
        Ok(())
    }

    fn watch(&mut self, key: usize) -> io::Result<()> {
        let stream = self
            .streams
            .get_mut(key)
            .and_then(Option::as_mut)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        // Answers are small and must leave at once.
        let _ = stream.set_nodelay(true);
        self.poll.registry().register(stream, Token(FIRST_CONN + key), Interest::READABLE | Interest::WRITABLE)
    }

    fn read(&mut self, key: usize, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream(key)?.read(buffer)
    }

    fn write(&mut self, key: usize, bytes: &[u8]) -> io::Result<usize> {
        self.stream(key)?.write(bytes)
    }

    fn end_writing(&mut self, key: usize) {
        // One that is not open has nothing to end.
        let _ = self.stream(key).and_then(|stream| stream.shutdown(Shutdown::Write));
    }

    fn close(&mut self, key: usize, how: Ending) {
        let Some(mut stream) = self.streams.get_mut(key).and_then(Option::take) else { return };
        // A connection that was never watched is not registered.
        let _ = self.poll.registry().deregister(&mut stream);
        if how == Ending::Reset {
            // Without it the end is orderly, and no less an end.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
    }

    fn yield_now(&mut self) {
        std::thread::yield_now();
    }
}
