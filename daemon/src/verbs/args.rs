//! The arguments of the verbs that talk to a mesh.

use super::bench::{CONNECTIONS, MAX_KEYS};
use crate::config::SettingFlags;
use crate::connect::Connect;
use crate::faults::FaultsArg;
use crate::output::printable;
use clap::builder::NonEmptyStringValueParser as NotEmpty;
use clap::{Args, ValueEnum};
use statemesh_client::{Conditions, RunId};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Why a word of the command line is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadWord {
    #[error("an instance is written machine/key, such as order/42")]
    Instance,
    #[error("a machine, such as order, or an instance, such as order/42")]
    Watched,
    #[error("it is written PATH=JSON")]
    There,
    #[error("there is nothing behind the `=`; the empty text is written in quotes: 'PATH=\"\"'")]
    Nothing,
    #[error("a run is written in hexadecimal digits, as in replies")]
    Run,
    #[error("a time is written as 500ms, 10s or 2h")]
    Span,
    #[error("the least is 100ms")]
    Interval,
    #[error("a whole number, 0 or more")]
    Whole,
}

/// An instance: `machine/key`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) machine: String,
    pub(crate) key: String,
}

/// For a person: a key may hold anything, which must not look as if it were more than a name.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", printable(&self.machine), printable(&self.key))
    }
}

impl FromStr for Target {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((machine, key)) if !machine.is_empty() && !key.is_empty() => {
                Ok(Target { machine: machine.to_owned(), key: key.to_owned() })
            }
            _ => Err(BadWord::Instance),
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct TargetArgs {
    /// The instance
    #[arg(value_name = "MACHINE/KEY")]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

/// On what a request that changes an instance depends.
#[derive(Args, Debug, Default)]
pub(crate) struct ConditionArgs {
    /// Makes a retry harmless: the first answer to this token is given again
    #[arg(long, value_name = "TOKEN", value_parser = NotEmpty::new())]
    pub(crate) dedup: Option<String>,
    /// Only if the instance is in this life of its key, as replies say it
    #[arg(long, value_name = "RUN", value_parser = run)]
    pub(crate) if_run: Option<RunId>,
    /// Only if the instance stands at this transition
    #[arg(long, value_name = "SEQ", value_parser = whole)]
    pub(crate) if_seq: Option<u64>,
}

impl ConditionArgs {
    /// As the request says it.
    pub(crate) fn given(&self) -> Conditions<&str> {
        Conditions { dedup: self.dedup.as_deref(), if_run: self.if_run, if_seq: self.if_seq }
    }
}

/// Of a verb that changes an instance and needs no more than its name.
#[derive(Args, Debug)]
pub(crate) struct ActArgs {
    /// The instance
    #[arg(value_name = "MACHINE/KEY")]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) conditions: ConditionArgs,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// The instance
    #[arg(value_name = "MACHINE/KEY")]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) until: UntilArgs,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// The instance; or the machine whose instances are meant that are as the options say
    #[arg(value_name = "MACHINE[/KEY]", value_parser = to_delete)]
    pub(crate) target: Watched,
    #[command(flatten)]
    pub(crate) filter: WhereArgs,
    /// All instances of the machine
    #[arg(long)]
    pub(crate) all: bool,
    /// Only count them
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) conditions: ConditionArgs,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args, Debug)]
pub(crate) struct DefineArgs {
    /// Files with a definition each; - is stdin
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args, Debug)]
pub(crate) struct SendArgs {
    /// The instance
    #[arg(value_name = "MACHINE/KEY")]
    pub(crate) target: Target,
    /// The event's type
    #[arg(value_parser = NotEmpty::new())]
    pub(crate) event: String,
    /// The event's other fields: a JSON object, @FILE or - for stdin
    #[arg(short, long, value_name = "JSON")]
    pub(crate) data: Option<String>,
    #[command(flatten)]
    pub(crate) conditions: ConditionArgs,
    #[command(flatten)]
    pub(crate) until: UntilArgs,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args, Debug)]
