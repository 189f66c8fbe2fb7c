//! A virtual disk with a seed. What is written stays in a cache until it is synced; when the power goes, any of the sectors in the cache
//! may have reached the device, and of the names that no folder's sync has covered the first few. Beside that it can lie and fail as
//! disks do: each way has a frequency, and is counted when it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::chance::Chance;
use super::faults::{Counts, Faults};
use super::node::{Node, SECTOR};
use crate::storage::Storage;

/// Bytes of a file's length beyond which something is wrong with who writes.
const FILE_MAX: u64 = 1 << 30;

/// A handle of an open file. It is of no use after the power went.
#[derive(Debug)]
pub struct SimFile {
    node: usize,
    life: u64,
}

/// A lock that was taken.
#[derive(Debug)]
pub struct SimLock {
    world: Arc<Mutex<World>>,
    path: String,
    life: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = locked(&self.world);
        if world.life == self.life {
            world.locks.remove(&self.path);
        }
    }
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(String, usize),
    Remove(String),
    /// Both at once: one name becomes another.
    Move(String, String, usize),
}

impl NameChange {
    fn folder(&self) -> &str {
        let (Self::Add(name, _) | Self::Remove(name) | Self::Move(name, ..)) = self;
        name.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

#[derive(Debug)]
struct World {
    chance: Chance,
    faults: Faults,
    counts: Counts,
    nodes: Vec<Node>,
    names: BTreeMap<String, usize>,
    kept_names: BTreeMap<String, usize>,
    unsynced_names: Vec<NameChange>,
    folders: BTreeSet<String>,
    locks: BTreeSet<String>,
    /// Operations until the power goes.
    fuse: Option<u64>,
    is_off: bool,
    life: u64,
    /// Bytes of all files at most.
    capacity: u64,
    stalled_ms: u64,
}

/// The disk. Clones are the same one.
#[derive(Clone, Debug)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
}

fn locked(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let world = World {
            chance: Chance::new(seed),
            faults: Faults::default(),
            counts: Counts::default(),
            nodes: Vec::new(),
            names: BTreeMap::new(),
            kept_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            folders: BTreeSet::new(),
            locks: BTreeSet::new(),
            fuse: None,
            is_off: false,
            life: 0,
            capacity: u64::MAX,
            stalled_ms: 0,
        };
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// From now on it fails this often.
    pub fn set_faults(&self, faults: Faults) {
        locked(&self.world).faults = faults;
    }

    /// Bytes that all files may have.
    pub fn set_capacity(&self, bytes: u64) {
        locked(&self.world).capacity = bytes;
    }

    /// The power goes within the operation after so many, or the process ends: it and all that follow fail, until [`SimDisk::power_on`] or
    /// [`SimDisk::kill`].
    pub fn cut_after(&self, operations: u64) {
        locked(&self.world).fuse = Some(operations);
    }

    /// Whether the power has gone.
    #[must_use]
    pub fn is_off(&self) -> bool {
        locked(&self.world).is_off
    }

    /// The power is there again, and what the device has is all that there is.
    pub fn power_on(&self) {
        locked(&self.world).crash();
    }

    /// The process has ended, and nothing else: who comes next reads what was written, synced or not.
    pub fn kill(&self) {
        let mut world = locked(&self.world);
        world.counts.kills += 1;
        world.life += 1;
        world.is_off = false;
        world.fuse = None;
        world.locks.clear();
    }

    /// Flips a bit of this file on the device. Gives whether there is such a file with any byte in it.
    pub fn flip(&self, path: &str, bit: u64) -> bool {
        let mut world = locked(&self.world);
        let Some(node) = world.names.get(path).copied() else { return false };
        let Some(node) = world.nodes.get_mut(node) else { return false };
        let bits = node.seen.len() as u64 * 8;
        if bits == 0 {
            return false;
        }
        let (at, mask) = (((bit % bits) / 8) as usize, 1 << (bit % 8));
        [&mut node.seen, &mut node.kept]
            .into_iter()
            .filter_map(|bytes| bytes.get_mut(at))
            .for_each(|byte| *byte ^= mask);
        world.counts.flips_at_rest += 1;
        true
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        locked(&self.world).counts
    }

    /// Milliseconds that operations took since this was asked last: the driver lets them pass before it tells of them.
    #[must_use]
    pub fn take_stall_ms(&self) -> u64 {
        std::mem::take(&mut locked(&self.world).stalled_ms)
    }

    fn operate<T>(&self, file: Option<&SimFile>, run: impl FnOnce(&mut World, bool) -> io::Result<T>) -> io::Result<T> {
        let mut world = locked(&self.world);
        if world.is_off || file.is_some_and(|file| file.life != world.life) {
            return Err(io::Error::other("there is no power"));
        }
        let is_last = world.fuse == Some(0);
        world.fuse = world.fuse.map(|left| left.saturating_sub(1));
        let done = run(&mut world, is_last);
        world.is_off |= is_last;
        // A lock that was taken in vain is given back, for which it asks for the world.
        drop(world);
        if is_last {
            return Err(io::Error::other("the power went"));
        }
        done
    }
}

impl World {
    fn crash(&mut self) {
        self.counts.crashes += 1;
        self.life += 1;
        self.is_off = false;
        self.fuse = None;
        self.locks.clear();
        // Everything, nothing, or anything between.
        let kept_of_a_thousand = [0, 1_000, 500, 900, 100][self.chance.below(5) as usize];
        for node in &mut self.nodes {
            node.settle(&mut self.chance, kept_of_a_thousand);
            self.counts.lost_sectors += std::mem::take(&mut node.dirty).len() as u64;
            node.seen = node.kept.clone();
        }
        let covered = self.chance.below(self.unsynced_names.len() as u64 + 1) as usize;
        self.counts.lost_names += (self.unsynced_names.len() - covered) as u64;
        self.keep_names(None, covered);
        self.unsynced_names.clear();
        self.names = self.kept_names.clone();
        let named: BTreeSet<usize> = self.names.values().copied().collect();
        let lost = self.nodes.iter_mut().enumerate().filter(|(number, _)| !named.contains(number));
        lost.for_each(|(_, node)| *node = Node::default());
    }

