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
        // It would watch until it is ended.
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

/// Ends its process with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a line runs in the background, in a process of its own.
fn in_background(folder: &Path, line: &str) -> Running {
    let words: Vec<_> = line.trim_end_matches('&').split_whitespace().skip(1).collect();
    Running(statemesh(folder).args(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// Runs a line until what it prints is as it should be.
fn until(folder: &Path, line: &str, is_there: impl Fn(&str) -> bool) -> String {
    let words: Vec<_> = line.split_whitespace().skip(1).collect();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let output = statemesh(folder).args(&words).output().unwrap();
        if is_there(&stdout(&output)) {
            return stdout(&output);
        }
        assert!(std::time::Instant::now() < deadline, "{line}\n{}{}", stdout(&output), stderr(&output));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn three_daemons_find_each_other_as_their_page_says() {
    let page = page("docs/how-to/three-daemons.md");
    let folder = Folder::new("three-daemons");
    // Addresses of this process, so that no other daemons are in the way.
    let own = format!("127.{}.{}.", 100 + std::process::id() / 200 % 100, 1 + std::process::id() % 200);
    let lines: Vec<_> = commands(&page, &["statemesh "]).into_iter().filter(|line| line.contains("127.0.1.")).collect();
    let lines: Vec<_> = lines.iter().map(|line| line.replace("127.0.1.", &own)).collect();
    let (daemons, rest): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.ends_with('&'));
    assert_eq!((daemons.len(), rest.len()), (3, 1), "{lines:?}");
    let mut running: Vec<_> = daemons.iter().map(|line| in_background(&folder.0, line)).collect();
    let shown = until(&folder.0, rest[0], |shown| shown.matches("alive").count() == 3);
    for name in ["a ", "b ", "c "] {
        assert!(shown.lines().any(|line| line.starts_with(name)), "{shown}");
    }
    // Killed, not told to end.
    drop(running.pop());
    let doctor = rest[0].replace("statemesh members", "statemesh doctor");
    let verdict = until(&folder.0, &doctor, |shown| shown.contains("c is dead"));
    assert!(verdict.contains("2 daemons alive; c is dead; what it held is lost"), "{verdict}");
    let settings = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    folder.file("statemesh.toml", settings);
    let shown = folder.run(&["config", "--changed", "--config", "statemesh.toml"]);
    assert_eq!(code(&shown), 0, "{}", stderr(&shown));
    assert!(
        stdout(&shown).contains("machines_revision") && stdout(&shown).contains("10.0.0.2:7403"),
        "{}",
        stdout(&shown)
    );
}

#[test]
fn the_instances_of_pods_are_looked_at_as_their_page_says() {
    let page = page("docs/how-to/watch-a-cluster.md");
    let place = Place::new("watch-a-cluster");
    place.good(&format!("statemesh define {}/examples/pod-lifecycle/machine.json", root().display()));
    place.good("statemesh start pod/default/web-0");
    let lines = commands(&page, &["statemesh "]);
    // What asks a cluster is understood, by another test; the rest is done.
    let lines: Vec<_> = lines.iter().filter(|line| !line.contains(" feed ") && !line.contains("--secret")).collect();
    assert!(lines.len() >= 5, "{lines:?}");
    for line in lines {
        let line =
            if line.starts_with("statemesh watch") { line.replacen("watch", "watch -n 0", 1) } else { line.clone() };
        place.good(&line);
    }
}

#[test]
fn the_first_page_does_what_it_says() {
    let page = page("README.md");
    let lines = commands(&page, &["cargo run --release -- "]);
    let lines: Vec<_> = lines.iter().map(|line| line.replacen("cargo run --release --", "statemesh", 1)).collect();
    let [up, watch, send] = &lines[..] else { panic!("{lines:?}") };
    let folder = Folder::new("first-page");
    // As `up` takes them: the same ports at 127.0.0.1, 127.0.0.2 and 127.0.0.3.
    let own = u16::try_from(std::process::id() % 100).unwrap();
    let mut ports = (20_000..60_000).step_by(200).map(|port| port + own);
    let is_free = |port: &u16| {
        let at = |host: u8, more: u16| TcpListener::bind((std::net::Ipv4Addr::new(127, 0, 0, host), *port + more));
        (1..=3).all(|host| [0, 1, 2, 80].into_iter().all(|more| at(host, more).is_ok()))
    };
    let port = ports.find(is_free).unwrap();
    let _running = in_background(&root(), &format!("{up} --port {port}"));
    let at = format!(" --address 127.0.0.1:{port}");
    until(&folder.0, &format!("statemesh machines{at}"), |shown| shown.contains("order"));
    let run = |line: &str| {
        let output = Command::new("sh")
            .args(["-c", &format!("{line}{at}").replacen("statemesh", env!("CARGO_BIN_EXE_statemesh"), 1)])
            .current_dir(&folder.0)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .output()
            .unwrap();
        assert_eq!(code(&output), 0, "{line}\n{}{}", stdout(&output), stderr(&output));
        stdout(&output)
    };
    run(&watch.replacen("watch", "watch -n 0", 1));
    assert!(run(send).contains("paid"));
    let drawn = page.split('`').find(|code| code.starts_with("statemesh draw ")).unwrap();
    // A picture takes a program that may not be here; the chart as text takes none.
    let words: Vec<_> = drawn.trim_end_matches("--format svg").split_whitespace().skip(1).collect();
    let drawn = statemesh(&root()).args(&words).output().unwrap();
    assert!(code(&drawn) == 0 && stdout(&drawn).contains("paid"), "{}", stderr(&drawn));
}
