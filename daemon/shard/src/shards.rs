//! Shards: where the instances live. A shard has one writer at a time, the thread that claims it; the others leave their work in
//! its inbox. Partition `p` lives in shard `p mod shards`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use hashbrown::HashTable;
use statemesh_claim::{Combining, Held};
use statemesh_expr::Str;
use statemesh_mesh::delivery::bounces::Bounces;
use statemesh_mesh::ownership::Winner;
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::key_index::{Key, KeyState, Told};
use statemesh_protocol::peer::frame::Path;
use statemesh_protocol::peer::ownership::HandoffNumber;
use statemesh_protocol::place::{self, Mark};
use statemesh_protocol::run::RunId;
use statemesh_protocol::tenure::{Tenure, Tenures, Trail};

use crate::arena::Arena;
use crate::change::Change;
use crate::dues::Dues;
use crate::feed::Feeds;
use crate::instance::Entry;
use crate::lives::{Lives, Origin};
use crate::log::Log;
use crate::machines::Machines;
use crate::marks::Marks;
use crate::removed::Removed;
use crate::stages::{Clock, Stage, Stopwatch};
use crate::unsaid_conflict::UnsaidConflict;

mod ended;
mod gate;
mod interest;
mod keys;
mod merging;
mod moving;
mod ops;
mod recording;
mod recovery;
mod removing;
mod replies;
mod timers;
mod walk;

use ended::EndedOnes;
use interest::Interests;
pub use interest::Waiter;
use merging::Merging;
pub use moving::{HandedOff, Received};
use recording::OnDisk;
pub use recovery::Damaged;
use timers::Timers;
pub use walk::{Bounds, Group, Kind, Line, Page, Place, Walk};

/// Shards of a daemon: enough that two reactors seldom want the same one, few enough that looking at all is nothing.
const SHARDS: usize = 64;
/// Lists of requests that wait in one shard's inbox, each what a reactor had for it in one turn.
const INBOX: usize = 64;

/// A request left for the thread that holds the shard.
#[derive(Debug)]
pub struct Job {
    /// The reactor that wants the answer.
    pub reactor: usize,
    /// The number under which it waits.
    pub correlation: u64,
    /// The key's partition.
    pub partition: u16,
    /// The reactor's round for the partition, for [`State::bounces`].
    pub round: u32,
    /// The links on which it came.
    pub path: Path,
    /// The request.
    pub request: Bytes,
    /// [`statemesh_protocol::request::Transit::uncertain`].
    pub uncertain: bool,
    /// Runs on if the request is timed.
    pub watch: Option<Box<Stopwatch>>,
}

/// How running a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The reply is written, be it an error. With a mark it must wait for that to be committed ([`crate::Waits`]).
    Replied(Option<Mark>),
    /// The partition is not here; nothing happened.
    NotHeld,
}

/// What is bounded or wanted of a shard's work, the same for all of them.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Partitions of the mesh.
    pub partitions: u16,
    /// Transitions remembered for each instance.
    pub history: usize,
    /// Instances of the whole daemon.
    pub instances: usize,
    /// Bytes of a dedup token.
    pub dedup_bytes: usize,
    /// Bytes of one reply.
    pub output_bytes: usize,
    /// Bytes of changes that wait for one reactor.
    pub feed_bytes: usize,
    /// Removed instances of the whole daemon whose dedup tokens are kept.
    pub removed: usize,
    /// Keys of the whole daemon of which it is still to be said that something was lost.
    pub marks: usize,
    /// For how long they are, in milliseconds.
    pub dedup_for_ms: u64,
    /// For how long an instance that has ended is kept, in milliseconds, where its machine does not say.
    pub keep_ms: u64,
}

/// One shard.
#[derive(Debug)]
pub struct Shard {
    index: usize,
    state: Combining<State, Job>,
    dues: Arc<Dues>,
}

impl Shard {
    /// Claims the shard, or says at once that another thread has it.
    pub fn try_claim(&self) -> Option<Held<'_, State, Job>> {
        self.state.try_claim()
    }

    /// Claims the shard for a thread that may wait: no thread holds it for longer than one request or one slice of timers.
    pub fn claim(&self) -> Held<'_, State, Job> {
        loop {
            if let Some(claimed) = self.try_claim() {
                return claimed;
            }
            std::thread::yield_now();
        }
    }

    /// Its state, and what waits for it.
    pub fn combiner(&self) -> &Combining<State, Job> {
        &self.state
    }

    /// Its number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// When the next timer is due; `u64::MAX` if there is none.
    pub fn due(&self) -> u64 {
        self.dues.get(self.index)
    }
}

