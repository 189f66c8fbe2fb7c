//! `simulate`: a machine run here in virtual time, from lines of a file, of stdin or of a person.

use super::args::SimulateArgs;
use super::{expect, machine};
use crate::config::did_you_mean;
use crate::failure::{Exit, Failure};
use crate::kind::span;
use crate::output::{Format, Painter, Printer, Style, broken_output, json, printable, say, say_text, state, text};
use crate::verbs::{NEEDS_INPUT, names_input, sent};
use serde_json::{Value, json};
use statemesh_engine::{Event, Faults, Limits, Payload, Simulation, Status, simulate_batch_line};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, StdoutLock, Write};
use std::path::Path;

/// The longest line that is read: a line of a batch holds a definition, whose own limit is lower.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Runs a machine, or many.
pub(crate) fn simulate(args: &SimulateArgs, printer: &Printer) -> Result<(), Failure> {
    if let Some(batch) = &args.batch {
        if printer.format == Format::Yaml {
            return Err(Failure::usage("--output: a batch is answered in lines of JSON, not in YAML"));
        }
        let limits = Limits::default();
        let name = batch.display().to_string();
        // A definition that is refused is an answer like any other.
        let lines = open(batch)?;
        let answer = |_, line: &[u8]| simulate_batch_line(line, &limits);
        return answer_lines(lines, &name, answer, |answer| escaped(answer, b"\n")).map(drop);
    }
    let Some(path) = &args.machine else {
        return Err(Failure::usage("name a definition, or --batch FILE"));
    };
    let machine = machine(path, &args.with, args.faults.map(Faults::from), printer.format)?;
    let input = args.input.as_deref().map(input).transpose()?;
    let input = input.map_or(Payload::Empty, Payload::Json);
    let mut first = Vec::new();
    let mut simulation = Simulation::start(machine, input, &mut first).map_err(|error| {
        let failure = Failure::new(Exit::Refused, error.code(), format!("start: {error}"));
        match args.input.is_none() && names_input(&failure.message) {
            true => failure.hint(format!("{NEEDS_INPUT}: --input '{{...}}'")),
            false => failure.hint(error.hint()),
        }
    })?;
    match &args.events {
        None if std::io::stdin().is_terminal() && args.expect.is_none() => by_hand(&mut simulation, &first, printer),
        events => {
            let events = events.as_deref().unwrap_or(Path::new("-"));
            match &args.expect {
                Some(expected) => expect::compare(&mut simulation, &first, events, expected, printer),
                None => from_lines(&mut simulation, &first, events, printer),
            }
        }
    }
}

fn input(text: &str) -> Result<&[u8], Failure> {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(text.as_bytes()),
        Err(error) => Err(Failure::usage(format!("--input: not JSON: {error}"))),
    }
}

pub(super) type Lines = BufReader<Box<dyn Read>>;

pub(super) fn open(path: &Path) -> Result<Lines, Failure> {
    if path.as_os_str() == "-" {
        return Ok(BufReader::new(Box::new(std::io::stdin())));
    }
    let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
    Ok(BufReader::new(Box::new(file)))
}

fn from_lines(simulation: &mut Simulation, first: &[u8], path: &Path, printer: &Printer) -> Result<(), Failure> {
    let lines = open(path)?;
    let name = name_of(path);
    let shown = |answer: &[u8]| match printer.format {
        Format::Json => escaped(answer, b"\n"),
        _ => {
            let answer = serde_json::from_slice(answer).unwrap_or_default();
            printer.written(&answer, |painter| line(&answer, painter)).into_bytes()
        }
    };
    write(&mut std::io::stdout().lock(), &shown(first))?;
    // A program finds out by comparing; to it stderr says errors only.
    let tells = printer.format != Format::Json;
    let answer = |number, line: &[u8]| {
        let kind = std::str::from_utf8(line).ok().filter(|_| tells).and_then(|text| ignored(simulation, text));
        let status = simulation.instance().status();
        let answer = input_line(simulation, line);
        if let Some(kind) = kind.filter(|_| simulation.instance().status() == status) {
            say!("{name}:{number}: {}", nothing_reacts(simulation, &kind));
        }
        answer
    };
    let refused = answer_lines(lines, &name, answer, shown)?;
    if let Some((count, first)) = refused {
        let message = format!("{name}: {count} of the lines were refused, the first of them line {first}");
        let hint = "their answers say why; each line is one event as JSON, such as {\"type\":\"PAY\",\"amount\":3}";
        return Err(Failure::new(Exit::Refused, "refused", message).hint(hint));
    }
    must_not_have_failed(simulation)
}

