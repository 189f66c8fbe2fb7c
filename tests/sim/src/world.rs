//! The world: hosts, daemons, clients and watchers, whose turns are taken one after the other in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use statemesh_node::parts::{self, Counted, Shared, Unanswered};
use statemesh_transport::reactor::Due;

use crate::ask::Askers;
use crate::client::{Client, Habits, Numbers, Surroundings};
use crate::daemon::{self, ControlTurn, Daemon, Setup};
use crate::dice::{Dice, nanos};
use crate::dns::{Dns, Mode};
use crate::judge::Judge;
use crate::memory;
use crate::net::{Clock, Faults, Net, PollerId, SharedNet};
use crate::watcher::Watcher;

fn poller_of(process: &daemon::Process, index: usize) -> PollerId {
    process.pollers.get(index).copied().unwrap_or(usize::MAX)
}

/// Who takes a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    Reactor(usize, usize),
    Control(usize),
    Client(usize),
    Watcher(usize),
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    actor: Actor,
    /// When its next turn is, if it has one.
    next: Option<u64>,
    /// Until then it is busy with its last one.
    busy_until: u64,
}

/// Something done to the world by a plan: what, for the trace, and the deed.
pub type Deed = Box<dyn FnOnce(&mut World) + Send>;

/// Bounds of what a turn takes.
const TURN: (Duration, Duration) = (Duration::from_micros(2), Duration::from_micros(40));
/// How often it is looked whether all bounds hold.
const LOOK: Duration = Duration::from_millis(5);
/// How long DNS takes, and how long a resolver waits for it.
const DNS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(30));
const DNS_SILENCE: Duration = Duration::from_secs(5);

/// The world.
pub struct World {
    /// The network.
    pub net: SharedNet,
    /// Chance.
    pub dice: Dice,
    /// Daemons' places.
    pub daemons: Vec<Daemon>,
    /// Clients.
    pub clients: Vec<Client>,
    watchers: Vec<Watcher>,
    /// The history, and what contradicts it.
    pub judge: Judge,
    /// DNS.
    pub dns: Dns,
    numbers: Numbers,
    /// Connections of whoever asks.
    pub askers: Askers,
    seats: Vec<Option<Seat>>,
    turns: BTreeMap<(u64, u64), PollerId>,
    plan: BTreeMap<(u64, u64), Deed>,
    next_number: u64,
    next_look: u64,
    /// Clients send no new events.
    pub stopped: bool,
    /// Since the last time that all was settled, a part of the mesh may have been cut off: two may serve a partition.
    pub maybe_split: bool,
    /// How often control planes that have ended decided what.
    decisions: BTreeMap<(&'static str, &'static str), u64>,
    /// Kinds of wake-ups of control planes.
    pub wakes: BTreeMap<&'static str, u64>,
    /// Deeds by name.
    pub deeds: BTreeMap<&'static str, u64>,
    /// When the last fault ended.
    pub quiet_since: u64,
    /// Daemons that left, with what they left behind.
    pub left_behind: usize,
    /// A shard of a daemon is held by another thread in one of so many of its turns.
    pub foreign_holders: Option<u64>,
    /// Turns taken.
    pub taken: u64,
    /// The most that a daemon had of memory, in bytes.
    pub peak: i64,
    /// What a daemon may have beside what its gauges tell: more where a scenario's instances are large.
    pub memory_most: i64,
    /// The mesh has been settled once: until then its members may have met in groups.
    born: bool,
    /// What daemons that have ended had counted.
    pub ended: Counted,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("daemons", &self.daemons).finish_non_exhaustive()
    }
}

