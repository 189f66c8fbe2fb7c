//! A fault is stuck, not dead: a client's event is refused without a trace, a timer is held, and a machine may ask for XState's way.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use serde_json::Value;
use statemesh_engine::{
    Event, Faults, Instance, Limits, Machine, Millis, Output, Payload, Status, StepError, simulate_batch_line,
};
use std::sync::Arc;

/// `ADD` adds `by`; a second after `LATER` the same is done with what is not there, unless `FIX` was sent.
const SOURCE: &str = r#"{"id":"m","initial":"a","context":{"total":1},"states":{
    "a":{"on":{"ADD":{"actions":["told",{"type":"@xstate.raise","event":{"type":"LATER"},"delay":5},
             {"type":"@xstate.assign","context":{"total":{"@expr":"context.total + event.by"}}}]},
         "LATER":"late","FIX":{"actions":{"type":"@xstate.assign","context":{"by":2}}}}},
    "late":{"on":{"FIX":{"actions":{"type":"@xstate.assign","context":{"by":2}}}},
        "after":{"1000":{"target":"a","actions":{"type":"@xstate.assign","context":{"total":{"@expr":"context.total + context.by"}}}}}}}}"#;

fn compiled(source: &str) -> Arc<Machine> {
    Machine::compile(source.as_bytes(), &Limits::default(), &|_| None).unwrap().machine
}

fn started(machine: &Machine) -> Instance {
    machine.start(Payload::Empty, Millis(0), &mut Output::new()).unwrap()
}

fn send(machine: &Machine, instance: &mut Instance, event: &str, out: &mut Output) -> Result<bool, StepError> {
    let kind: Value = serde_json::from_str(event).unwrap();
    let event = Event { kind: kind["type"].as_str().unwrap(), payload: Payload::Json(event.as_bytes()) };
    machine.send(instance, &event, Millis(0), out).map(|step| step.changed)
}

fn bytes(machine: &Machine, instance: &Instance) -> Vec<u8> {
    let mut bytes = Vec::new();
    instance.to_bytes(machine, Millis(0), &mut bytes);
    bytes
}

