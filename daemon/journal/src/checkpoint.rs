//! Checkpoints: the places of one shard as they stand, so that the journal before them is needed no more.
//!
//! A file is written beside its name, synced, renamed, and its folder synced; only then may the journal be released and the checkpoint
//! before it removed. Its images are of different indexes, and replay leaves out what an image has already. None may have what the journal
//! could still lose: else an index would be given a second time, and the image taken for newer than what came under it. So a checkpoint says
//! up to which batch it has records, and is not finished before that one is durable.

use std::collections::BTreeMap;
use std::io;

use statemesh_protocol::record::{
    Fields, NewSection, PartWriter, SectionHead, SectionReader, SectionWriter, StoredImage, Unreadable,
};

use crate::header::{self, CHECKPOINT, FileFault, HEADER_LEN, HeaderFault};
use crate::storage::{self, BESIDE, Storage};

/// Folder of the checkpoints.
pub const FOLDER: &str = "checkpoint";
/// Suffix of a checkpoint that is not as it was written.
pub const DAMAGED: &str = ".damaged";
/// Bytes of a header's body.
const BODY: usize = 46;
/// Bytes before the first section.
const FRONT: usize = HEADER_LEN + BODY;
/// Bytes that are written at once.
const PIECE: usize = 256 * 1024;
/// Bytes of a checkpoint beyond which it is not read: no machine has them in memory.
const BYTES_MAX: u64 = 1 << 40;

/// What a checkpoint says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointHead {
    /// The volume that it belongs to.
    pub volume: u64,
    /// Whose places it has.
    pub shard: u16,
    /// The first batch that must be read again: the lowest of its sections.
    pub replay_from: u64,
    /// The last batch of which it may have a record.
    pub covered: u64,
    /// Mesh time, in milliseconds.
    pub mesh_time: u64,
    /// Number of its sections.
    pub sections: u32,
    /// Their bytes.
    pub length: u64,
}

impl CheckpointHead {
    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(BODY);
        body.extend_from_slice(&self.volume.to_le_bytes());
        body.extend_from_slice(&self.shard.to_le_bytes());
        for long in [self.replay_from, self.covered, self.mesh_time] {
            body.extend_from_slice(&long.to_le_bytes());
        }
        body.extend_from_slice(&self.sections.to_le_bytes());
        body.extend_from_slice(&self.length.to_le_bytes());
        let mut bytes = Vec::with_capacity(FRONT);
        header::write(CHECKPOINT, &body, &mut bytes);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, FileFault> {
        let mut body = Fields::new(header::read(CHECKPOINT, bytes)?);
        let head = Self {
            volume: u64::from_le_bytes(*body.array()?),
            shard: u16::from_le_bytes(*body.array()?),
            replay_from: u64::from_le_bytes(*body.array()?),
            covered: u64::from_le_bytes(*body.array()?),
            mesh_time: u64::from_le_bytes(*body.array()?),
            sections: u32::from_le_bytes(*body.array()?),
            length: u64::from_le_bytes(*body.array()?),
        };
        body.finish()?;
        Ok(head)
    }
}

/// Why a file is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It is not as it was written, or of a later format.
    #[error(transparent)]
    File(FileFault),
    /// It is another volume's, or has another one's name.
    #[error("it is of another volume, shard or batch than its name and folder say")]
    Misplaced,
}

impl Wrong {
    /// Whether a later version wrote it: then it is not damaged, and must not be passed over.
    #[must_use]
    pub const fn is_later(&self) -> bool {
        matches!(
            self,
            Self::File(FileFault::Header(HeaderFault::Later(_)) | FileFault::Content(Unreadable::Later { .. }))
        )
    }
}

