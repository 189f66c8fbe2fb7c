//! Where one reactor sends events for each partition, and the gate that keeps their order when that changes.
//!
//! Events of one connection for one key are applied in the order sent. A reactor that has requests in flight to one holder
//! must not send later ones to the next holder before the earlier are answered: they would race. So a change of route waits
//! until nothing is in flight any more, and events wait meanwhile, *parked* ([`crate::delivery`], which bounds how many).
//!
//! Events that *return* need one exception. When a partition comes *here*, what is in flight to its old holder comes back
//! here, behind the partition's state, before it is answered. If that waited for the gate, and the gate for its answer, both
//! would wait for ever. So an event waits only for those in flight that had been passed on as often as itself, or more often,
//! when they came here: what is in flight comes back with more daemons behind it than it had, and whatever a client sent
//! later has met no more daemons than what it sent before. No two can wait for each other, since one has met more daemons.
//!
//! Members are numbers that the shell gave them, so that this is a few words for each partition on the fastest path.

use statemesh_protocol::hash::Partition;
use statemesh_protocol::peer::frame::MAX_HOPS;

/// A member's number in this process.
pub type MemberNumber = u32;

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Run it here.
    Local,
    /// Send it to this member, and say [`Router::sent`].
    Forward(MemberNumber),
    /// Keep it until its partition has a route, or what it waits behind is answered.
    Park,
}

/// Where an event is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// In the inbox of a shard of this daemon.
    Here,
    /// With this member.
    Away(MemberNumber),
}

/// How many numbers of daemons are told apart: none to as many as an event may meet.
const CLASSES: usize = MAX_HOPS as usize + 1;

/// Events that so many daemons had passed on before they came here, and that are in flight to a member.
#[derive(Debug, Clone, Copy)]
struct Class {
    in_flight: u32,
    /// Where they went. Meaningless while there are none.
    to: MemberNumber,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where events shall go.
    wanted: Route,
    /// In the inbox of a shard.
    here: u32,
    /// In flight to members, all classes.
    away: u32,
    classes: [Class; CLASSES],
}

impl Entry {
    fn route(&self, hops: u8) -> Route {
        let clear = match self.wanted {
            Route::Local => self.away == 0 || self.behind(hops).all(|class| class.in_flight == 0),
            // What waits in an inbox may find that its partition has left, and come back.
            Route::Forward(member) => {
                let there = |class: &Class| class.in_flight == 0 || class.to == member;
                self.here == 0 && (self.away == 0 || self.behind(hops).all(there))
            }
            Route::Park => true,
        };
        if clear { self.wanted } else { Route::Park }
    }

    /// What an event waits behind.
    fn behind(&self, hops: u8) -> impl Iterator<Item = &Class> {
        self.classes.iter().skip(class_of(hops))
    }
}

fn class_of(hops: u8) -> usize {
    usize::from(hops).min(CLASSES - 1)
}

/// Routes of all partitions. A new one parks everything.
#[derive(Debug)]
pub struct Router {
    entries: Vec<Entry>,
}

