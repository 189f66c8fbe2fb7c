//! What callers do with instances: start, send, fire, stop, and look.

use super::commit::Finished;
use super::output::Output;
use super::scratch::undo_to;
use super::short::Short;
use super::tree::Tree;
use crate::error::StepError;
use crate::event::{Event, Millis, Status, Step, StepResult, TimerId};
use crate::events::EventIx;
use crate::instance::{ActorState, Instance};
use crate::machine::Machine;
use crate::state_set::StateIx;
use statemesh_expr::{Payload, Str, Value};

impl Machine {
    /// Starts an instance and takes its initial step. `input` is what expressions in the root's `context` see as
    /// `input`; `Payload::Empty` if there is none. An expression that fails gives an instance with status `error`.
    pub fn start(&self, input: Payload<'_>, now: Millis, out: &mut Output) -> Result<Instance, StepError> {
        let mut instance = self.blank();
        self.step(&mut instance, now, out, |tree| tree.start_root(input))?;
        // The initial step is where the instance begins, not one of its transitions.
        instance.seq = 0;
        Ok(instance)
    }

    /// Sends an event. Nothing happens if the instance is not active any more, or if nothing reacts to the event.
    pub fn send(&self, instance: &mut Instance, event: &Event<'_>, now: Millis, out: &mut Output) -> StepResult {
        self.check(instance)?;
        if instance.actor.status != Status::Active {
            return Ok(instance.step(false));
        }
        let known = self.events.find(event.kind);
        // Apart from `send_short`, whose stack a plain change of state does not need.
        if let Some(known) = known
            && self.fast_table.take(&mut instance.actor.active, known)
        {
            instance.seq += 1;
            return Ok(instance.step(true));
        }
        match self.send_short(instance, event, known, out) {
            Short::Taken(changed) => {
                instance.seq += u64::from(changed);
                Ok(instance.step(changed))
            }
            Short::Forbidden => Ok(Step { handled: true, ..instance.step(false) }),
            Short::NotSimple => self.send_long(instance, event, known, now, out),
        }
    }

    /// Apart from `send`, whose stack it would make larger.
    #[inline(never)]
    fn send_long(
        &self,
        instance: &mut Instance,
        event: &Event<'_>,
        known: Option<EventIx>,
        now: Millis,
        out: &mut Output,
    ) -> StepResult {
        self.step(instance, now, out, |tree| tree.send_root(event, known))
    }

    /// Fires a timer that is due. A timer that was cancelled meanwhile, or is unknown, does nothing. One whose step is refused is
    /// still due afterwards: it would be refused for ever, so the caller has to end that with [`Instance::hold`].
    ///
    /// Timers that are due at the same time must be fired one at a time by (deadline, id); `fire_next` does that.
    pub fn fire(&self, instance: &mut Instance, due: TimerId, now: Millis, out: &mut Output) -> StepResult {
        self.check(instance)?;
        if instance.actor.status != Status::Active || !instance.timers().any(|(id, _)| id == due) {
            return Ok(instance.step(false));
        }
        self.step(instance, now, out, |tree| tree.fire(due))
    }

    /// Fires the timer that comes first, if it is due at `now`; `None` if none is.
    pub fn fire_next(&self, instance: &mut Instance, now: Millis, out: &mut Output) -> Option<StepResult> {
        let (id, deadline) = instance.next_timer()?;
        (deadline <= now).then(|| self.fire(instance, id, now, out))
    }

    /// Stops an active or stuck instance and its children, and forgets its timers. No exit actions run, as in XState.
    pub fn stop(&self, instance: &mut Instance, now: Millis, out: &mut Output) -> StepResult {
        self.check(instance)?;
        if instance.is_stuck() {
            return self.released(instance, |instance, _| self.stop(instance, now, out));
        }
        if instance.actor.status != Status::Active {
            return Ok(instance.step(false));
        }
        self.step(instance, now, out, |tree| tree.stop_root())
    }

    /// Takes a step, all of it or nothing.
    fn step<'a>(
        &'a self,
        instance: &'a mut Instance,
        now: Millis,
        out: &mut Output,
        take: impl FnOnce(&mut Tree<'_>) -> Result<(), StepError>,
    ) -> StepResult {
        let context = std::mem::take(&mut instance.actor.context);
        let timers_before = out.timers.len();
        let effects_before = out.effects.len();
        let mut tree = Tree::new(self, instance, context, now, out);
        if let Err(error) = take(&mut tree).and_then(|()| tree.check_fault()).and_then(|()| tree.check_output()) {
            instance.actor.context = tree.abandon();
            return Err(error);
        }
        let may_be_heavy = tree.may_be_heavy();
        let finished = tree.finish();
        if !may_be_heavy {
            return Ok(finished.commit(self, instance, out));
        }
        let step = self.commit_heavy(finished, instance, out);
        if step.is_err() {
            out.timers.truncate(timers_before);
            out.effects.truncate(effects_before);
        }
        step
    }

