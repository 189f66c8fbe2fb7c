//! The command line. Help, manual pages, completions and docs/reference/cli.md are made of these definitions.

use crate::config::SettingFlags;
use crate::connect::Connect;
use crate::context::ContextArgs;
use crate::examples;
use crate::offline::{CheckArgs, DrawArgs, ExportArgs, ImportArgs, InitArgs, SimulateArgs};
use crate::output::Format;
use crate::up::UpArgs;
use crate::verbs::args::{
    ActArgs, BenchArgs, ConfigArgs, DefineArgs, DeleteArgs, ExplainArgs, GetArgs, InstancesArgs, PingArgs, SendArgs,
    StartArgs, TargetArgs, TopArgs, WatchArgs,
};
use clap::{Arg, Args, Command, CommandFactory, Parser, Subcommand};
use std::path::PathBuf;

/// A brokerless mesh of daemons that host state machines.
#[derive(Debug, Parser)]
#[command(name = "statemesh", version, propagate_version = true, arg_required_else_help = true)]
#[command(max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// What is printed to stdout: a table for a person, json or yaml for a program [env: STATEMESH_OUTPUT] [default: table]
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", help_heading = GLOBAL)]
    pub(crate) output: Option<Format>,
    /// The configuration file [env: STATEMESH_CONFIG] [default: ./statemesh.toml or /etc/statemesh/statemesh.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Above the options of every verb.
const GLOBAL: &str = "Global options";

const AFTER_HELP: &str = "\
Try it:
  statemesh up                                         three daemons here
  statemesh send order/42 PAY --data '{\"amount\":3}'    in another terminal
  statemesh watch order

`statemesh VERB --help` has an example of each. Exit codes: 0 done, 1 refused, 2 wrong usage, 3 no daemon answered, \
4 a daemon could not start, 5 a file failed, 6 the event came to nothing, 7 what was waited for did not come about.";

/// The verbs as help shows them.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Start here", &["up", "init", "check", "define", "send", "watch"]),
    ("Instances", &["start", "get", "instances", "history", "explain", "where", "stop", "retry", "skip", "delete"]),
    ("The mesh", &["members", "machines", "placement", "ping", "doctor", "top", "bench", "feed"]),
    ("Without a mesh", &["simulate", "draw", "export", "import", "schema"]),
    ("Run and administer", &["daemon", "config", "context", "keys", "completions", "man"]),
];

/// The command line with what its definitions cannot say: groups of verbs and examples.
pub(crate) fn command() -> Command {
    let command = taking_numbers(examples::added_to(Cli::command().arg(context())));
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{}\n{GLOBAL}:\n{{options}}{{after-help}}",
        groups(&command)
    );
    command.help_template(template)
}

/// `--context` before the verb: a verb that talks to a mesh has it as its own, and finds it there.
fn context() -> Arg {
    let help =
        "The mesh to ask, by the name of its context [env: STATEMESH_CONTEXT] [default: that of statemesh context use]";
    Arg::new("context").long("context").global(true).value_name("NAME").help_heading(GLOBAL).help(help)
}

/// Lets each option of each verb take a number below zero for its value, and say itself why it cannot be that. Else the library takes it
/// for an option that there is not.
fn taking_numbers(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let takes_value = arg.get_long().is_some() && arg.get_action().takes_values();
        arg.allow_negative_numbers(takes_value)
    });
    command.mut_subcommands(taking_numbers)
}

