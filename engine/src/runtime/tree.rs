//! One step of an instance and its children: who processes what, in XState's order.
//!
//! Each actor has a mailbox. An actor that is processing finishes first; what it sends is delivered afterwards, in
//! order, and a recipient that is idle processes it at once. So the nesting of calls is a path in the tree of actors.

use super::macrostep::{Actor, Current, INIT, Shared};
use super::made::Made;
use super::output::Output;
use super::scratch::{Deferred, FailedChild, Fault, Kin, Phase, Recipient, Scratch, Slot};
use crate::definition::json_pos::array_index;
use crate::error::StepError;
use crate::event::{Effect, Event, Millis, Status, TimerId};
use crate::event_names::EventIx;
use crate::instance::{Child, Delayed, Instance, Queued, ROOT, Timer, TimerKind};
use crate::machine::{Faults, Machine};
use crate::state_set::StateSet;
use crate::weight;
use statemesh_expr::{Cost, Map, Payload, Str, Value};
use std::sync::Arc;

const STOP: &str = "xstate.stop";
const ERROR_EXECUTION: &str = "xstate.error.execution";

/// What an actor was before a step, as far as a step that failed does not take it back by itself.
struct Former {
    history: Vec<(u16, StateSet)>,
    kin: Vec<Kin>,
    changed: bool,
}

/// A step in progress. Nothing of it is visible until it is committed.
pub(super) struct Tree<'a> {
    pub(super) machine: &'a Machine,
    pub(super) base: &'a Instance,
    now: u64,
    effects: &'a mut Vec<Effect>,
    effects_before: usize,
    pub(super) scratch: &'a mut Scratch,
    cost: Cost,
    made: Made,
    /// Delayed events that were started.
    delayed: u32,
    pub(super) next_timer: u64,
    pub(super) next_actor: u32,
    messages_left: u32,
    actions_left: u32,
    changed: bool,
    finished: bool,
}

impl Drop for Tree<'_> {
    /// A step that was refused leaves no effects behind.
    fn drop(&mut self) {
        if !self.finished {
            self.effects.truncate(self.effects_before);
        }
    }
}

impl<'a> Tree<'a> {
    /// `context` is the instance's, taken out of it, so that assignments can write in place.
    pub(super) fn new(
        machine: &'a Machine,
        base: &'a Instance,
        context: Value,
        now: Millis,
        out: &'a mut Output,
    ) -> Self {
        let scratch = &mut out.scratch;
        scratch.begin();
        let extra = base.extra.as_deref();
        let mut tree = Self {
            machine,
            base,
            now: now.0,
            effects_before: out.effects.len(),
            effects: &mut out.effects,
            scratch,
            cost: Cost::new(machine.limits.expression_cost_max),
            made: Made::default(),
            delayed: 0,
            next_timer: extra.map_or(0, |extra| extra.next_timer),
            next_actor: extra.map_or(1, |extra| extra.next_actor.max(1)),
            messages_left: machine.limits.messages_max,
            actions_left: machine.limits.actions_max,
            changed: false,
            finished: false,
        };
        if let Some(extra) = extra {
            tree.scratch.kin.extend(extra.children.iter().map(kin_of));
        }
        tree.load_root(context);
        tree
    }

    fn load_root(&mut self, context: Value) {
        let mut slot = self.scratch.spare.take().unwrap_or_default();
        let base = &self.base.actor;
        slot.number = ROOT;
        slot.phase = Phase::Running;
        slot.load(base, context);
        self.scratch.slots.push(Some(slot));
    }

    /// The slot of an actor, loaded if it takes part for the first time.
    fn slot(&mut self, number: u32) -> Option<usize> {
        let found = self.scratch.slots.iter().position(|slot| slot.as_ref().is_some_and(|slot| slot.number == number));
        if found.is_some() {
            return found;
        }
        let child = self.base.extra.as_ref()?.children.iter().find(|child| child.number == number)?;
        let mut slot = Box::new(Slot {
            number,
            machine: Some(child.machine.clone()),
            phase: if child.running { Phase::Running } else { Phase::Stopped },
            ..Slot::default()
        });
        slot.load(&child.state, child.state.context.clone());
        self.scratch.slots.push(Some(slot));
        Some(self.scratch.slots.len() - 1)
    }

