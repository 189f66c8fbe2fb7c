//! One hot instance, and a thousand, stepped by 1 to 8 threads through what the daemon has: a claim for each shard, an inbox
//! for whoever loses it, and the engine. No event may be lost or run twice, and threads must not make it slower.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use statemesh_claim::{Claim, settle};
use statemesh_engine::{Event, Instance, Limits, Machine, Millis, Output, Payload};

use crate::failure::{Outcome, While, failure};
use crate::lab::Lab;
use crate::report::figure::{Figure, Unit, thousands};
use crate::report::table;
use crate::rounds::median;
use crate::scenario::Report;

/// As in the daemon (daemon/node/src/shard.rs).
const SHARDS: usize = 64;
const INBOX: usize = 256;
const THREADS: [usize; 4] = [1, 2, 4, 8];
/// Instances, and what a run with so many is called.
const CASES: [(usize, &str); 2] = [(1, "one hot instance"), (1_000, "a thousand instances")];
const EVENTS: usize = 4_000_000;
/// Of one thread's rate, at least this much is left with more: what two runs on a shared machine differ by.
const KEPT: f64 = 0.9;

struct Shard {
    state: Claim<State>,
    /// Instances that are to take an event.
    inbox: ArrayQueue<usize>,
}

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

pub(crate) fn run(lab: &Lab) -> Outcome<Report> {
    let path = lab.machine("lamp");
    let source = std::fs::read(&path).while_at(path.display())?;
    let Ok(compiled) = Machine::compile(&source, &Limits::default(), &|_| None) else {
        return failure("lamp.json does not compile; `statemesh check` says why");
    };
    let mut report = Report::default();
    let mut rows = Vec::new();
    for (instances, about) in CASES {
        let mut rates = vec![Vec::new(); THREADS.len()];
        for _ in 0..lab.rounds {
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
        "Events a second by number of threads, on {cores} cores; {} events of `lamp` each time, medians of {} rounds. Whoever wins \
         the claim steps the instance and takes what others left in the inbox. After each run the instances' transitions are \
         counted: as many as events.\n\n{}",
        thousands(EVENTS as f64),
        lab.rounds,
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
                // A step that no number of instances shares: each thread visits all, in an order of its own.
                (0..EVENTS / threads).for_each(|turn| send(machine, &shards, (turn * 7 + thread * 131) % instances));
            });
        }
    });
    let took = begin.elapsed();
    let (mut transitions, mut refused) = (0, 0);
    for shard in shards.iter() {
        let Some(state) = shard.state.try_claim() else { return failure("a claim outlived its thread") };
        transitions += state.instances.iter().map(Instance::seq).sum::<u64>();
        refused += state.refused;
    }
    if transitions != EVENTS as u64 || refused != 0 || shards.iter().any(|shard| !shard.inbox.is_empty()) {
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
        shards.push(Shard { state: Claim::new(state), inbox: ArrayQueue::new(INBOX) });
    }
    Ok(shards)
}

/// What a reactor does with one event (daemon/node/src/worker/requests.rs).
fn send(machine: &Machine, shards: &[Shard], instance: usize) {
    let Some(shard) = shards.get(instance % SHARDS) else { return };
    let instance = instance / SHARDS;
    loop {
        if let Some(mut state) = shard.state.try_claim() {
            state.step(machine, instance);
            break;
        }
        if shard.inbox.push(instance).is_ok() {
            settle();
            break;
        }
        // Full: whoever holds the shard is about to empty it. A reactor says `busy` here.
        std::thread::yield_now();
    }
    while !shard.inbox.is_empty() {
        let Some(mut state) = shard.state.try_claim() else { return };
        while let Some(instance) = shard.inbox.pop() {
            state.step(machine, instance);
        }
    }
}
