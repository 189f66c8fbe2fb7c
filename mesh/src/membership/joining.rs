//! Becoming a member: finding others, and making sure that the name is free.
//!
//! **A process takes part only when no daemon that it asked holds its name for that of a live member elsewhere.** Until then it says nothing
//! of itself, no matter who speaks to it: what it said would be taken for news of the one that has the name, which would end it
//! together with all that it holds. Whether that one lives is for the mesh to find out, which probes it, and not for the newcomer. The name
//! may become free in a moment, as when a pod is deleted without grace: the newcomer asks on for [`super::Config::name_patience`].
//!
//! A daemon that has not joined may not know of the mesh that has the name. So its answer decides only with those of all who are asked, or when these
//! are silent for longer; one that is about to hear from the mesh takes in no other that has not joined; and a member that meets one that
//! has not joined, under the name of a live member, says so, upon which that one asks again.
//!
//! Two may take part all the same, e.g. where they began on two sides of a cut: then the newer process stays, as the other was
//! declared dead by those who took it in. The same is so of one that has not joined, where those who took it in had no answer from the mesh
//! either: they spread it by foca's gossip, which says nothing of who has joined.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foca::{Member, State};
use rand::RngExt;

use super::lists::{Heading, Lists, Met};
use super::packet::Packet;
use super::timers::Due;
use super::{Membership, Output};
use statemesh_protocol::identity::{Identity, MemberName};

/// Addresses tried for each [`super::Input::Join`]; one that answers names all others.
const MAX_SEEDS: usize = 64;
/// How often those who may know the name are asked before they count as silent: losing as many datagrams in a row is unlikely.
const ROUNDS: u32 = 3;
/// How many times as long those who are silent are waited for where no member answers that takes part: they may know what others do not, or not be
/// there at all.
const TIMES_WITHOUT_A_MESH: u32 = 4;

/// The number in what is said of a name to one that did not ask.
pub(super) const NOBODY_ASKED: u64 = 0;

/// How far this member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not asked to join yet.
    Idle,
    /// Asking whether there are other daemons, and whether the name is free.
    Looking,
    /// Takes part.
    Member,
    /// Said goodbye.
    Gone,
    /// The name is another's.
    Taken,
}

/// What is known of the name of one that would join.
#[derive(Debug, Default)]
pub(super) struct NameCheck {
    /// By which answers name what they answer: any other is of an earlier question, and may have been recorded.
    number: u64,
    asked: BTreeSet<SocketAddr>,
    /// By who gave them.
    answers: BTreeMap<SocketAddr, Answer>,
    /// Since the first answer.
    since: Option<Instant>,
    /// It was a member before, and may be known.
    again: bool,
    /// Since when another daemon has the name.
    held_since: Option<Instant>,
}

#[derive(Debug)]
struct Answer {
    at: Instant,
    /// Who gave it takes part.
    joined: bool,
    /// The live member elsewhere that has the name.
    holder: Option<Identity>,
}

impl NameCheck {
    pub(super) fn new(number: u64) -> Self {
        Self { number, ..Self::default() }
    }

    /// Whether here was asked under this number.
    pub(super) fn has_asked(&self, address: &SocketAddr, number: u64) -> bool {
        self.number == number && self.asked.contains(address)
    }

    /// Asks here as well. False if that are too many.
    fn ask(&mut self, address: SocketAddr) -> bool {
        let room = self.asked.len() < 2 * MAX_SEEDS || self.asked.contains(&address);
        if room {
            self.asked.insert(address);
        }
        room
    }

    fn note(&mut self, from: SocketAddr, answer: Answer) {
        self.since.get_or_insert(answer.at);
        if self.answers.len() < 4 * MAX_SEEDS || self.answers.contains_key(&from) {
            self.answers.insert(from, answer);
        }
    }

    fn forget(&mut self, older_than: Duration, now: Instant) {
        self.answers.retain(|_, answer| now.saturating_duration_since(answer.at) <= older_than);
        match self.holder() {
            Some(_) => _ = self.held_since.get_or_insert(now),
            None => self.held_since = None,
        }
    }

    /// Who has the name.
    pub(super) fn holder(&self) -> Option<&Identity> {
        self.answers.values().find_map(|answer| answer.holder.as_ref())
    }

    fn have_all_answered(&self) -> bool {
        self.asked.iter().all(|address| self.answers.contains_key(address))
    }

    fn has_met_the_mesh(&self) -> bool {
        self.answers.values().any(|answer| answer.joined)
    }
}

