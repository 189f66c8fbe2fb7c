//! Running a request on its instance, and writing the reply.

use std::sync::Arc;

use statemesh_engine::{Effect, Event, Instance, Millis, Status, StepError};
use statemesh_expr::Payload;
use statemesh_mesh::client_protocol::error::ErrorCode;
use statemesh_mesh::client_protocol::reply::{Encoding, MapWriter, write_error, write_str};
use statemesh_mesh::client_protocol::request::{Op, Request};

use super::{Outcome, Run, State};
use crate::history::{History, Past};
use crate::instance::{Answer, Entry};
use crate::machines::Version;
use crate::stages::Stage;
use crate::subscribers::Change;

/// An error of one request, with its code.
struct Failed {
    code: ErrorCode,
    message: String,
    hint: &'static str,
}

fn failed(code: ErrorCode, message: String, hint: &'static str) -> Failed {
    Failed { code, message, hint }
}

/// What a request did to its instance.
#[derive(Default)]
struct Done {
    number: u32,
    changed: bool,
    /// The key's instance was lost with its owner, and this one is new.
    restarted: bool,
}

/// Timers of one instance fired in a row. A chain of timers that are all due ends here, and goes on with the next slice.
const CHAIN: usize = 64;

impl State {
    /// Runs a request whose partition should be here; writes the whole reply.
    pub(crate) fn run(
        &mut self,
        request: &Request<'_>,
        hash: u64,
        partition: u16,
        run: &mut Run,
        reply: &mut Vec<u8>,
    ) -> Outcome {
        if !self.holds(partition) {
            return Outcome::NotHeld;
        }
        if let Some(answer) = self.answer_before(request, partition, hash) {
            repeat(&answer, request, reply);
            return Outcome::Replied;
        }
        let result = match request.op {
            Op::Send | Op::Tell => self.send(request, hash, partition, run),
            Op::Start => self.start(request, hash, partition, run),
            Op::Stop => self.stop(request, hash, partition, run),
            _ => self.existing(request, hash, partition).map(|number| Done { number, ..Done::default() }),
        };
        run.lap(Stage::Step);
        match result {
            Ok(done) => self.write_reply(request, &done, run.now, reply),
            Err(error) => {
                run.error_code = Some(error.code);
                write_error(reply, request.encoding, request.id, error.code, &error.message, error.hint);
            }
        }
        run.lap(Stage::Write);
        if let Some(watch) = &run.watch {
            watch.show(request.encoding, reply);
        }
        self.update_due(run);
        Outcome::Replied
    }

    fn existing(&self, request: &Request<'_>, hash: u64, partition: u16) -> Result<u32, Failed> {
        self.find(partition, hash, &request.machine, &request.key).ok_or_else(|| {
            if self.machines.table().by_name(&request.machine).is_none() {
                return unknown_machine(&request.machine);
            }
            let message = format!("there is no instance {}/{}", request.machine, request.key);
            failed(ErrorCode::UnknownInstance, message, "send or start creates it")
        })
    }

    fn send(&mut self, request: &Request<'_>, hash: u64, partition: u16, run: &mut Run) -> Result<Done, Failed> {
        let mut done = match self.find(partition, hash, &request.machine, &request.key) {
            Some(number) => Done { number, ..Done::default() },
            None => self.create(request, hash, partition, run)?,
        };
        let payload = payload(request.encoding, request.event);
        let event = Event { kind: &request.event_type, payload };
        run.events += 1;
        run.output.clear();
        let Some(Entry { version, instance, .. }) = self.entries.get_mut(done.number) else {
            return Err(vanished());
        };
        let step =
            version.machine.send(instance, &event, Millis(run.now), &mut run.output).map_err(|e| step_failed(&e))?;
        done.changed = step.changed;
        self.after_step(done.number, &request.event_type, "event", step.changed, run);
        self.keep_answer(request, &done);
        Ok(done)
    }

    fn start(&mut self, request: &Request<'_>, hash: u64, partition: u16, run: &mut Run) -> Result<Done, Failed> {
        let done = match self.find(partition, hash, &request.machine, &request.key) {
            None => self.create(request, hash, partition, run)?,
            Some(number) => self.start_again(request, number, run)?,
        };
        self.keep_answer(request, &done);
        Ok(done)
    }

