//! What a shell and `man` need, from the same definitions as the command line itself.

use crate::cli::Cli;
use crate::failure::{Exit, Failure};
use crate::output::print;
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::Path;

/// Prints a shell's completions.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "statemesh", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Prints the manual page, or writes one for each verb.
pub(crate) fn manual(dir: Option<&Path>) -> Result<(), Failure> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
        rendered.map_err(|error| Failure::new(Exit::File, "file", format!("manual: {error}")))?;
        return print(&String::from_utf8_lossy(&page));
    };
    std::fs::create_dir_all(dir).map_err(|error| Failure::file(dir, &error))?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(|error| Failure::file(dir, &error))?;
    eprintln!("manual pages are in {}; read one with: man -l {}", dir.display(), dir.join("statemesh.1").display());
    Ok(())
}
