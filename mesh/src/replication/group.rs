//! One copy of a place: what happens to it, and what its shell is to do.
//!
//! The shell gives each input with the time, does what was pushed, in that order, and calls again at [`Group::next_deadline`]. A group that has
//! a leader and nothing under way has no deadline: what is idle costs nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use statemesh_protocol::identity::MemberName;

use super::config::{Configuration, Replica};
use super::follower::Follower;
use super::inputs::{Input, Restored};
use super::leader::Leader;
use super::log::Log;
use super::message::{Entry, Envelope, Message, Position};
use super::outputs::{Ignored, Output};
use super::settings::Settings;
use super::vote::{Ballot, Candidate};
use super::writes::Writes;

/// Whether this copy still keeps the promises of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Standing {
    /// It does.
    Whole,
    /// It is blank, or gave the life up: it gives no vote and acknowledges nothing until a leader begins a new one.
    GaveUp,
}

/// What it is in its term.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Follower(Follower),
    Candidate(Candidate),
    Leader(Box<Leader>),
}

/// One copy of a place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    pub(super) me: Replica,
    pub(super) standing: Standing,
    pub(super) settings: Arc<Settings>,
    pub(super) ballot: Ballot,
    pub(super) writes: Writes,
    pub(super) log: Log,
    pub(super) commit: u64,
    pub(super) role: Role,
    /// Copies that do not lead the present term, and will not: messages of theirs may still come late.
    pub(super) over: Vec<Replica>,
    /// Members that are not heard.
    pub(super) lost: BTreeSet<MemberName>,
    /// When to ask for pre-votes: set for each voter that knows no leader.
    pub(super) election: Option<Instant>,
}

impl Group {
    /// A copy that is there since the place was born: all its voters begin like this.
    #[must_use]
    pub fn first(me: Replica, configuration: Arc<Configuration>, settings: Arc<Settings>, now: Instant) -> Self {
        let base = Position::default();
        let (ballot, entries) = (Ballot::default(), Vec::new());
        let restored = Restored { ballot, base, configuration, entries, commit: 0, gave_up: false };
        Self::restored(me, restored, settings, now)
    }

    /// A copy without anything, on a volume of which the place may not know yet: it waits for a leader.
    #[must_use]
    pub fn blank(name: MemberName, volume: u64, settings: Arc<Settings>, now: Instant) -> Self {
        let me = Replica { generation: 0, volume, name };
        let mut blank = Self::first(me, Arc::default(), settings, now);
        blank.standing = Standing::GaveUp;
        blank
    }

    /// A copy as its journal has it. If that cannot be, it is damaged.
    #[must_use]
    pub fn restored(me: Replica, restored: Restored, settings: Arc<Settings>, now: Instant) -> Self {
        let Restored { mut ballot, base, configuration, entries, commit, gave_up } = restored;
        let mut log = Log::new(base, configuration);
        let mut standing = if gave_up { Standing::GaveUp } else { Standing::Whole };
        for entry in entries {
            let last = log.last();
            // Terms are logged before anything of theirs.
            if last.index.checked_add(1) != Some(entry.index) || entry.term < last.term || entry.term > ballot.term {
                standing = Standing::GaveUp;
                break;
            }
            log.push(entry);
        }
        if ballot.term < log.last().term {
            ballot = Ballot { term: log.last().term, vote: None };
            standing = Standing::GaveUp;
        }
        let commit = commit.clamp(base.index, log.last().index);
        let writes = Writes::new(log.last().index);
        let role = Role::Follower(Follower::default());
        let (over, lost, election) = (Vec::new(), BTreeSet::new(), None);
        let mut group = Self { me, standing, settings, ballot, writes, log, commit, role, over, lost, election };
        group.arm(now, group.settings.retry);
        group
    }

    /// Something happened at `now`. What is to be done is pushed.
    pub fn handle(&mut self, input: Input, now: Instant, out: &mut Vec<Output>) {
        self.forget();
        match input {
            Input::Message(envelope) => self.receive(envelope, now, out),
            Input::Durable(write) => self.durable(write, now, out),
            Input::Tick => self.tick(now, out),
            Input::Lost(member) => self.lost(member, now, out),
            Input::Heard(member) => self.heard(&member, now, out),
            Input::Missed(member) => {
                self.probe_member(&member, false, now, out);
                self.tell_of_abdication(&member, out);
            }
            Input::ImagesEnded(to) => self.images_ended(&to, now, out),
            Input::Campaign => self.campaign(now, out),
            Input::Damaged => self.give_up(now, out),
            Input::Installed(images) => self.installed(images, now, out),
        }
    }

