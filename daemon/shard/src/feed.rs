//! Changes on their way from a shard to the reactors that publish them.
//!
//! The thread that has claimed a shard puts its changes into the feed of each reactor with watchers, before it lets the shard
//! go: so the order in which a key's changes are published is, at each reactor, the order in which they came about, whichever
//! reactor stepped the instance. No thread waits for a reactor: a feed is bounded in bytes, and the oldest changes go first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

use crossbeam::queue::SegQueue;

use statemesh_protocol::place::Mark;

use crate::change::Change;

/// What one reactor has to publish.
#[derive(Debug, Default)]
pub struct Feed {
    watched: AtomicBool,
    /// The reactor was woken, and has not looked since.
    woken: AtomicBool,
    queue: SegQueue<(Option<Mark>, Arc<Change>)>,
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl Feed {
    /// Whether this reactor has watchers.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.watched.load(Relaxed)
    }

    /// Says whether the reactor has watchers.
    pub fn set_watched(&self, watched: bool) {
        self.watched.store(watched, Relaxed);
    }

    /// Takes out the changes that are there, in order, each with what must be committed before it is published, and says whether there are
    /// more by now: others go on adding them, and the reactor has other things to do. Only the reactor that owns the feed does so.
    pub fn drain(&self, mut take: impl FnMut(Option<Mark>, Arc<Change>)) -> bool {
        if !self.woken.load(SeqCst) {
            return false;
        }
        // First: a change that comes after the last look wakes the reactor again.
        self.woken.store(false, SeqCst);
        for _ in 0..self.queue.len() {
            let Some((mark, change)) = self.pop() else { break };
            take(mark, change);
        }
        let more = !self.queue.is_empty();
        self.woken.fetch_or(more, SeqCst);
        more
    }

    /// A change that was taken out waits elsewhere for its mark: it counts towards the feed's bound until it is released.
    pub fn hold(&self, change: &Change) {
        self.bytes.fetch_add(change.bytes(), SeqCst);
    }

    /// A change that was held waits no longer.
    pub fn release(&self, change: &Change) {
        self.bytes.fetch_sub(change.bytes(), SeqCst);
    }

    fn pop(&self) -> Option<(Option<Mark>, Arc<Change>)> {
        let (mark, change) = self.queue.pop()?;
        self.bytes.fetch_sub(change.bytes(), SeqCst);
        Some((mark, change))
    }

    /// Changes that were dropped since this was asked last.
    #[must_use]
    pub fn take_dropped(&self) -> u64 {
        if self.dropped.load(Relaxed) == 0 { 0 } else { self.dropped.swap(0, Relaxed) }
    }

    /// Bytes that wait, here or for their mark.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Adds a change; says whether the reactor has to be woken for it.
    fn push(&self, mark: Option<Mark>, change: Arc<Change>, max: usize) -> bool {
        self.bytes.fetch_add(change.bytes(), SeqCst);
        self.queue.push((mark, change));
        while self.bytes.load(SeqCst) > max && self.pop().is_some() {
            self.dropped.fetch_add(1, Relaxed);
        }
        !self.woken.swap(true, SeqCst)
    }
}

/// The feeds of all reactors.
#[derive(Debug)]
pub struct Feeds {
    feeds: Box<[Feed]>,
    bytes_max: usize,
}

impl Feeds {
    /// Feeds of so many reactors, each of at most so many bytes.
    pub(crate) fn new(reactors: usize, bytes_max: usize) -> Self {
        Self { feeds: (0..reactors).map(|_| Feed::default()).collect(), bytes_max }
    }

    /// The feed of a reactor.
    #[must_use]
    pub fn of(&self, reactor: usize) -> Option<&Feed> {
        self.feeds.get(reactor)
    }

    /// Whether any reactor has watchers, so that changes are worth encoding.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.feeds.iter().any(Feed::is_watched)
    }

    /// Gives a change to each reactor that has watchers, with what must be committed before it is published; `wake` takes those that had
    /// nothing to do.
    pub(crate) fn publish(&self, mark: Option<Mark>, change: &Arc<Change>, wake: &mut Vec<usize>) {
        for (reactor, feed) in self.feeds.iter().enumerate().filter(|(_, feed)| feed.is_watched()) {
            if feed.push(mark, Arc::clone(change), self.bytes_max) {
                wake.push(reactor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(n: u8) -> Arc<Change> {
        Arc::new(Change { topic: (*b"m/k").into(), body: [n; 97].into() })
    }

    #[test]
    fn a_feed_keeps_the_order_wakes_once_and_drops_the_oldest_beyond_its_bound() {
        let feeds = Feeds::new(2, 300);
        feeds.of(1).unwrap().set_watched(true);
        let mut wake = Vec::new();
        (0..5).for_each(|n| feeds.publish(None, &change(n), &mut wake));
        assert_eq!(wake, [1]);
        let feed = feeds.of(1).unwrap();
        assert_eq!((feed.take_dropped(), feed.bytes()), (2, 300));
        let mut left = Vec::new();
        feed.drain(|_, change| left.push(change.body[0]));
        assert_eq!((left, feed.bytes()), (vec![2, 3, 4], 0));
        feeds.publish(None, &change(9), &mut wake);
        assert_eq!(wake, [1, 1], "it has to look again");
        // Others go on adding what it publishes.
        let mut taken = 0;
        let more = feed.drain(|_, _| {
            taken += 1;
            feeds.publish(None, &change(8), &mut Vec::new());
        });
        assert!(taken == 1 && more && !feed.drain(|_, _| ()));
        assert!(feeds.of(0).unwrap().pop().is_none(), "nobody watches there");
    }

    #[test]
    fn changes_that_wait_for_their_mark_stay_within_the_bound_of_the_feed() {
        let feeds = Feeds::new(1, 300);
        let feed = feeds.of(0).unwrap();
        feed.set_watched(true);
        let mut held = Vec::new();
        // A disk that stalls: reactors go on draining, and what they take out is kept.
        for n in 0..10 {
            feeds.publish(None, &change(n), &mut Vec::new());
            feed.drain(|_, change| {
                feed.hold(&change);
                held.push(change);
            });
        }
        let bytes: usize = held.iter().map(|change| change.bytes()).sum();
        assert_eq!((bytes, feed.bytes(), feed.take_dropped()), (300, 300, 7));
        held.iter().for_each(|change| feed.release(change));
        feeds.publish(None, &change(10), &mut Vec::new());
        assert_eq!((feed.bytes(), feed.take_dropped()), (100, 0));
    }
}
