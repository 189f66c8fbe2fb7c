//! What a verb reads: files, or stdin.

use crate::failure::{Exit, Failure};
use std::io::Read;
use std::path::Path;

/// The largest file or stdin that a verb reads: more than a daemon accepts.
const MAX_INPUT_BYTES: u64 = 64 << 20;

/// Reads a file, or stdin for `-`.
pub(crate) fn read_input(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(MAX_INPUT_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_INPUT_BYTES).read_to_string(&mut text))
    };
    match read {
        Ok(length) if length as u64 == MAX_INPUT_BYTES => {
            Err(Failure::new(Exit::File, "file", format!("{}: longer than {MAX_INPUT_BYTES} bytes", path.display())))
        }
        Ok(_) => Ok(text),
        Err(error) if path.is_dir() => {
            Err(Failure::file(path, &error).hint(format!("this takes files: {}", path.join("*.json").display())))
        }
        Err(error) => Err(Failure::file(path, &error)),
    }
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
