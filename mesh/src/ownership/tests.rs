//! The rules one by one, with messages put in by hand. The simulator has the whole protocol at work.

use super::sides::{RETURN, RUMOUR};
use super::*;
use crate::key_index::Indexed;
use crate::placement::outranks;
use statemesh_protocol::peer::ownership::{Answer, Cut, HandoffNumber, Known, Missing, Purpose};

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
        let node = Ownership::new(name(0), 7, 16, Settings::default());
        let mut rig = Self { node, now: Instant::now() };
        for peer in peers {
            rig.meet(*peer);
        }
        rig.put(Input::Activate);
        rig
    }

    /// A member comes, and a link to it.
    fn meet(&mut self, n: usize) {
        self.put(Input::MemberUp { name: name(n), incarnation: 1, placeable: true });
        self.put(Input::LinkUp(name(n)));
    }

    /// No member had declared this one dead.
    fn all_met(&mut self) {
        [1, 2].into_iter().for_each(|n| self.hear(n, OwnershipMessage::Met { buried: false, cut: None }));
    }

    fn dies(&mut self, n: usize) {
        self.put(Input::MemberDown { name: name(n), left: false });
    }

    /// The offer sent to a member lately.
    fn offer_to(&mut self, to: usize) -> (HandoffNumber, u32, PartitionSet) {
        let offered = self.outputs().into_iter().rev().find_map(|output| match output {
            Output::Send { to: peer, message: OwnershipMessage::Offer { number, side, set, .. } }
                if peer == name(to) =>
            {
                Some((number, side, set))
            }
            _ => None,
        });
        offered.expect("an offer")
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
            Output::Adopt { partition, lost_from, .. } => Some((partition, lost_from.is_none(), lost_from)),
            _ => None,
        });
        takes.collect()
    }
}

