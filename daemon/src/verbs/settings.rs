//! `config`: the result of flags, environment, file and defaults, and where each value came from.

use super::args::ConfigArgs;
use crate::config::{Config, Given, Setting, Source};
use crate::failure::Failure;
use crate::kind::{Kind, count};
use crate::output::{Format, Printer, Style, Table};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Prints the configuration that a daemon would start with here.
pub(crate) fn config(args: &ConfigArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let (flags, context) = (args.settings.given.clone(), args.context.as_deref());
    // Of the contexts only one that `--context` names belongs in a file, not the current one.
    let config = match (printer.format, context) {
        (Format::Toml, None) => Config::load(flags, file)?,
        (_, context) => Config::load_for_client(flags, file, context)?,
    };
    config.daemon()?;
    let shown: Vec<_> =
        config.entries().filter(|(_, given)| !args.changed || given.source != Source::Default).collect();
    if printer.format == Format::Toml {
        return printer.answer(&as_file(&shown), Table::default);
    }
    let entries = shown.iter().map(|(setting, given)| (setting.key.to_owned(), entry(setting, given)));
    printer.answer(&Value::Object(Map::from_iter(entries)), || table(&shown))
}

/// The values in the sections of the file. Secrets are left out: a file that is shown or copied is no place for them.
fn as_file(shown: &[(&Setting, &Given)]) -> Value {
    let mut file = json!({});
    for (setting, given) in shown.iter().filter(|(setting, given)| !setting.is_secret() && !given.items.is_empty()) {
        let scalar = |text: &String| match setting.kind {
            Kind::Count { .. } => count(text).map_or_else(|| json!(text), |number| json!(number)),
            _ => json!(text),
        };
        let values: Vec<_> = given.items.iter().map(scalar).collect();
        let value = if setting.many { json!(values) } else { values.into_iter().next().unwrap_or_default() };
        match setting.key.split_once('.') {
            Some((section, name)) => file[section][name] = value,
            None => file[setting.key] = value,
        }
    }
    file
}

fn entry(setting: &Setting, given: &Given) -> Value {
    let items = visible(setting, given);
    let value = match (setting.many, items.first()) {
        (true, _) => json!(items),
        (false, Some(text)) => json!(text),
        (false, None) => Value::Null,
    };
    json!({"value": value, "from": given.source.to_string()})
}

fn table(shown: &[(&Setting, &Given)]) -> Table {
    let mut table = Table::new(["SETTING", "VALUE", "FROM"]).or("every value is a default");
    for (setting, given) in shown {
        let source = if given.source == Source::Default { Style::Faint } else { Style::Good };
        let value = visible(setting, given).join(", ");
        let value = if value.is_empty() { ("(none)".to_owned(), Style::Faint) } else { (value, Style::Plain) };
        table.styled([(setting.key.to_owned(), Style::Strong), value, (given.source.to_string(), source)]);
    }
    table
}

/// The texts of a setting, without its secrets.
fn visible(setting: &Setting, given: &Given) -> Vec<String> {
    if setting.is_secret() { given.items.iter().map(|_| "(secret)".to_owned()).collect() } else { given.items.clone() }
}
