//! Handing a partition to its owner: offer, transfer, confirmation, and what becomes of it when a link or a member is gone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Copy, Output, Ownership, Slot, Stage, Winner};
use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::partition_set::PartitionSet;
use statemesh_protocol::peer::ownership::{HandoffNumber, OwnershipMessage};

/// For how long a partition is not offered again that its new holder could not read.
const REFUSED_FOR: Duration = Duration::from_secs(30);

impl Ownership {
    /// Offers what is held here and owned by others, and copies in doubt to those that hold another, to each as much as may be
    /// under way to it at a time.
    pub(super) fn offer_what_is_not_mine(&mut self) {
        let mut offers: BTreeMap<(MemberName, u32, bool), (HandoffNumber, PartitionSet)> = BTreeMap::new();
        for p in 0..self.slots.len() {
            let partition = p as Partition;
            let (to, doubtful) = match self.slots[p] {
                Slot::Held => (self.view.owner(partition).filter(|owner| **owner != self.me), false),
                Slot::Doubtful { asking: false } if self.has_heard_all() => (self.merges_at(partition), true),
                _ => continue,
            };
            let limit = self.settings.transfers_per_peer;
            let Some(to) = to.cloned().filter(|_| !self.held_off.contains_key(&partition)) else {
                continue;
            };
            if let Some(peer) = self.peers.get_mut(&to)
                && peer.linked
                && peer.busy < limit
            {
                peer.busy += 1;
                let side = self.side_of(partition);
                let next = self.last_id + 1;
                let (number, set) =
                    offers.entry((to.clone(), side, doubtful)).or_insert_with(|| (next, PartitionSet::new()));
                self.last_id = self.last_id.max(*number);
                let number = *number;
                set.insert(partition);
                self.set_slot(partition, Slot::Offered { to, number, doubtful });
            }
        }
        for ((to, side, doubtful), (number, set)) in offers {
            self.send(&to, OwnershipMessage::Offer { number, side, doubtful, set });
        }
    }

    pub(super) fn offered(
        &mut self,
        from: &MemberName,
        number: HandoffNumber,
        side: u32,
        doubtful: bool,
        set: &PartitionSet,
        now: Instant,
    ) {
        let (mut accept, mut decline) = (PartitionSet::new(), PartitionSet::new());
        for partition in self.known(set) {
            if !self.mourn_before(partition, from) {
                decline.insert(partition);
                continue;
            }
            let copy = match self.slots[usize::from(partition)] {
                Slot::Held => Copy::Served,
                // Until all were heard of, this side may count some who have gone on without it.
                Slot::Doubtful { .. } if self.has_heard_all() => Copy::Doubtful,
                // Whoever offers to a leaving member will know better soon.
                Slot::Elsewhere | Slot::Claiming if !self.leaving && !doubtful => Copy::None,
                _ => {
                    decline.insert(partition);
                    continue;
                }
            };
            if self.leaving && copy == Copy::Served {
                decline.insert(partition);
                continue;
            }
            self.note_holder(partition, from);
            let here = self.side_of(partition);
            let merge = (copy != Copy::None).then(|| Winner::of(here, side));
            self.sides.set_standing(partition, if merge.is_some() { side.max(here) } else { side }, now);
            let from = from.clone();
            self.set_slot(partition, Slot::Receiving { from: from.clone(), number, copy, doubtful });
            self.out.push_back(Output::Receive { partition, number, from, merge });
            accept.insert(partition);
        }
        if !accept.is_empty() {
            self.send(from, OwnershipMessage::Accept { number, set: accept });
        }
        if !decline.is_empty() {
            self.send(from, OwnershipMessage::Decline { number, set: decline });
        }
    }

    pub(super) fn accepted(&mut self, from: &MemberName, number: HandoffNumber, set: &PartitionSet) {
        let mut withdraw = PartitionSet::new();
        for partition in self.known(set) {
            let Some(doubtful) = self.offered_to(partition, from, number) else {
                withdraw.insert(partition);
                continue;
            };
            let wanted = if doubtful { self.merges_at(partition) } else { self.view.owner(partition) };
            if wanted == Some(from) {
                let (to, stage) = (from.clone(), Stage::Pieces);
                self.set_slot(partition, Slot::Sending { to, number, stage, doubtful });
                let to = from.clone();
                self.out.push_back(Output::HandOff { partition, number, to });
                continue;
            }
            self.end_offer(partition, from, doubtful);
            withdraw.insert(partition);
        }
        if !withdraw.is_empty() {
            self.send(from, OwnershipMessage::Withdraw { number, set: withdraw });
        }
    }

    pub(super) fn declined(&mut self, from: &MemberName, number: HandoffNumber, set: &PartitionSet, now: Instant) {
        for partition in self.known(set) {
            if let Some(doubtful) = self.offered_to(partition, from, number) {
                if doubtful {
                    // It holds no copy after all.
                    self.not_here(from, partition);
                }
                self.end_offer(partition, from, doubtful);
                self.held_off.insert(partition, now + self.settings.retry);
                self.retry_after(now);
            } else if self.is_sending(partition, number, from) {
                // It arrived and could not be read. To try again would need another release at the other side: not soon.
                self.was_not_installed(partition);
                self.no_longer_busy(from);
                self.held_off.insert(partition, now + REFUSED_FOR);
                self.retry_after(now);
            }
        }
    }