    /// When to say [`Input::Tick`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.role {
            Role::Leader(leader) => leader.next_deadline(),
            Role::Follower(_) | Role::Candidate(_) => self.election,
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if matches!(self.role, Role::Leader(_)) {
            self.leader_tick(now, out);
        } else if self.election.is_some_and(|at| at <= now) {
            self.ask_for_pre_votes(now, out);
        }
    }

    fn durable(&mut self, write: u64, now: Instant, out: &mut Vec<Output>) {
        if !self.writes.done(write) {
            return out.push(Output::Ignored(Ignored::Stale));
        }
        match &self.role {
            Role::Leader(_) => self.try_to_commit(now, out),
            Role::Candidate(_) => self.candidate_is_durable(now, out),
            Role::Follower(_) => {
                self.answer_vote(out);
                self.acknowledge(out);
            }
        }
    }

    /// Forgets committed entries beyond what is kept for followers. It is done before an input, so that what the last one committed could
    /// be read.
    pub(super) fn forget(&mut self) {
        self.log.trim(self.commit.min(self.writes.index()), self.settings.tail_bytes);
    }

    /// All up to `index` is committed.
    pub(super) fn committed_through(&mut self, index: u64, out: &mut Vec<Output>) {
        if index <= self.commit {
            return;
        }
        let configured_at = self.log.configured_at();
        let removed = (self.commit + 1..=index).contains(&configured_at) && !self.log.configuration().has(&self.me);
        self.commit = index;
        out.push(Output::Committed { through: index });
        if removed {
            out.push(Output::Removed);
        }
    }

    pub(super) fn send(&self, to: Replica, message: Message, out: &mut Vec<Output>) {
        out.push(Output::Send(Envelope { from: self.me.clone(), to, message }));
    }

    /// This copy.
    #[must_use]
    pub fn me(&self) -> &Replica {
        &self.me
    }

    /// Term and vote.
    #[must_use]
    pub fn ballot(&self) -> &Ballot {
        &self.ballot
    }

    /// Who leads, as far as is known here.
    #[must_use]
    pub fn leader(&self) -> Option<&Replica> {
        match &self.role {
            Role::Leader(_) => Some(&self.me),
            Role::Follower(follower) => follower.leader.as_ref(),
            Role::Candidate(_) => None,
        }
    }

    /// Whether this copy leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Whether this copy gave its life up, or never had one.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.standing == Standing::GaveUp
    }

    /// Up to where all is committed.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.commit
    }

    /// What all before the entries in memory came to.
    #[must_use]
    pub fn base(&self) -> Position {
        self.log.base()
    }

    /// Where the log ends.
    #[must_use]
    pub fn last(&self) -> Position {
        self.log.last()
    }

    /// The term of an entry, if that is still known.
    #[must_use]
    pub fn term_at(&self, index: u64) -> Option<u64> {
        self.log.term_at(index)
    }

    /// Entries in memory from `index` on.
    pub fn entries(&self, index: u64) -> impl Iterator<Item = &Entry> {
        self.log.from(index)
    }

    /// The copies of the place, as the last entry about them says.
    #[must_use]
    pub fn configuration(&self) -> &Arc<Configuration> {
        self.log.configuration()
    }

    /// The copies as they were at `index`, for images up to there: `None` before what is still in memory.
    #[must_use]
    pub fn configuration_at(&self, index: u64) -> Option<&Arc<Configuration>> {
        self.log.configuration_at(index)
    }

    /// The index of the entry that [`Group::configuration`] is of.
    #[must_use]
    pub fn configured_at(&self) -> u64 {
        self.log.configured_at()
    }

    /// Up to where the log is durable here.
    #[must_use]
    pub fn durable_index(&self) -> u64 {
        self.writes.index()
    }

    /// What this copy answers to a barrier: its life and its term. `None` where it promises nothing.
    #[must_use]
    pub fn held(&self) -> Option<(u64, u64)> {
        (self.standing == Standing::Whole).then_some((self.me.generation, self.ballot.term))
    }
}
