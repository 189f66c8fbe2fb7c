//! Short-lived commands, and what the kernel says about a running process.

use crate::Outcome;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Runs a command to its end.
///
/// # Errors
/// It could not be started, or failed; the text has what it wrote to stderr.
pub fn run(program: &str, args: &[&str]) -> Outcome<String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program} could not be started: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    crate::ensure!(output.status.success(), "{program} {} failed: {}", args.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program of this name is on the PATH.
#[must_use]
pub fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Time on a core, user and system together.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// The most that was ever resident, in bytes.
    pub peak_bytes: u64,
    /// Threads.
    pub threads: u64,
}

/// Clock ticks in a second as `/proc` counts them: USER_HZ, 100 on every architecture that Linux runs on today.
const TICKS_PER_SECOND: u64 = 100;

/// What a process has used so far.
///
/// # Errors
/// There is no such process.
pub fn usage(pid: u32) -> Outcome<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything, so fields are counted from the last parenthesis on.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let bytes = |name: &str| -> Outcome<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Ok(number.ok_or_else(|| format!("process {pid} has no {name} it has ended"))? * 1_024)
    };
    Ok(Usage {
        cpu: Duration::from_millis((field(11) + field(12)) * 1_000 / TICKS_PER_SECOND),
        resident_bytes: bytes("VmRSS:")?,
        peak_bytes: bytes("VmHWM:")?,
        threads: field(17),
    })
}

/// The processes whose command line names `part`.
///
/// # Errors
/// `/proc` cannot be read.
pub fn running(part: &str) -> Outcome<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if pid != std::process::id() && String::from_utf8_lossy(&command).contains(part) {
            found.push(pid);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_usage_is_known() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 100_000 && usage.threads >= 1, "{usage:?}");
    }

    #[test]
    fn a_failed_command_says_why() {
        assert!(run("ls", &["/no/such/folder"]).unwrap_err().to_string().contains("/no/such/folder"));
        assert!(exists("ls") && !exists("no-such-program"));
    }
}