fn query(output: Output) -> Option<(u64, PartitionSet)> {
    match output {
        Output::Send { message: OwnershipMessage::Query { id, set, .. }, .. } => Some((id, set)),
        _ => None,
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
    rig.dies(1);
    // Node 2 is asked once more: its answer was about node 1. And about what node 1 owned.
    let queries: Vec<_> = rig.outputs().into_iter().filter_map(query).collect();
    let partitions = queries.iter().map(|(_, set)| set.len()).sum();
    assert!(queries.iter().any(|(_, set)| *set == asked));
    for (id, _) in queries {
        rig.answer(2, id, Answer::default());
    }
    assert_eq!(rig.taken().len(), partitions);
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
    assert_eq!(same, asked);
    // What was asked before is answered late, and says nothing of what happened since.
    rig.answer(2, id, Answer::default());
    // Node 2 was given them meanwhile.
    rig.answer(1, again, Answer { elsewhere, ..Answer::default() });
    assert_eq!(rig.taken(), []);
    rig.answer(2, again, Answer { held: asked, ..Answer::default() });
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

/// A member that holds everything, and one that comes and is handed one partition, by this number.
fn handing_off() -> (Rig, Partition, HandoffNumber) {
    let mut rig = Rig::new(&[]);
    assert_eq!(rig.taken().len(), 16);
    rig.meet(1);
    let (number, _, set) = rig.offer_to(1);
    let partition = set.iter().next().unwrap();
    rig.hear(1, OwnershipMessage::Accept { number, set: one(partition) });
    assert!(rig.outputs().contains(&Output::HandOff { partition, number, to: name(1) }));
    (rig, partition, number)
}

fn one(partition: Partition) -> PartitionSet {
    set(&[partition])
}

#[test]
fn a_copy_is_kept_until_the_new_holder_has_it() {
    let (mut rig, partition, number) = handing_off();
    assert_eq!(rig.node.target(partition), Target::Park);
    rig.put(Input::HandedOff { partition, number });
    assert_eq!(rig.node.target(partition), Target::Forward(name(1)));
    assert!(!rig.outputs().contains(&Output::Release(partition)));
    rig.hear(1, OwnershipMessage::Received { number, set: one(partition) });
    assert!(rig.outputs().contains(&Output::Release(partition)));
    assert_eq!(rig.node.holder(partition), Some(&name(1)));
}

#[test]
fn what_is_said_of_one_hand_off_counts_for_no_other() {
    let (mut rig, partition, number) = handing_off();
    for other in [number - 1, number + 1] {
        rig.put(Input::HandedOff { partition, number: other });
        assert_eq!(rig.node.target(partition), Target::Park);
        rig.hear(1, OwnershipMessage::Received { number: other, set: one(partition) });
    }
    assert_eq!(rig.outputs(), []);
    // And a receiver installs what it accepted.
    let mut rig = Rig::new(&[1]);
    rig.outputs();
    rig.hear(1, OwnershipMessage::Offer { number: 5, side: 1, came: false, doubtful: false, set: one(3) });
    rig.put(Input::Received { partition: 3, number: 4, from: name(1) });
    rig.hear(1, OwnershipMessage::Withdraw { number: 4, set: one(3) });
    assert_eq!(rig.node.target(3), Target::Park);
    rig.put(Input::Received { partition: 3, number: 5, from: name(1) });
    assert_eq!(rig.node.target(3), Target::Local);
}

#[test]
fn a_process_gives_no_number_that_its_predecessor_gave() {
    let number = |incarnation| {
        let node = Ownership::new(name(0), incarnation, 16, Settings::default());
        let mut rig = Rig { node, now: Instant::now() };
        rig.put(Input::Activate);
        rig.meet(1);
        rig.offer_to(1).0
    };
    assert!(number(8) > number(7) + (1 << 19));
}

#[test]
fn a_new_holder_that_dies_gives_the_copy_back() {
    let (mut rig, partition, number) = handing_off();
    rig.put(Input::HandedOff { partition, number });
    rig.dies(1);
    assert!(rig.outputs().contains(&Output::Reopen { partition, died: Some(name(1)), unnamed: true, asked: true }));
    assert_eq!(rig.node.target(partition), Target::Local);
}

#[test]
fn a_copy_that_comes_back_is_served_when_all_have_said_that_they_hold_no_other_and_what_they_know_of_its_keys() {
    let (mut rig, partition, number) = handing_off();
    rig.put(Input::HandedOff { partition, number });
    rig.meet(2);
    rig.dies(1);
    // The new holder served it for a moment, and told its standby.
    let (id, asked) = rig.query_to(2);
    assert!(asked.contains(partition));
    rig.answer(2, id, Answer { indexed: one(partition), ..Answer::default() });
    assert_eq!(rig.node.target(partition), Target::Park);
    let fetch = OwnershipMessage::Fetch { purpose: Purpose::Doubt, set: one(partition) };
    let restore = Output::Reopen { partition, died: Some(name(1)), unnamed: false, asked: true };
    let outputs = rig.outputs();
    assert!(outputs.contains(&Output::Send { to: name(2), message: fetch }), "{outputs:?}");
    assert!(!outputs.contains(&restore));
    rig.hear(2, OwnershipMessage::Told { set: one(partition), whole: one(partition) });
    assert!(rig.outputs().contains(&restore));
}

#[test]
fn a_broken_link_leaves_neither_copy_served_until_it_is_known_what_arrived() {
    for arrived in [true, false] {
        let (mut rig, partition, number) = handing_off();
        rig.put(Input::HandedOff { partition, number });
        rig.put(Input::LinkDown(name(1)));
        assert_eq!(rig.node.target(partition), Target::Park);
        rig.put(Input::LinkUp(name(1)));
        let asked = OwnershipMessage::Confirm { number, set: one(partition) };
        assert!(rig.outputs().contains(&Output::Send { to: name(1), message: asked }));
        let set = if arrived { one(partition) } else { PartitionSet::new() };
        rig.hear(1, OwnershipMessage::Arrived { number, asked: one(partition), set });
        let outputs = rig.outputs();
        let restored = outputs.contains(&Output::Reopen { partition, died: None, unnamed: false, asked: false });
        assert_eq!((restored, outputs.contains(&Output::Release(partition))), (!arrived, arrived));
    }
}

#[test]
fn that_a_member_holds_a_partition_does_not_say_that_it_got_this_copy_of_it() {
    let (mut rig, partition, number) = handing_off();
    rig.put(Input::LinkDown(name(1)));
    rig.put(Input::LinkUp(name(1)));
    // It held a copy of its own before.
    rig.hear(1, OwnershipMessage::Serving { set: one(partition) });
    rig.hear(1, OwnershipMessage::Arrived { number, asked: one(partition), set: PartitionSet::new() });
    let outputs = rig.outputs();
    assert!(!outputs.contains(&Output::Release(partition)), "{outputs:?}");
    // The copy is offered again, and not served meanwhile.
    let offered = |output: &Output| matches!(output, Output::Send { message: OwnershipMessage::Offer { set, .. }, .. } if set.contains(partition));
    assert!(outputs.iter().any(offered), "{outputs:?}");
    assert_eq!(rig.node.target(partition), Target::Park);
}

#[test]
fn whether_a_hand_off_arrived_is_answered_for_that_one_even_after_it_was_handed_on() {
    let mut rig = Rig::new(&[1]);
    rig.hear(1, OwnershipMessage::Offer { number: 5, side: 1, came: false, doubtful: false, set: one(3) });
    rig.put(Input::Received { partition: 3, number: 5, from: name(1) });
    rig.dies(1);
    rig.meet(1);
    rig.outputs();
    for (number, set) in [(5, one(3)), (4, PartitionSet::new()), (6, PartitionSet::new())] {
        rig.hear(1, OwnershipMessage::Confirm { number, set: one(3) });
        let message = OwnershipMessage::Arrived { number, asked: one(3), set };
        assert_eq!(rig.outputs(), [Output::Send { to: name(1), message }]);
    }
}

#[test]
fn an_offer_of_what_is_held_is_merged() {
    let mut rig = Rig::new(&[]);
    rig.put(Input::LinkUp(name(1)));
    rig.outputs();
    rig.hear(1, OwnershipMessage::Offer { number: 9, side: 1, came: false, doubtful: false, set: set(&[3]) });
    let merge = Some(Winner::Longer);
    assert!(rig.outputs().contains(&Output::Receive { partition: 3, number: 9, from: name(1), merge }));
    assert_eq!(rig.node.target(3), Target::Local);
    rig.put(Input::Received { partition: 3, number: 9, from: name(1) });
    let installed = OwnershipMessage::Received { number: 9, set: set(&[3]) };
    assert!(rig.outputs().contains(&Output::Send { to: name(1), message: installed }));
}

/// A member of three that holds what is its own.
fn holding() -> (Rig, PartitionSet) {
    let mut rig = Rig::new(&[1, 2]);
    let (id, mine) = rig.query_to(1);
    rig.answer(1, id, Answer::default());
    rig.answer(2, id, Answer::default());
    assert_eq!(rig.taken().len(), mine.len());
    (rig, mine)
}

#[test]
fn who_was_paused_serves_nothing_before_all_have_said_what_they_hold() {
    let (mut rig, mine) = holding();
    rig.put(Input::Doubt(Reason::Paused));
    let suspended = rig.outputs();
    for p in mine.iter() {
        assert!(suspended.contains(&Output::Suspend(p)));
        assert_eq!(rig.node.target(p), Target::Park);
    }
    let asked = suspended.iter().find_map(|output| match output {
        Output::Send { message: OwnershipMessage::Query { id, purpose: Purpose::Doubt, set }, .. } => {
            Some((*id, set.clone()))
        }
        _ => None,
    });
    let (id, asked) = asked.unwrap();
    assert_eq!(asked, mine);
    rig.answer(1, id, Answer::default());
    assert!(mine.iter().all(|p| rig.node.target(p) == Target::Park));
    // One of them was adopted by node 2, which serves it until it hands it over: what comes here waits for that, as an answer from
    // there would not know of this copy. The others are served again.
    let theirs = mine.iter().next().unwrap();
    rig.answer(2, id, Answer { held: one(theirs), ..Answer::default() });
    assert_eq!(rig.node.target(theirs), Target::Park);
    let restored = rig.outputs();
    for p in mine.iter().filter(|p| *p != theirs) {
        assert!(restored.contains(&Output::Reopen { partition: p, died: None, unnamed: false, asked: true }));
        assert_eq!(rig.node.target(p), Target::Local);
    }
    rig.hear(2, OwnershipMessage::Offer { number: 4, side: 2, came: false, doubtful: false, set: one(theirs) });
    let merge = Some(Winner::Here);
    assert!(rig.outputs().contains(&Output::Receive { partition: theirs, number: 4, from: name(2), merge }));
    assert_eq!(rig.node.target(theirs), Target::Park);
    rig.put(Input::Received { partition: theirs, number: 4, from: name(2) });
    assert_eq!(rig.node.target(theirs), Target::Local);
}

#[test]
fn who_is_told_that_it_was_buried_by_those_it_counted_doubts_and_its_side_is_itself() {
    let (mut rig, mine) = holding();
    let p = mine.iter().next().unwrap();
    for other in [1, 2] {
        rig.put(Input::LinkDown(name(other)));
        rig.put(Input::LinkUp(name(other)));
        rig.hear(other, OwnershipMessage::Met { buried: true, cut: None });
        let outputs = rig.outputs();
        assert!(outputs.contains(&Output::Suspend(p)) == (other == 1));
        // How many its side counts is not known before all have said whether they counted it.
        if other == 1 {
            rig.hear(1, OwnershipMessage::Offer { number: 3, side: 2, came: false, doubtful: false, set: one(p) });
            let declined = OwnershipMessage::Decline { number: 3, set: one(p) };
            assert!(rig.outputs().contains(&Output::Send { to: name(1), message: declined }));
        }
    }
    rig.hear(2, OwnershipMessage::Offer { number: 4, side: 2, came: false, doubtful: false, set: one(p) });
    let merge = Some(Winner::Coming);
    assert!(rig.outputs().contains(&Output::Receive { partition: p, number: 4, from: name(2), merge }));
}

#[test]
fn who_was_alone_and_is_not_concludes_nothing_before_all_had_time_to_come_back() {
    let reopens = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::Reopen { .. }));
    for all_come in [true, false] {
        let (mut rig, held) = holding();
        [1, 2].into_iter().for_each(|n| rig.dies(n));
        rig.now += RUMOUR;
        rig.put(Input::Tick);
        rig.outputs();
        rig.put(Input::Doubt(Reason::TakenForDead));
        rig.meet(1);
        rig.hear(1, OwnershipMessage::Met { buried: true, cut: None });
        let (id, asked) = rig.query_to(1);
        assert!(held.iter().all(|p| asked.contains(p)));
        rig.answer(1, id, Answer::default());
        assert!(!reopens(&rig.outputs()), "node 2 may hold them");
        if all_come {
            rig.meet(2);
            rig.hear(2, OwnershipMessage::Met { buried: true, cut: None });
            let (id, _) = rig.query_to(2);
            [1, 2].into_iter().for_each(|n| rig.answer(n, id, Answer::default()));
        } else {
            assert!(rig.node.next_deadline().is_some_and(|at| at <= rig.now + RETURN));
            rig.now += RETURN;
            rig.put(Input::Tick);
        }
        assert!(reopens(&rig.outputs()), "{all_come}");
    }
}

