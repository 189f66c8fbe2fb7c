//! Becoming a member: finding others, and making sure that the name is free.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use foca::{Member, State};
use rand::RngExt;

use super::packet::Packet;
use super::timers::Due;
use super::{Membership, Output};
use statemesh_protocol::identity::{Identity, MemberName};

/// Addresses tried for each [`super::Input::Join`]; one that answers names all others.
const MAX_SEEDS: usize = 64;
/// How often a namesake is asked whether it is still there: losing as many datagrams in a row is unlikely.
const NAMESAKE_TRIES: u8 = 3;

/// How far this member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not asked to join yet.
    Idle,
    /// Asking whether there is anyone, and whether the name is free.
    Looking,
    /// Somebody has the name: is it still there?
    Challenging { namesake: Identity, seed: SocketAddr, nonce: u64, tries_left: u8 },
    /// Takes part.
    Member,
    /// Said goodbye.
    Gone,
    /// The name is another's.
    Taken,
}

impl Membership {
    pub(super) fn join(&mut self, mut seeds: Vec<SocketAddr>, now: Instant) {
        let own = self.me().gossip_addr();
        seeds.retain(|seed| *seed != own);
        seeds.truncate(MAX_SEEDS);
        self.seeds = seeds;
        self.directory.forget(self.config.forget_after, now);
        match self.phase {
            Phase::Idle | Phase::Looking => {
                self.phase = Phase::Looking;
                let name = self.me().name.clone();
                for seed in self.seeds.clone() {
                    self.send(seed, &Packet::Look { name: name.clone() });
                }
            }
            Phase::Member => {
                for seed in if self.joined { self.strangers() } else { self.not_heard_out() } {
                    self.sync_with(seed);
                }
            }
            Phase::Challenging { .. } | Phase::Gone | Phase::Taken => {}
        }
    }

    /// Seeds, and others that are known, whose whole list this member does not have.
    fn not_heard_out(&self) -> Vec<SocketAddr> {
        let live = self.directory.iter().filter(|m| m.status.is_live()).map(|m| m.identity.gossip_addr());
        let all: BTreeSet<SocketAddr> = self.seeds.iter().copied().chain(live).collect();
        all.into_iter().filter(|address| !self.lists.has(address)).take(MAX_SEEDS).collect()
    }

    /// Seeds at which no live member is known.
    fn strangers(&self) -> Vec<SocketAddr> {
        let known = |seed: &SocketAddr| {
            let live = self.directory.iter().filter(|m| m.status.is_live());
            live.into_iter().any(|m| m.identity.gossip_addr() == *seed)
        };
        let seeds = self.seeds.iter().filter(|seed| !known(seed));
        seeds.copied().collect()
    }

    pub(super) fn looked_for(&mut self, from: SocketAddr, name: &MemberName) {
        let sender = self.self_as_member();
        let namesake = if *name == self.me().name {
            Some(sender.clone())
        } else {
            let mut known = self.foca.iter_membership_state();
            known.find(|m| m.id().name == *name).cloned()
        };
        self.send(from, &Packet::Seen { sender, namesake });
    }

    pub(super) fn seen(
        &mut self,
        from: SocketAddr,
        sender: Member<Identity>,
        namesake: Option<Member<Identity>>,
        now: Instant,
    ) {
        if self.phase != Phase::Looking {
            return;
        }
        match namesake {
            Some(other) if self.may_be_another(&other) => {
                self.challenge(other.id().clone(), from, NAMESAKE_TRIES, now);
            }
            Some(other) => {
                self.succeed(other.id());
                self.enter(from, sender);
            }
            None => self.enter(from, sender),
        }
    }

    /// A live namesake elsewhere may be another daemon; here, or dead, it was this one before it was started anew.
    fn may_be_another(&self, other: &Member<Identity>) -> bool {
        other.state() != State::Down
            && !other.id().same_process(self.me())
            && other.id().gossip_addr() != self.me().gossip_addr()
    }

    fn challenge(&mut self, namesake: Identity, seed: SocketAddr, tries: u8, now: Instant) {
        let nonce = self.rng.random();
        self.send(namesake.gossip_addr(), &Packet::Who { nonce });
        let wait = self.config.namesake_timeout / u32::from(NAMESAKE_TRIES);
        self.timers.set(now + wait, Due::Namesake);
        self.phase = Phase::Challenging { namesake, seed, nonce, tries_left: tries - 1 };
    }

    pub(super) fn here(&mut self, answered: u64, by: Identity) {
        let Phase::Challenging { nonce, .. } = &self.phase else {
            return;
        };
        if *nonce == answered && by.name == self.me().name && !by.same_process(self.me()) {
            self.phase = Phase::Taken;
            self.out.push_back(Output::NameTaken { by });
        }
    }

    /// The namesake did not answer: after a few tries this process succeeds it.
    pub(super) fn namesake_is_silent(&mut self, now: Instant) {
        let Phase::Challenging { namesake, seed, tries_left, .. } = self.phase.clone() else {
            return;
        };
        if tries_left > 0 {
            self.challenge(namesake, seed, tries_left, now);
        } else {
            self.succeed(&namesake);
            self.become_member();
            self.sync_with(seed);
        }
    }

    /// Makes sure to be newer than an earlier process of this name, though the clock may have gone back since.
    fn succeed(&mut self, earlier: &Identity) {
        if !earlier.same_process(self.me()) && earlier.incarnation >= self.me().incarnation {
            let incarnation = earlier.incarnation.saturating_add(1);
            self.renew_as(|me| Identity { incarnation, ..me });
        }
    }

    fn enter(&mut self, from: SocketAddr, sender: Member<Identity>) {
        self.become_member();
        if sender.id().name != self.me().name {
            self.apply(std::iter::once(sender));
        }
        if !self.seeds.contains(&from) {
            self.sync_with(from);
        }
    }

    /// Takes part from now on. All seeds hear of it, because those that start at the same time know of nobody yet: if each
    /// talked to one other only, they could be several meshes.
    pub(super) fn become_member(&mut self) {
        self.phase = Phase::Member;
        for seed in self.seeds.clone() {
            self.sync_with(seed);
        }
    }
}
