//! Shards: where the instances live. A shard has one writer at a time, whoever claims it; the others leave their work in
//! its inbox. Partition `p` lives in shard `p mod shards`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use bytes::Bytes;
use hashbrown::HashTable;
use statemesh_engine::{Millis, TimerWheel};
use statemesh_expr::Str;
use statemesh_mesh::client_protocol::reply::Encoding;

use crate::arena::Arena;
use crate::counters::Counters;
use crate::instance::Entry;
use crate::stages::{Stage, Stopwatch};
use crate::subscribers::Change;
use statemesh_claim::{Claimed, Combining};

mod keys;
mod moving;
mod ops;
mod timers;

pub(crate) use moving::Moved;
pub(crate) use ops::{write_json, write_value};

/// Shards of a daemon: enough that two reactors seldom want the same one, few enough that looking at all is nothing.
const SHARDS: usize = 64;
/// Lists of requests that wait in one shard's inbox, each what a reactor had for it in one turn.
const INBOX: usize = 64;

/// A request left for whoever holds the shard.
#[derive(Debug)]
pub(crate) struct Job {
    /// The reactor that wants the answer.
    pub reactor: usize,
    /// The number under which it waits.
    pub correlation: u64,
    /// The key's partition.
    pub partition: u16,
    /// The request.
    pub request: Bytes,
    /// Runs on if the request is timed.
    pub watch: Option<Box<Stopwatch>>,
}

/// How running a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The reply is written, be it an error.
    Replied,
    /// The partition is not here; nothing happened.
    NotHeld,
}

/// What is bounded or wanted of a shard's work, the same for all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Partitions of the mesh.
    pub partitions: u16,
    /// Transitions remembered for each instance.
    pub history: usize,
    /// Instances of the whole daemon.
    pub instances: usize,
}

/// One shard.
#[derive(Debug)]
pub(crate) struct Shard {
    index: usize,
    state: Combining<State, Job>,
    /// Milliseconds at which the next timer is due.
    due: Arc<AtomicU64>,
}

impl Shard {
    /// Claims the shard, or says at once that somebody else has it.
    pub(crate) fn try_claim(&self) -> Option<Claimed<'_, State>> {
        self.state.try_claim()
    }

    /// Claims the shard for a thread that may wait: nobody holds it for longer than one request or one slice of timers.
    pub(crate) fn claim(&self) -> Claimed<'_, State> {
        loop {
            if let Some(claimed) = self.try_claim() {
                return claimed;
            }
            std::thread::yield_now();
        }
    }

    /// Its state, and what waits for it.
    pub(crate) fn desk(&self) -> &Combining<State, Job> {
        &self.state
    }

    /// Its number.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// When the next timer is due; `u64::MAX` if there is none.
    pub(crate) fn due(&self) -> u64 {
        self.due.load(Relaxed)
    }
}

/// All shards of a daemon.
#[derive(Debug)]
pub(crate) struct Shards {
    shards: Box<[Shard]>,
    instances: Arc<AtomicUsize>,
}

impl Shards {
    /// Empty shards for this many partitions.
    pub(crate) fn new(machines: &Arc<crate::machines::Machines>, rules: Rules) -> Self {
        let partitions = rules.partitions;
        let count = SHARDS.min(usize::from(partitions.max(1)));
        let instances = Arc::new(AtomicUsize::new(0));
        let shards = (0..count)
            .map(|index| {
                let due = Arc::new(AtomicU64::new(u64::MAX));
                let state = State {
                    index,
                    shards: count,
                    rules,
                    machines: Arc::clone(machines),
                    due: Arc::clone(&due),
                    total: Arc::clone(&instances),
                    partitions: (0..usize::from(partitions).div_ceil(count)).map(|_| Part::default()).collect(),
                    entries: Arena::default(),
                    wheel: TimerWheel::new(Millis(0)),
                    rearmed: false,
                    lost: HashMap::new(),
                    unread: Vec::new(),
                };
                Shard { index, state: Combining::new(state, INBOX), due }
            })
            .collect();
        Self { shards, instances }
    }

    /// The shard of a partition.
    pub(crate) fn of(&self, partition: u16) -> &Shard {
        // In range: the remainder is below the length, which is at least one.
        &self.shards[usize::from(partition) % self.shards.len()]
    }

    /// The shard of this number.
    pub(crate) fn get(&self, index: usize) -> Option<&Shard> {
        self.shards.get(index)
    }

    /// The shards whose timers this reactor minds.
    pub(crate) fn minded_by(&self, reactor: usize, reactors: usize) -> impl Iterator<Item = &Shard> {
        self.shards.iter().skip(reactor).step_by(reactors.max(1))
    }

    /// Instances of the daemon.
    pub(crate) fn instances(&self) -> usize {
        self.instances.load(Relaxed)
    }

    /// Instances by machine.
    pub(crate) fn by_machine(&self) -> BTreeMap<Arc<str>, u64> {
        let mut counts = BTreeMap::new();
        for shard in &self.shards {
            for (_, entry) in shard.claim().entries.iter() {
                *counts.entry(Arc::clone(&entry.version.name)).or_default() += 1;
            }
        }
        counts
    }

