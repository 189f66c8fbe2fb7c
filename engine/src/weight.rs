//! What an instance weighs, in bytes: about its JSON, and no less than its snapshot, which therefore can always be read.
//!
//! It is known without looking at the parts: a value knows its own weight, and [`Extra`] keeps the sum of its children and
//! delayed events, which the end of a step changes by what the step changed.

use crate::event::Effect;
use crate::instance::{ActorState, Aux, Child, Delayed, Extra, Instance, Timer, TimerKind};
use crate::limits::{FAST_ACTIONS_MAX, Limits};
use crate::machine::Machine;
use crate::state_set::StateSet;

/// The frame of a snapshot: what it says of every instance.
const FRAME: usize = 46;
/// An actor beside its active states, its context and what [`Aux`] holds.
const ACTOR: usize = 2;
/// What [`Aux`] says of every actor that has it.
const AUX: usize = 12;
/// Numbers and counts of [`Extra`].
const EXTRA: usize = 45;
/// A child beside its name and its state.
const CHILD: usize = 53;
/// A timer beside the event that it brings.
pub(crate) const TIMER: usize = 31;
/// A delayed event beside its name and its data.
const DELAYED: usize = 15;
/// A varint of any length.
const COUNT: usize = 10;
/// Bytes that a stuck instance may weigh more than any other: why it is stuck is told whatever it weighs.
pub(crate) const STUCK: usize = 1_024;
/// What every instance weighs, whatever it is and has.
pub(crate) const REST: usize = FRAME + EXTRA;
/// What an effect has as JSON beside its kind and its value.
const EFFECT: usize = 32;
/// What an effect weighs at most that has no params and a kind of up to 23 bytes.
pub(crate) const SHORT_EFFECT: usize = EFFECT + 23;
/// What all effects without params and of short kinds weigh at most that the fast path reports.
pub(crate) const FAST_EFFECTS_BYTES_MAX: usize = FAST_ACTIONS_MAX * SHORT_EFFECT;
/// Bytes of JSON for one of weight, at most: `\u0001` stands for one byte.
const JSON_PER_WEIGHT: usize = 6;

impl Instance {
    /// Bytes that the instance weighs: about as many as it has as JSON, children and pending events included, and no fewer
    /// than its snapshot has. A step that would make it weigh more than `instance_bytes_max` is refused.
    pub fn weight(&self) -> usize {
        let extra = self.extra.as_ref().map_or(0, |extra| EXTRA.saturating_add(extra.parts_weight()));
        FRAME.saturating_add(self.actor.weight()).saturating_add(extra)
    }

    /// The same, found by looking at every part.
    pub fn full_weight(&self) -> usize {
        let parts = |extra: &Extra| {
            let children: usize = extra.children.iter().map(Child::full_weight).sum();
            EXTRA + children + extra.timers.iter().map(|timer| TIMER + timer.full_event_weight()).sum::<usize>()
        };
        FRAME + self.actor.full_weight() + self.extra.as_deref().map_or(0, parts)
    }
}

impl ActorState {
    pub(crate) fn weight(&self) -> usize {
        let aux = self.aux.as_ref().map_or(0, |aux| aux.weight());
        actor(&self.active).saturating_add(self.context.weight()).saturating_add(aux)
    }

    fn full_weight(&self) -> usize {
        let aux = |aux: &Aux| {
            let values = aux.output.iter().chain(&aux.error).map(|value| value.full_weight());
            AUX + aux.history.iter().map(recorded).sum::<usize>() + values.sum::<usize>()
        };
        actor(&self.active) + self.context.full_weight() + self.aux.as_deref().map_or(0, aux)
    }
}

impl Aux {
    pub(crate) fn weight(&self) -> usize {
        let history = self.history.iter().map(recorded).sum::<usize>();
        let values =
            self.output.iter().chain(&self.error).fold(0usize, |sum, value| sum.saturating_add(value.weight()));
        AUX.saturating_add(history).saturating_add(values)
    }
}

impl Child {
    pub(crate) fn weight(&self) -> usize {
        // Of a child that has ended only the name is kept.
        let state = if self.running { self.state.weight() } else { 0 };
        child(&self.name).saturating_add(state)
    }

    fn full_weight(&self) -> usize {
        child(&self.name) + if self.running { self.state.full_weight() } else { 0 }
    }
}

impl Extra {
    /// What children and timers weigh together.
    #[inline]
    pub(crate) fn parts_weight(&self) -> usize {
        self.timers.len().saturating_mul(TIMER).saturating_add(self.weight as usize)
    }
}

impl Timer {
    /// What the event weighs that the timer brings: nothing for a delayed transition, of which the definition knows.
    #[inline]
    pub(crate) fn event_weight(&self) -> usize {
        match &self.kind {
            TimerKind::After(_) => 0,
            TimerKind::Delayed(delayed) => delayed.weight(),
        }
    }

    fn full_event_weight(&self) -> usize {
        match &self.kind {
            TimerKind::After(_) => 0,
            TimerKind::Delayed(delayed) => {
                delayed.weight() - delayed.event.data.weight() + delayed.event.data.full_weight()
            }
        }
    }
}

impl Delayed {
    pub(crate) fn weight(&self) -> usize {
        let id = self.send_id.as_ref().map_or(0, |id| COUNT + id.len());
        (DELAYED + id + self.event.name.len()).saturating_add(self.event.data.weight())
    }
}

impl Effect {
    /// About its bytes as JSON. Text that has to be escaped has up to six times as many.
    #[inline]
    pub(crate) fn weight(&self) -> usize {
        let value = match self {
            Self::Custom { params: None, .. } => 0,
            Self::Custom { params: Some(value), .. } | Self::Emit { event: value } | Self::Log { args: value } => {
                value.weight()
            }
        };
        value.saturating_add(EFFECT + self.kind().len())
    }
}

/// What an actor weighs whose context weighs nothing.
pub(crate) fn actor(active: &StateSet) -> usize {
    ACTOR + set(active)
}

/// What a child weighs beside its state.
pub(crate) fn child(name: &str) -> usize {
    CHILD + name.len()
}

/// What an actor of a machine weighs at most whose context weighs nothing and that has neither output nor error.
#[inline]
pub(crate) fn actor_at_most(machine: &Machine) -> usize {
    let set = COUNT + machine.states.len().div_ceil(64) * size_of::<u64>();
    ACTOR + AUX + set + machine.history.len().saturating_mul(1 + set)
}

/// What an instance of a machine weighs at most that is active, has no children, and no event that waits for a timer.
pub(crate) fn alone(machine: &Machine) -> usize {
    let timers = machine.limits.timers_max.saturating_mul(TIMER);
    let fixed = REST.saturating_add(actor_at_most(machine)).saturating_add(timers);
    // Half the range is more than any limit, and leaves room for a sum.
    fixed.saturating_add(machine.limits.context_bytes_max).min(usize::MAX / 2)
}

/// Whether effects of this weight cannot exceed the limit, however they are written.
#[inline]
pub(crate) fn output_fits(weight: usize, limits: &Limits) -> bool {
    weight.saturating_mul(JSON_PER_WEIGHT) <= limits.output_bytes_max
}

fn recorded(states: &Option<StateSet>) -> usize {
    1 + states.as_ref().map_or(0, set)
}

fn set(states: &StateSet) -> usize {
    COUNT + size_of_val(states.words())
}
