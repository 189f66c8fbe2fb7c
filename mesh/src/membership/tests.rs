//! Joining under a name, being suspected, leaving: a few members and a network that loses nothing.

use super::*;
use statemesh_protocol::identity::Ports;

struct Net {
    members: Vec<Membership>,
    events: Vec<(usize, Output)>,
    silent: Vec<bool>,
    /// How late each is woken.
    late: Vec<Duration>,
    /// What becomes of datagrams, and of what goes over links.
    loses: (bool, bool),
    /// Two that do not hear each other, neither by datagrams nor by their link, and that one.
    apart: Option<[usize; 2]>,
    now: Instant,
}

fn name(text: &str) -> MemberName {
    MemberName::new(text).unwrap()
}

impl Net {
    fn new() -> Self {
        let (members, events, silent, late) = Default::default();
        Self { members, events, silent, late, loses: (false, false), apart: None, now: Instant::now() }
    }

    /// A member at an address that ends in its number, which finds all that were added before it.
    fn add(&mut self, text: &str, incarnation: u64) -> usize {
        let before: Vec<usize> = (0..self.members.len()).collect();
        self.add_that_finds(text, incarnation, &before)
    }

    /// The same, which finds these.
    fn add_that_finds(&mut self, text: &str, incarnation: u64, others: &[usize]) -> usize {
        let n = self.members.len();
        let ip = [10, 0, 0, n as u8].into();
        let me = Identity::new(name(text), incarnation, ip, Ports::default());
        self.members.push(Membership::new(me, Config::default(), n as u64, self.now));
        self.silent.push(false);
        self.late.push(Duration::ZERO);
        self.finds(n, others);
        n
    }

    /// Discovery names these to a member.
    fn finds(&mut self, n: usize, others: &[usize]) {
        let seeds = others.iter().map(|n| ([10, 0, 0, *n as u8], 7403).into()).collect();
        self.members[n].handle(Input::Join { seeds }, self.now);
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.deliver();
            self.now += Duration::from_millis(5);
            for n in 0..self.members.len() {
                let due = self.members[n].next_deadline().is_some_and(|at| at + self.late[n] <= self.now);
                if due && !self.silent[n] {
                    self.members[n].handle(Input::Tick, self.now);
                }
            }
        }
    }

    fn deliver(&mut self) {
        for turn in 0.. {
            assert!(turn < 1_000, "they answer each other without end");
            let (mut mail, mut by_link) = (Vec::new(), Vec::new());
            for (n, member) in self.members.iter_mut().enumerate() {
                while let Some(output) = member.poll() {
                    match output {
                        Output::Send { to, bytes } => mail.push((member.me().gossip_addr(), to, bytes)),
                        Output::SendByLink { to, bytes } => by_link.push((member.me().name.clone(), to, bytes)),
                        event => self.events.push((n, event)),
                    }
                }
            }
            if mail.is_empty() && by_link.is_empty() {
                return;
            }
            mail.retain(|_| !self.loses.0);
            by_link.retain(|_| !self.loses.1);
            for (from, to, bytes) in mail {
                let number = |address| self.members.iter().position(|m| m.me().gossip_addr() == address);
                let (sender, to) = (number(from), number(to));
                if let Some(to) = to.filter(|to| !self.silent[*to] && !self.are_apart(sender, *to)) {
                    self.members[to].handle(Input::Packet { from, bytes: &bytes }, self.now);
                }
            }
            for (from, to, bytes) in by_link {
                let number = |name: &MemberName| self.members.iter().position(|m| m.me().name == *name);
                let (sender, to) = (number(&from), number(&to));
                if let Some(to) = to.filter(|to| !self.silent[*to] && !self.are_apart(sender, *to)) {
                    self.members[to].handle(Input::ByLink { from, bytes: &bytes }, self.now);
                }
            }
        }
    }

    fn are_apart(&self, one: Option<usize>, other: usize) -> bool {
        self.apart
            .is_some_and(|apart| one.is_some_and(|one| one != other && apart.contains(&one) && apart.contains(&other)))
    }

    fn status(&self, at: usize, of: &str) -> Option<Status> {
        Some(self.members[at].member(&name(of))?.status)
    }

    /// Delivers what one member has said to another, and nothing else.
    fn deliver_from(&mut self, from: usize, to: usize) {
        let [from, to_addr] = [from, to].map(|n| (n, self.members[n].me().gossip_addr()));
        while let Some(output) = self.members[from.0].poll() {
            if let Output::Send { to: at, bytes } = output
                && at == to_addr.1
            {
                self.members[to].handle(Input::Packet { from: from.1, bytes: &bytes }, self.now);
            }
        }
    }

    /// Whether the second daemon of a name ended, and neither the first one nor a third noticed.
    fn was_kept_out(&self, second: usize, first: usize, third: usize) -> bool {
        self.saw(second, |o| matches!(o, Output::NameTaken { by } if by == self.members[first].me()))
            && !self.saw(first, |o| matches!(o, Output::NameTaken { .. }))
            && !self.saw(third, |o| matches!(o, Output::Down { .. }))
            && self.members[third].member(&self.members[first].me().name).unwrap().identity == *self.members[first].me()
    }

    fn saw(&self, at: usize, event: impl Fn(&Output) -> bool) -> bool {
        self.events.iter().any(|(n, output)| *n == at && event(output))
    }
}

