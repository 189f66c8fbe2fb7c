//! Few bytes that ask for many. By itself, since it looks at the memory of its whole process.
#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use statemesh_client::Connection;
use statemesh_node::Node;
use statemesh_node::options::{Limits, Options, Reactor};
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
        Self::connect_as(address, SocketType::Dealer)
    }

    fn connect_as(address: SocketAddr, socket: SocketType) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        let bounds = Bounds::of_messages(1 << 20);
        let mut link = Link::new(Side::Opened, socket, bounds, &curve::Security::None);
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

fn gauge(metrics: &prometheus::Registry, name: &str) -> f64 {
    let families = metrics.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    family.get_metric().iter().map(|metric| metric.get_gauge().get_value()).sum()
}

/// Bytes of requests.
const ASKED_BYTES: usize = 67_000;

/// An array of as many such requests as fit into so many bytes.
fn array(request: &Value, bytes: usize) -> Vec<u8> {
    serde_json::to_vec(&vec![request; bytes / (request.to_string().len() + 1)]).unwrap()
}

/// A daemon that is asked for much.
struct Victim {
    client: Connection,
    address: SocketAddr,
    changes: SocketAddr,
    metrics: prometheus::Registry,
    // It runs until the test has ended.
    _node: (Node, tokio::runtime::Runtime),
}

impl Victim {
    fn start(reactors: usize, limits: Limits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let metrics = prometheus::Registry::new();
        let reactor = Reactor { threads: reactors, spin: Duration::ZERO };
        let options = Options { partitions: 1_024, reactor, limits, ..Options::for_tests("one") };
        let node = Node::start(options, metrics.clone(), runtime.handle().clone()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !node.handle().readiness().ready {
            assert!(Instant::now() < deadline, "it is not ready in time");
            std::thread::sleep(Duration::from_millis(2));
        }
        let (address, changes) = (node.handle().addresses().clients, node.handle().addresses().changes);
        let client = Connection::connect(address, SocketType::Dealer, PATIENCE).unwrap();
        Self { client, address, changes, metrics, _node: (node, runtime) }
    }

    fn ok(&mut self, request: &Value) -> Value {
        let reply = self.client.call(&serde_json::to_vec(request).unwrap(), PATIENCE).unwrap();
        let reply: Value = serde_json::from_slice(reply.part_slice(0).unwrap()).unwrap();
        assert_eq!(reply["ok"], true, "{reply:.300}");
        reply
    }

    /// An instance whose replies have a megabyte, of each kind.
    fn grows(&mut self) {
        let grow = json!({"type": "@xstate.assign", "context": {"text": {"@expr": "event.text"}}});
        self.ok(&json!({"op": "define", "definition": {
            "id": "large", "initial": "on", "context": {"text": ""}, "states": {"on": {"on": {"GROW": {"actions": grow}}}}
        }}));
        let text = "x".repeat(1_000_000);
        self.ok(&json!({"op": "send", "machine": "large", "key": "k", "event": {"type": "GROW", "text": text}}));
        // Each entry of a history says where it was and where it went: a machine that is in many states at a time has much to say.
        let region = |n: usize| {
            let name = |which: &str| format!("{which}{n:03}{}", "s".repeat(100));
            let (a, b) = (name("a"), name("b"));
            (name("r"), json!({"initial": a, "states": {a.clone(): {"on": {"GO": b}}, b.clone(): {"on": {"GO": a}}}}))
        };
        let regions: serde_json::Map<String, Value> = (0..150).map(region).collect();
        self.ok(&json!({"op": "define", "definition": {"id": "wide", "type": "parallel", "states": regions}}));
        for _ in 0..20 {
            self.ok(&json!({"op": "send", "machine": "wide", "key": "k", "event": {"type": "GO"}}));
        }
        for n in 0..1_000 {
            let key = format!("{n:04}{}", "k".repeat(1_000));
            self.ok(&json!({"op": "start", "machine": "large", "key": key}));
        }
    }

    /// An instance with children whose contexts have eleven megabytes together, which one reply shows.
    fn has_large_children(&mut self) {
        let grow = json!({"type": "@xstate.assign", "context": {"text": {"@expr": "event.text"}}});
        self.ok(&json!({"op": "define", "definition": {
            "id": "child", "initial": "on", "context": {"text": ""}, "states": {"on": {"on": {"GROW": {"actions": grow}}}}
        }}));
        let children: Vec<Value> = (0..12).map(|n| json!({"src": "child", "id": format!("c{n}")})).collect();
        let pass_on = |n: usize| {
            let event = json!({"type": "GROW", "text": {"@expr": "event.text"}});
            (format!("GROW{n}"), json!({"actions": {"type": "@xstate.sendTo", "to": format!("c{n}"), "event": event}}))
        };
        let on: serde_json::Map<String, Value> = (0..12).map(pass_on).collect();
        self.ok(&json!({"op": "define", "definition": {
            "id": "parent", "initial": "on", "states": {"on": {"invoke": children, "on": on}}
        }}));
        let text = "x".repeat(950_000);
        for n in 0..12 {
            let event = json!({"type": format!("GROW{n}"), "text": text});
            self.ok(&json!({"op": "send", "machine": "parent", "key": "k", "event": event}));
        }
        let reply = self.ok(&json!({"op": "get", "machine": "parent", "key": "k"}));
        assert_eq!((reply["children"].as_array().unwrap().len(), &reply["children_left_out"]), (12, &Value::Null));
    }

    /// An instance each of whose events has effects of fifteen megabytes together.
    fn has_large_effects(&mut self) {
        let grow = json!({"type": "@xstate.assign", "context": {"text": {"@expr": "event.text"}}});
        let shout: Vec<Value> = vec![json!({"type": "shout", "params": {"text": {"@expr": "context.text"}}}); 16];
        self.ok(&json!({"op": "define", "definition": {
            "id": "loud", "initial": "on", "context": {"text": ""},
            "states": {"on": {"on": {"GROW": {"actions": grow}, "SHOUT": {"actions": shout}}}}
        }}));
        let event = json!({"type": "GROW", "text": "x".repeat(950_000)});
        self.ok(&json!({"op": "send", "machine": "loud", "key": "k", "event": event}));
    }

    /// What so many bytes of such requests, in so many arrays at once, take at most, in bytes of memory and in bytes that came back.
    fn takes(&self, request: &Value, arrays: usize) -> (u64, u64) {
        self.takes_of(request, arrays, ASKED_BYTES)
    }

    fn takes_of(&self, request: &Value, arrays: usize, asked: usize) -> (u64, u64) {
        let bytes = array(request, asked / arrays);
        let before = reset_peak();
        let mut sink = Sink::connect(self.address);
        (0..arrays).for_each(|_| sink.send(&bytes));
        let read = sink.drain();
        (peak().saturating_sub(before), read)
    }
}

/// Both look at the memory of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn few_bytes_that_ask_for_many_get_a_bounded_number() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut victim = Victim::start(1, Limits::default());
    victim.grows();
    victim.has_large_children();
    let key = "0500".to_owned() + &"k".repeat(1_000);
    // What each brings, in megabytes: as much as it may, or all that there is.
    let whole = 60..74;
    for (request, arrays, megabytes) in [
        (json!({"op": "get", "machine": "large", "key": "k"}), 1, whole.clone()),
        (json!({"op": "get", "machine": "parent", "key": "k"}), 1, 50..74),
        (json!({"op": "history", "machine": "wide", "key": "k"}), 1, whole.clone()),
        (
            json!({"op": "explain", "machine": "large", "key": "k", "event": {"type": "GROW", "text": ""}}),
            1,
            whole.clone(),
        ),
        (json!({"op": "list", "limit": 1_000}), 1, whole.clone()),
        (json!({"op": "instances", "machine": "large", "limit": 1_000}), 1, whole.clone()),
        (json!({"op": "list", "counts": true}), 1, whole.clone()),
        (json!({"op": "get", "machine": "large", "key": key}), 1, 0..10),
        (json!({"op": "machines"}), 1, 0..10),
        (json!({"op": "placement"}), 1, 5..74),
        (json!({"op": "placement"}), 20, 5..74),
    ] {
        let begun = Instant::now();
        let (took, read) = victim.takes(&request, arrays);
        println!(
            "{:.60}: {} MB of memory, {} MB read, {:?}",
            request.to_string(),
            took / 1_000_000,
            read >> 20,
            begun.elapsed()
        );
        assert!(megabytes.contains(&(read >> 20)), "{request:.60}: {read} bytes came");
        // The allocator keeps some of what a growing array of replies of eleven megabytes was moved out of.
        let kept = if request["machine"] == "parent" { 30_000_000 } else { 0 };
        assert!(took < RESIDENT_BYTES + kept, "{request:.60}: it took {took} bytes");
    }
    assert!(counted(&victim.metrics, "statemesh_refused_array_bytes_total") > 1_400.0);
}

