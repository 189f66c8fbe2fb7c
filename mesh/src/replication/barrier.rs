//! Reads: whether leaders still lead, asked once for all places that a turn read (ReadIndex; dissertation, 6.4).
//!
//! A read notes what is committed, and may be answered once a majority has said, after that, that it knows no later term: so no later
//! leader can have committed anything before. No lease, so no clock, decides it. Of one turn all reads ask with one message to each peer,
//! which answers from a table without looking into any group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use statemesh_protocol::hash::Partition;
use statemesh_protocol::identity::MemberName;

use super::config::{Configuration, Replica};
use super::message::Position;

/// Barriers that may wait for answers at once. The oldest is given up for a new one: its members are not answering.
const OPEN: usize = 64;
/// Places in one question.
pub const PLACES: usize = 4096;

/// One place of a question: does this life of the copy still have this term?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asked {
    /// The place's partition.
    pub partition: Partition,
    /// The copy's generation.
    pub generation: u64,
    /// The term.
    pub term: u64,
}

/// What a peer is asked: answered by the numbers of the places that hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Repeated by the answer.
    pub number: u64,
    /// The places.
    pub places: Vec<Asked>,
}

/// Answers a question. `held` says generation and term of a partition's copy ([`super::group::Group::held`]).
pub fn answer(question: &Question, held: impl Fn(Partition) -> Option<(u64, u64)>) -> Vec<u16> {
    let holds = |asked: &Asked| held(asked.partition) == Some((asked.generation, asked.term));
    let places = question.places.iter().take(PLACES).zip(0..);
    places.filter(|(asked, _)| holds(asked)).map(|(_, number)| number).collect()
}

/// What became of a place's reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask this member.
    Ask {
        /// The member.
        to: MemberName,
        /// What.
        question: Question,
    },
    /// Reads of this barrier may be answered once `read` is applied.
    Passed {
        /// The place's partition.
        partition: Partition,
        /// Which barrier: [`Barriers::read`] told it.
        number: u64,
        /// The term, and what must be applied.
        read: Position,
    },
    /// No majority has answered, and none will: reads of this barrier are asked again, or refused.
    Failed {
        /// The place's partition.
        partition: Partition,
        /// Which barrier.
        number: u64,
    },
}

#[derive(Clone, Debug)]
struct Waiting {
    me: Replica,
    configuration: Arc<Configuration>,
    read: Position,
    confirmed: BTreeSet<Replica>,
}

impl Waiting {
    fn is_confirmed(&self) -> bool {
        self.configuration.majority(|voter| *voter == self.me || self.confirmed.contains(voter))
    }
}

/// One barrier: the reads of a turn.
#[derive(Clone, Debug, Default)]
struct Barrier {
    waiting: BTreeMap<Partition, Waiting>,
    /// What each member was asked, in the order of the question.
    asked: BTreeMap<MemberName, Vec<(Partition, Replica)>>,
}

/// The barriers of a reactor.
#[derive(Clone, Debug, Default)]
pub struct Barriers {
    /// The number of the one that reads join.
    next: u64,
    turn: Barrier,
    open: BTreeMap<u64, Barrier>,
}

impl Barriers {
    /// A leader reads: `read` is [`super::group::Group::read_index`]. Returns the number of the barrier that the read waits for.
    ///
    /// `None` if this turn asks about too many places.
    pub fn read(
        &mut self,
        partition: Partition,
        me: &Replica,
        configuration: &Arc<Configuration>,
        read: Position,
    ) -> Option<u64> {
        if self.turn.waiting.len() >= PLACES && !self.turn.waiting.contains_key(&partition) {
            return None;
        }
        let (me, configuration) = (me.clone(), Arc::clone(configuration));
        let waiting = Waiting { me, configuration, read, confirmed: BTreeSet::new() };
        // A later read of the same turn waits for more, and asks for a newer term.
        self.turn.waiting.insert(partition, waiting);
        Some(self.next)
    }

    /// The turn ends: what it read is asked.
    pub fn end_turn(&mut self, out: &mut Vec<Output>) {
        if self.turn.waiting.is_empty() {
            return;
        }
        let number = self.next;
        self.next += 1;
        let mut barrier = std::mem::take(&mut self.turn);
        let mut questions: BTreeMap<MemberName, Vec<Asked>> = BTreeMap::new();
        for (partition, waiting) in &barrier.waiting {
            for voter in waiting.configuration.all_voters().filter(|voter| **voter != waiting.me) {
                let asked = Asked { partition: *partition, generation: voter.generation, term: waiting.read.term };
                questions.entry(voter.name.clone()).or_default().push(asked);
                barrier.asked.entry(voter.name.clone()).or_default().push((*partition, voter.clone()));
            }
        }
        out.extend(questions.into_iter().map(|(to, places)| Output::Ask { to, question: Question { number, places } }));
        self.open.insert(number, barrier);
        self.settle(number, out);
        while self.open.len() > OPEN {
            let Some((number, barrier)) = self.open.pop_first() else { return };
            fail(number, &barrier, out);
        }
    }

