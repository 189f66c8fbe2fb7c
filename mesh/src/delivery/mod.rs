//! How a request finds its way to who serves its partition, and its answer back: what one reactor has to remember.
//!
//! A request is run at once, or it is
//! - *in flight*: a member has it, or the inbox of a shard that another thread has;
//! - *parked*: its partition has no route, or the gate of [`crate::routing`] is closed, or earlier requests are parked.
//!
//! # Order
//! The requests of one connection for one key are applied in the order in which they were sent. What is in flight keeps its
//! order, since links and inboxes do. The rest follows from four rules:
//! 1. Each partition has one queue; while anything is in it, whatever else comes goes to its end.
//! 2. What comes back from flight goes to its place in the queue, not to an end.
//! 3. Nothing leaves the queue while something that was sent before may still come back ([`bounces`]).
//! 4. What two daemons or more have passed on goes before the others, since these may have to wait for its answer
//!    ([`crate::routing`]). It may have been here before.
//!
//! They assume that a reactor hears of a move, and has what came behind it, before the same partition moves again.
//!
//! # Cost
//! To let one request go on costs the same however many are parked, and [`Delivery::next_ready`] is asked for a bounded number in
//! each turn. Requests that are parked are bounded in number and in bytes.

pub mod arrivals;
pub mod batches;
pub mod bounces;
pub mod ended;
mod in_flight;
mod parked;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use statemesh_protocol::hash::Partition;

use crate::routing::{At, MemberNumber, Route, Router};
use in_flight::InFlight;
use parked::Parked;

pub use in_flight::{Pending, With};

/// A request that so many daemons have passed on may have been here before.
const RETURNED: u8 = 2;

/// How long a request that came back from where its route leads waits for another route.
const STALE: Duration = Duration::from_millis(100);

/// A request that cannot be answered at once. `R` is what its shell needs to answer it.
#[derive(Debug)]
pub struct Waiting<R> {
    /// Its partition.
    pub partition: Partition,
    /// How many daemons passed it on before.
    pub hops: u8,
    /// Its place in the order in which this reactor's requests came.
    pub arrival: u64,
    /// Until when it may be parked.
    pub deadline: Instant,
    /// A member that is lost had it, and may have applied it.
    pub uncertain: bool,
    /// The request as it came.
    pub request: Bytes,
    /// The shell's part.
    pub rest: R,
}

impl<R> Waiting<R> {
    /// Its place in its queue: by arrival, but of those that have returned the one first that was passed on more often. It has
    /// been here before, and others that came behind it then may still be in the queue.
    fn place(&self) -> (u8, u64) {
        let passed_on = if self.hops < RETURNED { 0 } else { self.hops };
        (u8::MAX - passed_on, self.arrival)
    }
}

/// What may be remembered.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests in flight.
    pub in_flight: usize,
    /// Bytes of requests that one member has, or the control plane.
    pub member_bytes: usize,
    /// Requests parked.
    pub parked: usize,
    /// Their bytes.
    pub parked_bytes: usize,
    /// For how long a request may be in flight.
    pub patience: Duration,
}

/// Why a request cannot be parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// [`Bounds::parked`] are.
    Requests,
    /// They have [`Bounds::parked_bytes`].
    Bytes,
}

/// The requests of one reactor. See the module.
#[derive(Debug)]
pub struct Delivery<R> {
    router: Router,
    in_flight: InFlight<R>,
    parked: Parked<R>,
    /// For each partition, how often requests came back from a shard's inbox ([`bounces`]).
    rounds: Vec<u32>,
    /// Members for which requests are parked, since they had no room.
    short: BTreeSet<MemberNumber>,
    arrivals: u64,
    bounds: Bounds,
}

impl<R> Delivery<R> {
    /// Nothing is in flight or parked, and no partition has a route.
    #[must_use]
    pub fn new(partitions: u16, bounds: Bounds) -> Self {
        Self {
            router: Router::new(partitions),
            in_flight: InFlight::new(bounds.in_flight, bounds.patience),
            parked: Parked::default(),
            rounds: vec![0; usize::from(partitions)],
            short: BTreeSet::new(),
            arrivals: 0,
            bounds,
        }
    }

