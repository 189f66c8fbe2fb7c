//! Clients: programs that send requests over one connection each, in the ways in which people do.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use statemesh_load::Place;
use statemesh_transport::{Message, SocketType};

use crate::daemon;
use crate::dice::{Dice, nanos};
use crate::endpoint::News;
use crate::judge::{Attempt, End};
use crate::net::{HostId, PollerId, SharedNet};
use crate::outside::{Line, Reader, Surroundings};

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Requests without an answer.
    pub window: usize,
    /// Keys that it writes, of the machine `log`.
    pub keys: Vec<String>,
    /// Time from one answer to the next request.
    pub think: (Duration, Duration),
    /// Share of events with a token, which are sent again when their outcome is unknown.
    pub dedup: f64,
    /// Share of frames that are arrays.
    pub arrays: f64,
    /// Share of requests that read.
    pub reads: f64,
    /// Share of requests that remove the key's instance.
    pub removals: f64,
    /// Share of events that are told.
    pub tells: f64,
    /// Share of requests that say `forward: false`, and follow `moved`.
    pub direct: f64,
    /// Share of events with conditions.
    pub conditions: f64,
    /// Share of events with a payload of this many bytes.
    pub large: (f64, usize),
    /// Share of turns after which it does not read for a while.
    pub lazy: f64,
    /// Other requests, which it sends now and then as they are, with `%` in place of an id.
    pub others: Vec<String>,
    /// Share of these.
    pub others_share: f64,
    /// After this long without an answer it gives its connection up.
    pub patience: Duration,
    /// It wants nothing new from then on.
    pub until: u64,
    /// From its first request on it comes to one key after the other, to the last one after this time.
    pub grow: Duration,
}

impl Default for Habits {
    fn default() -> Self {
        let millis = Duration::from_millis;
        Self {
            window: 8,
            keys: Vec::new(),
            think: (millis(1), millis(40)),
            dedup: 0.3,
            arrays: 0.05,
            reads: 0.1,
            removals: 0.0,
            tells: 0.02,
            direct: 0.05,
            conditions: 0.0,
            large: (0.0, 0),
            lazy: 0.0,
            others: Vec::new(),
            others_share: 0.0,
            patience: Duration::from_secs(8),
            until: u64::MAX,
            grow: Duration::ZERO,
        }
    }
}

/// An event that is to be sent again.
#[derive(Clone, Debug)]
struct Retry {
    event: u64,
    key: String,
    tries: u32,
    not_before: u64,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    line: Line,
    reader: Reader,
    habits: Habits,
    dice: Dice,
    next_at: u64,
    /// When it sent its first request.
    first_at: Option<u64>,
    in_flight: usize,
    retries: VecDeque<Retry>,
    /// What conditions ask for: where each of its keys was last.
    heads: Vec<Place>,
    /// When it had its last answer.
    pub answered_at: u64,
    /// Times that it gave up its connection for want of an answer.
    pub gave_up: u64,
    /// It goes at its next turn, and does not come back.
    pub retired: bool,
}

/// How often an event is sent, at most.
const TRIES: u32 = 12;
/// Pause before a lost connection is opened again.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(400));
/// The longest for which a lazy one does not read.
const REST: Duration = Duration::from_secs(2);

impl Client {
    /// A client that will talk to this daemon.
    #[must_use]
    pub fn new(net: SharedNet, host: HostId, poller: PollerId, daemon: usize, habits: Habits, dice: Dice) -> Self {
        Self {
            line: Line::new(net, host, poller, SocketType::Dealer, daemon),
            reader: Reader::new(habits.lazy, REST),
            dice,
            next_at: 0,
            first_at: None,
            in_flight: 0,
            retries: VecDeque::new(),
            heads: vec![Place::default(); habits.keys.len()],
            habits,
            answered_at: 0,
            gave_up: 0,
            retired: false,
        }
    }

    /// The daemon that it talks to.
    #[must_use]
    pub fn daemon(&self) -> usize {
        self.line.daemon
    }

