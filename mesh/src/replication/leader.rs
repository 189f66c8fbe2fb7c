//! A leader: it proposes, sends, commits, changes voters, and hands over.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;

use super::config::{Change, Replica};
use super::group::{Group, Ignored, Output, Record, Role};
use super::message::{Body, Entry, Message, Position};
use super::progress::{Progress, Refusal, Source};
use statemesh_protocol::identity::MemberName;

/// What a leader knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leader {
    /// All copies but this one, and those that are being removed.
    followers: Vec<(Replica, Progress)>,
    /// The entry that began the term: nothing is known to be committed before it is.
    began: u64,
    /// Bytes that were appended and are not committed.
    uncommitted: usize,
    /// To whom it hands over, whether that one was told, and when to give it up.
    transfer: Option<(Replica, bool, Instant)>,
    /// When to tell what is committed.
    tell: Option<Instant>,
    /// When to stop, since no majority is heard.
    alone: Option<Instant>,
}

impl Leader {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let transfer = self.transfer.as_ref().map(|(_, _, until)| *until);
        let own = [self.tell, self.alone, transfer].into_iter().flatten();
        own.chain(self.followers.iter().filter_map(|(_, progress)| progress.deadline())).min()
    }
}

/// Why a leader does not do what it is asked to. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// This copy does not lead.
    #[error("this copy does not lead its place")]
    NotLeading,
    /// As much as is allowed waits to be committed (`limits.uncommitted`).
    #[error("the place has as many bytes as it may that are not committed")]
    Full,
    /// It hands over, and steps nothing more.
    #[error("the place is being handed over")]
    Transferring,
    /// The copies are changing already, or nothing of this term is committed yet.
    #[error("the copies of the place are changing")]
    Changing,
    /// There can be no such configuration, or no such leader.
    #[error("the place cannot have such copies")]
    Impossible,
    /// A new voter has not caught up.
    #[error("a copy has not caught up")]
    Behind,
}

impl Group {
    /// Appends a record, and sends it. Returns its index: it is committed when [`Output::Committed`] says so.
    ///
    /// # Errors
    /// [`Refused`] says why not.
    pub fn propose(&mut self, record: Bytes, now: Instant, out: &mut Vec<Output>) -> Result<u64, Refused> {
        self.forget();
        let limit = self.settings.uncommitted_bytes;
        let body = Body::Record(record);
        let leader = self.leading()?;
        if leader.uncommitted > 0 && leader.uncommitted.saturating_add(body.weight()) > limit {
            return Err(Refused::Full);
        }
        Ok(self.extend(body, now, out))
    }

    /// Changes the copies of the place. Returns the index of the entry that says so, which is the generation of a learner that it adds. A change
    /// of voters ends by itself, with a second entry.
    ///
    /// # Errors
    /// [`Refused`] says why not.
    pub fn reconfigure(&mut self, change: &Change, now: Instant, out: &mut Vec<Output>) -> Result<u64, Refused> {
        self.forget();
        let (commit, configured_at) = (self.commit, self.log.configured_at());
        let leader = self.leading()?;
        // Until an entry of its term is committed a leader does not know whether the last change is.
        if commit < leader.began || configured_at > commit {
            return Err(Refused::Changing);
        }
        if let Change::Voters(voters) = change {
            let votes = |voter: &Replica| self.log.configuration().votes(voter);
            let caught_up = |voter: &Replica| self.progress(voter).is_some_and(Progress::is_streaming);
            if voters.iter().any(|voter| !votes(voter) && !caught_up(voter)) {
                return Err(Refused::Behind);
            }
        }
        let index = self.log.last().index + 1;
        let next = self.log.configuration().after(change, index).ok_or(Refused::Impossible)?;
        Ok(self.extend(Body::Configuration(Arc::new(next)), now, out))
    }

    /// Hands over to a voter: from now on nothing is proposed; when it has all, it is told to ask for votes. [`Output::RolledBack`]
    /// says that it was elected; after [`super::group::Settings::transfer`] this copy goes on.
    ///
    /// # Errors
    /// [`Refused`] says why not.
    pub fn transfer(&mut self, to: &Replica, now: Instant, out: &mut Vec<Output>) -> Result<(), Refused> {
        self.forget();
        let possible = self.log.configuration().votes(to) && *to != self.me;
        let until = now.checked_add(self.settings.transfer).ok_or(Refused::Impossible)?;
        let streaming = self.progress(to).is_some_and(Progress::is_streaming);
        let leader = self.leading()?;
        if !possible {
            return Err(Refused::Impossible);
        }
        if !streaming {
            return Err(Refused::Behind);
        }
        leader.transfer = Some((to.clone(), false, until));
        self.try_to_transfer(out);
        Ok(())
    }

