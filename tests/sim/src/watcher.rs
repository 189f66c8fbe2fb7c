//! Watchers: subscribers of one daemon's changes, quick and slow ones.

use std::time::Duration;

use statemesh_load::Place;
use statemesh_protocol::run::RunId;
use statemesh_transport::SocketType;

use crate::daemon;
use crate::dice::{Dice, nanos};
use crate::endpoint::News;
use crate::judge::Seen;
use crate::net::{HostId, PollerId, SharedNet};
use crate::outside::{Line, Reader, Surroundings};

/// A watcher.
#[derive(Debug)]
pub struct Watcher {
    line: Line,
    reader: Reader,
    dice: Dice,
}

/// The longest for which a lazy one does not read.
const REST: Duration = Duration::from_secs(3);
/// Pause before a lost connection is opened again.
const RECONNECT: Duration = Duration::from_millis(200);

impl Watcher {
    /// A watcher of this daemon; `lazy` is the share of turns after which it does not read for a while.
    #[must_use]
    pub fn new(net: SharedNet, host: HostId, poller: PollerId, daemon: usize, lazy: f64, dice: Dice) -> Self {
        let line = Line::new(net, host, poller, SocketType::Sub, daemon);
        Self { line, reader: Reader::new(lazy, REST), dice }
    }

    /// A turn. Gives when it wants the next one.
    pub fn turn(&mut self, around: &mut Surroundings<'_>) -> Option<u64> {
        let later = around.now + nanos(RECONNECT);
        for news in self.line.endpoint.turn(self.reader.reads(around.now)) {
            match news {
                News::Opened => self.line.endpoint.subscribe(b""),
                News::Message(message) => {
                    let parts = (message.part_slice(0), message.part_slice(1));
                    if let (Some(topic), Some(body)) = parts {
                        self.change(topic, body, around);
                    }
                }
                News::Closed => {
                    around.judge.watcher_closed(self.line.wire);
                    self.line.opens_later(later);
                }
            }
        }
        self.reader.perhaps_rests(around.now, &mut self.dice);
        if !self.line.opens(daemon::CHANGES, around) {
            self.line.opens_later(later);
        }
        self.line.endpoint.flush(&mut Vec::new());
        [self.line.opens_at(), self.reader.again_at(around.now)].into_iter().flatten().min()
    }

    fn change(&mut self, topic: &[u8], body: &[u8], around: &mut Surroundings<'_>) {
        let topic = String::from_utf8_lossy(topic);
        let Ok(body) = rmp_serde::from_slice::<serde_json::Value>(body) else {
            return around.judge.wrong(format!("a change of {topic} that is no MessagePack"));
        };
        let run = body["run"].as_str().and_then(RunId::parse);
        if run.is_none() && body["run"].is_string() {
            around.judge.wrong(format!("a change of {topic} with a life that is none: {body}"));
        }
        let seen = Seen {
            at: around.now,
            reason: body["reason"].as_str().unwrap_or_default().to_owned(),
            place: body["seq"].as_u64().filter(|_| body["changed"] == true).map(|seq| Place { run, seq }),
        };
        let dropped = body["dropped"].as_u64().unwrap_or(0);
        if seen.place.is_none() && seen.reason == "event" {
            // Effects without a change.
            around.judge.dropped += dropped;
            return;
        }
        let key = topic.split_once('/').filter(|(machine, _)| *machine == "log").map(|(_, key)| key);
        if let Some(key) = key {
            around.judge.change(self.line.wire, key, seen, dropped);
        } else {
            around.judge.dropped += dropped;
        }
    }
}
