//! What the async client does, as a value: which request goes to which connection, what its answer means, when it is sent again. The
//! clock comes in, and [`Act`]s go out; sockets and futures are the business of [`crate::driver`].
//!
//! Many requests are under way on one connection. One that is not answered in time is given up alone; its connection is left as well
//! if nothing else came from it meanwhile: no request goes there any more, and it ends with the last one that it owes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use statemesh_protocol::reply::Encoding;
use statemesh_protocol::reply_reader::Fields;
use statemesh_protocol::request::Op;
use statemesh_protocol::request_writer::Ask;

use crate::answers::Reply;
use crate::attempts::{Attempts, MAX_LINKS, Next, Router, Then, To, judge};
use crate::client::Options;
use crate::connection::ConnectionError;
use crate::endpoint::OpenError;
use crate::error::{ClientError, Refusal};
use crate::kept::KeptAsk;
use crate::retry::Trouble;

/// Names a request among those of its client; a lower one was made earlier.
pub(crate) type JobId = u64;
/// Names a connection.
pub(crate) type WireId = usize;

/// The client's own request for the placement. It goes first.
const PLACEMENT: JobId = 0;
/// Connections to owners that are opened at a time: each takes a thread as long as that lasts.
const MAX_OPENING: usize = 8;

/// What is to be done. `P` is where an answer goes.
#[derive(Debug)]
pub(crate) enum Act<P> {
    /// Open a connection: [`Pipeline::opened`] or [`Pipeline::unopened`] follows.
    Open(To),
    /// The next connection for everything goes to another address.
    LeaveHome,
    /// Nothing more goes over this connection.
    Close(WireId),
    /// A request is over.
    Done(P, Result<Reply, ClientError>),
}

/// All requests and connections of a client.
#[derive(Debug)]
pub(crate) struct Pipeline<P> {
    patience: Duration,
    /// Daemons that may be asked beside the first.
    others: usize,
    timeout: Duration,
    encoding: Encoding,
    router: Router,
    jobs: BTreeMap<JobId, Job<P>>,
    /// Of requests that were sent, and of those that pause.
    deadlines: BTreeSet<(Instant, JobId)>,
    /// Requests that wait for the placement.
    unplaced: BTreeSet<JobId>,
    seats: BTreeMap<To, Seat>,
    wires: BTreeMap<WireId, Wire>,
    /// The last connection for everything, unless another address has been chosen since.
    last_home: Option<WireId>,
    /// What the next frame is called; an answer says it.
    next_attempt: u64,
    acts: VecDeque<Act<P>>,
}

/// One request.
#[derive(Debug)]
struct Job<P> {
    kept: KeptAsk,
    attempts: Attempts,
    stage: Stage,
    /// `None`: it is the client's own.
    done: Option<P>,
}

#[derive(Clone, Debug)]
enum Stage {
    /// It waits for the placement.
    Unplaced,
    /// It waits for its connection, or for room there.
    Queued(To),
    /// It is under way.
    Sent { wire: WireId, attempt: u64, at: Instant, until: Instant },
    /// It is sent again after a while.
    Pausing { until: Instant, then: Then },
}

