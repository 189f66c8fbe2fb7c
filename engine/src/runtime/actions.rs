//! Actions, one by one, each on the context left by the one before.

use super::macrostep::{Actor, Current};
use super::scratch::{Deferred, Fault, Kin, Phase, Recipient, Undo, failure, limit};
use crate::definition::delay_text::parse_duration;
use crate::event::Effect;
use crate::expression::Template;
use crate::instance::{Queued, ROOT};
use crate::machine::{Action, Assignment, Delay, EventTemplate};
use crate::state_set::StateIx;
use statemesh_expr::{Cost, Str, Value};

impl Actor<'_, '_> {
    /// Runs a list of actions. `entering` is the state that is being entered, whose children actions may address.
    pub(super) fn run(
        &mut self,
        actions: &[Action],
        event: &Current<'_>,
        params: &Value,
        entering: Option<StateIx>,
    ) -> Result<(), Fault> {
        let left = self.shared.actions_left.checked_sub(actions.len() as u32);
        *self.shared.actions_left = left.ok_or_else(|| {
            let maximum = self.limits.actions_max as usize;
            limit("actions_max", maximum, "one input takes too many actions")
        })?;
        for action in actions {
            self.run_one(action, event, params, entering)?;
        }
        Ok(())
    }

    fn run_one(
        &mut self,
        action: &Action,
        event: &Current<'_>,
        params: &Value,
        entering: Option<StateIx>,
    ) -> Result<(), Fault> {
        match action {
            Action::Effect(effect) => self.report(effect.clone()),
            Action::ComputedEffect { kind, params: own } => {
                let params = Some(self.evaluate(own, event, params)?);
                self.report(Effect::Custom { kind: kind.clone(), params })
            }
            Action::Call { action, params: own } => {
                let machine = self.machine;
                let own = self.evaluate_optional(own.as_ref(), event, params)?.unwrap_or_default();
                self.run(&machine.named.action(*action).body, event, &own, entering)
            }
            Action::Assign(assignment) => self.assign(assignment, event, params),
            Action::Raise { event: raised, delay, id } => {
                let (own, raised) = (Recipient::Actor(self.slot.number), self.event(raised, event, params)?);
                match delay {
                    None => self.raise(raised),
                    Some(delay) => self.delay(own, raised, delay, id.as_ref(), event, params),
                }
            }
            Action::Cancel { id } => {
                let id = self.name(id, event, params, "the id of what is cancelled")?;
                self.defer(Deferred::Cancel(id))
            }
            Action::Emit { event: emitted } => {
                let event = self.evaluate(emitted, event, params)?;
                self.report(Effect::Emit { event })
            }
            Action::Log { args } => {
                let args = self.evaluate(args, event, params)?;
                self.report(Effect::Log { args })
            }
            Action::SendTo { to, event: sent, delay, id } => {
                let sent = self.event(sent, event, params)?;
                let to = self.recipient(to.as_ref(), event, params, entering)?;
                match delay {
                    None => self.defer(Deferred::Send { to, event: sent }),
                    Some(delay) => self.delay(to, sent, delay, id.as_ref(), event, params),
                }
            }
            Action::Spawn { machine, id, input, sync } => {
                let name = self.name_of_child(id.as_ref(), event, params)?;
                let input = self.evaluate_optional(input.as_ref(), event, params)?;
                self.spawn(*machine, name, input, *sync)
            }
            Action::Stop { id } => self.name_of_child(Some(id), event, params).map(|name| self.stop_child(&name)),
            Action::StartAfter(after) => {
                let delay = self.milliseconds(&self.machine.afters[*after as usize].delay, event, params)?;
                self.defer(Deferred::StartAfter { after: *after, delay })
            }
            Action::CancelAfter(after) => self.defer(Deferred::CancelAfter(*after)),
        }
    }

    fn defer(&mut self, deferred: Deferred) -> Result<(), Fault> {
        self.slot.queues.deferred.push_back(deferred);
        Ok(())
    }

    /// The id of a child; one of our own if the definition has none.
    fn name_of_child(&mut self, id: Option<&Template>, event: &Current<'_>, params: &Value) -> Result<Str, Fault> {
        match id {
            Some(id) => self.name(id, event, params, "the id of a child"),
            None => Ok(Str::new(format!("x:{}", *self.shared.next_actor))),
        }
    }

    fn report(&mut self, effect: Effect) -> Result<(), Fault> {
        self.shared.made.add(&effect, self.limits).map_err(Fault::Refused)?;
        self.shared.effects.push(effect);
        Ok(())
    }

