//! Completions for shells. A shell's script calls this program at each Tab, so names of machines, instances, events and contexts are
//! those that there are; a mesh that does not answer at once has none.

use crate::cli;
use crate::config::Contexts;
use crate::connect::Connect;
use crate::output::{printable, text};
use crate::remote::{self, Remote};
use crate::verbs::sent;
use clap::{Arg, Command};
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use serde_json::{Value, json};
use statemesh_client::{Ask, Event, Listing, Op};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

/// Set by a shell's script when it asks for completions.
const VARIABLE: &str = "STATEMESH_COMPLETE";
/// A person waits for a Tab.
const WITHIN: Duration = Duration::from_millis(500);
/// Instances that are offered.
const INSTANCES: u64 = 100;
/// Pages of a list that are asked for.
const PAGES: usize = 8;

/// Answers a shell's script, if it was one that called. What cannot be completed is not said: that would spoil the line.
pub(crate) fn answered(args: &[OsString]) -> bool {
    let called = std::env::var_os(VARIABLE).is_some_and(|shell| !shell.is_empty());
    if called {
        let complete = CompleteEnv::with_factory(|| knowing(visible(&cli::command()))).var(VARIABLE);
        let _ = complete.try_complete(args.iter().cloned(), std::env::current_dir().ok().as_deref());
    }
    called
}

/// The script of a shell.
pub(crate) fn script(shell: Shell) -> Option<String> {
    let name = shell.to_string();
    let mut script = Vec::new();
    Shells::builtins()
        .completer(&name)?
        .write_registration(VARIABLE, "statemesh", "statemesh", "statemesh", &mut script)
        .ok()?;
    Some(String::from_utf8_lossy(&script).trim_start().to_owned())
}

/// The command without what help does not show either: verbs and options that this build lacks. Completions need no more of an
/// option than how it is written; what it requires may be hidden.
fn visible(command: &Command) -> Command {
    let about = command.get_about().cloned().unwrap_or_default();
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set()).map(written);
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(visible);
    Command::new(command.get_name().to_owned()).about(about).args(args).subcommands(verbs)
}

fn written(arg: &Arg) -> Arg {
    let written = Arg::new(arg.get_id().clone())
        .action(arg.get_action().clone())
        .value_parser(arg.get_value_parser().clone())
        .value_hint(arg.get_value_hint())
        .help(arg.get_help().cloned().unwrap_or_default())
        .global(arg.is_global_set());
    let written = arg.get_long().into_iter().fold(written, |written, long| written.long(long.to_owned()));
    let written = arg.get_short().into_iter().fold(written, Arg::short);
    arg.get_value_names().into_iter().fold(written, |written, names| written.value_names(names.to_vec()))
}

/// The command with what else is known of the values of its arguments.
fn knowing(command: Command) -> Command {
    let names: Vec<_> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, knowing_of_verb))
}

fn knowing_of_verb(verb: Command) -> Command {
    let is_context = verb.get_name() == "context";
    let verb = verb.mut_args(|arg| match arg.get_id().as_str() {
        "target" => arg.add(ArgValueCompleter::new(targets)),
        "machine" => arg.add(ArgValueCompleter::new(machines)),
        "event" => arg.add(ArgValueCompleter::new(events)),
        "context" => arg.add(ArgValueCompleter::new(contexts)),
        _ => arg,
    });
    if !is_context {
        return verb;
    }
    let named = |inner: Command| inner.mut_arg("name", |arg| arg.add(ArgValueCompleter::new(contexts)));
    ["use", "remove"].into_iter().fold(verb, |verb, inner| verb.mut_subcommand(inner, named))
}

/// Candidates of those that begin as what was typed. What moves a cursor is none.
fn beginning_as(typed: &str, found: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let wanted = found.into_iter().filter(|text| text.starts_with(typed) && printable(text) == *text);
    wanted.map(CompletionCandidate::new).collect()
}

fn ask(request: &Ask<'_>) -> Option<Value> {
    let line: Vec<_> = std::env::args().collect();
    let given = |option: &str| option_of(&line, option);
    let (address, context, key, server_key) =
        (given("--address"), given("--context"), given("--key"), given("--server-key"));
    let connect = Connect { address, context, key, server_key, timeout: None };
    let mut target = crate::connect::target(&connect, given("--config").as_deref().map(Path::new)).ok()?;
    target.timeout = target.timeout.min(WITHIN);
    Remote::connect(target).ok()?.ask(request).ok()
}

/// What the line gives an option: who completes for a mesh that is named there wants that one's names.
fn option_of(line: &[String], option: &str) -> Option<String> {
    let next = line.iter().zip(line.iter().skip(1)).find(|(word, _)| *word == option).map(|(_, value)| value.as_str());
    let written = || line.iter().find_map(|word| word.strip_prefix(option)?.strip_prefix('='));
    next.or_else(written).filter(|value| !value.is_empty()).map(str::to_owned)
}

fn names(list: &Value, of: &str) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|one| one[of].as_str()).map(str::to_owned).collect()
}

fn machine_names() -> Vec<String> {
    ask(&remote::ask(Op::Machines)).map(|reply| names(&reply["machines"], "id")).unwrap_or_default()
}

fn machines(typed: &OsStr) -> Vec<CompletionCandidate> {
    beginning_as(&typed.to_string_lossy(), machine_names())
}

/// Keys of a machine that begin so, of some pages of the list: a person at a prompt waits for no more.
fn keys(machine: &str, prefix: &str) -> Vec<String> {
    let filter = json!({"prefix": prefix}).to_string();
    let (mut found, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
    for _ in 0..PAGES {
        let filter = Some(filter.as_bytes());
        let list = Listing { limit: Some(INSTANCES), after: after.as_deref(), filter, counts: false };
        let asked = Ask { machine: Some(machine), list, ..remote::ask(Op::List) };
        let Some(reply) = ask(&asked) else { break };
        found.extend(names(&reply["instances"], "key"));
        after = reply["next"].as_str().map(str::to_owned);
        if after.is_none() || found.len() as u64 >= INSTANCES {
            break;
        }
    }
    found
}

/// Machines with a slash, and once there is one the keys of instances.
fn targets(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let Some((machine, key)) = typed.split_once('/') else {
        return beginning_as(&typed, machine_names().into_iter().map(|name| format!("{name}/")));
    };
    let keys = keys(machine, key);
    beginning_as(&typed, keys.into_iter().map(|key| format!("{machine}/{key}")))
}

/// The events that the instance on the line reacts to.
fn events(typed: &OsStr) -> Vec<CompletionCandidate> {
    let line: Vec<_> = std::env::args().collect();
    let Some((machine, key)) =
        line.iter().rev().find_map(|word| word.split_once('/').filter(|(machine, _)| is_name(machine)))
    else {
        return Vec::new();
    };
    let event = json!({"type": "?"}).to_string();
    let request = Ask { event: Some(Event::Whole(event.as_bytes())), ..remote::about(Op::Explain, machine, key) };
    let handled = ask(&request).map(|reply| reply["explanation"]["handled"].clone()).unwrap_or_default();
    let handled = sent(handled.as_array().into_iter().flatten().map(text));
    beginning_as(&typed.to_string_lossy(), handled.into_iter().filter(|name| !name.contains('*')))
}

/// The path of this program has slashes too.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['.', ':']) && !Path::new(text).is_absolute()
}

fn contexts(typed: &OsStr) -> Vec<CompletionCandidate> {
    let all = Contexts::load().map(|contexts| contexts.all).unwrap_or_default();
    beginning_as(&typed.to_string_lossy(), all.into_keys())
}
