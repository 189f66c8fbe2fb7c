//! What a person or CI types: `cargo xtask test`, `cargo xtask bench`, `cargo xtask docs`.

mod chart;
mod ci_time;
mod command;
mod count;
mod docs;
mod errors;
mod failure;
mod fuzz;
mod hunt;
mod image;
mod mutants;
mod need;
mod nightly;
mod part;
mod parts;
mod prose;
mod report;
mod revision;
mod sim;
mod sizes;
mod structure;
mod workspace;

use ci_time::CiTime;
use failure::Failure;
use part::{Nightly, Part, Verdict};
use std::process::ExitCode;
use std::time::Duration;
use workspace::Workspace;

const USAGE: &str = "\
cargo xtask test [PART...]   install what the parts need, run them (all by default), close with 'N passed, M failed'
cargo xtask test --list      the parts, what each does and needs
cargo xtask bench [NAME...]  the benchmarks; figures are recorded in benches/README.md
cargo xtask fuzz [TARGET...] [--minutes N]
                             each fuzz target for N minutes (10); the part `fuzz` of the tests runs them for seconds
cargo xtask sim [--seeds N] [--seed S] [--scenario NAME]
                             whole daemons in virtual time; `--help` says more
cargo xtask mutants [NAME]   broken daemons, each of which the simulator must catch
cargo xtask nightly [seeds] [mutants] [fuzz] [parts] [--seeds N] [--minutes M]
                             10,000 seeds, each twice; the mutants; each fuzz target for M minutes (10); parts of the tests that
                             are left to the night. One at a time, if named; seeds and mutants go on where they were ended. Writes
                             docs/reference/nightly.md of all that was run of the same code
cargo xtask docs             write those pages of docs/reference anew that are made of the code
cargo xtask chart            write the chart's values.schema.json and README.md anew from its values.yaml
cargo xtask image            the image's binary, target/image/statemesh; with STATEMESH_TEST_CLUSTER onto that cluster's nodes

With CI=true in the environment a part that cannot run counts as failed, unless it is optional; the longest begin only while
there is time, and the last lines name those that were left out.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let workspace = Workspace::here();
    let (verb, rest) = match arguments.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("help", [].as_slice()),
    };
    match verb {
        "test" if rest.iter().any(|word| word == "--list") => list(),
        "--list" => list(),
        "test" => test(&workspace, rest),
        "bench" => {
            need::provide(&workspace, parts::BENCH_NEEDS);
            told(command::plain(&workspace, &parts::bench(rest)))
        }
        "fuzz" => fuzz(&workspace, rest),
        "sim" => told(sim::run(&workspace, rest)),
        "mutants" => mutants(&workspace, rest),
        "nightly" => nightly(&workspace, rest),
        "docs" => told(docs::write(&workspace)),
        "chart" => {
            need::provide(&workspace, &[parts::GO, chart::TOOLS]);
            told(chart::write(&workspace))
        }
        "image" => {
            need::provide(&workspace, image::NEEDS);
            told(image::make(&workspace))
        }
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        other => wrong(&format!("there is no `{other}`")),
    }
}

fn wrong(message: &str) -> ExitCode {
    eprintln!("error: {message}\n\n{USAGE}");
    ExitCode::from(2)
}

fn list() -> ExitCode {
    for part in parts::PARTS {
        let optional = if part.optional { " (optional)" } else { "" };
        println!("{:10} {}{optional}", part.name, part.about);
        let needs: Vec<String> = part.needs.iter().map(ToString::to_string).collect();
        if !needs.is_empty() {
            println!("{:10} needs {}", "", needs.join(", "));
        }
    }
    ExitCode::SUCCESS
}

fn test(workspace: &Workspace, names: &[String]) -> ExitCode {
    let unknown = names.iter().find(|name| !parts::PARTS.iter().any(|part| part.name == name.as_str()));
    if let Some(name) = unknown {
        let known: Vec<_> = parts::PARTS.iter().map(|part| part.name).collect();
        return wrong(&format!("there is no part `{name}`; there are {}", known.join(", ")));
    }
    let chosen = parts::PARTS.iter().filter(|part| names.is_empty() || names.iter().any(|name| name == part.name));
    let chosen: Vec<_> = chosen.collect();
    let is_named = !names.is_empty();
    // What only the night builds runs by day where it is built already.
    let unbuilt = |part: &Part| match part.nightly {
        Some(Nightly::Unbuilt(why)) if !is_named => {
            let is_built = part.needs.iter().all(|need| need::is_there(workspace, need));
            (!is_built).then(|| why.to_owned())
        }
        _ => None,
    };
    let mut time = CiTime::new();
    let by_day = chosen.iter().filter(|part| unbuilt(part).is_none());
    let needs: Vec<_> = by_day.flat_map(|part| part.needs).copied().collect();
    let ready = need::provide(workspace, &needs);
    let mut run = |part: &'static Part| {
        let is_late = workspace.ci && !is_named && part.nightly == Some(Nightly::Late);
        let night = unbuilt(part).or_else(|| time.is_short(part.time()).filter(|_| is_late));
        night.map_or_else(|| time.spend(part.time(), || part::run(part, workspace, &ready)), Verdict::AtNight)
    };
    let results: Vec<_> = chosen.iter().map(|part| (*part, run(part))).collect();
    if report::close(&results, workspace.ci) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fuzz(workspace: &Workspace, words: &[String]) -> ExitCode {
    const MINUTES: u64 = 10;
    let at = words.iter().position(|word| word == "--minutes").unwrap_or(words.len());
    let (names, option) = words.split_at(at);
    let minutes = match option {
        [] => Some(MINUTES),
        [_, number] => number.parse().ok(),
        _ => None,
    };
    let Some(minutes) = minutes else { return wrong("--minutes comes last, and needs a number") };
    need::provide(workspace, parts::FUZZ_NEEDS);
    match fuzz::run(workspace, names, Duration::from_secs(60 * minutes)) {
        Ok(count) if count.failed > 0 => ExitCode::FAILURE,
        result => told(result.map(drop)),
    }
}

fn nightly(workspace: &Workspace, words: &[String]) -> ExitCode {
    match nightly::Night::read(words) {
        Ok(night) => {
            need::provide(workspace, night.needs());
            told(nightly::run(workspace, &night))
        }
        Err(failure) => wrong(&failure.to_string()),
    }
}

fn mutants(workspace: &Workspace, names: &[String]) -> ExitCode {
    told(hunt::run(workspace, names, None).and_then(|hunt| match hunt.missed().as_slice() {
        [] => Ok(()),
        missed => Err(Failure::Found(format!("mutants that nothing caught: {}", missed.join(", ")))),
    }))
}

/// The exit code of what was done, or why it was not.
fn told(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
