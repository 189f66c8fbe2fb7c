//! Which number the next life of a key gets.

use statemesh_protocol::run::RunId;
use statemesh_protocol::tenure::Tenure;

/// Where the numbers of a daemon's lives come from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    /// Milliseconds since 1970 at which the daemon's clock stood at 0.
    pub unix_ms: u64,
    /// Random, and another one in each process.
    pub seed: u64,
}

/// The lives that begin in one shard.
#[derive(Debug)]
pub(crate) struct Lives {
    unix_ms: u64,
    state: u64,
    /// The latest of those whose instances were removed.
    removed: RunId,
}

impl Lives {
    /// For the shard of this number.
    pub(crate) fn new(origin: Origin, shard: usize) -> Self {
        Self { unix_ms: origin.unix_ms, state: origin.seed ^ (shard as u64) << 32, removed: RunId::default() }
    }

    /// An instance was removed. Which run its key had is not remembered: the next life of any key is a later one.
    pub(crate) fn removed(&mut self, run: RunId) {
        self.removed = self.removed.max(run);
    }

    /// Whether an instance of a later life may have been removed, of this key or another one.
    pub(crate) fn may_be_removed_after(&self, run: RunId) -> bool {
        self.removed > run
    }

    /// A number that no other has: two shards of two daemons give the same ones only if their seeds meet (SplitMix64).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        statemesh_protocol::hash::mix(self.state)
    }

    /// A copy of a partition is another one from now on, after this tenure.
    pub(crate) fn tenure(&mut self, now: u64, after: Tenure) -> Tenure {
        Tenure(RunId::begin(self.unix_ms.wrapping_add(now), self.random(), Some(RunId(after.0))).0)
    }

    /// A life that begins now, after another one or as the first.
    pub(crate) fn begin(&mut self, now: u64, after: Option<RunId>) -> RunId {
        let random = self.random();
        let after = after.max(Some(self.removed).filter(|run| *run != RunId::default()));
        RunId::begin(self.unix_ms.wrapping_add(now), random, after)
    }
}
