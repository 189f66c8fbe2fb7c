//! Requests that wait for their partition: one queue for each partition, in the order in which they arrived.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use statemesh_protocol::hash::Partition;

use super::{RETURNED, Waiting};
use crate::routing::{Route, Router};

/// What a queue waits for, beside its route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pace {
    /// For nothing.
    #[default]
    Open,
    /// Requests that were left in a shard's inbox come back. Until all are back nothing goes on, or it would overtake them.
    Returning,
    /// Until the partition is held here: then one request goes on, to see whether it is.
    Unheld,
    /// For what becomes of that one.
    Probing,
    /// For another route: a member sent back what the route would send there again.
    Stale,
}

/// What waits for one partition.
#[derive(Debug)]
struct Queue<R> {
    /// What two daemons or more have passed on; it goes first (see [`crate::routing`]).
    returned: VecDeque<Waiting<R>>,
    direct: VecDeque<Waiting<R>>,
    /// What came back out of turn: sorted in before the queue goes on.
    back: Vec<Waiting<R>>,
    pace: Pace,
    /// It is in the list of those that may go on.
    ready: bool,
}

impl<R> Default for Queue<R> {
    fn default() -> Self {
        let (returned, direct) = (VecDeque::new(), VecDeque::new());
        Self { returned, direct, back: Vec::new(), pace: Pace::Open, ready: false }
    }
}

impl<R> Queue<R> {
    fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.direct.is_empty() && self.back.is_empty()
    }

    fn list(&mut self, hops: u8) -> &mut VecDeque<Waiting<R>> {
        if hops >= RETURNED { &mut self.returned } else { &mut self.direct }
    }

    /// Puts a request in its place. Where that is neither end it is left to [`Queue::sort_in`].
    fn put_back(&mut self, waiting: Waiting<R>) {
        let list = self.list(waiting.hops);
        if list.front().is_none_or(|first| waiting.place() < first.place()) {
            list.push_front(waiting);
        } else if list.back().is_none_or(|last| waiting.place() > last.place()) {
            list.push_back(waiting);
        } else {
            self.back.push(waiting);
        }
    }

    fn sort_in(&mut self) -> usize {
        if self.back.is_empty() {
            return 0;
        }
        let steps = self.back.len() + self.returned.len() + self.direct.len();
        for waiting in std::mem::take(&mut self.back) {
            self.list(waiting.hops).push_back(waiting);
        }
        // Both are runs that are in order: the sort sees that, and merges them.
        self.returned.make_contiguous().sort_by_key(Waiting::place);
        self.direct.make_contiguous().sort_by_key(Waiting::place);
        steps
    }

    fn deadline(&self) -> Option<Instant> {
        // What was given back stands in the order of its way, not of its age.
        let first = self.direct.front().into_iter();
        first.chain(&self.returned).chain(&self.back).map(|waiting| waiting.deadline).min()
    }

    /// Takes what is due, at most so much.
    fn expired(&mut self, now: Instant, most: usize, expired: &mut Vec<Waiting<R>>) {
        self.sort_in();
        let mut left = VecDeque::new();
        for waiting in self.returned.drain(..) {
            if expired.len() < most && waiting.deadline <= now {
                expired.push(waiting);
            } else {
                left.push_back(waiting);
            }
        }
        self.returned = left;
        while expired.len() < most && self.direct.front().is_some_and(|first| first.deadline <= now) {
            expired.extend(self.direct.pop_front());
        }
    }
}

/// What waits for each partition.
#[derive(Debug)]
pub(super) struct Parked<R> {
    queues: BTreeMap<Partition, Queue<R>>,
    /// Partitions whose requests may go on, in the order in which they came to.
    ready: VecDeque<Partition>,
    /// Partitions to be looked at in the next turn.
    unheld: BTreeSet<Partition>,
    len: usize,
    bytes: usize,
    /// Partitions that wait for another route, and until when.
    stale: VecDeque<(Instant, Partition)>,
    /// Nothing that waits is due before this.
    due: Option<Instant>,
    /// Requests that were touched, so that tests can say what letting one go on costs.
    pub(super) steps: usize,
}

