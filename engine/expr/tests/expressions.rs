//! Expressions as machines use them: over a context, an event in any encoding,
//! with slots, limits, costs and messages.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use statemesh_expr::{Cost, Env, EvalFault, Limits, Payload, Program, Root, Scope, Template, Type, Value};

fn json(text: &str) -> Value {
    Value::from_json(text.as_bytes(), &Limits::default()).unwrap()
}

fn env() -> Env {
    Env::new()
        .with_model(Root::Context, &json(r#"{"count":0,"items":[],"name":""}"#))
        .with(Root::Event)
        .with_field(Root::Event, "type", Type::Str)
        .with(Root::Params)
}

fn compile(source: &str) -> Program {
    Program::compile(source, &env(), &Limits::default()).unwrap()
}

fn fault(source: &str, context: &Value, event: Payload<'_>) -> EvalFault {
    let scope = Scope::new(context, event);
    let error = compile(source).eval(&scope, &mut Cost::new(100_000)).unwrap_err();
    error.fault()
}

/// Evaluates over an event as a value, as JSON and as MessagePack; all agree.
fn eval(source: &str, context: &str, event: &str) -> Value {
    let program = compile(source);
    let context = json(context);
    let value = json(event);
    let mut packed = Vec::new();
    value.to_msgpack(&mut packed);
    let payloads = [Payload::Value(&value), Payload::Json(event.as_bytes()), Payload::MsgPack(&packed)];
    let [first, rest @ ..] = payloads.map(|payload| {
        let scope = Scope::new(&context, payload);
        program.eval(&scope, &mut Cost::new(100_000)).unwrap()
    });
    for other in rest {
        assert_eq!(first, other, "{source}");
    }
    first
}

#[test]
fn context_and_event_are_read_whatever_the_encoding() {
    let context = r#"{"count":5,"items":[{"id":"a","n":1},{"id":"b","n":2}],"name":"x"}"#;
    let event = r#"{"type":"GO","by":2,"skip":{"deep":[1,2,{"x":1}]},"tags":["p","q"],"esc":"a\"b"}"#;
    for (source, expected) in [
        ("context.count > 3 && event.by == 2", "true"),
        ("context.count + event.by", "7"),
        ("event.skip.deep[2].x", "1"),
        ("event.tags", r#"["p","q"]"#),
        ("size(event.tags) + size(event.skip)", "3"),
        ("'q' in event.tags && 'by' in event && !('z' in event)", "true"),
        ("has(event.skip.deep) && !has(event.skip.none)", "true"),
        ("event.esc", r#""a\"b""#),
        ("event == {'type':'GO','by':2.0,'skip':{'deep':[1,2,{'x':1}]},'tags':['p','q'],'esc':'a\"b'}", "true"),
        ("context.items.map(i, i.n * event.by)", "[2,4]"),
        ("context.items.filter(i, i.n > 1)[0].id", r#""b""#),
        ("context.items.exists(i, i.id == 'b') && context.items.all(i, i.n > 0)", "true"),
        ("context.items.exists_one(i, i.n == 2)", "true"),
        ("event.skip.map(k, k)", r#"["deep"]"#),
        ("event.tags.map(t, event.tags.map(u, t + u))", r#"[["pp","pq"],["qp","qq"]]"#),
        ("{'a': event.by, 'b': [context.count]}", r#"{"a":2,"b":[5]}"#),
        ("event['by'] + event.skip['deep'][0]", "3"),
        ("event.type.startsWith('G') && event.type.matches('^[A-Z]+$')", "true"),
        ("context.count > 9 ? 'many' : context.name + '!'", r#""x!""#),
        ("event.none > 1 || true", "true"),
        ("1 + 2 * 3 == 7 && [1, 2.0, 3u] == [1.0, 2, 3]", "true"),
    ] {
        let result = eval(source, context, event);
        assert_eq!(result.to_string(), expected, "{source}");
    }
}

#[test]
fn a_context_of_another_shape_still_works() {
    assert_eq!(eval("context.count", r#"{"name":"x","more":1,"count":3}"#, "{}"), Value::Int(3));
    assert_eq!(eval("context.count", r#"{"count":3}"#, "{}"), Value::Int(3));
}

#[test]
fn values_that_do_not_go_together_are_told_in_a_sentence() {
    let event = json(r#"{"n":0,"s":"x","l":[1]}"#);
    let nothing = json("{}");
    let scope = Scope::new(&nothing, Payload::Value(&event));
    for (source, sentence) in [
        ("event.s > 1", "a text and a whole number cannot be compared"),
        ("event.s + 1", "a text + a whole number cannot be calculated"),
        ("-event.s", "a text cannot be negated"),
        ("event.n[0]", "a whole number has no element at a whole number"),
        ("1 in event.s", "a text cannot be searched for a whole number"),
        ("size(event.n)", "size does not take a whole number"),
        ("event.n.x == 1", "a whole number has no field x"),
    ] {
        let error = compile(source).eval(&scope, &mut Cost::new(1_000)).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.fault()), (sentence, EvalFault::NoSuchOverload), "{source}");
    }
}

#[test]
fn what_has_no_value_says_why() {
    let context = json(r#"{"count":9223372036854775807}"#);
    let event = json(r#"{"n":0,"s":"x"}"#);
    let event = Payload::Value(&event);
    assert_eq!(fault("context.none", &context, event), EvalFault::NoSuchKey);
    assert_eq!(fault("context.count + 1", &context, event), EvalFault::Overflow);
    assert_eq!(fault("1 / event.n", &context, event), EvalFault::DivideByZero);
    assert_eq!(fault("event.s + 1", &context, event), EvalFault::NoSuchOverload);
    assert_eq!(fault("[1][event.n + 1]", &context, event), EvalFault::IndexOutOfRange);
    assert_eq!(fault("int(event.s)", &context, event), EvalFault::BadConversion);
    let broken = Payload::MsgPack(&[0x81, 0xa1]);
    assert!(matches!(fault("event.n", &context, broken), EvalFault::BadPayload(_)));
    let scope = Scope::new(&context, event);
    let error = compile("event.n").eval_bool(&scope, &mut Cost::new(100)).unwrap_err();
    assert_eq!(error.code(), "not_bool");
}

#[test]
fn mistakes_are_found_when_compiling() {
    for (source, code, offset, hint) in [
        ("contxt.count > 1", "unknown_root", 0, "did you mean \"context\"?"),
        ("1 + 'a'", "wrong_type", 2, "string()"),
        ("event.type + 1", "wrong_type", 11, "string()"),
        ("event.type > 1", "wrong_type", 11, ""),
        ("!event.type", "wrong_type", 0, ""),
        ("'ä' + 1", "wrong_type", 5, "string()"),
        ("context.count &&", "expression_syntax", 16, ""),
        ("context.count === 1", "expression_syntax", 16, "=="),
        ("event.type.startWith('a')", "unknown_function", 20, "startsWith"),
        ("event.type.matches('(')", "bad_pattern", 18, ""),
        ("size(1)", "wrong_type", 4, ""),
        ("1.5 % 2", "wrong_type", 4, "int()"),
        ("[1].all(x, 1 + true)", "wrong_type", 13, ""),
    ] {
        let error = Program::compile(source, &env(), &Limits::default()).unwrap_err();
        assert_eq!(error.code, code, "{source}: {error}");
        assert!(error.hint.clone().unwrap_or_default().contains(hint), "{source}: {error:?}");
        if offset > 0 {
            assert_eq!(error.offset, offset, "{source}: {error}");
        }
    }
}

#[test]
fn what_is_no_expression_is_said_in_a_sentence() {
    for (source, message, offset) in [
        ("context.count &&", "the expression ends too early: something is missing at its end", 16),
        ("(1 + 2", "the expression ends too early: something is missing at its end", 6),
        ("context.a b", "`b` cannot stand here: something is missing before it, or it is too much", 10),
        ("1 + ) ", "`)` cannot stand here: something is missing before it, or it is too much", 4),
        ("context.a # 1", "`#` begins nothing that an expression has", 10),
    ] {
        let error = Program::compile(source, &env(), &Limits::default()).unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.offset, error.code),
            (message, offset, "expression_syntax"),
            "{source}"
        );
    }
}

#[test]
fn types_and_roots_are_known_and_constants_folded() {
    assert_eq!(compile("size(context.items) + 1").result_type(), Type::Int);
    assert_eq!(compile("event.type").result_type(), Type::Str);
    assert_eq!(compile("context.count").result_type(), Type::Dyn);
    let roots = compile("context.count > 1 || params.x").roots();
    assert!(roots.contains(Root::Context) && roots.contains(Root::Params));
    assert!(!roots.contains(Root::Event));
    assert_eq!(compile("1 + 2 * 3").constant(), Some(&Value::Int(7)));
    assert_eq!(compile("size('abc') == 3 ? [1, 2] : []").constant().unwrap().to_string(), "[1,2]");
    assert_eq!(compile("1 / 0 == 0 || true").constant(), Some(&Value::Bool(true)));
    assert!(compile("1 / 0").constant().is_none());
}

#[test]
fn what_is_not_compiled_falls_back_and_says_so() {
    for (source, expected) in
        [("{1: 'a'}[1] + context.name", r#""an""#), ("optional.of(context.name).orValue('x')", r#""n""#)]
    {
        let program = compile(source);
        assert!(program.is_fallback(), "{source}");
        assert_eq!(eval(source, r#"{"count":2,"name":"n"}"#, r#"{"type":"GO"}"#).to_string(), expected);
    }
    assert!(compile("event.type.lowerAscii()").roots().contains(Root::Event));
    let error = Program::compile("[1].all(x, {1: 2}[x] > 0)", &env(), &Limits::default()).unwrap_err();
    assert_eq!(error.code, "unsupported");
}

/// The crate has no budget: a few of these in a row would take all memory.
#[test]
fn what_multiplies_is_not_left_to_the_crate() {
    for source in [
        "{1: 'a'}[1].replace('a', 'aa')",
        "size(lists.range(1000000000)) > 0",
        "{1: ['a', 'b']}[1].join(event.type)",
        "math.greatest(1, size(strings.quote('\\\\')))",
    ] {
        let error = Program::compile(source, &env(), &Limits::default()).unwrap_err();
        assert_eq!(error.code, "unknown_function", "{source}");
    }
}

#[test]
fn costs_and_sizes_are_bounded() {
    let list = format!("[{}1]", "1,".repeat(999));
    let context = json(&format!(r#"{{"items":{list}}}"#));
    let scope = Scope::new(&context, Payload::Empty);
    let cubed = "context.items.all(a, context.items.all(b, context.items.all(c, a + b + c > 0)))";
    let error = compile(cubed).eval(&scope, &mut Cost::new(100_000)).unwrap_err();
    assert_eq!(error.fault(), EvalFault::CostExceeded);
    let absorbed = format!("context.items[0] == 1 || {cubed}");
    compile(&absorbed).eval(&scope, &mut Cost::new(100_000)).unwrap();
    let not_absorbed = format!("{cubed} || context.items[0] == 1");
    let error = compile(&not_absorbed).eval(&scope, &mut Cost::new(100_000)).unwrap_err();
    assert_eq!(error.fault(), EvalFault::CostExceeded);

    let doubled = compile("{'a': context, 'b': context}");
    let mut context = json("{}");
    let grown = (0..100).find_map(|_| {
        let scope = Scope::new(&context, Payload::Empty);
        match doubled.eval(&scope, &mut Cost::new(1000)) {
            Ok(value) => {
                context = value;
                None
            }
            Err(error) => Some(error.fault()),
        }
    });
    assert_eq!(grown, Some(EvalFault::TooLarge));
    assert!(context.weight() <= Limits::default().value_bytes);
}

#[test]
fn templates_compute_what_varies_and_share_what_does_not() {
    let data = json(
        r#"{"id":{"@expr":"context.name"},"fixed":[1,{"x":2}],"two":{"@expr":"1 + 1"},
            "list":[{"@expr":"event.by","@lang":"cel"},"a"]}"#,
    );
    let template = Template::compile(&data, "cel", &env(), &Limits::default()).unwrap();
    let context = json(r#"{"name":"n"}"#);
    let scope = Scope::new(&context, Payload::Json(br#"{"by":3}"#));
    let value = template.eval(&scope, &mut Cost::new(100)).unwrap();
    assert_eq!(value.to_string(), r#"{"id":"n","fixed":[1,{"x":2}],"two":2,"list":[3,"a"]}"#);
    assert!(template.roots().contains(Root::Event) && template.constant().is_none());
    let constant = Template::compile(&json(r#"[{"@expr":"2 > 1"}]"#), "cel", &env(), &Limits::default());
    assert_eq!(constant.unwrap().constant().unwrap().to_string(), "[true]");
    for (data, path, code) in [
        (r#"{"a":[0,{"@expr":"x","@lang":"js"}]}"#, "/a/1", "unknown_language"),
        (r#"{"a/b":{"@expr":1}}"#, "/a~1b", "bad_expression_object"),
        (r#"{"@expr":"1","also":1}"#, "", "bad_expression_object"),
        (r#"[{"@expr":"contxt"}]"#, "/0", "unknown_root"),
    ] {
        let error = Template::compile(&json(data), "cel", &env(), &Limits::default()).unwrap_err();
        assert_eq!((error.path.as_str(), error.error.code), (path, code));
    }
}

#[test]
fn programs_can_be_shared_between_threads() {
    fn check<T: Send + Sync + Clone>(_: &T) {}
    check(&compile("context.count"));
    check(&compile("{1: 2}[1]"));
}

/// The parser and our own recursion must fit the stack of an ordinary thread,
/// at the limits, in a debug build.
#[test]
fn the_deepest_expressions_fit_a_thread_s_stack() {
    let limits = Limits::default();
    let depth = limits.source_depth - 1;
    for source in [
        format!("{}1{}", "(".repeat(depth), ")".repeat(depth)),
        format!("{}1{}", "[".repeat(depth), "]".repeat(depth)),
        format!("1{}", "+1".repeat(4 * limits.source_depth - 2)),
        format!("context{}", ".a".repeat(4 * limits.source_depth - 2)),
        format!("{}true", "!".repeat(4 * limits.source_depth - 2)),
        format!("{}1", "true ? 1 : ".repeat(4 * limits.source_depth - 2)),
        format!("true{}", " && true".repeat(4 * limits.source_depth - 2)),
    ] {
        let program = compile(&source);
        let _ = program.eval(&Scope::default(), &mut Cost::new(1_000_000));
    }
}

#[test]
fn loops_and_functions_of_the_crate_go_together() {
    let context = r#"{"names":[" ann ","bob",""," c"],"n":[3,1,2],"word":"a,b,c"}"#;
    for (source, expected) in [
        ("context.names.map(n, n.trim()).filter(n, n != '')", r#"["ann","bob","c"]"#),
        ("context.names.filter(n, n.trim().size() > 1).map(n, n.upperAscii())", r#"[" ANN ","BOB"]"#),
        ("context.n.map(x, math.greatest(x, 2))", "[3,2,2]"),
        ("context.n.exists(x, math.abs(x - 3) == 0)", "true"),
        ("context.word.split(',').map(x, x + context.word.substring(0, 1))", r#"["aa","ba","ca"]"#),
        ("context.n.sort().slice(0, 2).map(x, x * 10)", "[10,20]"),
        ("context.n.map(x, context.n.filter(y, y < x).sort())", "[[1,2],[],[1]]"),
        ("event.type.lowerAscii() + '!'", r#""go!""#),
        ("false && context.names[9].trim() == ''", "false"),
    ] {
        assert_eq!(eval(source, context, r#"{"type":"GO"}"#).to_string(), expected, "{source}");
    }
}

#[test]
fn functions_of_the_crate_are_paid_for_in_loops_too() {
    let list: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    let context = json(&format!(r#"{{"n":[{}]}}"#, list.join(",")));
    let program = Program::compile("context.n.map(x, context.n.sort())", &env(), &Limits::default()).unwrap();
    let scope = Scope::new(&context, Payload::Empty);
    let error = program.eval(&scope, &mut Cost::new(100_000)).unwrap_err();
    assert_eq!(error.fault(), EvalFault::CostExceeded);
}

#[test]
fn what_only_the_crate_has_values_for_is_not_looped_over() {
    let error = Program::compile("[1, 2].map(x, {1: 'a'}[x])", &env(), &Limits::default());
    let error = error.map(|_| ()).unwrap_err();
    assert_eq!(error.code, "unsupported");
    assert!(!error.message.contains("crate"), "{error}");
}

#[test]
fn maps_can_be_merged_and_have_computed_keys() {
    let context = r#"{"prices":{"a":1,"b":2}}"#;
    for (source, expected) in [
        ("context.prices.merge({'b': 3, 'c': 4})", r#"{"a":1,"b":3,"c":4}"#),
        ("context.prices.merge({event.sku: event.price})", r#"{"a":1,"b":2,"z":9}"#),
        ("{event.sku: event.price}.merge(context.prices)", r#"{"z":9,"a":1,"b":2}"#),
        ("context.prices.merge(event.more)", r#"{"a":5,"b":2}"#),
    ] {
        let event = r#"{"type":"GO","sku":"z","price":9,"more":{"a":5}}"#;
        assert_eq!(eval(source, context, event).to_string(), expected, "{source}");
    }
    assert!(Program::compile("context.prices.merge('x')", &env(), &Limits::default()).is_err());
    assert_eq!(fault("context.prices.merge(context.none)", &json(context), Payload::Empty), EvalFault::NoSuchKey);
    assert_eq!(fault("context.prices.merge(dyn([1]))", &json(context), Payload::Empty), EvalFault::NoSuchOverload);
}

#[test]
fn whole_and_other_numbers_mix() {
    let context = r#"{"whole":5,"part":0.5,"big":18446744073709551615}"#;
    for (source, expected) in [
        ("context.whole + context.part", "5.5"),
        ("context.part - context.whole", "-4.5"),
        ("context.whole * 1.5", "7.5"),
        ("context.whole / 2.0", "2.5"),
        ("context.whole / 2", "2"),
        ("1 + 0.5", "1.5"),
        ("context.big * 0.0", "0.0"),
        ("context.whole + context.whole", "10"),
    ] {
        assert_eq!(eval(source, context, r#"{"type":"GO"}"#).to_string(), expected, "{source}");
    }
    assert!(Program::compile("5.5 % 2", &env(), &Limits::default()).is_err());
}

/// A few doublings of a text would take all memory.
#[test]
fn what_grows_is_bounded_before_it_is_made() {
    let text = format!(r#"{{"name":"{}"}}"#, "a".repeat(100_000));
    let context = json(&text);
    let scope = Scope::new(&context, Payload::Empty);
    for source in ["context.name.replace('a', context.name)", "context.name.split('').join(context.name)"] {
        let error = compile(source).eval(&scope, &mut Cost::new(10_000_000)).unwrap_err();
        assert_eq!(error.fault(), EvalFault::TooLarge, "{source}");
    }
    let error = compile("context.name.replace('a', 'bb')").eval(&scope, &mut Cost::new(1_000)).unwrap_err();
    assert_eq!(error.fault(), EvalFault::CostExceeded);
}

/// All that docs/how-to/cel.md lists.
#[test]
fn every_function_of_the_guide_has_a_value() {
    for source in [
        "'abc'.charAt(1) + 'abc'.substring(1, 2) + ' a '.trim() + 'a'.upperAscii() + 'A'.lowerAscii()",
        "'abcb'.indexOf('b') + 'abcb'.lastIndexOf('b')",
        "'a,b'.split(',').reverse().join('-').replace('-', '+') + ['a'].join()",
        "[[1], [2]].flatten()",
        "[3, 1, 2].sort().slice(0, 1)",
        "[1].all(x, x == 1) && [1].exists(x, x == 1) && [1].exists_one(x, x == 1)",
        "math.greatest(1, 2) + math.least(1, 2) + math.abs(-1) + math.sign(-3)",
        "math.ceil(1.5) + math.floor(1.5) + math.round(1.5) + math.trunc(1.5) + math.sqrt(4.0)",
        "math.isNaN(1.0) || math.isInf(1.0) || math.isFinite(1.0)",
        "math.bitAnd(1, 3) + math.bitOr(1, 3) + math.bitXor(1, 3) + math.bitNot(1)",
        "math.bitShiftLeft(1, 3) + math.bitShiftRight(8, 1)",
        "optional.of(1).hasValue() && optional.of(1).value() == 1 && optional.of(1).or(optional.none()).orValue(2) == 1",
        "timestamp('2026-01-02T03:04:05Z').getFullYear() + duration('90s').getSeconds()",
    ] {
        eval(source, "{}", r#"{"type":"GO"}"#);
    }
}
