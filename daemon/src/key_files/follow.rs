//! Follows the files of keys while a daemon runs: what changes there counts within two seconds, without a restart.

use super::{read_clients, read_gossip, read_own};
use statemesh_node::Handle;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the files are looked at. Their time, size and inode are compared, which also sees the exchange of a symbolic
/// link, as Kubernetes does it with a Secret; watching with inotify would have to know about such folders.
const EVERY: Duration = Duration::from_secs(1);

/// The files that are followed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followed {
    /// The daemon's own keys.
    pub(crate) own: Option<PathBuf>,
    /// The clients that are let in.
    pub(crate) clients: Option<PathBuf>,
    /// The gossip keys.
    pub(crate) gossip: Option<PathBuf>,
}

impl Followed {
    /// Those that hold secrets; that of the clients has public keys only.
    pub(crate) fn secret(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.own, &self.gossip].into_iter().flatten()
    }
}

/// What tells one version of a file from another.
type Stamp = Option<(i64, i64, u64, u64)>;

fn stamp(path: Option<&Path>) -> Stamp {
    let data = std::fs::metadata(path?).ok()?;
    Some((data.mtime(), data.mtime_nsec(), data.size(), data.ino()))
}

/// Follows the files until the task is dropped. That a file was read is logged once it counts: an operator who changes the
/// keys of a mesh step by step waits for that line. `read` at is the state in which the daemon began.
pub(crate) async fn follow(files: Followed, handle: Handle) {
    let look = |files: Followed| move || [&files.own, &files.clients, &files.gossip].map(|file| stamp(file.as_deref()));
    let mut seen = [None; 3];
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        let Ok(now) = tokio::task::spawn_blocking(look(files.clone())).await else { return };
        let [own, clients, gossip] = changed(&mut seen, now);
        if own {
            new_own_keys(files.own.clone(), handle.clone()).await;
        }
        if clients {
            new_clients(files.clients.clone(), handle.clone()).await;
        }
        if gossip {
            new_gossip_keys(files.gossip.clone(), &handle).await;
        }
    }
}

/// Which files are others than those that were seen last. One that is gone changes nothing.
fn changed<const N: usize>(seen: &mut [Stamp; N], now: [Stamp; N]) -> [bool; N] {
    let mut changed = [false; N];
    for ((seen, now), changed) in seen.iter_mut().zip(now).zip(&mut changed) {
        if now.is_some() && *seen != now {
            *seen = now;
            *changed = true;
        }
    }
    changed
}

async fn new_own_keys(path: Option<PathBuf>, handle: Handle) {
    let changed = tokio::task::spawn_blocking(move || {
        let path = path?;
        match read_own(&path) {
            Ok(own) => {
                let public = own.current.public.to_z85();
                let former = own.former.as_ref().map(|pair| pair.public.to_z85());
                handle.set_own_keys(own);
                tracing::info!(path = %path.display(), public, former, "read the daemon's keys");
            }
            Err(failure) => tracing::error!(%failure, "the daemon's keys stay as they were"),
        }
        Some(())
    });
    // It ends by a panic or not at all.
    let _ = changed.await;
}

/// A file that cannot be read, or is wrong, changes nothing: half a list must not lock clients out.
async fn new_clients(path: Option<PathBuf>, handle: Handle) {
    let changed = tokio::task::spawn_blocking(move || {
        let path = path?;
        match read_clients(&path) {
            Ok(clients) => {
                let count = clients.len();
                handle.set_clients(clients);
                tracing::info!(path = %path.display(), clients = count, "read the list of clients");
            }
            Err(failure) => tracing::error!(%failure, "the list of clients stays as it was"),
        }
        Some(())
    });
    // It ends by a panic or not at all.
    let _ = changed.await;
}

async fn new_gossip_keys(path: Option<PathBuf>, handle: &Handle) {
    let Some(path) = path else { return };
    let read = tokio::task::spawn_blocking(move || read_gossip(&path)).await;
    match read {
        Ok(Ok(keys)) => {
            let count = keys.len();
            match handle.set_gossip_keys(keys).await {
                Ok(()) => tracing::info!(keys = count, "read the gossip keys"),
                Err(error) => tracing::error!(%error, "the gossip keys stay as they were"),
            }
        }
        Ok(Err(failure)) => tracing::error!(%failure, "the gossip keys stay as they were"),
        Err(error) => tracing::error!(%error, "the gossip keys stay as they were"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::folder;
    use super::*;
    use std::fs::{File, create_dir, rename, write};
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    /// A version of a volume as kubelet writes it: a folder of its own, then the link `..data` to it, exchanged in one step.
    fn publish(volume: &Path, version: &str, text: &str) {
        create_dir(volume.join(version)).unwrap();
        let file = volume.join(version).join("clients.toml");
        write(&file, text).unwrap();
        // Two versions may be written within one tick of the file system's clock.
        File::options().append(true).open(file).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        symlink(version, volume.join("..data_tmp")).unwrap();
        rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    }

    #[test]
    fn only_the_files_that_changed_are_read_and_none_that_is_gone() {
        let [old, new] = [Some((1, 0, 9, 7)), Some((2, 0, 9, 8))];
        let mut seen = [None; 3];
        assert_eq!(changed(&mut seen, [old, old, None]), [true, true, false], "as the daemon starts");
        assert_eq!(changed(&mut seen, [old, old, None]), [false; 3]);
        assert_eq!(changed(&mut seen, [None, new, old]), [false, true, true]);
        assert_eq!(changed(&mut seen, [old, new, old]), [false; 3], "it is back as it was");
    }

    #[test]
    fn a_secret_volume_that_kubelet_exchanges_is_seen_even_at_the_same_size_and_time() {
        let volume = folder("volume");
        publish(&volume, "..2026_11_21_1", "# a\n");
        symlink("..data/clients.toml", volume.join("clients.toml")).unwrap();
        let path = volume.join("clients.toml");
        let first = stamp(Some(&path));
        assert!(first.is_some() && stamp(Some(&path)) == first, "nothing changed");
        publish(&volume, "..2026_11_21_2", "# b\n");
        assert_ne!(stamp(Some(&path)), first);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# b\n");
    }
}
