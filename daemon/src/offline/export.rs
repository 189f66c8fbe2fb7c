//! `export` and `import`: a definition for XState, and from it.

use super::args::{ExportArgs, ExportTo, ImportArgs, ImportFrom, LiveArgs};
use super::{live, machine};
use crate::diagnostic::{self, Diagnostic};
use crate::failure::{Exit, Failure};
use crate::input::read_input;
use crate::output::{Format, Printer, count, print};
use statemesh_engine::{ExportFormat, Limits, Machine, XSTATE4};
use std::path::Path;

/// Prints a definition for XState or SCXML. What is lost is a failure, and what can be written is printed all the same.
pub(crate) fn export(args: &ExportArgs, printer: &Printer) -> Result<(), Failure> {
    if !matches!(printer.format, Format::Table | Format::Json) {
        return Err(Failure::usage("--output: an exported definition is JSON, or SCXML").hint("--format says which"));
    }
    let machine = machine(&args.file, &args.with, None, printer.format)?;
    let format = match args.format {
        ExportTo::Xstate6 => ExportFormat::XState6,
        ExportTo::Xstate5 => ExportFormat::XState5,
        ExportTo::Scxml => ExportFormat::Scxml,
    };
    let exported = machine.export(format);
    print(&exported.text)?;
    if exported.lost.is_empty() {
        return Ok(());
    }
    let lost: Vec<Diagnostic> = exported.lost.into_iter().map(Diagnostic::from).collect();
    let message = format!("{}: {}", args.file.display(), told(&lost));
    let mut failure = Failure::new(Exit::Refused, "not_exported", message);
    if format != ExportFormat::XState5 && machine.export(ExportFormat::XState5).lost.is_empty() {
        failure = failure.hint("--format xstate5 writes all of it");
    }
    match printer.format {
        Format::Json => failure.diagnostics = lost.iter().map(|found| found.to_value(&args.file)).collect(),
        _ => {
            let text = String::from_utf8_lossy(machine.source());
            diagnostic::print_all(&args.file, &text, &lost);
        }
    }
    Err(failure)
}

/// How much is missing, and how much does something else on the other side.
fn told(lost: &[Diagnostic]) -> String {
    let altered = lost.iter().filter(|found| found.code == statemesh_engine::OTHERWISE).count();
    let missing = lost.len() - altered;
    let is = |number: usize, one: &str, many: &str| {
        format!("{} {}", count(number, "part"), if number == 1 { one } else { many })
    };
    let missing_said = is(missing, "cannot be written and is missing", "cannot be written and are missing");
    let altered_said =
        is(altered, "is written, and does something else there", "are written, and do something else there");
    match (missing, altered) {
        (_, 0) => missing_said,
        (0, _) => altered_said,
        _ => format!("{missing_said}; {altered_said}"),
    }
}

/// Prints a definition that was made of one for XState or SCXML.
pub(crate) fn import(args: &ImportArgs, printer: &Printer) -> Result<(), Failure> {
    match &args.from {
        ImportFrom::Xstate { file, live } => import_xstate(file, live, printer),
        ImportFrom::Scxml { file } => {
            let text = read_input(file)?;
            made(file, &text, statemesh_engine::import_scxml(&text, &Limits::default()), printer)
        }
    }
}

/// What is data is read here; code, and the words of XState 4, by the package.
fn import_xstate(file: &Path, live: &LiveArgs, printer: &Printer) -> Result<(), Failure> {
    if let Some(id) = live.id.as_deref().filter(|id| id.is_empty() || id.contains('/')) {
        return Err(Failure::usage(format!("--id: {id:?} is no name of a machine"))
            .hint("it has no slash, which separates the machine from the key in machine/key"));
    }
    if live::is_code(file) {
        // Node and the package would be blamed for a file that is not there.
        std::fs::File::open(file).map_err(|error| Failure::file(file, &error))?;
        return live::import(file, None, live);
    }
    let text = read_input(file)?;
    if live.from.is_none()
        && let Some(found) = of_xstate_4(&text)
    {
        let message = format!("{}: written for XState 4: {}", file.display(), found.message);
        let hint = "--from 4 puts it into today's words; --from 5 takes it as it is";
        return Err(Failure::new(Exit::Refused, "xstate4", message).hint(hint));
    }
    if live::has_code(&text) || live.from == Some(4) {
        return live::import(file, Some(text), live);
    }
    if live.name.is_some() || live.child.is_some() {
        return Err(Failure::usage(format!("--name, --child: {} is data, which has one machine", file.display()))
            .hint("they choose among what a JavaScript or TypeScript file exports, invokes or spawns"));
    }
    let limits = Limits::default();
    let imported = match &live.id {
        Some(id) => statemesh_engine::import_as(text.as_bytes(), id, &limits),
        None => statemesh_engine::import(text.as_bytes(), &limits),
    };
    made(file, &text, imported, printer)
}

/// The first key that only XState 4 has; in 5 its JSON would be another machine, or none.
fn of_xstate_4(text: &str) -> Option<statemesh_engine::Diagnostic> {
    let found = Machine::compile(text.as_bytes(), &Limits::default(), &|_| None).err()?;
    found.into_iter().find(|found| found.code == XSTATE4)
}

fn made(
    file: &Path,
    text: &str,
    made: Result<String, statemesh_engine::Diagnostic>,
    printer: &Printer,
) -> Result<(), Failure> {
    match made {
        Ok(made) => print(&made),
        Err(error) => Err(diagnostic::refused(file, text, &[Diagnostic::from(error)], printer.format)),
    }
}
