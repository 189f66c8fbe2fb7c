//! Running a request on its instance.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;
use statemesh_engine::{Event, Instance, Millis, Status, Step, StepError, StepResult};
use statemesh_expr::{Payload, Value};
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::reply::{Encoding, write_error_with};
use statemesh_protocol::request::{Op, Request};
use statemesh_protocol::run::RunId;

use super::replies::Reply;
use super::{Outcome, Run, State};
use crate::change::{change, conflict_change};
use crate::dedup::{Answer, Asked, Known, Tokens};
use crate::history::{History, How};
use crate::instance::Entry;
use crate::machines::Version;
use crate::marks::{Conflict, KeyMark};
use crate::removed::Place;
use crate::stages::Stage;
use crate::until::Until;
use crate::values::write_value;

/// An error of one request, with its code. Boxed, so that those without one carry no place for it.
pub(super) struct Failed {
    code: ErrorCode,
    message: String,
    hint: Cow<'static, str>,
    /// What an expression without a value was, and what it read.
    fault: Option<Box<Value>>,
}

pub(super) fn failed(code: ErrorCode, message: String, hint: impl Into<Cow<'static, str>>) -> Box<Failed> {
    Box::new(Failed { code, message, hint: hint.into(), fault: None })
}

impl Failed {
    /// It is refused because of the volume, whatever the instance is.
    const fn is_about_disk(&self) -> bool {
        matches!(self.code, ErrorCode::StorageFailed | ErrorCode::StorageFull | ErrorCode::StorageDamaged)
    }

    fn write(&self, reply: &mut Vec<u8>, request: &Request<'_>) {
        let Self { code, message, hint, fault } = self;
        write_error_with(reply, request.encoding, request.id, *code, message, hint, |error| {
            for key in ["expression", "values"] {
                if let Some(value) = fault.as_ref().and_then(|fault| fault.get(key)) {
                    let mut bytes = Vec::new();
                    write_value(&mut bytes, request.encoding, value);
                    error.raw(key, &bytes);
                }
            }
        });
    }
}

/// What a request did to its instance.
#[derive(Default)]
pub(super) struct Done {
    pub(super) number: u32,
    pub(super) changed: bool,
    /// Nothing reacted to the event.
    pub(super) unhandled: bool,
    /// There was no instance: the request made it.
    pub(super) made: bool,
    /// The instance goes once its reply is written.
    pub(super) removed: bool,
    /// What the first reply about the key has to say.
    pub(super) mark: Option<KeyMark>,
}

/// A step, or why it was refused.
type StepDone = Result<Step, Box<Failed>>;

/// A request and where its key is.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) hash: u64,
    pub(super) partition: u16,
}

/// Timers of one instance fired in a row. A chain of timers that are all due ends here, and goes on with the next slice: some time later
/// where no time passed between them.
const CHAIN: usize = 64;

impl State {
    /// Runs a request whose partition should be here; writes the whole reply.
    pub fn run(
        &mut self,
        request: &Request<'_>,
        hash: u64,
        partition: u16,
        run: &mut Run,
        reply: &mut Vec<u8>,
    ) -> Outcome {
        if run.lease_is_over || !self.holds(partition) {
            return Outcome::NotHeld;
        }
        run.step.is_durable = self.is_durable(&request.machine);
        let result = self.answer(At { request, hash, partition }, run, reply);
        let mut is_about_disk = false;
        if let Err(error) = result {
            is_about_disk = error.is_about_disk();
            run.counts.error_code = Some(error.code);
            reply.clear();
            error.write(reply, request);
        }
        run.lap(Stage::Write);
        if let Some(watch) = &run.watch {
            watch.show(request.encoding, reply);
        }
        self.update_due(run);
        let mark = self.leave(partition, run);
        // It tells of no instance, and would wait for the very disk that it is about.
        Outcome::Replied(mark.filter(|_| !is_about_disk))
    }