const SEC: Duration = Duration::from_secs(1);
const NAME_PATIENCE: Duration = Duration::from_secs(10);

/// "a" and "b", who take part.
fn mesh_of_two() -> (Net, [usize; 2]) {
    let mut net = Net::new();
    let b = net.add_that_finds("b", 1, &[]);
    net.members[b].handle(Input::Joined, net.now);
    let a = net.add_that_finds("a", 1, &[b]);
    net.run(SEC);
    net.members[a].handle(Input::Joined, net.now);
    (net, [a, b])
}

#[test]
fn a_second_daemon_with_a_live_members_name_is_told_so_and_the_first_keeps_it() {
    let mut net = Net::new();
    let (a, b) = (net.add("a", 1), net.add("b", 1));
    net.run(SEC);
    let second = net.add("a", 2);
    net.run(NAME_PATIENCE + SEC);
    assert!(net.was_kept_out(second, a, b));
}

#[test]
fn whoever_of_those_who_are_asked_knows_the_name_to_be_anothers_is_believed_and_not_who_answers_first() {
    let (mut net, [a, b]) = mesh_of_two();
    // It knows no member, and is as new as the second one.
    let ignorant = net.add_that_finds("d", 1, &[]);
    let second = net.add_that_finds("a", 2, &[ignorant, b]);
    net.silent[b] = true;
    net.deliver();
    net.silent[b] = false;
    net.run(NAME_PATIENCE + SEC);
    assert!(net.was_kept_out(second, a, b));
}

/// A mesh of two, a daemon that looks for it and has no answer yet, and one that has the name of the second and asks only that daemon.
fn one_asks_a_daemon_that_is_looking_itself() -> (Net, [usize; 4]) {
    let (mut net, [a, b]) = mesh_of_two();
    net.silent[b] = true;
    let looks = net.add_that_finds("d", 1, &[b]);
    let second = net.add_that_finds("a", 2, &[looks]);
    net.deliver();
    (net, [a, b, looks, second])
}

#[test]
fn what_one_says_that_is_looking_itself_lets_nobody_end_a_member_of_the_mesh_that_it_finds() {
    for silent_ms in [5, 300, 700] {
        let (mut net, [a, b, looks, second]) = one_asks_a_daemon_that_is_looking_itself();
        net.run(Duration::from_millis(silent_ms));
        net.silent[b] = false;
        for _ in 0..15 {
            net.finds(looks, &[b]);
            net.finds(second, &[looks]);
            net.run(SEC);
        }
        assert!(net.was_kept_out(second, a, b), "{silent_ms} ms: {:?}", net.events);
        assert_eq!(net.status(looks, "a"), Some(Status::Alive));
        assert_eq!(net.members[looks].member(&name("a")).unwrap().identity.incarnation, 1);
    }
}

#[test]
fn a_member_that_has_not_joined_looks_again_when_it_meets_one_that_knows_its_name_for_anothers() {
    let (mut net, [a, b]) = mesh_of_two();
    let ignorant = net.add_that_finds("d", 1, &[]);
    let second = net.add_that_finds("a", 2, &[ignorant]);
    net.run(SEC);
    assert_eq!(net.members[second].phase, Phase::Member);
    net.finds(second, &[b, ignorant]);
    net.run(SEC);
    assert_eq!(net.members[second].name_holder(), Some(net.members[a].me()));
    assert_eq!(net.members[second].met(net.now), Met::Nobody);
    net.silent[a] = true;
    net.run(5 * SEC);
    assert_eq!(net.members[b].member(&name("a")).unwrap().identity.incarnation, 2);
    assert_eq!(net.status(b, "a"), Some(Status::Alive));
    assert!(!net.saw(second, |o| matches!(o, Output::NameTaken { .. })));
}

