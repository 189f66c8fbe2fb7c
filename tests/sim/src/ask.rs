//! One request, one reply: what a scenario asks a daemon.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use statemesh_transport::SocketType;

use crate::daemon;
use crate::dice::nanos;
use crate::endpoint::{Endpoint, News};
use crate::net::Clock;
use crate::world::World;

/// Connections of scenarios that ask, by daemon.
#[derive(Debug, Default)]
pub struct Askers {
    by_daemon: BTreeMap<usize, Endpoint>,
    wires: u64,
}

/// How long a reply is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

impl World {
    /// The reply to a request, in JSON; null if none came within 20 s.
    pub fn ask(&mut self, n: usize, request: &str) -> Value {
        let parts = self.ask_parts(n, &[request.as_bytes()]);
        parts.last().and_then(|part| serde_json::from_slice(part).ok()).unwrap_or(Value::Null)
    }

    /// The replies to requests that are sent at once, in JSON, as they come; those that came within 20 s.
    pub fn ask_all(&mut self, n: usize, requests: &[String]) -> Vec<Value> {
        let messages: Vec<[&[u8]; 1]> = requests.iter().map(|request| [request.as_bytes()]).collect();
        let messages: Vec<&[&[u8]]> = messages.iter().map(|parts| &parts[..]).collect();
        let replies = self.exchange(n, &messages);
        replies.iter().filter_map(|parts| serde_json::from_slice(parts.last()?).ok()).collect()
    }

    /// The parts of the reply to a message of several parts; none if none came within 20 s.
    pub fn ask_parts(&mut self, n: usize, parts: &[&[u8]]) -> Vec<Vec<u8>> {
        self.exchange(n, &[parts]).pop().unwrap_or_default()
    }

    /// Sends these messages, and waits for as many replies.
    fn exchange(&mut self, n: usize, messages: &[&[&[u8]]]) -> Vec<Vec<Vec<u8>>> {
        let mut endpoint = self.asker(n);
        let until = self.now() + nanos(PATIENCE);
        let mut sent = false;
        let mut replies = Vec::new();
        while replies.len() < messages.len() && self.now() < until {
            for news in endpoint.turn(true) {
                if let News::Message(message) = news {
                    let parts = (0..message.len()).filter_map(|i| message.part_slice(i).map(<[u8]>::to_vec));
                    replies.push(parts.collect());
                }
            }
            if endpoint.wire().is_none() {
                if sent {
                    return replies;
                }
                self.connect_asker(n, &mut endpoint);
            }
            if endpoint.is_open() && !sent {
                sent = true;
                messages.iter().for_each(|parts| endpoint.send(parts));
                endpoint.flush(&mut Vec::new());
            }
            self.run(Duration::from_micros(500));
        }
        if replies.len() == messages.len() {
            self.askers.by_daemon.insert(n, endpoint);
        }
        replies
    }

    fn asker(&mut self, n: usize) -> Endpoint {
        if let Some(known) = self.askers.by_daemon.remove(&n) {
            return known;
        }
        let (host, poller) = {
            let mut net = self.net.lock();
            let host = net.add_host(Clock::default());
            (host, net.add_poller(host))
        };
        let mut endpoint = Endpoint::new(Arc::clone(&self.net), host, poller, SocketType::Dealer);
        self.connect_asker(n, &mut endpoint);
        endpoint
    }

    fn connect_asker(&mut self, n: usize, endpoint: &mut Endpoint) {
        self.askers.wires += 1;
        let address = SocketAddr::new(self.net.lock().ip(self.host(n)), daemon::CLIENTS);
        endpoint.connect(address, u64::MAX - self.askers.wires);
    }

    /// What `get` says of an instance.
    pub fn get(&mut self, n: usize, machine: &str, key: &str) -> Value {
        self.ask(n, &format!(r#"{{"id":1,"op":"get","machine":"{machine}","key":"{key}"}}"#))
    }

    /// What is answered to an event without anything but its type.
    pub fn send(&mut self, n: usize, machine: &str, key: &str, event: &str) -> Value {
        self.ask(
            n,
            &format!(r#"{{"id":1,"op":"send","machine":"{machine}","key":"{key}","event":{{"type":"{event}"}}}}"#),
        )
    }
}
