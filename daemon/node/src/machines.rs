//! The definitions of a daemon, compiled: looked up by name for new instances, by hash for those that arrive.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use parking_lot::RwLock;
use statemesh_engine::Machine;

/// Content hash of a definition.
pub(crate) type Hash = [u8; 32];

/// One version of one machine.
#[derive(Debug)]
pub(crate) struct Version {
    /// The machine's name, which is the definition's id.
    pub name: Arc<str>,
    /// Content hash of the definition.
    pub hash: Hash,
    /// Counts the versions of this name that the mesh has seen.
    pub number: u64,
    /// The compiled tables.
    pub machine: Arc<Machine>,
}

impl Version {
    /// The hash as text.
    #[must_use]
    pub(crate) fn hash_hex(&self) -> String {
        hex(&self.hash)
    }
}

/// A hash as text.
#[must_use]
pub(crate) fn hex(hash: &Hash) -> String {
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// All versions that this daemon knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    current: HashMap<Arc<str>, Arc<Version>>,
    by_hash: HashMap<Hash, Arc<Version>>,
}

impl Table {
    /// The version that new instances of this machine take.
    #[must_use]
    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Version>> {
        self.current.get(name)
    }

    /// The version with this content.
    #[must_use]
    pub(crate) fn by_hash(&self, hash: &Hash) -> Option<&Arc<Version>> {
        self.by_hash.get(hash)
    }

    /// Number of versions, old ones included.
    #[must_use]
    pub(crate) fn versions(&self) -> u32 {
        u32::try_from(self.by_hash.len()).unwrap_or(u32::MAX)
    }

    /// The current version of every machine, by name.
    #[must_use]
    pub(crate) fn current(&self) -> Vec<Arc<Version>> {
        let mut all: Vec<_> = self.current.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// The table that all threads read; a change replaces it whole.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    table: RwLock<Arc<Table>>,
}

impl Machines {
    /// The table as it is now.
    #[must_use]
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read())
    }

    /// Adds a version, which new instances take from now on if it is the newest of its name: whether it is. Of those with the
    /// same number the hash decides, as everywhere in the mesh.
    pub(crate) fn add(&self, version: Version) -> bool {
        let mut slot = self.table.write();
        let mut table = Table::clone(&slot);
        let version = Arc::new(version);
        table.by_hash.insert(version.hash, Arc::clone(&version));
        let age = |version: &Version| (version.number, version.hash);
        let is_newest = table.by_name(&version.name).is_none_or(|current| age(current) <= age(&version));
        if is_newest {
            table.current.insert(Arc::clone(&version.name), version);
        }
        *slot = Arc::new(table);
        is_newest
    }
}
