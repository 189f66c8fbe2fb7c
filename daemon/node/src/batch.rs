//! Frames with an array of requests: the reply is the array of the replies, in the same order, once the last is there.

use slab::Slab;
use statemesh_mesh::client_protocol::reply::{Encoding, begin_list, end_list};

use crate::forward::ReplyTo;

#[derive(Debug)]
struct Batch {
    reply_to: ReplyTo,
    encoding: Encoding,
    replies: Vec<Vec<u8>>,
    missing: usize,
}

/// The open batches of one reactor.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    open: Slab<Batch>,
}

impl Batches {
    /// Begins a batch of `len` requests.
    pub(crate) fn begin(&mut self, reply_to: ReplyTo, encoding: Encoding, len: usize) -> usize {
        // One more than the requests: the batch ends only after `seal`, however fast the replies come.
        self.open.insert(Batch { reply_to, encoding, replies: vec![Vec::new(); len], missing: len + 1 })
    }

    /// Where the array of an open batch goes.
    pub(crate) fn reply_to(&self, batch: usize) -> Option<ReplyTo> {
        self.open.get(batch).map(|open| open.reply_to)
    }

    /// Notes one reply. Gives the whole array, and where it goes, if it was the last.
    pub(crate) fn reply(&mut self, batch: usize, position: usize, reply: &[u8]) -> Option<(ReplyTo, Vec<u8>)> {
        let place = self.open.get_mut(batch)?.replies.get_mut(position)?;
        *place = reply.to_vec();
        self.seal(batch)
    }

    /// Says that all requests of the batch were looked at. Gives the array if no reply is missing, unless there are only
    /// requests that have none: an empty reply stands for such a one, and is null in the array.
    pub(crate) fn seal(&mut self, batch: usize) -> Option<(ReplyTo, Vec<u8>)> {
        let open = self.open.get_mut(batch)?;
        open.missing = open.missing.saturating_sub(1);
        if open.missing > 0 {
            return None;
        }
        let done = self.open.remove(batch);
        if !done.replies.is_empty() && done.replies.iter().all(Vec::is_empty) {
            return None;
        }
        let mut out = Vec::with_capacity(done.replies.iter().map(|r| r.len() + 1).sum::<usize>() + 8);
        begin_list(&mut out, done.encoding, done.replies.len());
        for (index, reply) in done.replies.iter().enumerate() {
            if done.encoding == Encoding::Json && index > 0 {
                out.push(b',');
            }
            match done.encoding {
                _ if !reply.is_empty() => out.extend_from_slice(reply),
                Encoding::Json => out.extend_from_slice(b"null"),
                Encoding::MsgPack => out.push(0xc0),
            }
        }
        end_list(&mut out, done.encoding);
        Some((done.reply_to, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_in_the_order_of_the_requests() {
        let mut batches = Batches::default();
        let batch = batches.begin(ReplyTo::Caller(1), Encoding::Json, 3);
        assert!(batches.reply(batch, 2, b"3").is_none());
        assert!(batches.reply(batch, 0, b"1").is_none());
        assert!(batches.seal(batch).is_none());
        let (_, reply) = batches.reply(batch, 1, b"2").unwrap();
        assert_eq!(reply, b"[1,2,3]");
    }

    #[test]
    fn requests_without_a_reply_are_null_and_nothing_but_such_is_not_answered() {
        let mut batches = Batches::default();
        let batch = batches.begin(ReplyTo::Caller(1), Encoding::Json, 2);
        assert!(batches.reply(batch, 0, b"").is_none() && batches.reply(batch, 1, b"1").is_none());
        assert_eq!(batches.seal(batch).unwrap().1, b"[null,1]");
        let batch = batches.begin(ReplyTo::Caller(1), Encoding::Json, 1);
        assert!(batches.reply(batch, 0, b"").is_none() && batches.seal(batch).is_none());
    }

    #[test]
    fn an_empty_array_gives_an_empty_array() {
        let mut batches = Batches::default();
        let batch = batches.begin(ReplyTo::Caller(1), Encoding::MsgPack, 0);
        assert_eq!(batches.seal(batch).unwrap().1, [0x90]);
    }
}
