//! The lease: how long reactors may answer without having heard from the control plane.
//!
//! A process that was stopped goes on where it was: its reactors would answer what waited in their sockets for partitions that
//! others have adopted meanwhile. So the control plane renews a lease when it has looked around, and a reactor that
//! finds it over answers nothing for its own partitions until it is renewed. A control plane that renews it late was paused,
//! and doubts what it holds first ([`crate::ownership::Reason::Paused`]); the lease is given behind that, by the reactor that
//! carries such orders out. Where none is outstanding the control plane gives it itself: one reactor with a long turn does not
//! end the lease of the others. The lease is shorter than it takes others to declare a member dead.

use std::time::{Duration, Instant};

/// Others take at least `suspicion` to declare a member dead, which is half a second, and a probe before.
pub const LEASE: Duration = Duration::from_millis(400);
/// The control plane looks around at least this often.
pub const RENEWAL: Duration = Duration::from_millis(100);

/// The control plane's side of the lease.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    until: Option<Instant>,
}

impl Lease {
    /// A lease that was never given.
    #[must_use]
    pub const fn new() -> Self {
        Self { until: None }
    }

    /// Whether it is over: this process was paused, or its clock jumped.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now > until)
    }

    /// When to give it anew, at the latest; none before it was given.
    #[must_use]
    pub fn renewal(&self) -> Option<Instant> {
        self.until.map(|until| until - LEASE + RENEWAL)
    }

    /// Gives it anew, and says until when.
    pub fn renew(&mut self, now: Instant) -> Instant {
        let until = now + LEASE;
        self.until = Some(until);
        until
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Config;

    #[test]
    fn a_lease_ends_before_anybody_can_be_declared_dead() {
        assert!(LEASE < Config::default().suspicion && RENEWAL * 3 < LEASE);
        let (mut lease, now) = (Lease::new(), Instant::now());
        assert!(!lease.is_over(now));
        let until = lease.renew(now);
        assert_eq!(lease.renewal(), Some(now + RENEWAL));
        assert!(!lease.is_over(until) && lease.is_over(until + Duration::from_millis(1)));
    }
}
