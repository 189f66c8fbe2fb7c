//! Snapshot bytes from an enemy: refused, or an instance that is written as it was read and takes events.
//!
//! The first byte names the machine. The header with the definition's hash is put in front of the rest, as no fuzzer
//! finds a hash; `Instance::from_bytes` without it is tried too.

#![no_main]

use libfuzzer_sys::fuzz_target;
use statemesh_engine::{Event, Instance, Machine, Millis, Output, Payload};
use statemesh_fuzz::{catalogue, walk};

const NOW: Millis = Millis(1_000);
/// Timers fired at most; each may start another.
const FIRED_MAX: usize = 40;

fuzz_target!(|bytes: &[u8]| {
    let Some((letter, rest)) = bytes.split_first() else { return };
    let machine = &*catalogue::machine(*letter).machine;
    let _ = Instance::from_bytes(machine, rest, NOW, &mut Output::new());
    let snapshot = [b"SI\x01".as_slice(), machine.hash(), rest].concat();
    let mut out = Output::new();
    let Ok(instance) = Instance::from_bytes(machine, &snapshot, NOW, &mut out) else {
        assert!(out.timers.is_empty(), "a refused snapshot starts no timer");
        return;
    };
    // Numbers may be written longer than they need be; what is written once is written so for ever.
    let written = walk::bytes(machine, &instance, NOW);
    let again = Instance::from_bytes(machine, &written, NOW, &mut Output::new());
    assert_eq!(walk::bytes(machine, &again.expect("what was written can be read"), NOW), written);
    drive(machine, instance);
});

fn drive(machine: &Machine, mut instance: Instance) {
    let mut out = Output::new();
    let mut text = Vec::new();
    machine.write_value_json(&instance, &mut text);
    machine.write_value_msgpack(&instance, &mut text);
    let _ = (machine.tags(&instance), machine.meta(&instance), machine.state_value(&instance));
    for name in machine.event_descriptors() {
        let event = Event { kind: name, payload: Payload::Json(br#"{"amount":1,"by":2}"#) };
        let before = walk::bytes(machine, &instance, NOW);
        if machine.send(&mut instance, &event, NOW, &mut out).is_err() {
            assert_eq!(walk::bytes(machine, &instance, NOW), before, "a refused step leaves the instance as it was");
        }
    }
    for _ in 0..FIRED_MAX {
        let Some((id, deadline)) = instance.next_timer() else { break };
        if machine.fire(&mut instance, id, deadline.max(NOW), &mut out).is_err() {
            break;
        }
    }
    let _ = machine.stop(&mut instance, NOW, &mut out);
}
