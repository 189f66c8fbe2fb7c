//! The end of a seed: faults stop, everything is answered, all settles, and each key is read.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use statemesh_node::parts;
use statemesh_transport::{Message, SocketType};

use crate::client::Habits;
use crate::dice::nanos;
use crate::endpoint::{Endpoint, News};
use crate::judge::{Attempt, End, Wire};
use crate::net::Clock;
use crate::world::World;

/// How long answers may take once faults have stopped: a request is forwarded to one that is gone, then parked, then asked
/// again, each with `limits.forward_timeout`, beside what a client's own patience is.
const ANSWERS: Duration = Duration::from_secs(25);
/// How long the mesh may take to settle once faults have stopped.
const SETTLES: Duration = Duration::from_secs(60);
/// How long new requests go on once faults have stopped.
const QUIET: Duration = Duration::from_secs(4);

impl World {
    /// Ends all faults, lets clients go on for a while and then stop, and reads every key.
    pub fn finish(&mut self) {
        self.end_of_faults();
        self.settle(SETTLES);
        let begin = self.now();
        self.run(QUIET);
        self.all_name_who_serves();
        self.stopped = true;
        self.answers_come(begin);
        self.read_all_keys();
    }

    fn end_of_faults(&mut self) {
        self.line("faults end".to_owned());
        self.heal();
        self.set_dns(crate::dns::Mode::Answers);
        self.foreign_holders = None;
        for n in 0..self.daemons.len() {
            let host = self.host(n);
            self.net.lock().set_descriptors(host, usize::MAX);
        }
    }

    /// Once all has settled every daemon knows who serves each partition.
    fn all_name_who_serves(&mut self) {
        if !self.is_settled() {
            return;
        }
        for n in self.running() {
            let Some(process) = self.process(n) else { continue };
            for partition in 0..self.partitions() {
                let named = parts::server_named(&process.shared, partition);
                let serves =
                    self.servers_of(partition).first().and_then(|n| self.daemons.get(*n)).map(|d| d.name.clone());
                if named != serves {
                    let says = format!(
                        "node-{n} says that partition {partition} is served by {named:?}, and it is by {serves:?}"
                    );
                    return self.judge.wrong(says);
                }
            }
        }
    }

    fn answers_come(&mut self, begin: u64) {
        let gave_up: u64 = self.clients.iter().map(|client| client.gave_up).sum();
        let all = self.run_until(ANSWERS, |world| world.clients.iter().all(crate::client::Client::is_idle));
        if all.is_none() {
            let waiting = self.judge.unanswered();
            self.judge.wrong(format!("{waiting} requests have no answer {ANSWERS:?} after faults have stopped"));
        }
        let later: u64 = self.clients.iter().map(|client| client.gave_up).sum();
        if later > gave_up {
            self.judge
                .wrong(format!("{} clients gave up after faults had stopped and all had settled", later - gave_up));
        }
        let starved: Vec<usize> = (0..self.clients.len())
            .filter(|n| self.clients.get(*n).is_some_and(|c| c.answered_at < begin && c.is_eager()))
            .collect();
        if !starved.is_empty() {
            self.judge.wrong(format!("clients {starved:?} had no answer in {QUIET:?} without faults"));
        }
    }

    /// Each key is asked for, first by an event that changes nothing, so that what was lost is said, and then read.
    fn read_all_keys(&mut self) {
        let keys: Vec<String> = self.keys().into_iter().collect();
        let (Some(first), false) = (self.running().first().copied(), keys.is_empty()) else { return };
        let mut reading = Reading::begin(self, first, &keys);
        // They are asked for one after the other.
        let patience = Duration::from_secs(60) + Duration::from_millis(200) * u32::try_from(keys.len()).unwrap_or(0);
        let deadline = self.now() + nanos(patience);
        while self.now() < deadline && reading.left() > 0 {
            self.run(Duration::from_millis(1));
            reading.turn(self);
        }
        if reading.left() > 0 {
            self.judge.wrong(format!(
                "{} of {} keys could not be read in the end",
                reading.left().div_ceil(2),
                keys.len()
            ));
        }
        reading.endpoint.close();
    }
}

/// What is asked of a key in the end.
#[derive(Debug)]
struct Question {
    key: String,
    /// An event that changes nothing, in place of a read.
    probe: bool,
}

