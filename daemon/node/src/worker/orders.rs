//! What is to be done with whole partitions: what the control plane decided, and the parts of those that move here.
//!
//! A reactor waits for nothing. An order for a shard that another thread has is deferred, or one that a standby has no room for, and so are
//! those for the same partition that come after it, until the next turn: what concerns one partition happens in the order in which it
//! was ordered, and holds back no other one. What is said to members waits behind some of them, so none waits for long: a standby that
//! takes nothing for [`STANDBY_PATIENCE`] loses its link, and is told everything on the next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use statemesh_shard::State;
use statemesh_transport::{ConnId, Io};

use super::Worker;
use super::peering::Part;
use crate::mailbox::{Behind, Command, ToControl};

/// How long a partition waits to be served for a standby that has no room for its lost keys.
const STANDBY_PATIENCE: Duration = Duration::from_secs(1);

/// Something to be done with a partition.
#[derive(Debug)]
enum Order {
    /// The control plane decided it.
    Decided(u16, Command),
    /// A part of it has arrived.
    Receive(Part),
}

impl Order {
    fn partition(&self) -> u16 {
        match self {
            Self::Decided(partition, _) => *partition,
            Self::Receive(part) => part.partition,
        }
    }
}

/// Orders that could not be carried out yet, by partition, and what is said to members only after some of them.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    by_partition: BTreeMap<u16, VecDeque<Order>>,
    /// Partitions whose first order waits for room at a standby, and since when.
    short_since: BTreeMap<u16, Instant>,
    /// Control messages that wait for orders that precede them.
    said: VecDeque<(u32, Vec<u8>)>,
    /// What is said to a member once it has answered all that this reactor had sent it until that request, one for each member.
    behind: Vec<(Arc<Behind>, u32)>,
    /// A lease that is given once all orders before it are carried out, as one of them may say that a partition is in doubt; and how many
    /// orders of that kind there were.
    lease: Option<(u64, u64)>,
}

impl Deferred {
    pub(super) fn is_empty(&self) -> bool {
        self.by_partition.is_empty() && self.said.is_empty()
    }

    /// Something is to be said behind all that a member owes an answer to. What was to be said to it so before is of no use any more.
    pub(super) fn behind(&mut self, behind: Arc<Behind>, last_sent: u32) {
        self.member_gone(behind.member);
        self.behind.push((behind, last_sent));
    }

    /// A member is gone, or is told something else: nothing is said to it behind its answers.
    pub(super) fn member_gone(&mut self, member: u32) {
        self.behind.retain(|(behind, _)| behind.member != member);
    }

    /// Whether something waits behind which others may be told only what follows from it: that they may send what is expected, or
    /// that a partition is served whose lost keys the standbys are to know first.
    fn precedes(&self) -> bool {
        let precedes = |order: &Order| {
            use Command::{Adopt, Receive, Reopen};
            matches!(order, Order::Decided(_, Receive { .. } | Reopen { .. } | Adopt { .. }))
        };
        self.by_partition.values().flatten().any(precedes)
    }

    /// Notes whether a partition waits for room at a standby. False if it has waited for too long.
    fn is_patient(&mut self, partition: u16, waits: bool, now: Instant) -> bool {
        if !waits {
            self.short_since.remove(&partition);
            return true;
        }
        let since = *self.short_since.entry(partition).or_insert(now);
        now.saturating_duration_since(since) < STANDBY_PATIENCE
    }

    /// Whether something waits that takes a partition from being served here: behind what begins that, it is not served.
    fn takes_away(&self) -> bool {
        use Command::{Adopt, HandOff, Reopen, Suspend};
        let begins = |order: &&Order| matches!(order, Order::Decided(_, Adopt { .. } | Reopen { .. }));
        let takes = |order: &Order| matches!(order, Order::Decided(_, HandOff { .. } | Suspend { .. }));
        self.by_partition.values().any(|orders| orders.iter().take_while(|order| !begins(order)).any(takes))
    }

    fn retain(&mut self, keep: impl Fn(&Order) -> bool) {
        self.by_partition.values_mut().for_each(|orders| orders.retain(&keep));
        self.by_partition.retain(|_, orders| !orders.is_empty());
    }

    /// The link to a member is gone, and the control plane about to hear of it: nothing is handed off on the next one for the
    /// sake of this one.
    pub(super) fn link_lost(&mut self, member: u32) {
        self.retain(|order| !matches!(order, Order::Decided(_, Command::HandOff { to, .. }) if *to == member));
        self.said.retain(|(to, _)| *to != member);
    }

    /// Events for a partition go somewhere, whatever was to become of it: it is not handed off any more.
    pub(super) fn withdraw(&mut self, partition: u16) {
        self.retain(|order| !matches!(order, Order::Decided(of, Command::HandOff { .. }) if *of == partition));
    }

