//! What daemons say to each other.

use std::time::{Duration, Instant};

use statemesh_transport::{ConnId, Io, Message, Origin};

use super::context::{Arrived, ReplyTo, Waiting};
use super::leaving::HandOff;
use super::links::Greeted;
use super::{Worker, number};
use crate::limits::PEER_HEADER_BYTES;
use crate::mailbox::{Command, ToControl};
use crate::peers::say;
use crate::shared::Shared;
use statemesh_mesh::delivery::arrivals;
use statemesh_protocol::peer::frame::{LinkId, PeerFrame};
use statemesh_protocol::peer::ownership::HandoffNumber;
use statemesh_shard::{HandedOff, State};

/// Bytes of one part of a moving partition: large enough to be cheap, small enough to leave room for others.
const HAND_OFF_BYTES: usize = 128 * 1024;

/// How long instances wait for their definitions, which come over the same link when two daemons meet.
const DEFINITIONS_PATIENCE: Duration = Duration::from_secs(5);

/// A part of a partition that moves here.
pub(super) type Part = arrivals::Part<ConnId>;

impl Worker {
    pub(super) fn peer_message(&mut self, conn: ConnId, origin: Origin, message: &Message, io: &mut Io) {
        let Some(frame) = message.part_slice(0).and_then(PeerFrame::decode) else {
            self.counters.protocol_errors.add(1);
            return io.close(conn);
        };
        match (frame, origin) {
            (PeerFrame::Hello { lane, link, greeting }, Origin::Accepted(_)) => {
                self.greet_back(conn, lane, link, greeting, io);
            }
            (PeerFrame::Hello { .. }, Origin::Opened(member)) => {
                let member = number(member);
                let is_new = self.links.to.accepted(member, conn, io);
                self.delivery.look_again_at(member);
                if is_new && self.links.to.is_control_lane() {
                    self.tell_control(ToControl::LinkTo { member, up: true });
                }
            }
            (PeerFrame::Refused(refusal), Origin::Opened(_)) => {
                // An empty refusal means "not yet".
                if !refusal.is_empty() {
                    self.counters.refused_peers.add(1);
                    self.pass_to_control_plane(conn, ToControl::refused(refusal), io);
                }
                io.close(conn);
            }
            // No daemon answers with nothing: what waits behind such a request would wait for ever.
            (PeerFrame::Reply(_, []), Origin::Opened(_)) => {
                self.counters.protocol_errors.add(1);
                io.close(conn);
            }
            (PeerFrame::Reply(correlation, reply), Origin::Opened(_)) => self.answered(correlation, reply, io),
            (PeerFrame::Unsaid(correlation), Origin::Opened(_)) => self.unsaid(correlation, io),
            (PeerFrame::Ended(links), Origin::Opened(_)) => self.ended_beyond(&links, io),
            (PeerFrame::Fence(number), Origin::Opened(_)) => say(conn, &PeerFrame::Fence(number), io),
            (frame, Origin::Accepted(_)) => match self.links.from.get(conn) {
                // What is still read of a link that was ended is discarded.
                Some(Greeted { is_ended: true, .. }) => {}
                Some(&Greeted { member, .. }) => self.member_said(conn, member, &frame, io),
                // Nothing counts before the greeting.
                None => io.close(conn),
            },
            _ => io.close(conn),
        }
    }

    fn greet_back(&mut self, conn: ConnId, lane: u8, link: LinkId, hello: &[u8], io: &mut Io) {
        // Judged once more behind its number: of two processes of a member the earlier one cannot have the later number, nor the later one
        // a number of before the earlier one was gone.
        let judged = self.shared.links.judge(hello);
        let greeting = self.shared.links.next_greeting();
        match judged.and_then(|_| self.shared.links.judge(hello)) {
            Ok(member) => {
                self.supersede(member, lane, greeting, io);
                let own = self.index;
                for reactor in (0..self.shared.reactors.len()).filter(|reactor| *reactor != own) {
                    self.tell(reactor, Command::Supersede { member, lane, greeting });
                }
                self.links.from.add(conn, Greeted::new(member, lane, link, greeting));
                io.confirm(conn);
                say(conn, &PeerFrame::Hello { lane, link, greeting: &self.shared.links.hello() }, io);
                if lane == 0 {
                    self.tell_control(ToControl::LinkFrom { member, lane: (self.index, conn), up: true });
                }
            }
            Err(refusal) => {
                self.counters.refused_peers.add(u64::from(!refusal.is_empty()));
                say(conn, &PeerFrame::Refused(&refusal), io);
                io.close(conn);
            }
        }
    }

