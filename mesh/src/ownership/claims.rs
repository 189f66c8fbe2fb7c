//! Claims: asking everyone before taking what nobody holds, and answering those who ask.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::message::{Answer, Known, OwnershipMessage, Purpose};
use super::set::PartitionSet;
use super::{Output, Ownership, Slot};
use crate::identity::MemberName;
use crate::placement::{Partition, outranks};

/// A claim asks again at most this often, when answers name holders that had denied. Each round follows a partition through
/// one more hand-over, and a partition is not handed over three times in a round trip.
const MAX_ROUNDS: u8 = 4;

/// Partitions that this member asks everyone about.
#[derive(Debug)]
pub(super) struct Claim {
    set: PartitionSet,
    /// Who has not answered this round.
    waiting: BTreeSet<MemberName>,
    /// Holders that this round's answers named.
    named: BTreeMap<Partition, BTreeSet<MemberName>>,
    /// Holders named in earlier rounds, all of whom have been asked since.
    asked: BTreeMap<Partition, BTreeSet<MemberName>>,
    round: u8,
}

/// Somebody else's claim, kept to tell a second claimant.
#[derive(Debug)]
pub(super) struct Remembered {
    by: MemberName,
    until: Instant,
}

impl Ownership {
    /// Claims every partition that is this member's by its view and that it knows no holder of. With `recheck`, also those
    /// whose holder it knows and waits for.
    pub(super) fn claim_what_is_mine(&mut self, recheck: bool, now: Instant) {
        if !self.active || self.leaving {
            return;
        }
        let (mut set, mut waits) = (PartitionSet::new(), false);
        for p in 0..self.slots.len() {
            let partition = p as Partition;
            let mine = self.view.owner(partition) == Some(&self.me);
            if !mine || self.slots[p] != Slot::Elsewhere || self.held_off.contains_key(&partition) {
                continue;
            }
            let known = self.holders[p].as_ref();
            if !recheck && known.is_some_and(|holder| self.peers.contains_key(holder)) {
                waits = true;
            } else {
                set.insert(partition);
            }
        }
        if (waits || !set.is_empty()) && self.recheck_at.is_none() {
            self.recheck_at = Some(now + self.settings.recheck);
        }
        self.start_claim(set);
    }

    fn start_claim(&mut self, set: PartitionSet) {
        if set.is_empty() {
            return;
        }
        for p in set.iter() {
            self.set_slot(p, Slot::Claiming);
        }
        self.last_id += 1;
        let claim = Claim {
            set,
            waiting: self.peers.keys().cloned().collect(),
            named: BTreeMap::new(),
            asked: BTreeMap::new(),
            round: 1,
        };
        self.ask(self.last_id, &claim.set, claim.waiting.iter());
        self.claims.insert(self.last_id, claim);
    }

