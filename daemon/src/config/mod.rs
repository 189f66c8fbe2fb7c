//! Configuration: flags, then the environment, then the file, then defaults; each value knows where it came from. For the command line's own
//! settings there are contexts too: one that `--context` names comes right after the flags, any other after the environment, and the current one
//! after a file that is named as well, since a user who names a file means it.

mod contexts;
mod file;
mod flags;
mod options;
mod settings;

pub(crate) use contexts::{CONTEXT_VARIABLE, Choice, Chosen, Context, Contexts};
pub(crate) use flags::{SETTINGS_HEADING, SettingFlags};
pub(crate) use options::{LogFormat, Logs};
pub(crate) use settings::{
    CLIENT_ADDRESS, CLIENT_KEY, CLIENT_LIST, CLIENT_TIMEOUT, DEFAULT_ADDRESS, GOSSIP_KEYS_FILE, OWN_KEY_FILE,
    SERVER_KEY, SETTINGS, Setting, did_you_mean,
};

use crate::failure::Failure;
use crate::output::OUTPUT_VARIABLE;
use crate::{key_files, kind};
use statemesh_transport::curve::{PublicKey, Security};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file that is read when none is named and it exists, in this order.
pub(crate) const USUAL_FILES: [&str; 2] = ["statemesh.toml", "/etc/statemesh/statemesh.toml"];
/// Names the file.
pub(crate) const FILE_VARIABLE: &str = "STATEMESH_CONFIG";
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// A flag of the command line.
    Flag(String),
    /// An environment variable.
    Environment(String),
    /// A line of the file.
    File(PathBuf, usize),
    /// A context.
    Context(String),
    /// No other source gave one.
    Default,
}

impl Source {
    /// The line of the file; 0 where it came from somewhere else.
    fn line(&self) -> usize {
        if let Source::File(_, line) = self { *line } else { 0 }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag(flag) => write!(f, "flag --{flag}"),
            Source::Environment(name) => write!(f, "environment {name}"),
            Source::File(path, line) => write!(f, "{}:{line}", path.display()),
            Source::Context(name) => write!(f, "context {name}"),
            Source::Default => f.write_str("default"),
        }
    }
}

/// A value and its source.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// The texts; none where the setting has no value.
    pub(crate) items: Vec<String>,
    pub(crate) source: Source,
}

/// What a configuration is made of, so that tests need no process environment.
pub(crate) struct Sources {
    /// Flags by key.
    pub(crate) flags: BTreeMap<&'static str, Vec<String>>,
    /// The environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// The file and its text.
    pub(crate) file: Option<(PathBuf, String)>,
    /// Whether a flag or a variable names the file.
    pub(crate) file_is_named: bool,
    /// The context that is used.
    pub(crate) context: Option<Chosen>,
}

/// Every setting with its value.
#[derive(Debug)]
pub(crate) struct Config {
    values: BTreeMap<&'static str, Given>,
}

impl Config {
    /// Reads the process's environment and the file that is named or usual. Contexts are the command line's alone: a daemon does
    /// not depend on what its user is working on.
    pub(crate) fn load(flags: BTreeMap<&'static str, Vec<String>>, file: Option<&Path>) -> Result<Config, Failure> {
        Config::read(flags, file, |_| Ok(None))
    }

    /// The same with the context that is named, or current.
    pub(crate) fn load_for_client(
        flags: BTreeMap<&'static str, Vec<String>>,
        file: Option<&Path>,
        context: Option<&str>,
    ) -> Result<Config, Failure> {
        Config::read(flags, file, |environment| {
            let variable = environment.get(CONTEXT_VARIABLE).map(String::as_str).filter(|name| !name.is_empty());
            contexts::chosen(context, variable)
        })
    }

