//! An instance on its way through inputs, with three companions that must always agree with it: what it was before, what
//! its snapshot restores, and its slow twin.

use crate::catalogue::Pair;
use crate::script::Input;
use statemesh_engine::{Effect, Event, Instance, Machine, Millis, Output, Payload, Status, StepResult};

/// Timers fired for one advance of time; a machine may start one whenever one fires.
const FIRED_MAX: usize = 40;

/// The instance, its restored copy and its slow twin.
pub struct Walk<'m> {
    machine: &'m Machine,
    instance: Instance,
    /// Made anew from bytes after every input.
    restored: Instance,
    slow: Option<(&'m Machine, Instance)>,
    now: Millis,
    out: Output,
    other: Output,
}

impl<'m> Walk<'m> {
    /// Starts an instance; `None` if that is refused.
    pub fn start(pair: &'m Pair, input: Payload<'_>) -> Option<Self> {
        let machine = &*pair.machine;
        let now = Millis(1_000);
        let (mut out, mut other) = (Output::new(), Output::new());
        let instance = machine.start(input, now, &mut out).ok()?;
        let slow = pair.slow.as_deref().and_then(|slow| Some((slow, slow.start(input, now, &mut other).ok()?)));
        let restored = restore(machine, &bytes(machine, &instance, now), now);
        let walk = Self { machine, instance, restored, slow, now, out, other };
        walk.compare_with_slow();
        Some(walk)
    }

    /// Takes an input, and checks what must hold after it.
    pub fn take(&mut self, input: &Input<'_>) {
        match (input, input.event()) {
            (Input::Advance(by), _) => self.advance(*by),
            (_, Some(event)) => self.send(&event),
            (_, None) => {}
        }
    }

    /// Sends an event.
    pub fn send(&mut self, event: &Event<'_>) {
        let before = self.bytes();
        let explained = self.machine.explain(&self.instance, event, self.now);
        assert_eq!(self.bytes(), before, "explaining changes nothing");
        let now = self.now;
        let result = self.all(|machine, instance, out| machine.send(instance, event, now, out), &before);
        if let (Ok(explained), Ok(step)) = (explained, result) {
            let outcome = explained.outcome.expect("what is taken was explained as taken");
            assert_eq!((outcome.changed, outcome.status), (step.changed, step.status));
        }
    }

    fn advance(&mut self, by: Millis) {
        let until = Millis(self.now.0.saturating_add(by.0));
        for _ in 0..FIRED_MAX {
            let Some((id, deadline)) = self.instance.next_timer().filter(|(_, deadline)| *deadline <= until) else {
                break;
            };
            self.now = self.now.max(deadline);
            let (now, before) = (self.now, self.bytes());
            if self.all(|machine, instance, out| machine.fire(instance, id, now, out), &before).is_err() {
                break;
            }
        }
        self.now = until;
    }

    /// Does the same to all companions and compares them.
    fn all(
        &mut self,
        mut step: impl FnMut(&Machine, &mut Instance, &mut Output) -> StepResult,
        before: &[u8],
    ) -> StepResult {
        self.out.clear();
        self.other.clear();
        let result = step(self.machine, &mut self.instance, &mut self.out);
        let after = self.bytes();
        if result.is_err() {
            assert_eq!(after, before, "a refused step leaves the instance as it was");
            assert!(self.out.effects.is_empty() && self.out.timers.is_empty(), "and puts nothing out");
        }
        let again = step(self.machine, &mut self.restored, &mut self.other);
        assert_eq!(result, again, "restored, it does the same");
        assert_eq!(self.out.effects, self.other.effects);
        assert_eq!(self.out.timers, self.other.timers);
        assert_eq!(bytes(self.machine, &self.restored, self.now), after);
        self.restored = restore(self.machine, &after, self.now);
        self.step_slow(&mut step, result.is_ok());
        result
    }

    fn step_slow(&mut self, step: &mut impl FnMut(&Machine, &mut Instance, &mut Output) -> StepResult, well: bool) {
        let Some((machine, instance)) = &mut self.slow else { return };
        self.other.clear();
        // A bound may be reached one way and not the other: the eventless transition is looked at, which costs.
        if step(machine, instance, &mut self.other).is_ok() != well {
            self.slow = None;
            return;
        }
        self.compare_with_slow();
    }

    fn compare_with_slow(&self) {
        let Some((machine, twin)) = &self.slow else { return };
        let has_failed = [self.instance.status(), twin.status()].contains(&Status::Error);
        if has_failed && self.instance.error() != twin.error() {
            // Cost, which the guard uses too, may be what failed.
            return;
        }
        assert_eq!(self.machine.state_value(&self.instance), machine.state_value(twin));
        assert_eq!(self.instance.context(), twin.context());
        assert_eq!(self.instance.status(), twin.status());
        assert_eq!(self.instance.output(), twin.output());
        assert_eq!(self.instance.seq(), twin.seq());
        assert_eq!(self.instance.timers().collect::<Vec<_>>(), twin.timers().collect::<Vec<_>>());
        assert!(same_effects(&self.out.effects, &self.other.effects), "{:?}", (&self.out.effects, &self.other.effects));
    }

    /// Its snapshot.
    pub fn bytes(&self) -> Vec<u8> {
        bytes(self.machine, &self.instance, self.now)
    }
}

/// NaN is no effect's equal, not even its own.
fn same_effects(one: &[Effect], other: &[Effect]) -> bool {
    let text = |effects: &[Effect]| {
        let mut text = Vec::new();
        effects.iter().for_each(|effect| effect.write_json(&mut text));
        text
    };
    one == other || text(one) == text(other)
}

/// An instance as bytes.
pub fn bytes(machine: &Machine, instance: &Instance, now: Millis) -> Vec<u8> {
    let mut bytes = Vec::new();
    instance.to_bytes(machine, now, &mut bytes);
    bytes
}

fn restore(machine: &Machine, snapshot: &[u8], now: Millis) -> Instance {
    let restored = Instance::from_bytes(machine, snapshot, now, &mut Output::new());
    let restored = restored.expect("what was written can be read");
    assert_eq!(bytes(machine, &restored, now), snapshot, "a snapshot of what was restored is the same snapshot");
    restored
}
