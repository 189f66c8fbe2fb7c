//! The node's answer to a request of client protocol 1, as the body of an HTTP answer. Its fields are passed on as they came: what
//! may be large is not decoded.

use crate::answer::{Answer, Code};
use crate::room::Part;
use hyper::StatusCode;
use statemesh_node::CallError;
use statemesh_protocol::call::{Reply, Request};
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::reply::{Encoding, MapWriter};
use statemesh_protocol::reply_reader::Fields;

/// What is asked of the node.
#[derive(Debug, PartialEq)]
pub(crate) struct Question {
    /// In JSON.
    pub(crate) request: Request,
    /// Only this field of the reply is shown.
    pub(crate) field: Option<&'static str>,
    /// The node answers once something has come about.
    pub(crate) waits: bool,
}

/// What to do about a fault of the daemon.
pub(crate) const REPORT: &str = "please report it with the daemon's log";

/// The answer for a reply, of which only `field` is shown if one is named; it is in `room` until it has been written. `waits`: it was
/// waited for, and the room is a small one.
pub(crate) fn answer(reply: &Reply, field: Option<&str>, waits: bool, room: Part) -> Answer {
    let reply = match reply.fields() {
        Ok(reply) => reply,
        Err(error) => {
            let message = format!("the node's reply cannot be read: {error}");
            return Answer::error(ErrorCode::Internal, &message, REPORT);
        }
    };
    let (status, field) = match reply.refused() {
        // A code that this version does not know is one to try again with.
        Some(refused) => (refused.code.map_or(StatusCode::SERVICE_UNAVAILABLE, |code| Code::Node(code).status()), None),
        None => (StatusCode::OK, field),
    };
    let mut body = Vec::new();
    match field {
        Some(field) => body.extend_from_slice(reply.raw(field).unwrap_or(b"null")),
        None => content(&reply, &mut body),
    }
    body.push(b'\n');
    if body.len() > room.bytes() {
        let (bound, hint) = match waits {
            true => ("it is waited for", "ask without `until`"),
            false => ("limits.output_bytes", "ask for less, or raise limits.output_bytes"),
        };
        let message = format!("the answer has more than {} bytes ({bound})", room.bytes());
        return Answer::error(ErrorCode::OutputTooLarge, &message, hint);
    }
    Answer::json(status, room.hold(body))
}

/// The answer when the node gives none.
pub(crate) fn unanswered(error: &CallError) -> Answer {
    let hint = match error {
        CallError::Busy | CallError::Timeout => "ask again in a moment",
        CallError::Ending => "ask another daemon",
    };
    Answer::error(error.code(), &error.to_string(), hint)
}

/// The answer when too many wait already.
pub(crate) fn crowded() -> Answer {
    let message = "as many requests wait with `until` as there may be";
    Answer::error(ErrorCode::LimitExceeded, message, "ask again in a moment")
}

/// All fields but those that only the protocol needs.
fn content(reply: &Fields<'_>, body: &mut Vec<u8>) {
    let mut map = MapWriter::new(body, Encoding::Json);
    for (name, value) in reply.content() {
        map.raw(name, value);
    }
    map.end();
}
