//! A second way to ask: a probe that is not answered in time goes again over the link between the two members, and is answered
//! there. foca asks other members to try; a mesh of two has none, and it helps little where datagrams are lost between all
//! members. memberlist falls back to TCP at the same moment for the same reason (`probeNode` in its `state.go`).

use std::net::SocketAddr;

use super::codec::{self, Probing};
use super::packet::Packet;

/// The probe that is under way, until it is answered.
#[derive(Debug, Default)]
pub(super) struct Probe {
    sent: Option<Ping>,
}

/// A ping as it was sent.
#[derive(Debug)]
pub(super) struct Ping {
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
    number: u8,
}

impl Ping {
    /// The ping that these bytes are, if they are one.
    pub(super) fn read(to: SocketAddr, bytes: &[u8]) -> Option<Self> {
        let Ok(Packet::Swim(datagram)) = Packet::decode(bytes) else { return None };
        let Some(Probing::Ping(number)) = codec::probing(datagram) else { return None };
        Some(Self { to, bytes: bytes.to_vec(), number })
    }
}

impl Probe {
    /// foca has sent this ping, or none.
    pub(super) fn begin(&mut self, ping: Option<Ping>) {
        self.sent = ping;
    }

    /// This datagram of foca's came. An answer ends the probe; one to an earlier probe does not.
    pub(super) fn heard(&mut self, datagram: &[u8]) {
        self.sent.take_if(|ping| codec::probing(datagram) == Some(Probing::Ack(ping.number)));
    }

    /// The ping to this address, if no answer came.
    pub(super) fn unanswered(&self, to: SocketAddr) -> Option<&Ping> {
        self.sent.as_ref().filter(|ping| ping.to == to)
    }

    /// The ping, if no answer came; it is over.
    pub(super) fn end(&mut self) -> Option<Ping> {
        self.sent.take()
    }
}
