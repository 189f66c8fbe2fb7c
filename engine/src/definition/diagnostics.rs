//! What is wrong, or odd, about a definition: stable code, place, and the way out.

use statemesh_expr::{Map, Value};
use std::fmt;

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The definition is refused.
    Error,
    /// The definition works, but probably not as meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One finding about a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Stable code, e.g. `unknown_target`; all are listed in docs/reference.
    pub code: &'static str,
    /// JSON Pointer into the document, e.g. `/states/a/on/E/0`; empty for the document itself.
    pub path: String,
    /// Line in the text, from 1.
    pub line: u32,
    /// Column in the line, from 1, in characters.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// How to go on, where we can tell.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Whether the definition is refused because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The finding as data, for `-o json` and error replies.
    pub fn to_value(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("severity", Value::str(self.severity.as_str()));
        fields.insert("code", Value::str(self.code));
        fields.insert("path", Value::str(&self.path));
        fields.insert("line", Value::Int(i64::from(self.line)));
        fields.insert("column", Value::Int(i64::from(self.column)));
        fields.insert("message", Value::str(&self.message));
        if let Some(hint) = &self.hint {
            fields.insert("hint", Value::str(hint));
        }
        Value::Map(fields)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() { "/" } else { &self.path };
        write!(
            f,
            "{}:{}: {}[{}] {} (at {place})",
            self.line,
            self.column,
            self.severity.as_str(),
            self.code,
            self.message
        )?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// A hint if one of `known` looks like what `name` was meant to be.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(name, known).map(|found| format!("did you mean {found:?}?"))
}

/// The member of `known` that is nearest to `name`, if it is near enough to be a misspelling.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing is quadratic in the length; a name longer than this is no misspelt key.
    const NAME_CHARS_MAX: usize = 64;
    if name.chars().count() > NAME_CHARS_MAX {
        return None;
    }
    let allowed = match name.chars().count() {
        0..=2 => 1,
        3..=7 => 2,
        _ => 3,
    };
    known
        .into_iter()
        .filter(|candidate| *candidate != name && candidate.chars().count() <= NAME_CHARS_MAX)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance in which swapping two neighbours counts one, and case counts nothing.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let width = b.len() + 1;
    let mut rows = vec![0; (a.len() + 1) * width];
    for (j, cell) in rows.iter_mut().take(width).enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        rows[i * width] = i;
        for j in 1..=b.len() {
            let substitute = rows[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitute.min(rows[(i - 1) * width + j] + 1).min(rows[i * width + j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[(i - 2) * width + j - 2] + 1);
            }
            rows[i * width + j] = best;
        }
    }
    rows[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_finds_its_word() {
        let known = ["entry", "exit", "initial", "states", "on"];
        assert_eq!(closest("entyr", known), Some("entry"));
        assert_eq!(closest("intial", known), Some("initial"));
        assert_eq!(closest("On", known), Some("on"));
        assert_eq!(closest("payload", known), None);
        assert_eq!(closest("x", known), None);
    }
}