    /// Where a read must have come before it is answered, with the term that a barrier asks for (`barrier.rs`).
    ///
    /// # Errors
    /// [`Refused`]: it does not lead, or has committed nothing of its term yet.
    pub fn read_index(&self) -> Result<Position, Refused> {
        match &self.role {
            Role::Leader(leader) if self.commit >= leader.began => {
                Ok(Position { term: self.ballot.term, index: self.commit })
            }
            Role::Leader(_) => Err(Refused::Changing),
            Role::Follower(_) | Role::Candidate(_) => Err(Refused::NotLeading),
        }
    }

    /// A leader that may append.
    fn leading(&mut self) -> Result<&mut Leader, Refused> {
        match &mut self.role {
            Role::Leader(leader) if leader.transfer.is_some() => Err(Refused::Transferring),
            Role::Leader(leader) => Ok(leader),
            Role::Follower(_) | Role::Candidate(_) => Err(Refused::NotLeading),
        }
    }

    fn progress(&self, replica: &Replica) -> Option<&Progress> {
        let Role::Leader(leader) = &self.role else { return None };
        leader.followers.iter().find(|(other, _)| other == replica).map(|(_, progress)| progress)
    }

    /// Begins to lead: a majority has voted for it.
    pub(super) fn lead(&mut self, now: Instant, out: &mut Vec<Output>) {
        let last = self.log.last().index;
        let uncommitted = self.log.from(self.commit.saturating_add(1)).map(Entry::weight).sum();
        let (transfer, tell, alone) = (None, None, None);
        let leader = Leader { followers: Vec::new(), began: last + 1, uncommitted, transfer, tell, alone };
        self.role = Role::Leader(Box::new(leader));
        self.election = None;
        out.push(Output::Elected { term: self.ballot.term });
        out.push(Output::Leader(Some(self.me.clone())));
        self.extend(Body::Term, now, out);
        self.follow_configuration(now, out);
        self.leader_hears(now);
        self.try_to_commit(now, out);
    }

    /// Appends an entry, and sends it to all who follow without gaps.
    fn extend(&mut self, body: Body, now: Instant, out: &mut Vec<Output>) -> u64 {
        let entry = Entry { term: self.ballot.term, index: self.log.last().index + 1, body };
        let index = entry.index;
        let write = self.writes.entry(index);
        out.push(Output::Persist { write, record: Record::Entry(entry.clone()) });
        if let Role::Leader(leader) = &mut self.role {
            leader.uncommitted += entry.weight();
        }
        let configures = matches!(entry.body, Body::Configuration(_));
        self.log.push(entry);
        if configures {
            out.push(Output::Configured(Arc::clone(self.log.configuration())));
            self.follow_configuration(now, out);
        }
        self.each(|to, progress, source| progress.stream(to, source, now, out));
        index
    }

