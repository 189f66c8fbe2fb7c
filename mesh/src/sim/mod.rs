//! Membership at size: many members' real membership values in one thread and virtual time, for tests and for figures.
//!
//! The network loses, delays, duplicates and reorders datagrams, and can be partitioned; links between members are
//! ordered and end when an end gives the other up. Members can be paused, crash, and have their clocks jump. All choices follow
//! from one seed. Whole daemons run in `tests/sim`; here are meshes that are too large for that.

mod member;
mod network;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::membership::{self, Input, Output, Status};
use member::{Member, address, name, number};
use network::{Event, Queue};
pub use network::{Faults, Traffic};

/// What a simulated mesh is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// Of all random choices.
    pub seed: u64,
    /// Membership's times and counts.
    pub membership: membership::Config,
    /// What the network does.
    pub faults: Faults,
    /// Members have links to each other, over which they ask one whose datagrams are lost.
    pub links: bool,
}

impl Options {
    /// Members with links in a network without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, membership: membership::Config::default(), faults: Faults::default(), links: true }
    }
}

/// A simulated mesh.
#[derive(Debug)]
pub struct World {
    options: Options,
    rng: StdRng,
    start: Instant,
    now: Instant,
    queue: Queue,
    members: Vec<Member>,
    /// Members that can't hear each other are in different groups.
    groups: Vec<u8>,
    traffic: Traffic,
    suspicions: u64,
    deaths: Vec<(Duration, usize, usize)>,
}

impl World {
    /// A mesh without members.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "virtual time begins at some instant, and std makes none but now")]
    pub fn new(options: Options) -> Self {
        let start = Instant::now();
        Self {
            rng: StdRng::seed_from_u64(options.seed),
            options,
            start,
            now: start,
            queue: Queue::default(),
            members: Vec::new(),
            groups: Vec::new(),
            traffic: Traffic::default(),
            suspicions: 0,
            deaths: Vec::new(),
        }
    }

    /// Virtual time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// What went over the network as datagrams since the start.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// How often a member learned that another is suspected.
    #[must_use]
    pub fn suspicions(&self) -> u64 {
        self.suspicions
    }

    /// Deaths that members declared: when, by whom, of whom.
    #[must_use]
    pub fn deaths(&self) -> &[(Duration, usize, usize)] {
        &self.deaths
    }

