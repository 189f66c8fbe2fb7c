//! What a watcher has seen of each key, so that it knows what it missed. Changes of one life of a key are numbered without gaps
//! (`seq`), and each life has a number of its own (`run`).

use std::collections::BTreeMap;

use statemesh_protocol::run::RunId;

/// How a change follows the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It is the first that was seen of this key.
    First,
    /// It is the next one.
    Next,
    /// It has the number of the one before: an event that changed nothing but had effects, or the same change twice.
    Same,
    /// So many were missed before it.
    Missed(u64),
    /// It comes after a later one.
    Late,
    /// Another life of the key begins.
    NewLife,
}

/// The last change seen of each key, of so many keys.
#[derive(Clone, Debug)]
pub struct Seen {
    limit: usize,
    turn: u64,
    keys: BTreeMap<Vec<u8>, Last>,
    by_turn: BTreeMap<u64, Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    run: RunId,
    seq: u64,
    turn: u64,
}

impl Seen {
    /// Nothing seen yet. Of more keys than `limit` the one that was silent for longest is forgotten.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), turn: 0, keys: BTreeMap::new(), by_turn: BTreeMap::new() }
    }

    /// A change of `topic` was seen.
    pub fn note(&mut self, topic: &[u8], run: RunId, seq: u64) -> Order {
        self.turn += 1;
        let turn = self.turn;
        let (order, last) = match self.keys.get(topic) {
            None => (Order::First, Last { run, seq, turn }),
            Some(before) if before.run != run => (Order::NewLife, Last { run, seq, turn }),
            Some(before) => (follows(before.seq, seq), Last { run, seq: seq.max(before.seq), turn }),
        };
        if let Some(before) = self.keys.insert(topic.to_vec(), last) {
            self.by_turn.remove(&before.turn);
        }
        self.by_turn.insert(turn, topic.to_vec());
        if self.keys.len() > self.limit
            && let Some((_, oldest)) = self.by_turn.pop_first()
        {
            self.keys.remove(&oldest);
        }
        order
    }
}

fn follows(before: u64, seq: u64) -> Order {
    match seq.checked_sub(before) {
        None => Order::Late,
        Some(0) => Order::Same,
        Some(1) => Order::Next,
        Some(step) => Order::Missed(step - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_found_within_a_life_and_a_new_life_is_none() {
        let mut seen = Seen::new(10);
        let orders: Vec<_> = [(7, 1), (7, 2), (7, 2), (7, 5), (7, 4), (7, 6), (9, 1), (9, 2)]
            .into_iter()
            .map(|(run, seq)| seen.note(b"m/k", RunId(run), seq))
            .collect();
        let wanted = [
            Order::First,
            Order::Next,
            Order::Same,
            Order::Missed(2),
            Order::Late,
            Order::Next,
            Order::NewLife,
            Order::Next,
        ];
        assert_eq!(orders, wanted);
    }

    #[test]
    fn a_new_life_is_seen_though_its_numbers_go_on() {
        let mut seen = Seen::new(10);
        seen.note(b"m/k", RunId(1), 8);
        assert_eq!(seen.note(b"m/k", RunId(2), 9), Order::NewLife);
    }

    #[test]
    fn the_key_that_was_silent_for_longest_is_forgotten() {
        let mut seen = Seen::new(2);
        [&b"a"[..], b"b", b"a", b"c"].into_iter().for_each(|key| {
            seen.note(key, RunId(1), 1);
        });
        assert_eq!([seen.note(b"a", RunId(1), 2), seen.note(b"b", RunId(1), 2)], [Order::Next, Order::First]);
        assert_eq!((seen.keys.len(), seen.by_turn.len()), (2, 2));
    }
}
