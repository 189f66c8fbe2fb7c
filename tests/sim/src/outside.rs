//! Programs outside of daemons: what clients and watchers see of the world, how they hold their connection, and how they read.

use std::net::SocketAddr;
use std::time::Duration;

use statemesh_transport::SocketType;

use crate::dice::{Dice, nanos};
use crate::endpoint::Endpoint;
use crate::judge::{Judge, Wire};
use crate::net::{HostId, PollerId, SharedNet};

/// Numbers that programs share: each is given once.
#[derive(Debug, Default)]
pub struct Numbers {
    /// The next request's id, event's number or connection's name.
    next: u64,
}

impl Numbers {
    /// A number that is not taken.
    pub fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// What a program sees of the world.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The time.
    pub now: u64,
    /// The history, and what contradicts it.
    pub judge: &'a mut Judge,
    /// Numbers for requests, events and connections.
    pub numbers: &'a mut Numbers,
    /// Where the daemons' clients' ports are, by daemon.
    pub addresses: &'a [SocketAddr],
    /// No new events are wanted.
    pub stopped: bool,
}

/// A program's connection to its daemon, which is opened again and again.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) endpoint: Endpoint,
    /// The daemon.
    pub(crate) daemon: usize,
    /// The name of the last connection.
    pub(crate) wire: Wire,
    /// When the next one is opened.
    opens_at: Option<u64>,
}

impl Line {
    /// A connection that is opened at the first turn.
    pub(crate) fn new(net: SharedNet, host: HostId, poller: PollerId, socket: SocketType, daemon: usize) -> Self {
        Self { endpoint: Endpoint::new(net, host, poller, socket), daemon, wire: 0, opens_at: Some(0) }
    }

    /// When a new one is opened, if there is to be one.
    pub(crate) fn opens_at(&self) -> Option<u64> {
        self.opens_at
    }

    /// Opens a new one then.
    pub(crate) fn opens_later(&mut self, at: u64) {
        self.opens_at = Some(at);
    }

    /// Begins to open one at this port, if it is time. False if that fails at once.
    pub(crate) fn opens(&mut self, port: u16, around: &mut Surroundings<'_>) -> bool {
        if self.opens_at.is_none_or(|at| at > around.now) {
            return true;
        }
        self.opens_at = None;
        let Some(address) = around.addresses.get(self.daemon) else { return true };
        self.wire = around.numbers.fresh();
        self.endpoint.connect(SocketAddr::new(address.ip(), port), self.wire);
        self.endpoint.wire().is_some()
    }
}

/// Whether a program reads what comes: a lazy one does not for a while, now and then.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Share of turns after which it does not.
    lazy: f64,
    /// For how long, at most.
    longest: Duration,
    again_at: u64,
}

impl Reader {
    /// One that reads.
    pub(crate) fn new(lazy: f64, longest: Duration) -> Self {
        Self { lazy, longest, again_at: 0 }
    }

    /// Whether it reads in this turn.
    pub(crate) fn reads(&self, now: u64) -> bool {
        now >= self.again_at
    }

    /// It has read, and perhaps does not for a while.
    pub(crate) fn perhaps_rests(&mut self, now: u64, dice: &mut Dice) {
        if self.reads(now) && self.lazy > 0.0 && dice.chance(self.lazy) {
            self.again_at = now + nanos(dice.time(Duration::from_millis(50), self.longest));
        }
    }

    /// The end of its last pause, or of the one that it makes now.
    pub(crate) fn reads_since(&self) -> u64 {
        self.again_at
    }

    /// When it reads again, if it does not now.
    pub(crate) fn again_at(&self, now: u64) -> Option<u64> {
        (self.again_at > now).then_some(self.again_at)
    }
}
