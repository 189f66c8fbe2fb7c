//! Membership and ownership: what came in, and what follows from it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statemesh_mesh::membership::{self, Status};
use statemesh_mesh::ownership::{self, Target};
use statemesh_protocol::identity::{Identity, MemberName};
use statemesh_protocol::peer::PeerMessage;
use statemesh_protocol::peer::hello::{Hello, PROTOCOL_VERSION, Refusal};
use statemesh_protocol::peer::ownership::{OwnershipMessage, Purpose};

use super::links::{Change, NoRoom, Said};
use super::waiting::Waiting;
use super::{Control, Failure, Output};
use crate::directory::{Directory, DirectoryEntry};
use crate::mailbox::{Behind, Command, ToControl};
use crate::options::Listen;
use crate::shared::Greeter;
use statemesh_protocol::peer::frame::PeerFrame;

/// How long the links with a member that said goodbye stay.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

impl Control {
    pub(super) fn datagram(&mut self, sealed: &[u8], from: SocketAddr, now: Instant) {
        self.gossip.received();
        if self.stays_alone(from) {
            return;
        }
        if self.heard_notice(sealed, from, now) {
            return;
        }
        match self.gossip.open(from, sealed, now) {
            Ok(bytes) => self.membership.handle(membership::Input::Packet { from, bytes: &bytes }, now),
            // It is counted by reason.
            Err(reason) => self.tell_rejected(reason, from, now),
        }
    }

    /// Does what membership asks for.
    pub(super) fn follow_membership(&mut self, now: Instant) {
        while let Some(output) = self.membership.poll() {
            self.reports.decided("membership", output.name());
            match output {
                membership::Output::Send { to, bytes } => {
                    if let Some(sealed) = self.gossip.seal(&bytes) {
                        self.send_datagram(to, sealed);
                    }
                    continue;
                }
                membership::Output::SendByLink { to, bytes } => {
                    // Sealed as a datagram is: where peers have no CURVE, the keys of gossip still say who is a member.
                    if let Some(sealed) = self.gossip.seal(&bytes) {
                        let member = self.members.number(&to);
                        self.send(member, &PeerMessage::Membership(sealed));
                    }
                    continue;
                }
                membership::Output::Up(identity) => self.member_up(&identity, now),
                membership::Output::Updated(identity) => self.member_updated(&identity, now),
                membership::Output::Down { identity, left } => self.member_down(&identity, left, now),
                membership::Output::Suspected(name) => {
                    tracing::info!(member = %name, "suspect: it did not answer")
                }
                membership::Output::Refuted(name) => {
                    tracing::info!(member = %name, "alive after all")
                }
                membership::Output::OutOfReach(name) => {
                    tracing::warn!(member = %name, "out of reach from here, though others reach it");
                }
                membership::Output::InReach(name) => {
                    tracing::info!(member = %name, "in reach again");
                }
                membership::Output::TakenForDead => {
                    tracing::warn!("others declared this daemon dead, and may have adopted what it holds");
                    self.own(ownership::Input::Doubt(ownership::Reason::TakenForDead), now);
                }
                membership::Output::Renewed(identity) => {
                    tracing::info!(incarnation = identity.incarnation, revision = identity.revision, "renewed");
                    self.regreet();
                }
                membership::Output::NameTaken { by } => {
                    let name = self.shared.options.name.clone();
                    self.outbox.put(Output::Failed(Failure::NameTaken { name, by: by.ip }));
                }
            }
            self.reports.is_stale = true;
        }
    }

    /// Sends a datagram, as it is.
    pub(super) fn send_datagram(&mut self, to: SocketAddr, sealed: Vec<u8>) {
        self.gossip.sent();
        self.outbox.put(Output::Datagram { to, sealed });
    }

    fn member_up(&mut self, identity: &Identity, now: Instant) {
        self.shared.shards.meet();
        let member = self.members.number(&identity.name);
        if self.links.is_back(member) {
            self.close_member(member, &identity.name, now);
        }
        tracing::info!(member = %identity.name, address = %identity.peer_addr(), incarnation = identity.incarnation, "joined the mesh");
        self.members.enroll(&identity.name, &self.membership);
        self.keys.index.member_up(&identity.name, identity.incarnation);
        let address = identity.peer_addr();
        self.outbox.tell_all(&self.shared, || Command::Member { member, address });
        self.ownership_member(identity, now);
        self.definition_member_up(identity.name.clone(), now);
    }

