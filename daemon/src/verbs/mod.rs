//! The verbs that talk to a mesh, one file for each group that works alike.

pub(crate) mod args;
pub(crate) mod ask;
mod bench;
mod define;
mod doctor;
mod explain;
mod instances;
mod settings;
mod top;
mod watch;

pub(crate) use bench::bench;
pub(crate) use define::define;
pub(crate) use doctor::doctor;
pub(crate) use instances::instances;
pub(crate) use settings::config;
pub(crate) use top::top;
pub(crate) use watch::watch;

use crate::config::did_you_mean;
use crate::failure::{Exit, Failure};
use crate::output::text;

/// Of the events that a state reacts to those that somebody sends: the others are the engine's own.
pub(crate) fn sent(events: impl Iterator<Item = String>) -> Vec<String> {
    events.filter(|name| !name.is_empty() && !name.starts_with("xstate.")).collect()
}

/// No machine of this name is defined; these are.
fn unknown_machine(machine: &str, defined: &[String]) -> Failure {
    let failure = Failure::new(Exit::Refused, "unknown_machine", format!("no machine \"{machine}\" is defined"));
    match did_you_mean(machine, defined.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None if defined.is_empty() => failure.hint("none is: statemesh define FILE"),
        None => failure.hint("statemesh machines lists those that are; statemesh define FILE"),
    }
}