    fn read(
        flags: BTreeMap<&'static str, Vec<String>>,
        file: Option<&Path>,
        context: impl FnOnce(&BTreeMap<String, String>) -> Result<Option<Chosen>, Failure>,
    ) -> Result<Config, Failure> {
        let is_ours = |name: &String| name.starts_with("STATEMESH_");
        let environment: BTreeMap<_, _> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .filter(|(name, _)| is_ours(name))
            .collect();
        let named = file
            .map(Path::to_owned)
            .or_else(|| environment.get(FILE_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from));
        let context = context(&environment)?;
        let file_is_named = named.is_some();
        Config::resolve(&Sources { flags, file: read_file(named)?, file_is_named, context, environment })
    }

    /// Merges the sources, and checks every value that was given, also one that another source overrides.
    pub(crate) fn resolve(sources: &Sources) -> Result<Config, Failure> {
        let mut wrong: Vec<Placed> =
            check_variables(&sources.environment).into_iter().map(|failure| (0, failure)).collect();
        let mut values: BTreeMap<&'static str, Given> = SETTINGS
            .iter()
            .map(|setting| (setting.key, Given { items: default_items(setting), source: Source::Default }))
            .collect();
        let (of_file, faults) = from_file(sources);
        wrong.extend(faults);
        // A later source replaces the values of an earlier one.
        let mut ranked =
            [(Rank::File, of_file), (Rank::Environment, from_environment(sources)), (Rank::Flags, from_flags(sources))]
                .into_iter()
                .chain([(rank_of_context(sources), from_context(sources))])
                .collect::<Vec<_>>();
        ranked.sort_by_key(|(rank, _)| *rank);
        for (setting, given) in ranked.into_iter().flat_map(|(_, given)| given) {
            let bad = given.items.iter().filter_map(|item| setting.kind.check(item).err());
            wrong.extend(bad.map(|why| (given.source.line(), bad_value(setting, &given.source, &why.to_string()))));
            values.insert(setting.key, given);
        }
        wrong.sort_by_key(|(line, _)| *line);
        Failure::all("mistakes in the configuration", wrong.into_iter().map(|(_, failure)| failure).collect())?;
        Ok(Config { values })
    }

    /// Every setting with its value, in the table's order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'static Setting, &Given)> {
        SETTINGS.iter().filter_map(|setting| Some((setting, self.values.get(setting.key)?)))
    }

    /// The texts of a setting.
    pub(crate) fn items(&self, key: &str) -> &[String] {
        self.values.get(key).map_or(&[], |given| &given.items)
    }

    /// The text of a setting that is not a list, if it has one.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.items(key).first().map(String::as_str)
    }

    /// Where a setting's value came from.
    pub(crate) fn source(&self, key: &str) -> Source {
        self.values.get(key).map_or(Source::Default, |given| given.source.clone())
    }

    fn span(&self, key: &str) -> Duration {
        self.text(key).and_then(kind::span).unwrap_or_default()
    }

    /// The daemon that the command line talks to, for how long it waits for its answer, and with which keys.
    pub(crate) fn client(&self) -> Result<Target, Failure> {
        let security = match (self.text(CLIENT_KEY), self.text(SERVER_KEY)) {
            (None, None) => Security::None,
            (Some(path), Some(server)) => {
                let making = format!("a new one: statemesh keys new {path}; who runs the daemons lets it in");
                let own = key_files::read_pair(Path::new(path))
                    .map_err(|failure| key_files::of_setting(failure, CLIENT_KEY, &making))?;
                let server = PublicKey::from_z85(server).map_err(|error| Failure::usage(error.to_string()))?;
                Security::Client { own, server }
            }
            (Some(_), None) => return Err(half_of_keys(SERVER_KEY, "--server-key or STATEMESH_SERVER_KEY")),
            (None, Some(_)) => return Err(half_of_keys(CLIENT_KEY, "--key or STATEMESH_KEY")),
        };
        let timeout = self.span(CLIENT_TIMEOUT);
        if timeout.is_zero() {
            let message = format!("{}: 0 leaves no time for an answer", self.source(CLIENT_TIMEOUT));
            return Err(Failure::usage(message).hint("write a time such as 500ms, 5s or 2m"));
        }
        let addresses = self.text(CLIENT_ADDRESS).and_then(kind::daemons).unwrap_or_default();
        Ok(Target { addresses, timeout, security })
    }
}

