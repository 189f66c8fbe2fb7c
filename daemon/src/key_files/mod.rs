//! Files of keys: their forms, and the task that follows them while a daemon runs. The verbs that write them are in `keys`.

pub(crate) mod clients;
mod follow;
pub(crate) mod gossip;
pub(crate) mod pair;

pub(crate) use clients::read as read_clients;
pub(crate) use follow::{Followed, follow};
pub(crate) use gossip::read as read_gossip;
pub(crate) use pair::{read as read_pair, read_own};

use crate::failure::{Exit, Failure};
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a file of keys.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The text of a file of keys.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    if std::fs::metadata(path).is_ok_and(|data| data.len() > MAX_FILE_BYTES) {
        return Err(wrong(path.display(), 1, format!("longer than {MAX_FILE_BYTES} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))
}

/// The same failure with the setting that names the file, and how such a file is made.
pub(crate) fn of_setting(failure: Failure, setting: &str, making: &str) -> Failure {
    let message = format!("{setting}: {}", failure.message);
    let hint = failure.hint.clone().or_else(|| (failure.exit == Exit::File).then(|| making.to_owned()));
    Failure { message, hint, ..failure }
}

/// What is wrong in a text of keys, and where.
pub(crate) fn wrong(place: impl Display, line: usize, what: impl Display) -> Failure {
    Failure::new(Exit::Usage, "bad_keys", format!("{place}:{line}: {what}"))
}

/// Replaces a file in one step, so that no reader sees half of it, and lets only its owner read it.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let failed = |error: std::io::Error| Failure::file(path, &error);
    // A left-over of an interrupted run is in the way, and may be open to others.
    let _ = std::fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
    if let Ok(old) = std::fs::metadata(path) {
        file.set_permissions(std::fs::Permissions::from_mode(old.permissions().mode())).map_err(failed)?;
    }
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)
}

/// Logs each file that others may read or change. It is used all the same: whether the folder around it is closed, only its owner knows.
pub(crate) fn warn_of_open<'a>(files: impl IntoIterator<Item = &'a Path>) {
    for path in files {
        if let Some(mode) = open_to_others(path) {
            tracing::warn!(
                path = %path.display(),
                mode = format!("{mode:o}"),
                "others may read or change this file of keys: chmod 600 {}",
                path.display()
            );
        }
    }
}

/// The permissions of a file that is not this user's alone. Where it belongs to another user its group is how this one reads it, as with
/// the volumes of Kubernetes.
fn open_to_others(path: &Path) -> Option<u32> {
    let (file, own) = (std::fs::metadata(path).ok()?, std::fs::metadata("/proc/self").ok()?);
    let others = if file.uid() == own.uid() { 0o077 } else { 0o007 };
    let mode = file.permissions().mode() & 0o777;
    (mode & others != 0).then_some(mode)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_may_read_or_change_is_noticed() {
        let path = folder("modes").join("daemon.key");
        std::fs::write(&path, "").unwrap();
        let with = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            open_to_others(&path)
        };
        assert_eq!([0o600, 0o400, 0o640, 0o604, 0o620].map(with), [None, None, Some(0o640), Some(0o604), Some(0o620)]);
    }

    /// An empty folder of a test's own.
    pub(crate) fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("statemesh-keys-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}
