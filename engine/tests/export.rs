//! A definition written for XState 6 or 5 means the same, also here; what the other side cannot have is said.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use serde_json::{Value, json};
use statemesh_engine::{ExportFormat, Exported, Limits, Machine, OTHERWISE, import, import_as, simulate_batch_line};

fn features() -> Vec<Value> {
    let all: Vec<Value> = serde_json::from_str(include_str!("../../tests/oracle/xstate6.json")).unwrap();
    all.into_iter().filter(|feature| feature["refused"].is_null()).collect()
}

fn exported(feature: &Value, format: ExportFormat) -> Exported {
    let limits = Limits::default();
    let find = |name: &str| {
        let source = feature["machines"].get(name)?.to_string();
        Machine::compile(source.as_bytes(), &limits, &|_| None).ok().map(|compiled| compiled.machine)
    };
    Machine::compile(feature["machine"].to_string().as_bytes(), &limits, &find).unwrap().machine.export(format)
}

fn snapshots(feature: &Value) -> Value {
    let answer = simulate_batch_line(feature.to_string().as_bytes(), &Limits::default());
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert!(answer["snapshots"].is_array(), "{answer}");
    answer
}

#[test]
fn what_is_exported_means_the_same_here() {
    for format in [ExportFormat::XState6, ExportFormat::XState5] {
        for feature in features() {
            let exported = exported(&feature, format);
            if !exported.lost.is_empty() {
                continue;
            }
            let mut again = feature.clone();
            again["machine"] = serde_json::from_str(&exported.text).unwrap();
            assert_eq!(
                snapshots(&again),
                snapshots(&feature),
                "{} for {format:?}:\n{}",
                feature["name"],
                exported.text
            );
        }
    }
}

#[test]
fn nothing_of_the_table_is_lost_for_xstate_6() {
    for feature in features() {
        let lost = exported(&feature, ExportFormat::XState6).lost;
        assert!(lost.is_empty(), "{}: {lost:?}", feature["name"]);
    }
}

/// The exported text of a definition as data, and the places of what is lost.
fn written(definition: &Value, format: ExportFormat) -> (Value, Vec<String>) {
    let exported = exported(&json!({"machine": definition}), format);
    let lost = exported.lost.into_iter().map(|lost| lost.path).collect();
    (serde_json::from_str(&exported.text).unwrap(), lost)
}

#[test]
fn shorthands_are_written_out_for_xstate_6() {
    let definition = json!({"id": "m", "@statemesh": {"faults": "fail"}, "initial": {"target": "a"}, "context": {"n": 0},
        "guards": {"g": {"@expr": "context.n > 1"}, "h": {"when": {"@expr": "event.ok"}},
            "in": {"when": {"type": "xstate.stateIn", "id": "m.b"}}, "out": {"when": {"type": "xstate.not", "guards": ["in"]}}},
        "delays": {"soon": "2s"}, "output": {"n": [{"@expr": "context.n"}]},
        "states": {
            "a": {"tags": "t", "entry": "ring", "on": {"E": "b", "F": ["b"],
                "G": {"guard": {"type": "xstate.and", "guards": ["g", {"type": "xstate.not", "guards": ["h"]}]}, "target": "b"}}},
            "b": {"initial": "x", "onDone": "a", "states": {"x": {"on": {"H": "f"}}, "f": {"type": "final"}, "h": {"history": true}},
                "entry": {"type": "@xstate.raise", "event": {"type": "E"}, "delay": "soon", "id": "i"}}}});
    let (found, lost) = written(&definition, ExportFormat::XState6);
    assert_eq!(lost, Vec::<String>::new());
    assert_eq!(found["initial"], "a");
    assert_eq!(found["meta"], json!({"statemesh": {"faults": "fail"}}));
    assert_eq!(found["guards"]["g"], json!({"when": {"@expr": "context.n > 1"}}));
    let is_in = json!({"type": "xstate.stateIn", "params": {"stateId": "#m.b"}});
    assert_eq!(found["guards"]["out"]["when"], json!({"type": "xstate.not", "params": {"guard": is_in}}));
    assert_eq!(found["delays"], json!({"soon": {"duration": 2000}}));
    assert_eq!(found["output"], json!({"@expr": "{\"n\": [(context.n)]}"}));
    let a = &found["states"]["a"];
    assert_eq!((&a["tags"], &a["entry"]), (&json!(["t"]), &json!([{"type": "ring"}])));
    assert_eq!((&a["on"]["E"], &a["on"]["F"]), (&json!({"target": "b"}), &json!([{"target": "b"}])));
    assert_eq!(a["on"]["G"]["guard"], json!({"@expr": "((context.n > 1) && (!(event.ok)))"}));
    let b = &found["states"]["b"];
    assert_eq!(b["on"]["xstate.done.state"], json!([{"matches": {"stateId": "m.b"}, "target": "a"}]));
    assert_eq!(b["states"]["h"], json!({"history": "shallow", "type": "history", "target": "#m.b.x"}));
    assert_eq!(b["entry"][0]["delay"], 2000);
}

