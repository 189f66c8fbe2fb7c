//! `watch`: subscribes to the changes of every daemon of the mesh, and prints them as they come, and what is known to be missing.

use super::args::{Reason, WatchArgs, Watched};
use super::instances::status;
use super::tell_if_unknown;
use crate::connect::connect;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Painter, Printer, Style, count, printable, say, state, text};
use crate::remote::{self, Remote};
use serde_json::{Value, json};
use statemesh_client::{Change, ErrorCode, Notice, Op, Order, Watcher};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// For how long nothing is waited for at a time.
const LOOK: Duration = Duration::from_secs(60);

/// Watches until Ctrl-C, or until `--count` changes were printed.
pub(crate) fn watch(args: &WatchArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let instance = args.since.map(|_| instance(args.target.as_ref())).transpose()?;
    let mut client = connect(&args.connect, file)?;
    let filter = Filter::of(args);
    if let Some(target) = &args.target {
        must_be_allowed(&target.machine, target.key.as_deref(), &mut client)?;
        tell_if_unknown(&target.machine, &mut client);
    }
    let past = match args.since.zip(instance) {
        Some((since, (machine, key))) => past(machine, key, since, &mut client)?,
        None => Vec::new(),
    };
    let mut watcher = Watcher::new(client.into_client(), &filter.topic()).map_err(|error| broken(&error))?;
    if watcher.watched() == 0 {
        return Err(no_publisher());
    }
    let utc = if printer.format == Format::Table { "; times are UTC" } else { "" };
    say!("watching {}{utc}; Ctrl-C ends", count(watcher.watched(), "daemon"));
    let mut left = args.count.unwrap_or(u64::MAX);
    let last = past.last().map(place);
    for change in past.iter().filter(|change| filter.wants(change)).take(usize::try_from(left).unwrap_or(usize::MAX)) {
        printer.next(change, |painter| line(change, painter))?;
        left -= 1;
    }
    let mut away = BTreeSet::new();
    while left > 0 {
        match watcher.next(LOOK) {
            Some(Notice::Change(published)) => {
                let change = change(&published);
                let is_new = last.as_ref().is_none_or(|last| place(&change) > *last);
                if is_new && filter.wants(&change) {
                    printer.next(&change, |painter| line(&change, painter))?;
                    left -= 1;
                }
            }
            Some(Notice::Silent { address, why }) => {
                say!("warning: {address} is not watched: {why}; its changes are missing until it is");
                away.insert(address);
            }
            Some(Notice::Joined(address)) if away.remove(&address) => {
                say!("watching {address} again; its changes in between were not seen");
            }
            Some(Notice::Joined(_)) | None => {}
        }
    }
    Ok(())
}

/// What is printed of all that comes.
struct Filter {
    target: Option<Watched>,
    reasons: Vec<String>,
    effects: Vec<String>,
}

impl Filter {
    fn of(args: &WatchArgs) -> Filter {
        let reasons = args.reason.iter().map(|reason: &Reason| reason.word()).collect();
        Filter { target: args.target.clone(), reasons, effects: args.effect.clone() }
    }

    /// A subscription is a prefix: the slash keeps `order` from matching `orders`.
    fn topic(&self) -> String {
        let Some(Watched { machine, key }) = &self.target else { return String::new() };
        format!("{machine}/{}", key.as_deref().unwrap_or_default())
    }

    /// A prefix cannot say where a key ends, so `order/4` is also sent `order/42`.
    fn wants(&self, change: &Value) -> bool {
        let key = self.target.as_ref().and_then(|target| target.key.as_ref());
        let of_key = key.is_none_or(|key| change["key"] == json!(key) || change["key"].is_null());
        let reason = change["reason"].as_str().unwrap_or_default();
        let of_reason = self.reasons.is_empty() || self.reasons.iter().any(|wanted| wanted == reason);
        let mut effects = change["effects"].as_array().into_iter().flatten();
        let of_effect = self.effects.is_empty()
            || effects.any(|effect| self.effects.iter().any(|wanted| effect["type"] == json!(wanted)));
        of_key && of_reason && of_effect
    }
}