/// Whom the command line talks to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `tcp://host:port`, one at least; the first that answers is asked.
    pub(crate) addresses: Vec<String>,
    /// For how long it waits for an answer.
    pub(crate) timeout: Duration,
    /// With which keys.
    pub(crate) security: Security,
}

fn half_of_keys(missing: &str, how: &str) -> Failure {
    Failure::usage(format!(
        "{missing} is missing: to talk over CURVE takes the client's keys and the daemons' public key"
    ))
    .hint(format!("give {how} as well"))
}

fn read_file(named: Option<PathBuf>) -> Result<Option<(PathBuf, String)>, Failure> {
    let usual = || USUAL_FILES.iter().map(PathBuf::from).find(|path| path.exists());
    let Some(path) = named.or_else(usual) else {
        return Ok(None);
    };
    let too_long = std::fs::metadata(&path).is_ok_and(|data| data.len() > MAX_FILE_BYTES);
    if too_long {
        return Err(Failure::usage(format!("{}: longer than {MAX_FILE_BYTES} bytes", path.display())));
    }
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) => Err(Failure::usage(format!("{}: {error}", path.display()))
            .hint("name another file with --config, or none to use the defaults")),
    }
}

/// A mistake, and the line of the file that it is in; 0: it is somewhere else.
type Placed = (usize, Failure);

fn from_file(sources: &Sources) -> (Vec<(&'static Setting, Given)>, Vec<Placed>) {
    let Some((path, text)) = &sources.file else {
        return (Vec::new(), Vec::new());
    };
    let (entries, faults) = file::read(text);
    let failure = |fault: file::Fault| {
        let failure = Failure::usage(format!("{}:{}: {}", path.display(), fault.line, fault.message));
        (fault.line, fault.hint.into_iter().fold(failure, Failure::hint))
    };
    let given = |entry: file::Entry| Given { items: entry.items, source: Source::File(path.clone(), entry.line) };
    let entries = entries.into_iter().map(|entry| (entry.setting, given(entry))).collect();
    (entries, faults.into_iter().map(failure).collect())
}

/// Sources from the least to the one that comes before all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Where the file is named.
    CurrentContext,
    File,
    Context,
    Environment,
    ContextByFlag,
    Flags,
}

/// A context is what a person chose for all commands; a file that was not named may be there for a daemon.
fn rank_of_context(sources: &Sources) -> Rank {
    match sources.context.as_ref().map(|chosen| chosen.how) {
        Some(Choice::Flag) => Rank::ContextByFlag,
        Some(Choice::Current) if sources.file_is_named => Rank::CurrentContext,
        Some(Choice::Variable | Choice::Current) | None => Rank::Context,
    }
}

fn from_context(sources: &Sources) -> Vec<(&'static Setting, Given)> {
    let Some(Chosen { name, context, .. }) = &sources.context else {
        return Vec::new();
    };
    let read = |(key, text): (&String, &String)| {
        let setting = Setting::find(&format!("client.{key}"))?;
        Some((setting, Given { items: vec![text.clone()], source: Source::Context(name.clone()) }))
    };
    context.iter().filter_map(read).collect()
}

/// A variable that is set but empty counts as not set: charts and scripts pass such through.
fn from_environment(sources: &Sources) -> Vec<(&'static Setting, Given)> {
    let read = |setting: &'static Setting| {
        let name = setting.variable();
        let text = sources.environment.get(&name).filter(|text| !text.is_empty())?;
        Some((setting, Given { items: split(setting, text), source: Source::Environment(name) }))
    };
    SETTINGS.iter().filter_map(read).collect()
}

fn from_flags(sources: &Sources) -> Vec<(&'static Setting, Given)> {
    let read = |setting: &'static Setting| {
        let items = sources.flags.get(setting.key)?.iter().flat_map(|text| split(setting, text)).collect();
        Some((setting, Given { items, source: Source::Flag(setting.flag()?) }))
    };
    SETTINGS.iter().filter_map(read).collect()
}

