//! Links that have ended, and with them the claim of what was passed on by them.
//!
//! A daemon that loses a link gives up the requests that were under way on it, or sends them again by another. The member at its end
//! may not have read all of them, or may have passed some on itself: they are still under way then. If such a one arrives behind
//! what its connection sent later, it must not be applied any more. So a request bears the names of the links on which it was passed
//! on, and is refused by a member that has heard that one of them has ended. A member that loses a link says so on all its
//! others, ahead of all that it passes on from there on; to the members whose requests it gives up, ahead of the answers; and a
//! member that has heard of it and passes requests of others on says it ahead of these. Links are fencing tokens, as those of
//! locks that expire, which are only there or not: what came on one of them is refused as a whole.
//!
//! What is given up because its time is over is not fenced: its link is there, and others are under way on it.

use std::collections::{BTreeSet, VecDeque};

use statemesh_protocol::peer::frame::LinkId;

/// The links of which the end was heard last, a bounded number.
#[derive(Debug)]
pub struct Ended {
    most: usize,
    order: VecDeque<LinkId>,
    links: BTreeSet<LinkId>,
}

impl Ended {
    /// At most so many are remembered: a request is under way for seconds.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, order: VecDeque::new(), links: BTreeSet::new() }
    }

    /// A link has ended. Those that ended first are forgotten where there are too many.
    /// Says whether that is news.
    pub fn add(&mut self, link: LinkId) -> bool {
        if !self.links.insert(link) {
            return false;
        }
        self.order.push_back(link);
        if self.order.len() > self.most
            && let Some(first) = self.order.pop_front()
        {
            self.links.remove(&first);
        }
        true
    }

    /// Whether this one has.
    #[must_use]
    pub fn contains(&self, link: LinkId) -> bool {
        self.links.contains(&link)
    }

    /// The last ones, in their order.
    #[must_use]
    pub fn last(&self, most: usize) -> Vec<LinkId> {
        self.order.iter().skip(self.order.len().saturating_sub(most)).copied().collect()
    }

    /// All of them, in their order.
    #[must_use]
    pub fn all(&self) -> Vec<LinkId> {
        self.order.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_remembered() {
        let mut ended = Ended::new(2);
        assert_eq!([7, 8, 7].map(|link| ended.add(link)), [true, true, false]);
        assert!(ended.contains(7) && ended.contains(8) && !ended.contains(9));
        ended.add(9);
        assert!(!ended.contains(7) && ended.contains(9));
        assert_eq!(ended.all(), [8, 9]);
    }
}
