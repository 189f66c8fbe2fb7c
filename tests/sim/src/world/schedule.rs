//! Whose turn is when, and when what of the plan is done: both in the order of their times, and of those in the order asked for.

use std::collections::BTreeMap;

use crate::net::PollerId;

/// Who takes a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Actor {
    /// A reactor of a daemon.
    Reactor(usize, usize),
    /// The control plane of a daemon.
    Control(usize),
    /// A client.
    Client(usize),
    /// A watcher.
    Watcher(usize),
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    actor: Actor,
    /// When its next turn is, if it has one.
    next: Option<u64>,
    /// Until then it is busy with its last one.
    busy_until: u64,
}

/// Turns and deeds that are to come.
pub(super) struct Schedule<Deed> {
    seats: Vec<Option<Seat>>,
    turns: BTreeMap<(u64, u64), PollerId>,
    plan: BTreeMap<(u64, u64), Deed>,
    /// Turns and deeds so far: those of one time have different places.
    next_number: u64,
    taken: u64,
}

impl<Deed> Schedule<Deed> {
    /// Nothing is to come.
    pub(super) fn new() -> Self {
        Self { seats: Vec::new(), turns: BTreeMap::new(), plan: BTreeMap::new(), next_number: 0, taken: 0 }
    }

    /// Turns taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Has something done at this time.
    pub(super) fn plan(&mut self, at: u64, deed: Deed) {
        self.next_number += 1;
        self.plan.insert((at, self.next_number), deed);
    }

    /// A loop takes turns from now on; the first one now.
    pub(super) fn seat(&mut self, poller: PollerId, actor: Actor, now: u64) {
        if self.seats.len() <= poller {
            self.seats.resize(poller + 1, None);
        }
        if let Some(seat) = self.seats.get_mut(poller) {
            *seat = Some(Seat { actor, next: None, busy_until: now });
        }
        self.wants(poller, now);
    }

    /// A loop takes no more turns.
    pub(super) fn unseat(&mut self, poller: PollerId) {
        if let Some(seat) = self.seats.get_mut(poller) {
            *seat = None;
        }
    }

    /// The loops of these clients.
    pub(super) fn loops_of(&self, clients: &[usize]) -> Vec<PollerId> {
        let of =
            |seat: &Option<Seat>| matches!(seat, Some(Seat { actor: Actor::Client(n), .. }) if clients.contains(n));
        (0..self.seats.len()).filter(|poller| self.seats.get(*poller).is_some_and(of)).collect()
    }

    /// A loop is to have a turn at this time, or before.
    pub(super) fn wants(&mut self, poller: PollerId, at: u64) {
        let Some(Some(seat)) = self.seats.get_mut(poller) else { return };
        let at = at.max(seat.busy_until);
        if seat.next.is_none_or(|next| at < next) {
            seat.next = Some(at);
            self.next_number += 1;
            self.turns.insert((at, self.next_number), poller);
        }
    }

    /// A loop has no turn until then.
    pub(super) fn busy(&mut self, poller: PollerId, until: u64) {
        if let Some(Some(seat)) = self.seats.get_mut(poller) {
            seat.busy_until = until;
            seat.next = None;
        }
    }

    /// When the next turn or deed is.
    pub(super) fn next(&self) -> Option<u64> {
        let turn = self.turns.first_key_value().map(|((at, _), _)| *at);
        let deed = self.plan.first_key_value().map(|((at, _), _)| *at);
        [turn, deed].into_iter().flatten().min()
    }

    /// The next deed, if its time has come.
    pub(super) fn deed(&mut self, now: u64) -> Option<Deed> {
        due(&mut self.plan, now).map(|(_, deed)| deed)
    }

    /// Begins the next turn, if its time has come. None also if that loop has had another turn in place of this one.
    pub(super) fn turn(&mut self, now: u64) -> Option<(PollerId, Actor)> {
        let (at, poller) = due(&mut self.turns, now)?;
        let seat = self.seats.get_mut(poller).and_then(Option::as_mut).filter(|seat| seat.next == Some(at))?;
        seat.next = None;
        self.taken += 1;
        Some((poller, seat.actor))
    }
}

fn due<T>(times: &mut BTreeMap<(u64, u64), T>, now: u64) -> Option<(u64, T)> {
    let next = times.first_entry().filter(|next| next.key().0 <= now)?;
    let ((at, _), what) = next.remove_entry();
    Some((at, what))
}
