//! The files of the journal's segments: does what [`crate::journal::Output`] says, and reads them back at a start.

use std::collections::BTreeMap;
use std::io;

use crate::batch::BLOCK;
use crate::journal::{Config, Input, Output, Position};
use crate::recover::{Event, JournalFault, Recovered, Recovery};
use crate::segment::{self, FOLDER};
use crate::storage::{self, BESIDE, Storage};

/// Bytes that are written at once where a segment is filled.
const FILL: usize = 1024 * 1024;

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The files could not be reached.
    #[error("the journal cannot be read: {0}")]
    Io(#[from] io::Error),
    /// This version must not read it. Nothing was changed.
    #[error(transparent)]
    Fault(#[from] JournalFault),
}

/// The files of the segments.
#[derive(Debug)]
pub struct Segments<S: Storage> {
    storage: S,
    segment_bytes: u64,
    files: BTreeMap<u64, S::File>,
}

impl<S: Storage> Segments<S> {
    /// The segments of a volume, none of them open.
    pub fn new(storage: S, config: &Config) -> Self {
        Self { storage, segment_bytes: config.segment_bytes, files: BTreeMap::new() }
    }

    /// Reads the journal of this volume back, from this lsn on. When this returns, what was found is durable, and what a torn batch may have
    /// left at the end is cleared.
    pub fn recover(
        &mut self,
        volume: u64,
        from: u64,
        covered: u64,
        found: &mut dyn FnMut(Event<'_>),
    ) -> Result<Recovered, OpenError> {
        self.storage.make_folder(FOLDER)?;
        let names = self.storage.list(FOLDER)?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
        numbers.sort_unstable();
        let mut recovery = Recovery::new(volume, from);
        for number in numbers {
            let bytes = storage::read(&self.storage, &segment::path(number), self.segment_bytes)?;
            recovery.segment(number, &bytes, found)?;
        }
        let recovered = recovery.finish(covered, found);
        storage::sweep(&self.storage, FOLDER)?;
        // What was read may be in the system's cache only, the names too.
        self.storage.sync_folder(FOLDER)?;
        if let Some((at, bytes)) = &recovered.last {
            self.write(*at, bytes)?;
            self.sync(at.segment)?;
        }
        recovered.void.iter().try_for_each(|at| self.clear(*at))?;
        Ok(recovered)
    }

    /// Makes sure that no batch begins here.
    fn clear(&mut self, at: Position) -> io::Result<()> {
        if at.offset.saturating_add(BLOCK) > self.segment_bytes {
            return Ok(());
        }
        self.write(at, &[0; BLOCK as usize])?;
        self.sync(at.segment)
    }

    /// Writes into a segment.
    pub fn write(&mut self, at: Position, bytes: &[u8]) -> io::Result<()> {
        let (storage, file) = self.file(at.segment)?;
        storage.write_all_at(file, at.offset, bytes)
    }

    /// Syncs a segment.
    pub fn sync(&mut self, segment: u64) -> io::Result<()> {
        let (storage, file) = self.file(segment)?;
        storage.sync(file)
    }

    /// Removes a segment.
    pub fn remove(&mut self, segment: u64) -> io::Result<()> {
        self.files.remove(&segment);
        self.storage.remove(&segment::path(segment))
    }

    /// Forgets all open files but this one's: a segment that is full is not written again.
    pub fn close_others(&mut self, segment: u64) {
        self.files.retain(|number, _| *number == segment);
    }

    /// Does one thing, and says what came of it. `bytes` are those of the batch in flight.
    pub fn execute(&mut self, output: Output, bytes: &[u8]) -> Option<Input<'static>> {
        match output {
            Output::Write(at) => {
                self.close_others(at.segment);
                Some(self.write(at, bytes).map_or(Input::Failed, |()| Input::Wrote))
            }
            Output::Sync(segment) => Some(self.sync(segment).map_or(Input::Failed, |()| Input::Synced)),
            Output::Prepare { segment, from } => Some(prepare(&self.storage, segment, from, self.segment_bytes)),
            // It does no harm there.
            Output::Remove(segment) => self.remove(segment).err().and(None),
            Output::Durable(_) | Output::Full(_) | Output::Stop => None,
        }
    }

    fn file(&mut self, segment: u64) -> io::Result<(&S, &S::File)> {
        let file = match self.files.entry(segment) {
            std::collections::btree_map::Entry::Occupied(file) => file.into_mut(),
            std::collections::btree_map::Entry::Vacant(none) => {
                none.insert(self.storage.open(&segment::path(segment))?)
            }
        };
        Ok((&self.storage, file))
    }
}

/// Makes a segment: of one that is used no more, or of zeros. Gives what the journal is told of it.
pub fn prepare<S: Storage>(storage: &S, number: u64, from: Option<u64>, bytes: u64) -> Input<'static> {
    let beside = format!("{}{BESIDE}", segment::path(number));
    match make(storage, number, from, bytes, &beside) {
        Ok(()) => Input::Prepared(number),
        Err(error) => {
            // It would be swept at the next start; before, it may be in the way.
            let _ = storage.remove(&beside);
            let has_no_room = matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
            );
            if has_no_room { Input::NoRoom } else { Input::Failed }
        }
    }
}

fn make<S: Storage>(storage: &S, number: u64, from: Option<u64>, bytes: u64, beside: &str) -> io::Result<()> {
    if let Some(from) = from {
        // What is in it stays: its lsns say that it is of a former life.
        storage.rename(&segment::path(from), &segment::path(number))?;
        return storage.sync_folder(FOLDER);
    }
    let file = storage.create(beside)?;
    let zeros = vec![0; FILL];
    let mut at = 0;
    while at < bytes {
        let piece = usize::try_from(bytes - at).unwrap_or(FILL).min(FILL);
        storage.write_all_at(&file, at, zeros.get(..piece).unwrap_or_default())?;
        at += piece as u64;
    }
    storage.sync(&file)?;
    storage::publish(storage, beside, &segment::path(number))
}