/// Why checkpoints could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file could not be reached.
    #[error("a checkpoint cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// What it has may still be lost: it is thrown away.
    #[error("a checkpoint has records up to batch {covered}, and only {durable} is durable")]
    TooEarly {
        /// The last batch of which it has records.
        covered: u64,
        /// The last that is durable.
        durable: u64,
    },
    /// A later version wrote it. Nothing was changed.
    #[error("{path}: {wrong}")]
    Later {
        /// Its path.
        path: String,
        /// What is not known here.
        wrong: Wrong,
    },
}

/// Path of the checkpoint of this shard from which the journal is read on at this lsn.
#[must_use]
pub fn path(shard: u16, replay_from: u64) -> String {
    format!("{FOLDER}/{shard:04x}-{replay_from:016x}.img")
}

fn parse(name: &str) -> Option<(u16, u64)> {
    let (shard, lsn) = name.strip_suffix(".img")?.split_once('-')?;
    let key = (u16::from_str_radix(shard, 16).ok()?, u64::from_str_radix(lsn, 16).ok()?);
    // No other spelling of the same number.
    (path(key.0, key.1).strip_prefix(FOLDER)?.strip_prefix('/')? == name).then_some(key)
}

/// Writes a checkpoint, section by section.
#[derive(Debug)]
pub struct CheckpointWriter<'s, S: Storage> {
    storage: &'s S,
    file: S::File,
    head: CheckpointHead,
    section: Option<SectionWriter>,
    buffer: Vec<u8>,
    offset: u64,
}

impl<'s, S: Storage> CheckpointWriter<'s, S> {
    /// Begins one of this shard, from which the journal will be read on at `replay_from`.
    pub fn begin(storage: &'s S, volume: u64, shard: u16, replay_from: u64) -> io::Result<Self> {
        storage.make_folder(FOLDER)?;
        let file = storage.create(&format!("{}{BESIDE}", path(shard, replay_from)))?;
        let head = CheckpointHead { volume, shard, replay_from, covered: 0, mesh_time: 0, sections: 0, length: 0 };
        Ok(Self { storage, file, head, section: None, buffer: Vec::new(), offset: FRONT as u64 })
    }

    /// Begins the section of a place, behind the one before.
    pub fn section(&mut self, section: &NewSection<'_>) -> io::Result<()> {
        self.end_section();
        self.head.sections += 1;
        self.section = Some(SectionWriter::begin(section, &mut self.buffer));
        self.write(PIECE)
    }

