//! A message comes: whether it is for this copy, and what it is about.

use std::time::Instant;

use super::group::Group;
use super::message::{Envelope, Message};
use super::outputs::{Ignored, Output};

/// The most by which a peer's term may be above ours: the last one could have no successor. A term is an election, so no mesh comes there.
const TERM_JUMP: u64 = 1 << 32;

impl Group {
    pub(super) fn receive(&mut self, envelope: Envelope, now: Instant, out: &mut Vec<Output>) {
        let Envelope { from, to, message } = envelope;
        if !to.same_volume(&self.me) || from == self.me {
            return out.push(Output::Ignored(Ignored::OtherLife));
        }
        if message_term(&message).is_some_and(|term| term.saturating_sub(self.ballot.term) > TERM_JUMP) {
            return out.push(Output::Ignored(Ignored::Absurd));
        }
        if let Message::Ack { term, .. } | Message::Nack { term, .. } = message
            && (term, &to) == (self.ballot.term, &self.me)
            && !self.leads()
        {
            // Only a term's leader is answered: this copy was it, and stopped.
            return self.abdicated(from, out);
        }
        if !self.is_addressed(&from, to.generation, &message, now, out) {
            return out.push(Output::Ignored(Ignored::OtherLife));
        }
        match message {
            Message::Append(append) => self.append(from, append, now, out),
            Message::Ack { term, round, index, commit } => self.acked(&from, term, round, (index, commit), now, out),
            Message::Nack { term, round, prev, hint, commit } => {
                self.nacked(&from, (term, round), prev, (hint, commit), now, out);
            }
            Message::PreVote { term, last } => self.pre_vote(from, term, last, now, out),
            Message::PreVoted { term, granted } => self.pre_voted(from, term, granted, now, out),
            Message::Vote { term, last } => self.vote(from, term, last, now, out),
            Message::Voted { term, granted } => self.voted(from, term, granted, now, out),
            Message::TimeoutNow { term } => self.timeout_now(&from, term, now, out),
            Message::Newer { term } if term > self.ballot.term => self.follow(term, None, now, out),
            Message::Abdicated { term } if term == self.ballot.term => self.is_over(from, now, out),
            Message::GiveUp { term } if term == self.ballot.term && self.follows(&from) => self.give_up(now, out),
            Message::GaveUp => self.peer_gave_up(&from, out),
            Message::Newer { .. } | Message::GiveUp { .. } | Message::Abdicated { .. } => {
                out.push(Output::Ignored(Ignored::Stale))
            }
        }
    }
}

/// The term that a message would make this copy adopt.
fn message_term(message: &Message) -> Option<u64> {
    match message {
        Message::Append(append) => Some(append.term),
        Message::Ack { term, .. }
        | Message::Nack { term, .. }
        | Message::PreVoted { term, .. }
        | Message::Vote { term, .. }
        | Message::Voted { term, .. }
        | Message::TimeoutNow { term }
        | Message::Newer { term }
        | Message::Abdicated { term }
        | Message::GiveUp { term } => Some(*term),
        // It is about the term after the one that the sender has.
        Message::PreVote { term, .. } => term.checked_sub(1),
        Message::GaveUp => None,
    }
}
