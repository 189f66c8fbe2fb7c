//! A follower: it takes its leader's entries, and acknowledges those that are durable.

use std::sync::Arc;
use std::time::Instant;

use super::config::{Configuration, Replica};
use super::group::{Group, Role};
use super::inputs::Images;
use super::log::Log;
use super::message::{Append, Body, Entry, Message, Position};
use super::outputs::{Ignored, Output, Record};

/// Messages kept that came before the one in front of them: frames of one link may overtake each other.
const STASHED: usize = 8;

/// A copy that does not lead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Follower {
    /// Who leads.
    pub(super) leader: Option<Replica>,
    /// The log is known to be the leader's up to here.
    matched: u64,
    /// The last round that was taken.
    round: u64,
    /// Something was taken that is not answered.
    owed: bool,
    /// The highest index that was acknowledged to this leader.
    acked: u64,
    /// Who waits for the vote to be durable.
    pub(super) candidate: Option<Replica>,
    /// What came too early.
    stash: Vec<Append>,
}

impl Follower {
    /// One of this leader, of whose log nothing is known.
    pub(super) fn of(leader: Option<Replica>) -> Self {
        Self { leader, ..Self::default() }
    }
}

/// What became of an Append.
enum Taken {
    /// It is in the log.
    Whole,
    /// There is no room for all of it.
    Part,
    /// Entries before it are missing.
    Gap,
    /// The entry before it is another one here.
    Conflict,
    /// It contradicts what is committed.
    Contradiction,
}

impl Group {
    pub(super) fn append(&mut self, from: Replica, append: Append, now: Instant, out: &mut Vec<Output>) {
        if !is_possible(&append) {
            return out.push(Output::Ignored(Ignored::Absurd));
        }
        if append.term < self.ballot.term {
            return self.send(from, Message::Newer { term: self.ballot.term }, out);
        }
        if append.term == self.ballot.term && self.over.contains(&from) {
            return out.push(Output::Ignored(Ignored::Stale));
        }
        let leader = self.leader();
        if append.term == self.ballot.term && leader.is_some_and(|leader| *leader != from) {
            return out.push(Output::Ignored(Ignored::Contradiction));
        }
        let known = append.term == self.ballot.term && leader.is_some();
        if !known {
            self.follow(append.term, Some(from), now, out);
        }
        self.take(append, out);
        self.take_stashed(out);
        self.acknowledge(out);
    }

    fn take(&mut self, append: Append, out: &mut Vec<Output>) {
        let Append { term, round, probe, prev, commit, .. } = append;
        let gap = matches!(self.fit(prev), Taken::Gap);
        if gap && !probe && self.stash(&append) {
            return;
        }
        let end = append.entries.last().map_or(prev.index, |last| last.index);
        let end = match self.take_entries(append, out) {
            Taken::Whole => end,
            Taken::Part => {
                out.push(Output::Ignored(Ignored::Full));
                end.min(self.log.last().index)
            }
            Taken::Contradiction => return out.push(Output::Ignored(Ignored::Contradiction)),
            Taken::Gap | Taken::Conflict => {
                let hint = self.log.agreeing(prev.index, prev.term);
                let nack = Message::Nack { term, round, prev: prev.index, hint, commit: self.commit };
                return self.answer(nack, out);
            }
        };
        let Role::Follower(follower) = &mut self.role else { return };
        follower.matched = follower.matched.max(end);
        follower.round = follower.round.max(round);
        follower.owed = true;
        // What is behind `end` may be of another leader, and go again (Raft, section 5.3). No leader of today lets it come to that: it sends from no
        // earlier than where the logs part, and at least one entry, so the first that differs has just been truncated. It sends from behind what a
        // hint or an acknowledgement says; a hint is never before the last entry that both have, and an acknowledgement waits for the ballot, which
        // is written behind all that is of earlier terms. That is much to rely on for a leader of another version.
        self.committed_through(commit.min(end), out);
    }

    /// Whether the log has the entry before an Append.
    fn fit(&self, prev: Position) -> Taken {
        match self.log.term_at(prev.index) {
            Some(term) if term == prev.term => Taken::Whole,
            // Before the base all is committed, and so the leader's.
            None if prev.index < self.log.base().index => Taken::Whole,
            None => Taken::Gap,
            Some(_) if prev.index <= self.commit => Taken::Contradiction,
            Some(_) => Taken::Conflict,
        }
    }

