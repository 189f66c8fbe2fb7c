//! Finding, adding and removing instances of a shard.

use super::{Fresh, Part, Run, State};
use crate::instance::Entry;

impl State {
    /// The number of an instance.
    pub(super) fn find(&self, partition: u16, hash: u64, machine: &str, key: &str) -> Option<u32> {
        let part = self.part(partition)?;
        let same = |number: &u32| {
            self.entries
                .get(*number)
                .is_some_and(|entry| entry.hash == hash && *entry.key == *key && *entry.version.name == *machine)
        };
        part.index.find(hash, same).copied()
    }

    /// Whether another instance would be one too many.
    pub(super) fn is_full(&self) -> bool {
        self.total.load(std::sync::atomic::Ordering::Relaxed) >= self.rules.instances
    }

    /// Adds an instance that is not there yet.
    pub(super) fn add(&mut self, partition: u16, entry: Entry, run: &mut Run) -> u32 {
        let hash = entry.hash;
        run.fresh.push(Fresh { partition, machine: entry.version.name.clone(), key: entry.key.clone() });
        let number = self.entries.insert(entry);
        self.total.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let Self { entries, partitions, shards, .. } = self;
        if let Some(part) = partitions.get_mut(usize::from(partition) / *shards) {
            let rehash = |number: &u32| entries.get(*number).map_or(0, |entry| entry.hash);
            part.index.insert_unique(hash, number, rehash);
        }
        number
    }

    /// Takes every instance of a partition out of the shard.
    pub(super) fn take_all(&mut self, partition: u16) -> Vec<Entry> {
        let Some(part) = self.part_mut(partition) else {
            return Vec::new();
        };
        let numbers: Vec<u32> = std::mem::take(&mut part.index).into_iter().collect();
        let taken: Vec<Entry> = numbers.into_iter().filter_map(|number| self.entries.remove(number)).collect();
        taken.iter().for_each(|entry| self.disarm(entry));
        self.total.fetch_sub(taken.len(), std::sync::atomic::Ordering::Relaxed);
        taken
    }

    /// All keys of a partition that is here, be it that it is not served yet.
    pub(crate) fn keys(&self, partition: u16) -> Vec<Fresh> {
        let Some(Part { index, .. }) = self.part(partition) else {
            return Vec::new();
        };
        let entries = index.iter().filter_map(|number| self.entries.get(*number));
        entries.map(|entry| Fresh { partition, machine: entry.version.name.clone(), key: entry.key.clone() }).collect()
    }
}
