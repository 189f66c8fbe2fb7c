//! `cargo xtask mutants`: each broken daemon is built, and run until the simulator catches it.
//!
//! All are built in one copy of the checkout, one after the other, so that each build does again only what the change of one
//! place asks for.

use crate::command;
use crate::failure::Failure;
use crate::mutants::{MUTANTS, Mutant};
use crate::workspace::Workspace;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What building one may take; the first build is of everything.
const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);
/// For how long one is looked for, after which nothing has caught it.
const HUNT_LIMIT: Duration = Duration::from_secs(40 * 60);
/// Seeds in which a mutant must be caught, behind all scenarios; and those that the daemon must pass as it is.
const SEEDS: (&str, &str) = ("100", "4");
/// The simulator and nothing else, so that a first build is of little more than what a mutant changes.
const BUILD: [&str; 8] =
    ["cargo", "build", "--quiet", "--workspace", "--features", "statemesh/kubernetes", "--bin", "statemesh-sim"];
const ENV: [(&str, &str); 1] = [("CARGO_TARGET_DIR", "{target}")];

/// What a hunt came to.
pub(crate) struct Hunt {
    /// For each mutant its name, and what caught it.
    pub(crate) rows: Vec<(&'static str, Option<String>)>,
    /// What it took.
    pub(crate) took: Duration,
}

impl Hunt {
    /// Those that nothing caught.
    pub(crate) fn missed(&self) -> Vec<&'static str> {
        self.rows.iter().filter(|(_, caught)| caught.is_none()).map(|(name, _)| *name).collect()
    }
}

/// Hunts all mutants, or those whose names contain one of these words. With a list, those that were caught before are on it, and
/// are left out; each that is caught is put on it.
pub(crate) fn run(workspace: &Workspace, names: &[String], list: Option<&Path>) -> Result<Hunt, Failure> {
    all_name_some(names)?;
    let began = Instant::now();
    let before = caught_before(list);
    let folder = workspace.target.join("mutants");
    let ground = Ground::new(workspace, &folder)?;
    println!("=== the daemon as it is");
    if let Some(caught) = ground.hunt(SEEDS.1)? {
        return Err(Failure::Found(format!("the daemon fails without a mutant, so that none can be judged: {caught}")));
    }
    println!("=== it passes: {:.0} s with its build", began.elapsed().as_secs_f64());
    let mut rows = Vec::new();
    for mutant in MUTANTS.iter().filter(|mutant| is_named(mutant, names)) {
        if let Some(how) = before.get(mutant.name) {
            rows.push((mutant.name, Some(how.clone())));
            continue;
        }
        println!("=== {}", mutant.name);
        let began = Instant::now();
        let caught = ground.one(mutant)?;
        let how = caught.as_deref().unwrap_or("NOT CAUGHT");
        println!("--- {}: {how} ({:.0} s with its build)", mutant.name, began.elapsed().as_secs_f64());
        if let (Some(how), Some(list)) = (&caught, list) {
            note(list, mutant.name, how)?;
        }
        rows.push((mutant.name, caught));
    }
    let hunt = Hunt { rows, took: began.elapsed() };
    println!();
    for (name, caught) in &hunt.rows {
        println!("{name:64} {}", caught.as_deref().unwrap_or("NOT CAUGHT"));
    }
    let missed = hunt.missed().len();
    println!("{} passed, {missed} failed, in {:.1} minutes", hunt.rows.len() - missed, hunt.took.as_secs_f64() / 60.0);
    Ok(hunt)
}

/// A word that names no mutant is told before the minutes that the daemon as it is takes.
fn all_name_some(names: &[String]) -> Result<(), Failure> {
    let names_none = |word: &&String| !MUTANTS.iter().any(|mutant| mutant.name.contains(word.as_str()));
    names.iter().find(names_none).map_or(Ok(()), |name| {
        let known: Vec<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        Err(Failure::Unknown { kind: "mutant", name: name.clone(), known: known.join("; ") })
    })
}

/// A line of the list is a name, a tab, and what caught it.
fn caught_before(list: Option<&Path>) -> BTreeMap<String, String> {
    let text = list.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once('\t')).map(|(name, how)| (name.to_owned(), how.to_owned())).collect()
}

fn note(list: &Path, name: &str, how: &str) -> Result<(), Failure> {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(list);
    file.and_then(|mut file| writeln!(file, "{name}\t{how}")).map_err(Failure::file(list))
}

fn is_named(mutant: &Mutant, names: &[String]) -> bool {
    names.is_empty() || names.iter().any(|name| mutant.name.contains(name.as_str()))
}

/// The copy of the checkout, and where it is built.
struct Ground {
    place: Workspace,
}

impl Ground {
    fn new(workspace: &Workspace, folder: &Path) -> Result<Self, Failure> {
        let tree = folder.join("tree");
        copy(workspace, &tree)?;
        Ok(Self { place: Workspace { root: tree, target: folder.join("target"), ci: false } })
    }

