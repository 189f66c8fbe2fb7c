//! The runner: each scenario is a process of its own, in namespaces of its own, with a seed and a time limit.
//!
//! The namespaces (network, mounts, processes) belong to that process, so the kernel takes everything down with it: no
//! daemon, no interface and no mount is left behind, however a scenario ends. On a machine without the right to make
//! namespaces the scenarios that need none still run, and the others are listed as left out.

use crate::{Outcome, process};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What a scenario needs around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Namespaces of its own: hosts with addresses, or ports that are certainly free.
    Namespaces,
    /// Only this machine's loopback.
    Loopback,
}

/// When a scenario runs. Two lanes run side by side; what needs the machine for itself runs when both are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// With the others, one after another.
    Main,
    /// Beside the main lane: it mostly waits.
    Beside,
    /// When nothing else runs: it measures, or takes all cores.
    Alone,
}

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// A sentence that is true when it passes.
    pub name: &'static str,
    /// What it needs.
    pub needs: Needs,
    /// Programs that it needs beyond those.
    pub programs: &'static [&'static str],
    /// How long it may take.
    pub limit: Duration,
    /// When it runs.
    pub lane: Lane,
    /// The scenario.
    pub run: fn(&Scene) -> Outcome,
}

impl Scenario {
    /// A scenario that needs hosts and a DNS server, and takes at most 60 s.
    #[must_use]
    pub const fn new(name: &'static str, run: fn(&Scene) -> Outcome) -> Self {
        let limit = Duration::from_secs(60);
        Self { name, needs: Needs::Namespaces, programs: &["ip", "knotd", "knotc"], limit, lane: Lane::Main, run }
    }

    /// It needs these programs and no others.
    #[must_use]
    pub const fn programs(mut self, programs: &'static [&'static str]) -> Self {
        self.programs = programs;
        self
    }

    /// It may take this long.
    #[must_use]
    pub const fn within_secs(mut self, secs: u64) -> Self {
        self.limit = Duration::from_secs(secs);
        self
    }

    /// It mostly waits, so it runs beside the others.
    #[must_use]
    pub const fn beside(mut self) -> Self {
        self.lane = Lane::Beside;
        self
    }

    /// It runs when nothing else does.
    #[must_use]
    pub const fn alone(mut self) -> Self {
        self.lane = Lane::Alone;
        self
    }

    /// It needs no namespaces of its own, and no program.
    #[must_use]
    pub const fn on_loopback(mut self) -> Self {
        self.needs = Needs::Loopback;
        self.programs = &[];
        self
    }
}

/// Where a scenario runs.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Seed of everything random in it.
    pub seed: u64,
    /// Its folder for logs.
    pub folder: PathBuf,
    /// The folder of all scenarios, for figures.
    pub all: PathBuf,
    /// Whether it has namespaces of its own.
    pub isolated: bool,
    /// The daemon's binary.
    pub binary: PathBuf,
}

struct Arguments {
    filters: Vec<String>,
    seed: Option<u64>,
    inside: Option<String>,
    list: bool,
}

enum Verdict {
    Passed(Duration),
    Failed(String),
    LeftOut(String),
}

/// Runs what the command line asks for; its last line is `N passed, M failed`.
#[must_use]
pub fn main(scenarios: &[Scenario]) -> ExitCode {
    let arguments = arguments();
    if let Some(name) = &arguments.inside {
        return inside(scenarios, name, arguments.seed.unwrap_or(0));
    }
    let chosen: Vec<&Scenario> = scenarios
        .iter()
        .filter(|scenario| {
            arguments.filters.is_empty() || arguments.filters.iter().any(|part| scenario.name.contains(part))
        })
        .collect();
    if arguments.list {
        chosen.iter().for_each(|scenario| println!("{}: test", scenario.name));
        return ExitCode::SUCCESS;
    }
    match outside(&chosen, arguments.seed) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            println!("the scenarios could not be run: {failure}\n0 passed, {} failed", chosen.len());
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Arguments {
    let mut found = Arguments { filters: Vec::new(), seed: None, inside: None, list: false };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--seed" => found.seed = given.next().and_then(|text| text.parse().ok()),
            "--inside" => found.inside = given.next(),
            "--list" => found.list = true,
            // Those of the standard harness, such as --nocapture, mean nothing here.
            other if other.starts_with('-') => {}
            other => found.filters.push(other.to_owned()),
        }
    }
    found
}

