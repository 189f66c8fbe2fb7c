//! Contender: our engine, on the machines of benches/machines, without a daemon around it.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use statemesh_engine::{Event, Instance, Limits, Machine, Millis, Output, Payload};

use crate::failure::{Outcome, While, failure};
use crate::proc;

/// Events before anything is measured.
pub(crate) const WARM_UP: u32 = 200_000;
/// Events of one measurement.
pub(crate) const EVENTS: u32 = 1_000_000;
/// Measurements; the median is printed.
pub(crate) const MEASUREMENTS: usize = 9;
/// Instances that are weighed.
const INSTANCES: usize = 1_000_000;

/// Prints nanoseconds for each event: a line for each machine of the folder that is a contender.
pub(crate) fn print(machines: &Path) -> Outcome {
    for name in ["cycle", "lamp"] {
        let path = machines.join(name).with_extension("json");
        let source = std::fs::read(&path).while_at(path.display())?;
        println!("{name} {:.3}", measure(&source).while_at(name)?);
    }
    Ok(())
}

/// Prints what an instance of `lamp` weighs, in bytes: resident memory with a million of them, each with a context of its own.
pub(crate) fn weigh(machines: &Path) -> Outcome {
    let path = machines.join("lamp.json");
    let machine = compile(&std::fs::read(&path).while_at(path.display())?)?;
    let mut out = Output::new();
    let before = proc::resident_bytes(std::process::id())?;
    let mut instances = Vec::with_capacity(INSTANCES);
    for _ in 0..INSTANCES {
        out.clear();
        let mut instance = start(&machine, &mut out)?;
        if machine.send(&mut instance, &Event::named("NEXT"), Millis(1), &mut out).is_err() {
            return failure("an event was refused");
        }
        instances.push(instance);
    }
    let after = proc::resident_bytes(std::process::id())?;
    println!("{:.1}", after.saturating_sub(before) as f64 / black_box(instances).len() as f64);
    Ok(())
}

fn compile(source: &[u8]) -> Outcome<Arc<Machine>> {
    match Machine::compile(source, &Limits::default(), &|_| None) {
        Ok(compiled) => Ok(compiled.machine),
        Err(_) => failure("the definition does not compile; `statemesh check` says why"),
    }
}

fn start(machine: &Machine, out: &mut Output) -> Outcome<Instance> {
    machine.start(Payload::Empty, Millis(0), out).or_else(|_| failure("the machine does not start"))
}

fn measure(source: &[u8]) -> Outcome<f64> {
    let (machine, mut out) = (compile(source)?, Output::new());
    let mut instance = start(&machine, &mut out)?;
    let mut refused = 0u64;
    let nanos = nanos_per_event(|| {
        out.clear();
        let step = machine.send(&mut instance, black_box(&Event::named("NEXT")), Millis(1), &mut out);
        refused += u64::from(!black_box(step).is_ok_and(|step| step.changed));
    });
    if refused == 0 { Ok(nanos) } else { failure(format!("{refused} events changed nothing")) }
}

/// The median of several measurements.
pub(crate) fn nanos_per_event(mut send: impl FnMut()) -> f64 {
    (0..WARM_UP).for_each(|_| send());
    let once = |_| {
        let begin = Instant::now();
        (0..EVENTS).for_each(|_| send());
        begin.elapsed().as_nanos() as f64 / f64::from(EVENTS)
    };
    crate::rounds::median((0..MEASUREMENTS).map(once).collect())
}
