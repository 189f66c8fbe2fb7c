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
        let mut offers: BTreeMap<(MemberName, u32, bool, bool), (HandoffNumber, PartitionSet)> = BTreeMap::new();
        for partition in self.slots.partitions() {
            let (to, doubtful) = match self.slots[partition] {
                Slot::Held => (self.view.owner(partition).filter(|owner| **owner != self.me), false),
                Slot::Doubtful { asking: false } if self.has_heard_all() => (self.merges_at(partition), true),
                _ => continue,
            };
            let limit = self.settings.transfers_per_peer;
            let Some(to) = to.cloned().filter(|_| !self.review.is_held_off(partition)) else {
                continue;
            };
            if self.peers.begin_handoff(&to, limit) {
                let (side, came) = (self.side_of(partition), self.sides.standing(partition).is_some());
                let next = self.last_id + 1;
                let (number, set) =
                    offers.entry((to.clone(), side, came, doubtful)).or_insert_with(|| (next, PartitionSet::new()));
                self.last_id = self.last_id.max(*number);
                let number = *number;
                set.insert(partition);
                self.slots.set(partition, Slot::Offered { to, number, doubtful });
            }
        }
        for ((to, side, came, doubtful), (number, set)) in offers {
            self.out.send(&to, OwnershipMessage::Offer { number, side, came, doubtful, set });
        }
    }

    pub(super) fn offered(
        &mut self,
        from: &MemberName,
        number: HandoffNumber,
        (side, came): (u32, bool),
        doubtful: bool,
        set: &PartitionSet,
        now: Instant,
    ) {
        let is_of_this_side = !came && !self.sides.may_be_apart(from);
        let (mut accept, mut decline) = (PartitionSet::new(), PartitionSet::new());
        for partition in self.slots.known(set) {
            if !self.mourn_before(partition, from) {
                decline.insert(partition);
                continue;
            }
            let copy = match self.slots[partition] {
                Slot::Held => Copy::Served,
                // Until all were heard of, this side may count some who have gone on without it.
                Slot::Doubtful { .. } if self.has_heard_all() => Copy::Doubtful,
                // A member that offers to a leaving one hears soon that it leaves.
                Slot::Elsewhere | Slot::Claiming if !self.is_leaving() && !doubtful => Copy::None,
                _ => {
                    decline.insert(partition);
                    continue;
                }
            };
            if self.is_leaving() && copy == Copy::Served {
                decline.insert(partition);
                continue;
            }
            self.note_holder(partition, from);
            let here = self.side_of(partition);
            let merge = (copy != Copy::None).then(|| Winner::of(here, side));
            match merge {
                Some(_) => self.sides.set_standing(partition, side.max(here), now),
                // It counts what the side counts, however many that comes to be.
                None if is_of_this_side => self.sides.forget_standing(partition),
                None => self.sides.set_standing(partition, side, now),
            }
            let from = from.clone();
            self.slots.set(partition, Slot::Receiving { from: from.clone(), number, copy, doubtful });
            self.out.push(Output::Receive { partition, number, from, merge });
            accept.insert(partition);
        }
        if !accept.is_empty() {
            self.out.send(from, OwnershipMessage::Accept { number, set: accept });
        }
        if !decline.is_empty() {
            self.out.send(from, OwnershipMessage::Decline { number, set: decline });
        }
    }

    pub(super) fn accepted(&mut self, from: &MemberName, number: HandoffNumber, set: &PartitionSet) {
        let mut withdraw = PartitionSet::new();
        for partition in self.slots.known(set) {
            let Some(doubtful) = self.slots.offered_to(partition, from, number) else {
                withdraw.insert(partition);
                continue;
            };
            let wanted = if doubtful { self.merges_at(partition) } else { self.view.owner(partition) };
            if wanted == Some(from) {
                let (to, stage) = (from.clone(), Stage::Pieces);
                self.slots.set(partition, Slot::Sending { to, number, stage, doubtful });
                let to = from.clone();
                self.out.push(Output::HandOff { partition, number, to });
                continue;
            }
            self.end_offer(partition, from, doubtful);
            withdraw.insert(partition);
        }
        if !withdraw.is_empty() {
            self.out.send(from, OwnershipMessage::Withdraw { number, set: withdraw });
        }
    }

    pub(super) fn declined(&mut self, from: &MemberName, number: HandoffNumber, set: &PartitionSet, now: Instant) {
        for partition in self.slots.known(set) {
            if let Some(doubtful) = self.slots.offered_to(partition, from, number) {
                if doubtful {
                    // It holds no copy after all.
                    self.not_here(from, partition);
                }
                self.end_offer(partition, from, doubtful);
                self.review.hold_off(partition, now);
            } else if self.slots.is_sending(partition, number, from) {
                // It arrived and could not be read. To try again would need another release at the other side: not soon.
                self.was_not_installed(partition);
                self.no_longer_busy(from);
                self.review.hold_off_for(partition, REFUSED_FOR, now);
            }
        }
    }

    fn end_offer(&mut self, partition: Partition, to: &MemberName, doubtful: bool) {
        self.slots.set(partition, if doubtful { Slot::Doubtful { asking: false } } else { Slot::Held });
        self.no_longer_busy(to);
    }

    pub(super) fn withdrawn(&mut self, from: &MemberName, number: HandoffNumber, set: &PartitionSet) {
        for partition in self.slots.known(set) {
            if self.slots.is_receiving(partition, number, from) {
                self.discard(partition, from);
            }
        }
    }

    pub(super) fn installed(&mut self, partition: Partition, number: HandoffNumber, from: &MemberName, now: Instant) {
        if self.slots.is_receiving(partition, number, from) {
            let standing = self.sides.standing(partition);
            self.arrivals.install(partition, number, from);
            self.forget_beside(partition, from);
            if matches!(self.slots[partition], Slot::Receiving { copy: Copy::Doubtful, doubtful: true, .. }) {
                self.slots.set(partition, Slot::Doubtful { asking: false });
                self.holders.forget(partition);
                self.review.request();
            } else {
                self.serve(partition);
            }
            if let Some(standing) = standing {
                self.sides.set_standing(partition, standing, now);
            }
            let set = std::iter::once(partition).collect();
            self.out.send(from, OwnershipMessage::Received { number, set });
        } else {
            self.arrivals.install_given_up(partition, number, from);
        }
    }

    /// Gives back what arrived and cannot be read.
    pub(super) fn refuse(&mut self, partition: Partition, number: HandoffNumber, from: &MemberName) {
        if self.slots.is_receiving(partition, number, from) {
            self.discard(partition, from);
            let set = std::iter::once(partition).collect();
            self.out.send(from, OwnershipMessage::Decline { number, set });
        }
    }

    /// Takes no more of a hand-off: its sender keeps what it has.
    pub(super) fn give_back(&mut self, partition: Partition, number: HandoffNumber, from: &MemberName) {
        self.discard(partition, from);
        let asked = std::iter::once(partition).collect();
        self.out.send(from, OwnershipMessage::Arrived { number, asked, set: PartitionSet::new() });
    }

    /// The new holder has these.
    pub(super) fn confirmed(&mut self, from: &MemberName, number: HandoffNumber, set: &PartitionSet) {
        for partition in self.slots.known(set) {
            if self.slots.is_sending(partition, number, from) {
                self.handed_off_to(partition, from.clone());
                self.no_longer_busy(from);
            }
        }
    }

    fn handed_off_to(&mut self, partition: Partition, holder: MemberName) {
        self.slots.set(partition, Slot::Elsewhere);
        // It may have handed it on meanwhile, to one that said so.
        let is_unknown = self.other_holder(partition).is_none();
        self.holders.handed_off_to(partition, is_unknown.then_some(holder));
        self.sides.forget_standing(partition);
        self.out.push(Output::Release(partition));
        self.out.handed_off(partition);
        self.review.request();
    }

    fn discard(&mut self, partition: Partition, from: &MemberName) {
        let (number, slot) = match self.slots.get(partition) {
            Some(Slot::Receiving { from: sender, number, copy, .. }) if sender == from => match copy {
                Copy::None => (None, Slot::Elsewhere),
                Copy::Served => (Some(*number), Slot::Held),
                Copy::Doubtful => (Some(*number), Slot::Doubtful { asking: false }),
            },
            _ => return,
        };
        if let Some(number) = number {
            self.arrivals.give_up(partition, number, from);
        }
        self.slots.set(partition, slot);
        self.out.push(Output::Discard { partition, from: from.clone() });
        self.review.request();
    }

    /// The link to a member is gone, and perhaps the member.
    pub(super) fn end_handoffs_with(&mut self, name: &MemberName, dead: bool) {
        for partition in self.slots.partitions() {
            match &self.slots[partition] {
                Slot::Offered { to, doubtful, .. } if to == name => {
                    let slot = if *doubtful { Slot::Doubtful { asking: false } } else { Slot::Held };
                    self.slots.set(partition, slot);
                }
                Slot::Receiving { from, .. } if from == name => self.discard(partition, name),
                // It may have served the partition, and may even have handed it on.
                Slot::Sending { to, .. } if to == name && dead => {
                    self.slots.set(partition, Slot::Doubtful { asking: false });
                    self.holders.may_be_lost_with(partition, name);
                    self.out.push(Output::Suspend(partition));
                }
                Slot::Sending { to, number, doubtful, .. } if to == name => {
                    // The pieces may not have been made yet, nor be made any more.
                    let (to, number, stage, doubtful) = (name.clone(), *number, Stage::Unsure, *doubtful);
                    self.slots.set(partition, Slot::Sending { to, number, stage, doubtful });
                    self.out.push(Output::Suspend(partition));
                }
                _ => {}
            }
        }
        self.peers.end_handoffs(name);
    }

    /// Asks a member whose link broke what arrived of what was sent to it.
    pub(super) fn confirm_with(&mut self, name: &MemberName) {
        let mut unsure: BTreeMap<HandoffNumber, PartitionSet> = BTreeMap::new();
        for (partition, slot) in self.slots.iter() {
            if let Slot::Sending { to, number, stage: Stage::Unsure, .. } = slot
                && to == name
            {
                unsure.entry(*number).or_default().insert(partition);
            }
        }
        for (number, set) in unsure {
            self.peers.await_confirmation(name, set.len());
            self.out.send(name, OwnershipMessage::Confirm { number, set });
        }
    }

    /// A member asks what arrived of what it sent.
    pub(super) fn confirm(&mut self, from: &MemberName, number: HandoffNumber, set: &PartitionSet) {
        let asked = self.slots.known(set);
        for partition in &asked {
            // It will be sent anew, so a part of it is of no use.
            if self.slots.is_receiving(*partition, number, from) {
                self.discard(*partition, from);
            }
        }
        let arrived = |p: &Partition| self.arrivals.is_installed(*p, number, from);
        let set = asked.iter().copied().filter(arrived).collect();
        let asked = asked.into_iter().collect();
        self.out.send(from, OwnershipMessage::Arrived { number, asked, set });
    }

    /// The answer to [`Ownership::confirm_with`], or what a member says that gives back what was sent to it.
    pub(super) fn arrived(
        &mut self,
        from: &MemberName,
        number: HandoffNumber,
        asked: &PartitionSet,
        set: &PartitionSet,
    ) {
        for partition in self.slots.known(asked) {
            if !self.slots.is_sending(partition, number, from) {
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
        let doubtful = matches!(self.slots[partition], Slot::Sending { doubtful: true, .. });
        self.slots.set(partition, Slot::Doubtful { asking: false });
        self.review.request();
        if !doubtful && self.other_holder(partition).is_none() {
            self.reopen_unasked(partition);
        }
    }

    pub(super) fn no_longer_busy(&mut self, name: &MemberName) {
        self.peers.end_handoff(name);
        self.review.request();
    }
}
