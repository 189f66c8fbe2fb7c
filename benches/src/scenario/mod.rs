//! What can be measured, by name.

mod compare;
mod connections;
mod engine;
mod idle;
mod load;
mod memory;
mod rate;
mod reactors;
mod rtt;
mod stages;
mod table;
mod threads;
mod timers;
mod up;

use std::fs;
use std::time::Duration;

use crate::environment::Environment;
use crate::failure::{Outcome, While};
use crate::proc;
use crate::report::figure::Figure;
use crate::report::page;

/// A scenario.
pub(crate) struct Scenario {
    /// What the command line calls it.
    pub(crate) name: &'static str,
    /// In one line.
    pub(crate) about: &'static str,
    run: fn(&Environment) -> Outcome<Report>,
    lasts: Lasts,
}

/// How long a scenario lasts: seconds once (starting servers, waiting for what they do), and in each round.
struct Lasts {
    once: f64,
    /// Seconds of what takes its own time.
    each: f64,
    /// Contenders' turns, which take the time that the command line gives them.
    turns: usize,
    rounds_at_most: usize,
}

const fn lasts(once: f64, each: f64, turns: usize) -> Lasts {
    Lasts { once, each, turns, rounds_at_most: usize::MAX }
}

impl Lasts {
    const fn at_most(self, rounds_at_most: usize) -> Self {
        Self { rounds_at_most, ..self }
    }
}

/// A turn takes this many times what is measured of it: its warm-up, and connecting.
const OF_A_TURN: f64 = 1.35;

/// All of them, in the order in which they run.
pub(crate) const ALL: [Scenario; 12] = [
    Scenario {
        name: "up",
        about: "how long `statemesh up` takes until its mesh is ready",
        run: up::run,
        lasts: lasts(0.0, 0.5, 0).at_most(up::MAX_STARTS),
    },
    Scenario { name: "rtt", about: "round trips, one in flight", run: rtt::run, lasts: lasts(35.0, 0.0, 19) },
    Scenario { name: "stages", about: "where a round trip's time goes", run: stages::run, lasts: lasts(3.0, 2.0, 0) },
    Scenario {
        name: "rate",
        about: "events a second, 64, 256 and 512 in flight",
        run: rate::run,
        lasts: lasts(35.0, 0.0, 41),
    },
    Scenario {
        name: "load",
        about: "latency by offered load, open loop",
        run: load::run,
        lasts: lasts(5.0, 0.0, load::TURNS).at_most(load::MAX_ROUNDS),
    },
    Scenario {
        name: "connections",
        about: "10,000 connections, each sending once a second",
        run: connections::run,
        lasts: lasts(10.0, 5.2, 0).at_most(connections::MAX_ROUNDS),
    },
    Scenario {
        name: "reactors",
        about: "two clients, one reactor and two",
        run: reactors::run,
        lasts: lasts(1.0, 0.0, 2),
    },
    Scenario {
        name: "memory",
        about: "resident memory of a million instances",
        run: memory::run,
        lasts: lasts(10.0, 0.0, 0),
    },
    Scenario {
        name: "timers",
        about: "what a million timers due in one second do to others",
        run: timers::run,
        lasts: lasts(63.0, 0.0, 0),
    },
    Scenario {
        name: "engine",
        about: "one transition, beside XState and statig",
        run: engine::run,
        lasts: lasts(3.0, 7.0, 0).at_most(engine::MAX_ROUNDS),
    },
    Scenario {
        name: "threads",
        about: "the same instances from 1 to 8 threads",
        run: threads::run,
        lasts: lasts(0.0, 2.5, 0),
    },
    Scenario {
        name: "idle",
        about: "what daemons with nothing to do cost",
        run: idle::run,
        lasts: lasts(36.0, 0.0, 0),
    },
];

impl Scenario {
    /// About how long it takes on a quiet machine, once its peers are there.
    pub(crate) fn estimate(&self, rounds: usize, measured: Duration) -> Duration {
        let Lasts { once, each, turns, rounds_at_most } = self.lasts;
        let round = each + turns as f64 * measured.as_secs_f64() * OF_A_TURN;
        Duration::from_secs_f64(once + round * rounds.min(rounds_at_most) as f64)
    }
}

/// What a scenario found out.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// For the table of figures.
    pub(crate) figures: Vec<Figure>,
    /// For its own section, Markdown.
    pub(crate) body: String,
    /// CSV files: name and text.
    pub(crate) files: Vec<(String, String)>,
    /// Plots: name and SVG.
    pub(crate) plots: Vec<(String, String)>,
}

/// Runs a scenario, prints what it found, and records it.
pub(crate) fn run(scenario: &Scenario, environment: &Environment) -> Outcome {
    eprintln!("{}: {}", scenario.name, scenario.about);
    let report = (scenario.run)(environment)?;
    for (name, text) in &report.files {
        let path = environment.out().join(name);
        fs::write(&path, text).while_at(path.display())?;
    }
    // Plots are always made, so that a dry run can be looked at too.
    let folder = if environment.record { environment.plots() } else { environment.out().to_owned() };
    fs::create_dir_all(&folder).while_at(folder.display())?;
    for (name, svg) in &report.plots {
        let path = folder.join(name);
        fs::write(&path, svg).while_at(path.display())?;
    }
    let section = section(scenario, environment, &report);
    println!("{section}");
    for figure in &report.figures {
        println!("{}: {} ({}) {}", figure.name, figure.measured, figure.target, figure.verdict);
    }
    println!();
    if environment.record {
        let text = fs::read_to_string(environment.page()).unwrap_or_default();
        let text = page::merge(&text, &report.figures, &proc::today());
        fs::write(environment.page(), page::replace(&text, scenario.name, &section)).while_at("benches/README.md")?;
    }
    Ok(())
}

fn section(scenario: &Scenario, environment: &Environment, report: &Report) -> String {
    let plots = report.plots.iter().map(|(name, _)| format!("\n![{}](plots/{name})\n", scenario.about));
    format!(
        "### {}: {}\n\n`{}`, {}, {}.\n\n{}\n{}",
        scenario.name,
        scenario.about,
        environment.command,
        proc::today(),
        proc::machine(),
        report.body.trim_end(),
        plots.collect::<String>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;

    #[test]
    fn all_of_it_takes_less_than_15_minutes() {
        let args = Args::read(&[]).unwrap().unwrap();
        let all: Duration = ALL.iter().map(|scenario| scenario.estimate(args.rounds, args.measured)).sum();
        assert!(all < Duration::from_secs(15 * 60), "{all:?}");
    }
}
