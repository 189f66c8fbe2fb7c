//! The active states and the events of an instance in a few bytes, for what keeps many of them: a history, say.

use super::{Reader, varint};
use crate::event::{Millis, Status, TimerId};
use crate::instance::{Child, Instance, ROOT, Timer, TimerKind};
use crate::machine::Machine;
use crate::state_set::StateSet;
use statemesh_expr::{Str, Value};

/// A child that runs, as it is shown.
#[derive(Debug)]
pub struct ShownChild<'i> {
    /// Its ids, from the instance's child down.
    pub path: Vec<&'i str>,
    /// The id of the machine that it runs.
    pub machine: &'i str,
    /// Its state value.
    pub value: Value,
    /// How it is.
    pub status: Status,
    /// Its context.
    pub context: &'i Value,
}

impl Instance {
    /// The children that run, in the order in which they were made; children of children included.
    pub fn running_children(&self) -> impl Iterator<Item = ShownChild<'_>> {
        self.children().iter().filter(|child| child.running).map(|child| ShownChild {
            path: self.child_path(child.number),
            machine: child.machine.id(),
            value: child.machine.compose_value(0, &child.state.active),
            status: child.state.status,
            context: &child.state.context,
        })
    }

    fn children(&self) -> &[Child] {
        self.extra.as_ref().map_or(&[], |extra| &extra.children)
    }

    /// The ids of a child by its number, and of those that it is a child of.
    fn child_path(&self, number: u32) -> Vec<&str> {
        let (mut path, mut at) = (Vec::new(), number);
        while let Some(child) = self.children().iter().find(|child| child.number == at) {
            path.push(child.name.as_str());
            at = child.parent;
        }
        path.reverse();
        path
    }
}

impl Machine {
    /// Appends which states are active: one or two bytes for a machine without parallel states, else one bit for each
    /// state. Only this definition can read them.
    pub fn write_configuration(&self, instance: &Instance, out: &mut Vec<u8>) {
        let active = &instance.actor.active;
        match self.precomputed_leaf(active) {
            Some(leaf) => varint(u64::from(leaf) + 1, out),
            None => {
                varint(0, out);
                active.words().iter().for_each(|word| varint(*word, out));
            }
        }
    }

