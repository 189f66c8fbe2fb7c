//! A timer whose step hits a limit: the instance keeps it, says so, and is at rest until `retry` or `skip`.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use statemesh_engine::{Event, Instance, Limits, Machine, Millis, Output, Payload, Status, StepError, TimerCommand};
use std::sync::Arc;

/// After a second it raises more events than `RAISED_MAX` allows, unless `OPEN` was sent; after two it goes home.
const SOURCE: &str = r#"{"id":"m","initial":"a","context":{"open":false,"fired":0},"states":{
    "a":{"on":{"OPEN":{"actions":{"type":"@xstate.assign","context":{"open":true}}}},
         "after":{"1000":[{"guard":{"@expr":"context.open"},"target":"b"},{"actions":[
                      {"type":"@xstate.assign","context":{"fired":1}},"effect",
                      {"type":"@xstate.raise","event":{"type":"X"}},{"type":"@xstate.raise","event":{"type":"X"}}]}],
                  "2000":"home"}},
    "b":{},"home":{}}}"#;

struct Case {
    machine: Arc<Machine>,
    instance: Instance,
    out: Output,
}

fn compiled(raised_max: usize) -> Arc<Machine> {
    let limits = Limits { raised_max, ..Limits::default() };
    Machine::compile(SOURCE.as_bytes(), &limits, &|_| None).unwrap().machine
}

impl Case {
    /// An instance whose first timer has been refused and held.
    fn stuck() -> Self {
        let machine = compiled(1);
        let mut out = Output::new();
        let mut instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
        let (timer, due) = instance.next_timer().unwrap();
        out.clear();
        let refused = machine.fire(&mut instance, timer, due, &mut out).unwrap_err();
        assert!(matches!(&refused, StepError::Limit { limit: "raised_max", .. }), "{refused}");
        assert_eq!(instance.next_timer(), Some((timer, due)), "a refused timer is still due");
        let step = instance.hold(timer, &refused);
        assert!(step.changed && step.status == Status::Error && step.seq == 1);
        Self { machine, instance, out }
    }

    fn value(&self) -> String {
        self.machine.state_value(&self.instance).to_string()
    }

    fn bytes(&self, now: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.instance.to_bytes(&self.machine, Millis(now), &mut bytes);
        bytes
    }
}

#[test]
fn a_stuck_instance_says_why_and_is_at_rest() {
    let mut case = Case::stuck();
    assert!(case.instance.is_stuck());
    assert_eq!((case.instance.next_deadline(), case.instance.next_timer()), (None, None));
    let error = case.instance.error().unwrap();
    assert_eq!(error.get("code").unwrap().as_str(), Some("limit_exceeded"));
    assert!(error.get("message").unwrap().as_str().unwrap().contains("raised_max"), "{error}");
    let sent = case.machine.send(&mut case.instance, &Event::named("OPEN"), Millis(5_000), &mut case.out).unwrap();
    assert!(!sent.changed && sent.status == Status::Error);
    assert!(case.machine.fire_next(&mut case.instance, Millis(5_000), &mut case.out).is_none());
    assert_eq!(case.value(), r#""a""#);
    assert_eq!(case.instance.context().get("fired").unwrap().as_i64(), Some(0));
}

#[test]
fn a_retry_that_is_refused_again_leaves_it_stuck() {
    let mut case = Case::stuck();
    let before = case.bytes(0);
    let refused = case.machine.retry(&mut case.instance, Millis(5_000), &mut case.out);
    assert!(matches!(refused, Err(StepError::Limit { .. })), "{refused:?}");
    assert_eq!(case.bytes(0), before);
    assert!(case.out.effects.is_empty() && case.out.timers.is_empty());
}

#[test]
fn a_retry_that_succeeds_takes_the_input_that_was_kept() {
    let mut case = Case::stuck();
    // The same machine with a higher limit, as after an upgrade.
    let bytes = case.bytes(1_000);
    case.machine = compiled(100);
    case.instance = Instance::from_bytes(&case.machine, &bytes, Millis(9_000), &mut case.out).unwrap();
    assert!(case.instance.is_stuck() && case.out.timers.is_empty(), "it is stuck wherever it goes, and nothing is due");
    let step = case.machine.retry(&mut case.instance, Millis(9_000), &mut case.out).unwrap();
    assert!(step.changed && step.status == Status::Active && step.seq == 2);
    assert_eq!(case.instance.context().get("fired").unwrap().as_i64(), Some(1));
    assert_eq!(case.instance.error(), None);
    assert_eq!(case.instance.next_deadline(), Some(Millis(10_000)), "the other timer kept the time that was left");
    case.machine.fire_next(&mut case.instance, Millis(10_000), &mut case.out).unwrap().unwrap();
    assert_eq!(case.value(), r#""home""#);
}

#[test]
fn skip_drops_the_timer_and_lets_it_go_on() {
    let mut case = Case::stuck();
    let timer = case.instance.held_timer().unwrap();
    let step = case.machine.skip(&mut case.instance, &mut case.out).unwrap();
    assert!(step.changed && step.status == Status::Active && step.seq == 2);
    assert_eq!(case.out.timers, [TimerCommand::Cancel { id: timer }]);
    assert_eq!(case.instance.next_deadline(), Some(Millis(2_000)));
    assert_eq!(case.instance.timers().count(), 1);
}

#[test]
fn a_stuck_instance_can_be_stopped() {
    let mut case = Case::stuck();
    let step = case.machine.stop(&mut case.instance, Millis(5_000), &mut case.out).unwrap();
    assert!(step.changed && step.status == Status::Stopped);
    assert!(!case.instance.is_stuck() && case.instance.error().is_none());
    assert_eq!(case.instance.timers().count(), 0);
}

#[test]
fn what_is_not_stuck_is_left_alone() {
    let machine = compiled(1);
    let mut out = Output::new();
    let mut instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
    out.clear();
    assert!(!machine.retry(&mut instance, Millis(1), &mut out).unwrap().changed);
    assert!(!machine.skip(&mut instance, &mut out).unwrap().changed);
    let unknown = statemesh_engine::TimerId(77);
    assert!(!instance.hold(unknown, &StepError::WrongMachine).changed && !instance.is_stuck());
    assert_eq!(instance.timers().count(), 2);
}

#[test]
fn a_snapshot_that_only_claims_to_be_stuck_is_refused() {
    let case = Case::stuck();
    let bytes = case.bytes(0);
    let read = |bytes: &[u8]| Instance::from_bytes(&case.machine, bytes, Millis(0), &mut Output::new()).is_ok();
    assert!(read(&bytes));
    // The held timer's number stands behind the marker; no timer has this one.
    let at = bytes.windows(3).rposition(|window| window == [2, 0, 2]).unwrap();
    let mut wrong = bytes.clone();
    wrong[at + 1] = 9;
    assert!(!read(&wrong));
}
