//! Two reactors with a link between them, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use statemesh_transport::curve::Security;
use statemesh_transport::kernel::Wake;
use statemesh_transport::limits::Bounds;
use statemesh_transport::link::{Link, Side};
use statemesh_transport::reactor::Settings;
use statemesh_transport::{ConnId, Event, Handler, Io, Kind, Listener, MioKernel, Origin, Reactor, SocketType, listen};

const PATIENCE: Duration = Duration::from_secs(20);

/// Asks its fellow as soon as there is a link, and answers what it is asked with as much.
struct Fellow {
    other: Option<SocketAddr>,
    asks: usize,
    answers: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

static QUESTION: [u8; 100_000] = [7; 100_000];

impl Handler for Fellow {
    fn handle(&mut self, event: Event<'_>, io: &mut Io) {
        match event {
            Event::Turn => {
                if let Some(other) = self.other.take() {
                    io.connect(other, 0, &Security::None).unwrap();
                }
            }
            Event::Opened(conn, Origin::Opened(_)) => (0..self.asks).for_each(|_| _ = io.send(conn, &[&QUESTION])),
            Event::Opened(conn, Origin::Accepted(_)) => io.confirm(conn),
            Event::Message(conn, Origin::Accepted(_), question) => {
                io.send(conn, &[question.part_slice(0).unwrap()]);
            }
            Event::Message(..) => _ = self.answers.fetch_add(1, Ordering::Relaxed),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn finished(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

struct Running {
    waker: Arc<dyn Wake>,
    thread: std::thread::JoinHandle<()>,
}

fn start(socket: mio::net::TcpListener, settings: Settings, handler: impl Handler + Send + 'static) -> Running {
    let mut kernel = MioKernel::new().unwrap();
    kernel.listen(socket).unwrap();
    let waker = kernel.waker();
    let mut reactor = Reactor::new(settings, Box::new(kernel), Arc::clone(&waker), handler);
    let (socket_type, security) = (SocketType::Router, Security::None);
    reactor.listen(Listener {
        number: 0,
        kind: Kind::Link,
        socket_type,
        message_bytes: settings.message_bytes,
        security,
    });
    let thread = std::thread::spawn(move || reactor.run().unwrap());
    waker.wake().unwrap();
    Running { waker, thread }
}

fn end(stop: &AtomicBool, running: [Running; 2]) {
    stop.store(true, Ordering::Relaxed);
    for Running { waker, thread } in running {
        waker.wake().unwrap();
        thread.join().unwrap();
    }
}

/// Sends without asking for room, more than there is.
struct Careless {
    other: SocketAddr,
    link: Option<ConnId>,
    ends: mpsc::Sender<String>,
    stop: Arc<AtomicBool>,
}

impl Handler for Careless {
    fn handle(&mut self, event: Event<'_>, io: &mut Io) {
        match event {
            Event::Turn if self.link.is_none() => self.link = io.connect(self.other, 0, &Security::None).ok(),
            Event::Opened(conn, _) => (0..400).for_each(|_| _ = io.send(conn, &[&QUESTION])),
            Event::Closed(_, _, reason) => _ = self.ends.send(format!("{reason:?}")),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn finished(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

#[test]
fn a_link_that_is_given_twice_what_it_has_room_for_ends_and_its_sender_hears_why() {
    let stop = Arc::new(AtomicBool::new(false));
    let (ends, ended) = mpsc::channel();
    let sockets = [(); 2].map(|()| listen::tcp((Ipv4Addr::LOCALHOST, 0).into()).unwrap());
    let other = sockets[1].local_addr().unwrap();
    let [first, second] = sockets;
    let fellow = Fellow { other: None, asks: 0, answers: Arc::default(), stop: Arc::clone(&stop) };
    let careless = Careless { other, link: None, ends, stop: Arc::clone(&stop) };
    let settings = Settings { link_bytes: 1 << 20, ..Settings::default() };
    let running = [start(first, settings, careless), start(second, Settings::default(), fellow)];
    let reason = ended.recv_timeout(PATIENCE);
    end(&stop, running);
    assert_eq!(reason.as_deref(), Ok("Overflowed"));
}

/// Confirms no link.
struct Reserved(Arc<AtomicBool>);

impl Handler for Reserved {
    fn handle(&mut self, _: Event<'_>, _: &mut Io) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn finished(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A PING with as much context as it may have, which comes back in its PONG (ZMTP 3.1, section 3.8).
const PING: &[u8; 25] = b"\x04\x17\x04PING\0\0sixteen bytes it";

#[test]
fn who_connects_as_a_daemon_and_sends_pings_is_not_read_without_end() {
    let stop = Arc::new(AtomicBool::new(false));
    let sockets = [(); 2].map(|()| listen::tcp((Ipv4Addr::LOCALHOST, 0).into()).unwrap());
    let address = sockets[0].local_addr().unwrap();
    let settings = Settings { unsent_bytes: 1 << 20, handshake: PATIENCE, ..Settings::default() };
    let running = sockets.map(|socket| start(socket, settings, Reserved(Arc::clone(&stop))));
    let mut stream = TcpStream::connect(address).unwrap();
    let mut link = Link::new(Side::Opened, SocketType::Dealer, Bounds::of_messages(1_000), &Security::None);
    while !link.is_ready() {
        stream.write_all(link.unsent()).unwrap();
        link.sent(link.unsent().len());
        let mut bytes = [0; 1_024];
        let n = stream.read(&mut bytes).unwrap();
        link.receive(bytes[..n].to_vec().into()).unwrap();
    }
    stream.write_all(link.unsent()).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    // The kernel's buffers for both directions take some MiB of this.
    let pings = PING.repeat(40_000);
    let refused = (0..64).find_map(|_| stream.write_all(&pings).err());
    end(&stop, running);
    let refused = refused.expect("64 MB of PINGs were read, and their PONGs kept");
    assert_eq!(refused.kind(), ErrorKind::WouldBlock, "it is there, and not read");
}

#[test]
fn two_daemons_that_ask_each_other_much_at_once_answer_all_of_it() {
    let asks = 300;
    let stop = Arc::new(AtomicBool::new(false));
    let answers = Arc::new(AtomicUsize::new(0));
    let sockets = [(); 2].map(|()| listen::tcp((Ipv4Addr::LOCALHOST, 0).into()).unwrap());
    let [a, b] = [0, 1].map(|at: usize| sockets[at].local_addr().unwrap());
    let fellow = |other| Fellow { other: Some(other), asks, answers: Arc::clone(&answers), stop: Arc::clone(&stop) };
    let [first, second] = sockets;
    let running = [start(first, Settings::default(), fellow(b)), start(second, Settings::default(), fellow(a))];
    let begun = Instant::now();
    while answers.load(Ordering::Relaxed) < 2 * asks && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    end(&stop, running);
    assert_eq!(answers.load(Ordering::Relaxed), 2 * asks, "answers after {:?}", begun.elapsed());
}
