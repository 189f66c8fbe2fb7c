//! Requests that are on their way to somebody else, and whom to tell when the answer comes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use slab::Slab;
use statemesh_transport::{ConnId, Ticket};

use crate::stages::Begun;

/// Where a reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyTo {
    /// A client's connection; `delimited` if it is a REQ, whose empty frame is given back.
    Client {
        /// The connection.
        conn: ConnId,
        /// Whether the request came behind an empty delimiter.
        delimited: bool,
    },
    /// A place in a batch.
    Batch {
        /// The batch's number.
        batch: usize,
        /// Which of its requests.
        position: usize,
    },
    /// A daemon that passed the request on.
    Peer {
        /// Its link.
        conn: ConnId,
        /// What it calls the request.
        correlation: u64,
    },
    /// A caller in this process, e.g. an HTTP handler.
    Caller(usize),
    /// Nowhere: the client told, and does not want to hear.
    Nobody {
        /// Its connection, if it has one.
        conn: Option<ConnId>,
    },
}

/// Who has the request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum With {
    /// A daemon.
    Member(u32),
    /// The inbox of a shard of this daemon.
    Inbox,
    /// The control plane.
    Control,
}

/// A request that cannot be answered at once.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Where its reply goes.
    pub reply_to: ReplyTo,
    /// The request as it came, to send it again where that is harmless, and to find its id for an error.
    pub request: Bytes,
    /// Its partition.
    pub partition: u16,
    /// How many daemons it met before this one.
    pub hops: u8,
    /// Counts it against what its connection may have under way; a daemon's link carries many clients, and has no such bound.
    pub _ticket: Option<Ticket>,
    /// Set if the request is timed.
    pub timed: Option<Begun>,
}

/// A request that somebody else is working on.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The request.
    pub waiting: Waiting,
    /// Who has it.
    pub with: With,
    generation: u32,
}

/// The pending requests of one reactor, bounded, with one deadline for all.
#[derive(Debug)]
pub(crate) struct InFlight {
    slots: Slab<Pending>,
    generation: u32,
    deadlines: VecDeque<(Instant, u64)>,
    limit: usize,
    patience: Duration,
}

impl InFlight {
    /// At most `limit` requests, each for at most `patience`.
    pub(crate) fn new(limit: usize, patience: Duration) -> Self {
        Self { slots: Slab::new(), generation: 0, deadlines: VecDeque::new(), limit, patience }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether another one would be too many.
    pub(crate) fn is_full(&self) -> bool {
        self.slots.len() >= self.limit
    }

    /// Notes a request and gives the number under which its answer comes.
    pub(crate) fn add(&mut self, waiting: Waiting, with: With, now: Instant) -> u64 {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.slots.insert(Pending { waiting, with, generation });
        let correlation = (u64::from(generation) << 32) | index as u64;
        self.deadlines.push_back((now + self.patience, correlation));
        correlation
    }

    /// Takes the request out: it is answered, or given up. A number that is unknown, or known no longer, gives nothing.
    pub(crate) fn take(&mut self, correlation: u64) -> Option<Pending> {
        let index = (correlation & u64::from(u32::MAX)) as usize;
        let found = self.slots.get(index)?.generation == (correlation >> 32) as u32;
        found.then(|| self.slots.remove(index))
    }

    /// When the oldest one is overdue.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(at, _)| *at)
    }

    /// Takes the next one that is overdue, with its number.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<(u64, Pending)> {
        while let Some(&(at, correlation)) = self.deadlines.front() {
            let index = (correlation & u64::from(u32::MAX)) as usize;
            let open = self.slots.get(index).is_some_and(|p| p.generation == (correlation >> 32) as u32);
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

    /// Takes everything that this member has.
    pub(crate) fn lost_with(&mut self, member: u32) -> Vec<Pending> {
        let mut lost: Vec<(u32, usize)> = self
            .slots
            .iter()
            .filter(|(_, pending)| pending.with == With::Member(member))
            .map(|(index, pending)| (pending.generation, index))
            .collect();
        // In the order in which they were sent, so that what is sent again keeps its order.
        lost.sort_unstable_by_key(|(generation, _)| self.generation.wrapping_sub(*generation));
        lost.into_iter().rev().map(|(_, index)| self.slots.remove(index)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_flight() -> (InFlight, Instant) {
        (InFlight::new(3, Duration::from_secs(5)), Instant::now())
    }

    fn add(table: &mut InFlight, name: &'static str, member: u32, now: Instant) -> u64 {
        let request = Bytes::from_static(name.as_bytes());
        let waiting =
            Waiting { reply_to: ReplyTo::Caller(0), request, partition: 1, hops: 0, _ticket: None, timed: None };
        table.add(waiting, With::Member(member), now)
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
    fn what_nobody_answers_is_overdue() {
        let (mut table, now) = in_flight();
        add(&mut table, "a", 1, now);
        assert!(table.overdue(now).is_none());
        assert_eq!(table.overdue(now + Duration::from_secs(5)).unwrap().1.waiting.request, "a");
        assert_eq!(table.deadline(), None);
    }
}
