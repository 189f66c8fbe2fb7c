//! A daemon of two reactors and another member, between which partitions move while clients send: whatever the order in which
//! things happen, the events of a connection for a key are applied in the order sent, each once, and each is answered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::bounces::Bounces;
use super::*;

const PARTITIONS: u16 = 2;
const REACTORS: usize = 2;
const OTHER: MemberNumber = 1;
const MAX_HOPS: u8 = 4;
const SEEDS: u64 = 200;
/// Requests that one turn lets go on.
const A_TURN: usize = 3;

/// An event: its reactor's connection, its number there. Each connection sends to one key of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    reactor: usize,
    partition: Partition,
    number: u64,
}

/// Who is to be answered.
#[derive(Clone, Copy, Debug)]
enum Asker {
    Client,
    /// The other member, which had passed the event on as the one of so many.
    Other(u8),
}

type Request = Waiting<(Event, Asker)>;

#[derive(Debug)]
struct Job {
    reactor: usize,
    correlation: u64,
    round: u32,
    event: Event,
}

#[derive(Debug, Default)]
struct Shard {
    held: [bool; PARTITIONS as usize],
    bounces: Bounces,
    inbox: VecDeque<Vec<Job>>,
    /// Another thread has it.
    busy: bool,
}

#[derive(Clone, Copy, Debug)]
enum Command {
    Route(Partition, Option<MemberNumber>),
    Unroute(Partition),
    /// What became of a job: whether it was run.
    Ran(u64, bool),
}

#[derive(Debug)]
struct Reactor {
    delivery: Delivery<(Event, Asker)>,
    deferred: Vec<Job>,
    ring: VecDeque<Command>,
    /// What the other member sent: replies to what was sent to it, and events that it passes on.
    link: VecDeque<FromOther>,
}

#[derive(Clone, Copy, Debug)]
enum FromOther {
    Reply(u64),
    Forward(Event, u8),
}

/// What the other member has of one reactor's link and one partition, in order.
#[derive(Debug, Default)]
struct AtOther {
    waits: VecDeque<(u64, Event, u8)>,
    /// Passed on to where the partition went; it goes on by itself only when these are answered.
    away: BTreeMap<(Event, u8), u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Here,
    ToOther,
    Other,
    ToHere,
}