/// What is known of the mesh that this member would join.
#[derive(Debug)]
pub(super) struct Joining {
    /// Whether the name is free, until this member takes part.
    pub(super) name: NameCheck,
    /// When one that takes part has answered, whose list is awaited.
    mesh_found: Option<Instant>,
    seeds: Vec<SocketAddr>,
    pub(super) joined: bool,
    /// What it was told before.
    lists: Lists,
}

impl Joining {
    pub(super) fn new(number: u64) -> Self {
        let name = NameCheck::new(number);
        Self { name, mesh_found: None, seeds: Vec::new(), joined: false, lists: Lists::default() }
    }

    /// This member has joined: lists are of no use any more.
    pub(super) fn complete(&mut self) {
        self.joined = true;
        self.lists = Lists::default();
    }

    /// A part of a member's list came.
    pub(super) fn note_list(&mut self, from: SocketAddr, heading: Heading) {
        if !self.joined {
            self.lists.note(from, heading);
        }
    }

    /// Whether the whole list of the member at this address came, before this one has joined.
    pub(super) fn has_list_of(&self, address: &SocketAddr) -> bool {
        self.lists.has(address)
    }

    /// What is known of others, of whom so many are alive.
    pub(super) fn met(&mut self, live: usize, now: Instant) -> Met {
        self.lists.met(&self.seeds, live, now)
    }

    /// This member begins to take part. Gives those that are to hear of it.
    fn begin(&mut self, now: Instant) -> BTreeSet<SocketAddr> {
        let name = std::mem::take(&mut self.name);
        let has_met_the_mesh = name.has_met_the_mesh();
        self.mesh_found = has_met_the_mesh.then_some(now);
        let all: BTreeSet<SocketAddr> = name.asked.iter().chain(name.answers.keys()).copied().collect();
        let takes_part = |address: &SocketAddr| name.answers.get(address).is_none_or(|answer| answer.joined);
        all.into_iter().filter(|address| !has_met_the_mesh || takes_part(address)).collect()
    }

    /// Whether the list of one that takes part is about to come, if it has `patience` for that. If it does not, that one may be dead.
    fn awaits_the_mesh(&self, patience: Duration, now: Instant) -> bool {
        let is_soon = |at| now.saturating_duration_since(at) < patience;
        !self.joined && self.mesh_found.is_some_and(is_soon) && !self.lists.are_of_the_mesh()
    }
}

impl Membership {
    pub(super) fn join(&mut self, mut seeds: Vec<SocketAddr>, now: Instant) {
        let own = self.me().gossip_addr();
        seeds.retain(|seed| *seed != own);
        seeds.truncate(MAX_SEEDS);
        self.joining.seeds.clone_from(&seeds);
        self.directory.forget(self.config.forget_after, now);
        match self.phase {
            Phase::Idle | Phase::Looking => {
                self.phase = Phase::Looking;
                for seed in seeds {
                    self.joining.name.ask(seed);
                }
                self.ask_for_name();
            }
            Phase::Member => {
                for seed in if self.joining.joined { self.strangers() } else { self.not_heard_out() } {
                    self.sync_with(seed);
                }
            }
            Phase::Gone | Phase::Taken => {}
        }
    }

    fn ask_for_name(&mut self) {
        let look = self.look();
        for address in self.joining.name.asked.clone() {
            self.send(address, &look);
        }
    }

