//! What a part needs beyond a Rust toolchain, and how it is provided: Debian packages, a Python environment, npm modules,
//! cargo tools, the released daemon.

use crate::command;
use crate::failure::Failure;
use crate::sim;
use crate::workspace::Workspace;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Something a part needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// A program; installed with these Debian packages when it is not there.
    Program { name: &'static str, packages: &'static [&'static str] },
    /// A file of a Debian package.
    File { path: &'static str, packages: &'static [&'static str] },
    /// A module of the system's Python.
    PythonModule { name: &'static str, packages: &'static [&'static str] },
    /// The Python environment with the packages of [`REQUIREMENTS`].
    Python,
    /// The npm modules of a folder's package-lock.json.
    Npm { folder: &'static str },
    /// A cargo subcommand, installed into the target folder.
    CargoTool { name: &'static str, version: &'static str },
    /// A nightly toolchain with Miri. It comes from rustup, which a machine may not have, so it is not installed here.
    Miri,
    /// The programs of a Go module's `tool` lines, installed into the target folder.
    GoTools { folder: &'static str },
    /// A Kubernetes cluster: KUBECONFIG names one that runs, or STATEMESH_TEST_CLUSTER a folder with the commands of one.
    Cluster,
    /// The simulator and the engine's batch program, with the crates and features that the tests are built with.
    Programs,
    /// The daemon, built as it is released in an image: with what talks to the Kubernetes API.
    Daemon,
}

/// What the Python environment holds.
const REQUIREMENTS: &str = "examples/clients/python/requirements.txt";
const PROVIDE_LIMIT: Duration = Duration::from_secs(25 * 60);
/// How often a download is tried, and what lies between two attempts.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(5);

impl Need {
    /// Cargo builds it.
    fn is_built(&self) -> bool {
        matches!(self, Need::CargoTool { .. } | Need::Programs | Need::Daemon)
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::Program { name, .. } => write!(f, "{name}"),
            Need::File { path, .. } => write!(f, "{path}"),
            Need::PythonModule { name, .. } => write!(f, "Python's {name}"),
            Need::Python => write!(f, "a Python environment ({REQUIREMENTS})"),
            Need::Npm { folder } => write!(f, "npm modules of {folder}"),
            Need::CargoTool { name, version } => write!(f, "{name} {version}"),
            Need::GoTools { folder } => write!(f, "the Go tools of {folder}"),
            Need::Miri => write!(f, "a nightly toolchain with miri"),
            Need::Cluster => write!(f, "a Kubernetes cluster"),
            Need::Programs => write!(f, "the simulator and the engine's batch program"),
            Need::Daemon => write!(f, "the released daemon"),
        }
    }
}

/// What could not be provided, and why.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    missing: BTreeMap<Need, String>,
}

impl Ready {
    /// Why this is not there, if it is not.
    pub(crate) fn missing(&self, need: &Need) -> Option<String> {
        self.missing.get(need).map(|reason| format!("{need}: {reason}"))
    }
}

/// Provides what is needed, Debian's packages first and all at once: the others need them.
pub(crate) fn provide(workspace: &Workspace, needs: &[Need]) -> Ready {
    let mut needs = needs.to_vec();
    needs.sort();
    needs.dedup();
    let started = Instant::now();
    let installed = install_packages(workspace, &needs);
    let (built, fetched): (Vec<Need>, Vec<Need>) = needs.into_iter().partition(Need::is_built);
    let each = |needs: Vec<Need>| needs.into_iter().map(|need| (need, one(workspace, need, &installed))).collect();
    // Cargo waits for processors, the others for registries.
    let results: Vec<Vec<(Need, Result<(), Failure>)>> = std::thread::scope(|scope| {
        let building = scope.spawn(|| each(built));
        let fetched = each(fetched);
        building.join().into_iter().chain([fetched]).collect()
    });
    let mut ready = Ready::default();
    for (need, result) in results.into_iter().flatten() {
        if let Err(reason) = result {
            println!("!!! {need}: {reason}");
            ready.missing.insert(need, reason.to_string());
        }
    }
    println!("=== what the parts need was provided in {:.1} s", started.elapsed().as_secs_f64());
    ready
}

fn one(workspace: &Workspace, need: Need, installed: &Result<(), Failure>) -> Result<(), Failure> {
    match need {
        Need::Program { .. } | Need::File { .. } | Need::PythonModule { .. } if is_there(workspace, &need) => Ok(()),
        Need::Program { .. } | Need::File { .. } | Need::PythonModule { .. } => {
            let reason =
                installed.as_ref().err().map_or_else(|| "its package lacks it".to_owned(), ToString::to_string);
            Err(Failure::Missing(reason))
        }
        Need::Python => python(workspace),
        Need::Npm { folder } => npm(workspace, folder),
        Need::CargoTool { name, version } => cargo_tool(workspace, name, version),
        Need::Miri => miri(),
        Need::GoTools { folder } => go_tools(workspace, folder),
        Need::Cluster => cluster(),
        Need::Programs => step(workspace, &sim::BUILD),
        Need::Daemon => {
            step(workspace, &["cargo", "build", "--release", "--package", "statemesh", "--features", "kubernetes"])
        }
    }
}

/// Whether it is there already, as far as that can be seen without building.
pub(crate) fn is_there(workspace: &Workspace, need: &Need) -> bool {
    match need {
        Need::CargoTool { name, version } => has_cargo_tool(workspace, name, version),
        Need::Program { name, .. } => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            // Debian keeps administrators' programs where a user's PATH does not look.
            let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
            folders.into_iter().any(|folder| folder.join(name).is_file())
        }
        Need::File { path, .. } => Path::new(path).exists(),
        Need::Cluster => cluster().is_ok(),
        Need::PythonModule { name, .. } => {
            let import = format!("import {name}");
            let python = Command::new("python3").args(["-c", &import]).stderr(Stdio::null()).status();
            python.is_ok_and(|status| status.success())
        }
        _ => true,
    }
}

fn install_packages(workspace: &Workspace, needs: &[Need]) -> Result<(), Failure> {
    let missing = needs.iter().filter(|need| !is_there(workspace, need)).filter_map(|need| match need {
        Need::Program { packages, .. } | Need::File { packages, .. } | Need::PythonModule { packages, .. } => {
            Some(*packages)
        }
        _ => None,
    });
    let mut packages: Vec<&str> = missing.flatten().copied().collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let prefix = administrator(&packages)?;
    let apt =
        |words: &[&'static str]| [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"], words].concat();
    download(workspace, &apt(&["update"]))?;
    let install = [apt(&["install", "--yes", "--no-install-recommends"]), packages].concat();
    download(workspace, &install)
}

/// What goes before a command that only root may run.
fn administrator(packages: &[&str]) -> Result<&'static [&'static str], Failure> {
    let quiet = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).stdin(Stdio::null()).stderr(Stdio::null()).output();
        output.ok().filter(|output| output.status.success()).map(|output| output.stdout)
    };
    if quiet("id", "-u").is_some_and(|id| id.trim_ascii() == b"0") {
        return Ok(&[]);
    }
    if Command::new("sudo").args(["-n", "true"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return Ok(&["sudo", "-n"]);
    }
    Err(Failure::Missing(format!("run this as root first: apt-get install {}", packages.join(" "))))
}

/// As [`step`], for what downloads: a registry or a network may fail for a moment.
fn download(workspace: &Workspace, words: &[&str]) -> Result<(), Failure> {
    for _ in 1..ATTEMPTS {
        let Err(failure) = step(workspace, words) else { return Ok(()) };
        println!("!!! {failure}; it is tried again in {} s", PAUSE.as_secs());
        std::thread::sleep(PAUSE);
    }
    step(workspace, words)
}

/// Runs one command of providing; its output is shown.
fn step(workspace: &Workspace, words: &[&str]) -> Result<(), Failure> {
    println!("$ {}", workspace.fill(&words.join(" ")));
    let ended = command::run(command::prepare(workspace, words, &[])?, PROVIDE_LIMIT)?;
    if ended.well() { Ok(()) } else { Err(Failure::Ended { name: words.join(" "), how: ended.how() }) }
}

fn python(workspace: &Workspace) -> Result<(), Failure> {
    let wanted = std::fs::read_to_string(workspace.root.join(REQUIREMENTS));
    let wanted = wanted.map_err(Failure::file(Path::new(REQUIREMENTS)))?;
    let mark = workspace.target.join("python/installed.txt");
    if std::fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    step(workspace, &["python3", "-m", "venv", "{target}/python"])?;
    download(workspace, &["{python}", "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS])?;
    std::fs::write(&mark, wanted).map_err(Failure::file(&mark))
}

fn npm(workspace: &Workspace, folder: &str) -> Result<(), Failure> {
    let folder_path = workspace.root.join(folder);
    let modified = |name: &str| std::fs::metadata(folder_path.join(name)).and_then(|data| data.modified()).ok();
    if modified("node_modules/.package-lock.json") > modified("package-lock.json") {
        return Ok(());
    }
    // Scripts are not run: a package that needs one to work is not used here.
    download(workspace, &["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder])
}

fn has_cargo_tool(workspace: &Workspace, name: &str, version: &str) -> bool {
    let program = workspace.tools().join("bin").join(name);
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(version))
}

fn cargo_tool(workspace: &Workspace, name: &str, version: &str) -> Result<(), Failure> {
    if has_cargo_tool(workspace, name, version) {
        return Ok(());
    }
    let words = ["cargo", "install", "--quiet", "--locked", "--debug", "--no-default-features", "--root", "{tools}"];
    download(workspace, &[words.as_slice(), &["--target-dir", "{tools}/build", "--version", version, name]].concat())
}

/// Go itself knows what of it is built already.
fn go_tools(workspace: &Workspace, folder: &str) -> Result<(), Failure> {
    let bin = format!("GOBIN={}", workspace.tools().join("bin").display());
    download(workspace, &["env", &bin, "CGO_ENABLED=0", "go", "-C", folder, "install", "tool"])
}

fn cluster() -> Result<(), Failure> {
    let named = ["KUBECONFIG", "STATEMESH_TEST_CLUSTER"].map(std::env::var_os);
    if named.iter().flatten().any(|value| !value.is_empty()) {
        return Ok(());
    }
    Err(Failure::Missing("KUBECONFIG names none".to_owned()))
}

fn miri() -> Result<(), Failure> {
    let there = Command::new("cargo")
        .args(["+nightly", "miri", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match there {
        Ok(status) if status.success() => Ok(()),
        _ => {
            let way = "not on this machine; `rustup toolchain install nightly --component miri,rust-src` installs it";
            Err(Failure::Missing(way.to_owned()))
        }
    }
}
