//! CEL's own conformance cases for the part of the language that concerns us,
//! as tables under tests/conformance: case, expression, what `context` holds,
//! outcome. An outcome is `= value` in JSON (other types as `{"$uint":1}`),
//! `error`, or `exempt` and why. exemptions.tsv lists the cases in which we
//! differ, with the reason; an exemption that is not needed fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use statemesh_expr::{Cost, Duration, Env, Limits, Map, Payload, Program, Root, Scope, Timestamp, Value};
use std::collections::BTreeMap;

const TABLES: [(&str, &str); 14] = [
    ("basic", include_str!("conformance/basic.tsv")),
    ("comparisons", include_str!("conformance/comparisons.tsv")),
    ("conversions", include_str!("conformance/conversions.tsv")),
    ("fields", include_str!("conformance/fields.tsv")),
    ("fp_math", include_str!("conformance/fp_math.tsv")),
    ("integer_math", include_str!("conformance/integer_math.tsv")),
    ("lists", include_str!("conformance/lists.tsv")),
    ("logic", include_str!("conformance/logic.tsv")),
    ("macros", include_str!("conformance/macros.tsv")),
    ("namespace", include_str!("conformance/namespace.tsv")),
    ("parse", include_str!("conformance/parse.tsv")),
    ("plumbing", include_str!("conformance/plumbing.tsv")),
    ("string", include_str!("conformance/string.tsv")),
    ("timestamps", include_str!("conformance/timestamps.tsv")),
];

const EXEMPTIONS: &str = include_str!("conformance/exemptions.tsv");

#[derive(Default)]
struct Count {
    passed: usize,
    fell_back: usize,
    exempt: BTreeMap<String, usize>,
}

#[test]
fn cel_s_conformance_cases() {
    let exemptions: BTreeMap<&str, &str> = EXEMPTIONS.lines().map(|line| line.split_once('\t').unwrap()).collect();
    let mut count = Count::default();
    let mut wrong = Vec::new();
    for (table, text) in TABLES {
        for line in text.lines() {
            let (case, rest) = line.split_once('\t').unwrap();
            let case = format!("{table}/{case}");
            match (run(rest), exemptions.get(case.as_str())) {
                (Outcome::Passed, None) => count.passed += 1,
                (Outcome::FellBack, None) => count.fell_back += 1,
                (Outcome::Exempt(reason), _) => *count.exempt.entry(reason).or_default() += 1,
                (Outcome::Wrong(_), Some(reason)) => {
                    *count.exempt.entry((*reason).to_owned()).or_default() += 1;
                }
                (Outcome::Wrong(what), None) => wrong.push(format!("{case}\t{what}")),
                (_, Some(_)) => wrong.push(format!("{case}\tis exempt without need")),
            }
        }
    }
    let exempt: usize = count.exempt.values().sum();
    println!(
        "CEL conformance: {} passed compiled, {} passed by fallback, {exempt} exempt",
        count.passed, count.fell_back
    );
    for (reason, cases) in &count.exempt {
        println!("  {cases:4} exempt: {reason}");
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

enum Outcome {
    Passed,
    FellBack,
    Exempt(String),
    Wrong(String),
}

fn run(line: &str) -> Outcome {
    let parts: Vec<&str> = line.split('\t').collect();
    let [source, context, expected] = parts[..] else {
        panic!("not a case: {line}");
    };
    if let Some(reason) = expected.strip_prefix("exempt ") {
        return Outcome::Exempt(reason.to_owned());
    }
    let limits = Limits::default();
    let mut source = read(source).as_str().unwrap().to_owned();
    let mut expected = expected.to_owned();
    // Types are no values outside of expressions: compare inside.
    if let Some(kind) = expected.strip_prefix("= {\"$type\":\"") {
        source = format!("({source}) == {}", kind.trim_end_matches("\"}"));
        expected = "= true".to_owned();
    }
    let context = if context == "-" { Value::Null } else { plain(&read(context)) };
    let program = match Program::compile(&source, &Env::new().with(Root::Context), &limits) {
        Ok(program) => program,
        // What is certain to fail may fail early.
        Err(_) if expected == "error" => return Outcome::Passed,
        Err(error) => return Outcome::Wrong(format!("{source}: refused: {error}")),
    };
    let result = program.eval(&Scope::new(&context, Payload::Empty), &mut Cost::new(limits.cost));
    let right = match (&result, expected.strip_prefix("= ")) {
        (Err(_), None) => true,
        (Ok(value), Some(expected)) => same(value, &read(expected)),
        _ => false,
    };
    match (right, program.is_fallback()) {
        (true, false) => Outcome::Passed,
        (true, true) => Outcome::FellBack,
        (false, _) => Outcome::Wrong(format!("{source}: {result:?}, not {expected}")),
    }
}

fn read(text: &str) -> Value {
    Value::from_json(text.as_bytes(), &Limits::default()).unwrap()
}

/// The value that `written` stands for.
fn plain(written: &Value) -> Value {
    let Value::Map(map) = written else {
        return match written {
            Value::List(list) => list.iter().map(plain).collect::<Vec<_>>().into(),
            other => other.clone(),
        };
    };
    let part = |value: &Value, n: usize| value.as_list().unwrap().get(n).unwrap().as_i64().unwrap();
    let first = map.iter().next().map(|(key, value)| (key.as_str(), value));
    match first {
        Some(("$uint", value)) => Value::Uint(value.as_u64().unwrap()),
        Some(("$double", value)) => Value::Double(value.as_str().unwrap().parse().unwrap()),
        Some(("$bytes", value)) => {
            let bytes = value.as_list().unwrap().iter();
            Value::Bytes(bytes.map(|byte| byte.as_u64().unwrap() as u8).collect())
        }
        Some(("$timestamp", value)) => Value::Timestamp(Timestamp::new(part(value, 0), part(value, 1) as u32).unwrap()),
        Some(("$duration", value)) => Value::Duration(Duration::from_nanos(
            part(value, 0).saturating_mul(1_000_000_000).saturating_add(part(value, 1)),
        )),
        _ => map.iter().map(|(key, value)| (key.as_str(), plain(value))).collect::<Map>().into(),
    }
}

/// Equality of values and of their types; NaN is NaN.
fn same(found: &Value, written: &Value) -> bool {
    let expected = plain(written);
    match (found, &expected) {
        (Value::Double(a), Value::Double(b)) if a.is_nan() => b.is_nan(),
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => found.kind() == expected.kind() && *found == expected,
    }
}
