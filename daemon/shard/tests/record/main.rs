//! What a shard keeps of an instance, as requests see it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

mod changes;
mod conditions;
mod copies;
mod dedup;
mod list;
mod refused;
mod removing;
mod stuck;
mod told;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use statemesh_engine::{Limits, Machine};
use statemesh_mesh::key_index::LostKey;
use statemesh_protocol::hash;
use statemesh_protocol::reply::Encoding;
use statemesh_protocol::request::Request;
use statemesh_shard::machines::{Machines, Version};
use statemesh_shard::{Change, Clock, Origin, Outcome, Rules, Run, Shards};

/// `BAD` and the timer of state `late` raise more events than `raised_max` allows.
const SOURCE: &str = r#"{"id":"m","initial":"a","context":{"n":0},"states":{
    "a":{"on":{"GO":"b","END":"end","LATE":"late","BAD":{"actions":[
            {"type":"@xstate.raise","event":{"type":"X"}},{"type":"@xstate.raise","event":{"type":"X"}}]},
          "SUB":{"actions":{"type":"@xstate.assign","context":{"n":{"@expr":"context.n - event.n"}}}},"WAIT":"wait","SPIN":"spin",
          "NOTE":{"actions":[
            {"type":"note","params":{"text":{"@expr":"event.text"}}},{"type":"note","params":{"text":{"@expr":"event.text"}}},
            {"type":"note","params":{"text":{"@expr":"event.text"}}},{"type":"note","params":{"text":{"@expr":"event.text"}}}]},
          "ADD":{"actions":{"type":"@xstate.assign","context":{"n":{"@expr":"event.n"}}}}},
         "after":{"60000":"b"}},
    "b":{"tags":["late"],"on":{"GO":"a","OPEN":"late","NEVER":{}}},
    "late":{"on":{"GO":"a"},"after":{"1000":{"actions":[
            {"type":"@xstate.raise","event":{"type":"X"}},{"type":"@xstate.raise","event":{"type":"X"}}]},
            "2000":"b"}},
    "wait":{"after":{"1000":{"actions":{"type":"@xstate.assign","context":{"n":{"@expr":"context.no"}}}}}},
    "spin":{"on":{"GO":"a"},"after":{"0":"spun"}},"spun":{"on":{"GO":"a"},"after":{"0":"spin"}},
    "end":{"type":"final"}}}"#;

/// Bytes of one reply.
const OUTPUT_BYTES: usize = 4_096;

/// Bytes that one step puts out.
const STEP_BYTES: usize = 16_384;

/// The shards of a daemon that has one partition and the machine `m`.
pub(crate) struct Daemon {
    pub(crate) shards: Shards,
    pub(crate) machines: Arc<Machines>,
    pub(crate) run: Run,
}

thread_local! {
    static SEED: Cell<u64> = const { Cell::new(7) };
}

impl Daemon {
    pub(crate) fn new() -> Self {
        let machines = Arc::new(Machines::default());
        let limits = Limits { raised_max: 1, output_bytes_max: STEP_BYTES, ..Limits::default() };
        let machine = Machine::compile(SOURCE.as_bytes(), &limits, &|_| None).unwrap().machine;
        machines.add(Version::new("m".into(), *machine.hash(), 1, machine));
        let rules = Rules {
            partitions: 1,
            history: 4,
            instances: 1_000,
            dedup_bytes: 64,
            output_bytes: OUTPUT_BYTES,
            feed_bytes: 1 << 20,
            removed: 4,
            marks: 64,
            dedup_for_ms: 300_000,
            keep_ms: 3_600_000,
        };
        // No two daemons of a test give the same numbers to their lives.
        let seed = SEED.replace(SEED.get() + 1);
        let shards = Shards::new(&machines, rules, 2, Origin { unix_ms: 1_800_000_000_000, seed });
        shards.feeds().of(0).unwrap().set_watched(true);
        let mut run = Run::new(Clock::new(Instant::now));
        run.watched = true;
        shards.of(0).try_claim().unwrap().adopt(0, &[], &mut run);
        Self { shards, machines, run }
    }

    pub(crate) fn ask(&mut self, request: &str) -> Value {
        self.take(&Request::parse(request.as_bytes(), Encoding::Json).unwrap())
    }

    /// What a daemon sends again by itself, having lost who had it.
    pub(crate) fn ask_again(&mut self, request: &str) -> Value {
        let mut request = Request::parse(request.as_bytes(), Encoding::Json).unwrap();
        request.transit.uncertain = true;
        self.take(&request)
    }

    fn take(&mut self, request: &Request<'_>) -> Value {
        let mut reply = Vec::new();
        let hash = hash::key_hash(&request.machine, &request.key);
        let outcome = self.shards.of(0).try_claim().unwrap().run(request, hash, 0, &mut self.run, &mut reply);
        assert_eq!(outcome, Outcome::Replied(None));
        serde_json::from_slice(&reply).unwrap()
    }

    /// Sends an event, with what else the request has.
    pub(crate) fn send(&mut self, key: &str, event: &str, rest: &str) -> Value {
        self.ask(&format!(r#"{{"op":"send","machine":"m","key":"{key}","event":{{"type":"{event}"}}{rest}}}"#))
    }

    pub(crate) fn op(&mut self, op: &str, key: &str, rest: &str) -> Value {
        self.ask(&format!(r#"{{"op":"{op}","machine":"m","key":"{key}"{rest}}}"#))
    }

    /// What was published since the last time.
    pub(crate) fn published(&mut self) -> Vec<Value> {
        self.run.publish.clear();
        let mut changes = Vec::new();
        self.shards.feeds().of(0).unwrap().drain(|_, change| changes.push(map_of(&change)));
        changes
    }

    /// Packs its partition, in one part unless that is large, and keeps it.
    pub(crate) fn hand_off(&mut self) -> Vec<Vec<u8>> {
        self.shards.of(0).try_claim().unwrap().hand_off(0, 1_000, &mut self.run).1
    }

    /// Adopts the partition after one that died with these keys.
    pub(crate) fn adopt(&mut self, lost: &[LostKey]) {
        self.shards.of(0).try_claim().unwrap().adopt(0, lost, &mut self.run);
    }

    /// Mourns one that died with these keys.
    pub(crate) fn mourn(&mut self, lost: &[LostKey]) {
        self.shards.of(0).try_claim().unwrap().mourn(0, lost, &mut self.run);
    }

    /// Serves its copy again; these keys went with one that died.
    pub(crate) fn reopen(&mut self, lost: &[LostKey]) {
        self.shards.of(0).try_claim().unwrap().reopen(0, lost, &mut self.run);
    }

    /// Takes over a partition that another daemon sent in these parts, and serves it.
    pub(crate) fn receive(&mut self, parts: &[Vec<u8>]) {
        let mut state = self.shards.of(0).try_claim().unwrap();
        state.receive(0, 1, None, &mut self.run);
        for part in parts {
            assert_eq!(state.receive_part(0, 1, part, true, &mut self.run).unwrap().rejected, 0);
        }
        state.serve(0, &mut self.run);
    }

    /// One turn's worth of timers.
    pub(crate) fn fire(&mut self, now: u64, budget: usize) -> usize {
        self.shards.of(0).try_claim().unwrap().fire(now, budget, &mut self.run)
    }
}

fn map_of(change: &Change) -> Value {
    rmp_serde::from_slice(&change.body).unwrap()
}

pub(crate) fn code(reply: &Value) -> &str {
    reply["error"]["code"].as_str().unwrap_or("ok")
}
