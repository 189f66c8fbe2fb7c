//! One simulated daemon: the shell around the real protocol values, with counters for state machines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Options;
use super::network::{Mail, encode};
use crate::identity::{Identity, MemberName};
use crate::membership::{self, Membership};
use crate::ownership::{self, Ownership, Target};
use crate::placement::Partition;
use crate::protocol::PeerMessage;
use crate::routing::{MemberNumber, Route, Router};

/// Daemons that may pass an event on before it is answered with an error.
const MAX_HOPS: u8 = 4;

/// What one member counted, or all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events applied.
    pub applied: u64,
    /// Events applied although an earlier one of their key was not: lost or overtaken.
    pub gaps: u64,
    /// Events applied although they, or later ones, had been.
    pub doubles: u64,
    /// Keys that two members held, with different numbers.
    pub conflicts: u64,
    /// Partitions taken that nobody ever held.
    pub fresh: u64,
    /// Partitions taken whose holder had died.
    pub lost: u64,
    /// Members that this one learned to be suspected.
    pub suspicions: u64,
    /// Partitions served again because their new holder died.
    pub restored: u64,
}

impl std::ops::Add for Tally {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            applied: self.applied + other.applied,
            gaps: self.gaps + other.gaps,
            doubles: self.doubles + other.doubles,
            conflicts: self.conflicts + other.conflicts,
            fresh: self.fresh + other.fresh,
            lost: self.lost + other.lost,
            suspicions: self.suspicions + other.suspicions,
            restored: self.restored + other.restored,
        }
    }
}

pub(super) enum NodeOutput {
    Datagram { to: SocketAddr, bytes: Vec<u8> },
    Mail { to: usize, link: u64, mail: Mail },
    Connect(usize),
    Move(Partition),
    Answered { key: usize, number: u64, failed: bool },
    Died(usize),
    Ended,
}

/// Who waits for an event's answer.
#[derive(Debug, Clone, Copy)]
enum Asker {
    Client,
    Peer { node: usize, correlation: u64 },
}

#[derive(Debug, Clone, Copy)]
struct Job {
    partition: Partition,
    key: usize,
    number: u64,
    hops: u8,
    asker: Asker,
}

