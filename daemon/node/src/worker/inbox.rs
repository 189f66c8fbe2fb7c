//! Requests for a shard that somebody else holds: put aside until the end of the turn, and then run here after all, or left
//! together to the holder (`statemesh_claim::Combining`).

use std::collections::VecDeque;
use std::sync::Arc;

use statemesh_mesh::delivery::With;
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::hash;
use statemesh_protocol::place::Mark;
use statemesh_protocol::reply::{Encoding, write_error};
use statemesh_protocol::request::Request;
use statemesh_transport::Io;

use super::Worker;
use super::context::Keyed;
use super::forwarding::OVERTAKEN;
use crate::mailbox::{Command, Replies};
use statemesh_shard::Stage;
use statemesh_shard::{Job, Outcome, State};

/// Bytes of answers that are made in one go of what waits for a shard, or is parked, and that another reactor may not have taken yet
/// before more are made for it. One answer more may come.
pub(super) const ANSWER_BYTES: usize = 1 << 20;
/// Bytes of answers after which they are sent to the reactor that waits for them.
const PARCEL_BYTES: usize = 256 * 1024;

impl Worker {
    /// Puts a request aside, since somebody else has its shard.
    pub(super) fn put_aside(&mut self, mut keyed: Keyed<'_>, io: &mut Io) {
        let partition = keyed.partition;
        if self.delivery.is_full() {
            self.delivery.held(partition);
            return self.refuse_in_flight(&keyed, io);
        }
        let watch = keyed.watch.take().map(Box::new);
        let path = keyed.path;
        let waiting = self.keep(keyed, io);
        let (request, uncertain) = (waiting.request.clone(), waiting.uncertain);
        let round = self.delivery.round(partition);
        let correlation = self.delivery.sent(waiting, With::Inbox, self.now);
        let job = Job { reactor: self.index, correlation, partition, round, path, request, uncertain, watch };
        self.aside.put(self.shared.shards.of(partition).index(), [job]);
        self.counters.inbox_jobs.add(1);
    }

    /// The end of a turn: what was put aside is run, or left to whoever has the shard. What finds no room there stays for the
    /// next turn; it is bounded with all that is in flight.
    pub(super) fn finish_aside(&mut self, io: &mut Io) {
        if self.aside.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        for (index, jobs) in self.aside.take() {
            let Some(shard) = shared.shards.get(index) else { continue };
            let mut made = 0;
            match shard.combiner().submit(jobs, |state, jobs| self.run_jobs(state, jobs, &mut made, io)) {
                Ok(true) => self.aside.put(index, []),
                Ok(false) => {}
                Err(jobs) => self.aside.put(index, jobs),
            }
            // Of each shard it is heard whether its timers are due sooner.
            self.after_run(io);
            self.serve(index, io);
        }
        self.hand_out(io);
    }

    /// Runs what waits in a shard's inbox, unless somebody else is at it: to be called whenever the shard was let go.
    pub(super) fn serve(&mut self, shard: usize, io: &mut Io) {
        if self.shared.shards.get(shard).is_none_or(|shard| !shard.combiner().has_jobs()) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let mut made = 0;
        let run = |state: &mut State, jobs: &mut VecDeque<Job>| self.run_jobs(state, jobs, &mut made, io);
        if shared.shards.get(shard).is_some_and(|shard| shard.combiner().drain(run)) {
            // Other threads than reactors look into shards too, e.g. for the keys of a partition, and do nobody's work: so this
            // one comes back to see that it is done.
            self.aside.put(shard, []);
        }
        self.hand_out(io);
    }

    /// Runs requests that were put aside by some reactor. Our own are answered at once, so that what their clients do not take is
    /// seen before the next one runs. It stops, and leaves the rest for later, when it has made answers enough for a while, or when
    /// the reactor that asked has not taken those that it has.
    fn run_jobs(&mut self, state: &mut State, jobs: &mut VecDeque<Job>, made: &mut usize, io: &mut Io) {
        while *made < ANSWER_BYTES
            && let Some(job) = jobs.pop_front_if(|job| self.takes_answers(job.reactor))
        {
            *made += if job.reactor == self.index { self.run_own(state, job, io) } else { self.run_for(state, job) };
        }
    }