#[test]
fn one_that_leaves_while_it_is_cut_off_waits_for_those_that_may_come_back() {
    for left in [false, true] {
        let (mut rig, _) = holding();
        [1, 2].into_iter().for_each(|n| rig.put(Input::MemberDown { name: name(n), left }));
        rig.now += RUMOUR;
        rig.put(Input::Tick);
        rig.put(Input::Leave);
        assert_eq!(rig.node.drained(), left);
    }
}

#[test]
fn a_side_that_no_other_can_outnumber_goes_on_serving() {
    let (mut rig, mine) = holding();
    rig.dies(1);
    rig.now += RUMOUR;
    rig.put(Input::Doubt(Reason::TakenForDead));
    rig.meet(1);
    rig.hear(1, OwnershipMessage::Met { buried: true, cut: None });
    assert!(mine.iter().all(|p| rig.node.target(p) == Target::Local));
    rig.hear(1, OwnershipMessage::Offer { number: 4, side: 1, came: false, doubtful: false, set: mine.clone() });
    let here = |output: &Output| matches!(output, Output::Receive { merge: Some(Winner::Here), .. });
    assert_eq!(rig.outputs().iter().filter(|output| here(output)).count(), mine.len());
    // One of two has no majority.
    let mut rig = Rig::new(&[1]);
    let (id, _) = rig.query_to(1);
    rig.answer(1, id, Answer::default());
    rig.dies(1);
    rig.outputs();
    rig.put(Input::MemberUp { name: name(1), incarnation: 1, placeable: true });
    rig.put(Input::Doubt(Reason::TakenForDead));
    assert_eq!(rig.outputs().iter().filter(|output| matches!(output, Output::Suspend(_))).count(), 16);
}

