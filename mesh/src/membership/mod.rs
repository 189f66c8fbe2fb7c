//! Who is there: SWIM by the crate foca, behind a value that is told what happened and when, and says what to send.
//!
//! foca probes, suspects, and spreads news. Around it this adds what a mesh of daemons needs:
//! - **Joining** asks an address for its list and needs no identity of those that are there. A starting daemon first asks whether
//!   its name is taken: a live namesake keeps it, a dead one is succeeded, with a newer incarnation (`joining.rs` has the rule).
//! - **Comparing lists** with a random member every few seconds finds what gossip missed; equal digests end it at once.
//! - **Healing**: dead members are tried again, so the sides of a partitioned network find each other without help.
//! - **Leaving** is said in the identity: a leaving member still forwards, but nothing is placed on it.
//! - **Pauses**: a process that was stopped holds the time it missed against no member ([`Config::pause`]), and one that is woken late
//!   gives suspects more time (`patience.rs`).
//!
//! A member is its name and incarnation. When a name comes back with a newer incarnation, the older process is reported down
//! and the newer one up, in this order. A new revision of the same process is only [`Output::Updated`].

mod codec;
mod config;
mod directory;
mod joining;
mod lists;
mod packet;
mod patience;
mod probe;
mod swim;
mod sync;
mod timers;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foca::{Member, OwnedNotification, State, Timer};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use codec::{Namesake, NamesakeWatch, WireCodec};
pub use config::{Config, MAX_MEMBERS};
pub use directory::{MemberInfo, Status};
use joining::{Joining, Phase};
use lists::Heading;
pub use lists::Met;
use packet::Packet;
use patience::Patience;
use probe::{Outcome, Ping, Probe};
use statemesh_protocol::identity::{Identity, MemberName};
use swim::Swim;
use timers::Timers;

/// What can happen to membership.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// A datagram came, opened by the seal.
    Packet {
        /// Its source address.
        from: SocketAddr,
        /// The opened bytes.
        bytes: &'a [u8],
    },
    /// A member sent this over its link ([`Output::SendByLink`]).
    ByLink {
        /// Who.
        from: MemberName,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The deadline has come.
    Tick,
    /// Discovery found these addresses. Unknown ones are asked for their lists; say it again as long as not joined.
    Join {
        /// Gossip addresses.
        seeds: Vec<SocketAddr>,
    },
    /// This member takes part from now on: a member that joins by its list knows the mesh.
    Joined,
    /// There is reason to think that this member is dead: its link was reset. It has to say that it is not.
    Suspect(MemberName),
    /// Tell everyone that this member leaves, so that nothing is placed on it any more.
    Leave,
    /// Say goodbye: from now on this member is gone.
    Goodbye,
}

/// What the shell does next, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Seal these bytes and send them.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// Send these bytes over the link to this member, if there is one: datagrams to it, or from it, were lost.
    SendByLink {
        /// Whom to.
        to: MemberName,
        /// What.
        bytes: Vec<u8>,
    },
    /// A member is there.
    Up(Identity),
    /// A member's process said something new about itself, e.g. that it leaves.
    Updated(Identity),
    /// A member is gone.
    Down {
        /// As it was last known.
        identity: Identity,
        /// It left, or it died.
        left: bool,
    },
    /// A member could not reach this one.
    Suspected(MemberName),
    /// A suspect said that it is alive.
    Refuted(MemberName),
    /// A member answers others, and not this one, neither by datagrams nor by its link: what is said to it may not arrive.
    OutOfReach(MemberName),
    /// A member that was out of reach has answered by its link.
    InReach(MemberName),
    /// Others declared this member dead, and may have adopted what it holds.
    TakenForDead,
    /// This member itself is known under a newer revision or incarnation now: the mesh had held it for dead, its clock had
    /// gone back, or it leaves.
    Renewed(Identity),
    /// Another process has this name. This one takes part no more and should end.
    NameTaken {
        /// Who has it.
        by: Identity,
    },
}

