//! The definitions of a daemon, compiled: looked up by name for new instances, by hash for those that arrive.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::RwLock;
use statemesh_engine::Machine;
use statemesh_protocol::place::Tier;

/// Content hash of a definition.
pub type Hash = [u8; 32];

/// One version of one machine.
#[derive(Debug)]
pub struct Version {
    /// The machine's name, which is the definition's id.
    pub name: Arc<str>,
    /// Content hash of the definition.
    pub hash: Hash,
    /// Counts the versions of this name that the mesh has seen.
    pub number: u64,
    /// The compiled tables.
    pub machine: Arc<Machine>,
    /// Where instances of this name are kept.
    pub tier: Tier,
    /// Instances of all versions of this name on this daemon.
    instances: Arc<AtomicU64>,
}

impl Version {
    /// A version of a machine. Which number it has, the mesh decides.
    #[must_use]
    pub fn new(name: Arc<str>, hash: Hash, number: u64, machine: Arc<Machine>) -> Self {
        Self { name, hash, number, machine, tier: Tier::Memory, instances: Arc::default() }
    }

    /// Instances of all versions of this name on this daemon.
    #[must_use]
    pub fn instances(&self) -> u64 {
        self.instances.load(Relaxed)
    }

    /// An instance came.
    pub(crate) fn count_one(&self) {
        self.instances.fetch_add(1, Relaxed);
    }

    /// An instance went.
    pub(crate) fn count_one_less(&self) {
        self.instances.fetch_sub(1, Relaxed);
    }

    /// The hash as text.
    #[must_use]
    pub fn hash_hex(&self) -> String {
        hex(&self.hash)
    }
}

/// A hash as text.
#[must_use]
pub fn hex(hash: &Hash) -> String {
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// All versions that this daemon knows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    current: Buckets<Arc<str>>,
    by_hash: Buckets<Hash>,
    versions: u32,
    /// The names whose tier is another one than memory.
    tiers: Arc<BTreeMap<Arc<str>, Tier>>,
}

impl Table {
    /// Where instances of this name are kept.
    #[must_use]
    pub fn tier(&self, name: &str) -> Tier {
        self.tiers.get(name).copied().unwrap_or_default()
    }

    /// The version that new instances of this machine take.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<Version>> {
        self.current.of(name.as_bytes())?.get(name)
    }

    /// The version with this content.
    #[must_use]
    pub fn by_hash(&self, hash: &Hash) -> Option<&Arc<Version>> {
        self.by_hash.of(hash)?.get(hash)
    }

    /// Every version of a name, in no order: all that there are of all names are looked at.
    pub(crate) fn versions_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<Version>> {
        self.by_hash.0.iter().flat_map(|bucket| bucket.values()).filter(move |version| *version.name == *name)
    }

    /// Number of versions, old ones included.
    #[must_use]
    pub fn versions(&self) -> u32 {
        self.versions
    }

    /// The current version of every machine, by name.
    #[must_use]
    pub fn current(&self) -> Vec<Arc<Version>> {
        let mut current: Vec<_> = self.current.0.iter().flat_map(|bucket| bucket.values()).cloned().collect();
        current.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        current
    }
}

/// Versions by something, in buckets that copies share: a change copies one of them, or adding many would be quadratic.
#[derive(Clone, Debug)]
struct Buckets<K>(Box<[Bucket<K>]>);

type Bucket<K> = Arc<BTreeMap<K, Arc<Version>>>;

/// Of the most versions that a mesh keeps a bucket has some hundreds.
const BUCKETS: usize = 128;

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| Arc::default()).collect())
    }
}

impl<K: Ord + Clone> Buckets<K> {
    fn of(&self, key: &[u8]) -> Option<&Bucket<K>> {
        self.0.get(bucket(key))
    }

    /// Adds a version. False if there is one already, whose place it takes.
    fn insert(&mut self, bytes: &[u8], key: K, version: Arc<Version>) -> bool {
        let Some(of) = self.0.get_mut(bucket(bytes)) else { return false };
        Arc::make_mut(of).insert(key, version).is_none()
    }
}

