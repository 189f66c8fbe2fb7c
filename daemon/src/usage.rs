//! What is said about a command line that cannot be read: in the form that was asked for, and with the verb that was probably meant.

use crate::cli::{Cli, command};
use crate::failure::{Exit, Failure};
use crate::output::{Format, OUTPUT_VARIABLE, Style, painter_for_stderr, print, report, say};
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Command, FromArgMatches};
use std::ffi::OsString;

/// Reads the command line. Help and version are printed here too; whatever is printed, the exit code comes back.
pub(crate) fn read(args: &[OsString]) -> Result<(Cli, Format), Exit> {
    let variable = std::env::var(OUTPUT_VARIABLE).ok();
    let read = command().try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    match read {
        Ok(cli) => match Format::chosen(cli.output, variable.as_deref()) {
            Ok(format) => Ok((cli, format)),
            Err(failure) => {
                report(&failure, Format::Table);
                Err(failure.exit)
            }
        },
        Err(error) if error.use_stderr() => {
            let format = Format::chosen(named_format(args), variable.as_deref()).unwrap_or_default();
            tell(suggesting(error, args), format);
            Err(Exit::Usage)
        }
        Err(help) => Err(print(&help.render().to_string()).map_or_else(|failure| failure.exit, |()| Exit::Ok)),
    }
}

fn tell(error: Error, format: Format) {
    let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    match format {
        Format::Json if !is_help => report(&as_failure(&error), format),
        // In the library's colours if stderr is a terminal: nothing of what was typed is in it.
        _ if is_help => _ = error.print(),
        _ => {
            let text = error.render().to_string();
            let wrong = text.strip_prefix("error:").unwrap_or(&text);
            say!("{}{}", painter_for_stderr().paint(Style::Bad, "error:"), wrong.trim_end());
        }
    }
}

/// The form that the command line names, as far as that can be told of one that cannot be read.
fn named_format(args: &[OsString]) -> Option<Format> {
    let words: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let given = |index: usize, word: &str| match word {
        "-o" | "--output" => words.get(index + 1).map(|next| next.to_string()),
        word => word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o")).map(str::to_owned),
    };
    let found = words.iter().enumerate().find_map(|(index, word)| given(index, word))?;
    <Format as clap::ValueEnum>::from_str(found.trim_start_matches('='), false).ok()
}

/// What clap says, in parts: the first paragraph is what is wrong, tips are the way out.
fn as_failure(error: &Error) -> Failure {
    let text = error.render().to_string();
    let mut paragraphs = text.trim().split("\n\n");
    let message = paragraphs.next().unwrap_or_default();
    let failure = Failure::usage(message.strip_prefix("error: ").unwrap_or(message));
    let tips = paragraphs.flat_map(str::lines).filter_map(|line| line.trim().strip_prefix("tip: "));
    let tips: Vec<_> = tips.collect();
    if tips.is_empty() { failure.hint("--help says what can be asked") } else { failure.hint(tips.join("; ")) }
}

/// Names the verb that was probably meant. Clap's own measure finds words that merely share letters: `stop` for `top`.
fn suggesting(mut error: Error, args: &[OsString]) -> Error {
    if error.kind() == ErrorKind::UnknownArgument {
        return without_dashes(error, args);
    }
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand).cloned() else { return error };
    let command = command();
    let outer = args.iter().filter_map(|arg| command.find_subcommand(arg)).find(|verb| verb.has_subcommands());
    let meant = meant(&typed, outer.unwrap_or(&command));
    error.remove(ContextKind::SuggestedSubcommand);
    if !meant.is_empty() {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(meant));
    }
    error
}

/// Clap says of a word that begins with a hyphen how it can stand behind `--`, also where it stands for the value of an option, of which
/// there it would be none.
fn without_dashes(mut error: Error, args: &[OsString]) -> Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg).cloned() else { return error };
    let before = args.iter().position(|arg| *arg == *typed).and_then(|at| args.get(at.checked_sub(1)?));
    let option = before.and_then(|before| before.to_str()?.strip_prefix("--")).map(str::to_owned);
    let Some(option) = option.filter(|name| takes_value(&command(), name)) else { return error };
    error.remove(ContextKind::Suggested);
    let tip = format!("a value that begins with a hyphen is written --{option}={typed}");
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

