//! The node's answer to a request of client protocol 1, as the body of an HTTP answer. Its fields are passed on as they came: what
//! may be large is not decoded.

use crate::answer::{Answer, status_of};
use crate::room::Part;
use hyper::StatusCode;
use statemesh_protocol::reply::{Encoding, MapWriter};
use statemesh_protocol::reply_reader::Fields;

/// What is asked of the node.
#[derive(Debug, PartialEq)]
pub(crate) struct Question {
    /// In JSON.
    pub(crate) request: Vec<u8>,
    /// Only this field of the reply is shown.
    pub(crate) field: Option<&'static str>,
    /// The node answers once something has come about.
    pub(crate) waits: bool,
}

/// The answer for a reply; it is in `room` until it has been written.
pub(crate) fn answer(question: &Question, reply: Option<&[u8]>, room: Part) -> Answer {
    let Some(reply) = reply.and_then(|reply| Fields::read(reply).ok()) else {
        return unavailable();
    };
    let (status, field) = match reply.refused() {
        Some(refused) => (status_of(refused.code), None),
        None => (StatusCode::OK, question.field),
    };
    let mut body = Vec::new();
    match field {
        Some(field) => body.extend_from_slice(reply.raw(field).unwrap_or(b"null")),
        None => without_envelope(&reply, &mut body),
    }
    body.push(b'\n');
    if body.len() > room.bytes() {
        let bound = if question.waits { "it is waited for; ask without `until`" } else { "limits.output_bytes" };
        let message = format!("the answer has more than {} bytes ({bound})", room.bytes());
        return Answer::error(StatusCode::SERVICE_UNAVAILABLE, "output_too_large", &message);
    }
    Answer::json(status, room.hold(body))
}

/// The answer when the node gives none.
pub(crate) fn unavailable() -> Answer {
    Answer::error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the node does not answer; try again")
}

/// The answer when too many wait already.
pub(crate) fn crowded() -> Answer {
    let message = "as many requests wait with `until` as there may be; ask again in a moment";
    Answer::error(StatusCode::SERVICE_UNAVAILABLE, "limit_exceeded", message)
}

/// All fields but those that only the protocol needs.
fn without_envelope(reply: &Fields<'_>, body: &mut Vec<u8>) {
    let mut map = MapWriter::new(body, Encoding::Json);
    for (name, value) in reply.iter().filter(|(name, _)| !matches!(*name, "ok" | "id")) {
        map.raw(name, value);
    }
    map.end();
}
