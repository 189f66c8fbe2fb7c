//! The reference pages that are made of the code: the command line, the configuration, the exit codes and HTTP.

use crate::cli;
use crate::config::{CONTEXT_VARIABLE, FILE_VARIABLE, SETTINGS, SETTINGS_HEADING, Setting, USUAL_FILES};
use crate::examples;
use crate::failure::{Exit, Failure};
use crate::kubernetes::HEADING;
use crate::output::say;
use clap::{Arg, Command};
use statemesh_gateway::{METRICS, RESOURCES};
use std::fmt::Write;
use std::path::Path;

const MADE: &str = "<!-- Made by `statemesh docs docs/reference`; a test fails if it is not what that writes. -->\n";

/// Writes the pages into a folder.
pub(crate) fn write(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir).map_err(|error| Failure::file(dir, &error))?;
    for (name, text) in pages() {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|error| Failure::file(&path, &error))?;
        say!("wrote {}", path.display());
    }
    Ok(())
}

/// The pages by file name.
fn pages() -> [(&'static str, String); 4] {
    [
        ("cli.md", command_line()),
        ("configuration.md", configuration()),
        ("exit-codes.md", exit_codes()),
        ("http.md", http_page()),
    ]
}

fn command_line() -> String {
    let mut command = cli::command();
    command.build();
    let mut page = format!("# The command line\n\n{MADE}\n{}\n\n", about(&command));
    page.push_str("Data is written to stdout and everything else to stderr. ");
    page.push_str(
        "[Exit codes](exit-codes.md) tell how a command ended. `statemesh VERB --help` says the same as this page; ",
    );
    page.push_str("`statemesh man` and `statemesh completions SHELL` are made of it too.\n\n");
    page.push_str("What is marked *Kubernetes* is in the image, and in a build with `--features kubernetes`.\n\n");
    page.push_str("With every verb:\n\n");
    options(&command, &mut page, Arg::is_global_set);
    for verb in command.get_subcommands().filter(|verb| is_shown(verb)) {
        let _ = write!(page, "## statemesh {}\n\n{}\n\n```\n{}\n```\n\n", verb.get_name(), about(verb), usage(verb));
        if verb.get_arguments().any(is_setting) {
            page.push_str("Every setting of the [configuration](configuration.md) has a flag here.\n\n");
        }
        options(verb, &mut page, |arg| !arg.is_global_set() && !is_setting(arg));
        examples_of(verb.get_name(), &mut page);
        for inner in verb.get_subcommands().filter(|inner| inner.get_name() != "help") {
            let name = format!("{} {}", verb.get_name(), inner.get_name());
            let _ = write!(page, "### statemesh {name}\n\n{}\n\n```\n{}\n```\n\n", about(inner), usage(inner));
            options(inner, &mut page, |arg| !arg.is_global_set());
            examples_of(&name, &mut page);
        }
    }
    page.trim_end().to_owned() + "\n"
}

fn examples_of(verb: &str, page: &mut String) {
    let examples = examples::of(verb);
    if !examples.is_empty() {
        let _ = write!(page, "```sh\n{}\n```\n\n", examples.join("\n"));
    }
}

fn is_shown(verb: &Command) -> bool {
    let needs_kubernetes = |inner: &Command| inner.get_arguments().any(is_kubernetes);
    verb.get_name() != "help" && (!verb.is_hide_set() || verb.get_subcommands().any(needs_kubernetes))
}

/// Hidden in a build that lacks the feature; the page is the same with it and without.
fn is_kubernetes(arg: &Arg) -> bool {
    arg.get_help_heading() == Some(HEADING)
}

fn is_setting(arg: &Arg) -> bool {
    arg.get_help_heading().is_some_and(|heading| heading.starts_with(SETTINGS_HEADING))
}

fn about(command: &Command) -> String {
    let text = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    text.replace("\n\n", ". ") + "."
}

fn usage(verb: &Command) -> String {
    verb.clone().render_usage().to_string().trim_start_matches("Usage: ").to_owned()
}

fn options(command: &Command, page: &mut String, wanted: impl Fn(&Arg) -> bool) {
    let is_ours = |arg: &&Arg| {
        (!arg.is_hide_set() || is_kubernetes(arg))
            && !matches!(arg.get_id().as_str(), "help" | "version")
            && wanted(arg)
    };
    let args: Vec<_> = command.get_arguments().filter(is_ours).collect();
    if args.is_empty() {
        return;
    }
    page.push_str("| argument | meaning |\n|---|---|\n");
    for arg in args {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let words: Vec<_> = arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        let words = if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) };
        let default = arg.get_default_values().first().map(|value| format!(" [default: {}]", value.to_string_lossy()));
        let mark = if is_kubernetes(arg) { "*Kubernetes*: " } else { "" };
        let _ = writeln!(page, "| {} | {mark}{}{words}{} |", argument(arg), cell(&help), default.unwrap_or_default());
    }
    page.push('\n');
}

