//! Lists: shared until written to.

use crate::value::{Value, weight};
use std::fmt;
use std::sync::Arc;

/// An ordered list of values. Cloning shares it; writing copies it unless this
/// is the only owner.
#[derive(Clone)]
pub struct List(Arc<Data>);

#[derive(Clone)]
struct Data {
    items: Vec<Value>,
    weight: usize,
    depth: u32,
}

impl List {
    /// An empty list.
    pub fn new() -> List {
        List::from(Vec::new())
    }

    /// The elements.
    pub fn as_slice(&self) -> &[Value] {
        &self.0.items
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.items.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.0.items.is_empty()
    }

    /// The element at `index`.
    pub fn get(&self, index: usize) -> Option<&Value> {
        self.0.items.get(index)
    }

    /// The elements in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Value> {
        self.0.items.iter()
    }

    /// Appends `value`.
    pub fn push(&mut self, value: Value) {
        let data = Arc::make_mut(&mut self.0);
        data.weight = data.weight.saturating_add(value.weight());
        data.depth = data.depth.max(value.depth() + 1);
        data.items.push(value);
    }

    /// This list followed by `other`.
    pub fn concat(&self, other: &List) -> List {
        let mut items = Vec::with_capacity(self.len().saturating_add(other.len()));
        items.extend_from_slice(self.as_slice());
        items.extend_from_slice(other.as_slice());
        List::from(items)
    }

    pub(crate) fn weight(&self) -> usize {
        self.0.weight
    }

    pub(crate) fn depth(&self) -> u32 {
        self.0.depth
    }

    /// Lets every element share the shapes of `model`.
    pub(crate) fn share_shapes(&mut self, model: &Value) {
        for item in &mut Arc::make_mut(&mut self.0).items {
            item.share_shapes(model);
        }
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl Default for List {
    fn default() -> Self {
        List::new()
    }
}

impl From<Vec<Value>> for List {
    fn from(items: Vec<Value>) -> List {
        let weight = items.iter().fold(weight::CONTAINER, |sum, item| sum.saturating_add(item.weight()));
        let depth = items.iter().map(Value::depth).max().unwrap_or(0) + 1;
        List(Arc::new(Data { items, weight, depth }))
    }
}

impl FromIterator<Value> for List {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> List {
        List::from(items.into_iter().collect::<Vec<_>>())
    }
}

impl<'a> IntoIterator for &'a List {
    type Item = &'a Value;
    type IntoIter = std::slice::Iter<'a, Value>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
