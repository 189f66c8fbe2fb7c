//! Lives of a copy: how one ends, and how the next begins.
//!
//! A copy whose disk lost what it had promised cannot keep its promises: it gives its life up, and votes and acknowledges nothing until a leader
//! has given it another generation, which has promised nothing.

use std::sync::Arc;
use std::time::Instant;

use super::config::Replica;
use super::group::{Group, Standing};
use super::log::Log;
use super::message::{Message, Position};
use super::outputs::{Output, Record};

impl Group {
    /// Whether a message is for this life. A leader's entries for a later one begin it.
    pub(super) fn is_addressed(
        &mut self,
        from: &Replica,
        generation: u64,
        message: &Message,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> bool {
        let entries = matches!(message, Message::Append(append) if append.term >= self.ballot.term);
        if generation == self.me.generation && self.standing == Standing::Whole {
            return true;
        }
        if generation > self.me.generation && entries {
            self.begin_life(generation, now, out);
            return true;
        }
        // The leader cannot know otherwise, if it does not lead since before the damage.
        if generation == self.me.generation && generation_was_lived(&self.log) && entries {
            self.send(from.clone(), Message::GaveUp, out);
        }
        false
    }

    /// This life is over: its promises cannot be kept.
    pub(super) fn give_up(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.standing == Standing::GaveUp {
            return;
        }
        self.abdicate(now, out);
        self.standing = Standing::GaveUp;
        self.election = None;
        let write = self.writes.ballot();
        out.push(Output::Persist { write, record: Record::GiveUp });
    }

    /// A leader gave this volume a new life. To all others it is another server, so nothing of the former one need be kept.
    fn begin_life(&mut self, generation: u64, now: Instant, out: &mut Vec<Output>) {
        self.abdicate(now, out);
        self.me.generation = generation;
        self.standing = Standing::Whole;
        self.log = Log::new(Position::default(), Arc::default());
        self.commit = 0;
        self.election = None;
        self.writes.begin(0);
        let write = self.writes.ballot();
        out.push(Output::Persist { write, record: Record::Begin { generation } });
    }
}

/// A blank copy has no configuration; one that was given up has.
fn generation_was_lived(log: &Log) -> bool {
    log.configuration().is_sound()
}
