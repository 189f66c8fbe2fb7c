//! Instructions of a whole request, counted by callgrind: bytes of a client in, through the reactor, the worker and the shard as they
//! ship, bytes of the answer out. The kernel is one that gives what was prepared and swallows what is written, so that nothing
//! but the daemon's own work is counted.
//!
//! `cargo bench -p statemesh-node --bench request` runs itself under valgrind once for each case with few and once with many
//! turns; the difference, divided, is what one request costs. It fails if a case exceeds its bound in `request.txt`;
//! `-- --bless` writes the bounds anew, with 2 % to spare.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use statemesh_node::limits::Limits;
use statemesh_node::options::Options;
use statemesh_node::parts::{Birth, Clock, Output, Parts, Wake, compile_definitions, reactor};
use statemesh_transport::kernel::{self, Ending, Kernel, Ready};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[path = "../../../engine/benches/counted/mod.rs"]
mod counted;
use counted::Counted;

const CYCLE: &str = include_str!("../../../benches/machines/cycle.json");

/// Name, requests in one turn, and what follows the event in each.
const CASES: [(&str, u64, &str); 3] = [("one_a_turn", 1, ""), ("sixty_four_a_turn", 64, ""), ("with_a_token", 64, "d")];

fn main() -> ExitCode {
    let bounds = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/request.txt");
    let counted = Counted { unit: "request", bounds, few: 200, many: 1_200, spare: 2 };
    counted.main(&CASES.map(|(case, requests, _)| (case, requests)), |case, turns| run(case, turns as usize))
}

/// What the kernel gives, and what it was given.
#[derive(Debug, Default)]
struct Pipe {
    input: Vec<u8>,
    read: usize,
    accepted: bool,
    written: usize,
}

#[derive(Debug)]
struct Prepared {
    start: Instant,
    pipe: Arc<Mutex<Pipe>>,
}

impl Kernel for Prepared {
    fn now(&self) -> Instant {
        self.start
    }

    fn poll(&mut self, _: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let pipe = self.pipe.lock().unwrap();
        if !pipe.accepted {
            ready.push(Ready::Listener(0));
        } else if pipe.read < pipe.input.len() {
            ready.push(Ready::Conn { key: 0, readable: true, hung_up: false });
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize, _: usize) -> io::Result<SocketAddr> {
        let mut pipe = self.pipe.lock().unwrap();
        if listener > 0 || std::mem::replace(&mut pipe.accepted, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok((Ipv4Addr::LOCALHOST, 9).into())
    }

    fn connect(&mut self, _: SocketAddr, _: usize) -> io::Result<()> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    fn watch(&mut self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn read(&mut self, _: usize, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.pipe.lock().unwrap();
        let rest = &pipe.input[pipe.read..];
        let n = rest.len().min(buffer.len());
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer[..n].copy_from_slice(&rest[..n]);
        pipe.read += n;
        Ok(n)
    }

    fn write(&mut self, _: usize, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.pipe.lock().unwrap();
        pipe.written += bytes.len();
        Ok(bytes.len())
    }

    fn close(&mut self, _: usize, _: Ending) {}

    fn yield_now(&mut self) {}
}

#[derive(Debug)]
struct Nobody;

impl kernel::Wake for Nobody {
    fn wake(&self) -> io::Result<()> {
        Ok(())
    }
}

fn options() -> Options {
    Options { partitions: 64, ..Options::for_tests("bench") }
}

/// A DEALER's greeting and READY (ZMTP 3.1, NULL).
fn handshake() -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 1];
    bytes.extend_from_slice(b"NULL");
    bytes.resize(64, 0);
    let mut ready = b"\x05READY\x0bSocket-Type".to_vec();
    ready.extend_from_slice(&6u32.to_be_bytes());
    ready.extend_from_slice(b"DEALER");
    bytes.extend_from_slice(&[4, u8::try_from(ready.len()).unwrap()]);
    bytes.extend_from_slice(&ready);
    bytes
}

/// Requests for 32 keys, each in a frame; and where the digits of their tokens are, if they have any.
struct Turn {
    bytes: Vec<u8>,
    digits: Vec<usize>,
}

/// Digits of a turn's number in a token.
const DIGITS: usize = 6;

impl Turn {
    fn new(count: usize, token: bool) -> Self {
        let (mut bytes, mut digits) = (Vec::new(), Vec::new());
        for n in 0..count {
            let token = if token { format!(r#","dedup":"{:0DIGITS$}-{n:02}""#, 0) } else { String::new() };
            let body = format!(
                r#"{{"op":"send","id":{n},"machine":"cycle","key":"k{:02}","event":{{"type":"NEXT"}}{token}}}"#,
                n % 32
            );
            bytes.extend_from_slice(&[0, u8::try_from(body.len()).unwrap()]);
            if !token.is_empty() {
                digits.push(bytes.len() + body.rfind(":\"").unwrap() + 2);
            }
            bytes.extend_from_slice(body.as_bytes());
        }
        Self { bytes, digits }
    }

    /// Those of a turn: a copy of what was prepared once, so that hardly anything but the daemon's work is counted.
    fn of(&self, turn: usize) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let number: Vec<u8> = format!("{turn:0DIGITS$}").into_bytes();
        for at in &self.digits {
            bytes[*at..*at + DIGITS].copy_from_slice(&number);
        }
        bytes
    }
}

fn run(case: &str, turns: usize) {
    let (_, count, token) = CASES.iter().find(|(name, ..)| *name == case).expect("a known case");
    let count = *count as usize;
    let start = Instant::now();
    let mut definition: serde_json::Value = serde_json::from_str(CYCLE).unwrap();
    definition["id"] = "cycle".into();
    let source = serde_json::to_vec(&definition).unwrap();
    let birth = Birth {
        advertise: IpAddr::V4(Ipv4Addr::LOCALHOST),
        incarnation: 1,
        seed: 1,
        session: [1; 16],
        definitions: compile_definitions(vec![("cycle.json".into(), source)], &Limits::default()).unwrap(),
        stored: Vec::new(),
    };
    let Parts { shared, mut control, .. } = Parts::new(options(), birth, start).unwrap();
    let pipe = Arc::new(Mutex::new(Pipe::default()));
    let kernel = Prepared { start, pipe: Arc::clone(&pipe) };
    let mut reactor = reactor(&shared, 0, Box::new(kernel), Arc::new(Nobody), Clock::new(Instant::now));
    for _ in 0..10 {
        control.handle(Wake::Tick, start);
        while let Some(output) = control.poll() {
            assert!(!matches!(output, Output::Failed(_)));
        }
        reactor.turn().unwrap();
    }
    let mut give = |input: Vec<u8>| {
        let mut lock = pipe.lock().unwrap();
        (lock.input, lock.read) = (input, 0);
        drop(lock);
        let is_left = || {
            let pipe = pipe.lock().unwrap();
            pipe.read < pipe.input.len()
        };
        while is_left() {
            reactor.turn().unwrap();
        }
        reactor.turn().unwrap();
    };
    give(handshake());
    // The instances begin, which is not what is measured.
    give(Turn::new(64, false).bytes);
    let before = pipe.lock().unwrap().written;
    let requests = Turn::new(count, !token.is_empty());
    (1..=turns).for_each(|turn| give(requests.of(turn)));
    let written = pipe.lock().unwrap().written - before;
    assert!(written > turns * count * 40, "{written} bytes: not every request was answered");
}
