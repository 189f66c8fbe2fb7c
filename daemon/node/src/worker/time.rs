//! What time it is to a reactor, and when it has to be woken.

use std::time::Instant;

/// The time of one reactor.
#[derive(Debug)]
pub(super) struct Time {
    /// When this turn began.
    pub(super) now: Instant,
    /// When the message at hand was read.
    read_at: Instant,
    /// When something of ours is due: a peer link to open again, a timer of an instance.
    pub(super) next_due: Option<Instant>,
}

impl Time {
    /// It is now.
    pub(super) fn new(now: Instant) -> Self {
        Self { now, read_at: now, next_due: None }
    }

    /// It is this time. Says whether it was another one.
    #[inline]
    pub(super) fn set_now(&mut self, now: Instant) -> bool {
        std::mem::replace(&mut self.now, now) != now
    }

    /// The message at hand was read at this time. Says whether the one before was read at another one.
    #[inline]
    pub(super) fn set_read_at(&mut self, read_at: Instant) -> bool {
        std::mem::replace(&mut self.read_at, read_at) != read_at
    }
}