    /// Lets a new instance take the place of one that is done, failed or stopped: nothing else could ever be done with its key.
    fn start_again(&mut self, request: &Request<'_>, number: u32, run: &mut Run) -> Result<Done, Failed> {
        let Some(entry) = self.entries.get(number) else {
            return Err(vanished());
        };
        if entry.instance.status() == Status::Active {
            let message = format!("{}/{} exists already", request.machine, request.key);
            return Err(failed(ErrorCode::AlreadyStarted, message, "send it an event, or choose another key"));
        }
        let (version, mut instance) = self.begin(request, run)?;
        if let Some(entry) = self.entries.get_mut(number) {
            instance.succeed(&entry.instance);
            // What was noted is numbered by the definition that the other had.
            entry.history = History::default();
            (entry.version, entry.instance) = (version, instance);
        }
        self.after_step(number, "xstate.init", "start", true, run);
        Ok(Done { number, changed: true, restarted: false })
    }

    /// A new instance of the machine's newest version, which is nowhere yet. `run.output` holds what it did.
    fn begin(&self, request: &Request<'_>, run: &mut Run) -> Result<(Arc<Version>, Instance), Failed> {
        let Some(version) = self.machines.table().by_name(&request.machine).cloned() else {
            return Err(unknown_machine(&request.machine));
        };
        run.events += 1;
        run.output.clear();
        let input = payload(request.encoding, request.input);
        let instance =
            version.machine.start(input, Millis(run.now), &mut run.output).map_err(|error| step_failed(&error))?;
        Ok((version, instance))
    }

    fn stop(&mut self, request: &Request<'_>, hash: u64, partition: u16, run: &mut Run) -> Result<Done, Failed> {
        let number = self.existing(request, hash, partition)?;
        let Some(Entry { version, instance, .. }) = self.entries.get_mut(number) else {
            return Err(vanished());
        };
        let before = instance.status();
        run.output.clear();
        version.machine.stop(instance, Millis(run.now), &mut run.output).map_err(|error| step_failed(&error))?;
        let changed = instance.status() != before;
        self.after_step(number, "xstate.stop", "stop", changed, run);
        let done = Done { number, changed, restarted: false };
        self.keep_answer(request, &done);
        Ok(done)
    }

    fn create(&mut self, request: &Request<'_>, hash: u64, partition: u16, run: &mut Run) -> Result<Done, Failed> {
        if self.is_full() {
            run.refused_instances += 1;
            let message = format!("limits.instances: this daemon has {} instances already", self.rules.instances);
            return Err(failed(ErrorCode::LimitExceeded, message, "raise limits.instances, or add a daemon"));
        }
        let (version, instance) = self.begin(request, run)?;
        let key = request.key.as_ref().into();
        let number = self.add(
            partition,
            Entry { hash, key, version, instance, armed: None, history: History::default(), answers: None },
            run,
        );
        let restarted = self.lost.remove(&hash).is_some();
        run.created += 1;
        self.after_step(number, "xstate.init", if restarted { "restart" } else { "start" }, true, run);
        Ok(Done { number, changed: true, restarted })
    }

    /// Fires what is due of one instance.
    pub(super) fn step_timer(&mut self, number: u32, run: &mut Run) {
        for _ in 0..CHAIN {
            let Some(entry) = self.entries.get_mut(number) else {
                return;
            };
            let Some((timer, _)) = entry.instance.next_timer().filter(|(_, Millis(at))| *at <= run.now) else {
                return;
            };
            run.output.clear();
            run.events += 1;
            run.timers_fired += 1;
            let machine = &entry.version.machine;
            let event = machine.timer_event(&entry.instance, timer);
            match machine.fire(&mut entry.instance, timer, Millis(run.now), &mut run.output) {
                Ok(step) => {
                    let event = event.as_deref().unwrap_or("xstate.after");
                    self.after_step(number, event, "timer", step.changed, run);
                }
                Err(error) => {
                    tracing::warn!(machine = %entry.version.name, key = %entry.key, %error, "a timer's event hit a limit");
                    return;
                }
            }
        }
    }

    /// Remembers, publishes and arms what a step did. `run.output` holds its effects.
    fn after_step(&mut self, number: u32, event: &str, reason: &'static str, changed: bool, run: &mut Run) {
        run.effects += run.output.effects.len() as u64;
        let Some(entry) = self.entries.get_mut(number) else {
            return;
        };
        if changed {
            run.transitions += 1;
            run.machine_errors += u64::from(entry.instance.status() == Status::Error);
            let Entry { history, version, instance, .. } = entry;
            history.push(&version.machine, instance, event, run.now, self.rules.history, &mut run.scratch);
        }
        if run.watched && (changed || !run.output.effects.is_empty()) {
            run.changes.push(Arc::new(change(entry, event, reason, changed, &run.output.effects)));
        }
        self.arm(number);
    }

