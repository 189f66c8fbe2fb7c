//! Mourning: what a member did on one side of a network partition, and died with before the sides met, is said on the other side.
//!
//! Who knew its keys would have claimed what it held, and merged that, with what is lost of it, once the sides had met. Here they
//! met first: the other side holds the partition already, asks nobody, and knows nothing of what the dead member did since they were apart.
//! So this member does as if it had been in time. It keeps a copy that has nothing but what is lost, in doubt, and the holder
//! merges that like any other. The same is done where the member that died had come back from the other side, and its copy had not met
//! the holder's yet.

use std::time::Instant;

use super::{Output, Ownership, Slot};
use crate::key_index::standbys;
use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::partition_set::PartitionSet;

impl Ownership {
    /// A partition that was held on this side is held on another one as well.
    pub(super) fn note_beside(&mut self, partition: Partition, holder: MemberName, other: &MemberName) {
        let is_here = |name: &MemberName| self.peers.contains_key(name) && !self.sides.is_apart(name);
        if holder == *other {
            return;
        }
        self.beside.remove(&partition);
        if is_here(&holder) && self.sides.may_be_apart(other) {
            self.beside.insert(partition, holder);
        }
    }

    /// What a member held of a partition is in another copy by now.
    pub(super) fn forget_beside(&mut self, partition: Partition, name: &MemberName) {
        if self.beside.get(&partition) == Some(name) {
            self.beside.remove(&partition);
        }
    }

    /// Who holds a partition besides the member of another side that it came from, and may die with what it did.
    #[must_use]
    pub fn beside(&self, partition: Partition) -> Option<&MemberName> {
        self.beside.get(&partition)
    }

    /// Mourns what is due, where the holder was apart. A death that may be a rumour waits.
    pub(super) fn mourn(&mut self, now: Instant) {
        let held = |(name, set): (&MemberName, &PartitionSet)| {
            let is_due =
                |p: &Partition| self.is_of_other_side(*p) || self.is_beside(*p, name) || self.died_apart(*p, name);
            let concerns = |p: &Partition| !self.unsettled.contains(*p) && is_due(p);
            set.iter().filter(concerns).map(|p| (p, name.clone())).collect::<Vec<_>>()
        };
        let due: Vec<_> = self.indexed.of_dead.iter().flat_map(held).collect();
        for (partition, died) in due {
            if !self.mourn_one(partition, died) {
                self.retry_after(now);
            }
        }
    }

    /// Whether a partition is held by a member that was apart, and there is no copy here.
    fn is_of_other_side(&self, partition: Partition) -> bool {
        let known = self.slots.get(usize::from(partition)) == Some(&Slot::Elsewhere);
        let is_apart = |holder: &MemberName| {
            self.sides.is_apart(holder) && self.peers.get(holder).is_some_and(|peer| peer.live && peer.linked)
        };
        known && self.holders.get(usize::from(partition)).is_some_and(|holder| holder.as_ref().is_some_and(is_apart))
    }

    /// Whether a copy of a partition is here beside the one that this member had.
    fn is_beside(&self, partition: Partition, name: &MemberName) -> bool {
        let is_sent = |slot: &Slot| matches!(slot, Slot::Sending { .. });
        let stays = self.holds(partition) && !self.slots.get(usize::from(partition)).is_some_and(is_sent);
        stays && self.beside.get(&partition) == Some(name)
    }

    /// Whether a member that came back, and died before its copy of a partition had met the holder's, is to be mourned here: by that
    /// holder, or by another member that knows its keys, if the holder was not told of them.
    fn died_apart(&self, partition: Partition, name: &MemberName) -> bool {
        if !self.sides.died_apart(name) {
            return false;
        }
        match self.slots.get(usize::from(partition)) {
            Some(Slot::Sending { .. } | Slot::Claiming) | None => false,
            Some(Slot::Elsewhere) => self.other_holder(partition).is_some_and(|holder| {
                let is_linked = self.peers.get(holder).is_some_and(|peer| peer.live && peer.linked);
                is_linked && !standbys(&self.view, partition, name).any(|standby| standby == holder)
            }),
            Some(_) => self.holds(partition),
        }
    }

    /// Mourns one partition, unless the death is too new. Says whether it did.
    fn mourn_one(&mut self, partition: Partition, died: MemberName) -> bool {
        if self.sides.is_rumoured(&died) {
            return false;
        }
        self.indexed.of_dead.values_mut().for_each(|set| _ = set.remove(partition));
        self.beside.remove(&partition);
        self.out.push_back(Output::Mourn { partition, lost_from: died });
        if !self.holds(partition) {
            self.set_slot(partition, Slot::Doubtful { asking: false });
            self.review = true;
        }
        true
    }

    /// A holder that was apart hands over a partition: what is to be mourned of it comes first. False if that has to wait.
    pub(super) fn mourn_before(&mut self, partition: Partition, from: &MemberName) -> bool {
        if !self.sides.is_apart(from) || self.holds(partition) {
            return true;
        }
        let mut of_dead = self.indexed.of_dead.iter();
        let died = of_dead.find(|(_, set)| set.contains(partition)).map(|(name, _)| name.clone());
        died.is_none_or(|died| {
            if self.unsettled.contains(partition) {
                return false;
            }
            self.end_claim(partition);
            self.mourn_one(partition, died)
        })
    }
}
