//! What CI's time is still enough for: on a slow machine the longest parts are left to the night, and said to be.

use crate::parts::PROVIDING_MINUTES;
use std::time::{Duration, Instant};

/// By when the last part is to be over. CI ends what takes 90 minutes, and then nothing of it counts.
const END: Duration = Duration::from_secs(75 * 60);

#[derive(Debug)]
pub(crate) struct CiTime {
    began: Instant,
    /// What was run so far may have taken this long on two cores.
    planned: Duration,
}

impl CiTime {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), planned: Duration::from_secs(60 * PROVIDING_MINUTES) }
    }

    /// Runs what may take so long.
    pub(crate) fn spend<T>(&mut self, planned: Duration, run: impl FnOnce() -> T) -> T {
        self.planned += planned;
        run()
    }

    /// Why what may take so long is not begun, if it is not.
    pub(crate) fn is_short(&self, next: Duration) -> Option<String> {
        is_short(self.began.elapsed(), self.planned, next)
    }
}

/// A machine that was slower than planned so far stays so.
fn is_short(gone: Duration, planned: Duration, next: Duration) -> Option<String> {
    let slowness = (gone.as_secs_f64() / planned.as_secs_f64()).max(1.0);
    let next = next.mul_f64(slowness);
    let minutes = |time: Duration| (time.as_secs_f64() / 60.0).round();
    (gone + next > END).then(|| {
        format!("{} of CI's {} minutes are gone, and it may take {}", minutes(gone), minutes(END), minutes(next))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_begins_only_if_it_may_end_in_time_on_a_machine_as_slow_as_this_one_was() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert_eq!(is_short(minutes(40), minutes(60), minutes(24)), None);
        assert!(is_short(minutes(55), minutes(60), minutes(24)).is_some());
        let slow = is_short(minutes(45), minutes(30), minutes(24));
        assert_eq!(slow.unwrap(), "45 of CI's 75 minutes are gone, and it may take 36");
    }
}