#[test]
fn an_answer_counts_only_for_the_question_that_it_answers_and_from_who_was_asked() {
    let mut net = Net::new();
    let (b, _a) = (net.add("b", 1), net.add("a", 1));
    net.run(SEC);
    let answer = |net: &mut Net, n: usize| {
        net.deliver_from(n, b);
        let to = net.members[n].me().gossip_addr();
        std::iter::from_fn(|| net.members[b].poll()).find_map(|output| match output {
            Output::Send { to: at, bytes } if at == to => Some(bytes),
            _ => None,
        })
    };
    let from_b = net.members[b].me().gossip_addr();
    let earlier = net.add_that_finds("a", 2, &[b]);
    let recorded = answer(&mut net, earlier).unwrap();
    let new = net.add_that_finds("a", 3, &[b]);
    let answered = answer(&mut net, new).unwrap();
    let stranger = SocketAddr::from(([10, 0, 0, 99], 7403));
    for (from, bytes, counts) in [(from_b, &recorded, false), (stranger, &answered, false), (from_b, &answered, true)] {
        net.members[new].handle(Input::Packet { from, bytes }, net.now);
        assert_eq!(net.members[new].name_holder().is_some(), counts);
    }
}

#[test]
fn who_was_asked_is_waited_for_though_discovery_does_not_name_it_again() {
    let (mut net, [a, b, looks, _]) = one_asks_a_daemon_that_is_looking_itself();
    let second = net.add_that_finds("a", 3, &[looks, b]);
    net.finds(second, &[looks]);
    net.run(Duration::from_millis(800));
    net.silent[b] = false;
    net.run(NAME_PATIENCE + SEC);
    assert!(net.was_kept_out(second, a, b));
}

#[test]
fn a_member_that_is_spoken_to_asks_for_its_name_all_the_same() {
    let (mut net, [a, b]) = mesh_of_two();
    let friend = net.add_that_finds("e", 1, &[]);
    let ignorant = net.add_that_finds("d", 1, &[friend]);
    net.run(SEC);
    let second = net.add_that_finds("a", 2, &[b]);
    // Its list comes before the answer of the one that is asked.
    net.finds(ignorant, &[second]);
    net.deliver_from(ignorant, second);
    net.run(NAME_PATIENCE + SEC);
    assert!(net.was_kept_out(second, a, b));
}

#[test]
fn who_finds_its_name_taken_by_one_that_ends_a_moment_later_takes_it_then() {
    let mut net = Net::new();
    let (b, old) = (net.add("b", 1), net.add("a", 1));
    net.run(SEC);
    let new = net.add("a", 2);
    net.run(2 * SEC);
    assert_eq!(net.members[new].name_holder().map(|by| by.incarnation), Some(1));
    net.silent[old] = true;
    net.run(4 * SEC);
    assert_eq!(net.members[new].name_holder(), None);
    assert!(!net.saw(new, |o| matches!(o, Output::NameTaken { .. })));
    assert_eq!(net.members[b].member(&name("a")).unwrap().identity.incarnation, 2);
    assert_eq!(net.status(b, "a"), Some(Status::Alive));
}

#[test]
fn where_a_name_was_taken_on_both_sides_of_a_cut_the_newer_process_stays_and_the_other_ends_once() {
    let mut net = Net::new();
    let b = net.add_that_finds("b", 1, &[]);
    let older = net.add_that_finds("a", 1, &[b]);
    let d = net.add_that_finds("d", 1, &[]);
    let newer = net.add_that_finds("a", 2, &[d]);
    for member in [b, older, d, newer] {
        net.members[member].handle(Input::Joined, net.now);
    }
    net.run(SEC);
    net.finds(d, &[b]);
    net.run(2 * SEC);
    let ended: Vec<usize> =
        net.events.iter().filter(|(_, o)| matches!(o, Output::NameTaken { .. })).map(|(n, _)| *n).collect();
    assert_eq!(ended, [older]);
    assert_eq!(net.members[b].member(&name("a")).unwrap().identity.incarnation, 2);
}

#[test]
fn two_that_start_at_once_under_one_name_are_not_both_members() {
    for (knows_first, incarnations) in [(false, (1, 2)), (true, (1, 2)), (true, (2, 1)), (true, (1, 1))] {
        let mut net = Net::new();
        let others = [net.add("b", 1), net.add("c", 1)];
        net.run(SEC);
        let first = net.add("a", incarnations.0);
        let second = net.add("a", incarnations.1);
        if knows_first {
            net.finds(first, &[others[0], others[1], second]);
        }
        net.run(NAME_PATIENCE + SEC);
        let taken = [first, second].map(|n| net.saw(n, |o| matches!(o, Output::NameTaken { .. })));
        assert!(taken[0] != taken[1], "{incarnations:?}: {taken:?}");
        assert_eq!(net.status(0, "a"), Some(Status::Alive));
    }
}