/// The instance that is watched; known before any daemon is asked.
fn instance(target: Option<&Watched>) -> Result<(&str, &str), Failure> {
    match target {
        Some(Watched { machine, key: Some(key) }) => Ok((machine, key)),
        _ => Err(Failure::usage("--since: only an instance has a history: watch MACHINE/KEY")),
    }
}

/// The transitions of an instance that its history still has, as changes.
fn past(machine: &str, key: &str, since: Duration, client: &mut Remote) -> Result<Vec<Value>, Failure> {
    let reply = match client.ask(&remote::about(Op::History, machine, key)) {
        // It may come to be while it is watched.
        Err(failure) if failure.exit == Exit::Refused => return Ok(Vec::new()),
        reply => reply?,
    };
    let oldest_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let is_young = |entry: &&Value| entry["ageMs"].as_u64().is_some_and(|age_ms| age_ms <= oldest_ms);
    let entries = reply["history"].as_array().into_iter().flatten().filter(is_young);
    let of = |entry: &Value| {
        let reason = entry["reason"].as_str().unwrap_or("history");
        let mut change = json!({"machine": machine, "key": key, "reason": reason, "event": entry["event"], "from": entry["from"],
               "value": entry["to"], "seq": entry["seq"], "run": reply["run"], "age_ms": entry["ageMs"]});
        if entry["stuck"] == json!(true) {
            change["stuck"] = json!(true);
        }
        change
    };
    Ok(entries.map(of).collect())
}

/// Where a change stands in its key's order.
fn place(change: &Value) -> (String, u64) {
    (text(&change["run"]), change["seq"].as_u64().unwrap_or(u64::MAX))
}

/// A subscription to what the client's key may not see is silent for ever, so a question that the same rights refuse is asked before. It
/// costs the daemon nothing: where a key of the machine is, be it one that there is not.
pub(super) fn must_be_allowed(machine: &str, key: Option<&str>, client: &mut Remote) -> Result<(), Failure> {
    match client.ask(&remote::about(Op::Where, machine, key.unwrap_or("-"))) {
        Err(failure) if failure.reply == Some(ErrorCode::Forbidden) => Err(failure),
        _ => Ok(()),
    }
}

pub(super) fn no_publisher() -> Failure {
    Failure::new(Exit::Unreachable, "unreachable", "no daemon publishes changes where it can be reached")
        .hint("`statemesh members -o json` shows the addresses")
}

/// Why the daemons cannot be subscribed to.
pub(super) fn broken(error: &impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Unreachable, "unreachable", format!("changes: {}", printable(&error.to_string())))
}

/// The change as a map with `machine` and `key`, which the topic carries, with the daemon that published it, when it came, and
/// what was missed before it.
pub(super) fn change(published: &Change) -> Value {
    let topic = String::from_utf8_lossy(&published.topic).into_owned();
    let mut change = decode(&published.body);
    if let Some(map) = change.as_object_mut() {
        if let Some((machine, key)) = topic.split_once('/') {
            map.entry("machine").or_insert_with(|| json!(machine));
            map.entry("key").or_insert_with(|| json!(key));
        }
        map.insert("daemon".to_owned(), json!(published.daemon));
        map.insert("at".to_owned(), json!(crate::logs::time(published.at)));
        if let Some(Order::Missed(missed)) = published.order {
            map.insert("missed".to_owned(), json!(missed));
        }
    }
    change
}

fn decode(body: &[u8]) -> Value {
    let decoded =
        if body.first() == Some(&b'{') { serde_json::from_slice(body).ok() } else { rmp_serde::from_slice(body).ok() };
    decoded.unwrap_or_else(|| json!({"undecoded_bytes": body.len()}))
}

