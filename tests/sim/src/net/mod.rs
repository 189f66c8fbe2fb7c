//! The virtual kernel: hosts with addresses and clocks, TCP connections as byte pipes with bounded buffers at both ends,
//! datagrams, cuts, resets and full tables, in virtual time.
//!
//! A process (daemon or client) has a host. Each of its loops has a `Poller`, which is what an epoll instance is to a thread:
//! it collects what is ready, and the world gives the loop a turn when something is. Everything is in one
//! [`Net`] behind a lock that only one thread ever takes.

mod clock;
mod connections;
mod datagrams;
mod events;
mod kernel;
mod loops;
mod outgoing;
mod socket;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub use clock::Clock;
use events::{Event, Events};
pub use kernel::{VirtualKernel, VirtualWaker};
use loops::Loops;
use socket::{SocketId, Sockets};

use crate::dice::{Dice, nanos};
use crate::trace::Trace;

/// Names a host: a machine or pod, which keeps its address when its process is started anew.
pub type HostId = usize;
/// Names a loop of a process: a reactor, a control plane, a client.
pub type PollerId = usize;

/// A network that several loops of one thread share.
pub type SharedNet = Arc<Mutex<Net>>;

/// What the network does to everything, by the seed.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Every segment and datagram takes this long at least.
    pub delay_min: Duration,
    /// And this long at most, but for the slow ones.
    pub delay_max: Duration,
    /// Share of segments and datagrams that take up to [`Faults::slow_max`].
    pub slow: f64,
    /// The longest that a slow one takes.
    pub slow_max: Duration,
    /// Share of datagrams that are lost.
    pub loss: f64,
    /// Share of datagrams that come twice.
    pub duplicate: f64,
    /// Bytes that the kernel takes of a writer.
    pub send_buffer: usize,
    /// Bytes that the kernel keeps for a reader.
    pub receive_buffer: usize,
    /// Bytes of the largest segment.
    pub segment: usize,
    /// Share of segments that are cut short at any byte.
    pub short_segments: f64,
    /// A link between daemons comes about within this time: the first packets of TCP are sent again only after a second.
    pub connect_max: Duration,
    /// How long a kernel tries to get bytes across a cut before it resets the connection.
    pub give_up: (Duration, Duration),
}

impl Default for Faults {
    fn default() -> Self {
        let (micros, secs) = (Duration::from_micros, Duration::from_secs);
        Self {
            delay_min: micros(50),
            delay_max: micros(400),
            slow: 0.0,
            slow_max: micros(400),
            loss: 0.0,
            duplicate: 0.0,
            send_buffer: 256 * 1024,
            receive_buffer: 256 * 1024,
            segment: 64 * 1024,
            short_segments: 0.1,
            connect_max: Duration::ZERO,
            give_up: (secs(8), secs(30)),
        }
    }
}

#[derive(Debug)]
struct Host {
    ip: IpAddr,
    clock: Clock,
    /// Sockets that the process may have open; more is what `EMFILE` says.
    descriptors: usize,
    open: usize,
    /// Bound datagram sockets, with what has arrived.
    inboxes: BTreeMap<SocketAddr, Inbox>,
}

#[derive(Debug)]
struct Inbox {
    poller: PollerId,
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
}

#[derive(Debug)]
struct Listener {
    poller: PollerId,
    /// Which of its poller's listeners it is.
    number: usize,
    backlog: VecDeque<SocketId>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Bytes that connections carried.
    pub bytes: u64,
    /// Datagrams that arrived.
    pub datagrams: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// Connections that were refused.
    pub refused: u64,
    /// Connections that were reset.
    pub resets: u64,
}

/// The network and the kernels of all hosts.
#[derive(Debug)]
pub struct Net {
    base: Instant,
    now: u64,
    dice: Dice,
    faults: Faults,
    hosts: Vec<Host>,
    loops: Loops,
    listeners: BTreeMap<SocketAddr, Vec<Listener>>,
    sockets: Sockets,
    events: Events,
    /// From, to: what is sent is not heard.
    cuts: BTreeSet<(HostId, HostId)>,
    by_ip: BTreeMap<IpAddr, HostId>,
    traffic: Traffic,
    /// What happened.
    pub trace: Trace,
}

