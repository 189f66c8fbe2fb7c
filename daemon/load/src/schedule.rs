//! What leaves when, what is owed, and what is sent again. A value: time comes in.
//!
//! A request takes a slot until it is answered for good, and its id carries the slot's number and how many requests this schedule
//! had made: so answers may come in any order, and an answer to no request, or to one that is given up, is seen.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::round::Round;
use crate::work::{Answer, Refusal, Verdict};

/// How requests are paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// This many are owed an answer at a time: a new one leaves when an answer comes.
    Closed {
        /// Requests without an answer.
        in_flight: usize,
    },
    /// This many a second, whatever becomes of the answers. Latency counts from the moment at which a request was due, so
    /// time that it waited because earlier ones were slow is part of it (no coordinated omission).
    Open {
        /// Requests a second.
        per_second: u32,
    },
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// How requests are paced.
    pub pace: Pace,
    /// Load before anything is recorded.
    pub warm_up: Duration,
    /// Load that is recorded.
    pub measured: Duration,
    /// Requests at most; `None`: as many as the time allows.
    pub requests: Option<u64>,
    /// For how long a request is sent again before it is given up, and the time for answers that are owed at the end.
    pub patience: Duration,
    /// Never sleep in an open loop. Otherwise the thread sleeps until shortly before a request is due, and an answer that
    /// wakes it counts with the time that waking takes.
    pub polls: bool,
}

/// A request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its slot.
    pub slot: usize,
    /// Its id.
    pub id: u32,
}

/// What became of a slot by an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Its request was answered as it should be.
    Done(usize),
    /// Its request is refused for good.
    Refused(usize),
    /// Its request will be sent again.
    Again,
    /// Its request will be sent again, and should be by a connection to another daemon.
    Elsewhere,
    /// It is the answer to nothing that is under way.
    Stranger,
}

/// Bits of an id that are the slot's number.
const SLOT_BITS: u32 = 20;
/// Slots at most.
pub const MAX_SLOTS: usize = 1 << SLOT_BITS;
/// Until a request is sent again that a daemon refused for now.
const RETRY_AFTER: Duration = Duration::from_millis(10);
/// After so many refusals for good and not one good answer a run has nothing to measure.
const HOPELESS: u64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// It is on the wire.
    Awaiting,
    /// It is to be sent again.
    Again,
}

#[derive(Clone, Debug)]
struct Slot {
    state: State,
    id: u32,
    /// From when its latency counts.
    since: Instant,
    /// When it left for the first time, and for the last.
    first: Instant,
    last: Instant,
    why: Option<Box<Refusal>>,
}

/// The schedule of one connection.
#[derive(Debug)]
pub struct Schedule {
    spec: Spec,
    slots: Vec<Slot>,
    /// The one that has rested for the longest is first.
    idle: VecDeque<usize>,
    /// By the time at which they are sent again.
    again: VecDeque<(Instant, usize)>,
    given_up: Vec<usize>,
    begun: u64,
    sent: u32,
    start: Instant,
    begin: Instant,
    end: Instant,
    /// The last good answer, or since when the oldest answer is owed if nothing was owed before.
    hopeful: Instant,
    /// The last answer that was recorded.
    recorded: Instant,
    round: Round,
}

impl Schedule {
    /// A schedule that begins now, with so many slots (at most [`MAX_SLOTS`]).
    #[must_use]
    pub fn new(spec: Spec, slots: usize, now: Instant) -> Self {
        let slot = Slot { state: State::Idle, id: 0, since: now, first: now, last: now, why: None };
        let slots = vec![slot; slots.min(MAX_SLOTS)];
        let begin = now + spec.warm_up;
        Self {
            idle: (0..slots.len()).collect(),
            again: VecDeque::new(),
            given_up: Vec::new(),
            slots,
            begun: 0,
            sent: 0,
            start: now,
            begin,
            end: begin + spec.measured,
            hopeful: now,
            recorded: begin,
            round: Round::default(),
            spec,
        }
    }

    /// The next request that is to leave now, whether new or not.
    pub fn next(&mut self, now: Instant) -> Option<Due> {
        while let Some((_, slot)) = self.again.pop_front_if(|(at, _)| *at <= now) {
            let too_old = self.slots.get(slot).is_some_and(|slot| now - slot.first > self.spec.patience);
            if too_old {
                self.give_up(slot);
                continue;
            }
            self.round.retried += 1;
            return self.depart(slot, now);
        }
        let since = self.begins(now)?;
        let slot = self.idle.pop_front()?;
        if self.owed() == 1 {
            self.hopeful = since;
        }
        self.begun += 1;
        let place = self.slots.get_mut(slot)?;
        (place.since, place.first, place.why) = (since, now, None);
        self.depart(slot, now)
    }