    /// The first so many changes of names, of a folder or of all, reach the device.
    fn keep_names(&mut self, folder: Option<&str>, count: usize) {
        let all = std::mem::take(&mut self.unsynced_names);
        let mut left = count;
        for change in all {
            if left == 0 || folder.is_some_and(|folder| change.folder() != folder) {
                self.unsynced_names.push(change);
                continue;
            }
            left -= 1;
            match change {
                NameChange::Add(name, node) => self.kept_names.insert(name, node),
                NameChange::Remove(name) => self.kept_names.remove(&name),
                NameChange::Move(from, to, node) => {
                    self.kept_names.remove(&from);
                    self.kept_names.insert(to, node)
                }
            };
        }
    }

    fn change_name(&mut self, change: NameChange) {
        match &change {
            NameChange::Add(name, node) => self.names.insert(name.clone(), *node),
            NameChange::Remove(name) => self.names.remove(name),
            NameChange::Move(from, to, node) => {
                self.names.remove(from);
                self.names.insert(to.clone(), *node)
            }
        };
        self.unsynced_names.push(change);
    }

    fn stall(&mut self) {
        if self.chance.per_mille(self.faults.stall) {
            self.counts.stalls += 1;
            self.stalled_ms += 1_000 + self.chance.below(14_000);
        }
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|node| self.nodes.get(*node)).map(|node| node.seen.len() as u64).sum()
    }

    fn write(&mut self, node: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let len = self.nodes.get(node).map_or(0, |node| node.seen.len() as u64);
        let grows = (offset + bytes.len() as u64).saturating_sub(len);
        if grows > 0 && (self.chance.per_mille(self.faults.no_room) || self.used() + grows > self.capacity) {
            self.counts.no_room += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut offset = offset;
        if grows == 0 && self.chance.per_mille(self.faults.misdirected) {
            self.counts.misdirected += 1;
            let blocks = len.saturating_sub(bytes.len() as u64) / SECTOR as u64;
            offset = self.chance.below(blocks) * SECTOR as u64;
        }
        if offset + bytes.len() as u64 > FILE_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if let Some(node) = self.nodes.get_mut(node) {
            node.write(offset as usize, bytes);
        }
        Ok(())
    }

    fn sync(&mut self, node: usize, is_last: bool) -> io::Result<()> {
        let lies = self.chance.per_mille(self.faults.lost_sync);
        let fails = self.chance.per_mille(self.faults.failed_sync);
        let Some(node) = self.nodes.get_mut(node) else { return Ok(()) };
        if is_last {
            node.settle(&mut self.chance, 500);
            self.counts.torn_syncs += 1;
        } else if lies || fails {
            self.counts.lost_syncs += u64::from(lies && !node.dirty.is_empty());
            self.counts.failed_syncs += u64::from(fails && !lies);
            node.dirty.clear();
            return if lies { Ok(()) } else { Err(io::Error::other("the device failed")) };
        } else {
            node.settle(&mut self.chance, 1_000);
            node.kept.resize(node.seen.len(), 0);
        }
        Ok(())
    }
}

fn not_found(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.to_owned())
}

