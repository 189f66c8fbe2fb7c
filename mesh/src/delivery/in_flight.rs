//! Requests that a reactor has passed on: to a member, to the inbox of a shard, to the control plane.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use slab::Slab;

use super::Waiting;
use crate::routing::{At, MemberNumber};

/// Where a request is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum With {
    /// A member.
    Member(MemberNumber),
    /// The inbox of a shard of this daemon.
    Inbox,
    /// The control plane.
    Control,
}

impl With {
    /// Where that is for the router; nowhere for what has no partition.
    pub(super) fn at(self) -> Option<At> {
        match self {
            Self::Member(member) => Some(At::Away(member)),
            Self::Inbox => Some(At::Here),
            Self::Control => None,
        }
    }

    /// Whether the bytes of its requests are counted. Inboxes have no bound of their own, and are on the path of most events.
    fn is_counted(self) -> bool {
        self != Self::Inbox
    }
}

/// A request that the reactor has passed on.
#[derive(Debug)]
pub struct Pending<R> {
    /// The request.
    pub waiting: Waiting<R>,
    /// Where it is.
    pub with: With,
    generation: u32,
}

/// Deadlines of answered requests that may be kept, beside as many as are open.
const FORGOTTEN: usize = 1_024;

/// The requests of one reactor that are in flight, bounded, with one patience for all.
#[derive(Debug)]
pub(super) struct InFlight<R> {
    slots: Slab<Pending<R>>,
    generation: u32,
    deadlines: VecDeque<(Instant, u64)>,
    /// Bytes of the requests that each member has, and the control plane.
    bytes: BTreeMap<With, usize>,
    limit: usize,
    patience: Duration,
}

impl<R> InFlight<R> {
    /// At most `limit` requests, each for at most `patience`.
    pub(super) fn new(limit: usize, patience: Duration) -> Self {
        let (slots, deadlines, bytes) = (Slab::new(), VecDeque::new(), BTreeMap::new());
        Self { slots, generation: 0, deadlines, bytes, limit, patience }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= self.limit
    }

    /// Bytes of the requests that a member has, or the control plane.
    pub(super) fn bytes_with(&self, with: With) -> usize {
        self.bytes.get(&with).copied().unwrap_or(0)
    }

    /// Notes a request and gives the number under which its answer comes.
    pub(super) fn add(&mut self, waiting: Waiting<R>, with: With, now: Instant) -> u64 {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        if with.is_counted() {
            *self.bytes.entry(with).or_default() += waiting.request.len();
        }
        let index = self.slots.insert(Pending { waiting, with, generation });
        let correlation = (u64::from(generation) << 32) | index as u64;
        while self.deadlines.front().is_some_and(|(_, first)| !self.is_open(*first)) {
            self.deadlines.pop_front();
        }
        self.deadlines.push_back((now + self.patience, correlation));
        // Behind one that is open for long, others that are answered are forgotten: each look is paid for by as many that came.
        if self.deadlines.len() > 2 * self.slots.len() + FORGOTTEN {
            let mut deadlines = std::mem::take(&mut self.deadlines);
            deadlines.retain(|(_, correlation)| self.is_open(*correlation));
            self.deadlines = deadlines;
        }
        correlation
    }

    /// Takes the request out: it is answered, or given up. A number that is unknown, or known no longer, gives nothing.
    pub(super) fn take(&mut self, correlation: u64) -> Option<Pending<R>> {
        self.is_open(correlation).then(|| self.remove(index_of(correlation)))
    }

    /// The request of this number, if it is not answered or given up.
    pub(super) fn get(&self, correlation: u64) -> Option<&Pending<R>> {
        let generation = (correlation >> 32) as u32;
        self.slots.get(index_of(correlation)).filter(|pending| pending.generation == generation)
    }

    fn is_open(&self, correlation: u64) -> bool {
        self.get(correlation).is_some()
    }

    fn remove(&mut self, index: usize) -> Pending<R> {
        let pending = self.slots.remove(index);
        if pending.with.is_counted()
            && let Some(bytes) = self.bytes.get_mut(&pending.with)
        {
            *bytes -= pending.waiting.request.len();
            if *bytes == 0 {
                self.bytes.remove(&pending.with);
            }
        }
        pending
    }

