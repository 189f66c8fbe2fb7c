//! What an expression costs: `cargo bench -p statemesh-expr`.

#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use statemesh_expr::{Cost, Env, Limits, Payload, Program, Root, Scope, Value, msgpack};
use std::hint::black_box;

fn evaluate(criterion: &mut Criterion) {
    let limits = Limits::default();
    let text = br#"{"type":"ADD","by":2,"note":"hello"}"#;
    let context = Value::from_json(br#"{"count":5,"name":"x"}"#, &limits).unwrap();
    let event = Value::from_json(text, &limits).unwrap();
    let mut packed = Vec::new();
    event.to_msgpack(&mut packed);
    let env = Env::new().with_model(Root::Context, &context).with(Root::Event);
    let compile = |source| Program::compile(source, &env, &limits).unwrap();

    let guard = compile("context.count > 3 && event.by == 2");
    let payloads =
        [("value", Payload::Value(&event)), ("msgpack", Payload::MsgPack(&packed)), ("json", Payload::Json(text))];
    for (name, payload) in payloads {
        criterion.bench_function(&format!("guard over {name}"), |bench| {
            bench.iter(|| {
                let scope = Scope::new(black_box(&context), black_box(payload));
                guard.eval_bool(&scope, &mut Cost::new(1_000))
            });
        });
    }
    for source in [
        "context.count + 1",
        "context.name + '!'",
        "[1, 2, 3].all(x, x < context.count)",
        "{'by': event.by, 'count': context.count}",
        "event.type.lowerAscii()",
    ] {
        let program = compile(source);
        criterion.bench_function(source, |bench| {
            bench.iter(|| {
                let scope = Scope::new(black_box(&context), black_box(Payload::MsgPack(&packed)));
                program.eval(&scope, &mut Cost::new(1_000))
            });
        });
    }
    criterion.bench_function("compile the guard", |bench| {
        bench.iter(|| compile(black_box("context.count > 3 && event.by == 2")));
    });
    criterion.bench_function("decode msgpack", |bench| {
        bench.iter(|| Value::from_msgpack(black_box(&packed), &limits));
    });
    criterion.bench_function("decode json", |bench| {
        bench.iter(|| Value::from_json(black_box(text), &limits));
    });
    criterion.bench_function("skip msgpack", |bench| {
        bench.iter(|| msgpack::Reader::new(black_box(&packed)).skip_value());
    });
}

criterion_group!(benches, evaluate);
criterion_main!(benches);