/// All shards of a daemon.
#[derive(Debug)]
pub struct Shards {
    shards: Box<[Shard]>,
    instances: Arc<AtomicUsize>,
    removed: Arc<AtomicUsize>,
    marks: Arc<AtomicUsize>,
    /// Members that this daemon has met.
    met: Arc<AtomicU64>,
    feeds: Arc<Feeds>,
    dues: Arc<Dues>,
    origin: Origin,
    partitions: u16,
    log: Option<Arc<Log>>,
}

impl Shards {
    /// Empty shards, whose changes so many reactors publish, and which keep all in memory.
    pub fn new(machines: &Arc<Machines>, rules: Rules, reactors: usize, origin: Origin) -> Self {
        Self::with_log(machines, rules, reactors, origin, None)
    }

    /// The same, of a daemon with a volume: what durable instances do goes into this log.
    pub fn with_log(
        machines: &Arc<Machines>,
        rules: Rules,
        reactors: usize,
        origin: Origin,
        log: Option<Arc<Log>>,
    ) -> Self {
        let partitions = rules.partitions;
        let count = Self::count_of(partitions);
        let instances = Arc::new(AtomicUsize::new(0));
        let [removed, marks] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let met = Arc::new(AtomicU64::new(0));
        let feeds = Arc::new(Feeds::new(reactors, rules.feed_bytes));
        let dues = Arc::new(Dues::new(count, reactors));
        let daemon = Daemon {
            rules,
            shards: count,
            machines: Arc::clone(machines),
            dues: Arc::clone(&dues),
            instances: Arc::clone(&instances),
            feeds: Arc::clone(&feeds),
            log: log.clone(),
        };
        let shards = (0..count)
            .map(|index| {
                let state = State {
                    bounces: Bounces::default(),
                    index,
                    daemon: daemon.clone(),
                    partitions: (0..usize::from(partitions).div_ceil(count)).map(|_| Part::default()).collect(),
                    entries: Arena::default(),
                    trails: BTreeMap::new(),
                    timers: Timers::default(),
                    marks: Marks::new(rules.marks, Arc::clone(&marks), Arc::clone(&met)),
                    idle: 0,
                    unread: Vec::new(),
                    lives: Lives::new(origin, index),
                    removed: Removed::new(rules.removed / count, Arc::clone(&removed)),
                    ended: EndedOnes::default(),
                    interests: Interests::default(),
                };
                Shard { index, state: Combining::new(state, INBOX), dues: Arc::clone(&dues) }
            })
            .collect();
        Self { shards, instances, removed, marks, met, feeds, dues, origin, partitions, log }
    }

    /// The shard of a partition.
    pub fn of(&self, partition: u16) -> &Shard {
        // In range: the remainder is below the length, which is at least one.
        &self.shards[usize::from(partition) % self.shards.len()]
    }

    /// The shard of this number.
    pub fn get(&self, index: usize) -> Option<&Shard> {
        self.shards.get(index)
    }

    /// The shards whose timers this reactor minds.
    pub fn minded_by(&self, reactor: usize, reactors: usize) -> impl Iterator<Item = &Shard> {
        self.shards.iter().skip(reactor).step_by(reactors.max(1))
    }

    /// When the next timer of all that this reactor minds is due; `u64::MAX` if there is none.
    pub fn earliest(&self, reactor: usize) -> u64 {
        self.dues.earliest(reactor)
    }

    /// Instances of the daemon.
    pub fn instances(&self) -> usize {
        self.instances.load(Relaxed)
    }

    /// Milliseconds since 1970 when the daemon's clock stands at `now`: for people, and for no decision about who serves what.
    pub fn unix_ms(&self, now: u64) -> u64 {
        self.origin.unix_ms.wrapping_add(now)
    }

    /// Removed instances whose dedup tokens are kept.
    pub fn removed(&self) -> usize {
        self.removed.load(Relaxed)
    }

    /// Keys of which it is still to be said that something was lost.
    pub fn marks(&self) -> usize {
        self.marks.load(Relaxed)
    }

