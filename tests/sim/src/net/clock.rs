//! What a host's clock shows: it may run fast or slow, and be ahead.

/// A clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// How much faster than the world's time it runs, in millionths.
    pub ppm: u32,
    /// Nanoseconds that it is ahead of that.
    pub ahead: u64,
}

const MILLION: u128 = 1_000_000;

impl Clock {
    /// What it shows at this time.
    #[must_use]
    pub fn shows(self, at: u64) -> u64 {
        let run = u128::from(at) * (MILLION + u128::from(self.ppm)) / MILLION;
        u64::try_from(run).unwrap_or(u64::MAX).saturating_add(self.ahead)
    }

    /// When it will show this; not before, by rounding.
    #[must_use]
    pub fn when(self, shown: u64) -> u64 {
        let run = u128::from(shown.saturating_sub(self.ahead));
        let at = (run * MILLION).div_ceil(MILLION + u128::from(self.ppm));
        u64::try_from(at).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_read_back_and_never_too_early() {
        for ppm in [0, 1, 500, 50_000] {
            let clock = Clock { ppm, ahead: 5_000_000_000 };
            for at in [0, 1, 999, 1_000_000_007, 60_000_000_000] {
                let shown = clock.shows(at);
                assert!(clock.when(shown) <= at + 1 && clock.shows(clock.when(shown)) >= shown, "{ppm} {at}");
            }
        }
    }
}
