//! What one step costs, by criterion: `cargo bench -p statemesh-engine --bench step`.
//!
//! The machines are those of benches/machines, which the latency harness runs in XState too. statig's is the floor.

// A benchmark looks at the clock; the engine does not.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use statemesh_engine::{Event, Instance, Limits, Machine, Millis, Output, Payload};
use statig::prelude::*;
use std::hint::black_box;
use std::sync::Arc;

const CYCLE: &[u8] = include_bytes!("../../benches/machines/cycle.json");
const LAMP: &[u8] = include_bytes!("../../benches/machines/lamp.json");
const REGIONS: &[u8] = br#"{"id":"regions","type":"parallel","states":{
    "a":{"initial":"x","states":{"x":{"on":{"NEXT":"y"}},"y":{"on":{"NEXT":"x"}}}},
    "b":{"initial":"x","states":{"x":{"on":{"NEXT":"y"}},"y":{"on":{"NEXT":"x"}}}}}}"#;
const TIMEOUT: &[u8] = br#"{"id":"timeout","initial":"a","states":{
    "a":{"after":{"5000":"b"},"on":{"NEXT":"b"}},"b":{"after":{"5000":"a"},"on":{"NEXT":"a"}}}}"#;

fn started(source: &[u8]) -> (Arc<Machine>, Instance, Output) {
    let machine = Machine::compile(source, &Limits::default(), &|_| None).unwrap().machine;
    let mut out = Output::new();
    let instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
    (machine, instance, out)
}

fn cycle(criterion: &mut Criterion, name: &str, source: &[u8], event: &Event<'_>) {
    let (machine, mut instance, mut out) = started(source);
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            out.clear();
            black_box(machine.send(&mut instance, black_box(event), Millis(1), &mut out)).unwrap()
        });
    });
}

#[derive(Default)]
struct Flat;

struct Next;

#[state_machine(initial = "State::red()")]
impl Flat {
    #[state]
    fn red(event: &Next) -> Outcome<State> {
        let _ = event;
        Transition(State::green())
    }

    #[state]
    fn green(event: &Next) -> Outcome<State> {
        let _ = event;
        Transition(State::yellow())
    }

    #[state]
    fn yellow(event: &Next) -> Outcome<State> {
        let _ = event;
        Transition(State::red())
    }
}

fn steps(criterion: &mut Criterion) {
    let next = Event::named("NEXT");
    let packed = Event { kind: "NEXT", payload: Payload::MsgPack(b"\x82\xa4type\xa4NEXT\xa2by\x02") };
    cycle(criterion, "flat cycle of three states", CYCLE, &next);
    cycle(criterion, "flat cycle, MessagePack payload", CYCLE, &packed);
    cycle(criterion, "two levels, actions, guard, assign", LAMP, &next);
    cycle(criterion, "two parallel regions", REGIONS, &next);
    cycle(criterion, "timer cancelled and started", TIMEOUT, &next);
    cycle(criterion, "event nothing reacts to", CYCLE, &Event::named("OTHER"));
    criterion.bench_function("statig: flat cycle", |bencher| {
        let mut machine = Flat.state_machine();
        bencher.iter(|| machine.handle(black_box(&Next)));
    });
}

fn state_value(criterion: &mut Criterion) {
    let (machine, instance, _) = started(LAMP);
    let mut text = Vec::with_capacity(256);
    criterion.bench_function("state value as MessagePack", |bencher| {
        bencher.iter(|| {
            text.clear();
            machine.write_value_msgpack(black_box(&instance), &mut text);
            black_box(text.len())
        });
    });
}

criterion_group!(benches, steps, state_value);
criterion_main!(benches);
