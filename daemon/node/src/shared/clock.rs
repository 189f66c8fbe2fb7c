//! The daemon's clock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Milliseconds that the engine and its timers see: since the daemon started, or, with a volume, mesh time, which goes on where it was in
/// the process before.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// What it showed then.
    at_start: AtomicU64,
}

impl Clock {
    /// A clock that shows this now.
    #[must_use]
    pub(crate) fn new(now: Instant, shows: u64) -> Self {
        Self { start: now, at_start: AtomicU64::new(shows) }
    }

    /// It has shown this before, in an earlier process. To be said before anything reads it: the wall clock may have gone back since.
    pub(crate) fn not_before(&self, shown: u64) {
        self.at_start.fetch_max(shown, Relaxed);
    }

    /// The milliseconds of an instant.
    #[must_use]
    pub(crate) fn millis(&self, at: Instant) -> u64 {
        let since = u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX);
        since.saturating_add(self.at_start.load(Relaxed))
    }

    /// The instant of a millisecond.
    #[must_use]
    pub(crate) fn instant(&self, millis: u64) -> Instant {
        let since = millis.saturating_sub(self.at_start.load(Relaxed));
        // A century ahead stands for "never": instants have an end.
        self.start + Duration::from_millis(since.min(100 * 365 * 24 * 3_600 * 1_000))
    }
}