pub(crate) struct StartArgs {
    /// The instance
    #[arg(value_name = "MACHINE/KEY")]
    pub(crate) target: Target,
    /// Its input: JSON, @FILE or - for stdin
    #[arg(short, long, value_name = "JSON")]
    pub(crate) input: Option<String>,
    /// Stop the instance that is there, and let the new one take its place
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) conditions: ConditionArgs,
    #[command(flatten)]
    pub(crate) until: UntilArgs,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The instance
    #[arg(value_name = "MACHINE/KEY")]
    pub(crate) target: Target,
    /// The event's type
    #[arg(value_parser = NotEmpty::new())]
    pub(crate) event: String,
    /// The event's other fields: a JSON object, @FILE or - for stdin
    #[arg(short, long, value_name = "JSON")]
    pub(crate) data: Option<String>,
    /// What would become of an expression without a value, whatever the definition says
    #[arg(long, value_enum, value_name = "WORD")]
    pub(crate) faults: Option<FaultsArg>,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// Watch only this machine, or this instance
    #[arg(value_name = "MACHINE[/KEY]")]
    pub(crate) target: Option<Watched>,
    /// End after this many changes
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = whole)]
    pub(crate) count: Option<u64>,
    /// Print only changes for these reasons
    #[arg(long, value_enum, value_name = "WORD,WORD", value_delimiter = ',')]
    pub(crate) reason: Vec<Reason>,
    /// Print only changes with one of these effects
    #[arg(long, value_name = "TYPE,TYPE", value_delimiter = ',', value_parser = NotEmpty::new())]
    pub(crate) effect: Vec<String>,
    /// Begin with the transitions of the instance within this time, such as 10m, as far as its history has them
    #[arg(long, value_name = "TIME", value_parser = span, requires = "target")]
    pub(crate) since: Option<Duration>,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// Count only this machine
    #[arg(value_name = "MACHINE", value_parser = NotEmpty::new())]
    pub(crate) machine: Option<String>,
    /// For how long to count for each table, such as 1s or 1m
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = interval)]
    pub(crate) every: Duration,
    /// End after this many tables
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = whole)]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

/// Why there is a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reason {
    /// The instance was created.
    Start,
    /// It took an event.
    Event,
    /// A timer of it fired.
    Timer,
    /// It was stopped.
    Stop,
    /// Its timer was fired again.
    Retry,
    /// Its timer was dropped.
    Skip,
    /// It was removed.
    Delete,
    /// It had ended, and its time was over.
    Expire,
    /// It began anew, its predecessor having been lost.
    Restart,
    /// It went with its daemon.
    Lost,
    /// It was owned twice.
    Conflict,
}

impl Reason {
    /// The word that changes have for it.
    pub(crate) fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// What is watched: `machine`, `machine/` or `machine/key`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Watched {
    pub(crate) machine: String,
    pub(crate) key: Option<String>,
}

impl FromStr for Watched {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (machine, key) = text.split_once('/').unwrap_or((text, ""));
        if machine.is_empty() {
            return Err(BadWord::Watched);
        }
        Ok(Watched { machine: machine.to_owned(), key: (!key.is_empty()).then(|| key.to_owned()) })
    }
}

/// What an answer waits for.
#[derive(Args, Debug, Default)]
pub(crate) struct UntilArgs {
    /// Wait until the instance is in this state, such as refunding or refunding.stuck
    #[arg(long, value_name = "STATE", group = "until", value_parser = NotEmpty::new())]
    pub(crate) until_state: Option<String>,
    /// Wait until it is in a state with this tag
    #[arg(long, value_name = "TAG", group = "until", value_parser = NotEmpty::new())]
    pub(crate) until_tag: Option<String>,
    /// Wait until it has ended
    #[arg(long, group = "until")]
    pub(crate) until_done: bool,
    /// For how long to wait, such as 500ms or 2m; if it is not there by then, the exit code is 7 [default: 10s, or limits.wait of the daemon if that is less]
    #[arg(long, value_name = "TIME", value_parser = span, requires = "until")]
    pub(crate) within: Option<Duration>,
}

/// Which instances.
#[derive(Args, Debug, Default)]
pub(crate) struct WhereArgs {
    /// Only those whose key begins so
    #[arg(long, value_name = "TEXT", value_parser = NotEmpty::new())]
    pub(crate) prefix: Option<String>,
    /// Only those in this state, such as refunding or refunding.stuck
    #[arg(long, value_name = "STATE", value_parser = NotEmpty::new())]
    pub(crate) state: Option<String>,
    /// Only those in a state with this tag
    #[arg(long, value_name = "TAG", value_parser = NotEmpty::new())]
    pub(crate) tag: Option<String>,
    /// Only those with this status
    #[arg(long, value_name = "WORD", value_parser = ["active", "done", "error", "stopped"])]
    pub(crate) status: Option<String>,
    /// Only those that are stuck
    #[arg(long)]
    pub(crate) stuck: bool,
    /// Only those that began at least so long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) older: Option<Duration>,
    /// Only those that began at most so long ago
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) younger: Option<Duration>,
    /// Only those whose context has this JSON at this path, such as customer.id=7 (text may stand without quotes)
    #[arg(long, value_name = "PATH=JSON", value_parser = there)]
    pub(crate) having: Vec<(String, serde_json::Value)>,
}