impl Output {
    /// The name of each kind.
    pub const NAMES: &'static [&'static str] = &[
        "send",
        "send-by-link",
        "up",
        "updated",
        "down",
        "suspected",
        "refuted",
        "out-of-reach",
        "in-reach",
        "taken-for-dead",
        "renewed",
        "name-taken",
    ];

    /// The name of its kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Send { .. } => "send",
            Self::SendByLink { .. } => "send-by-link",
            Self::Up(_) => "up",
            Self::Updated(_) => "updated",
            Self::Down { .. } => "down",
            Self::Suspected(_) => "suspected",
            Self::Refuted(_) => "refuted",
            Self::OutOfReach(_) => "out-of-reach",
            Self::InReach(_) => "in-reach",
            Self::TakenForDead => "taken-for-dead",
            Self::Renewed(_) => "renewed",
            Self::NameTaken { .. } => "name-taken",
        }
    }
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that are not of this protocol.
    pub malformed: u64,
    /// Datagrams of unknown senders, dropped because [`MAX_MEMBERS`] are known.
    pub over_limit: u64,
    /// How often this process found that it was paused.
    pub pauses: u64,
    /// How often the mesh held this member for dead, and it said otherwise.
    pub renewals: u64,
}

/// A member's part of the membership protocol. See the module.
pub struct Membership {
    config: Config,
    swim: Swim,
    rng: StdRng,
    timers: Timers,
    directory: directory::Directory,
    phase: Phase,
    joining: Joining,
    probe: Probe,
    /// Members that answer others, and not this one.
    out_of_reach: BTreeSet<MemberName>,
    patience: Patience,
    /// A newer process of this member's name, as the codec met it in a datagram.
    namesake: Arc<NamesakeWatch>,
    /// It has another identity since the last look.
    renewed: bool,
    counters: Counters,
    /// The time of the current input.
    now: Instant,
    out: VecDeque<Output>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Membership");
        debug.field("me", self.me()).field("phase", &self.phase);
        debug.field("directory", &self.directory).finish()
    }
}