    fn answer(&mut self, at: At<'_>, run: &mut Run, reply: &mut Vec<u8>) -> Result<(), Box<Failed>> {
        let asked = self.asked(at.request)?;
        if run.step.is_durable {
            self.check_place(at.partition)?;
        }
        if let Some(asked) = asked
            && self.repeat(at, asked, run.now, reply)?
        {
            return Ok(());
        }
        if let Some(until) = at.request.answer.until {
            self.check_until(at, until)?;
        }
        let records = run.step.is_durable && at.request.op.changes();
        let before = if records { self.check_room().map(|()| self.standing_of(at))? } else { None };
        let done = self.perform(at, run);
        run.lap(Stage::Step);
        let mut done = match done {
            Err(error) if error.code == ErrorCode::UnknownInstance && at.request.op == Op::Explain => {
                return self.explain_first(at, run, reply);
            }
            done => done?,
        };
        if !self.marks.is_empty() {
            done.mark = self.mark_of(at);
            self.settle_marks(run);
        }
        if let Some(asked) = asked {
            self.keep_answer(asked, &done);
        }
        if records {
            self.record_request(at, &done, before, asked, run);
        }
        let Some(entry) = self.entries.get(done.number) else {
            return Err(vanished());
        };
        Reply { entry, request: at.request, done: &done, now: run.now, bytes_max: self.daemon.rules.output_bytes }
            .write(reply);
        if let Some(until) = at.request.answer.until {
            let until = Until::read(until, at.request.encoding);
            // What has ended changes no more, and what is stuck not by itself.
            if until.is_ok_and(|until| !until.is_met(entry))
                && entry.instance.status() == Status::Active
                && let Some(waiter) = run.waiter.take()
            {
                self.wait_for(at.partition, at.hash, waiter, run.now);
            }
        }
        // What an event answers is bounded by its definition, and the event is done.
        if reply.len() > self.daemon.rules.output_bytes && !at.request.op.changes() {
            run.counts.refused_outputs += 1;
            return Err(too_large(self.daemon.rules.output_bytes));
        }
        if done.removed {
            self.remove_for_good(at.partition, at.hash, done.number, run);
        }
        Ok(())
    }

    /// What the reply has to say of what was lost. A request that changes nothing leaves it for the next one too: it may be sent
    /// again where its reply is lost, and what asks for its own sake is not who has to act on it.
    fn mark_of(&mut self, At { request, hash, partition }: At<'_>) -> Option<KeyMark> {
        match request.op {
            // No client reads the reply: the next one says it.
            Op::Tell => {
                self.marks.began_anew(partition, hash);
                None
            }
            op if op.changes() => self.marks.take(partition, hash),
            _ => self.marks.show(partition, hash),
        }
    }

    /// Refuses to wait for what the instance's machine does not have: that would be found out when the time is over.
    fn check_until(&self, At { request, hash, partition }: At<'_>, until: &[u8]) -> Result<(), Box<Failed>> {
        let Ok(until) = Until::read(until, request.encoding) else { return Ok(()) };
        let table = self.daemon.machines.table();
        // A new life is of the newest version.
        let here = match request.op {
            Op::Send | Op::Get => self.find(partition, hash, &request.machine, &request.key),
            Op::Start => None,
            _ => return Ok(()),
        };
        let here = here.and_then(|number| self.entries.get(number)).map(|entry| &entry.version);
        let Some(version) = here.or_else(|| table.by_name(&request.machine)) else { return Ok(()) };
        until.known_to(version).map_err(|unknown| failed(ErrorCode::UnknownState, unknown.message, unknown.hint))
    }

