//! What each partition is at this member, and the routes that are to be looked at again when that changes.

use std::ops::Index;

use super::Target;
use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::partition_set::PartitionSet;
use statemesh_protocol::peer::ownership::HandoffNumber;

/// A partition, as this member sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// Served here.
    Held,
    /// Offered to its owner, and served meanwhile; or in doubt, and offered to the holder of another copy.
    Offered { to: MemberName, number: HandoffNumber, doubtful: bool },
    /// Sent to its new holder, who has not confirmed yet; `doubtful`: if it comes back, others may have adopted it meanwhile.
    Sending { to: MemberName, number: HandoffNumber, stage: Stage, doubtful: bool },
    /// Coming from its holder; or, `doubtful`, from a member that is not sure to be that, or was not when this one began to doubt.
    Receiving { from: MemberName, number: HandoffNumber, copy: Copy, doubtful: bool },
    /// A copy is here, but others may hold a newer one: it is not served.
    Doubtful {
        /// Everyone is being asked. Otherwise another holder is known, or the next try is a little later.
        asking: bool,
    },
    /// Claimed by this member.
    Claiming,
    /// Not here. The holder is the member that `holders` names, if it names one.
    Elsewhere,
}

/// What there is of a partition besides what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copy {
    None,
    Served,
    Doubtful,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Pieces are being queued: what arrives waits.
    Pieces,
    /// All pieces are queued: what arrives is forwarded behind them.
    Behind,
    /// The link broke: it is not known what arrived.
    Unsure,
}

impl Slot {
    /// Whether there is a copy here, served or not.
    fn holds(&self) -> bool {
        match self {
            Self::Held | Self::Offered { .. } | Self::Sending { .. } | Self::Doubtful { .. } => true,
            Self::Receiving { copy, .. } => *copy != Copy::None,
            Self::Claiming | Self::Elsewhere => false,
        }
    }

    /// Whether a copy that is here is in doubt, or is being merged with another one.
    fn is_merging(&self) -> bool {
        match self {
            Self::Doubtful { .. } => true,
            Self::Offered { doubtful, .. } | Self::Sending { doubtful, .. } => *doubtful,
            Self::Receiving { copy, .. } => *copy != Copy::None,
            Self::Held | Self::Claiming | Self::Elsewhere => false,
        }
    }
}

/// All partitions of the mesh.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Routes as last reported.
    routes: Vec<Target>,
    /// Partitions whose route may have changed.
    touched: PartitionSet,
}

impl Index<Partition> for Slots {
    type Output = Slot;

    fn index(&self, partition: Partition) -> &Slot {
        &self.slots[usize::from(partition)]
    }
}

impl Slots {
    /// So many partitions, none of them here.
    pub(super) fn new(partitions: u16) -> Self {
        let n = usize::from(partitions);
        Self { slots: vec![Slot::Elsewhere; n], routes: vec![Target::Park; n], touched: PartitionSet::new() }
    }

    /// A partition, if this mesh has it: a message may name others.
    pub(super) fn get(&self, partition: Partition) -> Option<&Slot> {
        self.slots.get(usize::from(partition))
    }

    pub(super) fn set(&mut self, partition: Partition, slot: Slot) {
        self.slots[usize::from(partition)] = slot;
        self.touch(partition);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Partition, &Slot)> {
        self.slots.iter().enumerate().map(|(p, slot)| (p as Partition, slot))
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.slots.len()).map(|p| p as Partition)
    }

    /// Those of a set that this mesh has.
    pub(super) fn known(&self, set: &PartitionSet) -> Vec<Partition> {
        let n = self.slots.len();
        set.iter().filter(|p| usize::from(*p) < n).collect()
    }

    /// Whether there is a copy here, served or not.
    pub(super) fn holds(&self, partition: Partition) -> bool {
        self.get(partition).is_some_and(Slot::holds)
    }

    /// How many partitions have a copy here.
    pub(super) fn held(&self) -> usize {
        self.slots.iter().filter(|slot| slot.holds()).count()
    }

    /// Whether this member serves a partition, or hands it over as its holder.
    pub(super) fn speaks_for(&self, partition: Partition) -> bool {
        match self.get(partition) {
            Some(Slot::Held | Slot::Sending { .. } | Slot::Offered { doubtful: false, .. }) => true,
            Some(Slot::Receiving { copy, .. }) => *copy == Copy::Served,
            _ => false,
        }
    }

    /// Whether nothing is here, nor comes or goes.
    pub(super) fn are_idle(&self) -> bool {
        self.slots.iter().all(|slot| *slot == Slot::Elsewhere)
    }

    /// Whether a copy that is here is in doubt, or is being merged with another one.
    pub(super) fn are_merging(&self) -> bool {
        self.slots.iter().any(Slot::is_merging)
    }

    /// Whether a partition is on offer to a member by this number, and whether it is in doubt.
    pub(super) fn offered_to(&self, partition: Partition, name: &MemberName, offer: HandoffNumber) -> Option<bool> {
        match self.get(partition) {
            Some(Slot::Offered { to, number, doubtful }) if to == name && *number == offer => Some(*doubtful),
            _ => None,
        }
    }

    pub(super) fn is_sending(&self, partition: Partition, sent: HandoffNumber, name: &MemberName) -> bool {
        let slot = self.get(partition);
        matches!(slot, Some(Slot::Sending { to, number, .. }) if to == name && *number == sent)
    }

    pub(super) fn is_receiving(&self, partition: Partition, offer: HandoffNumber, name: &MemberName) -> bool {
        let slot = self.get(partition);
        matches!(slot, Some(Slot::Receiving { from, number, .. }) if from == name && *number == offer)
    }

    /// All pieces of a hand-off are queued.
    pub(super) fn sent(&mut self, partition: Partition, sent: HandoffNumber) {
        if let Some(Slot::Sending { number, stage, .. }) = self.slots.get_mut(usize::from(partition))
            && *number == sent
            && *stage == Stage::Pieces
        {
            *stage = Stage::Behind;
            self.touch(partition);
        }
    }

    /// The route of a partition may have changed.
    pub(super) fn touch(&mut self, partition: Partition) {
        self.touched.insert(partition);
    }

    pub(super) fn take_touched(&mut self) -> PartitionSet {
        std::mem::take(&mut self.touched)
    }

    /// Notes the route that a partition has now. Says whether it is another one than was reported.
    pub(super) fn reroute(&mut self, partition: Partition, to: &Target) -> bool {
        let known = &mut self.routes[usize::from(partition)];
        let changed = known != to;
        if changed {
            known.clone_from(to);
        }
        changed
    }
}
