//! The requests that most programs make, each with how its answer is read: what the blocking and the async client have in common.

use statemesh_protocol::reply::Encoding;
use statemesh_protocol::request::Op;
use statemesh_protocol::request_writer::{Ask, Event};

use crate::answers::{Defined, Instance, Member, Outcome, Reply, Whereabouts};

/// A request, and what its answer means.
pub(crate) struct Typed<'a, A> {
    pub(crate) ask: Ask<'a>,
    pub(crate) read: fn(Reply) -> A,
}

/// Sends an event to an instance.
pub(crate) fn send<'a>(encoding: Encoding, machine: &'a str, key: &'a str, event: Event<'a>) -> Typed<'a, Outcome> {
    let ask = Ask { event: Some(event), ..Ask::about(Op::Send, encoding, machine, key) };
    Typed { ask, read: |reply| Outcome::of(&reply.fields()) }
}

/// Creates an instance with an input, a whole value in `encoding`.
pub(crate) fn start<'a>(
    encoding: Encoding,
    machine: &'a str,
    key: &'a str,
    input: Option<&'a [u8]>,
) -> Typed<'a, Outcome> {
    Typed {
        ask: Ask { input, ..Ask::about(Op::Start, encoding, machine, key) },
        read: |reply| Outcome::of(&reply.fields()),
    }
}

/// Stops an instance.
pub(crate) fn stop<'a>(encoding: Encoding, machine: &'a str, key: &'a str) -> Typed<'a, Outcome> {
    Typed { ask: Ask::about(Op::Stop, encoding, machine, key), read: |reply| Outcome::of(&reply.fields()) }
}

/// Reads an instance whole.
pub(crate) fn get<'a>(encoding: Encoding, machine: &'a str, key: &'a str) -> Typed<'a, Instance> {
    Typed { ask: Ask::about(Op::Get, encoding, machine, key), read: |reply| Instance::of(&reply.fields()) }
}

/// Says which daemon serves a key.
pub(crate) fn whereabouts<'a>(encoding: Encoding, machine: &'a str, key: &'a str) -> Typed<'a, Whereabouts> {
    Typed { ask: Ask::about(Op::Where, encoding, machine, key), read: |reply| Whereabouts::of(&reply.fields()) }
}

/// Lists the daemons of the mesh.
pub(crate) fn members(encoding: Encoding) -> Typed<'static, Vec<Member>> {
    Typed { ask: Ask::new(Op::Members, encoding), read: |reply| Member::all(&reply.fields()) }
}

/// Gives a definition, as it is written, to every daemon of the mesh.
pub(crate) fn define(encoding: Encoding, definition: &[u8]) -> Typed<'_, Defined> {
    Typed {
        ask: Ask { definition: Some(definition), ..Ask::new(Op::Define, encoding) },
        read: |reply| Defined::of(&reply.fields()),
    }
}
