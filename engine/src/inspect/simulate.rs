//! `statemesh simulate`: a machine run offline in virtual time, as functions from lines to lines.
//!
//! An input line is an event, or `{"type":"@advance","ms":500}`; another type that begins with `@`, and that the machine does not name, is refused. The start and every input line give one line:
//! `{"value","context","status","output"?,"tags","effects"}`, and `"fault"`, an object, once the
//! status is `error`, with `"stuck":true` while it holds a timer whose step was refused: `{"type":"@retry"}` fires that again,
//! `{"type":"@skip"}` drops it. An input that is refused gives the snapshot as it was, with `"error":{"code","message"}` at the
//! end, and `expression` and `values` where an expression had no value.

use crate::compile::Compiled;
use crate::definition::diagnostics::{Diagnostic, did_you_mean};
use crate::definition::export::ExportFormat;
use crate::error::StepError;
use crate::event::{Effect, Event, Millis, Status};
use crate::instance::Instance;
use crate::limits::Limits;
use crate::machine::{Faults, Machine};
use crate::runtime::Output;
use crate::snapshot::RestoreError;
use statemesh_expr::{List, Payload, Value};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// Timers that may fire one after the other while no time passes. Of those that wait at once there are fewer (`timers_max`): they start
/// each other.
const TIMERS_AT_ONE_TIME_MAX: u64 = 10_000;

/// Timers that one `@advance` may fire: some seconds of work.
const TIMERS_PER_ADVANCE_MAX: u64 = 1_000_000;

/// What an input line may be beside an event.
const DIRECTIVES: [&str; 3] = ["@advance", "@retry", "@skip"];

/// Invoked machines that invoke others, in a batch line.
const MACHINE_DEPTH_MAX: usize = 16;

/// An instance in virtual time.
pub struct Simulation {
    machine: Arc<Machine>,
    instance: Instance,
    now: Millis,
    out: Output,
}

impl Simulation {
    /// Starts an instance at time 0 and appends its first line (without a line feed) to `line`.
    pub fn start(machine: Arc<Machine>, input: Payload<'_>, line: &mut Vec<u8>) -> Result<Self, StepError> {
        let mut out = Output::new();
        let instance = machine.start(input, Millis(0), &mut out)?;
        let mut simulation = Self { machine, instance, now: Millis(0), out };
        simulation.write(None, line);
        Ok(simulation)
    }

    /// Takes one input line and appends the line it gives (without a line feed) to `line`.
    pub fn input(&mut self, event: &[u8], line: &mut Vec<u8>) {
        let result = self.apply(event);
        self.write(result.err(), line);
    }

    /// Stores the instance as bytes and restores it: nothing that follows may change.
    pub fn restore(&mut self) -> Result<(), RestoreError> {
        let mut bytes = Vec::new();
        self.instance.to_bytes(&self.machine, self.now, &mut bytes);
        let mut out = Output::new();
        self.instance = Instance::from_bytes(&self.machine, &bytes, self.now, &mut out)?;
        Ok(())
    }

    /// The instance as it stands.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The machine it is an instance of.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Virtual time since the start.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// What the last input line caused.
    pub fn effects(&self) -> &[Effect] {
        &self.out.effects
    }