    /// Changes what the network does from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.options.faults = faults;
    }

    /// Starts a member that looks for others at `seeds`. With no seeds it is alone on purpose, or is joined.
    pub fn start(&mut self, seeds: &[usize]) -> usize {
        let n = self.members.len();
        self.groups.push(0);
        let member = Member::new(n, self.options.membership.clone(), self.rng.random(), self.now, seeds);
        self.members.push(member);
        // Members do not all start in the same millisecond.
        let jitter = Duration::from_micros(self.rng.random_range(0..50_000));
        self.queue.push(self.now + jitter, Event::Discover(n));
        n
    }

    /// `kill -9`.
    pub fn crash(&mut self, n: usize) {
        self.members[n].running = false;
        for peer in std::mem::take(&mut self.members[n].links) {
            self.close_link(n, peer);
        }
    }

    /// SIGSTOP, and SIGCONT after `time`.
    pub fn pause(&mut self, n: usize, time: Duration) {
        self.members[n].paused_until = Some(self.now + time);
        self.queue.push(self.now + time, Event::Wake(n));
    }

    /// The member's clock jumps ahead.
    pub fn jump_clock(&mut self, n: usize, by: Duration) {
        self.members[n].clock_ahead += by;
        self.queue.push(self.now, Event::Wake(n));
    }

    /// From now on these members hear only each other.
    pub fn cut_off(&mut self, members: &[usize]) {
        members.iter().for_each(|n| self.groups[*n] = 1);
    }

    /// Everyone hears everyone again.
    pub fn heal(&mut self) {
        self.groups.fill(0);
    }

    /// Lets virtual time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((at, event)) = self.queue.pop_before(until) {
            self.now = self.now.max(at);
            self.event(event);
        }
        self.now = until;
    }

    /// Lets time pass until `done`, at most `limit`. Returns how long it took.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Option<Duration> {
        let from = self.now;
        while self.now < from + limit {
            if done(self) {
                return Some(self.now - from);
            }
            self.run(Duration::from_millis(10));
        }
        done(self).then(|| self.now - from)
    }

    /// Running members.
    pub fn running(&self) -> impl Iterator<Item = usize> + Clone {
        (0..self.members.len()).filter(|n| self.members[*n].running)
    }

    /// What one member thinks of another.
    #[must_use]
    pub fn status(&self, of: usize, at: usize) -> Option<Status> {
        Some(self.members[at].membership.member(&name(of))?.status)
    }

    /// Does every running member hold exactly the running members for live?
    #[must_use]
    pub fn all_see_all(&self) -> bool {
        let see_all = |at| self.running().all(|of| of == at || self.members[at].holds_for_live(of));
        self.all_count_all() && self.running().all(see_all)
    }

    /// Does every running member know as many live members as there are? Cheaper than [`World::all_see_all`].
    #[must_use]
    pub fn all_count_all(&self) -> bool {
        let running = self.running().count();
        self.running().all(|n| self.members[n].membership.live() + 1 == running)
    }

    /// How many running members hold this one for dead.
    #[must_use]
    pub fn who_hold_dead(&self, of: usize) -> usize {
        self.running().filter(|at| self.status(of, *at) == Some(Status::Dead)).count()
    }

    fn event(&mut self, event: Event) {
        let n = event.at();
        if !self.members[n].running {
            return;
        }
        if let Some(until) = self.members[n].paused_until {
            if until > self.now {
                return self.queue.push(until, event);
            }
            self.members[n].paused_until = None;
        }
        match event {
            Event::Wake(_) => self.tell(n, Input::Tick),
            Event::Discover(_) => {
                let seeds = self.members[n].seeds.clone();
                self.tell(n, Input::Join { seeds });
                // Discovery asks again every second, until another member is found.
                let next = Duration::from_secs(if self.members[n].membership.live() > 0 { 30 } else { 1 });
                self.queue.push(self.now + next, Event::Discover(n));
            }
            Event::Datagram { from, bytes, .. } => self.tell(n, Input::Packet { from: address(from), bytes: &bytes }),
            Event::Connect { from, .. } => self.connect(from, n),
            Event::ByLink { from, bytes, .. } => {
                if self.members[n].links.contains(&from) {
                    self.tell(n, Input::ByLink { from: name(from), bytes: &bytes });
                }
            }
            Event::Closed { from, .. } => {
                // As long as the other end is alive for all this one knows, it is connected to again.
                if self.members[n].links.remove(&from) && self.members[n].holds_for_live(from) {
                    self.connect_soon(n, from);
                }
            }
        }
    }

    /// Tells a member what happened, and carries out what it wants done.
    fn tell(&mut self, n: usize, input: Input<'_>) {
        let now = self.now + self.members[n].clock_ahead;
        let joins = matches!(input, Input::Join { .. } | Input::Packet { .. });
        self.members[n].membership.handle(input, now);
        self.carry_out(n);
        let member = &mut self.members[n];
        if joins && !member.joined && (member.seeds.is_empty() || member.membership.live() > 0) {
            member.joined = true;
            member.membership.handle(Input::Joined, now);
            self.carry_out(n);
        }
        self.schedule_wake(n);
    }

    fn carry_out(&mut self, n: usize) {
        while let Some(output) = self.members[n].membership.poll() {
            match output {
                Output::Send { to, bytes } => self.send_datagram(n, to, &bytes),
                Output::SendByLink { to, bytes } => self.send_by_link(n, number(&to), bytes),
                Output::Up(identity) if self.options.links => self.connect_soon(n, number(&identity.name)),
                Output::Down { identity, left: false } => {
                    let of = number(&identity.name);
                    self.deaths.push((self.elapsed(), n, of));
                    if self.members[n].links.remove(&of) {
                        self.close_link(n, of);
                    }
                }
                Output::Suspected(_) => self.suspicions += 1,
                _ => {}
            }
        }
    }

    fn schedule_wake(&mut self, n: usize) {
        let member = &mut self.members[n];
        if let Some(at) = member.membership.next_deadline() {
            let at = at.checked_sub(member.clock_ahead).unwrap_or(self.now).max(self.now);
            if member.wake_at.is_none_or(|already| already <= self.now || at < already) {
                member.wake_at = Some(at);
                self.queue.push(at, Event::Wake(n));
            }
        }
    }

    fn send_datagram(&mut self, from: usize, to: SocketAddr, bytes: &[u8]) {
        self.traffic.datagrams += 1;
        self.traffic.bytes += (bytes.len() + crate::gossip::SEAL_BYTES) as u64;
        let Some(to) = member::at(to).filter(|to| *to < self.members.len()) else {
            return;
        };
        let faults = self.options.faults.clone();
        let copies = 1 + usize::from(self.rng.random_bool(faults.duplicate));
        for _ in 0..copies {
            if self.groups[from] == self.groups[to] && !self.rng.random_bool(faults.loss) {
                let at = self.now + faults.delay(&mut self.rng);
                self.queue.push(at, Event::Datagram { from, to, bytes: bytes.to_vec() });
            }
        }
    }

    fn send_by_link(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        // A cut network keeps what is on a link back until an end gives up; after that it is dropped.
        if self.members[from].links.contains(&to) && self.groups[from] == self.groups[to] {
            let at = self.arrival(from, to);
            self.queue.push(at, Event::ByLink { from, to, bytes });
        }
    }

    /// One end is gone already; the other learns of it.
    fn close_link(&mut self, from: usize, to: usize) {
        let at = self.arrival(from, to);
        self.queue.push(at, Event::Closed { from, to });
    }

    /// When what is sent over a link now arrives. Links keep order, whatever the delays.
    fn arrival(&mut self, from: usize, to: usize) -> Instant {
        let delay = self.options.faults.link_delay(&mut self.rng);
        let last = self.members[from].last_arrivals.entry(to).or_insert(self.now);
        *last = (self.now + delay).max(*last + Duration::from_nanos(1));
        *last
    }

    fn connect_soon(&mut self, from: usize, to: usize) {
        let delay = self.options.faults.connect_delay(&mut self.rng);
        self.queue.push(self.now + delay, Event::Connect { from, to });
    }

    fn connect(&mut self, from: usize, to: usize) {
        let reachable = self.groups[from] == self.groups[to];
        if !self.members[from].running || !reachable || self.members[from].links.contains(&to) {
            return;
        }
        if !self.members[to].holds_for_live(from) {
            // A greeting of a process that gossip has not told of yet is refused for a moment.
            return self.queue.push(self.now + Duration::from_millis(20), Event::Connect { from, to });
        }
        self.members[from].links.insert(to);
        self.members[to].links.insert(from);
    }
}

#[cfg(test)]
mod tests;
