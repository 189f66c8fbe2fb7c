//! What threads tell each other: the one closed list for each direction. The rings are bounded; what does not fit waits
//! with its sender.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use statemesh_protocol::call::{Reply, Request};
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::place::Mark;
use statemesh_shard::Waiter;
use statemesh_transport::ConnId;
use tokio::sync::oneshot;

use statemesh_mesh::key_index::LostKey;
use statemesh_mesh::ownership::Winner;
use statemesh_protocol::peer::ownership::HandoffNumber;

/// Answers to requests that one reactor left in a shard's inbox, in their order.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    bytes: Vec<u8>,
    /// The number of each request, where its answer ends, and what it has to wait for.
    ends: Vec<(u64, usize, Option<Mark>)>,
}

impl Replies {
    /// Adds an answer, and what it has to wait for; an empty one if the request's partition is no longer here.
    pub(crate) fn add(&mut self, correlation: u64, mark: Option<Mark>, reply: &[u8]) {
        self.bytes.extend_from_slice(reply);
        self.ends.push((correlation, self.bytes.len(), mark));
    }

    /// Bytes of the answers.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no answer.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Number and answer of each request, and what it has to wait for.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[u8], Option<Mark>)> {
        let mut begin = 0;
        self.ends.iter().map(move |&(correlation, end, mark)| {
            let reply = self.bytes.get(begin..end).unwrap_or_default();
            begin = end;
            (correlation, reply, mark)
        })
    }
}

/// A control frame for a member that no reactor's request is to come behind.
#[derive(Debug)]
pub(crate) struct Behind {
    /// To whom.
    pub(crate) member: u32,
    /// The whole peer frame.
    pub(crate) frame: Vec<u8>,
    /// Reactors to which the member still owes an answer, or that have not looked.
    left: AtomicUsize,
}

impl Behind {
    /// A frame that so many reactors have to let go.
    pub(crate) fn new(member: u32, frame: Vec<u8>, reactors: usize) -> Self {
        Self { member, frame, left: AtomicUsize::new(reactors) }
    }

    /// The member owes this reactor nothing any more. Says whether it was the last one.
    pub(crate) fn let_go(&self) -> bool {
        self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// What a reactor is told, by another reactor or by the control plane.
#[derive(Debug)]
pub(crate) enum Command {
    /// The daemon is about to end: requests of clients are no longer passed on.
    Close,
    /// An instance has changed that a request waits for.
    Wake {
        /// The request.
        waiter: Waiter,
    },
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
        /// What is asked.
        request: Request,
        /// Takes the reply.
        answer: oneshot::Sender<Reply>,
    },
    /// A partition is served by this member; `None`: here.
    Route {
        /// Which partition.
        partition: u16,
        /// The member's number.
        to: Option<u32>,
    },
    /// All that was decided before is done: reactors may answer until then, in milliseconds of the daemon's clock.
    Lease {
        /// Until when.
        until_ms: u64,
        /// How many orders that end serving were given before.
        orders: u64,
    },
    /// No member is known to serve the partition: requests are parked.
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
        /// The number of a greeting that no process of it made: links greeted on before are its, and later ones the next one's.
        greeting: u64,
    },
    /// A control frame for a member.
    Send {
        /// To whom.
        member: u32,
        /// The whole peer frame.
        frame: Vec<u8>,
    },
    /// Keys for a standby, which wait behind nothing: what is told of a partition has an order of its own.
    SendKeys {
        /// To whom.
        member: u32,
        /// The whole peer frame.
        frame: Vec<u8>,
    },
    /// A control frame for a member, to be sent once it has answered all that the reactors passed on to it until they took this.
    SendBehind(Arc<Behind>),
    /// Hand a partition off: take nothing new for it, send it, and route to its new owner from then on.
    HandOff {
        /// Which partition.
        partition: u16,
        /// The hand-off's number.
        number: HandoffNumber,
        /// To whom.
        to: u32,
    },
    /// A member has opened a lane again, at another reactor: what came on the one before is discarded.
    Supersede {
        /// Its number.
        member: u32,
        /// The lane.
        lane: u8,
        /// The number of the new greeting.
        greeting: u64,
    },
    /// Nothing may be said to this member any more on the links that are open now, nor heard: new ones are opened.
    Unlink {
        /// Its number.
        member: u32,
    },
    /// Others may have taken this daemon for dead: requests that they passed on before they hear of it are refused.
    Doubt,
    /// Instances of this partition will arrive.
    Receive {
        /// Which partition.
        partition: u16,
        /// The hand-off's number.
        number: HandoffNumber,
        /// There is a copy here already: whose state of a key wins that both have.
        merge: Option<Winner>,
    },
    /// Neither answer for this partition nor fire its timers until something else is said of it.
    Suspend {
        /// Which partition.
        partition: u16,
    },
    /// What has arrived of this partition is discarded.
    Discard {
        /// Which partition.
        partition: u16,
    },
    /// The new holder has the partition: the kept copy goes.
    Release {
        /// Which partition.
        partition: u16,
    },
    /// The new holder is gone, or never got the partition: serve the kept copy again.
    Reopen {
        /// Which partition.
        partition: u16,
        /// Keys that were served elsewhere meanwhile, by one that died: they are lost, or older here.
        lost: Vec<LostKey>,
    },
    /// Keep a copy of this partition that has nothing but what is lost, and do not serve it.
    Mourn {
        /// Which partition.
        partition: u16,
        /// Keys whose instances went with a member that died.
        lost: Vec<LostKey>,
    },
    /// Serve this partition, empty.
    Adopt {
        /// Which partition.
        partition: u16,
        /// Keys whose instances went with its last owner.
        lost: Vec<LostKey>,
    },
    /// Serve what has arrived of this partition.
    Serve {
        /// Which partition.
        partition: u16,
    },
    /// Other clients are let in than before, or may do other things.
    ClientsChanged,
    /// Other keys than before count on links between daemons.
    PeerKeysChanged,
    /// End the loop, after what is queued has been written.
    Stop,
}

