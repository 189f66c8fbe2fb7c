//! The table of parts.

use crate::chart;
use crate::count::Counts;
use crate::docs;
use crate::fuzz;
use crate::need::Need;
use crate::part::{Nightly, Part, Step};
use crate::structure;

const NODE: Need = Need::Program { name: "node", packages: &["nodejs", "npm"] };
const NPM: Need = Need::Program { name: "npm", packages: &["nodejs", "npm"] };
const PYTHON: Need = Need::Program { name: "python3", packages: &["python3", "python3-venv"] };
const VENV: Need = Need::PythonModule { name: "ensurepip", packages: &["python3", "python3-venv"] };
const CC: Need = Need::Program { name: "cc", packages: &["gcc", "libc6-dev"] };
const CXX: Need = Need::Program { name: "c++", packages: &["g++"] };
const VALGRIND: Need = Need::Program { name: "valgrind", packages: &["valgrind"] };
const JAVAC: Need = Need::Program { name: "javac", packages: &["default-jdk-headless"] };
const MAVEN: Need = Need::Program { name: "mvn", packages: &["maven"] };
pub(crate) const GO: Need = Need::Program { name: "go", packages: &["golang-go"] };
const LIBZMQ: Need = Need::File { path: "/usr/include/zmq.h", packages: &["libzmq3-dev"] };
const KNOT: Need = Need::Program { name: "knotd", packages: &["knot"] };
const IP: Need = Need::Program { name: "ip", packages: &["iproute2"] };
const FAKETIME: Need = Need::Program { name: "faketime", packages: &["faketime"] };
const PROMTOOL: Need = Need::Program { name: "promtool", packages: &["prometheus"] };
const UNSHARE: Need = Need::Program { name: "unshare", packages: &["util-linux"] };
const REDIS: Need = Need::Program { name: "redis-server", packages: &["redis-server"] };
const NATS: Need = Need::Program { name: "nats-server", packages: &["nats-server"] };
const RABBITMQ: Need = Need::Program { name: "rabbitmq-server", packages: &["rabbitmq-server"] };
const EPMD: Need = Need::Program { name: "epmd", packages: &["erlang-base"] };
const LIBRABBITMQ: Need = Need::File { path: "/usr/include/amqp.h", packages: &["librabbitmq-dev"] };
const SETPRIV: Need = Need::Program { name: "setpriv", packages: &["util-linux"] };
const ORACLE_MODULES: Need = Need::Npm { folder: "tests/oracle" };
const XSTATE_MODULES: Need = Need::Npm { folder: "clients/xstate" };
const CLIENT_MODULES: Need = Need::Npm { folder: "examples/clients/javascript" };
const PRLIMIT: Need = Need::Program { name: "prlimit", packages: &["util-linux"] };
const KUBECTL: Need = Need::Program { name: "kubectl", packages: &["kubernetes-client"] };
pub(crate) const STRIP: Need = Need::Program { name: "strip", packages: &["binutils"] };
const OPENSSL: Need = Need::Program { name: "openssl", packages: &["openssl"] };
const CURL: Need = Need::Program { name: "curl", packages: &["curl"] };
const DENY: Need = Need::CargoTool { name: "cargo-deny", version: "0.20.2" };

const WARNINGS_ARE_ERRORS: &[(&str, &str)] = &[("RUSTDOCFLAGS", "-D warnings")];
const LOOM: &[(&str, &str)] = &[("RUSTFLAGS", "--cfg loom")];
/// The sanitizers' runtimes come with every toolchain; the flag that links them is not stable.
const ADDRESS: &[(&str, &str)] = &[("RUSTC_BOOTSTRAP", "1"), ("RUSTFLAGS", "-Zsanitizer=address")];
const THREAD: &[(&str, &str)] = &[
    ("RUSTC_BOOTSTRAP", "1"),
    ("RUSTFLAGS", "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer"),
    ("TSAN_OPTIONS", "suppressions=tsan.supp"),
];

/// The claim's tests for the machine itself: for a named target, flags do not reach build scripts.
const fn sanitized(target_dir: &'static str) -> [&'static str; 10] {
    let target = "host-tuple";
    [
        "cargo",
        "test",
        "--quiet",
        "--lib",
        "--package",
        "statemesh-claim",
        "--target",
        target,
        "--target-dir",
        target_dir,
    ]
}

/// Everything is built of the same selection of crates and features: cargo builds each dependency again whose features another
/// selection changes, and that was a third of the time of all tests.
const fn tests_of(target: &'static str) -> [&'static str; 8] {
    ["cargo", "test", "--quiet", "--workspace", "--features", "statemesh/kubernetes", "--test", target]
}

