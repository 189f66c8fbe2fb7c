//! What members say to each other about partitions, over an ordered link.
//!
//! Every message is about a set of partitions, so that a change of the mesh costs a few messages for each pair of members,
//! not one for each partition.

use serde::{Deserialize, Serialize};

use super::set::PartitionSet;
use crate::identity::MemberName;
use crate::placement::Partition;

/// Why a member asks who holds partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// It will take those that nobody holds.
    Claim,
    /// It was not told whether a transfer arrived, because the link broke.
    Confirm,
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
    /// I hold these (also while I hand them over).
    pub held: PartitionSet,
    /// I am being given these.
    pub receiving: PartitionSet,
    /// I claim these myself.
    pub claiming: PartitionSet,
    /// These were claimed by another lately.
    pub claimed: Vec<Known>,
    /// These are held by another, who told me so, and who is alive as far as I know.
    pub elsewhere: Vec<Known>,
    /// These were held by a member that is dead as far as I know.
    pub lost: Vec<Known>,
}

/// Control traffic of ownership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnershipMessage {
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
    /// I would hand these to you: they are yours by my view.
    Offer {
        /// Which partitions.
        set: PartitionSet,
    },
    /// Send them: I am ready.
    Accept {
        /// Which of the offered.
        set: PartitionSet,
    },
    /// Not now: somebody else is handing me these, or I am handing them on.
    Decline {
        /// Which of the offered.
        set: PartitionSet,
    },
    /// The offer of these is void: my view changed before you accepted.
    Withdraw {
        /// Which of the accepted.
        set: PartitionSet,
    },
    /// These arrived whole and I serve them; drop your copy.
    Installed {
        /// Which of the transferred.
        set: PartitionSet,
    },
    /// I hold these.
    Holding {
        /// Which partitions.
        set: PartitionSet,
    },
    /// I leave, and hold nothing any more: send me no events.
    Drained,
    /// I send you no events any more. As links keep order, those that I sent have arrived.
    DrainedNoted,
    /// You sent me an event for this, but I do not hold it, nor know who does.
    NotHere {
        /// The partition.
        partition: Partition,
    },
}
