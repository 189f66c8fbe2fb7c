//! Links between this daemon and each other: there is a link when each side's control lane to the other is greeted. What
//! arrives before both are is kept, so that nothing said first is missed, and nothing is answered on a lane that is not there.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use statemesh_mesh::protocol::PeerMessage;

/// Messages kept for a link that is half there.
const EARLY: usize = 256;

#[derive(Debug)]
struct Link<L> {
    to: bool,
    /// Lanes that the member opened: for a moment there may be an old and a new one. By themselves, and not by their number:
    /// the end of one that was forgotten with an earlier process of the member may be told of late.
    from: HashSet<L>,
    up: bool,
    early: Vec<PeerMessage>,
}

/// What became of a link.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    /// Nothing that matters.
    None,
    /// It is there now; these messages came before.
    Up(Vec<PeerMessage>),
    /// It is gone.
    Down,
}

impl<L> Default for Link<L> {
    fn default() -> Self {
        Self { to: false, from: HashSet::new(), up: false, early: Vec::new() }
    }
}

/// All links, by the member's number. An `L` names a lane that a member opened.
#[derive(Debug)]
pub(super) struct Links<L> {
    by_member: HashMap<u32, Link<L>>,
}

impl<L> Default for Links<L> {
    fn default() -> Self {
        Self { by_member: HashMap::new() }
    }
}

impl<L: Hash + Eq> Links<L> {
    /// Our lane to a member is ready, or gone.
    pub(super) fn to(&mut self, member: u32, up: bool) -> Change {
        self.change(member, |link| link.to = up)
    }

    /// A member's lane to us is greeted, or gone.
    pub(super) fn from(&mut self, member: u32, lane: L, up: bool) -> Change {
        self.change(member, |link| {
            if up {
                link.from.insert(lane);
            } else {
                link.from.remove(&lane);
            }
        })
    }

    fn change(&mut self, member: u32, change: impl FnOnce(&mut Link<L>)) -> Change {
        let link = self.by_member.entry(member).or_default();
        let had_lanes = !link.from.is_empty();
        change(link);
        if had_lanes && link.from.is_empty() {
            // Who opens the next lane says anew what holds.
            link.early.clear();
        }
        let up = link.to && !link.from.is_empty();
        match (std::mem::replace(&mut link.up, up), up) {
            (false, true) => Change::Up(std::mem::take(&mut link.early)),
            (true, false) => {
                link.early.clear();
                Change::Down
            }
            _ => Change::None,
        }
    }

    /// Gives the message back if the link is up; otherwise keeps it until it is.
    pub(super) fn receive(&mut self, member: u32, message: PeerMessage) -> Option<PeerMessage> {
        let link = self.by_member.entry(member).or_default();
        if link.up {
            return Some(message);
        }
        // A probe that waited answers nothing any more.
        if link.early.len() < EARLY && !matches!(message, PeerMessage::Membership(_)) {
            link.early.push(message);
        }
        None
    }

    /// The members to which there is a link.
    pub(super) fn up(&self) -> impl Iterator<Item = u32> + '_ {
        self.by_member.iter().filter(|(_, link)| link.up).map(|(member, _)| *member)
    }

    /// Forgets a member. Says whether there was a link.
    pub(super) fn forget(&mut self, member: u32) -> bool {
        self.by_member.remove(&member).is_some_and(|link| link.up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statemesh_mesh::definitions::DefinitionMessage;

    fn said() -> PeerMessage {
        PeerMessage::Definitions(DefinitionMessage::Digest { digest: 7 })
    }

    #[test]
    fn a_link_is_up_when_both_lanes_are_and_then_gives_what_came_before() {
        let mut links = Links::default();
        assert_eq!(links.to(1, true), Change::None);
        assert_eq!(links.receive(1, said()), None);
        assert_eq!(links.from(1, 'a', true), Change::Up(vec![said()]));
        assert_eq!(links.receive(1, said()), Some(said()));
        // The member opened a new lane before its old one was seen to end.
        assert_eq!(links.from(1, 'b', true), Change::None);
        assert_eq!(links.from(1, 'a', false), Change::None);
        assert_eq!(links.to(1, false), Change::Down);
        assert!(!links.forget(1));
    }

    #[test]
    fn the_end_of_a_forgotten_lane_ends_no_other() {
        let mut links = Links::default();
        links.from(1, 'a', true);
        links.to(1, true);
        assert!(links.forget(1));
        // Its successor is there before the old lane is seen to end.
        links.from(1, 'b', true);
        assert_eq!(links.from(1, 'a', false), Change::None);
        assert_eq!(links.to(1, true), Change::Up(Vec::new()));
    }

    #[test]
    fn what_came_over_a_lane_that_ended_before_the_link_was_up_is_void() {
        let mut links = Links::default();
        links.from(1, 'a', true);
        links.receive(1, said());
        assert_eq!(links.from(1, 'a', false), Change::None);
        links.from(1, 'b', true);
        assert_eq!(links.to(1, true), Change::Up(Vec::new()));
    }
}
