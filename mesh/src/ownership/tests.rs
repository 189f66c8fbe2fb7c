//! The rules one by one, with messages put in by hand. The simulator has the whole protocol at work.

use super::*;
use crate::placement::outranks;

fn name(n: usize) -> MemberName {
    MemberName::new(&format!("node-{n}")).unwrap()
}

fn set(partitions: &[Partition]) -> PartitionSet {
    partitions.iter().copied().collect()
}

/// An active member `node-0` of a mesh of 16 partitions, linked to live `peers`, with what it does so far taken away.
struct Rig {
    node: Ownership,
    now: Instant,
}

impl Rig {
    fn new(peers: &[usize]) -> Self {
        let node = Ownership::new(name(0), 16, Settings::default());
        let mut rig = Self { node, now: Instant::now() };
        for peer in peers {
            rig.put(Input::MemberUp { name: name(*peer), placeable: true });
            rig.put(Input::LinkUp(name(*peer)));
        }
        rig.put(Input::Activate);
        rig
    }

    fn put(&mut self, input: Input) {
        self.node.handle(input, self.now);
    }

    fn hear(&mut self, from: usize, message: OwnershipMessage) {
        self.put(Input::Message { from: name(from), message });
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.node.poll()).collect()
    }

    /// The query sent to a member lately: its id and partitions.
    fn query_to(&mut self, to: usize) -> (u64, PartitionSet) {
        let asked = self.outputs().into_iter().rev().find_map(|output| match output {
            Output::Send { to: peer, message: OwnershipMessage::Query { id, set, .. } } if peer == name(to) => {
                Some((id, set))
            }
            _ => None,
        });
        asked.expect("a query")
    }

    fn answer(&mut self, from: usize, id: u64, answer: Answer) {
        self.hear(from, OwnershipMessage::Answer { id, answer: Box::new(answer) });
    }

    fn taken(&mut self) -> Vec<(Partition, bool, Option<MemberName>)> {
        let outputs = self.outputs().into_iter();
        let takes = outputs.filter_map(|output| match output {
            Output::Take { partition, fresh, lost_from } => Some((partition, fresh, lost_from)),
            _ => None,
        });
        takes.collect()
    }
}

#[test]
fn nothing_is_taken_before_every_live_member_has_answered() {
    let mut rig = Rig::new(&[1, 2]);
    let (id, asked) = rig.query_to(1);
    assert!(asked.iter().all(|p| rig.node.view().owner(p) == Some(&name(0))));
    rig.answer(1, id, Answer::default());
    assert_eq!(rig.taken(), []);
    rig.answer(2, id, Answer::default());
    let taken: Vec<_> = rig.taken().into_iter().collect();
    assert_eq!(taken, asked.iter().map(|p| (p, true, None)).collect::<Vec<_>>());
}

#[test]
fn a_member_that_does_not_answer_is_passed_over_when_it_dies_and_not_before() {
    let mut rig = Rig::new(&[1, 2]);
    let (id, asked) = rig.query_to(2);
    let elsewhere = vec![Known { member: name(1), set: asked.clone() }];
    rig.answer(2, id, Answer { elsewhere, ..Answer::default() });
    for _ in 0..100 {
        rig.now += Duration::from_secs(1);
        rig.put(Input::Tick);
    }
    assert_eq!(rig.taken(), []);
    rig.put(Input::MemberDown(name(1)));
    // Node 2 is asked once more: its answer was about node 1.
    let (again, rest) = rig.query_to(2);
    for id in [id, again] {
        rig.answer(2, id, Answer::default());
    }
    assert_eq!(rig.taken().len(), asked.len() + rest.len());
}

#[test]
fn what_is_held_elsewhere_is_waited_for_and_routed_there() {
    let mut rig = Rig::new(&[1]);
    let (id, asked) = rig.query_to(1);
    rig.answer(1, id, Answer { held: asked.clone(), ..Answer::default() });
    assert_eq!(rig.taken(), []);
    assert!(asked.iter().all(|p| rig.node.target(p) == Target::Forward(name(1))));
}