#[test]
fn an_event_whose_step_fails_is_refused_and_leaves_no_trace() {
    let machine = compiled(SOURCE);
    let (mut instance, mut out) = (started(&machine), Output::new());
    let before = bytes(&machine, &instance);
    let refused = send(&machine, &mut instance, r#"{"type":"ADD","by":"x"}"#, &mut out).unwrap_err();
    assert_eq!(refused.code(), "event_failed");
    let told = refused.to_string();
    for part in ["in context.total + event.by", "context.total is 1", "event.by is \"x\""] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(bytes(&machine, &instance), before);
    assert!(out.effects.is_empty() && out.timers.is_empty());
    assert_eq!(send(&machine, &mut instance, r#"{"type":"ADD","by":2}"#, &mut out), Ok(true));
    assert_eq!(instance.context().to_string(), r#"{"total":3}"#);
}

#[test]
fn a_start_that_fails_is_refused() {
    let machine = compiled(r#"{"id":"m","context":{"n":{"@expr":"input.n + 1"}}}"#);
    let refused = machine.start(Payload::Json(br#"{"n":"x"}"#), Millis(0), &mut Output::new()).unwrap_err();
    assert_eq!(refused.code(), "event_failed");
    assert!(refused.to_string().contains("input.n is \"x\""), "{refused}");
}

#[test]
fn a_timer_whose_step_fails_is_held_with_the_reason_until_it_can_be_fired() {
    let machine = compiled(SOURCE);
    let (mut instance, mut out) = (started(&machine), Output::new());
    send(&machine, &mut instance, r#"{"type":"LATER"}"#, &mut out).unwrap();
    let (timer, due) = instance.next_timer().unwrap();
    let refused = machine.fire(&mut instance, timer, due, &mut out).unwrap_err();
    assert_eq!(instance.status(), Status::Active, "the caller of fire decides");
    instance.hold(timer, &refused);
    assert!(instance.is_stuck());
    let error = instance.error().unwrap();
    assert_eq!(error.get("expression").unwrap().as_str(), Some("context.total + context.by"));
    assert_eq!(error.get("values").unwrap().to_string(), r#"{"context.total":1}"#);
    let refused = machine.retry(&mut instance, due, &mut out).unwrap_err();
    assert_eq!(refused.code(), "event_failed");
    assert!(refused.hint().starts_with("the instance is stuck as it was: `skip`"), "{}", refused.hint());
    assert!(instance.is_stuck());
    assert!(machine.skip(&mut instance, &mut out).unwrap().changed);
    assert_eq!(
        (instance.status(), machine.state_value(&instance).to_string()),
        (Status::Active, "\"late\"".to_owned())
    );
}

#[test]
fn a_child_that_fails_takes_its_parents_step_with_it() {
    let child = compiled(r#"{"id":"child","on":{"GO":{"actions":{"type":"x","params":{"@expr":"event.n + 1"}}}}}"#);
    let source = r#"{"id":"m","invoke":{"src":"child","id":"c"},
        "on":{"GO":{"actions":{"type":"@xstate.sendTo","to":"c","event":{"type":"GO"}}}}}"#;
    let resolve = move |_: &str| Some(child.clone());
    let machine = Machine::compile(source.as_bytes(), &Limits::default(), &resolve).unwrap().machine;
    let (mut instance, mut out) = (started(&machine), Output::new());
    let before = bytes(&machine, &instance);
    let refused = send(&machine, &mut instance, r#"{"type":"GO"}"#, &mut out).unwrap_err();
    assert!(refused.to_string().contains("in event.n + 1"), "{refused}");
    assert!(refused.to_string().ends_with(", in the child c"), "{refused}");
    assert_eq!(bytes(&machine, &instance), before);
}

#[test]
fn a_fault_says_in_which_child_it_came_about() {
    let inner = r#"{"id":"inner","initial":"a","context":{"n":1},"states":{"a":{"after":{"10":"b"}},
        "b":{"entry":{"type":"x","params":{"@expr":"context.n / 0"}}}}}"#;
    let inner = compiled(inner);
    let invokes =
        |id: &str, src: &str, more: &str| format!(r#"{{"id":"{id}","invoke":{{"src":"{src}","id":"{src}1"}}{more}}}"#);
    let resolve = move |_: &str| Some(inner.clone());
    let outer =
        Machine::compile(invokes("outer", "inner", "").as_bytes(), &Limits::default(), &resolve).unwrap().machine;
    let resolve = move |_: &str| Some(outer.clone());
    let made = |more: &str| {
        let source = invokes("m", "outer", more);
        let machine = Machine::compile(source.as_bytes(), &Limits::default(), &resolve).unwrap().machine;
        let (mut instance, mut out) = (started(&machine), Output::new());
        let (timer, due) = instance.next_timer().unwrap();
        let fired = machine.fire(&mut instance, timer, due, &mut out);
        fired.map_err(|refused| {
            instance.hold(timer, &refused);
            instance.error().unwrap().clone()
        })
    };
    let error = made("").unwrap_err();
    assert_eq!(error.get("child").unwrap().to_string(), r#"["outer1","inner1"]"#, "{error}");
    // One that is handled, and another fault after it, are not the child's.
    let handled = r#","context":{"m":1},"on":{"xstate.error.actor.outer1":{"actions":{"type":"x","params":{"@expr":"context.m / 0"}}}}"#;
    let error = made(handled).unwrap_err();
    assert!(error.get("child").is_none() && error.get("expression").is_some(), "{error}");
}

#[test]
fn xstates_way_is_asked_for_by_the_definition_or_by_who_runs_it() {
    let own = SOURCE.replacen("{\"id\"", r#"{"@statemesh":{"faults":"fail"},"id""#, 1);
    let mut other = Machine::compile(SOURCE.as_bytes(), &Limits::default(), &|_| None).unwrap();
    other.set_faults(Faults::Fail);
    for machine in [compiled(&own), other.machine] {
        let mut instance = started(&machine);
        assert_eq!(send(&machine, &mut instance, r#"{"type":"ADD"}"#, &mut Output::new()), Ok(true));
        assert_eq!((instance.status(), instance.is_stuck()), (Status::Error, false));
    }
}

#[test]
fn an_event_is_explained_in_both_ways_whatever_the_definition_says() {
    for source in [SOURCE.to_owned(), SOURCE.replacen("{\"id\"", r#"{"@statemesh":{"faults":"fail"},"id""#, 1)] {
        let machine = compiled(&source);
        let instance = started(&machine);
        let explained =
            |faults| machine.explain_with(&instance, &Event::named("ADD"), Millis(0), faults).unwrap().outcome;
        assert!(explained(Faults::Hold).unwrap_err().to_string().contains("event.by"));
        assert_eq!(explained(Faults::Fail).unwrap().status, Status::Error);
    }
}

fn simulated(events: &str, faults: &str) -> Vec<Value> {
    let line = format!(r#"{{"machine":{SOURCE},"events":{events},"faults":"{faults}"}}"#);
    let answer: Value = serde_json::from_slice(&simulate_batch_line(line.as_bytes(), &Limits::default())).unwrap();
    answer["snapshots"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
}

#[test]
fn a_simulation_refuses_and_holds_as_a_daemon_does() {
    let late = r#"[{"type":"ADD","by":"x"},{"type":"LATER"},{"type":"@advance","ms":2000},{"type":"FIX"},{"type":"@retry"},{"type":"@skip"}]"#;
    let lines = simulated(late, "hold");
    assert_eq!((&lines[1]["error"]["code"], &lines[1]["status"]), (&"event_failed".into(), &"active".into()));
    assert_eq!(lines[1]["error"]["values"]["event.by"], "x");
    assert_eq!((&lines[3]["stuck"], &lines[3]["status"]), (&true.into(), &"error".into()));
    assert_eq!(lines[5]["error"]["code"], "event_failed");
    assert_eq!((&lines[6]["stuck"], &lines[6]["status"]), (&Value::Null, &"active".into()));
    let lines = simulated(late, "fail");
    assert_eq!((&lines[1]["status"], &lines[3]["stuck"]), (&"error".into(), &Value::Null));
}

#[test]
fn what_this_version_cannot_honour_is_refused() {
    let cases = [
        (r#"{"durability":"replicated"}"#, "unsupported", Some("write \"memory\" or \"disk\", or leave it out")),
        (r#"{"durability":5}"#, "unsupported", None),
        (r#"{"keep":"1 hour"}"#, "unsupported", Some("write a time such as \"90s\", \"1h\", \"7d\", or \"forever\"")),
        (r#"{"keep":3600}"#, "unsupported", None),
        (r#"{"keep":"99999999999999999999d"}"#, "unsupported", None),
        (r#"{"feed":true}"#, "unsupported", Some("write false, or leave it out")),
        (r#"{"effects":{"ship":{"queue":"q"}}}"#, "unsupported", None),
        (r#"{"sends":["other"]}"#, "unsupported", None),
        (r#"{"timers":{"catchUp":"skip"}}"#, "unsupported", None),
        (r#"{"migrations":{"1":{}}}"#, "unsupported", None),
        (r#"{"journal":true}"#, "unsupported", None),
        (r#"{"engineEvents":false}"#, "unsupported", None),
        (r#"{"faults":"ignore"}"#, "unsupported", Some("write \"hold\" or \"fail\", or leave it out")),
        (r#"{"fault":"fail"}"#, "unknown_key", Some("did you mean \"faults\"?")),
        (r#"[]"#, "wrong_type", None),
    ];
    for (own, code, hint) in cases {
        let source = format!(r#"{{"id":"m","@statemesh":{own}}}"#);
        let found = Machine::compile(source.as_bytes(), &Limits::default(), &|_| None).unwrap_err();
        assert_eq!(found[0].code, code, "{own}");
        assert!(hint.is_none() || found[0].hint.as_deref() == hint, "{own} gives {:?}", found[0]);
    }
    let honoured = r#"{"id":"m","@statemesh":{"durability":"memory","timers":{"catchUp":"late"},"journal":false,"faults":"hold",
        "keep":"1h","engineEvents":true,"effects":{},"sends":[],"migrations":{},"feed":false}}"#;
    assert!(Machine::compile(honoured.as_bytes(), &Limits::default(), &|_| None).is_ok());
}

#[test]
fn a_machine_says_for_how_long_its_instances_are_kept() {
    let kept = |own: &str| compiled(&format!(r#"{{"id":"m","@statemesh":{own}}}"#)).keep_ms();
    let times = [r#"{"keep":"1500ms"}"#, r#"{"keep":"90s"}"#, r#"{"keep":"2h"}"#, r#"{"keep":"7d"}"#].map(kept);
    assert_eq!(times, [Some(1_500), Some(90_000), Some(7_200_000), Some(604_800_000)]);
    assert_eq!((kept("{}"), kept(r#"{"keep":"forever"}"#), kept(r#"{"keep":"0s"}"#)), (None, Some(u64::MAX), Some(0)));
}

#[test]
fn the_start_of_an_instance_that_needs_input_says_how_to_give_it() {
    let source = r#"{"id":"m","context":{"n":{"@expr":"input.n"}},"initial":"a","states":{"a":{}}}"#;
    let machine = compiled(source);
    let refused = machine.start(Payload::Empty, Millis(0), &mut Output::new()).unwrap_err();
    assert_eq!(refused.code(), "event_failed");
    assert!(refused.hint().starts_with("there is no instance: `start` one with an `input`"), "{}", refused.hint());
}

#[test]
fn a_start_that_does_not_come_to_rest_says_that_there_is_no_instance() {
    let source = r#"{"id":"m","initial":"a","states":{"a":{"always":"b"},"b":{"always":"a"}}}"#;
    let machine = Machine::compile(source.as_bytes(), &Limits::default(), &|_| None).unwrap().machine;
    let mut out = Output::new();
    let refused = machine.start(Payload::Empty, Millis(0), &mut out).unwrap_err();
    assert!(refused.to_string().contains("microsteps_max"), "{refused}");
    assert!(refused.hint().contains("no instance") && !refused.hint().contains("as it was"), "{}", refused.hint());
    assert!(!refused.hint().contains("event"), "none was sent: {}", refused.hint());
    let looping = source
        .replace(r#"{"always":"b"}"#, r#"{"on":{"E":"b"}}"#)
        .replace(r#"{"always":"a"}"#, r#"{"always":"c"},"c":{"always":"b"}"#);
    let machine = Machine::compile(looping.as_bytes(), &Limits::default(), &|_| None).unwrap().machine;
    let mut instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
    let refused = machine.send(&mut instance, &Event::named("E"), Millis(0), &mut out).unwrap_err();
    assert!(refused.hint().contains("the instance is as it was"), "{}", refused.hint());
}
