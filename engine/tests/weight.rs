//! What an instance weighs: known at each moment, bounded by each step, and what runs can be read back.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use proptest::prelude::*;
use statemesh_engine::{Event, Instance, Limits, Machine, Millis, Output, Payload, StepError};
use std::sync::Arc;

fn compile(source: &str, limits: &Limits, child: Option<&Arc<Machine>>) -> Arc<Machine> {
    Machine::compile(source.as_bytes(), limits, &|_| child.cloned()).unwrap().machine
}

fn started(machine: &Machine) -> Instance {
    machine.start(Payload::Empty, Millis(0), &mut Output::new()).unwrap()
}

fn bytes(machine: &Machine, instance: &Instance) -> Vec<u8> {
    let mut bytes = Vec::new();
    instance.to_bytes(machine, Millis(0), &mut bytes);
    bytes
}

/// The instance reads back, and weighs as much as all its parts and no less than its bytes.
fn holds_together(machine: &Machine, instance: &Instance) {
    let written = bytes(machine, instance);
    assert_eq!(instance.weight(), instance.full_weight());
    assert!(written.len() <= instance.weight(), "{} {}", written.len(), instance.weight());
    // Why it is stuck may be told in a kilobyte more.
    let more = if instance.is_stuck() { 1_024 } else { 0 };
    assert!(instance.weight() <= machine.limits().instance_bytes_max + more);
    let read = Instance::from_bytes(machine, &written, Millis(0), &mut Output::new()).unwrap();
    assert_eq!(read.weight(), instance.weight());
    assert_eq!(bytes(machine, &read), written);
}

fn limit_of<T: std::fmt::Debug>(refused: Result<T, StepError>) -> &'static str {
    match refused {
        Err(StepError::Limit { limit, .. }) => limit,
        other => panic!("{other:?}"),
    }
}

/// Passed `check`, `define` and every event, but could not be read: its small maps weighed much more than their JSON.
#[test]
fn a_lookup_table_of_8000_small_maps_runs_and_reads_back() {
    let table: Vec<String> = (0..8_000).map(|n| format!(r#"{{"v":{n}}}"#)).collect();
    let source = format!(
        r#"{{"id":"m","context":{{"n":0,"table":[{}]}},
            "on":{{"E":{{"actions":{{"type":"@xstate.assign","context":{{"n":{{"@expr":"context.n + context.table[7999].v"}}}}}}}}}}}}"#,
        table.join(",")
    );
    assert!((70_000..110_000).contains(&source.len()), "{}", source.len());
    let machine = compile(&source, &Limits::default(), None);
    let mut instance = started(&machine);
    machine.send(&mut instance, &Event::named("E"), Millis(0), &mut Output::new()).unwrap();
    assert_eq!(instance.context().get("n").unwrap().as_i64(), Some(7_999));
    holds_together(&machine, &instance);
}

