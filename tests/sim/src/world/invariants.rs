//! What must hold at any time: one server for each partition that was not cut off, every bound of a daemon, and its memory.

use std::time::Duration;

use statemesh_node::parts;

use super::World;
use crate::daemon::Daemon;
use crate::dice::nanos;
use crate::dns::Mode;
use crate::memory;

/// How often it is looked whether all holds.
const LOOK: Duration = Duration::from_millis(5);

/// What must hold, and what is known of a world that says how much must.
#[derive(Debug)]
pub struct Invariants {
    next_look: u64,
    /// The mesh has been settled once: until then its members may have met in groups.
    born: bool,
    /// Since the last time that all was settled, a part of the mesh may have been cut off: two may serve a partition.
    maybe_split: bool,
    /// What a daemon may have of memory beside what its gauges tell, in bytes.
    memory_most: i64,
    /// The most that a daemon had of memory, in bytes.
    peak: i64,
}

impl Default for Invariants {
    fn default() -> Self {
        Self { next_look: 0, born: false, maybe_split: true, memory_most: memory::MOST, peak: 0 }
    }
}

impl Invariants {
    /// When it is looked next.
    pub(super) fn next_look(&self) -> u64 {
        self.next_look
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&mut self, now: u64) -> bool {
        let due = self.next_look <= now;
        if due {
            self.next_look = now + nanos(LOOK);
        }
        due
    }

    /// Something begins in which a part of the mesh may be on its own.
    pub fn may_be_split(&mut self) {
        self.maybe_split = true;
    }

    /// A daemon may have so many bytes more: a scenario's instances are large.
    pub fn allow_memory(&mut self, more: i64) {
        self.memory_most += more;
    }

    /// The most that a daemon had of memory, in bytes.
    #[must_use]
    pub fn peak(&self) -> i64 {
        self.peak
    }

    fn look_at_memory(&mut self, daemons: &[Daemon]) -> Option<String> {
        let running = daemons.iter().filter_map(|daemon| Some((&daemon.name, daemon.process.as_ref()?)));
        let mut over = None;
        for (name, process) in running {
            self.peak = self.peak.max(process.memory);
            if process.memory > self.memory_most {
                let told = i64::try_from(parts::bytes_told(&process.shared)).unwrap_or(i64::MAX);
                let what = memory::is_over(process.memory, self.memory_most, told);
                over = over.or(what.map(|what| format!("{name}: {what}")));
            }
        }
        if over.is_some() {
            // Said once: it is over at the next look too.
            self.memory_most = i64::MAX;
        }
        over
    }
}

impl World {
    /// Lets time pass until all is settled; says so if that takes longer than `limit`.
    pub fn settle(&mut self, limit: Duration) -> bool {
        let took = self.run_until(limit, |world| world.is_settled());
        if took.is_none() {
            let why = self.unsettled();
            self.judge.wrong(format!("not settled after {limit:?}: {why}"));
        } else {
            self.invariants.born = true;
            self.look();
        }
        took.is_some()
    }

    /// Looks whether what must always hold does.
    pub(super) fn look(&mut self) {
        if let Some(what) = self.invariants.look_at_memory(&self.daemons) {
            self.judge.wrong(what);
        }
        if !self.invariants.born {
            return;
        }
        let shared = self.daemons.iter().filter_map(|daemon| Some((&daemon.name, daemon.process.as_ref()?)));
        let over =
            shared.filter_map(|(name, process)| Some((name.clone(), parts::over_bound(&process.shared)?))).next();
        if let Some((name, what)) = over {
            self.judge.wrong(format!("{name}: {what}"));
        }
        if self.invariants.maybe_split {
            // Who joins while DNS names only who asks may be alone.
            let may_split_yet = self.net.lock().has_cuts() || self.dns.mode == Mode::OnlyYourself;
            if !may_split_yet && self.is_merged() {
                self.invariants.maybe_split = false;
            }
            return;
        }
        let twice =
            (0..).zip(self.standings()).find_map(|(partition, (_, servers))| (servers > 1).then_some(partition));
        if let Some(partition) = twice {
            let servers = self.servers_of(partition);
            self.invariants.maybe_split = true;
            let now = crate::judge::time(self.now());
            self.judge
                .wrong(format!("partition {partition} is served by {servers:?} at {now}, and nobody was cut off"));
        }
    }

    /// Looks at what daemons have of memory while nothing is under way, and ends them all: nothing of theirs is to be left.
    pub fn rest_and_end(&mut self) {
        let daemons = self.daemons.len();
        for n in 0..daemons {
            let Some(process) = self.process(n) else { continue };
            if let Some(what) = memory::is_restless(process.memory, daemons) {
                self.judge.wrong(format!("node-{n}: {what}"));
            }
            self.kill(n);
        }
    }
}
