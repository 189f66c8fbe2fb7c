//! Doubt: a member that was taken for dead, or was paused, serves nothing that others may have adopted meanwhile.
//!
//! It asks every live member who holds what it has a copy of, as in a claim. What no member holds it serves again. Of what another
//! holds it keeps its copy, and the two are merged: by the owner, when the other offers its copy; or by the other holder, to whom
//! this member offers its own. Events wait here until then, and go behind the copy: so the first answer that its clients get knows
//! what of the copy was lost. A copy in doubt stays in doubt wherever it goes: a member that has none
//! does not take it, and two of them make one that is in doubt.

use std::time::Instant;

use super::claims::Claim;
use super::{Copy, Output, Ownership, Reason, Slot};
use crate::placement::outranks;
use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::partition_set::PartitionSet;
use statemesh_protocol::peer::ownership::{Cut, Purpose};

impl Ownership {
    /// Doubts everything, unless the others that took this member for dead are too few to win any merge.
    pub(super) fn maybe_doubt(&mut self, reason: Reason, now: Instant) {
        let wins = self.sides.buried_any() && self.sides.is_majority(self.side());
        if reason == Reason::Paused {
            self.hear_all_anew();
        } else if !wins {
            self.await_return(now);
        }
        if reason == Reason::Paused || !wins {
            self.doubt_all();
        }
    }

    /// A network partition is over: those that this member held for dead come back, one after the other, with what they hold.
    fn await_return(&mut self, now: Instant) {
        let is_live = |name: &MemberName| self.peers.get(name).is_some_and(|peer| peer.live);
        let missing = self.sides.missing().filter(|name| !is_live(name)).cloned().collect();
        self.unheard.await_return(missing, now);
    }

    /// A process that was held for dead on the side where this one began is there. No member holds this one for dead, and it may have
    /// been given what others have adopted.
    pub(super) fn maybe_doubt_for_others(&mut self, now: Instant) {
        if self.sides.took_over() {
            self.maybe_doubt(Reason::TakenForDead, now);
        }
    }

    /// A member says, first on its link, whether it had declared this one dead, and what it knows of a network partition that this one
    /// began in.
    pub(super) fn met(&mut self, from: &MemberName, buried: bool, cut: Option<Cut>, now: Instant) {
        self.heard_from(from);
        if let Some(peer) = self.peers.get_mut(from) {
            peer.met = true;
        }
        if let Some(cut) = cut {
            self.take_over(from, cut, now);
        }
        if !buried || !self.sides.buried_me(from, now) {
            return;
        }
        if self.sides.buried(from) || self.sides.joined(from) {
            self.maybe_doubt(Reason::TakenForDead, now);
        } else {
            // One that this member counted: the others have gone on without it.
            self.await_return(now);
            self.doubt_all();
        }
        self.heard_from(from);
    }

    /// A member on whose side this one began says who is on the other.
    fn take_over(&mut self, from: &MemberName, cut: Cut, now: Instant) {
        // Where this one has something it is known already who is missing.
        if self.slots.held() > 0 {
            return;
        }
        let peers = &self.peers;
        let incarnation = |name: &MemberName| peers.get(name).filter(|peer| peer.live).map(|peer| peer.incarnation);
        let back = self.sides.take_over(from, cut, incarnation, now);
        for name in &back {
            self.greet(name, now);
        }
        if !back.is_empty() {
            self.maybe_doubt_for_others(now);
        }
    }

    /// What a member says now it says knowing whether it had declared this one dead, and it would have said that first.
    pub(super) fn heard_from(&mut self, name: &MemberName) {
        if self.unheard.remove(name) {
            self.review.request();
        }
    }

    /// Whether it is known who has gone on without this member. One that leaves does not wait for a member that no link reaches.
    pub(super) fn has_heard_all(&self) -> bool {
        self.unheard.are_none(|name| self.is_leaving() && !self.peers.is_linked(name))
    }

    /// Each member that is there may have declared this one dead since it was heard of.
    fn hear_all_anew(&mut self) {
        self.unheard.hear_anew(self.peers.live().cloned().collect(), self.last_id);
    }

