//! Guards and counters must not touch the allocator: an event that changes
//! nothing costs no allocation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unsafe_code)]

use statemesh_expr::{Cost, Env, Limits, Payload, Program, Root, Scope, Value, json, msgpack};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts this thread's allocations.
struct Counting;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATIONS.with(Cell::get);
    let result = work();
    (ALLOCATIONS.with(Cell::get) - before, result)
}

fn read(text: &str) -> Value {
    Value::from_json(text.as_bytes(), &Limits::default()).unwrap()
}

const CONTEXT: &str = r#"{"count":5,"name":"a name longer than what fits inline","items":[1,2,3],"o":{"k":1}}"#;
const EVENT: &str = r#"{"type":"GO","skip":[1,{"x":[2]}],"by":2,"name":"a name longer than what fits inline"}"#;

#[test]
fn scalar_results_allocate_nothing_in_any_encoding() {
    let context = read(CONTEXT);
    let event = read(EVENT);
    let mut packed = Vec::new();
    event.to_msgpack(&mut packed);
    let env = Env::new().with_model(Root::Context, &context).with(Root::Event);
    for source in [
        "context.count > 3 && event.by == 2",
        "context.count + 1",
        "context.items.all(i, i > 0) && context.items.exists(i, i == event.by)",
        "size(context.items) + size(event.skip) + context.o.k",
        "event.name == context.name && event.type.startsWith('G') && 'by' in event",
        "has(event.none) ? 1.5 : double(context.count) * 2.0",
        "context.name",
        "context.items",
    ] {
        let program = Program::compile(source, &env, &Limits::default()).unwrap();
        assert!(!program.is_fallback());
        for payload in [Payload::Json(EVENT.as_bytes()), Payload::MsgPack(&packed), Payload::Value(&event)] {
            let (count, result) = allocations(|| {
                let scope = Scope::new(&context, payload);
                program.eval(&scope, &mut Cost::new(1_000))
            });
            assert_eq!(count, 0, "{source} over {payload:?}");
            result.unwrap();
        }
    }
}

#[test]
fn a_counter_of_a_context_held_alone_is_written_in_place() {
    let mut context = read(CONTEXT);
    let (count, ()) = allocations(|| {
        let map = context.as_map_mut().unwrap();
        map.insert("count", Value::Int(6));
    });
    assert_eq!(count, 0);
    assert_eq!(context.get("count"), Some(&Value::Int(6)));
}

#[test]
fn readers_scan_without_allocating() {
    let mut packed = Vec::new();
    read(EVENT).to_msgpack(&mut packed);
    let (count, ()) = allocations(|| {
        Payload::MsgPack(&packed).validate(&Limits::default()).unwrap();
        Payload::Json(EVENT.as_bytes()).validate(&Limits::default()).unwrap();
        msgpack::Reader::new(&packed).skip_value().unwrap();
        json::Reader::new(EVENT.as_bytes()).skip_value().unwrap();
        assert_eq!(Payload::Json(EVENT.as_bytes()).get_str("type").unwrap().unwrap(), "GO");
    });
    assert_eq!(count, 0);
}
