//! Where one reactor sends events for each partition, and the gate that keeps their order when that changes.
//!
//! Events of one connection for one key are applied in the order sent. A reactor that has requests under way to one holder
//! must not send later ones to the next holder before the earlier are answered: they would race. So a change of route waits
//! until nothing is under way any more, and events wait meanwhile, *parked* by the shell (which bounds how many).
//!
//! Events that another daemon forwarded need one exception. When a partition comes *here*, what is under way to its old
//! holder comes back here, behind the partition's state, before it is answered. If that waited for the gate, and the gate for
//! its answer, both would wait for ever. So forwarded events pass ([`Router::route_forwarded`]) as soon as the route is
//! local; those of this daemon's own clients stay behind them.
//!
//! Members are numbers that the shell gave them, so that this is a few words for each partition on the fastest path.

use crate::placement::Partition;

/// A member's number in this process.
pub type MemberNumber = u32;

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Run it here.
    Local,
    /// Send it to this member, and say [`Router::sent`].
    Forward(MemberNumber),
    /// Keep it until one of the verbs returns true for its partition.
    Park,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where events that are under way went. Meaningless while there are none.
    used: Route,
    /// Where they shall go.
    wanted: Route,
    under_way: u32,
}

impl Entry {
    fn is_open(&self) -> bool {
        self.under_way == 0 || self.used == self.wanted
    }
}

/// Routes of all partitions. A new one parks everything.
#[derive(Debug)]
pub struct Router {
    entries: Vec<Entry>,
}

impl Router {
    /// A router that knows of nobody.
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        let entry = Entry { used: Route::Park, wanted: Route::Park, under_way: 0 };
        Self { entries: vec![entry; usize::from(partitions)] }
    }

    /// Where an event of a client of this daemon goes.
    #[must_use]
    pub fn route(&self, partition: Partition) -> Route {
        match self.entries.get(usize::from(partition)) {
            Some(entry) if entry.is_open() => entry.wanted,
            _ => Route::Park,
        }
    }

    /// Where an event goes that another daemon forwarded here.
    #[must_use]
    pub fn route_forwarded(&self, partition: Partition) -> Route {
        match self.entries.get(usize::from(partition)) {
            Some(entry) if entry.wanted == Route::Local => Route::Local,
            _ => self.route(partition),
        }
    }

    /// An event was sent to where [`Router::route`] said, or left in a local shard's inbox, and will be answered.
    pub fn sent(&mut self, partition: Partition) {
        if let Some(entry) = self.entries.get_mut(usize::from(partition)) {
            if entry.under_way == 0 {
                entry.used = entry.wanted;
            }
            entry.under_way = entry.under_way.saturating_add(1);
        }
    }

    /// One that was sent is answered, or never will be. True: look at the parked events again, in their order.
    #[must_use]
    pub fn answered(&mut self, partition: Partition) -> bool {
        let Some(entry) = self.entries.get_mut(usize::from(partition)) else {
            return false;
        };
        let was_open = entry.is_open();
        entry.under_way = entry.under_way.saturating_sub(1);
        !was_open && entry.is_open() && entry.wanted != Route::Park
    }

    /// From now on the partition is served by this member; none: here. True: look at the parked events again, in their
    /// order, those that were forwarded here first; some may have to be parked again.
    #[must_use]
    pub fn switch(&mut self, partition: Partition, to: Option<MemberNumber>) -> bool {
        let Some(entry) = self.entries.get_mut(usize::from(partition)) else {
            return false;
        };
        entry.wanted = to.map_or(Route::Local, Route::Forward);
        entry.is_open() || entry.wanted == Route::Local
    }

    /// Nobody is known to serve the partition: its events wait.
    pub fn unroute(&mut self, partition: Partition) {
        if let Some(entry) = self.entries.get_mut(usize::from(partition)) {
            entry.wanted = Route::Park;
        }
    }

    /// How many events of a partition are under way.
    #[must_use]
    pub fn under_way(&self, partition: Partition) -> u32 {
        self.entries.get(usize::from(partition)).map_or(0, |entry| entry.under_way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Partition = 3;

    fn sent_to(member: MemberNumber) -> Router {
        let mut router = Router::new(8);
        assert!(router.switch(P, Some(member)));
        assert_eq!(router.route(P), Route::Forward(member));
        router.sent(P);
        router
    }

    #[test]
    fn nothing_overtakes_what_is_under_way_to_the_old_holder() {
        let mut router = sent_to(1);
        router.sent(P);
        assert!(!router.switch(P, Some(2)));
        assert_eq!(router.route(P), Route::Park);
        assert_eq!(router.route_forwarded(P), Route::Park);
        assert!(!router.answered(P));
        assert_eq!(router.route(P), Route::Park);
        assert!(router.answered(P));
        assert_eq!(router.route(P), Route::Forward(2));
    }

    #[test]
    fn what_comes_back_behind_the_state_is_not_kept_behind_its_own_answer() {
        let mut router = sent_to(1);
        assert!(router.switch(P, None));
        assert_eq!(router.route_forwarded(P), Route::Local);
        assert_eq!(router.route(P), Route::Park);
        assert!(router.answered(P));
        assert_eq!(router.route(P), Route::Local);
    }

    #[test]
    fn a_route_that_comes_back_before_it_was_left_is_open() {
        let mut router = sent_to(1);
        assert!(!router.switch(P, Some(2)));
        assert!(router.switch(P, Some(1)));
        assert_eq!(router.route(P), Route::Forward(1));
        assert!(!router.answered(P));
    }

    #[test]
    fn without_a_holder_events_wait_for_the_next_one() {
        let mut router = sent_to(1);
        router.unroute(P);
        assert_eq!(router.route(P), Route::Park);
        assert!(!router.answered(P));
        assert!(router.switch(P, Some(2)));
        assert_eq!(router.route(P), Route::Forward(2));
    }

    #[test]
    fn partitions_that_the_mesh_does_not_have_are_never_routed() {
        let mut router = Router::new(8);
        assert!(!router.switch(8, None));
        router.sent(8);
        router.unroute(8);
        assert!(!router.answered(8));
        assert_eq!((router.route(8), router.route_forwarded(8)), (Route::Park, Route::Park));
    }
}
