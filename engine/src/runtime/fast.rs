//! The fast path for most events: one transition that only exits, assigns, reports and enters.
//!
//! It works on the instance itself, with a log to undo assignments, and takes what it can prove to be simple: no
//! parallel regions, history, timers, children, raised events or completion, and nothing eventless. Everything else,
//! and every fault, takes the slow path from the beginning; both give the same answer.

use super::output::Output;
use super::scratch::{Undo, undo_to};
use crate::event::{Effect, Event};
use crate::event_names::EventIx;
use crate::expression::Template;
use crate::instance::{Aux, Extra, Instance};
use crate::machine::{Action, Assignment, Field, Guard, Machine, Plan, Transition};
use crate::state_set::StateSet;
use crate::weight::{self, FAST_EFFECTS_BYTES_MAX, output_fits};
use statemesh_expr::{Cost, Payload, Scalar, Scope, Str, Value};
use std::sync::Arc;

/// What an event did on the fast path.
pub(super) enum Fast {
    /// Whether a transition was taken.
    Taken(bool),
    /// `{}` forbids it.
    Forbidden,
    /// Nothing was done: the event has to take the slow path.
    NotSimple,
}

/// A guard or action needs the slow path.
struct NotSimple;

impl Machine {
    #[inline(never)]
    pub(super) fn send_fast(
        &self,
        instance: &mut Instance,
        event: &Event<'_>,
        known: Option<EventIx>,
        out: &mut Output,
    ) -> Fast {
        let Some(known) = known else { return Fast::NotSimple };
        // Events of XState's own can mean more than a transition.
        if self.features.parallel || self.features.always || event.kind.starts_with("xstate.") {
            return Fast::NotSimple;
        }
        let mut at = instance.actor.active.last();
        while let Some(index) = at {
            let state = self.state(index);
            if !state.reactions.wild.is_empty() {
                return Fast::NotSimple;
            }
            for candidate in state.reactions.exact(known) {
                let transition = self.transition(*candidate);
                match self.is_open(transition, instance, event.payload, known) {
                    Ok(true) => return self.take_fast(transition, instance, event.payload, known, out),
                    Ok(false) => {}
                    Err(NotSimple) => return Fast::NotSimple,
                }
            }
            at = state.parent;
        }
        Fast::Taken(false)
    }

    #[inline]
    fn is_open(
        &self,
        transition: &Transition,
        instance: &Instance,
        payload: Payload<'_>,
        known: EventIx,
    ) -> Result<bool, NotSimple> {
        let Some(guard) = &transition.guard else { return Ok(true) };
        let scope = Scope::new(&instance.actor.context, self.whole(payload, known));
        let mut cost = Cost::new(self.limits.expression_cost_max);
        self.holds_fast(guard, &scope, &mut cost)
    }

    /// The payload, or the event's type where there is nothing else.
    #[inline]
    fn whole<'p>(&'p self, payload: Payload<'p>, known: EventIx) -> Payload<'p> {
        match payload {
            Payload::Empty => Payload::Value(self.events.value(known)),
            payload => payload,
        }
    }

    fn holds_fast(&self, guard: &Guard, scope: &Scope<'_>, cost: &mut Cost) -> Result<bool, NotSimple> {
        match guard {
            Guard::Expression(program) => program.eval_bool(scope, cost).map_err(|_| NotSimple),
            Guard::Call { guard, params: None } => self.holds_fast(&self.named.guard(*guard).body, scope, cost),
            Guard::Not(guard) => self.holds_fast(guard, scope, cost).map(|holds| !holds),
            _ => Err(NotSimple),
        }
    }

    #[inline]
    fn take_fast(
        &self,
        transition: &Transition,
        instance: &mut Instance,
        payload: Payload<'_>,
        known: EventIx,
        out: &mut Output,
    ) -> Fast {
        if transition.targets.is_none() && transition.actions.is_empty() {
            return Fast::Forbidden;
        }
        let Some(plan) = transition.plan.as_ref().filter(|plan| plan.is_simple) else { return Fast::NotSimple };
        let active = &mut instance.actor.active;
        let script = match (&plan.script, &*active) {
            (Some(script), StateSet::Small(word)) if word & !script.keep == script.exits => Some(script),
            _ => None,
        };
        if !plan.is_pure {
            let mut run = Run {
                machine: self,
                context: &mut instance.actor.context,
                payload: self.whole(payload, known),
                cost: Cost::new(self.limits.expression_cost_max),
                effects_before: out.effects.len(),
                effects: &mut out.effects,
                put_out: 0,
                aux: instance.actor.aux.as_deref(),
                extra: instance.extra.as_deref(),
                undo: &mut out.scratch.undo,
                is_undone: script.is_none_or(|script| script.is_undone),
            };
            let ran = match script {
                Some(script) => run.lists(&script.lists),
                None => run.all(plan, transition, active),
            };
            if ran.is_err() {
                run.take_back();
                return Fast::NotSimple;
            }
            run.undo.clear();
        }
        match (active, script) {
            (StateSet::Small(word), Some(script)) => *word = *word & script.keep | script.enter,
            (active, _) => {
                active.replace_range(usize::from(plan.exit_start), usize::from(plan.exit_end), &plan.enter_set);
            }
        }
        Fast::Taken(true)
    }
}

/// The actions of one transition.
struct Run<'r> {
    machine: &'r Machine,
    context: &'r mut Value,
    payload: Payload<'r>,
    cost: Cost,
    effects: &'r mut Vec<Effect>,
    effects_before: usize,
    /// What the effects weigh that are not short: those have no bound but their number.
    put_out: usize,
    aux: Option<&'r Aux>,
    extra: Option<&'r Extra>,
    undo: &'r mut Vec<Undo>,
    /// More than one action can fail, so that one may have to be taken back.
    is_undone: bool,
}

