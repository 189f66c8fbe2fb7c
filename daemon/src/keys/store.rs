//! Where texts of keys are kept: files of a folder, or entries of a Kubernetes Secret. A change reads them, decides, and
//! writes; if others have written meanwhile, it begins again.

use crate::failure::{Exit, Failure};
use crate::key_files::{read_text, replace};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Texts by name.
pub(super) type Entries = BTreeMap<String, String>;

/// How often a change begins again because others were faster. Each of them got its change in, so that this many in a row
/// are a fault of theirs.
const MAX_TRIES: usize = 8;

/// A place for texts.
pub(super) trait Store {
    /// What tells whether the texts are still those that were read.
    type Seen;

    /// Reads the texts.
    fn load(&self) -> Result<(Entries, Self::Seen), Failure>;

    /// Writes those that changed; all, or none and `false` if others wrote since `seen`.
    fn save(&self, seen: Self::Seen, changed: &Entries) -> Result<bool, Failure>;

    /// What a person calls an entry.
    fn name(&self, entry: &str) -> String;
}

/// Changes what is in a store: `decide` sees all texts and gives those that are to be written, none for none. It runs again
/// if others were faster.
pub(super) fn change<S: Store, T>(
    store: &S,
    mut decide: impl FnMut(&Entries) -> Result<(Entries, T), Failure>,
) -> Result<T, Failure> {
    for _ in 0..MAX_TRIES {
        let (entries, seen) = store.load()?;
        let (changed, outcome) = decide(&entries)?;
        if changed.is_empty() || store.save(seen, &changed)? {
            return Ok(outcome);
        }
    }
    let message = format!("others changed it {MAX_TRIES} times while this was under way; nothing was done");
    Err(Failure::new(Exit::Refused, "conflict", message).hint("try again"))
}

/// Files of one folder.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// Those that are read; there may be others, which are none of our business.
    names: Vec<String>,
}

impl Files {
    /// These files of a folder.
    pub(super) fn new(folder: &Path, names: &[&str]) -> Files {
        Files { folder: folder.to_owned(), names: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    /// These files, and one more of the same folder.
    pub(super) fn and(mut self, name: &str) -> Files {
        self.names.push(name.to_owned());
        self
    }

    /// One file, and its name in the store.
    pub(super) fn one(path: &Path) -> Result<(Files, String), Failure> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Failure::usage(format!("'{}' is no name of a file", path.display())))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Ok((Files::new(folder, &[name]), name.to_owned()))
    }
}

impl Store for Files {
    /// The folder, locked until this is dropped: two runs of a verb come one after the other.
    type Seen = File;

    fn load(&self) -> Result<(Entries, File), Failure> {
        let folder = if self.folder.as_os_str().is_empty() { Path::new(".") } else { &self.folder };
        let lock = File::open(folder).and_then(|file| file.lock().map(|()| file));
        let lock = lock.map_err(|error| Failure::file(folder, &error))?;
        let mut entries = Entries::new();
        for name in &self.names {
            let path = self.folder.join(name);
            if path.exists() {
                entries.insert(name.clone(), read_text(&path)?);
            }
        }
        Ok((entries, lock))
    }

    fn save(&self, _lock: File, changed: &Entries) -> Result<bool, Failure> {
        for (name, text) in changed {
            replace(&self.folder.join(name), text)?;
        }
        Ok(true)
    }

    fn name(&self, entry: &str) -> String {
        self.folder.join(entry).display().to_string()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::key_files::tests::folder;
    use std::cell::{Cell, RefCell};

    /// A store in memory in which another writer is faster a number of times.
    #[derive(Default)]
    pub(crate) struct Contended {
        pub(crate) entries: RefCell<Entries>,
        pub(crate) rivals: Cell<usize>,
    }

    impl Store for Contended {
        type Seen = ();

        fn load(&self) -> Result<(Entries, ()), Failure> {
            Ok((self.entries.borrow().clone(), ()))
        }

        fn save(&self, (): (), changed: &Entries) -> Result<bool, Failure> {
            let rivals = self.rivals.get();
            let mut entries = self.entries.borrow_mut();
            if rivals > 0 {
                self.rivals.set(rivals - 1);
                entries.insert(format!("rival-{rivals}"), "theirs".to_owned());
                return Ok(false);
            }
            entries.extend(changed.clone());
            Ok(true)
        }

        fn name(&self, entry: &str) -> String {
            entry.to_owned()
        }
    }

    /// Writes how many entries there were.
    fn count(entries: &Entries) -> Result<(Entries, usize), Failure> {
        Ok((Entries::from([("count".to_owned(), entries.len().to_string())]), entries.len()))
    }

    #[test]
    fn a_change_that_lost_a_race_is_decided_anew_on_what_the_winner_wrote() {
        let store = Contended { rivals: Cell::new(3), ..Contended::default() };
        assert_eq!(change(&store, count).unwrap(), 3);
        assert_eq!(store.entries.borrow()["count"], "3");
        assert_eq!(store.entries.borrow().len(), 4, "what the others wrote is still there");
    }

    #[test]
    fn a_change_that_never_wins_gives_up_and_says_so() {
        let store = Contended { rivals: Cell::new(MAX_TRIES), ..Contended::default() };
        assert_eq!(change(&store, count).unwrap_err().code, "conflict");
        assert!(!store.entries.borrow().contains_key("count"));
    }

    #[test]
    fn changes_of_many_threads_to_one_file_all_count() {
        let path = folder("threads").join("list");
        std::thread::scope(|scope| {
            for index in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let (files, name) = Files::one(path).unwrap();
                    let longer = |entries: &Entries| {
                        let text = entries.get(&name).cloned().unwrap_or_default();
                        Ok((Entries::from([(name.clone(), format!("{text}{index}\n"))]), ()))
                    };
                    change(&files, longer).unwrap();
                });
            }
        });
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 8);
    }
}