    fn depart(&mut self, slot: usize, now: Instant) -> Option<Due> {
        self.sent = self.sent.wrapping_add(1);
        let place = self.slots.get_mut(slot)?;
        place.id = self.sent << SLOT_BITS | u32::try_from(slot).ok()?;
        (place.state, place.last) = (State::Awaiting, now);
        Some(Due { slot, id: place.id })
    }

    /// From when the latency of a new request counts, if one may leave now.
    fn begins(&self, now: Instant) -> Option<Instant> {
        match self.spec.pace {
            Pace::Closed { in_flight } => (self.more(now) && self.owed() < in_flight).then_some(now),
            Pace::Open { per_second } => Some(self.due(per_second)).filter(|due| self.more(*due) && *due <= now),
        }
    }

    /// Whether a request of this time belongs to the run.
    fn more(&self, at: Instant) -> bool {
        at < self.end && self.spec.requests.is_none_or(|most| self.begun < most)
    }

    fn due(&self, per_second: u32) -> Instant {
        let (whole, rest) = (self.begun / u64::from(per_second.max(1)), self.begun % u64::from(per_second.max(1)));
        self.start
            + Duration::from_secs(whole)
            + Duration::from_nanos(rest * 1_000_000_000 / u64::from(per_second.max(1)))
    }

