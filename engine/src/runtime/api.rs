//! What callers do with instances: start, send, fire, stop.

use super::commit::Finished;
use super::fast::Fast;
use super::macrostep::{Actor, Current};
use super::output::Output;
use super::scratch::undo_to;
use super::tree::Tree;
use crate::error::{During, StepError};
use crate::event::{Event, Millis, Status, Step, StepResult, TimerId};
use crate::event_names::EventIx;
use crate::instance::{ActorState, Instance};
use crate::machine::Machine;
use statemesh_expr::Payload;

impl Machine {
    /// Starts an instance and takes its initial step. `input` is what expressions in the root's `context` see as
    /// `input`; `Payload::Empty` if there is none. An expression that fails gives an instance with status `error`.
    pub fn start(&self, input: Payload<'_>, now: Millis, out: &mut Output) -> Result<Instance, StepError> {
        let mut instance = self.blank();
        let step = self.step(&mut instance, now, out, |tree| tree.start_root(input));
        step.map_err(|why| why.during(During::Start))?;
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
        // Apart from `send_fast`, whose stack a plain change of state does not need.
        if let Some(known) = known
            && self.fast_table.take(&mut instance.actor.active, known)
        {
            instance.seq += 1;
            return Ok(instance.step(true));
        }
        match self.send_fast(instance, event, known, out) {
            Fast::Taken(changed) => {
                instance.seq += u64::from(changed);
                Ok(instance.step(changed))
            }
            Fast::Forbidden => Ok(Step { handled: true, ..instance.step(false) }),
            Fast::NotSimple => self.send_slow(instance, event, known, now, out),
        }
    }

    /// Apart from `send`, whose stack it would make larger.
    #[inline(never)]
    fn send_slow(
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
        let faults = out.faults.unwrap_or(self.own.faults);
        let mut tree = Tree::new(self, instance, context, now, out);
        if let Err(error) = take(&mut tree).and_then(|()| tree.check_fault(faults)).and_then(|()| tree.check_output()) {
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
        Err(StepError::limit("instance_bytes_max", maximum as u64, message))
    }

    /// Lets `look` see an instance as a step on `event` would begin with it.
    pub(crate) fn look(
        &self,
        instance: &Instance,
        event: &Event<'_>,
        look: impl FnOnce(&mut Actor<'_, '_>, &Current<'_>),
    ) {
        let mut out = Output::new();
        Tree::new(self, instance, instance.context().clone(), Millis(0), &mut out).look(event, look);
    }

    fn blank(&self) -> Instance {
        Instance {
            actor: ActorState { active: self.empty_set(), ..ActorState::default() },
            seq: 0,
            fingerprint: self.identity.fingerprint,
            extra: None,
        }
    }

    #[inline]
    pub(crate) fn check(&self, instance: &Instance) -> Result<(), StepError> {
        if instance.fingerprint == self.identity.fingerprint { Ok(()) } else { Err(StepError::WrongMachine) }
    }
}

impl Instance {
    #[inline]
    pub(crate) fn step(&self, changed: bool) -> Step {
        Step { changed, handled: changed, seq: self.seq, status: self.actor.status }
    }
}
