//! The binary as a person or a script meets it: output, messages, exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use support::{Folder, code, statemesh, stderr, stdout};

#[test]
fn config_shows_where_each_value_came_from() {
    let folder = Folder::new("provenance");
    folder.file("statemesh.toml", "mesh = \"shop\"\n\n[limits]\nbatch = 5\n");
    let output = statemesh(&folder.0)
        .args(["config", "--changed", "--partitions", "64", "-o", "json"])
        .env("STATEMESH_REACTOR_SPIN", "0")
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let config: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!({
        "mesh": {"value": "shop", "from": "statemesh.toml:1"},
        "partitions": {"value": "64", "from": "flag --partitions"},
        "reactor.spin": {"value": "0", "from": "environment STATEMESH_REACTOR_SPIN"},
        "limits.batch": {"value": "5", "from": "statemesh.toml:4"},
    });
    assert_eq!(config, expected);
}

#[test]
fn a_secret_is_not_shown() {
    let folder = Folder::new("secret");
    let key = "c0ffee00".repeat(8);
    let output = statemesh(&folder.0).arg("config").env("STATEMESH_GOSSIP_KEYS", &key).output().unwrap();
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("(secret)") && !stdout(&output).contains("c0ffee"), "{}", stdout(&output));
}

#[test]
fn a_wrong_configuration_is_a_usage_error_that_names_its_place() {
    let folder = Folder::new("wrong-file");
    folder.file("statemesh.toml", "[limits]\nmesage_bytes = 5\n");
    for verb in ["config", "daemon", "up", "ping"] {
        let output = folder.run(&[verb]);
        assert_eq!(code(&output), 2, "{verb}");
        assert_eq!(
            stderr(&output),
            "error: statemesh.toml:2: unknown key 'limits.mesage_bytes'\n  did you mean 'limits.message_bytes'?\n"
        );
        assert_eq!(stdout(&output), "");
    }
    let missing = folder.run(&["config", "--config", "none.toml"]);
    assert_eq!((code(&missing), stderr(&missing).contains("none.toml: No such file")), (2, true));
}

#[test]
fn a_misspelt_verb_or_flag_is_a_usage_error_with_a_suggestion() {
    let folder = Folder::new("misspelt");
    let verb = folder.run(&["sned", "order/1", "PAY"]);
    assert!(code(&verb) == 2 && stderr(&verb).contains("'send'"), "{}", stderr(&verb));
    let flag = folder.run(&["daemon", "--partition", "7"]);
    assert!(code(&flag) == 2 && stderr(&flag).contains("--partitions"), "{}", stderr(&flag));
    let target = folder.run(&["get", "order"]);
    assert!(code(&target) == 2 && stderr(&target).contains("machine/key, such as order/42"), "{}", stderr(&target));
    let data = folder.run(&["send", "order/1", "PAY", "--data", "amount=3"]);
    assert!(code(&data) == 2 && stderr(&data).contains("--data: not JSON"), "{}", stderr(&data));
}

/// An address that no daemon listens at: its port was free a moment ago.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("tcp://{}", listener.local_addr().unwrap())
}

#[test]
fn without_a_daemon_the_error_says_how_to_start_one() {
    let folder = Folder::new("no-daemon");
    let output = folder.run(&["ping", "--address", &free_address()]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("no daemon at tcp://127.0.0.1:"), "{}", stderr(&output));
    assert!(stderr(&output).contains("is it running? `statemesh up`"), "{}", stderr(&output));

    let output = folder.run(&["ping", "--address", &free_address(), "-o", "json"]);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((code(&output), error["error"]["code"].as_str()), (3, Some("unreachable")));
}

#[test]
fn something_that_is_no_daemon_does_not_keep_the_command_waiting() {
    let folder = Folder::new("silent");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", silent.local_addr().unwrap());
    let output = folder.run(&["ping", "--address", &address, "--timeout", "100ms"]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("does not answer as a daemon does"), "{}", stderr(&output));
}