#[test]
fn a_holder_that_somebody_names_is_asked_once_more_before_its_partition_is_taken() {
    let mut rig = Rig::new(&[1, 2]);
    let (id, asked) = rig.query_to(1);
    let elsewhere = vec![Known { member: name(2), set: asked.clone() }];
    rig.answer(2, id, Answer::default());
    rig.answer(1, id, Answer { elsewhere: elsewhere.clone(), ..Answer::default() });
    let (again, same) = rig.query_to(2);
    assert_eq!((again, &same), (id, &asked));
    // Node 2 was given them meanwhile.
    rig.answer(1, id, Answer { elsewhere, ..Answer::default() });
    rig.answer(2, id, Answer { held: asked, ..Answer::default() });
    assert_eq!(rig.taken(), []);
}

#[test]
fn who_died_with_a_partition_is_told_when_it_is_taken() {
    let mut rig = Rig::new(&[1, 2]);
    let (id, asked) = rig.query_to(1);
    rig.answer(2, id, Answer::default());
    let lost = vec![Known { member: name(9), set: asked.clone() }];
    rig.answer(1, id, Answer { lost, ..Answer::default() });
    assert!(rig.taken().iter().all(|(_, fresh, from)| !fresh && *from == Some(name(9))));
}

#[test]
fn of_two_claimants_the_preferred_one_goes_on() {
    // Node 0's view lacks node 7, so it claims what node 7 would own.
    let mut rig = Rig::new(&[1]);
    rig.put(Input::LinkUp(name(7)));
    let (id, asked) = rig.query_to(1);
    let better = set(&asked.iter().filter(|p| outranks(&name(7), &name(0), *p)).collect::<Vec<_>>());
    assert!(!better.is_empty() && better.len() < asked.len());
    rig.hear(7, OwnershipMessage::Query { id: 1, purpose: Purpose::Claim, set: asked.clone() });
    let answered = rig.outputs().into_iter().find_map(|output| match output {
        Output::Send { message: OwnershipMessage::Answer { answer, .. }, .. } => Some(answer.claiming),
        _ => None,
    });
    assert_eq!(answered.unwrap().len(), asked.len() - better.len());
    rig.answer(1, id, Answer::default());
    rig.answer(7, id, Answer::default());
    assert_eq!(rig.taken().len(), asked.len() - better.len());
}

#[test]
fn a_claim_is_remembered_and_told_to_a_claimant_that_does_not_know_it() {
    let mut rig = Rig::new(&[1, 2]);
    let (id, mine) = rig.query_to(1);
    let other = (0..16).find(|p| !mine.contains(*p)).unwrap();
    for claimant in [1, 2] {
        rig.hear(claimant, OwnershipMessage::Query { id: 5, purpose: Purpose::Claim, set: set(&[other]) });
    }
    let told = rig.outputs().into_iter().rev().find_map(|output| match output {
        Output::Send { message: OwnershipMessage::Answer { answer, .. }, .. } => Some(answer.claimed),
        _ => None,
    });
    assert_eq!(told.unwrap(), [Known { member: name(1), set: set(&[other]) }]);
    // And one that this member does not know makes it wait.
    let claimed = vec![Known { member: name(8), set: mine.clone() }];
    rig.answer(1, id, Answer { claimed, ..Answer::default() });
    rig.answer(2, id, Answer::default());
    assert_eq!(rig.taken(), []);
    rig.now += Settings::default().retry;
    rig.put(Input::Tick);
    assert_eq!(rig.query_to(1).1, mine);
}

/// A member that holds everything, and one that comes and is handed one partition.
fn handing_over() -> (Rig, Partition) {
    let mut rig = Rig::new(&[]);
    assert_eq!(rig.taken().len(), 16);
    rig.put(Input::MemberUp { name: name(1), placeable: true });
    rig.put(Input::LinkUp(name(1)));
    let partition = (0..16).find(|p| rig.node.view().owner(*p) == Some(&name(1))).unwrap();
    rig.hear(1, OwnershipMessage::Accept { set: set(&[partition]) });
    assert!(rig.outputs().contains(&Output::Transfer { partition, to: name(1) }));
    (rig, partition)
}

