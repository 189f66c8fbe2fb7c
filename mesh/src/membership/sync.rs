//! Comparing lists of members, and finding back after the network was partitioned.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foca::{Member, State};
use rand::seq::IteratorRandom;

use super::codec::sender;
use super::directory::Status;
use super::joining::{NOBODY_ASKED, Phase};
use super::lists::Heading;
use super::packet::{Packet, pages};
use super::timers::Due;
use super::{MAX_MEMBERS, Membership};
use statemesh_protocol::identity::{Identity, MemberName};

/// News of deaths are part of a list for this long. Later they are of no use.
const DEATHS_TOLD_FOR: Duration = Duration::from_secs(60);
/// Members that one page of a list may call alive and that are told at once that they are dead here.
const MAX_TOLD_DEAD: usize = 8;
/// Members told directly when this one is known under a newer revision.
const TOLD_OF_RENEWAL: usize = 3;

impl Membership {
    pub(super) fn sync_with(&mut self, to: SocketAddr) {
        let (sender, digest) = (self.self_as_member(), self.swim.digest());
        self.send(to, &Packet::Sync { sender, digest, joined: self.joining.joined });
    }

    pub(super) fn sync_with_somebody(&mut self) {
        self.directory.forget(self.config.forget_after, self.now);
        let others = self.swim.members().map(|m| m.id().gossip_addr());
        let other = others.choose(&mut self.rng);
        if let Some(other) = other.filter(|_| self.phase == Phase::Member) {
            self.sync_with(other);
        }
    }

    pub(super) fn asked_to_sync(&mut self, from: SocketAddr, sender: Member<Identity>, digest: u64, joined: bool) {
        if !self.meets(from, sender, joined) {
            return;
        }
        // A member that joins has to know that it knows all others.
        if !joined || digest != self.swim.digest() {
            self.send_list(from);
        }
    }

    /// Hears from a member. False when it is not one: it is known to be dead, or a namesake, or too many are known; or when this one
    /// does not take part yet, or cannot tell whether the name of one that has not joined is free.
    fn meets(&mut self, from: SocketAddr, sender: Member<Identity>, joined: bool) -> bool {
        let id = sender.id().clone();
        if matches!(self.phase, Phase::Idle | Phase::Looking) {
            self.spoken_to(from);
            return false;
        }
        if id.name == self.me().name {
            self.namesake.meet(&id, sender.state());
            return false;
        }
        if self.directory.len() >= MAX_MEMBERS && self.directory.get(&id.name).is_none() {
            self.counters.over_limit += 1;
            return false;
        }
        if let Some(identity) = self.dead(&id).cloned() {
            self.send(from, &Packet::Dead { identity });
            // It may hold us for dead as well, and learns from the list whom it knows wrongly.
            self.send_list(from);
            return false;
        }
        if !joined && self.held_elsewhere(&id).is_some() {
            self.looked_for(from, &id.name, NOBODY_ASKED);
            return false;
        }
        if !joined && self.awaits_the_mesh() {
            return false;
        }
        self.apply(std::iter::once(sender));
        true
    }

    /// The process, another one at another address, that is known to live under this name.
    fn held_elsewhere(&self, id: &Identity) -> Option<&Identity> {
        let live = self.directory.get(&id.name).filter(|known| known.status.is_live());
        let other = live.map(|known| &known.identity);
        other.filter(|other| !other.same_process(id) && other.gossip_addr() != id.gossip_addr())
    }

    /// Whether the sender of a datagram of foca's would end a live member whose name it has.
    pub(super) fn is_contested(&self, datagram: &[u8]) -> bool {
        sender(datagram)
            .is_some_and(|id| self.held_elsewhere(&id).is_some_and(|other| other.incarnation < id.incarnation))
    }

    /// Exactly this identity, or a newer one, that is known to be down.
    fn dead(&self, id: &Identity) -> Option<&Identity> {
        let known = self.swim.all();
        let mut dead = known.filter(|m| m.state() == State::Down).map(Member::id);
        dead.find(|dead| dead.name == id.name && dead.version() >= id.version())
    }

