//! What is under way with whole partitions: orders that wait, parts that have arrived, and parts that are to be sent.

use statemesh_mesh::delivery::arrivals::Arrivals;
use statemesh_transport::ConnId;

use super::leaving::Leaving;
use super::orders::Deferred;

/// What is under way with the partitions of one reactor.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    /// Parts of partitions that move here, and wait for definitions.
    pub(super) arrivals: Arrivals<ConnId>,
    /// What is to be done with partitions whose shard another thread had.
    pub(super) deferred: Deferred,
    /// Parts of partitions that move away, and wait for room on their link.
    pub(super) leaving: Leaving,
}

impl Partitions {
    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.arrivals.is_empty() && self.deferred.is_empty() && self.leaving.is_empty()
    }

    /// The link to a member is gone: nothing goes to it that was to go on this link.
    pub(super) fn link_lost(&mut self, member: u32) {
        self.leaving.link_lost(member);
        self.deferred.link_lost(member);
    }

    /// A member is gone: nothing goes to the next process of its name that was to go to this one.
    pub(super) fn member_gone(&mut self, member: u32) {
        self.link_lost(member);
        self.deferred.member_gone(member);
    }

    /// A link of a member has ended: what came on it, and is not done, is discarded.
    pub(super) fn lane_ended(&mut self, conn: ConnId) {
        self.arrivals.link_ended(&conn);
        self.deferred.lane_ended(conn);
    }

    /// Events for a partition go somewhere: it is not handed off any more.
    pub(super) fn withdraw(&mut self, partition: u16) {
        self.deferred.withdraw(partition);
        self.leaving.withdraw(partition);
    }
}
