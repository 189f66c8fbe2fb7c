//! `statemesh`: the daemon and every command-line verb.

// Those panic where the reader of the output is gone: see `output::say` and `output::print`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod complete;
mod config;
mod connect;
mod context;
mod descriptors;
mod diagnostic;
mod dispatch;
mod examples;
mod failure;
mod faults;
mod input;
mod key_files;
mod keys;
mod kind;
mod kubernetes;
mod log_queue;
mod logs;
mod offline;
mod other_ports;
mod output;
mod reference;
mod remote;
mod run;
mod shell;
mod up;
mod usage;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if complete::answered(&args) {
        return ExitCode::SUCCESS;
    }
    let exit = usage::read(&args).and_then(|(cli, format)| {
        let done = dispatch::run(cli, format);
        let is_heard = logs::flush();
        done.map_err(|failure| {
            if is_heard {
                output::report(&failure, format);
            }
            failure.exit
        })
    });
    exit.err().map_or(ExitCode::SUCCESS, |exit| ExitCode::from(exit.code()))
}
