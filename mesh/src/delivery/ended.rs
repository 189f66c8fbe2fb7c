//! Links that have ended, and with them the claim of what was passed on by them.
//!
//! A daemon that loses a link gives up the requests that were under way on it, or sends them again by another. The member at its end
//! may have passed some of them on itself: they are still under way then. If such a one arrives behind what its connection sent
//! later, it must not be applied any more. So who loses a link says so on all its others, ahead of whatever it passes on from
//! there on; a request that comes by way of a third daemon bears the name of the link on which it was passed on first, and is
//! refused by who has heard of that link's end. Links are fencing tokens, as those of locks that expire, which only ever are
//! there or not: what came on one of them is refused as a whole.

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
    pub fn add(&mut self, link: LinkId) {
        if !self.links.insert(link) {
            return;
        }
        self.order.push_back(link);
        if self.order.len() > self.most
            && let Some(first) = self.order.pop_front()
        {
            self.links.remove(&first);
        }
    }

    /// Whether this one has.
    #[must_use]
    pub fn contains(&self, link: LinkId) -> bool {
        self.links.contains(&link)
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
        [7, 8, 7].into_iter().for_each(|link| ended.add(link));
        assert!(ended.contains(7) && ended.contains(8) && !ended.contains(9));
        ended.add(9);
        assert!(!ended.contains(7) && ended.contains(9));
        assert_eq!(ended.all(), [8, 9]);
    }
}