    /// Explains an event for a key that has no instance: for the one that the event would create, which is nowhere and stays nowhere.
    fn explain_first(&mut self, at: At<'_>, run: &mut Run, reply: &mut Vec<u8>) -> Result<(), Box<Failed>> {
        let request = at.request;
        let counts = run.counts;
        let begun = self.begin(request, run);
        run.step.engine.clear();
        run.counts.take_back(counts);
        let (version, instance) = begun?;
        let (key, life) = (request.key.as_ref().into(), RunId::default());
        let entry = Entry { key, run: life, version, instance, armed: None, history: History::default(), tokens: None };
        let done = Done { mark: self.marks.show(at.partition, at.hash), ..Done::default() };
        let bytes_max = self.daemon.rules.output_bytes;
        Reply { entry: &entry, request, done: &done, now: run.now, bytes_max }.write(reply);
        if reply.len() > bytes_max {
            run.counts.refused_outputs += 1;
            return Err(too_large(bytes_max));
        }
        Ok(())
    }

    fn perform(&mut self, at: At<'_>, run: &mut Run) -> Result<Done, Box<Failed>> {
        match at.request.op {
            Op::Send | Op::Tell => self.send(at, run),
            Op::Start => self.start(at, run),
            Op::Stop => self.stop(at, run),
            Op::Retry | Op::Skip => self.go_on(at, run),
            Op::Delete => self.delete(at, run),
            _ => self.existing(at).map(|number| Done { number, ..Done::default() }),
        }
    }

    pub(super) fn existing(&self, at: At<'_>) -> Result<u32, Box<Failed>> {
        let At { request, hash, partition } = at;
        self.find(partition, hash, &request.machine, &request.key).ok_or_else(|| {
            if self.daemon.machines.table().by_name(&request.machine).is_none() {
                return unknown_machine(&request.machine);
            }
            failed(ErrorCode::UnknownInstance, self.none_there(at), "send or start creates it")
        })
    }

    /// Says that a key has no instance, and why, if that was lost: again and again, as only the next instance's first reply ends it
    /// (`restarted`).
    fn none_there(&self, At { request, hash, partition }: At<'_>) -> String {
        let why = if self.marks.says_lost(partition, hash) { " any more: it was lost with its daemon" } else { "" };
        format!("there is no instance {}/{}{why}", request.machine, request.key)
    }

    fn send(&mut self, at: At<'_>, run: &mut Run) -> Result<Done, Box<Failed>> {
        let found = self.find(at.partition, at.hash, &at.request.machine, &at.request.key);
        self.check_conditions(at, found)?;
        let Some(number) = found else {
            return self.send_first(at, run);
        };
        let Step { changed, handled, .. } = self.send_to(number, at.request, run)?;
        Ok(Done { number, changed, unhandled: !handled, ..Done::default() })
    }

    fn send_to(&mut self, number: u32, request: &Request<'_>, run: &mut Run) -> StepDone {
        let payload = payload(request.encoding, request.event);
        let event = Event { kind: &request.event_type, payload };
        run.counts.events += 1;
        run.step.engine.clear();
        let Some(Entry { version, instance, .. }) = self.entries.get_mut(number) else {
            return Err(vanished());
        };
        let step = version.machine.send(instance, &event, Millis(run.now), &mut run.step.engine);
        let step = step.map_err(|error| step_failed(&error, run))?;
        self.after_step(number, &request.event_type, "event", step.changed, run);
        Ok(step)
    }

    /// Creates an instance for its first event. If that is refused, nothing has happened: no instance, no timer, no change.
    fn send_first(&mut self, at: At<'_>, run: &mut Run) -> Result<Done, Box<Failed>> {
        let (changes, notes, counts) = (run.step.changes.len(), run.notes.len(), run.counts);
        let done = self.create(at, run)?;
        match self.send_to(done.number, at.request, run) {
            Ok(Step { changed, handled, .. }) => {
                self.inherit(at.partition, at.hash, done.number);
                Ok(Done { changed, unhandled: !handled, ..done })
            }
            Err(error) => {
                self.remove(at.partition, at.hash, done.number);
                run.step.changes.truncate(changes);
                self.take_back_notes(at.partition, notes, run);
                run.counts.take_back(counts);
                Err(error)
            }
        }
    }

