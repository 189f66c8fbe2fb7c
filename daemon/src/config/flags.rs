//! A flag for each setting, made from the table, so that a setting cannot lack one.

use super::settings::{SETTINGS, Setting};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use std::collections::BTreeMap;

/// What the heading of a setting's flag begins with in help texts.
pub(crate) const SETTINGS_HEADING: &str = "Settings";

/// The flags that were given, by key. Their texts are checked together with those of the other sources.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingFlags {
    pub(crate) given: BTreeMap<&'static str, Vec<String>>,
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut flags = SettingFlags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for setting in daemon_settings() {
            if let Ok(Some(texts)) = matches.try_get_many::<String>(setting.key) {
                self.given.insert(setting.key, texts.cloned().collect());
            }
        }
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        command.args(daemon_settings().filter_map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn daemon_settings() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| !setting.is_client())
}

fn argument(setting: &'static Setting) -> Option<Arg> {
    let default = if setting.default.is_empty() { String::new() } else { format!(" [default: {}]", setting.default) };
    let action = if setting.many { ArgAction::Append } else { ArgAction::Set };
    let heading = setting
        .section()
        .map_or_else(|| SETTINGS_HEADING.to_owned(), |section| format!("{SETTINGS_HEADING}: {section}"));
    Some(
        Arg::new(setting.key)
            .long(setting.flag()?)
            .value_name(setting.kind.placeholder())
            .help(format!("{}{default}", setting.help))
            .help_heading(heading)
            .action(action),
    )
}
