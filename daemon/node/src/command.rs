//! What threads tell each other: the one closed list for each direction. The rings are bounded; what does not fit waits
//! with its sender.

use std::net::SocketAddr;
use std::sync::Arc;

use statemesh_mesh::client_protocol::error::ErrorCode;
use statemesh_transport::ConnId;
use tokio::sync::oneshot;

use crate::shard::Fresh;
use crate::subscribers::Change;

/// Answers to requests that one reactor left in a shard's inbox, in their order.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    bytes: Vec<u8>,
    /// The answer that is being written.
    scratch: Vec<u8>,
    /// The number of each request, and where its answer ends.
    ends: Vec<(u64, usize)>,
}

impl Replies {
    /// Adds an answer that `write` writes into what is empty; nothing if the request's partition is no longer here.
    pub(crate) fn add(&mut self, correlation: u64, write: impl FnOnce(&mut Vec<u8>)) {
        self.scratch.clear();
        write(&mut self.scratch);
        self.bytes.extend_from_slice(&self.scratch);
        self.ends.push((correlation, self.bytes.len()));
    }

    /// Number and answer of each request.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut begin = 0;
        self.ends.iter().map(move |&(correlation, end)| {
            let reply = self.bytes.get(begin..end).unwrap_or_default();
            begin = end;
            (correlation, reply)
        })
    }
}

/// What a reactor is told, by another reactor or by the control plane.
#[derive(Debug)]
pub(crate) enum Command {
    /// The answer to a request that this reactor gave to the control plane.
    Reply {
        /// Its number.
        correlation: u64,
        /// The whole reply.
        reply: Vec<u8>,
        /// The error that it tells, to be counted.
        error: Option<ErrorCode>,
    },
    /// The answers to requests that this reactor left in a shard's inbox.
    Replies(Replies),
    /// A request from within the process.
    Call {
        /// In JSON or MessagePack, as a client would send it.
        request: Vec<u8>,
        /// Takes the reply.
        answer: oneshot::Sender<Vec<u8>>,
    },
    /// A partition is served by this member; `None`: here.
    Route {
        /// Which partition.
        partition: u16,
        /// The member's number.
        to: Option<u32>,
    },
    /// Nobody is known to serve the partition: requests wait.
    Unroute {
        /// Which partition.
        partition: u16,
    },
    /// A member, new or at a new address.
    Member {
        /// Its number in this process.
        member: u32,
        /// Where its peer link listens.
        address: SocketAddr,
    },
    /// A member that is dead or has left.
    MemberGone {
        /// Its number.
        member: u32,
    },
    /// A control frame for a member.
    Send {
        /// To whom.
        member: u32,
        /// The whole peer frame.
        frame: Vec<u8>,
    },
    /// Hand a partition over: freeze it, send it, and route to its new owner from then on.
    Transfer {
        /// Which partition.
        partition: u16,
        /// To whom.
        to: u32,
    },
    /// Nothing may be said to this member any more on the links that are open now, nor heard: new ones are opened.
    Unlink {
        /// Its number.
        member: u32,
    },
    /// Instances of this partition will arrive.
    Expect {
        /// Which partition.
        partition: u16,
        /// It is served here already: for each key the higher seq wins.
        merge: bool,
    },
    /// What has arrived of this partition is void.
    Discard {
        /// Which partition.
        partition: u16,
    },
    /// The new holder has the partition: the kept copy goes.
    Forget {
        /// Which partition.
        partition: u16,
    },
    /// The new holder is gone, or never got the partition: serve the kept copy again.
    TakeBack {
        /// Which partition.
        partition: u16,
    },
    /// Serve this partition, empty.
    TakeOver {
        /// Which partition.
        partition: u16,
        /// Keys whose instances went with its last owner.
        lost: Vec<Fresh>,
    },
    /// Serve what has arrived of this partition.
    Serve {
        /// Which partition.
        partition: u16,
    },
    /// A change for this reactor's subscribers.
    Publish(Arc<Change>),
    /// Other clients are let in than before, or may do other things.
    ClientsChanged,
    /// Other keys than before count on links between daemons.
    PeerKeysChanged,
    /// End the loop, after what is queued has been written.
    Stop,
}

/// A connection that a member opened: the reactor that has it, and its name there.
pub(crate) type Lane = (usize, ConnId);

/// What reactors tell the control plane.
#[derive(Debug)]
pub(crate) enum ToControl {
    /// A client's request that changes something on every member (`define`).
    Request {
        /// The reactor that answers.
        reactor: usize,
        /// The number under which it waits.
        correlation: u64,
        /// The request.
        request: Vec<u8>,
    },
    /// A control frame from a member.
    FromMember {
        /// Who sent it.
        member: u32,
        /// Its body.
        body: Vec<u8>,
    },
    /// A daemon refused our greeting.
    Refused {
        /// Its reason.
        refusal: Vec<u8>,
    },
    /// The last part of a partition is on its way.
    Transferred {
        /// Which partition.
        partition: u16,
        /// To whom.
        to: u32,
        /// Instances in it.
        instances: usize,
    },
    /// A partition has arrived, whole.
    Installed {
        /// Which partition.
        partition: u16,
        /// From whom.
        from: u32,
    },
    /// Our link to a member is ready, or gone.
    LinkTo {
        /// The member.
        member: u32,
        /// Whether it is ready.
        up: bool,
    },
    /// A member's link to us is greeted, or gone.
    LinkFrom {
        /// The member.
        member: u32,
        /// Which one.
        lane: Lane,
        /// Whether it is greeted.
        up: bool,
    },
    /// A member forwarded an event for a partition that is not here.
    Misrouted {
        /// The partition.
        partition: u16,
        /// The member.
        member: u32,
    },
    /// Keys that exist at a member for whose partitions this daemon is next in line.
    Roster {
        /// Who sent it.
        member: u32,
        /// Its body.
        body: Vec<u8>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_written_by_itself_and_keeps_its_number() {
        let mut replies = Replies::default();
        for (correlation, text) in [(7, "one"), (3, ""), (9, "three")] {
            replies.add(correlation, |reply| {
                assert!(reply.is_empty());
                reply.extend_from_slice(text.as_bytes());
            });
        }
        let all: Vec<(u64, &[u8])> = replies.iter().collect();
        assert_eq!(all, [(7, &b"one"[..]), (3, b""), (9, b"three")]);
    }
}
