//! What can happen to ownership, and what follows from it.

use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::partition_set::PartitionSet;
use statemesh_protocol::peer::ownership::{HandoffNumber, OwnershipMessage, Purpose};

use super::Winner;
use crate::key_index::Indexed;

/// Where an event for a partition goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Here.
    Local,
    /// To this member.
    Forward(MemberName),
    /// It waits: the partition is on its way, or no member serves it for the moment.
    Park,
}

/// What can happen to ownership.
#[derive(Debug, Clone)]
pub enum Input {
    /// From now on partitions may be claimed: this member has joined, or is alone on purpose.
    Activate,
    /// A member is there and alive, or said something new about itself.
    MemberUp {
        /// Its name.
        name: MemberName,
        /// Which process of that name.
        incarnation: u64,
        /// May partitions be placed on it (it is not leaving)?
        placeable: bool,
    },
    /// A member is dead or has left. Before a newer process of the same name is reported up, the older one is reported down.
    MemberDown {
        /// Its name.
        name: MemberName,
        /// It said goodbye.
        left: bool,
    },
    /// Others may have adopted what this member holds.
    Doubt(Reason),
    /// It is known, or no longer known, which keys there were in these partitions, as their holders told.
    Indexed(Indexed),
    /// This member begins to leave: it hands everything over.
    Leave,
    /// There is an ordered link to this member, greeted and accepted.
    LinkUp(MemberName),
    /// The link to this member is gone, with what was under way on it.
    LinkDown(MemberName),
    /// A message came over the link.
    Message {
        /// Who sent it.
        from: MemberName,
        /// What it says.
        message: OwnershipMessage,
    },
    /// The last piece of this partition is queued on the link to whom [`Output::HandOff`] named.
    HandedOff {
        /// The partition.
        partition: Partition,
        /// The hand-off's number.
        number: HandoffNumber,
    },
    /// All of this partition has arrived from this member and is installed (or merged).
    Received {
        /// The partition.
        partition: Partition,
        /// The hand-off's number.
        number: HandoffNumber,
        /// Who sent it.
        from: MemberName,
    },
    /// All of this partition has arrived from this member, and not all of it can be read: it is not taken.
    Unreadable {
        /// The partition.
        partition: Partition,
        /// The hand-off's number.
        number: HandoffNumber,
        /// Who sent it.
        from: MemberName,
    },
    /// This member forwarded an event for a partition that is not here.
    Misrouted {
        /// The partition.
        partition: Partition,
        /// Who forwarded it.
        from: MemberName,
    },
    /// The deadline has come.
    Tick,
}

/// Why a member doubts its copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It did not run for a while, or its clock jumped.
    Paused,
    /// Others say that it was dead.
    TakenForDead,
}

/// What the shell does next, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this over the link to `to`.
    Send {
        /// The member.
        to: MemberName,
        /// The message.
        message: OwnershipMessage,
    },
    /// The same, once `to` has answered all that was passed on to it by the routes before: it goes when it hears this.
    SendBehind {
        /// The member.
        to: MemberName,
        /// The message.
        message: OwnershipMessage,
    },
    /// Stop serving this partition, send all of it to `to`, then say [`Input::HandedOff`]. Keep the copy.
    HandOff {
        /// The partition.
        partition: Partition,
        /// The hand-off's number.
        number: HandoffNumber,
        /// The new holder.
        to: MemberName,
    },
    /// This partition will come from `from`. With `merge`, there is a copy here already.
    Receive {
        /// The partition.
        partition: Partition,
        /// The hand-off's number.
        number: HandoffNumber,
        /// The holder until now.
        from: MemberName,
        /// Both hold it, after a network partition or a pause: whose state of a key wins that both have.
        merge: Option<Winner>,
    },
    /// What came of this partition from `from` is discarded (with a merge under way: only what was not merged yet).
    Discard {
        /// The partition.
        partition: Partition,
        /// The member that was sending it.
        from: MemberName,
    },
    /// The new holder has it: forget the copy.
    Release(Partition),
    /// All copies are in doubt: what others have passed on may be old, and given up meanwhile.
    Doubt,
    /// Do not serve this partition, nor fire its timers, until something else is said of it: others may have adopted it.
    Suspend(Partition),
    /// Serve the kept copy again: the new holder is gone, or never got it; or no other member held what was in doubt. Keys that
    /// others were told of meanwhile ([`Output::Relay`] at those) were served elsewhere: they are lost, or older here.
    Reopen {
        /// The partition.
        partition: Partition,
        /// Who had it meanwhile, and died.
        died: Option<MemberName>,
        /// All that were told of its keys died as well: what is lost of it is not known.
        unnamed: bool,
        /// All were asked who had it meanwhile. Otherwise no member had it, and nothing that others were told of its keys is lost.
        asked: bool,
    },
    /// Send `to` the keys that this member was told of in these partitions, and [`OwnershipMessage::Told`] behind those of each:
    /// the key index does that as fast as `to` takes them.
    Relay {
        /// The member.
        to: MemberName,
        /// What it is about to do: one that doubts has no use for what it told itself.
        purpose: Purpose,
        /// The partitions.
        set: PartitionSet,
    },
    /// `by` serves these: what a dead member told of their keys was about an earlier life of theirs.
    Served {
        /// The member.
        by: MemberName,
        /// It was apart from this one, and may serve what it had then: it need not know what the dead one did meanwhile.
        apart: bool,
        /// The partitions.
        set: PartitionSet,
    },
    /// This process was taken for dead, and is there: what it told of its keys holds.
    Back {
        /// Its name.
        name: MemberName,
        /// Which process of that name.
        incarnation: u64,
    },
    /// Keep a copy of this partition that has nothing but what dead members told of it, which is lost. Do not serve it: it is to be
    /// merged with the copy of its holder, which was cut off and knows nothing of that.
    Mourn {
        /// The partition.
        partition: Partition,
        /// A member that died with it.
        lost_from: MemberName,
    },
    /// Serve this partition, empty. The keys that are known by now are lost.
    Adopt {
        /// The partition.
        partition: Partition,
        /// Its holder died with it; none if no member knows of one that ever held it.
        lost_from: Option<MemberName>,
        /// All that were told of its keys died as well: which instances are lost is not known.
        unnamed: bool,
    },
    /// Events for this partition now go there: tell the router.
    Route {
        /// The partition.
        partition: Partition,
        /// Where to.
        to: Target,
    },
}

impl Output {
    /// The name of each kind.
    pub const NAMES: &'static [&'static str] = &[
        "send",
        "send-behind",
        "hand-off",
        "receive",
        "discard",
        "release",
        "doubt",
        "suspend",
        "reopen",
        "relay",
        "served",
        "back",
        "mourn",
        "adopt",
        "route",
    ];

    /// The name of its kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Send { .. } => "send",
            Self::SendBehind { .. } => "send-behind",
            Self::HandOff { .. } => "hand-off",
            Self::Receive { .. } => "receive",
            Self::Discard { .. } => "discard",
            Self::Release(_) => "release",
            Self::Doubt => "doubt",
            Self::Suspend(_) => "suspend",
            Self::Reopen { .. } => "reopen",
            Self::Relay { .. } => "relay",
            Self::Served { .. } => "served",
            Self::Back { .. } => "back",
            Self::Mourn { .. } => "mourn",
            Self::Adopt { .. } => "adopt",
            Self::Route { .. } => "route",
        }
    }
}