    fn answer_before(&self, request: &Request<'_>, partition: u16, hash: u64) -> Option<Answer> {
        let token = request.dedup.as_deref()?;
        let number = self.find(partition, hash, &request.machine, &request.key)?;
        self.entries.get(number)?.answers.as_ref()?.to(token).cloned()
    }

    fn keep_answer(&mut self, request: &Request<'_>, done: &Done) {
        let Some(token) = request.dedup.as_deref() else {
            return;
        };
        let Some(entry) = self.entries.get_mut(done.number) else {
            return;
        };
        let mut reply = Vec::new();
        let mut map = MapWriter::new(&mut reply, request.encoding);
        write_outcome(&mut map, entry, done);
        map.end();
        let answer = Answer { token: token.into(), encoding: request.encoding, reply: reply.into() };
        entry.answers.get_or_insert_default().keep(answer);
    }

    fn write_reply(&self, request: &Request<'_>, done: &Done, now: u64, reply: &mut Vec<u8>) {
        let Some(entry) = self.entries.get(done.number) else {
            return;
        };
        let mut map = MapWriter::new(reply, request.encoding);
        if let Some(id) = request.id {
            map.raw("id", id);
        }
        match request.op {
            Op::Get => write_whole(&mut map, entry),
            Op::History => write_history(&mut map, entry, now),
            Op::Explain => write_explanation(&mut map, entry, request, now),
            _ => write_outcome(&mut map, entry, done),
        }
        map.end();
    }

    /// Tells watchers that a key was owned twice and which state won.
    pub(super) fn publish_conflict(&mut self, number: u32, run: &mut Run) {
        if let Some(entry) = self.entries.get(number) {
            tracing::warn!(machine = %entry.version.name, key = %entry.key, seq = entry.instance.seq(),
                "owned twice while the network was partitioned; the higher seq won");
            run.changes.push(Arc::new(change(entry, "", "conflict", false, &[])));
        }
    }
}

fn payload(encoding: Encoding, bytes: Option<&[u8]>) -> Payload<'_> {
    match (encoding, bytes) {
        (_, None) => Payload::Empty,
        (Encoding::Json, Some(bytes)) => Payload::Json(bytes),
        (Encoding::MsgPack, Some(bytes)) => Payload::MsgPack(bytes),
    }
}

fn unknown_machine(name: &str) -> Failed {
    let shown: String = name.chars().take(64).collect();
    failed(
        ErrorCode::UnknownMachine,
        format!("no machine \"{shown}\" is defined"),
        "define it first; `machines` lists those that are",
    )
}

fn vanished() -> Failed {
    failed(ErrorCode::Internal, "the instance vanished while it was used".into(), "please report this")
}

fn step_failed(error: &StepError) -> Failed {
    let code = match error {
        StepError::MalformedEvent(_) => ErrorCode::BadRequest,
        StepError::Limit { .. } | StepError::WrongMachine => ErrorCode::EventFailed,
    };
    failed(code, error.to_string(), error.hint())
}

fn write_outcome(map: &mut MapWriter<'_>, entry: &Entry, done: &Done) {
    map.bool("ok", true);
    entry.write_head(map);
    map.bool("changed", done.changed);
    if done.restarted {
        map.bool("restarted", true);
    }
    if let Some(error) = entry.instance.error() {
        map.str("fault", &error.to_string());
    }
}

fn write_whole(map: &mut MapWriter<'_>, entry: &Entry) {
    map.bool("ok", true);
    entry.write_head(map);
    map.with("context", |out, encoding| write_value(out, encoding, entry.instance.context()));
    let tags = entry.version.machine.tags(&entry.instance);
    map.list("tags", tags.iter(), |out, encoding, tag| write_str(out, encoding, tag));
    if let Some(output) = entry.instance.output() {
        map.with("output", |out, encoding| write_value(out, encoding, output));
    }
    if let Some(error) = entry.instance.error() {
        map.str("fault", &error.to_string());
    }
    map.str("definition", &entry.version.hash_hex());
}

fn write_history(map: &mut MapWriter<'_>, entry: &Entry, now: u64) {
    map.bool("ok", true).uint("seq", entry.instance.seq());
    let machine = &entry.version.machine;
    let past: Vec<Past<'_>> = entry.history.read(machine).collect();
    let value = |past: &Past<'_>| {
        let mut json = Vec::new();
        machine.write_configuration_json(past.configuration, &mut json);
        json
    };
    let mut from: Option<Vec<u8>> = None;
    map.list("history", past.iter(), |out, encoding, past| {
        let to = value(past);
        let mut line = MapWriter::new(out, encoding);
        line.uint("seq", past.seq).str("event", past.event);
        match &from {
            Some(from) => line.with("from", |out, encoding| write_json(out, encoding, from)),
            None => line.null("from"),
        };
        line.with("to", |out, encoding| write_json(out, encoding, &to));
        let age = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(past.at);
        line.uint("ageMs", u64::try_from(age).unwrap_or(0));
        line.end();
        from = Some(to);
    });
}

