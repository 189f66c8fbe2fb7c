//! Processes that the harness starts, and what /proc says about them and the machine.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::failure::{Outcome, While, failure};

/// `USER_HZ`: the unit of /proc's CPU times, the same on every Linux since 2.4 as far as user space can see.
const TICKS_PER_SECOND: u64 = 100;

/// A process that ends with the harness: its stdin is a pipe from here, and it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::piped()).spawn().while_at(name)?;
        Ok(Self { child })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends SIGINT, as Ctrl-C does, and waits; a process that does not end within `patience` is killed.
    pub(crate) fn interrupt(mut self, patience: Duration) -> Outcome {
        let pid = self.pid();
        signal(pid, Signal::SIGINT)?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if self.child.try_wait().while_at("wait")?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        failure(format!("process {pid} did not end within {patience:?} after SIGINT"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets this process, and those that it starts, have as many files open as an ordinary user may. Gives their number.
pub(crate) fn allow_open_files() -> u64 {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, signal: Signal) -> Outcome {
    kill(Pid::from_raw(i32::try_from(pid).while_at("pid")?), signal).while_at(signal)
}

/// CPU time that a process has used, all its threads together.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may contain anything: fields count from behind it, the third being the state.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    from_ticks(ticks)
}

/// Resident bytes of a process.
pub(crate) fn resident_bytes(pid: u32) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).while_at("resident memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or_else(|| failure("resident memory: /proc has no VmRSS"), |kib| Ok(kib * 1024))
}

/// CPU time that the whole machine has spent working, all cores together, since it was started.
pub(crate) fn machine_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> = first.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user.
    let working = fields.iter().take(8).enumerate().filter(|(i, _)| !matches!(i, 3 | 4)).map(|(_, ticks)| ticks);
    from_ticks(working.sum())
}

fn from_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

/// Runs a command to its end and gives its stdout.
pub(crate) fn output(command: &mut Command) -> Outcome<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output().while_at(&name)?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return failure(format!("{name} ended with {}: {}", done.status, said.trim()));
    }
    Ok(done.stdout)
}

/// The machine in one line, and the date: what figures belong to.
pub(crate) fn machine() -> String {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = text("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = text("/proc/sys/kernel/osrelease");
    let meminfo = text("/proc/meminfo");
    let kib = meminfo.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
    let virtual_ = if cpuinfo.contains(" hypervisor") { ", virtual" } else { "" };
    format!("{cores} cores of {model}{virtual_}, {} GB, Linux {}", kib.div_ceil(1 << 20), kernel.trim())
}

/// Today in UTC, `2026-01-31`.
pub(crate) fn today() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The date of a day counted from 1970-01-01, by years that begin in March (H. Hinnant, "chrono-compatible date algorithms").
fn civil(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_778), (2026, 11, 21));
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
        assert!(machine_cpu() > Duration::ZERO);
        assert!(resident_bytes(u32::MAX).is_err());
    }
}
