//! A reactor of a daemon as it ships over a kernel that gives what was prepared and swallows what is written, in which time stands still.

use statemesh_node::limits::Limits;
use statemesh_node::options::Options;
use statemesh_node::parts::{
    Birth, Clock, Control, Output, Parts, ToControl, Wake, Worker, compile_definitions, reactor,
};
use statemesh_transport::Reactor;
use statemesh_transport::kernel::{self, Ending, Kernel, Ready};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const CYCLE: &str = include_str!("../../../../benches/machines/cycle.json");

/// What the kernel gives, and what it was given.
#[derive(Debug, Default)]
struct Pipe {
    input: Vec<u8>,
    read: usize,
    accepted: bool,
    written: usize,
}

impl Pipe {
    /// Has these bytes read.
    fn give(&mut self, input: Vec<u8>) {
        (self.input, self.read) = (input, 0);
    }

    fn is_left(&self) -> bool {
        self.read < self.input.len()
    }
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

    fn end_writing(&mut self, _: usize) {}

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

/// A DEALER's greeting and READY (ZMTP 3.1, NULL).
pub(crate) fn handshake() -> Vec<u8> {
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

/// A daemon of one reactor, and its client.
pub(crate) struct Daemon {
    control: Control,
    reactor: Reactor<Worker>,
    pipe: Arc<Mutex<Pipe>>,
    start: Instant,
    // What its reactor tells the control plane is not lost, and not read.
    _from_reactors: tokio::sync::mpsc::Receiver<ToControl>,
}

impl Daemon {
    /// One that has the machine `cycle` and looks for others.
    pub(crate) fn new(options: Options) -> Self {
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
        let Parts { shared, control, from_reactors } = Parts::new(options, birth, start).unwrap();
        let pipe = Arc::new(Mutex::new(Pipe::default()));
        let kernel = Prepared { start, pipe: Arc::clone(&pipe) };
        let reactor = reactor(&shared, 0, Box::new(kernel), Arc::new(Nobody), Clock::new(Instant::now));
        Self { control, reactor, pipe, start, _from_reactors: from_reactors }
    }

    /// The control plane does what it has to do after so much time, which its reactor finds in its next turn.
    pub(crate) fn control(&mut self, after: Duration) {
        self.control.handle(Wake::Tick, self.start + after);
        while let Some(output) = self.control.poll() {
            assert!(!matches!(output, Output::Failed(_)));
        }
    }

    pub(crate) fn turn(&mut self) {
        self.reactor.turn().unwrap();
    }

    /// Has these bytes of its client read.
    pub(crate) fn give(&mut self, input: Vec<u8>) {
        self.pipe.lock().unwrap().give(input);
        let is_left = || self.pipe.lock().unwrap().is_left();
        while is_left() {
            self.reactor.turn().unwrap();
        }
        self.reactor.turn().unwrap();
    }

    /// Bytes that its client was sent.
    pub(crate) fn written(&self) -> usize {
        self.pipe.lock().unwrap().written
    }
}
