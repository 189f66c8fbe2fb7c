//! Daemons that gossip to the wrong mesh, or under the wrong key, are told so: otherwise they would only meet silence.
//!
//! A notice is no proof of anything, as anybody could send one: it is logged and shown, and changes nothing else. It is
//! shorter than what it answers, and at most one is sent in a second, so that it is of no use for flooding others.

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
}

impl GossipRejections {
    /// What was said of late to this daemon by one that keeps it out.
    pub(super) fn notice(&self, now: Instant) -> Option<&String> {
        self.notice.as_ref().filter(|(_, at)| now < *at + COUNTS_FOR).map(|(notice, _)| notice)
    }

    /// What was said of other keys than those of now does not count.
    pub(super) fn forget_notice(&mut self) {
        self.notice = None;
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
        self.gossip.rejections.notice = Some((notice, now));
        true
    }
}
