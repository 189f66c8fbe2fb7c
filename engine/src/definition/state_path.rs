//! Paths of states: keys with dots between them, and a backslash before a dot that belongs to a key.

/// Splits at dots; a backslash takes the next character as it is.
pub(crate) fn split_path(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '.' => parts.push(String::new()),
            '\\' => parts.last_mut().into_iter().for_each(|part| part.extend(characters.next())),
            _ => parts.last_mut().into_iter().for_each(|part| part.push(character)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::split_path;

    #[test]
    fn dots_split_and_backslashes_escape() {
        assert_eq!(split_path("a.b"), ["a", "b"]);
        assert_eq!(split_path("a\\.b.c"), ["a.b", "c"]);
        assert_eq!(split_path(""), [""]);
        assert_eq!(split_path("a\\"), ["a"]);
    }
}
