//! Finding, adding and removing instances of a shard.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use statemesh_protocol::hash;
use statemesh_protocol::image::{Input, Record};

use statemesh_protocol::run::RunId;
use statemesh_protocol::tenure::{Tenure, Trail};

use super::{Fresh, KeyNote, KnownKey, KnownKeys, Part, Phase, Run, Slot, State};
use crate::instance::Entry;
use crate::marks::KeyMark;

/// With more instances than this, those that have ended make room.
pub(super) fn low(instances: usize) -> usize {
    instances - (instances / 16).max(1).min(instances)
}

/// What an index keeps of a key's hash: the half that says least about the partition.
fn short(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Spreads it again over the bits that a table looks at.
fn spread(short: u32) -> u64 {
    u64::from(short).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The keys of a part of a partition that was sent in this tenure.
fn keys_of(part: &[u8], tenure: Tenure) -> Vec<KnownKey> {
    let mut input = Input::new(part);
    let mut keys = Vec::new();
    while !input.is_empty() {
        match input.record() {
            Ok(Record::Image(image)) => {
                let (machine, key) = (image.machine.into(), image.key.into());
                keys.push(KnownKey::Live { machine, key, run: image.run, tenure });
            }
            Ok(Record::Mark(mark)) => keys.extend(KeyMark::known(&mark)),
            Ok(Record::Removed(_) | Record::Copy(_) | Record::Forgotten { .. }) | Err(_) => {}
        }
    }
    keys
}

impl State {
    /// The number of an instance.
    pub(super) fn find(&self, partition: u16, hash: u64, machine: &str, key: &str) -> Option<u32> {
        let part = self.part(partition)?;
        let short = short(hash);
        let same = |slot: &Slot| {
            slot.hash == short
                && self
                    .entries
                    .get(slot.number)
                    .is_some_and(|entry| *entry.key == *key && *entry.version.name == *machine)
        };
        part.index.find(spread(short), same).map(|slot| slot.number)
    }

    /// The instance of a key of which only the hash is known.
    pub(super) fn find_by_hash(&self, partition: u16, hash: u64) -> Option<u32> {
        let short = short(hash);
        let of = |slot: &Slot| self.entries.get(slot.number).filter(|_| slot.hash == short);
        let same = |slot: &Slot| of(slot).is_some_and(|entry| hash::key_hash(&entry.version.name, &entry.key) == hash);
        self.part(partition)?.index.find(spread(short), same).map(|slot| slot.number)
    }

    /// Whether another instance would be one too many.
    pub(super) fn is_full(&self) -> bool {
        self.daemon.instances.load(Relaxed) >= self.daemon.rules.instances
    }

    /// Whether there are so many that those that have ended should make room.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.daemon.instances.load(Relaxed) >= low(self.daemon.rules.instances)
    }

    /// Adds an instance that is not there yet.
    pub(super) fn add(&mut self, partition: u16, hash: u64, entry: Entry, run: &mut Run) -> u32 {
        let (machine, key, tenure) = (Arc::clone(&entry.version.name), entry.key.clone(), self.tenure(partition));
        self.note(partition, KnownKey::Live { machine, key, run: entry.run, tenure }, run);
        entry.version.count_one();
        let number = self.entries.insert(entry);
        self.daemon.instances.fetch_add(1, Relaxed);
        if let Some(part) = self.part_mut(partition) {
            let hash = short(hash);
            part.index.insert_unique(spread(hash), Slot { hash, number }, |slot| spread(slot.hash));
        }
        number
    }

    /// Takes out one instance.
    pub(super) fn remove(&mut self, partition: u16, hash: u64, number: u32) -> Option<Entry> {
        let part = self.part_mut(partition)?;
        if let Ok(slot) = part.index.find_entry(spread(short(hash)), |slot| slot.number == number) {
            slot.remove();
        }
        self.trails.remove(&number);
        let entry = self.entries.remove(number)?;
        self.disarm(&entry);
        entry.version.count_one_less();
        self.daemon.instances.fetch_sub(1, Relaxed);
        Some(entry)
    }

    /// Takes every instance of a partition out of the shard.
    pub(super) fn take_all(&mut self, partition: u16) -> Vec<(Entry, Trail)> {
        self.forget_interests(partition);
        let Some(part) = self.part_mut(partition) else {
            return Vec::new();
        };
        let slots: Vec<Slot> = std::mem::take(&mut part.index).into_iter().collect();
        let taken = slots.into_iter().filter_map(|Slot { number, .. }| {
            let trail = self.trail(partition, number);
            self.trails.remove(&number);
            Some((self.entries.remove(number)?, trail))
        });
        let taken: Vec<(Entry, Trail)> = taken.collect();
        for (entry, _) in &taken {
            self.disarm(entry);
            entry.version.count_one_less();
        }
        self.daemon.instances.fetch_sub(taken.len(), Relaxed);
        taken
    }

    /// What a partition's standby has to know: all keys of the copy that is here, served or not, or sent and kept.
    pub fn known_keys(&self, partition: u16) -> KnownKeys {
        let tenure = self.tenure(partition);
        let of = |Fresh { machine, key, run, .. }| KnownKey::Live { machine, key, run, tenure };
        let live = self.keys(partition).into_iter().map(of);
        let mut keys: Vec<KnownKey> = live.chain(self.marks.known(partition)).collect();
        if let Some(Part { phase: Phase::Sent { parts, .. }, .. }) = self.part(partition) {
            parts.iter().for_each(|part| keys.extend(keys_of(part, tenure)));
        }
        KnownKeys { number: self.last_note(partition), keys }
    }

    /// The number of the last note about a partition, and 1 before the first.
    fn last_note(&self, partition: u16) -> u64 {
        1 + self.part(partition).map_or(0, |part| part.notes)
    }

    /// Something that standbys have to know of a partition has become so.
    pub(super) fn note(&mut self, partition: u16, known: KnownKey, run: &mut Run) {
        if let Some(part) = self.part_mut(partition) {
            part.notes += 1;
            run.notes.push(KeyNote { partition, number: self.last_note(partition), known });
        }
    }

    /// What was noted last of a partition has not happened: only so many notes are left.
    pub(super) fn take_back_notes(&mut self, partition: u16, left: usize, run: &mut Run) {
        if let Some(part) = self.part_mut(partition) {
            part.notes -= run.notes.len().saturating_sub(left) as u64;
        }
        run.notes.truncate(left);
    }

    /// Keys of a resident partition, including one still being received.
    pub fn keys(&self, partition: u16) -> Vec<Fresh> {
        let Some(Part { index, .. }) = self.part(partition) else {
            return Vec::new();
        };
        let entries = index.iter().filter_map(|slot| self.entries.get(slot.number));
        entries.map(|entry| fresh(partition, entry)).collect()
    }

    /// The tenure of a partition's copy.
    pub(super) fn tenure(&self, partition: u16) -> Tenure {
        self.part(partition).map(|part| part.tenures.current()).unwrap_or_default()
    }

    /// In which copies an instance made its transitions.
    pub(super) fn trail(&self, partition: u16, number: u32) -> Trail {
        let Some(entry) = self.entries.get(number) else { return Trail::default() };
        let trail = self.trails.get(&number).filter(|(life, _)| *life == entry.run).map(|(_, trail)| trail.clone());
        trail.unwrap_or_default().and(self.tenure(partition), entry.instance.seq())
    }

    /// A key has another life than its standbys know.
    pub(super) fn note_life(&mut self, number: u32, run: &mut Run) {
        let Some(entry) = self.entries.get(number) else { return };
        let Fresh { partition, machine, key, run: life } = fresh(entry.place(self.partition_count()).0, entry);
        self.note(partition, KnownKey::Live { machine, key, run: life, tenure: self.tenure(partition) }, run);
    }

    /// A life of a key that its standbys know is not there any more; another one is.
    pub(super) fn note_end_of_life(&mut self, number: u32, life: RunId, run: &mut Run) {
        let Some(entry) = self.entries.get(number) else { return };
        let Fresh { partition, machine, key, .. } = fresh(entry.place(self.partition_count()).0, entry);
        self.note(partition, KnownKey::Removed { machine, key, run: life, tenure: self.tenure(partition) }, run);
    }
}

fn fresh(partition: u16, entry: &Entry) -> Fresh {
    Fresh { partition, machine: entry.version.name.clone(), key: entry.key.clone(), run: entry.run }
}
