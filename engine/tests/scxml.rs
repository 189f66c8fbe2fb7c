//! SCXML documents as definitions; `tests/oracle` compares the conversion of all cases of the test framework with one of its own.

#![allow(clippy::unwrap_used, missing_docs)]

use serde_json::{Value, json};
use statemesh_engine::{Limits, import_scxml, simulate_batch_line};

const DOOR: &str = r#"<?xml version="1.0"?>
<scxml xmlns="http://www.w3.org/2005/07/scxml" version="1.0" name="door" initial="closed">
  <datamodel><data id="opened" expr="0"/></datamodel>
  <state id="closed">
    <transition event="open" cond="opened &lt; 2" target="open"/>
  </state>
  <state id="open">
    <onentry><assign location="opened" expr="opened + 1"/><send event="tired" delay="5s" id="t"/></onentry>
    <onexit><cancel sendid="t"/></onexit>
    <transition event="tired" target="closed"/>
  </state>
</scxml>"#;

#[test]
fn a_document_runs_as_it_says() {
    let machine: Value = serde_json::from_str(&import_scxml(DOOR, &Limits::default()).unwrap()).unwrap();
    assert_eq!(machine["id"], "door");
    let open = json!({"type": "open"});
    let events = json!([open, {"type": "@advance", "ms": 5000}, open, {"type": "@advance", "ms": 5000}, open]);
    let line = json!({"machine": machine, "events": events}).to_string();
    let answer: Value = serde_json::from_slice(&simulate_batch_line(line.as_bytes(), &Limits::default())).unwrap();
    let values = answer["snapshots"].as_array().unwrap().iter().map(|snapshot| snapshot["value"].clone());
    assert_eq!(values.collect::<Vec<_>>(), ["closed", "open", "closed", "open", "closed", "closed"]);
}

#[test]
fn what_has_no_equal_is_refused_at_its_place() {
    let cases = [
        ("<scxml>\n <script>x()</script></scxml>", "not_imported", 2),
        ("<scxml><state id='a'>\n<transition cond='f(1)' target='a'/></state></scxml>", "not_imported", 2),
        ("<scxml><state id='a'>\n\n<invoke src='x'/></state></scxml>", "not_imported", 3),
        ("<scxml><datamodel>\n<data id='x' src='y'/></datamodel></scxml>", "not_imported", 2),
        ("<scxml>\n<state>", "malformed_xml", 2),
        ("<html/>", "not_imported", 1),
    ];
    for (document, code, line) in cases {
        let found = import_scxml(document, &Limits::default()).unwrap_err();
        assert_eq!((found.code, found.line), (code, line), "{document}: {found}");
    }
}

#[test]
fn a_machine_that_export_invokes_is_invoked_by_its_name() {
    let document = r#"<scxml><datamodel><data id="n" expr="1"/></datamodel><state id="a">
        <invoke type="http://www.w3.org/TR/scxml/" src="child.scxml" id="c"><param name="n" expr="n"/></invoke>
        <transition event="done.invoke.c" target="b"/></state><final id="b"/></scxml>"#;
    let machine: Value = serde_json::from_str(&import_scxml(document, &Limits::default()).unwrap()).unwrap();
    let state = &machine["states"]["a"];
    assert_eq!(state["invoke"], json!([{"src": "child", "id": "c", "input": {"n": {"@expr": "context.n"}}}]));
    assert_eq!(state["on"]["xstate.done.actor.c"][0]["target"], "#b");
    let elsewhere = document.replace("child.scxml", "http://example.com/child.scxml");
    assert_eq!(import_scxml(&elsewhere, &Limits::default()).unwrap_err().code, "not_imported");
}

#[test]
fn what_is_logged_is_the_label_and_the_value() {
    let logged = |log: &str| {
        let document = format!(
            "<scxml><datamodel><data id='n' expr='1'/></datamodel><state id='a'><onentry>\n{log}</onentry></state></scxml>"
        );
        import_scxml(&document, &Limits::default()).map(|text| {
            let machine: Value = serde_json::from_str(&text).unwrap();
            machine["states"]["a"]["entry"][0]["args"].clone()
        })
    };
    let n = json!({"@expr": "context.n"});
    for (log, args) in [
        ("<log expr='n'/>", json!([n])),
        ("<log label='n is' expr='n'/>", json!(["n is", n])),
        ("<log label='n is'/>", json!(["n is"])),
        ("<log label='n is' expr=''/>", json!(["n is"])),
        ("<log/>", json!([""])),
        ("<log expr=\"'done'\"/>", json!([{"@expr": "'done'"}])),
        ("<log label='both' expr='[1, 2]'/>", json!(["both", [1, 2]])),
        ("<log expr='[1, 2]'/>", json!([1, 2])),
        // ECMAScript makes text of a number that is added to one; in CEL it has no value, and the event would be refused for what is logged.
        ("<log expr=\"'n: ' + n\"/>", json!([{"@expr": "'n: '"}, n])),
        (
            "<log label='x' expr=\"'a+b' + n * 2 + '!'\"/>",
            json!(["x", {"@expr": "'a+b'"}, {"@expr": "context.n * 2"}, {"@expr": "'!'"}]),
        ),
        ("<log expr=\"'a' + n === 'a1'\"/>", json!([{"@expr": "'a' + context.n == 'a1'"}])),
        ("<log expr=\"('a' + n)\"/>", json!([{"@expr": "( 'a' + context.n )"}])),
        ("<log expr='n + 1'/>", json!([{"@expr": "context.n + 1"}])),
    ] {
        assert_eq!(logged(log).unwrap_or_else(|refused| panic!("{log}: {refused}")), args, "{log}");
    }
    for log in ["<log expr='JSON.stringify(_event)'/>", "<log label='x' expr='f(n)'/>"] {
        let refused = logged(log).unwrap_err();
        assert_eq!((refused.code, refused.line), ("not_imported", 2), "{log}: {refused}");
    }
}

#[test]
fn a_variable_that_no_data_declares_is_named() {
    let refused = |state: &str| {
        let document = format!("<scxml><datamodel><data id='n'/></datamodel><state id='a'>\n{state}</state></scxml>");
        import_scxml(&document, &Limits::default()).unwrap_err()
    };
    for state in [
        "<transition cond='n &lt; 1 &amp;&amp; level.max === 2' target='a'/>",
        "<onentry><log expr='level'/></onentry>",
        "<onentry><assign location='level' expr='1'/></onentry>",
        "<onentry><assign location='n' expr='n + level'/></onentry>",
        "<onentry><send event='e'><param name='x' expr='level'/></send></onentry>",
        "<onentry><send event='e' delayexpr=\"level + 'ms'\"/></onentry>",
    ] {
        let found = refused(state);
        assert_eq!((found.code, found.line), ("not_imported", 2), "{state}: {found}");
        assert!(found.message.contains("\"level\"") && found.message.contains("<data>"), "{state}: {found}");
        assert!(found.hint.unwrap().contains("<data id=\"level\"/>"), "{state}");
    }
    for state in [
        "<transition cond='f(n) === 1' target='a'/>",
        "<onentry><log expr='JSON.stringify(_event)'/></onentry>",
        "<onentry><log expr='{n: n}'/></onentry>",
        "<onentry><log expr='typeof n'/></onentry>",
        "<onentry><log expr='_event.origin'/></onentry>",
        "<transition cond='n === undefined' target='a'/>",
    ] {
        let found = refused(state);
        assert!(found.message.ends_with("has no equal here"), "{state}: {found}");
    }
}