    fn end_offer(&mut self, partition: Partition, to: &MemberName, doubtful: bool) {
        self.set_slot(partition, if doubtful { Slot::Doubtful { asking: false } } else { Slot::Held });
        self.no_longer_busy(to);
    }

    pub(super) fn withdrawn(&mut self, from: &MemberName, number: HandoffNumber, set: &PartitionSet) {
        for partition in self.known(set) {
            if self.is_receiving(partition, number, from) {
                self.discard(partition, from);
            }
        }
    }

    pub(super) fn transferred(&mut self, partition: Partition, sent: HandoffNumber) {
        if let Some(Slot::Sending { number, stage, .. }) = self.slots.get_mut(usize::from(partition))
            && *number == sent
            && *stage == Stage::Pieces
        {
            *stage = Stage::Behind;
            self.touched.insert(partition);
        }
    }

    pub(super) fn installed(&mut self, partition: Partition, number: HandoffNumber, from: &MemberName, now: Instant) {
        if self.is_receiving(partition, number, from) {
            let standing = self.sides.standing(partition);
            self.installed.insert((from.clone(), partition), number);
            self.forget_beside(partition, from);
            if matches!(
                self.slots[usize::from(partition)],
                Slot::Receiving { copy: Copy::Doubtful, doubtful: true, .. }
            ) {
                self.set_slot(partition, Slot::Doubtful { asking: false });
                self.holders[usize::from(partition)] = None;
                self.review = true;
            } else {
                self.serve(partition);
            }
            if let Some(standing) = standing {
                self.sides.set_standing(partition, standing, now);
            }
            let set = std::iter::once(partition).collect();
            self.send(from, OwnershipMessage::Received { number, set });
        } else if self.given_up.get(&(from.clone(), partition)) == Some(&number) {
            // Its last part was merged before that was known.
            self.installed.insert((from.clone(), partition), number);
        }
    }

    /// What arrived from these is not asked for any more.
    pub(super) fn forget_arrivals(&mut self, of: impl Fn(&Self, &MemberName) -> bool) {
        let [mut installed, mut given_up] = [&mut self.installed, &mut self.given_up].map(std::mem::take);
        installed.retain(|(from, _), _| !of(self, from));
        given_up.retain(|(from, _), _| !of(self, from));
        (self.installed, self.given_up) = (installed, given_up);
    }

    /// Gives back what arrived and cannot be read.
    pub(super) fn refuse(&mut self, partition: Partition, number: HandoffNumber, from: &MemberName) {
        if self.is_receiving(partition, number, from) {
            self.discard(partition, from);
            let set = std::iter::once(partition).collect();
            self.send(from, OwnershipMessage::Decline { number, set });
        }
    }

    /// Takes no more of a hand-off: its sender keeps what it has.
    pub(super) fn give_back(&mut self, partition: Partition, number: HandoffNumber, from: &MemberName) {
        self.discard(partition, from);
        let asked = std::iter::once(partition).collect();
        self.send(from, OwnershipMessage::Arrived { number, asked, set: PartitionSet::new() });
    }

    /// The new holder has these.
    pub(super) fn confirmed(&mut self, from: &MemberName, number: HandoffNumber, set: &PartitionSet) {
        for partition in self.known(set) {
            if self.is_sending(partition, number, from) {
                self.handed_off_to(partition, from.clone());
                self.no_longer_busy(from);
            }
        }
    }

    fn handed_off_to(&mut self, partition: Partition, holder: MemberName) {
        let p = usize::from(partition);
        self.set_slot(partition, Slot::Elsewhere);
        // It may have handed it on meanwhile, to one that said so.
        if self.other_holder(partition).is_none() {
            self.holders[p] = Some(holder);
        }
        self.lost[p] = None;
        self.sides.forget_standing(partition);
        self.out.push_back(Output::Release(partition));
        self.handed_off.insert(partition);
        self.review = true;
    }

    fn discard(&mut self, partition: Partition, from: &MemberName) {
        let (number, slot) = match self.slots.get(usize::from(partition)) {
            Some(Slot::Receiving { from: sender, number, copy, .. }) if sender == from => match copy {
                Copy::None => (None, Slot::Elsewhere),
                Copy::Served => (Some(*number), Slot::Held),
                Copy::Doubtful => (Some(*number), Slot::Doubtful { asking: false }),
            },
            _ => return,
        };
        if let Some(number) = number {
            self.given_up.insert((from.clone(), partition), number);
        }
        self.set_slot(partition, slot);
        self.out.push_back(Output::Discard { partition, from: from.clone() });
        self.review = true;
    }