    pub(super) fn evaluate(
        &mut self,
        template: &Template,
        event: &Current<'_>,
        params: &Value,
    ) -> Result<Value, Fault> {
        if let Template::Constant(value) = template {
            return Ok(value.clone());
        }
        let scope = statemesh_expr::Scope { params, ..statemesh_expr::Scope::new(&self.slot.context, event.payload) };
        let limits = self.limits;
        template.eval(&scope, self.shared.cost).map_err(|error| {
            Fault::of(&error, limits, &scope, || template.culprit(&scope, &mut Cost::new(limits.expression_cost_max)))
        })
    }

    pub(super) fn evaluate_optional(
        &mut self,
        template: Option<&Template>,
        event: &Current<'_>,
        params: &Value,
    ) -> Result<Option<Value>, Fault> {
        template.map(|template| self.evaluate(template, event, params)).transpose()
    }

    fn assign(&mut self, assignment: &Assignment, event: &Current<'_>, params: &Value) -> Result<(), Fault> {
        match assignment {
            Assignment::Fields(fields) => {
                if let [field] = &**fields {
                    let value = self.evaluate(&field.value, event, params)?;
                    self.set(&field.key, value)?;
                } else {
                    // All values see the context as it was before any of them is set.
                    let values = fields.iter().map(|field| self.evaluate(&field.value, event, params));
                    let values = values.collect::<Result<Vec<Value>, Fault>>()?;
                    for (field, value) in fields.iter().zip(values) {
                        self.set(&field.key, value)?;
                    }
                }
            }
            Assignment::Whole(template) => {
                let assigned = self.evaluate(template, event, params)?;
                self.set_all(assigned)?;
            }
            Assignment::Patch(template) => {
                let given = self.evaluate(template, event, params)?;
                let Some(assigned) = given.get("context") else { return Ok(()) };
                self.set_all(assigned.clone())?;
            }
        }
        self.slot.touched = true;
        Ok(())
    }

    fn set_all(&mut self, assigned: Value) -> Result<(), Fault> {
        match assigned {
            Value::Map(map) => map.iter().try_for_each(|(key, value)| self.set(key, value.clone())),
            Value::Null => Ok(()),
            other => {
                let message = format!("an assignment must give a map, not {}", other.kind().name());
                Err(failure("not_a_map", &message))
            }
        }
    }

    fn set(&mut self, key: &Str, value: Value) -> Result<(), Fault> {
        let maximum = self.limits.context_bytes_max;
        let too_large = || limit("context_bytes_max", maximum, "the context grows too large");
        // Before it is put there: beyond four gigabytes a map no longer knows its weight.
        if value.weight() > maximum {
            return Err(too_large());
        }
        let Some(map) = self.slot.context.as_map_mut() else {
            return Err(failure("not_a_map", "the context is not a map"));
        };
        match map.shape().slot_of(key) {
            Some(slot) => {
                let before = map.set_slot(slot, value).unwrap_or_default();
                self.slot.undo.push(Undo::Restore(slot, before));
            }
            None => {
                map.insert(key.clone(), value);
                self.slot.undo.push(Undo::Remove(key.clone()));
            }
        }
        if map.weight() > maximum { Err(too_large()) } else { Ok(()) }
    }

    pub(super) fn raise(&mut self, event: Queued) -> Result<(), Fault> {
        if self.slot.queues.raised.len() >= self.limits.raised_max {
            return Err(limit("raised_max", self.limits.raised_max, "too many events are raised"));
        }
        self.slot.queues.raised.push_back(event);
        Ok(())
    }

    fn event(&mut self, template: &EventTemplate, event: &Current<'_>, params: &Value) -> Result<Queued, Fault> {
        match template {
            EventTemplate::Constant { kind, data } => {
                Ok(Queued { name: self.machine.events.name(*kind).clone(), data: data.clone() })
            }
            EventTemplate::Computed(template) => {
                let data = self.evaluate(template, event, params)?;
                match data.get("type") {
                    Some(Value::Str(name)) => Ok(Queued { name: name.clone(), data }),
                    _ => Err(failure("not_an_event", "an event must be a map with a string \"type\"")),
                }
            }
        }
    }

    fn delay(
        &mut self,
        to: Recipient,
        sent: Queued,
        delay: &Delay,
        id: Option<&Template>,
        event: &Current<'_>,
        params: &Value,
    ) -> Result<(), Fault> {
        let delay = self.milliseconds(delay, event, params)?;
        let send_id = id.map(|id| self.name(id, event, params, "the id of a delayed event")).transpose()?;
        self.defer(Deferred::Delay { send_id, to, event: sent, delay })
    }