/// A script that runs events must be able to see that they broke the machine.
fn must_not_have_failed(simulation: &Simulation) -> Result<(), Failure> {
    match simulation.instance().error() {
        None => Ok(()),
        Some(fault) => {
            let fault =
                serde_json::from_str(&fault.to_string()).unwrap_or_else(|_| json!({"message": fault.to_string()}));
            let how = if simulation.instance().is_stuck() { "is stuck" } else { "ended in error" };
            let message = format!("{} {how}: {}", simulation.machine().id(), sentence(&fault));
            Err(Failure::new(Exit::Refused, "failed", message))
        }
    }
}

pub(super) fn name_of(path: &Path) -> String {
    if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() }
}

pub(super) fn input_line(simulation: &mut Simulation, line: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    simulation.input(line, &mut answer);
    answer
}

/// A line of JSON as it may be written, with its end.
fn escaped(line: &[u8], end: &[u8]) -> Vec<u8> {
    let line = String::from_utf8_lossy(line);
    [json(&line).as_bytes(), end].concat()
}

/// Every line gives an answer, which `shown` writes down; one that came to nothing says so, with its number. How many did, and the
/// first one's number.
fn answer_lines(
    lines: Lines,
    name: &str,
    mut answer: impl FnMut(u64, &[u8]) -> Vec<u8>,
    shown: impl Fn(&[u8]) -> Vec<u8>,
) -> Result<Option<(u64, u64)>, Failure> {
    let mut refused = None;
    each_line(lines, name, |number, line| {
        let mut answer = answer(number, line);
        if add_line_number(&mut answer, number) {
            refused.get_or_insert((0, number)).0 += 1;
        }
        shown(&answer)
    })?;
    Ok(refused)
}

/// Whether an answer has an `error`; if so it gets the number of its line. The error stands at the end of the answer.
pub(super) fn add_line_number(answer: &mut Vec<u8>, number: u64) -> bool {
    const END: &[u8] = b"}}";
    let is_refused =
        answer.ends_with(END) && serde_json::from_slice::<Value>(answer).is_ok_and(|answer| !answer["error"].is_null());
    if is_refused {
        answer.truncate(answer.len() - END.len());
        answer.extend(format!(",\"line\":{number}}}}}").into_bytes());
    }
    is_refused
}

/// Writes the answer to each line that is not blank, which gets its number too. Answers are held back only while there are more lines to be had.
pub(super) fn each_line(
    mut lines: Lines,
    name: &str,
    mut answer: impl FnMut(u64, &[u8]) -> Vec<u8>,
) -> Result<(), Failure> {
    const HELD_BACK_BYTES: usize = 64 << 10;
    let failed = |error: std::io::Error| Failure::file(Path::new(name), &error);
    let mut out = std::io::stdout().lock();
    let (mut line, mut held, mut more, mut number) = (Vec::new(), Vec::new(), true, 0);
    while more {
        line.clear();
        number += 1;
        let read = lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        let length = read.map_err(failed)? as u64;
        if length == MAX_LINE_BYTES && line.last() != Some(&b'\n') {
            let message = format!("{name}: line {number} is longer than {MAX_LINE_BYTES} bytes");
            return Err(Failure::new(Exit::File, "file", message));
        }
        more = length > 0;
        let trimmed = line.trim_ascii();
        if !trimmed.is_empty() {
            held.extend(answer(number, trimmed));
        }
        if held.len() >= HELD_BACK_BYTES || !more || lines.buffer().is_empty() {
            write(&mut out, &held)?;
            held.clear();
        }
    }
    Ok(())
}

fn write(out: &mut StdoutLock<'_>, bytes: &[u8]) -> Result<(), Failure> {
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| broken_output(&error))
}

const HELP: &str = "\
Type an event: PAY, or PAY {\"amount\":3}, or {\"type\":\"PAY\",\"amount\":3}
+500 lets 500 ms pass, +2s two seconds; @retry fires the timer again that a stuck machine holds, @skip drops it;
? shows this and what the machine reacts to; exit ends.";

