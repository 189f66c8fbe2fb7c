//! What a verb reads: files, or stdin.

use crate::diagnostic::{self, Diagnostic};
use crate::failure::{Exit, Failure};
use crate::output::Format;
use statemesh_engine::{Limits, Machine};
use std::io::Read;
use std::path::Path;

/// The largest file or stdin that a verb reads: more than a daemon accepts.
const MAX_INPUT_BYTES: u64 = 64 << 20;

/// Reads a file, or stdin for `-`.
pub(crate) fn read_input(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(MAX_INPUT_BYTES).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_INPUT_BYTES).read_to_end(&mut bytes))
    };
    match read {
        Ok(length) if length as u64 == MAX_INPUT_BYTES => {
            Err(Failure::new(Exit::File, "file", format!("{}: longer than {MAX_INPUT_BYTES} bytes", path.display())))
        }
        Ok(_) => {
            String::from_utf8(bytes).map_err(|error| no_text(path, error.as_bytes(), error.utf8_error().valid_up_to()))
        }
        Err(error) if path.is_dir() => {
            Err(Failure::file(path, &error).hint(format!("this takes files: {}", path.join("*.json").display())))
        }
        Err(error) => Err(Failure::file(path, &error)),
    }
}

/// A file that is no UTF-8 from this byte on.
fn no_text(path: &Path, bytes: &[u8], at: usize) -> Failure {
    let line = bytes.iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
    let message = format!("{}:{line}: byte {at} of the file is no part of a text in UTF-8", path.display());
    let is_wide = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    let found = if is_wide { "it looks like UTF-16; " } else { "" };
    Failure::new(Exit::File, "file", message).hint(format!("{found}save it as UTF-8: an editor or iconv can"))
}

/// The text of a definition. The daemon reads it with positions; here only a text that is no JSON, which would break the request around it,
/// is found, and shown as `check` shows it.
pub(crate) fn read_definition(path: &Path, format: Format) -> Result<String, Failure> {
    let text = read_input(path)?;
    if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
        return Ok(text);
    }
    let errors = Machine::compile(text.as_bytes(), &Limits::default(), &|_| None).err().unwrap_or_default();
    let errors: Vec<_> = errors.into_iter().map(Diagnostic::from).collect();
    Err(diagnostic::refused(path, &text, &errors, format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_that_is_no_json_has_the_place_that_check_shows() {
        let path = std::env::temp_dir().join(format!("statemesh-broken-{}.json", std::process::id()));
        std::fs::write(&path, "{\n  \"id\": \"m\",\n  \"states\": {,}\n}").unwrap();
        let refused = read_definition(&path, Format::Json);
        std::fs::remove_file(&path).unwrap();
        let failure = refused.unwrap_err();
        let found = &failure.diagnostics[0];
        assert_eq!((failure.exit, found["code"].as_str()), (Exit::Refused, Some("malformed_json")));
        assert_eq!((found["line"].as_u64(), found["column"].as_u64()), (Some(3), Some(14)), "{found}");
    }
}