    /// Nothing is concluded from what was heard before the doubt either: what is on its way here is given back, and what was asked is
    /// asked anew.
    fn doubt_all(&mut self) {
        if !self.slots.are_merging() {
            self.hear_all_anew();
        }
        self.out.push(Output::Doubt);
        for partition in self.slots.partitions() {
            if let Slot::Receiving { from, number, copy: Copy::None, .. } = &self.slots[partition] {
                let (from, number) = (from.clone(), *number);
                self.give_back(partition, number, &from);
            }
            self.doubt(partition);
        }
        self.ask_anew();
    }

    /// Stops serving a partition until every live member was asked.
    pub(super) fn doubt(&mut self, partition: Partition) {
        let slot = match self.slots.get(partition) {
            Some(Slot::Held) => Slot::Doubtful { asking: false },
            Some(Slot::Offered { to, doubtful: false, .. }) => {
                let to = to.clone();
                self.no_longer_busy(&to);
                Slot::Doubtful { asking: false }
            }
            Some(Slot::Receiving { from, number, copy: Copy::Served, .. }) => {
                Slot::Receiving { from: from.clone(), number: *number, copy: Copy::Doubtful, doubtful: true }
            }
            Some(Slot::Receiving { from, number, copy: Copy::Doubtful, doubtful: false }) => {
                let slot =
                    Slot::Receiving { from: from.clone(), number: *number, copy: Copy::Doubtful, doubtful: true };
                return self.slots.set(partition, slot);
            }
            Some(Slot::Sending { to, number, stage, doubtful: false }) => {
                let (to, number, stage) = (to.clone(), *number, *stage);
                return self.slots.set(partition, Slot::Sending { to, number, stage, doubtful: true });
            }
            _ => return,
        };
        self.slots.set(partition, slot);
        self.out.push(Output::Suspend(partition));
        self.review.request();
    }

    /// Asks everyone about copies in doubt whose other holder is not known. With `recheck`, also about the others.
    pub(super) fn ask_about_doubtful(&mut self, recheck: bool, now: Instant) {
        let (mut set, mut waits) = (PartitionSet::new(), false);
        for partition in self.slots.partitions() {
            if self.slots[partition] != (Slot::Doubtful { asking: false }) || self.review.is_held_off(partition) {
                continue;
            }
            if !recheck && self.other_holder(partition).is_some() {
                waits = true;
            } else {
                set.insert(partition);
            }
        }
        if waits || !set.is_empty() {
            self.review.recheck_after(now);
        }
        self.start_claim(Claim::new(Purpose::Doubt, set));
    }

    /// Whom a copy in doubt is offered to: the other holder, unless that will offer its own, since this member owns the
    /// partition or is preferred.
    pub(super) fn merges_at(&self, partition: Partition) -> Option<&MemberName> {
        let other = self.other_holder(partition)?;
        let owner = self.view.owner(partition);
        let theirs = owner == Some(other) || (owner != Some(&self.me) && outranks(other, &self.me, partition));
        theirs.then_some(other)
    }

    /// Serves a copy again that no other member holds.
    pub(super) fn reopen(&mut self, partition: Partition, denied: Option<MemberName>, told: bool) {
        let died = self.holders.lost_with(partition).cloned().or(denied).filter(|name| *name != self.me);
        let unnamed = died.is_some() && !self.knows_keys(partition, told);
        self.out.push(Output::Reopen { partition, died, unnamed, asked: true });
        self.serve(partition);
    }

    /// Serves a copy again that was sent and was not installed.
    pub(super) fn reopen_unasked(&mut self, partition: Partition) {
        self.out.push(Output::Reopen { partition, died: None, unnamed: false, asked: false });
        self.serve(partition);
    }

    /// Whether a partition comes from a member that was apart: what a member of this side held beside it is to be remembered until then.
    pub(super) fn receives_from_apart(&self) -> bool {
        self.slots.iter().any(|(_, slot)| matches!(slot, Slot::Receiving { from, .. } if self.sides.is_apart(from)))
    }

    /// How many members of the last common view this member's side has, but for those of whom it is not known yet on which side they
    /// began.
    pub(super) fn side(&self) -> u32 {
        let is_known =
            |name: &&MemberName| !self.sides.joined(name) || self.peers.get(name).is_some_and(|peer| peer.met);
        self.sides.count(self.peers.live().filter(is_known).chain([&self.me]))
    }

    /// The count that stands for the copy that is here.
    pub(super) fn side_of(&self, partition: Partition) -> u32 {
        self.sides.standing(partition).unwrap_or_else(|| self.side())
    }
}
