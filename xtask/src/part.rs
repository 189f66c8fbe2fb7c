//! A part of the tests: what it needs, what it runs, how long that may take.

use crate::command;
use crate::count::{self, Count, Counts};
use crate::failure::Failure;
use crate::need::{Need, Ready};
use crate::workspace::Workspace;
use std::time::{Duration, Instant};

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// What it shows when it passes.
    pub(crate) about: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) steps: &'static [Step],
    /// What all its steps together may take on two cores, without what it needs: more is said at the end. On a slower machine it
    /// may take [`PATIENCE`] times as long before it is ended.
    pub(crate) minutes: u64,
    /// It may be left out in CI.
    pub(crate) optional: bool,
    /// When it is left to the night, unless it is named.
    pub(crate) nightly: Option<Nightly>,
}

/// When a part is left to the night.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nightly {
    /// Where what it needs is not built yet, and why that is.
    Unbuilt(&'static str),
    /// In CI, where there is no time left for it.
    Late,
}

/// How many times its minutes a part may take.
const PATIENCE: u32 = 3;

impl Part {
    /// What all its steps together may take on two cores.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs(60 * self.minutes)
    }
}

/// One thing that a part runs.
#[derive(Debug)]
pub(crate) enum Step {
    /// A command in the checkout.
    Run { words: &'static [&'static str], env: &'static [(&'static str, &'static str)], counts: Counts },
    /// Code of this program; it returns what it counted, and prints what failed.
    Own { name: &'static str, check: fn(&Workspace) -> Result<Count, Failure> },
}

/// How a part ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It ran.
    Ran { count: Count, notes: Vec<String>, took: Duration },
    /// It could not run.
    LeftOut(String),
    /// It is left to the night, and why.
    AtNight(String),
}

/// Runs a part. A step that fails does not keep the following ones from running.
pub(crate) fn run(part: &Part, workspace: &Workspace, ready: &Ready) -> Verdict {
    if let Some(reason) = part.needs.iter().find_map(|need| ready.missing(need)) {
        return Verdict::LeftOut(reason);
    }
    println!("\n=== {}: {}", part.name, part.about);
    let started = Instant::now();
    let mut total = Count::default();
    let mut notes = Vec::new();
    for step in part.steps {
        let left = (part.time() * PATIENCE).saturating_sub(started.elapsed());
        let count = match step {
            Step::Run { words, env, counts } => one_command(workspace, words, env, *counts, left, &mut notes),
            Step::Own { name, check } => check(workspace).unwrap_or_else(|message| {
                notes.push(format!("{name}: {message}"));
                Count { passed: 0, failed: 1 }
            }),
        };
        total = total.plus(count);
    }
    let took = started.elapsed();
    if took > part.time() {
        notes.push(format!("it took {:.0} s; on two cores it is to take {} min", took.as_secs_f64(), part.minutes));
    }
    println!("--- {}: {} passed, {} failed in {:.1} s", part.name, total.passed, total.failed, took.as_secs_f64());
    Verdict::Ran { count: total, notes, took }
}

fn one_command(
    workspace: &Workspace,
    words: &[&str],
    env: &[(&str, &str)],
    counts: Counts,
    limit: Duration,
    notes: &mut Vec<String>,
) -> Count {
    println!("$ {}", workspace.fill(&words.join(" ")));
    let ended = match command::prepare(workspace, words, env).and_then(|command| command::run(command, limit)) {
        Ok(ended) => ended,
        Err(failure) => {
            notes.push(failure.to_string());
            return Count { passed: 0, failed: 1 };
        }
    };
    let (count, why) = count::count(counts, &ended);
    notes.extend(why.map(|why| format!("{}: {why}", words.join(" "))));
    // What a runner itself leaves out is repeated at the end, where it cannot be overlooked.
    notes.extend(ended.lines.iter().filter(|line| line.starts_with("left out: ")).cloned());
    count
}
