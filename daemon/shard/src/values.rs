//! Writing the engine's values, and JSON of our own making, in the encoding of a reply.

use statemesh_expr::{Limits, Value};
use statemesh_protocol::reply::Encoding;

/// Writes a value of the engine.
pub fn write_value(out: &mut Vec<u8>, encoding: Encoding, value: &Value) {
    match encoding {
        Encoding::Json => value.to_json(out),
        Encoding::MsgPack => value.to_msgpack(out),
    }
}

/// Writes JSON of our own making in either encoding.
pub fn write_json(out: &mut Vec<u8>, encoding: Encoding, json: &[u8]) {
    match encoding {
        Encoding::Json => out.extend_from_slice(json),
        Encoding::MsgPack => match Value::from_json(json, &Limits::default()) {
            Ok(value) => value.to_msgpack(out),
            Err(_) => out.push(0xc0),
        },
    }
}
