//! `check`: what is wrong in definitions, at its place.

use super::args::CheckArgs;
use super::{Checked, compiled};
use crate::diagnostic::render;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Painter, Printer, Style, Table, count, print, say};
use serde_json::Value;

/// Checks the definitions of files. The findings are the data; the last line is for the person who reads them.
pub(crate) fn check(args: &CheckArgs, printer: &Printer) -> Result<(), Failure> {
    // One that cannot be read says nothing about the others.
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    for path in &args.files {
        match Checked::read(path) {
            Ok(file) => read.push(file),
            Err(failure) => unread.push(failure),
        }
    }
    let files = compiled(read, None);
    if printer.format == Format::Table {
        print(&files.iter().map(|file| shown(file, args.strict, printer.colour)).collect::<String>())?;
    } else {
        let findings: Value =
            files.iter().flat_map(|file| file.diagnostics.iter().map(|found| found.to_value(&file.path))).collect();
        printer.answer(&findings, Table::default)?;
    }
    let found = |severity: &str| {
        files.iter().flat_map(|file| &file.diagnostics).filter(|found| found.severity == severity).count()
    };
    let (errors, warnings) = (found("error"), found("warning"));
    if printer.format == Format::Table {
        let strict = if args.strict && warnings > 0 { ", which --strict takes for errors" } else { "" };
        say!("{}, {}, {}{strict}", count(files.len(), "file"), count(errors, "error"), count(warnings, "warning"));
    }
    if !unread.is_empty() {
        let told: Vec<_> = unread.iter().map(|failure| failure.message.as_str()).collect();
        let told = Failure::new(Exit::File, "file", told.join("; "));
        return Err(Failure { hint: unread.into_iter().find_map(|failure| failure.hint), ..told });
    }
    if errors > 0 || (args.strict && warnings > 0) { Err(Failure::silent(Exit::Refused)) } else { Ok(()) }
}

fn shown(file: &Checked, strict: bool, colour: bool) -> String {
    let name = file.path.display().to_string();
    let painter = Painter { colour };
    let findings: String = file.diagnostics.iter().map(|found| render(&name, &file.text, found, painter)).collect();
    let Some(machine) = &file.machine else {
        return findings;
    };
    let states = count(machine.state_count(), "state");
    let (style, verdict) =
        if strict && !file.diagnostics.is_empty() { (Style::Bad, "not ok") } else { (Style::Good, "ok") };
    format!("{findings}{name}: {} ({}, {states})\n", painter.paint(style, verdict), machine.id())
}