/// A list is written with commas wherever there are no brackets. A filter of log lines has commas of its own.
fn split(setting: &Setting, text: &str) -> Vec<String> {
    match setting.many {
        true => text.split(',').map(|item| item.trim().to_owned()).collect(),
        false => vec![text.to_owned()],
    }
}

fn default_items(setting: &Setting) -> Vec<String> {
    if setting.key == "name" { vec![host_name()] } else { setting.default_items() }
}

fn host_name() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    let name = read.unwrap_or_default().trim().to_owned();
    if kind::Kind::Name.check(&name).is_ok() { name } else { "statemesh".to_owned() }
}

fn bad_value(setting: &Setting, source: &Source, wrong: &str) -> Failure {
    let place = match source {
        Source::File(path, line) => format!("{}:{line}: {}", path.display(), setting.key),
        Source::Flag(flag) => format!("--{flag}"),
        Source::Environment(name) => name.clone(),
        Source::Context(name) => format!("context {name}: {}", setting.key),
        Source::Default => setting.key.to_owned(),
    };
    Failure::usage(format!("{place}: {wrong}"))
}

/// Refuses variables of ours that mean nothing. Kubernetes sets variables for a Service named statemesh in every pod of
/// its namespace (STATEMESH_SERVICE_HOST, STATEMESH_PORT_7400_TCP_ADDR, ...): those are not ours.
fn check_variables(environment: &BTreeMap<String, String>) -> Vec<Failure> {
    let others = [FILE_VARIABLE, CONTEXT_VARIABLE, OUTPUT_VARIABLE].map(str::to_owned);
    let known: Vec<String> = SETTINGS.iter().map(Setting::variable).chain(others).collect();
    let is_strange = |name: &&String| !known.contains(name) && !is_service_link(name) && !is_of_tools(name);
    let failure = |name: &String| {
        let failure = Failure::usage(format!("unknown environment variable {name}"));
        match did_you_mean(name, known.iter().map(String::as_str)) {
            Some(near) => failure.hint(format!("did you mean {near}?")),
            None => failure.hint("unset it; statemesh config lists every setting"),
        }
    };
    environment.keys().filter(is_strange).map(failure).collect()
}