#[test]
fn a_member_that_comes_back_elsewhere_succeeds_its_dead_namesake_though_its_clock_went_back() {
    let mut net = Net::new();
    let b = net.add("b", 1);
    let old = net.add("a", 1000);
    net.run(SEC);
    net.silent[old] = true;
    let new = net.add("a", 5);
    net.run(3 * SEC);
    assert_eq!(net.members[new].me().incarnation, 1001);
    assert_eq!(net.status(b, "a"), Some(Status::Alive));
    let events: Vec<_> = net.events.iter().filter(|(n, _)| *n == b).map(|(_, o)| o).collect();
    let down =
        events.iter().position(|o| matches!(o, Output::Down { identity, left: false } if identity.incarnation == 1000));
    let up = events.iter().position(|o| matches!(o, Output::Up(id) if id.incarnation == 1001));
    assert!(down.unwrap() < up.unwrap());
}

#[test]
fn one_that_takes_part_at_once_succeeds_its_dead_namesake_though_its_clock_went_back() {
    let mut net = Net::new();
    let (b, a) = (net.add("b", 1), net.add("a", 1000));
    net.members[b].handle(Input::Joined, net.now);
    net.run(SEC);
    net.silent[a] = true;
    net.run(3 * SEC);
    assert_eq!(net.status(b, "a"), Some(Status::Dead));
    let again = Identity::new(name("a"), 5, net.members[a].me().ip, Ports::default());
    net.members[a] = Membership::new(again, Config::default(), 7, net.now);
    net.members[a].handle(Input::Joined, net.now);
    net.silent[a] = false;
    net.run(5 * SEC);
    assert!(!net.saw(a, |o| matches!(o, Output::NameTaken { .. })));
    assert!(net.saw(a, |o| *o == Output::TakenForDead), "others may hold what it has begun");
    assert_eq!(net.members[a].me().incarnation, 1001);
    assert_eq!((net.status(b, "a"), net.status(a, "b")), (Some(Status::Alive), Some(Status::Alive)));
}

#[test]
fn a_leaving_member_stays_one_until_it_says_goodbye() {
    let mut net = Net::new();
    let (a, b) = (net.add("a", 1), net.add("b", 1));
    net.add("c", 1);
    net.run(SEC);
    net.members[a].handle(Input::Leave, net.now);
    net.run(2 * SEC);
    assert!(net.saw(b, |o| matches!(o, Output::Updated(id) if id.leaving)));
    assert_eq!(net.status(b, "a"), Some(Status::Alive));
    assert!(!net.saw(b, |o| matches!(o, Output::Down { .. })));
    net.members[a].handle(Input::Goodbye, net.now);
    net.run(SEC);
    assert!(net.saw(b, |o| matches!(o, Output::Down { left: true, .. })));
    assert_eq!(net.status(b, "a"), Some(Status::Left));
}

#[test]
fn a_hint_makes_a_dead_member_known_within_the_suspicion_time() {
    let mut net = Net::new();
    let (a, b) = (net.add("a", 1), net.add("b", 1));
    net.add("c", 1);
    net.run(SEC);
    net.silent[b] = true;
    net.members[a].handle(Input::Suspect(name("b")), net.now);
    net.run(Duration::from_millis(600));
    assert_eq!(net.status(a, "b"), Some(Status::Dead));
}

/// On a machine that is starved all run late, and fifty daemons that started there at once held each other for dead for good.
#[test]
fn one_that_runs_late_gives_a_suspect_more_time() {
    let dead_after = |late| {
        let (mut net, [first, second]) = mesh_of_two();
        net.late[first] = Duration::from_millis(late);
        net.run(2 * SEC);
        net.silent[second] = true;
        let silent_since = net.now;
        while net.status(first, "b") != Some(Status::Dead) {
            net.run(Duration::from_millis(50));
            assert!(net.now - silent_since < Duration::from_secs(10), "it is never held for dead");
        }
        net.now - silent_since
    };
    let (in_time, late) = (dead_after(0), dead_after(60));
    assert!(in_time < SEC * 3 / 2, "{in_time:?}");
    assert!(late > Duration::from_secs(4), "{late:?}");
}

