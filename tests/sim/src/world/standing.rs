//! How a mesh stands, as its daemons say: who runs, who serves what, and whether all has settled.

use statemesh_node::parts;

use super::World;
use crate::daemon::{Daemon, Process};

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

    /// A daemon's process, if it runs.
    #[must_use]
    pub fn process(&self, n: usize) -> Option<&Process> {
        self.daemons.get(n)?.process.as_ref()
    }

    /// Partitions of the mesh.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.daemons.first().map_or(0, |daemon| daemon.setup.partitions)
    }

    /// Who serves a partition.
    #[must_use]
    pub fn servers_of(&self, partition: u16) -> Vec<usize> {
        let serves =
            |daemon: &Daemon| daemon.process.as_ref().is_some_and(|process| parts::serves(&process.shared, partition));
        (0..self.daemons.len()).filter(|n| self.daemons.get(*n).is_some_and(serves)).collect()
    }

    /// How many copies each partition has, and how many daemons serve it.
    #[must_use]
    pub fn standings(&self) -> Vec<(u32, u32)> {
        let mut all = vec![(0, 0); usize::from(self.partitions())];
        for process in self.daemons.iter().filter_map(|daemon| daemon.process.as_ref()) {
            parts::standings(&process.shared, |partition, is_here, is_served| {
                if let Some((copies, servers)) = all.get_mut(usize::from(partition)) {
                    *copies += u32::from(is_here);
                    *servers += u32::from(is_served);
                }
            });
        }
        all
    }

    /// Whether every daemon that runs is ready, knows all others, and every partition has one server.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.all_see_all() && self.standings().iter().all(|(_, servers)| *servers == 1)
    }

    fn all_see_all(&self) -> bool {
        let running: Vec<&Daemon> = self.daemons.iter().filter(|daemon| daemon.stays()).collect();
        let leaving = self.daemons.iter().any(|daemon| daemon.runs() && !daemon.stays());
        let sees_all = |daemon: &&Daemon| {
            daemon.paused_until.is_none()
                && daemon.process.as_ref().is_some_and(|p| parts::standing(&p.shared) == (true, running.len()))
        };
        !leaving && running.iter().all(sees_all)
    }

    /// Whether it is settled and no partition has two copies: as long as there are, one may be of the time when the mesh was apart.
    #[must_use]
    pub fn is_merged(&self) -> bool {
        self.all_see_all() && self.standings().iter().all(|(copies, servers)| *copies <= 1 && *servers == 1)
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
