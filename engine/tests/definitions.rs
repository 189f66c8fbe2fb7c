//! What a person is told about a definition: code, line, column, path and a suggestion; and how a chart is drawn.

#![allow(clippy::unwrap_used, missing_docs)]

use statemesh_engine::{
    Diagnostic, DrawError, DrawFormat, Event, Limits, Machine, Millis, Output, Payload, json_schema,
};
use std::sync::Arc;

fn findings(source: &str) -> Vec<Diagnostic> {
    match Machine::compile(source.as_bytes(), &Limits::default(), &|_| None) {
        Ok(compiled) => compiled.warnings,
        Err(found) => found,
    }
}

fn machine(source: &str) -> Arc<Machine> {
    Machine::compile(source.as_bytes(), &Limits::default(), &|_| None).unwrap().machine
}

/// A state `a` with this member, next to a state `b`.
fn with(member: &str) -> String {
    format!(r#"{{"id":"m","initial":"a","on":{{"TO_B":".b"}},"states":{{"a":{{{member}}},"b":{{}}}}}}"#)
}

#[test]
fn a_delay_that_cannot_be_read_is_one_mistake() {
    let delays = r#"{"id":"m","delays":{"abandon":"30m"},"#;
    let found = findings(&with(r#""after":{"abandon":"b"}"#).replace(r#"{"id":"m","#, delays));
    let told: Vec<_> = found.iter().map(|found| (found.code, found.hint.as_deref())).collect();
    assert_eq!(told, [("bad_delay", Some("write \"PT30M\""))]);
}

#[test]
fn an_expression_in_place_of_a_delay_is_told_what_to_write_there() {
    let hint = |source: &str| {
        let found = findings(source).into_iter().find(|found| matches!(found.code, "unknown_delay" | "bad_delay"));
        found.unwrap_or_else(|| panic!("{source}")).hint.unwrap_or_default()
    };
    let raise = r#""entry":{"type":"@xstate.raise","event":{"type":"E"},"delay":"context.n"}"#;
    let send = r#""entry":{"type":"@xstate.sendTo","to":"k","event":{"type":"E"},"delay":"context.n"}"#;
    let invoke = r#""invoke":{"src":"c","timeout":"context.n","onTimeout":"b"}"#;
    for member in [raise, send, invoke, r#""timeout":"context.n","onTimeout":"b""#] {
        let told = hint(&with(member));
        assert_eq!(told, r#"write {"@expr": "context.n"}"#, "{member}");
    }
    let of_delays = with("").replace(r#"{"id":"m""#, r#"{"id":"m","delays":{"wait":"context.n"}"#);
    assert_eq!(hint(&of_delays), r#"write {"@expr": "context.n"}"#);
    let after = hint(&with(r#""after":{"context.n * 2":"b"}"#));
    assert!(after.contains(r#"root's `delays`"#) && after.contains(r#"{"@expr": "context.n * 2"}"#), "{after}");
    let named = with(r#""after":{"wait":"b"}"#)
        .replace(r#"{"id":"m""#, r#"{"id":"m","context":{"n":1},"delays":{"wait":{"@expr":"context.n"}}"#);
    assert_eq!(findings(&named), [], "what the hint says is right");
}

#[test]
fn an_id_that_is_no_text_is_one_mistake() {
    for id in ["null", "5", "[]"] {
        for source in [format!(r#"{{"id":{id}}}"#), with(&format!(r#""id":{id}"#))] {
            let found: Vec<_> = findings(&source).into_iter().filter(Diagnostic::is_error).collect();
            let [only] = &found[..] else { panic!("{source}: {found:?}") };
            assert!(only.code == "wrong_type" && only.path.ends_with("/id"), "{only}");
        }
    }
}

const NO_MACHINE: &str = "define the invoked machine first; a promise is no machine: an effect on `entry`, which a program answers with an event, \
                          takes its place";

/// Definitions with one mistake each, its code, and the way out where one is told.
fn mistakes() -> Vec<(String, &'static str, Option<&'static str>)> {
    vec![
        (with(r#""on":{"E":"c"}"#), "unknown_target", None),
        (
            with(r#""on":{"E":"bb"}"#).replace(r#""b":{}"#, r#""bbb":{}"#).replace(".b", ".bbb"),
            "unknown_target",
            Some("did you mean \"bbb\"?"),
        ),
        (with(r##""on":{"E":"#nowhere"}"##), "unknown_target", None),
        (with(r#""on":{"E":{"target":"b","guard":"ready"}}"#), "unknown_guard", Some("add it to the root's `guards`")),
        (
            with(r#""after":{"soon":"b"}"#),
            "unknown_delay",
            Some("add it to the root's `delays`, or write milliseconds"),
        ),
        (with(r#""after":{"10m":"b"}"#), "unknown_delay", Some("write \"PT10M\"")),
        (with(r#""timeout":"1h","onTimeout":"b""#), "unknown_delay", Some("write \"PT1H\"")),
        (with(r#""after":{"-5":"b"}"#), "negative_delay", Some("write 0, or the time that is meant")),
        (with(r#""On":{"E":{}}"#), "unknown_key", Some("did you mean \"on\"?")),
        (
            with(r#""on":{},"ON":{"E":{}}"#),
            "unknown_key",
            Some("did you mean \"on\"? That is here too: write both as one"),
        ),
        (with(r#""entyr":"x""#), "unknown_key", Some("did you mean \"entry\"?")),
        (
            with(r#""entry":{"type":"@xstate.asign","context":{}}"#),
            "unknown_action",
            Some("did you mean \"@xstate.assign\"?"),
        ),
        (with(r#""on":{"E":{"target":"b","guard":{"@expr":"1 + 2"}}}"#), "wrong_expression_type", None),
        (with(r#""on":{"E":{"target":"b","guard":{"@expr":"contex.x == 1"}}}"#), "unknown_root", None),
        (with(r#""on":{"E":{"target":"b","guard":{"@expr":"context.x =="}}}"#), "expression_syntax", None),
        (with(r#""entry":{"@expr":"1"}"#), "wrong_expression_type", None),
        (with(r#""entry":{"type":"@xstate.raise"}"#), "missing_key", None),
        (with(r#""invoke":{"src":"other"}"#), "unknown_machine", Some(NO_MACHINE)),
        (
            r#"{"id":"m","initial":"a","states":{"a":{"entry":{"type":"@xstate.spawnChild","src":"m"}}}}"#.to_owned(),
            "invokes_itself",
            Some(
                "a child is a version that is defined before: define the machine once without this, and that is the child; or leave it out",
            ),
        ),
        (with(r#""type":"finale""#), "unknown_type", Some("did you mean \"final\"?")),
        (with(r#""timeout":5"#), "missing_key", None),
        (with(r#""on":{"E":null}"#), "wrong_type", Some("to forbid an event write {}")),
        (with(r#""on":{"":"b"}"#), "empty_event", Some("use `always`")),
        (with(r#""id":"b2","states":{"x":{}}"#), "missing_initial", Some("add \"initial\": \"x\"")),
        (with(r#""on":{"E":[{"target":"b"},{"target":"a"}]}"#), "never_taken", None),
        (with(r#""always":"b""#).replace(r#""b":{}"#, r#""b":{"always":"a"}"#), "endless_always", None),
        (r#"{"initial":"a","states":{"a":{},"b":{}}}"#.to_owned(), "unreachable_state", None),
        (r#"{"on":{"E":"a"}}"#.to_owned(), "unknown_target", Some("write \".a\" for a child of the root, or #id")),
        (r#"{"initial":"h","states":{"h":{"type":"history"}}}"#.to_owned(), "endless_default", None),
        (r#"{"actions":{"x":["y"],"y":["x"]},"entry":"x"}"#.to_owned(), "circular_definition", None),
        (r#"{"a":1,"a":2}"#.to_owned(), "duplicate_key", None),
        ("{".to_owned(), "malformed_json", None),
        ("[]".to_owned(), "wrong_type", None),
    ]
}

#[test]
fn each_mistake_has_a_code_and_a_way_out() {
    for (source, code, hint) in mistakes() {
        let found = findings(&source);
        let matching = found.iter().find(|found| found.code == code);
        let matching = matching.unwrap_or_else(|| panic!("{source} gives {found:?}, not {code}"));
        if hint.is_some() {
            assert_eq!(matching.hint.as_deref(), hint, "{source}");
        }
    }
}

#[test]
fn what_other_versions_mean_by_a_key_is_not_ignored() {
    let action = |action: &str| with(&format!(r#""entry":{action}"#));
    let guard = |guard: &str| with(&format!(r#""on":{{"E":{{"target":"b","guard":{guard}}}}}"#));
    let cases = [
        (with(r#""on":{"E":{"target":"b","cond":"x"}}"#), "xstate4_key", "in XState 5 it is `guard`"),
        (with(r##""always":{"target":"b","in":"#x"}"##), "xstate4_key", "in XState 5 it is a guard: "),
        (with(r#""on":{"E":{"target":"b","internal":true}}"#), "xstate4_key", "in XState 5 it is `reenter`"),
        (with(r#""activities":"beep""#), "xstate4_key", "XState 5 has none: use `invoke`"),
        (with(r#""invoke":{"src":"x","autoForward":true}"#), "xstate4_key", "send the child its events"),
        (with(r#""type":"final","data":{}"#), "xstate4_key", "in XState 5 it is `output`"),
        (r#"{"id":"m","services":{}}"#.to_owned(), "xstate4_key", "define the machines by themselves"),
        (action(r#"{"type":"xstate.assign","context":{}}"#), "unknown_action", "did you mean \"@xstate.assign\"?"),
        (action(r#""xstate.log""#), "unknown_action", "did you mean \"@xstate.log\"?"),
        (action(r#"{"type":"raise","event":{"type":"E"}}"#), "unknown_action", "did you mean \"@xstate.raise\"?"),
        (action(r#"{"type":"sendTo","to":"x"}"#), "unknown_action", "did you mean \"@xstate.sendTo\"?"),
        (action(r#""@xstate.log""#), "wrong_type", "write {\"type\": \"@xstate.log\", ...}"),
        (guard(r#"{"type":"and","guards":[]}"#), "unknown_guard", "did you mean \"xstate.and\"?"),
        (guard(r#"{"type":"not","guards":[]}"#), "unknown_guard", "did you mean \"xstate.not\"?"),
        (guard(r#""context.n > 3""#), "unknown_guard", "if it is an expression, write {\"@expr\": \"context.n > 3\"}"),
        (guard(r#"{"expr":"true"}"#), "missing_key", "did you mean \"@expr\"?"),
    ];
    for (source, code, hint) in cases {
        let found = findings(&source);
        let matching = found.iter().find(|found| found.code == code && found.is_error());
        let matching = matching.unwrap_or_else(|| panic!("{source} gives {found:?}, not {code}"));
        assert!(matching.hint.as_deref().is_some_and(|given| given.starts_with(hint)), "{source} gives {matching}");
    }
}

#[test]
fn what_can_never_happen_is_worth_a_warning() {
    let raise = r#"{"type":"@xstate.raise","event":{"type":"E"},"delay":5,"id":"timeout"}"#;
    let computed = raise.replace(r#""timeout""#, r#"{"@expr":"event.type"}"#);
    let cancel = r#"{"type":"@xstate.cancel","id":"timeuot"}"#;
    let send = |to: &str| with(&format!(r#""entry":{{"type":"@xstate.sendTo","to":"{to}","event":{{"type":"E"}}}}"#));
    let endless = r#""always":{"actions":{"type":"@xstate.assign","context":{"n":1}}}"#;
    let cases = [
        (with(endless), "endless_always"),
        (with(r#""always":{}"#), "idle_always"),
        (with(r#""on":{"a.*.b":"b"}"#), "literal_wildcard"),
        (with(r#""on":{"*.a":"b"}"#), "literal_wildcard"),
        (with(r#""on":{"a*":"b"}"#), "literal_wildcard"),
        (with(r#""on":{"E":""}"#), "empty_target"),
        (with(r#""on":{"E":["b",{"target":["b",""]}]}"#), "empty_target"),
        (with(&format!(r#""entry":[{raise},{cancel}]"#)), "unknown_delayed_event"),
        (send("child"), "unknown_child"),
        (with(r#""entry":{"type":"@xstate.stopChild","id":"child"}"#), "unknown_child"),
    ];
    for (source, code) in cases {
        let found = findings(&source);
        assert!(found.iter().any(|found| found.code == code), "{source} gives {found:?}, not {code}");
    }
    let fine = [
        with(r#""on":{"*":"b","a.*":"b"},"always":{"actions":"report"}"#),
        with(&format!(r#""entry":[{computed},{cancel}]"#)),
        send("#_parent"),
        send("#_internal"),
    ];
    for source in fine {
        assert_eq!(findings(&source), [], "{source}");
    }
}

#[test]
fn text_that_is_nearly_json_is_told_how_to_be() {
    let places = |source: &str| {
        let found = findings(source).remove(0);
        (found.code, found.line, found.column, found.message)
    };
    let comma = "nothing follows this comma: remove the comma".to_owned();
    assert_eq!(places("{\"a\":1,\n}"), ("malformed_json", 1, 7, comma.clone()));
    assert_eq!(places("{\"a\":[1, ]}"), ("malformed_json", 1, 8, comma));
    assert!(places("\u{feff}{}").3.contains("byte order mark"));
}

#[test]
fn what_only_looks_like_a_mistake_is_accepted() {
    let sources = [
        with(r#""entry":["emit",{"type":"cancel"},{"type":"cancel","params":{"id":1}},{"type":"log"}]"#),
        r#"{"id":"m","on":{"E":{}},"types":{},"actors":{}}"#.to_owned(),
        r#"{"id":"m","guards":{"and":{"@expr":"true"}},"on":{"E":{"guard":{"type":"and"},"actions":"x"}}}"#.to_owned(),
    ];
    for source in sources {
        assert_eq!(findings(&source), [], "{source}");
    }
    let constant = with(r#""entry":{"type":"@xstate.assign","context":{"n":{"expr":"1 + 1"}}}"#);
    assert_eq!(findings(&constant)[0].code, "constant_expr");
}

#[test]
fn an_unknown_key_beside_the_one_that_it_is_like_says_so() {
    let found = findings(&with(r#""on":{"E":"b"},"onn":{"F":"b"}"#));
    let onn = found.iter().find(|found| found.code == "unknown_key").unwrap();
    assert_eq!(onn.hint.as_deref(), Some("it is ignored; \"on\", which it is like, is here too"), "{found:?}");
}

#[test]
fn places_are_exact() {
    let source = "{\n  \"initial\": \"a\",\n  \"states\": {\n    \"a\": {\n      \"on\": { \"E\": [{ \"target\": \"b\", \"guard\": { \"@expr\": \"contex.n > 1\" } }] }\n    },\n    \"b\": {}\n  }\n}";
    let found = findings(source);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].path, "/states/a/on/E/0/guard/@expr");
    // The column is that of the name inside the expression.
    assert_eq!((found[0].line, found[0].column), (5, 59));
    assert!(found[0].is_error());
}

#[test]
fn several_mistakes_are_reported_at_once_in_the_order_of_the_text() {
    let source = r#"{"initial":"x","states":{"a":{"on":{"E":"y"}},"b":{"entry":{"type":"@xstate.nope"}}}}"#;
    let codes: Vec<&str> = findings(source).iter().map(|found| found.code).collect();
    assert_eq!(codes, ["unknown_target", "unknown_target", "unknown_action"]);
}

#[test]
fn the_hash_is_of_the_content() {
    let a = machine(r#"{"id":"m","initial":"a","states":{"a":{}}}"#);
    let b = machine("{ \"id\" : \"m\",\n \"initial\":\"a\", \"states\":{\"a\":{}} }");
    let c = machine(r#"{"id":"m","initial":"a","states":{"a":{"tags":"x"}}}"#);
    assert_eq!(a.hash(), b.hash());
    assert_ne!(a.hash(), c.hash());
}

const CHART: &str = r#"{"id":"light","initial":"red","states":{
    "red":{"entry":"stop","after":{"500":"green"}},
    "green":{"initial":"on","states":{"on":{"on":{"BLINK":{"target":"off","guard":{"@expr":"context.n > 1"}}}},"off":{}},"on":{"NEXT":"red"}}},
    "context":{"n":1}}"#;

#[test]
fn a_chart_is_drawn_with_its_state_marked() {
    let machine = machine(CHART);
    let mermaid = machine.draw_paths(DrawFormat::Mermaid, &["green.on"]).unwrap();
    for part in [
        "stateDiagram-v2",
        "state \"red\" as s1",
        "s1 : entry / stop",
        "s1 --> s2 : after 500",
        "s3 --> s4 : BLINK [context.n > 1]",
        "class s3 active",
    ] {
        assert!(mermaid.contains(part), "{part} is missing in\n{mermaid}");
    }
    assert!(!mermaid.contains("class s1 active"));
    let dot = machine.draw_paths(DrawFormat::Dot, &["red"]).unwrap();
    for part in ["digraph \"light\" {", "s1 -> i2 [label=\"after 500\", lhead=cluster_2];", "fillcolor=\"#fde68a\""] {
        assert!(dot.contains(part), "{part} is missing in\n{dot}");
    }
    assert_eq!(machine.draw_paths(DrawFormat::Dot, &["blue"]), Err(DrawError::UnknownState("blue")));
}

/// Both drawings of a definition, each line without its indentation.
fn drawings(source: &str) -> [Vec<String>; 2] {
    let machine = machine(source);
    [DrawFormat::Mermaid, DrawFormat::Dot].map(|format| {
        let drawing = machine.draw_paths(format, &[]).unwrap();
        drawing.lines().map(|line| line.trim().to_owned()).collect()
    })
}

fn assert_has(drawing: &[String], lines: &[&str]) {
    for line in lines {
        assert!(drawing.iter().any(|drawn| drawn == line), "{line} is missing in\n{}", drawing.join("\n"));
    }
}

#[test]
fn regions_of_the_root_stand_inside_a_state() {
    let [mermaid, _] = drawings(r#"{"id":"m","type":"parallel","states":{"a":{},"b":{}}}"#);
    let at = |text: &str| mermaid.iter().position(|line| line == text).unwrap();
    assert!(at("state s0 {") < at("--") && at("--") < at("}"), "{mermaid:?}");
}

#[test]
fn a_transition_of_the_root_is_an_arrow_that_is_not_a_leafs() {
    let source = r##"{"id":"m","initial":"a","on":{"RESET":".a","AGAIN":{"target":"#m"},"NOTE":{"actions":"note"}},
        "entry":"begin","states":{"a":{"on":{"UP":{"target":"#m"}}}}}"##;
    let [mermaid, dot] = drawings(source);
    assert_has(&mermaid, &["state \"m as a whole\" as w0", "w0 : entry / begin", "w0 : NOTE / note"]);
    assert_has(&mermaid, &["w0 --> s1 : RESET", "w0 --> w0 : AGAIN", "s1 --> w0 : UP"]);
    assert_has(&dot, &["w0 -> s1 [label=\"RESET\"];", "w0 -> w0 [label=\"AGAIN\"];", "s1 -> w0 [label=\"UP\"];"]);
    let whole = r#"w0 [label="m as a whole\nentry / begin\nNOTE / note", style="rounded,filled,dashed"];"#;
    assert_has(&dot, &[whole]);
}

#[test]
fn a_forbidden_event_is_no_arrow() {
    let [mermaid, dot] = drawings(&with(r#""on":{"X":{},"Y":{"guard":{"@expr":"true"}},"Z":{"actions":"z"}}"#));
    assert_has(&mermaid, &["s1 : X forbidden", "s1 : Y [true] forbidden", "s1 : Z / z"]);
    assert!(!mermaid.iter().any(|line| line.starts_with("s1 --> s1")), "{mermaid:?}");
    assert_has(&dot, &[r#"s1 [label="a\nX forbidden\nY [true] forbidden\nZ / z", fillcolor="white"];"#]);
}

#[test]
fn mermaids_own_signs_are_written_as_numbers() {
    let [mermaid, _] = drawings(&with(r#""on":{"a:b;c#d":"b"}"#));
    assert_has(&mermaid, &["s1 --> s2 : a:b#59;c#35;d"]);
}

#[test]
fn a_history_state_shows_its_default_and_is_never_active() {
    let source = r#"{"id":"m","initial":"a","on":{"BACK":".a.h"},"states":{"a":{"initial":"b",
        "states":{"b":{},"c":{},"h":{"type":"history","target":"c"}}}}}"#;
    let [mermaid, dot] = drawings(source);
    assert_has(&mermaid, &["s4 --> s3 : default"]);
    assert_has(&dot, &["s4 -> s3 [label=\"default\"];"]);
    assert_eq!(machine(source).draw_paths(DrawFormat::Dot, &["a.h"]), Err(DrawError::UnknownState("a.h")));
}

#[test]
fn an_explanation_says_which_guard_said_no() {
    let machine = machine(CHART);
    let mut out = Output::new();
    let mut instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
    machine.fire_next(&mut instance, Millis(500), &mut out).unwrap().unwrap();
    let explained = machine.explain(&instance, &Event::named("BLINK"), Millis(600)).unwrap();
    assert_eq!(explained.candidates.len(), 1);
    assert_eq!(explained.candidates[0].reason.as_deref(), Some("the guard context.n > 1 is false"));
    assert_eq!(explained.candidates[0].path, "/states/green/states/on/on/BLINK");
    assert!(!explained.outcome.as_ref().unwrap().changed);
    let explained = machine.explain(&instance, &Event::named("NEXT"), Millis(600)).unwrap();
    assert!(explained.candidates[0].taken);
    assert_eq!(explained.outcome.unwrap().value.to_string(), "\"red\"");
    assert_eq!(machine.state_value(&instance).to_string(), r#"{"green":"on"}"#, "explaining changes nothing");
    let unknown = machine.explain(&instance, &Event::named("NOPE"), Millis(600)).unwrap();
    assert!(unknown.to_string().contains("they react to NEXT, BLINK"), "{unknown}");
}

#[test]
fn an_explanation_shows_the_expression_of_a_named_guard() {
    let machine = machine(
        r#"{"context":{"n":1},"guards":{"calm":{"@expr":"event.n > 3"},"big":{"@expr":"context.n > 9"},"small":{"@expr":"context.n < 9"}},"on":{
            "E":[{"guard":{"type":"xstate.and","guards":["calm","big"]}},{"guard":{"type":"xstate.not","guards":["small"]}},
                {"guard":"small"}],
            "F":{"guard":{"@expr":"context.n > 0"}}}}"#,
    );
    let instance = machine.start(Payload::Empty, Millis(0), &mut Output::new()).unwrap();
    let explained = |kind: &str, text: &str| {
        let event = Event { kind, payload: Payload::Json(text.as_bytes()) };
        machine.explain(&instance, &event, Millis(0)).unwrap().candidates
    };
    let named = |body: &[(&str, &str)]| -> Vec<(String, String)> {
        body.iter().map(|(name, body)| ((*name).to_owned(), (*body).to_owned())).collect()
    };
    let found = explained("E", r#"{"type":"E","n":5}"#);
    assert_eq!(found[0].reason.as_deref(), Some("the guard big is false: context.n > 9"));
    assert_eq!(found[0].guard.as_deref(), Some("(calm && big)"));
    assert_eq!(found[0].guards, named(&[("calm", "event.n > 3"), ("big", "context.n > 9")]));
    assert_eq!(found[1].reason.as_deref(), Some("the guard !small is false, where small is context.n < 9"));
    assert!(found[2].taken && found[2].guards == named(&[("small", "context.n < 9")]));
    let found = explained("E", r#"{"type":"E"}"#);
    let failed = "the guard (calm && big) failed: no such key: n, in event.n > 3";
    assert_eq!(found[0].reason.as_deref(), Some(failed));
    assert_eq!(explained("F", r#"{"type":"F"}"#)[0].guards, [], "the guard is the expression itself");
}

#[test]
fn an_explanation_shows_what_changes_in_the_context() {
    let machine = machine(
        r#"{"context":{"n":1,"kept":0},"on":{"E":{"actions":{"type":"@xstate.assign",
            "context":{"n":{"@expr":"context.n + 1"},"new":true}}}}}"#,
    );
    let instance = machine.start(Payload::Empty, Millis(0), &mut Output::new()).unwrap();
    let explained = machine.explain(&instance, &Event::named("E"), Millis(0)).unwrap().to_value().to_string();
    let context = r#""context":{"n":{"before":1,"after":2},"new":{"after":true}}"#;
    assert!(explained.contains(context), "{explained}");
}

#[test]
fn the_schema_is_json() {
    let schema = json_schema();
    let parsed: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert!(parsed["$defs"]["state"]["properties"]["always"].is_object());
}

#[test]
fn what_is_no_machine_is_refused() {
    let package = r#"{"name":"app","version":"1.0.0","description":"a package","scripts":{"test":"node"}}"#;
    for (source, message) in [("{}", "the document is empty"), (package, "this is no machine")] {
        let found = findings(source);
        let refused = found.iter().find(|found| found.code == "not_a_machine").unwrap_or_else(|| panic!("{found:?}"));
        assert!(refused.is_error() && refused.message.starts_with(message) && refused.hint.is_some(), "{refused}");
    }
}

#[test]
fn what_a_machine_should_have_is_asked_for() {
    let timers = |timers: &str| {
        format!(
            r#"{{"id":"m","initial":"a","states":{{"a":{{{timers}}},"b":{{}},"c":{{}}}},"on":{{"C":".c","B":".b"}}}}"#
        )
    };
    let guard = |guard: &str| {
        format!(r#"{{"id":"m","context":{{"n":0}},"on":{{"E":{{"guard":{{"@expr":"{guard}"}},"actions":"x"}}}}}}"#)
    };
    let cases = [
        (r#"{"initial":"a","states":{"a":{}}}"#.to_owned(), "no_id"),
        (r#"{"id":"m"}"#.to_owned(), "no_states"),
        (r#"{"id":"m","context":{"n":1}}"#.to_owned(), "no_states"),
        (r#"{"id":"m","initial":"a","states":{"a":{"type":"final","output":1}}}"#.to_owned(), "no_root_output"),
        (guard("context.n + event.by > 3"), "untyped_field"),
        (guard("-event.by > 3"), "untyped_field"),
        (timers(r#""after":{"100":"b","200":"c"}"#), "unreachable_timer"),
        (timers(r#""after":{"100":"b"},"always":"c""#), "unreachable_timer"),
        (timers(r#""timeout":200,"onTimeout":"c","after":{"100":"b"}"#), "unreachable_timer"),
        (
            timers(r#""after":{"100":"b"},"initial":"x","states":{"x":{"after":{"200":"y"}},"y":{}},"on":{"Y":".y"}"#),
            "unreachable_timer",
        ),
    ];
    for (source, code) in cases {
        let found = findings(&source);
        let codes: Vec<_> = found.iter().map(|found| found.code).collect();
        assert!(
            codes.contains(&code) && !found.iter().any(Diagnostic::is_error),
            "{source} gives {codes:?}, not {code}"
        );
    }
    let fine = [
        r#"{"id":"m","on":{"E":{"actions":"x"}}}"#.to_owned(),
        r#"{"id":"m","initial":"a","output":{"@expr":"event.output"},"states":{"a":{"type":"final","output":1}}}"#
            .to_owned(),
        guard("has(event.by) && context.n + event.by > 3"),
        guard("type(event.by) == int && context.n + event.by > 3"),
        guard("event.by > 3"),
        guard("double(event.by) + 1.0 > 3.0"),
        timers(r#""after":{"100":{"target":"b","guard":{"@expr":"true"}},"200":"c"}"#),
        timers(r#""after":{"100":{"actions":"x"},"200":"c"}"#),
        timers(r#""after":{"200":"c","100":"b"},"on":{"*":{"actions":"x"}}"#),
    ];
    for source in fine {
        assert_eq!(findings(&source), [], "{source}");
    }
}

/// The fast path, the slow path (a parallel state), and one by wildcards.
#[test]
fn what_a_state_forbids_is_handled_and_what_nothing_reacts_to_is_not() {
    let inner = r#""a":{"on":{"NO":{},"IF":{"guard":{"type":"never"},"target":"b"},"GO":"b"}},"b":{}"#;
    let rest = r#""guards":{"never":{"@expr":"false"}}"#;
    let plain = format!(r#"{{"id":"m",{rest},"initial":"a","states":{{{inner}}}}}"#);
    let regions = format!(
        r#"{{"id":"m",{rest},"type":"parallel","states":{{"x":{{"initial":"a","states":{{{inner}}}}},"y":{{"initial":"c","states":{{"c":{{}}}}}}}}}}"#
    );
    for source in [plain, regions] {
        let machine = machine(&source);
        let mut out = Output::new();
        let mut instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
        let mut send = |kind| {
            let step =
                machine.send(&mut instance, &Event { kind, payload: Payload::Empty }, Millis(0), &mut out).unwrap();
            (step.changed, step.handled)
        };
        let told = ["NO", "IF", "NONE", "GO", "GO"].map(&mut send);
        assert_eq!(told, [(false, true), (false, false), (false, false), (true, true), (false, false)], "{source}");
    }
    let wild = machine(r#"{"id":"m","initial":"a","states":{"a":{"on":{"order.*":{}}}}}"#);
    let mut instance = wild.start(Payload::Empty, Millis(0), &mut Output::new()).unwrap();
    let event = Event { kind: "order.paid", payload: Payload::Empty };
    assert!(wild.send(&mut instance, &event, Millis(0), &mut Output::new()).unwrap().handled);
}

#[test]
fn an_instance_is_in_each_state_on_its_path_and_has_its_tags() {
    let machine = machine(
        r#"{"id":"m","type":"parallel","states":{
            "x":{"initial":"a","states":{"a":{"initial":"b.c","tags":"busy","states":{"b.c":{}}},"b.c":{}}},
            "y":{"initial":"d","states":{"d":{},"e":{"tags":"late"}}}}}"#,
    );
    let instance = machine.start(Payload::Empty, Millis(0), &mut Output::new()).unwrap();
    let is_in = |path: &str| machine.is_in(&instance, path);
    assert!(["x", "x.a", "x.a.b.c", "y", "y.d"].into_iter().all(is_in));
    assert!(!["", "a", "x.", "x.b.c", "x.a.b", "y.e", "y.d.f", "z"].into_iter().any(is_in));
    assert!(machine.has_tag(&instance, "busy") && !machine.has_tag(&instance, "late"));
    assert!(["x", "x.a.b.c", "y.e"].into_iter().all(|path| machine.has_state(path)));
    assert!(!["", "a", "x.", "x.a.b", "z"].into_iter().any(|path| machine.has_state(path)));
    assert!(machine.knows_tag("late") && !machine.knows_tag("lat"));
    let meant = ["e", "x.a.bc", "X.A", "nothing.like.it"].map(|path| machine.state_like(path));
    assert_eq!(meant.each_ref().map(Option::as_deref), [Some("y.e"), Some("x.a.b.c"), Some("x.a"), None]);
    assert_eq!((machine.tag_like("lste"), machine.tag_like("nothing")), (Some("late"), None));
}

/// The warning of this code, if there is one: its place, message and hint.
fn warned(source: &str, code: &str) -> Option<(String, String, String)> {
    let found = findings(source).into_iter().find(|found| found.code == code)?;
    assert!(!found.is_error(), "{found}");
    Some((found.path, found.message, found.hint.unwrap_or_default()))
}

/// An invoke with a timeout and this, and what else its state has.
fn with_timeout(invoke: &str, more: &str) -> String {
    let child = format!(r#"{{"src":"c","id":"k","timeout":"PT1H","onTimeout":"u"{invoke}}}"#);
    let second = r#"{"src":"c","id":"l","timeout":"PT2H","onTimeout":"v","onDone":"t","onError":"v"}"#;
    let states = format!(r#""s":{{"invoke":[{child},{second}]{more}}},"t":{{}},"u":{{}},"v":{{}}"#);
    format!(r#"{{"id":"p","initial":"s","states":{{{states}}}}}"#)
}

#[test]
fn what_ends_a_timeout_is_no_transition_that_could_be_left_out() {
    let child = Machine::compile(br#"{"id":"c"}"#, &Limits::default(), &|_| None).unwrap().machine;
    let never_taken = |source: &str| -> Vec<String> {
        let compiled = Machine::compile(source.as_bytes(), &Limits::default(), &|_| Some(child.clone())).unwrap();
        compiled.warnings.into_iter().filter(|found| found.code == "never_taken").map(|found| found.path).collect()
    };
    let guarded = r#","onDone":[{"guard":{"@expr":"event.output == 1"},"target":"t"}"#;
    for source in [
        with_timeout(r#","onDone":"t""#, ""),
        with_timeout(r#","onDone":{}"#, ""),
        with_timeout(&format!(r#"{guarded},"u"]"#), ""),
        with_timeout(&format!("{guarded}]"), ""),
        with_timeout(r#","onDone":"t","onError":"v","onSnapshot":{}"#, ""),
        with_timeout("", r#","timeout":"PT3H","onTimeout":"v","onDone":"t""#),
        with_timeout("", r#","on":{"xstate.done.actor":{"target":"t","guard":{"@expr":"event.output == 2"}}}"#),
    ] {
        assert_eq!(never_taken(&source), [""; 0], "{source}");
    }
    let twice = with_timeout(r#","onDone":["t","u"]"#, "");
    assert_eq!(never_taken(&twice), ["/states/s/invoke/0/onDone/1"], "and one that is written is named");
    let above = r#","on":{"xstate.done.actor":"t"}"#;
    assert_eq!(
        never_taken(&with_timeout("", above)),
        ["/states/s/invoke/1/onDone"],
        "not what ends the first one's time"
    );
}

#[test]
fn what_stately_studio_writes_in_braces_has_a_hint_that_is_right() {
    let guard = |text: &str| {
        with(&format!(r#""on":{{"E":{{"target":"b","guard":{text}}}}}"#))
            .replace(r#"{"id":"m""#, r#"{"id":"m","context":{"n":1}"#)
    };
    let hints = |source: &str| findings(source).into_iter().filter_map(|found| found.hint).collect::<Vec<_>>();
    for (text, instead) in [
        (r#""{{ context.n > 3 }}""#, r#"context.n > 3"#),
        (r#""{{context.n === 3 && event.k !== 1}}""#, r#"context.n == 3 && event.k != 1"#),
        (r#""context.n === 3""#, r#"context.n == 3"#),
    ] {
        let told = hints(&guard(text));
        assert!(told[0].contains(&format!(r#"{{"@expr": "{instead}"}}"#)), "{text}: {told:?}");
        assert_eq!(findings(&guard(&format!(r#"{{"@expr":"{instead}"}}"#))), [], "the hint is right");
    }
    let told = hints(&guard(r#"{"@expr":"{{ context.n > 3 }}"}"#));
    assert!(told[0].contains("{{ }}") && told[0].contains("\"context.n > 3\""), "{told:?}");
    let code = "{{ ({context}) => context.n > 3 }}";
    let places = [guard(&format!("{code:?}")), guard(&format!(r#"{{"@expr":{code:?}}}"#))];
    let assigned = with(&format!(r#""entry":{{"type":"@xstate.assign","context":{{"n":{code:?}}}}}"#));
    for source in places.iter().chain([&assigned]) {
        let told = hints(source);
        assert!(told[0].contains("`statemesh import xstate`") && !told[0].contains("=>"), "{source}: {told:?}");
    }
    let plain = hints(&guard(r#"{"@expr":"context.n >"}"#));
    assert!(plain.iter().all(|hint| !hint.contains("{{")), "{plain:?}");
}

#[test]
fn an_expression_that_is_only_text_is_worth_a_warning() {
    let assign = |value: &str| with(&format!(r#""entry":{{"type":"@xstate.assign","context":{{"n":{value}}}}}"#));
    for (value, instead) in [
        (r#""context.n + 1""#, r#"{"@expr": "context.n + 1"}"#),
        (r#""event.amount""#, r#"{"@expr": "event.amount"}"#),
        (r#""{{ context.n + 1 }}""#, r#"{"@expr": "context.n + 1"}"#),
        (r#"{"deep":["{{event.a === 1}}"]}"#, r#"{"@expr": "event.a == 1"}"#),
        (r#"{"deep":[{"@expr":"context.n"},"size(event.list)"]}"#, r#"{"@expr": "size(event.list)"}"#),
    ] {
        let Some((path, message, hint)) = warned(&assign(value), "constant_expr") else { panic!("{value}") };
        assert!(path.starts_with("/states/a/entry/context/n") && message.contains("text"), "{path}: {message}");
        assert!(hint.contains(instead), "{value}: {hint}");
    }
    let event = with(r#""entry":{"type":"@xstate.raise","event":{"type":"E","n":"context.n"}}"#);
    assert!(warned(&event, "constant_expr").is_some());
}

#[test]
fn text_that_only_looks_like_an_expression_is_not_warned_of() {
    for value in [
        r#""see context. and event.""#,
        r#""the event.type was wrong""#,
        r#""context""#,
        r#""event""#,
        r#""'context.n'""#,
        r#""1 + 1""#,
        r#""a.b""#,
        r#""params.n""#,
        r#""{{ name }}""#,
        r#""Dear {{ event.name }}, hello""#,
        r#"{"@expr":"'context.n'"}"#,
    ] {
        let source = with(&format!(r#""entry":{{"type":"@xstate.assign","context":{{"n":{value}}}}}"#));
        assert_eq!(warned(&source, "constant_expr"), None, "{value}");
    }
}

/// Places where text is data to a program, or to a reader of the log, with this as such a text.
fn as_data(text: &str) -> [String; 5] {
    let action = |action: &str| with(&format!(r#""entry":{action}"#));
    let guard = with(&format!(r#""on":{{"E":{{"target":"b","guard":{{"type":"few","params":{{"n":{text}}}}}}}}}"#));
    [
        action(&format!(r#"{{"type":"mail","params":{{"to":{{"deep":[{text}]}}}}}}"#)),
        action(&format!(r#"{{"type":"mail","params":{text}}}"#)),
        action(&format!(r#"{{"type":"@xstate.log","args":["n is",{text}]}}"#)),
        action(&format!(r#"{{"type":"named","params":{{"n":{text}}}}}"#))
            .replace(r#"{"id":"m""#, r#"{"id":"m","actions":{"named":"mail"}"#),
        guard.replace(r#"{"id":"m""#, r#"{"id":"m","guards":{"few":{"@expr":"params.n < 1"}}"#),
    ]
}

#[test]
fn what_is_handed_on_as_text_and_begins_as_an_expression_is_worth_a_warning() {
    for text in
        [r#""context.wrong""#, r#""event.amount + 1""#, r#""context.a.b[0] > 2 ? 'x' : 'y'""#, r#"" context.n""#]
    {
        for source in as_data(text) {
            let Some((path, _, hint)) = warned(&source, "constant_expr") else { panic!("{source}") };
            assert!(path.contains("/params") || path.ends_with("/args/1"), "{path}");
            assert!(hint.contains("@expr") && hint.contains("where the text itself is meant"), "{hint}");
        }
    }
    for text in [
        r#""text""#,
        r#""context""#,
        r#""event. Nothing else""#,
        r#""context.n is too small""#,
        r#""see context.n""#,
        r#""size(event.list)""#,
        r#""event.json""#,
        r#""context.tar.gz""#,
        r#""event.log""#,
        r#""events.created""#,
        r#""Dear {{ event.name }}""#,
        r#""{{ event.name }}""#,
        r#""https://context.example/x""#,
        r#"{"@expr":"'context.n'"}"#,
        r#"{"@expr":"'a'"}"#,
    ] {
        for source in as_data(text) {
            assert_eq!(warned(&source, "constant_expr"), None, "{source}");
        }
    }
    let known = as_data(r#""context.log""#)[0].replace(r#"{"id":"m""#, r#"{"id":"m","context":{"log":1}"#);
    assert!(warned(&known, "constant_expr").is_some(), "it is a key of the context");
}

/// Two states that lead to each other, by these members.
fn between(a: &str, b: &str, more: &str) -> String {
    format!(r#"{{"id":"m"{more},"initial":"a","states":{{"a":{{{a}}},"b":{{{b}}}}}}}"#)
}

#[test]
fn a_loop_without_time_is_named_and_a_guard_on_it_too() {
    let endless = |source: &str| warned(source, "endless_after").map(|(_, message, _)| message);
    let guarded = r#""after":{"0":{"target":"b","guard":{"@expr":"context.on"}}}"#;
    let context = r#","context":{"on":true,"n":0}"#;
    let found = endless(&between(guarded, r#""after":{"0":"a"}"#, context)).unwrap();
    assert!(found.contains("as long as the guard holds"), "{found}");
    let found = endless(&between(r#""after":{"0":"b"}"#, r#""after":{"0":"a"}"#, "")).unwrap();
    assert!(found.contains("without end"), "{found}");
    let raise = |event: &str| format!(r#"{{"type":"@xstate.raise","event":{{"type":"{event}"}},"delay":0}}"#);
    let raising =
        |event: &str, on: &str, target: &str| format!(r#""entry":{},"on":{{"{on}":"{target}"}}"#, raise(event));
    let found = endless(&between(&raising("GO", "GO", "b"), &raising("BACK", "BACK", "a"), "")).unwrap();
    assert!(found.contains("without end"), "{found}");
    let tick = format!(r#""on":{{"TICK":{{"actions":{},"guard":{{"@expr":"context.on"}}}}}}"#, raise("TICK"));
    let found = endless(&between(&tick, "", context).replace(r#""b":{}"#, r#""b":{"on":{"X":"a"}}"#)).unwrap();
    assert!(found.contains("as long as the guard holds"), "{found}");
    let named = tick.replace(&raise("TICK"), r#""again""#);
    let more = format!(r#"{context},"actions":{{"again":{}}}"#, raise("TICK"));
    assert!(endless(&between(&named, "", &more)).is_some(), "by a named action");
}

#[test]
fn a_loop_without_time_that_ends_by_itself_is_not_named() {
    let count = r#"{"type":"@xstate.assign","context":{"n":{"@expr":"context.n + 1"}}}"#;
    let context = r#","context":{"on":true,"n":0},"guards":{"few":{"@expr":"context.n < 9"}}"#;
    let after =
        |delay: &str, target: &str, more: &str| format!(r#""after":{{"{delay}":{{"target":"{target}"{more}}}}}"#);
    let few = r#","guard":"few""#;
    let counting = format!(r#","actions":{count}"#);
    for (a, b) in [
        (after("0", "b", few), after("0", "a", &counting)),
        (after("0", "b", few), format!(r#"{},"entry":{count}"#, after("0", "a", ""))),
        (after("0", "b", ""), after("5", "a", "")),
        (after("0", "b", ""), r#""on":{"E":"a"}"#.to_owned()),
        (
            r#""entry":{"type":"@xstate.raise","event":{"type":"E"},"delay":0},"on":{"E":"b"}"#.to_owned(),
            r#""on":{"F":"a"}"#.to_owned(),
        ),
    ] {
        assert_eq!(warned(&between(&a, &b, context), "endless_after"), None, "{a} {b}");
    }
}