impl World {
    /// A world without anybody.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        let mut dice = Dice::new(seed);
        let net = Arc::new(Mutex::new(Net::new(dice.bits(), faults)));
        Self {
            net,
            dice,
            daemons: Vec::new(),
            clients: Vec::new(),
            watchers: Vec::new(),
            judge: Judge::default(),
            dns: Dns::default(),
            numbers: Numbers::default(),
            askers: Askers::default(),
            seats: Vec::new(),
            turns: BTreeMap::new(),
            plan: BTreeMap::new(),
            next_number: 0,
            next_look: 0,
            stopped: false,
            maybe_split: true,
            decisions: BTreeMap::new(),
            wakes: BTreeMap::new(),
            deeds: BTreeMap::new(),
            quiet_since: 0,
            left_behind: 0,
            foreign_holders: None,
            taken: 0,
            peak: 0,
            memory_most: memory::MOST,
            born: false,
            ended: Counted::default(),
        }
    }

    /// Virtual nanoseconds since the start.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.net.lock().now()
    }

    /// A place for a daemon, whose clock is this. It does not run yet.
    pub fn add_daemon(&mut self, setup: Setup, clock: Clock) -> usize {
        let host = self.net.lock().add_host(clock);
        let n = self.daemons.len();
        self.daemons.push(Daemon::new(format!("node-{n}"), host, setup));
        n
    }

    /// Starts a daemon's process.
    pub fn start(&mut self, n: usize) {
        self.say("starts", n);
        let mut dice = self.dice.fork();
        let Some(daemon) = self.daemons.get_mut(n) else { return };
        if daemon.runs() {
            return;
        }
        let (started, grown) = memory::of_daemon(|| daemon.start(&self.net, &mut dice));
        if let Err(error) = started {
            return self.judge.wrong(format!("node-{n} does not start: {error}"));
        }
        daemon.process.iter_mut().for_each(|process| process.memory = grown);
        let pollers = daemon.process.as_ref().map(|process| process.pollers.clone()).unwrap_or_default();
        let control = pollers.len().saturating_sub(1);
        let now = self.now();
        for (index, poller) in pollers.into_iter().enumerate() {
            let actor = if index == control { Actor::Control(n) } else { Actor::Reactor(n, index) };
            self.seat(poller, actor, now);
        }
        self.update_dns();
    }

    /// `kill -9`.
    pub fn kill(&mut self, n: usize) {
        self.say("killed", n);
        self.unseat(n);
        if let Some(daemon) = self.daemons.get_mut(n) {
            for (what, count) in daemon.process.iter().flat_map(|process| process.decisions()) {
                *self.decisions.entry(*what).or_default() += *count;
            }
            daemon.process.iter().for_each(|process| self.ended += parts::counted(&process.shared));
            let had = daemon.process.as_ref().map_or(0, |process| process.memory);
            let ((), grown) = memory::of_daemon(|| daemon.kill(&self.net));
            if let Some(what) = memory::is_left(had + grown) {
                self.judge.wrong(format!("node-{n}: {what}"));
            }
        }
        self.update_dns();
    }

    /// SIGTERM.
    pub fn leave(&mut self, n: usize) {
        self.say("is told to leave", n);
        let now = self.now();
        let Some(daemon) = self.daemons.get_mut(n) else { return };
        daemon.leave();
        let control = daemon.process.as_ref().and_then(|process| process.pollers.last().copied());
        control.into_iter().for_each(|poller| self.wants(poller, now));
    }

    /// SIGSTOP, and SIGCONT after `time`.
    pub fn pause(&mut self, n: usize, time: Duration) {
        self.say("paused", n);
        self.maybe_split = true;
        let until = self.now() + nanos(time);
        if let Some(daemon) = self.daemons.get_mut(n).filter(|daemon| daemon.runs()) {
            daemon.paused_until = Some(until);
        }
        self.at(until, move |world| world.resume(n));
    }

    fn resume(&mut self, n: usize) {
        let now = self.now();
        let Some(daemon) = self.daemons.get_mut(n).filter(|d| d.paused_until.is_some_and(|until| until <= now)) else {
            return;
        };
        daemon.paused_until = None;
        let pollers = daemon.process.as_ref().map(|process| process.pollers.clone()).unwrap_or_default();
        self.say("goes on", n);
        pollers.into_iter().for_each(|poller| self.wants(poller, now));
    }

    /// A reactor has no turn for this time, as when its core is another's: what others tell it piles up.
    pub fn stall(&mut self, n: usize, reactor: usize, time: Duration) {
        self.line(format!("node-{n}: reactor {reactor} has no turn for {time:?}"));
        let process = self.daemons.get(n).and_then(|daemon| daemon.process.as_ref());
        let Some(poller) = process.map(|process| poller_of(process, reactor)) else { return };
        let now = self.now();
        if let Some(Some(seat)) = self.seats.get_mut(poller) {
            seat.busy_until = now + nanos(time);
            seat.next = None;
        }
        self.wants(poller, now);
    }

    /// What one host sends is no longer heard by the other.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.maybe_split = true;
        let hosts = (self.host(from), self.host(to));
        self.net.lock().cut(hosts.0, hosts.1);
        self.line(format!("cut from node-{from} to node-{to}"));
    }

    /// These daemons hear only each other, and the others only the others.
    pub fn cut_off(&mut self, group: &[usize]) {
        for a in 0..self.daemons.len() {
            for b in 0..self.daemons.len() {
                if group.contains(&a) != group.contains(&b) {
                    self.cut(a, b);
                }
            }
        }
    }

    /// Everybody hears everybody again.
    pub fn heal(&mut self) {
        self.line("healed".to_owned());
        self.net.lock().heal();
    }

    /// The connections between two daemons break, in the middle of whatever they carry. Gives how many there were.
    pub fn break_links(&mut self, a: usize, b: usize) -> usize {
        let hosts = (self.host(a), self.host(b));
        let broken = self.net.lock().break_between(hosts.0, hosts.1);
        self.line(format!("{broken} connections between node-{a} and node-{b} break"));
        broken
    }

    /// A daemon's clock jumps ahead.
    pub fn jump(&mut self, n: usize, by: Duration) {
        self.say("its clock jumps", n);
        self.maybe_split = true;
        let host = self.host(n);
        self.net.lock().jump(host, by);
    }

    /// DNS behaves like this from now on.
    pub fn set_dns(&mut self, mode: Mode) {
        self.line(format!("DNS: {mode:?}"));
        self.dns.mode = mode;
        self.update_dns();
    }

    fn update_dns(&mut self) {
        let net = self.net.lock();
        self.dns.running =
            self.daemons.iter().filter(|daemon| daemon.runs()).map(|daemon| net.ip(daemon.host)).collect();
    }

    /// The host of a daemon.
    #[must_use]
    pub fn host(&self, n: usize) -> usize {
        self.daemons.get(n).map_or(usize::MAX, |daemon| daemon.host)
    }

    /// A client that begins at this daemon.
    pub fn add_client(&mut self, daemon: usize, habits: Habits) -> usize {
        let (host, poller) = self.new_host();
        let dice = self.dice.fork();
        let n = self.clients.len();
        self.clients.push(Client::new(Arc::clone(&self.net), host, poller, daemon, habits, dice));
        self.seat(poller, Actor::Client(n), self.now());
        n
    }

    /// These clients go.
    pub fn retire(&mut self, clients: &[usize]) {
        for n in clients {
            if let Some(client) = self.clients.get_mut(*n) {
                client.retired = true;
            }
        }
        let now = self.now();
        let gone =
            |seat: &Option<Seat>| matches!(seat, Some(Seat { actor: Actor::Client(n), .. }) if clients.contains(n));
        let pollers: Vec<PollerId> = (0..self.seats.len()).filter(|p| self.seats.get(*p).is_some_and(gone)).collect();
        pollers.into_iter().for_each(|poller| self.wants(poller, now));
    }

    /// A watcher of this daemon's changes.
    pub fn add_watcher(&mut self, daemon: usize, lazy: f64) {
        let (host, poller) = self.new_host();
        let dice = self.dice.fork();
        let n = self.watchers.len();
        self.watchers.push(Watcher::new(Arc::clone(&self.net), host, poller, daemon, lazy, dice));
        self.seat(poller, Actor::Watcher(n), self.now());
    }

    fn new_host(&mut self) -> (usize, PollerId) {
        let mut net = self.net.lock();
        let host = net.add_host(Clock::default());
        (host, net.add_poller(host))
    }

    /// Has something done at this time.
    pub fn at(&mut self, at: u64, deed: impl FnOnce(&mut World) + Send + 'static) {
        self.next_number += 1;
        self.plan.insert((at, self.next_number), Box::new(deed));
    }

    /// Notes a line.
    pub fn line(&mut self, text: String) {
        let mut net = self.net.lock();
        let now = net.now();
        net.trace.line(now, text);
    }

    fn say(&mut self, what: &'static str, n: usize) {
        self.line(format!("node-{n} {what}"));
    }

    /// Counts a deed.
    pub fn count(&mut self, deed: &'static str) {
        *self.deeds.entry(deed).or_default() += 1;
    }

    fn seat(&mut self, poller: PollerId, actor: Actor, now: u64) {
        if self.seats.len() <= poller {
            self.seats.resize(poller + 1, None);
        }
        if let Some(seat) = self.seats.get_mut(poller) {
            *seat = Some(Seat { actor, next: None, busy_until: now });
        }
        self.wants(poller, now);
    }

    fn unseat(&mut self, n: usize) {
        let pollers =
            self.daemons.get(n).and_then(|daemon| daemon.process.as_ref()).map(|process| process.pollers.clone());
        for poller in pollers.unwrap_or_default() {
            if let Some(seat) = self.seats.get_mut(poller) {
                *seat = None;
            }
        }
    }

    /// A loop is to have a turn at this time, or before.
    fn wants(&mut self, poller: PollerId, at: u64) {
        let Some(Some(seat)) = self.seats.get_mut(poller) else { return };
        let at = at.max(seat.busy_until);
        if seat.next.is_none_or(|next| at < next) {
            seat.next = Some(at);
            self.next_number += 1;
            self.turns.insert((at, self.next_number), poller);
        }
    }

    /// Lets virtual time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now() + nanos(time);
        while self.step(until) {}
    }

    /// Lets time pass until `done`, looking every 10 ms. Says how long it took; none if it was not done in time.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> Option<Duration> {
        let begin = self.now();
        while self.now() < begin + nanos(limit) {
            if done(self) {
                return Some(Duration::from_nanos(self.now() - begin));
            }
            self.run(Duration::from_millis(10));
        }
        done(self).then(|| Duration::from_nanos(self.now() - begin))
    }

    /// The next thing that happens, before `until`. False if there is none.
    pub fn step(&mut self, until: u64) -> bool {
        let next_net = self.net.lock().next_event();
        let next_turn = self.turns.first_key_value().map(|((at, _), _)| *at);
        let next_deed = self.plan.first_key_value().map(|((at, _), _)| *at);
        let next = [next_net, next_turn, next_deed, Some(self.next_look)].into_iter().flatten().min().unwrap_or(until);
        if next > until {
            self.net.lock().advance(until);
            return false;
        }
        let (now, wanted) = {
            let mut net = self.net.lock();
            let now = net.advance(next);
            (now, net.take_wanted())
        };
        for poller in wanted {
            let late = self.dice.between(500, 20_000);
            self.wants(poller, now + late);
        }
        if self.next_look <= now {
            self.next_look = now + nanos(LOOK);
            self.look();
        }
        if next_deed.is_some_and(|at| at <= now)
            && let Some((_, deed)) = self.plan.pop_first()
        {
            deed(self);
            return true;
        }
        if self.turns.first_key_value().is_some_and(|((at, _), _)| *at <= now)
            && let Some(((at, _), poller)) = self.turns.pop_first()
        {
            self.turn(poller, at, now);
        }
        true
    }

    fn turn(&mut self, poller: PollerId, at: u64, now: u64) {
        let Some(Some(seat)) = self.seats.get_mut(poller) else { return };
        if seat.next != Some(at) {
            return;
        }
        seat.next = None;
        seat.busy_until = now + nanos(self.dice.time(TURN.0, TURN.1));
        let actor = seat.actor;
        self.taken += 1;
        let _logged = match actor {
            Actor::Reactor(n, _) | Actor::Control(n) => Some(tracing::info_span!("node", n).entered()),
            Actor::Client(_) | Actor::Watcher(_) => None,
        };
        let next = match actor {
            Actor::Reactor(n, index) => self.turn_reactor(n, index, now),
            Actor::Control(n) => self.turn_control(n, now),
            Actor::Client(n) => self.turn_client(n, now),
            Actor::Watcher(n) => self.turn_watcher(n, now),
        };
        next.into_iter().for_each(|next| self.wants(poller, next));
    }

    fn turn_reactor(&mut self, n: usize, index: usize, now: u64) -> Option<u64> {
        let daemon = self.daemons.get_mut(n)?;
        if daemon.paused_until.is_some() {
            return None;
        }
        let host = daemon.host;
        let clock = self.net.lock().instant(host);
        let process = daemon.process.as_mut()?;
        let shared = Arc::clone(&process.shared);
        let shards = usize::from(daemon.setup.partitions).min(64);
        let held = match self.foreign_holders {
            Some(of) if self.dice.below(of) == 0 && !self.net.lock().hears_members(poller_of(process, index)) => {
                parts::hold(&shared, self.dice.index(shards), index)
            }
            _ => None,
        };
        let (due, grown) = memory::of_daemon(|| process.turn_reactor(index, clock));
        process.memory += grown;
        drop(held);
        let control = process.pollers.last().copied();
        let wanted = process.control_is_wanted();
        if wanted && let Some(control) = control {
            let late = self.dice.between(500, 30_000);
            self.wants(control, now + late);
        }
        match due {
            Ok(Due::Now) => Some(now),
            Ok(Due::At(at)) => Some(self.net.lock().when(host, at).max(now + 1_000)),
            Ok(Due::Never) => None,
            Err(error) => {
                self.judge.wrong(format!("node-{n}: reactor {index} ended: {error}"));
                None
            }
        }
    }

    fn turn_control(&mut self, n: usize, now: u64) -> Option<u64> {
        let daemon = self.daemons.get_mut(n)?;
        if daemon.paused_until.is_some() {
            return None;
        }
        let host = daemon.host;
        let (clock, ip, datagrams) = {
            let mut net = self.net.lock();
            let ip = net.ip(host);
            let own = SocketAddr::new(ip, daemon::GOSSIP);
            let datagrams: Vec<_> = std::iter::from_fn(|| net.receive_datagram(host, own)).take(64).collect();
            (net.instant(host), ip, datagrams)
        };
        let process = daemon.process.as_mut()?;
        let (net, dns, dice, wakes) = (&self.net, &mut self.dns, &mut self.dice, &mut self.wakes);
        let ((due, questions), grown) = memory::of_daemon(|| {
            // A copy of its own, which it frees.
            let received = datagrams.clone();
            let turned = process.turn_control(ControlTurn { now: clock, at: now, datagrams: received, dice, wakes });
            memory::apart(|| {
                let mut net = net.lock();
                let own = SocketAddr::new(ip, daemon::GOSSIP);
                turned.datagrams.iter().for_each(|(to, bytes)| net.send_datagram(own, *to, bytes));
            });
            (turned.due, memory::apart(|| turned.questions.clone()))
        });
        process.memory += grown;
        for question in questions {
            let answer = dns.answer(&question, ip).ok_or(Unanswered);
            let took = if answer.is_err() { DNS_SILENCE } else { self.dice.time(DNS.0, DNS.1) };
            let ((), grown) = memory::of_daemon(|| process.answers.push_back((now + nanos(took), answer.clone())));
            process.memory += grown;
        }
        let more = process.control_is_wanted();
        let on_its_way = process.control_is_due();
        let failed = process.failed.clone();
        let ended = process.left.is_some() && process.has_ended();
        let due = due.map(|due| self.net.lock().when(host, due).max(now + 1_000));
        if let Some(reason) = failed {
            self.line(format!("node-{n} cannot go on: {reason}"));
            self.kill(n);
            return None;
        }
        if ended {
            self.end(n);
            return None;
        }
        [due, on_its_way, more.then_some(now)].into_iter().flatten().min()
    }

    /// A daemon that has left ends.
    fn end(&mut self, n: usize) {
        let left = self.daemons.get(n).and_then(|daemon| daemon.process.as_ref()).and_then(|process| process.left);
        if let Some(left) = left {
            self.left_behind += left.left_behind;
            self.line(format!("node-{n} has left: {left:?}"));
        }
        self.kill(n);
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let net = self.net.lock();
        self.daemons.iter().map(|daemon| SocketAddr::new(net.ip(daemon.host), daemon::CLIENTS)).collect()
    }

    fn turn_client(&mut self, n: usize, now: u64) -> Option<u64> {
        let addresses = self.addresses();
        let Self { clients, judge, numbers, stopped, .. } = self;
        let mut around = Surroundings { now, judge, numbers, addresses: &addresses, stopped: *stopped };
        let next = clients.get_mut(n)?.turn(&mut around);
        next.map(|next| next.max(now + 1_000))
    }

    fn turn_watcher(&mut self, n: usize, now: u64) -> Option<u64> {
        let addresses = self.addresses();
        let Self { watchers, judge, numbers, stopped, .. } = self;
        let mut around = Surroundings { now, judge, numbers, addresses: &addresses, stopped: *stopped };
        let next = watchers.get_mut(n)?.turn(&mut around);
        next.map(|next| next.max(now + 1_000))
    }

    /// Who serves a partition.
    #[must_use]
    pub fn servers_of(&self, partition: u16) -> Vec<usize> {
        self.daemons_with(partition, parts::serves)
    }

    fn daemons_with(&self, partition: u16, has: fn(&Shared, u16) -> bool) -> Vec<usize> {
        let has = |daemon: &Daemon| daemon.process.as_ref().is_some_and(|process| has(&process.shared, partition));
        (0..self.daemons.len()).filter(|n| self.daemons.get(*n).is_some_and(has)).collect()
    }

    /// Partitions of the mesh.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.daemons.first().map_or(0, |daemon| daemon.setup.partitions)
    }

    /// Whether every daemon that runs is ready, knows all others, and every partition has one server.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let running: Vec<&Daemon> = self.daemons.iter().filter(|daemon| daemon.stays()).collect();
        let leaving = self.daemons.iter().any(|daemon| daemon.runs() && !daemon.stays());
        let sees_all = |daemon: &&Daemon| {
            daemon.paused_until.is_none()
                && daemon.process.as_ref().is_some_and(|p| parts::standing(&p.shared) == (true, running.len()))
        };
        !leaving && running.iter().all(sees_all) && (0..self.partitions()).all(|p| self.servers_of(p).len() == 1)
    }

    /// Whether it is settled and no partition has two copies: as long as there are, one may be of the time when the mesh was apart.
    #[must_use]
    pub fn is_merged(&self) -> bool {
        self.is_settled() && (0..self.partitions()).all(|p| self.daemons_with(p, parts::has_copy).len() <= 1)
    }

    /// Why it is not settled, for people.
    #[must_use]
    pub fn unsettled(&self) -> String {
        let standing: Vec<String> = self
            .daemons
            .iter()
            .filter_map(|d| {
                d.process
                    .as_ref()
                    .map(|p| format!("{}: {:?} {}", d.name, parts::standing(&p.shared), parts::reason(&p.shared)))
            })
            .collect();
        let odd: Vec<(u16, Vec<usize>)> =
            (0..self.partitions()).map(|p| (p, self.servers_of(p))).filter(|(_, s)| s.len() != 1).collect();
        format!("{standing:?}; partitions without one server: {odd:?}")
    }

    /// Lets time pass until all is settled; says so if that takes longer than `limit`.
    pub fn settle(&mut self, limit: Duration) -> bool {
        let took = self.run_until(limit, |world| world.is_settled());
        if took.is_none() {
            let why = self.unsettled();
            self.judge.wrong(format!("not settled after {limit:?}: {why}"));
        } else {
            self.born = true;
            self.look();
        }
        took.is_some()
    }

    /// Looks whether what must always hold does.
    fn look(&mut self) {
        self.look_at_memory();
        if !self.born {
            return;
        }
        let shared = self.daemons.iter().filter_map(|daemon| Some((&daemon.name, daemon.process.as_ref()?)));
        let over =
            shared.filter_map(|(name, process)| Some((name.clone(), parts::over_bound(&process.shared)?))).next();
        if let Some((name, what)) = over {
            self.judge.wrong(format!("{name}: {what}"));
        }
        if self.maybe_split {
            // Who joins while DNS names nobody but who asks may be alone.
            let may_split_yet = self.net.lock().has_cuts() || self.dns.mode == Mode::OnlyYourself;
            if !may_split_yet && self.is_merged() {
                self.maybe_split = false;
            }
            return;
        }
        let twice = (0..self.partitions()).find_map(|p| Some((p, self.servers_of(p))).filter(|(_, s)| s.len() > 1));
        if let Some((partition, servers)) = twice {
            self.maybe_split = true;
            let now = crate::judge::time(self.now());
            self.judge
                .wrong(format!("partition {partition} is served by {servers:?} at {now}, and nobody was cut off"));
        }
    }

    fn look_at_memory(&mut self) {
        let running = self.daemons.iter().filter_map(|daemon| Some((&daemon.name, daemon.process.as_ref()?)));
        let mut over = None;
        for (name, process) in running {
            self.peak = self.peak.max(process.memory);
            if process.memory > self.memory_most {
                let told = i64::try_from(parts::bytes_told(&process.shared)).unwrap_or(i64::MAX);
                let what = memory::is_over(process.memory, self.memory_most, told);
                over = over.or(what.map(|what| format!("{name}: {what}")));
            }
        }
        if let Some(what) = over {
            // Said once: it is over at the next look too.
            self.memory_most = i64::MAX;
            self.judge.wrong(what);
        }
    }

    /// Looks at what daemons have of memory while nothing is under way, and ends them all: nothing of theirs is to be left.
    pub fn rest_and_end(&mut self) {
        let daemons = self.daemons.len();
        for n in 0..daemons {
            let Some(process) = self.daemons.get(n).and_then(|daemon| daemon.process.as_ref()) else { continue };
            if let Some(what) = memory::is_restless(process.memory, daemons) {
                self.judge.wrong(format!("node-{n}: {what}"));
            }
            self.kill(n);
        }
    }

    /// How often control planes decided what.
    #[must_use]
    pub fn decisions(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let mut all = self.decisions.clone();
        for (what, count) in self.daemons.iter().filter_map(|d| d.process.as_ref()).flat_map(|p| p.decisions()) {
            *all.entry(*what).or_default() += *count;
        }
        all
    }

    /// Subscriptions at all daemons.
    #[must_use]
    pub fn subscriptions(&self) -> u64 {
        let processes = self.daemons.iter().filter_map(|daemon| daemon.process.as_ref());
        processes.flat_map(|process| &process.shared.counters).map(|counters| counters.subscriptions.get()).sum()
    }

    /// Names of daemons that run.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        (0..self.daemons.len()).filter(|n| self.daemons.get(*n).is_some_and(Daemon::stays)).collect()
    }

    /// Keys that were written.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<String> {
        self.judge.keys()
    }

    /// Kinds of things that never happened.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.net.lock().trace.hash()
    }
}