#[test]
fn a_copy_in_doubt_is_offered_to_the_holder_of_another_that_owns_it() {
    let (mut rig, _) = holding();
    // What node 2 owns came here while it was away.
    rig.dies(2);
    rig.now += RUMOUR;
    let adopted: Vec<Partition> = {
        let (id, asked) = rig.query_to(1);
        rig.answer(1, id, Answer::default());
        asked.iter().collect()
    };
    let p = adopted[0];
    rig.put(Input::MemberUp { name: name(2), incarnation: 1, placeable: true });
    rig.put(Input::Doubt(Reason::Paused));
    rig.put(Input::LinkUp(name(2)));
    rig.all_met();
    rig.outputs();
    rig.hear(2, OwnershipMessage::Serving { set: one(p) });
    let (number, side, set) = rig.offer_to(2);
    assert_eq!((side, &set), (2, &one(p)));
    assert_eq!(rig.node.target(p), Target::Park);
    rig.hear(2, OwnershipMessage::Accept { number, set });
    assert!(rig.outputs().contains(&Output::HandOff { partition: p, number, to: name(2) }));
}

#[test]
fn a_copy_in_doubt_is_offered_as_soon_as_an_answer_names_the_other_holder() {
    let (mut rig, _) = holding();
    rig.dies(2);
    let (id, asked) = rig.query_to(1);
    rig.answer(1, id, Answer::default());
    let p = asked.iter().next().unwrap();
    rig.meet(2);
    rig.put(Input::Doubt(Reason::Paused));
    let (id, doubted) = rig.query_to(2);
    assert!(doubted.contains(p));
    rig.answer(2, id, Answer { held: one(p), ..Answer::default() });
    // Whether the other one has gone on without this member is not known yet.
    assert!(
        !rig.outputs()
            .iter()
            .any(|output| matches!(output, Output::Send { message: OwnershipMessage::Offer { .. }, .. }))
    );
    rig.answer(1, id, Answer::default());
    assert_eq!(rig.offer_to(2).2, one(p));
}

#[test]
fn who_adopts_a_partition_fetches_its_keys_from_all_that_were_told_before_it_serves_it() {
    for source_dies in [false, true] {
        let mut rig = Rig::new(&[1, 2]);
        let (id, asked) = rig.query_to(1);
        rig.answer(2, id, Answer::default());
        let p = asked.iter().next().unwrap();
        rig.answer(1, id, Answer { indexed: one(p), ..Answer::default() });
        let taken = rig.outputs();
        let takes = taken.iter().filter(|output| matches!(output, Output::Adopt { .. })).count();
        assert_eq!((takes, rig.node.target(p)), (asked.len() - 1, Target::Park));
        let fetch = OwnershipMessage::Fetch { purpose: Purpose::Claim, set: one(p) };
        assert!(taken.contains(&Output::Send { to: name(1), message: fetch }));
        // A better claimant that comes now is heard as one that was there before.
        rig.hear(2, OwnershipMessage::Told { set: one(p), whole: one(p) });
        assert_eq!(rig.taken(), []);
        if source_dies {
            rig.dies(1);
        } else {
            rig.hear(1, OwnershipMessage::Told { set: one(p), whole: one(p) });
        }
        assert!(rig.taken().iter().any(|(partition, ..)| *partition == p));
    }
}

#[test]
fn what_nobody_was_told_of_is_taken_as_unnamed() {
    // It was told to no member, to one that dies before it says it, to one that says it, or to this member.
    for (told, dies, unnamed) in [(false, false, true), (true, true, true), (true, false, false), (false, true, false)]
    {
        let mut rig = Rig::new(&[1, 2]);
        let (id, asked) = rig.query_to(1);
        if !told && dies {
            rig.put(Input::Indexed(Indexed { all: asked.clone(), whole: asked.clone(), ..Indexed::default() }));
        }
        let p = asked.iter().next().unwrap();
        let lost = vec![Known { member: name(9), set: one(p) }];
        rig.answer(2, id, Answer { lost, ..Answer::default() });
        let indexed = if told { one(p) } else { PartitionSet::new() };
        rig.answer(1, id, Answer { indexed, ..Answer::default() });
        if told && dies {
            rig.dies(1);
        } else if told {
            rig.hear(1, OwnershipMessage::Told { set: one(p), whole: one(p) });
        }
        let taken = rig.outputs();
        let taken = taken.iter().filter_map(|output| match output {
            Output::Adopt { partition, unnamed, .. } => Some((*partition, *unnamed)),
            _ => None,
        });
        // Of what no member ever held nothing is lost.
        assert!(taken.clone().all(|(partition, is)| is == (unnamed && partition == p)));
        assert!(taken.count() > 0);
    }
}

