//! Requests that a shard sent back, so that nothing that came behind them is let in before them.
//!
//! A reactor leaves requests in the inbox of a shard that another thread has. If their partition is not held when they are
//! looked at, they *bounce*: the reactor parks them again. Between the first that bounces and the reactor's hearing of it the
//! partition may come to be held, and what the reactor left behind the first would be run before it. So the shard remembers
//! which reactor was refused, and refuses the rest of that reactor's *round* as well; the reactor begins the next round when
//! all of the last one is back.

use std::collections::BTreeMap;

use statemesh_protocol::hash::Partition;

/// The last refused round of each reactor and partition: at most one number for each pair.
#[derive(Debug, Default)]
pub struct Bounces {
    refused: BTreeMap<(usize, Partition), u32>,
}

impl Bounces {
    /// Whether a request of this round must go back, since one that was left before it did.
    #[must_use]
    pub fn refuse(&mut self, reactor: usize, partition: Partition, round: u32) -> bool {
        // Nearly always nothing was refused.
        if self.refused.is_empty() {
            return false;
        }
        match self.refused.get(&(reactor, partition)) {
            Some(refused) if *refused == round => true,
            Some(_) => {
                self.refused.remove(&(reactor, partition));
                false
            }
            None => false,
        }
    }

    /// A request of this round goes back.
    pub fn bounced(&mut self, reactor: usize, partition: Partition, round: u32) {
        self.refused.insert((reactor, partition), round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_round_goes_back_and_the_next_round_goes_in() {
        let mut bounces = Bounces::default();
        assert!(!bounces.refuse(1, 7, 0));
        bounces.bounced(1, 7, 0);
        assert!(bounces.refuse(1, 7, 0) && bounces.refuse(1, 7, 0));
        assert!(!bounces.refuse(0, 7, 0) && !bounces.refuse(1, 8, 0));
        assert!(!bounces.refuse(1, 7, 1));
        assert!(bounces.refused.is_empty());
    }
}
