//! Which volume a folder is, and whether this daemon may use it. A volume of another mesh, member, number of partitions or format is
//! refused, and nothing in it is touched: a wrong mount is the most frequent of all accidents, and the dearest.

use std::io;

use statemesh_protocol::record::{Field, Fields, Unreadable};

use crate::born::Born;
use crate::header::{self, FileFault, HeaderFault, VOLUME};
use crate::storage::{self, Storage};

/// The file that says which volume it is.
const ID: &str = "volume.id";
/// The file with the mesh's certificate.
const CERTIFICATE: &str = "born";
/// The file that a running daemon has locked.
const LOCK: &str = "lock";
/// Bytes of these files at most.
const BYTES_MAX: u64 = 1024 * 1024;
/// Names that a folder may have before it is a volume: what a filesystem makes by itself, and what a birth that was cut short left.
const BLANK: [&str; 4] = ["lost+found", LOCK, "volume.id.new", "born.new"];

/// Who wants to use a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who<'a> {
    /// The mesh.
    pub mesh: &'a str,
    /// The daemon's name.
    pub member: &'a str,
    /// The mesh's number of partitions.
    pub partitions: u16,
    /// The daemon's number of shards.
    pub shards: u16,
}

/// What `volume.id` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeId {
    /// The volume: random, never 0.
    pub volume: u64,
    /// How often a daemon has started with it.
    pub boots: u64,
    /// The daemon's name.
    pub member: String,
    /// The mesh.
    pub mesh: String,
    /// The mesh's number of partitions.
    pub partitions: u16,
    /// The daemon's number of shards.
    pub shards: u16,
}

/// Why a volume is not used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// It is another mesh's.
    #[error(
        "this volume belongs to mesh {found:?}, and this daemon to {wanted:?}: mount its own volume, or set `mesh`"
    )]
    Mesh {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// It is another daemon's.
    #[error("this volume belongs to {found:?}, and this daemon is {wanted:?}: mount its own volume, or set `name`")]
    Member {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// The mesh had another number of partitions when it was made.
    #[error(
        "this volume has {found} partitions, and this daemon is set to {wanted}: set `partitions` to {found}; what a volume has cannot be moved to another number"
    )]
    Partitions {
        /// Those of the volume.
        found: u16,
        /// Those that are set.
        wanted: u16,
    },
    /// A later version wrote it.
    #[error(
        "{path} is of format {format}, and this version reads up to {}: use the version that wrote it, or a later one",
        header::FORMAT
    )]
    Format {
        /// Which file.
        path: &'static str,
        /// Its format.
        format: u16,
    },
    /// Another process uses it.
    #[error("another daemon uses this volume: end it, or give this one a folder of its own")]
    Locked,
    /// It cannot be written.
    #[error("this volume can only be read: mount it for writing, and let the daemon's user own it")]
    ReadOnly,
    /// It has files of another program.
    #[error("this folder has {found:?}, and is no volume: give the daemon an empty one")]
    Foreign {
        /// One of them.
        found: String,
    },
    /// There is no room in it.
    #[error("this volume is full: enlarge it, or remove what is not the daemon's")]
    Full,
    /// A file of it is not as it was written.
    #[error(
        "{path} is damaged ({fault}): restore this file or the volume, or give the daemon an empty one to be filled anew"
    )]
    Damaged {
        /// Which file.
        path: &'static str,
        /// What is wrong with it.
        fault: String,
    },
    /// The system refuses.
    #[error("the volume cannot be used: {0}")]
    Io(io::Error),
}

impl VolumeError {
    /// Its code, which stays the same in every version.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Mesh { .. } => "storage_mesh",
            Self::Member { .. } => "storage_member",
            Self::Partitions { .. } => "storage_partitions",
            Self::Format { .. } => "storage_format",
            Self::Locked => "storage_locked",
            Self::ReadOnly => "storage_read_only",
            Self::Foreign { .. } => "storage_foreign",
            Self::Full => "storage_full",
            Self::Damaged { .. } => "storage_damaged",
            Self::Io(_) => "storage_failed",
        }
    }
}

impl From<io::Error> for VolumeError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly,
            _ => Self::Io(error),
        }
    }
}

/// A volume that this process uses.
#[derive(Debug)]
pub struct Volume<L> {
    /// What it is; `boots` counts this start already.
    pub id: VolumeId,
    /// The mesh's certificate, if there has been a birth.
    pub born: Option<Born>,
    /// Held while the volume is used.
    pub lock: L,
}

/// A folder that is no volume yet: locked, and with nothing in it.
#[derive(Debug)]
pub struct Blank<L> {
    /// Held while the folder is used.
    pub lock: L,
}

/// What a folder is.
#[derive(Debug)]
pub enum Opened<L> {
    /// A volume of this daemon.
    Volume(Volume<L>),
    /// Nothing yet.
    Blank(Blank<L>),
}

