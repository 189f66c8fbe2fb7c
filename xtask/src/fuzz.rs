//! Runs the fuzz targets of `fuzz/`, one on each processor at a time, each for a given time and within given memory.
//!
//! A target is a program with libFuzzer in it, built by the stable toolchain with the flags of `fuzz/.cargo/config.toml`.
//! It tries the committed inputs, then what it found on this machine before, then mutations of both.

use crate::command;
use crate::count::Count;
use crate::failure::Failure;
use crate::workspace::Workspace;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Time for each target in the normal run; what the committed inputs take is part of it.
const BRIEF: Duration = Duration::from_secs(5);
/// One input may take this long by the clock on the wall. It takes milliseconds; the machine may be busy.
const INPUT_SECONDS_MAX: u32 = 30;
/// Memory of a target: the engine's bounds keep an input well below it.
const MEMORY_MB_MAX: u32 = 1024;
const INPUT_BYTES_MAX: u32 = 4096;
/// A thread of the daemon has 2 MiB of stack; a target has no more, with the larger frames of its checks.
const STACK_KB: u32 = 2048;
const BUILD_LIMIT: Duration = Duration::from_secs(15 * 60);
/// What starting, reading inputs and reporting may add to a target's time.
const GRACE: Duration = Duration::from_secs(120);

/// The part of the tests: every target, briefly, and so built with less optimisation.
pub(crate) fn briefly(workspace: &Workspace) -> Result<Count, Failure> {
    run_built(workspace, &[], BRIEF, "brief")
}

/// Runs the named targets, or all, for `time` each.
pub(crate) fn run(workspace: &Workspace, names: &[String], time: Duration) -> Result<Count, Failure> {
    run_built(workspace, names, time, "release")
}

fn run_built(workspace: &Workspace, names: &[String], time: Duration, profile: &str) -> Result<Count, Failure> {
    let known = targets(&workspace.root)?;
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        return Err(Failure::Unknown { kind: "fuzz target", name: name.clone(), known: known.join(", ") });
    }
    build(workspace, profile)?;
    let chosen = Mutex::new(known.iter().filter(|name| names.is_empty() || names.contains(name)));
    let (passed, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    // A target has one thread.
    let lane = || {
        while let Some(name) = chosen.lock().ok().and_then(|mut chosen| chosen.next()) {
            let result = one(workspace, name, time, profile);
            if result.is_ok() { &passed } else { &failed }.fetch_add(1, Relaxed);
            if let Err(message) = result {
                println!("!!! {name}: {message}");
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(lane);
        }
    });
    Ok(Count { passed: passed.into_inner(), failed: failed.into_inner() })
}

/// A file of `fuzz/targets` is a target.
fn targets(root: &Path) -> Result<Vec<String>, Failure> {
    let folder = root.join("fuzz/targets");
    let entries = std::fs::read_dir(&folder).map_err(Failure::file(&folder))?;
    let name = |path: &Path| Some(path.file_name()?.to_str()?.strip_suffix(".rs")?.to_owned());
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| name(&entry.path())).collect();
    names.sort();
    Ok(names)
}

fn build(workspace: &Workspace, profile: &str) -> Result<(), Failure> {
    let words = ["cargo", "build", "--quiet", "--locked", "--profile", profile, "--target-dir", "{target}/fuzz"];
    let mut command = command::prepare(workspace, &words, &[])?;
    // Cargo looks for the flags in the folder it runs in. Flags from outside would take their place.
    command.current_dir(workspace.root.join("fuzz")).env_remove("RUSTFLAGS");
    let ended = command::run(command, BUILD_LIMIT)?;
    if ended.well() { Ok(()) } else { Err(Failure::Ended { name: words.join(" "), how: ended.how() }) }
}

fn one(workspace: &Workspace, name: &str, time: Duration, profile: &str) -> Result<(), Failure> {
    let folder = workspace.target.join("fuzz");
    let program = program(&folder, profile, name)?;
    let found = folder.join("corpus").join(name);
    let findings = folder.join("findings");
    for folder in [&found, &findings] {
        std::fs::create_dir_all(folder).map_err(Failure::file(&folder))?;
    }
    let mut command = Command::new("sh");
    command.current_dir(workspace.root.join("fuzz"));
    command.args(["-c", &format!("ulimit -s {STACK_KB} && exec \"$@\""), "sh"]).arg(&program);
    command.args([
        "-verbosity=0".to_owned(),
        "-print_final_stats=1".to_owned(),
        format!("-max_total_time={}", time.as_secs()),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        format!("-rss_limit_mb={MEMORY_MB_MAX}"),
        format!("-max_len={INPUT_BYTES_MAX}"),
        format!("-artifact_prefix={}/{name}-", findings.display()),
    ]);
    let dictionary = format!("dictionaries/{name}.dict");
    if workspace.root.join("fuzz").join(&dictionary).exists() {
        command.arg(format!("-dict={dictionary}"));
    }
    command.arg(&found).arg(format!("corpus/{name}"));
    println!("$ {} for {} s", program.display(), time.as_secs());
    let ended = command::run(command, time + GRACE)?;
    let input = ended.lines.iter().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path);
    match input {
        _ if ended.well() => Ok(()),
        None => Err(Failure::Ended { name: program.display().to_string(), how: ended.how() }),
        Some(path) => Err(Failure::Found(format!(
            "found an input; repeat it with\n    {} {path}\nand once it is mended keep it in fuzz/corpus/{name}/",
            program.display()
        ))),
    }
}

/// The folder's name has the machine's architecture in it.
fn program(folder: &Path, profile: &str, name: &str) -> Result<std::path::PathBuf, Failure> {
    let entries = std::fs::read_dir(folder).map_err(Failure::file(&folder))?;
    let programs = entries.flatten().map(|entry| entry.path().join(profile).join(name));
    programs.into_iter().find(|path| path.is_file()).ok_or_else(|| Failure::Found(format!("{name} was not built")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_inputs_to_begin_with() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let targets = targets(root).unwrap();
        assert!(!targets.is_empty());
        for name in targets {
            let inputs = std::fs::read_dir(root.join("fuzz/corpus").join(&name)).map_or(0, Iterator::count);
            assert!(inputs > 0, "fuzz/corpus/{name} has none");
            let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
            assert!(
                manifest.contains(&format!("path = \"targets/{name}.rs\"")),
                "fuzz/Cargo.toml does not name {name}"
            );
        }
    }
}