/// Variables of the project's own tests and benches, which they hand to the daemons that they start.
fn is_of_tools(name: &str) -> bool {
    const PREFIXES: [&str; 4] = ["STATEMESH_BIN", "STATEMESH_BENCH_", "STATEMESH_E2E_", "STATEMESH_TEST_"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn is_service_link(name: &str) -> bool {
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"].iter().any(|end| name.ends_with(end))
        || name.contains("_SERVICE_PORT_")
        || name.split_once("_PORT_").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(flags: &[(&'static str, &str)], environment: &[(&str, &str)], file: &str) -> Sources {
        Sources {
            flags: flags.iter().map(|(key, text)| (*key, vec![(*text).to_owned()])).collect(),
            environment: environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
            file: (!file.is_empty()).then(|| (PathBuf::from("statemesh.toml"), file.to_owned())),
            file_is_named: false,
            context: None,
        }
    }

    #[test]
    fn flags_come_before_environment_before_file_before_defaults() {
        let file = "mesh = 'file'\nname = 'file'\npartitions = 7";
        let environment = [("STATEMESH_MESH", "environment"), ("STATEMESH_NAME", "environment")];
        let config = Config::resolve(&sources(&[("mesh", "flag")], &environment, file)).unwrap();
        let seen = |key| (config.text(key).unwrap().to_owned(), config.source(key).to_string());
        assert_eq!(seen("mesh"), ("flag".into(), "flag --mesh".into()));
        assert_eq!(seen("name"), ("environment".into(), "environment STATEMESH_NAME".into()));
        assert_eq!(seen("partitions"), ("7".into(), "statemesh.toml:3".into()));
        assert_eq!(seen("limits.batch"), ("10000".into(), "default".into()));
    }

    #[test]
    fn a_context_that_is_named_is_heard_before_one_that_is_current() {
        let address = |how, file_is_named, environment: &[(&str, &str)], flags: &[(&'static str, &str)]| {
            let mut sources = sources(flags, environment, "[client]\naddress = 'file'\ntimeout = '1s'");
            let context = Context::from([("address".to_owned(), "context".to_owned())]);
            sources.context = Some(Chosen { name: "shop".to_owned(), how, context });
            sources.file_is_named = file_is_named;
            let config = Config::resolve(&sources).unwrap();
            assert_eq!(config.text(CLIENT_TIMEOUT), Some("1s"), "what it does not say is the file's");
            config.text(CLIENT_ADDRESS).unwrap().to_owned()
        };
        let variable = [("STATEMESH_ADDRESS", "variable")];
        let flag = [(CLIENT_ADDRESS, "flag")];
        for named in [false, true] {
            assert_eq!(address(Choice::Flag, named, &variable, &flag), "flag");
            assert_eq!(address(Choice::Flag, named, &variable, &[]), "context");
            assert_eq!(address(Choice::Variable, named, &variable, &[]), "variable");
            assert_eq!(address(Choice::Variable, named, &[], &[]), "context");
            assert_eq!(address(Choice::Current, named, &variable, &[]), "variable");
        }
        assert_eq!(address(Choice::Current, false, &[], &[]), "context");
        assert_eq!(address(Choice::Current, true, &[], &[]), "file");
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let file = "partitions = 0\nmseh = 'a'\n";
        let told = refusal(&sources(&[("mesh", "a b")], &[("STATEMESH_NAM", "x")], file));
        for part in ["4 mistakes", "STATEMESH_NAM", "statemesh.toml:1", "statemesh.toml:2", "did you mean", "--mesh"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    fn refusal(sources: &Sources) -> String {
        let failure = Config::resolve(sources).unwrap_err();
        [failure.message, failure.hint.unwrap_or_default()].join(" | ")
    }

    #[test]
    fn a_bad_value_is_refused_with_its_place_even_where_it_is_overridden() {
        let wrong = "is not a whole number from 1 to 65535 | ";
        assert_eq!(refusal(&sources(&[("partitions", "many")], &[], "")), format!("--partitions: 'many' {wrong}"));
        assert_eq!(
            refusal(&sources(&[], &[("STATEMESH_PARTITIONS", "0")], "")),
            format!("STATEMESH_PARTITIONS: '0' {wrong}")
        );
        assert_eq!(
            refusal(&sources(&[("partitions", "5")], &[], "\npartitions = 70000")),
            format!("statemesh.toml:2: partitions: '70000' {wrong}")
        );
    }

    #[test]
    fn an_unknown_variable_is_refused_unless_kubernetes_set_it() {
        let message = refusal(&sources(&[], &[("STATEMESH_MESHH", "a")], ""));
        assert_eq!(message, "unknown environment variable STATEMESH_MESHH | did you mean STATEMESH_MESH?");
        let links =
            ["STATEMESH_SERVICE_HOST", "STATEMESH_PORT", "STATEMESH_PORT_7400_TCP_ADDR", "STATEMESH_SERVICE_PORT_HTTP"];
        let links: Vec<_> = links.iter().map(|name| (*name, "tcp://10.0.0.1:7400")).collect();
        assert!(Config::resolve(&sources(&[], &links, "")).is_ok());
    }

    #[test]
    fn lists_are_written_with_commas_outside_of_the_file() {
        let config =
            Config::resolve(&sources(&[], &[("STATEMESH_DISCOVERY_SEEDS", "10.0.0.1:7403, 10.0.0.2:7403")], ""));
        assert_eq!(config.unwrap().items("discovery.seeds"), ["10.0.0.1:7403", "10.0.0.2:7403"]);
    }
}
