//! Claims: asking everyone before taking what no member holds, or serving again what is in doubt; and answering those who ask.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::gather::Gather;
use super::peers::Peers;
use super::{Output, Ownership, Phase, Slot};
use crate::placement::outranks;
use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::partition_set::PartitionSet;
use statemesh_protocol::peer::ownership::{Answer, Known, OwnershipMessage, Purpose};

/// A claim asks again at most this often, when answers name holders that had denied. Each round follows a partition through
/// one more hand-off, and a partition is not handed over three times in a round trip.
const MAX_ROUNDS: u8 = 4;

/// Partitions that this member asks everyone about. Each round has an id of its own: an answer to an earlier one says nothing of
/// what was handed over since.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) purpose: Purpose,
    pub(super) set: PartitionSet,
    /// Who has not answered this round.
    pub(super) waiting: BTreeSet<MemberName>,
    /// Holders that this round's answers named.
    named: BTreeMap<Partition, BTreeSet<MemberName>>,
    /// Holders named in earlier rounds, all of whom have been asked since.
    pub(super) asked: BTreeMap<Partition, BTreeSet<MemberName>>,
    /// Who was told of keys.
    pub(super) indexed: BTreeMap<Partition, BTreeSet<MemberName>>,
    /// Of these a member has passed on all keys that it was told of.
    pub(super) told: PartitionSet,
    round: u8,
}

impl Claim {
    pub(super) fn new(purpose: Purpose, set: PartitionSet) -> Self {
        let (named, asked, indexed) = Default::default();
        Self { purpose, set, waiting: BTreeSet::new(), named, asked, indexed, told: PartitionSet::new(), round: 1 }
    }
}

/// Another member's claim, kept to tell a second claimant.
#[derive(Debug)]
pub(super) struct Remembered {
    by: MemberName,
    until: Instant,
}

/// What this member asks everyone about, and what others claim.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// By the ids of their last questions.
    pub(super) open: BTreeMap<u64, Claim>,
    /// Claims that are over but for the keys that others were told of.
    pub(super) gathers: BTreeMap<Partition, Gather>,
    remembered: BTreeMap<Partition, Remembered>,
}

impl Claims {
    /// All open claims wait for one more member. Gives what it is to be asked.
    fn wait_for(&mut self, name: &MemberName) -> Vec<(u64, Purpose, PartitionSet)> {
        let ask = |(id, claim): (&u64, &mut Claim)| {
            claim.waiting.insert(name.clone());
            (*id, claim.purpose, claim.set.clone())
        };
        self.open.iter_mut().map(ask).collect()
    }

    /// Takes out the claims that all have answered, or have died, and that may be concluded.
    fn take_answered(&mut self, peers: &Peers, may_conclude: impl Fn(Purpose) -> bool) -> Vec<Claim> {
        let is_answered = |_: &u64, claim: &mut Claim| {
            claim.waiting.retain(|name| peers.contains(name));
            claim.waiting.is_empty() && may_conclude(claim.purpose)
        };
        self.open.extract_if(.., is_answered).map(|(_, claim)| claim).collect()
    }

    /// A partition is no longer asked about.
    pub(super) fn end(&mut self, partition: Partition) {
        self.gathers.remove(&partition);
        for claim in self.open.values_mut() {
            claim.set.remove(partition);
        }
        self.open.retain(|_, claim| !claim.set.is_empty());
    }

    /// Remembers the first claim that another member makes.
    fn remember(&mut self, partition: Partition, by: &MemberName, until: Instant) {
        self.remembered.entry(partition).or_insert_with(|| Remembered { by: by.clone(), until });
    }

    pub(super) fn forget_remembered(&mut self, partition: Partition) {
        self.remembered.remove(&partition);
    }

    fn expire_remembered(&mut self, now: Instant) {
        self.remembered.retain(|_, claim| claim.until > now);
    }

    /// The other member that claimed a partition lately.
    fn claimant(&self, partition: Partition) -> Option<&MemberName> {
        self.remembered.get(&partition).map(|claim| &claim.by)
    }
}

