//! When the next timer of each shard is due.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Dues of one cache line, or of two that processors fetch together.
const OF_A_LINE: usize = 16;

/// Milliseconds at which the next timer of each shard is due, [`u64::MAX`] if there is none. A reactor looks at those of the shards that
/// it minds in each turn: they stand side by side.
#[derive(Debug)]
pub(crate) struct Dues {
    dues: Box<[AtomicU64]>,
    reactors: usize,
    /// Places of each reactor.
    each: usize,
}

impl Dues {
    /// Of so many shards without timers, of which each reactor minds every so-manieth.
    pub(crate) fn new(shards: usize, reactors: usize) -> Self {
        let reactors = reactors.max(1);
        let each = shards.div_ceil(reactors).next_multiple_of(OF_A_LINE);
        Self { dues: (0..reactors * each).map(|_| AtomicU64::new(u64::MAX)).collect(), reactors, each }
    }

    fn of(&self, shard: usize) -> Option<&AtomicU64> {
        self.dues.get(shard % self.reactors * self.each + shard / self.reactors)
    }

    /// That of a shard.
    pub(crate) fn get(&self, shard: usize) -> u64 {
        self.of(shard).map_or(u64::MAX, |due| due.load(Relaxed))
    }

    /// Sets that of a shard, and gives what it was.
    pub(crate) fn set(&self, shard: usize, due: u64) -> u64 {
        self.of(shard).map_or(u64::MAX, |known| known.swap(due, Relaxed))
    }

    /// The first of all that a reactor minds.
    pub(crate) fn earliest(&self, reactor: usize) -> u64 {
        let minded = self.dues.chunks_exact(self.each).nth(reactor).unwrap_or_default();
        minded.iter().map(|due| due.load(Relaxed)).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_has_a_due_of_its_own_and_counts_for_the_reactor_that_minds_it() {
        for (shards, reactors) in [(1, 1), (64, 1), (64, 2), (64, 3), (5, 8), (64, 0)] {
            let dues = Dues::new(shards, reactors);
            for shard in 0..shards {
                assert_eq!(dues.set(shard, 1_000 + shard as u64), u64::MAX, "{shards} shards, {reactors} reactors");
            }
            for shard in 0..shards {
                assert_eq!(dues.get(shard), 1_000 + shard as u64);
            }
            for reactor in 0..reactors.max(1) {
                let first = if reactor < shards { 1_000 + reactor as u64 } else { u64::MAX };
                assert_eq!(dues.earliest(reactor), first, "{shards} shards, {reactors} reactors: {reactor}");
            }
        }
    }
}
