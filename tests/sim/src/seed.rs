//! One seed: a mesh, clients, faults, and the verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use statemesh_node::options::{Limits, Mailboxes};

use crate::daemon::Setup;
use crate::dice::{Dice, nanos};
use crate::finale::{self, habits};
use crate::judge::Terms;
use crate::machines;
use crate::nemesis::Fault;
use crate::net::{Clock, Faults};
use crate::world::World;

/// Daemons start within this time.
const START: Duration = Duration::from_millis(300);

/// What a seed is made of; a smaller one is made of it by leaving things out.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The seed.
    pub seed: u64,
    /// Daemons at the beginning, and places for more.
    pub daemons: (usize, usize),
    /// Clients.
    pub clients: usize,
    /// Faults, with the times at which they begin.
    pub faults: Vec<(u64, Fault)>,
    /// Virtual time of the load.
    pub time: Duration,
}

/// What a seed came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What contradicts.
    pub violations: Vec<String>,
    /// The last lines of what happened.
    pub trace: Vec<String>,
    /// Hash of everything.
    pub hash: u64,
    /// Requests that were sent.
    pub requests: usize,
    /// Events that were acknowledged.
    pub acknowledged: u64,
    /// What was seen of each kind.
    pub coverage: BTreeMap<String, u64>,
    /// Turns taken.
    pub turns: u64,
    /// The most that a daemon had of memory, in bytes.
    pub peak: u64,
}

impl Recipe {
    /// The recipe of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x5eed);
        // One in fifty is large.
        let large = seed % 50 == 49;
        let daemons = match seed % 300 {
            // The largest mesh is among the seeds of a test run.
            49 => 50,
            _ if large => 20 + dice.index(31),
            _ => 3 + dice.index(3),
        };
        let daemons = (daemons, 2);
        let time = Duration::from_secs(if large { 20 } else { 60 });
        let mut faults = Vec::new();
        let mut at = nanos(Duration::from_secs(6));
        let wanted = if large { 1 } else { 3 + dice.index(3) };
        while faults.len() < wanted && at < nanos(time) {
            let fault = *dice.pick(Fault::ALL).unwrap_or(&Fault::Kill);
            faults.push((at, fault));
            at += nanos(fault.lasts()) + nanos(dice.time(Duration::from_secs(1), Duration::from_secs(5)));
        }
        Self { seed, daemons, clients: 12 + dice.index(3), faults, time }
    }

    /// Requests without which it proves too little. A large mesh has a third of the time.
    #[must_use]
    pub fn least_requests(&self) -> usize {
        if self.time < Duration::from_secs(60) { 1_000 } else { 5_000 }
    }

    /// How long it runs: the last fault may be over later than its time is.
    fn time_with_faults(&self) -> Duration {
        let ends = self.faults.iter().map(|(at, fault)| Duration::from_nanos(*at) + fault.lasts());
        ends.fold(self.time, Duration::max)
    }

    /// Runs it.
    #[must_use]
    pub fn run(&self) -> Outcome {
        let run = std::panic::AssertUnwindSafe(|| self.run_unguarded());
        std::panic::catch_unwind(run).unwrap_or_else(|panic| Outcome::of_panic(panic.as_ref()))
    }

    fn run_unguarded(&self) -> Outcome {
        let mut world = self.world();
        world.run(START);
        if world.settle(Duration::from_secs(40)) {
            self.load(&mut world);
            world.run(self.time_with_faults());
            world.finish();
            world.rest_and_end();
        }
        Outcome::of(world, Terms { lossless: self.is_lossless(), ..Terms::default() })
    }

    fn world(&self) -> World {
        let mut dice = Dice::new(self.seed);
        let mut world = World::new(dice.bits(), network(&mut dice));
        let service = Some("mesh.default.svc.cluster.local.".to_owned());
        let partitions = [16, 24, 64][dice.index(3)];
        let (batch, message_bytes) = (finale::BATCH, finale::MESSAGE_BYTES);
        let mut limits = Limits { connections: 48, batch, message_bytes, ..Limits::default() };
        if dice.chance(0.3) {
            // So that they are met.
            (limits.parked, limits.in_flight, limits.in_flight_per_connection) = (8, 24, 16);
            limits.output_bytes = 65_536;
            (limits.unsent_bytes, limits.unsent_total_bytes) = (4_096, 65_536);
        } else if dice.chance(0.5) {
            limits.subscriber_bytes = 4_096;
        }
        let mailboxes = if dice.chance(0.3) {
            // So that they are full.
            Mailboxes { reactor: [4, 16, 64][dice.index(3)], control: [1, 8][dice.index(2)] }
        } else {
            Mailboxes::default()
        };
        let birth = if dice.chance(0.5) { (0..3).map(|n| format!("node-{n}")).collect() } else { Vec::new() };
        let setup = Setup {
            partitions,
            reactors: 2,
            mailboxes,
            limits,
            gossip_keys: vec![[1; 32]],
            service,
            seeds: Vec::new(),
            alone_after: Some(Duration::from_secs(5)),
            birth,
            machines: machines::ALL.iter().map(|text| (*text).to_owned()).collect(),
            machines_revision: None,
        };
        for _ in 0..self.daemons.0 + self.daemons.1 {
            let clock = Clock { ppm: u32::try_from(dice.below(300)).unwrap_or(0), ahead: dice.below(1 << 40) };
            world.add_daemon(setup.clone(), clock);
        }
        for n in 0..self.daemons.0 {
            let at = nanos(dice.time(Duration::ZERO, START));
            world.at(at, move |world| world.start(n));
        }
        world
    }

    fn load(&self, world: &mut World) {
        let keys: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
        for n in 0..self.clients {
            let mut dice = world.dice.fork();
            let mut habits = habits(&mut dice, &keys);
            if n % 5 == 4 {
                // Keys whose instances come and go are their own: what is removed is missing, and proves nothing.
                habits.keys = (0..3).map(|key| format!("removed{key}")).collect();
                habits.removals = 0.1;
            }
            world.add_client(n % self.daemons.0, habits);
        }
        for n in 0..self.daemons.0.min(3) {
            world.add_watcher(n, [0.0, 0.01, 0.2][n]);
        }
        let begin = world.now();
        for (at, fault) in self.faults.clone() {
            world.at(begin + at, move |world| fault.begin(world));
        }
    }

    /// Whether nothing may be lost.
    #[must_use]
    pub fn is_lossless(&self) -> bool {
        self.faults.iter().all(|(_, fault)| fault.is_lossless())
    }
}

