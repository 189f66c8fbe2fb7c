//! Ops that a daemon answers by itself: who is there, who owns what, which machines there are.

use statemesh_mesh::client_protocol::error::ErrorCode;
use statemesh_mesh::client_protocol::reply::{Encoding, MapWriter, write_str, write_uint};
use statemesh_mesh::client_protocol::request::{Op, Refusal, Request};
use statemesh_mesh::placement;

use crate::shard::write_json;
use crate::shared::Shared;
use crate::view::MemberView;

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
        Op::Instances => instances(&mut reply, request, shared)?,
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

fn member(out: &mut Vec<u8>, encoding: Encoding, member: &MemberView) {
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
        .str("hash", placement::HASH_NAME)
        .list("owners", view.members.iter(), |out, encoding, member| write_str(out, encoding, &member.name))
        .list("clients", view.members.iter(), |out, encoding, member| {
            write_str(out, encoding, &member.listen.clients.to_string());
        })
        .list("map", view.owners.iter(), |out, encoding, owner| write_uint(out, encoding, u64::from(*owner)));
}

fn machines(reply: &mut MapWriter<'_>, shared: &Shared) {
    let table = shared.machines.table();
    let counts = shared.shards.by_machine();
    reply.list("machines", table.current().into_iter(), |out, encoding, version| {
        let mut map = MapWriter::new(out, encoding);
        map.str("id", &version.name)
            .str("hash", &version.hash_hex())
            .uint("version", version.number)
            .uint("instances", counts.get(&*version.name).copied().unwrap_or(0));
        map.end();
    });
}

fn whereabouts(reply: &mut MapWriter<'_>, request: &Request<'_>, shared: &Shared) {
    let view = shared.view();
    let partition =
        placement::partition_of_hash(placement::key_hash(&request.machine, &request.key), shared.options.partitions);
    reply.uint("partition", u64::from(partition));
    match view.owner(partition) {
        Some(owner) => reply.str("owner", &owner.name).str("address", &owner.listen.clients.to_string()),
        None => reply.null("owner"),
    };
}

/// Instances of one answer to `instances`.
const PAGE: usize = 1_000;

fn instances<'a>(reply: &mut MapWriter<'_>, request: &Request<'a>, shared: &Shared) -> Result<(), Refusal<'a>> {
    if shared.machines.table().by_name(&request.machine).is_none() {
        return Err(Refusal::new(
            request.id,
            ErrorCode::UnknownMachine,
            format!("no machine \"{}\" is defined", request.machine),
            "`machines` lists those that are",
        ));
    }
    let limit = request.limit.map_or(100, |n| usize::try_from(n).unwrap_or(PAGE)).min(PAGE);
    let (page, next) = shared.shards.page(&request.machine, request.after.as_deref(), limit);
    reply.list("instances", page.iter(), |out, encoding, line| {
        let mut map = MapWriter::new(out, encoding);
        map.str("key", &line.key);
        map.with("value", |out, encoding| write_json(out, encoding, &line.value));
        map.str("status", line.status).uint("seq", line.seq);
        map.end();
    });
    match next {
        Some(key) => reply.str("next", &key),
        None => reply.null("next"),
    };
    Ok(())
}