    /// Whether a request that a member passed on came back from where its route leads: see [`Delivery::park_stale`].
    #[must_use]
    pub fn is_stale(&self, hops: u8, from: MemberNumber, route: Route) -> bool {
        hops >= RETURNED && route == Route::Forward(from)
    }

    /// Where a request that has just come goes.
    #[must_use]
    pub fn route(&self, partition: Partition, hops: u8) -> Route {
        if self.parked.holds_up(partition, hops) {
            return Route::Park;
        }
        self.router.route(partition, hops)
    }

    /// Where the requests of a partition are to go in the end, also while they have to wait.
    #[must_use]
    pub fn wanted(&self, partition: Partition) -> Route {
        self.router.wanted(partition)
    }

    /// The number of the next request that is kept.
    pub fn arrival(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }

    /// The round of a request that is left in a shard's inbox now.
    #[must_use]
    pub fn round(&self, partition: Partition) -> u32 {
        self.rounds.get(usize::from(partition)).copied().unwrap_or(0)
    }

    /// Whether requests of this partition are in a shard's inbox, or their answers on their way from there.
    #[must_use]
    pub fn is_in_inbox(&self, partition: Partition) -> bool {
        self.router.in_inbox(partition) > 0
    }

    /// Parks a request that has just come.
    ///
    /// # Errors
    /// There are too many: it comes back.
    pub fn park(&mut self, waiting: Waiting<R>) -> Result<(), (Full, Box<Waiting<R>>)> {
        let (partition, hops) = (waiting.partition, waiting.hops);
        self.check(waiting).map(|waiting| {
            self.parked.add(waiting);
            // It may have gone to the front: what was first there may wait for its answer.
            if hops >= RETURNED {
                self.parked.make_ready(partition);
            }
        })
    }

    /// Parks a request that comes back from the very member to which its route leads: that member knows of a move of which
    /// this reactor has yet to hear. Sent there again, it would come behind others that were sent after it.
    ///
    /// # Errors
    /// There are too many: it comes back.
    pub fn park_stale(&mut self, waiting: Waiting<R>, now: Instant) -> Result<(), (Full, Box<Waiting<R>>)> {
        self.check(waiting).map(|waiting| self.parked.add_stale(waiting, now + STALE))
    }

    fn check(&self, waiting: Waiting<R>) -> Result<Waiting<R>, (Full, Box<Waiting<R>>)> {
        if self.parked.len() >= self.bounds.parked {
            return Err((Full::Requests, Box::new(waiting)));
        }
        if self.parked.bytes() + waiting.request.len() > self.bounds.parked_bytes {
            return Err((Full::Bytes, Box::new(waiting)));
        }
        Ok(waiting)
    }

