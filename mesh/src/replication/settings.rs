//! Bounds and times of groups.

use std::time::Duration;

/// Bounds and times of groups, each a name that documentation and metrics use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// By how much later each voter asks for pre-votes than the one before it in the configuration.
    pub stagger: Duration,
    /// When to ask again after an election that came to nothing.
    pub retry: Duration,
    /// When a leader sends again what a follower that is heard has not acknowledged.
    pub resend: Duration,
    /// For how long a commit waits for the next entry to be sent with.
    pub commit_delay: Duration,
    /// When a transfer that came to nothing is given up.
    pub transfer: Duration,
    /// For how long a leader that hears no majority goes on.
    pub alone: Duration,
    /// Bytes of entries that a leader may have proposed and not committed (`limits.uncommitted`).
    pub uncommitted_bytes: usize,
    /// Bytes of committed entries that are kept for followers that lag.
    pub tail_bytes: usize,
    /// Bytes of entries that a follower takes. It is far above what a leader may have that is not committed: after a restart of all copies that
    /// is not known, and a follower that took no more could not help to find out.
    pub log_bytes: usize,
    /// Bytes of entries in one message, but for one that is larger by itself.
    pub append_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stagger: Duration::from_millis(25),
            retry: Duration::from_millis(150),
            resend: Duration::from_millis(500),
            commit_delay: Duration::from_millis(5),
            transfer: Duration::from_secs(1),
            alone: Duration::from_millis(250),
            uncommitted_bytes: 1 << 20,
            tail_bytes: 1 << 20,
            log_bytes: 64 << 20,
            append_bytes: 64 << 10,
        }
    }
}
