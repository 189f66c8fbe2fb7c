//! The tree's arrows: which crate may use which, that none leads up, that folders of a crate form no circle, and that the crates
//! of pure values depend on nothing that opens a socket, a file, a thread or a clock; that no type or function is too large, and
//! that errors are types.

use crate::count::Count;
use crate::failure::Failure;
use crate::workspace::Workspace;
use crate::{errors, prose, sizes};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which crate, by its folder, may use which. A crate stands below all that use it, so an arrow leads to a later line.
/// Crates that use what they like (tests, benchmarks, tools) are not in the table.
#[rustfmt::skip] // A table: one row for each crate.
const ARROWS: &[(&str, &[&str])] = &[
    ("daemon", &["daemon/gateway", "daemon/node", "daemon/shard", "daemon/load", "mesh/client", "mesh/transport", "mesh/protocol", "mesh", "engine", "engine/expr"]),
    ("tests/sim", &["daemon/node", "daemon/shard", "daemon/load", "mesh/transport", "mesh", "mesh/protocol", "engine", "engine/expr"]),
    ("k8s/operator", &["mesh/client"]),
    ("daemon/gateway", &["daemon/node", "mesh/protocol"]),
    ("daemon/node", &["daemon/shard", "daemon/journal", "daemon/claim", "mesh", "mesh/transport", "mesh/protocol", "engine", "engine/expr"]),
    ("daemon/load", &["mesh/client", "mesh/protocol", "mesh/transport"]),
    ("mesh/client", &["mesh/protocol", "mesh/transport", "engine/expr"]),
    ("daemon/shard", &["daemon/claim", "engine", "engine/expr", "mesh", "mesh/protocol"]),
    ("daemon/journal", &["mesh/protocol"]),
    ("mesh", &["mesh/protocol"]),
    ("mesh/protocol", &["engine/expr"]),
    ("engine", &["engine/expr"]),
    ("mesh/transport", &[]),
    ("daemon/claim", &[]),
    ("engine/expr", &[]),
];

/// Crates that may use what they like, since nothing uses them.
const FREE: &[&str] = &["benches", "tests", "tests/model", "fuzz", "xtask"];

/// Crates of pure values, and the crates of others that they may depend on, directly or not.
const PURE: &[&str] = &["engine/expr", "engine", "mesh/protocol", "mesh"];

/// What these depend on. None opens a socket, a file or a thread, or reads a clock: parsers, codecs, ciphers, macros, and
/// locks (`parking_lot` below the parser generator's runtime, which uses it for tables that are made once).
#[rustfmt::skip] // A list.
const HARMLESS: &[&str] = &[
    "aead", "antlr4rust", "bit-set", "bit-vec", "block-buffer", "byteorder", "bytes", "cel", "cfg-if", "chacha20",
    "chacha20poly1305", "cipher", "cpufeatures", "crc32c", "crypto-common", "digest", "foca", "generic-array", "inout", "lazy_static",
    "libc", "lock_api", "memchr", "minimal-lexical", "murmur3", "nom", "num-traits", "once_cell", "opaque-debug", "parking_lot",
    "parking_lot_core", "pastey", "pin-project-lite", "poly1305", "proc-macro2", "quote", "rand", "rand_core", "regex",
    "regex-automata", "regex-syntax", "rmp", "rmp-serde", "scopeguard", "serde", "serde_core", "serde_derive", "sha2",
    "slab", "smallvec", "smol_str", "subtle", "syn", "thiserror", "thiserror-impl", "tracing", "tracing-core", "typed-arena", "typenum",
    "unicode-ident", "universal-hash", "uuid", "zeroize",
];

/// Circles between folders that are known and not yet broken: crate, and the folders of the circle. Any other fails, and so does
/// one in here that is gone.
const KNOWN_CIRCLES: &[(&str, &str)] = &[];

/// All of it. Each crate is one test.
pub(crate) fn check(workspace: &Workspace) -> Result<Count, Failure> {
    let crates = crates(&workspace.root)?;
    let mut faults = Vec::new();
    faults.extend(arrows(&workspace.root, &crates)?);
    faults.extend(circles(&workspace.root, &crates)?);
    for folder in PURE {
        faults.extend(impure(workspace, folder, &crates)?);
    }
    let files = rust_files(&workspace.root)?;
    faults.extend(sizes::too_large(&workspace.root, files.iter().map(PathBuf::as_path))?);
    faults.extend(prose::vague(&workspace.root, files.iter().map(PathBuf::as_path))?);
    for folder in crates.keys().filter(|folder| !folder.starts_with("tests") && !FREE.contains(&folder.as_str())) {
        let files = rust_files(&workspace.root.join(folder).join("src"))?;
        faults.extend(errors::of_texts(&workspace.root, files.iter().map(PathBuf::as_path))?);
    }
    faults.iter().for_each(|fault| println!("{fault}"));
    let failed = faults.len() as u64;
    Ok(Count { passed: (crates.len() as u64).saturating_sub(failed), failed })
}

