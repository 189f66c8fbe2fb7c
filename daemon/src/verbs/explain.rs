//! How an explanation reads: what an event would do, which transitions were tried, and why one was not taken.

use super::args::Target;
use super::sent;
use crate::config::did_you_mean;
use crate::output::{Painter, Style, printable, state, text};
use serde_json::Value;

/// The explanation of a reply as lines.
pub(super) fn lines(target: &Target, reply: &Value, painter: Painter) -> String {
    let found = &reply["explanation"];
    if found.is_null() {
        return "the daemon gave no explanation\n".to_owned();
    }
    let name = target.to_string();
    let (event, status) = (text(&found["event"]), text(&found["status"]));
    let verb = if reply["new"] == Value::Bool(true) { "is new, and would begin in" } else { "is in" };
    let mut lines =
        vec![format!("{} {verb} {} ({status})", painter.paint(Style::Strong, &name), state(&reply["value"]))];
    lines.push(match reply["stuck"] == Value::Bool(true) {
        true => {
            let refused = painter.paint(Style::Bad, "would be refused");
            format!("{event} {refused}: the instance is stuck (statemesh retry, skip or stop)")
        }
        false => outcome(&event, found, painter),
    });
    let candidates = rows(&found["candidates"]);
    lines.extend(candidates.iter().map(|tried| candidate(tried, painter)));
    if candidates.is_empty() && status == "active" {
        lines.push(format!("  no state that it is in reacts to {event}"));
        let handled = sent(rows(&found["handled"]).iter().map(text));
        if !handled.is_empty() {
            let near = did_you_mean(&event, handled.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            lines.push(format!("  they react to {}{near}", handled.join(", ")));
        }
    }
    lines.join("\n") + "\n"
}

fn outcome(event: &str, found: &Value, painter: Painter) -> String {
    let outcome = &found["outcome"];
    if found["status"] != "active" {
        return format!("{event} {}: the instance has ended", painter.paint(Style::Doubtful, "would change nothing"));
    }
    if let Some(message) = found["error"]["message"].as_str() {
        let refused = painter.paint(Style::Bad, "would be refused");
        return format!("{event} {refused}: {}", printable(message));
    }
    if outcome["changed"] != Value::Bool(true) {
        return format!("{event} {}", painter.paint(Style::Doubtful, "would change nothing"));
    }
    let status = text(&outcome["status"]);
    let mut line = format!(
        "{event} would lead to {} ({})",
        painter.paint(Style::Strong, &state(&outcome["value"])),
        painter.paint(Style::of_status(&status), &status)
    );
    let effects = rows(&outcome["effects"]);
    let effects: Vec<_> = effects.iter().map(|effect| text(&effect["type"])).collect();
    if !effects.is_empty() {
        line.push_str(&format!(", with effects {}", effects.join(", ")));
    }
    if !outcome["error"].is_null() {
        line.push_str(&format!("\n  {} {}", painter.paint(Style::Bad, "since"), error(&outcome["error"])));
    }
    for (key, change) in outcome["context"].as_object().into_iter().flatten() {
        let (before, after) = (side(change.get("before")), side(change.get("after")));
        line.push_str(&format!("\n  context {}: {before} -> {after}", printable(key)));
    }
    line
}

/// What went wrong: mostly a map with a message, but a machine may fail with any value.
fn error(error: &Value) -> String {
    let message = error["message"].as_str().map_or_else(|| error.to_string(), printable);
    match error["expression"].as_str() {
        Some(expression) => format!("{message}, in {}", printable(expression)),
        None => message,
    }
}

fn side(value: Option<&Value>) -> String {
    value.map_or("(none)".to_owned(), Value::to_string)
}

fn candidate(tried: &Value, painter: Painter) -> String {
    let targets: Vec<_> = rows(&tried["targets"]).iter().map(text).collect();
    let to = if targets.is_empty() { "no target".to_owned() } else { targets.join(", ") };
    let way = format!("{} on {} -> {to}", text(&tried["state"]), text(&tried["descriptor"]));
    let path = painter.paint(Style::Faint, &text(&tried["path"]));
    let verdict = match tried["taken"].as_bool() {
        Some(true) => painter.paint(Style::Good, "taken"),
        _ => painter.paint(Style::Doubtful, "not taken"),
    };
    let reason = tried["reason"].as_str().map(|why| format!(", since {}", printable(why)));
    // What is not taken says why in words of its own, with what its named guards are.
    let named = tried["guards"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, body)| format!("{} is {}", printable(name), text(body)));
    let named = Some(named.collect::<Vec<_>>().join(", ")).filter(|named| !named.is_empty());
    let guard = tried["guard"].as_str().map(printable).map(|guard| match named {
        None => format!(", guard {guard}"),
        Some(named) => format!(", guard {guard}, where {named}"),
    });
    let why = reason.or(guard).unwrap_or_default();
    format!("  {verdict}: {way}{why}  {path}")
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(explanation: Value) -> String {
        let target = "order/42".parse().unwrap();
        let reply = json!({"value": "open", "explanation": explanation});
        lines(&target, &reply, Painter { colour: false })
    }

    #[test]
    fn the_guard_that_said_no_is_named() {
        let tried = json!({"state": "order.open", "descriptor": "PAY", "path": "/states/open/on/PAY/0",
            "targets": ["order.paid"], "guard": "enough", "taken": false, "reason": "the guard enough is false"});
        let text = shown(json!({"event": "PAY", "status": "active", "candidates": [tried], "handled": ["PAY"],
            "outcome": {"changed": false, "status": "active", "value": "open", "effects": []}}));
        assert_eq!(
            text,
            "order/42 is in open (active)\nPAY would change nothing\n  not taken: order.open on PAY -> order.paid, \
             since the guard enough is false  /states/open/on/PAY/0\n"
        );
    }

    #[test]
    fn a_named_guard_of_what_is_taken_shows_what_it_is() {
        let tried = json!({"state": "order.open", "descriptor": "PAY", "path": "/states/open/on/PAY/0", "taken": true,
            "targets": ["order.paid"], "guard": "enough", "guards": {"enough": "event.amount > 3"}});
        let text = shown(json!({"event": "PAY", "status": "active", "candidates": [tried], "handled": ["PAY"],
            "outcome": {"changed": true, "status": "active", "value": "paid", "effects": []}}));
        assert!(text.contains("-> order.paid, guard enough, where enough is event.amount > 3  /states"), "{text}");
    }

    #[test]
    fn an_event_that_nobody_handles_shows_those_that_are() {
        let text = shown(json!({"event": "PYA", "status": "active", "candidates": [], "handled": ["PAY", "CANCEL"],
            "outcome": {"changed": false, "status": "active", "value": "open", "effects": []}}));
        assert!(text.ends_with("reacts to PYA\n  they react to PAY, CANCEL; did you mean PAY?\n"), "{text}");
    }

    #[test]
    fn a_failure_says_why_and_a_change_of_the_context_what() {
        let explained = |outcome: Value| {
            shown(json!({"event": "PAY", "status": "active", "candidates": [], "handled": [], "outcome": outcome}))
        };
        let failed = explained(json!({"changed": true, "status": "error", "value": "open", "effects": [],
            "error": {"code": "no_such_key", "message": "no such key: amount", "expression": "event.amount"}}));
        let since = "PAY would lead to open (error)\n  since no such key: amount, in event.amount\n";
        assert!(failed.contains(since), "{failed}");
        let changed = explained(json!({"changed": true, "status": "active", "value": "open", "effects": [],
            "context": {"n": {"before": 1, "after": 2}, "new": {"after": "x"}}}));
        assert!(changed.contains("(active)\n  context n: 1 -> 2\n  context new: (none) -> \"x\"\n"), "{changed}");
    }

    #[test]
    fn an_instance_that_has_ended_says_so() {
        let text = shown(json!({"event": "PAY", "status": "done", "candidates": [], "handled": [],
            "outcome": {"changed": false, "status": "done", "value": "paid", "effects": []}}));
        assert!(text.contains("PAY would change nothing: the instance has ended\n"), "{text}");
        let explanation = json!({"event": "PAY", "status": "error", "candidates": [], "handled": []});
        let reply = json!({"value": "open", "stuck": true, "explanation": explanation});
        let text = lines(&"order/42".parse().unwrap(), &reply, Painter { colour: false });
        assert!(text.contains("PAY would be refused: the instance is stuck"), "{text}");
    }

    #[test]
    fn an_event_that_would_be_taken_shows_where_it_leads() {
        let text = shown(json!({"event": "PAY", "status": "active", "candidates": [], "handled": [],
            "outcome": {"changed": true, "status": "done", "value": "paid", "effects": [{"type": "ship"}]}}));
        assert!(text.contains("PAY would lead to paid (done), with effects ship\n"), "{text}");
    }
}
