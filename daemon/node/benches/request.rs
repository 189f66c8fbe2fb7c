//! Instructions of a whole request, counted by callgrind: bytes of a client in, through the reactor, the worker and the shard as they
//! ship, bytes of the answer out. The kernel is one that gives what was prepared and swallows what is written, so that nothing
//! but the daemon's own work is counted.
//!
//! `cargo bench -p statemesh-node --bench request` runs itself under valgrind once for each case with few and once with many
//! turns; the difference, divided, is what one request costs. Of those that were parked it must be the same whether there are a thousand or
//! sixty thousand. It fails if a case exceeds its bound in `request.txt`;
//! `-- --bless` writes the bounds anew, with 2 % to spare.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use statemesh_node::limits::Limits;
use statemesh_node::options::{Discovery, Options};
use std::process::ExitCode;
use std::time::Duration;

#[path = "../../../engine/benches/counted/mod.rs"]
mod counted;
use counted::Counted;

mod prepared;
use prepared::{Daemon, handshake};

/// Name, requests in one turn, and what follows the event in each.
const CASES: [(&str, u64, &str); 3] = [("one_a_turn", 1, ""), ("sixty_four_a_turn", 64, ""), ("with_a_token", 64, "d")];

/// Name, and how many requests are parked when those of the first turns go on.
const PARKED: [(&str, usize); 2] = [("parked_of_1000", 1_000), ("parked_of_60000", 60_000)];

/// Parked requests that go on in one turn.
const GO_ON: u64 = 256;

fn main() -> ExitCode {
    let bounds = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/request.txt");
    let counted = Counted { unit: "request", bounds, few: 200, many: 1_200, spare: 2 };
    let cases = CASES.map(|(case, requests, _)| (case, requests, counted.rounds()));
    // In the first turn they are told that they may.
    let parked = PARKED.map(|(case, _)| (case, GO_ON, [1, 3]));
    let all: Vec<_> = cases.into_iter().chain(parked).collect();
    counted.main_of(&all, |case, turns| match PARKED.iter().find(|(name, _)| *name == case) {
        Some((_, parked)) => go_on(*parked, turns),
        None => run(case, turns as usize),
    })
}

fn options() -> Options {
    Options { partitions: 64, ..Options::for_tests("bench") }
}

/// Requests for 32 keys, each in a frame; and where the digits of their tokens are, if they have any.
struct Turn {
    bytes: Vec<u8>,
    digits: Vec<usize>,
}

/// Digits of a turn's number in a token.
const DIGITS: usize = 6;

impl Turn {
    fn new(count: usize, token: bool) -> Self {
        let (mut bytes, mut digits) = (Vec::new(), Vec::new());
        for n in 0..count {
            let token = if token { format!(r#","dedup":"{:0DIGITS$}-{n:02}""#, 0) } else { String::new() };
            let body = format!(
                r#"{{"op":"send","id":{n},"machine":"cycle","key":"k{:02}","event":{{"type":"NEXT"}}{token}}}"#,
                n % 32
            );
            bytes.extend_from_slice(&[0, u8::try_from(body.len()).unwrap()]);
            if !token.is_empty() {
                digits.push(bytes.len() + body.rfind(":\"").unwrap() + 2);
            }
            bytes.extend_from_slice(body.as_bytes());
        }
        Self { bytes, digits }
    }

    /// Those of a turn: a copy of what was prepared once, so that hardly anything but the daemon's work is counted.
    fn of(&self, turn: usize) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let number: Vec<u8> = format!("{turn:0DIGITS$}").into_bytes();
        for at in &self.digits {
            bytes[*at..*at + DIGITS].copy_from_slice(&number);
        }
        bytes
    }
}

fn run(case: &str, turns: usize) {
    let (_, count, token) = CASES.iter().find(|(name, ..)| *name == case).expect("a known case");
    let count = *count as usize;
    let mut daemon = Daemon::new(options());
    for _ in 0..10 {
        daemon.control(Duration::ZERO);
        daemon.turn();
    }
    daemon.give(handshake());
    // The instances begin, which is not what is measured.
    daemon.give(Turn::new(64, false).bytes);
    let before = daemon.written();
    let requests = Turn::new(count, !token.is_empty());
    (1..=turns).for_each(|turn| daemon.give(requests.of(turn)));
    let written = daemon.written() - before;
    assert!(written > turns * count * 40, "{written} bytes: not every request was answered");
}

/// So many requests wait until the daemon is alone; then they go on for some turns. What one of them costs must not depend on how many
/// there are.
fn go_on(parked: usize, turns: u64) {
    let discovery = Discovery { alone_after: Some(Duration::from_secs(1)), ..options().discovery };
    let limits = Limits { in_flight_per_connection: 1 << 20, ..Limits::default() };
    let mut daemon = Daemon::new(Options { discovery, limits, ..options() });
    daemon.give(handshake());
    let before = daemon.written();
    daemon.give(Turn::new(parked, false).bytes);
    assert_eq!(daemon.written(), before, "nothing is served yet");
    (0..10).for_each(|_| daemon.control(Duration::from_secs(2)));
    (0..turns).for_each(|_| daemon.turn());
    let (written, most) = (daemon.written() - before, (turns * GO_ON) as usize);
    assert!(written > most * 40 && written < most * 200, "{written} bytes: not {most} requests were answered");
}