#[test]
fn one_that_is_met_while_keys_are_gathered_is_asked_too() {
    let mut rig = Rig::new(&[1]);
    let (id, asked) = rig.query_to(1);
    rig.answer(1, id, Answer { indexed: asked.clone(), ..Answer::default() });
    rig.put(Input::MemberUp { name: name(2), incarnation: 1, placeable: false });
    rig.put(Input::LinkUp(name(2)));
    let (id, again) = rig.query_to(2);
    assert_eq!(again, asked);
    rig.hear(1, OwnershipMessage::Told { set: asked.clone(), whole: asked.clone() });
    assert_eq!(rig.taken(), []);
    let p = asked.iter().next().unwrap();
    rig.answer(2, id, Answer { held: one(p), ..Answer::default() });
    assert_eq!(rig.taken(), []);
    rig.hear(1, OwnershipMessage::Told { set: asked.clone(), whole: asked.clone() });
    assert_eq!(rig.taken().len(), asked.len() - 1);
}

#[test]
fn a_member_that_knows_keys_says_so_and_passes_them_on() {
    let mut rig = Rig::new(&[1]);
    rig.put(Input::Indexed(Indexed { all: set(&[2, 3]), whole: set(&[2, 3]), ..Indexed::default() }));
    rig.outputs();
    rig.hear(1, OwnershipMessage::Query { id: 5, purpose: Purpose::Claim, set: set(&[1, 2]) });
    let indexed = rig.outputs().into_iter().find_map(|output| match output {
        Output::Send { message: OwnershipMessage::Answer { answer, .. }, .. } => Some(answer.indexed),
        _ => None,
    });
    assert_eq!(indexed, Some(one(2)));
    rig.hear(1, OwnershipMessage::Fetch { purpose: Purpose::Doubt, set: one(2) });
    let relay = Output::Relay { to: name(1), purpose: Purpose::Doubt, set: one(2) };
    assert_eq!(rig.outputs(), [relay]);
}

#[test]
fn a_holder_whose_twin_dies_asks_what_was_known_of_the_keys_that_went_with_it() {
    let (mut rig, mine) = holding();
    let p = mine.iter().next().unwrap();
    rig.hear(2, OwnershipMessage::Serving { set: one(p) });
    rig.outputs();
    rig.dies(2);
    let outputs = rig.outputs();
    assert!(outputs.contains(&Output::Suspend(p)), "{outputs:?}");
    let asked = |output: &Output| matches!(output, Output::Send { message: OwnershipMessage::Query { purpose: Purpose::Doubt, set, .. }, .. } if *set == one(p));
    assert!(outputs.iter().any(asked), "{outputs:?}");
}

/// Node 2 died. It had told of the keys of a partition that node 1 holds, which was cut off.
fn with_what_died_on_this_side(p: Partition) -> Rig {
    let mut rig = Rig::new(&[1, 2]);
    let (id, asked) = rig.query_to(1);
    for other in [1, 2] {
        rig.answer(other, id, Answer { held: asked.clone(), ..Answer::default() });
    }
    rig.hear(2, OwnershipMessage::Serving { set: one(p) });
    rig.put(Input::LinkDown(name(1)));
    rig.dies(1);
    rig.now += RUMOUR;
    rig.put(Input::Tick);
    rig.meet(1);
    rig.hear(1, OwnershipMessage::Met { buried: true, cut: None });
    rig.outputs();
    rig
}

fn died(rig: &mut Rig, p: Partition) {
    rig.dies(2);
    let of_dead = std::iter::once((name(2), one(p))).collect();
    rig.put(Input::Indexed(Indexed { all: one(p), whole: one(p), of_dead }));
}

fn mourned(rig: &mut Rig) -> Vec<Output> {
    rig.outputs().into_iter().filter(|output| matches!(output, Output::Mourn { .. })).collect()
}

#[test]
fn what_one_did_on_this_side_before_it_died_is_told_to_a_holder_that_was_apart() {
    let p = (0..16).find(|p| outranks(&name(1), &name(0), *p)).unwrap();
    let mourn = Output::Mourn { partition: p, lost_from: name(2) };
    let mut rig = with_what_died_on_this_side(p);
    rig.hear(1, OwnershipMessage::Serving { set: one(p) });
    died(&mut rig, p);
    assert_eq!(mourned(&mut rig), [], "its death may be a rumour");
    rig.now += RUMOUR;
    rig.put(Input::Tick);
    rig.put(Input::Tick);
    let outputs = rig.outputs();
    assert!(outputs.contains(&mourn), "{outputs:?}");
    // What there is of it is offered like any copy in doubt.
    let (id, _) = outputs.into_iter().find_map(query).expect("it asks who holds it");
    rig.answer(1, id, Answer { held: one(p), ..Answer::default() });
    let (_, _, offered) = rig.offer_to(1);
    assert_eq!(offered, one(p));
    // It was a rumour.
    let mut rig = with_what_died_on_this_side(p);
    rig.hear(1, OwnershipMessage::Serving { set: one(p) });
    died(&mut rig, p);
    rig.meet(2);
    rig.now += RUMOUR;
    rig.put(Input::Tick);
    let outputs = rig.outputs();
    assert!(
        outputs.contains(&Output::Back { name: name(2), incarnation: 1 }) && !outputs.contains(&mourn),
        "{outputs:?}"
    );
}

