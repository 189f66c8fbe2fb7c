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
        let delayed = |due| match due {
            // Its time began so much later, too: what it has more as this process runs late counts from there.
            Due::Suspicion { timer, since } => Due::Suspicion { timer, since: since + by },
            due => due,
        };
        self.queue = queue.into_iter().map(|((at, arrival), due)| ((at + by, arrival), delayed(due))).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspicion_that_is_delayed_began_so_much_later() {
        let (mut timers, now, by) = (Timers::default(), Instant::now(), Duration::from_secs(3));
        timers.set(now + by, Due::Suspicion { timer: Timer::ProbeRandomMember(0), since: now });
        timers.delay_all(by);
        assert!(timers.pop(now + by).is_none());
        assert!(matches!(timers.pop(now + 2 * by), Some(Due::Suspicion { since, .. }) if since == now + by));
    }
}