    /// A member answered a question: these places hold.
    pub fn answered(&mut self, from: &MemberName, number: u64, holding: &[u16], out: &mut Vec<Output>) {
        let Some(barrier) = self.open.get_mut(&number) else { return };
        // An answer counts once, however often it comes.
        let Some(asked) = barrier.asked.remove(from) else { return };
        for (partition, voter) in holding.iter().filter_map(|at| asked.get(usize::from(*at))) {
            if let Some(waiting) = barrier.waiting.get_mut(partition) {
                waiting.confirmed.insert(voter.clone());
            }
        }
        self.settle(number, out);
    }

    /// A member is not heard any more: it answers nothing that it was asked.
    pub fn lost(&mut self, member: &MemberName, out: &mut Vec<Output>) {
        let numbers: Vec<u64> = self.open.keys().copied().collect();
        for number in numbers {
            if self.open.get_mut(&number).is_some_and(|barrier| barrier.asked.remove(member).is_some()) {
                self.settle(number, out);
            }
        }
    }

    /// Lets pass what is confirmed. Where no question is open any more, what is left has failed.
    fn settle(&mut self, number: u64, out: &mut Vec<Output>) {
        let Some(barrier) = self.open.get_mut(&number) else { return };
        barrier.waiting.retain(|partition, waiting| {
            let passed = waiting.is_confirmed();
            if passed {
                out.push(Output::Passed { partition: *partition, number, read: waiting.read });
            }
            !passed
        });
        if barrier.waiting.is_empty() || barrier.asked.is_empty() {
            fail(number, barrier, out);
            self.open.remove(&number);
        }
    }
}

fn fail(number: u64, barrier: &Barrier, out: &mut Vec<Output>) {
    out.extend(barrier.waiting.keys().map(|partition| Output::Failed { partition: *partition, number }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(names: &str) -> (Replica, Arc<Configuration>) {
        let voters = names.chars().map(|name| (MemberName::new(&name.to_string()).unwrap(), 1));
        let configuration = Configuration::first(voters);
        (configuration.voters[0].clone(), Arc::new(configuration))
    }

    fn name(n: &str) -> MemberName {
        MemberName::new(n).unwrap()
    }

    #[test]
    fn a_turn_asks_each_peer_once_and_passes_with_a_majority() {
        let (me, configuration) = group("abc");
        let mut barriers = Barriers::default();
        let mut out = Vec::new();
        let read = Position { term: 4, index: 9 };
        for partition in [1, 2, 1] {
            assert_eq!(barriers.read(partition, &me, &configuration, read), Some(0));
        }
        barriers.end_turn(&mut out);
        let [Output::Ask { to, question }, Output::Ask { .. }] = &out[..] else { panic!("{out:?}") };
        assert_eq!((to, question.places.len()), (&name("b"), 2));
        // b has a later term in partition 1.
        let holding = answer(question, |partition| Some((0, if partition == 1 { 5 } else { 4 })));
        assert_eq!(holding, [1]);
        out.clear();
        barriers.answered(&name("b"), 0, &holding, &mut out);
        assert_eq!(out, [Output::Passed { partition: 2, number: 0, read }]);
        barriers.answered(&name("b"), 0, &[0, 1, 7], &mut out);
        assert_eq!(out.len(), 1, "an answer counts once");
        barriers.lost(&name("c"), &mut out);
        assert_eq!(out[1..], [Output::Failed { partition: 1, number: 0 }]);
    }

    #[test]
    fn one_voter_asks_nobody() {
        let (me, configuration) = group("a");
        let mut barriers = Barriers::default();
        let mut out = Vec::new();
        let read = Position { term: 1, index: 1 };
        barriers.read(3, &me, &configuration, read);
        barriers.end_turn(&mut out);
        assert_eq!(out, [Output::Passed { partition: 3, number: 0, read }]);
        assert!(barriers.open.is_empty());
    }

    #[test]
    fn another_life_of_a_copy_confirms_nothing() {
        let question = Question { number: 0, places: vec![Asked { partition: 3, generation: 7, term: 4 }] };
        assert!(answer(&question, |_| Some((0, 4))).is_empty());
        assert!(answer(&question, |_| None).is_empty());
        assert_eq!(answer(&question, |_| Some((7, 4))), [0]);
    }
}
