//! How far a daemon is with joining its mesh, and what it waits for.

use std::time::{Duration, Instant};

use statemesh_protocol::identity::MemberName;

use super::waiting::{Waiting, birth_of};
use crate::node::StartError;
use crate::options::Options;

/// What usually joins has joined by then.
const WARN_AFTER: Duration = Duration::from_secs(5);
/// How often the log says the same again.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// How far it is.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) started: Instant,
    pub(super) joined: bool,
    /// It adopts partitions: the mesh's machines are here.
    pub(super) adopts: bool,
    /// The members without which the mesh does not begin.
    pub(super) birth: Vec<MemberName>,
    /// Why it has not joined.
    waiting: Option<Waiting>,
    warned: Warned,
}

/// What the log has said of what it waits for.
#[derive(Debug, Default)]
struct Warned {
    at: Option<Instant>,
    reason: Option<Waiting>,
}

impl Joining {
    /// A daemon that starts now.
    ///
    /// # Errors
    /// A name without which the mesh does not begin is not one that a member can have.
    pub(super) fn new(options: &Options, now: Instant) -> Result<Self, StartError> {
        Ok(Self {
            started: now,
            joined: false,
            adopts: false,
            birth: birth_of(options)?,
            waiting: None,
            warned: Warned::default(),
        })
    }

    /// Why it has not joined.
    pub(super) fn waiting(&self) -> Option<&Waiting> {
        self.waiting.as_ref()
    }

    /// It has joined.
    pub(super) fn done(&mut self) {
        self.joined = true;
        self.waiting = None;
    }

    /// It waits for this. Says whether that is another reason than before.
    pub(super) fn waits(&mut self, waiting: Waiting, now: Instant) -> bool {
        self.warn_of(&waiting, now);
        let is_new = self.waiting.as_ref() != Some(&waiting);
        self.waiting = Some(waiting);
        is_new
    }

    /// When the log has to say that this daemon still waits.
    pub(super) fn warning_due(&self) -> Option<Instant> {
        let due = self.warned.at.map_or(self.started + WARN_AFTER, |at| at + WARN_AGAIN);
        (!self.joined).then_some(due)
    }

    fn warn_of(&mut self, waiting: &Waiting, now: Instant) {
        let is_new = self.warned.reason.as_ref() != Some(waiting);
        // It may end soon.
        let at_once = is_new && matches!(waiting, Waiting::NameTaken(_));
        let news = self.warned.at.is_some() && is_new;
        let soon = self.warned.at.is_none_or(|at| now >= at + WARN_AFTER);
        if self.warning_due().is_some_and(|due| due <= now) || (news && soon) || at_once {
            tracing::warn!("not ready: {waiting}");
            self.warned = Warned { at: Some(now), reason: Some(waiting.clone()) };
        }
    }
}
