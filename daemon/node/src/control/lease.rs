//! The lease that the control plane gives its reactors (`statemesh_mesh::lease`), behind the orders that end serving.

use std::time::Instant;

use statemesh_mesh::lease;

use crate::mailbox::Command;
use crate::shared::Shared;

/// The lease, and what has to be carried out before it is given again.
#[derive(Debug)]
pub(super) struct Lease {
    lease: lease::Lease,
    /// How many orders that end serving a partition were given.
    ends_serving: u64,
}

impl Lease {
    /// None was given yet.
    pub(super) fn new() -> Self {
        Self { lease: lease::Lease::new(), ends_serving: 0 }
    }

    /// An order that ends serving a partition is given.
    pub(super) fn ends_serving(&mut self) {
        self.ends_serving += 1;
    }

    /// Whether the last one is over, since this process was paused.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.lease.is_over(now)
    }

    /// When to give it again.
    pub(super) fn renewal(&self) -> Option<Instant> {
        self.lease.renewal()
    }

    /// Gives it again, if it is time to. Gives the command by which a reactor does so, if that is still to carry out orders.
    pub(super) fn renew(&mut self, shared: &Shared, now: Instant) -> Option<Command> {
        if self.lease.renewal().is_some_and(|due| due > now) {
            return None;
        }
        let (until_ms, orders) = (shared.clock.millis(self.lease.renew(now)), self.ends_serving);
        if shared.lease.carried_out() != orders {
            return Some(Command::Lease { until_ms, orders });
        }
        // However long a reactor is at its turn, the others go on.
        shared.lease.prolong(until_ms);
        None
    }
}