    /// When the oldest one is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(at, _)| *at)
    }

    /// Takes the next one that is overdue, with its number.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<(u64, Pending<R>)> {
        while let Some(&(at, correlation)) = self.deadlines.front() {
            let open = self.is_open(correlation);
            if open && at > now {
                return None;
            }
            self.deadlines.pop_front();
            if open {
                return self.take(correlation).map(|pending| (correlation, pending));
            }
        }
        None
    }

    /// The number of the last request that was added, in their order.
    pub(super) fn last(&self) -> u32 {
        self.generation
    }

    /// Whether a member still has one of the requests until that number.
    pub(super) fn has_until(&self, member: MemberNumber, last: u32) -> bool {
        let is_until = |generation: u32| last.wrapping_sub(generation) <= u32::MAX / 2;
        self.slots.iter().any(|(_, pending)| pending.with == With::Member(member) && is_until(pending.generation))
    }

    /// Takes everything that this member has, in the order in which it was sent.
    pub(super) fn lost_with(&mut self, member: MemberNumber) -> Vec<Pending<R>> {
        let mut lost: Vec<(u32, usize)> = self
            .slots
            .iter()
            .filter(|(_, pending)| pending.with == With::Member(member))
            .map(|(index, pending)| (pending.generation, index))
            .collect();
        lost.sort_unstable_by_key(|(generation, _)| self.generation.wrapping_sub(*generation));
        lost.into_iter().rev().map(|(_, index)| self.remove(index)).collect()
    }
}

fn index_of(correlation: u64) -> usize {
    (correlation & u64::from(u32::MAX)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn in_flight() -> (InFlight<()>, Instant) {
        (InFlight::new(3, Duration::from_secs(5)), Instant::now())
    }

    fn add(table: &mut InFlight<()>, name: &'static str, member: u32, now: Instant) -> u64 {
        add_with(table, name, With::Member(member), now)
    }

    fn add_with(table: &mut InFlight<()>, name: &'static str, with: With, now: Instant) -> u64 {
        let request = Bytes::from_static(name.as_bytes());
        let waiting = Waiting { partition: 1, hops: 0, arrival: 0, deadline: now, uncertain: false, request, rest: () };
        table.add(waiting, with, now)
    }

    #[test]
    fn an_answer_is_taken_once_and_an_old_number_gives_nothing() {
        let (mut table, now) = in_flight();
        let first = add(&mut table, "a", 1, now);
        assert_eq!(table.take(first).unwrap().waiting.request, "a");
        let second = add(&mut table, "b", 1, now);
        assert!(table.take(first).is_none());
        assert!(table.take(second).is_some());
    }

    #[test]
    fn what_a_lost_member_had_comes_back_in_order() {
        let (mut table, now) = in_flight();
        let first = add(&mut table, "a", 1, now);
        add(&mut table, "b", 1, now);
        table.take(first);
        add(&mut table, "c", 1, now);
        add(&mut table, "d", 2, now);
        let lost: Vec<_> = table.lost_with(1).into_iter().map(|p| p.waiting.request).collect();
        assert_eq!(lost, ["b", "c"]);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn what_a_member_has_of_the_requests_until_a_moment_does_not_count_what_came_later() {
        let (mut table, now) = in_flight();
        table.generation = u32::MAX;
        assert!(!table.has_until(1, table.last()));
        let first = add(&mut table, "a", 1, now);
        let last = table.last();
        add(&mut table, "b", 1, now);
        assert!(table.has_until(1, last) && !table.has_until(2, last) && !table.has_until(1, u32::MAX));
        table.take(first);
        assert!(!table.has_until(1, last) && table.has_until(1, table.last()));
    }

    #[test]
    fn what_is_not_answered_is_overdue() {
        let (mut table, now) = in_flight();
        add(&mut table, "a", 1, now);
        assert!(table.overdue(now).is_none());
        assert_eq!(table.overdue(now + Duration::from_secs(5)).unwrap().1.waiting.request, "a");
        assert_eq!(table.deadline(), None);
    }

    #[test]
    fn the_bytes_that_each_member_and_the_control_plane_have_are_counted() {
        let (mut table, now) = in_flight();
        let (one, two, three) = (With::Member(1), With::Member(2), With::Member(3));
        let first = add(&mut table, "abc", 1, now);
        add(&mut table, "de", 1, now);
        add(&mut table, "f", 2, now);
        assert_eq!((table.bytes_with(one), table.bytes_with(two), table.bytes_with(three)), (5, 1, 0));
        table.take(first);
        assert_eq!(table.bytes_with(one), 2);
        table.lost_with(1);
        assert_eq!((table.bytes_with(one), table.bytes.len()), (0, 1));
        let given = add_with(&mut table, "ghij", With::Control, now);
        assert_eq!(table.bytes_with(With::Control), 4);
        table.take(given);
        assert_eq!((table.bytes_with(With::Control), table.bytes.len()), (0, 1));
    }
}
