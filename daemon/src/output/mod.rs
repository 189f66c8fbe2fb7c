//! How answers are written: tables and colour for a person, JSON or YAML for a program. Data goes to stdout, and nothing else.

mod control;
mod table;
mod toml;
mod value;
mod yaml;

pub(crate) use control::{json, printable, shown};
pub(crate) use table::{Style, Table};
pub(crate) use toml::document as toml_document;
pub(crate) use value::{count, fields, state, state_paths, text};

use crate::failure::{Exit, Failure};
use clap::ValueEnum;
use serde_json::Value;
use std::fmt;
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
    /// TOML, as the configuration file is written; for `config` only.
    Toml,
}

/// Names the form where no flag does.
pub(crate) const OUTPUT_VARIABLE: &str = "STATEMESH_OUTPUT";

impl Format {
    /// The form that the flag names, or else the environment.
    pub(crate) fn chosen(flag: Option<Format>, environment: Option<&str>) -> Result<Format, Failure> {
        let named = environment.filter(|word| !word.is_empty());
        let (None, Some(word)) = (flag, named) else { return Ok(flag.unwrap_or_default()) };
        <Format as ValueEnum>::from_str(word, false).map_err(|_| {
            let words: Vec<_> = Format::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
            let words: Vec<_> = words.iter().map(clap::builder::PossibleValue::get_name).collect();
            Failure::usage(format!("{OUTPUT_VARIABLE}: '{word}' is not one of {}", words.join(", ")))
        })
    }
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
            Format::Toml => print(&toml::document(value)),
        }
    }

    /// Prints one answer: for a person the text that `text` makes of it.
    pub(crate) fn text(&self, value: &Value, text: impl FnOnce(Painter) -> String) -> Result<(), Failure> {
        match self.format {
            Format::Table => print(&text(Painter { colour: self.colour })),
            Format::Json | Format::Yaml | Format::Toml => self.answer(value, Table::default),
        }
    }

    /// Prints one value of a stream: `line` for a person.
    pub(crate) fn next(&self, value: &Value, line: impl FnOnce(Painter) -> String) -> Result<(), Failure> {
        put(&self.written(value, line))
    }

    /// One value of a stream as it is printed.
    pub(crate) fn written(&self, value: &Value, line: impl FnOnce(Painter) -> String) -> String {
        match self.format {
            Format::Table => shown(&format!("{}\n", line(Painter { colour: self.colour }))).into_owned(),
            Format::Json => format!("{}\n", json(&value.to_string())),
            Format::Yaml | Format::Toml => shown(&format!("---\n{}", yaml::document(value))).into_owned(),
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
    json(&serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())).into_owned()
}

/// Writes to stdout. A reader that went away, as `head` does, is no failure: no reader is left to tell.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    put(&shown(text))
}

/// The same with what is as it may be written.
fn put(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| broken_output(&error))
}

/// Writes a line for a person to stderr. If the reader is gone, what the verb does goes on all the same.
pub(crate) fn say_line(line: fmt::Arguments<'_>) {
    say_text(&format!("{line}\n"));
}

/// The same without the end of the line.
pub(crate) fn say_text(text: &str) {
    // Nothing is left to tell a failure to.
    let _ = std::io::stderr().lock().write_all(shown(text).as_bytes());
}

/// As `eprintln!`, which ends the process with a panic when stderr is closed.
macro_rules! say {
    ($($line:tt)*) => { $crate::output::say_line(format_args!($($line)*)) };
}
pub(crate) use say;

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
    match format {
        Format::Json => {
            let mut error = serde_json::json!({
                "code": failure.code, "message": failure.message, "hint": failure.hint,
            });
            if !failure.diagnostics.is_empty() {
                error["diagnostics"] = Value::Array(failure.diagnostics.clone());
            }
            say!("{}", json(&serde_json::json!({"error": error}).to_string()));
        }
        Format::Table | Format::Yaml | Format::Toml => {
            say!("{} {failure}", painter_for_stderr().paint(Style::Bad, "error:"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_comes_before_the_environment() {
        let chosen = |flag, environment| Format::chosen(flag, environment).map_err(|failure| failure.message);
        assert_eq!(chosen(None, None), Ok(Format::Table));
        assert_eq!(chosen(None, Some("")), Ok(Format::Table));
        assert_eq!(chosen(None, Some("json")), Ok(Format::Json));
        assert_eq!(chosen(Some(Format::Yaml), Some("json")), Ok(Format::Yaml));
        let wrong = "STATEMESH_OUTPUT: 'xml' is not one of table, json, yaml, toml".to_owned();
        assert_eq!(chosen(None, Some("xml")), Err(wrong));
    }
}
