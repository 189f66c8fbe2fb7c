//! How far one follower is, as its leader knows it, and what is sent to it next.

use std::time::Instant;

use super::config::Replica;
use super::log::Log;
use super::message::{Append, Envelope, Message, Position};
use super::outputs::Output;
use super::settings::Settings;

/// One follower of a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    /// It has all up to here, durable.
    matched: u64,
    /// The next entry to send.
    next: u64,
    /// What it knows to be committed, and what it was last told.
    knows: u64,
    told: u64,
    round: u64,
    state: State,
    /// When to send again, if something is not answered.
    again: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// It is not heard.
    Unheard,
    /// The end of its log is looked for, one message at a time.
    Probe,
    /// It is sent each entry as it is appended.
    Stream,
    /// It is sent images.
    Images,
    /// It denied what it had acknowledged: nothing that it says counts.
    Damaged,
}

/// What a leader sends from.
pub(super) struct Source<'a> {
    pub(super) me: &'a Replica,
    pub(super) term: u64,
    pub(super) commit: u64,
    pub(super) log: &'a Log,
    pub(super) settings: &'a Settings,
}

/// What a follower's refusal came to.
pub(super) enum Refusal {
    /// It was answered, or is old.
    Done,
    /// It denies what it acknowledged in this term.
    Damaged,
}

impl Progress {
    /// A follower of which nothing is known but that its log may end where ours does.
    pub(super) fn new(next: u64) -> Self {
        let (matched, knows, told, round) = (0, 0, 0, 0);
        Self { matched, next, knows, told, round, state: State::Unheard, again: None }
    }

    /// What counts of it for a majority.
    pub(super) fn matched(&self) -> u64 {
        self.matched
    }

    /// Whether it gets each entry as it comes.
    pub(super) fn is_streaming(&self) -> bool {
        self.state == State::Stream
    }

    /// Whether it is asked for the end of its log. If that is lost, it is asked again in time.
    pub(super) fn is_asked(&self) -> bool {
        self.state == State::Probe
    }

    /// Whether it is being sent images.
    pub(super) fn has_images(&self) -> bool {
        self.state == State::Images
    }

    /// When to look after it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.again
    }

    /// It is not heard any more.
    pub(super) fn lost(&mut self) {
        if self.state != State::Damaged {
            self.state = State::Unheard;
            self.again = None;
        }
    }

    /// It keeps no promise any more.
    pub(super) fn damaged(&mut self) {
        // What it acknowledged counts no more: it would be counted for what it has not.
        *self = Self { state: State::Damaged, ..Self::new(0) };
    }

    /// Begins to look for the end of its log: it is heard again, or what was sent may be lost.
    pub(super) fn probe(&mut self, to: &Replica, source: &Source<'_>, now: Instant, out: &mut Vec<Output>) {
        if self.state == State::Damaged {
            return;
        }
        self.round += 1;
        self.state = State::Probe;
        let end = source.log.last().index.saturating_add(1);
        self.next = self.next.min(end).max(self.matched.saturating_add(1));
        if source.log.position_at(self.next - 1).is_none() {
            // It needs images, as far as is known. It is asked all the same: it may have them by now, or know a later term.
            self.next = end;
        }
        self.send(to, source, true, now, out);
    }

    /// Sends what it has not got yet, if it follows without gaps.
    pub(super) fn stream(&mut self, to: &Replica, source: &Source<'_>, now: Instant, out: &mut Vec<Output>) {
        while self.state == State::Stream && self.next <= source.log.last().index {
            self.send(to, source, false, now, out);
        }
    }

    /// Tells it what is committed, if it was not told with an entry.
    pub(super) fn tell(&mut self, to: &Replica, source: &Source<'_>, now: Instant, out: &mut Vec<Output>) {
        if self.state == State::Stream && self.told < source.commit {
            self.send(to, source, false, now, out);
        }
    }

    fn send(&mut self, to: &Replica, source: &Source<'_>, probe: bool, now: Instant, out: &mut Vec<Output>) {
        let Some(prev) = source.log.position_at(self.next.saturating_sub(1)) else {
            return self.need_images(to, self.knows, out);
        };
        let mut weight = 0;
        let fits = |weight: usize| weight <= source.settings.append_bytes;
        let mut entries = Vec::new();
        for entry in source.log.from(self.next) {
            weight += entry.weight();
            if !entries.is_empty() && !fits(weight) {
                break;
            }
            entries.push(entry.clone());
        }
        if !probe {
            self.next += entries.len() as u64;
        }
        self.told = source.commit;
        self.again = now.checked_add(source.settings.resend);
        let Source { me, term, commit, .. } = *source;
        let append = Append { term, round: self.round, probe, prev, commit, entries };
        let message = Message::Append(append);
        out.push(Output::Send(Envelope { from: me.clone(), to: to.clone(), message }));
    }

    fn need_images(&mut self, to: &Replica, since: u64, out: &mut Vec<Output>) {
        self.state = State::Images;
        self.again = None;
        out.push(Output::NeedImages { to: to.clone(), since });
    }

    /// It has all up to `index`. True if that is news.
    pub(super) fn ack(
        &mut self,
        to: &Replica,
        (round, index, commit): (u64, u64, u64),
        source: &Source<'_>,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> bool {
        if index > source.log.last().index || matches!(self.state, State::Damaged) {
            return false;
        }
        let news = index > self.matched;
        self.matched = self.matched.max(index);
        self.knows = self.knows.max(commit.min(source.commit));
        match self.state {
            State::Probe if round == self.round => {
                self.state = State::Stream;
                self.next = self.matched + 1;
            }
            // What it refuses from now on, it refuses although it has it: such an answer must not be one to an earlier question.
            State::Probe if news => self.probe(to, source, now, out),
            State::Images if source.log.position_at(index).is_some() => {
                self.state = State::Stream;
                self.next = self.matched + 1;
            }
            _ => {}
        }
        self.settle(source, now);
        self.stream(to, source, now, out);
        news
    }

    fn settle(&mut self, source: &Source<'_>, now: Instant) {
        let waits = match self.state {
            // Its answer is missing, whatever else it said.
            State::Probe => true,
            State::Stream => self.matched < source.log.last().index || self.knows < source.commit,
            State::Unheard | State::Images | State::Damaged => false,
        };
        self.again = if waits { now.checked_add(source.settings.resend) } else { None };
    }

    /// It has not got the entry before what was sent.
    pub(super) fn nack(
        &mut self,
        to: &Replica,
        (round, prev): (u64, u64),
        (hint, commit): (Position, u64),
        source: &Source<'_>,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Refusal {
        if round != self.round || prev == 0 || hint.index > prev {
            return Refusal::Done;
        }
        let asked = self.next.checked_sub(1) == Some(prev);
        match self.state {
            State::Stream if prev > self.matched => self.round += 1,
            State::Probe if asked && prev > self.matched => {}
            // It was asked in this round, which began after it had acknowledged that entry.
            State::Probe if asked => return Refusal::Damaged,
            _ => return Refusal::Done,
        }
        self.state = State::Probe;
        self.knows = self.knows.max(commit.min(source.commit));
        // Nothing is known of what is before the base; and a replica with another entry at the base would be asked about it for ever.
        let end = hint.index.min(prev - 1);
        if end < source.log.base().index {
            self.need_images(to, commit, out);
        } else {
            let agreed = source.log.agreeing(end, hint.term).index;
            self.next = agreed.max(self.matched) + 1;
            self.send(to, source, true, now, out);
        }
        Refusal::Done
    }
}
