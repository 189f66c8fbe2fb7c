//! Instances that have ended: each stays for its machine's `keep`, and is then removed; where there are nearly as many instances as
//! there may be, those that ended first go earlier.
//!
//! One that has ended waits for no timer: its entry in the wheel is when it is to be removed.

use std::collections::VecDeque;

use statemesh_engine::{Millis, Status};
use statemesh_protocol::record::Kind;
use statemesh_protocol::run::RunId;

use super::keys::low;
use super::{Run, Shards, State};
use crate::instance::Entry;

/// Ended instances of one shard that are looked at, or removed, in one go.
const PER_GO: usize = 64;
/// How many there are before the first look at which of them are still there.
const KNOWN: usize = 1_024;

/// After so many milliseconds it is looked again whether an instance that stays only for what is to be told of its key may go.
const UNSAID_MS: u64 = 60_000;

/// An instance that had ended at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// When, in milliseconds of the daemon's clock; below 0 if that was before the daemon began.
    at: i64,
    number: u32,
    run: RunId,
}

/// Those of one shard, the first to end first. Some have gone since, or are others by now.
#[derive(Debug, Default)]
pub(super) struct EndedOnes {
    ones: VecDeque<Ended>,
    /// With more of them those that are not there any more are taken out.
    max: usize,
}

impl EndedOnes {
    fn push(&mut self, one: Ended, is_there: impl Fn(&Ended) -> bool) {
        self.ones.push_back(one);
        if self.ones.len() > self.max {
            self.ones.retain(is_there);
            self.max = KNOWN.max(self.ones.len() * 2);
        }
    }
}

/// Whether nothing ever happens to an instance by itself or by events.
fn is_over(entry: &Entry) -> bool {
    entry.instance.status() != Status::Active && !entry.instance.is_stuck()
}

impl State {
    /// Whether an instance has ended, and is not stuck.
    pub(super) fn is_over(&self, number: u32) -> bool {
        self.entries.get(number).is_some_and(is_over)
    }

    /// An instance has ended at this time: it is removed a while later.
    pub(super) fn note_end(&mut self, number: u32, at: i64) {
        let Self { entries, timers, daemon, ended, .. } = self;
        let Some(entry) = entries.get_mut(number) else { return };
        if let Some(handle) = entry.armed.take() {
            timers.cancel(handle);
        }
        let keep_ms = entry.version.machine.keep_ms().unwrap_or(daemon.rules.keep_ms);
        if keep_ms == u64::MAX {
            return;
        }
        let until = at.saturating_add_unsigned(keep_ms).max(0).unsigned_abs();
        entry.armed = Some(timers.insert(Millis(until), number));
        let one = Ended { at, number, run: entry.run };
        ended.push(one, |one| entries.get(one.number).is_some_and(|entry| entry.run == one.run && is_over(entry)));
    }

    /// An instance came from elsewhere. If it has ended, that was when its history says; else as far as is known now.
    pub(super) fn note_arrival(&mut self, number: u32, now: u64) {
        let Some(entry) = self.entries.get(number).filter(|entry| is_over(entry)) else { return };
        let last = entry.history.read(&entry.version.machine).last();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        self.note_end(number, last.map_or(now, |past| past.at.min(now)));
    }

    /// The time of an instance that has ended is over.
    pub(super) fn expire(&mut self, number: u32, run: &mut Run) {
        let Self { entries, timers, marks, daemon, .. } = self;
        let Some(entry) = entries.get_mut(number) else { return };
        let (partition, hash) = entry.place(daemon.rules.partitions);
        if marks.has((partition, hash)) {
            // With its owner the loss that no reply has told would be gone too: standbys know of instances, and not of that.
            entry.armed = Some(timers.insert(Millis(run.now + UNSAID_MS), number));
            return;
        }
        run.step.engine.clear();
        run.step.is_durable = self.is_recorded(number);
        if run.step.is_durable {
            self.record_own(number, Kind::Remove, None, run);
        }
        self.publish_removal(number, "", "expire", run);
        self.remove_for_good(partition, hash, number, run);
        self.leave(partition, run);
    }

    /// Instances that may make room, the first to end first: neither have they tokens, nor is a loss of their key to be told, nor is their
    /// partition in doubt.
    fn may_go(&mut self) -> Vec<Ended> {
        let is_there = |state: &Self, one: &Ended| {
            state.entries.get(one.number).is_some_and(|entry| entry.run == one.run && is_over(entry))
        };
        while self.ended.ones.front().is_some_and(|first| !is_there(self, first)) {
            self.ended.ones.pop_front();
        }
        let Self { entries, marks, ended, daemon, .. } = self;
        let stays = |one: &Ended| {
            let entry = entries.get(one.number);
            entry.is_some_and(|entry| entry.tokens.is_some() || marks.has(entry.place(daemon.rules.partitions)))
        };
        // Those that stay give others that ended after them their turn.
        for _ in 0..PER_GO {
            let Some(one) = ended.ones.pop_front_if(|one| stays(one)) else { break };
            ended.ones.push_back(one);
        }
        let first = ended.ones.iter().take(PER_GO).filter(|one| !stays(one)).copied();
        let first: Vec<Ended> = first.collect();
        let goes = |one: &Ended| is_there(self, one) && (self.idle == 0 || self.is_served(one.number));
        first.into_iter().filter(goes).collect()
    }
}

impl Shards {
    /// Removes instances that have ended, those that ended first, until there are not nearly as many as there may be; a bounded number
    /// in one go. What another thread has just now is left alone. Gives the shards that were claimed.
    pub fn make_room(&self, instances: usize, run: &mut Run) -> Vec<usize> {
        let excess = self.instances().saturating_sub(low(instances).saturating_sub(1));
        if excess == 0 || run.lease_is_over {
            return Vec::new();
        }
        let mut first: Vec<(i64, usize, u32)> = Vec::new();
        for shard in &self.shards {
            let Some(mut state) = shard.try_claim() else { continue };
            first.extend(state.may_go().iter().map(|one| (one.at, shard.index(), one.number)));
        }
        first.sort_unstable();
        first.truncate(excess.min(PER_GO));
        let mut claimed = Vec::new();
        for (_, index, number) in first {
            let Some(mut state) = self.get(index).and_then(|shard| shard.try_claim()) else { continue };
            // Another thread may have had it in between.
            let may_go = state.may_go().iter().any(|one| one.number == number);
            if may_go && (!state.is_recorded(number) || state.check_room().is_ok()) {
                state.expire(number, run);
                state.update_due(run);
            }
            claimed.push(index);
        }
        claimed
    }
}
