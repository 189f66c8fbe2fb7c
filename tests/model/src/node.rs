//! One copy of a place with its disk: the shell that a daemon would be, small enough to be a value.

use super::replication::Ballot;
use super::replication::config::{Configuration, Replica};
use super::replication::group::Group;
use super::replication::inputs::{Images, Input, Restored};
use super::replication::message::{Entry, Envelope, Position};
use super::replication::outputs::{Output, Record};
use super::replication::settings::Settings;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

/// What is durable of a copy: its journal, read as a restart reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Disk {
    pub me: Replica,
    pub gave_up: bool,
    pub ballot: Ballot,
    pub base: Position,
    pub configuration: Arc<Configuration>,
    pub entries: Vec<Entry>,
    /// What was applied up to the base.
    pub base_digest: u64,
    /// Up to where all is known to be committed.
    pub hint: u64,
}

impl Disk {
    pub fn new(me: Replica, configuration: Arc<Configuration>, gave_up: bool) -> Self {
        let (ballot, base, entries) = (Ballot::default(), Position::default(), Vec::new());
        Self { me, gave_up, ballot, base, configuration, entries, base_digest: 0, hint: 0 }
    }

    fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.entries.iter().find(|entry| entry.index == index).map(|entry| entry.term)
    }

    fn has(&self, entry: &Entry) -> bool {
        entry.index <= self.base.index || self.entries.contains(entry)
    }

    fn write(&mut self, write: Write) {
        let record = match write.what {
            What::Record(record) => record,
            What::Committed(index) => return self.hint = index,
        };
        match record {
            Record::Entry(entry) => {
                self.entries.retain(|other| other.index < entry.index);
                self.entries.push(entry);
            }
            Record::Ballot(ballot) => self.ballot = ballot,
            Record::Truncate(index) => self.entries.retain(|entry| entry.index < index),
            Record::Begin { generation } => {
                *self = Self { ballot: self.ballot.clone(), ..Self::new(self.me.clone(), Arc::default(), false) };
                self.me.generation = generation;
            }
            Record::GiveUp => self.gave_up = true,
            Record::Installed { position, configuration } => {
                let same = self.term_at(position.index) == Some(position.term);
                self.entries.retain(|entry| same && entry.index > position.index);
                (self.base, self.configuration, self.base_digest) = (position, configuration, write.digest);
            }
        }
    }

    fn restored(&self) -> Restored {
        Restored {
            ballot: self.ballot.clone(),
            base: self.base,
            configuration: Arc::clone(&self.configuration),
            entries: self.entries.clone(),
            commit: self.hint,
            gave_up: self.gave_up,
        }
    }
}

/// What a copy asks of the world.
#[derive(Clone, Debug)]
pub enum Asked {
    Send(Envelope),
    /// Images of what this copy has applied.
    Images(Replica),
    Damaged(Replica),
    Elected(u64),
    /// An entry was committed here, with the digest of all up to it.
    Committed(Entry, u64),
}

/// Images on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub images: Images,
    pub digest: u64,
}

/// What is on its way to a disk. Two are the same whatever was written before them.
#[derive(Clone, Debug)]
pub struct Write {
    number: u64,
    what: What,
    /// Of images: of what was applied up to there.
    digest: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum What {
    Record(Record),
    /// All up to here is committed: the shell's own record, for a restart.
    Committed(u64),
}

impl PartialEq for Write {
    fn eq(&self, other: &Self) -> bool {
        self.what == other.what && self.digest == other.digest
    }
}

impl Eq for Write {}

impl Hash for Write {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.what, self.digest).hash(state);
    }
}

/// A copy that runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub group: Group,
    pub disk: Disk,
    /// Writes that are not durable.
    pub queue: VecDeque<Write>,
    /// What it has applied: up to where, and a digest of it.
    pub applied: (u64, u64),
    /// A leader's steps that are not committed: up to where.
    pub speculative: u64,
    /// It writes down what is committed.
    pub hints: bool,
    /// The digest of images that are being installed.
    pub installing: u64,
}

impl Node {
    pub fn start(disk: Disk, settings: Arc<Settings>, now: Instant) -> Self {
        let group = Group::restored(disk.me.clone(), disk.restored(), settings, now);
        let known = disk.entries.iter().take_while(|entry| entry.index <= group.committed());
        let digest = known.fold(disk.base_digest, chain);
        let applied = (group.committed(), digest);
        Self { group, disk, queue: VecDeque::new(), applied, speculative: 0, hints: false, installing: 0 }
    }

