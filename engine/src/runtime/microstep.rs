//! One microstep: exits in reverse document order, transition actions, entries in document order, completion.

use super::macrostep::{Actor, Current};
use super::scratch::{Deferred, Fault, Recipient};
use crate::entry_exit::{EntrySets, exit_range};
use crate::event::Status;
use crate::instance::Queued;
use crate::machine::TransitionIx;
use crate::state::StateKind;
use crate::state_set::{StateIx, StateSet};
use statemesh_expr::{Map, Payload, Value};

impl Actor<'_, '_> {
    /// Takes the enabled transitions together.
    pub(super) fn microstep(&mut self, event: &Current<'_>) -> Result<(), Fault> {
        if self.shared.buffers.enabled.is_empty() {
            return Ok(());
        }
        self.remove_conflicts();
        let enabled = std::mem::take(&mut self.shared.buffers.enabled);
        let result = self.take(&enabled, event);
        self.shared.buffers.enabled = enabled;
        self.shared.buffers.enabled.clear();
        result
    }

    fn take(&mut self, enabled: &[TransitionIx], event: &Current<'_>) -> Result<(), Fault> {
        let machine = self.machine;
        let acts = |index: &TransitionIx| {
            let transition = machine.transition(*index);
            transition.targets.is_some() || !transition.actions.is_empty()
        };
        match enabled.iter().any(acts) {
            true => *self.shared.changed = true,
            false => self.shared.buffers.forbidden = true,
        }
        self.shared.buffers.before.clone_from(&self.slot.active);
        self.exit(enabled, event)?;
        for index in enabled {
            self.run(&machine.transition(*index).actions, event, &Value::Null, None)?;
        }
        self.enter(enabled, event)?;
        self.complete_machine(event)?;
        self.slot.touched |= self.slot.active != self.shared.buffers.before;
        Ok(())
    }

    /// Enters the initial configuration.
    pub(super) fn initial_microstep(&mut self, event: &Current<'_>) -> Result<(), Fault> {
        let mut sets = self.fresh_sets();
        sets.add_initial(self.machine, &self.recorded());
        let result = self.enter_sets(&sets, event);
        self.shared.buffers.sets = sets;
        result?;
        self.slot.touched = true;
        self.complete_machine(event)
    }

    fn fresh_sets(&mut self) -> EntrySets {
        let mut sets = std::mem::take(&mut self.shared.buffers.sets);
        sets.enter.reset(self.machine.states.len());
        sets.default_entry.reset(self.machine.states.len());
        sets
    }

    fn exit(&mut self, enabled: &[TransitionIx], event: &Current<'_>) -> Result<(), Fault> {
        let machine = self.machine;
        let mut exits = std::mem::take(&mut self.shared.buffers.exits);
        exits.reset(machine.states.len());
        for index in enabled {
            let transition = machine.transition(*index);
            let (start, end) = match &transition.plan {
                Some(plan) => (plan.exit_start, plan.exit_end),
                None => exit_range(machine, transition, &self.recorded()),
            };
            exits.insert_range_of(&self.slot.active, usize::from(start), usize::from(end));
        }
        self.record_history(&exits);
        let result = self.exit_states(&exits, event);
        self.shared.buffers.exits = exits;
        result
    }

    fn record_history(&mut self, exits: &StateSet) {
        let machine = self.machine;
        if machine.history.is_empty() {
            return;
        }
        for state in exits.iter_rev() {
            for history in &machine.state(state).histories {
                let StateKind::History(index) = machine.state(*history).kind else { continue };
                let mut recorded = machine.empty_set();
                if machine.history[usize::from(index)].deep {
                    let below = usize::from(state) + 1..usize::from(machine.state(state).end);
                    let leaves = self
                        .slot
                        .active
                        .iter()
                        .filter(|leaf| below.contains(&usize::from(*leaf)) && machine.is_atomic(*leaf));
                    leaves.for_each(|leaf| recorded.insert(leaf));
                } else {
                    let children =
                        machine.state(state).children.iter().filter(|child| self.slot.active.contains(**child));
                    children.for_each(|child| recorded.insert(*child));
                }
                self.slot.history.retain(|(known, _)| *known != index);
                self.slot.history.push((index, recorded));
                self.slot.touched = true;
            }
        }
    }

    fn exit_states(&mut self, exits: &StateSet, event: &Current<'_>) -> Result<(), Fault> {
        let machine = self.machine;
        for index in exits.iter_rev() {
            let state = machine.state(index);
            self.run(&state.exit, event, &Value::Null, None)?;
            for invoke in &state.invokes {
                self.stop_child(&invoke.id);
            }
            self.slot.active.remove(index);
        }
        Ok(())
    }

    fn enter(&mut self, enabled: &[TransitionIx], event: &Current<'_>) -> Result<(), Fault> {
        let machine = self.machine;
        let plan = match enabled {
            [only] => machine.transition(*only).plan.as_ref(),
            _ => None,
        };
        if let Some(plan) = plan {
            let mut completed = CompletedStates::default();
            for (state, by_default) in &plan.enter {
                self.enter_state(*state, *by_default, event, &mut completed)?;
            }
            return Ok(());
        }
        let mut sets = self.fresh_sets();
        for index in enabled {
            sets.add_transition(machine, machine.transition(*index), &self.recorded());
        }
        let result = self.enter_sets(&sets, event);
        self.shared.buffers.sets = sets;
        result
    }

    fn enter_sets(&mut self, sets: &EntrySets, event: &Current<'_>) -> Result<(), Fault> {
        let mut completed = CompletedStates::default();
        for state in sets.enter.iter() {
            self.enter_state(state, sets.default_entry.contains(state), event, &mut completed)?;
        }
        Ok(())
    }

