//! What reactors share of links between daemons: the names of links and of greetings, how daemons greet, and which links have ended.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::RwLock;
use statemesh_mesh::delivery::ended::Ended;
use statemesh_protocol::hash;
use statemesh_protocol::peer::frame::{LinkId, Path};

/// Ended links that are remembered: all those of a large mesh that falls apart, for the seconds that a request is under way.
pub(crate) const ENDED_LINKS: usize = 16_384;

/// Links between daemons, of all reactors.
pub(crate) struct Links {
    greeter: RwLock<Greeter>,
    /// Numbers greetings of other daemons, in the order in which reactors take them.
    greetings: AtomicU64,
    /// How many links were opened.
    opened: AtomicU64,
    /// Random, and another one in each process.
    seed: u64,
    /// The links whose end was heard of, by any reactor.
    ended: RwLock<Ended>,
    /// Whether there are any.
    any_ended: AtomicBool,
}

/// What is needed to greet another daemon, and to judge a greeting.
pub(crate) struct Greeter {
    /// Our own greeting.
    pub hello: Arc<[u8]>,
    /// Decides about a greeting: the member's number, or the refusal to send.
    pub judge: Judge,
}

/// Gives the number of the member that greets, or the refusal to send.
pub(crate) type Judge = Box<dyn Fn(&[u8]) -> Result<u32, Vec<u8>> + Send + Sync>;

impl Links {
    /// No links, and none that may be opened to this daemon. The names of links come from this seed.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            greeter: RwLock::new(Greeter { hello: Arc::new([]), judge: Box::new(|_| Err(Vec::new())) }),
            greetings: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            seed,
            ended: RwLock::new(Ended::new(ENDED_LINKS)),
            any_ended: AtomicBool::new(false),
        }
    }

    /// The number of a greeting that is taken now. Who gets a later one sees what who got an earlier one did before.
    pub(crate) fn next_greeting(&self) -> u64 {
        self.greetings.fetch_add(1, AcqRel)
    }

    /// The name of a link that is opened now.
    pub(crate) fn next_link(&self) -> LinkId {
        hash::mix(self.seed.wrapping_add(self.opened.fetch_add(1, Relaxed)))
    }

    /// Links have ended, here or at a member. Gives those of which that is news.
    pub(crate) fn end(&self, links: &[LinkId]) -> Vec<LinkId> {
        let mut ended = self.ended.write();
        let new = links.iter().copied().filter(|link| ended.add(*link)).collect();
        self.any_ended.store(true, Release);
        new
    }

    /// Whether one of these links has ended: what came by them is discarded then.
    pub(crate) fn has_ended(&self, path: &Path) -> bool {
        if path.links().is_empty() || !self.any_ended.load(Acquire) {
            return false;
        }
        let ended = self.ended.read();
        path.links().iter().any(|link| ended.contains(*link))
    }

    /// Our own greeting.
    #[must_use]
    pub(crate) fn hello(&self) -> Arc<[u8]> {
        Arc::clone(&self.greeter.read().hello)
    }

    /// Replaces how daemons are greeted and judged.
    pub(crate) fn set_greeter(&self, greeter: Greeter) {
        *self.greeter.write() = greeter;
    }

    /// Judges a greeting.
    ///
    /// # Errors
    /// The refusal to send.
    pub(crate) fn judge(&self, hello: &[u8]) -> Result<u32, Vec<u8>> {
        (self.greeter.read().judge)(hello)
    }
}
