//! What a shell and `man` need, from the same definitions as the command line itself.

use crate::cli;
use crate::complete;
use crate::config::FILE_VARIABLE;
use crate::examples;
use crate::failure::{Exit, Failure};
use crate::output::{print, say};
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};

/// Prints a shell's completions.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let script = complete::script(shell);
    print(&script.ok_or_else(|| Failure::usage(format!("there are no completions for {shell}")))?)?;
    if std::io::stdout().is_terminal() {
        say!("{}", how_to_install(shell));
    }
    Ok(())
}

fn how_to_install(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => "statemesh completions bash >~/.local/share/bash-completion/completions/statemesh keeps them",
        Shell::Zsh => "statemesh completions zsh >_statemesh, in a folder of $fpath, keeps them",
        Shell::Fish => "statemesh completions fish >~/.config/fish/completions/statemesh.fish keeps them",
        _ => "the shell's profile can read them at each start",
    }
}

/// Shows a manual page, or writes one for each verb.
pub(crate) fn manual(verb: &[String], dir: Option<&Path>) -> Result<(), Failure> {
    let mut command = cli::command().disable_help_subcommand(true);
    command.build();
    if let Some(dir) = dir {
        std::fs::create_dir_all(dir).map_err(|error| Failure::file(dir, &error))?;
        write_pages(&command, "", dir)?;
        say!("manual pages are in {}; read one with: man -l {}", dir.display(), dir.join("statemesh.1").display());
        return Ok(());
    }
    let mut found = &command;
    for name in verb {
        found = found.find_subcommand(name).ok_or_else(|| {
            Failure::usage(format!("there is no manual page of '{}'", verb.join(" ")))
                .hint("statemesh --help lists the verbs")
        })?;
    }
    show(&page(found, &verb.join(" ")))
}

fn write_pages(command: &Command, path: &str, dir: &Path) -> Result<(), Failure> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        write_pages(verb, format!("{path} {}", verb.get_name()).trim_start(), dir)?;
    }
    let file = dir.join(Man::new(command.clone()).get_filename());
    std::fs::write(&file, page(command, path)).map_err(|error| Failure::file(&file, &error))
}

/// A person gets the page as `man` shows it, a pipe its source.
fn show(page: &[u8]) -> Result<(), Failure> {
    let shown = std::io::stdout().is_terminal().then(|| through_man(page));
    match shown {
        Some(Ok(())) => Ok(()),
        // No `man` here.
        Some(Err(_)) | None => print(&String::from_utf8_lossy(page)),
    }
}

fn through_man(page: &[u8]) -> std::io::Result<()> {
    let mut man = Process::new("man").args(["-l", "-"]).stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = man.stdin.take() {
        // A reader that ends early is no failure.
        let _ = stdin.write_all(page);
    }
    man.wait().map(drop)
}

/// The page of one verb; an empty path is the program itself.
fn page(command: &Command, path: &str) -> Vec<u8> {
    let man = Man::new(command.clone().after_help("").after_long_help(""));
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = man.render_title(&mut page);
    let _ = man.render_name_section(&mut page);
    let _ = man.render_synopsis_section(&mut page);
    let _ = man.render_description_section(&mut page);
    let _ = man.render_options_section(&mut page);
    if command.has_subcommands() {
        let _ = man.render_subcommands_section(&mut page);
    }
    let _ = sections(path).to_writer(&mut page);
    let _ = man.render_version_section(&mut page);
    page
}

fn sections(path: &str) -> Roff {
    let mut roff = Roff::new();
    let examples = examples::of(if path.is_empty() { "up" } else { path });
    if !examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
        for example in examples {
            roff.control("PP", []).control("EX", []).text([roman(*example)]).control("EE", []);
        }
    }
    roff.control("SH", ["ENVIRONMENT"]);
    for (name, meaning) in ENVIRONMENT {
        roff.control("TP", []).text([bold(name)]).text([roman(meaning)]);
    }
    roff.control("SH", ["EXIT STATUS"]);
    for (exit, meaning) in Exit::ALL {
        roff.control("TP", []).text([bold(exit.code().to_string())]).text([roman(meaning.replace('`', ""))]);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(if path.is_empty() { "statemesh help VERB, statemesh man VERB" } else { "statemesh(1)" })]);
    roff
}

const ENVIRONMENT: [(&str, &str); 7] = [
    ("STATEMESH_ADDRESS", "The daemons to ask, with commas between them."),
    ("STATEMESH_CONTEXT", "The context whose daemons are asked."),
    ("STATEMESH_TIMEOUT", "For how long an answer is waited for."),
    ("STATEMESH_KEY, STATEMESH_SERVER_KEY", "The file of the client's keys, and the daemons' public key."),
    ("STATEMESH_OUTPUT", "The form of what is printed: table, json or yaml."),
    (FILE_VARIABLE, "The configuration file. Every setting has a variable of its own too: see statemesh config."),
    ("NO_COLOR", "If it is set and not empty, nothing is printed in colour."),
];