    fn send_list(&mut self, to: SocketAddr) {
        let members: Vec<_> = {
            let worth_telling = |m: &&Member<Identity>| m.state() != State::Down || self.died_lately(m.id());
            let state = self.swim.all();
            state.filter(worth_telling).cloned().collect()
        };
        for bytes in pages(&self.self_as_member(), self.swim.digest(), self.joining.joined, members.into_iter()) {
            self.out.push_back(super::Output::Send { to, bytes });
        }
    }

    fn died_lately(&self, id: &Identity) -> bool {
        self.directory.get(&id.name).is_some_and(|known| {
            !known.status.is_live() && self.now.saturating_duration_since(known.since) < DEATHS_TOLD_FOR
        })
    }

    pub(super) fn page(
        &mut self,
        from: SocketAddr,
        sender: Member<Identity>,
        heading: Heading,
        members: Vec<Member<Identity>>,
        now: Instant,
    ) {
        let name = sender.id().name.clone();
        if !self.meets(from, sender, heading.joined) {
            return;
        }
        // Whom others know as newer: to say that this one is alive would be answered so without end.
        if members.iter().any(|m| self.namesake.meet(m.id(), m.state())) {
            return;
        }
        self.tell_the_dead(&members);
        let before = (self.directory.len(), self.swim.digest());
        let mine = self.me().clone();
        let was_apart = self.was_apart(&name);
        let news = members.into_iter().filter(|m| {
            // About this name only what this process can refute: foca takes the rest for a rejoin.
            let refutable = m.id().name != mine.name || (*m.id() == mine && m.state() != State::Alive);
            refutable && !(was_apart && m.state() == State::Down && m.id().name != mine.name)
        });
        self.apply(news);
        self.collect(now);
        self.joining.note_list(from, heading);
        if before != (self.directory.len(), self.swim.digest()) {
            let soon = self.config.sync_interval_while_learning;
            self.timers.set(now + soon, Due::Learn);
        }
    }

    /// Whether a member was cut off from this one until a while ago. Whom it holds for dead it did not hear, and this one did: such
    /// news would bury those on this side whenever the network comes together.
    fn was_apart(&self, name: &MemberName) -> bool {
        let returned = self.directory.get(name).and_then(|known| known.returned);
        returned.is_some_and(|at| self.now.saturating_duration_since(at) < DEATHS_TOLD_FOR)
    }

    /// Members that others hold for alive and this one for dead: the network was partitioned. They have to say
    /// that they are alive, since death is final for an identity.
    fn tell_the_dead(&mut self, members: &[Member<Identity>]) {
        let alive = members.iter().filter(|m| m.state() != State::Down);
        let wrong = alive.filter_map(|m| Some((m.id().gossip_addr(), self.dead(m.id())?.clone())));
        for (to, identity) in wrong.take(MAX_TOLD_DEAD).collect::<Vec<_>>() {
            self.send(to, &Packet::Dead { identity });
        }
    }

    pub(super) fn held_for_dead(&mut self, from: SocketAddr, identity: Identity) {
        // With a newer process of this name dead, no revision of this one is taken for alive: it would be told so without end.
        if self.phase == Phase::Member && self.namesake.meet(&identity, State::Down) {
            return;
        }
        if identity == *self.me() && self.phase == Phase::Member && !self.me().leaving {
            self.apply(std::iter::once(Member::down(identity)));
            self.sync_with(from);
        }
    }

    pub(super) fn try_a_dead_member(&mut self) {
        let dead = self.directory.iter().filter(|m| m.status == Status::Dead);
        let addresses = dead.map(|m| m.identity.gossip_addr());
        let one = addresses.choose(&mut self.rng);
        if let Some(to) = one.filter(|_| self.phase == Phase::Member) {
            self.sync_with(to);
        }
    }

    /// Tells of a newer revision of oneself, as foca's gossip reaches only those that foca holds for live.
    pub(super) fn tell_some(&mut self) {
        let others = self.swim.members().map(|m| m.id().gossip_addr());
        for to in others.sample(&mut self.rng, TOLD_OF_RENEWAL) {
            self.sync_with(to);
        }
    }
}
