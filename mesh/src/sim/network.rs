//! The simulated network: what it does to datagrams and links, and the queue of all that is to happen.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

/// What the network does to what is sent.
#[derive(Debug, Clone)]
pub struct Faults {
    /// Part of the datagrams that is lost.
    pub loss: f64,
    /// Part of the datagrams that arrives twice.
    pub duplicate: f64,
    /// Shortest delay, one way.
    pub delay_min: Duration,
    /// Longest delay. The wider the range, the more datagrams overtake others.
    pub delay_max: Duration,
    /// Longest time until a connection is there: the first packets of TCP are sent again only after a second, the next ones
    /// after three.
    pub connect_max: Duration,
}

impl Default for Faults {
    /// One rack: 50 to 500 microseconds, nothing lost.
    fn default() -> Self {
        let (delay_min, delay_max) = (Duration::from_micros(50), Duration::from_micros(500));
        Self { loss: 0.0, duplicate: 0.0, delay_min, delay_max, connect_max: delay_max }
    }
}

impl Faults {
    /// 5 % loss and 20 ms delay each way, with some jitter.
    #[must_use]
    pub fn bad() -> Self {
        let (delay_min, delay_max) = (Duration::from_millis(18), Duration::from_millis(22));
        Self { loss: 0.05, duplicate: 0.01, delay_min, delay_max, connect_max: Duration::from_secs(5) }
    }

    pub(super) fn connect_delay(&self, rng: &mut StdRng) -> Duration {
        rng.random_range(self.delay_min..=self.connect_max)
    }

    pub(super) fn delay(&self, rng: &mut StdRng) -> Duration {
        rng.random_range(self.delay_min..=self.delay_max)
    }

    /// TCP turns a loss into a delay: a retransmission after 200 ms, Linux's shortest.
    pub(super) fn link_delay(&self, rng: &mut StdRng) -> Duration {
        let mut delay = self.delay(rng);
        while rng.random_bool(self.loss) {
            delay += Duration::from_millis(200);
        }
        delay
    }
}

/// What was sent as datagrams, lost ones and seals included.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    /// How many.
    pub datagrams: u64,
    /// UDP payload.
    pub bytes: u64,
}

#[derive(Debug)]
pub(super) enum Event {
    Wake(usize),
    /// Discovery finds the seeds.
    Discover(usize),
    Datagram {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    Connect {
        from: usize,
        to: usize,
    },
    /// Something comes over a link.
    ByLink {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    /// The other end closed the link.
    Closed {
        from: usize,
        to: usize,
    },
}

impl Event {
    /// The member at which it happens.
    pub(super) fn at(&self) -> usize {
        match self {
            Self::Wake(n) | Self::Discover(n) => *n,
            Self::Datagram { to, .. }
            | Self::Connect { to, .. }
            | Self::ByLink { to, .. }
            | Self::Closed { to, .. } => *to,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    events: BTreeMap<(Instant, u64), Event>,
    arrivals: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Instant, event: Event) {
        self.arrivals += 1;
        self.events.insert((at, self.arrivals), event);
    }

    pub(super) fn pop_before(&mut self, until: Instant) -> Option<(Instant, Event)> {
        let entry = self.events.first_entry()?;
        let at = entry.key().0;
        (at <= until).then(|| (at, entry.remove()))
    }
}
