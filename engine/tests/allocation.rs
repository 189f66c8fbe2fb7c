//! A transition that does not change the context allocates nothing, and an instance is small: counted, not assumed.

// The counting allocator is what `unsafe` is for here; it adds nothing but a number to the system's.
#![allow(unsafe_code, clippy::unwrap_used, missing_docs)]

use statemesh_engine::{Event, Instance, Limits, Machine, Millis, Output, Payload};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        BYTES.with(|bytes| bytes.set(bytes.get() + layout.size() as i64));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.with(|bytes| bytes.set(bytes.get() - layout.size() as i64));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn compile(source: &str) -> Arc<Machine> {
    Machine::compile(source.as_bytes(), &Limits::default(), &|_| None).unwrap().machine
}

/// Allocations of `steps` events after a warm-up that lets buffers grow.
fn allocations(source: &str, event: &Event<'_>) -> u64 {
    let machine = compile(source);
    let mut out = Output::new();
    let mut instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
    let mut step = |instance: &mut Instance, now: u64| {
        out.clear();
        assert!(machine.send(instance, event, Millis(now), &mut out).unwrap().changed, "{source}");
    };
    (0..100).for_each(|now| step(&mut instance, now));
    let before = ALLOCATIONS.get();
    (100..1_100).for_each(|now| step(&mut instance, now));
    ALLOCATIONS.get() - before
}

#[test]
fn transitions_that_leave_the_context_alone_allocate_nothing() {
    let next = Event::named("NEXT");
    let json = Event { kind: "NEXT", payload: Payload::Json(br#"{"type":"NEXT","by":2,"deep":{"list":[1,2,3]}}"#) };
    let packed = Event { kind: "NEXT", payload: Payload::MsgPack(b"\x82\xa4type\xa4NEXT\xa2by\x02") };
    let flat = r#"{"initial":"a","states":{"a":{"on":{"NEXT":"b"}},"b":{"on":{"NEXT":"a"}}}}"#;
    let actions = r##"{"initial":"a","entry":"root","states":{
        "a":{"initial":"x","entry":{"type":"in","params":{"n":[1,2]}},"exit":"out","states":{"x":{"entry":"in x","on":{"NEXT":"#(machine).b"}}}},
        "b":{"entry":["one","two"],"on":{"NEXT":{"target":"a","actions":[{"type":"@xstate.emit","event":{"type":"E"}}]}}}}}"##;
    let guards = r#"{"initial":"a","context":{"n":1},"guards":{"two":{"when":{"@expr":"event.by == 2"}}},"states":{
        "a":{"on":{"NEXT":[{"target":"a","guard":{"@expr":"context.n > 5"}},{"target":"b","guard":"two"}]}},
        "b":{"on":{"NEXT":{"target":"a","guard":{"@expr":"context.n == 1 && event.by < 3"}}}}}}"#;
    let parallel = r#"{"type":"parallel","states":{
        "p":{"initial":"x","states":{"x":{"on":{"NEXT":"y"}},"y":{"on":{"NEXT":"x"}}}},
        "q":{"initial":"x","states":{"x":{"on":{"*":"y"}},"y":{"on":{"*":"x"}}}}}}"#;
    let queue = r#"{"initial":"a","states":{
        "a":{"on":{"NEXT":{"target":"b","actions":{"type":"@xstate.raise","event":{"type":"GO"}}}}},
        "b":{"on":{"GO":"c"}},"c":{"always":"a"}}}"#;
    let timers = r#"{"initial":"a","states":{
        "a":{"after":{"5000":"b"},"on":{"NEXT":"b"}},"b":{"after":{"700":"a"},"on":{"NEXT":"a"}}}}"#;
    let history = r#"{"initial":"a","states":{
        "a":{"initial":"x","on":{"NEXT":"b"},"states":{"x":{},"y":{},"h":{"history":"deep"}}},"b":{"on":{"NEXT":"a.h"}}}}"#;
    for (what, source, event) in [
        ("a flat machine", flat, &next),
        ("a JSON payload that is not read", flat, &json),
        ("entry, exit and transition actions", actions, &next),
        ("guards on JSON", guards, &json),
        ("guards on MessagePack", guards, &packed),
        ("raised and eventless", queue, &next),
        ("timers", timers, &next),
        ("history", history, &next),
    ] {
        assert_eq!(allocations(source, event), 0, "{what}");
    }
    // Conflicts between regions are sought in sets that are made for the occasion.
    assert!(allocations(parallel, &next) <= 2_000, "parallel regions");
}

#[test]
fn an_assignment_of_a_number_writes_in_place() {
    let source = r#"{"initial":"a","context":{"n":0},"states":{"a":{"on":{"NEXT":{"actions":{
        "type":"@xstate.assign","context":{"n":{"@expr":"context.n + 1"}}}}}}}}"#;
    assert_eq!(allocations(source, &Event::named("NEXT")), 0);
}

#[test]
fn writing_the_state_value_allocates_nothing() {
    let machine = compile(r#"{"type":"parallel","states":{"a":{"initial":"x","states":{"x":{}}},"b":{}}}"#);
    let mut out = Output::new();
    let instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
    let mut text = Vec::with_capacity(256);
    let before = ALLOCATIONS.get();
    machine.write_value_json(&instance, &mut text);
    text.push(b' ');
    machine.write_value_msgpack(&instance, &mut text);
    assert_eq!(ALLOCATIONS.get(), before);
    assert_eq!(text, b"{\"a\":\"x\",\"b\":{}} \x82\xa1a\xa1x\xa1b\x80");
}

#[test]
fn an_instance_takes_at_most_200_bytes_beyond_its_context() {
    const INSTANCES: usize = 10_000;
    let machine = compile(include_str!("../../benches/machines/lamp.json"));
    let mut out = Output::new();
    let mut instances = Vec::with_capacity(INSTANCES);
    let before = BYTES.get();
    for _ in 0..INSTANCES {
        out.clear();
        let mut instance = machine.start(Payload::Empty, Millis(0), &mut out).unwrap();
        machine.send(&mut instance, &Event::named("NEXT"), Millis(0), &mut out).unwrap();
        instances.push(instance);
    }
    let context = instances.iter().map(|instance| instance.context().weight()).max().unwrap();
    let heap = (BYTES.get() - before) as usize / INSTANCES;
    let total = size_of::<Instance>() + heap;
    println!("{} bytes each, {heap} more on the heap, of which the context is about {context}", size_of::<Instance>());
    assert!(total <= 200 + context, "{total} bytes for a context of {context}");
    assert!(size_of::<Instance>() <= 96);
}
