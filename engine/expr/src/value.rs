//! The value: JSON's types, CEL's numbers, bytes and times.

use crate::list::List;
use crate::map::Map;
use crate::number;
use crate::time::{Duration, Timestamp};
use std::fmt;
use std::sync::Arc;

/// A string: up to 23 bytes inline, longer ones shared.
pub type Str = smol_str::SmolStr;

/// What the parts of a value weigh beside their own bytes. A snapshot of the engine writes no more for them: what an instance
/// weighs bounds how long its snapshot is.
pub(crate) mod weight {
    /// A number, a boolean, null or a span of time: all the same, so that one takes another's place without a sum.
    pub(crate) const SCALAR: usize = 9;
    /// A point in time.
    pub(crate) const TIMESTAMP: usize = 13;
    /// A text or bytes, beside what they hold.
    pub(crate) const TEXT: usize = 5;
    /// A list or map, beside its elements: it takes much more memory than its two brackets.
    pub(crate) const CONTAINER: usize = 16;

    /// A key of a map.
    #[inline]
    pub(crate) fn key(key: &str) -> usize {
        key.len().saturating_add(4)
    }
}

/// A value. 24 bytes; cloning never copies more than that.
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// JSON's null.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A number without fraction that fits 64 bits, signed.
    Int(i64),
    /// A number without fraction beyond `i64`, or one CEL wrote as `1u`.
    Uint(u64),
    /// A number with a fraction or exponent, integral (`2.0`) or not.
    Double(f64),
    /// Text.
    Str(Str),
    /// Bytes; base64 in JSON.
    Bytes(Arc<[u8]>),
    /// A list.
    List(List),
    /// A map.
    Map(Map),
    /// A point in time; RFC 3339 in JSON.
    Timestamp(Timestamp),
    /// A span of time; `"1.5s"` in JSON and MessagePack.
    Duration(Duration),
}

/// The type of a [`Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`Value::Null`]
    Null,
    /// [`Value::Bool`]
    Bool,
    /// [`Value::Int`]
    Int,
    /// [`Value::Uint`]
    Uint,
    /// [`Value::Double`]
    Double,
    /// [`Value::Str`]
    Str,
    /// [`Value::Bytes`]
    Bytes,
    /// [`Value::List`]
    List,
    /// [`Value::Map`]
    Map,
    /// [`Value::Timestamp`]
    Timestamp,
    /// [`Value::Duration`]
    Duration,
}

impl Kind {
    /// CEL's name for the type.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Null => "null_type",
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Uint => "uint",
            Kind::Double => "double",
            Kind::Str => "string",
            Kind::Bytes => "bytes",
            Kind::List => "list",
            Kind::Map => "map",
            Kind::Timestamp => "google.protobuf.Timestamp",
            Kind::Duration => "google.protobuf.Duration",
        }
    }
}

impl Value {
    /// A string value.
    pub fn str(text: impl AsRef<str>) -> Value {
        Value::Str(Str::new(text))
    }