#[test]
fn a_copy_is_kept_until_the_new_holder_has_it() {
    let (mut rig, partition) = handing_over();
    assert_eq!(rig.node.target(partition), Target::Park);
    rig.put(Input::Transferred(partition));
    assert_eq!(rig.node.target(partition), Target::Forward(name(1)));
    assert!(!rig.outputs().contains(&Output::Drop(partition)));
    rig.hear(1, OwnershipMessage::Installed { set: set(&[partition]) });
    assert!(rig.outputs().contains(&Output::Drop(partition)));
    assert_eq!(rig.node.holder(partition), Some(&name(1)));
}

#[test]
fn a_new_holder_that_dies_gives_the_copy_back() {
    let (mut rig, partition) = handing_over();
    rig.put(Input::Transferred(partition));
    rig.put(Input::MemberDown(name(1)));
    assert!(rig.outputs().contains(&Output::Restore { partition, died: Some(name(1)) }));
    assert_eq!(rig.node.target(partition), Target::Local);
}

#[test]
fn a_broken_link_leaves_neither_copy_served_until_it_is_known_what_arrived() {
    for arrived in [true, false] {
        let (mut rig, partition) = handing_over();
        rig.put(Input::Transferred(partition));
        rig.put(Input::LinkDown(name(1)));
        assert_eq!(rig.node.target(partition), Target::Park);
        rig.put(Input::LinkUp(name(1)));
        let (id, asked) = rig.query_to(1);
        assert_eq!(asked, set(&[partition]));
        let held = if arrived { asked } else { PartitionSet::new() };
        rig.answer(1, id, Answer { held, ..Answer::default() });
        let outputs = rig.outputs();
        let restored = outputs.contains(&Output::Restore { partition, died: None });
        assert_eq!((restored, outputs.contains(&Output::Drop(partition))), (!arrived, arrived));
    }
}

#[test]
fn an_offer_of_what_is_held_is_merged() {
    let mut rig = Rig::new(&[]);
    rig.put(Input::LinkUp(name(1)));
    rig.outputs();
    rig.hear(1, OwnershipMessage::Offer { set: set(&[3]) });
    assert!(rig.outputs().contains(&Output::Receive { partition: 3, from: name(1), merge: true }));
    assert_eq!(rig.node.target(3), Target::Local);
    rig.put(Input::Installed { partition: 3, from: name(1) });
    let installed = OwnershipMessage::Installed { set: set(&[3]) };
    assert!(rig.outputs().contains(&Output::Send { to: name(1), message: installed }));
}

#[test]
fn messages_about_partitions_that_the_mesh_does_not_have_change_nothing() {
    let mut rig = Rig::new(&[1]);
    rig.outputs();
    let all: PartitionSet = (16..=u16::MAX).collect();
    for message in [
        OwnershipMessage::Offer { set: all.clone() },
        OwnershipMessage::Accept { set: all.clone() },
        OwnershipMessage::Decline { set: all.clone() },
        OwnershipMessage::Withdraw { set: all.clone() },
        OwnershipMessage::Installed { set: all.clone() },
        OwnershipMessage::Holding { set: all.clone() },
        OwnershipMessage::Query { id: 1, purpose: Purpose::Claim, set: all.clone() },
        OwnershipMessage::Query { id: 1, purpose: Purpose::Confirm, set: all },
        OwnershipMessage::NotHere { partition: u16::MAX },
        OwnershipMessage::Answer { id: 99, answer: Box::default() },
        OwnershipMessage::DrainedNoted,
    ] {
        rig.hear(1, message);
    }
    rig.put(Input::Transferred(u16::MAX));
    rig.put(Input::Installed { partition: u16::MAX, from: name(1) });
    rig.put(Input::Misrouted { partition: u16::MAX, from: name(1) });
    assert_eq!(rig.node.target(u16::MAX), Target::Park);
    let changes = rig.outputs().into_iter().filter(|o| !matches!(o, Output::Send { .. }));
    assert_eq!(changes.collect::<Vec<_>>(), []);
}
