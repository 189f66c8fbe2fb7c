//! Who watches: the subscribers of one reactor, their prefixes, and what waits for those that read slowly.
//!
//! No request waits for a subscriber. What it does not take piles up to a bound; then its oldest changes are dropped, and the
//! next change it gets says how many.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use statemesh_protocol::reply::{Encoding, write_str, write_uint};
use statemesh_shard::Change;
use statemesh_transport::{ConnId, Io};

use crate::options::Limits;

/// Up to here changes go straight into the connection's buffer; what comes then waits where it can still be dropped.
const LINK_BYTES: usize = 64 * 1024;

/// What the subscribers of all reactors take together.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    prefixes: AtomicUsize,
    waiting_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Subscriber {
    prefixes: Vec<Arc<[u8]>>,
    waiting: VecDeque<Arc<Change>>,
    waiting_bytes: usize,
    dropped: u64,
}

/// The subscribers of one reactor.
///
/// A change finds its subscribers by the beginnings of its topic, one look for each length that a prefix has: so what it
/// costs depends on the topic and on who wants it, not on how many subscriptions there are.
#[derive(Debug)]
pub(crate) struct Subscribers {
    by_conn: BTreeMap<ConnId, Subscriber>,
    by_prefix: HashMap<Arc<[u8]>, Vec<ConnId>>,
    /// How many different prefixes have this length.
    lengths: BTreeMap<usize, usize>,
    /// Those for whom something waits.
    slow: Vec<ConnId>,
    /// Who wants the change at hand; kept to be used again.
    wanting: Vec<ConnId>,
    all: Arc<Watching>,
    limits: Limits,
    connections: usize,
    prefixes: usize,
    waiting_bytes: usize,
    dropped: u64,
}

impl Subscribers {
    /// No subscribers. What those of all reactors take is counted in `all`.
    pub(crate) fn new(limits: &Limits, all: Arc<Watching>) -> Self {
        Self {
            by_conn: BTreeMap::new(),
            by_prefix: HashMap::new(),
            lengths: BTreeMap::new(),
            slow: Vec::new(),
            wanting: Vec::new(),
            all,
            limits: *limits,
            connections: 0,
            prefixes: 0,
            waiting_bytes: 0,
            dropped: 0,
        }
    }

    /// Whether there are no subscriptions, so that no change needs to be encoded.
    pub(crate) fn is_empty(&self) -> bool {
        self.prefixes == 0
    }

    /// A subscriber has connected.
    pub(crate) fn opened(&mut self) {
        self.connections += 1;
    }

    /// Connections of subscribers.
    pub(crate) fn connections(&self) -> usize {
        self.connections
    }

    /// Subscriptions in all.
    pub(crate) fn prefixes(&self) -> usize {
        self.prefixes
    }

    /// Bytes that wait for slow subscribers.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Changes that slow subscribers lost since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes a subscription; `false` if it is too long, or one too many for the subscriber or in all.
    pub(crate) fn subscribe(&mut self, conn: ConnId, prefix: &[u8]) -> bool {
        let subscriber = self.by_conn.entry(conn).or_default();
        if subscriber.prefixes.len() >= self.limits.subscriptions || prefix.len() > self.limits.subscription_bytes {
            return false;
        }
        if self.all.prefixes.fetch_add(1, Relaxed) >= self.limits.subscriptions_total {
            self.all.prefixes.fetch_sub(1, Relaxed);
            return false;
        }
        self.prefixes += 1;
        let known = self.by_prefix.get_key_value(prefix).map(|(known, _)| Arc::clone(known));
        let prefix = known.unwrap_or_else(|| {
            *self.lengths.entry(prefix.len()).or_default() += 1;
            prefix.into()
        });
        subscriber.prefixes.push(Arc::clone(&prefix));
        self.by_prefix.entry(prefix).or_default().push(conn);
        true
    }

    /// Ends one subscription with this prefix (they are counted, as ZMTP wants).
    pub(crate) fn cancel(&mut self, conn: ConnId, prefix: &[u8]) {
        let Some(subscriber) = self.by_conn.get_mut(&conn) else { return };
        let Some(at) = subscriber.prefixes.iter().position(|own| **own == *prefix) else { return };
        subscriber.prefixes.swap_remove(at);
        self.forget(conn, prefix);
    }

