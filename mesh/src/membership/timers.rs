//! What is due when, in order of time and then of arrival.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use foca::Timer;

use statemesh_protocol::identity::Identity;

/// Something to do at a time.
#[derive(Debug)]
pub(super) enum Due {
    /// foca asked for it.
    Foca(Timer<Identity>),
    /// A member that was suspect since then is dead, if it is suspect still.
    Suspicion { timer: Timer<Identity>, since: Instant },
    /// Compare lists with another member.
    Sync,
    /// Compare once more, as the last comparison brought something new.
    Learn,
    /// Try a dead member again.
    Heal,
    /// Ask again whether the name is free.
    Name,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeMap<(Instant, u64), Due>,
    arrivals: u64,
}

impl Timers {
    pub(super) fn set(&mut self, at: Instant, due: Due) {
        self.arrivals += 1;
        self.queue.insert((at, self.arrivals), due);
    }

    /// The same, unless one of its kind is set.
    pub(super) fn set_once(&mut self, at: Instant, due: Due) {
        if !self.queue.values().any(|other| std::mem::discriminant(other) == std::mem::discriminant(&due)) {
            self.set(at, due);
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Due> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    pub(super) fn delay_all(&mut self, by: Duration) {
        let queue = std::mem::take(&mut self.queue);
        self.queue = queue.into_iter().map(|((at, arrival), due)| ((at + by, arrival), due)).collect();
    }
}
