//! Handing a partition to its owner: offer, transfer, confirmation, and what becomes of it when a link or a member is gone.

use std::collections::BTreeMap;
use std::time::Instant;

use super::message::{Answer, Known, OwnershipMessage, Purpose};
use super::set::PartitionSet;
use super::{Output, Ownership, Slot, Stage};
use crate::identity::MemberName;
use crate::placement::Partition;

impl Ownership {
    /// Offers what is held here and owned by others, to each as much as may be under way to it at a time.
    pub(super) fn offer_what_is_not_mine(&mut self) {
        let mut offers: BTreeMap<MemberName, PartitionSet> = BTreeMap::new();
        for p in 0..self.slots.len() {
            let partition = p as Partition;
            let Some(owner) = self.view.owner(partition) else {
                return;
            };
            if self.slots[p] != Slot::Held || *owner == self.me {
                continue;
            }
            let owner = owner.clone();
            let limit = self.settings.transfers_per_peer;
            if let Some(peer) = self.peers.get_mut(&owner)
                && peer.linked
                && peer.busy < limit
                && !self.held_off.contains_key(&partition)
            {
                peer.busy += 1;
                offers.entry(owner.clone()).or_default().insert(partition);
                self.set_slot(partition, Slot::Offered { to: owner });
            }
        }
        for (owner, set) in offers {
            self.send(&owner, OwnershipMessage::Offer { set });
        }
    }

    pub(super) fn offered(&mut self, from: &MemberName, set: &PartitionSet) {
        let (mut accept, mut decline) = (PartitionSet::new(), PartitionSet::new());
        for partition in self.known(set) {
            let merge = match self.slots[usize::from(partition)] {
                // Whoever offers to a leaving member will know better soon.
                _ if self.leaving => {
                    decline.insert(partition);
                    continue;
                }
                Slot::Held => true,
                Slot::Elsewhere | Slot::Claiming => false,
                Slot::Offered { .. } | Slot::Sending { .. } | Slot::Receiving { .. } => {
                    decline.insert(partition);
                    continue;
                }
            };
            self.note_holder(partition, from);
            let from = from.clone();
            self.set_slot(partition, Slot::Receiving { from: from.clone(), merge });
            self.out.push_back(Output::Receive { partition, from, merge });
            accept.insert(partition);
        }
        if !accept.is_empty() {
            self.send(from, OwnershipMessage::Accept { set: accept });
        }
        if !decline.is_empty() {
            self.send(from, OwnershipMessage::Decline { set: decline });
        }
    }

    pub(super) fn accepted(&mut self, from: &MemberName, set: &PartitionSet) {
        let mut withdraw = PartitionSet::new();
        for partition in self.known(set) {
            let offered = self.is_offered_to(partition, from);
            if offered && self.view.owner(partition) == Some(from) {
                let (to, stage) = (from.clone(), Stage::Pieces);
                self.set_slot(partition, Slot::Sending { to, stage });
                let to = from.clone();
                self.out.push_back(Output::Transfer { partition, to });
                continue;
            }
            if offered {
                self.set_slot(partition, Slot::Held);
                self.no_longer_busy(from);
            }
            withdraw.insert(partition);
        }
        if !withdraw.is_empty() {
            self.send(from, OwnershipMessage::Withdraw { set: withdraw });
        }
    }

    pub(super) fn declined(&mut self, from: &MemberName, set: &PartitionSet, now: Instant) {
        for partition in self.known(set) {
            if self.is_offered_to(partition, from) {
                self.set_slot(partition, Slot::Held);
                self.no_longer_busy(from);
                self.held_off.insert(partition, now + self.settings.retry);
                self.retry_after(now);
            }
        }
    }

    pub(super) fn withdrawn(&mut self, from: &MemberName, set: &PartitionSet) {
        for partition in self.known(set) {
            self.discard(partition, from);
        }
    }

    pub(super) fn transferred(&mut self, partition: Partition) {
        if let Some(Slot::Sending { stage, .. }) = self.slots.get_mut(usize::from(partition))
            && *stage == Stage::Pieces
        {
            *stage = Stage::Behind;
            self.touched.insert(partition);
        }
    }

    pub(super) fn installed(&mut self, partition: Partition, from: &MemberName) {
        if self.is_receiving_from(partition, from) {
            self.serve(partition);
            let set = std::iter::once(partition).collect();
            self.send(from, OwnershipMessage::Installed { set });
        }
    }

    /// The new holder has these.
    pub(super) fn confirmed(&mut self, from: &MemberName, set: &PartitionSet) {
        for partition in self.known(set) {
            if self.is_sending_to(partition, from) {
                self.hand_over(partition, from.clone());
                self.no_longer_busy(from);
            }
        }
    }