    /// Says what caught it; none if nothing did.
    fn one(&self, mutant: &Mutant) -> Result<Option<String>, Failure> {
        let path = self.place.root.join(mutant.file);
        let text = read(&path)?;
        if text.matches(mutant.from).count() != 1 {
            return Err(stale(mutant));
        }
        write(&path, &text.replace(mutant.from, mutant.to))?;
        let caught = self.hunt(SEEDS.0);
        write(&path, &text)?;
        caught.map_err(|failure| Failure::Found(format!("mutant \"{}\": {failure}", mutant.name)))
    }

    fn hunt(&self, seeds: &str) -> Result<Option<String>, Failure> {
        let built = command::run(command::prepare(&self.place, &BUILD, &ENV)?, BUILD_LIMIT)?;
        if !built.well() {
            return Err(Failure::Ended { name: BUILD.join(" "), how: built.how() });
        }
        let words = ["{simulator}", "--until-failure", "--seeds", seeds];
        let ended = command::run(command::prepare(&self.place, &words, &ENV)?, HUNT_LIMIT)?;
        let caught = ended.lines.into_iter().find(|line| line.starts_with("caught "));
        match (caught, ended.status) {
            // A simulator that is ended by a signal, as for want of memory or stack, has found something too.
            (None, Some(status)) if !status.success() => Ok(Some(format!("caught by its end: {status}"))),
            (caught, _) => Ok(caught),
        }
    }
}

fn stale(mutant: &Mutant) -> Failure {
    Failure::Found(format!("mutant \"{}\": {} does not have its text once any more", mutant.name, mutant.file))
}

/// Makes the tree what git knows of the checkout, as it is there. A file that is the same is left alone: cargo goes by the times
/// of files, and one of the last run may be a mutant still.
fn copy(workspace: &Workspace, tree: &Path) -> Result<(), Failure> {
    let mut list = command::prepare(workspace, &["git", "ls-files", "-z"], &[])?;
    let output = list.output().map_err(Failure::program("git ls-files"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let known: BTreeSet<PathBuf> = text.split_terminator('\0').map(PathBuf::from).collect();
    for file in &known {
        let (from, to) = (workspace.root.join(file), tree.join(file));
        // What was deleted, and not yet committed; and links, of which no crate is made.
        if !from.is_file() {
            continue;
        }
        let bytes = std::fs::read(&from).map_err(Failure::file(&from))?;
        if std::fs::read(&to).ok().as_ref() != Some(&bytes) {
            let folder = to.parent().unwrap_or(tree);
            std::fs::create_dir_all(folder).map_err(Failure::file(&folder))?;
            std::fs::write(&to, bytes).map_err(Failure::file(&to))?;
        }
    }
    remove_others(tree, Path::new(""), &|file| workspace.root.join(file).is_file() && known.contains(file))
}

fn remove_others(tree: &Path, inner: &Path, belongs: &dyn Fn(&Path) -> bool) -> Result<(), Failure> {
    let folder = tree.join(inner);
    for entry in std::fs::read_dir(&folder).map_err(Failure::file(&folder))?.flatten() {
        let file = inner.join(entry.file_name());
        if entry.path().is_dir() {
            remove_others(tree, &file, belongs)?;
        } else if !belongs(&file) && file != Path::new("Cargo.lock") {
            std::fs::remove_file(entry.path()).map_err(Failure::file(&entry.path()))?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(Failure::file(&path))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(Failure::file(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_names_no_mutant_is_refused() {
        let named =
            |words: &[&str]| all_name_some(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).is_ok();
        assert_eq!(
            [named(&[]), named(&["standby"]), named(&["--help"]), named(&["standby", "nothing of it"])],
            [true, true, false, false]
        );
    }

    #[test]
    fn what_was_caught_is_on_the_list() {
        let list = std::env::temp_dir().join(format!("statemesh-caught-{}", std::process::id()));
        assert!(caught_before(Some(&list)).is_empty());
        note(&list, "a", "caught by seed 1: b").unwrap();
        note(&list, "c", "caught by seed 2").unwrap();
        let caught = caught_before(Some(&list));
        std::fs::remove_file(&list).unwrap();
        assert_eq!((caught.len(), caught["a"].as_str()), (2, "caught by seed 1: b"));
        assert!(caught_before(None).is_empty());
    }

    #[test]
    fn every_mutant_has_its_place_in_the_code_once() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for mutant in MUTANTS {
            let text = std::fs::read_to_string(root.join(mutant.file)).unwrap_or_default();
            let times = text.matches(mutant.from).count();
            assert_eq!(times, 1, "mutant \"{}\": {} has its text {times} times", mutant.name, mutant.file);
        }
    }
}
