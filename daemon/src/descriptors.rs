//! File descriptors: every connection takes one.

use std::fs::File;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::close;

/// Those that are no connection's: listeners, event loops, the log, files that are read again, DNS.
const OTHERS: u64 = 128;

/// What this process may have open, and what it would need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    pub(crate) allowed: u64,
    pub(crate) needed: u64,
}

impl Descriptors {
    /// Of so many connections of clients those that there may be: what is missing goes at their expense, so that links between
    /// daemons, probes and files are not kept waiting for a descriptor that a client has. A quarter of all is theirs in any case.
    pub(crate) fn for_clients(&self, connections: usize) -> usize {
        let count = |descriptors: u64| usize::try_from(descriptors).unwrap_or(usize::MAX);
        let missing = count(self.needed.saturating_sub(self.allowed));
        connections.saturating_sub(missing).max(connections.min(count(self.allowed / 4)))
    }

    /// Of so many connections over HTTP, and those for probes beyond them, the ones that there may be: an eighth of all descriptors and a
    /// sixteenth. A place without a descriptor keeps no guest out and lets no probe in.
    pub(crate) fn for_http(&self, connections: usize, probes: usize) -> (usize, usize) {
        let share = |of: u64| usize::try_from(self.allowed / of).unwrap_or(usize::MAX).max(1);
        (connections.min(share(8)), probes.min(share(16)))
    }
}

/// Raises the soft limit as far as that many connections need, where the hard limit lets it; and has the kernel make its
/// table of descriptors large enough at once.
///
/// That table doubles whenever it is full, at 64, 128, 256, ... In a process with several threads the one that accepts then
/// waits for all others to have left the old table (`expand_fdtable` in Linux's fs/file.c: `synchronize_rcu`), 7 to 17 ms as
/// seen here, and all clients of that thread wait with it. So this comes before the first thread.
pub(crate) fn provide(connections: usize) -> Descriptors {
    let needed = OTHERS.saturating_add(connections as u64);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return Descriptors { allowed: needed, needed };
    };
    let wanted = needed.clamp(soft, hard.max(soft));
    let allowed = if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() { wanted } else { soft };
    enlarge(needed.min(allowed));
    Descriptors { allowed, needed }
}

/// A descriptor with the highest number is opened and closed again. That this fails changes nothing but the waits.
fn enlarge(descriptors: u64) {
    let Ok(highest) = i32::try_from(descriptors.saturating_sub(1)) else { return };
    if let Ok(any) = File::open("/dev/null")
        && let Ok(high) = fcntl(&any, FcntlArg::F_DUPFD_CLOEXEC(highest))
    {
        let _ = close(high);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_missing_to_clients() {
        let clients = |allowed, needed| Descriptors { allowed, needed }.for_clients(10_000);
        assert_eq!(clients(20_000, 10_400), 10_000);
        assert_eq!(clients(10_000, 10_400), 9_600);
        assert_eq!(clients(1_024, 10_400), 624);
        assert_eq!(clients(64, 10_400), 16, "too few for anything: a share");
        assert_eq!(Descriptors { allowed: 64, needed: 400 }.for_clients(8), 8);
    }

    #[test]
    fn over_http_there_are_no_more_places_than_descriptors() {
        let places = |allowed| Descriptors { allowed, needed: 10_400 }.for_http(256, 16);
        assert_eq!((places(20_000), places(1_024), places(64), places(3)), ((256, 16), (128, 16), (8, 4), (1, 1)));
    }

    #[test]
    fn the_table_of_descriptors_is_large_before_it_is_needed() {
        let size = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
            line.trim().parse::<u64>().unwrap()
        };
        let before = size();
        let seen = provide(3_000);
        assert_eq!(seen.needed, 3_128);
        assert!(size() >= seen.allowed.min(seen.needed), "{} and before {before}", size());
        assert!(provide(0).allowed >= seen.allowed, "it is never lowered");
    }
}
