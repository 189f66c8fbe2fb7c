//! One actor on one event: microsteps until nothing is enabled and nothing is raised (XState's `macrostep`).

use super::made::Made;
use super::scratch::{Buffers, Deferred, Fault, Kin, Phase, Slot, limit};
use crate::event::{Effect, Status};
use crate::event_names::EventIx;
use crate::instance::Queued;
use crate::limits::Limits;
use crate::machine::Machine;
use crate::state_set::StateSet;
use statemesh_expr::{Cost, Payload};

/// The event that is being processed.
#[derive(Clone, Copy)]
pub(crate) struct Current<'e> {
    pub(crate) known: Option<EventIx>,
    pub(crate) name: &'e str,
    pub(crate) payload: Payload<'e>,
}

impl<'e> Current<'e> {
    pub(crate) fn queued(machine: &Machine, event: &'e Queued) -> Self {
        Self { known: machine.events.find(&event.name), name: &event.name, payload: Payload::Value(&event.data) }
    }
}

/// What all actors of a step share.
pub(crate) struct Shared<'s> {
    pub(crate) effects: &'s mut Vec<Effect>,
    pub(crate) buffers: &'s mut Buffers,
    pub(crate) kin: &'s mut Vec<Kin>,
    pub(crate) cost: &'s mut Cost,
    pub(crate) next_actor: &'s mut u32,
    /// Actions that this input may still take.
    pub(crate) actions_left: &'s mut u32,
    /// A transition was taken, by any of them.
    pub(crate) changed: &'s mut bool,
    /// How much this input has put out.
    pub(crate) made: &'s mut Made,
}

/// One actor while it processes one event.
pub(crate) struct Actor<'a, 's> {
    pub(crate) machine: &'a Machine,
    pub(crate) limits: &'a Limits,
    pub(crate) slot: &'a mut Slot,
    /// What its history states had recorded before this step.
    pub(crate) history: &'a [Option<StateSet>],
    pub(crate) shared: Shared<'s>,
}

pub(crate) const INIT: &str = "xstate.init";
const ERROR_ACTOR: &str = "xstate.error.actor";

impl Actor<'_, '_> {
    /// What history states have recorded, in this step or before it.
    pub(super) fn recorded<'r>(&'r self) -> impl Fn(u16) -> Option<&'r StateSet> + 'r {
        move |history| {
            let now = self.slot.history.iter().find(|(index, _)| *index == history).map(|(_, states)| states);
            now.or_else(|| self.history.get(usize::from(history))?.as_ref())
        }
    }

    /// Processes an event from outside, or from another actor.
    pub(super) fn macrostep(&mut self, event: &Current<'_>) -> Result<(), Fault> {
        if event.name != INIT {
            self.select(event)?;
            if self.shared.buffers.enabled.is_empty() && event.name.starts_with(ERROR_ACTOR) {
                return self.fail_with(event);
            }
            self.microstep(event)?;
        }
        self.settle(event)
    }

    /// Processes the event of a fault: whether a state handled it, and the machine has a configuration then.
    pub(super) fn recovery(&mut self, event: &Current<'_>) -> Result<bool, Fault> {
        self.select(event)?;
        if self.shared.buffers.enabled.is_empty() {
            return Ok(false);
        }
        self.microstep(event)?;
        self.settle(event)?;
        // One that failed at its start is in no state but the root until a transition leads to others.
        Ok(self.slot.active.iter().any(|state| self.machine.is_atomic(state)))
    }

    /// Takes the step into the initial configuration and all that follows from it.
    pub(super) fn initial_macrostep(&mut self, event: &Current<'_>) -> Result<(), Fault> {
        self.initial_microstep(event)?;
        self.settle(event)
    }

    /// Eventless transitions first, then what was raised, until neither is left.
    fn settle(&mut self, event: &Current<'_>) -> Result<(), Fault> {
        let mut raised: Option<Queued> = None;
        let mut try_eventless = true;
        let mut microsteps = 0;
        while self.slot.status == Status::Active {
            let current = raised.as_ref().map_or(*event, |raised| Current::queued(self.machine, raised));
            if try_eventless {
                self.select_eventless(&current)?;
            } else {
                self.shared.buffers.enabled.clear();
            }
            if self.shared.buffers.enabled.is_empty() {
                let Some(next) = self.slot.queues.raised.pop_front() else { break };
                let current = Current::queued(self.machine, &next);
                self.select(&current)?;
                self.microstep(&current)?;
                raised = Some(next);
                try_eventless = true;
            } else {
                // Eventless transitions that change nothing are taken once, or they would be for ever.
                self.slot.touched = false;
                self.microstep(&current)?;
                try_eventless = self.slot.touched;
            }
            microsteps += 1;
            if microsteps > self.limits.microsteps_max {
                return Err(limit(
                    "microsteps_max",
                    self.limits.microsteps_max as usize,
                    "the machine does not come to rest",
                ));
            }
        }
        if self.slot.status != Status::Active {
            self.end();
        }
        Ok(())
    }

    /// A child failed and nothing handles that: the failure becomes this actor's own.
    fn fail_with(&mut self, event: &Current<'_>) -> Result<(), Fault> {
        let error = event.payload.get("error").ok().flatten();
        let error = error.and_then(|error| error.to_value(&statemesh_expr::Limits::default()).ok());
        self.slot.status = Status::Error;
        self.slot.error = Some(error.unwrap_or_default());
        *self.shared.changed = true;
        self.end();
        Ok(())
    }

    /// The actor has come to its end: what it raised is void, its children stop.
    fn end(&mut self) {
        self.slot.queues.raised.clear();
        let own = self.slot.number;
        for kin in self.shared.kin.iter_mut().filter(|kin| kin.parent == own && kin.listed) {
            match kin.phase {
                // Spawned in this very step: it never starts.
                Phase::NotStarted => kin.phase = Phase::Stopped,
                _ => self.slot.queues.deferred.push_back(Deferred::Stop(kin.number)),
            }
        }
    }
}