    /// What ownership says to a member, with its number.
    pub(super) fn ownership_message(&mut self, to: &MemberName, message: OwnershipMessage) -> (u32, PeerMessage) {
        (self.members.number(to), PeerMessage::Ownership { view: self.ownership.view().hash(), message })
    }

    fn ownership_member(&mut self, identity: &Identity, now: Instant) {
        let Identity { name, incarnation, leaving, .. } = identity.clone();
        self.own(ownership::Input::MemberUp { name, incarnation, placeable: !leaving }, now);
    }

    fn member_updated(&mut self, identity: &Identity, now: Instant) {
        let member = self.members.enroll(&identity.name, &self.membership);
        let address = identity.peer_addr();
        self.outbox.tell_all(&self.shared, || Command::Member { member, address });
        self.ownership_member(identity, now);
    }

    fn member_down(&mut self, identity: &Identity, left: bool, now: Instant) {
        // One that was leaving and stands still, or was killed, has not left.
        let left = left && self.ownership.has_drained(&identity.name);
        if left {
            tracing::info!(member = %identity.name, "left the mesh");
        } else {
            tracing::warn!(member = %identity.name, address = %identity.peer_addr(), "declared dead");
            self.reports.counts.update(|figures| figures.deaths += 1);
        }
        // What gossip knows by now may be the next process, whose greetings count once this one's links are closed.
        let member = self.members.bury(&identity.name);
        if left {
            // Its goodbye, a datagram, may overtake its last answers on the link: the link ends by itself, or a little later.
            self.links.depart(member, now + LAST_ANSWERS);
        } else {
            self.close_member(member, &identity.name, now);
        }
        self.keys.index.member_down(&identity.name, identity.incarnation);
        self.own(ownership::Input::MemberDown { name: identity.name.clone(), left }, now);
        self.definition_member_gone(identity.name.clone(), now);
    }

    /// Ends the links with a member's process.
    fn close_member(&mut self, member: u32, name: &MemberName, now: Instant) {
        if self.links.forget(member) {
            self.keys.index.link_down(name);
            self.own(ownership::Input::LinkDown(name.clone()), now);
        }
        // Behind what the roll says of it, and before it says anything of the next process.
        let greeting = self.shared.links.next_greeting();
        self.outbox.tell_all(&self.shared, || Command::MemberGone { member, greeting });
    }

    /// Ends the links with members that left a moment ago.
    pub(super) fn close_departed(&mut self, now: Instant) {
        for member in self.links.ends(now) {
            if let Some(name) = self.members.name(member) {
                self.close_member(member, &name, now);
            }
        }
    }

    /// Takes in what a reactor said.
    pub(super) fn message(&mut self, message: ToControl, now: Instant) {
        self.shared.control.took(&message);
        match message {
            ToControl::Request { reactor, correlation, request } => {
                self.request(reactor, correlation, request, now);
            }
            ToControl::FromMember { member, body } => self.member_said(member, &body, now),
            ToControl::Refused { refusal } => self.refused(&refusal),
            ToControl::HandedOff { partition, number, to, instances } => {
                self.transferred(to, instances);
                self.own(ownership::Input::HandedOff { partition, number }, now);
            }
            ToControl::Received { partition, number, from } => {
                if let Some(from) = self.members.name(from) {
                    self.own(ownership::Input::Received { partition, number, from }, now);
                }
            }
            ToControl::Unreadable { partition, number, from } => {
                if let Some(from) = self.members.name(from) {
                    tracing::warn!(partition, holder = %from, "instances of a hand-off cannot be read here: its holder keeps it");
                    self.own(ownership::Input::Unreadable { partition, number, from }, now);
                }
            }
            ToControl::LinkTo { member, up } => {
                let change = self.links.to(member, up);
                self.link(member, change, !up, now);
            }
            ToControl::LinkFrom { member, lane, up } => {
                let change = self.links.from(member, lane, up);
                self.link(member, change, !up, now);
            }
            ToControl::Misrouted { partition, member } => {
                if let Some(from) = self.members.name(member) {
                    self.own(ownership::Input::Misrouted { partition, from }, now);
                }
            }
            ToControl::Keys { member, relayed, body } => {
                let bytes = body.len();
                self.said(member, Said::Keys { relayed, body }, bytes, now);
            }
        }
    }

