//! The daemon's clock.

use std::time::{Duration, Instant};

/// Milliseconds since the daemon started, which is the time that the engine and its timers see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub(crate) fn new(now: Instant) -> Self {
        Self { start: now }
    }

    /// The milliseconds of an instant.
    #[must_use]
    pub(crate) fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    /// The instant of a millisecond.
    #[must_use]
    pub(crate) fn instant(&self, millis: u64) -> Instant {
        // A century ahead stands for "never": instants have an end.
        self.start + Duration::from_millis(millis.min(100 * 365 * 24 * 3_600 * 1_000))
    }
}
