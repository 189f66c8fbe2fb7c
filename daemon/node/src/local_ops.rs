//! Ops that a daemon answers by itself: who is there, who owns what, which machines there are.

use std::collections::BTreeSet;

use statemesh_mesh::definitions;
use statemesh_protocol::hash;
use statemesh_protocol::reply::{Encoding, MapWriter, write_str, write_uint};
use statemesh_protocol::request::{Op, Refusal, Request};

use crate::directory::{Directory, DirectoryEntry};
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
        .bool("ready", view.joined && !view.leaving)
        .str("reason", &view.reason);
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
        .bool("leaving", member.leaving && member.status.is_live());
    map.end();
}

/// Members that are there, or that partitions are placed on, and of each partition the place of its member among them.
struct Placement<'a> {
    members: Vec<&'a DirectoryEntry>,
    map: Vec<usize>,
}

fn placement(view: &Directory) -> Placement<'_> {
    let used: BTreeSet<u16> = view.map().collect();
    let (mut members, mut places) = (Vec::new(), Vec::new());
    for (at, member) in view.members.iter().enumerate() {
        places.push(members.len());
        if member.status.is_live() || u16::try_from(at).is_ok_and(|at| used.contains(&at)) {
            members.push(member);
        }
    }
    let map = view.map().map(|at| places.get(usize::from(at)).copied().unwrap_or(members.len())).collect();
    Placement { members, map }
}

fn placement_map(reply: &mut MapWriter<'_>, shared: &Shared) {
    let view = shared.view();
    let Placement { members, map } = placement(&view);
    reply
        .str("mesh", &shared.options.mesh)
        .uint("partitions", u64::from(shared.options.partitions))
        .str("view", &format!("{:016x}", view.hash))
        .str("hash", hash::HASH_NAME)
        .list("owners", members.iter(), |out, encoding, member| write_str(out, encoding, &member.name))
        .list("clients", members.iter(), |out, encoding, member| {
            write_str(out, encoding, &member.listen.clients.to_string());
        })
        .list("map", map.into_iter(), |out, encoding, owner| write_uint(out, encoding, owner as u64))
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
        let revision = definitions::revision_of(version.number);
        if revision > 0 {
            map.uint("revision", revision);
        }
        map.end();
    });
    let view = shared.view();
    if !view.files_differing.is_empty() {
        reply.list("files_differing", view.files_differing.iter(), |out, encoding, machine| {
            write_str(out, encoding, machine);
        });
    }
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use statemesh_mesh::membership::Status;

    use super::*;
    use crate::options::Listen;

    #[test]
    fn placement_leaves_out_who_is_gone_unless_something_is_placed_there_still() {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let listen = Listen { clients: at, changes: at, peers: at, gossip: at, http: at };
        let member = |(name, status): (&str, Status)| DirectoryEntry {
            name: name.into(),
            number: 1,
            status,
            incarnation: 1,
            listen,
            partitions: 0,
            is_self: false,
            leaving: false,
        };
        let members = [("a", Status::Alive), ("b", Status::Left), ("c", Status::Dead), ("d", Status::Suspect)];
        let members = members.into_iter().map(member).collect();
        let view =
            Directory { members, owners: vec![0, 3, 3], serving: vec![None, Some(2), None], ..Directory::default() };
        let Placement { members, map } = placement(&view);
        assert_eq!(members.iter().map(|member| &*member.name).collect::<Vec<_>>(), ["a", "c", "d"]);
        assert_eq!(map, [0, 1, 2]);
    }
}