impl<R> Default for Parked<R> {
    fn default() -> Self {
        let (queues, ready, unheld) = (BTreeMap::new(), VecDeque::new(), BTreeSet::new());
        Self { queues, ready, unheld, len: 0, bytes: 0, stale: VecDeque::new(), due: None, steps: 0 }
    }
}

impl<R> Parked<R> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.due, self.stale.front().map(|(until, _)| *until)].into_iter().flatten().min()
    }

    /// Whether something may go on at once.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether something must be looked at in the next turn.
    pub(super) fn is_unheld(&self) -> bool {
        !self.unheld.is_empty()
    }

    /// Whether a request that comes now has to wait behind others.
    pub(super) fn holds_up(&self, partition: Partition, hops: u8) -> bool {
        // Nearly always there are none.
        !self.queues.is_empty()
            && self.queues.get(&partition).is_some_and(|queue| {
                hops < RETURNED || queue.pace != Pace::Open || !queue.returned.is_empty() || !queue.back.is_empty()
            })
    }

    /// Adds a request in its place: behind those that wait already, if it never waited before.
    pub(super) fn add(&mut self, waiting: Waiting<R>) {
        self.len += 1;
        self.steps += 1;
        self.bytes += waiting.request.len();
        self.due = Some(self.due.map_or(waiting.deadline, |due| due.min(waiting.deadline)));
        self.queues.entry(waiting.partition).or_default().put_back(waiting);
    }

    fn gone(&mut self, waiting: &Waiting<R>) {
        self.len -= 1;
        self.steps += 1;
        self.bytes -= waiting.request.len();
    }

    /// The partition's requests may go on, as far as its route says.
    pub(super) fn make_ready(&mut self, partition: Partition) {
        if let Some(queue) = self.queues.get_mut(&partition)
            && !queue.ready
        {
            queue.ready = true;
            self.ready.push_back(partition);
        }
    }

    /// Every partition whose requests go there may go on.
    pub(super) fn make_ready_where(&mut self, wanted: impl Fn(Partition) -> bool) {
        let all: Vec<Partition> = self.queues.keys().copied().filter(|partition| wanted(*partition)).collect();
        all.into_iter().for_each(|partition| self.make_ready(partition));
    }

    /// Adds a request that came back from where its route leads. `until` then its partition goes on all the same.
    pub(super) fn add_stale(&mut self, waiting: Waiting<R>, until: Instant) {
        let partition = waiting.partition;
        self.add(waiting);
        if let Some(queue) = self.queues.get_mut(&partition)
            && queue.pace == Pace::Open
        {
            queue.pace = Pace::Stale;
            self.stale.push_back((until, partition));
        }
    }

    /// The partition has another route, or does not get one.
    pub(super) fn rerouted(&mut self, partition: Partition) {
        if let Some(queue) = self.queues.get_mut(&partition)
            && queue.pace == Pace::Stale
        {
            queue.pace = Pace::Open;
            self.make_ready(partition);
        }
    }

    /// What is left in a shard's inbox of this partition comes back: `left` says how much still will.
    pub(super) fn returning(&mut self, partition: Partition, left: u32) {
        let Some(queue) = self.queues.get_mut(&partition) else { return };
        queue.pace = if left > 0 { Pace::Returning } else { Pace::Unheld };
        if left == 0 {
            self.unheld.insert(partition);
        }
    }

    /// The request that went on to see whether the partition is held was run, or is over in another way.
    pub(super) fn held(&mut self, partition: Partition) {
        if let Some(queue) = self.queues.get_mut(&partition)
            && queue.pace == Pace::Probing
        {
            queue.pace = Pace::Open;
            self.make_ready(partition);
        }
    }

    /// Whether requests come back.
    pub(super) fn is_returning(&self, partition: Partition) -> bool {
        self.queues.get(&partition).is_some_and(|queue| queue.pace == Pace::Returning)
    }

    /// A turn begins: what was not held may be by now.
    pub(super) fn look_again(&mut self, now: Instant) {
        while let Some(&(until, partition)) = self.stale.front()
            && until <= now
        {
            self.stale.pop_front();
            self.rerouted(partition);
        }
        for partition in std::mem::take(&mut self.unheld) {
            self.make_ready(partition);
        }
    }

    /// The next request that may go on, and where.
    pub(super) fn next(&mut self, router: &Router) -> Option<(Waiting<R>, Route)> {
        while let Some(&partition) = self.ready.front() {
            if let Some((waiting, route)) = self.next_of(partition, router) {
                self.gone(&waiting);
                return Some((waiting, route));
            }
            self.ready.pop_front();
            let Some(queue) = self.queues.get_mut(&partition) else { continue };
            queue.ready = false;
            if queue.is_empty() && queue.pace != Pace::Probing {
                self.queues.remove(&partition);
            }
        }
        if self.queues.is_empty() {
            self.due = None;
        }
        None
    }

    fn next_of(&mut self, partition: Partition, router: &Router) -> Option<(Waiting<R>, Route)> {
        let queue = self.queues.get_mut(&partition)?;
        let is_local = router.wanted(partition) == Route::Local;
        if matches!(queue.pace, Pace::Returning | Pace::Stale) || (queue.pace == Pace::Probing && is_local) {
            return None;
        }
        self.steps += queue.sort_in();
        let list = if queue.returned.is_empty() { &mut queue.direct } else { &mut queue.returned };
        let route = router.route(partition, list.front()?.hops);
        if route == Route::Park {
            return None;
        }
        let waiting = list.pop_front()?;
        queue.pace = match queue.pace {
            Pace::Unheld if is_local => Pace::Probing,
            // Whether it is held here no longer matters.
            _ if !is_local => Pace::Open,
            pace => pace,
        };
        Some((waiting, route))
    }

    /// The partition's next request cannot go where it should just now: the others behind it wait as well.
    pub(super) fn hold(&mut self, waiting: Waiting<R>) {
        let partition = waiting.partition;
        self.add(waiting);
        if let Some(queue) = self.queues.get_mut(&partition)
            && std::mem::take(&mut queue.ready)
        {
            self.ready.retain(|ready| *ready != partition);
        }
    }

    /// Takes out what is not to go on any more.
    pub(super) fn withdraw(&mut self, is_over: impl Fn(&Waiting<R>) -> bool) -> Vec<Waiting<R>> {
        let mut all = Vec::new();
        for queue in self.queues.values_mut() {
            for list in [&mut queue.returned, &mut queue.direct] {
                let (over, rest): (VecDeque<_>, VecDeque<_>) = std::mem::take(list).into_iter().partition(&is_over);
                *list = rest;
                all.extend(over);
            }
            all.extend(queue.back.extract_if(.., |waiting| is_over(waiting)));
        }
        all.iter().for_each(|waiting| self.gone(waiting));
        self.drop_empty();
        all
    }

    /// Takes what has waited for too long, at most so much.
    pub(super) fn expired(&mut self, now: Instant, most: usize) -> Vec<Waiting<R>> {
        let mut expired = Vec::new();
        if self.due.is_none_or(|due| due > now) {
            return expired;
        }
        for queue in self.queues.values_mut() {
            queue.expired(now, most, &mut expired);
        }
        expired.iter().for_each(|waiting| self.gone(waiting));
        self.drop_empty();
        self.due = self.queues.values().filter_map(Queue::deadline).min();
        expired
    }

    /// Drops queues that nothing is in and that wait for nothing.
    fn drop_empty(&mut self) {
        let Self { queues, unheld, .. } = self;
        queues.retain(|partition, queue| {
            let over = queue.is_empty() && !queue.ready && queue.pace != Pace::Probing;
            if over {
                unheld.remove(partition);
            }
            !over
        });
    }
}
