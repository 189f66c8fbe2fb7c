//! The chart on a real cluster: what a team that runs it at night counts on, under load, counting every reply.
//!
//! The cluster is the one that KUBECONFIG names, or one of this machine (see [`statemesh_tests::cluster::TEST_CLUSTER`]), which
//! is started and ended here. Steps run in order on one installation; `cargo test --test kubernetes -- WORDS` runs the first
//! and those whose name contains WORDS. What a cluster cannot do (take the power from a node) is left out, and said.

mod bench;
mod failures;
mod feed;
mod fixture;
mod installing;
mod operations;
mod watching;

use fixture::Fixture;
use statemesh_tests::Outcome;
use std::process::ExitCode;
use std::time::Instant;

/// How a step that did not fail ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Passed,
    /// This cluster lacks what it needs.
    LeftOut(String),
}

/// One step: a sentence that is true when it passes.
struct Step {
    name: &'static str,
    run: fn(&Fixture) -> Outcome<Ended>,
}

const fn step(name: &'static str, run: fn(&Fixture) -> Outcome<Ended>) -> Step {
    Step { name, run }
}

fn steps() -> Vec<Step> {
    let all = [installing::STEPS, watching::STEPS, operations::STEPS, feed::STEPS, failures::STEPS, installing::LAST];
    all.into_iter().flatten().map(|one| Step { ..*one }).collect()
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let steps = steps();
    if std::env::args().any(|word| word == "--list") {
        steps.iter().for_each(|step| println!("{}: test", step.name));
        return ExitCode::SUCCESS;
    }
    let fixture = match Fixture::open() {
        Ok(fixture) => fixture,
        Err(failure) => {
            println!("the cluster is not ready: {failure}\n0 passed, {} failed", steps.len());
            return ExitCode::FAILURE;
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for (index, step) in steps.iter().enumerate() {
        if index > 0 && !words.is_empty() && !words.iter().any(|word| step.name.contains(word.as_str())) {
            continue;
        }
        let start = Instant::now();
        let verdict = (step.run)(&fixture);
        let took = start.elapsed().as_secs_f64();
        match verdict {
            Ok(Ended::Passed) => {
                passed += 1;
                println!("ok      {} ({took:.1} s)", step.name);
            }
            Ok(Ended::LeftOut(why)) => println!("left out: {}: {why}", step.name),
            Err(failure) => {
                failed += 1;
                println!("FAILED  {} ({took:.1} s): {failure}\n{}", step.name, fixture.state());
            }
        }
        if index == 0 && failed > 0 {
            failed += steps.len() - 1;
            println!("nothing is installed: the other steps have failed too");
            break;
        }
    }
    if let Err(failure) = fixture.close() {
        failed += 1;
        println!("FAILED  nothing is left behind: {failure}");
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