/// The process that is one scenario.
fn inside(scenarios: &[Scenario], name: &str, seed: u64) -> ExitCode {
    let Some(scenario) = scenarios.iter().find(|scenario| scenario.name == name) else {
        println!("there is no scenario {name:?}");
        return ExitCode::FAILURE;
    };
    // Should the runner be killed, no other process would end this one.
    let limit = scenario.limit;
    std::thread::spawn(move || {
        std::thread::sleep(limit + Duration::from_secs(5));
        std::process::exit(1);
    });
    let all = e2e_folder();
    let isolated = std::env::var_os(ISOLATED).is_some();
    let scene = Scene { seed, folder: all.join(slug(name)), all, isolated, binary: binary() };
    let prepared = if isolated { prepare_namespaces() } else { Ok(()) };
    match prepared.and_then(|()| (scenario.run)(&scene)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Set for a scenario that has namespaces of its own.
const ISOLATED: &str = "E2E_ISOLATED";

/// Network namespaces have names below `/run/netns`: a file system of our own there keeps them out of the machine's. The
/// same for shared memory.
fn prepare_namespaces() -> Outcome {
    fs::create_dir_all("/run/netns")?;
    process::run("mount", &["-t", "tmpfs", "statemesh-e2e", "/run/netns"])?;
    // faketime names a semaphore by its process's number, and those repeat from one namespace to the next.
    process::run("mount", &["-t", "tmpfs", "statemesh-e2e", "/dev/shm"])?;
    process::run("ip", &["link", "set", "lo", "up"])?;
    Ok(())
}

fn outside(chosen: &[&Scenario], seed: Option<u64>) -> Outcome<bool> {
    let started = Instant::now();
    build_the_daemon()?;
    fs::create_dir_all(e2e_folder())?;
    let isolation = isolation();
    if let Err(reason) = &isolation {
        println!("!! no namespaces here ({reason}): scenarios with hosts of their own are left out");
    }
    let seed = seed.unwrap_or_else(any_seed);
    println!("seed {seed} (again with: cargo test -p statemesh-tests --test e2e -- --seed {seed})");
    let results = Mutex::new(Vec::new());
    let run_lane = |lane: Lane| {
        for scenario in chosen.iter().filter(|scenario| scenario.lane == lane) {
            let verdict = one(scenario, seed, &isolation);
            report(scenario, &verdict);
            if let Ok(mut results) = results.lock() {
                results.push((scenario.name, verdict));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| run_lane(Lane::Beside));
        run_lane(Lane::Main);
    });
    run_lane(Lane::Alone);
    let results = results.into_inner().map_err(|_| "a lane panicked")?;
    Ok(summary(&results, chosen.len(), started.elapsed()))
}

fn any_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| u64::from(since.subsec_nanos()))
}

fn summary(results: &[(&str, Verdict)], expected: usize, took: Duration) -> bool {
    let passed = results.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Passed(_))).count();
    println!("\nscenarios took {:.0} s; their logs are in {}", took.as_secs_f64(), e2e_folder().display());
    let mut left_out = 0;
    for (name, verdict) in results {
        match verdict {
            Verdict::LeftOut(reason) => {
                left_out += 1;
                println!("left out: {name}: {reason}");
            }
            Verdict::Failed(_) => println!("failed: {name}"),
            Verdict::Passed(_) => {}
        }
    }
    let failed = expected - passed - left_out;
    println!("{passed} passed, {failed} failed");
    failed == 0
}

fn report(scenario: &Scenario, verdict: &Verdict) {
    match verdict {
        Verdict::Passed(took) => {
            println!("ok        {} ({:.1} s)", scenario.name, took.as_secs_f64())
        }
        Verdict::LeftOut(reason) => println!("LEFT OUT  {}: {reason}", scenario.name),
        Verdict::Failed(text) => println!("FAILED    {}\n{text}", scenario.name),
    }
}

/// How a command gets namespaces of its own.
fn isolation() -> Outcome<Vec<&'static str>> {
    let mut wrapper = vec!["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !nix::unistd::geteuid().is_root() {
        wrapper.extend(["--user", "--map-root-user"]);
    }
    let (program, flags) = wrapper.split_first().ok_or("no wrapper")?;
    process::run(program, &[flags, &["ip", "link", "add", "probe", "type", "bridge"]].concat())?;
    Ok(wrapper)
}

