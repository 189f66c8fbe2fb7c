//! The table of parts.

use crate::chart;
use crate::count::Counts;
use crate::docs;
use crate::fuzz;
use crate::need::Need;
use crate::part::{Part, Step};
use std::time::Duration;

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

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

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

const fn run(words: &'static [&'static str], counts: Counts) -> Step {
    Step::Run { words, env: &[], counts }
}

/// Every part, in the order in which they run: the quick ones that fail often come first.
pub(crate) const PARTS: &[Part] = &[
    Part {
        name: "fmt",
        about: "the code is formatted",
        needs: &[],
        steps: &[
            run(&["cargo", "fmt", "--all", "--check"], Counts::Exit),
            run(&["cargo", "fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"], Counts::Exit),
        ],
        limit: minutes(2),
        optional: false,
    },
    Part {
        name: "clippy",
        about: "no warning of the compiler or of clippy, in tests neither",
        needs: &[],
        steps: &[run(
            &[
                "cargo",
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--features",
                "statemesh/kubernetes",
                "--",
                "-D",
                "warnings",
            ],
            Counts::Exit,
        )],
        limit: minutes(15),
        optional: false,
    },
    Part {
        name: "unit",
        about: "the tests of all crates, the simulator's among them",
        needs: &[OPENSSL, CURL],
        steps: &[
            run(
                &[
                    "cargo",
                    "test",
                    "--quiet",
                    "--workspace",
                    "--exclude",
                    "statemesh-tests",
                    "--no-fail-fast",
                    "--features",
                    "statemesh/kubernetes",
                ],
                Counts::Cargo,
            ),
            run(&["cargo", "test", "--quiet", "--package", "statemesh-tests", "--lib"], Counts::Cargo),
        ],
        limit: minutes(20),
        optional: false,
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
        limit: minutes(5),
        optional: false,
    },
    Part {
        name: "deny",
        about: "licences, sources and doubled or banned crates (not advisories: their database is no package of a registry)",
        needs: &[DENY],
        steps: &[run(&["{tools}/bin/cargo-deny", "--locked", "check", "bans", "licenses", "sources"], Counts::Exit)],
        limit: minutes(2),
        optional: false,
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
        limit: minutes(6),
        optional: false,
    },
    Part {
        name: "sanitizers",
        about: "the shard claim, the only unsafe code, under AddressSanitizer and ThreadSanitizer",
        needs: &[],
        steps: &[
            Step::Run { words: &sanitized("{target}/asan"), env: ADDRESS, counts: Counts::Cargo },
            Step::Run { words: &sanitized("{target}/tsan"), env: THREAD, counts: Counts::Cargo },
        ],
        limit: minutes(5),
        optional: false,
    },
    Part {
        name: "fuzz",
        about: "what comes from outside, as mutated bytes: definitions, events, connections, requests, peers, gossip, DNS",
        needs: FUZZ_NEEDS,
        steps: &[Step::Own { name: "targets", check: fuzz::briefly }],
        limit: minutes(8),
        optional: false,
    },
    Part {
        name: "instructions",
        about: "no step of the engine takes more instructions than its bound in engine/benches/instructions.txt",
        needs: &[VALGRIND],
        steps: &[run(
            &["cargo", "bench", "--quiet", "--package", "statemesh-engine", "--bench", "instructions"],
            Counts::Exit,
        )],
        limit: minutes(8),
        optional: false,
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
        limit: minutes(10),
        optional: true,
    },
    Part {
        name: "oracle",
        about: "the engine against XState and the SCXML cases, and the oracle against itself",
        needs: &[NODE, NPM, ORACLE_MODULES],
        steps: &[
            run(&["node", "--test", "tests/oracle"], Counts::Node),
            run(
                &[
                    "node",
                    "tests/oracle/run.mjs",
                    "--steps",
                    "50000",
                    "--no-store",
                    "--page",
                    "{target}/conformance.md",
                ],
                Counts::Oracle,
            ),
        ],
        limit: minutes(10),
        optional: false,
    },
    Part {
        name: "examples",
        about: "XState and statemesh do with the examples what is recorded",
        needs: &[NODE, NPM, ORACLE_MODULES, Need::Daemon],
        steps: &[
            run(&["node", "examples/check.mjs"], Counts::Plain),
            run(&["node", "examples/check.mjs", "--statemesh", "{statemesh}"], Counts::Plain),
        ],
        limit: minutes(3),
        optional: false,
    },
    Part {
        name: "clients",
        about: "the example clients of five languages, with their real libraries, against three daemons",
        needs: &[PYTHON, VENV, Need::Python, NODE, NPM, JAVAC, MAVEN, GO, CC, LIBZMQ, Need::Daemon],
        steps: &[run(&["{python}", "examples/clients/check.py", "{statemesh}", "{target}/clients"], Counts::Plain)],
        limit: minutes(8),
        optional: false,
    },
    Part {
        name: "hostile",
        about: "attackers in Python and C beside a well-behaved client; keys, right, wrong, revoked and replayed",
        needs: &[PYTHON, VENV, Need::Python, NODE, NPM, CLIENT_MODULES, CC, LIBZMQ, PRLIMIT, Need::Daemon],
        steps: &[run(&["{python}", "tests/hostile/check.py", "{statemesh}", "{target}/hostile"], Counts::Plain)],
        limit: minutes(9),
        optional: false,
    },
    Part {
        name: "e2e",
        about: "whole daemons in network namespaces, a real DNS server, loss and delay, hostile input",
        needs: &[KNOT, IP, UNSHARE, FAKETIME, PROMTOOL, Need::Daemon],
        steps: &[Step::Run {
            words: &["cargo", "test", "--quiet", "--package", "statemesh-tests", "--test", "e2e"],
            env: &[("E2E_BINARY", "{statemesh}")],
            counts: Counts::Plain,
        }],
        limit: minutes(12),
        optional: false,
    },
    Part {
        name: "chart",
        about: "the chart's schema and README are made of its values; impossible values are refused in words",
        needs: &[GO, chart::TOOLS],
        steps: &[
            Step::Own { name: "generated", check: chart::check },
            Step::Run {
                words: &["cargo", "test", "--quiet", "--package", "statemesh-tests", "--test", "chart"],
                env: &[("HELM", "{tools}/bin/helm")],
                counts: Counts::Cargo,
            },
        ],
        limit: minutes(5),
        optional: false,
    },
    Part {
        name: "kubernetes",
        about: "the chart on a real cluster: install, scale, restart, crash, upgrade, rotate, uninstall, under load",
        needs: &[Need::Cluster, KUBECTL, STRIP, GO, chart::TOOLS, PROMTOOL, Need::Daemon],
        steps: &[Step::Run {
            words: &["cargo", "test", "--quiet", "--package", "statemesh-tests", "--test", "kubernetes"],
            env: &[("HELM", "{tools}/bin/helm"), ("E2E_BINARY", "{statemesh}")],
            counts: Counts::Plain,
        }],
        limit: minutes(20),
        optional: true,
    },
];

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
        assert!(PARTS.iter().all(|part| !part.steps.is_empty() && part.limit > Duration::ZERO));
    }

    #[test]
    fn all_limits_together_fit_into_the_time_of_ci() {
        let ci = minutes(150);
        assert!(PARTS.iter().map(|part| part.limit).sum::<Duration>() <= ci);
    }
}
