//! Lists of instances, made a slice at a time.

use super::Daemon;
use serde_json::{Value, json};
use statemesh_protocol::reply::Encoding;
use statemesh_shard::{Bounds, Filter, Page, Place, Walk};

const BOUNDS: Bounds = Bounds { lines: 1_000, bytes: 1 << 20, looks: 1_000 };

fn walk(daemon: &Daemon, fields: &Value, counts: bool, bounds: Bounds, from: Place) -> (Page, usize) {
    let fields = fields.to_string();
    let filter = Filter::read("m", Some(fields.as_bytes()), Encoding::Json).unwrap();
    let mut walk = Walk::new(filter, bounds, counts, from, daemon.shards.unix_ms(daemon.run.now));
    for slices in 1.. {
        if let Some(page) = walk.step(&daemon.shards) {
            return (page, slices);
        }
    }
    unreachable!()
}

fn lines(page: &Page) -> Vec<Value> {
    let read = |line: &statemesh_shard::Line| {
        let mut json = Vec::new();
        line.write(&mut json, Encoding::Json);
        serde_json::from_slice(&json).unwrap()
    };
    page.lines.iter().map(read).collect()
}

fn keys(page: &Page) -> Vec<String> {
    lines(page).iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect()
}

/// The keys of those that are so.
fn those(daemon: &Daemon, fields: &Value) -> Vec<String> {
    keys(&walk(daemon, fields, false, BOUNDS, Place::default()).0)
}

#[test]
fn each_line_names_the_definition_that_its_instance_runs() {
    let mut daemon = Daemon::new();
    daemon.op("start", "k", "");
    let listed = lines(&walk(&daemon, &json!({}), false, BOUNDS, Place::default()).0);
    let got = daemon.op("get", "k", "")["definition"].clone();
    assert!(got.is_string() && listed[0]["definition"] == got, "{listed:?}");
}

#[test]
fn pages_have_all_keys_once_and_take_slices_of_bounded_work() {
    let mut daemon = Daemon::new();
    let all: Vec<String> = (0..700).map(|n| format!("{n:03}")).collect();
    all.iter().rev().for_each(|key| _ = daemon.op("start", key, ""));
    let (mut seen, mut from, mut slices) = (Vec::new(), Some(Place::default()), 0);
    while let Some(place) = from {
        let (page, steps) = walk(&daemon, &json!({}), false, Bounds { lines: 300, ..BOUNDS }, place);
        assert!(page.lines.len() <= 300 && page.lines.is_sorted_by_key(lines_key));
        seen.extend(keys(&page));
        (from, slices) = (page.next, slices + steps);
    }
    seen.sort();
    assert_eq!(seen, all);
    assert!(slices > 700 / 64, "{slices}");
}

fn lines_key(line: &statemesh_shard::Line) -> String {
    let mut json = Vec::new();
    line.write(&mut json, Encoding::Json);
    serde_json::from_slice::<Value>(&json).unwrap()["key"].as_str().unwrap().to_owned()
}

#[test]
fn a_page_ends_at_its_bytes_or_looks_and_says_where_to_go_on() {
    let mut daemon = Daemon::new();
    (0..50).for_each(|n| _ = daemon.op("start", &format!("{n:02}"), ""));
    let bounded = |bounds, from| walk(&daemon, &json!({}), false, bounds, from).0;
    let first = bounded(Bounds { bytes: 1_000, ..BOUNDS }, Place::default());
    assert!((2..20).contains(&first.lines.len()), "{}", first.lines.len());
    let second = bounded(Bounds { lines: 1, bytes: 0, ..BOUNDS }, first.next.unwrap());
    assert_eq!(keys(&second), [format!("{:02}", first.lines.len())], "one line is shown whatever it weighs");
    let (none, _) = walk(&daemon, &json!({"prefix": "49"}), false, Bounds { looks: 20, ..BOUNDS }, Place::default());
    assert!(none.lines.is_empty() && none.next.unwrap() == Place { shard: 0, place: 20 });
}

#[test]
fn a_page_gets_past_places_that_were_freed() {
    let mut daemon = Daemon::new();
    (0..700).for_each(|n| _ = daemon.op("start", &format!("{n:03}"), ""));
    (0..690).for_each(|n| _ = daemon.op("delete", &format!("{n:03}"), ""));
    let bounds = Bounds { looks: 128, ..BOUNDS };
    let (mut seen, mut from, mut pages) = (Vec::new(), Some(Place::default()), 0);
    while let Some(place) = from {
        let (page, slices) = walk(&daemon, &json!({}), false, bounds, place);
        assert!(slices <= 4, "{slices}");
        seen.extend(keys(&page));
        (from, pages) = (page.next, pages + 1);
    }
    assert_eq!((seen.len(), pages), (10, 6));
}

