//! The command line. Help, manual pages, completions and docs/reference/cli.md are made of these definitions.

use crate::config::SettingFlags;
use crate::output::Format;
use crate::verbs::{CONNECTIONS, MAX_KEYS};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A brokerless mesh of daemons that host state machines.
#[derive(Debug, Parser)]
#[command(name = "statemesh", version, propagate_version = true, arg_required_else_help = true)]
#[command(max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// What is printed to stdout: a table for a person, json or yaml for a program
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// The configuration file [default: ./statemesh.toml or /etc/statemesh/statemesh.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const AFTER_HELP: &str = "\
Try it:
  statemesh up                                       three daemons on this machine, with the examples
  statemesh send order/42 PAY --data '{\"amount\":3}'  in another terminal
  statemesh watch order

Exit codes: 0 done, 1 refused, 2 wrong usage, 3 no daemon answered, 4 a daemon could not start, 5 a file failed.";

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run one daemon until it is told to end (SIGTERM or Ctrl-C: it hands over what it has; again: at once)
    Daemon(DaemonArgs),
    /// Run a mesh on this machine, each daemon a process of its own, with a DNS server they find each other through
    Up(UpArgs),
    /// Define machines, or new versions of them, on every daemon of the mesh
    Define(DefineArgs),
    /// Send an event to an instance; an instance that does not exist is created first
    Send(SendArgs),
    /// Create an instance
    Start(StartArgs),
    /// Show an instance: state, context, tags and output
    Get(TargetArgs),
    /// Stop an instance
    Stop(TargetArgs),
    /// Show the latest transitions of an instance
    History(TargetArgs),
    /// Say what an event would do to an instance, and why, without sending it
    Explain(ExplainArgs),
    /// Say which daemon owns an instance
    Where(TargetArgs),
    /// Print changes as they happen, from every daemon of the mesh
    Watch(WatchArgs),
    /// List the machines that are defined
    Machines(Connect),
    /// List the instances of a machine that the asked daemon hosts
    Instances(InstancesArgs),
    /// List the daemons of the mesh
    Members(Connect),
    /// Show how many partitions each daemon owns
    Placement(Connect),
    /// Ask a daemon whether it is there
    Ping(PingArgs),
    /// Measure a mesh: send events for a while, at a rate or with some in flight, and prove that none was lost or doubled
    Bench(BenchArgs),
    /// Check definitions: errors and warnings with line, column and suggestion
    Check(CheckArgs),
    /// Run a machine offline, in virtual time
    Simulate(SimulateArgs),
    /// Draw the chart of a definition
    Draw(DrawArgs),
    /// Print the JSON Schema of the definitions' format, for editors
    Schema,
    /// Make keys, and say which clients are let in with theirs
    Keys(crate::keys::KeysArgs),
    /// Turn what happens elsewhere into events, until Ctrl-C or SIGTERM
    #[command(hide = !crate::kubernetes::BUILT_IN)]
    Feed(crate::kubernetes::FeedArgs),
    /// Print the configuration, and where each value came from
    Config(ConfigArgs),
    /// Print the completions of a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each verb into a folder
    Man {
        /// Where to write them
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Write the reference pages into a folder
    #[command(hide = true)]
    Docs {
        /// Where to write them
        dir: PathBuf,
    },
}

/// Which daemon is asked.
#[derive(Args, Clone, Debug)]
pub(crate) struct Connect {
    /// The daemon to ask [env: STATEMESH_ADDRESS] [default: tcp://127.0.0.1:7400]
    #[arg(long, value_name = "tcp://HOST:PORT")]
    pub(crate) address: Option<String>,
    /// For how long to wait for an answer, such as 500ms or 5s [env: STATEMESH_TIMEOUT] [default: 5s]
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
    /// The client's own keys, for daemons with security.mode = curve [env: STATEMESH_KEY]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<String>,
    /// The daemons' public key [env: STATEMESH_SERVER_KEY]
    // One key in 85 begins with a hyphen.
    #[arg(long, value_name = "Z85", allow_hyphen_values = true)]
    pub(crate) server_key: Option<String>,
}

/// An instance: `machine/key`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) machine: String,
    pub(crate) key: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((machine, key)) if !machine.is_empty() && !key.is_empty() => {
                Ok(Target { machine: machine.to_owned(), key: key.to_owned() })
            }
            _ => Err("an instance is written machine/key, such as order/42".to_owned()),
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