struct World {
    seed: u64,
    now: Instant,
    shard: Shard,
    reactors: Vec<Reactor>,
    other: BTreeMap<(usize, Partition), AtOther>,
    places: [Place; PARTITIONS as usize],
    sent: BTreeMap<(usize, Partition), u64>,
    /// The last event applied, by connection.
    applied: BTreeMap<(usize, Partition), u64>,
    open: BTreeSet<Event>,
    refused: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let bounds = Bounds {
            in_flight: 10_000,
            member_bytes: 6,
            parked: 10_000,
            parked_bytes: 10_000,
            patience: Duration::from_secs(5),
        };
        let reactor = || Reactor {
            delivery: Delivery::new(PARTITIONS, bounds),
            deferred: Vec::new(),
            ring: [Command::Route(0, None), Command::Route(1, Some(OTHER))].into(),
            link: VecDeque::new(),
        };
        Self {
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now: Instant::now(),
            shard: Shard { held: [true, false], ..Shard::default() },
            reactors: (0..REACTORS).map(|_| reactor()).collect(),
            other: BTreeMap::new(),
            places: [Place::Here, Place::Other],
            sent: BTreeMap::new(),
            applied: BTreeMap::new(),
            open: BTreeSet::new(),
            refused: 0,
        }
    }

    fn chance(&mut self, of: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % of
    }

    fn apply(&mut self, event: Event) {
        let last = self.applied.entry((event.reactor, event.partition)).or_default();
        assert!(event.number > *last, "{event:?} after {last}");
        *last = event.number;
    }

    fn answer(&mut self, event: Event, asker: Asker) {
        match asker {
            Asker::Client => assert!(self.open.remove(&event), "{event:?} was answered twice"),
            Asker::Other(hops) => {
                let at = self.other.entry((event.reactor, event.partition)).or_default();
                // Its link may have been cut.
                if let Some(correlation) = at.away.remove(&(event, hops)) {
                    self.reactors[event.reactor].link.push_back(FromOther::Reply(correlation));
                }
            }
        }
    }

    fn client_sends(&mut self, reactor: usize, partition: Partition) {
        let number = self.sent.entry((reactor, partition)).or_default();
        *number += 1;
        let event = Event { reactor, partition, number: *number };
        self.open.insert(event);
        self.come(reactor, event, 0, Asker::Client);
    }

    fn come(&mut self, r: usize, event: Event, hops: u8, asker: Asker) {
        let delivery = &mut self.reactors[r].delivery;
        let waiting = Waiting {
            partition: event.partition,
            hops,
            arrival: delivery.arrival(),
            deadline: self.now + Duration::from_secs(5),
            uncertain: false,
            request: Bytes::from_static(b"xx"),
            rest: (event, asker),
        };
        let route = delivery.route(event.partition, hops);
        if matches!(asker, Asker::Other(_)) && delivery.is_stale(hops, OTHER, route) {
            return delivery.park_stale(waiting, self.now).unwrap();
        }
        self.go(r, waiting, route);
    }

    fn go(&mut self, r: usize, waiting: Request, route: Route) {
        let delivery = &mut self.reactors[r].delivery;
        match route {
            Route::Park => delivery.park(waiting).unwrap(),
            Route::Local => self.local(r, waiting),
            Route::Forward(_) if waiting.hops >= MAX_HOPS => {
                self.refused += 1;
                self.answer(waiting.rest.0, waiting.rest.1);
            }
            Route::Forward(member) if !delivery.has_room(member, &waiting) => delivery.hold(waiting, member),
            Route::Forward(member) => {
                let ((event, _), hops, partition) = (waiting.rest, waiting.hops + 1, waiting.partition);
                let correlation = delivery.sent(waiting, With::Member(member), self.now);
                self.other.entry((r, partition)).or_default().waits.push_back((correlation, event, hops));
            }
        }
    }

    fn local(&mut self, r: usize, waiting: Request) {
        let partition = waiting.partition;
        if self.shard.busy || !self.reactors[r].deferred.is_empty() {
            let reactor = &mut self.reactors[r];
            let (event, round) = (waiting.rest.0, reactor.delivery.round(partition));
            let correlation = reactor.delivery.sent(waiting, With::Inbox, self.now);
            reactor.deferred.push(Job { reactor: r, correlation, round, event });
            return;
        }
        self.run_inbox();
        let delivery = &mut self.reactors[r].delivery;
        let round = delivery.round(partition);
        let refused = delivery.is_in_inbox(partition) && self.shard.bounces.refuse(r, partition, round);
        if refused || !self.shard.held[usize::from(partition)] {
            return delivery.not_held(waiting);
        }
        delivery.held(partition);
        self.apply(waiting.rest.0);
        self.answer(waiting.rest.0, waiting.rest.1);
    }

    fn run_inbox(&mut self) {
        while let Some(jobs) = self.shard.inbox.pop_front() {
            self.run_jobs(jobs);
        }
    }

    fn run_jobs(&mut self, jobs: Vec<Job>) {
        for Job { reactor, correlation, round, event } in jobs {
            let shard = &mut self.shard;
            let held =
                !shard.bounces.refuse(reactor, event.partition, round) && shard.held[usize::from(event.partition)];
            if held {
                self.apply(event);
            } else {
                self.shard.bounces.bounced(reactor, event.partition, round);
            }
            self.reactors[reactor].ring.push_back(Command::Ran(correlation, held));
        }
    }

    /// A turn, which may not come to all of its commands.
    fn turn(&mut self, r: usize, commands: u64) {
        let jobs = std::mem::take(&mut self.reactors[r].deferred);
        if self.shard.busy {
            if !jobs.is_empty() {
                self.shard.inbox.push_back(jobs);
            }
        } else {
            self.run_inbox();
            self.run_jobs(jobs);
        }
        for _ in 0..commands {
            let Some(command) = self.reactors[r].ring.pop_front() else { break };
            self.command(r, command);
        }
        self.reactors[r].delivery.look_again(self.now);
        for _ in 0..A_TURN {
            let Some((waiting, route)) = self.reactors[r].delivery.next_ready() else { break };
            self.go(r, waiting, route);
        }
    }

    fn command(&mut self, r: usize, command: Command) {
        let delivery = &mut self.reactors[r].delivery;
        match command {
            Command::Route(partition, to) => delivery.switch(partition, to),
            Command::Unroute(partition) => delivery.unroute(partition),
            Command::Ran(correlation, true) => {
                let (event, asker) = delivery.answered(correlation).unwrap().waiting.rest;
                self.answer(event, asker);
            }
            Command::Ran(correlation, false) => delivery.bounced(correlation, |_| false).unwrap(),
        }
    }

    fn hear(&mut self, r: usize) {
        match self.reactors[r].link.pop_front() {
            Some(FromOther::Reply(correlation)) => {
                let delivery = &mut self.reactors[r].delivery;
                let (event, asker) = delivery.answered(correlation).unwrap().waiting.rest;
                self.answer(event, asker);
            }
            Some(FromOther::Forward(event, hops)) => self.come(r, event, hops, Asker::Other(hops)),
            None => {}
        }
    }

    /// The other member looks at what it has.
    fn other_turn(&mut self, r: usize, partition: Partition) {
        let place = self.places[usize::from(partition)];
        let at = self.other.entry((r, partition)).or_default();
        let Some(&(correlation, event, hops)) = at.waits.front() else { return };
        match place {
            Place::Other if at.away.is_empty() || hops >= RETURNED => {
                at.waits.pop_front();
                self.apply(event);
                self.reactors[r].link.push_back(FromOther::Reply(correlation));
            }
            Place::Here | Place::ToHere => {
                at.waits.pop_front();
                at.away.insert((event, hops + 1), correlation);
                self.reactors[r].link.push_back(FromOther::Forward(event, hops + 1));
            }
            Place::Other | Place::ToOther => {}
        }
    }

    /// The links break: what is in flight on them, or at the other member, is lost.
    fn cut(&mut self) {
        self.other.clear();
        for r in 0..REACTORS {
            self.reactors[r].link.clear();
            for lost in self.reactors[r].delivery.lost_with(OTHER) {
                self.refused += 1;
                self.answer(lost.waiting.rest.0, lost.waiting.rest.1);
            }
        }
    }

    /// Each reactor has heard of a move, and has what came behind it, before the next one begins.
    fn is_to_be_told(&self, partition: Partition) -> bool {
        let tells = |command: &Command| match command {
            Command::Route(of, _) | Command::Unroute(of) => *of == partition,
            Command::Ran(..) => false,
        };
        let returns = |sent: &FromOther| matches!(sent, FromOther::Forward(event, _) if event.partition == partition);
        self.reactors.iter().any(|reactor| reactor.ring.iter().any(tells) || reactor.link.iter().any(returns))
    }

    fn is_clear(&self, partition: Partition) -> bool {
        self.other.iter().all(|((_, of), at)| *of != partition || at.waits.is_empty())
    }

    /// A move begins or ends.
    fn step_move(&mut self, partition: Partition) {
        let at = usize::from(partition);
        let tell = |world: &mut Self, command| world.reactors.iter_mut().for_each(|r| r.ring.push_back(command));
        let fails = !self.shard.busy && self.chance(2) == 0;
        let place = self.places[at];
        self.places[at] = match place {
            // What was sent to the other member before is ahead, on the same link, of what moves there now.
            Place::Here if !self.shard.busy && !self.is_to_be_told(partition) && self.is_clear(partition) => {
                self.shard.held[at] = false;
                tell(self, Command::Route(partition, Some(OTHER)));
                Place::ToOther
            }
            // The links break, and the hand-off with them: it is served here again.
            Place::ToOther if fails => {
                self.cut();
                self.shard.held[at] = true;
                tell(self, Command::Route(partition, None));
                Place::Here
            }
            Place::ToOther => Place::Other,
            Place::Other if !self.is_to_be_told(partition) => {
                tell(self, Command::Unroute(partition));
                Place::ToHere
            }
            Place::ToHere if !self.shard.busy => {
                self.shard.held[at] = true;
                tell(self, Command::Route(partition, None));
                Place::Here
            }
            _ => place,
        };
    }

    fn anything(&mut self) {
        let r = self.chance(REACTORS as u64) as usize;
        let partition = self.chance(u64::from(PARTITIONS)) as Partition;
        match self.chance(16) {
            0..=4 => self.client_sends(r, partition),
            5..=7 => {
                let commands = self.chance(4);
                self.turn(r, commands);
            }
            8..=10 => self.hear(r),
            11..=13 => self.other_turn(r, partition),
            14 => self.shard.busy = self.chance(2) == 0,
            _ if self.chance(4) == 0 => self.step_move(partition),
            _ => {}
        }
    }

    /// Nothing new comes and nothing moves: everything is answered.
    fn settle(&mut self) {
        self.shard.busy = false;
        for partition in 0..PARTITIONS {
            while matches!(self.places[usize::from(partition)], Place::ToHere | Place::ToOther) {
                self.step_move(partition);
            }
        }
        for _ in 0..20_000 {
            if self.open.is_empty() && self.reactors.iter().all(|r| !r.delivery.is_ready() && !r.delivery.is_unheld()) {
                break;
            }
            for r in 0..REACTORS {
                self.turn(r, 10);
                self.hear(r);
                (0..PARTITIONS).for_each(|partition| self.other_turn(r, partition));
            }
        }
        assert!(self.open.is_empty(), "{} are not answered", self.open.len());
        for reactor in &self.reactors {
            assert_eq!((reactor.delivery.parked(), reactor.delivery.in_flight()), (0, 0));
            assert!(!reactor.delivery.is_ready() && !reactor.delivery.is_unheld());
        }
    }
}

