//! Membership and ownership: what came in, and what follows from it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use statemesh_mesh::discovery;
use statemesh_mesh::identity::{Identity, MemberName};
use statemesh_mesh::membership::{self, MemberInfo, Status};
use statemesh_mesh::ownership::{self, Target};
use statemesh_mesh::protocol::{Hello, PROTOCOL_VERSION, PeerMessage, Refusal};

use super::Control;
use super::links::Change;
use crate::command::{Command, ToControl};
use crate::options::Listen;
use crate::peer_wire::PeerFrame;
use crate::shared::Greeter;
use crate::view::{MemberView, MeshView};

/// How long the links with a member that said goodbye stay.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

impl Control {
    pub(super) fn datagram(&mut self, sealed: &[u8], from: SocketAddr, now: Instant) {
        self.received += 1;
        if self.heard_notice(sealed, from) {
            return;
        }
        match self.seal.open(from, sealed, now) {
            Ok(bytes) => self.membership.handle(membership::Input::Packet { from, bytes: &bytes }, now),
            // It is counted by reason.
            Err(reason) => self.tell_stranger(reason, from, now),
        }
    }

    /// Discovery found these gossip addresses.
    pub(super) fn found(&mut self, addresses: Vec<SocketAddr>, now: Instant) {
        self.membership.handle(membership::Input::Join { seeds: addresses }, now);
    }

    pub(super) fn discovery_config(&self) -> discovery::Config {
        let options = &self.shared.options;
        let (service, seeds) = (options.discovery.service.clone(), options.discovery.seeds.clone());
        discovery::Config::new(service, options.listen.gossip.port(), seeds, self.membership.me().gossip_addr())
    }

    /// A daemon that found nobody for long enough is alone on purpose.
    pub(super) fn maybe_alone(&mut self, now: Instant) {
        if self.joined {
            return;
        }
        let patience = self.shared.options.discovery.alone_after;
        let alone = patience.is_some_and(|patience| now.duration_since(self.started) >= patience);
        if self.membership.live() > 0 || alone {
            self.joined = true;
            self.stale = true;
            tracing::info!(members = self.membership.live() + 1, alone, "joined");
            self.ownership.handle(ownership::Input::Activate, now);
        }
    }

