//! Terms: whom a copy follows in its term, and what ends that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statemesh_protocol::hash::mix;
use statemesh_protocol::identity::MemberName;

use super::config::{Configuration, REPLICAS_MAX, Replica};
use super::follower::Follower;
use super::group::{Group, Role, Standing};
use super::message::Message;
use super::outputs::{Output, Record};
use super::vote::Ballot;

impl Group {
    pub(super) fn lost(&mut self, member: MemberName, now: Instant, out: &mut Vec<Output>) {
        let leads = self.leader().is_some_and(|leader| leader.name == member && *leader != self.me);
        // First, so that it does not count as a voter that asks before this one.
        self.lost.insert(member);
        if leads {
            self.leader_is_gone(now, out);
        }
        self.leader_hears(now);
    }

    pub(super) fn heard(&mut self, member: &MemberName, now: Instant, out: &mut Vec<Output>) {
        self.lost.remove(member);
        self.leader_hears(now);
        self.probe_member(member, true, now, out);
        self.tell_of_abdication(member, out);
    }

    /// A follower that voted for itself may have led this term; others, which hear it, may think that it does.
    pub(super) fn tell_of_abdication(&self, member: &MemberName, out: &mut Vec<Output>) {
        let may_have_led = self.ballot.vote.as_ref().is_some_and(|vote| vote.same_volume(&self.me));
        if matches!(&self.role, Role::Follower(follower) if follower.leader.is_none()) && may_have_led {
            let there =
                self.log.configuration().replicas().filter(|replica| replica.name == *member && **replica != self.me);
            there.for_each(|to| self.abdicated(to.clone(), out));
        }
    }

    pub(super) fn abdicated(&self, to: Replica, out: &mut Vec<Output>) {
        self.send(to, Message::Abdicated { term: self.ballot.term }, out);
    }

    /// Stops leading this term, although no replica has begun a later one.
    pub(super) fn abdicate(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.leads() {
            let others = self.log.configuration().replicas().filter(|replica| **replica != self.me);
            others.for_each(|to| self.abdicated(to.clone(), out));
        }
        self.follow(self.ballot.term, None, now, out);
    }

    /// Becomes a follower in this term, which is not below the present one.
    pub(super) fn follow(&mut self, term: u64, leader: Option<Replica>, now: Instant, out: &mut Vec<Output>) {
        let before = self.leader().cloned();
        if term > self.ballot.term {
            self.set_ballot(Ballot { term, vote: None }, out);
        }
        if matches!(self.role, Role::Leader(_)) {
            out.push(Output::RolledBack { from: self.commit.saturating_add(1) });
        }
        self.election = None;
        if leader.is_none() {
            self.arm(now, self.settings.retry);
        }
        if before != leader {
            out.push(Output::Leader(leader.clone()));
        }
        self.role = Role::Follower(Follower::of(leader));
    }

    /// The leader is not heard, or leads no more: votes are asked for soon, by the first voters first.
    pub(super) fn leader_is_gone(&mut self, now: Instant, out: &mut Vec<Output>) {
        if let Role::Follower(follower) = &mut self.role
            && follower.leader.take().is_some()
        {
            out.push(Output::Leader(None));
            self.arm(now, Duration::ZERO);
        }
    }

    /// A copy does not lead this term, and will not.
    pub(super) fn is_over(&mut self, from: Replica, now: Instant, out: &mut Vec<Output>) {
        if self.follows(&from) {
            self.leader_is_gone(now, out);
        }
        if !self.over.contains(&from) && self.over.len() < REPLICAS_MAX {
            self.over.push(from);
        }
    }

    pub(super) fn set_ballot(&mut self, ballot: Ballot, out: &mut Vec<Output>) {
        if ballot.term > self.ballot.term {
            self.over.clear();
        }
        self.ballot = ballot;
        let write = self.writes.ballot();
        out.push(Output::Persist { write, record: Record::Ballot(self.ballot.clone()) });
    }

    /// Sets when to ask for pre-votes: the voter with this rank among those that are heard after that many times the stagger. The
    /// rest is so that two who see different ranks do not meet again and again; it is the same for all groups of a member.
    pub(super) fn arm(&mut self, now: Instant, after: Duration) {
        self.election = None;
        if !self.may_lead() {
            return;
        }
        let heard = |voter: &&Replica| !self.lost.contains(&voter.name);
        let rank = self.log.configuration().all_voters().filter(heard).position(|voter| *voter == self.me).unwrap_or(0);
        let stagger = self.settings.stagger;
        let micros = u64::try_from(stagger.as_micros()).unwrap_or(u64::MAX) / 2;
        let jitter = mix(self.me.name.hash64() ^ mix(self.ballot.term)) % micros.max(1);
        let rank = u32::try_from(rank).unwrap_or(u32::MAX).saturating_add(1);
        self.election = now.checked_add(after + stagger.saturating_mul(rank) + Duration::from_micros(jitter));
    }

    /// Whether this copy may ask for votes. One that is no voter by an entry that is not committed must, too: it may have the newest log, which
    /// the former voters will not do without (dissertation, 4.2.2). It does not count itself.
    pub(super) fn may_lead(&self) -> bool {
        let votes = |configuration: &Arc<Configuration>| configuration.votes(&self.me);
        let before = self.log.configuration_before().filter(|_| self.log.configured_at() > self.commit);
        self.standing == Standing::Whole && (votes(self.log.configuration()) || before.is_some_and(votes))
    }

    pub(super) fn follows(&self, leader: &Replica) -> bool {
        self.leader() == Some(leader) && !self.leads()
    }
}
