//! States and tags that a request names: whether a machine has them, and what was probably meant by one that it does not have.

use crate::machines::{Table, Version};

/// Characters of a name that are said again.
const SHOWN_CHARS: usize = 64;

/// Something that states of a machine are known by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Named<'a> {
    /// A path from below the root.
    State(&'a str),
    /// A tag.
    Tag(&'a str),
}

/// What is named is nothing that the machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// What is unknown.
    pub message: String,
    /// What was probably meant.
    pub hint: String,
}

impl Named<'_> {
    /// Whether a version has it.
    pub(crate) fn is_of(self, version: &Version) -> bool {
        match self {
            Self::State(path) => version.machine.has_state(path),
            Self::Tag(tag) => version.machine.knows_tag(tag),
        }
    }

    /// Whether a machine has it in some version: old instances keep theirs. All versions are looked at only if the newest does not have it.
    pub(crate) fn is_of_some(self, newest: &Version, table: &Table) -> bool {
        self.is_of(newest) || table.versions_of(&newest.name).any(|version| self.is_of(version))
    }

    /// That a version does not have it; `ending` says for what it was wanted.
    pub(crate) fn unknown_to(self, version: &Version, ending: &str) -> Unknown {
        let machine = &version.machine;
        let (what, given, near, usual) = match self {
            Self::State(path) => (
                "state",
                path,
                machine.state_like(path),
                "a state is its path from below the root, such as refunding.stuck",
            ),
            Self::Tag(tag) => (
                "state with the tag",
                tag,
                machine.tag_like(tag).map(str::to_owned),
                "`tags` of a state in its definition has those that there are",
            ),
        };
        let given: String = given.chars().take(SHOWN_CHARS).collect();
        let message = format!("{} has no {what} \"{given}\" {ending}", version.name);
        let hint = near.map_or_else(|| usual.to_owned(), |near| format!("did you mean {near}?"));
        Unknown { message, hint }
    }
}
