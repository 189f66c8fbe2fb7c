//! All members by name, with what they are now and since when; and the events that tell of changes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::Output;
use crate::identity::{Identity, MemberName};

/// What a member is, as far as this one knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It answers.
    Alive,
    /// Somebody could not reach it; it still counts as a member.
    Suspect,
    /// It said goodbye.
    Left,
    /// It did not answer, and nobody heard of it since.
    Dead,
}

impl Status {
    /// A member of the mesh: alive or suspect.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }

    /// As `members -o json` prints it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Left => "left",
            Self::Dead => "dead",
        }
    }
}

/// A member other than this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberInfo {
    /// As it was last known.
    pub identity: Identity,
    /// What it is.
    pub status: Status,
    /// Since when.
    pub since: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Directory {
    members: BTreeMap<MemberName, MemberInfo>,
}

type Out = VecDeque<Output>;

impl Directory {
    pub(super) fn iter(&self) -> impl Iterator<Item = &MemberInfo> {
        self.members.values()
    }

    pub(super) fn get(&self, name: &MemberName) -> Option<&MemberInfo> {
        self.members.get(name)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn up(&mut self, identity: Identity, now: Instant, out: &mut Out) {
        let known = self.members.get(&identity.name);
        if known.is_some_and(|known| known.status.is_live()) {
            return self.renamed(identity, now, out);
        }
        out.push_back(Output::Up(identity.clone()));
        self.set(identity, Status::Alive, now);
    }

    pub(super) fn down(&mut self, identity: &Identity, now: Instant, out: &mut Out) {
        let known = self.members.get(&identity.name);
        if known.is_none_or(|known| !known.status.is_live()) {
            return;
        }
        let left = identity.leaving;
        out.push_back(Output::Down { identity: identity.clone(), left });
        let status = if left { Status::Left } else { Status::Dead };
        self.set(identity.clone(), status, now);
    }

    /// The name is known under another identity now.
    pub(super) fn renamed(&mut self, identity: Identity, now: Instant, out: &mut Out) {
        let Some(known) = self.members.get_mut(&identity.name) else {
            return;
        };
        if !known.status.is_live() || known.identity == identity {
            known.identity = identity;
            return;
        }
        if known.identity.same_process(&identity) {
            out.push_back(Output::Updated(identity.clone()));
            known.identity = identity;
            return;
        }
        out.push_back(Output::Down { left: known.identity.leaving, identity: known.identity.clone() });
        out.push_back(Output::Up(identity.clone()));
        self.set(identity, Status::Alive, now);
    }

    pub(super) fn suspicion(&mut self, name: &MemberName, suspect: bool, now: Instant, out: &mut Out) {
        let (before, after) = if suspect { (Status::Alive, Status::Suspect) } else { (Status::Suspect, Status::Alive) };
        if let Some(known) = self.members.get_mut(name)
            && known.status == before
        {
            known.status = after;
            known.since = now;
            out.push_back(if suspect { Output::Suspected(name.clone()) } else { Output::Refuted(name.clone()) });
        }
    }

    /// Forgets who is gone for longer than `after`.
    pub(super) fn forget(&mut self, after: Duration, now: Instant) {
        self.members.retain(|_, known| known.status.is_live() || now < known.since + after);
    }

    fn set(&mut self, identity: Identity, status: Status, since: Instant) {
        let name = identity.name.clone();
        let info = MemberInfo { identity, status, since };
        self.members.insert(name, info);
    }
}
