//! The order in which changes are published.

use super::Daemon;
use statemesh_protocol::hash;
use statemesh_protocol::reply::Encoding;
use statemesh_protocol::request::Request;
use statemesh_shard::{Clock, Run};
use std::time::Instant;

#[test]
fn each_reactor_publishes_in_the_order_of_the_claim_whoever_steps() {
    let mut daemon = Daemon::new();
    daemon.shards.feeds().of(1).unwrap().set_watched(true);
    let mut other = Run::new(Clock::new(Instant::now));
    other.watched = true;
    let request =
        Request::parse(br#"{"op":"send","machine":"m","key":"k","event":{"type":"GO"}}"#, Encoding::Json).unwrap();
    let hash = hash::key_hash("m", "k");
    for turn in 0..100 {
        let run = if turn % 3 == 0 { &mut other } else { &mut daemon.run };
        daemon.shards.of(0).try_claim().unwrap().run(&request, hash, 0, run, &mut Vec::new());
    }
    for reactor in [0, 1] {
        let mut seen = Vec::new();
        daemon.shards.feeds().of(reactor).unwrap().drain(|_, change| seen.push(super::map_of(&change)));
        let order: Vec<(String, u64)> =
            seen.iter().map(|map| (map["run"].as_str().unwrap().to_owned(), map["seq"].as_u64().unwrap())).collect();
        assert_eq!(order.len(), 101);
        assert!(order.is_sorted(), "reactor {reactor}: {order:?}");
    }
}

#[test]
fn the_next_life_of_a_key_has_a_higher_run_and_begins_to_count_anew() {
    let mut daemon = Daemon::new();
    for _ in 0..3 {
        daemon.op("start", "k", "");
        daemon.send("k", "END", "");
    }
    let seen = daemon.published();
    let order: Vec<(&str, u64)> =
        seen.iter().map(|map| (map["run"].as_str().unwrap(), map["seq"].as_u64().unwrap())).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(order.iter().map(|(_, seq)| *seq).collect::<Vec<u64>>(), [0, 1, 0, 1, 0, 1]);
}

#[test]
fn a_start_by_force_stops_what_is_there_and_takes_its_place_or_leaves_it_as_it_is() {
    let mut daemon = Daemon::new();
    let before = daemon.send("k", "GO", "");
    assert_eq!(daemon.op("start", "k", "")["error"]["code"], "already_started");
    daemon.published();
    let begun = daemon.op("start", "k", r#","force":true"#);
    assert_eq!((begun["value"].as_str(), begun["seq"].as_u64()), (Some("a"), Some(0)));
    assert!(begun["run"].as_str() > before["run"].as_str());
    let told: Vec<_> =
        daemon.published().iter().map(|change| (change["reason"].clone(), change["run"].clone())).collect();
    assert_eq!(told, [("stop".into(), before["run"].clone()), ("start".into(), begun["run"].clone())]);
    daemon.send("k", "WAIT", "");
    daemon.fire(2_000, 100);
    assert_eq!(daemon.op("get", "k", "")["stuck"], true);
    assert_eq!(daemon.op("start", "k", r#","force":true"#)["status"], "active");
    daemon.fire(4_000_000, 100);
    assert_eq!(daemon.op("get", "k", "")["value"], "b", "its own timer fires, and its predecessor's time matters not");
}
