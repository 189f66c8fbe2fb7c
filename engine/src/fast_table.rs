//! The table of the fast path: what most events do to a machine of few states is known beforehand, as two words for each
//! active leaf and event.
//!
//! A step of a busy instance waits for the last one's result, so what it costs is the chain of loads between the two:
//! leaf, state, its events, their transitions, the plan. Here it is one load.

use crate::event_names::EventIx;
use crate::state_set::StateSet;

/// What events do that only change the configuration, without a guard.
#[derive(Debug, Default)]
pub(crate) struct FastTable {
    events: usize,
    /// By leaf and event.
    table: Box<[FastEntry]>,
}

/// What one event does in the configuration of one leaf.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FastEntry {
    /// Active states that stay.
    pub(crate) keep: u64,
    /// States that are entered; none: the table has no answer, and the definition has to be asked.
    pub(crate) enter: u64,
}

impl FastTable {
    /// A table of `events` entries for each leaf.
    pub(crate) fn new(events: usize, table: Box<[FastEntry]>) -> Self {
        Self { events, table }
    }

    /// Does what an event does in the configuration of the active leaf, if the table has it. Whether it has.
    #[inline]
    pub(crate) fn take(&self, active: &mut StateSet, event: EventIx) -> bool {
        let StateSet::Small(word) = active else { return false };
        let leaf = u64::BITS.wrapping_sub(1).wrapping_sub(word.leading_zeros()) as usize;
        match self.table.get(leaf.wrapping_mul(self.events).wrapping_add(event as usize)) {
            Some(entry) if entry.enter != 0 => {
                *word = *word & entry.keep | entry.enter;
                true
            }
            _ => false,
        }
    }
}