    /// Does something for each follower.
    fn each(&mut self, mut act: impl FnMut(&Replica, &mut Progress, &Source<'_>)) {
        let Self { role: Role::Leader(leader), me, ballot, commit, log, settings, .. } = self else { return };
        let source = Source { me, term: ballot.term, commit: *commit, log, settings };
        leader.followers.iter_mut().for_each(|(replica, progress)| act(replica, progress, &source));
    }

    /// Begins to send to copies that are new, those of the configuration before too as long as the last one is not committed: they
    /// are to know that they are removed.
    fn follow_configuration(&mut self, now: Instant, out: &mut Vec<Output>) {
        let next = self.log.last().index;
        let Self { role: Role::Leader(leader), me, log, lost, commit, .. } = self else { return };
        let before = log.configuration_before().filter(|_| log.configured_at() > *commit);
        let all = log.configuration().replicas().chain(before.into_iter().flat_map(|before| before.replicas()));
        let mut added = Vec::new();
        for replica in all.filter(|replica| *replica != me) {
            if leader.followers.iter().all(|(other, _)| other != replica) {
                leader.followers.push((replica.clone(), Progress::new(next)));
                added.push(replica.clone());
            }
        }
        let lost = lost.clone();
        self.each(|to, progress, source| {
            if added.contains(to) && !lost.contains(&to.name) {
                progress.probe(to, source, now, out);
            }
        });
    }

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

    /// A member is heard again, or something sent to it may be lost.
    pub(super) fn probe_member(&mut self, member: &MemberName, now: Instant, out: &mut Vec<Output>) {
        if self.lost.contains(member) {
            return;
        }
        self.each(|to, progress, source| {
            if to.name == *member && !progress.has_images() {
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

    /// Commits what a majority has durable. Entries of earlier terms are committed by one of this term, never by being counted (Raft, section
    /// 5.4.2). The leader's own disk counts, and is not needed.
    pub(super) fn try_to_commit(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Self { role: Role::Leader(leader), me, log, writes, commit, ballot, settings, .. } = self else { return };
        let has = |voter: &Replica| {
            let follower = || leader.followers.iter().find(|(other, _)| other == voter);
            if voter == me { writes.index() } else { follower().map_or(0, |(_, progress)| progress.matched()) }
        };
        let decided = log.configuration().decided(has);
        if decided <= *commit || log.term_at(decided) != Some(ballot.term) {
            return;
        }
        let new = log.from(*commit + 1).take_while(|entry| entry.index <= decided);
        leader.uncommitted = leader.uncommitted.saturating_sub(new.map(Entry::weight).sum());
        leader.tell = leader.tell.or_else(|| now.checked_add(settings.commit_delay));
        self.committed_through(decided, out);
        self.configuration_is_committed(now, out);
    }

    /// Goes on with a change of voters as far as it is committed.
    fn configuration_is_committed(&mut self, now: Instant, out: &mut Vec<Output>) {
        let configuration = Arc::clone(self.log.configuration());
        if self.log.configured_at() > self.commit {
            return;
        }
        if configuration.is_joint() {
            self.extend(Body::Configuration(Arc::new(configuration.settled())), now, out);
            // One voter alone has committed it when it is durable; others will answer.
            return self.try_to_commit(now, out);
        }
        let Role::Leader(leader) = &self.role else { return };
        if leader.followers.iter().any(|(replica, _)| !configuration.has(replica)) {
            // So that they know.
            self.each(|to, progress, source| {
                if !configuration.has(to) {
                    progress.tell(to, source, now, out);
                }
            });
            if let Role::Leader(leader) = &mut self.role {
                leader.followers.retain(|(replica, _)| configuration.has(replica));
            }
        }
        if !configuration.votes(&self.me) {
            self.leave(now, out);
        }
    }

    /// Stops leading a place that this copy is no voter of any more (Raft, section 6), and names who is to ask for votes first.
    fn leave(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.each(|to, progress, source| progress.tell(to, source, now, out));
        let Role::Leader(leader) = &self.role else { return };
        let voters = leader.followers.iter().filter(|(replica, _)| self.log.configuration().votes(replica));
        let best = voters.max_by_key(|(_, progress)| (progress.is_streaming(), progress.matched()));
        if let Some((best, _)) = best {
            self.send(best.clone(), Message::TimeoutNow { term: self.ballot.term }, out);
        }
        self.abdicate(now, out);
    }

    fn try_to_transfer(&mut self, out: &mut Vec<Output>) {
        let Self { role: Role::Leader(leader), log, .. } = self else { return };
        let Some((to, told, _)) = &mut leader.transfer else { return };
        let has =
            leader.followers.iter().any(|(other, progress)| other == to && progress.matched() == log.last().index);
        if has && !*told {
            *told = true;
            let (to, term) = (to.clone(), self.ballot.term);
            self.send(to, Message::TimeoutNow { term }, out);
        }
    }

    pub(super) fn leader_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let Role::Leader(leader) = &mut self.role else { return };
        if is_due(leader.alone) {
            // Others may have elected one of theirs; and who hears only this copy would never ask for votes while it leads.
            return self.abdicate(now, out);
        }
        leader.transfer = leader.transfer.take().filter(|(_, _, until)| *until > now);
        let tell = is_due(leader.tell);
        if tell {
            leader.tell = None;
        }
        self.each(|to, progress, source| {
            if tell {
                progress.tell(to, source, now, out);
            }
            if is_due(progress.deadline()) {
                progress.probe(to, source, now, out);
            }
        });
    }
}