    fn apply(&mut self, event: &[u8]) -> Result<(), StepError> {
        self.out.clear();
        let payload = Payload::Json(event);
        let malformed = |what: String| StepError::MalformedEvent(what);
        payload.validate(&Default::default()).map_err(|error| malformed(error.to_string()))?;
        let kind = payload
            .get_str("type")
            .ok()
            .flatten()
            .ok_or_else(|| malformed("an event needs a string \"type\"".to_owned()))?;
        if kind == "@advance" {
            let ms = payload.get("ms").ok().flatten().and_then(|ms| ms.to_value(&Default::default()).ok());
            let ms = ms.and_then(|ms| ms.as_f64()).filter(|ms| *ms >= 0.0);
            let ms = ms.ok_or_else(|| malformed("@advance needs a number of milliseconds in \"ms\"".to_owned()))?;
            return self.advance(ms.ceil() as u64);
        }
        match &*kind {
            "@retry" => return self.machine.retry(&mut self.instance, self.now, &mut self.out).map(drop),
            "@skip" => return self.machine.skip(&mut self.instance, &mut self.out).map(drop),
            // An event of a machine may be called so, though hardly any is; a wildcard asks for none of them.
            other if other.starts_with('@') && !self.machine.event_descriptors().any(|named| named == other) => {
                let meant = did_you_mean(other, DIRECTIVES);
                let meant = meant.unwrap_or_else(|| format!("there are {}", DIRECTIVES.join(", ")));
                return Err(malformed(format!("there is no directive {other:?}; {meant}")));
            }
            _ => {}
        }
        self.machine.send(&mut self.instance, &Event { kind: &kind, payload }, self.now, &mut self.out).map(drop)
    }

    /// Lets time pass; one that is refused leaves the instance and the time as they were.
    fn advance(&mut self, ms: u64) -> Result<(), StepError> {
        let before = (self.instance.clone(), self.now);
        let passed = self.fire_until(Millis(self.now.0.saturating_add(ms)));
        if passed.is_err() {
            (self.instance, self.now) = before;
            self.out.clear();
        }
        passed
    }

    /// Fires what is due one at a time, the clock standing at each deadline.
    fn fire_until(&mut self, until: Millis) -> Result<(), StepError> {
        let (mut put_out, mut counted) = (0, 0);
        let mut fired_now = 0;
        for _ in 0..TIMERS_PER_ADVANCE_MAX {
            let next = self.instance.next_timer().filter(|(_, deadline)| *deadline <= until);
            let Some((id, deadline)) = next.filter(|_| self.instance.status() == Status::Active) else {
                self.now = until;
                return Ok(());
            };
            fired_now = if deadline > self.now { 1 } else { fired_now + 1 };
            if fired_now > TIMERS_AT_ONE_TIME_MAX {
                let message = "the timers start each other without end, and no time passes";
                return Err(StepError::limit("timers_at_one_time_max", TIMERS_AT_ONE_TIME_MAX, message));
            }
            self.now = self.now.max(deadline);
            if let Err(refused) = self.machine.fire(&mut self.instance, id, self.now, &mut self.out) {
                if self.machine.own.faults == Faults::Fail {
                    return Err(refused);
                }
                self.instance.hold(id, &refused);
            }
            put_out = self.out.effects.iter().skip(counted).fold(put_out, |sum, effect| sum + effect.weight());
            counted = self.out.effects.len();
            if put_out > self.machine.limits().output_bytes_max {
                return Err(StepError::output_too_large(
                    self.machine.limits(),
                    "the effects of one advance are too large",
                ));
            }
        }
        let message = "so many timers fire in this time: advance in smaller steps";
        Err(StepError::limit("timers_per_advance_max", TIMERS_PER_ADVANCE_MAX, message))
    }

    fn write(&mut self, error: Option<StepError>, line: &mut Vec<u8>) {
        line.extend_from_slice(b"{\"value\":");
        self.machine.write_value_json(&self.instance, line);
        line.extend_from_slice(b",\"context\":");
        self.instance.context().to_json(line);
        line.extend_from_slice(b",\"status\":\"");
        line.extend_from_slice(self.instance.status().as_str().as_bytes());
        line.push(b'"');
        if let Some(output) = self.instance.output() {
            line.extend_from_slice(b",\"output\":");
            output.to_json(line);
        }
        line.extend_from_slice(b",\"tags\":");
        let tags: List = self.machine.tags(&self.instance).into_iter().map(Value::Str).collect();
        Value::List(tags).to_json(line);
        line.extend_from_slice(b",\"effects\":[");
        for (index, effect) in self.out.effects.iter().enumerate() {
            if index > 0 {
                line.push(b',');
            }
            effect.write_json(line);
        }
        line.push(b']');
        if let Some(fault) = self.instance.error() {
            line.extend_from_slice(b",\"fault\":");
            // As an object, which the text of a fault mostly is: those who read this have a parser at hand.
            let text = fault.to_string();
            let object = Value::from_json(text.as_bytes(), &Default::default()).ok().filter(|it| it.as_map().is_some());
            object.unwrap_or_else(|| Value::str(text)).to_json(line);
        }
        if self.instance.is_stuck() {
            line.extend_from_slice(b",\"stuck\":true");
        }
        if let Some(error) = error {
            line.extend_from_slice(b",\"error\":");
            refused(&error).to_json(line);
        }
        line.push(b'}');
    }
}