impl Net {
    /// A network without hosts.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            base: Instant::now(),
            now: 0,
            dice: Dice::new(seed),
            faults,
            hosts: Vec::new(),
            loops: Loops::default(),
            listeners: BTreeMap::new(),
            sockets: Sockets::default(),
            events: Events::default(),
            cuts: BTreeSet::new(),
            by_ip: BTreeMap::new(),
            traffic: Traffic::default(),
            trace: Trace::default(),
        }
    }

    /// Virtual nanoseconds since the start.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// What was counted.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Changes what the network does from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// What the network does.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// A new host with the next address and this clock.
    pub fn add_host(&mut self, clock: Clock) -> HostId {
        let id = self.hosts.len();
        let ip = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + u32::try_from(id).unwrap_or(0)));
        self.by_ip.insert(ip, id);
        self.hosts.push(Host { ip, clock, descriptors: usize::MAX, open: 0, inboxes: BTreeMap::new() });
        id
    }

    /// The address of a host.
    #[must_use]
    pub fn ip(&self, host: HostId) -> IpAddr {
        self.hosts.get(host).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |host| host.ip)
    }

    /// The host of an address.
    #[must_use]
    pub fn host_of(&self, ip: IpAddr) -> Option<HostId> {
        self.by_ip.get(&ip).copied()
    }

    /// How many sockets a host's process may have.
    pub fn set_descriptors(&mut self, host: HostId, descriptors: usize) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.descriptors = descriptors;
        }
    }

    /// Sockets that a host's process has open.
    #[must_use]
    pub fn open_sockets(&self, host: HostId) -> usize {
        self.hosts.get(host).map_or(0, |host| host.open)
    }

    /// A loop of a process on this host.
    pub fn add_poller(&mut self, host: HostId) -> PollerId {
        self.loops.add(host)
    }

    /// What a host's clock shows.
    #[must_use]
    pub fn instant(&self, host: HostId) -> Instant {
        let shown = self.hosts.get(host).map_or(self.now, |host| host.clock.shows(self.now));
        self.base + Duration::from_nanos(shown)
    }

    /// When a host's clock will show this.
    #[must_use]
    pub fn when(&self, host: HostId, instant: Instant) -> u64 {
        let shown = nanos(instant.saturating_duration_since(self.base));
        self.hosts.get(host).map_or(shown, |host| host.clock.when(shown))
    }

    /// Has a host's clock jump ahead.
    pub fn jump(&mut self, host: HostId, by: Duration) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.clock.ahead = host.clock.ahead.saturating_add(nanos(by));
        }
        self.loops.want_all_of(host);
    }

    /// Whether bytes of another daemon wait to be read by this loop.
    #[must_use]
    pub fn hears_members(&self, poller: PollerId) -> bool {
        let Some(poller) = self.loops.get(poller) else { return false };
        let waits = |id: &SocketId| {
            let of_member = |s: &socket::Socket| s.local.port() == crate::daemon::PEERS && !s.received.is_empty();
            self.sockets.get(*id).is_some_and(of_member)
        };
        poller.sockets.values().any(waits)
    }

    /// When the network changes next.
    #[must_use]
    pub fn next_event(&self) -> Option<u64> {
        self.events.next()
    }

    /// Loops that are to have a turn, since something is ready for them.
    pub fn take_wanted(&mut self) -> Vec<PollerId> {
        self.loops.take_wanted()
    }

    /// Lets virtual time pass, to the next change of the network at most. Gives the time that it is then.
    pub fn advance(&mut self, until: u64) -> u64 {
        self.now = self.now.max(until);
        crate::log::at(self.now);
        while let Some(event) = self.events.due(self.now) {
            self.event(event);
        }
        self.now
    }

    /// What one host sends the other no longer hears.
    pub fn cut(&mut self, from: HostId, to: HostId) {
        self.cuts.insert((from, to));
    }

    /// Every host hears every other again.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.go_on();
    }

    /// One host hears another again.
    pub fn heal_one(&mut self, from: HostId, to: HostId) {
        self.cuts.remove(&(from, to));
        self.go_on();
    }

    /// Whether what one host sends is not heard by another.
    #[must_use]
    pub fn is_cut(&self, from: HostId, to: HostId) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// Whether anything is cut.
    #[must_use]
    pub fn has_cuts(&self) -> bool {
        !self.cuts.is_empty()
    }

    fn go_on(&mut self) {
        self.sockets.which(|_| true).into_iter().for_each(|socket| self.unstall(socket));
    }

    fn delay(&mut self) -> u64 {
        let Faults { delay_min, delay_max, slow, slow_max, .. } = self.faults;
        let most = if slow > 0.0 && self.dice.chance(slow) { slow_max } else { delay_max };
        nanos(self.dice.time(delay_min, most.max(delay_min)))
    }

    /// Wakes a loop, as another thread does.
    pub fn wake(&mut self, id: PollerId) {
        self.loops.wake(id);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Syn { from, to, tries } => self.syn(from, to, tries),
            Event::Answered { socket, peer } => self.answered(socket, peer),
            Event::Arrival { from } => self.arrival(from),
            Event::Reset { to, from_host } => self.reset_arrives(to, from_host),
            Event::GiveUp { socket, since } => self.give_up(socket, since),
            Event::Datagram { from, to, bytes } => self.datagram_arrives(from, to, bytes),
        }
    }

    /// The process on a host ends: its listeners and sockets go, and who talks to it is told by the kernel.
    pub fn kill(&mut self, host: HostId) {
        for id in self.loops.living(host) {
            self.end_poller(id);
        }
        if let Some(host) = self.hosts.get_mut(host) {
            host.inboxes.clear();
        }
    }

    fn end_poller(&mut self, id: PollerId) {
        let (listeners, sockets) = self.loops.end(id);
        listeners.into_iter().for_each(|address| self.stop_listening(id, address));
        sockets.into_iter().for_each(|key| self.close(id, key, false));
    }
}

#[cfg(test)]
mod tests;