#[test]
fn a_context_that_no_snapshot_could_hold_is_refused_when_it_is_defined() {
    let limits = Limits { context_bytes_max: 200, ..Limits::default() };
    let source = format!(r#"{{"id":"m","context":{{"text":"{}"}}}}"#, "x".repeat(200));
    let found = Machine::compile(source.as_bytes(), &limits, &|_| None).unwrap_err();
    assert_eq!(found[0].code, "context_too_large");
}

#[test]
fn a_computed_context_is_weighed_when_it_is_made() {
    let limits = Limits { context_bytes_max: 200, ..Limits::default() };
    let source = r#"{"id":"m","context":{"a":{"@expr":"input.text"},"b":{"@expr":"input.text"}}}"#;
    let machine = compile(source, &limits, None);
    let input = format!(r#"{{"text":"{}"}}"#, "x".repeat(120));
    let refused = machine.start(Payload::Json(input.as_bytes()), Millis(0), &mut Output::new());
    assert_eq!(limit_of(refused), "context_bytes_max");
}

/// A parent that starts a child with a context of so many bytes at each GROW.
fn family(limits: &Limits) -> Arc<Machine> {
    let text = "x".repeat(900);
    let child = compile(&format!(r#"{{"id":"kid","context":{{"text":"{text}"}}}}"#), limits, None);
    let source = r#"{"id":"m","context":{"n":0},"on":{
        "GROW":{"actions":[{"type":"@xstate.assign","context":{"n":{"@expr":"context.n + 1"}}},
                           {"type":"@xstate.spawnChild","src":"kid","id":{"@expr":"'c' + string(context.n)"}}]},
        "SHRINK":{"actions":{"type":"@xstate.stopChild","id":"c1"}},
        "LATER":{"actions":{"type":"@xstate.raise","delay":1000,"event":{"type":"X","big":{"@expr":"event.big"}}}},
        "X":{}}}"#;
    compile(source, limits, Some(&child))
}

#[test]
fn children_are_weighed_together() {
    let limits = Limits { instance_bytes_max: 4_000, ..Limits::default() };
    let machine = family(&limits);
    let mut instance = started(&machine);
    let mut out = Output::new();
    let mut grow = |instance: &mut Instance| {
        out.clear();
        machine.send(instance, &Event::named("GROW"), Millis(0), &mut out)
    };
    for _ in 0..3 {
        grow(&mut instance).unwrap();
        holds_together(&machine, &instance);
    }
    let before = bytes(&machine, &instance);
    assert_eq!(limit_of(grow(&mut instance)), "instance_bytes_max");
    assert_eq!(bytes(&machine, &instance), before, "a refused step leaves the instance as it was");
    machine.send(&mut instance, &Event::named("SHRINK"), Millis(0), &mut Output::new()).unwrap();
    grow(&mut instance).unwrap();
    holds_together(&machine, &instance);
}

#[test]
fn pending_events_are_weighed_together() {
    let limits = Limits { instance_bytes_max: 4_000, ..Limits::default() };
    let machine = family(&limits);
    let mut instance = started(&machine);
    let mut out = Output::new();
    let event = format!(r#"{{"type":"LATER","big":"{}"}}"#, "x".repeat(1_000));
    let event = Event { kind: "LATER", payload: Payload::Json(event.as_bytes()) };
    for _ in 0..3 {
        machine.send(&mut instance, &event, Millis(0), &mut out).unwrap();
        holds_together(&machine, &instance);
    }
    out.clear();
    assert_eq!(limit_of(machine.send(&mut instance, &event, Millis(0), &mut out)), "instance_bytes_max");
    assert!(out.effects.is_empty() && out.timers.is_empty());
    assert_eq!(instance.timers().count(), 3);
    machine.fire_next(&mut instance, Millis(1_000), &mut out).unwrap().unwrap();
    machine.send(&mut instance, &event, Millis(0), &mut out).unwrap();
    holds_together(&machine, &instance);
}

/// An assignment beside heavy children: the fast path alone does not see them.
#[test]
fn a_context_that_grows_is_weighed_with_all_the_rest() {
    let limits = Limits { instance_bytes_max: 2_000, ..Limits::default() };
    let source = r#"{"id":"m","initial":"a","context":{"text":"x"},"states":{"a":{
        "entry":{"type":"@xstate.raise","delay":1000,"event":{"type":"X","big":"BIG"}},
        "on":{"DOUBLE":{"actions":{"type":"@xstate.assign","context":{"text":{"@expr":"context.text + context.text"}}}}}}}}"#;
    let machine = compile(&source.replace("BIG", &"x".repeat(900)), &limits, None);
    let mut instance = started(&machine);
    let mut out = Output::new();
    let doubled = (0..20).map_while(|_| machine.send(&mut instance, &Event::named("DOUBLE"), Millis(0), &mut out).ok());
    assert_eq!(doubled.count(), 9, "half a kilobyte fits, a whole one does not");
    holds_together(&machine, &instance);
    assert_eq!(
        limit_of(machine.send(&mut instance, &Event::named("DOUBLE"), Millis(0), &mut out)),
        "instance_bytes_max"
    );
}

const ASSIGNED: [&str; 6] = [
    r#"{"@expr":"context.a"}"#,
    r#"{"@expr":"[context.b, context.a]"}"#,
    r#"{"@expr":"{'k': context.b, 'é': 1.5}"}"#,
    r#"{"x":[{"@expr":"context.a"},{},{}],"long key":null}"#,
    r#"{"@expr":"event.v"}"#,
    r#"7"#,
];

