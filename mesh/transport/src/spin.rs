//! For how long a reactor that has nothing to do polls before it sleeps.
//!
//! Waking a thread that sleeps costs some 35 us, more than everything else that a daemon does for an event; polling costs
//! a core. So a reactor polls for a while after each turn that had work, as long as that is worth it: where one wait
//! after another ended in sleep all the same, it sleeps at once, and only now and then tries whether that has changed.

use std::time::{Duration, Instant};

/// Waits in a row that polling did not shorten, after which it sleeps at once.
const MISSES: u32 = 8;
/// Then one wait in so many polls again. At a message every millisecond that is a hundredth of a core, with 100 us of
/// polling.
const PROBE: u32 = 16;
/// Losing the core for this long means contention, not our client reading its answer, which takes a tenth of it.
const CROWDED: Duration = Duration::from_micros(500);
/// Then so many waits do not poll: of those that do, each may cost a slice, and so they are fewer than one in a hundred.
const CROWDED_WAITS: u32 = 128;

/// Whether to poll or to sleep.
#[derive(Debug)]
pub(crate) struct Spin {
    /// For how long to poll; [`Duration::MAX`]: a core is reserved, and never sleeps.
    longest: Duration,
    idle_since: Instant,
    misses: u32,
    waits: u32,
    polling: bool,
    /// Waits in which it does not poll, since others want the core.
    crowded: u32,
}

impl Spin {
    /// At the beginning it sleeps, unless its core is reserved.
    pub(crate) fn new(longest: Duration, now: Instant) -> Self {
        Self { longest, idle_since: now, misses: 0, waits: 0, polling: longest == Duration::MAX, crowded: 0 }
    }

    /// A message is here: a wait has ended.
    pub(crate) fn work(&mut self, now: Instant) {
        let shortened = now.saturating_duration_since(self.idle_since) <= self.longest;
        self.misses = if shortened { 0 } else { self.misses.saturating_add(1) };
    }

    /// All is done: a wait begins.
    pub(crate) fn rest(&mut self, now: Instant) {
        self.idle_since = now;
        self.waits = self.waits.wrapping_add(1);
        let helps = self.misses < MISSES || self.waits.is_multiple_of(PROBE);
        self.polling = helps && self.crowded == 0 || self.longest == Duration::MAX;
        self.crowded = self.crowded.saturating_sub(1);
    }

    /// Between two polls it let others have the core, and had it back after this long. A thread that is ready to run waits
    /// until the other's slice is over, which is milliseconds; one that sleeps is woken at once. So where others want the core
    /// it sleeps for a while.
    pub(crate) fn yielded(&mut self, away: Duration) {
        if away >= CROWDED {
            self.crowded = CROWDED_WAITS;
            self.polling = self.longest == Duration::MAX;
        }
    }

    /// Whether to poll on, instead of sleeping.
    pub(crate) fn polls(&self, now: Instant) -> bool {
        self.polling && now.saturating_duration_since(self.idle_since) < self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_micros(100);

    /// Waits of this length, one after another; in how many of them it polled.
    fn polled(spin: &mut Spin, mut now: Instant, wait: Duration, waits: usize) -> usize {
        let mut polled = 0;
        for _ in 0..waits {
            spin.rest(now);
            polled += usize::from(spin.polls(now));
            now += wait;
            spin.work(now);
        }
        polled
    }

    #[test]
    fn it_polls_for_as_long_as_it_is_told_and_not_at_all_if_that_is_nothing() {
        let now = Instant::now();
        let mut spin = Spin::new(LONGEST, now);
        assert!(!spin.polls(now));
        spin.rest(now);
        assert!(spin.polls(now + LONGEST / 2) && !spin.polls(now + LONGEST));
        let mut never = Spin::new(Duration::ZERO, now);
        never.rest(now);
        assert!(!never.polls(now));
        assert!(Spin::new(Duration::MAX, now).polls(now + Duration::from_secs(1 << 30)));
    }

    #[test]
    fn where_others_want_the_core_it_sleeps_for_a_while() {
        let now = Instant::now();
        let mut spin = Spin::new(LONGEST, now);
        spin.rest(now);
        spin.yielded(CROWDED / 2);
        assert!(spin.polls(now));
        spin.yielded(CROWDED);
        assert!(!spin.polls(now));
        assert_eq!(polled(&mut spin, now, LONGEST / 2, 200), 200 - 128);
        let mut reserved = Spin::new(Duration::MAX, now);
        reserved.yielded(CROWDED);
        reserved.rest(now);
        assert!(reserved.polls(now));
    }

    #[test]
    fn where_messages_are_far_apart_it_gives_up_but_notices_when_they_come_closer() {
        let now = Instant::now();
        let mut spin = Spin::new(LONGEST, now);
        assert_eq!(polled(&mut spin, now, LONGEST / 2, 100), 100);
        let far = polled(&mut spin, now, LONGEST * 10, 1_000);
        assert!((50..=80).contains(&far), "{far} of 1,000");
        let near = polled(&mut spin, now, LONGEST / 2, 100);
        assert!(near >= 99, "{near}: a short wait counts, polled or not");
    }
}
