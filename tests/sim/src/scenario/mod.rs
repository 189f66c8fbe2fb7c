//! Scenarios: what a sentence says, made to happen.

mod birth;
mod bounds;
mod clients;
mod cuts;
mod defining;
mod links;
mod losing;
mod moving;

use std::time::Duration;

use statemesh_node::options::{Limits, Mailboxes};
use statemesh_node::parts;

use crate::client::Habits;
use crate::daemon::Setup;
use crate::dice::Dice;
use crate::judge::Terms;
use crate::machines;
use crate::net::{Clock, Faults};
use crate::seed::Outcome;
use crate::world::World;

/// A scenario.
#[derive(Debug)]
pub struct Scenario {
    /// What must be so, as a sentence.
    pub name: &'static str,
    /// The fault that it shows, where it is not so, by its number in the list of faults; 0 for none of these.
    pub fault: u32,
    play: fn(u64) -> World,
    /// Seeds that it is played with.
    pub(crate) seeds: u64,
    lossless: bool,
}

impl Scenario {
    /// Plays it, with one seed after the other until one fails.
    #[must_use]
    pub fn run(&self) -> Outcome {
        let mut last = Outcome::default();
        for seed in 1..=self.seeds {
            last = self.run_seed(seed);
            if !last.violations.is_empty() {
                return last;
            }
        }
        last
    }

    /// Plays it with one of its seeds.
    pub fn run_seed(&self, seed: u64) -> Outcome {
        let played = std::panic::catch_unwind(|| {
            let world = (self.play)(seed);
            Outcome::of(world, Terms { lossless: self.lossless, ..Terms::default() })
        });
        let mut outcome = played.unwrap_or_else(|panic| Outcome::of_panic(panic.as_ref()));
        if let Some(first) = outcome.violations.first_mut() {
            *first = format!("seed {seed}: {first}");
        }
        outcome
    }
}

/// All of them.
pub const ALL: &[&[Scenario]] =
    &[birth::ALL, defining::ALL, moving::ALL, links::ALL, losing::ALL, cuts::ALL, bounds::ALL, clients::ALL];

/// One after the other.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    ALL.iter().flat_map(|of| of.iter())
}

/// Gossip's key.
const KEY: [u8; 32] = [7; 32];

const SEC: Duration = Duration::from_secs(1);

/// What a daemon of a scenario is told.
fn setup() -> Setup {
    Setup {
        partitions: 16,
        reactors: 2,
        mailboxes: Mailboxes::default(),
        limits: Limits::default(),
        gossip_keys: vec![KEY],
        service: Some("mesh.default.svc.cluster.local.".to_owned()),
        seeds: Vec::new(),
        alone_after: Some(5 * SEC),
        birth: Vec::new(),
        machines: machines::ALL.iter().map(|text| (*text).to_owned()).collect(),
        machines_revision: None,
    }
}

/// A settled mesh of so many daemons, with places for two more.
fn mesh(seed: u64, daemons: usize) -> World {
    mesh_of(seed, daemons, &setup(), Faults::default())
}

fn mesh_of(seed: u64, daemons: usize, setup: &Setup, faults: Faults) -> World {
    let mut world = empty(seed, daemons + 2, setup, faults);
    (0..daemons).for_each(|n| world.start(n));
    world.settle(40 * SEC);
    world
}

/// Places for daemons, none of which runs.
fn empty(seed: u64, places: usize, setup: &Setup, faults: Faults) -> World {
    let mut world = World::new(seed, faults);
    let mut dice = Dice::new(seed);
    for _ in 0..places {
        let clock = Clock { ppm: 0, ahead: dice.below(1 << 40) };
        world.add_daemon(setup.clone(), clock);
    }
    world
}

/// Clients that keep so many requests under way, on few keys, at each of these daemons.
fn busy_clients(world: &mut World, daemons: &[usize], each: usize, window: usize) {
    let keys: Vec<String> = (0..24).map(|n| format!("k{n}")).collect();
    for (n, daemon) in daemons.iter().flat_map(|n| std::iter::repeat_n(*n, each)).enumerate() {
        let keys = keys.iter().cycle().skip(n * 5).take(6).cloned().collect();
        let think = (Duration::from_millis(5), Duration::from_millis(60));
        let habits = Habits {
            keys,
            window,
            think,
            dedup: 0.0,
            arrays: 0.0,
            direct: 0.0,
            tells: 0.0,
            reads: 0.0,
            ..Habits::default()
        };
        world.add_client(daemon, habits);
    }
}

/// How many daemons one holds for alive, itself among them; none if it does not run.
fn alive_for(world: &World, n: usize) -> usize {
    let process = world.process(n);
    process.map_or(0, |process| parts::standing(&process.shared).1)
}

/// Lets time pass, in which no daemon that runs holds another for dead.
fn nobody_dies(world: &mut World, time: Duration) {
    let all = world.running().len();
    let after = world.run_until(time, |world| world.running().iter().any(|n| alive_for(world, *n) < all));
    must(world, after.is_none(), || format!("somebody is held for dead after {after:?}, and nobody is"));
}

/// The answer to an event of this number, for the machine that writes them down.
fn add(world: &mut World, daemon: usize, key: &str, n: u64) -> serde_json::Value {
    let event = format!(r#"{{"type":"ADD","n":{n}}}"#);
    world.ask(daemon, &format!(r#"{{"id":1,"op":"send","machine":"log","key":"{key}","event":{event}}}"#))
}

/// A contradiction, unless this holds.
fn must(world: &mut World, holds: bool, what: impl FnOnce() -> String) {
    if !holds {
        world.judge.wrong(what());
    }
}