#[test]
fn what_one_did_on_this_side_is_told_where_the_copy_of_the_other_side_has_come_to() {
    let mut rig = Rig::new(&[1, 2]);
    let p = (0..16).find(|p| rig.node.view().owner(*p) == Some(&name(0))).unwrap();
    rig = with_what_died_on_this_side(p);
    rig.hear(1, OwnershipMessage::Serving { set: one(p) });
    rig.hear(1, OwnershipMessage::Offer { number: 5, side: 3, came: false, doubtful: false, set: one(p) });
    rig.put(Input::Received { partition: p, number: 5, from: name(1) });
    assert_eq!((rig.node.target(p), rig.node.beside(p)), (Target::Local, Some(&name(2))));
    died(&mut rig, p);
    rig.now += RUMOUR;
    rig.put(Input::Tick);
    assert_eq!(mourned(&mut rig), [Output::Mourn { partition: p, lost_from: name(2) }]);
    assert_eq!((rig.node.target(p), rig.node.beside(p)), (Target::Local, None));
}

/// Node 2 was cut off, came back, and dies before its copy of a partition has met that of its holder: this member, or node 1.
fn died_after_it_came_back(holder: usize, p: Partition) -> Vec<Output> {
    let mut rig = Rig::new(&[1, 2]);
    let (id, asked) = rig.query_to(1);
    for other in [1, 2] {
        let held = if holder == 0 { PartitionSet::new() } else { asked.clone() };
        rig.answer(other, id, Answer { held, ..Answer::default() });
    }
    if holder == 1 {
        rig.hear(1, OwnershipMessage::Serving { set: one(p) });
    }
    rig.put(Input::LinkDown(name(2)));
    rig.dies(2);
    rig.now += RUMOUR;
    rig.put(Input::Tick);
    rig.meet(2);
    rig.hear(2, OwnershipMessage::Met { buried: true, cut: None });
    rig.outputs();
    died(&mut rig, p);
    let mut outputs = rig.outputs();
    rig.now += RUMOUR;
    rig.put(Input::Tick);
    rig.put(Input::Tick);
    outputs.extend(rig.outputs());
    outputs
}

#[test]
fn what_one_that_came_back_had_done_is_told_if_it_dies_before_its_copy_has_met_the_other() {
    let view = Rig::new(&[1, 2]).node.view().clone();
    let p = (0..16).find(|p| view.owner(*p) == Some(&name(0))).unwrap();
    let outputs = died_after_it_came_back(0, p);
    assert!(outputs.contains(&Output::Mourn { partition: p, lost_from: name(2) }), "{outputs:?}");
    // Of three members each is a standby of each other: the holder was told of the keys, and says it.
    let p = (0..16).find(|p| view.owner(*p) == Some(&name(1))).unwrap();
    let outputs = died_after_it_came_back(1, p);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Mourn { .. })), "{outputs:?}");
    let kept = |output: &Output| matches!(output, Output::Served { apart: true, set, .. } if set.contains(p));
    assert!(outputs.iter().any(kept), "{outputs:?}");
}

#[test]
fn a_merge_that_was_over_when_it_was_given_up_has_arrived() {
    let (mut rig, held) = holding();
    let p = held.iter().next().unwrap();
    rig.hear(1, OwnershipMessage::Offer { number: 9, side: 1, came: false, doubtful: false, set: one(p) });
    rig.put(Input::LinkDown(name(1)));
    // What the shell says late of it, and of one that it did not merge to the end.
    rig.put(Input::Received { partition: p, number: 9, from: name(1) });
    rig.put(Input::Received { partition: p, number: 8, from: name(1) });
    rig.put(Input::LinkUp(name(1)));
    rig.outputs();
    for (number, set) in [(9, one(p)), (8, PartitionSet::new())] {
        rig.hear(1, OwnershipMessage::Confirm { number, set: one(p) });
        let message = OwnershipMessage::Arrived { number, asked: one(p), set };
        assert_eq!(rig.outputs(), [Output::Send { to: name(1), message }]);
    }
}

#[test]
fn that_keys_were_told_is_known_also_if_another_member_is_met_since() {
    let mut rig = Rig::new(&[1, 2]);
    let (id, asked) = rig.query_to(1);
    let lost = vec![Known { member: name(3), set: asked.clone() }];
    for other in [1, 2] {
        rig.answer(other, id, Answer { indexed: asked.clone(), lost: lost.clone(), ..Answer::default() });
    }
    rig.hear(1, OwnershipMessage::Told { set: asked.clone(), whole: asked.clone() });
    rig.put(Input::MemberUp { name: name(4), incarnation: 1, placeable: false });
    rig.put(Input::LinkUp(name(4)));
    let (id, _) = rig.query_to(4);
    rig.answer(4, id, Answer::default());
    rig.dies(2);
    let taken = |output: &Output| match output {
        Output::Adopt { lost_from, unnamed, .. } => Some((lost_from.clone(), *unnamed)),
        _ => None,
    };
    let taken: Vec<_> = rig.outputs().iter().filter_map(taken).collect();
    assert!(taken.contains(&(Some(name(3)), false)) && taken.iter().all(|(_, unnamed)| !unnamed), "{taken:?}");
}

