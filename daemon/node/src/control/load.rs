//! Definitions that are given at start, as files and folders.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use statemesh_engine::{Circle, Diagnostic, Machine, UNNAMED};

use crate::limits::Limits;
use crate::node::StartError;

/// A definition that is given at start.
#[derive(Debug)]
pub struct Loaded {
    pub(crate) machine: Arc<Machine>,
}

/// Why a definition that is given at start is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The system does not let it be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It does not compile; each finding is a line.
    #[error("{}", lines(.0))]
    Compile(Vec<Diagnostic>),
    /// It is one of some that invoke each other.
    #[error("{0}: none of them can be the first one")]
    Circle(Circle),
    /// Another file has a different definition of the same id.
    #[error("{}", shared_id(id, other))]
    Namesake {
        /// The id of both.
        id: String,
        /// The other file.
        other: PathBuf,
    },
}

fn shared_id(id: &str, other: &Path) -> String {
    match id {
        UNNAMED => format!("it has no id, as {} has none", other.display()),
        id => format!("the id {id:?} is that of {} too", other.display()),
    }
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Loads the definitions of files, and of folders: their `*.json`, or the `machine.json` of each folder in them.
///
/// # Errors
/// A file that can't be read, a definition that does not compile, or two of one id.
pub fn load_definitions(paths: &[PathBuf], limits: &Limits) -> Result<Vec<Loaded>, StartError> {
    let mut sources = Vec::new();
    for path in paths {
        for file in files_of(path).map_err(|error| failed(path, error.into()))? {
            let text = std::fs::read(&file).map_err(|error| failed(&file, error.into()))?;
            sources.push((file, text));
        }
    }
    compile_definitions(sources, limits)
}

fn failed(path: &Path, source: LoadError) -> StartError {
    StartError::Definition { path: path.to_owned(), source }
}

/// Compiles definitions, each with the file that it is from.
///
/// # Errors
/// One that does not compile, or two of one id.
pub fn compile_definitions(mut sources: Vec<(PathBuf, Vec<u8>)>, limits: &Limits) -> Result<Vec<Loaded>, StartError> {
    refuse_namesakes(&sources)?;
    let mut loaded: BTreeMap<String, Arc<Machine>> = BTreeMap::new();
    let mut good = Vec::new();
    // A machine may name another that comes later: go round as long as that brings something.
    while !sources.is_empty() {
        let before = sources.len();
        let mut problems = Vec::new();
        sources.retain(|(file, text)| {
            let resolve = |name: &str| loaded.get(name).cloned();
            match Machine::compile(text, &limits.of_engine(), &resolve) {
                Ok(compiled) => {
                    for warning in &compiled.warnings {
                        tracing::warn!(file = %file.display(), "{warning}");
                    }
                    loaded.insert(compiled.machine.id().to_owned(), Arc::clone(&compiled.machine));
                    good.push(Loaded { machine: compiled.machine });
                    false
                }
                Err(diagnostics) => {
                    problems.push((file.clone(), diagnostics));
                    true
                }
            }
        });
        if sources.len() == before
            && let Some((file, diagnostics)) = problems.into_iter().next()
        {
            if let Err(circle) = statemesh_engine::order(sources.iter().map(|(_, text)| text.as_slice())) {
                return Err(failed(&file, LoadError::Circle(circle)));
            }
            return Err(failed(&file, LoadError::Compile(diagnostics)));
        }
    }
    Ok(good)
}

/// Two files of one id that say different things: which of them the mesh would run depends on their names. The same text twice, as where a
/// file and its folder are given, is one machine.
fn refuse_namesakes(sources: &[(PathBuf, Vec<u8>)]) -> Result<(), StartError> {
    for (id, places) in statemesh_engine::namesakes(sources.iter().map(|(_, text)| text.as_slice())) {
        let mut named = places.iter().filter_map(|place| sources.get(*place));
        let Some((first, text)) = named.next() else { continue };
        if let Some((other, _)) = named.find(|(_, other)| other != text) {
            return Err(failed(other, LoadError::Namesake { id, other: first.clone() }));
        }
    }
    Ok(())
}

fn files_of(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?.path();
        if entry.is_dir() {
            files.extend(Some(entry.join("machine.json")).filter(|file| file.is_file()));
        } else if entry.extension().is_some_and(|extension| extension == "json") {
            files.push(entry);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(machines: &[(&str, &str)]) -> Result<Vec<String>, StartError> {
        let source = |(id, src): &(&str, &str)| {
            let invoke = if src.is_empty() { String::new() } else { format!(r#""invoke":{{"src":"{src}"}},"#) };
            let text = format!(r#"{{"id":"{id}",{invoke}"initial":"a","states":{{"a":{{}}}}}}"#);
            (format!("{id}.json").into(), text.into_bytes())
        };
        let loaded = compile_definitions(machines.iter().map(source).collect(), &Limits::default())?;
        Ok(loaded.iter().map(|one| one.machine.id().to_owned()).collect())
    }

    #[test]
    fn two_files_of_one_id_are_both_named() {
        let file = |name: &str, tag: &str| {
            let text = format!(r#"{{"id":"m","initial":"a","states":{{"a":{{"tags":"{tag}"}}}}}}"#);
            (PathBuf::from(name), text.into_bytes())
        };
        let told = |files: Vec<_>| compile_definitions(files, &Limits::default()).map(|loaded| loaded.len());
        let refused = told(vec![file("x/one.json", "t"), file("x/two.json", "u")]).unwrap_err().to_string();
        assert_eq!(refused, r#"x/two.json: the id "m" is that of x/one.json too"#);
        assert_eq!(told(vec![file("x/one.json", "t"), file("x/one.json", "t")]).unwrap(), 2, "given twice");
    }

    #[test]
    fn files_may_name_machines_of_later_ones_and_a_circle_is_named() {
        assert_eq!(loaded(&[("a", "b"), ("b", "c"), ("c", "")]).unwrap(), ["c", "b", "a"]);
        let circle = loaded(&[("a", "b"), ("b", "a")]).unwrap_err().to_string();
        assert!(circle.contains("a invokes b invokes a"), "{circle}");
        let missing = loaded(&[("a", "x")]).unwrap_err().to_string();
        assert!(missing.contains("no machine \"x\" is defined"), "{missing}");
    }
}
