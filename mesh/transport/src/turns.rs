//! Whose turn it is to begin or to end: listeners with new connections, connections in their handshake, connections that are over.
//!
//! They take turns, so that none of them waits for another that never stops.

use std::time::{Duration, Instant};

/// Listeners that one reactor can have.
pub(crate) const MAX_LISTENERS: usize = 15;
/// How long accepting pauses when the process has no file descriptor left.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What may have its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The handshakes.
    Knocking,
    /// What is over.
    Ended,
    /// The connections that this listener has.
    Listener(usize),
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    listeners: usize,
    /// Listeners that may have further connections, as bits.
    accepting: u16,
    /// When those that failed are tried again.
    again: Option<Instant>,
    /// The kind that had the last turn.
    last: usize,
}

impl Turns {
    /// One more listener.
    pub(crate) fn add_listener(&mut self) {
        self.listeners = (self.listeners + 1).min(MAX_LISTENERS);
    }

    /// How many kinds there are, that is after how many calls of [`Turns::next`] each had its turn.
    pub(crate) fn kinds(&self) -> usize {
        self.listeners + 2
    }

    /// The kind whose turn is next.
    pub(crate) fn next(&mut self) -> Turn {
        self.last = (self.last + 1) % self.kinds();
        match self.last {
            0 => Turn::Knocking,
            1 => Turn::Ended,
            listener => Turn::Listener(listener - 2),
        }
    }

    /// A listener may have connections.
    pub(crate) fn may_accept(&mut self, listener: usize) {
        if listener < self.listeners {
            self.accepting |= 1 << listener;
        }
    }

    /// A listener has none left.
    pub(crate) fn is_empty(&mut self, listener: usize) {
        self.accepting &= !(1 << listener);
    }

    /// A listener gave none though it has some, and will not say so again: so it is asked again by the clock.
    pub(crate) fn failed(&mut self, listener: usize, now: Instant) {
        self.again = Some(now + ACCEPT_PAUSE);
        self.is_empty(listener);
    }

    /// Whether a listener may have connections.
    pub(crate) fn accepts(&self, listener: usize) -> bool {
        self.accepting & 1 << listener != 0
    }

    /// Whether any listener may.
    pub(crate) fn accepts_any(&self) -> bool {
        self.accepting != 0
    }

    /// When a listener that failed is asked again.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.again
    }

    /// Has the listeners asked again, if it is time.
    pub(crate) fn ask_again(&mut self, now: Instant) {
        if self.again.is_some_and(|at| at <= now) {
            self.again = None;
            self.accepting = (1 << self.listeners) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_turn_before_one_has_its_second() {
        let mut turns = Turns::default();
        (0..2).for_each(|_| turns.add_listener());
        let seen: Vec<Turn> = (0..5).map(|_| turns.next()).collect();
        assert_eq!(seen, [Turn::Ended, Turn::Listener(0), Turn::Listener(1), Turn::Knocking, Turn::Ended]);
    }

    #[test]
    fn a_listener_that_failed_is_asked_again_after_a_pause() {
        let now = Instant::now();
        let mut turns = Turns::default();
        turns.add_listener();
        turns.may_accept(0);
        assert!(turns.accepts(0) && turns.due().is_none());
        turns.failed(0, now);
        assert!(!turns.accepts_any());
        turns.ask_again(now);
        assert!(!turns.accepts_any());
        turns.ask_again(now + ACCEPT_PAUSE);
        assert!(turns.accepts(0) && turns.due().is_none());
    }
}
