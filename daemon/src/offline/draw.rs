//! `draw`: the chart of a definition, as text that pages and reviews show, or as a picture; and `schema`, for editors.

use super::args::{DrawArgs, Drawing};
use super::machine;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Printer, Table, broken_output, print, shown, state_paths};
use serde_json::Value;
use statemesh_engine::{DrawError, DrawFormat};
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

/// Prints the drawing of a definition.
pub(crate) fn draw(args: &DrawArgs, printer: &Printer) -> Result<(), Failure> {
    if printer.format != Format::Table {
        return Err(Failure::usage("--output: a drawing is Mermaid, DOT or a picture, not JSON or YAML")
            .hint("--format says which"));
    }
    let machine = machine(&args.file, &args.with, None, printer.format)?;
    let format = match args.format {
        Drawing::Mermaid => DrawFormat::Mermaid,
        Drawing::Dot | Drawing::Svg | Drawing::Png => DrawFormat::Dot,
    };
    let paths: Vec<String> = args.state.iter().flat_map(|given| paths(given)).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let drawing = machine.draw_paths(format, &paths).map_err(|error| match error {
        DrawError::UnknownState(path) => {
            let failure = Failure::usage(format!("--state: {} has no state '{path}'", machine.id()));
            let near = if machine.has_state(path) { None } else { machine.state_like(path) };
            match near {
                Some(near) => failure.hint(format!("did you mean {near}?")),
                None => failure.hint(
                    "write the keys from the top, such as a.b, or a state value in JSON; a history state is never active",
                ),
            }
        }
        too_large @ DrawError::TooLarge(_) => Failure::usage(too_large.to_string()),
    })?;
    // Graphviz' picture has the names as they are, and no text of XML may have a control character.
    let drawing = shown(&drawing);
    match args.format {
        Drawing::Mermaid | Drawing::Dot => print(&format!("{}\n", drawing.trim_end())),
        Drawing::Svg => picture(&drawing, "svg"),
        Drawing::Png if std::io::stdout().is_terminal() => Err(Failure::usage("a terminal shows no PNG")
            .hint("write it to a file: statemesh draw FILE --format png >chart.png")),
        Drawing::Png => picture(&drawing, "png"),
    }
}

/// Lets Graphviz draw: a layout that keeps frames and labels apart is a program of its own, which most systems have a package of.
fn picture(drawing: &str, format: &str) -> Result<(), Failure> {
    let missing = |error: std::io::Error| {
        Failure::new(Exit::File, "no_graphviz", format!("cannot run Graphviz' dot: {error}"))
            .hint("install the package graphviz, or draw Mermaid, which many pages show as it is: --format mermaid")
    };
    let mut dot = Command::new("dot");
    dot.arg(format!("-T{format}")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut dot = dot.spawn().map_err(missing)?;
    let mut input = dot.stdin.take();
    let text = drawing.to_owned();
    // Both at once: each side would wait for the other where a pipe is full.
    let writer = std::thread::spawn(move || input.as_mut().map_or(Ok(()), |input| input.write_all(text.as_bytes())));
    let output = dot.wait_with_output().map_err(missing)?;
    // Where it did not read all, what it says tells more.
    let _ = writer.join();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Failure::new(Exit::Refused, "not_drawn", format!("Graphviz' dot: {said}")));
    }
    std::io::stdout().lock().write_all(&output.stdout).map_err(|error| broken_output(&error))
}

/// The paths of a state given as `a.b`, as `a.b, c.d` (as tables show parallel regions), or as a value in JSON.
fn paths(given: &str) -> Vec<String> {
    match serde_json::from_str::<Value>(given) {
        Ok(value) if value.is_object() || value.is_string() => state_paths(&value),
        _ => given.split(',').map(|path| path.trim().to_owned()).collect(),
    }
}

/// Prints the JSON Schema of the format.
pub(crate) fn schema(printer: &Printer) -> Result<(), Failure> {
    let schema: Value = serde_json::from_str(&statemesh_engine::json_schema()).unwrap_or_default();
    // For a person it is JSON too, which the editor reads: the engine keeps it in one line.
    let format = if printer.format == Format::Table { Format::Json } else { printer.format };
    Printer { format, ..*printer }.answer(&schema, Table::default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_a_path_or_a_value() {
        assert_eq!(paths("a.b"), ["a.b"]);
        assert_eq!(paths("a.b, c"), ["a.b", "c"]);
        assert_eq!(paths(r#"{"a":"b","c":{"d":"e"}}"#), ["a.b", "c.d.e"]);
        assert_eq!(paths(r#""a""#), ["a"]);
    }
}
