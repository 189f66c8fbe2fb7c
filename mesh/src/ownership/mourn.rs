//! Mourning: what a member did on one side of a network partition, and died with before the sides met, is said on the other side.
//!
//! Who knew its keys would have claimed what it held, and merged that, with what is lost of it, once the sides had met. Here they
//! met first: the other side holds the partition already, asks no member, and knows nothing of what the dead member did since they were apart.
//! So this member does as if it had been in time. It keeps a copy that has nothing but what is lost, in doubt, and the holder
//! merges that like any other. The same is done where the member that died had come back from the other side, and its copy had not met
//! the holder's yet.

use std::time::Instant;

use super::{Output, Ownership, Slot};
use crate::key_index::standbys;
use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;

impl Ownership {
    /// A partition that was held on this side is held on another one as well.
    pub(super) fn note_beside(&mut self, partition: Partition, holder: MemberName, other: &MemberName) {
        if holder == *other {
            return;
        }
        self.holders.forget_beside(partition);
        let is_of_this_side = self.peers.contains(&holder) && !self.sides.is_apart(&holder);
        if is_of_this_side && self.sides.may_be_apart(other) {
            self.holders.set_beside(partition, holder);
        }
    }

    /// What a member held of a partition is in another copy by now.
    pub(super) fn forget_beside(&mut self, partition: Partition, name: &MemberName) {
        if self.holders.beside(partition) == Some(name) {
            self.holders.forget_beside(partition);
        }
    }

    /// The member that holds a partition besides the one of another side that it came from, and may die with what it did.
    #[must_use]
    pub fn beside(&self, partition: Partition) -> Option<&MemberName> {
        self.holders.beside(partition)
    }

    /// Mourns what is due, where the holder was apart. A death that may be a rumour waits.
    pub(super) fn mourn(&mut self, now: Instant) {
        let is_due = |partition, name: &MemberName| {
            self.is_of_other_side(partition) || self.is_beside(partition, name) || self.died_apart(partition, name)
        };
        let due = self.told.of_dead(is_due);
        for (partition, died) in due {
            if !self.mourn_one(partition, died) {
                self.review.retry_after(now);
            }
        }
    }

    /// Whether a partition is held by a member that was apart, and there is no copy here.
    fn is_of_other_side(&self, partition: Partition) -> bool {
        let known = self.slots.get(partition) == Some(&Slot::Elsewhere);
        let is_apart = |holder: &MemberName| self.sides.is_apart(holder) && self.peers.is_reachable(holder);
        known && self.holders.of(partition).is_some_and(is_apart)
    }

    /// Whether a copy of a partition is here beside the one that this member had.
    fn is_beside(&self, partition: Partition, name: &MemberName) -> bool {
        let is_sent = |slot: &Slot| matches!(slot, Slot::Sending { .. });
        let stays = self.slots.holds(partition) && !self.slots.get(partition).is_some_and(is_sent);
        stays && self.holders.beside(partition) == Some(name)
    }

    /// Whether a member that came back, and died before its copy of a partition had met the holder's, is to be mourned here: by that
    /// holder, or by another member that knows its keys, if the holder was not told of them.
    fn died_apart(&self, partition: Partition, name: &MemberName) -> bool {
        if !self.sides.died_apart(name) {
            return false;
        }
        match self.slots.get(partition) {
            Some(Slot::Sending { .. } | Slot::Claiming) | None => false,
            Some(Slot::Elsewhere) => self.other_holder(partition).is_some_and(|holder| {
                self.peers.is_reachable(holder)
                    && !standbys(&self.view, partition, name, |_| true).any(|standby| standby == holder)
            }),
            Some(_) => self.slots.holds(partition),
        }
    }

    /// Mourns one partition, unless the death is too new. Says whether it did.
    fn mourn_one(&mut self, partition: Partition, died: MemberName) -> bool {
        if self.sides.is_rumoured(&died) {
            return false;
        }
        self.told.mourned(partition);
        self.holders.forget_beside(partition);
        self.out.push(Output::Mourn { partition, lost_from: died });
        if !self.slots.holds(partition) {
            self.slots.set(partition, Slot::Doubtful { asking: false });
            self.review.request();
        }
        true
    }

    /// A holder that was apart hands over a partition: what is to be mourned of it comes first. False if that has to wait.
    pub(super) fn mourn_before(&mut self, partition: Partition, from: &MemberName) -> bool {
        if !self.sides.is_apart(from) || self.slots.holds(partition) {
            return true;
        }
        let died = self.told.dead_teller(partition).cloned();
        died.is_none_or(|died| {
            if self.told.is_unsettled(partition) {
                return false;
            }
            self.end_claim(partition);
            self.mourn_one(partition, died)
        })
    }
}
