//! A whole mesh in one process, one thread and virtual time, made of the real membership, placement, ownership and routing.
//!
//! The network loses, delays, duplicates and reorders datagrams, and can be partitioned; links between members are
//! ordered and break when an end gives the other up. Members can be paused, crash, come back, leave, and have their clocks
//! jump. Clients send numbered events for keys of their own, so that every lost, doubled or overtaken event is noticed
//! where it is applied. All choices follow from one seed.

mod network;
mod node;
mod workload;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::identity::{Identity, MemberName, Ports};
use crate::membership::{self, Status};
use crate::ownership;
use crate::placement::Partition;
use network::{Event, Mail, Queue};
pub use network::{Faults, Traffic};
pub use node::Tally;
use node::{Node, NodeOutput};
pub use workload::Load;

/// What a simulated mesh is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// Of all random choices.
    pub seed: u64,
    /// The mesh's partition count; 0 leaves ownership out, to simulate membership alone.
    pub partitions: u16,
    /// Membership's times and counts.
    pub membership: membership::Config,
    /// Ownership's times and counts.
    pub ownership: ownership::Settings,
    /// What the network does.
    pub faults: Faults,
}

impl Options {
    /// A mesh of 64 partitions in a network without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            partitions: 64,
            membership: membership::Config::default(),
            ownership: ownership::Settings::default(),
            faults: Faults::default(),
        }
    }
}

/// A simulated mesh.
#[derive(Debug)]
pub struct World {
    options: Options,
    pub(super) rng: StdRng,
    start: Instant,
    now: Instant,
    queue: Queue,
    nodes: Vec<Node>,
    /// Members that can't hear each other are in different groups.
    groups: Vec<u8>,
    links: u64,
    traffic: Traffic,
    /// Deaths that members declared: when, by whom, of whom.
    deaths: Vec<(Duration, usize, usize)>,
    load: Load,
}

