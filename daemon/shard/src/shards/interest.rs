//! Who wants to hear when an instance changes: requests that wait for it to be somewhere.

use std::collections::BTreeMap;

use super::{Run, State};

/// A request that waits, as its reactor calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The reactor.
    pub reactor: usize,
    /// Its number there.
    pub number: u64,
    /// It waits no longer than until then, in milliseconds of the daemon's clock.
    pub until: u64,
}

/// Keys before the first look at which of them are still waited for.
const KEYS: usize = 1_024;

/// By partition and hash of `machine/key`. Who waits asks again when it hears of a change, and then waits anew.
#[derive(Debug, Default)]
pub(super) struct Interests {
    waiting: BTreeMap<(u16, u64), Vec<Waiter>>,
    /// With more keys, those for which no request waits any longer are taken out.
    max: usize,
}

impl Interests {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn add(&mut self, key: (u16, u64), waiter: Waiter, now: u64) {
        let all = self.waiting.entry(key).or_default();
        if all.len() == all.capacity() {
            all.retain(|other| other.until > now && *other != waiter);
        }
        all.push(waiter);
        // No message says when a request waits no longer. A look at all is paid for by those that came.
        if self.waiting.len() > self.max {
            self.waiting.retain(|_, all| all.iter().any(|waiter| waiter.until > now));
            self.max = KEYS.max(self.waiting.len() * 2);
        }
    }

    fn take(&mut self, key: (u16, u64)) -> Vec<Waiter> {
        self.waiting.remove(&key).unwrap_or_default()
    }

    fn forget(&mut self, partition: u16) {
        if !self.waiting.is_empty() {
            self.waiting.retain(|(of, _), _| *of != partition);
        }
    }
}

impl State {
    /// A request waits for a key's instance to change.
    pub(super) fn wait_for(&mut self, partition: u16, hash: u64, waiter: Waiter, now: u64) {
        self.interests.add((partition, hash), waiter, now);
    }

    /// An instance has changed: who waits for that asks again.
    pub(super) fn wake_for(&mut self, number: u32, run: &mut Run) {
        let Some(entry) = self.entries.get(number) else { return };
        let (partition, hash) = entry.place(self.partition_count());
        self.wake_key(partition, hash, run);
    }

    /// The same of a key.
    pub(super) fn wake_key(&mut self, partition: u16, hash: u64, run: &mut Run) {
        run.woken.extend(self.interests.take((partition, hash)));
    }

    /// A partition goes: its waiters are not told here any more. They ask again by themselves after a while.
    pub(super) fn forget_interests(&mut self, partition: u16) {
        self.interests.forget(partition);
    }
}
