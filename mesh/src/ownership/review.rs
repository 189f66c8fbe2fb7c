//! When this member looks again at what it could claim or offer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use statemesh_protocol::hash::Partition;

#[derive(Debug)]
pub(super) struct Review {
    /// [`super::Settings::retry`].
    retry: Duration,
    /// [`super::Settings::recheck`].
    recheck: Duration,
    /// Set by what may call for offers or claims; done once at the end of the input.
    requested: bool,
    /// When to look again at what came to nothing.
    retry_at: Option<Instant>,
    /// When to ask again about what others hold for this member.
    recheck_at: Option<Instant>,
    /// Not to be claimed or offered before then.
    held_off: BTreeMap<Partition, Instant>,
}

impl Review {
    pub(super) fn new(retry: Duration, recheck: Duration) -> Self {
        Self { retry, recheck, requested: false, retry_at: None, recheck_at: None, held_off: BTreeMap::new() }
    }

    /// Something may call for offers or claims.
    pub(super) fn request(&mut self) {
        self.requested = true;
    }

    /// Whether a review was requested, which begins now.
    pub(super) fn begin(&mut self) -> bool {
        std::mem::take(&mut self.requested)
    }

    /// Lets the timers run out. Says whether it is time to ask again about what others hold for this member.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let retry = elapsed(&mut self.retry_at, now);
        let recheck = elapsed(&mut self.recheck_at, now);
        self.requested |= retry || recheck;
        self.held_off.retain(|_, until| *until > now);
        if retry {
            self.retry_at = self.held_off.values().min().copied();
        }
        recheck
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.retry_at.into_iter().chain(self.recheck_at).min()
    }

    pub(super) fn retry_after(&mut self, now: Instant) {
        let at = now + self.retry;
        self.retry_at = Some(self.retry_at.map_or(at, |already| already.min(at)));
    }

    pub(super) fn recheck_after(&mut self, now: Instant) {
        if self.recheck_at.is_none() {
            self.recheck_at = Some(now + self.recheck);
        }
    }

    /// Neither claims nor offers a partition before the next try.
    pub(super) fn hold_off(&mut self, partition: Partition, now: Instant) {
        self.hold_off_for(partition, self.retry, now);
    }

    /// Neither claims nor offers a partition for so long.
    pub(super) fn hold_off_for(&mut self, partition: Partition, pause: Duration, now: Instant) {
        self.held_off.insert(partition, now + pause);
        self.retry_after(now);
    }

    pub(super) fn is_held_off(&self, partition: Partition) -> bool {
        self.held_off.contains_key(&partition)
    }
}

/// Has this timer run out? Then it is off.
pub(super) fn elapsed(timer: &mut Option<Instant>, now: Instant) -> bool {
    timer.take_if(|at| *at <= now).is_some()
}
