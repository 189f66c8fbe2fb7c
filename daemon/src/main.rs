//! `statemesh`: the daemon and every command-line verb.

mod cli;
mod client;
mod config;
mod descriptors;
mod diagnostic;
mod failure;
mod http;
mod keys;
mod kubernetes;
mod logs;
mod offline;
mod output;
mod reference;
mod run;
mod up;
mod verbs;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let format = cli.output;
    match verbs::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::report(&failure, format);
            ExitCode::from(failure.exit.code())
        }
    }
}
