//! What a reactor runs requests and timers with.

use statemesh_protocol::request::Request;
use statemesh_shard::{Clock, Run, Shard, Stage, Stopwatch, Waits};

use super::context::{Arrived, ReplyTo};
use super::exits::Exit;
use super::inbox::Inbox;
use crate::shared::Shared;

/// One request in this many is timed: two clock readings cost as much as a small transition.
const TIMED: u32 = 16;

/// A reactor's side of the shards.
pub(super) struct Runner {
    /// What a run is given, and what it leaves behind.
    pub(super) run: Run,
    /// The reply that is being written; kept to be used again.
    pub(super) reply: Vec<u8>,
    /// Requests for shards that another thread has.
    pub(super) inbox: Inbox,
    /// Replies and changes that wait for what they tell to be committed.
    pub(super) gate: Waits<Exit>,
    /// How many changes are among them.
    pub(super) held_changes: usize,
    /// The shard whose timers were fired last.
    fired_last: usize,
    /// Counts requests, of which one in [`TIMED`] is timed.
    requests: u32,
}

impl Runner {
    /// Laps of timed requests are read from this clock.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            run: Run::new(clock),
            reply: Vec::new(),
            inbox: Inbox::default(),
            gate: Waits::default(),
            held_changes: 0,
            fired_last: 0,
            requests: 0,
        }
    }

    /// Takes the time of one request in many, and of each whose client wants to know; of no question of the daemon's own.
    pub(super) fn stopwatch(&mut self, request: &Request<'_>, arrived: &Arrived) -> Option<Stopwatch> {
        if matches!(arrived.reply_to, ReplyTo::Wait(_)) {
            return None;
        }
        self.requests = self.requests.wrapping_add(1);
        (request.answer.timing || self.requests.is_multiple_of(TIMED)).then(|| {
            let mut watch = Stopwatch::new(arrived.at, request.answer.timing);
            watch.lap(Stage::Read, self.run.clock.now());
            watch
        })
    }

    /// The shards whose timers this reactor minds, beginning where the budget ended last time: however much one shard has to do, the
    /// others have their turn.
    pub(super) fn minded<'s>(&self, shared: &'s Shared, reactor: usize) -> Vec<&'s Shard> {
        let mut minded: Vec<&Shard> = shared.shards.minded_by(reactor, shared.reactors.len()).collect();
        let first = minded.partition_point(|shard| shard.index() <= self.fired_last);
        minded.rotate_left(first);
        minded
    }

    /// Fires timers of a shard, so many at most. Gives how many; none are due, or another thread has it, if there is no number.
    pub(super) fn fire(&mut self, shard: &Shard, now: u64, budget: usize) -> Option<usize> {
        let mut state = if shard.due() <= now { shard.try_claim()? } else { return None };
        self.fired_last = shard.index();
        Some(state.fire(now, budget, &mut self.run))
    }
}
