//! Few bytes that ask for many. By itself, since it looks at the memory of its whole process.
#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use statemesh_client::Connection;
use statemesh_node::Node;
use statemesh_node::options::Options;
use statemesh_transport::SocketType;
use statemesh_transport::curve;
use statemesh_transport::limits::Bounds;
use statemesh_transport::link::{Link, Side};

const PATIENCE: Duration = Duration::from_secs(10);

/// What a process may take for 67 KB that ask for as much as they can.
const RESIDENT_BYTES: u64 = 80_000_000;

/// Bytes of memory that this process has had at most since [`reset_peak`].
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn reset_peak() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    peak()
}

/// A client that keeps nothing of what it reads.
struct Sink(TcpStream);

impl Sink {
    fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        let bounds = Bounds::of_messages(1 << 20);
        let mut link = Link::new(Side::Opened, SocketType::Dealer, bounds, &curve::Security::None);
        let mut buffer = [0; 4_096];
        while !link.is_ready() {
            stream.write_all(link.unsent()).unwrap();
            link.sent(link.unsent().len());
            let n = stream.read(&mut buffer).unwrap();
            link.receive(bytes::Bytes::copy_from_slice(&buffer[..n])).unwrap();
            while let Ok(Some(_)) = link.poll() {}
        }
        stream.write_all(link.unsent()).unwrap();
        Self(stream)
    }

    fn send(&mut self, message: &[u8]) {
        let mut frame = vec![2];
        frame.extend_from_slice(&(message.len() as u64).to_be_bytes());
        frame.extend_from_slice(message);
        self.0.write_all(&frame).unwrap();
    }

    /// Reads until nothing comes any more. Gives how much did.
    fn drain(&mut self) -> u64 {
        // Without optimisation a megabyte of JSON takes a tenth of a second.
        self.0.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut buffer = vec![0; 1 << 16];
        let mut read = 0;
        while let Ok(n @ 1..) = self.0.read(&mut buffer) {
            read += n as u64;
            self.0.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        }
        read
    }
}

fn counted(metrics: &prometheus::Registry, name: &str) -> f64 {
    let families = metrics.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum()
}

fn array(request: &Value, times: usize) -> Vec<u8> {
    serde_json::to_vec(&vec![request; times]).unwrap()
}

#[test]
fn few_bytes_that_ask_for_many_get_a_bounded_number() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let metrics = prometheus::Registry::new();
    let options = Options { partitions: 1_024, ..Options::for_tests("one") };
    let node = Node::start(options, metrics.clone(), runtime.handle().clone()).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !node.handle().readiness().ready {
        assert!(Instant::now() < deadline, "it is not ready in time");
        std::thread::sleep(Duration::from_millis(2));
    }
    let address = node.handle().addresses().clients;
    let mut client = Connection::connect(address, SocketType::Dealer, PATIENCE).unwrap();
    let mut ok = |request: &Value| {
        let reply = client.call(&serde_json::to_vec(request).unwrap(), PATIENCE).unwrap();
        let reply: Value = serde_json::from_slice(reply.part_slice(0).unwrap()).unwrap();
        assert_eq!(reply["ok"], true, "{reply}");
    };
    let grow = json!({"type": "@xstate.assign", "context": {
        "text": {"@expr": "event.text"}
    }});
    ok(&json!({"op": "define", "definition": {
        "id": "large", "initial": "on", "context": {"text": ""}, "states": {"on": {"on": {"GROW": {"actions": grow}}}}
    }}));
    let text = "x".repeat(1_000_000);
    ok(&json!({"op": "send", "machine": "large", "key": "k", "event": {"type": "GROW", "text": text}}));
    let mut sink = Sink::connect(address);
    let before = reset_peak();
    sink.send(&array(&json!({"op": "get", "machine": "large", "key": "k"}), 1_500));
    let read = sink.drain();
    assert!((60 << 20..72 << 20).contains(&read), "{read}");
    let took = peak() - before;
    assert!(took < RESIDENT_BYTES, "an array of gets took {took} bytes");
    assert!(counted(&metrics, "statemesh_refused_array_bytes_total") > 1_400.0);
    // Twenty of them at once, that ask for the whole mesh.
    let before = reset_peak();
    let mut sink = Sink::connect(address);
    (0..20).for_each(|_| sink.send(&array(&json!({"op": "placement"}), 180)));
    sink.drain();
    let took = peak() - before;
    assert!(took < RESIDENT_BYTES, "arrays of placements took {took} bytes");
}
