//! A file of the virtual disk: what a read sees, and what the device has.

use std::collections::BTreeSet;

use super::chance::Chance;

/// Bytes that a device writes whole or not at all.
pub(super) const SECTOR: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Node {
    /// What a read sees.
    pub(super) seen: Vec<u8>,
    /// What the device has.
    pub(super) kept: Vec<u8>,
    /// Sectors that were written and not synced.
    pub(super) dirty: BTreeSet<usize>,
}

impl Node {
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        if let Some(to) = self.seen.get_mut(offset..end) {
            to.copy_from_slice(bytes);
        }
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    /// Brings sectors of the cache to the device, so many of a thousand; the others stay in the cache only.
    pub(super) fn settle(&mut self, chance: &mut Chance, kept_of_a_thousand: u64) {
        for sector in std::mem::take(&mut self.dirty) {
            if !chance.per_mille(kept_of_a_thousand) {
                self.dirty.insert(sector);
                continue;
            }
            let from = sector * SECTOR;
            let to = (from + SECTOR).min(self.seen.len());
            if self.kept.len() < to {
                self.kept.resize(to, 0);
            }
            if let (Some(kept), Some(seen)) = (self.kept.get_mut(from..to), self.seen.get(from..to)) {
                kept.copy_from_slice(seen);
            }
        }
    }
}
