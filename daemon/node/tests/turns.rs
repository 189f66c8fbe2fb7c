//! What one turn of a reactor does at most, over a kernel in which time stands still.
#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use statemesh_node::limits::Limits;
use statemesh_node::options::{Discovery, Options};

#[path = "../benches/prepared/mod.rs"]
mod prepared;
use prepared::{Daemon, handshake};

/// Parked requests that go on in one turn.
const GO_ON_PER_TURN: usize = 256;
const PARKED: usize = 1_000;

/// All of one length, and so are their replies: there is no such instance.
fn gets(many: usize) -> Vec<u8> {
    let get = |n: usize| {
        let body = format!(r#"{{"op":"get","id":"{n:05}","machine":"cycle","key":"k{:02}"}}"#, n % 32);
        [&[0, u8::try_from(body.len()).unwrap()], body.as_bytes()].concat()
    };
    (0..many).flat_map(get).collect()
}

#[test]
fn of_many_parked_requests_a_bounded_number_goes_on_in_each_turn() {
    let options = Options { partitions: 64, ..Options::for_tests("one") };
    let discovery = Discovery { alone_after: Some(Duration::from_secs(1)), ..options.discovery.clone() };
    let limits = Limits { in_flight_per_connection: 1 << 20, ..Limits::default() };
    let mut daemon = Daemon::new(Options { discovery, limits, ..options });
    daemon.give(handshake());
    let before = daemon.written();
    daemon.give(gets(PARKED));
    assert_eq!(daemon.written(), before, "nothing is served yet");
    // It is alone from now on.
    (0..10).for_each(|_| daemon.control(Duration::from_secs(2)));
    let mut written = vec![before];
    for _ in 0..6 {
        daemon.turn();
        written.push(daemon.written());
    }
    let went_on: Vec<usize> = written.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let reply = (written[6] - before) / PARKED;
    let all = [GO_ON_PER_TURN, GO_ON_PER_TURN, GO_ON_PER_TURN, PARKED - 3 * GO_ON_PER_TURN, 0, 0].map(|n| n * reply);
    assert_eq!(went_on, all, "bytes of replies, of {reply} each");
}