    /// Instances of a machine in the order of their keys, at most `limit` after the key `after`; and the key to go on
    /// after, if there are more.
    pub(crate) fn page(&self, machine: &str, after: Option<&str>, limit: usize) -> (Vec<Line>, Option<Str>) {
        let mut lines: BTreeMap<Str, Line> = BTreeMap::new();
        for shard in &self.shards {
            for (_, entry) in shard.claim().entries.iter() {
                let wanted = *entry.version.name == *machine && after.is_none_or(|after| *entry.key > *after);
                let beyond = lines.len() > limit && lines.last_key_value().is_some_and(|(last, _)| entry.key > *last);
                if !wanted || beyond {
                    continue;
                }
                lines.insert(entry.key.clone(), Line::of(entry));
                if lines.len() > limit + 1 {
                    lines.pop_last();
                }
            }
        }
        let more = lines.len() > limit;
        if more {
            lines.pop_last();
        }
        let next = if more { lines.last_key_value().map(|(key, _)| key.clone()) } else { None };
        (lines.into_values().collect(), next)
    }

    /// Instances by machine and state value, counted by looking at all of them, a shard at a time.
    pub(crate) fn census(&self) -> BTreeMap<(Arc<str>, Str), u64> {
        let mut census = BTreeMap::new();
        let mut value = Vec::new();
        for shard in &self.shards {
            let state = shard.claim();
            for (_, entry) in state.entries.iter() {
                value.clear();
                entry.write_value(&mut value, Encoding::Json);
                let text = Str::new(String::from_utf8_lossy(&value));
                *census.entry((Arc::clone(&entry.version.name), text)).or_default() += 1;
            }
        }
        census
    }
}

/// One instance in a list.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Its key.
    pub key: Str,
    /// Its state value, in JSON.
    pub value: Vec<u8>,
    /// Its status.
    pub status: &'static str,
    /// Its transitions.
    pub seq: u64,
}

impl Line {
    fn of(entry: &Entry) -> Self {
        let mut value = Vec::new();
        entry.write_value(&mut value, Encoding::Json);
        Self { key: entry.key.clone(), value, status: entry.instance.status().as_str(), seq: entry.instance.seq() }
    }
}

/// How a partition stands in its shard.
#[derive(Debug, Default)]
enum Phase {
    /// Not here.
    #[default]
    Away,
    /// Served here.
    Held,
    /// Instances of it arrive; it is served once all are there and the control plane says so.
    Arriving,
    /// Sent to another daemon, which has not said that it has it: kept, in parts, to be taken back.
    Sent(Vec<Vec<u8>>),
}

#[derive(Debug, Default)]
struct Part {
    phase: Phase,
    /// Numbers of its entries, found by the hash of `machine/key`.
    index: HashTable<u32>,
}

/// What a shard's holder may change.
#[derive(Debug)]
pub(crate) struct State {
    index: usize,
    shards: usize,
    rules: Rules,
    machines: Arc<crate::machines::Machines>,
    due: Arc<AtomicU64>,
    total: Arc<AtomicUsize>,
    partitions: Box<[Part]>,
    entries: Arena<Entry>,
    wheel: TimerWheel,
    /// Whether the wheel changed since the reactors were told when the next timer is due.
    rearmed: bool,
    /// Keys whose instance went with a dead owner and that nobody has asked for since, with their hashes.
    lost: HashMap<u64, u16>,
    /// Keys of instances that arrived and cannot be read, until their partition is served or sent back.
    unread: Vec<Fresh>,
}

/// A key that came into being.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fresh {
    /// Its partition.
    pub partition: u16,
    /// Its machine.
    pub machine: Arc<str>,
    /// The key.
    pub key: Str,
}

/// What runs leave for their reactor, and what they need of it.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// The daemon's clock, in milliseconds.
    pub now: u64,
    /// Somebody watches, so changes are worth encoding.
    pub watched: bool,
    /// Changes to publish, in order.
    pub changes: Vec<Arc<Change>>,
    /// Keys that came into being.
    pub(crate) fresh: Vec<Fresh>,
    /// Takes the time of the request that runs now, if it is timed.
    pub(crate) watch: Option<Stopwatch>,
    /// A shard whose next timer became more urgent.
    pub sooner_timer: Option<usize>,
    output: statemesh_engine::Output,
    scratch: Vec<u8>,
    events: u64,
    transitions: u64,
    created: u64,
    machine_errors: u64,
    timers_fired: u64,
    effects: u64,
    refused_instances: u64,
    error_code: Option<statemesh_mesh::client_protocol::error::ErrorCode>,
}

impl Run {
    /// A stage of the request that runs now has ended.
    pub(crate) fn lap(&mut self, stage: Stage) {
        if let Some(watch) = &mut self.watch {
            watch.lap(stage, Instant::now());
        }
    }

    /// Adds what was counted since the last time.
    pub(crate) fn count_into(&mut self, counters: &Counters) {
        for (count, cell) in [
            (&mut self.events, &counters.events),
            (&mut self.transitions, &counters.transitions),
            (&mut self.created, &counters.created),
            (&mut self.machine_errors, &counters.machine_errors),
            (&mut self.timers_fired, &counters.timers_fired),
            (&mut self.effects, &counters.effects),
            (&mut self.refused_instances, &counters.refused_instances),
        ] {
            if *count > 0 {
                cell.add(std::mem::take(count));
            }
        }
        if let Some(code) = self.error_code.take()
            && let Some(cell) = counters.errors.get(code as usize)
        {
            cell.add(1);
        }
    }
}

impl State {
    fn partition_count(&self) -> u16 {
        self.rules.partitions
    }

    fn part(&self, partition: u16) -> Option<&Part> {
        self.partitions.get(usize::from(partition) / self.shards)
    }

    fn part_mut(&mut self, partition: u16) -> Option<&mut Part> {
        self.partitions.get_mut(usize::from(partition) / self.shards)
    }

    /// Whether the partition is served here.
    pub(crate) fn holds(&self, partition: u16) -> bool {
        self.part(partition).is_some_and(|part| matches!(part.phase, Phase::Held))
    }
}
