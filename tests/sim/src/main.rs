//! `cargo xtask sim`: seeds of whole daemons in virtual time.

use std::process::ExitCode;

use statemesh_sim::command;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        println!("{}", command::USAGE);
        return ExitCode::SUCCESS;
    }
    match command::Wish::read(&words) {
        Ok(wish) => command::run(&wish),
        Err(error) => {
            eprintln!("error: {error}\n\n{}", command::USAGE);
            ExitCode::from(2)
        }
    }
}
