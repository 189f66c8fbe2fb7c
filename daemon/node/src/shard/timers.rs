//! Timers: one entry in the shard's wheel for each instance that waits for something, at the earliest of its deadlines.
//!
//! An instance that sets and cancels timers does not litter the wheel: while an entry stands at an earlier time than is
//! needed it is left there, and set anew when it comes up.

use std::sync::atomic::Ordering::Relaxed;

use statemesh_engine::Millis;

use super::{Run, State};

impl State {
    /// Makes sure that the wheel has an entry no later than the instance's next deadline.
    pub(super) fn arm(&mut self, number: u32) {
        let Some(entry) = self.entries.get_mut(number) else { return };
        let Some(Millis(deadline)) = entry.instance.next_deadline() else { return };
        if deadline < entry.armed {
            entry.armed = deadline;
            self.wheel.insert(Millis(deadline), u64::from(number));
        }
    }

    /// Fires what is due, at most `budget` timers. Gives how many it looked at.
    pub fn fire(&mut self, now: u64, budget: usize, run: &mut Run) -> usize {
        let mut due = Vec::new();
        self.wheel.advance(Millis(now), budget, &mut |number| due.push(number));
        for number in &due {
            if let Ok(number) = u32::try_from(*number) {
                self.fire_one(number, now, run);
            }
        }
        self.update_due(run);
        due.len()
    }

    fn fire_one(&mut self, number: u32, now: u64, run: &mut Run) {
        let Some(entry) = self.entries.get_mut(number) else { return };
        if entry.armed > now {
            // The entry of an instance that has an earlier one no longer, or of one that lived here before.
            return;
        }
        entry.armed = u64::MAX;
        if entry.instance.next_deadline().is_some_and(|Millis(at)| at <= now) {
            run.now = now;
            self.step_timer(number, run);
        }
        self.arm(number);
    }

    /// Tells the reactors when the next timer is due.
    pub(super) fn update_due(&mut self, run: &mut Run) {
        let next = self.wheel.next_deadline().map_or(u64::MAX, |Millis(at)| at);
        let before = self.due.swap(next, Relaxed);
        if next < before {
            run.sooner_timer = Some(self.index);
        }
    }
}
