//! How what a shard did leaves this reactor: replies to clients and members, changes to its subscribers. Both pass the commit gate.

use std::sync::Arc;

use statemesh_protocol::place::{Mark, Place};
use statemesh_shard::Change;
use statemesh_transport::Io;

use super::{ReplyTo, Worker};

/// What waits for a mark.
#[derive(Debug)]
pub(super) enum Exit {
    /// A reply.
    Reply(ReplyTo, Vec<u8>),
    /// The answer to a request that was left in a shard's inbox, by its number.
    Answer(u64, Vec<u8>),
    /// A change.
    Change(Arc<Change>),
}

impl Worker {
    /// Sends a reply, once what it tells is committed.
    #[inline]
    pub(super) fn leave(&mut self, mark: Option<Mark>, reply_to: ReplyTo, reply: &[u8], io: &mut Io) {
        match mark {
            None => self.deliver(reply_to, reply, io),
            Some(_) => self.wait(mark, Exit::Reply(reply_to, reply.to_vec()), io),
        }
    }

    /// Sends the answer to a request that was left in a shard's inbox, once what it tells is committed.
    #[inline]
    pub(super) fn leave_answer(&mut self, mark: Option<Mark>, correlation: u64, reply: &[u8], io: &mut Io) {
        match mark {
            None => self.answered(correlation, reply, io),
            Some(_) => self.wait(mark, Exit::Answer(correlation, reply.to_vec()), io),
        }
    }

    fn wait(&mut self, mark: Option<Mark>, exit: Exit, io: &mut Io) {
        if let Some(exit) = self.runner.gate.pass(mark, exit) {
            self.let_out(exit, io);
        }
    }

    fn let_out(&mut self, exit: Exit, io: &mut Io) {
        match exit {
            Exit::Reply(reply_to, reply) => self.deliver(reply_to, &reply, io),
            Exit::Answer(correlation, reply) => self.answered(correlation, &reply, io),
            Exit::Change(change) => {
                self.runner.held_changes = self.runner.held_changes.saturating_sub(1);
                if let Some(feed) = self.shared.shards.feeds().of(self.index) {
                    feed.release(&change);
                }
                self.subscribers.publish(&change, io);
            }
        }
    }

    /// Replies that wait at the commit gate: requests in flight, which changes are not.
    pub(super) fn replies_held(&self) -> usize {
        self.runner.gate.len().saturating_sub(self.runner.held_changes)
    }

    /// Lets out what waited for marks that are committed now.
    pub(super) fn let_out_committed(&mut self, io: &mut Io) {
        if self.runner.gate.is_empty() {
            return;
        }
        let places: Vec<Place> = self.runner.gate.places().collect();
        for place in places {
            let committed = self.shared.shards.committed(place);
            for exit in self.runner.gate.commit(committed) {
                self.let_out(exit, io);
            }
        }
    }

    /// Publishes what runs left in this reactor's feed, and wakes the others to publish what is in theirs.
    pub(super) fn publish_changes(&mut self, io: &mut Io) {
        let mut reactors = std::mem::take(&mut self.runner.run.publish);
        for reactor in reactors.drain(..) {
            if reactor == self.index {
                self.publish_feed(io);
            } else {
                self.shared.reactors.wake(reactor);
            }
        }
        self.runner.run.publish = reactors;
    }

    /// Publishes what is in this reactor's feed, which has the order of the shards' claims, as far as it is committed.
    pub(super) fn publish_feed(&mut self, io: &mut Io) {
        let Self { shared, subscribers, index, runner, .. } = self;
        let Some(feed) = shared.shards.feeds().of(*index) else { return };
        let publish = |mark: Option<Mark>, change: Arc<Change>| {
            // What was dropped came before what is left.
            let lost = feed.take_dropped();
            if lost > 0 {
                subscribers.lost(lost);
            }
            let durable = mark.is_some().then(|| Arc::clone(&change));
            if let Some(Exit::Change(change)) = runner.gate.pass(mark, Exit::Change(change)) {
                subscribers.publish(&change, io);
            } else if let Some(held) = durable {
                // What waits at the gate stays within the feed's bound.
                feed.hold(&held);
                runner.held_changes += 1;
            }
        };
        if feed.drain(publish) {
            shared.reactors.wake(*index);
        }
    }

    /// Says to the shards whether there are subscribers here, after that may have changed. What this reactor runs next goes by it.
    pub(super) fn note_watching(&mut self) {
        let feeds = self.shared.shards.feeds();
        if let Some(feed) = feeds.of(self.index) {
            feed.set_watched(!self.subscribers.is_empty());
        }
        self.runner.run.watched = feeds.is_watched();
    }
}