    /// One subscription less.
    fn forget(&mut self, conn: ConnId, prefix: &[u8]) {
        self.prefixes -= 1;
        self.all.prefixes.fetch_sub(1, Relaxed);
        let Some(wanting) = self.by_prefix.get_mut(prefix) else { return };
        if let Some(at) = wanting.iter().position(|id| *id == conn) {
            wanting.swap_remove(at);
        }
        if !wanting.is_empty() {
            return;
        }
        self.by_prefix.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    /// A subscriber's connection is gone: forgets it.
    pub(crate) fn closed(&mut self, conn: ConnId) {
        self.connections = self.connections.saturating_sub(1);
        let Some(subscriber) = self.by_conn.remove(&conn) else { return };
        self.count_waiting(subscriber.waiting_bytes, 0);
        self.slow.retain(|id| *id != conn);
        for prefix in &subscriber.prefixes {
            self.forget(conn, prefix);
        }
    }

    /// Those that want this topic, each once.
    fn wanting(&mut self, topic: &[u8]) -> Vec<ConnId> {
        let mut wanting = std::mem::take(&mut self.wanting);
        wanting.clear();
        let mut found = 0;
        for (&length, _) in self.lengths.range(..=topic.len()) {
            let Some(ids) = topic.get(..length).and_then(|prefix| self.by_prefix.get(prefix)) else { continue };
            wanting.extend_from_slice(ids);
            found += 1;
        }
        if found > 1 || wanting.len() > 1 {
            wanting.sort_unstable();
            wanting.dedup();
        }
        wanting
    }

    /// Gives a change to everyone who wants it.
    pub(crate) fn publish(&mut self, change: &Arc<Change>, io: &mut Io) {
        let wanting = self.wanting(&change.topic);
        for &conn in &wanting {
            let Some(subscriber) = self.by_conn.get_mut(&conn) else { continue };
            if subscriber.waiting.is_empty() && io.unsent(conn) < LINK_BYTES {
                send(conn, subscriber, change, io);
            } else {
                self.keep(conn, change);
            }
        }
        self.wanting = wanting;
    }

    /// Changes were lost before it was known who wants them: each subscriber may have missed them.
    pub(crate) fn lost(&mut self, changes: u64) {
        self.dropped += changes;
        // The order does not matter: each count is its subscriber's own.
        self.by_conn.values_mut().for_each(|subscriber| subscriber.dropped += changes);
    }

    /// Keeps a change for a slow subscriber, in the place of its oldest if there are too many.
    fn keep(&mut self, conn: ConnId, change: &Arc<Change>) {
        let Some(subscriber) = self.by_conn.get_mut(&conn) else { return };
        if subscriber.waiting.is_empty() {
            self.slow.push(conn);
        }
        let before = subscriber.waiting_bytes;
        subscriber.waiting_bytes += change.bytes();
        subscriber.waiting.push_back(Arc::clone(change));
        let others = self.all.waiting_bytes.load(Relaxed).saturating_sub(before);
        while subscriber.waiting_bytes > self.limits.subscriber_bytes
            || others + subscriber.waiting_bytes > self.limits.subscriber_total_bytes
        {
            let Some(oldest) = subscriber.waiting.pop_front() else { break };
            subscriber.waiting_bytes -= oldest.bytes();
            subscriber.dropped += 1;
            self.dropped += 1;
        }
        let after = subscriber.waiting_bytes;
        self.count_waiting(before, after);
    }

    fn count_waiting(&mut self, before: usize, after: usize) {
        self.waiting_bytes = self.waiting_bytes + after - before;
        self.all.waiting_bytes.fetch_add(after, Relaxed);
        self.all.waiting_bytes.fetch_sub(before, Relaxed);
    }

    /// Sends what waits, as far as the connections take it. Called at the end of each turn.
    pub(crate) fn flush(&mut self, io: &mut Io) {
        if self.slow.is_empty() {
            return;
        }
        for conn in std::mem::take(&mut self.slow) {
            let Some(subscriber) = self.by_conn.get_mut(&conn) else { continue };
            let before = subscriber.waiting_bytes;
            while !subscriber.waiting.is_empty() && io.unsent(conn) < LINK_BYTES {
                let Some(change) = subscriber.waiting.pop_front() else { break };
                subscriber.waiting_bytes -= change.bytes();
                send(conn, subscriber, &change, io);
            }
            if !subscriber.waiting.is_empty() {
                self.slow.push(conn);
            }
            let after = subscriber.waiting_bytes;
            self.count_waiting(before, after);
        }
    }
}

fn send(conn: ConnId, subscriber: &mut Subscriber, change: &Change, io: &mut Io) {
    if subscriber.dropped == 0 {
        io.send(conn, &[&change.topic, &change.body]);
        return;
    }
    let body = with_dropped(&change.body, std::mem::take(&mut subscriber.dropped));
    io.send(conn, &[&change.topic, &body]);
}

/// The same map with one field more: how many changes were lost before it.
fn with_dropped(body: &[u8], dropped: u64) -> Vec<u8> {
    let mut out = body.to_vec();
    if let Some([0xde, high, low]) = out.first_chunk_mut::<3>() {
        let count = u16::from_be_bytes([*high, *low]).saturating_add(1);
        [*high, *low] = count.to_be_bytes();
        write_str(&mut out, Encoding::MsgPack, "dropped");
        write_uint(&mut out, Encoding::MsgPack, dropped);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_change_is_counted_in_the_next_one() {
        // {"a":1} as map 16
        let body = [0xde, 0, 1, 0xa1, b'a', 1];
        let map: std::collections::BTreeMap<String, u64> = rmp_serde::from_slice(&with_dropped(&body, 7)).unwrap();
        assert_eq!(map, [("a".to_owned(), 1), ("dropped".to_owned(), 7)].into());
    }

    fn subscribers(limits: Limits) -> Subscribers {
        Subscribers::new(&limits, Arc::default())
    }

    fn conn(n: usize) -> ConnId {
        ConnId::for_tests(n)
    }

    #[test]
    fn a_change_finds_each_of_those_who_want_it_once() {
        let mut all = subscribers(Limits::default());
        let subscriptions: [(usize, &[u8]); 6] =
            [(1, b""), (1, b"order/"), (2, b"order/4"), (2, b"order/42"), (3, b"orders/"), (3, b"z")];
        for (n, prefix) in subscriptions {
            assert!(all.subscribe(conn(n), prefix));
        }
        assert_eq!(all.wanting(b"order/42"), [conn(1), conn(2)]);
        assert_eq!(all.wanting(b"order/5"), [conn(1)]);
        assert_eq!(all.wanting(b"orders/5"), [conn(1), conn(3)]);
        all.cancel(conn(1), b"");
        all.cancel(conn(1), b"never");
        assert_eq!(all.wanting(b"orders/5"), [conn(3)]);
        all.closed(conn(2));
        assert_eq!((all.wanting(b"order/42"), all.prefixes()), (vec![conn(1)], 3));
        all.closed(conn(1));
        all.closed(conn(3));
        assert!(all.is_empty() && all.by_prefix.is_empty() && all.lengths.is_empty());
        assert_eq!(all.all.prefixes.load(Relaxed), 0);
    }

    #[test]
    fn subscriptions_have_bounds_in_number_and_length_and_in_all() {
        let bounds = Limits { subscriptions: 2, subscriptions_total: 3, subscription_bytes: 4, ..Limits::default() };
        let mut all = subscribers(bounds);
        assert!(!all.subscribe(conn(1), b"12345"));
        assert!(all.subscribe(conn(1), b"1234") && all.subscribe(conn(1), b""));
        assert!(!all.subscribe(conn(1), b"x"), "the third of one");
        assert!(all.subscribe(conn(2), b"x") && !all.subscribe(conn(2), b"y"), "the fourth in all");
        all.closed(conn(1));
        assert!(all.subscribe(conn(2), b"y"));
    }

    #[test]
    fn who_is_slow_loses_its_oldest_changes_first() {
        let change = |n: u8| Arc::new(Change { topic: Box::new([n; 10]), body: Box::new([0; 90]) });
        let mut all = subscribers(Limits { subscriber_bytes: 300, subscriber_total_bytes: 500, ..Limits::default() });
        (1..=2).for_each(|n| assert!(all.subscribe(conn(n), b"")));
        (0..5).for_each(|n| all.keep(conn(1), &change(n)));
        let first = &all.by_conn[&conn(1)];
        assert_eq!((first.waiting.len(), first.dropped, first.waiting[0].topic[0]), (3, 2, 2));
        (0..5).for_each(|n| all.keep(conn(2), &change(n)));
        assert_eq!((all.by_conn[&conn(2)].waiting.len(), all.waiting_bytes()), (2, 500));
        all.closed(conn(1));
        assert_eq!((all.waiting_bytes(), all.all.waiting_bytes.load(Relaxed)), (200, 200));
    }
}
