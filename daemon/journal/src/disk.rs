//! A volume in a folder of the operating system. A shell: the only file here that opens files.
//!
//! Plain writes, then `fdatasync`: std has both without `unsafe`. `O_DIRECT` wants buffers at aligned addresses, which safe code cannot ask
//! of a `Vec`.
#![allow(clippy::disallowed_methods)] // It is what the others reach files through.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::storage::Storage;

/// A folder.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// The folder at this path, which is made if there is none.
    pub fn new(root: &Path) -> io::Result<Self> {
        for folder in missing(root) {
            match fs::create_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
            // Its name is in the folder above.
            let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
            File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        fs::read_dir(root)?;
        Ok(Self { root: root.to_owned() })
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }
}

/// Those of this folder and of the ones above it that are not there, the uppermost first.
fn missing(root: &Path) -> Vec<&Path> {
    let named = root.ancestors().filter(|folder| !folder.as_os_str().is_empty());
    let mut missing: Vec<&Path> = named.take_while(|folder| !folder.exists()).collect();
    missing.reverse();
    missing
}

impl Storage for Disk {
    type File = File;
    type Lock = File;

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        let mut names = entries.map(name).collect::<io::Result<Vec<String>>>()?;
        names.sort();
        Ok(names)
    }

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        match fs::create_dir(self.path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.sync_folder(""),
        }
    }

    fn open(&self, path: &str) -> io::Result<File> {
        File::options().read(true).write(true).open(self.path(path))
    }

    fn create(&self, path: &str) -> io::Result<File> {
        File::options().read(true).write(true).create(true).truncate(true).open(self.path(path))
    }

    fn len(&self, file: &File) -> io::Result<u64> {
        file.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, file: &File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_all_at(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        File::open(self.path(folder))?.sync_all()
    }

    fn lock(&self, path: &str) -> io::Result<Option<File>> {
        let file = File::options().write(true).create(true).truncate(false).open(self.path(path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_that_has_to_be_made_is_known_so_that_its_name_is_synced() {
        let base = std::env::temp_dir().join(format!("statemesh-disk-{}", std::process::id()));
        let root = base.join("a/b/c");
        assert_eq!(missing(&root), [&base, &base.join("a"), &base.join("a/b"), &root]);
        Disk::new(&root).unwrap();
        assert_eq!(missing(&root), [""; 0].map(Path::new));
        assert_eq!(missing(Path::new("nowhere/here")), ["nowhere", "nowhere/here"].map(Path::new));
        File::create(base.join("file")).unwrap();
        assert!(Disk::new(&base.join("file")).is_err(), "a file is no folder");
        fs::remove_dir_all(&base).unwrap();
    }
}
