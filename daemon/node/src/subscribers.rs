//! Who watches: the subscribers of one reactor, their prefixes, and what waits for those that read slowly.
//!
//! Nobody waits for a subscriber. What it does not take piles up to a bound; then its oldest changes are dropped, and the
//! next change it gets says how many.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use statemesh_mesh::client_protocol::reply::{Encoding, write_str, write_uint};
use statemesh_transport::{ConnId, Io};

/// One published change: the topic `machine/key` and the map in MessagePack, which begins with a two-byte count (`map 16`)
/// so that a field can be added for one subscriber without encoding it anew.
#[derive(Debug)]
pub(crate) struct Change {
    /// `machine/key`.
    pub topic: Box<[u8]>,
    /// The map.
    pub body: Box<[u8]>,
}

/// Up to here changes go straight into the connection's buffer; what comes then waits where it can still be dropped.
const LINK_BYTES: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Subscriber {
    prefixes: Vec<Box<[u8]>>,
    waiting: VecDeque<Arc<Change>>,
    waiting_bytes: usize,
    dropped: u64,
}

/// The subscribers of one reactor.
#[derive(Debug)]
pub(crate) struct Subscribers {
    by_conn: HashMap<ConnId, Subscriber>,
    max_prefixes: usize,
    max_bytes: usize,
    dropped: u64,
}

impl Subscribers {
    /// No subscribers. `max_prefixes` and `max_bytes` are for each.
    pub(crate) fn new(max_prefixes: usize, max_bytes: usize) -> Self {
        Self { by_conn: HashMap::new(), max_prefixes, max_bytes, dropped: 0 }
    }

    /// Whether nobody watches, so that no change needs to be encoded.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_conn.is_empty()
    }

    /// Prefixes in all.
    pub(crate) fn prefixes(&self) -> usize {
        self.by_conn.values().map(|s| s.prefixes.len()).sum()
    }

    /// Changes that slow subscribers lost since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes a subscription; `false` if the subscriber has too many, or the prefix is longer than any topic.
    pub(crate) fn subscribe(&mut self, conn: ConnId, prefix: &[u8]) -> bool {
        let subscriber = self.by_conn.entry(conn).or_default();
        let fits = subscriber.prefixes.len() < self.max_prefixes && prefix.len() <= MAX_PREFIX_BYTES;
        if fits {
            subscriber.prefixes.push(prefix.into());
        }
        fits
    }

    /// Ends one subscription with this prefix (they are counted, as ZMTP wants).
    pub(crate) fn cancel(&mut self, conn: ConnId, prefix: &[u8]) {
        if let Some(subscriber) = self.by_conn.get_mut(&conn)
            && let Some(at) = subscriber.prefixes.iter().position(|p| **p == *prefix)
        {
            subscriber.prefixes.swap_remove(at);
        }
    }

    /// Forgets a subscriber.
    pub(crate) fn closed(&mut self, conn: ConnId) {
        self.by_conn.remove(&conn);
    }

    /// Gives a change to everyone who wants it.
    pub(crate) fn publish(&mut self, change: &Arc<Change>, io: &mut Io) {
        for (&conn, subscriber) in &mut self.by_conn {
            if !subscriber.prefixes.iter().any(|prefix| change.topic.starts_with(prefix)) {
                continue;
            }
            if subscriber.waiting.is_empty() && io.unsent(conn) < LINK_BYTES {
                send(conn, subscriber, change, io);
                continue;
            }
            subscriber.waiting_bytes += change.topic.len() + change.body.len();
            subscriber.waiting.push_back(Arc::clone(change));
            while subscriber.waiting_bytes > self.max_bytes {
                let Some(oldest) = subscriber.waiting.pop_front() else {
                    break;
                };
                subscriber.waiting_bytes -= oldest.topic.len() + oldest.body.len();
                subscriber.dropped += 1;
                self.dropped += 1;
            }
        }
    }

    /// Sends what waits, as far as the connections take it. Called at the end of each turn.
    pub(crate) fn flush(&mut self, io: &mut Io) {
        for (&conn, subscriber) in &mut self.by_conn {
            while !subscriber.waiting.is_empty() && io.unsent(conn) < LINK_BYTES {
                let Some(change) = subscriber.waiting.pop_front() else {
                    break;
                };
                subscriber.waiting_bytes -= change.topic.len() + change.body.len();
                send(conn, subscriber, &change, io);
            }
        }
    }
}

/// The longest prefix that can match: a machine's name, a slash and a key.
const MAX_PREFIX_BYTES: usize = 4_096;

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
}