fn groups(command: &Command) -> String {
    const WIDTH: usize = 12;
    let line = |name: &&str| {
        let verb = command.find_subcommand(name).filter(|verb| !verb.is_hide_set())?;
        Some(format!("  {name:WIDTH$}  {}\n", verb.get_about().map(ToString::to_string).unwrap_or_default()))
    };
    let group =
        |(title, names): &(&str, &[&str])| format!("\n{title}:\n{}", names.iter().filter_map(line).collect::<String>());
    GROUPS.iter().map(group).collect()
}

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run one daemon until it is told to end
    ///
    /// At SIGTERM or Ctrl-C it hands off what it has; another signal, a second or more later, ends it at once
    Daemon(DaemonArgs),
    /// Run a mesh on this machine
    ///
    /// Each daemon is a process of its own; they find each other through a DNS server that comes with them
    Up(UpArgs),
    /// Write a project to begin with
    ///
    /// It is a machine, events, what is expected of them, and a script that tests it
    Init(InitArgs),
    /// Define machines, or new versions of them, on every daemon
    ///
    /// Of several files those come first whose machines the others invoke
    Define(DefineArgs),
    /// Send an event to an instance, which is created first if need be
    ///
    /// If nothing reacted to it, the exit code is 6
    Send(SendArgs),
    /// Create an instance
    Start(StartArgs),
    /// Show an instance: state, context, tags and output
    Get(GetArgs),
    /// Stop an instance
    Stop(ActArgs),
    /// Fire again the timer that a stuck instance holds
    ///
    /// An instance is stuck when the step of a timer failed or hit a limit
    Retry(ActArgs),
    /// Drop the timer that a stuck instance holds, and let it go on
    Skip(ActArgs),
    /// Remove an instance, or those of a machine that options name
    ///
    /// It is stopped if it is active, and gone: the next event begins a new one. Several are removed one after the other, each only if it has
    /// not gone on since it was listed; Ctrl-C ends that, and the same command goes on with what is left
    Delete(DeleteArgs),
    /// Show the latest transitions of an instance
    History(TargetArgs),
    /// Say what an event would do to an instance, and why
    ///
    /// The event is not sent
    Explain(ExplainArgs),
    /// Say which daemon serves an instance
    Where(TargetArgs),
    /// Print changes as they happen, from every daemon of the mesh
    Watch(WatchArgs),
    /// List the machines that are defined
    Machines(Connect),
    /// List the instances of the mesh, or count them
    ///
    /// Of one machine or all, by state, tag, status, age, or what is in their context
    Instances(InstancesArgs),
    /// List the daemons of the mesh
    Members(Connect),
    /// Show how many partitions each daemon serves
    Placement(Connect),
    /// Ask a daemon whether it is there
    Ping(PingArgs),
    /// Ask every daemon what it sees, and say what is wrong
    ///
    /// If something is wrong, the exit code is 1
    Doctor(Connect),
    /// Show how much happens, by machine, second after second
    Top(TopArgs),
    /// Measure a mesh, and prove that no event was lost or doubled
    ///
    /// Events are sent for a while, at a rate or with some in flight
    Bench(BenchArgs),
    /// Check definitions: errors and warnings with their places
    ///
    /// Each has line, column and a suggestion
    Check(CheckArgs),
    /// Run a machine offline, in virtual time
    Simulate(SimulateArgs),
    /// Draw the chart of a definition
    Draw(DrawArgs),
    /// Print a definition as XState reads it
    ///
    /// What the other side cannot have is shown on stderr, and missing in what is printed: the exit code is 1 then
    Export(ExportArgs),
    /// Print a definition made of one for XState
    ///
    /// XState's JSON is read as it is by every verb; what `export` put into `meta` is put back
    Import(ImportArgs),
    /// Print the JSON Schema of the definitions' format, for editors
    Schema,
    /// Make keys, and say which clients are let in with theirs
    Keys(crate::keys::KeysArgs),
    /// Turn what happens elsewhere into events
    ///
    /// It ends with Ctrl-C or SIGTERM
    #[command(hide = !crate::kubernetes::BUILT_IN)]
    Feed(crate::kubernetes::FeedArgs),
    /// Print the configuration, and where each value came from
    Config(ConfigArgs),
    /// Name the meshes that you work with, and choose one
    Context(ContextArgs),
    /// Print the completions of a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Show the manual page of the program or of a verb
    ///
    /// With --dir one for each verb is written into a folder
    Man {
        /// The verb, with what follows it, such as: keys allow
        #[arg(value_name = "VERB", conflicts_with = "dir")]
        verb: Vec<String>,
        /// Where to write one for each verb
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

#[derive(Args, Debug)]
pub(crate) struct DaemonArgs {
    /// End when stdin is closed: a daemon that `up` started does not outlive it
    #[arg(long, hide = true)]
    pub(crate) with_parent: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    #[test]
    fn the_definitions_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_is_in_one_group_and_has_a_line_for_80_columns() {
        let command = command();
        let grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "docs");
        for name in verbs.map(Command::get_name) {
            assert_eq!(grouped.iter().filter(|grouped| **grouped == name).count(), 1, "{name}");
        }
        assert!(grouped.iter().all(|name| command.find_subcommand(name).is_some()), "{grouped:?}");
        let long = groups(&command).lines().find(|line| line.chars().count() > 80).map(str::to_owned);
        assert_eq!(long, None);
    }

    #[test]
    fn a_number_below_zero_is_refused_as_the_value_that_it_is() {
        for line in [
            &["send", "a/1", "E", "--if-seq", "-1"][..],
            &["delete", "a/1", "--if-seq", "-1"],
            &["watch", "-n", "-1"],
            &["top", "--count", "-1"],
            &["instances", "--limit", "-1"],
            &["send", "a/1", "E", "--until-done", "--within", "-1"],
            &["bench", "--rate", "-1"],
        ] {
            let said = command().try_get_matches_from([&["statemesh"], line].concat()).unwrap_err().to_string();
            assert!(said.contains("invalid value '-1' for") && !said.contains("-- -1"), "{line:?}: {said}");
            assert!(!said.contains("invalid digit"), "{line:?}: {said}");
        }
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
            let matches = command().try_get_matches_from([&["statemesh"], line].concat()).unwrap();
            let mut verb = &matches;
            while let Some((_, inner)) = verb.subcommand() {
                verb = inner;
            }
            let name = if line.contains(&"allow") { "key" } else { "server_key" };
            assert_eq!(verb.get_one::<String>(name).map(String::as_str), Some(key), "{line:?}");
        }
        let missing = command().try_get_matches_from(["statemesh", "keys", "allow", "billing", "--ops", "read"]);
        assert!(missing.is_err(), "an option is no key");
    }

    #[test]
    fn a_context_may_stand_before_the_verb_and_behind_it() {
        for words in [["statemesh", "--context", "shop", "members"], ["statemesh", "members", "--context", "shop"]] {
            let matches = command().try_get_matches_from(words).unwrap();
            let Ok(Cli { verb: Verb::Members(connect), .. }) = Cli::from_arg_matches(&matches) else {
                panic!("{words:?}")
            };
            assert_eq!(connect.context.as_deref(), Some("shop"), "{words:?}");
        }
    }
}
