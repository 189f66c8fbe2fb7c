//! Verbs that need no mesh: they run the engine here.

mod args;
mod check;
mod draw;
mod expect;
mod export;
mod init;
mod live;
mod simulate;

pub(crate) use args::{CheckArgs, DrawArgs, ExportArgs, ImportArgs, InitArgs, SimulateArgs};
pub(crate) use check::check;
pub(crate) use draw::{draw, schema};
pub(crate) use export::{export, import};
pub(crate) use init::init;
pub(crate) use simulate::simulate;

use crate::diagnostic::{self, Diagnostic};
use crate::failure::{Exit, Failure};
use crate::input::read_input;
use crate::output::Format;
use statemesh_engine::{Circle, Faults, Limits, Machine, UNNAMED, XSTATE4, namesakes};
use std::collections::{BTreeMap, BTreeSet};
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

    fn compile(&mut self, known: &BTreeMap<String, Arc<Machine>>, faults: Option<Faults>) {
        let compiled = Machine::compile(self.text.as_bytes(), &Limits::default(), &|id| known.get(id).cloned());
        let found = match compiled {
            Ok(mut compiled) => {
                faults.into_iter().for_each(|faults| compiled.set_faults(faults));
                self.machine = Some(compiled.machine);
                compiled.warnings
            }
            Err(errors) => errors,
        };
        self.diagnostics = found.into_iter().map(Diagnostic::from).collect();
    }
}

/// Compiles the definitions of files, which may name each other's machines as children, in whatever order they are given. `faults`
/// goes before what they say.
fn compile(paths: &[PathBuf], faults: Option<Faults>) -> Result<Vec<Checked>, Failure> {
    let files = paths.iter().map(|path| Checked::read(path)).collect::<Result<Vec<_>, _>>()?;
    Ok(compiled(files, faults))
}

fn compiled(mut files: Vec<Checked>, faults: Option<Faults>) -> Vec<Checked> {
    let mut known = BTreeMap::new();
    loop {
        let before = known.len();
        for file in files.iter_mut().filter(|file| file.machine.is_none()) {
            file.compile(&known, faults);
            known.extend(file.machine.iter().map(|machine| (machine.id().to_owned(), Arc::clone(machine))));
        }
        if known.len() == before {
            break;
        }
    }
    let waiting = files.iter().filter(|file| file.machine.is_none());
    let circle = statemesh_engine::order(waiting.map(|file| file.text.as_bytes())).err();
    let broken: Vec<Broken> = files.iter().filter(|file| file.machine.is_none()).map(Broken::of).collect();
    let found = files.iter_mut().flat_map(|file| &mut file.diagnostics);
    found.for_each(|found| name_the_child(found, circle.as_ref(), &broken));
    files.iter_mut().for_each(name_the_version);
    refuse_namesakes(&mut files);
    files
}

/// What XState 4 calls otherwise is put into today's words by `import`, not by hand.
fn name_the_version(file: &mut Checked) {
    let of_four = file.diagnostics.iter_mut().find(|found| found.code == XSTATE4);
    if let Some(Diagnostic { hint, .. }) = of_four {
        let name = file.path.display();
        let way = format!(
            "statemesh import xstate {name} --from 4 puts a definition of XState 4 into today's words, by node and the npm package \
             statemesh-xstate beside the file"
        );
        *hint = Some(hint.take().map_or_else(|| way.clone(), |hint| format!("{hint}; {way}")));
    }
}

/// A mesh knows a machine by its id, so that of two files with one id the second would take the place of the first.
fn refuse_namesakes(files: &mut [Checked]) {
    for (id, places) in namesakes(files.iter().map(|file| file.text.as_bytes())) {
        for place in &places {
            let name = |place: &usize| files.get(*place).map(|file| file.path.display().to_string());
            let own = name(place);
            // The same file twice, as by two patterns of a shell, is one.
            let others: BTreeSet<_> =
                places.iter().filter_map(name).filter(|other| own.as_ref() != Some(other)).collect();
            let Some(file) = files.get_mut(*place).filter(|_| !others.is_empty()) else { continue };
            let others = others.into_iter().collect::<Vec<_>>().join(", ");
            let (path, message) = match id.as_str() {
                UNNAMED => ("", format!("it has no id, as {others} has none")),
                id => ("/id", format!("the id {id:?} is that of {others} too")),
            };
            file.machine = None;
            file.diagnostics.push(Diagnostic {
                severity: "error".to_owned(),
                code: "id_in_use".to_owned(),
                path: path.to_owned(),
                line: 0,
                column: 0,
                message,
                hint: Some(diagnostic::out_of_namesakes(&id).to_owned()),
            });
        }
    }
}

/// A file that was given, and has errors.
struct Broken {
    name: String,
    /// `None`: it cannot be read as far as that.
    id: Option<String>,
}

impl Broken {
    fn of(file: &Checked) -> Broken {
        Broken { name: file.path.display().to_string(), id: statemesh_engine::name_of(file.text.as_bytes()) }
    }
}

/// No mesh is asked here: the child's definition has to be given too.
fn name_the_child(found: &mut Diagnostic, circle: Option<&Circle>, broken: &[Broken]) {
    if found.code == "unknown_machine" {
        let is_meant = |id: &String| found.message.contains(&format!("{id:?}"));
        let circle = circle.filter(|circle| circle.0.iter().any(is_meant));
        let given = broken.iter().find_map(|file| Some((file, file.id.as_ref().filter(|id| is_meant(id))?)));
        let unread = broken.iter().find(|file| file.id.is_none());
        if let Some((Broken { name, .. }, id)) = given.filter(|_| circle.is_none()) {
            found.message = format!("the machine {id:?} has errors of its own");
            found.hint = Some(format!("mend {name} first"));
            return;
        }
        found.hint = Some(match (circle, unread) {
            (Some(circle), _) => format!("{circle}; {}", diagnostic::OUT_OF_CIRCLE),
            (None, Some(Broken { name, .. })) => {
                format!("{name} cannot be read: mend it if it is this machine's, else give its definition too")
            }
            (None, None) => "give its definition too: `check` takes several files, the others `--with FILE`; a promise is no machine: an effect on `entry`, which \
                     a program answers with an event, takes its place"
                .to_owned(),
        });
    }
}

/// The machine of one file, with those that it names in `with`.
fn machine(path: &Path, with: &[PathBuf], faults: Option<Faults>, format: Format) -> Result<Arc<Machine>, Failure> {
    let paths: Vec<_> = with.iter().cloned().chain([path.to_owned()]).collect();
    let files = compile(&paths, faults)?;
    for file in &files {
        let errors = file.diagnostics.iter().filter(|found| found.severity == "error").cloned().collect::<Vec<_>>();
        if !errors.is_empty() {
            return Err(diagnostic::refused(&file.path, &file.text, &errors, format));
        }
    }
    let machine = files.into_iter().next_back().and_then(|file| file.machine);
    machine.ok_or_else(|| Failure::new(Exit::Refused, "invalid_definition", format!("{}: no machine", path.display())))
}