    /// A link of a member has ended: what came on it is discarded.
    pub(super) fn lane_ended(&mut self, conn: ConnId) {
        self.retain(|order| !matches!(order, Order::Receive(part) if part.conn == conn));
    }
}

impl Worker {
    /// Does what the control plane decided about a partition.
    pub(super) fn decided(&mut self, partition: u16, command: Command, io: &mut Io) {
        self.order(Order::Decided(partition, command), io);
    }

    /// Takes in a part of a partition that moves here.
    pub(super) fn receive(&mut self, part: Part, io: &mut Io) {
        self.order(Order::Receive(part), io);
    }

    /// Lets all reactors serve for longer, behind what was ordered before that ends serving.
    pub(super) fn prolong(&mut self, until_ms: u64, orders: u64) {
        self.partitions.deferred.lease = Some((until_ms, orders));
        self.give_lease();
    }

    fn give_lease(&mut self) {
        // What only waits for room at a standby, to be served from then on, keeps no other partition from being served.
        if !self.partitions.deferred.takes_away()
            && let Some((until_ms, orders)) = self.partitions.deferred.lease.take()
        {
            self.shared.lease.prolong(until_ms);
            self.shared.lease.set_carried_out(orders);
        }
    }

    /// Says something to a member on the control plane's behalf.
    pub(super) fn say(&mut self, member: u32, frame: Vec<u8>, io: &mut Io) {
        if !self.partitions.deferred.said.is_empty() || self.partitions.deferred.precedes() {
            return self.partitions.deferred.said.push_back((member, frame));
        }
        self.say_now(member, &frame, io);
    }

    pub(super) fn say_now(&mut self, member: u32, frame: &[u8], io: &mut Io) {
        if !self.links.to.send(member, None, frame, self.time.now, io) {
            tracing::debug!(member, "a control message was dropped: the member is unknown or its link is full");
        }
    }

    /// Lets go what is to be said behind answers that have come by now.
    pub(super) fn say_behind(&mut self, io: &mut Io) {
        let Self { partitions, delivery, .. } = self;
        let owes = |(behind, last_sent): &(Arc<Behind>, u32)| delivery.waits_for(behind.member, *last_sent);
        let due: Vec<_> = partitions.deferred.behind.extract_if(.., |one| !owes(one)).collect();
        for (behind, _) in due.into_iter().filter(|(behind, _)| behind.let_go()) {
            let (member, frame) = (behind.member, behind.frame.clone());
            match self.index {
                0 => self.say(member, frame, io),
                _ => self.tell(0, Command::Send { member, frame }),
            }
        }
    }

    fn order(&mut self, order: Order, io: &mut Io) {
        let partition = order.partition();
        if let Some(earlier) = self.partitions.deferred.by_partition.get_mut(&partition) {
            return earlier.push_back(order);
        }
        if let Err(order) = self.obey(order, io) {
            self.counters.deferred_orders.add(1);
            self.partitions.deferred.by_partition.entry(partition).or_default().push_back(order);
        }
    }

    /// Does what was deferred.
    pub(super) fn obey_deferred(&mut self, io: &mut Io) {
        for (partition, mut orders) in std::mem::take(&mut self.partitions.deferred.by_partition) {
            while let Some(order) = orders.pop_front() {
                if let Err(order) = self.obey(order, io) {
                    orders.push_front(order);
                    break;
                }
            }
            if !orders.is_empty() {
                self.partitions.deferred.by_partition.insert(partition, orders);
            }
        }
        self.give_lease();
        while !self.partitions.deferred.said.is_empty() && !self.partitions.deferred.precedes() {
            if let Some((member, frame)) = self.partitions.deferred.said.pop_front() {
                self.say_now(member, &frame, io);
            }
        }
    }

    /// Does it, or gives it back if another thread has the shard.
    fn obey(&mut self, order: Order, io: &mut Io) -> Result<(), Order> {
        let shared = Arc::clone(&self.shared);
        let shard = shared.shards.of(order.partition());
        if !self.standbys_take(&order, io) {
            return Err(order);
        }
        let Some(mut state) = shard.try_claim() else { return Err(order) };
        match order {
            Order::Decided(_, command) => self.obey_decided(command, &mut state, io),
            Order::Receive(part) => self.receive_part(&part, &mut state),
        }
        drop(state);
        self.after_run(io);
        // Before it is said where the partition is served: a standby that knew of what is lost in it forgets that then.
        self.send_noted_keys(io);
        self.serve(shard.index(), io);
        Ok(())
    }

