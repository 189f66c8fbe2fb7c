//! `define`: sends definitions to the mesh, and shows what is wrong in one at its place in the file.

use super::{connect, read_input};
use crate::cli::DefineArgs;
use crate::diagnostic;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Printer, Style, Table, count, text};
use serde_json::{Value, json};
use std::path::Path;

/// Defines the machine of each file, in order, and goes on after one that is refused.
pub(crate) async fn define(args: &DefineArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let texts = args.files.iter().map(|path| Ok((path.as_path(), read_definition(path)?)));
    let texts = texts.collect::<Result<Vec<_>, Failure>>()?;
    let mut client = connect(&args.connect, file).await?;
    let mut defined = Vec::new();
    let mut last = Ok(());
    for (path, definition) in &texts {
        let request = json!({"op": "define"});
        match client.call_with(request, "definition", definition).await {
            Ok(reply) => {
                diagnostic::print_reply(path, definition, reply["warnings"].as_array().map_or(&[], Vec::as_slice));
                defined.push(summary(&reply));
            }
            Err(failure) if failure.exit == Exit::Refused => {
                last = Err(refused(path, definition, failure, printer.format));
            }
            Err(failure) => return Err(failure),
        }
    }
    let answer = Value::Array(defined);
    if answer.as_array().is_some_and(|defined| !defined.is_empty()) {
        printer.answer(&answer, || table(&answer))?;
    }
    last
}

/// For a person the findings are shown at their places; a program gets them with the error.
fn refused(path: &Path, definition: &str, failure: Failure, format: Format) -> Failure {
    let errors = failure.diagnostics.len();
    if errors == 0 || format == Format::Json {
        let message = format!("{}: {}", path.display(), failure.message);
        return Failure { message, ..failure };
    }
    diagnostic::print_reply(path, definition, &failure.diagnostics);
    let message = format!("{} is refused: {}", path.display(), count(errors, "finding"));
    Failure { message, hint: None, ..failure }
}

/// Reads a file whose text is JSON.
pub(crate) fn read_definition(path: &Path) -> Result<String, Failure> {
    let definition = read_input(path)?;
    // Parsed by the daemon, with positions; here only so that a broken text cannot break the request around it.
    match serde_json::from_str::<serde::de::IgnoredAny>(&definition) {
        Ok(_) => Ok(definition),
        Err(error) => Err(Failure::new(
            Exit::Refused,
            "invalid_json",
            format!("{}:{}:{}: {error}", path.display(), error.line(), error.column()),
        )
        .hint("statemesh check shows the place")),
    }
}

fn summary(reply: &Value) -> Value {
    let mut kept = json!({});
    for name in ["machine", "version", "members", "hash"] {
        kept[name] = reply[name].clone();
    }
    kept
}

fn table(defined: &Value) -> Table {
    let mut table = Table::new(["MACHINE", "VERSION", "DAEMONS"]);
    for machine in defined.as_array().into_iter().flatten() {
        table.styled([
            (text(&machine["machine"]), Style::Strong),
            (text(&machine["version"]), Style::Plain),
            (text(&machine["members"]), Style::Plain),
        ]);
    }
    table
}