fn action() -> impl Strategy<Value = String> {
    let field = (prop::sample::select(vec!["a", "b", "c"]), prop::sample::select(ASSIGNED.to_vec()));
    let assign = prop::collection::vec(field, 1..3).prop_map(|fields| {
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!(r#""{key}":{value}"#)).collect();
        format!(r#"{{"type":"@xstate.assign","context":{{{}}}}}"#, fields.join(","))
    });
    prop_oneof![
        4 => assign,
        1 => Just(r#"{"type":"@xstate.raise","event":{"type":"F","v":{"@expr":"context.a"}},"delay":50}"#.to_owned()),
        1 => Just(r#"{"type":"@xstate.raise","event":{"type":"G"},"delay":20,"id":"g"}"#.to_owned()),
        1 => Just(r#"{"type":"@xstate.cancel","id":"g"}"#.to_owned()),
        1 => Just(r#"{"type":"@xstate.spawnChild","src":"kid","id":"one","input":{"@expr":"context.b"}}"#.to_owned()),
        1 => Just(r#"{"type":"@xstate.spawnChild","src":"kid"}"#.to_owned()),
        1 => Just(r#"{"type":"@xstate.stopChild","id":"one"}"#.to_owned()),
        1 => Just(r#"{"type":"@xstate.sendTo","to":"one","event":{"type":"E","v":{"@expr":"context.c"}}}"#.to_owned()),
        1 => Just(r#"{"type":"report","params":{"@expr":"context.a"}}"#.to_owned()),
    ]
}

fn definition() -> impl Strategy<Value = String> {
    let transition = (
        prop::sample::select(vec!["\"#m.x\"", "\"#m.y\"", "\"#m.y.h\"", "null"]),
        prop::collection::vec(action(), 0..4),
    );
    prop::collection::vec(transition, 6).prop_map(|transitions| {
        let of = |n: usize| {
            let (target, actions) = &transitions[n];
            let target = if target == &"null" { String::new() } else { format!(r#""target":{target},"#) };
            format!(r#"{{{target}"actions":[{}]}}"#, actions.join(","))
        };
        format!(
            r#"{{"id":"m","context":{{"a":1,"b":"text","c":[]}},"initial":"x","states":{{
                "x":{{"after":{{"30":{}}},"on":{{"E":{},"F":{}}}}},
                "y":{{"initial":"p","invoke":{{"src":"kid","id":"inv","onDone":"x"}},
                     "states":{{"p":{{"on":{{"E":{},"G":"q"}}}},"q":{{"on":{{"E":{},"F":"p"}}}},"h":{{"type":"history"}}}},
                     "on":{{"F":{}}}}}}}}}"#,
            of(0), of(1), of(2), of(3), of(4), of(5)
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever machines and events do, a step is refused or leaves an instance that can be read.
    #[test]
    fn whatever_runs_reads_back(
        definition in definition(),
        events in prop::collection::vec((0..5usize, 0..4usize), 1..25),
        instance_bytes_max in prop::sample::select(vec![900, 1_500, 4_000, 1 << 24]),
    ) {
        let limits = Limits { instance_bytes_max, context_bytes_max: 2_000, value_depth_max: 8, children_max: 4, ..Limits::default() };
        let kid = compile(
            r#"{"id":"kid","context":{"v":{"@expr":"input"},"n":0},"initial":"w","states":{"w":{"after":{"200":"f"},
                "on":{"E":{"actions":{"type":"@xstate.assign","context":{"v":{"@expr":"event.v"}}}}}},"f":{"type":"final"}},
                "output":{"@expr":"context.v"}}"#,
            &limits,
            None,
        );
        let machine = compile(&definition, &limits, Some(&kid));
        let mut out = Output::new();
        let Ok(mut instance) = machine.start(Payload::Empty, Millis(0), &mut out) else { return Ok(()) };
        holds_together(&machine, &instance);
        let mut now = 0;
        for (kind, value) in events {
            out.clear();
            let before = bytes(&machine, &instance);
            let value = ["1", "[[],{}]", "\"some text of the event\"", r#"{"k":[1,2,{"deep":[[]]}]}"#][value];
            let step = match ["E", "F", "G"].get(kind) {
                Some(kind) => {
                    let event = format!(r#"{{"type":"{kind}","v":{value}}}"#);
                    machine.send(&mut instance, &Event { kind, payload: Payload::Json(event.as_bytes()) }, Millis(now), &mut out)
                }
                None => {
                    now += 25;
                    let Some(step) = machine.fire_next(&mut instance, Millis(now), &mut out) else { continue };
                    if let (Err(refused), Some((timer, _))) = (&step, instance.next_timer()) {
                        prop_assert_eq!(&bytes(&machine, &instance), &before);
                        instance.hold(timer, refused);
                        holds_together(&machine, &instance);
                        machine.skip(&mut instance, &mut out).unwrap();
                        holds_together(&machine, &instance);
                        continue;
                    }
                    step
                }
            };
            if step.is_err() {
                prop_assert_eq!(bytes(&machine, &instance), before);
            }
            holds_together(&machine, &instance);
        }
    }
}