    /// The value's type.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Null => Kind::Null,
            Value::Bool(_) => Kind::Bool,
            Value::Int(_) => Kind::Int,
            Value::Uint(_) => Kind::Uint,
            Value::Double(_) => Kind::Double,
            Value::Str(_) => Kind::Str,
            Value::Bytes(_) => Kind::Bytes,
            Value::List(_) => Kind::List,
            Value::Map(_) => Kind::Map,
            Value::Timestamp(_) => Kind::Timestamp,
            Value::Duration(_) => Kind::Duration,
        }
    }

    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The number as `i64`, if it is a number without fraction that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            Value::Uint(value) => i64::try_from(*value).ok(),
            Value::Double(value) => number::exact_i64(*value),
            _ => None,
        }
    }

    /// The number as `u64`, if it is a non-negative number without fraction
    /// that fits.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Int(value) => u64::try_from(*value).ok(),
            Value::Uint(value) => Some(*value),
            Value::Double(value) => number::exact_u64(*value),
            _ => None,
        }
    }

    /// The number as `f64`, rounded where `f64` is too coarse.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Uint(value) => Some(*value as f64),
            Value::Double(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The list, if it is one.
    pub fn as_list(&self) -> Option<&List> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The map to write to, if it is one.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The value at `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key)
    }

    /// What this value weighs, in bytes: about as many as it has as JSON, and no fewer than the engine writes for it
    /// in a snapshot. What is shared counts each time it occurs. Constant time.
    #[inline]
    pub fn weight(&self) -> usize {
        match self {
            Value::List(list) => list.weight(),
            Value::Map(map) => map.weight(),
            other => other.own_weight(),
        }
    }

    /// The same, found by looking at every part: what [`Value::weight`] must be.
    pub fn full_weight(&self) -> usize {
        match self {
            Value::List(list) => {
                list.iter().fold(weight::CONTAINER, |sum, item| sum.saturating_add(item.full_weight()))
            }
            Value::Map(map) => map.iter().fold(weight::CONTAINER, |sum, (key, item)| {
                sum.saturating_add(weight::key(key)).saturating_add(item.full_weight())
            }),
            other => other.own_weight(),
        }
    }

    /// What a value without parts weighs.
    #[inline]
    fn own_weight(&self) -> usize {
        match self {
            Value::Str(text) => weight::TEXT.saturating_add(text.len()),
            Value::Bytes(bytes) => weight::TEXT.saturating_add(bytes.len()),
            Value::Timestamp(_) => weight::TIMESTAMP,
            _ => weight::SCALAR,
        }
    }

    /// Levels of lists and maps: 0 for a scalar, 1 for `[]`. Constant time.
    pub fn depth(&self) -> u32 {
        match self {
            Value::List(list) => list.depth(),
            Value::Map(map) => map.depth(),
            _ => 0,
        }
    }

    /// Lets maps in this value share the shapes of the maps at the same place
    /// in `model`, where the keys are the same. Worth doing for a context read
    /// from bytes: compiled expressions know the model's shapes.
    pub fn share_shapes(&mut self, model: &Value) {
        match (self, model) {
            (Value::Map(map), Value::Map(model)) => map.share_shapes(model),
            (Value::List(list), Value::List(models)) => {
                if let (Some(first), false) = (models.get(0), list.is_empty()) {
                    list.share_shapes(first);
                }
            }
            _ => {}
        }
    }
}

/// Equality as CEL and JavaScript see it: numbers by value whatever their
/// type, NaN equal to nothing, maps without regard to order.
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::List(a), Value::List(b)) => a.as_slice() == b.as_slice(),
            (Value::Map(a), Value::Map(b)) => a == b,
            (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::Duration(a), Value::Duration(b)) => a == b,
            _ => match (number::Number::of(self), number::Number::of(other)) {
                (Some(a), Some(b)) => a.equals(b),
                _ => false,
            },
        }
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Map) -> bool {
        if self.len() != other.len() {
            return false;
        }
        if self.shape().is(other.shape()) {
            return self.values().eq(other.values());
        }
        self.iter().all(|(key, value)| other.get(key).is_some_and(|found| found == value))
    }
}

impl PartialEq for List {
    fn eq(&self, other: &List) -> bool {
        self.as_slice() == other.as_slice()
    }
}

/// The value as JSON.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        self.to_json(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Double(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Str(Str::new(value))
    }
}

impl From<Str> for Value {
    fn from(value: Str) -> Value {
        Value::Str(value)
    }
}

impl From<List> for Value {
    fn from(value: List) -> Value {
        Value::List(value)
    }
}

impl From<Map> for Value {
    fn from(value: Map) -> Value {
        Value::Map(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(value: Vec<Value>) -> Value {
        Value::List(List::from(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_three_words() {
        assert_eq!(size_of::<Value>(), 24);
    }

    #[test]
    fn numbers_are_equal_by_value_and_nan_to_nothing() {
        assert_eq!(Value::Int(2), Value::Double(2.0));
        assert_eq!(Value::Uint(2), Value::Int(2));
        assert_ne!(Value::Int(i64::MAX), Value::Double(i64::MAX as f64));
        assert_ne!(Value::Double(f64::NAN), Value::Double(f64::NAN));
        assert_ne!(Value::Int(1), Value::Bool(true));
    }

    #[test]
    fn a_write_to_a_shared_map_leaves_the_other_as_it_was() {
        let a: Map = [("x", Value::Int(1)), ("y", Value::Int(2))].into_iter().collect();
        let mut b = a.clone();
        b.insert("x", Value::Int(5));
        assert_eq!(a.get("x"), Some(&Value::Int(1)));
        assert!(a.shape().is(b.shape()), "a changed value keeps the shape");
        b.insert("z", Value::Null);
        b.remove("y");
        assert_eq!(b.keys().map(|k| k.as_str()).collect::<Vec<_>>(), ["x", "z"]);
        assert_eq!(a.len(), 2);
    }

    #[test]
    fn maps_with_many_keys_find_them_by_index() {
        let mut map: Map = (0..40).map(|n| (format!("k{n}"), Value::Int(n))).collect();
        map.remove("k3");
        for n in (0..40).filter(|n| *n != 3) {
            assert_eq!(map.get(&format!("k{n}")), Some(&Value::Int(n)));
        }
        assert_eq!(map.get("k3"), None);
    }

    #[test]
    fn weight_and_depth_count_what_is_shared_each_time() {
        let mut value = Value::from(vec![Value::Int(1)]);
        let single = value.weight();
        for _ in 0..20 {
            value = Value::from(vec![value.clone(), value]);
        }
        assert_eq!(value.depth(), 21);
        assert!(value.weight() > single << 20);
    }

    #[test]
    fn the_weight_is_about_that_of_the_json_whatever_was_written_to_it() {
        let text = r#"{"order":"4711","lines":[{"sku":"a-1","n":2},{"sku":"b-2","n":10}],"paid":false,"sum":12.5}"#;
        let mut value = Value::from_json(text.as_bytes(), &crate::Limits::default()).unwrap();
        assert!((text.len()..=2 * text.len()).contains(&value.weight()), "{} {}", text.len(), value.weight());
        let before = value.weight();
        let map = value.as_map_mut().unwrap();
        map.insert("note", Value::str("as it was"));
        map.insert("paid", Value::Bool(true));
        map.insert("lines", Value::from(vec![]));
        assert_eq!(value.weight(), value.full_weight());
        let map = value.as_map_mut().unwrap();
        map.remove("note");
        map.remove("lines");
        assert_eq!(value.weight(), value.full_weight());
        assert!(value.weight() < before, "{before}");
    }

    #[test]
    fn equal_keys_can_come_to_share_a_shape() {
        let model = Value::from_json(br#"{"a":{"b":1}}"#, &crate::Limits::default()).unwrap();
        let mut read = Value::from_json(br#"{"a":{"b":2}}"#, &crate::Limits::default()).unwrap();
        read.share_shapes(&model);
        let inner = |v: &Value| v.get("a").unwrap().as_map().unwrap().shape().clone();
        assert!(inner(&model).is(&inner(&read)));
        assert_eq!(read.to_string(), r#"{"a":{"b":2}}"#);
    }
}
