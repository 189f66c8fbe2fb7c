//! One hot instance, and a thousand, stepped by 1 to 8 threads through what the daemon has: a claim for each shard, what its
//! reactors do when they lose it, and the engine. No event may be lost or run twice, and threads must not make it slower.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statemesh_claim::{Aside, Combining};
use statemesh_engine::{Event, Instance, Limits, Machine, Millis, Output, Payload};

use crate::environment::Environment;
use crate::failure::{Outcome, While, failure};
use crate::report::figure::{Figure, Unit, thousands};
use crate::report::table;
use crate::rounds::median;
use crate::scenario::Report;

/// As in the daemon (daemon/shard/src/shards.rs).
const SHARDS: usize = 64;
const INBOX: usize = 64;
/// Events that a reactor has read when its turn begins: as many as a connection has in flight in the scenario `rate`.
const TURN: usize = 256;
const THREADS: [usize; 4] = [1, 2, 4, 8];
/// Instances, and what a run with so many is called.
const CASES: [(usize, &str); 2] = [(1, "one hot instance"), (1_000, "a thousand instances")];
const EVENTS: usize = 4_000_000;
/// Of one thread's rate, at least this much is left with more: what two runs on a shared machine differ by.
const KEPT: f64 = 0.9;

/// A job is an instance that is to take an event.
type Shard = Combining<State, usize>;

struct State {
    instances: Vec<Instance>,
    out: Output,
    refused: u64,
}

impl State {
    fn step(&mut self, machine: &Machine, instance: usize) {
        self.out.clear();
        let step = self
            .instances
            .get_mut(instance)
            .map(|instance| machine.send(instance, &Event::named("NEXT"), Millis(1), &mut self.out));
        self.refused += u64::from(!step.is_some_and(|step| step.is_ok_and(|step| step.changed)));
    }
}

pub(crate) fn run(environment: &Environment) -> Outcome<Report> {
    let path = environment.machine("lamp");
    let source = std::fs::read(&path).while_at(path.display())?;
    let Ok(compiled) = Machine::compile(&source, &Limits::default(), &|_| None) else {
        return failure("lamp.json does not compile; `statemesh check` says why");
    };
    let mut report = Report::default();
    let mut rows = Vec::new();
    for (instances, about) in CASES {
        let mut rates = vec![Vec::new(); THREADS.len()];
        for _ in 0..environment.rounds {
            for (threads, rates) in THREADS.iter().zip(&mut rates) {
                rates.push(EVENTS as f64 / measure(&compiled.machine, instances, *threads)?.as_secs_f64());
            }
        }
        // Within a round, as the machine's mood changes.
        let against_one = |with: &Vec<f64>| median(with.iter().zip(&rates[0]).map(|(with, one)| with / one).collect());
        let least = rates[1..].iter().map(against_one).fold(f64::INFINITY, f64::min);
        let name = format!("events/s, {about}, 2 to 8 threads : one thread, the least");
        report.figures.push(Figure::at_least(&name, KEPT, least, Unit::Times));
        let cells = rates.into_iter().map(|rates| thousands(median(rates)));
        rows.push(std::iter::once(about.to_owned()).chain(cells).collect());
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    report.body = format!(
        "Events a second by number of threads, on {cores} cores; {} events of `lamp` each time, medians of {} rounds. A turn \
         of a thread has {TURN} events, each done at once if the shard can be claimed; the others are done together at the end of the \
         turn, by the thread that has the shard then. After each run the instances' transitions are \
         counted: as many as events.\n\n{}",
        thousands(EVENTS as f64),
        environment.rounds,
        table::markdown(&["", "1", "2", "4", "8"], &rows)
    );
    Ok(report)
}

/// How long all events take, spread over the threads and over the instances.
fn measure(machine: &Machine, instances: usize, threads: usize) -> Outcome<Duration> {
    let shards = Arc::new(shards(machine, instances)?);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let shards = Arc::clone(&shards);
            scope.spawn(move || {
                let mut aside = Aside::default();
                let events = EVENTS / threads;
                for first in (0..events).step_by(TURN) {
                    // A step that no number of instances shares: each thread visits all, in an order of its own.
                    let event = |n: usize| (n * 7 + thread * 131) % instances;
                    turn(machine, &shards, &mut aside, (first..events.min(first + TURN)).map(event));
                    // There was no room: a reactor too reads no more of a connection that has much under way.
                    while !aside.has_no_jobs() {
                        std::thread::yield_now();
                        turn(machine, &shards, &mut aside, std::iter::empty());
                    }
                }
            });
        }
    });
    let took = begin.elapsed();
    let (mut transitions, mut refused) = (0, 0);
    for shard in shards.iter() {
        let Some(state) = shard.try_claim() else { return failure("a claim outlived its thread") };
        transitions += state.instances.iter().map(Instance::seq).sum::<u64>();
        refused += state.refused;
    }
    if transitions != EVENTS as u64 || refused != 0 || shards.iter().any(Shard::has_jobs) {
        return failure(format!("{EVENTS} events gave {transitions} transitions, {refused} were refused"));
    }
    Ok(took)
}

fn shards(machine: &Machine, instances: usize) -> Outcome<Vec<Shard>> {
    let mut shards = Vec::new();
    for shard in 0..SHARDS {
        let mut state = State { instances: Vec::new(), out: Output::new(), refused: 0 };
        for _ in (shard..instances).step_by(SHARDS) {
            let started = machine.start(Payload::Empty, Millis(0), &mut state.out);
            state.instances.push(started.or_else(|_| failure("the machine does not start"))?);
        }
        shards.push(Shard::new(state, INBOX));
    }
    Ok(shards)
}

/// What a reactor does in one turn (daemon/node/src/worker): the events that it has read, each as soon as it can be done.
fn turn(machine: &Machine, shards: &[Shard], aside: &mut Aside<usize>, events: impl Iterator<Item = usize>) {
    let run = |state: &mut State, jobs: &mut VecDeque<usize>| jobs.drain(..).for_each(|job| state.step(machine, job));
    for event in events {
        let (at, instance) = (event % SHARDS, event / SHARDS);
        let Some(shard) = shards.get(at) else { continue };
        let entered = if aside.has(at) { None } else { shard.try_enter() };
        let Some(mut state) = entered else {
            aside.put(at, [instance]);
            continue;
        };
        state.step(machine, instance);
        drop(state);
        shard.drain(run);
    }
    for (at, jobs) in aside.take() {
        let Some(shard) = shards.get(at) else { continue };
        match shard.submit(jobs, run) {
            Ok(true) => aside.put(at, []),
            Ok(false) => {}
            Err(jobs) => aside.put(at, jobs),
        }
        // Each holder of the shard calls it too, so what waits all the same is done by the holder.
        shard.drain(run);
    }
}
