//! What both decoders share: the budget for what is read, and maps that take their
//! shape from the map before them.

use crate::decode::DecodeFault;
use crate::limits::Limits;
use crate::map::{Map, Shape};
use crate::value::{Str, Value, weight};

/// Elements to reserve room for on a length's word alone.
const RESERVE: usize = 256;

/// What decoding may still use.
pub(crate) struct Budget {
    bytes: usize,
    depth: usize,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Budget {
        Budget { bytes: limits.value_bytes, depth: limits.capped_depth() }
    }

    /// Charges what weighs `bytes`, by [`Value::weight`].
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), DecodeFault> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(DecodeFault::TooLarge)?;
        Ok(())
    }

    /// Goes into a list or map, which is charged too.
    pub(crate) fn enter(&mut self) -> Result<(), DecodeFault> {
        self.charge(weight::CONTAINER)?;
        self.depth = self.depth.checked_sub(1).ok_or(DecodeFault::TooDeep)?;
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.depth += 1;
    }
}

/// Room for `claimed` elements, within reason.
pub(crate) fn reserve(claimed: usize) -> Vec<Value> {
    Vec::with_capacity(claimed.min(RESERVE))
}

/// A map in the making. As long as keys come as `hint` has them, nothing but
/// the values is stored. A repeated key replaces the value, as in JavaScript.
pub(crate) struct MapBuilder {
    hint: Option<Shape>,
    own: Option<Shape>,
    values: Vec<Value>,
}

impl MapBuilder {
    /// `sibling` is the value before this one in a list, if any.
    pub(crate) fn after(sibling: Option<&Value>, claimed: usize) -> MapBuilder {
        MapBuilder {
            hint: sibling.and_then(Value::as_map).map(|m| m.shape().clone()),
            own: None,
            values: reserve(claimed),
        }
    }

    pub(crate) fn put(&mut self, key: &str, value: Value) {
        let next = self.values.len();
        if self.own.is_none() {
            let expected = self.hint.as_ref().and_then(|hint| hint.keys().get(next));
            if expected.is_some_and(|expected| expected == key) {
                self.values.push(value);
                return;
            }
        }
        let hint = self.hint.as_ref();
        let own = self.own.get_or_insert_with(|| shape_so_far(hint, next));
        match own.slot_of(key) {
            Some(slot) => {
                if let Some(place) = self.values.get_mut(slot) {
                    *place = value;
                }
            }
            None => {
                own.push(Str::new(key));
                self.values.push(value);
            }
        }
    }

    pub(crate) fn finish(self) -> Map {
        let len = self.values.len();
        let shape = match (self.own, self.hint) {
            (Some(own), _) => own,
            (None, Some(hint)) if hint.keys().len() == len => hint,
            (None, hint) => shape_so_far(hint.as_ref(), len),
        };
        Map::with_shape(shape, self.values)
    }
}

fn shape_so_far(hint: Option<&Shape>, len: usize) -> Shape {
    match hint {
        Some(hint) if len > 0 => hint.prefix(len),
        _ => Shape::empty(),
    }
}
