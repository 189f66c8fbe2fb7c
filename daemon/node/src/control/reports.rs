//! What the control plane tells of itself: figures for the scrape, what it decided, bounds for the log, and the view of the mesh.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::counts::Counts;
use crate::bounds::Warnings;
use crate::shared::Shared;

/// What was told, and what is to be.
#[derive(Debug)]
pub(super) struct Reports {
    pub(super) counts: Arc<Counts>,
    /// How often membership and ownership decided what.
    decisions: BTreeMap<(&'static str, &'static str), u64>,
    /// Bounds that the log was told of.
    warnings: Warnings,
    /// The published view is out of date.
    pub(super) is_stale: bool,
}

impl Reports {
    /// Nothing is told yet.
    pub(super) fn new() -> Self {
        Self { counts: Arc::default(), decisions: BTreeMap::new(), warnings: Warnings::default(), is_stale: true }
    }

    /// A part of the control plane decided this.
    pub(super) fn decided(&mut self, part: &'static str, decision: &'static str) {
        *self.decisions.entry((part, decision)).or_default() += 1;
    }

    /// How often which part decided what.
    pub(super) fn decisions(&self) -> &BTreeMap<(&'static str, &'static str), u64> {
        &self.decisions
    }

    /// Names the bounds that are nearly hit.
    pub(super) fn warn_of_bounds(&mut self, shared: &Shared, now: Instant) {
        for (name, share) in self.warnings.look(shared, now) {
            let used = format!("{:.0} %", share * 100.0);
            tracing::warn!(limit = %format!("limits.{name}"), used, "a bound is nearly hit: raise it, or add a daemon");
        }
    }
}
