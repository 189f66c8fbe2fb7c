//! The reactor with the direct client over a real socket.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use statemesh_client::Connection as Client;
use statemesh_transport::curve::Security;
use statemesh_transport::reactor::Settings;
use statemesh_transport::{ConnId, Event, Handler, Io, Kind, Listener, MioKernel, Reactor, SocketType, Ticket};

struct Echo {
    stop: Arc<AtomicBool>,
    closed: usize,
}

impl Handler for Echo {
    fn handle(&mut self, event: Event<'_>, io: &mut Io) {
        match event {
            Event::Message(conn, _, message) => {
                let parts: Vec<&[u8]> = (0..message.len()).filter_map(|i| message.part_slice(i)).collect();
                io.send(conn, &parts);
            }
            Event::Closed(..) => self.closed += 1,
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

fn with_echo(settings: Settings, test: impl FnOnce(SocketAddr)) {
    with(settings, |stop| Echo { stop, closed: 0 }, test);
}

fn with<H: Handler + Send + 'static>(
    settings: Settings,
    handler: impl FnOnce(Arc<AtomicBool>) -> H,
    test: impl FnOnce(SocketAddr),
) {
    let stop = Arc::new(AtomicBool::new(false));
    let handler = handler(Arc::clone(&stop));
    let mut kernel = MioKernel::new().unwrap();
    let socket = statemesh_transport::listen::tcp((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    kernel.listen(socket).unwrap();
    let waker = kernel.waker();
    let mut reactor = Reactor::new(settings, Box::new(kernel), waker, handler);
    let (socket_type, security) = (SocketType::Router, Security::None);
    reactor.listen(Listener {
        number: 0,
        kind: Kind::Guest,
        socket_type,
        message_bytes: settings.message_bytes,
        security,
    });
    let waker = reactor.waker();
    let thread = std::thread::spawn(move || reactor.run().unwrap());
    test(address);
    stop.store(true, Ordering::Relaxed);
    waker.wake().unwrap();
    thread.join().unwrap();
}

fn settings() -> Settings {
    Settings { unsent_bytes: 1 << 20, ..Settings::default() }
}

const PATIENCE: Duration = Duration::from_secs(10);

fn connect(address: SocketAddr) -> Client {
    Client::connect(address, SocketType::Dealer, PATIENCE).unwrap()
}

#[test]
fn what_is_sent_comes_back_in_order() {
    with_echo(settings(), |address| {
        let mut client = connect(address);
        for n in 0..1_000u32 {
            client.push(&n.to_le_bytes());
        }
        client.flush().unwrap();
        for n in 0..1_000u32 {
            assert_eq!(client.receive(PATIENCE).unwrap().part_slice(0), Some(&n.to_le_bytes()[..]));
        }
    });
}

#[test]
fn large_messages_pass_in_both_directions_at_once() {
    with_echo(settings(), |address| {
        let mut client = connect(address);
        let body = vec![5u8; 900_000];
        assert_eq!(client.call(&body, PATIENCE).unwrap().part_slice(0), Some(&body[..]));
    });
}

#[test]
fn a_connection_over_the_limit_is_closed_and_the_others_go_on() {
    with_echo(Settings { connections: 1, ..settings() }, |address| {
        let mut first = connect(address);
        assert!(Client::connect(address, SocketType::Dealer, PATIENCE).is_err());
        assert!(first.call(b"still here", PATIENCE).is_ok());
    });
}

#[test]
fn a_frame_that_never_ends_closes_only_its_own_connection() {
    with_echo(Settings { message_bytes: 1_000, ..settings() }, |address| {
        let mut good = connect(address);
        let mut bad = connect(address);
        assert_eq!(bad.call(&[0; 10_000], PATIENCE).unwrap().part_slice(0), Some(statemesh_transport::OVERSIZE));
        assert!(bad.call(&vec![0; 70 << 20], PATIENCE).is_err());
        assert!(good.call(b"x", PATIENCE).is_ok());
    });
}
#[test]
fn a_connection_that_does_not_finish_its_handshake_is_closed() {
    with_echo(Settings { handshake: Duration::from_millis(50), ..settings() }, |address| {
        use std::io::Read;
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Returns once the other side has closed the connection, which it does in the cheapest way.
        let ended = stream.read_to_end(&mut Vec::new());
        assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    });
}

/// The bytes and the end of a connection can come with one edge; nothing follows that would announce the end again.
#[test]
fn a_connection_that_ends_behind_its_last_bytes_is_noticed() {
    with_echo(Settings { connections: 1, ..settings() }, |address| {
        for _ in 0..50 {
            let mut client = connect_when_there_is_room(address);
            client.push(&[7; 3_000]);
            client.flush().unwrap();
        }
    });
}

/// Where one connection is allowed, the next is accepted only once the end of the last one was noticed.
fn connect_when_there_is_room(address: SocketAddr) -> Client {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Client::connect(address, SocketType::Dealer, PATIENCE) {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

/// A connection that speaks ZMTP up to here, in bytes; it shares no code with the reactor.
fn raw(address: SocketAddr, bytes: &[u8]) -> std::net::TcpStream {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// Greeting and READY of a DEALER that speaks ZMTP 3.`minor`.
fn hello(minor: u8) -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, minor];
    bytes.extend_from_slice(b"NULL");
    bytes.resize(64, 0);
    bytes.extend_from_slice(b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER");
    bytes
}

/// Whether the other side closes the connection while nothing more is said.
fn is_closed(mut stream: std::net::TcpStream, within: Duration) -> bool {
    use std::io::Read;
    stream.set_read_timeout(Some(within)).unwrap();
    stream.read_to_end(&mut Vec::new()).map_err(|error| error.kind()) != Err(std::io::ErrorKind::WouldBlock)
}

fn hasty() -> Settings {
    Settings { heartbeat: Duration::from_millis(50), idle: Duration::from_millis(600), ..settings() }
}

#[test]
fn who_is_asked_for_a_sign_of_life_and_gives_none_is_closed() {
    use std::io::Read;
    with_echo(hasty(), |address| {
        for minor in [0, 1] {
            let mut all = Vec::new();
            raw(address, &hello(minor)).read_to_end(&mut all).unwrap();
            let asked = all.windows(5).filter(|bytes| bytes == b"\x04PING").count();
            assert_eq!(asked > 3, minor == 1, "ZMTP 3.{minor} was asked {asked} times");
        }
    });
}

#[test]
fn who_answers_pings_stays() {
    with_echo(hasty(), |address| {
        let mut client = connect(address);
        // Waiting for a message answers what comes meanwhile; nothing was sent, so no message comes.
        assert!(client.receive(Duration::from_millis(1_000)).is_err());
        assert!(client.call(b"still here", PATIENCE).is_ok());
    });
}

#[test]
fn a_message_that_is_never_whole_ends_its_connection() {
    with_echo(Settings { idle: PATIENCE * 2, ..hasty() }, |address| {
        let half = [&hello(0)[..], &[0, 200, 1, 2, 3]].concat();
        assert!(is_closed(raw(address, &half), PATIENCE / 2));
    });
}

#[test]
fn when_half_messages_take_too_much_the_largest_goes() {
    with_echo(Settings { unread_bytes: 100_000, ..settings() }, |address| {
        let part = |bytes: usize| [&hello(0)[..], &[2, 0, 0, 0, 0, 0, 1, 0, 0], &vec![0; bytes]].concat();
        let small = raw(address, &part(30_000));
        let large = raw(address, &part(60_000));
        assert!(!is_closed(small.try_clone().unwrap(), Duration::from_millis(100)));
        let _third = raw(address, &part(30_000));
        assert!(is_closed(large, PATIENCE));
        assert!(!is_closed(small, Duration::from_millis(100)));
        assert!(connect(address).call(b"others go on", PATIENCE).is_ok());
    });
}

#[test]
fn one_address_cannot_take_all_connections() {
    with_echo(Settings { connections_per_address: 2, ..settings() }, |address| {
        let (_a, _b) = (connect(address), connect(address));
        assert!(Client::connect(address, SocketType::Dealer, PATIENCE).is_err());
        // Linux answers at all of 127.0.0.0/8, and a socket may come from any of it.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        assert!(!is_closed(socket.into(), Duration::from_millis(100)));
    });
}

#[test]
fn an_old_handshake_makes_room_for_a_new_connection() {
    with_echo(Settings { connections: 2, handshake: PATIENCE * 2, ..settings() }, |address| {
        let (first, _second) = (raw(address, b""), raw(address, b""));
        // Too early no connection is evicted: one that connects just now would be, too.
        let deadline = Instant::now() + PATIENCE;
        while Client::connect(address, SocketType::Dealer, PATIENCE).is_err() {
            assert!(Instant::now() < deadline);
        }
        assert!(is_closed(first, PATIENCE));
    });
}

/// A read of tiny messages holds thousands of them; between two shares of it the others are served.
#[test]
fn a_bomb_of_tiny_messages_is_answered_whole_and_others_are_served_meanwhile() {
    with_echo(settings(), |address| {
        let mut bomber = connect(address);
        for _ in 0..20_000 {
            bomber.push(b"");
        }
        bomber.flush().unwrap();
        assert!(connect(address).call(b"x", PATIENCE).is_ok());
        for _ in 0..20_000 {
            assert_eq!(bomber.receive(PATIENCE).unwrap().part_slice(0), Some(&b""[..]));
        }
    });
}

#[test]
fn who_does_not_read_is_not_read_and_others_go_on() {
    use std::io::{Read, Write};
    with_echo(settings(), |address| {
        let mut deaf = raw(address, &hello(1));
        deaf.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        // A message of 1,000 bytes, over and over.
        let message = [&[2, 0, 0, 0, 0, 0, 0, 3, 232][..], &[7; 1_000]].concat();
        let many = message.repeat(1_000);
        let mut sent = 0;
        while deaf.write(&many[sent % many.len()..]).is_ok_and(|n| {
            sent += n;
            n > 0
        }) {
            // What is unsent here and what both sockets hold is far less than this.
            assert!(sent < 100 << 20, "it is read though it does not read");
        }
        assert!(connect(address).call(b"x", PATIENCE).is_ok());
        // Once it reads, it is read again: everything that was sent comes back.
        let mut back = 0;
        let mut buffer = vec![0; 1 << 20];
        while back < sent / message.len() * message.len() {
            back += deaf.read(&mut buffer).unwrap();
        }
    });
}

/// Keeps what it is sent until a client says `free` and how much; tells each client how much it was ever sent.
struct Hoarder {
    stop: Arc<AtomicBool>,
    kept: VecDeque<(ConnId, Vec<u8>, Ticket)>,
    taken: u8,
}

impl Handler for Hoarder {
    fn handle(&mut self, event: Event<'_>, io: &mut Io) {
        let Event::Message(conn, _, message) = event else { return };
        let body = message.part_slice(0).unwrap();
        match body {
            [b'f', b'r', b'e', b'e', many] => {
                for (conn, body, _ticket) in self.kept.drain(..usize::from(*many)) {
                    io.send(conn, &[&body]);
                }
                io.send(conn, &[&[self.taken]]);
            }
            _ => {
                self.taken += 1;
                self.kept.push_back((conn, body.to_vec(), io.ticket(conn).unwrap()));
            }
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
fn a_connection_with_too_much_under_way_is_not_read_until_half_of_it_is_answered() {
    let hoarder = |stop| Hoarder { stop, kept: VecDeque::new(), taken: 0 };
    with(Settings { in_flight: 4, ..settings() }, hoarder, |address| {
        let (mut eager, mut other) = (connect(address), connect(address));
        (0..10u8).for_each(|n| eager.push(&[n]));
        eager.flush().unwrap();
        let mut freed =
            |many: u8| other.call(&[b'f', b'r', b'e', b'e', many], PATIENCE).unwrap().part_slice(0).unwrap()[0];
        // All ten come in one read, so a client that sees some of them taken sees all that will be.
        let mut settled = |many: u8, before: u8| {
            freed(many);
            let begun = Instant::now();
            loop {
                let taken = freed(0);
                if taken > before {
                    return taken;
                }
                assert!(begun.elapsed() < PATIENCE, "nothing more is taken after {before}");
            }
        };
        assert_eq!(settled(0, 0), 4);
        assert_eq!(settled(2, 4), 6, "two of four answered: two more are taken");
        assert_eq!(settled(4, 6), 10);
        settled(4, 0);
        for n in 0..10u8 {
            assert_eq!(eager.receive(PATIENCE).unwrap().part_slice(0), Some(&[n][..]));
        }
    });
}

/// Answers every message with a million bytes, and notes how much it owed a client at most.
struct Inflater {
    stop: Arc<AtomicBool>,
    owed: Arc<AtomicUsize>,
}

impl Handler for Inflater {
    fn handle(&mut self, event: Event<'_>, io: &mut Io) {
        let Event::Message(conn, ..) = event else { return };
        io.send(conn, &[&[0; 1_000_000]]);
        self.owed.fetch_max(io.unsent(conn), Ordering::Relaxed);
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn finished(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

#[test]
fn many_small_requests_of_one_read_that_ask_for_much_are_answered_as_the_answers_are_taken() {
    let owed = Arc::new(AtomicUsize::new(0));
    let inflater = |stop| Inflater { stop, owed: Arc::clone(&owed) };
    with(settings(), inflater, |address| {
        let mut client = connect(address);
        for _ in 0..200 {
            client.push(b"?");
        }
        client.flush().unwrap();
        for _ in 0..200 {
            assert_eq!(client.receive(PATIENCE).unwrap().part_slice(0).map(<[u8]>::len), Some(1_000_000));
        }
    });
    let owed = owed.load(Ordering::Relaxed);
    assert!(owed < settings().unsent_bytes + 2 * 1_000_100, "{owed} bytes at a time");
}
