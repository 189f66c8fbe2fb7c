//! A daemon's storage without the daemon: a few places in two shards, their journal and checkpoints over a virtual disk, and beside them
//! a model that has no disk. After each crash what is read back is compared with the model.

use std::collections::{BTreeMap, VecDeque};

use statemesh_journal::checkpoint::{self, Checkpoint, CheckpointError, CheckpointWriter};
use statemesh_journal::journal::{Config, Input, Journal, Output};
use statemesh_journal::recover::Event;
use statemesh_journal::replay::{Progress, Replay, Verdict};
use statemesh_journal::segments::{OpenError, Segments};
use statemesh_journal::testing::{Chance, Faults, SimDisk};
use statemesh_journal::volume::{self, Opened, VolumeError, Who};
use statemesh_protocol::place::{StoredPlace, StoredTier};
use statemesh_protocol::record::{Fields, Kind, NewSection, Part, Record, RecordHead, SectionHead, StoredImage, Value};

pub(crate) const WHO: Who<'static> = Who { mesh: "m", member: "a", partitions: 4, shards: 2 };
const PLACES: u16 = 4;
const SHARDS: u16 = 2;
const KEYS: u64 = 6;

pub(crate) fn config() -> Config {
    Config {
        segment_bytes: 96 * 1024,
        batch_bytes: 16 * 1024,
        alone_bytes: 6 * 1024,
        gather_bytes: 64 * 1024,
        ahead: 2,
        idle_ms: 10,
        retry_ms: 50,
    }
}

/// What a key has: the index of its last record, and that record's number.
type Keys = BTreeMap<u64, (u64, u64)>;

/// A place without a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModelPlace {
    /// Each record's key and number; the first has index 1.
    history: Vec<(u64, u64)>,
    /// Index up to which the journal said that it is durable.
    acknowledged: u64,
}

impl ModelPlace {
    fn keys_at(&self, index: u64) -> Keys {
        let taken = self.history.iter().take(index as usize).zip(1..);
        taken.map(|((key, number), index)| (*key, (index, *number))).collect()
    }
}

/// What came of a start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// All that was acknowledged is there.
    Whole,
    /// Less than that, and nothing said so: only after a lie of the disk.
    Short,
    /// Something is lost or unreadable, and it was said.
    Said(String),
    /// The power went again.
    Off,
}

/// The storage of a daemon, and its model.
pub(crate) struct Rig {
    pub(crate) disk: SimDisk,
    pub(crate) chance: Chance,
    pub(crate) now: u64,
    number: u64,
    pub(crate) model: Vec<ModelPlace>,
    running: Option<Running>,
    pub(crate) seen: Seen,
}

/// What a run has come upon.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) batches: u64,
    pub(crate) empty_batches: u64,
    pub(crate) recycled: u64,
    pub(crate) removed: u64,
    pub(crate) full: u64,
    pub(crate) stopped: u64,
    pub(crate) checkpoints: u64,
    pub(crate) too_early: u64,
    pub(crate) replayed: u64,
    pub(crate) left_out: u64,
    pub(crate) set_aside: u64,
    pub(crate) lost: u64,
    pub(crate) spared_shards: u64,
}

struct Running {
    volume: u64,
    journal: Journal,
    segments: Segments<SimDisk>,
    /// Records that wait for their batch: its lsn, place and index.
    waiting: VecDeque<(u64, usize, u64)>,
    /// Completions that come later.
    later: VecDeque<(u64, Input<'static>)>,
    preparing: Option<(u64, Input<'static>)>,
    replay_from: BTreeMap<u16, u64>,
    is_full: bool,
    _lock: statemesh_journal::testing::SimLock,
}

fn place(number: usize) -> StoredPlace {
    StoredPlace { tier: StoredTier::Disk, partition: number as u16 }
}

fn value(number: u64) -> Vec<u8> {
    [&[0xcf][..], &number.to_be_bytes()].concat()
}

/// A record whose bytes all follow from its number.
pub(crate) fn record(
    place_number: usize,
    index: u64,
    at: u64,
    key: u64,
    number: u64,
    padding: usize,
    out: &mut Vec<u8>,
) {
    let head = RecordHead { place: place(place_number), index, term: 0, at, kind: Kind::Step, key_hash: key };
    let filler: Vec<u8> = (0..padding).map(|byte| (byte as u64 ^ number) as u8).collect();
    head.write(out, |parts| {
        parts.part(&Part::Journal(Value(&value(number)))).part(&Part::Auxiliary(&filler));
    });
}

impl Rig {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::new(seed ^ 0x5eed),
            chance: Chance::new(seed),
            now: 1_000,
            number: 0,
            model: vec![ModelPlace::default(); usize::from(PLACES)],
            running: None,
            seen: Seen::default(),
        }
    }

