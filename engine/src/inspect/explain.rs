//! What an event would do to an instance, and why.

use super::selection_trace::{TraceEntry, Verdict};
use crate::definition::json_pos::Document;
use crate::error::StepError;
use crate::event::{Effect, Event, Millis, Status};
use crate::instance::Instance;
use crate::machine::{Faults, Guard, Machine};
use crate::runtime::Output;
use statemesh_expr::{List, Map, Str, Value};
use std::fmt;

/// The answer to "what would this event do?". `Display` is for people, `to_value` for programs.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The event's type.
    pub event: String,
    /// The status before; only an active instance reacts.
    pub status: Status,
    /// Transitions in the order in which they were tried.
    pub candidates: Vec<Candidate>,
    /// Event descriptors that the active states react to.
    pub handled: Vec<String>,
    /// The outcome, or why the event would be refused.
    pub outcome: Result<Outcome, StepError>,
}

/// One transition that was tried.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Id of the state that has it.
    pub state: String,
    /// The descriptor under which it is written.
    pub descriptor: String,
    /// JSON Pointer into the definition.
    pub path: String,
    /// Ids of its targets.
    pub targets: Vec<String>,
    /// The guard, if it has one.
    pub guard: Option<String>,
    /// The named guards in it, each with what it is.
    pub guards: Vec<(String, String)>,
    /// Whether it is taken.
    pub taken: bool,
    /// Why it is not.
    pub reason: Option<String>,
}

/// The instance after the event.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Whether a transition is taken.
    pub changed: bool,
    /// The status.
    pub status: Status,
    /// The state value.
    pub value: Value,
    /// Keys of the context that change: each with its value before and after, `None` where there is none.
    pub context: Vec<(Str, Option<Value>, Option<Value>)>,
    /// Effects in order.
    pub effects: Vec<Effect>,
    /// What went wrong, if the status is `error`.
    pub error: Option<Value>,
}

impl Machine {
    /// Explains what `event` would do. The instance is not changed. An explanation that would have more bytes as JSON than
    /// `output_bytes_max` is refused with `output_too_large`.
    pub fn explain(&self, instance: &Instance, event: &Event<'_>, now: Millis) -> Result<Explanation, StepError> {
        self.explain_with(instance, event, now, self.own.faults)
    }

    /// The same, as it would be if this became of faults.
    pub fn explain_with(
        &self,
        instance: &Instance,
        event: &Event<'_>,
        now: Millis,
        faults: Faults,
    ) -> Result<Explanation, StepError> {
        self.check(instance)?;
        let trace = match instance.status() {
            Status::Active => self.trace_selection(instance, event),
            _ => Vec::new(),
        };
        let explanation = Explanation {
            event: event.kind.to_owned(),
            status: instance.status(),
            candidates: self.candidates(&trace)?,
            handled: self.handled(instance),
            outcome: self.outcome(instance, event, now, faults),
        };
        match explanation.to_value().json_len(self.limits.output_bytes_max) {
            Some(_) => Ok(explanation),
            None => Err(self.explains_too_much()),
        }
    }

    fn candidates(&self, trace: &[TraceEntry]) -> Result<Vec<Candidate>, StepError> {
        // Each names its guard, which many may share: text that is made only here.
        let mut left = self.limits.output_bytes_max;
        let mut candidates = Vec::with_capacity(trace.len());
        for entry in trace {
            let candidate = self.candidate(entry);
            left = left.checked_sub(candidate.text_bytes()).ok_or_else(|| self.explains_too_much())?;
            candidates.push(candidate);
        }
        Ok(candidates)
    }

    fn explains_too_much(&self) -> StepError {
        StepError::output_too_large(&self.limits, "the explanation is too large")
    }

    fn candidate(&self, entry: &TraceEntry) -> Candidate {
        let transition = self.transition(entry.transition);
        let id = |state: u16| self.state(state).id.to_string();
        Candidate {
            state: id(transition.source),
            descriptor: transition.descriptor.to_string(),
            path: self.pointer(transition.offset),
            targets: transition.targets.iter().flatten().map(|target| id(*target)).collect(),
            guard: transition.guard.as_ref().map(|guard| self.guard_text(guard)),
            guards: transition.guard.as_ref().map(|guard| self.guards_in(guard)).unwrap_or_default(),
            taken: entry.verdict == Verdict::Enabled,
            reason: match &entry.verdict {
                Verdict::Enabled => None,
                Verdict::GuardFalse(sentence) | Verdict::GuardFailed(sentence) => Some(format!("the guard {sentence}")),
            },
        }
    }

    fn guards_in(&self, guard: &Guard) -> Vec<(String, String)> {
        self.named_guards(guard).into_iter().map(|(name, body)| (name.to_owned(), body)).collect()
    }

    /// JSON Pointer of what stands at an offset of the definition.
    fn pointer(&self, offset: usize) -> String {
        match Document::parse(&self.identity.source, self.limits.definition_depth_max) {
            Ok(document) => document.pointer(offset),
            Err(_) => String::new(),
        }
    }

