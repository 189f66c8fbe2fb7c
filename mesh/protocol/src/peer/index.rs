//! What members say to each other about key indexes: which keys exist in partitions, told by their holder to its *standby*, who
//! would have to say what was lost with it. The keys themselves travel as [`crate::peer::frame::PeerFrame::Keys`].

use serde::{Deserialize, Serialize};

use crate::partition_set::PartitionSet;

/// Control traffic of key indexes, from a holder to its standby and back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexMessage {
    /// You are my standby for these, and for no others: what I told you of others is of no use any more.
    Only {
        /// Which partitions.
        set: PartitionSet,
    },
    /// All keys of these have been told.
    Whole {
        /// Matches the answer with the question.
        number: u64,
        /// Which partitions.
        set: PartitionSet,
    },
    /// I know all keys of these.
    Kept {
        /// The question's.
        number: u64,
        /// Which partitions.
        set: PartitionSet,
    },
}
