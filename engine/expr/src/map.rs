//! Maps with hidden classes: the keys are a [`Shape`] that maps of the same
//! keys share, the values are slots. Reading a known key of a known shape is
//! one pointer compare and one index; a million contexts hold one key list.

use crate::scalar::Scalar;
use crate::value::{Str, Value, weight};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Up to this many keys a linear scan beats hashing.
const LINEAR_KEYS: usize = 8;

/// The keys of a map, in order.
#[derive(Clone)]
pub struct Shape(Arc<Keys>);

#[derive(Clone, Default)]
struct Keys {
    names: Vec<Str>,
    /// What all of them weigh. Saturating, as a map's weight.
    weight: u32,
    /// Present when there are more than [`LINEAR_KEYS`] names. std's hasher is
    /// keyed at random, so chosen keys cannot make it slow.
    index: Option<HashMap<Str, usize>>,
}

impl Keys {
    fn slot_of(&self, key: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).copied(),
            None => self.names.iter().position(|name| name == key),
        }
    }

    fn push(&mut self, key: Str) {
        if let Some(index) = &mut self.index {
            index.insert(key.clone(), self.names.len());
        }
        self.weight = self.weight.saturating_add(saturated(weight::key(&key)));
        self.names.push(key);
        if self.index.is_none() && self.names.len() > LINEAR_KEYS {
            self.reindex();
        }
    }

    fn remove(&mut self, slot: usize) {
        let name = self.names.remove(slot);
        self.weight = self.weight.saturating_sub(saturated(weight::key(&name)));
        self.reindex();
    }

    fn reindex(&mut self) {
        self.index = (self.names.len() > LINEAR_KEYS).then(|| {
            let numbered = self.names.iter().cloned().zip(0..);
            numbered.collect()
        });
    }
}

impl Shape {
    /// The shape without keys.
    pub fn empty() -> Shape {
        Shape(Arc::default())
    }

    /// The keys in order.
    pub fn keys(&self) -> &[Str] {
        &self.0.names
    }

    /// The slot that `key` has in maps of this shape.
    pub fn slot_of(&self, key: &str) -> Option<usize> {
        self.0.slot_of(key)
    }

    /// Whether both are one and the same shape (not merely equal keys).
    #[inline]
    pub fn is(&self, other: &Shape) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A shape of the first `len` keys of this one.
    pub(crate) fn prefix(&self, len: usize) -> Shape {
        let names: Vec<Str> = self.0.names.iter().take(len).cloned().collect();
        let weight = names.iter().fold(0u32, |sum, name| sum.saturating_add(saturated(weight::key(name))));
        let mut keys = Keys { names, weight, index: None };
        keys.reindex();
        Shape(Arc::new(keys))
    }

    /// Appends `key`, which must be new; copies the keys if they are shared.
    pub(crate) fn push(&mut self, key: Str) {
        Arc::make_mut(&mut self.0).push(key);
    }
}

/// An ordered map from strings to values. Keys keep the order in which they
/// were first inserted. Cloning shares it; writing copies it unless this is
/// the only owner.
#[derive(Clone)]
pub struct Map(Arc<Data>);

#[derive(Clone)]
struct Data {
    shape: Shape,
    values: Vec<Value>,
    /// Saturating: what weighs four gigabytes is over every limit.
    weight: u32,
    depth: u32,
}

/// What an empty map weighs, in bytes.
const EMPTY_WEIGHT: u32 = weight::CONTAINER as u32;

impl Map {
    /// An empty map.
    pub fn new() -> Map {
        Map::with_shape(Shape::empty(), Vec::new())
    }

    /// A map of `shape`; there must be one value for each key (missing ones
    /// are null, extra ones are dropped).
    pub fn with_shape(shape: Shape, mut values: Vec<Value>) -> Map {
        values.resize(shape.keys().len(), Value::Null);
        let empty = EMPTY_WEIGHT.saturating_add(shape.0.weight);
        let weight = values.iter().fold(empty, |sum, value| sum.saturating_add(saturated(value.weight())));
        let depth = values.iter().map(Value::depth).max().unwrap_or(0) + 1;
        Map(Arc::new(Data { shape, values, weight, depth }))
    }

