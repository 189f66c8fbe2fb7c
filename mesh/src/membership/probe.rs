//! A second way to ask: a probe that is not answered in time goes again over the link between the two members, and is answered
//! there. foca asks others to try, which nobody can among two, and which helps little where datagrams are lost between all.
//! memberlist falls back to TCP at the same moment for the same reason (`probeNode` in its `state.go`).

use std::net::SocketAddr;

use super::codec;

/// The probe that is under way, until it is answered.
#[derive(Debug, Default)]
pub(super) struct Probe {
    sent: Option<Ping>,
}

/// A ping as it was sent.
#[derive(Debug, Clone)]
pub(super) struct Ping {
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

impl Probe {
    /// foca has sent this ping.
    pub(super) fn begin(&mut self, ping: Ping) {
        self.sent = Some(ping);
    }

    /// This datagram of foca's came. An answer ends the probe.
    pub(super) fn heard(&mut self, datagram: &[u8]) {
        if self.sent.is_some() && codec::is_ack(datagram) {
            self.sent = None;
        }
    }

    /// The ping, if no answer came.
    pub(super) fn unanswered(&self) -> Option<Ping> {
        self.sent.clone()
    }
}