/// The connection that reads the end. One question at a time, so that replies come in the order asked.
#[derive(Debug)]
struct Reading {
    endpoint: Endpoint,
    daemon: usize,
    /// The last request.
    id: u64,
    asked: Option<Question>,
    todo: VecDeque<Question>,
}

/// The name of its connection.
const WIRE: Wire = u64::MAX;

impl Reading {
    fn begin(world: &World, daemon: usize, keys: &[String]) -> Self {
        let mut endpoint = {
            let mut net = world.net.lock();
            let host = net.add_host(Clock::default());
            let poller = net.add_poller(host);
            Endpoint::new(Arc::clone(&world.net), host, poller, SocketType::Dealer)
        };
        let ip = world.net.lock().ip(world.host(daemon));
        endpoint.connect(SocketAddr::new(ip, crate::daemon::CLIENTS), WIRE);
        let both = |key: &String| [true, false].map(|probe| Question { key: key.clone(), probe });
        Self { endpoint, daemon, id: u64::MAX / 2, asked: None, todo: keys.iter().flat_map(both).collect() }
    }

    /// Questions without an answer.
    fn left(&self) -> usize {
        self.todo.len() + usize::from(self.asked.is_some())
    }

    fn turn(&mut self, world: &mut World) {
        for news in self.endpoint.turn(true) {
            match news {
                News::Message(message) => self.message(&message, world),
                News::Opened => {}
                News::Closed => world.judge.wrong("the connection that reads the end was closed".to_owned()),
            }
        }
        if self.endpoint.is_open()
            && self.asked.is_none()
            && let Some(question) = self.todo.pop_front()
        {
            self.ask(question, world);
        }
    }

    fn message(&mut self, message: &Message, world: &mut World) {
        let body: Option<Value> = message.part_slice(0).and_then(|part| serde_json::from_slice(part).ok());
        let (Some(reply), Some(question)) = (body, self.asked.take()) else { return };
        self.take(&question, &reply, world);
        if question.probe && says_more(&reply) {
            // Each life that lost something is named by a reply of its own.
            self.todo.push_front(question);
        }
    }