/// Where requests for one daemon wait.
#[derive(Debug, Default)]
struct Seat {
    state: SeatState,
    queue: BTreeSet<JobId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SeatState {
    #[default]
    Closed,
    Opening,
    Open(WireId),
}

#[derive(Debug)]
struct Wire {
    to: To,
    address: SocketAddr,
    /// By the name of their frames.
    in_flight: BTreeMap<u64, JobId>,
    /// When something came last.
    heard: Instant,
}

impl<P> Pipeline<P> {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            patience: options.patience,
            others: options.others(),
            timeout: options.timeout,
            encoding: options.encoding,
            router: Router::new(options),
            jobs: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            unplaced: BTreeSet::new(),
            seats: BTreeMap::new(),
            wires: BTreeMap::new(),
            last_home: None,
            next_attempt: 1,
            acts: VecDeque::new(),
        }
    }

    /// A request was made. `id` is above all before it.
    pub(crate) fn ask(&mut self, id: JobId, mut kept: KeptAsk, done: P, now: Instant) {
        if let Some(token) = self.router.token(&kept.ask()) {
            kept.give_token(token);
        }
        let attempts = Attempts::new(&kept.ask(), now, self.patience, self.others);
        self.jobs.insert(id, Job { kept, attempts, stage: Stage::Unplaced, done: Some(done) });
        self.route(id, now);
    }

    /// The future was dropped.
    pub(crate) fn forget(&mut self, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else { return };
        match job.stage {
            Stage::Unplaced => _ = self.unplaced.remove(&id),
            Stage::Queued(to) => _ = self.seats.get_mut(&to).map(|seat| seat.queue.remove(&id)),
            Stage::Sent { wire, attempt, until, .. } => {
                self.deadlines.remove(&(until, id));
                self.wires.get_mut(&wire).map(|wire| wire.in_flight.remove(&attempt));
                self.close_if_done(wire);
            }
            Stage::Pausing { until, .. } => _ = self.deadlines.remove(&(until, id)),
        }
    }

    /// The connection is there.
    pub(crate) fn opened(&mut self, to: &To, wire: WireId, address: SocketAddr, now: Instant) {
        if *to == To::Home {
            self.last_home = Some(wire);
        }
        self.seats.entry(to.clone()).or_default().state = SeatState::Open(wire);
        self.wires.insert(wire, Wire { to: to.clone(), address, in_flight: BTreeMap::new(), heard: now });
    }

    /// There is no connection.
    pub(crate) fn unopened(&mut self, to: &To, error: &OpenError, now: Instant) {
        let queue = self.seats.remove(to).unwrap_or_default().queue;
        for id in queue {
            self.failed(id, to, None, ClientError::Open(error.clone()), now);
        }
    }

    /// Whether requests wait for room on this connection.
    pub(crate) fn has_frames(&self, wire: WireId) -> bool {
        let seat = self.wires.get(&wire).and_then(|found| self.seats.get(&found.to));
        seat.is_some_and(|seat| seat.state == SeatState::Open(wire) && !seat.queue.is_empty())
    }

    /// Writes the next request for this connection at the end of `out`, and says what its frame is called.
    pub(crate) fn next_frame(&mut self, wire: WireId, now: Instant, out: &mut Vec<u8>) -> Option<u64> {
        let Wire { to, in_flight, .. } = self.wires.get_mut(&wire)?;
        let seat = self.seats.get_mut(to).filter(|seat| seat.state == SeatState::Open(wire))?;
        let id = seat.queue.pop_first()?;
        let job = self.jobs.get_mut(&id)?;
        let attempt = self.next_attempt;
        self.next_attempt += 1;
        let ask = job.kept.ask();
        to.attempt(&ask).write(attempt, out);
        if ask.op == Op::Tell {
            self.finish(id, Ok(Reply::default()));
            return Some(attempt);
        }
        let until = now + self.timeout;
        job.stage = Stage::Sent { wire, attempt, at: now, until };
        in_flight.insert(attempt, id);
        self.deadlines.insert((until, id));
        Some(attempt)
    }

    /// Something came on this connection.
    pub(crate) fn heard(&mut self, wire: WireId, now: Instant) {
        if let Some(wire) = self.wires.get_mut(&wire) {
            wire.heard = now;
        }
    }

    /// An answer came: `attempt` is what its frame was called.
    pub(crate) fn answered(&mut self, wire: WireId, attempt: u64, frame: Vec<u8>, now: Instant) {
        let Some(Wire { to, address, in_flight, .. }) = self.wires.get_mut(&wire) else { return };
        let fields = match Fields::read(&frame) {
            Ok(fields) => fields,
            Err(source) => {
                let name = address.to_string();
                return self.broke(wire, || ClientError::Unreadable { name: name.clone(), source }, now);
            }
        };
        // What is not known was given up meanwhile.
        let Some(id) = in_flight.remove(&attempt) else { return };
        let to = to.clone();
        if let Some(Job { stage: Stage::Sent { until, .. }, .. }) = self.jobs.get(&id) {
            self.deadlines.remove(&(*until, id));
        }
        let refusal = Refusal::said_in(&fields);
        match judge(frame, refusal) {
            Ok(reply) => self.finish(id, Ok(reply)),
            Err(error) => self.failed(id, &to, Some(wire), error, now),
        }
        self.close_if_done(wire);
    }

    /// The connection is gone. What waits for room there was not sent, and waits for the next one.
    pub(crate) fn broke(&mut self, wire: WireId, error: impl Fn() -> ClientError, now: Instant) {
        let Some(Wire { to, in_flight, .. }) = self.wires.remove(&wire) else { return };
        self.acts.push_back(Act::Close(wire));
        self.vacate(wire, &to);
        for id in in_flight.into_values() {
            if let Some(Job { stage: Stage::Sent { until, .. }, .. }) = self.jobs.get(&id) {
                self.deadlines.remove(&(*until, id));
            }
            self.failed(id, &to, Some(wire), error(), now);
        }
    }

    /// When [`Pipeline::tick`] has something to do next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.pop_first();
            match self.jobs.get(&id).map(|job| job.stage.clone()) {
                Some(Stage::Sent { wire, attempt, at, .. }) => self.late(id, wire, attempt, at, now),
                Some(Stage::Pausing { then: Then::ByKey, .. }) => self.route(id, now),
                Some(Stage::Pausing { .. }) => self.queue(id, To::Home),
                Some(Stage::Unplaced | Stage::Queued(_)) | None => {}
            }
        }
    }

    /// What is to be done by now.
    pub(crate) fn acts(&mut self) -> VecDeque<Act<P>> {
        self.seats.retain(|_, seat| seat.state != SeatState::Closed || !seat.queue.is_empty());
        let is_opening = |(to, seat): &(&To, &Seat)| **to != To::Home && seat.state == SeatState::Opening;
        let mut opening = self.seats.iter().filter(is_opening).count();
        for (to, seat) in self.seats.iter_mut().filter(|(_, seat)| seat.state == SeatState::Closed) {
            if *to != To::Home {
                if opening == MAX_OPENING {
                    continue;
                }
                opening += 1;
            }
            seat.state = SeatState::Opening;
            self.acts.push_back(Act::Open(to.clone()));
        }
        std::mem::take(&mut self.acts)
    }

    /// Finds out where a request goes.
    fn route(&mut self, id: JobId, now: Instant) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let ask = job.kept.ask();
        if !self.router.wants_placement(&ask) {
            let to = self.router.destination(&ask);
            return self.queue(id, to);
        }
        job.stage = Stage::Unplaced;
        self.unplaced.insert(id);
        if !self.jobs.contains_key(&PLACEMENT) {
            let ask = Ask::new(Op::Placement, self.encoding);
            // Once: without the placement requests are forwarded.
            let attempts = Attempts::new(&ask, now, Duration::ZERO, 0);
            let job = Job { kept: KeptAsk::new(&ask), attempts, stage: Stage::Unplaced, done: None };
            self.jobs.insert(PLACEMENT, job);
            self.queue(PLACEMENT, To::Home);
        }
    }

    /// The placement is known, or cannot be had.
    fn placed(&mut self, reply: Result<Reply, ClientError>) {
        if let Ok(reply) = reply {
            self.router.placed(&reply.fields());
        }
        for id in std::mem::take(&mut self.unplaced) {
            if let Some(job) = self.jobs.get(&id) {
                let to = self.router.destination(&job.kept.ask());
                self.queue(id, to);
            }
        }
    }

    fn queue(&mut self, id: JobId, to: To) {
        let to = if self.has_seat(&to) { to } else { To::Home };
        if let Some(job) = self.jobs.get_mut(&id) {
            job.stage = Stage::Queued(to.clone());
            self.seats.entry(to).or_default().queue.insert(id);
        }
    }

    /// Whether there may be a connection to this daemon: of too many, one that nothing is asked of just now is closed.
    fn has_seat(&mut self, to: &To) -> bool {
        if *to == To::Home || self.seats.contains_key(to) || self.seats.len() < MAX_LINKS {
            return true;
        }
        let idle = self.seats.iter().find_map(|(to, seat)| match seat.state {
            SeatState::Open(wire) if *to != To::Home && seat.queue.is_empty() => {
                self.wires.get(&wire).filter(|wire| wire.in_flight.is_empty()).map(|_| wire)
            }
            _ => None,
        });
        idle.map(|wire| self.retire(wire)).is_some()
    }

    fn failed(&mut self, id: JobId, to: &To, wire: Option<WireId>, error: ClientError, now: Instant) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        self.router.learn(to, &job.kept.ask(), &error);
        match job.attempts.next(to, Trouble::from(&error), now) {
            Next::GiveUp => self.finish(id, Err(error)),
            Next::Now(to) => self.queue(id, to),
            Next::After(wait, then) => {
                job.stage = Stage::Pausing { until: now + wait, then };
                self.deadlines.insert((now + wait, id));
                if then == Then::OtherHome {
                    self.leave_home(wire);
                }
            }
        }
    }

    fn finish(&mut self, id: JobId, result: Result<Reply, ClientError>) {
        match self.jobs.remove(&id).map(|job| job.done) {
            Some(Some(done)) => self.acts.push_back(Act::Done(done, result)),
            Some(None) => self.placed(result),
            None => {}
        }
    }

    /// No answer came in time.
    fn late(&mut self, id: JobId, wire: WireId, attempt: u64, sent: Instant, now: Instant) {
        let Some(Wire { to, address, in_flight, heard }) = self.wires.get_mut(&wire) else { return };
        in_flight.remove(&attempt);
        let (to, address, is_silent) = (to.clone(), *address, *heard <= sent);
        if is_silent {
            self.retire(wire);
        }
        let error = ConnectionError::Io { address, source: io::ErrorKind::TimedOut.into() };
        self.failed(id, &to, Some(wire), ClientError::Broken(error), now);
        self.close_if_done(wire);
    }

    /// Another address is next, unless it was chosen already: many requests may fail of one cause.
    fn leave_home(&mut self, wire: Option<WireId>) {
        if let Some(wire) = wire
            && self.last_home == Some(wire)
        {
            self.last_home = None;
            self.acts.push_back(Act::LeaveHome);
            self.retire(wire);
        }
    }

    /// No request goes to this connection any more.
    fn retire(&mut self, wire: WireId) {
        if let Some(to) = self.wires.get(&wire).map(|wire| wire.to.clone()) {
            self.vacate(wire, &to);
            self.close_if_done(wire);
        }
    }

    fn vacate(&mut self, wire: WireId, to: &To) {
        if let Some(seat) = self.seats.get_mut(to).filter(|seat| seat.state == SeatState::Open(wire)) {
            seat.state = SeatState::Closed;
        }
        if self.seats.get(to).is_some_and(|seat| seat.state == SeatState::Closed && seat.queue.is_empty()) {
            self.seats.remove(to);
        }
    }

    /// Closes a connection that was left and owes nothing.
    fn close_if_done(&mut self, wire: WireId) {
        let Some(Wire { to, in_flight, .. }) = self.wires.get(&wire) else { return };
        let is_seated = self.seats.get(to).is_some_and(|seat| seat.state == SeatState::Open(wire));
        if in_flight.is_empty() && !is_seated {
            self.wires.remove(&wire);
            self.acts.push_back(Act::Close(wire));
        }
    }
}

#[cfg(test)]
mod tests;