/// Looks at a folder, takes its lock, and counts the start. What is refused is not changed.
pub fn open<S: Storage>(storage: &S, who: &Who<'_>) -> Result<Opened<S::Lock>, VolumeError> {
    // Before anything is written, the lock included: another one's volume stays as it is.
    inspect(storage, who)?;
    let lock = storage.lock(LOCK)?.ok_or(VolumeError::Locked)?;
    // Who had the lock until now may have written.
    let Some((id, born)) = inspect(storage, who)? else { return Ok(Opened::Blank(Blank { lock })) };
    let id = VolumeId { boots: id.boots.saturating_add(1), shards: who.shards, ..id };
    storage::sweep(storage, "")?;
    storage::replace(storage, ID, &id.encode())?;
    Ok(Opened::Volume(Volume { id, born, lock }))
}

/// Makes a volume of a blank folder. `random` is its identity.
pub fn create<S: Storage>(
    storage: &S,
    blank: Blank<S::Lock>,
    who: &Who<'_>,
    random: u64,
) -> Result<Volume<S::Lock>, VolumeError> {
    let id = VolumeId {
        volume: random.max(1),
        boots: 1,
        member: who.member.to_owned(),
        mesh: who.mesh.to_owned(),
        partitions: who.partitions,
        shards: who.shards,
    };
    storage::sweep(storage, "")?;
    storage::replace(storage, ID, &id.encode())?;
    Ok(Volume { id, born: None, lock: blank.lock })
}

/// Writes the mesh's certificate. It is written once.
pub fn bear<S: Storage, L>(storage: &S, volume: &mut Volume<L>, born: Born) -> Result<(), VolumeError> {
    storage::replace(storage, CERTIFICATE, &born.encode())?;
    volume.born = Some(born);
    Ok(())
}

type Inspected = Option<(VolumeId, Option<Born>)>;

/// What is in the folder, read only; `None`: nothing.
fn inspect<S: Storage>(storage: &S, who: &Who<'_>) -> Result<Inspected, VolumeError> {
    let names = storage.list("")?;
    if !names.iter().any(|name| name == ID) {
        return match names.into_iter().find(|name| !BLANK.contains(&name.as_str())) {
            None => Ok(None),
            Some(found) if found == CERTIFICATE => {
                Err(VolumeError::Damaged { path: ID, fault: "it is gone, and `born` is there".to_owned() })
            }
            Some(found) => Err(VolumeError::Foreign { found }),
        };
    }
    let id = VolumeId::decode(&storage::read(storage, ID, BYTES_MAX)?).map_err(fault(ID))?;
    refuse(&id, who)?;
    let has_born = names.iter().any(|name| name == CERTIFICATE);
    let born = has_born.then(|| storage::read(storage, CERTIFICATE, BYTES_MAX)).transpose()?;
    Ok(Some((id, born.map(|bytes| Born::decode(&bytes)).transpose().map_err(fault(CERTIFICATE))?)))
}

fn refuse(id: &VolumeId, who: &Who<'_>) -> Result<(), VolumeError> {
    if id.mesh != who.mesh {
        return Err(VolumeError::Mesh { found: id.mesh.clone(), wanted: who.mesh.to_owned() });
    }
    if id.member != who.member {
        return Err(VolumeError::Member { found: id.member.clone(), wanted: who.member.to_owned() });
    }
    if id.partitions != who.partitions {
        return Err(VolumeError::Partitions { found: id.partitions, wanted: who.partitions });
    }
    Ok(())
}

fn fault(path: &'static str) -> impl Fn(FileFault) -> VolumeError {
    move |fault| match fault {
        FileFault::Header(HeaderFault::Later(format)) => VolumeError::Format { path, format },
        fault => VolumeError::Damaged { path, fault: fault.to_string() },
    }
}

impl VolumeId {
    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&self.volume.to_le_bytes());
        body.extend_from_slice(&self.boots.to_le_bytes());
        self.member.as_str().write(&mut body);
        self.mesh.as_str().write(&mut body);
        body.extend_from_slice(&self.partitions.to_le_bytes());
        body.extend_from_slice(&self.shards.to_le_bytes());
        let mut bytes = Vec::new();
        header::write(VOLUME, &body, &mut bytes);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, FileFault> {
        let mut body = Fields::new(header::read(VOLUME, bytes)?);
        let id = Self {
            volume: u64::from_le_bytes(*body.array()?),
            boots: u64::from_le_bytes(*body.array()?),
            member: body.read::<&str>()?.to_owned(),
            mesh: body.read::<&str>()?.to_owned(),
            partitions: u16::from_le_bytes(*body.array()?),
            shards: u16::from_le_bytes(*body.array()?),
        };
        body.finish()?;
        if id.volume == 0 { Err(Unreadable::Malformed("the volume").into()) } else { Ok(id) }
    }
}
