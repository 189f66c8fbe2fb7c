//! Parts of a request that belong together, the same for those who read one and those who write one.
//!
//! `Text` is [`std::borrow::Cow`] where a request is read, as a text may have escapes, and `&str` where it is written.

use super::run::RunId;

/// What keeps a request from being applied a second time, or to another state than the one that its sender knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions<Text> {
    /// The token that makes a retry harmless.
    pub dedup: Option<Text>,
    /// Only if the instance is in this life.
    pub if_run: Option<RunId>,
    /// Only if the instance stands at this transition.
    pub if_seq: Option<u64>,
}

impl<Text> Conditions<Text> {
    /// Whether it is to be applied to a certain state only.
    #[must_use]
    pub fn are_of_state(&self) -> bool {
        self.if_run.is_some() || self.if_seq.is_some()
    }

    /// Whether an instance in this life and at this transition is as it must be.
    #[must_use]
    pub fn allow(&self, run: RunId, seq: u64) -> bool {
        self.if_run.is_none_or(|wanted| wanted == run) && self.if_seq.is_none_or(|wanted| wanted == seq)
    }
}

/// What a client wants of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answering<'a> {
    /// What it waits for: a whole map in the request's encoding.
    pub until: Option<&'a [u8]>,
    /// For how long, in milliseconds.
    pub within_ms: Option<u64>,
    /// Whether it says where the time went.
    pub timing: bool,
}

/// Which entries a list has, and how many of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listing<'a, Text> {
    /// At most this many entries.
    pub limit: Option<u64>,
    /// Entries after this place.
    pub after: Option<Text>,
    /// Which instances: a whole map in the request's encoding.
    pub filter: Option<&'a [u8]>,
    /// Whether they are counted and not listed.
    pub counts: bool,
}