/// Names often differ in their last letters only.
fn bucket(key: &[u8]) -> usize {
    let last = key.iter().rev().take(4);
    last.fold(key.len(), |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(*byte))) % BUCKETS
}

/// The table that all threads read; a change replaces it whole.
#[derive(Debug, Default)]
pub struct Machines {
    table: RwLock<Arc<Table>>,
}

impl Machines {
    /// The table as it is now.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read())
    }

    /// Instances of this name are kept there. A name has one tier for good, which is said before its first version is added.
    pub fn set_tier(&self, name: &str, tier: Tier) {
        let mut slot = self.table.write();
        let mut table = Table::clone(&slot);
        Arc::make_mut(&mut table.tiers).insert(name.into(), tier);
        *slot = Arc::new(table);
    }

    /// Adds a version, which new instances take from now on if it is the newest of its name: whether it is. Of those with the
    /// same number the hash decides, as everywhere in the mesh.
    pub fn add(&self, version: Version) -> bool {
        let mut slot = self.table.write();
        let mut table = Table::clone(&slot);
        // Whatever version of this name came first was current then.
        let instances = table.by_name(&version.name).map_or_else(Arc::default, |known| Arc::clone(&known.instances));
        let tier = table.tier(&version.name);
        let version = Arc::new(Version { instances, tier, ..version });
        let is_new = table.by_hash.insert(&version.hash, version.hash, Arc::clone(&version));
        table.versions = table.versions.saturating_add(u32::from(is_new));
        let age = |version: &Version| (version.number, version.hash);
        let is_newest = table.by_name(&version.name).is_none_or(|current| age(current) <= age(&version));
        if is_newest {
            let name = Arc::clone(&version.name);
            table.current.insert(version.name.as_bytes(), name, Arc::clone(&version));
        }
        *slot = Arc::new(table);
        is_newest
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Version {}

#[cfg(test)]
mod tests {
    use super::*;
    use statemesh_engine::{Limits, Machine};

    fn version(name: &str, n: u64) -> Version {
        let source = br#"{"id":"m","initial":"on","states":{"on":{}}}"#;
        let compiled = Machine::compile(source, &Limits::default(), &|_| None).unwrap();
        let mut hash = [0; 32];
        hash[24..].copy_from_slice(&(n ^ name.len() as u64).to_be_bytes());
        Version::new(name.into(), hash, n, compiled.machine)
    }

    #[test]
    fn the_newest_of_a_name_is_current_and_all_are_found_by_their_hash() {
        let machines = Machines::default();
        assert!(machines.add(version("b", 2)) && !machines.add(version("b", 1)) && machines.add(version("a", 1_000)));
        let table = machines.table();
        table.by_name("b").unwrap().count_one();
        assert_eq!(table.current().iter().map(|v| (&*v.name, v.number)).collect::<Vec<_>>(), [("a", 1_000), ("b", 2)]);
        assert!(machines.add(version("b", 3)), "a newer one");
        assert_eq!((table.versions(), machines.table().versions()), (3, 4));
        let older = version("b", 1).hash;
        // All versions of a name count their instances together.
        assert_eq!((machines.table().by_hash(&older).unwrap().instances(), table.by_name("b").unwrap().number), (1, 2));
        assert!(machines.add(version("b", 3)), "again");
        assert_eq!(machines.table().versions(), 4);
    }

    #[test]
    fn adding_one_copies_a_part_of_the_others() {
        let machines = Machines::default();
        for n in 0..1_000u64 {
            machines.add(version(&format!("machine-{n}"), n));
        }
        let before = machines.table();
        machines.add(version("one-more", 5_000));
        let after = machines.table();
        let copied = |a: &Table, b: &Table| {
            let of = a.by_hash.0.iter().zip(&b.by_hash.0).filter(|(a, b)| !Arc::ptr_eq(a, b));
            of.map(|(_, copied)| copied.len()).sum::<usize>()
        };
        assert!((1..50).contains(&copied(&before, &after)), "{} of 1,001 versions", copied(&before, &after));
        let most = after.current.0.iter().map(|bucket| bucket.len()).max().unwrap();
        assert!(most < 50, "{most} of 1,001 names in one bucket");
    }
}
