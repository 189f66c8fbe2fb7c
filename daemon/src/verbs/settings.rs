//! `config`: the result of flags, environment, file and defaults, and where each value came from.

use crate::cli::ConfigArgs;
use crate::config::{Config, Given, Setting, Source};
use crate::failure::Failure;
use crate::output::{Printer, Style, Table};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Prints the configuration that a daemon would start with here.
pub(crate) fn config(args: &ConfigArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let config = Config::load(args.settings.given.clone(), file)?;
    config.daemon()?;
    let shown: Vec<_> =
        config.entries().filter(|(_, given)| !args.changed || given.source != Source::Default).collect();
    let entries = shown.iter().map(|(setting, given)| (setting.key.to_owned(), entry(setting, given)));
    printer.answer(&Value::Object(Map::from_iter(entries)), || table(&shown))
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
