//! Daemons that are broken on purpose: each mutant is one change of one place, as a developer might make it by mistake. A change of
//! such a place changes its mutant too: a test of this crate says which.

/// One place of the code, broken.
pub(crate) struct Mutant {
    /// What is wrong with it.
    pub(crate) name: &'static str,
    /// The file.
    pub(crate) file: &'static str,
    /// What stands there, once.
    pub(crate) from: &'static str,
    /// What the mutant has in its place.
    pub(crate) to: &'static str,
}

/// All mutants.
pub(crate) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "what arrived half is not thrown away",
        file: "daemon/shard/src/shards/moving.rs",
        from: "    fn clear(&mut self, partition: u16) {\n        self.take_all(partition);",
        to: "    fn clear(&mut self, partition: u16) {\n        let _ = partition;",
    },
    Mutant {
        name: "a lost key is published and not marked",
        file: "daemon/shard/src/shards/moving.rs",
        from: "        self.mark_lost(lost.partition, LostLife { hash, run: lost.run, tenure }, run);",
        to: "        let _ = hash;",
    },
    Mutant {
        name: "marks stay behind when a partition moves",
        file: "daemon/shard/src/shards/moving.rs",
        from: "            parts.add(&Record::Mark(image::KeyMark { hash, body: &body }));",
        to: "            let _ = (hash, &body);",
    },
    Mutant {
        name: "a partition is served before it has arrived",
        file: "daemon/shard/src/shards/moving.rs",
        from: "            self.clear(partition);\n            self.set_phase(partition, Phase::Receiving);",
        to: "            self.clear(partition);\n            self.set_phase(partition, Phase::Held);",
    },
    Mutant {
        name: "a copy that is reopened is not read back",
        file: "daemon/shard/src/shards/moving.rs",
        from: "        parts.iter().for_each(|part| _ = self.receive_records(partition, part, None, run));\n",
        to: "        drop(parts);\n",
    },
    Mutant {
        name: "a copy that was sent is taken up again in the tenure in which it was sent",
        file: "daemon/shard/src/shards/moving.rs",
        from: "        self.set_phase(partition, Phase::Suspended);\n        // Whatever is done or told from now on is in another copy than those that others have.\n        self.begin_tenure(partition, run);\n",
        to: "        self.set_phase(partition, Phase::Suspended);\n",
    },
    Mutant {
        name: "what could not be read is confirmed",
        file: "daemon/shard/src/shards/moving.rs",
        from: "        installed.refused = self.unread.iter().any(|of| of.partition == partition);",
        to: "        self.unread.retain(|of| of.partition != partition);",
    },
    Mutant {
        name: "timers of what arrives are not set",
        file: "daemon/shard/src/shards/moving.rs",
        from: "        self.arm(number);\n        if is_merge &&",
        to: "        if is_merge &&",
    },
    Mutant {
        name: "an instance is left out of what is handed over",
        file: "daemon/shard/src/shards/moving.rs",
        from: "        entries.iter().for_each(|(entry, trail)|",
        to: "        entries.iter().skip(1).for_each(|(entry, trail)|",
    },
    Mutant {
        name: "a client that does not take its answers is never read again",
        file: "mesh/transport/src/flow.rs",
        from: "            conn.gate.stalled = false;",
        to: "",
    },
    Mutant {
        name: "the kernel's bytes that follow a full read are forgotten",
        file: "mesh/transport/src/reactor/read.rs",
        from: "                if n < self.scratch.len() {",
        to: "                if n > 0 {",
    },
    Mutant {
        name: "an answer of another reactor's shard is swallowed",
        file: "daemon/node/src/worker/commands.rs",
        from: "Command::Replies(replies) => self.all_answered(&replies, io),",
        to: "Command::Replies(_) => {}",
    },
    Mutant {
        name: "ownership does not hear of deaths",
        file: "daemon/node/src/control/mesh.rs",
        from: "        self.own(ownership::Input::MemberDown { name: identity.name.clone(), left }, now);",
        to: "",
    },
    Mutant {
        name: "a token is not remembered",
        file: "daemon/shard/src/shards/ops.rs",
        from: "let known = match own.map_or(",
        to: "let known = match own.filter(|_| false).map_or(",
    },
    Mutant {
        name: "requests wait in the wrong order for their partition",
        file: "mesh/src/delivery/parked.rs",
        from: "            list.push_front(waiting);\n        } else if",
        to: "            list.push_back(waiting);\n        } else if",
    },
    Mutant {
        name: "an event is sent again whatever it does",
        file: "daemon/node/src/worker/forwarding.rs",
        from: "        Ok(request) if !request.op.changes() => Repeating::Harmless,",
        to: "        Ok(_) => Repeating::Harmless,",
    },
    Mutant {
        name: "the lease is given before what was ordered",
        file: "daemon/node/src/worker/orders.rs",
        from: "        self.partitions.deferred.lease = Some((until_ms, orders));\n        self.give_lease();",
        to: "        self.shared.lease.prolong(until_ms);",
    },
    Mutant {
        name: "who was paused serves on as if nothing had been",
        file: "daemon/node/src/control/mod.rs",
        from: "        if self.lease.is_over(now) {",
        to: "        if false && self.lease.is_over(now) {",
    },
    Mutant {
        name: "what is still to be read of an ended link is applied",
        file: "daemon/node/src/worker/peering.rs",
        from: "                self.supersede(member, lane, greeting, io);\n                let own",
        to: "                let own",
    },
    Mutant {
        name: "what waits of an ended link is applied",
        file: "daemon/node/src/worker/peering.rs",
        from: "        drop(self.delivery.withdraw(|waiting| came_on_it(waiting.rest.reply_to)));",
        to: "        let _ = came_on_it;",
    },
    Mutant {
        name: "who doubts applies what was passed on before",
        file: "daemon/node/src/worker/commands.rs",
        from: "            Command::Doubt => self.doubt(io),",
        to: "            Command::Doubt => {}",
    },
    Mutant {
        name: "one standby is enough",
        file: "mesh/src/key_index.rs",
        from: "pub const STANDBYS: usize = 2;",
        to: "pub const STANDBYS: usize = 1;",
    },
    Mutant {
        name: "what one standby did not hear to be removed is lost with its holder",
        file: "mesh/src/key_index/heard.rs",
        from: ".filter(move |(_, known)| !known.is_removed() && known.number >= until)",
        to: ".filter(move |(_, known)| !known.is_removed() || known.number < until)",
    },
    Mutant {
        name: "a leaving daemon goes before what was passed on to it is answered",
        file: "daemon/node/src/worker/orders.rs",
        from: ".extract_if(.., |one| !owes(one)).collect();",
        to: ".extract_if(.., |one| owes(one) || !owes(one)).collect();",
    },
    Mutant {
        name: "the links of a member's next process end with those of the last one",
        file: "daemon/node/src/worker/links.rs",
        from: "        let is_older = |greeted: &Greeted| greeted.member == member && greeted.greeting < greeting;",
        to: "        let is_older = |greeted: &Greeted| greeted.member == member && greeted.greeting < greeting + (1 << 40);",
    },
    Mutant {
        name: "a member that joins begins with the first one that it meets",
        file: "daemon/node/src/control/waiting.rs",
        from: "            (Met::Some { joined: true, .. } | Met::Nobody, _) | (_, None) => false,",
        to: "            (Met::Some { .. }, _) => return true,\n            (Met::Nobody, _) | (_, None) => false,",
    },
    Mutant {
        name: "the side that counted fewer members wins a merge",
        file: "mesh/src/ownership/sides.rs",
        from: "            std::cmp::Ordering::Greater => Self::Here,\n            std::cmp::Ordering::Less => Self::Coming,",
        to: "            std::cmp::Ordering::Greater => Self::Coming,\n            std::cmp::Ordering::Less => Self::Here,",
    },
    Mutant {
        name: "a request that was answered elsewhere is never freed",
        file: "daemon/node/src/worker/forwarding.rs",
        from: "        if is_large && !self.has_room(reply_to, reply.len(), io) {",
        to: "        std::mem::forget(waiting.request.clone());\n        if is_large && !self.has_room(reply_to, reply.len(), io) {",
    },
    Mutant {
        name: "a client is sent to who will serve its key",
        file: "daemon/node/src/worker/requests.rs",
        from: "        let Some(owner) = view.server(partition).filter(|server| !server.is_self) else {",
        to: "        let Some(owner) = view.next(partition) else {",
    },
    Mutant {
        name: "what was passed on by a link that has ended is applied",
        file: "daemon/node/src/worker/requests.rs",
        from: "        if self.shared.links.has_ended(&keyed.path) {",
        to: "        if keyed.hops > MAX_HOPS {",
    },
];
