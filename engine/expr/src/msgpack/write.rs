//! Writing MessagePack, each part in its shortest format.

use crate::time::Timestamp;
use crate::value::Value;

/// Appends `value`; recursion is as deep as the value, which its makers bound.
pub(super) fn value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => write_nil(out),
        Value::Bool(value) => write_bool(*value, out),
        Value::Int(value) => write_i64(*value, out),
        Value::Uint(value) => write_u64(*value, out),
        Value::Double(value) => write_f64(*value, out),
        Value::Str(text) => write_str(text, out),
        Value::Bytes(bytes) => write_bin(bytes, out),
        Value::Timestamp(time) => write_timestamp(*time, out),
        Value::Duration(span) => write_str(&span.to_string(), out),
        Value::List(list) => {
            write_list_header(list.len(), out);
            list.iter().for_each(|item| self::value(item, out));
        }
        Value::Map(map) => {
            write_map_header(map.len(), out);
            for (key, item) in map.iter() {
                write_str(key, out);
                self::value(item, out);
            }
        }
    }
}

/// Appends nil.
pub fn write_nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

/// Appends a boolean.
pub fn write_bool(value: bool, out: &mut Vec<u8>) {
    out.push(0xc2 + u8::from(value));
}

/// Appends an integer.
pub fn write_i64(value: i64, out: &mut Vec<u8>) {
    if let Ok(value) = u64::try_from(value) {
        return write_u64(value, out);
    }
    if value >= -32 {
        out.push(value as u8);
    } else if let Ok(value) = i8::try_from(value) {
        out.extend_from_slice(&[0xd0, value as u8]);
    } else if let Ok(value) = i16::try_from(value) {
        tagged(0xd1, &value.to_be_bytes(), out);
    } else if let Ok(value) = i32::try_from(value) {
        tagged(0xd2, &value.to_be_bytes(), out);
    } else {
        tagged(0xd3, &value.to_be_bytes(), out);
    }
}

/// Appends an integer.
#[inline]
pub fn write_u64(value: u64, out: &mut Vec<u8>) {
    if value < 128 {
        out.push(value as u8);
    } else if let Ok(value) = u8::try_from(value) {
        out.extend_from_slice(&[0xcc, value]);
    } else if let Ok(value) = u16::try_from(value) {
        tagged(0xcd, &value.to_be_bytes(), out);
    } else if let Ok(value) = u32::try_from(value) {
        tagged(0xce, &value.to_be_bytes(), out);
    } else {
        tagged(0xcf, &value.to_be_bytes(), out);
    }
}

/// Appends a double.
pub fn write_f64(value: f64, out: &mut Vec<u8>) {
    tagged(0xcb, &value.to_be_bytes(), out);
}

/// Appends a string.
#[inline]
pub fn write_str(text: &str, out: &mut Vec<u8>) {
    // Room for both parts at once: most strings are short.
    out.reserve(text.len() + 1);
    match text.len() {
        len @ 0..32 => out.push(0xa0 | len as u8),
        len => long_header([0xd9, 0xda, 0xdb], len, out),
    }
    out.extend_from_slice(text.as_bytes());
}

/// Appends bytes.
pub fn write_bin(bytes: &[u8], out: &mut Vec<u8>) {
    long_header([0xc4, 0xc5, 0xc6], bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Appends the head of an array of `len` values, which must follow.
pub fn write_list_header(len: usize, out: &mut Vec<u8>) {
    match len {
        0..16 => out.push(0x90 | len as u8),
        _ => wide_header([0xdc, 0xdd], len, out),
    }
}

/// Appends the head of a map of `len` keys and values, which must follow.
pub fn write_map_header(len: usize, out: &mut Vec<u8>) {
    match len {
        0..16 => out.push(0x80 | len as u8),
        _ => wide_header([0xde, 0xdf], len, out),
    }
}

fn write_timestamp(time: Timestamp, out: &mut Vec<u8>) {
    let nanos = time.subsec_nanos();
    match u64::try_from(time.seconds()) {
        Ok(seconds) if nanos == 0 && seconds <= u64::from(u32::MAX) => {
            out.extend_from_slice(&[0xd6, 0xff]);
            out.extend_from_slice(&(seconds as u32).to_be_bytes());
        }
        Ok(seconds) if seconds < 1 << 34 => {
            out.extend_from_slice(&[0xd7, 0xff]);
            out.extend_from_slice(&(u64::from(nanos) << 34 | seconds).to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&[0xc7, 12, 0xff]);
            out.extend_from_slice(&nanos.to_be_bytes());
            out.extend_from_slice(&time.seconds().to_be_bytes());
        }
    }
}

fn tagged(marker: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(marker);
    out.extend_from_slice(bytes);
}

/// A length in one, two or four bytes.
fn long_header(markers: [u8; 3], len: usize, out: &mut Vec<u8>) {
    let [short, rest @ ..] = markers;
    match u8::try_from(len) {
        Ok(len) => out.extend_from_slice(&[short, len]),
        Err(_) => wide_header(rest, len, out),
    }
}

/// A length in two or four bytes. Values beyond 4 Gi elements are refused long
/// before ([`crate::Limits::value_bytes`]).
fn wide_header(markers: [u8; 2], len: usize, out: &mut Vec<u8>) {
    let [two, four] = markers;
    match u16::try_from(len) {
        Ok(len) => tagged(two, &len.to_be_bytes(), out),
        Err(_) => tagged(four, &(len as u32).to_be_bytes(), out),
    }
}