/// A person types events and sees where each leads.
fn by_hand(simulation: &mut Simulation, first: &[u8], printer: &Printer) -> Result<(), Failure> {
    say!("{HELP}");
    show(first, printer)?;
    let mut lines = std::io::stdin().lock();
    loop {
        say_text("> ");
        let mut typed = String::new();
        let read = lines.by_ref().take(MAX_LINE_BYTES).read_line(&mut typed);
        if read.map_err(|error| Failure::file(Path::new("stdin"), &error))? == 0 {
            say_text("\n");
            return Ok(());
        }
        match event(typed.trim()) {
            Typed::Nothing => {}
            Typed::End => return Ok(()),
            Typed::Help => say!("{HELP}\n{}", reactions(simulation)),
            Typed::NoTime(typed) => {
                say!("  {typed} is no time: +500 lets 500 ms pass, +2s two seconds, +1h an hour");
            }
            Typed::NoData { kind, data } => {
                say!("  {data} is no JSON object: what an event carries is typed so: {kind} {{\"amount\":3}}");
            }
            Typed::Event(event) => {
                let (before, ignored) = (simulation.instance().clone(), ignored(simulation, &event));
                let answer = input_line(simulation, event.as_bytes());
                show(&answer, printer)?;
                if let Some(kind) = ignored.filter(|_| simulation.instance().status() == before.status()) {
                    say!("  {}", nothing_reacts(simulation, &kind));
                }
            }
        }
    }
}

/// The event's type, if no transition is considered for it. Of what is no event the answer says what is wrong, and nothing else counts.
fn ignored(simulation: &Simulation, event: &str) -> Option<String> {
    serde_json::from_str::<serde::de::IgnoredAny>(event).ok()?;
    let payload = Payload::Json(event.as_bytes());
    let kind = payload.get_str("type").ok()??.into_owned();
    if kind.starts_with('@') {
        return None;
    }
    let event = Event { kind: &kind, payload };
    let explained = simulation.machine().explain(simulation.instance(), &event, simulation.now()).ok()?;
    explained.candidates.is_empty().then_some(kind)
}

fn handled(simulation: &Simulation) -> Vec<String> {
    let event = Event { kind: "", payload: Payload::Empty };
    let explained = simulation.machine().explain(simulation.instance(), &event, simulation.now());
    sent(explained.map(|explained| explained.handled).unwrap_or_default().into_iter())
}

fn reactions(simulation: &Simulation) -> String {
    match handled(simulation) {
        handled if handled.is_empty() => "It reacts to nothing here.".to_owned(),
        handled => format!("Here it reacts to {}", handled.join(", ")),
    }
}

fn nothing_reacts(simulation: &Simulation, kind: &str) -> String {
    let kind = &*printable(kind);
    if simulation.instance().is_stuck() {
        return format!("it is stuck and does not take {kind}");
    }
    if simulation.instance().status() != Status::Active {
        return format!("it has ended ({})", simulation.instance().status().as_str());
    }
    let handled = handled(simulation);
    let near = did_you_mean(kind, handled.iter().map(String::as_str));
    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    let reactions = if handled.is_empty() { "no event".to_owned() } else { handled.join(", ") };
    format!("nothing reacts to {kind}: here it reacts to {reactions}{near}")
}

#[derive(Debug, PartialEq)]
enum Typed {
    Nothing,
    End,
    Help,
    /// Begins as a time does, and is none.
    NoTime(String),
    /// What follows the event's type, or stands in its place, is no object.
    NoData {
        kind: String,
        data: String,
    },
    Event(String),
}

fn event(typed: &str) -> Typed {
    let (kind, data) = typed.split_once(char::is_whitespace).unwrap_or((typed, ""));
    let time = typed.strip_prefix('+').map(str::trim).map(milliseconds);
    match (typed, time) {
        ("", _) => Typed::Nothing,
        ("exit" | "quit", _) => Typed::End,
        ("?" | "help", _) => Typed::Help,
        (_, Some(None)) => Typed::NoTime(typed.to_owned()),
        (_, Some(Some(ms))) => Typed::Event(json!({"type": "@advance", "ms": ms}).to_string()),
        _ if typed.starts_with('{') => match serde_json::from_str::<serde::de::IgnoredAny>(typed) {
            Ok(_) => Typed::Event(typed.to_owned()),
            Err(_) => Typed::NoData { kind: "PAY".to_owned(), data: typed.to_owned() },
        },
        _ => match serde_json::from_str(data) {
            Ok(Value::Object(mut fields)) => {
                fields.insert("type".to_owned(), json!(kind));
                Typed::Event(Value::Object(fields).to_string())
            }
            _ if !data.trim().is_empty() => Typed::NoData { kind: kind.to_owned(), data: data.trim().to_owned() },
            _ => Typed::Event(json!({"type": kind}).to_string()),
        },
    }
}

fn milliseconds(time: &str) -> Option<u64> {
    let span = || span(time).and_then(|span| u64::try_from(span.as_millis()).ok());
    time.parse::<u64>().ok().or_else(span)
}

fn show(answer: &[u8], printer: &Printer) -> Result<(), Failure> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    printer.next(&answer, |painter| line(&answer, painter))
}

