//! Shows what is wrong in a definition as compilers do: the place, the line, a caret, the way out.

use crate::failure::{Exit, Failure};
use crate::output::{Format, Painter, Style, count, painter_for_stderr, say_text};
use serde_json::{Value, json};
use statemesh_engine::UNNAMED;
use std::path::Path;

/// What to do about machines that invoke each other.
pub(crate) const OUT_OF_CIRCLE: &str =
    "a machine is compiled with those that it invokes: leave one of these invokes out";

/// What to do about files whose machines have this name, all of them.
pub(crate) fn out_of_namesakes(name: &str) -> &'static str {
    match name {
        UNNAMED => "add \"id\" to each: a mesh knows a machine by its id, and calls all that have none \"(machine)\"",
        _ => "a mesh knows a machine by its id: give one of them another, or leave one out",
    }
}

/// Something to say about a place in a definition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Diagnostic {
    /// `error` or `warning`.
    pub(crate) severity: String,
    /// A stable word.
    pub(crate) code: String,
    /// The place in the document, as a JSON Pointer.
    pub(crate) path: String,
    /// Counted from 1; 0: no place in the text is known.
    pub(crate) line: usize,
    /// In characters, counted from 1.
    pub(crate) column: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// How to go on.
    pub(crate) hint: Option<String>,
}

impl Diagnostic {
    /// The same for a program.
    pub(crate) fn to_value(&self, file: &Path) -> Value {
        json!({
            "file": file.display().to_string(), "severity": self.severity, "code": self.code, "path": self.path,
            "line": self.line, "column": self.column, "message": self.message, "hint": self.hint,
        })
    }

    /// Reads one of a daemon's answer.
    fn from_reply(value: &Value) -> Diagnostic {
        let word = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| value[name].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        Diagnostic {
            severity: word("severity"),
            code: word("code"),
            path: word("path"),
            line: number("line"),
            column: number("column"),
            message: word("message"),
            hint: value["hint"].as_str().map(str::to_owned),
        }
    }
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

/// A definition whose errors are known: for a person they are shown on stderr at their places, a program gets them with the failure.
pub(crate) fn refused(file: &Path, text: &str, errors: &[Diagnostic], format: Format) -> Failure {
    let message = format!("{}: the definition has {}", file.display(), count(errors.len(), "error"));
    let mut failure = Failure::new(Exit::Refused, "invalid_definition", message);
    if format == Format::Json {
        failure.diagnostics = errors.iter().map(|found| found.to_value(file)).collect();
    } else {
        errors.iter().for_each(|found| print(file, text, found));
    }
    failure
}

/// Prints to stderr what a daemon says about the text it was sent.
pub(crate) fn print_reply(file: &Path, text: &str, diagnostics: &[Value]) {
    for value in diagnostics {
        print(file, text, &Diagnostic::from_reply(value));
    }
}

/// Prints some to stderr.
pub(crate) fn print_all(file: &Path, text: &str, diagnostics: &[Diagnostic]) {
    diagnostics.iter().for_each(|found| print(file, text, found));
}

/// Prints one to stderr.
fn print(file: &Path, text: &str, diagnostic: &Diagnostic) {
    let name = file.display().to_string();
    say_text(&render(&name, text, diagnostic, painter_for_stderr()));
}

/// The lines that show one diagnostic, with a blank line after them.
pub(crate) fn render(file: &str, text: &str, diagnostic: &Diagnostic, painter: Painter) -> String {
    let style = if diagnostic.severity == "warning" { Style::Doubtful } else { Style::Bad };
    let head = painter.paint(style, &format!("{}[{}]", diagnostic.severity, diagnostic.code));
    let mut shown = format!("{head}: {}\n", diagnostic.message);
    let (at_line, column) = within(text, diagnostic);
    let source = at_line.checked_sub(1).and_then(|index| text.lines().nth(index));
    let number = at_line.to_string();
    let margin = " ".repeat(number.len());
    let bar = painter.paint(Style::Faint, "|");
    let place = match source {
        Some(_) => format!("{file}:{at_line}:{column}"),
        None => file.to_owned(),
    };
    let at = if diagnostic.path.is_empty() { "at the root".to_owned() } else { format!("at {}", diagnostic.path) };
    shown.push_str(&format!("{margin}{} {place} ({at})\n", painter.paint(Style::Faint, "-->")));
    if let Some(source) = source {
        let (line, caret) = excerpt(source, column);
        let caret = painter.paint(style, &caret);
        shown.push_str(&format!("{margin} {bar}\n{number} {bar} {line}\n{margin} {bar} {caret}\n"));
    }
    if let Some(hint) = &diagnostic.hint {
        shown.push_str(&format!("{margin} {} {hint}\n", painter.paint(Style::Faint, "=")));
    }
    shown.push('\n');
    shown
}

/// The line and column to show. The end of a text that ends with a line break is in a line with nothing in it: what is missing there is
/// shown behind the last line that has something.
fn within(text: &str, Diagnostic { line, column, .. }: &Diagnostic) -> (usize, usize) {
    let lines = text.lines().count();
    if *line != lines + 1 || *column > 1 {
        return (*line, *column);
    }
    let last = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).last();
    last.map_or((*line, *column), |(index, line)| (index + 1, line.trim_end().chars().count() + 1))
}