    fn at(&mut self, slot: usize) -> Option<&mut Slot> {
        self.scratch.slots.get_mut(slot)?.as_deref_mut()
    }

    pub(super) fn start_root(&mut self, input: Payload<'_>) -> Result<(), StepError> {
        self.initialize(0, input)?;
        self.begin(0)
    }

    pub(super) fn send_root(&mut self, event: &Event<'_>, known: Option<EventIx>) -> Result<(), StepError> {
        self.with_current(event, known, |tree, current| tree.process(0, current))?;
        self.flush(0)
    }

    /// Lets `look` see the instance as a step on `event` would begin with it.
    pub(super) fn look(&mut self, event: &Event<'_>, look: impl FnOnce(&mut Actor<'_, '_>, &Current<'_>)) {
        let known = self.machine.events.find(event.kind);
        self.with_current(event, known, |tree, current| {
            // What is looked at cannot fail, and nothing is committed.
            let _ = tree.run(0, |actor| {
                look(actor, current);
                Ok(())
            });
        });
    }

    fn with_current<R>(
        &mut self,
        event: &Event<'_>,
        known: Option<EventIx>,
        then: impl FnOnce(&mut Self, &Current<'_>) -> R,
    ) -> R {
        let machine = self.machine;
        let made;
        let payload = match (event.payload, known) {
            (Payload::Empty, Some(known)) => Payload::Value(machine.events.value(known)),
            (Payload::Empty, None) => {
                made = named(event.kind, []);
                Payload::Value(&made)
            }
            (payload, _) => payload,
        };
        then(self, &Current { known, name: event.kind, payload })
    }

    pub(super) fn fire(&mut self, due: TimerId) -> Result<(), StepError> {
        let base = self.base;
        let timer = base.extra.as_ref().and_then(|extra| extra.timers.iter().find(|timer| timer.id == due.0));
        let Some(timer) = timer else { return Ok(()) };
        self.scratch.dead_timers.push(timer.id);
        match &timer.kind {
            TimerKind::Delayed(delayed) => self.relay(delayed.to, delayed.event.clone()),
            TimerKind::After(after) => {
                let Some(slot) = self.slot(timer.actor) else { return Ok(()) };
                let machine = self.machine_of(slot);
                let machine = machine.as_deref().unwrap_or(self.machine);
                let Some(after) = machine.afters.get(*after as usize) else { return Ok(()) };
                let name = machine.events.name(after.event).clone();
                let data = machine.events.value(after.event).clone();
                self.relay(timer.actor, Queued { name, data })
            }
        }
    }

    pub(super) fn stop_root(&mut self) -> Result<(), StepError> {
        self.stop(0)
    }

    fn machine_of(&mut self, slot: usize) -> Option<Arc<Machine>> {
        self.at(slot)?.machine.clone()
    }

    /// Delivers an event: at once if the recipient is idle, else when it has finished.
    fn relay(&mut self, to: u32, event: Queued) -> Result<(), StepError> {
        let Some(slot) = self.slot_or_waiting(to) else { return Ok(()) };
        let Some(actor) = self.at(slot) else { return Ok(()) };
        if actor.phase == Phase::Stopped {
            return Ok(());
        }
        actor.queues.mailbox.push_back(event);
        if actor.phase == Phase::Running && !actor.processing {
            self.flush(slot)?;
        }
        Ok(())
    }

    /// As `slot`, with a slot for a child that has been spawned but not started: its mailbox waits for it.
    fn slot_or_waiting(&mut self, number: u32) -> Option<usize> {
        if let Some(slot) = self.slot(number) {
            return Some(slot);
        }
        let kin = self.scratch.kin.iter().find(|kin| kin.number == number && kin.phase == Phase::NotStarted)?;
        let machine = kin.machine.clone();
        let slot = Slot { number, active: machine.empty_set(), machine: Some(machine), ..Slot::default() };
        self.scratch.slots.push(Some(Box::new(slot)));
        Some(self.scratch.slots.len() - 1)
    }

    fn flush(&mut self, slot: usize) -> Result<(), StepError> {
        loop {
            let Some(actor) = self.at(slot) else { return Ok(()) };
            if actor.phase != Phase::Running || actor.processing {
                return Ok(());
            }
            let Some(event) = actor.queues.mailbox.pop_front() else { return Ok(()) };
            let machine = self.machine_of(slot);
            let machine = machine.as_deref().unwrap_or(self.machine);
            self.process(slot, &Current::queued(machine, &event))?;
        }
    }

    /// Runs an actor on one event, then does what it deferred.
    fn process(&mut self, slot: usize, event: &Current<'_>) -> Result<(), StepError> {
        self.count_message()?;
        if event.name == STOP {
            return self.stop(slot);
        }
        self.run(slot, |actor| actor.macrostep(event))?;
        self.after_run(slot)
    }

    fn count_message(&mut self) -> Result<(), StepError> {
        let too_many = || {
            let maximum = u64::from(self.machine.limits.messages_max);
            StepError::limit("messages_max", maximum, "one input causes too many messages between actors")
        };
        self.messages_left = self.messages_left.checked_sub(1).ok_or_else(too_many)?;
        Ok(())
    }

    /// Gives an actor its context and its initial configuration. What it caused so far is held back until it starts.
    fn initialize(&mut self, slot: usize, input: Payload<'_>) -> Result<(), StepError> {
        self.count_message()?;
        let effects_before = self.effects.len();
        let machine = self.machine_of(slot);
        let machine = machine.as_deref().unwrap_or(self.machine);
        let Some(actor) = self.scratch.slots.get_mut(slot).and_then(Option::as_deref_mut) else { return Ok(()) };
        actor.initial.begin();
        actor.active.reset(machine.states.len());
        actor.active.insert(0);
        // An input that is not given is an empty one, so that an expression can ask what is in it.
        let nothing = Value::Map(Map::new());
        let input = if matches!(input, Payload::Empty) { Payload::Value(&nothing) } else { input };
        let scope = statemesh_expr::Scope { input, ..statemesh_expr::Scope::default() };
        let context = machine.context.eval(&scope, &mut self.cost);
        let (context, failed) = match context {
            Ok(context) => (context, None),
            Err(error) => {
                let limit = machine.limits.expression_cost_max;
                let fault = Fault::of(&error, &machine.limits, &scope, || {
                    machine.context.culprit(&scope, &mut Cost::new(limit))
                });
                (Value::Map(Map::new()), Some(fault))
            }
        };
        actor.context = context;
        let maximum = self.machine.limits.context_bytes_max;
        if actor.context.weight() > maximum {
            let message = "the initial context is too large";
            return Err(StepError::limit("context_bytes_max", maximum as u64, message));
        }
        let init = named(INIT, []);
        match failed {
            Some(fault) => self.fail(slot, fault)?,
            None => {
                let event = Current { known: None, name: INIT, payload: Payload::Value(&init) };
                self.run(slot, |actor| actor.initial_macrostep(&event))?;
            }
        }
        let held = self.effects.split_off(effects_before);
        if let Some(actor) = self.at(slot) {
            // An actor that failed to start never gets to run its initial actions.
            actor.initial.hold(if actor.status == Status::Error { Vec::new() } else { held });
        }
        Ok(())
    }

    /// Starts an actor that is initialized: its children first, then its own effects and what it deferred, then what
    /// waits in its mailbox.
    fn begin(&mut self, slot: usize) -> Result<(), StepError> {
        let Some(actor) = self.at(slot) else { return Ok(()) };
        actor.phase = Phase::Running;
        actor.processing = true;
        let (number, status) = (actor.number, actor.status);
        if let Some(kin) = self.scratch.kin.iter_mut().find(|kin| kin.number == number) {
            kin.phase = Phase::Running;
        }
        if status == Status::Active {
            self.begin_children(number)?;
        }
        if let Some(held) = self.at(slot).map(|actor| actor.initial.release()) {
            self.effects.extend(held);
        }
        self.after_run(slot)?;
        self.flush(slot)
    }

    /// XState starts the children of a machine that starts before anything else, unless they have already ended.
    fn begin_children(&mut self, parent: u32) -> Result<(), StepError> {
        let waiting = |kin: &&Kin| kin.parent == parent && kin.listed && kin.phase == Phase::NotStarted;
        let mut children: Vec<(u32, u64)> =
            self.scratch.kin.iter().filter(waiting).map(|kin| (kin.number, javascript_rank(&kin.name))).collect();
        children.sort_by_key(|(_, rank)| *rank);
        for (child, _) in children {
            let Some(slot) = self.initialized_child(child)? else { continue };
            if self.at(slot).is_some_and(|actor| actor.status == Status::Active) {
                self.begin(slot)?;
            }
        }
        Ok(())
    }

    /// The slot of a child that has not started, initialized.
    fn initialized_child(&mut self, number: u32) -> Result<Option<usize>, StepError> {
        let kin = self.scratch.kin.iter_mut().find(|kin| kin.number == number && kin.phase == Phase::NotStarted);
        let Some(kin) = kin else { return Ok(None) };
        let input = kin.input.take();
        let Some(slot) = self.slot_or_waiting(number) else { return Ok(None) };
        if self.at(slot).is_some_and(|actor| !actor.initial.is_made()) {
            self.initialize(slot, input.as_ref().map_or(Payload::Empty, Payload::Value))?;
        }
        Ok(Some(slot))
    }

    /// Runs one macrostep of an actor; a fault turns its status to `error` and leaves it otherwise as it was.
    fn run(
        &mut self,
        slot: usize,
        step: impl FnOnce(&mut Actor<'_, '_>) -> Result<(), Fault>,
    ) -> Result<(), StepError> {
        let Some(mut taken) = self.scratch.slots.get_mut(slot).and_then(Option::take) else { return Ok(()) };
        let actor = &mut *taken;
        actor.processing = true;
        let mut before = std::mem::take(&mut actor.before);
        before.clone_from(&actor.active);
        let assignments_before = actor.undo.len();
        let effects_before = self.effects.len();
        let machine = actor.machine.clone();
        let machine = machine.as_deref().unwrap_or(self.machine);
        let former = machine.features.recovers.then(|| self.former(actor));
        let mut result = self.attempt(actor, machine, step);
        if let (Err(Fault::Actor(_)), Some(former)) = (&result, &former) {
            actor.active.clone_from(&before);
            actor.undo_to(assignments_before);
            result = self.recover(actor, machine, former, effects_before, result);
        }
        if result.is_err() {
            actor.active.clone_from(&before);
            actor.undo_to(assignments_before);
            // XState hands out what is emitted once the step has succeeded; other actions have been taken by then.
            let mut index = 0;
            self.effects.retain(|effect| {
                index += 1;
                index <= effects_before || !matches!(effect, Effect::Emit { .. })
            });
        }
        actor.before = before;
        self.scratch.slots[slot] = Some(taken);
        match result {
            Ok(()) => Ok(()),
            Err(fault) => self.fail(slot, fault),
        }
    }

    fn attempt<R>(
        &mut self,
        actor: &mut Slot,
        machine: &Machine,
        step: impl FnOnce(&mut Actor<'_, '_>) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        step(&mut Actor {
            machine,
            limits: &self.machine.limits,
            history: history_of(self.base, actor.number),
            slot: actor,
            shared: Shared {
                made: &mut self.made,
                effects: self.effects,
                buffers: &mut self.scratch.buffers,
                kin: &mut self.scratch.kin,
                cost: &mut self.cost,
                next_actor: &mut self.next_actor,
                actions_left: &mut self.actions_left,
                changed: &mut self.changed,
            },
        })
    }

    #[cold]
    fn former(&self, actor: &Slot) -> Former {
        Former { history: actor.history.clone(), kin: self.scratch.kin.clone(), changed: self.changed }
    }

    /// After a fault: the actor, which is in its former configuration, takes an event that its states' `onError` may handle.
    /// Nothing of the step that failed is left then. The fault itself is returned where nothing handles it.
    #[cold]
    fn recover(
        &mut self,
        actor: &mut Slot,
        machine: &Machine,
        former: &Former,
        effects_before: usize,
        failed: Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Err(Fault::Actor(error)) = &failed else { return failed };
        if !actor.active.iter().any(|state| machine.state(state).recovers) {
            return failed;
        }
        let effects = self.effects.split_off(effects_before);
        let kin = self.take_back(actor, former);
        let data = named(ERROR_EXECUTION, [("error", Some(error.clone()))]);
        let event = Current {
            known: machine.events.find(ERROR_EXECUTION),
            name: ERROR_EXECUTION,
            payload: Payload::Value(&data),
        };
        match self.attempt(actor, machine, |actor| actor.recovery(&event)) {
            Ok(true) => Ok(()),
            Err(Fault::Refused(error)) => Err(Fault::Refused(error)),
            Ok(false) | Err(Fault::Actor(_)) => {
                self.effects.truncate(effects_before);
                self.effects.extend(effects);
                self.scratch.kin = kin;
                failed
            }
        }
    }

    /// Makes an actor what it was before a step that failed, its context and configuration apart. Returns the children that the
    /// step has left.
    fn take_back(&mut self, actor: &mut Slot, former: &Former) -> Vec<Kin> {
        actor.history.clone_from(&former.history);
        actor.status = Status::Active;
        actor.output = None;
        actor.queues.take_back();
        self.changed = former.changed;
        std::mem::replace(&mut self.scratch.kin, former.kin.clone())
    }

    fn fail(&mut self, slot: usize, fault: Fault) -> Result<(), StepError> {
        let error = match fault {
            Fault::Refused(error) => return Err(error),
            Fault::Actor(error) => error,
        };
        self.changed = true;
        let Some(actor) = self.at(slot) else { return Ok(()) };
        actor.status = Status::Error;
        actor.error = Some(error);
        actor.output = None;
        actor.queues.take_back();
        let own = actor.number;
        // XState forgets to stop the children of an actor that failed; we do not.
        self.stop_all(self.children_of(own))
    }

    /// The children of an actor that have not been stopped.
    fn children_of(&self, parent: u32) -> Vec<u32> {
        let alive = |kin: &&Kin| kin.parent == parent && kin.phase != Phase::Stopped;
        self.scratch.kin.iter().filter(alive).map(|kin| kin.number).collect()
    }

    fn stop_all(&mut self, actors: Vec<u32>) -> Result<(), StepError> {
        actors.into_iter().try_for_each(|actor| self.stop_actor(actor))
    }

    /// XState's `update`: deferred work in order, then what the new status asks for.
    fn after_run(&mut self, slot: usize) -> Result<(), StepError> {
        while let Some(deferred) = self.at(slot).and_then(|actor| actor.queues.deferred.pop_front()) {
            self.run_deferred(slot, deferred)?;
        }
        let Some(actor) = self.at(slot) else { return Ok(()) };
        actor.processing = false;
        let (number, status) = (actor.number, actor.status);
        match status {
            Status::Active => self.publish_snapshot(slot, number),
            Status::Done | Status::Error => {
                self.retire(slot);
                self.tell_parent(slot, number, status)
            }
            Status::Stopped => {
                self.retire(slot);
                Ok(())
            }
        }
    }

    fn run_deferred(&mut self, slot: usize, deferred: Deferred) -> Result<(), StepError> {
        let Some(own) = self.at(slot).map(|actor| actor.number) else { return Ok(()) };
        match deferred {
            Deferred::Start(number) => self.start_child(number)?,
            Deferred::Stop(number) => self.stop_actor(number)?,
            Deferred::Send { to, event } => {
                if let Recipient::Actor(number) = to {
                    self.relay(number, event)?;
                }
            }
            Deferred::StartAfter { after, delay } => self.schedule(own, delay, TimerKind::After(after))?,
            Deferred::Delay { send_id, to, event, delay } => {
                if let Recipient::Actor(to) = to {
                    self.delayed += 1;
                    self.schedule(own, delay, TimerKind::Delayed(Box::new(Delayed { send_id, to, event })))?;
                }
            }
            Deferred::CancelAfter(after) => {
                self.cancel(own, |kind| matches!(kind, TimerKind::After(pending) if *pending == after));
            }
            Deferred::Cancel(id) => {
                let machine = self.machine_of(slot);
                let machine = machine.as_deref().unwrap_or(self.machine);
                // A delayed transition's timer goes by the name of its event.
                let named = machine.events.find(&id);
                self.cancel(own, |kind| match kind {
                    TimerKind::After(after) => {
                        named.is_some() && machine.afters.get(*after as usize).map(|after| after.event) == named
                    }
                    TimerKind::Delayed(delayed) => delayed.send_id.as_ref() == Some(&id),
                });
            }
        }
        Ok(())
    }

    fn start_child(&mut self, number: u32) -> Result<(), StepError> {
        match self.initialized_child(number)? {
            Some(slot) => self.begin(slot),
            None => Ok(()),
        }
    }

    fn stop_actor(&mut self, number: u32) -> Result<(), StepError> {
        if let Some(kin) =
            self.scratch.kin.iter_mut().find(|kin| kin.number == number && kin.phase == Phase::NotStarted)
        {
            kin.phase = Phase::Stopped;
            return Ok(());
        }
        let Some(slot) = self.slot(number) else { return Ok(()) };
        let Some(actor) = self.at(slot) else { return Ok(()) };
        match (actor.phase, actor.processing) {
            (Phase::Running, false) => self.stop(slot),
            (Phase::Running, true) => {
                actor.queues.mailbox.clear();
                actor.queues.mailbox.push_back(Queued { name: Str::new(STOP), data: Value::Null });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Stops an actor that is idle, and its children.
    fn stop(&mut self, slot: usize) -> Result<(), StepError> {
        let Some(actor) = self.at(slot) else { return Ok(()) };
        actor.status = Status::Stopped;
        actor.queues.raised.clear();
        actor.processing = false;
        let own = actor.number;
        self.changed = true;
        let children = self.children_of(own);
        self.retire(slot);
        self.stop_all(children)
    }

    /// The actor takes no more events, and its timers are void.
    fn retire(&mut self, slot: usize) {
        let Some(actor) = self.at(slot) else { return };
        actor.phase = Phase::Stopped;
        actor.queues.mailbox.clear();
        let number = actor.number;
        if let Some(kin) = self.scratch.kin.iter_mut().find(|kin| kin.number == number) {
            kin.phase = Phase::Stopped;
        }
        self.cancel(number, |_| true);
    }

    fn tell_parent(&mut self, slot: usize, number: u32, status: Status) -> Result<(), StepError> {
        let Some((parent, name)) = self.parent_and_name(number) else { return Ok(()) };
        let Some(actor) = self.at(slot) else { return Ok(()) };
        let (kind, key, value) = match status {
            Status::Done => ("xstate.done.actor", "output", actor.output.clone()),
            _ => ("xstate.error.actor", "error", actor.error.clone()),
        };
        if status == Status::Error {
            self.note_failed(number, value.as_ref());
        }
        let event = Str::new(format!("{kind}.{name}"));
        let data = named(&event, [(key, value), ("actorId", Some(Value::Str(name)))]);
        self.relay(parent, Queued { name: event, data })
    }

    /// Keeps which child failed: of those that fail with the same error the innermost, where it came about.
    #[cold]
    fn note_failed(&mut self, number: u32, error: Option<&Value>) {
        let Some(error) = error else { return };
        if self.scratch.failed.as_ref().is_some_and(|failed| failed.error == *error) {
            return;
        }
        let (mut path, mut at) = (Vec::new(), number);
        while let Some((parent, name)) = self.parent_and_name(at) {
            path.push(Value::Str(name));
            at = parent;
        }
        let path = path.into_iter().rev().collect();
        self.scratch.failed = Some(Box::new(FailedChild { path, error: error.clone() }));
    }

    /// Why the instance itself failed, with the child in which that came about.
    #[cold]
    fn root_error(&self, root: &Slot) -> Value {
        let mut error = root.error.clone().unwrap_or_default();
        if let Some(failed) = &self.scratch.failed
            && failed.error == error
            && let Value::Map(map) = &mut error
        {
            map.insert("child", Value::List(failed.path.clone()));
        }
        error
    }

    fn publish_snapshot(&mut self, slot: usize, number: u32) -> Result<(), StepError> {
        let sync = self.scratch.kin.iter().any(|kin| kin.number == number && kin.sync);
        let Some((parent, name)) = self.parent_and_name(number).filter(|_| sync) else { return Ok(()) };
        let machine = self.machine_of(slot);
        let machine = machine.as_deref().unwrap_or(self.machine);
        let Some(actor) = self.at(slot) else { return Ok(()) };
        let snapshot = machine.snapshot_value(&actor.active, &actor.context, actor.status);
        let event = Str::new(format!("xstate.snapshot.{name}"));
        let data = named(&event, [("snapshot", Some(snapshot))]);
        self.relay(parent, Queued { name: event, data })
    }

    fn parent_and_name(&self, number: u32) -> Option<(u32, Str)> {
        let kin = self.scratch.kin.iter().find(|kin| kin.number == number)?;
        Some((kin.parent, kin.name.clone()))
    }

    fn schedule(&mut self, actor: u32, delay: u64, kind: TimerKind) -> Result<(), StepError> {
        let pending = self.base.extra.as_ref().map_or(0, |extra| extra.timers.len());
        let pending = (pending + self.scratch.new_timers.len()).saturating_sub(self.scratch.dead_timers.len());
        let maximum = self.machine.limits.timers_max;
        if pending >= maximum {
            return Err(StepError::limit("timers_max", maximum as u64, "too many timers"));
        }
        let id = self.next_timer;
        self.next_timer += 1;
        self.scratch.new_timers.push(Timer { id, deadline: self.now.saturating_add(delay), actor, kind });
        Ok(())
    }

    fn cancel(&mut self, actor: u32, matches: impl Fn(&TimerKind) -> bool) {
        let scratch = &mut *self.scratch;
        scratch.new_timers.retain(|timer| timer.actor != actor || !matches(&timer.kind));
        let pending = self.base.extra.as_ref().map_or(&[][..], |extra| &extra.timers);
        for timer in pending.iter().filter(|timer| timer.actor == actor && matches(&timer.kind)) {
            if !scratch.dead_timers.contains(&timer.id) {
                scratch.dead_timers.push(timer.id);
            }
        }
    }

    /// Whether the instance itself has come to a fault that its step is to be refused for.
    #[inline]
    pub(super) fn check_fault(&self, faults: Faults) -> Result<(), StepError> {
        match self.scratch.slots.first() {
            Some(Some(root)) if root.status == Status::Error && faults == Faults::Hold => {
                Err(StepError::Failed(Box::new(self.root_error(root))))
            }
            _ => Ok(()),
        }
    }

    /// Checks what the step as a whole puts out.
    #[inline]
    pub(super) fn check_output(&self) -> Result<(), StepError> {
        match self.made.fits(&self.machine.limits) {
            true => Ok(()),
            false => {
                let effects = self.effects.get(self.effects_before..).unwrap_or_default();
                self.made.measure(effects, &self.machine.limits)
            }
        }
    }

    /// Whether the instance may weigh more than allowed once the step is committed.
    #[inline]
    pub(super) fn may_be_heavy(&self) -> bool {
        let machine = self.machine;
        // One actor that is not done cannot be, whatever its context: that has a bound of its own.
        let waiting = self.base.extra.as_ref().map_or(0, |extra| extra.weight as usize);
        let is_active = matches!(self.scratch.slots.first(), Some(Some(root)) if root.status == Status::Active);
        let is_light = self.scratch.kin.is_empty()
            && self.delayed == 0
            && is_active
            && machine.weight_alone + waiting <= machine.limits.instance_bytes_max;
        !is_light && self.heaviest() > machine.limits.instance_bytes_max
    }

    /// What the instance weighs at most once the step is committed: what only may have gone counts too.
    #[inline(never)]
    fn heaviest(&self) -> usize {
        let kept = self.base.extra.as_ref().map_or(0, |extra| extra.parts_weight());
        let slots = self.scratch.slots.iter().flatten().map(|slot| {
            let machine = slot.machine.as_deref().unwrap_or(self.machine);
            slot.heaviest(machine)
        });
        let former = self.base.extra.as_ref().map_or(0, |extra| extra.next_actor);
        let spawned = self.scratch.kin.iter().rev().take_while(|kin| kin.number >= former);
        let timers = self.scratch.new_timers.iter().map(|timer| weight::TIMER + timer.event_weight());
        let parts = slots.chain(spawned.map(|kin| weight::child(&kin.name))).chain(timers);
        parts.fold(kept.saturating_add(weight::REST), usize::saturating_add)
    }

    /// Gives a refused step up; returns the instance's context as it was.
    pub(super) fn abandon(self) -> Value {
        let Some(root) = self.scratch.slots.first_mut().and_then(Option::as_deref_mut) else { return Value::Null };
        root.undo_to(0);
        std::mem::take(&mut root.context)
    }

    /// Ends the step successfully: its effects stand.
    pub(super) fn finish(mut self) -> super::commit::Finished {
        self.finished = true;
        super::commit::Finished {
            changed: self.changed,
            next_timer: self.next_timer,
            next_actor: self.next_actor,
            delayed: self.delayed,
        }
    }
}

/// Where JavaScript has a key of an object: integer-like ones first, ascending.
fn javascript_rank(key: &str) -> u64 {
    array_index(key).map_or(u64::MAX, u64::from)
}

fn kin_of(child: &Child) -> Kin {
    Kin {
        number: child.number,
        parent: child.parent,
        name: child.name.clone(),
        machine: child.machine.clone(),
        sync: child.sync,
        listed: child.listed,
        phase: if child.running { Phase::Running } else { Phase::Stopped },
        input: None,
    }
}

fn history_of(base: &Instance, number: u32) -> &[Option<StateSet>] {
    let aux = match number {
        ROOT => base.actor.aux.as_ref(),
        _ => base
            .extra
            .as_ref()
            .and_then(|extra| extra.children.iter().find(|child| child.number == number)?.state.aux.as_ref()),
    };
    aux.map_or(&[], |aux| &aux.history)
}

/// An event with a type and some fields; a field without a value is absent.
fn named<const N: usize>(name: &str, fields: [(&str, Option<Value>); N]) -> Value {
    let mut data = Map::new();
    data.insert("type", Value::str(name));
    for (key, value) in fields {
        if let Some(value) = value {
            data.insert(key, value);
        }
    }
    Value::Map(data)
}