fn line(change: &Value, painter: Painter) -> String {
    let name = format!("{}/{}", text(&change["machine"]), text(&change["key"]));
    let (status, style) = status(change);
    let mut line = match (change["at"].as_str().and_then(|at| at.get(11..23)), change["age_ms"].as_u64()) {
        (Some(time), _) => format!("{}  ", painter.paint(Style::Faint, time)),
        (None, Some(age_ms)) => format!("{}  ", painter.paint(Style::Faint, &format!("{} s ago", age_ms / 1_000))),
        (None, None) => String::new(),
    };
    line.push_str(&painter.paint(Style::Strong, &name));
    let mut add = |style, note: &str| {
        if !note.is_empty() {
            line.push_str("  ");
            line.push_str(&painter.paint(style, note));
        }
    };
    if !change["from"].is_null() {
        add(Style::Plain, &format!("{} -> {}", state(&change["from"]), state(&change["value"])));
    } else if !change["value"].is_null() {
        add(Style::Plain, &state(&change["value"]));
    }
    add(style, &status);
    if let Some(seq) = change["seq"].as_u64() {
        add(Style::Plain, &format!("seq {seq}"));
    }
    let (style, why) = why(change);
    add(style, &why);
    let effects = change["effects"].as_array().into_iter().flatten();
    let effects: Vec<_> = effects.map(|effect| text(&effect["type"])).collect();
    if !effects.is_empty() {
        add(Style::Plain, &format!("effects {}", effects.join(", ")));
    }
    if let Some(dropped) = change["dropped"].as_u64() {
        add(Style::Doubtful, &format!("({dropped} changes before this one were dropped)"));
    }
    if let Some(missing) = missing(change) {
        add(Style::Doubtful, &missing);
    }
    add(Style::Faint, &text(&change["daemon"]));
    line
}

/// Which numbers were skipped.
fn missing(change: &Value) -> Option<String> {
    let (missed, seq) = (change["missed"].as_u64()?, change["seq"].as_u64()?);
    let before = seq.checked_sub(missed)?.checked_sub(1)?;
    Some(format!("(changes between seq {before} and {seq} are missing)"))
}