#[derive(Args, Debug)]
pub(crate) struct InstancesArgs {
    /// The machine; without it all of them
    #[arg(value_name = "MACHINE", value_parser = NotEmpty::new())]
    pub(crate) machine: Option<String>,
    #[command(flatten)]
    pub(crate) filter: WhereArgs,
    /// How many to list, page after page
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Go on where an earlier list ended, with what that said: `next` of -o json, which is null at the end
    #[arg(long, value_name = "PLACE", value_parser = NotEmpty::new())]
    pub(crate) after: Option<String>,
    /// Count them by machine, state and status
    #[arg(long, conflicts_with_all = ["limit", "after"])]
    pub(crate) count: bool,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

/// What is at a path of a context: `customer.id=7`.
fn there(text: &str) -> Result<(String, serde_json::Value), BadWord> {
    let (path, value) = text.split_once('=').filter(|(path, _)| !path.is_empty()).ok_or(BadWord::There)?;
    // An unset variable of a shell would choose those whose text is empty, for `delete` among others.
    if value.trim().is_empty() {
        return Err(BadWord::Nothing);
    }
    Ok((path.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

#[derive(Args, Debug)]
pub(crate) struct PingArgs {
    /// Ask again for as long as this while no daemon answers, such as 60s: for scripts that start one
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = span)]
    pub(crate) wait: Duration,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Open loop: this many events a second, latency counted from when each was due
    #[arg(long, conflicts_with = "in_flight", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: Option<u32>,
    /// Closed loop: this many events without an answer at a time [default: one for each connection]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=MAX_KEYS))]
    pub(crate) in_flight: Option<u32>,
    /// For how long to measure, such as 10s or 2h
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = span)]
    pub(crate) duration: Duration,
    /// Load before that, which is not measured
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = span)]
    pub(crate) warm_up: Duration,
    /// Instances that the events go to, one event at a time to each; their keys are new ones
    #[arg(long, default_value_t = 1_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=MAX_KEYS))]
    pub(crate) keys: u32,
    /// A machine that is defined [default: one that counts, which is defined as statemesh-bench]
    #[arg(long, value_name = "NAME", requires = "event")]
    pub(crate) machine: Option<String>,
    /// The event, which must be a transition each time; nothing else may move the instances
    #[arg(long, value_name = "TYPE", requires = "machine")]
    pub(crate) event: Option<String>,
    /// Connections, over which the load is spread; if the address is a name with several addresses, each takes the next one
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(CONNECTIONS))]
    pub(crate) connections: u16,
    /// For how long an event is sent again, with its dedup token, before it counts as an error
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = span)]
    pub(crate) patience: Duration,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

/// With a `/` there is a key: a script whose variable is empty does not mean all of them.
fn to_delete(text: &str) -> Result<Watched, BadWord> {
    if text.ends_with('/') { Err(BadWord::Instance) } else { text.parse() }
}

/// A number of which the library would say no more than that it has a digit that is none.
fn whole(text: &str) -> Result<u64, BadWord> {
    crate::kind::count(text).ok_or(BadWord::Whole)
}

fn run(text: &str) -> Result<RunId, BadWord> {
    RunId::parse(text).ok_or(BadWord::Run)
}

/// A time on the command line, at most a year.
fn span(text: &str) -> Result<Duration, BadWord> {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
    crate::kind::span(text).filter(|time| *time <= YEAR).ok_or(BadWord::Span)
}

/// A time that is long enough to count something in it.
fn interval(text: &str) -> Result<Duration, BadWord> {
    const LEAST: Duration = Duration::from_millis(100);
    span(text).and_then(|time| if time >= LEAST { Ok(time) } else { Err(BadWord::Interval) })
}

#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    /// Print only what is not a default
    #[arg(long)]
    pub(crate) changed: bool,
    /// With the client's settings of this context, which come before variables [default: that of statemesh context use; none with -o toml]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_contain_slashes() {
        let target: Target = "order/eu/42".parse().unwrap();
        assert_eq!((target.machine.as_str(), target.key.as_str()), ("order", "eu/42"));
        assert!(
            "order".parse::<Target>().is_err()
                && "/42".parse::<Target>().is_err()
                && "order/".parse::<Target>().is_err()
        );
    }
}
