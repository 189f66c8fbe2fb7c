//! One transition: our engine beside XState, which it has to agree with, and statig, which a compiler turns into a few
//! instructions. Each is a process that measures the same two machines; the processes take turns.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::environment::Environment;
use crate::failure::{Outcome, While, failure};
use crate::proc;
use crate::report::figure::{Figure, Unit};
use crate::report::table;
use crate::rounds::median;
use crate::scenario::Report;

const OURS: &str = "statemesh-engine";
const XSTATE: &str = "XState 5.33.3 on node";
const STATIG: &str = "statig 0.4";
/// Each turn of XState takes seconds.
pub(super) const MAX_ROUNDS: usize = 5;
const INSTANCE_BYTES: f64 = 200.0;

/// Machine, what it is, at most this many ns, at least this many times faster than XState.
const MACHINES: [(&str, &str, f64, f64); 2] = [
    ("cycle", "flat three-state cycle", 30.0, 200.0),
    ("lamp", "two levels, entry and exit actions, guard, assign", 250.0, 50.0),
];

/// A program that prints lines of machine and nanoseconds.
struct Peer {
    name: &'static str,
    command: Command,
    /// A pair of nanoseconds for each round.
    measured: Vec<[f64; 2]>,
}

pub(crate) fn run(environment: &Environment) -> Outcome<Report> {
    let own = std::env::current_exe().while_at("this program's path")?;
    let mut left_out = Vec::new();
    let mut peers = Vec::new();
    let mut add = |name, command: Outcome<Command>| match command {
        Ok(command) => peers.push(Peer { name, command, measured: Vec::new() }),
        Err(why) => left_out.push(format!("{name}: {why}")),
    };
    let machines = environment.machines().to_string_lossy().into_owned();
    add(OURS, Ok(with_arguments(&own, &["engine-step", &machines])));
    add(XSTATE, xstate(environment));
    add(STATIG, Ok(with_arguments(&own, &["statig"])));
    for round in 0..environment.rounds.min(MAX_ROUNDS) {
        let count = peers.len();
        for turn in 0..count {
            if let Some(peer) = peers.get_mut((turn + round) % count) {
                let nanos = read(&proc::output(&mut peer.command)?)
                    .map_err(|why| crate::failure::Failure(format!("{}: {why}", peer.name)))?;
                peer.measured.push(nanos);
            }
        }
    }
    let mut report = report(&peers, &left_out);
    report.figures.push(weight(&own, &machines)?);
    report.body += &criterion(&environment.criterion());
    Ok(report)
}

/// What an instance weighs. Its context is counted too, so this is more than the target asks for.
fn weight(own: &Path, machines: &str) -> Outcome<Figure> {
    let bytes = proc::output(&mut with_arguments(own, &["engine-weight", machines]))?;
    let bytes: f64 = String::from_utf8_lossy(&bytes).trim().parse().while_at("engine-weight")?;
    Ok(Figure::at_most("an instance of the second machine, its context included", INSTANCE_BYTES, bytes, Unit::Bytes))
}

/// What `cargo bench -p statemesh-engine` left behind, if it was run.
fn criterion(folder: &Path) -> String {
    let mut rows: Vec<Vec<String>> =
        fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|of| estimate(&of.path())).collect();
    if rows.is_empty() {
        return "\nMore by criterion: `cargo bench -p statemesh-engine`, then this scenario again.\n".to_owned();
    }
    rows.sort();
    let table = table::markdown(&["criterion, engine/benches", "median", "95 % interval"], &rows);
    format!("\nBy criterion (`cargo bench -p statemesh-engine`), when it was last run:\n\n{table}")
}

fn estimate(folder: &Path) -> Option<Vec<String>> {
    let json = |name: &str| serde_json::from_slice::<Value>(&fs::read(folder.join("new").join(name)).ok()?).ok();
    let (about, estimates) = (json("benchmark.json")?, json("estimates.json")?);
    let median = &estimates["median"];
    let interval = &median["confidence_interval"];
    let nanos = |value: &Value| Some(Unit::Nanos.show(value.as_f64()?));
    let name = about["full_id"].as_str()?.replace('|', "/");
    let interval = format!("{} to {}", nanos(&interval["lower_bound"])?, nanos(&interval["upper_bound"])?);
    Some(vec![name, nanos(&median["point_estimate"])?, interval])
}

