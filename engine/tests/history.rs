//! A history target that resolves to the source of its own transition: the source is exited and entered, as in SCXML.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use statemesh_engine::{Limits, Value, simulate_batch_line};

/// The lines of a simulation.
fn run(machine: &str, events: &str) -> Vec<Value> {
    let line = format!(r#"{{"machine":{machine},"events":{events}}}"#);
    let answer = simulate_batch_line(line.as_bytes(), &Limits::default());
    let answer = Value::from_json(&answer, &Default::default()).unwrap();
    answer.get("snapshots").unwrap_or_else(|| panic!("{answer}")).as_list().unwrap().as_slice().to_vec()
}

/// The types of all effects, in order.
fn effects(lines: &[Value]) -> Vec<String> {
    let of = |line: &Value| line.get("effects").unwrap().as_list().unwrap().as_slice().to_vec();
    lines.iter().flat_map(of).map(|effect| effect.get("type").unwrap().as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_default_that_is_the_source_is_left_and_entered() {
    let machine = r#"{"initial":"p","states":{"p":{"initial":"h","states":{
        "h":{"entry":[{"type":"en"}],"exit":[{"type":"ex"}],"after":{"10":{"actions":[{"type":"fx"}]}},"on":{"X":{"target":"k"}}},
        "k":{"type":"history","target":"h"}}}}}"#;
    let lines = run(machine, r#"[{"type":"X"},{"type":"X"},{"type":"@advance","ms":10}]"#);
    assert_eq!(effects(&lines), ["en", "ex", "en", "ex", "en", "fx"], "one timer, which is that of the last visit");
}

#[test]
fn a_record_that_is_the_source_is_left_and_entered() {
    let machine = r#"{"initial":"p","states":{"out":{"on":{"BACK":"p.k"}},"p":{"initial":"a","on":{"OUT":"out"},"states":{
        "a":{"on":{"NEXT":"b"}},"b":{"entry":"en","exit":"ex","on":{"X":"k"}},
        "k":{"type":"history","target":"a"}}}}}"#;
    let lines = run(machine, r#"[{"type":"NEXT"},{"type":"OUT"},{"type":"BACK"},{"type":"X"}]"#);
    assert_eq!(effects(&lines), ["en", "ex", "en", "ex", "en"]);
}

/// In XState 5 the two regions would both be active in the compound state.
#[test]
fn no_two_children_of_a_compound_state_are_active() {
    let machine = r#"{"initial":"p","states":{"p":{"initial":"h","states":{
        "h":{"initial":"x","states":{"x":{"on":{"N":"y"}},"y":{}},"on":{"X":{"target":"k"}}},
        "k":{"type":"history","target":"h"}}}}}"#;
    let lines = run(machine, r#"[{"type":"N"},{"type":"X"},{"type":"N"}]"#);
    let values: Vec<String> = lines.iter().map(|line| line.get("value").unwrap().to_string()).collect();
    assert_eq!(values, [r#"{"p":{"h":"x"}}"#, r#"{"p":{"h":"y"}}"#, r#"{"p":{"h":"x"}}"#, r#"{"p":{"h":"y"}}"#]);
}

/// The region that holds the source is left as a whole; the other one stays.
#[test]
fn another_region_is_left_alone() {
    let machine = r#"{"type":"parallel","states":{
        "l":{"initial":"h","states":{"h":{"entry":"lin","exit":"lout","on":{"X":"k"}},"k":{"type":"history","target":"h"}}},
        "r":{"initial":"z","states":{"z":{"entry":"rin","exit":"rout","on":{"N":"w"}},"w":{}}}}}"#;
    let lines = run(machine, r#"[{"type":"X"},{"type":"N"}]"#);
    assert_eq!(effects(&lines), ["lin", "rin", "lout", "lin", "rout"]);
}