#[test]
fn a_port_in_use_is_named_with_its_holder() {
    let folder = Folder::new("port");
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let output = folder.run(&["daemon", "--listen-address", "127.0.0.1", "--listen-http", &port]);
    assert_eq!(code(&output), 4);
    let expected = format!("listen.http: 127.0.0.1:{port} is in use by process {} (", std::process::id());
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    assert!(stderr(&output).contains("--listen-http PORT"), "{}", stderr(&output));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = Folder::new("pipe");
    let mut child = statemesh(&folder.0).args(["completions", "bash"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn completions_and_manual_pages_know_every_verb() {
    let folder = Folder::new("pages");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = folder.run(&["completions", shell]);
        assert!(code(&output) == 0 && stdout(&output).contains("STATEMESH_COMPLETE"), "{shell}: {}", stderr(&output));
    }
    assert!(stdout(&folder.run(&["man"])).starts_with(".ie"), "roff");
    let page = stdout(&folder.run(&["man", "keys", "allow"]));
    for part in [".TH statemesh-keys-allow", "EXAMPLES", "keys allow billing", "ENVIRONMENT", "EXIT STATUS", "SEE ALSO"]
    {
        assert!(page.contains(part) || page.replace("\\-", "-").contains(part), "{part}: {page}");
    }
    assert_eq!(code(&folder.run(&["man", "sned"])), 2);
    assert_eq!(code(&folder.run(&["man", "--dir", "pages"])), 0);
    for verb in ["", "-up", "-send", "-watch", "-check"] {
        assert!(folder.0.join(format!("pages/statemesh{verb}.1")).is_file(), "{verb}");
    }
}

#[test]
fn nothing_but_data_goes_to_stdout_and_no_colour_without_a_terminal() {
    let folder = Folder::new("plain");
    let output = statemesh(&folder.0).arg("config").output().unwrap();
    assert!(!stdout(&output).contains('\x1b'));
    assert_eq!(stderr(&output), "");
}

#[test]
fn the_reference_pages_are_those_that_the_code_makes() {
    let folder = Folder::new("reference");
    assert_eq!(code(&folder.run(&["docs", "reference"])), 0);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    for page in ["cli.md", "configuration.md", "exit-codes.md", "http.md"] {
        let made = std::fs::read_to_string(folder.0.join("reference").join(page)).unwrap();
        let kept = std::fs::read_to_string(kept.join(page)).unwrap_or_default();
        assert!(made == kept, "docs/reference/{page} is stale: cargo run -- docs docs/reference");
    }
}

#[test]
fn standard_input_is_a_file_named_dash() {
    let folder = Folder::new("stdin");
    let mut child = statemesh(&folder.0)
        .args(["define", "-", "--address", &free_address()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"id\": \n\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("--> -:1:7 (at the root)"), "{}", stderr(&output));
    assert!(stderr(&output).contains("the definition has 1 error; nothing was defined"), "{}", stderr(&output));
}

#[test]
fn completions_lack_what_this_build_lacks() {
    let folder = Folder::new("hidden");
    let offered = |line: &[&str]| support::completed(&mut statemesh(&folder.0), line);
    assert!(
        offered(&[""]).contains(&"send".to_owned()) && offered(&["keys", "list", "--"]).contains(&"--file".to_owned())
    );
    assert!(
        !offered(&["do"]).contains(&"docs".to_owned())
            && !offered(&["daemon", "--with"]).contains(&"--with-parent".to_owned())
    );
    if !cfg!(feature = "kubernetes") {
        let hidden = [offered(&["fee"]), offered(&["keys", "list", "--sec"]), offered(&["keys", "del"])].concat();
        assert_eq!(hidden, [""; 0]);
    }
}

/// Runs with a stderr, or a stdout, that has no reader.
fn unread(folder: &Folder, args: &[&str], stderr: bool) -> Option<i32> {
    let mut command = statemesh(&folder.0);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let command = if stderr { command.stderr(Stdio::piped()) } else { command.stdout(Stdio::piped()) };
    let mut child = command.spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    child.wait().unwrap().code()
}

#[test]
fn a_verb_ends_as_it_would_where_nobody_reads_what_it_says() {
    let folder = Folder::new("unread");
    folder
        .file("broken.json", "{\"id\": \"a\", \"initial\": \"x\", \"states\": {\"y\": {}}}")
        .file("ok.json", r#"{"id":"a","initial":"x","states":{"x":{}}}"#);
    let address = free_address();
    let lines: [(&[&str], i32); 7] = [
        (&["check", "ok.json"], 0),
        (&["check", "broken.json"], 1),
        (&["simulate", "broken.json"], 1),
        (&["sned"], 2),
        (&["ping", "--address", &address], 3),
        (&["man", "--dir", "pages"], 0),
        (&["keys", "rotate", "add", "--file", "gossip.keys"], 0),
    ];
    for (args, expected) in lines {
        assert_eq!(unread(&folder, args, true), Some(expected), "{args:?}");
    }
    for args in [&["--help"][..], &["--version"], &["config"], &["man"], &["send", "--help"]] {
        assert_eq!(unread(&folder, args, false), Some(0), "{args:?}");
    }
}

#[test]
fn a_line_that_cannot_be_read_is_json_where_json_is_asked_for() {
    let folder = Folder::new("usage-json");
    for args in [&["sned", "-o", "json"][..], &["send", "order", "PAY", "-o", "json"], &["-o=json", "get"]] {
        let output = folder.run(args);
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!((code(&output), &error["error"]["code"]), (2, &"usage".into()), "{args:?}");
        assert!(error["error"]["hint"].is_string() && stdout(&output).is_empty(), "{error}");
    }
    let by_variable = statemesh(&folder.0).arg("sned").env("STATEMESH_OUTPUT", "json").output().unwrap();
    let error: serde_json::Value = serde_json::from_slice(&by_variable.stderr).unwrap();
    assert!(error["error"]["hint"].as_str().unwrap().contains("'send'"), "{error}");
    let wrong = statemesh(&folder.0).arg("config").env("STATEMESH_OUTPUT", "xml").output().unwrap();
    assert!(code(&wrong) == 2 && stderr(&wrong).contains("STATEMESH_OUTPUT: 'xml'"), "{}", stderr(&wrong));
}

#[test]
fn a_tip_is_a_verb_that_is_meant() {
    let folder = Folder::new("tips");
    let said = |verb: &str| stderr(&folder.run(&[verb]));
    for (verb, tip) in [("list", "'instances'"), ("status", "'members'"), ("health", "'doctor'"), ("stats", "'top'")] {
        let said = said(verb);
        assert!(said.contains(tip), "{said}");
        assert!(["'docs'", "'stop'", "'history'", "'start'"].iter().all(|wrong| !said.contains(wrong)), "{said}");
    }
}

#[test]
fn help_breaks_lines_between_words() {
    let folder = Folder::new("help");
    for verb in ["", "send", "up", "bench"] {
        let args: Vec<_> = [verb, "--help"].into_iter().filter(|arg| !arg.is_empty()).collect();
        let help = statemesh(&folder.0).args(&args).env("COLUMNS", "80").output().unwrap();
        let help = stdout(&help);
        let too_long = help.lines().find(|line| line.chars().count() > 80 && !line.starts_with("  statemesh"));
        assert_eq!(too_long, None);
        assert!(help.contains("Global options:") && help.contains("xample"), "{help}");
    }
    let help = stdout(&folder.run(&["--help"]));
    for group in ["Start here:", "Instances:", "The mesh:", "Without a mesh:", "Run and administer:"] {
        assert!(help.contains(group), "{group}");
    }
    assert!(!help.contains("  docs"), "{help}");
}

#[test]
fn what_is_empty_or_zero_is_refused_by_name() {
    let folder = Folder::new("empty");
    folder.file("empty", " \n");
    let lines: [(&[&str], &str); 6] = [
        (&["send", "a/1", "E", "-d", "-"], "--data: stdin was empty"),
        (&["send", "a/1", "E", "-d", "@"], "@ needs the name of a file"),
        (&["send", "a/1", "E", "-d", "@empty"], "--data: empty is empty"),
        (&["send", "a/1", ""], "value is required"),
        (&["get", "a/1", "--timeout", "0"], "flag --timeout: 0 leaves no time"),
        (&["watch", ""], "a machine, such as order"),
    ];
    for (args, expected) in lines {
        let output = statemesh(&folder.0).args(args).stdin(Stdio::null()).output().unwrap();
        assert!(code(&output) == 2 && stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn all_mistakes_of_a_configuration_are_told_at_once() {
    let folder = Folder::new("mistakes");
    folder.file("statemesh.toml", "partitions = 0\nmseh = \"a\"\n\n[limits]\nbatch = [1]\n");
    let output = folder.run(&["config"]);
    let told = stderr(&output);
    assert!(told.starts_with("error: 3 mistakes in the configuration:\n"), "{told}");
    for place in [
        "statemesh.toml:1: partitions: '0'",
        "statemesh.toml:2: unknown key 'mseh'",
        "statemesh.toml:5: 'limits.batch'",
    ] {
        assert!(told.contains(place), "{place}: {told}");
    }
    let lines: Vec<_> = told.lines().filter_map(|line| line.trim().strip_prefix("statemesh.toml:")).collect();
    assert!(lines.is_sorted(), "by their lines: {told}");
    let json = folder.run(&["config", "-o", "json"]);
    let error: serde_json::Value = serde_json::from_slice(&json.stderr).unwrap();
    assert_eq!((code(&json), error["error"]["diagnostics"].as_array().unwrap().len()), (2, 3));
}

#[test]
fn a_configuration_is_written_as_the_file_that_gives_it() {
    let folder = Folder::new("as-toml");
    let flags = ["--mesh", "shop", "--partitions", "64", "--discovery-seeds", "10.0.0.1:7403,10.0.0.2:7403"];
    let made = statemesh(&folder.0)
        .args([&["config", "-o", "toml"][..], &flags].concat())
        .env("STATEMESH_GOSSIP_KEYS", "c0ffee00".repeat(8))
        .output()
        .unwrap();
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    assert!(!stdout(&made).contains("c0ffee") && stdout(&made).contains("partitions = 64\n"), "{}", stdout(&made));
    folder.file("made.toml", &stdout(&made));
    let values = |args: &[&str]| {
        let output = folder.run(args);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let config: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        config.as_object().unwrap().values().map(|one| one["value"].clone()).collect::<Vec<_>>()
    };
    let direct = values(&[&["config", "-o", "json"][..], &flags].concat());
    assert_eq!(values(&["config", "--config", "made.toml", "-o", "json"]), direct);
    let elsewhere = folder.run(&["members", "-o", "toml"]);
    assert!(code(&elsewhere) == 2 && stderr(&elsewhere).contains("--output"), "{}", stderr(&elsewhere));
}

#[test]
fn a_list_of_keys_that_is_not_there_is_not_an_empty_one() {
    let folder = Folder::new("no-list");
    let output = folder.run(&["keys", "list", "--file", "nofile"]);
    assert!(code(&output) == 5 && stderr(&output).contains("nofile: there is no such list"), "{}", stderr(&output));
}

#[test]
fn a_host_and_an_address_that_there_are_not_are_called_so() {
    let folder = Folder::new("nowhere");
    let host = folder.run(&["ping", "--address", "no-such-host.invalid"]);
    assert!(code(&host) == 3 && stderr(&host).contains("no such host: no-such-host.invalid"), "{}", stderr(&host));
    // TEST-NET-1: no machine has it.
    let daemon = folder.run(&["daemon", "--listen-address", "192.0.2.1", "--security-mode", "none"]);
    assert!(code(&daemon) == 4 && stderr(&daemon).contains("this machine has no such address"), "{}", stderr(&daemon));
}

#[test]
fn a_project_to_begin_with_passes_its_own_test() {
    let folder = Folder::new("init");
    let made = folder.run(&["init", "door"]);
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    let program = Path::new(env!("CARGO_BIN_EXE_statemesh")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", program.display());
    let test = std::process::Command::new(folder.0.join("door/test.sh")).env("PATH", path).output().unwrap();
    assert_eq!(code(&test), 0, "{}{}", stdout(&test), stderr(&test));
    let again = folder.run(&["init", "door"]);
    assert!(code(&again) == 1 && stderr(&again).contains("door/machine.json is there already"), "{}", stderr(&again));
}

#[test]
fn an_exit_code_is_what_its_page_says() {
    let folder = Folder::new("codes");
    assert_eq!(code(&folder.run(&["keys", "new", "billing.key"])), 0);
    let again = folder.run(&["keys", "new", "billing.key"]);
    assert!(code(&again) == 1 && stderr(&again).contains("billing.key: there is a file already"), "{}", stderr(&again));
    let nothing = folder.run(&["bench", "--duration", "0"]);
    assert!(code(&nothing) == 2 && stderr(&nothing).contains("--duration: 0 leaves no time"), "{}", stderr(&nothing));
    let ports =
        ["clients", "changes", "peers", "gossip", "http"].map(|port| [format!("--listen-{port}"), "0".to_owned()]);
    let daemon = |machines: &str| {
        statemesh(&folder.0).args(["daemon", "--machines", machines]).args(ports.as_flattened()).output().unwrap()
    };
    let absent = daemon("nofile");
    assert!(code(&absent) == 5 && stderr(&absent).contains("machines: nofile: No such file"), "{}", stderr(&absent));
    folder.file("broken.json", "{\"id\":\"a\",\"initial\":\"x\",\"states\":{\"y\":{}}}");
    let broken = daemon("broken.json");
    assert!(code(&broken) == 4 && stderr(&broken).contains("machines: broken.json"), "{}", stderr(&broken));
}