    /// Whether it asks so often that it should have had an answer within seconds.
    #[must_use]
    pub fn is_eager(&self) -> bool {
        !self.retired
            && self.habits.until == u64::MAX
            && self.habits.think.1 < Duration::from_secs(2)
            && self.habits.lazy == 0.0
    }

    /// Whether it has nothing more to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.retired || self.in_flight == 0 && self.retries.is_empty()
    }

    /// A turn. Gives when it wants the next one.
    pub fn turn(&mut self, around: &mut Surroundings<'_>) -> Option<u64> {
        if self.retired {
            self.settle(self.line.wire, around);
            self.line.endpoint.close();
            return None;
        }
        for news in self.line.endpoint.turn(self.reader.reads(around.now)) {
            self.news(news, around);
        }
        self.reader.perhaps_rests(around.now, &mut self.dice);
        self.lose_patience(around);
        if !self.line.opens(daemon::CLIENTS, around) {
            self.connect_later(around);
        }
        if self.line.endpoint.is_open() {
            self.send_what_is_due(around);
            let mut news = Vec::new();
            self.line.endpoint.flush(&mut news);
            news.into_iter().for_each(|news| self.news(news, around));
        }
        self.wants_a_turn(around)
    }

    fn wants_a_turn(&self, around: &Surroundings<'_>) -> Option<u64> {
        let sends = self.line.endpoint.is_open() && self.in_flight < self.habits.window;
        let event = (sends && self.wants_more(around)).then_some(self.next_at);
        let retry = self.retries.front().filter(|_| sends).map(|retry| retry.not_before);
        let oldest = self.line.endpoint.wire().and_then(|wire| around.judge.oldest(wire));
        let patience = oldest.map(|oldest| self.patient_until(oldest.at));
        [event, retry, patience, self.reader.again_at(around.now), self.line.opens_at()].into_iter().flatten().min()
    }

    fn wants_more(&self, around: &Surroundings<'_>) -> bool {
        !around.stopped && around.now < self.habits.until
    }

    /// Another daemon is tried in a while.
    fn connect_later(&mut self, around: &Surroundings<'_>) {
        self.line.opens_later(around.now + nanos(self.dice.time(RECONNECT.0, RECONNECT.1)));
        if self.dice.chance(0.5) {
            self.line.daemon = self.dice.index(around.addresses.len());
        }
    }

    fn news(&mut self, news: News, around: &mut Surroundings<'_>) {
        match news {
            News::Opened => self.next_at = around.now,
            News::Message(message) => self.message(&message, around),
            News::Closed => self.connection_ended(around),
        }
    }

    fn connection_ended(&mut self, around: &mut Surroundings<'_>) {
        self.settle(self.line.wire, around);
        self.line.endpoint.close();
        self.connect_later(around);
    }

    /// How long it waits for the answer to a request of this time. The pauses in which it does not read are its own: of a large answer
    /// it reads a part at a time, with pauses in between.
    fn patient_until(&self, at: u64) -> u64 {
        self.reader.reads_since().max(at) + nanos(self.habits.patience)
    }

    fn lose_patience(&mut self, around: &mut Surroundings<'_>) {
        let Some(wire) = self.line.endpoint.wire() else { return };
        if around.judge.oldest(wire).is_some_and(|oldest| self.patient_until(oldest.at) <= around.now) {
            self.gave_up += 1;
            self.connection_ended(around);
        }
    }

    /// A connection is over: what had no answer is unknown, and sent again where that is harmless.
    fn settle(&mut self, wire: u64, around: &mut Surroundings<'_>) {
        self.in_flight = 0;
        for id in around.judge.closed(wire) {
            let Some(attempt) = around.judge.attempt(id).filter(|attempt| attempt.dedup) else { continue };
            if let Some(event) = attempt.event {
                self.retry(event, attempt.key.clone(), 1, around.now);
            }
        }
    }

    fn retry(&mut self, event: u64, key: String, tries: u32, now: u64) {
        let pause = Duration::from_millis(20 << tries.min(6));
        let not_before = now + nanos(self.dice.time(Duration::from_millis(5), pause));
        self.retries.push_back(Retry { event, key, tries, not_before });
    }

    fn message(&mut self, message: &Message, around: &mut Surroundings<'_>) {
        let Some(body) = message.part_slice(message.len().saturating_sub(1)) else { return };
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return around.judge.wrong(format!("a reply that is no JSON: {:?}", String::from_utf8_lossy(body)));
        };
        match value {
            Value::Array(replies) => {
                replies.iter().filter(|reply| !reply.is_null()).for_each(|reply| self.reply(reply, around));
            }
            reply => self.reply(&reply, around),
        }
    }

    fn reply(&mut self, reply: &Value, around: &mut Surroundings<'_>) {
        let Some(wire) = self.line.endpoint.wire() else { return };
        let answered = around.judge.reply(wire, reply, around.now);
        self.answered_at = around.now;
        let Some((id, end)) = answered else { return };
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(attempt) = around.judge.attempt(id) else { return };
        let (event, key, dedup) = (attempt.event, attempt.key.clone(), attempt.dedup);
        match end {
            End::Done { said, .. } => self.note_head(&key, said.place),
            End::Refused { code, .. } => {
                if code == "moved" {
                    self.follow(reply, around);
                }
                let harmless = dedup
                    && ["outcome_unknown", "timeout", "moving", "owner_unreachable", "leaving", "not_ready"]
                        .contains(&code.as_str());
                if let Some(event) = event.filter(|_| harmless) {
                    self.retry(event, key, 2, around.now);
                }
            }
            _ => {}
        }
    }

    fn note_head(&mut self, key: &str, place: Place) {
        let at = self.habits.keys.iter().position(|of| of == key);
        if let Some(head) = at.and_then(|at| self.heads.get_mut(at)) {
            *head = place;
        }
    }

    /// A daemon that does not own a key says who does; it is never the daemon that was asked.
    fn follow(&mut self, reply: &Value, around: &mut Surroundings<'_>) {
        let address = reply["error"]["address"].as_str().and_then(|text| text.parse::<SocketAddr>().ok());
        let there = address.and_then(|address| around.addresses.iter().position(|of| *of == address));
        if there == Some(self.line.daemon) {
            around.judge.wrong(format!("daemon {} sent a client to itself: {reply}", self.line.daemon));
        }
    }

    fn send_what_is_due(&mut self, around: &mut Surroundings<'_>) {
        while self.in_flight < self.habits.window && self.line.endpoint.unsent() == 0 {
            if self.retries.front().is_some_and(|retry| retry.not_before <= around.now)
                && let Some(retry) = self.retries.pop_front()
            {
                self.send_again(retry, around);
            } else if self.wants_more(around) && self.next_at <= around.now {
                self.send_new(around);
                if self.dice.chance(0.3) {
                    self.next_at = around.now + nanos(self.dice.time(self.habits.think.0, self.habits.think.1));
                }
            } else {
                return;
            }
        }
    }

    /// How many keys it has come to by now.
    fn keys_known(&mut self, now: u64) -> usize {
        let (all, first) = (self.habits.keys.len(), *self.first_at.get_or_insert(now));
        let share = (now - first) as f64 / nanos(self.habits.grow).max(1) as f64;
        if self.habits.grow.is_zero() { all } else { ((all as f64 * share) as usize).clamp(1, all.max(1)) }
    }

    fn send_again(&mut self, retry: Retry, around: &mut Surroundings<'_>) {
        let Retry { event, key, tries, .. } = retry;
        if tries > TRIES {
            return;
        }
        let text = self.event(event, &key, Some(true), true, around);
        self.line.endpoint.send(&[text.as_bytes()]);
    }

    fn send_new(&mut self, around: &mut Surroundings<'_>) {
        if !self.habits.others.is_empty() && self.dice.chance(self.habits.others_share) {
            return self.send_other(around);
        }
        let count = if self.dice.chance(self.habits.arrays) { 2 + self.dice.index(6) } else { 0 };
        if count == 0 {
            let text = self.request(around);
            return self.line.endpoint.send(&[text.as_bytes()]);
        }
        let all: Vec<String> = (0..count).map(|_| self.request(around)).collect();
        self.line.endpoint.send(&[format!("[{}]", all.join(",")).as_bytes()]);
    }

    fn send_other(&mut self, around: &mut Surroundings<'_>) {
        let at = self.dice.index(self.habits.others.len());
        let Some(text) = self.habits.others.get(at).cloned() else { return };
        let has_id = text.contains("\"id\":%");
        // A `get` that waits is refused with `timeout` where the owner is silent when its time is over.
        let waits = text.contains(r#""op":"get""#) && text.contains(r#""until":"#);
        let op = if waits { "wait" } else { "other" };
        let id = self.note(None, "-", op, false, !has_id, around);
        self.line.endpoint.send(&[text.replace('%', &id.to_string()).as_bytes()]);
    }

    fn request(&mut self, around: &mut Surroundings<'_>) -> String {
        let known = self.keys_known(around.now);
        let key = self.habits.keys.get(self.dice.index(known)).cloned().unwrap_or_default();
        if self.dice.chance(self.habits.reads) {
            let id = self.note(None, &key, "get", false, false, around);
            let op = ["get", "history", "where", "ping", "explain"][self.dice.index(5)];
            let event = if op == "explain" { r#","event":{"type":"ADD","n":0}"# } else { "" };
            return format!(r#"{{"id":{id},"op":"{op}","machine":"log","key":"{key}"{event}}}"#);
        }
        if self.habits.removals > 0.0 && self.dice.chance(self.habits.removals) {
            let id = self.note(None, &key, "delete", false, false, around);
            return format!(r#"{{"id":{id},"op":"delete","machine":"log","key":"{key}"}}"#);
        }
        let event = around.numbers.fresh();
        self.event(event, &key, None, false, around)
    }

    fn event(&mut self, n: u64, key: &str, dedup: Option<bool>, again: bool, around: &mut Surroundings<'_>) -> String {
        let dedup = dedup.unwrap_or_else(|| self.dice.chance(self.habits.dedup));
        let told = !dedup && self.dice.chance(self.habits.tells);
        let op = if told { "tell" } else { "send" };
        let id = self.note(Some(n), key, op, dedup, told, around);
        if again {
            around.judge.again(id);
        }
        // The same event has the same bytes whenever it is sent.
        let kind = if n.is_multiple_of(4) { "SAY" } else { "ADD" };
        let pad = if self.habits.large.0 > 0.0 && (n % 100) as f64 / 100.0 < self.habits.large.0 {
            format!(r#","pad":"{}""#, "x".repeat(self.habits.large.1))
        } else {
            String::new()
        };
        let token = if dedup { format!(r#","dedup":"t{n}""#) } else { String::new() };
        let direct = if self.dice.chance(self.habits.direct) && !told { r#","forward":false"# } else { "" };
        let condition = self.condition(key, again);
        format!(
            r#"{{"id":{id},"op":"{op}","machine":"log","key":"{key}","event":{{"type":"{kind}","n":{n}{pad}}}{token}{direct}{condition}}}"#
        )
    }

    fn condition(&mut self, key: &str, again: bool) -> String {
        if again || !self.dice.chance(self.habits.conditions) {
            return String::new();
        }
        let at = self.habits.keys.iter().position(|of| of == key).unwrap_or_default();
        match self.heads.get(at) {
            Some(Place { run: Some(run), seq }) if *seq > 0 => format!(r#","if_run":"{run}","if_seq":{seq}"#),
            _ => String::new(),
        }
    }

    fn note(
        &mut self,
        event: Option<u64>,
        key: &str,
        op: &'static str,
        dedup: bool,
        told: bool,
        around: &mut Surroundings<'_>,
    ) -> u64 {
        let id = around.numbers.fresh();
        let wire = self.line.endpoint.wire().unwrap_or_default();
        let (key, at, daemon) = (key.to_owned(), around.now, self.line.daemon);
        let attempt = Attempt { event, key, op, wire, daemon, at, again: false, dedup, told, end: End::Open };
        around.judge.sent(id, attempt);
        self.in_flight += usize::from(!told);
        id
    }
}