    fn handled(&self, instance: &Instance) -> Vec<String> {
        let mut handled: Vec<String> = Vec::new();
        for state in instance.actor.active.iter() {
            for descriptor in &self.state(state).reactions.descriptors {
                if !handled.iter().any(|known| known == descriptor.as_str()) {
                    handled.push(descriptor.to_string());
                }
            }
        }
        handled
    }

    fn outcome(
        &self,
        instance: &Instance,
        event: &Event<'_>,
        now: Millis,
        faults: Faults,
    ) -> Result<Outcome, StepError> {
        let mut copy = instance.clone();
        let mut out = Output { faults: Some(faults), ..Output::new() };
        let step = self.send(&mut copy, event, now, &mut out)?;
        Ok(Outcome {
            changed: step.changed,
            status: step.status,
            value: self.state_value(&copy),
            context: changed_keys(instance.context(), copy.context()),
            effects: out.effects,
            error: copy.error().cloned(),
        })
    }
}

fn changed_keys(before: &Value, after: &Value) -> Vec<(Str, Option<Value>, Option<Value>)> {
    let (Some(before), Some(after)) = (before.as_map(), after.as_map()) else { return Vec::new() };
    let kept = before.iter().map(|(key, value)| (key.clone(), Some(value.clone()), after.get(key).cloned()));
    let new = after.iter().filter(|(key, _)| !before.contains_key(key));
    let new = new.map(|(key, value)| (key.clone(), None, Some(value.clone())));
    kept.chain(new).filter(|(_, before, after)| before != after).collect()
}

impl Explanation {
    /// The explanation as data.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("event", Value::str(&self.event));
        map.insert("status", Value::str(self.status.as_str()));
        map.insert("candidates", Value::List(self.candidates.iter().map(Candidate::to_value).collect()));
        map.insert("handled", Value::List(self.handled.iter().map(Value::str).collect()));
        match &self.outcome {
            Ok(outcome) => map.insert("outcome", outcome.to_value()),
            Err(error) => {
                let fields = [("code", Value::str(error.code())), ("message", Value::str(error.to_string()))];
                map.insert("error", Value::Map(fields.into_iter().collect()))
            }
        };
        Value::Map(map)
    }
}

impl Candidate {
    fn text_bytes(&self) -> usize {
        let texts = [&self.state, &self.descriptor, &self.path].into_iter();
        let named = self.guards.iter().flat_map(|(name, body)| [name, body]);
        texts.chain(&self.targets).chain(&self.guard).chain(named).chain(&self.reason).map(String::len).sum()
    }

    fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("state", Value::str(&self.state));
        map.insert("descriptor", Value::str(&self.descriptor));
        map.insert("path", Value::str(&self.path));
        map.insert("targets", Value::List(self.targets.iter().map(Value::str).collect::<List>()));
        if let Some(guard) = &self.guard {
            map.insert("guard", Value::str(guard));
        }
        if !self.guards.is_empty() {
            let named = self.guards.iter().map(|(name, body)| (Str::new(name), Value::str(body)));
            map.insert("guards", Value::Map(named.collect()));
        }
        map.insert("taken", Value::Bool(self.taken));
        if let Some(reason) = &self.reason {
            map.insert("reason", Value::str(reason));
        }
        Value::Map(map)
    }
}

impl Outcome {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("changed", Value::Bool(self.changed));
        map.insert("status", Value::str(self.status.as_str()));
        map.insert("value", self.value.clone());
        let change = |(key, before, after): &(Str, Option<Value>, Option<Value>)| {
            let sides = [("before", before), ("after", after)];
            let sides = sides.into_iter().filter_map(|(side, value)| Some((side, value.clone()?)));
            (key.clone(), Value::Map(sides.collect()))
        };
        map.insert("context", Value::Map(self.context.iter().map(change).collect()));
        map.insert("effects", Value::List(self.effects.iter().map(Effect::to_value).collect()));
        if let Some(error) = &self.error {
            map.insert("error", error.clone());
        }
        Value::Map(map)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.status != Status::Active {
            return writeln!(f, "nothing: the instance is {}", self.status.as_str());
        }
        for candidate in &self.candidates {
            let verb = if candidate.taken { "takes" } else { "not" };
            write!(f, "{verb:5} {} in {}", candidate.path, candidate.state)?;
            if !candidate.targets.is_empty() {
                write!(f, " -> {}", candidate.targets.join(", "))?;
            }
            match &candidate.reason {
                Some(reason) => writeln!(f, ": {reason}")?,
                None => writeln!(f)?,
            }
        }
        if self.candidates.is_empty() {
            writeln!(
                f,
                "nothing: no active state reacts to {:?}; they react to {}",
                self.event,
                self.handled.join(", ")
            )?;
        }
        match &self.outcome {
            Ok(outcome) => {
                writeln!(f, "then  {} ({})", outcome.value, outcome.status.as_str())?;
                for effect in &outcome.effects {
                    writeln!(f, "      {}", effect.kind())?;
                }
                outcome.error.iter().try_for_each(|error| writeln!(f, "      {error}"))
            }
            Err(error) => writeln!(f, "refused: {error}"),
        }
    }
}
