//! Whether the daemon's loops still turn. Each reactor and the control plane leave a beat at every turn; who is idle is woken for it. A
//! loop that has ended by a panic, or whose handler blocks, leaves none, and the daemon says so: it is not ready once a beat is
//! [`STALE`], and not alive once one is [`DEAD`]. The journal's thread sleeps where there is nothing to write; of it counts how long one
//! batch takes, and only for whether the daemon is ready: no other process has another disk.
#![expect(clippy::disallowed_methods, reason = "a thread of its own has a clock")]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::shared::Shared;

/// So old is the newest beat of a loop at most that turns.
pub(crate) const PERIOD: Duration = Duration::from_millis(500);
/// A daemon with a beat as old as this is not ready.
pub(crate) const STALE: Duration = Duration::from_secs(2);
/// A daemon with a beat as old as this is not alive.
pub(crate) const DEAD: Duration = Duration::from_secs(10);
/// A watcher that looks so much later than it meant to was paused, and the loops with it.
const PAUSED: Duration = Duration::from_secs(1);

/// One of a daemon's loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loop {
    /// The reactor with this number.
    Reactor(usize),
    /// The control plane.
    Control,
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reactor(index) => write!(f, "reactor {index}"),
            Self::Control => f.write_str("the control plane"),
        }
    }
}

/// The newest beat of each loop, in milliseconds since the daemon's start.
#[derive(Debug)]
pub(crate) struct Beats {
    reactors: Vec<AtomicU64>,
    control: AtomicU64,
}

impl Beats {
    /// Those of so many reactors and the control plane, all of which begin now.
    pub(crate) fn new(reactors: usize) -> Self {
        Self { reactors: (0..reactors).map(|_| AtomicU64::new(0)).collect(), control: AtomicU64::new(0) }
    }

    /// All loops begin now.
    pub(crate) fn begin(&self, millis: u64) {
        self.reactors.iter().chain([&self.control]).for_each(|beat| beat.store(millis, Relaxed));
    }

    /// A loop turns.
    pub(crate) fn beat(&self, of: Loop, millis: u64) {
        if let Some(beat) = self.of(of) {
            beat.store(millis, Relaxed);
        }
    }

    /// The loop whose beat is the oldest, and how old that is.
    pub(crate) fn oldest(&self, millis: u64) -> (Loop, Duration) {
        let reactors = (0..self.reactors.len()).map(Loop::Reactor);
        let ages = reactors.chain([Loop::Control]).map(|of| (of, self.age(of, millis)));
        ages.max_by_key(|(_, age)| *age).unwrap_or((Loop::Control, Duration::ZERO))
    }

    fn age(&self, of: Loop, millis: u64) -> Duration {
        let beat = self.of(of).map_or(millis, |beat| beat.load(Relaxed));
        Duration::from_millis(millis.saturating_sub(beat))
    }

    fn of(&self, of: Loop) -> Option<&AtomicU64> {
        match of {
            Loop::Reactor(index) => self.reactors.get(index),
            Loop::Control => Some(&self.control),
        }
    }
}

/// Wakes idle reactors for their beats, and logs a loop that leaves none, until the daemon ends, which closes `ends`.
pub(crate) fn watch(shared: &Arc<Shared>, ends: &Receiver<()>) {
    let (mut silent, mut was_stalled) = (None, false);
    let mut looked_at = Instant::now();
    while ends.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
        let now = Instant::now();
        let was_paused = now.duration_since(looked_at) >= PERIOD + PAUSED;
        looked_at = now;
        for reactor in 0..shared.reactors.len() {
            shared.reactors.wake(reactor);
        }
        if was_paused {
            continue;
        }
        let stall = shared.volume_stall(now);
        let is_stalled = stall >= STALE;
        if is_stalled && !was_stalled {
            let for_s = stall.as_secs_f64();
            tracing::error!(
                for_s,
                "the volume does not take a batch: this daemon is not ready, and acknowledges nothing durable"
            );
        } else if was_stalled && !is_stalled {
            tracing::info!("the volume takes batches again");
        }
        was_stalled = is_stalled;
        let (of, age) = shared.beats.oldest(shared.clock.millis(now));
        let is_silent = age >= STALE;
        if is_silent && silent != Some(of) {
            tracing::error!(loop_name = %of, for_s = age.as_secs_f64(), "a loop no longer turns: this daemon is not ready");
        }
        silent = is_silent.then_some(of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_that_has_left_no_beat_for_the_longest_is_named() {
        let beats = Beats::new(2);
        beats.beat(Loop::Reactor(0), 900);
        beats.beat(Loop::Reactor(1), 400);
        beats.beat(Loop::Control, 700);
        assert_eq!(beats.oldest(1_000), (Loop::Reactor(1), Duration::from_millis(600)));
        beats.beat(Loop::Reactor(1), 1_000);
        assert_eq!(beats.oldest(1_000), (Loop::Control, Duration::from_millis(300)));
        // A clock that one thread reads later than another is no age.
        assert_eq!(beats.oldest(0).1, Duration::ZERO);
    }
}
