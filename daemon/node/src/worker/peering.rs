//! What daemons say to each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statemesh_transport::{ConnId, Io, Message, Origin};

use super::{Greeted, Worker, number};
use crate::command::ToControl;
use crate::forward::ReplyTo;
use crate::peer_wire::PeerFrame;
use crate::shard::{Moved, Run, State};

/// Bytes of one part of a moving partition: large enough to be cheap, small enough to leave room for others.
const MOVE_BYTES: usize = 128 * 1024;

/// How long instances wait for their definitions, which come over the same link when two daemons meet.
const DEFINITIONS_PATIENCE: Duration = Duration::from_secs(5);

/// A part of a partition that moves here.
#[derive(Debug)]
pub(super) struct Arrived {
    from: u32,
    partition: u16,
    last: bool,
    /// Versions of definitions that the sender had.
    definitions: u32,
    instances: Box<[u8]>,
    until: Instant,
}

impl Worker {
    pub(super) fn peer_message(&mut self, conn: ConnId, origin: Origin, message: &Message, io: &mut Io) {
        let Some(frame) = message.part_slice(0).and_then(PeerFrame::decode) else {
            self.counters.protocol_errors.add(1);
            return io.close(conn);
        };
        match (frame, origin) {
            (PeerFrame::Hello { lane, greeting }, Origin::Accepted(_)) => self.greet_back(conn, lane, greeting, io),
            (PeerFrame::Hello { .. }, Origin::Opened(member)) => {
                let member = number(member);
                if self.peers.accepted(member, conn, io) && self.peers.is_control_lane() {
                    self.tell_control(ToControl::LinkTo { member, up: true });
                }
            }
            (PeerFrame::Refused(refusal), Origin::Opened(_)) => {
                // An empty refusal means "not yet".
                if !refusal.is_empty() {
                    self.counters.refused_peers.add(1);
                    self.tell_control(ToControl::Refused { refusal: refusal.to_vec() });
                }
                io.close(conn);
            }
            (PeerFrame::Reply(correlation, reply), Origin::Opened(_)) => self.answered(correlation, reply, io),
            (frame, Origin::Accepted(_)) => match self.greeted.get(&conn) {
                Some(&Greeted { member, .. }) => self.member_said(conn, member, &frame, io),
                // Nothing counts before the greeting.
                None => io.close(conn),
            },
            _ => io.close(conn),
        }
    }

    fn greet_back(&mut self, conn: ConnId, lane: u8, hello: &[u8], io: &mut Io) {
        let mut frame = Vec::new();
        match self.shared.judge(hello) {
            Ok(member) => {
                self.greeted.insert(conn, Greeted { member, lane });
                PeerFrame::Hello { lane, greeting: &self.shared.hello() }.encode(&mut frame);
                io.send(conn, &[&frame]);
                if lane == 0 {
                    self.tell_control(ToControl::LinkFrom { member, lane: (self.index, conn), up: true });
                }
            }
            Err(refusal) => {
                self.counters.refused_peers.add(u64::from(!refusal.is_empty()));
                PeerFrame::Refused(&refusal).encode(&mut frame);
                io.send(conn, &[&frame]);
                io.close(conn);
            }
        }
    }

    fn member_said(&mut self, conn: ConnId, member: u32, frame: &PeerFrame<'_>, io: &mut Io) {
        match *frame {
            PeerFrame::Forward(header, request) => {
                self.counters.forwards_received.add(1);
                let reply_to = ReplyTo::Peer { conn, correlation: header.correlation };
                self.request(request, reply_to, header.hops, io);
            }
            PeerFrame::Control(body) => self.tell_control(ToControl::FromMember { member, body: body.to_vec() }),
            PeerFrame::Roster(body) => self.tell_control(ToControl::Roster { member, body: body.to_vec() }),
            PeerFrame::Move { partition, last, definitions, instances } => {
                let until = self.now + DEFINITIONS_PATIENCE;
                let instances = instances.into();
                self.arrived(Arrived { from: member, partition, last, definitions, instances, until }, io);
            }
            _ => io.close(conn),
        }
    }