    /// This daemon meets a member, which may know more of what is lost than was said here.
    pub fn meet(&self) {
        self.met.fetch_add(1, Relaxed);
    }

    /// How far a place has come. In memory there is nothing to commit.
    pub fn committed(&self, place: place::Place) -> Mark {
        let index = self.log.as_ref().map_or(u64::MAX, |log| log.committed(place.partition));
        Mark { place, index }
    }

    /// How many shards a daemon has whose mesh has so many partitions.
    #[must_use]
    pub fn count_of(partitions: u16) -> usize {
        SHARDS.min(usize::from(partitions.max(1)))
    }

    /// The partitions of the shard of this number.
    pub fn partitions_of(&self, shard: usize) -> impl Iterator<Item = u16> {
        let first = u16::try_from(shard).unwrap_or(u16::MAX);
        (first..self.partitions).step_by(self.shards.len().max(1))
    }

    /// How many shards there are.
    pub fn count(&self) -> usize {
        self.shards.len()
    }

    /// Where the records of durable instances go, if there is a volume.
    pub fn log(&self) -> Option<&Arc<Log>> {
        self.log.as_ref()
    }

    /// What the reactors have to publish.
    pub fn feeds(&self) -> &Feeds {
        &self.feeds
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
    Receiving,
    /// Sent to another daemon, which has not said that it has it: kept, in parts, to be taken back.
    Sent {
        /// When, by the daemon's clock.
        at: u64,
        /// What was sent.
        parts: Vec<Vec<u8>>,
    },
    /// A copy is here, but others may have adopted the partition: it is neither served, nor do its timers fire.
    Suspended,
}

/// Where to find an instance: hash and key are compared only if these bits of the hash are the same.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    number: u32,
}

/// A hand-off whose parts are taken.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    number: HandoffNumber,
    /// Whose state of a key wins that both copies have; none if there is no copy here.
    merge: Option<Winner>,
}

#[derive(Debug, Default)]
struct Part {
    phase: Phase,
    /// What is expected of another daemon, beside what is here.
    incoming: Option<Incoming>,
    /// Its entries, found by the hash of `machine/key`.
    index: HashTable<Slot>,
    /// Which copy it is.
    tenures: Tenures,
    /// What is known of another copy that is being merged into it.
    merging: Merging,
    /// How far its durable instances have come.
    on_disk: OnDisk,
    /// How many notes there were of its keys.
    notes: u64,
}

/// What the shards of a daemon have in common.
#[derive(Clone, Debug)]
struct Daemon {
    rules: Rules,
    /// How many shards there are.
    shards: usize,
    machines: Arc<Machines>,
    dues: Arc<Dues>,
    /// Instances of all shards.
    instances: Arc<AtomicUsize>,
    feeds: Arc<Feeds>,
    /// Where records of durable instances go; without a volume there are none.
    log: Option<Arc<Log>>,
}

/// What a shard's holder may change.
#[derive(Debug)]
pub struct State {
    /// Reactors whose requests for a partition went back to them.
    pub bounces: Bounces,
    index: usize,
    daemon: Daemon,
    partitions: Box<[Part]>,
    entries: Arena<Entry>,
    /// By the numbers of instances that came from elsewhere: their life then, and in which copies it had made its transitions.
    trails: BTreeMap<u32, (RunId, Trail)>,
    timers: Timers,
    /// Keys about which the next reply has something to say.
    marks: Marks,
    /// How many partitions are suspended, or arrive: their timers do not fire.
    idle: usize,
    /// Keys of instances that arrived and cannot be read, until their partition is served or sent back.
    unread: Vec<Fresh>,
    lives: Lives,
    removed: Removed,
    ended: EndedOnes,
    interests: Interests,
}

/// A key that came into being, or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Its partition.
    pub partition: u16,
    /// Its machine.
    pub machine: Arc<str>,
    /// The key.
    pub key: Str,
    /// The life of its instance.
    pub run: RunId,
}

/// What the standbys of a partition have to know since it has become so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyNote {
    /// The partition.
    pub partition: u16,
    /// Counts those of the partition, from the time at which the process began.
    pub number: u64,
    /// What has become so.
    pub known: KnownKey,
}

impl KeyNote {
    /// Appends it to an index.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.known.encode(self.partition, self.number, out);
    }
}

