//! Frames with an array of requests: the reply is the array of the replies, in the same order, once the last is there.
//!
//! What the replies of an array take has a bound: beyond it the rest of its requests is refused before it is run, and a reply that
//! comes later, from another daemon, is left out with a word in its place. Replies that come in order are written where
//! they will be sent from, so that no array is in memory twice.

use std::collections::BTreeMap;

use slab::Slab;
use statemesh_protocol::reply::{Encoding, begin_list, end_list};

/// One array. `R` says where it goes.
#[derive(Debug)]
struct Batch<R> {
    reply_to: R,
    encoding: Encoding,
    /// The array so far.
    out: Vec<u8>,
    /// How many of its elements are written.
    written: usize,
    /// Replies that came before earlier ones.
    early: BTreeMap<usize, Vec<u8>>,
    len: usize,
    /// Replies, and the word that there are no more requests, that are still to come.
    missing: usize,
    /// A reply had something in it.
    is_asked: bool,
    bytes: usize,
    is_full: bool,
    /// Who asked is gone: its replies are not kept.
    is_discarded: bool,
}

impl<R> Batch<R> {
    fn write(&mut self, reply: &[u8]) {
        if self.encoding == Encoding::Json && self.written > 0 {
            self.out.push(b',');
        }
        match self.encoding {
            _ if !reply.is_empty() => self.out.extend_from_slice(reply),
            Encoding::Json => self.out.extend_from_slice(b"null"),
            Encoding::MsgPack => self.out.push(0xc0),
        }
        self.written += 1;
    }
}

/// The end of an array.
#[derive(Debug)]
pub struct End<R> {
    /// Where it goes.
    pub reply_to: R,
    /// The whole array of replies; none if none of its requests has a reply, or who asked is gone.
    pub replies: Option<Vec<u8>>,
}

/// The open batches of one reactor.
#[derive(Debug)]
pub struct Batches<R> {
    open: Slab<Batch<R>>,
    bytes: usize,
}

impl<R> Default for Batches<R> {
    fn default() -> Self {
        Self { open: Slab::new(), bytes: 0 }
    }
}

impl<R: Copy> Batches<R> {
    /// Begins a batch of `len` requests.
    pub fn begin(&mut self, reply_to: R, encoding: Encoding, len: usize) -> usize {
        let mut out = Vec::new();
        begin_list(&mut out, encoding, len);
        // One more than the requests: the batch ends only after `seal`, however fast the replies come.
        let missing = len + 1;
        let early = BTreeMap::new();
        self.open.insert(Batch {
            reply_to,
            encoding,
            out,
            written: 0,
            early,
            len,
            missing,
            is_asked: false,
            bytes: 0,
            is_full: false,
            is_discarded: false,
        })
    }

    /// Where the array of an open batch goes.
    #[must_use]
    pub fn reply_to(&self, batch: usize) -> Option<R> {
        self.open.get(batch).map(|open| open.reply_to)
    }

    /// Bytes of the replies of an open batch.
    #[must_use]
    pub fn bytes_of(&self, batch: usize) -> usize {
        self.open.get(batch).map_or(0, |open| open.bytes)
    }

    /// A reply had to be left out: no more requests are to be run.
    pub fn fill(&mut self, batch: usize) {
        if let Some(open) = self.open.get_mut(batch) {
            open.is_full = true;
        }
    }

    /// Those who asked are gone: what they were to have is not kept.
    pub fn discard(&mut self, is_gone: impl Fn(&R) -> bool) {
        for (_, open) in self.open.iter_mut().filter(|(_, open)| is_gone(&open.reply_to)) {
            self.bytes -= std::mem::take(&mut open.bytes);
            (open.out, open.is_discarded) = (Vec::new(), true);
            open.early.clear();
        }
    }

    /// Whether a reply had to be left out.
    #[must_use]
    pub fn is_full(&self, batch: usize) -> bool {
        self.open.get(batch).is_some_and(|open| open.is_full)
    }

