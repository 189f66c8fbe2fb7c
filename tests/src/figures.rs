//! Figures that scenarios measure: one JSON object in `target/e2e/figures.json`, for the documentation.

use crate::Outcome;
use serde_json::{Map, Value};
use std::path::Path;

/// Sets one figure, and leaves the others as they are.
///
/// # Errors
/// The file cannot be written, or holds something else.
pub fn record(folder: &Path, name: &str, value: Value) -> Outcome {
    let path = folder.join("figures.json");
    let mut figures: Map<String, Value> = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(_) => Map::new(),
    };
    println!("figure {name}: {value}");
    figures.insert(name.to_owned(), value);
    // Renamed into place: scenarios of the two lanes may write at the same time, and as each is the first process of a namespace
    // of its own, their ids may be the same.
    let own = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
    let draft = folder.join(format!("figures.{own}.{}.json", std::process::id()));
    std::fs::write(&draft, serde_json::to_vec_pretty(&figures)?)?;
    Ok(std::fs::rename(draft, path)?)
}