impl Outcome {
    /// What a world came to.
    #[must_use]
    pub fn of(mut world: World, terms: Terms) -> Self {
        let mut coverage = world.coverage.by_name(&mut world.daemons);
        world.judge.codes.iter().for_each(|(code, n)| *coverage.entry(format!("code {code}")).or_default() += *n);
        coverage.insert("replies that say restarted".to_owned(), world.judge.restarted);
        coverage.insert("changes seen".to_owned(), world.judge.changes);
        coverage.insert("changes missed by slow watchers".to_owned(), world.judge.dropped);
        let counted = world.coverage.counted(&world.daemons);
        for (what, n) in [
            ("instances that became stuck", counted.stuck),
            ("instances counted as lost", counted.lost),
            ("keys counted as in conflict", counted.conflicts),
            ("commands that found a reactor's mailbox full", counted.full_rings),
            ("messages that found the control plane's mailbox full", counted.full_queues),
        ] {
            coverage.insert(what.to_owned(), n);
        }
        let (hash, turns, peak) = (world.hash(), world.taken(), u64::try_from(world.invariants.peak()).unwrap_or(0));
        let lines = |net: &crate::net::Net| {
            net.trace.lines().map(|(at, line)| format!("{} {line}", crate::judge::time(*at))).collect()
        };
        let trace = lines(&world.net.lock());
        let (requests, acknowledged) = (world.judge.requests(), world.judge.acknowledged);
        let [lost, in_conflict] = world.judge.keys_said();
        let mut violations = world.judge.verdict(terms);
        if terms.lossless && (counted.lost, counted.conflicts) != (0, 0) {
            violations.push(format!(
                "{} instances and {} conflicts were counted, and nothing can be lost",
                counted.lost, counted.conflicts
            ));
        }
        // What replies say clients see once; what is counted and published is all that who runs the mesh sees.
        if counted.lost < lost || counted.lost + counted.conflicts < in_conflict {
            violations.push(format!(
                "replies said of {lost} keys that they began anew and of {in_conflict} that something is gone, and daemons counted {} \
                 lost instances and {} conflicts",
                counted.lost, counted.conflicts
            ));
        }
        Self { violations, trace, hash, requests, acknowledged, coverage, turns, peak }
    }

    /// What a panic came to.
    #[must_use]
    pub fn of_panic(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        Self { violations: vec![format!("a panic: {text}")], ..Self::default() }
    }
}

/// What the network does by itself in a seed.
fn network(dice: &mut Dice) -> Faults {
    let delay_max = dice.time(Duration::from_micros(100), Duration::from_millis(3));
    Faults {
        delay_max,
        slow: if dice.chance(0.3) { 0.01 } else { 0.0 },
        slow_max: Duration::from_millis(30),
        loss: if dice.chance(0.3) { 0.02 } else { 0.0 },
        duplicate: if dice.chance(0.3) { 0.02 } else { 0.0 },
        send_buffer: [8, 64, 256][dice.index(3)] * 1_024,
        receive_buffer: [4, 64, 256][dice.index(3)] * 1_024,
        segment: [1_448, 16_384, 65_536][dice.index(3)],
        ..Faults::default()
    }
}