/// What of a line is shown, so that a document in a single line of a megabyte stays readable, and the caret below it.
fn excerpt(line: &str, column: usize) -> (String, String) {
    const WIDTH: usize = 100;
    const BEFORE: usize = 60;
    let chars: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let at = column.saturating_sub(1).min(chars.len());
    let start = if chars.len() <= WIDTH { 0 } else { at.saturating_sub(BEFORE) };
    let end = chars.len().min(start + WIDTH);
    let carets = token_length(&chars[at..end]).max(1);
    (chars[start..end].iter().collect(), format!("{}{}", " ".repeat(at - start), "^".repeat(carets)))
}

/// How much of the text from the place on belongs to it: a string, a number or word, or a bracket.
fn token_length(rest: &[char]) -> usize {
    let word = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '.');
    match rest.first() {
        Some('"') => {
            let mut escaped = false;
            let ends = |c: &char| {
                let end = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                end
            };
            rest[1..].iter().position(ends).map_or(rest.len(), |index| index + 2)
        }
        Some(first) if word(first) => rest.iter().take_while(|c| word(c)).count(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Painter = Painter { colour: false };

    fn sample(line: usize, column: usize) -> Diagnostic {
        Diagnostic {
            severity: "error".into(),
            code: "unknown_target".into(),
            path: "/states/a/on/E".into(),
            line,
            column,
            message: "no state 'bb'".into(),
            hint: Some("did you mean 'b'?".into()),
        }
    }

    #[test]
    fn the_line_the_caret_and_the_hint_are_shown() {
        let expected = "\
error[unknown_target]: no state 'bb'
 --> m.json:2:8 (at /states/a/on/E)
  |
2 |  \"E\": \"bb\"
  |       ^^^^
  = did you mean 'b'?

";
        assert_eq!(render("m.json", "{\n \"E\": \"bb\"\n}", &sample(2, 7), PLAIN).replace(":2:7", ":2:8"), expected);
    }

    #[test]
    fn what_is_missing_at_the_end_is_shown_behind_the_last_line() {
        let text = "{\n  \"id\": \"j\"\n\n";
        let shown = render("j.json", text, &sample(4, 1), PLAIN);
        assert!(
            shown.contains(" --> j.json:2:12 (at ") && shown.contains("2 |   \"id\": \"j\"\n  |            ^\n"),
            "{shown}"
        );
    }

    #[test]
    fn a_place_outside_of_the_text_is_no_panic() {
        for (line, column) in [(0, 0), (1, 0), (1, 999), (99, 1), (usize::MAX, usize::MAX)] {
            assert!(render("m.json", "{\"é\":1}", &sample(line, column), PLAIN).contains("no state 'bb'"));
        }
    }

    #[test]
    fn a_very_long_line_is_cut_around_the_place() {
        let text = format!("{}\"here\"{}", "x".repeat(5_000), "y".repeat(5_000));
        let shown = render("m.json", &text, &sample(1, 5_001), PLAIN);
        assert!(shown.contains("\"here\"") && shown.contains("^^^^^^\n"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() < 120), "{shown}");
    }
}
