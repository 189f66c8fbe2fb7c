//! An event or input as it arrived: bytes that are read field by field when an
//! expression asks for one, and not otherwise.

use crate::decode::DecodeError;
use crate::json::{self, JsonKind};
use crate::limits::Limits;
use crate::msgpack::{self, MsgPackKind};
use crate::value::Value;

/// A value, decoded or not. What is asked of bytes that were not validated is
/// an error where they are malformed, and never more than that.
#[derive(Debug, Clone, Copy, Default)]
pub enum Payload<'a> {
    /// Nothing: an absent payload. Reads as null.
    #[default]
    Empty,
    /// One JSON value.
    Json(&'a [u8]),
    /// One MessagePack value.
    MsgPack(&'a [u8]),
    /// A decoded value.
    Value(&'a Value),
}

impl<'a> Payload<'a> {
    /// The value at `field`, when this is a map that has it; what comes before
    /// it is skipped, what comes after is not looked at. Of repeated keys the
    /// first is found.
    ///
    /// # Errors
    /// When the bytes up to the field are malformed.
    pub fn get(&self, field: &str) -> Result<Option<Payload<'a>>, DecodeError> {
        match *self {
            Payload::Empty => Ok(None),
            Payload::Value(value) => Ok(value.get(field).map(Payload::Value)),
            Payload::MsgPack(bytes) => {
                let Some(mut reader) = seek_msgpack(bytes, field)? else {
                    return Ok(None);
                };
                reader.read_raw().map(|raw| Some(Payload::MsgPack(raw)))
            }
            Payload::Json(bytes) => {
                let Some(mut reader) = seek_json(bytes, field)? else {
                    return Ok(None);
                };
                reader.read_raw().map(|raw| Some(Payload::Json(raw)))
            }
        }
    }

    /// The text at `field`, borrowed when it can be.
    ///
    /// # Errors
    /// When the bytes are malformed, or the field is not a string.
    pub fn get_str(&self, field: &str) -> Result<Option<std::borrow::Cow<'a, str>>, DecodeError> {
        use std::borrow::Cow;
        match *self {
            Payload::Empty => Ok(None),
            Payload::Value(value) => match value.get(field) {
                None => Ok(None),
                Some(Value::Str(text)) => Ok(Some(Cow::Borrowed(text))),
                Some(_) => Err(wrong_type()),
            },
            Payload::MsgPack(bytes) => match seek_msgpack(bytes, field)? {
                Some(mut reader) => reader.read_str().map(|text| Some(Cow::Borrowed(text))),
                None => Ok(None),
            },
            Payload::Json(bytes) => match seek_json(bytes, field)? {
                Some(mut reader) => reader.read_str().map(Some),
                None => Ok(None),
            },
        }
    }

    /// The whole value, decoded.
    ///
    /// # Errors
    /// As [`Value::from_json`] and [`Value::from_msgpack`].
    pub fn to_value(&self, limits: &Limits) -> Result<Value, DecodeError> {
        match *self {
            Payload::Empty => Ok(Value::Null),
            Payload::Value(value) => Ok(value.clone()),
            Payload::Json(bytes) => Value::from_json(bytes, limits),
            Payload::MsgPack(bytes) => Value::from_msgpack(bytes, limits),
        }
    }

    /// Checks that the bytes are one well-formed value within `limits.depth`,
    /// building nothing.
    ///
    /// # Errors
    /// Where they are not.
    pub fn validate(&self, limits: &Limits) -> Result<(), DecodeError> {
        match *self {
            Payload::Empty | Payload::Value(_) => Ok(()),
            Payload::MsgPack(bytes) => {
                let mut reader = msgpack::Reader::new(bytes);
                reader.check(limits.capped_depth())?;
                reader.finish()
            }
            Payload::Json(bytes) => {
                json::check_utf8(bytes)?;
                let mut reader = json::Reader::new(bytes);
                reader.skip_within(limits.capped_depth())?;
                reader.finish()
            }
        }
    }

    /// Whether this is a map.
    pub fn is_map(&self) -> bool {
        match *self {
            Payload::Empty => false,
            Payload::Value(value) => value.as_map().is_some(),
            Payload::Json(bytes) => json::Reader::new(bytes).peek() == Ok(JsonKind::Map),
            Payload::MsgPack(bytes) => msgpack::Reader::new(bytes).peek() == Ok(MsgPackKind::Map),
        }
    }
}

