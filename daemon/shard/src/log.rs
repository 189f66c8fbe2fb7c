//! What durable instances did, on its way to the daemon's journal, and how much of it is durable.
//!
//! The thread that has claimed a shard appends a record for each step before it lets the shard go, so the queue has the records of a place in
//! the order of their indexes, whichever reactor made them. The journal's thread takes them out and says what has become durable;
//! neither waits for the other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use crossbeam::queue::SegQueue;
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::place::{Mark, Place};

/// Bytes of records that may wait for the journal. Beyond it no new event is taken: a disk that stalls must not fill the memory.
const PENDING_BYTES: usize = 64 * 1024 * 1024;

/// Stands for all places of the daemon: a mesh has fewer partitions than that.
const ALL: u16 = u16::MAX;

/// A record that waits for the journal.
#[derive(Debug)]
struct Pending {
    partition: u16,
    index: u64,
    bytes: Vec<u8>,
}

/// The records of a daemon, between its shards and its journal.
#[derive(Debug)]
pub struct Log {
    queue: SegQueue<Pending>,
    /// Bytes in it.
    pending_bytes: AtomicUsize,
    /// Records that were ever appended, and those of them that are durable.
    appended: AtomicU64,
    durable: AtomicU64,
    /// Up to which index each place is durable.
    committed: Box<[AtomicU64]>,
    is_full: AtomicBool,
    has_failed: AtomicBool,
}

impl Log {
    /// Nothing yet, for so many partitions.
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        Self {
            queue: SegQueue::new(),
            pending_bytes: AtomicUsize::new(0),
            appended: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            committed: (0..partitions).map(|_| AtomicU64::new(0)).collect(),
            is_full: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
        }
    }

    /// Appends the record of a place that has this index. The caller has claimed the place's shard.
    pub(crate) fn push(&self, partition: u16, index: u64, bytes: Vec<u8>) {
        self.pending_bytes.fetch_add(bytes.len(), Relaxed);
        // First: who counts them never counts too few of those that are before one that it has seen.
        self.appended.fetch_add(1, Release);
        self.queue.push(Pending { partition, index, bytes });
    }

    /// Takes out records of about as many bytes as there is room, one record more at most, and notes how far each place comes with them.
    /// Only the journal does so.
    pub fn take(&self, room: usize, into: &mut Vec<u8>, marks: &mut Vec<Mark>) {
        while into.len() < room
            && let Some(Pending { partition, index, bytes }) = self.queue.pop()
        {
            self.pending_bytes.fetch_sub(bytes.len(), Relaxed);
            into.extend_from_slice(&bytes);
            marks.push(Mark { place: Place::disk(partition), index });
        }
    }

    /// The records of these marks, which were taken next, are durable.
    pub fn synced(&self, marks: &[Mark]) {
        marks.iter().for_each(|mark| self.commit(*mark));
        self.durable.fetch_add(marks.len() as u64, Release);
    }

    /// What must be committed before what is true of all places now may be told.
    #[must_use]
    pub fn mark_of_all(&self) -> Option<Mark> {
        let mark = Mark { place: Place::disk(ALL), index: self.appended.load(Acquire) };
        (self.committed(ALL) < mark.index).then_some(mark)
    }

    /// Everything of a place up to this mark was durable before.
    pub(crate) fn commit(&self, mark: Mark) {
        if let Some(committed) = self.committed.get(usize::from(mark.place.partition)) {
            committed.fetch_max(mark.index, Release);
        }
    }

    /// Up to which index a place is durable.
    #[must_use]
    pub fn committed(&self, partition: u16) -> u64 {
        if partition == ALL {
            return self.durable.load(Acquire);
        }
        self.committed.get(usize::from(partition)).map_or(0, |committed| committed.load(Acquire))
    }

    /// Whether the disk has no room for new events.
    pub fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Relaxed);
    }

    /// Whether the disk has no room for new events.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full.load(Relaxed)
    }

    /// Nothing becomes durable any more.
    pub fn set_failed(&self) {
        self.has_failed.store(true, Release);
    }

    /// Whether nothing becomes durable any more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Acquire)
    }

    /// Bytes of records that wait for the journal.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes.load(Relaxed)
    }

    /// Why no new event is taken, if none is.
    pub(crate) fn refuses(&self) -> Option<ErrorCode> {
        if self.has_failed() {
            Some(ErrorCode::StorageFailed)
        } else if self.is_full() || self.pending_bytes() >= PENDING_BYTES {
            Some(ErrorCode::StorageFull)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_leave_in_their_order_and_count_as_durable_only_when_that_is_said() {
        let log = Log::new(2);
        log.push(1, 1, vec![1; 10]);
        log.push(0, 1, vec![2; 10]);
        log.push(1, 2, vec![3; 10]);
        let (mut bytes, mut marks) = (Vec::new(), Vec::new());
        log.take(11, &mut bytes, &mut marks);
        assert_eq!((bytes.len(), log.pending_bytes()), (20, 10));
        let place = Place::disk;
        assert_eq!(marks, [Mark { place: place(1), index: 1 }, Mark { place: place(0), index: 1 }]);
        let all = log.mark_of_all().unwrap();
        log.synced(&marks);
        assert_eq!([0, 1, 9].map(|partition| log.committed(partition)), [1, 1, 0]);
        assert!(log.committed(all.place.partition) < all.index, "one is not durable");
        log.synced(&[Mark { place: place(1), index: 2 }]);
        assert_eq!((log.committed(1), log.mark_of_all()), (2, None));
    }

    #[test]
    fn no_event_is_taken_where_there_is_no_room_and_none_ever_once_the_disk_failed() {
        let log = Log::new(1);
        assert_eq!(log.refuses(), None);
        log.push(0, 1, vec![0; PENDING_BYTES]);
        assert_eq!(log.refuses(), Some(ErrorCode::StorageFull), "the disk stalls");
        log.take(1, &mut Vec::new(), &mut Vec::new());
        assert_eq!(log.refuses(), None);
        log.set_full(true);
        assert_eq!(log.refuses(), Some(ErrorCode::StorageFull));
        log.set_failed();
        log.set_full(false);
        assert_eq!(log.refuses(), Some(ErrorCode::StorageFailed));
    }
}
