//! Requests for a shard that somebody else holds: put aside until the end of the turn, and then run here after all, or left
//! together to the holder (`statemesh_claim::Combining`).

use statemesh_mesh::client_protocol::reply::Encoding;
use statemesh_mesh::client_protocol::request::Request;
use statemesh_mesh::placement;
use statemesh_transport::Io;

use super::Worker;
use super::requests::Keyed;
use crate::command::{Command, Replies};
use crate::counters::Counters;
use crate::forward::With;
use crate::shard::{Job, Outcome, Run, State};
use crate::stages::Stage;

impl Worker {
    /// Puts a request aside, since somebody else has its shard.
    pub(super) fn put_aside(&mut self, keyed: Keyed<'_>, io: &mut Io) {
        let Keyed { raw, partition, reply_to, hops, .. } = keyed;
        if self.in_flight.is_full() {
            return self.refuse_in_flight(raw, reply_to, io);
        }
        let waiting = self.keep(raw, partition, reply_to, hops, io);
        let request = waiting.request.clone();
        let correlation = self.in_flight.add(waiting, With::Inbox, self.now);
        let watch = self.run.watch.take().map(Box::new);
        let job = Job { reactor: self.index, correlation, partition, request, watch };
        self.aside.put(self.shared.shards.of(partition).index(), [job]);
        self.router.sent(partition);
        self.counters.inbox_jobs.add(1);
    }

    /// The end of a turn: what was put aside is run, or left to whoever has the shard. What finds no room there stays for the
    /// next turn; it is bounded with all that is in flight.
    pub(super) fn finish_aside(&mut self, io: &mut Io) {
        for (index, jobs) in self.aside.take() {
            let Self { shared, run, done, counters, .. } = self;
            let Some(shard) = shared.shards.get(index) else { continue };
            match shard.desk().submit(jobs, |state, jobs| run_jobs(state, jobs, run, done, counters)) {
                Ok(true) => self.aside.put(index, []),
                Ok(false) => {}
                Err(jobs) => self.aside.put(index, jobs),
            }
            self.serve(index, io);
        }
    }

    /// Runs what waits in a shard's inbox, unless somebody else is at it: to be called whenever the shard was let go.
    pub(super) fn serve(&mut self, shard: usize, io: &mut Io) {
        let Self { shared, run, done, counters, .. } = self;
        let waits = shared
            .shards
            .get(shard)
            .is_some_and(|shard| shard.desk().serve(|state, jobs| run_jobs(state, jobs, run, done, counters)));
        if waits {
            // Other threads than reactors look into shards too, e.g. for the keys of a partition, and do nobody's work: so this
            // one comes back to see that it is done.
            self.aside.put(shard, []);
        }
        if !self.done.is_empty() {
            self.hand_out(io);
        }
    }

    /// Sends the answers to what was run for reactors, this one or others.
    fn hand_out(&mut self, io: &mut Io) {
        self.after_run(io);
        for (reactor, replies) in std::mem::take(&mut self.done) {
            if reactor == self.index {
                self.all_answered(&replies, io);
            } else {
                self.tell(reactor, Command::Replies(replies));
            }
        }
    }

    pub(super) fn all_answered(&mut self, replies: &Replies, io: &mut Io) {
        for (correlation, reply) in replies.iter() {
            self.answered(correlation, reply, io);
        }
    }
}

/// Runs requests that were put aside by some reactor, with answers to `done`.
pub(super) fn run_jobs(
    state: &mut State,
    jobs: Vec<Job>,
    run: &mut Run,
    done: &mut Vec<(usize, Replies)>,
    counters: &Counters,
) {
    // It may be for the sake of another request that the shard is claimed.
    let own = run.watch.take();
    for job in jobs {
        run.watch = job.watch.map(|watch| *watch);
        run.lap(Stage::Queue);
        replies_of(job.reactor, done).add(job.correlation, |reply| {
            // It was parsed before it was put aside.
            let Ok(request) = Request::parse(&job.request, Encoding::of(&job.request)) else { return };
            let hash = placement::key_hash(&request.machine, &request.key);
            if state.run(&request, hash, job.partition, run, reply) == Outcome::NotHeld {
                reply.clear();
            }
        });
        if let Some(watch) = run.watch.take() {
            counters.round_trip.record(watch.record(&counters.stages), 1);
        }
    }
    run.watch = own;
}

fn replies_of(reactor: usize, done: &mut Vec<(usize, Replies)>) -> &mut Replies {
    let at = done.iter().position(|(of, _)| *of == reactor).unwrap_or_else(|| {
        done.push((reactor, Replies::default()));
        done.len() - 1
    });
    // In range: it was found there, or pushed.
    &mut done[at].1
}