    /// Appends an image to the section, with the parts that `parts` writes.
    pub fn image(&mut self, image: &StoredImage<'_>, parts: impl FnOnce(&mut PartWriter<'_>)) -> io::Result<()> {
        if let Some(section) = &mut self.section {
            section.image(image, &mut self.buffer, parts);
        }
        self.write(PIECE)
    }

    /// Completes it. It has records of batches up to `covered`, and `durable` says that these are.
    pub fn finish(mut self, covered: u64, durable: u64, mesh_time: u64) -> Result<CheckpointHead, CheckpointError> {
        let path = path(self.head.shard, self.head.replay_from);
        let beside = format!("{path}{BESIDE}");
        if covered > durable {
            self.storage.remove(&beside)?;
            return Err(CheckpointError::TooEarly { covered, durable });
        }
        self.end_section();
        self.write(0)?;
        let head = CheckpointHead { covered, mesh_time, length: self.offset - FRONT as u64, ..self.head };
        self.storage.write_all_at(&self.file, 0, &head.encode())?;
        self.storage.sync(&self.file)?;
        storage::publish(self.storage, &beside, &path)?;
        Ok(head)
    }

    fn end_section(&mut self) {
        if let Some(section) = self.section.take() {
            section.end(&mut self.buffer);
        }
    }

    /// Writes what has gathered, if it is at least so much.
    fn write(&mut self, least: usize) -> io::Result<()> {
        if self.buffer.len() >= least {
            self.storage.write_all_at(&self.file, self.offset, &self.buffer)?;
            self.offset += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// A checkpoint in memory, all of it checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// What it says of itself.
    pub head: CheckpointHead,
    bytes: Vec<u8>,
}

impl Checkpoint {
    /// Checks the bytes of a file: header, every section, every image, every digest.
    pub fn check(bytes: Vec<u8>) -> Result<Self, FileFault> {
        let head = CheckpointHead::decode(&bytes)?;
        let checkpoint = Self { head, bytes };
        let mut rest = checkpoint.rest();
        if rest.len() as u64 != head.length {
            return Err(Unreadable::Short.into());
        }
        for _ in 0..head.sections {
            let (_, mut section) = SectionReader::open(rest)?;
            while section.next_image()?.is_some() {}
            rest = section.rest();
        }
        Fields::new(rest).finish()?;
        Ok(checkpoint)
    }

    /// Its sections. Each gives its head and its images to `each`.
    pub fn sections(&self, mut each: impl FnMut(&SectionHead<'_>, &mut dyn Iterator<Item = StoredImage<'_>>)) {
        let mut rest = self.rest();
        while let Ok((head, mut section)) = SectionReader::open(rest) {
            each(&head, &mut std::iter::from_fn(|| section.next_image().ok().flatten()));
            while let Ok(Some(_)) = section.next_image() {}
            rest = section.rest();
        }
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(FRONT..).unwrap_or_default()
    }
}

/// The checkpoints of each shard, by the lsn from which the journal is read on; ascending. Their names are durable when this returns: the
/// process before may have ended between a name and its sync, and who reads a checkpoint releases the journal before it.
pub fn list<S: Storage>(storage: &S) -> io::Result<BTreeMap<u16, Vec<u64>>> {
    storage.make_folder(FOLDER)?;
    storage.sync_folder(FOLDER)?;
    let mut shards = BTreeMap::<u16, Vec<u64>>::new();
    for (shard, lsn) in storage.list(FOLDER)?.iter().filter_map(|name| parse(name)) {
        shards.entry(shard).or_default().push(lsn);
    }
    Ok(shards)
}

/// The newest of these checkpoints of a shard that is right. Newer ones that are not are set aside, and told to `aside`.
pub fn newest<S: Storage>(
    storage: &S,
    volume: u64,
    shard: u16,
    lsns: &[u64],
    mut aside: impl FnMut(&str, Wrong),
) -> Result<Option<Checkpoint>, CheckpointError> {
    for lsn in lsns.iter().rev() {
        let path = path(shard, *lsn);
        let named = |head: &CheckpointHead| (head.volume, head.shard, head.replay_from) == (volume, shard, *lsn);
        match Checkpoint::check(storage::read(storage, &path, BYTES_MAX)?).map_err(Wrong::File) {
            Ok(checkpoint) if named(&checkpoint.head) => return Ok(Some(checkpoint)),
            Err(wrong) if wrong.is_later() => return Err(CheckpointError::Later { path, wrong }),
            other => {
                aside(&path, other.err().unwrap_or(Wrong::Misplaced));
                storage::publish(storage, &path, &format!("{path}{DAMAGED}"))?;
            }
        }
    }
    Ok(None)
}

/// Removes the checkpoints of a shard before this one.
pub fn remove_older<S: Storage>(storage: &S, shard: u16, replay_from: u64) -> io::Result<()> {
    let all = list(storage)?;
    let older = all.get(&shard).into_iter().flatten().filter(|lsn| **lsn < replay_from);
    older.into_iter().try_for_each(|lsn| storage.remove(&path(shard, *lsn)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_known_by_one_spelling_of_its_name() {
        assert_eq!(path(3, 255), "checkpoint/0003-00000000000000ff.img");
        assert_eq!(parse("0003-00000000000000ff.img"), Some((3, 255)));
        for other in [
            "3-ff.img",
            "0003-00000000000000FF.img",
            "0003-00000000000000ff.img.new",
            "0003-00000000000000ff.img.damaged",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
