//! Looks for the first scenario or seed that fails, and ends with it: how a daemon that was broken on purpose is caught.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::command::Wish;
use crate::known;
use crate::scenario::{self, Scenario};
use crate::series;

/// A seed, of a scenario or without one, that has worked for longer hangs: the slowest one takes seconds. It is the processor's time,
/// since others may have the machine.
const STUCK: Duration = Duration::from_secs(60);
/// How often that is looked at.
const GLANCE: Duration = Duration::from_millis(200);

/// What is tried.
enum Trial {
    /// A scenario with one of its seeds.
    Scenario(&'static Scenario, u64),
    Seed(u64),
}

impl Trial {
    /// What fails there, if anything does.
    fn fails(&self, wish: &Wish) -> Option<String> {
        let outcome = match self {
            Self::Scenario(scenario, seed) => scenario.run_seed(*seed),
            Self::Seed(seed) => series::one(wish, *seed),
        };
        outcome.violations.into_iter().next()
    }

    fn name(&self) -> String {
        match self {
            Self::Scenario(scenario, seed) => format!("scenario {}, its seed {seed}", scenario.name),
            Self::Seed(seed) => format!("seed {seed}"),
        }
    }
}

/// Tries scenarios that are expected to pass, each with its first seed before any with its second, then seeds, side by side. The first
/// failure ends the process: others that run would take their time, or for ever.
#[must_use]
pub fn run(wish: &Wish) -> ExitCode {
    let trials = trials(wish);
    let began = Instant::now();
    let next = AtomicUsize::new(0);
    let (running, all_done) = (Mutex::new(Running::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..wish.jobs())
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Relaxed);
                        let Some(trial) = trials.get(n) else { return };
                        let lane = Lane::here();
                        note(&running, |running| running.insert(n, (lane, trial.name())));
                        if let Some(what) = trial.fails(wish) {
                            caught(&trial.name(), began, &what);
                        }
                        note(&running, |running| running.remove(&n));
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !all_done.load(Relaxed) {
                std::thread::sleep(GLANCE);
                let late = note(&running, |running| running.values().find(|(lane, _)| lane.worked() > STUCK).cloned());
                if let Some((_, name)) = late {
                    caught(&name, began, &format!("it has worked for more than {STUCK:?}"));
                }
            }
        });
        // A lane that panicked is one that has ended.
        lanes.into_iter().for_each(|lane| drop(lane.join()));
        all_done.store(true, Relaxed);
    });
    println!("not caught by {} scenarios and seeds in {:.0} s", trials.len(), began.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn trials(wish: &Wish) -> Vec<Trial> {
    let scenarios = scenario::all().filter(|scenario| !known::is_known(scenario.name));
    let mut played: Vec<(u64, &Scenario)> =
        scenarios.flat_map(|scenario| (1..=scenario.seeds).map(move |seed| (seed, scenario))).collect();
    // It keeps the order of what is equal.
    played.sort_by_key(|(seed, _)| *seed);
    let seed = wish.seed.unwrap_or(1);
    let seeds = (seed..seed.saturating_add(wish.seeds.unwrap_or(100))).map(Trial::Seed);
    played.into_iter().map(|(seed, scenario)| Trial::Scenario(scenario, seed)).chain(seeds).collect()
}

/// What runs, by its place in the list: who runs it, and its name.
type Running = BTreeMap<usize, (Lane, String)>;

/// A thread, and what it had worked when it began with something.
#[derive(Clone)]
struct Lane {
    /// Its file of proc(5) that says for how long it was on a processor; none where there is no such file.
    times: Option<PathBuf>,
    before: Duration,
}

impl Lane {
    /// This thread.
    fn here() -> Self {
        let link = std::fs::read_link("/proc/thread-self").ok();
        let times = link.map(|link| Path::new("/proc").join(link).join("schedstat"));
        Self { before: times.as_deref().map_or(Duration::ZERO, on_processor), times }
    }

    /// What it has worked since then.
    fn worked(&self) -> Duration {
        self.times.as_deref().map_or(Duration::ZERO, on_processor).saturating_sub(self.before)
    }
}

/// The first number of `schedstat`: nanoseconds on a processor.
fn on_processor(times: &Path) -> Duration {
    let text = std::fs::read_to_string(times).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0))
}

fn note<T>(running: &Mutex<Running>, what: impl FnOnce(&mut Running) -> T) -> T {
    what(&mut running.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn caught(name: &str, began: Instant, what: &str) -> ! {
    println!("caught by {name}, after {:.0} s: {what}", began.elapsed().as_secs_f64());
    std::process::exit(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_waits_has_not_worked() {
        let lane = Lane::here();
        std::thread::sleep(Duration::from_millis(30));
        assert!(lane.worked() < Duration::from_millis(30), "{:?}", lane.worked());
        let began = Instant::now();
        while lane.times.is_some() && lane.worked() < Duration::from_millis(5) {
            assert!(began.elapsed() < Duration::from_secs(60));
        }
    }
}
