//! `export` and `import`: a definition for XState, and from it.

use super::args::{ExportArgs, ExportTo, ImportArgs, ImportFrom};
use super::{live, machine};
use crate::diagnostic::{self, Diagnostic};
use crate::failure::{Exit, Failure};
use crate::input::read_input;
use crate::output::{Format, Printer, count, print};
use statemesh_engine::{ExportFormat, Limits};

/// Prints a definition as somebody else reads it. What is lost is a failure, and what can be written is printed all the same.
pub(crate) fn export(args: &ExportArgs, printer: &Printer) -> Result<(), Failure> {
    let machine = machine(&args.file, &args.with, None, printer.format)?;
    let exported = machine.export(match args.format {
        ExportTo::Xstate6 => ExportFormat::XState6,
        ExportTo::Xstate5 => ExportFormat::XState5,
        ExportTo::Scxml => ExportFormat::Scxml,
    });
    print(&exported.text)?;
    if exported.lost.is_empty() {
        return Ok(());
    }
    let lost: Vec<Diagnostic> = exported.lost.into_iter().map(Diagnostic::from).collect();
    let message = format!("{}: {} cannot be written and is missing", args.file.display(), count(lost.len(), "part"));
    let mut failure = Failure::new(Exit::Refused, "not_exported", message);
    match printer.format {
        Format::Json => failure.diagnostics = lost.iter().map(|found| found.to_value(&args.file)).collect(),
        _ => {
            let text = String::from_utf8_lossy(machine.source());
            diagnostic::print_all(&args.file, &text, &lost);
        }
    }
    Err(failure)
}

/// Prints a definition that was made of somebody else's.
pub(crate) fn import(args: &ImportArgs, printer: &Printer) -> Result<(), Failure> {
    let limits = Limits::default();
    let (ImportFrom::Xstate { file, .. } | ImportFrom::Scxml { file }) = &args.from;
    if let ImportFrom::Xstate { file, live } = &args.from
        && (live::is_code(file) || live.any())
    {
        return live::import(file, live);
    }
    let text = read_input(file)?;
    if let ImportFrom::Xstate { file, live } = &args.from
        && live::has_code(&text)
    {
        return live::import(file, live);
    }
    let made = match &args.from {
        ImportFrom::Xstate { .. } => statemesh_engine::import(text.as_bytes(), &limits),
        ImportFrom::Scxml { .. } => statemesh_engine::import_scxml(&text, &limits),
    };
    match made {
        Ok(made) => print(&made),
        Err(error) => Err(diagnostic::refused(file, &text, &[Diagnostic::from(error)], printer.format)),
    }
}
