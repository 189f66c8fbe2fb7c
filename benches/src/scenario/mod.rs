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
mod table;
mod threads;
mod timers;
mod up;

use std::fs;

use crate::failure::{Outcome, While};
use crate::lab::Lab;
use crate::proc;
use crate::report::figure::Figure;
use crate::report::page;

/// A scenario.
pub(crate) struct Scenario {
    /// What the command line calls it.
    pub(crate) name: &'static str,
    /// In one line.
    pub(crate) about: &'static str,
    run: fn(&Lab) -> Outcome<Report>,
}

/// All of them, in the order in which they run.
pub(crate) const ALL: [Scenario; 11] = [
    Scenario { name: "up", about: "how long `statemesh up` takes until its mesh is ready", run: up::run },
    Scenario { name: "rtt", about: "round trips, one in flight", run: rtt::run },
    Scenario { name: "rate", about: "events a second, 64, 256 and 512 in flight", run: rate::run },
    Scenario { name: "load", about: "latency by offered load, open loop", run: load::run },
    Scenario { name: "connections", about: "10,000 connections, each sending once a second", run: connections::run },
    Scenario { name: "reactors", about: "two clients, one reactor and two", run: reactors::run },
    Scenario { name: "memory", about: "resident memory of a million instances", run: memory::run },
    Scenario { name: "timers", about: "what a million timers due in one second do to others", run: timers::run },
    Scenario { name: "engine", about: "one transition, beside XState and statig", run: engine::run },
    Scenario { name: "threads", about: "the same instances from 1 to 8 threads", run: threads::run },
    Scenario { name: "idle", about: "what daemons with nothing to do cost", run: idle::run },
];

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
pub(crate) fn run(scenario: &Scenario, lab: &Lab) -> Outcome {
    eprintln!("{}: {}", scenario.name, scenario.about);
    let report = (scenario.run)(lab)?;
    for (name, text) in &report.files {
        let path = lab.out().join(name);
        fs::write(&path, text).while_at(path.display())?;
    }
    // Plots are always made, so that a dry run can be looked at too.
    let folder = if lab.record { lab.plots() } else { lab.out().to_owned() };
    fs::create_dir_all(&folder).while_at(folder.display())?;
    for (name, svg) in &report.plots {
        let path = folder.join(name);
        fs::write(&path, svg).while_at(path.display())?;
    }
    let section = section(scenario, lab, &report);
    println!("{section}");
    for figure in &report.figures {
        println!("{}: {} ({}) {}", figure.name, figure.measured, figure.target, figure.verdict);
    }
    println!();
    if lab.record {
        let text = fs::read_to_string(lab.page()).unwrap_or_default();
        let text = page::merge(&text, &report.figures, &proc::today());
        fs::write(lab.page(), page::replace(&text, scenario.name, &section)).while_at("benches/README.md")?;
    }
    Ok(())
}

fn section(scenario: &Scenario, lab: &Lab, report: &Report) -> String {
    let plots = report.plots.iter().map(|(name, _)| format!("\n![{}](plots/{name})\n", scenario.about));
    format!(
        "### {}: {}\n\n`{}`, {}, {}.\n\n{}\n{}",
        scenario.name,
        scenario.about,
        lab.command,
        proc::today(),
        proc::machine(),
        report.body.trim_end(),
        plots.collect::<String>(),
    )
}