fn report(peers: &[Peer], left_out: &[String]) -> Report {
    let mut figures = Vec::new();
    for (index, (_, about, limit, times)) in MACHINES.iter().enumerate() {
        let nanos = format!("a transition: {about}");
        let faster = format!("{nanos}: XState : ours");
        match (find(peers, OURS), find(peers, XSTATE)) {
            (Some(ours), theirs) => {
                figures.push(Figure::at_most(&nanos, *limit, middle(ours, index), Unit::Nanos));
                figures.extend(
                    theirs.map(|theirs| Figure::at_least(&faster, *times, against(theirs, ours, index), Unit::Times)),
                );
            }
            (None, _) => {
                figures.extend([&nanos, &faster].map(|name| Figure::not_measured(name, "the engine was left out")))
            }
        }
    }
    let row = |peer: &Peer| {
        let cells = (0..MACHINES.len()).map(|index| Unit::Nanos.show(middle(peer, index)));
        std::iter::once(peer.name.to_owned()).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = peers.iter().map(row).collect();
    let [(_, cycle, ..), (_, lamp, ..)] = MACHINES;
    let mut body = format!(
        "Median of {} interleaved rounds, each the median of 9 measurements in a process of its own.\n\n{}",
        peers.first().map_or(0, |peer| peer.measured.len()),
        table::markdown(&["engine", cycle, lamp], &rows)
    );
    left_out.iter().for_each(|why| body += &format!("\nLeft out: {why}.\n"));
    Report { figures, body, files: vec![("engine.csv".to_owned(), csv(peers))], plots: Vec::new() }
}

fn find<'a>(peers: &'a [Peer], name: &str) -> Option<&'a Peer> {
    peers.iter().find(|peer| peer.name == name)
}

fn middle(peer: &Peer, machine: usize) -> f64 {
    median(peer.measured.iter().map(|nanos| nanos[machine]).collect())
}

/// How many times longer than `ours` the other takes, within a round.
fn against(other: &Peer, ours: &Peer, machine: usize) -> f64 {
    median(other.measured.iter().zip(&ours.measured).map(|(other, ours)| other[machine] / ours[machine]).collect())
}

fn csv(peers: &[Peer]) -> String {
    let mut out = "engine,round,cycle_ns,lamp_ns\n".to_owned();
    for peer in peers {
        for (round, [cycle, lamp]) in peer.measured.iter().enumerate() {
            out += &format!("{},{round},{cycle:.2},{lamp:.2}\n", peer.name);
        }
    }
    out
}

fn with_arguments(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// XState, installed beside what is compiled: the lock file fixes every byte of it.
fn xstate(environment: &Environment) -> Outcome<Command> {
    let (from, to) = (environment.peers().join("xstate"), environment.out().join("xstate"));
    fs::create_dir_all(&to).while_at(to.display())?;
    for name in ["package.json", "package-lock.json", "bench.mjs"] {
        fs::copy(from.join(name), to.join(name)).while_at(from.join(name).display())?;
    }
    let mut install = Command::new("npm");
    install.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&to);
    proc::output(&mut install).while_at("npm")?;
    Ok(with_arguments(Path::new("node"), &[&to.join("bench.mjs").to_string_lossy()]))
}

fn read(stdout: &[u8]) -> Outcome<[f64; 2]> {
    let text = String::from_utf8_lossy(stdout);
    let nanos = |machine: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(machine)?.trim().parse::<f64>().ok());
        line.filter(|nanos| *nanos > 0.0)
    };
    match MACHINES.map(|(machine, ..)| nanos(machine)) {
        [Some(cycle), Some(lamp)] => Ok([cycle, lamp]),
        _ => failure("it did not print a line for each machine"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_says_too_little_is_refused() {
        assert_eq!(read(b"cycle 31.5\nlamp 240\n").unwrap(), [31.5, 240.0]);
        for text in ["", "cycle 31.5", "cycle 31.5\nlamp x", "cycle 0\nlamp 1"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
