//! Every bound holds, and a step that exceeds one leaves the instance as it was.

// A clock, to notice what never ends.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use statemesh_engine::{
    Compiled, Diagnostic, DrawError, DrawFormat, Event, Instance, Limits, Machine, Millis, Output, Payload, StepError,
};
use std::sync::Arc;
use std::time::Instant;

fn compile_with(source: &str, limits: &Limits) -> Result<Compiled, Vec<Diagnostic>> {
    Machine::compile(source.as_bytes(), limits, &|_| None)
}

fn refusal(source: &str, limits: &Limits) -> &'static str {
    compile_with(source, limits)
        .err()
        .and_then(|found| found.iter().find(|found| found.is_error()).map(|found| found.code))
        .unwrap_or("accepted")
}

#[test]
fn definitions_that_exceed_a_bound_are_refused() {
    let defaults = Limits::default();
    let flat = r#"{"initial":"a","states":{"a":{"on":{"E":"b","F":"b"}},"b":{}}}"#;
    assert_eq!(refusal(flat, &defaults), "accepted");
    assert_eq!(refusal(flat, &Limits { definition_bytes_max: 10, ..defaults.clone() }), "definition_too_large");
    assert_eq!(refusal(flat, &Limits { definition_depth_max: 2, ..defaults.clone() }), "malformed_json");
    assert_eq!(refusal(flat, &Limits { states_max: 2, ..defaults.clone() }), "too_many_states");
    assert_eq!(refusal(flat, &Limits { nesting_max: 0, ..defaults.clone() }), "too_deep");
    assert_eq!(refusal(flat, &Limits { transitions_max: 1, ..defaults.clone() }), "too_many_transitions");
    let guarded = r#"{"initial":"a","states":{"a":{"on":{"E":{"guard":{"@expr":"1 + 1 + 1 == 3"}}}}}}"#;
    assert_eq!(refusal(guarded, &Limits { expression_bytes_max: 5, ..defaults }), "expression_too_long");
}

#[test]
fn an_id_that_no_address_could_name_is_refused() {
    let long = "x".repeat(256);
    for (id, code) in [
        ("", "bad_machine_id"),
        (" ", "bad_machine_id"),
        ("\u{a0}\u{2003}", "bad_machine_id"),
        ("a/b", "bad_machine_id"),
        ("a\\nb", "bad_machine_id"),
        (&long, "bad_machine_id"),
        ("(a)", "accepted"),
    ] {
        let text = format!(r#"{{"id":"{id}","initial":"a","states":{{"a":{{"id":"x/y"}}}}}}"#);
        assert_eq!(refusal(&text, &Limits::default()), code, "{id}");
    }
}

#[test]
fn a_deep_document_is_an_error_and_not_an_overflow() {
    let mut deep = String::from("{}");
    for _ in 0..5_000 {
        deep = format!("{{\"initial\":\"a\",\"states\":{{\"a\":{deep}}}}}");
    }
    assert_eq!(refusal(&deep, &Limits::default()), "malformed_json");
    let nested = format!("{{\"context\":{{\"x\":{}1{}}}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(refusal(&nested, &Limits::default()), "malformed_json");
}

struct Case {
    machine: Arc<Machine>,
    instance: Instance,
    out: Output,
}

fn started(source: &str, limits: &Limits) -> Case {
    let machine = compile_with(source, limits).unwrap().machine;
    let mut out = Output::new();
    let instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
    out.clear();
    Case { machine, instance, out }
}

/// Sends E, which must exceed `limit`, and checks that nothing of it remains.
fn exceeds(limit: &str, source: &str, limits: &Limits) {
    let mut case = started(source, limits);
    let mut before = Vec::new();
    case.instance.to_bytes(&case.machine, Millis(0), &mut before);
    let error = case.machine.send(&mut case.instance, &Event::named("E"), Millis(0), &mut case.out).unwrap_err();
    assert!(matches!(&error, StepError::Limit { limit: found, .. } if *found == limit), "{limit}: {error}");
    let mut after = Vec::new();
    case.instance.to_bytes(&case.machine, Millis(0), &mut after);
    assert_eq!(before, after, "{limit}");
    assert!(case.out.effects.is_empty() && case.out.timers.is_empty(), "{limit}");
    // The instance goes on as if nothing had been.
    let ok = case.machine.send(&mut case.instance, &Event::named("OK"), Millis(0), &mut case.out).unwrap();
    assert!(ok.changed && ok.seq == 1, "{limit}");
}

/// A machine whose event E takes `transition` from its state.
fn on_event(transition: &str) -> String {
    format!(
        r#"{{"initial":"a","context":{{"n":0,"text":"x","list":[1]}},"states":{{
            "a":{{"on":{{"OK":"b","E":{transition},"AGAIN":{{"actions":{{"type":"@xstate.raise","event":{{"type":"AGAIN"}}}}}}}}}},
            "b":{{}}}}}}"#
    )
}