#[test]
fn what_is_our_own_comes_back() {
    let definition =
        json!({"id": "m", "@statemesh": {"faults": "fail"}, "meta": {"a": 1}, "on": {"E": {"actions": "x"}}});
    let (exported, _) = written(&definition, ExportFormat::XState5);
    assert_eq!(exported.get("@statemesh"), None);
    let back = import(exported.to_string().as_bytes(), &Limits::default()).unwrap();
    let back: Value = serde_json::from_str(&back).unwrap();
    assert_eq!((&back["@statemesh"], &back["meta"]), (&definition["@statemesh"], &definition["meta"]));
    assert_eq!(import(b"[1", &Limits::default()).unwrap_err().code, "malformed_json");
}

#[test]
fn what_the_other_side_cannot_have_is_said_with_its_place() {
    let send = json!({"type": "@xstate.sendTo", "event": {"type": "E"}});
    let definition = json!({"id": "m", "initial": "a", "states": {"a": {"entry": send, "onError": "b"}, "b": {}}});
    let (found, lost) = written(&definition, ExportFormat::XState6);
    assert_eq!((lost, &found["states"]["a"]["entry"]), (vec!["/states/a/entry".to_owned()], &json!([])));
    let (found, lost) = written(&definition, ExportFormat::XState5);
    assert_eq!((lost, &found["states"]["a"]["onError"]), (vec!["/states/a/onError".to_owned()], &Value::Null));
    // What is written and does something else there is not called missing, and has a way out.
    let count = json!({"type": "@xstate.assign", "context": {"n": {"@expr": "context.n + 1"}}});
    let say = json!({"type": "say", "params": {"n": {"@expr": "context.n"}}});
    let late = json!({"id": "m", "context": {"n": 0}, "entry": [count, say]});
    let machine = Machine::compile(late.to_string().as_bytes(), &Limits::default(), &|_| None).unwrap().machine;
    let lost = machine.export(ExportFormat::XState6).lost;
    assert_eq!((lost.len(), lost[0].code, lost[0].hint.is_some()), (1, OTHERWISE, true));
}