    fn hand_over(&mut self, partition: Partition, holder: MemberName) {
        self.set_slot(partition, Slot::Elsewhere);
        self.holders[usize::from(partition)] = Some(holder);
        self.out.push_back(Output::Drop(partition));
        self.review = true;
    }

    fn restore(&mut self, partition: Partition, died: Option<MemberName>) {
        self.serve(partition);
        self.out.push_back(Output::Restore { partition, died });
    }

    fn discard(&mut self, partition: Partition, from: &MemberName) {
        let Some(Slot::Receiving { from: sender, merge }) = self.slots.get(usize::from(partition)) else {
            return;
        };
        if sender != from {
            return;
        }
        let slot = if *merge { Slot::Held } else { Slot::Elsewhere };
        self.set_slot(partition, slot);
        self.out.push_back(Output::Discard { partition, from: from.clone() });
        self.review = true;
    }

    /// The link to a member is gone, and perhaps the member.
    pub(super) fn end_handoffs_with(&mut self, name: &MemberName, dead: bool) {
        for p in 0..self.slots.len() {
            let partition = p as Partition;
            if self.is_offered_to(partition, name) {
                self.set_slot(partition, Slot::Held);
            } else if self.is_receiving_from(partition, name) {
                self.discard(partition, name);
            } else if self.is_sending_to(partition, name) {
                if dead {
                    self.restore(partition, Some(name.clone()));
                } else {
                    let (to, stage) = (name.clone(), Stage::Unsure);
                    self.set_slot(partition, Slot::Sending { to, stage });
                }
            }
        }
        self.confirms.retain(|_, to| to != name);
        if let Some(peer) = self.peers.get_mut(name) {
            peer.busy = 0;
        }
    }

    /// Asks a member whose link broke what arrived of what was sent to it.
    pub(super) fn confirm_with(&mut self, name: &MemberName) {
        let unsure = |slot: &Slot| matches!(slot, Slot::Sending { to, stage: Stage::Unsure } if to == name);
        let set: PartitionSet = self.partitions(|this, p| unsure(&this.slots[usize::from(p)])).collect();
        if set.is_empty() {
            return;
        }
        if let Some(peer) = self.peers.get_mut(name) {
            peer.busy += set.len();
        }
        self.last_id += 1;
        let (id, purpose) = (self.last_id, Purpose::Confirm);
        self.confirms.insert(id, name.clone());
        self.send(name, OwnershipMessage::Query { id, purpose, set });
    }

    /// Handles the answer to [`Ownership::confirm_with`]. False when the answer is to something else.
    pub(super) fn confirmation(&mut self, from: &MemberName, id: u64, answer: &Answer) -> bool {
        if self.confirms.get(&id) != Some(from) {
            return false;
        }
        self.confirms.remove(&id);
        let unsure: Vec<_> = self.partitions(|this, p| this.is_unsure(p, from)).collect();
        for partition in unsure {
            self.no_longer_busy(from);
            if answer.held.contains(partition) {
                self.hand_over(partition, from.clone());
            } else if let Some(next) = self.named_in(&answer.elsewhere, partition) {
                self.hand_over(partition, next);
            } else {
                let died = self.named_in(&answer.lost, partition);
                self.restore(partition, died);
            }
        }
        true
    }

    fn named_in(&self, list: &[Known], partition: Partition) -> Option<MemberName> {
        let named = list.iter().find(|known| known.set.contains(partition))?;
        (named.member != self.me).then(|| named.member.clone())
    }

    /// A member that asks whether a transfer arrived will send it anew if it did not, so a part of it is of no use.
    pub(super) fn forget_half_received(&mut self, from: &MemberName, partition: Partition) {
        if self.is_receiving_from(partition, from) {
            self.discard(partition, from);
        }
    }

    fn no_longer_busy(&mut self, name: &MemberName) {
        if let Some(peer) = self.peers.get_mut(name) {
            peer.busy = peer.busy.saturating_sub(1);
        }
        self.review = true;
    }

    fn is_offered_to(&self, partition: Partition, name: &MemberName) -> bool {
        matches!(self.slots.get(usize::from(partition)), Some(Slot::Offered { to }) if to == name)
    }

    fn is_sending_to(&self, partition: Partition, name: &MemberName) -> bool {
        matches!(self.slots.get(usize::from(partition)), Some(Slot::Sending { to, .. }) if to == name)
    }

    fn is_unsure(&self, partition: Partition, name: &MemberName) -> bool {
        matches!(
            self.slots.get(usize::from(partition)),
            Some(Slot::Sending { to, stage: Stage::Unsure }) if to == name
        )
    }

    fn is_receiving_from(&self, partition: Partition, name: &MemberName) -> bool {
        matches!(self.slots.get(usize::from(partition)), Some(Slot::Receiving { from, .. }) if from == name)
    }
}
