//! `draw`: the chart of a definition, as text that pages and reviews show; and `schema`, for editors.

use super::machine;
use crate::cli::{DrawArgs, Drawing};
use crate::failure::Failure;
use crate::output::{Format, Printer, print, state_paths};
use serde_json::Value;
use statemesh_engine::DrawFormat;

/// Prints the drawing of a definition.
pub(crate) fn draw(args: &DrawArgs, printer: &Printer) -> Result<(), Failure> {
    if printer.format != Format::Table {
        return Err(
            Failure::usage("--output: a drawing is Mermaid or DOT, not JSON or YAML").hint("--format says which")
        );
    }
    let machine = machine(&args.file, &args.with)?;
    let format = match args.format {
        Drawing::Mermaid => DrawFormat::Mermaid,
        Drawing::Dot => DrawFormat::Dot,
    };
    let paths: Vec<String> = args.state.iter().flat_map(|given| paths(given)).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let drawing = machine.draw_paths(format, &paths).map_err(|path| {
        Failure::usage(format!("--state: {} has no state '{path}'", machine.id()))
            .hint("write the keys from the top, such as a.b, or a state value in JSON; a history state is never active")
    })?;
    print(&format!("{}\n", drawing.trim_end()))
}

/// The paths of a state given as `a.b`, as `a.b, c.d` (as tables show parallel regions), or as a value in JSON.
fn paths(given: &str) -> Vec<String> {
    match serde_json::from_str::<Value>(given) {
        Ok(value) if value.is_object() || value.is_string() => state_paths(&value),
        _ => given.split(',').map(|path| path.trim().to_owned()).collect(),
    }
}

/// Prints the JSON Schema of the format.
pub(crate) fn schema() -> Result<(), Failure> {
    print(&format!("{}\n", statemesh_engine::json_schema().trim_end()))
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
