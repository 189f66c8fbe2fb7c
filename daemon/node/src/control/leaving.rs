//! Leaving: everything is handed over, what is under way is answered, then goodbye.

use std::time::{Duration, Instant};

use statemesh_mesh::{membership, ownership};

use super::{Control, Output};
use crate::node::LeaveReport;

/// How often to look whether everything is done.
const LOOK: Duration = Duration::from_millis(10);
/// After everything was handed over, requests that are under way get this long to be answered.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// A daemon that is leaving.
#[derive(Debug)]
pub(super) struct Leaving {
    until: Instant,
    /// When to look again.
    look_at: Instant,
    drained_at: Option<Instant>,
    moved: u64,
    /// Goodbye was said.
    gone: bool,
}

impl Control {
    pub(super) fn leave(&mut self, patience: Duration, now: Instant) {
        tracing::info!(instances = self.shared.shards.instances(), "leaving: handing everything over");
        self.leaving =
            Some(Leaving { until: now + patience, look_at: now + LOOK, drained_at: None, moved: 0, gone: false });
        self.membership.handle(membership::Input::Leave, now);
        self.own(ownership::Input::Leave, now);
        self.stale = true;
    }

    pub(super) fn leaving_deadline(&self) -> Option<Instant> {
        self.leaving.as_ref().filter(|leaving| !leaving.gone).map(|leaving| leaving.look_at)
    }

    /// Whether goodbye was said.
    pub(super) fn has_left(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.gone)
    }

    /// A partition is on its way.
    pub(super) fn transferred(&mut self, _to: u32, instances: usize) {
        if let Some(leaving) = &mut self.leaving {
            leaving.moved += instances as u64;
        }
    }

    pub(super) fn go_on_leaving(&mut self, now: Instant) {
        let drained = self.ownership.drained();
        let busy = self.shared.counters.iter().any(|c| c.in_flight.get() + c.parked.get() > 0);
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        leaving.look_at = now + LOOK;
        if drained && leaving.drained_at.is_none() {
            leaving.drained_at = Some(now);
        }
        let answered = leaving.drained_at.is_some_and(|at| {
            // At least one look later: a request that came while the last partition left is counted by then.
            now > at + LOOK && (!busy || now > at + LAST_ANSWERS)
        });
        if leaving.gone || (!answered && now < leaving.until) {
            return;
        }
        leaving.gone = true;
        let report = LeaveReport { moved_instances: leaving.moved, left_behind: self.shared.shards.instances() };
        self.membership.handle(membership::Input::Goodbye, now);
        self.follow_membership(now);
        self.stale = true;
        self.outputs.push_back(Output::Left(report));
    }
}
