//! One round of load from one connection of the direct client: closed loop, or open loop at a fixed rate.
//!
//! A request takes a slot until its answer comes, and the slot's number is its id: so answers may come in any order, and a
//! second answer to the same request, or one to nothing, is seen.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use omq_proto::SocketType;
use statemesh_transport::client::{Client, ClientError};

use crate::failure::{Failure, Outcome, While, failure};
use crate::work::{Work, answer};

/// How requests are paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// This many in flight: a new one leaves when an answer comes.
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

/// One round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    /// How requests are paced.
    pub(crate) pace: Pace,
    /// Load before anything is recorded.
    pub(crate) warm_up: Duration,
    /// Load that is recorded.
    pub(crate) measured: Duration,
}

/// What a round gave.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// Nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// Good answers that were recorded.
    pub(crate) events: u64,
    /// All answers, those of the warm-up too: what the CPU time of the round was spent on.
    pub(crate) answered: u64,
    /// Answers that were not good, and requests without one.
    pub(crate) errors: u64,
    /// For how long answers were recorded.
    pub(crate) elapsed: Duration,
}

impl Round {
    pub(crate) fn new() -> Self {
        Self { latency: histogram(), events: 0, answered: 0, errors: 0, elapsed: Duration::ZERO }
    }

    /// Records one latency; what exceeds the histogram's range counts as its end.
    pub(crate) fn record(&mut self, nanos: u64) {
        self.latency.saturating_record(nanos);
        self.events += 1;
    }
}

/// Three significant digits from 100 ns to 100 s.
pub(crate) fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants that the crate accepts")]
    Histogram::new_with_bounds(100, 100_000_000_000, 3).expect("constant bounds")
}

/// Patience with a handshake, and with answers that are still owed when a round ends.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests in flight at most, also in an open loop: beyond it the schedule waits, and that wait counts.
pub(crate) const SLOTS: usize = 65_536;

/// Runs one round against `address`.
pub(crate) fn run(address: SocketAddr, work: &Work, spec: &Spec) -> Outcome<Round> {
    let client = Client::connect(address, SocketType::Dealer, PATIENCE).while_at("the direct client")?;
    let mut load = Load::new(client, work, spec, Instant::now());
    match spec.pace {
        Pace::Closed { in_flight } => load.closed(in_flight)?,
        Pace::Open { per_second } => load.open(per_second)?,
    }
    load.drain()
}

struct Load<'a> {
    client: Client,
    work: &'a Work,
    /// When the request in each slot left, or was due; `None`: the slot is free.
    slots: Vec<Option<Instant>>,
    free: Vec<u32>,
    turn: usize,
    start: Instant,
    begin: Instant,
    end: Instant,
    round: Round,
}

impl<'a> Load<'a> {
    fn new(client: Client, work: &'a Work, spec: &Spec, now: Instant) -> Self {
        let begin = now + spec.warm_up;
        let count = match spec.pace {
            Pace::Closed { in_flight } => in_flight.min(SLOTS),
            Pace::Open { .. } => SLOTS,
        };
        let free = (0..u32::try_from(count).unwrap_or(0)).rev().collect();
        let end = begin + spec.measured;
        Self { client, work, slots: vec![None; count], free, turn: 0, start: now, begin, end, round: Round::new() }
    }

    /// Queues the next request if a slot is free.
    fn push(&mut self, since: Instant) -> bool {
        let Some(slot) = self.free.pop() else { return false };
        self.slots[slot as usize] = Some(since);
        self.client.push(&self.work.request(self.turn, slot));
        self.turn += 1;
        true
    }

    fn closed(&mut self, in_flight: usize) -> Outcome {
        let mut now = Instant::now();
        while now < self.end {
            for _ in 0..in_flight {
                if !self.push(now) {
                    break;
                }
            }
            self.client.flush().while_at("the direct client")?;
            if !self.take(PATIENCE)? {
                return failure(format!("no answer within {PATIENCE:?}"));
            }
            now = Instant::now();
        }
        Ok(())
    }

    /// The thread polls all the time: a timeout of the kernel's would be late by more than what is measured.
    fn open(&mut self, per_second: u32) -> Outcome {
        let start = self.start;
        let due = |sent: u64| start + Duration::from_nanos(sent * 1_000_000_000 / u64::from(per_second.max(1)));
        let mut sent = 0;
        loop {
            let now = Instant::now();
            while due(sent) <= now && due(sent) < self.end && self.push(due(sent)) {
                sent += 1;
            }
            self.client.flush().while_at("the direct client")?;
            if now >= self.end {
                return Ok(());
            }
            let wait = due(sent).saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
            self.client.set_spin(wait);
            self.take(wait)?;
        }
    }

    /// Waits for an answer, and takes all that came with it. Says whether any came.
    fn take(&mut self, wait: Duration) -> Outcome<bool> {
        let Some(first) = self.receive(wait)? else { return Ok(false) };
        let now = Instant::now();
        self.settle(&first, now);
        self.client.set_spin(Duration::ZERO);
        while let Some(next) = self.receive(Duration::ZERO)? {
            self.settle(&next, now);
        }
        Ok(true)
    }

    fn receive(&mut self, wait: Duration) -> Outcome<Option<omq_proto::Message>> {
        match self.client.receive(wait) {
            Ok(message) => Ok(Some(message)),
            Err(ClientError::Io { source, .. }) if source.kind() == io::ErrorKind::TimedOut => Ok(None),
            Err(error) => Err(Failure(error.to_string())),
        }
    }

    fn settle(&mut self, message: &omq_proto::Message, now: Instant) {
        let answer = message.part_slice(message.len().saturating_sub(1)).and_then(answer);
        let since = answer.and_then(|answer| self.slots.get_mut(answer.id as usize)?.take());
        let (Some(answer), Some(since)) = (answer, since) else {
            self.round.errors += 1;
            return;
        };
        self.free.push(answer.id);
        self.round.answered += 1;
        if !answer.good {
            self.round.errors += 1;
        } else if (self.begin..self.end).contains(&since) {
            self.round.record(u64::try_from((now - since).as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Takes the answers that are still owed. Whatever was due within the round is part of its result, however late.
    fn drain(mut self) -> Outcome<Round> {
        self.round.elapsed = self.end - self.begin;
        self.client.set_spin(Duration::ZERO);
        let deadline = Instant::now() + PATIENCE;
        while self.free.len() < self.slots.len() && Instant::now() < deadline && self.take(PATIENCE)? {}
        self.round.errors += (self.slots.len() - self.free.len()) as u64;
        Ok(self.round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo;
    use crate::work;

    fn against_an_echo(pace: Pace) -> Round {
        let (mut reactor, address) = echo::reactor(Duration::ZERO).unwrap();
        // It has no end of its own: it goes with the test's process.
        std::thread::spawn(move || reactor.run());
        let measured = Duration::from_millis(100);
        let spec = Spec { pace, warm_up: Duration::ZERO, measured };
        run(address, &Work::new(&work::keys(0, 10)), &spec).unwrap()
    }

    #[test]
    fn a_closed_loop_gets_an_answer_to_everything() {
        let round = against_an_echo(Pace::Closed { in_flight: 7 });
        assert_eq!(round.errors, 0);
        assert!(round.events >= 7 && round.events <= round.answered, "{} of {}", round.events, round.answered);
        assert_eq!(round.events, round.latency.len());
    }

    #[test]
    fn an_open_loop_offers_what_it_was_told_however_slow_the_machine_is() {
        let round = against_an_echo(Pace::Open { per_second: 2_000 });
        assert_eq!((round.events, round.errors), (200, 0));
    }
}
