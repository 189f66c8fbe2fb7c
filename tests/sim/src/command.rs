//! The command: which seeds and scenarios to run, what is printed, and when it fails.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::known;
use crate::nemesis::Fault;
use crate::scenario::{self, Scenario};
use crate::seed::{Outcome, Recipe};
use crate::{hunt, series};

/// How the command is used.
pub const USAGE: &str = "\
statemesh-sim [--seeds N] [--seed S] [--scenario NAME] [--minutes M] [--jobs J] [--replay-all] [--fault NAME] [--list]

  --seeds N        so many seeds, beginning with that of --seed (1)
  --seed S         this seed, with its trace if it fails
  --scenario NAME  scenarios whose names contain NAME, instead of seeds; `all` for all
  --minutes M      no further seed begins after so many minutes
  --jobs J         seeds or scenarios that run side by side (as many as there are cores)
  --replay-all     every seed is run twice and must be the same to the byte, instead of one in ten
  --fault NAME     only this fault
  --page FILE      write what was seen and found there, as a piece of a page
  --book FILE      keep there what is done, and leave out what was done before: a long series may be ended and goes on
  --trace          print what happened, also of what passed
  --log            print what each daemon decides and what each client hears, as it happens: one seed or scenario, for grep
  --until-failure  scenarios that are expected to pass, then seeds, until the first that fails: for mutants
  --list           scenarios and faults";

/// Why words are no command.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// A word that is none.
    #[error("there is no `{0}`")]
    Unknown(String),
    /// A word whose value is missing.
    #[error("{0} needs a value")]
    NoValue(String),
    /// A value that should be a number.
    #[error("{word}: \"{text}\" is no number")]
    NoNumber {
        /// The word.
        word: String,
        /// Its value.
        text: String,
    },
    /// A fault that is none.
    #[error("there is no fault \"{0}\"")]
    NoFault(String),
}

/// What is to be run.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub(crate) seeds: Option<u64>,
    pub(crate) seed: Option<u64>,
    scenario: Option<String>,
    pub(crate) minutes: Option<u64>,
    jobs: Option<usize>,
    pub(crate) replay_all: bool,
    pub(crate) trace: bool,
    log: bool,
    pub(crate) fault: Option<Fault>,
    pub(crate) page: Option<PathBuf>,
    pub(crate) book: Option<PathBuf>,
    list: bool,
    until_failure: bool,
}

/// One seed in so many is run twice.
const REPLAYED: u64 = 10;

impl Wish {
    /// Whether this seed is run twice, and must be the same to the byte.
    #[must_use]
    pub fn replays(&self, seed: u64) -> bool {
        self.replay_all || seed.is_multiple_of(REPLAYED)
    }

    /// Reads the words of the command line.
    ///
    /// # Errors
    /// A word that is none, or a number that is none.
    pub fn read(words: &[String]) -> Result<Self, WishError> {
        let mut wish = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().cloned().ok_or_else(|| WishError::NoValue(word.clone()));
            let number = |text: String| match text.parse::<u64>() {
                Ok(number) => Ok(number),
                Err(_) => Err(WishError::NoNumber { word: word.clone(), text }),
            };
            match word.as_str() {
                "--seeds" => wish.seeds = Some(number(value()?)?),
                "--seed" => wish.seed = Some(number(value()?)?),
                "--minutes" => wish.minutes = Some(number(value()?)?),
                "--jobs" => wish.jobs = Some(usize::try_from(number(value()?)?).unwrap_or(1).max(1)),
                "--scenario" => wish.scenario = Some(value()?),
                "--replay-all" => wish.replay_all = true,
                "--trace" => wish.trace = true,
                "--log" => wish.log = true,
                "--list" => wish.list = true,
                "--until-failure" => wish.until_failure = true,
                "--page" => wish.page = Some(value()?.into()),
                "--book" => wish.book = Some(value()?.into()),
                "--fault" => {
                    let name = value()?;
                    let fault = Fault::ALL.iter().find(|fault| fault.name() == name);
                    wish.fault = Some(*fault.ok_or(WishError::NoFault(name))?);
                }
                _ => return Err(WishError::Unknown(word.clone())),
            }
        }
        Ok(wish)
    }

    /// Seeds and scenarios that run side by side.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).min(64)
    }

    pub(crate) fn recipe(&self, seed: u64) -> Recipe {
        let mut recipe = Recipe::of(seed);
        if let Some(only) = self.fault {
            recipe.faults.iter_mut().for_each(|(_, fault)| *fault = only);
        }
        recipe
    }
}

/// Runs what is wanted.
#[must_use]
pub fn run(wish: &Wish) -> ExitCode {
    // A panic of a daemon is told with its seed; its own words would stand in the middle of others.
    if wish.seed.is_none() && wish.scenario.is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    if wish.log {
        crate::log::print();
    }
    let fine = match (&wish.scenario, wish.list) {
        (_, true) => list(),
        _ if wish.until_failure => return hunt::run(wish),
        (Some(name), _) => scenarios(wish, name),
        (None, _) => series::run(wish),
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn list() -> bool {
    for scenario in scenario::all() {
        let known = if known::is_known(scenario.name) { " (known fault)" } else { "" };
        println!("scenario {}  (fault {}){known}", scenario.name, scenario.fault);
    }
    Fault::ALL.iter().for_each(|fault| println!("fault {}", fault.name()));
    true
}

/// Runs scenarios side by side; one that is on the list of known faults must fail.
fn scenarios(wish: &Wish, name: &str) -> bool {
    let chosen: Vec<&Scenario> = scenario::all().filter(|s| name == "all" || s.name.contains(name)).collect();
    if chosen.is_empty() {
        eprintln!("error: there is no scenario \"{name}\"");
        return false;
    }
    let next = AtomicUsize::new(0);
    let passed = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..wish.jobs() {
            scope.spawn(|| {
                while let Some(scenario) = chosen.get(next.fetch_add(1, Relaxed)) {
                    let began = Instant::now();
                    let outcome = scenario.run();
                    // Held while it is told, so that its lines stay together.
                    let mut passed = passed.lock().unwrap_or_else(PoisonError::into_inner);
                    *passed += usize::from(tell(scenario, &outcome, began.elapsed(), wish.trace));
                }
            });
        }
    });
    let passed = passed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let failed = chosen.len() - passed;
    println!("{passed} passed, {failed} failed");
    failed == 0
}

/// Prints how a scenario ended. Says whether that is as it must be.
fn tell(scenario: &Scenario, outcome: &Outcome, took: Duration, trace: bool) -> bool {
    let well = outcome.violations.is_empty();
    let (fine, how) = match (well, known::is_known(scenario.name)) {
        (true, false) => (true, "passed".to_owned()),
        (false, false) => (false, "FAILED".to_owned()),
        (false, true) => (true, format!("fails, as known (fault {})", scenario.fault)),
        (true, true) => (false, format!("known fault {} no longer shows: take it off the list", scenario.fault)),
    };
    println!("{:72} {how} ({:.1} s)", scenario.name, took.as_secs_f64());
    if !well || trace {
        print_failure(outcome, if fine && !trace { 3 } else { 40 }, trace);
    }
    fine
}

/// Prints what contradicts, and the last lines of what happened.
pub(crate) fn print_failure(outcome: &Outcome, lines: usize, trace: bool) {
    outcome.violations.iter().take(lines).for_each(|what| println!("    {what}"));
    if trace || lines > 3 {
        let skipped = outcome.trace.len().saturating_sub(if trace { usize::MAX } else { lines });
        outcome.trace.iter().skip(skipped).for_each(|line| println!("      {line}"));
    }
}