    fn link(&mut self, member: u32, change: Change, lost: bool, now: Instant) {
        let Some(name) = self.members.name(member) else {
            return;
        };
        match change {
            Change::None => {}
            Change::Up(early) => {
                self.keys.index.link_up(&name);
                self.follow_key_index();
                self.own(ownership::Input::LinkUp(name.clone()), now);
                self.definition_link_up(name.clone(), now);
                for said in early {
                    self.take_in(member, name.clone(), said, now);
                }
            }
            Change::Down => {
                // Both directions end, so that nothing said on the old link can be taken for something said on the next.
                self.outbox.tell_all(&self.shared, || Command::Unlink { member });
                self.keys.index.link_down(&name);
                self.own(ownership::Input::LinkDown(name.clone()), now);
            }
        }
        // A process that is killed resets its connections: ask it at once whether it lives.
        if lost && self.membership.member(&name).is_some_and(|known| known.status == Status::Alive) {
            self.membership.handle(membership::Input::Suspect(name), now);
        }
    }

    fn member_said(&mut self, member: u32, body: &[u8], now: Instant) {
        match PeerMessage::decode(body) {
            Ok(message) => self.said(member, Said::Message(message), body.len(), now),
            Err(error) => {
                let from = self.members.name(member);
                let member = from.as_ref().map_or("unknown", MemberName::as_str);
                tracing::warn!(member, %error, "a control message that is none");
            }
        }
    }

    fn said(&mut self, member: u32, said: Said, bytes: usize, now: Instant) {
        let Some(from) = self.members.name(member) else {
            return;
        };
        match self.links.receive(member, said, bytes) {
            Ok(Some(said)) => self.take_in(member, from, said, now),
            Ok(None) => {}
            Err(NoRoom) => {
                tracing::warn!(member = %from, "it says more than is kept before the link is there: the link ends");
                self.outbox.tell_all(&self.shared, || Command::Unlink { member });
            }
        }
    }

    fn take_in(&mut self, member: u32, from: MemberName, said: Said, now: Instant) {
        match said {
            Said::Message(message) => self.peer_message(member, from, message, now),
            Said::Keys { relayed, body } => self.told_keys(&from, relayed, &body, now),
        }
    }

    fn peer_message(&mut self, member: u32, from: MemberName, message: PeerMessage, now: Instant) {
        match message {
            PeerMessage::Ownership { message, .. } => {
                self.own(ownership::Input::Message { from, message }, now);
            }
            PeerMessage::Definitions(message) => self.definition_message(member, message, now),
            PeerMessage::Index(message) => {
                self.keys.index.message(&from, message);
                self.follow_key_index();
                self.index_changed(now);
            }
            PeerMessage::Membership(sealed) => {
                // What cannot be opened is counted by reason.
                if self.membership.member(&from).is_some()
                    && let Ok(bytes) = self.gossip.open_by_link(&sealed)
                {
                    self.membership.handle(membership::Input::ByLink { from, bytes: &bytes }, now);
                }
            }
        }
    }

    fn refused(&mut self, refusal: &[u8]) {
        match Refusal::decode(refusal) {
            Ok(refusal) => tracing::warn!(%refusal, "a daemon refused our greeting"),
            Err(error) => tracing::warn!(%error, "a daemon refused our greeting"),
        }
    }

    /// Renews how this daemon greets: it says who it is, and which definitions it has. Whom it lets in is in the roll.
    pub(super) fn regreet(&mut self) {
        let options = &self.shared.options;
        let hello = Hello {
            version: PROTOCOL_VERSION,
            mesh: options.mesh.clone(),
            partitions: options.partitions,
            identity: self.membership.me().clone(),
            definitions: self.definitions.digest(),
        };
        let bytes = match hello.encode() {
            Ok(bytes) => bytes,
            Err(error) => return tracing::error!(%error, "the mesh's name cannot be sent"),
        };
        let judge = self.members.judge(hello);
        self.shared.links.set_greeter(Greeter { hello: bytes.into(), judge });
    }

