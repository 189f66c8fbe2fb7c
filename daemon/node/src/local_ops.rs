//! Ops that a daemon answers by itself: who is there, who owns what, which machines there are.

use statemesh_mesh::definitions;
use statemesh_protocol::hash;
use statemesh_protocol::reply::{Encoding, MapWriter, write_str, write_uint};
use statemesh_protocol::request::{Op, Refusal, Request};

use crate::directory::DirectoryEntry;
use crate::shared::Shared;

/// Appends the reply.
///
/// # Errors
/// The request misses something, or names a machine that does not exist.
pub(crate) fn answer<'a>(request: &Request<'a>, shared: &Shared, out: &mut Vec<u8>) -> Result<(), Refusal<'a>> {
    let mut reply = MapWriter::new(out, request.encoding);
    if let Some(id) = request.id {
        reply.raw("id", id);
    }
    reply.bool("ok", true);
    match request.op {
        Op::Members => members(&mut reply, shared),
        Op::Placement => placement_map(&mut reply, shared),
        Op::Machines => machines(&mut reply, shared),
        Op::Where => whereabouts(&mut reply, request, shared),
        _ => ping(&mut reply, shared),
    }
    reply.end();
    Ok(())
}

fn ping(reply: &mut MapWriter<'_>, shared: &Shared) {
    let view = shared.view();
    reply
        .str("name", &shared.options.name)
        .str("mesh", &shared.options.mesh)
        .str("version", env!("CARGO_PKG_VERSION"))
        .uint("protocol", 1)
        .bool("ready", view.joined && !view.leaving);
}

fn members(reply: &mut MapWriter<'_>, shared: &Shared) {
    let view = shared.view();
    reply.list("members", view.members.iter(), member);
}

fn member(out: &mut Vec<u8>, encoding: Encoding, member: &DirectoryEntry) {
    let mut map = MapWriter::new(out, encoding);
    map.str("name", &member.name)
        .str("status", member.status.as_str())
        .uint("incarnation", member.incarnation)
        .str("address", &member.listen.clients.ip().to_string())
        .str("clients", &member.listen.clients.to_string())
        .str("changes", &member.listen.changes.to_string())
        .str("peers", &member.listen.peers.to_string())
        .str("gossip", &member.listen.gossip.to_string())
        .str("http", &member.listen.http.to_string())
        .uint("partitions", member.partitions as u64)
        .bool("self", member.is_self)
        .bool("leaving", member.leaving);
    map.end();
}

fn placement_map(reply: &mut MapWriter<'_>, shared: &Shared) {
    let view = shared.view();
    reply
        .str("mesh", &shared.options.mesh)
        .uint("partitions", u64::from(shared.options.partitions))
        .str("view", &format!("{:016x}", view.hash))
        .str("hash", hash::HASH_NAME)
        .list("owners", view.members.iter(), |out, encoding, member| write_str(out, encoding, &member.name))
        .list("clients", view.members.iter(), |out, encoding, member| {
            write_str(out, encoding, &member.listen.clients.to_string());
        })
        .list("map", view.map(), |out, encoding, owner| write_uint(out, encoding, u64::from(owner)))
        .list("moving", view.moving().into_iter(), |out, encoding, partition| {
            write_uint(out, encoding, partition as u64);
        });
}

fn machines(reply: &mut MapWriter<'_>, shared: &Shared) {
    let table = shared.machines.table();
    reply.list("machines", table.current().into_iter(), |out, encoding, version| {
        let mut map = MapWriter::new(out, encoding);
        map.str("id", &version.name)
            .str("hash", &version.hash_hex())
            .uint("version", definitions::count_of(version.number))
            .uint("instances", version.instances());
        map.end();
    });
}

fn whereabouts(reply: &mut MapWriter<'_>, request: &Request<'_>, shared: &Shared) {
    let view = shared.view();
    let partition = hash::partition_of_hash(hash::key_hash(&request.machine, &request.key), shared.options.partitions);
    reply.uint("partition", u64::from(partition));
    // The answer does not wait for a move: who asks wants to know how things are, and where to go.
    let (owner, next) = (view.server(partition), view.next(partition));
    match (owner, next) {
        (Some(owner), _) => reply.str("owner", &owner.name),
        (None, Some(next)) => reply.null("owner").str("next", &next.name),
        (None, None) => reply.null("owner").null("next"),
    };
    if let Some(member) = owner.or(next) {
        reply.str("address", &member.listen.clients.to_string());
    }
}