/// The reason of a change; those that a failure caused stand out.
fn why(change: &Value) -> (Style, String) {
    let event = text(&change["event"]);
    match change["reason"].as_str().unwrap_or_default() {
        "timer" | "history" if change["stuck"] == json!(true) => {
            (Style::Bad, format!("{event} could not be fired (statemesh retry, skip or stop)"))
        }
        "retry" => (Style::Good, format!("retried {event}")),
        "skip" => (Style::Doubtful, format!("skipped {event}")),
        "event" | "history" => (Style::Faint, format!("event {event}")),
        "lost" => (Style::Bad, "lost with its owner".to_owned()),
        "restart" => (Style::Doubtful, "restarted: its predecessor was lost".to_owned()),
        "conflict" => {
            let gone = &change["conflict"];
            let what = match gone["lost_from"].as_u64() {
                Some(from) => format!("; transitions from {from} on of life {} are gone", text(&gone["run"])),
                None => String::new(),
            };
            let how = match gone["reason"].as_str() {
                Some("owner_lost") => "another daemon served it for a while and died, and this is left",
                _ => "it was owned twice, and this won",
            };
            (Style::Doubtful, format!("conflict: {how}{what}"))
        }
        _ => (Style::Faint, text(&change["reason"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(target: &str, reasons: &[&str], effects: &[&str]) -> Filter {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Filter { target: Some(target.parse().unwrap()), reasons: owned(reasons), effects: owned(effects) }
    }

    #[test]
    fn a_machine_is_a_topic_that_no_longer_name_matches() {
        assert_eq!(filter("order", &[], &[]).topic(), "order/");
        assert_eq!(filter("order/", &[], &[]).topic(), "order/");
        assert_eq!(filter("order/4", &[], &[]).topic(), "order/4");
        assert!(filter("order/4", &[], &[]).wants(&json!({"key": "4"})));
        assert!(!filter("order/4", &[], &[]).wants(&json!({"key": "42"})));
        for machine in ["order", "order/"] {
            assert!(filter(machine, &[], &[]).wants(&json!({"key": "42"})), "{machine}");
        }
        assert!("".parse::<Watched>().is_err() && "/4".parse::<Watched>().is_err());
    }

    #[test]
    fn reasons_and_effects_choose_what_is_printed() {
        let change = json!({"key": "1", "reason": "lost", "effects": [{"type": "ship"}]});
        assert!(filter("order", &["restart", "lost"], &["ship"]).wants(&change));
        assert!(!filter("order", &["event"], &[]).wants(&change));
        assert!(!filter("order", &[], &["beep"]).wants(&change));
    }

    #[test]
    fn a_change_takes_machine_and_key_from_its_topic() {
        let body = br#"{"value":"paid","status":"active","seq":3,"reason":"timer","dropped":2}"#;
        let (topic, body) = (b"order/eu/42".to_vec(), body.to_vec());
        let daemon = "10.0.0.1:7401".to_owned();
        let mut change = change(&Change {
            topic,
            body,
            daemon,
            at: std::time::SystemTime::UNIX_EPOCH + Duration::from_micros(1_500_000_000_020_300),
            order: Some(Order::Missed(2)),
        });
        assert_eq!(change["at"], json!("2017-07-14T02:40:00.020300Z"), "when it arrived, not when it is printed");
        assert_eq!((&change["missed"], &change["daemon"]), (&json!(2), &json!("10.0.0.1:7401")));
        for name in ["missed", "daemon", "at"] {
            assert!(change.as_object_mut().unwrap().shift_remove(name).is_some(), "{name}");
        }
        assert_eq!((&change["machine"], &change["key"]), (&json!("order"), &json!("eu/42")));
        assert_eq!(
            line(&change, Painter { colour: false }),
            "order/eu/42  paid  active  seq 3  timer  (2 changes before this one were dropped)"
        );
    }

    #[test]
    fn what_became_stuck_and_how_it_went_on_is_said_in_words() {
        let shown = |reason: &str, stuck: Value| {
            let status = if stuck.is_null() { "active" } else { "error" };
            let change = json!({"machine": "m", "key": "k", "value": "a", "status": status, "stuck": stuck, "seq": 3,
                "reason": reason, "event": "xstate.after.1000.m.a"});
            line(&change, Painter { colour: false })
        };
        let stuck =
            "m/k  a  error, stuck  seq 3  xstate.after.1000.m.a could not be fired (statemesh retry, skip or stop)";
        assert_eq!(shown("timer", json!(true)), stuck);
        assert_eq!(shown("retry", Value::Null), "m/k  a  active  seq 3  retried xstate.after.1000.m.a");
        assert_eq!(shown("skip", Value::Null), "m/k  a  active  seq 3  skipped xstate.after.1000.m.a");
        // One of the past has no status.
        let past = json!({"machine": "m", "key": "k", "value": "a", "stuck": true, "reason": "history", "event": "T"});
        let shown = line(&past, Painter { colour: false });
        assert_eq!(shown, "m/k  a  stuck  T could not be fired (statemesh retry, skip or stop)");
    }

    #[test]
    fn a_conflict_says_which_of_the_two_it_is() {
        let shown = |reason: &str| {
            let conflict = json!({"reason": reason, "lost_from": 4, "run": "1f"});
            why(&json!({"reason": "conflict", "conflict": conflict})).1
        };
        let gone = "; transitions from 4 on of life 1f are gone";
        assert_eq!(shown("merged"), format!("conflict: it was owned twice, and this won{gone}"));
        let died = "conflict: another daemon served it for a while and died, and this is left";
        assert_eq!(shown("owner_lost"), format!("{died}{gone}"));
    }

    #[test]
    fn what_is_missing_is_said_by_its_numbers() {
        assert_eq!(
            missing(&json!({"missed": 3, "seq": 7})).as_deref(),
            Some("(changes between seq 3 and 7 are missing)")
        );
        assert_eq!(missing(&json!({"missed": 9, "seq": 7})), None);
    }

    #[test]
    fn a_line_moves_no_cursor() {
        let change = json!({"machine": "m\x1b[2J", "key": "\u{9b}2J", "value": "\x07", "status": "a\rb", "reason": "\x1b[H",
            "effects": [{"type": "\x1bc"}]});
        let shown = line(&change, Painter { colour: false });
        assert!(!shown.contains(char::is_control), "{shown:?}");
    }

    #[test]
    fn a_body_that_cannot_be_read_is_shown_as_such() {
        assert_eq!(decode(b"\xc1\xc1"), json!({"undecoded_bytes": 2}));
        assert_eq!(decode(&rmp_serde::to_vec(&json!({"seq": 1})).unwrap()), json!({"seq": 1}));
    }
}
