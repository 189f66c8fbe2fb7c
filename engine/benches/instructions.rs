//! Instructions of one step, counted by callgrind: repeatable, so that CI can hold the engine to them.
//!
//! `cargo bench -p statemesh-engine --bench instructions` runs itself under valgrind once for each case with few and
//! once with many steps; the difference, divided, is what one step costs, without start-up. It fails if a case exceeds
//! its bound in `instructions.txt`; `-- --bless` writes the bounds anew, with 5 % to spare.

// A benchmark runs processes and reads files; the engine does not.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs
)]

use statemesh_engine::{Event, Limits, Machine, Millis, Output, Payload};
use std::process::ExitCode;

mod counted;
use counted::Counted;

const CASES: [(&str, &str); 5] = [
    ("flat_cycle", include_str!("../../benches/machines/cycle.json")),
    ("two_levels_guard_assign", include_str!("../../benches/machines/lamp.json")),
    (
        "parallel_regions",
        r#"{"id":"p","type":"parallel","states":{
            "a":{"initial":"x","states":{"x":{"on":{"NEXT":"y"}},"y":{"on":{"NEXT":"x"}}}},
            "b":{"initial":"x","states":{"x":{"on":{"NEXT":"y"}},"y":{"on":{"NEXT":"x"}}}}}}"#,
    ),
    (
        "timer_restart",
        r#"{"id":"t","initial":"a","states":{
            "a":{"after":{"5000":"b"},"on":{"NEXT":"b"}},"b":{"after":{"5000":"a"},"on":{"NEXT":"a"}}}}"#,
    ),
    (
        "raise_and_always",
        r#"{"id":"r","initial":"a","states":{
            "a":{"on":{"NEXT":{"target":"b","actions":{"type":"@xstate.raise","event":{"type":"GO"}}}}},
            "b":{"on":{"GO":"c"}},"c":{"always":"a"}}}"#,
    ),
];

fn main() -> ExitCode {
    let bounds = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
    let counted = Counted { unit: "step", bounds, few: 1_000, many: 11_000, spare: 5 };
    counted.main(&CASES.map(|(case, _)| (case, 1)), run)
}

fn run(case: &str, steps: u64) {
    let (_, source) = CASES.iter().find(|(name, _)| *name == case).expect("a known case");
    let machine = Machine::compile(source.as_bytes(), &Limits::default(), &|_| None).unwrap().machine;
    let mut out = Output::new();
    let mut instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
    let event = Event::named("NEXT");
    for _ in 0..steps {
        out.clear();
        let step = machine.send(&mut instance, &event, Millis(1), &mut out).unwrap();
        assert!(step.changed, "every step takes a transition");
    }
}
