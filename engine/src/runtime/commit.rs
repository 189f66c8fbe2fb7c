//! The end of a step: the working copies replace what they were copied from, all at once.

use super::output::Output;
use super::scratch::{Phase, Scratch, Slot};
use crate::event::{Millis, Status, Step, TimerCommand, TimerId};
use crate::instance::{ActorState, Aux, Child, Extra, Instance, Timer};
use crate::machine::Machine;
use crate::state_set::StateSet;
use crate::weight;
use statemesh_expr::Value;

/// What a step that succeeded leaves to be written back.
pub(super) struct Finished {
    pub(super) changed: bool,
    pub(super) next_timer: u64,
    pub(super) next_actor: u32,
    /// Delayed events that were started.
    pub(super) delayed: u32,
}

impl Scratch {
    /// Makes room for a step; what a refused one left behind is dropped.
    pub(super) fn begin(&mut self) {
        self.failed = None;
        if self.spare.is_none() {
            self.spare = self.slots.first_mut().and_then(Option::take);
        }
        self.buffers.forbidden = false;
        self.slots.clear();
        self.kin.clear();
        self.new_timers.clear();
        self.dead_timers.clear();
    }
}

impl Slot {
    /// Takes an actor's state as the working copy.
    pub(super) fn load(&mut self, state: &ActorState, context: Value) {
        self.processing = false;
        self.initial.is_over();
        self.active.clone_from(&state.active);
        self.context = context;
        self.undo.clear();
        self.status = state.status;
        (self.output, self.error) = match &state.aux {
            Some(aux) => (aux.output.clone(), aux.error.clone()),
            None => (None, None),
        };
        self.history.clear();
        self.touched = false;
        self.queues.clear();
    }

    /// What the actor weighs at most once it is written back.
    pub(super) fn heaviest(&self, machine: &Machine) -> usize {
        let values = self.output.iter().chain(&self.error).map(Value::weight);
        values.fold(weight::actor_at_most(machine).saturating_add(self.context.weight()), usize::saturating_add)
    }

    /// Writes the working copy back.
    fn store(&mut self, machine: &Machine, state: &mut ActorState) {
        state.active.clone_from(&self.active);
        state.context = std::mem::take(&mut self.context);
        state.status = self.status;
        let has_aux = self.output.is_some() || self.error.is_some() || !self.history.is_empty();
        if !has_aux && state.aux.is_none() {
            return;
        }
        let aux = state.aux.get_or_insert_with(Box::<Aux>::default);
        aux.output = self.output.take();
        aux.error = self.error.take();
        if !self.history.is_empty() && aux.history.is_empty() {
            aux.history = vec![None; machine.history.len()].into();
        }
        for (index, recorded) in self.history.drain(..) {
            if let Some(place) = aux.history.get_mut(usize::from(index)) {
                *place = Some(recorded);
            }
        }
    }
}

impl Finished {
    pub(super) fn commit(self, machine: &Machine, instance: &mut Instance, out: &mut Output) -> Step {
        let scratch = &mut out.scratch;
        let mut root = scratch.slots.first_mut().and_then(Option::take);
        if let Some(root) = &mut root {
            root.store(machine, &mut instance.actor);
        }
        scratch.spare = root;
        self.commit_children(scratch, instance);
        self.commit_timers(scratch, instance, &mut out.timers);
        instance.seq += u64::from(self.changed);
        debug_assert_eq!(instance.weight(), instance.full_weight(), "the weight is kept as it is");
        let mut step = instance.step(self.changed);
        step.handled |= scratch.buffers.forbidden;
        step
    }

