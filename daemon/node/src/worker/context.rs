//! What belongs to one request, from where it comes in to where it is answered.

use std::sync::Arc;
use std::time::Instant;

use statemesh_mesh::delivery;
use statemesh_protocol::peer::frame::Path;
use statemesh_protocol::request::Request;
use statemesh_shard::{Begun, Clock, Stage, Stopwatch};
use statemesh_transport::{ConnId, Ticket};

use super::Asked;
use super::envelope::Envelope;
use crate::access::Client;

/// Where a reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyTo {
    /// A client's connection.
    Client {
        /// The connection.
        conn: ConnId,
        /// What stood in front of the request, and is given back.
        envelope: Envelope,
    },
    /// A place in a batch.
    Batch {
        /// The batch's number.
        batch: usize,
        /// Which of its requests.
        position: usize,
    },
    /// A daemon that passed the request on.
    Peer {
        /// Its link.
        conn: ConnId,
        /// What it calls the request.
        correlation: u64,
    },
    /// A caller in this process, e.g. an HTTP handler.
    Caller(usize),
    /// A request whose answer waits, or the question where its instance is.
    Wait(u64),
    /// Nowhere: the request was a `tell`.
    Nowhere {
        /// Its connection, if it has one.
        conn: Option<ConnId>,
    },
}

/// A request as it comes in, before anything is known of what it asks for.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    pub(super) reply_to: ReplyTo,
    /// How many daemons passed it on. Those have counted and judged it.
    pub(super) hops: u8,
    /// The links on which it came.
    pub(super) path: Path,
    pub(super) at: Instant,
    /// The client, where clients are told apart and this one may not do everything.
    pub(super) principal: Option<Arc<Client>>,
    /// [`Request::uncertain`].
    pub(super) uncertain: bool,
}

impl Arrived {
    /// Whether a client asks, and not a daemon that passes on what one asked for, or that asks after an instance for one that waits.
    pub(super) fn is_of_a_client(&self) -> bool {
        self.hops == 0 && !matches!(self.reply_to, ReplyTo::Wait(_))
    }

    /// From this process, or from a client that may do everything.
    pub(super) fn here(reply_to: ReplyTo, at: Instant) -> Self {
        Self { reply_to, hops: 0, path: Path::default(), at, principal: None, uncertain: false }
    }
}

/// What is needed to answer a request that waits.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) reply_to: ReplyTo,
    /// The links on which it came.
    pub(super) path: Path,
    /// Counts it against what its connection may have under way; a daemon's link carries many clients, and has no such bound.
    pub(super) _ticket: Option<Ticket>,
    /// Set if the request is timed.
    pub(super) timed: Option<Begun>,
}

/// A request that is parked, deferred or in flight.
pub(super) type Waiting = delivery::Waiting<Rest>;
/// A request that is deferred or in flight.
pub(super) type Pending = delivery::Pending<Rest>;

/// A request about one key, and what belongs to it.
pub(super) struct Keyed<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) raw: &'a [u8],
    pub(super) hash: u64,
    pub(super) partition: u16,
    pub(super) hops: u8,
    pub(super) path: Path,
    pub(super) reply_to: ReplyTo,
    pub(super) arrived_at: Instant,
    /// Runs if the request is timed.
    pub(super) watch: Option<Stopwatch>,
    /// Set if it has waited.
    pub(super) kept: Option<Waiting>,
}

/// The partition of requests that have none: the router knows nothing of it.
pub(super) const NO_PARTITION: u16 = u16::MAX;

impl<'a> Keyed<'a> {
    /// A request about no key in particular, which the control plane or another member will answer.
    pub(super) fn without_key(request: &'a Request<'a>, raw: &'a [u8], reply_to: ReplyTo, now: Instant) -> Self {
        let (partition, hash, hops, path, watch, kept) = (NO_PARTITION, 0, 0, Path::default(), None, None);
        Self { request, raw, hash, partition, hops, path, reply_to, arrived_at: now, watch, kept }
    }

    /// Who asked, and how the answer must look.
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked { encoding: self.request.encoding, id: self.request.id, reply_to: self.reply_to }
    }

    /// A stage of the request has ended.
    pub(super) fn lap(&mut self, stage: Stage, clock: &Clock) {
        if let Some(watch) = &mut self.watch {
            watch.lap(stage, clock.now());
        }
    }
}
