//! The clients of one reactor: what they may do, and how their answers find them.

use slab::Slab;
use statemesh_mesh::delivery::batches::Batches;
use statemesh_protocol::call::Reply;
use statemesh_transport::{ConnId, Io};
use tokio::sync::oneshot;

use super::audit::Audit;
use super::context::ReplyTo;
use super::envelope::Envelopes;
use crate::access::{Admissions, ListenerAuths};
use crate::counters::Counters;

/// Clients that have a connection, and callers in this process.
pub(super) struct Clients {
    /// Who the clients and the subscribers are, where they are told apart.
    pub(super) admissions: Admissions,
    pub(super) audit: Audit,
    /// What stood in front of requests that are not answered yet.
    pub(super) envelopes: Envelopes,
    /// Arrays of requests that are not answered yet.
    pub(super) batches: Batches<ReplyTo>,
    callers: Slab<oneshot::Sender<Reply>>,
    connections: usize,
}

impl Clients {
    /// No clients. These lists say what each may do.
    pub(super) fn new(auth: &ListenerAuths) -> Self {
        Self {
            admissions: Admissions::new(auth),
            audit: Audit::default(),
            envelopes: Envelopes::default(),
            batches: Batches::default(),
            callers: Slab::new(),
            connections: 0,
        }
    }

    /// A client has connected.
    pub(super) fn opened(&mut self) {
        self.connections += 1;
    }

    /// A client is gone: what was kept to answer it goes.
    pub(super) fn closed(&mut self, conn: ConnId) {
        self.connections = self.connections.saturating_sub(1);
        self.batches.discard(|to| matches!(to, ReplyTo::Client { conn: of, .. } if *of == conn));
        self.envelopes.forget(conn);
    }

    /// A caller in this process waits for a reply.
    pub(super) fn called(&mut self, answer: oneshot::Sender<Reply>) -> ReplyTo {
        ReplyTo::Caller(self.callers.insert(answer))
    }

    /// Gives a caller its reply.
    pub(super) fn answer_caller(&mut self, caller: usize, reply: &[u8]) {
        if let Some(answer) = self.callers.try_remove(caller) {
            // The caller may have stopped waiting.
            let _ = answer.send(Reply::new(reply.to_vec()));
        }
    }

    /// The client's connection that a request came on.
    pub(super) fn asker(&self, reply_to: ReplyTo) -> Option<ConnId> {
        match reply_to {
            ReplyTo::Client { conn, .. } => Some(conn),
            ReplyTo::Batch { batch, .. } => self.asker(self.batches.reply_to(batch)?),
            ReplyTo::Nowhere { conn } => conn,
            ReplyTo::Peer { .. } | ReplyTo::Caller(_) | ReplyTo::Wait(_) => None,
        }
    }

    /// Does something to an open array, and says to its connection how many bytes are being made for it now.
    pub(super) fn count_array<T>(
        &mut self,
        batch: usize,
        io: &mut Io,
        act: impl FnOnce(&mut Batches<ReplyTo>) -> T,
    ) -> T {
        let (asker, before) = (self.batches.reply_to(batch), self.batches.bytes_of(batch));
        let done = act(&mut self.batches);
        let after = self.batches.bytes_of(batch);
        if let Some(ReplyTo::Client { conn, .. }) = asker
            && before != after
        {
            let withheld = (io.withheld(conn) + after).saturating_sub(before);
            io.withhold(conn, withheld);
        }
        done
    }

    /// Bytes of the replies of an array, with what its client has not taken yet and the replies of its other arrays.
    pub(super) fn array_owed(&self, batch: usize, io: &mut Io) -> usize {
        match self.batches.reply_to(batch) {
            Some(ReplyTo::Client { conn, .. }) => io.owed(conn),
            _ => self.batches.bytes_of(batch),
        }
    }

    /// Says how much it keeps.
    pub(super) fn gauges(&self, counters: &Counters) {
        counters.client_connections.set(self.connections);
        counters.open_arrays.set(self.batches.len());
        counters.array_bytes.set(self.batches.bytes());
        counters.envelopes.set(self.envelopes.len());
    }
}