#[test]
fn a_hint_about_a_live_member_is_refuted() {
    let mut net = Net::new();
    let (a, b) = (net.add("a", 1), net.add("b", 1));
    net.run(SEC);
    net.members[a].handle(Input::Suspect(name("b")), net.now);
    net.run(3 * SEC);
    assert!(net.saw(a, |o| matches!(o, Output::Suspected(n) if *n == name("b"))));
    assert!(net.saw(a, |o| matches!(o, Output::Refuted(n) if *n == name("b"))));
    assert!(!net.saw(a, |o| matches!(o, Output::Down { .. })));
    assert_eq!(net.members[b].live(), 1);
    // It is who it was: what is over for the one who suspected it needs no new identity.
    assert!(!net.saw(b, |o| matches!(o, Output::Renewed(_))));
}

#[test]
fn a_suspicion_ends_also_if_who_suspects_has_another_identity_since() {
    for dies in [false, true] {
        let mut net = Net::new();
        let (a, b) = (net.add("a", 1), net.add("b", 1));
        net.run(SEC);
        net.silent[b] = dies;
        net.loses = (true, true);
        net.members[a].handle(Input::Suspect(name("b")), net.now);
        net.deliver();
        net.loses = (false, false);
        // Its revision is a new one.
        net.members[a].handle(Input::Leave, net.now);
        net.run(5 * SEC);
        assert_eq!(net.status(a, "b"), Some(if dies { Status::Dead } else { Status::Alive }));
        assert_eq!(net.saw(a, |o| matches!(o, Output::Down { .. })), dies);
    }
}

#[test]
fn who_answers_over_the_link_is_not_even_suspected() {
    for (loses_links, status) in [(false, Status::Alive), (true, Status::Dead)] {
        let mut net = Net::new();
        let (a, b) = (net.add("a", 1), net.add("b", 1));
        net.run(SEC);
        net.loses = (true, loses_links);
        net.run(5 * SEC);
        for (at, of) in [(a, "b"), (b, "a")] {
            assert_eq!(net.status(at, of), Some(status));
            assert_eq!(net.saw(at, |o| matches!(o, Output::Suspected(_))), loses_links);
        }
    }
}

#[test]
fn who_answers_others_alone_is_out_of_reach_until_it_answers_by_its_link() {
    let mut net = Net::new();
    let [a, b, c] = ["a", "b", "c"].map(|text| net.add(text, 1));
    (0..3).for_each(|n| net.members[n].handle(Input::Joined, net.now));
    net.run(5 * SEC);
    assert!(!net.saw(a, |o| matches!(o, Output::OutOfReach(_))), "all reach each other: {:?}", net.events);
    net.apart = Some([a, b]);
    net.run(5 * SEC);
    assert!(net.members[a].is_out_of_reach(&name("b")) && net.members[b].is_out_of_reach(&name("a")));
    assert_eq!(net.status(a, "b"), Some(Status::Alive), "the third reaches both");
    assert!([a, b].iter().all(|n| !net.members[*n].is_out_of_reach(&name("c"))));
    let times = |net: &Net, wanted: &Output| net.events.iter().filter(|(n, o)| *n == a && o == wanted).count();
    assert_eq!(times(&net, &Output::OutOfReach(name("b"))), 1, "it is said once");
    // Datagrams come through before the link does.
    (net.apart, net.loses) = (None, (false, true));
    net.run(5 * SEC);
    assert!(net.members[a].is_out_of_reach(&name("b")), "what was said by the link may still be on its way");
    net.loses = (false, false);
    net.run(5 * SEC);
    assert!(!net.members[a].is_out_of_reach(&name("b")));
    assert_eq!(times(&net, &Output::InReach(name("b"))), 1);
    net.apart = Some([a, b]);
    net.run(5 * SEC);
    net.silent[b] = true;
    net.run(20 * SEC);
    assert_eq!(net.status(c, "b"), Some(Status::Dead));
    assert!(!net.members[a].is_out_of_reach(&name("b")), "it is dead, and no more out of reach");
}

#[test]
fn datagrams_of_strangers_are_counted_and_change_nothing() {
    let mut net = Net::new();
    let a = net.add("a", 1);
    net.members[a].handle(Input::Joined, net.now);
    let from = ([10, 9, 9, 9], 1).into();
    for bytes in [&b""[..], b"\0", b"\0garbage", b"\x03\x00", b"\xff", &[1; 1000], &[4; 1300]] {
        net.members[a].handle(Input::Packet { from, bytes }, net.now);
    }
    assert_eq!(net.members[a].counters().malformed, 7);
    assert_eq!(net.members[a].members().count(), 0);
}
