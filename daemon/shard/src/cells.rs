//! What one reactor writes and others read: a count, a level, durations by bucket. Counting costs a load and a store of a line
//! that is in this core's cache.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A figure that only its own reactor writes.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds to a count.
    pub fn add(&self, n: u64) {
        // One writer, so no read-modify-write is needed.
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets a level.
    pub fn set(&self, level: usize) {
        self.0.store(level as u64, Relaxed);
    }

    /// What it stands at.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds in nanoseconds; the last bucket has none.
pub const BOUNDS_NS: [u64; 16] = [
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// Durations by bucket.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [Cell; BOUNDS_NS.len() + 1],
    sum_ns: Cell,
}

impl Durations {
    /// Counts `n` durations of `ns` nanoseconds each.
    pub fn record(&self, ns: u64, n: u64) {
        let at = BOUNDS_NS.partition_point(|bound| *bound < ns);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.add(n);
        }
        self.sum_ns.add(ns.saturating_mul(n));
    }

    /// Counts by bucket, not cumulated, and the sum in nanoseconds.
    pub fn read(&self) -> ([u64; BOUNDS_NS.len() + 1], u64) {
        (std::array::from_fn(|i| self.buckets.get(i).map_or(0, Cell::get)), self.sum_ns.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let durations = Durations::default();
        durations.record(250, 1);
        durations.record(251, 2);
        durations.record(u64::MAX / 4, 1);
        let (buckets, _) = durations.read();
        assert_eq!((buckets[0], buckets[1], buckets[16]), (1, 2, 1));
    }
}
