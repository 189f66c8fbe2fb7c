//! What removed instances leave: their dedup tokens, for a while, so that a request that is sent again after the removal gets the
//! answer that it had, and begins no new life of the key.
//!
//! They belong to their partition, and are handed off with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use statemesh_protocol::run::RunId;

use crate::dedup::Tokens;
use crate::machines::Version;

/// What one removed instance left.
#[derive(Debug)]
pub(crate) struct Left {
    /// When it is forgotten, in milliseconds of the daemon's clock.
    pub until: u64,
    /// Its life.
    pub run: RunId,
    /// What it ran.
    pub version: Arc<Version>,
    /// What was answered to requests.
    pub tokens: Box<Tokens>,
}

impl Left {
    /// What two lives of a key left. Beyond their bound the tokens of the earlier life go first.
    fn joined(self, other: Self) -> Self {
        let until = self.until.max(other.until);
        let (earlier, mut later) = if self.run <= other.run { (self, other) } else { (other, self) };
        later.tokens.inherit(*earlier.tokens);
        Self { until, ..later }
    }
}

/// A partition, and the hash of `machine/key`. Two keys with one hash share what they left: a token answers only the request
/// that it was bound to.
pub(crate) type Place = (u16, u64);

/// What the removed instances of one shard left.
#[derive(Debug)]
pub(crate) struct Removed {
    max: usize,
    /// How many there are in the whole daemon.
    total: Arc<AtomicUsize>,
    by_place: BTreeMap<Place, Left>,
    /// In the order in which they are forgotten, as all are kept for the same time. What is not there any more, or was put anew, is skipped.
    order: VecDeque<(u64, Place)>,
    /// Until when tokens of each partition's keys may be missed: some were forgotten before their time, here or where it comes from.
    misses: BTreeMap<u16, u64>,
}

impl Removed {
    /// Nothing yet, and never more than `max`.
    pub(crate) fn new(max: usize, total: Arc<AtomicUsize>) -> Self {
        Self { max: max.max(1), total, by_place: BTreeMap::new(), order: VecDeque::new(), misses: BTreeMap::new() }
    }

    /// Whether there is nothing.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    /// What a key left.
    pub(crate) fn get(&self, partition: u16, hash: u64) -> Option<&Left> {
        self.by_place.get(&(partition, hash))
    }

    /// Keeps what a key left, and what it had left already: lives of a key at two daemons leave something each. Gives how many others
    /// were forgotten for it before their time.
    pub(crate) fn put(&mut self, partition: u16, hash: u64, left: Left) -> u64 {
        let place = (partition, hash);
        let left = match self.take(partition, hash) {
            Some(before) => before.joined(left),
            None => left,
        };
        self.order.push_back((left.until, place));
        self.by_place.insert(place, left);
        self.total.fetch_add(1, Relaxed);
        let mut forgotten = 0;
        // A key that is removed again and again has many places in the order.
        while self.by_place.len() > self.max || self.order.len() > 2 * self.max {
            let Some(&(until, (partition, _))) = self.order.front() else { break };
            if self.forget_first() {
                self.miss(partition, until);
                forgotten += 1;
            }
        }
        forgotten
    }

    /// Until this time tokens of a partition's keys may be missed.
    pub(crate) fn miss(&mut self, partition: u16, until: u64) {
        let misses = self.misses.entry(partition).or_default();
        *misses = until.max(*misses);
    }

    /// For how long from now on a key of a partition may have left tokens that were forgotten before their time; 0 if none has.
    pub(crate) fn misses_for(&self, partition: u16, now: u64) -> u64 {
        self.misses.get(&partition).map_or(0, |until| until.saturating_sub(now))
    }

    /// A new life of the key has begun: it goes on with the tokens.
    pub(crate) fn take(&mut self, partition: u16, hash: u64) -> Option<Left> {
        let left = self.by_place.remove(&(partition, hash))?;
        self.total.fetch_sub(1, Relaxed);
        Some(left)
    }

    /// All of one partition, which goes.
    pub(crate) fn take_all(&mut self, partition: u16) -> Vec<(u64, Left)> {
        self.misses.remove(&partition);
        let hashes: Vec<u64> =
            self.by_place.range((partition, 0)..=(partition, u64::MAX)).map(|((_, hash), _)| *hash).collect();
        hashes.into_iter().filter_map(|hash| Some((hash, self.take(partition, hash)?))).collect()
    }

    /// When the next one is to be forgotten.
    pub(crate) fn next(&self) -> Option<u64> {
        self.order.front().map(|(until, _)| *until)
    }

    /// Forgets those whose time is over, at most `budget` in one go.
    pub(crate) fn expire(&mut self, now: u64, budget: usize) {
        for _ in 0..budget {
            if self.next().is_none_or(|until| until > now) {
                return;
            }
            self.forget_first();
        }
    }

    /// Forgets the first in order. False if that is not there any more.
    fn forget_first(&mut self) -> bool {
        let Some((until, place)) = self.order.pop_front() else { return false };
        self.by_place.get(&place).is_some_and(|left| left.until <= until) && self.take(place.0, place.1).is_some()
    }
}
