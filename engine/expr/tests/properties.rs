//! Whatever bytes come: no panic, no runaway, and what is read once reads the
//! same again. Seeds are printed by proptest when a case fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use statemesh_expr::{Cost, Env, Limits, Map, Payload, Program, Root, Scope, Value, json, msgpack};

fn limits() -> Limits {
    Limits { value_bytes: 1 << 20, ..Limits::default() }
}

fn value() -> impl Strategy<Value = Value> {
    let double = any::<f64>().prop_filter("JSON has no such numbers", |n| n.is_finite());
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (i64::MAX as u64 + 1..).prop_map(Value::Uint),
        double.prop_map(Value::Double),
        (-1000i32..1000).prop_map(|n| Value::Double(f64::from(n))),
        any::<String>().prop_map(Value::str),
    ];
    scalar.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-d]{0,2}|\\PC{0,12}", inner), 0..12)
                .prop_map(|entries| Value::from(entries.into_iter().collect::<Map>())),
        ]
    })
}

/// Bytes that are nearly JSON or MessagePack, and bytes that are nothing.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let nearly = (value(), any::<bool>(), any::<prop::sample::Index>(), any::<u8>(), any::<bool>());
    let broken = nearly.prop_map(|(value, as_json, at, byte, cut)| {
        let mut bytes = Vec::new();
        if as_json {
            value.to_json(&mut bytes);
        } else {
            value.to_msgpack(&mut bytes);
        }
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] = byte;
        }
        bytes
    });
    let text = "[\\[\\]{}\",:0-9eE.+a-z \\\\-]{0,60}".prop_map(String::into_bytes);
    prop_oneof![broken, text, prop::collection::vec(any::<u8>(), 0..80)]
}

/// What expressions are made of.
#[rustfmt::skip] // A list.
const WORDS: &[&str] = &[
    "context", "event", ".a", ".b", "[0]", "['k']", "1", "2u", "1.5", "'x'", "b'x'", "true", "null", "+", "-",
    "*", "/", "%", "==", "!=", "<", ">=", "in", "&&", "||", "!", "?", ":", "(", ")", "[", "]", "{", "}", ",",
    ".size()", "size(", ".map(x, x)", ".all(x, x > 1)", ".exists(y, y)", ".filter(x, x == x)", "has(context.a)",
    "int(", "string(", "timestamp(", ".matches('a+')", ".?c", "dyn(", "{1: 2}", ".lowerAscii()", "\u{e4}", "\"",
    "'", "`", "//", "\\", "\n", "r'", "'''", "$", "@", ".", " ",
];

/// Text that is nearly an expression.
fn expression() -> impl Strategy<Value = String> {
    let word = prop::sample::select(WORDS);
    prop_oneof![prop::collection::vec(word, 0..24).prop_map(|words| words.concat()), "\\PC{0,40}",]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_survive_both_encodings(value in value()) {
        let (mut text, mut packed) = (Vec::new(), Vec::new());
        value.to_json(&mut text);
        value.to_msgpack(&mut packed);
        let from_text = Value::from_json(&text, &limits()).unwrap();
        let from_packed = Value::from_msgpack(&packed, &limits()).unwrap();
        prop_assert_eq!(&from_text, &value);
        prop_assert_eq!(&from_packed, &value);
        // Not only equal: of the same types, in the same order.
        prop_assert_eq!(format!("{from_text:?}"), format!("{from_packed:?}"));
        prop_assert_eq!(from_packed.to_string().into_bytes(), text.clone());
        for payload in [Payload::Json(&text), Payload::MsgPack(&packed)] {
            payload.validate(&limits()).unwrap();
            for (key, inner) in value.as_map().into_iter().flat_map(Map::iter) {
                let found = payload.get(key).unwrap().unwrap().to_value(&limits()).unwrap();
                prop_assert_eq!(&found, inner);
            }
        }
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in hostile()) {
        let decoded = [
            (Payload::Json(&bytes), Value::from_json(&bytes, &limits())),
            (Payload::MsgPack(&bytes), Value::from_msgpack(&bytes, &limits())),
        ];
        for (payload, decoded) in decoded {
            if let Ok(value) = &decoded {
                prop_assert!(value.weight() <= 1 << 20 && value.depth() <= 64);
                prop_assert!(payload.validate(&limits()).is_ok());
            }
            for key in ["", "a", "b", "ab"] {
                if let (Ok(found), Ok(value)) = (payload.get(key), &decoded) {
                    prop_assert_eq!(found.is_some(), value.get(key).is_some());
                }
                let _ = payload.get_str(key);
            }
        }
        // A cursor never goes beyond the end.
        let mut reader = msgpack::Reader::new(&bytes);
        while reader.skip_value().is_ok() && reader.finish().is_err() {}
        prop_assert!(reader.offset() <= bytes.len());
        let mut reader = json::Reader::new(&bytes);
        while reader.skip_value().is_ok() && reader.finish().is_err() {}
        prop_assert!(reader.offset() <= bytes.len());
    }

    #[test]
    fn any_text_is_an_expression_or_an_error(source in expression(), bytes in hostile(), value in value()) {
        let env = Env::new().with_model(Root::Context, &value).with(Root::Event);
        match Program::compile(&source, &env, &limits()) {
            Err(error) => prop_assert!(error.offset <= source.len() && !error.message.is_empty()),
            Ok(program) => {
                for event in [Payload::Json(&bytes), Payload::MsgPack(&bytes), Payload::Value(&value)] {
                    let scope = Scope::new(&value, event);
                    let mut cost = Cost::new(1_000);
                    let _ = program.eval(&scope, &mut cost);
                    let _ = program.eval_bool(&scope, &mut Cost::new(1_000));
                    prop_assert!(cost.used() <= 1_000);
                }
            }
        }
    }
}
