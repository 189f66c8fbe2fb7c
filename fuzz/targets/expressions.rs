//! An expression from an enemy: refused, or it ends within its cost, and does not depend on what was known of the types
//! or on how the event was written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use statemesh_expr::{Cost, Env, EvalError, Kind, Limits, Payload, Program, Root, Scope, Value};
use std::sync::LazyLock;

const COST: u64 = 20_000;
const CONTEXT: &[u8] =
    br#"{"n":3,"x":-1.5,"s":"text","t":"2026-11-21T10:00:00Z","yes":true,"none":null,"l":[1,2,3],"m":{"k":"v","n":7}}"#;
const EVENT: &[u8] =
    br#"{"type":"E","by":2,"s":"a.b","l":["a",1,null],"m":{"a":{"b":[1,{"c":2}]}},"big":9223372036854775807}"#;

static CONTEXT_VALUE: LazyLock<Value> = LazyLock::new(|| value(CONTEXT));
static EVENT_VALUE: LazyLock<Value> = LazyLock::new(|| value(EVENT));

fn value(text: &[u8]) -> Value {
    Value::from_json(text, &Limits::default()).expect("the test's own JSON")
}

fn run(program: &Program, event: Payload<'_>) -> Result<Value, EvalError> {
    let scope = Scope { params: &EVENT_VALUE, ..Scope::new(&CONTEXT_VALUE, event) };
    let mut cost = Cost::new(COST);
    let result = program.eval(&scope, &mut cost);
    let truth = program.eval_bool(&scope, &mut Cost::new(COST));
    match (&result, &truth) {
        (Ok(Value::Bool(value)), Ok(truth)) => assert_eq!(value, truth),
        (Ok(value), Ok(_)) => panic!("{:?} is true or false", value.kind()),
        (Ok(value), Err(error)) => assert!(value.kind() != Kind::Bool, "{error}"),
        (Err(_), Ok(truth)) => panic!("{truth}, but no value"),
        (Err(_), Err(_)) => {}
    }
    result
}

fn text(value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    value.to_json(&mut text);
    text
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let env = Env::new().with(Root::Context).with(Root::Event).with(Root::Params);
    let Ok(program) = Program::compile(source, &env, &Limits::default()) else { return };
    let as_json = run(&program, Payload::Json(EVENT));
    let mut packed = Vec::new();
    EVENT_VALUE.to_msgpack(&mut packed);
    let others = [run(&program, Payload::MsgPack(&packed)), run(&program, Payload::Value(&EVENT_VALUE))];
    let known = env.with_model(Root::Context, &CONTEXT_VALUE);
    let typed = Program::compile(source, &known, &Limits::default()).map(|typed| run(&typed, Payload::Json(EVENT)));
    for other in others.into_iter().chain(typed) {
        match (&as_json, other) {
            (Ok(one), Ok(other)) => assert_eq!(text(one), text(&other)),
            (Err(_), Err(_)) => {}
            (one, other) => panic!("{one:?} and {other:?}"),
        }
    }
});
