//! A daemon's volume: opened at its start, and read back before anything is served; `journaling` writes to it from then on. A shell: what is
//! decided is decided in `statemesh_journal` and `statemesh_shard`.
#![expect(clippy::disallowed_methods, reason = "a shell gives a volume its random name")]

mod definitions;
mod files;
mod recovering;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rand::RngExt;
use statemesh_journal::checkpoint::CheckpointError;
use statemesh_journal::definitions::{DefinitionsError, StoredDefinition};
use statemesh_journal::disk::Disk;
use statemesh_journal::journal::Config;
use statemesh_journal::recover::Recovered;
use statemesh_journal::segments::OpenError;
use statemesh_journal::thread::Handle;
use statemesh_journal::volume::{self, Opened, VolumeError, Who};
use statemesh_journal::{definitions as stored, disk};
use statemesh_shard::{Run, Shards};

use self::definitions::Kept;
pub use self::definitions::{Stored, StoredError};
pub(crate) use self::definitions::{body_of, conflict, first_error, tier_of};
pub(crate) use self::files::keep_files;
pub use self::files::{FileRefused, KeepError};
use crate::options::Options;

/// Why a daemon cannot use its volume. What was there is as it was.
#[derive(Debug, thiserror::Error)]
pub enum VolumeRefused {
    /// The folder is none that it may use.
    #[error(transparent)]
    Volume(VolumeError),
    /// The system does not let it use the folder.
    #[error("the volume {} cannot be used: {wrong} ({error}); mend that, or give the daemon another folder (--data)", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        wrong: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// A definition in it cannot be read.
    #[error(transparent)]
    Definitions(#[from] DefinitionsError),
    /// A definition in it does not compile any more.
    #[error("definition of machine \"{machine}\": {source}")]
    Definition {
        /// Its id.
        machine: String,
        /// Why not.
        source: StoredError,
    },
    /// Its journal cannot be read.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// Its checkpoints cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It has durable machines, and the daemon is told to look for others.
    #[error(
        "this volume has machines with durability \"disk\" (\"{machine}\" is one), which this version keeps on a daemon that is alone: \
         leave discovery.service, discovery.seeds and birth out, or give the daemon another folder (data)"
    )]
    NotAlone {
        /// One of them.
        machine: String,
    },
}

impl VolumeRefused {
    /// A stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Volume(error) => error.code(),
            Self::Definitions(error) => error.code(),
            Self::Definition { .. } => "invalid_definition",
            Self::Journal(OpenError::Fault(_)) | Self::Checkpoint(CheckpointError::Later { .. }) => "storage_format",
            Self::Folder { .. } | Self::Journal(OpenError::Io(_)) | Self::Checkpoint(_) => "storage_failed",
            Self::NotAlone { .. } => "unsupported",
        }
    }
}

impl From<io::Error> for VolumeRefused {
    fn from(error: io::Error) -> Self {
        Self::Volume(error.into())
    }
}

impl VolumeRefused {
    /// Of a volume in this folder.
    fn of(folder: &Path, error: VolumeError) -> Self {
        let VolumeError::Io(error) = error else { return Self::Volume(error) };
        let wrong = what_is_wrong(folder);
        Self::Folder { path: folder.to_owned(), wrong, error }
    }
}

/// Why a folder cannot be used, for a person.
fn what_is_wrong(folder: &Path) -> &'static str {
    let mut ancestors = folder.ancestors();
    if folder.is_symlink() && !folder.exists() {
        "it is a link that leads nowhere"
    } else if ancestors.any(Path::is_file) {
        "it is a file, or below one, and not a folder"
    } else {
        "the system refuses it"
    }
}

/// The volume of a running daemon.
#[derive(Debug)]
pub(crate) struct Volume {
    disk: Disk,
    number: u64,
    /// The definitions that it has.
    kept: Kept,
    journal: OnceLock<Handle>,
    /// Held as long as the process uses the folder.
    _lock: File,
}

/// A volume that is opened and not read yet.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) volume: Volume,
    /// Its definitions, the oldest first.
    pub(crate) definitions: Vec<StoredDefinition>,
}

/// Whether a daemon looks for no others.
pub(crate) fn is_alone(options: &Options) -> bool {
    let discovery = &options.discovery;
    let needs_others = discovery.birth.iter().any(|name| *name != options.name);
    discovery.service.is_none() && discovery.seeds.is_empty() && !needs_others
}

/// Opens the volume that the options name, or makes it of an empty folder.
///
/// # Errors
/// It must not be used. Nothing in it was changed.
pub(crate) fn open(options: &Options) -> Result<Option<Unread>, VolumeRefused> {
    let Some(folder) = &options.storage.data else { return Ok(None) };
    let refused = |error| VolumeRefused::of(folder, error);
    let disk = disk::Disk::new(folder).map_err(|error| refused(error.into()))?;
    let shards = u16::try_from(Shards::count_of(options.partitions)).unwrap_or(u16::MAX);
    let who = Who { mesh: &options.mesh, member: &options.name, partitions: options.partitions, shards };
    let volume = match volume::open(&disk, &who).map_err(refused)? {
        Opened::Volume(volume) => volume,
        Opened::Blank(blank) => volume::create(&disk, blank, &who, rand::rng().random()).map_err(refused)?,
    };
    let definitions = stored::load(&disk)?;
    let durable = definitions.iter().find(|definition| definition.tier != 0);
    if let Some(durable) = durable.filter(|_| !is_alone(options)) {
        return Err(VolumeRefused::NotAlone { machine: durable.machine.clone() });
    }
    let kept = Kept::new(&definitions);
    let volume = Volume { disk, number: volume.id.volume, kept, journal: OnceLock::new(), _lock: volume.lock };
    Ok(Some(Unread { volume, definitions }))
}

impl Volume {
    /// Keeps the definition of a durable machine, with those that it names. It is on the device when this returns.
    pub(crate) fn keep(&self, machine: &statemesh_engine::Machine) -> io::Result<()> {
        self.kept.keep(&self.disk, machine)
    }

    /// Reads it back into the shards.
    pub(crate) fn recover(&self, config: &Config, shards: &Shards, run: &mut Run) -> Result<Recovered, VolumeRefused> {
        recovering::recover(&self.disk, self.number, config, shards, run)
    }

    /// Its files.
    pub(crate) fn disk(&self) -> Disk {
        self.disk.clone()
    }

    /// Its journal has begun, which happens once.
    pub(crate) fn set_journal(&self, journal: Handle) {
        let _ = self.journal.set(journal);
    }

    /// Mesh time in milliseconds since when its journal is at one batch, if it is at one.
    pub(crate) fn journal_at_work_since(&self) -> Option<u64> {
        self.journal.get().and_then(Handle::at_work_since)
    }

    /// There are records for the journal.
    pub(crate) fn wake_journal(&self) {
        if let Some(journal) = self.journal.get() {
            journal.wake();
        }
    }
}
