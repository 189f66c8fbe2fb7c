//! Answers of a DNS server, read as the resolver reads them, and what discovery makes of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::{Duration, Instant};

use statemesh_mesh::discovery::{Config, Discovery, Input, Output};
use statemesh_node::resolver::records_of;

/// Questions of one round: the service's, and two for each target of a record, which are bounded.
const QUESTIONS_MAX: usize = 4_096;

fuzz_target!(|bytes: &[u8]| {
    let now = Instant::now();
    let own = ([10, 0, 0, 1], 7403).into();
    let mut discovery = Discovery::new(Config::new(Some("mesh.".into()), 7403, Vec::new(), own), now);
    discovery.handle(Input::Tick, now);
    let mut asked = 0;
    while let Some(output) = discovery.poll() {
        match output {
            Output::Ask(question) => {
                asked += 1;
                assert!(asked <= QUESTIONS_MAX, "{asked} questions");
                let input = records_of(bytes, question.kind).map_or(Input::Failed, Input::Answer);
                discovery.handle(input, now);
            }
            Output::Found(found) => {
                assert!(!found.contains(&own), "it would call itself");
                break;
            }
        }
    }
    assert!(discovery.next_deadline().is_none_or(|at| at <= now + Duration::from_secs(60)));
});