impl Run<'_> {
    fn all(&mut self, plan: &Plan, transition: &Transition, active: &StateSet) -> Result<(), NotSimple> {
        let machine = self.machine;
        let mut end = usize::from(plan.exit_end);
        while let Some(state) = active.last_before(end).filter(|state| *state >= plan.exit_start) {
            self.list(&machine.state(state).exit)?;
            end = usize::from(state);
        }
        self.list(&transition.actions)?;
        for (state, by_default) in &plan.enter {
            let state = machine.state(*state);
            self.list(&state.entry)?;
            if let Some(initial) = state.initial.as_ref().filter(|_| *by_default) {
                self.list(&initial.actions)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn lists(&mut self, lists: &[Arc<[Action]>]) -> Result<(), NotSimple> {
        for list in lists {
            self.list(list)?;
        }
        Ok(())
    }

    #[inline]
    fn list(&mut self, actions: &[Action]) -> Result<(), NotSimple> {
        for action in actions {
            self.one(action)?;
        }
        Ok(())
    }

    #[inline]
    fn one(&mut self, action: &Action) -> Result<(), NotSimple> {
        match action {
            Action::Effect(effect) => {
                match effect {
                    Effect::Custom { kind, params: None } if !kind.is_heap_allocated() => {
                        report_kind(kind, self.effects);
                    }
                    effect => return self.report(effect.clone()),
                }
                Ok(())
            }
            Action::ComputedEffect { kind, params } => {
                let params = Some(self.value(params)?);
                self.report(Effect::Custom { kind: kind.clone(), params })
            }
            Action::Emit { event } => {
                let event = self.value(event)?;
                self.report(Effect::Emit { event })
            }
            Action::Log { args } => {
                let args = self.value(args)?;
                self.report(Effect::Log { args })
            }
            Action::Call { action, params: None } => self.named(*action),
            Action::Assign(Assignment::Fields(fields)) => match &**fields {
                [field] => self.assign(field),
                _ => Err(NotSimple),
            },
            _ => Err(NotSimple),
        }
    }

    /// Reports an effect that is not short.
    #[inline(never)]
    fn report(&mut self, effect: Effect) -> Result<(), NotSimple> {
        self.put_out = self.put_out.saturating_add(effect.weight());
        self.effects.push(effect);
        // Not only at the end: what is computed takes memory.
        if output_fits(self.put_out.saturating_add(FAST_EFFECTS_BYTES_MAX), &self.machine.limits) {
            Ok(())
        } else {
            Err(NotSimple)
        }
    }

    #[inline(never)]
    fn named(&mut self, action: u16) -> Result<(), NotSimple> {
        let machine = self.machine;
        self.list(&machine.named.action(action).body)
    }

    #[inline]
    fn value(&mut self, template: &Template) -> Result<Value, NotSimple> {
        match template {
            Template::Constant(value) => Ok(value.clone()),
            template => template.eval(&Scope::new(self.context, self.payload), &mut self.cost).map_err(|_| NotSimple),
        }
    }

    #[inline]
    fn assign(&mut self, field: &Field) -> Result<(), NotSimple> {
        if let Template::Expression(program) = &field.value {
            let scalar = program.eval_scalar(&Scope::new(self.context, self.payload), &mut self.cost);
            if let Some(before) = scalar.and_then(|scalar| self.replace_scalar(field, scalar)) {
                // Nothing that could fail comes after the only one that can.
                if self.is_undone {
                    self.undo.push(before);
                }
                return Ok(());
            }
        }
        let value = self.value(&field.value)?;
        self.set(field, value)
    }

    #[inline]
    fn replace_scalar(&mut self, field: &Field, scalar: Scalar) -> Option<Undo> {
        let map = self.context.as_map_mut()?;
        let slot = field.slot_in(map)?;
        Some(Undo::RestoreScalar(slot, map.replace_scalar(slot, scalar)?))
    }

    fn set(&mut self, field: &Field, value: Value) -> Result<(), NotSimple> {
        let map = self.context.as_map_mut().ok_or(NotSimple)?;
        let slot = field.slot_in(map).ok_or(NotSimple)?;
        let limits = &self.machine.limits;
        // Before it is put there: beyond four gigabytes a map no longer knows its weight.
        if value.weight() > limits.context_bytes_max {
            return Err(NotSimple);
        }
        let before = map.set_slot(slot, value).unwrap_or_default();
        self.undo.push(Undo::Restore(slot, before));
        let weight = map.weight();
        let is_heavy = weight > limits.context_bytes_max || self.kept() + weight > limits.instance_bytes_max;
        if is_heavy { Err(NotSimple) } else { Ok(()) }
    }

    /// What the instance weighs beside its context: the fast path leaves it as it is.
    fn kept(&self) -> usize {
        let parts = self.aux.map_or(0, Aux::weight) + self.extra.map_or(0, Extra::parts_weight);
        weight::REST + weight::actor_at_most(self.machine) + parts
    }

    fn take_back(&mut self) {
        undo_to(self.undo, 0, self.context);
        self.effects.truncate(self.effects_before);
    }
}

/// Reports an effect whose kind is short and that has no params, as most are.
///
/// Where it is pushed, an effect is put together on the stack, in pieces for whose stores the copy then waits: 10 ns each,
/// as measured. An iterator's items are made when there is room for them, in their place.
#[inline(never)]
fn report_kind(kind: &Str, effects: &mut Vec<Effect>) {
    if !kind.is_heap_allocated() {
        effects.extend(std::iter::once(kind).map(|kind| Effect::Custom { kind: kind.clone(), params: None }));
    }
}