    fn start(&mut self, at: At<'_>, run: &mut Run) -> Result<Done, Box<Failed>> {
        let found = self.find(at.partition, at.hash, &at.request.machine, &at.request.key);
        self.check_conditions(at, found)?;
        match found {
            None => {
                let done = self.create(at, run)?;
                self.inherit(at.partition, at.hash, done.number);
                Ok(done)
            }
            Some(number) => self.start_again(at.request, number, run),
        }
    }

    /// Lets a new life take the place of one that is done, failed or stopped: nothing else could ever be done with its key. Another
    /// one is stopped first, if that is asked for.
    fn start_again(&mut self, request: &Request<'_>, number: u32, run: &mut Run) -> Result<Done, Box<Failed>> {
        let Some(entry) = self.entries.get(number) else {
            return Err(vanished());
        };
        let goes_on = entry.instance.status() == Status::Active || entry.instance.is_stuck();
        if goes_on && !request.force {
            let message = format!("{}/{} exists already", request.machine, request.key);
            return Err(failed(
                ErrorCode::AlreadyStarted,
                message,
                "send it an event, choose another key, or say `force`",
            ));
        }
        let ended = entry.run;
        // First: where the new one cannot begin, the other goes on.
        let (version, instance) = self.begin(request, run)?;
        if goes_on {
            let effects = std::mem::take(&mut run.step.engine.effects);
            let stopped = self.stop_one(number, run);
            run.step.engine.clear();
            run.step.engine.effects = effects;
            stopped?;
        }
        let life = self.lives.begin(run.now, Some(ended));
        if let Some(entry) = self.entries.get_mut(number) {
            // What was noted is numbered by the definition that the other had.
            entry.history = History::default();
            (entry.version, entry.instance, entry.run) = (version, instance, life);
        }
        self.note_life(number, run);
        self.after_step(number, "xstate.init", "start", true, run);
        Ok(Done { number, changed: true, made: true, ..Done::default() })
    }

    /// A new instance of the machine's newest version, which is nowhere yet. `run.step.engine` holds what it did.
    fn begin(&self, request: &Request<'_>, run: &mut Run) -> Result<(Arc<Version>, Instance), Box<Failed>> {
        let Some(version) = self.daemon.machines.table().by_name(&request.machine).cloned() else {
            return Err(unknown_machine(&request.machine));
        };
        run.counts.events += 1;
        run.step.engine.clear();
        let input = payload(request.encoding, request.input);
        let started = version.machine.start(input, Millis(run.now), &mut run.step.engine);
        let instance = started.map_err(|error| step_failed(&error, run))?;
        Ok((version, instance))
    }

    fn stop(&mut self, at: At<'_>, run: &mut Run) -> Result<Done, Box<Failed>> {
        let number = self.existing(at)?;
        self.check_conditions(at, Some(number))?;
        let changed = self.stop_one(number, run)?;
        Ok(Done { number, changed, ..Done::default() })
    }

    /// Stops an instance. Gives whether that changed it.
    fn stop_one(&mut self, number: u32, run: &mut Run) -> Result<bool, Box<Failed>> {
        let Some(Entry { version, instance, .. }) = self.entries.get_mut(number) else {
            return Err(vanished());
        };
        let before = (instance.status(), instance.is_stuck());
        run.step.engine.clear();
        let stopped = version.machine.stop(instance, Millis(run.now), &mut run.step.engine);
        stopped.map_err(|error| step_failed(&error, run))?;
        let changed = (instance.status(), instance.is_stuck()) != before;
        self.after_step(number, "xstate.stop", "stop", changed, run);
        Ok(changed)
    }

