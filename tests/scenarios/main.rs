//! The scenarios: whole daemons, real DNS, real clients, hostile input.

use statemesh_tests::run::{self, Scenario};
use std::process::ExitCode;

mod bad_input;
mod dying;
mod futures;
mod hostile_frames;
mod joining;
mod keys;
mod leaving;
mod many;
mod network;
mod not_reading;
mod one_daemon;
mod standing_still;
mod strangers;
mod the_harness;
mod up;

fn main() -> ExitCode {
    let scenarios: Vec<Scenario> = [
        the_harness::SCENARIOS,
        one_daemon::SCENARIOS,
        up::SCENARIOS,
        bad_input::SCENARIOS,
        hostile_frames::SCENARIOS,
        joining::SCENARIOS,
        leaving::SCENARIOS,
        dying::SCENARIOS,
        futures::SCENARIOS,
        strangers::SCENARIOS,
        keys::SCENARIOS,
        network::SCENARIOS,
        standing_still::SCENARIOS,
        not_reading::SCENARIOS,
        many::SCENARIOS,
    ]
    .concat();
    run::main(&scenarios)
}