    /// Sends a control message to a member.
    pub(super) fn send(&mut self, member: u32, message: &PeerMessage) {
        if let Some(frame) = control_frame(message) {
            self.outbox.tell(0, Command::Send { member, frame });
        }
    }

    /// The same, once the member has answered all that reactors passed on to it until they have taken what they were told before.
    fn send_behind(&mut self, member: u32, message: &PeerMessage) {
        if let Some(frame) = control_frame(message) {
            let behind = Arc::new(Behind::new(member, frame, self.shared.reactors.len()));
            self.outbox.tell_all(&self.shared, || Command::SendBehind(Arc::clone(&behind)));
        }
    }

    /// Tells ownership what happened, and does all that it asks for: nothing that happens later comes between, nor anything that
    /// another part of the control plane hears of it.
    pub(super) fn own(&mut self, input: ownership::Input, now: Instant) {
        tracing::trace!(?input, "ownership");
        self.ownership.handle(input, now);
        self.follow_ownership();
        while let Some(indexed) = self.keys.index.changed() {
            self.ownership.handle(ownership::Input::Indexed(indexed), now);
            self.follow_ownership();
        }
    }

    fn follow_ownership(&mut self) {
        let mut unnamed = Vec::new();
        while let Some(output) = self.ownership.poll() {
            self.reports.decided("ownership", output.name());
            tracing::trace!(?output, "ownership");
            match output {
                ownership::Output::Send { to, message } => {
                    let (member, message) = self.ownership_message(&to, message);
                    self.send(member, &message);
                }
                ownership::Output::SendBehind { to, message } => {
                    let (member, message) = self.ownership_message(&to, message);
                    self.send_behind(member, &message);
                }
                ownership::Output::HandOff { partition, number, to } => {
                    let to = self.members.number(&to);
                    self.lease.ends_serving();
                    self.outbox.tell(0, Command::HandOff { partition, number, to });
                }
                ownership::Output::Receive { partition, number, merge, .. } => {
                    self.outbox.tell(0, Command::Receive { partition, number, merge });
                }
                ownership::Output::Doubt => self.outbox.tell_all(&self.shared, || Command::Doubt),
                ownership::Output::Suspend(partition) => {
                    self.lease.ends_serving();
                    self.outbox.tell(0, Command::Suspend { partition });
                }
                ownership::Output::Relay { to, purpose, set } => {
                    self.keys.index.ask(&to, purpose == Purpose::Doubt, &set);
                }
                ownership::Output::Served { by, apart, set } => self.keys.index.served(&by, apart, &set),
                ownership::Output::Discard { partition, .. } => self.outbox.tell(0, Command::Discard { partition }),
                ownership::Output::Release(partition) => self.outbox.tell(0, Command::Release { partition }),
                ownership::Output::Reopen { partition, died, unnamed: is_unnamed, asked } => {
                    if is_unnamed {
                        unnamed.push((partition, died.clone()));
                    }
                    let lost = if asked { self.take_keys(partition, died.as_ref()) } else { Vec::new() };
                    let died = died.as_ref().map(MemberName::as_str);
                    tracing::debug!(partition, died, "serving the kept copy again");
                    self.outbox.tell(0, Command::Reopen { partition, lost });
                }
                ownership::Output::Back { name, incarnation } => self.keys.index.member_back(&name, incarnation),
                ownership::Output::Mourn { partition, lost_from } => {
                    let lost = self.keys.index.take_dead(partition);
                    self.warn_of_lost(partition, &lost, Some(&lost_from));
                    self.outbox.tell(0, Command::Mourn { partition, lost });
                }
                ownership::Output::Adopt { partition, lost_from, unnamed: is_unnamed } => {
                    if is_unnamed {
                        unnamed.push((partition, lost_from.clone()));
                    }
                    let lost = self.take_keys(partition, lost_from.as_ref());
                    self.outbox.tell(0, Command::Adopt { partition, lost });
                }
                ownership::Output::Route { partition, to } => self.route(partition, &to),
            }
            self.reports.is_stale = true;
        }
        self.say_unnamed(&unnamed);
    }

