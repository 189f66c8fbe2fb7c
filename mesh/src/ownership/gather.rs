//! Gathering: a member that begins to serve what no member holds first learns all keys that any member was told of, so that what is
//! lost is named exactly, no matter which member was told, and which serves now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::claims::{Claim, Claims};
use super::peers::Peers;
use super::{Output, Ownership, Slot};
use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::partition_set::PartitionSet;
use statemesh_protocol::peer::ownership::{OwnershipMessage, Purpose};

/// Keys of a partition that are still to come.
#[derive(Debug)]
pub(super) struct Gather {
    pub(super) purpose: Purpose,
    /// Who was told of keys, and has not passed all of them on.
    pub(super) sources: BTreeSet<MemberName>,
    pub(super) denied: Option<MemberName>,
    /// A member has passed on all that it was told, which was everything.
    pub(super) told: bool,
}

impl Claims {
    /// Takes out what all keys have come of, but for those that died with the members that were told of them; some of it `waits`.
    fn take_gathered(&mut self, peers: &Peers, waits: impl Fn(Partition) -> bool) -> Vec<(Partition, Gather)> {
        let is_gathered = |partition: &Partition, gather: &mut Gather| {
            gather.sources.retain(|source| peers.contains(source));
            gather.sources.is_empty() && !waits(*partition)
        };
        self.gathers.extract_if(.., is_gathered).collect()
    }

    /// Takes out what is gathered for this purpose, as a claim that asks about it.
    fn take_for_claim(&mut self, purpose: Purpose) -> Claim {
        let mut claim = Claim::new(purpose, PartitionSet::new());
        for (partition, gather) in self.gathers.extract_if(.., |_, gather| gather.purpose == purpose) {
            claim.set.insert(partition);
            claim.indexed.insert(partition, gather.sources);
            if gather.told {
                claim.told.insert(partition);
            }
            claim.asked.insert(partition, gather.denied.into_iter().collect());
        }
        claim
    }

    /// Takes out all that is asked about for this purpose.
    fn take_all(&mut self, purpose: Purpose) -> PartitionSet {
        let gathered = self.gathers.extract_if(.., |_, gather| gather.purpose == purpose);
        let mut set: PartitionSet = gathered.map(|(partition, _)| partition).collect();
        for (_, claim) in self.open.extract_if(.., |_, claim| claim.purpose == purpose) {
            for partition in claim.set.iter() {
                set.insert(partition);
            }
        }
        set
    }

    /// A member has passed on what it was told of the keys of a partition: `whole`, if that was everything.
    fn told(&mut self, partition: Partition, from: &MemberName, whole: bool) {
        if let Some(gather) = self.gathers.get_mut(&partition) {
            gather.told |= gather.sources.remove(from) && whole;
        }
    }
}

impl Ownership {
    /// No member holds these, and members were told of their keys.
    pub(super) fn gather(&mut self, concluded: Vec<(Partition, Gather)>, now: Instant) {
        let mut questions: BTreeMap<(MemberName, Purpose), PartitionSet> = BTreeMap::new();
        for (partition, gather) in concluded {
            for source in &gather.sources {
                questions.entry((source.clone(), gather.purpose)).or_default().insert(partition);
            }
            self.claims.gathers.insert(partition, gather);
        }
        for ((source, purpose), set) in questions {
            self.fetch(&source, purpose, set);
        }
        self.advance_gathers(now);
    }

    fn fetch(&mut self, source: &MemberName, purpose: Purpose, set: PartitionSet) {
        if !set.is_empty() && self.peers.is_linked(source) {
            self.out.send(source, OwnershipMessage::Fetch { purpose, set });
        }
    }

    /// Serves what all keys are known of, or those that knew them died. What was held by a member whose death may be a rumour of
    /// those who come back waits until it has had time to say that it is not dead.
    pub(super) fn advance_gathers(&mut self, now: Instant) {
        if self.claims.gathers.is_empty() {
            return;
        }
        let (sides, holders, side) = (&self.sides, &self.holders, self.side());
        let may_be_held =
            |partition| holders.lost_with(partition).is_some_and(|name| sides.may_be_a_rumour(name, side));
        let gathered = self.claims.take_gathered(&self.peers, may_be_held);
        if self.claims.gathers.keys().any(|partition| may_be_held(*partition)) {
            self.review.retry_after(now);
        }
        for (partition, Gather { purpose, denied, told, .. }) in gathered {
            match purpose {
                Purpose::Claim => self.adopt(partition, denied, told),
                Purpose::Doubt => self.reopen(partition, denied, told),
            }
        }
    }

    /// Whether keys of a partition may come from others, for this member to serve it.
    #[must_use]
    pub fn gathers(&self, partition: Partition) -> bool {
        matches!(self.slots.get(partition), Some(Slot::Claiming | Slot::Doubtful { asking: true }))
    }

    /// Whether the keys that a partition had are known: a member has `told` them, or this one was told itself.
    pub(super) fn knows_keys(&self, partition: Partition, told: bool) -> bool {
        told || self.told.all(partition)
    }

    /// A member passed on all keys of these that it was told of.
    pub(super) fn told_all(&mut self, from: &MemberName, set: &PartitionSet, whole: &PartitionSet) {
        for partition in self.slots.known(set) {
            self.claims.told(partition, from, whole.contains(partition));
        }
    }

    /// A member asks for the keys of these.
    pub(super) fn fetched(&mut self, from: &MemberName, purpose: Purpose, set: &PartitionSet) {
        let set: PartitionSet = self.slots.known(set).into_iter().collect();
        self.out.push(Output::Relay { to: from.clone(), purpose, set });
    }

    /// A member that was met, or met again, while keys are gathered may hold what they are about: it is asked like all others
    /// before, and what it was asked for over an old link is asked for again after that.
    pub(super) fn reclaim(&mut self, name: &MemberName) {
        for purpose in [Purpose::Claim, Purpose::Doubt] {
            let mut claim = self.claims.take_for_claim(purpose);
            claim.waiting.insert(name.clone());
            self.ask_for(claim);
        }
    }

    /// Asks all members anew about everything that is asked now: answers to the earlier questions count for nothing.
    pub(super) fn ask_anew(&mut self) {
        for purpose in [Purpose::Claim, Purpose::Doubt] {
            let set = self.claims.take_all(purpose);
            self.start_claim(Claim::new(purpose, set));
        }
    }

    /// Another member holds the partition after all, or is to claim it.
    pub(super) fn end_claim(&mut self, partition: Partition) {
        let slot = match self.slots.get(partition) {
            Some(Slot::Claiming) => Slot::Elsewhere,
            Some(Slot::Doubtful { asking: true }) => Slot::Doubtful { asking: false },
            _ => return,
        };
        self.slots.set(partition, slot);
        self.claims.end(partition);
        // A copy in doubt may be offered now.
        self.review.request();
    }
}