#[test]
fn scxml_has_the_same_chart_and_says_what_it_lacks() {
    let definition = json!({
        "id": "m", "context": {"n": 0, "s": "<x>"}, "initial": "a",
        "actions": {"count": {"type": "@xstate.assign", "context": {"n": {"@expr": "context.n + event.by"}}}},
        "states": {
            "a": {
                "tags": "t", "entry": ["count", {"type": "beep", "params": {"times": {"@expr": "context.n"}}}],
                "after": {"1s": "b"},
                "on": {"E": [{"guard": {"type": "xstate.and", "guards": [{"@expr": "context.n > 1"}, {"type": "xstate.stateIn", "id": "m.a"}]},
                              "target": "b"}],
                       "F": {"guard": {"@expr": "size(context.s) > 1"}, "target": "b"},
                       "G": {"target": "a", "actions": "count"}}
            },
            "b": {"initial": "x", "onDone": "c", "states": {"x": {"on": {"E": "y"}}, "y": {"type": "final"}}},
            "c": {"type": "final", "output": {"n": {"@expr": "context.n"}}}
        }
    });
    let source = definition.to_string();
    let machine = Machine::compile(source.as_bytes(), &Limits::default(), &|_| None).unwrap().machine;
    let Exported { text, lost } = machine.export(ExportFormat::Scxml);
    for part in [
        r#"<data id="s" expr="&quot;&lt;x&gt;&quot;"/>"#,
        r#"<assign location="n" expr="n + _event.data.by"/>"#,
        r#"<send event="beep" type="effect">"#,
        r#"<param name="times" expr="n"/>"#,
        r#"<send event="after.1" id="after.1" delay="1000ms"/>"#,
        r#"<cancel sendid="after.1"/>"#,
        r#"<transition event="after.1" target="m.b"/>"#,
        r#"<transition event="E" cond="(n &gt; 1) &amp;&amp; (In('m.a'))" target="m.b"/>"#,
        "<transition event=\"G\">\n",
        r#"<transition event="done.state.m.b" target="m.c"/>"#,
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let lost: Vec<&str> = lost.iter().map(|lost| lost.path.as_str()).collect();
    assert_eq!(lost, ["/states/a/on/F/guard", "/states/a/tags"]);
    // What needs no more than the import knows comes back.
    let context = json!({"n": 0, "list": [], "map": {}, "deep": [{"x": [1.5, "a\"b", null]}], "half": -0.5, "text": "it's \"so\""});
    let clear = json!({"type": "@xstate.assign", "context": {"list": [1], "map": {"k": true}}});
    let say = json!({"type": "say", "params": {"n": {"@expr": "context.n"}, "to": ["x"]}});
    let plain = json!({"id": "m", "context": context, "initial": "a",
        "states": {"a": {"entry": [clear, say, {"type": "beep"}], "on": {"E": {"guard": {"@expr": "context.n < 1"}, "target": "b"}}}, "b": {}}});
    let machine = Machine::compile(plain.to_string().as_bytes(), &Limits::default(), &|_| None).unwrap().machine;
    let back = statemesh_engine::import_scxml(&machine.export(ExportFormat::Scxml).text, &Limits::default()).unwrap();
    let first = |definition: &str| {
        let line = format!("{{\"machine\":{definition},\"events\":[]}}");
        let answer = simulate_batch_line(line.as_bytes(), &Limits::default());
        let first = serde_json::from_slice::<Value>(&answer).unwrap()["snapshots"][0].clone();
        json!([first["context"], first["effects"]])
    };
    assert_eq!(first(&back), first(&plain.to_string()));
    assert_eq!((&first(&back)[0]["list"], first(&back)[1].as_array().map(Vec::len)), (&json!([1]), Some(2)));
}

#[test]
fn data_whose_value_scxml_cannot_compute_is_there_without_one() {
    let read = |text: &str| json!({"type": "@xstate.assign", "context": {text: {"@expr": "context.level"}}});
    let definition = json!({"id": "m", "context": {"level": {"@expr": "input.level"}, "a-b": 1}, "initial": "a", "states": {
        "a": {"entry": [read("level"), read("made"), read("a-b")], "on": {"E": {"guard": {"@expr": "context.level > 1"}, "target": "b"}}}, "b": {}}});
    let machine = Machine::compile(definition.to_string().as_bytes(), &Limits::default(), &|_| None).unwrap().machine;
    let Exported { text, lost } = machine.export(ExportFormat::Scxml);
    assert!(text.contains(r#"<data id="level"/>"#), "{text}");
    let lost: Vec<&str> = lost.iter().map(|lost| lost.path.as_str()).collect();
    assert_eq!(
        lost,
        ["/context/level", "/context/a-b", "/states/a/entry", "/states/a/entry"],
        "what is missing is said"
    );
    let back =
        statemesh_engine::import_scxml(&text, &Limits::default()).unwrap_or_else(|refused| panic!("{refused}\n{text}"));
    let back: Value = serde_json::from_str(&back).unwrap();
    assert_eq!(back["context"], json!({"level": null}));
}

#[test]
fn another_id_is_the_machines_and_that_of_its_states() {
    let definition = json!({"id": "m", "context": {"of": "#m.a"}, "initial": "a", "states": {
        "a": {"on": {"E": "#m.b", "F": [{"target": ["#m"], "reenter": true, "guard": {"type": "xstate.stateIn", "id": "m.output"}}],
                     "G": {"actions": {"type": "say", "params": {"id": "#m.a"}}}, "xstate.done.state.m.b": "b"}},
        "b": {"initial": "x", "states": {"x": {"type": "final"}}},
        "output": {"on": {"E": "#mm", "F": "#m.a"}},
        "near": {"id": "mm"}
    }});
    let expected = json!({"id": "other", "context": {"of": "#m.a"}, "initial": "a", "states": {
        "a": {"on": {"E": "#other.b", "F": [{"target": ["#other"], "reenter": true, "guard": {"type": "xstate.stateIn", "id": "other.output"}}],
                     "G": {"actions": {"type": "say", "params": {"id": "#m.a"}}}, "xstate.done.state.other.b": "b"}},
        "b": {"initial": "x", "states": {"x": {"type": "final"}}},
        "output": {"on": {"E": "#mm", "F": "#other.a"}},
        "near": {"id": "mm"}
    }});
    let made = import_as(definition.to_string().as_bytes(), "other", &Limits::default()).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&made).unwrap(), expected);
    Machine::compile(made.as_bytes(), &Limits::default(), &|_| None).unwrap();
}

const EXAMPLES: [(&str, &str); 6] = [
    ("circuit-breaker", include_str!("../../examples/circuit-breaker/machine.json")),
    ("device", include_str!("../../examples/device/machine.json")),
    ("order", include_str!("../../examples/order/machine.json")),
    ("platform", include_str!("../../examples/platform/machine.json")),
    ("pod-lifecycle", include_str!("../../examples/pod-lifecycle/machine.json")),
    ("tcp", include_str!("../../examples/tcp/machine.json")),
];

#[test]
fn an_example_as_scxml_is_well_formed_and_what_does_not_come_back_is_said_with_its_place() {
    for (name, source) in EXAMPLES {
        let limits = Limits::default();
        let machine = Machine::compile(source.as_bytes(), &limits, &|_| None).unwrap().machine;
        let Exported { text, lost } = machine.export(ExportFormat::Scxml);
        for lost in lost {
            assert!(lost.line > 1 && lost.path.starts_with('/'), "{name}: {lost:?}");
        }
        match statemesh_engine::import_scxml(&text, &limits) {
            Ok(back) => drop(Machine::compile(back.as_bytes(), &limits, &|_| None).unwrap()),
            Err(refused) => {
                let line = text.lines().nth(refused.line as usize - 1).unwrap().trim_start();
                assert!(refused.code == "not_imported" && line.starts_with('<'), "{name}: {refused:?} at {line}");
                assert!(
                    refused.message.ends_with("has no equal here") && refused.hint.is_some(),
                    "{name}: {refused:?}"
                );
            }
        }
    }
}

/// A machine whose guards, values, events and outputs are all that `export` writes of expressions.
fn of_many_expressions() -> Value {
    let expr = |text: &str| json!({ "@expr": text });
    let raise = json!({"type": "@xstate.raise", "event": {"type": "STEP", "by": expr("event.by"), "k": [1, "x\"y"]}, "delay": 5, "id": "later"});
    let at_once = json!({"type": "@xstate.raise", "event": {"type": "NOW", "n": expr("context.n")}});
    let emit = json!({"type": "@xstate.emit", "event": {"type": "TOLD", "n": expr("context.n")}});
    let log = json!({"type": "@xstate.log", "args": ["n is", expr("context.n")]});
    let say = json!({"type": "say", "params": {"deep": {"list": [expr("context.n"), 1.5, null], "is": expr("has(event.v) ? event.v : 0")}}});
    let assign = |key: &str, text: &str| json!({"type": "@xstate.assign", "context": {key: expr(text)}});
    json!({"id": "m", "context": {"n": 1, "half": 2.5, "flag": true, "list": [4, 5], "map": {"a": {"b": 7}}, "seen": ""},
        "delays": {"short": expr("context.n * 10")}, "initial": "a", "states": {
        "a": {"on": {
            "ADD": {"actions": [assign("n", "context.n + event.by.much"), say, log, emit]},
            "HALF": {"actions": assign("half", "double(context.n) / 2.0 + context.half")},
            "PICK": {"actions": assign("n", "context.list[1] + context.map.a.b")},
            "NAME": {"actions": assign("seen", "string(context.n) + event.type")},
            "FLAG": {"guard": expr("context.flag"), "actions": assign("flag", "!context.flag")},
            "OK": {"guard": expr("event.ok"), "target": "b"},
            "HAS": {"guard": expr("has(event.v) && event.v > 1 || !has(event.w)"), "target": "b"},
            "IN": {"guard": {"type": "xstate.and", "guards": [
                {"type": "xstate.or", "guards": [expr("context.n > 0 && context.flag"), {"type": "xstate.stateIn", "id": "m.b"}]},
                {"type": "xstate.not", "guards": [{"type": "xstate.stateIn", "id": "m.c"}]}]}, "target": "b"},
            "LATER": {"actions": [raise, at_once]},
            "NOW": {"actions": assign("seen", "string(event.n)")},
            "STEP": {"actions": assign("n", "context.n + event.by")}}},
        "b": {"after": {"short": "c"}},
        "c": {"type": "final", "output": {"n": expr("context.n + 1"), "list": [expr("context.n")]}}},
        "output": expr("event.output")})
}

#[test]
fn the_import_reads_all_that_the_export_writes_of_expressions() {
    let plain = of_many_expressions();
    let limits = Limits::default();
    let machine = Machine::compile(plain.to_string().as_bytes(), &limits, &|_| None).unwrap().machine;
    let Exported { text, lost } = machine.export(ExportFormat::Scxml);
    assert_eq!(
        lost.iter().map(|lost| lost.path.as_str()).collect::<Vec<_>>(),
        ["/output"],
        "it is that of the final state"
    );
    let back = statemesh_engine::import_scxml(&text, &limits).unwrap_or_else(|refused| panic!("{refused}\n{text}"));
    let events = json!([
        {"type": "ADD", "by": {"much": 4}}, {"type": "ADD", "by": {"much": 1}, "v": 3}, {"type": "HALF"}, {"type": "PICK"}, {"type": "NAME"},
        {"type": "FLAG"}, {"type": "FLAG"}, {"type": "LATER", "by": 2}, {"type": "@advance", "ms": 5}, {"type": "OK", "ok": false}]);
    let ends = [
        json!({"type": "OK", "ok": true}),
        json!({"type": "HAS", "v": 2, "w": 1}),
        json!({"type": "HAS"}),
        json!({"type": "HAS", "w": 1}),
        json!({"type": "IN"}),
    ];
    for end in ends {
        let mut events = events.clone();
        events.as_array_mut().unwrap().extend([end.clone(), json!({"type": "@advance", "ms": 1000})]);
        let run = |definition: &str| {
            let line = format!("{{\"machine\":{definition},\"events\":{events}}}");
            let answer: Value = serde_json::from_slice(&simulate_batch_line(line.as_bytes(), &limits)).unwrap();
            let told = |snapshot: &Value| {
                // The import's keys are the document's ids.
                let state = snapshot["value"].as_str().unwrap().trim_start_matches("m_").to_owned();
                json!([state, snapshot["context"], snapshot["effects"], snapshot["output"], snapshot["error"]["code"]])
            };
            answer["snapshots"].as_array().unwrap_or_else(|| panic!("{answer}")).iter().map(told).collect::<Vec<_>>()
        };
        let (there, here) = (run(&back), run(&plain.to_string()));
        for (at, (there, here)) in there.iter().zip(&here).enumerate() {
            assert_eq!(there, here, "after event {at}, {end}\n{back}");
        }
    }
}