    /// Whether the links to a partition's standbys have room for the keys that are lost with it: they are told in one go, before it
    /// is served.
    fn standbys_take(&mut self, order: &Order, io: &mut Io) -> bool {
        use Command::{Adopt, Mourn, Reopen};
        let Order::Decided(partition, Adopt { lost, .. } | Reopen { lost, .. } | Mourn { lost, .. }) = order else {
            return true;
        };
        if lost.is_empty() {
            return true;
        }
        let enough = self.shared.options.limits.link_room() / 2;
        let standbys = self.shared.mesh.standbys.of(*partition);
        let short = standbys.filter(|to| self.links.to.room(*to, io).is_some_and(|room| room < enough));
        let short: Vec<u32> = short.collect();
        if self.partitions.deferred.is_patient(*partition, !short.is_empty(), self.time.now) {
            return short.is_empty();
        }
        for member in short {
            tracing::warn!(member, partition, "it takes nothing of what is lost in a partition: the link to it ends");
            self.links.to.close(member, io);
        }
        false
    }

    fn obey_decided(&mut self, command: Command, state: &mut State, io: &mut Io) {
        match command {
            Command::HandOff { partition, number, to } => self.hand_off(partition, number, to, state, io),
            Command::Receive { partition, number, merge } => {
                state.receive(partition, number, merge, &mut self.runner.run)
            }
            Command::Suspend { partition } => state.suspend(partition),
            Command::Discard { partition } => {
                self.partitions.arrivals.discard(partition);
                state.discard(partition);
            }
            Command::Release { partition } => state.release(partition),
            Command::Reopen { partition, lost } => state.reopen(partition, &lost, &mut self.runner.run),
            Command::Mourn { partition, lost } => state.mourn(partition, &lost, &mut self.runner.run),
            Command::Adopt { partition, lost } => state.adopt(partition, &lost, &mut self.runner.run),
            Command::Serve { partition } => state.serve(partition, &mut self.runner.run),
            _ => tracing::error!("a command about no partition was deferred"),
        }
    }

    /// Takes instances of a partition that moves here.
    fn receive_part(&mut self, part: &Part, state: &mut State) {
        let &Part { from, partition, number, last, ref instances, .. } = part;
        // They are not expected (any more): the sender will be told, or knows.
        let Some(installed) = state.receive_part(partition, number, instances, last, &mut self.runner.run) else {
            return;
        };
        self.counters.handoff_instances.add(installed.instances);
        self.counters.handoff_rejected.add(installed.rejected);
        if last && installed.refused {
            return self.tell_control(ToControl::Unreadable { partition, number, from });
        }
        if last {
            self.counters.handoffs_received.add(1);
            self.tell_control(ToControl::Received { partition, number, from });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deferred(commands: Vec<(u16, Command)>) -> Deferred {
        let mut deferred = Deferred::default();
        for (partition, command) in commands {
            deferred.by_partition.entry(partition).or_default().push_back(Order::Decided(partition, command));
        }
        deferred
    }

    #[test]
    fn a_lease_waits_for_what_takes_a_partition_from_being_served_and_for_nothing_else() {
        let adopt = || (3, Command::Adopt { partition: 3, lost: Vec::new() });
        assert!(!deferred(vec![adopt(), (67, Command::Release { partition: 67 })]).takes_away());
        assert!(!deferred(vec![adopt(), (67, Command::Discard { partition: 67 })]).takes_away());
        assert!(deferred(vec![adopt(), (67, Command::Suspend { partition: 67 })]).takes_away());
        assert!(deferred(vec![(3, Command::HandOff { partition: 3, number: 1, to: 2 })]).takes_away());
        let suspend = || (3, Command::Suspend { partition: 3 });
        assert!(!deferred(vec![adopt(), suspend()]).takes_away() && deferred(vec![suspend(), adopt()]).takes_away());
    }

    #[test]
    fn a_partition_waits_for_room_at_a_standby_for_a_second_each_time() {
        let (mut deferred, now) = (Deferred::default(), Instant::now());
        let mut looks = |after: Duration, waits| deferred.is_patient(3, waits, now + after);
        let short = STANDBY_PATIENCE / 2;
        assert!(looks(Duration::ZERO, true) && looks(short, true) && !looks(STANDBY_PATIENCE, true));
        assert!(looks(STANDBY_PATIENCE, false) && looks(STANDBY_PATIENCE + short, true));
        assert!(looks(2 * STANDBY_PATIENCE, true) && !looks(3 * STANDBY_PATIENCE, true));
    }

    #[test]
    fn a_partition_whose_events_go_somewhere_again_is_not_handed_off_any_more() {
        let hand_off = |partition| (partition, Command::HandOff { partition, number: 1, to: 2 });
        let mut deferred = deferred(vec![hand_off(3), hand_off(67), (3, Command::Serve { partition: 3 })]);
        deferred.withdraw(3);
        let left: Vec<u16> = deferred.by_partition.values().flatten().map(Order::partition).collect();
        assert_eq!((left, deferred.takes_away()), (vec![3, 67], true));
        deferred.withdraw(67);
        assert!(!deferred.takes_away());
    }
}
