//! What answers may take together. Each may be as large as `limits.output_bytes`, and waits in memory until its peer has read it:
//! so one is only asked for when there is room for the largest, and what it does not need is given back.

use hyper::body::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What an answer may have that is waited for. It keeps this all the while, so that it cannot be as much as one that is there at once.
const WAITING_BYTES: u32 = 256 * 1024;

/// Room for answers.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    bytes: Arc<Semaphore>,
    all: usize,
    largest: u32,
    /// Answers that may be waited for at a time: others have to find room too.
    waiting: Arc<Semaphore>,
}

impl Room {
    /// Room for so many bytes, of which one answer takes at most `largest`; there is always room for one.
    pub(crate) fn new(all: usize, largest: usize) -> Self {
        let largest = u32::try_from(largest).unwrap_or(u32::MAX);
        let all = all.max(largest as usize).min(Semaphore::MAX_PERMITS);
        // Answers that are waited for leave room for the largest one.
        let waiting = (all / 2).min(all - largest as usize) / WAITING_BYTES as usize;
        Self { bytes: Arc::new(Semaphore::new(all)), all, largest, waiting: Arc::new(Semaphore::new(waiting)) }
    }

    /// Bytes that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.all.saturating_sub(self.bytes.available_permits())
    }

    /// A place for an answer that is waited for; `None` if there is none left.
    pub(crate) fn to_wait(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.waiting).try_acquire_owned().ok()
    }

    /// Waits until there is room for one that is waited for.
    pub(crate) async fn for_waiting(&self) -> Option<Part> {
        let bytes = self.largest.min(WAITING_BYTES);
        Arc::clone(&self.bytes).acquire_many_owned(bytes).await.ok().map(Part)
    }

    /// Waits until there is room for one more answer.
    pub(crate) async fn for_one(&self) -> Option<Part> {
        Arc::clone(&self.bytes).acquire_many_owned(self.largest).await.ok().map(Part)
    }
}

/// Room for one answer.
#[derive(Debug)]
pub(crate) struct Part(OwnedSemaphorePermit);

impl Part {
    /// What the answer may take.
    pub(crate) fn bytes(&self) -> usize {
        self.0.num_permits()
    }

    /// An answer that keeps the room that it needs until it has been written.
    pub(crate) fn hold(mut self, answer: Vec<u8>) -> Bytes {
        let unneeded = self.0.num_permits().saturating_sub(answer.len());
        drop(self.0.split(unneeded));
        Bytes::from_owner(Held { answer, _part: self })
    }
}

struct Held {
    answer: Vec<u8>,
    _part: Part,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_that_wait_leave_half_of_the_room_to_others() {
        let (waiting, all) = (WAITING_BYTES as usize, 5 * WAITING_BYTES as usize);
        let room = Room::new(all, 2 * waiting);
        let places = [room.to_wait(), room.to_wait()];
        assert!(places.iter().all(Option::is_some) && room.to_wait().is_none());
        let parts = [room.for_waiting().await.unwrap(), room.for_waiting().await.unwrap()];
        assert_eq!((room.taken(), parts[0].bytes()), (2 * waiting, waiting));
        drop(places);
        assert!(room.to_wait().is_some());
    }

    #[tokio::test]
    async fn an_answer_keeps_its_own_size_until_it_is_dropped() {
        let room = Room::new(25, 10);
        let (first, _second) = (room.for_one().await.unwrap(), room.for_one().await.unwrap());
        assert_eq!(room.taken(), 20);
        let body = first.hold(vec![7; 3]);
        let part = body.slice(1..);
        drop(body);
        assert_eq!((room.taken(), &*part), (13, &[7, 7][..]));
        let third = room.for_one().await.unwrap();
        assert!(tokio::time::timeout(std::time::Duration::from_millis(20), room.for_one()).await.is_err());
        drop((part, third));
        assert_eq!(room.taken(), 10);
    }

    #[tokio::test]
    async fn there_is_always_room_for_one() {
        assert!(Room::new(0, 10).for_one().await.is_some());
    }
}
