//! Words that comments do without: a sentence names the thing that it is about.

use crate::failure::Failure;
use std::fs;
use std::path::Path;

/// Pronouns in the place of a noun of the glossary.
const WORDS: &[&str] = &["whoever", "nobody", "somebody"];
/// What a reader of English as a second language stumbles over.
const PHRASES: &[&str] = &["be it that"];

/// Comments of these files that have one of the words, each as a sentence.
pub(crate) fn vague<'a>(root: &Path, files: impl Iterator<Item = &'a Path>) -> Result<Vec<String>, Failure> {
    let mut faults = Vec::new();
    for path in files {
        let text = fs::read_to_string(path).map_err(Failure::file(&path))?;
        let shown = path.strip_prefix(root).unwrap_or(path).display();
        let fault = |(line, word)| format!("{shown}:{line}: \"{word}\" in a comment: say plainly who or what it is");
        faults.extend(of_text(&text).into_iter().map(fault));
    }
    Ok(faults)
}

/// Lines, from 1, whose comment has one of the words.
fn of_text(text: &str) -> Vec<(usize, &'static str)> {
    let found = |(at, line): (usize, &str)| {
        let comment = line.trim_start().strip_prefix("//")?.to_ascii_lowercase();
        let mut words = comment.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let word = words.find_map(|word| WORDS.iter().find(|known| **known == word));
        let found = word.or_else(|| PHRASES.iter().find(|phrase| comment.contains(**phrase)))?;
        Some((at + 1, *found))
    };
    text.lines().enumerate().filter_map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_in_a_comment_and_whole() {
        let text = "/// Nobody waits.\nfn nobody() {}\n    // It is sync_with_somebody.\n    // For somebody.\n// All, be it that\n";
        assert_eq!(of_text(text), vec![(1, "nobody"), (4, "somebody"), (5, "be it that")]);
    }
}
