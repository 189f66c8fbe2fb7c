//! An instance that is stuck: the step of a timer hit a limit, or came to a fault.
//!
//! Who sends an event hears that it was refused; a timer has no sender to hear it, so a refusal would be no end of it: it stays
//! due. The instance keeps the timer as the input that it could not take, shows the status `error`, takes nothing further, and
//! none of its timers is due. [`Machine::retry`] fires the timer again, [`Machine::skip`] drops it.

use super::output::Output;
use crate::error::{During, StepError};
use crate::event::{Millis, Status, Step, StepResult, TimerCommand, TimerId};
use crate::instance::{Aux, HeldTimer, Instance};
use crate::machine::Machine;
use crate::weight;
use statemesh_expr::Value;

/// Characters of what is told of a step that was refused: messages of limits are shorter.
const MESSAGE_CHARS_MAX: usize = weight::STUCK / 2 / size_of::<char>();

impl Instance {
    /// Makes an active instance stuck with a timer whose step was refused for `why`: `error()` says it then. Nothing happens
    /// if the instance is not active, or has no such timer.
    pub fn hold(&mut self, timer: TimerId, why: &StepError) -> Step {
        let is_pending = self.timers().any(|(id, _)| id == timer);
        if self.actor.status != Status::Active || !is_pending {
            return self.step(false);
        }
        self.keep_held(timer, Some(told(why)));
        self.seq += 1;
        self.step(true)
    }

    /// Whether it holds an input that it could not take: `retry` or `skip` let it go on.
    pub fn is_stuck(&self) -> bool {
        self.held_timer().is_some()
    }

    /// The timer whose step was refused.
    pub fn held_timer(&self) -> Option<TimerId> {
        self.extra.as_ref()?.held.map(HeldTimer::id)
    }

    fn keep_held(&mut self, timer: TimerId, error: Option<Value>) {
        let Some(extra) = &mut self.extra else { return };
        extra.held = Some(HeldTimer::of(timer));
        self.actor.status = Status::Error;
        self.actor.aux.get_or_insert_with(Box::<Aux>::default).error = error;
    }

    /// Makes it active again; returns the timer and what was shown as its error.
    fn release(&mut self) -> Option<(TimerId, Option<Value>)> {
        let timer = self.extra.as_mut()?.held.take()?.id();
        self.actor.status = Status::Active;
        let error = self.actor.aux.as_mut().and_then(|aux| aux.error.take());
        // As it was before: nothing is kept that has nothing in it.
        if self.actor.aux.as_ref().is_some_and(|aux| aux.history.is_empty() && aux.output.is_none()) {
            self.actor.aux = None;
        }
        Some((timer, error))
    }

    /// Makes it active again for good: its status has changed, whatever else has.
    fn go_on(&mut self, changed: bool) -> Step {
        self.seq += u64::from(!changed);
        self.step(true)
    }
}

/// What is shown of a step that was refused: no more than what a stuck instance may weigh more.
fn told(why: &StepError) -> Value {
    if let StepError::Failed(error) = why
        && error.get("message").is_some()
        && error.weight() <= weight::STUCK / 2
    {
        return (**error).clone();
    }
    let message: String = why.to_string().chars().take(MESSAGE_CHARS_MAX).collect();
    let error = [("code", Value::str(why.code())), ("message", Value::str(message))];
    Value::Map(error.into_iter().collect())
}

impl Machine {
    /// Fires the timer that an instance is stuck with again. If its step is refused again, the instance stays as it was.
    pub fn retry(&self, instance: &mut Instance, now: Millis, out: &mut Output) -> StepResult {
        let step = self.released(instance, |instance, timer| self.fire(instance, timer, now, out));
        step.map_err(|why| why.during(During::Retry))
    }

    /// Drops the timer that an instance is stuck with: it never fires. What else is due may fire then.
    pub fn skip(&self, instance: &mut Instance, out: &mut Output) -> StepResult {
        self.released(instance, |instance, timer| {
            instance.forget_timer(timer);
            out.timers.push(TimerCommand::Cancel { id: timer });
            Ok(instance.step(false))
        })
    }

    /// Lets a stuck instance take a step; nothing happens to one that is not stuck.
    pub(super) fn released(
        &self,
        instance: &mut Instance,
        take: impl FnOnce(&mut Instance, TimerId) -> StepResult,
    ) -> StepResult {
        self.check(instance)?;
        let Some((timer, error)) = instance.release() else { return Ok(instance.step(false)) };
        match take(instance, timer) {
            Ok(step) => Ok(instance.go_on(step.changed)),
            Err(refused) => {
                instance.keep_held(timer, error);
                Err(refused)
            }
        }
    }
}