#[test]
fn events_of_a_connection_for_a_key_keep_their_order_whatever_moves_and_whoever_is_busy() {
    let mut refused = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..3_000 {
            world.anything();
        }
        world.settle();
        refused += world.refused;
    }
    // Few meet so many daemons, or this would test nothing.
    assert!(refused < SEEDS as usize * 100, "{refused}");
}

fn alone(bounds: Bounds) -> (Delivery<u64>, Instant) {
    (Delivery::new(PARTITIONS, bounds), Instant::now())
}

const BOUNDS: Bounds = Bounds {
    in_flight: 100_000,
    member_bytes: 10,
    parked: 100_000,
    parked_bytes: 1_000_000,
    patience: Duration::from_secs(5),
};

fn request(delivery: &mut Delivery<u64>, partition: Partition, now: Instant) -> Waiting<u64> {
    let arrival = delivery.arrival();
    let request = Bytes::from_static(b"four");
    let deadline = now + Duration::from_secs(5);
    Waiting { partition, hops: 0, arrival, deadline, uncertain: false, request, rest: arrival }
}

fn take(delivery: &mut Delivery<u64>) -> Vec<u64> {
    std::iter::from_fn(|| delivery.next_ready()).map(|(waiting, _)| waiting.rest).collect()
}

#[test]
fn to_let_a_request_go_on_takes_the_same_number_of_steps_however_many_are_parked() {
    let steps = |parked: usize| {
        let (mut delivery, now) = alone(BOUNDS);
        for n in 0..parked {
            let waiting = request(&mut delivery, (n % 2) as Partition, now);
            delivery.park(waiting).unwrap();
        }
        let before = delivery.parked.steps;
        delivery.switch(0, None);
        delivery.switch(1, Some(7));
        assert_eq!(take(&mut delivery).len(), parked);
        (delivery.parked.steps - before) as f64 / parked as f64
    };
    assert_eq!(steps(1_000), steps(60_000));
}

