//! One copy of a place: what happens to it, and what its shell is to do.
//!
//! The shell gives each input with the time, does what was pushed, in that order, and calls again at [`Group::next_deadline`]. A group that has
//! a leader and nothing under way has no deadline: what is idle costs nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statemesh_protocol::hash::mix;
use statemesh_protocol::identity::MemberName;

use super::config::{Configuration, REPLICAS_MAX, Replica};
use super::follower::Follower;
use super::leader::Leader;
use super::log::Log;
use super::message::{Entry, Envelope, Message, Position};
use super::vote::{Ballot, Candidate};
use super::writes::Writes;

/// The most by which a peer's term may be above ours: the last one could have no successor. A term is an election, so no mesh comes there.
const TERM_JUMP: u64 = 1 << 32;

/// Bounds and times of groups, each a name that documentation and metrics use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// By how much later each voter asks for pre-votes than the one before it in the configuration.
    pub stagger: Duration,
    /// When to ask again after an election that came to nothing.
    pub retry: Duration,
    /// When a leader sends again what a follower that is heard has not acknowledged.
    pub resend: Duration,
    /// For how long a commit waits for the next entry to be sent with.
    pub commit_delay: Duration,
    /// When a transfer that came to nothing is given up.
    pub transfer: Duration,
    /// For how long a leader that hears no majority goes on.
    pub alone: Duration,
    /// Bytes of entries that a leader may have proposed and not committed (`limits.uncommitted`).
    pub uncommitted_bytes: usize,
    /// Bytes of committed entries that are kept for followers that lag.
    pub tail_bytes: usize,
    /// Bytes of entries that a follower takes. It is far above what a leader may have that is not committed: after a restart of all copies that
    /// is not known, and a follower that took no more could not help to find out.
    pub log_bytes: usize,
    /// Bytes of entries in one message, but for one that is larger by itself.
    pub append_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stagger: Duration::from_millis(25),
            retry: Duration::from_millis(150),
            resend: Duration::from_millis(500),
            commit_delay: Duration::from_millis(5),
            transfer: Duration::from_secs(1),
            alone: Duration::from_millis(250),
            uncommitted_bytes: 1 << 20,
            tail_bytes: 1 << 20,
            log_bytes: 64 << 20,
            append_bytes: 64 << 10,
        }
    }
}

/// What can happen to a group. What the shell asks of a leader are methods: [`Group::propose`], [`Group::reconfigure`], [`Group::transfer`].
#[derive(Clone, Debug)]
pub enum Input {
    /// A message came.
    Message(Envelope),
    /// This write and all before it are durable.
    Durable(u64),
    /// The deadline has come.
    Tick,
    /// This member is not heard any more: its link broke, or is silent (`liveness.rs`).
    Lost(MemberName),
    /// This member is heard again.
    Heard(MemberName),
    /// Something that was sent to this member may not have come: a link was full.
    Missed(MemberName),
    /// Images for this follower were sent, or could not be.
    ImagesEnded(Replica),
    /// Ask for votes without pre-votes: the first leader of a place that was just born.
    Campaign,
    /// What is on the disk is not what was acknowledged. Nothing is promised any more in this life.
    Damaged,
    /// Images were made durable here, and take the place of what this copy had applied.
    Installed(Images),
}

/// What a copy needs to know of images that a leader sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// The leader's term when it knew that they are committed.
    pub term: u64,
    /// The last entry that they have.
    pub position: Position,
    /// The configuration at that entry.
    pub configuration: Arc<Configuration>,
}

/// What the shell is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send it. It may be lost.
    Send(Envelope),
    /// Write it to the journal, behind all before; then say [`Input::Durable`] with this number.
    Persist {
        /// The write's number: the numbers of a group rise by one.
        write: u64,
        /// What to write.
        record: Record,
    },
    /// All up to this index is committed. A follower applies it: the entries can be read ([`Group::entries`]) until the next input.
    Committed {
        /// The last one that is.
        through: u64,
    },
    /// This copy leads: what is in its log and not applied yet is applied now, as a step that may still be rolled back.
    Elected {
        /// Its term.
        term: u64,
    },
    /// This copy leads no more: what it stepped from this index on may vanish, and is undone. It comes again if it is committed.
    RolledBack {
        /// The first index that is not committed.
        from: u64,
    },
    /// Who leads, as far as is known here.
    Leader(Option<Replica>),
    /// The copies from now on, committed or not.
    Configured(Arc<Configuration>),
    /// The follower is too far behind: send it images of what changed, with the index up to where they go. When that has ended, well or not, say
    /// [`Input::ImagesEnded`]. It may be asked for again while it goes on, after a link broke.
    NeedImages {
        /// The follower.
        to: Replica,
        /// What it has: images of what changed behind this index are enough.
        since: u64,
    },
    /// This copy of a peer is damaged, and is to be swapped for another life of it.
    Damaged(Replica),
    /// This copy is not one of the place any more, and that is committed.
    Removed,
    /// An input was not followed. To be counted.
    Ignored(Ignored),
}