impl<'a> From<&'a Value> for Payload<'a> {
    fn from(value: &'a Value) -> Payload<'a> {
        Payload::Value(value)
    }
}

#[cold]
fn wrong_type() -> DecodeError {
    DecodeError { offset: 0, what: crate::decode::DecodeFault::WrongType }
}

/// A reader at the value of `field`, when the bytes are a map that has it.
#[inline]
pub(crate) fn seek_msgpack<'a>(bytes: &'a [u8], field: &str) -> Result<Option<msgpack::Reader<'a>>, DecodeError> {
    let mut reader = msgpack::Reader::new(bytes);
    if !matches!(bytes.first(), Some(0x80..=0x8f)) && reader.peek()? != MsgPackKind::Map {
        return Ok(None);
    }
    for _ in 0..reader.read_map_header()? {
        if reader.key_is(field)? {
            return Ok(Some(reader));
        }
        reader.skip_value()?;
    }
    Ok(None)
}

/// A reader at the value of `field`, when the text is a map that has it.
pub(crate) fn seek_json<'a>(bytes: &'a [u8], field: &str) -> Result<Option<json::Reader<'a>>, DecodeError> {
    let mut reader = json::Reader::new(bytes);
    if reader.peek()? != JsonKind::Map {
        return Ok(None);
    }
    reader.enter_map()?;
    while let Some(key) = reader.next_key()? {
        if key == field {
            return Ok(Some(reader));
        }
        reader.skip_value()?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::DecodeFault;

    const TEXT: &str = r#"{"skip":[1,{"x":2}],"by":2,"nested":{"who":"me"},"e\u0041":1}"#;

    fn both() -> (Vec<u8>, Value) {
        let value = Value::from_json(TEXT.as_bytes(), &Limits::default()).unwrap();
        let mut packed = Vec::new();
        value.to_msgpack(&mut packed);
        (packed, value)
    }

    #[test]
    fn fields_are_found_whatever_the_encoding() {
        let (packed, value) = both();
        let limits = Limits::default();
        for payload in [Payload::Json(TEXT.as_bytes()), Payload::MsgPack(&packed), Payload::Value(&value)] {
            let by = payload.get("by").unwrap().unwrap();
            assert_eq!(by.to_value(&limits).unwrap(), Value::Int(2));
            let nested = payload.get("nested").unwrap().unwrap();
            assert_eq!(nested.get_str("who").unwrap().unwrap(), "me");
            assert!(payload.get("eA").unwrap().is_some());
            assert!(payload.get("none").unwrap().is_none());
            assert!(by.get("x").unwrap().is_none());
            assert_eq!(payload.to_value(&limits).unwrap(), value);
            payload.validate(&limits).unwrap();
            assert!(payload.is_map());
        }
    }

    #[test]
    fn validation_sees_what_a_lazy_read_does_not() {
        let limits = Limits { depth: 2, ..Limits::default() };
        let fault = |payload: Payload<'_>| payload.validate(&limits).unwrap_err().what;
        assert_eq!(fault(Payload::Json(b"[[[]]]")), DecodeFault::TooDeep);
        assert_eq!(fault(Payload::MsgPack(&[0x91, 0x91, 0x90])), DecodeFault::TooDeep);
        assert_eq!(fault(Payload::Json(b"\"\xff\"")), DecodeFault::BadString);
        assert_eq!(fault(Payload::MsgPack(&[0x81, 1, 1])), DecodeFault::KeyNotString);
        assert_eq!(fault(Payload::MsgPack(&[1, 1])), DecodeFault::Trailing);
        Payload::Json(b"[[]]").validate(&limits).unwrap();
        let broken = Payload::Json(b"{\"a\":1,\"b\":");
        assert!(broken.get("a").unwrap().is_some());
        assert!(broken.get("b").is_err());
    }
}
