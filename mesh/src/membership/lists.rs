//! What a member that joins was told of the mesh, and whether that is all.
//!
//! A member that takes part claims what no member holds, by asking all that it knows of ([`crate::ownership`]). If two daemons join a
//! mesh at the same moment and meet each other first, each knows of one that holds nothing: they would serve everything anew
//! beside those who serve it. So a list says whether its sender takes part, and one that joins waits for the *whole* list of such
//! a one; by then it knows all members that the sender knew. If all that it was to ask have sent theirs and none takes part, there is
//! no mesh yet, and they begin it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

/// Senders of which lists are remembered.
const MAX_SENDERS: usize = 256;

/// What a part of a list says of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heading {
    /// The digest of the list: parts of another one do not belong to it.
    pub(super) digest: u64,
    /// Which part this is, from 0.
    pub(super) part: u16,
    /// How many there are.
    pub(super) parts: u16,
    /// The sender takes part in the mesh.
    pub(super) joined: bool,
}

/// What a member that joins knows of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// There is no other member yet.
    Nobody,
    /// Other members are there, but not all that were asked have answered.
    Some {
        /// Since when.
        since: Instant,
        /// One of them takes part, but its list has not come as a whole.
        joined: bool,
    },
    /// All that were asked have answered, and none takes part: there is no mesh yet.
    All,
    /// All that one which takes part knows of.
    Mesh,
}

#[derive(Debug)]
struct List {
    digest: u64,
    got: BTreeSet<u16>,
    parts: u16,
    joined: bool,
}

impl List {
    fn is_whole(&self) -> bool {
        self.got.len() == usize::from(self.parts)
    }
}

/// Lists by their senders.
#[derive(Debug, Default)]
pub(super) struct Lists {
    by_sender: BTreeMap<SocketAddr, List>,
    since: Option<Instant>,
}

impl Lists {
    /// Takes in a part.
    pub(super) fn note(&mut self, from: SocketAddr, heading: Heading) {
        let is_full = self.by_sender.len() >= MAX_SENDERS && !self.by_sender.contains_key(&from);
        if is_full && !heading.joined {
            return;
        }
        // A member that takes part is worth more than any that does not.
        if is_full && let Some(other) = self.by_sender.iter().find(|(_, list)| !list.joined).map(|(at, _)| *at) {
            self.by_sender.remove(&other);
        }
        let Heading { digest, part, parts, joined } = heading;
        let new = || List { digest, got: BTreeSet::new(), parts, joined };
        let list = self.by_sender.entry(from).or_insert_with(new);
        if (list.digest, list.parts, list.joined) != (digest, parts, joined) {
            *list = new();
        }
        if part < parts {
            list.got.insert(part);
        }
    }

    /// Whether a sender's list is known as a whole.
    pub(super) fn has(&self, sender: &SocketAddr) -> bool {
        self.by_sender.get(sender).is_some_and(List::is_whole)
    }

    /// Whether all is known that one which takes part knows.
    pub(super) fn are_of_the_mesh(&self) -> bool {
        self.by_sender.values().any(|list| list.joined && list.is_whole())
    }

    /// What is known by now, when these were to be asked and so many others are alive.
    pub(super) fn met(&mut self, seeds: &[SocketAddr], live: usize, now: Instant) -> Met {
        if self.are_of_the_mesh() {
            return Met::Mesh;
        }
        if live == 0 {
            self.since = None;
            return Met::Nobody;
        }
        let joined = self.by_sender.values().any(|list| list.joined);
        if !joined && !seeds.is_empty() && seeds.iter().all(|seed| self.has(seed)) {
            return Met::All;
        }
        Met::Some { since: *self.since.get_or_insert(now), joined }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 7403))
    }

    fn part(part: u16, joined: bool) -> Heading {
        Heading { digest: 7, part, parts: 2, joined }
    }

    #[test]
    fn one_that_takes_part_has_to_send_its_whole_list() {
        let (mut lists, now) = (Lists::default(), Instant::now());
        assert_eq!(lists.met(&[at(1)], 0, now), Met::Nobody);
        lists.note(at(1), part(0, true));
        let waits = Met::Some { since: now, joined: true };
        assert_eq!(lists.met(&[at(1)], 1, now), waits);
        // A part of another list, and the same part again.
        lists.note(at(1), Heading { digest: 8, ..part(1, true) });
        lists.note(at(1), Heading { digest: 8, ..part(1, true) });
        assert_eq!(lists.met(&[at(1)], 1, now), waits);
        lists.note(at(1), Heading { digest: 8, ..part(0, true) });
        assert_eq!(lists.met(&[at(1)], 1, now), Met::Mesh);
    }

    #[test]
    fn without_a_mesh_all_that_were_to_be_asked_have_to_answer() {
        let (mut lists, now) = (Lists::default(), Instant::now());
        for n in [1, 2] {
            assert_eq!(lists.met(&[at(1), at(2)], usize::from(n), now), Met::Some { since: now, joined: false });
            [0, 1].into_iter().for_each(|of| lists.note(at(n), part(of, false)));
        }
        assert_eq!(lists.met(&[at(1), at(2)], 2, now), Met::All);
        assert_eq!(
            lists.met(&[], 2, now),
            Met::Some { since: now, joined: false },
            "who was found by others waits for the list of one that takes part"
        );
    }

    #[test]
    fn one_that_takes_part_finds_a_place_among_any_number_that_do_not() {
        let (mut lists, now) = (Lists::default(), Instant::now());
        let whole = |joined| Heading { digest: 7, part: 0, parts: 1, joined };
        for port in 0..1_000 {
            lists.note(SocketAddr::from(([10, 0, 0, 9], port)), whole(false));
        }
        assert_eq!(lists.by_sender.len(), MAX_SENDERS);
        lists.note(at(1), whole(true));
        assert_eq!((lists.met(&[], 9, now), lists.by_sender.len()), (Met::Mesh, MAX_SENDERS));
    }
}
