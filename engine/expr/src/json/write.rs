//! Writing JSON.

use crate::value::Value;
use std::io::Write;

/// Appends `value`; recursion is as deep as the value, which its makers bound.
pub(super) fn value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => write_i64(*number, out),
        Value::Uint(number) => write_u64(*number, out),
        Value::Double(number) => write_f64(*number, out),
        Value::Str(text) => write_str(text, out),
        Value::Bytes(bytes) => write_base64(bytes, out),
        Value::Timestamp(time) => display(time, out),
        Value::Duration(span) => display(span, out),
        Value::List(list) => {
            out.push(b'[');
            for (n, item) in list.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                self::value(item, out);
            }
            out.push(b']');
        }
        Value::Map(map) => {
            out.push(b'{');
            for (n, (key, item)) in map.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_str(key, out);
                out.push(b':');
                self::value(item, out);
            }
            out.push(b'}');
        }
    }
}

/// Takes the bytes that [`value`] would append from `left`; `None` once that is not enough.
pub(super) fn charge(value: &Value, left: &mut usize) -> Option<()> {
    let bytes = match value {
        Value::Str(text) => str_len(text),
        Value::Bytes(bytes) => 2 + bytes.len().div_ceil(3) * 4,
        Value::List(list) => {
            list.iter().try_for_each(|item| charge(item, left))?;
            2 + list.len().saturating_sub(1)
        }
        Value::Map(map) => {
            for (key, item) in map.iter() {
                *left = left.checked_sub(str_len(key))?;
                charge(item, left)?;
            }
            2 + map.len() + map.len().saturating_sub(1)
        }
        scalar => {
            let mut text = Vec::with_capacity(32);
            self::value(scalar, &mut text);
            text.len()
        }
    };
    *left = left.checked_sub(bytes)?;
    Some(())
}

/// Bytes of a string in quotes, escaped.
fn str_len(text: &str) -> usize {
    let escaped = |byte: &u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.as_bytes().iter().map(escaped).sum::<usize>() + 2
}

/// Text without anything to escape, in quotes.
fn display(text: &impl std::fmt::Display, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "\"{text}\"");
}

/// Appends an integer.
pub fn write_i64(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    write_u64(value.unsigned_abs(), out);
}

/// Appends an integer.
pub fn write_u64(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    for place in digits.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
        at -= 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// Appends a double so that it reads back as the same double: always with a
/// fraction or an exponent. NaN and the infinities, which JSON lacks, are null.
pub fn write_f64(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        let _ = write!(out, "{value:?}");
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends a string in quotes, escaping what JSON requires.
pub fn write_str(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        escape(*byte, out);
        from = at + 1;
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
    out.push(b'"');
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        8 => out.extend_from_slice(b"\\b"),
        12 => out.extend_from_slice(b"\\f"),
        _ => {
            let _ = write!(out, "\\u{byte:04x}");
        }
    }
}

fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push(b'"');
    for chunk in bytes.chunks(3) {
        let byte = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4 {
            let digit = (bits >> (18 - 6 * n)) as usize & 63;
            out.push(if n <= chunk.len() { DIGITS[digit] } else { b'=' });
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_known_without_writing() {
        let texts = ["null", "[]", "{}", "[1,[],{}]", r#"{"a\n\u0001é":"\"\\","b":[1.5,true,-1,2.0,1e300]}"#];
        let mut values: Vec<Value> =
            texts.iter().map(|text| Value::from_json(text.as_bytes(), &crate::Limits::default()).unwrap()).collect();
        values.extend([0, 1, 2, 3, 4].map(|len| Value::Bytes(vec![7; len].into())));
        values.push(Value::Duration(crate::Duration::from_nanos(1_500_000_000)));
        for value in values {
            let len = value.to_string().len();
            assert_eq!(value.json_len(len), Some(len), "{value}");
            assert_eq!(value.json_len(len - 1), None, "{value}");
        }
    }

    #[test]
    fn bytes_are_written_as_base64() {
        for (bytes, text) in [("", "\"\""), ("f", "\"Zg==\""), ("fo", "\"Zm8=\""), ("foo", "\"Zm9v\"")] {
            let mut out = Vec::new();
            write_base64(bytes.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn extreme_numbers_are_written_exactly() {
        for value in [0, 9, 10, -1, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_i64(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
