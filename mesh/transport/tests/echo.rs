//! The reactor with the direct client over a real socket.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use statemesh_transport::client::Client;
use statemesh_transport::reactor::Settings;
use statemesh_transport::{Event, Handler, Io, Reactor, SocketType};

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
    let stop = Arc::new(AtomicBool::new(false));
    let handler = Echo { stop: Arc::clone(&stop), closed: 0 };
    let mut reactor = Reactor::new(settings, Instant::now(), |_| handler).unwrap();
    let socket = statemesh_transport::listen::tcp((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    reactor.listen(socket, SocketType::Router, settings.message_bytes, 0).unwrap();
    let waker = reactor.waker();
    let thread = std::thread::spawn(move || reactor.run().unwrap());
    test(address);
    stop.store(true, Ordering::Relaxed);
    waker.wake().unwrap();
    thread.join().unwrap();
}

const SETTINGS: Settings = Settings {
    spin: Duration::ZERO,
    connections: 100,
    message_bytes: 1 << 20,
    handshake: Duration::from_secs(5),
    unsent_bytes: 1 << 20,
};

const PATIENCE: Duration = Duration::from_secs(10);

fn connect(address: SocketAddr) -> Client {
    Client::connect(address, SocketType::Dealer, PATIENCE).unwrap()
}

#[test]
fn what_is_sent_comes_back_in_order() {
    with_echo(SETTINGS, |address| {
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
    with_echo(SETTINGS, |address| {
        let mut client = connect(address);
        let body = vec![5u8; 900_000];
        assert_eq!(client.call(&body, PATIENCE).unwrap().part_slice(0), Some(&body[..]));
    });
}

#[test]
fn a_connection_over_the_limit_is_closed_and_the_others_go_on() {
    with_echo(Settings { connections: 1, ..SETTINGS }, |address| {
        let mut first = connect(address);
        assert!(Client::connect(address, SocketType::Dealer, PATIENCE).is_err());
        assert!(first.call(b"still here", PATIENCE).is_ok());
    });
}

#[test]
fn a_frame_that_never_ends_closes_only_its_own_connection() {
    with_echo(Settings { message_bytes: 1_000, ..SETTINGS }, |address| {
        let mut good = connect(address);
        let mut bad = connect(address);
        assert_eq!(bad.call(&[0; 10_000], PATIENCE).unwrap().part_slice(0), Some(statemesh_transport::OVERSIZE));
        assert!(bad.call(&vec![0; 70 << 20], PATIENCE).is_err());
        assert!(good.call(b"x", PATIENCE).is_ok());
    });
}
#[test]
fn a_connection_that_does_not_finish_its_handshake_is_closed() {
    with_echo(Settings { handshake: Duration::from_millis(50), ..SETTINGS }, |address| {
        use std::io::Read;
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut all = Vec::new();
        // Returns once the other side has closed the connection.
        stream.read_to_end(&mut all).unwrap();
    });
}

/// The bytes and the end of a connection can come with one edge; nothing follows that would announce the end again.
#[test]
fn a_connection_that_ends_behind_its_last_bytes_is_noticed() {
    with_echo(Settings { connections: 1, ..SETTINGS }, |address| {
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
