//! A daemon adopts partitions once it has the machines of the mesh. One that did before would answer that a machine is unknown, which
//! no client asks again, and would give new instances for life whichever version it compiled first.
//!
//! That makes no join slower than by a round trip: a claim waits for the answer of each live member anyway, and they tell their
//! lists on the same links ([`statemesh_mesh::ownership`]). Members tell them as soon as there is a link, be they empty: so daemons that
//! start together do not wait for each other.

use std::time::{Duration, Instant};

use statemesh_mesh::ownership;

use super::Control;

/// How long a daemon that has joined waits for the machines of the mesh at most: it serves what it can then.
const MACHINES_PATIENCE: Duration = Duration::from_secs(10);

impl Control {
    /// When partitions are adopted although the machines of the mesh are not all here.
    pub(super) fn adopting_due(&self) -> Option<Instant> {
        if self.joining.adopts {
            return None;
        }
        self.files.joined_at().map(|at| at + MACHINES_PATIENCE)
    }

    /// Begins to adopt partitions once it has joined and has the mesh's machines, or has waited for long enough.
    pub(super) fn adopt_when_known(&mut self, now: Instant) {
        if self.joining.adopts || !self.joining.joined {
            return;
        }
        if !self.knows_machines() {
            if self.adopting_due().is_none_or(|due| now < due) {
                return;
            }
            let silent: Vec<String> =
                self.live().filter(|name| !self.definitions.has_list_of(name)).map(ToString::to_string).collect();
            tracing::warn!(
                without_list = silent.join(", "),
                uncompiled = self.definitions.uncompiled(),
                "the mesh's machines are not all here after {} s: serving without them, so some requests hear unknown_machine",
                MACHINES_PATIENCE.as_secs()
            );
        }
        self.joining.adopts = true;
        self.reports.is_stale = true;
        self.own(ownership::Input::Activate, now);
    }

    /// Whether all machines are here that live members have.
    fn knows_machines(&self) -> bool {
        self.files.are_judged() && self.all_told() && self.definitions.are_settled()
    }
}
