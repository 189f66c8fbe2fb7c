//! Until when reactors may answer for the partitions that are here (`statemesh_mesh::lease`).

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The lease, as the control plane gives it and reactors read it.
#[derive(Debug)]
pub(crate) struct Lease {
    /// In milliseconds of the daemon's clock.
    until_ms: AtomicU64,
    /// Orders that end serving and that the reactor that carries them out has carried out.
    carried_out: AtomicU64,
}

impl Lease {
    /// One that has no end until the first is given.
    pub(super) fn new() -> Self {
        Self { until_ms: AtomicU64::new(u64::MAX), carried_out: AtomicU64::new(0) }
    }

    /// Whether the control plane has not looked around lately: this process was paused, and others may have adopted what is here.
    #[must_use]
    pub(crate) fn is_over(&self, now_ms: u64) -> bool {
        now_ms > self.until_ms.load(Relaxed)
    }

    /// Lets reactors answer until then, or for longer if that was said already.
    pub(crate) fn prolong(&self, until_ms: u64) {
        let known = self.until_ms.load(Relaxed);
        if known == u64::MAX || known < until_ms {
            self.until_ms.store(until_ms, Relaxed);
        }
    }

    /// All of the first so many orders that end serving are carried out.
    pub(crate) fn set_carried_out(&self, orders: u64) {
        self.carried_out.store(orders, Release);
    }

    /// How many are.
    pub(crate) fn carried_out(&self) -> u64 {
        self.carried_out.load(Acquire)
    }
}