pub(super) struct Node {
    pub(super) name: MemberName,
    pub(super) membership: Membership,
    ownership: Option<Ownership>,
    router: Router,
    seeds: Vec<SocketAddr>,
    active: bool,
    pub(super) running: bool,
    pub(super) paused_until: Option<Instant>,
    pub(super) clock_ahead: Duration,
    pub(super) wake_at: Option<Instant>,
    pub(super) links: BTreeMap<usize, u64>,
    /// When the last thing sent to a peer arrives.
    pub(super) order: BTreeMap<usize, Instant>,
    state: BTreeMap<Partition, BTreeMap<usize, u64>>,
    arriving: BTreeMap<Partition, BTreeMap<usize, u64>>,
    merging: BTreeSet<Partition>,
    /// Partitions that are being sent, and to whom.
    moving: BTreeMap<Partition, usize>,
    parked: BTreeMap<Partition, VecDeque<Job>>,
    under_way: BTreeMap<u64, (usize, Job)>,
    last_correlation: u64,
    pub(super) tally: Tally,
    pub(super) outputs: VecDeque<NodeOutput>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Node {
    pub(super) fn new(identity: Identity, options: &Options, seed: u64, now: Instant, seeds: Vec<SocketAddr>) -> Self {
        let name = identity.name.clone();
        let partitions = options.partitions;
        let ownership = (partitions > 0).then(|| Ownership::new(name.clone(), partitions, options.ownership.clone()));
        Self {
            membership: Membership::new(identity, options.membership.clone(), seed, now),
            ownership,
            router: Router::new(partitions),
            name,
            seeds,
            active: false,
            running: true,
            paused_until: None,
            clock_ahead: Duration::ZERO,
            wake_at: None,
            links: BTreeMap::new(),
            order: BTreeMap::new(),
            state: BTreeMap::new(),
            arriving: BTreeMap::new(),
            merging: BTreeSet::new(),
            moving: BTreeMap::new(),
            parked: BTreeMap::new(),
            under_way: BTreeMap::new(),
            last_correlation: 0,
            tally: Tally::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Which process of its name.
    pub(super) fn life(&self) -> u64 {
        self.membership.me().incarnation
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let ownership = self.ownership.as_ref().and_then(Ownership::next_deadline);
        self.membership.next_deadline().into_iter().chain(ownership).min()
    }

    pub(super) fn serves(&self, partition: Partition) -> bool {
        let target = self.ownership.as_ref().map(|o| o.target(partition));
        target == Some(Target::Local)
    }

    /// Does it hold exactly what it owns?
    pub(super) fn is_settled(&self) -> bool {
        let Some(ownership) = &self.ownership else { return true };
        (0..ownership.view().partitions()).all(|p| self.serves(p) == (ownership.view().owner(p) == Some(&self.name)))
    }

    pub(super) fn describe(&self) -> String {
        let ownership = self.ownership.iter().flat_map(Ownership::in_transition);
        let partitions: Vec<_> = ownership.take(5).collect();
        format!("{} with links {:?}: {partitions:?}", self.name, self.links)
    }

    pub(super) fn applied(&self, partition: Partition, key: usize) -> Option<u64> {
        self.state.get(&partition)?.get(&key).copied()
    }

    pub(super) fn discover(&mut self, now: Instant) {
        let seeds = self.seeds.clone();
        self.member(membership::Input::Join { seeds }, now);
        self.activate_when_joined(now);
    }

    fn activate_when_joined(&mut self, now: Instant) {
        if !self.active && (self.seeds.is_empty() || self.membership.live() > 0) {
            self.active = true;
            self.own(ownership::Input::Activate, now);
        }
    }

    pub(super) fn wake(&mut self, now: Instant) {
        self.member(membership::Input::Tick, now);
        self.own(ownership::Input::Tick, now);
    }

    pub(super) fn datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        self.member(membership::Input::Packet { from, bytes }, now);
        self.activate_when_joined(now);
    }

    pub(super) fn leave(&mut self, now: Instant) {
        self.member(membership::Input::Leave, now);
        self.own(ownership::Input::Leave, now);
    }

    pub(super) fn link_up(&mut self, peer: usize, link: u64, now: Instant) {
        if self.links.contains_key(&peer) {
            self.link_down(peer, now);
        }
        self.links.insert(peer, link);
        self.own(ownership::Input::LinkUp(name_of(peer)), now);
        // What waited for the link goes on.
        let parked: Vec<_> = self.parked.keys().copied().collect();
        let waited = parked.into_iter().filter(|p| self.router.route(*p) == Route::Forward(peer as MemberNumber));
        for partition in waited.collect::<Vec<_>>() {
            self.unpark(partition, now);
        }
    }

    fn link_down(&mut self, peer: usize, now: Instant) {
        if self.links.remove(&peer).is_none() {
            return;
        }
        self.own(ownership::Input::LinkDown(name_of(peer)), now);
        let lost: Vec<_> = self.under_way.iter().filter(|(_, (to, _))| *to == peer).map(|(c, _)| *c).collect();
        for correlation in lost {
            self.replied(correlation, true, now);
        }
    }

    pub(super) fn mail(&mut self, from: usize, link: u64, mail: Mail, now: Instant) {
        if self.links.get(&from) != Some(&link) {
            return;
        }
        match mail {
            Mail::Control(bytes) => match PeerMessage::decode(&bytes) {
                Ok(PeerMessage::Ownership { message, .. }) => {
                    let from = name_of(from);
                    self.own(ownership::Input::Message { from, message }, now);
                }
                Ok(PeerMessage::Membership(bytes)) => {
                    let from = name_of(from);
                    self.member(membership::Input::ByLink { from, bytes: &bytes }, now);
                }
                Ok(PeerMessage::Definitions(_)) | Err(_) => {}
            },
            Mail::State { partition, keys, last } => self.state_arrived(from, partition, keys, last, now),
            Mail::Forward { correlation, partition, key, number, hops } => {
                let asker = Asker::Peer { node: from, correlation };
                self.job(Job { partition, key, number, hops, asker }, now);
            }
            Mail::Reply { correlation, failed } => self.replied(correlation, failed, now),
            Mail::Close => self.link_broke(from, now),
        }
    }

    /// As long as the other end is alive for all this one knows, it is connected to again.
    pub(super) fn link_broke(&mut self, peer: usize, now: Instant) {
        self.link_down(peer, now);
        let known = self.membership.member(&name_of(peer));
        if known.is_some_and(|m| m.status.is_live()) {
            self.outputs.push_back(NodeOutput::Connect(peer));
        }
    }

    pub(super) fn client_event(&mut self, partition: Partition, key: usize, number: u64, now: Instant) {
        let asker = Asker::Client;
        self.job(Job { partition, key, number, hops: 0, asker }, now);
    }

    fn job(&mut self, job: Job, now: Instant) {
        let route = match job.asker {
            Asker::Client => self.router.route(job.partition),
            Asker::Peer { .. } => self.router.route_forwarded(job.partition),
        };
        match route {
            Route::Local => self.apply(job),
            Route::Park => self.parked.entry(job.partition).or_default().push_back(job),
            Route::Forward(to) => self.forward(job, to as usize, now),
        }
    }

    fn apply(&mut self, job: Job) {
        let last = self.state.entry(job.partition).or_default().entry(job.key).or_insert(0);
        self.tally.applied += 1;
        if job.number > *last + 1 {
            self.tally.gaps += 1;
        } else if job.number <= *last {
            self.tally.doubles += 1;
        }
        *last = job.number.max(*last);
        self.answer(job, false);
    }

    fn forward(&mut self, job: Job, to: usize, now: Instant) {
        let Some(link) = self.links.get(&to).copied().filter(|_| job.hops < MAX_HOPS) else {
            if job.hops < MAX_HOPS && self.membership.member(&name_of(to)).is_some_and(|m| m.status.is_live()) {
                // The link is being made; a daemon's shell keeps events for it.
                self.parked.entry(job.partition).or_default().push_back(job);
                return;
            }
            return self.answer(job, true);
        };
        self.last_correlation += 1;
        let correlation = self.last_correlation;
        self.under_way.insert(correlation, (to, job));
        self.router.sent(job.partition);
        let mail = Mail::Forward {
            correlation,
            partition: job.partition,
            key: job.key,
            number: job.number,
            hops: job.hops + 1,
        };
        self.outputs.push_back(NodeOutput::Mail { to, link, mail });
        if let Asker::Peer { node, .. } = job.asker {
            let (partition, from) = (job.partition, name_of(node));
            self.own(ownership::Input::Misrouted { partition, from }, now);
        }
    }

    fn replied(&mut self, correlation: u64, failed: bool, now: Instant) {
        let Some((_, job)) = self.under_way.remove(&correlation) else { return };
        self.answer(job, failed);
        if self.router.answered(job.partition) {
            self.unpark(job.partition, now);
        }
    }

    fn answer(&mut self, job: Job, failed: bool) {
        match job.asker {
            Asker::Client => {
                let Job { key, number, .. } = job;
                self.outputs.push_back(NodeOutput::Answered { key, number, failed });
            }
            Asker::Peer { node, correlation } => {
                if let Some(link) = self.links.get(&node).copied() {
                    let mail = Mail::Reply { correlation, failed };
                    self.outputs.push_back(NodeOutput::Mail { to: node, link, mail });
                }
            }
        }
    }

    fn unpark(&mut self, partition: Partition, now: Instant) {
        let jobs = self.parked.remove(&partition).unwrap_or_default();
        let (peers, clients): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| matches!(job.asker, Asker::Peer { .. }));
        peers.into_iter().chain(clients).for_each(|job| self.job(job, now));
    }

    fn member(&mut self, input: membership::Input<'_>, now: Instant) {
        self.membership.handle(input, now);
        while let Some(output) = self.membership.poll() {
            match output {
                membership::Output::Send { to, bytes } => {
                    self.outputs.push_back(NodeOutput::Datagram { to, bytes });
                }
                membership::Output::SendByLink { to, bytes } => {
                    self.mail_to(number(&to), Mail::Control(encode(&PeerMessage::Membership(bytes))));
                }
                membership::Output::Up(identity) => self.member_up(&identity, true, now),
                membership::Output::Updated(identity) => self.member_up(&identity, false, now),
                membership::Output::Down { identity, left } => self.member_down(&identity, left, now),
                membership::Output::NameTaken { .. } => self.outputs.push_back(NodeOutput::Ended),
                membership::Output::Suspected(_) => self.tally.suspicions += 1,
                membership::Output::Refuted(_) | membership::Output::Renewed(_) => {}
            }
        }
    }

    fn member_up(&mut self, identity: &Identity, new: bool, now: Instant) {
        if self.ownership.is_none() {
            return;
        }
        let name = identity.name.clone();
        let peer = number(&name);
        let placeable = !identity.leaving;
        self.own(ownership::Input::MemberUp { name, placeable }, now);
        if new && !self.links.contains_key(&peer) {
            self.outputs.push_back(NodeOutput::Connect(peer));
        }
    }

    fn member_down(&mut self, identity: &Identity, left: bool, now: Instant) {
        let peer = number(&identity.name);
        if left {
            // Answers may still be on the link, which the other end closes.
            self.own(ownership::Input::MemberDown(identity.name.clone()), now);
            return;
        }
        self.outputs.push_back(NodeOutput::Died(peer));
        if let Some(link) = self.links.get(&peer).copied() {
            let (to, mail) = (peer, Mail::Close);
            self.outputs.push_back(NodeOutput::Mail { to, link, mail });
        }
        self.own(ownership::Input::MemberDown(identity.name.clone()), now);
        self.link_down(peer, now);
    }

    fn own(&mut self, input: ownership::Input, now: Instant) {
        let Some(ownership) = &mut self.ownership else { return };
        ownership.handle(input, now);
        let view = ownership.view().hash();
        let mut outputs = Vec::new();
        while let Some(output) = ownership.poll() {
            outputs.push(output);
        }
        for output in outputs {
            self.owned(output, view, now);
        }
    }

    fn owned(&mut self, output: ownership::Output, view: u64, now: Instant) {
        match output {
            ownership::Output::Send { to, message } => {
                let mail = Mail::Control(encode(&PeerMessage::Ownership { view, message }));
                self.mail_to(number(&to), mail);
            }
            ownership::Output::Transfer { partition, to } => {
                self.moving.insert(partition, number(&to));
                self.outputs.push_back(NodeOutput::Move(partition));
            }
            ownership::Output::Receive { partition, merge, .. } => {
                self.arriving.insert(partition, BTreeMap::new());
                if merge {
                    self.merging.insert(partition);
                }
            }
            ownership::Output::Discard { partition, .. } => {
                self.arriving.remove(&partition);
                self.merging.remove(&partition);
            }
            ownership::Output::Drop(partition) => {
                self.state.remove(&partition);
                self.moving.remove(&partition);
            }
            ownership::Output::Restore { partition, .. } => {
                self.tally.restored += 1;
                self.moving.remove(&partition);
            }
            ownership::Output::Take { partition, fresh, .. } => {
                self.state.insert(partition, BTreeMap::new());
                if fresh {
                    self.tally.fresh += 1;
                } else {
                    self.tally.lost += 1;
                }
            }
            ownership::Output::RouteChanged { partition, to } => self.route(partition, &to, now),
        }
    }

    fn route(&mut self, partition: Partition, to: &Target, now: Instant) {
        let again = match to {
            Target::Local => self.router.switch(partition, None),
            Target::Forward(name) => {
                let to = number(name) as MemberNumber;
                self.router.switch(partition, Some(to))
            }
            Target::Park => {
                self.router.unroute(partition);
                false
            }
        };
        if again {
            self.unpark(partition, now);
        }
    }

    fn mail_to(&mut self, to: usize, mail: Mail) {
        if let Some(link) = self.links.get(&to).copied() {
            self.outputs.push_back(NodeOutput::Mail { to, link, mail });
        }
    }

    /// The pieces of a partition are ready for the link, in two parts.
    pub(super) fn state_sent(&mut self, partition: Partition, now: Instant) {
        let Some(to) = self.moving.get(&partition).copied() else { return };
        let keys = self.state.get(&partition).cloned().unwrap_or_default();
        let (even, odd) = keys.into_iter().partition(|(key, _)| key % 2 == 0);
        for (keys, last) in [(even, false), (odd, true)] {
            self.mail_to(to, Mail::State { partition, keys, last });
        }
        self.own(ownership::Input::Transferred(partition), now);
    }

    fn state_arrived(
        &mut self,
        from: usize,
        partition: Partition,
        keys: BTreeMap<usize, u64>,
        last: bool,
        now: Instant,
    ) {
        let Some(arriving) = self.arriving.get_mut(&partition) else { return };
        arriving.extend(keys);
        if !last {
            return;
        }
        let arrived = self.arriving.remove(&partition).unwrap_or_default();
        if self.merging.remove(&partition) {
            let ours = self.state.entry(partition).or_default();
            for (key, number) in arrived {
                let mine = ours.entry(key).or_insert(number);
                self.tally.conflicts += u64::from(*mine != number);
                *mine = number.max(*mine);
            }
        } else {
            self.state.insert(partition, arrived);
        }
        let from = name_of(from);
        self.own(ownership::Input::Installed { partition, from }, now);
    }

    /// After each turn, when no job is in hand.
    pub(super) fn end_when_drained(&mut self, now: Instant) {
        let drained = self.ownership.as_ref().is_none_or(Ownership::drained);
        let idle = self.under_way.is_empty() && self.parked.values().all(VecDeque::is_empty);
        if self.membership.me().leaving && drained && idle && self.running {
            self.running = false;
            self.membership.handle(membership::Input::Goodbye, now);
            while let Some(output) = self.membership.poll() {
                if let membership::Output::Send { to, bytes } = output {
                    self.outputs.push_back(NodeOutput::Datagram { to, bytes });
                }
            }
            self.outputs.push_back(NodeOutput::Ended);
        }
    }
}

fn name_of(n: usize) -> MemberName {
    #[allow(clippy::expect_used, reason = "the name is made here")]
    MemberName::new(&format!("node-{n}")).expect("a valid name")
}

fn number(name: &MemberName) -> usize {
    let digits = name.as_str().trim_start_matches("node-");
    digits.parse().unwrap_or(usize::MAX)
}