    /// Ends as in a power cut, and starts again: `kept` writes more than those known to be durable survived.
    pub fn crash(&mut self, kept: usize, settings: Arc<Settings>, now: Instant) {
        let mut disk = self.disk.clone();
        self.queue.drain(..).take(kept).for_each(|write| disk.write(write));
        *self = Self { hints: self.hints, ..Self::start(disk, settings, now) };
    }

    pub fn handle(&mut self, input: Input, now: Instant, asked: &mut Vec<Asked>) {
        let mut out = Vec::new();
        self.group.handle(input, now, &mut out);
        self.follow(out, asked);
    }

    pub fn install(&mut self, sent: Sent, now: Instant, asked: &mut Vec<Asked>) {
        self.installing = sent.digest;
        self.handle(Input::Installed(sent.images), now, asked);
        self.installing = 0;
    }

    /// The first `count` writes are durable.
    pub fn sync(&mut self, count: usize, now: Instant, asked: &mut Vec<Asked>) {
        let mut last = None;
        for write in self.queue.drain(..count.min(self.queue.len())) {
            last = last.max(Some(write.number));
            self.disk.write(write);
        }
        if let Some(write) = last.filter(|write| *write > 0) {
            self.handle(Input::Durable(write), now, asked);
        }
    }

    /// Whether this is the voter and has an entry on its disk. Of a life that is over this cannot be seen: it had what it acknowledged.
    pub fn keeps(&self, voter: &Replica, entry: &Entry) -> bool {
        let me = self.group.me();
        let over = me.generation > voter.generation || (me == voter && self.group.gave_up());
        me.same_volume(voter) && (over || (me == voter && self.disk.has(entry)))
    }

    pub fn images(&self) -> Sent {
        let index = self.applied.0;
        let term = self.group.term_at(index).unwrap_or(0);
        let configuration = self.group.configuration_at(index).map(Arc::clone).unwrap_or_default();
        let position = Position { term, index };
        Sent { images: Images { term: self.group.ballot().term, position, configuration }, digest: self.applied.1 }
    }

    pub fn follow(&mut self, out: Vec<Output>, asked: &mut Vec<Asked>) {
        for output in out {
            match output {
                Output::Send(envelope) => asked.push(Asked::Send(envelope)),
                Output::Persist { write, record } => {
                    match &record {
                        Record::Begin { .. } => (self.applied, self.speculative) = ((0, 0), 0),
                        Record::Installed { position, .. } => self.applied = (position.index, self.installing),
                        _ => {}
                    }
                    self.queue.push_back(Write { number: write, what: What::Record(record), digest: self.installing });
                }
                Output::Committed { through } => self.apply(through, asked),
                Output::Elected { term } => asked.push(Asked::Elected(term)),
                Output::RolledBack { from } => self.speculative = self.speculative.min(from - 1),
                Output::NeedImages { to, .. } => asked.push(Asked::Images(to)),
                Output::Damaged(replica) => asked.push(Asked::Damaged(replica)),
                Output::Leader(_) | Output::Configured(_) | Output::Removed | Output::Ignored(_) => {}
            }
        }
        if self.group.leads() {
            self.speculative = self.group.last().index;
        }
    }

    fn apply(&mut self, through: u64, asked: &mut Vec<Asked>) {
        let (mut index, mut digest) = self.applied;
        for entry in self.group.entries(index + 1) {
            if entry.index > through {
                break;
            }
            assert_eq!(entry.index, index + 1, "what is committed cannot be read");
            (index, digest) = (entry.index, chain(digest, entry));
            asked.push(Asked::Committed(entry.clone(), digest));
        }
        assert_eq!(index.max(through), index, "what is committed cannot be read");
        self.applied = (index, digest);
        if self.hints {
            self.queue.push_back(Write { number: 0, what: What::Committed(index), digest: 0 });
        }
    }
}

/// The digest of all up to an entry.
pub fn chain(before: u64, entry: &Entry) -> u64 {
    // Fixed keys: a seed must replay.
    let mut hasher = std::hash::DefaultHasher::new();
    (before, entry).hash(&mut hasher);
    hasher.finish()
}
