//! What a step works on: copies of the actors that take part, and buffers that are kept from step to step.

use crate::entry_exit::EntrySets;
use crate::error::StepError;
use crate::event::{Effect, Status};
use crate::expression::values_read;
use crate::instance::{Queued, Timer};
use crate::limits::Limits;
use crate::machine::{Machine, TransitionIx};
use crate::state_set::StateSet;
use statemesh_expr::{EvalError, EvalFault, List, Scalar, Scope, Str, Value};
use std::collections::VecDeque;
use std::sync::Arc;

/// Why an actor's step ended early.
#[derive(Debug)]
pub(crate) enum Fault {
    /// An expression failed, or an action could not be done: the actor's status becomes `error`.
    Actor(Value),
    /// The whole input is refused.
    Refused(StepError),
}

impl Fault {
    /// The fault of an expression, with its text if that can be found. A step that is refused for what it costs does not look
    /// for it.
    #[cold]
    pub(crate) fn of<'t>(
        error: &EvalError,
        limits: &Limits,
        scope: &Scope<'_>,
        expression: impl FnOnce() -> Option<&'t str>,
    ) -> Self {
        match error.fault() {
            EvalFault::CostExceeded => {
                limit("expression_cost_max", limits.expression_cost_max as usize, "the expressions cost too much")
            }
            EvalFault::TooLarge => {
                limit("context_bytes_max", limits.context_bytes_max, "an expression's value is too large")
            }
            EvalFault::TooDeep => {
                limit("value_depth_max", limits.value_depth_max, "an expression's value is nested too deeply")
            }
            EvalFault::BadPayload(what) => Self::Refused(StepError::MalformedEvent(what.to_string())),
            _ => {
                let message = Value::str(error.to_string());
                let fields = [("code", Some(Value::str(error.code()))), ("message", Some(message))];
                let expression = expression();
                let values = expression.map(|source| values_read(source, scope)).filter(|values| !values.is_empty());
                let expression = [("expression", expression.map(Value::str)), ("values", values.map(Value::Map))];
                let fields = fields.into_iter().chain(expression).filter_map(|(key, value)| Some((key, value?)));
                Self::Actor(Value::Map(fields.collect()))
            }
        }
    }
}

/// An actor's failure as its parent and the instance's `error` show it.
#[cold]
pub(crate) fn failure(code: &str, message: &str) -> Fault {
    let error = [("code", Value::str(code)), ("message", Value::str(message))];
    Fault::Actor(Value::Map(error.into_iter().collect()))
}

#[cold]
pub(crate) fn limit(limit: &'static str, maximum: usize, message: &'static str) -> Fault {
    Fault::Refused(StepError::limit(limit, maximum as u64, message))
}

/// How far an actor's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    #[default]
    NotStarted,
    Running,
    Stopped,
}

/// The working copy of one actor.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) number: u32,
    /// `None` for the instance itself.
    pub(crate) machine: Option<Arc<Machine>>,
    pub(crate) phase: Phase,
    /// Between the beginning and the end of one event: what arrives meanwhile waits.
    pub(crate) processing: bool,
    pub(crate) active: StateSet,
    /// The configuration before the current event, to return to when that fails.
    pub(crate) before: StateSet,
    pub(crate) context: Value,
    /// How to return to the context before the step: an assignment writes in place where the map is not shared.
    pub(crate) undo: Vec<Undo>,
    pub(crate) status: Status,
    pub(crate) output: Option<Value>,
    pub(crate) error: Option<Value>,
    /// Recorded in this step; what was recorded before is in the instance.
    pub(crate) history: Vec<(u16, StateSet)>,
    /// XState's snapshot would be another object: something was assigned, spawned, recorded, entered or left.
    pub(crate) touched: bool,
    pub(crate) initial: InitialStep,
    pub(crate) queues: Queues,
}

/// The initial step of an actor, which is made before the actor starts.
#[derive(Debug, Default)]
pub(crate) struct InitialStep {
    /// Its context and initial configuration are there.
    made: bool,
    /// Its effects, until the actor starts.
    held: Vec<Effect>,
}

impl InitialStep {
    /// It was made in an earlier step.
    pub(crate) fn is_over(&mut self) {
        self.made = true;
        self.held.clear();
    }

    /// Begins to make it.
    pub(crate) fn begin(&mut self) {
        self.made = true;
    }

