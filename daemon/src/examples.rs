//! An example of each verb, for help texts and manual pages.

use clap::Command;

/// Verbs, each with what can be typed.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("up", &["statemesh up", "statemesh up --nodes 1 --machines charts --port 8400"]),
    ("init", &["statemesh init door"]),
    ("check", &["statemesh check door.json", "statemesh check --strict charts/*.json"]),
    ("define", &["statemesh define door.json"]),
    (
        "send",
        &[
            "statemesh send order/42 PAY --data '{\"amount\":3}'",
            "statemesh send order/42 PAY --data @pay.json --dedup 7f3a",
            "statemesh send order/42 PAY --data @pay.json --until-state shipped --within 30s",
        ],
    ),
    (
        "watch",
        &[
            "statemesh watch order",
            "statemesh watch order/42 --since 10m",
            "statemesh watch --reason lost,restart -o json",
        ],
    ),
    ("start", &["statemesh start order/42 --input '{\"currency\":\"EUR\"}'", "statemesh start order/42 --force"]),
    ("get", &["statemesh get order/42 -o json", "statemesh get order/42 --until-done --within 1m"]),
    (
        "instances",
        &[
            "statemesh instances order --limit 20",
            "statemesh instances --stuck",
            "statemesh instances order --state refunding.stuck --older 24h --having 'customer.id=7'",
            "statemesh instances --count",
        ],
    ),
    ("history", &["statemesh history order/42"]),
    (
        "explain",
        &[
            "statemesh explain order/42 PAY --data '{\"amount\":3}'",
            "statemesh explain order/42 PAY --data '{}' --faults fail",
        ],
    ),
    ("where", &["statemesh where order/42"]),
    ("stop", &["statemesh stop order/42"]),
    ("retry", &["statemesh retry order/42"]),
    ("skip", &["statemesh skip order/42"]),
    (
        "delete",
        &[
            "statemesh delete order/42",
            "statemesh delete order/42 --if-run 1982e4c6b0a5f3d1",
            "statemesh delete order --status done --older 1h --dry-run",
            "statemesh delete order --stuck",
        ],
    ),
    ("members", &["statemesh members --address 10.0.0.1,10.0.0.2"]),
    ("machines", &["statemesh machines"]),
    ("placement", &["statemesh placement"]),
    ("doctor", &["statemesh doctor"]),
    ("top", &["statemesh top", "statemesh top order --every 1m"]),
    ("ping", &["statemesh ping --wait 60s"]),
    (
        "bench",
        &["statemesh bench --rate 5000 --duration 30s", "statemesh bench --machine order --event ADD --in-flight 64"],
    ),
    ("feed", &["statemesh feed kubernetes --namespace shop"]),
    (
        "simulate",
        &[
            "statemesh simulate door.json",
            "statemesh simulate door.json --events events.jsonl -o json >expected.jsonl",
            "statemesh simulate door.json --events events.jsonl --expect expected.jsonl",
        ],
    ),
    ("draw", &["statemesh draw door.json", "statemesh draw door.json --format svg --state open >door.svg"]),
    ("export", &["statemesh export door.json >door.xstate6.json", "statemesh export door.json --format xstate5"]),
    (
        "import",
        &[
            "statemesh import xstate door.xstate6.json >door.json",
            "statemesh import xstate door.ts --name door >door.json",
        ],
    ),
    ("import scxml", &["statemesh import scxml door.scxml >door.json"]),
    (
        "import xstate",
        &[
            "statemesh import xstate door.xstate6.json >door.json",
            "statemesh import xstate door.ts --name door >door.json",
        ],
    ),
    ("schema", &["statemesh schema >statemesh.schema.json"]),
    ("daemon", &["statemesh daemon --name a --machines charts"]),
    ("config", &["statemesh config --changed", "statemesh config -o toml >statemesh.toml"]),
    ("context", &["statemesh context list"]),
    ("context add", &["statemesh context add shop --address 10.0.0.1,10.0.0.2 --key admin.key --server-key 'Z85'"]),
    ("context use", &["statemesh context use shop"]),
    ("context list", &["statemesh context list -o json"]),
    ("context remove", &["statemesh context remove shop"]),
    ("keys", &["statemesh keys init --folder keys", "statemesh keys list --file keys/clients.toml"]),
    ("keys allow", &["statemesh keys allow billing 'Z85' --ops read,send --machines order --file keys/clients.toml"]),
    ("keys rotate", &["statemesh keys rotate add --file keys/gossip.keys"]),
    ("keys renew", &["statemesh keys renew --file keys/daemon.key"]),
    ("completions", &["statemesh completions bash >~/.local/share/bash-completion/completions/statemesh"]),
    ("man", &["statemesh man send", "statemesh man --dir ~/.local/share/man/man1"]),
];

