//! Watchers: subscribers of one daemon's changes, quick and slow ones.

use std::net::SocketAddr;
use std::time::Duration;

use statemesh_transport::SocketType;

use crate::client::Surroundings;
use crate::dice::{Dice, nanos};
use crate::endpoint::{Endpoint, News};
use crate::judge::Seen;
use crate::net::{HostId, PollerId, SharedNet};

/// A watcher.
#[derive(Debug)]
pub struct Watcher {
    /// Its host.
    pub host: HostId,
    endpoint: Endpoint,
    dice: Dice,
    daemon: usize,
    /// Share of turns after which it does not read for a while.
    lazy: f64,
    connect_at: Option<u64>,
    reads_again_at: u64,
    wire: u64,
}

impl Watcher {
    /// A watcher of this daemon.
    #[must_use]
    pub fn new(net: SharedNet, host: HostId, poller: PollerId, daemon: usize, lazy: f64, dice: Dice) -> Self {
        let endpoint = Endpoint::new(net, host, poller, SocketType::Sub);
        Self { host, endpoint, dice, daemon, lazy, connect_at: Some(0), reads_again_at: 0, wire: 0 }
    }

    /// A turn, with the addresses of the daemons' ports for changes. Gives when it wants the next one.
    pub fn turn(&mut self, around: &mut Surroundings<'_>) -> Option<u64> {
        let reads = around.now >= self.reads_again_at;
        for news in self.endpoint.turn(reads) {
            match news {
                News::Opened => self.endpoint.subscribe(b""),
                News::Message(message) => {
                    let parts = (message.part_slice(0), message.part_slice(1));
                    if let (Some(topic), Some(body)) = parts {
                        self.change(topic, body, around);
                    }
                }
                News::Closed => {
                    around.judge.watcher_closed(self.wire);
                    self.connect_at = Some(around.now + nanos(Duration::from_millis(200)));
                }
            }
        }
        if reads && self.lazy > 0.0 && self.dice.chance(self.lazy) {
            self.reads_again_at = around.now + nanos(self.dice.time(Duration::from_millis(50), Duration::from_secs(3)));
        }
        if self.connect_at.is_some_and(|at| at <= around.now) {
            self.connect(around);
        }
        self.endpoint.flush(&mut Vec::new());
        let reads = (self.reads_again_at > around.now).then_some(self.reads_again_at);
        [self.connect_at, reads].into_iter().flatten().min()
    }

    fn connect(&mut self, around: &mut Surroundings<'_>) {
        self.connect_at = None;
        let Some(address) = around.addresses.get(self.daemon) else { return };
        self.wire = around.numbers.fresh();
        self.endpoint.connect(SocketAddr::new(address.ip(), crate::daemon::CHANGES), self.wire);
        if self.endpoint.wire().is_none() {
            self.connect_at = Some(around.now + nanos(Duration::from_millis(200)));
        }
    }

    fn change(&mut self, topic: &[u8], body: &[u8], around: &mut Surroundings<'_>) {
        let topic = String::from_utf8_lossy(topic);
        let Ok(body) = rmp_serde::from_slice::<serde_json::Value>(body) else {
            return around.judge.wrong(format!("a change of {topic} that is no MessagePack"));
        };
        let seen = Seen {
            at: around.now,
            reason: body["reason"].as_str().unwrap_or_default().to_owned(),
            run: body["run"].as_str().map(str::to_owned),
            seq: body["seq"].as_u64().filter(|_| body["changed"] == true),
        };
        let dropped = body["dropped"].as_u64().unwrap_or(0);
        if seen.seq.is_none() && seen.reason == "event" {
            // Effects without a change.
            around.judge.dropped += dropped;
            return;
        }
        let key = topic.split_once('/').filter(|(machine, _)| *machine == "log").map(|(_, key)| key);
        if let Some(key) = key {
            around.judge.change(self.wire, key, seen, dropped);
        } else {
            around.judge.dropped += dropped;
        }
    }
}
