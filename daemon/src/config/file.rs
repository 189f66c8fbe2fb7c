//! Reads `statemesh.toml` into texts for each key, with the line of each, and refuses what it does not know.

use super::settings::{SETTINGS, Setting, did_you_mean};
use crate::kind::Kind;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// A setting that the file gives.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) setting: &'static Setting,
    pub(crate) items: Vec<String>,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// What is wrong in the file, and where.
#[derive(Debug, PartialEq)]
pub(crate) struct Fault {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// Reads the file's text, and says everything that is wrong in it. A value is not yet checked against its kind, only against its
/// shape (one or many).
pub(crate) fn read(text: &str) -> (Vec<Entry>, Vec<Fault>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut faults: Vec<_> = errors
        .iter()
        .map(|error| Fault { line: line_of(text, error.span()), message: error.message().to_owned(), hint: None })
        .collect();
    let mut reader = Reader { text, entries: Vec::new(), faults: Vec::new() };
    // What is left of a text that is no TOML says little about what was meant.
    if faults.is_empty() {
        reader.table("", table.get_ref());
    }
    faults.append(&mut reader.faults);
    faults.sort_by_key(|fault| fault.line);
    (reader.entries, faults)
}

struct Reader<'a> {
    text: &'a str,
    entries: Vec<Entry>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    /// Reads a table; `section` is empty for the root. Sections are one deep, so this does not recurse further than once.
    fn table(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let line = line_of(self.text, Some(name.span()));
            let key =
                if section.is_empty() { name.get_ref().to_string() } else { format!("{section}.{}", name.get_ref()) };
            match (value.get_ref(), Setting::find(&key)) {
                (DeValue::Table(inner), None) if is_section(&key) => self.table(&key, inner),
                (value, Some(setting)) => match items(setting, value) {
                    Ok(items) => self.entries.push(Entry { setting, items, line }),
                    Err(why) => self.faults.push(Fault { line, message: why.to_string(), hint: None }),
                },
                (value, None) => self.faults.push(unknown(&key, matches!(value, DeValue::Table(_)), line)),
            }
        }
    }
}

fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.section() == Some(name))
}

fn unknown(key: &str, is_table: bool, line: usize) -> Fault {
    let keys = SETTINGS.iter().map(|setting| setting.key);
    let sections = SETTINGS.iter().filter_map(Setting::section);
    let near = if is_table { did_you_mean(key, sections) } else { did_you_mean(key, keys) };
    Fault {
        line,
        message: format!("unknown {} '{key}'", if is_table { "section" } else { "key" }),
        hint: Some(match near {
            Some(near) => format!("did you mean '{near}'?"),
            None => "statemesh config lists every key".to_owned(),
        }),
    }
}

/// A value that has not the shape of its setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Misshapen {
    #[error("'{0}' is one value, not a list")]
    List(&'static str),
    #[error("'{key}' is a list: write [{written}]")]
    NoList { key: &'static str, written: String },
    #[error("'{0}' is a number in base 10")]
    Base(&'static str),
    #[error("'{key}' is {kind}, not a {is}", kind = .kind.describe())]
    Type { key: &'static str, kind: Kind, is: &'static str },
}

fn items(setting: &Setting, value: &DeValue<'_>) -> Result<Vec<String>, Misshapen> {
    match value {
        DeValue::Array(values) if setting.many => values.iter().map(|value| scalar(setting, value.get_ref())).collect(),
        DeValue::Array(_) => Err(Misshapen::List(setting.key)),
        value if setting.many => Err(Misshapen::NoList { key: setting.key, written: written(value) }),
        value => Ok(vec![scalar(setting, value)?]),
    }
}

fn scalar(setting: &Setting, value: &DeValue<'_>) -> Result<String, Misshapen> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Integer(_) => Err(Misshapen::Base(setting.key)),
        other => Err(Misshapen::Type { key: setting.key, kind: setting.kind, is: other.type_str() }),
    }
}

fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{text}\""),
        _ => "...".to_owned(),
    }
}

fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let start = span.map_or(0, |span| span.start.min(text.len()));
    1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_with_their_lines() {
        let (entries, faults) =
            read("mesh = \"shop\"\n\n[limits]\nbatch = 5_000\n[discovery]\nseeds = [\"10.0.0.1:7403\"]\n");
        assert_eq!(faults, []);
        let found: Vec<_> =
            entries.iter().map(|entry| (entry.setting.key, entry.items.join(","), entry.line)).collect();
        assert!(found.contains(&("mesh", "shop".into(), 1)), "{found:?}");
        assert!(found.contains(&("discovery.seeds", "10.0.0.1:7403".into(), 6)), "{found:?}");
        assert!(found.iter().any(|(key, _, line)| *key == "limits.batch" && *line == 4), "{found:?}");
    }

    fn fault(text: &str) -> (usize, String, String) {
        let fault = read(text).1.remove(0);
        (fault.line, fault.message, fault.hint.unwrap_or_default())
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_one_that_was_meant() {
        let expected = (3, "unknown key 'limits.mesage_bytes'".into(), "did you mean 'limits.message_bytes'?".into());
        assert_eq!(fault("mesh = \"a\"\n[limits]\nmesage_bytes = 4\n"), expected);
        assert_eq!(fault("[limit]\n"), (1, "unknown section 'limit'".into(), "did you mean 'limits'?".into()));
    }

    #[test]
    fn a_value_of_the_wrong_shape_is_refused() {
        assert_eq!(fault("mesh = [\"a\"]").1, "'mesh' is one value, not a list");
        assert_eq!(fault("machines = \"m\"").1, "'machines' is a list: write [\"m\"]");
        assert_eq!(fault("partitions = 1.5").1, "'partitions' is a whole number from 1 to 65535, not a float");
        assert_eq!(fault("limits = 4").1, "unknown key 'limits'");
        assert_eq!(fault("mesh = \"a\"\nmesh = \"b\"").0, 2);
    }

    #[test]
    fn a_syntax_error_has_a_line() {
        assert_eq!(fault("mesh = \"a\"\nname = \n").0, 2);
    }

    #[test]
    fn every_mistake_is_told_in_the_order_of_the_lines() {
        let lines = |text| read(text).1.iter().map(|fault| fault.line).collect::<Vec<_>>();
        assert_eq!(lines("[limits]\nbatch = [1]\nbach = 1\n\n[limit]\n"), [2, 3, 5]);
        assert_eq!(lines("mesh = \nname = \n"), [1, 2], "of a text that is no TOML too");
    }
}
