//! What members say to each other about partitions, over an ordered link.
//!
//! Every message is about a set of partitions, so that a change of the mesh costs a few messages for each pair of members,
//! not one for each partition.

use serde::{Deserialize, Serialize};

use crate::identity::MemberName;
use crate::partition_set::PartitionSet;

/// Number of a hand-off, given by the member that offers it: no two offers of one process have the same, nor has any offer of
/// its predecessors under the same name.
pub type HandoffNumber = u64;

/// Why a member asks who holds partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Purpose {
    /// It will adopt those that no member holds.
    Claim,
    /// It has a copy of them, but was taken for dead, or was paused: it serves none that another member holds.
    Doubt,
}

/// Partitions that one member held or holds, as another knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The member.
    pub member: MemberName,
    /// Its partitions.
    pub set: PartitionSet,
}

/// One member's answer to a [`OwnershipMessage::Query`], about the partitions asked for and no others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// I hold these (also while I hand them off).
    pub held: PartitionSet,
    /// I receive these.
    pub receiving: PartitionSet,
    /// I claim these myself.
    pub claiming: PartitionSet,
    /// These were claimed by another lately.
    pub claimed: Vec<Known>,
    /// These are held by another, who told me so, and who is alive as far as I know.
    pub elsewhere: Vec<Known>,
    /// These were held by a member that is dead as far as I know.
    pub lost: Vec<Known>,
    /// I was told which keys these had.
    pub indexed: PartitionSet,
}

/// What a member knows of a network partition that may still be there, for a process that began on its side of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The last common view.
    pub common: Vec<MemberName>,
    /// Those of them that have left since, and handed off what they held on this side.
    pub left: Vec<MemberName>,
    /// Who was declared dead and has not been heard of since.
    pub missing: Vec<Missing>,
}

/// A process that was declared dead, and may be on another side of a network partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Its name.
    pub member: MemberName,
    /// Which process of that name.
    pub incarnation: u64,
    /// It was declared dead a moment ago, and may say that it is not.
    pub rumoured: bool,
    /// For how many milliseconds more it is remembered in case it comes back.
    pub remembered_ms: u64,
}

/// Control traffic of ownership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnershipMessage {
    /// First on each link.
    Met {
        /// I declared you dead a while ago, and may have adopted what you held. Or those did on whose side I began.
        buried: bool,
        /// You began after I had declared these dead.
        cut: Option<Box<Cut>>,
    },
    /// Who holds these? Answered by [`OwnershipMessage::Answer`] with the same id.
    Query {
        /// Matches the answer with the question.
        id: u64,
        /// What the asker will do with the answer.
        purpose: Purpose,
        /// Which partitions.
        set: PartitionSet,
    },
    /// The answer to a query.
    Answer {
        /// The query's id.
        id: u64,
        /// What this member knows.
        answer: Box<Answer>,
    },
    /// I would hand these off to you: they are yours by my view, or you hold another copy of them.
    Offer {
        /// The hand-off's number.
        number: HandoffNumber,
        /// How many members of the last common view the side counted on which these were served. See the module
        /// `ownership` of the mesh.
        side: u32,
        /// That is not the offering member's side: the copies came to it with this count, from a side that may be another.
        came: bool,
        /// These copies are in doubt: they are of use to a member that has another copy, and to no other.
        doubtful: bool,
        /// Which partitions.
        set: PartitionSet,
    },
    /// Send them: I am ready.
    Accept {
        /// The offer's.
        number: HandoffNumber,
        /// Which of the offered.
        set: PartitionSet,
    },
    /// Not now: another member is handing these off to me, or I am handing them on.
    Decline {
        /// The offer's.
        number: HandoffNumber,
        /// Which of the offered.
        set: PartitionSet,
    },
    /// The offer of these is withdrawn: my view changed before you accepted.
    Withdraw {
        /// The offer's.
        number: HandoffNumber,
        /// Which of the accepted.
        set: PartitionSet,
    },
    /// These arrived whole and I serve them; release your copy.
    Received {
        /// The offer's.
        number: HandoffNumber,
        /// Which of the sent.
        set: PartitionSet,
    },
    /// The link broke before you said whether these had arrived. Have they?
    Confirm {
        /// The offer's.
        number: HandoffNumber,
        /// Which of the sent.
        set: PartitionSet,
    },
    /// The answer to a confirmation that was asked for.
    Arrived {
        /// The offer's.
        number: HandoffNumber,
        /// Those that were asked about.
        asked: PartitionSet,
        /// Those of them that I installed, of this hand-off and no other.
        set: PartitionSet,
    },
    /// I serve these.
    Serving {
        /// Which partitions.
        set: PartitionSet,
    },
    /// Send me the keys that you were told of in these. Answered by key indexes, and [`OwnershipMessage::Told`] behind them.
    Fetch {
        /// What the asker is about to do. One that doubts has no use for what it told itself.
        purpose: Purpose,
        /// Which partitions.
        set: PartitionSet,
    },
    /// All keys that I was told of in these have been sent.
    Told {
        /// Which partitions.
        set: PartitionSet,
        /// Of which of them those are all keys that there were when I heard of them last.
        whole: PartitionSet,
    },
    /// I leave, and hold nothing any more: send me no events.
    Drained {
        /// How often I said so.
        number: u64,
    },
    /// I send you no events any more, and you have answered those that I sent.
    DrainedNoted {
        /// That of what was noted.
        number: u64,
    },
    /// I do not hold these, whatever I said before: you sent me an event for one and I do not know who holds it, or I handed them over.
    NotHere {
        /// Which partitions.
        set: PartitionSet,
    },
}
