//! "Did you mean ...?"

/// The candidate that `word` is most likely a misspelling of: at most two
/// edits away, and fewer than its own letters.
pub(super) fn closest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words are no misspelling of ours, and would take long to compare.
    if word.len() > 40 {
        return None;
    }
    candidates
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(edits, candidate)| *edits <= 2 && *edits * 2 < candidate.len())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, ignoring case.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (n, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = n;
        let mut left = n + 1;
        for (place, y) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = *place;
            left = replaced.min(left + 1).min(*place + 1);
            *place = left;
        }
        if let Some(first) = row.first_mut() {
            *first = n + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_are_recognised_and_other_words_are_not() {
        let names = ["context", "event", "params"];
        let closest = |word| closest(word, names.into_iter());
        assert_eq!(closest("contxt"), Some("context"));
        assert_eq!(closest("Event"), Some("event"));
        assert_eq!(closest("evnet"), Some("event"));
        assert_eq!(closest("order"), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