    /// When there will be something to send without an answer's doing.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let new = match self.spec.pace {
            Pace::Open { per_second } if !self.idle.is_empty() => {
                Some(self.due(per_second)).filter(|at| self.more(*at))
            }
            _ => None,
        };
        let again = self.again.front().map(|(at, _)| *at);
        new.into_iter().chain(again).min()
    }

    /// Requests without a good answer.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.slots.len() - self.idle.len()
    }

    /// Whether nothing is left to send or to wait for.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        let more = match self.spec.pace {
            Pace::Closed { .. } => self.more(now),
            Pace::Open { per_second } => self.more(self.due(per_second)),
        };
        (!more && self.owed() == 0) || now > self.end + self.spec.patience
    }

    /// No new request is due from now on, and those that are owed an answer get no more than `patience`.
    pub fn stop(&mut self, now: Instant, patience: Duration) {
        self.end = self.end.min(now);
        self.spec.patience = self.spec.patience.min(patience);
    }

    /// Takes an answer.
    pub fn settle(&mut self, answer: &Answer, now: Instant) -> Settled {
        let slot = answer.id as usize % MAX_SLOTS;
        let Some(place) = self.slots.get_mut(slot) else { return self.stranger(answer) };
        if place.state != State::Awaiting || place.id != answer.id {
            return self.stranger(answer);
        }
        match &answer.verdict {
            Verdict::Done => {
                let since = place.since;
                self.rest(slot);
                self.good(since, now);
                Settled::Done(slot)
            }
            Verdict::Refused(why) => {
                self.round.errors.add(1, why);
                self.rest(slot);
                if self.round.answered == 0 && self.round.errors.total() >= HOPELESS {
                    self.stop(now, self.spec.patience);
                }
                Settled::Refused(slot)
            }
            Verdict::Again(why) => {
                self.refuse(slot, why, now + RETRY_AFTER);
                Settled::Again
            }
            Verdict::Elsewhere(why) => {
                self.refuse(slot, why, now + RETRY_AFTER);
                Settled::Elsewhere
            }
        }
    }

    fn good(&mut self, since: Instant, now: Instant) {
        self.round.answered += 1;
        if (self.begin..self.end).contains(&since) {
            self.round.record(u64::try_from((now - since).as_nanos()).unwrap_or(u64::MAX));
            self.recorded = now;
        }
        self.paused(now);
        self.hopeful = now;
    }

    fn paused(&mut self, now: Instant) {
        self.round.pause = self.round.pause.max(now.saturating_duration_since(self.hopeful.max(self.begin)));
    }

    fn refuse(&mut self, slot: usize, why: &Refusal, at: Instant) {
        if let Some(place) = self.slots.get_mut(slot) {
            (place.state, place.why) = (State::Again, Some(Box::new(why.clone())));
            self.again.push_back((at, slot));
        }
    }

    /// Something came that is no answer.
    pub fn unreadable(&mut self) {
        let message = "a reply that cannot be read, or has no id".to_owned();
        self.round.errors.add(1, &Refusal { code: "unexpected_answer".to_owned(), message });
    }

    fn stranger(&mut self, answer: &Answer) -> Settled {
        let message = format!("an answer with the id {}, which nothing under way has", answer.id);
        self.round.errors.add(1, &Refusal { code: "unexpected_answer".to_owned(), message });
        Settled::Stranger
    }

    fn rest(&mut self, slot: usize) {
        if let Some(place) = self.slots.get_mut(slot) {
            place.state = State::Idle;
            self.idle.push_back(slot);
        }
    }

    fn give_up(&mut self, slot: usize) {
        let why = self.slots.get_mut(slot).and_then(|place| place.why.take());
        let unanswered = || Refusal { code: "unanswered".to_owned(), message: "no answer came in time".to_owned() };
        self.round.errors.add(1, &why.map_or_else(unanswered, |why| *why));
        self.rest(slot);
        self.given_up.push(slot);
    }

    /// The connection has ended: what was on the wire is sent again at once, with the rest, by the next one.
    pub fn cut(&mut self, now: Instant) {
        self.again.iter_mut().for_each(|(at, _)| *at = now);
        for (slot, place) in self.slots.iter_mut().enumerate().filter(|(_, place)| place.state == State::Awaiting) {
            place.state = State::Again;
            self.again.push_back((now, slot));
        }
    }

    /// There is no connection: gives up what has waited for too long.
    pub fn expire(&mut self, now: Instant) {
        let old: Vec<usize> = self
            .again
            .iter()
            .map(|(_, slot)| *slot)
            .filter(|slot| self.slots.get(*slot).is_some_and(|slot| now - slot.first > self.spec.patience))
            .collect();
        self.again.retain(|(_, slot)| !old.contains(slot));
        old.into_iter().for_each(|slot| self.give_up(slot));
    }

    /// Whether a request was sent more than `limit` ago and is still without any answer. It looks at every slot.
    #[must_use]
    pub fn is_stuck(&self, now: Instant, limit: Duration) -> bool {
        self.slots.iter().any(|slot| slot.state == State::Awaiting && now.saturating_duration_since(slot.last) > limit)
    }

    /// Slots whose requests were given up since this was asked last.
    pub fn take_given_up(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.given_up)
    }

    /// What was found out so far, for what the shell counts.
    pub fn round_mut(&mut self) -> &mut Round {
        &mut self.round
    }

    /// Ends the run: what is still owed is given up, and what was due and never left is an error too.
    pub fn close(&mut self, now: Instant) {
        if self.owed() > 0 {
            self.paused(now);
        }
        for slot in 0..self.slots.len() {
            if self.slots.get(slot).is_some_and(|place| place.state != State::Idle) {
                self.give_up(slot);
            }
        }
        if let Pace::Open { per_second } = self.spec.pace {
            let before = self.begun;
            while self.more(self.due(per_second)) {
                self.begun += 1;
            }
            let message = "due, but every key was waiting for an answer until the end".to_owned();
            self.round.errors.add(self.begun - before, &Refusal { code: "not_sent".to_owned(), message });
        }
    }

    /// What the run gave, once it is closed.
    #[must_use]
    pub fn finish(mut self) -> Round {
        let measured = self.end.saturating_duration_since(self.begin);
        self.round.elapsed = measured.max(self.recorded.saturating_duration_since(self.begin));
        self.round
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::said::Said;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule(pace: Pace, slots: usize) -> (Schedule, Instant) {
        let now = Instant::now();
        let patience = 10 * SECOND;
        let spec = Spec { pace, warm_up: SECOND, measured: 2 * SECOND, requests: None, patience, polls: false };
        (Schedule::new(spec, slots, now), now)
    }

    fn answer(id: u32, verdict: Verdict) -> Answer {
        Answer { id, verdict, said: Said::default() }
    }

    fn refusal() -> Box<Refusal> {
        Box::new(Refusal { code: "moving".to_owned(), message: "later".to_owned() })
    }

    fn all(schedule: &mut Schedule, now: Instant) -> Vec<Due> {
        std::iter::from_fn(|| schedule.next(now)).collect()
    }

    #[test]
    fn a_closed_loop_owes_as_many_as_it_may_and_slots_take_turns() {
        let (mut schedule, now) = schedule(Pace::Closed { in_flight: 2 }, 3);
        let first = all(&mut schedule, now);
        assert_eq!(first.iter().map(|due| due.slot).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(schedule.settle(&answer(first[0].id, Verdict::Done), now), Settled::Done(0));
        assert_eq!(all(&mut schedule, now).iter().map(|due| due.slot).collect::<Vec<_>>(), [2]);
        assert_eq!(schedule.settle(&answer(first[0].id, Verdict::Done), now), Settled::Stranger, "a second answer");
    }

    #[test]
    fn an_open_loop_counts_from_when_a_request_was_due_however_late_it_left() {
        let (mut schedule, start) = schedule(Pace::Open { per_second: 10 }, 1);
        let late = start + 2 * SECOND;
        for _ in 0..21 {
            let due = all(&mut schedule, late);
            assert_eq!(due.len(), 1, "one slot");
            schedule.settle(&answer(due[0].id, Verdict::Done), late);
        }
        assert_eq!(schedule.next_due(), Some(start + Duration::from_millis(2_100)), "it has caught up");
        schedule.close(start + 3 * SECOND);
        let round = schedule.finish();
        // Those of the first second are the warm-up; the others waited for up to a second.
        assert_eq!((round.events, round.answered), (11, 21));
        assert!(round.latency.max() >= 999_000_000, "{}", round.latency.max());
        assert_eq!(round.errors.iter().map(|(code, count, _)| (code, count)).collect::<Vec<_>>(), [("not_sent", 9)]);
        assert_eq!(round.pause, SECOND, "without the warm-up's part");
    }

    #[test]
    fn what_a_daemon_refuses_for_now_is_sent_again_under_a_new_id() {
        let (mut schedule, now) = schedule(Pace::Closed { in_flight: 1 }, 1);
        let first = all(&mut schedule, now)[0];
        assert_eq!(schedule.settle(&answer(first.id, Verdict::Again(refusal())), now), Settled::Again);
        assert_eq!(all(&mut schedule, now), []);
        assert_eq!(schedule.next_due(), Some(now + RETRY_AFTER));
        let second = all(&mut schedule, now + RETRY_AFTER)[0];
        assert!(second.slot == first.slot && second.id != first.id);
        schedule.settle(&answer(second.id, Verdict::Done), now + SECOND);
        let round = schedule.finish();
        assert_eq!((round.retried, round.errors.total(), round.answered), (1, 0, 1));
    }

    #[test]
    fn patience_ends_with_the_last_reason() {
        let (mut schedule, now) = schedule(Pace::Closed { in_flight: 2 }, 2);
        let first = all(&mut schedule, now);
        schedule.settle(&answer(first[0].id, Verdict::Elsewhere(refusal())), now);
        schedule.cut(now + SECOND);
        schedule.expire(now + SECOND);
        assert_eq!(schedule.take_given_up(), []);
        schedule.expire(now + 11 * SECOND);
        assert_eq!(schedule.take_given_up(), [0, 1]);
        assert_eq!(schedule.owed(), 0);
        let round = schedule.finish();
        let codes: Vec<_> = round.errors.iter().map(|(code, count, _)| (code, count)).collect();
        assert_eq!(codes, [("moving", 1), ("unanswered", 1)]);
    }

    #[test]
    fn what_a_connection_took_with_it_is_sent_again_at_once() {
        let (mut schedule, now) = schedule(Pace::Closed { in_flight: 2 }, 2);
        let first = all(&mut schedule, now);
        assert!(schedule.is_stuck(now + 6 * SECOND, 5 * SECOND) && !schedule.is_stuck(now + SECOND, 5 * SECOND));
        schedule.cut(now + SECOND);
        assert_eq!(all(&mut schedule, now + SECOND).len(), 2);
        assert_eq!(schedule.settle(&answer(first[0].id, Verdict::Done), now + SECOND), Settled::Stranger);
        schedule.close(now + SECOND);
        assert_eq!(schedule.take_given_up(), [0, 1]);
    }

    #[test]
    fn a_run_in_which_everything_is_refused_for_good_ends_early() {
        let refused_after = |good: bool| {
            let (mut schedule, now) = schedule(Pace::Closed { in_flight: 1 }, 1);
            let mut settle = |verdict| {
                let Some(due) = schedule.next(now) else { return false };
                schedule.settle(&answer(due.id, verdict), now);
                true
            };
            if good {
                settle(Verdict::Done);
            }
            (0..2 * HOPELESS).take_while(|_| settle(Verdict::Refused(refusal()))).count() as u64
        };
        assert_eq!((refused_after(false), refused_after(true)), (HOPELESS, 2 * HOPELESS));
    }

    #[test]
    fn a_run_that_is_stopped_ends_when_nothing_is_owed() {
        let (mut schedule, now) = schedule(Pace::Open { per_second: 1 }, 2);
        let first = all(&mut schedule, now);
        schedule.stop(now + SECOND / 2, SECOND);
        assert!(!schedule.is_over(now + SECOND));
        schedule.settle(&answer(first[0].id, Verdict::Done), now + SECOND);
        assert!(schedule.is_over(now + SECOND));
        assert_eq!(schedule.finish().elapsed, Duration::ZERO, "it had not begun to record");
    }
}