impl Ownership {
    /// Claims every partition that is this member's by its view and that it knows no holder of. With `recheck`, also those
    /// whose holder it knows and waits for.
    pub(super) fn claim_what_is_mine(&mut self, recheck: bool, now: Instant) {
        if self.phase != Phase::Active {
            return;
        }
        let (mut set, mut waits) = (PartitionSet::new(), false);
        for partition in self.slots.partitions() {
            let mine = self.view.owner(partition) == Some(&self.me);
            if !mine || self.slots[partition] != Slot::Elsewhere || self.review.is_held_off(partition) {
                continue;
            }
            let known = self.holders.of(partition);
            if !recheck && known.is_some_and(|holder| self.peers.contains(holder)) {
                waits = true;
            } else {
                set.insert(partition);
            }
        }
        if waits || !set.is_empty() {
            self.review.recheck_after(now);
        }
        self.start_claim(Claim::new(Purpose::Claim, set));
    }

    /// Asks everyone.
    pub(super) fn start_claim(&mut self, mut claim: Claim) {
        claim.waiting = self.peers.names().cloned().collect();
        self.ask_for(claim);
    }

    /// Asks those that the claim waits for.
    pub(super) fn ask_for(&mut self, claim: Claim) {
        if claim.set.is_empty() {
            return;
        }
        for p in claim.set.iter() {
            let slot = match claim.purpose {
                Purpose::Claim => Slot::Claiming,
                Purpose::Doubt => Slot::Doubtful { asking: true },
            };
            self.slots.set(p, slot);
        }
        let id = self.next_id();
        for name in &claim.waiting {
            self.ask(id, claim.purpose, &claim.set, name);
        }
        self.claims.open.insert(id, claim);
    }

    fn ask(&mut self, id: u64, purpose: Purpose, set: &PartitionSet, whom: &MemberName) {
        if self.peers.is_linked(whom) {
            let set = set.clone();
            self.out.send(whom, OwnershipMessage::Query { id, purpose, set });
        }
    }

    /// A member that was met, or met again, while claims wait is asked as well: it may hold what they are about.
    pub(super) fn ask_again(&mut self, name: &MemberName) {
        for (id, purpose, set) in self.claims.wait_for(name) {
            self.ask(id, purpose, &set, name);
        }
        self.reclaim(name);
    }

    /// Takes or asks again, wherever all have answered or have died.
    pub(super) fn advance_claims(&mut self, now: Instant) {
        let are_all_back = self.unheard.are_all_back();
        let may_conclude = |purpose| purpose == Purpose::Claim || are_all_back;
        for claim in self.claims.take_answered(&self.peers, may_conclude) {
            self.conclude(claim, now);
        }
        self.advance_gathers(now);
    }

    fn conclude(&mut self, mut claim: Claim, now: Instant) {
        let last = claim.round >= MAX_ROUNDS;
        let (mut again, mut unheld) = (PartitionSet::new(), Vec::new());
        for p in claim.set.iter() {
            let named = claim.named.remove(&p).unwrap_or_default();
            let asked = claim.asked.entry(p).or_default();
            if last || named.is_subset(asked) {
                let sources = claim.indexed.remove(&p).unwrap_or_default();
                let told = claim.told.contains(p);
                unheld.push((p, Gather { purpose: claim.purpose, sources, denied: asked.first().cloned(), told }));
            } else {
                asked.extend(named);
                again.insert(p);
            }
        }
        claim.set = again;
        claim.round += 1;
        self.start_claim(claim);
        self.gather(unheld, now);
    }

    /// Adopts a partition that no member holds. `denied` was named its holder by another member, but said that it is not.
    pub(super) fn adopt(&mut self, partition: Partition, denied: Option<MemberName>, told: bool) {
        let lost_from = self.holders.lost_with(partition).cloned().or(denied);
        let unnamed = lost_from.is_some() && !self.knows_keys(partition, told);
        self.out.push(Output::Adopt { partition, lost_from, unnamed });
        self.serve(partition);
    }

    pub(super) fn abandon_claims(&mut self) {
        for partition in self.slots.partitions() {
            if self.slots[partition] == Slot::Claiming {
                self.end_claim(partition);
            }
        }
    }

    /// Leaves a partition to another member for a while.
    fn yield_claim(&mut self, partition: Partition, now: Instant) {
        self.end_claim(partition);
        self.review.hold_off(partition, now);
    }

