//! The mesh as the control plane sees it, published whole whenever it changes: what `members` and `placement` answer.

use std::sync::Arc;

use statemesh_mesh::membership::Status;

use crate::options::Listen;

/// One member.
#[derive(Clone, Debug)]
pub(crate) struct MemberView {
    /// Its name.
    pub name: Arc<str>,
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
    /// It hands over what it has and will go.
    pub leaving: bool,
}

/// The whole mesh.
#[derive(Clone, Debug, Default)]
pub(crate) struct MeshView {
    /// Members by name.
    pub members: Vec<MemberView>,
    /// Hash of the members that own partitions.
    pub hash: u64,
    /// For each partition the index of its owner in `members`; empty before the daemon has joined.
    pub owners: Vec<u16>,
    /// Joined, or alone on purpose.
    pub joined: bool,
    /// The daemon is leaving.
    pub leaving: bool,
    /// Why it is not ready, or how it became so.
    pub reason: String,
}

impl MeshView {
    /// The owner of a partition.
    #[must_use]
    pub(crate) fn owner(&self, partition: u16) -> Option<&MemberView> {
        self.members.get(usize::from(*self.owners.get(usize::from(partition))?))
    }
}
