//! Leaving: everything is handed off, clients' requests are no longer passed on, what is under way is answered, then goodbye.

use std::time::{Duration, Instant};

use statemesh_mesh::{membership, ownership};

use super::{Control, Output};
use crate::mailbox::Command;
use crate::node::LeaveReport;

/// How often to look whether everything is done.
const LOOK: Duration = Duration::from_millis(10);

/// A daemon that is leaving.
#[derive(Debug)]
pub(super) struct Leaving {
    until: Instant,
    /// When to look again.
    look_at: Instant,
    stage: Stage,
    /// The least that clients had still to take since it has closed, and since when.
    untaken: (u64, Instant),
    moved: u64,
    /// Goodbye was said.
    gone: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has partitions.
    Full,
    /// It has none since then, and no member passes requests on to it. Those of clients are refused: an answer would not find the daemon.
    Closed,
}

impl Control {
    pub(super) fn leave(&mut self, patience: Duration, now: Instant) {
        tracing::info!(instances = self.shared.shards.instances(), "leaving: handing everything over");
        self.leaving = Some(Leaving {
            until: now + patience,
            look_at: now + LOOK,
            stage: Stage::Full,
            untaken: (u64::MAX, now),
            moved: 0,
            gone: false,
        });
        self.membership.handle(membership::Input::Leave, now);
        self.own(ownership::Input::Leave, now);
        self.reports.is_stale = true;
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
        // Behind this look: what a reactor counts when it says that it has closed is all that there will be.
        let closed = self.shared.reactors.are_closed();
        let busy = self.shared.counters.iter().any(|c| c.in_flight.get() + c.parked.get() > 0);
        let untaken: u64 = self.shared.counters.iter().map(|c| c.unsent_bytes.get()).sum();
        let patience = self.shared.options.limits.forward_timeout;
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        leaving.look_at = now + LOOK;
        let closes = leaving.stage == Stage::Full && drained;
        if closes {
            leaving.stage = Stage::Closed;
            self.outbox.tell_all(&self.shared, || Command::Close);
        }
        // Clients that read slowly are waited for as long as they read at all.
        if closes || untaken < leaving.untaken.0 {
            leaving.untaken = (untaken, now);
        }
        let is_over = (closed && !busy) || now > leaving.untaken.1 + patience;
        let answered = leaving.stage == Stage::Closed && is_over;
        if leaving.gone || (!answered && now < leaving.until) {
            return;
        }
        leaving.gone = true;
        let report = LeaveReport::of(leaving.moved, &self.shared);
        self.membership.handle(membership::Input::Goodbye, now);
        self.follow_membership(now);
        self.reports.is_stale = true;
        self.outbox.put(Output::Left(report));
    }
}
