//! The definitions of durable machines: which tier a machine has, what of it is kept on the volume, and what is made of that at a start.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use statemesh_engine::{Diagnostic, Durability, Machine};
use statemesh_journal::definitions::{self, StoredDefinition};
use statemesh_journal::storage::Storage;
use statemesh_protocol::image::Malformed;
use statemesh_protocol::peer::body::Body;
use statemesh_protocol::place::{StoredTier, Tier};

use super::VolumeRefused;
use crate::limits::Limits;

type Hash = [u8; 32];

/// The body of a compiled machine.
pub(crate) fn body_of(machine: &Machine) -> Vec<u8> {
    let children = machine.children().map(|(name, child)| (name, *child.hash())).collect();
    Body::new(children, machine.source()).encode()
}

/// The first of what is wrong with a definition, for a person.
pub(crate) fn first_error(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().find(|diagnostic| diagnostic.is_error()).map(ToString::to_string).unwrap_or_default()
}

/// Why a definition of the volume is not used.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// Its body is none.
    #[error(transparent)]
    Body(#[from] Malformed),
    /// It does not compile any more.
    #[error("{}", first_error(.0))]
    Compile(Vec<Diagnostic>),
    /// Its name is the hash of another machine.
    #[error("it compiles to another machine: does another release read this volume?")]
    Other,
}

/// A definition of the volume, compiled.
#[derive(Debug)]
pub struct Stored {
    pub(crate) machine: Arc<Machine>,
}

impl Stored {
    /// A durable machine of a file, which is on the volume by now.
    pub(crate) fn of_file(machine: &Arc<Machine>) -> Self {
        Self { machine: Arc::clone(machine) }
    }

    /// Compiles the definitions of a volume, and gives those of durable machines, the oldest first.
    ///
    /// # Errors
    /// One does not compile, or is not what its name says.
    pub(crate) fn compile(all: &[StoredDefinition], limits: &Limits) -> Result<Vec<Self>, VolumeRefused> {
        let mut compiled: BTreeMap<Hash, Arc<Machine>> = BTreeMap::new();
        let mut left: Vec<&StoredDefinition> = all.iter().collect();
        // One may name another that comes later: go round as long as that brings something.
        while !left.is_empty() {
            let before = left.len();
            let mut refused = None;
            left.retain(|definition| match compile(definition, &compiled, limits) {
                Ok(machine) => compiled.insert(definition.hash, machine).is_some(),
                Err(source) => {
                    refused = Some(VolumeRefused::Definition { machine: definition.machine.clone(), source });
                    true
                }
            });
            if let Some(refused) = refused.filter(|_| left.len() == before) {
                return Err(refused);
            }
        }
        let durable = all.iter().filter(|definition| definition.tier == StoredTier::Disk as u8);
        let machines = durable.filter_map(|definition| compiled.get(&definition.hash));
        Ok(machines.map(|machine| Self { machine: Arc::clone(machine) }).collect())
    }
}

fn compile(
    definition: &StoredDefinition,
    compiled: &BTreeMap<Hash, Arc<Machine>>,
    limits: &Limits,
) -> Result<Arc<Machine>, StoredError> {
    let body = Body::decode(&definition.body)?;
    let resolve = |name: &str| compiled.get(body.child(name)?).cloned();
    let compiled = Machine::compile(body.source, &limits.of_engine(), &resolve);
    let machine = compiled.map_err(StoredError::Compile)?;
    if *machine.machine.hash() == definition.hash { Ok(machine.machine) } else { Err(StoredError::Other) }
}

/// Which definitions are on the volume.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The number of the last one.
    last: u64,
    /// The tier of each.
    tiers: BTreeMap<Hash, u8>,
    /// The newest of each id.
    newest: BTreeMap<String, Hash>,
}

impl Kept {
    /// Those that were found.
    pub(crate) fn new(all: &[StoredDefinition]) -> Self {
        let mut known = Known::default();
        all.iter().for_each(|definition| known.add(definition));
        Self(Mutex::new(known))
    }

    /// Keeps the definition of a durable machine, behind those that it names.
    pub(super) fn keep<S: Storage>(&self, storage: &S, machine: &Machine) -> io::Result<()> {
        let mut known = self.0.lock();
        if known.newest.get(machine.id()) == Some(machine.hash()) {
            return Ok(());
        }
        known.keep_children(storage, machine)?;
        known.keep(storage, machine, StoredTier::Disk as u8)
    }
}

impl Known {
    fn add(&mut self, definition: &StoredDefinition) {
        self.last = self.last.max(definition.number);
        self.tiers.insert(definition.hash, definition.tier);
        if definition.tier != 0 {
            self.newest.insert(definition.machine.clone(), definition.hash);
        }
    }

    fn keep_children<S: Storage>(&mut self, storage: &S, machine: &Machine) -> io::Result<()> {
        for (_, child) in machine.children() {
            if !self.tiers.contains_key(child.hash()) {
                self.keep_children(storage, child)?;
                self.keep(storage, child, 0)?;
            }
        }
        Ok(())
    }

    fn keep<S: Storage>(&mut self, storage: &S, machine: &Machine, tier: u8) -> io::Result<()> {
        let (hash, number) = (*machine.hash(), self.last.saturating_add(1));
        let machine_id = machine.id().to_owned();
        let definition = StoredDefinition { hash, machine: machine_id, tier, number, body: body_of(machine) };
        definitions::store(storage, &definition)?;
        self.add(&definition);
        Ok(())
    }
}

/// Where a machine's document wants its instances to be kept, if it says so.
fn of_document(machine: &Machine) -> Option<Tier> {
    machine.durability().map(|durability| match durability {
        Durability::Memory => Tier::Memory,
        Durability::Disk => Tier::Disk,
    })
}

/// Whether what was asked for beside a document is another tier than the document says.
pub(crate) fn conflict(machine: &Machine, asked: Option<Tier>) -> Option<(Tier, Tier)> {
    let both = of_document(machine).zip(asked);
    both.filter(|(document, asked)| document != asked)
}

/// The tier of a machine: what its first definition decided, what is asked for, what its document says, or the daemon's own setting.
///
/// # Errors
/// Its id has another tier than is wanted.
pub(crate) fn tier_of(
    machine: &Machine,
    asked: Option<Tier>,
    known: Option<Tier>,
    usual: Tier,
) -> Result<Tier, (Tier, Tier)> {
    match (asked.or(of_document(machine)), known) {
        (Some(wanted), Some(known)) if wanted != known => Err((known, wanted)),
        (wanted, known) => Ok(known.or(wanted).unwrap_or(usual)),
    }
}