    fn milliseconds(&mut self, delay: &Delay, event: &Current<'_>, params: &Value) -> Result<u64, Fault> {
        let template = match delay {
            Delay::Constant(ms) => return Ok(*ms),
            Delay::Computed(template) => template,
        };
        let value = self.evaluate(template, event, params)?;
        let parsed = match &value {
            Value::Str(text) => parse_duration(text),
            number => number.as_f64().filter(|ms| !ms.is_nan()).map(crate::definition::delay_text::milliseconds),
        };
        parsed.ok_or_else(|| failure("bad_delay", &format!("{value} is no delay in milliseconds")))
    }

    fn name(&mut self, template: &Template, event: &Current<'_>, params: &Value, what: &str) -> Result<Str, Fault> {
        match self.evaluate(template, event, params)? {
            Value::Str(name) => Ok(name),
            Value::Int(number) => Ok(Str::new(number.to_string())),
            other => Err(failure("not_a_name", &format!("{what} must be a string, not {}", other.kind().name()))),
        }
    }

    fn recipient(
        &mut self,
        to: Option<&Template>,
        event: &Current<'_>,
        params: &Value,
        entering: Option<StateIx>,
    ) -> Result<Recipient, Fault> {
        let own = self.slot.number;
        let Some(to) = to else { return Ok(Recipient::Actor(own)) };
        let name = self.name(to, event, params, "the recipient of an event")?;
        let found = match name.as_str() {
            "" | "#_internal" => Some(own),
            "#_parent" if own == ROOT => None,
            "#_parent" => self.shared.kin.iter().find(|kin| kin.number == own).map(|kin| kin.parent),
            other => {
                let invoked = entering.map_or(&[][..], |state| &self.machine.state(state).invokes);
                if invoked.iter().any(|invoke| invoke.id == name) {
                    return Ok(Recipient::Invoked(name));
                }
                let name = other.strip_prefix("#_").unwrap_or(other);
                self.child(name).map(|child| child.number)
            }
        };
        found.map(Recipient::Actor).ok_or_else(|| {
            failure(
                "unknown_actor",
                &format!("unable to send an event to actor {name:?} from machine {:?}", self.machine.identity.id),
            )
        })
    }

    fn child(&mut self, name: &str) -> Option<&mut Kin> {
        let own = self.slot.number;
        self.shared.kin.iter_mut().find(|kin| kin.parent == own && kin.listed && kin.name == name)
    }

    pub(super) fn spawn(&mut self, machine: u16, name: Str, input: Option<Value>, sync: bool) -> Result<(), Fault> {
        let running = self.shared.kin.iter().filter(|kin| kin.phase != Phase::Stopped).count();
        if running >= self.limits.children_max {
            return Err(limit("children_max", self.limits.children_max, "too many children"));
        }
        if self.depth() >= self.limits.child_depth_max {
            return Err(limit("child_depth_max", self.limits.child_depth_max, "children are nested too deeply"));
        }
        // XState keeps a child whose id is taken over running, but it cannot be named any more.
        if let Some(former) = self.child(&name) {
            former.listed = false;
        }
        let number = *self.shared.next_actor;
        let next = number.checked_add(1);
        let numbers = u32::MAX as usize;
        *self.shared.next_actor =
            next.ok_or_else(|| limit("children_max", numbers, "it has started as many children as there are numbers"))?;
        let machine = self.machine.named.machine(machine).machine.clone();
        let parent = self.slot.number;
        self.shared.kin.push(Kin {
            number,
            parent,
            name,
            machine,
            sync,
            listed: true,
            phase: Phase::NotStarted,
            input,
        });
        self.slot.queues.deferred.push_back(Deferred::Start(number));
        self.slot.touched = true;
        Ok(())
    }

    fn depth(&self) -> usize {
        let mut depth = 0;
        let mut number = self.slot.number;
        while let Some(kin) = self.shared.kin.iter().find(|kin| kin.number == number) {
            depth += 1;
            number = kin.parent;
        }
        depth
    }

    pub(super) fn stop_child(&mut self, name: &str) {
        self.slot.touched = true;
        let Some(child) = self.child(name) else { return };
        child.listed = false;
        if child.phase == Phase::NotStarted {
            child.phase = Phase::Stopped;
        } else {
            let number = child.number;
            self.slot.queues.deferred.push_back(Deferred::Stop(number));
        }
    }
}
