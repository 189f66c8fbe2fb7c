//! A daemon without file descriptors. By itself, since the limit is that of its whole process.
#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use prometheus::Registry;
use statemesh_gateway::{Backend, Server, Settings};
use statemesh_node::{CallError, Readiness};
use statemesh_protocol::call::{Reply, Request};

/// Connections that say nothing, all there before the probe.
const SILENT: usize = 600;
/// Descriptors that the server finds.
const FREE: i32 = 8;

struct Node;

impl Backend for Node {
    fn readiness(&self) -> Readiness {
        Readiness { ready: true, live: true, reason: String::new() }
    }

    async fn call(&self, _: Request) -> Result<Reply, CallError> {
        Err(CallError::Ending)
    }
}

fn settings() -> Settings {
    Settings {
        connections: 256,
        probe_connections: 16,
        header_bytes: 8_192,
        output_bytes: 1 << 20,
        unsent_bytes: 4 << 20,
        timeout: Duration::from_secs(30),
        wait: Duration::from_secs(30),
        tokens: Vec::new(),
    }
}

/// Lets this process have descriptors of numbers below this one.
fn limit(descriptors: i32) {
    let of = std::process::id().to_string();
    let told = Command::new("prlimit").args(["--pid", &of, &format!("--nofile={descriptors}:")]).status();
    assert!(told.unwrap().success());
}

#[test]
fn out_of_descriptors_a_probe_is_answered_behind_hundreds_of_connections_that_say_nothing() {
    limit(4_096);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(async { statemesh_gateway::listen(([127, 0, 0, 1], 0).into()) }).unwrap();
    let address = listener.local_addr().unwrap();
    let _silent: Vec<TcpStream> = (0..SILENT).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut probe = TcpStream::connect(address).unwrap();
    probe.write_all(b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let highest = File::open("/dev/null").unwrap().as_raw_fd();
    limit(highest + FREE);
    let begun = Instant::now();
    runtime.spawn(Server::new(Node, Registry::new(), settings()).unwrap().run(listener));
    let mut answer = String::new();
    probe.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // As long as kubelet waits. It was one connection a millisecond, and two where timers are late.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
}