    /// The power goes, and comes back; or only the process ends. Faults go on.
    pub(crate) fn crash(&mut self) {
        self.running = None;
        if self.chance.per_mille(500) {
            self.disk.kill();
        } else {
            self.disk.power_on();
        }
    }

    /// Reads everything back and compares it with the model.
    pub(crate) fn start(&mut self) -> Start {
        match self.try_start() {
            Ok(start) => start,
            Err(_) if self.disk.is_off() => Start::Off,
            Err(said) => Start::Said(said),
        }
    }

    fn try_start(&mut self) -> Result<Start, String> {
        let opened = volume::open(&self.disk, &WHO).map_err(|error| said(&error))?;
        let volume = match opened {
            Opened::Volume(volume) => volume,
            Opened::Blank(blank) => {
                let random = self.chance.any();
                volume::create(&self.disk, blank, &WHO, random).map_err(|error| said(&error))?
            }
        };
        let mut keys = vec![Keys::default(); usize::from(PLACES)];
        let mut replay = Replay::new(SHARDS, shard_of);
        for checkpoint in self.checkpoints(volume.id.volume)?.values() {
            load(checkpoint, &mut replay, &mut keys);
        }
        let (from, covered) = replay.needs();
        let mut segments = Segments::new(self.disk.clone(), &config());
        let mut seen = self.seen;
        let recovered = segments.recover(volume.id.volume, from, covered, &mut |event| match event {
            Event::Batch(_, payload) => apply(payload, &mut replay, &mut keys, &mut seen),
            Event::Lost(lsns) => replay.lost(lsns),
        });
        let recovered = recovered.map_err(|error: OpenError| error.to_string())?;
        self.seen = seen;
        self.seen.lost += recovered.lost.len() as u64;
        let is_whole = |shard: &u16| replay.lost_of(*shard).next().is_none();
        let read: Vec<_> = (0..usize::from(PLACES)).map(|number| replay.progress(place(number))).collect();
        let short = self.compare(&read, &keys, is_whole);
        if !(0..SHARDS).all(|shard| is_whole(&shard)) {
            self.seen.spared_shards += u64::from((0..SHARDS).any(|shard| is_whole(&shard)));
            return Ok(Start::Said(format!("lost {:?}", recovered.lost)));
        }
        self.now = self.now.max(recovered.mesh_time);
        for (model, read) in self.model.iter_mut().zip(&read) {
            model.history.truncate(read.index as usize);
            // From now on it is served.
            model.acknowledged = read.index;
        }
        self.running = Some(Running {
            volume: volume.id.volume,
            journal: Journal::new(config(), recovered.start),
            segments,
            waiting: VecDeque::new(),
            later: VecDeque::new(),
            preparing: None,
            replay_from: (0..SHARDS).map(|shard| (shard, replay.replay_from(shard))).collect(),
            is_full: false,
            _lock: volume.lock,
        });
        Ok(if short { Start::Short } else { Start::Whole })
    }

    fn checkpoints(&mut self, volume: u64) -> Result<BTreeMap<u16, Checkpoint>, String> {
        statemesh_journal::storage::sweep(&self.disk, checkpoint::FOLDER).map_err(|error| error.to_string())?;
        let mut found = BTreeMap::new();
        for (shard, lsns) in checkpoint::list(&self.disk).map_err(|error| error.to_string())? {
            let aside = &mut self.seen.set_aside;
            let newest = checkpoint::newest(&self.disk, volume, shard, &lsns, |_, _| *aside += 1);
            found.extend(newest.map_err(|error| error.to_string())?.map(|newest| (shard, newest)));
        }
        Ok(found)
    }

    /// Every place is as its history was at the index that was read back. Gives whether one is behind what was acknowledged.
    fn compare(&self, read: &[Progress], keys: &[Keys], is_whole: impl Fn(&u16) -> bool) -> bool {
        let mut short = false;
        for (number, (read, model)) in read.iter().zip(&self.model).enumerate() {
            if !is_whole(&shard_of(place(number))) {
                continue;
            }
            assert_eq!(read.missing, None, "place {number} has a gap");
            assert!(read.index <= model.history.len() as u64, "place {number} has records that nobody made");
            assert_eq!(keys[number], model.keys_at(read.index), "place {number} at {}", read.index);
            short |= read.index < model.acknowledged;
        }
        short
    }