/// All keys of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKeys {
    /// The number of the last note that they follow from.
    pub number: u64,
    /// The keys.
    pub keys: Vec<KnownKey>,
}

/// A key of a partition, as members tell it to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownKey {
    /// It has an instance.
    Live {
        /// Its machine.
        machine: Arc<str>,
        /// The key.
        key: Str,
        /// The life of its instance.
        run: RunId,
        /// The copy of its partition.
        tenure: Tenure,
    },
    /// Its instance was removed.
    Removed {
        /// Its machine.
        machine: Arc<str>,
        /// The key.
        key: Str,
        /// The life of its instance.
        run: RunId,
        /// The copy of its partition.
        tenure: Tenure,
    },
    /// Its instance was lost, which no reply has said.
    Lost(LostLife),
    /// What was told to be lost was not.
    NotLost(LostLife),
    /// Some of it is gone, which no reply has said.
    Unsaid(UnsaidConflict),
    /// What was told to be unsaid is not: a reply said it, or it is void.
    Said(UnsaidConflict),
}

/// A life that was lost, which no reply has said: only the hash of `machine/key` is needed for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostLife {
    /// The hash of `machine/key`.
    pub hash: u64,
    /// The life.
    pub run: RunId,
    /// The copy that had it: where that is after all, the life is there, or has ended.
    pub tenure: Tenure,
}

impl Part {
    /// Whether all is here that was done in a tenure, or comes with the copy that is being merged.
    fn has(&self, tenure: Tenure) -> bool {
        self.tenures.has(tenure) || self.merging.coming.has(tenure)
    }
}

impl LostLife {
    fn encode(&self, partition: u16, number: u64, state: KeyState, out: &mut Vec<u8>) {
        let Self { hash, run, tenure } = *self;
        let key = Key { partition, machine: "", key: &format!("{hash:016x}"), run, state, tenure, number };
        Told::Key(key).encode(out);
    }
}

impl KnownKey {
    /// Appends it to an index, as of this number.
    pub fn encode(&self, partition: u16, number: u64, out: &mut Vec<u8>) {
        let named =
            |machine, key, run, state, tenure| Told::Key(Key { partition, machine, key, run, state, tenure, number });
        match self {
            Self::Live { machine, key, run, tenure } => named(machine, key, *run, KeyState::Live, *tenure).encode(out),
            Self::Removed { machine, key, run, tenure } => {
                named(machine, key, *run, KeyState::Removed, *tenure).encode(out);
            }
            Self::Lost(life) => life.encode(partition, number, KeyState::Lost, out),
            Self::NotLost(life) => life.encode(partition, number, KeyState::Removed, out),
            Self::Unsaid(unsaid) => unsaid.encode(partition, number, KeyState::Lost, out),
            Self::Said(unsaid) => unsaid.encode(partition, number, KeyState::Removed, out),
        }
    }
}

/// What runs leave for their reactor, and what they need of it.
#[derive(Debug)]
pub struct Run {
    /// The daemon's clock, in milliseconds.
    pub now: u64,
    /// The control plane has not looked around lately (`statemesh_mesh::lease`): nothing is served, since others may have adopted
    /// what is here.
    pub lease_is_over: bool,
    /// There are watchers, so changes are worth encoding.
    pub watched: bool,
    /// What standbys have to know: keys that came into being or were removed; whose instances are lost, or of which some is gone, and no
    /// reply has said it; that are not lost after all; of which a reply has said it by now.
    pub notes: Vec<KeyNote>,
    /// Takes the time of the request that runs now, if it is timed.
    pub watch: Option<Stopwatch>,
    /// A shard whose next timer became more urgent.
    pub sooner_timer: Option<usize>,
    /// Reactors that have changes to publish, once the shard is let go.
    pub publish: Vec<usize>,
    /// There are records for the journal.
    pub recorded: bool,
    /// Who hears of the next change of the instance that the request is about that runs now.
    pub waiter: Option<Waiter>,
    /// Requests that wait for an instance that has changed.
    pub woken: Vec<Waiter>,
    /// There are nearly as many instances as there may be: some that have ended may make room.
    pub wants_room: bool,
    /// What was counted since the last time.
    pub counts: Counts,
    /// Laps are read from it.
    pub clock: Clock,
    step: StepOutput,
}