    fn takes_answers(&self, reactor: usize) -> bool {
        reactor == self.index || self.shared.answer_bytes(reactor) < ANSWER_BYTES
    }

    /// Runs one of ours. Gives the bytes of its answer.
    fn run_own(&mut self, state: &mut State, job: Job, io: &mut Io) -> usize {
        let correlation = job.correlation;
        let Some(reply_to) = self.delivery.waiting(correlation).map(|waiting| waiting.rest.reply_to) else { return 0 };
        if !self.has_room(reply_to, 0, io) {
            if let Some(pending) = self.delivery.answered(correlation) {
                self.refuse_waiting(&pending.waiting, io);
            }
            return 0;
        }
        let mut reply = std::mem::take(&mut self.reply);
        reply.clear();
        let mark = self.run_job(state, job, &mut reply);
        self.leave_answer(mark, correlation, &reply, io);
        let bytes = reply.len();
        self.reply = reply;
        bytes
    }

    /// Runs one of another reactor, and sends it its answers as soon as they are many. Gives the bytes of its answer.
    fn run_for(&mut self, state: &mut State, job: Job) -> usize {
        let (reactor, correlation) = (job.reactor, job.correlation);
        let mut reply = std::mem::take(&mut self.reply);
        reply.clear();
        let mark = self.run_job(state, job, &mut reply);
        let replies = replies_of(reactor, &mut self.done);
        replies.add(correlation, mark, &reply);
        if replies.bytes() >= PARCEL_BYTES {
            let replies = std::mem::take(replies);
            self.send_answers(reactor, replies);
        }
        let bytes = reply.len();
        self.reply = reply;
        bytes
    }

    /// Runs a request. An empty reply says that its partition is no longer here.
    fn run_job(&mut self, state: &mut State, job: Job, reply: &mut Vec<u8>) -> Option<Mark> {
        let Job { reactor, partition, round, path, request, uncertain, watch, .. } = job;
        let run = &mut self.run;
        run.watch = watch.map(|watch| *watch);
        run.lap(Stage::Queue);
        // It was parsed before it was put aside.
        let mut request = Request::parse(&request, Encoding::of(&request)).ok()?;
        request.transit.uncertain = uncertain;
        if state.bounces.refuse(reactor, partition, round) {
            return None;
        }
        if self.shared.is_void(&path) {
            self.counters.forwards_lost.add(1);
            write_error(reply, request.encoding, request.id, ErrorCode::Moving, OVERTAKEN, "send it again");
            return None;
        }
        let run = &mut self.run;
        let hash = hash::key_hash(&request.machine, &request.key);
        let mark = match state.run(&request, hash, partition, run, reply) {
            Outcome::Replied(mark) => mark,
            Outcome::NotHeld => {
                state.bounces.bounced(reactor, partition, round);
                reply.clear();
                None
            }
        };
        if let Some(watch) = run.watch.take() {
            self.counters.round_trip.record(watch.record(&self.counters.stages), 1);
        }
        mark
    }

    /// Publishes what was run for reactors, this one or others, and sends the others their answers.
    fn hand_out(&mut self, io: &mut Io) {
        self.after_run(io);
        for (reactor, replies) in std::mem::take(&mut self.done) {
            if !replies.is_empty() {
                self.send_answers(reactor, replies);
            }
        }
    }

    fn send_answers(&mut self, reactor: usize, replies: Replies) {
        self.shared.answers_sent(reactor, replies.bytes());
        self.tell(reactor, Command::Replies(replies));
    }

    /// Takes in answers that another reactor made.
    pub(super) fn all_answered(&mut self, replies: &Replies, io: &mut Io) {
        for (correlation, reply, mark) in replies.iter() {
            self.leave_answer(mark, correlation, reply, io);
        }
        self.shared.answers_taken(self.index, replies.bytes());
    }
}

fn replies_of(reactor: usize, done: &mut Vec<(usize, Replies)>) -> &mut Replies {
    let at = done.iter().position(|(of, _)| *of == reactor).unwrap_or_else(|| {
        done.push((reactor, Replies::default()));
        done.len() - 1
    });
    // In range: it was found there, or pushed.
    &mut done[at].1
}
