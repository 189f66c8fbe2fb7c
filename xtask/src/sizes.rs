//! How large a thing may become before it is two: fields of a type, lines of a function. Read from the text as rustfmt writes it.

use crate::failure::Failure;
use std::fs;
use std::path::Path;

/// Fields of a type.
const FIELDS: usize = 15;
/// Lines of a function, without that of its name and its last brace.
const LINES: usize = 60;

/// Types that may have more: tables of settings, a field for each.
const TABLES: &[&str] = &["Limits", "Settings", "Habits"];

/// What is too large in these files, each as a sentence.
pub(crate) fn too_large<'a>(root: &Path, files: impl Iterator<Item = &'a Path>) -> Result<Vec<String>, Failure> {
    let mut faults = Vec::new();
    for path in files {
        let text = fs::read_to_string(path).map_err(Failure::file(&path))?;
        let shown = path.strip_prefix(root).unwrap_or(path).display();
        faults.extend(of_text(&text).into_iter().map(|fault| format!("{shown}: {fault}")));
    }
    Ok(faults)
}

fn of_text(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut faults = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let inside = || body(&lines[at..]);
        if let Some(name) = named(line, "struct ")
            && !TABLES.contains(&name)
        {
            let fields = fields(line, inside());
            if fields > FIELDS {
                faults.push(format!(
                    "{name} has {fields} fields, and {FIELDS} are enough: what belongs together is a type"
                ));
            }
        }
        if let Some(name) = named(line, "fn ") {
            let length = inside().len();
            if length > LINES {
                faults.push(format!("{name} has {length} lines, and {LINES} are enough"));
            }
        }
    }
    faults
}

/// The name that a line gives to a type or a function.
fn named<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    let (before, rest) = line.split_once(keyword)?;
    let known = ["pub", "const", "async", "unsafe", "extern", "\"C\""];
    let is_item = before.split_whitespace().all(|word| known.contains(&word) || word.starts_with("pub("));
    is_item.then(|| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()).flatten()
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The lines between the first one and the brace that closes it; none if it is closed where it begins.
fn body<'a>(lines: &'a [&'a str]) -> &'a [&'a str] {
    let Some((first, rest)) = lines.split_first() else { return &[] };
    if first.ends_with(';') || first.ends_with('}') {
        return &[];
    }
    let closes = |line: &&str| indent(line) == indent(first) && (line.trim() == "}" || line.ends_with(';'));
    rest.iter().position(closes).map_or(&[], |end| &rest[..end])
}

/// Lines of a body that begin a field.
fn fields(first: &str, body: &[&str]) -> usize {
    let is_field = |line: &&&str| {
        let name = line.trim_start();
        let name =
            name.strip_prefix("pub ").or_else(|| Some(name.strip_prefix("pub(")?.split_once(") ")?.1)).unwrap_or(name);
        let is_name =
            |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '#') && !name.is_empty();
        indent(line) == indent(first) + 4 && name.split_once(':').is_some_and(|(name, _)| is_name(name))
    };
    body.iter().filter(is_field).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large(fields: usize, lines: usize) -> String {
        let fields: String = (0..fields)
            .map(|n| format!("    /// About it.\n    pub(crate) f{n}: Option<std::sync::Arc<u8>>,\n"))
            .collect();
        let lines = "        work();\n".repeat(lines);
        format!(
            "pub struct Much<T> {{\n{fields}}}\n\nimpl Much {{\n    pub(crate) fn long(\n        &self,\n    ) {{\n{lines}    }}\n}}\n"
        )
    }

    #[test]
    fn what_is_too_large_is_named() {
        assert_eq!(of_text(&large(15, 57)), [""; 0]);
        let faults = of_text(&large(16, 90));
        assert!(
            faults[0].starts_with("Much has 16 fields") && faults[1].starts_with("long has 92 lines"),
            "{faults:?}"
        );
        assert_eq!(of_text(&large(16, 1).replace("Much", "Limits")), [""; 0], "a table of settings");
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        assert_eq!(named("    let fn_of = |x| x;", "fn "), None);
        assert_eq!(named("    // a fn that", "fn "), None);
        assert_eq!(named("pub(super) const fn at(", "fn "), Some("at"));
        assert_eq!(of_text("struct Unit;\nstruct One(u8);\nfn short() {}\n"), [""; 0]);
    }
}
