//! MessagePack: a [`Reader`] that scans without allocating, decoding to and
//! encoding from [`Value`].
//!
//! Integers that fit `i64` are `Int` whatever their format, others `Uint`.
//! The timestamp extension is a `Timestamp`; other extensions can be skipped
//! but not decoded. Map keys are strings.

mod reader;
mod write;

pub use reader::{MsgPackKind, Reader};
pub use write::{
    write_bin, write_bool, write_f64, write_i64, write_list_header, write_map_header, write_nil, write_str, write_u64,
};

use crate::build::{Budget, MapBuilder, reserve};
use crate::decode::{DecodeError, DecodeFault};
use crate::limits::Limits;
use crate::value::{Str, Value, weight};

impl Value {
    /// Reads one MessagePack value.
    ///
    /// # Errors
    /// When the bytes are not one well-formed value with string keys, or
    /// exceed `limits.depth` or `limits.value_bytes`. A length that says more
    /// than there is costs nothing.
    pub fn from_msgpack(bytes: &[u8], limits: &Limits) -> Result<Value, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = decode(&mut reader, limits)?;
        reader.finish()?;
        Ok(value)
    }

    /// Appends this value as MessagePack, each part in its shortest format.
    pub fn to_msgpack(&self, out: &mut Vec<u8>) {
        write::value(self, out);
    }
}

/// Reads the value at the reader, leaving what follows it.
pub(crate) fn decode(reader: &mut Reader<'_>, limits: &Limits) -> Result<Value, DecodeError> {
    any(reader, &mut Budget::new(limits), None)
}

/// Recursion is bounded by the budget's depth.
fn any(reader: &mut Reader<'_>, budget: &mut Budget, sibling: Option<&Value>) -> Result<Value, DecodeError> {
    let at = reader.offset();
    let bounded = |what| DecodeError { offset: at, what };
    match reader.peek()? {
        MsgPackKind::List => {
            budget.enter().map_err(bounded)?;
            let len = reader.read_list_header()?;
            let mut items = reserve(len);
            for _ in 0..len {
                let item = any(reader, budget, items.last())?;
                items.push(item);
            }
            budget.leave();
            Ok(Value::from(items))
        }
        MsgPackKind::Map => {
            budget.enter().map_err(bounded)?;
            let len = reader.read_map_header()?;
            let mut map = MapBuilder::after(sibling, len);
            for _ in 0..len {
                let key = reader.read_key()?;
                budget.charge(weight::key(key)).map_err(bounded)?;
                map.put(key, any(reader, budget, None)?);
            }
            budget.leave();
            Ok(Value::Map(map.finish()))
        }
        _ => {
            let value = scalar(reader)?;
            budget.charge(value.weight()).map_err(bounded)?;
            Ok(value)
        }
    }
}

fn scalar(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    Ok(match reader.peek()? {
        MsgPackKind::Nil => {
            reader.read_nil()?;
            Value::Null
        }
        MsgPackKind::Bool => Value::Bool(reader.read_bool()?),
        MsgPackKind::Int => {
            let wide = reader.read_integer()?;
            match i64::try_from(wide) {
                Ok(value) => Value::Int(value),
                Err(_) => Value::Uint(wide as u64),
            }
        }
        MsgPackKind::Float => Value::Double(reader.read_f64()?),
        MsgPackKind::Str => Value::Str(Str::new(reader.read_str()?)),
        MsgPackKind::Bin => Value::Bytes(reader.read_bin()?.into()),
        MsgPackKind::Ext => Value::Timestamp(reader.read_timestamp()?),
        MsgPackKind::List | MsgPackKind::Map => return Err(reader.fault(DecodeFault::WrongType)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn written(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        value.to_msgpack(&mut out);
        out
    }

    fn read(bytes: &[u8]) -> Result<Value, DecodeError> {
        Value::from_msgpack(bytes, &Limits::default())
    }

    #[test]
    fn every_integer_format_round_trips() {
        let edges = [0, 1, 31, 32, 127, 128, 255, 256, 65_535, 65_536, 1 << 32, i64::MAX];
        for value in edges.into_iter().flat_map(|n| [n, -n, -n - 1]) {
            let bytes = written(&Value::Int(value));
            assert!(matches!(read(&bytes).unwrap(), Value::Int(n) if n == value));
        }
        let big = written(&Value::Uint(u64::MAX));
        assert!(matches!(read(&big).unwrap(), Value::Uint(u64::MAX)));
    }

    #[test]
    fn long_strings_lists_and_maps_round_trip() {
        for len in [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
            let text = Value::str("x".repeat(len));
            let list = Value::from(vec![Value::Bool(true); len]);
            let map: Value = crate::Map::from_iter((0..len.min(300)).map(|n| (n.to_string(), Value::Null))).into();
            for value in [text, list, map, Value::Bytes(vec![7; len].into())] {
                assert_eq!(read(&written(&value)).unwrap(), value);
            }
        }
    }

    #[test]
    fn timestamps_use_the_extension_in_its_three_sizes() {
        for (seconds, nanos) in [(0, 0), (1 << 31, 0), (1, 5), (1 << 33, 5), (-1, 0), (1 << 35, 1)] {
            let value = Value::Timestamp(Timestamp::new(seconds, nanos).unwrap());
            assert_eq!(read(&written(&value)).unwrap(), value);
        }
    }

    #[test]
    fn an_integral_double_stays_one() {
        assert!(matches!(read(&written(&Value::Double(2.0))).unwrap(), Value::Double(_)));
    }

    #[test]
    fn lies_about_length_are_errors_and_reserve_nothing() {
        for bytes in [
            &[0xdd, 0xff, 0xff, 0xff, 0xff][..],
            &[0xdf, 0xff, 0xff, 0xff, 0xff],
            &[0xdb, 0xff, 0xff, 0xff, 0xff],
            &[0xc6, 0xff, 0xff, 0xff, 0xff],
            &[0xc9, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x92, 0x01],
        ] {
            assert_eq!(read(bytes).unwrap_err().what, DecodeFault::Truncated, "{bytes:x?}");
            assert!(Reader::new(bytes).skip_value().is_err());
        }
        assert_eq!(read(&[0xc1]).unwrap_err().what, DecodeFault::Unexpected);
        assert_eq!(read(&[0x81, 1, 1]).unwrap_err().what, DecodeFault::KeyNotString);
        assert_eq!(read(&[0xa1, 0xff]).unwrap_err().what, DecodeFault::BadString);
        assert_eq!(read(&vec![0x91; 100_000]).unwrap_err().what, DecodeFault::TooDeep);
        assert_eq!(read(&[0xd4, 5, 0]).unwrap_err().what, DecodeFault::UnknownExtension);
    }

    #[test]
    fn what_is_skipped_may_be_wide_but_not_deeper_than_128_levels() {
        let nested = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
        let skip = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            reader.skip_value().and_then(|()| reader.finish())
        };
        assert_eq!(skip(&nested(128)), Ok(()));
        assert_eq!(skip(&nested(129)).unwrap_err().what, DecodeFault::TooDeep);
        assert_eq!(skip(&nested(100_000)).unwrap_err().offset, 128, "it does not go on to the end");
        let wide = [&[0xdc, 0x10, 0x00][..], &[0x81, 0xa1, b'k', 0x92, 1, 2].repeat(0x1000)].concat();
        assert_eq!(skip(&wide), Ok(()), "many lists and maps beside one another");
    }
}