    /// A member opens a lane again: what is still to be read of the one before is discarded, or it would come behind what is said on
    /// the new one.
    pub(super) fn supersede(&mut self, member: u32, lane: u8, greeting: u64, io: &mut Io) {
        for conn in self.links.from.older(member, lane, greeting) {
            io.close(conn);
            self.lane_ended(conn);
        }
    }

    /// A link that a member opened has ended: what came on it, and is not done, is discarded.
    pub(super) fn lane_ended(&mut self, conn: ConnId) {
        let Some(Greeted { member, lane, .. }) = self.links.from.remove(conn) else { return };
        self.partitions.lane_ended(conn);
        let came_on_it = |reply_to| matches!(reply_to, ReplyTo::Peer { conn: link, .. } if link == conn);
        drop(self.delivery.withdraw(|waiting| came_on_it(waiting.rest.reply_to)));
        if lane == 0 {
            let lane = (self.index, conn);
            self.tell_control(ToControl::LinkFrom { member, lane, up: false });
        }
    }

    /// Others may have taken this daemon for dead, and given up what they passed on: sent again, it may have been applied elsewhere by
    /// now, with more behind it. What is parked of that is refused, and what comes before each link's answer.
    pub(super) fn doubt(&mut self, io: &mut Io) {
        self.links.from.doubt(self.delivery.last_arrival());
        let is_old = |waiting: &Waiting| matches!(waiting.rest.reply_to, ReplyTo::Peer { .. });
        for waiting in self.delivery.withdraw(is_old) {
            self.fail_old(&waiting, io);
        }
        self.links.from.fence(io);
    }

    /// Links have ended beyond a member to which this daemon passed requests on; it answers them next. What comes on these links late
    /// is discarded, as on links of our own.
    fn ended_beyond(&mut self, links: &[LinkId], io: &mut Io) {
        let new = self.shared.links.end(links);
        if !new.is_empty() {
            self.links.say_ended(new, io);
        }
    }

    fn member_said(&mut self, conn: ConnId, member: u32, frame: &PeerFrame<'_>, io: &mut Io) {
        match *frame {
            PeerFrame::Forward(header, request) => {
                self.counters.forwards_received.add(1);
                let reply_to = ReplyTo::Peer { conn, correlation: header.correlation };
                if self.links.from.is_fenced(conn) {
                    return self.refuse_old(request, reply_to, io);
                }
                if io.room(conn) < self.shared.options.limits.link_room() / 2 {
                    return self.refuse_link_bytes(request, reply_to, io);
                }
                let link = self.links.from.get(conn).map(|greeted| greeted.link);
                let path = link.map_or(header.path, |link| header.path.with(link));
                let (hops, uncertain) = (header.hops, header.uncertain);
                let arrived = Arrived { reply_to, hops, path, at: io.read_at(), principal: None, uncertain };
                self.request(request, &arrived, io);
            }
            PeerFrame::Fence(number) => self.links.from.unfence(conn, number),
            PeerFrame::Ended(ref links) => {
                self.shared.links.end(links);
                self.links.to.heard_ended(links);
            }
            PeerFrame::Control(body) => {
                self.pass_to_control_plane(conn, ToControl::FromMember { member, body: body.to_vec() }, io);
            }
            PeerFrame::Keys(body) => {
                let message = ToControl::Keys { member, relayed: false, body: body.to_vec() };
                self.pass_to_control_plane(conn, message, io);
            }
            PeerFrame::RelayedKeys(body) => {
                let message = ToControl::Keys { member, relayed: true, body: body.to_vec() };
                self.pass_to_control_plane(conn, message, io);
            }
            PeerFrame::HandOff { partition, number, last, definitions, instances } => {
                let until = self.time.now + DEFINITIONS_PATIENCE;
                let instances = instances.into();
                self.arrived(Part { conn, from: member, partition, number, last, definitions, instances, until }, io);
            }
            _ => io.close(conn),
        }
    }

    /// Tells the control plane what a member says. Where too much of that waits, its link ends: a daemon that stopped reading it could wait
    /// for one that waits for this daemon, and on the next link it tells all anew.
    fn pass_to_control_plane(&mut self, conn: ConnId, message: ToControl, io: &mut Io) {
        if self.shared.control.lets_in(&message) {
            return self.tell_control(message);
        }
        self.counters.overflowed_links.add(1);
        io.close(conn);
        self.lane_ended(conn);
    }