    /// `retry` or `skip`: fires the timer again that a stuck instance holds, or drops it.
    fn go_on(&mut self, at: At<'_>, run: &mut Run) -> Result<Done, Box<Failed>> {
        let number = self.existing(at)?;
        self.check_conditions(at, Some(number))?;
        let Some(Entry { version, instance, .. }) = self.entries.get_mut(number) else {
            return Err(vanished());
        };
        let event = instance.held_timer().and_then(|timer| version.machine.timer_event(instance, timer));
        run.step.engine.clear();
        let (reason, step): (_, StepResult) = match at.request.op {
            Op::Skip => ("skip", version.machine.skip(instance, &mut run.step.engine)),
            _ => ("retry", version.machine.retry(instance, Millis(run.now), &mut run.step.engine)),
        };
        let Step { changed, .. } = step.map_err(|error| step_failed(&error, run))?;
        run.counts.events += u64::from(changed);
        self.after_step(number, event.as_deref().unwrap_or("xstate.after"), reason, changed, run);
        Ok(Done { number, changed, ..Done::default() })
    }

    fn create(&mut self, At { request, hash, partition }: At<'_>, run: &mut Run) -> Result<Done, Box<Failed>> {
        run.wants_room |= self.is_nearly_full();
        if self.is_full() {
            run.counts.refused_instances += 1;
            let message =
                format!("limits.instances: this daemon has {} instances already", self.daemon.rules.instances);
            return Err(failed(ErrorCode::LimitExceeded, message, "raise limits.instances, or add a daemon"));
        }
        let (version, instance) = self.begin(request, run)?;
        let removed = self.removed.get(partition, hash).map(|left| left.run);
        let before = removed.max(self.marks.latest(partition, hash));
        let (key, life) = (request.key.as_ref().into(), self.lives.begin(run.now, before));
        let entry = Entry { key, run: life, version, instance, armed: None, history: History::default(), tokens: None };
        let number = self.add(partition, hash, entry, run);
        run.counts.created += 1;
        let reason = if self.marks.is_gone(partition, hash) { "restart" } else { "start" };
        self.after_step(number, "xstate.init", reason, true, run);
        Ok(Done { number, changed: true, made: true, ..Done::default() })
    }

    /// Fires what is due of one instance. True if its timers lead to each other without time passing.
    pub(super) fn step_timer(&mut self, number: u32, run: &mut Run) -> bool {
        for _ in 0..CHAIN {
            let Some(entry) = self.entries.get_mut(number) else {
                return false;
            };
            let Some((timer, _)) = entry.instance.next_timer().filter(|(_, Millis(at))| *at <= run.now) else {
                return false;
            };
            run.step.engine.clear();
            run.counts.events += 1;
            run.counts.timers_fired += 1;
            let machine = &entry.version.machine;
            let event = machine.timer_event(&entry.instance, timer);
            let event = event.as_deref().unwrap_or("xstate.after");
            let step = machine.fire(&mut entry.instance, timer, Millis(run.now), &mut run.step.engine);
            let step = step.unwrap_or_else(|error| {
                // No client hears that it was refused, so the instance keeps it and says so.
                tracing::warn!(machine = %entry.version.name, key = %entry.key, %error, "stuck: a timer's event failed");
                run.counts.troubles.stuck += 1;
                entry.instance.hold(timer, &error)
            });
            self.after_step(number, event, "timer", step.changed, run);
        }
        self.entries.get(number).and_then(|entry| entry.instance.next_deadline()) == Some(Millis(run.now))
    }

    /// Remembers, publishes and arms what a step did. `run.step.engine` holds its effects.
    fn after_step(&mut self, number: u32, event: &str, reason: &'static str, changed: bool, run: &mut Run) {
        run.counts.effects += run.step.engine.effects.len() as u64;
        let Some(entry) = self.entries.get_mut(number) else {
            return;
        };
        if changed {
            run.counts.transitions += 1;
            run.counts.troubles.errors += u64::from(entry.instance.status() == Status::Error);
            let Entry { history, version, instance, .. } = entry;
            let how = match reason {
                "retry" => Some(How::Retry),
                "skip" => Some(How::Skip),
                _ => instance.is_stuck().then_some(How::Stuck),
            };
            history.push(
                &version.machine,
                instance,
                (event, how),
                run.now,
                self.daemon.rules.history,
                &mut run.step.scratch,
            );
        }
        let has_ended = changed && entry.instance.status() != Status::Active && !entry.instance.is_stuck();
        if run.watched && (changed || !run.step.engine.effects.is_empty()) {
            run.step.changes.push(Arc::new(change(entry, event, reason, changed, &run.step.engine.effects)));
        }
        if changed && !self.interests.is_empty() {
            self.wake_for(number, run);
        }
        match has_ended {
            true => self.note_end(number, i64::try_from(run.now).unwrap_or(i64::MAX)),
            false => self.arm(number),
        }
    }

