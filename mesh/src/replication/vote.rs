//! Elections: who asks for votes, and who gets one.
//!
//! A vote is asked for after a pre-vote (dissertation, 9.6): so a replica that was cut off, or removed, raises no term that others must
//! follow. A voter says no to a pre-vote while it hears its leader. Answers wait until the vote is durable; and so do requests: a candidate that forgot
//! the term it asked in, and with it the end of its log, could ask again in that term, and count votes that were given to the longer log.

use std::time::Instant;

use super::config::Replica;
use super::group::{Group, Role, Standing};
use super::message::{Message, Position};
use super::outputs::{Ignored, Output};

/// What a copy must not forget: its term, and for whom it voted in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ballot {
    /// The highest term that it has seen.
    pub term: u64,
    /// Who got its vote in that term.
    pub vote: Option<Replica>,
}

/// A copy that asks for votes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Candidate {
    /// It asks for pre-votes.
    pub(super) pre: bool,
    /// It has asked: a candidate asks when its own vote is durable.
    asked: bool,
    /// Voters who said yes, each once, in order: so it does not matter in which order they did.
    granted: Vec<Replica>,
}

impl Candidate {
    fn grant(&mut self, voter: Replica) {
        if let Err(at) = self.granted.binary_search(&voter) {
            self.granted.insert(at, voter);
        }
    }
}

impl Group {
    /// Asks whether votes would be given.
    pub(super) fn ask_for_pre_votes(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (true, Some(term)) = (self.may_lead(), self.ballot.term.checked_add(1)) else {
            self.election = None;
            return;
        };
        self.stand(true, now, out);
        let last = self.log.last();
        self.ask_all(&Message::PreVote { term, last }, out);
        self.count(now, out);
    }

    /// Begins a term and asks for votes in it, once that is durable.
    pub(super) fn campaign(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (true, false, Some(term)) = (self.may_lead(), self.leads(), self.ballot.term.checked_add(1)) else {
            return;
        };
        self.set_ballot(Ballot { term, vote: Some(self.me.clone()) }, out);
        self.stand(false, now, out);
    }

    fn stand(&mut self, pre: bool, now: Instant, out: &mut Vec<Output>) {
        if self.leader().is_some() {
            out.push(Output::Leader(None));
        }
        // A pre-vote counts the candidate itself at once: it promises nothing.
        let granted = if pre { vec![self.me.clone()] } else { Vec::new() };
        self.role = Role::Candidate(Candidate { pre, asked: pre, granted });
        self.arm(now, self.settings.retry);
    }

    /// Something became durable: the own vote, perhaps.
    pub(super) fn candidate_is_durable(&mut self, now: Instant, out: &mut Vec<Output>) {
        let durable = self.writes.ballot_is_durable();
        let me = self.me.clone();
        if let Role::Candidate(candidate) = &mut self.role
            && !candidate.asked
            && durable
        {
            candidate.asked = true;
            candidate.grant(me);
            let message = Message::Vote { term: self.ballot.term, last: self.log.last() };
            self.ask_all(&message, out);
            self.count(now, out);
        }
    }

    fn ask_all(&self, message: &Message, out: &mut Vec<Output>) {
        let others = self.log.configuration().all_voters().filter(|voter| **voter != self.me);
        others.for_each(|voter| self.send(voter.clone(), message.clone(), out));
    }

    fn count(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Role::Candidate(candidate) = &self.role else { return };
        if !self.log.configuration().majority(|voter| candidate.granted.contains(voter)) {
            return;
        }
        if candidate.pre { self.campaign(now, out) } else { self.lead(now, out) }
    }

    /// Whether a log that ends there has all that this one has (Raft, section 5.4.1).
    fn is_up_to_date(&self, last: Position) -> bool {
        last >= self.log.last()
    }

    pub(super) fn pre_vote(&mut self, from: Replica, term: u64, last: Position, now: Instant, out: &mut Vec<Output>) {
        if let Some(current) = term.checked_sub(1).filter(|current| *current > self.ballot.term) {
            // The leader of this copy does not lead the newest term, and may not know of that term.
            self.follow(current, None, now, out);
        }
        let later = term > self.ballot.term;
        if later && self.leader() == Some(&from) {
            // It would not ask if it led.
            self.leader_is_gone(now, out);
        }
        let hears_leader = self.leader().is_some_and(|leader| !self.lost.contains(&leader.name));
        let granted = later && !hears_leader && self.is_up_to_date(last);
        let term = if granted { term } else { self.ballot.term };
        self.send(from, Message::PreVoted { term, granted }, out);
    }

    pub(super) fn pre_voted(&mut self, from: Replica, term: u64, granted: bool, now: Instant, out: &mut Vec<Output>) {
        if !granted && term > self.ballot.term {
            return self.follow(term, None, now, out);
        }
        match &mut self.role {
            Role::Candidate(candidate) if candidate.pre && granted && Some(term) == self.ballot.term.checked_add(1) => {
                self.granted(from, now, out);
            }
            _ if granted => out.push(Output::Ignored(Ignored::Stale)),
            _ => {}
        }
    }

    pub(super) fn vote(&mut self, from: Replica, term: u64, last: Position, now: Instant, out: &mut Vec<Output>) {
        if term > self.ballot.term {
            self.follow(term, None, now, out);
        }
        let free = self.ballot.vote.is_none() && self.leader().is_none();
        let may = term == self.ballot.term && (free || self.ballot.vote.as_ref() == Some(&from));
        if !may || !self.is_up_to_date(last) {
            return self.send(from, Message::Voted { term: self.ballot.term, granted: false }, out);
        }
        if self.ballot.vote.is_none() {
            self.set_ballot(Ballot { term, vote: Some(from.clone()) }, out);
            self.arm(now, self.settings.retry);
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.candidate = Some(from);
        }
        self.answer_vote(out);
    }

    /// Answers the candidate that has the vote, once that is durable.
    pub(super) fn answer_vote(&mut self, out: &mut Vec<Output>) {
        let durable = self.writes.ballot_is_durable();
        if let Role::Follower(follower) = &mut self.role
            && self.standing == Standing::Whole
            && durable
            && let Some(candidate) = follower.candidate.take()
        {
            self.send(candidate, Message::Voted { term: self.ballot.term, granted: true }, out);
        }
    }

    pub(super) fn voted(&mut self, from: Replica, term: u64, granted: bool, now: Instant, out: &mut Vec<Output>) {
        if term > self.ballot.term {
            return self.follow(term, None, now, out);
        }
        match &self.role {
            Role::Candidate(candidate) if !candidate.pre && granted && term == self.ballot.term => {
                self.granted(from, now, out);
            }
            _ if granted => out.push(Output::Ignored(Ignored::Stale)),
            _ => {}
        }
    }

    fn granted(&mut self, from: Replica, now: Instant, out: &mut Vec<Output>) {
        // Votes of other replicas are never counted, and would be kept for nothing.
        let votes = self.log.configuration().votes(&from);
        if let (Role::Candidate(candidate), true) = (&mut self.role, votes) {
            candidate.grant(from);
            self.count(now, out);
        }
    }

    /// The leader hands over: it has stopped, and this log has all.
    pub(super) fn timeout_now(&mut self, from: &Replica, term: u64, now: Instant, out: &mut Vec<Output>) {
        let leads = self.leader() == Some(from) && !self.leads();
        if term != self.ballot.term || !leads {
            return out.push(Output::Ignored(Ignored::Stale));
        }
        self.campaign(now, out);
    }
}