    fn look(&self) -> Packet<'static> {
        Packet::Look { name: self.me().name.clone(), number: self.joining.name.number }
    }

    /// A member spoke to this one, which would join: it is asked as well, and answered when the name is known to be free.
    pub(super) fn spoken_to(&mut self, from: SocketAddr) {
        if !self.joining.name.asked.contains(&from) && self.joining.name.ask(from) {
            self.send(from, &self.look());
        }
    }

    /// Seeds, and others that are known, whose whole list this member does not have.
    fn not_heard_out(&self) -> Vec<SocketAddr> {
        let live = self.directory.iter().filter(|m| m.status.is_live()).map(|m| m.identity.gossip_addr());
        let all: BTreeSet<SocketAddr> = self.joining.seeds.iter().copied().chain(live).collect();
        all.into_iter().filter(|address| !self.joining.has_list_of(address)).take(MAX_SEEDS).collect()
    }

    /// Seeds at which no live member is known.
    fn strangers(&self) -> Vec<SocketAddr> {
        let known = |seed: &SocketAddr| {
            let live = self.directory.iter().filter(|m| m.status.is_live());
            live.into_iter().any(|m| m.identity.gossip_addr() == *seed)
        };
        let seeds = self.joining.seeds.iter().filter(|seed| !known(seed));
        seeds.copied().collect()
    }

    /// A member has this name: itself where it takes part, or one that it knows.
    pub(super) fn looked_for(&mut self, from: SocketAddr, name: &MemberName, number: u64) {
        let sender = self.self_as_member();
        let namesake = if *name != self.me().name {
            let mut known = self.swim.all();
            known.find(|m| m.id().name == *name).cloned()
        } else {
            (self.phase == Phase::Member).then(|| sender.clone())
        };
        self.send(from, &Packet::Seen { sender, number, joined: self.joining.joined, namesake });
    }

    /// Looks again, where who said that the name is free did not know.
    pub(super) fn told_of_namesake(&mut self, from: SocketAddr, namesake: Option<&Member<Identity>>) {
        if !self.joining.joined && namesake.is_some_and(|other| self.is_another(other)) {
            self.phase = Phase::Looking;
            self.joining.name = NameCheck { again: true, ..NameCheck::new(self.rng.random()) };
            self.timers.set_once(self.now + self.config.namesake_timeout / ROUNDS, Due::Name);
            self.spoken_to(from);
        }
    }

    pub(super) fn seen(
        &mut self,
        from: SocketAddr,
        sender: &Member<Identity>,
        joined: bool,
        namesake: Option<Member<Identity>>,
        now: Instant,
    ) {
        if !matches!(self.phase, Phase::Idle | Phase::Looking) {
            return;
        }
        let holder = match namesake {
            Some(other) if self.is_another(&other) => Some(other.id().clone()),
            Some(other) if self.joining.name.again && other.id().same_process(self.me()) => None,
            Some(other) => {
                self.succeed(other.id());
                None
            }
            None => Some(sender.id()).filter(|other| self.comes_before_me(other)).cloned(),
        };
        self.joining.name.note(from, Answer { at: now, joined, holder });
        self.go_on_looking(now);
    }

    /// A live namesake elsewhere is another daemon; here, or dead, it was this one before it was started anew.
    fn is_another(&self, other: &Member<Identity>) -> bool {
        other.state() != State::Down && other.id().gossip_addr() != self.me().gossip_addr()
    }

    /// Of two that would join under one name at the same time the older one does.
    fn comes_before_me(&self, other: &Identity) -> bool {
        let order = |id: &Identity| (id.incarnation, id.gossip_addr());
        other.name == self.me().name && order(other) < order(self.me())
    }

    /// Joins if the name is free, or ends if it was not for too long. A daemon that is asked and says nothing for a while may not be there.
    fn go_on_looking(&mut self, now: Instant) {
        let timeout = self.config.namesake_timeout;
        // The answer of a daemon that is silent since counts for as long again.
        self.joining.name.forget(2 * timeout, now);
        let patience = timeout * if self.joining.name.has_met_the_mesh() { 1 } else { TIMES_WITHOUT_A_MESH };
        let silent_for = self.joining.name.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if let Some(by) = self.joining.name.holder().cloned() {
            let held_for =
                self.joining.name.held_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
            if held_for >= self.config.name_patience {
                self.phase = Phase::Taken;
                return self.out.push_back(Output::NameTaken { by });
            }
        } else if !self.joining.name.answers.is_empty()
            && (silent_for >= patience || (self.phase == Phase::Looking && self.joining.name.have_all_answered()))
        {
            return self.become_member();
        }
        self.timers.set_once(now + timeout / ROUNDS, Due::Name);
    }

    /// It is time to ask again.
    pub(super) fn name_is_due(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Idle | Phase::Looking) {
            self.go_on_looking(now);
            if self.phase != Phase::Taken && self.phase != Phase::Member {
                self.ask_for_name();
            }
        }
    }

    /// Makes sure to be newer than an earlier process of this name, though the clock may have gone back since.
    pub(super) fn succeed(&mut self, earlier: &Identity) {
        if earlier.incarnation >= self.me().incarnation {
            let incarnation = earlier.incarnation.saturating_add(1);
            self.renew_as(|me| Identity { incarnation, ..me });
        }
    }

    /// Takes part from now on. All seeds hear of it, because those that start at the same time know of no other yet: if each
    /// talked to one other only, they could be several meshes.
    pub(super) fn become_member(&mut self) {
        self.phase = Phase::Member;
        for address in self.joining.begin(self.now) {
            self.sync_with(address);
        }
    }

    /// Whether the list of one that takes part is about to come, which tells whose name is free. If it does not, that one may be dead.
    pub(super) fn awaits_the_mesh(&self) -> bool {
        self.joining.awaits_the_mesh(self.config.namesake_timeout * TIMES_WITHOUT_A_MESH, self.now)
    }
}