    /// Counts a key of which something is gone, and tells watchers what, and which state goes on.
    pub(super) fn publish_conflict(&mut self, number: u32, conflict: Conflict, run: &mut Run) {
        run.counts.conflicts += 1;
        if let Some(entry) = self.entries.get(number) {
            tracing::warn!(machine = %entry.version.name, key = %entry.key, run = %entry.run, seq = entry.instance.seq(),
                lost_from = conflict.lost_from, lost_run = %conflict.run, "owned twice while the network was partitioned; this state won");
        }
        self.publish_state(number, Some(conflict), run);
    }

    /// Tells watchers which state of a key goes on, and what is gone beside it.
    pub(super) fn publish_state(&mut self, number: u32, conflict: Option<Conflict>, run: &mut Run) {
        if let Some(entry) = self.entries.get(number) {
            run.step.changes.push(Arc::new(conflict_change(entry, conflict)));
        }
    }
}

/// Dedup tokens and conditions.
impl State {
    /// What a request is known by, if it has a token. What changes nothing needs none: it may be sent again as it is, its answer is to be
    /// what there is by then, and its token would take the place of one that matters.
    #[inline]
    fn asked(&self, request: &Request<'_>) -> Result<Option<Asked>, Box<Failed>> {
        match request.conditions.dedup.as_deref() {
            None | Some("") => Ok(None),
            Some(_) if !request.op.changes() => Ok(None),
            Some(token) if token.len() > self.daemon.rules.dedup_bytes => {
                let (len, max) = (token.len(), self.daemon.rules.dedup_bytes);
                let message = format!("the token has {len} bytes; limits.dedup_bytes allows {max}");
                Err(failed(ErrorCode::DedupTooLong, message, "use a shorter token, e.g. a UUID"))
            }
            Some(token) => Ok(Some(Asked::of(request, token))),
        }
    }

    /// Writes the answer that the same request got before; false if there was none.
    fn repeat(&self, at: At<'_>, asked: Asked, now: u64, reply: &mut Vec<u8>) -> Result<bool, Box<Failed>> {
        let At { request, hash, partition } = at;
        let number = self.find(partition, hash, &request.machine, &request.key);
        let entry = number.and_then(|number| self.entries.get(number));
        let own = entry.and_then(|entry| entry.tokens.as_ref());
        let known = match own.map_or(Known::New, |tokens| tokens.know(asked)) {
            // Also where there is an instance: one side of a cut may have removed the key that the other one still has.
            Known::New if !self.removed.is_empty() => {
                self.removed.get(partition, hash).map_or(Known::New, |left| left.tokens.know(asked))
            }
            known => known,
        };
        match known {
            // The daemon that sends it again does not know what became of it, nor does this one.
            Known::New
                if request.transit.uncertain
                    && self.may_have_forgotten(own.map(Box::as_ref), (partition, hash), now) =>
            {
                let message = format!(
                    "the owner of {}/{} was lost before it answered, and later tokens have taken the place of others since",
                    request.machine, request.key
                );
                Err(failed(ErrorCode::OutcomeUnknown, message, "look with get whether it was applied"))
            }
            Known::New => Ok(false),
            Known::Same(answer) => {
                super::replies::repeat(answer, entry, request, reply);
                Ok(true)
            }
            Known::Other => {
                let message =
                    format!("the token was used for another request about {}/{}", request.machine, request.key);
                Err(failed(ErrorCode::DedupMismatch, message, "give each request a token of its own"))
            }
        }
    }