    fn commit_children(&self, scratch: &mut Scratch, instance: &mut Instance) {
        if scratch.kin.is_empty() {
            return;
        }
        let extra = instance.extra.get_or_insert_with(Box::<Extra>::default);
        extra.next_actor = self.next_actor;
        let mut before = std::mem::take(&mut extra.children);
        before.iter().for_each(|child| extra.lighten(child.weight()));
        let root_lives = instance.actor.status == Status::Active;
        let mut alive: Vec<u32> = Vec::new();
        for kin in scratch.kin.drain(..) {
            // Parents come before their children.
            let parent_lives = if kin.parent == 0 { root_lives } else { alive.contains(&kin.parent) };
            let runs = kin.phase == Phase::Running;
            if !parent_lives || !(runs || kin.listed) {
                continue;
            }
            if runs {
                alive.push(kin.number);
            }
            let former = before.iter_mut().find(|child| child.number == kin.number);
            let mut state = former.map_or_else(ActorState::default, |child| std::mem::take(&mut child.state));
            let slot = scratch.slots.iter_mut().flatten().find(|slot| slot.number == kin.number);
            if let Some(slot) = slot {
                slot.store(&kin.machine, &mut state);
            }
            if !runs {
                // All that a child that has ended is still good for is its name.
                state = ActorState { status: state.status, active: StateSet::default(), ..ActorState::default() };
            }
            let child = Child {
                number: kin.number,
                parent: kin.parent,
                name: kin.name,
                machine: kin.machine,
                sync: kin.sync,
                listed: kin.listed,
                running: runs,
                state,
            };
            extra.weigh_more(child.weight());
            extra.children.push(child);
        }
        forget_old_names(extra);
    }

    fn commit_timers(&self, scratch: &mut Scratch, instance: &mut Instance, commands: &mut Vec<TimerCommand>) {
        let lives = |instance: &Instance, actor: u32| {
            let is_child = |extra: &Extra| extra.children.iter().any(|child| child.number == actor && child.running);
            if actor == 0 {
                instance.actor.status == Status::Active
            } else {
                instance.extra.as_deref().is_some_and(is_child)
            }
        };
        scratch.new_timers.retain(|timer| lives(instance, timer.actor));
        let pending = instance.extra.as_ref().map_or(&[][..], |extra| &extra.timers);
        for timer in pending {
            if !lives(instance, timer.actor) && !scratch.dead_timers.contains(&timer.id) {
                scratch.dead_timers.push(timer.id);
            }
        }
        if scratch.new_timers.is_empty() && scratch.dead_timers.is_empty() {
            return;
        }
        let extra = instance.extra.get_or_insert_with(Box::<Extra>::default);
        extra.next_timer = self.next_timer;
        self.weigh_timers(scratch, extra);
        extra.timers.retain(|timer| !scratch.dead_timers.contains(&timer.id));
        commands.extend(scratch.dead_timers.drain(..).map(|id| TimerCommand::Cancel { id: TimerId(id) }));
        commands.extend(
            scratch
                .new_timers
                .iter()
                .map(|timer| TimerCommand::Schedule { id: TimerId(timer.id), deadline: Millis(timer.deadline) }),
        );
        // Exactly: of a million instances that wait for two things each, half the memory would be spare.
        extra.timers.reserve_exact(scratch.new_timers.len());
        extra.timers.extend(scratch.new_timers.drain(..));
    }
}

impl Finished {
    /// Events that wait no longer, or from now on. Most instances have none, and pay nothing.
    #[inline]
    fn weigh_timers(&self, scratch: &Scratch, extra: &mut Extra) {
        if extra.weight > 0 {
            let dead = extra.timers.iter().filter(|timer| scratch.dead_timers.contains(&timer.id));
            let gone = dead.map(Timer::event_weight).sum();
            extra.lighten(gone);
        }
        if self.delayed > 0 {
            scratch.new_timers.iter().for_each(|timer| extra.weigh_more(timer.event_weight()));
        }
    }
}

/// Names of children that have ended are kept as XState keeps them, but not without bound: the oldest go first.
fn forget_old_names(extra: &mut Extra) {
    const ENDED_MAX: usize = 256;
    let ended = extra.children.iter().filter(|child| !child.running).count();
    let mut surplus = ended.saturating_sub(ENDED_MAX);
    let mut gone = 0;
    extra.children.retain(|child| {
        let forget = !child.running && surplus > 0;
        surplus -= usize::from(forget);
        gone += if forget { child.weight() } else { 0 };
        !forget
    });
    extra.lighten(gone);
}