/// Package names by folder, of every member that is ours to judge.
fn crates(root: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let manifest = read(&root.join("Cargo.toml"))?;
    let members = manifest.split_once("members = [").and_then(|(_, rest)| rest.split_once(']'));
    let (members, _) = members.ok_or_else(|| Failure::Found("Cargo.toml has no list of members".to_owned()))?;
    let mut crates = BTreeMap::new();
    for folder in members.split('"').skip(1).step_by(2) {
        let text = read(&root.join(folder).join("Cargo.toml"))?;
        let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        crates
            .insert(folder.to_owned(), name.ok_or_else(|| Failure::Found(format!("{folder} has no name")))?.to_owned());
    }
    Ok(crates)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(Failure::file(&path))
}

/// Folders of the crates of ours that a crate depends on, its tests left out.
fn uses(root: &Path, folder: &str, crates: &BTreeMap<String, String>) -> Result<BTreeSet<String>, Failure> {
    let text = read(&root.join(folder).join("Cargo.toml"))?;
    let names = dependencies(&text);
    let of = |name: &str| crates.iter().find(|(_, package)| *package == name).map(|(folder, _)| folder.clone());
    Ok(names.into_iter().filter_map(of).collect())
}

/// What a manifest depends on, on any target, to be built; what its tests do is left out.
fn dependencies(manifest: &str) -> Vec<&str> {
    let sections = manifest.split("\n[").filter_map(|section| section.split_once(']'));
    let built = sections.filter(|(of, _)| {
        let kind = of.rsplit('.').next();
        matches!(kind, Some("dependencies" | "build-dependencies"))
    });
    built.flat_map(|(_, lines)| lines.lines().filter_map(|line| line.split(['.', ' ', '=']).next())).collect()
}

fn arrows(root: &Path, crates: &BTreeMap<String, String>) -> Result<Vec<String>, Failure> {
    let mut faults = Vec::new();
    for folder in crates.keys().filter(|folder| !FREE.contains(&folder.as_str())) {
        let Some(line) = ARROWS.iter().position(|(of, _)| of == folder) else {
            faults.push(format!("{folder} is not in the table of arrows (xtask/src/structure.rs)"));
            continue;
        };
        for used in uses(root, folder, crates)? {
            let below = ARROWS.iter().position(|(of, _)| *of == used).is_some_and(|other| other > line);
            if !below || !ARROWS[line].1.contains(&used.as_str()) {
                faults.push(format!("{folder} uses {used}, which the table of arrows does not allow"));
            }
        }
    }
    Ok(faults)
}

/// Folders of one crate that use each other in a circle.
fn circles(root: &Path, crates: &BTreeMap<String, String>) -> Result<Vec<String>, Failure> {
    let mut found = BTreeSet::new();
    for folder in crates.keys() {
        let source = root.join(folder).join("src");
        let modules = modules(&source)?;
        for circle in circle_of(&modules) {
            found.insert((folder.clone(), circle));
        }
    }
    let known: BTreeSet<_> =
        KNOWN_CIRCLES.iter().map(|(folder, circle)| ((*folder).to_owned(), (*circle).to_owned())).collect();
    let new = found.difference(&known).map(|(folder, circle)| format!("{folder}: folders in a circle: {circle}"));
    let gone =
        known.difference(&found).map(|(folder, circle)| format!("{folder}: no circle any more, strike it: {circle}"));
    Ok(new.chain(gone).collect())
}

/// A crate's first level: for each file or folder whether it is a folder, and what it uses of that level.
type Modules = BTreeMap<String, (bool, BTreeSet<String>)>;

fn modules(source: &Path) -> Result<Modules, Failure> {
    let mut modules = Modules::new();
    for path in rust_files(source)?.into_iter().filter(|path| !path.ends_with("tests.rs")) {
        let inner = path.strip_prefix(source).unwrap_or(&path).to_path_buf();
        let mut parts = inner.iter().map(|part| part.to_string_lossy().into_owned());
        let (Some(first), second) = (parts.next(), parts.next()) else { continue };
        let name = first.trim_end_matches(".rs").to_owned();
        let top = second.as_deref().is_none_or(|second| second == "mod.rs");
        let text = read(&path)?;
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let module = modules.entry(name).or_default();
        module.0 |= second.is_some();
        module.1.extend(named_after(text, "crate::"));
        if top {
            module.1.extend(named_after(text, "super::"));
        }
    }
    let names: BTreeSet<String> = modules.keys().cloned().collect();
    for (name, (_, used)) in &mut modules {
        used.retain(|other| other != name && names.contains(other));
    }
    Ok(modules)
}

