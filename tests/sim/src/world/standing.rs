//! How a mesh stands, as its daemons say: who runs, who serves what, and whether all has settled.

use statemesh_node::parts::{self, Shared};

use super::World;
use crate::daemon::Daemon;

impl World {
    /// Daemons that run and are not leaving.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        (0..self.daemons.len()).filter(|n| self.daemons.get(*n).is_some_and(Daemon::stays)).collect()
    }

    /// Subscriptions at all daemons.
    #[must_use]
    pub fn subscriptions(&self) -> u64 {
        let processes = self.daemons.iter().filter_map(|daemon| daemon.process.as_ref());
        processes.flat_map(|process| &process.shared.counters).map(|counters| counters.subscriptions.get()).sum()
    }

    /// Partitions of the mesh.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.daemons.first().map_or(0, |daemon| daemon.setup.partitions)
    }

    /// Who serves a partition.
    #[must_use]
    pub fn servers_of(&self, partition: u16) -> Vec<usize> {
        self.daemons_with(partition, parts::serves)
    }

    fn daemons_with(&self, partition: u16, has: fn(&Shared, u16) -> bool) -> Vec<usize> {
        let has = |daemon: &Daemon| daemon.process.as_ref().is_some_and(|process| has(&process.shared, partition));
        (0..self.daemons.len()).filter(|n| self.daemons.get(*n).is_some_and(has)).collect()
    }

    /// Whether every daemon that runs is ready, knows all others, and every partition has one server.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let running: Vec<&Daemon> = self.daemons.iter().filter(|daemon| daemon.stays()).collect();
        let leaving = self.daemons.iter().any(|daemon| daemon.runs() && !daemon.stays());
        let sees_all = |daemon: &&Daemon| {
            daemon.paused_until.is_none()
                && daemon.process.as_ref().is_some_and(|p| parts::standing(&p.shared) == (true, running.len()))
        };
        !leaving && running.iter().all(sees_all) && (0..self.partitions()).all(|p| self.servers_of(p).len() == 1)
    }

    /// Whether it is settled and no partition has two copies: as long as there are, one may be of the time when the mesh was apart.
    #[must_use]
    pub fn is_merged(&self) -> bool {
        self.is_settled() && (0..self.partitions()).all(|p| self.daemons_with(p, parts::has_copy).len() <= 1)
    }

    /// Why it is not settled, for people.
    #[must_use]
    pub fn unsettled(&self) -> String {
        let standing: Vec<String> = self
            .daemons
            .iter()
            .filter_map(|d| {
                d.process
                    .as_ref()
                    .map(|p| format!("{}: {:?} {}", d.name, parts::standing(&p.shared), parts::reason(&p.shared)))
            })
            .collect();
        let odd: Vec<(u16, Vec<usize>)> =
            (0..self.partitions()).map(|p| (p, self.servers_of(p))).filter(|(_, s)| s.len() != 1).collect();
        format!("{standing:?}; partitions without one server: {odd:?}")
    }
}
