//! Arrays of requests, and the bound of what their replies take.

use statemesh_mesh::delivery::batches::End;
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::reply::{Encoding, write_error};
use statemesh_transport::Io;

use super::context::{Arrived, ReplyTo};
use super::envelope::Envelope;
use super::{Asked, Worker};

impl Worker {
    /// Runs the requests of an array, as long as their replies have room.
    pub(super) fn array(&mut self, requests: Vec<&[u8]>, encoding: Encoding, arrived: &Arrived, io: &mut Io) {
        let batch = self.clients.batches.begin(arrived.reply_to, encoding, requests.len());
        for (position, raw) in requests.into_iter().enumerate() {
            let reply_to = ReplyTo::Batch { batch, position };
            if Encoding::of(raw) != encoding {
                // No map, so no request; in JSON its first byte would be taken for MessagePack.
                self.refuse_malformed(encoding, reply_to, io);
            } else if self.array_is_full(batch, io) {
                self.refuse_in_array(raw, reply_to, io);
            } else {
                self.request(raw, &Arrived { reply_to, ..arrived.clone() }, io);
            }
        }
        if let Some(end) = self.clients.count_array(batch, io, |batches| batches.seal(batch)) {
            self.end_array(end, io);
        }
    }

    /// Sends the replies of an array, if there are any. They are large, so they are given away, not copied.
    fn end_array(&mut self, end: End<ReplyTo>, io: &mut Io) {
        let End { reply_to, replies } = end;
        let Some(replies) = replies else { return self.forget_reply(reply_to, io) };
        match reply_to {
            ReplyTo::Client { conn, envelope: Envelope::None } => _ = io.send_owned(conn, &[], replies),
            ReplyTo::Client { conn, envelope: Envelope::Delimiter } => _ = io.send_owned(conn, &[b""], replies),
            _ => self.deliver(reply_to, &replies, io),
        }
    }

    /// Notes the reply to a request of an array. One that comes late, when there is no room left, is left out.
    pub(super) fn reply_in_array(&mut self, batch: usize, position: usize, reply: &[u8], io: &mut Io) {
        let left = self.shared.options.limits.array_bytes.saturating_sub(self.clients.array_owed(batch, io));
        let is_small = reply.len() <= SMALL_REPLY_BYTES || self.clients.batches.bytes_of(batch) == 0;
        let done = if reply.len() > left && !is_small {
            self.counters.refused_array_bytes.add(1);
            self.clients.batches.fill(batch);
            let mut error = Vec::new();
            let message = "limits.array_bytes: the replies of this array are too large together; this one is left out";
            let hint = "send smaller arrays; with a dedup token, sending it again is harmless";
            write_error(&mut error, Encoding::of(reply), id_of(reply), ErrorCode::OutcomeUnknown, message, hint);
            self.clients.count_array(batch, io, |batches| batches.reply(batch, position, &error))
        } else {
            self.clients.count_array(batch, io, |batches| batches.reply(batch, position, reply))
        };
        if let Some(end) = done {
            self.end_array(end, io);
        }
    }

    /// Whether the replies of an array, and what its client has not taken yet, have reached their bound.
    pub(super) fn array_is_full(&mut self, batch: usize, io: &mut Io) -> bool {
        self.clients.batches.is_full(batch)
            || self.clients.array_owed(batch, io) >= self.shared.options.limits.array_bytes
    }

    pub(super) fn refuse_in_array(&mut self, raw: &[u8], reply_to: ReplyTo, io: &mut Io) {
        self.counters.refused_array_bytes.add(1);
        let limit = self.shared.options.limits.array_bytes;
        let message = format!("limits.array_bytes: the replies of this array have {limit} bytes");
        self.fail_raw(raw, reply_to, ErrorCode::LimitExceeded, &message, "send smaller arrays", io);
    }

    fn refuse_malformed(&mut self, encoding: Encoding, reply_to: ReplyTo, io: &mut Io) {
        self.counters.malformed.add(1);
        let asked = Asked { encoding, id: None, reply_to };
        let hint = "each element of an array is a request: a map";
        self.fail(asked, ErrorCode::BadRequest, "malformed request: no map", hint, io);
    }
}

/// A reply that is no larger is never left out: the word in its place would be as large.
pub(super) const SMALL_REPLY_BYTES: usize = 512;

/// The id in a reply, as it was sent.
fn id_of(reply: &[u8]) -> Option<&[u8]> {
    let map = match Encoding::of(reply) {
        Encoding::Json => statemesh_expr::Payload::Json(reply),
        Encoding::MsgPack => statemesh_expr::Payload::MsgPack(reply),
    };
    match map.get("id").ok()?? {
        statemesh_expr::Payload::Json(id) | statemesh_expr::Payload::MsgPack(id) => Some(id),
        _ => None,
    }
}
