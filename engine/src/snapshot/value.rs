//! Values inside snapshots. Not MessagePack, which has no unsigned-but-small integers and no spans of time: an expression
//! must see the same types after a restore as before.

use super::{Reader, RestoreError};
use statemesh_expr::{Duration, List, Map, Timestamp, Value};

/// Deeper than any context can become: expressions give at most 64 levels, templates add those of the definition.
const DEPTH_MAX: usize = 400;

pub(crate) fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0),
        Value::Bool(value) => out.push(1 + u8::from(*value)),
        Value::Int(value) => word(3, *value as u64, out),
        Value::Uint(value) => word(4, *value, out),
        Value::Double(value) => word(5, value.to_bits(), out),
        Value::Str(text) => bytes(6, text.as_bytes(), out),
        Value::Bytes(value) => bytes(7, value, out),
        Value::List(list) => {
            length(8, list.len(), out);
            list.iter().for_each(|item| write_value(item, out));
        }
        Value::Map(map) => {
            length(9, map.len(), out);
            for (key, item) in map.iter() {
                out.extend_from_slice(&(key.len() as u32).to_le_bytes());
                out.extend_from_slice(key.as_bytes());
                write_value(item, out);
            }
        }
        Value::Timestamp(time) => {
            word(10, time.seconds() as u64, out);
            out.extend_from_slice(&time.subsec_nanos().to_le_bytes());
        }
        Value::Duration(span) => word(11, span.as_nanos() as u64, out),
    }
}

fn word(tag: u8, value: u64, out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&value.to_le_bytes());
}

fn length(tag: u8, len: usize, out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&(len as u32).to_le_bytes());
}

fn bytes(tag: u8, value: &[u8], out: &mut Vec<u8>) {
    length(tag, value.len(), out);
    out.extend_from_slice(value);
}

pub(crate) fn read_value(reader: &mut Reader<'_>) -> Result<Value, RestoreError> {
    read_within(reader, DEPTH_MAX)
}

fn read_within(reader: &mut Reader<'_>, depth: usize) -> Result<Value, RestoreError> {
    let below = depth.checked_sub(1).ok_or(RestoreError::Malformed)?;
    Ok(match reader.byte()? {
        0 => Value::Null,
        tag @ (1 | 2) => Value::Bool(tag == 2),
        3 => Value::Int(reader.word()? as i64),
        4 => Value::Uint(reader.word()?),
        5 => Value::Double(f64::from_bits(reader.word()?)),
        6 => Value::str(read_str(reader)?),
        7 => {
            let len = read_len(reader)?;
            Value::Bytes(reader.take(len)?.into())
        }
        8 => {
            // Not reserved up front: the length may lie.
            let mut items = Vec::new();
            for _ in 0..read_len(reader)? {
                items.push(read_within(reader, below)?);
            }
            Value::List(List::from(items))
        }
        9 => {
            let mut map = Map::new();
            for _ in 0..read_len(reader)? {
                let key = read_str(reader)?;
                let value = read_within(reader, below)?;
                map.insert(key, value);
            }
            Value::Map(map)
        }
        10 => {
            let seconds = reader.word()? as i64;
            let nanos = read_len_word(reader)?;
            Value::Timestamp(Timestamp::new(seconds, nanos).ok_or(RestoreError::Malformed)?)
        }
        11 => Value::Duration(Duration::from_nanos(reader.word()? as i64)),
        _ => return Err(RestoreError::Malformed),
    })
}

fn read_len_word(reader: &mut Reader<'_>) -> Result<u32, RestoreError> {
    let mut word = [0; 4];
    word.copy_from_slice(reader.take(4)?);
    Ok(u32::from_le_bytes(word))
}

/// The length of something of which each element takes at least one byte.
fn read_len(reader: &mut Reader<'_>) -> Result<usize, RestoreError> {
    let len = read_len_word(reader)? as usize;
    if len > reader.bytes.len() { Err(RestoreError::Malformed) } else { Ok(len) }
}

fn read_str<'b>(reader: &mut Reader<'b>) -> Result<&'b str, RestoreError> {
    let len = read_len(reader)?;
    std::str::from_utf8(reader.take(len)?).map_err(|_| RestoreError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_survive() {
        let fields = [
            ("uint", Value::Uint(1)),
            ("int", Value::Int(-1)),
            ("double", Value::Double(2.0)),
            ("span", Value::Duration(Duration::from_nanos(1_500_000_000))),
            ("time", Value::Timestamp(Timestamp::new(1, 2).unwrap())),
            ("list", Value::from(vec![Value::Null, Value::Bool(true), Value::str("x")])),
            ("bytes", Value::Bytes([1, 2].as_slice().into())),
        ];
        let value = Value::Map(fields.into_iter().collect());
        let mut bytes = Vec::new();
        write_value(&value, &mut bytes);
        let back = read_value(&mut Reader { bytes: &bytes }).unwrap();
        assert_eq!(format!("{back:?}"), format!("{value:?}"));
    }

    #[test]
    fn hostile_lengths_and_depths_are_errors() {
        for bytes in [&[8, 255, 255, 255, 255][..], &[6, 9, 0, 0, 0, 65], &[12], &[]] {
            assert!(read_value(&mut Reader { bytes }).is_err(), "{bytes:?}");
        }
        let deep = [8, 1, 0, 0, 0].repeat(100_000);
        assert!(read_value(&mut Reader { bytes: &deep }).is_err());
    }
}
