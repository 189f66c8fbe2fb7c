//! Verbs that need no mesh: they run the engine here.

mod check;
mod draw;
mod simulate;

pub(crate) use check::check;
pub(crate) use draw::{draw, schema};
pub(crate) use simulate::simulate;

use crate::diagnostic::{self, Diagnostic};
use crate::failure::{Exit, Failure};
use crate::verbs::read_input;
use statemesh_engine::{Limits, Machine};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A definition's file and what the engine says about it.
pub(crate) struct Checked {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// The machine, if there is no error.
    pub(crate) machine: Option<Arc<Machine>>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Checked {
    fn read(path: &Path) -> Result<Checked, Failure> {
        Ok(Checked { path: path.to_owned(), text: read_input(path)?, machine: None, diagnostics: Vec::new() })
    }

    fn compile(&mut self, known: &BTreeMap<String, Arc<Machine>>) {
        let compiled = Machine::compile(self.text.as_bytes(), &Limits::default(), &|id| known.get(id).cloned());
        let found = match compiled {
            Ok(compiled) => {
                self.machine = Some(compiled.machine);
                compiled.warnings
            }
            Err(errors) => errors,
        };
        self.diagnostics = found.into_iter().map(Diagnostic::from).collect();
    }
}

/// Compiles the definitions of files, which may name each other's machines as children, in whatever order they are given.
fn compile(paths: &[PathBuf]) -> Result<Vec<Checked>, Failure> {
    let mut files = paths.iter().map(|path| Checked::read(path)).collect::<Result<Vec<_>, _>>()?;
    let mut known = BTreeMap::new();
    loop {
        let before = known.len();
        for file in files.iter_mut().filter(|file| file.machine.is_none()) {
            file.compile(&known);
            known.extend(file.machine.iter().map(|machine| (machine.id().to_owned(), Arc::clone(machine))));
        }
        if known.len() == before {
            return Ok(files);
        }
    }
}

/// The machine of one file, with those that it names in `with`; what is wrong is shown on stderr.
fn machine(path: &Path, with: &[PathBuf]) -> Result<Arc<Machine>, Failure> {
    let paths: Vec<_> = with.iter().cloned().chain([path.to_owned()]).collect();
    let files = compile(&paths)?;
    for file in &files {
        let errors = file.diagnostics.iter().filter(|found| found.severity == "error");
        errors.for_each(|found| diagnostic::print(&file.path, &file.text, found));
    }
    let machine = files.into_iter().next_back().and_then(|file| file.machine);
    machine.ok_or_else(|| {
        let message = format!("{}: the definition has errors", path.display());
        Failure::new(Exit::Refused, "invalid_definition", message)
    })
}

impl From<statemesh_engine::Diagnostic> for Diagnostic {
    fn from(found: statemesh_engine::Diagnostic) -> Diagnostic {
        Diagnostic {
            severity: found.severity.as_str().to_owned(),
            code: found.code.to_owned(),
            path: found.path,
            line: usize::try_from(found.line).unwrap_or(0),
            column: usize::try_from(found.column).unwrap_or(0),
            message: found.message,
            hint: found.hint,
        }
    }
}