pub(super) fn line(answer: &Value, painter: Painter) -> String {
    let status = text(&answer["status"]);
    let mut line = format!(
        "{}  {}  {}",
        painter.paint(Style::Strong, &state(&answer["value"])),
        painter.paint(Style::of_status(&status), &status),
        painter.paint(Style::Faint, &answer["context"].to_string()),
    );
    for effect in answer["effects"].as_array().into_iter().flatten() {
        line.push_str(&format!("\n  effect {effect}"));
    }
    if let Some(output) = answer.get("output") {
        line.push_str(&format!("\n  output {output}"));
    }
    if let Some(fault) = answer.get("fault") {
        let (word, end) = match answer["stuck"] == json!(true) {
            true => ("stuck:", "; it keeps the timer, and takes nothing before the event @retry or @skip"),
            false => ("fault:", ""),
        };
        line.push_str(&format!("\n  {} {}{end}", painter.paint(Style::Bad, word), sentence(fault)));
    }
    if let Some(message) = answer["error"]["message"].as_str() {
        line.push_str(&format!("\n  {} {message}", painter.paint(Style::Bad, "refused:")));
    }
    line
}

/// A fault for people: `division by zero in 1 / context.n, where context.n is 0`.
fn sentence(fault: &Value) -> String {
    let Some(message) = fault["message"].as_str() else {
        return fault.as_str().map_or_else(|| fault.to_string(), str::to_owned);
    };
    let mut said = message.to_owned();
    if let Some(expression) = fault["expression"].as_str() {
        said.push_str(&format!(" in {expression}"));
    }
    let values = fault["values"].as_object().into_iter().flatten();
    let values: Vec<String> = values.map(|(name, value)| format!("{name} is {value}")).collect();
    if !values.is_empty() {
        said.push_str(&format!(", where {}", values.join(", ")));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_timer_is_told_for_people() {
        let fault = json!({"code": "divide_by_zero", "message": "division by zero", "expression": "1 / context.n",
                           "values": {"context.n": 0}});
        let answer =
            json!({"value": "a", "status": "error", "context": {}, "effects": [], "fault": fault, "stuck": true});
        let shown = line(&answer, Painter { colour: false });
        let expected = "a  error  {}\n  stuck: division by zero in 1 / context.n, where context.n is 0; it keeps the timer, and takes nothing \
                        before the event @retry or @skip";
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_typed_becomes_an_event() {
        let json = |typed| match event(typed) {
            Typed::Event(text) => serde_json::from_str::<Value>(&text).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(json("PAY"), json!({"type": "PAY"}));
        assert_eq!(json("PAY {\"amount\":3}"), json!({"type": "PAY", "amount": 3}));
        assert_eq!(json("{\"type\":\"X\"}"), json!({"type": "X"}));
        assert_eq!(json("+500"), json!({"type": "@advance", "ms": 500}));
        assert_eq!(json("+2s"), json!({"type": "@advance", "ms": 2_000}));
        assert_eq!(json("@skip"), json!({"type": "@skip"}));
        for wrong in ["+", "+abc", "+2 s 3", "+-5"] {
            assert_eq!(event(wrong), Typed::NoTime(wrong.to_owned()));
        }
        assert_eq!((event(""), event("?")), (Typed::Nothing, Typed::Help));
        assert_eq!((event("exit"), event("quit")), (Typed::End, Typed::End));
        for (typed, kind, data) in [
            ("CODE x", "CODE", "x"),
            ("CODE {code:1}", "CODE", "{code:1}"),
            ("CODE 3", "CODE", "3"),
            ("{code:1}", "PAY", "{code:1}"),
        ] {
            assert_eq!(event(typed), Typed::NoData { kind: kind.to_owned(), data: data.to_owned() });
        }
    }

    #[test]
    fn an_answer_that_is_an_error_says_which_line_it_answers() {
        let numbered = |text: &str| {
            let mut answer = text.as_bytes().to_vec();
            let added = add_line_number(&mut answer, 7);
            (added, String::from_utf8(answer).unwrap())
        };
        let refused = r#"{"value":"a","error":{"code":"x","message":"}}"}}"#;
        assert_eq!(numbered(refused), (true, refused.replace("}}\"}}", "}}\",\"line\":7}}")));
        let fine = r#"{"context":{"error":{}}}"#;
        assert_eq!(numbered(fine), (false, fine.to_owned()));
    }

    #[test]
    fn a_refused_event_says_why() {
        let answer = json!({"value": "a", "status": "active", "context": {}, "effects": [],
                            "error": {"code": "malformed_event", "message": "no type"}});
        let shown = line(&answer, Painter { colour: false });
        assert_eq!(shown, "a  active  {}\n  refused: no type");
    }
}