/// What goes into the journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// An entry, in place of all from its index on.
    Entry(Entry),
    /// Term and vote.
    Ballot(Ballot),
    /// All from this index on is void.
    Truncate(u64),
    /// The log begins with images up to here. What is in the journal behind that stays if the entry at that index is this one.
    Installed {
        /// The last entry that they have.
        position: Position,
        /// The configuration at that entry.
        configuration: Arc<Configuration>,
    },
    /// A new life begins with an empty log; nothing of the one before counts.
    Begin {
        /// Its generation.
        generation: u64,
    },
    /// This life is given up.
    GiveUp,
}

/// Why an input was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ignored {
    /// The message is for another copy, or another life of this one.
    OtherLife,
    /// It is of an earlier term or round, or answers what was not asked.
    Stale,
    /// No correct copy says this: entries that do not follow each other, a term out of reach, a configuration that is none.
    Absurd,
    /// It contradicts what is committed, or there are two leaders in a term: a fault in a copy, or a disk that lies.
    Contradiction,
    /// There is no room for more entries that are not committed.
    Full,
}

/// What a copy was, from its journal.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Term and vote.
    pub ballot: Ballot,
    /// What checkpoints have.
    pub base: Position,
    /// The configuration at the base.
    pub configuration: Arc<Configuration>,
    /// The entries behind it.
    pub entries: Vec<Entry>,
    /// An index that is known to be committed.
    pub commit: u64,
    /// This life was given up, or never began.
    pub gave_up: bool,
}

/// Whether this copy still keeps the promises of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Standing {
    /// It does.
    Whole,
    /// It is blank, or gave the life up: it votes for nobody and acknowledges nothing until a leader begins a new one.
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
                self.probe_member(&member, now, out);
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

    fn receive(&mut self, envelope: Envelope, now: Instant, out: &mut Vec<Output>) {
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

    /// Whether a message is for this life. A leader's entries for a later one begin it.
    fn is_addressed(
        &mut self,
        from: &Replica,
        generation: u64,
        message: &Message,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> bool {
        let entries = matches!(message, Message::Append(append) if append.term >= self.ballot.term);
        if generation == self.me.generation && self.standing == Standing::Whole {
            return true;
        }
        if generation > self.me.generation && entries {
            self.begin_life(generation, now, out);
            return true;
        }
        // The leader cannot know otherwise, if it does not lead since before the damage.
        if generation == self.me.generation && generation_was_lived(&self.log) && entries {
            self.send(from.clone(), Message::GaveUp, out);
        }
        false
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

    fn lost(&mut self, member: MemberName, now: Instant, out: &mut Vec<Output>) {
        let leads = self.leader().is_some_and(|leader| leader.name == member && *leader != self.me);
        // First, so that it does not count as a voter that asks before this one.
        self.lost.insert(member);
        if leads {
            self.leader_is_gone(now, out);
        }
        self.leader_hears(now);
    }

    fn heard(&mut self, member: &MemberName, now: Instant, out: &mut Vec<Output>) {
        self.lost.remove(member);
        self.leader_hears(now);
        self.probe_member(member, now, out);
        self.tell_of_abdication(member, out);
    }

    /// Whoever voted for itself and is a follower may have led this term; others, who hear it, may think that it does.
    fn tell_of_abdication(&self, member: &MemberName, out: &mut Vec<Output>) {
        let may_have_led = self.ballot.vote.as_ref().is_some_and(|vote| vote.same_volume(&self.me));
        if matches!(&self.role, Role::Follower(follower) if follower.leader.is_none()) && may_have_led {
            let there =
                self.log.configuration().replicas().filter(|replica| replica.name == *member && **replica != self.me);
            there.for_each(|to| self.abdicated(to.clone(), out));
        }
    }

    fn abdicated(&self, to: Replica, out: &mut Vec<Output>) {
        self.send(to, Message::Abdicated { term: self.ballot.term }, out);
    }

    /// Stops leading this term, although nobody has begun a later one.
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
    fn is_over(&mut self, from: Replica, now: Instant, out: &mut Vec<Output>) {
        if self.follows(&from) {
            self.leader_is_gone(now, out);
        }
        if !self.over.contains(&from) && self.over.len() < REPLICAS_MAX {
            self.over.push(from);
        }
    }

    /// This life is over: its promises cannot be kept.
    fn give_up(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.standing == Standing::GaveUp {
            return;
        }
        self.abdicate(now, out);
        self.standing = Standing::GaveUp;
        self.election = None;
        let write = self.writes.ballot();
        out.push(Output::Persist { write, record: Record::GiveUp });
    }

    /// A leader gave this volume a new life. To all others it is another server, so nothing of the former one need be kept.
    fn begin_life(&mut self, generation: u64, now: Instant, out: &mut Vec<Output>) {
        self.abdicate(now, out);
        self.me.generation = generation;
        self.standing = Standing::Whole;
        self.log = Log::new(Position::default(), Arc::default());
        self.commit = 0;
        self.election = None;
        self.writes.begin(0);
        let write = self.writes.ballot();
        out.push(Output::Persist { write, record: Record::Begin { generation } });
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

    fn follows(&self, leader: &Replica) -> bool {
        self.leader() == Some(leader) && !self.leads()
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

/// A blank copy has no configuration; one that was given up has.
fn generation_was_lived(log: &Log) -> bool {
    log.configuration().is_sound()
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