/// Whether a verb has an option of this name that takes a value.
fn takes_value(command: &Command, name: &str) -> bool {
    let is_it = |arg: &clap::Arg| arg.get_long() == Some(name) && arg.get_action().takes_values();
    command.get_arguments().any(is_it) || command.get_subcommands().any(|verb| takes_value(verb, name))
}

/// Words that other programs have for what a verb does here.
const SYNONYMS: [(&str, &[&str]); 17] = [
    ("instances", &["list", "ls", "ps"]),
    ("members", &["status", "nodes", "cluster", "info"]),
    ("top", &["stats", "rates", "monitor"]),
    ("doctor", &["health", "diagnose", "healthcheck"]),
    ("get", &["show", "describe", "inspect", "read"]),
    ("start", &["create", "new", "spawn"]),
    ("stop", &["kill", "terminate", "cancel"]),
    ("delete", &["rm", "remove", "destroy"]),
    ("history", &["log", "logs", "events"]),
    ("check", &["validate", "lint", "verify", "compile"]),
    ("simulate", &["test", "repl", "play"]),
    ("daemon", &["run", "serve", "server", "agent"]),
    ("up", &["dev", "start-dev", "cluster-up"]),
    ("define", &["apply", "deploy", "register", "upload"]),
    ("send", &["publish", "pub", "emit", "dispatch", "event"]),
    ("watch", &["subscribe", "sub", "tail", "follow"]),
    ("draw", &["graph", "render", "visualize", "diagram"]),
];

/// Verbs that are shown, and that others call what was typed, or that are spelt nearly so.
fn meant(typed: &str, command: &Command) -> Vec<String> {
    let verbs: Vec<_> = command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(Command::get_name).collect();
    let called = SYNONYMS.iter().filter(|(verb, words)| words.contains(&typed) && verbs.contains(verb));
    let called: Vec<_> = called.map(|(verb, _)| (*verb).to_owned()).collect();
    if !called.is_empty() {
        return called;
    }
    verbs.iter().filter(|verb| is_spelt_as(typed, verb)).map(|verb| (*verb).to_owned()).collect()
}

/// Whether it is a beginning of the verb, or differs from it by a slip: few people mistype the first letter.
fn is_spelt_as(typed: &str, verb: &str) -> bool {
    let slips = if verb.len() < 5 { 1 } else { 2 };
    let same_first = typed.chars().next() == verb.chars().next();
    same_first && ((typed.len() > 2 && verb.starts_with(typed)) || strsim::damerau_levenshtein(typed, verb) <= slips)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tips(typed: &str) -> String {
        meant(typed, &command()).join(" ")
    }

    #[test]
    fn a_tip_is_what_was_meant_or_nothing() {
        for (typed, verb) in [("sned", "send"), ("insta", "instances"), ("histroy", "history"), ("memebrs", "members")]
        {
            assert_eq!(tips(typed), verb);
        }
        for (typed, verb) in [("list", "instances"), ("status", "members"), ("stats", "top"), ("health", "doctor")] {
            assert_eq!(tips(typed), verb, "{typed}");
        }
        assert_eq!(tips("docs-please") + &tips("xyz"), "", "what is hidden is no tip");
    }

    #[test]
    fn a_tip_about_a_hyphen_is_one_that_works() {
        let told = |line: &[&str]| {
            let args: Vec<_> = line.iter().map(OsString::from).collect();
            let error = command().try_get_matches_from(&args).unwrap_err();
            suggesting(error, &args).to_string()
        };
        let value = told(&["statemesh", "send", "a/1", "E", "--dedup", "-x"]);
        assert!(value.contains("--dedup=-x") && !value.contains("-- -x"), "{value}");
        let word = told(&["statemesh", "send", "a/1", "-x"]);
        assert!(word.contains("'-- -x'"), "{word}");
    }

    #[test]
    fn the_form_is_found_in_a_line_that_cannot_be_read() {
        let named = |line: &[&str]| named_format(&line.iter().map(OsString::from).collect::<Vec<_>>());
        for line in
            [&["x", "-o", "json"][..], &["x", "-ojson"], &["x", "-o=json"], &["--output=json"], &["--output", "json"]]
        {
            assert_eq!(named(line), Some(Format::Json), "{line:?}");
        }
        assert_eq!((named(&["x"]), named(&["-o"]), named(&["-o", "xml"])), (None, None, None));
    }
}
