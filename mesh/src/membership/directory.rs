//! All members by name, with what they are now and since when; and the events that tell of changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::Output;
use statemesh_protocol::identity::{Identity, MemberName};

/// What a member is, as far as this one knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It answers.
    Alive,
    /// A member could not reach it; it still counts as a member.
    Suspect,
    /// It said goodbye.
    Left,
    /// It did not answer, and no member heard of it since.
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
    /// When it came back, by itself and not as another process, after it was held for dead here.
    pub(super) returned: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Directory {
    members: BTreeMap<MemberName, MemberInfo>,
    /// Those that are suspect, as few are: so that looking for changes costs little in a large mesh.
    suspects: BTreeSet<MemberName>,
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
        let returned =
            known.is_some_and(|known| known.status == Status::Dead && known.identity.same_process(&identity));
        out.push_back(Output::Up(identity.clone()));
        self.set(identity, Status::Alive, now, returned.then_some(now));
    }

    pub(super) fn down(&mut self, identity: &Identity, now: Instant, out: &mut Out) {
        let known = self.members.get(&identity.name);
        if known.is_none_or(|known| !known.status.is_live()) {
            return;
        }
        let left = identity.leaving;
        out.push_back(Output::Down { identity: identity.clone(), left });
        let status = if left { Status::Left } else { Status::Dead };
        self.set(identity.clone(), status, now, None);
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
        self.set(identity, Status::Alive, now, None);
    }

    /// These are all suspects now.
    pub(super) fn set_suspects(&mut self, suspects: BTreeSet<MemberName>, now: Instant, out: &mut Out) {
        let before = std::mem::take(&mut self.suspects);
        for name in suspects.difference(&before) {
            if self.change(name, Status::Alive, Status::Suspect, now) {
                out.push_back(Output::Suspected(name.clone()));
            }
        }
        for name in before.difference(&suspects) {
            if self.change(name, Status::Suspect, Status::Alive, now) {
                out.push_back(Output::Refuted(name.clone()));
            }
        }
        self.suspects = suspects;
    }

    fn change(&mut self, name: &MemberName, from: Status, to: Status, now: Instant) -> bool {
        let known = self.members.get_mut(name).filter(|known| known.status == from);
        let Some(known) = known else { return false };
        known.status = to;
        known.since = now;
        true
    }

    /// Forgets who is gone for longer than `after`.
    pub(super) fn forget(&mut self, after: Duration, now: Instant) {
        self.members.retain(|_, known| known.status.is_live() || now < known.since + after);
    }

    fn set(&mut self, identity: Identity, status: Status, since: Instant, returned: Option<Instant>) {
        let name = identity.name.clone();
        let info = MemberInfo { identity, status, since, returned };
        self.suspects.remove(&name);
        self.members.insert(name, info);
    }
}