    /// The keys, shared with other maps.
    #[inline]
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.values.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.values.is_empty()
    }

    /// The value at `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.slot(self.0.shape.slot_of(key)?)
    }

    /// Whether there is a value at `key`.
    pub fn contains_key(&self, key: &str) -> bool {
        self.0.shape.slot_of(key).is_some()
    }

    /// The value in `slot` of this map's shape.
    #[inline]
    pub fn slot(&self, slot: usize) -> Option<&Value> {
        self.0.values.get(slot)
    }

    /// Puts `value` at `key` and returns what was there.
    pub fn insert(&mut self, key: impl AsRef<str> + Into<Str>, value: Value) -> Option<Value> {
        match self.0.shape.slot_of(key.as_ref()) {
            Some(slot) => self.set_slot(slot, value),
            None => {
                let data = Arc::make_mut(&mut self.0);
                let key = key.into();
                data.account(&value);
                data.weight = data.weight.saturating_add(saturated(weight::key(&key)));
                data.shape.push(key);
                data.values.push(value);
                None
            }
        }
    }

    /// Puts `value` in `slot` and returns what was there; does nothing when
    /// the shape has no such slot.
    pub fn set_slot(&mut self, slot: usize, value: Value) -> Option<Value> {
        if slot >= self.len() {
            return None;
        }
        let data = Arc::make_mut(&mut self.0);
        data.account(&value);
        let old = std::mem::replace(data.values.get_mut(slot)?, value);
        data.weight = data.weight.saturating_sub(saturated(old.weight()));
        Some(old)
    }

    /// Puts a scalar in `slot` and returns the one that was there. Nothing is done, and nothing returned, if there was no
    /// scalar.
    #[inline]
    pub fn replace_scalar(&mut self, slot: usize, scalar: Scalar) -> Option<Scalar> {
        let old = Scalar::of_value(self.slot(slot)?)?;
        // All scalars have the same weight, and no depth.
        *Arc::make_mut(&mut self.0).values.get_mut(slot)? = scalar.into();
        Some(old)
    }

    /// Removes `key` and returns what was there; later keys keep their order.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let slot = self.0.shape.slot_of(key)?;
        let data = Arc::make_mut(&mut self.0);
        Arc::make_mut(&mut data.shape.0).remove(slot);
        let old = data.values.remove(slot);
        let gone = saturated(old.weight().saturating_add(weight::key(key)));
        data.weight = data.weight.saturating_sub(gone);
        Some(old)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Str, &Value)> + Clone {
        self.0.shape.keys().iter().zip(self.0.values.iter())
    }

    /// The keys in order.
    pub fn keys(&self) -> std::slice::Iter<'_, Str> {
        self.0.shape.keys().iter()
    }

    /// The values in order.
    pub fn values(&self) -> std::slice::Iter<'_, Value> {
        self.0.values.iter()
    }

    /// What the map weighs: as [`Value::weight`].
    pub fn weight(&self) -> usize {
        self.0.weight as usize
    }

    pub(crate) fn depth(&self) -> u32 {
        self.0.depth
    }

    /// Takes over the shape of `model`, and so on inside, where the keys are
    /// the same in the same order.
    pub(crate) fn share_shapes(&mut self, model: &Map) {
        if self.0.shape.keys() != model.shape().keys() {
            return;
        }
        let data = Arc::make_mut(&mut self.0);
        data.shape = model.shape().clone();
        for (value, model) in data.values.iter_mut().zip(model.values()) {
            value.share_shapes(model);
        }
    }
}

fn saturated(weight: usize) -> u32 {
    u32::try_from(weight).unwrap_or(u32::MAX)
}

impl Data {
    fn account(&mut self, value: &Value) {
        self.weight = self.weight.saturating_add(saturated(value.weight()));
        // Never lowered: a map that once was deep may be refused a level early,
        // which is cheaper than looking at all values on each write.
        self.depth = self.depth.max(value.depth() + 1);
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Default for Map {
    fn default() -> Self {
        Map::new()
    }
}

impl<K: AsRef<str> + Into<Str>> FromIterator<(K, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(entries: I) -> Map {
        let mut map = Map::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}