const fn bench_of(target: &'static str) -> [&'static str; 8] {
    ["cargo", "bench", "--quiet", "--workspace", "--features", "statemesh/kubernetes", "--bench", target]
}

const CLIPPY_ALL: [&str; 9] = [
    "cargo",
    "clippy",
    "--quiet",
    "--workspace",
    "--features",
    "statemesh/kubernetes",
    "--all-targets",
    "--",
    "-Dwarnings",
];
const CLIPPY_PARTS: [&str; 14] = [
    "cargo",
    "clippy",
    "--quiet",
    "--workspace",
    "--features",
    "statemesh/kubernetes",
    "--test",
    "e2e",
    "--test",
    "kubernetes",
    "--test",
    "chart",
    "--",
    "-Dwarnings",
];

const fn run(words: &'static [&'static str], counts: Counts) -> Step {
    Step::Run { words, env: &[], counts }
}

/// Every part, in the order in which they run: the quick ones that fail often come first, what may be left to the night last.
pub(crate) const PARTS: &[Part] = &[
    Part {
        name: "fmt",
        about: "the code is formatted",
        needs: &[],
        steps: &[
            run(&["cargo", "fmt", "--all", "--check"], Counts::Exit),
            run(&["cargo", "fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"], Counts::Exit),
        ],
        minutes: 1,
        optional: false,
        nightly: None,
    },
    Part {
        name: "structure",
        about: "crates use only what stands below them, folders form no circle, pure crates depend on nothing impure, no type or function is too large",
        needs: &[],
        steps: &[Step::Own { name: "arrows", check: structure::check }],
        minutes: 1,
        optional: false,
        nightly: None,
    },
    Part {
        name: "clippy",
        about: "no warning of the compiler or of clippy, in tests neither",
        needs: &[],
        steps: &[
            run(&CLIPPY_ALL, Counts::Exit),
            // What `cargo test` leaves to parts of its own, `--all-targets` leaves out as well.
            run(&CLIPPY_PARTS, Counts::Exit),
        ],
        minutes: 5,
        optional: false,
        nightly: None,
    },
    Part {
        name: "unit",
        about: "the tests of all crates, the simulator's among them",
        needs: &[OPENSSL, CURL],
        steps: &[run(
            &["cargo", "test", "--quiet", "--workspace", "--features", "statemesh/kubernetes", "--no-fail-fast"],
            Counts::Cargo,
        )],
        minutes: 9,
        optional: false,
        nightly: None,
    },
    Part {
        name: "sim",
        about: "whole daemons in virtual time: scenarios, then seeds of clients and faults, some twice",
        needs: &[Need::Programs],
        steps: &[
            run(&["{simulator}", "--scenario", "all"], Counts::Plain),
            run(&["{simulator}", "--seeds", "300", "--minutes", "6"], Counts::Plain),
        ],
        minutes: 8,
        optional: false,
        nightly: None,
    },
    Part {
        name: "docs",
        about: "rustdoc without warnings; links and figures of every page lead somewhere",
        needs: &[],
        steps: &[
            Step::Run {
                words: &[
                    "cargo",
                    "doc",
                    "--quiet",
                    "--workspace",
                    "--no-deps",
                    "--keep-going",
                    "--features",
                    "statemesh/kubernetes",
                ],
                env: WARNINGS_ARE_ERRORS,
                counts: Counts::Exit,
            },
            Step::Own { name: "links", check: docs::check_links },
        ],
        minutes: 3,
        optional: false,
        nightly: None,
    },
    Part {
        name: "deny",
        about: "licences, sources and doubled or banned crates (not advisories: their database is no package of a registry)",
        needs: &[DENY],
        steps: &[run(&["{tools}/bin/cargo-deny", "--locked", "check", "bans", "licenses", "sources"], Counts::Exit)],
        minutes: 2,
        optional: false,
        nightly: Some(Nightly::Unbuilt("building cargo-deny takes minutes")),
    },
    Part {
        name: "loom",
        about: "every interleaving of the shard claim",
        needs: &[],
        steps: &[Step::Run {
            words: &[
                "cargo",
                "test",
                "--quiet",
                "--release",
                "--package",
                "statemesh-claim",
                "--target-dir",
                "{target}/loom",
            ],
            env: LOOM,
            counts: Counts::Cargo,
        }],
        minutes: 1,
        optional: false,
        nightly: None,
    },
    Part {
        name: "sanitizers",
        about: "the shard claim, the only unsafe code, under AddressSanitizer and ThreadSanitizer",
        needs: &[],
        steps: &[
            Step::Run { words: &sanitized("{target}/asan"), env: ADDRESS, counts: Counts::Cargo },
            Step::Run { words: &sanitized("{target}/tsan"), env: THREAD, counts: Counts::Cargo },
        ],
        minutes: 1,
        optional: false,
        nightly: None,
    },
    Part {
        name: "instructions",
        about: "no step of the engine, no whole request and no event in the replication core takes more instructions than its bound beside its benchmark",
        needs: &[VALGRIND],
        steps: &[
            run(&bench_of("instructions"), Counts::Exit),
            run(&bench_of("request"), Counts::Exit),
            run(&bench_of("replicated"), Counts::Exit),
        ],
        minutes: 5,
        optional: false,
        nightly: None,
    },
    Part {
        name: "miri",
        about: "the claim, the engine and its values under Miri",
        needs: &[Need::Miri],
        steps: &[
            run(
                &[
                    "cargo",
                    "+nightly",
                    "miri",
                    "test",
                    "--quiet",
                    "--package",
                    "statemesh-claim",
                    "--target-dir",
                    "{target}/miri",
                ],
                Counts::Cargo,
            ),
            run(
                &[
                    "cargo",
                    "+nightly",
                    "miri",
                    "test",
                    "--quiet",
                    "--package",
                    "statemesh-expr",
                    "--lib",
                    "--target-dir",
                    "{target}/miri",
                ],
                Counts::Cargo,
            ),
            run(
                &[
                    "cargo",
                    "+nightly",
                    "miri",
                    "test",
                    "--quiet",
                    "--package",
                    "statemesh-engine",
                    "--lib",
                    "--target-dir",
                    "{target}/miri",
                ],
                Counts::Cargo,
            ),
        ],
        minutes: 10,
        optional: true,
        nightly: None,
    },
    Part {
        name: "oracle",
        about: "the engine against XState and the SCXML cases, and the oracle against itself",
        needs: &[NODE, NPM, ORACLE_MODULES, Need::Programs],
        steps: &[
            run(&["node", "--test", "tests/oracle"], Counts::Node),
            run(
                &[
                    "node",
                    "tests/oracle/run.mjs",
                    "--steps",
                    "50000",
                    "--subject",
                    "{target}/debug/examples/simulate_batch",
                    "--no-store",
                    "--page",
                    "{target}/conformance.md",
                ],
                Counts::Oracle,
            ),
        ],
        minutes: 4,
        optional: false,
        nightly: None,
    },
    Part {
        name: "examples",
        about: "XState and statemesh do with the examples what is recorded",
        needs: &[NODE, NPM, ORACLE_MODULES, Need::Daemon],
        steps: &[
            run(&["node", "examples/check.mjs"], Counts::Plain),
            run(&["node", "examples/check.mjs", "--statemesh", "{statemesh}"], Counts::Plain),
        ],
        minutes: 1,
        optional: false,
        nightly: None,
    },
    Part {
        name: "clients",
        about: "the example clients of five languages, with their real libraries, against three daemons; machines from XState",
        needs: &[PYTHON, VENV, Need::Python, NODE, NPM, XSTATE_MODULES, JAVAC, MAVEN, GO, CC, LIBZMQ, Need::Daemon],
        steps: &[
            run(&["{python}", "examples/clients/check.py", "{statemesh}", "{target}/clients"], Counts::Plain),
            Step::Run {
                words: &["node", "--test", "clients/xstate/test"],
                env: &[("STATEMESH", "{statemesh}")],
                counts: Counts::Node,
            },
        ],
        minutes: 4,
        optional: false,
        nightly: None,
    },
    Part {
        name: "hostile",
        about: "attackers in Python and C beside a well-behaved client; keys, right, wrong, revoked and replayed",
        needs: &[PYTHON, VENV, Need::Python, NODE, NPM, CLIENT_MODULES, CC, LIBZMQ, PRLIMIT, Need::Daemon],
        steps: &[run(&["{python}", "tests/hostile/check.py", "{statemesh}", "{target}/hostile"], Counts::Plain)],
        minutes: 3,
        optional: false,
        nightly: None,
    },
    Part {
        name: "e2e",
        about: "whole daemons in network namespaces, a real DNS server, loss and delay, hostile input",
        needs: &[KNOT, IP, UNSHARE, FAKETIME, PROMTOOL, Need::Daemon],
        steps: &[Step::Run { words: &tests_of("e2e"), env: &[("E2E_BINARY", "{statemesh}")], counts: Counts::Plain }],
        minutes: 4,
        optional: false,
        nightly: None,
    },
    Part {
        name: "chart",
        about: "the chart's schema and README are made of its values; impossible values are refused in words",
        needs: &[GO, chart::TOOLS],
        steps: &[
            Step::Own { name: "generated", check: chart::check },
            Step::Run { words: &tests_of("chart"), env: &[("HELM", "{tools}/bin/helm")], counts: Counts::Cargo },
        ],
        minutes: 2,
        optional: false,
        nightly: None,
    },
    Part {
        name: "fuzz",
        about: "what comes from outside, as mutated bytes: definitions, events, connections, requests, peers, gossip, DNS",
        needs: FUZZ_NEEDS,
        steps: &[Step::Own { name: "targets", check: fuzz::briefly }],
        minutes: 5,
        optional: false,
        nightly: Some(Nightly::Late),
    },
    Part {
        name: "kubernetes",
        about: "the chart on a real cluster: install, scale, restart, crash, upgrade, rotate, uninstall, under load",
        needs: &[Need::Cluster, KUBECTL, STRIP, GO, chart::TOOLS, PROMTOOL, Need::Daemon],
        steps: &[Step::Run {
            words: &tests_of("kubernetes"),
            env: &[("HELM", "{tools}/bin/helm"), ("E2E_BINARY", "{statemesh}")],
            counts: Counts::Plain,
        }],
        minutes: 24,
        optional: true,
        nightly: Some(Nightly::Late),
    },
];

