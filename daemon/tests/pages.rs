//! The commands of the documentation, as they stand on their pages, against a daemon. That all others are at least understood is a
//! test beside `daemon/src/examples.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use support::{Folder, code, statemesh, stderr, stdout};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// The lines of a page that begin with one of these, without their indentation.
fn commands(page: &str, beginnings: &[&str]) -> Vec<String> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("    "));
    let wanted = lines.filter(|line| beginnings.iter().any(|beginning| line.starts_with(beginning)));
    wanted.map(str::to_owned).collect()
}

/// A daemon alone, which does not outlive its test, and a folder to work in.
struct Place {
    folder: Folder,
    daemon: Child,
    address: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Place {
    fn new(test: &str) -> Place {
        let folder = Folder::new(test);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let others = ["changes", "peers", "gossip", "http"].map(|port| [format!("--listen-{port}"), "0".to_owned()]);
        let daemon = statemesh(&folder.0)
            .args(["daemon", "--name", test, "--listen-clients", &port.to_string()])
            .args(others.as_flattened())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let place = Place { folder, daemon, address: format!("127.0.0.1:{port}") };
        place.good("statemesh ping --wait 20s");
        place
    }

    /// Runs a line as a shell does.
    fn run(&self, line: &str) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_statemesh")).parent().unwrap();
        Command::new("sh")
            .args(["-c", line])
            .current_dir(&self.folder.0)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
            .env("XDG_CONFIG_HOME", &self.folder.0)
            .env("STATEMESH_ADDRESS", &self.address)
            .output()
            .unwrap()
    }

    fn good(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(code(&output), 0, "{line}\n{}{}", stdout(&output), stderr(&output));
        stdout(&output)
    }
}

#[test]
fn the_tutorial_does_what_it_says() {
    let page = page("docs/tutorial/first-machine.md");
    let place = Place::new("tutorial");
    let definition = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    place.folder.file("door.json", definition);
    let lines = commands(&page, &["statemesh ", "printf "]);
    assert!(lines.len() > 12, "{lines:?}");
    let mut shown = Vec::new();
    for line in lines {
        // It would watch until somebody ends it.
        let line = if line.starts_with("statemesh watch") { format!("{line} -n 0") } else { line };
        shown.push((line.clone(), place.good(&line)));
    }
    let of = |beginning: &str| {
        let found = shown.iter().find(|(line, _)| line.starts_with(beginning));
        found.unwrap_or_else(|| panic!("{beginning} is not on the page")).1.clone()
    };
    let states: Vec<_> =
        of("statemesh simulate").lines().map(|line| line.split("  ").next().unwrap().to_owned()).collect();
    assert_eq!(
        states.iter().filter(|state| !state.is_empty()).collect::<Vec<_>>(),
        ["locked", "locked", "open", "locked"]
    );
    assert!(of("statemesh send door/front").contains("open"), "{}", of("statemesh send door/front"));
    assert!(of("statemesh where door/front").contains("tutorial"), "{}", of("statemesh where door/front"));
    let broken = definition.replace("\"target\": \"open\"", "\"target\": \"opne\"");
    place.folder.file("door.json", &broken);
    let checked = place.run("statemesh check door.json");
    assert!(code(&checked) == 1 && stdout(&checked).contains("open"), "{}", stdout(&checked));
}

#[test]
fn keys_are_made_changed_and_renewed_as_their_page_says() {
    let place = Place::new("keys-page");
    let lines = commands(&page("docs/how-to/keys.md"), &["statemesh keys", "statemesh context"]);
    let mut public = String::new();
    let mut ran = 0;
    for line in lines.iter().filter(|line| !line.contains("--secret")) {
        let shown = place.good(&line.replace("PUBLIC_KEY", &public));
        if line.starts_with("statemesh keys new") {
            shown.trim().clone_into(&mut public);
        }
        ran += 1;
    }
    assert!(ran >= 9, "{lines:?}");
    assert!(place.good("statemesh keys list --file keys/clients.toml").contains("billing"));
    assert!(place.good("statemesh context list").contains("shop"));
}

#[test]
fn changes_are_watched_and_loads_measured_as_their_pages_say() {
    let place = Place::new("watch-page");
    let watching = commands(&page("docs/how-to/watch.md"), &["statemesh watch"]);
    let measuring = commands(&page("docs/how-to/measure.md"), &["statemesh bench"]);
    assert!(watching.len() > 5 && measuring.len() > 2, "{watching:?} {measuring:?}");
    for line in watching {
        place.good(&line.replacen("statemesh watch", "statemesh watch -n 0", 1));
    }
    for line in measuring.iter().filter(|line| !line.contains("--address")) {
        let short = "statemesh bench --warm-up 0 --keys 64";
        let line = line.replace("--duration 10m", "").replacen("statemesh bench", short, 1);
        place.good(&line.replacen(short, &format!("{short} --duration 200ms"), 1));
    }
}

#[test]
fn the_examples_run_as_their_page_says() {
    let page = page("examples/README.md");
    let lines = commands(&page, &["statemesh "]);
    assert!(!lines.is_empty(), "no command is on the page");
    for line in lines {
        let words: Vec<_> = line.split_whitespace().skip(1).collect();
        let output = statemesh(&root()).args(&words).output().unwrap();
        assert_eq!(code(&output), 0, "{line}: {}", stderr(&output));
    }
}
