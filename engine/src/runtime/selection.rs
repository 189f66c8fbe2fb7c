//! Which transitions an event, or no event, enables.

use super::macrostep::{Actor, Current};
use super::scratch::Fault;
use crate::entry_exit::exit_range;
use crate::machine::TransitionIx;
use crate::state::StateKind;
use crate::state_set::{StateIx, StateSet};
use statemesh_expr::Value;

impl Actor<'_, '_> {
    /// Puts the transitions that the event enables into the buffer of enabled ones: deepest first; in a parallel
    /// state each region for itself, and its ancestors only if no region had one.
    pub(super) fn select(&mut self, event: &Current<'_>) -> Result<(), Fault> {
        self.shared.buffers.enabled.clear();
        if self.machine.features.parallel {
            return self.select_below(0, event).map(drop);
        }
        let mut at = self.slot.active.last();
        while let Some(state) = at {
            if self.select_in(state, event)? {
                break;
            }
            at = self.machine.state(state).parent;
        }
        Ok(())
    }

    fn select_below(&mut self, state: StateIx, event: &Current<'_>) -> Result<bool, Fault> {
        let machine = self.machine;
        let mut found = false;
        if matches!(machine.state(state).kind, StateKind::Compound | StateKind::Parallel) {
            for child in &machine.state(state).children {
                if self.slot.active.contains(*child) {
                    found |= self.select_below(*child, event)?;
                }
            }
        }
        if found { Ok(true) } else { self.select_in(state, event) }
    }

    /// The first candidate of one state whose guard agrees.
    fn select_in(&mut self, state: StateIx, event: &Current<'_>) -> Result<bool, Fault> {
        let machine = self.machine;
        let node = machine.state(state);
        if node.reactions.wild.is_empty() {
            let exact = event.known.map_or(&[][..], |known| node.reactions.exact(known));
            for transition in exact {
                if self.is_open(*transition, event)? {
                    self.shared.buffers.enabled.push(*transition);
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        for transition in node.reactions.candidates(event.known, event.name) {
            if self.is_open(transition, event)? {
                self.shared.buffers.enabled.push(transition);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_open(&mut self, transition: TransitionIx, event: &Current<'_>) -> Result<bool, Fault> {
        match &self.machine.transition(transition).guard {
            Some(guard) => self.holds(guard, event, &Value::Null),
            None => Ok(true),
        }
    }

    /// The same for eventless transitions: every leaf climbs by itself.
    pub(super) fn select_eventless(&mut self, event: &Current<'_>) -> Result<(), Fault> {
        self.shared.buffers.enabled.clear();
        if !self.machine.features.always {
            return Ok(());
        }
        let machine = self.machine;
        let mut next = self.slot.active.next_from(0);
        while let Some(leaf) = next {
            if machine.is_atomic(leaf) {
                self.select_eventless_from(leaf, event)?;
            }
            next = self.slot.active.next_from(usize::from(leaf) + 1);
        }
        self.remove_conflicts();
        Ok(())
    }

    fn select_eventless_from(&mut self, leaf: StateIx, event: &Current<'_>) -> Result<(), Fault> {
        let machine = self.machine;
        for state in std::iter::once(leaf).chain(machine.ancestors(leaf)) {
            for transition in &machine.state(state).reactions.always {
                if self.is_open(*transition, event)? {
                    // Leaves that climb to the same ancestor find the same transition.
                    if !self.shared.buffers.enabled.contains(transition) {
                        self.shared.buffers.enabled.push(*transition);
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Of transitions that would exit the same state, keeps the one with the deeper source, else the first.
    pub(super) fn remove_conflicts(&mut self) {
        let buffers = &mut *self.shared.buffers;
        if buffers.enabled.len() < 2 {
            return;
        }
        let enabled = std::mem::take(&mut buffers.enabled);
        let mut kept: Vec<(TransitionIx, StateSet)> = Vec::with_capacity(enabled.len());
        for candidate in &enabled {
            let exits = self.exit_set(*candidate);
            let source = self.machine.transition(*candidate).source;
            let is_deeper = |other: &(TransitionIx, StateSet)| {
                self.machine.is_descendant(source, Some(self.machine.transition(other.0).source))
            };
            let conflicts = |other: &(TransitionIx, StateSet)| other.1.intersects(&exits);
            if kept.iter().filter(|other| conflicts(other)).all(is_deeper) {
                kept.retain(|other| !conflicts(other));
                kept.push((*candidate, exits));
            }
        }
        let buffers = &mut *self.shared.buffers;
        buffers.enabled = enabled;
        buffers.enabled.clear();
        buffers.enabled.extend(kept.into_iter().map(|(transition, _)| transition));
    }

    fn exit_set(&self, transition: TransitionIx) -> StateSet {
        let mut exits = self.machine.empty_set();
        let (start, end) = exit_range(self.machine, self.machine.transition(transition), &self.recorded());
        exits.insert_range_of(&self.slot.active, usize::from(start), usize::from(end));
        exits
    }
}