    /// The link to a member is gone, and perhaps the member.
    pub(super) fn end_handoffs_with(&mut self, name: &MemberName, dead: bool) {
        for p in 0..self.slots.len() {
            let partition = p as Partition;
            match &self.slots[p] {
                Slot::Offered { to, doubtful, .. } if to == name => {
                    let slot = if *doubtful { Slot::Doubtful { asking: false } } else { Slot::Held };
                    self.set_slot(partition, slot);
                }
                Slot::Receiving { from, .. } if from == name => self.discard(partition, name),
                // It may have served the partition, and may even have handed it on.
                Slot::Sending { to, .. } if to == name && dead => {
                    self.set_slot(partition, Slot::Doubtful { asking: false });
                    self.lost[p].get_or_insert_with(|| name.clone());
                    self.out.push_back(Output::Suspend(partition));
                }
                Slot::Sending { to, number, doubtful, .. } if to == name => {
                    // The pieces may not have been made yet, nor be made any more.
                    let (to, number, stage, doubtful) = (name.clone(), *number, Stage::Unsure, *doubtful);
                    self.set_slot(partition, Slot::Sending { to, number, stage, doubtful });
                    self.out.push_back(Output::Suspend(partition));
                }
                _ => {}
            }
        }
        if let Some(peer) = self.peers.get_mut(name) {
            peer.busy = 0;
        }
    }

    /// Asks a member whose link broke what arrived of what was sent to it.
    pub(super) fn confirm_with(&mut self, name: &MemberName) {
        let mut unsure: BTreeMap<HandoffNumber, PartitionSet> = BTreeMap::new();
        for (p, slot) in self.slots.iter().enumerate() {
            if let Slot::Sending { to, number, stage: Stage::Unsure, .. } = slot
                && to == name
            {
                unsure.entry(*number).or_default().insert(p as Partition);
            }
        }
        for (number, set) in unsure {
            if let Some(peer) = self.peers.get_mut(name) {
                peer.busy += set.len();
            }
            self.send(name, OwnershipMessage::Confirm { number, set });
        }
    }

    /// A member asks what arrived of what it sent.
    pub(super) fn confirm(&mut self, from: &MemberName, number: HandoffNumber, set: &PartitionSet) {
        let asked = self.known(set);
        for partition in &asked {
            // It will be sent anew, so a part of it is of no use.
            if self.is_receiving(*partition, number, from) {
                self.discard(*partition, from);
            }
        }
        let arrived = |p: &Partition| self.installed.get(&(from.clone(), *p)) == Some(&number);
        let set = asked.iter().copied().filter(arrived).collect();
        let asked = asked.into_iter().collect();
        self.send(from, OwnershipMessage::Arrived { number, asked, set });
    }

    /// The answer to [`Ownership::confirm_with`], or what a member says that gives back what was sent to it.
    pub(super) fn arrived(
        &mut self,
        from: &MemberName,
        number: HandoffNumber,
        asked: &PartitionSet,
        set: &PartitionSet,
    ) {
        for partition in self.known(asked) {
            if !self.is_sending(partition, number, from) {
                continue;
            }
            self.no_longer_busy(from);
            if set.contains(partition) {
                self.handed_off_to(partition, from.clone());
            } else {
                self.was_not_installed(partition);
            }
        }
    }

    /// The copy that was sent was not installed. Another member that holds the partition as well, as when two copies were to be
    /// merged, knows nothing of what only this one has: this one is kept, but not served beside the other. One that was in doubt
    /// still is: all are asked about it.
    fn was_not_installed(&mut self, partition: Partition) {
        let doubtful = matches!(self.slots[usize::from(partition)], Slot::Sending { doubtful: true, .. });
        self.set_slot(partition, Slot::Doubtful { asking: false });
        self.review = true;
        if !doubtful && self.other_holder(partition).is_none() {
            self.resume(partition);
        }
    }

    pub(super) fn no_longer_busy(&mut self, name: &MemberName) {
        if let Some(peer) = self.peers.get_mut(name) {
            peer.busy = peer.busy.saturating_sub(1);
        }
        self.review = true;
    }

    /// Whether a partition is on offer to a member by this number, and whether it is in doubt.
    fn offered_to(&self, partition: Partition, name: &MemberName, offer: HandoffNumber) -> Option<bool> {
        match self.slots.get(usize::from(partition)) {
            Some(Slot::Offered { to, number, doubtful }) if to == name && *number == offer => Some(*doubtful),
            _ => None,
        }
    }

    fn is_sending(&self, partition: Partition, sent: HandoffNumber, name: &MemberName) -> bool {
        let slot = self.slots.get(usize::from(partition));
        matches!(slot, Some(Slot::Sending { to, number, .. }) if to == name && *number == sent)
    }

    fn is_receiving(&self, partition: Partition, offer: HandoffNumber, name: &MemberName) -> bool {
        let slot = self.slots.get(usize::from(partition));
        matches!(slot, Some(Slot::Receiving { from, number, .. }) if from == name && *number == offer)
    }
}
