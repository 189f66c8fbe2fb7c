//! What the kernel says of this process, under the names that every program has for it (`process_*`). Where it says nothing there is
//! nothing.

use std::fs;

use crate::counters::Kind;
use crate::metrics::Gauge;

/// The kernel counts processor time in hundredths of a second for programs, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// What it says now.
pub(crate) fn gauges() -> Vec<Gauge> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (stat, status, limits, kernel) =
        (read("/proc/self/stat"), read("/proc/self/status"), read("/proc/self/limits"), read("/proc/stat"));
    let open = fs::read_dir("/proc/self/fd").map(|all| all.count() as f64).ok();
    let kib = |name| number_behind(&status, name).map(|kib| kib * 1_024.0);
    let cpu = field(&stat, 13).zip(field(&stat, 14)).map(|(user, system)| (user + system) / TICKS_PER_SECOND);
    let start = field(&stat, 21).zip(number_behind(&kernel, "btime"));
    let start = start.map(|(ticks, boot)| boot + ticks / TICKS_PER_SECOND);
    let all = [
        ("process_cpu_seconds_total", Kind::Counter, "Processor time of this process, in seconds.", cpu),
        ("process_resident_memory_bytes", Kind::Gauge, "Memory of this process, in bytes.", kib("VmRSS:")),
        (
            "process_virtual_memory_bytes",
            Kind::Gauge,
            "Addresses that this process has taken, in bytes.",
            kib("VmSize:"),
        ),
        ("process_open_fds", Kind::Gauge, "File descriptors that are open.", open),
        (
            "process_max_fds",
            Kind::Gauge,
            "File descriptors that may be open.",
            number_behind(&limits, "Max open files"),
        ),
        ("process_threads", Kind::Gauge, "Threads of this process.", number_behind(&status, "Threads:")),
        ("process_start_time_seconds", Kind::Gauge, "When this process started, in seconds since 1970.", start),
    ];
    let level = |(name, kind, help, value): (_, _, _, Option<f64>)| {
        Some(Gauge { name, help, kind, samples: vec![(Vec::new(), value?)] })
    };
    all.into_iter().filter_map(level).collect()
}

/// A field of `/proc/self/stat`, from 0 on. The second one is the program's name in parentheses, which may have anything in it.
fn field(stat: &str, index: usize) -> Option<f64> {
    let behind = stat.rsplit_once(')')?.1;
    behind.split_ascii_whitespace().nth(index.checked_sub(2)?)?.parse().ok()
}

/// The first number of the line that begins so.
fn number_behind(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 12345 1 2";
        assert_eq!((field(stat, 13), field(stat, 14), field(stat, 21)), (Some(250.0), Some(50.0), Some(12_345.0)));
        assert_eq!((field("", 13), field(stat, 99)), (None, None));
        assert_eq!(number_behind("VmSize:\t  9 kB\nVmRSS:\t  512 kB\n", "VmRSS:"), Some(512.0));
        assert_eq!(
            number_behind("Max open files            1024                 4096     files", "Max open files"),
            Some(1_024.0)
        );
        assert_eq!(number_behind("x", "VmRSS:"), None);
    }

    #[test]
    fn this_process_has_memory_and_threads() {
        let all = gauges();
        let value = |name| all.iter().find(|level| level.name == name).map(|level| level.samples[0].1);
        assert!(value("process_resident_memory_bytes").unwrap() > 1e6 && value("process_threads").unwrap() >= 1.0);
        assert!(value("process_start_time_seconds").unwrap() > 1.6e9);
    }
}
