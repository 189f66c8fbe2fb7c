//! How answers are written: tables and colour for a person, JSON or YAML for a program. Data goes to stdout, and nothing else.

mod table;
mod value;
mod yaml;

pub(crate) use table::{Style, Table};
pub(crate) use value::{count, fields, state, state_paths, text};

use crate::failure::{Exit, Failure};
use serde_json::Value;
use std::io::{ErrorKind, IsTerminal, Write};

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For a person.
    #[default]
    Table,
    /// JSON; one line for each value of a stream.
    Json,
    /// YAML; a document for each value of a stream.
    Yaml,
}

/// Where answers go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    pub(crate) format: Format,
    pub(crate) colour: bool,
}

impl Printer {
    /// Prints to stdout; in colour if that is a terminal and NO_COLOR is not set (no-color.org: or set and empty).
    pub(crate) fn new(format: Format) -> Printer {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let able = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Printer { format, colour: wanted && able && std::io::stdout().is_terminal() }
    }

    /// Prints one answer: `value` for a program, what `table` makes of it for a person.
    pub(crate) fn answer(&self, value: &Value, table: impl FnOnce() -> Table) -> Result<(), Failure> {
        match self.format {
            Format::Table => print(&table().render(self.colour)),
            Format::Json => print(&format!("{}\n", pretty(value))),
            Format::Yaml => print(&yaml::document(value)),
        }
    }

    /// Prints one answer: for a person the text that `text` makes of it.
    pub(crate) fn text(&self, value: &Value, text: impl FnOnce(Painter) -> String) -> Result<(), Failure> {
        match self.format {
            Format::Table => print(&text(Painter { colour: self.colour })),
            Format::Json | Format::Yaml => self.answer(value, Table::default),
        }
    }

    /// Prints one value of a stream: `line` for a person.
    pub(crate) fn next(&self, value: &Value, line: impl FnOnce(Painter) -> String) -> Result<(), Failure> {
        match self.format {
            Format::Table => print(&format!("{}\n", line(Painter { colour: self.colour }))),
            Format::Json => print(&format!("{value}\n")),
            Format::Yaml => print(&format!("---\n{}", yaml::document(value))),
        }
    }
}

/// Colours words, or leaves them as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Painter {
    pub(crate) colour: bool,
}

impl Painter {
    /// `text` in `style`.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.colour { style.paint(text) } else { text.to_owned() }
    }
}

/// Whether errors are written in colour.
pub(crate) fn painter_for_stderr() -> Painter {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Painter { colour: wanted && std::io::stderr().is_terminal() }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// Writes to stdout. A reader that went away, as `head` does, is no failure: there is nobody left to tell.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| broken_output(&error))
}

/// Why stdout took no more.
pub(crate) fn broken_output(error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::silent(Exit::Ok),
        _ => Failure::new(Exit::File, "file", format!("stdout: {error}")),
    }
}

/// Says why a verb ended: for a program as JSON, still on stderr.
pub(crate) fn report(failure: &Failure, format: Format) {
    if failure.message.is_empty() {
        return;
    }
    let mut err = std::io::stderr().lock();
    let _ = match format {
        Format::Json => {
            let mut error = serde_json::json!({
                "code": failure.code, "message": failure.message, "hint": failure.hint,
            });
            if !failure.diagnostics.is_empty() {
                error["diagnostics"] = Value::Array(failure.diagnostics.clone());
            }
            writeln!(err, "{}", serde_json::json!({"error": error}))
        }
        Format::Table | Format::Yaml => {
            writeln!(err, "{} {failure}", painter_for_stderr().paint(Style::Bad, "error:"))
        }
    };
}