#[test]
fn few_bytes_whose_effects_are_many_for_subscribers_take_a_bounded_number_with_one_reactor_and_with_two() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    [1, 2].into_iter().for_each(many_effects);
}

/// Of four subscribers two read.
fn many_effects(reactors: usize) {
    let limits = Limits { subscriber_total_bytes: 32 << 20, ..Limits::default() };
    let mut victim = Victim::start(reactors, limits);
    victim.has_large_effects();
    let subscriber = |reads: bool| {
        let mut subscriber = Sink::connect_as(victim.changes, SocketType::Sub);
        subscriber.send(b"\x01loud/");
        if reads {
            let mut stream = subscriber.0.try_clone().unwrap();
            // It ends with the daemon.
            std::thread::spawn(move || while let Ok(1..) = stream.read(&mut [0; 1 << 16]) {});
        }
        subscriber
    };
    let _all = [true, false, true, false].map(subscriber);
    let deadline = Instant::now() + PATIENCE;
    while gauge(&victim.metrics, "statemesh_subscriptions") < 4.0 {
        assert!(Instant::now() < deadline, "they have not subscribed in time");
        std::thread::sleep(Duration::from_millis(2));
    }
    let shout = json!({"op": "send", "machine": "loud", "key": "k", "event": {"type": "SHOUT"}});
    // Six hundred megabytes. Without optimisation one of fifteen takes a fifteenth of a second.
    let (took, read) = victim.takes_of(&shout, 1, 3_000);
    println!("{} MB of memory, {read} bytes read", took / 1_000_000);
    assert!(read > 1_000, "{read} bytes came");
    // What waits for subscribers has bounds of its own, `subscriber_bytes` of each and these, beyond which each may have one change.
    let waits = (reactors * limits.subscriber_total_bytes + 4 * limits.output_bytes) as u64;
    assert!(took < RESIDENT_BYTES + waits, "it took {took} bytes");
}