impl World {
    /// A mesh without members.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let start = Instant::now();
        Self {
            rng: StdRng::seed_from_u64(options.seed),
            options,
            start,
            now: start,
            queue: Queue::default(),
            nodes: Vec::new(),
            groups: Vec::new(),
            links: 0,
            traffic: Traffic::default(),
            deaths: Vec::new(),
            load: Load::default(),
        }
    }

    /// Virtual time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// What went over the network since the start.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Deaths that members declared: when, by whom, of whom.
    #[must_use]
    pub fn deaths(&self) -> &[(Duration, usize, usize)] {
        &self.deaths
    }

    /// What became of the clients' events.
    #[must_use]
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// Sums over all members.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.nodes.iter().fold(Tally::default(), |sum, node| sum + node.tally)
    }

    /// Changes what the network does from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.options.faults = faults;
    }

    /// Starts a member that looks for others at `seeds`. With no seeds it is alone on purpose, or is joined.
    pub fn start(&mut self, seeds: &[usize]) -> usize {
        let n = self.nodes.len();
        self.groups.push(0);
        let node = self.new_node(n, 1, seeds);
        self.nodes.push(node);
        self.begin(n);
        n
    }

    /// Starts a crashed member again, as a new process.
    pub fn restart(&mut self, n: usize, seeds: &[usize]) {
        let incarnation = self.nodes[n].membership.me().incarnation + 1;
        self.nodes[n] = self.new_node(n, incarnation, seeds);
        self.begin(n);
    }

    /// `kill -9`.
    pub fn crash(&mut self, n: usize) {
        self.nodes[n].running = false;
        self.close_all_links_of(n);
        self.load.member_crashed(n);
    }

    /// SIGTERM: hands over, says goodbye, ends.
    pub fn leave(&mut self, n: usize) {
        let now = self.now;
        self.nodes[n].leave(now);
        self.deliver(n);
    }

    /// SIGSTOP, and SIGCONT after `time`.
    pub fn pause(&mut self, n: usize, time: Duration) {
        self.nodes[n].paused_until = Some(self.now + time);
        self.queue.push(self.now + time, Event::Wake(n));
    }

    /// The member's clock jumps ahead.
    pub fn jump_clock(&mut self, n: usize, by: Duration) {
        self.nodes[n].clock_ahead += by;
        self.queue.push(self.now, Event::Wake(n));
    }

    /// The link between two members breaks, with what is on it; they connect anew.
    pub fn break_link(&mut self, a: usize, b: usize) {
        for (at, peer) in [(a, b), (b, a)] {
            self.with(at, |node, now| node.link_broke(peer, now));
        }
    }

    /// From now on these members hear only each other.
    pub fn cut_off(&mut self, members: &[usize]) {
        members.iter().for_each(|n| self.groups[*n] = 1);
    }

    /// Everyone hears everyone again.
    pub fn heal(&mut self) {
        self.groups.fill(0);
    }

    /// A client at a member that sends events for a key of its own, `in_flight` at a time.
    pub fn client(&mut self, at: usize, in_flight: usize) {
        let key = self.load.add_client(at, in_flight);
        for _ in 0..in_flight {
            self.queue.push(self.now, Event::Client(key));
        }
    }

    /// No new events are sent from now on.
    pub fn stop_clients(&mut self) {
        self.load.stop();
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
        let running = |n: &usize| self.nodes[*n].running;
        (0..self.nodes.len()).filter(running)
    }

    /// What one member thinks of another.
    #[must_use]
    pub fn status(&self, of: usize, at: usize) -> Option<Status> {
        let name = self.nodes[of].name.clone();
        Some(self.nodes[at].membership.member(&name)?.status)
    }

    /// Does every running member hold exactly the running members for live?
    #[must_use]
    pub fn all_see_all(&self) -> bool {
        let running: Vec<_> = self.running().collect();
        running.iter().all(|at| {
            let membership = &self.nodes[*at].membership;
            membership.live() + 1 == running.len()
                && running.iter().all(|of| of == at || self.status(*of, *at).is_some_and(Status::is_live))
        })
    }

    /// Does every running member know as many live members as there are? Cheaper than [`World::all_see_all`].
    #[must_use]
    pub fn all_count_all(&self) -> bool {
        let running = self.running().count();
        self.running().all(|n| self.nodes[n].membership.live() + 1 == running)
    }

    /// How many running members hold this one for dead.
    #[must_use]
    pub fn who_hold_dead(&self, of: usize) -> usize {
        let dead = |at: &usize| self.status(of, *at) == Some(Status::Dead);
        self.running().filter(dead).count()
    }

    /// How many running members serve a partition.
    #[must_use]
    pub fn servers_of(&self, partition: Partition) -> usize {
        let serves = |n: &usize| self.nodes[*n].serves(partition);
        self.running().filter(serves).count()
    }

    /// Is every partition served by exactly one member, the owner by everyone's view?
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.all_see_all()
            && self.running().all(|n| self.nodes[n].is_settled())
            && (0..self.options.partitions).all(|p| self.servers_of(p) == 1)
    }

    /// What keeps a member from being settled, for a failed test's message.
    #[must_use]
    pub fn unsettled(&self) -> Vec<String> {
        let unsettled = self.running().filter(|n| !self.nodes[*n].is_settled());
        unsettled.map(|n| self.nodes[n].describe()).collect()
    }

    /// Has this member ended?
    #[must_use]
    pub fn has_ended(&self, n: usize) -> bool {
        !self.nodes[n].running
    }

    /// The state of a client's key, as the members that serve it have it.
    #[must_use]
    pub fn applied(&self, key: usize) -> Vec<u64> {
        let partition = self.partition_of(key);
        let serving = self.running().filter(|n| self.nodes[*n].serves(partition));
        serving.filter_map(|n| self.nodes[n].applied(partition, key)).collect()
    }

    fn partition_of(&self, key: usize) -> Partition {
        crate::placement::partition_of("counter", &key.to_string(), self.options.partitions)
    }

    fn new_node(&mut self, n: usize, incarnation: u64, seeds: &[usize]) -> Node {
        let identity = identity(n, incarnation);
        let seeds = seeds.iter().map(|seed| address(*seed)).collect();
        Node::new(identity, &self.options, self.rng.random(), self.now, seeds)
    }

    fn begin(&mut self, n: usize) {
        // Discovery asks again every second, and members do not all start in the same millisecond.
        let jitter = Duration::from_micros(self.rng.random_range(0..50_000));
        self.queue.push(self.now + jitter, Event::Discover(n, self.nodes[n].life()));
    }

    fn event(&mut self, event: Event) {
        if let Some(n) = event.whose(&self.load)
            && self.nodes[n].running
            && let Some(until) = self.nodes[n].paused_until
        {
            if until > self.now {
                self.queue.push(until, event);
                return;
            }
            self.nodes[n].paused_until = None;
        }
        match event {
            Event::Wake(n) => self.with(n, |node, now| node.wake(now)),
            Event::Discover(n, life) if self.nodes[n].life() == life => {
                self.with(n, |node, now| node.discover(now));
                let joined = self.nodes[n].membership.live() > 0;
                let next = Duration::from_secs(if joined { 30 } else { 1 });
                self.queue.push(self.now + next, Event::Discover(n, life));
            }
            Event::Discover(..) => {}
            Event::Datagram { from, to, bytes } => {
                let source = address(from);
                self.with(to, |node, now| node.datagram(source, &bytes, now));
            }
            Event::Connect { from, to } => self.connect(from, to),
            Event::Mail { from, to, link, mail } => {
                self.with(to, |node, now| node.mail(from, link, mail, now));
            }
            Event::Moved { node, partition, life } if self.nodes[node].life() == life => {
                self.with(node, |node, now| node.state_sent(partition, now));
            }
            Event::Moved { .. } => {}
            Event::Client(key) => self.client_turn(key),
        }
    }

    fn with(&mut self, n: usize, act: impl FnOnce(&mut Node, Instant)) {
        if self.nodes[n].running {
            let now = self.now + self.nodes[n].clock_ahead;
            act(&mut self.nodes[n], now);
            self.nodes[n].end_when_drained(now);
            self.deliver(n);
        }
    }

    /// Carries out what a member wants done.
    fn deliver(&mut self, n: usize) {
        while let Some(output) = self.nodes[n].outputs.pop_front() {
            match output {
                NodeOutput::Datagram { to, bytes } => self.send_datagram(n, to, bytes),
                NodeOutput::Mail { to, link, mail } => self.send_mail(n, to, link, mail),
                NodeOutput::Connect(to) => {
                    let delay = self.options.faults.connect_delay(&mut self.rng);
                    self.queue.push(self.now + delay, Event::Connect { from: n, to });
                }
                NodeOutput::Move(partition) => {
                    // Pieces of a partition are queued over some time, during which others do other things.
                    let time = Duration::from_micros(self.rng.random_range(10..2000));
                    let life = self.nodes[n].life();
                    let node = n;
                    self.queue.push(self.now + time, Event::Moved { node, partition, life });
                }
                NodeOutput::Answered { key, number, failed } => {
                    self.load.answered(key, number, failed);
                    // A client takes some time, or nothing else would ever happen.
                    let think = Duration::from_micros(self.rng.random_range(2_000..10_000));
                    self.queue.push(self.now + think, Event::Client(key));
                }
                NodeOutput::Died(of) => {
                    let at = self.elapsed();
                    self.deaths.push((at, n, of));
                }
                NodeOutput::Ended => {
                    self.nodes[n].running = false;
                    self.close_all_links_of(n);
                }
            }
        }
        self.schedule_wake(n);
    }

    fn schedule_wake(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if !node.running {
            return;
        }
        if let Some(at) = node.next_deadline() {
            let at = at.checked_sub(node.clock_ahead).unwrap_or(self.now).max(self.now);
            if node.wake_at.is_none_or(|already| already <= self.now || at < already) {
                node.wake_at = Some(at);
                self.queue.push(at, Event::Wake(n));
            }
        }
    }

    fn send_datagram(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        self.traffic.datagrams += 1;
        self.traffic.bytes += (bytes.len() + crate::gossip::SEAL_BYTES) as u64;
        let Some(to) = index(to).filter(|to| *to < self.nodes.len()) else {
            return;
        };
        let faults = self.options.faults.clone();
        let copies = 1 + usize::from(self.rng.random_bool(faults.duplicate));
        for _ in 0..copies {
            if self.groups[from] == self.groups[to] && !self.rng.random_bool(faults.loss) {
                let at = self.now + faults.delay(&mut self.rng);
                let bytes = bytes.clone();
                self.queue.push(at, Event::Datagram { from, to, bytes });
            }
        }
    }

    fn send_mail(&mut self, from: usize, to: usize, link: u64, mail: Mail) {
        // A cut network keeps what is on a link back until an end gives up; then nobody wants it any more.
        if self.groups[from] != self.groups[to] {
            return;
        }
        let delay = self.options.faults.link_delay(&mut self.rng);
        let at = self.nodes[from].order.entry(to).or_insert(self.now);
        // Links keep order, whatever the delays.
        *at = (self.now + delay).max(*at + Duration::from_nanos(1));
        let at = *at;
        self.queue.push(at, Event::Mail { from, to, link, mail });
    }

    fn connect(&mut self, from: usize, to: usize) {
        let reachable = self.groups[from] == self.groups[to];
        let (a, b) = (&self.nodes[from], &self.nodes[to]);
        if !a.running || !b.running || !reachable || a.links.contains_key(&to) {
            return;
        }
        self.links += 1;
        let link = self.links;
        // The end that is connected to learns of it first, and of the end of an older link before.
        self.with(to, |node, now| node.link_up(from, link, now));
        self.with(from, |node, now| node.link_up(to, link, now));
    }

    fn close_all_links_of(&mut self, n: usize) {
        let links: BTreeMap<_, _> = std::mem::take(&mut self.nodes[n].links);
        for (peer, link) in links {
            let delay = self.options.faults.link_delay(&mut self.rng);
            let at = self.nodes[n].order.get(&peer).copied().unwrap_or(self.now);
            let at = (self.now + delay).max(at + Duration::from_nanos(1));
            let (from, to, mail) = (n, peer, Mail::Close);
            self.queue.push(at, Event::Mail { from, to, link, mail });
        }
    }

    fn client_turn(&mut self, key: usize) {
        let partition = self.partition_of(key);
        if let Some((at, number)) = self.load.next_event(key) {
            self.with(at, |node, now| node.client_event(partition, key, number, now));
        }
    }
}

fn identity(n: usize, incarnation: u64) -> Identity {
    let name = MemberName::new(&format!("node-{n}"));
    #[allow(clippy::expect_used, reason = "the name is made here")]
    let name = name.expect("a valid name");
    Identity::new(name, incarnation, address(n).ip(), Ports::default())
}

fn address(n: usize) -> SocketAddr {
    let ip = Ipv4Addr::from_bits(0x0a00_0000 + n as u32);
    SocketAddr::new(IpAddr::V4(ip), Ports::default().gossip)
}

fn index(address: SocketAddr) -> Option<usize> {
    match address.ip() {
        IpAddr::V4(ip) => Some(ip.to_bits().checked_sub(0x0a00_0000)? as usize),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests;