    /// Says of which partitions it is not known what is lost.
    fn say_unnamed(&self, unnamed: &[(u16, Option<MemberName>)]) {
        let Some((first, owner)) = unnamed.first() else { return };
        let (partitions, owner) = (unnamed.len(), owner.as_ref().map_or("unknown", MemberName::as_str));
        self.reports.counts.update(|figures| figures.unnamed += partitions as u64);
        tracing::warn!(
            partitions,
            first,
            owner,
            "these partitions were adopted after their owner died together with the daemons that knew their keys: instances may be \
             lost without being named"
        );
    }

    fn route(&mut self, partition: u16, to: &Target) {
        let to = match to {
            Target::Park => {
                return self.outbox.tell_all(&self.shared, || Command::Unroute { partition });
            }
            Target::Local => {
                self.tell_standbys(partition);
                self.outbox.tell(0, Command::Serve { partition });
                None
            }
            Target::Forward(name) => Some(self.members.number(name)),
        };
        self.outbox.tell_all(&self.shared, || Command::Route { partition, to });
    }

    /// Publishes the mesh as it is now.
    pub(super) fn publish_view(&mut self) {
        let me = self.membership.me().clone();
        let mut all: Vec<(Identity, Status)> =
            self.membership.members().map(|known| (known.identity.clone(), known.status)).collect();
        all.push((me.clone(), if self.has_left() { Status::Left } else { Status::Alive }));
        all.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        let view = self.ownership.view();
        let index_of = |name: &MemberName| all.binary_search_by(|(known, _)| known.name.cmp(name)).ok();
        let mut counts = vec![0usize; all.len()];
        let (mut owners, mut serving) = (Vec::new(), Vec::new());
        for partition in 0..self.shared.options.partitions {
            let server = match self.ownership.target(partition) {
                Target::Local => index_of(&me.name),
                Target::Forward(name) => index_of(&name),
                Target::Park => None,
            };
            serving.push(server.and_then(|at| u16::try_from(at).ok()));
            let Some(owner) = view.owner(partition).and_then(&index_of) else {
                continue;
            };
            if let Some(count) = counts.get_mut(owner) {
                *count += 1;
            }
            owners.push(u16::try_from(owner).unwrap_or(u16::MAX));
        }
        let hash = view.hash();
        let members = all
            .iter()
            .zip(counts)
            .map(|((identity, status), partitions)| DirectoryEntry {
                name: identity.name.as_str().into(),
                number: self.members.number(&identity.name),
                status: *status,
                incarnation: identity.incarnation,
                listen: listen_of(identity),
                partitions,
                is_self: identity.name == me.name,
                leaving: identity.leaving,
            })
            .collect();
        let reason = match (self.leaving.is_some(), self.joining.joined, self.membership.live()) {
            (true, ..) => "leaving the mesh".to_owned(),
            (_, false, _) => self.joining.waiting().unwrap_or(&Waiting::Looking).to_string(),
            (_, true, _) if !self.files.are_judged() => "waiting for the list of the mesh's machines".to_owned(),
            (_, true, _) if !self.joining.adopts => "waiting for the mesh's machines".to_owned(),
            (_, true, 0) => "alone".to_owned(),
            (_, true, others) => format!("joined {others} others"),
        };
        self.shared.publish_view(Directory {
            members,
            hash,
            owners,
            serving,
            joined: self.joining.adopts && self.files.are_judged(),
            leaving: self.leaving.is_some(),
            reason,
            files_differing: self.files.differing_machines(),
        });
        self.refresh_standbys();
    }
}

fn control_frame(message: &PeerMessage) -> Option<Vec<u8>> {
    let body = message
        .encode()
        .inspect_err(|error| tracing::error!(%error, "a control message that cannot be encoded"))
        .ok()?;
    let mut frame = Vec::with_capacity(body.len() + 1);
    PeerFrame::Control(&body).encode(&mut frame);
    Some(frame)
}

fn listen_of(identity: &Identity) -> Listen {
    let at = |port| SocketAddr::new(identity.ip, port);
    Listen {
        clients: at(identity.ports.client),
        changes: at(identity.ports.changes),
        peers: at(identity.ports.peer),
        gossip: at(identity.ports.gossip),
        http: at(identity.ports.http),
    }
}