/// What providing what the parts need may take, on two cores with nothing there.
pub(crate) const PROVIDING_MINUTES: u64 = 12;

/// What the fuzz targets are built with: libFuzzer is C++.
pub(crate) const FUZZ_NEEDS: &[Need] = &[CXX];

/// What the benchmarks' peers need; without it the harness names those that it leaves out.
pub(crate) const BENCH_NEEDS: &[Need] =
    &[CC, LIBZMQ, NODE, NPM, REDIS, NATS, RABBITMQ, EPMD, LIBRABBITMQ, JAVAC, MAVEN, GO, SETPRIV];

/// The benchmarks' command.
pub(crate) fn bench(names: &[String]) -> Vec<String> {
    let words = ["cargo", "run", "--quiet", "--release", "--package", "statemesh-benches", "--"];
    words.iter().map(|word| (*word).to_owned()).chain(names.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_every_part_runs_something() {
        let names: HashSet<_> = PARTS.iter().map(|part| part.name).collect();
        assert_eq!(names.len(), PARTS.len());
        assert!(PARTS.iter().all(|part| !part.steps.is_empty() && part.minutes > 0));
    }

    #[test]
    fn the_page_has_the_minutes_of_each_part_and_those_that_always_run_fit_into_the_time_of_ci() {
        let page = include_str!("../../tests/README.md");
        for part in PARTS {
            let row = format!("| `{}` | {} |", part.name, part.minutes);
            assert!(page.contains(&row), "tests/README.md has no row that begins with {row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| `") && line.split('|').nth(2).is_some_and(is_number));
        assert_eq!(rows.count(), PARTS.len(), "tests/README.md has a row of a part that is not there");
        let always = PARTS.iter().filter(|part| !part.optional && part.nightly.is_none());
        let minutes = always.map(|part| part.minutes).sum::<u64>();
        assert!(minutes + PROVIDING_MINUTES <= 65);
        for said in [
            format!("in some {PROVIDING_MINUTES} minutes"),
            format!("The parts that always run may take {minutes} minutes"),
        ] {
            assert!(page.contains(&said), "tests/README.md does not say \"{said}\"");
        }
    }

    fn is_number(cell: &str) -> bool {
        cell.trim().parse::<u64>().is_ok()
    }

    #[test]
    fn the_image_is_built_with_the_version_of_the_toolchain_file() {
        let toolchain = include_str!("../../rust-toolchain.toml");
        let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"')).unwrap();
        let image = format!("FROM rust:{channel}-");
        assert!(
            include_str!("../../Dockerfile").contains(&image),
            "the Dockerfile has no line that begins with {image}"
        );
    }

    #[test]
    fn what_may_be_left_to_the_night_for_want_of_time_comes_last() {
        let late = |part: &&Part| part.nightly == Some(Nightly::Late);
        assert!(PARTS.iter().skip_while(|part| !late(part)).all(|part| late(&part)));
    }
}
