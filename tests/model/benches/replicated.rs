//! What a replicated event costs its leader and each of its followers, in the core alone: no frame is made, nothing is written.
//!
//! `cargo bench -p statemesh-model --bench replicated` tells nanoseconds, then counts instructions under valgrind as
//! `engine/benches/counted` does, and fails if a case exceeds its bound in `replicated.txt`; `-- --bless` writes the bounds anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a benchmark")]

use bytes::Bytes;
use statemesh_mesh::replication::config::{Configuration, Replica};
use statemesh_mesh::replication::group::Group;
use statemesh_mesh::replication::inputs::Input;
use statemesh_mesh::replication::message::{Append, Body, Entry, Envelope, Message, Position};
use statemesh_mesh::replication::outputs::Output;
use statemesh_mesh::replication::settings::Settings;
use statemesh_protocol::identity::MemberName;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[path = "../../../engine/benches/counted/mod.rs"]
mod counted;
use counted::Counted;

/// Name, and events of a round: those share a sync and an acknowledgement.
const CASES: [(&str, u64); 4] = [
    ("leader_1_in_flight", 1),
    ("leader_256_in_flight", 256),
    ("follower_1_in_flight", 1),
    ("follower_256_in_flight", 256),
];
/// As large as the record of a flat machine.
const RECORD: [u8; 36] = [7; 36];
/// Events of the run that is timed.
const TIMED: u64 = 2_000_000;

fn main() -> ExitCode {
    if std::env::args().all(|argument| argument != "--run") {
        CASES.iter().for_each(|(case, events)| println!("{case:26} {:6.1} ns an event", nanoseconds(case, *events)));
    }
    let bounds = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/replicated.txt");
    let counted = Counted { unit: "replicated event", bounds, few: 200, many: 1_200, spare: 2 };
    counted.main(&CASES, run)
}

/// The median of nine runs.
fn nanoseconds(case: &str, events: u64) -> f64 {
    let rounds = TIMED / 9 / events;
    let mut runs: Vec<Duration> = (0..9)
        .map(|_| {
            let began = Instant::now();
            run(case, rounds);
            began.elapsed()
        })
        .collect();
    runs.sort_unstable();
    runs[4].as_secs_f64() * 1e9 / (rounds * events) as f64
}

fn replica(name: &str) -> Replica {
    Replica { generation: 0, volume: 7, name: MemberName::new(name).unwrap() }
}

fn run(case: &str, rounds: u64) {
    let (_, events) = CASES.iter().find(|(name, _)| *name == case).expect("a known case");
    let mut copy = Driven::new(if case.starts_with("leader") { "a" } else { "b" });
    if case.starts_with("leader") { copy.lead(rounds, *events) } else { copy.follow(rounds, *events) }
}

struct Driven {
    group: Group,
    now: Instant,
    out: Vec<Output>,
}

impl Driven {
    fn new(name: &str) -> Self {
        let now = Instant::now();
        let voters = Configuration::first(["a", "b", "c"].map(|name| (replica(name).name, 7)));
        let group = Group::first(replica(name), Arc::new(voters), Arc::new(Settings::default()), now);
        Self { group, now, out: Vec::new() }
    }

    fn hear(&mut self, from: &Replica, message: Message) {
        let envelope = Envelope { from: from.clone(), to: self.group.me().clone(), message };
        self.group.handle(Input::Message(envelope), self.now, &mut self.out);
    }

    /// What was asked for is done: all writes are durable with one sync. Returns how many messages were sent.
    fn sync(&mut self) -> usize {
        let write = |output: &Output| if let Output::Persist { write, .. } = output { Some(*write) } else { None };
        if let Some(write) = self.out.iter().filter_map(write).next_back() {
            self.group.handle(Input::Durable(write), self.now, &mut self.out);
        }
        let sent = self.out.iter().filter(|output| matches!(output, Output::Send(_))).count();
        self.out.clear();
        sent
    }

    fn lead(&mut self, rounds: u64, events: u64) {
        let followers = [replica("b"), replica("c")];
        self.group.handle(Input::Campaign, self.now, &mut self.out);
        self.sync();
        self.hear(&followers[0], Message::Voted { term: 1, granted: true });
        for _ in 0..=rounds {
            let sent = self.sync();
            assert!(sent > 0, "what is proposed is sent");
            let index = self.group.last().index;
            for follower in &followers {
                self.hear(follower, Message::Ack { term: 1, round: 1, index, commit: index - 1 });
            }
            assert_eq!(self.group.committed(), index);
            for _ in 0..events {
                self.group.propose(Bytes::from_static(&RECORD), self.now, &mut self.out).unwrap();
            }
        }
    }

    fn follow(&mut self, rounds: u64, events: u64) {
        let leader = replica("a");
        let (mut prev, mut commit) = (Position::default(), 0);
        for _ in 0..rounds {
            for _ in 0..events {
                let entry = Entry { term: 1, index: prev.index + 1, body: Body::Record(Bytes::from_static(&RECORD)) };
                let next = entry.position();
                let append = Append { term: 1, round: 1, probe: false, prev, commit, entries: vec![entry] };
                self.hear(&leader, Message::Append(append));
                prev = next;
            }
            assert_eq!(self.sync(), 1, "one acknowledgement");
            assert_eq!(self.group.committed(), commit);
            commit = prev.index;
        }
    }
}
