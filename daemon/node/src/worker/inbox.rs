//! Requests for a shard that somebody else holds: left in its inbox, run by the holder.

use std::collections::VecDeque;
use std::sync::Arc;

use statemesh_mesh::client_protocol::reply::Encoding;
use statemesh_mesh::client_protocol::request::Request;
use statemesh_mesh::placement;
use statemesh_transport::Io;

use super::Worker;
use super::requests::Keyed;
use crate::command::Command;
use crate::counters::Counters;
use crate::forward::With;
use crate::shard::{Job, Outcome, Run, Shard, State};
use crate::shared::Shared;
use crate::stages::Stage;

impl Worker {
    /// Leaves a request to whoever has its shard.
    pub(super) fn leave_in_inbox(&mut self, keyed: Keyed<'_>, io: &mut Io) {
        let Keyed { raw, partition, reply_to, hops, .. } = keyed;
        if self.in_flight.is_full() {
            return self.refuse_in_flight(raw, reply_to, io);
        }
        let waiting = self.keep(raw, partition, reply_to, hops, io);
        let request = waiting.request.clone();
        let correlation = self.in_flight.add(waiting, With::Inbox, self.now);
        let shared = Arc::clone(&self.shared);
        self.run.lap(Stage::Route);
        let job =
            Job { reactor: self.index, correlation, partition, request, watch: self.run.watch.take().map(Box::new) };
        if shared.shards.of(partition).push(job).is_err() {
            self.in_flight.take(correlation);
            return self.refuse_in_flight(raw, reply_to, io);
        }
        self.router.sent(partition);
        self.counters.inbox_jobs.add(1);
        // The holder may have let go before it could see the job.
        self.serve(partition);
        self.after_run(io);
    }

    /// Runs what waits in a shard's inbox, unless somebody else is at it.
    pub(super) fn serve(&mut self, partition: u16) {
        let shard = self.shared.shards.of(partition);
        while shard.has_jobs() {
            let Some(mut state) = shard.try_claim() else {
                return;
            };
            drain(&self.shared, shard, &mut state, &mut self.run, &mut self.overflow, &self.counters);
        }
    }
}

/// Runs the jobs in a shard's inbox. Answers go to the reactors that left them; what finds no room there, to `overflow`.
pub(super) fn drain(
    shared: &Shared,
    shard: &Shard,
    state: &mut State,
    run: &mut Run,
    overflow: &mut VecDeque<(usize, Command)>,
    counters: &Counters,
) {
    while let Some(job) = shard.pop() {
        run.watch = job.watch.map(|watch| *watch);
        run.lap(Stage::Queue);
        let mut reply = Vec::new();
        let outcome = match Request::parse(&job.request, Encoding::of(&job.request)) {
            Ok(request) => {
                let hash = placement::key_hash(&request.machine, &request.key);
                state.run(&request, hash, job.partition, run, &mut reply)
            }
            // It was parsed before it was left here.
            Err(_) => Outcome::NotHeld,
        };
        if let Some(watch) = run.watch.take() {
            counters.round_trip.record(watch.record(&counters.stages), 1);
        }
        let command = match outcome {
            Outcome::Replied => Command::Reply { correlation: job.correlation, reply, error: None },
            Outcome::NotHeld => Command::Bounced { correlation: job.correlation },
        };
        if let Err(command) = shared.tell(job.reactor, command) {
            overflow.push_back((job.reactor, command));
        }
    }
}