    /// Whether another request in flight would be too many.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.in_flight.is_full()
    }

    /// Whether a member may be sent a request: one it may always, if it has none. What has returned is not held up, since the
    /// member's answers to what it has may depend on it; its bytes are bounded by the member that passed it on.
    #[must_use]
    pub fn has_room(&self, member: MemberNumber, waiting: &Waiting<R>) -> bool {
        let there = self.in_flight.bytes_with(With::Member(member));
        waiting.hops >= RETURNED || there == 0 || there + waiting.request.len() <= self.bounds.member_bytes
    }

    /// Whether the control plane may be given a request of so many bytes: one it may always, if it has none.
    #[must_use]
    pub fn control_has_room(&self, bytes: usize) -> bool {
        let there = self.in_flight.bytes_with(With::Control);
        there == 0 || there + bytes <= self.bounds.member_bytes
    }

    /// A request is sent, and will be answered under this number. Asked before: [`Delivery::is_full`].
    pub fn sent(&mut self, waiting: Waiting<R>, with: With, now: Instant) -> u64 {
        if let Some(at) = with.at() {
            self.router.sent(waiting.partition, waiting.hops, at);
        }
        self.in_flight.add(waiting, with, now)
    }

    /// The number of the last request that was sent, for [`Delivery::waits_for`].
    #[must_use]
    pub fn last_sent(&self) -> u32 {
        self.in_flight.last()
    }

    /// Whether a member has not answered all requests that it was sent until that number.
    #[must_use]
    pub fn waits_for(&self, member: MemberNumber, last_sent: u32) -> bool {
        self.in_flight.has_until(member, last_sent)
    }

    /// The request that will be answered under this number, if it still waits.
    #[must_use]
    pub fn waiting(&self, correlation: u64) -> Option<&Waiting<R>> {
        self.in_flight.get(correlation).map(|pending| &pending.waiting)
    }

    /// A request was answered, whatever the answer. A number that is unknown, or known no longer, gives nothing.
    pub fn answered(&mut self, correlation: u64) -> Option<Pending<R>> {
        let pending = self.in_flight.take(correlation)?;
        self.settle(&pending);
        Some(pending)
    }

    /// A request that was in a shard's inbox comes back: its partition is not held. It is parked in its place.
    ///
    /// # Errors
    /// There are too many, or it is over ([`Delivery::withdraw`]): it comes back.
    pub fn bounced(
        &mut self,
        correlation: u64,
        is_over: impl Fn(&Waiting<R>) -> bool,
    ) -> Result<(), (Option<Full>, Box<Waiting<R>>)> {
        let Some(Pending { waiting, with, .. }) = self.in_flight.take(correlation) else { return Ok(()) };
        let partition = waiting.partition;
        let parked = if is_over(&waiting) {
            Err((None, Box::new(waiting)))
        } else {
            self.park(waiting).map_err(|(full, waiting)| (Some(full), waiting))
        };
        if with == With::Inbox {
            self.parked.returning(partition, 1);
            self.landed(partition);
        }
        parked
    }

    /// A request that [`Delivery::next_ready`] gave could not be run here: its partition is not held. It is parked in its place.
    pub fn not_held(&mut self, waiting: Waiting<R>) {
        let partition = waiting.partition;
        self.parked.add(waiting);
        self.parked.returning(partition, self.router.in_inbox(partition));
        if self.router.wanted(partition) != Route::Local {
            self.parked.make_ready(partition);
        }
    }

    /// The same with one that has just come.
    ///
    /// # Errors
    /// There are too many: it comes back.
    pub fn park_unheld(&mut self, waiting: Waiting<R>) -> Result<(), (Full, Box<Waiting<R>>)> {
        self.check(waiting).map(|waiting| self.not_held(waiting))
    }

    /// A request that [`Delivery::next_ready`] gave was run here, or refused: those behind it may go on.
    pub fn held(&mut self, partition: Partition) {
        self.parked.held(partition);
    }

    /// A request that [`Delivery::next_ready`] gave cannot be sent to its member now, since there is no link or no room. It is parked
    /// in its place, and goes on when the member has answered others, or with [`Delivery::look_again_at`].
    pub fn hold(&mut self, waiting: Waiting<R>, member: MemberNumber) {
        self.short.insert(member);
        self.parked.hold(waiting);
    }

    /// The same with one that has just come.
    ///
    /// # Errors
    /// There are too many: it comes back.
    pub fn park_for(&mut self, waiting: Waiting<R>, member: MemberNumber) -> Result<(), (Full, Box<Waiting<R>>)> {
        self.check(waiting).map(|waiting| self.hold(waiting, member))
    }

    /// A request that a lost member had, or that was never sent to it, goes its way again.
    ///
    /// # Errors
    /// Too many are parked: it comes back.
    pub fn again(&mut self, waiting: Waiting<R>) -> Result<(), (Full, Box<Waiting<R>>)> {
        let partition = waiting.partition;
        self.park(waiting)?;
        self.parked.make_ready(partition);
        Ok(())
    }

    /// A member's link is there, or has room again: what waits for it may go on.
    pub fn look_again_at(&mut self, member: MemberNumber) {
        self.short.remove(&member);
        let Self { parked, router, .. } = self;
        parked.make_ready_where(|partition| router.wanted(partition) == Route::Forward(member));
    }

    /// Members for which requests are parked, since there was no link or no room.
    #[must_use]
    pub fn short(&self) -> Vec<MemberNumber> {
        self.short.iter().copied().collect()
    }

    /// The beginning of a turn: what was not held may be by now.
    pub fn look_again(&mut self, now: Instant) {
        self.parked.look_again(now);
    }

    /// The next parked request that may go on, and where.
    pub fn next_ready(&mut self) -> Option<(Waiting<R>, Route)> {
        self.parked.next(&self.router)
    }

    /// From now on the partition is served by this member; none: here.
    pub fn switch(&mut self, partition: Partition, to: Option<MemberNumber>) {
        self.parked.rerouted(partition);
        self.router.switch(partition, to);
        self.parked.make_ready(partition);
    }

    /// No member is known to serve the partition: its requests wait.
    pub fn unroute(&mut self, partition: Partition) {
        self.parked.rerouted(partition);
        self.router.unroute(partition);
    }

    /// Takes everything that this member has, in the order in which it was sent.
    pub fn lost_with(&mut self, member: MemberNumber) -> Vec<Pending<R>> {
        let lost = self.in_flight.lost_with(member);
        lost.iter().for_each(|pending| self.settle(pending));
        lost
    }

    /// Takes the next request that has been in flight for too long, with its number.
    pub fn overdue(&mut self, now: Instant) -> Option<(u64, Pending<R>)> {
        let (correlation, pending) = self.in_flight.overdue(now)?;
        self.settle(&pending);
        Some((correlation, pending))
    }

    /// Takes out parked requests that are over, or may be: their link has ended, or was silent for long, and the member that passed them on
    /// gave them up or sent them elsewhere. Applied now, they would come behind what was sent after that.
    pub fn withdraw(&mut self, is_over: impl Fn(&Waiting<R>) -> bool) -> Vec<Waiting<R>> {
        self.parked.withdraw(is_over)
    }

    /// The number that the last request got that was kept.
    #[must_use]
    pub fn last_arrival(&self) -> u64 {
        self.arrivals
    }

    /// Takes parked requests that have waited for too long, at most so many.
    pub fn expired(&mut self, now: Instant, most: usize) -> Vec<Waiting<R>> {
        self.parked.expired(now, most)
    }

    /// A request is no longer in flight; perhaps others may go on.
    fn settle(&mut self, pending: &Pending<R>) {
        let (partition, hops) = (pending.waiting.partition, pending.waiting.hops);
        match pending.with.at() {
            Some(At::Here) => {
                // Whatever became of it, the next one may try.
                self.parked.held(partition);
                self.landed(partition);
            }
            Some(at @ At::Away(member)) => {
                if self.router.answered(partition, hops, at) {
                    self.parked.make_ready(partition);
                }
                let has_room = || self.in_flight.bytes_with(With::Member(member)) <= self.bounds.member_bytes / 2;
                if !self.short.is_empty() && self.short.contains(&member) && has_room() {
                    self.look_again_at(member);
                }
            }
            None => {}
        }
    }

    /// A request came out of a shard's inbox. With the last one the next round begins, in case this one bounced.
    fn landed(&mut self, partition: Partition) {
        if !self.router.answered(partition, 0, At::Here) {
            return;
        }
        self.parked.make_ready(partition);
        if self.parked.is_returning(partition) {
            self.parked.returning(partition, 0);
        }
        if let Some(round) = self.rounds.get_mut(usize::from(partition)) {
            *round = round.wrapping_add(1);
        }
    }

    /// When something is due: what is in flight or parked for too long.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        [self.in_flight.deadline(), self.parked.deadline()].into_iter().flatten().min()
    }

    /// Whether parked requests may go on at once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.parked.is_ready()
    }

    /// Whether parked requests are to be looked at again before long.
    #[must_use]
    pub fn is_unheld(&self) -> bool {
        self.parked.is_unheld()
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Requests parked.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Bytes of the requests that are parked.
    #[must_use]
    pub fn parked_bytes(&self) -> usize {
        self.parked.bytes()
    }
}

#[cfg(test)]
mod tests;
