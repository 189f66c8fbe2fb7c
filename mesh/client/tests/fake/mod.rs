//! A daemon that answers as a test says: a thread for each connection, over the link of the transport.
#![allow(dead_code)] // Each of the tests is a crate, and uses what it needs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use statemesh_client::Security;
use statemesh_protocol::reply::Encoding;
use statemesh_protocol::request::{Op, Request};
use statemesh_transport::SocketType;
use statemesh_transport::limits::Bounds;
use statemesh_transport::link::{Incoming, Link, Side};

/// What a fake does about a request.
pub(crate) enum Act {
    /// Answers with these fields of a JSON map, after the id.
    Answer(String),
    /// Closes the connection.
    Hang,
    /// Says nothing.
    Ignore,
}

/// What a fake was asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) op: Op,
    pub(crate) dedup: Option<String>,
    pub(crate) forward: bool,
}

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
}

impl Fake {
    /// Answers the `n`th request (from 0) by `act`.
    pub(crate) fn start(act: impl FnMut(usize, &Asked) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (told, act) = (Arc::clone(&asked), Arc::new(Mutex::new(act)));
        let connections = Arc::new(AtomicUsize::new(0));
        let open = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (told, act, open) = (Arc::clone(&told), Arc::clone(&act), Arc::clone(&open));
                open.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    serve(stream, |asked| {
                        let mut told = told.lock().unwrap();
                        told.push(asked.clone());
                        (act.lock().unwrap())(told.len() - 1, asked)
                    });
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, asked, connections }
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// All that it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Says once that there is one instance, with this seq.
    pub(crate) fn ok(seq: u64) -> Act {
        Act::Answer(format!(r#""ok":true,"value":"a","status":"active","seq":{seq},"changed":true"#))
    }

    pub(crate) fn refuse(code: &str) -> Act {
        Act::Answer(format!(r#""ok":false,"error":{{"code":"{code}","message":"no"}}"#))
    }

    pub(crate) fn moved(to: SocketAddr) -> Act {
        Act::Answer(format!(r#""ok":false,"error":{{"code":"moved","message":"b","owner":"b","address":"{to}"}}"#))
    }
}

fn serve(mut stream: TcpStream, mut act: impl FnMut(&Asked) -> Act) {
    let mut link = Link::new(Side::Accepted, SocketType::Router, Bounds::of_messages(1 << 20), &Security::None);
    let mut scratch = [0; 4096];
    loop {
        while let Some(incoming) = link.poll().unwrap() {
            let Incoming::Message(message) = incoming else { continue };
            let frame = message.part_slice(message.len() - 1).unwrap();
            let request = Request::parse(frame, Encoding::Json).unwrap();
            let dedup = request.conditions.dedup.as_ref().map(|token| token.to_string());
            match act(&Asked { op: request.op, dedup, forward: request.transit.forward }) {
                Act::Answer(fields) => {
                    let id = String::from_utf8(request.id.unwrap().to_vec()).unwrap();
                    let reply = format!("{{\"id\":{id},{fields}}}");
                    let front = (0..message.len() - 1).filter_map(|part| message.part_slice(part));
                    link.send(&front.chain([reply.as_bytes()]).collect::<Vec<_>>());
                }
                Act::Ignore => {}
                Act::Hang => return,
            }
        }
        if !flush(&mut link, &mut stream) {
            return;
        }
        match stream.read(&mut scratch) {
            Ok(read @ 1..) => link.receive(Bytes::copy_from_slice(&scratch[..read])).unwrap(),
            _ => return,
        }
    }
}

fn flush(link: &mut Link, stream: &mut TcpStream) -> bool {
    let unsent = link.unsent().to_vec();
    link.sent(unsent.len());
    stream.write_all(&unsent).is_ok()
}

/// Publishes to the subscribers: each change as a topic and a body, then nothing more for as long as it stays.
pub(crate) fn publisher(changes: Vec<(&'static str, String)>, stays: Duration) -> SocketAddr {
    slow_publisher(changes, Duration::ZERO, stays)
}

/// The same with a pause before each change.
pub(crate) fn slow_publisher(changes: Vec<(&'static str, String)>, pause: Duration, stays: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut link = Link::new(Side::Accepted, SocketType::XPub, Bounds::of_messages(1 << 20), &Security::None);
            let mut scratch = [0; 4096];
            let mut subscribed = false;
            while !subscribed {
                while let Some(incoming) = link.poll().unwrap() {
                    subscribed |= matches!(incoming, Incoming::Subscribe(_));
                }
                flush(&mut link, &mut stream);
                if !subscribed {
                    let read = stream.read(&mut scratch).unwrap();
                    link.receive(Bytes::copy_from_slice(&scratch[..read])).unwrap();
                }
            }
            for (topic, body) in &changes {
                std::thread::sleep(pause);
                link.send(&[topic.as_bytes(), body.as_bytes()]);
                flush(&mut link, &mut stream);
            }
            std::thread::sleep(stays);
        }
    });
    address
}
