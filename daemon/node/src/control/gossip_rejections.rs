//! Daemons that gossip to the wrong mesh, or under the wrong key, are told so: otherwise they would only meet silence.
//!
//! A notice is no proof of anything, as anybody could send one: it is logged and shown, and changes nothing else, but that a daemon is not
//! alone while one counts that came from where it was told to ask. It is shorter than what it answers, and at most one is sent in a second,
//! so that it is of no use for flooding others.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use statemesh_mesh::gossip::Dropped;

use super::Control;

/// Time between two notices, those that are sent and those that are heard alike: anybody can send any number of them.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a notice counts. A daemon that is kept out is told so again by the next datagram that it sends.
const COUNTS_FOR: Duration = Duration::from_secs(15);

/// What a notice says on the wire, and what it means to its reader.
const NOTICES: [(Dropped, &[u8], &str); 2] = [
    (
        Dropped::OtherMesh,
        b"statemesh 1 other-mesh",
        "it belongs to a mesh with another name or partition count (mesh.name, mesh.partitions)",
    ),
    (Dropped::WrongKey, b"statemesh 1 wrong-key", "its gossip keys are others than ours (gossip.keys)"),
];

/// The notices that were sent and heard.
#[derive(Debug, Default)]
pub(super) struct GossipRejections {
    told_at: Option<Instant>,
    /// What the last notice said, and when it came.
    notice: Option<(String, Instant)>,
    /// The addresses that discovery named last, and when a notice came from one that it named.
    asked: BTreeSet<SocketAddr>,
    refused_at: Option<Instant>,
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
        tracing::warn!(%from, "a daemon that gossips to us is kept out: {meaning}");
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
        if self.gossip.rejections.notice(now) != Some(&notice) {
            tracing::warn!("{notice}");
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