    /// Whether tokens of a key were forgotten for the sake of later ones, of its own or of other keys.
    fn may_have_forgotten(&self, own: Option<&Tokens>, (partition, hash): Place, now: u64) -> bool {
        let left = self.removed.get(partition, hash).map(|left| &*left.tokens);
        // What a later life of the key has or left says nothing of what an earlier one did.
        own.into_iter().chain(left).any(Tokens::may_have_forgotten) || self.removed.misses_for(partition, now) > 0
    }

    fn keep_answer(&mut self, asked: Asked, done: &Done) {
        let Some(entry) = self.entries.get_mut(done.number) else {
            return;
        };
        let Entry { run, version, instance, tokens, .. } = entry;
        let mut configuration = Vec::new();
        version.machine.write_configuration(instance, &mut configuration);
        let answer = Answer {
            changed: done.changed,
            unhandled: done.unhandled,
            made: done.made,
            mark: done.mark.map(Box::new),
            stuck: instance.is_stuck(),
            status: instance.status(),
            run: *run,
            seq: instance.seq(),
            version: Arc::clone(version),
            configuration: SmallVec::from_slice(&configuration),
        };
        tokens.get_or_insert_default().keep(asked, answer);
    }

    /// Refuses a request that wants the instance to be elsewhere than it is.
    #[inline]
    pub(super) fn check_conditions(&self, at: At<'_>, found: Option<u32>) -> Result<(), Box<Failed>> {
        if !at.request.conditions.are_of_state() {
            return Ok(());
        }
        self.compare(at, found)
    }

    fn compare(&self, at: At<'_>, found: Option<u32>) -> Result<(), Box<Failed>> {
        let request = at.request;
        let here: Option<(RunId, u64)> =
            found.and_then(|number| self.entries.get(number)).map(|entry| (entry.run, entry.instance.seq()));
        if here.is_some_and(|(run, seq)| request.conditions.allow(run, seq)) {
            return Ok(());
        }
        let message = match here {
            Some((run, seq)) => format!("{}/{} is in run {run} at seq {seq}", request.machine, request.key),
            None => self.none_there(at),
        };
        Err(failed(ErrorCode::ConditionFailed, message, "read the instance and decide again"))
    }
}

pub(super) fn payload(encoding: Encoding, bytes: Option<&[u8]>) -> Payload<'_> {
    match (encoding, bytes) {
        (_, None) => Payload::Empty,
        (Encoding::Json, Some(bytes)) => Payload::Json(bytes),
        (Encoding::MsgPack, Some(bytes)) => Payload::MsgPack(bytes),
    }
}

fn unknown_machine(name: &str) -> Box<Failed> {
    let shown: String = name.chars().take(64).collect();
    failed(
        ErrorCode::UnknownMachine,
        format!("no machine \"{shown}\" is defined"),
        "define it first; `machines` lists those that are",
    )
}

pub(super) fn vanished() -> Box<Failed> {
    failed(ErrorCode::Internal, "the instance vanished while it was used".into(), "please report this")
}

fn too_large(max: usize) -> Box<Failed> {
    let message = format!("the reply would have more than {max} bytes (limits.output_bytes)");
    failed(ErrorCode::OutputTooLarge, message, "ask for less, or raise limits.output_bytes")
}

/// The engine's bound on what one step puts out.
const OUTPUT_BYTES: &str = "output_bytes_max";

fn step_failed(error: &StepError, run: &mut Run) -> Box<Failed> {
    let code = match error {
        StepError::MalformedEvent(_) => ErrorCode::BadRequest,
        StepError::Limit { limit: OUTPUT_BYTES, .. } => {
            run.counts.refused_outputs += 1;
            ErrorCode::OutputTooLarge
        }
        StepError::Failed(_) | StepError::Limit { .. } | StepError::WrongMachine => ErrorCode::EventFailed,
    };
    let fault = match error {
        StepError::Failed(fault) => Some(fault.clone()),
        _ => None,
    };
    Box::new(Failed { fault, ..*failed(code, error.to_string(), error.hint()) })
}