impl Membership {
    /// A member that knows of no other. `seed` makes all of its random choices.
    #[must_use]
    pub fn new(me: Identity, config: Config, seed: u64, now: Instant) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let namesake = Arc::new(NamesakeWatch::new(&me));
        let codec = WireCodec::new(Arc::clone(&namesake));
        let foca_rng = StdRng::seed_from_u64(rng.random());
        let joining = Joining::new(rng.random());
        let mut timers = Timers::default();
        timers.set(now + config.sync_interval, timers::Due::Sync);
        timers.set(now + config.heal_interval, timers::Due::Heal);
        Self {
            swim: Swim::new(me, &config, foca_rng, codec),
            config,
            rng,
            timers,
            directory: directory::Directory::default(),
            phase: Phase::Idle,
            joining,
            probe: Probe::default(),
            out_of_reach: BTreeSet::new(),
            patience: Patience::default(),
            namesake,
            renewed: false,
            counters: Counters::default(),
            now,
            out: VecDeque::new(),
        }
    }

    /// Takes in what happened; [`Membership::poll`] gives what follows from it.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        if self.phase == Phase::Taken {
            return;
        }
        self.now = now;
        match input {
            Input::Packet { from, bytes } => self.packet(from, None, bytes, now),
            Input::ByLink { from, bytes } => self.by_link(&from, bytes, now),
            Input::Tick => self.tick(now),
            Input::Join { seeds } => self.join(seeds, now),
            Input::Joined => {
                self.joining.complete();
                if matches!(self.phase, Phase::Idle | Phase::Looking) {
                    self.become_member();
                }
            }
            Input::Suspect(name) => self.suspect(&name, now),
            Input::Leave => self.leave(),
            Input::Goodbye => self.goodbye(),
        }
        self.collect(now);
        self.look_for_namesake();
        if std::mem::take(&mut self.renewed) {
            self.suspect_anew(now);
        }
        self.swim.reconfigure(&self.config);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        // One whose name is another's does nothing any more.
        self.timers.next().filter(|_| self.phase != Phase::Taken)
    }

    /// This member, as it is known now.
    #[must_use]
    pub fn me(&self) -> &Identity {
        self.swim.me()
    }

    /// All others that are known: alive, suspect, departed and dead.
    pub fn members(&self) -> impl Iterator<Item = &MemberInfo> {
        self.directory.iter()
    }

    /// What is known of a member.
    #[must_use]
    pub fn member(&self, name: &MemberName) -> Option<&MemberInfo> {
        self.directory.get(name)
    }

    /// Whether a member answers others alone ([`Output::OutOfReach`]).
    #[must_use]
    pub fn is_out_of_reach(&self, name: &MemberName) -> bool {
        self.out_of_reach.contains(name)
    }

    /// How many others are alive or suspect.
    #[must_use]
    pub fn live(&self) -> usize {
        self.swim.live()
    }

    /// Whether one at this address has sent its list to this member, which has not joined.
    #[must_use]
    pub fn has_list_of(&self, address: &SocketAddr) -> bool {
        self.joining.has_list_of(address)
    }

    /// Who has the name under which this member would join.
    #[must_use]
    pub fn name_holder(&self) -> Option<&Identity> {
        self.joining.name.holder()
    }

    /// What a member that joins knows of others; nothing as long as it asks whether its name is free.
    pub fn met(&mut self, now: Instant) -> Met {
        if self.phase != Phase::Member {
            return Met::Nobody;
        }
        self.joining.met(self.live(), now)
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn packet(&mut self, from: SocketAddr, by_link: Option<&MemberName>, bytes: &[u8], now: Instant) {
        if self.phase == Phase::Gone {
            return;
        }
        match Packet::decode(bytes) {
            // It may be about an earlier process of this name, of which this one has not heard yet.
            Ok(Packet::Swim(_)) if matches!(self.phase, Phase::Idle | Phase::Looking) => {}
            // Whether it takes part is what its list says.
            Ok(Packet::Swim(bytes)) if self.is_contested(bytes) => self.sync_with(from),
            Ok(Packet::Swim(bytes)) => {
                let answered = self.probe.heard(bytes);
                if answered && by_link.is_some_and(|name| self.out_of_reach.remove(name)) {
                    self.out.extend(by_link.cloned().map(Output::InReach));
                }
                let result = self.swim.datagram(bytes);
                self.note(result);
            }
            Ok(packet) => self.own_packet(from, packet, now),
            Err(_) => self.counters.malformed += 1,
        }
    }

    /// As [`Membership::packet`], and what is said in return goes the same way.
    fn by_link(&mut self, from: &MemberName, bytes: &[u8], now: Instant) {
        let Some(address) = self.directory.get(from).map(|known| known.identity.gossip_addr()) else {
            return;
        };
        let before = self.out.len();
        self.packet(address, Some(from), bytes, now);
        self.collect(now);
        for output in self.out.iter_mut().skip(before) {
            if let Output::Send { to, bytes } = output
                && *to == address
            {
                *output = Output::SendByLink { to: from.clone(), bytes: std::mem::take(bytes) };
            }
        }
    }

    fn own_packet(&mut self, from: SocketAddr, packet: Packet<'_>, now: Instant) {
        match packet {
            Packet::Look { name, number } => self.looked_for(from, &name, number),
            Packet::Seen { namesake, .. } if self.phase == Phase::Member => {
                self.told_of_namesake(from, namesake.as_ref())
            }
            Packet::Seen { sender, number, joined, namesake } => {
                if self.joining.name.has_asked(&from, number) {
                    self.seen(from, &sender, joined, namesake, now);
                }
            }
            Packet::Sync { sender, digest, joined } => self.asked_to_sync(from, sender, digest, joined),
            Packet::Page { sender, heading, members } => self.page(from, sender, heading, members, now),
            Packet::Dead { identity } => self.held_for_dead(from, identity),
            Packet::Swim(_) => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        if let Some(late) = self.timers.next().and_then(|at| now.checked_duration_since(at)) {
            self.patience.woken(late > self.config.pause / 2, now);
            if late > self.config.pause {
                self.counters.pauses += 1;
                self.timers.delay_all(late);
            }
        }
        while let Some(due) = self.timers.pop(now) {
            match due {
                timers::Due::Foca(timer) => self.foca_timer(timer, now),
                timers::Due::Suspicion { timer, since } => self.suspicion_is_due(timer, since, now),
                timers::Due::Sync => {
                    self.sync_with_somebody();
                    // Members that started together should not all ask at once.
                    let next = self.jittered(self.config.sync_interval);
                    self.timers.set(now + next, timers::Due::Sync);
                }
                timers::Due::Learn => self.sync_with_somebody(),
                timers::Due::Heal => {
                    self.try_a_dead_member();
                    let next = self.jittered(self.config.heal_interval);
                    self.timers.set(now + next, timers::Due::Heal);
                }
                timers::Due::Name => self.name_is_due(now),
            }
            self.collect(now);
        }
    }

    fn foca_timer(&mut self, timer: Timer<Identity>, now: Instant) {
        if self.swim.is_over(&timer) {
            return;
        }
        if self.phase == Phase::Looking {
            // It looks again, and says nothing of itself meanwhile.
            return self.timers.set(now + self.config.namesake_timeout, timers::Due::Foca(timer));
        }
        if let Timer::SendIndirectProbe { probed_id, .. } = &timer
            && let Some(ping) = self.probe.unanswered(probed_id.gossip_addr())
        {
            self.out.push_back(Output::SendByLink { to: probed_id.name.clone(), bytes: ping.bytes.clone() });
        }
        let probes = matches!(timer, Timer::ProbeRandomMember(_));
        let result = self.swim.timer(timer);
        self.note(result);
        if probes {
            let outcome = self.probe.end();
            let before = self.out.len();
            self.collect(now);
            let ping = self.out.range(before..).find_map(|output| match output {
                Output::Send { to, bytes } => Ping::read(*to, bytes),
                _ => None,
            });
            self.ask_by_link_too(ping.as_ref());
            self.probe.begin(ping);
            self.scan_suspicions(now);
            match outcome {
                Outcome::Answered => {}
                Outcome::OutOfReach(ping) => self.answers_others_alone(&ping),
                Outcome::Unanswered(ping) => self.tell_suspect(ping),
            }
        }
    }

    /// A member that answers others alone.
    fn answers_others_alone(&mut self, ping: &Ping) {
        let name = self.member_at(ping.to);
        if let Some(name) = name
            && self.out_of_reach.insert(name.clone())
        {
            self.out.push_back(Output::OutOfReach(name));
        }
    }

    /// A member that was out of reach is in reach when its link is: what was said there since waits for it.
    fn ask_by_link_too(&mut self, ping: Option<&Ping>) {
        let Some(ping) = ping.filter(|_| !self.out_of_reach.is_empty()) else { return };
        if let Some(to) = self.member_at(ping.to).filter(|name| self.out_of_reach.contains(name)) {
            self.out.push_back(Output::SendByLink { to, bytes: ping.bytes.clone() });
        }
    }

    fn member_at(&self, address: SocketAddr) -> Option<MemberName> {
        self.swim.members().find(|m| m.id().gossip_addr() == address).map(|m| m.id().name.clone())
    }

    /// Tells a member over its link that its probe failed. It has little time to say that it is alive, so it is asked once more.
    fn tell_suspect(&mut self, Ping { to, bytes, .. }: Ping) {
        let suspect = |m: &&Member<Identity>| m.state() == State::Suspect && m.id().gossip_addr() == to;
        let Some(suspect) = self.swim.members().find(suspect).cloned() else { return };
        let to = suspect.id().name.clone();
        let page = self.suspicion(suspect);
        self.out.extend([page, bytes].map(|bytes| Output::SendByLink { to: to.clone(), bytes }));
    }

    /// Marks a member suspect and gives it the usual time to say that it is alive.
    fn suspect(&mut self, name: &MemberName, now: Instant) {
        let known = self.swim.members().find(|m| m.id().name == *name);
        let Some(known) = known.cloned() else { return };
        let suspect = Member::new(known.id().clone(), known.incarnation(), State::Suspect);
        self.apply(std::iter::once(suspect.clone()));
        self.end_suspicion(&suspect, now);
        self.scan_suspicions(now);
    }

    /// Sees to it that a suspicion ends in time.
    fn end_suspicion(&mut self, suspect: &Member<Identity>, now: Instant) {
        let timer = self.swim.end_of_suspicion(suspect);
        self.timers.set(now + self.suspicion_time(), timers::Due::Suspicion { timer, since: now });
    }

    /// How long a suspect has.
    fn suspicion_time(&self) -> Duration {
        self.config.suspicion_for(self.live() + 1) * self.patience.times()
    }

    /// The time of a suspect is over, unless this process has been late since.
    fn suspicion_is_due(&mut self, timer: Timer<Identity>, since: Instant, now: Instant) {
        let until = since + self.suspicion_time();
        if now < until {
            self.timers.set(until, timers::Due::Suspicion { timer, since });
        } else {
            self.foca_timer(timer, now);
        }
    }

    /// With a new identity foca 2.0.0 forgets when its suspicions end, and a suspect stays one unless it happens to hear of it: each
    /// is told, and has the usual time again.
    fn suspect_anew(&mut self, now: Instant) {
        let suspects: Vec<_> = self.swim.suspects().cloned().collect();
        // It does not know either that it is connected, before it hears of a member.
        self.apply(suspects.iter().cloned());
        self.collect(now);
        for suspect in suspects {
            self.end_suspicion(&suspect, now);
            let (to, by_link) = (suspect.id().gossip_addr(), suspect.id().name.clone());
            let bytes = self.suspicion(suspect);
            self.out.push_back(Output::Send { to, bytes: bytes.clone() });
            self.out.push_back(Output::SendByLink { to: by_link, bytes });
        }
    }

    /// What tells a member that it is suspect: one part of a list whose others do not come.
    fn suspicion(&self, suspect: Member<Identity>) -> Vec<u8> {
        let heading = Heading { digest: self.swim.digest(), part: 0, parts: u16::MAX, joined: self.joining.joined };
        Packet::Page { sender: self.self_as_member(), heading, members: vec![suspect] }.encode()
    }

    fn leave(&mut self) {
        if !self.me().leaving {
            let leaving = true;
            self.renew_as(|me| Identity { leaving, ..me });
        }
    }

    fn goodbye(&mut self) {
        let result = self.swim.leave();
        self.note(result);
        self.phase = Phase::Gone;
    }

    /// Becomes known under a changed identity, which must be newer than the one before.
    fn renew_as(&mut self, change: impl FnOnce(Identity) -> Identity) {
        let mut next = change(self.me().clone());
        if next.version() <= self.me().version() {
            next.revision = self.me().revision.saturating_add(1);
        }
        self.namesake.set_incarnation(next.incarnation);
        let result = self.swim.change_identity(next);
        self.note(result);
        self.renewed = true;
        self.out.push_back(Output::Renewed(self.me().clone()));
    }

    fn apply(&mut self, members: impl Iterator<Item = Member<Identity>>) {
        let result = self.swim.apply(members);
        self.note(result);
    }

    fn note(&mut self, result: Result<(), foca::Error>) {
        // foca recovers from its own inconsistencies; what is left is input that it refused.
        if matches!(result, Err(foca::Error::Decode(_) | foca::Error::MalformedPacket | foca::Error::DataTooBig)) {
            self.counters.malformed += 1;
        }
    }

    /// Carries out what foca asked for.
    fn collect(&mut self, now: Instant) {
        while let Some((to, bytes)) = self.swim.next_datagram() {
            let bytes = Packet::Swim(&bytes).encode();
            let to = to.gossip_addr();
            self.out.push_back(Output::Send { to, bytes });
        }
        while let Some((after, timer)) = self.swim.next_timer() {
            let due = match timer {
                Timer::ChangeSuspectToDown { .. } => timers::Due::Suspicion { timer, since: now },
                timer => timers::Due::Foca(timer),
            };
            self.timers.set(now + after, due);
        }
        while let Some(notification) = self.swim.next_notification() {
            self.notified(notification, now);
        }
    }

    fn notified(&mut self, notification: OwnedNotification<Identity>, now: Instant) {
        let out = &mut self.out;
        // What is known of a process says nothing of the next one of its name.
        match &notification {
            OwnedNotification::MemberUp(id) | OwnedNotification::MemberDown(id) => {
                drop(self.out_of_reach.take(&id.name))
            }
            OwnedNotification::Rename(was, is) if !was.same_process(is) => drop(self.out_of_reach.take(&is.name)),
            _ => {}
        }
        match notification {
            OwnedNotification::MemberUp(id) => self.directory.up(id, now, out),
            OwnedNotification::MemberDown(id) => self.directory.down(&id, now, out),
            OwnedNotification::Rename(_, id) => self.directory.renamed(id, now, out),
            OwnedNotification::Rejoin(id) => {
                self.counters.renewals += 1;
                self.renewed = true;
                self.out.push_back(Output::TakenForDead);
                self.out.push_back(Output::Renewed(id));
                self.tell_some();
            }
            OwnedNotification::Active | OwnedNotification::Idle | OwnedNotification::Defunct => {}
        }
    }

    fn jittered(&mut self, interval: Duration) -> Duration {
        interval.mul_f64(self.rng.random_range(0.8..1.2))
    }

    fn scan_suspicions(&mut self, now: Instant) {
        let suspects = self.swim.suspects().map(|member| member.id().name.clone()).collect();
        self.directory.set_suspects(suspects, now, &mut self.out);
    }

    /// Ends this member's part when a newer process of its name was met, or succeeds that one if it is dead.
    fn look_for_namesake(&mut self) {
        match self.namesake.take() {
            Some(Namesake::Live(by)) => {
                self.phase = Phase::Taken;
                self.out.push_back(Output::NameTaken { by });
            }
            Some(Namesake::Dead(earlier)) => {
                self.counters.renewals += 1;
                self.out.push_back(Output::TakenForDead);
                self.succeed(&earlier);
                self.tell_some();
            }
            None => {}
        }
    }

    fn self_as_member(&self) -> Member<Identity> {
        // foca does not tell this member's own counter of refutations. With 0 the record says who is there and loses
        // against any suspicion; the next datagram of foca's has the number.
        Member::alive(self.me().clone())
    }

    fn send(&mut self, to: SocketAddr, packet: &Packet<'_>) {
        let bytes = packet.encode();
        self.out.push_back(Output::Send { to, bytes });
    }
}

#[cfg(test)]
mod tests;
