//! The machines that `up` defines: a folder's `*.json`, and the `machine.json` of each of its folders; or one file.

use crate::diagnostic;
use crate::failure::{Exit, Failure};
use crate::input::{read_definition, read_input};
use crate::output::{Format, say};
use crate::remote::{self, Remote};
use crate::verbs::refuse_namesakes;
use statemesh_client::{Ask, Op};
use statemesh_engine::{Limits, Machine};
use std::path::{Path, PathBuf};

/// The folder that is taken if none is named and it exists.
const USUAL: &str = "examples";
const MAX_MACHINES: usize = 1_000;

/// Finds the definitions, in the order of their names. Two of one id are a mistake, which is told before anything has begun.
pub(crate) fn find(named: Option<&Path>) -> Result<Vec<PathBuf>, Failure> {
    let files = files_of(named)?;
    // What cannot be read is told as it is defined.
    let texts: Vec<_> = files.iter().filter_map(|path| Some((path.clone(), read_input(path).ok()?))).collect();
    refuse_namesakes(&texts)?;
    Ok(files)
}

fn files_of(named: Option<&Path>) -> Result<Vec<PathBuf>, Failure> {
    if let Some(file) = named.filter(|path| path.is_file()) {
        return Ok(vec![file.to_owned()]);
    }
    let folder = match named {
        Some(folder) => folder,
        None if Path::new(USUAL).is_dir() => Path::new(USUAL),
        None => return Ok(Vec::new()),
    };
    let entries = std::fs::read_dir(folder).map_err(|error| Failure::file(folder, &error))?;
    let mut files: Vec<_> = entries.flatten().filter_map(|entry| definition(entry.path())).take(MAX_MACHINES).collect();
    files.sort();
    if files.is_empty() && named.is_some() {
        return Err(Failure::usage(format!("{}: no definition here", folder.display()))
            .hint("put them in as NAME.json or NAME/machine.json"));
    }
    Ok(files)
}

fn definition(path: PathBuf) -> Option<PathBuf> {
    let inner = path.join("machine.json");
    if inner.is_file() {
        return Some(inner);
    }
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    (is_json && path.is_file()).then_some(path)
}

/// A machine that was defined, and an event that it knows.
#[derive(Debug)]
pub(crate) struct Defined {
    pub(crate) machine: String,
    pub(crate) file: PathBuf,
    pub(crate) event: Option<String>,
}

/// The first event that the definition names, for an example; none if it needs other machines to compile.
fn first_event(text: &str) -> Option<String> {
    let compiled = Machine::compile(text.as_bytes(), &Limits::default(), &|_| None).ok()?;
    let events = compiled.machine;
    let mut sent = events.event_descriptors().filter(|name| !name.contains('*') && !name.starts_with("xstate."));
    sent.next().map(str::to_owned)
}

/// Defines them. One that names another as its child waits for it; one that stays refused is shown, and the others go on.
pub(crate) fn define(remote: &mut Remote, files: &[PathBuf]) -> Result<Vec<Defined>, Failure> {
    let mut waiting = Vec::new();
    for path in files {
        match read_definition(path, Format::Table) {
            Ok(text) => waiting.push((path, text)),
            Err(failure) => show(path, "", &failure),
        }
    }
    let mut defined = Vec::new();
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut refused = Vec::new();
        for (path, text) in waiting {
            let ask = Ask { definition: Some(text.as_bytes()), ..remote::ask(Op::Define) };
            match remote.ask(&ask) {
                Ok(reply) => defined.push(Defined {
                    machine: reply["machine"].as_str().unwrap_or_default().to_owned(),
                    file: path.clone(),
                    event: first_event(&text),
                }),
                Err(failure) if failure.exit == Exit::Refused => refused.push((path, text, failure)),
                Err(failure) => return Err(failure),
            }
        }
        if refused.len() == before {
            refused.iter().for_each(|(path, text, failure)| show(path, text, failure));
            if let Err(circle) = statemesh_engine::order(refused.iter().map(|(_, text, _)| text.as_bytes())) {
                say!("warning: {circle}; {}", diagnostic::OUT_OF_CIRCLE);
            }
            break;
        }
        waiting = refused.into_iter().map(|(path, text, _)| (path, text)).collect();
    }
    defined.sort_by(|a, b| a.machine.cmp(&b.machine));
    Ok(defined)
}

fn show(path: &Path, text: &str, failure: &Failure) {
    diagnostic::print_reply(path, text, &failure.diagnostics);
    let why = match failure.diagnostics.is_empty() {
        true => format!(": {failure}"),
        false => String::new(),
    };
    say!("warning: {} is not defined{why}", path.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_files_and_folders_with_one() {
        let folder = std::env::temp_dir().join(format!("statemesh-machines-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("order")).unwrap();
        std::fs::write(folder.join("order/machine.json"), r#"{"id":"order"}"#).unwrap();
        std::fs::write(folder.join("breaker.json"), r#"{"id":"breaker"}"#).unwrap();
        std::fs::write(folder.join("README.md"), "").unwrap();
        let found = find(Some(&folder)).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, [folder.join("breaker.json"), folder.join("order/machine.json")]);
        assert!(find(Some(&folder)).is_err());
    }

    #[test]
    fn one_file_is_taken_and_two_of_one_id_are_refused() {
        let folder = std::env::temp_dir().join(format!("statemesh-namesakes-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = ["a.json", "b.json"].map(|name| folder.join(name));
        for file in &files {
            std::fs::write(file, r#"{"id":"m"}"#).unwrap();
        }
        let (one, both) = (find(Some(&files[0])), find(Some(&folder)));
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(one.unwrap(), files[..1]);
        let refused = both.unwrap_err().message;
        assert!(files.iter().all(|file| refused.contains(&file.display().to_string())), "{refused}");
    }
}