impl Storage for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.operate(None, |world, _| {
            let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            let names = world.names.keys().chain(&world.folders).filter_map(|name| name.strip_prefix(&prefix));
            let mut names: Vec<String> = names.filter(|name| !name.contains('/')).map(str::to_owned).collect();
            names.sort();
            Ok(names)
        })
    }

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.operate(None, |world, _| {
            world.folders.insert(folder.to_owned());
            Ok(())
        })
    }

    fn open(&self, path: &str) -> io::Result<SimFile> {
        self.operate(None, |world, _| {
            let node = *world.names.get(path).ok_or_else(|| not_found(path))?;
            Ok(SimFile { node, life: world.life })
        })
    }

    fn create(&self, path: &str) -> io::Result<SimFile> {
        self.operate(None, |world, _| {
            let node = world.nodes.len();
            world.nodes.push(Node::default());
            world.change_name(NameChange::Add(path.to_owned(), node));
            Ok(SimFile { node, life: world.life })
        })
    }

    fn len(&self, file: &SimFile) -> io::Result<u64> {
        self.operate(Some(file), |world, _| Ok(world.nodes.get(file.node).map_or(0, |node| node.seen.len() as u64)))
    }

    fn read_at(&self, file: &SimFile, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.operate(Some(file), |world, _| {
            let seen = world.nodes.get(file.node).map_or(&[][..], |node| &node.seen);
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(seen.len());
            let bytes = seen.get(from..).unwrap_or_default();
            let len = bytes.len().min(into.len());
            into.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            if len > 0 && world.chance.per_mille(world.faults.flip_on_read) {
                world.counts.flips_on_read += 1;
                let bit = world.chance.below(len as u64 * 8);
                into.iter_mut().skip((bit / 8) as usize).take(1).for_each(|byte| *byte ^= 1 << (bit % 8));
            }
            Ok(len)
        })
    }

    fn write_all_at(&self, file: &SimFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.operate(Some(file), |world, is_last| {
            world.stall();
            world.counts.torn_writes += u64::from(is_last);
            world.write(file.node, offset, bytes)
        })
    }

    fn sync(&self, file: &SimFile) -> io::Result<()> {
        self.operate(Some(file), |world, is_last| {
            world.stall();
            world.sync(file.node, is_last)
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operate(None, |world, _| {
            let node = *world.names.get(from).ok_or_else(|| not_found(from))?;
            world.change_name(NameChange::Move(from.to_owned(), to.to_owned(), node));
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.operate(None, |world, _| {
            world.names.get(path).ok_or_else(|| not_found(path))?;
            world.change_name(NameChange::Remove(path.to_owned()));
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.operate(None, |world, is_last| {
            let count = world.unsynced_names.iter().filter(|change| change.folder() == folder).count();
            let covered = if is_last { world.chance.below(count as u64 + 1) as usize } else { count };
            world.keep_names(Some(folder), covered);
            Ok(())
        })
    }

    fn lock(&self, path: &str) -> io::Result<Option<SimLock>> {
        let world = self.world.clone();
        self.operate(None, |known, _| {
            if !known.locks.insert(path.to_owned()) {
                return Ok(None);
            }
            if !known.names.contains_key(path) {
                let node = known.nodes.len();
                known.nodes.push(Node::default());
                known.change_name(NameChange::Add(path.to_owned(), node));
            }
            Ok(Some(SimLock { world, path: path.to_owned(), life: known.life }))
        })
    }
}