    /// Takes in a part of a partition that moves here. One whose definitions have not arrived waits for them, and what belongs
    /// to the same partition waits behind it.
    fn arrived(&mut self, part: Part, io: &mut Io) {
        if self.partitions.arrivals.waits(part.partition) || !knows_definitions(&self.shared, self.time.now, &part) {
            self.partitions.arrivals.add(part);
        } else {
            self.receive(part, io);
        }
    }

    /// Tries again what waits for definitions.
    pub(super) fn retry_arrived(&mut self, io: &mut Io) {
        if self.partitions.arrivals.is_empty() {
            return;
        }
        let (shared, now) = (&self.shared, self.time.now);
        for part in self.partitions.arrivals.take(|part| knows_definitions(shared, now, part)) {
            self.receive(part, io);
        }
    }

    /// Hands a partition over: from here on its events follow it on the same link.
    pub(super) fn hand_off(&mut self, partition: u16, number: HandoffNumber, to: u32, state: &mut State, io: &mut Io) {
        if !self.links.to.is_ready(to) {
            // The link went before the partition could: the control plane is about to hear of it, and changes nothing.
            return;
        }
        let (HandedOff { instances, held }, parts) = state.hand_off(partition, HAND_OFF_BYTES, &mut self.runner.run);
        if !held {
            return;
        }
        let definitions = self.shared.machines.table().versions();
        let last = parts.len().saturating_sub(1);
        let frame = |(index, part): (usize, Vec<u8>)| {
            let mut frame = Vec::with_capacity(part.len() + PEER_HEADER_BYTES);
            PeerFrame::HandOff { partition, number, last: index == last, definitions, instances: &part }
                .encode(&mut frame);
            frame
        };
        let parts = parts.into_iter().enumerate().map(frame).collect();
        self.partitions.leaving.add(to, HandOff { partition, number, instances, parts });
        // Until its last part is on its way no member serves it; control has told every reactor that its events wait.
        self.delivery.unroute(partition);
        self.send_hand_offs(io);
    }

    /// Sends parts of partitions that move away, as far as there is room on their links.
    pub(super) fn send_hand_offs(&mut self, io: &mut Io) {
        if self.partitions.leaving.is_empty() {
            return;
        }
        let most = self.shared.options.limits.link_room();
        let (leaving, peers, now) = (&mut self.partitions.leaving, &mut self.links.to, self.time.now);
        let sent = leaving.send(|to, part| {
            // Half of the room is for keys that are told in one go before a partition is served (`standbys_take`): those are not to wait
            // for all hand-offs. What is larger than the rest goes alone.
            let fits = peers.room(to, io).is_some_and(|room| room >= (most / 2 + part.len()).min(most));
            fits && peers.send(to, None, part, now, io)
        });
        for (to, HandOff { partition, number, instances, .. }) in sent {
            self.counters.handoffs_sent.add(1);
            self.tell_control(ToControl::HandedOff { partition, number, to, instances });
            self.delivery.switch(partition, Some(to));
        }
    }

    /// Answers a daemon that passed a request on. An answer for which there is no room is left out, and it is told so.
    pub(super) fn answer_peer(&mut self, conn: ConnId, correlation: u64, reply: &[u8], io: &mut Io) {
        let bytes = reply.len() + PEER_HEADER_BYTES;
        let fits = bytes <= io.room(conn) && bytes <= self.shared.options.limits.peer_message_bytes();
        let mut frame = Vec::with_capacity(if fits { bytes } else { PEER_HEADER_BYTES });
        if fits {
            PeerFrame::Reply(correlation, reply).encode(&mut frame);
        } else {
            self.counters.unsaid.add(1);
            PeerFrame::Unsaid(correlation).encode(&mut frame);
        }
        io.send(conn, &[&frame]);
    }

    /// Closes every control link from and to a member. What came on them, and is not taken in, is discarded.
    pub(super) fn unlink(&mut self, member: u32, io: &mut Io) {
        self.partitions.deferred.link_lost(member);
        self.links.to.close(member, io);
        for conn in self.links.from.end_control(member) {
            self.partitions.lane_ended(conn);
            io.close(conn);
        }
    }
}

fn knows_definitions(shared: &Shared, now: Instant, part: &Part) -> bool {
    // After a while the records are taken, and those without a definition are counted as rejected.
    let table = shared.machines.table();
    let all = |bytes| statemesh_protocol::image::definitions(bytes).all(|hash| table.by_hash(hash).is_some());
    now >= part.until || (table.versions() >= part.definitions && all(&part.instances))
}
