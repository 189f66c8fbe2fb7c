//! The selection trace: which transitions a selection looked at, and what became of each. It is the part of `explain` that has to
//! evaluate guards.

use crate::event::Event;
use crate::instance::Instance;
use crate::machine::{Guard, Machine, TransitionIx};
use crate::runtime::{Actor, Current, Fault};
use crate::state::StateKind;
use crate::state_set::StateIx;
use statemesh_expr::Value;

/// What became of one candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its guard holds, or it has none.
    Enabled,
    /// This guard, or the part of it that is named, does not hold: a sentence about it.
    GuardFalse(String),
    /// The guard could not be evaluated: a sentence about it.
    GuardFailed(String),
}

/// One candidate that the selection looked at.
#[derive(Debug)]
pub(crate) struct TraceEntry {
    pub(crate) transition: TransitionIx,
    pub(crate) verdict: Verdict,
}

impl Machine {
    /// The candidates for an event in the order in which a step would try them, up to the ones it would take.
    pub(crate) fn trace_selection(&self, instance: &Instance, event: &Event<'_>) -> Vec<TraceEntry> {
        let mut found = Vec::new();
        self.look(instance, event, |actor, current| _ = actor.trace_below(0, current, &mut found));
        found
    }
}

impl Actor<'_, '_> {
    /// As `select_below`. Whether a transition was found.
    fn trace_below(&mut self, state: StateIx, event: &Current<'_>, into: &mut Vec<TraceEntry>) -> bool {
        let machine = self.machine;
        let mut found = false;
        if matches!(machine.state(state).kind, StateKind::Compound | StateKind::Parallel) {
            for child in &machine.state(state).children {
                if self.slot.active.contains(*child) {
                    found |= self.trace_below(*child, event, into);
                }
            }
        }
        found || self.trace_in(state, event, into)
    }

    fn trace_in(&mut self, state: StateIx, event: &Current<'_>, into: &mut Vec<TraceEntry>) -> bool {
        let machine = self.machine;
        for transition in machine.state(state).reactions.candidates(event.known, event.name) {
            let verdict = match &machine.transition(transition).guard {
                None => Verdict::Enabled,
                Some(guard) => self.verdict(guard, event),
            };
            let stops = !matches!(verdict, Verdict::GuardFalse(_));
            into.push(TraceEntry { transition, verdict });
            if stops {
                return true;
            }
        }
        false
    }

    fn verdict(&mut self, guard: &Guard, event: &Current<'_>) -> Verdict {
        match self.holds(guard, event, &Value::Null) {
            Ok(true) => Verdict::Enabled,
            Ok(false) => Verdict::GuardFalse(self.culprit(guard, event)),
            Err(fault) => {
                let name = self.machine.guard_text(guard);
                let why = match fault {
                    Fault::Actor(error) => why_failed(&name, &error),
                    Fault::Refused(error) => error.to_string(),
                };
                Verdict::GuardFailed(format!("{name} failed: {why}"))
            }
        }
    }

    /// Of a conjunction, the part that says no; else the guard itself.
    fn culprit(&mut self, guard: &Guard, event: &Current<'_>) -> String {
        if let Guard::And(parts) = guard {
            for part in parts {
                if let Ok(false) = self.holds(part, event, &Value::Null) {
                    return self.culprit(part, event);
                }
            }
        }
        let name = self.machine.guard_text(guard);
        let named = self.machine.named_guards(guard);
        match (&named[..], guard) {
            ([], _) => format!("{name} is false"),
            ([(_, body)], Guard::Call { .. }) => format!("{name} is false: {body}"),
            _ => {
                let named: Vec<String> = named.iter().map(|(name, body)| format!("{name} is {body}")).collect();
                format!("{name} is false, where {}", named.join(", "))
            }
        }
    }
}

/// The message of an expression that had no value, with its text where that is not the guard itself.
fn why_failed(guard: &str, error: &Value) -> String {
    let text = |key| error.get(key).and_then(Value::as_str);
    let message = text("message").unwrap_or("it has no value");
    match text("expression").filter(|expression| *expression != guard) {
        Some(expression) => format!("{message}, in {expression}"),
        None => message.to_owned(),
    }
}