    /// Commits a step to a copy, to see what the instance weighs then.
    #[cold]
    fn commit_heavy(&self, finished: Finished, instance: &mut Instance, out: &mut Output) -> StepResult {
        let mut copy = instance.clone();
        let step = finished.commit(self, &mut copy, out);
        let maximum = self.limits.instance_bytes_max;
        if copy.weight() <= maximum {
            *instance = copy;
            return Ok(step);
        }
        let mut context = copy.actor.context;
        if let Some(root) = &mut out.scratch.spare {
            undo_to(&mut root.undo, 0, &mut context);
        }
        instance.actor.context = context;
        let message = "the instance with its children and timers grows too large";
        Err(StepError::Limit { limit: "instance_bytes_max", maximum: maximum as u64, message })
    }

    /// The tags of the active states, sorted, each once.
    pub fn tags(&self, instance: &Instance) -> Vec<Str> {
        self.tags_of(&instance.actor.active)
    }

    pub(crate) fn tags_of(&self, active: &crate::state_set::StateSet) -> Vec<Str> {
        let mut tags: Vec<Str> =
            self.active_states(active).flat_map(|state| self.state(state).tags.iter().cloned()).collect();
        // By UTF-16 code units, as JavaScript's sort has it.
        tags.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
        tags.dedup();
        tags
    }

    /// Whether an active state has this tag.
    pub fn has_tag(&self, instance: &Instance, tag: &str) -> bool {
        self.active_states(&instance.actor.active).any(|state| self.state(state).tags.iter().any(|own| own == tag))
    }

    /// Whether the instance is in the state of this path, keys from below the root on, with dots between them: `refunding` or
    /// `refunding.stuck`. A machine without such a state is not in it.
    pub fn is_in(&self, instance: &Instance, path: &str) -> bool {
        let active = &instance.actor.active;
        let mut at = self.states_named(0, path);
        // A key may have dots in it: all ways to read the path are tried.
        while let Some((state, rest)) = at.pop() {
            if rest.is_empty() && active.contains(state) {
                return true;
            }
            if !rest.is_empty() {
                at.extend(self.states_named(state, rest));
            }
        }
        false
    }

    /// The children of a state whose keys the path begins with, each with what is left of it.
    fn states_named<'p>(&self, parent: StateIx, path: &'p str) -> Vec<(StateIx, &'p str)> {
        let named = |child: &StateIx| {
            let rest = path.strip_prefix(self.state(*child).key.as_str())?;
            let rest = if rest.is_empty() { rest } else { rest.strip_prefix('.').filter(|rest| !rest.is_empty())? };
            Some((*child, rest))
        };
        self.state(parent).children.iter().filter_map(named).collect()
    }

    /// The `meta` of the active states by their id, as XState's `getMeta` gives it.
    pub fn meta(&self, instance: &Instance) -> Value {
        let with_meta = |state: StateIx| {
            let state = self.state(state);
            state.meta.clone().map(|meta| (state.id.clone(), meta))
        };
        Value::Map(self.active_states(&instance.actor.active).filter_map(with_meta).collect())
    }

    /// The `description` of the state with this id.
    pub fn description(&self, id: &str) -> Option<&str> {
        self.states.iter().find(|state| state.id == id)?.description.as_deref()
    }

    /// The ids of the active states, the root's first.
    pub fn active_ids<'m>(&'m self, instance: &'m Instance) -> impl Iterator<Item = &'m str> + 'm {
        self.active_states(&instance.actor.active).map(|state| self.state(state).id.as_str())
    }

    /// States of a set that this machine has; a set of another machine names nothing.
    fn active_states<'s>(&'s self, active: &'s crate::state_set::StateSet) -> impl Iterator<Item = StateIx> + 's {
        active.iter().filter(|state| usize::from(*state) < self.states.len())
    }

    fn blank(&self) -> Instance {
        Instance {
            actor: ActorState { active: self.empty_set(), ..ActorState::default() },
            seq: 0,
            fingerprint: self.fingerprint,
            extra: None,
        }
    }

    #[inline]
    pub(crate) fn check(&self, instance: &Instance) -> Result<(), StepError> {
        if instance.fingerprint == self.fingerprint { Ok(()) } else { Err(StepError::WrongMachine) }
    }
}

impl Instance {
    #[inline]
    pub(crate) fn step(&self, changed: bool) -> Step {
        Step { changed, handled: changed, seq: self.seq, status: self.actor.status }
    }
}
