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
use nix::unistd::geteuid;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a file of keys.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The text of a file of keys.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    if std::fs::metadata(path).is_ok_and(|data| data.len() > MAX_FILE_BYTES) {
        return Err(wrong(path.display(), 1, format!("longer than {MAX_FILE_BYTES} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| unread(path, &error))
}

/// Why a file was not read. Only one that is not there has no hint of its own: another one is not made in place of what is there.
fn unread(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::file(path, error);
    let user = geteuid();
    match (error.kind(), std::fs::metadata(path)) {
        (ErrorKind::NotFound, _) => failure,
        (ErrorKind::IsADirectory, _) => failure.hint("this is a folder: name the file in it"),
        (ErrorKind::PermissionDenied, Ok(data)) => failure.hint(format!(
            "it belongs to user {} and group {} and has mode {:o}; this process is of user {user}",
            data.uid(),
            data.gid(),
            data.permissions().mode() & 0o777
        )),
        (ErrorKind::PermissionDenied, Err(_)) => {
            failure.hint(format!("a folder on the way to it is closed to user {user}, of which this process is"))
        }
        (ErrorKind::InvalidData, _) => failure.hint("this is no text: name a file of keys"),
        _ => failure.hint("the file is there, but cannot be read"),
    }
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

/// Logs each file of secrets that others may read or change. It is used all the same: whether the folder around it is closed, only its
/// owner knows.
pub(crate) fn warn_of_open<'a>(files: impl IntoIterator<Item = &'a Path>) {
    files.into_iter().for_each(|path| warn_of(path, 0o077, "read or change"));
}

/// Logs a file of public keys that others may change: reading it gives them nothing.
pub(crate) fn warn_of_writable(path: &Path) {
    warn_of(path, 0o022, "change");
}

fn warn_of(path: &Path, rights: u32, what: &str) {
    let Some((mode, mend)) = open_to_others(path, geteuid().as_raw(), rights) else { return };
    let shown = path.display();
    tracing::warn!(path = %shown, mode = format!("{mode:o}"), "others may {what} this file of keys: chmod {mend} {shown}");
}

/// The permissions of a file that gives one of `rights` to others than the user `own`, and the change that takes them away. Where it
/// belongs to another user its group is how this one reads it, as with the volumes of Kubernetes, so the group keeps what it has.
fn open_to_others(path: &Path, own: u32, rights: u32) -> Option<(u32, &'static str)> {
    let file = std::fs::metadata(path).ok()?;
    let mode = file.permissions().mode() & 0o777;
    let is_own = file.uid() == own;
    let others = if is_own { rights } else { rights & 0o007 };
    let mend = match (rights & 0o044 != 0, is_own) {
        (true, true) => "600",
        (true, false) => "o-rwx",
        (false, true) => "go-w",
        (false, false) => "o-w",
    };
    (mode & others != 0).then_some((mode, mend))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_may_read_or_change_is_noticed() {
        let path = folder("modes").join("daemon.key");
        std::fs::write(&path, "").unwrap();
        let own = std::fs::metadata(&path).unwrap().uid();
        let with = |mode, user, rights| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            open_to_others(&path, user, rights).map(|(_, mend)| mend)
        };
        let secret = [0o600, 0o400, 0o640, 0o604, 0o620].map(|mode| with(mode, own, 0o077));
        assert_eq!(secret, [None, None, Some("600"), Some("600"), Some("600")]);
        assert_eq!([0o640, 0o644].map(|mode| with(mode, own + 1, 0o077)), [None, Some("o-rwx")]);
        assert_eq!([0o644, 0o664].map(|mode| with(mode, own, 0o022)), [None, Some("go-w")], "public keys");
    }

    #[test]
    fn only_what_is_not_there_is_to_be_made() {
        let folder = folder("unread");
        let hint = |path: &Path| of_setting(read_text(path).unwrap_err(), "security.key", "a new one").hint.unwrap();
        assert_eq!(hint(&folder.join("none.key")), "a new one");
        assert!(hint(&folder).contains("this is a folder"));
        let file = folder.join("a.key");
        std::fs::write(&file, "").unwrap();
        let denied = unread(&file, &ErrorKind::PermissionDenied.into()).hint.unwrap();
        assert!(denied.contains("belongs to user") && denied.contains("mode 6"), "{denied}");
    }

    /// An empty folder of a test's own.
    pub(crate) fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("statemesh-keys-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}