#[test]
fn those_are_listed_that_are_as_the_filter_says() {
    let mut daemon = Daemon::new();
    daemon.send("b", "GO", "");
    daemon.send("ended", "END", "");
    daemon.send("stuck", "WAIT", "");
    daemon.fire(2_000, 100);
    daemon.run.now = 2_000;
    daemon.op("start", "young", "");
    daemon.ask(r#"{"op":"send","machine":"m","key":"young","event":{"type":"ADD","n":7.0}}"#);
    for (fields, wanted) in [
        (json!({}), &["b", "ended", "stuck", "young"][..]),
        (json!({"state": "b"}), &["b"]),
        (json!({"state": "nowhere"}), &[]),
        (json!({"status": "done"}), &["ended"]),
        (json!({"stuck": true}), &["stuck"]),
        (json!({"status": "error"}), &["stuck"]),
        (json!({"stuck": false, "status": "active"}), &["b", "young"]),
        (json!({"older_ms": 2_000}), &["b", "ended", "stuck"]),
        (json!({"younger_ms": 1_999}), &["young"]),
        (json!({"context": {"n": 7}}), &["young"]),
        (json!({"context": {"n.x": 7}}), &[]),
        (json!({"prefix": "st"}), &["stuck"]),
        (json!({"tag": "late"}), &["b"]),
    ] {
        assert_eq!(those(&daemon, &fields), wanted, "{fields}");
    }
    let line = &lines(&walk(&daemon, &json!({"stuck": true}), false, BOUNDS, Place::default()).0)[0];
    assert_eq!((&line["machine"], &line["stuck"], &line["age_ms"]), (&json!("m"), &json!(true), &json!(2_000)));
    for (bad, why) in [
        (json!([]), "must be a map"),
        (json!({"statr": "b"}), "has no \"statr\""),
        (json!({"status": "dead"}), "active, done"),
        (json!({"stuck": 1}), "true or false"),
        (json!({"older_ms": -1}), "milliseconds"),
        (json!({"context": 7}), "customer.id"),
    ] {
        let told = Filter::read("m", Some(bad.to_string().as_bytes()), Encoding::Json).unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn instances_are_counted_by_state_and_status() {
    let mut daemon = Daemon::new();
    ["a", "b", "c"].iter().for_each(|key| _ = daemon.send(key, "GO", ""));
    daemon.send("ended", "END", "");
    let (page, _) = walk(&daemon, &json!({}), true, BOUNDS, Place::default());
    let mut counts = Vec::new();
    for (kind, count) in &page.counts {
        let mut json = Vec::new();
        kind.write(*count, &mut json, Encoding::Json);
        counts.push(serde_json::from_slice::<Value>(&json).unwrap());
    }
    let kind = |value, status, count: u64| json!({"machine": "m", "value": value, "status": status, "count": count});
    assert_eq!(counts, [kind("b", "active", 3), kind("end", "done", 1)]);
    assert!(page.lines.is_empty());
}

#[test]
fn instances_of_a_machine_are_counted_as_they_come_and_go() {
    let mut daemon = Daemon::new();
    daemon.op("start", "a", "");
    daemon.send("b", "GO", "");
    daemon.send("c", "BAD", "");
    let count = |daemon: &Daemon| daemon.machines.table().by_name("m").unwrap().instances();
    assert_eq!(count(&daemon), 2);
    daemon.hand_off();
    assert_eq!(count(&daemon), 0);
    daemon.reopen(&[]);
    assert_eq!(count(&daemon), 2);
}

#[test]
fn numbers_are_compared_without_losing_a_bit() {
    let mut daemon = Daemon::new();
    // Two that are one as doubles.
    let ids = ["9007199254740992", "9007199254740993", "18446744073709551615", "18446744073709551616.0"];
    for id in ids {
        daemon.ask(&format!(r#"{{"op":"send","machine":"m","key":"{id}","event":{{"type":"ADD","n":{id}}}}}"#));
    }
    for id in ids {
        let fields: Value = serde_json::from_str(&format!(r#"{{"context":{{"n":{id}}}}}"#)).unwrap();
        assert_eq!(those(&daemon, &fields), [id]);
    }
    assert_eq!(those(&daemon, &json!({"context": {"n": 9_007_199_254_740_992.0}})), ids[..1]);
}