/// The examples of a verb: `keys allow`.
pub(crate) fn of(verb: &str) -> &'static [&'static str] {
    EXAMPLES.iter().find(|(name, _)| *name == verb).map_or(&[], |(_, examples)| examples)
}

/// The command line with the examples below the help of each verb.
pub(crate) fn added_to(command: Command) -> Command {
    EXAMPLES.iter().fold(command, |command, (verb, examples)| {
        let lines: String = examples.iter().map(|example| format!("\n  {example}")).collect();
        let title = if examples.len() == 1 { "Example" } else { "Examples" };
        let text = format!("{title}:{lines}");
        let added = |inner: Command| inner.after_help(text.clone());
        match verb.split_once(' ') {
            Some((outer, inner)) => command.mut_subcommand(outer, |outer| outer.mut_subcommand(inner, added)),
            None => command.mut_subcommand(verb, added),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    #[test]
    fn every_verb_has_an_example() {
        let command = command();
        let verbs = command.get_subcommands().map(Command::get_name).filter(|name| *name != "docs");
        assert_eq!(verbs.filter(|verb| of(verb).is_empty()).collect::<Vec<_>>(), [""; 0]);
    }

    /// As a shell splits it: comments, and what comes after `|`, `>` or `&`, are not ours.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for c in line.chars() {
            match (c, quote) {
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(quoted)) if c == quoted => quote = None,
                ('#', None) if word.is_empty() => break,
                ('|' | '>' | '&' | ';', None) => break,
                (' ', None) => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
                (c, _) => word.push(c),
            }
        }
        words.extend(Some(word).filter(|word| !word.is_empty()));
        words
    }

    #[test]
    fn every_example_is_understood() {
        for example in EXAMPLES.iter().flat_map(|(_, examples)| *examples) {
            let read = command().try_get_matches_from(words(example));
            assert!(read.is_ok(), "{example}: {}", read.unwrap_err());
        }
    }
    fn pages(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.ends_with("node_modules") {
                continue;
            }
            if path.is_dir() {
                pages(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }

    /// The pages whose commands are ours.
    fn documentation() -> Vec<(std::path::PathBuf, String)> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found: Vec<_> =
            ["README.md", "k8s/chart/README.md", "clients/xstate/README.md"].map(|page| root.join(page)).into();
        pages(&root.join("docs"), &mut found);
        pages(&root.join("examples"), &mut found);
        found.into_iter().map(|page| (page.clone(), std::fs::read_to_string(page).unwrap())).collect()
    }

    #[test]
    fn every_command_of_the_documentation_is_understood() {
        let mut read = 0;
        for (page, text) in documentation() {
            for line in text.lines() {
                let Some(command_line) = line.strip_prefix("    ").map(|line| line.trim_start_matches("$ ")) else {
                    continue;
                };
                let command_line = command_line.replacen("cargo run --release -- ", "statemesh ", 1);
                // In a pod it stands behind kubectl's own words.
                let command_line = match command_line.split_once(" -- statemesh ") {
                    Some((_, inner)) if command_line.starts_with("kubectl ") => format!("statemesh {inner}"),
                    _ => command_line,
                };
                if !command_line.starts_with("statemesh ") {
                    continue;
                }
                let parsed = command().try_get_matches_from(words(&command_line));
                let good = parsed.as_ref().map_or_else(|error| !error.use_stderr(), |_| true);
                assert!(good, "{}: {line}: {}", page.display(), parsed.unwrap_err());
                read += 1;
            }
        }
        assert!(read > 70, "only {read} commands were found");
    }

    /// There it may be cut short; what it names must be there.
    #[test]
    fn commands_in_sentences_name_verbs_and_flags_that_there_are() {
        use clap::error::ErrorKind::{InvalidSubcommand, UnknownArgument};
        let mut read = 0;
        for (page, text) in documentation() {
            let code = text
                .lines()
                .filter(|line| !line.starts_with("    "))
                .flat_map(|line| line.split('`').skip(1).step_by(2));
            for line in code.filter(|code| code.starts_with("statemesh ") && !code.starts_with("statemesh VERB")) {
                let parsed = command().try_get_matches_from(words(line));
                let wrong = parsed.err().filter(|error| matches!(error.kind(), InvalidSubcommand | UnknownArgument));
                assert!(wrong.is_none(), "{}: {line}: {}", page.display(), wrong.unwrap());
                read += 1;
            }
        }
        assert!(read > 50, "only {read} commands were found");
    }
}