    /// Runs for so many steps, or until the power goes or the journal stops. Gives whether it can go on.
    pub(crate) fn run(&mut self, steps: u64) -> bool {
        for _ in 0..steps {
            self.now += self.chance.below(4);
            let takes = self.running.as_ref().is_some_and(|running| !running.is_full && running.journal.room() > 0);
            match self.chance.below(40) {
                0..24 if takes => self.append(),
                24 => self.checkpoint(),
                _ => self.tell(Input::Time),
            }
            self.complete();
            if self.disk.is_off() || self.running.is_none() {
                return false;
            }
        }
        true
    }

    /// Lets everything that was taken become durable, and the empty batch behind it.
    pub(crate) fn settle(&mut self) -> bool {
        for _ in 0..2_000 {
            let Some(running) = &self.running else { return false };
            if running.journal.is_settled() && running.journal.next_deadline().is_none() && running.preparing.is_none()
            {
                return true;
            }
            self.now += 1 + self.chance.below(20);
            self.tell(Input::Time);
            self.complete();
        }
        false
    }

    fn append(&mut self) {
        let mut bytes = Vec::new();
        let mut made = Vec::new();
        for _ in 0..=self.chance.below(6) {
            let number = self.chance.below(u64::from(PLACES)) as usize;
            let padding = [0, 20, 600, 9_000][[0, 0, 0, 1, 1, 1, 2, 2, 2, 3][self.chance.below(10) as usize]];
            let key = self.chance.below(KEYS);
            self.number += 1;
            let model = &mut self.model[number];
            model.history.push((key, self.number));
            let index = model.history.len() as u64;
            record(number, index, self.now, key, self.number, padding, &mut bytes);
            made.push((number, index));
            // One by one, since the rig wants to know the batch of each.
            let Some(running) = &mut self.running else { return };
            running.journal.handle(Input::Records(&bytes), self.now).expect("records");
            bytes.clear();
            running.waiting.push_back((running.journal.last_lsn(), number, index));
        }
        self.drain();
    }

    fn tell(&mut self, input: Input<'_>) {
        let Some(running) = &mut self.running else { return };
        running.journal.handle(input, self.now).expect("no records");
        self.drain();
    }

    /// Does what the journal says; what it hears of it comes later.
    fn drain(&mut self) {
        while let Some(running) = &mut self.running {
            let Some(output) = running.journal.poll() else { return };
            let done = running.segments.execute(output, running.journal.in_flight());
            let at = self.now + self.disk.take_stall_ms() + self.chance.below(3);
            match output {
                Output::Write(_) => self.seen.batches += 1,
                Output::Sync(_) => {}
                Output::Prepare { from, .. } => {
                    self.seen.recycled += u64::from(from.is_some());
                    running.preparing = done.map(|done| (at, done));
                    continue;
                }
                Output::Remove(_) => self.seen.removed += 1,
                Output::Durable(lsn) => {
                    while let Some((_, number, index)) = running.waiting.pop_front_if(|(waits, ..)| *waits <= lsn) {
                        self.model[number].acknowledged = index;
                    }
                }
                Output::Full(is_full) => {
                    running.is_full = is_full;
                    self.seen.full += u64::from(is_full);
                }
                Output::Stop => {
                    self.seen.stopped += 1;
                    self.running = None;
                    return;
                }
            }
            running.later.extend(done.map(|done| (at, done)));
        }
    }

    /// Tells the journal of what is complete by now.
    fn complete(&mut self) {
        while let Some(running) = &mut self.running {
            let now = self.now;
            let done = running.later.pop_front_if(|(at, _)| *at <= now);
            let done = done.or_else(|| running.preparing.take_if(|(at, _)| *at <= now));
            let Some((_, input)) = done else { return };
            self.tell(input);
        }
    }

