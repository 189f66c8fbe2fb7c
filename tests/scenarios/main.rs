//! The scenarios: whole daemons, real DNS, real clients, hostile input.

use statemesh_tests::run::{self, Scenario};
use std::process::ExitCode;

mod the_harness;

fn main() -> ExitCode {
    let scenarios: Vec<Scenario> = [the_harness::SCENARIOS].concat();
    run::main(&scenarios)
}