fn one(scenario: &Scenario, seed: u64, isolation: &Outcome<Vec<&'static str>>) -> Verdict {
    if let Some(missing) = scenario.programs.iter().find(|program| !process::exists(program)) {
        return Verdict::LeftOut(format!("{missing} is not installed (see tests/README.md)"));
    }
    let wrapper = match (isolation, scenario.needs) {
        (Ok(wrapper), _) => wrapper.as_slice(),
        (Err(_), Needs::Loopback) => &[],
        (Err(reason), Needs::Namespaces) => {
            return Verdict::LeftOut(format!("it needs root or user namespaces: {reason}"));
        }
    };
    let folder = e2e_folder().join(slug(scenario.name));
    let start = Instant::now();
    match start_one(scenario, seed, wrapper, &folder).and_then(|child| wait_within(child, scenario.limit)) {
        Ok(()) => Verdict::Passed(start.elapsed()),
        Err(failure) => Verdict::Failed(format!("{failure}\n{}", tails(&folder))),
    }
}

fn start_one(scenario: &Scenario, seed: u64, wrapper: &[&str], folder: &Path) -> Outcome<Child> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    let output = File::create(folder.join(OUTPUT))?;
    let exe = std::env::current_exe()?;
    let mut command = match wrapper.split_first() {
        Some((program, flags)) => {
            let mut command = Command::new(program);
            command.args(flags).arg(exe).env(ISOLATED, "1");
            command
        }
        None => Command::new(exe),
    };
    // A setting of the person who runs this is none of the daemons' business.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("STATEMESH_")) {
        command.env_remove(name);
    }
    command.args(["--inside", scenario.name, "--seed", &seed.to_string()]);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
    Ok(command.spawn()?)
}

fn wait_within(mut child: Child, limit: Duration) -> Outcome {
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > limit {
            end_group(&mut child)?;
            return Err(format!("it did not end within its limit of {limit:?}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    crate::ensure!(status.success(), "it failed ({status})");
    Ok(())
}

/// Ends the scenario and all that it started: its process group here, and by the kernel the whole of its namespaces.
fn end_group(child: &mut Child) -> Outcome {
    let group = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL)?;
    child.wait()?;
    Ok(())
}

/// The scenario's own output within its folder.
const OUTPUT: &str = "scenario.log";
/// Lines of a log that are shown when a scenario has failed.
const TAIL_LINES: usize = 12;
/// Logs that are shown when a scenario has failed.
const TAIL_LOGS: usize = 6;

fn tails(folder: &Path) -> String {
    let own = fs::read_to_string(folder.join(OUTPUT)).unwrap_or_default();
    let mut text: String = own.lines().map(|line| format!("    {line}\n")).collect();
    let mut logs: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    logs.retain(|path| path.extension().is_some_and(|end| end == "log") && !path.ends_with(OUTPUT));
    logs.sort();
    for path in logs.iter().take(TAIL_LOGS) {
        let log = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        text += &format!("    -- end of {}\n", path.display());
        for line in lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)) {
            text += &format!("    {line}\n");
        }
    }
    text
}

/// Builds the daemon as it is released, so that no test runs an old one. `E2E_BINARY` names one that is there already.
fn build_the_daemon() -> Outcome {
    if std::env::var_os("E2E_BINARY").is_some() {
        return Ok(());
    }
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    process::run(&cargo, &["build", "--quiet", "--release", "-p", "statemesh"])?;
    Ok(())
}

fn binary() -> PathBuf {
    std::env::var_os("E2E_BINARY").map_or_else(|| target_folder().join("release/statemesh"), PathBuf::from)
}

fn e2e_folder() -> PathBuf {
    target_folder().join("e2e")
}

/// The target folder: this very program is in `target/PROFILE/deps`.
fn target_folder() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    exe.ancestors().nth(3).map_or_else(|| PathBuf::from("target"), Path::to_path_buf)
}

fn slug(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_beyond_its_limit_is_ended_with_all_that_it_started() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 300 & echo $!; wait"]).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        let error = wait_within(child, Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("limit"), "{error}");
        let sleeper: u32 = line.trim().parse().unwrap();
        crate::wait_for("the sleeper has ended", Duration::from_secs(5), || {
            Ok(process::usage(sleeper).is_err().then_some(()))
        })
        .unwrap();
    }

    #[test]
    fn names_become_folders() {
        assert_eq!(slug("a key, 10 MB"), "a-key--10-mb");
    }
}
