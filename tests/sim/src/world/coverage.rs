//! What happened in a world, counted by kind: without it a seed that shows nothing looks like one that proves something.

use std::collections::BTreeMap;

use statemesh_node::LeaveReport;
use statemesh_node::parts::{self, Counted};

use crate::daemon::{Daemon, Process};

/// What was counted.
#[derive(Debug, Default)]
pub struct Coverage {
    /// How often control planes that have ended decided what, and threads told each other what.
    counts: BTreeMap<(&'static str, &'static str), u64>,
    /// Kinds of wake-ups of control planes.
    wakes: BTreeMap<&'static str, u64>,
    faults: BTreeMap<&'static str, u64>,
    left_behind: usize,
    ended: Counted,
}

impl Coverage {
    /// A fault was done.
    pub fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    /// Counts each kind of wake-up of a control plane.
    pub(super) fn wakes(&mut self) -> &mut BTreeMap<&'static str, u64> {
        &mut self.wakes
    }

    /// A process ends: what it has counted is kept.
    pub(super) fn ends(&mut self, process: &mut Process) {
        for (what, count) in process.counts() {
            *self.counts.entry(what).or_default() += count;
        }
        self.ended += parts::counted(&process.shared);
    }

    /// A daemon has left, with what it left behind.
    pub(super) fn left(&mut self, report: &LeaveReport) {
        self.left_behind += report.left_behind;
    }

    /// Instances that daemons left behind when they left.
    #[must_use]
    pub fn left_behind(&self) -> usize {
        self.left_behind
    }

    /// What all daemons have counted, those that have ended as well.
    #[must_use]
    pub fn counted(&self, daemons: &[Daemon]) -> Counted {
        let mut all = self.ended;
        let running = daemons.iter().filter_map(|daemon| daemon.process.as_ref());
        running.for_each(|process| all += parts::counted(&process.shared));
        all
    }

    /// How often what happened, by name: wake-ups, faults, what threads told each other, and what control planes decided, those that
    /// run as well.
    #[must_use]
    pub fn by_name(&self, daemons: &mut [Daemon]) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (kind, counts) in [("wake", &self.wakes), ("fault", &self.faults)] {
            counts.iter().for_each(|(name, n)| *all.entry(format!("{kind} {name}")).or_default() += *n);
        }
        let running = daemons.iter_mut().filter_map(|daemon| daemon.process.as_mut()).flat_map(Process::counts);
        for ((of, what), n) in self.counts.clone().into_iter().chain(running) {
            *all.entry(format!("{of} {what}")).or_default() += n;
        }
        all
    }
}