/// One line of `simulate --batch`:
/// `{"machine":...,"events":[...],"input"?:...,"machines"?:{name: definition},"restore"?:true,"faults"?:"fail"}` gives `{"snapshots":[...]}` or `{"error":{"code","message","diagnostics"?}}`. `machines` are those that may be invoked;
/// `restore` stores and restores the instance after every step, which must make no difference; `faults` is that of `@statemesh`.
/// `"export":"xstate6"` gives `{"exported":definition,"lost":[pointer]}` instead; `{"scxml":document}`
/// gives `{"imported":definition}`.
pub fn simulate_batch_line(line: &[u8], limits: &Limits) -> Vec<u8> {
    let mut out = Vec::new();
    match batch(line, limits) {
        Ok(answer) => out = answer,
        Err(error) => {
            out.extend_from_slice(b"{\"error\":");
            error.to_json(&mut out);
            out.push(b'}');
        }
    }
    out
}

fn batch(line: &[u8], limits: &Limits) -> Result<Vec<u8>, Value> {
    let payload = Payload::Json(line);
    let bounds = statemesh_expr::Limits { depth: 128, value_bytes: usize::MAX, ..Default::default() };
    payload.validate(&bounds).map_err(|error| error_value("malformed_line", &error.to_string()))?;
    let field = |name: &str| match payload.get(name) {
        Ok(Some(Payload::Json(raw))) => Some(raw),
        _ => None,
    };
    if let Ok(Some(document)) = payload.get_str("scxml") {
        return imported(&document, limits);
    }
    let source = field("machine").ok_or_else(|| error_value("malformed_line", "the line has no \"machine\""))?;
    let events = field("events").map(|raw| elements(raw, &bounds)).transpose()?.unwrap_or_default();
    let library =
        Library { sources: Payload::Json(field("machines").unwrap_or(b"{}")), limits, compiled: RefCell::default() };
    let mut compiled = library.compile(source, 0).map_err(|diagnostics| diagnostics_value(&diagnostics))?;
    if field("faults") == Some(br#""fail""#) {
        compiled.set_faults(Faults::Fail);
    }
    let machine = compiled.machine;
    if let Some(format) = field("export") {
        return exported(&machine, format);
    }
    let input = field("input").map_or(Payload::Empty, Payload::Json);
    let mut out = br#"{"snapshots":["#.to_vec();
    let mut simulation = Simulation::start(machine, input, &mut out).map_err(|error| refused(&error))?;
    let restores = field("restore") == Some(b"true");
    let restore = |simulation: &mut Simulation| match restores {
        true => simulation.restore().map_err(|error| error_value(error.code(), &error.to_string())),
        false => Ok(()),
    };
    restore(&mut simulation)?;
    for event in events {
        out.push(b',');
        let mut text = Vec::new();
        event.to_json(&mut text);
        simulation.input(&text, &mut out);
        if out.len() > limits.output_bytes_max {
            return Err(refused(&StepError::output_too_large(limits, "the snapshots are too large together")));
        }
        restore(&mut simulation)?;
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

/// An SCXML document as a definition.
fn imported(document: &str, limits: &Limits) -> Result<Vec<u8>, Value> {
    let text = crate::definition::scxml::import_scxml(document, limits).map_err(|error| diagnostics_value(&[error]))?;
    Ok([br#"{"imported":"#, text.trim_end().replace('\n', "").as_bytes(), b"}"].concat())
}

/// The definition in another program's format, and the places of what is not in it.
fn exported(machine: &Machine, format: &[u8]) -> Result<Vec<u8>, Value> {
    let format = match format {
        br#""xstate6""# => ExportFormat::XState6,
        br#""xstate5""# => ExportFormat::XState5,
        _ => return Err(error_value("malformed_line", "\"export\" is \"xstate6\" or \"xstate5\"")),
    };
    let exported = machine.export(format);
    let lost: List = exported.lost.iter().map(|lost| Value::str(&lost.path)).collect();
    let mut out = br#"{"exported":"#.to_vec();
    out.extend(exported.text.bytes().filter(|byte| *byte != b'\n'));
    out.extend_from_slice(b",\"lost\":");
    Value::List(lost).to_json(&mut out);
    out.push(b'}');
    Ok(out)
}

fn elements(raw: &[u8], bounds: &statemesh_expr::Limits) -> Result<Vec<Value>, Value> {
    let value = Value::from_json(raw, bounds).map_err(|error| error_value("malformed_line", &error.to_string()))?;
    let list = value.as_list().ok_or_else(|| error_value("malformed_line", "\"events\" must be an array"))?;
    Ok(list.as_slice().to_vec())
}

/// The machines that a batch line brings along, compiled when they are first named.
struct Library<'l> {
    sources: Payload<'l>,
    limits: &'l Limits,
    compiled: RefCell<HashMap<String, Option<Arc<Machine>>>>,
}

impl Library<'_> {
    fn compile(&self, source: &[u8], depth: usize) -> Result<Compiled, Vec<Diagnostic>> {
        Machine::compile(source, self.limits, &|name| self.find(name, depth + 1))
    }

    fn find(&self, name: &str, depth: usize) -> Option<Arc<Machine>> {
        if let Some(known) = self.compiled.borrow().get(name) {
            return known.clone();
        }
        if depth > MACHINE_DEPTH_MAX {
            return None;
        }
        // A machine that invokes itself finds nothing: it is not defined yet.
        self.compiled.borrow_mut().insert(name.to_owned(), None);
        let Ok(Some(Payload::Json(source))) = self.sources.get(name) else { return None };
        let machine = self.compile(source, depth).ok()?.machine;
        self.compiled.borrow_mut().insert(name.to_owned(), Some(machine.clone()));
        Some(machine)
    }
}

/// A step that was refused, as data.
fn refused(error: &StepError) -> Value {
    let Value::Map(mut told) = error_value(error.code(), &error.to_string()) else { return Value::Null };
    if let StepError::Failed(found) = error {
        for key in ["expression", "values"] {
            found.get(key).into_iter().for_each(|value| drop(told.insert(key, value.clone())));
        }
    }
    Value::Map(told)
}

fn error_value(code: &str, message: &str) -> Value {
    Value::Map([("code", Value::str(code)), ("message", Value::str(message))].into_iter().collect())
}

fn diagnostics_value(diagnostics: &[Diagnostic]) -> Value {
    let first = diagnostics.iter().find(|found| found.is_error());
    let (code, message) = first.map_or(("invalid_definition", String::new()), |first| (first.code, first.to_string()));
    let list: List = diagnostics.iter().map(Diagnostic::to_value).collect();
    let fields = [("code", Value::str(code)), ("message", Value::str(message)), ("diagnostics", Value::List(list))];
    Value::Map(fields.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_directive_is_refused_and_an_event_that_is_called_so_is_not() {
        let errors = |on: &str, kind: &str| {
            let line = format!(r#"{{"machine":{{"on":{on}}},"events":[{{"type":"{kind}","ms":1}}]}}"#);
            let answer = simulate_batch_line(line.as_bytes(), &Limits::default());
            let answer = Value::from_json(&answer, &Default::default()).unwrap();
            let snapshots = answer.get("snapshots").and_then(Value::as_list).unwrap().as_slice().to_vec();
            let message = snapshots[1].get("error").and_then(|error| error.get("message")).map(Value::to_string);
            message.unwrap_or_default()
        };
        let told = errors(r#"{"*":{}}"#, "@advanec");
        assert!(told.contains("there is no directive") && told.contains("@advance"), "{told}");
        assert!(errors("{}", "@later").contains("there are @advance, @retry, @skip"));
        assert_eq!(errors(r#"{"@advanec":{}}"#, "@advanec"), "");
        assert_eq!(errors("{}", "@advance"), "");
    }

    /// What a batch of these events gives for this machine: one snapshot for the start and for each event.
    fn snapshots(machine: &str, events: &str) -> Vec<Value> {
        let line = format!(r#"{{"machine":{machine},"events":[{events}]}}"#);
        let answer = simulate_batch_line(line.as_bytes(), &Limits::default());
        let answer = Value::from_json(&answer, &Default::default()).unwrap();
        answer.get("snapshots").and_then(Value::as_list).unwrap_or_else(|| panic!("{answer}")).as_slice().to_vec()
    }

    const COUNT: &str = r#"{"type":"@xstate.assign","context":{"n":{"@expr":"context.n + 1"}}}"#;

    #[test]
    fn a_chart_that_polls_for_an_hour_is_not_endless() {
        let machine = format!(
            r#"{{"context":{{"n":0}},"initial":"a","states":{{"a":{{"after":{{"10":{{"target":"a","reenter":true,"actions":{COUNT}}}}}}}}}}}"#
        );
        let found = snapshots(&machine, r#"{"type":"@advance","ms":3600000}"#);
        assert_eq!(found[1].get("error"), None);
        assert_eq!(found[1].get("context").and_then(|context| context.get("n")), Some(&Value::Int(360_000)));
        let much = snapshots(&machine, r#"{"type":"@advance","ms":1e12}"#);
        let told = much[1].get("error").map(Value::to_string).unwrap_or_default();
        assert!(told.contains("smaller steps") && !told.contains("without end"), "{told}");
    }

    #[test]
    fn an_advance_that_is_refused_leaves_the_instance_and_the_time_as_they_were() {
        let machine = format!(
            r#"{{"context":{{"n":0}},"initial":"w","states":{{"w":{{"after":{{"5":"a"}}}},"a":{{"after":{{"0":{{"target":"b","actions":[{COUNT},"beep"]}}}}}},"b":{{"after":{{"0":"a"}}}}}}}}"#
        );
        let found = snapshots(&machine, r#"{"type":"@advance","ms":9},{"type":"@advance","ms":4}"#);
        let told = found[1].get("error").map(Value::to_string).unwrap_or_default();
        assert!(told.contains("without end"), "{told}");
        for key in ["value", "context", "effects"] {
            assert_eq!(found[1].get(key), found[0].get(key), "{key}");
        }
        assert_eq!(
            (found[2].get("error"), found[2].get("value")),
            (None, Some(&Value::str("w"))),
            "5 ms were not over"
        );
    }

    #[test]
    fn an_instance_that_failed_says_why() {
        let line = br#"{"machine":{"on":{"E":{"actions":{"type":"x","params":{"@expr":"event.n + 1"}}}}},
            "events":[{"type":"E","n":1},{"type":"E"}],"faults":"fail"}"#;
        let answer = Value::from_json(&simulate_batch_line(line, &Limits::default()), &Default::default()).unwrap();
        let snapshots = answer.get("snapshots").and_then(Value::as_list).unwrap().as_slice().to_vec();
        let [_, before, after] = &snapshots[..] else { panic!("{answer}") };
        assert!(before.get("fault").is_none(), "{before}");
        assert_eq!(after.get("status").and_then(Value::as_str), Some("error"));
        let fault = after.get("fault").unwrap();
        assert!(fault.get("code").is_some() && fault.get("message").is_some(), "{fault}");
        assert_eq!(fault.get("expression").and_then(Value::as_str), Some("event.n + 1"));
    }
}
