//! Snapshots: what they keep, and what hostile bytes do (nothing).

#![allow(clippy::unwrap_used, missing_docs)]

use statemesh_engine::{Event, Instance, Limits, Machine, Millis, Output, Payload, RestoreError, TimerCommand};
use std::sync::Arc;

fn machine() -> Arc<Machine> {
    let child = Machine::compile(
        br#"{"id":"kid","initial":"w","states":{"w":{"after":{"900":"f"}},"f":{"type":"final"}},"output":5}"#,
        &Limits::default(),
        &|_| None,
    );
    let child = child.unwrap().machine;
    let source = br#"{"id":"m","initial":"a","context":{"n":1,"span":{"@expr":"duration('90s')"}},"states":{
        "a":{"initial":"x","after":{"1000":"b"},"invoke":{"src":"kid","onDone":{"actions":{"type":"done","params":{"@expr":"event.output"}}}},
             "states":{"x":{"on":{"GO":{"target":"y","actions":{"type":"@xstate.raise","event":{"type":"LATER","v":{"@expr":"context.n"}},"delay":300,"id":"l"}}}},"y":{},"h":{"history":true}},
             "on":{"LEAVE":"b","LATER":{"actions":{"type":"later","params":{"@expr":"event.v"}}}}},
        "b":{"on":{"BACK":"a.h"}}}}"#;
    Machine::compile(source, &Limits::default(), &|_| Some(child.clone())).unwrap().machine
}

fn started(machine: &Machine, now: u64) -> (Instance, Output) {
    let mut out = Output::new();
    let instance = machine.start(Payload::Empty, Millis(now), &mut out).unwrap();
    (instance, out)
}

fn value(machine: &Machine, instance: &Instance) -> String {
    machine.state_value(instance).to_string()
}