#[test]
fn that_a_leaving_member_was_noted_empty_does_not_count_once_it_held_something_again() {
    let mut rig = Rig::new(&[1]);
    let (id, asked) = rig.query_to(1);
    rig.answer(1, id, Answer { held: asked, ..Answer::default() });
    rig.put(Input::Leave);
    let drained = |rig: &mut Rig| {
        let said = rig.outputs().into_iter().rev().find_map(|output| match output {
            Output::Send { message: OwnershipMessage::Drained { number }, .. } => Some(number),
            _ => None,
        });
        said.expect("it says so")
    };
    let first = drained(&mut rig);
    // A copy that another member holds as well comes back, and goes again.
    rig.node.slots.set(3, Slot::Held);
    rig.node.review.request();
    rig.put(Input::Tick);
    let (number, _, set) = rig.offer_to(1);
    rig.hear(1, OwnershipMessage::Accept { number, set: set.clone() });
    rig.hear(1, OwnershipMessage::Received { number, set });
    let second = drained(&mut rig);
    rig.hear(1, OwnershipMessage::DrainedNoted { number: first });
    assert!(!rig.node.drained());
    rig.hear(1, OwnershipMessage::DrainedNoted { number: second });
    assert!(rig.node.drained());
}

#[test]
fn messages_about_partitions_that_the_mesh_does_not_have_change_nothing() {
    let mut rig = Rig::new(&[1]);
    rig.outputs();
    let all: PartitionSet = (16..=u16::MAX).collect();
    for message in [
        OwnershipMessage::Offer { number: 1, side: 1, came: false, doubtful: false, set: all.clone() },
        OwnershipMessage::Accept { number: 1, set: all.clone() },
        OwnershipMessage::Decline { number: 1, set: all.clone() },
        OwnershipMessage::Withdraw { number: 1, set: all.clone() },
        OwnershipMessage::Received { number: 1, set: all.clone() },
        OwnershipMessage::Serving { set: all.clone() },
        OwnershipMessage::Query { id: 1, purpose: Purpose::Claim, set: all.clone() },
        OwnershipMessage::Query { id: 1, purpose: Purpose::Doubt, set: all.clone() },
        OwnershipMessage::Confirm { number: 1, set: all.clone() },
        OwnershipMessage::Arrived { number: 1, asked: all.clone(), set: all.clone() },
        OwnershipMessage::Fetch { purpose: Purpose::Claim, set: all.clone() },
        OwnershipMessage::Told { set: all, whole: PartitionSet::new() },
        OwnershipMessage::Met { buried: false, cut: None },
        OwnershipMessage::NotHere { set: one(u16::MAX) },
        OwnershipMessage::Answer { id: 99, answer: Box::default() },
        OwnershipMessage::DrainedNoted { number: 0 },
    ] {
        rig.hear(1, message);
    }
    rig.put(Input::HandedOff { partition: u16::MAX, number: 1 });
    rig.put(Input::Received { partition: u16::MAX, number: 1, from: name(1) });
    rig.put(Input::Misrouted { partition: u16::MAX, from: name(1) });
    assert_eq!(rig.node.target(u16::MAX), Target::Park);
    // Nor is anything relayed or served that there is not.
    let nothing = |set: &PartitionSet| set.is_empty();
    let changes = rig.outputs().into_iter().filter(|output| match output {
        Output::Send { .. } => false,
        Output::Relay { set, .. } | Output::Served { set, .. } => !nothing(set),
        _ => true,
    });
    assert_eq!(changes.collect::<Vec<_>>(), []);
}

#[test]
fn what_cannot_be_read_is_given_back_and_its_holder_serves_it_again() {
    let (mut rig, partition, number) = handing_off();
    rig.put(Input::HandedOff { partition, number });
    rig.hear(1, OwnershipMessage::Decline { number, set: one(partition) });
    assert!(rig.outputs().contains(&Output::Reopen { partition, died: None, unnamed: false, asked: false }));
    assert_eq!(rig.node.target(partition), Target::Local);
    let offered = |rig: &mut Rig| {
        let is_offer = |output: &Output| matches!(output, Output::Send { message: OwnershipMessage::Offer { set, .. }, .. } if set.contains(partition));
        rig.outputs().iter().any(is_offer)
    };
    let mut waited = Duration::ZERO;
    while !offered(&mut rig) {
        waited += Duration::from_millis(100);
        rig.now += Duration::from_millis(100);
        rig.put(Input::Tick);
        assert!(waited < Duration::from_secs(60), "never offered again");
    }
    assert!(waited >= Duration::from_secs(30), "{waited:?}");
}

#[test]
fn a_receiver_that_cannot_read_what_came_says_so_and_forgets_it() {
    let mut rig = Rig::new(&[1]);
    let (id, asked) = rig.query_to(1);
    let partition = asked.iter().next().expect("a partition that is asked for");
    rig.answer(1, id, Answer { held: asked, ..Answer::default() });
    rig.hear(1, OwnershipMessage::Offer { number: 3, side: 1, came: false, doubtful: false, set: one(partition) });
    rig.outputs();
    rig.put(Input::Unreadable { partition, number: 3, from: name(1) });
    let outputs = rig.outputs();
    assert!(outputs.contains(&Output::Discard { partition, from: name(1) }), "{outputs:?}");
    let message = OwnershipMessage::Decline { number: 3, set: one(partition) };
    assert!(outputs.contains(&Output::Send { to: name(1), message }), "{outputs:?}");
    assert_eq!(rig.node.target(partition), Target::Forward(name(1)));
}