impl Router {
    /// A router that knows of no member: all events wait.
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        let classes = [Class { in_flight: 0, to: 0 }; CLASSES];
        let entry = Entry { wanted: Route::Park, here: 0, away: 0, classes };
        Self { entries: vec![entry; usize::from(partitions)] }
    }

    /// Where an event goes that so many daemons have passed on.
    #[must_use]
    pub fn route(&self, partition: Partition, hops: u8) -> Route {
        self.entries.get(usize::from(partition)).map_or(Route::Park, |entry| entry.route(hops))
    }

    /// Where the events of a partition are to go in the end, also while they have to wait.
    #[must_use]
    pub fn wanted(&self, partition: Partition) -> Route {
        self.entries.get(usize::from(partition)).map_or(Route::Park, |entry| entry.wanted)
    }

    /// An event was sent to where [`Router::route`] said, or left in a local shard's inbox, and will be answered.
    pub fn sent(&mut self, partition: Partition, hops: u8, at: At) {
        let Some(entry) = self.entries.get_mut(usize::from(partition)) else { return };
        match at {
            At::Here => entry.here = entry.here.saturating_add(1),
            At::Away(member) => {
                entry.away = entry.away.saturating_add(1);
                if let Some(class) = entry.classes.get_mut(class_of(hops)) {
                    class.to = member;
                    class.in_flight = class.in_flight.saturating_add(1);
                }
            }
        }
    }

    /// One that was sent is answered, or never will be. True: look at the parked events again, in their order.
    #[must_use]
    pub fn answered(&mut self, partition: Partition, hops: u8, at: At) -> bool {
        let Some(entry) = self.entries.get_mut(usize::from(partition)) else {
            return false;
        };
        match at {
            At::Here => {
                entry.here = entry.here.saturating_sub(1);
                entry.here == 0
            }
            At::Away(_) => {
                entry.away = entry.away.saturating_sub(1);
                entry.classes.get_mut(class_of(hops)).is_some_and(|class| {
                    class.in_flight = class.in_flight.saturating_sub(1);
                    class.in_flight == 0
                })
            }
        }
    }

    /// From now on the partition is served by this member; none: here. Look at the parked events again, in their order, those
    /// that were passed on most often first; some may have to be parked again.
    pub fn switch(&mut self, partition: Partition, to: Option<MemberNumber>) {
        if let Some(entry) = self.entries.get_mut(usize::from(partition)) {
            entry.wanted = to.map_or(Route::Local, Route::Forward);
        }
    }

    /// No member is known to serve the partition: its events wait.
    pub fn unroute(&mut self, partition: Partition) {
        if let Some(entry) = self.entries.get_mut(usize::from(partition)) {
            entry.wanted = Route::Park;
        }
    }

    /// How many events of a partition are in the inbox of a shard.
    #[must_use]
    pub fn in_inbox(&self, partition: Partition) -> u32 {
        self.entries.get(usize::from(partition)).map_or(0, |entry| entry.here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Partition = 3;

    fn sent_to(member: MemberNumber) -> Router {
        let mut router = Router::new(8);
        router.switch(P, Some(member));
        assert_eq!(router.route(P, 0), Route::Forward(member));
        router.sent(P, 0, At::Away(member));
        router
    }

    #[test]
    fn nothing_overtakes_what_is_in_flight_to_the_old_holder() {
        let mut router = sent_to(1);
        router.sent(P, 0, At::Away(1));
        router.switch(P, Some(2));
        assert_eq!(router.route(P, 0), Route::Park);
        assert!(!router.answered(P, 0, At::Away(1)));
        assert_eq!(router.route(P, 0), Route::Park);
        assert!(router.answered(P, 0, At::Away(1)));
        assert_eq!(router.route(P, 0), Route::Forward(2));
    }

    #[test]
    fn what_returns_behind_the_state_is_not_kept_behind_its_own_answer() {
        let mut router = sent_to(1);
        // It comes back with two daemons behind it.
        router.switch(P, None);
        assert_eq!((router.route(P, 2), router.route(P, 0)), (Route::Local, Route::Park));
        router.switch(P, Some(2));
        assert_eq!((router.route(P, 2), router.route(P, 0)), (Route::Forward(2), Route::Park));
        router.sent(P, 2, At::Away(2));
        assert!(router.answered(P, 2, At::Away(2)));
        assert!(router.answered(P, 0, At::Away(1)));
        assert_eq!(router.route(P, 0), Route::Forward(2));
    }

    #[test]
    fn what_another_daemons_client_sent_later_waits_for_what_it_sent_before() {
        let mut router = Router::new(8);
        router.switch(P, Some(1));
        router.sent(P, 1, At::Away(1));
        router.switch(P, None);
        assert_eq!(router.route(P, 1), Route::Park);
        assert!(router.answered(P, 1, At::Away(1)));
        assert_eq!(router.route(P, 1), Route::Local);
    }

    #[test]
    fn what_waits_in_an_inbox_is_answered_before_the_next_holder_gets_anything() {
        let mut router = Router::new(8);
        router.switch(P, None);
        router.sent(P, 0, At::Here);
        assert_eq!(router.route(P, 0), Route::Local);
        router.switch(P, Some(1));
        assert_eq!(router.route(P, 0), Route::Park);
        assert!(router.answered(P, 0, At::Here));
        assert_eq!(router.route(P, 0), Route::Forward(1));
    }

    #[test]
    fn a_route_that_comes_back_before_it_was_left_is_open() {
        let mut router = sent_to(1);
        router.switch(P, Some(2));
        router.switch(P, Some(1));
        assert_eq!(router.route(P, 0), Route::Forward(1));
    }

    #[test]
    fn without_a_holder_events_wait_for_the_next_one() {
        let mut router = sent_to(1);
        router.unroute(P);
        assert_eq!((router.route(P, 0), router.route(P, 4)), (Route::Park, Route::Park));
        assert!(router.answered(P, 0, At::Away(1)));
        router.switch(P, Some(2));
        assert_eq!(router.route(P, 0), Route::Forward(2));
    }

    #[test]
    fn partitions_that_the_mesh_does_not_have_are_never_routed() {
        let mut router = Router::new(8);
        router.switch(8, None);
        router.sent(8, 0, At::Here);
        router.unroute(8);
        assert!(!router.answered(8, 0, At::Here));
        assert_eq!((router.route(8, 0), router.route(8, 200)), (Route::Park, Route::Park));
    }
}