#[derive(Args, Debug)]
pub(crate) struct DaemonArgs {
    /// End when stdin is closed: a daemon that `up` started does not outlive it
    #[arg(long, hide = true)]
    pub(crate) with_parent: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

#[derive(Args, Debug)]
pub(crate) struct UpArgs {
    /// How many daemons, from 1 to 50
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=50))]
    pub(crate) nodes: u8,
    /// Machines to define: a folder with */machine.json or *.json in it [default: ./examples, if there is one]
    #[arg(long, value_name = "DIR")]
    pub(crate) machines: Option<PathBuf>,
    /// The first daemon's port for clients; its other ports are as far from it as the default ports are from 7400
    #[arg(long, default_value_t = 7400, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..=60_000))]
    pub(crate) port: u16,
    /// Which log lines the daemons write [env: STATEMESH_LOG] [default: warn]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
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
    pub(crate) event: String,
    /// The event's other fields: a JSON object, @FILE or - for stdin
    #[arg(short, long, value_name = "JSON")]
    pub(crate) data: Option<String>,
    /// Makes a retry harmless: the first answer to this token is given again
    #[arg(long, value_name = "TOKEN")]
    pub(crate) dedup: Option<String>,
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
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The instance
    #[arg(value_name = "MACHINE/KEY")]
    pub(crate) target: Target,
    /// The event's type
    pub(crate) event: String,
    /// The event's other fields: a JSON object, @FILE or - for stdin
    #[arg(short, long, value_name = "JSON")]
    pub(crate) data: Option<String>,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// Watch only this machine, or this instance
    #[arg(value_name = "MACHINE[/KEY]")]
    pub(crate) target: Option<String>,
    /// End after this many changes
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args, Debug)]
pub(crate) struct InstancesArgs {
    /// The machine
    pub(crate) machine: String,
    /// How many to list
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// List those after this key
    #[arg(long, value_name = "KEY")]
    pub(crate) after: Option<String>,
    #[command(flatten)]
    pub(crate) connect: Connect,
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

/// A time on the command line, at most a year.
fn span(text: &str) -> Result<Duration, String> {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
    crate::config::span(text)
        .filter(|time| *time <= YEAR)
        .ok_or_else(|| "a time is written as 500ms, 10s or 2h".to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Files with a definition each; - is stdin. One may name a machine of a file before it as its child
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Take warnings for errors
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SimulateArgs {
    /// The definition
    #[arg(required_unless_present = "batch", value_name = "MACHINE.json")]
    pub(crate) machine: Option<PathBuf>,
    /// Events, one JSON object on each line; {"type":"@advance","ms":500} lets time pass, blank lines are skipped [default: stdin]
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// Many runs: {"machine":...,"events":[...]} on each line gives a line {"snapshots":[...]} or {"error":...}, blank ones are skipped; - is stdin
    #[arg(long, conflicts_with_all = ["machine", "events"], value_name = "FILE")]
    pub(crate) batch: Option<PathBuf>,
    /// The machine's input: JSON
    #[arg(long, conflicts_with = "batch", value_name = "JSON")]
    pub(crate) input: Option<String>,
    /// The definition of a machine that this one invokes; may be given again
    #[arg(long, conflicts_with = "batch", value_name = "FILE")]
    pub(crate) with: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct DrawArgs {
    /// The definition; - is stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The language of the drawing
    #[arg(long, value_enum, default_value_t, value_name = "WORD")]
    pub(crate) format: Drawing,
    /// The definition of a machine that this one invokes; may be given again
    #[arg(long, value_name = "FILE")]
    pub(crate) with: Vec<PathBuf>,
    /// Mark where an instance is: a state such as a.b, or a state value in JSON; may be given again for parallel regions
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Vec<String>,
}

/// The language of a drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Drawing {
    /// Mermaid, which many pages show as it is
    #[default]
    Mermaid,
    /// Graphviz
    Dot,
}

#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    /// Print only what is not a default
    #[arg(long)]
    pub(crate) changed: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_public_key_may_begin_with_a_hyphen() {
        let key = "-HRP$b{lRGZe=5&Bq)R]8=8e$/016=60vdWv($-j";
        let lines: [&[&str]; 5] = [
            &["ping", "--server-key", key, "-o", "json"],
            &["members", "-o", "json", "--server-key", key],
            &["keys", "allow", "billing", key, "--ops", "read"],
            &["keys", "allow", "--ops", "read", "billing", key],
            &["keys", "allow", "billing", "--ops", "read", key],
        ];
        for line in lines {
            let matches = Cli::command().try_get_matches_from([&["statemesh"], line].concat()).unwrap();
            let mut verb = &matches;
            while let Some((_, inner)) = verb.subcommand() {
                verb = inner;
            }
            let name = if line.contains(&"allow") { "key" } else { "server_key" };
            assert_eq!(verb.get_one::<String>(name).map(String::as_str), Some(key), "{line:?}");
        }
        let missing = Cli::command().try_get_matches_from(["statemesh", "keys", "allow", "billing", "--ops", "read"]);
        assert!(missing.is_err(), "an option is no key");
    }

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