impl Command {
    /// The name of each kind.
    pub(crate) const NAMES: &'static [&'static str] = &[
        "close",
        "wake",
        "reply",
        "replies",
        "call",
        "route",
        "lease",
        "unroute",
        "member",
        "member-gone",
        "send",
        "send-keys",
        "send-behind",
        "hand-off",
        "supersede",
        "unlink",
        "doubt",
        "receive",
        "suspend",
        "discard",
        "release",
        "reopen",
        "mourn",
        "adopt",
        "serve",
        "clients-changed",
        "peer-keys-changed",
        "stop",
    ];

    /// The name of its kind.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Wake { .. } => "wake",
            Self::Reply { .. } => "reply",
            Self::Replies(_) => "replies",
            Self::Call { .. } => "call",
            Self::Route { .. } => "route",
            Self::Lease { .. } => "lease",
            Self::Unroute { .. } => "unroute",
            Self::Member { .. } => "member",
            Self::MemberGone { .. } => "member-gone",
            Self::Send { .. } => "send",
            Self::SendKeys { .. } => "send-keys",
            Self::SendBehind(_) => "send-behind",
            Self::HandOff { .. } => "hand-off",
            Self::Supersede { .. } => "supersede",
            Self::Unlink { .. } => "unlink",
            Self::Doubt => "doubt",
            Self::Receive { .. } => "receive",
            Self::Suspend { .. } => "suspend",
            Self::Discard { .. } => "discard",
            Self::Release { .. } => "release",
            Self::Reopen { .. } => "reopen",
            Self::Mourn { .. } => "mourn",
            Self::Adopt { .. } => "adopt",
            Self::Serve { .. } => "serve",
            Self::ClientsChanged => "clients-changed",
            Self::PeerKeysChanged => "peer-keys-changed",
            Self::Stop => "stop",
        }
    }
}

/// A connection that a member opened: the reactor that has it, and its name there.
pub type Lane = (usize, ConnId);

