//! Which connections are still alive: each is looked at once in every span of `heartbeat`, so that a message costs no timer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::Settings;
use crate::reactor::ConnId;

/// Spans of silence in the middle of a message after which a peer is taken for dead.
const HALF_SENT: u32 = 3;

/// What to do about a connection that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It gave a sign of life.
    Alive,
    /// It is silent: ask it.
    Ask,
    /// It was silent for too long.
    Dead,
}

/// What is known about a silent connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    /// How long it has been silent.
    pub(crate) span: Duration,
    /// It began a message and does not go on. Only this shortens the patience: a program with a connection but no thread for
    /// it answers no PING between its calls, and a subscriber whose queue is full reads none.
    pub(crate) half_sent: bool,
}

impl Silence {
    /// Judges it.
    pub(crate) fn judge(self, settings: &Settings) -> Verdict {
        let dead = if self.half_sent { (settings.heartbeat * HALF_SENT).min(settings.idle) } else { settings.idle };
        match self.span {
            span if span >= dead => Verdict::Dead,
            span if span >= settings.heartbeat => Verdict::Ask,
            _ => Verdict::Alive,
        }
    }
}

/// Connections in the order in which they are to be looked at. The span is the same for all, so a queue keeps the order.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    queue: VecDeque<(Instant, ConnId)>,
}

impl Rounds {
    /// Has a connection looked at, at this time.
    pub(crate) fn add(&mut self, at: Instant, id: ConnId) {
        self.queue.push_back((at, id));
    }

    /// When the next connection is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.front().map(|(at, _)| *at)
    }

    /// A connection that is due.
    pub(crate) fn due(&mut self, now: Instant) -> Option<ConnId> {
        self.queue.pop_front_if(|(at, _)| *at <= now).map(|(_, id)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_a_message_half_sent_has_less_patience_than_who_is_silent() {
        let settings =
            Settings { heartbeat: Duration::from_secs(10), idle: Duration::from_secs(100), ..Settings::default() };
        let judge = |secs, half_sent| Silence { span: Duration::from_secs(secs), half_sent }.judge(&settings);
        assert_eq!([judge(9, true), judge(10, true), judge(29, true)], [Verdict::Alive, Verdict::Ask, Verdict::Ask]);
        assert_eq!([judge(30, true), judge(30, false)], [Verdict::Dead, Verdict::Ask]);
        assert_eq!([judge(99, false), judge(100, false)], [Verdict::Ask, Verdict::Dead]);
    }
}