    fn take_entries(&mut self, append: Append, out: &mut Vec<Output>) -> Taken {
        match self.fit(append.prev) {
            Taken::Whole => {}
            other => return other,
        }
        let room = self.settings.log_bytes;
        for entry in append.entries {
            match self.log.term_at(entry.index) {
                Some(term) if term == entry.term => continue,
                None if entry.index <= self.log.base().index => continue,
                Some(_) if entry.index <= self.commit => return Taken::Contradiction,
                Some(_) => self.truncate(entry.index, out),
                None => {}
            }
            if self.log.weight().saturating_add(entry.weight()) > room && self.log.weight() > 0 {
                return Taken::Part;
            }
            let write = self.writes.entry(entry.index);
            out.push(Output::Persist { write, record: Record::Entry(entry.clone()) });
            let configures = matches!(entry.body, Body::Configuration(_));
            self.log.push(entry);
            if configures {
                out.push(Output::Configured(Arc::clone(self.log.configuration())));
            }
        }
        Taken::Whole
    }

    /// Removes entries of a leader that came to nothing.
    fn truncate(&mut self, index: u64, out: &mut Vec<Output>) {
        let configured_at = self.log.configured_at();
        self.log.truncate(index);
        let write = self.writes.truncate(index);
        out.push(Output::Persist { write, record: Record::Truncate(index) });
        if self.log.configured_at() != configured_at {
            out.push(Output::Configured(Arc::clone(self.log.configuration())));
        }
    }

    /// Keeps what came before the one in front of it. False if there is no room: so much is not merely late, it was lost.
    fn stash(&mut self, append: &Append) -> bool {
        let bytes = self.settings.append_bytes.saturating_mul(STASHED);
        let Role::Follower(follower) = &mut self.role else { return true };
        if follower.stash.contains(append) {
            return true;
        }
        let all = follower.stash.iter().chain([append]);
        let weight: usize = all.flat_map(|append| &append.entries).map(Entry::weight).sum();
        if follower.stash.len() >= STASHED || weight > bytes {
            follower.stash.clear();
            return false;
        }
        follower.stash.push(append.clone());
        true
    }

    fn take_stashed(&mut self, out: &mut Vec<Output>) {
        loop {
            let last = self.log.last().index;
            let Role::Follower(follower) = &mut self.role else { return };
            let Some(at) = follower.stash.iter().position(|append| append.prev.index <= last) else { return };
            let append = follower.stash.swap_remove(at);
            self.take(append, out);
        }
    }

    /// Tells the leader what is durable of its log, if it is more than it was told, or if it asked.
    pub(super) fn acknowledge(&mut self, out: &mut Vec<Output>) {
        let (durable, promised) = (self.writes.index(), self.writes.ballot_is_durable());
        let Role::Follower(follower) = &mut self.role else { return };
        let index = follower.matched.min(durable);
        let all = durable >= follower.matched;
        if !promised || (index <= follower.acked && !(follower.owed && all)) {
            return;
        }
        follower.acked = follower.acked.max(index);
        follower.owed &= !all;
        let ack = Message::Ack { term: self.ballot.term, round: follower.round, index, commit: self.commit };
        self.answer(ack, out);
    }

    fn answer(&self, message: Message, out: &mut Vec<Output>) {
        if let Role::Follower(Follower { leader: Some(leader), .. }) = &self.role {
            self.send(leader.clone(), message, out);
        }
    }

    /// Images are in place. What the log has behind them stays if it is the same log.
    pub(super) fn installed(&mut self, images: Images, now: Instant, out: &mut Vec<Output>) {
        let Images { term, position, configuration } = images;
        if self.leads() || self.gave_up() || !configuration.is_sound() {
            return out.push(Output::Ignored(Ignored::Stale));
        }
        if term > self.ballot.term {
            // The present leader may not have what they have; the one that committed it has.
            self.follow(term, None, now, out);
        }
        if position.index > self.commit {
            self.replace(position, configuration, out);
        }
        let Role::Follower(follower) = &mut self.role else { return };
        if follower.leader.is_some() {
            // What was committed in this term or an earlier one is in the log of this term's leader.
            follower.matched = follower.matched.max(position.index);
            follower.owed = true;
            self.acknowledge(out);
        } else if self.election.is_none() {
            self.arm(now, self.settings.retry);
        }
    }

    fn replace(&mut self, position: Position, configuration: Arc<Configuration>, out: &mut Vec<Output>) {
        let same = self.log.term_at(position.index) == Some(position.term);
        let record = Record::Installed { position, configuration: Arc::clone(&configuration) };
        if !same {
            self.log = Log::new(position, configuration);
            self.writes.begin(0);
            out.push(Output::Configured(Arc::clone(self.log.configuration())));
        }
        let write = self.writes.entry(position.index);
        out.push(Output::Persist { write, record });
        self.committed_through(position.index, out);
    }
}

/// Whether a leader can have said this.
fn is_possible(append: &Append) -> bool {
    let mut last = append.prev;
    for entry in &append.entries {
        let follows = last.index.checked_add(1) == Some(entry.index) && last.term <= entry.term;
        if !follows || entry.term > append.term {
            return false;
        }
        if let Body::Configuration(configuration) = &entry.body
            && !configuration.is_sound()
        {
            return false;
        }
        last = entry.position();
    }
    append.term > 0 && last.term <= append.term
}
