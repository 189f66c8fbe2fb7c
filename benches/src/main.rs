//! The latency harness: what the mesh costs, beside what it is compared with.
//!
//! `cargo xtask bench [NAME...]` runs scenarios (see [`scenario::ALL`]); each prints a table and its figures, and writes them to
//! benches/README.md, with plots beside it and CSV files under target/bench.

mod args;
mod client;
mod contender;
mod echo;
mod engine_peer;
mod environment;
mod failure;
mod filling;
mod mesh;
mod peers;
mod proc;
mod report;
mod rounds;
mod scenario;
mod statig_peer;
mod work;
mod zeromq_peer;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use args::Args;
use environment::Environment;
use failure::{Outcome, failure};

/// The default of the daemon's `reactor.spin`, so that the echo waits as the daemon does.
const SPIN: Duration = Duration::from_micros(100);

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    match run(&given) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(given: &[String]) -> Outcome {
    match given.first().map(String::as_str) {
        // What the harness starts itself, as a process of its own.
        Some("echo") => return echo::serve(SPIN),
        Some("crate-echo") => return zeromq_peer::serve(),
        Some("engine-step") => return engine_peer::print(folder(given)),
        Some("engine-weight") => return engine_peer::weigh(folder(given)),
        Some("statig") => {
            statig_peer::print();
            return Ok(());
        }
        _ => {}
    }
    let Some(args) = Args::read(given)? else {
        let names = scenario::ALL.iter().map(|scenario| format!("  {:<13}{}\n", scenario.name, scenario.about));
        print!("{}{}", args::HELP, names.collect::<String>());
        return Ok(());
    };
    let wanted = |name: &str| args.names.is_empty() || args.names.iter().any(|wanted| wanted == name);
    if let Some(unknown) = args.names.iter().find(|name| scenario::ALL.iter().all(|known| known.name != **name)) {
        return failure(format!("{unknown}: no such scenario; --help lists them"));
    }
    let environment = Environment::new(&args)?;
    let scenarios = || scenario::ALL.iter().filter(|scenario| wanted(scenario.name));
    let estimate = |of: &scenario::Scenario| of.estimate(args.rounds, args.measured);
    let parts: Vec<String> = scenarios().map(|of| format!("{} {:.0}", of.name, estimate(of).as_secs_f64())).collect();
    let all: Duration = scenarios().map(estimate).sum();
    eprintln!("about {:.1} minutes on a quiet machine; seconds: {}", all.as_secs_f64() / 60.0, parts.join(", "));
    // One that cannot be measured must not keep the others from being.
    let mut failed = Vec::new();
    for scenario in scenarios() {
        let begin = Instant::now();
        if let Err(why) = scenario::run(scenario, &environment) {
            eprintln!("{}: {why}", scenario.name);
            failed.push(scenario.name);
        }
        eprintln!("{} took {:.0} s", scenario.name, begin.elapsed().as_secs_f64());
    }
    if failed.is_empty() { Ok(()) } else { failure(format!("not measured: {}", failed.join(", "))) }
}

fn folder(given: &[String]) -> &Path {
    Path::new(given.get(1).map_or("", String::as_str))
}