    pub(super) fn answer(&mut self, from: &MemberName, id: u64, answer: &Answer, now: Instant) {
        if self.unheard.is_since_doubt(id) {
            self.heard_from(from);
        }
        let Some(claim) = self.claims.open.get_mut(&id) else {
            return;
        };
        claim.waiting.remove(from);
        let (purpose, about) = (claim.purpose, claim.set.clone());
        let ours = |set: &PartitionSet| -> Vec<Partition> { set.iter().filter(|p| about.contains(*p)).collect() };
        for p in ours(&answer.indexed) {
            claim.indexed.entry(p).or_default().insert(from.clone());
        }
        // A member that has a copy need not serve it: what dead members told of the keys goes only when the holder says that it
        // serves them.
        for p in ours(&answer.receiving).into_iter().chain(ours(&answer.held)) {
            self.note_holder(p, from);
        }
        if purpose == Purpose::Claim {
            self.outranked(from, answer, &ours, now);
        }
        for Known { member, set } in
            answer.lost.iter().filter(|known| known.member != self.me || purpose == Purpose::Claim)
        {
            ours(set).into_iter().for_each(|p| self.holders.may_be_lost_with(p, member));
        }
        for Known { member, set } in &answer.elsewhere {
            ours(set).into_iter().for_each(|p| self.named(id, p, member, now));
        }
    }

    /// Yields what better claimants claim.
    fn outranked(
        &mut self,
        from: &MemberName,
        answer: &Answer,
        ours: &impl Fn(&PartitionSet) -> Vec<Partition>,
        now: Instant,
    ) {
        for p in ours(&answer.claiming) {
            if outranks(from, &self.me, p) {
                self.yield_claim(p, now);
            }
        }
        for Known { member, set } in &answer.claimed {
            // A claimant that this member knows is asked itself, and the two compare ranks.
            if *member != self.me && !self.peers.contains(member) {
                ours(set).into_iter().for_each(|p| self.yield_claim(p, now));
            }
        }
    }

    /// An answer names `holder` as the holder of a partition that this member claims.
    fn named(&mut self, id: u64, partition: Partition, holder: &MemberName, now: Instant) {
        if *holder == self.me || self.holders.lost_with(partition) == Some(holder) {
            return;
        }
        if !self.peers.contains(holder) {
            self.yield_claim(partition, now);
        } else if let Some(claim) = self.claims.open.get_mut(&id)
            && claim.set.contains(partition)
        {
            let named = claim.named.entry(partition).or_default();
            named.insert(holder.clone());
        }
    }

    pub(super) fn query(&mut self, from: &MemberName, id: u64, purpose: Purpose, set: &PartitionSet, now: Instant) {
        self.claims.expire_remembered(now);
        let mut answer = Answer::default();
        for p in self.slots.known(set) {
            if purpose == Purpose::Claim {
                self.give_way(from, p, now);
            }
            self.describe(from, purpose, p, &mut answer);
            if purpose == Purpose::Claim && self.slots[p] == Slot::Elsewhere {
                self.claims.remember(p, from, now + self.settings.claim_memory);
            }
        }
        let answer = Box::new(answer);
        self.out.send(from, OwnershipMessage::Answer { id, answer });
    }

    /// Of two claimants the preferred one goes on.
    fn give_way(&mut self, claimant: &MemberName, partition: Partition, now: Instant) {
        if self.slots[partition] == Slot::Claiming && outranks(claimant, &self.me, partition) {
            self.yield_claim(partition, now);
        }
    }

    fn describe(&mut self, asker: &MemberName, purpose: Purpose, partition: Partition, answer: &mut Answer) {
        if self.slots.holds(partition) {
            answer.held.insert(partition);
            return;
        }
        match &self.slots[partition] {
            // What the asker offered, and withdraws, is no other copy.
            Slot::Receiving { from, .. } if from == asker && purpose == Purpose::Doubt => {}
            Slot::Receiving { .. } => {
                answer.receiving.insert(partition);
            }
            Slot::Claiming => {
                answer.claiming.insert(partition);
            }
            _ => {}
        }
        if self.told.any(partition) {
            answer.indexed.insert(partition);
        }
        match self.holders.of(partition) {
            // One that doubts its own copy.
            Some(holder) if holder == asker && purpose == Purpose::Doubt => {}
            // What an earlier process of the asker's name held.
            Some(holder) if holder == asker => add(&mut answer.lost, asker, partition),
            Some(holder) if self.peers.contains(holder) => {
                add(&mut answer.elsewhere, holder, partition);
            }
            _ => {}
        }
        if let Some(dead) = self.holders.lost_with(partition) {
            add(&mut answer.lost, dead, partition);
        }
        if let Some(claimant) = self.claims.claimant(partition).filter(|claimant| *claimant != asker) {
            add(&mut answer.claimed, claimant, partition);
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
