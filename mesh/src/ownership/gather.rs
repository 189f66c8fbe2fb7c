//! Gathering: who begins to serve what nobody holds first learns all keys that any member was told of, so that what is lost is
//! named exactly, whoever was told, and whoever serves now.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::Claim;
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

impl Ownership {
    /// Nobody holds these, and members were told of their keys.
    pub(super) fn gather(&mut self, concluded: Vec<(Partition, Gather)>) {
        let mut questions: BTreeMap<(MemberName, Purpose), PartitionSet> = BTreeMap::new();
        for (partition, gather) in concluded {
            for source in &gather.sources {
                questions.entry((source.clone(), gather.purpose)).or_default().insert(partition);
            }
            self.gathers.insert(partition, gather);
        }
        for ((source, purpose), set) in questions {
            self.fetch(&source, purpose, set);
        }
        self.advance_gathers();
    }

    fn fetch(&mut self, source: &MemberName, purpose: Purpose, set: PartitionSet) {
        if !set.is_empty() && self.peers.get(source).is_some_and(|peer| peer.linked) {
            self.send(source, OwnershipMessage::Fetch { purpose, set });
        }
    }

    /// Serves what all keys are known of, or whoever knew them died.
    pub(super) fn advance_gathers(&mut self) {
        let mut ready = Vec::new();
        for (partition, gather) in &mut self.gathers {
            gather.sources.retain(|source| self.peers.contains_key(source));
            if gather.sources.is_empty() {
                ready.push(*partition);
            }
        }
        for partition in ready {
            if let Some(Gather { purpose, denied, told, .. }) = self.gathers.remove(&partition) {
                match purpose {
                    Purpose::Claim => self.take(partition, denied, told),
                    Purpose::Doubt => self.reopen(partition, denied, told),
                }
            }
        }
    }

    /// Whether keys of a partition may come from others, for this member to serve it.
    #[must_use]
    pub fn gathers(&self, partition: Partition) -> bool {
        matches!(self.slots.get(usize::from(partition)), Some(Slot::Claiming | Slot::Doubtful { asking: true }))
    }

    /// Whether the keys that a partition had are known: a member has `told` them, or this one was told itself.
    pub(super) fn knows_keys(&self, partition: Partition, told: bool) -> bool {
        told || self.indexed.whole.contains(partition)
    }

    /// A member passed on all keys of these that it was told of.
    pub(super) fn told(&mut self, from: &MemberName, set: &PartitionSet, whole: &PartitionSet) {
        for partition in self.known(set) {
            if let Some(gather) = self.gathers.get_mut(&partition) {
                gather.told |= gather.sources.remove(from) && whole.contains(partition);
            }
        }
    }

    /// A member asks for the keys of these.
    pub(super) fn fetched(&mut self, from: &MemberName, purpose: Purpose, set: &PartitionSet) {
        let set: PartitionSet = self.known(set).into_iter().collect();
        self.out.push_back(Output::Relay { to: from.clone(), purpose, set });
    }

    /// A member that was met, or met again, while keys are gathered may hold what they are about: it is asked like all others
    /// before, and what it was asked for over an old link is asked for again after that.
    pub(super) fn reclaim(&mut self, name: &MemberName) {
        for purpose in [Purpose::Claim, Purpose::Doubt] {
            let mut claim = Claim::new(purpose, PartitionSet::new());
            claim.waiting.insert(name.clone());
            let mine = |_: &Partition, gather: &mut Gather| gather.purpose == purpose;
            for (partition, gather) in self.gathers.extract_if(.., mine) {
                claim.set.insert(partition);
                claim.indexed.insert(partition, gather.sources);
                if gather.told {
                    claim.told.insert(partition);
                }
                claim.asked.insert(partition, gather.denied.into_iter().collect());
            }
            self.ask_for(claim);
        }
    }

    /// Asks everybody anew about everything that is asked now: answers to the earlier questions count for nothing.
    pub(super) fn ask_anew(&mut self) {
        for purpose in [Purpose::Claim, Purpose::Doubt] {
            let gathered = self.gathers.extract_if(.., |_, gather| gather.purpose == purpose);
            let mut set: PartitionSet = gathered.map(|(partition, _)| partition).collect();
            for (_, claim) in self.claims.extract_if(.., |_, claim| claim.purpose == purpose) {
                for partition in claim.set.iter() {
                    set.insert(partition);
                }
            }
            self.start_claim(Claim::new(purpose, set));
        }
    }

    /// Somebody holds the partition after all, or is to claim it.
    pub(super) fn end_claim(&mut self, partition: Partition) {
        let slot = match self.slots.get(usize::from(partition)) {
            Some(Slot::Claiming) => Slot::Elsewhere,
            Some(Slot::Doubtful { asking: true }) => Slot::Doubtful { asking: false },
            _ => return,
        };
        self.set_slot(partition, slot);
        self.gathers.remove(&partition);
        self.unclaim(partition);
        // A copy in doubt may be offered now.
        self.review = true;
    }
}
