//! Daemons that gossip to the wrong mesh, or under the wrong key, are told so: otherwise they would only meet silence.
//!
//! A notice is no proof of anything, as anybody could send one: it is logged and shown, and changes nothing else. It is
//! shorter than what it answers, and at most one is sent in a second, so that it is of no use for flooding others.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use statemesh_mesh::gossip::Dropped;

use super::Control;

/// Time between two notices.
const PERIOD: Duration = Duration::from_secs(1);

/// What a notice says on the wire, and what it means to its reader.
const NOTICES: [(Dropped, &[u8], &str); 2] = [
    (
        Dropped::OtherMesh,
        b"statemesh 1 other-mesh",
        "it belongs to a mesh with another name or partition count (mesh.name, mesh.partitions)",
    ),
    (Dropped::WrongKey, b"statemesh 1 wrong-key", "its gossip keys are others than ours (gossip.keys)"),
];

/// What was heard from, and said to, gossip_rejections.
#[derive(Debug, Default)]
pub(super) struct GossipRejections {
    told_at: Option<Instant>,
    /// What the last notice said.
    pub(super) notice: Option<String>,
}

impl Control {
    /// A datagram was dropped: tells its sender why, if that is what it needs to know.
    pub(super) fn tell_rejected(&mut self, reason: Dropped, from: SocketAddr, now: Instant) {
        let Some((_, notice, meaning)) = NOTICES.iter().find(|(dropped, ..)| *dropped == reason) else { return };
        if self.gossip_rejections.told_at.is_some_and(|at| now < at + PERIOD) {
            return;
        }
        self.gossip_rejections.told_at = Some(now);
        tracing::warn!(%from, "a daemon that gossips to us is kept out: {meaning}");
        self.send_datagram(from, notice.to_vec());
    }

    /// Takes in a notice. Says whether the datagram was one.
    pub(super) fn heard_notice(&mut self, datagram: &[u8], from: SocketAddr) -> bool {
        let Some((.., meaning)) = NOTICES.iter().find(|(_, notice, _)| *notice == datagram) else { return false };
        let notice = format!("the daemon at {from} keeps us out: {meaning}");
        if self.gossip_rejections.notice.as_ref() != Some(&notice) {
            tracing::warn!("{notice}");
            self.gossip_rejections.notice = Some(notice);
            self.stale = true;
        }
        true
    }
}