    pub(crate) fn is_made(&self) -> bool {
        self.made
    }

    pub(crate) fn hold(&mut self, effects: Vec<Effect>) {
        self.held = effects;
    }

    pub(crate) fn release(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.held)
    }
}

/// What waits for an actor.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    /// Its own events, before any other.
    pub(crate) raised: VecDeque<Queued>,
    pub(crate) mailbox: VecDeque<Queued>,
    /// What its macrostep leaves to be done.
    pub(crate) deferred: VecDeque<Deferred>,
}

impl Queues {
    /// Drops what an actor did that has failed; what others sent it stays.
    pub(crate) fn take_back(&mut self) {
        self.raised.clear();
        self.deferred.clear();
    }

    /// Drops all. A step that was refused may have left something.
    pub(crate) fn clear(&mut self) {
        if !(self.raised.is_empty() && self.mailbox.is_empty() && self.deferred.is_empty()) {
            self.take_back();
            self.mailbox.clear();
        }
    }
}

/// One assignment, taken back.
#[derive(Debug)]
pub(crate) enum Undo {
    /// The slot of the context's map held this.
    Restore(usize, Value),
    /// The same, for the fast path.
    RestoreScalar(usize, Scalar),
    /// The key was not there.
    Remove(Str),
}

impl Slot {
    /// Takes assignments back until `mark` are left.
    pub(crate) fn undo_to(&mut self, mark: usize) {
        undo_to(&mut self.undo, mark, &mut self.context);
    }
}

/// Takes the latest assignments back until `mark` are left.
pub(crate) fn undo_to(undo: &mut Vec<Undo>, mark: usize, context: &mut Value) {
    while undo.len() > mark {
        let Some(map) = context.as_map_mut() else { return };
        match undo.pop() {
            Some(Undo::Restore(slot, value)) => drop(map.set_slot(slot, value)),
            Some(Undo::RestoreScalar(slot, scalar)) => drop(map.set_slot(slot, scalar.into())),
            Some(Undo::Remove(key)) => drop(map.remove(&key)),
            None => return,
        }
    }
}

/// What is done after an actor's macrostep, in order.
#[derive(Debug)]
pub(crate) enum Deferred {
    Start(u32),
    Stop(u32),
    Send { to: Recipient, event: Queued },
    StartAfter { after: u32, delay: u64 },
    Delay { send_id: Option<Str>, to: Recipient, event: Queued, delay: u64 },
    CancelAfter(u32),
    Cancel(Str),
}

/// Who receives an event.
#[derive(Debug, Clone)]
pub(crate) enum Recipient {
    Actor(u32),
    /// A child that the state being entered invokes: it exists once the entry actions have run.
    Invoked(Str),
}

/// What is known of each child while a step runs.
#[derive(Debug, Clone)]
pub(crate) struct Kin {
    pub(crate) number: u32,
    pub(crate) parent: u32,
    pub(crate) name: Str,
    pub(crate) machine: Arc<Machine>,
    pub(crate) sync: bool,
    pub(crate) listed: bool,
    pub(crate) phase: Phase,
    /// For a child that has not started.
    pub(crate) input: Option<Value>,
}

/// Buffers that keep their capacity.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The slot of the instance itself, ready for reuse.
    pub(crate) spare: Option<Box<Slot>>,
    pub(crate) slots: Vec<Option<Box<Slot>>>,
    pub(crate) kin: Vec<Kin>,
    pub(crate) new_timers: Vec<Timer>,
    pub(crate) dead_timers: Vec<u64>,
    /// Assignments of the fast path.
    pub(crate) undo: Vec<Undo>,
    pub(crate) buffers: Buffers,
    /// The child that failed last, if none of its parents has taken it.
    pub(crate) failed: Option<Box<FailedChild>>,
}

/// A child that failed.
#[derive(Debug)]
pub(crate) struct FailedChild {
    /// Its ids, from the instance's child down.
    pub(crate) path: List,
    /// Why: a parent that has no answer to it fails with the same.
    pub(crate) error: Value,
}

/// What one macrostep needs.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// A transition was taken that does nothing: it forbids the event.
    pub(crate) forbidden: bool,
    pub(crate) enabled: Vec<TransitionIx>,
    pub(crate) sets: EntrySets,
    pub(crate) exits: StateSet,
    pub(crate) before: StateSet,
}
