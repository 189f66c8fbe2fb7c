//! `simulate`: a machine run here in virtual time, from lines of a file, of stdin or of a person.

use super::machine;
use crate::cli::SimulateArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Painter, Printer, Style, broken_output, state, text};
use serde_json::{Value, json};
use statemesh_engine::{Limits, Payload, Simulation, simulate_batch_line};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, StdoutLock, Write};
use std::path::Path;

/// The longest line that is read: a line of a batch holds a definition, whose own limit is lower.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Runs a machine, or many.
pub(crate) fn simulate(args: &SimulateArgs, printer: &Printer) -> Result<(), Failure> {
    if let Some(batch) = &args.batch {
        refuse_yaml(printer)?;
        let limits = Limits::default();
        let name = batch.display().to_string();
        // A definition that is refused is an answer like any other.
        return answer_lines(open(batch)?, &name, |line| simulate_batch_line(line, &limits)).map(drop);
    }
    let Some(path) = &args.machine else {
        return Err(Failure::usage("name a definition, or --batch FILE"));
    };
    let machine = machine(path, &args.with)?;
    let input = args.input.as_deref().map(input).transpose()?;
    let input = input.map_or(Payload::Empty, Payload::Json);
    let mut first = Vec::new();
    let mut simulation = Simulation::start(machine, input, &mut first)
        .map_err(|error| Failure::new(Exit::Refused, error.code(), format!("start: {error}")).hint(error.hint()))?;
    match &args.events {
        None if std::io::stdin().is_terminal() => by_hand(&mut simulation, &first, printer),
        None => from_lines(&mut simulation, first, Path::new("-"), printer),
        Some(path) => from_lines(&mut simulation, first, path, printer),
    }
}

/// Lines are answered by lines, which YAML has not.
fn refuse_yaml(printer: &Printer) -> Result<(), Failure> {
    match printer.format {
        Format::Yaml => Err(Failure::usage("--output: lines are answered in lines of JSON, not in YAML")),
        Format::Table | Format::Json => Ok(()),
    }
}

fn input(text: &str) -> Result<&[u8], Failure> {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(text.as_bytes()),
        Err(error) => Err(Failure::usage(format!("--input: not JSON: {error}"))),
    }
}

type Lines = BufReader<Box<dyn Read>>;

fn open(path: &Path) -> Result<Lines, Failure> {
    if path.as_os_str() == "-" {
        return Ok(BufReader::new(Box::new(std::io::stdin())));
    }
    let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
    Ok(BufReader::new(Box::new(file)))
}

fn from_lines(simulation: &mut Simulation, mut first: Vec<u8>, path: &Path, printer: &Printer) -> Result<(), Failure> {
    refuse_yaml(printer)?;
    let lines = open(path)?;
    let name = if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() };
    first.push(b'\n');
    write(&mut std::io::stdout().lock(), &first)?;
    let refused = answer_lines(lines, &name, |line| {
        let mut answer = Vec::new();
        simulation.input(line, &mut answer);
        answer
    })?;
    match refused {
        None => Ok(()),
        Some((count, first)) => {
            let message = format!("{name}: {count} of the lines were refused, the first of them line {first}");
            Err(Failure::new(Exit::Refused, "refused", message).hint("their answers say why, under \"error\""))
        }
    }
}

/// Every line gives a line; one that came to nothing says so in its own, with its number. How many did, and the first one's
/// number.
fn answer_lines(
    lines: Lines,
    name: &str,
    mut answer: impl FnMut(&[u8]) -> Vec<u8>,
) -> Result<Option<(u64, u64)>, Failure> {
    let mut refused = None;
    each_line(lines, name, |number, line| {
        let mut answer = answer(line);
        if add_line_number(&mut answer, number) {
            refused.get_or_insert((0, number)).0 += 1;
        }
        answer
    })?;
    Ok(refused)
}

/// Whether an answer has an `error`; if so it gets the number of its line. The error stands at the end of the answer.
fn add_line_number(answer: &mut Vec<u8>, number: u64) -> bool {
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
fn each_line(mut lines: Lines, name: &str, mut answer: impl FnMut(u64, &[u8]) -> Vec<u8>) -> Result<(), Failure> {
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
            held.push(b'\n');
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
+500 lets 500 ms pass; ? shows this; Ctrl-D ends.";

/// A person types events and sees where each leads.
fn by_hand(simulation: &mut Simulation, first: &[u8], printer: &Printer) -> Result<(), Failure> {
    eprintln!("{HELP}");
    show(first, printer)?;
    let mut lines = std::io::stdin().lock();
    loop {
        eprint!("> ");
        let mut typed = String::new();
        let read = lines.by_ref().take(MAX_LINE_BYTES).read_line(&mut typed);
        if read.map_err(|error| Failure::file(Path::new("stdin"), &error))? == 0 {
            eprintln!();
            return Ok(());
        }
        match event(typed.trim()) {
            Typed::Nothing => {}
            Typed::Help => eprintln!("{HELP}"),
            Typed::Event(event) => {
                let mut answer = Vec::new();
                simulation.input(event.as_bytes(), &mut answer);
                show(&answer, printer)?;
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Typed {
    Nothing,
    Help,
    Event(String),
}

fn event(typed: &str) -> Typed {
    let (kind, data) = typed.split_once(char::is_whitespace).unwrap_or((typed, ""));
    let time = typed.strip_prefix('+').and_then(|ms| ms.trim().parse::<u64>().ok());
    match (typed, time) {
        ("", _) => Typed::Nothing,
        ("?" | "help", _) => Typed::Help,
        (_, Some(ms)) => Typed::Event(json!({"type": "@advance", "ms": ms}).to_string()),
        _ if typed.starts_with('{') => Typed::Event(typed.to_owned()),
        _ => match serde_json::from_str(data) {
            Ok(Value::Object(mut fields)) => {
                fields.insert("type".to_owned(), json!(kind));
                Typed::Event(Value::Object(fields).to_string())
            }
            // What follows is no object: the engine says what an event must be.
            _ if !data.trim().is_empty() => Typed::Event(data.to_owned()),
            _ => Typed::Event(json!({"type": kind}).to_string()),
        },
    }
}

fn show(answer: &[u8], printer: &Printer) -> Result<(), Failure> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    match printer.format {
        Format::Table => printer.next(&answer, |painter| line(&answer, painter)),
        Format::Json | Format::Yaml => printer.next(&answer, |_| String::new()),
    }
}

fn line(answer: &Value, painter: Painter) -> String {
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
    if let Some(fault) = answer["fault"].as_str() {
        line.push_str(&format!("\n  {} {fault}", painter.paint(Style::Bad, "fault:")));
    }
    if let Some(message) = answer["error"]["message"].as_str() {
        line.push_str(&format!("\n  {} {message}", painter.paint(Style::Bad, "refused:")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!((event(""), event("?")), (Typed::Nothing, Typed::Help));
        assert_eq!(event("PAY nonsense"), Typed::Event("nonsense".into()));
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
