//! The reference of the format, made from the tables that the compiler checks names against.
#![allow(clippy::disallowed_methods)]

use super::codes::{FAULTS, FINDINGS};
use super::keys::{
    BRANCH, BUILT_IN_ACTIONS, BUILT_IN_GUARDS, BuiltIn, EFFECT, EXPRESSION, INITIAL, INVOKE, Key, NAMED_GUARD, OWN,
    ROOT, ROUTE, STATE, TRANSITION,
};
use std::fmt::Write;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/definitions.md");

fn table(page: &mut String, title: &str, keys: &[Key]) {
    write!(page, "## {title}\n\n| key | meaning |\n|---|---|\n").unwrap();
    for key in keys {
        let required = if key.required { " (required)" } else { "" };
        writeln!(page, "| `{}`{required} | {} |", key.name, key.about).unwrap();
    }
    page.push('\n');
}

fn built_in(page: &mut String, title: &str, all: &[BuiltIn]) {
    write!(page, "## {title}\n\n| type | keys | meaning |\n|---|---|---|\n").unwrap();
    for one in all {
        let keys: Vec<String> = one.keys.iter().map(|key| format!("`{}`: {}", key.name, key.about)).collect();
        writeln!(page, "| `{}` | {} | {} |", one.name, keys.join("<br>"), one.about).unwrap();
    }
    page.push('\n');
}

/// What `@statemesh` may have.
fn own(page: &mut String) {
    page.push_str("## `@statemesh`\n\n");
    page.push_str("A key or value that is not here is refused with `unsupported` or `unknown_key`, never ignored.\n\n");
    page.push_str("| key | values | meaning |\n|---|---|---|\n");
    for key in OWN {
        let values: Vec<String> = key.honoured.iter().map(|value| format!("`{value}`")).collect();
        let times = key.is_time.then(|| "a time such as `\"90s\"`, `\"1h\"`, `\"7d\"`".to_owned());
        let values: Vec<String> = times.into_iter().chain(values).collect();
        let values = if values.is_empty() { "none yet".to_owned() } else { values.join(", ") };
        writeln!(page, "| `{}` | {values} | {} |", key.name, key.about).unwrap();
    }
    page.push('\n');
}

/// Name, default and meaning of each bound, from the source that documents them.
fn limits(page: &mut String) {
    let source = include_str!("../limits.rs");
    let defaults = format!("{:#?}", crate::Limits::default());
    page.push_str("\n| limit | default | meaning |\n|---|---|---|\n");
    let mut about = String::new();
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            about.push_str(text);
            about.push(' ');
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(':')) {
            let default = defaults.lines().find_map(|row| row.trim().strip_prefix(&format!("{name}: ")));
            let default = default.unwrap_or_default().trim_end_matches(',');
            writeln!(page, "| `{name}` | {default} | {} |", about.trim()).unwrap();
            about.clear();
        } else {
            about.clear();
        }
    }
}

fn codes(page: &mut String, title: &str, what: &str, all: &[(&str, &str)]) {
    write!(page, "\n## {title}\n\n{what}\n\n| code | meaning |\n|---|---|\n").unwrap();
    for (code, meaning) in all {
        writeln!(page, "| `{code}` | {meaning} |").unwrap();
    }
}

fn page() -> String {
    let mut page = include_str!("reference_begin.txt").to_owned();
    table(&mut page, "States", STATE);
    table(&mut page, "The root, beside those of a state", ROOT);
    own(&mut page);
    table(&mut page, "Transitions", TRANSITION);
    table(&mut page, "Branches of `choice`", BRANCH);
    table(&mut page, "`initial` as an object", INITIAL);
    table(&mut page, "`invoke`", INVOKE);
    table(&mut page, "`route`", ROUTE);
    table(&mut page, "Expressions", EXPRESSION);
    table(&mut page, "Actions by name, and effects", EFFECT);
    built_in(&mut page, "Built-in actions", BUILT_IN_ACTIONS);
    table(&mut page, "Guards by name", NAMED_GUARD);
    built_in(&mut page, "Built-in guards", BUILT_IN_GUARDS);
    page.push_str(include_str!("reference_end.txt"));
    limits(&mut page);
    let findings = "`check` shows them in brackets, such as `error[unknown_target]`; a refused `define` has them as `diagnostics`.";
    codes(&mut page, "Codes of findings", findings, FINDINGS);
    let faults = "What goes wrong in a step has one of these as its `code`: in `event.error` of an `onError`, in a reply with `event_failed`, and in \
                  `fault`. A limit of the engine is `limit_exceeded` or \
                  `output_too_large`.";
    codes(&mut page, "Codes of faults", faults, FAULTS);
    page
}

/// The words in quotes that look like codes.
fn words(source: &str) -> impl Iterator<Item = &str> {
    let is_code = |word: &&str| word.contains('_') && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    source.split('"').skip(1).step_by(2).filter(is_code)
}

#[test]
fn every_code_of_the_compiler_is_listed() {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/compile")).unwrap();
    for file in folder.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        let source = std::fs::read_to_string(&file).unwrap();
        let source = source.split("#[cfg(test)]").next().unwrap_or_default().replace("\\\"", "");
        for word in words(&source) {
            assert!(FINDINGS.iter().any(|(code, _)| *code == word), "{word} in {}", file.display());
        }
    }
    for table in [FINDINGS, FAULTS] {
        assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0), "in the order of the alphabet");
    }
}

#[test]
fn every_code_of_the_runtime_is_listed() {
    let mut found = 0;
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/runtime")).unwrap();
    for file in folder.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        let source = std::fs::read_to_string(&file).unwrap();
        for call in source.split(" failure(").chain(source.split("(failure(")).skip(1) {
            let Some(code) = call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
                continue;
            };
            assert!(FAULTS.iter().any(|(listed, _)| *listed == code), "{code} in {}", file.display());
            found += 1;
        }
    }
    assert!(found > 5, "{found} codes: the form of the calls has changed");
}

#[test]
fn the_reference_lists_what_the_compiler_knows() {
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(written == page, "docs/reference/definitions.md is out of date: run it again with UPDATE_DOCS=1");
}