    fn ask(&mut self, question: Question, world: &mut World) {
        self.id += 1;
        let (id, key) = (self.id, &question.key);
        let attempt = Attempt {
            event: None,
            key: key.clone(),
            op: "final",
            wire: WIRE,
            daemon: self.daemon,
            at: world.now(),
            again: false,
            dedup: false,
            told: false,
            end: End::Open,
        };
        world.judge.sent(id, attempt);
        let op = if question.probe { r#""op":"send","event":{"type":"PROBE"}"# } else { r#""op":"get""# };
        self.endpoint.send(&[format!(r#"{{"id":{id},{op},"machine":"log","key":"{key}"}}"#).as_bytes()]);
        self.endpoint.flush(&mut Vec::new());
        self.asked = Some(question);
    }

    fn take(&self, Question { key, probe }: &Question, reply: &Value, world: &mut World) {
        let at = world.now();
        if reply["id"].as_u64() != Some(self.id) {
            return world.judge.wrong(format!("{key}: another's reply in the end: {reply}"));
        }
        world.judge.reply(WIRE, reply, at);
        if reply["ok"] != true {
            return world.judge.wrong(format!("{key}: cannot be read in the end: {reply}"));
        }
        if *probe {
            return;
        }
        let log =
            reply["context"]["log"].as_array().map(|log| log.iter().filter_map(Value::as_u64).collect::<Vec<_>>());
        if reply["context"]["count"].as_u64() != log.as_ref().map(|log| log.len() as u64) {
            world.judge.wrong(format!("{key}: its context contradicts itself: {reply}"));
        }
        world.judge.ends_with(key, log);
    }
}

/// Whether a reply says that something is gone: the next one may say more.
fn says_more(reply: &Value) -> bool {
    reply["restarted"] == true || reply["conflict"].is_object()
}

/// Habits of people's programs, by the seed.
#[must_use]
pub fn habits(dice: &mut crate::dice::Dice, keys: &[String]) -> Habits {
    let millis = Duration::from_millis;
    let count = 1 + dice.index(4);
    let keys = (0..count).filter_map(|_| dice.pick(keys).cloned()).collect();
    let mut habits =
        Habits { keys, window: 1 + dice.index(16), think: (millis(60), millis(1_000)), ..Habits::default() };
    match dice.index(8) {
        0 => habits.dedup = 1.0,
        1 => habits.arrays = 0.5,
        2 => habits.large = (0.1, 20_000),
        3 => habits.lazy = 0.02,
        4 => habits.direct = 0.5,
        5 => habits.conditions = 0.3,
        6 => habits.window = 64,
        _ => habits.reads = 0.5,
    }
    habits.others = others();
    habits.others_share = 0.05;
    habits
}

/// Requests in one frame, and bytes of one, as daemons of a seed allow them.
pub const BATCH: usize = 64;
/// See [`BATCH`].
pub const MESSAGE_BYTES: usize = 262_144;

/// Requests about everything else: lists, definitions, timers that get stuck, instances that grow, and what is none.
fn others() -> Vec<String> {
    let mut all: Vec<String> = [
        r#"{"id":%,"op":"instances","machine":"log","limit":7}"#,
        r#"{"id":%,"op":"machines"}"#,
        r#"{"id":%,"op":"members"}"#,
        r#"{"id":%,"op":"placement"}"#,
        r#"{"id":%,"op":"nothing"}"#,
        r#"{"id":%,"op":7}"#,
        r#"{"id":%,"op":"define","definition":{"id":"bad","initial":"x","states":{}}}"#,
        r#"{"id":%,"op":"define","definition":{"id":"kept","initial":"a","states":{"a":{}}},"options":{"durability":"disk"}}"#,
        r#"{"id":%,"op":"send","machine":"log","key":"d","event":{"type":"ADD","n":%},"dedup":"same"}"#,
        r#"{"id":%,"op":"send","machine":"log"}"#,
        r#"{"id":%,"op":"send","machine":"none","key":"k","event":{"type":"X"}}"#,
        r#"{"id":%,"op":"define","definition":{"id":"late","initial":"a","states":{"a":{}}}}"#,
        r#"{"id":%,"op":"send","machine":"refused","key":"r","event":{"type":"LOOP"}}"#,
        r#"{"id":%,"op":"send","machine":"tick","key":"t0","event":{"type":"xstate.after.300.tick.busy"}}"#,
        r#"{"id":%,"op":"start","machine":"tick","key":"started"}"#,
        r#"{"id":%,"op":"list","machine":"log","where":{"state":"on"},"limit":5}"#,
        r#"{"id":%,"op":"list","counts":true}"#,
        r#"{"id":%,"op":"list","where":{"stuck":true,"context":{"ticks":1}}}"#,
        r#"{"id":%,"op":"get","machine":"log","key":"d","until":{"state":"nowhere"}}"#,
        r#"{"id":%,"op":"get","machine":"tick","key":"nothing","until":{"done":true},"within":300}"#,
    ]
    .map(str::to_owned)
    .to_vec();
    let long = |bytes| "x".repeat(bytes);
    all.push(format!(r#"{{"id":%,"op":"get","machine":"log","key":"{}"}}"#, long(2_000)));
    let token = long(200);
    all.push(format!(r#"{{"id":%,"op":"send","machine":"log","key":"d","event":{{"type":"X"}},"dedup":"{token}"}}"#));
    // These have no id that could be given back.
    all.push("{".to_owned());
    all.push(format!("[{}]", vec!["{}"; BATCH + 1].join(",")));
    all.push(format!(r#"{{"text":"{}"}}"#, long(MESSAGE_BYTES)));
    let text = long(20_000);
    for n in 0..4 {
        all.push(format!(r#"{{"id":%,"op":"send","machine":"tick","key":"t{n}","event":{{"type":"GO"}}}}"#));
        all.push(format!(
            r#"{{"id":%,"op":"send","machine":"tick","key":"t{n}","event":{{"type":"GO"}},"until":{{"state":"idle"}},"within":900}}"#
        ));
        all.push(format!(
            r#"{{"id":%,"op":"get","machine":"tick","key":"t{n}","until":{{"state":"busy"}},"within":2000}}"#
        ));
        all.push(format!(
            r#"{{"id":%,"op":"start","machine":"stuck","key":"s{n}","until":{{"state":"pong"}},"within":500,"force":true}}"#
        ));
        all.push(format!(r#"{{"id":%,"op":"get","machine":"fat","key":"f{n}"}}"#));
        all.push(format!(r#"{{"id":%,"op":"send","machine":"stuck","key":"s{n}","event":{{"type":"GO"}}}}"#));
        all.push(format!(
            r#"{{"id":%,"op":"send","machine":"fat","key":"f{n}","event":{{"type":"GROW","text":"{text}"}}}}"#
        ));
    }
    all
}
