//! The world: hosts, daemons, clients and watchers, whose turns are taken one after the other in virtual time.

mod coverage;
mod deeds;
mod invariants;
mod schedule;
mod standing;
mod turns;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub use coverage::Coverage;
pub use invariants::Invariants;
use schedule::{Actor, Schedule};

use crate::ask::Askers;
use crate::client::{Client, Habits};
use crate::daemon::{Daemon, Setup};
use crate::dice::{Dice, nanos};
use crate::dns::Dns;
use crate::judge::Judge;
use crate::net::{Clock, Faults, Net, PollerId, SharedNet};
use crate::outside::Numbers;
use crate::watcher::Watcher;

/// Something done to the world by a plan.
pub type Deed = Box<dyn FnOnce(&mut World) + Send>;

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
    /// Connections of scenarios that ask.
    pub askers: Askers,
    schedule: Schedule<Deed>,
    /// What must always hold.
    pub invariants: Invariants,
    /// What happened, counted.
    pub coverage: Coverage,
    /// Clients send no new events.
    pub stopped: bool,
    /// Of so many turns of a daemon in which no shards are held by other threads, one begins with that some are.
    pub foreign_holders: Option<u64>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("daemons", &self.daemons).finish_non_exhaustive()
    }
}

impl World {
    /// A world without hosts.
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
            schedule: Schedule::new(),
            invariants: Invariants::default(),
            coverage: Coverage::default(),
            stopped: false,
            foreign_holders: None,
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
        self.schedule.seat(poller, Actor::Client(n), self.now());
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
        self.schedule.loops_of(clients).into_iter().for_each(|poller| self.schedule.wants(poller, now));
    }

    /// A watcher of this daemon's changes.
    pub fn add_watcher(&mut self, daemon: usize, lazy: f64) {
        let (host, poller) = self.new_host();
        let dice = self.dice.fork();
        let n = self.watchers.len();
        self.watchers.push(Watcher::new(Arc::clone(&self.net), host, poller, daemon, lazy, dice));
        self.schedule.seat(poller, Actor::Watcher(n), self.now());
    }

    fn new_host(&mut self) -> (usize, PollerId) {
        let mut net = self.net.lock();
        let host = net.add_host(Clock::default());
        (host, net.add_poller(host))
    }

    /// Has something done at this time.
    pub fn at(&mut self, at: u64, deed: impl FnOnce(&mut World) + Send + 'static) {
        self.schedule.plan(at, Box::new(deed));
    }

    /// Notes a line.
    pub fn line(&mut self, text: String) {
        let mut net = self.net.lock();
        let now = net.now();
        net.trace.line(now, text);
    }

    pub(super) fn say(&mut self, what: &'static str, n: usize) {
        self.line(format!("node-{n} {what}"));
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
        let next = [next_net, self.schedule.next(), Some(self.invariants.next_look())].into_iter().flatten().min();
        let next = next.unwrap_or(until);
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
            self.schedule.wants(poller, now + late);
        }
        if self.invariants.is_due(now) {
            self.look();
        }
        if let Some(deed) = self.schedule.deed(now) {
            deed(self);
        } else if let Some((poller, actor)) = self.schedule.turn(now) {
            self.turn(poller, actor, now);
        }
        true
    }

    /// Turns taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.schedule.taken()
    }

    /// Keys that were written.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<String> {
        self.judge.keys()
    }

    /// The hash of everything that happened.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.net.lock().trace.hash()
    }
}