    /// Does something with a partition that the control plane decided. A reactor waits for nothing, but here it must: these
    /// things, and the parts of a move, have to stay in order. Whoever has the shard has it for microseconds.
    pub(super) fn with_shard<R>(
        &mut self,
        partition: u16,
        io: &mut Io,
        act: impl FnOnce(&mut State, &mut Run) -> R,
    ) -> R {
        let shared = Arc::clone(&self.shared);
        let shard = shared.shards.of(partition);
        let mut state = loop {
            if let Some(state) = shard.try_claim() {
                break state;
            }
            std::hint::spin_loop();
        };
        let result = act(&mut state, &mut self.run);
        drop(state);
        self.after_run(io);
        self.serve(shard.index(), io);
        result
    }

    /// Takes a part of a partition that moves here. One whose definitions have not arrived waits for them, and what belongs to
    /// the same partition waits behind it.
    fn arrived(&mut self, arrived: Arrived, io: &mut Io) {
        let waits = self.arrived.iter().any(|earlier| earlier.partition == arrived.partition);
        if waits || !self.knows_definitions(&arrived) {
            self.arrived.push_back(arrived);
        } else {
            self.install(arrived.from, arrived.partition, arrived.last, &arrived.instances, io);
        }
    }

    fn knows_definitions(&self, arrived: &Arrived) -> bool {
        // After a while the records are taken, and those without a definition are counted as rejected.
        let table = self.shared.machines.table();
        let all = |bytes| crate::transfer::definitions(bytes).all(|hash| table.by_hash(hash).is_some());
        self.now >= arrived.until || (table.versions() >= arrived.definitions && all(&arrived.instances))
    }

    /// Tries again what waits for definitions.
    pub(super) fn retry_arrived(&mut self, io: &mut Io) {
        for arrived in std::mem::take(&mut self.arrived) {
            self.arrived(arrived, io);
        }
    }

    /// Takes instances of a partition that moves here.
    fn install(&mut self, from: u32, partition: u16, last: bool, instances: &[u8], io: &mut Io) {
        let installed = self.with_shard(partition, io, |state, run| state.install(partition, instances, run));
        // Nobody expects them (any more): the sender will be told, or knows.
        let Some(installed) = installed else { return };
        self.counters.handoff_instances.add(installed.instances);
        self.counters.handoff_rejected.add(installed.rejected);
        self.counters.conflicts.add(installed.conflicts);
        if last {
            self.counters.handoffs_received.add(1);
            self.tell_control(ToControl::Installed { partition, from });
        }
    }

    /// Hands a partition over: from here on its events follow it on the same link.
    pub(super) fn transfer(&mut self, partition: u16, to: u32, io: &mut Io) {
        if !self.peers.is_ready(to) {
            // The link went before the partition could: the control plane is about to hear of it, and changes nothing.
            return;
        }
        let now = self.shared.clock.millis(self.now);
        let (Moved { instances, held }, parts) =
            self.with_shard(partition, io, |state, _| state.freeze(partition, MOVE_BYTES, now));
        if !held {
            return;
        }
        let definitions = self.shared.machines.table().versions();
        let count = parts.len();
        for (index, part) in parts.iter().enumerate() {
            let mut frame = Vec::with_capacity(part.len() + 4);
            PeerFrame::Move { partition, last: index + 1 == count, definitions, instances: part }.encode(&mut frame);
            self.peers.send(to, None, &frame, self.now, io);
        }
        self.counters.handoffs_sent.add(1);
        self.tell_control(ToControl::Transferred { partition, to, instances });
        self.route(partition, Some(to), io);
    }

    /// Closes every control link from and to a member.
    pub(super) fn unlink(&mut self, member: u32, io: &mut Io) {
        self.peers.close(member, io);
        for (&conn, greeted) in &self.greeted {
            if greeted.member == member && greeted.lane == 0 {
                io.close(conn);
            }
        }
    }

    pub(super) fn route(&mut self, partition: u16, to: Option<u32>, io: &mut Io) {
        if self.router.switch(partition, to) {
            self.unpark(partition, io);
        }
    }
}