#[test]
fn what_comes_back_from_a_shard_in_bulk_takes_few_steps_each() {
    let (mut delivery, now) = alone(BOUNDS);
    delivery.switch(0, None);
    let left: Vec<u64> = (0..30_000)
        .map(|_| {
            let waiting = request(&mut delivery, 0, now);
            delivery.sent(waiting, With::Inbox, now)
        })
        .collect();
    for correlation in left {
        delivery.bounced(correlation, |_| false).unwrap();
        let waiting = request(&mut delivery, 0, now);
        assert_eq!(delivery.route(0, 0), Route::Park);
        delivery.park(waiting).unwrap();
    }
    delivery.switch(0, Some(7));
    let all = take(&mut delivery);
    assert_eq!(all.len(), 60_000);
    assert!(all.is_sorted());
    assert!(delivery.parked.steps < 60_000 * 4, "{}", delivery.parked.steps);
}

#[test]
fn while_a_partition_is_not_held_one_request_a_turn_looks_whether_it_is() {
    let (mut delivery, now) = alone(BOUNDS);
    delivery.switch(0, None);
    let first = request(&mut delivery, 0, now);
    delivery.not_held(first);
    for _ in 0..3 {
        let waiting = request(&mut delivery, 0, now);
        delivery.park(waiting).unwrap();
    }
    for _ in 0..2 {
        assert!(delivery.next_ready().is_none() && delivery.is_unheld());
        delivery.look_again(now);
        let (waiting, route) = delivery.next_ready().unwrap();
        assert_eq!((waiting.rest, route), (1, Route::Local));
        assert!(delivery.next_ready().is_none());
        delivery.not_held(waiting);
    }
    delivery.look_again(now);
    assert_eq!(delivery.next_ready().unwrap().0.rest, 1);
    delivery.held(0);
    assert_eq!(take(&mut delivery), [2, 3, 4]);
    assert!(!delivery.is_unheld() && !delivery.is_ready() && delivery.deadline().is_none());
}

