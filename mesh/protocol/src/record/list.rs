//! A list of items inside of a part: their number, then one behind the other. It was checked when it was read, and is read again
//! by who goes through it: so a list of any length costs no memory.

use std::marker::PhantomData;

use super::field::{Field, Fields, Unreadable, put_varint};

/// Items that were read.
pub struct List<'a, T> {
    count: usize,
    items: &'a [u8],
    of: PhantomData<T>,
}

impl<'a, T: Field<'a>> List<'a, T> {
    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The items, in their order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let mut fields = Fields::new(self.items);
        std::iter::from_fn(move || fields.read().ok())
    }
}

/// Appends a list of these items.
pub(super) fn put_list<'a, T: Field<'a> + 'a>(items: &[T], out: &mut Vec<u8>) {
    put_varint(items.len() as u64, out);
    items.iter().for_each(|item| item.write(out));
}

impl<'a, T: Field<'a>> Field<'a> for List<'a, T> {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        let count = from.count()?;
        let before = from.rest();
        for _ in 0..count {
            from.read::<T>()?;
        }
        let items = before.get(..before.len() - from.rest().len()).ok_or(Unreadable::Short)?;
        Ok(Self { count, items, of: PhantomData })
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_varint(self.count as u64, out);
        out.extend_from_slice(self.items);
    }
}

// Derived they would ask the same of `T`.
impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<'_, T> {}

impl<T> PartialEq for List<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        (self.count, self.items) == (other.count, other.items)
    }
}

impl<T> Eq for List<'_, T> {}

impl<T> std::fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} items in {} bytes", self.count, self.items.len())
    }
}
