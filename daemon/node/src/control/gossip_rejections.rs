//! Daemons that gossip to the wrong mesh, or under the wrong key, are told so: otherwise they would only meet silence.
//!
//! A notice is no proof of anything, as anybody could send one: it is logged and shown, and changes nothing else, but that a daemon is not
//! alone while one counts that came from where it was told to ask. It is shorter than what it answers, and at most one is sent in a second,
//! so that it is of no use for flooding others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use statemesh_mesh::gossip::Dropped;

use super::Control;

/// Time between two notices, those that are sent and those that are heard alike: anybody can send any number of them.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a notice counts. A daemon that is kept out is told so again by the next datagram that it sends.
const COUNTS_FOR: Duration = Duration::from_secs(15);

/// Time between two log lines of one daemon and one reason: it grows, since such a daemon gossips until it is mended.
const LINES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Daemons and reasons whose lines are counted: anybody can send from any address.
const MAX_LINES: usize = 64;

/// What a notice says on the wire, and what it means to its reader.
const NOTICES: [(Dropped, &[u8], &str); 2] = [
    (
        Dropped::OtherMesh,
        b"statemesh 1 other-mesh",
        "it belongs to a mesh with another name or partition count (settings `mesh` and `partitions`)",
    ),
    (
        Dropped::WrongKey,
        b"statemesh 1 wrong-key",
        "its gossip keys are others than ours (settings `gossip.keys` and `gossip.keys_file`)",
    ),
];

/// The notices that were sent and heard.
#[derive(Debug, Default)]
pub(super) struct GossipRejections {
    told_at: Option<Instant>,
    /// What was logged of daemons that are kept out here, and of those that keep this one out.
    told: Lines,
    heard: Lines,
    /// What the last notice said, and when it came.
    notice: Option<(String, Instant)>,
    /// The addresses that discovery named last, and when a notice came from one that it named.
    asked: BTreeSet<SocketAddr>,
    refused_at: Option<Instant>,
}

/// Which lines of the log are left out, because one like them has just been written.
#[derive(Debug, Default)]
struct Lines(BTreeMap<(SocketAddr, &'static str), Line>);

#[derive(Debug)]
struct Line {
    last: Instant,
    next: Instant,
    distance: Duration,
    /// Since the last line.
    times: u64,
}

impl Lines {
    /// How often this happened since the last line, if another one is due.
    fn due(&mut self, from: SocketAddr, meaning: &'static str, now: Instant) -> Option<u64> {
        // One that has stopped for longer than the distance of lines is news again.
        self.0.retain(|_, line| now < line.last + 2 * LINES.1);
        if self.0.len() >= MAX_LINES && !self.0.contains_key(&(from, meaning)) {
            let oldest = self.0.iter().min_by_key(|(_, line)| line.last).map(|(key, _)| *key);
            oldest.map(|key| self.0.remove(&key));
        }
        let new = Line { last: now, next: now, distance: LINES.0, times: 0 };
        let line = self.0.entry((from, meaning)).or_insert(new);
        line.last = now;
        line.times += 1;
        if now < line.next {
            return None;
        }
        line.next = now + line.distance;
        line.distance = (line.distance * 2).min(LINES.1);
        Some(std::mem::take(&mut line.times))
    }
}

impl GossipRejections {
    /// What was said of late to this daemon by one that keeps it out.
    pub(super) fn notice(&self, now: Instant) -> Option<&String> {
        self.notice.as_ref().filter(|(_, at)| now < *at + COUNTS_FOR).map(|(notice, _)| notice)
    }

    /// Discovery names these, and they are asked.
    pub(super) fn asks(&mut self, named: &[SocketAddr]) {
        // An answer may come after the round in which it was asked for.
        if !named.is_empty() {
            self.asked = named.iter().copied().collect();
        }
    }

    /// Until when it counts that a daemon keeps this one out which discovery had named: there is another one, whatever is named since.
    pub(super) fn refused_until(&self) -> Option<Instant> {
        self.refused_at.map(|at| at + COUNTS_FOR)
    }

    /// What was said of other keys than those of now does not count.
    pub(super) fn forget_notice(&mut self) {
        (self.notice, self.refused_at) = (None, None);
    }
}

impl Control {
    /// A datagram was dropped: tells its sender why, if that is what it needs to know.
    pub(super) fn tell_rejected(&mut self, reason: Dropped, from: SocketAddr, now: Instant) {
        let Some((_, notice, meaning)) = NOTICES.iter().find(|(dropped, ..)| *dropped == reason) else { return };
        if self.gossip.rejections.told_at.is_some_and(|at| now < at + PERIOD) {
            return;
        }
        self.gossip.rejections.told_at = Some(now);
        if let Some(notices) = self.gossip.rejections.told.due(from, meaning, now) {
            tracing::warn!(%from, notices, "a daemon that gossips to us is kept out: {meaning}");
        }
        self.send_datagram(from, notice.to_vec());
    }

    /// Takes in a notice. Says whether the datagram was one. A daemon that has joined is not kept out, whatever a notice says.
    pub(super) fn heard_notice(&mut self, datagram: &[u8], from: SocketAddr, now: Instant) -> bool {
        let Some((.., meaning)) = NOTICES.iter().find(|(_, notice, _)| *notice == datagram) else { return false };
        let last = self.gossip.rejections.notice.as_ref();
        if self.joining.joined || last.is_some_and(|(_, at)| now < *at + PERIOD) {
            return true;
        }
        let notice = format!("the daemon at {from} keeps us out: {meaning}");
        if let Some(notices) = self.gossip.rejections.heard.due(from, meaning, now) {
            tracing::warn!(notices, "{notice}");
        }
        // What that says of this daemon is published when it is judged what it waits for.
        let rejections = &mut self.gossip.rejections;
        rejections.notice = Some((notice, now));
        if rejections.asked.contains(&from) {
            rejections.refused_at = Some(now);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], n))
    }

    #[test]
    fn a_daemon_that_stays_is_logged_at_growing_distances_with_a_count() {
        let (start, mut lines) = (Instant::now(), Lines::default());
        let mut logged = Vec::new();
        for second in 0..200 {
            let now = start + Duration::from_secs(second);
            // Others take turns with it: that makes nothing of it new.
            lines.due(address(2), "b", now);
            if let Some(times) = lines.due(address(1), "a", now) {
                logged.push((second, times));
            }
        }
        assert_eq!(logged, [(0, 1), (1, 1), (3, 2), (7, 4), (15, 8), (31, 16), (63, 32), (123, 60), (183, 60)]);
        assert_eq!(lines.due(address(1), "b", start + Duration::from_secs(200)), Some(1), "another reason");
        assert_eq!(lines.due(address(1), "a", start + Duration::from_secs(400)), Some(1), "it had stopped");
    }

    #[test]
    fn addresses_without_end_do_not_fill_memory() {
        let (now, mut lines) = (Instant::now(), Lines::default());
        (0..1_000).for_each(|n| assert_eq!(lines.due(address(n), "a", now), Some(1)));
        assert_eq!(lines.0.len(), MAX_LINES);
    }
}
