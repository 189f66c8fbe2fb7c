//! Which hand-offs to this member arrived: their senders may ask after a link has ended.

use std::collections::BTreeMap;

use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::peer::ownership::HandoffNumber;

/// The last of each partition from each member that is there.
type Numbers = BTreeMap<(MemberName, Partition), HandoffNumber>;

#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// Hand-offs that were installed here.
    installed: Numbers,
    /// Merges that were given up: their last part may have been merged before.
    given_up: Numbers,
}

impl Arrivals {
    pub(super) fn install(&mut self, partition: Partition, number: HandoffNumber, from: &MemberName) {
        self.installed.insert((from.clone(), partition), number);
    }

    /// The last part of a hand-off was merged. If it was given up, before that was known, it is installed after all.
    pub(super) fn install_given_up(&mut self, partition: Partition, number: HandoffNumber, from: &MemberName) {
        if self.given_up.get(&(from.clone(), partition)) == Some(&number) {
            self.install(partition, number, from);
        }
    }

    pub(super) fn is_installed(&self, partition: Partition, number: HandoffNumber, from: &MemberName) -> bool {
        self.installed.get(&(from.clone(), partition)) == Some(&number)
    }

    pub(super) fn give_up(&mut self, partition: Partition, number: HandoffNumber, from: &MemberName) {
        self.given_up.insert((from.clone(), partition), number);
    }

    /// What arrived from these is not asked for any more.
    pub(super) fn forget(&mut self, is_over: impl Fn(&MemberName) -> bool) {
        self.installed.retain(|(from, _), _| !is_over(from));
        self.given_up.retain(|(from, _), _| !is_over(from));
    }
}
