//! Which members must be heard before anything is concluded from a doubt.

use std::collections::BTreeSet;
use std::time::Instant;

use super::review::elapsed;
use super::sides::RETURN;
use statemesh_protocol::identity::MemberName;

#[derive(Debug, Default)]
pub(super) struct Unheard {
    /// Members that have not said since the last doubt whether they had declared this one dead: how many this side counts is not known
    /// before.
    members: BTreeSet<MemberName>,
    /// Members that were held for dead when this one found that it was apart, and may come back: until then nothing of a doubt is
    /// concluded.
    missing: BTreeSet<MemberName>,
    missing_until: Option<Instant>,
    /// The last question that was asked before the last doubt.
    doubted_after: u64,
}

impl Unheard {
    /// Nothing counts that these members said before, nor an answer to a question up to `last_id`.
    pub(super) fn hear_anew(&mut self, members: BTreeSet<MemberName>, last_id: u64) {
        (self.members, self.doubted_after) = (members, last_id);
    }

    /// A member that is met while there is a doubt is to be heard as well.
    pub(super) fn insert(&mut self, name: &MemberName) {
        self.members.insert(name.clone());
    }

    /// A member was heard, or is gone. Says whether it was waited for.
    pub(super) fn remove(&mut self, name: &MemberName) -> bool {
        self.members.remove(name)
    }

    /// Whether the question of this id was asked after the last doubt.
    pub(super) fn is_since_doubt(&self, id: u64) -> bool {
        id > self.doubted_after
    }

    /// Waits for these, which come back one after the other.
    pub(super) fn await_return(&mut self, missing: BTreeSet<MemberName>, now: Instant) {
        self.missing_until = (!missing.is_empty()).then(|| now + RETURN);
        self.missing = missing;
    }

    /// A member is back. Says whether it was the last that was missing.
    pub(super) fn returned(&mut self, name: &MemberName) -> bool {
        let was_last = self.missing.remove(name) && self.missing.is_empty();
        if was_last {
            self.missing_until = None;
        }
        was_last
    }

    /// Waits for those that are missing no longer, if it is time. Says whether it is.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let is_over = elapsed(&mut self.missing_until, now);
        if is_over {
            self.missing.clear();
        }
        is_over
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.missing_until
    }

    /// Whether no member is missing.
    pub(super) fn are_all_back(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether all were heard, but for those that need not be.
    pub(super) fn are_none(&self, need_not: impl Fn(&MemberName) -> bool) -> bool {
        self.missing.is_empty() && self.members.iter().all(need_not)
    }
}
