//! Timers: one entry in the shard's wheel for each instance that waits for something.
//!
//! While an entry stands at an earlier time than is needed it is left there, and set anew when it comes up: an instance that
//! sets and cancels timers all the time touches the wheel but once for each time that passes.

use statemesh_engine::Millis;
use statemesh_protocol::record::Kind;

use super::{Run, State};
use crate::instance::Entry;
use crate::timer_wheel::{Advance, TimerHandle, TimerWheel};

/// The shard's wheel, and whether the reactors know when its next timer is due.
#[derive(Debug)]
pub(super) struct Timers {
    wheel: TimerWheel,
    is_changed: bool,
    /// Until when no other instance is named that is made to wait.
    quiet_until: u64,
}

/// How long an instance waits whose timers lead to each other without time passing.
const REST_MS: u64 = 10;
/// For so long one such instance is named.
const QUIET_MS: u64 = 60_000;

impl Default for Timers {
    fn default() -> Self {
        Self { wheel: TimerWheel::new(Millis(0)), is_changed: false, quiet_until: 0 }
    }
}

impl Timers {
    /// What is due next may be another time than the reactors were told.
    pub(super) fn changed(&mut self) {
        self.is_changed = true;
    }

    /// The instance of this number comes up at a time.
    pub(super) fn insert(&mut self, at: Millis, number: u32) -> TimerHandle {
        self.is_changed = true;
        self.wheel.insert(at, u64::from(number))
    }

    /// Whether one more instance is to be named that is made to wait; then others are not for a while.
    fn is_quiet(&mut self, now: u64) -> bool {
        let is_quiet = now >= self.quiet_until;
        if is_quiet {
            self.quiet_until = now + QUIET_MS;
        }
        is_quiet
    }

    pub(super) fn cancel(&mut self, handle: TimerHandle) {
        self.is_changed = true;
        self.wheel.cancel(handle);
    }
}

impl State {
    /// Makes the wheel's entry stand no later than the instance's next deadline.
    pub(super) fn arm(&mut self, number: u32) {
        let Self { entries, timers, .. } = self;
        let Some(entry) = entries.get_mut(number) else {
            return;
        };
        let Some(deadline) = entry.instance.next_deadline() else {
            return;
        };
        if let Some(handle) = entry.armed {
            if timers.wheel.deadline(handle).is_some_and(|armed| armed <= deadline) {
                return;
            }
            timers.cancel(handle);
        }
        entry.armed = Some(timers.insert(deadline, number));
    }

    /// Takes the entry of an instance that goes out of the wheel.
    pub(super) fn disarm(&mut self, entry: &Entry) {
        if let Some(handle) = entry.armed {
            self.timers.cancel(handle);
        }
    }

    /// Fires what is due, of at most `budget` instances. Gives how much of the budget that took: all of it if there is more to do,
    /// since sorting timers anew is work as well, or more than all of it.
    pub fn fire(&mut self, now: u64, budget: usize, run: &mut Run) -> usize {
        run.now = now;
        let fired = run.counts.timers_fired;
        let mut due = Vec::new();
        let advance = self.timers.wheel.advance(Millis(now), budget, &mut |number| due.push(number));
        for number in due.iter().filter_map(|number| u32::try_from(*number).ok()) {
            if let Some(entry) = self.entries.get_mut(number) {
                entry.armed = None;
                if self.idle > 0 && !self.is_served(number) {
                    // It is armed again with its partition.
                    continue;
                }
                if !self.may_act(number, run) {
                    continue;
                }
                if self.is_over(number) {
                    self.expire(number, run);
                    continue;
                }
                let (before, fired_before) = (self.standing(number), run.counts.timers_fired);
                let is_restless = self.step_timer(number, run);
                // The wheel's entry may be of a time that the instance has left behind.
                if run.step.is_durable && run.counts.timers_fired > fired_before {
                    self.record_own(number, Kind::Step, before, run);
                }
                match is_restless {
                    true => self.let_rest(number, run),
                    false => self.arm(number),
                }
                self.leave_timer(number, run);
            }
        }
        self.see_to_removed(run.now);
        self.timers.changed();
        self.update_due(run);
        // One instance may have fired several, one after the other.
        let steps = usize::try_from(run.counts.timers_fired.saturating_sub(fired)).unwrap_or(usize::MAX);
        if advance == Advance::More { budget } else { due.len().max(steps) }
    }

    /// An instance whose timers lead to each other without time passing goes on a while later: it would take a core for itself.
    fn let_rest(&mut self, number: u32, run: &mut Run) {
        run.counts.troubles.restless += 1;
        let Self { entries, timers, .. } = self;
        let Some(entry) = entries.get_mut(number) else { return };
        entry.armed.take().into_iter().for_each(|armed| timers.cancel(armed));
        entry.armed = Some(timers.insert(Millis(run.now + REST_MS), number));
        if timers.is_quiet(run.now) {
            let (machine, key) = (&entry.version.name, &entry.key);
            tracing::warn!(
                %machine, %key,
                "its timers lead to each other without time passing: it is made to wait (statemesh_instances_restless_total)"
            );
        }
    }

    pub(super) fn is_served(&self, number: u32) -> bool {
        let entry = self.entries.get(number);
        entry.is_some_and(|entry| self.holds(entry.place(self.partition_count()).0))
    }

    /// Lets what a timer caused leave, by the gate of its instance's partition.
    fn leave_timer(&self, number: u32, run: &mut Run) {
        if run.step.changes.is_empty() {
            return;
        }
        let Some(entry) = self.entries.get(number) else { return };
        self.leave(entry.place(self.partition_count()).0, run);
    }

    /// Tells the reactors when the next timer is due.
    pub(super) fn update_due(&mut self, run: &mut Run) {
        if !std::mem::take(&mut self.timers.is_changed) {
            return;
        }
        let timers = self.timers.wheel.next_deadline().map_or(u64::MAX, |Millis(at)| at);
        let next = self.removal_due().map_or(timers, |removal| removal.min(timers));
        let before = self.daemon.dues.set(self.index, next);
        if next < before {
            run.sooner_timer = Some(self.index);
        }
    }
}