    /// A checkpoint of a shard, while its places go on.
    pub(crate) fn checkpoint(&mut self) {
        let shard = self.chance.below(u64::from(SHARDS)) as u16;
        let Some(running) = &self.running else { return };
        let (volume, replay_from) = (running.volume, running.journal.durable() + 1);
        let disk = self.disk.clone();
        let Ok(mut writer) = CheckpointWriter::begin(&disk, volume, shard, replay_from) else { return };
        for number in (usize::from(shard)..usize::from(PLACES)).step_by(usize::from(SHARDS)) {
            let index = self.model[number].history.len() as u64;
            let section = section(number, index, self.now, replay_from);
            if writer.section(&section).is_err() {
                return;
            }
            for key in 0..KEYS {
                // Between two claims the shard goes on: images are of different indexes.
                if self.chance.per_mille(100) && self.running.as_ref().is_some_and(|running| !running.is_full) {
                    self.append();
                }
                let model = &self.model[number];
                let Some((index, value_number)) = model.keys_at(model.history.len() as u64).remove(&key) else {
                    continue;
                };
                let image = StoredImage::new(index, self.now, 0, key);
                if writer
                    .image(&image, |parts| {
                        parts.part(&Part::WholeContext(Value(&value(value_number))));
                    })
                    .is_err()
                {
                    return;
                }
            }
        }
        let Some(covered) = self.running.as_ref().map(|running| running.journal.last_lsn()) else { return };
        if !self.chance.per_mille(100) {
            self.settle();
        }
        let Some(running) = &mut self.running else { return };
        match writer.finish(covered, running.journal.durable(), self.now) {
            Ok(_) => self.seen.checkpoints += 1,
            Err(CheckpointError::TooEarly { .. }) => {
                self.seen.too_early += 1;
                return;
            }
            Err(_) => return,
        }
        running.replay_from.insert(shard, replay_from);
        let below = running.replay_from.values().copied().min().unwrap_or(1);
        if checkpoint::remove_older(&disk, shard, replay_from).is_ok() {
            self.tell(Input::Release(below));
        }
    }

    /// Flips a bit of some file.
    pub(crate) fn rot(&mut self) {
        use statemesh_journal::storage::Storage;
        let mut paths = vec!["volume.id".to_owned()];
        for folder in ["journal", "checkpoint"] {
            let names = self.disk.list(folder).unwrap_or_default();
            paths.extend(names.iter().map(|name| format!("{folder}/{name}")));
        }
        let path = &paths[self.chance.below(paths.len() as u64) as usize];
        // Most of a segment is empty; what is at its beginning matters.
        let bits = if self.chance.per_mille(500) { 8 * 20_000 } else { u64::MAX };
        let bit = self.chance.below(bits);
        self.disk.flip(path, bit);
    }

    /// How the disk behaves in this seed.
    pub(crate) fn set_faults(&mut self, faults: Faults) {
        self.disk.set_faults(faults);
    }
}

fn said(error: &VolumeError) -> String {
    format!("{}: {error}", error.code())
}

fn section(number: usize, index: u64, at: u64, replay_from: u64) -> NewSection<'static> {
    NewSection {
        place: place(number),
        term: 0,
        vote: None,
        configuration: &[],
        index,
        at,
        replay_from,
        definitions: &[],
        context_keys: &[],
        events: &[],
        queues: &[],
        sent: &[],
        received: &[],
        consumers: &[],
    }
}

fn number_of(part: Option<Part<'_>>) -> u64 {
    match part {
        Some(Part::Journal(value) | Part::WholeContext(value)) => {
            value.0.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
        }
        other => panic!("not a value: {other:?}"),
    }
}

fn load<F: Fn(StoredPlace) -> u16>(checkpoint: &Checkpoint, replay: &mut Replay<F>, keys: &mut [Keys]) {
    replay.checkpoint(&checkpoint.head);
    checkpoint.sections(|head: &SectionHead<'_>, images| {
        replay.section(head);
        let keys = &mut keys[usize::from(head.place.partition)];
        keys.extend(images.map(|image| (image.key_hash, (image.index, number_of(image.parts.iter().next())))));
    });
}

fn apply<F: Fn(StoredPlace) -> u16>(payload: &[u8], replay: &mut Replay<F>, keys: &mut [Keys], seen: &mut Seen) {
    seen.empty_batches += u64::from(payload.is_empty());
    let mut fields = Fields::new(payload);
    while !fields.is_empty() {
        let record = Record::read(&mut fields).expect("a batch that was given can be read");
        let keys = &mut keys[usize::from(record.head.place.partition)];
        match replay.record(&record.head) {
            Verdict::Apply => seen.replayed += 1,
            Verdict::LeaveOut => {
                seen.left_out += 1;
                continue;
            }
            Verdict::Damaged => continue,
            verdict => panic!("{verdict:?} of {:?}", record.head),
        }
        // Its image may be newer than its section.
        if keys.get(&record.head.key_hash).is_none_or(|(index, _)| *index < record.head.index) {
            let number = number_of(record.parts.iter().next());
            keys.insert(record.head.key_hash, (record.head.index, number));
        }
    }
}

fn shard_of(place: StoredPlace) -> u16 {
    place.partition % SHARDS
}