#[test]
fn a_copy_in_doubt_is_not_taken_by_a_member_that_has_none() {
    let mut rig = Rig::new(&[1, 2]);
    rig.outputs();
    rig.hear(1, OwnershipMessage::Offer { number: 3, side: 1, came: false, doubtful: true, set: one(3) });
    let declined = OwnershipMessage::Decline { number: 3, set: one(3) };
    assert!(rig.outputs().contains(&Output::Send { to: name(1), message: declined }));
}

#[test]
fn what_is_on_its_way_from_who_asks_is_no_other_copy_of_what_it_doubts() {
    let mut rig = Rig::new(&[1, 2]);
    rig.hear(1, OwnershipMessage::Offer { number: 3, side: 1, came: false, doubtful: false, set: one(3) });
    rig.outputs();
    for (asker, receiving) in [(1, set(&[])), (2, one(3))] {
        rig.hear(asker, OwnershipMessage::Query { id: 9, purpose: Purpose::Doubt, set: one(3) });
        let answer = rig.outputs().into_iter().find_map(|output| match output {
            Output::Send { message: OwnershipMessage::Answer { answer, .. }, .. } => Some(answer.receiving),
            _ => None,
        });
        assert_eq!(answer, Some(receiving));
    }
}

#[test]
fn two_copies_in_doubt_make_one_that_is_in_doubt() {
    let (mut rig, mine) = holding();
    let p = mine.iter().next().unwrap();
    for (number, doubtful) in [(4, true), (5, false)] {
        rig.put(Input::Doubt(Reason::Paused));
        rig.all_met();
        rig.outputs();
        rig.hear(2, OwnershipMessage::Offer { number, side: 2, came: false, doubtful, set: one(p) });
        rig.put(Input::Received { partition: p, number, from: name(2) });
        let (target, outputs) = (rig.node.target(p), rig.outputs());
        let installed = OwnershipMessage::Received { number, set: one(p) };
        assert!(outputs.contains(&Output::Send { to: name(2), message: installed }));
        let asks = |output: &Output| query(output.clone()).is_some_and(|(_, set)| set.contains(p));
        assert_eq!((target == Target::Local, outputs.iter().any(asks)), (!doubtful, doubtful));
    }
    // The same, if the doubt begins while the other copy comes.
    let (number, set) = (6, one(p));
    rig.hear(2, OwnershipMessage::Offer { number, side: 2, came: false, doubtful: false, set });
    rig.put(Input::Doubt(Reason::Paused));
    rig.put(Input::Received { partition: p, number, from: name(2) });
    assert_eq!(rig.node.target(p), Target::Park);
}

/// What a member that lost 1 and 2 of this mesh says to one that begins then.
fn cut() -> Option<Box<Cut>> {
    let missing =
        [1, 2].map(|n| Missing { member: name(n), incarnation: 1, rumoured: false, remembered_ms: 9_000 }).into();
    Some(Box::new(Cut { common: (1..4).map(name).collect(), left: Vec::new(), missing }))
}

#[test]
fn who_began_where_others_are_missing_says_so_to_them_and_doubts_what_it_was_given() {
    let mut rig = Rig::new(&[3]);
    rig.hear(3, OwnershipMessage::Met { buried: false, cut: cut() });
    let (id, asked) = rig.query_to(3);
    rig.answer(3, id, Answer::default());
    let held = asked.iter().next().unwrap();
    assert_eq!(rig.node.target(held), Target::Local);
    rig.outputs();
    rig.meet(1);
    let outputs = rig.outputs();
    let met = OwnershipMessage::Met { buried: true, cut: None };
    assert!(outputs.contains(&Output::Send { to: name(1), message: met }), "{outputs:?}");
    assert!(outputs.contains(&Output::Suspend(held)), "{outputs:?}");
    assert_eq!(rig.node.side(), 1);
}

#[test]
fn who_hears_that_it_was_held_for_dead_where_another_began_serves_on_if_it_counts_more() {
    let (mut rig, held) = holding();
    rig.dies(2);
    rig.now += RUMOUR;
    rig.put(Input::Tick);
    rig.meet(3);
    rig.outputs();
    rig.hear(3, OwnershipMessage::Met { buried: true, cut: None });
    assert!(held.iter().all(|p| rig.node.target(p) == Target::Local));
    assert_eq!(rig.node.side(), 2);
}

#[test]
fn what_a_member_held_that_may_not_be_dead_is_not_adopted_as_the_sides_come_together() {
    let mut rig = Rig::new(&[1, 2]);
    rig.all_met();
    let p = rig.node.slots.partitions().find(|p| rig.node.view.owner(*p) == Some(&name(1))).unwrap();
    rig.hear(1, OwnershipMessage::Serving { set: one(p) });
    rig.dies(2);
    rig.now += RUMOUR;
    rig.put(Input::Tick);
    rig.outputs();
    // As the other side says.
    rig.dies(1);
    assert!(rig.node.view.owner(p) == Some(&name(0)) && rig.taken().iter().all(|(taken, ..)| *taken != p));
    assert!(rig.node.next_deadline().is_some_and(|at| at <= rig.now + RUMOUR));
    rig.now += RUMOUR;
    rig.put(Input::Tick);
    assert!(rig.taken().contains(&(p, false, Some(name(1)))));
}