    /// Cuts what [`Machine::write_configuration`] wrote off the front of `bytes`: it, and what is behind it. `None` if
    /// it was not written for this definition.
    pub fn split_configuration<'b>(&self, bytes: &'b [u8]) -> Option<(&'b [u8], &'b [u8])> {
        let mut reader = Reader { bytes };
        match reader.varint().ok()?.checked_sub(1) {
            Some(leaf) => drop(self.leaf_values.get(usize::try_from(leaf).ok()?)?),
            None => drop(self.read_words(&mut reader)?),
        }
        bytes.split_at_checked(bytes.len() - reader.bytes.len())
    }

    /// Appends, in JSON, the state value of a configuration; nothing if it is none of this definition.
    pub fn write_configuration_json(&self, configuration: &[u8], json: &mut Vec<u8>) {
        let mut reader = Reader { bytes: configuration };
        let leaf = reader.varint().ok().and_then(|number| usize::try_from(number).ok());
        match leaf.and_then(|leaf| leaf.checked_sub(1)) {
            Some(leaf) => json.extend_from_slice(self.leaf_values.get(leaf).map_or(&[], |value| &value.json)),
            None => {
                if let Some(active) = self.read_words(&mut reader) {
                    self.value_json(&active, json);
                }
            }
        }
    }

    fn read_words(&self, reader: &mut Reader<'_>) -> Option<StateSet> {
        let mut words = Vec::new();
        for _ in 0..StateSet::empty(self.states.len()).words().len() {
            words.push(reader.varint().ok()?);
        }
        StateSet::from_words(&words, self.states.len())
    }

    /// The number of an event type that the definition names, for [`Machine::event_type`].
    pub fn event_number(&self, event_type: &str) -> Option<u32> {
        self.events.find(event_type)
    }

    /// The type of the event that a pending timer brings the instance itself: `xstate.after.DELAY.ID`, or that of a delayed
    /// event; for a child `xstate.after/` and its ids, from the instance's own child down, with slashes between them. `None` where that is gone.
    pub fn timer_event(&self, instance: &Instance, timer: TimerId) -> Option<Str> {
        let timer = instance.extra.as_ref()?.timers.iter().find(|pending| TimerId(pending.id) == timer)?;
        self.shown_event(instance, timer)
    }

    /// The pending timers, the first to be due first: the event of each, as [`Machine::timer_event`] gives it, and when it is due.
    pub fn pending_timers(&self, instance: &Instance) -> Vec<(Option<Str>, Millis)> {
        let timers = instance.extra.as_ref().map_or(&[][..], |extra| &extra.timers);
        let mut pending: Vec<_> = timers.iter().collect();
        pending.sort_by_key(|timer| (timer.deadline, timer.id));
        pending.into_iter().map(|timer| (self.shown_event(instance, timer), Millis(timer.deadline))).collect()
    }

    fn shown_event(&self, instance: &Instance, timer: &Timer) -> Option<Str> {
        if let Some(event) = self.event_of(timer) {
            return Some(Str::new(event));
        }
        let receiver = match &timer.kind {
            TimerKind::After(_) => timer.actor,
            TimerKind::Delayed(delayed) => delayed.to,
        };
        let path = instance.child_path(receiver);
        (!path.is_empty()).then(|| Str::new(format!("xstate.after/{}", path.join("/"))))
    }

    fn event_of<'i>(&'i self, timer: &'i Timer) -> Option<&'i str> {
        match &timer.kind {
            TimerKind::After(after) if timer.actor == ROOT => self.event_type(self.afters.get(*after as usize)?.event),
            TimerKind::Delayed(delayed) if delayed.to == ROOT => Some(delayed.event.name.as_str()),
            _ => None,
        }
    }

    /// The event type of a number, if the definition has so many.
    pub fn event_type(&self, number: u32) -> Option<&str> {
        self.events.get(number).map(|name| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Limits, Millis, Output, Payload};
    use std::sync::Arc;

    fn machine(definition: &str) -> Arc<Machine> {
        Machine::compile(definition.as_bytes(), &Limits::default(), &|_| None).unwrap().machine
    }

    fn shown(machine: &Machine, events: &[&str]) -> Vec<(String, String)> {
        let mut out = Output::default();
        let mut instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
        let mut pairs = Vec::new();
        for kind in events {
            machine.send(&mut instance, &Event { kind, payload: Payload::Empty }, Millis(0), &mut out).unwrap();
            let (mut bytes, mut read, mut direct) = (Vec::new(), Vec::new(), Vec::new());
            machine.write_configuration(&instance, &mut bytes);
            bytes.push(99);
            let (configuration, behind) = machine.split_configuration(&bytes).unwrap();
            assert_eq!(behind, [99]);
            machine.write_configuration_json(configuration, &mut read);
            machine.write_value_json(&instance, &mut direct);
            pairs.push((String::from_utf8(read).unwrap(), String::from_utf8(direct).unwrap()));
        }
        pairs
    }

    #[test]
    fn flat_nested_parallel_and_large_configurations_read_back() {
        let nested = r#"{"initial":"a","states":{"a":{"on":{"N":"b"}},"b":{"initial":"x","states":{"x":{"on":{"N":"y"}},"y":{}}}}}"#;
        let parallel =
            r#"{"type":"parallel","states":{"a":{"initial":"x","states":{"x":{"on":{"N":"y"}},"y":{}}},"b":{}}}"#;
        let regions: Vec<String> = (0..100).map(|n| format!(r#""r{n}":{{}}"#)).collect();
        let large = format!(r#"{{"type":"parallel","states":{{{}}}}}"#, regions.join(","));
        for definition in [nested, parallel, &large] {
            for (read, direct) in shown(&machine(definition), &["N", "N"]) {
                assert_eq!(read, direct);
            }
        }
    }

    #[test]
    fn bytes_of_another_definition_are_none() {
        let machine = machine(r#"{"type":"parallel","states":{"a":{},"b":{}}}"#);
        let mut json = Vec::new();
        for bytes in [&[][..], &[200], &[5], &[0], &[0, 0x80], &[0, 0x40]] {
            assert_eq!(machine.split_configuration(bytes), None, "{bytes:?}");
            machine.write_configuration_json(bytes, &mut json);
        }
        assert!(json.is_empty());
    }

    #[test]
    fn event_types_have_numbers() {
        let machine = machine(r#"{"initial":"a","states":{"a":{"on":{"GO":"a","x.*":"a"}}}}"#);
        let number = machine.event_number("GO").unwrap();
        assert_eq!(machine.event_type(number), Some("GO"));
        assert_eq!((machine.event_number("x.y"), machine.event_type(u32::MAX)), (None, None));
    }
}