fn argument(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default();
    let takes_value = arg.get_action().takes_values();
    let short = arg.get_short().map(|short| format!("-{short}"));
    let names: Vec<_> = short.into_iter().chain(arg.get_long().map(|long| format!("--{long}"))).collect();
    match (names.is_empty(), takes_value) {
        (true, _) => format!("`{value}`"),
        (false, true) => format!("`{} {value}`", names.join(", ")),
        (false, false) => format!("`{}`", names.join(", ")),
    }
}

fn configuration() -> String {
    let mut page = format!(
        "# Configuration\n\n{MADE}\n\
A daemon takes each setting from the first of these that gives it: a flag, an environment variable, the file, its default.\n\
`statemesh config` prints the result and where each value came from. An unknown key or variable, or a bad value, is an\n\
error that names it and its place, also where another source overrides it.\n\n\
The file is the one that `--config` or `{FILE_VARIABLE}` names, or else the first of {} that exists. It is TOML:\n\n\
```toml\nmesh = \"shop\"\n\n[limits]\nmessage_bytes = \"4MiB\"\nforward_timeout = \"2s\"\n\n[discovery]\nseeds = [\"10.0.0.1:7403\", \"10.0.0.2:7403\"]\n```\n\n\
Sizes take `B`, `kB`, `MB`, `GB`, `KiB`, `MiB`, `GiB` or no unit (bytes); times take `ns`, `us`, `ms`, `s`, `m`, `h`.\n\
A list is written with commas in a variable or flag; its flag can also be given more than once.\n\
A variable that is set but empty counts as not given.\n\n\
The settings of `[client]` are the command line's own, and can stand in a context as well (`statemesh context add`). Of two that give one,\n\
the first in this list is heard: its flag, a context that `--context` names, its variable, a context that `{CONTEXT_VARIABLE}` names, a file\n\
that `--config` or `{FILE_VARIABLE}` names, the current context, another file. A daemon knows no contexts, and `statemesh config -o toml`\n\
writes none into a file unless `--context` names it.\n\n",
        USUAL_FILES.map(|name| format!("`{name}`")).join(" and ")
    );
    let mut section = Some("");
    for setting in SETTINGS.iter() {
        if section != setting.section() {
            section = setting.section();
            let title = section.map_or_else(|| "## At the top of the file".to_owned(), |name| format!("## [{name}]"));
            let _ = write!(page, "{title}\n\n| key, flag, variable | default | meaning |\n|---|---|---|\n");
        }
        page.push_str(&row(setting));
        if is_last_of_section(setting) {
            page.push('\n');
        }
    }
    page.trim_end().to_owned() + "\n"
}

fn is_last_of_section(setting: &Setting) -> bool {
    let mut same = SETTINGS.iter().filter(|other| other.section() == setting.section());
    same.next_back().is_some_and(|last| last.key == setting.key)
}

