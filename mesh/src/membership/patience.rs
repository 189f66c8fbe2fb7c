//! How much longer than usual a suspect has, as this process itself runs late: on a machine that is starved the answer may be there
//! and not be read yet, and the suspect is often on the same machine. Without this, many daemons that start at once on few cores
//! hold each other for dead, and what follows from that starves them further.
//!
//! This is the local health multiplier of Lifeguard (Dadgar, Phillips, Currey: "Lifeguard: Local Health Awareness for More Accurate
//! Failure Detection", 2018), with one sign of bad health: how late this process is woken. Its others need answers that foca does
//! not send.

use std::time::{Duration, Instant};

/// How many times longer at most, as in Lifeguard.
const MAX_TIMES: u32 = 9;
/// How long this process has to be in time until it is held for less late by one.
const EASE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Patience {
    times: u32,
    /// When it was late, or was held for less late, the last time.
    since: Option<Instant>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { times: 1, since: None }
    }
}

impl Patience {
    /// This process was woken: late, or in time.
    pub(super) fn woken(&mut self, is_late: bool, now: Instant) {
        if is_late {
            self.times = (self.times + 1).min(MAX_TIMES);
            self.since = Some(now);
        } else if self.since.is_some_and(|since| now.saturating_duration_since(since) >= EASE) {
            self.times = (self.times - 1).max(1);
            self.since = (self.times > 1).then_some(now);
        }
    }

    /// How many times longer than usual a suspect has now; 1 while this process is in time.
    pub(super) fn times(&self) -> u32 {
        self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_each_time_that_it_is_late_and_goes_back_while_it_is_not() {
        let mut now = Instant::now();
        let mut patience = Patience::default();
        for times in (2..=MAX_TIMES).chain([MAX_TIMES]) {
            patience.woken(true, now);
            assert_eq!(patience.times(), times);
        }
        patience.woken(false, now + EASE / 2);
        assert_eq!(patience.times(), MAX_TIMES);
        for times in (1..MAX_TIMES).rev().chain([1]) {
            now += EASE;
            patience.woken(false, now);
            assert_eq!(patience.times(), times);
        }
    }
}