    fn ask<'a>(&mut self, id: u64, set: &PartitionSet, whom: impl Iterator<Item = &'a MemberName>) {
        for name in whom {
            if self.peers.get(name).is_some_and(|peer| peer.linked) {
                let (purpose, set) = (Purpose::Claim, set.clone());
                self.send(name, OwnershipMessage::Query { id, purpose, set });
            }
        }
    }

    /// A member that was met, or met again, while claims wait is asked as well: it may hold what they are about.
    pub(super) fn ask_again(&mut self, name: &MemberName) {
        let mut questions = Vec::new();
        for (id, claim) in &mut self.claims {
            claim.waiting.insert(name.clone());
            questions.push((*id, claim.set.clone()));
        }
        for (id, set) in questions {
            self.ask(id, &set, std::iter::once(name));
        }
    }

    /// Takes or asks again, wherever all have answered or have died.
    pub(super) fn advance_claims(&mut self) {
        let mut ready = Vec::new();
        for (id, claim) in &mut self.claims {
            claim.waiting.retain(|name| self.peers.contains_key(name));
            if claim.waiting.is_empty() {
                ready.push(*id);
            }
        }
        for id in ready {
            if let Some(claim) = self.claims.remove(&id) {
                self.conclude(id, claim);
            }
        }
    }

    fn conclude(&mut self, id: u64, mut claim: Claim) {
        let last = claim.round >= MAX_ROUNDS;
        let mut again = PartitionSet::new();
        for p in claim.set.iter() {
            let named = claim.named.remove(&p).unwrap_or_default();
            let asked = claim.asked.entry(p).or_default();
            if last || named.is_subset(asked) {
                self.take(p, asked.first().cloned());
            } else {
                asked.extend(named);
                again.insert(p);
            }
        }
        if again.is_empty() {
            return;
        }
        claim.set = again;
        claim.round += 1;
        claim.waiting = self.peers.keys().cloned().collect();
        self.ask(id, &claim.set, claim.waiting.iter());
        self.claims.insert(id, claim);
    }

    /// Takes a partition that nobody holds. `denied` was named its holder by somebody, but said that it is not.
    fn take(&mut self, partition: Partition, denied: Option<MemberName>) {
        let lost_from = self.lost[usize::from(partition)].clone().or(denied);
        self.serve(partition);
        self.out.push_back(Output::Take { partition, fresh: lost_from.is_none(), lost_from });
    }

    pub(super) fn abandon_claims(&mut self) {
        for claim in std::mem::take(&mut self.claims).into_values() {
            for p in claim.set.iter() {
                self.set_slot(p, Slot::Elsewhere);
            }
        }
    }

    pub(super) fn unclaim(&mut self, partition: Partition) {
        for claim in self.claims.values_mut() {
            claim.set.remove(partition);
        }
        self.claims.retain(|_, claim| !claim.set.is_empty());
    }

    /// Leaves a partition to somebody else for a while.
    fn yield_claim(&mut self, partition: Partition, now: Instant) {
        self.set_slot(partition, Slot::Elsewhere);
        self.unclaim(partition);
        self.held_off.insert(partition, now + self.settings.retry);
        self.retry_after(now);
    }

    pub(super) fn answer(&mut self, from: &MemberName, id: u64, answer: &Answer, now: Instant) {
        if self.confirmation(from, id, answer) {
            return;
        }
        let Some(claim) = self.claims.get_mut(&id) else {
            return;
        };
        claim.waiting.remove(from);
        let about = claim.set.clone();
        let ours = |set: &PartitionSet| -> Vec<Partition> { set.iter().filter(|p| about.contains(*p)).collect() };
        for p in ours(&answer.receiving).into_iter().chain(ours(&answer.held)) {
            self.note_holder(p, from);
        }
        for p in ours(&answer.claiming) {
            if outranks(from, &self.me, p) {
                self.yield_claim(p, now);
            }
        }
        for Known { member, set } in &answer.claimed {
            // A claimant that this member knows is asked itself, and the two compare ranks.
            if *member != self.me && !self.peers.contains_key(member) {
                ours(set).into_iter().for_each(|p| self.yield_claim(p, now));
            }
        }
        for Known { member, set } in &answer.lost {
            for p in ours(set) {
                self.lost[usize::from(p)].get_or_insert_with(|| member.clone());
            }
        }
        for Known { member, set } in &answer.elsewhere {
            ours(set).into_iter().for_each(|p| self.named(id, p, member, now));
        }
    }

    /// An answer names `holder` as the holder of a partition that this member claims.
    fn named(&mut self, id: u64, partition: Partition, holder: &MemberName, now: Instant) {
        if *holder == self.me || self.lost[usize::from(partition)].as_ref() == Some(holder) {
            return;
        }
        if !self.peers.contains_key(holder) {
            self.yield_claim(partition, now);
        } else if let Some(claim) = self.claims.get_mut(&id)
            && claim.set.contains(partition)
        {
            let named = claim.named.entry(partition).or_default();
            named.insert(holder.clone());
        }
    }

    pub(super) fn query(&mut self, from: &MemberName, id: u64, purpose: Purpose, set: &PartitionSet, now: Instant) {
        self.remembered.retain(|_, claim| claim.until > now);
        let mut answer = Answer::default();
        for p in self.known(set) {
            match purpose {
                Purpose::Claim => self.give_way(from, p, now),
                Purpose::Confirm => self.forget_half_received(from, p),
            }
            self.describe(from, p, &mut answer);
            if purpose == Purpose::Claim && self.slots[usize::from(p)] == Slot::Elsewhere {
                self.remembered
                    .entry(p)
                    .or_insert_with(|| Remembered { by: from.clone(), until: now + self.settings.claim_memory });
            }
        }
        let answer = Box::new(answer);
        self.send(from, OwnershipMessage::Answer { id, answer });
    }

    /// Of two claimants the preferred one goes on.
    fn give_way(&mut self, claimant: &MemberName, partition: Partition, now: Instant) {
        if self.slots[usize::from(partition)] == Slot::Claiming && outranks(claimant, &self.me, partition) {
            self.yield_claim(partition, now);
        }
    }

    fn describe(&mut self, asker: &MemberName, partition: Partition, answer: &mut Answer) {
        let p = usize::from(partition);
        match &self.slots[p] {
            Slot::Held | Slot::Offered { .. } | Slot::Sending { .. } => {
                answer.held.insert(partition);
            }
            Slot::Receiving { merge: true, .. } => {
                answer.held.insert(partition);
            }
            Slot::Receiving { merge: false, .. } => {
                answer.receiving.insert(partition);
            }
            Slot::Claiming => {
                answer.claiming.insert(partition);
            }
            Slot::Elsewhere => {}
        }
        if self.holds(partition) {
            return;
        }
        match self.holders[p].as_ref() {
            // What an earlier process of the asker's name held.
            Some(holder) if holder == asker => add(&mut answer.lost, asker, partition),
            Some(holder) if self.peers.contains_key(holder) => {
                add(&mut answer.elsewhere, holder, partition);
            }
            _ => {}
        }
        if let Some(dead) = &self.lost[p] {
            add(&mut answer.lost, dead, partition);
        }
        if let Some(claim) = self.remembered.get(&partition)
            && claim.by != *asker
        {
            add(&mut answer.claimed, &claim.by, partition);
        }
    }
}

fn add(list: &mut Vec<Known>, member: &MemberName, partition: Partition) {
    match list.iter_mut().find(|known| known.member == *member) {
        Some(known) => {
            known.set.insert(partition);
        }
        None => list.push(Known { member: member.clone(), set: std::iter::once(partition).collect() }),
    }
}
