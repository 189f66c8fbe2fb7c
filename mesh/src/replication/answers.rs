//! What followers answer their leader, and which of them it hears.

use std::time::Instant;

use statemesh_protocol::identity::MemberName;

use super::config::Replica;
use super::group::{Group, Role};
use super::message::{Message, Position};
use super::outputs::{Ignored, Output};
use super::progress::Refusal;

impl Group {
    pub(super) fn acked(
        &mut self,
        from: &Replica,
        term: u64,
        round: u64,
        (index, commit): (u64, u64),
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        if !self.is_answer(from, term, now, out) {
            return;
        }
        let mut news = false;
        self.each(|to, progress, source| {
            if to == from {
                news = progress.ack(to, (round, index, commit), source, now, out);
            }
        });
        if news {
            self.try_to_commit(now, out);
            self.try_to_transfer(out);
        }
    }

    pub(super) fn nacked(
        &mut self,
        from: &Replica,
        (term, round): (u64, u64),
        prev: u64,
        hint: (Position, u64),
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        if !self.is_answer(from, term, now, out) {
            return;
        }
        let mut damaged = false;
        self.each(|to, progress, source| {
            if to == from {
                damaged |= matches!(progress.nack(to, (round, prev), hint, source, now, out), Refusal::Damaged);
            }
        });
        if damaged {
            self.send(from.clone(), Message::GiveUp { term }, out);
            self.peer_gave_up(from, out);
        }
    }

    /// Whether an answer is to what this leader asked in this term.
    fn is_answer(&mut self, from: &Replica, term: u64, now: Instant, out: &mut Vec<Output>) -> bool {
        if term > self.ballot.term {
            self.follow(term, None, now, out);
            return false;
        }
        let known = term == self.ballot.term && self.progress(from).is_some();
        if !known {
            out.push(Output::Ignored(Ignored::Stale));
        }
        known
    }

    /// A copy keeps no promise any more.
    pub(super) fn peer_gave_up(&mut self, from: &Replica, out: &mut Vec<Output>) {
        let mut known = false;
        self.each(|to, progress, _| {
            if to == from {
                progress.damaged();
                known = true;
            }
        });
        out.push(if known { Output::Damaged(from.clone()) } else { Output::Ignored(Ignored::Stale) });
    }

    /// A member is heard again, or else something sent to it may be lost. What is asked already is not asked for each loss once more: with two
    /// lives of a copy there, each loss would make two.
    pub(super) fn probe_member(&mut self, member: &MemberName, heard: bool, now: Instant, out: &mut Vec<Output>) {
        if self.lost.contains(member) {
            return;
        }
        self.each(|to, progress, source| {
            if to.name == *member && !progress.has_images() && (heard || !progress.is_asked()) {
                progress.probe(to, source, now, out);
            }
        });
    }

    /// Images were sent, or could not be: what the follower has now is looked for.
    pub(super) fn images_ended(&mut self, replica: &Replica, now: Instant, out: &mut Vec<Output>) {
        self.each(|to, progress, source| {
            if to == replica && progress.has_images() {
                progress.probe(to, source, now, out);
            }
        });
    }

    /// Who is heard has changed.
    pub(super) fn leader_hears(&mut self, now: Instant) {
        let alone = self.settings.alone;
        let Self { role: Role::Leader(leader), me, log, lost, .. } = self else { return };
        leader.followers.iter_mut().filter(|(to, _)| lost.contains(&to.name)).for_each(|(_, progress)| progress.lost());
        let heard = |voter: &Replica| voter == me || !lost.contains(&voter.name);
        if log.configuration().majority(heard) {
            leader.alone = None;
        } else if leader.alone.is_none() {
            leader.alone = now.checked_add(alone);
        }
    }
}