/// Folders in which nothing is ours.
const FOREIGN: &[&str] = &["target", "node_modules"];

/// Those of ours in a folder and below it; what begins with a dot is not looked into.
fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Failure::file(&folder))?.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !FOREIGN.contains(&name.as_str()) {
                files.extend(rust_files(&path)?);
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// The words behind each `prefix`, those in braces too: `crate::{a, b::c}` names a and b.
fn named_after(text: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, rest) in text.match_indices(prefix).map(|(at, _)| text.split_at(at + prefix.len())) {
        let list = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or(rest, |(list, _)| list);
        let items: Vec<&str> = if rest.starts_with('{') { list.split(',').collect() } else { vec![list] };
        for item in items {
            let word: String = item.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            names.insert(word);
        }
    }
    names
}

/// Every circle that two folders are in, as their names with commas.
fn circle_of(modules: &Modules) -> BTreeSet<String> {
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        modules.keys().map(|name| (name, reachable(modules, name))).collect();
    let folders = modules.iter().filter(|(_, (is_folder, _))| *is_folder).map(|(name, _)| name);
    let mut circles = BTreeSet::new();
    for name in folders.clone() {
        let circle: Vec<&str> = folders
            .clone()
            .filter(|other| *other == name || (reach[name].contains(other) && reach[other].contains(name)))
            .map(String::as_str)
            .collect();
        if circle.len() > 1 {
            circles.insert(circle.join(", "));
        }
    }
    circles
}

fn reachable<'a>(modules: &'a Modules, from: &'a str) -> BTreeSet<&'a String> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&String> = modules.get(from).into_iter().flat_map(|(_, used)| used).collect();
    while let Some(name) = next.pop() {
        if seen.insert(name) {
            next.extend(modules.get(name).into_iter().flat_map(|(_, used)| used));
        }
    }
    seen
}

/// What a crate of pure values depends on and must not.
fn impure(workspace: &Workspace, folder: &str, crates: &BTreeMap<String, String>) -> Result<Vec<String>, Failure> {
    let package = crates.get(folder).ok_or_else(|| Failure::Found(format!("there is no crate {folder}")))?;
    let tree = ["tree", "--quiet", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", package];
    let output = Command::new("cargo").args(tree).current_dir(&workspace.root).output();
    let output = output.map_err(Failure::program("cargo tree"))?;
    if !output.status.success() {
        return Err(Failure::Ended {
            name: "cargo tree".to_owned(),
            how: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    let ours = |name: &str| crates.values().any(|package| package == name);
    let foreign = names.into_iter().filter(|name| !name.is_empty() && !ours(name) && !HARMLESS.contains(name));
    Ok(foreign.map(|name| format!("{folder} depends on {name}, which is not on the list of harmless crates")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_found_with_braces_and_without() {
        let names = named_after("use crate::{alpha, beta::x, Gamma};\nlet a = crate::delta::y();", "crate::");
        let expected: BTreeSet<String> = ["alpha", "beta", "", "delta"].map(str::to_owned).into();
        assert_eq!(names, expected);
    }

    #[test]
    fn a_circle_between_folders_is_found_also_through_a_file() {
        let module = |is_folder, used: &[&str]| (is_folder, used.iter().map(|name| (*name).to_owned()).collect());
        let modules: Modules = [
            ("a".to_owned(), module(true, &["f"])),
            ("f".to_owned(), module(false, &["b"])),
            ("b".to_owned(), module(true, &["a"])),
            ("c".to_owned(), module(true, &["a"])),
        ]
        .into();
        assert_eq!(circle_of(&modules), BTreeSet::from(["a, b".to_owned()]));
    }

    #[test]
    fn what_a_crate_needs_on_one_target_or_for_its_build_is_a_dependency_and_what_its_tests_need_is_not() {
        let manifest = "[package]\nname = \"a\"\n[dependencies]\nb.workspace = true\n\n[target.'cfg(not(loom))'.dependencies]\nc = \"1\"\n\
                        [build-dependencies]\nd = \"1\"\n[dev-dependencies]\ne = \"1\"\n";
        let found: Vec<&str> = dependencies(manifest).into_iter().filter(|name| !name.is_empty()).collect();
        assert_eq!(found, ["b", "c", "d"]);
    }

    #[test]
    fn no_arrow_of_the_table_leads_up() {
        for (line, (folder, used)) in ARROWS.iter().enumerate() {
            for other in *used {
                let at = ARROWS.iter().position(|(of, _)| of == other).unwrap();
                assert!(at > line, "{folder} -> {other}");
            }
        }
    }
}