fn row(setting: &Setting) -> String {
    let name = setting.key.split_once('.').map_or(setting.key, |(_, name)| name);
    let flag = setting.flag().map_or_else(|| "no flag: it is a secret".to_owned(), |flag| format!("`--{flag}`"));
    let default = match (setting.key, setting.default) {
        ("name", _) => "the host's name".to_owned(),
        (_, "") => "none".to_owned(),
        (_, text) => format!("`{text}`"),
    };
    let list = if setting.many { "; a list" } else { "" };
    format!(
        "| `{name}`<br>{flag}<br>`{}` | {default} | {} ({}{list}) |\n",
        setting.variable(),
        cell(setting.help),
        cell(&setting.kind.describe())
    )
}

fn exit_codes() -> String {
    let mut page = format!("# Exit codes\n\n{MADE}\n| code | meaning |\n|---|---|\n");
    for (exit, meaning) in Exit::ALL {
        let _ = writeln!(page, "| {} | {meaning} |", exit.code());
    }
    page.push_str(
        "\nWhat is wrong is written to stderr, with the way out; with `-o json` it is one line of JSON there, also where the\ncommand line itself is wrong:\n",
    );
    page.push_str("`{\"error\":{\"code\":\"unreachable\",\"message\":\"...\",\"hint\":\"...\"}}`. For an error reply the code is the protocol's.\n");
    page.push_str("A command whose reader goes away, as with `| head`, ends with 0. Ctrl-C ends one that was not done yet, such as a wait, with 130; one that\n");
    page.push_str("would go on for ever (`watch` and `top` without `--count`, `feed`) with 0. `bench` ends with 130 at a second signal, and a daemon that is leaving at one that comes a second or more after the first.\n");
    page
}

fn http_page() -> String {
    let mut page = format!("# HTTP\n\n{MADE}\n");
    page.push_str(
        "Every daemon serves HTTP/1.1 on `listen.http`, 7480: health, metrics and read-only JSON, by GET or HEAD.\n\n",
    );
    page.push_str("| resource | shows |\n|---|---|\n");
    for resource in RESOURCES {
        let _ = writeln!(page, "| `{}` | {} |", resource.path, resource.shows);
    }
    page.push_str("\nThe JSON is that of the [protocol](protocol.md)'s replies, without `ok`: members and machines as a list, the others as a map.\n");
    page.push_str("In a path, bytes that a URL cannot hold are percent-encoded. An error is `{\"error\":{\"code\",\"message\",\"hint\"}}` with the\n");
    page.push_str("protocol's code, or one of HTTP's own (`unauthorized`, `not_found`, `method_not_allowed`), and a status that goes with it: 400 the request is wrong, or has a parameter that is not\nunderstood, 401 it shows none of `http.tokens`, though it comes over\n");
    page.push_str("something else than loopback, or none is set, 404 there is no such machine or instance, 405 not\n");
    page.push_str("GET or HEAD, 503 try again or elsewhere, or the answer is too large, 504 no answer in time, 500 a fault of the daemon.\n\n");
    page.push_str("A head longer than `http.header_bytes` is answered with 431, and one that is no HTTP with 400, both without a body. A connection is closed whose head is not there within\n");
    page.push_str("`http.timeout`, or whose peer takes nothing of an answer for as long; none is kept for more than five minutes. A request's\n");
    page.push_str(
        "body is not read. An answer of more than `limits.output_bytes` is refused with 503 and `output_too_large`,\n",
    );
    page.push_str("and so is one with `until` of more than 256 KiB: while it is waited for its room is kept. Such requests may keep half of `http.unsent_bytes`\n");
    page.push_str("together, beyond which they are refused with 503 and `limit_exceeded`.\n\n");
    page.push_str("When `http.connections` are open, the one that has asked nothing for longest is closed to make room for a new one, be it\n");
    page.push_str("idle or in the middle of a head. When all of them wait for an answer, `http.probe_connections` more are accepted: there\n");
    page.push_str("only /health/live and /health/ready are answered, everything else with 503 and `limit_exceeded`, and a head must come\n");
    page.push_str("within a second. So a probe is answered however many connections guests open.\n\n");
    page.push_str("| metric | kind | meaning |\n|---|---|---|\n");
    for (name, kind, help) in METRICS {
        let _ = writeln!(page, "| `{name}` | {kind} | {help} |");
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
