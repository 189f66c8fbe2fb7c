//! Errors are types: what is told as a text only, a caller cannot tell from another.

use crate::failure::Failure;
use std::fs;
use std::path::Path;

/// Functions of these files that fail with a text, each as a sentence. Tests may.
pub(crate) fn of_texts<'a>(root: &Path, files: impl Iterator<Item = &'a Path>) -> Result<Vec<String>, Failure> {
    let mut faults = Vec::new();
    for path in files.filter(|path| !path.ends_with("tests.rs")) {
        let text = fs::read_to_string(path).map_err(Failure::file(&path))?;
        let shown = path.strip_prefix(root).unwrap_or(path).display();
        let fault = |line| format!("{shown}:{line}: an error that is a String: make it a type");
        faults.extend(of_text(&text).into_iter().map(fault));
    }
    Ok(faults)
}

/// Lines, from 1, on which a result's error is a `String`; those of the tests in a file are left out.
fn of_text(text: &str) -> Vec<usize> {
    let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let is_one = |line: &str| line.split("Result<").skip(1).any(|rest| error(rest) == Some("String"));
    product.lines().enumerate().filter(|(_, line)| is_one(line)).map(|(at, _)| at + 1).collect()
}

/// The second argument of a type, of what follows its `<`.
fn error(rest: &str) -> Option<&str> {
    let (mut depth, mut begins) = (0_i32, None);
    for (at, c) in rest.char_indices() {
        match c {
            '<' | '(' | '[' => depth += 1,
            '>' | ')' | ']' if depth == 0 => return begins.map(|begins: usize| rest[begins..at].trim()),
            '>' | ')' | ']' => depth -= 1,
            ',' if depth == 0 => begins = Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_is_a_text_is_found_and_a_result_that_is_one_is_not() {
        let text = "fn a() -> Result<(), String> {}\nfn b() -> Result<Vec<(u8, String)>, Fault> {}\nfn c() -> io::Result<String> {}\n\
                    fn d(of: &[Result<Map<K, V>, String>]) {}\n#[cfg(test)]\nmod tests {\n    fn e() -> Result<(), String> {}\n}\n";
        assert_eq!(of_text(text), [1, 4]);
    }
}
