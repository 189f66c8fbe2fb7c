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
        let limits = Limits::default();
        return each_line(open(batch)?, &batch.display().to_string(), |line| simulate_batch_line(line, &limits));
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
        None => from_lines(&mut simulation, first, open(Path::new("-"))?, "stdin"),
        Some(path) => {
            let name = path.display().to_string();
            from_lines(&mut simulation, first, open(path)?, &name)
        }
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

/// Every line gives a line; a refused one says so in its own, and at the end in the exit code.
fn from_lines(simulation: &mut Simulation, mut first: Vec<u8>, lines: Lines, name: &str) -> Result<(), Failure> {
    first.push(b'\n');
    write(&mut std::io::stdout().lock(), &first)?;
    let mut refused = 0usize;
    each_line(lines, name, |line| {
        let mut answer = Vec::new();
        simulation.input(line, &mut answer);
        refused += usize::from(is_refused(&answer));
        answer
    })?;
    match refused {
        0 => Ok(()),
        count => Err(Failure::new(Exit::Refused, "refused", format!("{name}: {count} of the lines were refused"))
            .hint("their answers say why, under \"error\"")),
    }
}

/// Writes the answer to each line that is not blank. Answers are held back only while there are more lines to be had.
fn each_line(mut lines: Lines, name: &str, mut answer: impl FnMut(&[u8]) -> Vec<u8>) -> Result<(), Failure> {
    const HELD_BACK_BYTES: usize = 64 << 10;
    let failed = |error: std::io::Error| Failure::file(Path::new(name), &error);
    let mut out = std::io::stdout().lock();
    let (mut line, mut held, mut more) = (Vec::new(), Vec::new(), true);
    while more {
        line.clear();
        let read = lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        let length = read.map_err(failed)? as u64;
        if length == MAX_LINE_BYTES && line.last() != Some(&b'\n') {
            let message = format!("{name}: a line is longer than {MAX_LINE_BYTES} bytes");
            return Err(Failure::new(Exit::File, "file", message));
        }
        more = length > 0;
        let trimmed = line.trim_ascii();
        if !trimmed.is_empty() {
            held.extend(answer(trimmed));
            held.push(b'\n');
        }
        if held.len() >= HELD_BACK_BYTES || !more || lines.buffer().is_empty() {
            write(&mut out, &held)?;
            held.clear();
        }
    }
    Ok(())
}

fn is_refused(answer: &[u8]) -> bool {
    serde_json::from_slice::<Value>(answer).is_ok_and(|answer| !answer["error"].is_null())
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
    fn a_refused_event_says_why() {
        let answer = json!({"value": "a", "status": "active", "context": {}, "effects": [],
                            "error": {"code": "malformed_event", "message": "no type"}});
        assert!(is_refused(answer.to_string().as_bytes()));
        let shown = line(&answer, Painter { colour: false });
        assert_eq!(shown, "a  active  {}\n  refused: no type");
    }
}