/// What reactors tell the control plane.
#[derive(Debug)]
pub enum ToControl {
    /// A client's request that changes something on every member (`define`).
    Request {
        /// The reactor that answers.
        reactor: usize,
        /// The number under which it waits.
        correlation: u64,
        /// The request, which the reactor keeps as well.
        request: Bytes,
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
    HandedOff {
        /// Which partition.
        partition: u16,
        /// The hand-off's number.
        number: HandoffNumber,
        /// To whom.
        to: u32,
        /// Instances in it.
        instances: usize,
    },
    /// A partition has arrived, whole.
    Received {
        /// Which partition.
        partition: u16,
        /// The hand-off's number.
        number: HandoffNumber,
        /// From whom.
        from: u32,
    },
    /// A partition has arrived, with instances that cannot be read: it must stay where it was.
    Unreadable {
        /// Which partition.
        partition: u16,
        /// The hand-off's number.
        number: HandoffNumber,
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
    /// Keys that exist at a member whose standby this daemon is.
    Keys {
        /// Who sent them.
        member: u32,
        /// They are those that it was told of, for partitions that this daemon is about to serve.
        relayed: bool,
        /// Its body.
        body: Vec<u8>,
    },
}

impl ToControl {
    /// The name of each kind.
    pub const NAMES: &'static [&'static str] = &[
        "request",
        "from-member",
        "refused",
        "handed-off",
        "received",
        "unreadable",
        "link-to",
        "link-from",
        "misrouted",
        "keys",
    ];

    /// The name of its kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Request { .. } => "request",
            Self::FromMember { .. } => "from-member",
            Self::Refused { .. } => "refused",
            Self::HandedOff { .. } => "handed-off",
            Self::Received { .. } => "received",
            Self::Unreadable { .. } => "unreadable",
            Self::LinkTo { .. } => "link-to",
            Self::LinkFrom { .. } => "link-from",
            Self::Misrouted { .. } => "misrouted",
            Self::Keys { .. } => "keys",
        }
    }
}

/// Messages that the control plane takes in before sockets and timers have their turn, and bytes of keys among them: a key costs
/// about a microsecond, and a daemon that serves has to look around some times a second.
const MESSAGES_PER_TURN: usize = 256;
const KEY_BYTES_PER_TURN: usize = 512 * 1024;

/// Bytes of a refusal that are kept: one of ours is shorter.
const REFUSAL_BYTES: usize = 1024;

impl ToControl {
    /// A daemon refused our greeting, for this reason.
    pub(crate) fn refused(refusal: &[u8]) -> Self {
        Self::Refused { refusal: refusal.get(..REFUSAL_BYTES).unwrap_or(refusal).to_vec() }
    }

    /// What it counts for in `limits.control_bytes`: what other daemons say has no other bound.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::FromMember { body, .. } | Self::Keys { body, .. } | Self::Refused { refusal: body } => {
                size_of::<Self>() + body.len()
            }
            _ => 0,
        }
    }

    /// What is taken in one turn of what is there.
    pub fn turn(mut next: impl FnMut() -> Option<Self>) -> Vec<Self> {
        let (mut messages, mut key_bytes) = (Vec::new(), 0);
        while messages.len() < MESSAGES_PER_TURN
            && key_bytes < KEY_BYTES_PER_TURN
            && let Some(message) = next()
        {
            if let Self::Keys { body, .. } = &message {
                key_bytes += body.len();
            }
            messages.push(message);
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_takes_so_many_messages_and_no_more_keys_than_it_can_take_in_at_once() {
        let keys = |len| ToControl::Keys { member: 1, relayed: false, body: vec![0; len] };
        let taken = |len| ToControl::turn(|| Some(keys(len))).len();
        assert_eq!((taken(0), taken(KEY_BYTES_PER_TURN / 4), taken(KEY_BYTES_PER_TURN)), (MESSAGES_PER_TURN, 4, 1));
        let mut two = vec![keys(1), keys(1)];
        assert_eq!(ToControl::turn(|| two.pop()).len(), 2);
    }

    #[test]
    fn a_refusal_is_cut_and_has_a_weight() {
        let weight = |len: usize| ToControl::refused(&vec![0; len]).weight();
        assert!(weight(1) > 0);
        assert_eq!(weight(1 << 20), weight(REFUSAL_BYTES));
    }

    #[test]
    fn each_answer_keeps_its_number() {
        let mut replies = Replies::default();
        for (correlation, text) in [(7, "one"), (3, ""), (9, "three")] {
            replies.add(correlation, None, text.as_bytes());
        }
        assert_eq!(replies.bytes(), 8);
        let all: Vec<(u64, &[u8])> = replies.iter().map(|(number, reply, _)| (number, reply)).collect();
        assert_eq!(all, [(7, &b"one"[..]), (3, b""), (9, b"three")]);
    }
}