/// What the step that runs now puts out; its buffers serve the next one too.
#[derive(Debug, Default)]
struct StepOutput {
    engine: statemesh_engine::Output,
    /// Changes, until they leave by the gate.
    changes: Vec<Arc<Change>>,
    /// For what is encoded in between.
    scratch: Vec<u8>,
    /// It is about a durable instance: what leaves must be committed first.
    is_durable: bool,
}

/// What runs counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events run on instances.
    pub events: u64,
    /// Events that changed their instance.
    pub transitions: u64,
    /// Instances that came into being.
    pub created: u64,
    /// Instances that do not do as they should.
    pub troubles: Troubles,
    /// Timers that came due.
    pub timers_fired: u64,
    /// Effects told to watchers.
    pub effects: u64,
    /// Changes published.
    pub changes: u64,
    /// Instances not created, there being as many as there may be.
    pub refused_instances: u64,
    /// Replies and steps refused for the bytes that they would put out.
    pub refused_outputs: u64,
    /// Keys of which two states met and one was lost, or of whose instance something is gone with an owner.
    pub conflicts: u64,
    /// Instances that are gone: with their owner, or since they could not be read.
    pub lost: u64,
    /// Instances that were removed.
    pub removed: u64,
    /// What was forgotten for want of room.
    pub forgotten: Forgotten,
    /// The code of the last request that was refused.
    pub error_code: Option<ErrorCode>,
}

/// Instances that do not do as they should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Troubles {
    /// They went into status error.
    pub errors: u64,
    /// They became stuck: the step of a timer hit a limit.
    pub stuck: u64,
    /// They were made to wait, as their timers led to each other without time passing.
    pub restless: u64,
}

/// What runs forgot for want of room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Removed instances whose tokens were forgotten before their time.
    pub tokens: u64,
    /// Keys of which it was not said what was lost.
    pub marks: u64,
}

impl Counts {
    /// As it was before a step that left nothing behind but its refusal.
    pub(crate) fn take_back(&mut self, before: Self) {
        *self = Self { refused_outputs: self.refused_outputs, ..before };
    }

    /// Whether anything was counted that most requests do not bring about.
    #[inline]
    #[must_use]
    pub fn has_rare(&self) -> bool {
        let Self { created, troubles, timers_fired, effects, changes, .. } = self;
        let Self { refused_instances, refused_outputs, conflicts, lost, removed, forgotten, .. } = self;
        let Troubles { errors, stuck, restless } = troubles;
        let steps = created | errors | stuck | restless | timers_fired | effects | changes;
        let Forgotten { tokens, marks } = forgotten;
        steps | refused_instances | refused_outputs | conflicts | lost | removed | tokens | marks > 0
    }
}

impl Run {
    /// Before the first request; laps are read from `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            now: 0,
            lease_is_over: false,
            watched: false,
            notes: Vec::new(),
            watch: None,
            sooner_timer: None,
            publish: Vec::new(),
            recorded: false,
            waiter: None,
            woken: Vec::new(),
            wants_room: false,
            counts: Counts::default(),
            clock,
            step: StepOutput::default(),
        }
    }

    /// A stage of the request that runs now has ended.
    pub fn lap(&mut self, stage: Stage) {
        if let Some(watch) = &mut self.watch {
            watch.lap(stage, self.clock.now());
        }
    }
}

impl State {
    fn partition_count(&self) -> u16 {
        self.daemon.rules.partitions
    }

    fn part(&self, partition: u16) -> Option<&Part> {
        self.partitions.get(usize::from(partition) / self.daemon.shards)
    }

    fn part_mut(&mut self, partition: u16) -> Option<&mut Part> {
        self.partitions.get_mut(usize::from(partition) / self.daemon.shards)
    }

    /// For each partition of this shard, in the order of [`Shards::partitions_of`], whether there is a copy of it here, served or not,
    /// whole or not; and whether it is served.
    pub fn standings(&self) -> impl Iterator<Item = (bool, bool)> {
        self.partitions.iter().map(|part| (!matches!(part.phase, Phase::Away), matches!(part.phase, Phase::Held)))
    }

    /// Whether the partition is served here.
    pub fn holds(&self, partition: u16) -> bool {
        self.part(partition).is_some_and(|part| matches!(part.phase, Phase::Held))
    }
}
