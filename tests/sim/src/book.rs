//! The book of a long series: which seeds are done and what they came to, in a file, so that a series that was ended goes on
//! where it was.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::seed::Outcome;
use crate::series::Sum;

/// Why a book cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// Its file cannot be read or written.
    #[error("the book of seeds {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no book.
    #[error("the book of seeds {path}: {error}; delete it to begin anew")]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
}

/// What is kept there; nothing if there is no such file.
///
/// # Errors
/// It cannot be read, or is no book.
pub fn read(path: &Path) -> Result<Sum, BookError> {
    let file = |error| BookError::File { path: path.to_path_buf(), error };
    if !path.exists() {
        return Ok(Sum::default());
    }
    let bytes = std::fs::read(path).map_err(file)?;
    let book = serde_json::from_slice(&bytes).map_err(|error| BookError::Form { path: path.to_path_buf(), error })?;
    Ok(sum_of(&book))
}

/// Keeps it there. The file is the old one or the new one, whenever this is ended.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, sum: &Sum) -> Result<(), BookError> {
    let file = |error| BookError::File { path: path.to_path_buf(), error };
    let new = path.with_extension("new");
    std::fs::write(&new, value_of(sum).to_string()).map_err(file)?;
    std::fs::rename(&new, path).map_err(file)
}

fn value_of(sum: &Sum) -> Value {
    let failed: Vec<Value> = sum.failed.iter().map(|(seed, outcome)| json!([seed, outcome.violations])).collect();
    json!({
        "done": ranges(&sum.done),
        "requests": sum.requests,
        "acknowledged": sum.acknowledged,
        "replayed": sum.replayed,
        "seconds": sum.took.as_secs(),
        "peak": sum.peak,
        "hash": sum.hash,
        "coverage": sum.coverage,
        "failed": failed,
    })
}

fn sum_of(book: &Value) -> Sum {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let mut sum = Sum {
        requests: number(&book["requests"]),
        acknowledged: number(&book["acknowledged"]),
        replayed: number(&book["replayed"]),
        took: Duration::from_secs(number(&book["seconds"])),
        peak: number(&book["peak"]),
        hash: number(&book["hash"]),
        ..Sum::default()
    };
    for range in list(&book["done"]) {
        sum.done.extend(number(&range[0])..=number(&range[1]));
    }
    for (name, count) in book["coverage"].as_object().into_iter().flatten() {
        sum.coverage.insert(name.clone(), number(count));
    }
    for failed in list(&book["failed"]) {
        let violations = list(&failed[1]).iter().filter_map(|what| what.as_str().map(str::to_owned)).collect();
        sum.failed.push((number(&failed[0]), Outcome { violations, ..Outcome::default() }));
    }
    sum
}

/// Numbers that follow each other, as first and last.
fn ranges(numbers: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_back() {
        let path = std::env::temp_dir().join(format!("statemesh-book-{}.json", std::process::id()));
        let outcome = Outcome { violations: vec!["a".to_owned(), "b".to_owned()], ..Outcome::default() };
        let sum = Sum {
            done: [1, 2, 3, 7, 9, 10].into(),
            requests: 5,
            acknowledged: 4,
            replayed: 3,
            took: Duration::from_secs(61),
            peak: 77,
            hash: u64::MAX,
            coverage: [("ok".to_owned(), 3)].into(),
            failed: vec![(7, outcome)],
        };
        write(&path, &sum).unwrap();
        let again = read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(value_of(&again), value_of(&sum));
        assert_eq!(again.done, sum.done);
        assert_eq!(again.failed[0].1.violations, ["a", "b"]);
    }

    #[test]
    fn no_file_is_an_empty_book_and_another_file_is_refused() {
        let path = std::env::temp_dir().join(format!("statemesh-no-book-{}.json", std::process::id()));
        assert!(read(&path).unwrap().done.is_empty());
        std::fs::write(&path, "nothing").unwrap();
        let refused = read(&path).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(refused.contains("delete it to begin anew"), "{refused}");
    }
}
