//! The commit gate: what may not leave before its mark is committed.
//!
//! Replies, changes, effects, what a timer did, reads and repeated answers all pass it. In memory nothing has a mark, so that the gate
//! is one comparison; what a durable place has not committed waits here, in the order of the marks of its place.

use std::collections::{BTreeMap, VecDeque};

use statemesh_protocol::place::{Mark, Place};

/// Exits that wait, and how far each place has come.
#[derive(Debug)]
pub struct Waits<T> {
    places: BTreeMap<Place, Waiting<T>>,
    /// How many exits wait.
    len: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    committed: u64,
    exits: VecDeque<(u64, T)>,
}

impl<T> Default for Waits<T> {
    fn default() -> Self {
        Self { places: BTreeMap::new(), len: 0 }
    }
}

impl<T> Waits<T> {
    /// Gives back what may leave at once; keeps the rest until [`Waits::commit`].
    #[inline]
    pub fn pass(&mut self, mark: Option<Mark>, exit: T) -> Option<T> {
        match mark {
            None => Some(exit),
            Some(mark) => self.hold(mark, exit),
        }
    }

    fn hold(&mut self, mark: Mark, exit: T) -> Option<T> {
        let place = self.places.entry(mark.place).or_insert_with(|| Waiting { committed: 0, exits: VecDeque::new() });
        if mark.index <= place.committed {
            return Some(exit);
        }
        // A read waits for the last change of its instance, which may be older than the last one of the place.
        let at = place.exits.partition_point(|(index, _)| *index <= mark.index);
        place.exits.insert(at, (mark.index, exit));
        self.len += 1;
        None
    }

    /// The places for which something waits.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.places.iter().filter(|(_, waiting)| !waiting.exits.is_empty()).map(|(place, _)| *place)
    }

    /// A place has come as far as `mark`: what may leave now, in order.
    pub fn commit(&mut self, mark: Mark) -> Vec<T> {
        let place = self.places.entry(mark.place).or_insert_with(|| Waiting { committed: 0, exits: VecDeque::new() });
        place.committed = place.committed.max(mark.index);
        let ready = place.exits.partition_point(|(index, _)| *index <= place.committed);
        self.len -= ready;
        place.exits.drain(..ready).map(|(_, exit)| exit).collect()
    }

    /// A place is no longer served here: what waited for it, whose outcome is not known.
    pub fn void(&mut self, place: Place) -> Vec<T> {
        let waiting = self.places.remove(&place);
        let exits: Vec<T> = waiting.into_iter().flat_map(|waiting| waiting.exits).map(|(_, exit)| exit).collect();
        self.len -= exits.len();
        exits
    }

    /// How many exits wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(partition: u16, index: u64) -> Mark {
        Mark { place: Place::memory(partition), index }
    }

    #[test]
    fn what_has_no_mark_never_waits() {
        let mut waits = Waits::default();
        assert_eq!(waits.pass(Some(mark(1, 1)), "behind"), None);
        assert_eq!(waits.pass(None, "memory"), Some("memory"));
    }

    #[test]
    fn exits_leave_in_the_order_of_their_marks_once_these_are_committed() {
        let mut waits = Waits::default();
        for (index, exit) in [(1, "a reply"), (3, "its change"), (3, "another reply"), (2, "a read of what was before")]
        {
            assert_eq!(waits.pass(Some(mark(1, index)), exit), None);
        }
        assert_eq!(waits.pass(Some(mark(2, 1)), "another place"), None);
        assert_eq!(waits.commit(mark(1, 2)), ["a reply", "a read of what was before"]);
        assert_eq!(waits.pass(Some(mark(1, 2)), "a repeated answer"), Some("a repeated answer"));
        assert_eq!(waits.commit(mark(1, 1)), [""; 0], "a place does not go back");
        assert_eq!(waits.commit(mark(1, 9)), ["its change", "another reply"]);
        assert_eq!(waits.len(), 1);
    }

    #[test]
    fn what_waited_for_a_place_that_went_is_given_back() {
        let mut waits = Waits::default();
        assert_eq!(waits.pass(Some(mark(1, 5)), 5), None);
        assert_eq!((waits.void(Place::memory(1)), waits.is_empty()), (vec![5], true));
    }
}
