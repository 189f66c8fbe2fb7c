//! Durable instances over crashes: records that are durable survive, of the others any prefix may. What was acknowledged is there, the same
//! request with its token gets the same answer, timers are due when they were, and no reply or change leaves before its record.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods, missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use statemesh_engine::{Limits, Machine};
use statemesh_protocol::hash;
use statemesh_protocol::place::{Mark, Tier};
use statemesh_protocol::record::{Fields, Record};
use statemesh_protocol::reply::Encoding;
use statemesh_protocol::request::Request;
use statemesh_shard::machines::{Machines, Version};
use statemesh_shard::{Bounds, Clock, Damaged, Filter, Log, Origin, Outcome, Rules, Run, Shards, Walk};

const SOURCE: &str = r#"{"id":"m","initial":"a","context":{"n":0},
    "on":{"ADD":{"actions":{"type":"@xstate.assign","context":{"n":{"@expr":"context.n + event.by"}}}}},"states":{
    "a":{"on":{"GO":"b","END":"end"},"after":{"700":"b"}},
    "b":{"on":{"GO":"a"},"after":{"300":"a"}},
    "end":{"type":"final"}}}"#;
const PARTITIONS: u16 = 2;
const KEYS: [&str; 4] = ["one", "two", "three", "four"];
/// Mesh time at which a test begins.
const BEGIN: u64 = 29_000_000_000;

/// Numbers of a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash::mix(self.0) % bound
    }
}

struct Daemon {
    shards: Shards,
    log: Arc<Log>,
    run: Run,
}

impl Daemon {
    fn new(now: u64, seed: u64) -> Self {
        let machines = Arc::new(Machines::default());
        let machine = Machine::compile(SOURCE.as_bytes(), &Limits::default(), &|_| None).unwrap().machine;
        machines.set_tier("m", Tier::Disk);
        machines.add(Version::new("m".into(), *machine.hash(), 1, machine));
        let rules = Rules {
            partitions: PARTITIONS,
            history: 4,
            instances: 1_000,
            dedup_bytes: 64,
            output_bytes: 1 << 20,
            feed_bytes: 1 << 20,
            removed: 100,
            marks: 64,
            dedup_for_ms: 300_000,
            keep_ms: 3_600_000,
        };
        let log = Arc::new(Log::new(PARTITIONS));
        let shards = Shards::with_log(&machines, rules, 1, Origin { unix_ms: 0, seed }, Some(Arc::clone(&log)));
        shards.feeds().of(0).unwrap().set_watched(true);
        let mut run = Run::new(Clock::new(Instant::now));
        (run.now, run.watched) = (now, true);
        Self { shards, log, run }
    }

    /// A daemon that has read these records.
    fn recovered(records: &[Vec<u8>], now: u64, seed: u64) -> Self {
        let mut daemon = Self::new(now, seed);
        for bytes in records {
            let record = Record::read(&mut Fields::new(bytes)).unwrap();
            let partition = record.head.place.partition;
            daemon.shards.of(partition).claim().recover(&record, &mut daemon.run).unwrap();
        }
        (0..PARTITIONS).for_each(|partition| daemon.shards.of(partition).claim().recovered(partition));
        daemon.run.now = now;
        daemon.adopt();
        daemon
    }

    fn adopt(&mut self) {
        for partition in 0..PARTITIONS {
            self.shards.of(partition).claim().adopt(partition, &[], &mut self.run);
        }
    }

    fn ask(&mut self, request: &str) -> (Value, Option<Mark>) {
        let request = Request::parse(request.as_bytes(), Encoding::Json).unwrap();
        let hash = hash::key_hash(&request.machine, &request.key);
        let partition = hash::partition_of_hash(hash, PARTITIONS);
        let mut reply = Vec::new();
        let outcome = self.shards.of(partition).claim().run(&request, hash, partition, &mut self.run, &mut reply);
        let Outcome::Replied(mark) = outcome else { panic!("{outcome:?}") };
        (serde_json::from_slice(&reply).unwrap(), mark)
    }

