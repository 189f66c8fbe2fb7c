//! Instructions of one step, counted by callgrind: repeatable, so that CI can hold the engine to them.
//!
//! `cargo bench -p statemesh-engine --bench instructions` runs itself under valgrind once for each case with few and
//! once with many steps; the difference, divided, is what one step costs, without start-up. It fails if a case exceeds
//! its bound in `instructions.txt`; `-- --bless` writes the bounds anew, with 5 % to spare.

// A benchmark runs processes and reads files; the engine does not.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use statemesh_engine::{Event, Limits, Machine, Millis, Output, Payload};
use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

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

const FEW: u64 = 1_000;
const MANY: u64 = 11_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--run", case, steps] => {
            run(case, steps.parse().expect("a number of steps"));
            ExitCode::SUCCESS
        }
        _ => measure(arguments.iter().any(|argument| argument == "--bless")),
    }
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

fn measure(bless: bool) -> ExitCode {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("NOT RUN: valgrind is not installed (Debian: apt install valgrind)");
        return ExitCode::FAILURE;
    }
    let bounds_path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
    let bounds: BTreeMap<String, u64> = std::fs::read_to_string(bounds_path)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, bound)| Some((name.to_owned(), bound.trim().parse().ok()?)))
        .collect();
    let mut blessed = String::new();
    let mut failed = false;
    for (case, _) in CASES {
        let per_step = (count(case, MANY) - count(case, FEW)) / (MANY - FEW);
        let bound = bounds.get(case).copied();
        let verdict = match bound {
            Some(bound) if per_step > bound => "TOO MANY",
            Some(_) => "ok",
            None => "no bound",
        };
        failed |= verdict != "ok";
        println!(
            "{case:26} {per_step:6} instructions a step, at most {:>6}: {verdict}",
            bound.map_or("?".to_owned(), |bound| bound.to_string())
        );
        blessed.push_str(&format!("{case} {}\n", per_step + per_step / 20 + 1));
    }
    if bless {
        std::fs::write(bounds_path, blessed).expect("the bounds can be written");
        return ExitCode::SUCCESS;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Instructions of a whole run.
fn count(case: &str, steps: u64) -> u64 {
    let own = std::env::current_exe().expect("this program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["--run", case, &steps.to_string()])
        .output()
        .expect("valgrind runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = report.lines().find(|line| line.contains("Collected")).expect("callgrind reports a count");
    line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("the count is a number")
}
