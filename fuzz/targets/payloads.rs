//! An event's bytes, as JSON and as MessagePack: what passes as well-formed can be read, and reads the same again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use statemesh_expr::{Limits, Payload, Value};

fn read(payload: Payload<'_>, write: impl Fn(&Value, &mut Vec<u8>), again: impl Fn(&[u8]) -> Option<Value>) {
    let limits = Limits { value_bytes: 1 << 16, ..Limits::default() };
    let is_valid = payload.validate(&limits).is_ok();
    for field in ["type", "a", ""] {
        let _ = (payload.get(field), payload.get_str(field), payload.is_map());
    }
    let Ok(value) = payload.to_value(&limits) else { return };
    assert!(is_valid, "what can be read is well-formed");
    let mut bytes = Vec::new();
    write(&value, &mut bytes);
    let Some(second) = again(&bytes) else { panic!("what was written cannot be read: {bytes:?}") };
    let mut twice = Vec::new();
    write(&second, &mut twice);
    assert_eq!(bytes, twice);
}

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    read(Payload::Json(bytes), |value, out| value.to_json(out), |bytes| Payload::Json(bytes).to_value(&limits).ok());
    read(
        Payload::MsgPack(bytes),
        |value, out| value.to_msgpack(out),
        |bytes| Payload::MsgPack(bytes).to_value(&limits).ok(),
    );
});
