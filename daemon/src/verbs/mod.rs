//! The verbs that talk to a mesh, one file for each group that works alike.

pub(crate) mod args;
pub(crate) mod ask;
mod bench;
mod define;
mod delete;
mod doctor;
mod explain;
mod instances;
mod settings;
mod top;
mod watch;

pub(crate) use bench::bench;
pub(crate) use define::{define, refuse_namesakes};
pub(crate) use delete::delete;
pub(crate) use doctor::doctor;
pub(crate) use instances::instances;
pub(crate) use settings::config;
pub(crate) use top::top;
pub(crate) use watch::watch;

use crate::config::did_you_mean;
use crate::failure::{Exit, Failure};
use crate::output::{printable, say, text};
use crate::remote::{self, Remote};
use statemesh_client::Op;

/// Of the events that a state reacts to those that clients send: the others are the engine's own.
pub(crate) fn sent(events: impl Iterator<Item = String>) -> Vec<String> {
    events.filter(|name| !name.is_empty() && !name.starts_with("xstate.")).collect()
}

/// Said where a machine does not start without what its context is made of.
pub(crate) const NEEDS_INPUT: &str = "an instance begins with an input, which the machine's context is made of";

/// Whether a refusal is about an expression that reads the input, as only those of the root's context do.
pub(crate) fn names_input(message: &str) -> bool {
    let mut words = message.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '.');
    words.any(|word| word == "input" || word.starts_with("input."))
}

/// A machine that is not defined may be defined later; more often its name is misspelt. A client that may not list machines
/// finds out otherwise.
fn tell_if_unknown(machine: &str, client: &mut Remote) {
    let Ok(found) = client.ask(&remote::ask(Op::Machines)) else { return };
    let Some(found) = found["machines"].as_array() else { return };
    let names: Vec<_> = found.iter().map(|defined| text(&defined["id"])).collect();
    if !names.iter().any(|name| name == machine) {
        say!("warning: {}", unknown_machine(machine, &names));
    }
}

/// No machine of this name is defined; these are.
fn unknown_machine(machine: &str, defined: &[String]) -> Failure {
    let failure =
        Failure::new(Exit::Refused, "unknown_machine", format!("no machine \"{}\" is defined", printable(machine)));
    match did_you_mean(machine, defined.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None if defined.is_empty() => failure.hint("none is: statemesh define FILE"),
        None => failure.hint("statemesh machines lists those that are; statemesh define FILE"),
    }
}
