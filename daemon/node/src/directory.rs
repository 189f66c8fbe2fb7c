//! The mesh as the control plane sees it, published whole whenever it changes: what `members` and `placement` answer.

use std::sync::Arc;

use statemesh_mesh::membership::Status;

use crate::options::Listen;

/// One member.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryEntry {
    /// Its name.
    pub name: Arc<str>,
    /// What reactors call it.
    pub number: u32,
    /// How it is.
    pub status: Status,
    /// Which life of this name.
    pub incarnation: u64,
    /// Where it listens.
    pub listen: Listen,
    /// Partitions that it owns by the current view.
    pub partitions: usize,
    /// It is this daemon.
    pub is_self: bool,
    /// It hands off what it has and will go.
    pub leaving: bool,
}

/// The whole mesh.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    /// Members by name.
    pub members: Vec<DirectoryEntry>,
    /// Hash of the members that own partitions.
    pub hash: u64,
    /// For each partition the index of its owner in `members`, who serves it or will. Before it has joined, a daemon knows no
    /// owner but itself, and cannot tell whether it will be.
    pub owners: Vec<u16>,
    /// For each partition the index of who serves it now, as far as this daemon knows.
    pub serving: Vec<Option<u16>>,
    /// Joined, or alone on purpose, with the mesh's machines, and what became of those given as files is known.
    pub joined: bool,
    /// The daemon is leaving.
    pub leaving: bool,
    /// Why it is not ready, or how it became so.
    pub reason: String,
    /// Machines of this daemon's files that the mesh runs another version of.
    pub files_differing: Vec<String>,
}

impl Directory {
    /// The member that serves a partition now; none that this daemon knows of while it moves.
    #[must_use]
    pub(crate) fn server(&self, partition: u16) -> Option<&DirectoryEntry> {
        let index = *self.serving.get(usize::from(partition))?;
        self.members.get(usize::from(index?))
    }

    /// The member that will serve a partition once it has moved; none before the daemon has joined.
    #[must_use]
    pub(crate) fn next(&self, partition: u16) -> Option<&DirectoryEntry> {
        let index = *self.owners.get(usize::from(partition)).filter(|_| self.joined)?;
        self.members.get(usize::from(index))
    }

    /// For each partition the index of the member that serves it, or, while none does, of the one that will.
    pub(crate) fn map(&self) -> impl ExactSizeIterator<Item = u16> + Clone + '_ {
        self.owners
            .iter()
            .enumerate()
            .map(|(partition, owner)| self.serving.get(partition).copied().flatten().unwrap_or(*owner))
    }

    /// The partitions that no member serves now, as far as this daemon knows.
    #[must_use]
    pub(crate) fn moving(&self) -> Vec<usize> {
        let nobody = |(partition, server): (usize, &Option<u16>)| server.is_none().then_some(partition);
        self.serving.iter().enumerate().filter_map(nobody).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_names_who_serves_and_who_will_where_nobody_does() {
        let view = Directory { owners: vec![0, 0, 1], serving: vec![Some(1), None, Some(1)], ..Directory::default() };
        assert_eq!(view.map().collect::<Vec<_>>(), [1, 0, 1]);
        assert!(view.server(1).is_none() && view.server(9).is_none());
        assert_eq!(view.moving(), [1]);
    }
}