fn write_explanation(map: &mut MapWriter<'_>, entry: &Entry, request: &Request<'_>, now: u64) {
    let event = Event { kind: &request.event_type, payload: payload(request.encoding, request.event) };
    map.bool("ok", true);
    entry.write_head(map);
    match entry.version.machine.explain(&entry.instance, &event, Millis(now)) {
        Ok(explanation) => map.with("explanation", |out, encoding| write_value(out, encoding, &explanation.to_value())),
        Err(error) => map.str("fault", &error.to_string()),
    };
}

/// `{"type","params"?}`, `{"type":"@xstate.emit","event"}` or `{"type":"@xstate.log","args"}`, as `simulate` shows them.
fn write_effect(out: &mut Vec<u8>, encoding: Encoding, effect: &Effect) {
    let mut map = MapWriter::new(out, encoding);
    map.str("type", effect.kind());
    let (name, value) = match effect {
        Effect::Custom { params, .. } => ("params", params.as_ref()),
        Effect::Emit { event } => ("event", Some(event)),
        Effect::Log { args } => ("args", Some(args)),
    };
    if let Some(value) = value {
        map.with(name, |out, encoding| write_value(out, encoding, value));
    }
    map.end();
}

/// Writes a value of the engine.
pub(crate) fn write_value(out: &mut Vec<u8>, encoding: Encoding, value: &statemesh_expr::Value) {
    match encoding {
        Encoding::Json => value.to_json(out),
        Encoding::MsgPack => value.to_msgpack(out),
    }
}

/// Writes JSON of our own making in either encoding.
pub(crate) fn write_json(out: &mut Vec<u8>, encoding: Encoding, json: &[u8]) {
    match encoding {
        Encoding::Json => out.extend_from_slice(json),
        Encoding::MsgPack => match statemesh_expr::Value::from_json(json, &statemesh_expr::Limits::default()) {
            Ok(value) => value.to_msgpack(out),
            Err(_) => out.push(0xc0),
        },
    }
}

/// Writes the answer of long ago again, with the id of today.
fn repeat(answer: &Answer, request: &Request<'_>, reply: &mut Vec<u8>) {
    let limits = statemesh_expr::Limits::default();
    let value = match answer.encoding {
        Encoding::Json => statemesh_expr::Value::from_json(&answer.reply, &limits),
        Encoding::MsgPack => statemesh_expr::Value::from_msgpack(&answer.reply, &limits),
    };
    let mut map = MapWriter::new(reply, request.encoding);
    if let Some(id) = request.id {
        map.raw("id", id);
    }
    if let Ok(value) = value
        && let Some(fields) = value.as_map()
    {
        for (name, field) in fields.iter() {
            map.with(name, |out, encoding| write_value(out, encoding, field));
        }
    }
    map.end();
}

/// A change as it is published: [topic `machine/key`, map in MessagePack].
fn change(entry: &Entry, event: &str, reason: &str, changed: bool, effects: &[Effect]) -> Change {
    let topic = [entry.version.name.as_bytes(), b"/", entry.key.as_bytes()].concat();
    let mut body = Vec::with_capacity(160);
    let mut map = MapWriter::new(&mut body, Encoding::MsgPack);
    map.str("machine", &entry.version.name).str("key", &entry.key).str("reason", reason);
    if !event.is_empty() {
        map.str("event", event);
    }
    entry.write_head(&mut map);
    map.bool("changed", changed);
    if !effects.is_empty() {
        map.list("effects", effects.iter(), write_effect);
    }
    map.end();
    Change { topic: topic.into(), body: widen(body).into() }
}

/// A change of a key whose instance went with its owner.
pub(super) fn lost_change(machine: &str, key: &str) -> Change {
    let mut body = Vec::new();
    let mut map = MapWriter::new(&mut body, Encoding::MsgPack);
    map.str("machine", machine).str("key", key).str("reason", "lost").bool("changed", true);
    map.end();
    Change { topic: [machine, "/", key].concat().into_bytes().into(), body: widen(body).into() }
}

/// Gives a map its count in two bytes, whatever its size: a subscriber's copy may get a field more.
fn widen(mut map: Vec<u8>) -> Vec<u8> {
    if let Some(header @ 0x80..=0x8f) = map.first().copied() {
        map.splice(0..1, [0xde, 0, header & 0x0f]);
    }
    map
}
