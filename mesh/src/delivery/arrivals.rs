//! Parts of partitions that move here and cannot be taken in yet, since definitions of their instances are still on the way.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use statemesh_protocol::hash::Partition;
use statemesh_protocol::peer::ownership::HandoffNumber;

use crate::routing::MemberNumber;

/// A part of a partition that moves here. `C` names connections.
#[derive(Debug)]
pub struct Part<C> {
    /// The link that it came on.
    pub conn: C,
    /// Who sent it.
    pub from: MemberNumber,
    /// Its partition.
    pub partition: Partition,
    /// The hand-off's number.
    pub number: HandoffNumber,
    /// Whether it is the last one.
    pub last: bool,
    /// Versions of definitions that the sender had.
    pub definitions: u32,
    /// Encoded instances.
    pub instances: Box<[u8]>,
    /// After this it is taken in as it is.
    pub until: Instant,
}

/// The parts that wait, of each partition in their order.
#[derive(Debug)]
pub struct Arrivals<C> {
    by_partition: BTreeMap<Partition, VecDeque<Part<C>>>,
    bytes: usize,
}

impl<C> Default for Arrivals<C> {
    fn default() -> Self {
        Self { by_partition: BTreeMap::new(), bytes: 0 }
    }
}

impl<C: PartialEq> Arrivals<C> {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_partition.is_empty()
    }

    /// Whether a part of this partition waits, behind which others have to.
    #[must_use]
    pub fn waits(&self, partition: Partition) -> bool {
        self.by_partition.contains_key(&partition)
    }

    /// Bytes of what waits.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A part waits.
    pub fn add(&mut self, part: Part<C>) {
        self.bytes += part.instances.len();
        self.by_partition.entry(part.partition).or_default().push_back(part);
    }

    /// Takes every part that can be taken in now, of each partition those before the first that cannot.
    pub fn take(&mut self, mut can: impl FnMut(&Part<C>) -> bool) -> Vec<Part<C>> {
        let mut taken = Vec::new();
        for parts in self.by_partition.values_mut() {
            while parts.front().is_some_and(&mut can) {
                taken.extend(parts.pop_front());
            }
        }
        self.by_partition.retain(|_, parts| !parts.is_empty());
        self.bytes -= taken.iter().map(|part| part.instances.len()).sum::<usize>();
        taken
    }

    /// A link has ended: what came on it, and is not taken in, is discarded.
    pub fn link_ended(&mut self, conn: &C) {
        self.retain(|part| part.conn != *conn);
    }

    /// What has arrived of a partition is discarded.
    pub fn discard(&mut self, partition: Partition) {
        self.retain(|part| part.partition != partition);
    }

    fn retain(&mut self, keep: impl Fn(&Part<C>) -> bool) {
        for parts in self.by_partition.values_mut() {
            parts.retain(&keep);
        }
        self.by_partition.retain(|_, parts| !parts.is_empty());
        let all = self.by_partition.values().flatten();
        self.bytes = all.map(|part| part.instances.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(conn: u8, partition: Partition, definitions: u32) -> Part<u8> {
        let instances = vec![0; 10].into();
        Part { conn, from: 1, partition, number: 1, last: false, definitions, instances, until: Instant::now() }
    }

    fn taken(arrivals: &mut Arrivals<u8>, known: u32) -> Vec<(Partition, u32)> {
        let taken = arrivals.take(|part| part.definitions <= known);
        taken.into_iter().map(|part| (part.partition, part.definitions)).collect()
    }

    #[test]
    fn a_part_waits_behind_the_earlier_ones_of_its_partition_only() {
        let mut arrivals = Arrivals::default();
        for (partition, definitions) in [(1, 5), (1, 2), (2, 2), (2, 4)] {
            arrivals.add(part(0, partition, definitions));
        }
        assert_eq!(taken(&mut arrivals, 3), [(2, 2)]);
        assert!(arrivals.waits(1) && arrivals.bytes() == 30);
        assert_eq!(taken(&mut arrivals, 5), [(1, 5), (1, 2), (2, 4)]);
        assert!(arrivals.is_empty() && arrivals.bytes() == 0);
    }

    #[test]
    fn nothing_is_left_of_what_is_discarded() {
        let mut arrivals = Arrivals::default();
        for (conn, partition) in [(0, 1), (1, 1), (0, 2), (1, 3)] {
            arrivals.add(part(conn, partition, 9));
        }
        arrivals.link_ended(&0);
        arrivals.discard(3);
        assert!(arrivals.waits(1) && !arrivals.waits(2) && !arrivals.waits(3));
        assert_eq!(arrivals.bytes(), 10);
    }
}