    fn enter_state(
        &mut self,
        index: StateIx,
        by_default: bool,
        event: &Current<'_>,
        completed: &mut CompletedStates,
    ) -> Result<(), Fault> {
        let state = self.machine.state(index);
        self.slot.active.insert(index);
        let deferred_before = self.slot.queues.deferred.len();
        self.run(&state.entry, event, &Value::Null, Some(index))?;
        for invoke in &state.invokes {
            let input = self.evaluate_optional(invoke.input.as_ref(), event, &Value::Null)?;
            self.spawn(invoke.machine, invoke.id.clone(), input, invoke.sync)?;
        }
        if let Some(initial) = state.initial.as_ref().filter(|_| by_default) {
            self.run(&initial.actions, event, &Value::Null, Some(index))?;
        }
        if !state.invokes.is_empty() {
            self.address_invoked(deferred_before);
        }
        if state.kind == StateKind::Final {
            self.complete(index, event, completed)?;
        }
        Ok(())
    }

    /// What entry actions sent to children that the state invokes can be addressed now that these exist.
    fn address_invoked(&mut self, deferred_before: usize) {
        let own = self.slot.number;
        for deferred in self.slot.queues.deferred.iter_mut().skip(deferred_before) {
            let (Deferred::Send { to, .. } | Deferred::Delay { to, .. }) = deferred else { continue };
            if let Recipient::Invoked(name) = to {
                let child =
                    self.shared.kin.iter().rev().find(|kin| kin.parent == own && kin.listed && kin.name == *name);
                if let Some(child) = child {
                    *to = Recipient::Actor(child.number);
                }
            }
        }
    }

    /// A final state was entered: its parent is done, and so may parallel ancestors be, up to the machine itself.
    fn complete(&mut self, index: StateIx, event: &Current<'_>, completed: &mut CompletedStates) -> Result<(), Fault> {
        let machine = self.machine;
        let state = machine.state(index);
        let parent = state.parent;
        let is_kind = |state: Option<StateIx>, kind| state.is_some_and(|state| machine.state(state).kind == kind);
        let mut above = if is_kind(parent, StateKind::Parallel) {
            parent
        } else {
            parent.and_then(|parent| machine.state(parent).parent)
        };
        let mut completing = above.unwrap_or(index);
        if let Some(parent) = parent.filter(|parent| is_kind(Some(*parent), StateKind::Compound)) {
            let output = self.evaluate_optional(state.done.output.as_ref(), event, &Value::Null)?;
            self.raise_done(parent, output)?;
        }
        while let Some(parallel) = above.filter(|above| is_kind(Some(*above), StateKind::Parallel)) {
            if completed.0.contains(&parallel) || !self.is_final(parallel) {
                return Ok(());
            }
            completed.0.push(parallel);
            self.raise_done(parallel, None)?;
            completing = parallel;
            above = machine.state(parallel).parent;
        }
        if above.is_some() {
            return Ok(());
        }
        self.slot.output = self.machine_output(completing, event)?;
        self.slot.status = Status::Done;
        self.slot.touched = true;
        Ok(())
    }

    fn raise_done(&mut self, state: StateIx, output: Option<Value>) -> Result<(), Fault> {
        let kind = self.machine.state(state).done.event;
        let name = self.machine.events.name(kind).clone();
        let data = match output {
            None => self.machine.events.value(kind).clone(),
            Some(output) => done_event(&name, output),
        };
        self.raise(Queued { name, data })
    }

    fn is_final(&self, index: StateIx) -> bool {
        let state = self.machine.state(index);
        match state.kind {
            StateKind::Compound => state
                .children
                .iter()
                .any(|child| self.machine.state(*child).kind == StateKind::Final && self.slot.active.contains(*child)),
            StateKind::Parallel => state.children.iter().all(|child| self.is_final(*child)),
            kind => kind == StateKind::Final,
        }
    }

    /// The root's `output`; its expressions see the done event of the state that completed the machine.
    fn machine_output(&mut self, completing: StateIx, event: &Current<'_>) -> Result<Option<Value>, Fault> {
        let machine = self.machine;
        let Some(template) = &machine.state(0).done.output else { return Ok(None) };
        let state = machine.state(completing);
        let output = state.done.output.as_ref().filter(|_| state.parent.is_some());
        let output = self.evaluate_optional(output, event, &Value::Null)?;
        let name = machine.events.name(state.done.event).clone();
        let data = match output {
            Some(output) => done_event(&name, output),
            None => machine.events.value(state.done.event).clone(),
        };
        let done = Current { known: Some(state.done.event), name: &name, payload: Payload::Value(&data) };
        self.evaluate(template, &done, &Value::Null).map(Some)
    }

    /// A machine that is done runs the exit actions of all its states; its configuration stays.
    fn complete_machine(&mut self, event: &Current<'_>) -> Result<(), Fault> {
        if self.slot.status != Status::Done {
            return Ok(());
        }
        let machine = self.machine;
        let active = self.slot.active.clone();
        for state in active.iter_rev() {
            self.run(&machine.state(state).exit, event, &Value::Null, None)?;
        }
        Ok(())
    }
}

/// Parallel states whose completion this microstep has already announced.
#[derive(Default)]
struct CompletedStates(Vec<StateIx>);

fn done_event(name: &str, output: Value) -> Value {
    let mut data = Map::new();
    data.insert("type", Value::str(name));
    data.insert("output", output);
    Value::Map(data)
}
