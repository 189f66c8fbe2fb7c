//! A second way to ask: a probe that is not answered in time goes again over the link between the two members, and is answered
//! there. foca asks other members to try; a mesh of two has none, and it helps little where datagrams are lost between all
//! members. memberlist falls back to TCP at the same moment for the same reason (`probeNode` in its `state.go`).

use std::net::SocketAddr;

use super::codec::{self, Probing};
use super::packet::Packet;

/// The probe that is under way.
#[derive(Debug, Default)]
pub(super) struct Probe {
    sent: Option<Ping>,
    answered: Option<Answered>,
}

/// How a probe was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    /// By way of another member: what is asked directly has not arrived, or its answer has not.
    ByAnother,
    /// By a datagram or by the link.
    Directly,
}

/// What came of a probe.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The member answered, or none was asked.
    Answered,
    /// It answered others alone.
    OutOfReach(Ping),
    /// No answer came.
    Unanswered(Ping),
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
        (self.sent, self.answered) = (ping, None);
    }

    /// This datagram of foca's came. Says whether it is the member's own answer; one to an earlier probe counts as none.
    pub(super) fn heard(&mut self, datagram: &[u8]) -> bool {
        let Some(number) = self.sent.as_ref().map(|ping| ping.number) else { return false };
        match codec::probing(datagram) {
            Some(Probing::Ack(to)) if to == number => self.answered = Some(Answered::Directly),
            Some(Probing::ForwardedAck(to)) if to == number => {
                _ = self.answered.get_or_insert(Answered::ByAnother);
                return false;
            }
            _ => return false,
        }
        true
    }

    /// The ping to this address, if no answer came.
    pub(super) fn unanswered(&self, to: SocketAddr) -> Option<&Ping> {
        self.sent.as_ref().filter(|ping| ping.to == to && self.answered.is_none())
    }

    /// What came of it; it is over.
    pub(super) fn end(&mut self) -> Outcome {
        match (self.sent.take(), self.answered.take()) {
            (Some(ping), None) => Outcome::Unanswered(ping),
            (Some(ping), Some(Answered::ByAnother)) => Outcome::OutOfReach(ping),
            (_, Some(Answered::Directly)) | (None, _) => Outcome::Answered,
        }
    }
}