    /// How all keys stand, with the times of timers instead of what is left of them.
    fn standing(&mut self) -> BTreeMap<&'static str, Value> {
        let now = self.run.now;
        let get = |key| {
            let (mut reply, _) = self.ask(&format!(r#"{{"op":"get","machine":"m","key":"{key}"}}"#));
            for timer in reply["timers"].as_array_mut().into_iter().flatten() {
                timer["due_ms"] = (timer["due_ms"].as_u64().unwrap() + now).into();
            }
            let history = self.ask(&format!(r#"{{"op":"history","machine":"m","key":"{key}"}}"#)).0;
            let past = history["history"].as_array().into_iter().flatten();
            let past: Vec<Value> =
                past.map(|line| serde_json::json!([line["seq"], line["event"], line["to"]])).collect();
            reply["past"] = past.into();
            (key, reply)
        };
        KEYS.into_iter().map(get).collect()
    }

    fn fire(&mut self) {
        for partition in 0..PARTITIONS {
            let now = self.run.now;
            self.shards.of(partition).claim().fire(now, 64, &mut self.run);
        }
    }
}

/// A request with a token, and its answer.
struct Asked {
    request: String,
    reply: Value,
    /// How many records there were behind it.
    records: usize,
}

struct World {
    daemon: Daemon,
    dice: Dice,
    /// All records, and how far each place comes with it.
    records: Vec<(Vec<u8>, Mark)>,
    /// How many of them are durable.
    durable: usize,
    /// How all keys stood behind so many records.
    stood: BTreeMap<usize, BTreeMap<&'static str, Value>>,
    asked: Vec<Asked>,
    tokens: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut daemon = Daemon::new(BEGIN, seed);
        daemon.adopt();
        let stood = BTreeMap::from([(0, daemon.standing())]);
        Self { daemon, dice: Dice(seed), records: Vec::new(), durable: 0, stood, asked: Vec::new(), tokens: 0 }
    }

    fn pull(&mut self) {
        let (mut bytes, mut marks) = (Vec::new(), Vec::new());
        self.daemon.log.take(usize::MAX, &mut bytes, &mut marks);
        let mut rest = &bytes[..];
        for mark in marks {
            let (record, behind) = rest.split_at(Record::len_of_first(rest).unwrap());
            self.records.push((record.to_vec(), mark));
            rest = behind;
        }
        assert!(rest.is_empty());
    }

    fn request(&mut self) {
        let key = KEYS[self.dice.below(4) as usize];
        let token = if self.dice.below(3) == 0 { None } else { Some(self.tokens) };
        self.tokens += 1;
        let dedup = token.map(|token| format!(r#","dedup":"t{token}""#)).unwrap_or_default();
        let by = self.dice.below(9);
        let (op, rest) = match self.dice.below(12) {
            0 => ("start", String::new()),
            1 => ("delete", String::new()),
            2 => ("stop", String::new()),
            3 => ("send", r#","event":{"type":"END"}"#.to_owned()),
            4 => ("send", r#","event":{"type":"NOTHING"}"#.to_owned()),
            5..8 => ("send", r#","event":{"type":"GO"}"#.to_owned()),
            _ => ("send", format!(r#","event":{{"type":"ADD","by":{by}}}"#)),
        };
        let request = format!(r#"{{"op":"{op}","machine":"m","key":"{key}"{rest}{dedup}}}"#);
        let before = self.records.len();
        let (reply, mark) = self.daemon.ask(&request);
        self.pull();
        assert!(self.records.len() <= before + 1, "one record for each request");
        if let Some((_, last)) = self.records.get(before) {
            assert_eq!(mark, Some(*last), "{request}: the reply waits for its record");
        }
        let (_, read) = self.daemon.ask(&format!(r#"{{"op":"get","machine":"m","key":"{key}"}}"#));
        if self.records.len() > before.max(self.durable) {
            assert_eq!(read, mark, "a read waits for what it shows");
        }
        self.daemon.shards.feeds().of(0).unwrap().drain(|mark, _| assert!(mark.is_some(), "a change has a mark"));
        if token.is_some() && reply["ok"] == true {
            self.asked.push(Asked { request, reply, records: self.records.len() });
        }
        self.note();
    }

    fn note(&mut self) {
        let stands = self.daemon.standing();
        self.stood.insert(self.records.len(), stands);
    }

    fn pass_time(&mut self) {
        self.daemon.run.now += self.dice.below(500);
        self.daemon.fire();
        self.pull();
        self.note();
    }

    fn sync(&mut self) {
        let more = self.dice.below((self.records.len() - self.durable) as u64 + 1) as usize;
        let marks: Vec<Mark> = self.records[self.durable..self.durable + more].iter().map(|(_, mark)| *mark).collect();
        self.daemon.log.synced(&marks);
        self.durable += more;
    }

    /// The power goes; of what was not durable a prefix is there all the same.
    fn crash(&mut self, seed: u64) {
        let whole: Vec<usize> = self.stood.keys().copied().filter(|count| *count >= self.durable).collect();
        let kept = whole[self.dice.below(whole.len() as u64) as usize];
        self.records.truncate(kept);
        let records: Vec<Vec<u8>> = self.records.iter().map(|(record, _)| record.clone()).collect();
        let now = self.daemon.run.now + self.dice.below(5_000);
        self.daemon = Daemon::recovered(&records, now, seed);
        self.durable = kept;
        let stands = self.daemon.standing();
        for (key, stood) in &self.stood[&kept] {
            let overdue = |value: &Value| {
                // What is overdue shows as due now.
                let mut value = value.clone();
                for timer in value["timers"].as_array_mut().into_iter().flatten() {
                    timer["due_ms"] = timer["due_ms"].as_u64().unwrap().max(now).into();
                }
                value
            };
            assert_eq!(overdue(&stands[key]), overdue(stood), "{key} behind {kept} records");
        }
        self.stood.retain(|count, _| *count <= kept);
        self.asked.retain(|asked| asked.records <= kept);
        for Asked { request, reply, .. } in &self.asked {
            assert_eq!(self.daemon.ask(request).0, *reply, "{request} again");
        }
        self.pull();
        assert_eq!(self.records.len(), kept, "an answer that is repeated is no new event");
    }
}

#[test]
fn what_was_acknowledged_survives_crashes_as_it_was_and_nothing_leaves_before_its_record() {
    for seed in 0..150 {
        let mut world = World::new(seed);
        // No more requests with tokens than are remembered of a key.
        for _ in 0..40 {
            match world.dice.below(10) {
                0 => world.pass_time(),
                1..4 => world.sync(),
                4 => world.crash(seed),
                _ => world.request(),
            }
        }
        world.crash(seed);
    }
}

#[test]
fn timers_that_were_due_meanwhile_fire_once_the_partition_is_served() {
    let mut daemon = Daemon::new(BEGIN, 1);
    daemon.adopt();
    daemon.ask(r#"{"op":"start","machine":"m","key":"one"}"#);
    let (mut bytes, mut marks) = (Vec::new(), Vec::new());
    daemon.log.take(usize::MAX, &mut bytes, &mut marks);
    // It began in `a` and would be in `b` after 700 ms, and in `a` 300 ms later: counted from when it fires.
    let mut daemon = Daemon::recovered(&[bytes], BEGIN + 60_000, 2);
    assert!(daemon.shards.earliest(0) <= BEGIN + 60_000);
    daemon.fire();
    assert_eq!(daemon.standing()["one"]["value"], "b");
    daemon.run.now += 300;
    daemon.fire();
    assert_eq!(daemon.standing()["one"]["value"], "a");
}

#[test]
fn a_damaged_place_is_not_served_and_no_instance_begins_anew() {
    let mut daemon = Daemon::new(BEGIN, 1);
    daemon.adopt();
    let partition = hash::partition_of_hash(hash::key_hash("m", "one"), PARTITIONS);
    daemon.shards.of(partition).claim().set_damaged(partition, &Damaged("batches 3 to 4 are lost".to_owned()));
    for op in ["get", "start"] {
        let (reply, _) = daemon.ask(&format!(r#"{{"op":"{op}","machine":"m","key":"one"}}"#));
        assert_eq!(reply["error"]["code"], "storage_damaged");
        assert!(reply["error"]["message"].as_str().unwrap().contains("batches 3 to 4 are lost"));
    }
    let filter = Filter::read("m", None, Encoding::Json).unwrap();
    let bounds = Bounds { lines: 10, bytes: 1_000, looks: 1_000 };
    let mut walk = Walk::new(filter, bounds, false, Default::default(), 0);
    let page = std::iter::repeat_with(|| walk.step(&daemon.shards)).flatten().next().unwrap();
    assert_eq!(page.damaged, [partition], "a list knows of what it lacks");
}

#[test]
fn without_room_reads_and_repeated_answers_go_on_and_timers_wait() {
    let mut daemon = Daemon::new(BEGIN, 1);
    daemon.adopt();
    let begin = r#"{"op":"start","machine":"m","key":"one","dedup":"t"}"#;
    let (begun, _) = daemon.ask(begin);
    daemon.log.set_full(true);
    let (refused, _) = daemon.ask(r#"{"op":"send","machine":"m","key":"one","event":{"type":"GO"}}"#);
    assert_eq!(refused["error"]["code"], "storage_full");
    assert_eq!(daemon.ask(begin).0, begun);
    daemon.run.now += 10_000;
    daemon.fire();
    assert_eq!(daemon.standing()["one"]["value"], "a");
    daemon.log.set_full(false);
    daemon.run.now += 100;
    daemon.fire();
    assert_eq!(daemon.standing()["one"]["value"], "b");
    daemon.log.set_failed();
    assert_eq!(daemon.ask(begin).0["error"]["code"], "storage_failed");
}

#[test]
fn what_is_refused_for_the_disk_does_not_wait_for_it() {
    let mut daemon = Daemon::new(BEGIN, 1);
    daemon.adopt();
    let send = r#"{"op":"send","machine":"m","key":"one","event":{"type":"GO"}}"#;
    let get = r#"{"op":"get","machine":"m","key":"one"}"#;
    assert!(daemon.ask(send).1.is_some(), "its record is not durable");
    daemon.log.set_full(true);
    for (request, code) in [(send, "storage_full"), (get, "storage_failed"), (get, "storage_damaged")] {
        match code {
            "storage_failed" => daemon.log.set_failed(),
            "storage_damaged" => (0..PARTITIONS).for_each(|partition| {
                daemon.shards.of(partition).claim().set_damaged(partition, &Damaged("as the test wants it".to_owned()));
            }),
            _ => assert!(daemon.ask(get).1.is_some(), "a read tells of what is not durable"),
        }
        let (reply, mark) = daemon.ask(request);
        assert_eq!((reply["error"]["code"].as_str(), mark), (Some(code), None));
    }
}

#[test]
fn a_timer_that_comes_up_and_has_nothing_to_fire_is_not_recorded() {
    let mut daemon = Daemon::new(BEGIN, 1);
    daemon.adopt();
    daemon.ask(r#"{"op":"start","machine":"m","key":"one"}"#);
    for _ in 0..2 {
        daemon.ask(r#"{"op":"send","machine":"m","key":"one","event":{"type":"GO"}}"#);
    }
    // The wheel has the time of the state between, which is left.
    let recorded = daemon.log.pending_bytes();
    daemon.run.now += 400;
    daemon.fire();
    assert_eq!(daemon.log.pending_bytes(), recorded);
    daemon.run.now += 400;
    daemon.fire();
    assert!(daemon.log.pending_bytes() > recorded);
}
