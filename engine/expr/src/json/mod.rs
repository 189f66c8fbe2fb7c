//! JSON: a [`Reader`] that scans without allocating, decoding to and encoding
//! from [`Value`].
//!
//! A number without fraction or exponent is an integer (`Int`, else `Uint`,
//! else `Double`); any other is a `Double`, and a `Double` is written with a
//! fraction (`2.0`), so that the types survive a round trip.

mod reader;
mod write;

pub use reader::{JsonKind, Number, Reader};
pub use write::{write_f64, write_i64, write_str, write_u64};

use crate::build::{Budget, MapBuilder, reserve};
use crate::decode::{DecodeError, DecodeFault};
use crate::limits::Limits;
use crate::value::{Str, Value, weight};

impl Value {
    /// Reads one JSON document.
    ///
    /// # Errors
    /// When the bytes are not one well-formed JSON value in UTF-8 (RFC 8259),
    /// or exceed `limits.depth` or `limits.value_bytes`.
    pub fn from_json(bytes: &[u8], limits: &Limits) -> Result<Value, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = decode(&mut reader, limits)?;
        reader.finish()?;
        Ok(value)
    }

    /// Appends this value as JSON, without white space. NaN and the infinities
    /// become null, bytes base64, times text.
    pub fn to_json(&self, out: &mut Vec<u8>) {
        write::value(self, out);
    }

    /// The number of bytes that [`Value::to_json`] appends, if it is no more
    /// than `max`: no more than that many are looked at.
    pub fn json_len(&self, max: usize) -> Option<usize> {
        let mut left = max;
        write::charge(self, &mut left)?;
        Some(max - left)
    }
}

/// Reads the value at the reader, leaving what follows it.
pub(crate) fn decode(reader: &mut Reader<'_>, limits: &Limits) -> Result<Value, DecodeError> {
    any(reader, &mut Budget::new(limits), None)
}

/// Checks that all of `bytes` is UTF-8.
pub(crate) fn check_utf8(bytes: &[u8]) -> Result<(), DecodeError> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(DecodeError { offset: error.valid_up_to(), what: DecodeFault::BadString }),
    }
}

/// Recursion is bounded by the budget's depth.
fn any(reader: &mut Reader<'_>, budget: &mut Budget, sibling: Option<&Value>) -> Result<Value, DecodeError> {
    let at = reader.offset();
    let bounded = |what| DecodeError { offset: at, what };
    let value = match reader.peek()? {
        JsonKind::List => {
            budget.enter().map_err(bounded)?;
            let list = list(reader, budget)?;
            budget.leave();
            return Ok(list);
        }
        JsonKind::Map => {
            budget.enter().map_err(bounded)?;
            let map = map(reader, budget, sibling)?;
            budget.leave();
            return Ok(map);
        }
        JsonKind::Null => reader.read_null().map(|()| Value::Null)?,
        JsonKind::Bool => Value::Bool(reader.read_bool()?),
        JsonKind::Number => reader.read_number()?.into(),
        JsonKind::Str => {
            let text = reader.read_str()?;
            budget.charge(weight::TEXT + text.len()).map_err(bounded)?;
            return Ok(Value::Str(Str::new(&text)));
        }
    };
    budget.charge(weight::SCALAR).map_err(bounded)?;
    Ok(value)
}

fn list(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Value, DecodeError> {
    let mut items: Vec<Value> = reserve(0);
    reader.enter_list()?;
    while reader.next_item()? {
        let item = any(reader, budget, items.last())?;
        items.push(item);
    }
    Ok(Value::from(items))
}

fn map(reader: &mut Reader<'_>, budget: &mut Budget, sibling: Option<&Value>) -> Result<Value, DecodeError> {
    let mut map = MapBuilder::after(sibling, 0);
    reader.enter_map()?;
    while let Some(key) = reader.next_key()? {
        budget.charge(weight::key(&key)).map_err(|what| reader.fault(what))?;
        let value = any(reader, budget, None)?;
        map.put(&key, value);
    }
    Ok(Value::Map(map.finish()))
}

impl From<Number> for Value {
    fn from(number: Number) -> Value {
        match number {
            Number::Int(value) => Value::Int(value),
            Number::Uint(value) => Value::Uint(value),
            Number::Double(value) => Value::Double(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, DecodeError> {
        Value::from_json(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn documents_come_back_as_they_were_written() {
        for text in [
            r#"{"b":1,"a":[true,false,null,-5,2.0,1.5e300,"x\n\"é😀"]}"#,
            "[]",
            "{}",
            "-9223372036854775808",
            "18446744073709551615",
            r#"[{"a":1,"b":2},{"a":3,"b":4},{"a":5},{"c":1,"a":2}]"#,
        ] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_integral_double_stays_one() {
        assert!(matches!(read("2.0").unwrap(), Value::Double(_)));
        assert!(matches!(read("1e2").unwrap(), Value::Double(_)));
        assert_eq!(read("2.0").unwrap(), read("2").unwrap());
        assert_eq!(read("2.0").unwrap().to_string(), "2.0");
        assert!(matches!(read("18446744073709551616").unwrap(), Value::Double(_)));
    }

    #[test]
    fn text_that_is_not_json_is_refused_where_it_goes_wrong() {
        use DecodeFault as F;
        for (text, offset, what) in [
            ("", 0, F::Truncated),
            ("[1,]", 3, F::Unexpected),
            ("{\"a\":1,}", 7, F::Unexpected),
            ("{,}", 1, F::Unexpected),
            ("[1 2]", 3, F::Unexpected),
            ("01", 1, F::Trailing),
            ("1.", 2, F::BadNumber),
            ("-", 1, F::BadNumber),
            ("nul", 0, F::Unexpected),
            ("\"a", 2, F::Truncated),
            ("\"\\x\"", 2, F::BadString),
            ("\"\\ud800\"", 2, F::BadString),
            ("\"\n\"", 1, F::BadString),
            ("1 2", 2, F::Trailing),
            ("1e999", 0, F::BadNumber),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!((error.offset, error.what), (offset, what), "{text}");
        }
    }

    #[test]
    fn siblings_share_a_shape() {
        let value = read(r#"[{"a":1,"b":2},{"a":3,"b":4}]"#).unwrap();
        let list = value.as_list().unwrap();
        let shape = |n: usize| list.get(n).unwrap().as_map().unwrap().shape();
        assert!(shape(0).is(shape(1)));
    }

    #[test]
    fn the_last_of_two_equal_keys_wins() {
        assert_eq!(read(r#"{"a":1,"b":2,"a":3}"#).unwrap().to_string(), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = "[".repeat(100_000);
        assert_eq!(read(&deep).unwrap_err().what, DecodeFault::TooDeep);
        let small = Limits { value_bytes: 1000, ..Limits::default() };
        let wide = format!("[{}0]", "0,".repeat(120));
        let error = Value::from_json(wide.as_bytes(), &small).unwrap_err();
        assert_eq!(error.what, DecodeFault::TooLarge);
    }
}