    /// How many batches are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Bytes of the replies of all open batches.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes one reply. Gives the end of the array if it was the last.
    pub fn reply(&mut self, batch: usize, position: usize, reply: &[u8]) -> Option<End<R>> {
        let open = self.open.get_mut(batch).filter(|open| position < open.len && position >= open.written)?;
        if open.is_discarded {
            return self.seal(batch);
        }
        open.is_asked |= !reply.is_empty();
        open.bytes += reply.len();
        self.bytes += reply.len();
        if position == open.written {
            open.write(reply);
            while let Some(next) = open.early.remove(&open.written) {
                open.write(&next);
            }
        } else {
            open.early.insert(position, reply.to_vec());
        }
        self.seal(batch)
    }

    /// Says that all requests of the batch were looked at. Gives the end of the array if no reply is missing. An empty reply stands
    /// for a request that has none, and is null in the array.
    pub fn seal(&mut self, batch: usize) -> Option<End<R>> {
        let open = self.open.get_mut(batch)?;
        open.missing = open.missing.saturating_sub(1);
        if open.missing > 0 {
            return None;
        }
        let mut done = self.open.remove(batch);
        self.bytes -= done.bytes;
        if done.is_discarded || done.len > 0 && !done.is_asked {
            return Some(End { reply_to: done.reply_to, replies: None });
        }
        end_list(&mut done.out, done.encoding);
        Some(End { reply_to: done.reply_to, replies: Some(done.out) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole<R>(end: Option<End<R>>) -> Vec<u8> {
        end.unwrap().replies.unwrap()
    }

    #[test]
    fn replies_come_in_the_order_of_the_requests() {
        let mut batches = Batches::default();
        let batch = batches.begin(1, Encoding::Json, 3);
        assert!(batches.reply(batch, 2, b"3").is_none());
        assert!(batches.reply(batch, 0, b"1").is_none());
        assert!(batches.seal(batch).is_none());
        assert_eq!((batches.bytes_of(batch), batches.bytes()), (2, 2));
        assert_eq!(whole(batches.reply(batch, 1, b"2")), b"[1,2,3]");
        assert_eq!((batches.bytes_of(batch), batches.bytes()), (0, 0));
    }

    #[test]
    fn requests_without_a_reply_are_null_and_nothing_but_such_is_not_answered() {
        let mut batches = Batches::default();
        let batch = batches.begin((), Encoding::Json, 2);
        assert!(batches.reply(batch, 0, b"").is_none() && batches.reply(batch, 1, b"1").is_none());
        assert_eq!(whole(batches.seal(batch)), b"[null,1]");
        let batch = batches.begin((), Encoding::Json, 1);
        assert!(batches.reply(batch, 0, b"").is_none());
        assert!(batches.seal(batch).unwrap().replies.is_none(), "it ends without an answer");
    }

    #[test]
    fn what_is_made_for_one_who_is_gone_is_not_kept() {
        let mut batches = Batches::default();
        let (gone, other) = (batches.begin(1, Encoding::Json, 3), batches.begin(2, Encoding::Json, 2));
        assert!(batches.reply(gone, 1, b"12345").is_none() && batches.reply(other, 0, b"1").is_none());
        batches.discard(|to| *to == 1);
        assert!(batches.reply(gone, 0, b"123").is_none());
        assert_eq!((batches.bytes(), batches.bytes_of(gone)), (1, 0));
        assert!(batches.reply(gone, 2, b"123").is_none() && batches.seal(gone).unwrap().replies.is_none());
        assert_eq!(batches.reply_to(gone), None, "its place is free");
        assert!(batches.reply(other, 1, b"2").is_none());
        assert_eq!(whole(batches.seal(other)), b"[1,2]");
    }

    #[test]
    fn an_empty_array_gives_an_empty_array() {
        let mut batches = Batches::default();
        let batch = batches.begin((), Encoding::MsgPack, 0);
        assert_eq!(whole(batches.seal(batch)), [0x90]);
    }
}
