//! A leader: it proposes, sends, and commits.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;

use super::config::Replica;
use super::group::{Group, Role};
use super::message::{Body, Entry, Position};
use super::outputs::{Output, Record};
use super::progress::{Progress, Source};

/// What a leader knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leader {
    /// All copies but this one, and those that are being removed.
    pub(super) followers: Vec<(Replica, Progress)>,
    /// The entry that began the term: nothing is known to be committed before it is.
    pub(super) began: u64,
    /// Bytes that were appended and are not committed.
    uncommitted: usize,
    /// To whom it hands over, whether that one was told, and when to give it up.
    pub(super) transfer: Option<(Replica, bool, Instant)>,
    /// When to tell what is committed.
    tell: Option<Instant>,
    /// When to stop, since no majority is heard.
    pub(super) alone: Option<Instant>,
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
    pub(super) fn leading(&mut self) -> Result<&mut Leader, Refused> {
        match &mut self.role {
            Role::Leader(leader) if leader.transfer.is_some() => Err(Refused::Transferring),
            Role::Leader(leader) => Ok(leader),
            Role::Follower(_) | Role::Candidate(_) => Err(Refused::NotLeading),
        }
    }

    pub(super) fn progress(&self, replica: &Replica) -> Option<&Progress> {
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
    pub(super) fn extend(&mut self, body: Body, now: Instant, out: &mut Vec<Output>) -> u64 {
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
    pub(super) fn each(&mut self, mut act: impl FnMut(&Replica, &mut Progress, &Source<'_>)) {
        let Self { role: Role::Leader(leader), me, ballot, commit, log, settings, .. } = self else { return };
        let source = Source { me, term: ballot.term, commit: *commit, log, settings };
        leader.followers.iter_mut().for_each(|(replica, progress)| act(replica, progress, &source));
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