#[test]
fn whatever_is_parked_has_a_deadline_and_is_given_back_when_it_has_come() {
    let (mut delivery, now) = alone(BOUNDS);
    for n in 0..10 {
        let waiting = request(&mut delivery, n % 2, now + Duration::from_secs(u64::from(n)));
        delivery.park(waiting).unwrap();
    }
    assert_eq!(delivery.deadline(), Some(now + Duration::from_secs(5)));
    assert!(delivery.expired(now, 10).is_empty());
    let late = now + Duration::from_secs(8);
    assert_eq!(delivery.expired(late, 3).len(), 3);
    assert_eq!(delivery.deadline(), Some(now + Duration::from_secs(8)), "what was left over is due at once");
    assert_eq!(delivery.expired(late, 3).len(), 1);
    assert_eq!((delivery.parked(), delivery.parked_bytes()), (6, 24));
    assert_eq!(delivery.expired(now + Duration::from_secs(60), 100).len(), 6);
    assert_eq!((delivery.deadline(), delivery.parked(), delivery.parked_bytes()), (None, 0, 0));
    assert_eq!(delivery.route(0, 0), Route::Park);
    delivery.switch(0, None);
    assert_eq!(delivery.route(0, 0), Route::Local, "nothing is left that others would wait behind");
}

#[test]
fn requests_parked_are_bounded_in_number_and_in_bytes() {
    for (bounds, why) in
        [(Bounds { parked: 2, ..BOUNDS }, Full::Requests), (Bounds { parked_bytes: 11, ..BOUNDS }, Full::Bytes)]
    {
        let (mut delivery, now) = alone(bounds);
        for _ in 0..2 {
            let waiting = request(&mut delivery, 0, now);
            delivery.park(waiting).unwrap();
        }
        let waiting = request(&mut delivery, 0, now);
        assert_eq!(delivery.park(waiting).unwrap_err().0, why);
    }
}

#[test]
fn a_member_gets_so_many_bytes_of_requests_and_the_rest_when_it_has_answered() {
    let (mut delivery, now) = alone(BOUNDS);
    delivery.switch(0, Some(7));
    let mut sent = Vec::new();
    for n in 0..4 {
        let waiting = request(&mut delivery, 0, now);
        if delivery.route(0, 0) == Route::Forward(7) && delivery.has_room(7, &waiting) {
            sent.push(delivery.sent(waiting, With::Member(7), now));
        } else if n == 2 {
            delivery.hold(waiting, 7);
        } else {
            delivery.park(waiting).unwrap();
        }
    }
    assert_eq!((sent.len(), delivery.parked()), (2, 2));
    assert!(delivery.next_ready().is_none());
    assert!(delivery.answered(sent[0]).is_some());
    let (waiting, _) = delivery.next_ready().unwrap();
    assert!(delivery.has_room(7, &waiting));
    assert_eq!(waiting.rest, 3);
}

#[test]
fn what_a_lost_member_had_goes_before_what_came_later() {
    let (mut delivery, now) = alone(Bounds { member_bytes: 1_000, ..BOUNDS });
    delivery.switch(0, Some(7));
    for _ in 0..3 {
        let waiting = request(&mut delivery, 0, now);
        delivery.sent(waiting, With::Member(7), now);
    }
    delivery.switch(0, Some(8));
    let waiting = request(&mut delivery, 0, now);
    assert_eq!(delivery.route(0, 0), Route::Park);
    delivery.park(waiting).unwrap();
    for pending in delivery.lost_with(7) {
        delivery.again(pending.waiting).unwrap();
    }
    assert_eq!(take(&mut delivery), [1, 2, 3, 4]);
}

#[test]
fn what_was_passed_on_more_often_goes_on_before_what_waits_for_its_answer() {
    let (mut delivery, now) = alone(BOUNDS);
    let passed_on = |delivery: &mut Delivery<u64>, hops| Waiting { hops, ..request(delivery, 0, now) };
    delivery.switch(0, Some(7));
    let first = passed_on(&mut delivery, 2);
    delivery.sent(first, With::Member(7), now);
    delivery.switch(0, None);
    let second = passed_on(&mut delivery, 2);
    delivery.park(second).unwrap();
    assert_eq!(take(&mut delivery), []);
    // The first comes back, and the member answers when that is answered.
    let back = passed_on(&mut delivery, 4);
    assert_eq!(delivery.route(0, 4), Route::Park);
    delivery.park(back).unwrap();
    assert_eq!(take(&mut delivery), [3]);
}