#[test]
fn a_restored_instance_goes_on_and_keeps_the_time_that_is_left() {
    let machine = machine();
    let (mut instance, mut out) = started(&machine, 0);
    machine.send(&mut instance, &Event::named("GO"), Millis(500), &mut out).unwrap();
    let mut bytes = Vec::new();
    instance.to_bytes(&machine, Millis(600), &mut bytes);

    // Another daemon's clock stands an hour ahead.
    let hour = 3_600_000;
    out.clear();
    let mut restored = Instance::from_bytes(&machine, &bytes, Millis(hour + 600), &mut out).unwrap();
    assert_eq!(value(&machine, &restored), r#"{"a":"y"}"#);
    assert_eq!(restored.seq(), 1);
    assert_eq!(restored.context().to_string(), instance.context().to_string());
    let deadlines: Vec<u64> = out
        .timers
        .iter()
        .map(|command| match command {
            TimerCommand::Schedule { deadline, .. } => deadline.0 - hour,
            TimerCommand::Cancel { .. } => 0,
        })
        .collect();
    // XState starts the children of a machine that starts first.
    assert_eq!(deadlines, [900, 1_000, 800]);

    let mut kinds = Vec::new();
    for now in [800, 900] {
        out.clear();
        machine.fire_next(&mut restored, Millis(hour + now), &mut out).unwrap().unwrap();
        kinds.extend(out.effects.iter().map(|effect| effect.kind().to_owned()));
    }
    assert_eq!(kinds, ["later", "done"]);
    machine.send(&mut restored, &Event::named("LEAVE"), Millis(hour + 950), &mut out).unwrap();
    machine.send(&mut restored, &Event::named("BACK"), Millis(hour + 960), &mut out).unwrap();
    assert_eq!(value(&machine, &restored), r#"{"a":"y"}"#);
}

#[test]
fn timers_that_were_overdue_when_they_moved_fire_in_the_order_of_their_deadlines() {
    let machine = machine();
    // Those of the child, of the state and of LATER, in the order in which they are started.
    for now in [900, 1_000, 5_000] {
        let (mut instance, mut out) = started(&machine, 0);
        machine.send(&mut instance, &Event::named("GO"), Millis(500), &mut out).unwrap();
        let mut bytes = Vec::new();
        instance.to_bytes(&machine, Millis(now), &mut bytes);
        let mut moved = Instance::from_bytes(&machine, &bytes, Millis(3), &mut out).unwrap();
        let mut kinds = Vec::new();
        for _ in 0..2 {
            out.clear();
            machine.fire_next(&mut moved, Millis(3), &mut out).unwrap().unwrap();
            kinds.extend(out.effects.iter().map(|effect| effect.kind().to_owned()));
        }
        assert_eq!(
            (kinds, value(&machine, &moved)),
            (vec!["later".into(), "done".into()], r#"{"a":"y"}"#.into()),
            "{now}"
        );
    }
}

#[test]
fn the_same_instance_gives_the_same_bytes() {
    let machine = machine();
    let bytes = || {
        let (mut instance, mut out) = started(&machine, 7);
        machine.send(&mut instance, &Event::named("GO"), Millis(9), &mut out).unwrap();
        let mut bytes = Vec::new();
        instance.to_bytes(&machine, Millis(9), &mut bytes);
        bytes
    };
    let first = bytes();
    assert_eq!(first, bytes());
    let mut again = Vec::new();
    Instance::from_bytes(&machine, &first, Millis(50), &mut Output::new()).unwrap().to_bytes(
        &machine,
        Millis(50),
        &mut again,
    );
    assert_eq!(first, again);
}

#[test]
fn bytes_of_another_version_or_definition_are_refused() {
    let machine = machine();
    let (instance, mut out) = started(&machine, 0);
    let mut bytes = Vec::new();
    instance.to_bytes(&machine, Millis(0), &mut bytes);
    let other = Machine::compile(br#"{"id":"m"}"#, &Limits::default(), &|_| None).unwrap().machine;
    assert_eq!(Instance::from_bytes(&other, &bytes, Millis(0), &mut out).unwrap_err(), RestoreError::WrongMachine);
    bytes[2] = 9;
    assert_eq!(
        Instance::from_bytes(&machine, &bytes, Millis(0), &mut out).unwrap_err(),
        RestoreError::UnknownVersion(9)
    );
    assert_eq!(Instance::from_bytes(&machine, b"", Millis(0), &mut out).unwrap_err(), RestoreError::Malformed);
}

/// Found by fuzzing: the next transition overflowed.
#[test]
fn a_past_that_nobody_can_have_is_refused() {
    let machine = Machine::compile(br#"{"id":"m"}"#, &Limits::default(), &|_| None).unwrap().machine;
    let (instance, _) = started(&machine, 0);
    let mut bytes = Vec::new();
    instance.to_bytes(&machine, Millis(0), &mut bytes);
    let seq_at = 2 + 1 + 32;
    assert_eq!(bytes[seq_at], 0);
    let restore = |seq: &[u8]| {
        let bytes = [&bytes[..seq_at], seq, &bytes[seq_at + 1..]].concat();
        Instance::from_bytes(&machine, &bytes, Millis(0), &mut Output::new()).map(|instance| instance.seq())
    };
    assert_eq!(restore(&[0x80, 1]), Ok(128));
    let longest = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
    assert_eq!(restore(&longest), Err(RestoreError::Malformed));
}

/// Every prefix and every flipped byte gives an error or an instance that can be stepped; never a panic.
#[test]
fn damaged_bytes_do_no_harm() {
    let machine = machine();
    let (mut instance, mut out) = started(&machine, 0);
    for event in ["GO", "LEAVE", "BACK"] {
        machine.send(&mut instance, &Event::named(event), Millis(1), &mut out).unwrap();
    }
    let mut bytes = Vec::new();
    instance.to_bytes(&machine, Millis(1), &mut bytes);
    for end in 0..bytes.len() {
        assert!(Instance::from_bytes(&machine, &bytes[..end], Millis(0), &mut Output::new()).is_err(), "{end}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let mut out = Output::new();
            let Ok(mut restored) = Instance::from_bytes(&machine, &damaged, Millis(0), &mut out) else { continue };
            for event in ["GO", "LEAVE", "BACK", "LATER"] {
                let _ = machine.send(&mut restored, &Event::named(event), Millis(1), &mut out);
            }
            for _ in 0..5 {
                let _ = machine.fire_next(&mut restored, Millis(u64::MAX), &mut out);
            }
            let _ = value(&machine, &restored);
        }
    }
}