#[test]
fn steps_that_exceed_a_bound_leave_the_instance_as_it_was() {
    let defaults = Limits::default();
    let with = |actions: &str| {
        on_event(&format!(r#"{{"actions":[{{"type":"@xstate.assign","context":{{"n":7}}}},"effect",{actions}]}}"#))
    };
    let raise = r#"{"type":"@xstate.raise","event":{"type":"AGAIN"}}"#;
    exceeds("microsteps_max", &with(raise), &Limits { microsteps_max: 50, ..defaults.clone() });
    exceeds("raised_max", &with(&[raise; 4].join(",")), &Limits { raised_max: 3, ..defaults.clone() });
    exceeds("effects_max", &with(r#""x","x","x""#), &Limits { effects_max: 3, ..defaults.clone() });
    exceeds("actions_max", &with(r#""x","x""#), &Limits { actions_max: 3, ..defaults.clone() });
    let delayed = r#"{"type":"@xstate.raise","event":{"type":"X"},"delay":5}"#;
    exceeds("timers_max", &with(&[delayed; 3].join(",")), &Limits { timers_max: 2, ..defaults.clone() });
    let grow = r#"{"type":"@xstate.assign","context":{"text":{"@expr":"context.text + context.text + context.text + context.text"}}}"#;
    exceeds("context_bytes_max", &with(&[grow; 6].join(",")), &Limits { context_bytes_max: 2_000, ..defaults.clone() });
    let costly = r#"{"type":"@xstate.assign","context":{"n":{"@expr":"context.list.map(x, x + 1).size()"}}}"#;
    exceeds("expression_cost_max", &with(costly), &Limits { expression_cost_max: 4, ..defaults.clone() });
    let nest = r#"{"type":"@xstate.assign","context":{"list":{"@expr":"[context.list]"}}}"#;
    exceeds("value_depth_max", &with(&[nest; 4].join(",")), &Limits { value_depth_max: 4, ..defaults.clone() });
    let report = r#"{"type":"r","params":{"@expr":"context.text"}}"#;
    exceeds("output_bytes_max", &with(&[report; 20].join(",")), &Limits { output_bytes_max: 500, ..defaults.clone() });
    let itself = r#"{"type":"@xstate.sendTo","event":{"type":"E"}}"#;
    exceeds("messages_max", &with(itself), &Limits { messages_max: 20, ..defaults });
}

/// A refusal names the limit that there is, not 0.
#[test]
fn a_refusal_says_what_the_limit_is() {
    let growing = r#"{"id":"m","context":{"list":[1],"text":"x"},"on":{
        "DEEPER":{"actions":{"type":"@xstate.assign","context":{"list":{"@expr":"[context.list]"}}}},
        "LONGER":{"actions":{"type":"@xstate.assign","context":{"text":{"@expr":"context.text + context.text"}}}}}}"#;
    for (event, limit) in [("DEEPER", "value_depth_max"), ("LONGER", "context_bytes_max")] {
        let limits = Limits { value_depth_max: 10, context_bytes_max: 300, ..Limits::default() };
        let mut case = started(growing, &limits);
        let refused = (0..20)
            .find_map(|_| case.machine.send(&mut case.instance, &Event::named(event), Millis(0), &mut case.out).err());
        let Some(StepError::Limit { limit: found, maximum, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!((found, maximum), (limit, if event == "DEEPER" { 10 } else { 300 }));
    }
}

/// One event of a few bytes: a thousand effects that each carry a text of 900 kB.
#[test]
fn effects_that_are_too_large_together_are_refused() {
    let effect = r#"{"type":"show","params":{"@expr":"context.text"}}"#;
    let source = format!(
        r#"{{"id":"m","context":{{"text":"{}","n":0}},"on":{{
            "E":{{"actions":[{{"type":"@xstate.assign","context":{{"n":1}}}},{}]}},"FEW":{{"actions":{effect}}}}}}}"#,
        "x".repeat(900_000),
        [effect; 1_000].join(",")
    );
    let mut case = started(&source, &Limits::default());
    let Case { machine, instance, out } = &mut case;
    machine.send(instance, &Event::named("FEW"), Millis(0), out).unwrap();
    out.clear();
    let error = machine.send(instance, &Event::named("E"), Millis(0), out).unwrap_err();
    assert!(matches!(error, StepError::Limit { limit: "output_bytes_max", maximum: 16_777_216, .. }), "{error}");
    assert_eq!(error.code(), "output_too_large");
    assert!(out.effects.is_empty() && out.timers.is_empty());
    assert_eq!((instance.seq(), instance.context().get("n").unwrap().as_i64()), (1, Some(0)));
    let explained = machine.explain(instance, &Event::named("E"), Millis(0)).unwrap();
    assert!(explained.outcome.is_err());
}

/// What has to be escaped is six times as long as JSON: it is measured as it will be written.
#[test]
fn effects_are_measured_as_their_json() {
    let with = |text: &str| {
        format!(
            r#"{{"id":"m","context":{{"text":"{text}"}},"on":{{"E":{{"actions":[{}]}}}}}}"#,
            [r#"{"type":"show","params":{"@expr":"context.text"}}"#; 4].join(",")
        )
    };
    let limits = Limits { output_bytes_max: 5_000, ..Limits::default() };
    for (text, fits) in [("x".repeat(1_000), true), ("\\u0001".repeat(1_000), false)] {
        let mut case = started(&with(&text), &limits);
        let step = case.machine.send(&mut case.instance, &Event::named("E"), Millis(0), &mut case.out);
        assert_eq!(step.is_ok(), fits, "{step:?}");
        assert_eq!(case.out.effects.len(), if fits { 4 } else { 0 });
    }
}

/// Effects of children wait until these start: they count all the same.
#[test]
fn effects_of_children_that_start_are_bounded_together() {
    let limits = Limits { effects_max: 10, ..Limits::default() };
    let child = compile_with(r#"{"id":"kid","entry":["a","b","c","d"]}"#, &limits).unwrap().machine;
    let spawn = r#"{"type":"@xstate.spawnChild","src":"kid"}"#;
    let source = format!(r#"{{"id":"m","on":{{"E":{{"actions":[{}]}}}}}}"#, [spawn; 3].join(","));
    let machine = Machine::compile(source.as_bytes(), &limits, &|_| Some(child.clone())).unwrap().machine;
    let mut out = Output::new();
    let mut instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
    let error = machine.send(&mut instance, &Event::named("E"), Millis(0), &mut out).unwrap_err();
    assert!(matches!(error, StepError::Limit { limit: "effects_max", .. }), "{error}");
    assert!(out.effects.is_empty());
}

/// One guard, told for each of its transitions; one label, drawn at each arrow.
#[test]
fn explanations_and_drawings_are_bounded() {
    let guard = format!("event.by == '{}'", "x".repeat(2_000));
    let transitions = vec![format!(r#"{{"guard":{{"@expr":"{guard}"}},"target":["p.a","q.a"]}}"#); 40];
    let regions = r#""p":{"initial":"z","states":{"z":{},"a":{}}},"q":{"initial":"z","states":{"z":{},"a":{}}}"#;
    let source =
        format!(r#"{{"id":"m","type":"parallel","on":{{"E":[{}]}},"states":{{{regions}}}}}"#, transitions.join(","))
            .replace("\"p.a\"", "\".p.a\"")
            .replace("\"q.a\"", "\".q.a\"");
    let roomy = started(&source, &Limits::default());
    let event = Event { kind: "E", payload: Payload::Json(br#"{"type":"E","by":1}"#) };
    assert_eq!(roomy.machine.explain(&roomy.instance, &event, Millis(0)).unwrap().candidates.len(), 40);
    assert!(roomy.machine.draw(DrawFormat::Dot, None).is_ok());
    let narrow = started(&source, &Limits { output_bytes_max: 50_000, ..Limits::default() });
    let error = narrow.machine.explain(&narrow.instance, &event, Millis(0)).unwrap_err();
    assert_eq!(error.code(), "output_too_large");
    for format in [DrawFormat::Dot, DrawFormat::Mermaid] {
        assert_eq!(narrow.machine.draw(format, None), Err(DrawError::TooLarge(50_000)));
    }
}

#[test]
fn a_simulation_is_bounded_too() {
    let line = format!(
        r#"{{"machine":{{"id":"m","context":{{"text":"{}"}}}},"events":[{}]}}"#,
        "x".repeat(5_000),
        [r#"{"type":"E"}"#; 30].join(",")
    );
    let answer = |output_bytes_max| {
        let limits = Limits { output_bytes_max, ..Limits::default() };
        String::from_utf8(statemesh_engine::simulate_batch_line(line.as_bytes(), &limits)).unwrap()
    };
    assert!(answer(1 << 20).starts_with(r#"{"snapshots":["#));
    assert!(answer(50_000).contains("output_too_large"));
}

#[test]
fn children_are_bounded_in_number_and_depth() {
    let limits = Limits { children_max: 2, child_depth_max: 1, ..Limits::default() };
    let leaf = compile_with(r#"{"id":"leaf"}"#, &limits).unwrap().machine;
    let nest = |source: &str, inner: &Arc<Machine>| {
        Machine::compile(source.as_bytes(), &limits, &|_| Some(inner.clone())).unwrap().machine
    };
    let middle = nest(r#"{"id":"middle","invoke":{"src":"leaf"}}"#, &leaf);
    let spawn = |id: &str| format!(r#"{{"type":"@xstate.spawnChild","src":"leaf","id":"{id}"}}"#);
    for (limit, inner, spawns) in [
        ("children_max", &leaf, [spawn("x"), spawn("y"), spawn("z")].join(",")),
        ("child_depth_max", &middle, spawn("x")),
    ] {
        let machine = nest(&format!(r#"{{"on":{{"E":{{"actions":[{spawns}]}},"OK":{{"actions":"ok"}}}}}}"#), inner);
        let mut out = Output::new();
        let mut instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
        let error = machine.send(&mut instance, &Event::named("E"), Millis(0), &mut out).unwrap_err();
        assert!(matches!(&error, StepError::Limit { limit: found, .. } if *found == limit), "{limit}: {error}");
        assert_eq!(instance.child_count(), 0);
        assert!(machine.send(&mut instance, &Event::named("OK"), Millis(0), &mut out).unwrap().changed);
    }
}

#[test]
fn an_instance_of_another_machine_is_refused() {
    let defaults = Limits::default();
    let mut case = started(&on_event(r#""b""#), &defaults);
    let other = compile_with(r#"{"id":"other"}"#, &defaults).unwrap().machine;
    let refused = other.send(&mut case.instance, &Event::named("E"), Millis(0), &mut case.out);
    assert_eq!(refused, Err(StepError::WrongMachine));
}

#[test]
fn a_malformed_event_is_refused_and_changes_nothing() {
    let mut case = started(&on_event(r#"{"target":"b","guard":{"@expr":"event.by == 2"}}"#), &Limits::default());
    let event = Event { kind: "E", payload: Payload::Json(br#"{"type":"E","by":"#) };
    let refused = case.machine.send(&mut case.instance, &event, Millis(0), &mut case.out);
    assert!(matches!(refused, Err(StepError::MalformedEvent(_))), "{refused:?}");
    assert_eq!(case.instance.seq(), 0);
}

/// What costs time to compile grows with the definition, not with its square.
#[test]
fn a_wide_definition_compiles_in_reasonable_time() {
    let states: Vec<String> = (0..4_000)
        .map(|index| format!(r#""s{index}":{{"on":{{"E{index}":"s{}","N":"s0"}}}}"#, (index + 1) % 4_000))
        .collect();
    let events: Vec<String> = (0..20_000).map(|index| format!(r#""F{index}":".s{}""#, index % 4_000)).collect();
    let source = format!(r#"{{"initial":"s0","states":{{{}}},"on":{{{}}}}}"#, states.join(","), events.join(","));
    let begun = Instant::now();
    Machine::compile(source.as_bytes(), &Limits::default(), &|_| None).unwrap();
    let wrong = source.replace(".s", ".t");
    assert!(Machine::compile(wrong.as_bytes(), &Limits::default(), &|_| None).is_err());
    // Generous: a debug build on a busy machine takes two or three seconds.
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}
