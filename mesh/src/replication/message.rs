//! What copies of a place say to each other.
//!
//! Each message names whose it is and for whom, with the generations: what was said to or by an earlier life of a copy counts for
//! nothing (raft-rs has no such thing, and an acknowledgement may be counted for the disk that replaced the one that gave
//! it: tikv/raft-rs#571). A link need not keep messages in order, nor deliver each once.

use super::config::{Configuration, Replica};
use bytes::Bytes;
use std::sync::Arc;

/// Where a log ends: of two, the higher one is newer (Raft, section 5.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The entry's term.
    pub term: u64,
    /// Its index, from 1; 0 is the beginning.
    pub index: u64,
}

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// The term of the leader that made it.
    pub term: u64,
    /// Its place in the log, from 1, without gaps.
    pub index: u64,
    /// What it says.
    pub body: Body,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// A leader's first entry of its term: with it, all before it is committed.
    Term,
    /// A record, which this code does not look into.
    Record(Bytes),
    /// The copies of the place, from here on.
    Configuration(Arc<Configuration>),
}

/// Models keep messages in ordered sets; nothing else compares bodies.
impl PartialOrd for Body {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Body {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl Body {
    /// Bytes that it counts for in every bound.
    #[must_use]
    pub fn weight(&self) -> usize {
        // An entry in memory with its share of an allocation; a configuration is rare, and small.
        const OVERHEAD: usize = 96;
        match self {
            Self::Record(bytes) => OVERHEAD + bytes.len(),
            Self::Term | Self::Configuration(_) => OVERHEAD,
        }
    }

    fn order(&self) -> (u8, &[u8], [&[Replica]; 3]) {
        match self {
            Self::Term => (0, &[], [&[]; 3]),
            Self::Record(bytes) => (1, bytes, [&[]; 3]),
            Self::Configuration(all) => (2, &[], [&all.voters, &all.former, &all.learners]),
        }
    }
}

impl Entry {
    /// Bytes that it counts for in every bound.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.body.weight()
    }

    /// Where the log ends with it.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { term: self.term, index: self.index }
    }
}

/// A message with its addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Envelope {
    /// Who says it. The shell takes name and volume from the link's greeting, not from the bytes.
    pub from: Replica,
    /// For whom it is.
    pub to: Replica,
    /// What is said.
    pub message: Message,
}

/// Entries from a leader.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Append {
    /// The leader's term.
    pub term: u64,
    /// Which of the leader's attempts to find where the follower's log ends: answers repeat it.
    pub round: u64,
    /// It looks for where the follower's log ends, so a gap is answered at once. Else what fills the gap is under way.
    pub probe: bool,
    /// The entry before the first of these.
    pub prev: Position,
    /// Up to where all is committed.
    pub commit: u64,
    /// The entries; none where it is about `prev` and `commit` only.
    pub entries: Vec<Entry>,
}

/// What copies of a place say to each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// A leader's entries.
    Append(Append),
    /// All up to `index` is as the leader of this term has it, and is durable here.
    Ack {
        /// The leader's term.
        term: u64,
        /// The round of the last Append that was taken.
        round: u64,
        /// Up to where.
        index: u64,
        /// What is known here to be committed.
        commit: u64,
    },
    /// An Append did not fit.
    Nack {
        /// The leader's term.
        term: u64,
        /// The Append's round.
        round: u64,
        /// The Append's `prev.index`.
        prev: u64,
        /// The last entry here that may be the leader's as well: none behind it up to `prev` is.
        hint: Position,
        /// What is known here to be committed: images of what changed since then are enough.
        commit: u64,
    },
    /// Would it get a vote in `term`? Nothing is promised (dissertation, 9.6).
    PreVote {
        /// The term that it would begin.
        term: u64,
        /// Where its log ends.
        last: Position,
    },
    /// The answer: the term asked about if it would, else the term here.
    PreVoted {
        /// See above.
        term: u64,
        /// Whether it would.
        granted: bool,
    },
    /// A vote is asked for.
    Vote {
        /// The candidate's term.
        term: u64,
        /// Where its log ends.
        last: Position,
    },
    /// The answer.
    Voted {
        /// The term here.
        term: u64,
        /// Whether the vote was given.
        granted: bool,
    },
    /// The leader's log is here in full: ask for votes at once (dissertation, 3.10).
    TimeoutNow {
        /// The leader's term.
        term: u64,
    },
    /// The leader of this term leads no more, although it is heard: it gave up, was removed, or hears no majority.
    Abdicated {
        /// The term that it led.
        term: u64,
    },
    /// What was sent is of an earlier term than this.
    Newer {
        /// The term here.
        term: u64,
    },
    /// The leader saw this copy acknowledge what it now denies: its disk lost what it had synced.
    GiveUp {
        /// The leader's term.
        term: u64,
    },
    /// This copy has given up this life.
    GaveUp,
}
