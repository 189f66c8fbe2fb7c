//! The folder of a volume, as far as anything here asks for it. Everything runs over this trait: over files of the operating system
//! ([`crate::disk`]), and over a virtual disk that forgets, tears and lies.

use std::io;

/// A folder with files and one level of folders. Paths are relative to it, with `/`.
pub trait Storage {
    /// An open file.
    type File;
    /// A lock that is held until this is dropped, or the process ends.
    type Lock;

    /// Names in a folder (`""`: the volume itself), in ascending order; none where there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Makes a folder, unless it is there.
    fn make_folder(&self, folder: &str) -> io::Result<()>;

    /// Opens a file for reading and writing.
    fn open(&self, path: &str) -> io::Result<Self::File>;

    /// Makes an empty file, or empties the one that is there.
    fn create(&self, path: &str) -> io::Result<Self::File>;

    /// Its length in bytes.
    fn len(&self, file: &Self::File) -> io::Result<u64>;

    /// Reads from this offset until `into` is full or the file ends. Gives how many bytes.
    fn read_at(&self, file: &Self::File, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all of it. Beyond its end the file grows.
    fn write_all_at(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// What was written, and the length, is on the device when this returns. After an error nothing is known of it.
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// Gives a file another name; one that has it already is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// The names in a folder are on the device when this returns.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;

    /// Takes the lock; `None` while another process has it.
    fn lock(&self, path: &str) -> io::Result<Option<Self::Lock>>;
}

/// Suffix of a file that is being written beside its name.
pub const BESIDE: &str = ".new";

/// A whole file, of at most so many bytes.
pub fn read<S: Storage>(storage: &S, path: &str, max: u64) -> io::Result<Vec<u8>> {
    let file = storage.open(path)?;
    let len = storage.len(&file)?;
    if len > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path} has {len} bytes, more than {max}")));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    let read = storage.read_at(&file, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Replaces a file: after a crash it is as it was, or as it is to be.
pub fn replace<S: Storage>(storage: &S, path: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = format!("{path}{BESIDE}");
    let file = storage.create(&beside)?;
    storage.write_all_at(&file, 0, bytes)?;
    storage.sync(&file)?;
    publish(storage, &beside, path)
}

/// Gives a file that is complete and synced its name.
pub fn publish<S: Storage>(storage: &S, beside: &str, path: &str) -> io::Result<()> {
    storage.rename(beside, path)?;
    storage.sync_folder(path.rsplit_once('/').map_or("", |(folder, _)| folder))
}

/// Removes what a crash left half-written in a folder.
pub fn sweep<S: Storage>(storage: &S, folder: &str) -> io::Result<()> {
    for name in storage.list(folder)?.iter().filter(|name| name.ends_with(BESIDE)) {
        storage.remove(&if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") })?;
    }
    Ok(())
}
