//! What people who come from XState write: taken as XState does, or refused with what to write instead.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use statemesh_engine::{Diagnostic, Limits, Machine, Value, simulate_batch_line};

/// All that is said about a definition.
fn findings(source: &str) -> Vec<Diagnostic> {
    match Machine::compile(source.as_bytes(), &Limits::default(), &|_| None) {
        Ok(compiled) => compiled.warnings,
        Err(diagnostics) => diagnostics,
    }
}

/// Code, whether it refuses, and hint of the only finding.
fn only(source: &str) -> (&'static str, bool, String) {
    let found = findings(source);
    let [only] = &found[..] else { panic!("{source}: {found:?}") };
    (only.code, only.is_error(), only.hint.clone().unwrap_or_default())
}

/// The lines of a simulation.
fn run(machine: &str, events: &str) -> Vec<Value> {
    let line = format!(r#"{{"machine":{machine},"events":{events}}}"#);
    let answer = simulate_batch_line(line.as_bytes(), &Limits::default());
    let answer = Value::from_json(&answer, &Default::default()).unwrap();
    answer.get("snapshots").unwrap_or_else(|| panic!("{answer}")).as_list().unwrap().as_slice().to_vec()
}

fn with_action(action: &str) -> String {
    format!(r#"{{"id":"m","initial":"a","states":{{"a":{{"on":{{"E":{{"actions":{action}}}}}}}}}}}"#)
}

#[test]
fn names_of_xstates_own_actions_are_no_effects() {
    for (action, instead) in [
        (r#""xstate.send""#, "@xstate.sendTo"),
        (r#"{"type":"xstate.send","params":{"x":1}}"#, "@xstate.sendTo"),
        (r#"{"type":"xstate.choose"}"#, "guards"),
        (r#"{"type":"xstate.pure"}"#, "actions themselves"),
        (r#"{"type":"xstate.stop"}"#, "@xstate.stopChild"),
        (r#"{"type":"xstate.start"}"#, "@xstate.spawnChild"),
        (r#"{"type":"xstate.escalate"}"#, "#_parent"),
        (r#"{"type":"xstate.respond"}"#, "@xstate.sendTo"),
        (r#"{"type":"xstate.forwardTo"}"#, "@xstate.sendTo"),
        (r#"{"type":"xstate.enqueueActions"}"#, "actions themselves"),
        (r#"{"type":"xstate.sendParent"}"#, "#_parent"),
        (r#"{"type":"xstate.whatever"}"#, "another name"),
    ] {
        let (code, refuses, hint) = only(&with_action(action));
        assert_eq!((code, refuses), ("unknown_action", true), "{action}");
        assert!(hint.contains(instead), "{action}: {hint}");
    }
}

#[test]
fn names_of_xstates_functions_are_worth_a_word() {
    for name in ["choose", "pure", "escalate", "forwardTo", "enqueueActions", "sendParent"] {
        let (code, refuses, _) = only(&with_action(&format!("{name:?}")));
        assert_eq!((code, refuses), ("effect_like_action", false), "{name}");
        let named =
            format!(r#"{{"id":"m","actions":{{"{name}":{{"type":"x"}}}},"on":{{"E":{{"actions":"{name}"}}}}}}"#);
        assert!(findings(&named).is_empty(), "{name}: the user's own action");
    }
    for own in [r#""start""#, r#""stop""#, r#""send""#, r#"{"type":"choose","params":{"of":3}}"#] {
        assert!(findings(&with_action(own)).is_empty(), "{own}: the user's own effect");
    }
}

#[test]
fn a_built_in_action_without_its_prefix_is_worth_a_word() {
    for (action, meant) in [
        (r#""raise""#, "@xstate.raise"),
        (r#"{"type":"raise"}"#, "@xstate.raise"),
        (r#"{"type":"raise","params":{"event":{"type":"F"}}}"#, "@xstate.raise"),
        (r#"{"type":"assign"}"#, "@xstate.assign"),
        (r#"{"type":"assign","params":{"n":1}}"#, "@xstate.assign"),
        (r#""sendTo""#, "@xstate.sendTo"),
        (r#""spawnChild""#, "@xstate.spawnChild"),
        (r#""stopChild""#, "@xstate.stopChild"),
    ] {
        let (code, refuses, hint) = only(&with_action(action));
        assert_eq!((code, refuses), ("effect_like_action", false), "{action}");
        assert!(hint.contains(meant), "{action}: {hint}");
    }
    let named = r#"{"id":"m","actions":{"raise":{"type":"x"}},"on":{"E":{"actions":"raise"}}}"#;
    assert!(findings(named).is_empty(), "the user's own action");
    for own in [r#""log""#, r#"{"type":"cancel"}"#, r#"{"type":"emit","params":{"of":3}}"#] {
        assert!(findings(&with_action(own)).is_empty(), "{own}: the user's own effect");
    }
}

#[test]
fn keys_of_older_versions_are_refused_with_what_to_write_instead() {
    let (code, refuses, hint) = only(r#"{"id":"m","parallel":true,"states":{},"type":"atomic"}"#);
    assert_eq!((code, refuses), ("xstate4_key", true));
    assert!(hint.contains("\"type\": \"parallel\""), "{hint}");
    let (code, refuses, hint) = only(r#"{"id":"m","initial":"a","states":{"a":{"key":"a"}}}"#);
    assert_eq!((code, refuses), ("xstate4_key", true));
    assert!(hint.contains("`id`"), "{hint}");
    let (code, refuses, hint) = only(r#"{"id":"m","initial":"a","states":{"a":{"onEntry":"x"}}}"#);
    assert_eq!((code, refuses), ("xstate4_key", true));
    assert!(hint.contains("`entry`"), "{hint}");
}

#[test]
fn child_states_of_a_final_state_are_taken_and_never_entered() {
    let source = r#"{"id":"m","initial":"w","states":{
        "w":{"initial":"a","onDone":"z","states":{"a":{"on":{"F":"f"}},
            "f":{"type":"final","entry":"en","exit":"ex","initial":{"target":"x","actions":"ini"},"states":{"x":{"entry":"inside"}}}}},
        "z":{}}}"#;
    assert_eq!(only(source).0, "unreachable_state");
    let lines = run(source, r#"[{"type":"F"}]"#);
    assert_eq!(lines[1].get("value").unwrap().to_string(), r#""z""#);
    assert_eq!(
        lines[1].get("effects").unwrap().to_string(),
        r#"[{"type":"en"},{"type":"ini"},{"type":"ex"}]"#,
        "as XState 5 has it"
    );
    let inside = source.replace(r#""F":"f""#, r#""F":"f.x""#);
    assert!(findings(&inside).iter().any(|found| found.code == "target_in_final" && found.is_error()));
}

#[test]
fn transitions_after_no_time_that_lead_to_each_other_are_warned_of() {
    let between = |back: &str| {
        format!(
            r#"{{"id":"m","initial":"a","states":{{"a":{{"after":{{"0":"b"}}}},"b":{{"after":{{"{back}":"a"}}}}}}}}"#
        )
    };
    assert_eq!((only(&between("0")).0, only(&between("0")).1), ("endless_after", false));
    assert!(findings(&between("1")).is_empty());
    let guarded = r#"{"id":"m","initial":"a","states":{"a":{"after":{"0":"b"}},"b":{"on":{"E":"a"},"after":{"0":{"target":"a","guard":{"@expr":"event.x"}}}}}}"#;
    assert_eq!(only(guarded).0, "endless_after");
    let itself = r#"{"id":"m","initial":"a","states":{"a":{"after":{"0":{"target":"a","reenter":true}}}}}"#;
    assert_eq!(only(itself).0, "endless_after");
    // The parent is not left, and its timer runs once.
    let inside = r#"{"id":"m","initial":"p","states":{"p":{"initial":"a","after":{"0":".b"},"states":{"a":{},"b":{"after":{"0":"a"}}}}}}"#;
    assert!(findings(inside).is_empty());
}

#[test]
fn a_suggestion_is_never_what_was_written() {
    let source = r#"{"id":"m","initial":"a","states":{"a":{"on":{"E":"s.one\\.tow"}},"s":{"initial":"one.two","states":{"one.two":{}}}}}"#;
    let found = findings(source);
    let hint = found.iter().find(|found| found.code == "unknown_target").and_then(|found| found.hint.clone()).unwrap();
    assert_eq!(hint, r#"did you mean "s.one\\.two"?"#);
}

#[test]
fn a_division_that_may_drop_a_fraction_is_warned_of() {
    let with = |text: &str| {
        format!(
            r#"{{"id":"m","context":{{"n":5}},"on":{{"E":{{"actions":{{"type":"@xstate.assign","context":{{"n":{{"@expr":"{text}"}}}}}}}}}}}}"#
        )
    };
    for text in ["context.n / 2", "context.n / event.by", "1 + size('abc') / 2"] {
        let (code, refuses, hint) = only(&with(text));
        assert_eq!((code, refuses), ("whole_division", false), "{text}");
        assert!(hint.contains("double(x) / 2"), "{hint}");
    }
    for text in ["double(context.n) / 2", "context.n / 2.0", "int(context.n) / 2", "6 / 2", "context.n % 2"] {
        assert!(findings(&with(text)).is_empty(), "{text}");
    }
}

/// README's own machine with 3.5 for 3: a sum that is whole until now.
#[test]
fn a_whole_number_and_a_fraction_can_be_added() {
    let machine = r#"{"id":"m","context":{"total":0},"on":{"ADD":{"actions":{"type":"@xstate.assign",
        "context":{"total":{"@expr":"context.total + event.amount"}}}}}}"#;
    let lines = run(machine, r#"[{"type":"ADD","amount":3.5},{"type":"ADD","amount":2}]"#);
    let totals: Vec<String> = lines.iter().map(|line| line.get("context").unwrap().to_string()).collect();
    assert_eq!(totals, [r#"{"total":0}"#, r#"{"total":3.5}"#, r#"{"total":5.5}"#]);
    assert!(lines.iter().all(|line| line.get("status").unwrap().as_str() == Some("active")));
}

#[test]
fn an_input_that_is_not_given_is_empty() {
    let machine = r#"{"id":"m","context":{"n":{"@expr":"'n' in input ? input.n : 7"},"has":{"@expr":"has(input.n)"},"all":{"@expr":"input"}}}"#;
    let lines = run(machine, "[]");
    assert_eq!(lines[0].get("context").unwrap().to_string(), r#"{"n":7,"has":false,"all":{}}"#);
}

#[test]
fn a_key_that_the_context_never_has_is_warned_of() {
    let with = |expression: &str, assigned: &str| {
        format!(
            r#"{{"id":"m","context":{{"count":0,"open":null}},"on":{{
                "E":{{"guard":{{"@expr":"{expression} == 1"}},"actions":"x"}},
                "S":{{"actions":{{"type":"@xstate.assign","context":{assigned}}}}}}}}}"#
        )
    };
    let other = r#"{"other":1}"#;
    let (code, refuses, hint) = only(&with("context.conut", other));
    assert_eq!((code, refuses, hint.as_str()), ("unknown_context_key", false, "did you mean \"count\"?"));
    for known in ["context.count", "context.open", "context.other", "event.conut", "(has(context.none) ? 1 : 0)"] {
        assert!(findings(&with(known, other)).is_empty(), "{known}");
    }
    assert!(findings(&with("context.conut", r#"{"@expr":"event.all"}"#)).is_empty(), "anything may be assigned");
    let computed = with("context.conut", other).replace(r#"{"count":0,"open":null}"#, r#"{"@expr":"input"}"#);
    assert!(findings(&computed).is_empty(), "the context is what it was started with");
}
