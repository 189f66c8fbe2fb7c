//! What a copy asks of its shell.

use std::sync::Arc;

use super::config::{Configuration, Replica};
use super::message::{Entry, Envelope, Position};
use super::vote::Ballot;

/// What the shell is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send it. It may be lost.
    Send(Envelope),
    /// Write it to the journal, behind all before; then say [`Input::Durable`](super::inputs::Input::Durable) with this number.
    Persist {
        /// The write's number: the numbers of a group rise by one.
        write: u64,
        /// What to write.
        record: Record,
    },
    /// All up to this index is committed. A follower applies it: the entries can be read
    /// ([`Group::entries`](super::group::Group::entries)) until the next input.
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
    /// The follower is too far behind: send it images of what changed, with the index up to where they go. When that has ended, well or
    /// not, say
    /// [`Input::ImagesEnded`](super::inputs::Input::ImagesEnded). It may be asked for again while it goes on, after a link broke.
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
