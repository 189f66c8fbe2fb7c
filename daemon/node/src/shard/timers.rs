//! Timers: one entry in the shard's wheel for each instance that waits for something.
//!
//! While an entry stands at an earlier time than is needed it is left there, and set anew when it comes up: an instance that
//! sets and cancels timers all the time touches the wheel but once for each time that passes.

use std::sync::atomic::Ordering::Relaxed;

use statemesh_engine::{Advance, Millis};

use super::{Run, State};
use crate::instance::Entry;

impl State {
    /// Makes the wheel's entry stand no later than the instance's next deadline.
    pub(super) fn arm(&mut self, number: u32) {
        let Self { entries, wheel, .. } = self;
        let Some(entry) = entries.get_mut(number) else {
            return;
        };
        let Some(deadline) = entry.instance.next_deadline() else {
            return;
        };
        if let Some(handle) = entry.armed {
            if wheel.deadline(handle).is_some_and(|armed| armed <= deadline) {
                return;
            }
            wheel.cancel(handle);
        }
        entry.armed = Some(wheel.insert(deadline, u64::from(number)));
        self.rearmed = true;
    }

    /// Takes the entry of an instance that goes out of the wheel.
    pub(super) fn disarm(&mut self, entry: &Entry) {
        if let Some(handle) = entry.armed {
            self.wheel.cancel(handle);
            self.rearmed = true;
        }
    }

    /// Fires what is due, at most `budget` timers. Gives how much of the budget that took: all of it if there is more to do,
    /// since sorting timers anew is work as well.
    pub(crate) fn fire(&mut self, now: u64, budget: usize, run: &mut Run) -> usize {
        run.now = now;
        let mut due = Vec::new();
        let advance = self.wheel.advance(Millis(now), budget, &mut |number| due.push(number));
        for number in due.iter().filter_map(|number| u32::try_from(*number).ok()) {
            if let Some(entry) = self.entries.get_mut(number) {
                entry.armed = None;
                self.step_timer(number, run);
                self.arm(number);
            }
        }
        self.rearmed = true;
        self.update_due(run);
        if advance == Advance::More { budget } else { due.len() }
    }

    /// Tells the reactors when the next timer is due.
    pub(super) fn update_due(&mut self, run: &mut Run) {
        if !std::mem::take(&mut self.rearmed) {
            return;
        }
        let next = self.wheel.next_deadline().map_or(u64::MAX, |Millis(at)| at);
        let before = self.due.swap(next, Relaxed);
        if next < before {
            run.sooner_timer = Some(self.index);
        }
    }
}