    /// Does what membership asks for.
    pub(super) fn follow_membership(&mut self, now: Instant) {
        while let Some(output) = self.membership.poll() {
            match output {
                membership::Output::Send { to, bytes } => {
                    self.datagrams.extend(self.seal.seal(&bytes).map(|sealed| (to, sealed)));
                    continue;
                }
                membership::Output::SendByLink { to, bytes } => {
                    // Sealed as a datagram is: where peers have no CURVE, the keys of gossip still say who is a member.
                    if let Some(sealed) = self.seal.seal(&bytes) {
                        let member = self.number(&to);
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
                membership::Output::Renewed(identity) => {
                    tracing::info!(incarnation = identity.incarnation, revision = identity.revision, "renewed");
                    self.regreet();
                }
                membership::Output::NameTaken { by } => {
                    let me = &self.shared.options.name;
                    let reason = format!(
                        "another live daemon, at {}, has the name \"{me}\"; give this one another (--name)",
                        by.ip
                    );
                    self.failed = Some(reason);
                }
            }
            self.stale = true;
        }
    }

    fn member_up(&mut self, identity: &Identity, now: Instant) {
        let member = self.number(&identity.name);
        if self.departed.remove(&member).is_some() {
            self.close_member(member, &identity.name, now);
        }
        tracing::info!(member = %identity.name, address = %identity.peer_addr(), incarnation = identity.incarnation, "joined the mesh");
        self.regreet();
        let address = identity.peer_addr();
        self.outbox.tell_all(&self.shared, || Command::Member { member, address });
        let input = ownership::Input::MemberUp { name: identity.name.clone(), placeable: !identity.leaving };
        self.ownership.handle(input, now);
    }

    fn member_updated(&mut self, identity: &Identity, now: Instant) {
        let member = self.number(&identity.name);
        self.regreet();
        let address = identity.peer_addr();
        self.outbox.tell_all(&self.shared, || Command::Member { member, address });
        let input = ownership::Input::MemberUp { name: identity.name.clone(), placeable: !identity.leaving };
        self.ownership.handle(input, now);
    }

    fn member_down(&mut self, identity: &Identity, left: bool, now: Instant) {
        let member = self.number(&identity.name);
        if left {
            tracing::info!(member = %identity.name, "left the mesh");
        } else {
            tracing::warn!(member = %identity.name, address = %identity.peer_addr(), "declared dead");
            self.counts.update(|figures| figures.deaths += 1);
        }
        self.regreet();
        if left {
            // Its goodbye, a datagram, may overtake its last answers on the link: the link ends by itself, or a little later.
            self.departed.insert(member, now + LAST_ANSWERS);
        } else {
            self.close_member(member, &identity.name, now);
        }
        self.ownership.handle(ownership::Input::MemberDown(identity.name.clone()), now);
        self.definition_member_gone(identity.name.clone(), now);
    }

    /// Ends the links with a member's process.
    fn close_member(&mut self, member: u32, name: &MemberName, now: Instant) {
        if self.links.forget(member) {
            self.ownership.handle(ownership::Input::LinkDown(name.clone()), now);
        }
        self.outbox.tell_all(&self.shared, || Command::MemberGone { member });
    }

    /// Ends the links with members that left a moment ago.
    pub(super) fn close_departed(&mut self, now: Instant) {
        let due: Vec<u32> = self.departed.iter().filter(|(_, at)| **at <= now).map(|(member, _)| *member).collect();
        for member in due {
            self.departed.remove(&member);
            if let Some(name) = self.name(member) {
                self.close_member(member, &name, now);
            }
        }
    }

    /// Takes in what a reactor said.
    pub(super) fn message(&mut self, message: ToControl, now: Instant) {
        match message {
            ToControl::Request { reactor, correlation, request } => self.request(reactor, correlation, request),
            ToControl::FromMember { member, body } => self.member_said(member, &body, now),
            ToControl::Refused { refusal } => self.refused(&refusal),
            ToControl::Transferred { partition, to, instances } => {
                self.transferred(to, instances);
                self.ownership.handle(ownership::Input::Transferred(partition), now);
            }
            ToControl::Installed { partition, from } => {
                if let Some(from) = self.name(from) {
                    self.ownership.handle(ownership::Input::Installed { partition, from }, now);
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
                if let Some(from) = self.name(member) {
                    self.ownership.handle(ownership::Input::Misrouted { partition, from }, now);
                }
            }
            ToControl::Roster { member, body } => self.roster(member, &body),
        }
    }

    fn link(&mut self, member: u32, change: Change, lost: bool, now: Instant) {
        let Some(name) = self.name(member) else {
            return;
        };
        match change {
            Change::None => {}
            Change::Up(early) => {
                self.ownership.handle(ownership::Input::LinkUp(name.clone()), now);
                self.definition_link_up(name.clone(), now);
                for message in early {
                    self.peer_message(member, name.clone(), message, now);
                }
                self.tell_keys_to(&name, member);
            }
            Change::Down => {
                // Both directions end, so that nothing said on the old link can be taken for something said on the next.
                self.outbox.tell_all(&self.shared, || Command::Unlink { member });
                self.ownership.handle(ownership::Input::LinkDown(name.clone()), now);
            }
        }
        // A process that is killed resets its connections: ask it at once whether it lives.
        if lost && self.membership.member(&name).is_some_and(|known| known.status == Status::Alive) {
            self.membership.handle(membership::Input::Suspect(name), now);
        }
    }

    fn member_said(&mut self, member: u32, body: &[u8], now: Instant) {
        let Some(from) = self.name(member) else {
            return;
        };
        match PeerMessage::decode(body) {
            Ok(message) => {
                if let Some(message) = self.links.receive(member, message, body.len()) {
                    self.peer_message(member, from, message, now);
                }
            }
            Err(error) => tracing::warn!(member = %from, %error, "a control message that is none"),
        }
    }

    fn peer_message(&mut self, member: u32, from: MemberName, message: PeerMessage, now: Instant) {
        match message {
            PeerMessage::Ownership { message, .. } => {
                self.ownership.handle(ownership::Input::Message { from, message }, now);
            }
            PeerMessage::Definitions(message) => self.definition_message(member, message, now),
            PeerMessage::Membership(sealed) => {
                let address = self.membership.member(&from).map(|known| known.identity.gossip_addr());
                // What cannot be opened is counted by reason.
                if let Some(Ok(bytes)) = address.map(|address| self.seal.open(address, &sealed, now)) {
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

    /// Renews how this daemon greets, and how it judges greetings: both depend on who is known.
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
        let known: HashMap<MemberName, (u32, MemberInfo)> = self
            .membership
            .members()
            .filter_map(|info| {
                Some((info.identity.name.clone(), (*self.numbers.get(&info.identity.name)?, info.clone())))
            })
            .collect();
        let judge = move |bytes: &[u8]| {
            let theirs = Hello::decode(bytes).map_err(|_| Vec::new())?;
            let known = known.get(&theirs.identity.name);
            let refuse = |refusal: Refusal| refusal.encode().unwrap_or_default();
            hello.check(&theirs, known.map(|(_, info)| info)).map_err(refuse)?;
            // Gossip has not told of it yet, or no longer: it asks again in a moment.
            let alive = known
                .filter(|(_, info)| info.status.is_live() && info.identity.incarnation == theirs.identity.incarnation);
            alive.map(|(number, _)| *number).ok_or_else(Vec::new)
        };
        self.shared.set_greeter(Greeter { hello: bytes.into(), judge: Box::new(judge) });
    }

    /// Sends a control message to a member.
    pub(super) fn send(&mut self, member: u32, message: &PeerMessage) {
        match message.encode() {
            Ok(body) => {
                let mut frame = Vec::with_capacity(body.len() + 1);
                PeerFrame::Control(&body).encode(&mut frame);
                self.outbox.tell(0, Command::Send { member, frame });
            }
            Err(error) => tracing::error!(%error, "a control message that cannot be encoded"),
        }
    }

    /// Does what ownership asks for.
    pub(super) fn follow_ownership(&mut self) {
        while let Some(output) = self.ownership.poll() {
            match output {
                ownership::Output::Send { to, message } => {
                    let member = self.number(&to);
                    let view = self.ownership.view().hash();
                    self.send(member, &PeerMessage::Ownership { view, message });
                }
                ownership::Output::Transfer { partition, to } => {
                    let to = self.number(&to);
                    self.outbox.tell(0, Command::Transfer { partition, to });
                }
                ownership::Output::Receive { partition, merge, .. } => {
                    self.outbox.tell(0, Command::Expect { partition, merge });
                    self.rosters.forget(partition);
                }
                ownership::Output::Discard { partition, .. } => self.outbox.tell(0, Command::Discard { partition }),
                ownership::Output::Drop(partition) => self.outbox.tell(0, Command::Forget { partition }),
                ownership::Output::Restore { partition, died } => {
                    let died = died.as_ref().map(MemberName::as_str);
                    tracing::warn!(partition, died, "a hand-over failed; serving the kept copy");
                    self.outbox.tell(0, Command::TakeBack { partition });
                }
                ownership::Output::Take { partition, lost_from, .. } => self.take(partition, lost_from.as_ref()),
                ownership::Output::RouteChanged { partition, to } => self.route(partition, &to),
            }
            self.stale = true;
        }
    }

    fn take(&mut self, partition: u16, lost_from: Option<&MemberName>) {
        let lost = match lost_from {
            Some(_) => self.rosters.take(partition),
            None => Vec::new(),
        };
        if let Some(from) = lost_from
            && !lost.is_empty()
        {
            tracing::warn!(partition, instances = lost.len(), owner = %from, "instances were lost with their owner");
        }
        self.counts.update(|figures| figures.lost += lost.len() as u64);
        self.outbox.tell(0, Command::TakeOver { partition, lost });
    }

    fn route(&mut self, partition: u16, to: &Target) {
        let to = match to {
            Target::Park => {
                return self.outbox.tell_all(&self.shared, || Command::Unroute { partition });
            }
            Target::Local => {
                self.outbox.tell(0, Command::Serve { partition });
                None
            }
            Target::Forward(name) => Some(self.number(name)),
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
        let mut owners = Vec::new();
        for partition in 0..self.shared.options.partitions {
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
            .map(|((identity, status), partitions)| MemberView {
                name: identity.name.as_str().into(),
                status: *status,
                incarnation: identity.incarnation,
                listen: listen_of(identity),
                partitions,
                is_self: identity.name == me.name,
                leaving: identity.leaving,
            })
            .collect();
        let reason = match (self.leaving.is_some(), self.joined, self.membership.live()) {
            (true, ..) => "leaving the mesh".to_owned(),
            (_, false, _) => match &self.strangers.notice {
                Some(notice) => format!("looking for the other members; {notice}"),
                None => "looking for the other members".to_owned(),
            },
            (_, true, 0) => "alone".to_owned(),
            (_, true, others) => format!("joined {others} others"),
        };
        self.shared.publish_view(MeshView {
            members,
            hash,
            owners,
            joined: self.joined,
            leaving: self.leaving.is_some(),
            reason,
        });
        self.refresh_rosters();
    }
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
